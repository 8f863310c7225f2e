//! Files attached to records. Their bytes go by `POST /files` and `GET /files/{id}`.

use async_graphql::{Context, ID, Object};
use uuid::Uuid;

use super::client::code_enum;
use super::document::maybe;
use super::loaders::FilesOf;
use super::scalars::{Instant, show};
use crate::error::Result;
use crate::store;

code_enum! {
    /// What a file is.
    FileKind {
        /// The company's logo, for letters.
        Logo = "LOGO",
        /// The signature of who signs letters.
        Signature = "SIGNATURE",
        /// The invoice as it was sent: goes with the first reminder.
        Invoice = "INVOICE",
        /// The client's order.
        Order = "ORDER",
        /// A contract.
        Contract = "CONTRACT",
        /// Bon de livraison signé, procès-verbal, attachement: a formal notice needs it (R7.7).
        DeliveryProof = "DELIVERY_PROOF",
        /// Reconnaissance de dette: proves the claim and starts a new period of prescription (R7.11).
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

/// A file attached to a record.
#[derive(Clone)]
pub struct AttachedFile(pub store::file::Kept);

/// A file attached to a record (pièce jointe).
#[Object]
impl AttachedFile {
    /// The opaque id.
    async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// What it is.
    async fn kind(&self) -> Result<FileKind> {
        FileKind::of(&self.0.kind)
    }
    /// Its name.
    async fn name(&self) -> &str {
        &self.0.name
    }
    /// What its bytes are: `application/pdf`, `image/png`, `image/jpeg`, `application/xml` or `text/plain`.
    async fn media_type(&self) -> &str {
        &self.0.media_type
    }
    /// Its size in bytes, as text: an `Int` would be too short for it.
    async fn bytes(&self) -> String {
        self.0.bytes.to_string()
    }
    /// The SHA-256 of its bytes, in hexadecimal.
    async fn sha256(&self) -> &str {
        &self.0.sha256
    }
    /// Where its bytes are, below the server's address; with the same token.
    async fn path(&self) -> String {
        format!("/files/{}", show(self.0.id).as_str())
    }
    /// When it was attached.
    async fn recorded_at(&self) -> Instant {
        self.0.recorded_at.into()
    }
    /// Who attached it.
    async fn recorded_by(&self) -> &str {
        &self.0.recorded_by
    }
}

/// The files of a record, oldest first.
pub async fn files_of(ctx: &Context<'_>, subject: Uuid) -> Result<Vec<AttachedFile>> {
    let rows = maybe(ctx, FilesOf(subject)).await?.unwrap_or_default();
    Ok(rows.into_iter().map(AttachedFile).collect())
}
