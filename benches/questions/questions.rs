//! The questions, as a client asks them and as the best single SQL statement that we know answers them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::raw::Database;

/// A question for reading.
pub struct Question {
    pub name: &'static str,
    pub what: &'static str,
    /// GraphQL: document and variables.
    pub body: String,
    pub sql: String,
    /// The figures of an answer, in the form that the SQL gives them too.
    pub figures: fn(&Value) -> Vec<String>,
    /// Makes the lines of the SQL's answer comparable.
    pub rows: fn(&str) -> Vec<String>,
}

impl Question {
    /// The question as nobody has asked it yet: the server may keep its answer to one that was asked before.
    pub fn anew(&self) -> String {
        static ASKED: AtomicU64 = AtomicU64::new(0);
        let turn = ASKED.fetch_add(1, Ordering::Relaxed);
        self.body
            .replacen("\"query\":\"", &format!("\"query\":\"# {turn}\\n"), 1)
    }

    /// Whether the server may keep its answer while nothing changes.
    pub fn is_kept(&self) -> bool {
        self.name == "Q3"
    }
}

fn body(document: &str, variables: Value) -> String {
    json!({ "query": document, "variables": variables }).to_string()
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// `1234.50` as minor units.
fn cents(value: &Value) -> String {
    let digits = text(value).replace('.', "");
    digits
        .parse::<i64>()
        .map_or(digits, |minor| minor.to_string())
}

fn lines(answer: &str) -> Vec<String> {
    answer.lines().map(str::to_owned).collect()
}

fn totals(answer: &Value) -> Vec<String> {
    let totals = answer["data"]["agedBalance"]["totals"].as_array();
    totals
        .into_iter()
        .flatten()
        .map(|total| {
            let mut figures: Vec<String> = total["buckets"]
                .as_array()
                .into_iter()
                .flatten()
                .map(cents)
                .collect();
            figures.extend(["unallocated", "total", "overdue"].map(|name| cents(&total[name])));
            figures.join("|")
        })
        .collect()
}

fn clients(answer: &Value) -> Vec<String> {
    let rows = answer["data"]["agedBalance"]["rows"]["nodes"].as_array();
    rows.into_iter()
        .flatten()
        .map(|row| {
            let mut figures = vec![text(&row["client"]["number"])];
            figures.extend(row["buckets"].as_array().into_iter().flatten().map(cents));
            figures.extend(["total", "overdue"].map(|name| cents(&row[name])));
            figures.join("|")
        })
        .collect()
}

const TOTALS: &str = "query($on: Date!) { agedBalance(asOf: $on) { totals { currency buckets unallocated total overdue } } }";
const CLIENTS: &str = "query($on: Date!) { agedBalance(asOf: $on) { rows(first: 50) { nodes { client { number name } buckets total overdue } } } }";
const NESTED: &str = "{ clients(first: 20) { nodes { number name invoices(first: 10) { nodes { number total
  creditNotes(first: 5) { nodes { number total } } deductions(first: 5) { nodes { number amount } }
  disputes(first: 5) { nodes { number amount } } allocations(first: 5) { nodes { amount } } } } } } }";
const PROVISION: &str = "query($on: Date!) { doubtfulDebtProvision(asOf: $on, policy: { bounds: [30, 60, 90], rates: [\"0\", \"1\", \"5\", \"15\", \"40\"] }) {
  totals { currency base required } clients(first: 50) { nodes { client { number } required } } } }";

/// The buckets of 30, 60 and 90 days over an amount, a due day and a day.
fn buckets(amount: &str, due: &str, on: &str) -> String {
    let mut columns = Vec::new();
    for (from, to) in [
        (None, Some(0)),
        (Some(1), Some(30)),
        (Some(31), Some(60)),
        (Some(61), Some(90)),
        (Some(91), None),
    ] {
        let from = from.map_or(String::new(), |from: i32| {
            format!(" AND {due} <= DATE '{on}' - {from}")
        });
        let to = to.map_or(String::new(), |to: i32| {
            format!(" AND {due} >= DATE '{on}' - {to}")
        });
        columns.push(format!(
            "coalesce(sum({amount}) FILTER (WHERE is_debit{from}{to}), 0)"
        ));
    }
    columns.join(", ")
}

