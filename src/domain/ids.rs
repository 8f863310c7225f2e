//! One type per kind of identifier: a client's id cannot be passed where an invoice's is meant.
//!
//! Ids are UUIDv7 made by the server. In the API they are opaque and typed: `cli_0199…`.

use uuid::Uuid;

/// What every identifier can do.
pub trait Id: Copy + Sized {
    /// The type's mark in the API.
    const PREFIX: &'static str;
    /// Wraps a raw UUID.
    fn from_uuid(id: Uuid) -> Self;
    /// The raw UUID.
    fn uuid(self) -> Uuid;

    /// A new id, later than those made before.
    fn new() -> Self {
        Self::from_uuid(Uuid::now_v7())
    }

    /// As the API shows it.
    fn show(self) -> String {
        format!("{}_{}", Self::PREFIX, self.uuid().simple())
    }

    /// Reads what [`Id::show`] wrote; `None` for anything else, another type's id included.
    fn read(text: &str) -> Option<Self> {
        let hex = text.strip_prefix(Self::PREFIX)?.strip_prefix('_')?;
        if hex.len() != 32 {
            return None;
        }
        Uuid::try_parse(hex).ok().map(Self::from_uuid)
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl Id for $name {
            const PREFIX: &'static str = $prefix;
            fn from_uuid(id: Uuid) -> Self {
                $name(id)
            }
            fn uuid(self) -> Uuid {
                self.0
            }
        }
    )+};
}

ids! {
    /// A company: the wall around all its records.
    CompanyId = "com",
    /// A person who logs in.
    UserId = "usr",
    /// A client: any debtor of the company.
    ClientId = "cli",
    /// A contact of a client.
    ContactId = "ctc",
    /// An invoice or a credit note.
    DocumentId = "doc",
    /// A draft of an invoice.
    DraftId = "dra",
    /// A receipt.
    PaymentId = "pay",
    /// An open item: one line on a third-party account.
    ItemId = "itm",
    /// An allocation of a credit item to a debit item.
    AllocationId = "alc",
    /// A lettering group.
    MatchingId = "mat",
    /// A dispute.
    DisputeId = "dis",
    /// A customer's deduction.
    DeductionId = "ded",
    /// A journal entry.
    EntryId = "jnl",
    /// A version of a provision policy.
    PolicyId = "pol",
    /// An individual estimate of a doubtful claim.
    AssessmentId = "asm",
    /// An accounting operation beyond documents and receipts.
    OperationId = "opr",
    /// A bank remittance slip.
    RemittanceId = "rem",
    /// A file of a doubtful debt or a loss.
    DoubtfulFileId = "dou",
    /// A rectified invoice that recovers VAT.
    RectifiedInvoiceId = "rct",
    /// A provision run.
    ProvisionRunId = "prn",
    /// A bank account of the company.
    BankAccountId = "bnk",
    /// A bank statement or notification.
    BankStatementId = "stm",
    /// A movement on a bank account.
    BankLineId = "bln",
    /// A decision about a movement.
    BankMatchId = "bmt",
    /// Something that a person has to look at.
    TaskId = "tsk",
    /// A version of a dunning scenario.
    DunningScenarioId = "dsc",
    /// A reminder that was made.
    DunningActionId = "dun",
    /// A promise to pay.
    PromiseId = "prm",
    /// A file that proves or says something.
    FileId = "fil",
    /// A version of a letter's template.
    LetterTemplateId = "ltp",
    /// A mail in the outbox.
    MailId = "eml",
    /// A run of reminders.
    DunningRunId = "drn",
    /// A reminder in a run.
    DunningRunLineId = "drl",
    /// A call, a visit or a note about a client.
    NoteId = "not",
    /// A payment plan.
    PlanId = "pln",
    /// A litigation case.
    CaseId = "cas",
    /// An address that is told of changes.
    WebhookId = "whk",
    /// A message to such an address.
    WebhookDeliveryId = "whd",
    /// A log-in of a person to one company.
    SessionId = "ses",
    /// A service account: a script with a key.
    ServiceAccountId = "svc",
    /// An invitation to become a member.
    InvitationId = "inv",
    /// A request for approval.
    ApprovalId = "apr",
    /// An erasure of personal data.
    ErasureId = "era",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_only_as_its_own_type() {
        let id = ClientId::new();
        assert_eq!(ClientId::read(&id.show()), Some(id));
        assert_eq!(PaymentId::read(&id.show()), None);
        for bad in ["", "cli_", "cli_zz", "cli", "cli_0199\u{e9}"] {
            assert_eq!(ClientId::read(bad), None, "{bad}");
        }
    }
}
