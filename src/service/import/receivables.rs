//! Receivables: invoices, credit notes as rows with a negative amount, and the receipts that settled them.
//!
//! | Column | |
//! |---|---|
//! | `client` | needed; an unknown client is created |
//! | `clientName` | |
//! | `number` | needed |
//! | `issuedOn` | needed |
//! | `dueOn` | by the client's terms when empty |
//! | `amount` | needed, VAT included; a credit note when negative |
//! | `currency` | |
//! | `exchangeRate` | needed for a foreign currency: units of the company's for 1 of the row's |
//! | `settledOn` | a receipt of the whole amount on that day; of a credit note, the day it was set against its invoice |
//! | `vatRate` | percent; no VAT when empty, and the invoice's rates for a credit note on one |
//! | `creditOf` | of a credit note: the number of the invoice it corrects |

use std::collections::{HashMap, HashSet};
use std::path::Path;

use chrono::NaiveDate;
use csv::ByteRecord;
use diesel::pg::PgConnection;
use rust_decimal::Decimal;
use serde_json::json;

use super::layout::{Field, Layout, Mapping, needed, optional};
use super::{Bad, Failure, Kind, Made, Outcome, Place, RULE, Record, Series, Summary, taken};
use crate::domain::access::Caller;
use crate::domain::company::VatDue;
use crate::domain::ids::{ClientId, DocumentId, Id, ItemId, PaymentId};
use crate::domain::money::{Currency, Minor};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::domain::terms::{Issue, TermsLaw};
use crate::domain::vat::{self, RateShare};
use crate::error::{Error, Result};
use crate::service::books::{self, Books, NewItem, NewLine, Posting};
use crate::service::matching::{self, Pair};
use crate::service::{invoice, law};
use crate::store::client::Client;
use crate::store::document::{self, Brief, Document, NewDocument};
use crate::store::item::Item;
use crate::store::payment::{Payment, RECEIVABLE};
use crate::store::{self, Db};

/// How to read a file.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The text of a mapping.
    pub mapping: Option<String>,
    /// Leave the settlement days aside: everything stays open.
    pub ignore_settlements: bool,
}

/// Imports a file of receivables for the caller's company; `tell` hears of each row left out.
pub fn import(
    db: &Db,
    caller: &Caller,
    path: &Path,
    options: &Options,
    tell: impl FnMut(&str),
) -> std::result::Result<Summary, Failure> {
    let kind = Receivables {
        ignore_settlements: options.ignore_settlements,
    };
    super::run(&kind, db, caller, path, options.mapping.as_deref(), tell)
}

struct Receivables {
    ignore_settlements: bool,
}

impl Kind for Receivables {
    const NAME: &'static str = "receivables";
    const FIELDS: &'static [Field] = &[
        needed("client"),
        optional("clientName"),
        needed("number"),
        needed("issuedOn"),
        optional("dueOn"),
        needed("amount"),
        optional("currency"),
        optional("exchangeRate"),
        optional("settledOn"),
        optional("vatRate"),
        optional("creditOf"),
    ];

    /// The layout of a well-known sample of receivables, met in many places.
    fn sample(header: &[String]) -> Option<Mapping> {
        let columns = [
            ("client", "customerID"),
            ("number", "invoiceNumber"),
            ("issuedOn", "InvoiceDate"),
            ("dueOn", "DueDate"),
            ("amount", "InvoiceAmount"),
            ("settledOn", "SettledDate"),
        ];
        let told = ["customerID", "invoiceNumber", "InvoiceAmount"];
        told.iter()
            .all(|name| header.iter().any(|column| column == name))
            .then(|| Mapping {
                columns: columns
                    .map(|(own, name)| (own.to_owned(), name.to_owned()))
                    .into(),
                date_format: Some("%m/%d/%Y".into()),
                currency: Some("EUR".into()),
                ..Mapping::default()
            })
    }

    fn manner(&self) -> u8 {
        u8::from(self.ignore_settlements)
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
        let mut rows = Vec::with_capacity(batch.len());
        for record in batch {
            match self.read(layout, &books, record) {
                Ok(row) => rows.push(row),
                Err(error) => outcome.bad.push(Bad::of(record.at, layout, error)?),
            }
        }
        if series == Series::First {
            let days = rows.iter().map(|row| row.issued_on);
            books.hold_entries(
                conn,
                days.chain(rows.iter().filter_map(|row| row.settled_on)),
            )?;
        }
        let known = Known::load(conn, caller, &rows)?;
        let mut plan = Plan {
            caller,
            books: &books,
            known,
            made: Made::default(),
            records: Records::default(),
        };
        for row in rows {
            if let Err(error) = plan.take(&row) {
                outcome.bad.push(Bad::of(row.at, layout, error)?);
            }
        }
        outcome.bad.sort_by_key(|bad| bad.at);
        outcome.made = plan.write(conn)?;
        Ok(outcome)
    }
}

