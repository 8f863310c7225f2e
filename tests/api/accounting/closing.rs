//! Factoring, small differences, exchange, accruals, closed years and the accounts (sections 2.13 and 2.14).

use chrono::Datelike;
use serde_json::{Value, json};

use super::{balance, operate, operate_as, pay, posted, refused};
use crate::harness::{Company, day, single, today, year};

#[test]
fn factoring_step_by_step_2_13() {
    let api = Company::new().admin();
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("10000.00", "20"),
    );
    let assigned = operate(
        &api,
        "assignInvoice",
        json!({ "invoice": { "number": "FA-1" }, "factor": "Factor SA", "withRecourse": true, "on": day("01-15") }),
    );
    posted(
        &assigned["entries"],
        &[("467", "12000.00", "0.00"), ("411", "0.00", "12000.00")],
    );
    assert_eq!(
        api.account("C001", &day("01-31")).1,
        Vec::<Value>::new(),
        "R2.24"
    );
    let settled = operate(
        &api,
        "settleAssignment",
        json!({ "assignment": { "number": assigned["number"] }, "commission": "150.00", "financing": "90.00", "retention": "1200.00", "on": day("01-17") }),
    );
    posted(
        &settled["entries"],
        &[
            ("512", "10530.00", "0.00"),
            ("6225", "150.00", "0.00"),
            ("44566", "30.00", "0.00"),
            ("6616", "90.00", "0.00"),
            ("467", "1200.00", "0.00"),
            ("467", "0.00", "12000.00"),
        ],
    );
    let released = operate_as(
        &api,
        "releaseRetention",
        "FactorStepInput",
        json!({ "operation": { "number": settled["number"] }, "on": day("03-01") }),
    );
    posted(
        &released["entries"],
        &[("512", "1200.00", "0.00"), ("467", "0.00", "1200.00")],
    );
    let returned = operate_as(
        &api,
        "recordRecourse",
        "FactorStepInput",
        json!({ "operation": { "number": assigned["number"] }, "on": day("04-01") }),
    );
    posted(
        &returned["entries"],
        &[("411", "12000.00", "0.00"), ("512", "0.00", "12000.00")],
    );
    let item = single(json!(api.account("C001", &day("04-30")).1));
    assert_eq!(
        (&item["dueOn"], &item["open"]),
        (&json!(day("02-09")), &json!("12000.00"))
    );
    api.sound();
}

#[test]
fn a_small_difference_is_written_off_up_to_the_tolerance_2_14() {
    let api = Company::new().admin();
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("100.00", "20"),
    );
    pay(&api, "RG-1", &day("02-01"), "119.60", "FA-1");
    let made = operate(
        &api,
        "settleDifference",
        json!({ "item": { "number": "FA-1" }, "on": day("02-01") }),
    );
    posted(
        &made["entries"],
        &[("658", "0.40", "0.00"), ("411", "0.00", "0.40")],
    );
    api.payment("C001", "RG-2", &day("02-02"), "0.40");
    let made = operate(
        &api,
        "settleDifference",
        json!({ "item": { "number": "RG-2" }, "credit": true, "on": day("02-02") }),
    );
    posted(
        &made["entries"],
        &[("411", "0.40", "0.00"), ("758", "0.00", "0.40")],
    );
    api.invoice(
        "C001",
        "FA-2",
        &day("01-10"),
        &day("02-09"),
        ("10.00", "20"),
    );
    let much = json!({ "item": { "number": "FA-2" } });
    assert_eq!(
        refused(&api, "settleDifference", "SettleDifferenceInput", much),
        "OVER_ALLOCATION"
    );
    api.sound();
}

