//! The wire below GraphQL: who dribbles, TLS, settings with mistakes, and what the log holds.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use uuid::Uuid;

use crate::harness::{Company, Second, data_dir, database};

/// Far longer than anything here takes on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn connected(server: &Second) -> TcpStream {
    let address = server.url.strip_prefix("http://").expect("an address");
    let stream = TcpStream::connect(address).expect("a connection");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    stream
}

/// Sends a byte now and then until the server has had enough; how long it took, and what it said.
fn dribbled(mut stream: TcpStream, pause: Duration) -> (Duration, String) {
    let began = Instant::now();
    stream.set_read_timeout(Some(pause)).expect("a time limit");
    let mut said = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        assert!(began.elapsed() < PATIENCE, "the server waits and waits");
        let _ = stream.write_all(b"a");
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => said.extend_from_slice(&buffer[..count]),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) => {}
            Err(_) => break,
        }
    }
    (began.elapsed(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn who_dribbles_is_cut_off_and_keeps_nobody_waiting() {
    let api = Company::new().admin();
    let server = Second::start(&[
        ("ENCOURS_HEAD_SECONDS", "1"),
        // For each of the threads that accept.
        ("ENCOURS_MAX_CONNECTIONS", "20"),
    ]);
    let head = "POST /graphql HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
    let mut slow_head = connected(&server);
    slow_head.write_all(head.as_bytes()).expect("sent");
    let (took, said) = dribbled(slow_head, Duration::from_millis(100));
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert!(
        said.is_empty() || said.starts_with("HTTP/1.1 408"),
        "{said}"
    );

    // A body of a stranger, on a route without a token: a byte a second would do for ever.
    for (path, kind) in [
        ("/auth/login", "application/json"),
        ("/graphql", "application/json"),
        ("/import/bank", "application/octet-stream"),
    ] {
        let mut slow_body = connected(&server);
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {}\r\nContent-Type: {kind}\r\nContent-Length: 200000\r\n\r\n",
            api.authorization()
        );
        slow_body.write_all(request.as_bytes()).expect("sent");
        let (took, said) = dribbled(slow_body, Duration::from_millis(500));
        assert!(took < Duration::from_secs(30), "{path}: {took:?}");
        assert!(said.starts_with("HTTP/1.1 4"), "{path}: {said}");
    }

    // More silent connections than there are places: each is cut off in time, so a request comes through.
    let silent: Vec<_> = (0..100).map(|_| connected(&server)).collect();
    assert_eq!(server.status(api.token()), 200);
    drop(silent);
}

/// A directory that goes with its handle.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        let path = std::env::temp_dir().join(format!("encours-{}", Uuid::now_v7().simple()));
        std::fs::create_dir(&path).expect("a directory");
        Directory(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        // At once, so that a reader finds the former or the new one.
        let half = self.0.join("half");
        std::fs::write(&half, text).expect("a file");
        std::fs::rename(&half, &path).expect("a file");
        path.display().to_string()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A certificate for this machine that vouches for itself, and its key.
fn self_signed() -> (String, String) {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// A client that trusts one certificate and no authority.
fn trusting(certificate: &str) -> Agent {
    let certificate = Certificate::from_pem(certificate.as_bytes()).expect("a certificate");
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(vec![certificate])))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_idle_connections(0)
        .timeout_global(Some(PATIENCE))
        .build()
        .into()
}

#[test]
fn the_server_speaks_tls_and_takes_a_renewed_certificate() {
    let api = Company::new().admin();
    let directory = Directory::new();
    let (first, first_key) = self_signed();
    let chain = directory.file("cert.pem", &first);
    let key = directory.file("key.pem", &first_key);
    let server = Second::start(&[("ENCOURS_TLS_CERT", &chain), ("ENCOURS_TLS_KEY", &key)]);
    assert!(server.url.starts_with("https://"), "{}", server.url);
    let role = |agent: &Agent| -> Result<Value, ureq::Error> {
        let mut answer = agent
            .post(format!("{}/graphql", server.url))
            .header("authorization", api.authorization())
            .send_json(json!({ "query": "{ viewer { role } }" }))?;
        answer.body_mut().read_json()
    };
    let trusted = trusting(&first);
    assert_eq!(
        role(&trusted).expect("an answer")["data"]["viewer"]["role"],
        "ADMIN"
    );
    let (second, second_key) = self_signed();
    let renewed = trusting(&second);
    assert!(role(&renewed).is_err(), "another certificate is served");
    let plain = Agent::new_with_defaults()
        .get(server.url.replacen("https", "http", 1))
        .call();
    assert!(plain.is_err(), "HTTP without TLS is answered");

    let address = server.url.strip_prefix("https://").expect("an address");
    let probe = |tls: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_encours"));
        command
            .args(["health", "--listen", address])
            .env("ENCOURS_TLS_CERT", tls);
        command
            .output()
            .expect("the encours binary")
            .status
            .success()
    };
    assert!(probe(&chain));
    assert!(!probe(""));

    // A pair that does not fit is left aside.
    directory.file("cert.pem", &second);
    server.signal("-HUP");
    until(|| server.log().contains("the former certificate is kept"));
    assert!(role(&trusted).is_ok());
    directory.file("key.pem", &second_key);
    server.signal("-HUP");
    until(|| role(&renewed).is_ok());
    // A new client: the former one may take its session up again.
    assert!(role(&trusting(&first)).is_err());
}

