//! The GraphQL endpoint: everything between HTTP and the schema, cheapest refusal first.
//!
//! Method, `Accept`, token, content type, body, shape, scan, parse, walk, execution. The token comes before
//! the body: a stranger cannot make the server read or parse anything. What stays open (WebSockets and
//! streams of events) is in `http/live`, and passes the same guards.

mod absent;
pub(in crate::http) mod answer;
pub(in crate::http) mod read;
mod shape;

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};
use async_graphql::parser::types::{ExecutableDocument, OperationType, Selection};
use async_graphql::parser::{Error as ParseError, parse_query};
use async_graphql::{Request, Response};
use futures_util::stream::LocalBoxStream;
use futures_util::{FutureExt, StreamExt};

use crate::domain::access::{Caller, Role};
use crate::error::{BUSY, Error};
use crate::graphql::kept::{Kept, Worth};
use crate::graphql::text;
use crate::http::auth::{Admitted, Authenticator};
use crate::http::guard::{Limits, Rejection, Walk, lexical_scan, walk};
use crate::http::live::{self, Closing};
use crate::http::metrics::Metrics;
use crate::http::rate::Limiter;
use crate::service::audit;
use crate::store::replica::Position;
use crate::store::{Session, patience};
use crate::telemetry::{self, Span, Tracer};
use answer::{Presented, Reply};
use read::Asked;
pub use shape::Shape;

/// Clients whose contacts one request may read without being written down: a page of them.
const BULK: u32 = 20;

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
    /// The files attached to records.
    pub objects: crate::objects::Objects,
    /// The aged balances in memory.
    pub balances: crate::service::balances::Balances,
    /// Answers that are given again while nothing has changed.
    pub kept: Kept,
    /// What is counted for the operator.
    pub metrics: Metrics,
    /// Where traces go, when they go anywhere.
    pub tracer: Tracer,
    /// How much one caller may ask for.
    pub limiter: Limiter,
    /// Who may come in.
    pub authenticator: Authenticator,
    /// Ends what stays open when the server stops.
    pub closing: Closing,
}

