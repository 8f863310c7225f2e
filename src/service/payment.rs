//! Receipts: recorded, and their payer named later.

mod taken_back;

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use rust_decimal::Decimal;

use super::bank;
use super::books::{self, Books, Drafts, Draw, NewItem, NewLine, Opened, Posting};
use super::matching::foreseen::Settled;
use super::matching::{self, Pair};
use super::reference::{self, ItemRef, Ref};
use super::vat_receipts;
use crate::domain::access::Caller;
use crate::domain::chart;
use crate::domain::ids::{AllocationId, ClientId, DocumentId, Id, ItemId, PaymentId};
use crate::domain::money::{Currency, Minor};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::domain::vat;
use crate::error::{Error, Result};
use crate::store::foreseen::{Foreseen, Receipt};
use crate::store::gather::Record;
use crate::store::item::Item;
use crate::store::numbering::{Drawers, Numbered};
use crate::store::payment::{DEPOSIT, Event, IDENTIFIED, Payment, RECEIVABLE};
use crate::store::{self};
use taken_back::refuse_taken_back;
pub use taken_back::{ReturnInput, record_return, reverse, reverse_any};

/// The rule of matchings that a receipt recorded by a person says it pays.
const BY_HAND: &str = "DEBTOR_INDICATION";

/// A receipt as entered.
#[derive(Clone, Debug, Default)]
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
    /// A deposit on an order that is not invoiced yet, with its VAT rate when VAT is due on it.
    pub deposit: Option<Option<Decimal>>,
    /// The general account of the bank; the account map's when absent.
    pub bank_account: Option<String>,
    /// Whether a day in a closed period is posted on the first open day (R2.2).
    pub late_entry: bool,
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
    record_by(conn, caller, input, BY_HAND)
}

/// Records a receipt whose matchings follow a rule of ours.
pub fn record_by(
    conn: &mut PgConnection,
    caller: &Caller,
    input: &PaymentInput,
    rule: &str,
) -> Result<Recorded> {
    let books = books::open(conn, caller)?;
    let Prepared {
        payment,
        posted_on,
        mut drafts,
        pairs,
        taxed,
        mut foreseen,
    } = prepare(conn, caller, &books, input, rule)?;
    let (given, series) = (input.number.as_deref(), series(&books, &payment));
    let number = books.write_numbered(conn, given, &series, posted_on, |conn, numbers| {
        let (entries, lines) = (&drafts.entries, &drafts.lines);
        let Some(all) = &foreseen else {
            return store::payment::insert_numbered(conn, numbers, &payment, entries, lines);
        };
        let drawn = store::foreseen::insert(conn, numbers, &payment, entries, lines, all)?;
        if !drawn.is_written && !drawn.is_used {
            // Others were there first: what it settles is looked at again, under locks.
            foreseen = None;
        }
        Ok(drawn)
    })?;
    let allocations = match foreseen {
        Some(written) => written.allocations.iter().map(|made| made.id).collect(),
        None => {
            for opened in &mut drafts.opened {
                opened.item.reference.clone_from(&number);
            }
            allocate(conn, caller, &books, drafts.opened, &pairs, rule, taxed)?
        }
    };
    Ok(Recorded {
        payment: payment.id,
        allocations,
    })
}

/// Makes a receipt of a person ready to be written together with others, with what it will have made: reads only. None
/// where it has to be recorded by itself: under a number of its own, when what it settles cannot be foreseen, or to be refused
/// for its reference.
pub fn ready(
    conn: &mut PgConnection,
    caller: &Caller,
    input: &PaymentInput,
) -> Result<Option<(Recorded, Drawers, Record)>> {
    if input.number.is_some() {
        return Ok(None);
    }
    let books = books::open(conn, caller)?;
    let prepared = prepare(conn, caller, &books, input, BY_HAND)?;
    let reference = prepared.payment.external_ref.as_deref();
    if let Some(reference) = reference
        && store::payment::by_external_ref(conn, caller.company, reference)?.is_some()
    {
        return Ok(None);
    }
    let (Some(foreseen), Some(entry)) = (
        prepared.foreseen,
        prepared.drafts.entries.into_iter().next(),
    ) else {
        return Ok(None);
    };
    let series = series(&books, &prepared.payment);
    let series = books.drawers(&series, prepared.posted_on);
    let recorded = Recorded {
        payment: prepared.payment.id,
        allocations: foreseen.allocations.iter().map(|made| made.id).collect(),
    };
    let receipt = Receipt {
        payment: prepared.payment,
        entry,
        lines: prepared.drafts.lines,
        foreseen,
    };
    Ok(Some((recorded, series, Record::Receipt(Box::new(receipt)))))
}

