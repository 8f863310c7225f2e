//! Runs of reminders: proposed, reviewed, validated, sent (section 7). What is sent is computed anew at that
//! moment (R7.6), so that a payment of the last minute is respected and a run that is repeated changes nothing.

use std::collections::{BTreeSet, HashMap};

use chrono::NaiveDate;
use diesel::pg::PgConnection;

use super::dunning::{self, Chosen, Made, Reminder};
use super::file::{self, FileKind, Subject};
use super::letter::{self, Writer};
use super::task;
use crate::domain::access::{Action, Caller};
use crate::domain::calendar::working_day_from;
use crate::domain::dunning::{Actor, Channel, Level};
use crate::domain::ids::{ClientId, DunningActionId, DunningRunId, DunningRunLineId, FileId, Id};
use crate::domain::letter::Kind;
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::domain::task::TaskKind;
use crate::error::{Error, Result};
use crate::objects::Objects;
use crate::store::aging::Population;
use crate::store::client::{Client, Contact};
use crate::store::dunning_run::{Proof, Run, RunLine};
use crate::store::list::Keyset;
use crate::store::{self};

/// Clients that are judged at once.
const PAGE: usize = 200;
/// Reminders that one call sends: the next call goes on, and so does the server by itself.
pub const AT_ONCE: usize = 50;

/// Which reminders a run is about.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only of clients with this scenario.
    pub scenario: Option<String>,
    /// Only of these levels.
    pub levels: Vec<i32>,
    /// Only those that need nobody.
    pub automatic: bool,
}

impl Scope {
    fn holds(&self, chosen: &Chosen, level: &Level) -> bool {
        self.scenario
            .as_ref()
            .is_none_or(|name| *name == chosen.name)
            && (self.levels.is_empty() || self.levels.contains(&i32::from(level.level)))
            && (!self.automatic || level.actor == Actor::Automatic)
    }
}

/// Proposes a run of today: one line for each client and currency to whom a reminder is due. The run that is under
/// way already is answered when it is of today.
pub fn propose(conn: &mut PgConnection, caller: &Caller, scope: &Scope) -> Result<DunningRunId> {
    working_day(conn, caller)?;
    for (position, level) in scope.levels.iter().enumerate() {
        if !(0..=10).contains(level) {
            return Err(
                Refusal::invalid(&format!("levels.{position}"), "levels go from 0 to 10").into(),
            );
        }
    }
    if let Some(name) = &scope.scenario {
        dunning::open_scenario(conn, caller, "scenario", name)?;
    }
    if let Some(run) = store::dunning_run::under_way(conn, caller.company, scope.automatic)? {
        let is_narrow = scope.scenario.is_some() || !scope.levels.is_empty();
        // The same again is the same run; what asks for a part of it must not get more than it asked for.
        if run.as_of == caller.today && !is_narrow {
            return Ok(run.id);
        }
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "",
            format!(
                "the run of {} is under way: send it or cancel it first",
                run.as_of
            ),
        )
        .detail("run", run.id.show())
        .into());
    }
    let run = Run {
        company_id: caller.company,
        id: DunningRunId::new(),
        as_of: caller.today,
        automatic: scope.automatic,
        status: "PROPOSED".into(),
        recorded_at: chrono::DateTime::UNIX_EPOCH,
        recorded_by: caller.author.clone(),
        validated_at: None,
        validated_by: None,
        ended_at: None,
        ended_by: None,
        approved: false,
    };
    let lines = lines(conn, caller, scope, run.id)?;
    if lines.is_empty() {
        return Err(Refusal::new(
            RefusalCode::NotChaseable,
            "",
            "no reminder is due today: see dunningPreview for each claim's reason",
        )
        .into());
    }
    store::dunning_run::insert(conn, &run, &lines)
        .map_err(|error| super::books::duplicate(error, "", "somebody proposed a run just now"))?;
    Ok(run.id)
}

