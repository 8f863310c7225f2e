//! Disputes (litiges) and customer deductions.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use uuid::Uuid;

use super::client::{Client, client_filter_id, code_enum};
use super::company::{DisputeReason, User};
use super::document::{CreditNote, Invoice, OrderDirection, found, maybe, one};
use super::error::UserError;
use super::journal::{Entry, entries};
use super::loaders::{DisputesOfDeduction, EventsOfDispute, ItemsOf, ReasonCode};
use super::mutation::{How, mutate};
use super::page::{self, Asked, Connection, Listed, Window};
use super::scalars::{
    ClientRef, CreditNoteRef, Date, Decimal, Instant, InvoiceRef, money, read, show, two_ways,
};
use super::{Permitted, session};
use crate::domain::access::Caller;
use crate::domain::ids::{DeductionId, DisputeId, DocumentId};
use crate::error::Result;
use crate::service::dispute::{self, DeductionInput, DisputeInput, Resolution};
use crate::service::reference;
use crate::store::list::{Direction, Sort};
use crate::store::{self, Conn};

code_enum! {
    /// What a dispute is about.
    DisputeKind {
        /// Litige commercial: goods, service or price; may end with a credit note.
        Commercial = "COMMERCIAL",
        /// Papers are missing or wrong.
        Administrative = "ADMINISTRATIVE",
        /// A clause of the contract, such as retention money.
        Contractual = "CONTRACTUAL",
        /// Litige financier: the client does not or cannot pay.
        Financial = "FINANCIAL",
        /// Assigned to a factor.
        Assigned = "ASSIGNED",
    }
}

code_enum! {
    /// Where a dispute stands (section 8.2).
    DisputeStatus {
        /// Opened, nobody looked into it.
        Open = "OPEN",
        /// Somebody looks into it.
        UnderReview = "UNDER_REVIEW",
        /// The client is right; the credit note is to come.
        Accepted = "ACCEPTED",
        /// The client is right in part; the credit note is to come.
        PartlyAccepted = "PARTLY_ACCEPTED",
        /// The client is wrong.
        Rejected = "REJECTED",
        /// The paper that was missing was sent.
        DocumentSent = "DOCUMENT_SENT",
        /// Credited, to be closed.
        CreditNoteIssued = "CREDIT_NOTE_ISSUED",
        /// Closed for good.
        Closed = "CLOSED",
        /// Withdrawn: the client pays.
        Withdrawn = "WITHDRAWN",
        /// In litigation.
        Escalated = "ESCALATED",
    }
}

code_enum! {
    /// How a dispute or deduction ends.
    DisputeOutcome {
        /// The client is right: credited.
        Accepted = "ACCEPTED",
        /// The client is right in part.
        PartlyAccepted = "PARTLY_ACCEPTED",
        /// The client is wrong: chased again with the original due date.
        Rejected = "REJECTED",
        /// The missing paper was sent.
        DocumentSent = "DOCUMENT_SENT",
        /// The client withdraws and pays.
        Withdrawn = "WITHDRAWN",
    }
}

code_enum! {
    /// Where a deduction stands.
    DeductionStatus {
        /// In dispute.
        Open = "OPEN",
        /// Credited whole.
        Accepted = "ACCEPTED",
        /// Credited in part; the rest is chased.
        PartlyAccepted = "PARTLY_ACCEPTED",
        /// Chased again.
        Rejected = "REJECTED",
    }
}

/// A change of state of a dispute, or a note on it.
#[derive(SimpleObject)]
struct DisputeEvent {
    /// The new state; null for a note.
    status: Option<DisputeStatus>,
    /// What was said.
    note: String,
    /// The day it counts for.
    happened_on: Date,
    /// When it was recorded.
    recorded_at: Instant,
    /// Who recorded it.
    recorded_by: String,
}

/// A dispute about all or part of an invoice (litige). Its amount is gross.
#[derive(Clone)]
pub struct Dispute(pub store::dispute::Dispute);

impl Listed for store::dispute::Dispute {
    type View = Dispute;
    fn id(&self) -> Uuid {
        self.id.0
    }
    fn view(self) -> Dispute {
        Dispute(self)
    }
}

async fn reason(ctx: &Context<'_>, code: &str) -> Result<DisputeReason> {
    one(ctx, ReasonCode(code.to_owned()))
        .await
        .and_then(DisputeReason::of)
}

