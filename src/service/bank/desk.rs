//! What a person does with a movement: accept or reject a proposal, name the payer, find the receipt that
//! went back, undo a match, and keep whose account a payer's is.

use std::collections::HashSet;

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use rust_decimal::Decimal;
use serde_json::json;

use super::apply;
use super::reconcile;
use super::{Laid, RULE, Record, alternatives, learn_from_person, number, who_paid, wrong_state};
use crate::domain::access::Caller;
use crate::domain::approval::{ApprovalKind, Matter};
use crate::domain::bank::{Difference, LineStatus, Rule, Share};
use crate::domain::ids::{BankLineId, ClientId, Id, ItemId, OperationId, PaymentId, TaskId};
use crate::domain::money::Minor;
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::{Error, Result};
use crate::service::approval;
use crate::service::books::{self, Books};
use crate::service::payment::{self, Learning, PaymentInput};
use crate::service::reference::{self, ItemRef, Ref};
use crate::service::{matching, operation};
use crate::store::bank::{Line, Match};
use crate::store::matching::Ending;
use crate::store::{self};

/// A movement, locked, or `NOT_FOUND`.
pub fn line(conn: &mut PgConnection, caller: &Caller, id: &str) -> Result<Line> {
    let found = match BankLineId::read(id) {
        Some(id) => store::bank::line_for_update(conn, caller.company, id)?,
        None => None,
    };
    found.ok_or_else(|| Refusal::not_found("line", "bank line").into())
}

pub fn status_of(line: &Line) -> Result<LineStatus> {
    LineStatus::read(&line.status)
        .ok_or_else(|| Error::Internal(format!("stored status {}", line.status)))
}

pub fn last(conn: &mut PgConnection, caller: &Caller, line: &Line) -> Result<Match> {
    store::bank::matches_of(conn, caller.company, &[line.id])?
        .pop()
        .ok_or_else(|| Error::Internal("a bank line without a decision".into()))
}

/// The receipt that a movement became, whose it is, and its day: a later one when it was recorded anew.
fn receipt(
    conn: &mut PgConnection,
    caller: &Caller,
    line: &Line,
) -> Result<(PaymentId, Option<ClientId>, NaiveDate)> {
    let id = line
        .payment_id
        .ok_or_else(|| wrong_state("line", "this movement is no receipt"))?;
    let found = store::payment::by_id(conn, caller.company, id)?
        .ok_or_else(|| Error::Internal("a bank line's receipt is missing".into()))?;
    let events = store::payment::events(conn, caller.company, &[id])?;
    Ok((id, payment::client_of(&found, &events), found.received_on))
}

/// Does what was proposed, or one of the alternatives (counted from 0).
pub fn accept(
    conn: &mut PgConnection,
    caller: &Caller,
    id: &str,
    alternative: Option<usize>,
) -> Result<BankLineId> {
    let line = line(conn, caller, id)?;
    if status_of(&line)? != LineStatus::Proposed {
        return Err(wrong_state("line", "nothing is proposed for this movement"));
    }
    let proposed = last(conn, caller, &line)?;
    let laid = match alternative {
        None => Laid::of(&proposed)?,
        Some(place) => Laid {
            shares: alternatives(&proposed)?
                .into_iter()
                .nth(place)
                .ok_or_else(|| Refusal::invalid("alternative", "there is no such alternative"))?
                .shares,
            difference: Difference::None,
        },
    };
    let Some(first) = laid.shares.first() else {
        return Err(Refusal::invalid(
            "alternative",
            "nothing is proposed for sure: choose one of the alternatives, or assign the movement",
        )
        .into());
    };
    let client = first.client;
    let evidence = format!("accepted: {}", proposed.evidence);
    put(conn, caller, &line, client, &laid, evidence, true)
}

/// Names the payer when it is not known, and lays the money over what it pays.
fn put(
    conn: &mut PgConnection,
    caller: &Caller,
    line: &Line,
    client: ClientId,
    laid: &Laid,
    evidence: String,
    remember: bool,
) -> Result<BankLineId> {
    let books = books::open(conn, caller)?;
    let (payment, owner, received_on) = receipt(conn, caller, line)?;
    let on = books.first_open_day(line.booked_on.max(received_on));
    let owner = match owner {
        Some(owner) => owner,
        None => {
            let target = Ref::Id(client.show());
            let own = Ref::Id(payment.show());
            // What is decided here is kept once, below.
            payment::identify(conn, caller, &own, &target, Some(on), Learning::Nothing)?;
            client
        }
    };
    let mut operations = apply::lay(conn, caller, &books, payment, owner, &laid.shares, on)?;
    operations.extend(apply::settle(conn, caller, payment, laid, on)?);
    let status = if laid.shares.is_empty() {
        LineStatus::OnAccount
    } else {
        LineStatus::Matched
    };
    store::bank::set_status(conn, caller.company, line.id, status.code(), Some(payment))?;
    store::task::finish_of(conn, caller.company, line.id.0, &caller.author)?;
    if remember {
        let clients: HashSet<ClientId> = laid
            .shares
            .iter()
            .map(|share| share.client)
            .chain([client])
            .collect();
        learn_from_person(conn, caller, line, &Vec::from_iter(clients))?;
    }
    Record {
        client: Some(owner),
        laid: laid.clone(),
        operations,
        ..Record::of(Rule::ByHand, "ACCEPTED", evidence)
    }
    .keep(conn, caller, line)?;
    Ok(line.id)
}