/// Nothing is sent on a day without work (R7.5), unless the company wants it so.
fn working_day(conn: &mut PgConnection, caller: &Caller) -> Result<()> {
    let next = working_day_from(caller.today);
    if next == caller.today || super::books::open(conn, caller)?.settings.dunning_any_day {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalCode::NotChaseable,
        "",
        format!("nothing is sent on a day without work: the next run is on {next}"),
    )
    .detail("reason", "NO_WORKING_DAY")
    .detail("nextOn", next.to_string())
    .into())
}

fn lines(
    conn: &mut PgConnection,
    caller: &Caller,
    scope: &Scope,
    run: DunningRunId,
) -> Result<Vec<RunLine>> {
    let population = Population {
        families: vec!["411".into()],
        ..Population::of(caller.company, caller.today)
    };
    let before = dunning::horizon(&dunning::scenarios(conn, caller)?, caller.today);
    let mut page = Keyset {
        size: PAGE as i64,
        from: None,
        backward: false,
    };
    let mut found = Vec::new();
    loop {
        let (ids, more) = store::dunning::late_clients(conn, &population, before, &page)?;
        let ids: Vec<ClientId> = ids.into_iter().map(ClientId).collect();
        let mut clients = store::client::by_ids(conn, caller.company, &ids)?;
        clients.sort_by(|a, b| a.number.cmp(&b.number));
        let Some(last) = clients.last().map(|client| client.number.clone()) else {
            return Ok(found);
        };
        let ids: Vec<ClientId> = clients.iter().map(|client| client.id).collect();
        let asked = store::task::open_of_clients(conn, caller.company, &ids)?;
        let contacts = store::client::contacts(conn, caller.company, &ids)?;
        for reminder in dunning::preview(conn, caller, caller.today, &clients)? {
            if let Some(level) = &reminder.level
                && scope.holds(&reminder.chosen, level)
                && !is_asked(&reminder, level, &asked, &contacts)
            {
                found.push(line(caller, run, &reminder, level));
            }
        }
        if !more {
            return Ok(found);
        }
        page.from = Some((last, uuid::Uuid::nil()));
    }
}

/// Whether a person was asked for this step by an earlier run and has not done it yet: it is not asked for again.
fn is_asked(
    reminder: &Reminder,
    level: &Level,
    asked: &[(uuid::Uuid, String)],
    contacts: &[Contact],
) -> bool {
    let client = reminder.client.id;
    let is_open = |kind: TaskKind| {
        asked
            .iter()
            .any(|(source, asked)| *source == client.0 && asked == kind.code())
    };
    match level.channel {
        Channel::Phone => is_open(TaskKind::Call),
        Channel::FileTransfer => is_open(TaskKind::FileTransfer),
        Channel::Email => {
            let own = contacts
                .iter()
                .filter(|contact| contact.client_id == client);
            is_open(TaskKind::MissingAddress) && address(own).is_none()
        }
        _ => false,
    }
}

fn line(caller: &Caller, run: DunningRunId, reminder: &Reminder, level: &Level) -> RunLine {
    RunLine {
        company_id: caller.company,
        run_id: run,
        id: DunningRunLineId::new(),
        client_id: reminder.client.id,
        currency: reminder.currency.clone(),
        level: i16::from(level.level),
        channel: level.channel.code().to_owned(),
        claimed: reminder.claimed(),
        items: reminder.listed(level),
        status: "READY".into(),
        reason: None,
        action_id: None,
        decided_by: None,
    }
}

fn locked(conn: &mut PgConnection, caller: &Caller, id: &str, states: &[&str]) -> Result<Run> {
    let found = match DunningRunId::read(id) {
        Some(id) => store::dunning_run::for_update(conn, caller.company, id)?,
        None => None,
    };
    let run = found.ok_or_else(|| Refusal::not_found("run", "dunning run"))?;
    if states.contains(&run.status.as_str()) {
        return Ok(run);
    }
    Err(Refusal::new(
        RefusalCode::WrongState,
        "run",
        format!(
            "this run is {}: {}",
            run.status,
            match run.status.as_str() {
                "PROPOSED" => "validate it first",
                "VALIDATED" => "it can be sent or cancelled",
                _ => "propose another one",
            }
        ),
    )
    .detail("status", run.status)
    .into())
}

