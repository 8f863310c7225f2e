//! Invoices and receipts that wait for each other's numbers are written together, each as if it had come alone.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use chrono::{Days, NaiveDate};
use diesel::RunQueryDsl;
use diesel::connection::SimpleConnection;
use diesel::sql_types::{BigInt, Nullable, Text};
use serde_json::{Value, json};

use super::{Ground, ISSUE};
use crate::harness::{command_on, day, tried};

/// After this long a machine is not just busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// A written receipt, as the books and the trail have it.
#[derive(diesel::QueryableByName, Debug)]
struct Written {
    #[diesel(sql_type = Text)]
    number: String,
    #[diesel(sql_type = Text)]
    transaction: String,
    #[diesel(sql_type = Nullable<Text>)]
    request: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    role: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    operation: Option<String>,
    /// Matchings of the receipt that the trail gives the same request.
    #[diesel(sql_type = BigInt)]
    matched: i64,
}

const WRITTEN: &str = "SELECT p.number, p.xmin::text AS transaction, a.request_id AS request, a.role, a.operation, \
   (SELECT count(*) FROM allocations l JOIN items i ON i.company_id = l.company_id AND i.id = l.credit_item_id \
      JOIN audit_entries b ON b.company_id = l.company_id AND b.record_type = 'ALLOCATION' AND b.record_id = l.id::text \
    WHERE i.source_id = p.id AND b.request_id = a.request_id AND b.role = a.role) AS matched \
 FROM payments p LEFT JOIN audit_entries a ON a.company_id = p.company_id AND a.record_type = 'PAYMENT' AND a.record_id = p.id::text \
 ORDER BY p.number";

/// The day of what is written: numbers are those of its year, the day before it too.
fn latest() -> NaiveDate {
    day("06-15").parse().expect("a day")
}

struct Desk {
    ground: Ground,
    accountant: String,
}

impl Desk {
    fn new() -> Option<Desk> {
        let ground = Ground::new(&[])?;
        let company = &ground.company;
        let arguments = ["token", "--company", company, "--role", "AR_ACCOUNTANT"];
        let accountant = command_on(&ground.data, &arguments);
        Some(Desk { ground, accountant })
    }

    /// A client with an invoice of 12.00: the number of that.
    fn client(&self, number: &str) -> String {
        let made = self.ground.ask(&format!(
            "mutation {{ createClient(input: {{ number: \"{number}\", name: \"Client\" }}) {{ userErrors {{ code }} }} }}"
        ));
        assert_eq!(made["data"]["createClient"]["userErrors"], json!([]));
        let input = json!({ "client": { "number": number }, "issuedOn": latest().to_string(),
            "lines": [{ "description": "Prestation", "quantity": "1", "unitPrice": "10.00", "vatRate": "20" }] });
        let body = json!({ "query": ISSUE, "variables": { "input": input } });
        let issued = self.ground.tried(&body).expect("an answer");
        let number = issued["data"]["issueInvoice"]["invoice"]["number"].as_str();
        number.expect("a number").to_owned()
    }

    /// Records a receipt from a client on an invoice.
    fn receipt(
        &self,
        token: &str,
        client: &str,
        invoice: &str,
        amount: &str,
        key: Option<&str>,
    ) -> Value {
        let document = "mutation($input: RecordPaymentInput!) { recordPayment(input: $input) \
            { payment { number } allocations { amount } userErrors { code field } } }";
        let mut input = json!({ "client": { "number": client }, "amount": amount, "method": "TRANSFER",
            "receivedOn": latest().to_string(), "allocations": [{ "debit": { "number": invoice }, "amount": amount }] });
        if let Some(key) = key {
            input["idempotencyKey"] = json!(key);
        }
        let body = json!({ "query": document, "variables": { "input": input } });
        let url = self.ground.url().expect("a server");
        let mut answer = tried(&url, token, &body).expect("an answer");
        answer["data"]["recordPayment"].take()
    }