/// A row as read, with nothing of the database in it but the currency.
struct Row {
    at: Place,
    client: String,
    client_name: Option<String>,
    number: String,
    issued_on: NaiveDate,
    due_on: Option<NaiveDate>,
    /// Positive.
    amount: Minor,
    currency: Currency,
    given_rate: Option<Decimal>,
    settled_on: Option<NaiveDate>,
    vat_rate: Option<Decimal>,
    /// Of a credit note, the invoice it corrects if any.
    credits: Option<Option<String>>,
}

impl Receivables {
    fn read(&self, layout: &Layout, books: &Books, record: &Record) -> Result<Row> {
        let cells: &ByteRecord = &record.cells;
        layout.check_shape(cells)?;
        let currency = layout.currency(cells, books)?;
        let amount = layout.needed_decimal(cells, "amount")?;
        let corrects = layout.text(cells, "creditOf")?;
        let is_credit = amount < Decimal::ZERO;
        if corrects.is_some() && !is_credit {
            return Err(Refusal::invalid(
                "creditOf",
                "only a credit note corrects an invoice: its amount is negative",
            )
            .into());
        }
        let amount = if is_credit { -amount } else { amount };
        // The unit price of the invoice's line holds twelve digits before the decimals.
        if amount >= Decimal::from(1_000_000_000_000_i64) {
            return Err(Refusal::invalid("amount", "the amount is too large").into());
        }
        let amount = books::amount("amount", amount, currency)?;
        let issued_on = layout.needed_day(cells, "issuedOn")?;
        books.check_day("issuedOn", issued_on)?;
        let due_on = layout.day(cells, "dueOn")?;
        if !is_credit && due_on.is_some_and(|due_on| due_on < issued_on) {
            return Err(
                Refusal::invalid("dueOn", "the due date is before the invoice's date").into(),
            );
        }
        let settled_on = if self.ignore_settlements {
            None
        } else {
            layout.day(cells, "settledOn")?
        };
        if let Some(settled_on) = settled_on {
            if settled_on < issued_on {
                return Err(Refusal::invalid(
                    "settledOn",
                    "the settlement is before the invoice's date",
                )
                .into());
            }
            if is_credit && corrects.is_none() {
                return Err(Refusal::invalid(
                    "settledOn",
                    "say in creditOf which invoice the credit note was set against, or leave the day empty",
                )
                .into());
            }
            books.check_day("settledOn", settled_on)?;
        }
        let given_rate = layout.decimal(cells, "exchangeRate")?;
        // A credit note takes the rate of its invoice when it has none.
        if given_rate.is_some() || corrects.is_none() {
            books.rate(currency, given_rate)?;
        }
        let vat_rate = layout
            .decimal(cells, "vatRate")?
            .map(|rate| rate.normalize());
        if vat_rate.is_some_and(|rate| {
            rate < Decimal::ZERO || rate > Decimal::ONE_HUNDRED || rate.scale() > 3
        }) {
            return Err(Refusal::invalid(
                "vatRate",
                "a rate is between 0 and 100 percent, with at most 3 decimals",
            )
            .into());
        }
        let corrects = corrects
            .map(|number| books::text("creditOf", number, 60))
            .transpose()?;
        Ok(Row {
            at: record.at,
            client: books::text("client", layout.needed(cells, "client")?, 40)?,
            client_name: books::optional_text(
                "clientName",
                layout.text(cells, "clientName")?,
                200,
            )?,
            // Room is left for the prefix of the receipt's number.
            number: books::text("number", layout.needed(cells, "number")?, 57)?,
            issued_on,
            due_on,
            amount,
            currency,
            given_rate,
            settled_on,
            vat_rate,
            credits: is_credit.then_some(corrects),
        })
    }
}

