//! What opens, answers and resolves disputes, and records deductions.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::{
    Deduction, DeductionRef, Dispute, DisputeKind, DisputeOutcome, DisputeRef, DisputeStatus,
};
use crate::domain::access::Caller;
use crate::domain::ids::{DeductionId, DisputeId, DocumentId};
use crate::error::Result;
use crate::graphql::Permitted;
use crate::graphql::document::{CreditNote, one};
use crate::graphql::error::UserError;
use crate::graphql::mutation::{Done, How, mutate};
use crate::graphql::scalars::{CreditNoteRef, Date, Decimal, InvoiceRef, on, read};
use crate::service::dispute::{self, DeductionInput, DisputeInput, Resolution};
use crate::store::Conn;

/// A dispute to open.
#[derive(InputObject, Clone, Debug)]
struct OpenDisputeInput {
    /// The invoice.
    invoice: InvoiceRef,
    /// The reason's own kind when absent.
    kind: Option<DisputeKind>,
    /// Code of the reason, such as BLIV: see `disputeReasons`.
    reason: String,
    /// The gross amount in dispute; everything open and not in dispute when absent.
    amount: Option<Decimal>,
    /// The day; today when absent.
    opened_on: Option<Date>,
    /// The deadline to answer; the company's setting when absent.
    respond_by: Option<Date>,
    /// Who answers it.
    owner: Option<ID>,
    /// What the client says.
    #[graphql(default)]
    description: String,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// What to change of an open dispute; what is absent stays.
#[derive(InputObject, Clone, Debug)]
struct UpdateDisputeInput {
    /// The dispute.
    dispute: DisputeRef,
    /// Who answers it.
    owner: Option<ID>,
    /// The deadline to answer.
    respond_by: Option<Date>,
    /// UNDER_REVIEW or ESCALATED; decisions go through `resolveDispute`.
    status: Option<DisputeStatus>,
    /// A note on the change.
    note: Option<String>,
}

/// A note on a dispute.
#[derive(InputObject, Clone, Debug)]
struct AddDisputeNoteInput {
    /// The dispute.
    dispute: DisputeRef,
    /// What is to be kept.
    note: String,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// What happened to a dispute.
#[derive(SimpleObject)]
struct DisputePayload {
    /// The dispute as it is now; null when refused.
    dispute: Option<Dispute>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// The decision on a dispute.
#[derive(InputObject, Clone, Debug)]
pub struct ResolveDisputeInput {
    /// The dispute.
    dispute: DisputeRef,
    /// The decision.
    outcome: DisputeOutcome,
    /// Needed for PARTLY_ACCEPTED: the gross amount that is credited.
    accepted_amount: Option<Decimal>,
    /// The credit note that settles it, when there is one already; else one is issued and matched.
    credit_note: Option<CreditNoteRef>,
    /// The number of the credit note to issue, when another system numbers.
    credit_note_number: Option<String>,
    /// The day; today when absent.
    closed_on: Option<Date>,
    /// Why it was decided so.
    note: Option<String>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// What `resolveDispute` did.
#[derive(SimpleObject)]
struct ResolveDisputePayload {
    /// The dispute as it is now; null when refused. Without the right to credit it stays decided, not closed.
    dispute: Option<Dispute>,
    /// The credit note that settled it; null when none was needed yet.
    credit_note: Option<CreditNote>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// A deduction to record.
#[derive(InputObject, Clone, Debug)]
struct RecordDeductionInput {
    /// The invoice that was paid short.
    invoice: InvoiceRef,
    /// The gross amount withheld; everything the invoice has open when absent.
    amount: Option<Decimal>,
    /// Code of the reason, such as BMAN: see `disputeReasons`.
    reason: String,
    /// The day; today when absent.
    recorded_on: Option<Date>,
    /// Who answers the dispute that it opens.
    owner: Option<ID>,
    /// What the client says.
    #[graphql(default)]
    description: String,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// What `recordDeduction` did.
#[derive(SimpleObject)]
struct RecordDeductionPayload {
    /// The deduction; null when refused.
    deduction: Option<Deduction>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// The decision on a deduction.
#[derive(InputObject, Clone, Debug)]
pub struct ResolveDeductionInput {
    /// The deduction.
    deduction: DeductionRef,
    /// ACCEPTED, PARTLY_ACCEPTED or REJECTED.
    outcome: DisputeOutcome,
    /// Needed for PARTLY_ACCEPTED: the gross amount that is credited.
    accepted_amount: Option<Decimal>,
    /// The credit note that settles it, when there is one already; else one is issued and matched.
    credit_note: Option<CreditNoteRef>,
    /// The number of the credit note to issue, when another system numbers.
    credit_note_number: Option<String>,
    /// The day; today when absent.
    closed_on: Option<Date>,
    /// Why it was decided so.
    note: Option<String>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// What `resolveDeduction` did.
#[derive(SimpleObject)]
struct ResolveDeductionPayload {
    /// The deduction as it is now; null when refused.
    deduction: Option<Deduction>,
    /// The credit note that settled it; null when rejected, or not issued yet.
    credit_note: Option<CreditNote>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

async fn credit_note(ctx: &Context<'_>, id: Option<DocumentId>) -> Result<Option<CreditNote>> {
    match id {
        Some(id) => Ok(Some(CreditNote(one(ctx, id).await?))),
        None => Ok(None),
    }
}

async fn payload(ctx: &Context<'_>, done: Done<DisputeId>) -> Result<DisputePayload> {
    let dispute = match done.made {
        Some(id) => Some(Dispute(one(ctx, id).await?)),
        None => None,
    };
    Ok(DisputePayload {
        dispute,
        user_errors: done.user_errors,
    })
}

/// Resolves a dispute as the input says.
pub fn resolve_dispute(
    conn: &mut Conn,
    caller: &Caller,
    input: ResolveDisputeInput,
) -> Result<(DisputeId, Option<DocumentId>)> {
    let resolution = Resolution {
        outcome: input.outcome.code(),
        accepted_amount: input.accepted_amount.map(|amount| amount.0),
        credit_note: input.credit_note.map(Into::into),
        credit_note_number: input.credit_note_number,
        closed_on: on(input.closed_on),
        note: input.note,
    };
    let resolved = dispute::resolve(conn, caller, &input.dispute.into(), &resolution)?;
    Ok((resolved.dispute, resolved.credit_note))
}

/// Resolves a deduction as the input says.
pub fn resolve_deduction(
    conn: &mut Conn,
    caller: &Caller,
    input: ResolveDeductionInput,
) -> Result<(DeductionId, Option<DocumentId>)> {
    let resolution = Resolution {
        outcome: input.outcome.code(),
        accepted_amount: input.accepted_amount.map(|amount| amount.0),
        credit_note: input.credit_note.map(Into::into),
        credit_note_number: input.credit_note_number,
        closed_on: on(input.closed_on),
        note: input.note,
    };
    dispute::resolve_deduction(conn, caller, &input.deduction.into(), &resolution)
}

/// Disputes and deductions.
#[derive(Default)]
pub struct DisputeMutation;

#[Object]
impl DisputeMutation {
    /// Opens a dispute on all or part of what an invoice has open; that part is not chased meanwhile.
    #[graphql(guard = "Permitted(\"Mutation.openDispute\")")]
    async fn open_dispute(
        &self,
        ctx: &Context<'_>,
        input: OpenDisputeInput,
    ) -> Result<DisputePayload> {
        let how = How {
            idempotency_key: input.idempotency_key.clone(),
            validate_only: input.validate_only,
            ..How::default()
        };
        let done = mutate(ctx, how, move |conn, caller| {
            let input = input.clone();
            let dispute = DisputeInput {
                invoice: input.invoice.into(),
                kind: input.kind.map(DisputeKind::code),
                reason: input.reason,
                amount: input.amount.map(|amount| amount.0),
                opened_on: on(input.opened_on),
                respond_by: on(input.respond_by),
                owner: input
                    .owner
                    .map(|id| read("owner", "member", &id))
                    .transpose()?,
                description: input.description,
                reopens: None,
            };
            dispute::open(conn, caller, &dispute)
        })
        .await?;
        payload(ctx, done).await
    }

