//! Receipts, and what each of them settled.
//!
//! | Column | |
//! |---|---|
//! | `number` | needed; rows with the same number one after another are one receipt with several allocations |
//! | `client` | needed |
//! | `receivedOn` | needed |
//! | `amount` | needed: of the whole receipt |
//! | `currency` | |
//! | `exchangeRate` | needed for a foreign currency |
//! | `method` | `TRANSFER` when empty, `CHEQUE`, `CARD`, `DIRECT_DEBIT` or `CASH` |
//! | `invoice` | the number of the invoice that this row settles; when empty, nothing is allocated |
//! | `allocated` | how much of it; as much as both have open when empty |
//! | `matchedOn` | the day of the matching, if later than the receipt |
//!
//! The rows of a receipt go in together or not at all: of a receipt with a bad row, all are told.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use chrono::NaiveDate;
use csv::ByteRecord;
use diesel::pg::PgConnection;
use rust_decimal::Decimal;

use super::layout::{Field, Layout, needed, optional};
use super::{Bad, Failure, Kind, Made, Outcome, RULE, Record, Series, Summary, taken};
use crate::domain::access::Caller;
use crate::domain::ids::{ClientId, DocumentId, Id, ItemId, PaymentId};
use crate::domain::money::{Currency, Minor};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::{Error, Result};
use crate::service::books::{self, Books, Posting};
use crate::service::matching::{self, Pair};
use crate::service::payment::receipt_entry;
use crate::store::document::{self, Brief};
use crate::store::item::Item;
use crate::store::payment::{Payment, RECEIVABLE};
use crate::store::{self, Db};

/// The means of payment that a file may name. A bill is an item of its own on 413, with its maturity.
const METHODS: [&str; 5] = ["TRANSFER", "CHEQUE", "CARD", "DIRECT_DEBIT", "CASH"];

/// Imports a file of receipts for the caller's company; `tell` hears of each row left out.
pub fn import(
    db: &Db,
    caller: &Caller,
    path: &Path,
    mapping: Option<&str>,
    tell: impl FnMut(&str),
) -> std::result::Result<Summary, Failure> {
    super::run(&Receipts, db, caller, path, mapping, tell)
}

struct Receipts;

impl Kind for Receipts {
    const NAME: &'static str = "receipts";
    const FIELDS: &'static [Field] = &[
        needed("number"),
        needed("client"),
        needed("receivedOn"),
        needed("amount"),
        optional("currency"),
        optional("exchangeRate"),
        optional("method"),
        optional("invoice"),
        optional("allocated"),
        optional("matchedOn"),
    ];

    fn record<'a>(layout: &Layout, cells: &'a ByteRecord) -> &'a [u8] {
        layout.cell(cells, "number")
    }

    fn book(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        layout: &Layout,
        batch: &[Record],
        series: Series,
    ) -> Result<Outcome> {
        let books = books::open(conn, caller)?;
        let mut outcome = Outcome::default();
        let mut receipts = Vec::new();
        for rows in batch.chunk_by(|_, row| row.continues) {
            match read(layout, &books, rows) {
                Ok(receipt) => receipts.push((rows, receipt)),
                Err(refused) => outcome.leave_out(layout, rows, refused)?,
            }
        }
        if series == Series::First {
            // What follows from a matching is posted on its day.
            let days = receipts.iter().flat_map(|(_, receipt)| {
                let matched = receipt.parts.iter().map(|part| part.on);
                matched.chain([receipt.received_on])
            });
            books.hold_entries(conn, days)?;
        }
        let known = Known::load(conn, caller, receipts.iter().map(|(_, receipt)| receipt))?;
        let mut plan = Plan {
            caller,
            books: &books,
            known,
            made: Made::default(),
            payments: Vec::new(),
            postings: Vec::new(),
            settlements: Vec::new(),
        };
        for (rows, receipt) in receipts {
            if let Err(refused) = plan.take(receipt) {
                outcome.leave_out(layout, rows, refused)?;
            }
        }
        outcome.bad.sort_by_key(|bad| bad.at);
        outcome.made = plan.write(conn)?;
        Ok(outcome)
    }
}

