//! Receivables from a file: good rows go in, bad ones are told, the same file again does nothing.

use std::panic::catch_unwind;

use serde_json::json;

use crate::harness::{Company, command};

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/receivables.csv"
);
const MAPPING: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/receivables.toml"
);

fn arguments(company: &Company) -> [&str; 7] {
    [
        "import",
        "receivables",
        FILE,
        "--company",
        &company.id,
        "--mapping",
        MAPPING,
    ]
}

/// What a command that ends in status 1 says on standard error.
fn failing(arguments: &[&str]) -> String {
    let panic = catch_unwind(|| command(arguments)).expect_err("a command that fails");
    panic
        .downcast_ref::<String>()
        .expect("what it says")
        .to_owned()
}

#[test]
fn bad_rows_are_told_and_the_others_go_in_once() {
    let company = Company::new();
    let said = failing(&arguments(&company));
    for line in [
        "receivables.csv:5: Facture: an invoice A-1 exists already",
        "receivables.csv:6: Date: `31/02/2025` is not a day written as %d/%m/%Y",
        "receivables.csv:7: Réglée le: the settlement is before the invoice's date",
        "receivables.csv:8: TTC: the amount must be positive",
        "4 rows were refused; the others are kept",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }

    let api = company.admin();
    let books = api.data(
        "{ agedBalance(asOf: \"2025-01-20\") { totals { currency total } ledgerCheck { difference } } \
           before: agedBalance(asOf: \"2025-01-19\") { totals { total } } \
           integrityCheck { ok } }",
        json!({}),
    );
    assert_eq!(
        books["agedBalance"],
        json!({ "totals": [{ "currency": "EUR", "total": "1120.00" }], "ledgerCheck": [{ "difference": "0.00" }] })
    );
    // A-2 is open until the day of its receipt.
    assert_eq!(
        books["before"]["totals"],
        json!([{ "total": "1180.50" }]),
        "{books:#}"
    );
    assert_eq!(books["integrityCheck"]["ok"], true);

    let again = command(&arguments(&company));
    assert!(again.contains("imported before: 7 rows"), "{again}");
}

#[test]
fn settlements_can_be_left_aside() {
    let company = Company::new();
    let mut arguments = arguments(&company).to_vec();
    arguments.push("--ignore-settlements");
    // The row whose settlement was wrong is good now.
    assert!(failing(&arguments).contains("3 rows were refused"));
    let books = company.admin().data(
        "{ agedBalance(asOf: \"2025-12-31\") { totals { total } } }",
        json!({}),
    );
    assert_eq!(
        books["agedBalance"]["totals"],
        json!([{ "total": "1190.50" }])
    );
}

#[test]
fn a_script_imports_over_http_what_its_role_allows() {
    let company = Company::new();
    let file = "client,number,issuedOn,dueOn,amount\n\
                C1,A-1,2025-01-20,2025-02-19,100.00\n\
                C1,A-2,2025-01-20,2025-02-19,-1.00\n";
    let path = "/import/receivables";
    let refused = company.as_role("AUDITOR").upload(path, "text/csv", file);
    assert_eq!(refused.status, 403);
    let api = company.admin();
    assert_eq!(api.upload(path, "text/plain", file).status, 415);
    assert_eq!(api.upload(path, "text/csv", "a,b\n1,2\n").status, 400);
    let answer = api.upload(path, "text/csv", file).json();
    assert_eq!(
        (&answer["invoices"], &answer["refused"]),
        (&json!(1), &json!(1)),
        "{answer}"
    );
    assert_eq!(answer["badRows"].as_array().map(Vec::len), Some(1));
    let again = api.upload(path, "text/csv", file).json();
    assert_eq!(again["finishedBefore"], true, "{again}");
    let books = api.data(
        "{ agedBalance(asOf: \"2025-02-19\") { totals { buckets total } ledgerCheck { difference } } }",
        json!({}),
    );
    assert_eq!(books["agedBalance"]["totals"][0]["total"], "100.00");
    assert_eq!(books["agedBalance"]["ledgerCheck"][0]["difference"], "0.00");
}

#[test]
fn a_mapping_and_rows_in_foreign_currencies_go_over_http_too() {
    let api = Company::new().admin();
    let file = "Client;Facture;Date;Montant;Devise;Cours;Payée\n\
                C1;USD-1;20/01/2025;100,00;USD;0,9;\n\
                C1;USD-2;20/01/2025;50,00;USD;0,9;31/01/2025\n\
                C1;USD-3;20/01/2025;50,00;USD;;\n";
    let mapping = "dateFormat%20%3D%20%22%25d%2F%25m%2F%25Y%22%0AdecimalSeparator%20%3D%20%22%2C%22%0A%5Bcolumns%5D%0A\
                   client%20%3D%20%22Client%22%0Anumber%20%3D%20%22Facture%22%0AissuedOn%20%3D%20%22Date%22%0A\
                   amount%20%3D%20%22Montant%22%0Acurrency%20%3D%20%22Devise%22%0AexchangeRate%20%3D%20%22Cours%22%0A\
                   settledOn%20%3D%20%22Pay%C3%A9e%22";
    let path = format!("/import/receivables?mapping={mapping}");
    let answer = api.upload(&path, "text/csv", file).json();
    assert_eq!(
        (&answer["invoices"], &answer["receipts"]),
        (&json!(2), &json!(1)),
        "{answer}"
    );
    // The one row without its rate is told with the column's name in the file.
    let told = answer["badRows"][0].as_str().unwrap_or_default();
    assert!(
        told.contains("Cours") || told.contains("exchangeRate"),
        "{told}"
    );
    let books = api.data(
        "{ agedBalance(asOf: \"2025-01-31\") { totals { currency total } } }",
        json!({}),
    );
    assert_eq!(
        books["agedBalance"]["totals"],
        json!([{ "currency": "USD", "total": "100.00" }])
    );
    api.sound();
}
