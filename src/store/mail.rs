//! Templates of letters, and the outbox.

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Uuid as SqlUuid};

use super::list::{Bind, Sql};
use super::schema::{letter_templates, outbox, outbox_files};
use crate::domain::ids::{ClientId, CompanyId, DunningActionId, FileId, LetterTemplateId, MailId};

/// A version of a template.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = letter_templates)]
pub struct TemplateRow {
    pub company_id: CompanyId,
    pub id: LetterTemplateId,
    pub kind: String,
    pub language: String,
    pub version: i32,
    pub subject: String,
    pub body: String,
    pub recorded_by: String,
}

/// Adds a version.
pub fn insert_template(conn: &mut PgConnection, row: &TemplateRow) -> QueryResult<()> {
    diesel::insert_into(letter_templates::table)
        .values(row)
        .execute(conn)
        .map(drop)
}

/// The latest version of each template of the company's own.
pub fn templates(conn: &mut PgConnection, company: CompanyId) -> QueryResult<Vec<TemplateRow>> {
    letter_templates::table
        .filter(letter_templates::company_id.eq(company))
        .distinct_on((letter_templates::kind, letter_templates::language))
        .order((
            letter_templates::kind,
            letter_templates::language,
            letter_templates::version.desc(),
        ))
        .select(TemplateRow::as_select())
        .load(conn)
}

/// The latest version of one.
pub fn template(
    conn: &mut PgConnection,
    company: CompanyId,
    kind: &str,
    language: &str,
) -> QueryResult<Option<TemplateRow>> {
    letter_templates::table
        .filter(letter_templates::company_id.eq(company))
        .filter(letter_templates::kind.eq(kind))
        .filter(letter_templates::language.eq(language))
        .order(letter_templates::version.desc())
        .select(TemplateRow::as_select())
        .first(conn)
        .optional()
}

/// A mail of the outbox.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = outbox)]
pub struct Mail {
    pub company_id: CompanyId,
    pub id: MailId,
    pub client_id: ClientId,
    pub action_id: Option<DunningActionId>,
    pub recipient: String,
    pub subject: String,
    pub body: String,
    #[diesel(skip_insertion)]
    pub recorded_at: DateTime<Utc>,
    pub recorded_by: String,
    pub status: String,
    pub attempts: i32,
    #[diesel(skip_insertion)]
    pub next_at: DateTime<Utc>,
    pub last_error: Option<String>,
    pub sent_at: Option<DateTime<Utc>>,
}

/// Queues a mail with its files.
pub fn queue(conn: &mut PgConnection, mail: &Mail, files: &[FileId]) -> QueryResult<()> {
    diesel::insert_into(outbox::table)
        .values(mail)
        .execute(conn)?;
    let rows: Vec<_> = files
        .iter()
        .map(|file| {
            (
                outbox_files::company_id.eq(mail.company_id),
                outbox_files::mail_id.eq(mail.id),
                outbox_files::file_id.eq(*file),
            )
        })
        .collect();
    diesel::insert_into(outbox_files::table)
        .values(rows)
        .execute(conn)
        .map(drop)
}

/// `FROM outbox t WHERE …`: of a client or of all, in one of these states.
pub fn from(company: CompanyId, client: Option<ClientId>, statuses: &[String]) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        "FROM outbox t WHERE t.company_id = ?",
        [Bind::Id(company.0)],
    );
    if let Some(client) = client {
        sql.and("t.client_id = ?", [Bind::Id(client.0)]);
    }
    if !statuses.is_empty() {
        sql.and("t.status = ANY(?)", [Bind::Texts(statuses.to_vec())]);
    }
    sql
}

/// Mails by id, in no order.
pub fn by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[MailId],
) -> QueryResult<Vec<Mail>> {
    outbox::table
        .filter(outbox::company_id.eq(company))
        .filter(outbox::id.eq_any(ids))
        .select(Mail::as_select())
        .load(conn)
}

/// The mails that carried reminders.
pub fn of_actions(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[DunningActionId],
) -> QueryResult<Vec<Mail>> {
    outbox::table
        .filter(outbox::company_id.eq(company))
        .filter(outbox::action_id.eq_any(ids))
        .order(outbox::id)
        .select(Mail::as_select())
        .load(conn)
}

/// The files of a mail.
pub fn files_of(
    conn: &mut PgConnection,
    company: CompanyId,
    mail: MailId,
) -> QueryResult<Vec<FileId>> {
    outbox_files::table
        .filter(outbox_files::company_id.eq(company))
        .filter(outbox_files::mail_id.eq(mail))
        .order(outbox_files::file_id)
        .select(outbox_files::file_id)
        .load(conn)
}

/// Takes mails that are due, for `lease` seconds: another worker does not see them meanwhile, and takes them
/// up again when this one dies.
pub fn claim(
    conn: &mut PgConnection,
    company: CompanyId,
    most: i64,
    lease: i64,
) -> QueryResult<Vec<MailId>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: MailId,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT o.id FROM outbox o WHERE o.company_id = $1 AND o.status = 'QUEUED' AND o.next_at <= now() \
         ORDER BY o.next_at, o.id LIMIT $2 FOR UPDATE SKIP LOCKED",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<BigInt, _>(most)
    .load(conn)?;
    let taken: Vec<MailId> = rows.into_iter().map(|row| row.id).collect();
    if !taken.is_empty() {
        diesel::sql_query(
            "UPDATE outbox o SET attempts = o.attempts + 1, next_at = now() + $3 * interval '1 second' \
             WHERE o.company_id = $1 AND o.id = ANY($2)",
        )
        .bind::<SqlUuid, _>(company)
        .bind::<Array<SqlUuid>, _>(&taken)
        .bind::<BigInt, _>(lease)
        .execute(conn)?;
    }
    Ok(taken)
}

/// What became of a mail that is queued: another state, or another try after `wait` seconds.
pub fn settle(
    conn: &mut PgConnection,
    company: CompanyId,
    id: MailId,
    status: &str,
    error: Option<&str>,
    wait: i64,
) -> QueryResult<bool> {
    let sent = match status {
        "SENT" => "now()",
        _ => "sent_at",
    };
    diesel::sql_query(format!(
        "UPDATE outbox SET status = $3, last_error = $4, next_at = now() + $5 * interval '1 second', sent_at = {sent} \
         WHERE company_id = $1 AND id = $2 AND status = 'QUEUED'"
    ))
    .bind::<SqlUuid, _>(company)
    .bind::<SqlUuid, _>(id)
    .bind::<diesel::sql_types::Text, _>(status)
    .bind::<diesel::sql_types::Nullable<diesel::sql_types::Text>, _>(error)
    .bind::<BigInt, _>(wait)
    .execute(conn)
    .map(|rows| rows == 1)
}

/// Moves mails from one of the states to another; how many there were.
pub fn turn(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[MailId],
    from: &[&str],
    to: &str,
    error: Option<&str>,
) -> QueryResult<usize> {
    diesel::sql_query(
        "UPDATE outbox SET status = $4, last_error = coalesce($5, last_error), next_at = now(), \
           attempts = CASE WHEN $4 = 'QUEUED' THEN 0 ELSE attempts END \
         WHERE company_id = $1 AND id = ANY($2) AND status = ANY($3)",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Array<diesel::sql_types::Text>, _>(from)
    .bind::<diesel::sql_types::Text, _>(to)
    .bind::<diesel::sql_types::Nullable<diesel::sql_types::Text>, _>(error)
    .execute(conn)
}
