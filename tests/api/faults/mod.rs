//! Faults and crowds: what is acknowledged is there once, every answer meanwhile is right or a clean error, and
//! recovery needs no hand.
//!
//! What does harm has a server and a PostgreSQL of its own, a [`Ground`]. The short form is part of the suite and
//! asserts what is right, and times by order of magnitude only. The long form, `make faults`, sets `ENCOURS_FAULTS=long`:
//! more kills, more writers, and the times are printed and held to their figures.

mod clock;
mod crashes;
mod crowds;
mod disk;
mod drain;
mod flood;
mod gathered;
mod lanes;
mod overload;
mod together;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use diesel::connection::{Connection, SimpleConnection};
use diesel::sql_types::{BigInt, Text};
use diesel::{PgConnection, RunQueryDsl};
use serde_json::{Value, json};

use crate::harness::{Second, command_on, today, tried};

pub const ISSUE: &str = "mutation($input: IssueInvoiceInput!) { issueInvoice(input: $input) { invoice { number } userErrors { code message } } }";

/// Whether this is the long form.
pub fn long() -> bool {
    std::env::var("ENCOURS_FAULTS").is_ok_and(|form| form == "long")
}

/// The figure of the long form, or the order of magnitude that the suite asserts on a machine with other work.
pub fn within(figure: Duration) -> Duration {
    if long() { figure } else { figure * 10 }
}

/// A server with a PostgreSQL of its own, to do harm to; nothing is left of it.
pub struct Ground {
    pub data: PathBuf,
    pub company: String,
    pub token: String,
    server: Mutex<Option<Second>>,
    settings: Vec<(String, String)>,
}

impl Ground {
    /// None where the tests use a database that others use too: it is not ours to harm.
    pub fn new(settings: &[(&str, &str)]) -> Option<Ground> {
        Ground::at(&fresh_directory(), settings)
    }

