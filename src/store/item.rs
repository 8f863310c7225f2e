//! Open items, and the append-only ledger of their open amounts.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Date, Nullable, SmallInt, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::bulk;
use super::keys::{self, keyed};
use super::list::{Bind, Sql, Statement, steady};
use super::matching::{self, Allocation, Matching};
use super::schema::items;
use crate::domain::ids::{
    AllocationId, ClientId, CompanyId, DocumentId, EntryId, ItemId, MatchingId,
};

keyed!(Item => "items");

/// Items that stand for neither an invoice nor a receipt. In these words, or the planner does not know that the indexes
/// of them serve: the item of an invoice or a receipt is found through its document, whose number it bears.
pub const OTHER: &str = "kind NOT IN ('INVOICE', 'PAYMENT')";

/// Which `item`s concern an invoice: its own, and those that follow it, such as its deductions and where its claims were
/// moved to. `is` compares with the invoice's id and stands in the condition twice.
pub fn of_invoice(item: &str, is: &str) -> String {
    format!("({item}.source_id {is} OR {item}.{OTHER} AND {item}.invoice_id {is})")
}

/// A line on a third-party account. `amount` and `open_amount` are positive; `is_debit` gives the side.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = items)]
pub struct Item {
    pub company_id: CompanyId,
    pub id: ItemId,
    pub client_id: ClientId,
    pub family: String,
    pub kind: String,
    pub is_debit: bool,
    pub reference: String,
    pub source_id: Uuid,
    pub invoice_id: Option<DocumentId>,
    pub entry_id: EntryId,
    pub entry_line: i16,
    pub posted_on: NaiveDate,
    pub invoiced_on: NaiveDate,
    pub due_on: Option<NaiveDate>,
    pub amount: i64,
    pub currency: String,
    pub document_net: i64,
    pub document_total: i64,
    pub open_amount: i64,
    pub settled_on: Option<NaiveDate>,
    pub matching_id: Option<MatchingId>,
}

bulk::rows!(Item => "items" {
    company_id: SqlUuid, id: SqlUuid, client_id: SqlUuid, family: Text, kind: Text, is_debit: Bool, reference: Text,
    source_id: SqlUuid, invoice_id: Nullable<SqlUuid>, entry_id: SqlUuid, entry_line: SmallInt, posted_on: Date,
    invoiced_on: Date, due_on: Nullable<Date>, amount: BigInt, currency: Text, document_net: BigInt,
    document_total: BigInt, open_amount: BigInt, settled_on: Nullable<Date>, matching_id: Nullable<SqlUuid>,
} drawn { reference: "g.number" } given { recorded_at = "now()" before "open_amount", changed_at = "now()" before "matching_id" });

impl Item {
    /// The open amount with its sign in a balance: debits positive, credits negative.
    pub fn signed_open(&self) -> i64 {
        if self.is_debit {
            self.open_amount
        } else {
            -self.open_amount
        }
    }
}

/// A change of an item's open amount.
#[derive(Clone, Debug)]
pub struct Change {
    pub company_id: CompanyId,
    pub id: Uuid,
    pub item_id: ItemId,
    pub allocation_id: Option<AllocationId>,
    pub client_id: ClientId,
    pub currency: String,
    pub is_debit: bool,
    pub due_on: Option<NaiveDate>,
    pub effective_on: NaiveDate,
    pub delta: i64,
}

bulk::rows!(Change => "receivable_ledger" {
    company_id: SqlUuid, id: SqlUuid, item_id: SqlUuid, allocation_id: Nullable<SqlUuid>, client_id: SqlUuid,
    currency: Text, is_debit: Bool, due_on: Nullable<Date>, effective_on: Date, delta: BigInt,
} given { recorded_at = "now()" before "", xid = "pg_current_xact_id()" before "" });

impl Change {
    /// The change that opens `item`.
    pub fn opening(item: &Item) -> Change {
        let whole = if item.is_debit {
            item.amount
        } else {
            -item.amount
        };
        Change::of(item, None, item.posted_on, whole)
    }

    /// A change of `item` by `delta`, in the sign of a balance.
    pub fn of(
        item: &Item,
        allocation: Option<AllocationId>,
        effective_on: NaiveDate,
        delta: i64,
    ) -> Change {
        Change {
            company_id: item.company_id,
            id: Uuid::now_v7(),
            item_id: item.id,
            allocation_id: allocation,
            client_id: item.client_id,
            currency: item.currency.clone(),
            is_debit: item.is_debit,
            due_on: item.due_on,
            effective_on,
            delta,
        }
    }
}

