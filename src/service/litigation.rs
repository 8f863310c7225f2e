//! Litigation: cases from the hand-over to their end, prescription, and the deadlines of both (7.4, R7.10, R7.11).

use chrono::{Duration, NaiveDate};
use diesel::pg::PgConnection;
use uuid::Uuid;

use super::books;
use super::collection;
use super::reference::{self, ItemRef, Ref};
use crate::domain::access::Caller;
use crate::domain::ids::{CaseId, ClientId, Id, ItemId};
use crate::domain::litigation::{self, Barred, Cause, DeadlineKind, Stage, Standing};
use crate::domain::money::Minor;
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::domain::task::TaskKind;
use crate::error::{Error, Result};
use crate::store::litigation::{Case, CaseItem, Event, Interruption};
use crate::store::{self};

/// A case to open, as entered.
#[derive(Clone, Debug)]
pub struct CaseInput {
    pub client: Ref,
    /// What is claimed; everything that is late when empty.
    pub items: Vec<ItemRef>,
    pub currency: Option<String>,
    /// The lawyer, commissaire de justice or agency.
    pub handler: Option<String>,
    pub note: Option<String>,
}

/// Opens a case in pre-litigation: its claims leave dunning. What is in dispute is not claimed.
pub fn open(conn: &mut PgConnection, caller: &Caller, input: &CaseInput) -> Result<CaseId> {
    let books = books::open(conn, caller)?;
    let client = reference::client(conn, caller, "client", &input.client)?;
    let code = input.currency.as_deref().unwrap_or(&client.currency);
    let currency = books::currency_input("currency", code)?;
    store::client::for_update(conn, caller.company, client.id)?;
    if client.insolvency != "NONE" {
        return Err(Refusal::new(
            RefusalCode::NotChaseable,
            "client",
            "insolvency proceedings stop every other one: declare the claim, see deadlines (R7.10)",
        )
        .detail("reason", "INSOLVENT")
        .into());
    }
    let items = collection::meant(conn, caller, &client, currency.code(), &input.items)?;
    if let Some(early) = items
        .iter()
        .find(|item| item.due_on.is_none_or(|due| due >= caller.today))
    {
        return Err(Refusal::new(
            RefusalCode::NotChaseable,
            "items",
            format!(
                "{} is not due yet: a claim in court has to be",
                early.reference
            ),
        )
        .detail("reason", "NOT_LATE")
        .into());
    }
    let ids: Vec<ItemId> = items.iter().map(|item| item.id).collect();
    if !store::litigation::held(conn, caller.company, &ids)?.is_empty() {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "items",
            "an open case holds some of this already",
        )
        .into());
    }
    let disputed = store::dispute::open_on_items(conn, caller.company, &ids)?;
    let id = CaseId::new();
    let lines: Vec<CaseItem> = items
        .iter()
        .map(|item| CaseItem {
            company_id: caller.company,
            case_id: id,
            item_id: item.id,
            claimed: item.open_amount - contested(&disputed, item.id).min(item.open_amount),
        })
        .filter(|line| line.claimed > 0)
        .collect();
    let claimed: Minor = lines.iter().map(|line| line.claimed).sum();
    if claimed == 0 {
        return Err(Refusal::new(
            RefusalCode::NotChaseable,
            "items",
            "all of it is in dispute: the claim is not certain",
        )
        .detail("reason", "DISPUTED")
        .into());
    }
    let series = &books.settings.series.cases;
    let number = books.next_number(conn, series, caller.today, false, "client")?;
    let case = Case {
        company_id: caller.company,
        id,
        number,
        client_id: client.id,
        currency: currency.code().to_owned(),
        claimed,
        opened_on: caller.today,
        recorded_at: chrono::DateTime::UNIX_EPOCH,
        recorded_by: caller.author.clone(),
        stage: Stage::PreLitigation.code().to_owned(),
        handler: books::optional_text("handler", input.handler.as_deref(), 200)?,
        closed_on: None,
        outcome: None,
    };
    store::litigation::insert(conn, &case, &lines)?;
    let note = books::optional_text("note", input.note.as_deref(), 2000)?;
    event(conn, caller, &case, "STAGE", caller.today, None, note)?;
    let source = client.id.0;
    store::task::finish_kind(
        conn,
        caller.company,
        source,
        TaskKind::FileTransfer.code(),
        &caller.author,
    )?;
    Ok(id)
}