fn receipt_number(invoice: &str) -> String {
    format!("RG-{invoice}")
}

/// An invoice that a credit note of this file may correct.
struct Corrected {
    brief: Brief,
    /// What can still be credited at each rate (R2.5).
    left: Vec<RateShare>,
}

/// What a batch may correct, by number, and what of it is open, oldest due first.
#[derive(Default)]
struct Corrections {
    corrected: HashMap<String, Corrected>,
    open: HashMap<DocumentId, Vec<(Debit, Minor)>>,
    /// What is open of those in the books, locked.
    held: Vec<Item>,
}

/// A debit that is open, as far as this batch has got.
#[derive(Clone, Copy)]
enum Debit {
    /// An item of the books.
    Known(ItemId),
    /// Of an invoice of this batch.
    New(DocumentId),
}

/// What the books hold already of a batch's numbers.
struct Known {
    law: TermsLaw,
    clients: HashMap<String, Client>,
    invoices: HashSet<String>,
    credit_notes: HashSet<String>,
    receipts: HashSet<String>,
    corrected: HashMap<String, Corrected>,
    /// What the invoices to correct have open, oldest due first, as far as the batch has got.
    open: HashMap<DocumentId, Vec<(Debit, Minor)>>,
    /// The same of those in the books, locked.
    held: Vec<Item>,
}

impl Known {
    fn load(conn: &mut PgConnection, caller: &Caller, rows: &[Row]) -> Result<Known> {
        let company = caller.company;
        let clients: HashSet<String> = rows.iter().map(|row| row.client.clone()).collect();
        let clients: Vec<String> = clients.into_iter().collect();
        let numbers = |credit: bool| -> Vec<String> {
            rows.iter()
                .filter(|row| row.credits.is_some() == credit)
                .map(|row| row.number.clone())
                .collect()
        };
        let receipts: Vec<String> = rows
            .iter()
            .filter(|row| row.settled_on.is_some() && row.credits.is_none())
            .map(|row| receipt_number(&row.number))
            .collect();
        let corrected: HashSet<String> = rows
            .iter()
            .filter_map(|row| row.credits.clone().flatten())
            .collect();
        let corrected: Vec<String> = corrected.into_iter().collect();
        let Corrections {
            corrected,
            open,
            held,
        } = corrected_in_books(conn, caller, &corrected)?;
        let mut taken = |kind: &str, numbers: Vec<String>| -> Result<HashSet<String>> {
            let found = document::taken_numbers(conn, company, kind, &numbers)?;
            Ok(found.into_iter().collect())
        };
        Ok(Known {
            invoices: taken(document::INVOICE, numbers(false))?,
            credit_notes: taken(document::CREDIT_NOTE, numbers(true))?,
            receipts: store::payment::taken_numbers(conn, company, &receipts)?
                .into_iter()
                .collect(),
            clients: store::client::by_numbers(conn, company, &clients)?
                .into_iter()
                .map(|client| (client.number.clone(), client))
                .collect(),
            law: law::terms(conn)?,
            corrected,
            open,
            held,
        })
    }

    /// Whether a due date is later than the law allows: it is kept and counted (R6.2). Invoices older
    /// than the ceilings have none.
    fn above_ceiling(&self, client: &Client, row: &Row, due_on: NaiveDate) -> Result<bool> {
        let (Some(buyer), Ok(ceilings)) = (invoice::buyer(client), self.law.on(row.issued_on))
        else {
            return Ok(false);
        };
        let issue = Issue {
            issued_on: row.issued_on,
            received_on: None,
            rule: invoice::terms_of(client)?.rule,
            periodic: false,
            buyer,
        };
        Ok(issue.check_due(due_on, &ceilings).is_err())
    }
}

