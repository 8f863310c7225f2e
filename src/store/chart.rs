//! The company's own words for accounts of the chart, and accounts it has closed.

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use diesel::prelude::*;

use super::schema::{accounts, journals};
use crate::domain::ids::CompanyId;

/// An account that the company named, or closed.
#[derive(Clone, Debug, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = accounts, primary_key(company_id, number), treat_none_as_null = true)]
pub struct Account {
    pub company_id: CompanyId,
    pub number: String,
    pub label: String,
    pub closed_on: Option<NaiveDate>,
}

/// The company's own accounts, by number.
pub fn accounts(conn: &mut PgConnection, company: CompanyId) -> QueryResult<Vec<Account>> {
    accounts::table
        .filter(accounts::company_id.eq(company))
        .order(accounts::number)
        .select(Account::as_select())
        .load(conn)
}

/// Adds an account, or changes its label or closing day.
pub fn save(conn: &mut PgConnection, account: &Account) -> QueryResult<()> {
    diesel::insert_into(accounts::table)
        .values(account)
        .on_conflict((accounts::company_id, accounts::number))
        .do_update()
        .set(account)
        .execute(conn)
        .map(drop)
}

/// Adds a journal, or renames one.
pub fn save_journal(
    conn: &mut PgConnection,
    company: CompanyId,
    code: &str,
    label: &str,
) -> QueryResult<()> {
    diesel::insert_into(journals::table)
        .values((
            journals::company_id.eq(company),
            journals::code.eq(code),
            journals::label.eq(label),
        ))
        .on_conflict((journals::company_id, journals::code))
        .do_update()
        .set(journals::label.eq(label))
        .execute(conn)
        .map(drop)
}

/// The journals (journaux): code and label, by code.
pub fn journals(conn: &mut PgConnection, company: CompanyId) -> QueryResult<Vec<(String, String)>> {
    journals::table
        .filter(journals::company_id.eq(company))
        .order(journals::code)
        .select((journals::code, journals::label))
        .load(conn)
}
