//! Dunning (relances): what would be sent on a day and why, what was sent, and promises to pay (section 7).

use std::collections::{BTreeMap, HashMap};

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::reference::{self, ItemRef, Ref};
use super::{books, collection};
use crate::domain::access::{Action, Caller};
use crate::domain::dunning::{
    self, Actor, Channel, Claim, Exclusion, FormalFault, Level, Scenario, Standing, Verdict,
};
use crate::domain::ids::{ClientId, DunningActionId, DunningScenarioId, Id, ItemId, PromiseId};
use crate::domain::money::Minor;
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::domain::task::TaskKind;
use crate::domain::vat;
use crate::error::{Error, Result};
use crate::store::aging::{Open, OpenItems, Population};
use crate::store::client::Client;
use crate::store::dunning::{Action as Done, ActionItem, Facts, Promise, ScenarioRow};
use crate::store::list::Keyset;
use crate::store::{self};

/// A scenario in force, with its name and version; version 0 is the one that comes with the product.
#[derive(Clone, Debug)]
pub struct Chosen {
    pub name: String,
    pub version: i32,
    pub scenario: Scenario,
}

/// The segments that have a scenario of their own (R7.8).
pub const SEGMENTS: [&str; 6] = [
    "SME",
    "LARGE_GROUP",
    "NEW_OR_RISKY",
    "PUBLIC",
    "CONSUMER",
    "GROUP_COMPANY",
];

/// Every scenario in force by name: the company's versions over those that come with the product.
pub fn scenarios(conn: &mut PgConnection, caller: &Caller) -> Result<BTreeMap<String, Chosen>> {
    let mut all: BTreeMap<String, Chosen> = SEGMENTS
        .iter()
        .map(|name| {
            let chosen = Chosen {
                name: (*name).to_owned(),
                version: 0,
                scenario: Scenario::of_segment(name),
            };
            ((*name).to_owned(), chosen)
        })
        .collect();
    for row in store::dunning::scenarios(conn, caller.company)? {
        let scenario = serde_json::from_value(row.content)
            .map_err(|error| Error::Internal(format!("stored scenario {}: {error}", row.name)))?;
        let chosen = Chosen {
            name: row.name.clone(),
            version: row.version,
            scenario,
        };
        all.insert(row.name, chosen);
    }
    Ok(all)
}

/// Saves the next version of a scenario.
pub fn save_scenario(
    conn: &mut PgConnection,
    caller: &Caller,
    name: &str,
    scenario: &Scenario,
) -> Result<String> {
    let sound = (2..=30).contains(&name.len())
        && name
            .bytes()
            .all(|sign| sign.is_ascii_uppercase() || sign.is_ascii_digit() || sign == b'_');
    if !sound {
        return Err(Refusal::invalid(
            "name",
            "a scenario's name has 2 to 30 capital letters, digits or underscores",
        )
        .into());
    }
    if let Some((field, fault)) = scenario.fault() {
        return Err(Refusal::invalid(field, fault).into());
    }
    let before = scenarios(conn, caller)?
        .remove(name)
        .map_or(0, |chosen| chosen.version);
    let content =
        serde_json::to_value(scenario).map_err(|error| Error::Internal(error.to_string()))?;
    let row = ScenarioRow {
        company_id: caller.company,
        id: DunningScenarioId::new(),
        name: name.to_owned(),
        version: before + 1,
        content,
        recorded_by: caller.author.clone(),
    };
    store::dunning::insert_scenario(conn, &row).map_err(|error| {
        books::duplicate(error, "name", "somebody saved this scenario just now")
    })?;
    Ok(row.name)
}

/// Gives a client a scenario of its own; that of its segment again when none is named.
pub fn choose(
    conn: &mut PgConnection,
    caller: &Caller,
    client: &Ref,
    name: Option<&str>,
) -> Result<ClientId> {
    let client = reference::client(conn, caller, "client", client)?;
    if let Some(name) = name {
        open_scenario(conn, caller, "name", name)?;
    }
    store::dunning::choose(conn, caller.company, client.id, name)?;
    Ok(client.id)
}

/// A scenario that is not closed.
pub fn open_scenario(
    conn: &mut PgConnection,
    caller: &Caller,
    field: &str,
    name: &str,
) -> Result<Chosen> {
    let found = scenarios(conn, caller)?
        .remove(name)
        .ok_or_else(|| Refusal::not_found(field, "dunning scenario"))?;
    if found.scenario.closed {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            field,
            "this scenario is closed: save a version that is open, or choose another one",
        )
        .into());
    }
    Ok(found)
}