/// Invoices of the books that credit notes of the batch correct, locked with what they have open.
fn corrected_in_books(
    conn: &mut PgConnection,
    caller: &Caller,
    numbers: &[String],
) -> Result<Corrections> {
    if numbers.is_empty() {
        return Ok(Corrections::default());
    }
    let briefs = document::briefs(conn, caller.company, numbers)?;
    let ids: Vec<DocumentId> = briefs.iter().map(|brief| brief.id).collect();
    let held = store::item::open_of_invoices(conn, caller.company, &ids)?;
    let mut open: HashMap<DocumentId, Vec<(Debit, Minor)>> = HashMap::new();
    for item in &held {
        let debit = (Debit::Known(item.id), item.open_amount);
        open.entry(DocumentId(item.source_id))
            .or_default()
            .push(debit);
    }
    let mut left: HashMap<DocumentId, Vec<RateShare>> = HashMap::new();
    for tax in document::creditable(conn, caller.company, &ids)? {
        left.entry(tax.document_id).or_default().push(RateShare {
            rate: tax.vat_rate,
            net: tax.net,
            vat: tax.vat,
        });
    }
    let corrected = briefs
        .into_iter()
        .map(|brief| {
            let left = left.remove(&brief.id).unwrap_or_default();
            (brief.number.clone(), Corrected { brief, left })
        })
        .collect();
    Ok(Corrections {
        corrected,
        open,
        held,
    })
}

/// A batch under way: what is known, and the records to be written together.
struct Plan<'a> {
    caller: &'a Caller,
    books: &'a Books,
    known: Known,
    made: Made,
    records: Records,
}

#[derive(Default)]
struct Records {
    clients: Vec<Client>,
    documents: Vec<NewDocument>,
    lines: Vec<document::Line>,
    taxes: Vec<document::Tax>,
    payments: Vec<Payment>,
    postings: Vec<Posting>,
    settlements: Vec<Settlement>,
}

/// A credit that settles a debit.
struct Settlement {
    debit: Debit,
    /// The receipt or credit note.
    credit: uuid::Uuid,
    amount: Minor,
    on: NaiveDate,
}

