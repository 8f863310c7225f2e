//! Files attached to records: who may attach what, what is refused, and how their bytes are read back.

use diesel::pg::PgConnection;
use uuid::Uuid;

use super::books;
use crate::domain::access::{Action, Caller, codes};
use crate::domain::ids::{
    CaseId, ClientId, CompanyId, DisputeId, DocumentId, DunningActionId, FileId, Id, ItemId,
    PlanId, PromiseId,
};
use crate::domain::refusal::Refusal;
use crate::error::{Error, Result};
use crate::formats::pdf;
use crate::objects::Objects;
use crate::store::file::Kept;
use crate::store::{self};

/// Largest file.
pub const LARGEST: usize = 10 * 1024 * 1024;

codes! {
    /// What a file is.
    FileKind {
        /// The company's logo, for letters.
        Logo = "LOGO",
        /// The signature of who signs letters.
        Signature = "SIGNATURE",
        /// The invoice as it was sent.
        Invoice = "INVOICE",
        /// The client's order.
        Order = "ORDER",
        /// A contract.
        Contract = "CONTRACT",
        /// Bon de livraison signé, procès-verbal, attachement (R7.7).
        DeliveryProof = "DELIVERY_PROOF",
        /// Reconnaissance de dette (R7.7, R7.11).
        AcknowledgmentOfDebt = "ACKNOWLEDGMENT_OF_DEBT",
        /// What was written, either way.
        Correspondence = "CORRESPONDENCE",
        /// A letter that the server made.
        Letter = "LETTER",
        /// A notice that the server made.
        Notice = "NOTICE",
        /// The deposit slip of a registered letter (R7.9).
        DepositSlip = "DEPOSIT_SLIP",
        /// Avis de réception (R7.9).
        Acknowledgment = "ACKNOWLEDGMENT",
        /// Any other proof.
        Evidence = "EVIDENCE",
        /// Anything else.
        Other = "OTHER",
    }
}

/// The record that a file is attached to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subject {
    pub kind: &'static str,
    pub id: Uuid,
    /// Whose it is; none for the company's own.
    pub client: Option<ClientId>,
}

/// The record that an id names, when it exists for the caller.
pub fn subject(conn: &mut PgConnection, caller: &Caller, id: &str) -> Result<Subject> {
    let company = caller.company;
    let missing = || Refusal::not_found("subject", "record to attach to");
    let of = |kind, id: Uuid, client| Subject { kind, id, client };
    let found = match id.split('_').next().unwrap_or_default() {
        CompanyId::PREFIX => CompanyId::read(id)
            .filter(|id| *id == company)
            .map(|id| of("COMPANY", id.0, None)),
        ClientId::PREFIX => match ClientId::read(id) {
            Some(id) => store::client::by_id(conn, company, id)?
                .map(|row| of("CLIENT", row.id.0, Some(row.id))),
            None => None,
        },
        DocumentId::PREFIX => match DocumentId::read(id) {
            Some(id) => store::document::by_id(conn, company, id)?
                .map(|row| of("DOCUMENT", row.id.0, Some(row.client_id))),
            None => None,
        },
        ItemId::PREFIX => match ItemId::read(id) {
            Some(id) => store::item::by_ids(conn, company, &[id])?
                .pop()
                .map(|row| of("ITEM", row.id.0, Some(row.client_id))),
            None => None,
        },
        DisputeId::PREFIX => match DisputeId::read(id) {
            Some(id) => store::dispute::by_id(conn, company, id)?
                .map(|row| of("DISPUTE", row.id.0, Some(row.client_id))),
            None => None,
        },
        DunningActionId::PREFIX => match DunningActionId::read(id) {
            Some(id) => store::dunning::actions_by_ids(conn, company, &[id])?
                .pop()
                .map(|row| of("DUNNING_ACTION", row.id.0, Some(row.client_id))),
            None => None,
        },
        PromiseId::PREFIX => match PromiseId::read(id) {
            Some(id) => store::dunning::promises_by_ids(conn, company, &[id])?
                .pop()
                .map(|row| of("PROMISE", row.id.0, Some(row.client_id))),
            None => None,
        },
        PlanId::PREFIX => match PlanId::read(id) {
            Some(id) => store::collection::plans_by_ids(conn, company, &[id])?
                .pop()
                .map(|row| of("PLAN", row.id.0, Some(row.client_id))),
            None => None,
        },
        CaseId::PREFIX => match CaseId::read(id) {
            Some(id) => store::litigation::by_ids(conn, company, &[id])?
                .pop()
                .map(|row| of("CASE", row.id.0, Some(row.client_id))),
            None => None,
        },
        _ => None,
    };
    found.ok_or_else(|| missing().into())
}