#[test]
fn an_exchange_difference_is_posted_at_the_matching_2_14() {
    let api = Company::new().admin();
    api.make(
        "CreateClient",
        json!({ "number": "C001", "name": "Client", "currency": "USD" }),
    );
    let input = json!({
        "client": { "number": "C001" }, "number": "FA-1", "issuedOn": day("01-10"), "dueOn": day("02-09"), "exchangeRate": "0.92",
        "lines": [{ "description": "Export", "quantity": "1", "unitPrice": "1000.00", "vatRate": "0" }],
    });
    api.make("IssueInvoice", input);
    // In two parts, so that rounding must close: 333.33 and 666.67.
    for (number, amount) in [("RG-1", "333.33"), ("RG-2", "666.67")] {
        let payment = json!({
            "client": { "number": "C001" }, "number": number, "receivedOn": day("02-01"), "method": "TRANSFER", "amount": amount, "exchangeRate": "0.90",
            "allocations": [{ "debit": { "number": "FA-1" } }],
        });
        api.make("RecordPayment", payment);
    }
    assert_eq!(
        (
            balance(&api, "656", &day("02-28")),
            balance(&api, "411", &day("02-28"))
        ),
        ("20.00".into(), "0.00".into())
    );
    api.sound();
    // Ending a matching takes its difference back.
    let found = api.data(
        "{ payment(ref: { number: \"RG-2\" }) { allocations { nodes { id } } } }",
        json!({}),
    );
    let id = &found["payment"]["allocations"]["nodes"][0]["id"];
    api.done(
        "mutation($id: ID!, $on: Date) { unallocate(input: { allocation: $id, unallocatedOn: $on }) { allocation { id } userErrors { code field message } } }",
        json!({ "id": id, "on": day("02-10") }),
    );
    // 333.33 USD: 306.66 at 0.92, 300.00 at 0.90.
    assert_eq!(balance(&api, "656", &day("02-28")), "6.66");
    api.sound();
}

#[test]
fn accruals_are_reversed_at_the_opening_2_14() {
    let api = Company::new().admin();
    let made = operate(
        &api,
        "accrue",
        json!({ "kind": "INVOICES_TO_ISSUE", "net": "500.00", "vatRate": "20", "label": "Prestations de juin", "on": day("06-30") }),
    );
    posted(
        &made["entries"],
        &[
            ("4181", "600.00", "0.00"),
            ("706", "0.00", "500.00"),
            ("44587", "0.00", "100.00"),
            ("4181", "0.00", "600.00"),
            ("706", "500.00", "0.00"),
            ("44587", "100.00", "0.00"),
        ],
    );
    let made = operate(
        &api,
        "accrue",
        json!({ "kind": "CREDIT_NOTES_TO_ISSUE", "net": "100.00", "vatRate": "20", "label": "Ristournes", "on": day("06-30") }),
    );
    posted(
        &json!([made["entries"][0]]),
        &[
            ("4198", "0.00", "120.00"),
            ("7097", "100.00", "0.00"),
            ("44587", "20.00", "0.00"),
        ],
    );
    assert_eq!(balance(&api, "4181", &day("06-30")), "600.00");
    assert_eq!(balance(&api, "4181", &day("07-01")), "0.00");
    api.sound();
}

#[test]
fn a_late_fact_is_posted_on_the_first_open_day_r2_2() {
    let api = Company::new().admin();
    api.client("C001");
    let close =
        "mutation($on: Date!) { closePeriod(through: $on) { userErrors { code field message } } }";
    let before_all = api.data(close, json!({ "on": "1989-12-31" }));
    assert_eq!(
        before_all["closePeriod"]["userErrors"][0]["field"],
        json!(["through"])
    );
    api.done(close, json!({ "on": format!("{}-12-31", year() - 1) }));
    let years = api.data("{ financialYears { name } }", json!({}));
    assert_eq!(
        years["financialYears"],
        json!([{ "name": today().year() }]),
        "closing makes no year"
    );
    api.done(close, json!({ "on": day("01-31") }));
    let payment = |late: bool| json!({ "client": { "number": "C001" }, "number": "RG-1", "receivedOn": day("01-15"), "method": "TRANSFER", "amount": "50.00", "lateEntry": late });
    api.refused(
        "RecordPayment",
        payment(false),
        "PERIOD_CLOSED",
        &["receivedOn"],
    );
    api.make("RecordPayment", payment(true));
    let found = api.data(
        "{ payment(ref: { number: \"RG-1\" }) { receivedOn entries { postedOn occurredOn } } }",
        json!({}),
    );
    assert_eq!(
        found["payment"],
        json!({ "receivedOn": day("01-15"), "entries": [{ "postedOn": day("02-01"), "occurredOn": day("01-15") }] })
    );
    assert_eq!(
        api.account("C001", &day("01-31")).1,
        Vec::<Value>::new(),
        "a closed balance stays as it was"
    );
    api.sound();
}

