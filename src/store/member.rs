//! Users, and what they are in which company. Reference data: no company owns a person.

use diesel::pg::PgConnection;
use diesel::prelude::*;

use super::schema::{legal_rates, memberships, users};
use crate::domain::ids::{CompanyId, UserId};
use chrono::NaiveDate;
use rust_decimal::Decimal;

/// A person.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = users)]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub name: String,
    pub password_hash: Option<String>,
}

/// A person in a company.
#[derive(Clone, Debug, Queryable)]
pub struct Member {
    pub user_id: UserId,
    pub email: String,
    pub name: String,
    pub role: String,
}

/// An active user by e-mail, in any case.
pub fn by_email(conn: &mut PgConnection, email: &str) -> QueryResult<Option<User>> {
    users::table
        .filter(
            users::email
                .eq(email.to_lowercase())
                .and(users::disabled_at.is_null()),
        )
        .select(User::as_select())
        .first(conn)
        .optional()
}

/// Users by id, in no order.
pub fn by_ids(conn: &mut PgConnection, ids: &[UserId]) -> QueryResult<Vec<User>> {
    users::table
        .filter(users::id.eq_any(ids))
        .select(User::as_select())
        .load(conn)
}

/// Adds a user, or renames the one with this e-mail; a password is only set for a new user.
pub fn save_user(
    conn: &mut PgConnection,
    email: &str,
    name: &str,
    password_hash: Option<&str>,
) -> QueryResult<UserId> {
    use crate::domain::ids::Id;
    if let Some(user) = by_email(conn, email)? {
        return Ok(user.id);
    }
    diesel::insert_into(users::table)
        .values((
            users::id.eq(UserId::new()),
            users::email.eq(email.to_lowercase()),
            users::name.eq(name),
            users::password_hash.eq(password_hash),
        ))
        .returning(users::id)
        .get_result(conn)
}

/// Makes a user a member, or changes the role.
pub fn save_membership(
    conn: &mut PgConnection,
    company: CompanyId,
    user: UserId,
    role: &str,
) -> QueryResult<()> {
    diesel::insert_into(memberships::table)
        .values((
            memberships::company_id.eq(company),
            memberships::user_id.eq(user),
            memberships::role.eq(role),
        ))
        .on_conflict((memberships::company_id, memberships::user_id))
        .do_update()
        .set((
            memberships::role.eq(role),
            memberships::ended_at.eq(None::<chrono::DateTime<chrono::Utc>>),
        ))
        .execute(conn)
        .map(drop)
}

/// Ends a membership; false when there was none.
pub fn end_membership(
    conn: &mut PgConnection,
    company: CompanyId,
    user: UserId,
) -> QueryResult<bool> {
    diesel::update(memberships::table.find((company, user)))
        .filter(memberships::ended_at.is_null())
        .set(memberships::ended_at.eq(diesel::dsl::now))
        .execute(conn)
        .map(|rows| rows == 1)
}

/// The running memberships of a company, by name.
pub fn members(conn: &mut PgConnection, company: CompanyId) -> QueryResult<Vec<Member>> {
    memberships::table
        .inner_join(users::table)
        .filter(
            memberships::company_id
                .eq(company)
                .and(memberships::ended_at.is_null()),
        )
        .order((users::name, users::id))
        .select((users::id, users::email, users::name, memberships::role))
        .load(conn)
}

/// Where a user belongs, and as what: company and role.
pub fn memberships_of(
    conn: &mut PgConnection,
    user: UserId,
) -> QueryResult<Vec<(CompanyId, String)>> {
    memberships::table
        .filter(
            memberships::user_id
                .eq(user)
                .and(memberships::ended_at.is_null()),
        )
        .order(memberships::created_at)
        .select((memberships::company_id, memberships::role))
        .load(conn)
}

/// A legal value and the period it is in force (R0.5).
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = legal_rates)]
pub struct LegalRate {
    pub kind: String,
    pub valid_from: NaiveDate,
    pub valid_to: Option<NaiveDate>,
    pub value: Decimal,
    pub unit: String,
    pub source: String,
}

/// Legal values, all or those in force on a day.
pub fn legal_rates(conn: &mut PgConnection, on: Option<NaiveDate>) -> QueryResult<Vec<LegalRate>> {
    let mut query = legal_rates::table
        .select(LegalRate::as_select())
        .order((legal_rates::kind, legal_rates::valid_from))
        .into_boxed();
    if let Some(on) = on {
        query = query.filter(legal_rates::valid_from.le(on)).filter(
            legal_rates::valid_to
                .is_null()
                .or(legal_rates::valid_to.ge(on)),
        );
    }
    query.load(conn)
}