/// Turns a proposal down: the money stays where it is.
pub fn reject(
    conn: &mut PgConnection,
    caller: &Caller,
    id: &str,
    reason: &str,
) -> Result<BankLineId> {
    let line = line(conn, caller, id)?;
    let reason = books::text("reason", reason, 500)?;
    if status_of(&line)? != LineStatus::Proposed {
        return Err(wrong_state("line", "nothing is proposed for this movement"));
    }
    let (payment, client, _) = receipt(conn, caller, &line)?;
    store::task::finish_of(conn, caller.company, line.id.0, &caller.author)?;
    let status = match client {
        Some(_) => LineStatus::OnAccount,
        None => {
            who_paid(conn, caller, &line)?;
            LineStatus::Unknown
        }
    };
    store::bank::set_status(conn, caller.company, line.id, status.code(), Some(payment))?;
    Record {
        client,
        ..Record::of(Rule::ByHand, "REJECTED", reason)
    }
    .keep(conn, caller, &line)?;
    Ok(line.id)
}

/// Says whose money it is, and what it pays; without parts it stays on account.
pub fn assign(
    conn: &mut PgConnection,
    caller: &Caller,
    id: &str,
    client: &Ref,
    parts: &[(ItemRef, Option<Decimal>)],
    remember: bool,
) -> Result<BankLineId> {
    let line = line(conn, caller, id)?;
    let client = reference::client(conn, caller, "client", client)?;
    let waiting = [
        LineStatus::Unknown,
        LineStatus::OnAccount,
        LineStatus::Proposed,
    ];
    if line.amount < 0 || !waiting.contains(&status_of(&line)?) {
        return Err(wrong_state(
            "line",
            "this movement is not waiting for its payer: undo its match first",
        ));
    }
    let (payment, owner, _) = receipt(conn, caller, &line)?;
    if owner.is_some_and(|owner| owner != client.id) {
        return Err(wrong_state(
            "client",
            "the money is on another client's account: undo the match first",
        ));
    }
    let mut left = match owner {
        Some(_) => store::item::by_sources(conn, caller.company, &[payment.0])?
            .iter()
            .filter(|item| !item.is_debit)
            .map(|item| item.open_amount)
            .sum(),
        None => line.amount,
    };
    let mut shares = Vec::new();
    for (place, (item, amount)) in parts.iter().enumerate() {
        shares.extend(part(conn, caller, &line, place, item, *amount, &mut left)?);
    }
    let laid = Laid {
        shares,
        difference: Difference::None,
    };
    put(
        conn,
        caller,
        &line,
        client.id,
        &laid,
        "a person said so".into(),
        remember,
    )
}

fn part(
    conn: &mut PgConnection,
    caller: &Caller,
    line: &Line,
    place: usize,
    target: &ItemRef,
    amount: Option<Decimal>,
    left: &mut Minor,
) -> Result<Vec<Share>> {
    let field = format!("allocations.{place}");
    let currency = books::currency(&line.currency)?;
    let debits = reference::items(conn, caller, &format!("{field}.debit"), target, true)?;
    if debits.iter().any(|item| item.currency != line.currency) {
        return Err(Refusal::new(
            RefusalCode::CurrencyMismatch,
            &field,
            format!("the money is in {currency}"),
        )
        .into());
    }
    let open: Minor = debits.iter().map(|item| item.open_amount).sum();
    let mut wanted = match amount {
        Some(amount) => books::amount(&format!("{field}.amount"), amount, currency)?,
        None => open.min(*left),
    };
    if wanted == 0 || wanted > open || wanted > *left {
        let (open, left) = (currency.show(open), currency.show(*left));
        return Err(Refusal::new(
            RefusalCode::OverAllocation,
            &format!("{field}.amount"),
            format!("{open} is open on the document and {left} is left of the movement"),
        )
        .into());
    }
    *left -= wanted;
    let mut shares = Vec::new();
    for item in debits {
        let amount = wanted.min(item.open_amount);
        if amount > 0 {
            wanted -= amount;
            shares.push(Share {
                client: item.client_id,
                debit: item.id,
                credit: None,
                amount,
            });
        }
    }
    Ok(shares)
}

