//! What becomes of a session: refreshed, left, taken to another company, or kept alone by a new password.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use super::login::{Failure, answer, granted, guess, note_refused, verified};
use super::{Identity, client, password};
use crate::domain::audit::{Event, Origin};
use crate::domain::ids::{CompanyId, Id};
use crate::domain::refusal::Refusal;
use crate::error::Error;
use crate::http::graphql::GraphqlEndpoint;
use crate::service::audit::at_the_door;
use crate::service::session::{
    Rotation, change_password, claim, log_out, rotate, session_of, switch as switched, waits,
};
use crate::store;
use crate::store::session::SessionRow;

/// One text for every cause.
const STALE: &str = "the refresh token is not valid: log in again";
const NO_TOKEN: &str = "a valid token is needed";
const ELSEWHERE: &str = "this session does not open the company: log in to it";

/// The token that a session goes on by.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refresh {
    refresh_token: String,
}

/// `POST /auth/refresh`: a refresh token for a new pair of tokens. Each works once.
pub async fn refresh(
    request: HttpRequest,
    body: web::Json<Refresh>,
    endpoint: web::Data<GraphqlEndpoint>,
) -> HttpResponse {
    let text = body.into_inner().refresh_token;
    answer(refreshed(&request, text, &endpoint).await)
}

async fn refreshed(
    request: &HttpRequest,
    text: String,
    endpoint: &GraphqlEndpoint,
) -> Result<HttpResponse, Failure> {
    let policy = endpoint.authenticator.policy();
    let terms = policy.terms();
    let client = client::digest(request, &policy.trusted_proxies);
    let origin = endpoint.authenticator.origin(request);
    let rotation = endpoint
        .store
        .anonymous_write(move |conn| {
            let rotation = rotate(conn, &text, &client, terms)?;
            if let (Rotation::Stolen, Some(session)) = (&rotation, session_of(conn, &text)?) {
                let (what, details) = (Event::TokenReused, session.id.show());
                tell(
                    conn,
                    &session,
                    &origin,
                    what,
                    &json!({ "session": details }),
                )?;
            }
            Ok(rotation)
        })
        .await?;
    match rotation {
        Rotation::Granted { opened, member } => granted(endpoint, &opened, *member).await,
        Rotation::Refused => Err(Failure::Wrong(STALE)),
        Rotation::Stolen => {
            endpoint.store.learn_revocations().await?;
            tracing::warn!("a refresh token came a second time: its sessions have ended");
            Err(Failure::Wrong(STALE))
        }
    }
}

/// Which log-in ends: that of the refresh token, else that of the bearer.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Logout {
    refresh_token: Option<String>,
}

/// `POST /auth/logout`: ends the log-in, in every company that it was taken to. Again, it does nothing.
pub async fn logout(
    request: HttpRequest,
    body: Option<web::Json<Logout>>,
    endpoint: web::Data<GraphqlEndpoint>,
) -> HttpResponse {
    let text = body.and_then(|body| body.into_inner().refresh_token);
    answer(logged_out(&request, text, &endpoint).await)
}

