//! Invoices and credit notes, their lines and VAT, and drafts of invoices.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{
    BigInt, Bool, Date, Jsonb, Nullable, Numeric, SmallInt, Text, Uuid as SqlUuid,
};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::bulk::{self, Column};
use super::item::{Change, Item};
use super::journal::{self, NewEntry};
use super::keys::{self, keyed};
use super::list::{Bind, Sql, containing, folded, reads_like, steady};
use super::numbering::{Condition, Drawers, Drawn, Numbers};
use super::schema::{document_lines, document_taxes, documents, invoice_drafts};
use crate::domain::ids::{ClientId, CompanyId, DocumentId, DraftId};

keyed!(Document => "documents", Brief => "documents");

/// The two kinds of documents, as stored.
pub const INVOICE: &str = "INVOICE";
/// See [`INVOICE`].
pub const CREDIT_NOTE: &str = "CREDIT_NOTE";

/// An issued invoice or credit note. Amounts are positive minor units of `currency`.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = documents)]
pub struct Document {
    pub company_id: CompanyId,
    pub id: DocumentId,
    pub kind: String,
    pub number: String,
    pub external_ref: Option<String>,
    pub external_series: bool,
    pub client_id: ClientId,
    pub issued_on: NaiveDate,
    pub due_on: Option<NaiveDate>,
    pub currency: String,
    pub net: i64,
    pub vat: i64,
    pub total: i64,
    pub exchange_rate: Decimal,
    pub invoice_id: Option<DocumentId>,
    pub period_from: Option<NaiveDate>,
    pub period_to: Option<NaiveDate>,
    pub purchase_order: Option<String>,
    pub recorded_by: String,
    /// `DEBITS` or `RECEIPTS` (R2.4).
    pub vat_due: String,
    /// The discount offered for payment within `discount_days` (R2.16).
    pub discount_percent: Option<Decimal>,
    pub discount_days: Option<i16>,
    /// HT taken off on the invoice for early payment: on 665, not netted in class 70 (R2.17).
    pub deducted_discount: i64,
    /// Why a credit note was given (motif).
    pub reason: Option<String>,
}

bulk::rows!(Document => "documents" {
    company_id: SqlUuid, id: SqlUuid, kind: Text, number: Text, external_ref: Nullable<Text>, external_series: Bool,
    client_id: SqlUuid, issued_on: Date, due_on: Nullable<Date>, currency: Text, net: BigInt, vat: BigInt,
    total: BigInt, exchange_rate: Numeric, invoice_id: Nullable<SqlUuid>, period_from: Nullable<Date>,
    period_to: Nullable<Date>, purchase_order: Nullable<Text>, recorded_by: Text, vat_due: Text,
    discount_percent: Nullable<Numeric>, discount_days: Nullable<SmallInt>, deducted_discount: BigInt,
    reason: Nullable<Text>,
} drawn { number: "g.number" } given { recorded_at = "now()" before "recorded_by" });

/// A document to issue, with what is printed on it and stays as it was then.
#[derive(Clone, Debug)]
pub struct NewDocument {
    pub document: Document,
    /// Parties and mandatory mentions (R6.14). Large, and seldom asked for: it is read by [`snapshots`] alone.
    pub snapshot: serde_json::Value,
}

impl bulk::Row for NewDocument {
    const TABLE: &'static str = Document::TABLE;
    const DRAWN: &'static [(&'static str, &'static str)] = Document::DRAWN;
    const GIVEN: &'static [bulk::Given] = Document::GIVEN;
    fn company(&self) -> CompanyId {
        self.document.company_id
    }
    fn columns<'a>(rows: impl Iterator<Item = &'a Self> + Clone) -> Vec<Column<'a>> {
        let mut columns = Document::columns(rows.clone().map(|row| &row.document));
        let snapshots = rows.map(|row| &row.snapshot).collect();
        // Where it is in the table.
        let place = columns.iter().position(|column| column.is("recorded_by"));
        let snapshots = Column::of::<Jsonb, _>("snapshot", snapshots);
        columns.insert(place.unwrap_or(columns.len()), snapshots);
        columns
    }
}