/// A file as it came in.
#[derive(Clone, Debug)]
pub struct Upload {
    pub subject: String,
    pub kind: FileKind,
    pub name: String,
    pub bytes: Vec<u8>,
}

/// What a file is by its first bytes, not by what its sender says. None for a kind that is not taken.
pub fn media_type(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"%PDF-") {
        return Some("application/pdf");
    }
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Some("image/png");
    }
    if bytes.starts_with(b"\xff\xd8\xff") {
        return Some("image/jpeg");
    }
    // Text in UTF-8 that no browser takes for a page.
    let text = std::str::from_utf8(bytes).ok()?;
    let plain = !text.contains('\0');
    if plain && text.trim_start_matches('\u{feff}').starts_with("<?xml") {
        return Some("application/xml");
    }
    (plain && !text.trim().is_empty()).then_some("text/plain")
}

/// Attaches a file. Sales attach to disputes and documents of their clients; the company's own images are the
/// administrator's.
pub fn attach(
    conn: &mut PgConnection,
    caller: &Caller,
    objects: &Objects,
    upload: &Upload,
) -> Result<FileId> {
    let subject = subject(conn, caller, &upload.subject)?;
    let image = matches!(upload.kind, FileKind::Logo | FileKind::Signature);
    if matches!(upload.kind, FileKind::Letter | FileKind::Notice) {
        return Err(Refusal::invalid("kind", "letters and notices are made by the server").into());
    }
    let of_subject = match subject.kind {
        "COMPANY" => Action::ManageCompany,
        "DISPUTE" | "DOCUMENT" | "ITEM" | "CLIENT" => Action::AttachFiles,
        _ => Action::Dun,
    };
    // What goes out to clients, or proves what the desk did, is attached by those whose work it is.
    let of_kind = match upload.kind {
        FileKind::Invoice => Action::IssueInvoices,
        FileKind::DepositSlip | FileKind::Acknowledgment | FileKind::AcknowledgmentOfDebt => {
            Action::Dun
        }
        _ => of_subject,
    };
    if let Some(lacking) = [of_subject, of_kind].iter().find(|it| !caller.may(**it)) {
        return Err(Error::Forbidden(Some(*lacking)));
    }
    if image != (subject.kind == "COMPANY") {
        return Err(Refusal::invalid(
            "kind",
            "a logo and a signature are the company's, every other kind is a client's",
        )
        .into());
    }
    let name = file_name(&upload.name)?;
    if upload.bytes.is_empty() {
        return Err(Refusal::invalid("file", "the file is empty").into());
    }
    if upload.bytes.len() > LARGEST {
        return Err(Refusal::invalid("file", "a file has 10 MB at most")
            .detail("bytes", upload.bytes.len())
            .detail("most", LARGEST)
            .into());
    }
    let media = media_type(&upload.bytes).ok_or_else(|| {
        Refusal::invalid(
            "file",
            "a PDF, a PNG or JPEG image, XML or plain text in UTF-8 is needed",
        )
    })?;
    if !ending_fits(&name, media) {
        return Err(Refusal::invalid(
            "name",
            format!(
                "the file is {media}: a name with another ending would deceive whoever opens it"
            ),
        )
        .into());
    }
    if image && !(media.starts_with("image/") && pdf::is_image(&upload.bytes)) {
        return Err(Refusal::invalid("file", "this is no PNG or JPEG image").into());
    }
    keep(
        conn,
        caller,
        objects,
        subject,
        upload.kind,
        &name,
        media,
        &upload.bytes,
    )
}

