//! Cheques and bills handed to the bank (remises), credited by it, and bills that mature (2.4, 2.6).

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use rust_decimal::Decimal;

use super::books::{self, Books, NewItem, NewLine, Posting};
use super::operation::{self, New, OperationKind};
use super::reference::{self, Ref};
use super::vat_receipts;
use crate::domain::access::Caller;
use crate::domain::bill;
use crate::domain::chart;
use crate::domain::ids::{DocumentId, Id, OperationId, RemittanceId};
use crate::domain::money::Minor;
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::domain::vat;
use crate::error::{Error, Result};
use crate::store::payment::{Payment, RETURNED};
use crate::store::remittance::{Line, Remittance};
use crate::store::{self};

/// Cheques (remise de chèques).
pub const CHEQUES: &str = "CHEQUES";
/// Bills that the bank collects at maturity (remise à l'encaissement).
pub const COLLECTION: &str = "BILLS_FOR_COLLECTION";
/// Bills that the bank pays before maturity (remise à l'escompte).
pub const DISCOUNT: &str = "BILLS_FOR_DISCOUNT";

/// A slip as entered.
#[derive(Clone, Debug)]
pub struct SlipInput {
    pub kind: &'static str,
    pub payments: Vec<Ref>,
    /// The bank's general account; the account map's when absent.
    pub bank_account: Option<String>,
    pub remitted_on: Option<NaiveDate>,
}

/// The account where instruments of a slip wait until the bank credits them.
pub fn waiting_account<'a>(books: &'a Books, kind: &str) -> &'a str {
    let accounts = &books.settings.accounts;
    match kind {
        CHEQUES => &accounts.cheques,
        // R1.1: a setting may leave 5113 and 5114 out.
        _ if !books.settings.bills_through_bank => &accounts.bills,
        DISCOUNT => &accounts.bills_for_discount,
        _ => &accounts.bills_for_collection,
    }
}

/// Hands cheques or bills in. Cheques stay on 5112; bills move from 413 to 5113 or 5114.
pub fn hand_in(
    conn: &mut PgConnection,
    caller: &Caller,
    input: &SlipInput,
) -> Result<RemittanceId> {
    let books = books::open(conn, caller)?;
    let remitted_on = input.remitted_on.unwrap_or(caller.today);
    books.check_day("remittedOn", remitted_on)?;
    if input.payments.is_empty() || input.payments.len() > 100 {
        return Err(Refusal::invalid("payments", "1 to 100 payments are needed").into());
    }
    let bank_account = input
        .bank_account
        .clone()
        .unwrap_or_else(|| books.settings.accounts.bank.clone());
    if !(bank_account.starts_with("512") && chart::is_account_number(&bank_account)) {
        return Err(Refusal::invalid(
            "bankAccount",
            "a bank's general account begins with 512 and has 3 to 11 digits",
        )
        .into());
    }
    let mut payments: Vec<Payment> = Vec::new();
    for (position, target) in input.payments.iter().enumerate() {
        let field = format!("payments.{position}");
        let payment = reference::payment(conn, caller, &field, target)?;
        check_instrument(conn, caller, &field, input.kind, remitted_on, &payment)?;
        if payments
            .first()
            .is_some_and(|first| first.currency != payment.currency)
        {
            return Err(Refusal::new(
                RefusalCode::CurrencyMismatch,
                &field,
                "a slip is in one currency",
            )
            .into());
        }
        if payments.iter().any(|other| other.id == payment.id) {
            return Err(Refusal::new(
                RefusalCode::Duplicate,
                &field,
                "this payment stands on the slip twice",
            )
            .into());
        }
        payments.push(payment);
    }
    let currency = books::currency(&payments[0].currency)?;
    let number = books.next_number(
        conn,
        &books.settings.series.remittances,
        remitted_on,
        false,
        "remittedOn",
    )?;
    let slip = Remittance {
        company_id: caller.company,
        id: RemittanceId::new(),
        number,
        kind: input.kind.to_owned(),
        bank_account,
        remitted_on,
        amount: payments.iter().map(|payment| payment.amount).sum(),
        currency: currency.code().to_owned(),
        recorded_by: caller.author.clone(),
        credited_on: None,
        received: None,
        fee_net: None,
        fee_vat: None,
        interest: None,
        credited_at: None,
        credited_by: None,
    };
    let lines: Vec<Line> = payments
        .iter()
        .map(|payment| Line {
            company_id: caller.company,
            remittance_id: slip.id,
            payment_id: payment.id,
            amount: payment.amount,
        })
        .collect();
    store::remittance::insert(conn, &slip, &lines).map_err(|error| {
        books::duplicate(
            error,
            "payments",
            "one of these payments was handed in already",
        )
    })?;
    if slip.kind != CHEQUES {
        move_bills(conn, caller, &books, &slip, &payments)?;
    }
    Ok(slip.id)
}

