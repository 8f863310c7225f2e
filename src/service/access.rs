//! Service accounts and invitations: who else comes in, by a secret that is shown once.

use chrono::{DateTime, Days, SubsecRound, Timelike, Utc};
use diesel::pg::PgConnection;

use super::{books, member, secret};
use crate::domain::access::{Action, Caller, Role};
use crate::domain::credential::{Credential, INVITATION, KEY};
use crate::domain::identity;
use crate::domain::ids::{Id, InvitationId, ServiceAccountId, UserId};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::{Error, Result};
use crate::store;
use crate::store::account::{Invitation, NewInvitation, NewServiceAccount, ServiceAccount};

/// Longest life of a key, in days: two years.
const KEY_DAYS: u64 = 731;
/// How long an invitation may be accepted, in days.
const INVITATION_DAYS: u64 = 7;

/// Adds a service account (R12.5). Answers its id and the key, which is not kept.
pub fn create_account(
    conn: &mut PgConnection,
    caller: &Caller,
    name: &str,
    scopes: &[Action],
    expires_on: chrono::NaiveDate,
) -> Result<(ServiceAccountId, String)> {
    let name = books::text("name", name, 100)?;
    check_scopes(scopes)?;
    check_expiry(caller, expires_on)?;
    let key = new_key(caller, ServiceAccountId::new());
    let row = NewServiceAccount {
        company_id: caller.company,
        id: key.id,
        name: &name,
        scopes: scopes.iter().map(|scope| scope.code()).collect(),
        key_hash: &secret::digest(&key.secret),
        expires_on,
        created_by: &caller.author,
    };
    store::account::insert(conn, &row).map_err(|error| {
        books::duplicate(
            error,
            "name",
            "there is a service account of this name: take another, or revoke that one",
        )
    })?;
    Ok((key.id, key.show(KEY)))
}

fn new_key(caller: &Caller, id: ServiceAccountId) -> Credential<ServiceAccountId> {
    Credential {
        company: caller.company,
        id,
        secret: secret::fresh(),
    }
}

fn check_scopes(scopes: &[Action]) -> Result<()> {
    if scopes.is_empty() {
        return Err(
            Refusal::invalid("scopes", "a service account needs a scope: what it may do").into(),
        );
    }
    match scopes.iter().find(|scope| !scope.may_be_scope()) {
        Some(scope) => Err(Refusal::invalid(
            "scopes",
            format!("{} is for people: a service account never approves, decides or sets rights (R12.5)", scope.code()),
        )
        .detail("scope", scope.code())
        .into()),
        None => Ok(()),
    }
}

fn check_expiry(caller: &Caller, expires_on: chrono::NaiveDate) -> Result<()> {
    let last = caller.today + Days::new(KEY_DAYS);
    if (caller.today..=last).contains(&expires_on) {
        return Ok(());
    }
    let message =
        format!("a key ends today at the earliest and after {KEY_DAYS} days at the latest");
    Err(Refusal::invalid("expiresOn", message)
        .detail("latest", last.to_string())
        .into())
}

/// Reads scopes: codes of actions, and what a role reads. Doubles count once.
pub fn scopes(codes: &[String], read_set_of: Option<Role>) -> Result<Vec<Action>> {
    let mut scopes = Vec::new();
    for (position, code) in codes.iter().enumerate() {
        let scope = Action::read(code).ok_or_else(|| {
            Refusal::invalid(
                &format!("scopes.{position}"),
                "no such scope: take a code of `viewer { permissions }`",
            )
        })?;
        scopes.push(scope);
    }
    match read_set_of {
        // Its read rights go with a portfolio, and an account has none.
        Some(Role::Sales) => {
            let why = "SALES reads its own portfolio, which a service account does not have: name another role";
            return Err(Refusal::invalid("readSetOf", why).into());
        }
        Some(role) => scopes.extend(role.read_scopes()),
        None => {}
    }
    scopes.sort();
    scopes.dedup();
    Ok(scopes)
}

/// Gives a service account another key; the old one is void at once. The day of expiry stays unless given.
pub fn rotate_account(
    conn: &mut PgConnection,
    caller: &Caller,
    id: ServiceAccountId,
    expires_on: Option<chrono::NaiveDate>,
) -> Result<String> {
    let account = account(conn, caller, id)?;
    let expires_on = expires_on.unwrap_or(account.expires_on);
    check_expiry(caller, expires_on)?;
    let key = new_key(caller, id);
    let hash = secret::digest(&key.secret);
    if store::account::rotate(conn, caller.company, id, &hash, expires_on)? {
        Ok(key.show(KEY))
    } else {
        Err(revoked())
    }
}

/// Ends a service account for good.
pub fn revoke_account(
    conn: &mut PgConnection,
    caller: &Caller,
    id: ServiceAccountId,
) -> Result<()> {
    account(conn, caller, id)?;
    match store::account::revoke(conn, caller.company, id, &caller.author)? {
        true => Ok(()),
        false => Err(revoked()),
    }
}

fn account(
    conn: &mut PgConnection,
    caller: &Caller,
    id: ServiceAccountId,
) -> Result<ServiceAccount> {
    store::account::find(conn, caller.company, id)?
        .ok_or_else(|| Refusal::not_found("serviceAccount", "service account").into())
}

fn revoked() -> Error {
    let why = "the service account is revoked: create another";
    Refusal::new(RefusalCode::WrongState, "serviceAccount", why).into()
}

