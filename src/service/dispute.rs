//! Disputes (litiges) and customer deductions: opened, decided, closed with a credit note.

use chrono::{Duration, NaiveDate};
use diesel::pg::PgConnection;
use rust_decimal::Decimal;

use super::books::{self, Books, NewItem, NewLine, Posting};
use super::credit_note::{self, CreditNoteInput};
use super::matching::{self, Pair};
use super::reference::{self, Ref};
use crate::domain::access::{Action, Caller};
use crate::domain::ids::{DeductionId, DisputeId, DocumentId, Id, UserId};
use crate::domain::money::Minor;
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::Result;
use crate::store::dispute::{Deduction, Dispute, DisputedItem, Event};
use crate::store::document::{self, Document};
use crate::store::item::Item;
use crate::store::{self};

/// A dispute as entered.
#[derive(Clone, Debug)]
pub struct DisputeInput {
    pub invoice: Ref,
    /// The reason's own kind when absent.
    pub kind: Option<&'static str>,
    pub reason: String,
    /// Everything that is open and not in dispute yet, when absent.
    pub amount: Option<Decimal>,
    pub opened_on: Option<NaiveDate>,
    pub respond_by: Option<NaiveDate>,
    pub owner: Option<UserId>,
    pub description: String,
    /// The dispute that it takes up again.
    pub reopens: Option<DisputeId>,
}

/// What is new about a challenge that comes back.
#[derive(Clone, Debug)]
pub struct Again {
    pub amount: Option<Decimal>,
    pub description: String,
    pub respond_by: Option<NaiveDate>,
}

/// Takes up a dispute that ended: a new one of the same invoice, reason and owner, which names it (8.2).
pub fn reopen(
    conn: &mut PgConnection,
    caller: &Caller,
    target: &Ref,
    again: Again,
) -> Result<DisputeId> {
    let old = reference::dispute(conn, caller, "dispute", target)?;
    if old.closed_on.is_none() {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "dispute",
            format!("this dispute is {}: it goes on", old.status),
        )
        .detail("status", old.status)
        .into());
    }
    // Who answered it may have left the company.
    let owner = match old.owner_id {
        Some(owner) => store::member::member(conn, caller.company, owner)?,
        None => None,
    };
    let input = DisputeInput {
        invoice: Ref::Id(old.invoice_id.show()),
        kind: None,
        reason: old.reason.clone(),
        amount: again.amount,
        opened_on: None,
        respond_by: again.respond_by,
        owner: owner.map(|owner| owner.user_id),
        description: again.description,
        reopens: Some(old.id),
    };
    let id = open(conn, caller, &input)?;
    let note = format!("contestation reprise par un nouveau litige : {}", id.show());
    store::dispute::insert_event(
        conn,
        caller.company,
        old.id,
        None,
        &note,
        caller.today,
        &caller.author,
    )?;
    Ok(id)
}

/// Opens a dispute on all or part of what an invoice has open (R8.1).
pub fn open(conn: &mut PgConnection, caller: &Caller, input: &DisputeInput) -> Result<DisputeId> {
    let books = books::open(conn, caller)?;
    let invoice = reference::invoice(conn, caller, "invoice", &input.invoice)?;
    let opened_on = input.opened_on.unwrap_or(caller.today);
    books.check_day("openedOn", opened_on)?;
    if opened_on < invoice.issued_on {
        return Err(Refusal::invalid(
            "openedOn",
            format!("the invoice is of {}", invoice.issued_on),
        )
        .into());
    }
    // What an invoice has open, its deductions' debits included: they carry its due dates.
    let items = store::item::debits_of_invoice(conn, caller.company, invoice.id)?;
    let items = store::item::for_update(
        conn,
        caller.company,
        &items.iter().map(|item| item.id).collect::<Vec<_>>(),
    )?;
    insert(
        conn, caller, &books, input, &invoice, None, items, opened_on,
    )
}

