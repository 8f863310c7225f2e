//! Allocations and lettering groups.

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Date, Integer, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::bulk;
use super::keys::{self, keyed};
use super::list::{Bind, Sql, Statement, steady};
use super::schema::{allocations, matchings};
use crate::domain::ids::{AllocationId, ClientId, CompanyId, ItemId, MatchingId};

keyed!(Allocation => "allocations", Matching => "matchings");

/// An allocation of a credit item to a debit item (imputation). Ended ones stay.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = allocations)]
pub struct Allocation {
    pub company_id: CompanyId,
    pub id: AllocationId,
    pub client_id: ClientId,
    pub debit_item_id: ItemId,
    pub credit_item_id: ItemId,
    pub amount: i64,
    pub currency: String,
    pub allocated_on: NaiveDate,
    pub effective_on: NaiveDate,
    pub rule: String,
    pub recorded_by: String,
    pub ended_on: Option<NaiveDate>,
    pub ended_by: Option<String>,
    /// What it takes from each side in the company's currency; none within that currency.
    pub debit_base: Option<i64>,
    pub credit_base: Option<i64>,
    pub ended_reason: Option<String>,
}

bulk::rows!(Allocation => "allocations" {
    company_id: SqlUuid, id: SqlUuid, client_id: SqlUuid, debit_item_id: SqlUuid, credit_item_id: SqlUuid,
    amount: BigInt, currency: Text, allocated_on: Date, effective_on: Date, rule: Text, recorded_by: Text,
    ended_on: Nullable<Date>, ended_by: Nullable<Text>, debit_base: Nullable<BigInt>, credit_base: Nullable<BigInt>,
    ended_reason: Nullable<Text>,
} given { recorded_at = "now()" before "recorded_by" });

/// A lettering group; `code` is in upper case.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = matchings)]
pub struct Matching {
    pub company_id: CompanyId,
    pub id: MatchingId,
    pub client_id: ClientId,
    pub family: String,
    pub currency: String,
    pub code: String,
    pub residual: i64,
    pub complete: bool,
}

bulk::rows!(Matching => "matchings" {
    company_id: SqlUuid, id: SqlUuid, client_id: SqlUuid, family: Text, currency: Text, code: Text, residual: BigInt,
    complete: Bool,
} given { created_at = "now()" before "" });

/// Allocations by id, in no order.
pub fn by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[AllocationId],
) -> QueryResult<Vec<Allocation>> {
    keys::by_ids(conn, company, ids)
}

/// An allocation by id.
pub fn by_id(
    conn: &mut PgConnection,
    company: CompanyId,
    id: AllocationId,
) -> QueryResult<Option<Allocation>> {
    allocations::table
        .find((company, id))
        .select(Allocation::as_select())
        .first(conn)
        .optional()
}

/// Running allocations that touch these items.
pub fn active_of(
    conn: &mut PgConnection,
    company: CompanyId,
    items: &[ItemId],
) -> QueryResult<Vec<Allocation>> {
    allocations::table
        .filter(
            allocations::company_id
                .eq(company)
                .and(allocations::ended_on.is_null()),
        )
        .filter(
            allocations::debit_item_id
                .eq_any(items)
                .or(allocations::credit_item_id.eq_any(items)),
        )
        .order(allocations::id)
        .select(Allocation::as_select())
        .load(conn)
}

