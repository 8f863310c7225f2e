//! Reports on a streaming replica: a real standby of the test server's Postgres.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Answer, Api, Company, Second, data_dir, day, single};

const PATIENCE: Duration = Duration::from_secs(60);
const PORT: u16 = 5433;

/// A standby that follows the test server's Postgres; it ends with its handle.
struct Standby {
    directory: PathBuf,
    server: Child,
}

impl Standby {
    /// A copy of the cluster, and a server on it.
    fn start() -> Standby {
        // The address of the socket may be no longer than 100 bytes.
        let name = Uuid::now_v7().simple().to_string();
        let directory = PathBuf::from(format!("/tmp/enc-{}", &name[20..]));
        std::fs::create_dir(&directory).expect("a directory");
        let cluster = std::fs::metadata(data_dir().join("postgres")).expect("the cluster");
        std::os::unix::fs::chown(&directory, Some(cluster.uid()), Some(cluster.gid()))
            .expect("its owner");
        let copied = as_owner("pg_basebackup")
            .args([
                "--checkpoint=fast",
                "--wal-method=stream",
                "--write-recovery-conf",
            ])
            .args([
                "--no-sync",
                "--port=5432",
                "--username=encours",
                "--no-password",
            ])
            .arg("-h")
            .arg(std::fs::canonicalize(data_dir().join("run")).expect("the socket's directory"))
            .arg("-D")
            .arg(directory.join("data"))
            .output()
            .expect("pg_basebackup");
        let said = String::from_utf8_lossy(&copied.stderr);
        assert!(copied.status.success(), "pg_basebackup: {said}");
        Standby {
            server: launched(&directory),
            directory,
        }
    }

    /// Starts it again after a stop.
    fn restart(&mut self) {
        self.server = launched(&self.directory);
    }

    fn url(&self, user: &str) -> String {
        url(&self.directory, user)
    }

    fn run(&self, sql: &str) {
        let mut conn = PgConnection::establish(&self.url("encours")).expect("a connection");
        conn.batch_execute(sql).expect(sql);
    }