#[expect(
    clippy::too_many_arguments,
    reason = "shared by disputes and the disputes of deductions"
)]
fn insert(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    input: &DisputeInput,
    invoice: &Document,
    deduction: Option<DeductionId>,
    mut items: Vec<Item>,
    opened_on: NaiveDate,
) -> Result<DisputeId> {
    let reason = store::company::reason(conn, caller.company, &input.reason)?
        .filter(|reason| reason.active)
        .ok_or_else(|| {
            Refusal::invalid(
                "reason",
                "no such dispute reason is in use: the query disputeReasons lists them",
            )
        })?;
    let same_code = store::dispute::open_of_invoice(conn, caller.company, invoice.id)?;
    if deduction.is_none()
        && same_code
            .iter()
            .any(|dispute| dispute.reason == reason.code && dispute.deduction_id.is_none())
    {
        return Err(Refusal::new(
            RefusalCode::Duplicate,
            "reason",
            "an open dispute of this invoice has this reason already",
        )
        .into());
    }
    let currency = books::currency(&invoice.currency)?;
    items.sort_by_key(|item| (item.due_on, item.id));
    let ids: Vec<_> = items.iter().map(|item| item.id).collect();
    let disputed = store::dispute::open_on_items(conn, caller.company, &ids)?;
    let free = |item: &Item| -> Minor {
        let taken: Minor = disputed
            .iter()
            .filter(|(id, _)| *id == item.id)
            .map(|(_, amount)| amount)
            .sum();
        (item.open_amount - taken).max(0)
    };
    let available: Minor = items.iter().map(free).sum();
    let amount = match input.amount {
        Some(amount) => books::amount("amount", amount, currency)?,
        None => available,
    };
    if amount > available || amount == 0 {
        return Err(Refusal::new(
            RefusalCode::DisputeExceedsOpen,
            "amount",
            format!(
                "{} is open and not in dispute on {}",
                currency.show(available),
                invoice.number
            ),
        )
        .detail("available", currency.decimal(available).to_string())
        .into());
    }
    let respond_by = input
        .respond_by
        .unwrap_or(opened_on + Duration::days(i64::from(books.settings.dispute_days)));
    if respond_by < opened_on {
        return Err(Refusal::invalid("respondBy", "the deadline is before the opening").into());
    }
    if let Some(owner) = input.owner {
        reference::member(conn, caller.company, "owner", owner)?;
    }
    let number = books.next_number(
        conn,
        &books.settings.series.disputes,
        opened_on,
        false,
        "openedOn",
    )?;
    let dispute = Dispute {
        company_id: caller.company,
        id: DisputeId::new(),
        number,
        client_id: invoice.client_id,
        invoice_id: invoice.id,
        deduction_id: deduction,
        kind: input
            .kind
            .map_or_else(|| reason.kind.clone(), str::to_owned),
        reason: reason.code,
        amount,
        currency: currency.code().to_owned(),
        description: books::optional_text("description", Some(&input.description), 2000)?
            .unwrap_or_default(),
        blocks_dunning: reason.blocks_dunning,
        owner_id: input.owner,
        department: reason.department,
        opened_on,
        respond_by,
        recorded_by: caller.author.clone(),
        status: "OPEN".into(),
        outcome: None,
        decided_by: None,
        accepted_amount: None,
        credit_note_id: None,
        closed_on: None,
        reopens_id: input.reopens,
    };
    let mut left = amount;
    let mut parts = Vec::new();
    for item in &items {
        let part = left.min(free(item));
        if part > 0 {
            parts.push(DisputedItem {
                company_id: caller.company,
                dispute_id: dispute.id,
                item_id: item.id,
                amount: part,
            });
            left -= part;
        }
    }
    store::dispute::insert(conn, &dispute, &parts)?;
    store::dispute::insert_event(
        conn,
        caller.company,
        dispute.id,
        Some("OPEN"),
        &dispute.description,
        opened_on,
        &caller.author,
    )?;
    Ok(dispute.id)
}

