//! Traces: what a request did when, as spans in the sense of OpenTelemetry, sent to a collector by OTLP/HTTP in JSON.
//!
//! Off unless a collector is named: then nothing is measured, and no span is made. Spans hold names, counts and
//! statements without values: no record, no person, no token. A task carries the span it works under
//! ([`within`]); whoever leaves the task takes [`current`] along.

mod export;
pub mod figures;
mod statement;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use export::Exporter;
pub use export::Settings;
pub use statement::without_values;

tokio::task_local! {
    // None: it was decided to leave this request out.
    static CURRENT: Option<Context>;
}

/// Makes the first span of a request, when there is a collector. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<Exporter>>);

impl Tracer {
    /// Sends to a collector.
    pub fn to(settings: Settings) -> Tracer {
        Tracer(Some(Arc::new(Exporter::start(settings))))
    }

    /// Whether there is a collector.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A span of an operation: under the request's, or the first one where several share a connection.
    pub fn operation(&self, name: &'static str) -> Option<Span> {
        match CURRENT.try_with(Clone::clone) {
            Ok(current) => Some(current?.child(name, Kind::Internal)),
            Err(_) => self.root(name, Kind::Server, None),
        }
    }

    /// The first span here: under the caller's own, when it sent one and wants it recorded. None when tracing is off,
    /// or this request is left out.
    pub fn root(&self, name: &'static str, kind: Kind, caller: Option<Parent>) -> Option<Span> {
        let exporter = self.0.as_ref()?;
        let (trace, parent) = match caller {
            Some(parent) if parent.sampled => (parent.trace, Some(parent.span)),
            Some(_) => return None,
            None => (*uuid::Uuid::now_v7().as_bytes(), None),
        };
        // Whoever began the trace has decided for all of it.
        if parent.is_none() && !exporter.takes(trace) {
            return None;
        }
        let context = Context {
            exporter: Arc::clone(exporter),
            trace,
            span: span_id(),
        };
        Some(Span::new(context, parent, name.into(), kind))
    }

    /// Spans that were dropped because the collector was away or slow.
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |exporter| exporter.dropped())
    }
}

/// What a request says about the trace that it is part of: the header `traceparent` of W3C Trace Context.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parent {
    trace: [u8; 16],
    span: [u8; 8],
    sampled: bool,
}

impl Parent {
    /// Reads `00-<trace>-<span>-<flags>`; what is not of that form counts as not sent.
    pub fn read(header: &str) -> Option<Parent> {
        let mut parts = header.trim().split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        // Later versions may say more behind the flags.
        let [version] = bytes(version)?;
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let [flags] = bytes(flags)?;
        let (trace, span) = (bytes(trace)?, bytes(span)?);
        let is_named = trace != [0; 16] && span != [0; 8];
        is_named.then_some(Parent {
            trace,
            span,
            sampled: flags & 1 == 1,
        })
    }
}

/// Bytes from lower-case hexadecimal, as the specification asks.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != 2 * N || !digits.iter().all(is_hex) {
        return None;
    }
    let mut found = [0; N];
    for (place, byte) in found.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(found)
}

/// The last eight bytes of a new UUID: 62 of their bits are random.
fn span_id() -> [u8; 8] {
    let id = uuid::Uuid::now_v7();
    let mut span = [0; 8];
    span.copy_from_slice(&id.as_bytes()[8..]);
    span
}

/// A place in a trace, to put further spans under. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    exporter: Arc<Exporter>,
    trace: [u8; 16],
    span: [u8; 8],
}

impl Context {
    /// A span that begins now, under this one.
    pub fn child(&self, name: impl Into<Cow<'static, str>>, kind: Kind) -> Span {
        let context = Context {
            span: span_id(),
            ..self.clone()
        };
        Span::new(context, Some(self.span), name.into(), kind)
    }
}

/// The span that this task works under.
pub fn current() -> Option<Context> {
    CURRENT.try_with(Clone::clone).ok().flatten()
}

/// Runs `work` under a span; without one nothing of it is traced.
pub async fn within<F: Future>(span: Option<&Span>, work: F) -> F::Output {
    let context = span.map(|span| span.context.clone());
    CURRENT.scope(context, work).await
}

/// What part a span has in a conversation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Work inside this process.
    Internal,
    /// An answer to somebody's request.
    Server,
    /// A request of ours to another process.
    Client,
}

/// Something that takes its time: from its making to its end, when it is dropped.
pub struct Span {
    context: Context,
    parent: Option<[u8; 8]>,
    name: Cow<'static, str>,
    kind: Kind,
    began: SystemTime,
    attributes: Vec<(&'static str, Value)>,
    failed: bool,
}

impl Span {
    fn new(context: Context, parent: Option<[u8; 8]>, name: Cow<'static, str>, kind: Kind) -> Span {
        Span {
            context,
            parent,
            name,
            kind,
            began: SystemTime::now(),
            attributes: Vec::new(),
            failed: false,
        }
    }

    /// Renames it, once it is known what it is.
    pub fn rename(&mut self, name: String) {
        self.name = name.into();
    }

    /// Says something about it.
    pub fn text(&mut self, name: &'static str, value: impl Into<String>) {
        let value = json!({ "stringValue": value.into() });
        self.attributes.push((name, value));
    }

    /// Says a whole number about it.
    pub fn number(&mut self, name: &'static str, value: i64) {
        // OTLP writes those of 64 bits as texts.
        let value = json!({ "intValue": value.to_string() });
        self.attributes.push((name, value));
    }

    /// It did not end well. Why is told by attributes, never by a text that may hold values.
    pub fn fail(&mut self) {
        self.failed = true;
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let mut span = json!({
            "traceId": hex(&self.context.trace),
            "spanId": hex(&self.context.span),
            "name": self.name,
            "kind": match self.kind {
                Kind::Internal => 1,
                Kind::Server => 2,
                Kind::Client => 3,
            },
            "startTimeUnixNano": nanoseconds(self.began),
            "endTimeUnixNano": nanoseconds(SystemTime::now().max(self.began)),
            "attributes": self
                .attributes
                .drain(..)
                .map(|(key, value)| json!({ "key": key, "value": value }))
                .collect::<Vec<_>>(),
            "status": if self.failed { json!({ "code": 2 }) } else { json!({}) },
        });
        if let Some(parent) = &self.parent {
            span["parentSpanId"] = hex(parent).into();
        }
        self.context.exporter.take(span);
    }
}

fn hex(bytes: &[u8]) -> String {
    crate::domain::hex::hex(bytes)
}

fn nanoseconds(at: SystemTime) -> String {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_nanos()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparent_is_read_as_the_specification_says() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = Parent::read(good).expect("a parent");
        assert_eq!(hex(&parent.trace), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(hex(&parent.span), "b7ad6b7169203331");
        assert!(parent.sampled);
        let left_out = Parent::read(&good.replace("-01", "-00")).expect("a parent");
        assert!(!left_out.sampled);
        // A later version may say more.
        assert!(Parent::read(&format!("{}-what", good.replacen("00", "01", 1))).is_some());
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319é-b7ad6b7169203331-01",
        ] {
            assert_eq!(Parent::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn without_a_collector_there_are_no_spans() {
        let tracer = Tracer::default();
        assert!(tracer.root("request", Kind::Server, None).is_none());
        assert!(tracer.operation("query").is_none());
        assert!(current().is_none());
    }
}
