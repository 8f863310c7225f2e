//! The log-in: an e-mail address and a password for a pair of tokens. And what the other routes share with it.

use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::SecondsFormat;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::{client, nobody, password, today};
use crate::domain::access::Caller;
use crate::domain::audit::Event;
use crate::domain::ids::{CompanyId, Id, UserId};
use crate::error::{BUSY, Error, Result};
use crate::http::graphql::GraphqlEndpoint;
use crate::http::{fault, files};
use crate::service::audit::at_the_door;
use crate::service::session::{Guess, Opened, claim, forgive, open, role_of, take_back, waits};
use crate::store;
use crate::store::member::{Member, User};

/// Longest body of a request for tokens.
const BODY_BYTES: usize = 4096;
/// One text for every cause: whether an address is known is nobody's business.
const WRONG: &str =
    "the e-mail address or the password is wrong, or there is no access to the company";

/// Why somebody got no tokens.
pub enum Failure {
    /// What was sent opens nothing; the text to answer.
    Wrong(&'static str),
    /// Too many guesses: these seconds are to be waited.
    Locked(u64),
    /// Anything else.
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Other(error)
    }
}

impl Failure {
    /// The answer to it. One who is locked out is told what a wrong password is told, and when to come again.
    pub fn answer(self) -> HttpResponse {
        match self {
            Failure::Wrong(text) => {
                HttpResponse::Unauthorized().json(fault("UNAUTHENTICATED", text))
            }
            Failure::Locked(seconds) => HttpResponse::TooManyRequests()
                .insert_header((RETRY_AFTER, seconds.to_string()))
                .json(fault("UNAUTHENTICATED", WRONG)),
            Failure::Other(Error::Unavailable(_) | Error::Timeout) => {
                HttpResponse::ServiceUnavailable()
                    .insert_header((RETRY_AFTER, "5"))
                    .json(fault("UNAVAILABLE", BUSY))
            }
            Failure::Other(error) => files::refused(error),
        }
    }
}

/// The answer to a request for tokens.
pub fn answer(result: std::result::Result<HttpResponse, Failure>) -> HttpResponse {
    result.unwrap_or_else(Failure::answer)
}

/// How the bodies are read.
pub fn body() -> web::JsonConfig {
    web::JsonConfig::default()
        .limit(BODY_BYTES)
        .error_handler(|error, _| {
            let why =
                "send a JSON object with the fields of this route, such as email and password";
            let answer = HttpResponse::BadRequest().json(fault("BAD_USER_INPUT", why));
            actix_web::error::InternalError::from_response(error, answer).into()
        })
}

/// What a log-in sends.
#[derive(Deserialize)]
pub struct Login {
    email: String,
    password: String,
    /// For a member of several companies; else the oldest membership counts.
    company: Option<String>,
}

/// `POST /auth/login`: trades an e-mail address and a password for tokens.
pub async fn login(
    request: HttpRequest,
    body: web::Json<Login>,
    endpoint: web::Data<GraphqlEndpoint>,
) -> HttpResponse {
    answer(logged_in(&request, body.into_inner(), &endpoint).await)
}

async fn logged_in(
    request: &HttpRequest,
    login: Login,
    endpoint: &GraphqlEndpoint,
) -> std::result::Result<HttpResponse, Failure> {
    let (user, memberships) = known(request, endpoint, &login.email, login.password).await?;
    let wanted = login.company.as_deref().map(CompanyId::read);
    let company = memberships
        .into_iter()
        .find(|company| wanted.is_none_or(|wanted| wanted == Some(*company)))
        .ok_or(Failure::Wrong(WRONG))?;
    opened(request, endpoint, user.id, company).await
}

/// Opens a company to a person who has proved to be one of its members, and answers the tokens.
pub async fn opened(
    request: &HttpRequest,
    endpoint: &GraphqlEndpoint,
    user: UserId,
    company: CompanyId,
) -> std::result::Result<HttpResponse, Failure> {
    let terms = endpoint.authenticator.policy().terms();
    let origin = endpoint.authenticator.origin(request);
    let (opened, member) = endpoint
        .store
        .anonymous_write(move |conn| {
            let Some((opened, member)) = open(conn, user, company, None, terms)? else {
                return Ok(None);
            };
            let person = (user, member.email.as_str());
            let details = json!({ "session": opened.session.show(), "role": member.role });
            at_the_door(conn, company, person, &origin, Event::LoggedIn, &details)?;
            Ok(Some((opened, member)))
        })
        .await?
        .ok_or(Failure::Wrong(WRONG))?;
    granted(endpoint, &opened, member).await
}

