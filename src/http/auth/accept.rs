//! An invitation is accepted: the person becomes a member and is logged in.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::login::{Failure, answer, known, opened};
use super::{nobody, password};
use crate::domain::access::Caller;
use crate::domain::credential::{Credential, INVITATION};
use crate::domain::ids::InvitationId;
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::http::graphql::GraphqlEndpoint;
use crate::service::access::{self, Acceptance};
use crate::store;
use crate::store::account::Invitation;

/// One text for every cause.
const VOID: &str = "the invitation is not valid any more: ask for another one";

/// What a person sends who was invited.
#[derive(Deserialize)]
pub struct Accept {
    /// The token of the invitation.
    token: String,
    /// The name of a new person; a known one keeps the own.
    #[serde(default)]
    name: String,
    /// The first password of a new person; a known one proves to be the same with the own.
    password: String,
}

/// `POST /auth/accept`: an invitation for a membership, and tokens.
pub async fn accept(
    request: HttpRequest,
    body: web::Json<Accept>,
    endpoint: web::Data<GraphqlEndpoint>,
) -> HttpResponse {
    answer(accepted(&request, body.into_inner(), &endpoint).await)
}

async fn accepted(
    request: &HttpRequest,
    sent: Accept,
    endpoint: &GraphqlEndpoint,
) -> Result<HttpResponse, Failure> {
    let token = Credential::<InvitationId>::read(INVITATION, &sent.token);
    let token = token.ok_or(Failure::Wrong(VOID))?;
    let (invitation, has_password) = found(endpoint, &token).await?;
    let acceptance = match has_password {
        true => {
            let (user, _) = known(request, endpoint, &invitation.email, sent.password).await?;
            Acceptance::Known(user.id)
        }
        false => {
            crate::domain::password::check(&sent.password, &invitation.email)
                .map_err(|why| Error::from(Refusal::invalid("password", why)))?;
            Acceptance::New {
                name: sent.name,
                password_hash: password::hash(sent.password).await?,
            }
        }
    };
    // Nobody yet, but who it is says the invitation.
    let newcomer = Caller {
        author: invitation.email.clone(),
        ..nobody(token.company)
    };
    let origin = endpoint.authenticator.origin(request);
    let session = endpoint.store.session_from(newcomer, origin);
    let company = token.company;
    let user = session
        .write(move |conn, caller| access::accept(conn, caller, &token, &acceptance))
        .await;
    session.finish().await;
    let user = user?.ok_or(Failure::Wrong(VOID))?;
    opened(request, endpoint, user, company).await
}

/// The invitation, and whether its person has a password already.
async fn found(
    endpoint: &GraphqlEndpoint,
    token: &Credential<InvitationId>,
) -> Result<(Invitation, bool), Failure> {
    let session = endpoint.store.session(nobody(token.company));
    let token = token.clone();
    let found = session
        .read(move |conn, caller| {
            let Some(invitation) = access::opened(conn, caller, &token)? else {
                return Ok(None);
            };
            let user = store::member::by_email(conn, &invitation.email)?;
            let has_password = user.is_some_and(|user| user.password_hash.is_some());
            Ok(Some((invitation, has_password)))
        })
        .await;
    session.finish().await;
    found?.ok_or(Failure::Wrong(VOID))
}
