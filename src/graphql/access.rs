//! Service accounts, invitations, and the companies of whoever asks.

use std::collections::HashSet;
use std::sync::LazyLock;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{TypeKind, TypeSystemDefinition};
use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::company::Role;
use super::error::UserError;
use super::mutation::{How, mutate};
use super::scalars::{Date, Instant, on, read, show};
use super::{Permitted, session};
use crate::domain::access;
use crate::domain::ids::{InvitationId, ServiceAccountId};
use crate::error::{Error, Result};
use crate::service;
use crate::store::{self};

/// The mutations that take an idempotency key, as the schema has them.
static KEYED: LazyLock<HashSet<String>> = LazyLock::new(|| keyed(&super::schema().sdl()));

/// Whether a mutation takes an idempotency key: a service account must give one (R12.5).
pub fn takes_key(mutation: &str) -> bool {
    KEYED.contains(mutation)
}

fn keyed(sdl: &str) -> HashSet<String> {
    const KEY: &str = "idempotencyKey";
    // Ours: that it can be parsed shows at every start.
    let Ok(document) = parse_schema(sdl) else {
        return HashSet::new();
    };
    let mut inputs = HashSet::new();
    let mut mutations = Vec::new();
    for definition in document.definitions {
        let TypeSystemDefinition::Type(named) = definition else {
            continue;
        };
        match named.node.kind {
            TypeKind::InputObject(input)
                if input.fields.iter().any(|field| field.node.name.node == KEY) =>
            {
                inputs.insert(named.node.name.node.to_string());
            }
            TypeKind::Object(object) if named.node.name.node == "Mutation" => {
                mutations = object.fields;
            }
            _ => {}
        }
    }
    let keyed = mutations.into_iter().filter(|field| {
        field.node.arguments.iter().any(|argument| {
            let named = argument.node.ty.node.to_string();
            argument.node.name.node == KEY || inputs.contains(named.trim_matches(['[', ']', '!']))
        })
    });
    keyed
        .map(|field| field.node.name.node.to_string())
        .collect()
}

/// A script with a key of its own (compte de service), instead of a person: it may do what its scopes say, and
/// never approves anything (R12.5).
#[derive(SimpleObject)]
pub struct ServiceAccount {
    /// The opaque id.
    id: ID,
    /// What it is called; entries that it makes show it as their author.
    name: String,
    /// What it may do, as the codes of `viewer { permissions }`.
    scopes: Vec<String>,
    /// The last day of its key.
    expires_on: Date,
    /// When it was created.
    created_at: Instant,
    /// Who created it.
    created_by: String,
    /// When its key was last replaced; null while it has the first one.
    rotated_at: Option<Instant>,
    /// When its key was last used, to the minute; null before the first use.
    last_used_at: Option<Instant>,
    /// When it was revoked; null while it may come in.
    revoked_at: Option<Instant>,
}

impl ServiceAccount {
    fn of(row: store::account::ServiceAccount) -> ServiceAccount {
        ServiceAccount {
            id: show(row.id),
            name: row.name,
            scopes: row.scopes,
            expires_on: row.expires_on.into(),
            created_at: row.created_at.into(),
            created_by: row.created_by,
            rotated_at: row.rotated_at.map(Into::into),
            last_used_at: row.last_used_at.map(Into::into),
            revoked_at: row.revoked_at.map(Into::into),
        }
    }
}

/// An invitation that was not accepted yet.
#[derive(SimpleObject)]
pub struct Invitation {
    /// The opaque id, which `revokeInvitation` takes.
    id: ID,
    /// The e-mail address that it is for.
    email: String,
    /// The role that the person will have.
    role: Role,
    /// Until when it may be accepted.
    expires_at: Instant,
    /// When it was made.
    invited_at: Instant,
    /// Who made it.
    invited_by: String,
}

impl Invitation {
    /// Of a record.
    pub fn of(row: store::account::Invitation) -> Result<Invitation> {
        let role = access::Role::read(&row.role)
            .ok_or_else(|| Error::Internal(format!("stored role {}", row.role)))?;
        Ok(Invitation {
            id: show(row.id),
            email: row.email,
            role: role.into(),
            expires_at: row.expires_at.into(),
            invited_at: row.invited_at.into(),
            invited_by: row.invited_by,
        })
    }
}

