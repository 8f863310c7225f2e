//! Rapprochement: what the books hold already is tied to the statement, not booked twice; what was paid
//! before is not paid by something else.

use serde_json::{Value, json};

use crate::bank::{
    PAYER, desk, details, entry, free, last, line_of, open, open_account, statement,
};
use crate::harness::{Api, Company, day};

fn import(api: &Api, file: &str) {
    let answer = api.upload("/import/bank", "application/xml", file);
    assert_eq!(answer.status, 200, "{}", answer.text);
}

fn balance_of_bank(api: &Api) -> Value {
    let trial = api.data(
        "query($on: Date!) { trialBalance(asOf: $on) { rows { account debit credit } } }",
        json!({ "on": day("12-31") }),
    );
    let rows = trial["trialBalance"]["rows"].as_array().expect("rows");
    rows.iter()
        .find(|row| {
            row["account"]
                .as_str()
                .unwrap_or_default()
                .starts_with("512")
        })
        .map_or(json!(["0.00", "0.00"]), |row| {
            json!([row["debit"], row["credit"]])
        })
}

#[test]
fn movements_of_a_taken_over_ledger_are_tied_not_booked_again() {
    let api = Company::new().admin();
    let head = "JournalCode\tJournalLib\tEcritureNum\tEcritureDate\tCompteNum\tCompteLib\tCompAuxNum\tCompAuxLib\tPieceRef\tPieceDate\tEcritureLib\tDebit\tCredit\tEcritureLet\tDateLet\tValidDate\tMontantdevise\tIdevise";
    let on = |md: &str| day(md).replace('-', "");
    let row = |journal: &str,
               number: u32,
               md: &str,
               account: &str,
               client: &str,
               debit: &str,
               credit: &str,
               letter: &str| {
        let d = on(md);
        format!(
            "{journal}\t{journal}\t{number}\t{d}\t{account}\t{account}\t{client}\t{client}\tP{number}\t{d}\tx\t{debit}\t{credit}\t{letter}\t\t{d}\t\t"
        )
    };
    let file = [
        head.to_owned(),
        row("VE", 1, "01-10", "411000", "C001", "120,00", "0,00", "A"),
        row("VE", 1, "01-10", "706000", "", "0,00", "120,00", ""),
        row("BQ", 2, "02-10", "512000", "", "120,00", "0,00", ""),
        row("BQ", 2, "02-10", "411000", "C001", "0,00", "120,00", "A"),
        row("BQ", 3, "02-12", "627000", "", "8,00", "0,00", ""),
        row("BQ", 3, "02-12", "512000", "", "0,00", "8,00", ""),
        row("VE", 4, "03-10", "411000", "C001", "60,00", "0,00", ""),
        row("VE", 4, "03-10", "706000", "", "0,00", "60,00", ""),
    ]
    .join("\r\n");
    let taken = api.upload("/import/fec", "text/plain", &file);
    assert_eq!(taken.status, 200, "{}", taken.text);
    open_account(&api);
    let before = balance_of_bank(&api);
    let entries = [
        entry(
            "120.00",
            &day("02-11"),
            "B1",
            &details("NOTPROVIDED", "C001", PAYER, &free("facture P1")),
        ),
        entry("-8.00", &day("02-12"), "B2", ""),
        entry(
            "60.00",
            &day("03-20"),
            "B3",
            &details("NOTPROVIDED", "C001", PAYER, &free("P4")),
        ),
    ];
    import(&api, &statement("S-1", 1, "0.00", "172.00", &entries));
    for amount in ["120.00", "-8.00"] {
        let line = line_of(&api, amount);
        assert_eq!(line["status"], "RECONCILED", "{line:#}");
        assert_eq!(last(&line)["rule"], "ALREADY_BOOKED");
    }
    assert_ne!(line_of(&api, "60.00")["status"], "RECONCILED");
    // Only the movement that was new moved the bank: 60.00 more.
    assert_eq!(before, json!(["120.00", "8.00"]));
    let trial = api.data(
        "{ generalLedger(account: \"512\") { lines { nodes { debit credit } } } }",
        json!({}),
    );
    assert_eq!(
        trial["generalLedger"]["lines"]["nodes"]
            .as_array()
            .map(Vec::len),
        Some(3)
    );
    api.sound();
    // Untied, the money waits on 471; a person ties it again and nothing is left of the detour.
    let line = line_of(&api, "120.00");
    let undone = desk(
        &api,
        "undoBankMatch",
        json!({ "line": line["id"], "reason": "À revoir" }),
    );
    assert_eq!(undone["bankLine"]["status"], "UNKNOWN", "{undone}");
    let entries = api.data(
        "{ journalEntries(filter: { reference: \"P2\" }) { nodes { id } } }",
        json!({}),
    );
    let held = &entries["journalEntries"]["nodes"][0]["id"];
    let tied = desk(
        &api,
        "reconcileBankLine",
        json!({ "line": line["id"], "entry": held }),
    );
    assert_eq!(tied["bankLine"]["status"], "RECONCILED", "{tied}");
    let again = desk(
        &api,
        "reconcileBankLine",
        json!({ "line": line_of(&api, "60.00")["id"], "entry": held }),
    );
    assert!(!again["userErrors"].as_array().expect("errors").is_empty());
    api.sound();
}

