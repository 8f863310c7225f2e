//! Answers that are kept are those that would be worked out now: while others write, in transactions that began before
//! or end after, and for each role.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use serde_json::{Value, json};

use crate::desk::mutate;
use crate::faults::Ground;
use crate::harness::{Api, Company, Second, day, owner};
use crate::roles::own;
use crate::sequences::run;

const GIVEN: &str = "encours_kept_answers{name=\"given\"}";

/// All that may be kept of a client, with what hangs on it.
const CLIENTS: &str = "query($rows: Int) { clients(first: $rows, orderBy: { field: NAME }) { totalCount pageInfo { hasNextPage endCursor }
  edges { cursor node { id number name address insolvency } }
  nodes { name ...C } } }
fragment C on Client { number __typename
  invoices(first: 4) { totalCount nodes { number total dueOn client { name }
    creditNotes(first: 2) { nodes { number total invoice { number } } } deductions(first: 2) { nodes { number amount status } }
    disputes(first: 2) { nodes { number amount status outcome } } allocations(first: 3) { nodes { amount effectiveOn unallocatedOn rule } } } }
  payments(first: 4) { nodes { number amount client { number } allocations(first: 3) { nodes { amount unallocatedOn } } } }
  creditNotes(last: 2) { nodes { number } pageInfo { hasPreviousPage startCursor } }
  disputes(first: 3) { nodes { status invoice { number } } } deductions(first: 3) { nodes { status } } }";

const INVOICES: &str = "{ invoices(filter: { search: \"C0\", currency: \"EUR\" }) { totalCount nodes { number total client { name } } } }";

/// One client of two, with all that hangs on it.
const CLIENT: &str = "{ client(ref: { number: \"C001\" }) { number name payments { totalCount nodes { number client { number } allocations { nodes { amount unallocatedOn } } } }
  invoices { totalCount nodes { number allocations { nodes { amount unallocatedOn } } disputes { nodes { status } } creditNotes { nodes { number } } } }
  deductions { nodes { status } } disputes { nodes { status amount } } } }";

/// A page that shows one client of two.
const FIRST: &str = "{ clients(first: 1) { nodes { number payments { totalCount } invoices { nodes { number deductions { nodes { status } } } } } } }";

/// A server that counts no points.
fn patient() -> Second {
    Second::start(&[
        ("ENCOURS_RATE_BURST", "1000000000"),
        ("ENCOURS_RATE_PER_SECOND", "1000000"),
    ])
}

/// The same question under another name, which nobody has asked yet.
fn anew(document: &str) -> String {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    format!("{document} # {}", ASKED.fetch_add(1, Ordering::Relaxed))
}

/// Asks the questions as they were asked before and as new ones; the answers are the same.
#[track_caller]
fn all_are_as_they_are_now(server: &Second, token: &str) -> Value {
    let variables = json!({ "rows": 10 });
    let mut clients = Value::Null;
    for document in [INVOICES, CLIENT, FIRST, CLIENTS] {
        let now = server.run(token, &anew(document), &variables);
        assert!(now["errors"].is_null(), "{now}");
        for _ in 0..3 {
            assert_eq!(server.run(token, document, &variables), now);
        }
        clients = now["data"]["clients"].clone();
    }
    clients
}

#[test]
fn a_kept_answer_is_what_is_true_now() {
    // It did not write itself what it is asked about.
    let server = patient();
    run(2, 40, |books, _| {
        all_are_as_they_are_now(&server, books.api.token());
    });
    // Of three times that each is asked, the last is given again, and often all are.
    assert!(server.metric(GIVEN) >= 320, "{}", server.metric(GIVEN));
}

