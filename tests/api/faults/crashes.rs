//! Crashes in the middle of writing: what was acknowledged is there once, what was not can be sent again.
//!
//! Writers issue numbered invoices under idempotency keys while the server, or its PostgreSQL, is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Ground, long, postmaster, seconds, within};

/// From the start of the server anew to the first write that succeeds.
const AFTER_SERVER: Duration = Duration::from_secs(5);
/// From the return of the database to the first write that succeeds.
const AFTER_DATABASE: Duration = Duration::from_secs(3);

/// What the writers share: what was acknowledged and when last, and whether to go on.
struct Work<'a> {
    ground: &'a Ground,
    acknowledged: Mutex<BTreeMap<String, String>>,
    over: AtomicBool,
}

impl Work<'_> {
    /// Issues one invoice after the other, each until it is acknowledged.
    fn write(&self, writer: usize) {
        for number in 0.. {
            let key = format!("w{writer}-{number}");
            let (issued, _) = self.ground.issue_at_last(&key);
            let mut acknowledged = self.acknowledged.lock().expect("what was done");
            acknowledged.insert(key, issued);
            if self.over.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().expect("what was done").len()
    }

    /// Waits until so many more were acknowledged: how long that took.
    #[track_caller]
    fn more(&self, count: usize) -> Duration {
        let (before, since) = (self.count(), Instant::now());
        while self.count() < before + count {
            assert!(
                since.elapsed() < Duration::from_secs(90),
                "the writers do not come on"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        since.elapsed()
    }
}

#[test]
fn what_was_acknowledged_survives_crashes_once() {
    let Some(ground) = Ground::new(&[]) else {
        return;
    };
    let (kills, writers) = if long() { (50, 64) } else { (4, 4) };
    let work = Work {
        ground: &ground,
        acknowledged: Mutex::default(),
        over: AtomicBool::new(false),
    };
    let (mut after_server, mut after_database) = (Duration::ZERO, Duration::ZERO);
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let work = &work;
            scope.spawn(move || work.write(writer));
        }
        for kill in 0..kills {
            work.more(20);
            if kill % 2 == 0 {
                ground.take().kill();
                let since = Instant::now();
                ground.start();
                work.more(1);
                after_server = after_server.max(since.elapsed());
            } else {
                let killed = Command::new("kill")
                    .args(["-9", &postmaster(&ground.data)])
                    .status();
                assert!(killed.expect("kill").success());
                // Those that were under way may still be acknowledged; then there is silence until it is back.
                std::thread::sleep(Duration::from_millis(50));
                drop(ground.owner());
                after_database = after_database.max(work.more(1));
            }
        }
        work.over.store(true, Ordering::Relaxed);
    });
    let done = work.acknowledged.lock().expect("what was done").clone();
    proven(&ground, &done);
    println!(
        "{kills} kills survived; {} writes acknowledged by {writers} writers, 0 lost, 0 doubled; {} numbers drawn, 0 gaps; \
         first success after a server crash within {}, after the database is back within {}",
        done.len(),
        done.len(),
        seconds(after_server),
        seconds(after_database)
    );
    assert!(after_server < within(AFTER_SERVER), "{after_server:?}");
    assert!(
        after_database < within(AFTER_DATABASE),
        "{after_database:?}"
    );
}

/// As many invoices as were acknowledged, numbered without a gap or a double; each key still answers its own number;
/// the books hold.
fn proven(ground: &Ground, done: &BTreeMap<String, String>) {
    let numbers: BTreeSet<&String> = done.values().collect();
    assert_eq!(numbers.len(), done.len(), "a number was given twice");
    let last = numbers
        .last()
        .and_then(|number| number.rsplit('-').next())
        .expect("a number");
    let last: usize = last.parse().expect("a number");
    assert_eq!(last, done.len(), "the numbers have gaps");
    let answer = ground.ask("{ invoices { totalCount } }");
    assert_eq!(answer["data"]["invoices"]["totalCount"], done.len());
    ground.sound();
    for (key, number) in done {
        assert_eq!(
            ground.issue(key).as_ref(),
            Some(number),
            "{key} answers another number now"
        );
    }
}
