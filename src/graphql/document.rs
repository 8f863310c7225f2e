//! Invoices, credit notes and drafts.

use std::sync::Arc;

use async_graphql::{ComplexObject, Context, Enum, ID, InputObject, Object, SimpleObject};
use uuid::Uuid;

use super::below::nested;
use super::client::{Client, client_filter_id, code_enum};
use super::dispute::{Deduction, Dispute};
use super::error::UserError;
use super::journal::{Entry, entries};
use super::loaders::{ItemsOf, LinesOf, Loads, SnapshotOf, TaxesOf};
use super::matching::Allocation;
use super::mutation::{How, Row, in_bulk, mutate};
use super::page::{self, Asked, Connection, Listed, Window};
use super::scalars::{
    ClientRef, CreditNoteRef, Date, Decimal, Instant, InvoiceRef, JsonObject, money, rate, read,
    show,
};
use super::{Permitted, loader, session};
use crate::domain::access::Caller;
use crate::domain::ids::{DocumentId, DraftId, Id};
use crate::error::{Error, Result};
use crate::service::credit_note::CreditNoteInput;
use crate::service::invoice::{self, InstallmentInput, InvoiceInput, LineInput};
use crate::service::{self, reference};
use crate::store::list::{Direction, Sort};
use crate::store::nested::Nested;
use crate::store::{self, Conn, document};

/// An error that several fields share, as one of them shows it.
pub fn shared(error: Arc<Error>) -> Error {
    match Arc::try_unwrap(error) {
        Ok(error) => error,
        Err(error) => match &*error {
            Error::Unavailable(cause) => Error::Unavailable(cause.clone()),
            Error::Timeout => Error::Timeout,
            Error::Unauthenticated => Error::Unauthenticated,
            other => Error::Internal(other.to_string()),
        },
    }
}

/// A record by id through its loader; a foreign key says that it exists.
pub async fn one<K>(
    ctx: &Context<'_>,
    key: K,
) -> Result<<Loads as async_graphql::dataloader::Loader<K>>::Value>
where
    K: Send + Sync + Clone + Eq + std::hash::Hash + 'static,
    Loads: async_graphql::dataloader::Loader<K, Error = Arc<Error>>,
{
    maybe(ctx, key)
        .await?
        .ok_or_else(|| Error::Internal("a record that is referred to is missing".into()))
}

/// A record by key through its loader, if it exists.
pub async fn maybe<K>(
    ctx: &Context<'_>,
    key: K,
) -> Result<Option<<Loads as async_graphql::dataloader::Loader<K>>::Value>>
where
    K: Send + Sync + Clone + Eq + std::hash::Hash + 'static,
    Loads: async_graphql::dataloader::Loader<K, Error = Arc<Error>>,
{
    loader(ctx)?.load_one(key).await.map_err(shared)
}

/// How far an invoice is settled. Being late is apart: see `overdue`.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum InvoiceStatus {
    /// Nothing was matched with it yet.
    Open,
    /// Part of it is matched (règlement partiel).
    PartlySettled,
    /// All of it is matched (soldée).
    Settled,
}

/// An issued invoice (facture). Nothing on it changes after issue (R9.3); amounts are in `currency`.
#[derive(Clone)]
pub struct Invoice(pub store::document::Document);

/// A credit note (avoir): reduces what a client owes. Amounts are positive, in `currency`.
#[derive(Clone)]
pub struct CreditNote(pub store::document::Document);

/// A line of a document.
#[derive(SimpleObject)]
struct DocumentLine {
    /// What was sold.
    description: String,
    /// How many.
    quantity: Decimal,
    /// Net price of one, before discount.
    unit_price: Decimal,
    /// Discount on the line in percent (remise).
    discount_percent: Decimal,
    /// VAT rate in percent.
    vat_rate: Decimal,
    /// Net amount of the line (HT), rounded once.
    net: Decimal,
    /// The account of the line in the general ledger.
    account: String,
}

/// The VAT of a document at one rate.
#[derive(SimpleObject)]
struct VatShare {
    /// VAT rate in percent.
    rate: Decimal,
    /// Net amount at the rate (HT).
    net: Decimal,
    /// VAT at the rate (TVA).
    vat: Decimal,
}

/// A part of an invoice with its own due date (échéance).
#[derive(SimpleObject)]
struct Installment {
    /// The open item behind it.
    id: ID,
    /// The due date.
    due_on: Date,
    /// The gross amount (TTC).
    amount: Decimal,
    /// What is still open of it, counting every matching.
    open: Decimal,
}

async fn lines(ctx: &Context<'_>, record: &store::document::Document) -> Result<Vec<DocumentLine>> {
    let rows = maybe(ctx, LinesOf(record.id)).await?.unwrap_or_default();
    Ok(rows
        .into_iter()
        .map(|row| DocumentLine {
            description: row.description,
            quantity: rate(row.quantity),
            unit_price: rate(row.unit_price),
            discount_percent: rate(row.discount_percent),
            vat_rate: rate(row.vat_rate),
            net: money(row.net, &record.currency),
            account: row.account,
        })
        .collect())
}

async fn vat_shares(
    ctx: &Context<'_>,
    record: &store::document::Document,
) -> Result<Vec<VatShare>> {
    let rows = maybe(ctx, TaxesOf(record.id)).await?.unwrap_or_default();
    Ok(rows
        .into_iter()
        .map(|row| VatShare {
            rate: rate(row.vat_rate),
            net: money(row.net, &record.currency),
            vat: money(row.vat, &record.currency),
        })
        .collect())
}

