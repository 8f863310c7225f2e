//! Dunning: scenarios, what was sent, promises, and the facts that decide what is due.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Date, Nullable, SmallInt, Text, Uuid as SqlUuid};
use serde_json::Value;
use uuid::Uuid;

use super::aging::Population;
use super::client;
use super::list::{Bind, Keyset, Sql};
use super::schema::{
    dunning_action_items, dunning_actions, dunning_scenarios, promise_items, promises,
};
use crate::domain::ids::{
    ClientId, CompanyId, DunningActionId, DunningScenarioId, ItemId, PromiseId,
};

/// A version of a scenario.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = dunning_scenarios)]
pub struct ScenarioRow {
    pub company_id: CompanyId,
    pub id: DunningScenarioId,
    pub name: String,
    pub version: i32,
    pub content: Value,
    pub recorded_by: String,
}

/// Adds a version.
pub fn insert_scenario(conn: &mut PgConnection, row: &ScenarioRow) -> QueryResult<()> {
    diesel::insert_into(dunning_scenarios::table)
        .values(row)
        .execute(conn)
        .map(drop)
}

/// The latest version of each scenario, by name.
pub fn scenarios(conn: &mut PgConnection, company: CompanyId) -> QueryResult<Vec<ScenarioRow>> {
    dunning_scenarios::table
        .filter(dunning_scenarios::company_id.eq(company))
        .distinct_on(dunning_scenarios::name)
        .order((dunning_scenarios::name, dunning_scenarios::version.desc()))
        .select(ScenarioRow::as_select())
        .load(conn)
}

/// Gives a client a scenario of its own, or that of its segment again. Whether there is such a client.
pub fn choose(
    conn: &mut PgConnection,
    company: CompanyId,
    client: ClientId,
    name: Option<&str>,
) -> QueryResult<bool> {
    diesel::sql_query("UPDATE clients SET dunning_scenario = $3 WHERE company_id = $1 AND id = $2")
        .bind::<SqlUuid, _>(company)
        .bind::<SqlUuid, _>(client)
        .bind::<Nullable<Text>, _>(name)
        .execute(conn)
        .map(|rows| rows == 1)
}

/// What a client's dunning goes by.
#[derive(Clone, Debug, QueryableByName)]
pub struct OfClient {
    #[diesel(sql_type = SqlUuid)]
    pub id: ClientId,
    #[diesel(sql_type = Nullable<Text>)]
    pub scenario: Option<String>,
    /// The day of the last action by the day asked for.
    #[diesel(sql_type = Nullable<Date>)]
    pub last_action_on: Option<NaiveDate>,
}

/// The scenarios chosen for clients, and their last actions by a day.
pub fn of_clients(
    conn: &mut PgConnection,
    company: CompanyId,
    clients: &[ClientId],
    on: NaiveDate,
) -> QueryResult<Vec<OfClient>> {
    diesel::sql_query(
        "SELECT c.id, c.dunning_scenario AS scenario, (SELECT max(a.done_on) FROM dunning_actions a \
           WHERE a.company_id = c.company_id AND a.client_id = c.id AND a.done_on <= $3) AS last_action_on \
         FROM clients c WHERE c.company_id = $1 AND c.id = ANY($2)",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<Array<SqlUuid>, _>(clients)
    .bind::<Date, _>(on)
    .load(conn)
}

/// What is known of an item's dunning on a day.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub struct Facts {
    #[diesel(sql_type = SqlUuid)]
    pub item_id: Uuid,
    /// In open disputes that stop dunning.
    #[diesel(sql_type = BigInt)]
    pub blocked: i64,
    /// The last level sent; 0 for none.
    #[diesel(sql_type = SmallInt)]
    pub last_level: i16,
    /// Whether a promise runs.
    #[diesel(sql_type = Bool)]
    pub promised: bool,
    /// Whether a payment plan in good standing covers it.
    #[diesel(sql_type = Bool)]
    pub planned: bool,
    /// Whether an open litigation case holds it.
    #[diesel(sql_type = Bool)]
    pub in_litigation: bool,
    /// Whether anything was sent for it.
    #[diesel(sql_type = Bool)]
    pub reminded: bool,
    /// Whether a file proves its delivery, or that the debtor acknowledged it (R7.7).
    #[diesel(sql_type = Bool)]
    pub proven: bool,
    /// The item's amount, and what it was booked at in the company's currency.
    #[diesel(sql_type = BigInt)]
    pub amount: i64,
    #[diesel(sql_type = BigInt)]
    pub base: i64,
}

