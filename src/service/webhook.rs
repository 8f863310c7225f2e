//! Webhooks: who is told of changes by HTTP, and the job that tells them.
//!
//! Messages are signed as Standard Webhooks has it. Each is sent at least once. They leave in the order of the
//! feed; one that failed is sent again later, when others may have gone before it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use argon2::password_hash::rand_core::{OsRng, RngCore};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{SecondsFormat, Utc};
use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::Sha256;
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use uuid::Uuid;

use super::jobs::{Job, worker};
use crate::domain::access::Caller;
use crate::domain::change::{self, Position, Topic};
use crate::domain::ids::{CompanyId, Id, WebhookDeliveryId, WebhookId};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::domain::webhook::{DeliveryStatus, TRIES, is_public, wait_seconds};
use crate::error::{Error, Result};
use crate::store::change::Wanted;
use crate::store::webhook::{Attempt, Delivery, Webhook};
use crate::store::{self, Conn, Db};

/// Webhooks of a company.
const WEBHOOKS: usize = 20;
/// Longest address.
const URL_BYTES: usize = 2000;
/// The kind of a message that tests a webhook.
pub const TEST: &str = "TEST";
/// How often there is something to send.
const PERIOD: Duration = Duration::from_millis(500);
/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long one webhook is served before the next one is.
const TURN: Duration = Duration::from_secs(5);
/// For how long a webhook is claimed: longer than a turn and its last message.
const CLAIM_SECONDS: i32 = 60;
/// Messages that wait at once; the rest stays in the feed.
const QUEUE: usize = 200;
/// Longest pause of a webhook after failures: other messages may fare better than the one that failed.
const LONGEST_PAUSE: f64 = 60.0;
/// Pause of a webhook that had nothing to send after all.
const IDLE_PAUSE: f64 = 0.5;
/// How long what became of a message is kept.
const KEPT_DAYS: i32 = 30;
/// Longest text of an error that is kept.
const ERROR_CHARS: usize = 300;

/// Where webhooks may go.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Whether loopback, link-local and private addresses are allowed.
    pub allow_private: bool,
}

/// A webhook as its owner wants it.
#[derive(Clone, Debug)]
pub struct WebhookInput {
    /// Address; as it is when absent.
    pub url: Option<String>,
    /// Topics, none for all; as they are when absent.
    pub topics: Option<Vec<String>>,
    /// Whether messages are sent; as it is when absent.
    pub active: Option<bool>,
}

/// Sets a webhook up, with a new secret. It is told what happens from now on, or from behind a cursor.
pub fn create(
    conn: &mut Conn,
    caller: &Caller,
    policy: Policy,
    input: &WebhookInput,
    after: Option<&str>,
) -> Result<WebhookId> {
    let url = input.url.clone().unwrap_or_default();
    check_url(&url, policy)?;
    let position = match after {
        Some(cursor) => read_cursor(conn, cursor)?,
        None => store::change::horizon(conn)?,
    };
    if store::webhook::all(conn, caller.company)?.len() >= WEBHOOKS {
        let message = format!("a company has at most {WEBHOOKS} webhooks: delete one");
        return Err(Refusal::invalid("", &message).into());
    }
    let webhook = Webhook {
        id: WebhookId::new(),
        url,
        secret: new_secret(),
        topics: input.topics.clone().unwrap_or_default(),
        active: input.active.unwrap_or(true),
        xid: position.xid,
        seq: position.seq,
        failures: 0,
        paused_until: Utc::now(),
        created_at: Utc::now(),
        created_by: caller.author.clone(),
    };
    store::webhook::insert(conn, caller.company, &webhook)?;
    Ok(webhook.id)
}

/// Changes a webhook. What happened while it was not active is sent when it is again.
pub fn update(
    conn: &mut Conn,
    caller: &Caller,
    policy: Policy,
    id: &str,
    input: &WebhookInput,
) -> Result<WebhookId> {
    let mut webhook = found(conn, caller, id)?;
    if let Some(url) = &input.url {
        check_url(url, policy)?;
        webhook.url.clone_from(url);
    }
    if let Some(topics) = &input.topics {
        webhook.topics.clone_from(topics);
    }
    webhook.active = input.active.unwrap_or(webhook.active);
    store::webhook::update(conn, caller.company, &webhook)?;
    store::webhook::hasten(conn, caller.company, webhook.id)?;
    Ok(webhook.id)
}

