//! Webhooks and what was sent to them. By statements in SQL: a position holds an `xid8`, which the query
//! builder does not know.

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Double, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use uuid::Uuid;

use super::change::Change;
use super::list::{Bind, Sql};
use crate::domain::change::Position;
use crate::domain::ids::{ClientId, CompanyId, WebhookDeliveryId, WebhookId};

/// An address that is told of changes.
#[derive(Clone, Debug, QueryableByName)]
pub struct Webhook {
    #[diesel(sql_type = SqlUuid)]
    pub id: WebhookId,
    #[diesel(sql_type = Text)]
    pub url: String,
    #[diesel(sql_type = Text)]
    pub secret: String,
    /// Empty for all.
    #[diesel(sql_type = Array<Text>)]
    pub topics: Vec<String>,
    #[diesel(sql_type = Bool)]
    pub active: bool,
    #[diesel(sql_type = BigInt)]
    pub xid: i64,
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    /// Failures in a row.
    #[diesel(sql_type = Integer)]
    pub failures: i32,
    #[diesel(sql_type = Timestamptz)]
    pub paused_until: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    pub created_by: String,
}

impl Webhook {
    /// What was taken from the feed so far.
    pub fn position(&self) -> Position {
        Position {
            xid: self.xid,
            seq: self.seq,
        }
    }
}

const WEBHOOK: &str = "w.id, w.url, w.secret, w.topics, w.active, w.position_xid::text::bigint AS xid, \
   w.position_seq AS seq, w.failures, w.paused_until, w.created_at, w.created_by";

