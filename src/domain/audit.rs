//! The audit trail: where a request comes from, who made it, and how records are named.

use uuid::Uuid;

use super::access::{Caller, codes};
use super::ids::{
    AllocationId, ApprovalId, AssessmentId, BankAccountId, BankLineId, BankMatchId,
    BankStatementId, CaseId, ClientId, CompanyId, ContactId, DeductionId, DisputeId, DocumentId,
    DoubtfulFileId, DraftId, DunningActionId, DunningRunId, DunningScenarioId, EntryId, ErasureId,
    FileId, Id, InvitationId, ItemId, LetterTemplateId, MailId, MatchingId, NoteId, OperationId,
    PaymentId, PlanId, PolicyId, PromiseId, ProvisionRunId, RectifiedInvoiceId, RemittanceId,
    ServiceAccountId, TaskId, UserId, WebhookId,
};

/// Who works when nobody asks: as the authors of records.
pub const SERVERS: &[&str] = &["encours", "scheduler"];

codes! {
    /// What stands behind an entry of the trail.
    ActorKind {
        /// A person, by a log-in, an identity provider or a printed token of theirs.
        Person = "PERSON",
        /// A service account, by its key.
        ServiceAccount = "SERVICE_ACCOUNT",
        /// A token that was printed for a script.
        Script = "SCRIPT",
        /// The server, by itself.
        Server = "SERVER",
        /// Whoever has the database itself: the command line, or a hand in the tables.
        Operator = "OPERATOR",
    }
}

impl ActorKind {
    /// What a caller is. An author that is an e-mail address is a person, whoever vouches for it.
    pub fn of(caller: &Caller) -> ActorKind {
        if caller.is_service() && caller.user.is_none() && !caller.author.contains('@') {
            ActorKind::ServiceAccount
        } else if caller.user.is_some() || caller.author.contains('@') {
            ActorKind::Person
        } else if SERVERS.contains(&caller.author.as_str()) {
            ActorKind::Server
        } else {
            ActorKind::Script
        }
    }
}

codes! {
    /// Something that an entry of the trail tells. The first three are of records, by the database itself.
    Event {
        /// A record was added.
        Created = "CREATED",
        /// Columns of a record changed.
        Changed = "CHANGED",
        /// A record is gone.
        Deleted = "DELETED",
        /// Data left in a file: FEC, letter, evidence, attachment, audit trail.
        Exported = "EXPORTED",
        /// A file was taken in.
        Imported = "IMPORTED",
        /// Records were read: by an auditor, or personal data of many at once.
        Read = "READ",
        /// A person logged in.
        LoggedIn = "LOGGED_IN",
        /// A password was wrong.
        LogInRefused = "LOG_IN_REFUSED",
        /// Too many wrong passwords: further ones are not looked at for a while.
        LockedOut = "LOCKED_OUT",
        /// A log-in was ended by its person.
        LoggedOut = "LOGGED_OUT",
        /// A person came from another company.
        Switched = "SWITCHED",
        /// A refresh token came a second time: its log-in was ended.
        TokenReused = "TOKEN_REUSED",
        /// A person set another password.
        PasswordChanged = "PASSWORD_CHANGED",
        /// A key of a service account opened nothing: wrong, expired or revoked.
        KeyRefused = "KEY_REFUSED",
    }
}

/// Where a request comes from, and what it asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Origin {
    /// The id of the request, as the answer and the log have it.
    pub request: Option<String>,
    /// The network address.
    pub address: Option<String>,
    /// The root field or the route.
    pub operation: Option<String>,
}

impl Origin {
    /// The same request, doing this.
    #[must_use]
    pub fn doing(&self, operation: &str) -> Origin {
        Origin {
            operation: Some(operation.to_owned()),
            ..self.clone()
        }
    }
}