    /// Changes who answers a dispute or until when, or takes it under review.
    #[graphql(guard = "Permitted(\"Mutation.updateDispute\")")]
    async fn update_dispute(
        &self,
        ctx: &Context<'_>,
        input: UpdateDisputeInput,
    ) -> Result<DisputePayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            use crate::domain::refusal::Refusal;
            if !matches!(
                input.status,
                None | Some(DisputeStatus::UnderReview | DisputeStatus::Escalated)
            ) {
                return Err(Refusal::invalid(
                    "status",
                    "only UNDER_REVIEW or ESCALATED: decisions go through resolveDispute",
                )
                .into());
            }
            let owner = input
                .owner
                .as_ref()
                .map(|id| read("owner", "member", id))
                .transpose()?;
            let status = input.status.map(DisputeStatus::code);
            dispute::update(
                conn,
                caller,
                &input.dispute.clone().into(),
                owner,
                on(input.respond_by),
                status,
                input.note.as_deref(),
            )
        })
        .await?;
        payload(ctx, done).await
    }

    /// Writes a note on a dispute.
    #[graphql(guard = "Permitted(\"Mutation.addDisputeNote\")")]
    async fn add_dispute_note(
        &self,
        ctx: &Context<'_>,
        input: AddDisputeNoteInput,
    ) -> Result<DisputePayload> {
        let how = How {
            idempotency_key: input.idempotency_key.clone(),
            validate_only: false,
            ..How::default()
        };
        let done = mutate(ctx, how, move |conn, caller| {
            dispute::add_note(conn, caller, &input.dispute.clone().into(), &input.note)
        })
        .await?;
        payload(ctx, done).await
    }

