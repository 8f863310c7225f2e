//! The GraphQL endpoint: everything between HTTP and the schema, cheapest refusal first.
//!
//! Method, `Accept`, token, content type, body, shape, scan, parse, walk, execution. The token comes before
//! the body: a stranger cannot make the server read or parse anything.

mod answer;
mod read;
mod shape;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};
use async_graphql::Request;
use async_graphql::parser::types::{ExecutableDocument, OperationType};
use async_graphql::parser::{Error as ParseError, parse_query};
use futures_util::FutureExt;

use crate::domain::access::Caller;
use crate::error::Error;
use crate::http::auth::Authenticator;
use crate::http::guard::{Limits, Rejection, Walk, lexical_scan, walk};
use answer::Reply;
use read::Asked;
pub use shape::Shape;

/// What the endpoint serves, and how much of it one request may have.
pub struct GraphqlEndpoint {
    /// The schema.
    pub schema: crate::graphql::Schema,
    /// Which of its fields may be null: `Shape::of(&schema.sdl())`.
    pub shape: Shape,
    /// Limits of one request.
    pub limits: Limits,
    /// Longest execution.
    pub timeout: Duration,
    /// The database.
    pub store: crate::store::Db,
    /// Who may come in.
    pub authenticator: Authenticator,
}

/// Answers `GET` and `POST` on the endpoint.
pub async fn handle(
    request: HttpRequest,
    body: web::Payload,
    endpoint: web::Data<GraphqlEndpoint>,
) -> HttpResponse {
    let reply = Reply::to(&request);
    match answered(&request, body, &endpoint, &reply).await {
        Ok(response) => response,
        Err(rejection) => reply.refuse(&rejection),
    }
}

async fn answered(
    request: &HttpRequest,
    body: web::Payload,
    endpoint: &GraphqlEndpoint,
    reply: &Reply,
) -> Result<HttpResponse, Rejection> {
    if !matches!(*request.method(), Method::GET | Method::POST) {
        return Err(Rejection::new(
            "METHOD_NOT_ALLOWED",
            405,
            "use POST, or GET for queries",
        ));
    }
    reply.check_accepted()?;
    let caller = authenticated(request, endpoint).await?;
    let asked = match *request.method() {
        Method::GET => read::from_url(request)?,
        _ => read::from_body(request, body).await?,
    };
    lexical_scan(&asked.document, &endpoint.limits)?;
    let doc = parsed(&asked.document)?;
    let walk = walk(
        &doc,
        asked.operation_name.as_deref(),
        &asked.variables,
        &endpoint.limits,
    )?;
    if request.method() == Method::GET && walk.operation_type != OperationType::Query {
        return Err(Rejection::new(
            "METHOD_NOT_ALLOWED",
            405,
            "GET is for queries: use POST",
        ));
    }
    let (mut response, statements) =
        executed(endpoint, caller, asked, doc.clone(), &walk, reply).await?;
    // A mutation of which one field succeeded must not look like one that may be sent again.
    let failed_before = answer::is_empty(&response.data);
    let name = walk.operation_name.as_deref();
    endpoint
        .shape
        .complete(&mut response.data, &response.errors, &doc, name);
    let is_query = walk.operation_type == OperationType::Query;
    let failed = failed_before || (is_query && answer::is_empty(&response.data));
    let mut answer = reply.answer(response, failed, &walk, &endpoint.limits);
    // For whoever tunes a client: what the document asked of the database.
    if let Ok(timing) = HeaderValue::from_str(&format!("sql;desc=\"{statements}\"")) {
        answer
            .headers_mut()
            .insert(HeaderName::from_static("server-timing"), timing);
    }
    Ok(answer)
}

/// One text for every cause: what is wrong with a token is nobody's business.
async fn authenticated(
    request: &HttpRequest,
    endpoint: &GraphqlEndpoint,
) -> Result<Caller, Rejection> {
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let found = endpoint
        .authenticator
        .authenticate(token, &endpoint.store)
        .await;
    found.map_err(|error| match error {
        Error::Unauthenticated => Rejection::new(
            "UNAUTHENTICATED",
            401,
            "a valid token is needed: Authorization: Bearer …",
        ),
        // The token may be good: whether it was revoked could not be found out.
        error => {
            tracing::warn!(%error, "a token was not looked at");
            Rejection::new(
                "UNAVAILABLE",
                503,
                "the service is busy or starting: send the request again",
            )
        }
    })
}

fn parsed(document: &str) -> Result<ExecutableDocument, Rejection> {
    parse_query(document).map_err(|error| {
        let rejection = match &error {
            // The text is a drawing of the place; its last line says what was expected.
            ParseError::Syntax { message, .. } => Rejection::syntax(
                message
                    .lines()
                    .last()
                    .unwrap_or_default()
                    .trim_start_matches([' ', '=']),
            ),
            other => Rejection::invalid(other.to_string()),
        };
        rejection.at(error.positions().take(1))
    })
}

async fn executed(
    endpoint: &GraphqlEndpoint,
    caller: Caller,
    asked: Asked,
    doc: ExecutableDocument,
    walk: &Walk,
    reply: &Reply,
) -> Result<(async_graphql::Response, u32), Rejection> {
    let mut request = Request::new(asked.document).variables(asked.variables);
    request.operation_name.clone_from(&walk.operation_name);
    request.set_parsed_query(doc);
    let (request, session) = crate::graphql::bind(request, caller, &endpoint.store);
    // A panic would take the worker thread with it, and every request on it.
    let run = AssertUnwindSafe(endpoint.schema.execute(request)).catch_unwind();
    let outcome = tokio::time::timeout(endpoint.timeout, run).await;
    let statements = session.statements();
    session.finish().await;
    match outcome {
        Ok(Ok(response)) => Ok((response, statements)),
        Ok(Err(_)) => Err(reply.masked("a resolver panicked")),
        Err(_) => Err(Rejection::new(
            "TIMEOUT",
            504,
            "the request took too long; a mutation may have been done: repeat it with the same idempotencyKey",
        )),
    }
}
