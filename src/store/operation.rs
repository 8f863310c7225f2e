//! Operations beyond documents and receipts, and what hangs on them: VAT moves, penalties, waivers.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Uuid as SqlUuid};
use uuid::Uuid;

use super::item;
use super::keys::{self, keyed};
use super::list::{Bind, Sql};
use super::schema::{operations, penalty_claims, penalty_waivers, vat_moves};
use crate::domain::ids::{ClientId, CompanyId, DocumentId, DoubtfulFileId, OperationId, PaymentId};

keyed!(Operation => "operations");

/// An operation. Amounts are positive minor units of `currency`; `net + vat = amount`.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = operations)]
pub struct Operation {
    pub company_id: CompanyId,
    pub id: OperationId,
    pub number: String,
    pub kind: String,
    pub client_id: Option<ClientId>,
    pub invoice_id: Option<DocumentId>,
    pub payment_id: Option<PaymentId>,
    pub follows_id: Option<OperationId>,
    pub happened_on: NaiveDate,
    pub amount: i64,
    pub net: i64,
    pub vat: i64,
    pub currency: String,
    pub reason: Option<String>,
    pub evidence: serde_json::Value,
    pub details: serde_json::Value,
    pub recorded_by: String,
    pub file_id: Option<DoubtfulFileId>,
}

/// Adds an operation.
pub fn insert(conn: &mut PgConnection, row: &Operation) -> QueryResult<()> {
    diesel::insert_into(operations::table)
        .values(row)
        .execute(conn)
        .map(drop)
}

/// Operations by id, in no order.
pub fn by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[OperationId],
) -> QueryResult<Vec<Operation>> {
    keys::by_ids(conn, company, ids)
}

/// An operation by its number.
pub fn by_number(
    conn: &mut PgConnection,
    company: CompanyId,
    number: &str,
) -> QueryResult<Option<Operation>> {
    operations::table
        .filter(
            operations::company_id
                .eq(company)
                .and(operations::number.eq(number)),
        )
        .select(Operation::as_select())
        .first(conn)
        .optional()
}

/// Operations of one kind that follow another.
pub fn followers(
    conn: &mut PgConnection,
    company: CompanyId,
    of: OperationId,
    kind: &str,
) -> QueryResult<Vec<Operation>> {
    operations::table
        .filter(
            operations::company_id
                .eq(company)
                .and(operations::follows_id.eq(of))
                .and(operations::kind.eq(kind.to_owned())),
        )
        .order(operations::id)
        .select(Operation::as_select())
        .load(conn)
}

/// Operations of one kind about a receipt.
pub fn of_payment(
    conn: &mut PgConnection,
    company: CompanyId,
    payment: PaymentId,
    kind: &str,
) -> QueryResult<Vec<Operation>> {
    operations::table
        .filter(
            operations::company_id
                .eq(company)
                .and(operations::payment_id.eq(payment))
                .and(operations::kind.eq(kind.to_owned())),
        )
        .order(operations::id)
        .select(Operation::as_select())
        .load(conn)
}

/// Operations that a file of a doubtful debt led to.
pub fn of_files(
    conn: &mut PgConnection,
    company: CompanyId,
    files: &[DoubtfulFileId],
) -> QueryResult<Vec<Operation>> {
    operations::table
        .filter(
            operations::company_id
                .eq(company)
                .and(operations::file_id.eq_any(files)),
        )
        .order(operations::id)
        .select(Operation::as_select())
        .load(conn)
}

/// What a list of operations may be narrowed to.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub kinds: Vec<String>,
    pub client: Option<ClientId>,
    pub from: Option<NaiveDate>,
    pub to: Option<NaiveDate>,
}

/// `FROM operations t WHERE …` of a filter.
pub fn from(company: CompanyId, filter: &Filter) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        "FROM operations t WHERE t.company_id = ?",
        [Bind::Id(company.0)],
    );
    if !filter.kinds.is_empty() {
        sql.and("t.kind = ANY(?)", [Bind::Texts(filter.kinds.clone())]);
    }
    if let Some(client) = filter.client {
        sql.and("t.client_id = ?", [Bind::Id(client.0)]);
    }
    if let Some(from) = filter.from {
        sql.and("t.happened_on >= ?", [Bind::Day(from)]);
    }
    if let Some(to) = filter.to {
        sql.and("t.happened_on <= ?", [Bind::Day(to)]);
    }
    sql
}