/// A dispute (litige).
#[Object]
impl Dispute {
    /// The opaque id.
    pub async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// The dispute's number (numéro d'avis de litige).
    async fn number(&self) -> &str {
        &self.0.number
    }
    /// What it is about.
    async fn kind(&self) -> Result<DisputeKind> {
        DisputeKind::of(&self.0.kind)
    }
    /// Where it stands.
    async fn status(&self) -> Result<DisputeStatus> {
        DisputeStatus::of(&self.0.status)
    }
    /// How it was decided; null before.
    async fn outcome(&self) -> Result<Option<DisputeOutcome>> {
        self.0
            .outcome
            .as_deref()
            .map(DisputeOutcome::of)
            .transpose()
    }
    /// The amount in dispute (TTC), positive.
    async fn amount(&self) -> Decimal {
        money(self.0.amount, &self.0.currency)
    }
    /// The part that was accepted; null while undecided or when none was.
    async fn accepted_amount(&self) -> Option<Decimal> {
        self.0
            .accepted_amount
            .map(|amount| money(amount, &self.0.currency))
    }
    /// The currency of the amounts.
    async fn currency(&self) -> &str {
        &self.0.currency
    }
    /// The reason (code de blocage).
    async fn reason(&self, ctx: &Context<'_>) -> Result<DisputeReason> {
        reason(ctx, &self.0.reason).await
    }
    /// The invoice.
    async fn invoice(&self, ctx: &Context<'_>) -> Result<Invoice> {
        Ok(Invoice(one(ctx, self.0.invoice_id).await?))
    }
    /// The client.
    async fn client(&self, ctx: &Context<'_>) -> Result<Client> {
        Ok(Client(one(ctx, self.0.client_id).await?))
    }
    /// The deduction that opened it; null when none did.
    async fn deduction(&self, ctx: &Context<'_>) -> Result<Option<Deduction>> {
        match self.0.deduction_id {
            Some(id) => Ok(Some(Deduction(one(ctx, id).await?))),
            None => Ok(None),
        }
    }
    /// The credit note that settled it; null when none did.
    async fn credit_note(&self, ctx: &Context<'_>) -> Result<Option<CreditNote>> {
        match self.0.credit_note_id {
            Some(id) => Ok(Some(CreditNote(one(ctx, id).await?))),
            None => Ok(None),
        }
    }
    /// What the client says.
    async fn description(&self) -> &str {
        &self.0.description
    }
    /// Whether reminders leave the disputed part out while it is open.
    async fn blocks_dunning(&self) -> bool {
        self.0.blocks_dunning && self.0.closed_on.is_none()
    }
    /// Who answers it; null when nobody was named.
    async fn owner(&self, ctx: &Context<'_>) -> Result<Option<User>> {
        match self.0.owner_id {
            Some(id) => Ok(maybe(ctx, id)
                .await?
                .map(|user: store::member::User| User::of(user.id, user.name))),
            None => Ok(None),
        }
    }
    /// The department that answers it.
    async fn department(&self) -> &str {
        &self.0.department
    }
    /// The day it was opened.
    async fn opened_on(&self) -> Date {
        self.0.opened_on.into()
    }
    /// The deadline to answer (R8.4).
    async fn respond_by(&self) -> Date {
        self.0.respond_by.into()
    }
    /// The day it was closed; null while open.
    async fn closed_on(&self) -> Option<Date> {
        self.0.closed_on.map(Into::into)
    }
    /// The id of the dispute that it takes up again; null when it takes up none.
    async fn reopens(&self) -> Option<ID> {
        super::dispute_desk::reopened(self.0.reopens_id)
    }
    /// What is attached to it: the notice that the department got, the client's message, delivery notes.
    async fn files(&self, ctx: &Context<'_>) -> Result<Vec<super::file::AttachedFile>> {
        super::file::files_of(ctx, self.0.id.0).await
    }
    /// Its states and notes, oldest first.
    async fn events(&self, ctx: &Context<'_>) -> Result<Vec<DisputeEvent>> {
        let rows = maybe(ctx, EventsOfDispute(self.0.id))
            .await?
            .unwrap_or_default();
        rows.into_iter()
            .map(|row| {
                Ok(DisputeEvent {
                    status: row.status.as_deref().map(DisputeStatus::of).transpose()?,
                    note: row.note,
                    happened_on: row.happened_on.into(),
                    recorded_at: row.recorded_at.into(),
                    recorded_by: row.recorded_by,
                })
            })
            .collect()
    }
}

/// A deduction that a client took from a payment (déduction litige). Its amount is gross, positive.
#[derive(Clone)]
pub struct Deduction(pub store::dispute::Deduction);

