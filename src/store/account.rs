//! Service accounts and invitations of a company.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::dsl::now;
use diesel::pg::PgConnection;
use diesel::prelude::*;

use super::schema::{invitations, service_accounts};
use crate::domain::ids::{CompanyId, InvitationId, ServiceAccountId};

/// A script with a key.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = service_accounts)]
pub struct ServiceAccount {
    pub id: ServiceAccountId,
    pub name: String,
    pub scopes: Vec<String>,
    pub key_hash: Vec<u8>,
    pub expires_on: NaiveDate,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub rotated_at: Option<DateTime<Utc>>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A service account to add.
#[derive(Insertable)]
#[diesel(table_name = service_accounts)]
pub struct NewServiceAccount<'a> {
    pub company_id: CompanyId,
    pub id: ServiceAccountId,
    pub name: &'a str,
    pub scopes: Vec<&'a str>,
    pub key_hash: &'a [u8],
    pub expires_on: NaiveDate,
    pub created_by: &'a str,
}

/// Adds a service account; the name must be free among those not revoked.
pub fn insert(conn: &mut PgConnection, row: &NewServiceAccount<'_>) -> QueryResult<()> {
    diesel::insert_into(service_accounts::table)
        .values(row)
        .execute(conn)
        .map(drop)
}

/// A service account, revoked or not.
pub fn find(
    conn: &mut PgConnection,
    company: CompanyId,
    id: ServiceAccountId,
) -> QueryResult<Option<ServiceAccount>> {
    service_accounts::table
        .find((company, id))
        .select(ServiceAccount::as_select())
        .first(conn)
        .optional()
}

/// The service accounts of a company: those in use first, by name.
pub fn all(conn: &mut PgConnection, company: CompanyId) -> QueryResult<Vec<ServiceAccount>> {
    service_accounts::table
        .filter(service_accounts::company_id.eq(company))
        .order((
            service_accounts::revoked_at.desc().nulls_first(),
            service_accounts::name,
            service_accounts::id,
        ))
        .limit(1000)
        .select(ServiceAccount::as_select())
        .load(conn)
}

/// Gives an account another key; the old one is void. False when it is revoked or not there.
pub fn rotate(
    conn: &mut PgConnection,
    company: CompanyId,
    id: ServiceAccountId,
    key_hash: &[u8],
    expires_on: NaiveDate,
) -> QueryResult<bool> {
    diesel::update(service_accounts::table.find((company, id)))
        .filter(service_accounts::revoked_at.is_null())
        .set((
            service_accounts::key_hash.eq(key_hash),
            service_accounts::expires_on.eq(expires_on),
            service_accounts::rotated_at.eq(now),
        ))
        .execute(conn)
        .map(|rows| rows == 1)
}

/// Ends an account for good. False when it is revoked already or not there.
pub fn revoke(
    conn: &mut PgConnection,
    company: CompanyId,
    id: ServiceAccountId,
    by: &str,
) -> QueryResult<bool> {
    diesel::update(service_accounts::table.find((company, id)))
        .filter(service_accounts::revoked_at.is_null())
        .set((
            service_accounts::revoked_at.eq(now),
            service_accounts::revoked_by.eq(by),
        ))
        .execute(conn)
        .map(|rows| rows == 1)
}

/// Notes the minute of a use.
pub fn used(
    conn: &mut PgConnection,
    company: CompanyId,
    id: ServiceAccountId,
    minute: DateTime<Utc>,
) -> QueryResult<()> {
    diesel::update(service_accounts::table.find((company, id)))
        .set(service_accounts::last_used_at.eq(minute))
        .execute(conn)
        .map(drop)
}

/// An invitation to become a member.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = invitations)]
pub struct Invitation {
    pub id: InvitationId,
    pub email: String,
    pub role: String,
    pub token_hash: Vec<u8>,
    pub expires_at: DateTime<Utc>,
    pub invited_at: DateTime<Utc>,
    pub invited_by: String,
    pub accepted_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// An invitation to add.
#[derive(Insertable)]
#[diesel(table_name = invitations)]
pub struct NewInvitation<'a> {
    pub company_id: CompanyId,
    pub id: InvitationId,
    pub email: &'a str,
    pub role: &'a str,
    pub token_hash: &'a [u8],
    pub expires_at: DateTime<Utc>,
    pub invited_by: &'a str,
}

/// Adds an invitation in place of the pending one for the same address.
pub fn invite(conn: &mut PgConnection, row: &NewInvitation<'_>) -> QueryResult<()> {
    diesel::update(invitations::table)
        .filter(
            invitations::company_id
                .eq(row.company_id)
                .and(invitations::email.eq(row.email))
                .and(invitations::accepted_at.is_null())
                .and(invitations::revoked_at.is_null()),
        )
        .set(invitations::revoked_at.eq(now))
        .execute(conn)?;
    diesel::insert_into(invitations::table)
        .values(row)
        .execute(conn)
        .map(drop)
}

/// An invitation, whatever became of it; locked until the transaction ends.
pub fn invitation_for_update(
    conn: &mut PgConnection,
    company: CompanyId,
    id: InvitationId,
) -> QueryResult<Option<Invitation>> {
    invitations::table
        .find((company, id))
        .select(Invitation::as_select())
        .for_no_key_update()
        .first(conn)
        .optional()
}

/// An invitation, whatever became of it.
pub fn invitation(
    conn: &mut PgConnection,
    company: CompanyId,
    id: InvitationId,
) -> QueryResult<Option<Invitation>> {
    invitations::table
        .find((company, id))
        .select(Invitation::as_select())
        .first(conn)
        .optional()
}

/// The invitations that still can be accepted, by address.
pub fn pending(conn: &mut PgConnection, company: CompanyId) -> QueryResult<Vec<Invitation>> {
    invitations::table
        .filter(
            invitations::company_id
                .eq(company)
                .and(invitations::accepted_at.is_null())
                .and(invitations::revoked_at.is_null())
                .and(invitations::expires_at.gt(now)),
        )
        .order((invitations::email, invitations::id))
        .limit(1000)
        .select(Invitation::as_select())
        .load(conn)
}

/// Notes that an invitation was accepted.
pub fn accepted(conn: &mut PgConnection, company: CompanyId, id: InvitationId) -> QueryResult<()> {
    diesel::update(invitations::table.find((company, id)))
        .set(invitations::accepted_at.eq(now))
        .execute(conn)
        .map(drop)
}

/// Takes back the pending invitations of an address.
pub fn revoke_invitations_of(
    conn: &mut PgConnection,
    company: CompanyId,
    email: &str,
) -> QueryResult<()> {
    diesel::update(invitations::table)
        .filter(
            invitations::company_id
                .eq(company)
                .and(invitations::email.eq(email.to_lowercase()))
                .and(invitations::accepted_at.is_null())
                .and(invitations::revoked_at.is_null()),
        )
        .set(invitations::revoked_at.eq(now))
        .execute(conn)
        .map(drop)
}

/// Takes an invitation back. False when it is not pending.
pub fn revoke_invitation(
    conn: &mut PgConnection,
    company: CompanyId,
    id: InvitationId,
) -> QueryResult<bool> {
    diesel::update(invitations::table.find((company, id)))
        .filter(
            invitations::accepted_at
                .is_null()
                .and(invitations::revoked_at.is_null()),
        )
        .set(invitations::revoked_at.eq(now))
        .execute(conn)
        .map(|rows| rows == 1)
}