/// Changes who answers a dispute, its deadline, or takes it under review.
pub fn update(
    conn: &mut PgConnection,
    caller: &Caller,
    target: &Ref,
    owner: Option<UserId>,
    respond_by: Option<NaiveDate>,
    status: Option<&'static str>,
    note: Option<&str>,
) -> Result<DisputeId> {
    let mut dispute = locked(conn, caller, target)?;
    if let Some(owner) = owner {
        dispute.owner_id = Some(reference::member(conn, caller.company, "owner", owner)?);
    }
    if let Some(day) = respond_by {
        if day < dispute.opened_on {
            return Err(Refusal::invalid("respondBy", "the deadline is before the opening").into());
        }
        dispute.respond_by = day;
    }
    if let Some(status) = status {
        step(&dispute, status)?;
        status.clone_into(&mut dispute.status);
    }
    store::dispute::update(conn, &dispute)?;
    let note = books::optional_text("note", note, 2000)?;
    if status.is_some() || note.is_some() {
        store::dispute::insert_event(
            conn,
            caller.company,
            dispute.id,
            status,
            &note.unwrap_or_default(),
            caller.today,
            &caller.author,
        )?;
    }
    Ok(dispute.id)
}

/// Refuses a step that section 8.2 does not know.
fn step(dispute: &Dispute, to: &str) -> Result<()> {
    use crate::domain::dispute::DisputeStatus;
    let allowed = match (
        DisputeStatus::read(&dispute.status),
        DisputeStatus::read(to),
    ) {
        (Some(from), Some(to)) => from.transition(to).is_ok(),
        _ => false,
    };
    if allowed {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalCode::WrongState,
        "dispute",
        format!("a dispute that is {} cannot become {to}", dispute.status),
    )
    .detail("status", dispute.status.clone())
    .into())
}

fn locked(conn: &mut PgConnection, caller: &Caller, target: &Ref) -> Result<Dispute> {
    let found = reference::dispute(conn, caller, "dispute", target)?;
    lock(conn, caller, "dispute", found.id)
}

/// An open dispute, under its lock; `field` is what named it.
fn lock(conn: &mut PgConnection, caller: &Caller, field: &str, id: DisputeId) -> Result<Dispute> {
    let dispute = store::dispute::for_update(conn, caller.company, id)?
        .ok_or_else(|| Refusal::not_found(field, "dispute"))?;
    if let Some(closed) = dispute.closed_on {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            field,
            format!("this was closed on {closed}: a new challenge is a new dispute"),
        )
        .detail("status", dispute.status.clone())
        .into());
    }
    Ok(dispute)
}

/// Writes a note on a dispute, open or closed.
pub fn add_note(
    conn: &mut PgConnection,
    caller: &Caller,
    target: &Ref,
    note: &str,
) -> Result<DisputeId> {
    let dispute = reference::dispute(conn, caller, "dispute", target)?;
    let note = books::text("note", note, 2000)?;
    store::dispute::insert_event(
        conn,
        caller.company,
        dispute.id,
        None,
        &note,
        caller.today,
        &caller.author,
    )?;
    Ok(dispute.id)
}

/// How a dispute or deduction ends, as entered.
#[derive(Clone, Debug)]
pub struct Resolution {
    /// `ACCEPTED`, `PARTLY_ACCEPTED`, `REJECTED`, `DOCUMENT_SENT` or `WITHDRAWN`.
    pub outcome: &'static str,
    /// For `PARTLY_ACCEPTED`: the gross amount that is credited.
    pub accepted_amount: Option<Decimal>,
    /// The credit note that settles it, when there is one already.
    pub credit_note: Option<Ref>,
    /// The number of the credit note to issue, from another system's series.
    pub credit_note_number: Option<String>,
    pub closed_on: Option<NaiveDate>,
    pub note: Option<String>,
}

/// What settling made.
pub struct Resolved {
    pub dispute: DisputeId,
    pub credit_note: Option<DocumentId>,
}

/// Decides a dispute and closes it, as far as the caller's role and segregation of duties allow (R8.2).
pub fn resolve(
    conn: &mut PgConnection,
    caller: &Caller,
    target: &Ref,
    input: &Resolution,
) -> Result<Resolved> {
    let dispute = locked(conn, caller, target)?;
    if dispute.deduction_id.is_some() {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "dispute",
            "this dispute belongs to a deduction: resolve the deduction",
        )
        .into());
    }
    let invoice = document::by_id(conn, caller.company, dispute.invoice_id)?
        .ok_or_else(|| Refusal::not_found("dispute", "invoice"))?;
    settle(conn, caller, dispute, &invoice, input)
}