async fn items(ctx: &Context<'_>, source: Uuid) -> Result<Vec<store::item::Item>> {
    Ok(maybe(ctx, ItemsOf(source)).await?.unwrap_or_default())
}

/// An invoice (facture).
#[Object]
impl Invoice {
    /// The opaque id.
    pub async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// The invoice's number, unique in the company.
    async fn number(&self) -> &str {
        &self.0.number
    }
    /// Another system's reference; null when there is none.
    async fn external_ref(&self) -> Option<&str> {
        self.0.external_ref.as_deref()
    }
    /// Who owes it.
    async fn client(&self, ctx: &Context<'_>) -> Result<Client> {
        Ok(Client(one(ctx, self.0.client_id).await?))
    }
    /// The invoice's date, which is its accounting date.
    async fn issued_on(&self) -> Date {
        self.0.issued_on.into()
    }
    /// The due date (échéance); with instalments, the last one's.
    async fn due_on(&self) -> Date {
        (self.0.due_on.unwrap_or(self.0.issued_on)).into()
    }
    /// Net amount (HT).
    async fn net(&self) -> Decimal {
        money(self.0.net, &self.0.currency)
    }
    /// VAT (TVA).
    async fn vat(&self) -> Decimal {
        money(self.0.vat, &self.0.currency)
    }
    /// Gross amount (TTC).
    async fn total(&self) -> Decimal {
        money(self.0.total, &self.0.currency)
    }
    /// What is still open (reste dû), counting every matching; 0 when settled.
    async fn open(&self, ctx: &Context<'_>) -> Result<Decimal> {
        let open = items(ctx, self.0.id.0)
            .await?
            .iter()
            .map(|item| item.open_amount)
            .sum();
        Ok(money(open, &self.0.currency))
    }
    /// The currency of all amounts (ISO 4217).
    async fn currency(&self) -> &str {
        &self.0.currency
    }
    /// Company-currency units for one unit of `currency`, at issue.
    async fn exchange_rate(&self) -> Decimal {
        rate(self.0.exchange_rate)
    }
    /// How far it is settled.
    async fn status(&self, ctx: &Context<'_>) -> Result<InvoiceStatus> {
        let open: i64 = items(ctx, self.0.id.0)
            .await?
            .iter()
            .map(|item| item.open_amount)
            .sum();
        Ok(match open {
            0 => InvoiceStatus::Settled,
            open if open < self.0.total => InvoiceStatus::PartlySettled,
            _ => InvoiceStatus::Open,
        })
    }
    /// Whether a part of it is open past its due date today. An item due today is not overdue (R4.4).
    async fn overdue(&self, ctx: &Context<'_>) -> Result<bool> {
        let today = session(ctx)?.caller().today;
        Ok(items(ctx, self.0.id.0)
            .await?
            .iter()
            .any(|item| item.open_amount > 0 && item.due_on.is_some_and(|due| due < today)))
    }
    /// The client's purchase order; null when none was given.
    async fn purchase_order(&self) -> Option<&str> {
        self.0.purchase_order.as_deref()
    }
    /// The discount offered for early payment (escompte); null when there is none.
    async fn early_payment_discount(&self) -> Option<EarlyPaymentDiscount> {
        let (percent, days) = (self.0.discount_percent?, self.0.discount_days?);
        Some(EarlyPaymentDiscount {
            percent: rate(percent),
            days: i32::from(days),
        })
    }
    /// When its VAT falls due: on the invoice (débits), or on its receipts (encaissements, R2.4).
    async fn vat_due(&self) -> Result<VatDue> {
        VatDue::of(&self.0.vat_due)
    }
    /// The instalments, earliest first; one when the invoice is due at once.
    async fn installments(&self, ctx: &Context<'_>) -> Result<Vec<Installment>> {
        let items = items(ctx, self.0.id.0).await?;
        Ok(items
            .into_iter()
            .map(|item| Installment {
                id: show(item.id),
                due_on: item.due_on.unwrap_or(item.posted_on).into(),
                amount: money(item.amount, &item.currency),
                open: money(item.open_amount, &item.currency),
            })
            .collect())
    }
    /// The lines.
    async fn lines(&self, ctx: &Context<'_>) -> Result<Vec<DocumentLine>> {
        lines(ctx, &self.0).await
    }
    /// VAT per rate.
    async fn vat_shares(&self, ctx: &Context<'_>) -> Result<Vec<VatShare>> {
        vat_shares(ctx, &self.0).await
    }
    /// Parties and mandatory mentions as issued (R6.14).
    async fn snapshot(&self, ctx: &Context<'_>) -> Result<JsonObject> {
        Ok(JsonObject(one(ctx, SnapshotOf(self.0.id)).await?))
    }
    /// Credit notes that refer to it, latest first.
    async fn credit_notes(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<CreditNote>> {
        nested::<store::document::Document, CreditNote>(
            ctx,
            Nested::CreditNotesOfInvoice,
            self.0.id.0,
            Window {
                first,
                after,
                last,
                before,
            },
            CreditNote,
        )
        .await
    }
    /// Deductions that the client took on it, latest first.
    async fn deductions(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<Deduction>> {
        nested::<store::dispute::Deduction, Deduction>(
            ctx,
            Nested::DeductionsOfInvoice,
            self.0.id.0,
            Window {
                first,
                after,
                last,
                before,
            },
            Deduction,
        )
        .await
    }
    /// Disputes about it, latest first.
    async fn disputes(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<Dispute>> {
        nested::<store::dispute::Dispute, Dispute>(
            ctx,
            Nested::DisputesOfInvoice,
            self.0.id.0,
            Window {
                first,
                after,
                last,
                before,
            },
            Dispute,
        )
        .await
    }
    /// What was matched with it, ended matchings included, latest first.
    async fn allocations(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<Allocation>> {
        nested::<store::matching::Allocation, Allocation>(
            ctx,
            Nested::AllocationsOfInvoice,
            self.0.id.0,
            Window {
                first,
                after,
                last,
                before,
            },
            Allocation,
        )
        .await
    }
    /// The journal entries behind it; null, with an error FORBIDDEN, when the role may not read the journal.
    #[graphql(guard = "Permitted(\"Invoice.entries\")")]
    async fn entries(&self, ctx: &Context<'_>) -> Result<Option<Vec<Entry>>> {
        entries(ctx, self.0.id.0).await.map(Some)
    }
    /// Who issued it.
    async fn recorded_by(&self) -> &str {
        &self.0.recorded_by
    }
}

/// A credit note (avoir).
#[Object]
impl CreditNote {
    /// The opaque id.
    pub async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// The credit note's number, unique in the company.
    async fn number(&self) -> &str {
        &self.0.number
    }
    /// Another system's reference; null when there is none.
    async fn external_ref(&self) -> Option<&str> {
        self.0.external_ref.as_deref()
    }
    /// Whom it was given to.
    async fn client(&self, ctx: &Context<'_>) -> Result<Client> {
        Ok(Client(one(ctx, self.0.client_id).await?))
    }
    /// The invoice it corrects; null when free-standing.
    async fn invoice(&self, ctx: &Context<'_>) -> Result<Option<Invoice>> {
        match self.0.invoice_id {
            Some(id) => Ok(Some(Invoice(one(ctx, id).await?))),
            None => Ok(None),
        }
    }
    /// The credit note's date, which is its accounting date.
    async fn issued_on(&self) -> Date {
        self.0.issued_on.into()
    }
    /// Why it was given (motif); null when nobody said. A credit note of a dispute names the dispute.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }
    /// First day of the period it refers to; null when it refers to an invoice or to none.
    async fn period_from(&self) -> Option<Date> {
        self.0.period_from.map(Into::into)
    }
    /// Last day of that period.
    async fn period_to(&self) -> Option<Date> {
        self.0.period_to.map(Into::into)
    }
    /// Net amount (HT), positive.
    async fn net(&self) -> Decimal {
        money(self.0.net, &self.0.currency)
    }
    /// VAT (TVA), positive.
    async fn vat(&self) -> Decimal {
        money(self.0.vat, &self.0.currency)
    }
    /// Gross amount (TTC), positive.
    async fn total(&self) -> Decimal {
        money(self.0.total, &self.0.currency)
    }
    /// What was not matched with an invoice yet, positive.
    async fn unallocated(&self, ctx: &Context<'_>) -> Result<Decimal> {
        let open = items(ctx, self.0.id.0)
            .await?
            .iter()
            .map(|item| item.open_amount)
            .sum();
        Ok(money(open, &self.0.currency))
    }
    /// The currency of all amounts (ISO 4217).
    async fn currency(&self) -> &str {
        &self.0.currency
    }
    /// The lines.
    async fn lines(&self, ctx: &Context<'_>) -> Result<Vec<DocumentLine>> {
        lines(ctx, &self.0).await
    }
    /// VAT per rate.
    async fn vat_shares(&self, ctx: &Context<'_>) -> Result<Vec<VatShare>> {
        vat_shares(ctx, &self.0).await
    }
    /// What it was matched with, latest first.
    async fn allocations(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<Allocation>> {
        nested::<store::matching::Allocation, Allocation>(
            ctx,
            Nested::AllocationsOfCreditNote,
            self.0.id.0,
            Window {
                first,
                after,
                last,
                before,
            },
            Allocation,
        )
        .await
    }
    /// The journal entries behind it; null, with an error FORBIDDEN, when the role may not read the journal.
    #[graphql(guard = "Permitted(\"CreditNote.entries\")")]
    async fn entries(&self, ctx: &Context<'_>) -> Result<Option<Vec<Entry>>> {
        entries(ctx, self.0.id.0).await.map(Some)
    }
}

/// Invoices in lists.
impl Listed for store::document::Document {
    type View = Invoice;
    fn id(&self) -> Uuid {
        self.id.0
    }
    fn view(self) -> Invoice {
        Invoice(self)
    }
}

impl Listed for CreditNote {
    type View = CreditNote;
    fn id(&self) -> Uuid {
        self.0.id.0
    }
    fn view(self) -> CreditNote {
        self
    }
}

/// A draft of an invoice: no number, free to change (R9.2).
#[derive(SimpleObject, Clone)]
#[graphql(complex)]
pub struct InvoiceDraft {
    #[graphql(skip)]
    record: document::Draft,
    /// The opaque id.
    id: ID,
    /// What it holds, as entered.
    content: JsonObject,
    /// When it was last changed.
    updated_at: Instant,
    /// Who changed it last.
    updated_by: String,
}

#[ComplexObject]
impl InvoiceDraft {
    /// Whom it is for.
    async fn client(&self, ctx: &Context<'_>) -> Result<Client> {
        Ok(Client(one(ctx, self.record.client_id).await?))
    }
    /// Net, VAT and total as they would be issued, in the draft's currency.
    async fn totals(&self, ctx: &Context<'_>) -> Result<DraftTotals> {
        let input = invoice::draft_input(&self.record)?;
        let client: store::client::Client = one(ctx, self.record.client_id).await?;
        let code = input.currency.clone().unwrap_or(client.currency);
        let currency = service::books::currency(&code)?;
        let worked = invoice::work_out(
            session(ctx)?.caller(),
            DocumentId::new(),
            &input.lines,
            currency,
            "706000",
            input.deducted_discount_percent,
        )?;
        Ok(DraftTotals {
            net: money(worked.net, &code),
            vat: money(worked.vat, &code),
            total: money(worked.total(), &code),
            currency: code,
        })
    }
}

/// What a draft adds up to.
#[derive(SimpleObject)]
struct DraftTotals {
    /// Net amount (HT).
    net: Decimal,
    /// VAT (TVA).
    vat: Decimal,
    /// Gross amount (TTC).
    total: Decimal,
    /// The currency of the amounts.
    currency: String,
}

impl Listed for document::Draft {
    type View = InvoiceDraft;
    fn id(&self) -> Uuid {
        self.id.0
    }
    fn view(self) -> InvoiceDraft {
        InvoiceDraft {
            id: show(self.id),
            content: JsonObject(self.content.clone()),
            updated_at: self.updated_at.into(),
            updated_by: self.updated_by.clone(),
            record: self,
        }
    }
}

/// Which way a list runs.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum OrderDirection {
    /// Smallest, earliest or first letter first.
    #[default]
    Asc,
    /// Largest, latest or last letter first.
    Desc,
}

impl From<OrderDirection> for Direction {
    fn from(direction: OrderDirection) -> Direction {
        match direction {
            OrderDirection::Asc => Direction::Ascending,
            OrderDirection::Desc => Direction::Descending,
        }
    }
}

/// What invoices or credit notes are ordered by.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum InvoiceOrderField {
    /// Date of issue.
    IssuedOn,
    /// Due date.
    DueOn,
    /// Number, letter by letter.
    Number,
    /// Gross amount.
    Total,
}

/// Order of a list of invoices or credit notes.
#[derive(InputObject, Clone, Copy, Debug)]
pub struct InvoiceOrder {
    /// By what.
    field: InvoiceOrderField,
    /// Which way.
    #[graphql(default)]
    direction: OrderDirection,
}

fn sort(order: Option<InvoiceOrder>) -> Sort {
    let order = order.unwrap_or(InvoiceOrder {
        field: InvoiceOrderField::IssuedOn,
        direction: OrderDirection::Desc,
    });
    let (column, sql_type) = match order.field {
        InvoiceOrderField::IssuedOn => ("t.issued_on", "date"),
        InvoiceOrderField::DueOn => ("coalesce(t.due_on, t.issued_on)", "date"),
        InvoiceOrderField::Number => ("t.number", "text"),
        InvoiceOrderField::Total => ("t.total", "bigint"),
    };
    Sort {
        column,
        sql_type,
        direction: order.direction.into(),
    }
}

/// Narrows a list of invoices or credit notes; all conditions hold at once.
#[derive(InputObject, Clone, Debug, Default)]
pub struct InvoiceFilter {
    /// Part of the number or of the client's name, whatever the case and the accents.
    search: Option<String>,
    /// Of this client.
    client: Option<ClientRef>,
    /// Issued on or after this day.
    issued_from: Option<Date>,
    /// Issued on or before this day.
    issued_to: Option<Date>,
    /// Due on or after this day.
    due_from: Option<Date>,
    /// Due on or before this day.
    due_to: Option<Date>,
    /// In this currency.
    currency: Option<String>,
    /// Gross amount at least; needs `currency`.
    min_total: Option<Decimal>,
    /// Gross amount at most; needs `currency`.
    max_total: Option<Decimal>,
    /// With this status. For credit notes: settled means matched whole.
    status: Option<InvoiceStatus>,
    /// With something open, or nothing.
    open: Option<bool>,
    /// With an open part past its due date today, or none.
    overdue: Option<bool>,
    /// With an open dispute, or none.
    disputed: Option<bool>,
}

async fn filter(ctx: &Context<'_>, input: Option<InvoiceFilter>) -> Result<document::Filter> {
    let input = input.unwrap_or_default();
    let amount = |field: &'static str, value: Option<Decimal>| -> Result<Option<i64>> {
        let Some(value) = value else { return Ok(None) };
        let code = input.currency.as_deref().ok_or(Error::BadInput {
            field,
            message: format!("{field} needs a currency"),
        })?;
        Ok(Some(service::books::amount(
            field,
            value.0,
            service::books::currency_input("currency", code)?,
        )?))
    };
    let (min_total, max_total) = (
        amount("minTotal", input.min_total)?,
        amount("maxTotal", input.max_total)?,
    );
    for (field, empty) in [
        (
            "issuedTo",
            input.issued_from > input.issued_to && input.issued_to.is_some(),
        ),
        (
            "dueTo",
            input.due_from > input.due_to && input.due_to.is_some(),
        ),
        ("maxTotal", min_total > max_total && max_total.is_some()),
    ] {
        if empty {
            return Err(Error::BadInput {
                field,
                message: "nothing can be in this range: its end is before its beginning".into(),
            });
        }
    }
    let today = session(ctx)?.caller().today;
    Ok(document::Filter {
        client: client_filter_id(ctx, input.client).await?,
        search: input.search,
        issued_from: super::scalars::on(input.issued_from),
        issued_to: super::scalars::on(input.issued_to),
        due_from: super::scalars::on(input.due_from),
        due_to: super::scalars::on(input.due_to),
        currency: input.currency,
        min_total,
        max_total,
        open: match input.status {
            Some(InvoiceStatus::Settled) => Some(false),
            Some(InvoiceStatus::Open | InvoiceStatus::PartlySettled) => Some(true),
            None => input.open,
        },
        partly_settled: match input.status {
            Some(InvoiceStatus::Open) => Some(false),
            Some(InvoiceStatus::PartlySettled) => Some(true),
            Some(InvoiceStatus::Settled) | None => None,
        },
        overdue: input.overdue.map(|overdue| (overdue, today)),
        disputed: input.disputed,
    })
}

/// Documents.
#[derive(Default)]
pub struct DocumentQuery;

#[Object]
impl DocumentQuery {
    /// An invoice; null when there is none for this caller.
    #[graphql(guard = "Permitted(\"Query.invoice\")")]
    async fn invoice(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "ref")] target: InvoiceRef,
    ) -> Result<Option<Invoice>> {
        let target = target.into();
        found(
            session(ctx)?
                .read(move |conn, caller| reference::invoice(conn, caller, "ref", &target))
                .await,
        )
        .map(|it| it.map(Invoice))
    }

