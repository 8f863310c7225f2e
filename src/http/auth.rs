//! Tokens: who may come in, for which company, as what. And the log-in that hands them out.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use actix_web::{HttpResponse, web};
use anyhow::Context;
use argon2::Argon2;
use argon2::password_hash::rand_core::{OsRng, RngCore};
use argon2::password_hash::{PasswordHash, PasswordVerifier};
use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::fault;
use super::graphql::GraphqlEndpoint;
use crate::domain::access::{Caller, Role};
use crate::domain::ids::{CompanyId, Id, UserId};
use crate::error::{Error, Result};
use crate::service;
use crate::store;

/// Shortest secret: the length of the signature.
pub const SECRET_BYTES: usize = 32;
/// Longest token that is looked at.
const TOKEN_BYTES: usize = 4096;
/// Issuer and audience.
const SELF: &str = "encours";
/// `sub` of a token that belongs to no person.
const SCRIPT: &str = "script";
/// Clock difference that is forgiven, in seconds.
const LEEWAY: u64 = 30;
/// How long a log-in lasts: a working day.
const LOGIN_TTL: Duration = Duration::from_secs(10 * 60 * 60);
/// Longest body of a log-in.
const LOGIN_BYTES: usize = 4096;
/// Longest wait for a turn to verify a password.
const LOGIN_WAIT: Duration = Duration::from_secs(5);

/// A verification takes 19 MiB: this many at once, the others wait.
static TURNS: Semaphore = Semaphore::const_new(4);

/// Verified when there is nothing to verify, so that an unknown user takes as long as a known one.
static NOBODY: LazyLock<Option<String>> =
    LazyLock::new(|| service::member::hash_password("nobody").ok());

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    company: String,
    role: String,
    name: String,
    iat: i64,
    nbf: i64,
    exp: i64,
}

/// Makes and reads tokens. Cheap to clone.
#[derive(Clone)]
pub struct Authenticator(Arc<Keys>);

struct Keys {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

/// A token and its last moment.
#[derive(Clone, Debug)]
pub struct Token {
    pub text: String,
    pub expires_at: DateTime<Utc>,
}

/// Who came in, and until when.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Who.
    pub caller: Caller,
    /// The last moment of the token, without the leeway that clocks are given.
    pub expires_at: DateTime<Utc>,
}

impl Admitted {
    /// How long the token still holds.
    pub fn remaining(&self) -> Duration {
        (self.expires_at - Utc::now()).to_std().unwrap_or_default()
    }

    /// The caller as of now: a connection may outlive the day it was opened on.
    pub fn now(&self) -> Caller {
        Caller {
            today: today(),
            ..self.caller.clone()
        }
    }
}

impl Authenticator {
    /// Signs and verifies with this secret, by HMAC-SHA256 and nothing else.
    pub fn new(secret: &[u8]) -> Result<Authenticator> {
        if secret.len() < SECRET_BYTES {
            return Err(Error::Internal(format!(
                "the secret that signs tokens has {} bytes: ENCOURS_JWT_SECRET needs {SECRET_BYTES} or more",
                secret.len()
            )));
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_issuer(&[SELF]);
        validation.set_audience(&[SELF]);
        // The other claims are fields that must be there.
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        Ok(Authenticator(Arc::new(Keys {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
        })))
    }

    /// Who sends this `Authorization` header. One error for every cause.
    pub fn authenticate(&self, header: Option<&str>) -> Result<Caller> {
        self.admit(header).map(|admitted| admitted.caller)
    }

    /// Who sends this `Authorization` header, and until when that holds: for connections that stay open.
    pub fn admit(&self, header: Option<&str>) -> Result<Admitted> {
        let (scheme, token) = header
            .and_then(|text| text.split_once(' '))
            .ok_or(Error::Unauthenticated)?;
        let token = token.trim();
        if !scheme.eq_ignore_ascii_case("bearer") || token.len() > TOKEN_BYTES {
            return Err(Error::Unauthenticated);
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &self.0.decoding, &self.0.validation)
            .map_err(|_| Error::Unauthenticated)?
            .claims;
        let expires_at = DateTime::from_timestamp(claims.exp, 0).ok_or(Error::Unauthenticated)?;
        let caller = caller(claims).ok_or(Error::Unauthenticated)?;
        Ok(Admitted { caller, expires_at })
    }

    /// A token for this caller; `today` does not matter.
    pub fn issue(&self, caller: &Caller, ttl: Duration) -> Result<Token> {
        let now = Utc::now();
        let expires_at = now + ttl;
        let claims = Claims {
            iss: SELF.into(),
            aud: SELF.into(),
            sub: caller
                .user
                .map_or_else(|| SCRIPT.into(), |user| user.0.to_string()),
            company: caller.company.show(),
            role: caller.role.code().into(),
            name: caller.author.clone(),
            iat: now.timestamp(),
            nbf: now.timestamp(),
            exp: expires_at.timestamp(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.0.encoding)
            .map(|text| Token { text, expires_at })
            .map_err(|error| Error::Internal(format!("token: {error}")))
    }
}

fn caller(claims: Claims) -> Option<Caller> {
    let user = match claims.sub.as_str() {
        SCRIPT => None,
        id => Some(UserId(Uuid::try_parse(id).ok()?)),
    };
    Some(Caller {
        company: CompanyId::read(&claims.company)?,
        user,
        author: Some(claims.name).filter(|name| !name.is_empty())?,
        role: Role::read(&claims.role)?,
        today: today(),
    })
}

/// A caller that is no person: a script, or the command line.
pub fn script(company: CompanyId, role: Role) -> Caller {
    Caller {
        company,
        user: None,
        author: SCRIPT.into(),
        role,
        today: today(),
    }
}

/// Today in France (R0.4).
pub fn today() -> NaiveDate {
    Utc::now()
        .with_timezone(&chrono_tz::Europe::Paris)
        .date_naive()
}

/// The secret that signs tokens: the one given, else the one kept in the data directory, made when absent.
pub fn secret(given: Option<&str>, data_dir: &Path) -> anyhow::Result<Vec<u8>> {
    if let Some(given) = given {
        return Ok(given.as_bytes().to_vec());
    }
    let path = data_dir.join("jwt.key");
    let kept = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_key(data_dir, &path).with_context(|| format!("cannot make {}", path.display()))?;
            fs::read_to_string(&path)
        }
        read => read,
    };
    let kept = kept.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(kept.trim().as_bytes().to_vec())
}