/// Adds items with allocations and the rows of the ledger: for each item the one that opens it and what settled it
/// already. Items and groups of the books that these rows concern come to stand where `beside` says.
pub fn insert(
    conn: &mut PgConnection,
    company: CompanyId,
    rows: &[Item],
    allocations: &[Allocation],
    changes: &[Change],
    beside: Beside<'_>,
) -> QueryResult<()> {
    let tables: &[&dyn bulk::Rows] = &[&rows, &allocations, &changes];
    let mut updates = Vec::new();
    if !beside.stands.is_empty() {
        updates.push(refreshing(company, beside.stands));
    }
    if !beside.groups.is_empty() {
        updates.push(matching::updating(company, beside.groups));
    }
    match updates.is_empty() {
        true => bulk::insert_all(conn, tables),
        false => bulk::insert_beside(conn, updates, tables),
    }
}

/// What changes together with rows that are added.
#[derive(Clone, Copy, Default)]
pub struct Beside<'a> {
    /// Where items of the books stand afterwards.
    pub stands: &'a [Standing],
    /// Lettering groups of the books as they add up afterwards.
    pub groups: &'a [Matching],
}

/// Appends to the ledger. Call [`refresh`] for the items concerned that are not new.
pub fn append(conn: &mut PgConnection, changes: &[Change]) -> QueryResult<()> {
    bulk::insert(conn, changes)
}

/// Where an item of the books stands afterwards.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    pub item: ItemId,
    /// Its lettering group.
    pub group: Option<MatchingId>,
    /// What the ledger has of it in addition, by rows that are written beside this and not seen by it: their sum, and the
    /// last of their days.
    pub added: Option<(i64, NaiveDate)>,
}

/// Rebuilds the cached open amount, settlement day and instant of change of items from the ledger, and moves each to its
/// lettering group.
pub fn refresh(
    conn: &mut PgConnection,
    company: CompanyId,
    standings: &[Standing],
) -> QueryResult<()> {
    if standings.is_empty() {
        return Ok(());
    }
    refreshing(company, standings).execute(conn).map(drop)
}

fn refreshing(company: CompanyId, standings: &[Standing]) -> Statement {
    let of = |added: &Standing| added.added.unzip();
    // Sub-selects hide how many rows there are, or PostgreSQL would plan for each number of them anew.
    steady(
        "UPDATE items i SET open_amount = abs(s.open), settled_on = CASE WHEN s.open = 0 THEN s.last_on END, changed_at = greatest(i.changed_at, now()), \
           matching_id = s.matching_id \
         FROM (SELECT t.id, t.matching_id, (l.open + coalesce(t.delta, 0))::bigint AS open, greatest(l.last_on, t.last_on) AS last_on \
               FROM unnest((SELECT ?), (SELECT ?), (SELECT ?), (SELECT ?)) t(id, matching_id, delta, last_on) CROSS JOIN LATERAL \
                 (SELECT sum(l.delta) AS open, max(l.effective_on) AS last_on FROM receivable_ledger l \
                  WHERE l.company_id = ? AND l.item_id = t.id) l) s \
         WHERE i.company_id = ? AND i.id = s.id",
        [
            Bind::Ids(standings.iter().map(|standing| standing.item.0).collect()),
            groups_of(standings.iter().map(|standing| standing.group)),
            Bind::AmountsOrNone(standings.iter().map(|standing| of(standing).0).collect()),
            Bind::DaysOrNone(standings.iter().map(|standing| of(standing).1).collect()),
            Bind::Id(company.0),
            Bind::Id(company.0),
        ],
    )
}

/// What an item is worth in the company's currency, positive.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub struct BaseValue {
    #[diesel(sql_type = SqlUuid)]
    pub item_id: Uuid,
    #[diesel(sql_type = BigInt)]
    pub base: i64,
}

/// The values of items in the company's currency, from the lines that made them.
pub fn base_values(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[ItemId],
) -> QueryResult<Vec<BaseValue>> {
    steady(
        "SELECT i.id AS item_id, (l.base_debit + l.base_credit)::bigint AS base FROM items i \
         JOIN journal_lines l ON l.company_id = i.company_id AND l.entry_id = i.entry_id AND l.line = i.entry_line \
         WHERE i.company_id = ? AND i.id = ANY(?)",
        [Bind::Id(company.0), Bind::ids(ids)],
    )
    .load(conn)
}

