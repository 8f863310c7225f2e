//! The change feed: what was committed, in an order in which nothing appears behind a reader.

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use super::list::{self, Bind, Sql};
use crate::domain::change::{Position, Topic};
use crate::domain::ids::{ClientId, CompanyId};

/// A change of a record, and its client as named now.
#[derive(Clone, Debug, QueryableByName)]
pub struct Change {
    #[diesel(sql_type = BigInt)]
    pub xid: i64,
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    #[diesel(sql_type = Text)]
    pub topic: String,
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = SqlUuid)]
    pub subject_id: Uuid,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub client_id: Option<ClientId>,
    #[diesel(sql_type = Nullable<Text>)]
    pub client_number: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub client_name: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    pub recorded_at: DateTime<Utc>,
}

impl Change {
    /// Its place in the feed.
    pub fn position(&self) -> Position {
        Position {
            xid: self.xid,
            seq: self.seq,
        }
    }
}

/// Which changes are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of these topics; none for no change at all.
    pub topics: Vec<String>,
    /// Of this client.
    pub client: Option<ClientId>,
}

impl Wanted {
    /// Whether a change is one of them.
    pub fn holds(&self, change: &Change) -> bool {
        self.topics.contains(&change.topic)
            && (self.client.is_none() || self.client == change.client_id)
    }
}

/// A part of the feed.
#[derive(Clone, Debug)]
pub struct Page {
    /// In order.
    pub changes: Vec<Change>,
    /// Where to go on.
    pub end: Position,
    /// Where everything ends that is settled: a position behind it is of another server.
    pub horizon: Position,
    /// Whether there was more to read at once.
    pub more: bool,
}

/// Up to `limit` changes behind a position, of all that is settled: transactions that began before the
/// oldest one under way.
pub fn page(
    conn: &mut PgConnection,
    company: CompanyId,
    after: Position,
    wanted: &Wanted,
    limit: usize,
) -> QueryResult<Page> {
    let horizon = horizon(conn)?;
    let mut sql = Sql::new(
        "SELECT t.xid::text::bigint AS xid, t.seq, t.topic, t.kind, t.subject_id, t.client_id, \
           c.number AS client_number, c.name AS client_name, t.recorded_at \
         FROM changes t LEFT JOIN clients c ON c.company_id = t.company_id AND c.id = t.client_id ",
    );
    sql.push(
        "WHERE t.company_id = ? AND (t.xid, t.seq) > (?::text::xid8, ?) AND t.xid < ?::text::xid8",
        [
            Bind::Id(company.0),
            Bind::Number(after.xid),
            Bind::Number(after.seq),
            Bind::Number(horizon.xid),
        ],
    )
    .and("t.topic = ANY(?)", [Bind::Texts(wanted.topics.clone())]);
    if let Some(client) = wanted.client {
        sql.and("t.client_id = ?", [Bind::Id(client.0)]);
    }
    let asked = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    sql.push(" ORDER BY t.xid, t.seq LIMIT ?", [Bind::Number(asked)]);
    let mut changes: Vec<Change> = sql.query().load(conn)?;
    let more = changes.len() > limit;
    changes.truncate(limit);
    let end = match changes.last() {
        Some(last) if more => last.position(),
        None if more => after,
        // Everything before the horizon was seen: whoever wants little need not pass over the rest again.
        _ => horizon.max(after),
    };
    Ok(Page {
        changes,
        end,
        horizon,
        more,
    })
}

/// The place of now: everything before it is settled, and whatever is still to come stands behind it.
pub fn horizon(conn: &mut PgConnection) -> QueryResult<Position> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = BigInt)]
        xid: i64,
    }
    diesel::sql_query("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xid")
        .get_result::<Found>(conn)
        // Numbers begin at 1: the position stands before the first change of that transaction.
        .map(|found| Position {
            xid: found.xid,
            seq: 0,
        })
}

/// Whether anything settled stands behind a position: one probe of the index.
pub fn any_behind(
    conn: &mut PgConnection,
    company: CompanyId,
    after: Position,
) -> QueryResult<bool> {
    let mut sql = Sql::default();
    sql.push(
        "SELECT EXISTS (SELECT 1 FROM changes t WHERE t.company_id = ? \
           AND (t.xid, t.seq) > (?::text::xid8, ?) AND t.xid < pg_snapshot_xmin(pg_current_snapshot())) AS found",
        [
            Bind::Id(company.0),
            Bind::Number(after.xid),
            Bind::Number(after.seq),
        ],
    );
    list::found(conn, sql)
}

/// Makes a feed readable that a dump brought from another server. Whether it was one: for the owner's connection only.
pub fn rebase(conn: &mut PgConnection) -> QueryResult<bool> {
    list::found(conn, Sql::new("SELECT rebase_changes() AS found"))
}

/// Changes that are looked through for those that a snapshot did not see, at most.
const LOOKED_THROUGH: i64 = 500;

/// What a snapshot saw, as PostgreSQL writes it.
#[derive(Clone, Debug, Default)]
pub struct Seen(String);

/// What the current snapshot sees, for [`unchanged_alone`].
pub fn seen(conn: &mut PgConnection) -> QueryResult<Seen> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = Text)]
        seen: String,
    }
    let found: Found =
        list::steady("SELECT pg_current_snapshot()::text AS seen", []).get_result(conn)?;
    Ok(Seen(found.seen))
}

/// What an answer that shows records rests on.
#[derive(Clone, Debug, Default)]
pub struct Rests {
    /// Topics of which any change counts.
    pub everywhere: Vec<Topic>,
    /// Topics of which those changes count that concern one of its clients, or none.
    pub topics: Vec<Topic>,
    /// The clients.
    pub clients: Vec<Uuid>,
}

impl Rests {
    /// What it takes in memory, about.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.clients)
    }
}

/// What a statement sees when it finds that nothing has changed since, of what an answer rests on; none when something
/// has, and maybe where nothing has. One statement of its own, for
/// [`Session::read_alone`](super::Session::read_alone).
pub fn unchanged_alone(
    conn: &mut PgConnection,
    company: CompanyId,
    since: &Seen,
    rests: &Rests,
) -> QueryResult<Option<Seen>> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = Nullable<Text>)]
        seen: Option<String>,
    }
    let codes = |topics: &[Topic]| {
        let topics = topics.iter();
        Bind::Texts(topics.map(|topic| topic.code().to_owned()).collect())
    };
    let binds = [
        Bind::Id(company.0),
        Bind::Text(since.0.clone()),
        Bind::Number(LOOKED_THROUGH),
        codes(&rests.everywhere),
        codes(&rests.topics),
        Bind::Ids(rests.clients.clone()),
    ];
    let text = "SELECT unchanged_alone(?, ?::text::pg_snapshot, ?, ?, ?, ?)::text AS seen";
    let found: Found = list::steady(text, binds).get_result(conn)?;
    Ok(found.seen.map(Seen))
}
