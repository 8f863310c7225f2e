//! Receipts that came back unpaid, or were an error: they stay, and what they had paid is open again.

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use rust_decimal::Decimal;

use super::{bank_of, client_of, deposit_vat, insert_event, item, money_account, posting};
use crate::domain::access::Caller;
use crate::domain::ids::{Id, PaymentId};
use crate::domain::money::Minor;
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::domain::vat;
use crate::error::Result;
use crate::service::books::{self, Books, NewLine};
use crate::service::matching::{self, Pair};
use crate::service::reference::{self, Ref};
use crate::service::remittance;
use crate::store;
use crate::store::item::Item;
use crate::store::matching::Ending;
use crate::store::payment::{DEPOSIT, Event, Payment, RETURNED, REVERSED};
use crate::store::remittance::Remittance;

/// What is known of a receipt that came back.
#[derive(Clone, Debug, Default)]
pub struct ReturnInput {
    pub on: Option<NaiveDate>,
    pub reason: Option<String>,
    /// The bank's fee, VAT included.
    pub fee: Option<Decimal>,
    /// Whether a day in a closed period is posted on the first open day (R2.2).
    pub late_entry: bool,
}

/// A bounced cheque, a returned direct debit or bill (R2.6): the receipt stays, is un-matched and
/// reversed; what it had paid is open again with its original due date.
pub fn record_return(
    conn: &mut PgConnection,
    caller: &Caller,
    payment: &Ref,
    input: &ReturnInput,
) -> Result<PaymentId> {
    let books = books::open(conn, caller)?;
    let payment = reference::payment(conn, caller, "payment", payment)?;
    let on = input.on.unwrap_or(caller.today.max(payment.received_on));
    let currency = books::currency(&payment.currency)?;
    let fee = input
        .fee
        .map(|fee| books::amount("fee", fee, currency))
        .transpose()?
        .unwrap_or_default();
    if payment.method == "CASH" {
        return Err(Refusal::invalid("payment", "cash does not come back unpaid").into());
    }
    let taking = Taking {
        event: RETURNED,
        field: "returnedOn",
        on,
        posted_on: books.accounting_day("returnedOn", on, input.late_entry)?,
        reason: books::optional_text("reason", input.reason.as_deref(), 300)?,
        fee,
    };
    take_back(conn, caller, &books, &payment, &taking)
}

/// Takes back a receipt that was recorded in error (contre-passation, R2.2): what it had paid is open
/// again, receipt and reversal settle each other, and both stay in the books. What came with a bank
/// statement did arrive: only its match can be undone.
pub fn reverse(
    conn: &mut PgConnection,
    caller: &Caller,
    payment: &Ref,
    on: Option<NaiveDate>,
    reason: &str,
) -> Result<PaymentId> {
    let found = reference::payment(conn, caller, "payment", payment)?;
    if let Some(line) = store::bank::line_of_payment(conn, caller.company, found.id)? {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "payment",
            "this payment came with a bank statement: undo its match with undoBankMatch",
        )
        .detail("bankLine", line.id.show())
        .into());
    }
    reverse_any(conn, caller, payment, on, reason)
}

/// The same for the bank's own steps, which put another receipt in its place.
pub fn reverse_any(
    conn: &mut PgConnection,
    caller: &Caller,
    payment: &Ref,
    on: Option<NaiveDate>,
    reason: &str,
) -> Result<PaymentId> {
    let books = books::open(conn, caller)?;
    let payment = reference::payment(conn, caller, "payment", payment)?;
    let on = on.unwrap_or(caller.today.max(payment.received_on));
    books.check_day("on", on)?;
    let reason = books::text("reason", reason, 300)?;
    if let Some(slip) = store::remittance::of_payment(conn, caller.company, payment.id)? {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "payment",
            format!(
                "the bank has this instrument, on slip {}: when it comes back unpaid, record its return",
                slip.number
            ),
        )
        .detail("remittance", slip.number)
        .into());
    }
    let taking = Taking {
        event: REVERSED,
        field: "on",
        on,
        posted_on: on,
        reason: Some(reason),
        fee: 0,
    };
    take_back(conn, caller, &books, &payment, &taking)
}

