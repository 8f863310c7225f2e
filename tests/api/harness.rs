//! A server for the tests of this process, and companies on it.
//!
//! The server is the real binary with its private Postgres, or on `TEST_DATABASE_URL` when it is set.
//! It stops when this process ends, however it ends: its standard input closes then.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use chrono::{Datelike, NaiveDate, Utc};
use serde_json::{Value, json};
use ureq::Agent;
use uuid::Uuid;

/// The documents that clients rely on.
const CONTRACT: &[&str] = &[
    include_str!("../contract/clients.graphql"),
    include_str!("../contract/disputes.graphql"),
    include_str!("../contract/documents.graphql"),
    include_str!("../contract/payments.graphql"),
    include_str!("../contract/reports.graphql"),
    include_str!("../contract/session.graphql"),
];

struct Server {
    url: String,
    data: PathBuf,
    agent: Agent,
    /// Its standard input is the server's leash.
    _child: Child,
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(start)
}

fn start() -> Server {
    let data = std::env::temp_dir().join(format!("encours-{}", Uuid::now_v7().simple()));
    std::fs::create_dir(&data).expect("a directory for the test server");
    let (child, url, _) = serve(
        &data,
        "trap '' INT HUP TERM; directory=$1; shift; \"$@\"; rm -rf \"$directory\"",
        &[],
    );
    prolong_rates(&data);
    let agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .into();
    Server {
        url,
        data,
        agent,
        _child: child,
    }
}

/// Lets the last legal rates that the migrations know hold until further notice: what states interest is tested on any
/// day, whether or not the next half-year's are published.
fn prolong_rates(data: &std::path::Path) {
    use diesel::connection::{Connection, SimpleConnection};
    let mut conn =
        diesel::PgConnection::establish(&owner_url_on(data)).expect("the owner's connection");
    conn.batch_execute(
        "INSERT INTO legal_rates (kind, valid_from, value, unit, source) \
         SELECT kind, valid_to + 1, value, unit, 'test' FROM (SELECT DISTINCT ON (kind) * FROM legal_rates ORDER BY kind, valid_from DESC) last \
         WHERE valid_to IS NOT NULL ON CONFLICT DO NOTHING",
    )
    .expect("rates");
}

/// Another server on the same data, with further settings; it stops when it is dropped.
pub struct Second {
    pub url: String,
    log: PathBuf,
    child: Child,
}

impl Second {
    /// A server with a data directory of its own, and no private database but its own.
    pub fn on(data: &std::path::Path, settings: &[(&str, &str)]) -> Second {
        let (child, url, log) = serve(data, "shift; exec \"$@\"", settings);
        Second { url, log, child }
    }

    /// Ends it as a crash would.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("an exit status");
    }

    pub fn start(settings: &[(&str, &str)]) -> Second {
        Second::on(&server().data, settings)
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log of the server")
    }

    /// Fetches a path there.
    pub fn fetch(&self, path: &str, headers: &[(&str, String)]) -> Answer {
        sent(&self.url, path, headers, None)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("kill").success());
    }

    /// Sends it SIGTERM.
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Waits for its end: whether it was a good one.
    pub fn ended_well(mut self) -> bool {
        self.child.wait().expect("an exit status").success()
    }

    /// The same caller there.
    pub fn status(&self, token: &str) -> u16 {
        let headers = [("authorization", format!("Bearer {token}"))];
        let body = json!({ "query": "{ viewer { name } }" });
        sent(&self.url, "/graphql", &headers, Some(&body)).status
    }

    /// Posts JSON to a path there.
    pub fn send(&self, path: &str, headers: &[(&str, String)], body: &Value) -> Answer {
        sent(&self.url, path, headers, Some(body))
    }

    /// A figure of its metrics.
    pub fn metric(&self, name: &str) -> i64 {
        let text = sent(&self.url, "/metrics", &[], None).text;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    /// What the caller's document answers there, with variables.
    pub fn run(&self, token: &str, document: &str, variables: &Value) -> Value {
        let headers = [("authorization", format!("Bearer {token}"))];
        let body = json!({ "query": document, "variables": variables });
        sent(&self.url, "/graphql", &headers, Some(&body)).json()
    }

    /// What the caller's document answers there.
    pub fn ask(&self, token: &str, document: &str) -> Value {
        let headers = [("authorization", format!("Bearer {token}"))];
        sent(
            &self.url,
            "/graphql",
            &headers,
            Some(&json!({ "query": document })),
        )
        .json()
    }
}