/// Takes reminders out of a run before it is sent, with the reason; or puts them back.
pub fn review(
    conn: &mut PgConnection,
    caller: &Caller,
    id: &str,
    lines: &[String],
    reason: Option<&str>,
) -> Result<DunningRunId> {
    let run = locked(conn, caller, id, &["PROPOSED"])?;
    let reason = super::books::optional_text("reason", reason, 300)?;
    for (position, line) in lines.iter().enumerate() {
        let found = match DunningRunLineId::read(line) {
            Some(line) => {
                store::dunning_run::lines(conn, caller.company, run.id, Some(&[line]))?.pop()
            }
            None => None,
        };
        let mut found = found
            .ok_or_else(|| Refusal::not_found(&format!("lines.{position}"), "line of this run"))?;
        found.status = if reason.is_some() {
            "EXCLUDED"
        } else {
            "READY"
        }
        .into();
        found.reason.clone_from(&reason);
        found.decided_by = reason.is_some().then(|| caller.author.clone());
        store::dunning_run::settle_line(conn, &found)?;
    }
    Ok(run.id)
}

/// Validates a run: what is left in it may be sent. Formal notices above their threshold need the director.
pub fn validate(conn: &mut PgConnection, caller: &Caller, id: &str) -> Result<DunningRunId> {
    let mut run = locked(conn, caller, id, &["PROPOSED"])?;
    run.approved = caller.may(Action::ApproveFormalNotice);
    if !run.approved {
        refuse_above_thresholds(conn, caller, &run)?;
    }
    run.status = "VALIDATED".into();
    run.validated_at = Some(chrono::Utc::now());
    run.validated_by = Some(caller.author.clone());
    store::dunning_run::update(conn, &run)?;
    store::task::finish_of(conn, caller.company, run.id.0, &caller.author)?;
    Ok(run.id)
}

/// Refuses a run with a reminder above the threshold that its client's scenario sets for the level.
fn refuse_above_thresholds(conn: &mut PgConnection, caller: &Caller, run: &Run) -> Result<()> {
    let mut lines = store::dunning_run::lines(conn, caller.company, run.id, None)?;
    lines.retain(|line| line.status == "READY");
    lines.sort_by_key(|line| line.client_id);
    for some in lines.chunks(PAGE) {
        let ids: BTreeSet<ClientId> = some.iter().map(|line| line.client_id).collect();
        let clients = store::client::by_ids(conn, caller.company, &Vec::from_iter(ids))?;
        let reminders = dunning::preview(conn, caller, caller.today, &clients)?.into_iter();
        let reminders: HashMap<(ClientId, String), Reminder> = reminders
            .map(|reminder| ((reminder.client.id, reminder.currency.clone()), reminder))
            .collect();
        for line in some {
            let level = u8::try_from(line.level).unwrap_or_default();
            // What is settled by now is looked at again if it is due when the run is sent.
            let own = reminders.get(&(line.client_id, line.currency.clone()));
            if own.is_some_and(|reminder| reminder.is_above(level, line.claimed)) {
                return Err(dunning::approval_required(level, "run"));
            }
        }
    }
    Ok(())
}

/// Gives a run up; what was sent of it stays sent.
pub fn cancel(conn: &mut PgConnection, caller: &Caller, id: &str) -> Result<DunningRunId> {
    let run = locked(conn, caller, id, &["PROPOSED", "VALIDATED"])?;
    end(conn, caller, run, "CANCELLED")
}

fn end(
    conn: &mut PgConnection,
    caller: &Caller,
    mut run: Run,
    status: &str,
) -> Result<DunningRunId> {
    run.status = status.to_owned();
    run.ended_at = Some(chrono::Utc::now());
    run.ended_by = Some(caller.author.clone());
    store::dunning_run::update(conn, &run)?;
    store::task::finish_of(conn, caller.company, run.id.0, &caller.author)?;
    Ok(run.id)
}