/// The types of records that have an id in the API, and its mark.
const PREFIXES: &[(&str, &str)] = &[
    ("COMPANY", CompanyId::PREFIX),
    ("MEMBER", UserId::PREFIX),
    ("PERSON", UserId::PREFIX),
    ("INVITATION", InvitationId::PREFIX),
    ("SERVICE_ACCOUNT", ServiceAccountId::PREFIX),
    ("CLIENT", ClientId::PREFIX),
    ("CONTACT", ContactId::PREFIX),
    ("BANK_ACCOUNT", BankAccountId::PREFIX),
    ("INVOICE_DRAFT", DraftId::PREFIX),
    ("WEBHOOK", WebhookId::PREFIX),
    ("DOCUMENT", DocumentId::PREFIX),
    ("PAYMENT", PaymentId::PREFIX),
    ("ITEM", ItemId::PREFIX),
    ("ALLOCATION", AllocationId::PREFIX),
    ("MATCHING", MatchingId::PREFIX),
    ("OPERATION", OperationId::PREFIX),
    ("REMITTANCE", RemittanceId::PREFIX),
    ("APPROVAL_REQUESTS", ApprovalId::PREFIX),
    ("DEDUCTION", DeductionId::PREFIX),
    ("DISPUTE", DisputeId::PREFIX),
    ("DOUBTFUL_FILE", DoubtfulFileId::PREFIX),
    ("RECTIFIED_INVOICE", RectifiedInvoiceId::PREFIX),
    ("PROVISION_POLICY", PolicyId::PREFIX),
    ("PROVISION_ASSESSMENT", AssessmentId::PREFIX),
    ("PROVISION_RUN", ProvisionRunId::PREFIX),
    ("BANK_STATEMENT", BankStatementId::PREFIX),
    ("BANK_LINE", BankLineId::PREFIX),
    ("BANK_MATCH", BankMatchId::PREFIX),
    ("JOURNAL_ENTRY", EntryId::PREFIX),
    ("DUNNING_SCENARIO", DunningScenarioId::PREFIX),
    ("DUNNING_RUN", DunningRunId::PREFIX),
    ("DUNNING_ACTION", DunningActionId::PREFIX),
    ("PROMISE", PromiseId::PREFIX),
    ("PAYMENT_PLAN", PlanId::PREFIX),
    ("COLLECTION_NOTE", NoteId::PREFIX),
    ("LITIGATION_CASE", CaseId::PREFIX),
    ("FILE", FileId::PREFIX),
    ("LETTER_TEMPLATE", LetterTemplateId::PREFIX),
    ("TASK", TaskId::PREFIX),
    ("MAIL", MailId::PREFIX),
    ("ERASURE", ErasureId::PREFIX),
];

/// The id of a record as the API shows it: typed when the API knows the type, else the key as it is.
pub fn shown(record_type: &str, key: &str) -> String {
    let prefix = PREFIXES.iter().find(|(name, _)| *name == record_type);
    // Some records have another record's key: those of a membership are two.
    let id = key
        .rsplit('/')
        .next()
        .and_then(|id| Uuid::try_parse(id).ok());
    match (prefix, id) {
        (Some((_, prefix)), Some(id)) => format!("{prefix}_{}", id.simple()),
        _ => key.to_owned(),
    }
}

/// The key that an id of the API means on the trail.
pub fn key(shown: &str) -> String {
    let id = shown
        .split_once('_')
        .filter(|(prefix, _)| PREFIXES.iter().any(|(_, known)| known == prefix))
        .and_then(|(_, hex)| Uuid::try_parse(hex).ok());
    id.map_or_else(|| shown.to_owned(), |id| id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_found_by_the_id_that_is_shown() {
        let id = ClientId::new();
        let raw = id.0.to_string();
        assert_eq!(shown("CLIENT", &raw), id.show());
        assert_eq!(key(&id.show()), raw);
        // What has no typed id keeps its key, both ways.
        for (record_type, other) in [
            ("DISPUTE_REASON", "PRIX"),
            ("IMPORT", "ab_12/FEC"),
            ("NEWER", raw.as_str()),
        ] {
            assert_eq!(shown(record_type, other), other);
            assert_eq!(key(other), other);
        }
    }

    #[test]
    fn an_author_with_an_address_is_a_person() {
        let caller = |author: &str, service| Caller {
            company: CompanyId(Uuid::nil()),
            user: None,
            author: author.into(),
            role: super::super::access::Role::Admin,
            scopes: service,
            approval: None,
            today: chrono::NaiveDate::default(),
        };
        for (author, service, kind) in [
            ("a@example.com", None, ActorKind::Person),
            ("a@example.com", Some(Vec::new()), ActorKind::Person),
            (
                "service account Shop",
                Some(Vec::new()),
                ActorKind::ServiceAccount,
            ),
            ("scheduler", None, ActorKind::Server),
            ("script", None, ActorKind::Script),
        ] {
            assert_eq!(ActorKind::of(&caller(author, service)), kind, "{author}");
        }
    }
}
