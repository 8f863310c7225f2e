//! The invariants of the books, each as one statement that finds the first broken fact.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text, Uuid as SqlUuid};

use crate::domain::ids::CompanyId;

/// The lines of the entry `e`, as `c.lines`: what its seal covers beside itself. In the order of their key, so that they
/// are found by it: of a company that the planner does not know, any index looks as good.
macro_rules! lines {
    () => {
        "CROSS JOIN LATERAL (SELECT jsonb_agg(line_content(ROW(l.*)::journal_lines) ORDER BY l.line) AS lines \
           FROM (SELECT * FROM journal_lines WHERE company_id = $1 AND entry_id = e.id ORDER BY company_id, entry_id, line) l) c"
    };
}

/// What a check looks at, in words, and the statement that answers the first fact that breaks it.
pub const CHECKS: &[(&str, &str, &str)] = &[
    (
        "ENTRY_BALANCE",
        "every journal entry has two lines or more and balances in its currency and in the company's (R2.1)",
        "SELECT min('entry ' || entry_id) AS broken FROM (SELECT entry_id FROM journal_lines WHERE company_id = $1 GROUP BY entry_id, currency \
         HAVING sum(debit) <> sum(credit) OR sum(base_debit) <> sum(base_credit) OR count(*) < 2) x",
    ),
    (
        "ENTRY_NUMBERS",
        "journal entries are numbered without gap per financial year (R9.1)",
        "SELECT min('financial year ' || fiscal_year || ': ' || n || ' entries, last number ' || m) AS broken FROM \
         (SELECT fiscal_year, count(*) AS n, max(number) AS m FROM journal_entries WHERE company_id = $1 GROUP BY fiscal_year) x WHERE n <> m",
    ),
    (
        "DOCUMENT_NUMBERS",
        "the company's own series have no gap (R9.5)",
        // A number given by hand in the form of a series counts when the series has passed it.
        "SELECT min('series ' || series || ' of ' || fiscal_year || ': counter at ' || last_number || ', ' || n || ' documents') AS broken FROM \
         (SELECT c.series, c.fiscal_year, c.last_number, count(d.rank) AS n FROM counters c LEFT JOIN (SELECT DISTINCT \
             substring(number FROM '^(.+)-[0-9]{4}-[0-9]{6,18}$') AS series, substring(number FROM '-([0-9]{4})-[0-9]{6,18}$')::int AS fiscal_year, \
             substring(number FROM '-([0-9]{6}|[1-9][0-9]{6,17})$')::bigint AS rank FROM ( \
             SELECT number FROM documents WHERE company_id = $1 \
             UNION ALL SELECT number FROM payments WHERE company_id = $1 \
             UNION ALL SELECT number FROM deductions WHERE company_id = $1 \
             UNION ALL SELECT number FROM disputes WHERE company_id = $1 \
             UNION ALL SELECT number FROM operations WHERE company_id = $1 \
             UNION ALL SELECT number FROM remittances WHERE company_id = $1 \
             UNION ALL SELECT number FROM doubtful_files WHERE company_id = $1 \
             UNION ALL SELECT number FROM rectified_invoices WHERE company_id = $1 \
             UNION ALL SELECT number FROM provision_runs WHERE company_id = $1 \
             UNION ALL SELECT number FROM litigation_cases WHERE company_id = $1 \
             UNION ALL SELECT number FROM clients WHERE company_id = $1) all_numbers) d \
           ON d.series = c.series AND d.fiscal_year = c.fiscal_year AND d.rank BETWEEN 1 AND c.last_number \
         WHERE c.company_id = $1 AND c.series <> 'ENTRY' GROUP BY c.series, c.fiscal_year, c.last_number) x WHERE n <> last_number",
    ),
    (
        "ITEM_ENTRIES",
        "every open item is the line of its journal entry: account, client, side, amount, currency, day",
        "SELECT min('item ' || i.id) AS broken FROM items i JOIN journal_lines l ON l.company_id = i.company_id AND l.entry_id = i.entry_id AND l.line = i.entry_line \
         WHERE i.company_id = $1 AND (l.client_id IS DISTINCT FROM i.client_id OR left(l.account, 3) <> i.family OR l.currency <> i.currency OR l.posted_on <> i.posted_on \
           OR CASE WHEN i.is_debit THEN l.debit ELSE l.credit END < i.amount)",
    ),
    (
        "SUB_LEDGER",
        "the items of each client add up to its lines on 411, 413, 416 and 4191 (R4.8)",
        "SELECT min('client ' || coalesce(a.client_id, b.client_id)) AS broken FROM \
         (SELECT client_id, left(account, 3) AS family, currency, sum(debit - credit) AS s FROM journal_lines \
           WHERE company_id = $1 AND NOT carried AND client_id IS NOT NULL AND (account LIKE '411%' OR account LIKE '413%' OR account LIKE '416%' OR account LIKE '4191%') GROUP BY 1, 2, 3) a \
         FULL JOIN (SELECT client_id, family::text AS family, currency, sum(CASE WHEN is_debit THEN amount ELSE -amount END) AS s FROM items WHERE company_id = $1 GROUP BY 1, 2, 3) b \
         ON a.client_id = b.client_id AND a.family = b.family AND a.currency = b.currency WHERE a.s IS DISTINCT FROM b.s",
    ),
    (
        "OPEN_AMOUNTS",
        "the open amount of every item, cached, equals the sum of its ledger rows and its allocations (R3.4)",
        "SELECT min('item ' || i.id) AS broken FROM items i \
         LEFT JOIN (SELECT item_id, sum(delta) AS s FROM receivable_ledger WHERE company_id = $1 GROUP BY item_id) l ON l.item_id = i.id \
         LEFT JOIN (SELECT id, sum(amount) AS s FROM (SELECT debit_item_id AS id, amount FROM allocations WHERE company_id = $1 AND ended_on IS NULL \
           UNION ALL SELECT credit_item_id, amount FROM allocations WHERE company_id = $1 AND ended_on IS NULL) x GROUP BY id) a ON a.id = i.id \
         WHERE i.company_id = $1 AND (abs(coalesce(l.s, 0)) <> i.open_amount OR i.amount - coalesce(a.s, 0) <> i.open_amount)",
    ),
    (
        "SETTLEMENT_DAYS",
        "an item's settlement day, cached, is the last day on which its ledger changed",
        "SELECT min('item ' || i.id) AS broken FROM items i \
         JOIN (SELECT item_id, max(effective_on) AS last_on FROM receivable_ledger WHERE company_id = $1 GROUP BY item_id) l ON l.item_id = i.id \
         WHERE i.company_id = $1 AND i.settled_on IS DISTINCT FROM CASE WHEN i.open_amount = 0 THEN l.last_on END",
    ),
    (
        "ALLOCATIONS",
        "an allocation joins a debit and a credit of one client, family and currency (R3.1)",
        "SELECT min('allocation ' || a.id) AS broken FROM allocations a \
         JOIN items d ON d.company_id = a.company_id AND d.id = a.debit_item_id JOIN items c ON c.company_id = a.company_id AND c.id = a.credit_item_id \
         WHERE a.company_id = $1 AND (NOT d.is_debit OR c.is_debit OR d.client_id <> c.client_id OR d.family <> c.family OR d.currency <> c.currency \
           OR a.client_id <> d.client_id OR a.effective_on < d.posted_on OR a.effective_on < c.posted_on)",
    ),
    (
        "CLIENTS",
        "what hangs on a record is of its client: credit notes, deductions and disputes of their invoice, items of what they came from",
        "SELECT min(w.what || ' ' || coalesce(w.number, w.id::text)) AS broken FROM ( \
           SELECT 'credit note' AS what, number, id, client_id, invoice_id AS record FROM documents WHERE company_id = $1 AND invoice_id IS NOT NULL \
           UNION ALL SELECT 'deduction', number, id, client_id, invoice_id FROM deductions WHERE company_id = $1 \
           UNION ALL SELECT 'dispute', number, id, client_id, invoice_id FROM disputes WHERE company_id = $1 \
           UNION ALL SELECT 'dispute', number, id, client_id, credit_note_id FROM disputes WHERE company_id = $1 \
           UNION ALL SELECT 'dispute', number, id, client_id, deduction_id FROM disputes WHERE company_id = $1 \
           UNION ALL SELECT 'item', NULL, id, client_id, source_id FROM items WHERE company_id = $1) w \
         JOIN (SELECT id, client_id FROM documents WHERE company_id = $1 \
           UNION ALL SELECT id, client_id FROM deductions WHERE company_id = $1 \
           UNION ALL SELECT p.id, coalesce(p.client_id, e.client_id) FROM payments p LEFT JOIN payment_events e \
             ON e.company_id = p.company_id AND e.payment_id = p.id AND e.kind = 'IDENTIFIED' WHERE p.company_id = $1) r ON r.id = w.record \
         WHERE w.client_id IS DISTINCT FROM r.client_id",
    ),
    (
        "LETTERING",
        "a group in upper case is settled whole, its items have one client, family and currency, and what is matched stands in one group (R3.1, R3.2)",
        "SELECT min(broken) AS broken FROM (SELECT 'allocation ' || a.id AS broken FROM allocations a \
           JOIN items d ON d.company_id = a.company_id AND d.id = a.debit_item_id JOIN items c ON c.company_id = a.company_id AND c.id = a.credit_item_id \
           WHERE a.company_id = $1 AND a.ended_on IS NULL AND (d.matching_id IS NULL OR d.matching_id IS DISTINCT FROM c.matching_id) \
         UNION ALL SELECT 'matching ' || m.id FROM matchings m \
         JOIN (SELECT matching_id, sum(open_amount) AS open, sum(CASE WHEN is_debit THEN amount ELSE -amount END) AS residual, \
                 count(DISTINCT (client_id, family, currency)) AS n FROM items WHERE company_id = $1 AND matching_id IS NOT NULL GROUP BY matching_id) i ON i.matching_id = m.id \
         WHERE m.company_id = $1 AND (m.complete <> (i.open = 0) OR m.residual <> i.residual OR i.n <> 1)) x",
    ),
    (
        "DOCUMENT_TOTALS",
        "an invoice's or credit note's VAT lines and items add up to its totals",
        "SELECT min('document ' || d.number) AS broken FROM documents d \
         LEFT JOIN (SELECT document_id, sum(net) AS net, sum(vat) AS vat FROM document_taxes WHERE company_id = $1 GROUP BY 1) t ON t.document_id = d.id \
         LEFT JOIN (SELECT source_id, sum(amount) AS total FROM items WHERE company_id = $1 GROUP BY 1) i ON i.source_id = d.id \
         WHERE d.company_id = $1 AND (d.net IS DISTINCT FROM t.net OR d.vat IS DISTINCT FROM t.vat OR d.total IS DISTINCT FROM i.total)",
    ),
    (
        "ITEM_NUMBERS",
        "the items of invoices and receipts bear the numbers of these: they are found by them",
        "SELECT min('item ' || i.id) AS broken FROM items i \
         LEFT JOIN documents d ON d.company_id = i.company_id AND d.id = i.source_id AND d.kind = i.kind \
         LEFT JOIN payments p ON p.company_id = i.company_id AND p.id = i.source_id AND i.kind = 'PAYMENT' \
         WHERE i.company_id = $1 AND i.kind IN ('INVOICE', 'PAYMENT') AND (i.is_debit <> (i.kind = 'INVOICE') \
           OR i.reference IS DISTINCT FROM coalesce(d.number, p.number) OR i.invoice_id IS DISTINCT FROM d.id)",
    ),
    (
        "CREDIT_NOTES",
        "credit notes never exceed their invoice at any VAT rate (R2.5)",
        "SELECT min('invoice ' || x.number) AS broken FROM (SELECT v.number, t.vat_rate FROM documents c \
           JOIN documents v ON v.company_id = c.company_id AND v.id = c.invoice_id \
           JOIN document_taxes t ON t.company_id = c.company_id AND t.document_id = c.id \
           LEFT JOIN document_taxes o ON o.company_id = v.company_id AND o.document_id = v.id AND o.vat_rate = t.vat_rate \
           WHERE c.company_id = $1 GROUP BY v.id, v.number, t.vat_rate, o.net, o.vat HAVING sum(t.net + t.vat) > coalesce(o.net + o.vat, 0)) x",
    ),
    (
        "SEALS",
        "each entry's seal is the hash of the one before and of its own content: nothing was changed, removed or put between",
        concat!(
            "SELECT least(min('entry ' || fiscal_year || '-' || lpad(number::text, 6, '0')), \
           (SELECT min('entry ' || s.fiscal_year || '-' || lpad(s.number::text, 6, '0')) FROM journal_seals s WHERE s.company_id = $1 \
              AND NOT EXISTS (SELECT FROM journal_entries e WHERE e.company_id = s.company_id AND e.id = s.entry_id))) AS broken \
         FROM (SELECT e.fiscal_year, e.number, s.seal, \
           sha256(coalesce(lag(s.seal) OVER (PARTITION BY e.fiscal_year ORDER BY e.number), chain_origin(e.company_id, e.fiscal_year)) \
             || convert_to(entry_content(ROW(e.*)::journal_entries, c.lines), 'UTF8')) AS expected \
           FROM journal_entries e LEFT JOIN journal_seals s ON s.company_id = e.company_id AND s.fiscal_year = e.fiscal_year AND s.number = e.number AND s.entry_id = e.id \
           ",
            lines!(),
            " \
           WHERE e.company_id = $1) x WHERE seal IS DISTINCT FROM expected"
        ),
    ),
    (
        "PROVISIONS",
        "account 491 holds for each client the sum of its provisions, at every date (R5.10)",
        "SELECT min('client ' || coalesce(a.client_id, b.client_id) || ' on ' || coalesce(a.posted_on, b.posted_on)) AS broken FROM \
         (SELECT client_id, posted_on, sum(base_credit - base_debit) AS s FROM journal_lines WHERE company_id = $1 AND account LIKE '491%' AND NOT carried GROUP BY 1, 2) a \
         FULL JOIN (SELECT client_id, posted_on, sum(amount) AS s FROM provision_movements WHERE company_id = $1 GROUP BY 1, 2) b \
         ON a.client_id IS NOT DISTINCT FROM b.client_id AND a.posted_on = b.posted_on WHERE coalesce(a.s, 0) <> coalesce(b.s, 0)",
    ),
    (
        "PROVISION_RUNS",
        "a posted run's clients are what its claims require and what it posted",
        "SELECT min('run ' || r.number) AS broken FROM provision_runs r \
         LEFT JOIN (SELECT run_id, sum(charge - release) AS s FROM provision_run_clients WHERE company_id = $1 GROUP BY 1) c ON c.run_id = r.id \
         LEFT JOIN (SELECT source_id, sum(amount) AS s FROM provision_movements WHERE company_id = $1 AND kind = 'RUN' GROUP BY 1) m ON m.source_id = r.id \
         WHERE r.company_id = $1 AND r.status IN ('POSTED', 'CANCELLED') AND r.posted_on IS NOT NULL AND coalesce(c.s, 0) <> coalesce(m.s, 0)",
    ),
    (
        "EXCHANGE",
        "an account settled in its own currency is settled in the company's too (2.14)",
        "SELECT min('client ' || l.client_id || ' ' || l.family || ' ' || l.currency) AS broken FROM \
         (SELECT client_id, left(account, 3) AS family, currency, sum(base_debit - base_credit) AS s FROM journal_lines \
            WHERE company_id = $1 AND NOT carried AND client_id IS NOT NULL AND left(account, 3) IN ('411', '413', '416') GROUP BY 1, 2, 3) l \
         WHERE l.s <> 0 AND NOT EXISTS (SELECT 1 FROM items i WHERE i.company_id = $1 AND i.client_id = l.client_id AND i.family = l.family::bpchar \
            AND i.currency = l.currency AND i.open_amount > 0)",
    ),
    (
        "PENDING_VAT",
        "VAT that waits on 4458 is that of invoices and deposits that wait (R2.4)",
        "SELECT min('invoice ' || d.number) AS broken FROM documents d \
         LEFT JOIN (SELECT invoice_id, sum(amount) AS s FROM vat_moves WHERE company_id = $1 GROUP BY 1) m ON m.invoice_id = d.id \
         WHERE d.company_id = $1 AND coalesce(m.s, 0) <> 0 AND (d.vat_due <> 'RECEIPTS' OR m.s < 0 OR m.s > d.vat)",
    ),
    (
        "OPENINGS",
        "the opening entries of a year repeat the balances that the year before ended with",
        "SELECT min('opening of ' || (y.fiscal_year + 1)) AS broken FROM year_closings y CROSS JOIN LATERAL ( \
           SELECT sum(l.base_debit - l.base_credit) AS s, count(*) AS n FROM journal_entries e JOIN journal_lines l ON l.company_id = e.company_id AND l.entry_id = e.id \
           WHERE e.company_id = y.company_id AND e.fiscal_year = y.fiscal_year + 1 AND e.source_kind = 'CARRY_FORWARD' AND l.account ~ '^41[136]') a \
         CROSS JOIN LATERAL (SELECT sum(l.base_debit - l.base_credit) AS s FROM journal_entries e JOIN journal_lines l ON l.company_id = e.company_id AND l.entry_id = e.id \
           WHERE e.company_id = y.company_id AND e.fiscal_year <= y.fiscal_year AND NOT l.carried AND l.account ~ '^41[136]') b \
         WHERE y.company_id = $1 AND coalesce(a.s, 0) <> coalesce(b.s, 0)",
    ),
    (
        "BANK_LINES",
        "money that came in over a bank account is one receipt of its amount, on that bank (section 13)",
        "SELECT min(broken) AS broken FROM (SELECT min('bank line ' || l.id) AS broken FROM bank_lines l JOIN bank_accounts b ON b.company_id = l.company_id AND b.id = l.bank_account_id \
         LEFT JOIN payments p ON p.company_id = l.company_id AND p.id = l.payment_id \
         WHERE l.company_id = $1 AND l.amount > 0 AND l.status IN ('AUTOMATIC', 'MATCHED', 'PROPOSED', 'ON_ACCOUNT', 'UNKNOWN') \
           AND (p.id IS NULL OR p.amount <> l.amount OR p.currency <> l.currency OR p.bank_account IS NULL OR EXISTS \
             (SELECT 1 FROM payment_events e WHERE e.company_id = $1 AND e.payment_id = p.id AND e.kind = 'REVERSED')) \
         UNION ALL SELECT min('bank line ' || l.id) FROM bank_lines l LEFT JOIN journal_lines j \
           ON j.company_id = l.company_id AND j.entry_id = l.entry_id AND j.line = l.entry_line \
         WHERE l.company_id = $1 AND l.status = 'RECONCILED' AND (j.line IS NULL OR j.account NOT LIKE '512%' OR j.debit - j.credit <> l.amount OR j.currency <> l.currency)) x",
    ),
    (
        "APPROVALS",
        "what was approved has its result and its history, and no author decided alone while duties were segregated (R12.1, R12.6)",
        "SELECT min('request ' || r.id) AS broken FROM approval_requests r \
         WHERE r.company_id = $1 AND ((r.status = 'APPROVED' AND r.result_id IS NULL) \
           OR (r.status IN ('APPROVED', 'REJECTED') AND r.segregated AND r.decided_by = r.proposed_by) \
           OR (r.status = 'REJECTED' AND coalesce(r.decision, '') = '') \
           OR NOT EXISTS (SELECT 1 FROM approval_events e WHERE e.company_id = $1 AND e.request_id = r.id AND e.kind = r.status) \
           OR (r.status = 'APPROVED' AND r.kind = 'CREDIT_NOTE' AND NOT EXISTS (SELECT 1 FROM documents d WHERE d.company_id = $1 \
             AND d.kind = 'CREDIT_NOTE' AND r.result_id = 'doc_' || replace(d.id::text, '-', '') AND d.total = r.amount AND d.currency = r.currency)))",
    ),
    (
        "UNAPPROVED",
        "while duties were segregated, no credit note above the threshold and no loss was posted without a second person (R12.1)",
        // The rules may change while a document is written: those in force at both ends of it have to ask.
        "SELECT min(broken) AS broken FROM (SELECT 'credit note ' || d.number AS broken FROM documents d \
           CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE x.segregation AND d.total > coalesce((x.thresholds->'CREDIT_NOTE'->>d.currency::text)::bigint, 0) \
               AND x.thresholds ? 'CREDIT_NOTE') AS n FROM ( \
             (SELECT q.* FROM approval_rules q WHERE q.company_id = $1 AND q.recorded_at <= d.recorded_at ORDER BY q.recorded_at DESC, q.id DESC LIMIT 1) \
             UNION ALL (SELECT q.* FROM approval_rules q WHERE q.company_id = $1 AND q.recorded_at <= d.recorded_at + interval '15 seconds' \
               ORDER BY q.recorded_at DESC, q.id DESC LIMIT 1)) x) asked \
           WHERE d.company_id = $1 AND d.kind = 'CREDIT_NOTE' AND asked.n = 2 \
             AND NOT EXISTS (SELECT 1 FROM approval_requests r WHERE r.company_id = $1 AND r.status = 'APPROVED' \
               AND r.result_id = 'doc_' || replace(d.id::text, '-', '')) \
         UNION ALL SELECT 'file ' || f.number FROM doubtful_files f WHERE f.company_id = $1 AND f.status = 'POSTED' \
           AND (SELECT q.segregation FROM approval_rules q WHERE q.company_id = $1 AND q.recorded_at <= f.decided_at \
             ORDER BY q.recorded_at DESC, q.id DESC LIMIT 1) \
           AND NOT EXISTS (SELECT 1 FROM approval_requests r WHERE r.company_id = $1 AND r.id = f.id AND r.status = 'APPROVED')) b",
    ),
    (
        "DISPUTES",
        "a dispute's parts add up to its amount",
        "SELECT min('dispute ' || d.number) AS broken FROM disputes d \
         LEFT JOIN (SELECT dispute_id, sum(amount) AS s FROM dispute_items WHERE company_id = $1 GROUP BY 1) i ON i.dispute_id = d.id \
         WHERE d.company_id = $1 AND d.amount IS DISTINCT FROM i.s",
    ),
];

