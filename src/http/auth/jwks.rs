//! An external identity provider (OpenID Connect): its keys, its tokens, and whom they stand for.
//!
//! A key has one algorithm, by its kind: RS256, ES256 or EdDSA. What the token's head says about the algorithm
//! only has to agree. Symmetric keys of a key set are not taken in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use ureq::tls::{TlsConfig, TlsProvider};
use uuid::Uuid;

use super::token::{Head, LEEWAY};
use super::{Identity, nobody, script, today};
use crate::domain::access::{Caller, Role};
use crate::domain::identity;
use crate::domain::ids::{CompanyId, Id, UserId};
use crate::error::{Error, Result};
use crate::store::{self, Db};

/// Types of tokens that say who somebody is; identity providers leave the type out, too.
const TYPES: &[&str] = &["", "JWT", "at+jwt"];
/// Shortest time between two fetches.
const PAUSE: Duration = Duration::from_secs(30);
/// Age at which keys are fetched again: one that was withdrawn is trusted no longer than this.
const STALE: Duration = Duration::from_secs(60 * 60);
/// Age at which keys are no longer used, when the provider has not answered since.
const DEAD: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest fetch.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest key set, in bytes.
const SET_BYTES: u64 = 256 * 1024;
/// Most keys of a set.
const KEYS: usize = 64;

/// What the operator says about the identity provider.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `iss` of its tokens, to the letter.
    pub issuer: String,
    /// `aud` of tokens that are meant for us.
    pub audience: String,
    /// Where its keys are.
    pub jwks_url: String,
    /// The claim that names the company, by our id; without one the oldest membership counts.
    pub company_claim: Option<String>,
    /// The claim that names roles, one or several.
    pub role_claim: Option<String>,
    /// Which role a value of that claim stands for; the first that fits counts. Empty: values are our roles.
    pub role_map: Vec<(String, Role)>,
    /// Whether claims are enough: else only members come in, as what they are here.
    pub trust_claims: bool,
}

impl Settings {
    /// What is wrong with them.
    pub fn check(&self) -> std::result::Result<(), String> {
        let url = &self.jwks_url;
        let uri: ureq::http::Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
        let host = uri.host().unwrap_or_default();
        let is_local = host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse()
                .is_ok_and(|address: IpAddr| address.is_loopback());
        match uri.scheme_str() {
            Some("https") if !host.is_empty() => {}
            Some("http") if is_local => {}
            _ => {
                return Err(format!(
                    "keys are fetched by https, or by http from this machine: not from {url}"
                ));
            }
        }
        if self.trust_claims && (self.company_claim.is_none() || self.role_claim.is_none()) {
            return Err(
                "claims can only be trusted when a company claim and a role claim are named".into(),
            );
        }
        if !self.role_map.is_empty() && self.role_claim.is_none() {
            return Err("a map of roles needs the claim that names them".into());
        }
        Ok(())
    }

    /// The role that the claims name.
    fn role(&self, claims: &Map<String, Value>) -> Option<Role> {
        let named: Vec<&str> = match claim(claims, self.role_claim.as_deref()?)? {
            Value::String(one) => vec![one],
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            _ => return None,
        };
        if self.role_map.is_empty() {
            return named.iter().find_map(|name| Role::read(name));
        }
        let mapped = self.role_map.iter();
        mapped
            .filter(|(name, _)| named.contains(&name.as_str()))
            .map(|(_, role)| *role)
            .next()
    }
}

/// A claim by name, or by a path with dots, such as Keycloak's `realm_access.roles`.
fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(found) = claims.get(name) {
        return Some(found);
    }
    let (first, rest) = name.split_once('.')?;
    claim(claims.get(first)?.as_object()?, rest)
}

/// The e-mail address, when the provider has verified it.
fn verified_email(claims: &Map<String, Value>) -> Option<String> {
    let verified = match claims.get("email_verified")? {
        Value::Bool(verified) => *verified,
        // Some providers write it as a text.
        Value::String(text) => text == "true",
        _ => false,
    };
    let email = identity::email(claims.get("email")?.as_str()?).ok()?;
    verified.then(|| email.to_lowercase())
}

/// A key and the one way to use it.
#[derive(Clone)]
struct Key {
    algorithm: Algorithm,
    decoding: DecodingKey,
}

