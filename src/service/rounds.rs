//! What the server does by itself for a company: reminders, mails, tasks that fall due.
//!
//! One instance leads at a time: whoever holds the company's lock does the work, and another takes over when it is gone.

use std::time::Duration;

use chrono::{Days, NaiveDate};
use diesel::pg::PgConnection;

use super::approval;
use super::books;
use super::dunning_run::{self, Scope};
use super::file::{self, FileKind, Subject};
use super::jobs::{self, Job};
use super::litigation::{self, Deadline};
use super::{import, letter, mail, personal, task};
use crate::domain::access::{Caller, Role};
use crate::domain::calendar::is_working_day;
use crate::domain::ids::{CompanyId, DisputeId, Id};
use crate::domain::letter::Kind;
use crate::domain::litigation::DeadlineKind;
use crate::domain::refusal::RefusalCode;
use crate::domain::task::TaskKind;
use crate::error::{Error, Result};
use crate::mailer::Mailer;
use crate::objects::Objects;
use crate::store::{self, Db};

/// Any constant: the lock of whoever does the work.
const LEADER: i64 = 0x0065_6e63_6a6f_6273;
/// Days after its deposit in which the acknowledgment of a letter should be back (R7.9).
const ACKNOWLEDGMENT_DAYS: u64 = 15;
/// Days before its deadline in which a dispute is reminded of: at 10 of 15 days (R8.4).
const DISPUTE_DAYS: u64 = 5;
/// Months before prescription in which it is told (R7.11).
const PRESCRIPTION_DAYS: u64 = 183;
/// Days before other deadlines in which they are told.
const DEADLINE_DAYS: u64 = 21;
/// Rows of a company that the planner must know of; with more in a table its plans hardly change.
const GROWN: i64 = 20_000;

/// Everything that background work needs.
#[derive(Clone)]
pub struct Desk {
    pub db: Db,
    pub objects: Objects,
    /// None when no mail server is set: mails wait in the outbox.
    pub mailer: Option<Mailer>,
}

/// Who does it: no person, and never an approver of what a person has to approve.
pub fn clerk(company: CompanyId, today: NaiveDate) -> Caller {
    Caller {
        company,
        user: None,
        author: "scheduler".into(),
        role: Role::CreditManager,
        scopes: None,
        today,
        approval: None,
    }
}

/// The rounds as a job of the server: a company's work is done by one instance at a time.
pub fn job(desk: Desk, period: Duration) -> Job {
    Job {
        name: "rounds",
        period,
        run: Box::new(move |_, company| lead(&desk, company, jobs::today())),
    }
}

/// The work of one company, unless another instance is at it.
pub fn lead(desk: &Desk, company: CompanyId, today: NaiveDate) -> Result<()> {
    let (_, low) = company.0.as_u64_pair();
    desk.db.leading(LEADER ^ low.cast_signed(), || {
        visit(desk, company, today);
        Ok(())
    })
}

/// The work of one company: what went wrong is told, and does not keep the rest from being done.
pub fn visit(desk: &Desk, company: CompanyId, today: NaiveDate) {
    let caller = clerk(company, today);
    let told = |what: &str, result: Result<()>| {
        if let Err(error) = result {
            tracing::warn!(company = %company.0, %error, "{what} was not done");
        }
    };
    told("the day's tasks", desk.db.write_now(&caller, tasks));
    told(
        "the end of requests for approval",
        desk.db.write_now(&caller, approval::expire),
    );
    told("notices of disputes", notices(desk, &caller));
    told("automatic dunning", automatic(desk, &caller));
    told("sending runs", runs(desk, &caller));
    told(
        "letting go of old personal data",
        desk.db.write_now(&caller, personal::purge),
    );
    told(
        "sealing the audit trail",
        super::audit::seal(&desk.db, company),
    );
    told(
        "telling the planner how large it has become",
        tell_planner(&desk.db, &caller),
    );
    if let Some(mailer) = &desk.mailer {
        told("delivering mail", deliver(desk, &caller, mailer));
    }
}

/// Tells PostgreSQL's planner of a company that it believes much smaller than it is.
pub fn tell_planner(db: &Db, caller: &Caller) -> Result<()> {
    import::tell_planner(db, caller, GROWN, store::imports::SEEN)
}

/// Writes the notice of each new dispute, keeps it with the dispute, and mails it to whoever has to answer (R8.4). A
/// deduction's notice, to the client who paid less, is kept beside it.
pub fn notices(desk: &Desk, caller: &Caller) -> Result<()> {
    let ids = desk.db.read_now(caller, |conn, caller| {
        Ok(store::dispute::without_notice(conn, caller.company)?)
    })?;
    for id in ids {
        desk.db.write_now(caller, |conn, caller| {
            notice(conn, caller, &desk.objects, id)
        })?;
    }
    Ok(())
}