/// The end of each year's chain, for an answer within seconds: the last 10,000 entries, from the seal before. Rows of each
/// year are read from the end of their key, however long the year.
pub const LATEST_SEALS: &str = concat!(
    "WITH years AS (SELECT fiscal_year FROM journal_entries WHERE company_id = $1 GROUP BY fiscal_year \
       UNION SELECT fiscal_year FROM journal_seals WHERE company_id = $1 GROUP BY fiscal_year), \
     entries AS (SELECT e.* FROM years y CROSS JOIN LATERAL (SELECT * FROM journal_entries WHERE company_id = $1 AND fiscal_year = y.fiscal_year \
       ORDER BY company_id, fiscal_year, number DESC LIMIT 10001) e), \
     seals AS (SELECT s.* FROM years y CROSS JOIN LATERAL (SELECT * FROM journal_seals WHERE company_id = $1 AND fiscal_year = y.fiscal_year \
       ORDER BY company_id, fiscal_year, number DESC LIMIT 10001) s) \
     SELECT min('entry ' || fiscal_year || '-' || lpad(number::text, 6, '0')) AS broken FROM ( \
       SELECT e.fiscal_year, e.number FROM entries e \
         LEFT JOIN (SELECT fiscal_year, min(number) AS number FROM seals GROUP BY fiscal_year) first ON first.fiscal_year = e.fiscal_year \
         LEFT JOIN seals s ON s.fiscal_year = e.fiscal_year AND s.number = e.number AND s.entry_id = e.id \
         LEFT JOIN seals p ON p.fiscal_year = e.fiscal_year AND p.number = e.number - 1 \
         ",
    lines!(),
    " \
       WHERE (e.number = 1 OR e.number > coalesce(first.number, 0)) AND s.seal IS DISTINCT FROM \
         sha256(coalesce(p.seal, chain_origin(e.company_id, e.fiscal_year)) || convert_to(entry_content(ROW(e.*)::journal_entries, c.lines), 'UTF8')) \
     UNION ALL SELECT s.fiscal_year, s.number FROM seals s \
       LEFT JOIN (SELECT fiscal_year, min(number) AS number FROM entries GROUP BY fiscal_year) first ON first.fiscal_year = s.fiscal_year \
       WHERE s.number >= coalesce(first.number, 0) AND NOT EXISTS (SELECT FROM entries e WHERE e.id = s.entry_id)) x"
);

#[derive(QueryableByName)]
struct Broken {
    #[diesel(sql_type = Nullable<Text>)]
    broken: Option<String>,
}

/// Does what checks with joins by hashing, in a transaction.
///
/// A check reads all that a company has of a table, so that this costs the same whatever the planner believes. Of a company
/// that it does not know yet it expects one row of each, and would go through all the rows of one table for each row of the
/// other: minutes for a few thousand invoices.
pub fn by_hashing<T>(
    conn: &mut PgConnection,
    work: impl FnOnce(&mut PgConnection) -> QueryResult<T>,
) -> QueryResult<T> {
    conn.batch_execute("SET LOCAL enable_nestloop = off")?;
    let done = work(conn)?;
    // The rest of a document is read in the same transaction.
    conn.batch_execute("SET LOCAL enable_nestloop TO DEFAULT")?;
    Ok(done)
}

/// The first fact that breaks the check, if any.
pub fn first_broken(
    conn: &mut PgConnection,
    company: CompanyId,
    statement: &str,
) -> QueryResult<Option<String>> {
    let row: Broken = diesel::sql_query(statement)
        .bind::<SqlUuid, _>(company)
        .get_result(conn)?;
    Ok(row.broken)
}
