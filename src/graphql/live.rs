//! Live changes: the feed to read, and the subscription to it.

use async_graphql::{Context, ID, Object, SimpleObject, Subscription as GraphqlSubscription};
use futures_util::Stream;

use super::client::{client_filter_id, code_enum};
use super::scalars::{ClientRef, Instant, show};
use super::{Permitted, session};
use crate::domain::access::Caller;
use crate::domain::change::{self, Position, Topic};
use crate::error::{Error, Result};
use crate::service::live::{Feed, Follower, known};
use crate::store::change::{Change as Row, Wanted, page};

/// Changes on a page at most, and unless asked otherwise.
const PAGE: i32 = 100;
/// Instead of a cursor: behind everything that has happened so far.
const NOW: &str = "now";

code_enum! {
    /// What a change is about.
    ChangeTopic {
        /// Invoices, credit notes and deductions.
        Documents = "DOCUMENTS",
        /// Receipts, their payers and their returns.
        Payments = "PAYMENTS",
        /// Allocations and their ends (lettrage, délettrage).
        Matchings = "MATCHINGS",
        /// Disputes, their states and notes.
        Disputes = "DISPUTES",
        /// Reminders and promises to pay.
        Dunning = "DUNNING",
        /// Tasks; for roles that read the journal.
        Worklist = "WORKLIST",
        /// Clients and their settings.
        Clients = "CLIENTS",
    }
}

impl ChangeTopic {
    fn topic(self) -> Topic {
        match self {
            ChangeTopic::Documents => Topic::Documents,
            ChangeTopic::Payments => Topic::Payments,
            ChangeTopic::Matchings => Topic::Matchings,
            ChangeTopic::Disputes => Topic::Disputes,
            ChangeTopic::Dunning => Topic::Dunning,
            ChangeTopic::Worklist => Topic::Worklist,
            ChangeTopic::Clients => Topic::Clients,
        }
    }
}

/// The client of a change, as named now.
#[derive(SimpleObject, Clone)]
pub struct ChangedClient {
    /// The opaque id, for `client` and `node`.
    id: ID,
    /// The business number.
    number: String,
    /// The name.
    name: String,
}

/// Something that happened to a record. It says which record, not what stands in it: read it, with the
/// rights and the state of that moment.
#[derive(SimpleObject, Clone)]
pub struct Change {
    /// Its place in the feed: give it as `after` to go on behind it.
    cursor: String,
    /// What it is about.
    topic: ChangeTopic,
    /// The record and what happened to it, such as `INVOICE_ISSUED`, `PAYMENT_RETURNED`, `CLIENT_CHANGED`.
    /// New kinds may appear: pass over those you do not know.
    kind: String,
    /// The opaque id of the record, such as `doc_…`: for `node` when that knows the type.
    subject_id: ID,
    /// The client that it concerns; null when it concerns none, or an unknown one.
    client: Option<ChangedClient>,
    /// When it was recorded: the instant at which its transaction began.
    recorded_at: Instant,
}

impl Change {
    fn of(row: Row) -> Result<Change> {
        let client = match (row.client_id, &row.client_number, &row.client_name) {
            (Some(id), Some(number), Some(name)) => Some(ChangedClient {
                id: show(id),
                number: number.clone(),
                name: name.clone(),
            }),
            _ => None,
        };
        Ok(Change {
            cursor: row.position().cursor(),
            topic: ChangeTopic::of(&row.topic)?,
            subject_id: ID(change::subject(&row.kind, row.subject_id)),
            kind: row.kind,
            client,
            recorded_at: row.recorded_at.into(),
        })
    }
}

/// A part of the change feed, oldest first.
#[derive(SimpleObject)]
pub struct ChangePage {
    /// What happened, in order.
    changes: Vec<Change>,
    /// Where to go on: give it as `after`. There is one on an empty page too.
    end_cursor: String,
    /// Whether more can be read at once; when not, ask again later with `endCursor`.
    has_more: bool,
}

/// The topics that are meant: those asked for, which the role must be allowed, or all that it is.
fn topics(caller: &Caller, asked: Option<Vec<ChangeTopic>>) -> Result<Vec<String>> {
    let topics: Vec<Topic> = match asked {
        Some(asked) if !asked.is_empty() => asked.into_iter().map(ChangeTopic::topic).collect(),
        _ => Topic::ALL
            .iter()
            .copied()
            .filter(|topic| caller.may(topic.action()))
            .collect(),
    };
    match topics.iter().find(|topic| !caller.may(topic.action())) {
        Some(refused) => Err(Error::Forbidden(Some(refused.action()))),
        None => Ok(topics.iter().map(|topic| topic.code().into()).collect()),
    }
}

