//! The outbox: mails leave at least once, and what does not leave is seen.
//!
//! A worker takes mails for some minutes, hands them to the mail server outside any transaction, and writes what
//! became of them. One that dies in between leaves its mails to the next; a mail that was taken twice has the same
//! message id.

use diesel::pg::PgConnection;

use super::letter::Composed;
use super::{books, task};
use crate::domain::access::Caller;
use crate::domain::ids::{ClientId, DunningActionId, Id, MailId};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::domain::task::TaskKind;
use crate::error::Result;
use crate::mailer::{Mailer, Outgoing, Undelivered};
use crate::objects::Objects;
use crate::store::mail::Mail;
use crate::store::{self, Db};

/// Mails that a worker takes at once.
const BATCH: i64 = 20;
/// Seconds for which they are taken.
const LEASE: i64 = 600;
/// Seconds before the first retry; twice as long before each next one.
const FIRST_WAIT: i64 = 60;
/// Longest pause between two tries.
const LONGEST_WAIT: i64 = 3600;
/// Days of trying, as mail servers do; then the mail is dead, and a person decides.
const DAYS: i64 = 5;

/// A mail about a client's account, to queue: its text is that of the letter.
pub fn new(
    caller: &Caller,
    client: ClientId,
    action: Option<DunningActionId>,
    recipient: String,
    letter: &Composed,
) -> Mail {
    Mail {
        company_id: caller.company,
        id: MailId::new(),
        client_id: client,
        action_id: action,
        recipient,
        subject: letter.subject.clone(),
        body: letter.text.clone(),
        recorded_at: chrono::DateTime::UNIX_EPOCH,
        recorded_by: caller.author.clone(),
        status: "QUEUED".into(),
        attempts: 0,
        next_at: chrono::DateTime::UNIX_EPOCH,
        last_error: None,
        sent_at: None,
    }
}

/// Sends the mails of a company that are due. How many there were.
pub fn deliver(db: &Db, caller: &Caller, objects: &Objects, mailer: &Mailer) -> Result<usize> {
    let taken = db.write_now(caller, |conn, caller| {
        let ids = store::mail::claim(conn, caller.company, BATCH, LEASE)?;
        let mut mails = store::mail::by_ids(conn, caller.company, &ids)?;
        mails.sort_by_key(|mail| mail.id);
        Ok(mails)
    })?;
    for mail in &taken {
        let outgoing = db.read_now(caller, |conn, caller| outgoing(conn, caller, objects, mail))?;
        let outcome = mailer.send(&outgoing);
        db.write_now(caller, |conn, caller| settle(conn, caller, mail, &outcome))?;
    }
    Ok(taken.len())
}

fn outgoing(
    conn: &mut PgConnection,
    caller: &Caller,
    objects: &Objects,
    mail: &Mail,
) -> Result<Outgoing> {
    let books = books::open(conn, caller)?;
    let ids = store::mail::files_of(conn, caller.company, mail.id)?;
    let mut attachments = Vec::new();
    for file in store::file::by_ids(conn, caller.company, &ids)? {
        let bytes = objects.get(caller.company, &file.sha256)?;
        attachments.push((file.name, file.media_type, bytes));
    }
    let reply = books.settings.letterhead.email.clone();
    Ok(Outgoing {
        message_id: mail.id.show(),
        sender: books.company.name,
        reply_to: (!reply.is_empty()).then_some(reply),
        to: mail.recipient.clone(),
        subject: mail.subject.clone(),
        text: mail.body.clone(),
        attachments,
    })
}

fn settle(
    conn: &mut PgConnection,
    caller: &Caller,
    mail: &Mail,
    outcome: &std::result::Result<(), Undelivered>,
) -> Result<()> {
    let settle = |conn: &mut PgConnection, status: &str, error: Option<&str>, wait: i64| {
        let error: Option<String> = error.map(|text| text.chars().take(500).collect());
        store::mail::settle(
            conn,
            caller.company,
            mail.id,
            status,
            error.as_deref(),
            wait,
        )
    };
    match outcome {
        Ok(()) => settle(conn, "SENT", None, 0).map(drop)?,
        Err(Undelivered::Refused(why)) => {
            settle(conn, "BOUNCED", Some(why), 0)?;
            ask(conn, caller, mail)?;
        }
        Err(Undelivered::Later(why)) => {
            let age = chrono::Utc::now() - mail.recorded_at;
            if age.num_days() >= DAYS {
                settle(conn, "DEAD", Some(why), 0)?;
                ask(conn, caller, mail)?;
            } else {
                let doublings = u32::try_from(mail.attempts - 1).unwrap_or_default().min(10);
                let wait = (FIRST_WAIT << doublings).min(LONGEST_WAIT);
                settle(conn, "QUEUED", Some(why), wait)?;
            }
        }
    }
    Ok(())
}

/// A mail that did not arrive is somebody's work: the address, or another channel.
fn ask(conn: &mut PgConnection, caller: &Caller, mail: &Mail) -> Result<()> {
    let what = format!("Message non remis à {} : {}", mail.recipient, mail.subject);
    let client = Some(mail.client_id);
    task::ask(
        conn,
        caller,
        TaskKind::BouncedMail,
        client,
        mail.id.0,
        caller.today,
        what,
    )
}

fn found(conn: &mut PgConnection, caller: &Caller, id: &str) -> Result<Mail> {
    let found = match MailId::read(id) {
        Some(id) => store::mail::by_ids(conn, caller.company, &[id])?.pop(),
        None => None,
    };
    Ok(found.ok_or_else(|| Refusal::not_found("mail", "mail"))?)
}

fn turn(
    conn: &mut PgConnection,
    caller: &Caller,
    mail: &Mail,
    from: &[&str],
    to: &str,
    error: Option<&str>,
) -> Result<MailId> {
    if store::mail::turn(conn, caller.company, &[mail.id], from, to, error)? == 1 {
        return Ok(mail.id);
    }
    Err(Refusal::new(
        RefusalCode::WrongState,
        "mail",
        format!("this mail is {}", mail.status),
    )
    .detail("status", mail.status.clone())
    .into())
}

/// Queues a mail that did not leave again, at once.
pub fn retry(conn: &mut PgConnection, caller: &Caller, id: &str) -> Result<MailId> {
    let mail = found(conn, caller, id)?;
    turn(
        conn,
        caller,
        &mail,
        &["DEAD", "BOUNCED", "QUEUED"],
        "QUEUED",
        None,
    )
}

/// Gives up a mail that has not left.
pub fn cancel(conn: &mut PgConnection, caller: &Caller, id: &str) -> Result<MailId> {
    let mail = found(conn, caller, id)?;
    turn(conn, caller, &mail, &["QUEUED", "DEAD"], "CANCELLED", None)
}

/// Records that a mail came back, with what the server said.
pub fn bounce(conn: &mut PgConnection, caller: &Caller, id: &str, reason: &str) -> Result<MailId> {
    let mail = found(conn, caller, id)?;
    let reason = books::text("reason", reason, 500)?;
    let done = turn(conn, caller, &mail, &["SENT"], "BOUNCED", Some(&reason))?;
    ask(conn, caller, &mail)?;
    Ok(done)
}