/// Ends a webhook. What was sent to it stays on record.
pub fn delete(conn: &mut Conn, caller: &Caller, id: &str) -> Result<WebhookId> {
    let webhook = found(conn, caller, id)?;
    store::webhook::delete(conn, caller.company, webhook.id)?;
    Ok(webhook.id)
}

/// Sends again what happened behind a cursor, in new messages.
pub fn replay(conn: &mut Conn, caller: &Caller, id: &str, after: &str) -> Result<WebhookId> {
    let webhook = found(conn, caller, id)?;
    let Position { xid, seq } = read_cursor(conn, after)?;
    let webhook = Webhook {
        xid,
        seq,
        ..webhook
    };
    store::webhook::update(conn, caller.company, &webhook)?;
    Ok(webhook.id)
}

/// Queues a message that is about nothing.
pub fn test(conn: &mut Conn, caller: &Caller, id: &str) -> Result<WebhookDeliveryId> {
    let webhook = found(conn, caller, id)?;
    if !webhook.active {
        let message = "the webhook is not active: activate it with updateWebhook";
        return Err(Refusal::new(RefusalCode::WrongState, "webhook", message).into());
    }
    let id = WebhookDeliveryId::new();
    store::webhook::enqueue_test(conn, caller.company, webhook.id, id, TEST)?;
    Ok(id)
}

fn found(conn: &mut Conn, caller: &Caller, id: &str) -> Result<Webhook> {
    let webhook = match WebhookId::read(id) {
        Some(id) => store::webhook::for_update(conn, caller.company, id)?,
        None => None,
    };
    webhook.ok_or_else(|| Refusal::not_found("webhook", "webhook").into())
}

/// Reads a cursor of this feed: one that is ahead of it is of another server.
fn read_cursor(conn: &mut Conn, cursor: &str) -> Result<Position> {
    let horizon = store::change::horizon(conn)?;
    Position::read(cursor)
        .filter(|position| *position <= horizon)
        .ok_or_else(|| {
            let message = "this is not a cursor of the change feed: take one of its cursors";
            Refusal::invalid("after", message).into()
        })
}

/// 32 random bytes, in the form that libraries of Standard Webhooks read.
fn new_secret() -> String {
    let mut bytes = [0; 32];
    OsRng.fill_bytes(&mut bytes);
    format!("whsec_{}", STANDARD.encode(bytes))
}

/// Refuses what can never be right. Names are looked up when something is sent, and their addresses judged then.
fn check_url(url: &str, policy: Policy) -> Result<()> {
    let refuse = |message: &str| Err(Error::from(Refusal::invalid("url", message)));
    let parsed = (url.len() <= URL_BYTES).then(|| url.parse::<Uri>().ok());
    let Some(uri) = parsed.flatten() else {
        return refuse("an address such as https://example.com/hook is needed");
    };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return refuse("only http and https addresses are told");
    }
    let Some(authority) = uri.authority() else {
        return refuse("the address names no host");
    };
    if authority.as_str().contains('@') {
        return refuse("an address holds no user name or password: messages are signed instead");
    }
    let host = authority.host();
    let literal = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let is_private = literal.is_some_and(|address| !is_public(address))
        || host.trim_end_matches('.').eq_ignore_ascii_case("localhost");
    if is_private && !policy.allow_private {
        return refuse(NOT_PUBLIC);
    }
    Ok(())
}

const NOT_PUBLIC: &str =
    "the address is not a public one: the server sends to private networks only when it is told to";

/// The job that sends messages.
pub fn job(policy: Policy) -> Job {
    let agent = agent(policy);
    Job {
        name: "webhooks",
        period: PERIOD,
        run: Box::new(move |db, company| {
            // One webhook after the other, each for its turn: a slow one does not hold up the rest for long.
            for _ in 0..WEBHOOKS {
                let Some(webhook) = claimed(db, company)? else {
                    break;
                };
                if serve(db, company, &agent, &webhook)? > TURN {
                    break;
                }
            }
            Ok(())
        }),
    }
}

fn claimed(db: &Db, company: CompanyId) -> Result<Option<Webhook>> {
    db.write_now(&worker(company), |conn, _| {
        Ok(store::webhook::claim(conn, company, CLAIM_SECONDS)?)
    })
}

