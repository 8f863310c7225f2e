//! The way in: routes, and how long the server waits for whom.

pub mod accounting;
pub mod auth;
mod desk;
pub mod explorer;
mod export;
pub mod files;
pub mod graphql;
pub mod guard;
pub mod health;
pub mod import;
pub mod live;
pub mod metrics;
mod patience;
pub mod rate;
pub mod tls;
mod traced;

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix_web::dev::Service;
use actix_web::http::ConnectionType;
use actix_web::middleware::{Compress, from_fn};
use actix_web::{App, HttpResponse, HttpServer, web};
use tokio::signal::unix::{SignalKind, signal};

use graphql::GraphqlEndpoint;
use tls::Certificate;

/// Seconds for requests under way when the server is told to stop.
const SHUTDOWN_SECONDS: u64 = 10;

/// How requests come in.
pub struct Wire {
    /// Where.
    pub listener: TcpListener,
    /// With TLS: its settings, and the certificate to look after.
    pub tls: Option<(rustls::ServerConfig, Certificate)>,
    /// Whether the explorer page is served.
    pub explorer: bool,
    /// Connections of each thread at once.
    pub max_connections: usize,
    /// Longest time for the head of a request, and for the handshake of TLS before it: who dribbles is cut off.
    pub head_time: Duration,
    /// So long the server still answers, no longer ready, when it is told to stop.
    pub notice: Duration,
}

/// Serves until the process is told to stop. Then it is not ready any more, and goes on for the time of `notice`, so
/// that whoever sends it requests hears of it; after that requests under way are finished. Told twice, it just ends.
pub async fn serve(wire: Wire, endpoint: web::Data<GraphqlEndpoint>) -> io::Result<()> {
    let closing = endpoint.closing.clone();
    let leaving = closing.clone();
    let (explorer, notice) = (wire.explorer, wire.notice);
    let server = HttpServer::new(move || {
        let leaving = leaving.clone();
        App::new()
            // Connections that are kept open would bring requests to the last.
            .wrap_fn(move |request, service| {
                let leaving = leaving.clone();
                let answered = service.call(request);
                async move {
                    let mut response = answered.await?;
                    if leaving.noticed() {
                        let head = response.response_mut().head_mut();
                        head.set_connection_type(ConnectionType::Close);
                    }
                    Ok(response)
                }
            })
            .wrap(Compress::default())
            .wrap(from_fn(patience::patient))
            .wrap(from_fn(traced::traced))
            .app_data(endpoint.clone())
            .app_data(web::QueryConfig::default().error_handler(|error, _| unreadable(error)))
            .app_data(web::PathConfig::default().error_handler(|error, _| unreadable(error)))
            .configure(routes)
            .configure(|cfg| {
                if explorer {
                    explorer::configure(cfg);
                }
            })
            .default_service(web::to(not_found))
    })
    .tcp_nodelay(true)
    .max_connections(wire.max_connections)
    .client_request_timeout(wire.head_time)
    .tls_handshake_timeout(wire.head_time)
    .shutdown_timeout(SHUTDOWN_SECONDS)
    .disable_signals();
    let server = match wire.tls {
        Some((config, certificate)) => {
            actix_web::rt::spawn(certificate.watch());
            server.listen_rustls_0_23(wire.listener, config)?
        }
        None => server.listen(wire.listener)?,
    };
    let server = server.run();
    let handle = server.handle();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    actix_web::rt::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {
                closing.notice();
                tokio::select! {
                    () = tokio::time::sleep(notice) => {}
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            // Somebody at a terminal does not wait.
            _ = interrupt.recv() => closing.notice(),
        }
        closing.tell();
        let stopping = handle.stop(true);
        tokio::select! {
            () = stopping => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        handle.stop(false).await;
    });
    server.await
}

/// Everything but the explorer.
pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/graphql").to(graphql::handle))
        .configure(auth::routes)
        .service(web::resource("/import/receivables").route(web::post().to(import::receivables)))
        .service(web::resource("/import/receipts").route(web::post().to(import::receipts)))
        .service(web::resource("/import/fec").route(web::post().to(accounting::import)))
        .service(web::resource("/import/bank").route(web::post().to(accounting::import_bank)))
        .service(web::resource("/export/fec/{year}").route(web::get().to(accounting::export)))
        .service(web::resource("/export/{file}").route(web::get().to(export::export)))
        .service(web::resource("/files").route(web::post().to(desk::attach)))
        .service(web::resource("/files/{id}").route(web::get().to(desk::fetch)))
        .service(web::resource("/letters/{kind}/{subject}").route(web::get().to(desk::letter)))
        .service(web::resource("/evidence/verify").route(web::post().to(desk::verify)))
        .service(web::resource("/evidence/{subject}").route(web::get().to(desk::evidence)))
        .service(web::resource("/metrics").route(web::get().to(metrics::metrics)))
        .service(
            web::resource("/health")
                .route(web::get().to(health::health))
                .route(web::head().to(health::health)),
        )
        .service(
            web::resource("/ready")
                .route(web::get().to(health::ready))
                .route(web::head().to(health::ready)),
        );
}

async fn not_found() -> HttpResponse {
    HttpResponse::NotFound().json(fault("NOT_FOUND", "nothing here: the API is at /graphql"))
}

/// A refusal outside GraphQL, in the shape of a GraphQL one.
fn fault(code: &str, message: &str) -> serde_json::Value {
    serde_json::json!({ "errors": [{ "message": message, "extensions": { "code": code } }] })
}

/// A part of the address that cannot be read: the fault of the request, in our own shape.
fn unreadable(error: impl std::error::Error + 'static) -> actix_web::Error {
    let answer = HttpResponse::BadRequest().json(fault("BAD_USER_INPUT", &error.to_string()));
    actix_web::error::InternalError::from_response(error.to_string(), answer).into()
}
