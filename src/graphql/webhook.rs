//! Webhooks: who is told of changes by HTTP, and what became of each message.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use uuid::Uuid;

use super::client::code_enum;
use super::error::UserError;
use super::live::ChangeTopic;
use super::mutation::{Done, How, mutate};
use super::operation::how;
use super::page::{self, Asked, Connection, Listed, Window};
use super::scalars::{Instant, show};
use super::text::untold;
use super::{Permitted, session};
use crate::domain::change::{self, Position};
use crate::domain::ids::{Id, WebhookDeliveryId, WebhookId};
use crate::error::{Error, Result};
use crate::service::webhook::{self, Policy, WebhookInput};
use crate::store;
use crate::store::list::{Direction, Sort};

untold!(WebhookDelivery);

code_enum! {
    /// What became of a message to a webhook.
    WebhookDeliveryStatus {
        /// Not tried yet.
        Pending = "PENDING",
        /// Taken: the answer was a 2xx.
        Delivered = "DELIVERED",
        /// Tried without success; it is tried again at `nextAt`.
        Failed = "FAILED",
        /// Given up after ten tries. `replayWebhook` sends the change again.
        Dead = "DEAD",
    }
}

/// An address that is told of changes.
#[derive(Clone)]
pub struct Webhook(store::webhook::Webhook);

/// An address that is told of changes, by signed messages (Standard Webhooks).
#[Object]
impl Webhook {
    /// The opaque id.
    async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// Where messages are sent, by `POST`.
    async fn url(&self) -> &str {
        &self.0.url
    }
    /// The topics it is told of; empty for all.
    async fn topics(&self) -> Result<Vec<ChangeTopic>> {
        self.0
            .topics
            .iter()
            .map(|topic| ChangeTopic::of(topic))
            .collect()
    }
    /// Whether messages are sent. What happens meanwhile is sent once it is active again.
    async fn active(&self) -> bool {
        self.0.active
    }
    /// Up to where the change feed was turned into messages.
    async fn cursor(&self) -> String {
        self.0.position().cursor()
    }
    /// Messages that failed in a row, up to now.
    async fn failures(&self) -> i32 {
        self.0.failures
    }
    /// Until when nothing is sent because of failures; null when there are none.
    async fn paused_until(&self) -> Option<Instant> {
        (self.0.failures > 0)
            .then_some(self.0.paused_until)
            .map(Into::into)
    }
    /// When it was set up.
    async fn created_at(&self) -> Instant {
        self.0.created_at.into()
    }
    /// Who set it up.
    async fn created_by(&self) -> &str {
        &self.0.created_by
    }
}

/// A message to a webhook.
#[derive(Clone)]
pub struct WebhookDelivery(store::webhook::Delivery);

impl Listed for store::webhook::Delivery {
    type View = WebhookDelivery;
    fn id(&self) -> Uuid {
        self.id.0
    }
    fn view(self) -> WebhookDelivery {
        WebhookDelivery(self)
    }
}

/// A message to a webhook, and what became of it.
#[Object]
impl WebhookDelivery {
    /// The opaque id: the `webhook-id` of the message, the same at every try.
    async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// The id of the webhook.
    async fn webhook_id(&self) -> ID {
        show(self.0.webhook_id)
    }
    /// The topic of the change; null for a test.
    async fn topic(&self) -> Result<Option<ChangeTopic>> {
        self.0.topic.as_deref().map(ChangeTopic::of).transpose()
    }
    /// The kind of the change, such as `INVOICE_ISSUED`; `TEST` for a test.
    async fn kind(&self) -> &str {
        &self.0.kind
    }
    /// The opaque id of the changed record; null for a test.
    async fn subject_id(&self) -> Option<ID> {
        let subject = self.0.subject_id?;
        Some(ID(change::subject(&self.0.kind, subject)))
    }
    /// The place of the change in the feed; null for a test.
    async fn cursor(&self) -> Option<String> {
        self.0.position().map(Position::cursor)
    }
    /// Where it stands.
    async fn status(&self) -> Result<WebhookDeliveryStatus> {
        WebhookDeliveryStatus::of(&self.0.status)
    }
    /// How often it was tried.
    async fn attempts(&self) -> i32 {
        self.0.attempts
    }
    /// When it is tried next, at the earliest; null when it is not any more.
    async fn next_at(&self) -> Option<Instant> {
        self.0
            .finished_at
            .is_none()
            .then_some(self.0.next_at)
            .map(Into::into)
    }
    /// The HTTP status of the last answer; null when there was none.
    async fn last_status(&self) -> Option<i32> {
        self.0.last_status
    }
    /// What went wrong at the last try; null when nothing did.
    async fn last_error(&self) -> Option<&str> {
        self.0.last_error.as_deref()
    }
    /// When it was queued.
    async fn created_at(&self) -> Instant {
        self.0.created_at.into()
    }
    /// When it was delivered or given up; null before.
    async fn finished_at(&self) -> Option<Instant> {
        self.0.finished_at.map(Into::into)
    }
}