fn check_instrument(
    conn: &mut PgConnection,
    caller: &Caller,
    field: &str,
    kind: &str,
    remitted_on: NaiveDate,
    payment: &Payment,
) -> Result<()> {
    let wanted = if kind == CHEQUES { "CHEQUE" } else { "BILL" };
    if payment.method != wanted {
        return Err(Refusal::invalid(
            field,
            format!(
                "this payment is a {}, the slip takes a {wanted}",
                payment.method
            ),
        )
        .into());
    }
    if kind == DISCOUNT && payment.matures_on.is_none() {
        return Err(Refusal::invalid(
            field,
            format!(
                "bill {} has no maturity: nothing tells its interest, hand it in for collection",
                payment.number
            ),
        )
        .into());
    }
    if remitted_on < payment.received_on {
        return Err(Refusal::invalid(
            "remittedOn",
            format!(
                "payment {} was received on {}",
                payment.number, payment.received_on
            ),
        )
        .into());
    }
    let returned = store::payment::events(conn, caller.company, &[payment.id])?
        .iter()
        .any(store::payment::Event::takes_back);
    if returned {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            field,
            format!("payment {} was returned or reversed", payment.number),
        )
        .into());
    }
    if let Some(slip) = store::remittance::of_payment(conn, caller.company, payment.id)? {
        return Err(Refusal::new(
            RefusalCode::Duplicate,
            field,
            format!(
                "payment {} stands on slip {} already",
                payment.number, slip.number
            ),
        )
        .detail("remittance", slip.number)
        .into());
    }
    Ok(())
}

/// D 5113 or 5114 / C 413, bill by bill: the client's item on 413 is settled.
fn move_bills(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    slip: &Remittance,
    payments: &[Payment],
) -> Result<()> {
    let accounts = &books.settings.accounts;
    let mut postings = Vec::new();
    for payment in payments {
        let Some(client) = payment.client_id else {
            continue;
        };
        let item = NewItem {
            kind: "REMITTANCE",
            source_id: slip.id.0,
            reference: slip.number.clone(),
            invoice_id: None,
            invoiced_on: slip.remitted_on,
            due_on: None,
            document_net: payment.amount,
            document_total: payment.amount,
        };
        let debit = match books.settings.bills_through_bank {
            true => NewLine::debit(waiting_account(books, &slip.kind), payment.amount),
            // The bill stays on 413, in the bank's hands: no longer an item of the client's.
            false => NewLine::debit(&accounts.bills, payment.amount),
        };
        postings.push(entry(
            books,
            slip,
            slip.remitted_on,
            format!("Remise {} effet {}", slip.number, payment.number),
            payment.exchange_rate,
            vec![
                debit,
                NewLine::credit(&accounts.bills, payment.amount).open(client, item),
            ],
        )?);
    }
    let made = books::post(conn, caller, books, postings)?;
    for (payment, credit) in payments
        .iter()
        .filter(|payment| payment.client_id.is_some())
        .zip(&made)
    {
        let bill = store::item::by_sources(conn, caller.company, &[payment.id.0])?
            .into_iter()
            .find(|item| item.is_debit && item.family == "413");
        if let Some(bill) = bill {
            operation::settle(
                conn,
                caller,
                books,
                bill.id,
                credit.id,
                payment.amount,
                slip.remitted_on,
            )?;
        }
    }
    Ok(())
}

fn entry(
    books: &Books,
    slip: &Remittance,
    on: NaiveDate,
    label: String,
    rate: Decimal,
    lines: Vec<NewLine>,
) -> Result<Posting> {
    Ok(Posting {
        journal: "BQ".into(),
        posted_on: books.first_open_day(on),
        occurred_on: on,
        reference: slip.number.clone(),
        label,
        source_kind: "REMITTANCE",
        source_id: slip.id.0,
        reversal_of: None,
        currency: books::currency(&slip.currency)?,
        rate,
        lines,
    })
}

/// What the bank credited for a slip, as entered.
#[derive(Clone, Debug, Default)]
pub struct CreditInput {
    pub credited_on: Option<NaiveDate>,
    /// As the bank statement says; worked out from the rest when absent.
    pub received: Option<Decimal>,
    /// The bank's fee before VAT.
    pub fee: Option<Decimal>,
    /// Bank discount per year, in percent, on 360 days (R2.13).
    pub discount_rate: Option<Decimal>,
}

