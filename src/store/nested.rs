//! Lists below many parents at once: one statement whatever the number of parents.
//!
//! A client may have thousands of invoices: of each the first are read, in the order of an index. What hangs on an
//! invoice is a handful, and nothing for most: there one look at an index takes all invoices, in a third less time than a
//! look for each, and what was found is put in order once.

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::query_dsl::methods::LoadQuery;
use diesel::sql_types::{BigInt, Uuid as SqlUuid};
use uuid::Uuid;

use super::keys::{self, Above, Keyed, PickedBeside};
use super::list::{Bind, Direction, Keyset, Sql};
use super::payment::with_client;
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
    InvoicesOfClient,
    CreditNotesOfClient,
    PaymentsOfClient,
    DisputesOfClient,
    DeductionsOfClient,
}

/// The rows below parents.
enum Rows {
    /// A parent has a handful at most: those of all parents, with theirs as `above`.
    OfAll(&'static str),
    /// A parent may have many: those below parent `p.id`, under the alias `t`.
    OfEach(&'static str),
}

impl Nested {
    fn rows(self) -> Rows {
        match self {
            Nested::CreditNotesOfInvoice => {
                Rows::OfAll("SELECT d.*, d.invoice_id AS above FROM documents d")
            }
            Nested::DeductionsOfInvoice => {
                Rows::OfAll("SELECT d.*, d.invoice_id AS above FROM deductions d")
            }
            Nested::DisputesOfInvoice => {
                Rows::OfAll("SELECT d.*, d.invoice_id AS above FROM disputes d")
            }
            Nested::AllocationsOfInvoice => Rows::OfAll(
                "SELECT a.*, i.source_id AS above FROM items i \
                   JOIN allocations a ON a.company_id = i.company_id AND a.debit_item_id = i.id",
            ),
            Nested::AllocationsOfCreditNote => Rows::OfEach(
                "(SELECT a.* FROM items i \
                   JOIN allocations a ON a.company_id = i.company_id AND a.credit_item_id = i.id \
                   WHERE i.source_id = p.id) t WHERE t.company_id = ?",
            ),
            Nested::AllocationsOfPayment => Rows::OfEach(
                // One that joins two items of the same receipt, which came back unpaid, counts by its credit.
                "(SELECT a.* FROM items i \
                   JOIN allocations a ON a.company_id = i.company_id AND a.credit_item_id = i.id \
                   WHERE i.source_id = p.id AND NOT i.is_debit \
                 UNION ALL SELECT a.* FROM items i \
                   JOIN allocations a ON a.company_id = i.company_id AND a.debit_item_id = i.id \
                   WHERE i.source_id = p.id AND i.is_debit AND NOT EXISTS (SELECT 1 FROM items o \
                     WHERE o.company_id = a.company_id AND o.id = a.credit_item_id AND o.source_id = p.id)) t \
                 WHERE t.company_id = ?",
            ),
            Nested::InvoicesOfClient => Rows::OfEach(
                "documents t WHERE t.company_id = ? AND t.client_id = p.id AND t.kind = 'INVOICE'",
            ),
            Nested::CreditNotesOfClient => Rows::OfEach(
                "documents t WHERE t.company_id = ? AND t.client_id = p.id AND t.kind = 'CREDIT_NOTE'",
            ),
            Nested::PaymentsOfClient => Rows::OfEach(concat!(
                with_client!(),
                " t WHERE t.company_id = ? AND t.whose = p.id"
            )),
            Nested::DisputesOfClient => {
                Rows::OfEach("disputes t WHERE t.company_id = ? AND t.client_id = p.id")
            }
            Nested::DeductionsOfClient => {
                Rows::OfEach("deductions t WHERE t.company_id = ? AND t.client_id = p.id")
            }
        }
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
            | Nested::AllocationsOfPayment => "effective_on",
            Nested::PaymentsOfClient => "received_on",
        }
    }
}

/// A child of a parent.
#[derive(Clone, Debug)]
pub struct Child<R> {
    pub parent: Uuid,
    /// The day it is ordered by; with the record's id: the cursor.
    pub sort: NaiveDate,
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
        for<'q> LoadQuery<'q, PgConnection, ((Uuid, NaiveDate, Uuid), R)>,
{
    fn children(
        conn: &mut PgConnection,
        company: CompanyId,
        list: Nested,
        parents: &[Uuid],
        page: &Keyset,
    ) -> QueryResult<Vec<Child<Self>>> {
        let reading = page.reading(Direction::Descending);
        let from = first_of_each(list, company, parents, R::TABLE, page);
        let (day, table) = (list.day(), R::TABLE);
        let others = format!("\"{table}\".above, \"{table}\".{day}, \"{table}\".id");
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
            let place = (one.sort, one.id).cmp(&(other.sort, other.id));
            let place = match reading {
                Direction::Ascending => place,
                Direction::Descending => place.reverse(),
            };
            one.parent.cmp(&other.parent).then(place)
        });
        Ok(children)
    }
}

/// `FROM` the first rows below each parent, with the parent as `above`.
fn first_of_each(
    list: Nested,
    company: CompanyId,
    parents: &[Uuid],
    table: &str,
    page: &Keyset,
) -> Sql {
    let (day, reading) = (list.day(), page.reading(Direction::Descending));
    let latest = format!("t.{day} {order}, t.id {order}", order = reading.order());
    let parents = Bind::Ids(parents.to_vec());
    let limit = Bind::Number(page.limit());
    let beyond = |rows: &mut Sql| {
        if let Some((value, id)) = &page.from {
            rows.and(
                &format!("(t.{day}, t.id) {} (?::date, ?)", reading.beyond()),
                [Bind::Text(value.clone()), Bind::Id(*id)],
            );
        }
    };
    let mut from = Sql::default();
    match list.rows() {
        Rows::OfAll(rows) => {
            // How many parents there are does not change the plan: of a list from a sub-select nothing is known beforehand.
            from.push(
            &format!(
                " FROM (SELECT t.*, row_number() OVER (PARTITION BY t.above ORDER BY {latest}) AS nth FROM ({rows}) t \
                   WHERE t.company_id = ? AND t.above = ANY((SELECT ?)::uuid[])"
            ),
            [Bind::Id(company.0), parents],
        );
            beyond(&mut from);
            from.push(
                &format!(") \"{table}\" WHERE \"{table}\".nth <= ?"),
                [limit],
            );
        }
        Rows::OfEach(rows) => {
            from.push(
            " FROM (SELECT t.*, p.id AS above FROM unnest((SELECT ?::uuid[])) p(id) CROSS JOIN LATERAL (SELECT t.* FROM ",
            [parents],
        );
            from.push(rows, [Bind::Id(company.0)]);
            beyond(&mut from);
            from.push(
                &format!(" ORDER BY {latest} LIMIT ?) t) \"{table}\""),
                [limit],
            );
        }
    }
    from
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
    let rows = match list.rows() {
        Rows::OfAll(rows) => format!("({rows}) t WHERE t.company_id = ? AND t.above = p.id"),
        Rows::OfEach(rows) => rows.to_owned(),
    };
    let mut sql = Sql::default();
    sql.push(
        &format!(
            "SELECT p.id AS parent, (SELECT count(*) FROM {rows}) AS count FROM unnest(?) p(id)"
        ),
        [Bind::Id(company.0), Bind::Ids(parents.to_vec())],
    );
    sql.steady().load(conn)
}
