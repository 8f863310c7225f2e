//! Invoices, credit notes and drafts.

mod issue;
mod list;

use std::sync::Arc;

use async_graphql::{ComplexObject, Context, Enum, ID, Object, SimpleObject};
use uuid::Uuid;

use super::below::nested;
use super::client::{Client, code_enum};
use super::dispute::{Deduction, Dispute};
use super::journal::{Entry, entries};
use super::loaders::{ItemsOf, LinesOf, Loads, SnapshotOf, TaxesOf};
use super::matching::Allocation;
use super::page::{self, Asked, Connection, Listed, Window, listed, single};
use super::scalars::{
    CreditNoteRef, Date, Decimal, Instant, InvoiceRef, JsonObject, money, rate, show,
};
use super::text::{told, untold};
use super::{Permitted, loader, session};
use crate::domain::ids::{ClientId, DocumentId, DraftId, Id};
use crate::domain::refusal::Refusal;
use crate::error::{Error, Result};
use crate::service::invoice;
use crate::service::{self, reference};
use crate::store::list::{Direction, Sort};
use crate::store::nested::Nested;
use crate::store::{self, document};

pub use issue::{DocumentMutation, issue_credit_note};
pub use list::{InvoiceFilter, InvoiceOrder, OrderDirection};
use list::{filter, sort};

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
    if let Some(record) = maybe(ctx, key).await? {
        return Ok(record);
    }
    Err(match session(ctx)?.caller().portfolio() {
        // What they once did is told again on a repetition, and may be another one's client by now.
        Some(_) => Refusal::not_found("id", "record").into(),
        None => Error::Internal("a record that is referred to is missing".into()),
    })
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

told! {
    Invoice {
        id, number, external_ref as "externalRef", issued_on as "issuedOn", due_on as "dueOn", net, vat, total, currency,
        exchange_rate as "exchangeRate", purchase_order as "purchaseOrder", vat_due as "vatDue",
        recorded_by as "recordedBy",
    }
    CreditNote {
        id, number, external_ref as "externalRef", issued_on as "issuedOn", reason, period_from as "periodFrom",
        period_to as "periodTo", net, vat, total, currency,
    }
}
untold!(InvoiceDraft);

listed!(store::document::Document => Invoice of |invoice| Some(invoice.client_id));

impl Listed for CreditNote {
    type View = CreditNote;
    fn id(&self) -> Uuid {
        self.0.id.0
    }
    fn view(self) -> CreditNote {
        self
    }
    fn client(&self) -> Option<ClientId> {
        Some(self.0.client_id)
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
        single(ctx, move |conn, caller| {
            reference::invoice(conn, caller, "ref", &target)
        })
        .await
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
        single(ctx, move |conn, caller| {
            reference::credit_note(conn, caller, "ref", &target).map(CreditNote)
        })
        .await
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