#[test]
fn a_year_is_closed_locked_and_carried_forward() {
    let api = Company::new().admin();
    api.client("C001");
    let last = year() - 1;
    let old = |rest: &str| format!("{last}-{rest}");
    api.invoice(
        "C001",
        "FA-1",
        &old("11-10"),
        &old("12-10"),
        ("1000.00", "20"),
    );
    let early = api.data(
        "mutation($y: Int!) { closeYear(year: $y) { year userErrors { code } } }",
        json!({ "y": last }),
    );
    assert_eq!(early["closeYear"]["userErrors"][0]["code"], "WRONG_STATE");
    api.done(
        "mutation($on: Date!) { closePeriod(through: $on) { userErrors { code field message } } }",
        json!({ "on": old("12-31") }),
    );
    api.done(
        "mutation($y: Int!) { closeYear(year: $y) { year userErrors { code field message } } }",
        json!({ "y": last }),
    );
    let found = api.data(
        "{ financialYears { name state result } journalEntries(filter: { journal: \"AN\" }) { nodes { postedOn lines { account debit credit } } } }",
        json!({}),
    );
    assert_eq!(
        found["financialYears"],
        json!([
            { "name": today().year(), "state": "OPEN", "result": null },
            { "name": year(), "state": "OPEN", "result": null },
            { "name": last, "state": "LOCKED", "result": "1000.00" }
        ])
    );
    let opening = &found["journalEntries"]["nodes"];
    assert_eq!(opening[0]["postedOn"], day("01-01"));
    posted(
        opening,
        &[
            ("120", "0.00", "1000.00"),
            ("411", "1200.00", "0.00"),
            ("44571", "0.00", "200.00"),
        ],
    );
    // Carried, not counted twice.
    assert_eq!(balance(&api, "411", &day("03-31")), "1200.00");
    assert_eq!(balance(&api, "70", &day("03-31")), "0.00");
    assert_eq!(balance(&api, "12", &day("03-31")), "-1000.00");
    let report = api.data(
        "query($on: Date!) { agedBalance(asOf: $on) { ledgerCheck { difference } totals { total } } }",
        json!({ "on": day("03-31") }),
    );
    assert_eq!(
        report["agedBalance"]["ledgerCheck"][0]["difference"],
        "0.00"
    );
    let reopened = api.data(
        "mutation { reopenPeriod(reason: \"erreur\") { userErrors { code } } }",
        json!({}),
    );
    assert_eq!(
        reopened["reopenPeriod"]["userErrors"][0]["code"],
        "PERIOD_CLOSED"
    );
    api.sound();
}

#[test]
fn accounts_outside_the_chart_are_refused_r1_2() {
    let api = Company::new().admin();
    api.client("C001");
    let input = json!({
        "client": { "number": "C001" }, "number": "FA-1", "issuedOn": day("01-10"), "dueOn": day("02-09"),
        "lines": [{ "description": "Rentrée", "quantity": "1", "unitPrice": "10.00", "vatRate": "0", "account": "771400" }],
    });
    api.refused(
        "IssueInvoice",
        input,
        "ACCOUNT_NOT_IN_CHART",
        &["lines", "0", "account"],
    );
    let saved = api.done(
        "mutation($on: Date) { saveAccount(input: { number: \"706100\", label: \"Conseil\", closedOn: $on }) { account { label own } userErrors { code field message } } }",
        json!({ "on": day("02-01") }),
    );
    assert_eq!(saved["account"], json!({ "label": "Conseil", "own": true }));
    let input = |on: &str, number: &str| {
        json!({
            "client": { "number": "C001" }, "number": number, "issuedOn": on,
            "lines": [{ "description": "Conseil", "quantity": "1", "unitPrice": "10.00", "vatRate": "0", "account": "706100" }],
        })
    };
    api.make("IssueInvoice", input(&day("01-31"), "FA-2"));
    api.refused(
        "IssueInvoice",
        input(&day("02-01"), "FA-3"),
        "ACCOUNT_NOT_IN_CHART",
        &[],
    );
    let chart = api.data(
        "{ chartOfAccounts(prefix: \"7061\") { number label own } }",
        json!({}),
    );
    assert_eq!(
        chart["chartOfAccounts"],
        json!([{ "number": "706100", "label": "Conseil", "own": true }])
    );
}