/// Gives a webhook its turn; how long it took. No transaction is open while a message is on its way.
fn serve(db: &Db, company: CompanyId, agent: &Agent, webhook: &Webhook) -> Result<Duration> {
    let caller = worker(company);
    let start = Instant::now();
    db.write_now(&caller, |conn, _| {
        store::webhook::forget(conn, company, webhook.id, KEPT_DAYS)?;
        take_in(conn, company, webhook.id)
    })?;
    // Nothing to send although there was something to do: the queue is full of what failed.
    let (mut failures, mut pause) = (webhook.failures, IDLE_PAUSE);
    while start.elapsed() < TURN {
        match send_next(db, &caller, agent, webhook)? {
            None => break,
            Some(true) => (failures, pause) = (0, 0.0),
            Some(false) => {
                failures += 1;
                pause = wait_seconds(failures, jitter()).min(LONGEST_PAUSE);
                break;
            }
        }
    }
    let id = webhook.id;
    db.write_now(&caller, |conn, _| {
        Ok(store::webhook::release(conn, company, id, failures, pause)?)
    })?;
    Ok(start.elapsed())
}

/// Sends the next message that is due, if there is one: whether it was taken.
fn send_next(db: &Db, caller: &Caller, agent: &Agent, webhook: &Webhook) -> Result<Option<bool>> {
    let next = db.read_now(caller, |conn, caller| {
        Ok(store::webhook::due(conn, caller.company, webhook.id)?)
    })?;
    let Some(delivery) = next else {
        return Ok(None);
    };
    let attempt = attempt(agent, webhook, &delivery);
    db.write_now(caller, |conn, caller| {
        let id = delivery.id;
        Ok(store::webhook::record(conn, caller.company, id, &attempt)?)
    })?;
    Ok(Some(attempt.error.is_none()))
}

/// Turns changes into messages, as many as the queue takes.
fn take_in(conn: &mut Conn, company: CompanyId, id: WebhookId) -> Result<()> {
    // Locked: a replay may have moved it since.
    let found = store::webhook::for_update(conn, company, id)?;
    let Some(webhook) = found.filter(|webhook| webhook.active) else {
        return Ok(());
    };
    let room = QUEUE - store::webhook::waiting(conn, company, id, QUEUE)?.min(QUEUE);
    if room == 0 {
        return Ok(());
    }
    let topics = match webhook.topics.is_empty() {
        true => Topic::ALL.iter().map(|topic| topic.code().into()).collect(),
        false => webhook.topics.clone(),
    };
    let wanted = Wanted {
        topics,
        client: None,
    };
    let page = store::change::page(conn, company, webhook.position(), &wanted, room)?;
    let messages: Vec<_> = page
        .changes
        .into_iter()
        .map(|change| (WebhookDeliveryId::new(), change))
        .collect();
    store::webhook::enqueue(conn, company, id, &messages)?;
    store::webhook::move_to(conn, company, id, page.end)?;
    Ok(())
}

/// Sends a message once.
fn attempt(agent: &Agent, webhook: &Webhook, delivery: &Delivery) -> Attempt {
    let answer = match signed(&webhook.secret, delivery) {
        Ok(message) => message.send(agent, &webhook.url),
        Err(error) => Err(error.to_string()),
    };
    let (answered, error) = match answer {
        Ok(status) if (200..300).contains(&status) => (Some(status), None),
        Ok(status) => (Some(status), Some(format!("HTTP {status}"))),
        Err(error) => (None, Some(error.chars().take(ERROR_CHARS).collect())),
    };
    let tries = delivery.attempts + 1;
    let status = match &error {
        None => DeliveryStatus::Delivered,
        Some(_) if tries >= TRIES => DeliveryStatus::Dead,
        Some(_) => DeliveryStatus::Failed,
    };
    Attempt {
        status: status.code(),
        answered,
        error,
        retry_in: wait_seconds(tries, jitter()),
    }
}

/// A message with its signature.
struct Message {
    id: String,
    timestamp: String,
    signature: String,
    body: String,
}

fn signed(secret: &str, delivery: &Delivery) -> Result<Message> {
    let id = delivery.id.show();
    let body = json!({
        "id": id,
        "topic": delivery.topic,
        "kind": delivery.kind,
        "subjectId": delivery.subject_id.map(|subject| change::subject(&delivery.kind, subject)),
        "clientId": delivery.client_id.map(Id::show),
        "recordedAt": delivery.recorded_at.to_rfc3339_opts(SecondsFormat::Micros, true),
        "cursor": delivery.position().map(Position::cursor),
    })
    .to_string();
    let timestamp = Utc::now().timestamp().to_string();
    Ok(Message {
        signature: signature(secret, &format!("{id}.{timestamp}.{body}"))?,
        id,
        timestamp,
        body,
    })
}