fn contested(disputed: &[(ItemId, i64)], item: ItemId) -> Minor {
    disputed
        .iter()
        .filter(|(id, _)| *id == item)
        .map(|(_, amount)| amount)
        .sum()
}

fn event(
    conn: &mut PgConnection,
    caller: &Caller,
    case: &Case,
    kind: &str,
    on: NaiveDate,
    reference: Option<String>,
    note: Option<String>,
) -> Result<()> {
    let row = Event {
        company_id: caller.company,
        id: Uuid::now_v7(),
        case_id: case.id,
        client_id: case.client_id,
        kind: kind.to_owned(),
        stage: case.stage.clone(),
        happened_on: on,
        reference,
        note: note.unwrap_or_default(),
        recorded_at: chrono::DateTime::UNIX_EPOCH,
        recorded_by: caller.author.clone(),
    };
    Ok(store::litigation::insert_event(conn, &row)?)
}

/// A step of a case, as entered.
#[derive(Clone, Debug)]
pub struct StepInput {
    pub case: String,
    /// The stage that it takes; none for something that happens within its stage.
    pub stage: Option<Stage>,
    /// `ORDER_MADE`, `SERVED`, `CONTESTED` or `NOTE`.
    pub event: Option<&'static str>,
    pub happened_on: Option<NaiveDate>,
    pub reference: Option<String>,
    pub note: Option<String>,
    pub handler: Option<String>,
    /// How it ended, with the stage `CLOSED`.
    pub outcome: Option<&'static str>,
}

/// Takes a case to another stage, or records what happened in it.
pub fn step(conn: &mut PgConnection, caller: &Caller, input: &StepInput) -> Result<CaseId> {
    let found = match CaseId::read(&input.case) {
        Some(id) => store::litigation::for_update(conn, caller.company, id)?,
        None => None,
    };
    let mut case = found.ok_or_else(|| Refusal::not_found("case", "litigation case"))?;
    let on = input.happened_on.unwrap_or(caller.today);
    if on > caller.today || on < case.opened_on {
        return Err(Refusal::invalid(
            "happenedOn",
            format!(
                "the case was opened on {}, and today is {}",
                case.opened_on, caller.today
            ),
        )
        .into());
    }
    let reference = books::optional_text("reference", input.reference.as_deref(), 100)?;
    let note = books::optional_text("note", input.note.as_deref(), 2000)?;
    refuse_before_the_last(conn, caller, &case, input, on)?;
    if input.event.is_some() && input.outcome.is_some() {
        let message = "a case has an outcome when it is closed: with the stage CLOSED";
        return Err(Refusal::invalid("outcome", message).into());
    }
    if input.event == Some("NOTE") && note.is_none() {
        return Err(Refusal::invalid("note", "say what is noted").into());
    }
    if let Some(handler) = &input.handler {
        case.handler = books::optional_text("handler", Some(handler), 200)?;
    }
    let cause = match (input.stage, input.event) {
        (Some(stage), None) => {
            check_stage(conn, caller, &case, stage, on)?;
            let closing = stage == Stage::Closed;
            if closing != input.outcome.is_some() {
                return Err(Refusal::invalid(
                    "outcome",
                    "a case that is closed has an outcome, and only that",
                )
                .into());
            }
            case.stage = stage.code().to_owned();
            case.closed_on = closing.then_some(on);
            case.outcome = input.outcome.map(str::to_owned);
            event(conn, caller, &case, "STAGE", on, reference, note.clone())?;
            interrupting(stage)
        }
        (None, Some(kind))
            if kind != "NOTE" && !Stage::read(&case.stage).is_some_and(Stage::has_orders) =>
        {
            return Err(Refusal::new(
                RefusalCode::WrongState,
                "event",
                "an order is made, served or contested in PAYMENT_COMMAND, PAYMENT_ORDER or INTERIM_ORDER",
            )
            .into());
        }
        (None, Some(kind)) if case.closed_on.is_none() || kind == "NOTE" => {
            event(conn, caller, &case, kind, on, reference, note.clone())?;
            // A payment order counts as a claim in court from its service on.
            (kind == "SERVED").then_some(Cause::CourtClaim)
        }
        (None, Some(_)) => return Err(over()),
        _ => {
            return Err(Refusal::invalid(
                "stage",
                "name the stage that the case takes, or the event that happened in it",
            )
            .into());
        }
    };
    store::litigation::update(conn, &case)?;
    if let Some(cause) = cause {
        let items = store::litigation::items_of(conn, caller.company, case.id)?;
        let ids: Vec<ItemId> = items.iter().map(|line| line.item_id).collect();
        let note = format!("{} {}", case.number, note.unwrap_or_default());
        interrupt(conn, caller, case.client_id, &ids, cause, on, note.trim())?;
    }
    Ok(case.id)
}

