//! Files, letters and evidence over HTTP: what is attached, what was written, and what proves a claim.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::json;

use super::fault;
use super::files;
use super::graphql::GraphqlEndpoint;
use crate::domain::access::{Action, Caller};
use crate::domain::audit::key as audit_key;
use crate::domain::ids::{ClientId, Id};
use crate::domain::letter::{Kind, Language};
use crate::domain::refusal::RefusalCode;
use crate::error::{Error, Result};
use crate::objects::Objects;
use crate::service::file::{self, FileKind, Upload};
use crate::service::{audit, evidence, letter};
use crate::store::{Conn, Session};

/// Largest archive that is verified.
const ARCHIVE_BYTES: usize = 128 * 1024 * 1024;

/// What a file is, and of what.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attached {
    /// The record's id.
    subject: String,
    /// A `FileKind`.
    kind: String,
    /// Its name.
    name: String,
}

/// `POST /files?subject=…&kind=…&name=…`: attaches the body to a record.
pub async fn attach(
    request: HttpRequest,
    asked: web::Query<Attached>,
    body: web::Payload,
    endpoint: web::Data<GraphqlEndpoint>,
) -> HttpResponse {
    let caller = match files::permitted(&request, &endpoint, Action::AttachFiles).await {
        Ok(caller) => caller,
        Err(refused) => return *refused,
    };
    let asked = asked.into_inner();
    let Some(kind) = FileKind::read(&asked.kind) else {
        let known: Vec<_> = FileKind::ALL.iter().map(|kind| kind.code()).collect();
        return files::refused(Error::BadInput {
            field: "kind",
            message: format!("a kind is one of {}", known.join(", ")),
        });
    };
    let bytes = match collected(body, file::LARGEST).await {
        Ok(bytes) => bytes,
        Err(refused) => return *refused,
    };
    let upload = Upload {
        subject: asked.subject,
        kind,
        name: asked.name,
        bytes,
    };
    let session = files::session(&request, &endpoint, caller);
    let objects = endpoint.objects.clone();
    let kept = session
        .write(move |conn, caller| file::attach(conn, caller, &objects, &upload))
        .await;
    session.finish().await;
    match kept {
        Ok(id) => HttpResponse::Created()
            .insert_header((header::LOCATION, format!("/files/{}", id.show())))
            .json(json!({ "id": id.show() })),
        Err(error) => told(error),
    }
}

/// The body, unless it is larger than `most`.
async fn collected(
    mut body: web::Payload,
    most: usize,
) -> std::result::Result<Vec<u8>, Box<HttpResponse>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| {
            HttpResponse::BadRequest().json(fault("BAD_USER_INPUT", "the file broke off"))
        })?;
        if bytes.len() + chunk.len() > most {
            let why = format!("a body of at most {} MB is taken", most / 1024 / 1024);
            return Err(HttpResponse::PayloadTooLarge()
                .json(fault("PAYLOAD_TOO_LARGE", &why))
                .into());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// A record that does not exist for the caller does not exist: 404, with the code as everywhere.
fn told(error: Error) -> HttpResponse {
    match error {
        Error::Refused(reasons) if reasons.iter().all(|why| why.code == RefusalCode::NotFound) => {
            HttpResponse::NotFound().json(fault("NOT_FOUND", "no such record in this company"))
        }
        error => files::refused(error),
    }
}

/// Runs `work` in the caller's snapshot, then writes down what leaves: what cannot be written down does not leave.
async fn read<T: Send + 'static>(
    session: Session,
    objects: Objects,
    work: impl FnOnce(&mut Conn, &Caller, &Objects) -> Result<(T, Option<Leaving>)> + Send + 'static,
) -> Result<T> {
    let found = session
        .read(move |conn, caller| work(conn, caller, &objects))
        .await;
    let told = match found {
        Ok((value, Some(leaving))) => session
            .write(move |conn, caller| {
                let Leaving {
                    what,
                    id,
                    client,
                    details,
                } = &leaving;
                audit::exported(conn, caller, what, id, *client, details)
            })
            .await
            .map(|()| value),
        Ok((value, None)) => Ok(value),
        Err(error) => Err(error),
    };
    session.finish().await;
    told
}

/// What the audit trail tells of a file that leaves.
struct Leaving {
    what: &'static str,
    id: String,
    client: Option<ClientId>,
    details: serde_json::Value,
}

fn download(name: &str, media: &str, bytes: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, media.to_owned()))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // What a client sent is never a page of ours.
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header(("Content-Security-Policy", "default-src 'none'; sandbox"))
        .insert_header(header::ContentDisposition {
            disposition: header::DispositionType::Attachment,
            parameters: vec![header::DispositionParam::FilenameExt(
                header::ExtendedValue {
                    charset: header::Charset::Ext("UTF-8".into()),
                    language_tag: None,
                    value: name.as_bytes().to_vec(),
                },
            )],
        })
        .body(bytes)
}

