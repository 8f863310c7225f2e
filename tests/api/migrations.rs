//! Migrations run while the former binary serves: none may hold a long lock, or take away what that binary uses.
//!
//! The rules, and how a statement is exempted with a reason, are in docs/OPERATIONS.md. They hold for every migration
//! after [`BASELINE`]: those up to it make the first schema, on empty tables.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Migrations of this day and before make the schema of the first release.
const BASELINE: &str = "2026-11-26-999999";

/// Marks a statement that breaks a rule on purpose: `-- lock-rule <rule>: <reason>`, in the comment above it.
const EXEMPTION: &str = "lock-rule ";

/// Shortest reason that says something.
const REASON: usize = 20;

/// A statement, in lower case with single spaces, without comments and texts.
struct Statement {
    text: String,
    /// Rules that its comment exempts it from.
    exempt: BTreeSet<String>,
}

/// What is wrong with a migration, each as `rule: statement`.
fn faults(sql: &str, in_transaction: bool) -> Vec<String> {
    let statements = match statements(sql) {
        Ok(statements) => statements,
        Err(fault) => return vec![fault],
    };
    let fresh: BTreeSet<&str> = statements
        .iter()
        .filter_map(|it| created_table(&it.text))
        .collect();
    let mut found = Vec::new();
    for statement in &statements {
        let mut broken = broken_rules(&statement.text, &fresh);
        let concurrent = statement.text.contains(" concurrently ");
        if concurrent && (in_transaction || statements.len() > 1) {
            broken.push("concurrently-alone");
        }
        found.extend(
            broken
                .into_iter()
                .filter(|rule| !statement.exempt.contains(*rule))
                .map(|rule| format!("{rule}: {}", statement.text)),
        );
    }
    // The table stays locked until the transaction ends, so validating in the same one is no better than at once.
    let added = statements
        .iter()
        .any(|it| it.text.ends_with(" not valid") || it.text.contains(" not valid,"));
    let validated = statements
        .iter()
        .find(|it| it.text.contains(" validate constraint "));
    if let (true, true, Some(it)) = (added, in_transaction, validated)
        && !it.exempt.contains("validate-later")
    {
        found.push(format!("validate-later: {}", it.text));
    }
    found
}

fn created_table(text: &str) -> Option<&str> {
    let rest = ["create table ", "create unlogged table "]
        .iter()
        .find_map(|start| text.strip_prefix(start))?;
    let rest = rest.strip_prefix("if not exists ").unwrap_or(rest);
    rest.split([' ', '(']).next()
}

/// The table that a statement is about.
fn subject(text: &str) -> Option<&str> {
    let rest = match text.strip_prefix("alter table ") {
        Some(rest) => rest,
        None => text.split_once(" on ")?.1,
    };
    let rest = rest.strip_prefix("if exists ").unwrap_or(rest);
    let rest = rest.strip_prefix("only ").unwrap_or(rest);
    rest.split([' ', '(']).next()
}

fn broken_rules(text: &str, fresh: &BTreeSet<&str>) -> Vec<&'static str> {
    let is_fresh = subject(text).is_some_and(|table| fresh.contains(table));
    let begins = |start: &str| text.starts_with(start);
    let mut broken = Vec::new();
    if (begins("create index") || begins("create unique index"))
        && !text.contains(" concurrently ")
        && !is_fresh
    {
        broken.push("index-concurrently");
    }
    if (begins("drop index") || begins("reindex")) && !text.contains(" concurrently ") {
        broken.push("index-concurrently");
    }
    if begins("lock ") {
        broken.push("no-lock-table");
    }
    if begins("vacuum full") || begins("cluster") || begins("refresh materialized view") {
        broken.push("no-rewrite");
    }
    if ["drop table ", "drop view ", "drop schema ", "drop type "]
        .iter()
        .any(|start| begins(start))
        || begins("drop function ")
        || begins("truncate ")
    {
        broken.push("no-drop");
    }
    // A whole table in one transaction holds every row of it until the end.
    if (begins("update ") || begins("delete from ")) && !text.contains(" where ") {
        broken.push("no-whole-table");
    }
    if begins("alter table ") && !is_fresh {
        broken.extend(actions(text).flat_map(broken_by_action));
    }
    if begins("alter ") && text.contains(" rename ") {
        broken.push("no-rename");
    }
    broken
}