/// The bank credits a slip: D 512, fees 627 + 44566, interest 6616 / C 5112, 5113 or 5114; discounted
/// bills also stand off the balance sheet until they mature (2.6).
pub fn credit(
    conn: &mut PgConnection,
    caller: &Caller,
    target: &Ref,
    input: &CreditInput,
) -> Result<RemittanceId> {
    let books = books::open(conn, caller)?;
    let found = find(conn, caller, "remittance", target)?;
    let mut slip = store::remittance::for_update(conn, caller.company, found.id)?
        .ok_or_else(|| Refusal::not_found("remittance", "remittance slip"))?;
    if let Some(credited) = slip.credited_on {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "remittance",
            format!("the bank credited this slip on {credited}"),
        )
        .into());
    }
    let on = input
        .credited_on
        .unwrap_or(caller.today.max(slip.remitted_on));
    books.check_day("creditedOn", on)?;
    if on < slip.remitted_on {
        return Err(Refusal::invalid(
            "creditedOn",
            format!("the slip was handed in on {}", slip.remitted_on),
        )
        .into());
    }
    let lines = store::remittance::lines(conn, caller.company, &[slip.id])?;
    let ids: Vec<_> = lines.iter().map(|line| line.payment_id).collect();
    let mut payments = store::payment::by_ids(conn, caller.company, &ids)?;
    let events = store::payment::events(conn, caller.company, &ids)?;
    // What came back before is not credited: its return took it off the waiting account.
    payments.retain(|payment| {
        !events
            .iter()
            .any(|event| event.kind == RETURNED && event.payment_id == payment.id)
    });
    let handed_in: Minor = payments.iter().map(|payment| payment.amount).sum();
    if handed_in == 0 {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "remittance",
            "everything on this slip came back before the bank credited it",
        )
        .into());
    }
    let amounts = worked_out(&books, &slip, handed_in, &payments, on, input)?;
    slip.credited_on = Some(on);
    slip.received = Some(amounts.received);
    slip.fee_net = Some(amounts.fee);
    slip.fee_vat = Some(amounts.fee_vat);
    slip.interest = Some(amounts.interest);
    slip.credited_by = Some(caller.author.clone());
    store::remittance::credit(conn, &slip)?;
    let accounts = &books.settings.accounts;
    let mut entry_lines = vec![NewLine::debit(&slip.bank_account, amounts.received)];
    for (account, amount) in [
        (&accounts.discount_interest, amounts.interest),
        (&accounts.bank_fees, amounts.fee),
        (&accounts.deductible_vat, amounts.fee_vat),
    ] {
        if amount > 0 {
            entry_lines.push(NewLine::debit(account, amount));
        }
    }
    entry_lines.push(NewLine::credit(
        waiting_account(&books, &slip.kind),
        handed_in,
    ));
    let rate = payments
        .first()
        .map_or(Decimal::ONE, |payment| payment.exchange_rate);
    let mut postings = vec![entry(
        &books,
        &slip,
        on,
        format!("Crédit remise {}", slip.number),
        rate,
        entry_lines,
    )?];
    if slip.kind == DISCOUNT {
        let mut engagement = entry(
            &books,
            &slip,
            on,
            format!("Effets escomptés non échus {}", slip.number),
            rate,
            vec![
                NewLine::debit(&accounts.discounted_bills, handed_in),
                NewLine::credit(&accounts.endorsed_bills, handed_in),
            ],
        )?;
        engagement.journal = "OD".into();
        postings.push(engagement);
    }
    books::post(conn, caller, &books, postings)?;
    if slip.kind == COLLECTION {
        refresh_vat(conn, caller, &books, &payments, on)?;
    }
    Ok(slip.id)
}

struct Amounts {
    received: Minor,
    fee: Minor,
    fee_vat: Minor,
    interest: Minor,
}

