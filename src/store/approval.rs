//! Requests for approval, what was decided about them, and the rules in force at any time.

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::Uuid as SqlUuid;
use uuid::Uuid;

use super::item;
use super::list::{self, Bind, Sql};
use super::schema::{approval_events, approval_requests, approval_rules};
use crate::domain::ids::{ApprovalId, ClientId, CompanyId, DocumentId, ItemId, UserId};

/// A request. Only what stands from `status` on ever changes. `amount` is minor units of `currency`.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = approval_requests)]
pub struct Request {
    pub company_id: CompanyId,
    pub id: ApprovalId,
    pub kind: String,
    pub ground: String,
    pub approver: String,
    pub client_id: Option<ClientId>,
    pub document_id: Option<DocumentId>,
    pub amount: Option<i64>,
    pub currency: Option<String>,
    pub operation: Option<String>,
    pub input: Option<serde_json::Value>,
    pub input_hash: Option<String>,
    pub reason: Option<String>,
    pub before: serde_json::Value,
    pub after: serde_json::Value,
    #[diesel(skip_insertion)]
    pub proposed_at: DateTime<Utc>,
    pub proposed_by: String,
    pub proposed_user: Option<UserId>,
    pub role: String,
    pub scopes: Option<Vec<String>>,
    pub expires_at: Option<DateTime<Utc>>,
    pub status: String,
    pub decided_at: Option<DateTime<Utc>>,
    pub decided_by: Option<String>,
    pub decision: Option<String>,
    pub segregated: Option<bool>,
    pub result_id: Option<String>,
    pub outcome: Option<serde_json::Value>,
}

/// What happened to a request.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = approval_events)]
pub struct Event {
    pub company_id: CompanyId,
    pub id: Uuid,
    pub request_id: ApprovalId,
    pub kind: String,
    pub reason: Option<String>,
    #[diesel(skip_insertion)]
    pub recorded_at: DateTime<Utc>,
    pub recorded_by: String,
}

/// The rules from an instant on.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = approval_rules)]
pub struct RulesInForce {
    pub segregation: bool,
    pub thresholds: serde_json::Value,
    pub recorded_at: DateTime<Utc>,
    pub recorded_by: String,
}

/// Adds a request, with its first event.
pub fn insert(conn: &mut PgConnection, request: &Request) -> QueryResult<()> {
    diesel::insert_into(approval_requests::table)
        .values(request)
        .execute(conn)?;
    let author = &request.proposed_by;
    insert_event(conn, request, "PROPOSED", request.reason.as_deref(), author)?;
    match (&request.decided_by, request.status.as_str()) {
        (Some(by), status) => insert_event(conn, request, status, None, by),
        (None, _) => Ok(()),
    }
}

fn insert_event(
    conn: &mut PgConnection,
    request: &Request,
    kind: &str,
    reason: Option<&str>,
    author: &str,
) -> QueryResult<()> {
    diesel::insert_into(approval_events::table)
        .values((
            approval_events::company_id.eq(request.company_id),
            approval_events::id.eq(Uuid::now_v7()),
            approval_events::request_id.eq(request.id),
            approval_events::kind.eq(kind),
            approval_events::reason.eq(reason),
            approval_events::recorded_by.eq(author),
        ))
        .execute(conn)
        .map(drop)
}

/// Writes a decision, and that it was taken.
pub fn decide(conn: &mut PgConnection, request: &Request) -> QueryResult<()> {
    diesel::update(approval_requests::table.find((request.company_id, request.id)))
        .set((
            approval_requests::status.eq(&request.status),
            approval_requests::decided_at.eq(diesel::dsl::now),
            approval_requests::decided_by.eq(&request.decided_by),
            approval_requests::decision.eq(&request.decision),
            approval_requests::segregated.eq(request.segregated),
            approval_requests::result_id.eq(&request.result_id),
            approval_requests::outcome.eq(&request.outcome),
        ))
        .execute(conn)?;
    let by = request.decided_by.as_deref().unwrap_or_default();
    insert_event(
        conn,
        request,
        &request.status,
        request.decision.as_deref(),
        by,
    )
}