/// What an `ALTER TABLE` does: its parts between commas outside brackets.
fn actions(text: &str) -> impl Iterator<Item = String> {
    let table = subject(text).unwrap_or_default();
    let rest = text
        .split_once(table)
        .map_or("", |(_, rest)| rest)
        .trim_start();
    let (mut parts, mut part, mut depth) = (Vec::new(), String::new(), 0);
    for sign in rest.chars() {
        match sign {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part).trim().to_owned());
                continue;
            }
            _ => {}
        }
        part.push(sign);
    }
    parts.push(part.trim().to_owned());
    parts.into_iter()
}

fn broken_by_action(action: String) -> Vec<&'static str> {
    let mut broken = Vec::new();
    let begins = |start: &str| action.starts_with(start);
    let is_constraint = [
        "add constraint ",
        "add check ",
        "add foreign key ",
        "add unique ",
        "add primary key ",
        "add exclude ",
    ]
    .iter()
    .any(|start| begins(start));
    if is_constraint {
        let scans = action.contains(" check ") || action.contains(" foreign key ");
        let builds = [" unique ", " unique(", " primary key", " exclude "]
            .iter()
            .any(|kind| action.contains(kind));
        if scans && !action.ends_with(" not valid") {
            broken.push("constraint-not-valid");
        }
        if builds && !action.contains(" using index ") {
            broken.push("constraint-using-index");
        }
        return broken;
    }
    if begins("add ") {
        if action.contains(" not null") && !action.contains(" default ") {
            broken.push("column-default");
        }
        if is_volatile(&action) {
            broken.push("constant-default");
        }
        if action.contains(" references ")
            || action.contains(" check ")
            || action.contains(" check(")
        {
            broken.push("constraint-not-valid");
        }
        if action.contains(" unique") || action.contains(" primary key") {
            broken.push("constraint-using-index");
        }
    }
    if begins("alter ") {
        if action.ends_with(" set not null") {
            broken.push("not-null-by-check");
        }
        if action.contains(" type ") {
            broken.push("no-type-change");
        }
    }
    if begins("drop ") && !begins("drop constraint ") {
        broken.push("no-drop");
    }
    if begins("set tablespace") || begins("set logged") || begins("set unlogged") {
        broken.push("no-rewrite");
    }
    broken
}

/// Whether the value of a new column differs from row to row, so that every row is written.
fn is_volatile(action: &str) -> bool {
    if [" generated ", " serial", " bigserial", " smallserial"]
        .iter()
        .any(|kind| action.contains(kind))
    {
        return true;
    }
    let Some((_, default)) = action.split_once(" default ") else {
        return false;
    };
    // Stable within the transaction, so the same for every row.
    let stable = ["now()", "transaction_timestamp()", "statement_timestamp()"];
    default.contains('(') && !stable.iter().any(|call| default.starts_with(call))
}