#[track_caller]
fn until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "still not");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs the binary with settings: its status, and what it says.
fn ran(data: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_encours"))
        .args(arguments)
        .env("ENCOURS_DATA", data)
        .env("ENCOURS_STOP_ON_EOF", "1")
        .envs(settings.iter().copied())
        .stdin(std::process::Stdio::null())
        .output()
        .expect("the encours binary");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// A private database is made by what may make one, and only when the rest of the command can be.
#[test]
fn a_company_that_cannot_be_makes_no_database() {
    let directory = Directory::new();
    for (name, value) in [
        ("--siren", "732829321"),
        ("--currency", "EURO"),
        ("--year-begins", "13"),
    ] {
        let create = ["company", "create", "--name", "Test", name, value];
        let (code, said) = ran(&directory.0, &create, &[]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(name) && said.contains(value), "{said}");
    }
    assert_eq!(
        std::fs::read_dir(&directory.0)
            .expect("the directory")
            .count(),
        0
    );
}

#[test]
fn every_mistake_in_the_settings_is_named_at_once() {
    let directory = Directory::new();
    let garbage = directory.file("garbage.pem", "nothing");
    let empty = directory.file("empty", "\n");
    let (code, said) = ran(
        &directory.0,
        &["serve", "--access-ttl", "2h", "--statement-seconds", "20"],
        &[
            ("ENCOURS_POOL_SIZE", "0"),
            ("ENCOURS_RATE_BURST", "many"),
            ("ENCOURS_LISTEN", "nowhere"),
            ("DATABASE_URL", "hunter2-address"),
            ("DATABASE_REPLICA_URL", "hunter2-replica"),
            ("ENCOURS_JWT_SECRET", "hunter2"),
            ("ENCOURS_APP_DATABASE_URL_FILE", "/nowhere/url"),
            ("ENCOURS_SMTP_URL_FILE", &empty),
            ("ENCOURS_TLS_CERT", &garbage),
            ("ENCOURS_TLS_KEY", &garbage),
            ("ENCOURS_OTLP_ENDPOINT", "collector:4317"),
            ("ENCOURS_FILES", "s3://"),
            ("ENCOURS_OIDC_AUDIENCE", "encours"),
            ("ENCOURS_LOG", "encours=loud"),
        ],
    );
    assert_eq!(code, Some(2), "{said}");
    for name in [
        "--access-ttl",
        "--statement-seconds 20",
        "ENCOURS_POOL_SIZE",
        "ENCOURS_RATE_BURST",
        "--listen nowhere",
        "DATABASE_URL is no address",
        "DATABASE_REPLICA_URL is no address",
        "ENCOURS_JWT_SECRET has 7 bytes",
        "ENCOURS_APP_DATABASE_URL_FILE: /nowhere/url",
        "ENCOURS_SMTP_URL_FILE",
        "garbage.pem",
        "--otlp-endpoint",
        "--files s3://",
        "--oidc-issuer",
        "ENCOURS_LOG",
    ] {
        assert!(said.contains(name), "{name} is not named:\n{said}");
    }
    assert!(said.contains("15 mistakes in the settings"), "{said}");
    assert!(!said.contains("hunter2"), "a secret is shown:\n{said}");
    // Nothing was started.
    assert!(!directory.0.join("postgres").exists());
}

#[test]
fn secrets_come_from_files_and_not_from_two_places() {
    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    let directory = Directory::new();
    let file = directory.file("secret", &format!("{SECRET}\n"));
    let server = Second::start(&[("ENCOURS_JWT_SECRET_FILE", &file)]);
    let company = Company::new();
    let token = [
        "token",
        "--company",
        company.id.as_str(),
        "--role",
        "AUDITOR",
    ];
    let database = database();
    let database = database.iter().map(|(name, url)| (*name, url.as_str()));
    let settings: Vec<_> = database.chain([("ENCOURS_JWT_SECRET", SECRET)]).collect();
    let (code, signed) = ran(data_dir(), &token, &settings);
    assert_eq!(code, Some(0), "{signed}");
    assert_eq!(server.status(signed.trim()), 200);
    assert_eq!(server.status(company.as_role("AUDITOR").token()), 401);

    let both = [
        ("ENCOURS_JWT_SECRET", SECRET),
        ("ENCOURS_JWT_SECRET_FILE", file.as_str()),
    ];
    let (code, said) = ran(data_dir(), &token, &both);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("ENCOURS_JWT_SECRET_FILE are both set"),
        "{said}"
    );
    assert!(!said.contains(SECRET), "{said}");
}

