//! Personal data: what is held about whom, erasing it, and letting go of what has outlived its retention.
//!
//! An erasure takes a person's values out of everything that nobody needs: the record itself, free text, mails that prove
//! nothing, drafts, kept answers, and the images of the audit trail. What the law or a claim keeps stays, and the answer
//! says what, until when, and why. Entries, documents and seals are never touched.

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{audit, books, reference};
use crate::domain::access::Caller;
use crate::domain::ids::{ClientId, ContactId, ErasureId, Id, UserId};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::domain::retention::{
    self, ADDRESSES, ANSWERS, ARCHIVE, BOOKS, PROSPECTS, REMINDERS, TRAIL,
};
use crate::error::{Error, Result};
use crate::service::reference::Ref;
use crate::store::personal::{Left, Limits, Place};
use crate::store::{self};

/// What an erasure took, and what it had to leave.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    pub erased: Vec<Erased>,
    pub kept: Vec<Kept>,
}

/// A place from which values were taken.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Erased {
    /// The table, or its column.
    pub place: String,
    pub rows: i64,
}

/// Records that stay as they are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// `DOCUMENTS`, `ENTRIES`, `REMINDERS`, …
    pub class: String,
    pub rows: i64,
    /// The last day that they are kept for.
    pub until: NaiveDate,
    pub ground: String,
}

/// Erases a contact, whether it was removed before or not.
pub fn erase_contact(
    conn: &mut PgConnection,
    caller: &Caller,
    contact: ContactId,
    reason: &str,
) -> Result<ErasureId> {
    store::client::contact_of(conn, caller.company, contact)?
        .ok_or_else(|| Refusal::not_found("contact", "contact"))?;
    let id = begin(conn, caller, ("CONTACT", Some(contact.0)), reason)?;
    let left = store::personal::left_of_contact(conn, caller.company, contact)?;
    let places = store::personal::erase_contact(conn, caller.company, contact, id)?;
    let kept = kept(conn, caller, left)?;
    end(conn, caller, id, places, kept)
}

/// Erases a client who is a natural person, contacts included. The account is closed; documents and entries keep the
/// parties they were issued with.
pub fn erase_client(
    conn: &mut PgConnection,
    caller: &Caller,
    target: &Ref,
    is_person: bool,
    reason: &str,
) -> Result<ErasureId> {
    let client = reference::client(conn, caller, "client", target)?;
    let looks_like_one = client.siren.is_none()
        && (client.segment == "CONSUMER" || matches!(client.kind.as_str(), "MEMBER" | "STUDENT"));
    if !looks_like_one && !is_person {
        let why = "the record looks like that of an organisation, which has no personal data of its own: erase its contacts, \
                   or say isNaturalPerson for a sole trader";
        return Err(Refusal::new(RefusalCode::WrongState, "client", why).into());
    }
    let client = store::client::for_update(conn, caller.company, client.id)?
        .ok_or_else(|| Refusal::not_found("client", "client"))?;
    let open = store::personal::open_items(conn, caller.company, client.id)?;
    if open > 0 {
        let why = "items are open: who owes or is owed is needed until they are settled (RGPD, art. 17(3)(e))";
        return Err(Refusal::new(RefusalCode::WrongState, "client", why)
            .detail("openItems", open)
            .into());
    }
    let id = begin(conn, caller, ("CLIENT", Some(client.id.0)), reason)?;
    let left = store::personal::left_of_client(conn, caller.company, client.id)?;
    let kept = kept(conn, caller, left)?;
    let archive = kept
        .iter()
        .find(|kept| kept.class == "ENTRIES")
        .map(|kept| kept.until);
    let places =
        store::personal::erase_client(conn, caller.company, client.id, id, caller.today, archive)?;
    let archived = archive.map(|until| Kept {
        class: ARCHIVE.code.into(),
        rows: 1,
        until,
        ground: ARCHIVE.ground.into(),
    });
    end(
        conn,
        caller,
        id,
        places,
        kept.into_iter().chain(archived).collect(),
    )
}

/// Erases a person who has left every company: the account, its sessions and invitations, and name and addresses on the
/// trail. The books keep who recorded what.
pub fn erase_member(
    conn: &mut PgConnection,
    caller: &Caller,
    user: UserId,
    reason: &str,
) -> Result<ErasureId> {
    let person = match store::personal::was_member(conn, caller.company, user)? {
        true => store::member::by_ids(conn, &[user])?.pop(),
        false => None,
    };
    let person = person.ok_or_else(|| Refusal::not_found("member", "member, present or former"))?;
    let entries = store::personal::left_of_author(conn, caller.company, &person.email)?;
    let kept = kept(conn, caller, vec![entries])?;
    let id = begin(conn, caller, ("MEMBER", Some(user.0)), reason)?;
    let erased = store::personal::erase_member(conn, caller.company, user, id);
    let places = erased.map_err(|error| {
        let error = Error::from(error);
        match error.constraint() {
            Some("erased_member_left") => Refusal::new(
                RefusalCode::WrongState,
                "member",
                "the person is a member of a company still: end the memberships first (removeMember)",
            )
            .into(),
            _ => error,
        }
    })?;
    end(conn, caller, id, places, kept)
}