impl Key {
    /// `None` for keys that are not for us: symmetric, for encryption, of another kind, or weak.
    fn of(jwk: &Jwk) -> Option<Key> {
        if !matches!(
            jwk.common.public_key_use,
            None | Some(PublicKeyUse::Signature)
        ) {
            return None;
        }
        let (algorithm, named) = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) if is_long(&rsa.n) => {
                (Algorithm::RS256, KeyAlgorithm::RS256)
            }
            AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
            }
            _ => return None,
        };
        if jwk.common.key_algorithm.is_some_and(|says| says != named) {
            return None;
        }
        let decoding = DecodingKey::from_jwk(jwk).ok()?;
        Some(Key {
            algorithm,
            decoding,
        })
    }
}

/// Whether a modulus has 2,048 bits or more: 256 bytes are 342 digits of base64.
fn is_long(modulus: &str) -> bool {
    modulus.trim_start_matches('A').len() >= 342
}

/// Reads a key set; keys that are not for us are left aside.
fn read_set(bytes: &[u8]) -> std::result::Result<HashMap<String, Key>, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let read = set.keys.into_iter().take(KEYS).filter_map(|key| {
        let jwk: Jwk = serde_json::from_value(key).ok()?;
        Some((jwk.common.key_id.clone()?, Key::of(&jwk)?))
    });
    Ok(read.collect())
}

#[derive(Default)]
struct Cache {
    keys: HashMap<String, Key>,
    fetched_at: Option<Instant>,
    tried_at: Option<Instant>,
}

impl Cache {
    fn key(&self, kid: &str, youngest: Duration) -> Option<Key> {
        let fits = self.fetched_at.is_some_and(|at| at.elapsed() < youngest);
        self.keys.get(kid).filter(|_| fits).cloned()
    }
}

/// The identity provider.
pub struct Provider {
    settings: Settings,
    agent: ureq::Agent,
    cache: RwLock<Cache>,
    /// One fetches, the others wait for it.
    turn: Mutex<()>,
}

