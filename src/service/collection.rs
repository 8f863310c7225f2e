//! The collectors' desk: calls, visits and notes, and payment plans (échéanciers).

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use rust_decimal::Decimal;

use super::books;
use super::reference::{self, ItemRef, Ref};
use crate::domain::access::Caller;
use crate::domain::ids::{Id, ItemId, NoteId, PlanId};
use crate::domain::money::Minor;
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::{Error, Result};
use crate::store::client::Client;
use crate::store::collection::{Instalment, Note, Plan, PlanStanding};
use crate::store::item::Item;
use crate::store::{self};

/// A note, as entered.
#[derive(Clone, Debug)]
pub struct NoteInput {
    pub client: Ref,
    pub kind: &'static str,
    pub outcome: &'static str,
    pub spoke_to: Option<String>,
    pub note: String,
    pub follow_up_on: Option<NaiveDate>,
}

/// Writes down a call, a visit or a note; the latest one says when to come back.
pub fn note(conn: &mut PgConnection, caller: &Caller, input: &NoteInput) -> Result<NoteId> {
    let client = reference::client(conn, caller, "client", &input.client)?;
    if input.follow_up_on.is_some_and(|day| day < caller.today) {
        return Err(Refusal::invalid("followUpOn", "a day to come back is today or later").into());
    }
    let row = Note {
        company_id: caller.company,
        id: NoteId::new(),
        client_id: client.id,
        kind: input.kind.to_owned(),
        outcome: input.outcome.to_owned(),
        spoke_to: books::optional_text("spokeTo", input.spoke_to.as_deref(), 100)?,
        note: books::text("note", &input.note, 2000)?,
        done_on: caller.today,
        follow_up_on: input.follow_up_on,
        recorded_at: chrono::DateTime::UNIX_EPOCH,
        recorded_by: caller.author.clone(),
    };
    store::collection::insert_note(conn, &row)?;
    Ok(row.id)
}

/// A plan, as entered.
#[derive(Clone, Debug)]
pub struct PlanInput {
    pub client: Ref,
    /// What it is about; everything that is late when empty.
    pub items: Vec<ItemRef>,
    /// Day and amount of each part; together what is open on the items, or less.
    pub instalments: Vec<(NaiveDate, Decimal)>,
    pub currency: Option<String>,
    /// `RUNS` or `WAIVED_IF_KEPT`.
    pub interest: &'static str,
    pub grace_days: i32,
    pub note: Option<String>,
}

/// The open debts of a client that are named, each once; another client's, or of another currency, are refused.
pub fn named(
    conn: &mut PgConnection,
    caller: &Caller,
    client: &Client,
    currency: &str,
    named: &[ItemRef],
) -> Result<Vec<Item>> {
    let mut found: Vec<Item> = Vec::new();
    for (position, target) in named.iter().enumerate() {
        let field = format!("items.{position}");
        for item in reference::items(conn, caller, &field, target, true)? {
            if item.client_id != client.id || item.currency != currency {
                return Err(Refusal::new(
                    RefusalCode::AllocationMismatch,
                    &field,
                    "this item is another client's, or in another currency",
                )
                .into());
            }
            if item.open_amount > 0 && found.iter().all(|known| known.id != item.id) {
                found.push(item);
            }
        }
    }
    Ok(found)
}

/// The open debts that a plan or a case is about: those that are named, else everything that is late.
pub fn meant(
    conn: &mut PgConnection,
    caller: &Caller,
    client: &Client,
    currency: &str,
    named: &[ItemRef],
) -> Result<Vec<Item>> {
    let mut found: Vec<Item> = Vec::new();
    if named.is_empty() {
        found = store::item::open_of_client(conn, caller.company, client.id)?;
        found.retain(|item| {
            item.is_debit
                && item.currency == currency
                && ["411", "416"].contains(&item.family.as_str())
                && item.due_on.is_some_and(|due| due < caller.today)
        });
    }
    found.extend(self::named(conn, caller, client, currency, named)?);
    if found.is_empty() {
        return Err(Refusal::new(
            RefusalCode::NotChaseable,
            "items",
            "nothing is open on what is meant",
        )
        .into());
    }
    Ok(found)
}

