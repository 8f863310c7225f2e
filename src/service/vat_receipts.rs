//! VAT that falls due as an invoice is paid (TVA sur les encaissements, R2.4).
//!
//! The invoice credits 4458. Whenever what it has received changes, the VAT that is due by then is
//! worked out from the whole, and the difference with what was moved is posted: the last receipt
//! closes exactly, and a bounced one takes its share back.

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use uuid::Uuid;

use super::books::{self, Books, NewLine, Posting};
use crate::domain::access::Caller;
use crate::domain::company::VatDue;
use crate::domain::ids::{DocumentId, Id, OperationId};
use crate::domain::money::Minor;
use crate::domain::vat;
use crate::error::{Error, Result};
use crate::store::document::Document;
use crate::store::operation::{Operation, VatMove, VatStanding};
use crate::store::{self};

/// Those of these invoices whose VAT falls due as they are paid.
pub fn among(
    conn: &mut PgConnection,
    caller: &Caller,
    invoices: &[DocumentId],
) -> Result<Vec<DocumentId>> {
    Ok(store::document::with_vat_on_receipts(
        conn,
        caller.company,
        invoices,
    )?)
}

/// Brings the VAT of these invoices in line with what they have received. Others are left alone.
pub fn refresh(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    invoices: &[DocumentId],
    on: NaiveDate,
) -> Result<()> {
    // Nearly always none: what they received is not looked up for nothing.
    let concerned = among(conn, caller, invoices)?;
    if concerned.is_empty() {
        return Ok(());
    }
    let standings = store::operation::vat_standings(conn, caller.company, &concerned)?;
    let ids: Vec<DocumentId> = standings
        .iter()
        .map(|standing| DocumentId(standing.invoice_id))
        .collect();
    let documents = store::document::by_ids(conn, caller.company, &ids)?;
    for standing in &standings {
        let Some(invoice) = documents
            .iter()
            .find(|document| document.id.0 == standing.invoice_id)
        else {
            continue;
        };
        let due = due(invoice, standing)?;
        if due != standing.moved {
            move_vat(conn, caller, books, invoice, due - standing.moved, on)?;
        }
    }
    Ok(())
}

/// The VAT due by now: in proportion to what was received; all that is left once nothing is open.
fn due(invoice: &Document, standing: &VatStanding) -> Result<Minor> {
    let whole = invoice.vat - standing.reduced;
    if standing.open == 0 && standing.received > 0 {
        return Ok(whole);
    }
    let share = vat::proportion(
        standing.received,
        i128::from(invoice.vat),
        i128::from(invoice.total),
    )
    .ok_or_else(|| Error::Internal("the VAT of an invoice is too large".into()))?;
    Ok(share.min(whole))
}

fn move_vat(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    invoice: &Document,
    amount: Minor,
    on: NaiveDate,
) -> Result<()> {
    let accounts = &books.settings.accounts;
    let posted_on = books.first_open_day(on);
    let row = VatMove {
        company_id: caller.company,
        id: Uuid::now_v7(),
        invoice_id: invoice.id,
        kind: "RECEIPT".into(),
        amount,
        posted_on,
    };
    let source_id = row.id;
    store::operation::insert_vat_moves(conn, &[row])?;
    let posting = Posting {
        journal: "OD".into(),
        posted_on,
        occurred_on: on,
        reference: invoice.number.clone(),
        label: format!("TVA exigible {}", invoice.number),
        source_kind: "VAT_ON_RECEIPTS",
        source_id,
        reversal_of: None,
        currency: books::currency(&invoice.currency)?,
        rate: invoice.exchange_rate,
        lines: vec![
            NewLine::signed(&accounts.pending_vat, amount),
            NewLine::signed(&accounts.vat, -amount),
        ],
    };
    books::post(conn, caller, books, vec![posting]).map(drop)
}

/// The accounts that VAT taken off an invoice is debited to: 4458 as far as it still stands there,
/// then 44571. Remembers what left 4458.
pub fn take_off(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    invoice: Option<&Document>,
    kind: &str,
    vat: Minor,
    on: NaiveDate,
) -> Result<Vec<NewLine>> {
    let accounts = &books.settings.accounts;
    let pending = match invoice {
        Some(invoice) if invoice.vat_due == VatDue::Receipts.code() && vat > 0 => {
            store::operation::vat_standings(conn, caller.company, &[invoice.id])?
                .first()
                .map_or(0, |standing| {
                    invoice.vat - standing.moved - standing.reduced
                })
        }
        _ => 0,
    };
    let from_pending = vat.min(pending.max(0));
    let mut lines = Vec::new();
    if let (Some(invoice), true) = (invoice, from_pending > 0) {
        store::operation::insert_vat_moves(
            conn,
            &[VatMove {
                company_id: caller.company,
                id: Uuid::now_v7(),
                invoice_id: invoice.id,
                kind: kind.to_owned(),
                amount: from_pending,
                posted_on: books.first_open_day(on),
            }],
        )?;
        lines.push(NewLine::debit(&accounts.pending_vat, from_pending));
    }
    if vat > from_pending {
        lines.push(NewLine::debit(&accounts.vat, vat - from_pending));
    }
    Ok(lines)
}

/// Gives back to 4458 what a reversed operation had taken off.
pub fn undo_reduction(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    operation: &Operation,
    on: NaiveDate,
) -> Result<()> {
    let Some(invoice) = operation.invoice_id else {
        return Ok(());
    };
    let taken = pending_debits(conn, caller, books, operation.id)?;
    // The use of a deposit puts its VAT back on 4458 and takes none off: its mirror is all that undoes it.
    if taken <= 0 {
        return Ok(());
    }
    store::operation::insert_vat_moves(
        conn,
        &[VatMove {
            company_id: caller.company,
            id: Uuid::now_v7(),
            invoice_id: invoice,
            kind: "LOSS".into(),
            amount: -taken,
            posted_on: on,
        }],
    )?;
    refresh(conn, caller, books, &[invoice], on)
}

/// What the entries of an operation debited to 4458.
fn pending_debits(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    operation: OperationId,
) -> Result<Minor> {
    let entries = store::journal::by_sources(conn, caller.company, &[operation.uuid()])?;
    let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
    Ok(store::journal::lines(conn, caller.company, &ids)?
        .iter()
        .filter(|line| line.account == books.settings.accounts.pending_vat)
        .map(|line| line.debit - line.credit)
        .sum())
}
