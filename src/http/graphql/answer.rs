//! What is answered: media type, status, codes, and nothing that the caller should not see.

use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse};
use async_graphql::{Pos, Response, ServerError, Value};
use serde_json::json;
use uuid::Uuid;

use crate::domain::audit::Origin;
use crate::graphql::text;
use crate::http::auth::Authenticator;
use crate::http::guard::{Limits, Rejection, Walk};
use crate::store::replica::Position;

/// Where the log of the database stood after a write: sent back with a report, it is read where that is known.
pub const POSITION: &str = "x-encours-position";
/// Most errors in one answer.
const ERRORS: usize = 20;

/// How to answer one request.
pub struct Reply {
    media: Option<Media>,
    method: Method,
    request_id: String,
    address: String,
    seen: Option<Position>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Media {
    GraphqlResponse,
    Json,
}

/// An answer of the schema that its caller may see.
pub struct Presented {
    /// Whether anything was executed: a request error has no data, not even null.
    pub executed: bool,
    /// The code of every error, as the library left it.
    codes: Vec<Option<String>>,
    /// The errors, not too many.
    pub errors: Vec<ServerError>,
    data: Value,
    extensions: serde_json::Map<String, serde_json::Value>,
}

impl Presented {
    /// As the body of a response.
    fn text(&self) -> Vec<u8> {
        let mut text = vec![b'{'];
        let mut json = |name: &str, write: &dyn Fn(&mut Vec<u8>)| {
            if text.len() > 1 {
                text.push(b',');
            }
            text::named(name, &mut text);
            write(&mut text);
        };
        if !self.errors.is_empty() {
            json("errors", &|text| text::json(&self.errors, text));
        }
        // A request that was not executed has no data, not even null.
        if self.executed {
            json("data", &|text| text::write(&self.data, text));
        }
        if !self.extensions.is_empty() {
            json("extensions", &|text| text::json(&self.extensions, text));
        }
        text.push(b'}');
        text
    }