/// The day a dispute was decided on, if it was. A review says nothing of that: it has the day it was noted on.
fn last_decision(
    conn: &mut PgConnection,
    caller: &Caller,
    dispute: &Dispute,
) -> Result<Option<NaiveDate>> {
    let decisions = ["ACCEPTED", "PARTLY_ACCEPTED", "REJECTED", "DOCUMENT_SENT"];
    let decided = |event: &Event| {
        let status = event.status.as_deref();
        status.is_some_and(|status| decisions.contains(&status))
    };
    let events = store::dispute::events(conn, caller.company, &[dispute.id])?;
    let days = events.iter().filter(|event| decided(event));
    Ok(days.map(|event| event.happened_on).max())
}

/// The common end of disputes and deductions.
fn settle(
    conn: &mut PgConnection,
    caller: &Caller,
    mut dispute: Dispute,
    invoice: &Document,
    input: &Resolution,
) -> Result<Resolved> {
    let books = books::open(conn, caller)?;
    let decided = last_decision(conn, caller, &dispute)?;
    let known = dispute.opened_on.max(decided.unwrap_or(dispute.opened_on));
    let on = input.closed_on.unwrap_or(caller.today.max(known));
    books.check_day("closedOn", on)?;
    books::not_before("closedOn", on, decided, "the dispute was decided on")?;
    if on < dispute.opened_on {
        return Err(Refusal::invalid(
            "closedOn",
            format!("the dispute was opened on {}", dispute.opened_on),
        )
        .into());
    }
    let decided_before = dispute.outcome.is_some();
    decide(conn, caller, &books, &mut dispute, input, on)?;
    let credited = dispute.accepted_amount.unwrap_or_default() > 0;
    if credited && !caller.may(Action::CloseDisputes) {
        // Sales decided; accounting issues the credit note and closes.
        store::dispute::update(conn, &dispute)?;
        return Ok(Resolved {
            dispute: dispute.id,
            credit_note: None,
        });
    }
    if credited {
        if books.company.segregation
            && dispute.decided_by.as_deref() == Some(caller.author.as_str())
            && input.credit_note.is_none()
        {
            if decided_before {
                return Err(Refusal::new(
                    RefusalCode::SecondPersonRequired,
                    "dispute",
                    "whoever decided the dispute may not issue its credit note (R8.2): another person closes it",
                )
                .into());
            }
            store::dispute::update(conn, &dispute)?;
            return Ok(Resolved {
                dispute: dispute.id,
                credit_note: None,
            });
        }
        let note = credit_note(conn, caller, &dispute, invoice, input, on)?;
        dispute.credit_note_id = Some(note);
        store::dispute::insert_event(
            conn,
            caller.company,
            dispute.id,
            Some("CREDIT_NOTE_ISSUED"),
            "",
            on,
            &caller.author,
        )?;
    }
    let end = if dispute.outcome.as_deref() == Some("WITHDRAWN") {
        "WITHDRAWN"
    } else {
        "CLOSED"
    };
    end.clone_into(&mut dispute.status);
    dispute.closed_on = Some(on);
    store::dispute::update(conn, &dispute)?;
    store::dispute::insert_event(
        conn,
        caller.company,
        dispute.id,
        Some(end),
        "",
        on,
        &caller.author,
    )?;
    Ok(Resolved {
        dispute: dispute.id,
        credit_note: dispute.credit_note_id,
    })
}

