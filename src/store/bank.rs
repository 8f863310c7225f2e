//! Bank accounts, statements, their movements, what was decided about each, and whose account a payer's is.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::dsl::sql;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Date, Nullable, Numeric, SmallInt, Text, Uuid as SqlUuid};
use rust_decimal::Decimal;
use serde_json::Value;

use super::item::{self, Item};
use super::keys;
use super::list::{Bind, Sql, containing, folded, reads_like};
use super::schema::{
    bank_accounts, bank_lines, bank_matches, bank_statements, clients, items, payer_accounts,
};
use crate::domain::bank::LineStatus;
use crate::domain::ids::{
    BankAccountId, BankLineId, BankMatchId, BankStatementId, ClientId, CompanyId, EntryId,
    PaymentId,
};

/// A bank account of the company, and the general account that stands for it.
#[derive(Clone, Debug, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = bank_accounts, primary_key(company_id, id))]
pub struct Account {
    pub company_id: CompanyId,
    pub id: BankAccountId,
    pub label: String,
    /// IBAN, or the bank's own number, without blanks.
    pub iban: String,
    pub bic: Option<String>,
    /// 512 and below.
    pub account: String,
    pub journal: String,
    pub currency: String,
}

/// Opens a bank account.
pub fn insert_account(conn: &mut PgConnection, row: &Account) -> QueryResult<()> {
    diesel::insert_into(bank_accounts::table)
        .values(row)
        .execute(conn)
        .map(drop)
}

/// Changes label, BIC and general account of a bank account.
pub fn update_account(conn: &mut PgConnection, row: &Account) -> QueryResult<()> {
    diesel::update(bank_accounts::table.find((row.company_id, row.id)))
        .set((
            bank_accounts::label.eq(&row.label),
            bank_accounts::bic.eq(&row.bic),
            bank_accounts::account.eq(&row.account),
        ))
        .execute(conn)
        .map(drop)
}

/// All bank accounts, by label.
pub fn accounts(conn: &mut PgConnection, company: CompanyId) -> QueryResult<Vec<Account>> {
    bank_accounts::table
        .filter(bank_accounts::company_id.eq(company))
        .order((bank_accounts::label, bank_accounts::id))
        .select(Account::as_select())
        .load(conn)
}

/// Bank accounts by id, in no order.
pub fn accounts_by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[BankAccountId],
) -> QueryResult<Vec<Account>> {
    bank_accounts::table
        .filter(bank_accounts::company_id.eq(company))
        .filter(bank_accounts::id.eq_any(ids))
        .select(Account::as_select())
        .load(conn)
}

/// The account that a statement names, locked: two imports of one account wait for each other.
pub fn account_for_update(
    conn: &mut PgConnection,
    company: CompanyId,
    iban: &str,
    currency: &str,
) -> QueryResult<Option<Account>> {
    bank_accounts::table
        .filter(bank_accounts::company_id.eq(company))
        .filter(bank_accounts::iban.eq(iban))
        .filter(bank_accounts::currency.eq(currency))
        .for_no_key_update()
        .select(Account::as_select())
        .first(conn)
        .optional()
}

/// A statement or notification. Balances are signed minor units, none in notifications.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = bank_statements)]
pub struct Statement {
    pub company_id: CompanyId,
    pub id: BankStatementId,
    pub bank_account_id: BankAccountId,
    pub format: String,
    /// The bank's identification.
    pub reference: String,
    pub sequence: Option<i64>,
    pub from_on: Option<NaiveDate>,
    pub to_on: Option<NaiveDate>,
    pub opening: Option<i64>,
    pub closing: Option<i64>,
    pub currency: String,
    pub file_name: String,
    pub recorded_by: String,
}

/// Adds a statement.
pub fn insert_statement(conn: &mut PgConnection, row: &Statement) -> QueryResult<()> {
    diesel::insert_into(bank_statements::table)
        .values(row)
        .execute(conn)
        .map(drop)
}

/// Statements by id, in no order.
pub fn statements_by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[BankStatementId],
) -> QueryResult<Vec<Statement>> {
    bank_statements::table
        .filter(bank_statements::company_id.eq(company))
        .filter(bank_statements::id.eq_any(ids))
        .select(Statement::as_select())
        .load(conn)
}