/// Settings that every test server has: an identity provider, and this machine as a proxy that says who asks.
fn settings() -> [(&'static str, String); 9] {
    use crate::idp;
    static KEYS: OnceLock<String> = OnceLock::new();
    [
        ("ENCOURS_TRUSTED_PROXIES", "127.0.0.1".into()),
        ("ENCOURS_OIDC_ISSUER", idp::ISSUER.into()),
        ("ENCOURS_OIDC_AUDIENCE", idp::AUDIENCE.into()),
        (
            "ENCOURS_OIDC_JWKS_URL",
            KEYS.get_or_init(idp::serve).clone(),
        ),
        ("ENCOURS_OIDC_COMPANY_CLAIM", "company".into()),
        // Nobody has to be told that a test server ends.
        ("ENCOURS_STOP_NOTICE", "0".into()),
        // The tests are one greedy caller.
        ("ENCOURS_RATE_BURST", "100000000".into()),
        ("ENCOURS_RATE_PER_SECOND", "1000000".into()),
        ("ENCOURS_RATE_AT_ONCE", "1000".into()),
    ]
}

/// Runs the binary under a shell script, and waits for its address.
fn serve(data: &std::path::Path, script: &str, more: &[(&str, &str)]) -> (Child, String, PathBuf) {
    let log = data.join(format!("server-{}.log", Uuid::now_v7().simple()));
    // The shell outlives the server, to take the directory away.
    let mut child = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(data)
        .arg(env!("CARGO_BIN_EXE_encours"))
        // What it would do by itself the tests ask for, company by company.
        .args([
            "serve",
            "--job-seconds",
            "3600",
            "--listen",
            "127.0.0.1:0",
            "--data",
        ])
        .arg(data)
        .envs(database())
        .envs(settings())
        .envs(more.iter().copied())
        .env("ENCOURS_STOP_ON_EOF", "1")
        .env("ENCOURS_ALLOW_PRIVATE_WEBHOOKS", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(File::create(&log).expect("the log of the test server"))
        .spawn()
        .expect("the test server");
    let url = listening(&mut child).unwrap_or_else(|| {
        panic!(
            "the server does not start: {}",
            std::fs::read_to_string(&log).unwrap_or_default()
        )
    });
    (child, url, log)
}

/// Sends a request to a server that may be gone: none when it does not answer.
pub fn tried(url: &str, token: &str, body: &Value) -> Option<Value> {
    let request = server()
        .agent
        .post(format!("{url}/graphql"))
        .header("authorization", format!("Bearer {token}"));
    let mut answer = request.send_json(body).ok()?;
    answer.body_mut().read_json().ok()
}

/// Runs a command of the binary on a data directory; what it prints.
pub fn command_on(data: &std::path::Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_encours"))
        .args(arguments)
        .arg("--data")
        .arg(data)
        .output()
        .expect("the encours binary");
    let shown = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "encours {arguments:?}: {shown}");
    String::from_utf8(output.stdout)
        .expect("UTF-8")
        .trim_end()
        .to_owned()
}

/// Sends a request to a server as it is: no token, unless a header holds one.
fn sent(url: &str, path: &str, headers: &[(&str, String)], body: Option<&Value>) -> Answer {
    let agent = &server().agent;
    let answer = match body {
        Some(body) => {
            let request = agent.post(format!("{url}{path}"));
            let request = headers.iter().fold(request, |request, (name, value)| {
                request.header(*name, value)
            });
            request.send_json(body)
        }
        None => {
            let request = agent.get(format!("{url}{path}"));
            let request = headers.iter().fold(request, |request, (name, value)| {
                request.header(*name, value)
            });
            request.call()
        }
    };
    Answer::read(answer.expect("an answer of the server"))
}

/// Posts JSON to a path of the server, or fetches it when there is none.
pub fn send(path: &str, headers: &[(&str, String)], body: Option<&Value>) -> Answer {
    sent(&server().url, path, headers, body)
}

/// The address that a server prints when it is ready.
fn listening(child: &mut Child) -> Option<String> {
    BufReader::new(child.stdout.take()?)
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("listening on ").map(str::to_owned))
}

