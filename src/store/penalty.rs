//! What late-payment interest is computed from: an invoice's due dates and what reduced them.

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Date, Uuid as SqlUuid};
use uuid::Uuid;

use super::item;
use super::list::{Bind, Sql};
use crate::domain::ids::{ClientId, CompanyId, DocumentId};

/// What was due on a day of an invoice, VAT included.
#[derive(Clone, Debug, QueryableByName)]
pub struct Due {
    #[diesel(sql_type = SqlUuid)]
    pub invoice_id: Uuid,
    #[diesel(sql_type = Date)]
    pub due_on: NaiveDate,
    #[diesel(sql_type = BigInt)]
    pub amount: i64,
    /// In an open dispute (R8.5).
    #[diesel(sql_type = BigInt)]
    pub disputed: i64,
}

/// The due dates of these invoices.
pub fn dues(
    conn: &mut PgConnection,
    company: CompanyId,
    invoices: &[DocumentId],
) -> QueryResult<Vec<Due>> {
    let mut sql = Sql::default();
    sql.push(
        &format!("SELECT i.source_id AS invoice_id, i.due_on, sum(i.amount)::bigint AS amount, \
           coalesce(sum((SELECT sum(di.amount) FROM items o JOIN dispute_items di ON di.company_id = o.company_id AND di.item_id = o.id \
              JOIN disputes d ON d.company_id = di.company_id AND d.id = di.dispute_id AND d.closed_on IS NULL \
              WHERE o.company_id = i.company_id AND {} AND o.due_on = i.due_on)), 0)::bigint AS disputed \
         FROM items i WHERE i.company_id = ? AND i.source_id = ANY(?) AND i.kind = 'INVOICE' GROUP BY i.source_id, i.due_on ORDER BY 1, 2",
            item::of_invoice("o", "= i.source_id")),
        [
            Bind::Id(company.0),
            Bind::Ids(invoices.iter().map(|id| id.0).collect()),
        ],
    );
    sql.query().load(conn)
}

/// Something that reduced what was due on a day of an invoice.
#[derive(Clone, Debug, QueryableByName)]
pub struct Reduced {
    #[diesel(sql_type = SqlUuid)]
    pub invoice_id: Uuid,
    #[diesel(sql_type = Date)]
    pub due_on: NaiveDate,
    /// The day the money was at hand (R6.10), or the matching's.
    #[diesel(sql_type = Date)]
    pub paid_on: NaiveDate,
    #[diesel(sql_type = BigInt)]
    pub amount: i64,
    /// A credit note that refers to the invoice (R6.9).
    #[diesel(sql_type = Bool)]
    pub corrects: bool,
}

/// What reduced these invoices. A deduction or a transfer to 416 moves a claim and reduces nothing: what
/// reduces the item it moved to counts.
pub fn reductions(
    conn: &mut PgConnection,
    company: CompanyId,
    invoices: &[DocumentId],
) -> QueryResult<Vec<Reduced>> {
    let mut sql = Sql::default();
    let invoices = Bind::Ids(invoices.iter().map(|id| id.0).collect());
    sql.push(
        &format!("SELECT i.invoice_id, i.due_on, CASE WHEN p.id IS NULL THEN a.effective_on ELSE coalesce(p.matures_on, p.received_on) END AS paid_on, \
           a.amount, (c.kind = 'CREDIT_NOTE' AND c.invoice_id IS NOT DISTINCT FROM i.invoice_id) AS corrects \
         FROM items i JOIN allocations a ON a.company_id = i.company_id AND a.debit_item_id = i.id AND a.ended_on IS NULL \
         JOIN items c ON c.company_id = a.company_id AND c.id = a.credit_item_id \
         LEFT JOIN payments p ON p.company_id = c.company_id AND p.id = c.source_id AND c.kind = 'PAYMENT' \
         WHERE i.company_id = ? AND {} AND i.is_debit AND i.kind IN ('INVOICE', 'DEDUCTION', 'DOUBTFUL', 'RECOURSE') \
           AND c.kind NOT IN ('DEDUCTION_SETTLEMENT', 'DOUBTFUL')", item::of_invoice("i", "= ANY(?)")),
        [Bind::Id(company.0), invoices.clone(), invoices],
    );
    sql.query().load(conn)
}

/// `FROM documents t WHERE …`: invoices that were or are paid late, counted on a day.
pub fn late_from(company: CompanyId, client: Option<ClientId>, through: NaiveDate) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        "FROM documents t WHERE t.company_id = ? AND t.kind = 'INVOICE' AND EXISTS (SELECT 1 FROM items i WHERE i.company_id = t.company_id \
           AND i.source_id = t.id AND i.is_debit AND i.due_on < ? AND (i.settled_on IS NULL OR i.settled_on > i.due_on))",
        [Bind::Id(company.0), Bind::Day(through)],
    );
    if let Some(client) = client {
        sql.and("t.client_id = ?", [Bind::Id(client.0)]);
    }
    sql
}
