//! Credit notes: against an invoice, never above it; or free-standing, for a period (R2.5).

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use rust_decimal::Decimal;
use serde_json::json;

use super::books::{self, Books, Draw, NewItem, NewLine, Posting};
use super::invoice::{self, LineInput, Worked};
use super::matching::{self, Pair};
use super::reference::{self, Ref};
use super::{approval, vat_receipts};
use crate::domain::access::Caller;
use crate::domain::approval::{ApprovalKind, Matter};
use crate::domain::company::VatDue;
use crate::domain::ids::{DocumentId, Id, ItemId};
use crate::domain::money::{Currency, Minor};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::domain::vat::{self, RateShare};
use crate::error::Result;
use crate::store::client::Client;
use crate::store::document::{self, Document, Line, NewDocument, Tax};
use crate::store::item::Item;
use crate::store::numbering::Numbered;
use crate::store::{self};

/// What is said of a number or a reference that is taken.
const TAKEN: &str = "a credit note with this number or reference exists already";

/// A credit note as entered.
#[derive(Clone, Debug, Default)]
pub struct CreditNoteInput {
    pub number: Option<String>,
    pub external_ref: Option<String>,
    pub client: Option<Ref>,
    pub invoice: Option<Ref>,
    pub issued_on: Option<NaiveDate>,
    pub period: Option<(NaiveDate, NaiveDate)>,
    pub currency: Option<String>,
    pub exchange_rate: Option<Decimal>,
    pub lines: Vec<LineInput>,
    /// Instead of lines: a gross amount, split over the invoice's VAT rates (R0.3).
    pub amount: Option<Decimal>,
    /// Whether to match it with its invoice at once (R3.9).
    pub allocate: bool,
    /// Whether a day in a closed period is posted on the first open day (R2.2).
    pub late_entry: bool,
    /// Why it is given (motif).
    pub reason: Option<String>,
}

/// Longest reason.
const REASON: usize = 500;

/// Issues a credit note: number, entry D 70x or 709x and 44571 / C 411, open item, first matching.
pub fn issue(
    conn: &mut PgConnection,
    caller: &Caller,
    input: &CreditNoteInput,
) -> Result<DocumentId> {
    let books = books::open(conn, caller)?;
    let invoice = input
        .invoice
        .as_ref()
        .map(|target| reference::invoice(conn, caller, "invoice", target))
        .transpose()?;
    let client = match (&input.client, &invoice) {
        (Some(target), _) => reference::client(conn, caller, "client", target)?,
        (None, Some(invoice)) => store::client::by_id(conn, caller.company, invoice.client_id)?
            .ok_or_else(|| Refusal::not_found("client", "client"))?,
        (None, None) => {
            return Err(
                Refusal::invalid("client", "name the client, or the invoice to credit").into(),
            );
        }
    };
    if let Some(invoice) = &invoice {
        if invoice.client_id != client.id {
            return Err(
                Refusal::invalid("invoice", "the invoice belongs to another client").into(),
            );
        }
        // Those who credit the same invoice at once wait in line.
        document::for_update(conn, caller.company, invoice.id)?;
    } else {
        super::client::refuse_closed(&client, "client")?;
    }
    let currency = currency_of(&client, invoice.as_ref(), input)?;
    let id = DocumentId::new();
    let worked = worked(conn, caller, &books, id, invoice.as_ref(), currency, input)?;
    issue_worked(
        conn,
        caller,
        &books,
        &client,
        invoice.as_ref(),
        id,
        currency,
        worked,
        input,
    )
}

fn currency_of(
    client: &Client,
    invoice: Option<&Document>,
    input: &CreditNoteInput,
) -> Result<Currency> {
    let expected =
        books::currency(invoice.map_or(client.currency.as_str(), |invoice| &invoice.currency))?;
    match &input.currency {
        None => Ok(expected),
        Some(code) => {
            let given = books::currency_input("currency", code)?;
            if invoice.is_some() && given != expected {
                return Err(Refusal::new(
                    RefusalCode::CurrencyMismatch,
                    "currency",
                    format!("the invoice is in {expected}"),
                )
                .into());
            }
            Ok(given)
        }
    }
}