    fn stop(&mut self) {
        let id = self.server.id().to_string();
        let _ = Command::new("kill").args(["-INT", &id]).status();
        let _ = self.server.wait();
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn url(directory: &Path, user: &str) -> String {
    format!(
        "host={} port={PORT} user={user} dbname=encours",
        directory.display()
    )
}

/// A program of Postgres, run as the account that the cluster belongs to.
fn as_owner(program: &str) -> Command {
    let mut command = Command::new(binaries().join(program));
    command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0);
    if is_root {
        let cluster = std::fs::metadata(data_dir().join("postgres")).expect("the cluster");
        command.uid(cluster.uid()).gid(cluster.gid());
    }
    command
}

/// A server on a copied cluster, once it answers.
fn launched(directory: &Path) -> Child {
    let log = std::fs::File::create(directory.join("log")).expect("a log");
    let mut server = as_owner("postgres");
    server.arg("-D").arg(directory.join("data")).stderr(log);
    let port = PORT.to_string();
    for (name, value) in [
        ("listen_addresses", ""),
        ("port", port.as_str()),
        (
            "unix_socket_directories",
            directory.to_str().expect("UTF-8"),
        ),
        ("fsync", "off"),
        ("lc_messages", "C"),
    ] {
        server.arg("-c").arg(format!("{name}={value}"));
    }
    let mut server = server.spawn().expect("postgres");
    let deadline = Instant::now() + PATIENCE;
    while PgConnection::establish(&url(directory, "encours")).is_err() {
        if Instant::now() > deadline {
            let _ = server.kill();
            let log = std::fs::read_to_string(directory.join("log"));
            panic!("the standby does not answer: {}", log.unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    server
}

/// The programs of the server that runs: those of its own version.
fn binaries() -> PathBuf {
    let pid =
        std::fs::read_to_string(data_dir().join("postgres/postmaster.pid")).expect("a server");
    let pid = pid.lines().next().expect("a process");
    let program =
        std::fs::read_link(Path::new("/proc").join(pid).join("exe")).expect("its program");
    program.parent().expect("its directory").to_owned()
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: still not");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A caller of the server with the replica.
struct Reader<'a> {
    server: &'a Second,
    api: Api,
}

impl Reader<'_> {
    fn send(&self, body: &Value, position: Option<&str>) -> Answer {
        let mut headers = vec![("authorization", self.api.authorization())];
        headers.extend(position.map(|position| ("x-encours-position", position.to_owned())));
        self.server.send("/graphql", &headers, body)
    }

    /// The total of the aged balance.
    fn total(&self, position: Option<&str>) -> String {
        let query = "query($on: Date) { agedBalance(asOf: $on) { totals { total } } }";
        let body = json!({ "query": query, "variables": { "on": day("12-31") } });
        let mut answer = self.send(&body, position).json();
        assert!(answer["errors"].is_null(), "{answer}");
        let totals = single(answer["data"]["agedBalance"]["totals"].take());
        totals["total"].as_str().expect("a total").to_owned()
    }

    /// Issues an invoice of 120.00; where the log stood then.
    fn invoice(&self, number: &str) -> String {
        let query = "mutation($input: IssueInvoiceInput!) { issueInvoice(input: $input) { invoice { number } userErrors { code message } } }";
        let input = json!({
            "client": { "number": "C001" }, "number": number, "issuedOn": day("01-10"), "dueOn": day("02-09"),
            "lines": [{ "description": "Prestation", "quantity": "1", "unitPrice": "100.00", "vatRate": "20" }],
        });
        let answer = self.send(
            &json!({ "query": query, "variables": { "input": input } }),
            None,
        );
        let found = answer.json();
        assert_eq!(
            found["data"]["issueInvoice"]["invoice"]["number"], number,
            "{found}"
        );
        answer.position.expect("X-Encours-Position")
    }
}

/// How many reports were read by a route.
fn reports(server: &Second, route: &str) -> u64 {
    let metrics = server.fetch("/metrics", &[]).text;
    let name = format!("encours_replica_reports{{name=\"{route}\"}} ");
    let count = metrics.lines().find_map(|line| line.strip_prefix(&name));
    count.map_or(0, |count| count.parse().expect("a count"))
}

#[test]
fn reports_are_read_on_the_replica_and_nobody_misses_what_they_wrote() {
    if std::env::var_os("TEST_DATABASE_URL").is_some() {
        println!("a server of somebody else's cannot be copied: not tested");
        return;
    }
    let company = Company::new();
    company.admin().client("C001");
    let mut standby = Standby::start();
    let server = Second::start(&[("DATABASE_REPLICA_URL", &standby.url("encours_app"))]);
    let writer = Reader {
        server: &server,
        api: company.admin(),
    };
    let reader = Reader {
        server: &server,
        api: company.as_role("AUDITOR"),
    };
    assert_eq!(
        server.fetch("/ready", &[]).json(),
        json!({ "status": "ok", "replica": "ok" })
    );

    // A report goes there as soon as the replica has the write; until then it is right all the same.
    let first = writer.invoice("FA-1");
    until("a report on the replica", || {
        assert_eq!(writer.total(None), "120.00");
        reports(&server, "replica") > 0
    });
    assert_eq!(reader.total(None), "120.00");

    // The replica stands still: who has written sees it, who has not seen it may not, who has been told of it does.
    standby.run("SELECT pg_wal_replay_pause()");
    let second = writer.invoice("FA-2");
    assert_ne!(first, second);
    let behind = reports(&server, "behind");
    assert_eq!(writer.total(None), "240.00");
    assert!(reports(&server, "behind") > behind);
    let there = reports(&server, "replica");
    let stale = reader.total(None);
    match reports(&server, "replica") - there {
        // A busy machine: it stands still for longer than a report may be old.
        0 => assert_eq!(stale, "240.00"),
        _ => assert_eq!(stale, "120.00"),
    }
    assert_eq!(reader.total(Some(&second)), "240.00");
    // A position that is none is not looked at; one that was never reached is asked of the primary.
    assert_eq!(reader.total(Some("FFFFFFFF/0")), "240.00");
    // No report is older than a few seconds, whatever became of the replication.
    until("a report that is not too old", || {
        reader.total(None) == "240.00"
    });

    standby.run("SELECT pg_wal_replay_resume()");
    let there = reports(&server, "replica");
    until("the replica has come on", || {
        assert_eq!(writer.total(Some(&second)), "240.00");
        reports(&server, "replica") > there
    });

    // A mutation and its own answer are the primary's, and a document that asks for more than reports too.
    let mixed = json!({ "query": "{ agedBalance { totals { total } } viewer { role } }" });
    let there = reports(&server, "replica");
    assert_eq!(reader.send(&mixed, None).status, 200);
    assert_eq!(reports(&server, "replica"), there);

    standby.stop();
    assert_eq!(writer.total(None), "240.00");
    assert!(reports(&server, "away") > 0);
    let ready = server.fetch("/ready", &[]);
    assert_eq!(
        (ready.status, ready.json()),
        (200, json!({ "status": "ok", "replica": "away" }))
    );

    // It comes back, and so do reports.
    standby.restart();
    let there = reports(&server, "replica");
    until("a report on the replica that is back", || {
        assert_eq!(writer.total(None), "240.00");
        reports(&server, "replica") > there
    });
}
