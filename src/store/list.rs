//! One way to list: a filter, an order and a keyset page give ids; the records are then loaded by id.

use std::borrow::Cow;
use std::marker::PhantomData;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{
    Array, BigInt, Bool, Date, Integer, Nullable, Text, Timestamptz, Untyped, Uuid as SqlUuid,
};
use uuid::Uuid;

use crate::domain::ids::Id;

/// A value given to a statement.
#[derive(Clone, Debug)]
pub enum Bind {
    /// An identifier.
    Id(Uuid),
    /// Identifiers.
    Ids(Vec<Uuid>),
    /// Identifiers, some of them absent.
    IdsOrNone(Vec<Option<Uuid>>),
    /// Text.
    Text(String),
    /// Text that may be absent.
    TextOrNone(Option<String>),
    /// Texts.
    Texts(Vec<String>),
    /// A day.
    Day(NaiveDate),
    /// A day that may be absent.
    DayOrNone(Option<NaiveDate>),
    /// An instant; none means up to now.
    Instant(Option<DateTime<Utc>>),
    /// A whole number, such as minor units.
    Number(i64),
    /// A whole number that may be absent.
    NumberOrNone(Option<i64>),
    /// A small whole number, such as a year.
    Small(i32),
    /// Small whole numbers, such as bucket bounds.
    Numbers(Vec<i32>),
    /// Whole numbers, such as minor units.
    Amounts(Vec<i64>),
    /// Whole numbers, some of them absent.
    AmountsOrNone(Vec<Option<i64>>),
    /// Days, some of them absent.
    DaysOrNone(Vec<Option<NaiveDate>>),
    /// Yes or no.
    Flag(bool),
    /// Yes or no, for each of many.
    Flags(Vec<bool>),
}

/// A statement under construction: text with `?` for each value.
#[derive(Clone, Debug, Default)]
pub struct Sql {
    text: String,
    binds: Vec<Bind>,
}

impl Sql {
    /// Starts with `text`, without values.
    pub fn new(text: &str) -> Sql {
        Sql {
            text: text.to_owned(),
            binds: Vec::new(),
        }
    }

    /// Adds text in which each `?` stands for the next value. Values never become text.
    pub fn push(&mut self, text: &str, binds: impl IntoIterator<Item = Bind>) -> &mut Sql {
        self.text.push_str(text);
        self.binds.extend(binds);
        self
    }

    /// Adds ` AND text`.
    pub fn and(&mut self, text: &str, binds: impl IntoIterator<Item = Bind>) -> &mut Sql {
        self.text.push_str(" AND ");
        self.push(text, binds)
    }

    /// Adds ` AND EXISTS (text)`, or ` AND NOT EXISTS (text)`: a comparison of the two would keep the
    /// planner from probing an index.
    pub fn exists(
        &mut self,
        yes: bool,
        text: &str,
        binds: impl IntoIterator<Item = Bind>,
    ) -> &mut Sql {
        let not = if yes { "" } else { "NOT " };
        self.and(&format!("{not}EXISTS ({text})"), binds)
    }

    /// Adds ` AND column begins with these digits`, as a range that an index of the column serves.
    pub fn begins(&mut self, column: &str, digits: &str) -> &mut Sql {
        self.and(&format!("{column} >= ?"), [Bind::Text(digits.to_owned())]);
        match after_digits(digits) {
            Some(end) => self.and(&format!("{column} < ?"), [Bind::Text(end)]),
            None => self,
        }
    }

    /// Adds another statement's text and values.
    pub fn append(&mut self, other: &Sql) -> &mut Sql {
        self.push(&other.text, other.binds.iter().cloned())
    }

    /// Whether nothing was added yet.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The statement, ready to load; PostgreSQL plans it for these values.
    pub fn query(self) -> Statement {
        Statement {
            text: self.text.into(),
            binds: self.binds,
            is_steady: false,
            columns: PhantomData,
        }
    }

    /// The same for a text that is one of few, see [`steady`].
    pub fn steady(self) -> Statement {
        Statement {
            is_steady: true,
            ..self.query()
        }
    }
}

