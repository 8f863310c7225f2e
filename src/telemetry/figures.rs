//! Figures that are counted below HTTP: root fields and background jobs. Their labels come from the schema and from the
//! list of jobs, so they are few.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Field {
    field: String,
    outcome: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Seconds {
    field: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Round {
    job: &'static str,
    outcome: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Job {
    job: &'static str,
}

/// What is counted. Cheap to clone; all clones count together.
#[derive(Clone, Default)]
pub struct Figures {
    fields: Family<Field, Counter>,
    field_seconds: Family<Seconds, Counter<f64, AtomicU64>>,
    rounds: Family<Round, Counter>,
    round_seconds: Family<Job, Counter<f64, AtomicU64>>,
    last_round: Family<Job, Gauge>,
}

impl Figures {
    /// Shows them in a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "graphql_fields",
            "Fields of the roots that were resolved, and whether without an error",
            self.fields.clone(),
        );
        registry.register(
            "graphql_field_seconds",
            "Time of their resolvers, from the call to the value, all below included",
            self.field_seconds.clone(),
        );
        registry.register(
            "job_rounds",
            "Rounds of the background jobs over all companies",
            self.rounds.clone(),
        );
        registry.register(
            "job_seconds",
            "Time of these rounds",
            self.round_seconds.clone(),
        );
        registry.register(
            "job_last_success_timestamp_seconds",
            "When the last round without a fault ended",
            self.last_round.clone(),
        );
    }

    /// Counts a field of a root, by its name in the schema.
    pub fn resolved(&self, field: &str, is_ok: bool, took: Duration) {
        let outcome = outcome(is_ok);
        let field = field.to_owned();
        self.field_seconds
            .get_or_create(&Seconds {
                field: field.clone(),
            })
            .inc_by(took.as_secs_f64());
        self.fields.get_or_create(&Field { field, outcome }).inc();
    }

    /// Counts a round of a job.
    pub fn worked(&self, job: &'static str, is_ok: bool, took: Duration) {
        let outcome = outcome(is_ok);
        self.rounds.get_or_create(&Round { job, outcome }).inc();
        let job = Job { job };
        self.round_seconds
            .get_or_create(&job)
            .inc_by(took.as_secs_f64());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        if let (true, Ok(now)) = (is_ok, now) {
            let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            self.last_round.get_or_create(&job).set(seconds);
        }
    }
}

fn outcome(is_ok: bool) -> &'static str {
    match is_ok {
        true => "ok",
        false => "error",
    }
}
