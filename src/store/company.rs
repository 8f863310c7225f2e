//! Companies, their settings and the last closed day.

use std::collections::HashMap;

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Date, Nullable, Text};
use uuid::Uuid;

use super::keys;
use super::list::{Bind, Sql, steady};
use super::schema::{
    companies, counters, dispute_reasons, journals, period_closings, year_closings,
};
use crate::domain::ids::CompanyId;

/// A company as stored. `settings` is read with `domain::company::Settings`.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = companies)]
pub struct Company {
    pub company_id: CompanyId,
    pub name: String,
    pub siren: Option<String>,
    pub vat_number: Option<String>,
    pub address: Option<String>,
    pub currency: String,
    pub fiscal_year_start_month: i16,
    pub segregation: bool,
    pub settings: serde_json::Value,
}

/// The company of the connection's wall.
pub fn load(conn: &mut PgConnection, company: CompanyId) -> QueryResult<Option<Company>> {
    companies::table
        .find(company)
        .select(Company::as_select())
        .first(conn)
        .optional()
}

/// A company together with what of its books is closed, in one statement: every posting asks.
pub fn load_with_closings(
    conn: &mut PgConnection,
    company: CompanyId,
) -> QueryResult<Option<(Company, Closings)>> {
    let id = || Bind::Id(company.0);
    let mut from = Sql::default();
    from.push(
        " FROM companies CROSS JOIN LATERAL \
           (SELECT NULL AS account, (SELECT p.closed_through FROM period_closings p WHERE p.company_id = ? \
              ORDER BY p.recorded_at DESC, p.id DESC LIMIT 1) AS closed_on FROM companies o WHERE o.company_id = ? \
            UNION ALL SELECT a.number, a.closed_on FROM accounts a WHERE a.company_id = ? AND a.closed_on IS NOT NULL) c \
         WHERE companies.company_id = ?",
        [id(), id(), id(), id()],
    );
    let rows = keys::picked_beside::<Company, Closed, (Option<String>, Option<NaiveDate>)>(
        conn,
        "c.account, c.closed_on",
        from,
    )?;
    let mut closings = Closings::default();
    let mut found = None;
    for ((account, closed_on), company) in rows {
        closings.add(account, closed_on);
        found = Some(company);
    }
    Ok(found.map(|company| (company, closings)))
}

/// Locks what closes and reopens the books of a company, until the transaction ends: one at a time looks at what is closed
/// and changes it.
pub fn hold(conn: &mut PgConnection, company: CompanyId) -> QueryResult<()> {
    steady(
        "SELECT FROM companies WHERE company_id = ? FOR NO KEY UPDATE",
        [Bind::Id(company.0)],
    )
    .execute(conn)
    .map(drop)
}

/// The currency of a company's books.
pub fn currency(conn: &mut PgConnection, company: CompanyId) -> QueryResult<Option<String>> {
    companies::table
        .find(company)
        .select(companies::currency)
        .first(conn)
        .optional()
}

/// Every company: for the owner's connection only.
pub fn all(conn: &mut PgConnection) -> QueryResult<Vec<Company>> {
    companies::table
        .order(companies::company_id)
        .select(Company::as_select())
        .load(conn)
}

/// The ids of all companies, for background jobs: the serving role sees nothing else outside a company.
pub fn ids(conn: &mut PgConnection) -> QueryResult<Vec<CompanyId>> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = diesel::sql_types::Uuid)]
        id: CompanyId,
    }
    let found: Vec<Found> =
        diesel::sql_query("SELECT id FROM company_ids() AS found(id)").load(conn)?;
    Ok(found.into_iter().map(|found| found.id).collect())
}

/// Adds a company: for the owner's connection only.
pub fn insert(conn: &mut PgConnection, company: &Company) -> QueryResult<()> {
    diesel::insert_into(companies::table)
        .values(company)
        .execute(conn)
        .map(drop)
}

/// Adds the journals that entries are written in.
pub fn insert_journals(
    conn: &mut PgConnection,
    company: CompanyId,
    codes: &[(&str, &str)],
) -> QueryResult<()> {
    let rows: Vec<_> = codes
        .iter()
        .map(|(code, label)| {
            (
                journals::company_id.eq(company),
                journals::code.eq(*code),
                journals::label.eq(*label),
            )
        })
        .collect();
    diesel::insert_into(journals::table)
        .values(rows)
        .execute(conn)
        .map(drop)
}

/// Changes what may change of a company.
pub fn update(conn: &mut PgConnection, company: &Company) -> QueryResult<()> {
    diesel::update(companies::table.find(company.company_id))
        .set((
            companies::name.eq(&company.name),
            companies::siren.eq(&company.siren),
            companies::vat_number.eq(&company.vat_number),
            companies::address.eq(&company.address),
            companies::segregation.eq(company.segregation),
            companies::settings.eq(&company.settings),
        ))
        .execute(conn)
        .map(drop)
}

/// What is closed of a company's books.
#[derive(Clone, Debug, Default)]
pub struct Closings {
    /// The last closed day, if any.
    pub through: Option<NaiveDate>,
    /// The accounts that were closed, and when.
    pub accounts: HashMap<String, NaiveDate>,
}

/// An account and the day it was closed on; the books themselves without an account.
type Closed = (Nullable<Text>, Nullable<Date>);