#[test]
fn an_answer_rests_on_the_clients_that_it_shows() {
    let server = patient();
    let api = Company::new().admin();
    for client in ["C001", "C002"] {
        api.client(client);
        let number = format!("FA-{client}");
        api.invoice(client, &number, &day("01-10"), &day("02-09"), ("100", "0"));
    }
    let ask = |document: &str| {
        let before = server.metric(GIVEN);
        let answer = server.run(api.token(), document, &json!({}));
        assert!(answer["errors"].is_null(), "{answer}");
        (
            server.metric(GIVEN) > before,
            answer["data"]["client"].clone(),
        )
    };
    let documents = [CLIENT, FIRST, INVOICES];
    // Which are given again after a change: the client's, the page with this client, the list.
    let given = |change: &dyn Fn()| {
        for document in documents {
            let asked = (0..4).filter(|_| ask(document).0);
            assert!(asked.count() >= 2, "{document}");
        }
        change();
        documents.map(|document| ask(document).0)
    };
    let invoice = |client: &str, number: &str| {
        api.invoice(client, number, &day("01-11"), &day("02-10"), ("50", "0"));
    };
    let receive = |number: &str| {
        let input = json!({ "payer": "SARL X", "number": number, "receivedOn": day("03-01"), "method": "TRANSFER", "amount": "5" });
        api.make("RecordPayment", input);
    };
    for (what, change, expected) in [
        ("nothing", &(|| {}) as &dyn Fn(), [true, true, true]),
        (
            "another client's invoice",
            &|| invoice("C002", "FA-1"),
            [true, true, false],
        ),
        (
            "another client's receipt",
            &|| drop(api.payment("C002", "RG-1", &day("03-01"), "50")),
            [true, true, true],
        ),
        (
            "another client's matching",
            &|| drop(api.allocate(&day("03-02"), &[("FA-1", "RG-1", "50")])),
            [true, true, true],
        ),
        (
            "an invoice",
            &|| invoice("C001", "FA-2"),
            [false, false, false],
        ),
        (
            "a receipt",
            &|| drop(api.payment("C001", "RG-2", &day("03-01"), "50")),
            [false, false, true],
        ),
        (
            "a matching",
            &|| drop(api.allocate(&day("03-02"), &[("FA-2", "RG-2", "50")])),
            [false, true, true],
        ),
        (
            "a new client",
            &|| drop(api.client("C000")),
            [true, false, false],
        ),
        // It may become anybody's.
        (
            "a receipt of nobody",
            &|| receive("RG-3"),
            [false, false, true],
        ),
    ] {
        assert_eq!(given(change), expected, "{what}");
    }
    let input = json!({ "payment": { "number": "RG-3" }, "client": { "number": "C001" }, "identifiedOn": day("03-05") });
    let identified = given(&|| {
        drop(mutate(
            &api,
            "identifyPayment",
            input.clone(),
            "payment { number }",
        ))
    });
    assert_eq!(identified, [false, true, true]);
    let (_, client) = ask(CLIENT);
    assert_eq!(client["payments"]["nodes"][0]["number"], "RG-3");
    all_are_as_they_are_now(&server, api.token());
}

#[test]
fn what_was_under_way_when_an_answer_was_kept_is_seen_when_it_is_done() {
    let server = patient();
    let company = Company::new();
    let api = company.admin();
    api.client("C001");
    let name = |server: &Second| {
        let clients = all_are_as_they_are_now(server, api.token());
        clients["nodes"][0]["name"].clone()
    };
    let before = name(&server);
    let mut other = owner();
    let client = api.data("{ client(ref: { number: \"C001\" }) { id } }", json!({}));
    let (_, id) = client["client"]["id"]
        .as_str()
        .and_then(|id| id.split_once('_'))
        .expect("an id");
    let write = |name: &str| format!("UPDATE clients SET name = '{name}' WHERE id = '{id}'");
    other
        .batch_execute(&format!("BEGIN; {}", write("Under way")))
        .expect("a change");
    // Kept now, while the change is not done.
    assert_eq!(name(&server), before);
    let given = server.metric(GIVEN);
    other.batch_execute("COMMIT").expect("a commit");
    assert_eq!(name(&server), "Under way");
    // The same for one that is taken back, which changes nothing: what was kept still holds.
    other
        .batch_execute(&format!("BEGIN; {}", write("Taken back")))
        .expect("a change");
    assert_eq!(name(&server), "Under way");
    other.batch_execute("ROLLBACK").expect("a rollback");
    let (given, before) = (server.metric(GIVEN), given);
    assert!(given > before);
    let answer = server.run(api.token(), CLIENTS, &json!({ "rows": 10 }));
    assert_eq!(answer["data"]["clients"]["nodes"][0]["name"], "Under way");
    assert_eq!(server.metric(GIVEN), given + 1);
}

