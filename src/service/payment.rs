//! Receipts: recorded, their payer named later, returned unpaid.

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use rust_decimal::Decimal;

use super::books::{self, Books, NewItem, NewLine, Posting};
use super::matching::{self, Pair};
use super::reference::{self, ItemRef, Ref};
use crate::domain::access::Caller;
use crate::domain::ids::{AllocationId, ClientId, Id, PaymentId};
use crate::domain::money::{Currency, Minor};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::domain::vat;
use crate::error::{Error, Result};
use crate::store::item::Item;
use crate::store::payment::{Event, IDENTIFIED, Payment, RETURNED};
use crate::store::{self};

/// A receipt as entered.
#[derive(Clone, Debug)]
pub struct PaymentInput {
    pub client: Option<Ref>,
    /// Who paid, as far as known, when the client is not.
    pub payer: Option<String>,
    pub number: Option<String>,
    pub external_ref: Option<String>,
    pub received_on: Option<NaiveDate>,
    pub method: &'static str,
    pub amount: Decimal,
    pub currency: Option<String>,
    pub exchange_rate: Option<Decimal>,
    pub remittance: Option<String>,
    pub matures_on: Option<NaiveDate>,
    /// What it pays, when the payer says so.
    pub allocations: Vec<(ItemRef, Option<Decimal>)>,
}

/// What recording a receipt made.
pub struct Recorded {
    pub payment: PaymentId,
    pub allocations: Vec<AllocationId>,
}

/// Records a receipt (section 2.4) and matches it where told; the rest stays on account.
pub fn record(conn: &mut PgConnection, caller: &Caller, input: &PaymentInput) -> Result<Recorded> {
    let books = books::open(conn, caller)?;
    let received_on = input.received_on.unwrap_or(caller.today);
    books.check_day("receivedOn", received_on)?;
    let client = input
        .client
        .as_ref()
        .map(|target| reference::client(conn, caller, "client", target))
        .transpose()?;
    let payer = books::optional_text("payer", input.payer.as_deref(), 200)?;
    if client.is_none() && payer.is_none() {
        return Err(Refusal::invalid(
            "client",
            "name the client; when it is unknown, say who paid in `payer`",
        )
        .into());
    }
    if client.is_none() && !input.allocations.is_empty() {
        return Err(Refusal::invalid(
            "allocations",
            "a payment of an unknown payer cannot be matched: name the client first",
        )
        .into());
    }
    let code = input
        .currency
        .as_deref()
        .or(client.as_ref().map(|client| client.currency.as_str()))
        .unwrap_or(books.currency.code());
    let currency = books::currency_input("currency", code)?;
    let amount = books::amount("amount", input.amount, currency)?;
    let rate = books.rate(currency, input.exchange_rate)?;
    if input.matures_on.is_some() && input.method != "BILL" {
        return Err(Refusal::invalid("maturesOn", "only a bill of exchange has a maturity").into());
    }
    if input.matures_on.is_some_and(|on| on < received_on) {
        return Err(
            Refusal::invalid("maturesOn", "the bill matures before it was received").into(),
        );
    }
    let number = match &input.number {
        Some(number) => books::text("number", number, 60)?,
        None => books.next_number(
            conn,
            &books.settings.series.payments,
            received_on,
            false,
            "receivedOn",
        )?,
    };
    let payment = Payment {
        company_id: caller.company,
        id: PaymentId::new(),
        number,
        external_ref: books::optional_text("externalRef", input.external_ref.as_deref(), 100)?,
        external_series: input.number.is_some(),
        received_on,
        method: input.method.to_owned(),
        amount,
        currency: currency.code().to_owned(),
        exchange_rate: rate,
        client_id: client.as_ref().map(|client| client.id),
        payer,
        remittance: books::optional_text("remittance", input.remittance.as_deref(), 1000)?,
        matures_on: input.matures_on,
        recorded_by: caller.author.clone(),
    };
    let id = payment.id;
    store::payment::insert(conn, std::slice::from_ref(&payment)).map_err(|error| {
        books::duplicate(
            error,
            "number",
            "a payment with this number or reference exists already",
        )
    })?;
    let items = books::post(
        conn,
        caller,
        &books,
        vec![receipt_entry(&books, &payment, currency)],
    )?;
    let credit = items.iter().find(|item| !item.is_debit);
    let allocations = match credit {
        Some(credit) => allocate(conn, caller, credit, currency, &input.allocations)?,
        None => Vec::new(),
    };
    Ok(Recorded {
        payment: id,
        allocations,
    })
}