/// A line of a document.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = document_lines)]
pub struct Line {
    pub company_id: CompanyId,
    pub document_id: DocumentId,
    pub line: i16,
    pub description: String,
    pub quantity: Decimal,
    pub unit_price: Decimal,
    pub discount_percent: Decimal,
    pub vat_rate: Decimal,
    pub net: i64,
    pub account: String,
}

bulk::rows!(Line => "document_lines" {
    company_id: SqlUuid, document_id: SqlUuid, line: SmallInt, description: Text, quantity: Numeric,
    unit_price: Numeric, discount_percent: Numeric, vat_rate: Numeric, net: BigInt, account: Text,
});

/// The VAT of a document at one rate.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = document_taxes)]
pub struct Tax {
    pub company_id: CompanyId,
    pub document_id: DocumentId,
    pub vat_rate: Decimal,
    pub net: i64,
    pub vat: i64,
}

bulk::rows!(Tax => "document_taxes" {
    company_id: SqlUuid, document_id: SqlUuid, vat_rate: Numeric, net: BigInt, vat: BigInt,
});

/// What a list of invoices or credit notes may be narrowed to.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Part of the document's number or of the client's name, any case.
    pub search: Option<String>,
    pub client: Option<ClientId>,
    pub issued_from: Option<NaiveDate>,
    pub issued_to: Option<NaiveDate>,
    pub due_from: Option<NaiveDate>,
    pub due_to: Option<NaiveDate>,
    pub currency: Option<String>,
    pub min_total: Option<i64>,
    pub max_total: Option<i64>,
    /// Only those with something open, or only those settled.
    pub open: Option<bool>,
    /// Only those with an open part due before this day, or only the others.
    pub overdue: Option<(bool, NaiveDate)>,
    /// Only those with an open dispute, or only the others.
    pub disputed: Option<bool>,
    /// Settled in part but not whole.
    pub partly_settled: Option<bool>,
}

/// `FROM documents t WHERE …` of a filter.
pub fn from(company: CompanyId, kind: &str, filter: &Filter) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        "FROM documents t WHERE t.company_id = ? AND t.kind = ?",
        [Bind::Id(company.0), Bind::Text(kind.to_owned())],
    );
    if let Some(search) = &filter.search {
        let pattern = containing(search);
        sql.and(
            &format!(
                "(t.number ILIKE ? OR t.client_id IN (SELECT c.id FROM clients c WHERE c.company_id = ? AND {}))",
                reads_like("c.name")
            ),
            [Bind::Text(pattern.clone()), Bind::Id(company.0), Bind::Text(folded(&pattern))],
        );
    }
    if let Some(client) = filter.client {
        sql.and("t.client_id = ?", [Bind::Id(client.0)]);
    }
    for (condition, day) in [
        ("t.issued_on >= ?", filter.issued_from),
        ("t.issued_on <= ?", filter.issued_to),
        ("t.due_on >= ?", filter.due_from),
        ("t.due_on <= ?", filter.due_to),
    ] {
        if let Some(day) = day {
            sql.and(condition, [Bind::Day(day)]);
        }
    }
    if let Some(currency) = &filter.currency {
        sql.and("t.currency = ?::bpchar", [Bind::Text(currency.clone())]);
    }
    for (condition, amount) in [
        ("t.total >= ?", filter.min_total),
        ("t.total <= ?", filter.max_total),
    ] {
        if let Some(amount) = amount {
            sql.and(condition, [Bind::Number(amount)]);
        }
    }
    let own_item = "SELECT 1 FROM items i WHERE i.company_id = t.company_id AND i.source_id = t.id";
    if let Some(open) = filter.open {
        sql.exists(open, &format!("{own_item} AND i.open_amount > 0"), []);
    }
    if let Some((overdue, today)) = filter.overdue {
        sql.exists(
            overdue,
            &format!("{own_item} AND i.open_amount > 0 AND i.due_on < ?"),
            [Bind::Day(today)],
        );
    }
    if let Some(partly) = filter.partly_settled {
        // OFFSET 0 keeps the second question a probe of what the first leaves: nearly all items pass it alone.
        let not = if partly { "" } else { "NOT " };
        sql.and(
            &format!(
                "{not}(EXISTS ({own_item} AND i.open_amount > 0) AND EXISTS ({own_item} AND i.open_amount < i.amount OFFSET 0))"
            ),
            [],
        );
    }
    if let Some(disputed) = filter.disputed {
        sql.exists(
            disputed,
            "SELECT 1 FROM disputes d WHERE d.company_id = t.company_id AND d.invoice_id = t.id AND d.closed_on IS NULL",
            [],
        );
    }
    sql
}