/// Webhooks.
#[derive(Default)]
pub struct WebhookQuery;

#[Object]
impl WebhookQuery {
    /// The webhooks of the company, oldest first; at most 20. Deleted ones are left out.
    #[graphql(guard = "Permitted(\"Query.webhooks\")")]
    async fn webhooks(&self, ctx: &Context<'_>) -> Result<Vec<Webhook>> {
        let found = session(ctx)?
            .read(|conn, caller| Ok(store::webhook::all(conn, caller.company)?))
            .await?;
        Ok(found.into_iter().map(Webhook).collect())
    }

    /// Messages to webhooks, latest first.
    #[graphql(guard = "Permitted(\"Query.webhookDeliveries\")")]
    async fn webhook_deliveries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only to this webhook, by its id; deleted ones too.")] webhook: Option<ID>,
        #[graphql(desc = "Only those that stand so.")] status: Option<WebhookDeliveryStatus>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<WebhookDelivery>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("webhook deliveries{webhook:?}{status:?}"),
        )?;
        let webhook = webhook
            .map(|id| {
                WebhookId::read(&id).ok_or_else(|| Error::BadInput {
                    field: "webhook",
                    message: "this is not the id of a webhook".into(),
                })
            })
            .transpose()?;
        let session = session(ctx)?;
        let sort = Sort {
            column: "t.created_at",
            sql_type: "timestamptz",
            direction: Direction::Descending,
        };
        let from = store::webhook::deliveries_from(
            session.caller().company,
            webhook,
            status.map(WebhookDeliveryStatus::code),
        );
        page::list(session, from, sort, asked, |conn, caller, ids| {
            let ids: Vec<_> = ids.iter().copied().map(WebhookDeliveryId).collect();
            Ok(store::webhook::deliveries_by_ids(
                conn,
                caller.company,
                &ids,
            )?)
        })
        .await
    }
}

/// A webhook to set up.
#[derive(InputObject, Clone, Debug)]
struct CreateWebhookInput {
    /// Where to send: http or https, without user name and password. Private addresses are refused unless the server
    /// was started with `--allow-private-webhooks`.
    url: String,
    /// The topics to be told of; all when empty.
    #[graphql(default)]
    topics: Vec<ChangeTopic>,
    /// A cursor of the change feed to begin behind; now when absent.
    after: Option<String>,
    /// Makes the call repeatable; repeated, it answers the secret again.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// What `createWebhook` did.
#[derive(SimpleObject)]
struct CreateWebhookPayload {
    /// The webhook; null when refused.
    webhook: Option<Webhook>,
    /// Signs the messages (`whsec_…`, Standard Webhooks). It is shown here and never again: keep it; null when refused.
    secret: Option<String>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// What to change of a webhook.
#[derive(InputObject, Clone, Debug)]
struct UpdateWebhookInput {
    /// The id of the webhook.
    webhook: ID,
    /// Where to send; as it is when absent.
    url: Option<String>,
    /// The topics to be told of, all when empty; as they are when absent.
    topics: Option<Vec<ChangeTopic>>,
    /// Whether messages are sent; as it is when absent. What happened meanwhile is sent then.
    active: Option<bool>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// Names a webhook.
#[derive(InputObject, Clone, Debug)]
struct WebhookIdInput {
    /// The id of the webhook.
    webhook: ID,
}

/// What to send again.
#[derive(InputObject, Clone, Debug)]
struct ReplayWebhookInput {
    /// The id of the webhook.
    webhook: ID,
    /// A cursor of the change feed: everything behind it is sent, in new messages.
    after: String,
}

/// What happened to a webhook.
#[derive(SimpleObject)]
struct WebhookPayload {
    /// The webhook as it is now; null when refused, or deleted.
    webhook: Option<Webhook>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// What `testWebhook` queued.
#[derive(SimpleObject)]
struct TestWebhookPayload {
    /// The message; see `webhookDeliveries` for what becomes of it; null when refused.
    delivery: Option<WebhookDelivery>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

fn codes(topics: Vec<ChangeTopic>) -> Vec<String> {
    topics.iter().map(|topic| topic.code().into()).collect()
}

fn policy(ctx: &Context<'_>) -> Result<Policy> {
    ctx.data_opt::<Policy>()
        .copied()
        .ok_or_else(|| Error::Internal("no policy of webhooks".into()))
}

async fn by_id(ctx: &Context<'_>, id: Option<WebhookId>) -> Result<Option<Webhook>> {
    let Some(id) = id else { return Ok(None) };
    let found = session(ctx)?
        .read(|conn, caller| Ok(store::webhook::all(conn, caller.company)?))
        .await?;
    Ok(found
        .into_iter()
        .find(|webhook| webhook.id == id)
        .map(Webhook))
}

async fn payload(ctx: &Context<'_>, done: Done<WebhookId>) -> Result<WebhookPayload> {
    Ok(WebhookPayload {
        webhook: by_id(ctx, done.made).await?,
        user_errors: done.user_errors,
    })
}

/// Webhooks.
#[derive(Default)]
pub struct WebhookMutation;

#[Object]
impl WebhookMutation {
    /// Sets up an address that is told of changes by signed messages: at least once each, in the order of the feed as
    /// far as repetitions allow. A message that is not answered with 2xx within 10 s is sent up to ten times.
    #[graphql(guard = "Permitted(\"Mutation.createWebhook\")")]
    async fn create_webhook(
        &self,
        ctx: &Context<'_>,
        input: CreateWebhookInput,
    ) -> Result<CreateWebhookPayload> {
        let run = how(&input.idempotency_key, input.validate_only);
        let policy = policy(ctx)?;
        let wanted = WebhookInput {
            url: Some(input.url),
            topics: Some(codes(input.topics)),
            active: Some(true),
        };
        let done = mutate(ctx, run, move |conn, caller| {
            webhook::create(conn, caller, policy, &wanted, input.after.as_deref())
        })
        .await?;
        let webhook = by_id(ctx, done.made).await?;
        Ok(CreateWebhookPayload {
            secret: webhook.as_ref().map(|webhook| webhook.0.secret.clone()),
            webhook,
            user_errors: done.user_errors,
        })
    }