/// A receipt that only lacks its numbers.
struct Prepared {
    payment: Payment,
    /// The day of its entry.
    posted_on: NaiveDate,
    drafts: Drafts,
    pairs: Vec<Pair>,
    /// Invoices among what it pays whose VAT is due on receipts.
    taxed: Vec<DocumentId>,
    /// What it settles, where that can be known before.
    foreseen: Option<Foreseen>,
}

fn series<'a>(books: &'a Books, payment: &Payment) -> Draw<'a> {
    Draw {
        prefix: &books.settings.series.payments,
        on: payment.received_on,
        dated: false,
        field: "receivedOn",
        of: Numbered::Payments,
        taken: "a payment with this number or reference exists already",
    }
}

/// Checks a receipt and works out all that it makes.
fn prepare(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    input: &PaymentInput,
    rule: &str,
) -> Result<Prepared> {
    let received_on = input.received_on.unwrap_or(caller.today);
    books.accounting_day("receivedOn", received_on, input.late_entry)?;
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
    if client.is_none() && input.method == "BILL" {
        return Err(Refusal::invalid(
            "client",
            "a bill stands on its client's account: name the client",
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
    check_instrument(input, received_on)?;
    check_deposit(input, client.is_some())?;
    let parts = plan(conn, caller, amount, currency, &input.allocations)?;
    if rule == BY_HAND {
        check_second_person(conn, caller, books, &parts)?;
    }
    let paid = parts.iter().filter_map(|part| part.debit.invoice_id);
    let taxed = vat_receipts::among(conn, caller, &paid.collect::<Vec<DocumentId>>())?;
    let payment = Payment {
        company_id: caller.company,
        id: PaymentId::new(),
        number: String::new(),
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
        purpose: if input.deposit.is_some() {
            DEPOSIT.into()
        } else {
            RECEIVABLE.into()
        },
        deposit_vat_rate: input.deposit.flatten(),
        bank_account: input.bank_account.clone(),
    };
    let doubtful = parts
        .iter()
        .filter(|part| part.debit.family == "416")
        .map(|part| part.amount)
        .sum();
    let entry = receipt_entry(books, &payment, currency, doubtful);
    let posted_on = entry.posted_on;
    let drafts = books::draft(caller, books, vec![entry])?;
    let pairs = pairs(&drafts.opened, &parts);
    // VAT on receipts is posted by an entry of its own.
    let foreseen = match taxed.is_empty() {
        true => foresee(conn, caller, books, &drafts.opened, &parts, &pairs, rule)?,
        false => None,
    };
    Ok(Prepared {
        payment,
        posted_on,
        drafts,
        pairs,
        taxed,
        foreseen,
    })
}

/// Works out what a receipt settles before its numbers are drawn, where that can be.
fn foresee(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    opened: &[Opened],
    parts: &[Part],
    pairs: &[Pair],
    rule: &str,
) -> Result<Option<Foreseen>> {
    let Some(first) = opened.first() else {
        return Ok(None);
    };
    let settled = Settled {
        opened,
        debits: parts.iter().map(|part| part.debit.clone()).collect(),
        pairs,
        on: first.item.posted_on,
        rule,
    };
    matching::foreseen::foresee(conn, caller, books, settled)
}

fn check_instrument(input: &PaymentInput, received_on: NaiveDate) -> Result<()> {
    if input.matures_on.is_some() && input.method != "BILL" {
        return Err(Refusal::invalid("maturesOn", "only a bill of exchange has a maturity").into());
    }
    if input.matures_on.is_some_and(|on| on < received_on) {
        return Err(
            Refusal::invalid("maturesOn", "the bill matures before it was received").into(),
        );
    }
    if let Some(account) = &input.bank_account
        && !(account.starts_with("512") && chart::is_account_number(account))
    {
        return Err(Refusal::invalid(
            "bankAccount",
            "a bank's general account begins with 512 and has 3 to 11 digits",
        )
        .into());
    }
    Ok(())
}

/// A deposit comes from a client and pays no invoice yet.
fn check_deposit(input: &PaymentInput, known: bool) -> Result<()> {
    let Some(vat_rate) = input.deposit else {
        return Ok(());
    };
    if !known || !input.allocations.is_empty() || input.method == "BILL" {
        return Err(Refusal::invalid(
            "deposit",
            "a deposit is money of a known client before any invoice: it is used on one later, by useDeposit",
        )
        .into());
    }
    if vat_rate
        .is_some_and(|rate| rate < Decimal::ZERO || rate > Decimal::ONE_HUNDRED || rate.scale() > 3)
    {
        return Err(Refusal::invalid(
            "deposit.vatRate",
            "a rate in percent from 0 to 100 is needed, such as 20 or 5.5",
        )
        .into());
    }
    Ok(())
}

/// A part of a receipt that pays an item.
struct Part {
    debit: Item,
    amount: Minor,
    /// Position in the input, for refusals.
    line: usize,
}

/// Lays a receipt over what it says it pays, oldest instalment first.
fn plan(
    conn: &mut PgConnection,
    caller: &Caller,
    amount: Minor,
    currency: Currency,
    wanted: &[(ItemRef, Option<Decimal>)],
) -> Result<Vec<Part>> {
    let mut left = amount;
    let mut parts: Vec<Part> = Vec::new();
    let debits: Vec<(String, &ItemRef)> = (0..)
        .zip(wanted)
        .map(|(line, (debit, _)): (usize, _)| (format!("allocations.{line}.debit"), debit))
        .collect();
    let found = reference::items_of_all(conn, caller, &debits, true)?;
    for ((line, (_, amount)), debits) in wanted.iter().enumerate().zip(found) {
        let free = |item: &Item| -> Minor {
            let taken: Minor = parts
                .iter()
                .filter(|part| part.debit.id == item.id)
                .map(|part| part.amount)
                .sum();
            item.open_amount - taken
        };
        let open: Minor = debits.iter().map(free).sum();
        let field = format!("allocations.{line}.amount");
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
            .detail("left", currency.decimal(left).to_string())
            .into());
        }
        left -= share;
        let mut more = Vec::new();
        for item in debits {
            let amount = share.min(free(&item));
            if amount > 0 {
                share -= amount;
                more.push(Part {
                    debit: item,
                    amount,
                    line,
                });
            }
        }
        parts.extend(more);
    }
    Ok(parts)
}

/// Whoever credited an item alone does not settle the rest of it alone (R12.2).
fn check_second_person(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    parts: &[Part],
) -> Result<()> {
    if parts.is_empty() || !books.company.segregation {
        return Ok(());
    }
    let debits: Vec<ItemId> = parts.iter().map(|part| part.debit.id).collect();
    let own = store::approval::credited_alone(conn, caller.company, &debits, &caller.author)?;
    match parts.iter().find(|part| own.contains(&part.debit.id)) {
        Some(part) => Err(Refusal::new(
            RefusalCode::SecondPersonRequired,
            &format!("allocations.{}", part.line),
            "you credited this item alone (R12.2): record the receipt on account, then propose the matching with allocate",
        )
        .into()),
        None => Ok(()),
    }
}

/// The pairs of a new receipt's items with what it says it pays, each part on the account that it stands on.
fn pairs(made: &[Opened], parts: &[Part]) -> Vec<Pair> {
    let credit_on = |family: &str| {
        let items = made.iter().map(|opened| &opened.item);
        let mut credits = items.filter(|item| !item.is_debit);
        credits
            .clone()
            .find(|item| item.family == family)
            .or_else(|| credits.next())
    };
    let pair = |part: &Part| {
        Some(Pair {
            debit: part.debit.id,
            credit: credit_on(&part.debit.family)?.id,
            amount: part.amount,
            line: part.line,
        })
    };
    parts.iter().filter_map(pair).collect()
}

/// Matches a new receipt with what it says it pays.
fn allocate(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    made: Vec<Opened>,
    pairs: &[Pair],
    rule: &str,
    taxed: Vec<DocumentId>,
) -> Result<Vec<AllocationId>> {
    let on = made.first().map(|opened| opened.item.posted_on);
    let Some(on) = on.filter(|_| !pairs.is_empty()) else {
        books::open_items(conn, caller, made)?;
        return Ok(Vec::new());
    };
    matching::match_new(conn, caller, books, made, pairs, on, rule, taxed).map_err(|error| {
        match error {
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
        }
    })
}

/// The account that a means of payment arrives on.
fn money_account<'a>(books: &'a Books, payment: &'a Payment) -> &'a str {
    let accounts = &books.settings.accounts;
    match payment.method.as_str() {
        "CHEQUE" => &accounts.cheques,
        "CASH" => &accounts.cash,
        "BILL" => &accounts.bills,
        _ => bank_of(books, payment),
    }
}

/// The bank that a receipt went to.
pub fn bank_of<'a>(books: &'a Books, payment: &'a Payment) -> &'a str {
    payment
        .bank_account
        .as_deref()
        .unwrap_or(&books.settings.accounts.bank)
}

/// Section 2.4: the money, and the client's account 411 (or 416 for what pays a doubtful claim, 2.10;
/// 4191 for a deposit), or 471 while the payer is unknown.
pub fn receipt_entry(
    books: &Books,
    payment: &Payment,
    currency: Currency,
    doubtful: Minor,
) -> Posting {
    let accounts = &books.settings.accounts;
    let on = payment.received_on;
    let mut debit = NewLine::debit(money_account(books, payment), payment.amount);
    let mut lines = Vec::new();
    match payment.client_id {
        Some(client) if payment.purpose == DEPOSIT => {
            lines.push(
                NewLine::credit(&accounts.deposits, payment.amount)
                    .open(client, item("DEPOSIT", payment, on, None)),
            );
            let (_, tax) = deposit_vat(payment);
            if tax > 0 {
                lines.push(NewLine::debit(&accounts.pending_vat, tax));
                lines.push(NewLine::credit(&accounts.vat, tax));
            }
        }
        Some(client) => {
            if payment.method == "BILL" {
                // A bill is not money yet: it stays an item of the client, on 413 (R2.14).
                let due_on = payment.matures_on.unwrap_or(on);
                debit = debit.open(client, item("BILL", payment, on, Some(due_on)));
            }
            for (account, amount) in [
                (&accounts.doubtful, doubtful),
                (&accounts.receivable, payment.amount - doubtful),
            ] {
                if amount > 0 {
                    lines.push(
                        NewLine::credit(account, amount)
                            .open(client, item("PAYMENT", payment, on, None)),
                    );
                }
            }
        }
        None => lines.push(NewLine::credit(&accounts.suspense, payment.amount)),
    }
    lines.insert(0, debit);
    posting(
        books,
        payment,
        currency,
        on,
        format!("Règlement {}", payment.number),
        lines,
    )
}

/// Net and VAT of a deposit; no VAT when none is due on it.
pub fn deposit_vat(payment: &Payment) -> (Minor, Minor) {
    vat::split_gross(payment.amount, payment.deposit_vat_rate.unwrap_or_default())
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
    books: &Books,
    payment: &Payment,
    currency: Currency,
    on: NaiveDate,
    label: String,
    lines: Vec<NewLine>,
) -> Posting {
    Posting {
        journal: "BQ".into(),
        posted_on: books.first_open_day(on),
        occurred_on: on,
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

/// What is remembered of a payer that was named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Learning {
    /// That the account pays for the client.
    Account,
    /// Nothing here: whoever names it decides that.
    Nothing,
}

/// Names the payer of a receipt: D 471 / C 411 on that day (section 2.4).
pub fn identify(
    conn: &mut PgConnection,
    caller: &Caller,
    payment: &Ref,
    client: &Ref,
    on: Option<NaiveDate>,
    learning: Learning,
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
    refuse_taken_back(&events, "payment")?;
    if payment.method == "BILL" {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "payment",
            "this payment is a bill: record it anew for its client",
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
        &books,
        &payment,
        currency,
        on,
        format!("Affectation règlement {}", payment.number),
        lines,
    );
    entry.journal = "OD".into();
    books::post(conn, caller, &books, vec![entry])?;
    if learning == Learning::Account {
        bank::identified(conn, caller, payment.id, client.id)?;
    }
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