/// A company that the asking person belongs to; `POST /auth/switch` goes there.
#[derive(SimpleObject)]
pub struct ViewerCompany {
    /// The opaque id, which a log-in and a switch take.
    id: ID,
    /// Its name (raison sociale).
    name: String,
    /// What the person is there; null for a service account, which has scopes.
    role: Option<Role>,
}

/// The companies of whoever asks: a person's memberships, else the company of the token.
pub async fn viewer_companies(ctx: &Context<'_>) -> Result<Vec<ViewerCompany>> {
    session(ctx)?
        .read(|conn, caller| {
            let Some(user) = caller.user else {
                let company = store::company::load(conn, caller.company)?;
                let role = (!caller.is_service()).then(|| caller.role.into());
                let shown = company.map(|company| ViewerCompany {
                    id: show(company.company_id),
                    name: company.name,
                    role,
                });
                return Ok(shown.into_iter().collect());
            };
            let places = store::member::companies_of(conn, user)?.into_iter();
            let shown = places.map(|place| ViewerCompany {
                id: show(place.company_id),
                name: place.name,
                role: access::Role::read(&place.role).map(Into::into),
            });
            Ok(shown.collect())
        })
        .await
}

/// A service account to create.
#[derive(InputObject, Clone, Debug)]
struct CreateServiceAccountInput {
    /// What it is called, 1 to 100 characters, no other's name in use.
    name: String,
    /// What it may do, as codes of `viewer { permissions }`: reads, `WRITE_CLIENTS`, `ISSUE_INVOICES`,
    /// `RECORD_PAYMENTS`, `RECORD_DEDUCTIONS`, `OPEN_DISPUTES`, `IMPORT`, `EXPORT_ACCOUNTING`.
    #[graphql(default)]
    scopes: Vec<String>,
    /// It may also read what this role reads; not SALES, whose rights go with a portfolio.
    read_set_of: Option<Role>,
    /// The last day of its key, at most two years from today.
    expires_on: Date,
}

/// A service account whose key to replace.
#[derive(InputObject, Clone, Debug)]
struct RotateServiceAccountInput {
    /// The account.
    service_account: ID,
    /// The last day of the new key; that of the old one when absent.
    expires_on: Option<Date>,
}

