//! Balances and provisions from memory are those of the database: for every day, layout and order, while
//! others write, and on a server that did not write itself.
//!
//! A report with a `knownAt` is always computed by the database. With one far ahead it is the same report, so
//! one document that asks for both compares them in one snapshot.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use chrono::Datelike;
use serde_json::{Value, json};

use crate::harness::{Api, Company, Second, day, today};
use crate::sequences::run;

const FAR: &str = "2200-01-01T00:00:00Z";

/// A report from memory (`m`) and from the database (`d`).
const BOTH: &str = "query($on: Date, $far: DateTime!, $basis: AgingBasis, $bounds: [Int!], $credits: UnallocatedCredits, $exclude: Boolean!, $filter: AgedBalanceFilter) {
  m: agedBalance(asOf: $on, basis: $basis, bounds: $bounds, unallocatedCredits: $credits, excludeDisputed: $exclude, filter: $filter) { ...R }
  d: agedBalance(asOf: $on, knownAt: $far, basis: $basis, bounds: $bounds, unallocatedCredits: $credits, excludeDisputed: $exclude, filter: $filter) { ...R }
}
fragment R on AgedBalance {
  totals { currency buckets unallocated bills total overdue disputed }
  excludedDisputes { documents amount currency }
  overdue: rows(first: 10) { totalCount nodes { ...N } pageInfo { hasNextPage hasPreviousPage } }
  low: rows(last: 1, orderBy: { field: TOTAL, direction: ASC }) { nodes { ...N } pageInfo { hasNextPage hasPreviousPage } }
  disputed: rows(first: 1, orderBy: { field: DISPUTED, direction: DESC }) { nodes { ...N } pageInfo { hasNextPage } }
  named: rows(first: 5, orderBy: { field: NAME, direction: ASC }) { nodes { ...N } }
}
fragment N on AgedBalanceRow { client { number } currency buckets unallocated bills total overdue disputed }";

/// The totals and nothing else: read outside a transaction, by one statement.
const ALONE: &str = "query($on: Date, $basis: AgingBasis, $bounds: [Int!], $credits: UnallocatedCredits, $exclude: Boolean!, $filter: AgedBalanceFilter) {
  agedBalance(asOf: $on, basis: $basis, bounds: $bounds, unallocatedCredits: $credits, excludeDisputed: $exclude, filter: $filter) {
    asOf totals { currency buckets unallocated bills total overdue disputed }
  }
}";

const PROVISIONS: &str = "query($on: Date, $far: DateTime!) {
  m: doubtfulDebtProvision(asOf: $on) { ...P }
  d: doubtfulDebtProvision(asOf: $on, knownAt: $far) { ...P }
}
fragment P on DoubtfulDebtProvision {
  totals { currency base required previous charge release }
  clients(first: 1) { totalCount nodes { client { number } currency required previous charge release } pageInfo { hasNextPage } }
  more: clients(first: 4) { nodes { client { number } currency required } }
  claimed: clients(first: 4) { nodes { client { number } currency required claims { reference base } } }
  last: clients(last: 1) { nodes { client { number } required } }
}";

/// Ways to lay a report out.
fn layouts() -> [Value; 4] {
    [
        json!({ "exclude": false }),
        json!({ "exclude": true, "bounds": [10, 45], "filter": { "includeBills": true } }),
        json!({ "exclude": false, "basis": "INVOICE_DATE", "credits": "BY_OWN_DATE" }),
        json!({ "exclude": true, "credits": "BY_OWN_DATE", "filter": { "currency": "EUR" } }),
    ]
}

/// Asks a server for both and compares; answers what both said.
#[track_caller]
fn same(server: &Second, token: &str, document: &str, on: &str, layout: &Value) -> Value {
    let mut variables = layout.clone();
    variables["on"] = json!(on);
    variables["far"] = json!(FAR);
    let answer = server.run(token, document, &variables);
    assert!(answer["errors"].is_null(), "{answer}");
    let (memory, database) = (&answer["data"]["m"], &answer["data"]["d"]);
    assert_eq!(memory, database, "on {on} with {layout}");
    memory.clone()
}

fn everything_is_the_same(server: &Second, token: &str) {
    for on in ["02-10", "03-20", "05-25"].map(day) {
        for layout in layouts() {
            let whole = same(server, token, BOTH, &on, &layout);
            let mut variables = layout.clone();
            variables["on"] = json!(on);
            let alone = server.run(token, ALONE, &variables);
            let alone = &alone["data"]["agedBalance"]["totals"];
            assert_eq!(*alone, whole["totals"], "on {on} with {layout}");
        }
        same(server, token, PROVISIONS, &on, &json!({}));
    }
    let later = format!("{}-12-31", today().year() + 1);
    same(server, token, BOTH, &later, &json!({ "exclude": false }));
}

const MEMORY: &str = "encours_aged_balances{name=\"answers_from_memory\"}";

#[test]
fn memory_tells_what_the_database_tells_r4() {
    let server = Second::start(&[]);
    run(2, 60, |books, at| {
        if at % 10 == 9 {
            everything_is_the_same(&server, books.api.token());
        }
    });
    // Each document asks memory for three reports of rows, counts and totals at least.
    assert!(server.metric(MEMORY) > 300, "{}", server.metric(MEMORY));
}

