//! A server whose clock jumps: nothing is posted on a wrong day, and all is well when the clock is right again.
//!
//! The clock of the server alone jumps, by a library that stands before libc's; its PostgreSQL has the right time.

use std::process::Command;

use serde_json::{Value, json};

use super::{Ground, fresh_directory};
use crate::harness::tried;

#[test]
fn a_clock_that_jumps_posts_nothing_on_a_wrong_day() {
    // On another day (`scripts/another-day.sh`) the clocks are set already.
    if !cfg!(target_os = "linux") || std::env::var_os("TEST_CLOCK_SECONDS").is_some() {
        return;
    }
    let place = fresh_directory();
    let (library, clock) = (place.join("clock.so"), place.join("clock"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/faults/clock.c");
    // Building the product needs a C compiler too.
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .args([source, "-ldl"])
        .status();
    assert!(built.expect("a C compiler").success());
    let set = |seconds: i64| {
        // At once: the server may look at any moment.
        let next = place.join("next");
        std::fs::write(&next, seconds.to_string()).expect("written");
        std::fs::rename(&next, &clock).expect("set");
    };
    set(0);
    let text = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    let (library, file) = (text(&library), text(&clock));
    let Some(ground) = Ground::new(&[("LD_PRELOAD", &library), ("TEST_CLOCK", &file)]) else {
        return;
    };
    // Tokens that were there hours before, and one that ends soon.
    let token = |hours: i64, ttl: &str| {
        let made = Command::new(env!("CARGO_BIN_EXE_encours"))
            .args([
                "token",
                "--company",
                &ground.company,
                "--role",
                "ADMIN",
                "--ttl",
                ttl,
                "--data",
            ])
            .arg(&ground.data)
            .env("LD_PRELOAD", &library)
            .env("TEST_CLOCK", {
                let path = place.join(format!("before-{hours}"));
                std::fs::write(&path, (-3600 * hours).to_string()).expect("written");
                path
            })
            .output()
            .expect("the encours binary");
        String::from_utf8(made.stdout)
            .expect("UTF-8")
            .trim_end()
            .to_owned()
    };
    let (lasting, short) = (token(3, "7d"), token(0, "1h"));
    let url = ground.url().expect("a server");
    let ask = |token: &str, body: &Value| tried(&url, token, body).expect("an answer");
    let role = json!({ "query": "{ viewer { role today } invoices { totalCount } }" });
    let write = |token: &str, key: &str| {
        let body = json!({ "query": super::ISSUE, "variables": { "input": { "client": { "number": "C001" }, "idempotencyKey": key,
            "lines": [{ "description": "Prestation", "quantity": "1", "unitPrice": "10.00", "vatRate": "20" }] } } });
        ask(token, &body)
    };
    let code = |answer: &Value| answer["errors"][0]["extensions"]["code"].clone();
    let number = |answer: &Value| answer["data"]["issueInvoice"]["invoice"]["number"].clone();
    let first = number(&write(&lasting, "first"));
    assert!(first.is_string());
    let today = ask(&short, &role)["data"]["viewer"]["today"].clone();
    for jump in [-3600, 86_400, -7 * 86_400] {
        set(jump);
        // Whether the time of a token has come or gone goes by the server's clock.
        if jump > -86_400 {
            let seen = ask(&lasting, &role);
            assert_eq!(seen["data"]["invoices"]["totalCount"], 1, "{jump}: {seen}");
            let answer = write(&lasting, "second");
            assert_eq!(code(&answer), "UNAVAILABLE", "{jump}: {answer}");
        }
        // Not yet, or no longer.
        let refused = code(&ask(&short, &role));
        assert_eq!(refused, "UNAUTHENTICATED", "{jump}");
        let (status, text, _) = ground.status("/ready");
        assert_eq!(status, 503, "{jump}");
        assert!(text.contains("clocks"), "{text}");
        assert_eq!(ground.status("/health").0, 200);
    }
    // A few seconds are what clocks differ by.
    set(20);
    assert_eq!(ground.status("/ready").0, 200);
    set(0);
    assert_eq!(ground.status("/ready").0, 200);
    assert_eq!(ask(&short, &role)["data"]["viewer"]["today"], today);
    // The key that was refused is free, the number that follows is the next one, and a replay is a replay.
    let second = write(&lasting, "second");
    assert!(number(&second).is_string(), "{second}");
    assert_eq!(number(&write(&lasting, "first")), first);
    let rank = |number: &Value| {
        number
            .as_str()
            .and_then(|text| text.rsplit('-').next()?.parse::<u32>().ok())
    };
    assert_eq!(rank(&number(&second)), rank(&first).map(|rank| rank + 1));
    ground.sound();
    drop(ground);
    let _ = std::fs::remove_dir_all(&place);
}
