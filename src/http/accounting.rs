//! Accounting files over HTTP: `GET /export/fec/{year}`, `POST /import/fec` and `POST /import/bank`.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::fault;
use super::files::{self, Spool};
use super::graphql::GraphqlEndpoint;
use crate::domain::access::{Action, Caller};
use crate::error::{Error, Result};
use crate::formats::fec::{Encoding, Separator};
use crate::service::fec::{self, Options};
use crate::service::{audit, bank};
use crate::store::{Conn, Session};

/// How the file is to be written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Asked {
    /// `tab` (default) or `pipe`.
    separator: Option<String>,
    /// `utf-8` (default) or `iso-8859-15`.
    encoding: Option<String>,
    /// Lower-case letters stand in the file too (R10.7 leaves them out).
    partial_letters: Option<bool>,
    /// `file` (default), or `description`: the text that accompanies the file.
    part: Option<String>,
}

/// Reads the names of a separator and an encoding.
pub fn options(
    separator: Option<&str>,
    encoding: Option<&str>,
    partial_letters: bool,
) -> std::result::Result<Options, String> {
    Ok(Options {
        separator: match separator {
            None | Some("tab") => Separator::Tab,
            Some("pipe") => Separator::Pipe,
            Some(other) => return Err(format!("`{other}` is no separator: tab or pipe")),
        },
        encoding: match encoding {
            None | Some("utf-8") => Encoding::Utf8,
            Some("iso-8859-15") => Encoding::Latin9,
            Some(other) => return Err(format!("`{other}` is no encoding: utf-8 or iso-8859-15")),
        },
        partial_letters,
    })
}

/// `GET /export/fec/{year}`: the FEC of a financial year. It is written whole and checked before the first
/// byte leaves (R10.6); then it is streamed.
pub async fn export(
    request: HttpRequest,
    year: web::Path<String>,
    asked: web::Query<Asked>,
    endpoint: web::Data<GraphqlEndpoint>,
) -> HttpResponse {
    let caller = match files::permitted(&request, &endpoint, Action::ExportAccounting).await {
        Ok(caller) => caller,
        Err(refused) => return *refused,
    };
    let Ok(year) = year.parse() else {
        let why = format!(
            "`{year}` is no financial year: write the year that it is named by, such as 2026"
        );
        return HttpResponse::BadRequest().json(fault("BAD_USER_INPUT", &why));
    };
    let (separator, encoding) = (asked.separator.as_deref(), asked.encoding.as_deref());
    let options = match options(
        separator,
        encoding,
        asked.partial_letters.unwrap_or_default(),
    ) {
        Ok(options) => options,
        Err(why) => return HttpResponse::BadRequest().json(fault("BAD_USER_INPUT", &why)),
    };
    match asked.part.as_deref() {
        None | Some("file") => {}
        Some("description") => {
            let session = files::report_session(&request, &endpoint, caller);
            return describe(session, year, options).await;
        }
        Some(other) => {
            let why = format!("`{other}` is no part: file or description");
            return HttpResponse::BadRequest().json(fault("BAD_USER_INPUT", &why));
        }
    }
    let file = Spool::new("fec");
    let path = file.path().to_owned();
    let session = files::report_session(&request, &endpoint, caller);
    let beside = session.beside();
    let mut written = session
        .read(move |conn, caller| {
            let out = File::create(&path)
                .map_err(|error| Error::of_file("the FEC cannot be written", &error))?;
            let out = BufWriter::new(out);
            fec::export(conn, caller, beside.as_ref(), year, options, out)
        })
        .await;
    if let Ok(exported) = &written {
        let bytes = std::fs::metadata(file.path())
            .map(|data| data.len())
            .unwrap_or_default();
        let exported = exported.clone();
        let told = session
            .write(move |conn, caller| fec::note_exported(conn, caller, year, &exported, bytes))
            .await;
        // What cannot be written down does not leave.
        if let Err(error) = told {
            written = Err(error);
        }
    }
    session.finish().await;
    match written {
        Ok(exported) => {
            let kind = match options.encoding {
                Encoding::Utf8 => "text/plain; charset=utf-8",
                Encoding::Latin9 => "text/plain; charset=iso-8859-15",
            };
            files::send(file, &exported.name, kind)
        }
        Err(error) => files::refused(error),
    }
}