/// How a receipt is taken back: it returned unpaid, or was an error.
struct Taking {
    event: &'static str,
    /// The input that gave the day.
    field: &'static str,
    on: NaiveDate,
    posted_on: NaiveDate,
    reason: Option<String>,
    fee: Minor,
}

fn take_back(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    payment: &Payment,
    taking: &Taking,
) -> Result<PaymentId> {
    if taking.on < payment.received_on {
        return Err(Refusal::invalid(
            taking.field,
            format!("the payment was received on {}", payment.received_on),
        )
        .into());
    }
    let events = store::payment::events(conn, caller.company, &[payment.id])?;
    refuse_taken_back(&events, "payment")?;
    let client = client_of(payment, &events);
    insert_event(
        conn,
        caller,
        payment,
        taking.event,
        taking.on,
        client,
        taking.reason.clone(),
        taking.fee,
    )?;
    let handed_in = store::remittance::of_payment(conn, caller.company, payment.id)?;
    let mut items = store::item::by_sources(conn, caller.company, &[payment.id.0])?;
    if handed_in.is_some() {
        // The bank has the bill: its item on 413 was settled by the remittance and stays so.
        items.retain(|item| !item.is_debit);
    }
    end_matchings(conn, caller, books, payment, &items, taking)?;
    let matured = !store::operation::of_payment(conn, caller.company, payment.id, "BILL_MATURITY")?
        .is_empty();
    let lines = return_lines(books, payment, &items, handed_in.as_ref(), matured, taking);
    let label = if taking.event == RETURNED {
        "Impayé"
    } else {
        "Extourne règlement"
    };
    let mut entry = posting(
        books,
        payment,
        books::currency(&payment.currency)?,
        taking.on,
        format!("{label} {}", payment.number),
        lines,
    );
    if taking.event == REVERSED {
        // What comes back unpaid is a fact of its own, which a bank statement tells, too.
        let own = store::journal::by_sources(conn, caller.company, &[payment.id.0])?;
        entry.reversal_of = own.iter().map(|entry| entry.id).min();
    }
    let made = books::post(conn, caller, books, vec![entry])?;
    // The receipt and its reversal settle each other, on each account they stand on.
    let mut pairs = Vec::new();
    for mirror in &made {
        let original = items
            .iter()
            .find(|item| item.family == mirror.family && item.is_debit != mirror.is_debit);
        if let Some(original) = original {
            let (debit, credit) = if mirror.is_debit {
                (mirror.id, original.id)
            } else {
                (original.id, mirror.id)
            };
            pairs.push(Pair {
                debit,
                credit,
                amount: mirror.amount,
                line: 0,
            });
        }
    }
    if !pairs.is_empty() {
        matching::match_pairs(conn, caller, books, &pairs, taking.posted_on, "RETURN")?;
    }
    Ok(payment.id)
}

/// Refuses a receipt that came back, or was taken back, already.
pub(super) fn refuse_taken_back(events: &[Event], field: &str) -> Result<()> {
    let before = events.iter().find(|event| event.takes_back());
    match before {
        Some(event) if event.kind == RETURNED => Err(Refusal::new(
            RefusalCode::WrongState,
            field,
            format!("this payment was returned on {} already", event.happened_on),
        )
        .into()),
        Some(event) => Err(Refusal::new(
            RefusalCode::WrongState,
            field,
            format!("this payment was reversed on {} already", event.happened_on),
        )
        .into()),
        None => Ok(()),
    }
}