/// Documents by id, in no order.
pub fn by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[DocumentId],
) -> QueryResult<Vec<Document>> {
    keys::by_ids(conn, company, ids)
}

/// Those of these invoices whose VAT falls due as they are paid (R2.4).
pub fn with_vat_on_receipts(
    conn: &mut PgConnection,
    company: CompanyId,
    invoices: &[DocumentId],
) -> QueryResult<Vec<DocumentId>> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    let invoices: BTreeSet<Uuid> = invoices.iter().map(|id| id.0).collect();
    if invoices.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Found> = steady(
        "SELECT k.id FROM unnest((SELECT ?::uuid[])) k(id) CROSS JOIN LATERAL \
           (SELECT FROM documents d WHERE d.company_id = ? AND d.id = k.id AND d.kind = 'INVOICE' AND d.vat_due = 'RECEIPTS' AND d.vat > 0 OFFSET 0) d",
        [Bind::Ids(invoices.into_iter().collect()), Bind::Id(company.0)],
    )
    .load(conn)?;
    Ok(rows.into_iter().map(|row| DocumentId(row.id)).collect())
}

/// Parties and mandatory mentions of documents as issued (R6.14), in no order.
pub fn snapshots(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[DocumentId],
) -> QueryResult<Vec<(DocumentId, serde_json::Value)>> {
    documents::table
        .filter(
            documents::company_id
                .eq(company)
                .and(documents::id.eq_any(ids)),
        )
        .select((documents::id, documents::snapshot))
        .load(conn)
}

/// A document by id.
pub fn by_id(
    conn: &mut PgConnection,
    company: CompanyId,
    id: DocumentId,
) -> QueryResult<Option<Document>> {
    documents::table
        .find((company, id))
        .select(Document::as_select())
        .first(conn)
        .optional()
}

/// A document by its number.
pub fn by_number(
    conn: &mut PgConnection,
    company: CompanyId,
    kind: &str,
    number: &str,
) -> QueryResult<Option<Document>> {
    documents::table
        .filter(
            documents::company_id
                .eq(company)
                .and(documents::kind.eq(kind))
                .and(documents::number.eq(number)),
        )
        .select(Document::as_select())
        .first(conn)
        .optional()
}

/// A document by another system's reference.
pub fn by_external_ref(
    conn: &mut PgConnection,
    company: CompanyId,
    kind: &str,
    external_ref: &str,
) -> QueryResult<Option<Document>> {
    documents::table
        .filter(
            documents::company_id
                .eq(company)
                .and(documents::kind.eq(kind))
                .and(documents::external_ref.eq(external_ref)),
        )
        .select(Document::as_select())
        .first(conn)
        .optional()
}

/// What an import asks of an invoice of the books.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = documents)]
pub struct Brief {
    pub id: DocumentId,
    pub number: String,
    pub client_id: ClientId,
    pub issued_on: NaiveDate,
    pub currency: String,
    pub exchange_rate: Decimal,
    pub vat_due: String,
}

/// Invoices by number, in no order.
pub fn briefs(
    conn: &mut PgConnection,
    company: CompanyId,
    numbers: &[String],
) -> QueryResult<Vec<Brief>> {
    keys::by_numbers(conn, company, Some(INVOICE), numbers)
}

/// Those of these numbers of invoices or of credit notes that are taken.
pub fn taken_numbers(
    conn: &mut PgConnection,
    company: CompanyId,
    kind: &str,
    numbers: &[String],
) -> QueryResult<Vec<String>> {
    keys::taken(conn, "documents", company, Some(kind), numbers)
}

