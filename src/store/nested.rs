//! Lists below many parents at once: one statement whatever the number of parents.
//!
//! Of a client, which may have thousands of invoices, a page is read for each by a probe of the index. What hangs on an
//! invoice is a handful, and nothing for most: all of it is read in one pass, for half of what a probe each costs, and
//! the pages are cut from that.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::query_dsl::methods::LoadQuery;
use diesel::sql_types::{BigInt, Uuid as SqlUuid};
use uuid::Uuid;

use super::keys::{self, Above, Keyed, PickedBeside};
use super::list::{Bind, Direction, Keyset, Sql};
use crate::domain::ids::CompanyId;

/// A list that a record has below it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Nested {
    CreditNotesOfInvoice,
    DeductionsOfInvoice,
    DisputesOfInvoice,
    /// Of its items, which are debits.
    AllocationsOfInvoice,
    /// Of its items, which are credits.
    AllocationsOfCreditNote,
    /// Of its items, which are credits, and a debit when it was a bill or came back unpaid.
    AllocationsOfPayment,
    AllocationsOfItem,
    InvoicesOfClient,
    CreditNotesOfClient,
    PaymentsOfClient,
    DisputesOfClient,
    DeductionsOfClient,
}

impl Nested {
    /// The rows below parent `p.id`, under the alias `t`.
    fn from(self) -> &'static str {
        match self {
            Nested::CreditNotesOfInvoice => {
                "documents t WHERE t.company_id = ? AND t.invoice_id = p.id"
            }
            Nested::DeductionsOfInvoice => {
                "deductions t WHERE t.company_id = ? AND t.invoice_id = p.id"
            }
            Nested::DisputesOfInvoice => {
                "disputes t WHERE t.company_id = ? AND t.invoice_id = p.id"
            }
            Nested::AllocationsOfInvoice => {
                "(SELECT a.* FROM items i \
                   JOIN allocations a ON a.company_id = i.company_id AND a.debit_item_id = i.id \
                   WHERE i.source_id = p.id) t WHERE t.company_id = ?"
            }
            Nested::AllocationsOfCreditNote => {
                "(SELECT a.* FROM items i \
                   JOIN allocations a ON a.company_id = i.company_id AND a.credit_item_id = i.id \
                   WHERE i.source_id = p.id) t WHERE t.company_id = ?"
            }
            Nested::AllocationsOfPayment => {
                // One that joins two items of the same receipt, which came back unpaid, counts by its credit.
                "(SELECT a.* FROM items i \
                   JOIN allocations a ON a.company_id = i.company_id AND a.credit_item_id = i.id \
                   WHERE i.source_id = p.id AND NOT i.is_debit \
                 UNION ALL SELECT a.* FROM items i \
                   JOIN allocations a ON a.company_id = i.company_id AND a.debit_item_id = i.id \
                   WHERE i.source_id = p.id AND i.is_debit AND NOT EXISTS (SELECT 1 FROM items o \
                     WHERE o.company_id = a.company_id AND o.id = a.credit_item_id AND o.source_id = p.id)) t \
                 WHERE t.company_id = ?"
            }
            Nested::AllocationsOfItem => {
                "allocations t WHERE t.company_id = ? AND (t.debit_item_id = p.id OR t.credit_item_id = p.id)"
            }
            Nested::InvoicesOfClient => {
                "documents t WHERE t.company_id = ? AND t.client_id = p.id AND t.kind = 'INVOICE'"
            }
            Nested::CreditNotesOfClient => {
                "documents t WHERE t.company_id = ? AND t.client_id = p.id AND t.kind = 'CREDIT_NOTE'"
            }
            Nested::PaymentsOfClient => "payments t WHERE t.company_id = ? AND t.client_id = p.id",
            Nested::DisputesOfClient => "disputes t WHERE t.company_id = ? AND t.client_id = p.id",
            Nested::DeductionsOfClient => {
                "deductions t WHERE t.company_id = ? AND t.client_id = p.id"
            }
        }
    }

    /// The rows below any of the `parents`, under the alias `t`, and the column that names the parent: of lists that
    /// are short, and so read whole. What PostgreSQL knows of the parents beforehand is nothing, see [`keys`].
    fn short(self, company: CompanyId, parents: &[Uuid]) -> Option<(Sql, &'static str)> {
        const ANY: &str = "ANY((SELECT ?::uuid[])::uuid[])";
        let (company, parents) = (Bind::Id(company.0), Bind::Ids(parents.to_vec()));
        let mut from = Sql::default();
        let table = match self {
            Nested::CreditNotesOfInvoice => "documents",
            Nested::DeductionsOfInvoice => "deductions",
            Nested::DisputesOfInvoice => "disputes",
            Nested::AllocationsOfInvoice => {
                from.push(
                    &format!(
                        "(SELECT i.source_id, a.* FROM (SELECT * FROM items i \
                           WHERE i.company_id = ? AND i.source_id = {ANY} OFFSET 0) i \
                         CROSS JOIN LATERAL (SELECT * FROM allocations a \
                           WHERE a.company_id = i.company_id AND a.debit_item_id = i.id OFFSET 0) a) t \
                         WHERE t.company_id = ?"
                    ),
                    [company.clone(), parents, company],
                );
                return Some((from, "source_id"));
            }
            _ => return None,
        };
        from.push(
            &format!("{table} t WHERE t.company_id = ? AND t.invoice_id = {ANY}"),
            [company, parents],
        );
        Some((from, "invoice_id"))
    }

    /// The day the list is ordered by, latest first; ids break ties.
    fn day(self) -> &'static str {
        match self {
            Nested::CreditNotesOfInvoice
            | Nested::InvoicesOfClient
            | Nested::CreditNotesOfClient => "issued_on",
            Nested::DeductionsOfInvoice | Nested::DeductionsOfClient => "recorded_on",
            Nested::DisputesOfInvoice | Nested::DisputesOfClient => "opened_on",
            Nested::AllocationsOfInvoice
            | Nested::AllocationsOfCreditNote
            | Nested::AllocationsOfPayment
            | Nested::AllocationsOfItem => "effective_on",
            Nested::PaymentsOfClient => "received_on",
        }
    }
}

