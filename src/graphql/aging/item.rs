//! Open items: lines on clients' accounts, now and on a day.

use async_graphql::{Context, ID, Object};
use uuid::Uuid;

use crate::domain::ids::{ClientId, DocumentId, ItemId};
use crate::error::Result;
use crate::graphql::client::{Client, code_enum};
use crate::graphql::document::{Invoice, maybe, one};
use crate::graphql::loaders::DisputedOn;
use crate::graphql::matching::Matching;
use crate::graphql::page::{Asked, Connection, Listed, Window, counted};
use crate::graphql::scalars::{Date, Decimal, money, show};
use crate::graphql::session;
use crate::graphql::text::told;
use crate::store::aging::{self, OpenItems};
use crate::store::item::Item;

code_enum! {
    /// What made an open item.
    ItemKind {
        /// An invoice, or one of its instalments.
        Invoice = "INVOICE",
        /// A credit note (avoir).
        CreditNote = "CREDIT_NOTE",
        /// A payment on account (règlement).
        Payment = "PAYMENT",
        /// The disputed item of a deduction.
        Deduction = "DEDUCTION",
        /// The leg of a deduction that closes its invoice.
        DeductionSettlement = "DEDUCTION_SETTLEMENT",
        /// A payment that came back unpaid.
        Return = "RETURN",
        /// A bill of exchange (effet à recevoir, 413).
        Bill = "BILL",
        /// A deposit, or the part of one used on an invoice (acompte, 4191).
        Deposit = "DEPOSIT",
        /// Late-payment interest claimed (pénalités de retard).
        Penalty = "PENALTY",
        /// Flat recovery indemnity claimed (40 €).
        Indemnity = "INDEMNITY",
        /// A claimed penalty given up.
        Waiver = "WAIVER",
        /// Early-payment discount granted (escompte).
        Discount = "DISCOUNT",
        /// Small difference written off.
        Difference = "DIFFERENCE",
        /// A claim moved to or from doubtful clients (416).
        Doubtful = "DOUBTFUL",
        /// A definitive loss (654).
        WriteOff = "WRITE_OFF",
        /// A claim assigned to a factor.
        Assignment = "ASSIGNMENT",
        /// A claim that the factor returned.
        Recourse = "RECOURSE",
        /// A bill handed to the bank.
        Remittance = "REMITTANCE",
        /// Money moved between two accounts of clients.
        Transfer = "TRANSFER",
        /// The mirror of an item that was taken back.
        Reversal = "REVERSAL",
        /// Taken over from another system at an opening.
        Opening = "OPENING",
        /// Taken over by an import.
        Imported = "IMPORTED",
    }
}

/// A line on a client's account on a day: debts positive, receipts and credit notes negative, so that
/// `open` adds up to the balance.
#[derive(Clone)]
pub struct OpenItem {
    id: ItemId,
    client: ClientId,
    kind: ItemKind,
    reference: String,
    invoice: Option<Uuid>,
    posted_on: Date,
    due_on: Option<Date>,
    amount: i64,
    open: i64,
    currency: String,
    as_of: Date,
    /// Known when the item was read as of a day; else what is in dispute now is loaded.
    disputed: Option<i64>,
}

told! {
    OpenItem {
        id, reference, posted_on as "postedOn", due_on as "dueOn", amount, open, currency, days_overdue as "daysOverdue",
    }
}

impl Listed for OpenItem {
    type View = OpenItem;
    fn id(&self) -> Uuid {
        self.id.0
    }
    fn view(self) -> OpenItem {
        self
    }
}

impl OpenItem {
    /// The item as it is now.
    pub fn now(ctx: &Context<'_>, item: Item) -> Result<OpenItem> {
        OpenItem::on(session(ctx)?.caller().today.into(), item)
    }

    /// The item as it is now, with its age on a day.
    pub fn on(as_of: Date, item: Item) -> Result<OpenItem> {
        Ok(OpenItem {
            id: item.id,
            client: item.client_id,
            kind: ItemKind::of(&item.kind)?,
            invoice: item.invoice_id.map(|id| id.0),
            posted_on: item.posted_on.into(),
            due_on: item.due_on.map(Into::into),
            amount: if item.is_debit {
                item.amount
            } else {
                -item.amount
            },
            open: item.signed_open(),
            as_of,
            disputed: None,
            reference: item.reference,
            currency: item.currency,
        })
    }