/// A statement whose text never changes, with `?` for each value: a connection parses and prepares it once.
///
/// For what is asked at every turn and goes by keys. PostgreSQL soon keeps one plan for all values, so a statement
/// that touches many rows of one company and few of another is a [`Sql::query`].
pub fn steady(text: &'static str, binds: impl IntoIterator<Item = Bind>) -> Statement {
    Statement {
        text: text.into(),
        binds: binds.into_iter().collect(),
        is_steady: true,
        columns: PhantomData,
    }
}

/// A statement with its values. Its columns are told by their names, or by their places when their types are given.
#[derive(Clone, Debug)]
pub struct Statement<Columns = Untyped> {
    text: Cow<'static, str>,
    binds: Vec<Bind>,
    is_steady: bool,
    columns: PhantomData<Columns>,
}

impl Statement {
    /// The same, whose columns are told by their places: names are looked up in every row, which many rows feel. Nobody
    /// checks the types before it runs.
    pub fn of_columns<Columns>(self) -> Statement<Columns> {
        Statement {
            text: self.text,
            binds: self.binds,
            is_steady: self.is_steady,
            columns: PhantomData,
        }
    }
}

impl<Columns> QueryFragment<Pg> for Statement<Columns> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if !self.is_steady {
            out.unsafe_to_cache_prepared();
        }
        let mut binds = self.binds.iter();
        for (position, part) in self.text.split('?').enumerate() {
            if position > 0
                && let Some(bind) = binds.next()
            {
                bind.push(&mut out)?;
            }
            out.push_sql(part);
        }
        Ok(())
    }
}

impl Bind {
    /// The identifiers of records.
    pub fn ids<I: Id>(ids: &[I]) -> Bind {
        Bind::Ids(ids.iter().map(|id| id.uuid()).collect())
    }

    fn push<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        match self {
            Bind::Id(value) => out.push_bind_param::<SqlUuid, _>(value),
            Bind::Ids(value) => out.push_bind_param::<Array<SqlUuid>, _>(value),
            Bind::IdsOrNone(value) => out.push_bind_param::<Array<Nullable<SqlUuid>>, _>(value),
            Bind::Text(value) => out.push_bind_param::<Text, _>(value),
            Bind::TextOrNone(value) => out.push_bind_param::<Nullable<Text>, _>(value),
            Bind::Texts(value) => out.push_bind_param::<Array<Text>, _>(value),
            Bind::Day(value) => out.push_bind_param::<Date, _>(value),
            Bind::DayOrNone(value) => out.push_bind_param::<Nullable<Date>, _>(value),
            Bind::Instant(value) => out.push_bind_param::<Nullable<Timestamptz>, _>(value),
            Bind::Number(value) => out.push_bind_param::<BigInt, _>(value),
            Bind::NumberOrNone(value) => out.push_bind_param::<Nullable<BigInt>, _>(value),
            Bind::Small(value) => out.push_bind_param::<Integer, _>(value),
            Bind::Numbers(value) => out.push_bind_param::<Array<Integer>, _>(value),
            Bind::Amounts(value) => out.push_bind_param::<Array<BigInt>, _>(value),
            Bind::AmountsOrNone(value) => out.push_bind_param::<Array<Nullable<BigInt>>, _>(value),
            Bind::DaysOrNone(value) => out.push_bind_param::<Array<Nullable<Date>>, _>(value),
            Bind::Flag(value) => out.push_bind_param::<Bool, _>(value),
            Bind::Flags(value) => out.push_bind_param::<Array<Bool>, _>(value),
        }
    }
}

impl<Columns> QueryId for Statement<Columns> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Columns> Query for Statement<Columns> {
    type SqlType = Columns;
}

impl<Columns> RunQueryDsl<PgConnection> for Statement<Columns> {}

/// The first digits behind all that begin with these; none behind nines.
fn after_digits(digits: &str) -> Option<String> {
    let kept = digits.trim_end_matches('9');
    let last = kept.chars().last()?.to_digit(10)?;
    Some(format!("{}{}", &kept[..kept.len() - 1], last + 1))
}

/// Which way a list runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

