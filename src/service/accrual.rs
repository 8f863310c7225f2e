//! Accruals at a closing (2.14): invoices and credit notes to be issued, reversed at the opening.

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use rust_decimal::Decimal;
use serde_json::json;

use super::books::{self, NewLine, Posting};
use super::operation::{self, New, OperationKind};
use super::reference::{self, Ref};
use crate::domain::access::{Caller, codes};
use crate::domain::chart;
use crate::domain::ids::OperationId;
use crate::domain::refusal::Refusal;
use crate::domain::vat;
use crate::error::Result;

codes! {
    /// What is accrued.
    AccrualKind {
        /// Delivered, not invoiced (factures à établir): D 4181 / C 70x, C 44587.
        InvoicesToIssue = "INVOICES_TO_ISSUE",
        /// Rebates due, not credited (avoirs à établir): D 709, D 44587 / C 4198.
        CreditNotesToIssue = "CREDIT_NOTES_TO_ISSUE",
    }
}

/// An accrual as entered.
#[derive(Clone, Debug)]
pub struct AccrualInput {
    pub kind: AccrualKind,
    pub client: Option<Ref>,
    /// Before VAT, in the company's currency.
    pub net: Decimal,
    pub vat_rate: Decimal,
    /// The revenue or rebate account; the account map's when absent.
    pub account: Option<String>,
    pub label: String,
    /// The closing day.
    pub on: NaiveDate,
    /// The day it is reversed; the next day when absent.
    pub reversed_on: Option<NaiveDate>,
}

/// Posts an accrual at the closing and its reversal at the opening, together: none is forgotten.
pub fn accrue(
    conn: &mut PgConnection,
    caller: &Caller,
    input: &AccrualInput,
) -> Result<OperationId> {
    let books = books::open(conn, caller)?;
    books.check_day("on", input.on)?;
    let reversed_on = match input.reversed_on.or_else(|| input.on.succ_opt()) {
        Some(day) if day > input.on && day <= input.on + chrono::Duration::days(366) => day,
        _ => {
            return Err(Refusal::invalid(
                "reversedOn",
                "the reversal follows the accrual, within a year",
            )
            .into());
        }
    };
    let client = input
        .client
        .as_ref()
        .map(|target| reference::client(conn, caller, "client", target))
        .transpose()?;
    let net = books::amount("net", input.net, books.currency)?;
    if input.vat_rate < Decimal::ZERO || input.vat_rate > Decimal::ONE_HUNDRED {
        return Err(
            Refusal::invalid("vatRate", "a rate in percent from 0 to 100 is needed").into(),
        );
    }
    let tax = vat::percent_of(net, input.vat_rate);
    let label = books::text("label", &input.label, 200)?;
    let accounts = &books.settings.accounts;
    let account = match &input.account {
        Some(account) if chart::is_account_number(account) && account.starts_with('7') => account,
        Some(_) => {
            return Err(
                Refusal::invalid("account", "a revenue account of class 7 is needed").into(),
            );
        }
        None if input.kind == AccrualKind::InvoicesToIssue => &accounts.revenue,
        None => &accounts.rebate,
    };
    let operation = New {
        client: client.as_ref().map(|client| client.id),
        net,
        vat: tax,
        details: json!({ "kind": input.kind.code(), "label": label, "reversedOn": reversed_on }),
        ..New::of(OperationKind::Accrual, input.on, net + tax, books.currency)
    }
    .record(conn, caller, &books)?;
    // Signs of an invoice to be issued; a credit note to be issued mirrors them.
    let sign = match input.kind {
        AccrualKind::InvoicesToIssue => 1,
        AccrualKind::CreditNotesToIssue => -1,
    };
    let waiting = match input.kind {
        AccrualKind::InvoicesToIssue => &accounts.accrued_income,
        AccrualKind::CreditNotesToIssue => &accounts.accrued_credit_notes,
    };
    let lines = |sign: i64| {
        let mut lines = vec![
            NewLine::signed(waiting, sign * (net + tax)),
            NewLine::signed(account, -sign * net),
        ];
        if tax > 0 {
            lines.push(NewLine::signed(&accounts.accrued_vat, -sign * tax));
        }
        lines
    };
    let accrued = operation::posting(&books, &operation, &label, Decimal::ONE, lines(sign))?;
    let reversed = Posting {
        posted_on: books.first_open_day(reversed_on),
        occurred_on: reversed_on,
        label: format!("Extourne {label}"),
        ..operation::posting(&books, &operation, &label, Decimal::ONE, lines(-sign))?
    };
    books::post(conn, caller, &books, vec![accrued, reversed])?;
    Ok(operation.id)
}