impl Closings {
    fn add(&mut self, account: Option<String>, on: Option<NaiveDate>) {
        match (account, on) {
            (None, on) => self.through = on,
            (Some(account), Some(on)) => drop(self.accounts.insert(account, on)),
            (Some(_), None) => {}
        }
    }
}

/// Closes through a day, or reopens to one.
pub fn insert_closing(
    conn: &mut PgConnection,
    company: CompanyId,
    through: Option<NaiveDate>,
    reason: &str,
    author: &str,
    locked_through: Option<NaiveDate>,
) -> QueryResult<()> {
    if let Some(locked) = locked_through {
        diesel::insert_into(period_closings::table)
            .values((
                period_closings::company_id.eq(company),
                period_closings::id.eq(Uuid::now_v7()),
                period_closings::closed_through.eq(locked),
                period_closings::reason.eq(reason),
                period_closings::recorded_by.eq(author),
                period_closings::locked.eq(true),
            ))
            .execute(conn)?;
    }
    diesel::insert_into(period_closings::table)
        .values((
            period_closings::company_id.eq(company),
            period_closings::id.eq(Uuid::now_v7()),
            period_closings::closed_through.eq(through),
            period_closings::reason.eq(reason),
            period_closings::recorded_by.eq(author),
        ))
        .execute(conn)
        .map(drop)
}

/// The last day that is locked for ever, if any.
pub fn locked_through(
    conn: &mut PgConnection,
    company: CompanyId,
) -> QueryResult<Option<NaiveDate>> {
    period_closings::table
        .filter(
            period_closings::company_id
                .eq(company)
                .and(period_closings::locked),
        )
        .select(diesel::dsl::max(period_closings::closed_through))
        .first(conn)
}

/// The result of a closed year, in the company's currency; none while it is open.
pub fn year_closing(
    conn: &mut PgConnection,
    company: CompanyId,
    year: i32,
) -> QueryResult<Option<i64>> {
    year_closings::table
        .find((company, year))
        .select(year_closings::result)
        .first(conn)
        .optional()
}

/// Closes a year.
pub fn insert_year_closing(
    conn: &mut PgConnection,
    company: CompanyId,
    year: i32,
    result: i64,
    author: &str,
) -> QueryResult<()> {
    diesel::insert_into(year_closings::table)
        .values((
            year_closings::company_id.eq(company),
            year_closings::fiscal_year.eq(year),
            year_closings::result.eq(result),
            year_closings::recorded_by.eq(author),
        ))
        .execute(conn)
        .map(drop)
}

/// The financial years that have entries.
pub fn years_with_entries(conn: &mut PgConnection, company: CompanyId) -> QueryResult<Vec<i32>> {
    counters::table
        .filter(
            counters::company_id
                .eq(company)
                .and(counters::series.eq(super::numbering::ENTRY))
                .and(counters::last_number.gt(0)),
        )
        .order(counters::fiscal_year.desc())
        .select(counters::fiscal_year)
        .load(conn)
}

/// The earliest year before this one that has entries and is not closed.
pub fn unclosed_year_before(
    conn: &mut PgConnection,
    company: CompanyId,
    year: i32,
) -> QueryResult<Option<i32>> {
    let closed: Vec<i32> = year_closings::table
        .filter(year_closings::company_id.eq(company))
        .select(year_closings::fiscal_year)
        .load(conn)?;
    Ok(years_with_entries(conn, company)?
        .into_iter()
        .filter(|name| *name < year && !closed.contains(name))
        .min())
}

/// A dispute reason (code de blocage) of a company.
#[derive(Clone, Debug, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = dispute_reasons, primary_key(company_id, code))]
pub struct Reason {
    pub company_id: CompanyId,
    pub code: String,
    pub label: String,
    pub label_en: String,
    pub kind: String,
    pub blocks_dunning: bool,
    pub department: String,
    pub active: bool,
}

/// All reasons of the company, by code.
pub fn reasons(conn: &mut PgConnection, company: CompanyId) -> QueryResult<Vec<Reason>> {
    dispute_reasons::table
        .filter(dispute_reasons::company_id.eq(company))
        .order(dispute_reasons::code)
        .select(Reason::as_select())
        .load(conn)
}

/// One reason.
pub fn reason(
    conn: &mut PgConnection,
    company: CompanyId,
    code: &str,
) -> QueryResult<Option<Reason>> {
    dispute_reasons::table
        .find((company, code))
        .select(Reason::as_select())
        .first(conn)
        .optional()
}

/// Adds reasons or changes those that exist.
pub fn save_reasons(conn: &mut PgConnection, reasons: &[Reason]) -> QueryResult<()> {
    for reason in reasons {
        diesel::insert_into(dispute_reasons::table)
            .values(reason)
            .on_conflict((dispute_reasons::company_id, dispute_reasons::code))
            .do_update()
            .set(reason)
            .execute(conn)?;
    }
    Ok(())
}

/// Counts over all companies, by name: for the operator's gauges.
pub fn gauges(conn: &mut PgConnection) -> QueryResult<Vec<(String, i64)>> {
    #[derive(QueryableByName)]
    struct Gauge {
        #[diesel(sql_type = diesel::sql_types::Text)]
        name: String,
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        value: i64,
    }
    let rows: Vec<Gauge> =
        diesel::sql_query("SELECT name, value FROM operator_gauges()").load(conn)?;
    Ok(rows.into_iter().map(|row| (row.name, row.value)).collect())
}