    /// Invoices, latest first unless ordered otherwise.
    #[graphql(guard = "Permitted(\"Query.invoices\")")]
    async fn invoices(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "filter")] narrowed: Option<InvoiceFilter>,
        order_by: Option<InvoiceOrder>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<Invoice>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("invoices{narrowed:?}{order_by:?}"),
        )?;
        let filter = filter(ctx, narrowed).await?;
        let session = session(ctx)?;
        let from = document::from(session.caller().company, document::INVOICE, &filter);
        page::list(session, from, sort(order_by), asked, |conn, caller, ids| {
            Ok(document::by_ids(
                conn,
                caller.company,
                &ids.iter().copied().map(DocumentId).collect::<Vec<_>>(),
            )?)
        })
        .await
    }

    /// Drafts of invoices, latest first.
    #[graphql(guard = "Permitted(\"Query.invoiceDrafts\")")]
    async fn invoice_drafts(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<InvoiceDraft>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            "drafts",
        )?;
        let session = session(ctx)?;
        let mut from = store::list::Sql::default();
        from.push(
            "FROM invoice_drafts t WHERE t.company_id = ?",
            [store::list::Bind::Id(session.caller().company.0)],
        );
        let sort = Sort {
            column: "t.updated_at",
            sql_type: "timestamptz",
            direction: Direction::Descending,
        };
        page::list(session, from, sort, asked, |conn, caller, ids| {
            Ok(document::drafts(
                conn,
                caller.company,
                &ids.iter().copied().map(DraftId).collect::<Vec<_>>(),
            )?)
        })
        .await
    }

    /// A credit note; null when there is none for this caller.
    #[graphql(guard = "Permitted(\"Query.creditNote\")")]
    async fn credit_note(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "ref")] target: CreditNoteRef,
    ) -> Result<Option<CreditNote>> {
        let target = target.into();
        found(
            session(ctx)?
                .read(move |conn, caller| reference::credit_note(conn, caller, "ref", &target))
                .await,
        )
        .map(|it| it.map(CreditNote))
    }

    /// Credit notes, latest first unless ordered otherwise.
    #[graphql(guard = "Permitted(\"Query.creditNotes\")")]
    async fn credit_notes(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "filter")] narrowed: Option<InvoiceFilter>,
        order_by: Option<InvoiceOrder>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<CreditNote>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("creditNotes{narrowed:?}{order_by:?}"),
        )?;
        let filter = filter(ctx, narrowed).await?;
        let session = session(ctx)?;
        let from = document::from(session.caller().company, document::CREDIT_NOTE, &filter);
        page::list(session, from, sort(order_by), asked, |conn, caller, ids| {
            let rows = document::by_ids(
                conn,
                caller.company,
                &ids.iter().copied().map(DocumentId).collect::<Vec<_>>(),
            )?;
            Ok(rows.into_iter().map(CreditNote).collect())
        })
        .await
    }
}

