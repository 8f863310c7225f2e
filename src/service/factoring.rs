//! Factoring (affacturage, 2.13): claims assigned, the factor's settlement, its guarantee fund, what a
//! client pays us by mistake, and recourse.

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use rust_decimal::Decimal;
use serde_json::json;

use super::books::{self, Books, NewItem, NewLine};
use super::discount::rate_of;
use super::operation::{self, New, OperationKind};
use super::reference::{self, Ref};
use crate::domain::access::Caller;
use crate::domain::ids::OperationId;
use crate::domain::money::{Currency, Minor};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::domain::vat;
use crate::error::Result;
use crate::store::item::Item;
use crate::store::operation::Operation;
use crate::store::{self};

/// Claims to assign, as entered.
#[derive(Clone, Debug)]
pub struct AssignmentInput {
    pub invoice: Ref,
    pub factor: String,
    /// Whether the factor may return the claim unpaid (R2.24).
    pub with_recourse: bool,
    pub on: Option<NaiveDate>,
}

/// Assigns what an invoice has open: D 467 / C 411 (quittance subrogative). It leaves the aged balance,
/// and our dunning stops (R2.24).
pub fn assign(
    conn: &mut PgConnection,
    caller: &Caller,
    input: &AssignmentInput,
) -> Result<OperationId> {
    let books = books::open(conn, caller)?;
    let invoice = reference::invoice(conn, caller, "invoice", &input.invoice)?;
    let on = input.on.unwrap_or(caller.today.max(invoice.issued_on));
    books.check_day("on", on)?;
    let factor = books::text("factor", &input.factor, 200)?;
    let items: Vec<Item> = store::item::by_sources(conn, caller.company, &[invoice.id.0])?
        .into_iter()
        .filter(|item| item.is_debit && item.family == "411" && item.open_amount > 0)
        .collect();
    let amount: Minor = items.iter().map(|item| item.open_amount).sum();
    if amount == 0 || on < invoice.issued_on {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "invoice",
            "nothing of this invoice is open on 411 on that day",
        )
        .into());
    }
    let operation = New {
        client: Some(invoice.client_id),
        invoice: Some(invoice.id),
        details: json!({ "factor": factor, "withRecourse": input.with_recourse }),
        ..New::of(
            OperationKind::Assignment,
            on,
            amount,
            books::currency(&invoice.currency)?,
        )
    }
    .record(conn, caller, &books)?;
    let accounts = &books.settings.accounts;
    let mut lines = vec![NewLine::debit(&accounts.factor, amount)];
    lines.extend(items.iter().map(|item| {
        NewLine::credit(&accounts.receivable, item.open_amount).open(
            item.client_id,
            operation::item_like("ASSIGNMENT", &operation, item, false),
        )
    }));
    let posting = operation::posting(
        &books,
        &operation,
        &format!("Cession {} à {factor}", invoice.number),
        invoice.exchange_rate,
        lines,
    )?;
    let made = books::post(conn, caller, &books, vec![posting])?;
    for (item, credit) in items.iter().zip(&made) {
        operation::settle(
            conn,
            caller,
            &books,
            item.id,
            credit.id,
            item.open_amount,
            on,
        )?;
    }
    Ok(operation.id)
}

/// The factor's settlement, as entered.
#[derive(Clone, Debug)]
pub struct SettlementInput {
    pub assignment: Ref,
    /// Commission before VAT.
    pub commission: Option<Decimal>,
    /// Financing interest, without VAT.
    pub financing: Option<Decimal>,
    /// What the factor keeps as a guarantee.
    pub retention: Option<Decimal>,
    pub on: Option<NaiveDate>,
    pub bank_account: Option<String>,
}