/// A row of a receipt that was refused, by its place among them.
struct Refused {
    row: usize,
    error: Error,
}

impl Outcome {
    /// Tells all rows of a receipt: the bad one, and those that went with it.
    fn leave_out(&mut self, layout: &Layout, rows: &[Record], refused: Refused) -> Result<()> {
        let Some(bad) = rows.get(refused.row).map(|record| record.at) else {
            return Err(refused.error);
        };
        self.bad.push(Bad::of(bad, layout, refused.error)?);
        let others = rows.iter().enumerate().filter(|(n, _)| *n != refused.row);
        self.bad.extend(others.map(|(_, record)| Bad {
            at: record.at,
            field: layout.shown("number").to_owned(),
            message: format!("line {} of the same receipt was refused", bad.line),
        }));
        Ok(())
    }
}

/// A receipt as read.
struct Receipt {
    number: String,
    client: String,
    received_on: NaiveDate,
    amount: Minor,
    currency: Currency,
    rate: Decimal,
    method: String,
    parts: Vec<Part>,
}

/// What a row of a receipt settles.
struct Part {
    row: usize,
    invoice: String,
    /// As much as both have open when none.
    amount: Option<Minor>,
    on: NaiveDate,
}

fn read(layout: &Layout, books: &Books, rows: &[Record]) -> std::result::Result<Receipt, Refused> {
    let at = |row: usize| move |error: Error| Refused { row, error };
    let Some(first) = rows.first() else {
        return Err(at(0)(Error::Internal("a receipt without rows".into())));
    };
    let mut receipt = read_head(layout, books, &first.cells).map_err(at(0))?;
    for (row, record) in rows.iter().enumerate() {
        let part = read_part(layout, books, &first.cells, &receipt, row, &record.cells);
        receipt.parts.extend(part.map_err(at(row))?);
    }
    Ok(receipt)
}

fn read_head(layout: &Layout, books: &Books, cells: &ByteRecord) -> Result<Receipt> {
    layout.check_shape(cells)?;
    let currency = layout.currency(cells, books)?;
    let amount = layout.needed_decimal(cells, "amount")?;
    let amount = books::amount("amount", amount, currency)?;
    let received_on = layout.needed_day(cells, "receivedOn")?;
    books.check_day("receivedOn", received_on)?;
    let method = layout.text(cells, "method")?.unwrap_or(METHODS[0]);
    if !METHODS.contains(&method) {
        let method: String = method.chars().take(40).collect();
        return Err(Refusal::invalid(
            "method",
            format!("`{method}` is none of {}", METHODS.join(", ")),
        )
        .into());
    }
    Ok(Receipt {
        number: books::text("number", layout.needed(cells, "number")?, 60)?,
        client: books::text("client", layout.needed(cells, "client")?, 40)?,
        received_on,
        amount,
        currency,
        rate: books.rate(currency, layout.decimal(cells, "exchangeRate")?)?,
        method: method.to_owned(),
        parts: Vec::new(),
    })
}

fn read_part(
    layout: &Layout,
    books: &Books,
    first: &ByteRecord,
    receipt: &Receipt,
    row: usize,
    cells: &ByteRecord,
) -> Result<Option<Part>> {
    layout.check_shape(cells)?;
    for field in [
        "client",
        "receivedOn",
        "amount",
        "currency",
        "exchangeRate",
        "method",
    ] {
        let here = layout.cell(cells, field);
        if !here.is_empty() && here != layout.cell(first, field) {
            return Err(Refusal::invalid(
                field,
                "the rows of one receipt must say the same, or nothing",
            )
            .into());
        }
    }
    let amount = layout
        .decimal(cells, "allocated")?
        .map(|amount| books::amount("allocated", amount, receipt.currency))
        .transpose()?;
    let on = layout.day(cells, "matchedOn")?;
    if let Some(on) = on {
        books.check_day("matchedOn", on)?;
    }
    let on = on.unwrap_or(receipt.received_on);
    if on < receipt.received_on {
        return Err(Refusal::invalid("matchedOn", "the matching is before the receipt").into());
    }
    let Some(invoice) = layout.text(cells, "invoice")? else {
        if amount.is_some() {
            return Err(Refusal::invalid("invoice", "say which invoice the amount settles").into());
        }
        return Ok(None);
    };
    Ok(Some(Part {
        row,
        invoice: books::text("invoice", invoice, 60)?,
        amount,
        on,
    }))
}