/// A record that may not exist: `NOT_FOUND` becomes null.
pub fn found<T>(result: Result<T>) -> Result<Option<T>> {
    use crate::domain::refusal::RefusalCode;
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Refused(refusals))
            if refusals
                .iter()
                .all(|refusal| refusal.code == RefusalCode::NotFound) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A line of an invoice or credit note.
#[derive(InputObject, Clone, Debug)]
struct InvoiceLineInput {
    /// What is sold.
    description: String,
    /// How many; may be negative on a line that takes something back.
    quantity: Decimal,
    /// Net price of one (HT).
    unit_price: Decimal,
    /// VAT rate in percent: "20", "5.5", "0".
    vat_rate: Decimal,
    /// Discount in percent (remise).
    discount_percent: Option<Decimal>,
    /// Account of class 7; the company's setting when absent.
    account: Option<String>,
}

impl From<InvoiceLineInput> for LineInput {
    fn from(input: InvoiceLineInput) -> LineInput {
        LineInput {
            description: input.description,
            quantity: input.quantity.0,
            unit_price: input.unit_price.0,
            discount_percent: input.discount_percent.map(|discount| discount.0),
            vat_rate: input.vat_rate.0,
            account: input.account,
        }
    }
}

/// A part of the total with its own due date.
#[derive(InputObject, Clone, Debug)]
struct InvoiceInstallmentInput {
    /// The due date.
    due_on: Date,
    /// The gross amount; all instalments add up to the invoice's total.
    amount: Decimal,
}

