//! A company whose rows another server wrote, as a dump or a move between machines brings it: its numbers of transactions
//! are ahead of this server's. The next start makes those of ledger and trail numbers of long ago, and changes of the feed
//! changes of now.

use serde_json::{Value, json};

use crate::audit::{sealed, verified};
use crate::harness::{Company, Second, codes, day, tamper, today, uuid};
use crate::live::{kinds, page, read};

const BALANCE: &str =
    "query($on: Date) { agedBalance(asOf: $on) { totals { currency total unallocated } } }";

/// Makes the company's rows those of a server that is far ahead of this one.
fn comes_from_elsewhere(company: &Company) {
    let id = uuid(&company.id);
    let tables = [
        "receivable_ledger",
        "changes",
        "audit_entries",
        "audit_seals",
        "audit_chains",
    ];
    // All at once: every command and every server of the other tests that starts looks for such rows.
    let all = tables.map(|table| {
        format!("UPDATE {table} SET xid = (xid::text::bigint + 4000000000000)::text::xid8 WHERE company_id = '{id}'")
    });
    tamper(&all.join("; "));
}

#[test]
fn a_company_of_another_server_goes_on_after_the_next_start() {
    let (company, beside) = (Company::new(), Company::new());
    let api = company.admin();
    api.client("C001");
    api.invoice(
        "C001",
        "F1",
        &day("01-10"),
        &day("02-10"),
        ("1000.00", "20"),
    );
    api.payment("C001", "R1", &day("01-20"), "300.00");
    api.allocate(&day("01-20"), &[("F1", "R1", "200.00")]);
    let before = sealed(&company);
    // Not sealed yet when it comes.
    api.client("C002");
    beside.admin().client("C001");
    let kept = read(&beside.admin(), None, 1);

    comes_from_elsewhere(&company);
    let server = Second::start(&[]);

    let told = read(&api, None, 5);
    assert_eq!(
        kinds(&told),
        [
            "CLIENT_OPENED",
            "INVOICE_ISSUED",
            "PAYMENT_RECORDED",
            "ALLOCATION_MATCHED",
            "CLIENT_OPENED"
        ],
        "behind everything that this server has reached, nobody could see them"
    );
    let on = json!({ "on": today().to_string() });
    let balance = server.run(api.token(), BALANCE, &on);
    assert_eq!(
        balance["data"]["agedBalance"]["totals"],
        json!([{ "currency": "EUR", "total": "900.00", "unallocated": "-100.00" }]),
        "{balance}"
    );
    let trail = verified(&api);
    assert_eq!(trail["intact"], true, "{trail}");
    assert_eq!(trail["unsealed"], "0", "sealed as it came: {trail}");

    // What is written from now on comes behind it.
    let last = told[4]["cursor"].as_str();
    api.invoice("C002", "F2", &day("01-11"), &day("02-11"), ("50.00", "20"));
    let balance = server.run(api.token(), BALANCE, &on);
    assert_eq!(
        balance["data"]["agedBalance"]["totals"][0]["total"],
        "960.00"
    );
    let after = sealed(&company);
    assert_eq!(after["intact"], true, "{after}");
    let number = |trail: &Value| -> i64 {
        let sealed = trail["sealed"].as_str().expect("a number");
        sealed.parse().expect("a number")
    };
    assert!(number(&after) > number(&before) + 1, "{before} {after}");
    assert_eq!(kinds(&read(&api, last, 1)), ["INVOICE_ISSUED"]);
    api.sound();

    // A cursor of the other server is told apart, those of companies that were here before stay good.
    let ahead = "6368616e67657c343030303030303030303030307c31";
    let refused = api.run(
        "query($after: String!) { changes(after: $after) { hasMore } }",
        json!({ "after": ahead }),
    );
    assert_eq!(codes(&refused), ["BAD_USER_INPUT"]);
    assert_eq!(kinds(&kept), ["CLIENT_OPENED"]);
    let behind = page(&beside.admin(), kept[0]["cursor"].as_str(), 100);
    assert_eq!(behind["changes"], json!([]));
    assert_eq!(read(&beside.admin(), None, 1), kept);
}