    /// Changes a webhook, or stops and starts it. Its failures are forgotten: it is tried at once.
    #[graphql(guard = "Permitted(\"Mutation.updateWebhook\")")]
    async fn update_webhook(
        &self,
        ctx: &Context<'_>,
        input: UpdateWebhookInput,
    ) -> Result<WebhookPayload> {
        let run = how(&None, input.validate_only);
        let policy = policy(ctx)?;
        let wanted = WebhookInput {
            url: input.url,
            topics: input.topics.map(codes),
            active: input.active,
        };
        let done = mutate(ctx, run, move |conn, caller| {
            webhook::update(conn, caller, policy, &input.webhook, &wanted)
        })
        .await?;
        payload(ctx, done).await
    }

    /// Ends a webhook for good; what waits for it is not sent any more. Its messages stay on record.
    #[graphql(guard = "Permitted(\"Mutation.deleteWebhook\")")]
    async fn delete_webhook(
        &self,
        ctx: &Context<'_>,
        input: WebhookIdInput,
    ) -> Result<WebhookPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            webhook::delete(conn, caller, &input.webhook)
        })
        .await?;
        payload(ctx, done).await
    }

    /// Sends everything behind a cursor of the change feed, again or for the first time, in new messages.
    #[graphql(guard = "Permitted(\"Mutation.replayWebhook\")")]
    async fn replay_webhook(
        &self,
        ctx: &Context<'_>,
        input: ReplayWebhookInput,
    ) -> Result<WebhookPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            webhook::replay(conn, caller, &input.webhook, &input.after)
        })
        .await?;
        payload(ctx, done).await
    }

    /// Queues a message of the kind `TEST`, signed like any other.
    #[graphql(guard = "Permitted(\"Mutation.testWebhook\")")]
    async fn test_webhook(
        &self,
        ctx: &Context<'_>,
        input: WebhookIdInput,
    ) -> Result<TestWebhookPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            webhook::test(conn, caller, &input.webhook)
        })
        .await?;
        let delivery = match done.made {
            Some(id) => session(ctx)?
                .read(move |conn, caller| {
                    Ok(store::webhook::deliveries_by_ids(conn, caller.company, &[id])?.pop())
                })
                .await?
                .map(WebhookDelivery),
            None => None,
        };
        Ok(TestWebhookPayload {
            delivery,
            user_errors: done.user_errors,
        })
    }
}
