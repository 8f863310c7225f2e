//! The messages and close codes of `graphql-transport-ws`.

use actix_ws::{CloseCode, CloseReason};
use serde_json::{Map, Value, json};

/// The name of the protocol, as a client offers it.
pub const NAME: &str = "graphql-transport-ws";

/// What a client sends.
#[derive(Debug, PartialEq)]
pub enum Incoming {
    /// Opens the connection; its payload may carry the token.
    Init(Option<Value>),
    /// Asks for a pong with the same payload.
    Ping(Option<Value>),
    /// Answers a ping.
    Pong,
    /// Starts an operation under an id of the client's choice.
    Subscribe(String, Map<String, Value>),
    /// Ends one.
    Complete(String),
}

/// Reads a message; none when it is not one of the protocol.
pub fn read(text: &str) -> Option<Incoming> {
    let Ok(Value::Object(mut message)) = serde_json::from_str(text) else {
        return None;
    };
    let payload = message.remove("payload").filter(|it| !it.is_null());
    let id = match message.remove("id") {
        Some(Value::String(id)) if !id.is_empty() => Some(id),
        _ => None,
    };
    let is_object = payload.as_ref().is_none_or(Value::is_object);
    match (message.get("type")?.as_str()?, id, payload) {
        ("connection_init", _, payload) if is_object => Some(Incoming::Init(payload)),
        ("ping", _, payload) if is_object => Some(Incoming::Ping(payload)),
        ("pong", _, _) if is_object => Some(Incoming::Pong),
        ("subscribe", Some(id), Some(Value::Object(payload))) => {
            Some(Incoming::Subscribe(id, payload))
        }
        ("complete", Some(id), _) => Some(Incoming::Complete(id)),
        _ => None,
    }
}

/// The token in the payload of `connection_init`.
pub fn token(payload: &Option<Value>) -> Option<&str> {
    let fields = payload.as_ref()?.as_object()?;
    let (_, token) = fields
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("authorization"))?;
    token.as_str()
}

/// The connection is open.
pub fn ack() -> String {
    json!({ "type": "connection_ack" }).to_string()
}

/// The answer to a ping.
pub fn pong(payload: Option<Value>) -> String {
    match payload {
        Some(payload) => json!({ "type": "pong", "payload": payload }).to_string(),
        None => json!({ "type": "pong" }).to_string(),
    }
}

/// An answer of an operation.
pub fn next(id: &str, payload: &Value) -> String {
    json!({ "id": id, "type": "next", "payload": payload }).to_string()
}

/// An operation was not executed; nothing more is said of it.
pub fn error(id: &str, errors: &Value) -> String {
    json!({ "id": id, "type": "error", "payload": errors }).to_string()
}

/// An operation is over.
pub fn complete(id: &str) -> String {
    json!({ "id": id, "type": "complete" }).to_string()
}

/// Why a connection is closed by the server.
#[derive(Debug)]
pub enum Close {
    /// The server stops.
    GoingAway,
    /// A message is larger than a body may be.
    TooLarge,
    /// Not a message of the protocol.
    BadMessage,
    /// An operation before the connection was acknowledged.
    Unauthorized,
    /// No valid token, or it is no longer one.
    Forbidden,
    /// The client does not speak the protocol.
    Subprotocol,
    /// No `connection_init` in time.
    InitTimeout,
    /// An operation with this id runs.
    DuplicateId(String),
    /// A second `connection_init`.
    TooManyInits,
}

impl From<Close> for CloseReason {
    fn from(close: Close) -> CloseReason {
        let (code, text) = match close {
            Close::GoingAway => (CloseCode::Away, "Server is stopping".to_owned()),
            Close::TooLarge => (CloseCode::Size, "Message is too large".to_owned()),
            Close::BadMessage => (CloseCode::Other(4400), "Invalid message".to_owned()),
            Close::Unauthorized => (CloseCode::Other(4401), "Unauthorized".to_owned()),
            Close::Forbidden => (CloseCode::Other(4403), "Forbidden".to_owned()),
            Close::Subprotocol => (
                CloseCode::Other(4406),
                "Subprotocol not acceptable".to_owned(),
            ),
            Close::InitTimeout => (
                CloseCode::Other(4408),
                "Connection initialisation timeout".to_owned(),
            ),
            Close::DuplicateId(id) => (
                CloseCode::Other(4409),
                format!("Subscriber for {id} already exists"),
            ),
            Close::TooManyInits => (
                CloseCode::Other(4429),
                "Too many initialisation requests".to_owned(),
            ),
        };
        CloseReason {
            code,
            description: Some(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_of_the_protocol_are_read() {
        for (text, expected) in [
            (r#"{"type":"connection_init"}"#, Some(Incoming::Init(None))),
            (
                r#"{"type":"connection_init","payload":null}"#,
                Some(Incoming::Init(None)),
            ),
            (
                r#"{"type":"ping","payload":{"a":1}}"#,
                Some(Incoming::Ping(Some(json!({ "a": 1 })))),
            ),
            (r#"{"type":"pong"}"#, Some(Incoming::Pong)),
            (
                r#"{"type":"complete","id":"1"}"#,
                Some(Incoming::Complete("1".into())),
            ),
            (
                r#"{"type":"subscribe","id":"1","payload":{}}"#,
                Some(Incoming::Subscribe("1".into(), Map::new())),
            ),
            (r#"{"type":"subscribe","id":"1"}"#, None),
            (r#"{"type":"subscribe","id":"","payload":{}}"#, None),
            (r#"{"type":"subscribe","id":1,"payload":{}}"#, None),
            (r#"{"type":"subscribe","payload":{}}"#, None),
            (r#"{"type":"complete"}"#, None),
            (r#"{"type":"connection_init","payload":[]}"#, None),
            (r#"{"type":"start"}"#, None),
            (r#"{}"#, None),
            ("[]", None),
            ("hello", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn the_token_is_found_whatever_the_case_of_its_name() {
        for name in ["authorization", "Authorization"] {
            assert_eq!(token(&Some(json!({ name: "Bearer x" }))), Some("Bearer x"));
        }
        assert_eq!(token(&Some(json!({ "authorization": 1 }))), None);
        assert_eq!(token(&None), None);
    }
}