impl Direction {
    /// How a row further on compares with the row that the cursor names.
    pub fn beyond(self) -> &'static str {
        match self {
            Direction::Ascending => ">",
            Direction::Descending => "<",
        }
    }

    /// For `ORDER BY`.
    pub fn order(self) -> &'static str {
        match self {
            Direction::Ascending => "ASC",
            Direction::Descending => "DESC",
        }
    }

    fn reversed(self) -> Direction {
        match self {
            Direction::Ascending => Direction::Descending,
            Direction::Descending => Direction::Ascending,
        }
    }
}

/// A column to order by, with its SQL type for the cursor's text.
#[derive(Clone, Copy, Debug)]
pub struct Sort {
    /// SQL expression, never null.
    pub column: &'static str,
    /// Its type.
    pub sql_type: &'static str,
    /// Which way.
    pub direction: Direction,
}

/// One page asked for: how many rows, from which row, and which way. A page asked for backward is
/// read in the opposite order and turned, so that both ways cost the same.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Keyset {
    /// Rows wanted.
    pub size: i64,
    /// Sort value and id of the row beside the page: the one before it, or behind it when backward.
    pub from: Option<(String, Uuid)>,
    /// Whether the page ends at `from` (or at the end of the list) instead of starting there.
    pub backward: bool,
}

impl Keyset {
    /// The whole list.
    pub fn all() -> Keyset {
        Keyset {
            size: i64::MAX,
            from: None,
            backward: false,
        }
    }

    /// Rows to read: one more than wanted tells whether the list goes on.
    pub fn limit(&self) -> i64 {
        self.size.saturating_add(1)
    }

    /// The order in which to read a list that runs in `direction`.
    pub fn reading(&self, direction: Direction) -> Direction {
        if self.backward {
            direction.reversed()
        } else {
            direction
        }
    }

    /// The rows read, in the list's own order and without the extra one; and whether the list goes on.
    pub fn page<T>(&self, mut rows: Vec<T>) -> (Vec<T>, bool) {
        let size = usize::try_from(self.size).unwrap_or_default();
        let more = rows.len() > size;
        rows.truncate(size);
        if self.backward {
            rows.reverse();
        }
        (rows, more)
    }
}

/// A row of a list: its id and the value it is sorted by.
#[derive(Clone, Debug, QueryableByName)]
pub struct Key {
    /// The record.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The sort value as text: the cursor.
    #[diesel(sql_type = Text)]
    pub sort: String,
}

/// A page of keys, and whether more follow.
#[derive(Clone, Debug)]
pub struct Keys {
    /// In the order asked for.
    pub keys: Vec<Key>,
    /// Whether the list goes on beyond the page.
    pub more: bool,
}

/// How many rows are read for a first page: for a smaller one too, so that the statements are few.
const COMMON_PAGES: [i64; 3] = [21, 51, 101];

/// `from` is `FROM … WHERE …` over a table with the alias `t` and an `id`.
pub fn keys(conn: &mut PgConnection, from: &Sql, sort: Sort, page: &Keyset) -> QueryResult<Keys> {
    let Sort {
        column, sql_type, ..
    } = sort;
    let reading = page.reading(sort.direction);
    let (beyond, order) = (reading.beyond(), reading.order());
    let order = format!(" ORDER BY {column} {order}, t.id {order} LIMIT ");
    let mut sql = Sql::new(&format!("SELECT t.id, {column}::text AS sort "));
    // The first page of all that a company has, which screens begin with: its text is one of few when the number of rows
    // stands in it. Which company it is the planner is not told, or it would plan anew for each that is larger than most.
    let whole = from.text.strip_suffix(OF_A_COMPANY);
    let common = COMMON_PAGES.iter().find(|rows| page.limit() <= **rows);
    if let (Some(rows), Some(whole), None) = (common, whole, &page.from) {
        sql.push(
            &format!("{whole}{OF_SOME_COMPANY}{order}{rows}"),
            from.binds.iter().cloned(),
        );
        return found_keys(conn, sql.steady(), page);
    }
    sql.append(from);
    if let Some((value, id)) = &page.from {
        sql.and(
            &format!("({column}, t.id) {beyond} (?::{sql_type}, ?)"),
            [Bind::Text(value.clone()), Bind::Id(*id)],
        );
    }
    sql.push(&format!("{order}?"), [Bind::Number(page.limit())]);
    found_keys(conn, sql.query(), page)
}