/// A statement of an account by the bank's identification.
pub fn statement_by_reference(
    conn: &mut PgConnection,
    account: &Account,
    format: &str,
    reference: &str,
) -> QueryResult<Option<Statement>> {
    bank_statements::table
        .filter(bank_statements::company_id.eq(account.company_id))
        .filter(bank_statements::bank_account_id.eq(account.id))
        .filter(bank_statements::format.eq(format))
        .filter(bank_statements::reference.eq(reference))
        .select(Statement::as_select())
        .first(conn)
        .optional()
}

/// The statement with balances that ends last on or before a day; of several, the one taken in last.
pub fn statement_before(
    conn: &mut PgConnection,
    account: &Account,
    day: NaiveDate,
) -> QueryResult<Option<Statement>> {
    bank_statements::table
        .filter(bank_statements::company_id.eq(account.company_id))
        .filter(bank_statements::bank_account_id.eq(account.id))
        .filter(bank_statements::closing.is_not_null())
        .filter(bank_statements::to_on.le(day))
        .order((bank_statements::to_on.desc(), bank_statements::id.desc()))
        .select(Statement::as_select())
        .first(conn)
        .optional()
}

/// `FROM bank_statements t WHERE …`, of one account or of all.
pub fn statements_from(company: CompanyId, account: Option<BankAccountId>) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        "FROM bank_statements t WHERE t.company_id = ?",
        [Bind::Id(company.0)],
    );
    if let Some(account) = account {
        sql.and("t.bank_account_id = ?", [Bind::Id(account.0)]);
    }
    sql
}

/// A movement: a line of a statement, or one payment of a batch. The amount is signed: money in is positive.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = bank_lines)]
pub struct Line {
    pub company_id: CompanyId,
    pub id: BankLineId,
    pub statement_id: BankStatementId,
    pub bank_account_id: BankAccountId,
    pub position: i32,
    /// What makes an import repeatable (R13.2).
    pub fingerprint: String,
    pub booked_on: NaiveDate,
    pub value_on: Option<NaiveDate>,
    pub amount: i64,
    pub currency: String,
    pub counterparty: Option<String>,
    pub counterparty_iban: Option<String>,
    pub end_to_end_id: Option<String>,
    pub servicer_ref: Option<String>,
    pub structured: Vec<String>,
    pub remittance: String,
    pub return_reason: Option<String>,
    pub family: Option<String>,
    pub status: String,
    pub payment_id: Option<PaymentId>,
    pub entry_ref: Option<String>,
    /// The line of the entry that held it already, when it is reconciled.
    pub entry_id: Option<EntryId>,
    pub entry_line: Option<i16>,
}

/// Adds movements.
pub fn insert_lines(conn: &mut PgConnection, rows: &[Line]) -> QueryResult<()> {
    for chunk in rows.chunks(1000) {
        diesel::insert_into(bank_lines::table)
            .values(chunk)
            .execute(conn)?;
    }
    Ok(())
}

/// Movements by id, in no order.
pub fn lines_by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[BankLineId],
) -> QueryResult<Vec<Line>> {
    bank_lines::table
        .filter(bank_lines::company_id.eq(company))
        .filter(bank_lines::id.eq_any(ids))
        .select(Line::as_select())
        .load(conn)
}

/// A movement, locked.
pub fn line_for_update(
    conn: &mut PgConnection,
    company: CompanyId,
    id: BankLineId,
) -> QueryResult<Option<Line>> {
    bank_lines::table
        .find((company, id))
        .for_no_key_update()
        .select(Line::as_select())
        .first(conn)
        .optional()
}

/// Those of these fingerprints that an account knows.
pub fn known(
    conn: &mut PgConnection,
    account: &Account,
    fingerprints: &[String],
) -> QueryResult<Vec<String>> {
    bank_lines::table
        .filter(bank_lines::company_id.eq(account.company_id))
        .filter(bank_lines::bank_account_id.eq(account.id))
        .filter(bank_lines::fingerprint.eq_any(fingerprints))
        .select(bank_lines::fingerprint)
        .load(conn)
}

/// The movements of an account that belong to one of these bookings.
pub fn lines_by_entries(
    conn: &mut PgConnection,
    account: &Account,
    entries: &[String],
) -> QueryResult<Vec<Line>> {
    bank_lines::table
        .filter(bank_lines::company_id.eq(account.company_id))
        .filter(bank_lines::bank_account_id.eq(account.id))
        .filter(bank_lines::entry_ref.eq_any(entries))
        .order(bank_lines::id)
        .select(Line::as_select())
        .load(conn)
}