/// The address of the server.
pub fn url() -> &'static str {
    &server().url
}

impl Drop for Second {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The database that was given to the tests, as a setting.
pub fn database() -> Option<(&'static str, String)> {
    std::env::var("TEST_DATABASE_URL")
        .ok()
        .map(|url| ("DATABASE_URL", url))
}

/// Runs a command of the binary on the server's data; what it prints.
pub fn command(arguments: &[&str]) -> String {
    let output = ran(arguments);
    let shown = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "encours {arguments:?}: {shown}");
    String::from_utf8(output.stdout)
        .expect("UTF-8")
        .trim_end()
        .to_owned()
}

/// Runs a command that may fail: whether it succeeded, and what it printed.
pub fn outcome(arguments: &[&str]) -> (bool, String) {
    let output = ran(arguments);
    let shown = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&shown).into_owned(),
    )
}

fn ran(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_encours"))
        .args(arguments)
        .arg("--data")
        .arg(&server().data)
        .envs(database())
        .output()
        .expect("the encours binary")
}

/// The database of the test server, as its serving role.
pub fn serving_url() -> String {
    std::env::var("TEST_DATABASE_URL").unwrap_or_else(|_| {
        let run = server().data.join("run");
        format!(
            "host={} port=5432 user=encours_app dbname=encours",
            run.display()
        )
    })
}

/// The directory of the test server.
pub fn data_dir() -> &'static std::path::Path {
    &server().data
}

/// The database of the test server, as its owner.
pub fn owner_url() -> String {
    owner_url_on(&server().data)
}

fn owner_url_on(data: &std::path::Path) -> String {
    std::env::var("TEST_DATABASE_URL").unwrap_or_else(|_| {
        let run = data.join("run");
        format!(
            "host={} port=5432 user=encours dbname=encours",
            run.display()
        )
    })
}

/// A connection as the owner of the tables.
pub fn owner() -> diesel::PgConnection {
    diesel::Connection::establish(&owner_url()).expect("the owner's connection")
}

/// What a statement of the owner finds in its column `found`.
pub fn texts(sql: &str) -> Vec<String> {
    use diesel::RunQueryDsl as _;
    #[derive(diesel::QueryableByName)]
    struct Found {
        #[diesel(sql_type = diesel::sql_types::Text)]
        found: String,
    }
    let rows: Vec<Found> = diesel::sql_query(sql).load(&mut owner()).expect("rows");
    rows.into_iter().map(|row| row.found).collect()
}

/// The uuid behind an id such as `com_…`.
pub fn uuid(id: &str) -> Uuid {
    let (_, hex) = id.split_once('_').expect("a typed id");
    Uuid::try_parse(hex).expect("an id")
}

/// Changes the tables behind everybody's back: as their owner, without the triggers that forbid it.
pub fn tamper(sql: &str) {
    use diesel::connection::SimpleConnection;
    let mut conn = owner();
    conn.batch_execute("SET session_replication_role = replica")
        .and_then(|()| conn.batch_execute(sql))
        .expect("the change");
}

/// The year before this one: all its days have come, whatever today is.
pub fn year() -> i32 {
    today().year() - 1
}

/// Today in the time zone of the companies.
pub fn today() -> NaiveDate {
    Utc::now()
        .with_timezone(&chrono_tz::Europe::Paris)
        .date_naive()
}

/// A day of [that year](year): `"03-31"`.
pub fn day(month_and_day: &str) -> String {
    format!("{}-{month_and_day}", year())
}

/// In thirty days: the last day of a key.
pub fn soon() -> String {
    (today() + chrono::Days::new(30)).to_string()
}

/// This instant, with nothing else happening around it.
pub fn instant() -> String {
    let pause = Duration::from_millis(25);
    std::thread::sleep(pause);
    let now = Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    std::thread::sleep(pause);
    now
}

/// A company of its own.
pub struct Company {
    pub id: String,
    tokens: Mutex<HashMap<String, String>>,
}

impl Company {
    /// A fresh company without segregation of duties.
    pub fn new() -> Company {
        Company::created(&["--segregation", "off"])
    }

    /// A fresh company with segregation of duties.
    pub fn segregated() -> Company {
        Company::created(&["--segregation", "on"])
    }