/// Takes a migration apart. What is inside quotes and function bodies is left out.
fn statements(sql: &str) -> Result<Vec<Statement>, String> {
    let (mut found, mut text, mut comment) = (Vec::new(), String::new(), String::new());
    let mut rest = sql;
    let mut finish = |text: &mut String, comment: &mut String| -> Result<(), String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let whole = words.join(" ").to_lowercase();
        let comment = std::mem::take(comment);
        text.clear();
        if !whole.is_empty() {
            let exempt = exemptions(&comment)?;
            found.push(Statement {
                text: whole,
                exempt,
            });
        }
        Ok(())
    };
    while let Some(sign) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("--") {
            let line = after.lines().next().unwrap_or_default();
            comment.push_str(line);
            comment.push('\n');
            rest = &after[line.len()..];
        } else if let Some(after) = rest.strip_prefix("/*") {
            rest = after.split_once("*/").ok_or("a comment does not end")?.1;
        } else if let Some(after) = rest.strip_prefix('\'') {
            // A doubled quote ends one text and begins the next: nothing of either is kept.
            rest = after.split_once('\'').ok_or("a text does not end")?.1;
            text.push_str("''");
        } else if let Some((tag, after)) = dollar_quote(rest) {
            rest = after.split_once(tag).ok_or("a body does not end")?.1;
            text.push_str("''");
        } else {
            match sign {
                ';' => finish(&mut text, &mut comment)?,
                _ => text.push(sign),
            }
            rest = &rest[sign.len_utf8()..];
        }
    }
    finish(&mut text, &mut comment)?;
    Ok(found)
}

/// The opening tag of a dollar-quoted text, and what follows it.
fn dollar_quote(rest: &str) -> Option<(&str, &str)> {
    let name = rest.strip_prefix('$')?;
    let end = name.find('$')?;
    let is_name = name[..end]
        .chars()
        .all(|sign| sign.is_ascii_alphanumeric() || sign == '_');
    is_name.then(|| rest.split_at(end + 2))
}

fn exemptions(comment: &str) -> Result<BTreeSet<String>, String> {
    let lines = comment
        .lines()
        .filter_map(|line| line.trim().strip_prefix(EXEMPTION));
    lines
        .map(|line| match line.split_once(": ") {
            Some((rule, reason)) if reason.len() >= REASON => Ok(rule.to_owned()),
            _ => Err(format!("an exemption needs a rule and a reason: {line}")),
        })
        .collect()
}

#[test]
fn no_migration_locks_for_long_or_breaks_the_former_binary() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .expect("the migrations")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    names.sort();
    assert!(names.len() >= 13, "{names:?}");
    let mut wrong = Vec::new();
    for name in names {
        let sql = fs::read_to_string(folder.join(&name).join("up.sql")).expect("up.sql");
        // Every migration can be taken apart, the first ones too.
        assert!(
            statements(&sql).is_ok_and(|found| !found.is_empty()),
            "{name}"
        );
        if name.as_str() <= BASELINE {
            continue;
        }
        let metadata = fs::read_to_string(folder.join(&name).join("metadata.toml"));
        let in_transaction = !metadata.is_ok_and(|it| it.contains("run_in_transaction = false"));
        wrong.extend(
            faults(&sql, in_transaction)
                .into_iter()
                .map(|fault| format!("{name}: {fault}")),
        );
    }
    assert!(
        wrong.is_empty(),
        "see \"Change the schema\" in docs/OPERATIONS.md:\n{}",
        wrong.join("\n")
    );
}

/// The rules that a migration in a transaction breaks.
fn rules(sql: &str) -> Vec<String> {
    let rule = |fault: String| fault.split(':').next().unwrap_or_default().to_owned();
    faults(sql, true).into_iter().map(rule).collect()
}

