//! What a session asks of the database: how many statements, for how long, and each of them as a span when the request
//! is traced.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use diesel::connection::{Instrumentation, InstrumentationEvent};

use crate::telemetry::{Context, Kind, Span, without_values};

/// Counts for one session.
#[derive(Default)]
pub struct Watch {
    statements: AtomicU32,
    sql_nanoseconds: AtomicU64,
    wait_nanoseconds: AtomicU64,
    /// The span that statements stand under now; none between two pieces of work.
    under: Mutex<Option<Context>>,
}

impl Watch {
    /// Statements so far, transaction control included.
    pub fn statements(&self) -> u32 {
        self.statements.load(Ordering::Relaxed)
    }

    /// Time in statements, and time waiting for a connection.
    pub fn spent(&self) -> (Duration, Duration) {
        let of =
            |nanoseconds: &AtomicU64| Duration::from_nanos(nanoseconds.load(Ordering::Relaxed));
        (of(&self.sql_nanoseconds), of(&self.wait_nanoseconds))
    }

    /// Adds a wait for a connection.
    pub fn waited(&self, time: Duration) {
        add(&self.wait_nanoseconds, time);
    }

    /// Puts the statements under a span, until the guard is dropped: the connection outlives the session.
    pub fn under(&self, context: Option<Context>) -> Under<'_> {
        self.set(context);
        Under(self)
    }

    fn set(&self, context: Option<Context>) {
        *self.under.lock().unwrap_or_else(PoisonError::into_inner) = context;
    }

    fn context(&self) -> Option<Context> {
        self.under
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Statements stand under a span as long as it lives.
pub struct Under<'a>(&'a Watch);

impl Drop for Under<'_> {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

/// Makes a connection tell a session's watch.
pub fn instrumentation(watch: Arc<Watch>) -> impl Instrumentation {
    let mut running: Option<(Instant, Option<Span>)> = None;
    move |event: InstrumentationEvent<'_>| match event {
        InstrumentationEvent::StartQuery { query, .. } => {
            watch.statements.fetch_add(1, Ordering::Relaxed);
            let span = watch
                .context()
                .map(|under| statement(&under, &query.to_string()));
            running = Some((Instant::now(), span));
        }
        InstrumentationEvent::FinishQuery { error, .. } => {
            if let Some((began, span)) = running.take() {
                add(&watch.sql_nanoseconds, began.elapsed());
                if let (Some(mut span), Some(_)) = (span, error) {
                    span.fail();
                }
            }
        }
        _ => {}
    }
}

/// A span named by the kind of statement, as tools group them.
fn statement(under: &Context, query: &str) -> Span {
    let text = without_values(query);
    let verb = text.split_whitespace().next().unwrap_or("SQL");
    let mut span = under.child(verb.to_ascii_uppercase(), Kind::Client);
    span.text("db.system.name", "postgresql");
    span.text("db.query.text", text);
    span
}

fn add(to: &AtomicU64, time: Duration) {
    let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    to.fetch_add(nanoseconds, Ordering::Relaxed);
}