/// Matches a new receipt with what it says it pays.
fn allocate(
    conn: &mut PgConnection,
    caller: &Caller,
    credit: &Item,
    currency: Currency,
    wanted: &[(ItemRef, Option<Decimal>)],
) -> Result<Vec<AllocationId>> {
    let mut left = credit.open_amount;
    let mut pairs: Vec<Pair> = Vec::new();
    for (position, (debit, amount)) in wanted.iter().enumerate() {
        let debits = reference::items(
            conn,
            caller,
            &format!("allocations.{position}.debit"),
            debit,
            true,
        )?;
        let taken = |item: &Item| -> Minor {
            pairs
                .iter()
                .filter(|pair| pair.debit == item.id)
                .map(|pair| pair.amount)
                .sum()
        };
        let open: Minor = debits
            .iter()
            .map(|item| item.open_amount - taken(item))
            .sum();
        let field = format!("allocations.{position}.amount");
        let mut share = match amount {
            Some(amount) => books::amount(&field, *amount, currency)?,
            None => open.min(left),
        };
        if share == 0 || share > open || share > left {
            return Err(Refusal::new(
                RefusalCode::OverAllocation,
                &field,
                format!(
                    "{} is open on the document and {} is left of the payment",
                    currency.show(open),
                    currency.show(left)
                ),
            )
            .detail("open", currency.decimal(open).to_string())
            .into());
        }
        left -= share;
        let mut more = Vec::new();
        for item in &debits {
            let part = share.min(item.open_amount - taken(item));
            if part > 0 {
                more.push(Pair {
                    debit: item.id,
                    credit: credit.id,
                    amount: part,
                    line: position,
                });
                share -= part;
            }
        }
        pairs.extend(more);
    }
    if pairs.is_empty() {
        return Ok(Vec::new());
    }
    matching::match_pairs(conn, caller, &pairs, credit.posted_on, "DEBTOR_INDICATION").map_err(
        |error| match error {
            // The lines of a matching are the allocations of this input.
            Error::Refused(mut refusals) => {
                for part in refusals
                    .iter_mut()
                    .filter_map(|refusal| refusal.field.first_mut())
                {
                    "allocations".clone_into(part);
                }
                Error::Refused(refusals)
            }
            other => other,
        },
    )
}

/// The account that a means of payment arrives on.
fn money_account<'a>(books: &'a Books, method: &str) -> &'a str {
    let accounts = &books.settings.accounts;
    match method {
        "CHEQUE" => &accounts.cheques,
        "CASH" => &accounts.cash,
        "BILL" => &accounts.bills,
        _ => &accounts.bank,
    }
}

fn receipt_entry(books: &Books, payment: &Payment, currency: Currency) -> Posting {
    let accounts = &books.settings.accounts;
    let mut debit = NewLine::debit(money_account(books, &payment.method), payment.amount);
    let credit = match payment.client_id {
        Some(client) => {
            if payment.method == "BILL" {
                // A bill is not money yet: it stays an item of the client, on 413 (R2.14).
                let due_on = payment.matures_on.unwrap_or(payment.received_on);
                debit = debit.open(
                    client,
                    item("BILL", payment, payment.received_on, Some(due_on)),
                );
            }
            NewLine::credit(&accounts.receivable, payment.amount)
                .open(client, item("PAYMENT", payment, payment.received_on, None))
        }
        None => NewLine::credit(&accounts.suspense, payment.amount),
    };
    posting(
        payment,
        currency,
        payment.received_on,
        format!("Règlement {}", payment.number),
        vec![debit, credit],
    )
}