/// How the text of a list without a filter ends.
const OF_A_COMPANY: &str = "WHERE t.company_id = ?";
/// The same without a company to plan for.
const OF_SOME_COMPANY: &str = "WHERE t.company_id = (SELECT ?)";

fn found_keys(conn: &mut PgConnection, keys: Statement, page: &Keyset) -> QueryResult<Keys> {
    let (keys, more) = page.page(keys.load(conn)?);
    Ok(Keys { keys, more })
}

/// How many rows `from` has.
pub fn count(conn: &mut PgConnection, from: &Sql) -> QueryResult<i64> {
    let mut sql = Sql::new("SELECT count(*) AS count ");
    sql.append(from);
    counted(conn, sql)
}

/// What a statement says that selects one number as `count`.
pub fn counted(conn: &mut PgConnection, sql: Sql) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    Ok(sql.query().get_result::<Count>(conn)?.count)
}

/// What a statement says that selects one day as `day`, which may be absent.
pub fn day(conn: &mut PgConnection, sql: Sql) -> QueryResult<Option<NaiveDate>> {
    #[derive(QueryableByName)]
    struct Day {
        #[diesel(sql_type = Nullable<Date>)]
        day: Option<NaiveDate>,
    }
    Ok(sql.query().get_result::<Day>(conn)?.day)
}

/// What a statement says that selects one truth value as `found`; PostgreSQL plans it for these values.
pub fn found(conn: &mut PgConnection, sql: Sql) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = Bool)]
        found: bool,
    }
    Ok(sql.query().get_result::<Found>(conn)?.found)
}

/// Letters with accents, and what people type who look for them in a hurry.
const ACCENTED: &str = "ÀÂÄÁÃÅÇÉÈÊËÍÌÎÏÑÓÒÔÖÕÚÙÛÜÝŸàâäáãåçéèêëíìîïñóòôöõúùûüýÿ";
const PLAIN: &str = "AAAAAACEEEEIIIINOOOOOUUUUYYaaaaaaceeeeiiiinooooouuuuyy";

/// Whether the name in a column is like a pattern that was [`folded`]: whatever the case and the accents.
pub fn reads_like(column: &str) -> String {
    format!("translate({column}, '{ACCENTED}', '{PLAIN}') COLLATE french ILIKE ?")
}

/// A text without its accents.
pub fn folded(text: &str) -> String {
    let plain = |sign: char| {
        let place = ACCENTED.chars().position(|accented| accented == sign);
        place
            .and_then(|place| PLAIN.chars().nth(place))
            .unwrap_or(sign)
    };
    text.chars().map(plain).collect()
}

/// Text for a `LIKE` that finds `text` anywhere, with the pattern's own signs taken literally.
pub fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for sign in text.chars() {
        if matches!(sign, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(sign);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accents_are_folded_one_by_one() {
        assert_eq!(ACCENTED.chars().count(), PLAIN.chars().count());
        assert_eq!(folded("%Forêt d'Émeraude Ÿ ß%"), "%Foret d'Emeraude Y ß%");
    }

    #[test]
    fn appended_statements_keep_their_values() {
        let mut inner = Sql::new("FROM x t WHERE true");
        inner
            .and("a = ?", [Bind::Number(1)])
            .and("b = ?", [Bind::Number(2)]);
        let mut outer = Sql::default();
        outer.push("SELECT ? ", [Bind::Flag(true)]).append(&inner);
        let shown = diesel::debug_query::<Pg, _>(&outer.query()).to_string();
        assert_eq!(
            shown,
            "SELECT $1 FROM x t WHERE true AND a = $2 AND b = $3 -- binds: [true, 1, 2]"
        );
    }

    #[test]
    fn digits_are_followed_by_the_next_ones() {
        for (digits, end) in [
            ("411", Some("412")),
            ("419", Some("42")),
            ("0", Some("1")),
            ("99", None),
        ] {
            assert_eq!(after_digits(digits).as_deref(), end, "{digits}");
        }
    }

    #[test]
    fn a_search_text_is_taken_literally() {
        assert_eq!(containing("50%_\\"), "%50\\%\\_\\\\%");
    }
}