/// The facts of items on a day.
pub fn facts(
    conn: &mut PgConnection,
    company: CompanyId,
    items: &[Uuid],
    on: NaiveDate,
) -> QueryResult<Vec<Facts>> {
    diesel::sql_query(
        "SELECT i.id AS item_id, \
           coalesce((SELECT sum(di.amount) FROM dispute_items di JOIN disputes d ON d.company_id = di.company_id AND d.id = di.dispute_id \
             WHERE di.company_id = i.company_id AND di.item_id = i.id AND d.blocks_dunning AND d.opened_on <= $3 \
               AND (d.closed_on IS NULL OR d.closed_on > $3)), 0)::bigint AS blocked, \
           coalesce((SELECT max(x.level) FROM dunning_action_items x JOIN dunning_actions a ON a.company_id = x.company_id AND a.id = x.action_id \
             WHERE x.company_id = i.company_id AND x.item_id = i.id AND a.done_on <= $3), 0)::smallint AS last_level, \
           EXISTS (SELECT 1 FROM promise_items p JOIN promises m ON m.company_id = p.company_id AND m.id = p.promise_id \
             WHERE p.company_id = i.company_id AND p.item_id = i.id AND m.promised_on <= $3 AND m.due_on >= $3 \
               AND (m.cancelled_on IS NULL OR m.cancelled_on > $3)) AS promised, \
           EXISTS (SELECT 1 FROM plan_items q JOIN instalment_plans p ON p.company_id = q.company_id AND p.id = q.plan_id \
             WHERE q.company_id = i.company_id AND q.item_id = i.id AND p.agreed_on <= $3 AND (p.cancelled_on IS NULL OR p.cancelled_on > $3) \
               AND plan_paid(ROW(p.*)::instalment_plans, $3) >= plan_wanted(ROW(p.*)::instalment_plans, $3) AND plan_paid(ROW(p.*)::instalment_plans, $3) < p.amount) AS planned, \
           EXISTS (SELECT 1 FROM litigation_items t JOIN litigation_cases k ON k.company_id = t.company_id AND k.id = t.case_id \
             WHERE t.company_id = i.company_id AND t.item_id = i.id AND k.opened_on <= $3 AND (k.closed_on IS NULL OR k.closed_on > $3)) AS in_litigation, \
           EXISTS (SELECT 1 FROM dunning_action_items x JOIN dunning_actions a ON a.company_id = x.company_id AND a.id = x.action_id \
             WHERE x.company_id = i.company_id AND x.item_id = i.id AND a.done_on <= $3) AS reminded, \
           EXISTS (SELECT 1 FROM files f WHERE f.company_id = i.company_id AND (f.subject_id IN (i.id, i.invoice_id) AND f.kind IN ('DELIVERY_PROOF', 'ACKNOWLEDGMENT_OF_DEBT') \
             OR f.subject_id = i.client_id AND f.kind = 'ACKNOWLEDGMENT_OF_DEBT')) AS proven, i.amount, \
           coalesce((SELECT l.base_debit + l.base_credit FROM journal_lines l WHERE l.company_id = i.company_id AND l.entry_id = i.entry_id \
             AND l.line = i.entry_line), i.amount)::bigint AS base \
         FROM items i WHERE i.company_id = $1 AND i.id = ANY($2)",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<Array<SqlUuid>, _>(items)
    .bind::<Date, _>(on)
    .load(conn)
}

/// A page of clients with a debt due before a day, by number.
pub fn late_clients(
    conn: &mut PgConnection,
    population: &Population,
    before: NaiveDate,
    page: &Keyset,
) -> QueryResult<(Vec<Uuid>, bool)> {
    let sql = late(population, before, "c.id");
    client::page_by_number(conn, sql, page)
}

/// How many clients have a debt due before a day.
pub fn late_client_count(
    conn: &mut PgConnection,
    population: &Population,
    before: NaiveDate,
) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let row: Count = late(population, before, "count(*) AS count")
        .query()
        .get_result(conn)?;
    Ok(row.count)
}