fn item(
    kind: &'static str,
    payment: &Payment,
    on: NaiveDate,
    due_on: Option<NaiveDate>,
) -> NewItem {
    NewItem {
        kind,
        source_id: payment.id.0,
        reference: payment.number.clone(),
        invoice_id: None,
        invoiced_on: on,
        due_on,
        document_net: payment.amount,
        document_total: payment.amount,
    }
}

fn posting(
    payment: &Payment,
    currency: Currency,
    on: NaiveDate,
    label: String,
    lines: Vec<NewLine>,
) -> Posting {
    Posting {
        journal: "BQ",
        posted_on: on,
        reference: payment.number.clone(),
        label,
        source_kind: "PAYMENT",
        source_id: payment.id.0,
        reversal_of: None,
        currency,
        rate: payment.exchange_rate,
        lines,
    }
}

/// The client a receipt belongs to now: named at once, or later.
pub fn client_of(payment: &Payment, events: &[Event]) -> Option<ClientId> {
    payment.client_id.or_else(|| {
        events
            .iter()
            .find(|event| event.payment_id == payment.id && event.kind == IDENTIFIED)
            .and_then(|event| event.client_id)
    })
}

/// Names the payer of a receipt: D 471 / C 411 on that day (section 2.4).
pub fn identify(
    conn: &mut PgConnection,
    caller: &Caller,
    payment: &Ref,
    client: &Ref,
    on: Option<NaiveDate>,
) -> Result<PaymentId> {
    let books = books::open(conn, caller)?;
    let payment = reference::payment(conn, caller, "payment", payment)?;
    let client = reference::client(conn, caller, "client", client)?;
    let on = on.unwrap_or(caller.today.max(payment.received_on));
    books.check_day("identifiedOn", on)?;
    let events = store::payment::events(conn, caller.company, &[payment.id])?;
    if client_of(&payment, &events).is_some() {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "payment",
            "the payer of this payment is known already",
        )
        .into());
    }
    if payment.method == "BILL" || events.iter().any(|event| event.kind == RETURNED) {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "payment",
            "this payment was returned or is a bill: record it anew for its client",
        )
        .into());
    }
    if on < payment.received_on {
        return Err(Refusal::invalid(
            "identifiedOn",
            format!("the payment was received on {}", payment.received_on),
        )
        .into());
    }
    insert_event(
        conn,
        caller,
        &payment,
        IDENTIFIED,
        on,
        Some(client.id),
        None,
        0,
    )?;
    let currency = books::currency(&payment.currency)?;
    let accounts = &books.settings.accounts;
    let lines = vec![
        NewLine::debit(&accounts.suspense, payment.amount),
        NewLine::credit(&accounts.receivable, payment.amount)
            .open(client.id, item("PAYMENT", &payment, on, None)),
    ];
    let mut entry = posting(
        &payment,
        currency,
        on,
        format!("Affectation règlement {}", payment.number),
        lines,
    );
    entry.journal = "OD";
    books::post(conn, caller, &books, vec![entry])?;
    Ok(payment.id)
}

#[expect(clippy::too_many_arguments, reason = "the columns of an event")]
fn insert_event(
    conn: &mut PgConnection,
    caller: &Caller,
    payment: &Payment,
    kind: &str,
    on: NaiveDate,
    client: Option<ClientId>,
    reason: Option<String>,
    fee: Minor,
) -> Result<()> {
    let event = Event {
        company_id: caller.company,
        payment_id: payment.id,
        kind: kind.to_owned(),
        happened_on: on,
        client_id: client,
        reason,
        fee,
        recorded_by: caller.author.clone(),
    };
    store::payment::insert_event(conn, &event)
        .map_err(|error| books::duplicate(error, "payment", "this was recorded already"))
}

