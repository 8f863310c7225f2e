//! Litigation cases, prescription, and the deadlines of both.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bpchar, Date, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::list::{Bind, Sql};
use super::schema::{
    litigation_cases, litigation_events, litigation_items, prescription_interruptions,
};
use crate::domain::ids::{CaseId, ClientId, CompanyId, ItemId};

/// A case. `claimed` is minor units of `currency`, when it was opened.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = litigation_cases)]
pub struct Case {
    pub company_id: CompanyId,
    pub id: CaseId,
    pub number: String,
    pub client_id: ClientId,
    pub currency: String,
    pub claimed: i64,
    pub opened_on: NaiveDate,
    #[diesel(skip_insertion)]
    pub recorded_at: DateTime<Utc>,
    pub recorded_by: String,
    pub stage: String,
    pub handler: Option<String>,
    pub closed_on: Option<NaiveDate>,
    pub outcome: Option<String>,
}

/// What a case claims of an item.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = litigation_items)]
pub struct CaseItem {
    pub company_id: CompanyId,
    pub case_id: CaseId,
    pub item_id: ItemId,
    pub claimed: i64,
}

/// A stage of a case, or what happened in it.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = litigation_events)]
pub struct Event {
    pub company_id: CompanyId,
    pub id: Uuid,
    pub case_id: CaseId,
    pub client_id: ClientId,
    pub kind: String,
    pub stage: String,
    pub happened_on: NaiveDate,
    pub reference: Option<String>,
    pub note: String,
    #[diesel(skip_insertion)]
    pub recorded_at: DateTime<Utc>,
    pub recorded_by: String,
}

/// Opens a case.
pub fn insert(conn: &mut PgConnection, case: &Case, items: &[CaseItem]) -> QueryResult<()> {
    diesel::insert_into(litigation_cases::table)
        .values(case)
        .execute(conn)?;
    diesel::insert_into(litigation_items::table)
        .values(items)
        .execute(conn)
        .map(drop)
}

/// Adds what happened.
pub fn insert_event(conn: &mut PgConnection, event: &Event) -> QueryResult<()> {
    diesel::insert_into(litigation_events::table)
        .values(event)
        .execute(conn)
        .map(drop)
}

/// Writes where a case stands.
pub fn update(conn: &mut PgConnection, case: &Case) -> QueryResult<()> {
    diesel::update(litigation_cases::table.find((case.company_id, case.id)))
        .set((
            litigation_cases::stage.eq(&case.stage),
            litigation_cases::handler.eq(&case.handler),
            litigation_cases::closed_on.eq(case.closed_on),
            litigation_cases::outcome.eq(&case.outcome),
        ))
        .execute(conn)
        .map(drop)
}

/// Locks a case until the transaction ends.
pub fn for_update(
    conn: &mut PgConnection,
    company: CompanyId,
    id: CaseId,
) -> QueryResult<Option<Case>> {
    litigation_cases::table
        .find((company, id))
        .select(Case::as_select())
        .for_no_key_update()
        .first(conn)
        .optional()
}

/// Cases by id, in no order.
pub fn by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[CaseId],
) -> QueryResult<Vec<Case>> {
    litigation_cases::table
        .filter(litigation_cases::company_id.eq(company))
        .filter(litigation_cases::id.eq_any(ids))
        .select(Case::as_select())
        .load(conn)
}

/// `FROM litigation_cases t WHERE …`, of a client or of all, open ones or the others.
pub fn from(company: CompanyId, client: Option<ClientId>, open: Option<bool>) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        "FROM litigation_cases t WHERE t.company_id = ?",
        [Bind::Id(company.0)],
    );
    if let Some(client) = client {
        sql.and("t.client_id = ?", [Bind::Id(client.0)]);
    }
    if let Some(open) = open {
        sql.and("(t.closed_on IS NULL) = ?", [Bind::Flag(open)]);
    }
    sql
}

/// What a case claims, item by item.
pub fn items_of(
    conn: &mut PgConnection,
    company: CompanyId,
    case: CaseId,
) -> QueryResult<Vec<CaseItem>> {
    litigation_items::table
        .filter(litigation_items::company_id.eq(company))
        .filter(litigation_items::case_id.eq(case))
        .order(litigation_items::item_id)
        .select(CaseItem::as_select())
        .load(conn)
}

