//! Live changes: the feed, subscriptions over WebSockets and events, webhooks.

mod events;
mod feed;
mod receiver;
mod socket;
mod webhooks;

use std::time::{Duration, Instant};

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use serde_json::{Value, json};

use crate::harness::{Api, day, owner};

/// How long a test waits for what must come. A change appears once every transaction before it has ended, those of
/// other tests too, so this is far longer than it takes on a quiet server.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until there is an answer.
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: still not");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A client's invoice of 120.00.
fn issue(api: &Api, client: &str, number: &str) -> Value {
    api.invoice(
        client,
        number,
        &day("01-10"),
        &day("02-09"),
        ("100.00", "20"),
    )
}

/// The place in the feed behind everything so far. While a transaction of another test runs that began before, the
/// place of now lies before what was just done, so this waits for its end.
fn now(api: &Api) -> String {
    let mut conn = owner();
    let number = |conn: &mut PgConnection, text: &str| -> i64 {
        let text = format!("SELECT ({text})::text::bigint");
        let number = diesel::dsl::sql::<BigInt>(&text);
        number.get_result(conn).expect("a transaction's number")
    };
    let mine = number(&mut conn, "pg_current_xact_id()");
    eventually("older transactions end", || {
        let oldest = number(&mut conn, "pg_snapshot_xmin(pg_current_snapshot())");
        (oldest > mine).then_some(())
    });
    let found = api.data("{ changes(after: \"now\") { endCursor } }", json!({}));
    found["changes"]["endCursor"]
        .as_str()
        .expect("a cursor")
        .to_owned()
}

/// A page of the feed.
pub fn page(api: &Api, after: Option<&str>, first: i32) -> Value {
    let document = "query($after: String, $first: Int!) { changes(after: $after, first: $first) {
        changes { cursor topic kind subjectId client { id number name } recordedAt } endCursor hasMore } }";
    api.data(document, json!({ "after": after, "first": first }))["changes"].take()
}

/// Reads the feed behind a cursor until this many changes have come.
#[track_caller]
pub fn read(api: &Api, after: Option<&str>, count: usize) -> Vec<Value> {
    let (mut after, mut found) = (after.map(str::to_owned), Vec::new());
    eventually("changes", || {
        let page = page(api, after.as_deref(), 100);
        found.extend(page["changes"].as_array().expect("changes").iter().cloned());
        after = page["endCursor"].as_str().map(str::to_owned);
        (found.len() >= count).then(|| std::mem::take(&mut found))
    })
}

/// The kinds of changes, in order.
pub fn kinds(changes: &[Value]) -> Vec<&str> {
    changes
        .iter()
        .map(|change| change["kind"].as_str().expect("a kind"))
        .collect()
}
