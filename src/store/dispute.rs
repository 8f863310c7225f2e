//! Disputes and customer deductions.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bpchar, Date, Nullable, Numeric, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::keys::{self, keyed};
use super::list::{Bind, Sql, steady};
use super::schema::{deductions, dispute_events, dispute_items, disputes};
use crate::domain::ids::{ClientId, CompanyId, DeductionId, DisputeId, DocumentId, ItemId, UserId};

keyed!(Dispute => "disputes", Deduction => "deductions");

/// A dispute. `amount` is positive minor units, gross.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = disputes)]
pub struct Dispute {
    pub company_id: CompanyId,
    pub id: DisputeId,
    pub number: String,
    pub client_id: ClientId,
    pub invoice_id: DocumentId,
    pub deduction_id: Option<DeductionId>,
    pub kind: String,
    pub reason: String,
    pub amount: i64,
    pub currency: String,
    pub description: String,
    pub blocks_dunning: bool,
    pub owner_id: Option<UserId>,
    pub department: String,
    pub opened_on: NaiveDate,
    pub respond_by: NaiveDate,
    pub recorded_by: String,
    pub status: String,
    pub outcome: Option<String>,
    pub decided_by: Option<String>,
    pub accepted_amount: Option<i64>,
    pub credit_note_id: Option<DocumentId>,
    pub closed_on: Option<NaiveDate>,
    /// The dispute that this one takes up again (8.2).
    pub reopens_id: Option<DisputeId>,
}

/// The part of an item that a dispute covers.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = dispute_items)]
pub struct DisputedItem {
    pub company_id: CompanyId,
    pub dispute_id: DisputeId,
    pub item_id: ItemId,
    pub amount: i64,
}

/// A change of state of a dispute, or a note on it.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = dispute_events)]
pub struct Event {
    pub id: Uuid,
    pub dispute_id: DisputeId,
    pub kind: String,
    pub status: Option<String>,
    pub note: String,
    pub happened_on: NaiveDate,
    pub recorded_at: DateTime<Utc>,
    pub recorded_by: String,
}

/// A customer's deduction (déduction litige). `amount` is positive minor units, gross.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = deductions)]
pub struct Deduction {
    pub company_id: CompanyId,
    pub id: DeductionId,
    pub number: String,
    pub client_id: ClientId,
    pub invoice_id: DocumentId,
    pub amount: i64,
    pub currency: String,
    pub reason: String,
    pub description: String,
    pub recorded_on: NaiveDate,
    pub recorded_by: String,
    pub status: String,
}

/// What a list of disputes or deductions may be narrowed to.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub client: Option<ClientId>,
    pub reasons: Vec<String>,
    pub statuses: Vec<String>,
    /// For disputes: only the unsettled ones, or only the others.
    pub open: Option<bool>,
    pub owner: Option<UserId>,
    /// For disputes: unsettled with a deadline before this day.
    pub overdue_on: Option<NaiveDate>,
    pub from: Option<NaiveDate>,
    pub to: Option<NaiveDate>,
}

/// `FROM disputes t WHERE …` of a filter.
pub fn from(company: CompanyId, filter: &Filter) -> Sql {
    let mut sql = common("disputes", "opened_on", company, filter);
    if let Some(open) = filter.open {
        sql.and("(t.closed_on IS NULL) = ?", [Bind::Flag(open)]);
    }
    if let Some(owner) = filter.owner {
        sql.and("t.owner_id = ?", [Bind::Id(owner.0)]);
    }
    if let Some(today) = filter.overdue_on {
        sql.and(
            "t.closed_on IS NULL AND t.respond_by < ?",
            [Bind::Day(today)],
        );
    }
    sql
}

/// `FROM deductions t WHERE …` of a filter.
pub fn from_deductions(company: CompanyId, filter: &Filter) -> Sql {
    common("deductions", "recorded_on", company, filter)
}

