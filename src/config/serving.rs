//! Settings of the wire: TLS, connections, limits of requests, traces, the replica for reports.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use encours::http::guard::Limits;
use encours::http::tls::Certificate;
use encours::telemetry;

use super::filled;
use super::reading::{noted, secret};

/// How requests come in.
#[derive(Debug, Args)]
#[command(next_help_heading = "Wire")]
pub struct Wire {
    /// Certificate chain in PEM, the server's own first: with it the server speaks TLS itself. Read again on SIGHUP,
    /// and within a minute after it was written
    #[arg(long, value_name = "FILE", env = "ENCOURS_TLS_CERT")]
    tls_cert: Option<PathBuf>,

    /// Its private key in PEM
    #[arg(long, value_name = "FILE", env = "ENCOURS_TLS_KEY")]
    tls_key: Option<PathBuf>,

    /// Connections at once, of each of the two or more threads that accept them; the others wait
    #[arg(long, value_name = "N", env = "ENCOURS_MAX_CONNECTIONS", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_connections: u32,

    /// Seconds for the head of a request to arrive
    #[arg(long, value_name = "N", env = "ENCOURS_HEAD_SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub head_seconds: u64,

    /// Longest execution of one request, in seconds
    #[arg(long, value_name = "N", env = "ENCOURS_REQUEST_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    request_seconds: u64,

    /// Longest run of one SQL statement of a request, in seconds: less than a request's
    #[arg(long, value_name = "N", env = "ENCOURS_STATEMENT_SECONDS", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=300))]
    statement_seconds: u64,

    #[command(flatten)]
    limits: LimitOptions,

    #[command(flatten)]
    traces: Traces,

    /// A streaming replica of the Postgres: reports are read there once it has what their caller wrote, else from the
    /// primary
    #[arg(
        long,
        value_name = "URL",
        env = "DATABASE_REPLICA_URL",
        hide_env_values = true
    )]
    replica_url: Option<String>,
}

/// The most that one GraphQL document may ask for.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits of a GraphQL document")]
struct LimitOptions {
    /// Bytes of the document
    #[arg(long, value_name = "N", env = "ENCOURS_LIMIT_DOCUMENT_BYTES", default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(100..=200_000))]
    limit_document_bytes: u32,

    /// Its tokens
    #[arg(long, value_name = "N", env = "ENCOURS_LIMIT_TOKENS", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(100..=20_000))]
    limit_tokens: u32,

    /// Fields inside fields
    #[arg(long, value_name = "N", env = "ENCOURS_LIMIT_DEPTH", default_value_t = 15, value_parser = clap::value_parser!(u32).range(3..=20))]
    limit_depth: u32,

    /// Aliases
    #[arg(long, value_name = "N", env = "ENCOURS_LIMIT_ALIASES", default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    limit_aliases: u32,

    /// Directives
    #[arg(long, value_name = "N", env = "ENCOURS_LIMIT_DIRECTIVES", default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    limit_directives: u32,

    /// Selections, fragments inlined
    #[arg(long, value_name = "N", env = "ENCOURS_LIMIT_NODES", default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(100..=30_000))]
    limit_nodes: u32,

    /// Cost, as extensions.cost tells it
    #[arg(long, value_name = "N", env = "ENCOURS_LIMIT_COST", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    limit_cost: u32,
}

/// Where traces go.
#[derive(Debug, Args)]
#[command(next_help_heading = "Traces")]
struct Traces {
    /// Collector of OpenTelemetry traces (OTLP/HTTP), without the path: http://127.0.0.1:4318. Without one nothing is
    /// traced
    #[arg(long, value_name = "URL", env = "ENCOURS_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,

    /// Headers for it, as name=value with commas between, such as a key
    #[arg(
        long,
        value_name = "HEADERS",
        env = "ENCOURS_OTLP_HEADERS",
        hide_env_values = true
    )]
    otlp_headers: Option<String>,

    /// The part of the traces that is recorded, from 0 to 1; who sends a traceparent decides for its own
    #[arg(
        long,
        value_name = "PART",
        env = "ENCOURS_TRACE_RATIO",
        default_value_t = 1.0,
        value_parser = ratio
    )]
    trace_ratio: f64,
}

fn ratio(text: &str) -> Result<f64, String> {
    let read = text.parse().ok().filter(|it| (0.0..=1.0).contains(it));
    read.ok_or_else(|| "a number from 0 to 1 is expected".into())
}

impl Wire {
    /// Reads secrets from the files that hold them.
    pub fn take_files(&mut self, mistakes: &mut Vec<String>) {
        let replica = self.replica_url.take();
        self.replica_url = secret("DATABASE_REPLICA_URL", replica, mistakes);
        let headers = self.traces.otlp_headers.take();
        self.traces.otlp_headers = secret("ENCOURS_OTLP_HEADERS", headers, mistakes);
    }