    /// Decides a dispute and closes it. Sales decide, accounting credits and closes; with segregation of
    /// duties nobody does both (R8.2): the first call records the decision, the second closes.
    #[graphql(guard = "Permitted(\"Mutation.resolveDispute\")")]
    async fn resolve_dispute(
        &self,
        ctx: &Context<'_>,
        input: ResolveDisputeInput,
    ) -> Result<ResolveDisputePayload> {
        let how = How {
            idempotency_key: input.idempotency_key.clone(),
            validate_only: input.validate_only,
            reason: input.note.clone(),
            ..How::default()
        };
        let done = mutate(ctx, how, move |conn, caller| {
            resolve_dispute(conn, caller, input.clone())
        })
        .await?;
        let Some((id, note)) = done.made else {
            return Ok(ResolveDisputePayload {
                dispute: None,
                credit_note: None,
                user_errors: done.user_errors,
            });
        };
        Ok(ResolveDisputePayload {
            dispute: Some(Dispute(one(ctx, id).await?)),
            credit_note: credit_note(ctx, note).await?,
            user_errors: done.user_errors,
        })
    }

    /// Records a short payment as a deduction (R2.7, R2.8): one entry with two legs closes the invoice and
    /// opens the disputed item with the same due date, and opens the dispute.
    #[graphql(guard = "Permitted(\"Mutation.recordDeduction\")")]
    async fn record_deduction(
        &self,
        ctx: &Context<'_>,
        input: RecordDeductionInput,
    ) -> Result<RecordDeductionPayload> {
        let how = How {
            idempotency_key: input.idempotency_key.clone(),
            validate_only: input.validate_only,
            ..How::default()
        };
        let done = mutate(ctx, how, move |conn, caller| {
            let input = input.clone();
            let deduction = DeductionInput {
                invoice: input.invoice.into(),
                amount: input.amount.map(|amount| amount.0),
                reason: input.reason,
                recorded_on: on(input.recorded_on),
                owner: input
                    .owner
                    .map(|id| read("owner", "member", &id))
                    .transpose()?,
                description: input.description,
            };
            dispute::deduct(conn, caller, &deduction)
        })
        .await?;
        let deduction = match done.made {
            Some(id) => Some(Deduction(one(ctx, id).await?)),
            None => None,
        };
        Ok(RecordDeductionPayload {
            deduction,
            user_errors: done.user_errors,
        })
    }

    /// Ends a deduction: accepted (credit note matched with it), partly, or rejected and chased again.
    #[graphql(guard = "Permitted(\"Mutation.resolveDeduction\")")]
    async fn resolve_deduction(
        &self,
        ctx: &Context<'_>,
        input: ResolveDeductionInput,
    ) -> Result<ResolveDeductionPayload> {
        let how = How {
            idempotency_key: input.idempotency_key.clone(),
            validate_only: input.validate_only,
            reason: input.note.clone(),
            ..How::default()
        };
        let done = mutate(ctx, how, move |conn, caller| {
            resolve_deduction(conn, caller, input.clone())
        })
        .await?;
        let Some((id, note)) = done.made else {
            return Ok(ResolveDeductionPayload {
                deduction: None,
                credit_note: None,
                user_errors: done.user_errors,
            });
        };
        Ok(ResolveDeductionPayload {
            deduction: Some(Deduction(one(ctx, id).await?)),
            credit_note: credit_note(ctx, note).await?,
            user_errors: done.user_errors,
        })
    }
}
