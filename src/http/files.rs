//! Files over HTTP: how a body is kept while it is read, how a file leaves, and who may ask.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::{StreamExt, stream};
use serde_json::json;

use super::fault;
use super::graphql::GraphqlEndpoint;
use crate::domain::access::{Action, Caller};
use crate::error::Error;

/// Largest file taken over HTTP; larger ones go through the command line.
const FILE_BYTES: usize = 64 * 1024 * 1024;
/// What leaves at once.
const CHUNK: usize = 64 * 1024;

/// The caller of a request, when they may do this. Tools that know user names and passwords only send a key of a
/// service account as the password.
pub async fn permitted(
    request: &HttpRequest,
    endpoint: &GraphqlEndpoint,
    action: Action,
) -> Result<Caller, Box<HttpResponse>> {
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let authenticator = &endpoint.authenticator;
    let found = authenticator.authenticate_or_basic(token, &endpoint.store);
    let caller = match found.await {
        Ok(caller) => caller,
        Err(Error::Unauthenticated) => {
            authenticator.note_refused_key(request, &endpoint.store);
            return Err(HttpResponse::Unauthorized()
                .append_header((header::WWW_AUTHENTICATE, "Bearer"))
                .append_header((
                    header::WWW_AUTHENTICATE,
                    "Basic realm=\"encours\", charset=\"UTF-8\"",
                ))
                .json(fault("UNAUTHENTICATED", "a valid token is needed"))
                .into());
        }
        Err(error) => return Err(refused(error).into()),
    };
    if caller.may(action) {
        Ok(caller)
    } else {
        Err(refused(Error::Forbidden(Some(action))).into())
    }
}

/// A session for a request outside GraphQL.
pub fn session(
    request: &HttpRequest,
    endpoint: &GraphqlEndpoint,
    caller: Caller,
) -> crate::store::Session {
    let origin = endpoint.authenticator.origin(request);
    endpoint.store.session_from(caller, origin)
}

/// The same for what only reads the books: a replica may do.
pub fn report_session(
    request: &HttpRequest,
    endpoint: &GraphqlEndpoint,
    caller: Caller,
) -> crate::store::Session {
    let seen = super::graphql::answer::seen(request);
    let origin = endpoint.authenticator.origin(request);
    endpoint.store.report_session(caller, origin, seen)
}

/// A file that goes with its handle, however the request ends.
pub struct Spool(PathBuf);

impl Spool {
    /// A new name in the directory for temporary files.
    pub fn new(kind: &str) -> Spool {
        Spool(std::env::temp_dir().join(format!("encours-{kind}-{}", uuid::Uuid::now_v7())))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if self.0.exists()
            && let Err(error) = std::fs::remove_file(&self.0)
        {
            tracing::warn!(%error, "a temporary file was not removed");
        }
    }
}

/// Writes the body to a file: an import may read it twice and must not hold it in memory.
pub async fn spool(body: &mut web::Payload, file: &Spool) -> Result<(), Box<HttpResponse>> {
    let broken =
        |error: std::io::Error| Box::new(refused(Error::of_file("an import was not kept", &error)));
    let mut out = File::create(file.path()).map_err(broken)?;
    let mut size = 0;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| {
            HttpResponse::BadRequest().json(fault("BAD_USER_INPUT", "the file broke off"))
        })?;
        size += chunk.len();
        if size > FILE_BYTES {
            let why = "a file of at most 64 MB: import larger ones on the command line";
            return Err(HttpResponse::PayloadTooLarge()
                .json(fault("PAYLOAD_TOO_LARGE", why))
                .into());
        }
        out.write_all(&chunk).map_err(broken)?;
    }
    Ok(())
}

/// Sends a finished file chunk by chunk; it is gone afterwards.
pub fn send(file: Spool, name: &str, kind: &'static str) -> HttpResponse {
    let opened = match File::open(file.path()) {
        Ok(opened) => opened,
        Err(error) => {
            tracing::error!(%error, "a file to send is gone");
            return HttpResponse::InternalServerError()
                .json(fault("INTERNAL_SERVER_ERROR", "internal error"));
        }
    };
    let length = opened.metadata().map(|data| data.len()).unwrap_or_default();
    let chunks = stream::unfold((opened, file), |(mut opened, file)| async move {
        let read = web::block(move || {
            let mut buffer = vec![0; CHUNK];
            let result = opened.read(&mut buffer).map(|read| {
                buffer.truncate(read);
                Bytes::from(buffer)
            });
            (opened, result)
        })
        .await;
        match read {
            Ok((_, Ok(bytes))) if bytes.is_empty() => None,
            Ok((opened, result)) => Some((result, (opened, file))),
            Err(_) => None,
        }
    });
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, kind))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ))
        .insert_header(("x-file-bytes", length.to_string()))
        .streaming(chunks)
}

/// The answer to an error of the layers below, in the shape of GraphQL's.
pub fn refused(error: Error) -> HttpResponse {
    match error {
        Error::Refused(reasons) => {
            let errors: Vec<_> = reasons
                .iter()
                .map(|reason| {
                    json!({
                        "message": reason.message,
                        "extensions": { "code": reason.code.code(), "field": reason.field.join("."), "details": reason.details },
                    })
                })
                .collect();
            HttpResponse::UnprocessableEntity().json(json!({ "errors": errors }))
        }
        Error::Unavailable(cause) => HttpResponse::ServiceUnavailable()
            .insert_header((header::RETRY_AFTER, "1"))
            .json(fault("UNAVAILABLE", Error::advice(&cause))),
        Error::Timeout => HttpResponse::GatewayTimeout().json(fault("TIMEOUT", "the request took too long")),
        Error::Forbidden(action) => {
            let error = json!({
                "message": Error::Forbidden(action).to_string(),
                "extensions": { "code": "FORBIDDEN", "permission": action.map(Action::code) },
            });
            HttpResponse::Forbidden().json(json!({ "errors": [error] }))
        }
        Error::Unauthenticated => {
            HttpResponse::Unauthorized().json(fault("UNAUTHENTICATED", "a valid token is needed"))
        }
        Error::BadInput { field, message } => HttpResponse::UnprocessableEntity().json(json!({
            "errors": [{ "message": message, "extensions": { "code": "BAD_USER_INPUT", "field": field } }]
        })),
        other => {
            tracing::error!(error = %other, "a file request failed");
            HttpResponse::InternalServerError().json(fault("INTERNAL_SERVER_ERROR", "internal error"))
        }
    }
}