/// The movement that became a receipt, if any.
pub fn line_of_payment(
    conn: &mut PgConnection,
    company: CompanyId,
    payment: PaymentId,
) -> QueryResult<Option<Line>> {
    bank_lines::table
        .filter(bank_lines::company_id.eq(company))
        .filter(bank_lines::payment_id.eq(payment))
        .filter(bank_lines::amount.gt(0))
        .order(bank_lines::id.desc())
        .select(Line::as_select())
        .first(conn)
        .optional()
}

/// Money that came in and may have gone back: credits with this end-to-end id or bank key that became a
/// receipt, up to a day, latest first.
pub fn receipts_like(
    conn: &mut PgConnection,
    line: &Line,
    end_to_end_id: Option<&str>,
    servicer_ref: Option<&str>,
) -> QueryResult<Vec<Line>> {
    let credits = || {
        bank_lines::table
            .filter(bank_lines::company_id.eq(line.company_id))
            .filter(bank_lines::amount.gt(0))
            .filter(bank_lines::payment_id.is_not_null())
            .filter(bank_lines::booked_on.le(line.booked_on))
            .order((bank_lines::booked_on.desc(), bank_lines::id.desc()))
            .limit(5)
            .select(Line::as_select())
    };
    let mut found = Vec::new();
    if let Some(id) = end_to_end_id {
        found = credits()
            .filter(bank_lines::end_to_end_id.eq(id))
            .load(conn)?;
    }
    if let (true, Some(key)) = (found.is_empty(), servicer_ref) {
        found = credits()
            .filter(bank_lines::servicer_ref.eq(key))
            .load(conn)?;
    }
    Ok(found)
}

/// Moves a movement to another state, with the receipt that it became.
pub fn set_status(
    conn: &mut PgConnection,
    company: CompanyId,
    id: BankLineId,
    status: &str,
    payment: Option<PaymentId>,
) -> QueryResult<()> {
    diesel::update(bank_lines::table.find((company, id)))
        .set((
            bank_lines::status.eq(status),
            bank_lines::payment_id.eq(payment),
            bank_lines::entry_id.eq(None::<EntryId>),
            bank_lines::entry_line.eq(None::<i16>),
        ))
        .execute(conn)
        .map(drop)
}

/// Ties a movement to the line that holds it; any other status unties it.
pub fn set_reconciled(
    conn: &mut PgConnection,
    company: CompanyId,
    id: BankLineId,
    with: &Booked,
) -> QueryResult<()> {
    diesel::update(bank_lines::table.find((company, id)))
        .set((
            bank_lines::status.eq(LineStatus::Reconciled.code()),
            bank_lines::payment_id.eq(with.payment_id),
            bank_lines::entry_id.eq(with.entry_id),
            bank_lines::entry_line.eq(with.line),
        ))
        .execute(conn)
        .map(drop)
}

/// A line of the books on a bank's account that no movement is tied to.
#[derive(Clone, Debug, QueryableByName)]
pub struct Booked {
    #[diesel(sql_type = SqlUuid)]
    pub entry_id: EntryId,
    #[diesel(sql_type = SmallInt)]
    pub line: i16,
    #[diesel(sql_type = BigInt)]
    pub number: i64,
    #[diesel(sql_type = Date)]
    pub posted_on: NaiveDate,
    #[diesel(sql_type = Text)]
    pub account: String,
    /// The receipt recorded by hand; none for entries of a file.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub payment_id: Option<PaymentId>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub client_id: Option<ClientId>,
}