/// A bounced cheque, a returned direct debit or bill (R2.6): the receipt stays, is un-matched and
/// reversed; what it had paid is open again with its original due date.
pub fn record_return(
    conn: &mut PgConnection,
    caller: &Caller,
    payment: &Ref,
    on: Option<NaiveDate>,
    reason: Option<&str>,
    fee: Option<Decimal>,
) -> Result<PaymentId> {
    let books = books::open(conn, caller)?;
    let payment = reference::payment(conn, caller, "payment", payment)?;
    let on = on.unwrap_or(caller.today.max(payment.received_on));
    books.check_day("returnedOn", on)?;
    if on < payment.received_on {
        return Err(Refusal::invalid(
            "returnedOn",
            format!("the payment was received on {}", payment.received_on),
        )
        .into());
    }
    let currency = books::currency(&payment.currency)?;
    let fee = fee
        .map(|fee| books::amount("fee", fee, currency))
        .transpose()?
        .unwrap_or_default();
    let events = store::payment::events(conn, caller.company, &[payment.id])?;
    let client = client_of(&payment, &events);
    let reason = books::optional_text("reason", reason, 300)?;
    insert_event(conn, caller, &payment, RETURNED, on, client, reason, fee)?;
    let items = store::item::by_sources(conn, caller.company, &[payment.id.0])?;
    let ids: Vec<_> = items.iter().map(|item| item.id).collect();
    let running = store::matching::active_of(conn, caller.company, &ids)?;
    if let Some(late) = running
        .iter()
        .find(|allocation| allocation.effective_on > on)
    {
        return Err(Refusal::invalid(
            "returnedOn",
            format!(
                "the payment is matched as of {}: take that day or a later one",
                late.effective_on
            ),
        )
        .into());
    }
    if !running.is_empty() {
        matching::end_allocations(conn, caller, &running, on)?;
    }
    let made = books::post(
        conn,
        caller,
        &books,
        vec![return_entry(&books, &payment, client, on, currency, fee)],
    )?;
    // The receipt and its reversal settle each other, on each account they stand on.
    let pairs: Vec<Pair> = items
        .iter()
        .chain(&made)
        .filter(|debit| debit.is_debit)
        .filter_map(|debit| {
            let credit = items
                .iter()
                .chain(&made)
                .find(|credit| !credit.is_debit && credit.family == debit.family)?;
            Some(Pair {
                debit: debit.id,
                credit: credit.id,
                amount: debit.amount,
                line: 0,
            })
        })
        .collect();
    if !pairs.is_empty() {
        matching::match_pairs(conn, caller, &pairs, on, "RETURN")?;
    }
    Ok(payment.id)
}

/// D 411 / C 512 and the bank's fee (section 2.4); an unknown payer's money leaves 471, a bill leaves 413.
fn return_entry(
    books: &Books,
    payment: &Payment,
    client: Option<ClientId>,
    on: NaiveDate,
    currency: Currency,
    fee: Minor,
) -> Posting {
    let accounts = &books.settings.accounts;
    let mut lines = Vec::new();
    match client {
        Some(client) => {
            lines.push(
                NewLine::debit(&accounts.receivable, payment.amount)
                    .open(client, item("RETURN", payment, on, Some(on))),
            );
            if payment.method == "BILL" {
                lines.push(
                    NewLine::credit(&accounts.bills, payment.amount)
                        .open(client, item("RETURN", payment, on, None)),
                );
            } else {
                lines.push(NewLine::credit(
                    returned_from(books, &payment.method),
                    payment.amount,
                ));
            }
        }
        None => {
            lines.push(NewLine::debit(&accounts.suspense, payment.amount));
            lines.push(NewLine::credit(
                returned_from(books, &payment.method),
                payment.amount,
            ));
        }
    }
    if fee > 0 {
        // The bank charges its fee with VAT at the normal rate, taken here from the gross amount.
        let (net, tax) = vat::split_gross(fee, Decimal::from(20));
        lines.push(NewLine::debit(&accounts.bank_fees, net));
        if tax > 0 {
            lines.push(NewLine::debit(&accounts.deductible_vat, tax));
        }
        lines.push(NewLine::credit(&accounts.bank, fee));
    }
    posting(
        payment,
        currency,
        on,
        format!("Impayé {}", payment.number),
        lines,
    )
}

/// A bounced cheque leaves the bank, which had credited it.
fn returned_from<'a>(books: &'a Books, method: &str) -> &'a str {
    if method == "CASH" {
        &books.settings.accounts.cash
    } else {
        &books.settings.accounts.bank
    }
}
