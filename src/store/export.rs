//! Flat tables for spreadsheets, BI tools and scripts: each a list of columns over a set-based statement.
//!
//! Names and meanings of columns are kept: new ones are added at the end. All cells are text as they are written
//! to a file: days by ISO 8601, amounts with a point and the decimals of their currency.

use std::fmt::Write;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Array, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::list::{Bind, Sql};
use crate::domain::access::{Action, codes};
use crate::domain::ids::CompanyId;

codes! {
    /// A table that can be taken out.
    Table {
        /// Clients, without their contacts.
        Clients = "clients",
        /// Invoices, with what is open of them.
        Invoices = "invoices",
        /// Credit notes (avoirs), with what is open of them.
        CreditNotes = "credit-notes",
        /// Receipts (règlements), with what is not allocated of them.
        Payments = "payments",
        /// Open items of a day.
        OpenItems = "open-items",
        /// The aged balance (balance âgée) of a day, a row for each client and currency.
        AgedBalance = "aged-balance",
        /// The audit trail (piste d'audit), oldest first.
        AuditTrail = "audit-trail",
    }
}

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holds {
    /// What somebody once typed: a spreadsheet must not take it for a formula.
    Words,
    /// A code, a day, a number or an amount.
    Value,
    /// A JSON object.
    Object,
}

/// A column: its name, what it holds, and the SQL expression of its text.
pub type Column = (&'static str, Holds, &'static str);

use Holds::{Value, Words};

const CLIENT: [Column; 2] = [
    ("clientNumber", Words, "c.number"),
    ("clientName", Words, "c.name"),
];

/// An amount in minor units as text.
macro_rules! money {
    ($amount:literal) => {
        concat!(
            "round(",
            $amount,
            "::numeric / power(10::numeric, u.exponent), u.exponent)::text"
        )
    };
}
/// An instant as text.
macro_rules! instant {
    ($at:literal) => {
        concat!(
            "to_char(",
            $at,
            " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
        )
    };
}

const CLIENTS: &[Column] = &[
    ("id", Value, "'cli_' || replace(t.id::text, '-', '')"),
    ("number", Words, "t.number"),
    ("name", Words, "t.name"),
    ("kind", Value, "t.kind"),
    ("segment", Value, "t.segment"),
    ("siren", Value, "t.siren"),
    ("siret", Value, "t.siret"),
    ("vatNumber", Words, "t.vat_number"),
    ("externalRef", Words, "t.external_ref"),
    ("currency", Value, "t.currency"),
    ("termsRule", Value, "t.terms_rule"),
    ("termsDays", Value, "t.terms_days::text"),
    ("insolvency", Value, "t.insolvency"),
    ("createdAt", Value, instant!("t.created_at")),
    ("closedOn", Value, "t.closed_on::text"),
];
// What several tables have.
const DOCUMENT_ID: Column = ("id", Value, "'doc_' || replace(t.id::text, '-', '')");
const DOCUMENT_NUMBER: Column = ("number", Words, "t.number");
const ISSUED: Column = ("issuedOn", Value, "t.issued_on::text");
const CURRENCY: Column = ("currency", Value, "t.currency");
const NET: Column = ("net", Value, money!("t.net"));
const VAT: Column = ("vat", Value, money!("t.vat"));
const TOTAL: Column = ("total", Value, money!("t.total"));
const OPEN: Column = ("open", Value, money!("s.open"));
const SETTLED: Column = ("settledOn", Value, "s.settled_on::text");
const RATE: Column = ("exchangeRate", Value, "trim_scale(t.exchange_rate)::text");
const EXTERNAL: Column = ("externalRef", Words, "t.external_ref");
const RECORDED: Column = ("recordedAt", Value, instant!("t.recorded_at"));
const UPDATED: Column = (
    "updatedAt",
    Value,
    instant!("greatest(t.recorded_at, s.changed_at)"),
);