/// The last due day that a reminder of a day may be about: courtesy notices look ahead.
pub fn horizon(scenarios: &BTreeMap<String, Chosen>, on: NaiveDate) -> NaiveDate {
    let ahead = scenarios
        .values()
        .filter(|chosen| !chosen.scenario.closed)
        .filter_map(|chosen| chosen.scenario.courtesy.as_ref())
        .map(|notice| notice.days_before)
        .max();
    on + chrono::Duration::days(ahead.map_or(0, |days| i64::from(days) + 1))
}

/// An open debt as the preview shows it.
#[derive(Clone, Debug)]
pub struct Judged {
    pub open: Open,
    pub facts: Facts,
    pub verdict: Verdict,
    /// What is claimed of it, in the company's currency at the rate it was booked at.
    pub worth: Minor,
    /// What a formal notice about it lacks (R7.7).
    pub formal_faults: Vec<FormalFault>,
}

/// What a client would be sent in one currency, and why or why not.
#[derive(Clone, Debug)]
pub struct Reminder {
    pub client: Client,
    pub currency: String,
    pub chosen: Chosen,
    /// What is sent; none when nothing is.
    pub level: Option<Level>,
    pub exclusion: Option<Exclusion>,
    /// Credits that are not matched, positive.
    pub credits: Minor,
    pub items: Vec<Judged>,
}

impl Reminder {
    /// What is claimed.
    pub fn claimed(&self) -> Minor {
        self.items.iter().map(|item| item.verdict.claimed).sum()
    }

    /// How many claims a reminder of a level lists.
    pub fn listed(&self, level: &Level) -> i32 {
        let items = self.items.iter();
        let listed = items.filter(|item| item.verdict.listed_at(level.level));
        i32::try_from(listed.count()).unwrap_or(i32::MAX)
    }

    /// Whether an amount in its currency is above what the client's scenario lets go without the director at a level.
    pub fn is_above(&self, level: u8, amount: Minor) -> bool {
        let worth: Minor = self.items.iter().map(|item| item.worth).sum();
        // Of nothing that is claimed, nothing is above.
        let worth = vat::proportion(amount, worth.into(), self.claimed().into()).unwrap_or(0);
        let level = self.chosen.scenario.level(level);
        level
            .and_then(|level| level.approval_above)
            .is_some_and(|most| worth > most)
    }
}

/// Everything that decides about these clients on a day: one statement for their items, one for the facts.
pub fn preview(
    conn: &mut PgConnection,
    caller: &Caller,
    on: NaiveDate,
    clients: &[Client],
) -> Result<Vec<Reminder>> {
    let ids: Vec<ClientId> = clients.iter().map(|client| client.id).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let population = Population {
        client_ids: ids.clone(),
        families: vec!["411".into()],
        ..Population::of(caller.company, on)
    };
    let question = OpenItems {
        population,
        cell: None,
        is_debit: None,
        invoice: None,
    };
    let (items, _) = question.page(conn, &Keyset::all())?;
    let debits: Vec<Uuid> = items
        .iter()
        .filter(|item| item.is_debit)
        .map(|item| item.id)
        .collect();
    let facts: HashMap<Uuid, Facts> = store::dunning::facts(conn, caller.company, &debits, on)?
        .into_iter()
        .map(|facts| (facts.item_id, facts))
        .collect();
    let of_clients: HashMap<ClientId, store::dunning::OfClient> =
        store::dunning::of_clients(conn, caller.company, &ids, on)?
            .into_iter()
            .map(|row| (row.id, row))
            .collect();
    let scenarios = scenarios(conn, caller)?;
    let mut by_client: BTreeMap<(Uuid, String), Vec<Open>> = BTreeMap::new();
    for item in items {
        let key = (item.client_id, item.currency.clone());
        by_client.entry(key).or_default().push(item);
    }
    let mut reminders = Vec::new();
    for client in clients {
        let own = of_clients.get(&client.id);
        let name = own.and_then(|own| own.scenario.as_deref());
        // The one that comes with the product, when everything of the company's own is closed.
        let standing = |name: &str| scenarios.get(name).filter(|chosen| !chosen.scenario.closed);
        let usual = Chosen {
            name: client.segment.clone(),
            version: 0,
            scenario: Scenario::of_segment(&client.segment),
        };
        let chosen = name
            .and_then(standing)
            .or_else(|| standing(&client.segment))
            .unwrap_or(&usual);
        let range = (client.id.0, String::new())..=(client.id.0, "ZZZZ".to_owned());
        for ((_, currency), items) in by_client.range(range) {
            let standing = Standing {
                insolvent: client.insolvency != "NONE"
                    && client.insolvency_on.is_none_or(|since| since <= on),
                credits: items
                    .iter()
                    .filter(|item| !item.is_debit)
                    .map(|item| -item.open)
                    .sum(),
                last_action_on: own.and_then(|own| own.last_action_on),
            };
            reminders.push(judged(
                client, currency, chosen, &standing, items, &facts, on,
            ));
        }
    }
    Ok(reminders)
}

