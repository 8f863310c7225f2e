//! Every reason a rule says no, with the code that clients rely on.

use serde_json::{Map, Value};

use super::access::codes;
use super::approval::Need;

codes! {
    /// Why a mutation was refused. A code has one meaning, for ever.
    RefusalCode {
        /// The target does not exist for this caller.
        NotFound = "NOT_FOUND",
        /// A value is not acceptable: `field` says which.
        Invalid = "INVALID",
        /// The number or reference is taken.
        Duplicate = "DUPLICATE",
        /// The idempotency key was used for another request.
        IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED",
        /// Somebody changed the record meanwhile: read it again.
        Conflict = "CONFLICT",
        /// The day is on or before the last closed day (R2.2).
        PeriodClosed = "PERIOD_CLOSED",
        /// The day is after the current financial year.
        FuturePeriod = "FUTURE_PERIOD",
        /// Payment terms above the legal ceiling (R6.2).
        TermsUnlawful = "TERMS_UNLAWFUL",
        /// A mandatory mention is missing (R6.14).
        MentionMissing = "MENTION_MISSING",
        /// More than what is open on one side (R3.4).
        OverAllocation = "OVER_ALLOCATION",
        /// Items of two clients, currencies or account families (R3.1).
        AllocationMismatch = "ALLOCATION_MISMATCH",
        /// Two currencies where one is needed.
        CurrencyMismatch = "CURRENCY_MISMATCH",
        /// Credit notes would exceed the invoice, in total or at one VAT rate (R2.5).
        CreditExceedsInvoice = "CREDIT_EXCEEDS_INVOICE",
        /// More disputed than open (R8.1).
        DisputeExceedsOpen = "DISPUTE_EXCEEDS_OPEN",
        /// The record's state does not allow this step (section 8.2).
        WrongState = "WRONG_STATE",
        /// The same person may not take both steps (R8.2, R12.1).
        SecondPersonRequired = "SECOND_PERSON_REQUIRED",
        /// A document that proves it is missing (R5.3).
        EvidenceRequired = "EVIDENCE_REQUIRED",
        /// A second person has to approve it (section 12): `details` names the request that waits for it.
        ApprovalRequired = "APPROVAL_REQUIRED",
        /// No reminder is due to this client (R7.2).
        NotChaseable = "NOT_CHASEABLE",
        /// The account is not in the chart of the financial year (R1.2), or was closed.
        AccountNotInChart = "ACCOUNT_NOT_IN_CHART",
        /// The file is not what it says, or breaks off: `details` says where.
        FileInvalid = "FILE_INVALID",
        /// A bank statement is missing before this one.
        StatementGap = "STATEMENT_GAP",
        /// The caller's role does not allow this part of the request.
        Forbidden = "FORBIDDEN",
    }
}

/// One reason to refuse a request: what, where in the input, and what to do.
#[derive(Clone, PartialEq, Debug)]
pub struct Refusal {
    /// The stable code.
    pub code: RefusalCode,
    /// Path of the offending input below `input`; empty when it is the request as a whole.
    pub field: Vec<String>,
    /// What is wrong and what to do about it.
    pub message: String,
    /// Facts that correct it, such as the amount still open.
    pub details: Map<String, Value>,
    /// What a second person has to approve, when that is the reason.
    pub need: Option<Box<Need>>,
}

impl Refusal {
    /// A refusal of the input at `field`, a path with dots: `lines.0.amount`.
    pub fn new(code: RefusalCode, field: &str, message: impl Into<String>) -> Refusal {
        let field = field
            .split('.')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect();
        Refusal {
            code,
            field,
            message: message.into(),
            details: Map::new(),
            need: None,
        }
    }

    /// A value that is not acceptable.
    pub fn invalid(field: &str, message: impl Into<String>) -> Refusal {
        Refusal::new(RefusalCode::Invalid, field, message)
    }

    /// A record that does not exist for this caller.
    pub fn not_found(field: &str, what: &str) -> Refusal {
        Refusal::new(
            RefusalCode::NotFound,
            field,
            format!(
                "there is no such {what} here, or none that you may see: check how it is named"
            ),
        )
    }

    /// Adds a fact that helps to correct the request.
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl Into<Value>) -> Refusal {
        self.details.insert(name.to_owned(), value.into());
        self
    }
}