    /// The same in a directory that is there.
    pub fn at(data: &Path, settings: &[(&str, &str)]) -> Option<Ground> {
        if std::env::var_os("TEST_DATABASE_URL").is_some() {
            let _ = std::fs::remove_dir(data);
            return None;
        }
        let data = data.to_owned();
        let create = [
            "company",
            "create",
            "--name",
            "Test",
            "--segregation",
            "off",
        ];
        let company = command_on(&data, &create);
        let token = command_on(&data, &["token", "--company", &company, "--role", "ADMIN"]);
        let ground = Ground {
            data,
            company,
            token,
            server: Mutex::default(),
            settings: settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        ground.start();
        let client = ground
            .ask("mutation { createClient(input: { number: \"C001\", name: \"Client\" }) { userErrors { code } } }");
        assert_eq!(client["data"]["createClient"]["userErrors"], json!([]));
        Some(ground)
    }

    /// Starts the server; the one before must be gone.
    pub fn start(&self) {
        let settings: Vec<(&str, &str)> = self
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let server = Second::on(&self.data, &settings);
        *self.server.lock().expect("the server") = Some(server);
    }

    /// Takes the server out, to kill it or to see it end.
    pub fn take(&self) -> Second {
        self.server
            .lock()
            .expect("the server")
            .take()
            .expect("a server")
    }

    pub fn url(&self) -> Option<String> {
        let server = self.server.lock().expect("the server");
        server.as_ref().map(|server| server.url.clone())
    }

    /// A figure of `/metrics`, by its whole name.
    pub fn metric(&self, name: &str) -> i64 {
        let server = self.server.lock().expect("the server");
        server.as_ref().expect("a server").metric(name)
    }

    /// The answer to a request; none when there is no server to answer.
    pub fn tried(&self, body: &Value) -> Option<Value> {
        tried(&self.url()?, &self.token, body)
    }

    #[track_caller]
    pub fn ask(&self, document: &str) -> Value {
        self.tried(&json!({ "query": document }))
            .expect("an answer")
    }

    /// Issues an invoice under a key: its number, or nothing when the answer is a clean error or none came.
    #[track_caller]
    pub fn issue(&self, key: &str) -> Option<String> {
        let answer = self.tried(&invoice(Some(key), &today().to_string(), false))?;
        let number = answer["data"]["issueInvoice"]["invoice"]["number"].as_str();
        if number.is_none() {
            assert!(is_clean(&answer), "{answer}");
        }
        number.map(str::to_owned)
    }

    /// Issues an invoice, however often it has to be sent, and says how long that took.
    #[track_caller]
    pub fn issue_at_last(&self, key: &str) -> (String, Duration) {
        let since = Instant::now();
        loop {
            if let Some(number) = self.issue(key) {
                return (number, since.elapsed());
            }
            assert!(
                since.elapsed() < Duration::from_secs(90),
                "{key} is not taken"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The status of a path, and how long it took.
    pub fn status(&self, path: &str) -> (u16, String, Duration) {
        let since = Instant::now();
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .build()
            .into();
        let url = self.url().unwrap_or_default();
        match agent.get(format!("{url}{path}")).call() {
            Ok(mut answer) => {
                let text = answer.body_mut().read_to_string().unwrap_or_default();
                (answer.status().as_u16(), text, since.elapsed())
            }
            Err(_) => (0, String::new(), since.elapsed()),
        }
    }

    fn owner_url(&self) -> String {
        let run = self.data.join("run");
        format!(
            "host={} port=5432 user=encours dbname=encours",
            run.display()
        )
    }

    /// A connection as the owner of the tables, beside the server.
    pub fn owner(&self) -> PgConnection {
        let url = self.owner_url();
        let since = Instant::now();
        loop {
            match PgConnection::establish(&url) {
                Ok(conn) => return conn,
                Err(error) => assert!(since.elapsed() < Duration::from_secs(90), "{error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A statement that may fail, on a database that may be away.
    pub fn tried_sql(&self, text: &str) -> Result<(), String> {
        let mut conn = PgConnection::establish(&self.owner_url()).map_err(|why| why.to_string())?;
        conn.batch_execute(text).map_err(|why| why.to_string())
    }

    pub fn sql(&self, text: &str) {
        self.owner().batch_execute(text).expect("the statement");
    }

    /// How many connections wait for a lock with a statement like this.
    pub fn waiting(&self, like: &str) -> i64 {
        let waits = diesel::dsl::sql::<BigInt>(
            "(SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE ",
        )
        .bind::<Text, _>(like)
        .sql(")");
        diesel::select(waits)
            .get_result(&mut self.owner())
            .expect("a figure")
    }

    #[track_caller]
    pub fn sound(&self) {
        let answer = self.ask("{ integrityCheck { ok checks { code broken } } }");
        assert_eq!(answer["data"]["integrityCheck"]["ok"], true, "{answer}");
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Ok(mut server) = self.server.lock() {
            // It stops its database before it ends.
            server.take();
        }
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

pub fn fresh_directory() -> PathBuf {
    let name = format!("encours-faults-{}", uuid::Uuid::now_v7().simple());
    let data = std::env::temp_dir().join(name);
    std::fs::create_dir(&data).expect("a directory");
    data
}

/// A request that issues an invoice of 12.00 to C001.
pub fn invoice(key: Option<&str>, issued_on: &str, validate_only: bool) -> Value {
    let mut input = json!({ "client": { "number": "C001" }, "issuedOn": issued_on,
        "lines": [{ "description": "Prestation", "quantity": "1", "unitPrice": "10.00", "vatRate": "20" }] });
    if let Some(key) = key {
        input["idempotencyKey"] = json!(key);
    }
    if validate_only {
        input["validateOnly"] = json!(true);
    }
    json!({ "query": ISSUE, "variables": { "input": input } })
}

/// Whether an answer says in a known way that the request was not done for now.
pub fn is_clean(answer: &Value) -> bool {
    let code = answer["errors"][0]["extensions"]["code"].as_str();
    let refused = answer["data"]["issueInvoice"]["userErrors"][0]["code"].as_str();
    matches!(
        code.or(refused),
        Some("UNAVAILABLE" | "TIMEOUT" | "CONFLICT")
    )
}

/// The process of the PostgreSQL of a data directory.
pub fn postmaster(data: &Path) -> String {
    let text = std::fs::read_to_string(data.join("postgres/postmaster.pid")).expect("its process");
    text.lines().next().expect("a number").to_owned()
}

/// The seconds of a time, for people.
pub fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
