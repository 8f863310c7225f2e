//! One caller's flood: it is held to its own places and points, and the others hardly notice.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Ground, long, within};
use crate::harness::{command_on, tried};

const ASKED: &str = "{ clients(first: 5) { nodes { number name } } }";

/// The latencies of a caller who asks one thing after the other, so often and as long as there is `more` to see:
/// median, 95th of a hundred, longest.
fn latencies(
    url: &str,
    token: &str,
    count: usize,
    more: impl Fn() -> bool,
) -> (Duration, Duration, Duration) {
    let (mut times, began) = (Vec::new(), Instant::now());
    while times.len() < count || more() && began.elapsed() < Duration::from_secs(30) {
        let since = Instant::now();
        let answer = tried(url, token, &json!({ "query": ASKED })).expect("an answer");
        assert!(answer["errors"].is_null(), "{answer}");
        times.push(since.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    times.sort();
    let count = times.len();
    (times[count / 2], times[count * 95 / 100], times[count - 1])
}

#[test]
fn a_flood_of_one_token_does_not_starve_another() {
    let Some(ground) = Ground::new(&[
        ("ENCOURS_RATE_BURST", "2000"),
        ("ENCOURS_RATE_PER_SECOND", "100"),
        ("ENCOURS_RATE_AT_ONCE", "4"),
        ("ENCOURS_POOL_SIZE", "8"),
    ]) else {
        return;
    };
    let (threads, count) = if long() { (64, 200) } else { (16, 30) };
    let other = command_on(&ground.data, &["company", "create", "--name", "Calm"]);
    let calm = command_on(
        &ground.data,
        &["token", "--company", &other, "--role", "AUDITOR"],
    );
    let url = ground.url().expect("a server");
    let before = latencies(&url, &calm, 20, || false);
    let (over, served, limited) = (
        AtomicBool::new(false),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let during = std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let body = json!({ "query": ASKED });
                    let answer: Value = tried(&url, &ground.token, &body).unwrap_or_default();
                    match answer["errors"][0]["extensions"]["code"].as_str() {
                        None => served.fetch_add(1, Ordering::Relaxed),
                        Some("RATE_LIMITED") => limited.fetch_add(1, Ordering::Relaxed),
                        Some(other) => panic!("{other}: {answer}"),
                    };
                }
            });
        }
        let during = latencies(&url, &calm, count, || limited.load(Ordering::Relaxed) == 0);
        over.store(true, Ordering::Relaxed);
        during
    });
    let shown = |(median, most, longest): (Duration, Duration, Duration)| {
        format!("{median:.1?} / {most:.1?} / {longest:.1?}")
    };
    println!(
        "a flood of {threads} threads by one token ({} served, {} RATE_LIMITED): another token's median / 95 % / longest {} before, {} during",
        served.load(Ordering::Relaxed),
        limited.load(Ordering::Relaxed),
        shown(before),
        shown(during)
    );
    // The flood was one, and it was held back.
    assert!(limited.into_inner() > 0);
    assert!(during.1 < within(Duration::from_secs(1)), "{during:?}");
}

/// What is too large is refused with 413 while it comes, by every route that takes bodies.
#[test]
fn bodies_that_are_too_large_are_refused_while_they_come() {
    use crate::harness::Company;
    let api = Company::new().admin();
    let client = api.client("C001")["id"].as_str().expect("an id").to_owned();
    let mb = 1024 * 1024;
    let file = format!("/files?subject={client}&kind=ORDER&name=a.pdf");
    for (path, kind, size) in [
        ("/graphql", "application/json", mb),
        (file.as_str(), "application/octet-stream", 80 * mb),
        ("/import/fec", "application/octet-stream", 65 * mb),
        ("/import/bank", "application/octet-stream", 65 * mb),
        ("/import/receivables", "text/csv", 65 * mb),
    ] {
        let status = sent(path, &api.authorization(), kind, size);
        assert_eq!(status, 413, "{path}");
    }
    api.sound();
}

/// Posts zeros until the server has an answer: its status.
fn sent(path: &str, authorization: &str, kind: &str, size: usize) -> u16 {
    use std::io::{Read, Write};
    let address = crate::harness::url()
        .strip_prefix("http://")
        .expect("an address");
    let mut stream = std::net::TcpStream::connect(address).expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a limit");
    // No length is told: a limit that goes by it is none.
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: {authorization}\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let chunk = [b"10000\r\n".to_vec(), vec![b'0'; 0x10000], b"\r\n".to_vec()].concat();
    let mut answer = Vec::new();
    for _ in 0..size / 0x10000 {
        // The server may close its side as soon as it has said no.
        if stream.write_all(&chunk).is_err() {
            break;
        }
    }
    let _ = stream.write_all(b"0\r\n\r\n");
    let mut part = [0; 64];
    while answer.len() < 12 {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => break,
            Ok(read) => answer.extend_from_slice(&part[..read]),
        }
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    text.get(9..12)
        .and_then(|it| it.parse().ok())
        .unwrap_or_default()
}