/// What is open on a past day: items posted by then and not settled by then, with their ledger until then.
fn then(company: &str, on: &str) -> String {
    format!(
        "(SELECT i.client_id, i.is_debit, i.due_on, s.open FROM items i CROSS JOIN LATERAL \
           (SELECT sum(l.delta)::bigint AS open FROM receivable_ledger l WHERE l.company_id = '{company}' AND l.item_id = i.id AND l.effective_on <= DATE '{on}') s \
         WHERE i.company_id = '{company}' AND i.posted_on <= DATE '{on}' AND (i.settled_on IS NULL OR i.settled_on > DATE '{on}') AND i.family IN ('411', '416') AND s.open <> 0)"
    )
}

/// What is open now, from the covering index of the open items.
fn now(company: &str) -> String {
    format!(
        "(SELECT client_id, is_debit, due_on, CASE WHEN is_debit THEN open_amount ELSE -open_amount END AS open \
         FROM items WHERE company_id = '{company}' AND open_amount > 0 AND family IN ('411', '416'))"
    )
}

fn totals_sql(open: &str, on: &str) -> String {
    format!(
        "SELECT {}, coalesce(sum(open) FILTER (WHERE NOT is_debit), 0), sum(open), coalesce(sum(open) FILTER (WHERE is_debit AND due_on < DATE '{on}'), 0) FROM {open} o",
        buckets("open", "due_on", on)
    )
}

fn clients_sql(company: &str, open: &str, on: &str) -> String {
    format!(
        "SELECT c.number, b.* FROM (SELECT {}, sum(open) AS total, coalesce(sum(open) FILTER (WHERE is_debit AND due_on < DATE '{on}'), 0) AS overdue, client_id \
           FROM {open} o GROUP BY client_id ORDER BY overdue DESC, client_id DESC LIMIT 50) b \
         JOIN clients c ON c.company_id = '{company}' AND c.id = b.client_id ORDER BY b.overdue DESC, b.client_id DESC",
        buckets("open", "due_on", on)
    )
}

/// Drops the client's id at the end of a line.
fn without_id(answer: &str) -> Vec<String> {
    let cut = |line: &str| {
        line.rsplit_once('|')
            .map_or(line, |(figures, _)| figures)
            .to_owned()
    };
    answer.lines().map(cut).collect()
}

/// The lines of a year as its FEC has them, joined as sets.
pub fn copied_year(company: &str, year: i32) -> String {
    format!(
        "COPY (SELECT e.journal, j.label, e.number, e.posted_on, l.account, c.number, coalesce(x.name, c.name), e.reference, e.occurred_on, e.label, \
             l.base_debit, l.base_credit, m.code, g.settled_on, (e.recorded_at AT TIME ZONE 'Europe/Paris')::date, i.due_on, l.debit, l.credit, l.currency \
           FROM journal_entries e \
           JOIN journals j ON j.company_id = '{company}' AND j.code = e.journal \
           JOIN journal_lines l ON l.company_id = '{company}' AND l.entry_id = e.id \
           LEFT JOIN clients c ON c.company_id = '{company}' AND c.id = l.client_id \
           LEFT JOIN legal_archive x ON x.company_id = '{company}' AND x.client_id = l.client_id \
           LEFT JOIN items i ON i.company_id = '{company}' AND i.entry_id = l.entry_id AND i.entry_line = l.line \
           LEFT JOIN matchings m ON m.company_id = '{company}' AND m.id = i.matching_id AND m.complete \
           LEFT JOIN (SELECT matching_id, max(settled_on) AS settled_on FROM items WHERE company_id = '{company}' AND matching_id IS NOT NULL \
             GROUP BY matching_id) g ON g.matching_id = m.id \
           WHERE e.company_id = '{company}' AND e.fiscal_year = {year} ORDER BY e.number, l.line) TO STDOUT"
    )
}