/// Sends the next reminders of a validated run. A run that was sent answers itself.
pub fn send(
    conn: &mut PgConnection,
    caller: &Caller,
    objects: &Objects,
    id: &str,
    most: usize,
) -> Result<DunningRunId> {
    let run = locked(conn, caller, id, &["VALIDATED", "SENT"])?;
    if run.status == "SENT" {
        return Ok(run.id);
    }
    working_day(conn, caller)?;
    let lines = store::dunning_run::lines(conn, caller.company, run.id, None)?;
    let ready: Vec<RunLine> = lines
        .into_iter()
        .filter(|line| line.status == "READY")
        .collect();
    let left = ready.len() > most;
    for mut line in ready.into_iter().take(most) {
        if let Err(error) = settle(conn, caller, objects, run.approved, &mut line) {
            // What keeps one letter from being written does not keep the others from leaving. Nothing of it was
            // written: a letter is composed before its reminder is.
            let Error::Refused(why) = error else {
                return Err(error);
            };
            let why = why
                .first()
                .map(|why| why.message.clone())
                .unwrap_or_default();
            let client = store::client::by_id(conn, caller.company, line.client_id)?;
            let name = client.map(|client| client.name).unwrap_or_default();
            let what = format!("Lettre à écrire à la main : {name} ({why})");
            by_hand(conn, caller, &mut line, TaskKind::LetterNotMade, what)?;
        }
        store::dunning_run::settle_line(conn, &line)?;
    }
    if left {
        Ok(run.id)
    } else {
        end(conn, caller, run, "SENT")
    }
}

/// Sends one reminder, hands it to a person, or finds that it is no longer due. `approved` says whether who validated the
/// run may approve what is above a threshold.
fn settle(
    conn: &mut PgConnection,
    caller: &Caller,
    objects: &Objects,
    approved: bool,
    line: &mut RunLine,
) -> Result<()> {
    let cancelled = |line: &mut RunLine, why: &str| {
        line.status = "CANCELLED".into();
        line.reason = Some(why.to_owned());
    };
    let Some(client) = store::client::for_update(conn, caller.company, line.client_id)? else {
        cancelled(line, "the client is gone");
        return Ok(());
    };
    let reminder = match dunning::due(conn, caller, &client, &line.currency, caller.today) {
        Ok(reminder) => reminder,
        Err(Error::Refused(_)) => {
            cancelled(line, "SETTLED");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let Some(level) = reminder.level.clone() else {
        let why = reminder.exclusion.map_or("SETTLED", |why| why.code());
        cancelled(line, why);
        return Ok(());
    };
    if i16::from(level.level) != line.level {
        cancelled(line, "OTHER_LEVEL");
        return Ok(());
    }
    // Nobody who may approve it has seen what has grown above the threshold.
    let claimed = reminder.claimed();
    let seen = approved && reminder.is_above(level.level, line.claimed);
    if reminder.is_above(level.level, claimed) && !seen {
        cancelled(line, "ABOVE_THRESHOLD");
        return Ok(());
    }
    (line.claimed, line.items) = (claimed, reminder.listed(&level));
    match level.channel {
        Channel::Email => mail(conn, caller, objects, line, &reminder, &level),
        Channel::Letter | Channel::RegisteredLetter | Channel::ElectronicRegisteredLetter => {
            post(conn, caller, objects, line, &reminder, &level)
        }
        Channel::Phone => {
            let what = format!(
                "Appeler {} ({}) : niveau {}",
                client.name, client.number, level.level
            );
            by_hand(conn, caller, line, TaskKind::Call, what)
        }
        Channel::FileTransfer => {
            let what = format!(
                "Transmettre le dossier de {} ({}) au précontentieux",
                client.name, client.number
            );
            by_hand(conn, caller, line, TaskKind::FileTransfer, what)
        }
    }
}

fn by_hand(
    conn: &mut PgConnection,
    caller: &Caller,
    line: &mut RunLine,
    kind: TaskKind,
    what: String,
) -> Result<()> {
    let client = Some(line.client_id);
    task::ask(
        conn,
        caller,
        kind,
        client,
        line.client_id.0,
        caller.today,
        what,
    )?;
    line.status = "TASK".into();
    line.reason = Some(kind.code().to_owned());
    Ok(())
}

/// The address that reminders go to: of the accounting contact, else of any.
fn address<'a>(contacts: impl IntoIterator<Item = &'a Contact>) -> Option<&'a Contact> {
    contacts
        .into_iter()
        .filter(|contact| contact.email.is_some())
        .min_by_key(|contact| contact.role != "ACCOUNTING")
}

