//! The audit trail: what the triggers of the database wrote down, and the events that are no writes.

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{
    BigInt, Bool, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::list::{self, Bind, Direction, Keyset, Sql, steady};
use crate::domain::access::Caller;
use crate::domain::audit::{ActorKind, Event, Origin};
use crate::domain::ids::{ClientId, CompanyId, Id};

/// Who acts, as the triggers are told.
pub struct Actor(Value);

/// A caller as who acts.
pub fn actor_of(caller: &Caller, origin: &Origin) -> Actor {
    let kind = ActorKind::of(caller);
    let role = match &caller.scopes {
        // The role beside scopes has no meaning.
        Some(_) => Value::Null,
        None => caller.role.code().into(),
    };
    actor(
        kind,
        &caller.author,
        caller.user.map(|user| user.0),
        role,
        origin,
    )
}

/// The statement that tells the triggers who acts, for the rest of the transaction.
pub fn stamp(caller: &Caller, origin: &Origin) -> String {
    stamped(&actor_of(caller, origin).0)
}

/// The same for records that are added together, each in somebody else's name.
pub fn stamp_each(actors: impl Iterator<Item = (Actor, impl Iterator<Item = Uuid>)>) -> String {
    let (mut authors, mut of) = (Vec::new(), serde_json::Map::new());
    for (place, (Actor(author), records)) in actors.enumerate() {
        authors.push(author);
        of.extend(records.map(|record| (record.to_string(), place.into())));
    }
    // No kind of actor: triggers that do not know of several authors refuse it.
    stamped(&json!({ "kind": "SEVERAL", "authors": authors, "of": of }))
}

/// The same for a person who is no caller yet: at a log-in.
pub fn stamp_person(email: &str, user: Uuid, origin: &Origin) -> String {
    let person = actor(ActorKind::Person, email, Some(user), Value::Null, origin);
    stamped(&person.0)
}

fn actor(
    kind: ActorKind,
    author: &str,
    person: Option<Uuid>,
    role: Value,
    origin: &Origin,
) -> Actor {
    // No text of the database has a null character.
    let clean = |text: &Option<String>| text.as_ref().map(|text| text.replace('\0', ""));
    Actor(json!({
        "kind": kind.code(), "actor": author.replace('\0', ""), "person": person, "role": role,
        "request": clean(&origin.request), "address": clean(&origin.address), "operation": clean(&origin.operation),
    }))
}

fn stamped(told: &Value) -> String {
    // A literal, as the wall is.
    let text = told.to_string().replace('\\', "\\\\").replace('\'', "''");
    format!("SET LOCAL encours.audit = E'{text}'")
}

/// Writes down an event that is no write: an export, a log-in.
pub fn event(
    conn: &mut PgConnection,
    company: CompanyId,
    event: Event,
    record: (&str, &str),
    client: Option<ClientId>,
    details: &Value,
) -> QueryResult<()> {
    diesel::sql_query("SELECT audit_event($1, $2, $3, $4, $5, $6)")
        .bind::<SqlUuid, _>(company)
        .bind::<Text, _>(event.code())
        .bind::<Text, _>(record.0)
        .bind::<Text, _>(record.1)
        .bind::<Nullable<SqlUuid>, _>(client)
        .bind::<Jsonb, _>(details)
        .execute(conn)
        .map(drop)
}

/// Writes down what a person did who is no caller yet, in a company of theirs. For a transaction without a company.
pub fn person_event(
    conn: &mut PgConnection,
    company: CompanyId,
    person: (Uuid, &str),
    origin: &Origin,
    what: Event,
    details: &Value,
) -> QueryResult<()> {
    let (id, email) = person;
    conn.batch_execute(&stamp_person(email, id, origin))?;
    event(
        conn,
        company,
        what,
        ("MEMBER", &id.to_string()),
        None,
        details,
    )
}

/// Whether such an event of a record was written down in the last minute: what strangers can cause is told once.
pub fn just_told(
    conn: &mut PgConnection,
    company: CompanyId,
    event: Event,
    record_id: &str,
) -> QueryResult<bool> {
    // Whoever is about to tell the same is waited for.
    steady(
        "SELECT pg_advisory_xact_lock(hashtextextended(?, 0))",
        [Bind::Text(format!("{} {record_id}", event.code()))],
    )
    .execute(conn)?;
    let mut sql = Sql::default();
    sql.push(
        "SELECT EXISTS (SELECT 1 FROM audit_entries e WHERE e.company_id = ? AND e.record_id = ? AND e.action = ? \
           AND e.at > now() - interval '1 minute') AS found",
        [
            Bind::Id(company.0),
            Bind::Text(record_id.to_owned()),
            Bind::Text(event.code().to_owned()),
        ],
    );
    list::found(conn, sql)
}

/// An entry of the trail.
#[derive(Clone, Debug, QueryableByName)]
pub struct Entry {
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    #[diesel(sql_type = Timestamptz)]
    pub at: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    pub micros: i64,
    #[diesel(sql_type = BigInt)]
    pub xid: i64,
    #[diesel(sql_type = Text)]
    pub action: String,
    #[diesel(sql_type = Text)]
    pub record_type: String,
    #[diesel(sql_type = Text)]
    pub record_id: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub client_id: Option<ClientId>,
    #[diesel(sql_type = Text)]
    pub actor_kind: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub actor_id: Option<Uuid>,
    #[diesel(sql_type = Text)]
    pub actor: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub role: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub operation: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub request_id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub address: Option<String>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    pub before: Option<Value>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    pub after: Option<Value>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    pub details: Option<Value>,
    #[diesel(sql_type = Bool)]
    pub erased: bool,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub ordinal: Option<i64>,
    #[diesel(sql_type = Nullable<diesel::sql_types::Binary>)]
    pub seal: Option<Vec<u8>>,
}

/// What a list of entries may be narrowed to.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub record_type: Option<String>,
    pub record_id: Option<String>,
    pub client: Option<ClientId>,
    /// As the author stands on records.
    pub actor: Option<String>,
    pub actor_id: Option<Uuid>,
    pub operation: Option<String>,
    pub actions: Vec<String>,
    pub from: Option<DateTime<Utc>>,
    /// Before this instant.
    pub to: Option<DateTime<Utc>>,
}