/// The lines: as entered, or a gross amount over the invoice's VAT rates.
fn worked(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    id: DocumentId,
    invoice: Option<&Document>,
    currency: Currency,
    input: &CreditNoteInput,
) -> Result<Worked> {
    match (input.amount, invoice) {
        (None, _) => invoice::work_out(
            caller,
            id,
            &input.lines,
            currency,
            &books.settings.accounts.rebate,
            None,
        ),
        (Some(_), _) if !input.lines.is_empty() => {
            Err(Refusal::invalid("amount", "give lines or an amount, not both").into())
        }
        (Some(_), None) => Err(Refusal::invalid(
            "amount",
            "an amount alone needs an invoice, whose VAT rates it is split over",
        )
        .into()),
        (Some(amount), Some(invoice)) => {
            let gross = books::amount("amount", amount, currency)?;
            split_over(conn, caller, books, id, invoice, gross)
        }
    }
}

/// A part of an invoice, gross, as lines: one per VAT rate, on the rebate account (R0.3, R2.9).
pub fn split_over(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    id: DocumentId,
    invoice: &Document,
    gross: Minor,
) -> Result<Worked> {
    // Over what is left to credit at each rate, so that the rest of an invoice can always be credited (R2.5).
    let credited = document::credited(conn, caller.company, invoice.id)?;
    let shares: Vec<RateShare> = document::taxes(conn, caller.company, &[invoice.id])?
        .iter()
        .map(|tax| {
            let before = credited
                .iter()
                .filter(|before| before.vat_rate == tax.vat_rate);
            before.fold(share(tax), |left, before| RateShare {
                net: left.net - before.net,
                vat: left.vat - before.vat,
                ..left
            })
        })
        .filter(|left| left.gross() > 0)
        .collect();
    let left: Minor = shares.iter().map(RateShare::gross).sum();
    if gross > left {
        let currency = books::currency(&invoice.currency)?;
        return Err(Refusal::new(
            RefusalCode::CreditExceedsInvoice,
            "amount",
            format!(
                "{} can still be credited on {}, {} was asked",
                currency.show(left),
                invoice.number,
                currency.show(gross)
            ),
        )
        .detail("creditable", currency.decimal(left).to_string())
        .into());
    }
    let taxes: Vec<RateShare> = vat::split_over_rates(gross, &shares)
        .into_iter()
        .filter(|share| share.net + share.vat > 0)
        .collect();
    let currency = books::currency(&invoice.currency)?;
    let lines = taxes
        .iter()
        .zip(1_i16..)
        .map(|(share, position)| Line {
            company_id: caller.company,
            document_id: id,
            line: position,
            description: format!("Avoir sur facture {}", invoice.number),
            quantity: Decimal::ONE,
            unit_price: currency.decimal(share.net),
            discount_percent: Decimal::ZERO,
            vat_rate: share.rate,
            net: share.net,
            account: books.settings.accounts.rebate.clone(),
        })
        .collect();
    let (net, vat) = taxes.iter().fold((0, 0), |(net, vat), share| {
        (net + share.net, vat + share.vat)
    });
    Ok(Worked {
        lines,
        taxes,
        net,
        vat,
        deducted: 0,
    })
}

