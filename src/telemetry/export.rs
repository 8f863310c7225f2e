//! Spans on their way to the collector, on a thread of their own: a collector that is slow or away costs spans, never
//! a request its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;
use ureq::tls::{TlsConfig, TlsProvider};

/// Spans that wait for the collector.
const WAITING: usize = 8192;
/// Spans of one message.
const BATCH: usize = 512;
/// Longest time that a span waits for others to go with.
const PERIOD: Duration = Duration::from_secs(1);
/// Longest wait for the collector.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the log says that the collector does not answer.
const COMPLAINT: Duration = Duration::from_secs(60);

/// A collector.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its address without the path, such as `http://127.0.0.1:4318`.
    pub endpoint: String,
    /// Headers that it asks for, such as a key.
    pub headers: Vec<(String, String)>,
    /// The part of the traces begun here that is recorded, from 0 to 1.
    pub ratio: f64,
}

impl Settings {
    /// What is wrong with them.
    pub fn check(&self) -> Result<(), String> {
        let uri: ureq::http::Uri = self
            .endpoint
            .parse()
            .map_err(|error| format!("{}: {error}", self.endpoint))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(format!(
                "{}: an address such as http://127.0.0.1:4318 is expected",
                self.endpoint
            ));
        }
        if !(0.0..=1.0).contains(&self.ratio) {
            return Err(format!("{} is not between 0 and 1", self.ratio));
        }
        Ok(())
    }
}

/// The way to the collector. Dropped, it sends what waits.
pub struct Exporter {
    spans: Option<SyncSender<Value>>,
    thread: Option<JoinHandle<()>>,
    dropped: Arc<AtomicU64>,
    ratio: f64,
}

impl Exporter {
    /// Starts its thread; nothing is sent before the first span.
    pub fn start(settings: Settings) -> Exporter {
        let (spans, waiting) = sync_channel(WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let ratio = settings.ratio;
        let mut collector = Collector::new(settings, Arc::clone(&dropped));
        let thread = thread::spawn(move || collector.work(&waiting));
        Exporter {
            spans: Some(spans),
            thread: Some(thread),
            dropped,
            ratio,
        }
    }

    /// Whether a trace that begins here is recorded: the same answer for the same trace everywhere.
    pub fn takes(&self, trace: [u8; 16]) -> bool {
        let [.., a, b, c, d] = trace;
        f64::from(u32::from_be_bytes([a, b, c, d])) < self.ratio * (f64::from(u32::MAX) + 1.0)
    }

    /// Takes a span that has ended. When too many wait, it is dropped.
    pub fn take(&self, span: Value) {
        let taken = self
            .spans
            .as_ref()
            .is_some_and(|spans| spans.try_send(span).is_ok());
        if !taken {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Spans that never arrived.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // The thread ends when nobody is left to send.
        self.spans = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Collector {
    agent: Agent,
    address: String,
    headers: Vec<(String, String)>,
    resource: Value,
    dropped: Arc<AtomicU64>,
    complained: Option<Instant>,
}

impl Collector {
    fn new(settings: Settings, dropped: Arc<AtomicU64>) -> Collector {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(
                rustls::crypto::aws_lc_rs::default_provider(),
            ))
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(PATIENCE))
            .max_redirects(0)
            .build()
            .into();
        let about = |key: &str, text: &str| json!({ "key": key, "value": { "stringValue": text } });
        Collector {
            agent,
            address: format!("{}/v1/traces", settings.endpoint.trim_end_matches('/')),
            headers: settings.headers,
            resource: json!({ "attributes": [
                about("service.name", env!("CARGO_PKG_NAME")),
                about("service.version", env!("CARGO_PKG_VERSION")),
                about("service.instance.id", &uuid::Uuid::now_v7().to_string()),
            ] }),
            dropped,
            complained: None,
        }
    }

    fn work(&mut self, waiting: &Receiver<Value>) {
        while let Ok(first) = waiting.recv() {
            let until = Instant::now() + PERIOD;
            let mut batch = vec![first];
            let mut is_over = false;
            while batch.len() < BATCH {
                match waiting.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(span) => batch.push(span),
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => {
                        is_over = true;
                        break;
                    }
                }
            }
            self.send(batch);
            if is_over {
                return;
            }
        }
    }

    fn send(&mut self, batch: Vec<Value>) {
        let count = batch.len();
        let message = json!({ "resourceSpans": [{
            "resource": self.resource,
            "scopeSpans": [{
                "scope": { "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") },
                "spans": batch,
            }],
        }] });
        let request = self
            .agent
            .post(&self.address)
            .header("content-type", "application/json");
        let request = self.headers.iter().fold(request, |request, (name, value)| {
            request.header(name, value)
        });
        // Not sent again: the next ones would wait for it, and a trace is no record.
        if let Err(error) = request.send(message.to_string()) {
            self.dropped.fetch_add(count as u64, Ordering::Relaxed);
            if self.complained.is_none_or(|at| at.elapsed() > COMPLAINT) {
                self.complained = Some(Instant::now());
                tracing::warn!(%error, "the collector of traces does not take spans: {count} are lost");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(endpoint: &str, ratio: f64) -> Settings {
        Settings {
            endpoint: endpoint.into(),
            headers: Vec::new(),
            ratio,
        }
    }

    #[test]
    fn settings_name_a_collector() {
        assert_eq!(settings("http://127.0.0.1:4318", 1.0).check(), Ok(()));
        assert_eq!(settings("https://traces.example/otlp", 0.5).check(), Ok(()));
        for (endpoint, ratio) in [
            ("127.0.0.1:4318", 1.0),
            ("grpc://127.0.0.1:4317", 1.0),
            ("", 1.0),
            ("http://127.0.0.1:4318", 1.5),
            ("http://127.0.0.1:4318", f64::NAN),
        ] {
            assert!(
                settings(endpoint, ratio).check().is_err(),
                "{endpoint} {ratio}"
            );
        }
    }

    #[test]
    fn a_part_of_the_traces_is_taken() {
        let taken = |ratio: f64| {
            // Nothing is sent, so nobody needs to listen.
            let exporter = Exporter::start(settings("http://127.0.0.1:1", ratio));
            let traces = (0..1000_u32).map(|number| {
                let mut trace = [0; 16];
                trace[12..].copy_from_slice(&(number * (u32::MAX / 1000)).to_be_bytes());
                trace
            });
            traces.filter(|trace| exporter.takes(*trace)).count()
        };
        assert_eq!((taken(0.0), taken(1.0)), (0, 1000));
        assert!((240..=260).contains(&taken(0.25)));
    }
}