code_enum! {
    /// When the VAT of a sale falls due (exigibilité).
    VatDue {
        /// With the invoice: goods, and services by option (débits).
        Debits = "DEBITS",
        /// As it is paid: services (encaissements, R2.4).
        Receipts = "RECEIPTS",
    }
}

impl VatDue {
    fn into_domain(self) -> crate::domain::company::VatDue {
        match self {
            VatDue::Debits => crate::domain::company::VatDue::Debits,
            VatDue::Receipts => crate::domain::company::VatDue::Receipts,
        }
    }
}

/// A discount for early payment (escompte de règlement), as offered on an invoice.
#[derive(SimpleObject)]
struct EarlyPaymentDiscount {
    /// Percent of the total.
    percent: Decimal,
    /// Days from the issue within which the payment must come.
    days: i32,
}

/// A discount for early payment (escompte de règlement).
#[derive(InputObject, Clone, Debug)]
struct EarlyPaymentDiscountInput {
    /// Percent of the total, above 0 and below 100.
    percent: Decimal,
    /// Days from the issue within which the payment must come, 0 to 365.
    days: i32,
}

impl EarlyPaymentDiscountInput {
    fn into_domain(self) -> (rust_decimal::Decimal, u16) {
        (self.percent.0, u16::try_from(self.days).unwrap_or(u16::MAX))
    }
}