/// Entries of a file, and receipts recorded by hand, that stand on 512 for a movement's amount and side.
fn booked_like(line: &Line) -> Sql {
    let side = if line.amount > 0 {
        "l.debit"
    } else {
        "l.credit"
    };
    let mut sql = Sql::default();
    sql.push(
        &format!(
            "SELECT l.entry_id, l.line, e.number, l.posted_on, l.account, p.id AS payment_id, \
               (SELECT x.client_id FROM journal_lines x WHERE x.company_id = e.company_id AND x.entry_id = e.id AND x.client_id IS NOT NULL LIMIT 1) AS client_id \
             FROM journal_lines l JOIN journal_entries e ON e.company_id = l.company_id AND e.id = l.entry_id \
             LEFT JOIN payments p ON p.company_id = e.company_id AND e.source_kind = 'PAYMENT' AND p.id = e.source_id \
             WHERE l.company_id = ? AND l.account >= '512' AND l.account < '513' AND NOT l.carried AND l.currency = ?::bpchar AND {side} = ? \
               AND e.source_kind IN ('IMPORT', 'PAYMENT') AND e.reversal_of IS NULL \
               AND NOT EXISTS (SELECT 1 FROM payment_events v WHERE v.company_id = p.company_id AND v.payment_id = p.id AND v.kind = 'REVERSED') \
               AND NOT EXISTS (SELECT 1 FROM bank_lines b WHERE b.company_id = l.company_id AND b.entry_id = l.entry_id AND b.entry_line = l.line) \
               AND NOT EXISTS (SELECT 1 FROM bank_lines b WHERE b.company_id = p.company_id AND b.payment_id = p.id)"
        ),
        [
            Bind::Id(line.company_id.0),
            Bind::Text(line.currency.clone()),
            Bind::Number(line.amount.abs()),
        ],
    );
    sql
}

/// Those between two days, nearest to the movement's day first; at most 20.
pub fn booked(
    conn: &mut PgConnection,
    line: &Line,
    first: NaiveDate,
    last: NaiveDate,
) -> QueryResult<Vec<Booked>> {
    let mut sql = booked_like(line);
    sql.and(
        "l.posted_on BETWEEN ? AND ?",
        [Bind::Day(first), Bind::Day(last)],
    );
    sql.push(
        " ORDER BY abs(l.posted_on - ?), l.posted_on, e.number, l.line LIMIT 20",
        [Bind::Day(line.booked_on)],
    );
    sql.query().load(conn)
}

/// The one in an entry, if there is one.
pub fn booked_in(
    conn: &mut PgConnection,
    line: &Line,
    entry: EntryId,
) -> QueryResult<Option<Booked>> {
    let mut sql = booked_like(line);
    sql.and("l.entry_id = ?", [Bind::Id(entry.0)]);
    sql.push(" ORDER BY l.line LIMIT 1", []);
    Ok(sql.query().load(conn)?.pop())
}

/// What 1 of its currency was worth in the company's on a line of the books.
pub fn rate_of(
    conn: &mut PgConnection,
    company: CompanyId,
    entry: EntryId,
    line: i16,
) -> QueryResult<Decimal> {
    #[derive(QueryableByName)]
    struct Rate {
        #[diesel(sql_type = Numeric)]
        rate: Decimal,
    }
    let row: Rate = diesel::sql_query(
        "SELECT round((l.base_debit + l.base_credit) / power(10::numeric, own.exponent) / ((l.debit + l.credit) / power(10::numeric, c.exponent)), 8) AS rate \
         FROM journal_lines l JOIN currencies c ON c.code = l.currency \
         JOIN companies o ON o.company_id = l.company_id JOIN currencies own ON own.code = o.currency \
         WHERE l.company_id = $1 AND l.entry_id = $2 AND l.line = $3",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<SqlUuid, _>(entry)
    .bind::<SmallInt, _>(line)
    .get_result(conn)?;
    Ok(row.rate)
}

/// What a list of movements may be narrowed to.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub statuses: Vec<String>,
    pub account: Option<BankAccountId>,
    pub statement: Option<BankStatementId>,
    pub from: Option<NaiveDate>,
    pub to: Option<NaiveDate>,
    /// Part of the counterparty or of what the payer wrote, any case.
    pub search: Option<String>,
}

/// `FROM bank_lines t WHERE …` of a filter.
pub fn lines_from(company: CompanyId, filter: &Filter) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        "FROM bank_lines t WHERE t.company_id = ?",
        [Bind::Id(company.0)],
    );
    if !filter.statuses.is_empty() {
        sql.and("t.status = ANY(?)", [Bind::Texts(filter.statuses.clone())]);
    }
    if let Some(account) = filter.account {
        sql.and("t.bank_account_id = ?", [Bind::Id(account.0)]);
    }
    if let Some(statement) = filter.statement {
        sql.and("t.statement_id = ?", [Bind::Id(statement.0)]);
    }
    if let Some(from) = filter.from {
        sql.and("t.booked_on >= ?", [Bind::Day(from)]);
    }
    if let Some(to) = filter.to {
        sql.and("t.booked_on <= ?", [Bind::Day(to)]);
    }
    if let Some(search) = &filter.search {
        let pattern = Bind::Text(folded(&containing(search)));
        sql.and(
            &format!(
                "({} OR {})",
                reads_like("t.counterparty"),
                reads_like("t.remittance")
            ),
            [pattern.clone(), pattern],
        );
    }
    sql
}