/// The decision, unless it was taken before; then it must be the same.
fn decide(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    dispute: &mut Dispute,
    input: &Resolution,
    on: NaiveDate,
) -> Result<()> {
    if let Some(outcome) = &dispute.outcome {
        if outcome != input.outcome {
            return Err(Refusal::new(
                RefusalCode::WrongState,
                "outcome",
                format!("the decision was {outcome}: it stands"),
            )
            .into());
        }
        return Ok(());
    }
    // Without segregation of duties the accountant may decide as well.
    if !(caller.may(Action::DecideDisputes)
        || !books.company.segregation && caller.may(Action::CloseDisputes))
    {
        return Err(Refusal::new(
            RefusalCode::Forbidden,
            "outcome",
            "sales or the technical department decides a dispute (R8.2)",
        )
        .into());
    }
    let currency = books::currency(&dispute.currency)?;
    let accepted = match (input.outcome, input.accepted_amount) {
        ("ACCEPTED", None) => dispute.amount,
        ("ACCEPTED" | "PARTLY_ACCEPTED", Some(amount)) => {
            let amount = books::amount("acceptedAmount", amount, currency)?;
            if input.outcome == "ACCEPTED" && amount < dispute.amount {
                return Err(Refusal::invalid(
                    "acceptedAmount",
                    format!(
                        "{} is in dispute: less than that is PARTLY_ACCEPTED",
                        currency.show(dispute.amount)
                    ),
                )
                .detail("disputed", currency.decimal(dispute.amount).to_string())
                .into());
            }
            amount
        }
        ("PARTLY_ACCEPTED", None) => {
            return Err(Refusal::invalid("acceptedAmount", "say how much is accepted").into());
        }
        (_, Some(_)) => {
            return Err(Refusal::invalid(
                "acceptedAmount",
                "only an accepted dispute has an accepted amount",
            )
            .into());
        }
        (_, None) => 0,
    };
    if accepted > dispute.amount {
        return Err(Refusal::invalid(
            "acceptedAmount",
            format!("{} is in dispute", currency.show(dispute.amount)),
        )
        .detail("disputed", currency.decimal(dispute.amount).to_string())
        .into());
    }
    if input.credit_note.is_some() && accepted == 0 {
        return Err(Refusal::invalid(
            "creditNote",
            "only an accepted dispute is settled by a credit note",
        )
        .into());
    }
    if dispute.status == "OPEN" && input.outcome != "WITHDRAWN" {
        // Who decides has looked into it: section 8.2 has no way from OPEN to a decision but this.
        dispute.status = "UNDER_REVIEW".into();
        store::dispute::insert_event(
            conn,
            caller.company,
            dispute.id,
            Some("UNDER_REVIEW"),
            "",
            on,
            &caller.author,
        )?;
    }
    step(dispute, input.outcome)?;
    dispute.outcome = Some(input.outcome.to_owned());
    dispute.decided_by = Some(caller.author.clone());
    dispute.accepted_amount = (accepted > 0).then_some(accepted);
    input.outcome.clone_into(&mut dispute.status);
    let note = books::optional_text("note", input.note.as_deref(), 2000)?.unwrap_or_default();
    if input.outcome == "WITHDRAWN" {
        // The closing event says it.
        return Ok(());
    }
    store::dispute::insert_event(
        conn,
        caller.company,
        dispute.id,
        Some(input.outcome),
        &note,
        on,
        &caller.author,
    )?;
    // Between the decision and the closing the row says what was decided.
    Ok(())
}

/// The credit note of an accepted dispute: the one named, or a new one matched at once.
fn credit_note(
    conn: &mut PgConnection,
    caller: &Caller,
    dispute: &Dispute,
    invoice: &Document,
    input: &Resolution,
    on: NaiveDate,
) -> Result<DocumentId> {
    if let Some(target) = &input.credit_note {
        let note = reference::credit_note(conn, caller, "creditNote", target)?;
        if note.client_id != dispute.client_id || note.currency != dispute.currency {
            return Err(Refusal::invalid(
                "creditNote",
                "the credit note belongs to another client or currency",
            )
            .into());
        }
        if note
            .invoice_id
            .is_some_and(|credited| credited != invoice.id)
        {
            return Err(Refusal::invalid(
                "creditNote",
                format!(
                    "this credit note corrects another invoice than {} (R2.5)",
                    invoice.number
                ),
            )
            .into());
        }
        return Ok(note.id);
    }
    let currency = books::currency(&dispute.currency)?;
    let accepted = dispute.accepted_amount.unwrap_or_default();
    let note = credit_note::issue(
        conn,
        caller,
        &CreditNoteInput {
            number: input.credit_note_number.clone(),
            invoice: Some(Ref::Id(invoice.id.show())),
            issued_on: Some(on),
            amount: Some(currency.decimal(accepted)),
            allocate: false,
            reason: Some(dispute.number.clone()),
            ..CreditNoteInput::default()
        },
    )?;
    if let Some(credit) = store::item::by_sources(conn, caller.company, &[note.0])?.first() {
        let books = books::open(conn, caller)?;
        let disputed = store::dispute::items_of(conn, caller.company, dispute.id)?;
        let debits = store::item::by_ids(conn, caller.company, &disputed)?;
        credit_note::settle(conn, caller, &books, debits, credit.id, credit.amount, on)?;
    }
    Ok(note)
}

