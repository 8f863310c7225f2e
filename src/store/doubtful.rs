//! Files of doubtful debts and losses, rectified invoices, and movements of provisions.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Uuid as SqlUuid};
use uuid::Uuid;

use super::list::{Bind, Sql};
use super::schema::{doubtful_files, provision_movements, rectified_invoices};
use crate::domain::ids::{
    ClientId, CompanyId, DocumentId, DoubtfulFileId, ItemId, OperationId, RectifiedInvoiceId,
};

/// A file: a claim that is proposed to be doubtful, or lost.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = doubtful_files)]
pub struct File {
    pub company_id: CompanyId,
    pub id: DoubtfulFileId,
    pub number: String,
    pub kind: String,
    pub client_id: ClientId,
    pub invoice_id: Option<DocumentId>,
    pub amount: Option<i64>,
    pub currency: String,
    pub vat_recovery: String,
    pub reason: String,
    pub evidence: serde_json::Value,
    pub happened_on: NaiveDate,
    pub recorded_by: String,
    pub status: String,
    pub decided_by: Option<String>,
    pub decision: Option<String>,
    pub decided_at: Option<DateTime<Utc>>,
}

/// Adds a file.
pub fn insert(conn: &mut PgConnection, row: &File) -> QueryResult<()> {
    diesel::insert_into(doubtful_files::table)
        .values(row)
        .execute(conn)
        .map(drop)
}

/// Files by id, in no order.
pub fn by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[DoubtfulFileId],
) -> QueryResult<Vec<File>> {
    doubtful_files::table
        .filter(
            doubtful_files::company_id
                .eq(company)
                .and(doubtful_files::id.eq_any(ids)),
        )
        .select(File::as_select())
        .load(conn)
}

/// A file by its number.
pub fn by_number(
    conn: &mut PgConnection,
    company: CompanyId,
    number: &str,
) -> QueryResult<Option<File>> {
    doubtful_files::table
        .filter(
            doubtful_files::company_id
                .eq(company)
                .and(doubtful_files::number.eq(number)),
        )
        .select(File::as_select())
        .first(conn)
        .optional()
}

/// Locks a file until the transaction ends.
pub fn for_update(
    conn: &mut PgConnection,
    company: CompanyId,
    id: DoubtfulFileId,
) -> QueryResult<Option<File>> {
    doubtful_files::table
        .find((company, id))
        .select(File::as_select())
        .for_no_key_update()
        .first(conn)
        .optional()
}

/// Writes a decision.
pub fn decide(conn: &mut PgConnection, file: &File) -> QueryResult<()> {
    diesel::update(doubtful_files::table.find((file.company_id, file.id)))
        .set((
            doubtful_files::status.eq(&file.status),
            doubtful_files::decided_by.eq(&file.decided_by),
            doubtful_files::decision.eq(&file.decision),
            doubtful_files::decided_at.eq(diesel::dsl::now),
        ))
        .execute(conn)
        .map(drop)
}

/// `FROM doubtful_files t WHERE …`, narrowed to states and kinds.
pub fn from(company: CompanyId, statuses: &[String], kinds: &[String]) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        "FROM doubtful_files t WHERE t.company_id = ?",
        [Bind::Id(company.0)],
    );
    if !statuses.is_empty() {
        sql.and("t.status = ANY(?)", [Bind::Texts(statuses.to_vec())]);
    }
    if !kinds.is_empty() {
        sql.and("t.kind = ANY(?)", [Bind::Texts(kinds.to_vec())]);
    }
    sql
}

/// A rectified invoice as issued.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = rectified_invoices)]
pub struct Rectified {
    pub company_id: CompanyId,
    pub id: RectifiedInvoiceId,
    pub number: String,
    pub operation_id: OperationId,
    pub client_id: ClientId,
    pub issued_on: NaiveDate,
    pub content: serde_json::Value,
    pub recorded_by: String,
}

/// Adds a rectified invoice.
pub fn insert_rectified(conn: &mut PgConnection, row: &Rectified) -> QueryResult<()> {
    diesel::insert_into(rectified_invoices::table)
        .values(row)
        .execute(conn)
        .map(drop)
}

/// The rectified invoices of these losses.
pub fn rectified_of(
    conn: &mut PgConnection,
    company: CompanyId,
    operations: &[OperationId],
) -> QueryResult<Vec<Rectified>> {
    rectified_invoices::table
        .filter(
            rectified_invoices::company_id
                .eq(company)
                .and(rectified_invoices::operation_id.eq_any(operations)),
        )
        .select(Rectified::as_select())
        .load(conn)
}