/// Answers `GET` and `POST` on the endpoint, and opens WebSockets.
pub async fn handle(
    request: HttpRequest,
    body: web::Payload,
    endpoint: web::Data<GraphqlEndpoint>,
) -> HttpResponse {
    if live::socket::is_wanted(&request) {
        return live::socket::open(&request, body, endpoint);
    }
    let reply = Reply::to(&request, &endpoint.authenticator);
    let answered = patience::shared(async {
        if live::events::are_wanted(&request) {
            let reply = Reply::to(&request, &endpoint.authenticator);
            live::events::answered(&request, body, endpoint.clone(), reply).await
        } else {
            answered(&request, body, &endpoint, &reply).await
        }
    })
    .await;
    match answered {
        Ok(response) => response,
        Err(rejection) => {
            endpoint
                .metrics
                .answered("none", rejection.code, Duration::ZERO);
            reply.refuse(&rejection)
        }
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
    let caller = admitted(request, endpoint).await?.caller;
    let asked = match *request.method() {
        Method::GET => read::from_url(request)?,
        _ => patience::paused(read::from_body(request, body)).await?,
    };
    let checked = endpoint.checked(asked)?;
    if request.method() == Method::GET && checked.kind() != OperationType::Query {
        return Err(Rejection::new(
            "METHOD_NOT_ALLOWED",
            405,
            "GET is for queries: use POST",
        ));
    }
    if checked.kind() == OperationType::Subscription {
        return Err(Rejection::new(
            "NOT_ACCEPTABLE",
            406,
            "a subscription has many answers: accept text/event-stream, or open a WebSocket (graphql-transport-ws)",
        ));
    }
    let done = endpoint.executed(caller, checked, reply).await?;
    let mut answer = reply.answer(&done.presented, done.failed);
    // For whoever tunes a client: what the document asked of the database.
    if let Ok(timing) = HeaderValue::from_str(&format!("sql;desc=\"{}\"", done.statements)) {
        answer
            .headers_mut()
            .insert(HeaderName::from_static("server-timing"), timing);
    }
    let position = done
        .position
        .map(|position| HeaderValue::from_str(&position.show()));
    if let Some(Ok(position)) = position {
        answer
            .headers_mut()
            .insert(HeaderName::from_static(answer::POSITION), position);
    }
    Ok(answer)
}

/// One text for every cause: what is wrong with a token is nobody's business.
pub(in crate::http) async fn admitted(
    request: &HttpRequest,
    endpoint: &GraphqlEndpoint,
) -> Result<Admitted, Rejection> {
    let found = endpoint
        .authenticator
        .admit(token(request), &endpoint.store)
        .await;
    found.map_err(|error| match error {
        Error::Unauthenticated => {
            endpoint
                .authenticator
                .note_refused_key(request, &endpoint.store);
            Rejection::new(
                "UNAUTHENTICATED",
                401,
                "a valid token is needed: Authorization: Bearer …",
            )
        }
        // The token may be good: whether it was revoked could not be found out.
        error => {
            tracing::warn!(%error, "a token was not looked at");
            Rejection::new("UNAVAILABLE", 503, BUSY)
        }
    })
}

/// The request's `Authorization` header.
pub(in crate::http) fn token(request: &HttpRequest) -> Option<&str> {
    request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
}

/// A document within all limits, and the operation in it that will run.
pub(in crate::http) struct Checked {
    asked: Asked,
    doc: ExecutableDocument,
    walk: Walk,
}

impl Checked {
    /// Query, mutation or subscription.
    pub fn kind(&self) -> OperationType {
        self.walk.operation_type
    }
}

fn named(kind: OperationType) -> &'static str {
    match kind {
        OperationType::Query => "query",
        OperationType::Mutation => "mutation",
        OperationType::Subscription => "subscription",
    }
}

/// Its kind, and the name that its author gave it: no more than a name, since it is the caller's word.
fn describe(span: &mut Span, checked: &Checked) {
    const LONGEST_NAME: usize = 64;
    span.text("graphql.operation.type", named(checked.kind()));
    if let Some(name) = &checked.walk.operation_name {
        let name: String = name.chars().take(LONGEST_NAME).collect();
        span.text("graphql.operation.name", name);
    }
    let cost = i64::try_from(checked.walk.cost).unwrap_or(i64::MAX);
    span.number("encours.cost", cost);
}

/// What was done of a query or mutation.
pub(in crate::http) struct Done {
    /// The answer.
    pub presented: Presented,
    /// Whether nothing of it was done.
    failed: bool,
    /// SQL statements behind it.
    statements: u32,
    /// Where the log of the database stood after it wrote.
    position: Option<Position>,
}

impl GraphqlEndpoint {
    /// The guard in front of every execution, whatever brought the request.
    pub(in crate::http) fn checked(&self, asked: Asked) -> Result<Checked, Rejection> {
        lexical_scan(&asked.document, &self.limits)?;
        let mut doc = parsed(&asked.document)?;
        let walk = walk(
            &doc,
            asked.operation_name.as_deref(),
            &asked.variables,
            &self.limits,
        )?;
        if walk.operation_type == OperationType::Subscription {
            one_root_field(&doc, &walk)?;
        }
        absent::leave_out(&mut doc, &walk, &asked.variables);
        Ok(Checked { asked, doc, walk })
    }