/// The questions that read, for a company, today and a day 18 months back.
pub fn reading(company: &str, today: &str, back: &str, search: &str) -> Vec<Question> {
    let nested = format!(
        "SELECT json_agg(row_to_json(p)) FROM (SELECT c.number, c.name, (SELECT json_agg(row_to_json(q)) FROM ( \
           SELECT d.number, d.total, \
             (SELECT json_agg(json_build_object('number', n.number, 'total', n.total)) FROM (SELECT * FROM documents n WHERE n.company_id = '{company}' AND n.invoice_id = d.id AND n.kind = 'CREDIT_NOTE' ORDER BY n.id DESC LIMIT 5) n) AS credit_notes, \
             (SELECT json_agg(json_build_object('number', x.number, 'amount', x.amount)) FROM (SELECT * FROM deductions x WHERE x.company_id = '{company}' AND x.invoice_id = d.id ORDER BY x.id DESC LIMIT 5) x) AS deductions, \
             (SELECT json_agg(json_build_object('number', x.number, 'amount', x.amount)) FROM (SELECT * FROM disputes x WHERE x.company_id = '{company}' AND x.invoice_id = d.id ORDER BY x.id DESC LIMIT 5) x) AS disputes, \
             (SELECT json_agg(json_build_object('amount', a.amount)) FROM (SELECT a.* FROM items i JOIN allocations a ON a.company_id = i.company_id AND a.debit_item_id = i.id WHERE i.company_id = '{company}' AND i.source_id = d.id ORDER BY a.id DESC LIMIT 5) a) AS allocations \
           FROM documents d WHERE d.company_id = '{company}' AND d.client_id = c.id AND d.kind = 'INVOICE' ORDER BY d.issued_on DESC, d.id DESC LIMIT 10) q) AS invoices \
         FROM clients c WHERE c.company_id = '{company}' ORDER BY c.number LIMIT 20) p"
    );
    let of_client =
        format!("(SELECT id FROM clients WHERE company_id = '{company}' ORDER BY number LIMIT 1)");
    vec![
        Question {
            name: "Q1",
            what: "totals today",
            body: body(TOTALS, json!({ "on": today })),
            sql: totals_sql(&now(company), today),
            figures: totals,
            rows: lines,
        },
        Question {
            name: "Q2",
            what: "first 50 clients by overdue",
            body: body(CLIENTS, json!({ "on": today })),
            sql: clients_sql(company, &now(company), today),
            figures: clients,
            rows: without_id,
        },
        Question {
            name: "Q3",
            what: "20 clients x 10 invoices, four lists each",
            body: body(NESTED, json!({})),
            sql: nested,
            figures: nested_figures,
            rows: nested_rows,
        },
        Question {
            name: "Q4",
            what: "provision by matrix, totals and first page",
            body: body(PROVISION, json!({ "on": today })),
            sql: provision_sql(company, today),
            figures: |answer| {
                let totals = answer["data"]["doubtfulDebtProvision"]["totals"].as_array();
                totals
                    .into_iter()
                    .flatten()
                    .map(|total| cents(&total["required"]))
                    .collect()
            },
            rows: lines,
        },
        Question {
            name: "Q5a",
            what: "totals 18 months back",
            body: body(TOTALS, json!({ "on": back })),
            sql: totals_sql(&then(company, back), back),
            figures: totals,
            rows: lines,
        },
        Question {
            name: "Q5b",
            what: "first 50 clients 18 months back",
            body: body(CLIENTS, json!({ "on": back })),
            sql: clients_sql(company, &then(company, back), back),
            figures: clients,
            rows: without_id,
        },
        Question {
            name: "Q6",
            what: "open items of one client 18 months back",
            body: body(
                "query($on: Date!) { clients(first: 1) { nodes { openItems(asOf: $on, first: 50) { nodes { reference open dueOn } } } } }",
                json!({ "on": back }),
            ),
            sql: format!(
                "SELECT i.reference, s.open FROM items i CROSS JOIN LATERAL (SELECT sum(l.delta)::bigint AS open FROM receivable_ledger l \
                   WHERE l.company_id = '{company}' AND l.item_id = i.id AND l.effective_on <= DATE '{back}') s \
                 WHERE i.company_id = '{company}' AND i.client_id = {of_client} AND i.posted_on <= DATE '{back}' AND (i.settled_on IS NULL OR i.settled_on > DATE '{back}') \
                   AND i.family IN ('411', '416') AND s.open <> 0 ORDER BY coalesce(i.due_on, i.posted_on), i.id LIMIT 50"
            ),
            figures: |answer| {
                let client = &answer["data"]["clients"]["nodes"][0]["openItems"]["nodes"];
                client
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|item| format!("{}|{}", text(&item["reference"]), cents(&item["open"])))
                    .collect()
            },
            rows: lines,
        },
        Question {
            name: "Q7",
            what: "search of invoices by part of a number, open ones",
            body: body(
                "query($search: String!) { invoices(filter: { search: $search, open: true }, first: 20, orderBy: { field: ISSUED_ON, direction: DESC }) { nodes { number total } } }",
                json!({ "search": search }),
            ),
            sql: format!(
                "SELECT d.number, d.total FROM documents d WHERE d.company_id = '{company}' AND d.kind = 'INVOICE' \
                   AND (d.number ILIKE '%{search}%' OR d.client_id IN (SELECT c.id FROM clients c WHERE c.company_id = '{company}' AND c.name ILIKE '%{search}%')) \
                   AND EXISTS (SELECT 1 FROM items i WHERE i.company_id = '{company}' AND i.source_id = d.id AND i.open_amount > 0) \
                 ORDER BY d.issued_on DESC, d.id DESC LIMIT 20"
            ),
            figures: |answer| {
                let nodes = answer["data"]["invoices"]["nodes"].as_array();
                nodes
                    .into_iter()
                    .flatten()
                    .map(|node| format!("{}|{}", text(&node["number"]), cents(&node["total"])))
                    .collect()
            },
            rows: lines,
        },
    ]
}

