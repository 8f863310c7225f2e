//! The way in: routes, and how long the server waits for whom.

pub mod accounting;
pub mod auth;
mod desk;
pub mod explorer;
pub mod files;
pub mod graphql;
pub mod guard;
pub mod health;
pub mod import;
pub mod live;
pub mod metrics;
pub mod rate;

use std::io;
use std::net::TcpListener;

use actix_web::middleware::Compress;
use actix_web::{App, HttpResponse, HttpServer, web};

use graphql::GraphqlEndpoint;

/// Seconds for requests under way when the server is told to stop.
const SHUTDOWN_SECONDS: u64 = 10;

/// Serves until the process is told to stop; requests under way are finished.
pub async fn serve(
    listener: TcpListener,
    endpoint: web::Data<GraphqlEndpoint>,
    explorer: bool,
) -> io::Result<()> {
    let closing = endpoint.closing.clone();
    actix_web::rt::spawn(async move {
        terminated().await;
        closing.tell();
    });
    HttpServer::new(move || {
        App::new()
            .wrap(Compress::default())
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
    .shutdown_timeout(SHUTDOWN_SECONDS)
    .listen(listener)?
    .run()
    .await
}

/// Ends when the process is told to stop. The server itself waits for the same signals and then lets requests
/// under way end: what stays open would have no end of its own.
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
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
