//! Receipts, and what became known of them later.

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Date, Nullable, Numeric, Text, Uuid as SqlUuid};
use rust_decimal::Decimal;

use super::bulk;
use super::journal::{Line, NewEntry};
use super::keys::{self, keyed};
use super::list::{Bind, Sql, containing, folded, reads_like};
use super::numbering::{Drawn, Numbers};
use super::schema::{payment_events, payments};
use crate::domain::ids::{ClientId, CompanyId, PaymentId};

keyed!(Payment => "payments");

/// A receipt as recorded. `client_id` is null when the payer was unknown then.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = payments)]
pub struct Payment {
    pub company_id: CompanyId,
    pub id: PaymentId,
    pub number: String,
    pub external_ref: Option<String>,
    pub external_series: bool,
    pub received_on: NaiveDate,
    pub method: String,
    pub amount: i64,
    pub currency: String,
    pub exchange_rate: Decimal,
    pub client_id: Option<ClientId>,
    pub payer: Option<String>,
    pub remittance: Option<String>,
    pub matures_on: Option<NaiveDate>,
    pub recorded_by: String,
    /// `RECEIVABLE`, or `DEPOSIT` before any invoice (4191).
    pub purpose: String,
    /// Of a deposit on which VAT is due: its rate in percent.
    pub deposit_vat_rate: Option<Decimal>,
    /// The general account of the bank; the account map's when none.
    pub bank_account: Option<String>,
}

bulk::rows!(Payment => "payments" {
    company_id: SqlUuid, id: SqlUuid, number: Text, external_ref: Nullable<Text>, external_series: Bool,
    received_on: Date, method: Text, amount: BigInt, currency: Text, exchange_rate: Numeric,
    client_id: Nullable<SqlUuid>, payer: Nullable<Text>, remittance: Nullable<Text>, matures_on: Nullable<Date>,
    recorded_by: Text, purpose: Text, deposit_vat_rate: Nullable<Numeric>, bank_account: Nullable<Text>,
} drawn { number: "g.number" } given { recorded_at = "now()" before "recorded_by" });

/// Those of these numbers that are taken.
pub fn taken_numbers(
    conn: &mut PgConnection,
    company: CompanyId,
    numbers: &[String],
) -> QueryResult<Vec<String>> {
    keys::taken(conn, "payments", company, None, numbers)
}

/// What a receipt is for: what the client owes ...
pub const RECEIVABLE: &str = "RECEIVABLE";
/// ... or an order that is not invoiced yet.
pub const DEPOSIT: &str = "DEPOSIT";

/// Something that became known of a receipt: its payer (`IDENTIFIED`), its return (`RETURNED`), or that it was
/// an error (`REVERSED`).
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = payment_events)]
pub struct Event {
    pub company_id: CompanyId,
    pub payment_id: PaymentId,
    pub kind: String,
    pub happened_on: NaiveDate,
    pub client_id: Option<ClientId>,
    pub reason: Option<String>,
    pub fee: i64,
    pub recorded_by: String,
}

impl Event {
    /// Whether the receipt is gone since: it came back unpaid, or was an error.
    pub fn takes_back(&self) -> bool {
        self.kind == RETURNED || self.kind == REVERSED
    }
}

/// The payer became known.
pub const IDENTIFIED: &str = "IDENTIFIED";
/// The cheque bounced, the direct debit or bill came back (R2.6).
pub const RETURNED: &str = "RETURNED";
/// The receipt was recorded in error and taken back (R2.2).
pub const REVERSED: &str = "REVERSED";

/// Receipts with whose they are, as `whose`: of one that came without a payer, who became known later, an event says it.
/// Of the first part PostgreSQL goes by the index of clients, as it would without the second.
macro_rules! with_client {
    () => {
        "(SELECT r.*, r.client_id AS whose FROM payments r \
          UNION ALL SELECT r.*, e.client_id FROM payment_events e \
            JOIN payments r ON r.company_id = e.company_id AND r.id = e.payment_id WHERE e.kind = 'IDENTIFIED')"
    };
}
pub(super) use with_client;

/// What a list of receipts may be narrowed to.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Part of the number, the payer or the remittance text, any case.
    pub search: Option<String>,
    pub client: Option<ClientId>,
    pub methods: Vec<String>,
    pub received_from: Option<NaiveDate>,
    pub received_to: Option<NaiveDate>,
    /// Only those with a part not allocated yet, or only the others.
    pub unallocated: Option<bool>,
    /// Only those whose payer is not known yet, or only the others.
    pub unknown_payer: Option<bool>,
    pub returned: Option<bool>,
}

