//! What was asked, from a body or from a URL.

use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, web};
use async_graphql::Variables;
use futures_util::StreamExt;
use serde_json::{Map, Value};

use crate::http::guard::Rejection;

/// Largest body; imports have their own route.
pub const BODY_BYTES: usize = 256 * 1024;
/// Longest time for a body to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);

/// A well-formed GraphQL request.
pub struct Asked {
    /// GraphQL text, not yet looked at.
    pub document: String,
    /// Which operation of the document; never empty.
    pub operation_name: Option<String>,
    /// Values of its variables.
    pub variables: Variables,
}

/// Reads `?query=…&operationName=…&variables={…}&extensions={…}`.
pub fn from_url(request: &HttpRequest) -> Result<Asked, Rejection> {
    let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string())
        .map_err(|_| bad("the query string is not form-encoded"))?;
    let mut fields = Map::new();
    for (name, text) in pairs.into_inner() {
        let value = match name.as_str() {
            "query" | "operationName" => Value::String(text),
            "variables" | "extensions" if text.is_empty() => Value::Null,
            "variables" | "extensions" => serde_json::from_str(&text)
                .map_err(|error| bad(format!("{name} is not JSON: {error}")))?,
            _ => continue,
        };
        fields.insert(name, value);
    }
    asked(fields)
}

/// Reads a JSON body.
///
/// Only `application/json`: a browser asks before it sends that to another site, so no form on a foreign
/// page can post here.
pub async fn from_body(request: &HttpRequest, body: web::Payload) -> Result<Asked, Rejection> {
    if !is_json(request) {
        return Err(Rejection::new(
            "UNSUPPORTED_MEDIA_TYPE",
            415,
            "send application/json in UTF-8, not compressed",
        ));
    }
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes: usize| bytes > BODY_BYTES) {
        return Err(too_large());
    }
    let bytes = tokio::time::timeout(BODY_TIME, collected(body))
        .await
        .map_err(|_| Rejection::new("TIMEOUT", 408, "the body did not arrive in time"))??;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(fields)) => asked(fields),
        Ok(Value::Array(_)) => Err(bad("batches are not served: send one request at a time")),
        Ok(_) => Err(bad("the body must be a JSON object with a query")),
        Err(error) => Err(bad(format!("the body is not JSON: {error}"))),
    }
}

fn is_json(request: &HttpRequest) -> bool {
    let text = |name| {
        request
            .headers()
            .get(name)
            .map_or("", |value| value.to_str().unwrap_or("?"))
    };
    let content_type = text(header::CONTENT_TYPE).to_ascii_lowercase();
    let mut parts = content_type.split(';').map(str::trim);
    let is_utf8 = |part: &str| {
        !part.starts_with("charset=") || matches!(part, "charset=utf-8" | "charset=\"utf-8\"")
    };
    parts.next() == Some("application/json")
        && parts.all(is_utf8)
        && matches!(text(header::CONTENT_ENCODING), "" | "identity")
}

async fn collected(mut body: web::Payload) -> Result<Vec<u8>, Rejection> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| bad("the body broke off"))?;
        if bytes.len() + chunk.len() > BODY_BYTES {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Reads the fields of a request, whatever brought them.
pub fn asked(mut fields: Map<String, Value>) -> Result<Asked, Rejection> {
    let extensions = match fields.remove("extensions") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(extensions)) => extensions,
        Some(_) => return Err(bad("extensions must be an object")),
    };
    let document = match fields.remove("query") {
        Some(Value::String(document)) => document,
        // Clients that try a hash first send the document after this answer.
        None | Some(Value::Null) if extensions.contains_key("persistedQuery") => {
            return Err(Rejection::new(
                "PERSISTED_QUERY_NOT_FOUND",
                200,
                "PersistedQueryNotFound",
            ));
        }
        _ => return Err(bad("query is missing: the GraphQL document, as a string")),
    };
    let operation_name = match fields.remove("operationName") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name).filter(|name| !name.is_empty()),
        Some(_) => return Err(bad("operationName must be a string")),
    };
    let variables = match fields.remove("variables") {
        None | Some(Value::Null) => Variables::default(),
        Some(variables @ Value::Object(_)) => Variables::from_json(variables),
        Some(_) => return Err(bad("variables must be an object")),
    };
    Ok(Asked {
        document,
        operation_name,
        variables,
    })
}

fn bad(message: impl Into<String>) -> Rejection {
    Rejection::new("BAD_REQUEST", 400, message)
}

fn too_large() -> Rejection {
    let mut rejection = Rejection::new(
        "PAYLOAD_TOO_LARGE",
        413,
        format!("the body is larger than {BODY_BYTES} bytes"),
    );
    rejection.details.insert("limit".into(), BODY_BYTES.into());
    rejection
}
