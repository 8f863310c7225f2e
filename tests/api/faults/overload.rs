//! Locks, floods and lost connections: typed answers within seconds, and all is well again soon after.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use serde_json::{Value, json};

use super::{Ground, invoice, long, seconds, within};
use crate::harness::today;

/// Longest wait for the answer that the service is busy.
const TOLD: Duration = Duration::from_secs(6);
/// Longest answer of `/health` meanwhile.
const ALIVE: Duration = Duration::from_secs(1);
/// From the end of the fault to the first success.
const RECOVERED: Duration = Duration::from_secs(3);

fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"]
        .as_str()
        .unwrap_or("(none)")
}

/// Asks this many times at once: the answers, and the longest time that one took.
fn crowd(ground: &Ground, bodies: &[Value]) -> (Vec<Value>, Duration) {
    std::thread::scope(|scope| {
        let asked: Vec<_> = bodies
            .iter()
            .map(|body| {
                scope.spawn(move || {
                    let since = Instant::now();
                    (ground.tried(body).expect("an answer"), since.elapsed())
                })
            })
            .collect();
        let mut longest = Duration::ZERO;
        let mut answers = Vec::new();
        for asked in asked {
            let (answer, took) = asked.join().expect("asked");
            longest = longest.max(took);
            answers.push(answer);
        }
        (answers, longest)
    })
}

/// More requests than there are connections meet a locked table: some wait for the lock, the others for a connection.
#[test]
fn a_locked_table_and_an_exhausted_pool_are_told_in_time() {
    let Some(ground) = Ground::new(&[]) else {
        return;
    };
    let count = if long() { 64 } else { 24 };
    let today = today().to_string();
    let bodies: Vec<Value> = (0..count)
        .map(|n| match n % 3 {
            // Further fields of a document that has waited in vain do not wait anew.
            0 => json!({ "query": "{ a: invoices { totalCount } b: invoices { totalCount } c: invoices { totalCount } }" }),
            1 => json!({ "query": "{ invoices { totalCount } agedBalance { totals { total } } }" }),
            _ => invoice(None, &today, false),
        })
        .collect();
    let mut locking = ground.owner();
    locking
        .batch_execute("BEGIN; LOCK TABLE documents, items IN ACCESS EXCLUSIVE MODE")
        .expect("locked");
    let over = AtomicBool::new(false);
    let (longest, alive) = std::thread::scope(|scope| {
        let health = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !over.load(Ordering::Relaxed) {
                let (status, _, took) = ground.status("/health");
                assert_eq!(status, 200);
                longest = longest.max(took);
                std::thread::sleep(Duration::from_millis(50));
            }
            longest
        });
        let (answers, longest) = crowd(&ground, &bodies);
        over.store(true, Ordering::Relaxed);
        for answer in &answers {
            assert_eq!(code(answer), "UNAVAILABLE", "{answer}");
        }
        (longest, health.join().expect("health"))
    });
    locking.batch_execute("ROLLBACK").expect("unlocked");
    let (_, recovered) = ground.issue_at_last("after");
    assert_eq!(ground.status("/ready").0, 200);
    // Nothing that was answered so was done.
    let answer = ground.ask("{ invoices { totalCount } }");
    assert_eq!(answer["data"]["invoices"]["totalCount"], 1);
    ground.sound();
    println!(
        "{count} requests at once on a locked table: UNAVAILABLE within {}, /health within {}, recovered within {}",
        seconds(longest),
        seconds(alive),
        seconds(recovered)
    );
    assert!(longest < within(TOLD), "{longest:?}");
    assert!(alive < within(ALIVE), "{alive:?}");
    assert!(recovered < within(RECOVERED), "{recovered:?}");
}

/// A trigger on new clients whose name is `when`, to do what a database does on a bad day.
fn bad_day(ground: &Ground, when: &str, does: &str) {
    ground.sql(&format!(
        "CREATE SEQUENCE IF NOT EXISTS tries; GRANT USAGE ON SEQUENCE tries TO encours_app; ALTER SEQUENCE tries RESTART;
         CREATE OR REPLACE FUNCTION bad_day() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {does} RETURN NEW; END $$;
         CREATE OR REPLACE TRIGGER bad_day BEFORE INSERT ON clients FOR EACH ROW WHEN (NEW.name = '{when}') EXECUTE FUNCTION bad_day();"
    ));
}