impl Listed for store::dispute::Deduction {
    type View = Deduction;
    fn id(&self) -> Uuid {
        self.id.0
    }
    fn view(self) -> Deduction {
        Deduction(self)
    }
}

/// A customer's deduction (déduction litige).
#[Object]
impl Deduction {
    /// The opaque id.
    pub async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// The deduction's number, which its open item carries.
    async fn number(&self) -> &str {
        &self.0.number
    }
    /// Where it stands.
    async fn status(&self) -> Result<DeductionStatus> {
        DeductionStatus::of(&self.0.status)
    }
    /// The amount withheld (TTC).
    async fn amount(&self) -> Decimal {
        money(self.0.amount, &self.0.currency)
    }
    /// What of it is still open.
    async fn open(&self, ctx: &Context<'_>) -> Result<Decimal> {
        let items = maybe(ctx, ItemsOf(self.0.id.0)).await?.unwrap_or_default();
        Ok(money(
            items
                .iter()
                .filter(|item| item.is_debit)
                .map(|item| item.open_amount)
                .sum(),
            &self.0.currency,
        ))
    }
    /// The currency of the amounts.
    async fn currency(&self) -> &str {
        &self.0.currency
    }
    /// The reason (code de blocage).
    async fn reason(&self, ctx: &Context<'_>) -> Result<DisputeReason> {
        reason(ctx, &self.0.reason).await
    }
    /// The invoice it was taken on.
    async fn invoice(&self, ctx: &Context<'_>) -> Result<Invoice> {
        Ok(Invoice(one(ctx, self.0.invoice_id).await?))
    }
    /// The client.
    async fn client(&self, ctx: &Context<'_>) -> Result<Client> {
        Ok(Client(one(ctx, self.0.client_id).await?))
    }
    /// The dispute that decides it.
    async fn dispute(&self, ctx: &Context<'_>) -> Result<Option<Dispute>> {
        Ok(maybe(ctx, DisputesOfDeduction(self.0.id))
            .await?
            .unwrap_or_default()
            .pop()
            .map(Dispute))
    }
    /// What the client says.
    async fn description(&self) -> &str {
        &self.0.description
    }
    /// The day it was recorded.
    async fn recorded_on(&self) -> Date {
        self.0.recorded_on.into()
    }
    /// The journal entries behind it; null, with an error FORBIDDEN, when the role may not read the journal.
    #[graphql(guard = "Permitted(\"Deduction.entries\")")]
    async fn entries(&self, ctx: &Context<'_>) -> Result<Option<Vec<Entry>>> {
        entries(ctx, self.0.id.0).await.map(Some)
    }
}

/// Names a dispute: exactly one of its id or its number.
#[derive(async_graphql::OneofObject, Clone, Debug)]
pub enum DisputeRef {
    /// The opaque id.
    Id(ID),
    /// The dispute's number.
    Number(String),
}

/// Names a deduction: exactly one of its id or its number.
#[derive(async_graphql::OneofObject, Clone, Debug)]
enum DeductionRef {
    /// The opaque id.
    Id(ID),
    /// The deduction's number.
    Number(String),
}

two_ways!(DisputeRef);
two_ways!(DeductionRef);

/// Narrows disputes; all conditions hold at once.
#[derive(InputObject, Clone, Debug, Default)]
struct DisputeFilter {
    /// Of this client.
    client: Option<ClientRef>,
    /// With one of these reasons.
    reasons: Option<Vec<String>>,
    /// In one of these states.
    statuses: Option<Vec<DisputeStatus>>,
    /// Not settled, or settled.
    open: Option<bool>,
    /// Answered by this person.
    owner: Option<ID>,
    /// Not settled and past its deadline today.
    late: Option<bool>,
    /// Opened on or after this day.
    opened_from: Option<Date>,
    /// Opened on or before this day.
    opened_to: Option<Date>,
}

/// Narrows deductions; all conditions hold at once.
#[derive(InputObject, Clone, Debug, Default)]
struct DeductionFilter {
    /// Of this client.
    client: Option<ClientRef>,
    /// With one of these reasons.
    reasons: Option<Vec<String>>,
    /// In one of these states.
    statuses: Option<Vec<DeductionStatus>>,
    /// Recorded on or after this day.
    recorded_from: Option<Date>,
    /// Recorded on or before this day.
    recorded_to: Option<Date>,
}

/// Order of a list of disputes or deductions, by their day.
#[derive(InputObject, Clone, Copy, Debug)]
struct DisputeOrder {
    /// Which way.
    #[graphql(default)]
    direction: OrderDirection,
}