fn share(tax: &Tax) -> RateShare {
    RateShare {
        rate: tax.vat_rate,
        net: tax.net,
        vat: tax.vat,
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "everything a credit note is made of, found by its two callers"
)]
fn issue_worked(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    client: &Client,
    invoice: Option<&Document>,
    id: DocumentId,
    currency: Currency,
    worked: Worked,
    input: &CreditNoteInput,
) -> Result<DocumentId> {
    let issued_on = input.issued_on.unwrap_or(caller.today);
    books.accounting_day("issuedOn", issued_on, input.late_entry)?;
    if let Some(invoice) = invoice {
        if issued_on < invoice.issued_on {
            return Err(Refusal::invalid(
                "issuedOn",
                format!(
                    "the invoice is of {}: its credit note cannot be older",
                    invoice.issued_on
                ),
            )
            .into());
        }
        check_ceiling(conn, caller, invoice, currency, &worked)?;
    }
    if let Some((from, to)) = input.period
        && from > to
    {
        return Err(Refusal::invalid("periodTo", "the period ends before it begins").into());
    }
    let rate = books.rate(
        currency,
        input
            .exchange_rate
            .or(invoice.map(|invoice| invoice.exchange_rate)),
    )?;
    let series = Draw {
        prefix: &books.settings.series.credit_notes,
        on: issued_on,
        dated: true,
        field: "issuedOn",
        of: Numbered::Documents,
        taken: TAKEN,
    };
    let number = books.number(conn, input.number.as_deref(), &series)?;
    let document = Document {
        company_id: caller.company,
        id,
        kind: document::CREDIT_NOTE.into(),
        number: number.clone(),
        external_ref: books::optional_text("externalRef", input.external_ref.as_deref(), 100)?,
        external_series: input.number.is_some(),
        client_id: client.id,
        issued_on,
        due_on: None,
        currency: currency.code().to_owned(),
        net: worked.net,
        vat: worked.vat,
        total: worked.total(),
        exchange_rate: rate,
        invoice_id: invoice.map(|invoice| invoice.id),
        period_from: input.period.map(|(from, _)| from),
        period_to: input.period.map(|(_, to)| to),
        purchase_order: None,
        recorded_by: caller.author.clone(),
        vat_due: invoice
            .map_or(VatDue::Debits.code(), |invoice| &invoice.vat_due)
            .to_owned(),
        discount_percent: None,
        discount_days: None,
        deducted_discount: 0,
        reason: books::optional_text("reason", input.reason.as_deref(), REASON)?,
    };
    document::insert(
        conn,
        &[NewDocument {
            document,
            snapshot: invoice::snapshot(books, client, &json!({})),
        }],
        &worked.lines,
        &worked.tax_rows(caller, id),
    )
    .map_err(|error| books::duplicate_or_again(error, input.number.is_none(), "number", TAKEN))?;
    let total = worked.total();
    let vat = vat_receipts::take_off(
        conn, caller, books, invoice, "CREDIT", worked.vat, issued_on,
    )?;
    let posting = entry(
        books, client, invoice, id, &number, issued_on, currency, rate, &worked, vat,
    );
    let items = books::post(conn, caller, books, vec![posting])?;
    if let (Some(invoice), true, Some(credit)) = (invoice, input.allocate, items.first()) {
        let debits = store::item::by_sources(conn, caller.company, &[invoice.id.0])?;
        settle(
            conn,
            caller,
            books,
            debits,
            credit.id,
            credit.amount,
            issued_on,
        )?;
    }
    let matter = matter(conn, caller, invoice, client, id, currency, total)?;
    approval::gate(conn, caller, books, matter)?;
    Ok(id)
}

/// What a second person has to know of a credit note, when one is needed (R12.1, R12.2).
fn matter(
    conn: &mut PgConnection,
    caller: &Caller,
    invoice: Option<&Document>,
    client: &Client,
    id: DocumentId,
    currency: Currency,
    total: Minor,
) -> Result<Matter> {
    let matter = Matter {
        client: Some(client.id),
        amount: Some((total, currency)),
        ..Matter::of(ApprovalKind::CreditNote, id.show())
    };
    let Some(invoice) = invoice else {
        return Ok(matter);
    };
    let credited: Minor = document::credited(conn, caller.company, invoice.id)?
        .iter()
        .map(|tax| tax.net + tax.vat)
        .sum();
    let shown = |credited: Minor| {
        json!({
            "invoice": invoice.number,
            "total": currency.decimal(invoice.total).to_string(),
            "credited": currency.decimal(credited).to_string(),
        })
    };
    let author = &caller.author;
    Ok(Matter {
        document: Some(invoice.id),
        before: shown(credited - total),
        after: shown(credited),
        same_person: store::approval::recorded_receipts(
            conn,
            caller.company,
            &[invoice.id],
            author,
        )?,
        ..matter
    })
}