/// Items by id, in no order.
pub fn by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[ItemId],
) -> QueryResult<Vec<Item>> {
    keys::by_ids(conn, company, ids)
}

/// Locks items in the order of their ids.
pub fn for_update(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[ItemId],
) -> QueryResult<Vec<Item>> {
    keys::for_update(conn, company, ids)
}

/// The items of these documents, receipts or deductions, oldest due first.
pub fn by_sources(
    conn: &mut PgConnection,
    company: CompanyId,
    sources: &[Uuid],
) -> QueryResult<Vec<Item>> {
    if sources.is_empty() {
        return Ok(Vec::new());
    }
    let sources = Bind::Ids(keys::distinct(sources.iter().copied()));
    let mut from = keys::probes("items", company, "source_id", sources, &Sql::default(), "");
    from.push(" ORDER BY items.due_on, items.id", []);
    keys::picked(conn, from)
}

/// The same, locked: what they have open stays as it is until the transaction ends.
pub fn by_sources_for_update(
    conn: &mut PgConnection,
    company: CompanyId,
    sources: &[Uuid],
) -> QueryResult<Vec<Item>> {
    locked(conn, company, sources, |_| true)
}

/// What these invoices have open on 411, locked, oldest due first.
pub fn open_of_invoices(
    conn: &mut PgConnection,
    company: CompanyId,
    invoices: &[DocumentId],
) -> QueryResult<Vec<Item>> {
    let sources: Vec<Uuid> = invoices.iter().map(|id| id.0).collect();
    let is_open = |item: &Item| item.is_debit && item.family == "411" && item.open_amount > 0;
    locked(conn, company, &sources, is_open)
}

/// The wanted items of these sources, locked in the order of their ids.
fn locked(
    conn: &mut PgConnection,
    company: CompanyId,
    sources: &[Uuid],
    is_wanted: impl Fn(&Item) -> bool,
) -> QueryResult<Vec<Item>> {
    let found = by_sources(conn, company, sources)?.into_iter();
    let ids: Vec<ItemId> = found.filter(&is_wanted).map(|item| item.id).collect();
    let mut items = for_update(conn, company, &ids)?;
    // Others may have changed some until they were locked.
    items.retain(is_wanted);
    items.sort_by_key(|item| (item.due_on, item.id));
    Ok(items)
}

/// What is or was owed for an invoice: its own items, its deductions', and where they were moved to.
pub fn debits_of_invoice(
    conn: &mut PgConnection,
    company: CompanyId,
    invoice: DocumentId,
) -> QueryResult<Vec<Item>> {
    let mut from = Sql::default();
    from.push(
        &format!(
            " FROM items WHERE items.company_id = ? AND {} AND items.is_debit ORDER BY items.due_on, items.id",
            of_invoice("items", "= ?")
        ),
        [
            Bind::Id(company.0),
            Bind::Id(invoice.0),
            Bind::Id(invoice.0),
        ],
    );
    keys::picked(conn, from)
}

/// The last day on which an item of a client was posted or settled.
pub fn last_day_of_client(
    conn: &mut PgConnection,
    company: CompanyId,
    client: ClientId,
) -> QueryResult<Option<NaiveDate>> {
    let mut sql = Sql::default();
    sql.push(
        "SELECT max(greatest(posted_on, settled_on)) AS day FROM items WHERE company_id = ? AND client_id = ?",
        [Bind::Id(company.0), Bind::Id(client.0)],
    );
    super::list::day(conn, sql)
}

/// `FROM items t WHERE …` of a client, narrowed to open or settled ones.
pub fn from(company: CompanyId, client: ClientId, open: Option<bool>) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        "FROM items t WHERE t.company_id = ? AND t.client_id = ?",
        [Bind::Id(company.0), Bind::Id(client.0)],
    );
    if let Some(open) = open {
        sql.and("(t.open_amount > 0) = ?", [Bind::Flag(open)]);
    }
    sql
}

