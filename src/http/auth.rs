//! Who may come in, for which company, as what: our own tokens, those of an identity provider, and keys of
//! service accounts. And the routes that hand tokens out.
//!
//! What a bearer sends is told apart by its form, then verified by one key in the one way that fits it:
//! `enc_…` is a key; a token without `kid` is ours, by HMAC and our secret; a token with `kid` is the identity
//! provider's, by the algorithm of that key. Whatever is wrong, the answer is the same.

mod accept;
mod client;
pub mod jwks;
mod key;
mod login;
mod password;
mod session;
mod token;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, web};
use chrono::{DateTime, Utc};

use crate::domain::access::{Caller, Role, SCRIPT};
use crate::domain::audit::Origin;
use crate::domain::ids::{CompanyId, SessionId};
use crate::error::{Error, Result};
use crate::http::graphql::answer::request_id;
pub use crate::service::jobs::today;
use crate::service::session::Terms;
use crate::store::Db;
use jwks::Provider;
use token::{Head, Own};
pub use token::{SECRET_BYTES, Token, secret};

/// Longest header that is looked at: tokens of identity providers carry groups.
const HEADER_BYTES: usize = 16 * 1024;

/// What the operator decides about access.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Life of an access token.
    pub access_ttl: Duration,
    /// Life of a refresh token.
    pub refresh_ttl: Duration,
    /// How long a used refresh token may come again from the same client.
    pub refresh_grace: Duration,
    /// Failures of one e-mail address before it has to wait.
    pub login_failures: u32,
    /// Failures from one network address before it has to wait.
    pub login_failures_per_address: u32,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
}

impl Default for Policy {
    fn default() -> Policy {
        const DAY: u64 = 24 * 60 * 60;
        Policy {
            access_ttl: Duration::from_secs(15 * 60),
            refresh_ttl: Duration::from_secs(30 * DAY),
            refresh_grace: Duration::ZERO,
            login_failures: 5,
            login_failures_per_address: 20,
            trusted_proxies: Vec::new(),
        }
    }
}

impl Policy {
    fn terms(&self) -> Terms {
        Terms {
            refresh_ttl: self.refresh_ttl,
            grace: self.refresh_grace,
        }
    }
}

/// Who sends a request, and by which session.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The caller.
    pub caller: Caller,
    /// The session that the token belongs to; none for printed tokens, keys and the identity provider's.
    pub session: Option<SessionId>,
    /// The last moment of the token, without the leeway that clocks are given; none for keys.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Who came in on a connection that stays open, and until when.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Who.
    pub caller: Caller,
    header: Option<String>,
    expires_at: Option<DateTime<Utc>>,
}

impl Admitted {
    /// How long the token still holds; a day for keys, which do not say so.
    pub fn remaining(&self) -> Duration {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        match self.expires_at {
            Some(end) => (end - Utc::now()).to_std().unwrap_or_default(),
            None => DAY,
        }
    }

    /// The caller as of now: a connection may outlive the day it was opened on.
    pub fn now(&self) -> Caller {
        Caller {
            today: today(),
            ..self.caller.clone()
        }
    }
}

/// Makes and reads tokens. Cheap to clone.
#[derive(Clone)]
pub struct Authenticator(Arc<Inner>);

struct Inner {
    own: Own,
    policy: Policy,
    provider: Option<Provider>,
}

impl Authenticator {
    /// Signs and verifies with this secret; nobody else's tokens are accepted.
    pub fn new(secret: &[u8]) -> Result<Authenticator> {
        Authenticator::with(secret, Policy::default(), None)
    }

    /// The same under a policy of the operator, and with an identity provider.
    pub fn with(
        secret: &[u8],
        policy: Policy,
        provider: Option<Provider>,
    ) -> Result<Authenticator> {
        Ok(Authenticator(Arc::new(Inner {
            own: Own::new(secret)?,
            policy,
            provider,
        })))
    }

    /// Who sends this `Authorization` header.
    pub async fn authenticate(&self, header: Option<&str>, db: &Db) -> Result<Caller> {
        Ok(self.identify(header, db).await?.caller)
    }

    /// The same where tools ask that know user names and passwords only: the password may be a key.
    pub async fn authenticate_or_basic(&self, header: Option<&str>, db: &Db) -> Result<Caller> {
        match header.and_then(key::basic) {
            Some(key) => key::caller(&key, db).await,
            None => self.authenticate(header, db).await,
        }
    }