/// `FROM … WHERE …` of a filter.
pub fn from(company: CompanyId, filter: &Filter) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        "FROM audit_entries t WHERE t.company_id = ?",
        [Bind::Id(company.0)],
    );
    let texts = [
        ("t.record_id = ?", &filter.record_id),
        ("t.record_type = ?", &filter.record_type),
        ("t.actor = ?", &filter.actor),
        ("t.operation = ?", &filter.operation),
    ];
    for (condition, text) in texts {
        if let Some(text) = text {
            sql.and(condition, [Bind::Text(text.clone())]);
        }
    }
    if let Some(client) = filter.client {
        sql.and("t.client_id = ?", [Bind::Id(client.0)]);
    }
    if let Some(person) = filter.actor_id {
        sql.and("t.actor_id = ?", [Bind::Id(person)]);
    }
    if !filter.actions.is_empty() {
        sql.and("t.action = ANY(?)", [Bind::Texts(filter.actions.clone())]);
    }
    for (condition, instant) in [("t.at >= ?", filter.from), ("t.at < ?", filter.to)] {
        if instant.is_some() {
            sql.and(condition, [Bind::Instant(instant)]);
        }
    }
    sql
}

/// A page of entries, and whether more follow. The images of facts are made up from their rows.
pub fn page(
    conn: &mut PgConnection,
    company: CompanyId,
    filter: &Filter,
    direction: Direction,
    page: &Keyset,
) -> QueryResult<(Vec<Entry>, bool)> {
    let reading = page.reading(direction);
    let (beyond, order) = (reading.beyond(), reading.order());
    let mut sql = Sql::new(
        "SELECT p.seq, p.at, (extract(epoch FROM p.at) * 1000000)::bigint AS micros, p.xid::text::bigint AS xid, p.action, p.record_type, p.record_id, \
           p.client_id, p.actor_kind, p.actor_id, p.actor, p.role, p.operation, p.request_id, p.address, p.before, \
           CASE WHEN p.action = 'CREATED' AND p.after IS NULL AND p.erasure_id IS NULL \
             THEN audit_original(p.company_id, p.record_type, p.record_id) ELSE p.after END AS after, \
           p.details, (p.erasure_id IS NOT NULL) AS erased, s.ordinal, s.seal \
         FROM (SELECT t.* ",
    );
    sql.append(&from(company, filter));
    if let Some((micros, seq)) = &page.from {
        let (_, seq) = seq.as_u64_pair();
        sql.and(
            &format!("(t.at, t.seq) {beyond} (timestamptz 'epoch' + ?::text::bigint * interval '1 microsecond', ?)"),
            [Bind::Text(micros.clone()), Bind::Number(seq.cast_signed())],
        );
    }
    sql.push(
        &format!(" ORDER BY t.at {order}, t.seq {order} LIMIT ?) p LEFT JOIN audit_seals s ON s.company_id = ? AND s.xid = p.xid AND s.seq = p.seq ORDER BY p.at {order}, p.seq {order}"),
        [Bind::Number(page.limit()), Bind::Id(company.0)],
    );
    let rows: Vec<Entry> = sql.query().load(conn)?;
    Ok(page.page(rows))
}

