//! Tables over HTTP, for tools that read a URL: `GET /export/invoices.csv`.

use std::fs::File;
use std::io::BufWriter;

use actix_web::http::header::{ETag, EntityTag, Header, IfNoneMatch};
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, NaiveDate, Utc};
use serde::Deserialize;
use serde_json::json;
use sha2::Digest;

use super::fault;
use super::files::{self, Spool};
use super::graphql::GraphqlEndpoint;
use crate::domain::hex::hex;
use crate::error::Error;
use crate::service::export::{self, Form};
use crate::service::{audit, files as content};
use crate::store::export::{Table, Wanted};

/// What of a table is asked for, as it stands in the URL.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Asked {
    /// The day of a table that is a state: today when absent.
    as_of: Option<String>,
    /// Only rows recorded or changed from this instant on (RFC 3339).
    updated_since: Option<String>,
}

impl Asked {
    fn as_of(&self) -> Result<Option<NaiveDate>, Error> {
        let read = |text: &String| {
            text.parse().map_err(|_| Error::BadInput {
                field: "asOf",
                message: format!("`{text}` is no day: 2026-06-30 is the form"),
            })
        };
        self.as_of.as_ref().map(read).transpose()
    }

    fn updated_since(&self) -> Result<Option<DateTime<Utc>>, Error> {
        let read = |text: &String| {
            text.parse().map_err(|_| Error::BadInput {
                field: "updatedSince",
                message: format!(
                    "`{text}` is no instant: 2026-06-30T08:00:00Z is the form (a + in a URL is written %2B)"
                ),
            })
        };
        self.updated_since.as_ref().map(read).transpose()
    }
}

/// `GET /export/{table}.{form}`: a whole table, of one snapshot. It is written to a file first, so that nothing
/// of it leaves when something is wrong, and no connection is held while a slow client reads.
pub async fn export(
    request: HttpRequest,
    name: web::Path<String>,
    asked: web::Query<Asked>,
    endpoint: web::Data<GraphqlEndpoint>,
) -> HttpResponse {
    let Some((table, form)) = read(&name) else {
        let tables: Vec<&str> = Table::ALL.iter().map(|table| table.code()).collect();
        let why = format!(
            "there is no table `{name}`: one of {} as .csv or .jsonl",
            tables.join(", ")
        );
        return HttpResponse::NotFound().json(fault("NOT_FOUND", &why));
    };
    let caller = match files::permitted(&request, &endpoint, table.action()).await {
        Ok(caller) => caller,
        Err(refused) => return *refused,
    };
    let unfit = [
        (
            asked.as_of.is_some() && !table.is_dated(),
            "asOf",
            "not a state of a day",
        ),
        (
            asked.updated_since.is_some() && !table.is_updated(),
            "updatedSince",
            "always told whole",
        ),
    ];
    if let Some((_, field, why)) = unfit.iter().find(|(is_unfit, ..)| *is_unfit) {
        return files::refused(Error::BadInput {
            field,
            message: format!("`{}` is {why}: leave {field} away", table.code()),
        });
    }
    let (as_of, updated_since) = match (asked.as_of(), asked.updated_since()) {
        (Ok(as_of), Ok(since)) => (as_of, since),
        (Err(error), _) | (_, Err(error)) => return files::refused(error),
    };
    let wanted = Wanted {
        as_of: as_of.unwrap_or(caller.today),
        updated_since,
    };
    let file = Spool::new("export");
    let path = file.path().to_owned();
    let balances = endpoint.balances.clone();
    let session = files::report_session(&request, &endpoint, caller);
    let written = session
        .read(move |conn, caller| {
            let broken = |error: std::io::Error| Error::of_file("a table was not written", &error);
            let out = BufWriter::new(File::create(&path).map_err(broken)?);
            let rows = export::write(conn, caller, &balances, table, &wanted, form, out)?;
            let digest = content::digest(&path).map_err(broken)?;
            Ok((rows, hex(&digest.finalize())))
        })
        .await;
    let (rows, digest) = match written {
        Ok(written) => written,
        Err(error) => {
            session.finish().await;
            return files::refused(error);
        }
    };
    let tag = EntityTag::new_strong(digest);
    if is_known(&request, &tag) {
        session.finish().await;
        return HttpResponse::NotModified()
            .insert_header(ETag(tag))
            .finish();
    }
    let details =
        json!({ "form": form.code(), "rows": rows, "asOf": as_of, "updatedSince": updated_since });
    let told = session
        .write(move |conn, caller| {
            audit::exported(conn, caller, "TABLE", table.code(), None, &details)
        })
        .await;
    session.finish().await;
    // What cannot be written down does not leave.
    if let Err(error) = told {
        return files::refused(error);
    }
    let kind = match form {
        Form::Csv => "text/csv; charset=utf-8; header=present",
        Form::JsonLines => "application/jsonl; charset=utf-8",
    };
    let mut answer = files::send(file, &name, kind);
    if let Ok(value) = tag.to_string().parse() {
        answer
            .headers_mut()
            .insert(actix_web::http::header::ETAG, value);
    }
    answer
}

/// The table and the form that a file's name asks for.
fn read(name: &str) -> Option<(Table, Form)> {
    let (table, form) = name.rsplit_once('.')?;
    Some((Table::read(table)?, Form::read(form)?))
}

fn is_known(request: &HttpRequest, tag: &EntityTag) -> bool {
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(tag)),
        _ => false,
    }
}