/// What the books hold of a batch's receipts.
struct Known {
    clients: HashMap<String, ClientId>,
    receipts: HashSet<String>,
    invoices: HashMap<String, Brief>,
    /// What the invoices have open, oldest due first, as far as the batch has got.
    open: HashMap<DocumentId, Vec<(ItemId, Minor)>>,
    /// The same as the books have it, locked.
    held: Vec<Item>,
}

impl Known {
    fn load<'a>(
        conn: &mut PgConnection,
        caller: &Caller,
        receipts: impl Iterator<Item = &'a Receipt> + Clone,
    ) -> Result<Known> {
        let company = caller.company;
        let clients: HashSet<String> = receipts
            .clone()
            .map(|receipt| receipt.client.clone())
            .collect();
        let clients: Vec<String> = clients.into_iter().collect();
        let numbers: Vec<String> = receipts
            .clone()
            .map(|receipt| receipt.number.clone())
            .collect();
        let invoices: HashSet<String> = receipts
            .flat_map(|receipt| receipt.parts.iter().map(|part| part.invoice.clone()))
            .collect();
        let invoices: Vec<String> = invoices.into_iter().collect();
        let briefs = document::briefs(conn, company, &invoices)?;
        let ids: Vec<DocumentId> = briefs.iter().map(|brief| brief.id).collect();
        let held = store::item::open_of_invoices(conn, company, &ids)?;
        let mut open: HashMap<DocumentId, Vec<(ItemId, Minor)>> = HashMap::new();
        for item in &held {
            let invoice = DocumentId(item.source_id);
            let debit = (item.id, item.open_amount);
            open.entry(invoice).or_default().push(debit);
        }
        Ok(Known {
            clients: store::client::ids_by_number(conn, company, &clients)?
                .into_iter()
                .collect(),
            receipts: store::payment::taken_numbers(conn, company, &numbers)?
                .into_iter()
                .collect(),
            invoices: briefs
                .into_iter()
                .map(|brief| (brief.number.clone(), brief))
                .collect(),
            open,
            held,
        })
    }
}

/// A batch under way: what is known, and the records to be written together.
struct Plan<'a> {
    caller: &'a Caller,
    books: &'a Books,
    known: Known,
    made: Made,
    payments: Vec<Payment>,
    postings: Vec<Posting>,
    settlements: Vec<Settlement>,
}

/// A part of a receipt that settles an item of the books.
struct Settlement {
    invoice: DocumentId,
    debit: ItemId,
    receipt: PaymentId,
    amount: Minor,
    on: NaiveDate,
}