/// Writes what an approved request made, while it is being done.
pub fn set_result(
    conn: &mut PgConnection,
    company: CompanyId,
    id: ApprovalId,
    result: &str,
) -> QueryResult<()> {
    diesel::update(approval_requests::table.find((company, id)))
        .set(approval_requests::result_id.eq(result))
        .execute(conn)
        .map(drop)
}

/// Requests by id, in no order.
pub fn by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[ApprovalId],
) -> QueryResult<Vec<Request>> {
    approval_requests::table
        .filter(approval_requests::company_id.eq(company))
        .filter(approval_requests::id.eq_any(ids))
        .select(Request::as_select())
        .load(conn)
}

/// Locks a request until the transaction ends.
pub fn for_update(
    conn: &mut PgConnection,
    company: CompanyId,
    id: ApprovalId,
) -> QueryResult<Option<Request>> {
    approval_requests::table
        .find((company, id))
        .select(Request::as_select())
        .for_no_key_update()
        .first(conn)
        .optional()
}

/// The same thing, asked for by the same person, that waits already.
pub fn same_waiting(
    conn: &mut PgConnection,
    company: CompanyId,
    author: &str,
    operation: &str,
    hash: &str,
) -> QueryResult<Option<ApprovalId>> {
    approval_requests::table
        .filter(approval_requests::company_id.eq(company))
        .filter(approval_requests::status.eq("PROPOSED"))
        .filter(approval_requests::proposed_by.eq(author))
        .filter(approval_requests::operation.eq(operation))
        .filter(approval_requests::input_hash.eq(hash))
        .select(approval_requests::id)
        .first(conn)
        .optional()
}

/// Whether the same thing waits, or was rejected, whoever asked for it.
pub fn was_asked(
    conn: &mut PgConnection,
    company: CompanyId,
    operation: &str,
    hash: &str,
) -> QueryResult<bool> {
    diesel::select(diesel::dsl::exists(
        approval_requests::table
            .filter(approval_requests::company_id.eq(company))
            .filter(approval_requests::operation.eq(operation))
            .filter(approval_requests::input_hash.eq(hash))
            .filter(approval_requests::status.eq_any(["PROPOSED", "REJECTED"])),
    ))
    .get_result(conn)
}

/// Requests that nobody decided in time, oldest first.
pub fn overdue(conn: &mut PgConnection, company: CompanyId) -> QueryResult<Vec<ApprovalId>> {
    approval_requests::table
        .filter(approval_requests::company_id.eq(company))
        .filter(approval_requests::status.eq("PROPOSED"))
        .filter(approval_requests::expires_at.le(diesel::dsl::now))
        .order(approval_requests::id)
        .limit(1000)
        .select(approval_requests::id)
        .load(conn)
}

/// The history of requests, oldest first.
pub fn events_of(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[ApprovalId],
) -> QueryResult<Vec<Event>> {
    approval_events::table
        .filter(approval_events::company_id.eq(company))
        .filter(approval_events::request_id.eq_any(ids))
        .order((approval_events::recorded_at, approval_events::id))
        .select(Event::as_select())
        .load(conn)
}

/// Whose decision is waited for.
#[derive(Clone, Debug)]
pub struct Decider {
    /// What the caller may approve.
    pub rights: Vec<String>,
    /// Whose requests the caller may not decide; none while duties are not segregated.
    pub not_of: Option<String>,
    /// The caller as a person, who may have come in under another name.
    pub not_user: Option<UserId>,
}

/// Which requests are meant; empty lists mean all.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub statuses: Vec<String>,
    pub kinds: Vec<String>,
    pub client: Option<ClientId>,
    pub decider: Option<Decider>,
}