/// R2.5: the invoice less what was credited already, in total and per VAT rate.
fn check_ceiling(
    conn: &mut PgConnection,
    caller: &Caller,
    invoice: &Document,
    currency: Currency,
    worked: &Worked,
) -> Result<()> {
    let taxes = document::taxes(conn, caller.company, &[invoice.id])?;
    let credited = document::credited(conn, caller.company, invoice.id)?;
    for share in &worked.taxes {
        let at_rate = |rows: &[Tax]| -> Minor {
            rows.iter()
                .filter(|tax| tax.vat_rate == share.rate)
                .map(|tax| tax.net + tax.vat)
                .sum()
        };
        let left = at_rate(&taxes) - at_rate(&credited);
        let asked = share.net + share.vat;
        if asked > left {
            return Err(Refusal::new(
                RefusalCode::CreditExceedsInvoice,
                "lines",
                format!(
                    "at {} % VAT, {} can still be credited on {}, {} was asked",
                    share.rate.normalize(),
                    currency.show(left),
                    invoice.number,
                    currency.show(asked)
                ),
            )
            .detail("creditable", currency.decimal(left).to_string())
            .detail("vatRate", share.rate.normalize().to_string())
            .into());
        }
    }
    Ok(())
}

/// Section 2.2 and 2.3: class 70 when the whole invoice is cancelled, 709 for a rebate.
#[expect(
    clippy::too_many_arguments,
    reason = "the facts of a credit note that its entry shows"
)]
fn entry(
    books: &Books,
    client: &Client,
    invoice: Option<&Document>,
    id: DocumentId,
    number: &str,
    issued_on: NaiveDate,
    currency: Currency,
    rate: Decimal,
    worked: &Worked,
    vat: Vec<NewLine>,
) -> Posting {
    let accounts = &books.settings.accounts;
    let cancels = invoice.is_some_and(|invoice| invoice.total == worked.total());
    let mut lines: Vec<NewLine> = invoice::by_account(worked)
        .into_iter()
        .map(|(account, net)| {
            let account = if cancels && account == accounts.rebate {
                &accounts.revenue
            } else {
                &account
            };
            NewLine::signed(account, net)
        })
        .collect();
    lines.extend(vat);
    lines.push(NewLine::credit(&accounts.receivable, worked.total()).open(
        client.id,
        NewItem {
            kind: "CREDIT_NOTE",
            source_id: id.0,
            reference: number.to_owned(),
            invoice_id: invoice.map(|invoice| invoice.id),
            invoiced_on: issued_on,
            due_on: None,
            document_net: worked.net,
            document_total: worked.total(),
        },
    ));
    Posting {
        journal: "VE".into(),
        posted_on: books.first_open_day(issued_on),
        occurred_on: issued_on,
        reference: number.to_owned(),
        label: format!("Avoir {number}"),
        source_kind: "CREDIT_NOTE",
        source_id: id.0,
        reversal_of: None,
        currency,
        rate,
        lines,
    }
}

/// Matches a credit item with what these items have open, oldest due first (R3.9).
pub fn settle(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    mut debits: Vec<Item>,
    credit: ItemId,
    amount: Minor,
    on: NaiveDate,
) -> Result<()> {
    let mut left = amount;
    let mut pairs = Vec::new();
    debits.sort_by_key(|item| (item.due_on, item.id));
    for debit in debits {
        let share = left.min(debit.open_amount);
        if debit.is_debit && share > 0 {
            pairs.push(Pair {
                debit: debit.id,
                credit,
                amount: share,
                line: 0,
            });
            left -= share;
        }
    }
    if !pairs.is_empty() {
        matching::match_pairs(conn, caller, books, &pairs, on, "CREDIT_NOTE_REFERENCE")?;
    }
    Ok(())
}