/// Stages follow each other, and so does what happens to an order: prescription and the time to contest run from these
/// days. A stage may be noted later than what happened in it, and notes may come late.
fn refuse_before_the_last(
    conn: &mut PgConnection,
    caller: &Caller,
    case: &Case,
    input: &StepInput,
    on: NaiveDate,
) -> Result<()> {
    // Of a closed case it is said that it is closed.
    if input.event == Some("NOTE") || case.closed_on.is_some() {
        return Ok(());
    }
    let is_like = |event: &Event| match input.stage {
        Some(_) => event.kind == "STAGE",
        None => !["STAGE", "NOTE"].contains(&event.kind.as_str()),
    };
    let events = store::litigation::events_of(conn, caller.company, case.id)?;
    let steps = events.iter().filter(|event| is_like(event));
    let last = steps.map(|event| event.happened_on).max();
    books::not_before("happenedOn", on, last, "the last step of the case is of")
}

fn over() -> Error {
    Refusal::new(
        RefusalCode::WrongState,
        "case",
        "this case is closed: open another one",
    )
    .into()
}

fn interrupting(stage: Stage) -> Option<Cause> {
    match stage {
        Stage::Summons | Stage::InterimOrder => Some(Cause::CourtClaim),
        Stage::Enforcement => Some(Cause::Enforcement),
        _ => None,
    }
}

fn check_stage(
    conn: &mut PgConnection,
    caller: &Caller,
    case: &Case,
    to: Stage,
    on: NaiveDate,
) -> Result<()> {
    let client = store::client::by_id(conn, caller.company, case.client_id)?
        .ok_or_else(|| Error::Internal("a case without a client".into()))?;
    let items = store::litigation::items_of(conn, caller.company, case.id)?;
    let ids: Vec<ItemId> = items.iter().map(|line| line.item_id).collect();
    let disputed = store::dispute::open_on_items(conn, caller.company, &ids)?;
    let standing = Standing {
        stage: Stage::read(&case.stage)
            .ok_or_else(|| Error::Internal(format!("stored stage {}", case.stage)))?,
        claimed: case.claimed,
        traders: !matches!(client.segment.as_str(), "CONSUMER" | "PUBLIC"),
        contested: !disputed.is_empty(),
    };
    let Err(barred) = litigation::check(&standing, to, on) else {
        return Ok(());
    };
    let why = match barred {
        Barred::Closed => return Err(over()),
        Barred::AboveCeiling => "the small-claims procedure has a ceiling of 5,000 € (CPCE L125-1)",
        Barred::BetweenTraders => {
            "claims between traders go by PAYMENT_COMMAND since 23 April 2026 (CPCE L126-1)"
        }
        Barred::NotBetweenTraders => {
            "the payment command is for claims between traders (CPCE L126-1)"
        }
        Barred::Order => {
            "a case goes from preparation to a procedure, to a judgment, to enforcement with a title; never back"
        }
        Barred::Contested => {
            "a part of the claim is in dispute: this procedure needs one that is not contested"
        }
    };
    Err(Refusal::new(RefusalCode::WrongState, "stage", why).into())
}

fn interrupt(
    conn: &mut PgConnection,
    caller: &Caller,
    client: ClientId,
    items: &[ItemId],
    cause: Cause,
    on: NaiveDate,
    note: &str,
) -> Result<()> {
    let rows: Vec<Interruption> = items
        .iter()
        .map(|item| Interruption {
            company_id: caller.company,
            id: Uuid::now_v7(),
            item_id: *item,
            client_id: client,
            cause: cause.code().to_owned(),
            happened_on: on,
            note: note.to_owned(),
            recorded_at: chrono::DateTime::UNIX_EPOCH,
            recorded_by: caller.author.clone(),
        })
        .collect();
    Ok(store::litigation::interrupt(conn, &rows)?)
}