/// A decision about a movement, automatic or a person's; kept for ever (R13.1).
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = bank_matches)]
pub struct Match {
    pub company_id: CompanyId,
    pub id: BankMatchId,
    pub line_id: BankLineId,
    /// See `domain::bank::Rule`.
    pub rule: i16,
    /// 0 to 100.
    pub score: i16,
    pub outcome: String,
    pub client_id: Option<ClientId>,
    pub evidence: String,
    pub allocations: Value,
    pub alternatives: Value,
    /// Ids of the operations that it made: reversed when it is undone.
    pub operations: Value,
    pub recorded_by: String,
    #[diesel(skip_insertion)]
    pub recorded_at: DateTime<Utc>,
}

/// Adds decisions.
pub fn insert_match(conn: &mut PgConnection, row: &Match) -> QueryResult<()> {
    diesel::insert_into(bank_matches::table)
        .values(row)
        .execute(conn)
        .map(drop)
}

/// The decisions about movements, oldest first.
pub fn matches_of(
    conn: &mut PgConnection,
    company: CompanyId,
    lines: &[BankLineId],
) -> QueryResult<Vec<Match>> {
    bank_matches::table
        .filter(bank_matches::company_id.eq(company))
        .filter(bank_matches::line_id.eq_any(lines))
        .order((bank_matches::line_id, bank_matches::id))
        .select(Match::as_select())
        .load(conn)
}

/// Whose account a payer's IBAN is.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = payer_accounts)]
pub struct PayerAccount {
    pub iban: String,
    pub client_id: ClientId,
    pub recorded_at: DateTime<Utc>,
    pub recorded_by: String,
}

/// Remembers that an account pays for a client; again after it was removed.
pub fn link(
    conn: &mut PgConnection,
    company: CompanyId,
    iban: &str,
    client: ClientId,
    author: &str,
) -> QueryResult<()> {
    diesel::insert_into(payer_accounts::table)
        .values((
            payer_accounts::company_id.eq(company),
            payer_accounts::iban.eq(iban),
            payer_accounts::client_id.eq(client),
            payer_accounts::recorded_by.eq(author),
        ))
        .on_conflict((
            payer_accounts::company_id,
            payer_accounts::iban,
            payer_accounts::client_id,
        ))
        .do_update()
        .set(payer_accounts::removed_at.eq(None::<DateTime<Utc>>))
        .execute(conn)
        .map(drop)
}

/// Forgets that an account pays for a client; false when it was not remembered.
pub fn unlink(
    conn: &mut PgConnection,
    company: CompanyId,
    iban: &str,
    client: ClientId,
) -> QueryResult<bool> {
    diesel::update(payer_accounts::table.find((company, iban.to_owned(), client)))
        .filter(payer_accounts::removed_at.is_null())
        .set(payer_accounts::removed_at.eq(Utc::now()))
        .execute(conn)
        .map(|rows| rows == 1)
}

/// The clients that an account pays for.
pub fn clients_of_iban(
    conn: &mut PgConnection,
    company: CompanyId,
    iban: &str,
) -> QueryResult<Vec<ClientId>> {
    payer_accounts::table
        .filter(payer_accounts::company_id.eq(company))
        .filter(payer_accounts::iban.eq(iban))
        .filter(payer_accounts::removed_at.is_null())
        .order(payer_accounts::client_id)
        .select(payer_accounts::client_id)
        .load(conn)
}

/// The accounts that pay for clients, in order.
pub fn payer_accounts_of(
    conn: &mut PgConnection,
    company: CompanyId,
    clients: &[ClientId],
) -> QueryResult<Vec<PayerAccount>> {
    payer_accounts::table
        .filter(payer_accounts::company_id.eq(company))
        .filter(payer_accounts::client_id.eq_any(clients))
        .filter(payer_accounts::removed_at.is_null())
        .order((payer_accounts::client_id, payer_accounts::iban))
        .select(PayerAccount::as_select())
        .load(conn)
}