fn judged(
    client: &Client,
    currency: &str,
    chosen: &Chosen,
    standing: &Standing,
    items: &[Open],
    facts: &HashMap<Uuid, Facts>,
    on: NaiveDate,
) -> Reminder {
    let debits: Vec<(&Open, Facts)> = items
        .iter()
        .filter(|item| item.is_debit)
        .filter_map(|item| Some((item, *facts.get(&item.id)?)))
        .collect();
    let claims: Vec<Claim> = debits
        .iter()
        .map(|(item, facts)| Claim {
            due_on: item.due_on.unwrap_or(item.posted_on),
            residual: item.open,
            booked: (facts.base, facts.amount),
            disputed: facts.blocked.min(item.open),
            last_level: u8::try_from(facts.last_level).unwrap_or_default(),
            promised: facts.promised,
            planned: facts.planned,
            in_litigation: facts.in_litigation,
            reminded: facts.reminded,
            proven: facts.proven,
        })
        .collect();
    let found = dunning::judge(&chosen.scenario, standing, &claims, on);
    Reminder {
        client: client.clone(),
        currency: currency.to_owned(),
        chosen: chosen.clone(),
        level: found.level.and_then(|level| chosen.scenario.level(level)),
        exclusion: found.exclusion,
        credits: standing.credits,
        items: debits
            .into_iter()
            .zip(claims.iter().zip(found.verdicts))
            .map(|((open, facts), (claim, verdict))| Judged {
                open: open.clone(),
                facts,
                verdict,
                worth: claim.worth(verdict.claimed),
                formal_faults: claim.formal_faults(on),
            })
            .collect(),
    }
}

/// A reminder that somebody made, as entered.
#[derive(Clone, Debug)]
pub struct ActionInput {
    pub client: Ref,
    pub currency: Option<String>,
    /// The level that the person saw: refused when it is another one by now (R7.6).
    pub level: Option<i32>,
    /// How it reached the client, when not as the scenario has it.
    pub channel: Option<Channel>,
    pub done_on: Option<NaiveDate>,
    pub recipient: Option<String>,
    pub proof: Option<String>,
    pub note: Option<String>,
}

/// Records a reminder with the figures of the moment (R7.9). What is due is computed anew (R7.6).
pub fn record(
    conn: &mut PgConnection,
    caller: &Caller,
    input: &ActionInput,
) -> Result<DunningActionId> {
    let client = reference::client(conn, caller, "client", &input.client)?;
    let on = input.done_on.unwrap_or(caller.today);
    if on > caller.today {
        return Err(Refusal::invalid("doneOn", "an action is recorded when it is done").into());
    }
    // Two people who remind one client at once: the second sees what the first did.
    store::client::for_update(conn, caller.company, client.id)?;
    let currency = match &input.currency {
        Some(code) => books::currency_input("currency", code)?.code().to_owned(),
        None => client.currency.clone(),
    };
    let reminder = due(conn, caller, &client, &currency, on)?;
    let Some(level) = &reminder.level else {
        return Err(not_chaseable(
            "no reminder is due: see dunningPreview for each claim's reason",
            reminder.exclusion,
        ));
    };
    if input
        .level
        .is_some_and(|seen| seen != i32::from(level.level))
    {
        return Err(Refusal::new(
            RefusalCode::Conflict,
            "level",
            format!(
                "level {} is due now: look at the preview again",
                level.level
            ),
        )
        .detail("level", i32::from(level.level))
        .into());
    }
    may_act(caller, &reminder, level)?;
    let proof = books::optional_text("proof", input.proof.as_deref(), 300)?;
    if level.proof && proof.is_none() {
        return Err(Refusal::new(
            RefusalCode::EvidenceRequired,
            "proof",
            "name the proof that is kept: the deposit slip or acknowledgment of the letter (R7.9)",
        )
        .into());
    }
    let how = Made {
        channel: input.channel.unwrap_or(level.channel),
        recipient: books::optional_text("recipient", input.recipient.as_deref(), 200)?,
        proof,
        note: books::optional_text("note", input.note.as_deref(), 2000)?,
    };
    // What a run asked a person to do about this client is done.
    for kind in [TaskKind::Call, TaskKind::FileTransfer] {
        let source = client.id.0;
        store::task::finish_kind(conn, caller.company, source, kind.code(), &caller.author)?;
    }
    write(conn, caller, &reminder, level, on, how)
}