/// The person with this address and password, and the companies where they belong, oldest membership first.
pub async fn known(
    request: &HttpRequest,
    endpoint: &GraphqlEndpoint,
    email: &str,
    password: String,
) -> std::result::Result<(User, Vec<CompanyId>), Failure> {
    // A null character is no text for the database, nor in any address.
    let email = email.trim().to_lowercase();
    let email = if email.contains('\0') {
        String::new()
    } else {
        email
    };
    let guess = guess(request, endpoint, &email);
    let claimed = guess.clone();
    let (wait, locks, user, memberships) = endpoint
        .store
        .anonymous_write(move |conn| {
            let wait = claim(conn, &claimed)?;
            // Told only if it turns out wrong: then it was this guess that locks the door.
            let locks = waits(conn, &claimed)?;
            let user = store::member::by_email(conn, &email)?;
            // Asked for a user that does not exist too: the same work for all.
            let id = user.as_ref().map_or(UserId(Uuid::nil()), |user| user.id);
            let memberships = store::member::memberships_of(conn, id)?;
            Ok((wait, locks, user, memberships))
        })
        .await?;
    if let Some(seconds) = wait {
        return Err(Failure::Locked(seconds));
    }
    let hash = user.as_ref().and_then(|user| user.password_hash.clone());
    let companies: Vec<CompanyId> = memberships
        .into_iter()
        .map(|(company, _)| company)
        .collect();
    match (verified(endpoint, guess, password, hash).await, user) {
        (Ok(()), Some(user)) => Ok((user, companies)),
        (Err(Failure::Wrong(text)), Some(user)) => {
            note_refused(request, endpoint, locks, &user, companies);
            Err(Failure::Wrong(text))
        }
        (Err(failure), _) => Err(failure),
        (Ok(()), None) => Err(Failure::Wrong(WRONG)),
    }
}

/// Tells the companies of a person that a password was wrong, and for how many seconds that locks the door. Beside the answer: how long
/// that takes must not say whether there is such a person.
pub fn note_refused(
    request: &HttpRequest,
    endpoint: &GraphqlEndpoint,
    locks: Option<u64>,
    user: &User,
    companies: Vec<CompanyId>,
) {
    let origin = endpoint.authenticator.origin(request);
    let (id, email) = (user.id, user.email.clone());
    let store = endpoint.store.clone();
    actix_web::rt::spawn(async move {
        let told = store
            .anonymous_write(move |conn| {
                for company in &companies {
                    let person = (id, email.as_str());
                    let tell = |conn: &mut _, what, details: &serde_json::Value| {
                        at_the_door(conn, *company, person, &origin, what, details)
                    };
                    tell(conn, Event::LogInRefused, &json!({}))?;
                    if let Some(seconds) = locks {
                        tell(conn, Event::LockedOut, &json!({ "seconds": seconds }))?;
                    }
                }
                Ok(())
            })
            .await;
        if let Err(error) = told {
            tracing::warn!(%error, "a refused log-in was not written down");
        }
    });
}

/// Who guesses, from where.
pub fn guess(request: &HttpRequest, endpoint: &GraphqlEndpoint, email: &str) -> Guess {
    let policy = endpoint.authenticator.policy();
    let address = client::address(request, &policy.trusted_proxies);
    Guess::new(
        email,
        &address,
        policy.login_failures,
        policy.login_failures_per_address,
    )
}

/// Looks at a guess that was claimed: it is forgiven when it is right, and stays counted when it is wrong.
pub async fn verified(
    endpoint: &GraphqlEndpoint,
    guess: Guess,
    password: String,
    hash: Option<String>,
) -> std::result::Result<(), Failure> {
    let right = password::is_right(password, hash).await;
    let store = &endpoint.store;
    match right {
        Ok(true) => {
            store
                .anonymous_write(move |conn| forgive(conn, &guess))
                .await?;
            Ok(())
        }
        Ok(false) => Err(Failure::Wrong(WRONG)),
        Err(error) => {
            store
                .anonymous_write(move |conn| take_back(conn, &guess))
                .await?;
            Err(error.into())
        }
    }
}

/// The tokens of a session, with what the company is called.
pub async fn granted(
    endpoint: &GraphqlEndpoint,
    opened: &Opened,
    member: Member,
) -> std::result::Result<HttpResponse, Failure> {
    let role = role_of(&member)?;
    let caller = Caller {
        user: Some(opened.user),
        author: member.email,
        role,
        scopes: None,
        today: today(),
        approval: None,
        ..nobody(opened.company)
    };
    let name = company_name(endpoint, &caller).await?;
    let token = endpoint
        .authenticator
        .issue_in(&caller, opened.session)
        .map_err(Failure::Other)?;
    let moment = |at: chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    Ok(HttpResponse::build(StatusCode::OK)
        .insert_header(("cache-control", "no-store"))
        .json(json!({
            "token": token.text,
            "expiresAt": moment(token.expires_at),
            "refreshToken": opened.refresh,
            "refreshExpiresAt": moment(opened.refresh_expires_at),
            "role": role.code(),
            "company": { "id": opened.company.show(), "name": name },
        })))
}

async fn company_name(endpoint: &GraphqlEndpoint, caller: &Caller) -> Result<String> {
    let session = endpoint.store.session(caller.clone());
    let found = session
        .read(move |conn, caller| Ok(store::company::load(conn, caller.company)?))
        .await;
    session.finish().await;
    Ok(found?.ok_or(Error::Unauthenticated)?.name)
}
