//! How rows are added: one statement of constant text per table, with an array for each column.
//!
//! A list of `VALUES` has another text for every number of rows and a parameter for every cell, so
//! Postgres spends longer on reading it than on writing the rows. Here one row and thousands are the
//! same prepared statement, and few rows of tables that belong together go in one.

use std::fmt::Debug;

use diesel::internal::derives::as_expression::Bound;
use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{
    Array, BigInt, Bool, Date, HasSqlType, Integer, Jsonb, Nullable, Numeric, SmallInt, SqlType,
    Text, Untyped, Uuid as SqlUuid,
};

use super::list::Statement;
use crate::domain::ids::CompanyId;

/// Rows of one statement. One statement of this many stays well within the time-out.
const CHUNK: usize = 5_000;
/// So few rows that the way to the database costs more than writing them.
const FEW: usize = 200;

/// A type of column, as SQL names it.
pub trait Named {
    /// The name of its arrays.
    const ARRAY: &'static str;
}

macro_rules! named {
    ($($kind:ty => $name:literal),+ $(,)?) => {$(
        impl Named for $kind {
            const ARRAY: &'static str = $name;
        }
        impl Named for Nullable<$kind> {
            const ARRAY: &'static str = $name;
        }
    )+};
}

// Fixed-width characters go as text: Postgres turns them on the way into the column.
named! {
    SqlUuid => "uuid[]",
    Text => "text[]",
    BigInt => "bigint[]",
    Integer => "integer[]",
    SmallInt => "smallint[]",
    Bool => "boolean[]",
    Date => "date[]",
    Numeric => "numeric[]",
    Jsonb => "jsonb[]",
}

/// The values of one column, in the order of the rows.
pub struct Column<'a> {
    name: &'static str,
    array: &'static str,
    values: Box<dyn QueryFragment<Pg> + 'a>,
}

impl<'a> Column<'a> {
    /// Whether it has this name.
    pub fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// A column of type `ST`.
    pub fn of<ST, T>(name: &'static str, values: Vec<&'a T>) -> Column<'a>
    where
        ST: Named + SqlType + 'static,
        T: ToSql<ST, Pg> + Debug,
        Pg: HasSqlType<ST>,
    {
        Column {
            name,
            array: ST::ARRAY,
            values: Box::new(Bound::<Array<ST>, Vec<&'a T>>::new(values)),
        }
    }
}

/// A column that the database fills, with what it would fill it with. Where companies are spread over machines, a
/// statement that is part of another has to name all columns that have a default, in the order of the table.
#[derive(Debug)]
pub struct Given {
    pub name: &'static str,
    pub sql: &'static str,
    /// The column that comes after it; empty at the end.
    pub before: &'static str,
}

/// A record that is a row of one table.
pub trait Row: Sized {
    /// The table.
    const TABLE: &'static str;
    /// The company that the record is of: one for all records of a statement.
    fn company(&self) -> CompanyId;
    /// Columns of a record that is written under numbers which its own statement draws: each with the SQL that takes
    /// the place of what `u`, the record, has there. `g` holds the `number` and the rank of the `entry`, see [`Drawing`].
    const DRAWN: &'static [(&'static str, &'static str)] = &[];
    /// Columns that the database fills, see [`Given`].
    const GIVEN: &'static [Given] = &[];
    /// Its columns but the company, filled from `rows`, in the order of the table.
    fn columns<'a>(rows: impl Iterator<Item = &'a Self> + Clone) -> Vec<Column<'a>>
    where
        Self: 'a;
    /// Whether a row and the next must go in one statement.
    fn is_one(_row: &Self, _next: &Self) -> bool {
        false
    }
}

