//! The audit trail: events that are no writes, and the chain behind the writers.

use std::time::Duration;

use diesel::pg::PgConnection;
use serde_json::{Value, json};

use super::jobs::{Job, worker};
use crate::domain::access::Caller;
use crate::domain::audit::{Event, Origin};
use crate::domain::ids::{ClientId, CompanyId, Id, ServiceAccountId, UserId};
use crate::error::Result;
use crate::store::audit::{Proof, event, just_told, person_event, raw};
use crate::store::{self, Db};

/// Entries that one transaction seals.
const BATCH: i32 = 5000;
/// How often it is looked for entries to seal.
const PERIOD: Duration = Duration::from_secs(15);
/// Entries that a question over the API proves: an answer within seconds.
pub const LATEST: i64 = 100_000;

/// The sealing as a job of the server. Several servers may do it: who comes second passes.
pub fn job() -> Job {
    Job {
        name: "audit",
        period: PERIOD,
        run: Box::new(seal),
    }
}

/// Seals what is settled of a company's trail.
pub fn seal(db: &Db, company: CompanyId) -> Result<()> {
    let server = worker(company);
    while db.read_now(&server, |conn, _| Ok(store::audit::waits(conn, company)?))? {
        let sealed = db.write_now(&server, |conn, _| {
            Ok(store::audit::seal(conn, company, BATCH)?)
        })?;
        if sealed < BATCH {
            break;
        }
    }
    Ok(())
}

/// Proves the end of the chain of the caller's company.
pub fn verify(conn: &mut PgConnection, caller: &Caller, most: i64) -> Result<Proof> {
    Ok(store::audit::verify(conn, caller.company, most)?)
}

/// Writes down that data left: what, of which record, and how much.
pub fn exported(
    conn: &mut PgConnection,
    caller: &Caller,
    what: &str,
    id: &str,
    client: Option<ClientId>,
    details: &Value,
) -> Result<()> {
    let record = (what, id);
    Ok(event(
        conn,
        caller.company,
        Event::Exported,
        record,
        client,
        details,
    )?)
}

/// Writes down that a file was taken in.
pub fn imported(
    conn: &mut PgConnection,
    caller: &Caller,
    what: &str,
    details: &Value,
) -> Result<()> {
    let record = (what, "");
    Ok(event(
        conn,
        caller.company,
        Event::Imported,
        record,
        None,
        details,
    )?)
}

/// Writes down what was read: the questions of an auditor, or the contacts of many clients.
pub fn read(
    conn: &mut PgConnection,
    caller: &Caller,
    fields: &[String],
    personal: u32,
) -> Result<()> {
    let details = json!({ "fields": fields, "clientsWithContacts": personal });
    let record = ("QUERY", "");
    Ok(event(
        conn,
        caller.company,
        Event::Read,
        record,
        None,
        &details,
    )?)
}

/// Writes down what a person did at the door, in a company of theirs.
pub fn at_the_door(
    conn: &mut PgConnection,
    company: CompanyId,
    person: (UserId, &str),
    origin: &Origin,
    what: Event,
    details: &Value,
) -> Result<()> {
    let (user, email) = person;
    Ok(person_event(
        conn,
        company,
        (user.0, email),
        origin,
        what,
        details,
    )?)
}

/// Writes down that a key of a service account opened nothing, once a minute: strangers may cause it. Keys of accounts
/// that never were concern nobody.
pub fn key_refused(
    conn: &mut PgConnection,
    caller: &Caller,
    account: ServiceAccountId,
) -> Result<()> {
    let company = caller.company;
    let id = raw(account);
    if store::account::find(conn, company, account)?.is_none()
        || just_told(conn, company, Event::KeyRefused, &id)?
    {
        return Ok(());
    }
    let record = ("SERVICE_ACCOUNT", id.as_str());
    let details = json!({ "account": account.show() });
    Ok(event(
        conn,
        company,
        Event::KeyRefused,
        record,
        None,
        &details,
    )?)
}