    /// How many of the server's connections wait for a lock, and how many do something else.
    fn connections(&self) -> (i64, i64) {
        #[derive(diesel::QueryableByName)]
        struct Counts {
            #[diesel(sql_type = BigInt)]
            waiting: i64,
            #[diesel(sql_type = BigInt)]
            busy: i64,
        }
        let counts: Counts = diesel::sql_query(
            "SELECT count(*) FILTER (WHERE wait_event_type = 'Lock') AS waiting, \
               count(*) FILTER (WHERE state = 'active' AND wait_event_type IS DISTINCT FROM 'Lock') AS busy \
             FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
        )
        .get_result(&mut self.ground.owner())
        .expect("figures");
        (counts.waiting, counts.busy)
    }

    /// Waits until this many connections wait for a lock and nothing else has been done for a while.
    #[track_caller]
    fn settled(&self, waiting: i64) {
        let (begun, mut since) = (Instant::now(), Instant::now());
        while since.elapsed() < Duration::from_millis(400) {
            let connections = self.connections();
            if connections != (waiting, 0) {
                since = Instant::now();
            }
            assert!(begun.elapsed() < PATIENCE, "{connections:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn joined(handle: ScopedJoinHandle<'_, Value>) -> Value {
    handle.join().expect("an answer")
}

/// R9.1: of all that is written, number, transaction and request: no gap and no double, each has a request of its own, and
/// those that waited are one transaction.
#[track_caller]
fn each_once_and_together(written: Vec<(&str, &str, &Option<String>)>) {
    let ranks = written.iter().map(|(number, ..)| {
        let rank = number.rsplit('-').next().expect("a rank");
        rank.parse().expect("digits")
    });
    let ranks: Vec<usize> = ranks.collect();
    assert_eq!(ranks, (1..=written.len()).collect::<Vec<_>>());
    let requests: BTreeSet<&Option<String>> =
        written.iter().map(|(.., request)| *request).collect();
    assert_eq!(requests.len(), written.len(), "{written:?}");
    let mut transactions: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, transaction, _) in &written {
        *transactions.entry(transaction).or_default() += 1;
    }
    assert!(
        transactions.values().any(|records| *records >= 5),
        "{written:?}"
    );
}

/// R9.1, R3.4, R12.5: receipts of several callers that wait are one transaction, with numbers without a gap; each is on the
/// trail under its own caller and request, each key counts once, and what cannot be done is refused alone.
#[test]
fn receipts_that_wait_are_written_together_and_each_is_its_callers() {
    let Some(desk) = Desk::new() else {
        return;
    };
    let clients: Vec<String> = (1..=8).map(|n| format!("K{n:03}")).collect();
    let invoices: Vec<String> = clients.iter().map(|client| desk.client(client)).collect();
    let tokens = [desk.ground.token.as_str(), desk.accountant.as_str()];
    // Their accounts have a first letter: one that has none yet is not foreseen.
    for (client, invoice) in clients.iter().zip(&invoices) {
        let made = desk.receipt(tokens[0], client, invoice, "1.00", None);
        assert_eq!(made["userErrors"], json!([]));
    }
    let mut owner = desk.ground.owner();
    owner
        .batch_execute("BEGIN; UPDATE counters SET last_number = last_number")
        .expect("the counters");
    let desk = &desk;
    let receipt = |place: usize, amount: &'static str, key: Option<&'static str>| {
        let (client, invoice) = (&clients[place], &invoices[place]);
        desk.receipt(tokens[place % 2], client, invoice, amount, key)
    };
    let receipt = &receipt;
    std::thread::scope(|scope| {
        let first = scope.spawn(|| receipt(0, "2.00", None));
        desk.settled(1);
        let second = scope.spawn(|| receipt(1, "2.00", None));
        // One writes by itself, one for all that come from now on.
        desk.settled(2);
        let together: Vec<_> = (2..8)
            .map(|place| {
                let key = (place == 3).then_some("once");
                scope.spawn(move || receipt(place, "3.00", key))
            })
            .collect();
        let again = scope.spawn(|| receipt(3, "3.00", Some("once")));
        desk.settled(2);
        let another = scope.spawn(|| receipt(5, "4.00", Some("once")));
        // The same invoice as one that waits; and more than is open of it.
        let same = scope.spawn(|| receipt(2, "5.00", None));
        let too_much = scope.spawn(|| receipt(4, "12.01", None));
        assert_eq!(joined(too_much)["userErrors"][0]["code"], "OVER_ALLOCATION");
        desk.settled(2);
        owner.batch_execute("COMMIT").expect("to let go");
        for handle in [first, second, same] {
            assert_eq!(joined(handle)["userErrors"], json!([]));
        }
        let together: Vec<Value> = together.into_iter().map(joined).collect();
        for made in &together {
            assert_eq!(made["userErrors"], json!([]));
            assert_eq!(made["allocations"], json!([{ "amount": "3.00" }]));
        }
        assert_eq!(joined(again), together[1], "one key, one receipt");
        let refused = joined(another);
        assert_eq!(refused["userErrors"][0]["code"], "IDEMPOTENCY_KEY_REUSED");
    });
    let written: Vec<Written> = diesel::sql_query(WRITTEN)
        .load(&mut desk.ground.owner())
        .expect("what is written");
    assert_eq!(written.len(), 8 + 2 + 6 + 1, "{written:?}");
    let told = written
        .iter()
        .map(|one| (one.number.as_str(), one.transaction.as_str(), &one.request));
    each_once_and_together(told.collect());
    assert!(
        written
            .iter()
            .all(|one| one.matched == 1 && one.operation.as_deref() == Some("recordPayment")),
        "{written:?}"
    );
    let by_accountant = written
        .iter()
        .filter(|one| one.role.as_deref() == Some("AR_ACCOUNTANT"));
    assert_eq!(by_accountant.count(), 4, "{written:?}");
    desk.ground.sound();
}

/// A written invoice, as the books and the trail have it.
#[derive(diesel::QueryableByName, Debug)]
struct Issued {
    #[diesel(sql_type = Text)]
    number: String,
    #[diesel(sql_type = Text)]
    transaction: String,
    #[diesel(sql_type = Nullable<Text>)]
    request: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    role: Option<String>,
    /// The entry has the number as its reference, and the items too, which add up to the total.
    #[diesel(sql_type = diesel::sql_types::Bool)]
    is_posted: bool,
}

const ISSUED: &str = "SELECT d.number, d.xmin::text AS transaction, a.request_id AS request, a.role, \
   d.total = (SELECT sum(i.amount) FROM items i WHERE i.company_id = d.company_id AND i.source_id = d.id) AND \
   EXISTS (SELECT FROM journal_entries e JOIN items i ON i.company_id = e.company_id AND i.entry_id = e.id \
     WHERE e.company_id = d.company_id AND e.source_id = d.id AND e.reference = d.number AND i.reference = d.number \
       AND e.label = 'Facture ' || d.number) AS is_posted \
 FROM documents d LEFT JOIN audit_entries a ON a.company_id = d.company_id AND a.record_type = 'DOCUMENT' AND a.record_id = d.id::text \
 ORDER BY d.number";

/// R9.1, R9.2, R12.5: the same of invoices; their days do not go back while numbers go on, and a receipt that waits among
/// them is written under numbers of its own.
#[test]
fn invoices_that_wait_are_written_together_and_each_is_its_callers() {
    let Some(desk) = Desk::new() else {
        return;
    };
    let paid = desk.client("K001");
    let made = desk.receipt(&desk.ground.token, "K001", &paid, "1.00", None);
    assert_eq!(made["userErrors"], json!([]));
    let tokens = [desk.ground.token.as_str(), desk.accountant.as_str()];
    let mut owner = desk.ground.owner();
    owner
        .batch_execute("BEGIN; UPDATE counters SET last_number = last_number")
        .expect("the counters");
    let desk = &desk;
    let issue = |token: &str, days_ago: u64, more: Value| {
        let on = latest() - Days::new(days_ago);
        let mut input = json!({ "client": { "number": "K001" }, "issuedOn": on.to_string(),
            "lines": [{ "description": "Prestation", "quantity": "1", "unitPrice": "10.00", "vatRate": "20" }] });
        for (name, value) in more.as_object().expect("fields") {
            input[name] = value.clone();
        }
        let body = json!({ "query": ISSUE, "variables": { "input": input } });
        let url = desk.ground.url().expect("a server");
        let mut answer = tried(&url, token, &body).expect("an answer");
        answer["data"]["issueInvoice"].take()
    };
    let issue = &issue;
    std::thread::scope(|scope| {
        let first = scope.spawn(move || issue(tokens[0], 0, json!({})));
        desk.settled(1);
        let second = scope.spawn(move || issue(tokens[1], 0, json!({})));
        // One writes by itself, one for all that come from now on.
        desk.settled(2);
        let together: Vec<_> = (0..6)
            .map(|place| {
                let more = match place {
                    0 => {
                        let parts = [("5.00", 10), ("7.00", 20)].map(|(amount, days)| {
                            let on = latest() + Days::new(days);
                            json!({ "dueOn": on.to_string(), "amount": amount })
                        });
                        json!({ "installments": parts })
                    }
                    1 => json!({ "lines": [
                        { "description": "Livre", "quantity": "2", "unitPrice": "10.00", "vatRate": "5.5" },
                        { "description": "Port", "quantity": "1", "unitPrice": "3.00", "vatRate": "20" }] }),
                    2 => json!({ "currency": "USD", "exchangeRate": "0.9" }),
                    3 => json!({ "idempotencyKey": "once" }),
                    _ => json!({}),
                };
                scope.spawn(move || issue(tokens[place % 2], 0, more))
            })
            .collect();
        let again = scope.spawn(move || issue(tokens[1], 0, json!({ "idempotencyKey": "once" })));
        let receipt = scope.spawn(move || desk.receipt(tokens[0], "K001", &paid, "2.00", None));
        let late = scope.spawn(move || issue(tokens[0], 1, json!({})));
        let twice: Vec<_> = (0..2)
            .map(|_| scope.spawn(move || issue(tokens[0], 0, json!({ "externalRef": "B-7" }))))
            .collect();
        let unsound = issue(tokens[0], 0, json!({ "lines": [] }));
        assert_eq!(unsound["userErrors"][0]["code"], "INVALID", "{unsound}");
        desk.settled(2);
        owner.batch_execute("COMMIT").expect("to let go");
        for handle in [first, second, receipt] {
            assert_eq!(joined(handle)["userErrors"], json!([]));
        }
        let together: Vec<Value> = together.into_iter().map(joined).collect();
        for made in &together {
            assert_eq!(made["userErrors"], json!([]), "{made}");
        }
        assert_eq!(joined(again), together[3], "one key, one invoice");
        let late = joined(late);
        assert_eq!(late["userErrors"][0]["code"], "INVALID", "{late}");
        let twice = twice.into_iter().map(joined);
        let refused: Vec<Value> = twice
            .filter(|made| made["userErrors"] != json!([]))
            .collect();
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(refused[0]["userErrors"][0]["code"], "DUPLICATE");
    });
    let written: Vec<Issued> = diesel::sql_query(ISSUED)
        .load(&mut desk.ground.owner())
        .expect("what is written");
    assert_eq!(written.len(), 1 + 2 + 6 + 1, "{written:?}");
    let told = written
        .iter()
        .map(|one| (one.number.as_str(), one.transaction.as_str(), &one.request));
    each_once_and_together(told.collect());
    assert!(written.iter().all(|one| one.is_posted), "{written:?}");
    let by_accountant = written
        .iter()
        .filter(|one| one.role.as_deref() == Some("AR_ACCOUNTANT"));
    assert!(by_accountant.count() >= 4, "{written:?}");
    desk.ground.sound();
}