/// What happened to a service account.
#[derive(SimpleObject)]
struct ServiceAccountPayload {
    /// The account; null when refused.
    service_account: Option<ServiceAccount>,
    /// The key, shown this once: send it as `Authorization: Bearer enc_…`, or to `/export` and `/import` as the
    /// password of HTTP Basic. Null when refused or revoked.
    key: Option<String>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// A person to invite.
#[derive(InputObject, Clone, Debug)]
struct InviteMemberInput {
    /// E-mail address, which will log in.
    email: String,
    /// The role that the person will have.
    role: Role,
}

/// What happened to an invitation.
#[derive(SimpleObject)]
struct InvitationPayload {
    /// The invitation; null when refused or taken back.
    invitation: Option<Invitation>,
    /// What the person sends to `POST /auth/accept`, shown this once: pass it on as part of a link to your
    /// front-end. Null when refused or taken back.
    token: Option<String>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// Who comes in besides the members.
#[derive(Default)]
pub struct AccessQuery;

#[Object]
impl AccessQuery {
    /// The service accounts of the company: those in use first, by name. Keys are not kept and not shown.
    #[graphql(guard = "Permitted(\"Query.serviceAccounts\")")]
    async fn service_accounts(&self, ctx: &Context<'_>) -> Result<Vec<ServiceAccount>> {
        let rows = session(ctx)?
            .read(|conn, caller| Ok(store::account::all(conn, caller.company)?))
            .await?;
        Ok(rows.into_iter().map(ServiceAccount::of).collect())
    }
}

async fn account(ctx: &Context<'_>, id: ServiceAccountId) -> Result<Option<ServiceAccount>> {
    let row = session(ctx)?
        .read(move |conn, caller| Ok(store::account::find(conn, caller.company, id)?))
        .await?;
    Ok(row.map(ServiceAccount::of))
}

async fn invitation(ctx: &Context<'_>, id: InvitationId) -> Result<Option<Invitation>> {
    session(ctx)?
        .read(move |conn, caller| Ok(store::account::invitation(conn, caller.company, id)?))
        .await?
        .map(Invitation::of)
        .transpose()
}

/// Lets others in, and out again. None of these takes an idempotency key: a replay could only show the secret
/// again if it were kept.
#[derive(Default)]
pub struct AccessMutation;

#[Object]
impl AccessMutation {
    /// Creates a service account and shows its key, once (R12.5).
    #[graphql(guard = "Permitted(\"Mutation.createServiceAccount\")")]
    async fn create_service_account(
        &self,
        ctx: &Context<'_>,
        input: CreateServiceAccountInput,
    ) -> Result<ServiceAccountPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            let read_set_of = input.read_set_of.map(Into::into);
            let scopes = service::access::scopes(&input.scopes, read_set_of)?;
            let expires_on = input.expires_on.0;
            service::access::create_account(conn, caller, &input.name, &scopes, expires_on)
        })
        .await?;
        let (service_account, key) = match done.made {
            Some((id, key)) => (account(ctx, id).await?, Some(key)),
            None => (None, None),
        };
        Ok(ServiceAccountPayload {
            service_account,
            key,
            user_errors: done.user_errors,
        })
    }

    /// Replaces the key of a service account and shows the new one, once. The old key is void at once.
    #[graphql(guard = "Permitted(\"Mutation.rotateServiceAccount\")")]
    async fn rotate_service_account(
        &self,
        ctx: &Context<'_>,
        input: RotateServiceAccountInput,
    ) -> Result<ServiceAccountPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            let id = read("serviceAccount", "service account", &input.service_account)?;
            let expires_on = on(input.expires_on);
            let key = service::access::rotate_account(conn, caller, id, expires_on)?;
            Ok((id, key))
        })
        .await?;
        let (service_account, key) = match done.made {
            Some((id, key)) => (account(ctx, id).await?, Some(key)),
            None => (None, None),
        };
        Ok(ServiceAccountPayload {
            service_account,
            key,
            user_errors: done.user_errors,
        })
    }

    /// Ends a service account for good; what it recorded stays.
    #[graphql(guard = "Permitted(\"Mutation.revokeServiceAccount\")")]
    async fn revoke_service_account(
        &self,
        ctx: &Context<'_>,
        service_account: ID,
    ) -> Result<ServiceAccountPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            let id = read("serviceAccount", "service account", &service_account)?;
            service::access::revoke_account(conn, caller, id)?;
            Ok(id)
        })
        .await?;
        let service_account = match done.made {
            Some(id) => account(ctx, id).await?,
            None => None,
        };
        Ok(ServiceAccountPayload {
            service_account,
            key: None,
            user_errors: done.user_errors,
        })
    }

    /// Invites a person, in place of a pending invitation for the same address. Nothing is sent: pass the token
    /// on yourself. It may be accepted once, within seven days.
    #[graphql(guard = "Permitted(\"Mutation.inviteMember\")")]
    async fn invite_member(
        &self,
        ctx: &Context<'_>,
        input: InviteMemberInput,
    ) -> Result<InvitationPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            service::access::invite(conn, caller, &input.email, input.role.into())
        })
        .await?;
        let (invitation, token) = match done.made {
            Some((id, token)) => (invitation(ctx, id).await?, Some(token)),
            None => (None, None),
        };
        Ok(InvitationPayload {
            invitation,
            token,
            user_errors: done.user_errors,
        })
    }

    /// Takes an invitation back that was not accepted yet.
    #[graphql(guard = "Permitted(\"Mutation.revokeInvitation\")")]
    async fn revoke_invitation(
        &self,
        ctx: &Context<'_>,
        invitation: ID,
    ) -> Result<InvitationPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            let id = read("invitation", "invitation", &invitation)?;
            service::access::revoke_invitation(conn, caller, id)
        })
        .await?;
        Ok(InvitationPayload {
            invitation: None,
            token: None,
            user_errors: done.user_errors,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creating_mutations_take_a_key() {
        for mutation in ["createClient", "recordPayments", "openDispute"] {
            assert!(takes_key(mutation), "{mutation}");
        }
        for mutation in ["closeClient", "revokeServiceAccount", "nothing"] {
            assert!(!takes_key(mutation), "{mutation}");
        }
    }
}
