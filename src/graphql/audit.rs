//! The audit trail: who did what, when, from where, and what it changed; and the proof that nobody changed it since.

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};

use super::client::code_enum;
use super::page::{Asked, Connection, Window, counted};
use super::scalars::{Instant, JsonObject, at, read, show};
use super::text::untold;
use super::{Permitted, session};
use crate::domain::audit;
use crate::domain::hex::hex;
use crate::domain::ids::{ClientId, Id, UserId};
use crate::error::{Error, Result};
use crate::service;
use crate::store;
use crate::store::audit::{Entry as Row, Filter};
use crate::store::list::Direction;

untold!(AuditEntry);

code_enum! {
    /// What stands behind an entry of the audit trail.
    AuditActorKind {
        /// A person, by a log-in, an identity provider or a printed token of theirs.
        Person = "PERSON",
        /// A service account (compte de service), by its key.
        ServiceAccount = "SERVICE_ACCOUNT",
        /// A token that the command line printed for a script.
        Script = "SCRIPT",
        /// The server by itself: automatic reminders, mails, tasks.
        Server = "SERVER",
        /// Whoever holds the database: the command line, or a hand in the tables.
        Operator = "OPERATOR",
    }
}

code_enum! {
    /// What an entry of the audit trail tells.
    AuditAction {
        /// A record was added; `after` is what it was.
        Created = "CREATED",
        /// Columns of a record changed; `before` and `after` hold those.
        Changed = "CHANGED",
        /// A record is gone; `before` is what it was.
        Deleted = "DELETED",
        /// Data left in a file: FEC, letter, evidence, attachment, report of personal data.
        Exported = "EXPORTED",
        /// A file was taken in.
        Imported = "IMPORTED",
        /// Records were read: every question of an auditor, and contacts of more than 20 clients at once by anybody.
        Read = "READ",
        /// A person logged in.
        LoggedIn = "LOGGED_IN",
        /// A password was wrong.
        LogInRefused = "LOG_IN_REFUSED",
        /// Too many wrong passwords: further ones are not looked at for a while.
        LockedOut = "LOCKED_OUT",
        /// A person ended a log-in.
        LoggedOut = "LOGGED_OUT",
        /// A person came from another company.
        Switched = "SWITCHED",
        /// A refresh token came a second time: its log-in was ended.
        TokenReused = "TOKEN_REUSED",
        /// A person set another password.
        PasswordChanged = "PASSWORD_CHANGED",
        /// A key of a service account opened nothing: wrong, expired or revoked. Told once a minute.
        KeyRefused = "KEY_REFUSED",
    }
}

/// Which way the audit trail is read.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
enum AuditOrder {
    /// The latest entry first.
    LatestFirst,
    /// The oldest entry first.
    OldestFirst,
}

/// What the audit trail is narrowed to; conditions are joined by and.
#[derive(InputObject, Clone, Debug, Default)]
struct AuditFilter {
    /// Of records of this type, such as `CLIENT`, `DOCUMENT`, `PAYMENT`, `MEMBER`.
    record_type: Option<String>,
    /// Of this record, by its id in the API (`cli_…`), or its code where records have one.
    record_id: Option<String>,
    /// Of whatever concerns this client: contacts, disputes, notes, files.
    client: Option<ID>,
    /// By this author: an id `usr_…`, or the name that stands on records (`service account Shop`, `scheduler`).
    actor: Option<String>,
    /// By this root field or route, such as `issueInvoice` or `GET /export/fec/{year}`.
    operation: Option<String>,
    /// Of these kinds; of all when absent or empty.
    actions: Option<Vec<AuditAction>>,
    /// From this instant on.
    from: Option<Instant>,
    /// Before this instant.
    to: Option<Instant>,
}

impl AuditFilter {
    fn read(self) -> Result<Filter> {
        let client = match &self.client {
            Some(id) => Some(read::<ClientId>("filter.client", "client", id)?),
            None => None,
        };
        let person = self.actor.as_deref().and_then(UserId::read);
        Ok(Filter {
            record_type: self.record_type,
            record_id: self.record_id.as_deref().map(audit::key),
            client,
            actor: self.actor.filter(|_| person.is_none()),
            actor_id: person.map(|person| person.0),
            operation: self.operation,
            actions: self
                .actions
                .unwrap_or_default()
                .into_iter()
                .map(|action| action.code().to_owned())
                .collect(),
            from: at(self.from),
            to: at(self.to),
        })
    }
}

