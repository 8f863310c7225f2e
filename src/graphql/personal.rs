//! Personal data: the report of what is held, erasing it, and how long what is kept.

use async_graphql::{Context, ID, InputObject, Object, OneofObject, SimpleObject};

use super::client::code_enum;
use super::error::UserError;
use super::mutation::{Done, How, mutate};
use super::scalars::{ClientRef, Date, Instant, JsonObject, read};
use super::{Permitted, session};
use crate::domain::audit;
use crate::domain::ids::{ClientId, ContactId, ErasureId, Id, UserId};
use crate::domain::retention;
use crate::error::{Error, Result};
use crate::service::personal::{self, Subject};
use crate::store;

/// Erasures in one answer.
const LATEST: i32 = 100;

code_enum! {
    /// What happens to a class of records when its retention is over.
    RetentionEnd {
        /// It stays until the company archives or deletes the year by itself.
        Kept = "KEPT",
        /// The personal data in it is erased; the record stays.
        Erased = "ERASED",
        /// It is deleted.
        Deleted = "DELETED",
    }
}

code_enum! {
    /// Whose personal data was erased.
    ErasureSubject {
        /// A contact of a client.
        Contact = "CONTACT",
        /// A client who is a natural person.
        Client = "CLIENT",
        /// A person who left the company.
        Member = "MEMBER",
        /// Whatever had outlived its retention (setting `retention_purge`).
        Retention = "RETENTION",
    }
}

/// How long a class of records is kept (durée de conservation), and why.
#[derive(SimpleObject)]
struct RetentionRule {
    /// Its stable name.
    code: String,
    /// What is in it.
    what: String,
    /// How many months; 0 when it ends with the cause.
    months: i32,
    /// From when on.
    from: String,
    /// The law, the guidance or the interest behind it.
    ground: String,
    /// What happens then: by the server itself when the setting `retention_purge` is on.
    afterwards: RetentionEnd,
}

/// A place from which values were taken.
#[derive(SimpleObject, Clone)]
struct ErasedPlace {
    /// The table of the database, or its column.
    place: String,
    /// How many of its rows had some.
    rows: i32,
}

/// Records that an erasure leaves as they are.
#[derive(SimpleObject, Clone)]
struct KeptRecords {
    /// Which: `DOCUMENTS`, `PAYMENTS`, `ENTRIES`, `REMINDERS`, `MAILS`, `FILES`, `LEGAL_ARCHIVE`.
    class: String,
    /// How many.
    rows: i32,
    /// The last day that the latest of them is kept for.
    until: Date,
    /// Why: the law, or the claim that they prove.
    ground: String,
}

/// An erasure of personal data (effacement, RGPD art. 17): what was taken, and what had to stay until when and why.
#[derive(SimpleObject, Clone)]
struct Erasure {
    /// The opaque id.
    id: ID,
    /// Whose data.
    subject_type: ErasureSubject,
    /// Their id; null for retention.
    subject: Option<ID>,
    /// On whose demand, as it was given.
    reason: String,
    /// When.
    recorded_at: Instant,
    /// By whom.
    recorded_by: String,
    /// From where values were taken.
    erased: Vec<ErasedPlace>,
    /// What stays.
    kept: Vec<KeptRecords>,
}

impl Erasure {
    fn of(row: store::personal::Erasure) -> Result<Erasure> {
        let report = personal::report(&row.report).unwrap_or_default();
        let few = |rows: i64| i32::try_from(rows).unwrap_or(i32::MAX);
        Ok(Erasure {
            id: ID(row.id.show()),
            subject: row
                .subject_id
                .map(|id| ID(audit::shown(&row.subject_type, &id.to_string()))),
            subject_type: ErasureSubject::of(&row.subject_type)?,
            reason: row.reason,
            recorded_at: row.recorded_at.into(),
            recorded_by: row.recorded_by,
            erased: report
                .erased
                .into_iter()
                .map(|erased| ErasedPlace {
                    place: erased.place,
                    rows: few(erased.rows),
                })
                .collect(),
            kept: report
                .kept
                .into_iter()
                .map(|kept| KeptRecords {
                    class: kept.class,
                    rows: few(kept.rows),
                    until: kept.until.into(),
                    ground: kept.ground,
                })
                .collect(),
        })
    }
}

/// A person about whom it is asked: exactly one.
#[derive(OneofObject, Clone, Debug)]
enum PersonRef {
    /// A contact, present or removed (`ctc_…`).
    Contact(ID),
    /// A client (`cli_…`).
    Client(ID),
    /// A member, present or former (`usr_…`).
    Member(ID),
}

