//! What is told of each request: its span, under the caller's own, and a line of the log for whoever asks for `debug`.

use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::web;

use super::graphql::GraphqlEndpoint;
use crate::telemetry::{self, Kind, Parent, Span, Tracer};

/// Tells of a request, when anybody listens.
pub async fn traced(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let tracer = request
        .app_data::<web::Data<GraphqlEndpoint>>()
        .map(|endpoint| endpoint.tracer.clone())
        .filter(Tracer::is_on);
    let is_logged = tracing::enabled!(tracing::Level::DEBUG);
    if tracer.is_none() && !is_logged {
        return next.call(request).await;
    }
    let asked = Asked::of(&request);
    let since = Instant::now();
    let response = match &tracer {
        None => next.call(request).await,
        Some(tracer) => {
            let mut span = asked.span(tracer, &request);
            let response = telemetry::within(span.as_ref(), next.call(request)).await;
            if let Some(span) = &mut span {
                let status = status(&response);
                span.number("http.response.status_code", status.as_u16().into());
                if status.is_server_error() {
                    span.fail();
                }
            }
            response
        }
    };
    if is_logged && !asked.is_probe() {
        asked.log(&response, since);
    }
    response
}

/// What may be told of a request: the route, never the address, since addresses name records.
struct Asked {
    method: &'static str,
    route: Option<String>,
}

impl Asked {
    fn of(request: &ServiceRequest) -> Asked {
        let method = request.method().as_str();
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        let known = known.into_iter().find(|it| *it == method);
        Asked {
            method: known.unwrap_or("_OTHER"),
            route: request.match_pattern(),
        }
    }

    /// Probes come every few seconds and tell nothing.
    fn is_probe(&self) -> bool {
        matches!(
            self.route.as_deref(),
            Some("/health" | "/ready" | "/metrics")
        )
    }

    fn span(&self, tracer: &Tracer, request: &ServiceRequest) -> Option<Span> {
        if self.is_probe() {
            return None;
        }
        let parent = request
            .headers()
            .get("traceparent")
            .and_then(|value| value.to_str().ok())
            .and_then(Parent::read);
        let mut span = tracer.root(self.method, Kind::Server, parent)?;
        span.text("http.request.method", self.method);
        if let Some(route) = &self.route {
            span.rename(format!("{} {route}", self.method));
            span.text("http.route", route);
        }
        Some(span)
    }

    fn log<B>(&self, response: &Result<ServiceResponse<B>, actix_web::Error>, since: Instant) {
        let request_id = response
            .as_ref()
            .ok()
            .and_then(|response| response.headers().get("x-request-id"))
            .and_then(|id| id.to_str().ok());
        tracing::debug!(
            method = self.method,
            route = self.route.as_deref().unwrap_or("none"),
            status = status(response).as_u16(),
            milliseconds = since.elapsed().as_secs_f64() * 1000.0,
            request_id,
            "answered"
        );
    }
}

fn status<B>(response: &Result<ServiceResponse<B>, actix_web::Error>) -> StatusCode {
    match response {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    }
}