/// Says which table the records are rows of, and the type of each column.
macro_rules! rows {
    ($row:ty => $table:literal $(with $is_one:expr,)? { company_id: SqlUuid, $($column:ident: $kind:ty),+ $(,)? }
        $(drawn { $($drawn:ident: $sql:literal),+ $(,)? })? $(given { $($given:ident = $default:literal before $before:literal),+ $(,)? })?) => {
        impl $crate::store::bulk::Row for $row {
            const TABLE: &'static str = $table;
            fn company(&self) -> $crate::domain::ids::CompanyId {
                self.company_id
            }
            $(const DRAWN: &'static [(&'static str, &'static str)] = &[$((stringify!($drawn), $sql)),+];)?
            $(const GIVEN: &'static [$crate::store::bulk::Given] = &[$($crate::store::bulk::Given {
                name: stringify!($given), sql: $default, before: $before,
            }),+];)?
            fn columns<'a>(
                rows: impl Iterator<Item = &'a Self> + Clone,
            ) -> Vec<$crate::store::bulk::Column<'a>> {
                vec![$($crate::store::bulk::Column::of::<$kind, _>(
                    stringify!($column),
                    rows.clone().map(|row| &row.$column).collect(),
                )),+]
            }
            $(fn is_one(row: &Self, next: &Self) -> bool {
                let is_one: fn(&Self, &Self) -> bool = $is_one;
                is_one(row, next)
            })?
        }
    };
}
pub(crate) use rows;

/// Rows go in beside the row of their company, `k`: where companies are spread over machines, that says where to.
struct Insert<'a> {
    table: &'static str,
    company: Option<CompanyId>,
    columns: Vec<Column<'a>>,
    given: &'static [Given],
    numbers: NumberedBy<'a>,
}

/// Where rows have their numbers from.
enum NumberedBy<'a> {
    /// They bring them along.
    Themselves,
    /// They are drawn, for one record: [`Row::DRAWN`].
    Drawing(&'static [(&'static str, &'static str)]),
    /// They are drawn for several records, each row being of the one at its place.
    Places(&'static [(&'static str, &'static str)], Column<'a>),
    /// They have none, and are written when those are that have.
    Nothing,
}

impl QueryFragment<Pg> for Insert<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("INSERT INTO ");
        out.push_sql(self.table);
        out.push_sql(" (company_id");
        let drawn: &[_] = match &self.numbers {
            NumberedBy::Themselves | NumberedBy::Nothing => &[],
            NumberedBy::Drawing(drawn) | NumberedBy::Places(drawn, _) => drawn,
        };
        let cells = self.cells(drawn);
        for (name, _) in &cells {
            out.push_sql(", ");
            out.push_sql(name);
        }
        out.push_sql(") SELECT k.company_id");
        for (name, sql) in cells {
            out.push_sql(match sql {
                Some(_) => ", ",
                None => ", u.",
            });
            out.push_sql(sql.unwrap_or(name));
        }
        out.push_sql(" FROM companies k CROSS JOIN");
        let places = match &self.numbers {
            NumberedBy::Places(_, places) => Some(places),
            _ => None,
        };
        self.unnested(&mut out, places)?;
        match &self.numbers {
            NumberedBy::Drawing(_) => out.push_sql(" CROSS JOIN g"),
            // Row by row: a join might write them in another order.
            NumberedBy::Places(..) => out.push_sql(
                " CROSS JOIN LATERAL (SELECT * FROM g WHERE g.place = u.place OFFSET 0) g",
            ),
            NumberedBy::Themselves | NumberedBy::Nothing => {}
        }
        out.push_sql(" WHERE k.company_id = ");
        out.push_bind_param::<Nullable<SqlUuid>, _>(&self.company)?;
        if let NumberedBy::Nothing = self.numbers {
            out.push_sql(" AND EXISTS (SELECT FROM g)");
        }
        Ok(())
    }
}

impl<'a> Insert<'a> {
    fn of<R: Row>(rows: &'a [R]) -> Insert<'a> {
        debug_assert!(rows.iter().all(|row| row.company() == rows[0].company()));
        Insert {
            table: R::TABLE,
            company: rows.first().map(Row::company),
            columns: R::columns(rows.iter()),
            given: R::GIVEN,
            numbers: NumberedBy::Themselves,
        }
    }

    fn names<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) {
        for (position, column) in self.columns.iter().enumerate() {
            out.push_sql(if position == 0 { "" } else { ", " });
            out.push_sql(column.name);
        }
    }