/// The name and the scopes that a key opens today; `None` for a key that opens nothing. Notes the minute of the use.
pub fn use_key(
    conn: &mut PgConnection,
    caller: &Caller,
    key: &Credential<ServiceAccountId>,
) -> Result<Option<(String, Vec<Action>)>> {
    let Some(account) = store::account::find(conn, caller.company, key.id)? else {
        return Ok(None);
    };
    // Digests are compared: how long that takes says nothing about the secret.
    let opens = account.key_hash == secret::digest(&key.secret)
        && account.revoked_at.is_none()
        && account.expires_on >= caller.today;
    if !opens {
        return Ok(None);
    }
    let minute = minute_of(Utc::now());
    if account.last_used_at.is_none_or(|used| used < minute) {
        store::account::used(conn, caller.company, key.id, minute)?;
    }
    // A scope that was taken out of the table, or that no account may have any more, is not there.
    let scopes = account.scopes.iter().filter_map(|code| Action::read(code));
    let scopes = scopes.filter(|scope| scope.may_be_scope()).collect();
    Ok(Some((account.name, scopes)))
}

fn minute_of(instant: DateTime<Utc>) -> DateTime<Utc> {
    instant.with_second(0).unwrap_or(instant).trunc_subsecs(0)
}

/// Invites a person by e-mail address. Answers the invitation and its token, which is not kept.
pub fn invite(
    conn: &mut PgConnection,
    caller: &Caller,
    email: &str,
    role: Role,
) -> Result<(InvitationId, String)> {
    let email = identity::email(email).map_err(|why| Refusal::invalid("email", why))?;
    let members = store::member::members(conn, caller.company)?;
    let email = email.to_lowercase();
    if members.iter().any(|member| member.email == email) {
        let why = "this person is a member already: change the role with saveMember";
        return Err(Refusal::new(RefusalCode::Duplicate, "email", why).into());
    }
    let made = Credential {
        company: caller.company,
        id: InvitationId::new(),
        secret: secret::fresh(),
    };
    let row = NewInvitation {
        company_id: caller.company,
        id: made.id,
        email: &email,
        role: role.code(),
        token_hash: &secret::digest(&made.secret),
        expires_at: Utc::now() + Days::new(INVITATION_DAYS),
        invited_by: &caller.author,
    };
    store::account::invite(conn, &row)
        .map_err(|error| books::duplicate(error, "email", "this person was invited just now"))?;
    Ok((made.id, made.show(INVITATION)))
}

/// Takes an invitation back.
pub fn revoke_invitation(conn: &mut PgConnection, caller: &Caller, id: InvitationId) -> Result<()> {
    store::account::invitation(conn, caller.company, id)?
        .ok_or_else(|| Refusal::not_found("invitation", "invitation"))?;
    if store::account::revoke_invitation(conn, caller.company, id)? {
        return Ok(());
    }
    let why = "the invitation was accepted or taken back already";
    Err(Refusal::new(RefusalCode::WrongState, "invitation", why).into())
}

/// The invitation that a token opens now; `None` when it opens nothing.
pub fn opened(
    conn: &mut PgConnection,
    caller: &Caller,
    token: &Credential<InvitationId>,
) -> Result<Option<Invitation>> {
    Ok(store::account::invitation(conn, caller.company, token.id)?
        .filter(|found| is_open(found, token)))
}

fn is_open(invitation: &Invitation, token: &Credential<InvitationId>) -> bool {
    invitation.token_hash == secret::digest(&token.secret)
        && invitation.accepted_at.is_none()
        && invitation.revoked_at.is_none()
        && invitation.expires_at > Utc::now()
}

/// How the person who accepts an invitation is known.
#[derive(Clone, Debug)]
pub enum Acceptance {
    /// Nobody before: the name and the hash of the password to set.
    New { name: String, password_hash: String },
    /// A person who has just proved to know the own password.
    Known(UserId),
}

/// Accepts an invitation: the person becomes a member, once. `None` when the token opens nothing any more.
pub fn accept(
    conn: &mut PgConnection,
    caller: &Caller,
    token: &Credential<InvitationId>,
    acceptance: &Acceptance,
) -> Result<Option<UserId>> {
    let found = store::account::invitation_for_update(conn, caller.company, token.id)?;
    let Some(invitation) = found.filter(|found| is_open(found, token)) else {
        return Ok(None);
    };
    let user = match acceptance {
        Acceptance::Known(user) => *user,
        Acceptance::New {
            name,
            password_hash,
        } => newcomer(conn, caller, &invitation.email, name, password_hash)?,
    };
    member::give_role(conn, caller, user, &invitation.role)?;
    store::account::accepted(conn, caller.company, token.id)?;
    Ok(Some(user))
}

/// A person with a first password. One who is known elsewhere does not get it from whoever invites.
fn newcomer(
    conn: &mut PgConnection,
    caller: &Caller,
    email: &str,
    name: &str,
    password_hash: &str,
) -> Result<UserId> {
    let name = books::text("name", name, 200)?;
    if let Some(known) = store::member::by_email(conn, email)? {
        if known.password_hash.is_some() {
            let why = "the account was made meanwhile: accept with its password";
            return Err(Refusal::new(RefusalCode::Conflict, "password", why).into());
        }
        if store::member::belongs_elsewhere(conn, caller.company, known.id)? {
            let why = "this account has no password and belongs to another company, which logs it in another way: \
                       an ADMIN adds it with saveMember";
            return Err(Refusal::new(RefusalCode::WrongState, "password", why).into());
        }
        store::member::set_password(conn, known.id, password_hash, Some(&name))?;
        return Ok(known.id);
    }
    store::member::save_user(conn, email, &name, Some(password_hash)).map_err(|error| {
        books::duplicate(
            error,
            "token",
            "the account with this e-mail address is disabled",
        )
    })
}
