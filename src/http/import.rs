//! Imports over HTTP: the same as the command line's, for scripts that only have a token.

use std::path::Path;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use super::fault;
use super::files::{self, Spool};
use super::graphql::GraphqlEndpoint;
use crate::domain::access::{Action, Caller};
use crate::error::Error;
use crate::service::import::{Failure, Summary, receipts, receivables};
use crate::store::Db;

/// Bad rows told in one answer.
const TOLD_ROWS: usize = 1000;

/// How a file of receivables is to be read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AskedReceivables {
    /// Leave the settlement days aside: everything stays open.
    #[serde(default)]
    ignore_settlements: bool,
    /// The text of a mapping (TOML), as the command line takes it from a file.
    mapping: Option<String>,
}

/// How a file of receipts is to be read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AskedReceipts {
    /// The text of a mapping (TOML), as the command line takes it from a file.
    mapping: Option<String>,
}

/// `POST /import/receivables`: a CSV file of invoices and credit notes, open and settled, as the body.
///
/// Sent again, the same file goes on where it stopped, and does nothing once it is done.
pub async fn receivables(
    request: HttpRequest,
    asked: web::Query<AskedReceivables>,
    body: web::Payload,
    endpoint: web::Data<GraphqlEndpoint>,
) -> HttpResponse {
    let asked = asked.into_inner();
    let options = receivables::Options {
        mapping: asked.mapping,
        ignore_settlements: asked.ignore_settlements,
    };
    taken_in(&request, body, &endpoint, move |db, caller, path, tell| {
        receivables::import(db, caller, path, &options, tell)
    })
    .await
}

/// `POST /import/receipts`: a CSV file of receipts and what they settled as the body, in the same way.
pub async fn receipts(
    request: HttpRequest,
    asked: web::Query<AskedReceipts>,
    body: web::Payload,
    endpoint: web::Data<GraphqlEndpoint>,
) -> HttpResponse {
    let mapping = asked.into_inner().mapping;
    taken_in(&request, body, &endpoint, move |db, caller, path, tell| {
        receipts::import(db, caller, path, mapping.as_deref(), tell)
    })
    .await
}

/// Keeps the body as a file and does `work` with it beside the requests; its summary is the answer.
async fn taken_in<F>(
    request: &HttpRequest,
    mut body: web::Payload,
    endpoint: &GraphqlEndpoint,
    work: F,
) -> HttpResponse
where
    F: FnOnce(&Db, &Caller, &Path, &mut dyn FnMut(&str)) -> Result<Summary, Failure>
        + Send
        + 'static,
{
    let caller = match files::permitted(request, endpoint, Action::Import).await {
        Ok(caller) => caller,
        Err(refused) => return *refused,
    };
    let is_csv = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/csv"));
    if !is_csv {
        return HttpResponse::UnsupportedMediaType()
            .json(fault("UNSUPPORTED_MEDIA_TYPE", "send the file as text/csv"));
    }
    let file = Spool::new("import");
    if let Err(refused) = files::spool(&mut body, &file).await {
        return *refused;
    }
    let db = endpoint
        .store
        .coming_from(endpoint.authenticator.origin(request));
    let permit = match db.reserve().await {
        Ok(permit) => permit,
        Err(_) => {
            return HttpResponse::ServiceUnavailable()
                .insert_header((header::RETRY_AFTER, "1"))
                .json(fault(
                    "UNAVAILABLE",
                    "the service is busy: send the file again",
                ));
        }
    };
    let done = web::block(move || {
        let mut rows = Vec::new();
        // The file's name here is ours: the line says where.
        let shown = file.path().display().to_string();
        let summary = work(&db, &caller, file.path(), &mut |line| {
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
            "invoices": summary.made.invoices,
            "creditNotes": summary.made.credit_notes,
            "receipts": summary.made.receipts,
            "allocations": summary.made.allocations,
            "clientsCreated": summary.made.clients,
            "refused": summary.refused,
            "aboveCeiling": summary.made.above_ceiling,
            "finishedBefore": summary.finished_before,
            "badRows": rows,
        })),
        Ok((Err(Failure::Mapping(why)), _)) => {
            HttpResponse::BadRequest().json(fault("BAD_USER_INPUT", &why))
        }
        Ok((Err(Failure::Books(error @ (Error::Unavailable(_) | Error::Timeout))), _)) => {
            files::refused(error)
        }
        Ok((Err(error), _)) => {
            tracing::error!(%error, "an import failed");
            HttpResponse::InternalServerError().json(fault(
                "INTERNAL_SERVER_ERROR",
                "the import stopped: batches before are kept, send the same file again to go on",
            ))
        }
        Err(error) => {
            tracing::error!(%error, "an import ended");
            HttpResponse::InternalServerError()
                .json(fault("INTERNAL_SERVER_ERROR", "internal error"))
        }
    }
}