fn late(population: &Population, before: NaiveDate, columns: &str) -> Sql {
    let mut sql = population.with();
    sql.push(
        &format!(" SELECT {columns} FROM clients c WHERE c.company_id = ? AND c.id IN (SELECT a.client_id FROM aged a WHERE a.is_debit AND a.due_on < ?)"),
        [Bind::Id(population.company.0), Bind::Day(before)],
    );
    sql
}

/// A reminder that was made. Amounts are minor units of `currency`.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = dunning_actions)]
pub struct Action {
    pub company_id: CompanyId,
    pub id: DunningActionId,
    pub client_id: ClientId,
    pub currency: String,
    pub level: i16,
    pub channel: String,
    pub tone: String,
    pub done_on: NaiveDate,
    pub claimed: i64,
    pub credits: i64,
    pub scenario: String,
    pub scenario_version: i32,
    pub recipient: Option<String>,
    pub proof: Option<String>,
    pub note: Option<String>,
    #[diesel(skip_insertion)]
    pub recorded_at: DateTime<Utc>,
    pub recorded_by: String,
}

/// What a reminder claimed of an item, at that moment.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = dunning_action_items)]
pub struct ActionItem {
    pub company_id: CompanyId,
    pub action_id: DunningActionId,
    pub item_id: ItemId,
    pub level: i16,
    pub residual: i64,
    pub disputed: i64,
    pub claimed: i64,
}

/// Writes a reminder with its items.
pub fn insert_action(
    conn: &mut PgConnection,
    action: &Action,
    items: &[ActionItem],
) -> QueryResult<()> {
    diesel::insert_into(dunning_actions::table)
        .values(action)
        .execute(conn)?;
    diesel::insert_into(dunning_action_items::table)
        .values(items)
        .execute(conn)
        .map(drop)
}

/// `FROM dunning_actions t WHERE …`, of a client or of all.
pub fn actions_from(company: CompanyId, client: Option<ClientId>) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        "FROM dunning_actions t WHERE t.company_id = ?",
        [Bind::Id(company.0)],
    );
    if let Some(client) = client {
        sql.and("t.client_id = ?", [Bind::Id(client.0)]);
    }
    sql
}

/// Reminders by id, in no order.
pub fn actions_by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[DunningActionId],
) -> QueryResult<Vec<Action>> {
    dunning_actions::table
        .filter(dunning_actions::company_id.eq(company))
        .filter(dunning_actions::id.eq_any(ids))
        .select(Action::as_select())
        .load(conn)
}

/// What reminders claimed, by item.
pub fn items_of_actions(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[DunningActionId],
) -> QueryResult<Vec<ActionItem>> {
    dunning_action_items::table
        .filter(dunning_action_items::company_id.eq(company))
        .filter(dunning_action_items::action_id.eq_any(ids))
        .order((
            dunning_action_items::action_id,
            dunning_action_items::item_id,
        ))
        .select(ActionItem::as_select())
        .load(conn)
}

/// A promise to pay. Amounts are minor units of `currency`.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = promises)]
pub struct Promise {
    pub company_id: CompanyId,
    pub id: PromiseId,
    pub client_id: ClientId,
    pub promised_on: NaiveDate,
    pub due_on: NaiveDate,
    pub amount: i64,
    pub currency: String,
    pub note: Option<String>,
    #[diesel(skip_insertion)]
    pub recorded_at: DateTime<Utc>,
    pub recorded_by: String,
    pub cancelled_on: Option<NaiveDate>,
    pub cancelled_by: Option<String>,
    pub cancelled_reason: Option<String>,
}

/// Writes a promise about items.
pub fn insert_promise(
    conn: &mut PgConnection,
    promise: &Promise,
    items: &[ItemId],
) -> QueryResult<()> {
    diesel::insert_into(promises::table)
        .values(promise)
        .execute(conn)?;
    let rows: Vec<_> = items
        .iter()
        .map(|item| {
            (
                promise_items::company_id.eq(promise.company_id),
                promise_items::promise_id.eq(promise.id),
                promise_items::item_id.eq(*item),
            )
        })
        .collect();
    diesel::insert_into(promise_items::table)
        .values(rows)
        .execute(conn)
        .map(drop)
}

/// `FROM promises t WHERE …`, of a client or of all.
pub fn promises_from(company: CompanyId, client: Option<ClientId>) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        "FROM promises t WHERE t.company_id = ?",
        [Bind::Id(company.0)],
    );
    if let Some(client) = client {
        sql.and("t.client_id = ?", [Bind::Id(client.0)]);
    }
    sql
}