/// VAT taken out of 4458 for an invoice (R2.4).
#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = vat_moves)]
pub struct VatMove {
    pub company_id: CompanyId,
    pub id: Uuid,
    pub invoice_id: DocumentId,
    pub kind: String,
    pub amount: i64,
    pub posted_on: NaiveDate,
}

/// Adds VAT moves.
pub fn insert_vat_moves(conn: &mut PgConnection, rows: &[VatMove]) -> QueryResult<()> {
    diesel::insert_into(vat_moves::table)
        .values(rows)
        .execute(conn)
        .map(drop)
}

/// Where an invoice with VAT on receipts stands. Amounts in minor units of the invoice.
#[derive(Clone, Debug, QueryableByName)]
pub struct VatStanding {
    #[diesel(sql_type = SqlUuid)]
    pub invoice_id: Uuid,
    /// Money received for it and matched, bills only once they were paid.
    #[diesel(sql_type = BigInt)]
    pub received: i64,
    /// What is open on it and on its deductions.
    #[diesel(sql_type = BigInt)]
    pub open: i64,
    /// VAT moved to 44571 by receipts so far.
    #[diesel(sql_type = BigInt)]
    pub moved: i64,
    /// VAT taken out of 4458 by credit notes and losses.
    #[diesel(sql_type = BigInt)]
    pub reduced: i64,
}

/// The invoices among these whose VAT falls due as they are paid, and where each stands.
pub fn vat_standings(
    conn: &mut PgConnection,
    company: CompanyId,
    invoices: &[DocumentId],
) -> QueryResult<Vec<VatStanding>> {
    let concerns = item::of_invoice("i", "= d.id");
    let mut sql = Sql::new(&format!(
        "SELECT d.id AS invoice_id, \
           coalesce((SELECT sum(a.amount) FROM items i JOIN allocations a ON a.company_id = i.company_id AND a.debit_item_id = i.id AND a.ended_on IS NULL \
              JOIN items c ON c.company_id = a.company_id AND c.id = a.credit_item_id \
              LEFT JOIN payments p ON p.company_id = c.company_id AND p.id = c.source_id \
              WHERE i.company_id = d.company_id AND {concerns} AND i.is_debit AND (c.kind = 'DEPOSIT' OR c.kind = 'PAYMENT' AND (p.method <> 'BILL' \
                OR EXISTS (SELECT 1 FROM remittance_lines rl JOIN remittances r ON r.company_id = rl.company_id AND r.id = rl.remittance_id \
                     WHERE rl.company_id = p.company_id AND rl.payment_id = p.id AND r.kind = 'BILLS_FOR_COLLECTION' AND r.credited_on IS NOT NULL) \
                OR EXISTS (SELECT 1 FROM operations o WHERE o.company_id = p.company_id AND o.payment_id = p.id AND o.kind = 'BILL_MATURITY')))), 0)::bigint AS received, \
           coalesce((SELECT sum(i.open_amount) FROM items i WHERE i.company_id = d.company_id AND {concerns} AND i.is_debit), 0)::bigint AS open, \
           coalesce((SELECT sum(m.amount) FROM vat_moves m WHERE m.company_id = d.company_id AND m.invoice_id = d.id AND m.kind = 'RECEIPT'), 0)::bigint AS moved, \
           coalesce((SELECT sum(m.amount) FROM vat_moves m WHERE m.company_id = d.company_id AND m.invoice_id = d.id AND m.kind <> 'RECEIPT'), 0)::bigint AS reduced \
         FROM documents d WHERE d.company_id = ? AND d.id = ANY(?) AND d.kind = 'INVOICE' AND d.vat_due = 'RECEIPTS' AND d.vat > 0 ORDER BY d.id"
    ));
    sql.push("", [Bind::Id(company.0), Bind::ids(invoices)]);
    sql.steady().load(conn)
}

/// VAT of losses and recoveries in one currency.
#[derive(Clone, Debug, QueryableByName)]
pub struct VatOnLosses {
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub currency: String,
    #[diesel(sql_type = BigInt)]
    pub recovered: i64,
    #[diesel(sql_type = BigInt)]
    pub due_again: i64,
    #[diesel(sql_type = BigInt)]
    pub losses: i64,
}

