//! Personal data: what is held about whom, and how it is erased. The erasing itself is done by functions of the database,
//! which may change what the serving role may not; each refuses another company than the caller's.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Date, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde_json::Value;
use uuid::Uuid;

use super::list::{self, Bind, Sql};
use super::payment::with_client;
use crate::domain::ids::{ClientId, CompanyId, ContactId, ErasureId, UserId};

/// A table from which values were taken, and how many of its rows had some.
#[derive(Clone, Debug, QueryableByName)]
pub struct Place {
    #[diesel(sql_type = Text)]
    pub place: String,
    #[diesel(sql_type = BigInt)]
    pub n: i64,
}

/// An erasure as recorded.
#[derive(Clone, Debug, QueryableByName)]
pub struct Erasure {
    #[diesel(sql_type = SqlUuid)]
    pub id: ErasureId,
    #[diesel(sql_type = Text)]
    pub subject_type: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub subject_id: Option<Uuid>,
    #[diesel(sql_type = Text)]
    pub reason: String,
    #[diesel(sql_type = Jsonb)]
    pub report: Value,
    #[diesel(sql_type = Timestamptz)]
    pub recorded_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    pub recorded_by: String,
}

/// Records an erasure, before anything is erased under it.
pub fn insert(
    conn: &mut PgConnection,
    company: CompanyId,
    id: ErasureId,
    subject: (&str, Option<Uuid>),
    reason: &str,
    author: &str,
) -> QueryResult<()> {
    diesel::sql_query(
        "INSERT INTO erasures (company_id, id, subject_type, subject_id, reason, recorded_by) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<SqlUuid, _>(id)
    .bind::<Text, _>(subject.0)
    .bind::<Nullable<SqlUuid>, _>(subject.1)
    .bind::<Text, _>(reason)
    .bind::<Text, _>(author)
    .execute(conn)
    .map(drop)
}

/// Keeps what an erasure found.
pub fn report(
    conn: &mut PgConnection,
    company: CompanyId,
    id: ErasureId,
    report: &Value,
) -> QueryResult<()> {
    diesel::sql_query("UPDATE erasures SET report = $3 WHERE company_id = $1 AND id = $2")
        .bind::<SqlUuid, _>(company)
        .bind::<SqlUuid, _>(id)
        .bind::<Jsonb, _>(report)
        .execute(conn)
        .map(drop)
}

const ERASURE: &str = "SELECT id, subject_type, subject_id, reason, report, recorded_at, recorded_by FROM erasures WHERE company_id = $1";

/// An erasure by id.
pub fn by_id(
    conn: &mut PgConnection,
    company: CompanyId,
    id: ErasureId,
) -> QueryResult<Option<Erasure>> {
    diesel::sql_query(format!("{ERASURE} AND id = $2"))
        .bind::<SqlUuid, _>(company)
        .bind::<SqlUuid, _>(id)
        .get_result(conn)
        .optional()
}

/// The latest erasures, latest first.
pub fn latest(conn: &mut PgConnection, company: CompanyId, most: i64) -> QueryResult<Vec<Erasure>> {
    diesel::sql_query(format!("{ERASURE} ORDER BY id DESC LIMIT $2"))
        .bind::<SqlUuid, _>(company)
        .bind::<BigInt, _>(most)
        .load(conn)
}

/// Whether what is past its retention was erased on a day already.
pub fn purged_on(conn: &mut PgConnection, company: CompanyId, day: NaiveDate) -> QueryResult<bool> {
    let mut sql = Sql::default();
    sql.push(
        "SELECT EXISTS (SELECT 1 FROM erasures WHERE company_id = ? AND subject_type = 'RETENTION' \
           AND (recorded_at AT TIME ZONE 'Europe/Paris')::date >= ?) AS found",
        [Bind::Id(company.0), Bind::Day(day)],
    );
    list::found(conn, sql)
}

/// Erases a contact. Nothing is answered for one that does not exist.
pub fn erase_contact(
    conn: &mut PgConnection,
    company: CompanyId,
    contact: ContactId,
    erasure: ErasureId,
) -> QueryResult<Vec<Place>> {
    diesel::sql_query("SELECT place, n FROM erase_contact($1, $2, $3)")
        .bind::<SqlUuid, _>(company)
        .bind::<SqlUuid, _>(contact)
        .bind::<SqlUuid, _>(erasure)
        .load(conn)
}

/// Erases a client who is a natural person, closing the account on a day when it is open. The identity is kept for the
/// books until `kept_until`, when there are entries.
pub fn erase_client(
    conn: &mut PgConnection,
    company: CompanyId,
    client: ClientId,
    erasure: ErasureId,
    closing: NaiveDate,
    kept_until: Option<NaiveDate>,
) -> QueryResult<Vec<Place>> {
    diesel::sql_query("SELECT place, n FROM erase_client($1, $2, $3, $4, $5)")
        .bind::<SqlUuid, _>(company)
        .bind::<SqlUuid, _>(client)
        .bind::<SqlUuid, _>(erasure)
        .bind::<Date, _>(closing)
        .bind::<Nullable<Date>, _>(kept_until)
        .load(conn)
}

/// Erases a person who has left every company. Violates `erased_member_left` for others.
pub fn erase_member(
    conn: &mut PgConnection,
    company: CompanyId,
    user: UserId,
    erasure: ErasureId,
) -> QueryResult<Vec<Place>> {
    diesel::sql_query("SELECT place, n FROM erase_member($1, $2, $3)")
        .bind::<SqlUuid, _>(company)
        .bind::<SqlUuid, _>(user)
        .bind::<SqlUuid, _>(erasure)
        .load(conn)
}

/// The days before which each class of records has outlived its retention.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub today: NaiveDate,
    pub answers: NaiveDate,
    pub addresses: NaiveDate,
    pub reminders: NaiveDate,
    pub trail: NaiveDate,
    pub prospects: NaiveDate,
}