    /// As a message of a stream.
    pub fn message(&self) -> serde_json::Value {
        serde_json::from_slice(&self.text()).unwrap_or_default()
    }
}

/// Why a request was not executed, as one error of GraphQL.
pub fn refusal(rejection: &Rejection) -> serde_json::Value {
    let mut extensions = (*rejection.details).clone();
    extensions.insert("code".into(), rejection.code.into());
    let mut error = json!({ "message": rejection.message, "extensions": extensions });
    if !rejection.locations.is_empty() {
        error["locations"] = rejection
            .locations
            .iter()
            .map(|Pos { line, column }| json!({ "line": line, "column": column }))
            .collect();
    }
    error
}

/// The id that the client has given its request, when it is a plain word; else a new one.
pub fn request_id(request: &HttpRequest) -> String {
    let sent = request
        .headers()
        .get("x-request-id")
        .and_then(|id| id.to_str().ok())
        .filter(|id| is_token(id));
    sent.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

impl Reply {
    /// Reads from the request what its answer must look like.
    pub fn to(request: &HttpRequest, authenticator: &Authenticator) -> Reply {
        let accept: Vec<_> = request
            .headers()
            .get_all(header::ACCEPT)
            .map(|it| it.to_str().unwrap_or(""))
            .collect();
        Reply {
            seen: seen(request),
            media: negotiated(&accept.join(",")),
            method: request.method().clone(),
            request_id: request_id(request),
            address: authenticator.address(request),
        }
    }

    /// How far the caller has seen the log of the database: what an answer to a write told them.
    pub fn seen(&self) -> Option<Position> {
        self.seen
    }

    /// The id of the request, for the log and for who asks about it.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Where the request comes from, for the audit trail.
    pub fn origin(&self) -> Origin {
        Origin {
            request: Some(self.request_id.clone()),
            address: Some(self.address.clone()),
            operation: None,
        }
    }

    /// Refuses a client that accepts nothing we can send.
    pub fn check_accepted(&self) -> Result<(), Rejection> {
        let text = "accept application/graphql-response+json or application/json";
        self.media
            .map(|_| ())
            .ok_or_else(|| Rejection::new("NOT_ACCEPTABLE", 406, text))
    }

    /// A fault of ours: logged in full here, shown as an id.
    pub fn masked(&self, fault: &str) -> Rejection {
        tracing::error!(request_id = %self.request_id, "request {} failed: {fault}", self.request_id);
        let mut rejection = Rejection::new("INTERNAL_SERVER_ERROR", 500, self.mask());
        rejection
            .details
            .insert("requestId".into(), self.request_id.as_str().into());
        rejection
    }

    /// The answer to a request that was not executed.
    pub fn refuse(&self, rejection: &Rejection) -> HttpResponse {
        let body = json!({ "errors": [refusal(rejection)] });
        let mut response = self.respond(rejection.status, body.to_string().into_bytes());
        let wait = rejection.details.get("retryAfter");
        if let Some(wait) = wait.and_then(serde_json::Value::as_u64) {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from(wait));
        }
        response
    }

    /// The answer of the schema, made presentable. `failed`: nothing of it was done.
    pub fn answer(&self, presented: &Presented, failed: bool) -> HttpResponse {
        let codes = &presented.codes;
        let status = match codes.first() {
            Some(_) if !presented.executed => 422,
            Some(Some(first)) if failed && codes.iter().all(|it| it.as_ref() == Some(first)) => {
                status_of_failure(first)
            }
            _ => 200,
        };
        self.respond(status, presented.text())
    }

    /// Makes the answer of the schema presentable.
    pub fn presented(&self, mut response: Response, walk: &Walk, limits: &Limits) -> Presented {
        let executed = response.data != Value::Null
            || response
                .errors
                .iter()
                .any(|error| !error.path.is_empty() || code(error).is_some());
        let left_out = response.errors.len().saturating_sub(ERRORS);
        let codes: Vec<_> = response
            .errors
            .iter()
            .map(|error| code(error).map(str::to_owned))
            .collect();
        response.errors.truncate(ERRORS);
        for error in &mut response.errors {
            self.present(error, walk);
        }
        let mut extensions = serde_json::Map::new();
        extensions.insert(
            "cost".into(),
            json!({ "requested": walk.cost, "available": limits.cost }),
        );
        if left_out > 0 {
            extensions.insert("errorsLeftOut".into(), left_out.into());
        }
        Presented {
            executed,
            codes,
            errors: response.errors,
            data: response.data,
            extensions,
        }
    }

    /// Gives a code to what the library left without one, and hides our own faults.
    fn present(&self, error: &mut ServerError, walk: &Walk) {
        if code(error) == Some("INTERNAL_SERVER_ERROR") {
            tracing::error!(
                request_id = %self.request_id, path = ?error.path,
                "request {} failed: {}", self.request_id, error.message
            );
            error.message = self.mask();
            error.extensions = None;
            set(error, "code", "INTERNAL_SERVER_ERROR");
            set(error, "requestId", &self.request_id);
            return;
        }
        if code(error).is_some() {
            return;
        }
        if let Some(end) = error.message.find(" Did you mean") {
            error.message.truncate(end);
        }
        if let Some(field) = input_field(&error.message) {
            set(error, "field", &field);
            if let Some(form) = form_of(&error.message) {
                error.message.push_str(form);
            }
        }
        // The rules of the library have one text for a wrong literal and a wrong variable.
        let is_variable = error.message.starts_with("Invalid value for argument")
            && error
                .locations
                .first()
                .is_some_and(|place| walk.variable_arguments.contains(place));
        let is_input = is_variable || !error.path.is_empty();
        set(
            error,
            "code",
            if is_input {
                "BAD_USER_INPUT"
            } else {
                "GRAPHQL_VALIDATION_FAILED"
            },
        );
    }

    fn mask(&self) -> String {
        format!("internal error, request id {}", self.request_id)
    }

    fn respond(&self, status: u16, body: Vec<u8>) -> HttpResponse {
        let media = self.media.unwrap_or(Media::Json);
        // Older clients know no 422 from a GraphQL server.
        let status = if media == Media::Json && status == 422 {
            400
        } else {
            status
        };
        let mut response = HttpResponse::build(
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        );
        response
            .content_type(match media {
                Media::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
                Media::Json => "application/json; charset=utf-8",
            })
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::VARY, "Accept, Authorization"))
            .insert_header(("x-request-id", self.request_id.as_str()));
        match status {
            401 => drop(response.insert_header((header::WWW_AUTHENTICATE, "Bearer"))),
            405 => drop(response.insert_header((
                header::ALLOW,
                if self.method == Method::GET {
                    "POST"
                } else {
                    "GET, POST"
                },
            ))),
            429 | 503 => drop(response.insert_header((header::RETRY_AFTER, "1"))),
            // The rest of the body is not worth reading.
            408 | 413 => drop(response.force_close()),
            _ => {}
        }
        response.body(body)
    }
}

/// How far the caller of a request says to have seen the log of the database.
pub fn seen(request: &HttpRequest) -> Option<Position> {
    let value = request.headers().get(POSITION)?;
    Position::read(value.to_str().ok()?)
}

/// The field of the input that a rule of the library names in its text, as `userErrors` would.
fn input_field(message: &str) -> Option<String> {
    let rest = message.strip_prefix("Invalid value for argument \"")?;
    let (path, why) = rest.split_once('"')?;
    let missing = why
        .strip_prefix(", field \"")
        .or_else(|| why.strip_prefix(", unknown field \""))
        .and_then(|why| why.split('"').next());
    let path = path.strip_prefix("input.").unwrap_or(path);
    Some(match missing {
        Some(name) if path == "input" => name.to_owned(),
        Some(name) => format!("{path}.{name}"),
        None => path.to_owned(),
    })
}

