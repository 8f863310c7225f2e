//! The schema can be spread over machines by company: keys, links and statements stay within one.

use std::collections::BTreeSet;
use std::path::Path;

use diesel::prelude::*;
use diesel::sql_types::Text;

use crate::harness::owner;

/// Who comes in is known before the company is: sessions are on every machine, and all are asked for somebody's companies.
const IDENTITY: [&str; 3] = ["memberships", "refresh_tokens", "sessions"];

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Text)]
    found: String,
}

fn catalog(sql: &str) -> Vec<String> {
    let found: Vec<Found> = diesel::sql_query(sql)
        .load(&mut owner())
        .expect("the catalog");
    found.into_iter().map(|row| row.found).collect()
}

/// The tables of companies.
fn company_tables() -> BTreeSet<String> {
    catalog(
        "SELECT c.relname::text AS found FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'company_id' AND a.attnotnull \
         WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace",
    )
    .into_iter()
    .filter(|table| !IDENTITY.contains(&table.as_str()))
    .collect()
}

#[test]
fn every_key_begins_with_the_company() {
    let tables = company_tables();
    assert!(tables.len() > 60, "{tables:?}");
    let keys = catalog(
        "SELECT c.relname || ' ' || i.relname AS found FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid \
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'company_id' \
         WHERE c.relnamespace = 'public'::regnamespace AND x.indkey[0] <> a.attnum",
    );
    let others: Vec<&String> = keys
        .iter()
        .filter(|key| {
            key.split(' ')
                .next()
                .is_some_and(|table| tables.contains(table))
        })
        .collect();
    assert!(others.is_empty(), "{others:?}");
    // Without one, a row could not be found on its machine.
    let bare = catalog(
        "SELECT c.relname::text AS found FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace \
         AND NOT EXISTS (SELECT 1 FROM pg_index x WHERE x.indrelid = c.oid AND x.indisprimary)",
    );
    assert!(bare.is_empty(), "{bare:?}");
}

#[test]
fn links_stay_within_a_company_or_lead_to_reference_data() {
    let tables = company_tables();
    let links = catalog(
        "SELECT k.conrelid::regclass || ' ' || k.confrelid::regclass || ' ' || \
           coalesce((SELECT a.attname FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = k.conkey[1]), '') || ' ' || \
           coalesce((SELECT a.attname FROM pg_attribute a WHERE a.attrelid = k.confrelid AND a.attnum = k.confkey[1]), '') AS found \
         FROM pg_constraint k WHERE k.contype = 'f' AND k.connamespace = 'public'::regnamespace",
    );
    assert!(links.len() > 100, "{links:?}");
    for link in links {
        let parts: Vec<&str> = link.split(' ').collect();
        let [from, to, column, target] = parts[..] else {
            panic!("{link}");
        };
        match (tables.contains(from), tables.contains(to)) {
            (true, true) => assert_eq!((column, target), ("company_id", "company_id"), "{link}"),
            // A reference table is whole on every machine; it cannot look into one company's.
            (false, true) => panic!("{link}"),
            (_, false) => {}
        }
    }
}

/// Splits a file into its functions and other items, without comments.
fn items(text: &str) -> Vec<String> {
    let starts = [
        "pub fn ",
        "fn ",
        "pub const ",
        "const ",
        "impl ",
        "pub struct ",
        "struct ",
        "pub enum ",
        "mod ",
        "pub static ",
    ];
    let mut items = vec![String::new()];
    for line in text.lines() {
        if starts.iter().any(|start| line.starts_with(start)) {
            items.push(String::new());
        }
        if let (Some(item), false) = (items.last_mut(), line.trim_start().starts_with("//")) {
            item.push_str(line);
            item.push('\n');
        }
    }
    items
}

/// The company tables that a piece of code names in SQL or in the query builder.
fn named(item: &str, tables: &BTreeSet<String>) -> Vec<String> {
    let words: Vec<&str> = item
        .split(|sign: char| sign.is_whitespace() || "(),\"\\;".contains(sign))
        .filter(|word| !word.is_empty())
        .collect();
    let mut named: Vec<String> = words
        .windows(2)
        .filter(|pair| ["FROM", "JOIN", "INTO", "UPDATE"].contains(&pair[0]))
        .map(|pair| pair[1].to_owned())
        .filter(|table| tables.contains(table))
        .collect();
    named.extend(
        words
            .iter()
            .filter_map(|word| word.split_once("::table"))
            .map(|(table, _)| table.to_owned())
            .filter(|table| tables.contains(table)),
    );
    named
}