/// Erases what has outlived its retention.
pub fn purge(
    conn: &mut PgConnection,
    company: CompanyId,
    erasure: ErasureId,
    limits: Limits,
) -> QueryResult<Vec<Place>> {
    diesel::sql_query("SELECT place, n FROM purge_personal_data($1, $2, $3, $4, $5, $6, $7, $8)")
        .bind::<SqlUuid, _>(company)
        .bind::<SqlUuid, _>(erasure)
        .bind::<Date, _>(limits.today)
        .bind::<Date, _>(limits.answers)
        .bind::<Date, _>(limits.addresses)
        .bind::<Date, _>(limits.reminders)
        .bind::<Date, _>(limits.trail)
        .bind::<Date, _>(limits.prospects)
        .load(conn)
}

/// Records of a client that an erasure leaves: how many, and the day of the last.
#[derive(Clone, Debug, QueryableByName)]
pub struct Left {
    #[diesel(sql_type = Text)]
    pub class: String,
    #[diesel(sql_type = BigInt)]
    pub n: i64,
    #[diesel(sql_type = Nullable<Date>)]
    pub last_on: Option<NaiveDate>,
}

/// What the law or a claim keeps about a client.
pub fn left_of_client(
    conn: &mut PgConnection,
    company: CompanyId,
    client: ClientId,
) -> QueryResult<Vec<Left>> {
    diesel::sql_query(concat!(
        "SELECT 'ENTRIES' AS class, count(*) AS n, max(posted_on) AS last_on FROM journal_lines WHERE company_id = $1 AND client_id = $2 \
         UNION ALL SELECT 'DOCUMENTS', count(*), max(issued_on) FROM documents WHERE company_id = $1 AND client_id = $2 \
         UNION ALL SELECT 'PAYMENTS', count(*), max(received_on) FROM ",
        with_client!(),
        " p WHERE company_id = $1 AND whose = $2 \
         UNION ALL SELECT 'REMINDERS', count(*), max(done_on) FROM dunning_actions WHERE company_id = $1 AND client_id = $2 \
         UNION ALL SELECT 'MAILS', count(*), max(recorded_at)::date FROM outbox WHERE company_id = $1 AND client_id = $2 AND action_id IS NOT NULL \
         UNION ALL SELECT 'FILES', count(*), max(recorded_at)::date FROM files WHERE company_id = $1 AND client_id = $2",
    ))
    .bind::<SqlUuid, _>(company)
    .bind::<SqlUuid, _>(client)
    .load(conn)
}