/// A contact to erase.
#[derive(InputObject, Clone, Debug)]
struct EraseContactInput {
    /// The contact, present or removed.
    contact: ID,
    /// On whose demand, 1 to 500 characters, without the person's name: it is kept.
    reason: String,
    /// Checks everything and erases nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// A client to erase.
#[derive(InputObject, Clone, Debug)]
struct EraseClientInput {
    /// The client: a natural person with nothing open.
    client: ClientRef,
    /// On whose demand, 1 to 500 characters, without the person's name: it is kept.
    reason: String,
    /// Says that the client is a natural person although the record does not look like one: a sole trader (entrepreneur individuel).
    #[graphql(default)]
    is_natural_person: bool,
    /// Checks everything and erases nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// A person who left, to erase.
#[derive(InputObject, Clone, Debug)]
struct EraseMemberInput {
    /// The former member, who is a member of no other company either.
    member: ID,
    /// On whose demand, 1 to 500 characters, without the person's name: it is kept.
    reason: String,
    /// Checks everything and erases nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// What became of an erasure.
#[derive(SimpleObject)]
struct ErasurePayload {
    /// The erasure; null when refused or only checked.
    erasure: Option<Erasure>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

async fn payload(ctx: &Context<'_>, done: Done<ErasureId>) -> Result<ErasurePayload> {
    let erasure = match done.made {
        Some(id) => session(ctx)?
            .read(move |conn, caller| Ok(store::personal::by_id(conn, caller.company, id)?))
            .await?
            .map(Erasure::of)
            .transpose()?,
        None => None,
    };
    Ok(ErasurePayload {
        erasure,
        user_errors: done.user_errors,
    })
}

fn only_checked(validate_only: bool) -> How {
    How {
        validate_only,
        ..How::default()
    }
}

/// Questions about personal data.
#[derive(Default)]
pub struct PersonalQuery;

#[Object]
impl PersonalQuery {
    /// How long each class of records is kept, and on what ground (durées de conservation).
    #[graphql(guard = "Permitted(\"Query.retentionRules\")")]
    async fn retention_rules(&self) -> Result<Vec<RetentionRule>> {
        retention::RULES
            .iter()
            .map(|rule| {
                Ok(RetentionRule {
                    code: rule.code.into(),
                    what: rule.what.into(),
                    months: i32::try_from(rule.months).unwrap_or(i32::MAX),
                    from: rule.from.into(),
                    ground: rule.ground.into(),
                    afterwards: RetentionEnd::of(rule.afterwards.code())?,
                })
            })
            .collect()
    }

    /// Everything that is held about a person, as one object (droit d'accès, RGPD art. 15): records, mails, reminders, notes,
    /// and what the audit trail says of them. Amounts are in minor units beside their currency. That it was asked for stands
    /// on the audit trail.
    #[graphql(guard = "Permitted(\"Query.personalData\")")]
    async fn personal_data(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The person.")] subject: PersonRef,
    ) -> Result<JsonObject> {
        let subject = match &subject {
            PersonRef::Contact(id) => {
                Subject::Contact(read::<ContactId>("subject.contact", "contact", id)?)
            }
            PersonRef::Client(id) => {
                Subject::Client(read::<ClientId>("subject.client", "client", id)?)
            }
            PersonRef::Member(id) => {
                Subject::Member(read::<UserId>("subject.member", "member", id)?)
            }
        };
        let held = session(ctx)?
            .doing("personalData")
            .write(move |conn, caller| personal::held(conn, caller, subject))
            .await?;
        Ok(JsonObject(held))
    }

    /// The latest erasures of personal data, latest first.
    #[graphql(guard = "Permitted(\"Query.erasures\")")]
    async fn erasures(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 20, desc = "How many, 1 to 100.")] first: i32,
    ) -> Result<Vec<Erasure>> {
        if !(1..=LATEST).contains(&first) {
            return Err(Error::BadInput {
                field: "first",
                message: format!("1 to {LATEST} erasures are answered, {first} were asked for"),
            });
        }
        let rows = session(ctx)?
            .read(move |conn, caller| {
                Ok(store::personal::latest(
                    conn,
                    caller.company,
                    i64::from(first),
                )?)
            })
            .await?;
        rows.into_iter().map(Erasure::of).collect()
    }
}

/// Deeds about personal data. They take no idempotency key: done again, they find nothing more to erase.
#[derive(Default)]
pub struct PersonalMutation;

#[Object]
impl PersonalMutation {
    /// Erases the personal data of a contact, present or removed: the record, free text about the client, mails that prove
    /// nothing, and the audit trail. Reminders keep their addressee as proof of the claim, until the day the answer says.
    #[graphql(guard = "Permitted(\"Mutation.eraseContact\")")]
    async fn erase_contact(
        &self,
        ctx: &Context<'_>,
        input: EraseContactInput,
    ) -> Result<ErasurePayload> {
        let done = mutate(
            ctx,
            only_checked(input.validate_only),
            move |conn, caller| {
                let contact = read::<ContactId>("contact", "contact", &input.contact)?;
                personal::erase_contact(conn, caller, contact, &input.reason)
            },
        )
        .await?;
        payload(ctx, done).await
    }

    /// Erases the personal data of a client who is a natural person, and closes the account. Documents, entries and receipts
    /// stay as they were issued for as long as the law wants; the FEC goes on naming the client from an archive.
    #[graphql(guard = "Permitted(\"Mutation.eraseClient\")")]
    async fn erase_client(
        &self,
        ctx: &Context<'_>,
        input: EraseClientInput,
    ) -> Result<ErasurePayload> {
        let done = mutate(
            ctx,
            only_checked(input.validate_only),
            move |conn, caller| {
                let target = input.client.clone().into();
                personal::erase_client(
                    conn,
                    caller,
                    &target,
                    input.is_natural_person,
                    &input.reason,
                )
            },
        )
        .await?;
        payload(ctx, done).await
    }

    /// Erases the account of a person who left every company, and name and addresses on the audit trail. The books keep
    /// who recorded what, until the day the answer says.
    #[graphql(guard = "Permitted(\"Mutation.eraseMember\")")]
    async fn erase_member(
        &self,
        ctx: &Context<'_>,
        input: EraseMemberInput,
    ) -> Result<ErasurePayload> {
        let done = mutate(
            ctx,
            only_checked(input.validate_only),
            move |conn, caller| {
                let member = read::<UserId>("member", "member", &input.member)?;
                personal::erase_member(conn, caller, member, &input.reason)
            },
        )
        .await?;
        payload(ctx, done).await
    }
}