fn common(table: &str, day: &str, company: CompanyId, filter: &Filter) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        &format!("FROM {table} t WHERE t.company_id = ?"),
        [Bind::Id(company.0)],
    );
    if let Some(client) = filter.client {
        sql.and("t.client_id = ?", [Bind::Id(client.0)]);
    }
    if !filter.reasons.is_empty() {
        sql.and("t.reason = ANY(?)", [Bind::Texts(filter.reasons.clone())]);
    }
    if !filter.statuses.is_empty() {
        sql.and("t.status = ANY(?)", [Bind::Texts(filter.statuses.clone())]);
    }
    if let Some(from) = filter.from {
        sql.and(&format!("t.{day} >= ?"), [Bind::Day(from)]);
    }
    if let Some(to) = filter.to {
        sql.and(&format!("t.{day} <= ?"), [Bind::Day(to)]);
    }
    sql
}

/// Disputes by id, in no order.
pub fn by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[DisputeId],
) -> QueryResult<Vec<Dispute>> {
    keys::by_ids(conn, company, ids)
}

/// A dispute by id.
pub fn by_id(
    conn: &mut PgConnection,
    company: CompanyId,
    id: DisputeId,
) -> QueryResult<Option<Dispute>> {
    disputes::table
        .find((company, id))
        .select(Dispute::as_select())
        .first(conn)
        .optional()
}

/// A dispute by number.
pub fn by_number(
    conn: &mut PgConnection,
    company: CompanyId,
    number: &str,
) -> QueryResult<Option<Dispute>> {
    disputes::table
        .filter(
            disputes::company_id
                .eq(company)
                .and(disputes::number.eq(number)),
        )
        .select(Dispute::as_select())
        .first(conn)
        .optional()
}

/// Locks a dispute until the transaction ends.
pub fn for_update(
    conn: &mut PgConnection,
    company: CompanyId,
    id: DisputeId,
) -> QueryResult<Option<Dispute>> {
    disputes::table
        .find((company, id))
        .select(Dispute::as_select())
        .for_no_key_update()
        .first(conn)
        .optional()
}

/// Adds a dispute with the items it covers.
pub fn insert(
    conn: &mut PgConnection,
    dispute: &Dispute,
    items: &[DisputedItem],
) -> QueryResult<()> {
    diesel::insert_into(disputes::table)
        .values(dispute)
        .execute(conn)?;
    diesel::insert_into(dispute_items::table)
        .values(items)
        .execute(conn)
        .map(drop)
}

/// Writes the state of a dispute.
pub fn update(conn: &mut PgConnection, dispute: &Dispute) -> QueryResult<()> {
    diesel::update(disputes::table.find((dispute.company_id, dispute.id)))
        .set((
            disputes::status.eq(&dispute.status),
            disputes::outcome.eq(&dispute.outcome),
            disputes::decided_by.eq(&dispute.decided_by),
            disputes::accepted_amount.eq(dispute.accepted_amount),
            disputes::credit_note_id.eq(dispute.credit_note_id),
            disputes::closed_on.eq(dispute.closed_on),
            disputes::owner_id.eq(dispute.owner_id),
            disputes::respond_by.eq(dispute.respond_by),
        ))
        .execute(conn)?;
    // The instant is the database's, and only the closing sets it.
    diesel::sql_query("UPDATE disputes SET closed_at = now() WHERE company_id = $1 AND id = $2 AND closed_on IS NOT NULL AND closed_at IS NULL")
        .bind::<SqlUuid, _>(dispute.company_id)
        .bind::<SqlUuid, _>(dispute.id)
        .execute(conn)
        .map(drop)
}

