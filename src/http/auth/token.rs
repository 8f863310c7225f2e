//! Tokens of our own: signed with our secret by HMAC-SHA256, and nothing else.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use argon2::password_hash::rand_core::{OsRng, RngCore};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Identity, today};
use crate::domain::access::{Caller, Role, SCRIPT};
use crate::domain::ids::{CompanyId, Id, SessionId, UserId};
use crate::error::{Error, Result};

/// Shortest secret: the length of the signature.
pub const SECRET_BYTES: usize = 32;
/// Longest token of our own that is looked at.
const TOKEN_BYTES: usize = 4096;
/// Issuer and audience.
const SELF: &str = "encours";
/// `typ` of our tokens.
const TYPE: &str = "JWT";
/// Clock difference that is forgiven, in seconds.
pub const LEEWAY: u64 = 30;

/// What a token says about how to verify it. It chooses among our keys, never how a key is used; where it
/// offers a key of its own (`jwk`, `jku`, `x5c`, `x5u`), that is not even read.
#[derive(Deserialize)]
pub struct Head {
    /// The key: one of the identity provider's; our own has none.
    pub kid: Option<String>,
    typ: Option<String>,
    crit: Option<serde_json::Value>,
}

impl Head {
    /// Reads the head of a token; `None` for what is no token. A member that stands twice is refused.
    pub fn of(token: &str) -> Option<Head> {
        let (head, _) = token.split_once('.')?;
        let bytes = URL_SAFE_NO_PAD.decode(head).ok()?;
        let head: Head = serde_json::from_slice(&bytes).ok()?;
        // We know no extension that could be critical (RFC 7515, 4.1.11).
        head.crit.is_none().then_some(head)
    }

    /// Whether it is of one of these types, as RFC 8725 asks in 3.11.
    pub fn is(&self, types: &[&str]) -> bool {
        let typ = self.typ.as_deref().unwrap_or_default();
        let typ = typ.strip_prefix("application/").unwrap_or(typ);
        types.iter().any(|known| known.eq_ignore_ascii_case(typ))
    }
}

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
    /// Unique per token, for logs of proxies and the like. Tokens printed by former versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    /// The session, which can be revoked; none for a token printed by the command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
}

/// Makes and reads our own tokens.
pub struct Own {
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

impl Own {
    /// Signs and verifies with this secret.
    pub fn new(secret: &[u8]) -> Result<Own> {
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
        Ok(Own {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
        })
    }

    /// Who holds this token. One error for every cause.
    pub fn verify(&self, token: &str, head: &Head) -> Result<Identity> {
        if token.len() > TOKEN_BYTES || head.kid.is_some() || !head.is(&[TYPE]) {
            return Err(Error::Unauthenticated);
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation)
            .map_err(|_| Error::Unauthenticated)?
            .claims;
        identity(claims).ok_or(Error::Unauthenticated)
    }