/// A customer's deduction as entered.
#[derive(Clone, Debug)]
pub struct DeductionInput {
    pub invoice: Ref,
    /// Everything the invoice has open, when absent.
    pub amount: Option<Decimal>,
    pub reason: String,
    pub recorded_on: Option<NaiveDate>,
    pub owner: Option<UserId>,
    pub description: String,
}

/// Carries a short payment (R2.7, R2.8): one OD with two legs closes the invoice and opens the
/// disputed item with the same due date, blocked by a dispute.
pub fn deduct(
    conn: &mut PgConnection,
    caller: &Caller,
    input: &DeductionInput,
) -> Result<DeductionId> {
    let books = books::open(conn, caller)?;
    let invoice = reference::invoice(conn, caller, "invoice", &input.invoice)?;
    let recorded_on = input.recorded_on.unwrap_or(caller.today);
    books.check_day("recordedOn", recorded_on)?;
    if recorded_on < invoice.issued_on {
        return Err(Refusal::invalid(
            "recordedOn",
            format!("the invoice is of {}", invoice.issued_on),
        )
        .into());
    }
    let number = books.next_number(
        conn,
        &books.settings.series.deductions,
        recorded_on,
        false,
        "recordedOn",
    )?;
    // Receipts of the same invoice number their entry first, too.
    books.hold_entries(conn, [recorded_on])?;
    let items = store::item::by_sources_for_update(conn, caller.company, &[invoice.id.0])?;
    let currency = books::currency(&invoice.currency)?;
    let open: Minor = items.iter().map(|item| item.open_amount).sum();
    let amount = match input.amount {
        Some(amount) => books::amount("amount", amount, currency)?,
        None => open,
    };
    if amount > open || amount == 0 {
        return Err(Refusal::new(
            RefusalCode::OverAllocation,
            "amount",
            format!("{} is open on {}", currency.show(open), invoice.number),
        )
        .detail("open", currency.decimal(open).to_string())
        .into());
    }
    if amount <= books.settings.tolerance && currency == books.currency {
        return Err(Refusal::invalid(
            "amount",
            format!(
                "a difference of {} or less is not worth a dispute (R2.12)",
                currency.show(books.settings.tolerance)
            ),
        )
        .into());
    }
    let deduction = Deduction {
        company_id: caller.company,
        id: DeductionId::new(),
        number,
        client_id: invoice.client_id,
        invoice_id: invoice.id,
        amount,
        currency: currency.code().to_owned(),
        reason: input.reason.clone(),
        description: books::optional_text("description", Some(&input.description), 2000)?
            .unwrap_or_default(),
        recorded_on,
        recorded_by: caller.author.clone(),
        status: "OPEN".into(),
    };
    // The reason is checked here, before the foreign key would.
    if store::company::reason(conn, caller.company, &input.reason)?.is_none() {
        return Err(Refusal::invalid(
            "reason",
            "no such dispute reason: the query disputeReasons lists them",
        )
        .into());
    }
    store::dispute::insert_deduction(conn, &deduction)?;
    let shares = shares(&items, amount);
    let made = books::post(
        conn,
        caller,
        &books,
        vec![deduction_entry(&books, &deduction, &invoice, &shares)],
    )?;
    let pairs: Vec<Pair> = shares
        .iter()
        .zip(made.iter().filter(|item| !item.is_debit))
        .map(|((debit, share), credit)| Pair {
            debit: debit.id,
            credit: credit.id,
            amount: *share,
            line: 0,
        })
        .collect();
    matching::match_pairs(conn, caller, &books, &pairs, recorded_on, "DEDUCTION")?;
    let dispute = DisputeInput {
        invoice: input.invoice.clone(),
        kind: None,
        reason: input.reason.clone(),
        amount: Some(currency.decimal(amount)),
        opened_on: Some(recorded_on),
        respond_by: None,
        owner: input.owner,
        description: input.description.clone(),
        reopens: None,
    };
    let debits = made.into_iter().filter(|item| item.is_debit).collect();
    insert(
        conn,
        caller,
        &books,
        &dispute,
        &invoice,
        Some(deduction.id),
        debits,
        recorded_on,
    )?;
    Ok(deduction.id)
}