/// A change of state, or a note when `status` is none.
pub fn insert_event(
    conn: &mut PgConnection,
    company: CompanyId,
    dispute: DisputeId,
    status: Option<&str>,
    note: &str,
    on: NaiveDate,
    author: &str,
) -> QueryResult<()> {
    diesel::insert_into(dispute_events::table)
        .values((
            dispute_events::company_id.eq(company),
            dispute_events::id.eq(Uuid::now_v7()),
            dispute_events::dispute_id.eq(dispute),
            dispute_events::kind.eq(if status.is_some() { "STATUS" } else { "NOTE" }),
            dispute_events::status.eq(status),
            dispute_events::note.eq(note),
            dispute_events::happened_on.eq(on),
            dispute_events::recorded_by.eq(author),
        ))
        .execute(conn)
        .map(drop)
}

/// The history of these disputes, oldest first.
pub fn events(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[DisputeId],
) -> QueryResult<Vec<Event>> {
    dispute_events::table
        .filter(
            dispute_events::company_id
                .eq(company)
                .and(dispute_events::dispute_id.eq_any(ids)),
        )
        .order(dispute_events::id)
        .select(Event::as_select())
        .load(conn)
}

/// The items that a dispute covers.
pub fn items_of(
    conn: &mut PgConnection,
    company: CompanyId,
    dispute: DisputeId,
) -> QueryResult<Vec<ItemId>> {
    dispute_items::table
        .filter(
            dispute_items::company_id
                .eq(company)
                .and(dispute_items::dispute_id.eq(dispute)),
        )
        .select(dispute_items::item_id)
        .load(conn)
}

/// What is in dispute on each of these items now, uncapped.
pub fn open_on_items(
    conn: &mut PgConnection,
    company: CompanyId,
    items: &[ItemId],
) -> QueryResult<Vec<(ItemId, i64)>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        item_id: Uuid,
        #[diesel(sql_type = BigInt)]
        amount: i64,
    }
    let rows: Vec<Row> = steady(
        "SELECT di.item_id, sum(di.amount)::bigint AS amount FROM dispute_items di \
         JOIN disputes d ON d.company_id = di.company_id AND d.id = di.dispute_id \
         WHERE di.company_id = ? AND di.item_id = ANY(?) AND d.closed_on IS NULL GROUP BY di.item_id",
        [Bind::Id(company.0), Bind::ids(items)],
    )
    .load(conn)?;
    Ok(rows
        .into_iter()
        .map(|row| (ItemId(row.item_id), row.amount))
        .collect())
}

/// The unsettled disputes of an invoice.
pub fn open_of_invoice(
    conn: &mut PgConnection,
    company: CompanyId,
    invoice: DocumentId,
) -> QueryResult<Vec<Dispute>> {
    disputes::table
        .filter(
            disputes::company_id
                .eq(company)
                .and(disputes::invoice_id.eq(invoice))
                .and(disputes::closed_on.is_null()),
        )
        .select(Dispute::as_select())
        .load(conn)
}

/// The disputes that deductions opened.
pub fn of_deductions(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[DeductionId],
) -> QueryResult<Vec<Dispute>> {
    disputes::table
        .filter(
            disputes::company_id
                .eq(company)
                .and(disputes::deduction_id.eq_any(ids)),
        )
        .order(disputes::id)
        .select(Dispute::as_select())
        .load(conn)
}

/// Adds a deduction.
pub fn insert_deduction(conn: &mut PgConnection, deduction: &Deduction) -> QueryResult<()> {
    diesel::insert_into(deductions::table)
        .values(deduction)
        .execute(conn)
        .map(drop)
}

/// Writes the state of a deduction.
pub fn set_deduction_status(
    conn: &mut PgConnection,
    company: CompanyId,
    id: DeductionId,
    status: &str,
) -> QueryResult<()> {
    diesel::update(deductions::table.find((company, id)))
        .set(deductions::status.eq(status))
        .execute(conn)
        .map(drop)
}

/// Deductions by id, in no order.
pub fn deductions_by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[DeductionId],
) -> QueryResult<Vec<Deduction>> {
    keys::by_ids(conn, company, ids)
}