#[test]
fn what_locks_or_breaks_is_found() {
    for (sql, expected) in [
        (
            "CREATE INDEX a ON items (company_id);",
            "index-concurrently",
        ),
        (
            "CREATE UNIQUE INDEX a ON items (company_id)",
            "index-concurrently",
        ),
        ("DROP INDEX a", "index-concurrently"),
        (
            "CREATE INDEX CONCURRENTLY a ON items (b)",
            "concurrently-alone",
        ),
        ("LOCK TABLE items", "no-lock-table"),
        (
            "ALTER TABLE items ALTER COLUMN a SET NOT NULL",
            "not-null-by-check",
        ),
        ("ALTER TABLE items\n  ALTER a TYPE bigint", "no-type-change"),
        (
            "ALTER TABLE items ADD COLUMN a uuid DEFAULT gen_random_uuid()",
            "constant-default",
        ),
        (
            "ALTER TABLE items ADD a bigint GENERATED ALWAYS AS (b + 1) STORED",
            "constant-default",
        ),
        ("ALTER TABLE items ADD a text NOT NULL", "column-default"),
        (
            "ALTER TABLE items ADD a uuid REFERENCES clients (id)",
            "constraint-not-valid",
        ),
        (
            "ALTER TABLE items ADD CONSTRAINT c CHECK (a > 0)",
            "constraint-not-valid",
        ),
        (
            "ALTER TABLE items ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES b (a)",
            "constraint-not-valid",
        ),
        (
            "ALTER TABLE items ADD CONSTRAINT c UNIQUE (a, b)",
            "constraint-using-index",
        ),
        ("ALTER TABLE items ADD x int, DROP COLUMN a", "no-drop"),
        ("ALTER TABLE items RENAME COLUMN a TO b", "no-rename"),
        ("ALTER TABLE items RENAME TO b", "no-rename"),
        ("DROP TABLE items", "no-drop"),
        ("DROP FUNCTION watch(text)", "no-drop"),
        ("UPDATE items SET a = 1", "no-whole-table"),
        ("VACUUM FULL items", "no-rewrite"),
        (
            "ALTER TABLE items ADD CONSTRAINT c CHECK (a > 0) NOT VALID; ALTER TABLE items VALIDATE CONSTRAINT c;",
            "validate-later",
        ),
    ] {
        assert_eq!(rules(sql), [expected], "{sql}");
    }
}

#[test]
fn what_is_quick_and_compatible_passes() {
    for sql in [
        "CREATE TABLE a (id uuid PRIMARY KEY, b int NOT NULL CHECK (b > 0)); CREATE INDEX c ON a (b); ALTER TABLE a ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE items ADD COLUMN a text",
        "ALTER TABLE items ADD COLUMN a text NOT NULL DEFAULT 'x'",
        "ALTER TABLE items ADD COLUMN a timestamptz NOT NULL DEFAULT now()",
        "ALTER TABLE items ADD CONSTRAINT c CHECK (a > 0) NOT VALID",
        "ALTER TABLE items VALIDATE CONSTRAINT c",
        "ALTER TABLE items ADD CONSTRAINT c UNIQUE USING INDEX i",
        "ALTER TABLE items DROP CONSTRAINT c",
        "UPDATE items SET a = 'DROP TABLE b; LOCK TABLE c' WHERE id = 1",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $body$ DELETE FROM a; SELECT 1 $body$; GRANT EXECUTE ON FUNCTION f() TO encours_app",
        "-- lock-rule no-drop: read by no binary since release 1.4, of March 2027\nDROP TABLE items",
    ] {
        assert_eq!(faults(sql, true), [""; 0], "{sql}");
    }
    let index = "CREATE INDEX CONCURRENTLY a ON items (b)";
    assert_eq!(faults(index, false), [""; 0]);
    let two = format!("{index}; SELECT 1");
    assert_eq!(faults(&two, false).len(), 1);
}

#[test]
fn an_exemption_says_which_rule_and_why() {
    let sql = "-- lock-rule no-drop: old\nDROP TABLE items";
    assert!(faults(sql, true)[0].contains("needs a rule and a reason"));
    let other =
        "-- lock-rule no-rename: the table was never read by a released binary\nDROP TABLE items";
    assert_eq!(rules(other), ["no-drop"]);
    // It holds for the statement under it, not for the next one.
    let two = "-- lock-rule no-drop: the table was never read by a released binary\nDROP TABLE a; DROP TABLE b;";
    assert_eq!(faults(two, true), ["no-drop: drop table b"]);
}
