//! Rapprochement: a movement that the books hold already, by another system's file or recorded by hand, is
//! tied to the line of its entry instead of being booked a second time.

use diesel::pg::PgConnection;

use super::apply::{self, Movement};
use super::desk;
use super::{RULE, Record, who_paid, wrong_state};
use crate::domain::access::Caller;
use crate::domain::bank::{LineStatus, Rule};
use crate::domain::ids::{BankLineId, EntryId, Id, PaymentId};
use crate::domain::refusal::Refusal;
use crate::error::{Error, Result};
use crate::service::books::{self, Books};
use crate::service::payment;
use crate::service::reference::Ref;
use crate::store::bank::{Booked, Line};
use crate::store::{self};

/// Days between the books and the bank: value dates, weekends.
const DAYS: u64 = 5;

/// Ties a movement that was just taken in to the one entry that holds it, nearest day first.
///
/// Entries of the payer's client come before those without one; those of other clients are no answer. When
/// nobody is known as the payer, several receipts recorded by hand are no answer either. Entries of the same
/// day and amount are interchangeable.
pub fn tie(conn: &mut PgConnection, caller: &Caller, movement: &Movement<'_>) -> Result<bool> {
    let line = movement.line;
    let (first, last) = (
        line.booked_on - chrono::Days::new(DAYS),
        line.booked_on + chrono::Days::new(DAYS),
    );
    let mut found = store::bank::booked(conn, line, first, last)?;
    let payer = apply::payer_of(conn, caller, line)?;
    if payer.clients.is_empty() {
        let by_hand = found.iter().filter(|entry| entry.payment_id.is_some());
        if by_hand.count() > 1 {
            return Ok(false);
        }
    } else {
        let is_theirs = |entry: &Booked| {
            entry
                .client_id
                .is_none_or(|client| payer.clients.contains(&client))
        };
        found.retain(is_theirs);
    }
    let Some(entry) = found.first() else {
        return Ok(false);
    };
    let evidence = format!(
        "entry {} of {} holds it already, on {}",
        entry.number, entry.posted_on, entry.account
    );
    store::bank::set_reconciled(conn, caller.company, line.id, entry)?;
    Record {
        client: entry.client_id,
        ..Record::of(Rule::AlreadyBooked, LineStatus::Reconciled.code(), evidence)
    }
    .keep(conn, caller, line)?;
    Ok(true)
}

/// A person says which entry holds a movement. What the import had recorded for it is taken back.
pub fn by_hand(
    conn: &mut PgConnection,
    caller: &Caller,
    id: &str,
    entry: &str,
) -> Result<BankLineId> {
    let line = desk::line(conn, caller, id)?;
    match desk::status_of(&line)? {
        LineStatus::Proposed
        | LineStatus::OnAccount
        | LineStatus::Unknown
        | LineStatus::Ignored
        | LineStatus::Undone => {}
        _ => {
            return Err(wrong_state(
                "line",
                "this movement is matched or posted: undo that first",
            ));
        }
    }
    let wanted =
        EntryId::read(entry).ok_or_else(|| Refusal::not_found("entry", "journal entry"))?;
    let found = store::bank::booked_in(conn, &line, wanted)?.ok_or_else(|| {
        Refusal::invalid(
            "entry",
            "no line of this entry is on a bank's account for this amount and side, or another movement is tied to it",
        )
    })?;
    let on = caller.today.max(line.booked_on);
    let reason = "the books held the movement already";
    if let (Some(payment), true) = (line.payment_id, line.amount > 0) {
        payment::reverse_any(conn, caller, &Ref::Id(payment.show()), Some(on), reason)?;
    } else {
        let last = desk::last(conn, caller, &line)?;
        desk::take_operations_back(conn, caller, &last, on, reason)?;
    }
    store::task::finish_of(conn, caller.company, line.id.0, &caller.author)?;
    store::bank::set_reconciled(conn, caller.company, line.id, &found)?;
    let evidence = format!("entry {} of {} holds it", found.number, found.posted_on);
    Record {
        client: found.client_id,
        ..Record::of(Rule::ByHand, LineStatus::Reconciled.code(), evidence)
    }
    .keep(conn, caller, &line)?;
    Ok(line.id)
}

/// Unties a movement: money in is recorded as nobody's and waits on 471, money out is left to a person.
/// Answers where it stands then.
pub fn untie(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    line: &Line,
) -> Result<(LineStatus, Option<PaymentId>)> {
    let (Some(entry), Some(position)) = (line.entry_id, line.entry_line) else {
        return Err(Error::Internal("a reconciled line without entry".into()));
    };
    let rate = store::bank::rate_of(conn, caller.company, entry, position)?;
    store::bank::set_status(
        conn,
        caller.company,
        line.id,
        LineStatus::Undone.code(),
        None,
    )?;
    if line.amount < 0 {
        return Ok((LineStatus::Ignored, None));
    }
    let account = store::bank::accounts(conn, caller.company)?
        .into_iter()
        .find(|account| account.id == line.bank_account_id)
        .ok_or_else(|| Error::Internal("a bank line without account".into()))?;
    let currency = books::currency(&line.currency)?;
    let movement = Movement {
        line,
        account: &account,
        currency,
        rate: books.rate(currency, Some(rate.normalize()))?,
        is_reversal: false,
    };
    let input = apply::receipt_of(&movement, None, Vec::new());
    let payment = payment::record_by(conn, caller, &input, RULE)?.payment;
    who_paid(conn, caller, line)?;
    Ok((LineStatus::Unknown, Some(payment)))
}