/// The matrix over undisputed claims alone: what the raw statement can say in one piece. Estimates, credits,
/// insurance and insolvency are rules per client that it leaves out, so the figures are compared on the base.
fn provision_sql(company: &str, on: &str) -> String {
    format!(
        "SELECT sum(round(round(open_amount::numeric * document_net / document_total) * rate / 100))::bigint FROM ( \
           SELECT open_amount, document_net, document_total, (ARRAY[0, 1, 5, 15, 40])[1 + width_bucket(DATE '{on}' - due_on, ARRAY[1, 31, 61, 91])] AS rate \
           FROM items WHERE company_id = '{company}' AND open_amount > 0 AND is_debit AND family IN ('411', '416')) c"
    )
}

fn counted(
    invoices: &Value,
    names: [&str; 4],
    nodes: fn(&Value) -> Option<&Vec<Value>>,
) -> BTreeMap<String, Vec<usize>> {
    let list = nodes(invoices).cloned().unwrap_or_default();
    list.iter()
        .map(|invoice| {
            let counts = names.map(|name| nodes(&invoice[name]).map_or(0, Vec::len));
            (text(&invoice["number"]), counts.to_vec())
        })
        .collect()
}

fn nested_figures(answer: &Value) -> Vec<String> {
    let clients = answer["data"]["clients"]["nodes"].as_array();
    let names = ["creditNotes", "deductions", "disputes", "allocations"];
    clients
        .into_iter()
        .flatten()
        .map(|client| {
            let counts = counted(&client["invoices"], names, |list| list["nodes"].as_array());
            format!("{} {counts:?}", text(&client["number"]))
        })
        .collect()
}

fn nested_rows(answer: &str) -> Vec<String> {
    let parsed: Value = serde_json::from_str(answer).unwrap_or_default();
    let names = ["credit_notes", "deductions", "disputes", "allocations"];
    parsed
        .as_array()
        .into_iter()
        .flatten()
        .map(|client| {
            let counts = counted(&client["invoices"], names, Value::as_array);
            format!("{} {counts:?}", text(&client["number"]))
        })
        .collect()
}

/// Everything the writing questions need: some clients, and their numbers for the API.
pub struct Writing {
    pub company: String,
    pub clients: Vec<(String, String)>,
    pub today: String,
}

impl Writing {
    pub fn of(database: &Database, company: &str, today: &str) -> Result<Writing> {
        let rows = database.ask(&format!(
            "SELECT id, number FROM clients WHERE company_id = '{company}' AND closed_on IS NULL ORDER BY number LIMIT 200"
        ))?;
        let clients = rows
            .lines()
            .map(|row| {
                let (id, number) = row.split_once('|').context("a client")?;
                Ok((id.to_owned(), number.to_owned()))
            })
            .collect::<Result<_>>()?;
        Ok(Writing {
            company: company.to_owned(),
            clients,
            today: today.to_owned(),
        })
    }