/// Adds a webhook that takes from a position on.
pub fn insert(conn: &mut PgConnection, company: CompanyId, webhook: &Webhook) -> QueryResult<()> {
    diesel::sql_query(
        "INSERT INTO webhooks (company_id, id, url, secret, topics, active, position_xid, position_seq, created_by) \
         VALUES ($1, $2, $3, $4, $5, $6, $7::text::xid8, $8, $9)",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<SqlUuid, _>(webhook.id)
    .bind::<Text, _>(&webhook.url)
    .bind::<Text, _>(&webhook.secret)
    .bind::<Array<Text>, _>(&webhook.topics)
    .bind::<Bool, _>(webhook.active)
    .bind::<BigInt, _>(webhook.xid)
    .bind::<BigInt, _>(webhook.seq)
    .bind::<Text, _>(&webhook.created_by)
    .execute(conn)
    .map(drop)
}

/// The webhooks that are not deleted, oldest first.
pub fn all(conn: &mut PgConnection, company: CompanyId) -> QueryResult<Vec<Webhook>> {
    diesel::sql_query(format!(
        "SELECT {WEBHOOK} FROM webhooks w WHERE w.company_id = $1 AND w.deleted_at IS NULL ORDER BY w.id"
    ))
    .bind::<SqlUuid, _>(company)
    .load(conn)
}

/// A webhook that is not deleted, locked until the transaction ends.
pub fn for_update(
    conn: &mut PgConnection,
    company: CompanyId,
    id: WebhookId,
) -> QueryResult<Option<Webhook>> {
    diesel::sql_query(format!(
        "SELECT {WEBHOOK} FROM webhooks w WHERE w.company_id = $1 AND w.id = $2 AND w.deleted_at IS NULL FOR NO KEY UPDATE"
    ))
    .bind::<SqlUuid, _>(company)
    .bind::<SqlUuid, _>(id)
    .get_result(conn)
    .optional()
}

/// Writes what may change: address, topics, whether it is active, position. Failures are forgotten.
pub fn update(conn: &mut PgConnection, company: CompanyId, webhook: &Webhook) -> QueryResult<()> {
    diesel::sql_query(
        "UPDATE webhooks SET url = $3, topics = $4, active = $5, position_xid = $6::text::xid8, position_seq = $7, \
           failures = 0, paused_until = now() WHERE company_id = $1 AND id = $2",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<SqlUuid, _>(webhook.id)
    .bind::<Text, _>(&webhook.url)
    .bind::<Array<Text>, _>(&webhook.topics)
    .bind::<Bool, _>(webhook.active)
    .bind::<BigInt, _>(webhook.xid)
    .bind::<BigInt, _>(webhook.seq)
    .execute(conn)
    .map(drop)
}

/// Lets everything that waits be tried at once.
pub fn hasten(conn: &mut PgConnection, company: CompanyId, id: WebhookId) -> QueryResult<()> {
    diesel::sql_query(
        "UPDATE webhook_deliveries SET next_at = now() WHERE company_id = $1 AND webhook_id = $2 AND finished_at IS NULL",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<SqlUuid, _>(id)
    .execute(conn)
    .map(drop)
}

/// Forgets messages to a webhook that were finished and are older than this.
pub fn forget(
    conn: &mut PgConnection,
    company: CompanyId,
    id: WebhookId,
    days: i32,
) -> QueryResult<()> {
    diesel::sql_query(
        "DELETE FROM webhook_deliveries WHERE company_id = $1 AND webhook_id = $2 AND finished_at IS NOT NULL \
           AND created_at < now() - make_interval(days => $3)",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<SqlUuid, _>(id)
    .bind::<Integer, _>(days)
    .execute(conn)
    .map(drop)
}

/// Ends a webhook for good.
pub fn delete(conn: &mut PgConnection, company: CompanyId, id: WebhookId) -> QueryResult<()> {
    diesel::sql_query(
        "UPDATE webhooks SET active = false, deleted_at = now() WHERE company_id = $1 AND id = $2",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<SqlUuid, _>(id)
    .execute(conn)
    .map(drop)
}

/// Takes a webhook with something to do that nobody else has taken, for some seconds.
pub fn claim(
    conn: &mut PgConnection,
    company: CompanyId,
    seconds: i32,
) -> QueryResult<Option<Webhook>> {
    let waiting: Option<Webhook> = diesel::sql_query(format!(
        "SELECT {WEBHOOK} FROM webhooks w WHERE w.company_id = $1 AND w.active AND w.claimed_until <= now() AND w.paused_until <= now() \
           AND (EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.company_id = $1 AND d.webhook_id = w.id \
               AND d.finished_at IS NULL AND d.next_at <= now()) \
             OR EXISTS (SELECT 1 FROM changes t WHERE t.company_id = $1 \
               AND (t.xid, t.seq) > (w.position_xid, w.position_seq) AND t.xid < pg_snapshot_xmin(pg_current_snapshot()))) \
         ORDER BY w.claimed_until LIMIT 1 FOR UPDATE SKIP LOCKED"
    ))
    .bind::<SqlUuid, _>(company)
    .get_result(conn)
    .optional()?;
    if let Some(webhook) = &waiting {
        diesel::sql_query(
            "UPDATE webhooks w SET claimed_until = now() + make_interval(secs => $3) WHERE w.company_id = $1 AND w.id = $2",
        )
        .bind::<SqlUuid, _>(company)
        .bind::<SqlUuid, _>(webhook.id)
        .bind::<Integer, _>(seconds)
        .execute(conn)?;
    }
    Ok(waiting)
}

/// Gives a webhook back, with what came of it: nothing is sent during the pause.
pub fn release(
    conn: &mut PgConnection,
    company: CompanyId,
    id: WebhookId,
    failures: i32,
    pause_seconds: f64,
) -> QueryResult<()> {
    diesel::sql_query(
        "UPDATE webhooks SET claimed_until = now(), failures = $3, paused_until = now() + make_interval(secs => $4) \
         WHERE company_id = $1 AND id = $2",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<SqlUuid, _>(id)
    .bind::<Integer, _>(failures)
    .bind::<Double, _>(pause_seconds)
    .execute(conn)
    .map(drop)
}

/// Notes what was taken from the feed.
pub fn move_to(
    conn: &mut PgConnection,
    company: CompanyId,
    id: WebhookId,
    position: Position,
) -> QueryResult<()> {
    diesel::sql_query(
        "UPDATE webhooks SET position_xid = $3::text::xid8, position_seq = $4 WHERE company_id = $1 AND id = $2",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<SqlUuid, _>(id)
    .bind::<BigInt, _>(position.xid)
    .bind::<BigInt, _>(position.seq)
    .execute(conn)
    .map(drop)
}

/// A message to a webhook.
#[derive(Clone, Debug, QueryableByName)]
pub struct Delivery {
    #[diesel(sql_type = SqlUuid)]
    pub id: WebhookDeliveryId,
    #[diesel(sql_type = SqlUuid)]
    pub webhook_id: WebhookId,
    /// The place of the change; none for a test.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub xid: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub seq: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    pub topic: Option<String>,
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub subject_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub client_id: Option<ClientId>,
    #[diesel(sql_type = Timestamptz)]
    pub recorded_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    pub status: String,
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
    #[diesel(sql_type = Timestamptz)]
    pub next_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Integer>)]
    pub last_status: Option<i32>,
    #[diesel(sql_type = Nullable<Text>)]
    pub last_error: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub finished_at: Option<DateTime<Utc>>,
}

impl Delivery {
    /// The place of the change in the feed; none for a test.
    pub fn position(&self) -> Option<Position> {
        self.xid
            .zip(self.seq)
            .map(|(xid, seq)| Position { xid, seq })
    }
}

const DELIVERY: &str = "d.id, d.webhook_id, d.xid::text::bigint AS xid, d.seq, d.topic, d.kind, d.subject_id, d.client_id, \
   d.recorded_at, d.status, d.attempts, d.next_at, d.last_status, d.last_error, d.created_at, d.finished_at";

/// Queues messages about changes, in their order.
pub fn enqueue(
    conn: &mut PgConnection,
    company: CompanyId,
    webhook: WebhookId,
    messages: &[(WebhookDeliveryId, Change)],
) -> QueryResult<()> {
    let ids: Vec<Uuid> = messages.iter().map(|(id, _)| id.0).collect();
    let xids: Vec<i64> = messages.iter().map(|(_, change)| change.xid).collect();
    let seqs: Vec<i64> = messages.iter().map(|(_, change)| change.seq).collect();
    diesel::sql_query(
        "INSERT INTO webhook_deliveries (company_id, id, webhook_id, xid, seq, topic, kind, subject_id, client_id, recorded_at) \
         SELECT t.company_id, m.id, $2, t.xid, t.seq, t.topic, t.kind, t.subject_id, t.client_id, t.recorded_at \
         FROM unnest($3, $4, $5) WITH ORDINALITY m(id, xid, seq, place) \
         JOIN changes t ON t.company_id = $1 AND t.xid = m.xid::text::xid8 AND t.seq = m.seq ORDER BY m.place",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<SqlUuid, _>(webhook)
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Array<BigInt>, _>(xids)
    .bind::<Array<BigInt>, _>(seqs)
    .execute(conn)
    .map(drop)
}

/// Queues a message that is about no change.
pub fn enqueue_test(
    conn: &mut PgConnection,
    company: CompanyId,
    webhook: WebhookId,
    id: WebhookDeliveryId,
    kind: &str,
) -> QueryResult<()> {
    diesel::sql_query(
        "INSERT INTO webhook_deliveries (company_id, id, webhook_id, kind, recorded_at) VALUES ($1, $2, $3, $4, now())",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<SqlUuid, _>(id)
    .bind::<SqlUuid, _>(webhook)
    .bind::<Text, _>(kind)
    .execute(conn)
    .map(drop)
}

/// How many messages wait, counted up to `limit`.
pub fn waiting(
    conn: &mut PgConnection,
    company: CompanyId,
    webhook: WebhookId,
    limit: usize,
) -> QueryResult<usize> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let found: Found = diesel::sql_query(
        "SELECT count(*) AS count FROM (SELECT 1 FROM webhook_deliveries \
           WHERE company_id = $1 AND webhook_id = $2 AND finished_at IS NULL LIMIT $3) d",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<SqlUuid, _>(webhook)
    .bind::<BigInt, _>(i64::try_from(limit).unwrap_or(i64::MAX))
    .get_result(conn)?;
    Ok(usize::try_from(found.count).unwrap_or_default())
}

/// The first message that is to be sent by now.
pub fn due(
    conn: &mut PgConnection,
    company: CompanyId,
    webhook: WebhookId,
) -> QueryResult<Option<Delivery>> {
    diesel::sql_query(format!(
        "SELECT {DELIVERY} FROM webhook_deliveries d WHERE d.company_id = $1 AND d.webhook_id = $2 \
           AND d.finished_at IS NULL AND d.next_at <= now() ORDER BY d.ordinal LIMIT 1"
    ))
    .bind::<SqlUuid, _>(company)
    .bind::<SqlUuid, _>(webhook)
    .get_result(conn)
    .optional()
}

/// What came of a try.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// `DELIVERED`, `FAILED` or `DEAD`.
    pub status: &'static str,
    /// HTTP status; none when there was no answer.
    pub answered: Option<i32>,
    /// What went wrong.
    pub error: Option<String>,
    /// Seconds until the next try.
    pub retry_in: f64,
}

/// Keeps what came of a try.
pub fn record(
    conn: &mut PgConnection,
    company: CompanyId,
    id: WebhookDeliveryId,
    attempt: &Attempt,
) -> QueryResult<()> {
    let finished = match attempt.status {
        "FAILED" => "NULL",
        _ => "now()",
    };
    diesel::sql_query(format!(
        "UPDATE webhook_deliveries SET status = $3, attempts = attempts + 1, last_status = $4, last_error = $5, \
           next_at = now() + make_interval(secs => $6), finished_at = {finished} \
         WHERE company_id = $1 AND id = $2 AND finished_at IS NULL",
    ))
    .bind::<SqlUuid, _>(company)
    .bind::<SqlUuid, _>(id)
    .bind::<Text, _>(attempt.status)
    .bind::<Nullable<Integer>, _>(attempt.answered)
    .bind::<Nullable<Text>, _>(attempt.error.as_deref())
    .bind::<Double, _>(attempt.retry_in)
    .execute(conn)
    .map(drop)
}

/// `FROM webhook_deliveries t WHERE …`: to a webhook, in a state.
pub fn deliveries_from(
    company: CompanyId,
    webhook: Option<WebhookId>,
    status: Option<&str>,
) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        "FROM webhook_deliveries t WHERE t.company_id = ?",
        [Bind::Id(company.0)],
    );
    if let Some(webhook) = webhook {
        sql.and("t.webhook_id = ?", [Bind::Id(webhook.0)]);
    }
    if let Some(status) = status {
        sql.and("t.status = ?", [Bind::Text(status.to_owned())]);
    }
    sql
}

/// Messages by id, in no order.
pub fn deliveries_by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[WebhookDeliveryId],
) -> QueryResult<Vec<Delivery>> {
    diesel::sql_query(format!(
        "SELECT {DELIVERY} FROM webhook_deliveries d WHERE d.company_id = $1 AND d.id = ANY($2)"
    ))
    .bind::<SqlUuid, _>(company)
    .bind::<Array<SqlUuid>, _>(ids)
    .load(conn)
}