#[test]
fn a_receipt_recorded_by_hand_is_tied_when_the_statement_comes() {
    let api = Company::new().admin();
    open_account(&api);
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("100.00", "20"),
    );
    api.payment("C001", "RG-1", &day("03-01"), "120.00");
    api.allocate(&day("03-01"), &[("FA-1", "RG-1", "120.00")]);
    let entries = [entry(
        "120.00",
        &day("03-03"),
        "B1",
        &details("NOTPROVIDED", "CLIENT", "", &free("FA-1")),
    )];
    import(&api, &statement("S-1", 1, "0.00", "120.00", &entries));
    let line = line_of(&api, "120.00");
    assert_eq!(line["status"], "RECONCILED", "{line:#}");
    assert_eq!(line["payment"]["number"], "RG-1");
    api.sound();
}

#[test]
fn who_names_what_is_settled_does_not_pay_something_else_r3_8() {
    let api = Company::new().admin();
    open_account(&api);
    for client in ["C001", "C002"] {
        api.client(client);
    }
    for (client, number, issued, due) in [
        ("C001", "FA-2026-201", "01-10", "02-09"),
        ("C001", "FA-2026-202", "02-10", "03-12"),
        ("C001", "FA-2026-209", "06-10", "07-10"),
        ("C002", "FA-2026-203", "02-10", "03-12"),
    ] {
        let net = if number.ends_with('9') {
            "70.00"
        } else {
            "100.00"
        };
        api.invoice(client, number, &day(issued), &day(due), (net, "20"));
    }
    let paid = |id: &str, amount: &str, md: &str, text: &str, iban: &str| {
        entry(
            amount,
            &day(md),
            id,
            &details("NOTPROVIDED", "UN PAYEUR", iban, &free(text)),
        )
    };
    import(
        &api,
        &statement(
            "S-1",
            1,
            "0.00",
            "120.00",
            &[paid("B1", "120.00", "03-01", "FA-2026-201", PAYER)],
        ),
    );
    assert_eq!(line_of(&api, "120.00")["status"], "AUTOMATIC");
    // The same invoice paid a second time is no payment of the next one.
    import(
        &api,
        &statement(
            "S-2",
            2,
            "120.00",
            "240.00",
            &[paid("B2", "120.00", "03-15", "FA-2026-201", PAYER)],
        ),
    );
    let lines = api.data(
        "{ bankLines(first: 50) { nodes { bookedOn status matches { evidence } } } }",
        json!({}),
    );
    let second = lines["bankLines"]["nodes"]
        .as_array()
        .expect("lines")
        .iter()
        .find(|line| line["bookedOn"] == day("03-15"))
        .expect("the second");
    assert_eq!(second["status"], "PROPOSED", "{second:#}");
    let why = second["matches"][0]["evidence"]
        .as_str()
        .unwrap_or_default();
    assert!(
        why.contains("FA-2026-201") && why.contains("paid twice"),
        "{why}"
    );
    assert_eq!(open(&api, "FA-2026-202"), "120.00");
    // Nobody pays for what is not invoiced yet: the amount alone only proposes it.
    import(
        &api,
        &statement(
            "S-3",
            3,
            "240.00",
            "324.00",
            &[paid("B3", "84.00", "04-01", "merci", PAYER)],
        ),
    );
    assert_eq!(line_of(&api, "84.00")["status"], "PROPOSED");
    // Paying for another once does not make the account theirs.
    import(
        &api,
        &statement(
            "S-4",
            4,
            "324.00",
            "444.00",
            &[paid("B4", "120.00", "04-02", "FA-2026-203", PAYER)],
        ),
    );
    assert_eq!(open(&api, "FA-2026-203"), "0.00");
    let accounts = api.data(
        "{ client(ref: { number: \"C002\" }) { payerAccounts { iban } } }",
        json!({}),
    );
    assert_eq!(accounts["client"]["payerAccounts"], json!([]));
    api.sound();
}