    /// M1: an invoice of one line.
    pub fn invoice(&self, connection: usize, turn: usize) -> String {
        let (_, number) = &self.clients[(connection * 31 + turn) % self.clients.len()];
        body(
            "mutation($input: IssueInvoiceInput!) { issueInvoice(input: $input) { invoice { id number total } userErrors { code field message } } }",
            json!({ "input": { "client": { "number": number }, "issuedOn": self.today, "dueOn": self.today,
                "lines": [{ "description": "Prestation", "quantity": "1", "unitPrice": "100.00", "vatRate": "20" }] } }),
        )
    }

    /// M2: a receipt laid on three invoices.
    pub fn receipt(&self, invoices: &[String], number: &str) -> String {
        let lines: Vec<Value> = invoices
            .iter()
            .map(|invoice| json!({ "debit": { "number": invoice }, "amount": "1.00" }))
            .collect();
        body(
            "mutation($input: RecordPaymentInput!) { recordPayment(input: $input) { payment { number } allocations { id } userErrors { code field message } } }",
            json!({ "input": { "client": { "number": number }, "receivedOn": self.today, "method": "TRANSFER", "amount": "3.00", "allocations": lines } }),
        )
    }

    /// M3: a deduction of two euros from an invoice.
    pub fn deduction(&self, invoice: &str) -> String {
        body(
            "mutation($input: RecordDeductionInput!) { recordDeduction(input: $input) { deduction { number } userErrors { code field message } } }",
            json!({ "input": { "invoice": { "number": invoice }, "amount": "2.00", "reason": "BPRX", "recordedOn": self.today, "description": "Retenue" } }),
        )
    }

    /// The nine bare statements of a receipt on three invoices: its number, one insert per table, and what is left
    /// open of the invoices. Each connection pays those of its own row in `bench_targets`.
    pub fn raw_receipt(&self, series: &str) -> String {
        let (company, today) = (&self.company, &self.today);
        let debit =
            |letter: char| format!("(SELECT {letter} FROM bench_targets WHERE n = :client_id)");
        let client = "(SELECT client FROM bench_targets WHERE n = :client_id)";
        let allocation = |id: char| {
            format!(
                "('{company}', gen_random_uuid(), {client}, {}, :item, 100, 'EUR', '{today}', '{today}', 'BENCH', 'bench')",
                debit(id)
            )
        };
        let paid = |id: char| {
            format!(
                "('{company}', gen_random_uuid(), {}, {client}, 'EUR', true, DATE '{today}', '{today}', -100), \
              ('{company}', gen_random_uuid(), :item, {client}, 'EUR', false, NULL, '{today}', 100)",
                debit(id)
            )
        };
        format!(
            "SELECT gen_random_uuid() AS pay, gen_random_uuid() AS entry, gen_random_uuid() AS item \\gset
BEGIN;
UPDATE counters SET last_number = last_number + 1 WHERE company_id = '{company}' AND series = '{series}' RETURNING last_number AS n \\gset
INSERT INTO payments (company_id, id, number, external_series, received_on, method, amount, currency, exchange_rate, client_id, recorded_by)
  VALUES ('{company}', :pay, '{series}-' || :n, false, '{today}', 'TRANSFER', 300, 'EUR', 1, {client}, 'bench');
INSERT INTO journal_entries (company_id, id, journal, fiscal_year, number, posted_on, occurred_on, reference, label, source_kind, source_id, recorded_by)
  VALUES ('{company}', :entry, 'BQ', 1901, :n, '{today}', '{today}', '{series}-' || :n, 'Règlement', 'PAYMENT', :pay, 'bench');
INSERT INTO journal_lines (company_id, entry_id, line, account, client_id, debit, credit, currency, base_debit, base_credit, posted_on)
  VALUES ('{company}', :entry, 1, '512', NULL, 300, 0, 'EUR', 300, 0, '{today}'), ('{company}', :entry, 2, '411', {client}, 0, 300, 'EUR', 0, 300, '{today}');
INSERT INTO items (company_id, id, client_id, family, kind, is_debit, reference, source_id, entry_id, entry_line, posted_on, invoiced_on, amount, currency, document_net, document_total, open_amount, settled_on)
  VALUES ('{company}', :item, {client}, '411', 'PAYMENT', false, '{series}-' || :n, :pay, :entry, 2, '{today}', '{today}', 300, 'EUR', 300, 300, 0, '{today}');
INSERT INTO allocations (company_id, id, client_id, debit_item_id, credit_item_id, amount, currency, allocated_on, effective_on, rule, recorded_by)
  VALUES {}, {}, {};
INSERT INTO receivable_ledger (company_id, id, item_id, client_id, currency, is_debit, due_on, effective_on, delta)
  VALUES ('{company}', gen_random_uuid(), :item, {client}, 'EUR', false, NULL, '{today}', -300), {}, {}, {};
UPDATE items SET open_amount = open_amount - 100, changed_at = now() WHERE company_id = '{company}' AND id IN ({}, {}, {});
INSERT INTO matchings (company_id, id, client_id, family, currency, code, residual, complete) VALUES ('{company}', gen_random_uuid(), {client}, '411', 'EUR', 'BENCH' || translate((:n)::text, '0123456789', 'ABCDEFGHIJ'), 1, false);
COMMIT;
",
            allocation('a'), allocation('b'), allocation('c'), paid('a'), paid('b'), paid('c'), debit('a'), debit('b'), debit('c')
        )
    }