/// Amount = received + fee + its VAT + interest: what the bank says it paid decides, and interest takes
/// the cent that differs (R2.13).
fn worked_out(
    books: &Books,
    slip: &Remittance,
    handed_in: Minor,
    payments: &[Payment],
    on: NaiveDate,
    input: &CreditInput,
) -> Result<Amounts> {
    let currency = books::currency(&slip.currency)?;
    let fee = match input.fee {
        Some(fee) if !fee.is_zero() => books::amount("fee", fee, currency)?,
        _ => 0,
    };
    let fee_vat = vat::percent_of(fee, books.settings.bank_fee_vat_rate);
    if input.discount_rate.is_some() && slip.kind != DISCOUNT {
        return Err(Refusal::invalid(
            "discountRate",
            "only bills handed in for discount bear interest",
        )
        .into());
    }
    let expected = match input.discount_rate {
        Some(rate) => {
            if rate <= Decimal::ZERO || rate > Decimal::from(50) || rate.scale() > 4 {
                return Err(Refusal::invalid(
                    "discountRate",
                    "a rate per year in percent is needed, such as 6",
                )
                .into());
            }
            let mut sum = 0;
            for payment in payments {
                let days = (payment.matures_on.unwrap_or(on) - on).num_days().max(0);
                sum += bill::discount_interest(payment.amount, rate, days)
                    .ok_or_else(|| Refusal::invalid("discountRate", "the amounts are too large"))?;
            }
            Some(sum)
        }
        None => None,
    };
    let (received, interest) = match input.received {
        Some(received) => {
            let received = books::amount("received", received, currency)?;
            (received, handed_in - received - fee - fee_vat)
        }
        None => {
            let interest = expected.unwrap_or_default();
            (handed_in - fee - fee_vat - interest, interest)
        }
    };
    // A cent for each bill may differ.
    let slack = i64::try_from(payments.len()).unwrap_or(i64::MAX);
    let sound = received > 0
        && match (slip.kind.as_str(), expected) {
            (DISCOUNT, Some(expected)) => (interest - expected).abs() <= slack && interest >= 0,
            (DISCOUNT, None) => interest >= 0,
            _ => interest == 0,
        };
    if !sound {
        return Err(Refusal::invalid(
            "received",
            format!(
                "{} handed in less {} of fees leaves {}, {} was received",
                currency.show(handed_in),
                currency.show(fee + fee_vat),
                currency.show(handed_in - fee - fee_vat - expected.unwrap_or_default()),
                currency.show(received)
            ),
        )
        .detail(
            "expected",
            currency
                .decimal(handed_in - fee - fee_vat - expected.unwrap_or_default())
                .to_string(),
        )
        .into());
    }
    Ok(Amounts {
        received,
        fee,
        fee_vat,
        interest,
    })
}

/// VAT on receipts falls due when a bill is paid, not when it is accepted.
fn refresh_vat(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    payments: &[Payment],
    on: NaiveDate,
) -> Result<()> {
    let sources: Vec<_> = payments.iter().map(|payment| payment.id.0).collect();
    let items = store::item::by_sources(conn, caller.company, &sources)?;
    let credits: Vec<_> = items
        .iter()
        .filter(|item| !item.is_debit)
        .map(|item| item.id)
        .collect();
    let debits: Vec<_> = store::matching::active_of(conn, caller.company, &credits)?
        .iter()
        .map(|allocation| allocation.debit_item_id)
        .collect();
    let mut invoices: Vec<DocumentId> = store::item::by_ids(conn, caller.company, &debits)?
        .iter()
        .filter_map(|item| item.invoice_id)
        .collect();
    invoices.sort_unstable();
    invoices.dedup();
    vat_receipts::refresh(conn, caller, books, &invoices, on)
}

/// Records that discounted bills matured unreturned: the engagement 8014 / 8024 ends (2.6).
pub fn mature(
    conn: &mut PgConnection,
    caller: &Caller,
    through: Option<NaiveDate>,
) -> Result<Vec<OperationId>> {
    let books = books::open(conn, caller)?;
    let through = through.unwrap_or(caller.today);
    if through > caller.today {
        return Err(Refusal::invalid("through", "only days up to today have come").into());
    }
    let ids = store::remittance::maturing(conn, caller.company, through)?;
    let mut payments = store::payment::by_ids(conn, caller.company, &ids)?;
    payments.sort_by_key(|payment| (payment.matures_on, payment.id));
    let accounts = &books.settings.accounts;
    let mut made = Vec::new();
    for payment in payments {
        let matured_on = payment.matures_on.unwrap_or(payment.received_on);
        let on = books.first_open_day(matured_on);
        let operation = New {
            client: payment.client_id,
            payment: Some(payment.id),
            ..New::of(
                OperationKind::BillMaturity,
                matured_on,
                payment.amount,
                books::currency(&payment.currency)?,
            )
        }
        .record(conn, caller, &books)?;
        let posting = operation::posting(
            &books,
            &operation,
            &format!("Échéance effet {}", payment.number),
            payment.exchange_rate,
            vec![
                NewLine::debit(&accounts.endorsed_bills, payment.amount),
                NewLine::credit(&accounts.discounted_bills, payment.amount),
            ],
        )?;
        books::post(conn, caller, &books, vec![posting])?;
        refresh_vat(conn, caller, &books, std::slice::from_ref(&payment), on)?;
        made.push(operation.id);
    }
    Ok(made)
}

/// The slip, or `NOT_FOUND`.
pub fn find(
    conn: &mut PgConnection,
    caller: &Caller,
    field: &str,
    target: &Ref,
) -> Result<Remittance> {
    let found = match target {
        Ref::Number(number) => store::remittance::by_number(conn, caller.company, number)?,
        Ref::Id(id) | Ref::ExternalRef(id) => match RemittanceId::read(id) {
            Some(id) => store::remittance::by_ids(conn, caller.company, &[id])?.pop(),
            None => None,
        },
    };
    found.ok_or_else(|| Error::from(Refusal::not_found(field, "remittance slip")))
}