async fn logged_out(
    request: &HttpRequest,
    refresh_token: Option<String>,
    endpoint: &GraphqlEndpoint,
) -> Result<HttpResponse, Failure> {
    let store = &endpoint.store;
    let origin = endpoint.authenticator.origin(request);
    let bearer = match &refresh_token {
        Some(_) => None,
        None => {
            let session = identity(request, endpoint).await?.session;
            Some(session.ok_or(Failure::Wrong(NO_TOKEN))?)
        }
    };
    store
        .anonymous_write(move |conn| {
            let found = match (&refresh_token, bearer) {
                (Some(text), _) => session_of(conn, text)?,
                (None, Some(session)) => store::session::find(conn, session)?,
                (None, None) => None,
            };
            let Some(session) = found else {
                return Ok(());
            };
            log_out(conn, session.id)?;
            // Again, it does nothing.
            if session.revoked_at.is_none() {
                let details = json!({ "session": session.id.show() });
                tell(conn, &session, &origin, Event::LoggedOut, &details)?;
            }
            Ok(())
        })
        .await?;
    store.learn_revocations().await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Writes down what became of a session, in its company.
fn tell(
    conn: &mut store::Conn,
    session: &SessionRow,
    origin: &Origin,
    what: Event,
    details: &serde_json::Value,
) -> crate::error::Result<()> {
    let Some(person) = store::member::by_ids(conn, &[session.user_id])?.pop() else {
        return Ok(());
    };
    let who = (person.id, person.email.as_str());
    at_the_door(conn, session.company_id, who, origin, what, details)
}

async fn identity(request: &HttpRequest, endpoint: &GraphqlEndpoint) -> Result<Identity, Failure> {
    let header = request.headers().get(header::AUTHORIZATION);
    let header = header.and_then(|value| value.to_str().ok());
    let found = endpoint
        .authenticator
        .identify(header, &endpoint.store)
        .await;
    found.map_err(|error| match error {
        Error::Unauthenticated => Failure::Wrong(NO_TOKEN),
        other => Failure::Other(other),
    })
}

/// The company to go to.
#[derive(Deserialize)]
pub struct Switch {
    company: String,
}

/// `POST /auth/switch`: tokens for another company of the person of a session. The former session goes on; all
/// of one log-in end together.
pub async fn switch(
    request: HttpRequest,
    body: web::Json<Switch>,
    endpoint: web::Data<GraphqlEndpoint>,
) -> HttpResponse {
    answer(taken_to(&request, &body.company, &endpoint).await)
}

async fn taken_to(
    request: &HttpRequest,
    company: &str,
    endpoint: &GraphqlEndpoint,
) -> Result<HttpResponse, Failure> {
    // A printed token, a key or a token of an identity provider opens what it was made for.
    let session = identity(request, endpoint).await?.session;
    let session = session.ok_or(Failure::Wrong(ELSEWHERE))?;
    let company = CompanyId::read(company).ok_or(Failure::Wrong(ELSEWHERE))?;
    let terms = endpoint.authenticator.policy().terms();
    let origin = endpoint.authenticator.origin(request);
    let (opened, member) = endpoint
        .store
        .anonymous_write(move |conn| {
            let Some((opened, member)) = switched(conn, session, company, terms)? else {
                return Ok(None);
            };
            let person = (opened.user, member.email.as_str());
            let details = json!({ "session": opened.session.show(), "role": member.role });
            at_the_door(conn, company, person, &origin, Event::Switched, &details)?;
            Ok(Some((opened, member)))
        })
        .await?
        .ok_or(Failure::Wrong(ELSEWHERE))?;
    granted(endpoint, &opened, member).await
}

/// The password of now, and the one to come.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    old_password: String,
    new_password: String,
}

/// `POST /auth/password`: sets another password, and ends the other sessions of the person.
pub async fn password(
    request: HttpRequest,
    body: web::Json<Change>,
    endpoint: web::Data<GraphqlEndpoint>,
) -> HttpResponse {
    answer(changed(&request, body.into_inner(), &endpoint).await)
}

async fn changed(
    request: &HttpRequest,
    change: Change,
    endpoint: &GraphqlEndpoint,
) -> Result<HttpResponse, Failure> {
    let identity = identity(request, endpoint).await?;
    let user = identity.caller.user.ok_or(Failure::Wrong(NO_TOKEN))?;
    let found = endpoint
        .store
        .anonymous(move |conn| Ok(store::member::by_ids(conn, &[user])?))
        .await?;
    let person = found.into_iter().next().ok_or(Failure::Wrong(NO_TOKEN))?;
    let guess = guess(request, endpoint, &person.email);
    let claimed = guess.clone();
    let (wait, locks) = endpoint
        .store
        .anonymous_write(move |conn| Ok((claim(conn, &claimed)?, waits(conn, &claimed)?)))
        .await?;
    if let Some(seconds) = wait {
        return Err(Failure::Locked(seconds));
    }
    let companies: Vec<CompanyId> = endpoint
        .store
        .anonymous(move |conn| Ok(store::member::memberships_of(conn, user)?))
        .await?
        .into_iter()
        .map(|(company, _)| company)
        .collect();
    let hash = person.password_hash.clone();
    if let Err(failure) = verified(endpoint, guess, change.old_password, hash).await {
        if let Failure::Wrong(_) = failure {
            note_refused(request, endpoint, locks, &person, companies);
        }
        return Err(failure);
    }
    crate::domain::password::check(&change.new_password, &person.email)
        .map_err(|why| Error::from(Refusal::invalid("newPassword", why)))?;
    let hash = password::hash(change.new_password).await?;
    let origin = endpoint.authenticator.origin(request);
    endpoint
        .store
        .anonymous_write(move |conn| {
            change_password(conn, user, &hash, identity.session)?;
            for company in &companies {
                let (what, details) = (Event::PasswordChanged, json!({}));
                at_the_door(
                    conn,
                    *company,
                    (user, &person.email),
                    &origin,
                    what,
                    &details,
                )?;
            }
            Ok(())
        })
        .await?;
    endpoint.store.learn_revocations().await?;
    Ok(HttpResponse::NoContent().finish())
}