    /// The bare statements of an invoice: its number, and one insert per table.
    pub fn raw_invoice(&self, series: &str) -> String {
        let (client, _) = &self.clients[0];
        let (company, today) = (&self.company, &self.today);
        format!(
            "SELECT gen_random_uuid() AS doc, gen_random_uuid() AS entry, gen_random_uuid() AS item \\gset
BEGIN;
UPDATE counters SET last_number = last_number + 1 WHERE company_id = '{company}' AND series = '{series}' RETURNING last_number AS n \\gset
INSERT INTO documents (company_id, id, kind, number, external_series, client_id, issued_on, due_on, currency, net, vat, total, exchange_rate, snapshot, recorded_by)
  VALUES ('{company}', :doc, 'INVOICE', '{series}-' || :n, false, '{client}', '{today}', '{today}', 'EUR', 10000, 2000, 12000, 1, '{{}}', 'bench');
INSERT INTO document_lines (company_id, document_id, line, description, quantity, unit_price, vat_rate, net, account)
  VALUES ('{company}', :doc, 1, 'Prestation', 1, 100, 20, 10000, '706');
INSERT INTO document_taxes (company_id, document_id, vat_rate, net, vat) VALUES ('{company}', :doc, 20, 10000, 2000);
INSERT INTO journal_entries (company_id, id, journal, fiscal_year, number, posted_on, occurred_on, reference, label, source_kind, source_id, recorded_by)
  VALUES ('{company}', :entry, 'VE', 1900, :n, '{today}', '{today}', '{series}-' || :n, 'Facture', 'INVOICE', :doc, 'bench');
INSERT INTO journal_lines (company_id, entry_id, line, account, client_id, debit, credit, currency, base_debit, base_credit, posted_on)
  VALUES ('{company}', :entry, 1, '411', '{client}', 12000, 0, 'EUR', 12000, 0, '{today}'), ('{company}', :entry, 2, '706', NULL, 0, 10000, 'EUR', 0, 10000, '{today}'),
         ('{company}', :entry, 3, '44571', NULL, 0, 2000, 'EUR', 0, 2000, '{today}');
INSERT INTO items (company_id, id, client_id, family, kind, is_debit, reference, source_id, invoice_id, entry_id, entry_line, posted_on, invoiced_on, due_on, amount, currency, document_net, document_total, open_amount)
  VALUES ('{company}', :item, '{client}', '411', 'INVOICE', true, '{series}-' || :n, :doc, :doc, :entry, 1, '{today}', '{today}', '{today}', 12000, 'EUR', 10000, 12000, 12000);
INSERT INTO receivable_ledger (company_id, id, item_id, client_id, currency, is_debit, due_on, effective_on, delta)
  VALUES ('{company}', gen_random_uuid(), :item, '{client}', 'EUR', true, '{today}', '{today}', 12000);
COMMIT;
"
        )
    }
}