/// `FROM payments t WHERE …` of a filter.
pub fn from(company: CompanyId, filter: &Filter) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        "FROM payments t WHERE t.company_id = ?",
        [Bind::Id(company.0)],
    );
    if let Some(search) = &filter.search {
        let pattern = containing(search);
        let plain = Bind::Text(folded(&pattern));
        sql.and(
            &format!(
                "(t.number ILIKE ? OR {} OR {})",
                reads_like("t.payer"),
                reads_like("t.remittance")
            ),
            [Bind::Text(pattern), plain.clone(), plain],
        );
    }
    let event =
        "SELECT 1 FROM payment_events e WHERE e.company_id = t.company_id AND e.payment_id = t.id";
    if let Some(client) = filter.client {
        sql.and(
            &format!("(t.client_id = ? OR EXISTS ({event} AND e.client_id = ?))"),
            [Bind::Id(client.0), Bind::Id(client.0)],
        );
    }
    if !filter.methods.is_empty() {
        sql.and("t.method = ANY(?)", [Bind::Texts(filter.methods.clone())]);
    }
    if let Some(day) = filter.received_from {
        sql.and("t.received_on >= ?", [Bind::Day(day)]);
    }
    if let Some(day) = filter.received_to {
        sql.and("t.received_on <= ?", [Bind::Day(day)]);
    }
    if let Some(unallocated) = filter.unallocated {
        sql.exists(
            unallocated,
            "SELECT 1 FROM items i WHERE i.company_id = t.company_id AND i.source_id = t.id AND i.kind = 'PAYMENT' AND i.open_amount > 0",
            [],
        );
    }
    if let Some(unknown) = filter.unknown_payer {
        // What was taken back waits for nobody's name, and it was nobody's.
        let condition = match unknown {
            true => format!(
                "t.client_id IS NULL AND NOT EXISTS ({event} AND e.kind IN ('IDENTIFIED', 'REVERSED', 'RETURNED'))"
            ),
            false => {
                format!("(t.client_id IS NOT NULL OR EXISTS ({event} AND e.kind = 'IDENTIFIED'))")
            }
        };
        sql.and(&condition, []);
    }
    if let Some(returned) = filter.returned {
        sql.exists(returned, &format!("{event} AND e.kind = 'RETURNED'"), []);
    }
    sql
}

/// Receipts by id, in no order.
pub fn by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[PaymentId],
) -> QueryResult<Vec<Payment>> {
    keys::by_ids(conn, company, ids)
}

/// A receipt by id.
pub fn by_id(
    conn: &mut PgConnection,
    company: CompanyId,
    id: PaymentId,
) -> QueryResult<Option<Payment>> {
    payments::table
        .find((company, id))
        .select(Payment::as_select())
        .first(conn)
        .optional()
}

/// A receipt by number.
pub fn by_number(
    conn: &mut PgConnection,
    company: CompanyId,
    number: &str,
) -> QueryResult<Option<Payment>> {
    payments::table
        .filter(
            payments::company_id
                .eq(company)
                .and(payments::number.eq(number)),
        )
        .select(Payment::as_select())
        .first(conn)
        .optional()
}

/// A receipt by another system's reference.
pub fn by_external_ref(
    conn: &mut PgConnection,
    company: CompanyId,
    external_ref: &str,
) -> QueryResult<Option<Payment>> {
    payments::table
        .filter(
            payments::company_id
                .eq(company)
                .and(payments::external_ref.eq(external_ref)),
        )
        .select(Payment::as_select())
        .first(conn)
        .optional()
}

/// Adds receipts.
pub fn insert(conn: &mut PgConnection, rows: &[Payment]) -> QueryResult<()> {
    bulk::insert(conn, rows)
}

/// Adds a receipt together with its entry, under numbers drawn by the same statement.
pub fn insert_numbered(
    conn: &mut PgConnection,
    numbers: &Numbers<'_>,
    payment: &Payment,
    entries: &[NewEntry],
    lines: &[Line],
) -> QueryResult<Drawn> {
    let payment = std::slice::from_ref(payment);
    numbers.write(conn, &[&payment, &entries, &lines])
}

/// What became known of these receipts.
pub fn events(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[PaymentId],
) -> QueryResult<Vec<Event>> {
    payment_events::table
        .filter(
            payment_events::company_id
                .eq(company)
                .and(payment_events::payment_id.eq_any(ids)),
        )
        .select(Event::as_select())
        .load(conn)
}

/// Adds an event; a second one of its kind violates the primary key.
pub fn insert_event(conn: &mut PgConnection, event: &Event) -> QueryResult<()> {
    diesel::insert_into(payment_events::table)
        .values(event)
        .execute(conn)
        .map(drop)
}