/// Ends what a receipt is matched with, so that what it had paid is open again.
fn end_matchings(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    payment: &Payment,
    items: &[Item],
    taking: &Taking,
) -> Result<()> {
    let ids: Vec<_> = items.iter().map(|item| item.id).collect();
    let running = store::matching::active_of(conn, caller.company, &ids)?;
    if let Some(late) = running
        .iter()
        .find(|allocation| allocation.effective_on > taking.posted_on)
    {
        return Err(Refusal::invalid(
            taking.field,
            format!(
                "the payment is matched as of {}: take that day or a later one",
                late.effective_on
            ),
        )
        .into());
    }
    if payment.purpose == DEPOSIT && !running.is_empty() {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "payment",
            "this deposit was used on an invoice: take that operation back first",
        )
        .into());
    }
    if running.is_empty() {
        return Ok(());
    }
    let ending = Ending {
        on: taking.posted_on,
        reason: taking.reason.as_deref(),
    };
    matching::end_allocations(conn, caller, books, &running, ending)
}

/// D 411 / C 512 and the bank's fee (sections 2.4 and 2.7). The client's accounts take back what they
/// were credited; the other side is wherever the money or the instrument stands now.
fn return_lines(
    books: &Books,
    payment: &Payment,
    items: &[Item],
    handed_in: Option<&Remittance>,
    matured: bool,
    taking: &Taking,
) -> Vec<NewLine> {
    let accounts = &books.settings.accounts;
    let (on, fee) = (taking.on, taking.fee);
    // The same mark as for other mirrors; only what came back unpaid is a return.
    let kind = if taking.event == RETURNED {
        "RETURN"
    } else {
        "REVERSAL"
    };
    let mut lines: Vec<NewLine> = items
        .iter()
        .filter(|item| !item.is_debit)
        .map(|credit| {
            NewLine::debit(books.client_account(&credit.family), credit.amount)
                .open(credit.client_id, item(kind, payment, on, Some(on)))
        })
        .collect();
    if lines.is_empty() {
        lines.push(NewLine::debit(&accounts.suspense, payment.amount));
    }
    let bill = items.iter().find(|item| item.family == "413");
    lines.push(match bill {
        Some(bill) => NewLine::credit(&accounts.bills, payment.amount)
            .open(bill.client_id, item(kind, payment, on, None)),
        None => NewLine::credit(stands_on(books, payment, handed_in, taking), payment.amount),
    });
    if payment.purpose == DEPOSIT {
        let (_, tax) = deposit_vat(payment);
        if tax > 0 {
            lines.push(NewLine::debit(&accounts.vat, tax));
            lines.push(NewLine::credit(&accounts.pending_vat, tax));
        }
    }
    let discounted = handed_in
        .is_some_and(|slip| slip.kind == remittance::DISCOUNT && slip.credited_on.is_some());
    if discounted && !matured {
        // The engagement towards the bank ends with the bill.
        lines.push(NewLine::debit(&accounts.endorsed_bills, payment.amount));
        lines.push(NewLine::credit(&accounts.discounted_bills, payment.amount));
    }
    if fee > 0 {
        let (net, tax) = vat::split_gross(fee, books.settings.bank_fee_vat_rate);
        lines.push(NewLine::debit(&accounts.bank_fees, net));
        if tax > 0 {
            lines.push(NewLine::debit(&accounts.deductible_vat, tax));
        }
        lines.push(NewLine::credit(bank_of(books, payment), fee));
    }
    lines
}

/// Where a returned instrument is taken from: the slip that the bank has not credited yet, else the bank.
fn stands_on<'a>(
    books: &'a Books,
    payment: &'a Payment,
    handed_in: Option<&'a Remittance>,
    taking: &Taking,
) -> &'a str {
    match handed_in {
        Some(slip) if slip.credited_on.is_none() => remittance::waiting_account(books, &slip.kind),
        Some(slip) => &slip.bank_account,
        None if payment.method == "CASH" => &books.settings.accounts.cash,
        // A cheque that never reached the bank is still on its own account.
        None if taking.event == REVERSED => money_account(books, payment),
        None => bank_of(books, payment),
    }
}