/// Reads a cursor of the feed.
fn position(field: &'static str, cursor: &str) -> Result<Position> {
    Position::read(cursor).ok_or_else(|| Error::BadInput {
        field,
        message: "this is not a cursor of the change feed: take cursor or endCursor of one of its answers".into(),
    })
}

/// The change feed.
#[derive(Default)]
pub struct LiveQuery;

#[Object]
impl LiveQuery {
    /// What happened to the records that the caller may see, oldest first. Ask again with `endCursor`: no change is
    /// left out and none comes twice, however many are written meanwhile. A change appears once every transaction
    /// that began before its own has ended.
    #[graphql(guard = "Permitted(\"Query.changes\")")]
    async fn changes(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Behind this cursor; from the beginning when absent. `now` answers an empty page, whose `endCursor` stands behind everything so far."
        )]
        after: Option<String>,
        #[graphql(default = 100, desc = "How many, 1 to 100.")] first: i32,
        #[graphql(desc = "Of these topics; of all that the role may see when absent or empty.")]
        topics: Option<Vec<ChangeTopic>>,
    ) -> Result<ChangePage> {
        if !(1..=PAGE).contains(&first) {
            return Err(Error::BadInput {
                field: "first",
                message: format!("a page has 1 to {PAGE} changes, {first} were asked for"),
            });
        }
        let session = session(ctx)?;
        let wanted = Wanted {
            topics: self::topics(session.caller(), topics)?,
            client: None,
        };
        if after.as_deref() == Some(NOW) {
            let now = session
                .read(|conn, _| Ok(crate::store::change::horizon(conn)?))
                .await?;
            return Ok(ChangePage {
                changes: Vec::new(),
                end_cursor: now.cursor(),
                has_more: false,
            });
        }
        let after = match after {
            Some(cursor) => position("after", &cursor)?,
            None => Position::START,
        };
        let limit = usize::try_from(first).unwrap_or_default();
        let found = session
            .read(move |conn, caller| Ok(page(conn, caller.company, after, &wanted, limit)?))
            .await?;
        known(after, found.horizon)?;
        Ok(ChangePage {
            changes: found
                .changes
                .into_iter()
                .map(Change::of)
                .collect::<Result<_>>()?,
            end_cursor: found.end.cursor(),
            has_more: found.more,
        })
    }
}

/// What can be followed: over a WebSocket at `/graphql` (`graphql-transport-ws`), or as server-sent events.
#[derive(Default)]
pub struct Subscription;

#[GraphqlSubscription]
impl Subscription {
    /// What happens from now on to the records that the caller may see, soon after it is committed; with `after` first
    /// what has happened since. Keep the last `cursor`: with it as `after` nothing is lost over a broken connection.
    #[graphql(guard = "Permitted(\"Subscription.changes\")")]
    async fn changes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of these topics; of all that the role may see when absent or empty.")]
        topics: Option<Vec<ChangeTopic>>,
        #[graphql(desc = "Only what concerns this client.")] client: Option<ClientRef>,
        #[graphql(desc = "Behind this cursor; from now on when absent.")] after: Option<String>,
    ) -> async_graphql::Result<impl Stream<Item = async_graphql::Result<Change>> + use<>> {
        let session = session(ctx)?.clone();
        let wanted = Wanted {
            topics: self::topics(session.caller(), topics)?,
            client: client_filter_id(ctx, client).await?,
        };
        let after = match after.as_deref() {
            None | Some(NOW) => None,
            Some(cursor) => Some(position("after", cursor)?),
        };
        let feed = ctx
            .data_opt::<Feed>()
            .ok_or_else(|| Error::Internal("no change feed".into()))?;
        let follower = feed.follow(session, wanted, after).await?;
        Ok(followed(follower))
    }
}

/// One change after the other; an error is the last thing said.
fn followed(follower: Follower) -> impl Stream<Item = async_graphql::Result<Change>> {
    futures_util::stream::unfold(Some(follower), |follower| async {
        let mut follower = follower?;
        match follower.next().await.and_then(Change::of) {
            Ok(change) => Some((Ok(change), Some(follower))),
            Err(error) => Some((Err(error.into()), None)),
        }
    })
}