fn notice(
    conn: &mut PgConnection,
    caller: &Caller,
    objects: &Objects,
    id: DisputeId,
) -> Result<()> {
    let Some(dispute) = store::dispute::by_id(conn, caller.company, id)? else {
        return Ok(());
    };
    let subject = Subject {
        kind: "DISPUTE",
        id: id.0,
        client: Some(dispute.client_id),
    };
    let keep = |conn: &mut PgConnection, kind: Kind, of: &str, name: String| -> Result<_> {
        let on = caller.today;
        let composed = letter::of_subject(conn, caller, objects, kind, of, None, None, on)?;
        let (kind, media) = (FileKind::Notice, "application/pdf");
        let pdf = composed.pdf()?;
        let file = file::keep(conn, caller, objects, subject, kind, &name, media, &pdf)?;
        Ok((file, composed))
    };
    if let Some(deduction) = dispute.deduction_id {
        let name = format!("avis-de-deduction-{}.pdf", dispute.number);
        keep(conn, Kind::DeductionNotice, &deduction.show(), name)?;
    }
    let name = format!("avis-de-litige-{}.pdf", dispute.number);
    let (file, composed) = keep(conn, Kind::DisputeNotice, &id.show(), name)?;
    let owner = match dispute.owner_id {
        Some(owner) => store::member::member(conn, caller.company, owner)?,
        None => None,
    };
    if let Some(owner) = owner {
        let mail = mail::new(caller, dispute.client_id, None, owner.email, &composed);
        store::mail::queue(conn, &mail, &[file])?;
    }
    Ok(())
}

fn deliver(desk: &Desk, caller: &Caller, mailer: &Mailer) -> Result<()> {
    while mail::deliver(&desk.db, caller, &desk.objects, mailer)? > 0 {}
    Ok(())
}

/// Proposes and validates the day's reminders that need nobody, when the company wants that.
pub fn automatic(desk: &Desk, caller: &Caller) -> Result<()> {
    desk.db.write_now(caller, |conn, caller| {
        if !books::open(conn, caller)?.settings.automatic_dunning {
            return Ok(());
        }
        if let Some(old) = store::dunning_run::under_way(conn, caller.company, true)?
            && old.as_of < caller.today
        {
            dunning_run::cancel(conn, caller, &old.id.show())?;
        }
        let scope = Scope {
            automatic: true,
            ..Scope::default()
        };
        match dunning_run::propose(conn, caller, &scope) {
            Ok(run) => {
                let id = run.show();
                let state = store::dunning_run::by_ids(conn, caller.company, &[run])?.pop();
                if state.is_none_or(|run| run.status != "PROPOSED") {
                    return Ok(());
                }
                match dunning_run::validate(conn, caller, &id) {
                    Err(error) if needs_a_person(&error) => {
                        let what = format!("Valider les relances du {}", caller.today);
                        let (kind, source) = (TaskKind::RunToValidate, run.0);
                        task::ask(conn, caller, kind, None, source, caller.today, what)
                    }
                    done => done.map(drop),
                }
            }
            Err(error) if is_nothing_due(&error) => Ok(()),
            Err(error) => Err(error),
        }
    })
}

/// Something in the run is above its threshold: the run waits for who may validate it.
fn needs_a_person(error: &Error) -> bool {
    matches!(error, Error::Refused(why) if why.iter().all(|why| why.code == RefusalCode::ApprovalRequired))
}

fn is_nothing_due(error: &Error) -> bool {
    matches!(error, Error::Refused(why) if why.iter().all(|why| why.code == RefusalCode::NotChaseable))
}

/// Goes on with runs that a person validated, or that needed none.
pub fn runs(desk: &Desk, caller: &Caller) -> Result<()> {
    for automatic in [true, false] {
        loop {
            let run = desk.db.read_now(caller, |conn, caller| {
                Ok(store::dunning_run::under_way(
                    conn,
                    caller.company,
                    automatic,
                )?)
            })?;
            let Some(run) = run.filter(|run| run.status == "VALIDATED") else {
                break;
            };
            if !is_working_day(caller.today) && !desk.db.read_now(caller, any_day)? {
                break;
            }
            let id = run.id.show();
            desk.db.write_now(caller, |conn, caller| {
                dunning_run::send(conn, caller, &desk.objects, &id, dunning_run::AT_ONCE)
            })?;
        }
    }
    Ok(())
}

fn any_day(conn: &mut PgConnection, caller: &Caller) -> Result<bool> {
    Ok(books::open(conn, caller)?.settings.dunning_any_day)
}

