//! A full disk: what needs room is refused in a typed way, what does not goes on, and with room all is well again.
//!
//! An ordinary user has no disk to fill. What a process may write is bounded instead (`prlimit --fsize`), for the
//! backends of PostgreSQL, which take that as a disk without room. The long form fills a disk of its own too, log of
//! the database included, where it may mount one (as root).

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Ground, fresh_directory, long, postmaster, seconds};

/// Bytes that a file may have: a segment of the write-ahead log just fits, a table that has grown does not.
const MOST: &str = "--fsize=16777216:";

/// The postmaster and its client backends: what is forked later has the limits of the postmaster.
fn backends(data: &Path) -> Vec<String> {
    let postmaster = postmaster(data);
    let is_backend = |process: &Path| {
        let read = |name: &str| std::fs::read_to_string(process.join(name)).unwrap_or_default();
        // The parent is the second field behind the name, which stands in brackets.
        let stat = read("stat");
        let parent = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().nth(1));
        parent == Some(postmaster.as_str()) && read("cmdline").contains("encours_app")
    };
    let processes = std::fs::read_dir("/proc").expect("the processes");
    let clients = processes
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| is_backend(path))
        .filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
    std::iter::once(postmaster.clone()).chain(clients).collect()
}

/// Sets the soft limit, as the account of the processes: another may not, and only a soft one can be lifted again.
fn limit(data: &Path, pids: &[String], most: &str) {
    let owner = std::fs::metadata(data.join("postgres")).expect("the cluster");
    for pid in pids {
        // A backend that has ended meanwhile has no limit to set.
        let _ = Command::new("prlimit")
            .args(["--pid", pid, most])
            .uid(owner.uid())
            .gid(owner.gid())
            .output();
    }
}

fn create(ground: &Ground, number: usize) -> Value {
    let name = format!("{number} {}", "x".repeat(150));
    let document = "mutation($name: String!) { createClient(input: { name: $name }) { client { number } userErrors { code } } }";
    let body = json!({ "query": document, "variables": { "name": name } });
    ground.tried(&body).expect("an answer")
}

/// Creates clients until one is refused: the refusal.
fn until_full(ground: &Ground) -> Value {
    for number in 0..1000 {
        let answer = create(ground, number);
        if !answer["errors"].is_null() {
            return answer;
        }
    }
    panic!("there is room without end");
}

#[test]
fn a_full_disk_refuses_what_needs_room_and_nothing_else() {
    if Command::new("prlimit").arg("--version").output().is_err() {
        // Not Linux: only the long form says so.
        if long() {
            println!("a full disk: skipped, there is no prlimit here");
        }
        return;
    }
    let Some(ground) = Ground::new(&[]) else {
        return;
    };
    // A table that is as large as a file may be.
    ground.sql(
        "SET session_replication_role = replica;
         DO $$ BEGIN
           WHILE pg_relation_size('clients') < 16 * 1024 * 1024 LOOP
             INSERT INTO clients (company_id, id, number, name, kind, segment, currency, terms_rule, terms_days, created_by)
               SELECT '00000000-0000-0000-0000-000000000001', gen_random_uuid(), gen_random_uuid()::text, repeat('y', 400),
                 kind, segment, currency, terms_rule, terms_days, created_by
               FROM clients, generate_series(1, 2000) WHERE number = 'C001';
           END LOOP;
         END $$",
    );
    // So that there are backends, and some that are not known to be new.
    let before = ground.ask("{ clients { totalCount } }")["data"]["clients"]["totalCount"].clone();
    assert_eq!(before, 1);
    let bounded = backends(&ground.data);
    limit(&ground.data, &bounded, MOST);
    let answer = until_full(&ground);
    assert_eq!(
        answer["errors"][0]["extensions"]["code"], "UNAVAILABLE",
        "{answer}"
    );
    let made = ground.ask("{ clients { totalCount } integrityCheck { ok } }");
    assert_eq!(made["data"]["integrityCheck"]["ok"], true, "{made}");
    assert_eq!(ground.status("/ready").0, 200);
    // The room comes back, and nobody has to do anything.
    let mut unbounded = bounded;
    unbounded.extend(backends(&ground.data));
    limit(&ground.data, &unbounded, "--fsize=unlimited:");
    let answer = create(&ground, 1000);
    assert!(
        answer["data"]["createClient"]["client"]["number"].is_string(),
        "{answer}"
    );
    let after = ground.ask("{ clients { totalCount } }");
    let count = |data: &Value| {
        data["data"]["clients"]["totalCount"]
            .as_i64()
            .unwrap_or_default()
    };
    assert_eq!(count(&after), count(&made) + 1);
    ground.sound();
    println!("a full disk: UNAVAILABLE, reads go on, with room writes are taken at once");
}

/// A disk of its own for PostgreSQL and the files, log of the database included: the database cannot even stay up.
#[test]
fn a_disk_that_is_full_for_the_log_too_needs_no_hand_afterwards() {
    if !long() {
        return;
    }
    let data = fresh_directory();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=160m,mode=711", "none"])
        .arg(&data)
        .output();
    if !mounted.is_ok_and(|mounted| mounted.status.success()) {
        println!("a disk full for the log too: skipped, mounting one needs root");
        let _ = std::fs::remove_dir_all(&data);
        return;
    }
    if let Some(ground) = Ground::at(&data, &[]) {
        let mut acknowledged = Vec::new();
        for n in 0..20 {
            acknowledged.push((format!("k{n}"), ground.issue_at_last(&format!("k{n}")).0));
        }
        // Everything but a little is taken by somebody else.
        let filler = data.join("filler");
        let _ = Command::new("dd")
            .args(["if=/dev/zero", "bs=64k"])
            .arg(format!("of={}", filler.display()))
            .output();
        // The segment of the log that is open has room yet: the next ones have none, and the database cannot go on.
        for _ in 0..3 {
            let switched = ground.tried_sql(
                "SELECT pg_logical_emit_message(true, 'full', 'disk'); SELECT pg_switch_wal()",
            );
            if switched.is_err() {
                break;
            }
        }
        let mut refused = 0;
        for n in 20..400 {
            let key = format!("k{n}");
            match ground.issue(&key) {
                Some(number) => acknowledged.push((key, number)),
                None => refused += 1,
            }
            if refused > 8 {
                break;
            }
        }
        std::fs::remove_file(&filler).expect("room");
        let (_, took) = ground.issue_at_last("afterwards");
        assert!(took < Duration::from_secs(90));
        for (key, number) in &acknowledged {
            assert_eq!(&ground.issue_at_last(key).0, number);
        }
        ground.sound();
        println!(
            "a disk full for the log too: {} writes acknowledged, {refused} refused, 0 lost; first success with room after {}",
            acknowledged.len(),
            seconds(took)
        );
    }
    let _ = Command::new("umount").arg(&data).output();
    let _ = std::fs::remove_dir_all(&data);
}
