//! Imports over HTTP: the same as the command line's, for scripts that only have a token.

use std::io::Write;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::json;

use super::fault;
use super::graphql::GraphqlEndpoint;
use crate::domain::access::Action;
use crate::service::import::{self, Options};

/// Largest file taken over HTTP; larger ones go through the command line.
const FILE_BYTES: usize = 64 * 1024 * 1024;
/// Bad rows told in one answer.
const TOLD_ROWS: usize = 1000;

/// How the file is to be read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Asked {
    /// Leave the settlement days aside: everything stays open.
    #[serde(default)]
    ignore_settlements: bool,
}

/// `POST /import/receivables`: a CSV file of open and settled receivables as the body.
///
/// Sent again, the same file goes on where it stopped, and does nothing once it is done.
pub async fn receivables(
    request: HttpRequest,
    asked: web::Query<Asked>,
    mut body: web::Payload,
    endpoint: web::Data<GraphqlEndpoint>,
) -> HttpResponse {
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let Ok(caller) = endpoint.authenticator.authenticate(token) else {
        return HttpResponse::Unauthorized()
            .insert_header((header::WWW_AUTHENTICATE, "Bearer"))
            .json(fault("a valid token is needed"));
    };
    if !caller.may(Action::Import) {
        return HttpResponse::Forbidden().json(fault("the role of this token may not import"));
    }
    let is_csv = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/csv"));
    if !is_csv {
        return HttpResponse::UnsupportedMediaType().json(fault("send the file as text/csv"));
    }
    let path = std::env::temp_dir().join(format!("encours-import-{}.csv", uuid::Uuid::now_v7()));
    let answer = match spool(&mut body, &path).await {
        Ok(()) => run(&endpoint, caller, &path, asked.ignore_settlements).await,
        Err(refused) => refused,
    };
    if let Err(error) = std::fs::remove_file(&path) {
        tracing::warn!(%error, "the copy of an imported file was not removed");
    }
    answer
}

/// Writes the body to a file: an import reads it twice and must not hold it in memory.
async fn spool(body: &mut web::Payload, path: &std::path::Path) -> Result<(), HttpResponse> {
    let broken = |error: std::io::Error| {
        tracing::error!(%error, "an imported file could not be kept");
        HttpResponse::InternalServerError().json(fault("internal error"))
    };
    let mut file = std::fs::File::create(path).map_err(broken)?;
    let mut size = 0;
    while let Some(chunk) = body.next().await {
        let chunk =
            chunk.map_err(|_| HttpResponse::BadRequest().json(fault("the file broke off")))?;
        size += chunk.len();
        if size > FILE_BYTES {
            return Err(HttpResponse::PayloadTooLarge().json(fault(
                "a file of at most 64 MB: import larger ones on the command line",
            )));
        }
        file.write_all(&chunk).map_err(broken)?;
    }
    Ok(())
}

async fn run(
    endpoint: &GraphqlEndpoint,
    caller: crate::domain::access::Caller,
    path: &std::path::Path,
    ignore_settlements: bool,
) -> HttpResponse {
    let (db, path) = (endpoint.store.clone(), path.to_owned());
    let permit = match db.reserve().await {
        Ok(permit) => permit,
        Err(_) => {
            return HttpResponse::ServiceUnavailable()
                .insert_header((header::RETRY_AFTER, "1"))
                .json(fault("the service is busy: send the file again"));
        }
    };
    let done = web::block(move || {
        let options = Options {
            mapping: None,
            ignore_settlements,
        };
        let mut rows = Vec::new();
        // The file's name here is ours: the line says where.
        let shown = path.display().to_string();
        let summary = import::receivables(&db, &caller, &path, &options, |line| {
            if rows.len() < TOLD_ROWS {
                rows.push(line.replacen(&format!("{shown}:"), "line ", 1));
            }
        });
        drop(permit);
        (summary, rows)
    })
    .await;
    match done {
        Ok((Ok(summary), rows)) => HttpResponse::Ok().json(json!({
            "rows": summary.rows,
            "skipped": summary.skipped,
            "invoices": summary.invoices,
            "receipts": summary.receipts,
            "clientsCreated": summary.clients,
            "refused": summary.refused,
            "aboveCeiling": summary.above_ceiling,
            "finishedBefore": summary.finished_before,
            "badRows": rows,
        })),
        Ok((Err(import::Failure::Mapping(why)), _)) => HttpResponse::BadRequest().json(fault(&why)),
        Ok((Err(error), _)) => {
            tracing::error!(%error, "an import failed");
            HttpResponse::InternalServerError().json(fault(
                "the import stopped: batches before are kept, send the same file again to go on",
            ))
        }
        Err(error) => {
            tracing::error!(%error, "an import ended");
            HttpResponse::InternalServerError().json(fault("internal error"))
        }
    }
}