/// Tasks that the day brings: each is asked for once.
pub fn tasks(conn: &mut PgConnection, caller: &Caller) -> Result<()> {
    broken(conn, caller)?;
    letters(conn, caller)?;
    disputes(conn, caller)?;
    legal(conn, caller)
}

/// Promises and plans that were not kept (R7.6).
fn broken(conn: &mut PgConnection, caller: &Caller) -> Result<()> {
    let company = caller.company;
    let promises = store::collection::broken_promises(conn, company, caller.today)?;
    let plans = store::collection::broken_plans(conn, company, caller.today)?;
    let all = promises
        .into_iter()
        .map(|row| (TaskKind::BrokenPromise, "Promesse non tenue", row))
        .chain(
            plans
                .into_iter()
                .map(|row| (TaskKind::BrokenPlan, "Échéancier rompu", row)),
        );
    for (kind, what, row) in all {
        let amount = books::currency(&row.currency)?.show(row.amount);
        let subject = format!(
            "{what} : {}, {amount} ({})",
            row.client,
            row.due_on.format("%d/%m/%Y")
        );
        task::ask(
            conn,
            caller,
            kind,
            Some(row.client_id),
            row.id,
            caller.today,
            subject,
        )?;
    }
    Ok(())
}

/// Registered letters of which nothing came back (R7.9).
fn letters(conn: &mut PgConnection, caller: &Caller) -> Result<()> {
    let through = caller.today - Days::new(ACKNOWLEDGMENT_DAYS);
    for row in store::dunning_run::unanswered(conn, caller.company, through)? {
        let subject = format!(
            "Avis de réception manquant : {}, déposée le {}",
            row.reference,
            row.happened_on.format("%d/%m/%Y")
        );
        let kind = TaskKind::AcknowledgmentMissing;
        task::ask(
            conn,
            caller,
            kind,
            Some(row.client_id),
            row.action_id.0,
            caller.today,
            subject,
        )?;
    }
    Ok(())
}

/// Disputes that wait for their answer, and those whose deadline has passed (R8.4).
fn disputes(conn: &mut PgConnection, caller: &Caller) -> Result<()> {
    let soon = caller.today + Days::new(DISPUTE_DAYS);
    for row in store::dispute::awaited(conn, caller.company, soon)? {
        let overdue = row.respond_by < caller.today;
        let (kind, what) = if overdue {
            (TaskKind::DisputeOverdue, "Échéance dépassée")
        } else {
            (TaskKind::DisputeReminder, "Réponse attendue")
        };
        if store::task::known(conn, caller.company, row.id.0, kind.code())? {
            continue;
        }
        let subject = format!(
            "{what} : litige {} ({}), pour le {}",
            row.number,
            row.department,
            row.respond_by.format("%d/%m/%Y")
        );
        let due = row.respond_by.max(caller.today);
        task::ask(
            conn,
            caller,
            kind,
            Some(row.client_id),
            row.id.0,
            due,
            subject,
        )?;
        if overdue {
            let note = "échéance dépassée : escalade au responsable";
            store::dispute::insert_event(
                conn,
                caller.company,
                row.id,
                None,
                note,
                caller.today,
                &caller.author,
            )?;
        }
    }
    Ok(())
}

/// Prescription, proofs of claim, orders to serve.
fn legal(conn: &mut PgConnection, caller: &Caller) -> Result<()> {
    let through = caller.today + Days::new(PRESCRIPTION_DAYS);
    let found = litigation::deadlines(conn, caller, None, through)?;
    let near = |deadline: &&Deadline| {
        deadline.kind == DeadlineKind::Prescription
            || deadline.due_on <= caller.today + Days::new(DEADLINE_DAYS)
            || deadline.kind == DeadlineKind::ProofOfClaim
    };
    for deadline in found.iter().filter(near) {
        let (kind, what) = match deadline.kind {
            DeadlineKind::Prescription => (TaskKind::Prescription, "Prescription"),
            DeadlineKind::ProofOfClaim => (TaskKind::ProofOfClaim, "Déclaration de créance"),
            DeadlineKind::ServeOrder => (TaskKind::ServeOrder, "Ordonnance à signifier"),
            DeadlineKind::OppositionEnds => continue,
        };
        if store::task::known(conn, caller.company, deadline.source, kind.code())? {
            continue;
        }
        let about = format!("{} {}", deadline.client_name, deadline.reference);
        let by = deadline.due_on.format("%d/%m/%Y");
        let subject = format!("{what} : {}, avant le {by}", about.trim_end());
        task::ask(
            conn,
            caller,
            kind,
            Some(deadline.client),
            deadline.source,
            deadline.due_on,
            subject,
        )?;
    }
    Ok(())
}