/// Disputes and deductions.
#[derive(Default)]
pub struct DisputeQuery;

#[Object]
impl DisputeQuery {
    /// A dispute; null when there is none for this caller.
    #[graphql(guard = "Permitted(\"Query.dispute\")")]
    async fn dispute(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "ref")] target: DisputeRef,
    ) -> Result<Option<Dispute>> {
        let target = target.into();
        found(
            session(ctx)?
                .read(move |conn, caller| reference::dispute(conn, caller, "ref", &target))
                .await,
        )
        .map(|it| it.map(Dispute))
    }

    /// Disputes, latest first unless ordered otherwise.
    #[graphql(guard = "Permitted(\"Query.disputes\")")]
    async fn disputes(
        &self,
        ctx: &Context<'_>,
        filter: Option<DisputeFilter>,
        order_by: Option<DisputeOrder>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<Dispute>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("disputes{filter:?}{order_by:?}"),
        )?;
        let input = filter.unwrap_or_default();
        let session = session(ctx)?;
        let filter = store::dispute::Filter {
            client: client_filter_id(ctx, input.client).await?,
            reasons: input.reasons.unwrap_or_default(),
            statuses: input
                .statuses
                .unwrap_or_default()
                .into_iter()
                .map(|status| status.code().to_owned())
                .collect(),
            open: input.open,
            owner: input
                .owner
                .map(|id| read("owner", "member", &id))
                .transpose()?,
            overdue_on: (input.late == Some(true)).then(|| session.caller().today),
            from: super::scalars::on(input.opened_from),
            to: super::scalars::on(input.opened_to),
        };
        let direction = order_by.map_or(Direction::Descending, |order| order.direction.into());
        let sort = Sort {
            column: "t.opened_on",
            sql_type: "date",
            direction,
        };
        page::list(
            session,
            store::dispute::from(session.caller().company, &filter),
            sort,
            asked,
            |conn, caller, ids| {
                Ok(store::dispute::by_ids(
                    conn,
                    caller.company,
                    &ids.iter().copied().map(DisputeId).collect::<Vec<_>>(),
                )?)
            },
        )
        .await
    }

    /// A deduction; null when there is none for this caller.
    #[graphql(guard = "Permitted(\"Query.deduction\")")]
    async fn deduction(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "ref")] target: DeductionRef,
    ) -> Result<Option<Deduction>> {
        let target = target.into();
        found(
            session(ctx)?
                .read(move |conn, caller| reference::deduction(conn, caller, "ref", &target))
                .await,
        )
        .map(|it| it.map(Deduction))
    }

    /// Deductions, latest first unless ordered otherwise.
    #[graphql(guard = "Permitted(\"Query.deductions\")")]
    async fn deductions(
        &self,
        ctx: &Context<'_>,
        filter: Option<DeductionFilter>,
        order_by: Option<DisputeOrder>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<Deduction>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("deductions{filter:?}{order_by:?}"),
        )?;
        let input = filter.unwrap_or_default();
        let session = session(ctx)?;
        let filter = store::dispute::Filter {
            client: client_filter_id(ctx, input.client).await?,
            reasons: input.reasons.unwrap_or_default(),
            statuses: input
                .statuses
                .unwrap_or_default()
                .into_iter()
                .map(|status| status.code().to_owned())
                .collect(),
            from: super::scalars::on(input.recorded_from),
            to: super::scalars::on(input.recorded_to),
            ..store::dispute::Filter::default()
        };
        let direction = order_by.map_or(Direction::Descending, |order| order.direction.into());
        let sort = Sort {
            column: "t.recorded_on",
            sql_type: "date",
            direction,
        };
        page::list(
            session,
            store::dispute::from_deductions(session.caller().company, &filter),
            sort,
            asked,
            |conn, caller, ids| {
                Ok(store::dispute::deductions_by_ids(
                    conn,
                    caller.company,
                    &ids.iter().copied().map(DeductionId).collect::<Vec<_>>(),
                )?)
            },
        )
        .await
    }
}

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

async fn payload(
    ctx: &Context<'_>,
    done: super::mutation::Done<DisputeId>,
) -> Result<DisputePayload> {
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
        closed_on: super::scalars::on(input.closed_on),
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
        closed_on: super::scalars::on(input.closed_on),
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
                opened_on: super::scalars::on(input.opened_on),
                respond_by: super::scalars::on(input.respond_by),
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
                super::scalars::on(input.respond_by),
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
                recorded_on: super::scalars::on(input.recorded_on),
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