#[test]
fn the_many_who_look_at_what_has_changed_ask_once() {
    let Some(ground) = Ground::new(&[]) else {
        return;
    };
    let name = || {
        let document = "{ client(ref: { number: \"C001\" }) { name disputes { totalCount } } }";
        ground.ask(document)["data"]["client"]["name"].clone()
    };
    for _ in 0..3 {
        assert_eq!(name(), "Client");
    }
    assert_eq!(ground.metric(GIVEN), 1);
    ground.sql("UPDATE clients SET name = 'Autre'");
    // Who comes first waits for this, and the others for them.
    let mut locking = ground.owner();
    let lock = "BEGIN; LOCK TABLE disputes IN ACCESS EXCLUSIVE MODE";
    locking.batch_execute(lock).expect("a lock");
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(name)).collect();
        std::thread::sleep(Duration::from_millis(50));
        locking.batch_execute("ROLLBACK").expect("an end");
        for asked in asking {
            assert_eq!(asked.join().expect("an answer"), "Autre");
        }
    });
    assert_eq!(ground.metric(GIVEN), 8);
}

#[test]
fn a_kept_answer_is_for_those_who_may_see_it() {
    let server = patient();
    let company = Company::new();
    let admin = company.admin();
    let ((one, user), (other, _)) = (company.as_member("SALES"), company.as_member("SALES"));
    for client in ["C001", "C002"] {
        admin.client(client);
        let number = format!("FA-{client}");
        admin.invoice(client, &number, &day("01-10"), &day("02-09"), ("100", "0"));
    }
    own(&admin, "C001", &user);
    let foreign = Company::new().admin();
    let count = |api: &Api| {
        let mut counts = (0..3).map(|_| {
            let answer = server.run(api.token(), CLIENTS, &json!({ "rows": 10 }));
            answer["data"]["clients"]["totalCount"].as_u64()
        });
        let first = counts.next().flatten();
        assert!(counts.all(|count| count == first));
        first
    };
    assert_eq!(
        [&admin, &one, &other, &foreign].map(count),
        [Some(2), Some(1), Some(0), Some(0)]
    );
    // Two roles that may see the same, and one that may not see contacts.
    assert_eq!(count(&company.as_role("BI_READER")), Some(2));
    // What an auditor asks is written down, each time.
    let auditor = company.as_role("AUDITOR");
    let reads = || {
        let read = admin.data(
            "{ auditTrail(filter: { actions: [READ] }) { totalCount } }",
            json!({}),
        );
        read["auditTrail"]["totalCount"].as_u64().expect("a count")
    };
    let before = reads();
    assert_eq!(count(&auditor), Some(2));
    assert_eq!(reads(), before + 3);
}

#[test]
fn what_was_not_found_is_looked_for_again() {
    let server = patient();
    let api = Company::new().admin();
    api.client("C001");
    let document = "{ one: client(ref: { number: \"C001\" }) { name } none: client(ref: { number: \"C002\" }) { name } }";
    let ask = || server.run(api.token(), document, &json!({}))["data"].clone();
    for _ in 0..4 {
        assert_eq!(ask()["none"], Value::Null);
    }
    // What came in between the look for it and the look at the snapshot would be taken for seen.
    assert_eq!(server.metric(GIVEN), 0);
    api.client("C002");
    for given in [0, 1, 2] {
        assert_ne!(ask()["none"], Value::Null);
        assert_eq!(server.metric(GIVEN), given);
    }
}

#[test]
fn answers_are_not_kept_where_there_is_no_memory_for_them() {
    let server = Second::start(&[("ENCOURS_ANSWERS_MEGABYTES", "0")]);
    let api = Company::new().admin();
    api.client("C001");
    all_are_as_they_are_now(&server, api.token());
    assert_eq!(server.metric(GIVEN), 0);
}