    /// The columns that are written, with the SQL of those that the rows do not bring.
    fn cells(&self, drawn: &[(&str, &'static str)]) -> Vec<(&'static str, Option<&'static str>)> {
        let given = |before: &'static str| {
            let given = self.given.iter().filter(move |it| it.before == before);
            given.map(|it| (it.name, Some(it.sql)))
        };
        let mut cells = Vec::new();
        for column in &self.columns {
            cells.extend(given(column.name));
            let drawn = drawn.iter().find(|(name, _)| *name == column.name);
            cells.push((column.name, drawn.map(|(_, sql)| *sql)));
        }
        cells.extend(given(""));
        cells
    }

    fn unnested<'b>(
        &'b self,
        out: &mut AstPass<'_, 'b, Pg>,
        places: Option<&'b Column<'_>>,
    ) -> QueryResult<()> {
        out.push_sql(" unnest(");
        for (position, column) in self.columns.iter().chain(places).enumerate() {
            out.push_sql(if position == 0 { "" } else { ", " });
            column.values.walk_ast(out.reborrow())?;
            out.push_sql("::");
            out.push_sql(column.array);
        }
        out.push_sql(") u (");
        self.names(out);
        if let Some(places) = places {
            out.push_sql(", ");
            out.push_sql(places.name);
        }
        out.push_sql(")");
        Ok(())
    }
}

// Without a static id diesel keeps the prepared statement by its text, which is the same every time.
impl QueryId for Insert<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl RunQueryDsl<PgConnection> for Insert<'_> {}

/// Adds rows, in order.
pub fn insert<R: Row>(conn: &mut PgConnection, rows: &[R]) -> QueryResult<()> {
    let mut rest = rows;
    while !rest.is_empty() {
        let mut end = rest.len().min(CHUNK);
        while end < rest.len() && R::is_one(&rest[end - 1], &rest[end]) {
            end += 1;
        }
        let (chunk, behind) = rest.split_at(end);
        let added = Insert::of(chunk).execute(conn)?;
        // Behind the wall, the rows of another company have nowhere to go.
        if added < chunk.len() {
            return Err(diesel::result::Error::NotFound);
        }
        rest = behind;
    }
    Ok(())
}

/// Rows of some table.
pub trait Rows {
    /// How many.
    fn count(&self) -> usize;
    /// Whose, if there are any: one company's.
    fn company(&self) -> Option<CompanyId>;
    /// The statement that adds them all.
    fn together(&self) -> Part<'_>;
    /// The same under numbers that are drawn.
    fn numbered(&self) -> Part<'_>;
    /// Adds them.
    fn add(&self, conn: &mut PgConnection) -> QueryResult<()>;
}

impl<R: Row> Rows for &[R] {
    fn count(&self) -> usize {
        self.len()
    }
    fn company(&self) -> Option<CompanyId> {
        self.first().map(Row::company)
    }
    fn together(&self) -> Part<'_> {
        Box::new(Insert::of(self))
    }
    fn numbered(&self) -> Part<'_> {
        Box::new(Insert {
            numbers: NumberedBy::Drawing(R::DRAWN),
            ..Insert::of(self)
        })
    }
    fn add(&self, conn: &mut PgConnection) -> QueryResult<()> {
        insert(conn, self)
    }
}

/// A statement that is part of another.
pub type Part<'a> = Box<dyn QueryFragment<Pg> + 'a>;

/// Adds rows under the numbers of several records, each row of the record at its place, counted from one.
pub fn at_places<'a, R: Row>(rows: &'a [R], places: &'a [i32]) -> Part<'a> {
    let places = Column::of::<Integer, i32>("place", places.iter().collect());
    Box::new(Insert {
        numbers: NumberedBy::Places(R::DRAWN, places),
        ..Insert::of(rows)
    })
}

/// Adds rows without numbers beside those of [`at_places`].
pub fn beside<R: Row>(rows: &[R]) -> Part<'_> {
    Box::new(Insert {
        numbers: NumberedBy::Nothing,
        ..Insert::of(rows)
    })
}

/// Statements as one. Constraints and triggers look at its end, so rows may refer to each other; where companies are
/// spread over machines they look at the end of each part, in order.
struct Together<'a> {
    parts: Vec<Part<'a>>,
    /// Whose rows are added, if any are.
    company: Option<CompanyId>,
}