    /// Who sends this `Authorization` header, and by which session.
    async fn identify(&self, header: Option<&str>, db: &Db) -> Result<Identity> {
        let text = header.and_then(bearer).ok_or(Error::Unauthenticated)?;
        if key::is_key(text) {
            let caller = key::caller(text, db).await?;
            return Ok(Identity {
                caller,
                session: None,
                expires_at: None,
            });
        }
        let head = Head::of(text).ok_or(Error::Unauthenticated)?;
        if let Some(kid) = &head.kid {
            let provider = self.0.provider.as_ref().ok_or(Error::Unauthenticated)?;
            let claims = provider.verify(text, &head, kid).await?;
            return provider.identify(claims, db).await;
        }
        let identity = self.0.own.verify(text, &head)?;
        match identity.session {
            Some(session) if db.is_revoked(session).await? => Err(Error::Unauthenticated),
            _ => Ok(identity),
        }
    }

    /// Who sends this `Authorization` header, and until when that holds: for connections that stay open.
    pub async fn admit(&self, header: Option<&str>, db: &Db) -> Result<Admitted> {
        let identity = self.identify(header, db).await?;
        Ok(Admitted {
            caller: identity.caller,
            header: header.map(str::to_owned),
            expires_at: identity.expires_at,
        })
    }

    /// Whether whoever was admitted still may be: not when a log-in was ended or a key revoked since. A database that
    /// is away ends nothing: the answer is asked for again.
    pub async fn is_ended(&self, admitted: &Admitted, db: &Db) -> bool {
        let again = self.identify(admitted.header.as_deref(), db).await;
        matches!(again, Err(Error::Unauthenticated))
    }

    /// A token for this caller that no session stands behind: it is valid to its end. `today` does not matter.
    pub fn issue(&self, caller: &Caller, ttl: Duration) -> Result<Token> {
        self.0.own.issue(caller, None, ttl)
    }

    fn issue_in(&self, caller: &Caller, session: SessionId) -> Result<Token> {
        let ttl = self.0.policy.access_ttl;
        self.0.own.issue(caller, Some(session), ttl)
    }

    /// The network address of a client, as the proxies that are trusted say.
    pub fn address(&self, request: &HttpRequest) -> String {
        client::address(request, &self.0.policy.trusted_proxies)
    }

    /// Where a request comes from, for the audit trail, which calls it by method and route.
    pub fn origin(&self, request: &HttpRequest) -> Origin {
        let route = request.match_pattern();
        let route = route.as_deref().unwrap_or(request.path());
        Origin {
            request: Some(request_id(request)),
            address: Some(self.address(request)),
            operation: Some(format!("{} {route}", request.method())),
        }
    }

    /// Tells the company of a key that it opened nothing: beside the answer, which takes as long for every key.
    pub fn note_refused_key(&self, request: &HttpRequest, db: &Db) {
        let header = request.headers().get(header::AUTHORIZATION);
        let header = header.and_then(|value| value.to_str().ok());
        let text = header
            .and_then(|header| key::basic(header).or_else(|| bearer(header).map(str::to_owned)));
        if let Some(text) = text {
            key::note_refused(&text, self.origin(request), db);
        }
    }

    fn policy(&self) -> &Policy {
        &self.0.policy
    }
}

/// The text behind `Bearer`.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, text) = header.split_once(' ')?;
    let fits = scheme.eq_ignore_ascii_case("bearer") && text.len() <= HEADER_BYTES;
    fits.then(|| text.trim())
}

/// A caller that is no person: a script, or the command line.
pub fn script(company: CompanyId, role: Role) -> Caller {
    Caller {
        company,
        user: None,
        author: SCRIPT.into(),
        role,
        scopes: None,
        today: today(),
        approval: None,
    }
}

/// A caller who may do nothing, to look something up inside a company's wall before there is a caller.
fn nobody(company: CompanyId) -> Caller {
    Caller {
        scopes: Some(Vec::new()),
        ..script(company, Role::BiReader)
    }
}

/// The routes that hand tokens out and take them back.
pub fn routes(cfg: &mut web::ServiceConfig) {
    let route = |path: &str| web::resource(path.to_owned()).app_data(login::body());
    cfg.service(route("/auth/login").route(web::post().to(login::login)))
        .service(route("/auth/refresh").route(web::post().to(session::refresh)))
        .service(route("/auth/logout").route(web::post().to(session::logout)))
        .service(route("/auth/switch").route(web::post().to(session::switch)))
        .service(route("/auth/password").route(web::post().to(session::password)))
        .service(route("/auth/accept").route(web::post().to(accept::accept)));
}