/// The letter of a reminder, kept with it.
fn written(
    conn: &mut PgConnection,
    caller: &Caller,
    objects: &Objects,
    reminder: &Reminder,
    level: &Level,
    how: Made,
) -> Result<(DunningActionId, letter::Composed, FileId)> {
    let kind = Kind::of_tone(level.tone).ok_or_else(|| {
        let message = format!(
            "no letter has the tone {}: save another one in its scenario",
            level.tone.code()
        );
        Refusal::new(RefusalCode::WrongState, "level", message)
    })?;
    let language = letter::language_of(&reminder.client);
    let used = letter::template(conn, caller, kind, language)?;
    let writer = Writer::new(conn, caller, objects, caller.today)?;
    let composed = writer.reminder(conn, &used, reminder)?;
    let action = dunning::write(conn, caller, reminder, level, caller.today, how)?;
    let subject = Subject {
        kind: "DUNNING_ACTION",
        id: action.0,
        client: Some(reminder.client.id),
    };
    let name = format!(
        "{}-{}-{}.pdf",
        kind.code().to_lowercase().replace('_', "-"),
        reminder.client.number.replace(['/', '\\', ' '], "-"),
        caller.today
    );
    let pdf = composed.pdf()?;
    let file = file::keep(
        conn,
        caller,
        objects,
        subject,
        FileKind::Letter,
        &name,
        "application/pdf",
        &pdf,
    )?;
    Ok((action, composed, file))
}

fn mail(
    conn: &mut PgConnection,
    caller: &Caller,
    objects: &Objects,
    line: &mut RunLine,
    reminder: &Reminder,
    level: &Level,
) -> Result<()> {
    let client = &reminder.client;
    let contacts = store::client::contacts(conn, caller.company, &[client.id])?;
    let Some(to) = address(&contacts).and_then(|contact| contact.email.clone()) else {
        let what = format!(
            "Renseigner une adresse électronique pour {} ({})",
            client.name, client.number
        );
        return by_hand(conn, caller, line, TaskKind::MissingAddress, what);
    };
    let how = Made {
        channel: level.channel,
        recipient: Some(to.clone()),
        proof: None,
        note: None,
    };
    let (action, composed, file) = written(conn, caller, objects, reminder, level, how)?;
    let mut files = vec![file];
    files.extend(copies(conn, caller, reminder, level)?);
    let row = super::mail::new(caller, client.id, Some(action), to, &composed);
    store::mail::queue(conn, &row, &files)?;
    line.status = "SENT".into();
    line.action_id = Some(action);
    Ok(())
}

/// The copies of the invoices that a reminder lists, as far as they were attached (7.1, level 1).
fn copies(
    conn: &mut PgConnection,
    caller: &Caller,
    reminder: &Reminder,
    level: &Level,
) -> Result<Vec<FileId>> {
    const MOST: usize = 10;
    let invoices: Vec<uuid::Uuid> = reminder
        .items
        .iter()
        .filter(|item| item.verdict.listed_at(level.level))
        .filter_map(|item| item.open.invoice_id)
        .collect();
    let files = store::file::of_subjects(conn, caller.company, &invoices)?;
    Ok(files
        .into_iter()
        .filter(|file| file.kind == FileKind::Invoice.code())
        .map(|file| file.id)
        .take(MOST)
        .collect())
}

fn post(
    conn: &mut PgConnection,
    caller: &Caller,
    objects: &Objects,
    line: &mut RunLine,
    reminder: &Reminder,
    level: &Level,
) -> Result<()> {
    let client: &Client = &reminder.client;
    let how = Made {
        channel: level.channel,
        recipient: Some(client.name.clone()),
        proof: None,
        note: None,
    };
    let (action, _, _) = written(conn, caller, objects, reminder, level, how)?;
    let (kind, what) = match level.channel {
        Channel::Letter => (TaskKind::PostLetter, "Poster la lettre"),
        Channel::ElectronicRegisteredLetter => (
            TaskKind::RegisteredLetter,
            "Envoyer la lettre recommandée électronique",
        ),
        _ => (TaskKind::RegisteredLetter, "Déposer la lettre recommandée"),
    };
    let what = format!("{what} à {} ({})", client.name, client.number);
    let of = Some(client.id);
    task::ask(conn, caller, kind, of, action.0, caller.today, what)?;
    line.status = "SENT".into();
    line.action_id = Some(action);
    Ok(())
}