/// Whether a name's ending says what the file is; without one it says nothing wrong.
fn ending_fits(name: &str, media: &str) -> bool {
    let Some((_, ending)) = name.rsplit_once('.') else {
        return true;
    };
    let endings: &[&str] = match media {
        "application/pdf" => &["pdf"],
        "image/png" => &["png"],
        "image/jpeg" => &["jpg", "jpeg"],
        "application/xml" => &["xml"],
        _ => &["txt", "csv", "md", "eml", "log"],
    };
    endings.contains(&ending.to_lowercase().as_str())
}

/// A name without a path, and without what a terminal or a header would take for something else.
fn file_name(name: &str) -> Result<String> {
    let name = books::text("name", name, 150)?;
    let sound = !name.contains(['/', '\\', '"', '<', '>', '|', ':', '*', '?'])
        && !name.starts_with('.')
        && !name.chars().any(|sign| {
            // Marks that turn the reading direction make one name look like another.
            sign.is_control() || matches!(sign, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        });
    if sound {
        Ok(name)
    } else {
        Err(Refusal::invalid("name", "a file name without a path is needed").into())
    }
}

/// Keeps a file that the server made, or one that was checked.
#[expect(
    clippy::too_many_arguments,
    reason = "what a file is, in the order of its columns"
)]
pub fn keep(
    conn: &mut PgConnection,
    caller: &Caller,
    objects: &Objects,
    subject: Subject,
    kind: FileKind,
    name: &str,
    media: &str,
    bytes: &[u8],
) -> Result<FileId> {
    let row = Kept {
        company_id: caller.company,
        id: FileId::new(),
        client_id: subject.client,
        subject_type: subject.kind.to_owned(),
        subject_id: subject.id,
        kind: kind.code().to_owned(),
        name: name.to_owned(),
        media_type: media.to_owned(),
        bytes: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
        sha256: objects.put(caller.company, bytes)?,
        recorded_at: chrono::DateTime::UNIX_EPOCH,
        recorded_by: caller.author.clone(),
    };
    store::file::insert(conn, &row)?;
    Ok(row.id)
}

/// A file and its bytes, when the caller may see the record that it is attached to.
pub fn read(
    conn: &mut PgConnection,
    caller: &Caller,
    objects: &Objects,
    id: &str,
) -> Result<(Kept, Vec<u8>)> {
    let found = match FileId::read(id) {
        Some(id) => store::file::by_ids(conn, caller.company, &[id])?.pop(),
        None => None,
    };
    let found = found.ok_or_else(|| Refusal::not_found("file", "file"))?;
    let bytes = objects.get(caller.company, &found.sha256)?;
    Ok((found, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_bytes_are() {
        assert_eq!(media_type(b"%PDF-1.7 x"), Some("application/pdf"));
        assert_eq!(media_type(b"\x89PNG\r\n\x1a\nx"), Some("image/png"));
        assert_eq!(media_type(b"\xff\xd8\xff\xe0"), Some("image/jpeg"));
        assert_eq!(
            media_type("<?xml version='1.0'?>".as_bytes()),
            Some("application/xml")
        );
        assert_eq!(
            media_type("bon de livraison signé".as_bytes()),
            Some("text/plain")
        );
        for refused in [
            &b"MZ\x90\x00"[..],
            b"PK\x03\x04\xff",
            b"\xff\xfe",
            b"",
            b"  \n",
        ] {
            assert_eq!(media_type(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn names_have_no_path() {
        assert!(file_name("BL 4711 signé.pdf").is_ok());
        assert!(ending_fits("BL.PDF", "application/pdf") && ending_fits("BL", "image/png"));
        assert!(!ending_fits("BL.html", "text/plain") && !ending_fits("BL.pdf", "text/plain"));
        for bad in [
            "a\u{202e}fdp.exe",
            "",
            "../x",
            "a/b",
            "a\\b",
            ".htaccess",
            "a\"b",
            "a\r\nb",
        ] {
            assert!(file_name(bad).is_err(), "{bad:?}");
        }
    }
}
