//! The members of a company, and what they are in it.

use diesel::pg::PgConnection;

use super::books;
use crate::domain::access::{Caller, Role};
use crate::domain::identity;
use crate::domain::ids::UserId;
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::Result;
use crate::store;
use crate::store::member::Member;
use crate::store::session::Reason;

/// Adds a member, or changes a member's role. Nobody changes the own role: a company would be left without `ADMIN`.
///
/// A person who is known already keeps name and password: another company may have given them.
pub fn save(
    conn: &mut PgConnection,
    caller: &Caller,
    email: &str,
    name: &str,
    role: Role,
    password_hash: Option<&str>,
) -> Result<UserId> {
    let email = identity::email(email).map_err(|why| Refusal::invalid("email", why))?;
    let name = books::text("name", name, 200)?;
    refuse_a_stranger(conn, caller, &email)?;
    let user = store::member::save_user(conn, &email, &name, password_hash).map_err(|error| {
        books::duplicate(
            error,
            "email",
            "the account with this e-mail address is disabled, or was made just now: try again",
        )
    })?;
    if caller.user == Some(user) && caller.role != role {
        return Err(Refusal::new(
            RefusalCode::Forbidden,
            "role",
            "nobody changes the own role: ask another ADMIN",
        )
        .into());
    }
    if role != Role::Admin {
        keep_an_admin(conn, caller, user)?;
    }
    give_role(conn, caller, user, role.code())?;
    // What was offered before does not come after: an invitation to another role would undo this.
    store::account::revoke_invitations_of(conn, caller.company, &email)?;
    Ok(user)
}

/// Makes a person a member of the caller's company, or changes the role of one.
pub fn give_role(conn: &mut PgConnection, caller: &Caller, user: UserId, role: &str) -> Result<()> {
    let before = store::member::member(conn, caller.company, user)?;
    store::member::save_membership(conn, caller.company, user, role)?;
    if before.is_some_and(|before| before.role != role) {
        // Access tokens carry the role: those of the former one end.
        store::session::revoke_member(conn, caller.company, user, Reason::Membership)?;
    }
    Ok(())
}

/// Refuses a person whose account another company made: nobody here knows who chose its password, so it opens this
/// company only to whoever accepts an invitation with it. Known here are those who were in this company, or are in
/// another one together with the ADMIN who adds them.
fn refuse_a_stranger(conn: &mut PgConnection, caller: &Caller, email: &str) -> Result<()> {
    let (Some(admin), Some(known)) = (caller.user, store::member::by_email(conn, email)?) else {
        return Ok(());
    };
    if known.password_hash.is_none()
        || store::personal::was_member(conn, caller.company, known.id)?
        || store::member::share_a_company(conn, admin, known.id)?
    {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalCode::WrongState,
        "email",
        "this address has an account of another company: invite the person with inviteMember, who accepts with its password",
    )
    .into())
}

/// Refuses to take away the last ADMIN: nobody could manage the company any more. Two who take each other's role away at
/// once do so one after the other.
fn keep_an_admin(conn: &mut PgConnection, caller: &Caller, leaving: UserId) -> Result<()> {
    if store::member::admins_for_update(conn, caller.company)? == [leaving] {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "member",
            "this is the company's only ADMIN: name another one first",
        )
        .into());
    }
    Ok(())
}

/// Ends a membership; never the caller's own.
pub fn remove(conn: &mut PgConnection, caller: &Caller, user: UserId) -> Result<()> {
    if caller.user == Some(user) {
        return Err(Refusal::new(
            RefusalCode::Forbidden,
            "member",
            "nobody removes themselves: ask another ADMIN",
        )
        .into());
    }
    keep_an_admin(conn, caller, user)?;
    if store::member::end_membership(conn, caller.company, user)? {
        store::session::revoke_member(conn, caller.company, user, Reason::Membership)?;
        Ok(())
    } else {
        Err(Refusal::not_found("member", "member").into())
    }
}

/// Keeps a person out of every company, at once and for good: for the operator, on the owner's connection.
pub fn disable(conn: &mut PgConnection, email: &str) -> Result<()> {
    let user = store::member::by_email(conn, email.trim())?
        .ok_or_else(|| Refusal::not_found("email", "active person"))?;
    store::member::disable(conn, user.id)?;
    store::session::revoke_user(conn, user.id, None, Reason::Disabled)?;
    Ok(())
}

/// The members of the caller's company, by name.
pub fn list(conn: &mut PgConnection, caller: &Caller) -> Result<Vec<Member>> {
    Ok(store::member::members(conn, caller.company)?)
}

/// The argon2id hash of a password, with its salt and parameters.
pub fn hash_password(password: &str) -> Result<String> {
    use argon2::password_hash::rand_core::OsRng;
    use argon2::password_hash::{PasswordHasher, SaltString};
    argon2::Argon2::default()
        .hash_password(password.as_bytes(), &SaltString::generate(&mut OsRng))
        .map(|hash| hash.to_string())
        .map_err(|error| crate::error::Error::Internal(format!("password hash: {error}")))
}
