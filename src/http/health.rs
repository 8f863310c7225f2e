//! Whether the process lives, and whether it can work.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::graphql::GraphqlEndpoint;
use crate::store::{self, replica::Route};

/// Longest wait of a probe, for each of its steps.
const PATIENCE: Duration = Duration::from_secs(3);

/// The process lives.
pub async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// The server takes requests, and the database answers, is migrated and has the same time.
pub async fn ready(endpoint: web::Data<GraphqlEndpoint>) -> HttpResponse {
    let unready =
        |status: &str| HttpResponse::ServiceUnavailable().json(json!({ "status": status }));
    let asked = endpoint
        .store
        .anonymous(|conn| Ok((store::is_migrated(conn)?, store::has_our_time(conn)?)));
    // Whoever waits for a busy database hears of the end too.
    let answered = tokio::select! {
        biased;
        () = endpoint.closing.heard() => return unready("stopping"),
        answered = asked => answered,
    };
    match answered {
        Ok((true, true)) => {
            let mut answer = json!({ "status": "ok" });
            // Reports do without it: no reason to send requests elsewhere.
            if let Some(replica) = endpoint.store.replica().cloned() {
                let state = web::block(move || replica.state()).await;
                let is_there = matches!(state, Ok(Route::Replica));
                answer["replica"] = if is_there { "ok" } else { "away" }.into();
            }
            HttpResponse::Ok().json(answer)
        }
        Ok((false, _)) => unready("not migrated"),
        Ok((_, false)) => unready("the clocks of server and database differ"),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            unready("database not reachable")
        }
    }
}

/// Asks the server at this address for its health: for container health checks without other tools.
pub fn probe(address: &str, tls: bool) -> io::Result<bool> {
    if tls {
        return probe_tls(address);
    }
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no such address");
    for target in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&target, PATIENCE) {
            Ok(stream) => return ask(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The same by TLS. Nothing secret is sent, and the name of the certificate is not the one asked here.
fn probe_tls(address: &str) -> io::Result<bool> {
    let tls = ureq::tls::TlsConfig::builder()
        .disable_verification(true)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .build()
        .into();
    let answer = agent
        .get(format!("https://{address}/health"))
        .call()
        .map_err(io::Error::other)?;
    Ok(answer.status() == 200)
}

fn ask(mut stream: TcpStream) -> io::Result<bool> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(&status == b"HTTP/1.1 200")
}