/// D 512, 6225 + 44566, 6616, 467 guarantee / C 467.
pub fn settle(
    conn: &mut PgConnection,
    caller: &Caller,
    input: &SettlementInput,
) -> Result<OperationId> {
    let books = books::open(conn, caller)?;
    let assignment = assignment(conn, caller, &input.assignment)?;
    let on = day(&books, caller, &assignment, input.on)?;
    let currency = books::currency(&assignment.currency)?;
    let barred = [OperationKind::FactorSettlement, OperationKind::Recourse];
    in_turn(conn, caller, &books, &assignment, on, &barred)?;
    let read = |field: &str, value: Option<Decimal>| match value {
        Some(value) if !value.is_zero() => books::amount(field, value, currency),
        _ => Ok(0),
    };
    let commission = read("commission", input.commission)?;
    let financing = read("financing", input.financing)?;
    let retention = read("retention", input.retention)?;
    let tax = vat::percent_of(commission, books.settings.bank_fee_vat_rate);
    let received = assignment.amount - commission - tax - financing - retention;
    if received <= 0 {
        return Err(Refusal::invalid(
            if retention >= commission && retention >= financing {
                "retention"
            } else if financing > commission {
                "financing"
            } else {
                "commission"
            },
            "nothing would be left of the assigned claim",
        )
        .into());
    }
    let operation = New {
        client: assignment.client_id,
        invoice: assignment.invoice_id,
        follows: Some(assignment.id),
        details: json!({
            "received": currency.decimal(received).to_string(),
            "retention": currency.decimal(retention).to_string(),
        }),
        ..New::of(
            OperationKind::FactorSettlement,
            on,
            assignment.amount,
            currency,
        )
    }
    .record(conn, caller, &books)?;
    let accounts = &books.settings.accounts;
    let bank = input.bank_account.as_deref().unwrap_or(&accounts.bank);
    let mut lines = vec![NewLine::debit(bank, received)];
    for (account, amount) in [
        (&accounts.factoring_fees, commission),
        (&accounts.deductible_vat, tax),
        (&accounts.discount_interest, financing),
        (&accounts.factor_retention, retention),
    ] {
        if amount > 0 {
            lines.push(NewLine::debit(account, amount));
        }
    }
    lines.push(NewLine::credit(&accounts.factor, assignment.amount));
    bank_entry(
        conn,
        caller,
        &books,
        &operation,
        &assignment,
        "Règlement du factor",
        lines,
    )?;
    Ok(operation.id)
}

/// The guarantee fund comes back: D 512 / C 467 guarantee.
pub fn release_retention(
    conn: &mut PgConnection,
    caller: &Caller,
    settlement: &Ref,
    on: Option<NaiveDate>,
) -> Result<OperationId> {
    let books = books::open(conn, caller)?;
    let settlement = operation::find(conn, caller, "settlement", settlement)?;
    if settlement.kind != OperationKind::FactorSettlement.code() {
        return Err(Refusal::invalid("settlement", "this is not a factor's settlement").into());
    }
    let on = day(&books, caller, &settlement, on)?;
    let barred = [OperationKind::RetentionRelease];
    in_turn(conn, caller, &books, &settlement, on, &barred)?;
    let currency = books::currency(&settlement.currency)?;
    let retained = settlement.details["retention"]
        .as_str()
        .and_then(|text| text.parse::<Decimal>().ok())
        .and_then(|value| currency.minor(value))
        .unwrap_or_default();
    if retained == 0 {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "settlement",
            "the factor kept nothing",
        )
        .into());
    }
    let operation = follower(
        &settlement,
        OperationKind::RetentionRelease,
        on,
        retained,
        currency,
    )
    .record(conn, caller, &books)?;
    let accounts = &books.settings.accounts;
    let lines = vec![
        NewLine::debit(&accounts.bank, retained),
        NewLine::credit(&accounts.factor_retention, retained),
    ];
    bank_entry(
        conn,
        caller,
        &books,
        &operation,
        &settlement,
        "Retenue de garantie libérée",
        lines,
    )?;
    Ok(operation.id)
}

/// A client paid us what belongs to the factor: D 512 / C 467, we owe it to the factor.
pub fn record_diverted(
    conn: &mut PgConnection,
    caller: &Caller,
    target: &Ref,
    amount: Decimal,
    on: Option<NaiveDate>,
) -> Result<OperationId> {
    let books = books::open(conn, caller)?;
    let assignment = assignment(conn, caller, target)?;
    let on = day(&books, caller, &assignment, on)?;
    let currency = books::currency(&assignment.currency)?;
    let amount = books::amount("amount", amount, currency)?;
    let barred = [OperationKind::Recourse];
    in_turn(conn, caller, &books, &assignment, on, &barred)?;
    let kind = OperationKind::FactorDiverted.code();
    let before = store::operation::followers(conn, caller.company, assignment.id, kind)?;
    let left = assignment.amount - before.iter().map(|paid| paid.amount).sum::<Minor>();
    if amount > left {
        return Err(Refusal::new(
            RefusalCode::OverAllocation,
            "amount",
            format!(
                "{} was assigned, and {} of it was not paid to you yet",
                currency.show(assignment.amount),
                currency.show(left)
            ),
        )
        .into());
    }
    let operation = follower(
        &assignment,
        OperationKind::FactorDiverted,
        on,
        amount,
        currency,
    )
    .record(conn, caller, &books)?;
    let accounts = &books.settings.accounts;
    let lines = vec![
        NewLine::debit(&accounts.bank, amount),
        NewLine::credit(&accounts.factor, amount),
    ];
    bank_entry(
        conn,
        caller,
        &books,
        &operation,
        &assignment,
        "Encaissé pour le factor",
        lines,
    )?;
    Ok(operation.id)
}