/// The instalments that the deduction closes, latest due last, and how much of each.
fn shares(items: &[Item], amount: Minor) -> Vec<(&Item, Minor)> {
    let mut left = amount;
    let mut shares = Vec::new();
    for item in items {
        let share = left.min(item.open_amount);
        if share > 0 {
            shares.push((item, share));
            left -= share;
        }
    }
    shares
}

/// Section 2.5 step 3: credit leg and debit leg on the same account; VAT and revenue do not move.
fn deduction_entry(
    books: &Books,
    deduction: &Deduction,
    invoice: &Document,
    shares: &[(&Item, Minor)],
) -> Posting {
    let account = &books.settings.accounts.receivable;
    let item = |kind, due_on| NewItem {
        kind,
        source_id: deduction.id.0,
        reference: deduction.number.clone(),
        invoice_id: Some(invoice.id),
        invoiced_on: invoice.issued_on,
        due_on,
        document_net: invoice.net,
        document_total: invoice.total,
    };
    let mut lines = Vec::new();
    for (open, share) in shares {
        lines.push(
            NewLine::credit(account, *share)
                .open(deduction.client_id, item("DEDUCTION_SETTLEMENT", None)),
        );
        lines.push(
            NewLine::debit(account, *share)
                .open(deduction.client_id, item("DEDUCTION", open.due_on)),
        );
    }
    Posting {
        journal: "OD".into(),
        posted_on: deduction.recorded_on,
        occurred_on: deduction.recorded_on,
        reference: deduction.number.clone(),
        label: format!("Déduction sur {}", invoice.number),
        source_kind: "DEDUCTION",
        source_id: deduction.id.0,
        reversal_of: None,
        currency: invoice.currency.parse().unwrap_or(books.currency),
        rate: invoice.exchange_rate,
        lines,
    }
}

/// Ends a deduction: accepted (credit note, R2.9), partly (R2.11), or rejected and chased again (R2.10).
pub fn resolve_deduction(
    conn: &mut PgConnection,
    caller: &Caller,
    target: &Ref,
    input: &Resolution,
) -> Result<(DeductionId, Option<DocumentId>)> {
    let deduction = reference::deduction(conn, caller, "deduction", target)?;
    if !["ACCEPTED", "PARTLY_ACCEPTED", "REJECTED"].contains(&input.outcome) {
        return Err(Refusal::invalid(
            "outcome",
            "a deduction ends ACCEPTED, PARTLY_ACCEPTED or REJECTED",
        )
        .into());
    }
    let dispute = store::dispute::of_deductions(conn, caller.company, &[deduction.id])?
        .pop()
        .ok_or_else(|| Refusal::not_found("deduction", "dispute of the deduction"))?;
    let dispute = lock(conn, caller, "deduction", dispute.id)?;
    let invoice = document::by_id(conn, caller.company, deduction.invoice_id)?
        .ok_or_else(|| Refusal::not_found("deduction", "invoice"))?;
    let resolved = settle(conn, caller, dispute, &invoice, input)?;
    let closed = store::dispute::by_id(conn, caller.company, resolved.dispute)?
        .filter(|dispute| dispute.closed_on.is_some());
    if let Some(dispute) = closed {
        let status = match dispute.outcome.as_deref() {
            Some("ACCEPTED") if dispute.accepted_amount == Some(deduction.amount) => "ACCEPTED",
            Some("ACCEPTED" | "PARTLY_ACCEPTED") => "PARTLY_ACCEPTED",
            _ => "REJECTED",
        };
        store::dispute::set_deduction_status(conn, caller.company, deduction.id, status)?;
    }
    Ok((deduction.id, resolved.credit_note))
}