/// Locks a document until the transaction ends: what is credited against it waits in line.
pub fn for_update(
    conn: &mut PgConnection,
    company: CompanyId,
    id: DocumentId,
) -> QueryResult<Option<Document>> {
    // The serving role may not update documents, so the row of the client stands in for the lock.
    let Some(document) = by_id(conn, company, id)? else {
        return Ok(None);
    };
    super::client::for_update(conn, company, document.client_id)?;
    Ok(Some(document))
}

/// Adds documents with their lines and VAT.
pub fn insert(
    conn: &mut PgConnection,
    rows: &[NewDocument],
    lines: &[Line],
    taxes: &[Tax],
) -> QueryResult<()> {
    bulk::insert_all(conn, &[&rows, &lines, &taxes])
}

/// A document with the entry and the open items that it makes, which lacks its numbers.
#[derive(Clone, Debug)]
pub struct Issue {
    pub document: NewDocument,
    pub lines: Vec<Line>,
    pub taxes: Vec<Tax>,
    pub entry: NewEntry,
    pub entry_lines: Vec<journal::Line>,
    pub items: Vec<Item>,
    pub changes: Vec<Change>,
}

/// Adds a document with all that it makes, under numbers drawn by the same statement.
pub fn insert_numbered(
    conn: &mut PgConnection,
    numbers: &Numbers<'_>,
    issue: &Issue,
) -> QueryResult<Drawn> {
    let document = std::slice::from_ref(&issue.document);
    let entry = std::slice::from_ref(&issue.entry);
    let (lines, taxes) = (issue.lines.as_slice(), issue.taxes.as_slice());
    let entry_lines = issue.entry_lines.as_slice();
    let (items, changes) = (issue.items.as_slice(), issue.changes.as_slice());
    numbers.write(
        conn,
        &[
            &document,
            &lines,
            &taxes,
            &entry,
            &entry_lines,
            &items,
            &changes,
        ],
    )
}