/// What a claim keeps about a contact: reminders and mails that were sent to them, and the files of these. Of one whose
/// values are gone already, whatever went to the client: it may name them.
pub fn left_of_contact(
    conn: &mut PgConnection,
    company: CompanyId,
    contact: ContactId,
) -> QueryResult<Vec<Left>> {
    diesel::sql_query(
        "WITH them AS (SELECT c.client_id, c.email, values_pattern(ARRAY[c.name, c.email, c.phone]) AS pattern \
             FROM client_contacts c WHERE c.company_id = $1 AND c.id = $2), \
           reminders AS (SELECT a.id, a.done_on FROM dunning_actions a JOIN them t ON t.client_id = a.client_id \
             WHERE a.company_id = $1 AND (t.pattern IS NULL OR a.recipient ~* t.pattern)), \
           mails AS (SELECT m.id, m.recorded_at FROM outbox m JOIN them t ON t.client_id = m.client_id \
             WHERE m.company_id = $1 AND m.action_id IS NOT NULL AND (t.pattern IS NULL OR m.recipient = t.email)) \
         SELECT 'REMINDERS' AS class, count(*) AS n, max(done_on) AS last_on FROM reminders \
         UNION ALL SELECT 'MAILS', count(*), max(recorded_at)::date FROM mails \
         UNION ALL SELECT 'FILES', count(*), max(f.recorded_at)::date FROM files f JOIN them t ON t.client_id = f.client_id \
           WHERE f.company_id = $1 AND (t.pattern IS NULL OR f.subject_id IN (SELECT r.id FROM reminders r) \
             OR f.id IN (SELECT o.file_id FROM outbox_files o JOIN mails m ON m.id = o.mail_id WHERE o.company_id = $1))",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<SqlUuid, _>(contact)
    .load(conn)
}

/// Entries that a person stands on as their author, and the day of the last.
pub fn left_of_author(
    conn: &mut PgConnection,
    company: CompanyId,
    author: &str,
) -> QueryResult<Left> {
    diesel::sql_query(
        "SELECT 'ENTRIES' AS class, count(*) AS n, max(posted_on) AS last_on FROM journal_entries WHERE company_id = $1 AND recorded_by = $2",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<Text, _>(author)
    .get_result(conn)
}

/// What is open of a client, in rows: nothing is erased while something is.
pub fn open_items(
    conn: &mut PgConnection,
    company: CompanyId,
    client: ClientId,
) -> QueryResult<i64> {
    count(
        conn,
        "SELECT count(*) AS n FROM items WHERE company_id = $1 AND client_id = $2 AND open_amount > 0",
        company,
        client.0,
    )
}

/// Whether a person is, or was, a member of the company.
pub fn was_member(conn: &mut PgConnection, company: CompanyId, user: UserId) -> QueryResult<bool> {
    let sql = "SELECT count(*) AS n FROM memberships WHERE company_id = $1 AND user_id = $2";
    Ok(count(conn, sql, company, user.0)? > 0)
}

fn count(conn: &mut PgConnection, sql: &str, company: CompanyId, id: Uuid) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        n: i64,
    }
    let row: Count = diesel::sql_query(sql)
        .bind::<SqlUuid, _>(company)
        .bind::<SqlUuid, _>(id)
        .get_result(conn)?;
    Ok(row.n)
}