/// Promises by id, in no order.
pub fn promises_by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[PromiseId],
) -> QueryResult<Vec<Promise>> {
    promises::table
        .filter(promises::company_id.eq(company))
        .filter(promises::id.eq_any(ids))
        .select(Promise::as_select())
        .load(conn)
}

/// Takes a promise back; false when it was before.
pub fn cancel_promise(
    conn: &mut PgConnection,
    company: CompanyId,
    id: PromiseId,
    on: NaiveDate,
    author: &str,
    reason: &str,
) -> QueryResult<bool> {
    diesel::update(promises::table.find((company, id)))
        .filter(promises::cancelled_on.is_null())
        .set((
            promises::cancelled_on.eq(on),
            promises::cancelled_by.eq(author),
            promises::cancelled_reason.eq(reason),
        ))
        .execute(conn)
        .map(|rows| rows == 1)
}

/// What was paid or credited on a promise's items since it was given, through its day.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub struct Paid {
    #[diesel(sql_type = SqlUuid)]
    pub promise_id: PromiseId,
    #[diesel(sql_type = BigInt)]
    pub paid: i64,
}

/// What was paid on these promises by a day; promises without a payment are not among them.
pub fn paid(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[PromiseId],
    on: NaiveDate,
) -> QueryResult<Vec<Paid>> {
    diesel::sql_query(
        "SELECT p.id AS promise_id, coalesce(sum(-l.delta), 0)::bigint AS paid FROM promises p \
         JOIN promise_items i ON i.company_id = p.company_id AND i.promise_id = p.id \
         JOIN receivable_ledger l ON l.company_id = i.company_id AND l.item_id = i.item_id \
           AND l.recorded_at > p.recorded_at AND l.effective_on <= LEAST(p.due_on, $3) \
         WHERE p.company_id = $1 AND p.id = ANY($2) GROUP BY p.id",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Date, _>(on)
    .load(conn)
}

/// The items of a promise.
pub fn items_of_promise(
    conn: &mut PgConnection,
    company: CompanyId,
    promise: PromiseId,
) -> QueryResult<Vec<ItemId>> {
    promise_items::table
        .filter(promise_items::company_id.eq(company))
        .filter(promise_items::promise_id.eq(promise))
        .order(promise_items::item_id)
        .select(promise_items::item_id)
        .load(conn)
}

/// The promises of clients that run on a day, the nearest first.
pub fn running(
    conn: &mut PgConnection,
    company: CompanyId,
    clients: &[ClientId],
    on: NaiveDate,
) -> QueryResult<Vec<Promise>> {
    promises::table
        .filter(promises::company_id.eq(company))
        .filter(promises::client_id.eq_any(clients))
        .filter(promises::due_on.ge(on))
        .filter(promises::cancelled_on.is_null())
        .order((promises::due_on, promises::id))
        .select(Promise::as_select())
        .load(conn)
}

/// What promises that run on a day promise of these items, in minor units: less what was paid of them.
pub fn promised_on(
    conn: &mut PgConnection,
    company: CompanyId,
    items: &[ItemId],
    on: NaiveDate,
) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Sum {
        #[diesel(sql_type = BigInt)]
        amount: i64,
    }
    let row: Sum = diesel::sql_query(
        "SELECT coalesce(sum(greatest(0, q.amount - q.paid)), 0)::bigint AS amount FROM (SELECT p.amount, \
           (SELECT coalesce(sum(-l.delta), 0) FROM promise_items i JOIN receivable_ledger l ON l.company_id = i.company_id AND l.item_id = i.item_id \
             AND l.recorded_at > p.recorded_at AND l.effective_on <= $3 WHERE i.company_id = p.company_id AND i.promise_id = p.id) AS paid \
         FROM promises p WHERE p.company_id = $1 AND p.due_on >= $3 AND p.cancelled_on IS NULL AND EXISTS (SELECT 1 FROM promise_items i \
           WHERE i.company_id = p.company_id AND i.promise_id = p.id AND i.item_id = ANY($2))) q",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<Array<SqlUuid>, _>(items)
    .bind::<Date, _>(on)
    .get_result(conn)?;
    Ok(row.amount)
}