/// One thing that happened (piste d'audit). Entries are never changed or deleted; personal data in them may be erased,
/// which `erased` says, and which leaves their seals valid.
#[derive(SimpleObject, Clone)]
struct AuditEntry {
    /// When it was written down.
    at: Instant,
    /// What happened.
    action: AuditAction,
    /// The type of the record, such as `CLIENT`: the singular of what it is; new types may appear.
    record_type: String,
    /// The record: its id in the API where it has one, else its code; empty when it is about no single record.
    record_id: String,
    /// The client that it concerns; null when it concerns none.
    client_id: Option<ID>,
    /// What stands behind it.
    actor_kind: AuditActorKind,
    /// The person's id; null when no person with an account did it.
    actor_id: Option<ID>,
    /// The author as it stands on records, an e-mail address for people; the id once the person was erased.
    actor: String,
    /// The role that the author had; null for service accounts, at the door, and outside the API.
    role: Option<String>,
    /// The root field or the route; null for work of the server and the command line.
    operation: Option<String>,
    /// The id of the request, which its answer had in `x-request-id`; null outside the API.
    request_id: Option<String>,
    /// The network address that it came from; null outside the API, and a year later when old data is erased.
    address: Option<String>,
    /// The transaction: entries with the same one were written together.
    transaction: String,
    /// The changed columns as they were, as the database holds them: ids without their prefix, amounts in minor units. Secrets are `(hidden)`, bank accounts show their ends, erased values are `(erased)`.
    before: Option<JsonObject>,
    /// The changed columns as they became; all columns of a record that was added. Of a record that is never changed, the
    /// record itself is shown, as it was written.
    after: Option<JsonObject>,
    /// What else there is to say of an event: rows, bytes, fields.
    details: Option<JsonObject>,
    /// Whether personal data was erased from it since.
    erased: bool,
    /// Its place in the chain, from 1; null until it is sealed, some seconds after it was written.
    ordinal: Option<String>,
    /// The SHA-256 of the seal before and of its own content; null until it is sealed.
    seal: Option<String>,
}

impl AuditEntry {
    fn of(row: Row) -> Result<AuditEntry> {
        Ok(AuditEntry {
            at: row.at.into(),
            action: AuditAction::of(&row.action)?,
            record_id: audit::shown(&row.record_type, &row.record_id),
            record_type: row.record_type,
            client_id: row.client_id.map(show),
            actor_kind: AuditActorKind::of(&row.actor_kind)?,
            actor_id: row.actor_id.map(|id| show(UserId(id))),
            actor: row.actor,
            role: row.role,
            operation: row.operation,
            request_id: row.request_id,
            address: row.address,
            transaction: row.xid.to_string(),
            before: row.before.map(JsonObject),
            after: row.after.map(JsonObject),
            details: row.details.map(JsonObject),
            erased: row.erased,
            ordinal: row.ordinal.map(|ordinal| ordinal.to_string()),
            seal: row.seal.map(|seal| hex(&seal)),
        })
    }
}

/// Where the chain of the audit trail is broken.
#[derive(SimpleObject)]
struct AuditBreak {
    /// The first place that is not as it was sealed, from 1.
    ordinal: String,
    /// What is wrong there.
    why: String,
}

/// What was proven of the audit trail.
#[derive(SimpleObject)]
struct AuditVerification {
    /// Whether everything that was looked at is as it was sealed, and the anchor stands where it stood.
    intact: bool,
    /// Entries that are sealed.
    sealed: String,
    /// Of them, those that were looked at: the latest.
    proven: String,
    /// Of those, entries from which personal data was erased: their seals hold, their content is gone.
    erased: String,
    /// Entries that wait for their seal: those of the last seconds, and of whatever was under way then. Nothing proves them yet.
    unsealed: String,
    /// The instant of the latest sealed entry; null before the first.
    sealed_through: Option<Instant>,
    /// The end of the chain, as `ordinal:seal`. Kept elsewhere and given as `anchor` later, it proves that nobody wrote the
    /// whole chain anew; null before the first.
    head: Option<String>,
    /// The first broken place; null when there is none.
    broken: Option<AuditBreak>,
}

/// The audit trail.
#[derive(Default)]
pub struct AuditQuery;