#[test]
fn the_ledger_of_a_client_runs_to_its_balance() {
    let api = Company::new().admin();
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("100.00", "20"),
    );
    pay(&api, "RG-1", &day("02-01"), "120.00", "FA-1");
    api.invoice(
        "C001",
        "FA-2",
        &day("03-10"),
        &day("04-09"),
        ("200.00", "20"),
    );
    let asked = "query($from: Date, $first: Int, $after: String) { generalLedger(account: \"411\", client: { number: \"C001\" }, from: $from) { opening \
        lines(first: $first, after: $after) { totalCount pageInfo { endCursor hasNextPage } nodes { debit credit balance letter entry { reference } } } } }";
    let page = api.data(asked, json!({ "first": 2 }))["generalLedger"]["lines"].take();
    assert_eq!(page["totalCount"], 3);
    let letters: Vec<&Value> = page["nodes"]
        .as_array()
        .expect("lines")
        .iter()
        .map(|line| &line["letter"])
        .collect();
    assert_eq!(letters, [&json!("A"), &json!("A")]);
    let next = api.data(
        asked,
        json!({ "first": 2, "after": page["pageInfo"]["endCursor"] }),
    )["generalLedger"]["lines"]
        .take();
    assert_eq!(
        next["nodes"],
        json!([{ "debit": "240.00", "credit": "0.00", "balance": "240.00", "letter": null, "entry": { "reference": "FA-2" } }])
    );
    let later =
        api.data(asked, json!({ "from": day("02-01"), "first": 5 }))["generalLedger"].take();
    assert_eq!(later["opening"], "120.00");
    assert_eq!(later["lines"]["nodes"][0]["balance"], "0.00");
}

#[test]
fn money_moves_between_the_accounts_of_a_payer_s_clients_r13_4() {
    let api = Company::new().admin();
    for number in ["C001", "C002"] {
        api.client(number);
    }
    api.payment("C001", "RG-1", &day("01-05"), "500.00");
    let made = operate(
        &api,
        "transferCredit",
        json!({ "credit": { "number": "RG-1" }, "to": { "number": "C002" }, "amount": "200.00", "on": day("01-06"), "reason": "payé par la centrale" }),
    );
    posted(
        &made["entries"],
        &[("411", "200.00", "0.00"), ("411", "0.00", "200.00")],
    );
    assert_eq!(
        api.account("C001", &day("01-31")).0["unallocated"],
        "-300.00"
    );
    assert_eq!(
        api.account("C002", &day("01-31")).0["unallocated"],
        "-200.00"
    );
    api.sound();
}

#[test]
fn bills_stand_in_a_column_of_their_own_r4_1() {
    let api = Company::new().admin();
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("1000.00", "20"),
    );
    api.invoice(
        "C001",
        "FA-2",
        &day("01-10"),
        &day("02-09"),
        ("100.00", "20"),
    );
    let bill = json!({ "client": { "number": "C001" }, "number": "RG-1", "receivedOn": day("02-01"), "method": "BILL", "amount": "1200.00",
        "maturesOn": day("03-31"), "allocations": [{ "debit": { "number": "FA-1" } }] });
    api.make("RecordPayment", bill);
    let ask = |include: bool| {
        api.data(
            "query($on: Date!, $include: Boolean!) { agedBalance(asOf: $on, filter: { includeBills: $include }) { totals { buckets bills overdue total }
               bills: openItems(bills: true) { nodes { open } } } }",
            json!({ "on": day("02-28"), "include": include }),
        )["agedBalance"]
            .clone()
    };
    let without = ask(false);
    assert_eq!(without["totals"][0]["bills"], "0.00");
    assert_eq!(without["totals"][0]["total"], "120.00");
    let with = ask(true);
    let totals = &with["totals"][0];
    assert_eq!(
        (&totals["bills"], &totals["overdue"], &totals["total"]),
        (&json!("1200.00"), &json!("120.00"), &json!("1320.00")),
        "{with:#}"
    );
    assert_eq!(totals["buckets"], without["totals"][0]["buckets"]);
    assert_eq!(with["bills"]["nodes"], json!([{ "open": "1200.00" }]));
}