fn not_chaseable(why: &str, exclusion: Option<Exclusion>) -> Error {
    let refusal = Refusal::new(RefusalCode::NotChaseable, "client", why.to_owned());
    match exclusion {
        Some(exclusion) => refusal.detail("reason", exclusion.code()).into(),
        None => refusal.into(),
    }
}

/// What a client's reminder in a currency is on a day, computed anew (R7.6).
pub fn due(
    conn: &mut PgConnection,
    caller: &Caller,
    client: &Client,
    currency: &str,
    on: NaiveDate,
) -> Result<Reminder> {
    preview(conn, caller, on, std::slice::from_ref(client))?
        .into_iter()
        .find(|found| found.currency == currency)
        .ok_or_else(|| not_chaseable("nothing is open on this account", None))
}

/// Whether the caller may take the step: the credit manager's levels are the credit manager's (section 12), and
/// what is above the level's threshold has the director's approval.
pub fn may_act(caller: &Caller, reminder: &Reminder, level: &Level) -> Result<()> {
    if level.actor == Actor::CreditManager && !caller.may(Action::DunFirmly) {
        return Err(Refusal::new(
            RefusalCode::Forbidden,
            "level",
            format!("level {} is the credit manager's", level.level),
        )
        .into());
    }
    let is_above = reminder.is_above(level.level, reminder.claimed());
    match is_above && !caller.may(Action::ApproveFormalNotice) {
        true => Err(approval_required(level.level, "level")),
        false => Ok(()),
    }
}

/// Why a director has to act.
pub fn approval_required(level: u8, field: &str) -> Error {
    Refusal::new(
        RefusalCode::ApprovalRequired,
        field,
        format!("level {level} above its threshold needs the director's approval: put it into a run that the director validates"),
    )
    .into()
}

/// How a reminder was made.
pub struct Made {
    pub channel: Channel,
    pub recipient: Option<String>,
    pub proof: Option<String>,
    pub note: Option<String>,
}

/// Writes a reminder with the figures of the moment (R7.9).
pub fn write(
    conn: &mut PgConnection,
    caller: &Caller,
    reminder: &Reminder,
    level: &Level,
    on: NaiveDate,
    how: Made,
) -> Result<DunningActionId> {
    let action = Done {
        company_id: caller.company,
        id: DunningActionId::new(),
        client_id: reminder.client.id,
        currency: reminder.currency.clone(),
        level: i16::from(level.level),
        channel: how.channel.code().to_owned(),
        tone: level.tone.code().to_owned(),
        done_on: on,
        claimed: reminder.claimed(),
        credits: reminder.credits,
        scenario: reminder.chosen.name.clone(),
        scenario_version: reminder.chosen.version,
        recipient: how.recipient,
        proof: how.proof,
        note: how.note,
        recorded_at: chrono::Utc::now(),
        recorded_by: caller.author.clone(),
    };
    let items: Vec<ActionItem> = reminder
        .items
        .iter()
        .filter(|item| item.verdict.listed_at(level.level))
        .map(|item| ActionItem {
            company_id: caller.company,
            action_id: action.id,
            item_id: ItemId(item.open.id),
            level: if level.level == 0 {
                0
            } else {
                i16::from(item.verdict.level)
            },
            residual: item.open.open,
            disputed: item.facts.blocked.min(item.open.open),
            claimed: item.verdict.claimed,
        })
        .collect();
    store::dunning::insert_action(conn, &action, &items)?;
    Ok(action.id)
}

/// A promise, as entered.
#[derive(Clone, Debug)]
pub struct PromiseInput {
    pub client: Ref,
    pub amount: Decimal,
    pub currency: Option<String>,
    pub due_on: NaiveDate,
    /// What is promised; everything that is late when empty.
    pub items: Vec<ItemRef>,
    pub note: Option<String>,
}

