//! Users, and what they are in which company. Reference data: no company owns a person.

use diesel::pg::PgConnection;
use diesel::prelude::*;

use super::list::{Bind, Sql};
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

/// Those of these users who are or were members of a company, in no order.
pub fn known_in(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[UserId],
) -> QueryResult<Vec<User>> {
    users::table
        .inner_join(memberships::table)
        .filter(
            memberships::company_id
                .eq(company)
                .and(users::id.eq_any(ids)),
        )
        .select(User::as_select())
        .load(conn)
}

/// Whether two persons are members of one company now.
pub fn share_a_company(conn: &mut PgConnection, one: UserId, other: UserId) -> QueryResult<bool> {
    let mut sql = Sql::default();
    sql.push(
        "SELECT EXISTS (SELECT 1 FROM memberships a JOIN memberships b ON b.company_id = a.company_id \
           WHERE a.user_id = ? AND a.ended_at IS NULL AND b.user_id = ? AND b.ended_at IS NULL) AS found",
        [Bind::Id(one.0), Bind::Id(other.0)],
    );
    super::list::found(conn, sql)
}

/// Adds a user, or finds the one with this e-mail; name and password are only set for a new user.
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

/// The active persons who manage a company; no other transaction changes their roles until this one ends.
pub fn admins_for_update(conn: &mut PgConnection, company: CompanyId) -> QueryResult<Vec<UserId>> {
    #[derive(QueryableByName)]
    struct Admin {
        #[diesel(sql_type = diesel::sql_types::Uuid)]
        user_id: UserId,
    }
    let mut sql = Sql::default();
    sql.push(
        "SELECT m.user_id FROM memberships m JOIN users u ON u.id = m.user_id \
         WHERE m.company_id = ? AND m.role = 'ADMIN' AND m.ended_at IS NULL AND u.disabled_at IS NULL \
         ORDER BY m.user_id FOR NO KEY UPDATE OF m",
        [Bind::Id(company.0)],
    );
    let admins: Vec<Admin> = sql.query().load(conn)?;
    Ok(admins.into_iter().map(|admin| admin.user_id).collect())
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

/// A running membership of an active person.
pub fn member(
    conn: &mut PgConnection,
    company: CompanyId,
    user: UserId,
) -> QueryResult<Option<Member>> {
    memberships::table
        .inner_join(users::table)
        .filter(
            memberships::company_id
                .eq(company)
                .and(memberships::user_id.eq(user))
                .and(memberships::ended_at.is_null())
                .and(users::disabled_at.is_null()),
        )
        .select((users::id, users::email, users::name, memberships::role))
        .first(conn)
        .optional()
}

/// The same, and it stays so until the transaction ends.
pub fn member_for_share(
    conn: &mut PgConnection,
    company: CompanyId,
    user: UserId,
) -> QueryResult<Option<Member>> {
    memberships::table
        .inner_join(users::table)
        .filter(
            memberships::company_id
                .eq(company)
                .and(memberships::user_id.eq(user))
                .and(memberships::ended_at.is_null())
                .and(users::disabled_at.is_null()),
        )
        .select((users::id, users::email, users::name, memberships::role))
        .for_share()
        .first(conn)
        .optional()
}

/// Whether a person was ever a member of another company.
pub fn belongs_elsewhere(
    conn: &mut PgConnection,
    company: CompanyId,
    user: UserId,
) -> QueryResult<bool> {
    diesel::select(diesel::dsl::exists(
        memberships::table.filter(
            memberships::user_id
                .eq(user)
                .and(memberships::company_id.ne(company)),
        ),
    ))
    .get_result(conn)
}

/// A company of a person.
#[derive(Clone, Debug, QueryableByName)]
pub struct Place {
    #[diesel(sql_type = diesel::sql_types::Uuid)]
    pub company_id: CompanyId,
    /// The company's name.
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub name: String,
    /// What the person is there.
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub role: String,
}

/// The companies of a person, by name: across the wall, and nothing else of them.
pub fn companies_of(conn: &mut PgConnection, user: UserId) -> QueryResult<Vec<Place>> {
    diesel::sql_query("SELECT company_id, name, role FROM companies_of($1)")
        .bind::<diesel::sql_types::Uuid, _>(user)
        .load(conn)
}

/// Sets a person's password, and the name when one is given.
pub fn set_password(
    conn: &mut PgConnection,
    user: UserId,
    password_hash: &str,
    name: Option<&str>,
) -> QueryResult<()> {
    if let Some(name) = name {
        diesel::update(users::table.find(user))
            .set(users::name.eq(name))
            .execute(conn)?;
    }
    diesel::update(users::table.find(user))
        .set(users::password_hash.eq(password_hash))
        .execute(conn)
        .map(drop)
}

/// Keeps a person out of every company. False when there is no active person of that id.
pub fn disable(conn: &mut PgConnection, user: UserId) -> QueryResult<bool> {
    diesel::update(users::table.find(user))
        .filter(users::disabled_at.is_null())
        .set(users::disabled_at.eq(diesel::dsl::now))
        .execute(conn)
        .map(|rows| rows == 1)
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

/// Records a legal rate, in the unit that its kind has. False when there is no such kind, or a rate for these days.
pub fn add_legal_rate(
    conn: &mut PgConnection,
    kind: &str,
    from: NaiveDate,
    to: Option<NaiveDate>,
    value: rust_decimal::Decimal,
    source: &str,
) -> QueryResult<bool> {
    use diesel::sql_types::{Date, Nullable, Numeric, Text};
    diesel::sql_query(
        "INSERT INTO legal_rates (kind, valid_from, valid_to, value, unit, source) \
         SELECT $1, $2, $3, $4, (SELECT unit FROM legal_rates WHERE kind = $1 LIMIT 1), $5 \
         WHERE EXISTS (SELECT 1 FROM legal_rates WHERE kind = $1) AND NOT EXISTS (SELECT 1 FROM legal_rates r WHERE r.kind = $1 \
           AND daterange(r.valid_from, r.valid_to, '[]') && daterange($2, $3, '[]'))",
    )
    .bind::<Text, _>(kind)
    .bind::<Date, _>(from)
    .bind::<Nullable<Date>, _>(to)
    .bind::<Numeric, _>(value)
    .bind::<Text, _>(source)
    .execute(conn)
    .map(|rows| rows == 1)
}