impl Plan<'_> {
    /// Takes a receipt in with everything that it settles, or refuses it whole.
    fn take(&mut self, receipt: Receipt) -> std::result::Result<(), Refused> {
        let at = |row: usize| move |error: Error| Refused { row, error };
        if self.known.receipts.contains(&receipt.number) {
            return Err(at(0)(taken(&format!("a receipt {}", receipt.number))));
        }
        let client = *self.known.clients.get(&receipt.client).ok_or_else(|| {
            let message = format!("there is no client {}", receipt.client);
            at(0)(Refusal::invalid("client", message).into())
        })?;
        let id = PaymentId::new();
        let mut settlements = Vec::with_capacity(receipt.parts.len());
        let mut left = receipt.amount;
        for part in &receipt.parts {
            let laid = self.lay(&receipt, id, client, part, left);
            let laid = laid.map(|laid| {
                left -= laid.iter().map(|made| made.amount).sum::<Minor>();
                self.reserve(&laid, 1);
                settlements.extend(laid);
            });
            if let Err(error) = laid {
                // What the rows before took is open again.
                self.reserve(&settlements, -1);
                return Err(at(part.row)(error));
            }
        }
        let payment = Payment {
            company_id: self.caller.company,
            id,
            number: receipt.number,
            external_ref: None,
            external_series: true,
            received_on: receipt.received_on,
            method: receipt.method,
            amount: receipt.amount,
            currency: receipt.currency.code().to_owned(),
            exchange_rate: receipt.rate,
            client_id: Some(client),
            payer: None,
            remittance: None,
            matures_on: None,
            recorded_by: self.caller.author.clone(),
            purpose: RECEIVABLE.into(),
            deposit_vat_rate: None,
            bank_account: None,
        };
        self.made.receipts += 1;
        self.made.allocations += settlements.len() as u64;
        self.known.receipts.insert(payment.number.clone());
        self.settlements.extend(settlements);
        self.postings
            .push(receipt_entry(self.books, &payment, receipt.currency, 0));
        self.payments.push(payment);
        Ok(())
    }

    /// Lays a part over what its invoice has open, oldest instalment first.
    fn lay(
        &self,
        receipt: &Receipt,
        id: PaymentId,
        client: ClientId,
        part: &Part,
        left: Minor,
    ) -> Result<Vec<Settlement>> {
        let number = &part.invoice;
        let invoice =
            self.known.invoices.get(number).ok_or_else(|| {
                Refusal::invalid("invoice", format!("there is no invoice {number}"))
            })?;
        super::check_named("invoice", invoice, client, receipt.currency)?;
        let items = self.known.open.get(&invoice.id);
        let items = items.map(Vec::as_slice).unwrap_or_default();
        let open: Minor = items.iter().map(|(_, open)| open).sum();
        let mut wanted = part.amount.unwrap_or_else(|| open.min(left));
        if wanted == 0 || wanted > open || wanted > left {
            return Err(Refusal::new(
                RefusalCode::OverAllocation,
                "allocated",
                format!(
                    "{} is open on invoice {number} and {} is left of the receipt",
                    receipt.currency.show(open),
                    receipt.currency.show(left)
                ),
            )
            .into());
        }
        let mut laid = Vec::new();
        for (debit, open) in items {
            let amount = wanted.min(*open);
            if amount > 0 {
                wanted -= amount;
                laid.push(Settlement {
                    invoice: invoice.id,
                    debit: *debit,
                    receipt: id,
                    amount,
                    on: part.on,
                });
            }
        }
        Ok(laid)
    }

    /// Takes what is settled from the open items, or gives it back when `times` is -1.
    fn reserve(&mut self, settlements: &[Settlement], times: Minor) {
        for made in settlements {
            let items = self.known.open.get_mut(&made.invoice).into_iter().flatten();
            for (_, open) in items.filter(|(debit, _)| *debit == made.debit) {
                *open -= times * made.amount;
            }
        }
    }

    fn write(self, conn: &mut PgConnection) -> Result<Made> {
        store::payment::insert(conn, &self.payments)?;
        let drafts = books::draft(self.caller, self.books, self.postings)?;
        let credits: HashMap<uuid::Uuid, ItemId> = drafts
            .opened
            .iter()
            .map(|opened| (opened.item.source_id, opened.item.id))
            .collect();
        let mut pairs = Vec::with_capacity(self.settlements.len());
        for made in &self.settlements {
            let credit = credits
                .get(&made.receipt.0)
                .ok_or_else(|| Error::Internal("a posted line has no open item".into()))?;
            let pair = Pair {
                debit: made.debit,
                credit: *credit,
                amount: made.amount,
                line: 0,
            };
            pairs.push((pair, made.on));
        }
        let held = self.known.held;
        matching::match_drafts(conn, self.caller, self.books, drafts, held, &pairs, RULE)?;
        Ok(self.made)
    }
}