/// The history of a case, oldest first.
pub fn events_of(
    conn: &mut PgConnection,
    company: CompanyId,
    case: CaseId,
) -> QueryResult<Vec<Event>> {
    litigation_events::table
        .filter(litigation_events::company_id.eq(company))
        .filter(litigation_events::case_id.eq(case))
        .order(litigation_events::id)
        .select(Event::as_select())
        .load(conn)
}

/// Which of these items an open case holds.
pub fn held(
    conn: &mut PgConnection,
    company: CompanyId,
    items: &[ItemId],
) -> QueryResult<Vec<ItemId>> {
    litigation_items::table
        .inner_join(
            litigation_cases::table.on(litigation_cases::company_id
                .eq(litigation_items::company_id)
                .and(litigation_cases::id.eq(litigation_items::case_id))),
        )
        .filter(litigation_items::company_id.eq(company))
        .filter(litigation_items::item_id.eq_any(items))
        .filter(litigation_cases::closed_on.is_null())
        .select(litigation_items::item_id)
        .load(conn)
}

/// An act that starts a new period of prescription.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = prescription_interruptions)]
pub struct Interruption {
    pub company_id: CompanyId,
    pub id: Uuid,
    pub item_id: ItemId,
    pub client_id: ClientId,
    pub cause: String,
    pub happened_on: NaiveDate,
    pub note: String,
    #[diesel(skip_insertion)]
    pub recorded_at: DateTime<Utc>,
    pub recorded_by: String,
}

/// Adds interruptions.
pub fn interrupt(conn: &mut PgConnection, rows: &[Interruption]) -> QueryResult<()> {
    diesel::insert_into(prescription_interruptions::table)
        .values(rows)
        .execute(conn)
        .map(drop)
}

/// A claim and the day its prescription runs from.
#[derive(Clone, Debug, QueryableByName)]
pub struct Prescribing {
    #[diesel(sql_type = SqlUuid)]
    pub item_id: ItemId,
    #[diesel(sql_type = SqlUuid)]
    pub client_id: ClientId,
    #[diesel(sql_type = Text)]
    pub client: String,
    #[diesel(sql_type = Text)]
    pub segment: String,
    #[diesel(sql_type = Text)]
    pub reference: String,
    #[diesel(sql_type = Date)]
    pub runs_from: NaiveDate,
    #[diesel(sql_type = BigInt)]
    pub open: i64,
    #[diesel(sql_type = Bpchar)]
    pub currency: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub interrupted_by: Option<String>,
}

/// The open claims whose prescription runs from a day on or before `latest` (consumers: `latest_consumer`), earliest
/// first, a thousand at most.
pub fn prescribing(
    conn: &mut PgConnection,
    company: CompanyId,
    client: Option<ClientId>,
    latest: NaiveDate,
    latest_consumer: NaiveDate,
) -> QueryResult<Vec<Prescribing>> {
    let mut sql = Sql::default();
    sql.push(
        "SELECT * FROM (SELECT i.id AS item_id, i.client_id, c.name AS client, c.segment, i.reference, \
           greatest(i.due_on, x.happened_on) AS runs_from, i.open_amount AS open, i.currency, x.cause AS interrupted_by \
         FROM items i JOIN clients c ON c.company_id = i.company_id AND c.id = i.client_id \
         LEFT JOIN LATERAL (SELECT p.happened_on, p.cause FROM prescription_interruptions p WHERE p.company_id = ? AND p.item_id = i.id \
           ORDER BY p.happened_on DESC LIMIT 1) x ON true \
         WHERE i.company_id = ? AND i.is_debit AND i.open_amount > 0 AND i.family IN ('411', '416') AND i.due_on <= greatest(?::date, ?::date)",
        [
            Bind::Id(company.0),
            Bind::Id(company.0),
            Bind::Day(latest),
            Bind::Day(latest_consumer),
        ],
    );
    if let Some(client) = client {
        sql.and("i.client_id = ?", [Bind::Id(client.0)]);
    }
    sql.push(
        ") q WHERE q.runs_from <= CASE WHEN q.segment = 'CONSUMER' THEN ?::date ELSE ?::date END ORDER BY q.runs_from, q.item_id LIMIT 1000",
        [Bind::Day(latest_consumer), Bind::Day(latest)],
    );
    sql.query().load(conn)
}