#[test]
fn what_memory_cannot_tell_the_database_tells() {
    let company = Company::new();
    let api = company.admin();
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("100.00", "20"),
    );
    let server = Second::start(&[]);
    let off = Second::start(&[("ENCOURS_BALANCES_MEGABYTES", "0")]);
    let whole = "{ agedBalance { totals { total } } }";
    let of_client =
        "{ agedBalance(filter: { client: { number: \"C001\" } }) { totals { total } } }";
    let before = server.metric(MEMORY);
    for document in [whole, of_client] {
        for server in [&server, &off] {
            let answer = server.ask(api.token(), document);
            assert_eq!(
                answer["data"]["agedBalance"]["totals"],
                json!([{ "total": "120.00" }])
            );
        }
    }
    // A sales person without clients sees none, whatever memory holds (R12.3).
    let sales = company.as_role("SALES");
    let answer = server.ask(sales.token(), whole);
    assert_eq!(answer["data"]["agedBalance"]["totals"], json!([]));
    assert_eq!(server.metric(MEMORY), before + 1);
    assert_eq!(off.metric(MEMORY), 0);
}

/// One writer's turn: an invoice, a receipt on it, and sometimes a dispute, or the matching taken back.
fn write(api: &Api, client: &str, turn: usize) {
    let input = json!({ "client": { "number": client }, "issuedOn": day("01-15"), "dueOn": day("02-14"),
        "lines": [{ "description": "Prestation", "quantity": "1", "unitPrice": format!("{}.00", 10 + turn), "vatRate": "20" }] });
    let made = "mutation($input: IssueInvoiceInput!) { issueInvoice(input: $input) { invoice { id number } userErrors { code message } } }";
    let invoice = api.done(made, json!({ "input": input }))["invoice"].clone();
    let number = json!({ "number": invoice["number"] });
    if turn.is_multiple_of(3) {
        let input = json!({ "invoice": number, "reason": "BLIV", "amount": "5.00", "openedOn": day("03-01") });
        let open = "mutation($input: OpenDisputeInput!) { openDispute(input: $input) { dispute { id } userErrors { code message } } }";
        api.done(open, json!({ "input": input }));
    }
    let input = json!({ "client": { "number": client }, "receivedOn": day("04-02"), "method": "TRANSFER", "amount": "9.00",
        "allocations": [{ "debit": number }] });
    let paid = "mutation($input: RecordPaymentInput!) { recordPayment(input: $input) { allocations { id } userErrors { code message } } }";
    let payment = api.done(paid, json!({ "input": input }));
    if turn.is_multiple_of(2) {
        let input = json!({ "allocation": payment["allocations"][0]["id"] });
        let undo = "mutation($input: UnallocateInput!) { unallocate(input: $input) { userErrors { code message } } }";
        api.done(undo, json!({ "input": input }));
    }
}

#[test]
fn memory_is_exact_while_others_write() {
    let company = Company::new();
    let api = company.admin();
    let clients = ["C001", "C002", "C003", "C004"];
    for client in clients {
        api.client(client);
    }
    let server = Second::start(&[]);
    let writing = AtomicBool::new(true);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|reader| {
                let (server, token, writing) = (&server, api.token(), &writing);
                scope.spawn(move || {
                    let (mut rounds, mut last) = (0, json!(null));
                    while writing.load(Ordering::Relaxed) || rounds < 10 {
                        let on =
                            [day("04-20"), today().to_string(), day("03-10")][rounds % 3].clone();
                        let layout = &layouts()[(rounds + reader) % 4];
                        last = same(server, token, BOTH, &on, layout);
                        same(server, token, PROVISIONS, &on, &json!({}));
                        rounds += 1;
                    }
                    (rounds, last)
                })
            })
            .collect();
        let writers: Vec<_> = clients
            .map(|client| {
                let api = &api;
                scope.spawn(move || (0..12).for_each(|turn| write(api, client, turn)))
            })
            .into_iter()
            .collect();
        for writer in writers {
            writer.join().expect("a writer");
        }
        writing.store(false, Ordering::Relaxed);
        for reader in readers {
            let (rounds, last) = reader.join().expect("a reader");
            assert!(rounds >= 10);
            assert_ne!(last["overdue"]["totalCount"], json!(0), "{last}");
        }
    });
    assert!(server.metric(MEMORY) > 60, "{}", server.metric(MEMORY));
    api.sound();
}

#[test]
fn totals_asked_alone_show_what_was_acknowledged() {
    let company = Company::new();
    let api = company.admin();
    api.client("C001");
    let server = Second::start(&[]);
    let token = api.token();
    let total = |on: &str| -> u64 {
        let answer = server.run(token, ALONE, &json!({ "on": on, "exclude": false }));
        let totals = answer["data"]["agedBalance"]["totals"].clone();
        let total = totals[0]["total"].as_str().unwrap_or("0.00").to_owned();
        total.replace('.', "").parse().expect("a total")
    };
    // Loads it, and takes the way of the database.
    assert_eq!(total(&day("03-20")), 0);
    let (begun, done) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..40 {
                begun.fetch_add(1, Ordering::SeqCst);
                let (on, due) = (day("01-10"), day("02-09"));
                api.invoice("C001", &format!("FA-{n}"), &on, &due, ("10.00", "20"));
                done.fetch_add(1, Ordering::SeqCst);
            }
        });
        let mut rounds = 0;
        while !writer.is_finished() || rounds < 10 {
            let least = done.load(Ordering::SeqCst);
            let seen = total(&day("03-20"));
            let most = begun.load(Ordering::SeqCst);
            assert!(
                (12_00 * least..=12_00 * most).contains(&seen),
                "{least} {seen} {most}"
            );
            rounds += 1;
        }
    });
    assert_eq!(total(&day("03-20")), 40 * 12_00);
    assert_eq!(total(&day("01-09")), 0);
    // Each was one statement, once the state was loaded.
    let asked = server.metric("encours_sql_statements_total");
    assert!(server.metric(MEMORY) > 10, "{}", server.metric(MEMORY));
    total(&day("03-20"));
    assert_eq!(server.metric("encours_sql_statements_total"), asked + 1);
}