/// Items that carry these documents' numbers on one side, by number, then oldest due first.
pub fn by_references(
    conn: &mut PgConnection,
    company: CompanyId,
    references: &[&str],
    is_debit: bool,
) -> QueryResult<Vec<Item>> {
    if references.is_empty() {
        return Ok(Vec::new());
    }
    let references = Bind::Texts(references.iter().copied().map(str::to_owned).collect());
    let (table, kind, only) = match is_debit {
        true => ("documents", "INVOICE", " AND s.kind = 'INVOICE'"),
        false => ("payments", "PAYMENT", ""),
    };
    let mut from = Sql::default();
    from.push(
        &format!(
            " FROM unnest((SELECT ?)) WITH ORDINALITY k(key, n) CROSS JOIN LATERAL ( \
               SELECT i.* FROM (SELECT s.id FROM {table} s WHERE s.company_id = ? AND s.number = k.key{only} OFFSET 0) s \
                 CROSS JOIN LATERAL (SELECT * FROM items i WHERE i.company_id = ? AND i.source_id = s.id AND i.kind = '{kind}' OFFSET 0) i \
               UNION ALL SELECT * FROM items i WHERE i.company_id = ? AND i.reference = k.key AND i.{OTHER} AND i.is_debit = ?) items \
             ORDER BY k.n, items.due_on, items.id"
        ),
        [
            references,
            Bind::Id(company.0),
            Bind::Id(company.0),
            Bind::Id(company.0),
            Bind::Flag(is_debit),
        ],
    );
    keys::picked(conn, from)
}

/// What a client has open in one account family and currency, oldest due first.
pub fn open_of_client(
    conn: &mut PgConnection,
    company: CompanyId,
    client: ClientId,
) -> QueryResult<Vec<Item>> {
    items::table
        .filter(
            items::company_id
                .eq(company)
                .and(items::client_id.eq(client))
                .and(items::open_amount.gt(0)),
        )
        .order((items::due_on, items::id))
        .select(Item::as_select())
        .load(conn)
}

/// Items of lettering groups.
pub fn by_matchings(
    conn: &mut PgConnection,
    company: CompanyId,
    groups: &[MatchingId],
) -> QueryResult<Vec<Item>> {
    items::table
        .filter(
            items::company_id
                .eq(company)
                .and(items::matching_id.eq_any(groups)),
        )
        .select(Item::as_select())
        .load(conn)
}

/// Moves each item to the lettering group beside it, or out of any; nothing else of it changes.
pub fn regroup(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[ItemId],
    groups: &[Option<MatchingId>],
) -> QueryResult<()> {
    if ids.is_empty() {
        return Ok(());
    }
    steady(
        "UPDATE items i SET matching_id = t.matching_id FROM unnest(?, ?) t(id, matching_id) \
         WHERE i.company_id = ? AND i.id = t.id AND i.matching_id IS DISTINCT FROM t.matching_id",
        [
            Bind::ids(ids),
            groups_of(groups.iter().copied()),
            Bind::Id(company.0),
        ],
    )
    .execute(conn)
    .map(drop)
}

/// Moves the items of groups to others that they were merged with.
pub fn merge_groups(
    conn: &mut PgConnection,
    company: CompanyId,
    merged: &[(MatchingId, MatchingId)],
) -> QueryResult<()> {
    if merged.is_empty() {
        return Ok(());
    }
    let (old, kept): (Vec<MatchingId>, Vec<MatchingId>) = merged.iter().copied().unzip();
    // Found by a probe for each group, as `matching::still_open` does.
    steady(
        "UPDATE items i SET matching_id = m.kept \
         FROM (SELECT x.id, t.kept FROM unnest((SELECT ?), (SELECT ?)) t(old, kept) CROSS JOIN LATERAL \
                 (SELECT i.id FROM items i WHERE i.company_id = ? AND i.matching_id = t.old OFFSET 0) x) m \
         WHERE i.company_id = ? AND i.id = m.id",
        [
            Bind::ids(&old),
            Bind::ids(&kept),
            Bind::Id(company.0),
            Bind::Id(company.0),
        ],
    )
    .execute(conn)
    .map(drop)
}

fn groups_of(groups: impl Iterator<Item = Option<MatchingId>>) -> Bind {
    Bind::IdsOrNone(groups.map(|group| group.map(|id| id.0)).collect())
}

/// When an item was recorded.
pub fn recorded_at(
    conn: &mut PgConnection,
    company: CompanyId,
    id: ItemId,
) -> QueryResult<DateTime<Utc>> {
    items::table
        .find((company, id))
        .select(items::recorded_at)
        .first(conn)
}