#[Object]
impl AuditQuery {
    /// What happened in the company, latest first: every write with what it changed, every export, log-ins, refusals, rights,
    /// and what auditors read (piste d'audit).
    #[graphql(guard = "Permitted(\"Query.auditTrail\")")]
    async fn audit_trail(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which entries; all when absent.")] filter: Option<AuditFilter>,
        #[graphql(default_with = "AuditOrder::LatestFirst", desc = "Which way to read.")]
        order_by: AuditOrder,
        #[graphql(desc = "Entries per page, 20 when absent and at most 100.")] first: Option<i32>,
        #[graphql(desc = "Behind this cursor.")] after: Option<String>,
        #[graphql(desc = "The entries before `before`, instead of `first`.")] last: Option<i32>,
        #[graphql(desc = "Before this cursor.")] before: Option<String>,
    ) -> Result<Connection<AuditEntry>> {
        let window = Window {
            first,
            after,
            last,
            before,
        };
        let filter = filter.unwrap_or_default().read()?;
        let asked = Asked::new(&window, &format!("audit {order_by:?} {filter:?}"))?;
        let direction = match order_by {
            AuditOrder::LatestFirst => Direction::Descending,
            AuditOrder::OldestFirst => Direction::Ascending,
        };
        let session = session(ctx)?;
        let (keyset, wanted) = (asked.keyset.clone(), filter.clone());
        let (rows, more) = session
            .read(move |conn, caller| {
                Ok(store::audit::page(
                    conn,
                    caller.company,
                    &wanted,
                    direction,
                    &keyset,
                )?)
            })
            .await?;
        let cursors = rows
            .iter()
            .map(|row| asked.cursor(row.micros.to_string(), store::audit::number(row.seq)))
            .collect();
        let session = session.clone();
        Ok(Connection {
            cursors,
            nodes: rows
                .into_iter()
                .map(AuditEntry::of)
                .collect::<Result<_>>()?,
            ends: asked.ends(more),
            count: counted(move || {
                let (session, filter) = (session.clone(), filter.clone());
                async move {
                    session
                        .read(move |conn, caller| {
                            let from = store::audit::from(caller.company, &filter);
                            Ok(store::list::count(conn, &from)?)
                        })
                        .await
                }
            }),
        })
    }

    /// Recomputes the chain of the audit trail and names the first place that was touched. `encours check` proves all of it.
    #[graphql(guard = "Permitted(\"Query.verifyAuditTrail\")")]
    async fn verify_audit_trail(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "How many of the latest entries to prove, 1 to 100000; 100000 when absent."
        )]
        last: Option<i32>,
        #[graphql(
            desc = "A `head` that was kept from an earlier answer: it must still stand in the chain."
        )]
        anchor: Option<String>,
    ) -> Result<AuditVerification> {
        let most = last.map_or(service::audit::LATEST, i64::from);
        if !(1..=service::audit::LATEST).contains(&most) {
            return Err(Error::BadInput {
                field: "last",
                message: format!("1 to {} entries are proven at once", service::audit::LATEST),
            });
        }
        let anchor = anchor.as_deref().map(place).transpose()?;
        let (proof, at_anchor) = session(ctx)?
            .read(move |conn, caller| {
                let proof = service::audit::verify(conn, caller, most)?;
                let at_anchor = match &anchor {
                    Some((ordinal, seal)) => {
                        let found = store::audit::seal_at(conn, caller.company, *ordinal)?;
                        (found.map(|found| hex(&found)).as_ref() != Some(seal)).then_some(*ordinal)
                    }
                    None => None,
                };
                Ok((proof, at_anchor))
            })
            .await?;
        let broken = match (proof.broken_at, proof.broken_why, at_anchor) {
            (Some(ordinal), Some(why), _) => Some(AuditBreak {
                ordinal: ordinal.to_string(),
                why,
            }),
            (_, _, Some(ordinal)) => Some(AuditBreak {
                ordinal: ordinal.to_string(),
                why: "the chain does not hold the anchor: it was written anew, or the anchor is another company's".into(),
            }),
            _ => None,
        };
        Ok(AuditVerification {
            intact: broken.is_none(),
            sealed: proof.sealed.to_string(),
            proven: proof.proven.to_string(),
            erased: proof.erased.to_string(),
            unsealed: proof.unsealed.to_string(),
            sealed_through: proof.sealed_through.map(Into::into),
            head: proof
                .seal
                .map(|seal| format!("{}:{}", proof.sealed, hex(&seal))),
            broken,
        })
    }
}

/// Reads `ordinal:seal`.
fn place(anchor: &str) -> Result<(i64, String)> {
    let parts = anchor.split_once(':');
    let read = parts.and_then(|(ordinal, seal)| Some((ordinal.parse().ok()?, seal.to_owned())));
    read.ok_or_else(|| Error::BadInput {
        field: "anchor",
        message: "this is not a head of the audit trail: give `ordinal:seal` as `head` has it"
            .into(),
    })
}