impl Provider {
    /// Of checked settings. Nothing is fetched before the first token.
    pub fn new(settings: Settings) -> Provider {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(
                rustls::crypto::aws_lc_rs::default_provider(),
            ))
            .build();
        let agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(PATIENCE))
            // A redirection could lead from https to anywhere.
            .max_redirects(0)
            .build()
            .into();
        Provider {
            settings,
            agent,
            cache: RwLock::default(),
            turn: Mutex::default(),
        }
    }

    /// The claims of a token of the provider, for us, valid now.
    pub async fn verify(&self, token: &str, head: &Head, kid: &str) -> Result<Map<String, Value>> {
        if !head.is(TYPES) {
            return Err(Error::Unauthenticated);
        }
        let key = self.key(kid).await?.ok_or(Error::Unauthenticated)?;
        self.verify_by(token, &key)
    }

    fn verify_by(&self, token: &str, key: &Key) -> Result<Map<String, Value>> {
        let mut validation = Validation::new(key.algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[&self.settings.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        jsonwebtoken::decode(token, &key.decoding, &validation)
            .map(|data| data.claims)
            .map_err(|_| Error::Unauthenticated)
    }

    /// The key of this id. One that is not known is looked for at the provider, not more than twice a minute.
    async fn key(&self, kid: &str) -> Result<Option<Key>> {
        if let Some(key) = self.cached(kid, STALE)? {
            return Ok(Some(key));
        }
        let old = self.cached(kid, DEAD)?;
        let _turn = match (&old, self.turn.try_lock()) {
            (_, Ok(turn)) => turn,
            // Somebody is fetching already, and this key will do meanwhile.
            (Some(_), Err(_)) => return Ok(old),
            (None, Err(_)) => self.turn.lock().await,
        };
        if self.may_fetch()? {
            self.fetch().await?;
        }
        self.cached(kid, DEAD)
    }

    /// Whether the last try is long enough ago. While there was no good one, no token can be judged.
    fn may_fetch(&self) -> Result<bool> {
        let cache = self.cache.read().map_err(|_| poisoned())?;
        let paused = cache.tried_at.is_some_and(|at| at.elapsed() < PAUSE);
        match (paused, cache.fetched_at) {
            (true, None) => Err(silent()),
            _ => Ok(!paused),
        }
    }

    fn cached(&self, kid: &str, youngest: Duration) -> Result<Option<Key>> {
        let cache = self.cache.read().map_err(|_| poisoned())?;
        Ok(cache.key(kid, youngest))
    }

    async fn fetch(&self) -> Result<()> {
        let (agent, url) = (self.agent.clone(), self.settings.jwks_url.clone());
        let fetched = tokio::task::spawn_blocking(move || fetch(&agent, &url))
            .await
            .map_err(|error| Error::Internal(format!("a fetch of keys ended: {error}")))?;
        let mut cache = self.cache.write().map_err(|_| poisoned())?;
        let now = Some(Instant::now());
        cache.tried_at = now;
        match fetched {
            Ok(keys) => {
                cache.keys = keys;
                cache.fetched_at = now;
                Ok(())
            }
            Err(error) => {
                tracing::warn!(error, "the keys of the identity provider were not fetched");
                match cache.fetched_at {
                    Some(_) => Ok(()),
                    None => Err(silent()),
                }
            }
        }
    }

    /// Whom the claims of a verified token stand for: a member, or what they say when the operator trusts them.
    pub async fn identify(&self, claims: Map<String, Value>, db: &Db) -> Result<Identity> {
        let company = match &self.settings.company_claim {
            Some(name) => Some(company_of(&claims, name).ok_or(Error::Unauthenticated)?),
            None => None,
        };
        let email = verified_email(&claims);
        let caller = match (self.settings.trust_claims, company, email) {
            (true, Some(company), email) => {
                let role = self.settings.role(&claims).ok_or(Error::Unauthenticated)?;
                claimed(db, company, role, email, &claims).await?
            }
            (false, company, Some(email)) => member(db, company, email).await?,
            (true, None, _) | (false, _, None) => return Err(Error::Unauthenticated),
        };
        let expires = claims.get("exp").and_then(Value::as_i64);
        Ok(Identity {
            caller,
            session: None,
            // Read once already; without whole seconds the connection ends at once.
            expires_at: Some(
                expires
                    .and_then(|exp| chrono::DateTime::from_timestamp(exp, 0))
                    .unwrap_or_default(),
            ),
        })
    }
}

fn silent() -> Error {
    Error::Unavailable("the identity provider does not answer".into())
}

fn poisoned() -> Error {
    Error::Internal("the cache of keys is broken".into())
}

fn fetch(agent: &ureq::Agent, url: &str) -> std::result::Result<HashMap<String, Key>, String> {
    let mut answer = agent
        .get(url)
        .header("accept", "application/jwk-set+json, application/json")
        .call()
        .map_err(|error| error.to_string())?;
    if answer.status() != 200 {
        return Err(format!("status {}", answer.status().as_u16()));
    }
    let bytes = answer
        .body_mut()
        .with_config()
        .limit(SET_BYTES)
        .read_to_vec()
        .map_err(|error| error.to_string())?;
    read_set(&bytes)
}

fn company_of(claims: &Map<String, Value>, name: &str) -> Option<CompanyId> {
    let text = claim(claims, name)?.as_str()?;
    CompanyId::read(text).or_else(|| Uuid::try_parse(text).ok().map(CompanyId))
}

/// The member with this address, in the company that is asked for, else in the oldest one.
async fn member(db: &Db, company: Option<CompanyId>, email: String) -> Result<Caller> {
    db.anonymous(move |conn| {
        let user = store::member::by_email(conn, &email)?.ok_or(Error::Unauthenticated)?;
        let (company, role) = store::member::memberships_of(conn, user.id)?
            .into_iter()
            .find(|(known, _)| company.is_none_or(|company| company == *known))
            .ok_or(Error::Unauthenticated)?;
        let role = Role::read(&role).ok_or(Error::Unauthenticated)?;
        Ok(person(company, role, Some(user.id), user.email))
    })
    .await
}

/// Somebody in a role that the provider gives, in a company that must be here. A known member keeps the person,
/// so that a portfolio has an owner.
async fn claimed(
    db: &Db,
    company: CompanyId,
    role: Role,
    email: Option<String>,
    claims: &Map<String, Value>,
) -> Result<Caller> {
    let session = db.session(nobody(company));
    let address = email.clone();
    let found = session
        .read(move |conn, caller| {
            let known = store::company::load(conn, caller.company)?;
            known.ok_or(Error::Unauthenticated)?;
            let Some(address) = address else {
                return Ok(None);
            };
            let user = store::member::by_email(conn, &address)?.map(|user| user.id);
            match user {
                Some(user) => Ok(store::member::member(conn, caller.company, user)?),
                None => Ok(None),
            }
        })
        .await;
    session.finish().await;
    let user = found?.map(|member| member.user_id);
    let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
    let author = email
        .or_else(|| text("sub"))
        .filter(|author| !author.trim().is_empty() && author.len() <= 254)
        .ok_or(Error::Unauthenticated)?;
    Ok(person(company, role, user, author))
}

fn person(company: CompanyId, role: Role, user: Option<UserId>, author: String) -> Caller {
    Caller {
        user,
        author,
        today: today(),
        approval: None,
        ..script(company, role)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use chrono::Utc;
    use jsonwebtoken::EncodingKey;
    use serde_json::json;

    use super::*;

    const SET: &[u8] = include_bytes!("../../../tests/api/keys/jwks.json");
    const RSA: &[u8] = include_bytes!("../../../tests/api/keys/rsa.der");
    const EC: &[u8] = include_bytes!("../../../tests/api/keys/ec.der");
    const ED: &[u8] = include_bytes!("../../../tests/api/keys/ed.der");

    fn settings() -> Settings {
        Settings {
            issuer: "https://idp.example".into(),
            audience: "encours".into(),
            jwks_url: "https://idp.example/keys".into(),
            company_claim: Some("company".into()),
            role_claim: Some("realm_access.roles".into()),
            role_map: vec![
                ("finance-admins".into(), Role::Admin),
                ("finance".into(), Role::ArAccountant),
            ],
            trust_claims: true,
        }
    }

    /// A provider whose keys are here, and were fetched just now.
    fn provider() -> Provider {
        let provider = Provider::new(settings());
        let now = Some(Instant::now());
        *provider.cache.write().expect("whole") = Cache {
            keys: read_set(SET).expect("a set"),
            fetched_at: now,
            tried_at: now,
        };
        provider
    }

    fn signed(head: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(head), part(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm);
        format!("{message}.{}", signature.expect("signed"))
    }

    fn claims() -> Value {
        let now = Utc::now().timestamp();
        json!({ "iss": "https://idp.example", "aud": ["other", "encours"], "sub": "42", "exp": now + 60, "nbf": now })
    }

    async fn verified(text: &str) -> bool {
        let Some(head) = Head::of(text) else {
            return false;
        };
        let kid = head.kid.clone().unwrap_or_default();
        provider().verify(text, &head, &kid).await.is_ok()
    }

    fn keys() -> [(&'static str, &'static str, EncodingKey, Algorithm); 3] {
        [
            (
                "rsa",
                "RS256",
                EncodingKey::from_rsa_der(RSA),
                Algorithm::RS256,
            ),
            (
                "ec",
                "ES256",
                EncodingKey::from_ec_der(EC),
                Algorithm::ES256,
            ),
            (
                "ed",
                "EdDSA",
                EncodingKey::from_ed_der(ED),
                Algorithm::EdDSA,
            ),
        ]
    }

    #[tokio::test]
    async fn each_key_verifies_in_its_own_way_only() {
        for (kid, alg, key, algorithm) in &keys() {
            let head = json!({ "alg": alg, "typ": "JWT", "kid": kid });
            assert!(
                verified(&signed(&head, &claims(), key, *algorithm)).await,
                "{kid}"
            );
            let bare = json!({ "alg": alg, "kid": kid });
            assert!(
                verified(&signed(&bare, &claims(), key, *algorithm)).await,
                "{kid}"
            );
            for (other, _, _, _) in &keys() {
                let head = json!({ "alg": alg, "typ": "JWT", "kid": other });
                let accepted = verified(&signed(&head, &claims(), key, *algorithm)).await;
                assert_eq!(accepted, other == kid, "{kid} as {other}");
            }
        }
    }

    #[tokio::test]
    async fn the_attacks_of_rfc_8725_are_refused() {
        let [(_, _, key, algorithm), ..] = keys();
        let now = Utc::now().timestamp();
        let head = json!({ "alg": "RS256", "kid": "rsa" });
        for (name, value) in [
            ("iss", json!("https://evil.example")),
            ("iss", json!("https://idp.example/")),
            ("aud", json!("other")),
            ("exp", json!(now - 60)),
            ("nbf", json!(now + 120)),
        ] {
            let mut changed = claims();
            changed[name] = value;
            assert!(
                !verified(&signed(&head, &changed, &key, algorithm)).await,
                "{name}"
            );
        }
        for name in ["iss", "aud", "exp", "sub"] {
            let mut changed = claims();
            changed.as_object_mut().expect("claims").remove(name);
            assert!(
                !verified(&signed(&head, &changed, &key, algorithm)).await,
                "{name}"
            );
        }
        // The public key as the secret of an HMAC, in each form that it is handed out in.
        let set: Value = serde_json::from_slice(SET).expect("a set");
        let modulus = set["keys"][0]["n"].as_str().expect("a modulus");
        for secret in [
            modulus.as_bytes(),
            SET,
            set["keys"][0].to_string().as_bytes(),
        ] {
            let head = json!({ "alg": "HS256", "kid": "rsa" });
            let forged = signed(
                &head,
                &claims(),
                &EncodingKey::from_secret(secret),
                Algorithm::HS256,
            );
            assert!(!verified(&forged).await);
        }
        for head in [
            json!({ "alg": "none", "kid": "rsa" }),
            json!({ "alg": "RS384", "kid": "rsa" }),
            json!({ "alg": "PS256", "kid": "rsa" }),
            json!({ "alg": "RS256", "kid": "unknown" }),
            json!({ "alg": "RS256", "kid": "rsa", "typ": "logout+jwt" }),
            json!({ "alg": "RS256", "kid": "rsa", "crit": ["b64"], "b64": false }),
            json!({ "alg": "RS256", "kid": "../rsa" }),
        ] {
            assert!(
                !verified(&signed(&head, &claims(), &key, algorithm)).await,
                "{head}"
            );
        }
        let good = signed(&head, &claims(), &key, algorithm);
        let (message, _) = good.rsplit_once('.').expect("parts");
        assert!(!verified(&format!("{message}.")).await, "no signature");
    }

    #[test]
    fn key_sets_give_up_what_is_not_for_us() {
        let set: Value = serde_json::from_slice(SET).expect("a set");
        let ids = |set: Value| {
            let mut ids: Vec<_> = read_set(set.to_string().as_bytes())
                .map(|keys| keys.into_keys().collect())
                .unwrap_or_default();
            ids.sort();
            ids
        };
        assert_eq!(ids(set.clone()), ["ec", "ed", "rsa"]);
        for (name, value) in [
            ("use", json!("enc")),
            ("alg", json!("RS512")),
            ("alg", json!("HS256")),
            ("kty", json!("oct")),
            ("n", json!("AQAB")),
            ("kid", json!(null)),
        ] {
            let mut changed = set.clone();
            changed["keys"][0][name] = value.clone();
            assert_eq!(ids(changed), ["ec", "ed"], "{name} {value}");
        }
        let symmetric =
            json!({ "keys": [{ "kty": "oct", "kid": "o", "k": "AAAA", "alg": "HS256" }] });
        assert!(ids(symmetric).is_empty());
        assert!(read_set(b"[]").is_err());
    }

    #[test]
    fn roles_come_from_the_map_in_its_order() {
        let settings = settings();
        let role = |claims: Value| settings.role(claims.as_object().expect("claims"));
        let nested = |roles: Value| json!({ "realm_access": { "roles": roles } });
        assert_eq!(
            role(nested(json!(["finance", "finance-admins"]))),
            Some(Role::Admin)
        );
        assert_eq!(role(nested(json!("finance"))), Some(Role::ArAccountant));
        assert_eq!(
            role(json!({ "realm_access.roles": "finance" })),
            Some(Role::ArAccountant)
        );
        for none in [nested(json!(["ADMIN"])), nested(json!(7)), json!({})] {
            assert_eq!(role(none.clone()), None, "{none}");
        }
        let plain = Settings {
            role_map: Vec::new(),
            ..settings.clone()
        };
        let ours = nested(json!(["users", "AUDITOR"]));
        assert_eq!(
            plain.role(ours.as_object().expect("claims")),
            Some(Role::Auditor)
        );
    }

    #[test]
    fn only_verified_addresses_count() {
        for (claims, email) in [
            (
                json!({ "email": "A@Example.com", "email_verified": true }),
                Some("a@example.com"),
            ),
            (
                json!({ "email": "a@example.com", "email_verified": "true" }),
                Some("a@example.com"),
            ),
            (
                json!({ "email": "a@example.com", "email_verified": false }),
                None,
            ),
            (json!({ "email": "a@example.com" }), None),
            (
                json!({ "email": "a\u{0}@example.com", "email_verified": true }),
                None,
            ),
        ] {
            let found = verified_email(claims.as_object().expect("claims"));
            assert_eq!(found.as_deref(), email, "{claims}");
        }
    }

    #[test]
    fn keys_come_by_https_or_from_this_machine() {
        let with = |url: &str| Settings {
            jwks_url: url.into(),
            ..settings()
        };
        for (url, accepted) in [
            ("https://idp.example/keys", true),
            ("http://127.0.0.1:9000/keys", true),
            ("http://[::1]:9000/keys", true),
            ("http://localhost/keys", true),
            ("http://idp.example/keys", false),
            ("http://127.0.0.1@idp.example/keys", false),
            ("http://localhost.idp.example/keys", false),
            ("ftp://idp.example/keys", false),
            ("/keys", false),
            ("", false),
        ] {
            assert_eq!(with(url).check().is_ok(), accepted, "{url}");
        }
        let blind = Settings {
            company_claim: None,
            ..settings()
        };
        assert!(blind.check().is_err());
    }
}