/// A client in insolvency proceedings whose judgment was published.
#[derive(Clone, Debug, QueryableByName)]
pub struct Insolvent {
    #[diesel(sql_type = SqlUuid)]
    pub client_id: ClientId,
    #[diesel(sql_type = Text)]
    pub client: String,
    #[diesel(sql_type = Date)]
    pub published_on: NaiveDate,
}

/// Insolvent clients with something open, by publication, published on or after a day.
pub fn insolvent(
    conn: &mut PgConnection,
    company: CompanyId,
    client: Option<ClientId>,
    since: NaiveDate,
) -> QueryResult<Vec<Insolvent>> {
    let mut sql = Sql::default();
    sql.push(
        "SELECT c.id AS client_id, c.name AS client, c.insolvency_published_on AS published_on FROM clients c \
         WHERE c.company_id = ? AND c.insolvency <> 'NONE' AND c.insolvency_published_on >= ? AND EXISTS (SELECT 1 FROM items i \
           WHERE i.company_id = c.company_id AND i.client_id = c.id AND i.open_amount > 0 AND i.is_debit)",
        [Bind::Id(company.0), Bind::Day(since)],
    );
    if let Some(client) = client {
        sql.and("c.id = ?", [Bind::Id(client.0)]);
    }
    sql.push(" ORDER BY c.insolvency_published_on, c.id LIMIT 1000", []);
    sql.query().load(conn)
}

/// A payment order that was made and not yet served, or served and not yet final.
#[derive(Clone, Debug, QueryableByName)]
pub struct Order {
    #[diesel(sql_type = SqlUuid)]
    pub case_id: CaseId,
    #[diesel(sql_type = SqlUuid)]
    pub client_id: ClientId,
    #[diesel(sql_type = Text)]
    pub client: String,
    #[diesel(sql_type = Text)]
    pub number: String,
    #[diesel(sql_type = Text)]
    pub stage: String,
    #[diesel(sql_type = Date)]
    pub made_on: NaiveDate,
    #[diesel(sql_type = Nullable<Date>)]
    pub served_on: Option<NaiveDate>,
}

/// The orders of open cases that nobody contested.
pub fn orders(
    conn: &mut PgConnection,
    company: CompanyId,
    client: Option<ClientId>,
) -> QueryResult<Vec<Order>> {
    let id = || Bind::Id(company.0);
    let mut sql = Sql::default();
    sql.push(
        "SELECT c.id AS case_id, c.client_id, k.name AS client, c.number, c.stage, m.made_on, s.served_on FROM litigation_cases c \
         JOIN clients k ON k.company_id = c.company_id AND k.id = c.client_id \
         JOIN LATERAL (SELECT e.id, e.happened_on AS made_on FROM litigation_events e WHERE e.company_id = ? AND e.case_id = c.id \
           AND e.kind = 'ORDER_MADE' ORDER BY e.id DESC LIMIT 1) m ON true \
         LEFT JOIN LATERAL (SELECT max(e.happened_on) AS served_on FROM litigation_events e WHERE e.company_id = ? AND e.case_id = c.id \
           AND e.kind = 'SERVED' AND e.id > m.id) s ON true \
         WHERE c.company_id = ? AND c.closed_on IS NULL AND NOT EXISTS (SELECT 1 FROM litigation_events e WHERE e.company_id = ? \
           AND e.case_id = c.id AND e.kind = 'CONTESTED' AND e.id > m.id)",
        [id(), id(), id(), id()],
    );
    if let Some(client) = client {
        sql.and("c.client_id = ?", [Bind::Id(client.0)]);
    }
    sql.push(" ORDER BY m.made_on, c.id LIMIT 1000", []);
    sql.query().load(conn)
}