/// Everything that is held about a contact, as one object; none when there is no such contact.
pub fn of_contact(
    conn: &mut PgConnection,
    company: CompanyId,
    contact: ContactId,
) -> QueryResult<Option<Value>> {
    held(
        conn,
        "SELECT jsonb_build_object('contact', to_jsonb(c) - 'company_id', \
           'client', (SELECT jsonb_build_object('number', k.number, 'name', k.name) FROM clients k WHERE k.company_id = $1 AND k.id = c.client_id), \
           'mails', (SELECT coalesce(jsonb_agg(jsonb_build_object('recipient', m.recipient, 'subject', m.subject, 'status', m.status, 'recordedAt', m.recorded_at, 'sentAt', m.sent_at) ORDER BY m.id), '[]') \
             FROM outbox m WHERE m.company_id = $1 AND m.client_id = c.client_id AND m.recipient = c.email), \
           'reminders', (SELECT coalesce(jsonb_agg(jsonb_build_object('level', a.level, 'channel', a.channel, 'doneOn', a.done_on, 'recipient', a.recipient) ORDER BY a.id), '[]') \
             FROM dunning_actions a WHERE a.company_id = $1 AND a.client_id = c.client_id AND a.recipient ~* p.pattern), \
           'notes', (SELECT coalesce(jsonb_agg(jsonb_build_object('kind', n.kind, 'doneOn', n.done_on, 'spokeTo', n.spoke_to, 'note', n.note) ORDER BY n.id), '[]') \
             FROM collection_notes n WHERE n.company_id = $1 AND n.client_id = c.client_id AND concat_ws(' ', n.spoke_to, n.note) ~* p.pattern), \
           'tasks', (SELECT coalesce(jsonb_agg(jsonb_build_object('subject', t.subject, 'dueOn', t.due_on) ORDER BY t.id), '[]') \
             FROM tasks t WHERE t.company_id = $1 AND t.client_id = c.client_id AND t.subject ~* p.pattern), \
           'trail', (SELECT coalesce(jsonb_agg(jsonb_build_object('at', e.at, 'action', e.action, 'by', e.actor, 'before', e.before, 'after', e.after) ORDER BY e.at, e.seq), '[]') \
             FROM audit_entries e WHERE e.company_id = $1 AND e.record_id = c.id::text AND e.record_type = 'CONTACT')) AS held \
         FROM client_contacts c CROSS JOIN LATERAL (SELECT coalesce(values_pattern(ARRAY[c.name, c.email, c.phone]), '(?!)') AS pattern) p \
         WHERE c.company_id = $1 AND c.id = $2",
        company,
        contact.0,
    )
}

/// Everything that is held about a client, as one object; none when there is no such client.
pub fn of_client(
    conn: &mut PgConnection,
    company: CompanyId,
    client: ClientId,
) -> QueryResult<Option<Value>> {
    held(
        conn,
        concat!(
            "SELECT jsonb_build_object('client', to_jsonb(c) - 'company_id' - 'name_key', \
           'archive', (SELECT to_jsonb(a) - 'company_id' FROM legal_archive a WHERE a.company_id = $1 AND a.client_id = c.id), \
           'contacts', (SELECT coalesce(jsonb_agg(to_jsonb(k) - 'company_id' - 'client_id' ORDER BY k.id), '[]') FROM client_contacts k WHERE k.company_id = $1 AND k.client_id = c.id), \
           'documents', (SELECT coalesce(jsonb_agg(jsonb_build_object('kind', d.kind, 'number', d.number, 'issuedOn', d.issued_on, 'currency', d.currency, 'total', d.total, 'parties', d.snapshot) ORDER BY d.id), '[]') \
             FROM documents d WHERE d.company_id = $1 AND d.client_id = c.id), \
           'payments', (SELECT coalesce(jsonb_agg(jsonb_build_object('number', x.number, 'receivedOn', x.received_on, 'method', x.method, 'currency', x.currency, 'amount', x.amount, 'payer', x.payer, 'remittance', x.remittance) ORDER BY x.id), '[]') \
             FROM ",
            with_client!(),
            " x WHERE x.company_id = $1 AND x.whose = c.id), \
           'payerAccounts', (SELECT coalesce(jsonb_agg(jsonb_build_object('iban', x.iban, 'recordedAt', x.recorded_at, 'removedAt', x.removed_at) ORDER BY x.iban), '[]') \
             FROM payer_accounts x WHERE x.company_id = $1 AND x.client_id = c.id), \
           'disputes', (SELECT coalesce(jsonb_agg(jsonb_build_object('number', x.number, 'reason', x.reason, 'description', x.description, 'status', x.status, 'openedOn', x.opened_on) ORDER BY x.id), '[]') \
             FROM disputes x WHERE x.company_id = $1 AND x.client_id = c.id), \
           'mails', (SELECT coalesce(jsonb_agg(jsonb_build_object('recipient', m.recipient, 'subject', m.subject, 'status', m.status, 'sentAt', m.sent_at) ORDER BY m.id), '[]') \
             FROM outbox m WHERE m.company_id = $1 AND m.client_id = c.id), \
           'reminders', (SELECT coalesce(jsonb_agg(jsonb_build_object('level', a.level, 'channel', a.channel, 'doneOn', a.done_on, 'recipient', a.recipient) ORDER BY a.id), '[]') \
             FROM dunning_actions a WHERE a.company_id = $1 AND a.client_id = c.id), \
           'notes', (SELECT coalesce(jsonb_agg(jsonb_build_object('kind', n.kind, 'doneOn', n.done_on, 'spokeTo', n.spoke_to, 'note', n.note) ORDER BY n.id), '[]') \
             FROM collection_notes n WHERE n.company_id = $1 AND n.client_id = c.id), \
           'promises', (SELECT coalesce(jsonb_agg(jsonb_build_object('promisedOn', x.promised_on, 'dueOn', x.due_on, 'currency', x.currency, 'amount', x.amount, 'note', x.note) ORDER BY x.id), '[]') \
             FROM promises x WHERE x.company_id = $1 AND x.client_id = c.id), \
           'litigation', (SELECT coalesce(jsonb_agg(jsonb_build_object('number', x.number, 'stage', x.stage, 'openedOn', x.opened_on) ORDER BY x.id), '[]') \
             FROM litigation_cases x WHERE x.company_id = $1 AND x.client_id = c.id), \
           'files', (SELECT coalesce(jsonb_agg(jsonb_build_object('kind', x.kind, 'name', x.name, 'recordedAt', x.recorded_at) ORDER BY x.id), '[]') \
             FROM files x WHERE x.company_id = $1 AND x.client_id = c.id), \
           'trail', (SELECT coalesce(jsonb_agg(jsonb_build_object('at', e.at, 'action', e.action, 'by', e.actor, 'before', e.before, 'after', e.after) ORDER BY e.at, e.seq), '[]') \
             FROM audit_entries e WHERE e.company_id = $1 AND e.record_id = c.id::text AND e.record_type = 'CLIENT')) AS held \
         FROM clients c WHERE c.company_id = $1 AND c.id = $2"
        ),
        company,
        client.0,
    )
}