/// Says which receipt went back: what waited on 471 is taken back, and the receipt returned (R2.6).
pub fn assign_return(
    conn: &mut PgConnection,
    caller: &Caller,
    id: &str,
    target: &Ref,
) -> Result<BankLineId> {
    let line = line(conn, caller, id)?;
    if line.amount > 0 || status_of(&line)? != LineStatus::Unknown {
        return Err(wrong_state(
            "line",
            "this movement is no return that waits for its receipt",
        ));
    }
    let currency = books::currency(&line.currency)?;
    let found = reference::payment(conn, caller, "payment", target)?;
    let fee = -line.amount - found.amount;
    if fee < 0 || found.currency != line.currency {
        return Err(Refusal::invalid(
            "payment",
            format!(
                "{} went back, the receipt is of another amount",
                currency.show(-line.amount)
            ),
        )
        .into());
    }
    let books = books::open(conn, caller)?;
    let on = books.first_open_day(line.booked_on);
    let waiting = last(conn, caller, &line)?;
    take_operations_back(
        conn,
        caller,
        &waiting,
        on,
        "the receipt that went back was found",
    )?;
    apply::returned(conn, caller, currency, &line, found.id, fee)?;
    let status = LineStatus::Returned;
    store::bank::set_status(conn, caller.company, line.id, status.code(), Some(found.id))?;
    store::task::finish_of(conn, caller.company, line.id.0, &caller.author)?;
    Record::of(
        Rule::ByHand,
        status.code(),
        format!("takes receipt {} back", found.number),
    )
    .keep(conn, caller, &line)?;
    Ok(line.id)
}

pub fn take_operations_back(
    conn: &mut PgConnection,
    caller: &Caller,
    decision: &Match,
    on: NaiveDate,
    reason: &str,
) -> Result<()> {
    for id in operations_of(decision)?.into_iter().rev() {
        operation::reverse(conn, caller, &Ref::Id(id.show()), Some(on), reason)?;
    }
    Ok(())
}

fn operations_of(decision: &Match) -> Result<Vec<OperationId>> {
    serde_json::from_value(decision.operations.clone())
        .map_err(|error| Error::Internal(format!("stored match: {error}")))
}

/// Undoes the last match of a movement as one step (R13.1): its matchings end, what it did beside is
/// reversed, and the money waits on 471 again, or stays on the client's account.
pub fn undo(
    conn: &mut PgConnection,
    caller: &Caller,
    id: &str,
    reason: &str,
    keep_on_account: bool,
) -> Result<BankLineId> {
    let books = books::open(conn, caller)?;
    let line = line(conn, caller, id)?;
    let reason = books::text("reason", reason, 300)?;
    let decision = last(conn, caller, &line)?;
    let operations = operations_of(&decision)?;
    let on = caller.today.max(line.booked_on);
    match status_of(&line)? {
        LineStatus::Automatic | LineStatus::Matched | LineStatus::OnAccount => {}
        LineStatus::Posted if !operations.is_empty() => {
            take_operations_back(conn, caller, &decision, on, &reason)?;
            return done(conn, caller, &line, LineStatus::Undone, None, reason);
        }
        LineStatus::Reconciled => {
            let (status, payment) = reconcile::untie(conn, caller, &books, &line)?;
            return done(conn, caller, &line, status, payment, reason);
        }
        LineStatus::Posted | LineStatus::Returned => {
            return Err(wrong_state(
                "line",
                "a credited slip and a return are facts of the bank: they are not undone",
            ));
        }
        LineStatus::Proposed | LineStatus::Unknown | LineStatus::Ignored | LineStatus::Undone => {
            return Err(wrong_state("line", "this movement is not matched"));
        }
    }
    let (payment, client, _) = receipt(conn, caller, &line)?;
    end_matchings(conn, caller, &books, payment, &decision, &operations)?;
    take_operations_back(conn, caller, &decision, on, &reason)?;
    if keep_on_account {
        return done(
            conn,
            caller,
            &line,
            LineStatus::OnAccount,
            Some(payment),
            reason,
        );
    }
    payment::reverse_any(conn, caller, &Ref::Id(payment.show()), Some(on), &reason)?;
    let anew = again(conn, caller, payment, on)?;
    if let (Some(iban), Some(client)) = (&line.counterparty_iban, client) {
        // What the match taught was wrong with it.
        store::bank::unlink(conn, caller.company, iban, client)?;
    }
    who_paid(conn, caller, &line)?;
    done(conn, caller, &line, LineStatus::Unknown, Some(anew), reason)
}