impl Plan<'_> {
    /// Takes a row in, or refuses it whole.
    fn take(&mut self, row: &Row) -> Result<()> {
        let found = self.known.clients.get(&row.client).cloned();
        let fresh = found.is_none();
        let client = found.unwrap_or_else(|| self.new_client(row));
        if let Some(closed) = client.closed_on {
            return Err(Refusal::new(
                RefusalCode::WrongState,
                "client",
                format!(
                    "the account of client {} was closed on {closed}",
                    row.client
                ),
            )
            .into());
        }
        match &row.credits {
            None => self.invoice(&client, row)?,
            Some(corrects) => self.credit_note(&client, row, corrects.as_deref())?,
        }
        if fresh {
            self.known
                .clients
                .insert(row.client.clone(), client.clone());
            self.records.clients.push(client);
            self.made.clients += 1;
        }
        Ok(())
    }

    fn new_client(&self, row: &Row) -> Client {
        Client {
            number: row.client.clone(),
            name: row
                .client_name
                .clone()
                .unwrap_or_else(|| row.client.clone()),
            ..crate::service::client::blank(self.caller, self.books)
        }
    }

    fn invoice(&mut self, client: &Client, row: &Row) -> Result<()> {
        if self.known.invoices.contains(&row.number) {
            return Err(taken(&format!("an invoice {}", row.number)));
        }
        let receipt = receipt_number(&row.number);
        if row.settled_on.is_some() && self.known.receipts.contains(&receipt) {
            return Err(taken(&format!("a receipt {receipt}")));
        }
        let due_on = match row.due_on {
            Some(due_on) => due_on,
            None => {
                let ceilings = self
                    .known
                    .law
                    .on(row.issued_on)
                    .map_err(|error| law::not_covered("issuedOn", &error))?;
                invoice::terms_of(client)?.due_on(row.issued_on, None, &ceilings)
            }
        };
        let above = self.known.above_ceiling(client, row, due_on)?;
        self.made.above_ceiling += u64::from(above);
        self.made.invoices += 1;
        self.known.invoices.insert(row.number.clone());
        let rate = row.vat_rate.unwrap_or_default();
        let (net, vat) = vat::split_gross(row.amount, rate);
        let shares = vec![RateShare { rate, net, vat }];
        let exchange_rate = self.books.rate(row.currency, row.given_rate)?;
        let label = format!("Reprise facture {}", row.number);
        let id = self.document(
            client,
            row,
            Some(due_on),
            None,
            exchange_rate,
            &shares,
            &label,
        );
        let accounts = &self.books.settings.accounts;
        let item = NewItem {
            kind: document::INVOICE,
            source_id: id.0,
            reference: row.number.clone(),
            invoice_id: Some(id),
            invoiced_on: row.issued_on,
            due_on: Some(due_on),
            document_net: net,
            document_total: row.amount,
        };
        let lines = vec![
            NewLine::debit(&accounts.receivable, row.amount).open(client.id, item),
            NewLine::credit(&accounts.opening, row.amount),
        ];
        self.opening(row, document::INVOICE, id, exchange_rate, label, lines);
        let mut open = row.amount;
        if let Some(settled_on) = row.settled_on {
            self.receipt(client, row, id, exchange_rate, settled_on);
            open = 0;
        }
        self.known.open.insert(id, vec![(Debit::New(id), open)]);
        self.known.corrected.insert(
            row.number.clone(),
            Corrected {
                brief: Brief {
                    id,
                    number: row.number.clone(),
                    client_id: client.id,
                    issued_on: row.issued_on,
                    currency: row.currency.code().to_owned(),
                    exchange_rate,
                    vat_due: VatDue::Debits.code().to_owned(),
                },
                left: shares,
            },
        );
        Ok(())
    }

    /// D 89x / C 411, on its own or against the invoice it corrects (R2.5).
    fn credit_note(&mut self, client: &Client, row: &Row, corrects: Option<&str>) -> Result<()> {
        if self.known.credit_notes.contains(&row.number) {
            return Err(taken(&format!("a credit note {}", row.number)));
        }
        let mut exchange_rate = row.given_rate;
        let mut shares = Vec::new();
        let mut corrected = None;
        if let Some(number) = corrects {
            let found = self.known.corrected.get_mut(number).ok_or_else(|| {
                Refusal::invalid("creditOf", format!("there is no invoice {number}"))
            })?;
            check_corrected(&found.brief, client.id, row)?;
            shares = credited_shares(found, row)?;
            exchange_rate = exchange_rate.or(Some(found.brief.exchange_rate));
            for share in &shares {
                for left in found.left.iter_mut().filter(|left| left.rate == share.rate) {
                    left.net -= share.net;
                    left.vat -= share.vat;
                }
            }
            corrected = Some(found.brief.id);
        } else {
            let rate = row.vat_rate.unwrap_or_default();
            let (net, vat) = vat::split_gross(row.amount, rate);
            shares.push(RateShare { rate, net, vat });
        }
        let exchange_rate = self.books.rate(
            row.currency,
            exchange_rate.filter(|_| row.currency != self.books.currency),
        )?;
        self.made.credit_notes += 1;
        self.known.credit_notes.insert(row.number.clone());
        let label = format!("Reprise avoir {}", row.number);
        let id = self.document(client, row, None, corrected, exchange_rate, &shares, &label);
        let accounts = &self.books.settings.accounts;
        let item = NewItem {
            kind: document::CREDIT_NOTE,
            source_id: id.0,
            reference: row.number.clone(),
            invoice_id: corrected,
            invoiced_on: row.issued_on,
            due_on: None,
            document_net: shares.iter().map(|share| share.net).sum(),
            document_total: row.amount,
        };
        let lines = vec![
            NewLine::debit(&accounts.opening, row.amount),
            NewLine::credit(&accounts.receivable, row.amount).open(client.id, item),
        ];
        self.opening(row, document::CREDIT_NOTE, id, exchange_rate, label, lines);
        let open = corrected.and_then(|id| self.known.open.get_mut(&id));
        let mut rest = row.amount;
        for (debit, open) in open.into_iter().flatten() {
            let amount = rest.min(*open);
            if amount > 0 {
                *open -= amount;
                rest -= amount;
                self.records.settlements.push(Settlement {
                    debit: *debit,
                    credit: id.0,
                    amount,
                    on: row.settled_on.unwrap_or(row.issued_on),
                });
            }
        }
        Ok(())
    }

    /// Adds a document with a line and a tax for each rate.
    #[expect(
        clippy::too_many_arguments,
        reason = "what invoices and credit notes differ in"
    )]
    fn document(
        &mut self,
        client: &Client,
        row: &Row,
        due_on: Option<NaiveDate>,
        corrects: Option<DocumentId>,
        exchange_rate: Decimal,
        shares: &[RateShare],
        label: &str,
    ) -> DocumentId {
        let id = DocumentId::new();
        let company_id = self.caller.company;
        let kind = if row.credits.is_some() {
            document::CREDIT_NOTE
        } else {
            document::INVOICE
        };
        for (share, line) in shares.iter().zip(1_i16..) {
            self.records.lines.push(document::Line {
                company_id,
                document_id: id,
                line,
                description: label.to_owned(),
                quantity: Decimal::ONE,
                unit_price: row.currency.decimal(share.net),
                discount_percent: Decimal::ZERO,
                vat_rate: share.rate,
                net: share.net,
                account: self.books.settings.accounts.opening.clone(),
            });
            self.records.taxes.push(document::Tax {
                company_id,
                document_id: id,
                vat_rate: share.rate,
                net: share.net,
                vat: share.vat,
            });
        }
        let document = Document {
            company_id,
            id,
            kind: kind.into(),
            number: row.number.clone(),
            external_ref: None,
            external_series: true,
            client_id: client.id,
            issued_on: row.issued_on,
            due_on,
            currency: row.currency.code().to_owned(),
            net: shares.iter().map(|share| share.net).sum(),
            vat: shares.iter().map(|share| share.vat).sum(),
            total: row.amount,
            exchange_rate,
            invoice_id: corrects,
            period_from: None,
            period_to: None,
            purchase_order: None,
            recorded_by: self.caller.author.clone(),
            vat_due: VatDue::Debits.code().to_owned(),
            discount_percent: None,
            discount_days: None,
            deducted_discount: 0,
            reason: None,
        };
        self.records.documents.push(NewDocument {
            document,
            // The other system printed it: its mentions are not known here.
            snapshot: invoice::snapshot(self.books, client, &json!({})),
        });
        id
    }

    /// Adds the entry that takes a document over, against the opening account.
    fn opening(
        &mut self,
        row: &Row,
        kind: &'static str,
        id: DocumentId,
        rate: Decimal,
        label: String,
        lines: Vec<NewLine>,
    ) {
        self.records.postings.push(Posting {
            journal: "AN".into(),
            posted_on: row.issued_on,
            occurred_on: row.issued_on,
            reference: row.number.clone(),
            label,
            source_kind: kind,
            source_id: id.0,
            reversal_of: None,
            currency: row.currency,
            rate,
            lines,
        });
    }

    /// D 512 / C 411 for the whole invoice on the day it was settled.
    fn receipt(
        &mut self,
        client: &Client,
        row: &Row,
        invoice: DocumentId,
        rate: Decimal,
        settled_on: NaiveDate,
    ) {
        let payment = Payment {
            company_id: self.caller.company,
            id: PaymentId::new(),
            number: receipt_number(&row.number),
            external_ref: None,
            external_series: true,
            received_on: settled_on,
            method: "TRANSFER".into(),
            amount: row.amount,
            currency: row.currency.code().to_owned(),
            exchange_rate: rate,
            client_id: Some(client.id),
            payer: None,
            remittance: None,
            matures_on: None,
            recorded_by: self.caller.author.clone(),
            purpose: RECEIVABLE.into(),
            deposit_vat_rate: None,
            bank_account: None,
        };
        self.made.receipts += 1;
        self.known.receipts.insert(payment.number.clone());
        self.records
            .postings
            .push(crate::service::payment::receipt_entry(
                self.books,
                &payment,
                row.currency,
                0,
            ));
        self.records.settlements.push(Settlement {
            debit: Debit::New(invoice),
            credit: payment.id.0,
            amount: row.amount,
            on: settled_on,
        });
        self.records.payments.push(payment);
    }

    fn write(mut self, conn: &mut PgConnection) -> Result<Made> {
        let Records {
            clients,
            documents,
            lines,
            taxes,
            payments,
            postings,
            settlements,
        } = self.records;
        store::client::insert(conn, &clients)?;
        document::insert(conn, &documents, &lines, &taxes)?;
        store::payment::insert(conn, &payments)?;
        let drafts = books::draft(self.caller, self.books, postings)?;
        let items: HashMap<uuid::Uuid, ItemId> = drafts
            .opened
            .iter()
            .map(|opened| (opened.item.source_id, opened.item.id))
            .collect();
        let item = |source: &uuid::Uuid| {
            items
                .get(source)
                .copied()
                .ok_or_else(|| Error::Internal("a posted line has no open item".into()))
        };
        let mut pairs = Vec::with_capacity(settlements.len());
        for settlement in &settlements {
            let pair = Pair {
                debit: match settlement.debit {
                    Debit::Known(id) => id,
                    Debit::New(document) => item(&document.0)?,
                },
                credit: item(&settlement.credit)?,
                amount: settlement.amount,
                line: 0,
            };
            pairs.push((pair, settlement.on));
        }
        self.made.allocations = pairs.len() as u64;
        let held = self.known.held;
        matching::match_drafts(conn, self.caller, self.books, drafts, held, &pairs, RULE)?;
        Ok(self.made)
    }
}

