//! Tables of the books as files: CSV for spreadsheets and BI tools, JSON lines for scripts.
//!
//! A file is one snapshot, written page by page: memory does not grow with it.

use std::io::{self, Write};

use chrono::{NaiveDate, SecondsFormat};
use diesel::pg::PgConnection;
use serde_json::{Map, Value, json};

use super::balances::Balances;
use crate::domain::access::{Caller, codes};
use crate::domain::audit;
use crate::domain::hex::hex;
use crate::domain::ids::{Id, UserId};
use crate::domain::money::Currency;
use crate::error::{Error, Result};
use crate::service::books;
use crate::store::aging::{Layout, Population, RowSort};
use crate::store::audit::{Entry, Filter};
use crate::store::export::{self, Holds, Table, Wanted};
use crate::store::list::{Direction, Keyset};
use crate::store::{self};

/// Rows read at a time.
const PAGE: i64 = 2_000;
/// The buckets of the aged balance: their names, and from how many days past due each runs.
const BUCKETS: [(&str, i32); 4] = [
    ("overdue1To30", 1),
    ("overdue31To60", 31),
    ("overdue61To90", 61),
    ("overdueOver90", 91),
];

/// The columns of the audit trail: the fields of `AuditEntry`.
const TRAIL: [(&str, Holds); 18] = [
    ("ordinal", Holds::Value),
    ("seal", Holds::Value),
    ("at", Holds::Value),
    ("action", Holds::Value),
    ("recordType", Holds::Value),
    ("recordId", Holds::Words),
    ("clientId", Holds::Value),
    ("actorKind", Holds::Value),
    ("actorId", Holds::Value),
    ("actor", Holds::Words),
    ("role", Holds::Value),
    ("operation", Holds::Words),
    ("requestId", Holds::Words),
    ("address", Holds::Words),
    ("transaction", Holds::Value),
    ("before", Holds::Object),
    ("after", Holds::Object),
    ("details", Holds::Object),
];

codes! {
    /// How a file is written; the code is the ending of its name.
    Form {
        /// RFC 4180: commas, a header, CRLF; UTF-8.
        Csv = "csv",
        /// A JSON object a line.
        JsonLines = "jsonl",
    }
}

/// Writes a table; how many rows it has.
pub fn write(
    conn: &mut PgConnection,
    caller: &Caller,
    balances: &Balances,
    table: Table,
    wanted: &Wanted,
    form: Form,
    out: impl Write,
) -> Result<u64> {
    let mut file = Sheet::new(out, form, columns(table));
    match table {
        Table::AgedBalance => aged(conn, caller, balances, wanted.as_of, &mut file)?,
        Table::AuditTrail => trail(conn, caller, wanted, &mut file)?,
        _ => listed(conn, caller, table, wanted, &mut file)?,
    }
    file.finish()
}

/// The columns of a file, in order.
pub fn columns(table: Table) -> Vec<(&'static str, Holds)> {
    match table {
        Table::AgedBalance => aged_columns(),
        Table::AuditTrail => TRAIL.to_vec(),
        _ => {
            let columns = table.columns().iter();
            columns.map(|(name, holds, _)| (*name, *holds)).collect()
        }
    }
}

fn aged_columns() -> Vec<(&'static str, Holds)> {
    let mut columns = vec![
        ("asOf", Holds::Value),
        ("clientNumber", Holds::Words),
        ("clientName", Holds::Words),
        ("currency", Holds::Value),
        ("notDue", Holds::Value),
    ];
    columns.extend(BUCKETS.map(|(name, _)| (name, Holds::Value)));
    columns
        .extend(["unallocated", "total", "overdue", "disputed"].map(|name| (name, Holds::Value)));
    columns
}

fn listed(
    conn: &mut PgConnection,
    caller: &Caller,
    table: Table,
    wanted: &Wanted,
    file: &mut Sheet<impl Write>,
) -> Result<()> {
    let mut behind = None;
    loop {
        let rows = export::rows(conn, caller.company, table, wanted, behind, PAGE)?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        behind = Some(last.id);
        for row in rows {
            file.row(row.cells)?;
        }
    }
}