fn done(
    conn: &mut PgConnection,
    caller: &Caller,
    line: &Line,
    status: LineStatus,
    payment: Option<PaymentId>,
    reason: String,
) -> Result<BankLineId> {
    store::bank::set_status(conn, caller.company, line.id, status.code(), payment)?;
    Record::of(Rule::ByHand, LineStatus::Undone.code(), reason).keep(conn, caller, line)?;
    Ok(line.id)
}

/// Ends the matchings that the decision made, and no others.
fn end_matchings(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    payment: PaymentId,
    decision: &Match,
    operations: &[OperationId],
) -> Result<()> {
    let shares = Laid::of(decision)?.shares;
    let sources: Vec<_> = operations
        .iter()
        .map(|id| id.0)
        .chain([payment.0])
        .collect();
    let mut credits: HashSet<ItemId> = store::item::by_sources(conn, caller.company, &sources)?
        .iter()
        .filter(|item| !item.is_debit)
        .map(|item| item.id)
        .collect();
    let taken_off: HashSet<(ItemId, ItemId)> = shares
        .iter()
        .filter_map(|share| share.credit.map(|credit| (share.debit, credit)))
        .collect();
    let own = credits.clone();
    credits.extend(taken_off.iter().map(|(_, credit)| *credit));
    let mut running = store::matching::active_of(conn, caller.company, &Vec::from_iter(credits))?;
    running.retain(|found| {
        found.rule == RULE
            && (own.contains(&found.credit_item_id)
                || taken_off.contains(&(found.debit_item_id, found.credit_item_id)))
    });
    let Some(on) = running.iter().map(|found| found.effective_on).max() else {
        return Ok(());
    };
    matching::end_allocations(
        conn,
        caller,
        books,
        &running,
        Ending::on(on.max(caller.today)),
    )
}

/// The same money, recorded anew as nobody's.
fn again(
    conn: &mut PgConnection,
    caller: &Caller,
    payment: PaymentId,
    on: NaiveDate,
) -> Result<PaymentId> {
    let old = store::payment::by_id(conn, caller.company, payment)?
        .ok_or_else(|| Error::Internal("a bank line's receipt is missing".into()))?;
    let method = ["TRANSFER", "DIRECT_DEBIT", "CARD"]
        .into_iter()
        .find(|method| *method == old.method)
        .unwrap_or("TRANSFER");
    let input = PaymentInput {
        payer: Some(old.payer.unwrap_or_else(|| "inconnu".into())),
        received_on: Some(on),
        method,
        amount: books::currency(&old.currency)?.decimal(old.amount),
        currency: Some(old.currency),
        exchange_rate: Some(old.exchange_rate),
        remittance: old.remittance,
        bank_account: old.bank_account,
        late_entry: true,
        ..PaymentInput::default()
    };
    Ok(payment::record(conn, caller, &input)?.payment)
}

/// Ends a task.
pub fn complete(conn: &mut PgConnection, caller: &Caller, id: &str) -> Result<TaskId> {
    let id = TaskId::read(id).ok_or_else(|| Refusal::not_found("task", "task"))?;
    if store::task::by_ids(conn, caller.company, &[id])?.is_empty() {
        return Err(Refusal::not_found("task", "task").into());
    }
    if !store::task::finish(conn, caller.company, id, &caller.author)? {
        return Err(wrong_state("task", "this task is done already"));
    }
    Ok(id)
}

/// Remembers that an account pays for a client: with a second person, since money follows it (R12.1).
pub fn link(
    conn: &mut PgConnection,
    caller: &Caller,
    iban: &str,
    client: &Ref,
) -> Result<ClientId> {
    let books = books::open(conn, caller)?;
    let client = reference::client(conn, caller, "client", client)?;
    let iban = number(iban)?;
    store::bank::link(conn, caller.company, &iban, client.id, &caller.author)?;
    let matter = Matter {
        client: Some(client.id),
        before: json!({ "iban": null }),
        after: json!({ "iban": iban }),
        ..Matter::of(ApprovalKind::BankDetails, client.id.show())
    };
    approval::gate(conn, caller, &books, matter)?;
    Ok(client.id)
}

/// Forgets it.
pub fn unlink(
    conn: &mut PgConnection,
    caller: &Caller,
    iban: &str,
    client: &Ref,
) -> Result<ClientId> {
    let client = reference::client(conn, caller, "client", client)?;
    if store::bank::unlink(conn, caller.company, &number(iban)?, client.id)? {
        return Ok(client.id);
    }
    Err(Refusal::not_found("iban", "account of this client").into())
}