/// How a value of the type that was expected is written.
fn form_of(message: &str) -> Option<&'static str> {
    let (_, kind) = message.rsplit_once("expected type \"")?;
    Some(match kind.trim_end_matches(['"', '!']) {
        "Date" => ": a day such as \"2026-03-31\", of the years 1900 to 2200",
        "DateTime" => ": an instant such as \"2026-03-31T12:00:00Z\"",
        "Decimal" => ": a decimal number in a string, such as \"1200.50\"",
        "Int" => ": a whole number of 32 bits",
        "ID" => ": the id of a record, as the API gave it",
        "Boolean" => ": true or false",
        "String" => ": a text",
        _ => return None,
    })
}

/// Status of a request of which nothing could be answered, all for the same reason.
fn status_of_failure(code: &str) -> u16 {
    match code {
        "UNAVAILABLE" => 503,
        "RATE_LIMITED" => 429,
        "TIMEOUT" => 504,
        _ => 200,
    }
}

/// Whether nothing was answered: no data, or null in every field of the root.
pub fn is_empty(data: &Value) -> bool {
    match data {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(|value| *value == Value::Null),
        _ => false,
    }
}

fn code(error: &ServerError) -> Option<&str> {
    match error.extensions.as_ref()?.get("code")? {
        Value::String(code) => Some(code),
        _ => None,
    }
}

fn set(error: &mut ServerError, name: &str, value: &str) {
    error.extensions.get_or_insert_default().set(name, value);
}

fn is_token(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// The newer media type when it is named, `application/json` when that will do, nothing otherwise.
fn negotiated(accept: &str) -> Option<Media> {
    if accept.trim().is_empty() {
        return Some(Media::Json);
    }
    let (named, newer) = quality(accept, "application/graphql-response+json");
    let (_, json) = quality(accept, "application/json");
    if newer > 0.0 && (json <= 0.0 || (named && newer >= json)) {
        return Some(Media::GraphqlResponse);
    }
    (json > 0.0).then_some(Media::Json)
}

/// Whether a stream of events is named, and wanted no less than one document.
pub fn wants_events(request: &HttpRequest) -> bool {
    let accept: Vec<_> = request
        .headers()
        .get_all(header::ACCEPT)
        .map(|it| it.to_str().unwrap_or(""))
        .collect();
    prefers_events(&accept.join(","))
}

fn prefers_events(accept: &str) -> bool {
    let (named, wanted) = quality(accept, "text/event-stream");
    let others = ["application/json", "application/graphql-response+json"];
    named
        && wanted > 0.0
        && others.iter().all(
            |other| matches!(quality(accept, other), (is_named, it) if !is_named || it <= wanted),
        )
}

/// How much a media type is wanted, and whether by its name: the closest range decides.
fn quality(accept: &str, wanted: &str) -> (bool, f32) {
    let matches = accept.split(',').filter_map(|range| {
        let mut parts = range
            .split(';')
            .map(|part| part.trim().to_ascii_lowercase());
        let closeness = match parts.next()?.as_str() {
            "*/*" => 0,
            "application/*" => 1,
            name if name == wanted => 2,
            _ => return None,
        };
        let weight =
            parts.find_map(|part| part.strip_prefix("q=").map(|q| q.parse().unwrap_or(0.0)));
        Some((closeness, weight.unwrap_or(1.0)))
    });
    let closest = matches.max_by_key(|(closeness, _)| *closeness);
    closest.map_or((false, 0.0), |(closeness, weight)| (closeness == 2, weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_sent_to_whom_names_them() {
        for (accept, expected) in [
            ("text/event-stream", true),
            ("text/event-stream, */*", true),
            ("application/json, text/event-stream", true),
            ("application/json, text/event-stream;q=0.5", false),
            ("text/event-stream;q=0", false),
            ("*/*", false),
            ("", false),
        ] {
            assert_eq!(prefers_events(accept), expected, "{accept}");
        }
    }

    #[test]
    fn accept_decides_the_media_type() {
        let newer = Some(Media::GraphqlResponse);
        let json = Some(Media::Json);
        let cases = [
            ("", json),
            ("*/*", json),
            ("application/*", json),
            ("application/json", json),
            ("application/graphql-response+json", newer),
            (
                "application/graphql-response+json; charset=utf-8, application/json; q=0.9",
                newer,
            ),
            ("application/json,application/graphql-response+json", newer),
            (
                "application/json, application/graphql-response+json;q=0.5",
                json,
            ),
            ("APPLICATION/JSON;Q=0, */*", newer),
            ("text/html,application/xhtml+xml,*/*;q=0.8", json),
            ("application/json;q=0", None),
            ("text/html", None),
            ("text/event-stream, application/xml", None),
        ];
        for (accept, expected) in cases {
            assert_eq!(negotiated(accept), expected, "{accept}");
        }
    }
}