const INVOICES: &[Column] = &[
    DOCUMENT_ID,
    DOCUMENT_NUMBER,
    CLIENT[0],
    CLIENT[1],
    ISSUED,
    ("dueOn", Value, "t.due_on::text"),
    CURRENCY,
    NET,
    VAT,
    TOTAL,
    OPEN,
    SETTLED,
    RATE,
    ("purchaseOrder", Words, "t.purchase_order"),
    EXTERNAL,
    RECORDED,
    UPDATED,
];
const CREDIT_NOTES: &[Column] = &[
    DOCUMENT_ID,
    DOCUMENT_NUMBER,
    CLIENT[0],
    CLIENT[1],
    ISSUED,
    (
        "invoiceNumber",
        Words,
        "(SELECT o.number FROM documents o WHERE o.company_id = t.company_id AND o.id = t.invoice_id)",
    ),
    CURRENCY,
    NET,
    VAT,
    TOTAL,
    OPEN,
    SETTLED,
    RATE,
    EXTERNAL,
    RECORDED,
    UPDATED,
];
const PAYMENTS: &[Column] = &[
    ("id", Value, "'pay_' || replace(t.id::text, '-', '')"),
    ("number", Words, "t.number"),
    CLIENT[0],
    CLIENT[1],
    ("receivedOn", Value, "t.received_on::text"),
    ("method", Value, "t.method"),
    CURRENCY,
    ("amount", Value, money!("t.amount")),
    ("unallocated", Value, money!("s.open")),
    RATE,
    ("payer", Words, "t.payer"),
    ("remittance", Words, "t.remittance"),
    EXTERNAL,
    RECORDED,
    UPDATED,
];
const OPEN_ITEMS: &[Column] = &[
    ("id", Value, "'itm_' || replace(t.id::text, '-', '')"),
    ("kind", Value, "t.kind"),
    ("reference", Words, "t.reference"),
    CLIENT[0],
    CLIENT[1],
    ("account", Value, "t.family"),
    ("postedOn", Value, "t.posted_on::text"),
    ("dueOn", Value, "t.due_on::text"),
    CURRENCY,
    (
        "amount",
        Value,
        money!("(CASE WHEN t.is_debit THEN t.amount ELSE -t.amount END)"),
    ),
    OPEN,
];

impl Table {
    /// The action that reads it.
    pub fn action(self) -> Action {
        match self {
            Table::Clients => Action::ReadClients,
            Table::Invoices | Table::CreditNotes | Table::Payments => Action::ReadDocuments,
            Table::OpenItems | Table::AgedBalance => Action::ReadReports,
            Table::AuditTrail => Action::ReadAudit,
        }
    }

    /// Whether it is a state of a day.
    pub fn is_dated(self) -> bool {
        matches!(self, Table::OpenItems | Table::AgedBalance)
    }

    /// Whether its rows say when they were changed.
    pub fn is_updated(self) -> bool {
        matches!(
            self,
            Table::Invoices | Table::CreditNotes | Table::Payments | Table::AuditTrail
        )
    }

    /// The columns that are read here; none of tables that others compute.
    pub fn columns(self) -> &'static [Column] {
        match self {
            Table::Clients => CLIENTS,
            Table::Invoices => INVOICES,
            Table::CreditNotes => CREDIT_NOTES,
            Table::Payments => PAYMENTS,
            Table::OpenItems => OPEN_ITEMS,
            Table::AgedBalance | Table::AuditTrail => &[],
        }
    }
}

/// What of a table is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The day of a dated table.
    pub as_of: NaiveDate,
    /// Only rows that were recorded or settled from this instant on.
    pub updated_since: Option<DateTime<Utc>>,
}

/// A row: its key, and the cells in the order of the columns.
#[derive(Debug, QueryableByName)]
pub struct Row {
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    #[diesel(sql_type = Array<Nullable<Text>>)]
    pub cells: Vec<Option<String>>,
}