/// Seals up to `most` entries of a company; how many there were.
pub fn seal(conn: &mut PgConnection, company: CompanyId, most: i32) -> QueryResult<i32> {
    #[derive(QueryableByName)]
    struct Sealed {
        #[diesel(sql_type = Integer)]
        sealed: i32,
    }
    let row: Sealed = diesel::sql_query("SELECT seal_audit_now($1, $2) AS sealed")
        .bind::<SqlUuid, _>(company)
        .bind::<Integer, _>(most)
        .get_result(conn)?;
    Ok(row.sealed)
}

/// Whether anything waits to be sealed: one probe of the index.
pub fn waits(conn: &mut PgConnection, company: CompanyId) -> QueryResult<bool> {
    let mut sql = Sql::default();
    sql.push(
        "SELECT EXISTS (SELECT 1 FROM audit_entries e WHERE e.company_id = ? AND e.xid < pg_snapshot_xmin(pg_current_snapshot()) \
           AND (e.xid, e.seq) > (coalesce((SELECT c.xid FROM audit_chains c WHERE c.company_id = ?), '0'), \
             coalesce((SELECT c.seq FROM audit_chains c WHERE c.company_id = ?), 0))) AS found",
        [
            Bind::Id(company.0),
            Bind::Id(company.0),
            Bind::Id(company.0),
        ],
    );
    list::found(conn, sql)
}

/// How much of a chain was proven, and where it is broken.
#[derive(Clone, Debug, QueryableByName)]
pub struct Proof {
    #[diesel(sql_type = BigInt)]
    pub sealed: i64,
    #[diesel(sql_type = BigInt)]
    pub proven: i64,
    #[diesel(sql_type = BigInt)]
    pub unsealed: i64,
    #[diesel(sql_type = BigInt)]
    pub erased: i64,
    #[diesel(sql_type = Nullable<diesel::sql_types::Binary>)]
    pub seal: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub sealed_through: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub broken_at: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    pub broken_why: Option<String>,
}

/// Recomputes the last `most` seals of a company's chain.
pub fn verify(conn: &mut PgConnection, company: CompanyId, most: i64) -> QueryResult<Proof> {
    diesel::sql_query("SELECT * FROM verify_audit($1, $2)")
        .bind::<SqlUuid, _>(company)
        .bind::<BigInt, _>(most)
        .get_result(conn)
}

/// The seal with a number, if there is one.
pub fn seal_at(
    conn: &mut PgConnection,
    company: CompanyId,
    ordinal: i64,
) -> QueryResult<Option<Vec<u8>>> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = diesel::sql_types::Binary)]
        seal: Vec<u8>,
    }
    let found: Option<Found> =
        diesel::sql_query("SELECT seal FROM audit_seals WHERE company_id = $1 AND ordinal = $2")
            .bind::<SqlUuid, _>(company)
            .bind::<BigInt, _>(ordinal)
            .get_result(conn)
            .optional()?;
    Ok(found.map(|found| found.seal))
}

/// Puts tables on the trail that are not yet there: for the owner's connection only.
pub fn include_all(conn: &mut PgConnection) -> QueryResult<()> {
    diesel::sql_query("SELECT audit_the_rest()")
        .execute(conn)
        .map(drop)
}

/// Makes a trail go on that a dump brought from another server. Whether it was one: for the owner's connection only.
pub fn rebase(conn: &mut PgConnection) -> QueryResult<bool> {
    list::found(conn, Sql::new("SELECT rebase_audit() AS found"))
}

/// The number of an entry as a page's cursor has it.
pub fn number(seq: i64) -> Uuid {
    Uuid::from_u64_pair(0, seq.cast_unsigned())
}

/// The key of a record's id.
pub fn raw(id: impl Id) -> String {
    id.uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_author_cannot_leave_the_statement() {
        let origin = Origin {
            request: Some("r'; DROP TABLE x; --".into()),
            address: Some("\\' \u{0} \n".into()),
            operation: None,
        };
        let text = stamp_person("o'neill\\@example.com", Uuid::nil(), &origin);
        let inner = text
            .strip_prefix("SET LOCAL encours.audit = E'")
            .and_then(|rest| rest.strip_suffix('\''))
            .expect("one literal");
        // Every quote is doubled, every backslash too: nothing ends the literal.
        assert_eq!(
            inner
                .replace("''", "")
                .replace("\\\\", "")
                .find(['\'', '\\']),
            None,
            "{inner}"
        );
        let told = inner.replace("''", "'").replace("\\\\", "\\");
        let told: Value = serde_json::from_str(&told).expect("JSON");
        assert_eq!(told["actor"], "o'neill\\@example.com");
        assert_eq!(told["request"], "r'; DROP TABLE x; --");
    }
}