/// A deduction by number.
pub fn deduction_by_number(
    conn: &mut PgConnection,
    company: CompanyId,
    number: &str,
) -> QueryResult<Option<Deduction>> {
    deductions::table
        .filter(
            deductions::company_id
                .eq(company)
                .and(deductions::number.eq(number)),
        )
        .select(Deduction::as_select())
        .first(conn)
        .optional()
}

/// Disputes that nobody has decided, to be answered by a day; a thousand at most.
pub fn awaited(
    conn: &mut PgConnection,
    company: CompanyId,
    through: NaiveDate,
) -> QueryResult<Vec<Dispute>> {
    disputes::table
        .filter(disputes::company_id.eq(company))
        .filter(disputes::closed_on.is_null())
        .filter(disputes::outcome.is_null())
        .filter(disputes::respond_by.le(through))
        .order((disputes::respond_by, disputes::id))
        .limit(1000)
        .select(Dispute::as_select())
        .load(conn)
}

/// Figures about disputes of one group and currency; amounts in minor units.
#[derive(Clone, Debug, QueryableByName)]
pub struct Statistic {
    #[diesel(sql_type = Text)]
    pub key: String,
    #[diesel(sql_type = Bpchar)]
    pub currency: String,
    #[diesel(sql_type = BigInt)]
    pub opened: i64,
    #[diesel(sql_type = BigInt)]
    pub disputed: i64,
    #[diesel(sql_type = BigInt)]
    pub open: i64,
    #[diesel(sql_type = BigInt)]
    pub open_amount: i64,
    #[diesel(sql_type = BigInt)]
    pub overdue: i64,
    #[diesel(sql_type = BigInt)]
    pub accepted: i64,
    #[diesel(sql_type = Nullable<Numeric>)]
    pub days: Option<rust_decimal::Decimal>,
}

/// Figures about the disputes opened in a period, by `REASON`, `OWNER`, `DEPARTMENT` or `MONTH`.
pub fn statistics(
    conn: &mut PgConnection,
    company: CompanyId,
    by: &str,
    from: NaiveDate,
    to: NaiveDate,
    today: NaiveDate,
) -> QueryResult<Vec<Statistic>> {
    diesel::sql_query(
        "SELECT CASE $2 WHEN 'REASON' THEN d.reason WHEN 'DEPARTMENT' THEN d.department WHEN 'MONTH' THEN to_char(d.opened_on, 'YYYY-MM') \
           ELSE coalesce(u.name, '') END AS key, d.currency, count(*) AS opened, sum(d.amount)::bigint AS disputed, \
           count(*) FILTER (WHERE d.closed_on IS NULL) AS open, coalesce(sum(d.amount) FILTER (WHERE d.closed_on IS NULL), 0)::bigint AS open_amount, \
           count(*) FILTER (WHERE d.closed_on IS NULL AND d.respond_by < $5) AS overdue, coalesce(sum(d.accepted_amount), 0)::bigint AS accepted, \
           round(avg(d.closed_on - d.opened_on), 1) AS days \
         FROM disputes d LEFT JOIN users u ON u.id = d.owner_id WHERE d.company_id = $1 AND d.opened_on BETWEEN $3 AND $4 \
         GROUP BY 1, 2 ORDER BY 1, 2",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<Text, _>(by)
    .bind::<Date, _>(from)
    .bind::<Date, _>(to)
    .bind::<Date, _>(today)
    .load(conn)
}

/// Open disputes and deductions whose notice was not written yet; fifty at most.
pub fn without_notice(conn: &mut PgConnection, company: CompanyId) -> QueryResult<Vec<DisputeId>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: DisputeId,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT d.id FROM disputes d WHERE d.company_id = $1 AND d.closed_on IS NULL AND NOT EXISTS (SELECT 1 FROM files f \
           WHERE f.company_id = d.company_id AND f.subject_id = d.id AND f.kind = 'NOTICE') ORDER BY d.id LIMIT 50",
    )
    .bind::<SqlUuid, _>(company)
    .load(conn)?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}