/// A credit note fits its invoice.
fn check_corrected(invoice: &Brief, client: ClientId, row: &Row) -> Result<()> {
    let number = &invoice.number;
    super::check_named("creditOf", invoice, client, row.currency)?;
    if row.issued_on < invoice.issued_on {
        let day = invoice.issued_on;
        let message = format!("invoice {number} is of {day}: its credit note cannot be older");
        return Err(Refusal::invalid("issuedOn", message).into());
    }
    if invoice.vat_due != VatDue::Debits.code() {
        // Its VAT waits on 4458, and the opening balance says nothing of it.
        return Err(Refusal::invalid(
            "creditOf",
            format!("the VAT of invoice {number} falls due on receipts: issue its credit note with issueCreditNote"),
        )
        .into());
    }
    Ok(())
}

/// The rates of a credit note on an invoice: its own, else those of what is left of the invoice; never
/// more than that (R2.5).
fn credited_shares(invoice: &Corrected, row: &Row) -> Result<Vec<RateShare>> {
    let over: Vec<RateShare> = invoice
        .left
        .iter()
        .filter(|left| left.gross() > 0 && row.vat_rate.is_none_or(|rate| rate == left.rate))
        .copied()
        .collect();
    let left: Minor = over.iter().map(RateShare::gross).sum();
    if row.amount > left {
        return Err(Refusal::new(
            RefusalCode::CreditExceedsInvoice,
            "amount",
            format!(
                "{} can still be credited on {}, {} was asked",
                row.currency.show(left),
                invoice.brief.number,
                row.currency.show(row.amount)
            ),
        )
        .into());
    }
    Ok(vat::split_over_rates(row.amount, &over)
        .into_iter()
        .filter(|share| share.gross() > 0)
        .collect())
}