    /// A fresh company as these options of the command line make it.
    pub fn created(options: &[&str]) -> Company {
        let create = ["company", "create", "--name", "Test"];
        let id = command(&[&create, options].concat());
        Company {
            id,
            tokens: Mutex::default(),
        }
    }

    /// A caller of this role; for `SALES` a member of their own.
    pub fn as_role(&self, role: &str) -> Api {
        match role {
            "SALES" => self.as_member("SALES").0,
            _ => self.caller(role, None),
        }
    }

    /// Everything is allowed.
    pub fn admin(&self) -> Api {
        self.as_role("ADMIN")
    }

    /// A new member of this role, and their id.
    pub fn as_member(&self, role: &str) -> (Api, String) {
        let email = format!("{}@example.com", Uuid::now_v7().simple());
        let saved = self.admin().done(
            "mutation($input: SaveMemberInput!) { saveMember(input: $input) { member { id } userErrors { code field message } } }",
            json!({ "input": { "email": email, "name": "Camille", "role": role } }),
        );
        let id = saved["member"]["id"].as_str().expect("a user").to_owned();
        (self.caller(role, Some(&email)), id)
    }

    /// A caller whose token is soon over.
    pub fn as_role_for(&self, role: &str, ttl: &str) -> Api {
        Api {
            token: command(&["token", "--company", &self.id, "--role", role, "--ttl", ttl]),
        }
    }

    fn caller(&self, role: &str, email: Option<&str>) -> Api {
        let mut tokens = self.tokens.lock().expect("tokens");
        let token = tokens
            .entry(format!("{role} {email:?}"))
            .or_insert_with(|| {
                let mut arguments = vec!["token", "--company", &self.id, "--role", role];
                arguments.extend(email.iter().flat_map(|email| ["--user", email]));
                command(&arguments)
            });
        Api {
            token: token.clone(),
        }
    }
}

/// Someone with a token.
#[derive(Clone)]
pub struct Api {
    token: String,
}

/// An answer as it came.
pub struct Answer {
    pub status: u16,
    pub text: String,
    /// SQL statements behind it.
    pub statements: Option<u32>,
    pub allow: Option<String>,
    pub disposition: Option<String>,
    pub retry_after: Option<String>,
    pub challenge: Option<String>,
    /// Where the log of the database stood after a write.
    pub position: Option<String>,
    pub etag: Option<String>,
}

impl Answer {
    fn read(mut response: ureq::http::Response<ureq::Body>) -> Answer {
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let statements = header("server-timing").and_then(|timing| {
            let count = timing.split("sql;desc=").nth(1)?;
            count
                .trim_start_matches('"')
                .split(['"', ',', ';'])
                .next()?
                .parse()
                .ok()
        });
        let (status, allow) = (response.status().as_u16(), header("allow"));
        let disposition = header("content-disposition");
        let retry_after = header("retry-after");
        let (challenge, position) = (header("www-authenticate"), header("x-encours-position"));
        let etag = header("etag");
        let text = response
            .body_mut()
            .read_to_string()
            .expect("a readable answer");
        Answer {
            status,
            text,
            statements,
            allow,
            disposition,
            retry_after,
            challenge,
            position,
            etag,
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text))
    }
}

impl Api {
    /// Someone whose token nobody issued.
    pub fn stranger() -> Api {
        Api {
            token: "eyJhbGciOiJub25lIn0.e30.".into(),
        }
    }

    /// The `Authorization` header.
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// Whoever holds this token.
    pub fn with(token: &str) -> Api {
        Api {
            token: token.to_owned(),
        }
    }

    /// The token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Posts a request.
    pub fn post(&self, body: &Value) -> Answer {
        let server = server();
        let request = server
            .agent
            .post(format!("{}/graphql", server.url))
            .header("authorization", format!("Bearer {}", self.token));
        Answer::read(request.send_json(body).expect("an answer of the server"))
    }

    /// Posts a file to a path of the server.
    pub fn upload(&self, path: &str, kind: &str, text: &str) -> Answer {
        let server = server();
        let request = server
            .agent
            .post(format!("{}{path}", server.url))
            .header("content-type", kind)
            .header("authorization", format!("Bearer {}", self.token));
        Answer::read(request.send(text).expect("an answer of the server"))
    }

    /// Posts bytes to a path of the server.
    pub fn send(&self, path: &str, bytes: &[u8]) -> Answer {
        self.sent_as(path, "application/octet-stream", bytes)
    }