/// Adds documents of one day, under numbers in their order, by one statement. Answers whether they were written: all of
/// them; or none, when a number is used already or days would go back.
pub fn insert_numbered_all(
    conn: &mut PgConnection,
    company: CompanyId,
    series: &Drawers,
    issues: Vec<Issue>,
) -> QueryResult<bool> {
    let (mut documents, mut entries) = (Vec::new(), Vec::new());
    let (mut lines, mut taxes, mut entry_lines) = (Vec::new(), Vec::new(), Vec::new());
    let (mut items, mut items_at, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    for (place, issue) in (1_i32..).zip(issues) {
        documents.push(issue.document);
        entries.push(issue.entry);
        lines.extend(issue.lines);
        taxes.extend(issue.taxes);
        entry_lines.extend(issue.entry_lines);
        items_at.extend(issue.items.iter().map(|_| place));
        items.extend(issue.items);
        changes.extend(issue.changes);
    }
    let places: Vec<i32> = (1_i32..).take(documents.len()).collect();
    let parts = vec![
        bulk::at_places(&documents, &places),
        bulk::beside(&lines),
        bulk::beside(&taxes),
        bulk::at_places(&entries, &places),
        bulk::beside(&entry_lines),
        bulk::at_places(&items, &items_at),
        bulk::beside(&changes),
    ];
    series.write_all(conn, company, places.len(), Condition::default(), parts)
}

/// The lines of these documents, in order.
pub fn lines(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[DocumentId],
) -> QueryResult<Vec<Line>> {
    document_lines::table
        .filter(
            document_lines::company_id
                .eq(company)
                .and(document_lines::document_id.eq_any(ids)),
        )
        .order((document_lines::document_id, document_lines::line))
        .select(Line::as_select())
        .load(conn)
}

/// The VAT of these documents, by rate.
pub fn taxes(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[DocumentId],
) -> QueryResult<Vec<Tax>> {
    document_taxes::table
        .filter(
            document_taxes::company_id
                .eq(company)
                .and(document_taxes::document_id.eq_any(ids)),
        )
        .order((document_taxes::document_id, document_taxes::vat_rate))
        .select(Tax::as_select())
        .load(conn)
}

/// What was credited on an invoice so far, per VAT rate (R2.5).
pub fn credited(
    conn: &mut PgConnection,
    company: CompanyId,
    invoice: DocumentId,
) -> QueryResult<Vec<Tax>> {
    let notes: Vec<DocumentId> = documents::table
        .filter(
            documents::company_id
                .eq(company)
                .and(documents::invoice_id.eq(invoice)),
        )
        .select(documents::id)
        .load(conn)?;
    taxes(conn, company, &notes)
}

/// What can still be credited on invoices, per VAT rate: what they bear less their credit notes (R2.5).
pub fn creditable(
    conn: &mut PgConnection,
    company: CompanyId,
    invoices: &[DocumentId],
) -> QueryResult<Vec<Tax>> {
    let mut left = taxes(conn, company, invoices)?;
    let notes: HashMap<DocumentId, DocumentId> = documents::table
        .filter(
            documents::company_id
                .eq(company)
                .and(documents::invoice_id.eq_any(invoices)),
        )
        .select((documents::id, documents::invoice_id.assume_not_null()))
        .load(conn)?
        .into_iter()
        .collect();
    let ids: Vec<DocumentId> = notes.keys().copied().collect();
    for tax in taxes(conn, company, &ids)? {
        let same = |left: &&mut Tax| {
            notes.get(&tax.document_id) == Some(&left.document_id) && left.vat_rate == tax.vat_rate
        };
        if let Some(left) = left.iter_mut().find(same) {
            left.net -= tax.net;
            left.vat -= tax.vat;
        }
    }
    Ok(left)
}

/// A draft of an invoice: free to change, without a number.
#[derive(Clone, Debug, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = invoice_drafts, primary_key(company_id, id))]
pub struct Draft {
    pub company_id: CompanyId,
    pub id: DraftId,
    pub client_id: ClientId,
    pub content: serde_json::Value,
    pub updated_at: DateTime<Utc>,
    pub updated_by: String,
}

/// A draft by id.
pub fn draft(
    conn: &mut PgConnection,
    company: CompanyId,
    id: DraftId,
) -> QueryResult<Option<Draft>> {
    invoice_drafts::table
        .find((company, id))
        .select(Draft::as_select())
        .first(conn)
        .optional()
}

/// Drafts by id, in no order.
pub fn drafts(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[DraftId],
) -> QueryResult<Vec<Draft>> {
    invoice_drafts::table
        .filter(
            invoice_drafts::company_id
                .eq(company)
                .and(invoice_drafts::id.eq_any(ids)),
        )
        .select(Draft::as_select())
        .load(conn)
}

/// A draft, locked: it stays as it is until the transaction ends.
pub fn draft_for_update(
    conn: &mut PgConnection,
    company: CompanyId,
    id: DraftId,
) -> QueryResult<Option<Draft>> {
    invoice_drafts::table
        .find((company, id))
        .select(Draft::as_select())
        .for_update()
        .first(conn)
        .optional()
}

/// Writes a new draft.
pub fn insert_draft(conn: &mut PgConnection, draft: &Draft) -> QueryResult<()> {
    diesel::insert_into(invoice_drafts::table)
        .values(draft)
        .execute(conn)
        .map(drop)
}

/// Changes a draft; false when there is none: it may have been issued meanwhile.
pub fn update_draft(conn: &mut PgConnection, draft: &Draft) -> QueryResult<bool> {
    diesel::update(invoice_drafts::table.find((draft.company_id, draft.id)))
        .set(draft)
        .execute(conn)
        .map(|rows| rows == 1)
}

/// Throws a draft away; false when there was none.
pub fn delete_draft(conn: &mut PgConnection, company: CompanyId, id: DraftId) -> QueryResult<bool> {
    diesel::delete(invoice_drafts::table.find((company, id)))
        .execute(conn)
        .map(|rows| rows == 1)
}
