//! Records by their keys, by statements that PostgreSQL plans once.
//!
//! What `id = ANY($1)` costs is estimated by how many ids are given, so that a plan for few is always the better one:
//! PostgreSQL plans the look-up anew each time, which takes longer than the look-up. Of a list that comes out of a
//! sub-select it knows nothing beforehand, and keeps its plan: a probe of the key for each id.

use std::collections::BTreeSet;
use std::marker::PhantomData;

use diesel::expression::Expression;
use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::query_dsl::methods::LoadQuery;
use diesel::sql_types::{Date, Text, Uuid as SqlUuid};

use super::list::{Bind, Sql, Statement};
use crate::domain::ids::{CompanyId, Id};

/// A table whose keys are the company and an id.
pub trait Keyed: Selectable<Pg> {
    /// Its name.
    const TABLE: &'static str;
}

/// Says which table the records are kept in.
macro_rules! keyed {
    ($($record:ty => $table:literal),+ $(,)?) => {$(
        impl $crate::store::keys::Keyed for $record {
            const TABLE: &'static str = $table;
        }
    )+};
}
pub(crate) use keyed;

/// The columns of a record, from a statement that has them under the name of its table.
pub struct Picked<S> {
    columns: S,
    from: Statement,
}

impl<S: QueryFragment<Pg>> QueryFragment<Pg> for Picked<S> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        self.columns.walk_ast(out.reborrow())?;
        self.from.walk_ast(out)
    }
}

impl<S> QueryId for Picked<S> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<S: Expression> Query for Picked<S> {
    type SqlType = S::SqlType;
}

impl<S> RunQueryDsl<PgConnection> for Picked<S> {}

/// The same with other columns of these types before them.
pub struct PickedBeside<S, B> {
    others: String,
    picked: Picked<S>,
    types: PhantomData<B>,
}

impl<S: QueryFragment<Pg>, B> QueryFragment<Pg> for PickedBeside<S, B> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        out.push_sql(&self.others);
        out.push_sql(", ");
        self.picked.columns.walk_ast(out.reborrow())?;
        self.picked.from.walk_ast(out)
    }
}

impl<S, B> QueryId for PickedBeside<S, B> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<S: Expression, B> Query for PickedBeside<S, B> {
    type SqlType = (B, S::SqlType);
}

impl<S, B> RunQueryDsl<PgConnection> for PickedBeside<S, B> {}

/// The record above another, the day that the other is sorted by, and its id.
pub type Above = (SqlUuid, Date, SqlUuid);

/// Records of a company by id, each once.
pub fn by_ids<R, I>(conn: &mut PgConnection, company: CompanyId, ids: &[I]) -> QueryResult<Vec<R>>
where
    R: Keyed,
    I: Id,
    Picked<R::SelectExpression>: for<'q> LoadQuery<'q, PgConnection, R>,
{
    probed(conn, company, ids, "")
}

/// The same, locked in the order of their ids: nobody else changes them until the transaction ends, while rows that
/// refer to them may be added.
pub fn for_update<R, I>(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[I],
) -> QueryResult<Vec<R>>
where
    R: Keyed,
    I: Id,
    Picked<R::SelectExpression>: for<'q> LoadQuery<'q, PgConnection, R>,
{
    probed(conn, company, ids, " FOR NO KEY UPDATE")
}

fn probed<R, I>(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[I],
    locked: &str,
) -> QueryResult<Vec<R>>
where
    R: Keyed,
    I: Id,
    Picked<R::SelectExpression>: for<'q> LoadQuery<'q, PgConnection, R>,
{
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids = Bind::Ids(distinct(ids.iter().map(|id| id.uuid())));
    let mut from = probes(R::TABLE, company, "id", ids, &Sql::default(), locked);
    from.push(" ORDER BY k.n", []);
    picked(conn, from)
}

/// Each of these once, in order.
pub fn distinct<T: Ord>(keys: impl IntoIterator<Item = T>) -> Vec<T> {
    let keys: BTreeSet<T> = keys.into_iter().collect();
    keys.into_iter().collect()
}

/// `FROM` the rows of a table whose `column` is one of these keys, `also` under conditions that begin with `AND`: a probe
/// of the index for each key, the `k.n`-th of them.
pub fn probes(
    table: &str,
    company: CompanyId,
    column: &str,
    keys: Bind,
    also: &Sql,
    locked: &str,
) -> Sql {
    let mut from = Sql::default();
    from.push(
        &format!(
            " FROM unnest((SELECT ?)) WITH ORDINALITY k(key, n) CROSS JOIN LATERAL \
             (SELECT * FROM {table} t WHERE t.company_id = ? AND t.{column} = k.key"
        ),
        [keys, Bind::Id(company.0)],
    );
    from.append(also)
        .push(&format!(" OFFSET 0{locked}) \"{table}\""), []);
    from
}

/// Records of a company by number, each once, in no order; of one kind, when the table has several.
pub fn by_numbers<R>(
    conn: &mut PgConnection,
    company: CompanyId,
    kind: Option<&str>,
    numbers: &[String],
) -> QueryResult<Vec<R>>
where
    R: Keyed,
    Picked<R::SelectExpression>: for<'q> LoadQuery<'q, PgConnection, R>,
{
    picked(conn, numbered(R::TABLE, company, kind, numbers))
}

/// Those of these numbers that a record of the table has.
pub fn taken(
    conn: &mut PgConnection,
    table: &str,
    company: CompanyId,
    kind: Option<&str>,
    numbers: &[String],
) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = Text)]
        number: String,
    }
    let mut sql = Sql::new("SELECT k.key AS number");
    sql.append(&numbered(table, company, kind, numbers));
    let found: Vec<Found> = sql.steady().load(conn)?;
    Ok(found.into_iter().map(|found| found.number).collect())
}

fn numbered(table: &str, company: CompanyId, kind: Option<&str>, numbers: &[String]) -> Sql {
    let numbers = Bind::Texts(distinct(numbers.iter().cloned()));
    let mut also = Sql::default();
    if let Some(kind) = kind {
        also.and("t.kind = ?", [Bind::Text(kind.to_owned())]);
    }
    probes(table, company, "number", numbers, &also, "")
}

/// Records from a statement that begins with its `FROM` and has them under the name of their table; its text is one of
/// few.
pub fn picked<R>(conn: &mut PgConnection, from: Sql) -> QueryResult<Vec<R>>
where
    R: Keyed,
    Picked<R::SelectExpression>: for<'q> LoadQuery<'q, PgConnection, R>,
{
    let picked = Picked {
        columns: R::construct_selection(),
        from: from.steady(),
    };
    picked.load(conn)
}

/// Records with other columns, from a statement that begins with its `FROM`; its text is one of few.
pub fn picked_beside<R, B, V>(
    conn: &mut PgConnection,
    others: &str,
    from: Sql,
) -> QueryResult<Vec<(V, R)>>
where
    R: Selectable<Pg>,
    PickedBeside<R::SelectExpression, B>: for<'q> LoadQuery<'q, PgConnection, (V, R)>,
{
    let picked = PickedBeside {
        others: others.to_owned(),
        picked: Picked {
            columns: R::construct_selection(),
            from: from.steady(),
        },
        types: PhantomData,
    };
    picked.load(conn)
}