#[test]
fn the_log_of_a_hostile_session_holds_no_secret_and_nobody() {
    const PASSWORD: &str = "correct-horse-battery";
    const MAIL: &str = "camille.durand@example.com";
    const IBAN: &str = "FR7630006000011234567890189";
    const NAME: &str = "Durand et Fils";
    let company = Company::new();
    let api = company.admin();
    let server = Second::start(&[
        ("ENCOURS_LOG", "info,encours=trace"),
        ("ENCOURS_LOG_FORMAT", "json"),
    ]);
    let headers = |token: &str| [("authorization", format!("Bearer {token}"))];
    let own = headers(api.token());
    let login = json!({ "email": MAIL, "password": PASSWORD });
    server.send("/auth/login", &[], &login);
    // A stranger's id of a request is told, so it must not be able to say much.
    server.send("/auth/login", &[("x-request-id", MAIL.to_owned())], &login);
    server.send(
        "/auth/refresh",
        &[],
        &json!({ "refreshToken": api.token() }),
    );
    server.send(
        "/auth/accept",
        &[],
        &json!({ "token": api.token(), "name": NAME, "password": PASSWORD }),
    );
    let forged = format!("{}x", api.token());
    for document in [
        format!(
            "mutation {{ createClient(input: {{ name: \"{NAME}\", number: \"{IBAN}\" }}) {{ client {{ id name }} userErrors {{ message }} }} }}"
        ),
        format!(
            "mutation {{ createClient(input: {{ name: \"{NAME}\", number: \"{IBAN}\" }}) {{ client {{ id name }} userErrors {{ message }} }} }}"
        ),
        format!("{{ client(ref: {{ number: \"'; DROP TABLE clients; -- {IBAN}\" }}) {{ name }} }}"),
        format!("{{ node(id: \"{MAIL}\") {{ id }} }}"),
        format!("{{ clients(filter: {{ search: \"{MAIL}\" }}) {{ nodes {{ name }} }} }}"),
        format!("{{ {NAME} {IBAN}"),
        format!("query {IBAN} {{ viewer {{ role }} }}"),
    ] {
        for headers in [&own, &headers(&forged)] {
            server.send("/graphql", headers, &json!({ "query": document }));
        }
    }
    let bank = format!("/import/bank?fileName={IBAN}");
    server.send(&bank, &own, &json!({ "iban": IBAN, "name": NAME }));
    server.fetch(&format!("/files/{IBAN}?token={}", api.token()), &own);
    server.fetch(&format!("/export/fec/{IBAN}"), &own);
    let log = server.log();
    for line in log.lines() {
        let line: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(
            line["level"].is_string() && line["timestamp"].is_string(),
            "{line}"
        );
    }
    for secret in [
        PASSWORD,
        MAIL,
        IBAN,
        NAME,
        api.token(),
        "Bearer",
        company.id.as_str(),
    ] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
    // Every request is told of, by its route.
    for part in [
        "\"route\":\"/graphql\"",
        "\"route\":\"/files/{id}\"",
        "\"status\":401",
        "\"request_id\":\"",
    ] {
        assert!(log.contains(part), "{part} is not in the log:\n{log}");
    }
}
