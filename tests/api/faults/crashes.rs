//! Crashes in the middle of writing: what was acknowledged is there once, what was not can be sent again.
//!
//! Four writers issue numbered invoices under idempotency keys while the server, or its PostgreSQL, is killed. The short
//! form kills each a few times; `ENCOURS_KILLS` sets how often: `ENCOURS_KILLS=50 cargo test --test api faults`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Second, command_on, tried};

const WRITERS: usize = 4;
const ISSUE: &str = "mutation($input: IssueInvoiceInput!) { issueInvoice(input: $input) { invoice { number } userErrors { code message } } }";

/// What the writers share: where the server is now, what it acknowledged, and whether to go on.
struct Work {
    url: Mutex<String>,
    token: String,
    acknowledged: Mutex<BTreeMap<String, String>>,
    over: AtomicBool,
}

impl Work {
    fn ask(&self, body: &Value) -> Option<Value> {
        let url = self.url.lock().expect("an address").clone();
        tried(&url, &self.token, body)
    }

    fn issue(&self, key: &str) -> Option<String> {
        let today = crate::harness::today().to_string();
        let input = json!({ "client": { "number": "C001" }, "issuedOn": today, "idempotencyKey": key,
            "lines": [{ "description": "Prestation", "quantity": "1", "unitPrice": "10.00", "vatRate": "20" }] });
        let answer = self.ask(&json!({ "query": ISSUE, "variables": { "input": input } }))?;
        // Every answer during a fault is right or a clean error.
        let payload = &answer["data"]["issueInvoice"];
        match payload["invoice"]["number"].as_str() {
            Some(number) => Some(number.to_owned()),
            None => {
                let code = answer["errors"][0]["extensions"]["code"].as_str();
                let refused = payload["userErrors"][0]["code"].as_str();
                let clean = matches!(
                    code.or(refused),
                    Some("UNAVAILABLE" | "TIMEOUT" | "CONFLICT")
                );
                assert!(clean, "{answer}");
                None
            }
        }
    }

    /// Issues one invoice after the other, each until it is acknowledged.
    fn write(&self, writer: usize) {
        for number in 0.. {
            let key = format!("w{writer}-{number}");
            let deadline = Instant::now() + Duration::from_secs(60);
            let issued = loop {
                if let Some(issued) = self.issue(&key) {
                    break issued;
                }
                assert!(Instant::now() < deadline, "{key} is not taken");
                std::thread::sleep(Duration::from_millis(20));
            };
            self.acknowledged
                .lock()
                .expect("what was done")
                .insert(key, issued);
            if self.over.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().expect("what was done").len()
    }
}

/// Kills the PostgreSQL of a data directory as a crash would.
fn kill_postgres(data: &Path) {
    let text = std::fs::read_to_string(data.join("postgres/postmaster.pid")).expect("its process");
    let pid = text.lines().next().expect("a number").to_owned();
    let killed = std::process::Command::new("kill")
        .args(["-9", &pid])
        .status();
    assert!(killed.expect("kill").success());
}

#[test]
fn what_was_acknowledged_survives_crashes_once() {
    if std::env::var_os("TEST_DATABASE_URL").is_some() {
        // A database that others use is not ours to kill.
        return;
    }
    let kills: usize = std::env::var("ENCOURS_KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2);
    let data =
        std::env::temp_dir().join(format!("encours-faults-{}", uuid::Uuid::now_v7().simple()));
    std::fs::create_dir(&data).expect("a directory");
    let company = command_on(
        &data,
        &[
            "company",
            "create",
            "--name",
            "Test",
            "--segregation",
            "off",
        ],
    );
    let token = command_on(&data, &["token", "--company", &company, "--role", "ADMIN"]);
    let mut server = Some(Second::alone(&data));
    let url = server
        .as_ref()
        .map(|server| server.url.clone())
        .expect("a server");
    let work = Work {
        url: Mutex::new(url),
        token,
        acknowledged: Mutex::default(),
        over: AtomicBool::new(false),
    };
    let client = json!({ "query": "mutation { createClient(input: { number: \"C001\", name: \"Client\" }) { userErrors { code } } }" });
    work.ask(&client).expect("a client");
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let work = &work;
            scope.spawn(move || work.write(writer));
        }
        for kill in 0..2 * kills {
            let before = work.count();
            let deadline = Instant::now() + Duration::from_secs(60);
            while work.count() < before + 20 {
                assert!(Instant::now() < deadline, "the writers do not come on");
                std::thread::sleep(Duration::from_millis(5));
            }
            if kill % 2 == 0 {
                if let Some(server) = server.take() {
                    server.kill();
                }
                let next = Second::alone(&data);
                work.url.lock().expect("an address").clone_from(&next.url);
                server = Some(next);
            } else {
                kill_postgres(&data);
            }
        }
        work.over.store(true, Ordering::Relaxed);
    });
    proven(&work);
    drop(server);
    // The server stops its database before it ends; then the directory can go.
    std::thread::sleep(Duration::from_millis(500));
    let _ = std::fs::remove_dir_all(&data);
}

/// As many invoices as were acknowledged, numbered without a gap or a double; each key still answers its own number;
/// the books hold.
fn proven(work: &Work) {
    let done = work.acknowledged.lock().expect("what was done").clone();
    let numbers: BTreeSet<&String> = done.values().collect();
    assert_eq!(numbers.len(), done.len(), "a number was given twice");
    let last = numbers
        .last()
        .and_then(|number| number.rsplit('-').next())
        .expect("a number");
    let last: usize = last.parse().expect("a number");
    assert_eq!(last, done.len(), "the numbers have gaps");
    let asked = json!({ "query": "{ invoices { totalCount } integrityCheck { ok checks { code broken } } }" });
    let answer = work.ask(&asked).expect("an answer");
    assert_eq!(
        answer["data"]["invoices"]["totalCount"],
        done.len(),
        "{answer}"
    );
    assert_eq!(answer["data"]["integrityCheck"]["ok"], true, "{answer}");
    for (key, number) in &done {
        assert_eq!(
            work.issue(key).as_ref(),
            Some(number),
            "{key} answers another number now"
        );
    }
    println!(
        "{} invoices acknowledged, 0 lost, 0 doubled, 0 gaps",
        done.len()
    );
}