    /// The item as it stood on a day.
    pub fn standing(as_of: Date, item: Item, standing: aging::Standing) -> Result<OpenItem> {
        Ok(OpenItem {
            open: standing.open,
            disputed: Some(standing.disputed),
            ..OpenItem::on(as_of, item)?
        })
    }

    /// The item as of a day.
    pub fn then(open: aging::Open, as_of: Date) -> Result<OpenItem> {
        Ok(OpenItem {
            id: ItemId(open.id),
            client: ClientId(open.client_id),
            kind: ItemKind::of(&open.kind)?,
            invoice: open.invoice_id,
            posted_on: open.posted_on.into(),
            due_on: open.due_on.map(Into::into),
            amount: open.amount,
            open: open.open,
            as_of,
            disputed: Some(open.disputed),
            reference: open.reference,
            currency: open.currency,
        })
    }
}

/// A line on a client's account (poste ouvert).
#[Object]
impl OpenItem {
    /// The opaque id.
    async fn id(&self) -> ID {
        show(self.id)
    }
    /// What made it.
    async fn kind(&self) -> ItemKind {
        self.kind
    }
    /// Number of its document.
    async fn reference(&self) -> &str {
        &self.reference
    }
    /// Whose account it stands on.
    async fn client(&self, ctx: &Context<'_>) -> Result<Client> {
        Ok(Client(one(ctx, self.client).await?))
    }
    /// The invoice behind it: itself, the one a deduction was taken on, the one a credit note corrects; null when there is none.
    async fn invoice(&self, ctx: &Context<'_>) -> Result<Option<Invoice>> {
        match self.invoice {
            Some(id) => Ok(Some(Invoice(one(ctx, DocumentId(id)).await?))),
            None => Ok(None),
        }
    }
    /// The lettering group it stands in now, whatever day it is read for (lettrage); null while it stands alone.
    async fn matching(&self, ctx: &Context<'_>) -> Result<Option<Matching>> {
        let item: Item = one(ctx, self.id).await?;
        match item.matching_id {
            Some(id) => Ok(maybe(ctx, id).await?.map(Matching::from)),
            None => Ok(None),
        }
    }
    /// Accounting date.
    async fn posted_on(&self) -> Date {
        self.posted_on
    }
    /// Due date, the original one whatever happened since (R4.13); null for credits.
    async fn due_on(&self) -> Option<Date> {
        self.due_on
    }
    /// The amount it began with: debts positive, credits negative.
    async fn amount(&self) -> Decimal {
        money(self.amount, &self.currency)
    }
    /// What is open of it: debts positive, credits negative.
    async fn open(&self) -> Decimal {
        money(self.open, &self.currency)
    }
    /// The currency of the amounts.
    async fn currency(&self) -> &str {
        &self.currency
    }
    /// Days past the due date on the day of the question; 0 when not overdue (R4.4), or a credit.
    async fn days_overdue(&self) -> i32 {
        let days = self
            .due_on
            .map_or(0, |due| (self.as_of.0 - due.0).num_days().max(0));
        i32::try_from(days).unwrap_or(i32::MAX)
    }
    /// The part of `open` that is in dispute, never above it (R4.9).
    async fn disputed_amount(&self, ctx: &Context<'_>) -> Result<Decimal> {
        let disputed = match self.disputed {
            Some(disputed) => disputed,
            None => maybe(ctx, DisputedOn(self.id))
                .await?
                .unwrap_or_default()
                .min(self.open.max(0)),
        };
        Ok(money(disputed, &self.currency))
    }
}

/// A page of open items.
pub async fn open_items(
    ctx: &Context<'_>,
    question: OpenItems,
    window: Window,
) -> Result<Connection<OpenItem>> {
    let asked = Asked::new(&window, &format!("{question:?}"))?;
    let as_of = question.population.as_of;
    let (asking, keyset) = (question.clone(), asked.keyset.clone());
    let session = session(ctx)?.clone();
    let (rows, more) = session
        .read(move |conn, _| Ok(asking.page(conn, &keyset)?))
        .await?;
    let cursors = rows
        .iter()
        .map(|row| asked.cursor(row.due_on.unwrap_or(row.posted_on).to_string(), row.id))
        .collect();
    let nodes = rows
        .into_iter()
        .map(|row| OpenItem::then(row, as_of.into()))
        .collect::<Result<_>>()?;
    Ok(Connection {
        cursors,
        nodes,
        ends: asked.ends(more),
        count: counted(move || {
            let (session, question) = (session.clone(), question.clone());
            async move { session.read(move |conn, _| Ok(question.count(conn)?)).await }
        }),
    })
}