fn create(name: &str) -> Value {
    json!({ "query": "mutation($name: String!) { createClient(input: { name: $name }) { client { number } userErrors { code } } }",
        "variables": { "name": name } })
}

#[test]
fn lost_races_are_run_again_and_slow_statements_end() {
    let Some(ground) = Ground::new(&[]) else {
        return;
    };
    // Two tries lose a serialization race, the third is done: nobody hears of it, and it is done once.
    let loses = |times: u32| {
        format!(
            "IF nextval('tries') <= {times} THEN RAISE EXCEPTION 'lost' USING ERRCODE = 'serialization_failure'; END IF;"
        )
    };
    bad_day(&ground, "Twice", &loses(2));
    let answer = ground.tried(&create("Twice")).expect("an answer");
    assert!(
        answer["data"]["createClient"]["client"]["number"].is_string(),
        "{answer}"
    );
    // Who loses three times is told to send it again.
    bad_day(&ground, "Thrice", &loses(3));
    let answer = ground.tried(&create("Thrice")).expect("an answer");
    assert_eq!(
        answer["data"]["createClient"]["userErrors"][0]["code"], "CONFLICT",
        "{answer}"
    );
    // A deadlock is the same.
    bad_day(
        &ground,
        "Deadlock",
        "IF nextval('tries') <= 1 THEN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = 'deadlock_detected'; END IF;",
    );
    let answer = ground.tried(&create("Deadlock")).expect("an answer");
    assert!(
        answer["data"]["createClient"]["client"]["number"].is_string(),
        "{answer}"
    );
    // A slow statement ends by itself, and does not keep others waiting.
    bad_day(&ground, "Slow", "PERFORM pg_sleep(60);");
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            let since = Instant::now();
            (
                ground.tried(&create("Slow")).expect("an answer"),
                since.elapsed(),
            )
        });
        let answer = ground.ask("{ clients { totalCount } }");
        assert_eq!(answer["data"]["clients"]["totalCount"], 3, "{answer}");
        let (answer, took) = slow.join().expect("asked");
        assert_eq!(code(&answer), "TIMEOUT", "{answer}");
        println!("a statement of 60 s ends after {}", seconds(took));
        assert!(took < Duration::from_secs(40), "{took:?}");
    });
    // C001 and the two that were done.
    let answer = ground.ask("{ clients { totalCount } }");
    assert_eq!(answer["data"]["clients"]["totalCount"], 3, "{answer}");
}

#[test]
fn connections_that_are_cut_lose_and_double_nothing() {
    const CUT: &str =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'encours_app'";
    let Some(ground) = Ground::new(&[]) else {
        return;
    };
    let (writers, each) = if long() { (32, 40) } else { (4, 12) };
    let over = AtomicBool::new(false);
    let cuts = std::thread::scope(|scope| {
        let writing: Vec<_> = (0..writers)
            .map(|writer| {
                let ground = &ground;
                scope.spawn(move || {
                    for number in 0..each {
                        ground.issue_at_last(&format!("w{writer}-{number}"));
                    }
                })
            })
            .collect();
        let cutting = scope.spawn(|| {
            let mut cuts = 0;
            while !over.load(Ordering::Relaxed) {
                ground.sql(CUT);
                cuts += 1;
                std::thread::sleep(Duration::from_millis(150));
            }
            cuts
        });
        for writer in writing {
            writer.join().expect("written");
        }
        over.store(true, Ordering::Relaxed);
        cutting.join().expect("cut")
    });
    // A connection that answered a moment ago is trusted for half a second; the last cut may be younger.
    let trusted = Duration::from_millis(600);
    std::thread::sleep(trusted);
    let answer = ground.ask("{ invoices { totalCount } }");
    assert_eq!(
        answer["data"]["invoices"]["totalCount"],
        writers * each,
        "{answer}"
    );
    ground.sound();
    // Idle connections that were cut are found before anything is begun on them: nobody sees an error.
    ground.ask("{ viewer { name } clients { totalCount } }");
    ground.sql(CUT);
    std::thread::sleep(trusted);
    let answer = ground.ask("{ clients { totalCount } }");
    assert_eq!(answer["data"]["clients"]["totalCount"], 1, "{answer}");
    println!(
        "{} writes by {writers} writers, all connections cut {cuts} times: 0 lost, 0 doubled",
        writers * each
    );
}