/// An invoice to issue, or a draft to issue as it stands.
#[derive(InputObject, Clone, Debug)]
struct IssueInvoiceInput {
    /// Whom it is for; not with `draft`.
    client: Option<ClientRef>,
    /// A draft to issue: then only `issuedOn` may be given beside it.
    draft: Option<ID>,
    /// The number when another system numbers; else the next of the company's gapless series.
    number: Option<String>,
    /// Another system's reference, unique.
    external_ref: Option<String>,
    /// Date of issue; today when absent.
    issued_on: Option<Date>,
    /// When goods or service were received: the legal default term counts from it.
    received_on: Option<Date>,
    /// Due date; from the client's payment terms when absent.
    due_on: Option<Date>,
    /// A periodic invoice (facture récapitulative): at most 45 days (R6.2).
    #[graphql(default)]
    periodic: bool,
    /// The client's currency when absent.
    currency: Option<String>,
    /// Company-currency units for one unit of `currency`; needed when they differ.
    exchange_rate: Option<Decimal>,
    /// The client's purchase order.
    purchase_order: Option<String>,
    /// When its VAT falls due; the company's setting `vatDue` when absent (R2.4).
    vat_due: Option<VatDue>,
    /// The discount offered for early payment (escompte, R2.16); none when absent.
    early_payment_discount: Option<EarlyPaymentDiscountInput>,
    /// A discount for early payment taken off at once, in percent: on 665, never netted in revenue (R2.17).
    deducted_discount_percent: Option<Decimal>,
    /// When `issuedOn` lies in a closed period: post on the first open day and keep the real date (R2.2),
    /// instead of refusing with `PERIOD_CLOSED`. Give a `number` too when later days have theirs: the
    /// company's own series keep their days in order (R9.2).
    #[graphql(default)]
    late_entry: bool,
    /// The lines; not with `draft`.
    #[graphql(default)]
    lines: Vec<InvoiceLineInput>,
    /// Instalments instead of one due date.
    #[graphql(default)]
    installments: Vec<InvoiceInstallmentInput>,
    /// Makes the call repeatable: the same key and input give the first answer again.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

impl IssueInvoiceInput {
    fn invoice(self) -> InvoiceInput {
        InvoiceInput {
            number: self.number,
            external_ref: self.external_ref,
            issued_on: super::scalars::on(self.issued_on),
            received_on: super::scalars::on(self.received_on),
            due_on: super::scalars::on(self.due_on),
            periodic: self.periodic,
            currency: self.currency,
            exchange_rate: self.exchange_rate.map(|rate| rate.0),
            purchase_order: self.purchase_order,
            lines: self.lines.into_iter().map(LineInput::from).collect(),
            installments: self
                .installments
                .into_iter()
                .map(|part| InstallmentInput {
                    due_on: part.due_on.0,
                    amount: part.amount.0,
                })
                .collect(),
            vat_due: self.vat_due.map(VatDue::into_domain),
            discount: self
                .early_payment_discount
                .map(EarlyPaymentDiscountInput::into_domain),
            deducted_discount_percent: self.deducted_discount_percent.map(|percent| percent.0),
            late_entry: self.late_entry,
        }
    }
}

/// What `issueInvoice` did.
#[derive(SimpleObject)]
struct IssueInvoicePayload {
    /// The invoice; null when refused.
    invoice: Option<Invoice>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// A draft to write.
#[derive(InputObject, Clone, Debug)]
struct SaveInvoiceDraftInput {
    /// The draft to change; a new one when absent.
    draft: Option<ID>,
    /// Whom it is for.
    client: ClientRef,
    /// Date of issue; the day it is issued when absent.
    issued_on: Option<Date>,
    /// Due date; from the client's payment terms when absent.
    due_on: Option<Date>,
    /// When goods or service were received: the legal default term counts from it.
    received_on: Option<Date>,
    /// A periodic invoice (facture récapitulative): at most 45 days (R6.2).
    #[graphql(default)]
    periodic: bool,
    /// The number when another system numbers; else the next of the series when it is issued.
    number: Option<String>,
    /// Another system's reference, unique.
    external_ref: Option<String>,
    /// When its VAT falls due; the company's setting `vatDue` when absent (R2.4).
    vat_due: Option<VatDue>,
    /// The discount offered for early payment (escompte, R2.16); none when absent.
    early_payment_discount: Option<EarlyPaymentDiscountInput>,
    /// A discount for early payment taken off at once, in percent (R2.17).
    deducted_discount_percent: Option<Decimal>,
    /// The client's currency when absent.
    currency: Option<String>,
    /// Company-currency units for one unit of `currency`.
    exchange_rate: Option<Decimal>,
    /// The client's purchase order.
    purchase_order: Option<String>,
    /// The lines.
    lines: Vec<InvoiceLineInput>,
    /// Instalments instead of one due date.
    #[graphql(default)]
    installments: Vec<InvoiceInstallmentInput>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// What happened to a draft.
#[derive(SimpleObject)]
struct InvoiceDraftPayload {
    /// The draft; null when refused or thrown away.
    draft: Option<InvoiceDraft>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// A credit note to issue.
#[derive(InputObject, Clone, Debug)]
pub struct IssueCreditNoteInput {
    /// Whom it is for; the invoice's client when absent.
    client: Option<ClientRef>,
    /// The invoice it corrects; absent for a free-standing one.
    invoice: Option<InvoiceRef>,
    /// The number when another system numbers; else the next of the company's gapless series.
    number: Option<String>,
    /// Another system's reference, unique.
    external_ref: Option<String>,
    /// Date of issue; today when absent.
    issued_on: Option<Date>,
    /// For a free-standing one: first day of the period it refers to.
    period_from: Option<Date>,
    /// Last day of that period.
    period_to: Option<Date>,
    /// The invoice's or client's currency when absent.
    currency: Option<String>,
    /// Company-currency units for one unit of `currency`; the invoice's when absent.
    exchange_rate: Option<Decimal>,
    /// The lines.
    #[graphql(default)]
    lines: Vec<InvoiceLineInput>,
    /// Instead of lines: a gross amount, split over the invoice's VAT rates.
    amount: Option<Decimal>,
    /// Match it with its invoice at once (R3.9).
    #[graphql(default = true)]
    allocate: bool,
    /// When `issuedOn` lies in a closed period: post on the first open day and keep the real date (R2.2),
    /// instead of refusing with `PERIOD_CLOSED`. Give a `number` too when later days have theirs: the
    /// company's own series keep their days in order (R9.2).
    #[graphql(default)]
    late_entry: bool,
    /// Why it is given (motif), for the record and for whoever approves it when a second person is needed; at most 500
    /// characters.
    reason: Option<String>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// What `issueCreditNote` did.
#[derive(SimpleObject)]
struct IssueCreditNotePayload {
    /// The credit note; null when refused.
    credit_note: Option<CreditNote>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

async fn issue_one_invoice(
    ctx: &Context<'_>,
    input: IssueInvoiceInput,
    row: Option<Row>,
) -> Result<IssueInvoicePayload> {
    let how = How {
        idempotency_key: input.idempotency_key.clone(),
        validate_only: input.validate_only,
        reason: None,
        row,
    };
    let done = mutate(ctx, how, move |conn, caller| {
        use crate::domain::refusal::Refusal;
        let input = input.clone();
        match (&input.draft, input.client.clone()) {
            (Some(draft), None) if input.lines.is_empty() => {
                let draft: DraftId = read("draft", "draft", draft)?;
                invoice::issue_draft(conn, caller, draft, super::scalars::on(input.issued_on))
            }
            (None, Some(client)) => invoice::issue(conn, caller, &client.into(), &input.invoice()),
            _ => {
                Err(Refusal::invalid("client", "give a client and lines, or a draft alone").into())
            }
        }
    })
    .await?;
    let invoice = match done.made {
        Some(id) => Some(Invoice(one(ctx, id).await?)),
        None => None,
    };
    Ok(IssueInvoicePayload {
        invoice,
        user_errors: done.user_errors,
    })
}

/// Issues a credit note as the input says.
pub fn issue_credit_note(
    conn: &mut Conn,
    caller: &Caller,
    input: IssueCreditNoteInput,
) -> Result<DocumentId> {
    use crate::domain::refusal::Refusal;
    let period = match (input.period_from, input.period_to) {
        (Some(from), Some(to)) => Some((from.0, to.0)),
        (None, None) => None,
        _ => {
            return Err(Refusal::invalid("periodTo", "a period has a first and a last day").into());
        }
    };
    service::credit_note::issue(
        conn,
        caller,
        &CreditNoteInput {
            number: input.number,
            external_ref: input.external_ref,
            client: input.client.map(Into::into),
            invoice: input.invoice.map(Into::into),
            issued_on: super::scalars::on(input.issued_on),
            period,
            currency: input.currency,
            exchange_rate: input.exchange_rate.map(|rate| rate.0),
            lines: input.lines.into_iter().map(LineInput::from).collect(),
            amount: input.amount.map(|amount| amount.0),
            allocate: input.allocate,
            late_entry: input.late_entry,
            reason: input.reason,
        },
    )
}

async fn issue_one_credit_note(
    ctx: &Context<'_>,
    input: IssueCreditNoteInput,
    row: Option<Row>,
) -> Result<IssueCreditNotePayload> {
    let how = How {
        idempotency_key: input.idempotency_key.clone(),
        validate_only: input.validate_only,
        reason: input.reason.clone(),
        row,
    };
    let done = mutate(ctx, how, move |conn, caller| {
        issue_credit_note(conn, caller, input.clone())
    })
    .await?;
    let credit_note = match done.made {
        Some(id) => Some(CreditNote(one(ctx, id).await?)),
        None => None,
    };
    Ok(IssueCreditNotePayload {
        credit_note,
        user_errors: done.user_errors,
    })
}

/// Documents.
#[derive(Default)]
pub struct DocumentMutation;

#[Object]
impl DocumentMutation {
    /// Issues an invoice: number, journal entry and open items in one step. It never changes afterwards.
    #[graphql(guard = "Permitted(\"Mutation.issueInvoice\")")]
    async fn issue_invoice(
        &self,
        ctx: &Context<'_>,
        input: IssueInvoiceInput,
    ) -> Result<IssueInvoicePayload> {
        issue_one_invoice(ctx, input, None).await
    }