/// The last day on which an allocation of each of these items ended.
pub fn last_ends(
    conn: &mut PgConnection,
    company: CompanyId,
    items: &[ItemId],
) -> QueryResult<Vec<(ItemId, NaiveDate)>> {
    #[derive(QueryableByName)]
    struct Ended {
        #[diesel(sql_type = SqlUuid)]
        item_id: Uuid,
        #[diesel(sql_type = Date)]
        ended_on: NaiveDate,
    }
    let rows: Vec<Ended> = steady(
        "SELECT k.id AS item_id, max(a.ended_on) AS ended_on FROM unnest((SELECT ?::uuid[])) k(id) CROSS JOIN LATERAL \
           (SELECT d.ended_on FROM allocations d WHERE d.company_id = ? AND d.debit_item_id = k.id AND d.ended_on IS NOT NULL \
            UNION ALL SELECT c.ended_on FROM allocations c WHERE c.company_id = ? AND c.credit_item_id = k.id AND c.ended_on IS NOT NULL) a \
         GROUP BY k.id",
        [
            Bind::ids(items),
            Bind::Id(company.0),
            Bind::Id(company.0),
        ],
    )
    .load(conn)?;
    let ends = rows
        .into_iter()
        .map(|row| (ItemId(row.item_id), row.ended_on));
    Ok(ends.collect())
}

/// From which day allocations end, and why.
#[derive(Clone, Copy, Debug)]
pub struct Ending<'a> {
    pub on: NaiveDate,
    pub reason: Option<&'a str>,
}

impl Ending<'_> {
    /// Without more to say than what else is recorded.
    pub fn on(on: NaiveDate) -> Ending<'static> {
        Ending { on, reason: None }
    }
}

/// Ends a running allocation; false when somebody ended it first.
pub fn end(
    conn: &mut PgConnection,
    company: CompanyId,
    id: AllocationId,
    ending: Ending<'_>,
    author: &str,
) -> QueryResult<bool> {
    diesel::update(allocations::table.find((company, id)))
        .filter(allocations::ended_on.is_null())
        .set((
            allocations::ended_on.eq(ending.on),
            allocations::ended_reason.eq(ending.reason),
            allocations::ended_at.eq(diesel::dsl::now),
            allocations::ended_by.eq(author),
        ))
        .execute(conn)
        .map(|rows| rows == 1)
}

/// Groups by id, in no order.
pub fn groups(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[MatchingId],
) -> QueryResult<Vec<Matching>> {
    keys::by_ids(conn, company, ids)
}

/// Groups by id, locked in the order of their ids: what is added to one is added to what others added, and nobody
/// joins one while it falls apart.
pub fn groups_for_update(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[MatchingId],
) -> QueryResult<Vec<Matching>> {
    keys::for_update(conn, company, ids)
}

/// Adds groups.
pub fn insert_groups(conn: &mut PgConnection, rows: &[Matching]) -> QueryResult<()> {
    bulk::insert(conn, rows)
}

/// Writes what the items of groups now add up to.
pub fn update_groups(
    conn: &mut PgConnection,
    company: CompanyId,
    groups: &[Matching],
) -> QueryResult<()> {
    if groups.is_empty() {
        return Ok(());
    }
    updating(company, groups).execute(conn).map(drop)
}

/// The statement that does so.
pub(super) fn updating(company: CompanyId, groups: &[Matching]) -> Statement {
    steady(
        "UPDATE matchings m SET residual = t.residual, complete = t.complete \
         FROM unnest((SELECT ?), (SELECT ?), (SELECT ?)) t(id, residual, complete) \
         WHERE m.company_id = ? AND m.id = t.id",
        [
            Bind::Ids(groups.iter().map(|group| group.id.0).collect()),
            Bind::Amounts(groups.iter().map(|group| group.residual).collect()),
            Bind::Flags(groups.iter().map(|group| group.complete).collect()),
            Bind::Id(company.0),
        ],
    )
}

/// Which of these groups have an open item apart from `except`.
pub fn still_open(
    conn: &mut PgConnection,
    company: CompanyId,
    groups: &[MatchingId],
    except: &[ItemId],
) -> QueryResult<Vec<MatchingId>> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = SqlUuid)]
        id: MatchingId,
    }
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    // A probe for each group: joined, or as `ANY`, PostgreSQL may read all that the company ever matched.
    let mut others = Sql::default();
    others.and(
        "t.open_amount > 0 AND t.id NOT IN (SELECT unnest(?))",
        [Bind::ids(except)],
    );
    let groups = Bind::ids(groups);
    let mut sql = Sql::new("SELECT DISTINCT k.key AS id");
    sql.append(&keys::probes(
        "items",
        company,
        "matching_id",
        groups,
        &others,
        "",
    ));
    let found: Vec<Found> = sql.steady().load(conn)?;
    Ok(found.into_iter().map(|found| found.id).collect())
}