/// `GET /files/{id}`: the bytes of a file, for those who may see its record.
pub async fn fetch(
    request: HttpRequest,
    id: web::Path<String>,
    endpoint: web::Data<GraphqlEndpoint>,
) -> HttpResponse {
    let caller = match files::permitted(&request, &endpoint, Action::ReadContacts).await {
        Ok(caller) => caller,
        Err(refused) => return *refused,
    };
    let id = id.into_inner();
    let session = files::session(&request, &endpoint, caller);
    match read(
        session,
        endpoint.objects.clone(),
        move |conn, caller, objects| {
            let (kept, bytes) = file::read(conn, caller, objects, &id)?;
            let leaving = Leaving {
                what: "FILE",
                id: kept.id.0.to_string(),
                client: kept.client_id,
                details: json!({ "kind": kept.kind, "bytes": bytes.len() }),
            };
            Ok(((kept, bytes), Some(leaving)))
        },
    )
    .await
    {
        Ok((kept, bytes)) => download(&kept.name, &kept.media_type, bytes),
        Err(error) => told(error),
    }
}

/// How a letter is asked for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Written {
    /// `FR` or `EN`; the client's language when absent.
    language: Option<String>,
}

/// `GET /letters/{kind}/{subject}`: any letter as PDF, with the figures of today; nothing is kept or sent.
pub async fn letter(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    asked: web::Query<Written>,
    endpoint: web::Data<GraphqlEndpoint>,
) -> HttpResponse {
    let caller = match files::permitted(&request, &endpoint, Action::ReadEvidence).await {
        Ok(caller) => caller,
        Err(refused) => return *refused,
    };
    let (kind, subject) = path.into_inner();
    let Some(kind) = Kind::read(&kind) else {
        return HttpResponse::NotFound().json(fault("NOT_FOUND", "no such kind of letter"));
    };
    let language = match asked.language.as_deref().map(Language::read) {
        Some(None) => {
            return files::refused(Error::BadInput {
                field: "language",
                message: "a language is FR or EN".into(),
            });
        }
        Some(found) => found,
        None => None,
    };
    let name = format!("{}.pdf", kind.code().to_lowercase().replace('_', "-"));
    let session = files::session(&request, &endpoint, caller);
    let written = read(
        session,
        endpoint.objects.clone(),
        move |conn, caller, objects| {
            let on = caller.today;
            let pdf =
                letter::of_subject(conn, caller, objects, kind, &subject, language, None, on)?
                    .pdf()?;
            let leaving = Leaving {
                what: "LETTER",
                id: audit_key(&subject),
                client: None,
                details: json!({ "letter": kind.code(), "subject": subject, "bytes": pdf.len() }),
            };
            Ok((pdf, Some(leaving)))
        },
    )
    .await;
    match written {
        Ok(pdf) => download(&name, "application/pdf", pdf),
        Err(error) => told(error),
    }
}

/// `GET /evidence/{subject}`: the sealed evidence file of a client, an invoice, a dispute or a litigation case.
pub async fn evidence(
    request: HttpRequest,
    subject: web::Path<String>,
    endpoint: web::Data<GraphqlEndpoint>,
) -> HttpResponse {
    let caller = match files::permitted(&request, &endpoint, Action::ReadEvidence).await {
        Ok(caller) => caller,
        Err(refused) => return *refused,
    };
    let subject = subject.into_inner();
    let session = files::session(&request, &endpoint, caller);
    let objects = endpoint.objects.clone();
    let made = session
        .write(move |conn, caller| {
            let archive = evidence::archive(conn, caller, &objects, &subject)?;
            let details = json!({
                "subject": subject, "bytes": archive.bytes.len(), "manifestSha256": archive.manifest_sha256,
            });
            audit::exported(conn, caller, "EVIDENCE_FILE", &archive.manifest_sha256, None, &details)?;
            Ok(archive)
        })
        .await;
    session.finish().await;
    match made {
        Ok(archive) => {
            let mut answer = download(&archive.name, "application/zip", archive.bytes);
            if let Ok(seal) = header::HeaderValue::from_str(&archive.manifest_sha256) {
                let name = header::HeaderName::from_static("x-manifest-sha256");
                answer.headers_mut().insert(name, seal);
            }
            answer
        }
        Err(error) => told(error),
    }
}

/// `POST /evidence/verify`: whether the body is an evidence file as it left, and what was changed in it.
pub async fn verify(
    request: HttpRequest,
    body: web::Payload,
    endpoint: web::Data<GraphqlEndpoint>,
) -> HttpResponse {
    let caller = match files::permitted(&request, &endpoint, Action::ReadEvidence).await {
        Ok(caller) => caller,
        Err(refused) => return *refused,
    };
    let bytes = match collected(body, ARCHIVE_BYTES).await {
        Ok(bytes) => bytes,
        Err(refused) => return *refused,
    };
    let session = files::session(&request, &endpoint, caller);
    let found = read(session, endpoint.objects.clone(), move |conn, caller, _| {
        // Nothing leaves but whether it is as it was.
        Ok((evidence::verify(conn, caller, &bytes)?, None))
    })
    .await;
    match found {
        Ok(found) => HttpResponse::Ok().json(json!({
            "intact": found.changed.is_empty() && found.sealed_at.is_some(),
            "sealedAt": found.sealed_at, "manifestSha256": found.manifest_sha256, "changed": found.changed,
        })),
        Err(error) => told(error),
    }
}