/// What became of a registered letter, as entered.
#[derive(Clone, Debug)]
pub struct ProofInput {
    pub action: String,
    pub kind: &'static str,
    pub happened_on: Option<NaiveDate>,
    pub reference: String,
    pub file: Option<String>,
}

/// Records a proof about a reminder: the deposit first, then what came back (R7.9).
pub fn prove(
    conn: &mut PgConnection,
    caller: &Caller,
    input: &ProofInput,
) -> Result<DunningActionId> {
    let found = match DunningActionId::read(&input.action) {
        Some(id) => store::dunning::actions_by_ids(conn, caller.company, &[id])?.pop(),
        None => None,
    };
    let action = found.ok_or_else(|| Refusal::not_found("action", "dunning action"))?;
    if ![
        "LETTER",
        "REGISTERED_LETTER",
        "ELECTRONIC_REGISTERED_LETTER",
    ]
    .contains(&action.channel.as_str())
    {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "action",
            "only letters are deposited",
        )
        .into());
    }
    let on = input.happened_on.unwrap_or(caller.today);
    if on > caller.today || on < action.done_on {
        return Err(Refusal::invalid(
            "happenedOn",
            format!(
                "the letter is of {}, and today is {}",
                action.done_on, caller.today
            ),
        )
        .into());
    }
    let before = store::dunning_run::proofs(conn, caller.company, &[action.id])?;
    let deposit = before.iter().find(|proof| proof.kind == "DEPOSIT");
    match deposit {
        _ if input.kind == "DEPOSIT" => {}
        Some(deposit) if on < deposit.happened_on => {
            return Err(Refusal::invalid(
                "happenedOn",
                format!("the letter was deposited on {}", deposit.happened_on),
            )
            .into());
        }
        Some(_) => {}
        None => {
            return Err(Refusal::new(
                RefusalCode::WrongState,
                "kind",
                "the deposit is recorded first",
            )
            .into());
        }
    }
    let over = before
        .iter()
        .find(|proof| proof.kind != "DEPOSIT" && proof.kind != input.kind);
    if let Some(over) = over.filter(|_| input.kind != "DEPOSIT") {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "kind",
            format!("the letter ended {} already", over.kind),
        )
        .into());
    }
    let file = match &input.file {
        Some(file) => {
            let id = FileId::read(file).ok_or_else(|| Refusal::not_found("file", "file"))?;
            let kept = store::file::by_ids(conn, caller.company, &[id])?.pop();
            let kept = kept.filter(|kept| kept.client_id == Some(action.client_id));
            Some(kept.ok_or_else(|| Refusal::not_found("file", "file"))?.id)
        }
        None => None,
    };
    let row = Proof {
        company_id: caller.company,
        id: uuid::Uuid::now_v7(),
        action_id: action.id,
        client_id: action.client_id,
        kind: input.kind.to_owned(),
        happened_on: on,
        reference: super::books::text("reference", &input.reference, 100)?,
        file_id: file,
        recorded_at: chrono::DateTime::UNIX_EPOCH,
        recorded_by: caller.author.clone(),
    };
    store::dunning_run::insert_proof(conn, &row).map_err(|error| {
        super::books::duplicate(error, "kind", "this was recorded for the letter already")
    })?;
    store::task::finish_of(conn, caller.company, action.id.0, &caller.author)?;
    if input.kind == "UNDELIVERED" {
        // NPAI: the next one goes out electronically (R7.9).
        let what =
            "Adresse postale à vérifier (NPAI) : envoyer une lettre recommandée électronique";
        let client = Some(action.client_id);
        task::ask(
            conn,
            caller,
            TaskKind::MissingAddress,
            client,
            action.client_id.0,
            caller.today,
            what.into(),
        )?;
    }
    Ok(action.id)
}
