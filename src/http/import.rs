//! Imports over HTTP: the same as the command line's, for scripts that only have a token.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use super::fault;
use super::files::{self, Spool};
use super::graphql::GraphqlEndpoint;
use crate::domain::access::Action;
use crate::service::import::{self, Options};
use crate::store::Db;

/// Bad rows told in one answer.
const TOLD_ROWS: usize = 1000;

/// How the file is to be read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Asked {
    /// Leave the settlement days aside: everything stays open.
    #[serde(default)]
    ignore_settlements: bool,
    /// The text of a mapping (TOML), as the command line takes it from a file.
    mapping: Option<String>,
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
    let caller = match files::permitted(&request, &endpoint, Action::Import).await {
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
    match files::spool(&mut body, &file).await {
        Ok(()) => {
            let origin = endpoint.authenticator.origin(&request);
            let db = endpoint.store.coming_from(origin);
            run(db, caller, file.path(), asked.into_inner()).await
        }
        Err(refused) => *refused,
    }
}

async fn run(
    db: Db,
    caller: crate::domain::access::Caller,
    path: &std::path::Path,
    asked: Asked,
) -> HttpResponse {
    let path = path.to_owned();
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
        let options = Options {
            mapping: asked.mapping,
            ignore_settlements: asked.ignore_settlements,
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
        Ok((Err(import::Failure::Mapping(why)), _)) => {
            HttpResponse::BadRequest().json(fault("BAD_USER_INPUT", &why))
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