/// The factor returns an unpaid claim: D 411 with its original due date / C 512, or C 467 before it was paid.
pub fn return_claim(
    conn: &mut PgConnection,
    caller: &Caller,
    target: &Ref,
    on: Option<NaiveDate>,
) -> Result<OperationId> {
    let books = books::open(conn, caller)?;
    let assignment = assignment(conn, caller, target)?;
    let on = day(&books, caller, &assignment, on)?;
    if assignment.details["withRecourse"] != true {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "assignment",
            "the claim was assigned without recourse: the factor bears the loss",
        )
        .into());
    }
    let barred = [OperationKind::Recourse];
    in_turn(conn, caller, &books, &assignment, on, &barred)?;
    let settled = !store::operation::followers(
        conn,
        caller.company,
        assignment.id,
        OperationKind::FactorSettlement.code(),
    )?
    .is_empty();
    let currency = books::currency(&assignment.currency)?;
    let operation = follower(
        &assignment,
        OperationKind::Recourse,
        on,
        assignment.amount,
        currency,
    )
    .record(conn, caller, &books)?;
    let accounts = &books.settings.accounts;
    let credits = store::item::by_sources(conn, caller.company, &[assignment.id.0])?;
    let credit_ids: Vec<_> = credits.iter().map(|item| item.id).collect();
    let matched = store::matching::active_of(conn, caller.company, &credit_ids)?;
    let debit_ids: Vec<_> = matched.iter().map(|found| found.debit_item_id).collect();
    let debits = store::item::by_ids(conn, caller.company, &debit_ids)?;
    let mut lines = Vec::new();
    for allocation in &matched {
        if let Some(debit) = debits
            .iter()
            .find(|item| item.id == allocation.debit_item_id)
        {
            let back = NewItem {
                reference: debit.reference.clone(),
                ..operation::item_like("RECOURSE", &operation, debit, true)
            };
            lines.push(
                NewLine::debit(&accounts.receivable, allocation.amount).open(debit.client_id, back),
            );
        }
    }
    lines.push(NewLine::credit(
        if settled {
            &accounts.bank
        } else {
            &accounts.factor
        },
        assignment.amount,
    ));
    bank_entry(
        conn,
        caller,
        &books,
        &operation,
        &assignment,
        "Recours du factor",
        lines,
    )?;
    Ok(operation.id)
}

fn assignment(conn: &mut PgConnection, caller: &Caller, target: &Ref) -> Result<Operation> {
    let found = operation::find(conn, caller, "assignment", target)?;
    if found.kind == OperationKind::Assignment.code() {
        Ok(found)
    } else {
        Err(Refusal::invalid("assignment", "this operation is not an assignment").into())
    }
}

fn follower(
    of: &Operation,
    kind: OperationKind,
    on: NaiveDate,
    amount: Minor,
    currency: Currency,
) -> New {
    New {
        client: of.client_id,
        invoice: of.invoice_id,
        follows: Some(of.id),
        ..New::of(kind, on, amount, currency)
    }
}

/// Waits for whoever else records something of this operation, and refuses what cannot come after one of these kinds.
fn in_turn(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    of: &Operation,
    on: NaiveDate,
    barred: &[OperationKind],
) -> Result<()> {
    let series = &books.settings.series.operations;
    books.hold(conn, series, [of.happened_on, on])?;
    for kind in barred {
        if store::operation::followers(conn, caller.company, of.id, kind.code())?.is_empty() {
            continue;
        }
        let field = match of.kind == OperationKind::Assignment.code() {
            true => "assignment",
            false => "settlement",
        };
        return Err(Refusal::new(
            RefusalCode::WrongState,
            field,
            format!("{} was recorded for {} already", kind.code(), of.number),
        )
        .into());
    }
    Ok(())
}

fn day(
    books: &Books,
    caller: &Caller,
    after: &Operation,
    on: Option<NaiveDate>,
) -> Result<NaiveDate> {
    let on = on.unwrap_or(caller.today.max(after.happened_on));
    books.check_day("on", on)?;
    if on < after.happened_on {
        return Err(Refusal::invalid(
            "on",
            format!("{} is of {}", after.number, after.happened_on),
        )
        .into());
    }
    Ok(on)
}

fn bank_entry(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    operation: &Operation,
    of: &Operation,
    label: &str,
    lines: Vec<NewLine>,
) -> Result<()> {
    let rate = match of.invoice_id {
        Some(invoice) => store::item::by_sources(conn, caller.company, &[invoice.0])?
            .first()
            .map(|item| rate_of(conn, caller, item))
            .transpose()?
            .unwrap_or(Decimal::ONE),
        None => Decimal::ONE,
    };
    let mut posting = operation::posting(
        books,
        operation,
        &format!("{label} {}", of.number),
        rate,
        lines,
    )?;
    posting.journal = "BQ".into();
    books::post(conn, caller, books, vec![posting]).map(drop)
}