/// Records a promise to pay: its items are not chased until its day has passed (R7.2).
pub fn promise(
    conn: &mut PgConnection,
    caller: &Caller,
    input: &PromiseInput,
) -> Result<PromiseId> {
    let client = reference::client(conn, caller, "client", &input.client)?;
    let code = input.currency.as_deref().unwrap_or(&client.currency);
    let currency = books::currency_input("currency", code)?;
    let amount = books::amount("amount", input.amount, currency)?;
    if input.due_on < caller.today {
        return Err(Refusal::invalid("dueOn", "a promise is for today or later").into());
    }
    let most = books::open(conn, caller)?.settings.promise_days;
    let last = caller.today + chrono::Duration::days(i64::from(most));
    if input.due_on > last {
        return Err(Refusal::invalid(
            "dueOn",
            format!("a promise is for {last} at the latest: agree on a payment plan for later"),
        )
        .into());
    }
    store::client::for_update(conn, caller.company, client.id)?;
    let mut items: Vec<(ItemId, Minor)> = Vec::new();
    if input.items.is_empty() {
        let reminders = preview(conn, caller, caller.today, std::slice::from_ref(&client))?;
        for found in reminders
            .iter()
            .filter(|found| found.currency == currency.code())
        {
            // The oldest first, as far as the amount goes: a small promise does not hold everything back.
            let mut left = amount;
            for item in &found.items {
                if left > 0 && item.open.due_on.is_some_and(|due| due < caller.today) {
                    items.push((ItemId(item.open.id), item.open.open));
                    left -= item.open.open;
                }
            }
        }
    }
    let named = collection::named(conn, caller, &client, currency.code(), &input.items)?;
    items.extend(named.iter().map(|item| (item.id, item.open_amount)));
    let owed: Minor = items.iter().map(|(_, open)| open).sum();
    let ids: Vec<ItemId> = items.iter().map(|(id, _)| *id).collect();
    let promised = store::dunning::promised_on(conn, caller.company, &ids, caller.today)?;
    let owed = owed - promised;
    if amount > owed {
        return Err(Refusal::new(
            RefusalCode::OverAllocation,
            "amount",
            format!(
                "{} is open on what is promised, and not promised yet",
                currency.show(owed)
            ),
        )
        .detail("open", currency.decimal(owed).to_string())
        .into());
    }
    let row = Promise {
        company_id: caller.company,
        id: PromiseId::new(),
        client_id: client.id,
        promised_on: caller.today,
        due_on: input.due_on,
        amount,
        currency: currency.code().to_owned(),
        note: books::optional_text("note", input.note.as_deref(), 2000)?,
        recorded_at: chrono::Utc::now(),
        recorded_by: caller.author.clone(),
        cancelled_on: None,
        cancelled_by: None,
        cancelled_reason: None,
    };
    store::dunning::insert_promise(conn, &row, &ids)?;
    Ok(row.id)
}

/// Takes a promise back, with the reason; dunning goes on at once.
pub fn cancel_promise(
    conn: &mut PgConnection,
    caller: &Caller,
    id: &str,
    reason: &str,
) -> Result<PromiseId> {
    let reason = books::text("reason", reason, 500)?;
    let missing = || Error::from(Refusal::not_found("promise", "promise"));
    let id = PromiseId::read(id).ok_or_else(missing)?;
    let found = store::dunning::promises_by_ids(conn, caller.company, &[id])?.pop();
    let found = found.ok_or_else(missing)?;
    let paid = store::dunning::paid(conn, caller.company, &[id], caller.today)?;
    let paid = paid.first().map_or(0, |paid| paid.paid);
    if outcome(&found, paid, caller.today) == "KEPT" {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "promise",
            "this promise was kept: there is nothing to take back",
        )
        .into());
    }
    let (on, author) = (caller.today, &caller.author);
    if !store::dunning::cancel_promise(conn, caller.company, id, on, author, &reason)? {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "promise",
            "this promise was taken back already",
        )
        .into());
    }
    Ok(id)
}

/// What became of a promise by a day: known the day after it was for.
pub fn outcome(promise: &Promise, paid: Minor, on: NaiveDate) -> &'static str {
    if promise
        .cancelled_on
        .is_some_and(|cancelled| cancelled <= on)
    {
        "CANCELLED"
    } else if paid >= promise.amount {
        "KEPT"
    } else if on <= promise.due_on {
        "RUNNING"
    } else if paid > 0 {
        "PARTLY_KEPT"
    } else {
        "BROKEN"
    }
}