    /// A token for this caller; `today` does not matter.
    pub fn issue(
        &self,
        caller: &Caller,
        session: Option<SessionId>,
        ttl: Duration,
    ) -> Result<Token> {
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
            jti: Some(Uuid::now_v7().simple().to_string()),
            sid: session.map(|id| id.show()),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
            .map(|text| Token { text, expires_at })
            .map_err(|error| Error::Internal(format!("token: {error}")))
    }
}

fn identity(claims: Claims) -> Option<Identity> {
    let expires_at = DateTime::from_timestamp(claims.exp, 0)?;
    let user = match claims.sub.as_str() {
        SCRIPT => None,
        id => Some(UserId(Uuid::try_parse(id).ok()?)),
    };
    let session = match &claims.sid {
        // A session that cannot be read could not be revoked either.
        Some(text) => Some(SessionId::read(text)?),
        None => None,
    };
    let caller = Caller {
        company: CompanyId::read(&claims.company)?,
        user,
        author: Some(claims.name).filter(|name| !name.is_empty())?,
        role: Role::read(&claims.role)?,
        scopes: None,
        today: today(),
        approval: None,
    };
    Some(Identity {
        caller,
        session,
        expires_at: Some(expires_at),
    })
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

#[cfg(test)]
pub mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::auth::script;

    pub const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn sophie() -> Caller {
        Caller {
            company: CompanyId::new(),
            user: Some(UserId::new()),
            author: "sophie@example.com".into(),
            role: Role::Sales,
            scopes: None,
            today: today(),
            approval: None,
        }
    }

    fn verify(own: &Own, text: &str) -> Result<Identity> {
        own.verify(text, &Head::of(text).ok_or(Error::Unauthenticated)?)
    }

    fn own() -> Own {
        Own::new(SECRET).expect("long enough")
    }

    #[test]
    fn a_token_is_read_back_with_the_same_secret_only() {
        let theirs = Own::new(b"another secret of thirty-two bytes").expect("long enough");
        let session = Some(SessionId::new());
        let ttl = Duration::from_secs(60);
        for caller in [sophie(), script(CompanyId::new(), Role::Admin)] {
            let token = own().issue(&caller, session, ttl).expect("issued");
            let read = verify(&own(), &token.text).expect("valid");
            assert_eq!((read.caller, read.session), (caller, session));
            assert!(verify(&theirs, &token.text).is_err());
        }
        let (one, other) = (
            own().issue(&sophie(), None, ttl).expect("issued"),
            own().issue(&sophie(), None, ttl).expect("issued"),
        );
        assert_ne!(one.text, other.text);
        for bad in ["", ".", "..", "e30.e30.e30", "eyJhbGciOiJub25lIn0.e30."] {
            assert!(verify(&own(), bad).is_err(), "{bad}");
        }
    }

    /// A token with this head and these claims, signed by our secret or by nothing.
    fn made(head: &Value, claims: &Value, signed: bool) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(head), part(claims));
        let signature = match signed {
            true => {
                let key = EncodingKey::from_secret(SECRET);
                jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256)
                    .expect("signed")
            }
            false => String::new(),
        };
        format!("{message}.{signature}")
    }

    fn valid() -> Value {
        let now = Utc::now().timestamp();
        json!({ "iss": SELF, "aud": SELF, "sub": SCRIPT, "company": CompanyId::new().show(), "role": "ADMIN",
            "name": "script", "iat": now, "nbf": now, "exp": now + 60 })
    }

    #[test]
    fn the_attacks_on_our_own_tokens_of_rfc_8725_are_refused() {
        let plain = json!({ "alg": "HS256", "typ": "JWT" });
        assert!(verify(&own(), &made(&plain, &valid(), true)).is_ok());
        // A key in the head is not read: ours verifies, or nothing does.
        let jwk = json!({ "kty": "oct", "k": "AAAA" });
        let jku = "https://attacker.example/keys";
        let embedded = json!({ "alg": "HS256", "typ": "JWT", "jku": jku, "jwk": jwk });
        assert!(verify(&own(), &made(&embedded, &valid(), false)).is_err());
        for head in [
            json!({ "alg": "none", "typ": "JWT" }),
            json!({ "alg": "None", "typ": "JWT" }),
            json!({ "alg": "HS512", "typ": "JWT" }),
            json!({ "alg": "RS256", "typ": "JWT" }),
            json!({ "typ": "JWT" }),
            json!({ "alg": "HS256" }),
            json!({ "alg": "HS256", "typ": "logout+jwt" }),
            json!({ "alg": "HS256", "typ": "JWT", "kid": "ours" }),
            json!({ "alg": "HS256", "typ": "JWT", "crit": ["exp"] }),
        ] {
            for signed in [true, false] {
                let text = made(&head, &valid(), signed);
                assert!(verify(&own(), &text).is_err(), "{head}");
            }
        }
        let twice = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT","typ":"JWT"}"#);
        let rest = made(&plain, &valid(), true);
        let rest = rest.split_once('.').expect("parts").1;
        assert!(Head::of(&format!("{twice}.{rest}")).is_none());
    }

    #[test]
    fn tokens_of_other_times_audiences_and_sessions_are_refused() {
        let head = json!({ "alg": "HS256", "typ": "JWT" });
        let accepted = |claims: &Value| verify(&own(), &made(&head, claims, true)).is_ok();
        let now = Utc::now().timestamp();
        assert!(accepted(&valid()));
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
            let mut changed = valid();
            changed[claim] = value;
            assert!(!accepted(&changed), "{claim}");
            if let Some(claims) = changed.as_object_mut() {
                claims.remove(claim);
            }
            assert!(!accepted(&changed), "{claim} is missing");
        }
        let mut changed = valid();
        changed["sid"] = json!("x");
        assert!(!accepted(&changed), "a session that is none");
    }

    #[test]
    fn short_secrets_and_long_tokens_are_refused() {
        assert!(Own::new(b"short").is_err());
        let long = Caller {
            author: "a".repeat(TOKEN_BYTES),
            ..sophie()
        };
        let token = own().issue(&long, None, Duration::from_secs(60));
        assert!(verify(&own(), &token.expect("issued").text).is_err());
    }
}
