//! Disputes (litiges) and customer deductions.

mod act;

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::client::{Client, client_filter_id, code_enum};
use super::company::{DisputeReason, User};
use super::document::{CreditNote, Invoice, OrderDirection, maybe, one};
use super::journal::{Entry, entries};
use super::loaders::{DisputesOfDeduction, EventsOfDispute, ItemsOf, ReasonCode};
use super::page::{self, Asked, Connection, Window, listed, single};
use super::scalars::{ClientRef, Date, Decimal, Instant, money, read, show, two_ways};
use super::text::told;
use super::{Permitted, session};
use crate::domain::ids::{DeductionId, DisputeId};
use crate::error::Result;
use crate::service::reference;
use crate::store::list::{Direction, Sort};
use crate::store::{self};

pub use act::{DisputeMutation, resolve_deduction, resolve_dispute};

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

listed!(store::dispute::Dispute => Dispute of |dispute| Some(dispute.client_id));

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

told! {
    Dispute {
        id, number, kind, status, outcome, amount, accepted_amount as "acceptedAmount", currency, description,
        blocks_dunning as "blocksDunning", department, opened_on as "openedOn",
    }
    Deduction { id, number, status, amount, currency, description, recorded_on as "recordedOn" }
}

listed!(store::dispute::Deduction => Deduction of |deduction| Some(deduction.client_id));

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
        single(ctx, move |conn, caller| {
            reference::dispute(conn, caller, "ref", &target)
        })
        .await
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
        single(ctx, move |conn, caller| {
            reference::deduction(conn, caller, "ref", &target)
        })
        .await
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