/// The aged balance as `agedBalance` answers it by default, by client number.
fn aged(
    conn: &mut PgConnection,
    caller: &Caller,
    balances: &Balances,
    as_of: NaiveDate,
    file: &mut Sheet<impl Write>,
) -> Result<()> {
    let population = Population::of(caller.company, as_of);
    let layout = Layout {
        by_due_date: true,
        lower_bounds: BUCKETS.map(|(_, from)| from).to_vec(),
        credits_by_own_date: false,
        exclude_disputed: false,
    };
    let mut page = Keyset {
        size: PAGE,
        from: None,
        backward: false,
    };
    loop {
        let (rows, more) = balances.rows(
            conn,
            caller,
            &population,
            &layout,
            RowSort::Number,
            Direction::Ascending,
            &page,
        )?;
        let ids: Vec<_> = rows
            .iter()
            .map(|row| crate::domain::ids::ClientId(row.id))
            .collect();
        let clients = store::client::by_ids(conn, caller.company, &ids)?;
        let clients: std::collections::HashMap<_, _> = clients
            .into_iter()
            .map(|client| (client.id.0, client))
            .collect();
        for row in &rows {
            let client = clients
                .get(&row.id)
                .ok_or_else(|| Error::Internal("a balance without its client".into()))?;
            let currency = books::currency(&row.currency)?;
            file.row(cells(as_of, &client.number, &client.name, currency, row))?;
        }
        match rows.last() {
            Some(last) if more => {
                page.from = Some((format!("{}{}", last.currency, last.sort), last.id));
            }
            _ => return Ok(()),
        }
    }
}

fn cells(
    as_of: NaiveDate,
    number: &str,
    name: &str,
    currency: Currency,
    row: &store::aging::Row,
) -> Vec<Option<String>> {
    let amounts =
        row.buckets
            .iter()
            .chain([&row.unallocated, &row.total, &row.overdue, &row.disputed]);
    let mut cells = vec![
        as_of.to_string(),
        number.to_owned(),
        name.to_owned(),
        currency.code().to_owned(),
    ];
    cells.extend(amounts.map(|amount| currency.decimal(*amount).to_string()));
    cells.into_iter().map(Some).collect()
}

/// The audit trail in the order of its instants, from one on.
fn trail(
    conn: &mut PgConnection,
    caller: &Caller,
    wanted: &Wanted,
    file: &mut Sheet<impl Write>,
) -> Result<()> {
    let filter = Filter {
        from: wanted.updated_since,
        ..Filter::default()
    };
    let mut page = Keyset {
        size: PAGE,
        from: None,
        backward: false,
    };
    loop {
        let company = caller.company;
        let (entries, more) =
            store::audit::page(conn, company, &filter, Direction::Ascending, &page)?;
        page.from = entries
            .last()
            .map(|last| (last.micros.to_string(), store::audit::number(last.seq)));
        for entry in entries {
            file.row(told(entry))?;
        }
        if !more {
            return Ok(());
        }
    }
}

fn told(entry: Entry) -> Vec<Option<String>> {
    let json = |value: Option<Value>| value.map(|value| value.to_string());
    vec![
        entry.ordinal.map(|ordinal| ordinal.to_string()),
        entry.seal.map(|seal| hex(&seal)),
        Some(entry.at.to_rfc3339_opts(SecondsFormat::Micros, true)),
        Some(entry.action),
        Some(entry.record_type.clone()),
        Some(audit::shown(&entry.record_type, &entry.record_id)),
        entry.client_id.map(|client| client.show()),
        Some(entry.actor_kind),
        entry.actor_id.map(|person| UserId(person).show()),
        Some(entry.actor),
        entry.role,
        entry.operation,
        entry.request_id,
        entry.address,
        Some(entry.xid.to_string()),
        json(entry.before),
        json(entry.after),
        json(entry.details),
    ]
}