fn begin(
    conn: &mut PgConnection,
    caller: &Caller,
    subject: (&str, Option<uuid::Uuid>),
    reason: &str,
) -> Result<ErasureId> {
    let reason = books::text("reason", reason, 500)?;
    let id = ErasureId::new();
    store::personal::insert(conn, caller.company, id, subject, &reason, &caller.author)?;
    Ok(id)
}

fn end(
    conn: &mut PgConnection,
    caller: &Caller,
    id: ErasureId,
    places: Vec<Place>,
    kept: Vec<Kept>,
) -> Result<ErasureId> {
    let report = Report {
        erased: summed(places),
        kept,
    };
    let report =
        serde_json::to_value(&report).map_err(|error| Error::Internal(error.to_string()))?;
    store::personal::report(conn, caller.company, id, &report)?;
    Ok(id)
}

/// One row per place: contacts of a client are erased one by one.
fn summed(places: Vec<Place>) -> Vec<Erased> {
    let mut erased: Vec<Erased> = Vec::new();
    for Place { place, n } in places {
        match erased.iter_mut().find(|known| known.place == place) {
            Some(known) => known.rows += n,
            None => erased.push(Erased { place, rows: n }),
        }
    }
    erased
}

fn kept(conn: &mut PgConnection, caller: &Caller, left: Vec<Left>) -> Result<Vec<Kept>> {
    let start = books::open(conn, caller)?.company.fiscal_year_start_month;
    let start = u32::try_from(start).unwrap_or(1);
    let kept = left.into_iter().filter_map(|Left { class, n, last_on }| {
        let last_on = last_on.filter(|_| n > 0)?;
        let (rule, from) = match class.as_str() {
            "REMINDERS" | "MAILS" | "FILES" => (REMINDERS, last_on),
            _ => (BOOKS, retention::year_end(last_on, start)),
        };
        Some(Kept {
            class,
            rows: n,
            until: rule.until(from),
            ground: rule.ground.into(),
        })
    });
    Ok(kept.collect())
}

/// The report of an erasure, as it was kept.
pub fn report(kept: &Value) -> Result<Report> {
    serde_json::from_value(kept.clone()).map_err(|error| Error::Internal(error.to_string()))
}

/// A person about whom it is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    Contact(ContactId),
    Client(ClientId),
    Member(UserId),
}

impl Subject {
    fn record(self) -> (&'static str, String) {
        match self {
            Subject::Contact(id) => ("CONTACT", store::audit::raw(id)),
            Subject::Client(id) => ("CLIENT", store::audit::raw(id)),
            Subject::Member(id) => ("MEMBER", store::audit::raw(id)),
        }
    }
}

/// Everything that is held about a person (RGPD, art. 15): records, free text, trail, and how long each class is kept.
/// That it was taken out is written down.
pub fn held(conn: &mut PgConnection, caller: &Caller, subject: Subject) -> Result<Value> {
    let company = caller.company;
    let found = match subject {
        Subject::Contact(id) => store::personal::of_contact(conn, company, id)?,
        Subject::Client(id) => store::personal::of_client(conn, company, id)?,
        Subject::Member(id) => store::personal::of_member(conn, company, id)?,
    };
    let mut found = found.ok_or_else(|| Refusal::not_found("subject", "person"))?;
    let retention: Vec<Value> = retention::RULES
        .iter()
        .map(|rule| json!({ "class": rule.code, "what": rule.what, "months": rule.months, "from": rule.from, "ground": rule.ground }))
        .collect();
    if let Value::Object(fields) = &mut found {
        fields.insert("retention".into(), retention.into());
    }
    let (kind, id) = subject.record();
    let client = match subject {
        Subject::Client(id) => Some(id),
        Subject::Contact(id) => store::client::contact_of(conn, company, id)?,
        Subject::Member(_) => None,
    };
    let details = json!({ "report": "PERSONAL_DATA" });
    audit::exported(conn, caller, kind, &id, client, &details)?;
    Ok(found)
}

/// Erases what has outlived its retention, once a day, when the company wants that.
pub fn purge(conn: &mut PgConnection, caller: &Caller) -> Result<()> {
    let today = caller.today;
    if !books::open(conn, caller)?.settings.retention_purge
        || store::personal::purged_on(conn, caller.company, today)?
    {
        return Ok(());
    }
    let id = begin(
        conn,
        caller,
        ("RETENTION", None),
        "durées de conservation échues",
    )?;
    let limits = Limits {
        today,
        answers: ANSWERS.over_before(today),
        addresses: ADDRESSES.over_before(today),
        reminders: REMINDERS.over_before(today),
        trail: TRAIL.over_before(today),
        prospects: PROSPECTS.over_before(today),
    };
    let places = store::personal::purge(conn, caller.company, id, limits)?;
    end(conn, caller, id, places, Vec::new())?;
    Ok(())
}