#[test]
fn every_statement_names_the_company() {
    let tables = company_tables();
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let mut seen = 0;
    for entry in std::fs::read_dir(store).expect("src/store") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("a source file");
        for item in items(&text) {
            let named = named(&item, &tables);
            if named.is_empty() {
                continue;
            }
            seen += 1;
            // A row that is added carries its company.
            let adds_rows = item.contains("insert_into(") && item.contains(".values(");
            assert!(
                item.contains("company") || adds_rows,
                "{}: {named:?} without a company:\n{item}",
                path.display()
            );
        }
    }
    assert!(seen > 150, "{seen}");
    // The net has no hole of its own.
    let loose = "fn all() {\n    sql_query(\"SELECT * FROM items WHERE id = $1\")\n}\n";
    assert_eq!(named(&items(loose)[1], &tables), ["items"]);
}

/// What a trigger writes straight from the rows that were added is refused where a table is many.
#[test]
fn triggers_work_where_a_table_is_many() {
    let written = catalog(
        "SELECT DISTINCT f.proname || ': ' || s.statement AS found FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid \
         CROSS JOIN LATERAL regexp_split_to_table(f.prosrc, ';') s(statement) \
         WHERE t.tgnewtable IS NOT NULL AND s.statement ~ 'INSERT INTO' AND s.statement ~ ('(FROM|JOIN) ' || t.tgnewtable || '\\M')",
    );
    assert!(written.is_empty(), "{written:?}");
    let gathered = catalog(
        "SELECT DISTINCT f.proname::text AS found FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid \
         WHERE t.tgnewtable IS NOT NULL AND f.prosrc ~ ('FROM ' || t.tgnewtable || '\\M') AND f.prosrc ~ 'INSERT INTO'",
    );
    assert!(gathered.len() > 60, "{gathered:?}");
}

/// The columns that a `rows!` of this text names, in order, with those that the database fills.
fn columns_of(rows: &str) -> Vec<String> {
    let (list, after) = rows
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .expect("a list of columns");
    let names = list.split(',').filter_map(|cell| cell.split_once(':'));
    let mut columns: Vec<String> = names.map(|(name, _)| name.trim().to_owned()).collect();
    let given = after.split_once("given {").map_or("", |(_, given)| given);
    for cell in given.split(" before ").collect::<Vec<_>>().windows(2) {
        let name = cell[0].rsplit([',', '{']).next().unwrap_or_default();
        let name = name.split('=').next().unwrap_or_default().trim().to_owned();
        let before = cell[1].split('"').nth(1).expect("the column after it");
        let place = columns.iter().position(|column| column == before);
        columns.insert(place.unwrap_or(columns.len()), name);
    }
    columns
}

/// A statement that is part of another keeps neither the defaults of columns nor their order, where a table is many.
#[test]
fn rows_are_added_in_the_order_of_their_table_and_with_its_defaults() {
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let mut seen = 0;
    for entry in std::fs::read_dir(store).expect("src/store") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("a source file");
        for rows in text.split("\nbulk::rows!").skip(1) {
            let table = rows.split('"').nth(1).expect("a table");
            let rows = rows.split(");\n").next().expect("an end");
            let columns = columns_of(rows);
            let catalog = catalog(&format!(
                "SELECT a.attname || CASE WHEN a.atthasdef THEN ' filled' ELSE '' END AS found FROM pg_attribute a \
                 WHERE a.attrelid = '{table}'::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum"
            ));
            let expected: Vec<&str> = catalog
                .iter()
                .filter(|column| {
                    column.ends_with(" filled") || columns.iter().any(|named| named == *column)
                })
                .map(|column| column.trim_end_matches(" filled"))
                .collect();
            assert_eq!(columns, expected, "{table}");
            seen += 1;
        }
    }
    assert!(seen >= 12, "{seen}");
}