/// A file under construction.
struct Sheet<W: Write> {
    columns: Vec<(&'static str, Holds)>,
    written: Written<W>,
    rows: u64,
}

enum Written<W: Write> {
    Csv(Box<csv::Writer<W>>),
    JsonLines(W),
}

fn broken(error: &io::Error) -> Error {
    Error::of_file("a table was not written", error)
}

impl<W: Write> Sheet<W> {
    fn new(out: W, form: Form, columns: Vec<(&'static str, Holds)>) -> Sheet<W> {
        let written = match form {
            Form::Csv => Written::Csv(Box::new(
                csv::WriterBuilder::new()
                    .terminator(csv::Terminator::CRLF)
                    .from_writer(out),
            )),
            Form::JsonLines => Written::JsonLines(out),
        };
        Sheet {
            columns,
            written,
            rows: 0,
        }
    }

    fn head(&mut self) -> Result<()> {
        if let (0, Written::Csv(csv)) = (self.rows, &mut self.written) {
            csv.write_record(self.columns.iter().map(|(name, _)| name))
                .map_err(|error| broken(&error.into()))?;
        }
        Ok(())
    }

    fn row(&mut self, cells: Vec<Option<String>>) -> Result<()> {
        self.head()?;
        self.rows += 1;
        match &mut self.written {
            Written::Csv(csv) => {
                let shown = self.columns.iter().zip(&cells).map(|((_, holds), cell)| {
                    let text = cell.as_deref().unwrap_or_default();
                    match holds {
                        Holds::Words => neutral(text),
                        Holds::Value | Holds::Object => text.to_owned(),
                    }
                });
                csv.write_record(shown)
                    .map_err(|error| broken(&error.into()))
            }
            Written::JsonLines(out) => {
                let object: Map<String, Value> = self
                    .columns
                    .iter()
                    .zip(cells)
                    .map(|((name, holds), cell)| Ok(((*name).to_owned(), value(*holds, cell)?)))
                    .collect::<Result<_>>()?;
                serde_json::to_writer(&mut *out, &object)
                    .map_err(io::Error::from)
                    .and_then(|()| out.write_all(b"\n"))
                    .map_err(|error| broken(&error))
            }
        }
    }

    fn finish(mut self) -> Result<u64> {
        self.head()?;
        let flushed = match &mut self.written {
            Written::Csv(csv) => csv.flush(),
            Written::JsonLines(out) => out.flush(),
        };
        flushed.map_err(|error| broken(&error))?;
        Ok(self.rows)
    }
}

/// A cell in a JSON line.
fn value(holds: Holds, cell: Option<String>) -> Result<Value> {
    match (holds, cell) {
        (Holds::Object, Some(text)) => serde_json::from_str(&text)
            .map_err(|error| Error::Internal(format!("a cell of JSON: {error}"))),
        (_, cell) => Ok(json!(cell)),
    }
}

/// A text that no spreadsheet runs: what begins like a formula gets an apostrophe before it (CWE-1236).
fn neutral(text: &str) -> String {
    let is_formula = text.starts_with([
        '=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
    ]);
    if is_formula {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(form: Form, rows: Vec<Vec<Option<String>>>) -> String {
        let mut out = Vec::new();
        let mut sheet = Sheet::new(
            &mut out,
            form,
            vec![("name", Holds::Words), ("amount", Holds::Value)],
        );
        for row in rows {
            sheet.row(row).expect("written");
        }
        sheet.finish().expect("finished");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn formulas_are_text_and_amounts_stay_numbers() {
        let cell = |text: &str| Some(text.to_owned());
        for (given, shown) in [
            (
                "=HYPERLINK(\"http://x\",\"y\")",
                "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\"",
            ),
            ("+33 1 23", "'+33 1 23"),
            ("-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\tx", "'\tx"),
            ("＝1+1", "'＝1+1"),
            ("Dupont, frères", "\"Dupont, frères\""),
            ("a\r\nb", "\"a\r\nb\""),
        ] {
            let text = written(Form::Csv, vec![vec![cell(given), cell("-12.50")]]);
            assert_eq!(text, format!("name,amount\r\n{shown},-12.50\r\n"));
        }
    }

    #[test]
    fn an_empty_table_has_its_header_and_json_lines_have_every_key() {
        assert_eq!(written(Form::Csv, Vec::new()), "name,amount\r\n");
        assert_eq!(written(Form::JsonLines, Vec::new()), "");
        let row = vec![Some("=1".to_owned()), None];
        assert_eq!(
            written(Form::JsonLines, vec![row]),
            "{\"name\":\"=1\",\"amount\":null}\n"
        );
    }
}