/// A child of a parent.
#[derive(Clone, Debug)]
pub struct Child<R> {
    pub parent: Uuid,
    /// With the record's id: the cursor.
    pub sort: String,
    pub id: Uuid,
    pub record: R,
}

/// Records that stand in lists below others.
pub trait Below: Sized + Send + Sync + 'static {
    /// A page of each parent's children, latest first; the children come by parent, and of each in the order in which
    /// they are read. Each parent is named once, in order.
    fn children(
        conn: &mut PgConnection,
        company: CompanyId,
        list: Nested,
        parents: &[Uuid],
        page: &Keyset,
    ) -> QueryResult<Vec<Child<Self>>>;
}

impl<R> Below for R
where
    R: Keyed + Send + Sync + 'static,
    PickedBeside<R::SelectExpression, Above>:
        for<'q> LoadQuery<'q, PgConnection, ((Uuid, String, Uuid), R)>,
{
    fn children(
        conn: &mut PgConnection,
        company: CompanyId,
        list: Nested,
        parents: &[Uuid],
        page: &Keyset,
    ) -> QueryResult<Vec<Child<Self>>> {
        let reading = page.reading(Direction::Descending);
        let (others, from) = match list.short(company, parents) {
            Some((rows, parent)) => cut(rows, parent, list.day(), R::TABLE, reading, page),
            None => probed(list, company, parents, R::TABLE, reading, page),
        };
        let found = keys::picked_beside(conn, &others, from)?;
        let child = |((parent, sort, id), record)| Child {
            parent,
            sort,
            id,
            record,
        };
        let mut children: Vec<Child<R>> = found.into_iter().map(child).collect();
        // They come in this order, though nothing says that they must: looking at it costs less than asking for it.
        children.sort_by(|one, other| {
            let place = (&one.sort, one.id).cmp(&(&other.sort, other.id));
            let place = match reading {
                Direction::Ascending => place,
                Direction::Descending => place.reverse(),
            };
            one.parent.cmp(&other.parent).then(place)
        });
        Ok(children)
    }
}

/// What is beyond the page before.
fn behind(rows: &mut Sql, day: &str, reading: Direction, page: &Keyset) {
    if let Some((value, id)) = &page.from {
        rows.and(
            &format!("(t.{day}, t.id) {} (?::date, ?)", reading.beyond()),
            [Bind::Text(value.clone()), Bind::Id(*id)],
        );
    }
}

/// The first rows of each parent, out of all that lie below them: what names their parent, place and id, and where they
/// come from.
fn cut(
    mut rows: Sql,
    parent: &str,
    day: &str,
    table: &str,
    reading: Direction,
    page: &Keyset,
) -> (String, Sql) {
    behind(&mut rows, day, reading, page);
    let order = reading.order();
    let mut from = Sql::new(&format!(
        " FROM (SELECT t.*, t.{parent} AS above, row_number() OVER \
           (PARTITION BY t.{parent} ORDER BY t.{day} {order}, t.id {order}) AS nth FROM "
    ));
    from.append(&rows).push(
        &format!(") \"{table}\" WHERE \"{table}\".nth <= ?"),
        [Bind::Number(page.limit())],
    );
    let others = format!("\"{table}\".above, \"{table}\".{day}::text, \"{table}\".id");
    (others, from)
}

/// The same by a probe for each parent.
fn probed(
    list: Nested,
    company: CompanyId,
    parents: &[Uuid],
    table: &str,
    reading: Direction,
    page: &Keyset,
) -> (String, Sql) {
    let (day, order) = (list.day(), reading.order());
    let mut from = Sql::default();
    from.push(
        &format!(
            " FROM unnest((SELECT ?::uuid[])) p(id) CROSS JOIN LATERAL (SELECT t.* FROM {}",
            list.from()
        ),
        [Bind::Ids(parents.to_vec()), Bind::Id(company.0)],
    );
    behind(&mut from, day, reading, page);
    from.push(
        &format!(" ORDER BY t.{day} {order}, t.id {order} LIMIT ?) \"{table}\""),
        [Bind::Number(page.limit())],
    );
    let others = format!("p.id, \"{table}\".{day}::text, \"{table}\".id");
    (others, from)
}

/// A parent and how many children it has.
#[derive(Clone, Debug, QueryableByName)]
pub struct ChildCount {
    #[diesel(sql_type = SqlUuid)]
    pub parent: Uuid,
    #[diesel(sql_type = BigInt)]
    pub count: i64,
}

/// How many children each parent has.
pub fn counts(
    conn: &mut PgConnection,
    company: CompanyId,
    list: Nested,
    parents: &[Uuid],
) -> QueryResult<Vec<ChildCount>> {
    let mut sql = Sql::default();
    sql.push(
        &format!(
            "SELECT p.id AS parent, (SELECT count(*) FROM {}) AS count FROM unnest(?) p(id)",
            list.from()
        ),
        [Bind::Id(company.0), Bind::Ids(parents.to_vec())],
    );
    sql.steady().load(conn)
}