/// `v1,` and the HMAC-SHA256 of the text under the bytes of the secret.
fn signature(secret: &str, text: &str) -> Result<String> {
    let wrong = || Error::Internal("a webhook's secret cannot be read".into());
    let key = secret.strip_prefix("whsec_").ok_or_else(wrong)?;
    let key = STANDARD.decode(key).map_err(|_| wrong())?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| wrong())?;
    mac.update(text.as_bytes());
    Ok(format!(
        "v1,{}",
        STANDARD.encode(mac.finalize().into_bytes())
    ))
}

impl Message {
    /// The status of the answer, or why there was none.
    fn send(self, agent: &Agent, url: &str) -> std::result::Result<i32, String> {
        let answer = agent
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", self.id)
            .header("webhook-timestamp", self.timestamp)
            .header("webhook-signature", self.signature)
            .send(self.body)
            .map_err(|error| error.to_string())?;
        Ok(i32::from(answer.status().as_u16()))
    }
}

/// From 0 to 1, by chance.
fn jitter() -> f64 {
    // The last byte of such an id is random.
    f64::from(Uuid::now_v7().as_bytes()[15]) / 255.0
}

/// An HTTP client that goes where it is sent and nowhere else: no redirects, no proxy of the environment.
fn agent(policy: Policy) -> Agent {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ureq::tls::TlsConfig::builder()
        .unversioned_rustls_crypto_provider(provider)
        .build();
    let config = Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("encours/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls)
        .build();
    let resolver = Judging {
        names: DefaultResolver::default(),
        policy,
    };
    Agent::with_parts(config, DefaultConnector::new(), resolver)
}

/// Looks names up and leaves out the addresses that are not allowed. The connection goes to what it answers, so
/// nobody can give another address between the look and the connection.
#[derive(Debug)]
struct Judging {
    names: DefaultResolver,
    policy: Policy,
}

impl Resolver for Judging {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> std::result::Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.names.resolve(uri, config, timeout)?;
        if self.policy.allow_private {
            return Ok(found);
        }
        let mut allowed = self.empty();
        for address in found.iter().filter(|address| is_public(address.ip())) {
            allowed.push(*address);
        }
        if allowed.is_empty() {
            let kind = std::io::ErrorKind::PermissionDenied;
            return Err(std::io::Error::new(kind, NOT_PUBLIC).into());
        }
        Ok(allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: Policy = Policy {
        allow_private: false,
    };

    #[test]
    fn a_signature_is_that_of_standard_webhooks() {
        // The example of the specification's libraries.
        let text = r#"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}"#;
        let signature = signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", text);
        assert_eq!(
            signature.expect("signed"),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn addresses_are_public_http_without_passwords() {
        let private = Policy {
            allow_private: true,
        };
        for (url, open, closed) in [
            ("https://example.com/hook?x=1", true, true),
            ("http://example.com:8080", true, true),
            ("https://8.8.8.8/", true, true),
            ("http://127.0.0.1:9/", true, false),
            ("http://localhost/", true, false),
            ("http://LOCALHOST./", true, false),
            ("http://[::1]/", true, false),
            ("http://169.254.169.254/latest", true, false),
            ("https://user:pass@example.com/", false, false),
            ("https://user@example.com/", false, false),
            ("ftp://example.com/", false, false),
            ("file:///etc/passwd", false, false),
            ("/hook", false, false),
            ("example.com", false, false),
            ("", false, false),
            ("https://", false, false),
        ] {
            assert_eq!(check_url(url, private).is_ok(), open, "{url}");
            assert_eq!(check_url(url, PUBLIC).is_ok(), closed, "{url}");
        }
        assert!(
            check_url(
                &format!("https://example.com/{}", "a".repeat(URL_BYTES)),
                PUBLIC
            )
            .is_err()
        );
    }

    #[test]
    fn a_private_address_is_not_connected_to() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let error = agent(PUBLIC).post(&url).send("").expect_err("refused");
        assert!(error.to_string().contains("not a public one"), "{error}");
        listener.set_nonblocking(true).expect("set");
        assert!(listener.accept().is_err(), "somebody connected");
    }
}
