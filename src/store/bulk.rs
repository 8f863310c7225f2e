//! How rows are added: one statement of constant text per table, with an array for each column.
//!
//! A list of `VALUES` has another text for every number of rows and a parameter for every cell, so
//! Postgres spends longer on reading it than on writing the rows. Here one row and thousands are the
//! same prepared statement.

use std::fmt::Debug;

use diesel::internal::derives::as_expression::Bound;
use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{
    Array, BigInt, Bool, Date, HasSqlType, Integer, Jsonb, Nullable, Numeric, SmallInt, SqlType,
    Text, Uuid as SqlUuid,
};

/// Rows of one statement. One statement of this many stays well within the time-out.
const CHUNK: usize = 5_000;

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

/// A record that is a row of one table.
pub trait Row: Sized {
    /// The table.
    const TABLE: &'static str;
    /// Its columns, filled from `rows`.
    fn columns(rows: &[Self]) -> Vec<Column<'_>>;
}

/// Says which table the records are rows of, and the type of each column.
macro_rules! rows {
    ($row:ty => $table:literal { $($column:ident: $kind:ty),+ $(,)? }) => {
        impl $crate::store::bulk::Row for $row {
            const TABLE: &'static str = $table;
            fn columns(rows: &[Self]) -> Vec<$crate::store::bulk::Column<'_>> {
                vec![$($crate::store::bulk::Column::of::<$kind, _>(
                    stringify!($column),
                    rows.iter().map(|row| &row.$column).collect(),
                )),+]
            }
        }
    };
}
pub(crate) use rows;

struct Insert<'a> {
    table: &'static str,
    columns: Vec<Column<'a>>,
}

impl QueryFragment<Pg> for Insert<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("INSERT INTO ");
        out.push_sql(self.table);
        for (position, column) in self.columns.iter().enumerate() {
            out.push_sql(if position == 0 { " (" } else { ", " });
            out.push_sql(column.name);
        }
        out.push_sql(") SELECT * FROM unnest(");
        for (position, column) in self.columns.iter().enumerate() {
            if position > 0 {
                out.push_sql(", ");
            }
            column.values.walk_ast(out.reborrow())?;
            out.push_sql("::");
            out.push_sql(column.array);
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
    insert_whole(conn, rows, |_, _| false)
}

/// Adds rows, in order; two that belong `together` go in one statement.
pub fn insert_whole<R: Row>(
    conn: &mut PgConnection,
    rows: &[R],
    together: impl Fn(&R, &R) -> bool,
) -> QueryResult<()> {
    let mut rest = rows;
    while !rest.is_empty() {
        let mut end = rest.len().min(CHUNK);
        while end < rest.len() && together(&rest[end - 1], &rest[end]) {
            end += 1;
        }
        let (chunk, behind) = rest.split_at(end);
        Insert {
            table: R::TABLE,
            columns: R::columns(chunk),
        }
        .execute(conn)?;
        rest = behind;
    }
    Ok(())
}
