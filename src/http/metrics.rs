//! Figures for the operator, in the text format of Prometheus: `GET /metrics`.
//!
//! Labels have few values by construction: kinds of operations and codes, never names that a caller chose.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::graphql::GraphqlEndpoint;
use crate::service;
use crate::telemetry::figures::Figures;

/// Seconds, from a look-up to the longest execution.
const BOUNDS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Outcome {
    operation: &'static str,
    outcome: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Kind {
    operation: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Part {
    part: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Name {
    name: String,
}

/// What is counted.
pub struct Metrics {
    registry: Registry,
    requests: Family<Outcome, Counter>,
    seconds: Family<Kind, Histogram>,
    parts: Family<Part, Histogram>,
    statements: Counter,
    dropped_spans: Gauge,
    reports: Family<Name, Gauge>,
    connections: Family<Name, Gauge>,
    balances: Family<Name, Gauge>,
    kept: Family<Name, Gauge>,
    business: Family<Name, Gauge>,
}

impl Metrics {
    /// With what is counted below HTTP.
    pub fn with(figures: &Figures) -> Metrics {
        let mut registry = Registry::with_prefix("encours");
        figures.register(&mut registry);
        let requests = Family::<Outcome, Counter>::default();
        registry.register(
            "graphql_requests",
            "Requests by kind of operation, and `ok` or the code of what was wrong",
            requests.clone(),
        );
        let seconds = Family::<Kind, Histogram>::new_with_constructor(|| Histogram::new(BOUNDS));
        registry.register(
            "graphql_request_seconds",
            "From the last byte of a request to its answer",
            seconds.clone(),
        );
        let parts = Family::<Part, Histogram>::new_with_constructor(|| Histogram::new(BOUNDS));
        registry.register(
            "graphql_part_seconds",
            "What executions spend: in SQL, waiting for a connection (pool), and in everything else (resolvers)",
            parts.clone(),
        );
        let dropped_spans = Gauge::default();
        registry.register(
            "trace_spans_dropped",
            "Spans that the collector of traces did not take, since the start",
            dropped_spans.clone(),
        );
        let reports = Family::<Name, Gauge>::default();
        registry.register(
            "replica_reports",
            "Reports since the start: read on the replica, or on the primary because it was behind or away",
            reports.clone(),
        );
        let statements = Counter::default();
        registry.register(
            "sql_statements",
            "SQL statements of GraphQL requests, transaction control included",
            statements.clone(),
        );
        let connections = Family::<Name, Gauge>::default();
        registry.register(
            "pool_connections",
            "Database connections of requests: in use, and at most",
            connections.clone(),
        );
        let balances = Family::<Name, Gauge>::default();
        registry.register(
            "aged_balances",
            "Aged balances in memory: companies and bytes held, answers from memory and from the database since the start",
            balances.clone(),
        );
        let kept = Family::<Name, Gauge>::default();
        registry.register(
            "kept_answers",
            "Answers that are kept while nothing of what they show changes: now, their bytes, and given again since the start",
            kept.clone(),
        );
        let business = Family::<Name, Gauge>::default();
        registry.register(
            "work",
            "What waits over all companies: mails, tasks, webhooks",
            business.clone(),
        );
        Metrics {
            registry,
            requests,
            seconds,
            parts,
            dropped_spans,
            reports,
            statements,
            connections,
            balances,
            kept,
            business,
        }
    }

    /// Counts a request.
    pub fn answered(&self, operation: &'static str, outcome: &str, took: Duration) {
        let outcome = outcome.to_owned();
        self.requests
            .get_or_create(&Outcome { operation, outcome })
            .inc();
        self.seconds
            .get_or_create(&Kind { operation })
            .observe(took.as_secs_f64());
    }

    /// Divides the time of an execution: what was spent in SQL, and waiting for a connection.
    pub fn spent(&self, whole: Duration, (sql, pool): (Duration, Duration)) {
        let rest = whole.saturating_sub(sql).saturating_sub(pool);
        for (part, time) in [("sql", sql), ("pool", pool), ("resolvers", rest)] {
            self.parts
                .get_or_create(&Part { part })
                .observe(time.as_secs_f64());
        }
    }

    /// Counts SQL statements.
    pub fn asked_database(&self, statements: u32) {
        self.statements.inc_by(u64::from(statements));
    }
}

fn whole(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

/// `GET /metrics`. What the database would tell is left out while it is away.
pub async fn metrics(endpoint: web::Data<GraphqlEndpoint>) -> HttpResponse {
    let metrics = &endpoint.metrics;
    let gauge = |family: &Family<Name, Gauge>, name: &str, value: i64| {
        let name = name.to_owned();
        family.get_or_create(&Name { name }).set(value);
    };
    let (in_use, most) = endpoint.store.connections();
    gauge(&metrics.connections, "in_use", i64::from(in_use));
    gauge(&metrics.connections, "most", i64::from(most));
    let usage = endpoint.balances.usage();
    gauge(&metrics.balances, "companies", whole(usage.companies));
    gauge(&metrics.balances, "bytes", whole(usage.bytes));
    gauge(
        &metrics.balances,
        "answers_from_memory",
        whole(usage.from_memory),
    );
    gauge(
        &metrics.balances,
        "answers_from_database",
        whole(usage.from_database),
    );
    let usage = endpoint.kept.usage();
    gauge(&metrics.kept, "answers", whole(usage.answers));
    gauge(&metrics.kept, "bytes", whole(usage.bytes));
    gauge(&metrics.kept, "given", whole(usage.given));
    let dropped = endpoint.tracer.dropped();
    metrics.dropped_spans.set(whole(dropped));
    if let Some(replica) = endpoint.store.replica() {
        for (route, count) in replica.routes() {
            gauge(&metrics.reports, route, whole(count));
        }
    }
    match endpoint.store.anonymous(service::operations::gauges).await {
        Ok(found) => {
            for (name, value) in found {
                gauge(&metrics.business, &name, value);
            }
        }
        Err(error) => {
            tracing::warn!(%error, "the gauges of the database are left out");
            metrics.business.clear();
        }
    }
    let mut text = String::new();
    match encode(&mut text, &metrics.registry) {
        Ok(()) => HttpResponse::Ok()
            .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
            .body(text),
        Err(error) => {
            tracing::error!(%error, "metrics were not written");
            HttpResponse::InternalServerError().finish()
        }
    }
}