    /// Runs a query or a mutation.
    pub(in crate::http) async fn executed(
        &self,
        caller: Caller,
        checked: Checked,
        reply: &Reply,
    ) -> Result<Done, Rejection> {
        let since = Instant::now();
        let kind = named(checked.kind());
        let mut span = self.tracer.operation(kind);
        if let Some(span) = &mut span {
            describe(span, &checked);
        }
        let ran = match &span {
            Some(_) => telemetry::within(span.as_ref(), self.ran(caller, checked, reply)).await,
            None => self.ran(caller, checked, reply).await,
        };
        let outcome = match &ran {
            Ok(done) if done.failed => "errors",
            Ok(_) => "ok",
            Err(rejection) => rejection.code,
        };
        self.metrics.answered(kind, outcome, since.elapsed());
        if let Some(span) = &mut span {
            span.text("encours.outcome", outcome);
            if outcome != "ok" {
                span.fail();
            }
        }
        ran
    }

    async fn ran(
        &self,
        caller: Caller,
        checked: Checked,
        reply: &Reply,
    ) -> Result<Done, Rejection> {
        let Checked { asked, doc, walk } = checked;
        let _place = self.limiter.admit(&caller, walk.cost).await?;
        let is_report = walk.operation_type == OperationType::Query
            && walk
                .root_fields
                .iter()
                .all(|field| crate::graphql::REPORTS.contains(&field.as_str()));
        let session = match is_report {
            true => self
                .store
                .report_session(caller, reply.origin(), reply.seen()),
            false => self.store.session_from(caller, reply.origin()),
        };
        let since = Instant::now();
        // A panic would take the worker thread with it, and every request on it.
        let run = self.asked(&session, asked, &doc, &walk);
        let run = AssertUnwindSafe(run).catch_unwind();
        let outcome = tokio::time::timeout(self.timeout, run).await;
        let statements = session.statements();
        self.metrics.asked_database(statements);
        let noted = note_read(&session, &walk).await;
        self.metrics.spent(since.elapsed(), session.spent());
        session.finish().await;
        let (mut response, worth) = match outcome {
            Ok(Ok(answered)) => answered,
            Ok(Err(_)) => return Err(reply.masked("a resolver panicked")),
            Err(_) => {
                return Err(Rejection::new(
                    "TIMEOUT",
                    504,
                    "the request took too long; a mutation may have been done: repeat it with the same idempotencyKey",
                ));
            }
        };
        if let Err(error) = noted {
            tracing::error!(%error, "what was read was not written down");
            return Err(Rejection::new("UNAVAILABLE", 503, BUSY));
        }
        // A mutation of which one field succeeded must not look like one that may be sent again.
        let failed_before = answer::is_empty(&response.data);
        self.complete(&mut response, &doc, &walk);
        let is_query = walk.operation_type == OperationType::Query;
        let failed = failed_before || (is_query && answer::is_empty(&response.data));
        if let (Some(worth), false) = (worth, failed) {
            self.kept.keep(worth, &response.data);
        }
        Ok(Done {
            presented: reply.presented(response, &walk, &self.limits),
            failed,
            statements,
            position: session.position(),
        })
    }

    /// Answers a request: as it was answered before when that still holds, else by the schema; and then what its answer
    /// is kept under, when it is worth that.
    async fn asked(
        &self,
        session: &Session,
        asked: Asked,
        doc: &ExecutableDocument,
        walk: &Walk,
    ) -> (Response, Option<Worth>) {
        let operation = walk.operation_name.as_deref();
        let mut asking = self.kept.question(
            session.caller(),
            doc,
            operation,
            &asked.document,
            &asked.variables,
        );
        if let Some(asking) = &mut asking
            && let Some(data) = self.kept.again(session, asking).await
        {
            return (Response::new(data), None);
        }
        let request = self.bound(session, asked, doc.clone(), walk);
        let response = crate::graphql::execute(&self.schema, request, session).await;
        let worth = match asking {
            Some(asking) if response.errors.is_empty() => self.kept.worth(session, asking).await,
            Some(asking) => {
                self.kept.not_kept(&asking);
                None
            }
            None => None,
        };
        (response, worth)
    }