    /// Posts bytes of a kind to a path of the server.
    pub fn sent_as(&self, path: &str, kind: &str, bytes: &[u8]) -> Answer {
        let server = server();
        let request = server
            .agent
            .post(format!("{}{path}", server.url))
            .header("content-type", kind)
            .header("authorization", format!("Bearer {}", self.token));
        Answer::read(request.send(bytes).expect("an answer of the server"))
    }

    /// Fetches the bytes of a path: status, body, and the seal of an evidence file.
    pub fn bytes(&self, path: &str) -> (u16, Vec<u8>, Option<String>) {
        let server = server();
        let mut answer = server
            .agent
            .get(format!("{}{path}", server.url))
            .header("authorization", format!("Bearer {}", self.token))
            .call()
            .expect("an answer of the server");
        let seal = answer.headers().get("x-manifest-sha256");
        let seal = seal.and_then(|seal| seal.to_str().ok()).map(str::to_owned);
        let status = answer.status().as_u16();
        let body = answer.body_mut().read_to_vec().expect("a body");
        (status, body, seal)
    }

    /// Attaches a file to a record: its id.
    pub fn attach(&self, subject: &str, kind: &str, name: &str, bytes: &[u8]) -> String {
        let answer = self.send(
            &format!("/files?subject={subject}&kind={kind}&name={name}"),
            bytes,
        );
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// The text of a letter.
    pub fn letter(&self, kind: &str, subject: &str) -> String {
        let preview = self.data(
            "query($kind: LetterKind!, $subject: ID!) { letterPreview(kind: $kind, subject: $subject) { subject text } }",
            json!({ "kind": kind, "subject": subject }),
        );
        let preview = &preview["letterPreview"];
        format!(
            "{}\n\n{}",
            preview["subject"].as_str().unwrap_or_default(),
            preview["text"].as_str().unwrap_or_default()
        )
    }

    /// Fetches a path of the server.
    pub fn fetch(&self, path: &str) -> Answer {
        let server = server();
        let request = server
            .agent
            .get(format!("{}{path}", server.url))
            .header("authorization", format!("Bearer {}", self.token));
        Answer::read(request.call().expect("an answer of the server"))
    }

    /// Asks by `GET`.
    pub fn get(&self, document: &str) -> Answer {
        let server = server();
        let request = server
            .agent
            .get(format!("{}/graphql", server.url))
            .header("authorization", format!("Bearer {}", self.token));
        Answer::read(
            request
                .query("query", document)
                .call()
                .expect("an answer of the server"),
        )
    }

    /// The whole answer to a document with one operation.
    pub fn run(&self, document: &str, variables: Value) -> Value {
        self.post(&json!({ "query": document, "variables": variables }))
            .json()
    }

    /// The data of an answer that has no errors.
    pub fn data(&self, document: &str, variables: Value) -> Value {
        data(self.run(document, variables))
    }

    /// The payload of a mutation that was done.
    pub fn done(&self, document: &str, variables: Value) -> Value {
        done(self.data(document, variables))
    }

    /// The answer to an operation of the contract.
    pub fn contract(&self, operation: &str, variables: Value) -> Answer {
        self.post(&json!({ "query": document(operation), "operationName": operation, "variables": variables }))
    }

    /// The data of an operation of the contract that is a query.
    pub fn ask(&self, operation: &str, variables: Value) -> Value {
        data(self.contract(operation, variables).json())
    }

    /// The payload of an operation of the contract that is a mutation, done.
    pub fn make(&self, operation: &str, input: Value) -> Value {
        done(self.ask(operation, json!({ "input": input })))
    }

    /// A mutation of the contract that is refused for one reason: its code and the path of the input.
    #[track_caller]
    pub fn refused(&self, operation: &str, input: Value, code: &str, field: &[&str]) {
        let shown = format!("{operation} {input}");
        let payload = payload(self.ask(operation, json!({ "input": input })));
        let error = &payload["userErrors"][0];
        assert_eq!(
            (&error["code"], &error["field"]),
            (&json!(code), &json!(field)),
            "{shown}: {payload}"
        );
        for (name, value) in payload.as_object().expect("a payload") {
            assert!(
                name == "userErrors" || value.is_null(),
                "{shown}: refused, and yet {payload}"
            );
        }
    }

    /// Opens a client with 30 days net.
    pub fn client(&self, number: &str) -> Value {
        self.make(
            "CreateClient",
            json!({ "number": number, "name": format!("Client {number}") }),
        )["client"]
            .take()
    }

    /// Issues an invoice of one line.
    pub fn invoice(
        &self,
        client: &str,
        number: &str,
        issued_on: &str,
        due_on: &str,
        line: (&str, &str),
    ) -> Value {
        let input = json!({
            "client": { "number": client }, "number": number, "issuedOn": issued_on, "dueOn": due_on,
            "lines": [{ "description": "Prestation", "quantity": "1", "unitPrice": line.0, "vatRate": line.1 }],
        });
        self.make("IssueInvoice", input)["invoice"].take()
    }

    /// Records a transfer, on account.
    pub fn payment(&self, client: &str, number: &str, received_on: &str, amount: &str) -> Value {
        let input = json!({
            "client": { "number": client }, "number": number, "receivedOn": received_on, "method": "TRANSFER", "amount": amount,
        });
        self.make("RecordPayment", input)["payment"].take()
    }

    /// Every invariant of the books holds.
    #[track_caller]
    pub fn sound(&self) {
        let checked = self.data(
            "{ integrityCheck { ok checks { code broken } } }",
            json!({}),
        );
        assert_eq!(checked["integrityCheck"]["ok"], true, "{checked:#}");
    }

    /// Matches by numbers: debit, credit, amount.
    pub fn allocate(&self, allocated_on: &str, lines: &[(&str, &str, &str)]) -> Value {
        let lines: Vec<Value> = lines
            .iter()
            .map(|(debit, credit, amount)| json!({ "debit": { "number": debit }, "credit": { "number": credit }, "amount": amount }))
            .collect();
        self.make(
            "Allocate",
            json!({ "lines": lines, "allocatedOn": allocated_on }),
        )
    }

    /// A client's account on a day: its one balance and its open items.
    pub fn account(&self, client: &str, as_of: &str) -> (Value, Vec<Value>) {
        let mut data = self.ask(
            "ClientAccount",
            json!({ "client": { "number": client }, "asOf": as_of, "first": 50 }),
        );
        let items = data["client"]["openItems"]["nodes"]
            .as_array()
            .expect("open items")
            .clone();
        (single(data["client"]["balance"].take()), items)
    }

    /// A client's open items at the end of this year, in every currency: no effect of a write is later.
    pub fn account_items(&self, client: &str) -> Value {
        let as_of = format!("{}-12-31", today().year());
        let asked = json!({ "client": { "number": client }, "asOf": as_of, "first": 50 });
        self.ask("ClientAccount", asked)["client"]["openItems"]["nodes"].take()
    }
}

/// The document of the contract that holds an operation.
fn document(operation: &str) -> &'static str {
    let holds = |document: &&&str| {
        ["mutation", "query"].iter().any(|kind| {
            [" (", "(", " {"]
                .iter()
                .any(|end| document.contains(&format!("{kind} {operation}{end}")))
        })
    };
    CONTRACT
        .iter()
        .find(holds)
        .unwrap_or_else(|| panic!("no {operation} in the contract"))
}

/// The data of an answer without errors.
#[track_caller]
pub fn data(mut answer: Value) -> Value {
    assert!(answer["errors"].is_null(), "{answer:#}");
    answer["data"].take()
}

/// The payload of the only mutation.
#[track_caller]
fn payload(data: Value) -> Value {
    let fields = data.as_object().expect("data").len();
    assert_eq!(fields, 1, "{data}");
    data.as_object()
        .and_then(|data| data.values().next())
        .cloned()
        .unwrap_or_default()
}

#[track_caller]
fn done(data: Value) -> Value {
    let payload = payload(data);
    assert_eq!(payload["userErrors"], json!([]), "{payload:#}");
    payload
}

/// The only element of a list.
#[track_caller]
pub fn single(list: Value) -> Value {
    match list {
        Value::Array(mut values) if values.len() == 1 => values.remove(0),
        other => panic!("one element is expected: {other:#}"),
    }
}

/// The codes of an answer's errors.
pub fn codes(answer: &Value) -> Vec<&str> {
    let errors = answer["errors"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    errors
        .iter()
        .map(|error| error["extensions"]["code"].as_str().unwrap_or("(none)"))
        .collect()
}