impl<'a> Together<'a> {
    fn of(updates: Vec<Statement>, tables: &'a [&'a dyn Rows]) -> Together<'a> {
        let updates = updates
            .into_iter()
            .map(|update| Box::new(update) as Part<'_>);
        let filled = tables.iter().filter(|rows| rows.count() > 0);
        Together {
            company: filled.clone().find_map(|rows| rows.company()),
            parts: updates.chain(filled.map(|rows| rows.together())).collect(),
        }
    }

    /// Does all. Behind the wall, the rows of another company have nowhere to go.
    fn done(self, conn: &mut PgConnection) -> QueryResult<()> {
        match self.execute(conn)? {
            0 => Err(diesel::result::Error::NotFound),
            _ => Ok(()),
        }
    }
}

impl QueryFragment<Pg> for Together<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let mut before = "WITH ";
        for (place, part) in self.parts.iter().enumerate() {
            out.push_sql(before);
            before = ", ";
            named(&mut out, place, part.as_ref())?;
        }
        out.push_sql(" SELECT 1");
        if let Some(company) = &self.company {
            out.push_sql(" FROM companies k WHERE k.company_id = ");
            out.push_bind_param::<SqlUuid, _>(company)?;
        }
        Ok(())
    }
}

/// A statement as part `t0`, `t1`, … of another.
fn named<'b>(
    out: &mut AstPass<'_, 'b, Pg>,
    place: usize,
    part: &'b (dyn QueryFragment<Pg> + 'b),
) -> QueryResult<()> {
    out.push_sql("t");
    out.push_sql(&place.to_string());
    out.push_sql(" AS (");
    part.walk_ast(out.reborrow())?;
    out.push_sql(")");
    Ok(())
}

impl QueryId for Together<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl RunQueryDsl<PgConnection> for Together<'_> {}

/// Adds rows of several tables, in the order in which they refer to each other: few by one statement, many table by
/// table.
pub fn insert_all(conn: &mut PgConnection, tables: &[&dyn Rows]) -> QueryResult<()> {
    let filled = || tables.iter().filter(|rows| rows.count() > 0);
    if filled().map(|rows| rows.count()).sum::<usize>() > FEW || filled().count() < 2 {
        return filled().try_for_each(|rows| rows.add(conn));
    }
    Together::of(Vec::new(), tables).done(conn)
}

/// The same beside updates that do not see the rows, nor one another: with few of them all is one statement.
pub fn insert_beside(
    conn: &mut PgConnection,
    updates: Vec<Statement>,
    tables: &[&dyn Rows],
) -> QueryResult<()> {
    if tables.iter().map(|rows| rows.count()).sum::<usize>() > FEW {
        for update in updates {
            update.execute(conn)?;
        }
        return insert_all(conn, tables);
    }
    Together::of(updates, tables).done(conn)
}

/// Rows of several tables with the numbers that they are written under, in one statement: the counters are locked for
/// that and for the end of the transaction, not for the way to the server and back between them.
///
/// `numbers` is the `WITH …` of the drawing: `d` is what was drawn, which the statement answers, and `g` the `number` and
/// the rank of the `entry`, without a row when nothing is to be written. For several records both have a row each, at
/// its `place`.
pub struct Drawing<'a> {
    pub numbers: Statement,
    /// What is written under them, and beside.
    pub parts: Vec<Part<'a>>,
}

/// Rows that leave the number of their record empty, and updates beside them, as parts of a [`Drawing`].
pub fn numbered<'a>(tables: &'a [&dyn Rows], updates: Vec<Statement>) -> Vec<Part<'a>> {
    let filled = tables.iter().filter(|rows| rows.count() > 0);
    let mut parts: Vec<Part<'a>> = filled.map(|rows| rows.numbered()).collect();
    for update in updates {
        parts.push(Box::new(update));
    }
    parts
}

impl QueryFragment<Pg> for Drawing<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.numbers.walk_ast(out.reborrow())?;
        for (place, part) in self.parts.iter().enumerate() {
            out.push_sql(", ");
            named(&mut out, place, part.as_ref())?;
        }
        out.push_sql(" SELECT d.*, EXISTS (SELECT FROM g) AS is_written FROM d");
        Ok(())
    }
}

impl QueryId for Drawing<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Drawing<'_> {
    type SqlType = Untyped;
}

impl RunQueryDsl<PgConnection> for Drawing<'_> {}