/// Ends groups that lost their items; their letters are not used again (R3.3).
pub fn end_groups(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[MatchingId],
) -> QueryResult<()> {
    if ids.is_empty() {
        return Ok(());
    }
    diesel::update(
        matchings::table.filter(
            matchings::company_id
                .eq(company)
                .and(matchings::id.eq_any(ids)),
        ),
    )
    .set(matchings::ended_at.eq(diesel::dsl::now))
    .execute(conn)
    .map(drop)
}

/// An auxiliary account: a client on 411, 413, 416 or 419.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    pub client: ClientId,
    pub family: String,
}

/// Takes letters of auxiliary accounts, in the order given; answers the number of the last one of each.
pub fn take_letters(
    conn: &mut PgConnection,
    company: CompanyId,
    wanted: &[(Account, i32)],
) -> QueryResult<Vec<(Account, i32)>> {
    #[derive(QueryableByName)]
    struct Last {
        #[diesel(sql_type = SqlUuid)]
        client_id: ClientId,
        #[diesel(sql_type = Text)]
        family: String,
        #[diesel(sql_type = Integer)]
        last_code: i32,
    }
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let families = wanted.iter().map(|(account, _)| account.family.clone());
    let last: Vec<Last> = steady(
        "INSERT INTO letter_counters AS c (company_id, client_id, family, last_code) \
         SELECT k.company_id, t.client_id, t.family, t.letters \
         FROM companies k CROSS JOIN unnest(?, ?, ?) t(client_id, family, letters) WHERE k.company_id = ? \
         ON CONFLICT (company_id, client_id, family) DO UPDATE SET last_code = c.last_code + EXCLUDED.last_code \
         RETURNING client_id, family::text AS family, last_code",
        [
            Bind::Ids(wanted.iter().map(|(account, _)| account.client.0).collect()),
            Bind::Texts(families.collect()),
            Bind::Numbers(wanted.iter().map(|(_, count)| *count).collect()),
            Bind::Id(company.0),
        ],
    )
    .load(conn)?;
    Ok(last
        .into_iter()
        .map(|row| {
            let account = Account {
                client: row.client_id,
                family: row.family,
            };
            (account, row.last_code)
        })
        .collect())
}

/// What was allocated to a debit, and from what.
#[derive(Clone, Debug, QueryableByName)]
pub struct Settling {
    #[diesel(sql_type = BigInt)]
    pub amount: i64,
    #[diesel(sql_type = diesel::sql_types::Bpchar)]
    pub currency: String,
    #[diesel(sql_type = diesel::sql_types::Date)]
    pub effective_on: NaiveDate,
    #[diesel(sql_type = Text)]
    pub credit: String,
    #[diesel(sql_type = Text)]
    pub recorded_by: String,
}

/// The allocations on a debit that stand, in order of their days.
pub fn of_debit(
    conn: &mut PgConnection,
    company: CompanyId,
    debit: ItemId,
) -> QueryResult<Vec<Settling>> {
    diesel::sql_query(
        "SELECT a.amount, a.currency, a.effective_on, i.reference AS credit, a.recorded_by FROM allocations a \
         JOIN items i ON i.company_id = a.company_id AND i.id = a.credit_item_id \
         WHERE a.company_id = $1 AND a.debit_item_id = $2 AND a.ended_on IS NULL ORDER BY a.effective_on, a.id",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<SqlUuid, _>(debit)
    .load(conn)
}