/// The next rows behind a key, in the order of their making.
pub fn rows(
    conn: &mut PgConnection,
    company: CompanyId,
    table: Table,
    wanted: &Wanted,
    behind: Option<Uuid>,
    most: i64,
) -> QueryResult<Vec<Row>> {
    let mut text = String::from("SELECT t.id, ARRAY[");
    for (place, (_, _, expression)) in table.columns().iter().enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{expression}::text");
    }
    text.push_str("] AS cells ");
    let mut sql = Sql::new(&text);
    from(&mut sql, company, table, wanted);
    if let Some(behind) = behind {
        sql.and("t.id > ?", [Bind::Id(behind)]);
    }
    sql.push(" ORDER BY t.id LIMIT ?", [Bind::Number(most)]);
    sql.query().load(conn)
}

/// `FROM … WHERE …`: the table as `t`, its client as `c`, its currency as `u`, what is open of it as `s`.
fn from(sql: &mut Sql, company: CompanyId, table: Table, wanted: &Wanted) {
    let id = || Bind::Id(company.0);
    let named = "LEFT JOIN clients c ON c.company_id = t.company_id AND c.id = t.client_id JOIN currencies u ON u.code = t.currency";
    // A receipt's payer may have become known later.
    let payer = "LEFT JOIN payment_events e ON e.company_id = t.company_id AND e.payment_id = t.id AND e.kind = 'IDENTIFIED' \
       LEFT JOIN clients c ON c.company_id = t.company_id AND c.id = coalesce(t.client_id, e.client_id) JOIN currencies u ON u.code = t.currency";
    // What a document or a receipt made: a receipt may have made other items, such as its return.
    let rest = |of: &str| {
        format!(
            "CROSS JOIN LATERAL (SELECT coalesce(sum(i.open_amount) FILTER (WHERE {of}), 0) AS open, max(i.changed_at) AS changed_at, \
               CASE WHEN coalesce(sum(i.open_amount), 0) = 0 THEN max(i.settled_on) END AS settled_on \
             FROM items i WHERE i.company_id = t.company_id AND i.source_id = t.id) s"
        )
    };
    match table {
        Table::Clients | Table::AgedBalance | Table::AuditTrail => {
            sql.push("FROM clients t WHERE t.company_id = ?", [id()]);
        }
        Table::Invoices | Table::CreditNotes => {
            let kind = match table {
                Table::Invoices => super::document::INVOICE,
                _ => super::document::CREDIT_NOTE,
            };
            let from = format!(
                "FROM documents t {named} {} WHERE t.company_id = ? AND t.kind = ?",
                rest("true")
            );
            sql.push(&from, [id(), Bind::Text(kind.to_owned())]);
        }
        Table::Payments => {
            let from = format!(
                "FROM payments t {payer} {} WHERE t.company_id = ?",
                rest("i.kind = 'PAYMENT'")
            );
            sql.push(&from, [id()]);
        }
        Table::OpenItems => {
            let from = format!(
                "FROM items t {named} CROSS JOIN LATERAL (SELECT sum(l.delta) AS open FROM receivable_ledger l \
                   WHERE l.company_id = t.company_id AND l.item_id = t.id AND l.effective_on <= ?) s \
                 WHERE t.company_id = ? AND t.posted_on <= ? AND (t.settled_on IS NULL OR t.settled_on > ?) AND t.family IN ('411', '416') AND s.open <> 0"
            );
            let day = || Bind::Day(wanted.as_of);
            sql.push(&from, [day(), id(), day(), day()]);
        }
    }
    if let (true, Some(since)) = (table.is_updated(), wanted.updated_since) {
        // What was recorded made items then, but a receipt of an unknown payer.
        sql.and(
            "(t.id IN (SELECT i.source_id FROM items i WHERE i.company_id = ? AND i.changed_at >= ?) OR t.recorded_at >= ?)",
            [id(), Bind::Instant(Some(since)), Bind::Instant(Some(since))],
        );
    }
}