    /// The certificate, when the server speaks TLS.
    pub fn certificate(&self) -> Result<Option<Certificate>, String> {
        match (given(&self.tls_cert), given(&self.tls_key)) {
            (None, None) => Ok(None),
            (Some(chain), Some(key)) => Certificate::read(chain, key)
                .map(Some)
                .map_err(|why| format!("TLS: {why}")),
            (Some(_), None) => {
                Err("--tls-cert needs --tls-key: the file of its private key".into())
            }
            (None, Some(_)) => {
                Err("--tls-key needs --tls-cert: the file of the certificate".into())
            }
        }
    }

    /// The replica.
    pub fn replica_url(&self) -> Option<&str> {
        filled(self.replica_url.as_deref())
    }

    /// Longest execution of one request.
    pub fn request_time(&self) -> Duration {
        Duration::from_secs(self.request_seconds)
    }

    /// Longest run of one statement.
    pub fn statement_time(&self) -> Duration {
        Duration::from_secs(self.statement_seconds)
    }

    /// The limits of a document.
    pub fn limits(&self) -> Limits {
        let of = |number: u32| number as usize;
        let limits = &self.limits;
        Limits {
            document_bytes: of(limits.limit_document_bytes),
            tokens: of(limits.limit_tokens),
            depth: of(limits.limit_depth),
            aliases: of(limits.limit_aliases),
            directives: of(limits.limit_directives),
            expanded_nodes: of(limits.limit_nodes),
            cost: of(limits.limit_cost),
            ..Limits::default()
        }
    }

    /// The collector of traces, when there is one.
    pub fn collector(&self) -> Result<Option<telemetry::Settings>, String> {
        let Some(endpoint) = filled(self.traces.otlp_endpoint.as_deref()) else {
            return Ok(None);
        };
        let headers = filled(self.traces.otlp_headers.as_deref()).unwrap_or_default();
        let settings = telemetry::Settings {
            endpoint: endpoint.to_owned(),
            headers: headers_of(headers)?,
            ratio: self.traces.trace_ratio,
        };
        settings
            .check()
            .map_err(|why| format!("--otlp-endpoint or --trace-ratio: {why}"))?;
        Ok(Some(settings))
    }

    /// What is wrong with them, beside what the other questions answer.
    pub fn check(&self, mistakes: &mut Vec<String>) {
        // The pair is read as one, which ends at a certificate that cannot be: its key is looked at here.
        let opens = |file: &Option<PathBuf>| given(file).map(File::open).transpose().map(drop);
        if let (Err(_), Err(error)) = (opens(&self.tls_cert), opens(&self.tls_key)) {
            mistakes.push(format!("--tls-key: {error}"));
        }
        if self.statement_seconds > self.request_seconds {
            mistakes.push(format!(
                "--statement-seconds {} is more than --request-seconds {}",
                self.statement_seconds, self.request_seconds
            ));
        }
        noted(
            mistakes,
            super::check_url("DATABASE_REPLICA_URL", self.replica_url()),
        );
    }
}

fn given(path: &Option<PathBuf>) -> Option<&PathBuf> {
    path.as_ref().filter(|path| !path.as_os_str().is_empty())
}

fn headers_of(text: &str) -> Result<Vec<(String, String)>, String> {
    let pairs = text.split(',').map(str::trim).filter(|it| !it.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair
                .split_once('=')
                .ok_or("ENCOURS_OTLP_HEADERS looks like name=value,name=value")?;
            let (name, value) = (name.trim(), value.trim());
            let fits = is_name(name) && value.chars().all(|sign| (' '..='~').contains(&sign));
            match fits {
                true => Ok((name.to_owned(), value.to_owned())),
                false => Err("ENCOURS_OTLP_HEADERS holds what cannot be a header".into()),
            }
        })
        .collect()
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        wire: Wire,
    }

    #[test]
    fn the_limits_that_are_not_set_are_those_of_the_documentation() {
        let wire = Alone::parse_from(["alone"]).wire;
        assert_eq!(
            format!("{:?}", wire.limits()),
            format!("{:?}", Limits::default())
        );
        assert_eq!(wire.request_time(), Duration::from_secs(10));
        assert_eq!(wire.statement_time(), Duration::from_secs(8));
    }

    #[test]
    fn headers_are_pairs() {
        let found = headers_of("authorization=Basic eA==, x-team = books").expect("headers");
        let expected = [("authorization", "Basic eA=="), ("x-team", "books")];
        assert_eq!(
            found,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert_eq!(headers_of(""), Ok(Vec::new()));
        assert!(headers_of("authorization").is_err());
        assert!(headers_of("a b=c").is_err());
    }

    #[test]
    fn a_certificate_needs_both_files() {
        let wire = |arguments: &[&str]| {
            Alone::parse_from([&["alone"], arguments].concat())
                .wire
                .certificate()
        };
        assert!(wire(&[]).expect("no TLS").is_none());
        assert!(wire(&["--tls-cert", "a"]).is_err_and(|why| why.contains("--tls-key")));
        assert!(wire(&["--tls-key", "a"]).is_err_and(|why| why.contains("--tls-cert")));
        let missing = wire(&["--tls-cert", "/nowhere/cert", "--tls-key", "/nowhere/key"]);
        assert!(missing.is_err_and(|why| why.contains("/nowhere/cert")));
    }
}