/// Written aside and linked when whole: of two processes that start together, one key stays and both read it.
fn make_key(data_dir: &Path, path: &Path) -> std::io::Result<()> {
    fs::create_dir_all(data_dir)?;
    let mut bytes = [0; SECRET_BYTES];
    OsRng.fill_bytes(&mut bytes);
    let hex = crate::domain::hex::hex(&bytes);
    let draft = data_dir.join(format!("jwt.key.{}", Uuid::now_v7().simple()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    let written = file
        .write_all(hex.as_bytes())
        .and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Whether the password is right. Takes as long when there is no hash.
fn verify(password: &str, hash: Option<&str>) -> bool {
    let known = hash.is_some();
    let Some(hash) = hash.or(NOBODY.as_deref()) else {
        return false;
    };
    let right = PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    });
    right && known
}

/// What a log-in sends.
#[derive(Deserialize)]
pub struct Login {
    email: String,
    password: String,
    /// For a member of several companies; else the oldest membership counts.
    company: Option<String>,
}

/// How the body of a log-in is read.
pub fn login_body() -> web::JsonConfig {
    web::JsonConfig::default()
        .limit(LOGIN_BYTES)
        .error_handler(|error, _| {
            let answer = HttpResponse::BadRequest()
                .json(fault("BAD_USER_INPUT", "send JSON with email and password"));
            actix_web::error::InternalError::from_response(error, answer).into()
        })
}

/// Trades an e-mail address and a password for a token.
pub async fn login(body: web::Json<Login>, endpoint: web::Data<GraphqlEndpoint>) -> HttpResponse {
    let answer = match logged_in(body.into_inner(), &endpoint).await {
        Ok(answer) => return answer,
        Err(error) => error,
    };
    match answer {
        Error::Unauthenticated => HttpResponse::Unauthorized().json(fault(
            "UNAUTHENTICATED",
            "the e-mail address or the password is wrong, or there is no access to the company",
        )),
        Error::Unavailable(_) | Error::Timeout => HttpResponse::ServiceUnavailable()
            .insert_header(("retry-after", "5"))
            .json(fault(
                "UNAVAILABLE",
                "the service is busy or starting, try again",
            )),
        error => {
            tracing::error!(%error, "log-in failed");
            HttpResponse::InternalServerError()
                .json(fault("INTERNAL_SERVER_ERROR", "internal error"))
        }
    }
}

async fn logged_in(login: Login, endpoint: &GraphqlEndpoint) -> Result<HttpResponse> {
    let Login {
        email,
        password,
        company,
    } = login;
    let email = email.trim().to_owned();
    // A null character is no text for the database, nor in any address.
    let email = if email.contains('\0') {
        String::new()
    } else {
        email
    };
    let (user, memberships) = endpoint
        .store
        .anonymous(move |conn| {
            let user = store::member::by_email(conn, &email)?;
            // Asked for a user that does not exist too: the same work for all.
            let id = user.as_ref().map_or(UserId(Uuid::nil()), |user| user.id);
            let memberships = store::member::memberships_of(conn, id)?;
            Ok((user, memberships))
        })
        .await?;
    let hash = user.as_ref().and_then(|user| user.password_hash.clone());
    let turn = tokio::time::timeout(LOGIN_WAIT, TURNS.acquire()).await;
    let Ok(Ok(_turn)) = turn else {
        return Err(Error::Unavailable("too many log-ins at once".into()));
    };
    let right = tokio::task::spawn_blocking(move || verify(&password, hash.as_deref()))
        .await
        .map_err(|error| Error::Internal(format!("a password verification ended: {error}")))?;
    let user = user.filter(|_| right).ok_or(Error::Unauthenticated)?;

    let (company, role) = match company.as_deref() {
        None => memberships.into_iter().next(),
        Some(text) => {
            let wanted = CompanyId::read(text);
            memberships
                .into_iter()
                .find(|(company, _)| Some(*company) == wanted)
        }
    }
    .ok_or(Error::Unauthenticated)?;
    let role = Role::read(&role).ok_or_else(|| Error::Internal(format!("stored role {role}")))?;
    let caller = Caller {
        company,
        user: Some(user.id),
        author: user.email,
        role,
        today: today(),
    };

    let session = endpoint.store.session(caller.clone());
    let found = session
        .read(move |conn, caller| Ok(store::company::load(conn, caller.company)?))
        .await;
    session.finish().await;
    let found = found?.ok_or(Error::Unauthenticated)?;
    let token = endpoint.authenticator.issue(&caller, LOGIN_TTL)?;
    Ok(HttpResponse::Ok()
        .insert_header(("cache-control", "no-store"))
        .json(json!({
            "token": token.text,
            "expiresAt": token.expires_at.to_rfc3339_opts(SecondsFormat::Secs, true),
            "role": role.code(),
            "company": { "id": company.show(), "name": found.name },
        })))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn sophie() -> Caller {
        Caller {
            company: CompanyId::new(),
            user: Some(UserId::new()),
            author: "sophie@example.com".into(),
            role: Role::Sales,
            today: today(),
        }
    }

    fn bearer(token: &Token) -> String {
        format!("Bearer {}", token.text)
    }

    #[test]
    fn a_token_is_read_back_with_the_same_secret_only() {
        let ours = Authenticator::new(SECRET).expect("long enough");
        let theirs =
            Authenticator::new(b"another secret of thirty-two bytes").expect("long enough");
        let token = ours
            .issue(&sophie(), Duration::from_secs(60))
            .expect("issued");
        assert!(ours.authenticate(Some(&bearer(&token))).is_ok());
        assert!(matches!(
            theirs.authenticate(Some(&bearer(&token))),
            Err(Error::Unauthenticated)
        ));
        for bad in [
            None,
            Some(""),
            Some("Bearer"),
            Some("Bearer "),
            Some(token.text.as_str()),
            Some("Basic Og=="),
        ] {
            assert!(
                matches!(ours.authenticate(bad), Err(Error::Unauthenticated)),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn callers_survive_the_journey() {
        let authenticator = Authenticator::new(SECRET).expect("long enough");
        for caller in [sophie(), script(CompanyId::new(), Role::Admin)] {
            let token = authenticator
                .issue(&caller, Duration::from_secs(60))
                .expect("issued");
            assert_eq!(
                authenticator
                    .authenticate(Some(&bearer(&token)))
                    .expect("valid"),
                caller
            );
        }
    }

    #[test]
    fn tokens_of_other_times_audiences_and_algorithms_are_refused() {
        let authenticator = Authenticator::new(SECRET).expect("long enough");
        let now = Utc::now().timestamp();
        let valid = json!({ "iss": SELF, "aud": SELF, "sub": SCRIPT, "company": CompanyId::new().show(), "role": "ADMIN",
            "name": "script", "iat": now, "nbf": now, "exp": now + 60 });
        let accepted = |claims: &serde_json::Value, algorithm| {
            let text = jsonwebtoken::encode(
                &Header::new(algorithm),
                claims,
                &EncodingKey::from_secret(SECRET),
            )
            .expect("encoded");
            authenticator
                .authenticate(Some(&format!("Bearer {text}")))
                .is_ok()
        };
        assert!(accepted(&valid, Algorithm::HS256));
        assert!(!accepted(&valid, Algorithm::HS512));
        for (claim, value) in [
            ("exp", json!(now - 60)),
            ("nbf", json!(now + 120)),
            ("iss", json!("another")),
            ("aud", json!("another")),
            ("sub", json!("nobody")),
            ("company", json!("cli_0199")),
            ("role", json!("EMPEROR")),
            ("name", json!("")),
        ] {
            let mut changed = valid.clone();
            changed[claim] = value;
            assert!(!accepted(&changed, Algorithm::HS256), "{claim}");
            if let Some(claims) = changed.as_object_mut() {
                claims.remove(claim);
            }
            assert!(!accepted(&changed, Algorithm::HS256), "{claim} is missing");
        }
    }

    #[test]
    fn short_secrets_and_long_tokens_are_refused() {
        assert!(Authenticator::new(b"short").is_err());
        let authenticator = Authenticator::new(SECRET).expect("long enough");
        let long = Caller {
            author: "a".repeat(TOKEN_BYTES),
            ..sophie()
        };
        let token = authenticator
            .issue(&long, Duration::from_secs(60))
            .expect("issued");
        assert!(authenticator.authenticate(Some(&bearer(&token))).is_err());
    }

    #[test]
    fn passwords_are_verified_and_nobody_has_none() {
        let hash = service::member::hash_password("correct horse").expect("hashed");
        assert!(hash.starts_with("$argon2id$"));
        assert!(verify("correct horse", Some(&hash)));
        assert!(!verify("wrong horse", Some(&hash)));
        assert!(!verify("nobody", None));
    }
}