/// Clients whose name is this one as banks write it; at most two, since two are no answer.
pub fn clients_named(
    conn: &mut PgConnection,
    company: CompanyId,
    name: &str,
) -> QueryResult<Vec<ClientId>> {
    clients::table
        .filter(clients::company_id.eq(company))
        .filter(
            sql::<Bool>("clients.name_key <> '' AND clients.name_key = name_key(")
                .bind::<Text, _>(name)
                .sql(")"),
        )
        .order(clients::id)
        .limit(2)
        .select(clients::id)
        .load(conn)
}

/// Open items of any client whose number has one of these keys, or keys in runs; at most `limit`.
pub fn named(
    conn: &mut PgConnection,
    company: CompanyId,
    currency: &str,
    keys: &[String],
    runs: &[String],
    limit: i64,
) -> QueryResult<Vec<Item>> {
    let mut from = Sql::default();
    from.push(
        &format!(
            " FROM (SELECT i.* FROM documents d \
               CROSS JOIN LATERAL (SELECT * FROM items i WHERE i.company_id = ? AND i.source_id = d.id OFFSET 0) i \
               WHERE {INVOICE_BEARS} UNION ALL SELECT * FROM items i WHERE {}) items \
             WHERE items.currency = ?::bpchar AND items.open_amount > 0 AND items.family IN ('411', '416') \
             ORDER BY items.due_on, items.id LIMIT ?",
            other_bears()
        ),
        [Bind::Id(company.0)],
    );
    for _ in 0..2 {
        from.push("", bearing(company, keys, runs));
    }
    from.push("", [Bind::Text(currency.to_owned()), Bind::Number(limit)]);
    keys::picked(conn, from)
}

/// The numbers of settled debts whose number has one of these keys, or keys in runs; at most five.
pub fn settled(
    conn: &mut PgConnection,
    company: CompanyId,
    keys: &[String],
    runs: &[String],
) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = Text)]
        number: String,
    }
    let mut sql = Sql::new(&format!(
        "SELECT d.number FROM documents d WHERE {INVOICE_BEARS} \
           AND EXISTS (SELECT 1 FROM items i WHERE i.company_id = ? AND i.source_id = d.id AND i.open_amount = 0) \
         UNION SELECT i.reference FROM items i WHERE {} AND i.kind = 'IMPORTED' AND i.is_debit AND i.open_amount = 0 \
         ORDER BY number LIMIT 5",
        other_bears()
    ));
    sql.push("", bearing(company, keys, runs))
        .push("", [Bind::Id(company.0)])
        .push("", bearing(company, keys, runs));
    let found: Vec<Found> = sql.steady().load(conn)?;
    Ok(found.into_iter().map(|found| found.number).collect())
}

/// Invoices whose number has one of some keys, or keys in runs.
const INVOICE_BEARS: &str = "d.company_id = ? AND d.kind = 'INVOICE' \
    AND (d.number_key = ANY((SELECT ?)::text[]) OR d.number_runs = ANY((SELECT ?)::text[]))";

/// Other items whose number has one of some keys, or keys in runs. Receipts are none: one that is still on account is no
/// debt.
fn other_bears() -> String {
    format!(
        "i.company_id = ? AND i.{} AND (i.ref_key = ANY((SELECT ?)::text[]) OR i.ref_runs = ANY((SELECT ?)::text[]))",
        item::OTHER
    )
}

/// The values of either.
fn bearing(company: CompanyId, keys: &[String], runs: &[String]) -> [Bind; 3] {
    [
        Bind::Id(company.0),
        Bind::Texts(keys.to_vec()),
        Bind::Texts(runs.to_vec()),
    ]
}

/// Open items of clients, oldest due first; at most `limit`. With an amount, only debits open for it.
pub fn open_of(
    conn: &mut PgConnection,
    company: CompanyId,
    currency: &str,
    of: &[ClientId],
    amount: Option<i64>,
    limit: i64,
) -> QueryResult<Vec<Item>> {
    let mut query = items::table
        .filter(items::company_id.eq(company))
        .filter(items::currency.eq(currency))
        .filter(items::open_amount.gt(0))
        .filter(items::family.eq_any(["411", "416"]))
        // A receipt that is still on account is no debt.
        .filter(items::kind.ne("PAYMENT"))
        .filter(items::client_id.eq_any(of))
        .order((items::due_on, items::id))
        .limit(limit)
        .select(Item::as_select())
        .into_boxed();
    if let Some(amount) = amount {
        query = query
            .filter(items::is_debit)
            .filter(items::open_amount.eq(amount));
    }
    query.load(conn)
}