/// `FROM approval_requests t WHERE …`.
pub fn from(company: CompanyId, wanted: &Wanted) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        "FROM approval_requests t WHERE t.company_id = ?",
        [Bind::Id(company.0)],
    );
    if !wanted.statuses.is_empty() {
        sql.and("t.status = ANY(?)", [Bind::Texts(wanted.statuses.clone())]);
    }
    if !wanted.kinds.is_empty() {
        sql.and("t.kind = ANY(?)", [Bind::Texts(wanted.kinds.clone())]);
    }
    if let Some(client) = wanted.client {
        sql.and("t.client_id = ?", [Bind::Id(client.0)]);
    }
    if let Some(decider) = &wanted.decider {
        sql.and(
            "t.status = 'PROPOSED' AND (t.expires_at IS NULL OR t.expires_at > now()) AND t.approver = ANY(?)",
            [Bind::Texts(decider.rights.clone())],
        );
        if let Some(author) = &decider.not_of {
            sql.and("t.proposed_by <> ?", [Bind::Text(author.clone())]);
            if let Some(user) = decider.not_user {
                sql.and("t.proposed_user IS DISTINCT FROM ?", [Bind::Id(user.0)]);
            }
        }
    }
    sql
}

/// Writes the rules that are in force from now on.
pub fn insert_rules(
    conn: &mut PgConnection,
    company: CompanyId,
    segregation: bool,
    thresholds: &serde_json::Value,
    author: &str,
) -> QueryResult<()> {
    diesel::insert_into(approval_rules::table)
        .values((
            approval_rules::company_id.eq(company),
            approval_rules::id.eq(Uuid::now_v7()),
            approval_rules::segregation.eq(segregation),
            approval_rules::thresholds.eq(thresholds),
            approval_rules::recorded_by.eq(author),
        ))
        .execute(conn)
        .map(drop)
}

/// The last rules of a company and those before them, latest first.
pub fn rules(conn: &mut PgConnection, company: CompanyId) -> QueryResult<Vec<RulesInForce>> {
    approval_rules::table
        .filter(approval_rules::company_id.eq(company))
        .order((
            approval_rules::recorded_at.desc(),
            approval_rules::id.desc(),
        ))
        .limit(100)
        .select(RulesInForce::as_select())
        .load(conn)
}

/// A receipt that was recorded by hand: no movement on a bank account stands behind it.
const BY_HAND: &str =
    "NOT EXISTS (SELECT 1 FROM bank_lines b WHERE b.company_id = ? AND b.payment_id = p.id)";

/// Whether this person recorded by hand a receipt that was ever matched with one of these invoices, or a deposit that
/// was used on it (R12.2).
pub fn recorded_receipts(
    conn: &mut PgConnection,
    company: CompanyId,
    invoices: &[DocumentId],
    author: &str,
) -> QueryResult<bool> {
    // In this order: of a company that the planner has not seen yet, it would begin with all receipts.
    let mut sql = Sql::default();
    sql.push(
        &format!(
            "SELECT EXISTS (SELECT 1 FROM items d \
             CROSS JOIN LATERAL (SELECT a.credit_item_id FROM allocations a WHERE a.company_id = ? AND a.debit_item_id = d.id OFFSET 0) a \
             CROSS JOIN LATERAL (SELECT c.source_id FROM items c WHERE c.company_id = ? AND c.id = a.credit_item_id OFFSET 0) c \
             CROSS JOIN LATERAL (SELECT c.source_id AS id UNION ALL SELECT o.payment_id FROM operations o \
               WHERE o.company_id = ? AND o.id = c.source_id AND o.kind = 'DEPOSIT_USE' OFFSET 0) s \
             CROSS JOIN LATERAL (SELECT p.company_id, p.id, p.recorded_by FROM payments p WHERE p.company_id = ? AND p.id = s.id OFFSET 0) p \
             WHERE d.company_id = ? AND d.invoice_id = ANY(?) AND d.is_debit AND p.recorded_by = ? AND {BY_HAND}) AS found"
        ),
        [
            Bind::Id(company.0),
            Bind::Id(company.0),
            Bind::Id(company.0),
            Bind::Id(company.0),
            Bind::Id(company.0),
            Bind::Ids(invoices.iter().map(|id| id.0).collect()),
            Bind::Text(author.to_owned()),
            Bind::Id(company.0),
        ],
    );
    list::found(conn, sql)
}