    /// Issues up to 100 invoices, one result a row in the order given. Each is issued or refused by itself, as `issueInvoice` would; every row needs its `idempotencyKey`.
    #[graphql(guard = "Permitted(\"Mutation.issueInvoices\")")]
    async fn issue_invoices(
        &self,
        ctx: &Context<'_>,
        inputs: Vec<IssueInvoiceInput>,
    ) -> Result<Vec<IssueInvoicePayload>> {
        in_bulk(
            ctx,
            "issueInvoice",
            inputs,
            |input, row| issue_one_invoice(ctx, input, Some(row)),
            |input| input.idempotency_key.as_deref(),
            |user_errors| IssueInvoicePayload {
                invoice: None,
                user_errors,
            },
        )
        .await
    }

    /// Writes a draft of an invoice, new or changed. It has no number and is not in the books.
    #[graphql(guard = "Permitted(\"Mutation.saveInvoiceDraft\")")]
    async fn save_invoice_draft(
        &self,
        ctx: &Context<'_>,
        input: SaveInvoiceDraftInput,
    ) -> Result<InvoiceDraftPayload> {
        let how = How {
            idempotency_key: input.idempotency_key.clone(),
            validate_only: false,
            ..How::default()
        };
        let done = mutate(ctx, how, move |conn, caller| {
            let input = input.clone();
            let draft = input
                .draft
                .as_ref()
                .map(|id| read("draft", "draft", id))
                .transpose()?;
            let content = InvoiceInput {
                issued_on: super::scalars::on(input.issued_on),
                due_on: super::scalars::on(input.due_on),
                received_on: super::scalars::on(input.received_on),
                periodic: input.periodic,
                number: input.number,
                external_ref: input.external_ref,
                vat_due: input.vat_due.map(VatDue::into_domain),
                discount: input
                    .early_payment_discount
                    .map(EarlyPaymentDiscountInput::into_domain),
                deducted_discount_percent: input.deducted_discount_percent.map(|percent| percent.0),
                currency: input.currency,
                exchange_rate: input.exchange_rate.map(|rate| rate.0),
                purchase_order: input.purchase_order,
                lines: input.lines.into_iter().map(LineInput::from).collect(),
                installments: input
                    .installments
                    .into_iter()
                    .map(|part| InstallmentInput {
                        due_on: part.due_on.0,
                        amount: part.amount.0,
                    })
                    .collect(),
                ..InvoiceInput::default()
            };
            invoice::save_draft(conn, caller, draft, &input.client.into(), &content)
        })
        .await?;
        let draft = match done.made {
            Some(id) => {
                session(ctx)?
                    .read(move |conn, caller| Ok(document::draft(conn, caller.company, id)?))
                    .await?
            }
            None => None,
        };
        Ok(InvoiceDraftPayload {
            draft: draft.map(Listed::view),
            user_errors: done.user_errors,
        })
    }