/// VAT recovered on losses, and due again on recoveries, between two days; reversed losses left out.
pub fn vat_on_bad_debts(
    conn: &mut PgConnection,
    company: CompanyId,
    from: NaiveDate,
    to: NaiveDate,
    known_at: Option<DateTime<Utc>>,
) -> QueryResult<Vec<VatOnLosses>> {
    let mut sql = Sql::default();
    sql.push(
        "SELECT o.currency::text AS currency, coalesce(sum(o.vat) FILTER (WHERE o.kind = 'WRITE_OFF'), 0)::bigint AS recovered, \
           coalesce(sum(o.vat) FILTER (WHERE o.kind = 'RECOVERY'), 0)::bigint AS due_again, \
           coalesce(sum(o.net) FILTER (WHERE o.kind = 'WRITE_OFF'), 0)::bigint AS losses \
         FROM operations o WHERE o.company_id = ? AND o.kind IN ('WRITE_OFF', 'RECOVERY') AND o.happened_on BETWEEN ? AND ? \
           AND o.recorded_at <= coalesce(?, 'infinity'::timestamptz) \
           AND NOT EXISTS (SELECT 1 FROM operations r WHERE r.company_id = o.company_id AND r.follows_id = o.id AND r.kind = 'REVERSAL' \
             AND r.recorded_at <= coalesce(?, 'infinity'::timestamptz)) GROUP BY 1 ORDER BY 1",
        [
            Bind::Id(company.0),
            Bind::Day(from),
            Bind::Day(to),
            Bind::Instant(known_at),
            Bind::Instant(known_at),
        ],
    );
    sql.query().load(conn)
}

/// Interest and indemnity claimed for an invoice.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = penalty_claims)]
pub struct PenaltyClaim {
    pub company_id: CompanyId,
    pub id: Uuid,
    pub operation_id: OperationId,
    pub client_id: ClientId,
    pub invoice_id: DocumentId,
    pub computed_through: NaiveDate,
    pub interest: i64,
    pub indemnity: i64,
}

/// Adds claims.
pub fn insert_claims(conn: &mut PgConnection, rows: &[PenaltyClaim]) -> QueryResult<()> {
    diesel::insert_into(penalty_claims::table)
        .values(rows)
        .execute(conn)
        .map(drop)
}

/// What was claimed for these invoices, oldest first.
pub fn claims_of(
    conn: &mut PgConnection,
    company: CompanyId,
    invoices: &[DocumentId],
) -> QueryResult<Vec<PenaltyClaim>> {
    penalty_claims::table
        .filter(
            penalty_claims::company_id
                .eq(company)
                .and(penalty_claims::invoice_id.eq_any(invoices)),
        )
        .order(penalty_claims::id)
        .select(PenaltyClaim::as_select())
        .load(conn)
}

/// The claims of one operation, in the order they were posted.
pub fn claims_by_operation(
    conn: &mut PgConnection,
    company: CompanyId,
    operation: OperationId,
) -> QueryResult<Vec<PenaltyClaim>> {
    penalty_claims::table
        .filter(
            penalty_claims::company_id
                .eq(company)
                .and(penalty_claims::operation_id.eq(operation)),
        )
        .order(penalty_claims::id)
        .select(PenaltyClaim::as_select())
        .load(conn)
}

/// A decision not to claim.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = penalty_waivers)]
pub struct PenaltyWaiver {
    pub company_id: CompanyId,
    pub id: Uuid,
    pub client_id: ClientId,
    pub invoice_id: DocumentId,
    pub scope: String,
    pub reason: String,
    pub waived_on: NaiveDate,
    pub recorded_by: String,
}

/// Adds a waiver.
pub fn insert_waiver(conn: &mut PgConnection, row: &PenaltyWaiver) -> QueryResult<()> {
    diesel::insert_into(penalty_waivers::table)
        .values(row)
        .execute(conn)
        .map(drop)
}

/// What was waived on these invoices, oldest first, and when it was recorded.
pub fn waivers_of(
    conn: &mut PgConnection,
    company: CompanyId,
    invoices: &[DocumentId],
) -> QueryResult<Vec<(PenaltyWaiver, DateTime<Utc>)>> {
    penalty_waivers::table
        .filter(
            penalty_waivers::company_id
                .eq(company)
                .and(penalty_waivers::invoice_id.eq_any(invoices)),
        )
        .order(penalty_waivers::id)
        .select((PenaltyWaiver::as_select(), penalty_waivers::recorded_at))
        .load(conn)
}