/// Nobody else approved credit note `n` of the company that is bound.
const ALONE: &str = "NOT EXISTS (SELECT 1 FROM approval_requests r WHERE r.company_id = ? \
     AND r.result_id = 'doc_' || replace(n.id::text, '-', '') AND r.status = 'APPROVED' AND r.segregated)";

/// Those of these debits that this person credited without a second one (R12.2): by a credit note on their invoice,
/// or by a free one that was ever matched with them.
pub fn credited_alone(
    conn: &mut PgConnection,
    company: CompanyId,
    items: &[ItemId],
    author: &str,
) -> QueryResult<Vec<ItemId>> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    let concerned = item::of_invoice("d", "= i.invoice_id");
    // Items, then their matchings, then the notes: see `recorded_receipts`.
    let text = format!(
        "SELECT i.id FROM items i WHERE i.company_id = ? AND i.id = ANY(?) AND i.is_debit AND EXISTS ( \
           SELECT 1 FROM documents n WHERE n.company_id = ? AND n.invoice_id = i.invoice_id AND n.kind = 'CREDIT_NOTE' \
             AND n.recorded_by = ? AND {ALONE} \
           UNION ALL SELECT 1 FROM (SELECT d.id FROM items d WHERE d.company_id = ? AND {concerned} AND d.is_debit \
               UNION SELECT i.id) d \
             CROSS JOIN LATERAL (SELECT a.credit_item_id FROM allocations a WHERE a.company_id = ? AND a.debit_item_id = d.id OFFSET 0) a \
             CROSS JOIN LATERAL (SELECT c.source_id FROM items c WHERE c.company_id = ? AND c.id = a.credit_item_id \
               AND c.kind = 'CREDIT_NOTE' OFFSET 0) c \
             CROSS JOIN LATERAL (SELECT n.company_id, n.id, n.recorded_by FROM documents n WHERE n.company_id = ? AND n.id = c.source_id OFFSET 0) n \
             WHERE n.recorded_by = ? AND {ALONE})"
    );
    let mut sql = Sql::default();
    let id = || Bind::Id(company.0);
    let author = || Bind::Text(author.to_owned());
    sql.push(
        &text,
        [
            id(),
            Bind::ids(items),
            id(),
            author(),
            id(),
            id(),
            id(),
            id(),
            id(),
            author(),
            id(),
        ],
    );
    let found: Vec<Found> = sql.steady().load(conn)?;
    Ok(found.into_iter().map(|row| ItemId(row.id)).collect())
}

/// Whether one of these items is a credit note that this person issued without a second one.
pub fn own_credit_notes(
    conn: &mut PgConnection,
    company: CompanyId,
    items: &[ItemId],
    author: &str,
) -> QueryResult<bool> {
    let mut sql = Sql::default();
    sql.push(
        &format!(
            "SELECT EXISTS (SELECT 1 FROM items i JOIN documents n ON n.company_id = i.company_id AND n.id = i.source_id \
             WHERE i.company_id = ? AND i.id = ANY(?) AND i.kind = 'CREDIT_NOTE' AND n.recorded_by = ? AND {ALONE}) AS found"
        ),
        [
            Bind::Id(company.0),
            Bind::ids(items),
            Bind::Text(author.to_owned()),
            Bind::Id(company.0),
        ],
    );
    list::found(conn, sql)
}

/// Whether one of these items is a receipt that this person recorded by hand.
pub fn own_receipts(
    conn: &mut PgConnection,
    company: CompanyId,
    items: &[ItemId],
    author: &str,
) -> QueryResult<bool> {
    let mut sql = Sql::default();
    sql.push(
        &format!(
            "SELECT EXISTS (SELECT 1 FROM items i JOIN payments p ON p.company_id = i.company_id AND p.id = i.source_id \
             WHERE i.company_id = ? AND i.id = ANY(?) AND p.recorded_by = ? AND {BY_HAND}) AS found"
        ),
        [
            Bind::Id(company.0),
            Bind::Ids(items.iter().map(|id| id.0).collect()),
            Bind::Text(author.to_owned()),
            Bind::Id(company.0),
        ],
    );
    list::found(conn, sql)
}