    /// Throws a draft away.
    #[graphql(guard = "Permitted(\"Mutation.deleteInvoiceDraft\")")]
    async fn delete_invoice_draft(
        &self,
        ctx: &Context<'_>,
        draft: ID,
    ) -> Result<InvoiceDraftPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            invoice::delete_draft(conn, caller, read("draft", "draft", &draft)?)
        })
        .await?;
        Ok(InvoiceDraftPayload {
            draft: None,
            user_errors: done.user_errors,
        })
    }

    /// Issues a credit note, against an invoice (never above it, per VAT rate) or free-standing.
    #[graphql(guard = "Permitted(\"Mutation.issueCreditNote\")")]
    async fn issue_credit_note(
        &self,
        ctx: &Context<'_>,
        input: IssueCreditNoteInput,
    ) -> Result<IssueCreditNotePayload> {
        issue_one_credit_note(ctx, input, None).await
    }

    /// Issues up to 100 credit notes, one result a row in the order given. Each is issued or refused by itself, as `issueCreditNote` would; every row needs its `idempotencyKey`.
    #[graphql(guard = "Permitted(\"Mutation.issueCreditNotes\")")]
    async fn issue_credit_notes(
        &self,
        ctx: &Context<'_>,
        inputs: Vec<IssueCreditNoteInput>,
    ) -> Result<Vec<IssueCreditNotePayload>> {
        in_bulk(
            ctx,
            "issueCreditNote",
            inputs,
            |input, row| issue_one_credit_note(ctx, input, Some(row)),
            |input| input.idempotency_key.as_deref(),
            |user_errors| IssueCreditNotePayload {
                credit_note: None,
                user_errors,
            },
        )
        .await
    }
}