/// Records a payment plan: its items are not chased while it is respected (R7.2).
pub fn plan(conn: &mut PgConnection, caller: &Caller, input: &PlanInput) -> Result<PlanId> {
    let client = reference::client(conn, caller, "client", &input.client)?;
    let code = input.currency.as_deref().unwrap_or(&client.currency);
    let currency = books::currency_input("currency", code)?;
    store::client::for_update(conn, caller.company, client.id)?;
    let items = meant(conn, caller, &client, currency.code(), &input.items)?;
    let ids: Vec<ItemId> = items.iter().map(|item| item.id).collect();
    if !store::collection::plans_on_items(conn, caller.company, &ids, caller.today)?.is_empty() {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "items",
            "a plan that is respected covers some of this already: cancel it first",
        )
        .into());
    }
    let id = PlanId::new();
    let parts = instalments(caller, id, input, currency)?;
    let total: Minor = parts.iter().map(|part| part.amount).sum();
    let owed: Minor = items.iter().map(|item| item.open_amount).sum();
    if total > owed {
        return Err(Refusal::new(
            RefusalCode::OverAllocation,
            "installments",
            format!("{} is open on what the plan is about", currency.show(owed)),
        )
        .detail("open", currency.decimal(owed).to_string())
        .into());
    }
    let grace = i16::try_from(input.grace_days)
        .ok()
        .filter(|days| (0..=60).contains(days));
    let row = Plan {
        company_id: caller.company,
        id,
        client_id: client.id,
        agreed_on: caller.today,
        amount: total,
        currency: currency.code().to_owned(),
        interest: input.interest.to_owned(),
        grace_days: grace.ok_or_else(|| Refusal::invalid("graceDays", "0 to 60 days of grace"))?,
        note: books::optional_text("note", input.note.as_deref(), 2000)?,
        recorded_at: chrono::DateTime::UNIX_EPOCH,
        recorded_by: caller.author.clone(),
        cancelled_on: None,
        cancelled_by: None,
        cancelled_reason: None,
    };
    store::collection::insert_plan(conn, &row, &parts, &ids)?;
    Ok(id)
}

fn instalments(
    caller: &Caller,
    plan: PlanId,
    input: &PlanInput,
    currency: crate::domain::money::Currency,
) -> Result<Vec<Instalment>> {
    if !(1..=60).contains(&input.instalments.len()) {
        return Err(Refusal::invalid("installments", "a plan has 1 to 60 instalments").into());
    }
    let mut parts: Vec<Instalment> = Vec::new();
    for (position, (due_on, amount)) in input.instalments.iter().enumerate() {
        let at = |part: &str| format!("installments.{position}.{part}");
        let before = parts.last().map_or(caller.today, |part| part.due_on);
        if *due_on < before || (position > 0 && *due_on == before) {
            return Err(Refusal::invalid(
                &at("dueOn"),
                "instalments are in order of their days, from today on",
            )
            .into());
        }
        parts.push(Instalment {
            company_id: caller.company,
            plan_id: plan,
            number: i16::try_from(position + 1).unwrap_or(i16::MAX),
            due_on: *due_on,
            amount: books::amount(&at("amount"), *amount, currency)?,
        });
    }
    Ok(parts)
}

/// Takes a plan back, with the reason: its items are chased again at once.
pub fn cancel_plan(
    conn: &mut PgConnection,
    caller: &Caller,
    id: &str,
    reason: &str,
) -> Result<PlanId> {
    let reason = books::text("reason", reason, 500)?;
    let missing = || Error::from(Refusal::not_found("plan", "payment plan"));
    let id = PlanId::read(id).ok_or_else(missing)?;
    if store::collection::plans_by_ids(conn, caller.company, &[id])?.is_empty() {
        return Err(missing());
    }
    let (on, author) = (caller.today, &caller.author);
    if !store::collection::cancel_plan(conn, caller.company, id, on, author, &reason)? {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "plan",
            "this plan was taken back already",
        )
        .into());
    }
    Ok(id)
}

/// What became of a plan by a day. A plan that is behind is broken: the whole is due (déchéance du terme).
pub fn outcome(plan: &Plan, standing: Option<&PlanStanding>, on: NaiveDate) -> &'static str {
    let (paid, wanted) = standing.map_or((0, 0), |standing| (standing.paid, standing.wanted));
    if plan.cancelled_on.is_some_and(|cancelled| cancelled <= on) {
        "CANCELLED"
    } else if paid >= plan.amount {
        "COMPLETED"
    } else if paid < wanted {
        "BROKEN"
    } else {
        "IN_GOOD_STANDING"
    }
}