/// Everything that is held about a member, or a former one, as one object; none when there never was such a member.
pub fn of_member(
    conn: &mut PgConnection,
    company: CompanyId,
    user: UserId,
) -> QueryResult<Option<Value>> {
    held(
        conn,
        "SELECT jsonb_build_object('person', jsonb_build_object('email', u.email, 'name', u.name, 'createdAt', u.created_at, 'disabledAt', u.disabled_at), \
           'membership', jsonb_build_object('role', m.role, 'createdAt', m.created_at, 'endedAt', m.ended_at), \
           'sessions', (SELECT coalesce(jsonb_agg(jsonb_build_object('startedAt', s.started_at, 'expiresAt', s.expires_at, 'revokedAt', s.revoked_at) ORDER BY s.started_at), '[]') \
             FROM sessions s WHERE s.company_id = $1 AND s.user_id = u.id), \
           'invitations', (SELECT coalesce(jsonb_agg(jsonb_build_object('email', i.email, 'role', i.role, 'invitedAt', i.invited_at, 'acceptedAt', i.accepted_at) ORDER BY i.invited_at), '[]') \
             FROM invitations i WHERE i.company_id = $1 AND i.email = u.email), \
           'portfolio', (SELECT count(*) FROM clients c WHERE c.company_id = $1 AND u.id IN (c.sales_owner_id, c.collector_id)), \
           'entriesRecorded', (SELECT count(*) FROM journal_entries e WHERE e.company_id = $1 AND e.recorded_by = u.email), \
           'trail', (SELECT jsonb_build_object('entries', count(*), 'first', min(e.at), 'last', max(e.at), 'addresses', coalesce(jsonb_agg(DISTINCT e.address) FILTER (WHERE e.address IS NOT NULL), '[]')) \
             FROM audit_entries e WHERE e.company_id = $1 AND e.actor = u.email)) AS held \
         FROM users u JOIN memberships m ON m.user_id = u.id AND m.company_id = $1 WHERE u.id = $2",
        company,
        user.0,
    )
}

fn held(
    conn: &mut PgConnection,
    sql: &str,
    company: CompanyId,
    id: Uuid,
) -> QueryResult<Option<Value>> {
    #[derive(QueryableByName)]
    struct Held {
        #[diesel(sql_type = Jsonb)]
        held: Value,
    }
    let found: Option<Held> = diesel::sql_query(sql)
        .bind::<SqlUuid, _>(company)
        .bind::<SqlUuid, _>(id)
        .get_result(conn)
        .optional()?;
    Ok(found.map(|found| found.held))
}