/// Records a written acknowledgment of debt: a new period of prescription begins (R7.11). It needs the document,
/// attached to the client or to the claims.
pub fn acknowledge(
    conn: &mut PgConnection,
    caller: &Caller,
    client: &Ref,
    items: &[ItemRef],
    on: NaiveDate,
) -> Result<ClientId> {
    let client = reference::client(conn, caller, "client", client)?;
    if on > caller.today {
        return Err(Refusal::invalid(
            "acknowledgedOn",
            "an acknowledgment is recorded when it exists",
        )
        .into());
    }
    let items = collection::meant(conn, caller, &client, &client.currency, items)?;
    if let Some(later) = items.iter().find(|item| item.invoiced_on > on) {
        return Err(Refusal::invalid(
            "acknowledgedOn",
            format!(
                "{} is of {}: nobody acknowledged it before",
                later.reference, later.invoiced_on
            ),
        )
        .into());
    }
    let mut subjects: Vec<Uuid> = vec![client.id.0];
    subjects.extend(items.iter().map(|item| item.id.0));
    subjects.extend(
        items
            .iter()
            .filter_map(|item| item.invoice_id.map(|id| id.0)),
    );
    let files = store::file::of_subjects(conn, caller.company, &subjects)?;
    if files
        .iter()
        .all(|file| file.kind != "ACKNOWLEDGMENT_OF_DEBT")
    {
        return Err(Refusal::new(
            RefusalCode::EvidenceRequired,
            "client",
            "attach the written acknowledgment first: a file of the kind ACKNOWLEDGMENT_OF_DEBT",
        )
        .into());
    }
    let ids: Vec<ItemId> = items.iter().map(|item| item.id).collect();
    interrupt(conn, caller, client.id, &ids, Cause::Acknowledgment, on, "")?;
    Ok(client.id)
}

/// Something that has to be done by a day, or ends on it.
#[derive(Clone, Debug)]
pub struct Deadline {
    pub kind: DeadlineKind,
    pub due_on: NaiveDate,
    pub client: ClientId,
    pub client_name: String,
    /// The invoice or the case.
    pub reference: String,
    /// The item or the case, for tasks.
    pub source: Uuid,
    /// What is at stake, in minor units, when it is one claim.
    pub open: Option<(Minor, String)>,
}

/// Every deadline through a day, earliest first: those that passed within the last 90 days too.
pub fn deadlines(
    conn: &mut PgConnection,
    caller: &Caller,
    client: Option<ClientId>,
    through: NaiveDate,
) -> Result<Vec<Deadline>> {
    let books = books::open(conn, caller)?;
    let since = caller.today - Duration::days(90);
    let carriage = books.settings.goods_carriage;
    let years = litigation::prescription_years("SME", carriage);
    let mut found = Vec::new();
    let rows = store::litigation::prescribing(
        conn,
        caller.company,
        client,
        litigation::runs_from_by(through, years),
        litigation::runs_from_by(through, 2),
    )?;
    for row in rows {
        let years = litigation::prescription_years(&row.segment, carriage);
        found.push(Deadline {
            kind: DeadlineKind::Prescription,
            due_on: litigation::prescribes_on(row.runs_from, years),
            client: row.client_id,
            client_name: row.client,
            reference: row.reference,
            source: row.item_id.0,
            open: Some((row.open, row.currency)),
        });
    }
    for row in
        store::litigation::insolvent(conn, caller.company, client, since - Duration::days(62))?
    {
        found.push(Deadline {
            kind: DeadlineKind::ProofOfClaim,
            due_on: litigation::proof_of_claim_by(row.published_on),
            client: row.client_id,
            client_name: row.client,
            reference: String::new(),
            source: row.client_id.0,
            open: None,
        });
    }
    for row in store::litigation::orders(conn, caller.company, client)? {
        let (kind, due_on) = match row.served_on {
            None => (DeadlineKind::ServeOrder, litigation::serve_by(row.made_on)),
            Some(served) => (
                DeadlineKind::OppositionEnds,
                litigation::opposition_until(served),
            ),
        };
        found.push(Deadline {
            kind,
            due_on,
            client: row.client_id,
            client_name: row.client,
            reference: row.number,
            source: row.case_id.0,
            open: None,
        });
    }
    found.retain(|deadline| deadline.due_on <= through && deadline.due_on >= since);
    found.sort_by_key(|deadline| (deadline.due_on, deadline.source));
    Ok(found)
}