/// The text that accompanies a file: what it holds and how it is written.
async fn describe(session: Session, year: i32, options: Options) -> HttpResponse {
    let beside = session.beside();
    let text = session
        .read(move |conn, caller| {
            let nowhere = std::io::sink();
            let exported = fec::export(conn, caller, beside.as_ref(), year, options, nowhere)?;
            let books = crate::service::books::open(conn, caller)?;
            Ok(fec::description(&books, year, &exported, options))
        })
        .await;
    session.finish().await;
    match text {
        Ok(text) => HttpResponse::Ok()
            .content_type("text/plain; charset=utf-8")
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .body(text),
        Err(error) => files::refused(error),
    }
}

/// `POST /import/fec`: a FEC as the body, whatever software wrote it. All of it is taken in, or nothing.
pub async fn import(
    request: HttpRequest,
    body: web::Payload,
    endpoint: web::Data<GraphqlEndpoint>,
) -> HttpResponse {
    taken_in(&request, body, &endpoint, "FEC", fec::import).await
}

/// Keeps the body as a file and does `work` with it in one transaction; its report is the answer.
async fn taken_in<T, F>(
    request: &HttpRequest,
    mut body: web::Payload,
    endpoint: &GraphqlEndpoint,
    what: &'static str,
    mut work: F,
) -> HttpResponse
where
    T: Serialize + Send + 'static,
    F: FnMut(&mut Conn, &Caller, &Path) -> Result<T> + Send + 'static,
{
    let caller = match files::permitted(request, endpoint, Action::Import).await {
        Ok(caller) => caller,
        Err(refused) => return *refused,
    };
    let file = Spool::new("import");
    if let Err(refused) = files::spool(&mut body, &file).await {
        return *refused;
    }
    let session = files::session(request, endpoint, caller);
    let path = file.path().to_owned();
    let bytes = std::fs::metadata(&path)
        .map(|data| data.len())
        .unwrap_or_default();
    let done = session
        .write(move |conn, caller| {
            let report = work(conn, caller, &path)?;
            let report_told = serde_json::to_value(&report).unwrap_or_default();
            let details = json!({ "bytes": bytes, "report": report_told });
            audit::imported(conn, caller, what, &details)?;
            Ok(report)
        })
        .await;
    session.finish().await;
    match done {
        Ok(report) => HttpResponse::Ok().json(report),
        Err(error) => files::refused(error),
    }
}

/// How a bank file is to be taken in.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BankFile {
    /// Take a statement although one is missing before it.
    allow_gap: Option<bool>,
    /// Company-currency units for one unit of the account's currency, when they differ.
    exchange_rate: Option<rust_decimal::Decimal>,
    /// What the file is called.
    file_name: Option<String>,
}

/// `POST /import/bank`: a camt.053, camt.054 or CFONB 120 file as the body, matched at once. All of it is
/// taken in, or nothing.
pub async fn import_bank(
    request: HttpRequest,
    body: web::Payload,
    asked: web::Query<BankFile>,
    endpoint: web::Data<GraphqlEndpoint>,
) -> HttpResponse {
    let asked = asked.into_inner();
    let options = bank::Options {
        allow_gap: asked.allow_gap.unwrap_or_default(),
        exchange_rate: asked.exchange_rate,
        file_name: asked.file_name.unwrap_or_default(),
    };
    taken_in(
        &request,
        body,
        &endpoint,
        "BANK_STATEMENT",
        move |conn, caller, path| bank::import(conn, caller, path, &options),
    )
    .await
}