    /// Gives a request its caller's session.
    fn bound(
        &self,
        session: &Session,
        asked: Asked,
        doc: ExecutableDocument,
        walk: &Walk,
    ) -> Request {
        let mut request = Request::new(asked.document).variables(asked.variables);
        request.operation_name.clone_from(&walk.operation_name);
        if let Some(wanted) = text::Wanted::of(&doc, walk.operation_name.as_deref()) {
            request = request.data(wanted);
        }
        request.set_parsed_query(doc);
        let roots = crate::graphql::Roots(walk.root_fields.len());
        crate::graphql::bind(request, session, &self.objects, roots)
    }

    fn complete(&self, response: &mut Response, doc: &ExecutableDocument, walk: &Walk) {
        let name = walk.operation_name.as_deref();
        if !response.errors.is_empty() {
            text::unfold(&mut response.data);
        }
        self.shape
            .complete(&mut response.data, &response.errors, doc, name);
    }

    /// Starts a subscription; each answer is made presentable with [`Running::presented`].
    pub(in crate::http) fn started(
        &self,
        caller: Caller,
        checked: Checked,
        reply: &Reply,
    ) -> Running {
        let Checked { asked, doc, walk } = checked;
        let session = self.store.session_from(caller, reply.origin());
        let request = self.bound(&session, asked, doc.clone(), &walk);
        Running {
            answers: AssertUnwindSafe(self.schema.execute_stream(request))
                .catch_unwind()
                .boxed_local(),
            session,
            doc,
            walk,
        }
    }
}

/// Writes down what was read: every question of an auditor, and contacts of many clients at once. Whoever cannot
/// be written down gets no answer.
async fn note_read(session: &Session, walk: &Walk) -> crate::error::Result<()> {
    let (caller, personal) = (session.caller(), session.personal());
    let is_auditor = !caller.is_service() && caller.role == Role::Auditor;
    let asks = is_auditor
        && walk.operation_type == OperationType::Query
        && walk
            .root_fields
            .iter()
            .any(|name| !name.starts_with("__") && name != "viewer");
    if !asks && personal <= BULK {
        return Ok(());
    }
    let mut fields = walk.root_fields.clone();
    fields.sort();
    fields.dedup();
    session
        .write(move |conn, caller| audit::read(conn, caller, &fields, personal))
        .await
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

/// A subscription asks for one field, by itself: the library passes over fragments there.
fn one_root_field(doc: &ExecutableDocument, walk: &Walk) -> Result<(), Rejection> {
    let chosen = doc
        .operations
        .iter()
        .find(|(name, _)| name.map(|name| name.as_str()) == walk.operation_name.as_deref());
    let items = chosen.map(|(_, operation)| &operation.node.selection_set.node.items);
    match items.map(Vec::as_slice) {
        Some([item]) if matches!(&item.node, Selection::Field(field) if !field.node.name.node.starts_with("__")) => {
            Ok(())
        }
        _ => Err(Rejection::invalid(
            "a subscription has exactly one field, not in a fragment",
        )),
    }
}

/// A subscription under way.
pub(in crate::http) struct Running {
    answers: LocalBoxStream<'static, std::thread::Result<Response>>,
    session: Session,
    doc: ExecutableDocument,
    walk: Walk,
}

impl Running {
    /// The next answer; none when there are no more.
    pub async fn next(
        &mut self,
        endpoint: &GraphqlEndpoint,
        reply: &Reply,
    ) -> Option<Result<Presented, Rejection>> {
        let answer = self.answers.next().await?;
        // Whatever the answer read belongs to its moment; until the next one no connection is held.
        self.session.finish().await;
        Some(match answer {
            Ok(mut response) => {
                endpoint.complete(&mut response, &self.doc, &self.walk);
                Ok(reply.presented(response, &self.walk, &endpoint.limits))
            }
            Err(_) => Err(reply.masked("a subscription panicked")),
        })
    }
}
