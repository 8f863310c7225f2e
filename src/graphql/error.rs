//! From the one error to GraphQL: the only place that gives top-level errors their code.

use async_graphql::{Enum, ErrorExtensions, SimpleObject};

use super::scalars::JsonObject;
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::Error;

impl From<Error> for async_graphql::Error {
    fn from(error: Error) -> Self {
        let (code, message) = match &error {
            Error::Refused(refusals) => (
                "BAD_USER_INPUT",
                refusals
                    .iter()
                    .map(|r| r.message.clone())
                    .collect::<Vec<_>>()
                    .join("; "),
            ),
            Error::BadInput { message, .. } => ("BAD_USER_INPUT", message.clone()),
            Error::Unauthenticated => ("UNAUTHENTICATED", error.to_string()),
            Error::Forbidden(_) => ("FORBIDDEN", error.to_string()),
            Error::Unavailable(cause) => {
                tracing::warn!(cause, "unavailable");
                ("UNAVAILABLE", Error::advice(cause).to_owned())
            }
            Error::Timeout => ("TIMEOUT", error.to_string()),
            Error::TooSlow { .. } => ("TOO_SLOW", error.to_string()),
            Error::Validated | Error::Database(_) | Error::Internal(_) => {
                tracing::error!(%error, "internal error");
                ("INTERNAL_SERVER_ERROR", "internal error".to_owned())
            }
        };
        async_graphql::Error::new(message).extend_with(|_, extensions| {
            extensions.set("code", code);
            match &error {
                Error::BadInput { field, .. } => extensions.set("field", *field),
                Error::TooSlow { after } => extensions.set("after", after.as_str()),
                Error::Forbidden(Some(action)) => extensions.set("permission", action.code()),
                Error::Refused(refusals) => {
                    if let Some(refusal) = refusals.first() {
                        extensions.set("field", refusal.field.join("."));
                        extensions.set("refusal", refusal.code.code());
                    }
                }
                _ => {}
            }
        })
    }
}

/// Why a mutation was refused. A code has one meaning, for ever.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "RefusalCode")]
pub enum UserErrorCode {
    /// The target does not exist for this caller.
    NotFound,
    /// A value is not acceptable: `field` says which.
    Invalid,
    /// The number or reference is taken.
    Duplicate,
    /// The idempotency key was used for another request.
    IdempotencyKeyReused,
    /// Somebody changed the record meanwhile: read it again.
    Conflict,
    /// The day is on or before the last closed day (R2.2).
    PeriodClosed,
    /// The day is after the current financial year.
    FuturePeriod,
    /// Payment terms above the legal ceiling (R6.2).
    TermsUnlawful,
    /// A mandatory mention is missing (R6.14).
    MentionMissing,
    /// More than what is open on one side (R3.4).
    OverAllocation,
    /// Items of two clients, currencies or account families (R3.1).
    AllocationMismatch,
    /// Two currencies where one is needed.
    CurrencyMismatch,
    /// Credit notes would exceed the invoice, in total or at one VAT rate (R2.5).
    CreditExceedsInvoice,
    /// More disputed than open (R8.1).
    DisputeExceedsOpen,
    /// The record's state does not allow this step (section 8.2).
    WrongState,
    /// The same person may not take both steps (R8.2, R12.1).
    SecondPersonRequired,
    /// A document that proves it is missing (R5.3).
    EvidenceRequired,
    /// A second person has to approve it (section 12). `details.approvalRequestId` names the request that waits for
    /// it: nothing else was written. Without it nothing waits: the message says what to do.
    ApprovalRequired,
    /// No reminder is due to this client: `details.reason` says why (R7.2).
    NotChaseable,
    /// The account is not in the chart of the financial year (R1.2), or was closed.
    AccountNotInChart,
    /// The file is not what it says, or breaks off: `details` says where.
    FileInvalid,
    /// A bank statement is missing before this one.
    StatementGap,
    /// The caller's role does not allow this part of the request.
    Forbidden,
}

/// One reason why a mutation was refused. Nothing was written, but for a request for approval that `details` name.
#[derive(SimpleObject, Clone)]
pub struct UserError {
    /// The stable code to act on.
    code: UserErrorCode,
    /// Path of the offending input below `input`, such as `["lines", "0", "amount"]`; empty for the request as a whole.
    field: Vec<String>,
    /// What is wrong and what to do about it, in English.
    message: String,
    /// Facts that correct it, such as `{"open": "70.00"}`; null when there are none.
    details: Option<JsonObject>,
}

impl From<Refusal> for UserError {
    fn from(refusal: Refusal) -> Self {
        let details = (!refusal.details.is_empty())
            .then(|| JsonObject(serde_json::Value::Object(refusal.details)));
        UserError {
            code: refusal.code.into(),
            field: refusal.field,
            message: refusal.message,
            details,
        }
    }
}