/// Rectified invoices by id, in no order.
pub fn rectified_by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[RectifiedInvoiceId],
) -> QueryResult<Vec<Rectified>> {
    rectified_invoices::table
        .filter(
            rectified_invoices::company_id
                .eq(company)
                .and(rectified_invoices::id.eq_any(ids)),
        )
        .select(Rectified::as_select())
        .load(conn)
}

/// `FROM rectified_invoices t WHERE …` of a period.
pub fn rectified_from(company: CompanyId, from: Option<NaiveDate>, to: Option<NaiveDate>) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        "FROM rectified_invoices t WHERE t.company_id = ?",
        [Bind::Id(company.0)],
    );
    if let Some(from) = from {
        sql.and("t.issued_on >= ?", [Bind::Day(from)]);
    }
    if let Some(to) = to {
        sql.and("t.issued_on <= ?", [Bind::Day(to)]);
    }
    sql
}

/// A movement of a client's provision, in the company's currency: positive when it grows.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = provision_movements)]
pub struct Movement {
    pub company_id: CompanyId,
    pub id: Uuid,
    pub client_id: ClientId,
    pub amount: i64,
    pub kind: String,
    pub source_id: Uuid,
    pub item_id: Option<ItemId>,
    pub posted_on: NaiveDate,
    pub recorded_by: String,
}

/// Adds movements.
pub fn insert_movements(conn: &mut PgConnection, rows: &[Movement]) -> QueryResult<()> {
    for chunk in rows.chunks(500) {
        diesel::insert_into(provision_movements::table)
            .values(chunk)
            .execute(conn)?;
    }
    Ok(())
}

/// The movements that a source made.
pub fn movements_of(
    conn: &mut PgConnection,
    company: CompanyId,
    source: Uuid,
) -> QueryResult<Vec<Movement>> {
    provision_movements::table
        .filter(
            provision_movements::company_id
                .eq(company)
                .and(provision_movements::source_id.eq(source)),
        )
        .order(provision_movements::id)
        .select(Movement::as_select())
        .load(conn)
}

/// `FROM provision_movements t WHERE …` of a client or of all, through a day, recorded by an instant.
pub fn movements_from(
    company: CompanyId,
    client: Option<ClientId>,
    as_of: Option<NaiveDate>,
    known_at: Option<DateTime<Utc>>,
) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        "FROM provision_movements t WHERE t.company_id = ? AND t.recorded_at <= coalesce(?, 'infinity'::timestamptz)",
        [Bind::Id(company.0), Bind::Instant(known_at)],
    );
    if let Some(client) = client {
        sql.and("t.client_id = ?", [Bind::Id(client.0)]);
    }
    if let Some(day) = as_of {
        sql.and("t.posted_on <= ?", [Bind::Day(day)]);
    }
    sql
}

/// Movements by id, in no order, and when each was recorded.
pub fn movements_by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[Uuid],
) -> QueryResult<Vec<Movement>> {
    provision_movements::table
        .filter(
            provision_movements::company_id
                .eq(company)
                .and(provision_movements::id.eq_any(ids)),
        )
        .select(Movement::as_select())
        .load(conn)
}

#[derive(QueryableByName)]
struct Amount {
    #[diesel(sql_type = BigInt)]
    amount: i64,
}

/// What account 491 holds for a client now.
pub fn provided_for(
    conn: &mut PgConnection,
    company: CompanyId,
    client: ClientId,
) -> QueryResult<i64> {
    diesel::sql_query(
        "SELECT coalesce(sum(amount), 0)::bigint AS amount FROM provision_movements WHERE company_id = $1 AND client_id = $2",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<SqlUuid, _>(client)
    .get_result::<Amount>(conn)
    .map(|row| row.amount)
}

/// The provision of an item in the last posted run that has a line for it; none when no run has.
pub fn provided_for_item(
    conn: &mut PgConnection,
    company: CompanyId,
    item: ItemId,
) -> QueryResult<Option<i64>> {
    let rows: Vec<Amount> = diesel::sql_query(
        "SELECT l.provision AS amount FROM provision_run_lines l JOIN provision_runs r ON r.company_id = l.company_id AND r.id = l.run_id \
         WHERE l.company_id = $1 AND l.item_id = $2 AND r.status = 'POSTED' ORDER BY r.posted_on DESC, r.id DESC LIMIT 1",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<SqlUuid, _>(item)
    .load(conn)?;
    Ok(rows.first().map(|row| row.amount))
}

/// Files that wait for a decision, oldest first.
pub fn proposed(conn: &mut PgConnection, company: CompanyId) -> QueryResult<Vec<DoubtfulFileId>> {
    doubtful_files::table
        .filter(
            doubtful_files::company_id
                .eq(company)
                .and(doubtful_files::status.eq("PROPOSED")),
        )
        .order(doubtful_files::id)
        .select(doubtful_files::id)
        .load(conn)
}
