//! The wall between companies, and what each role may: over everything that there is, found in the catalog of the
//! database, in the published schema and in the routes. What is new is covered without touching this file; a new route
//! has to be given its action in [`ROUTES`], or the test says so.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use diesel::connection::{Connection, SimpleConnection};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use encours::domain::access::{Action, Role, action_of};
use serde_json::{Value, json};

use crate::harness::{Api, Company, codes, owner, serving_url, url, uuid, year};
use crate::hostile::{Dice, Known, base};
use crate::roles::records;

/// Tables that name a company and are read before there is a caller: who somebody is, and where they are a member.
const BEFORE_THE_WALL: &[&str] = &["memberships", "sessions"];
/// What was posted or issued: never updated as a whole row, never deleted, in the rights of the serving role.
const POSTED: &[&str] = &[
    "journal_entries",
    "journal_lines",
    "documents",
    "document_lines",
    "payments",
    "receivable_ledger",
    "period_closings",
    "journal_seals",
    "year_closings",
    "operations",
    "dunning_actions",
    "evidence_seals",
    "files",
    "changes",
];
/// The only tables of a company from which the serving role may delete: what was never issued, and a queue.
const DELETABLE: &[&str] = &[
    "import_refusals",
    "invoice_drafts",
    "webhook_deliveries",
    "sessions",
];

#[derive(QueryableByName)]
struct Table {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Bool)]
    walled: bool,
    #[diesel(sql_type = Bool)]
    updates: bool,
    #[diesel(sql_type = Bool)]
    deletes: bool,
    #[diesel(sql_type = Bool)]
    truncates: bool,
    #[diesel(sql_type = Text)]
    updated: String,
}

/// The tables that name a company, with the rights of the serving role.
fn tables(conn: &mut PgConnection) -> Vec<Table> {
    diesel::sql_query(
        "SELECT c.relname::text AS name, c.relrowsecurity AND c.relforcerowsecurity AND NOT EXISTS ( \
             SELECT FROM unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) AS act WHERE (SELECT count(*) FROM pg_policies p \
               WHERE p.tablename = c.relname AND p.permissive = 'PERMISSIVE' AND p.roles = '{public}' AND p.cmd IN ('ALL', act) \
                 AND coalesce(p.qual, p.with_check) LIKE '%encours.company%') <> 1) AS walled, \
           has_any_column_privilege('encours_app', c.oid, 'UPDATE') AS updates, \
           has_table_privilege('encours_app', c.oid, 'DELETE') AS deletes, \
           has_table_privilege('encours_app', c.oid, 'TRUNCATE') AS truncates, \
           coalesce((SELECT min(u.attname::text) FROM pg_attribute u WHERE u.attrelid = c.oid AND u.attnum > 0 AND NOT u.attisdropped \
             AND has_column_privilege('encours_app', c.oid, u.attnum, 'UPDATE')), '') AS updated \
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'company_id' AND NOT a.attisdropped \
         WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace ORDER BY 1",
    )
    .load(conn)
    .expect("the catalog")
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    count: i64,
}

fn count(conn: &mut PgConnection, sql: &str) -> i64 {
    let found: Count = diesel::sql_query(sql).get_result(conn).expect(sql);
    found.count
}

/// The serving role itself, connected beside the server: whatever SQL it is brought to run, the wall holds.
#[test]
fn the_serving_role_reads_and_writes_inside_one_company_only() {
    let company = Company::new();
    let api = company.admin();
    records(&api);
    let victim = uuid(&company.id);
    let other = uuid(&Company::new().id);
    let mut owner = owner();
    let mut conn = PgConnection::establish(&serving_url()).expect("a connection");
    if std::env::var_os("TEST_DATABASE_URL").is_some() {
        conn.batch_execute("SET ROLE encours_app")
            .expect("the serving role");
    }
    let mut filled = 0;
    for table in tables(&mut owner) {
        let name = &table.name;
        assert!(!table.truncates, "{name} may be emptied");
        assert!(
            !table.deletes || DELETABLE.contains(&name.as_str()),
            "{name} may be deleted from"
        );
        assert!(
            !table.updates || !POSTED.contains(&name.as_str()),
            "{name} was posted and may be changed"
        );
        if BEFORE_THE_WALL.contains(&name.as_str()) {
            continue;
        }
        assert!(table.walled, "{name} has no wall");
        let all = format!("SELECT count(*) AS count FROM {name}");
        let theirs = format!("{all} WHERE company_id = '{victim}'");
        filled += usize::from(count(&mut owner, &theirs) > 0);
        // Nobody's company: nothing of all that the other tests have written either.
        conn.batch_execute("RESET encours.company").expect("reset");
        assert_eq!(count(&mut conn, &all), 0, "{name}");
        for setting in ["", "00000000-0000-0000-0000-000000000000"] {
            conn.batch_execute(&format!("SET encours.company = '{setting}'"))
                .expect("set");
            assert_eq!(count(&mut conn, &all), 0, "{name} for {setting:?}");
        }
        conn.batch_execute(&format!("SET encours.company = '{other}'"))
            .expect("set");
        assert_eq!(count(&mut conn, &theirs), 0, "{name}");
        let refused = conn.transaction(|conn| {
            conn.batch_execute(&format!(
                "INSERT INTO {name} (company_id) VALUES ('{victim}')"
            ))
        });
        let why = refused.expect_err(name).to_string();
        assert!(
            why.contains("row-level security") || why.contains("permission denied"),
            "{name}: {why}"
        );
        let mut changed = |sql: String, may: bool| match diesel::sql_query(&sql).execute(&mut conn)
        {
            Ok(rows) => assert!(may && rows == 0, "{sql}: {rows}"),
            Err(error) => assert!(
                !may && error.to_string().contains("permission denied"),
                "{sql}: {error}"
            ),
        };
        let column = if table.updates {
            &table.updated
        } else {
            "company_id"
        };
        // A row that is moved out of its company is not even seen; and no right to move it is given.
        changed(
            format!("UPDATE {name} SET {column} = {column} WHERE company_id = '{victim}'"),
            table.updates,
        );
        changed(
            format!("DELETE FROM {name} WHERE company_id = '{victim}'"),
            table.deletes,
        );
    }
    // Enough of it was about something.
    assert!(
        filled >= 15,
        "{filled} tables hold something of the company"
    );
    let schema = conn.batch_execute("CREATE TABLE mine (a int)");
    assert!(schema.is_err(), "the serving role makes tables");
    let role = conn.batch_execute("SET ROLE encours");
    assert!(role.is_err() || std::env::var_os("TEST_DATABASE_URL").is_some());
}

/// What a route asks for; the rest is open to whoever comes, before there is a caller.
const ROUTES: &[(&str, &str, Action)] = &[
    ("POST", "/import/receivables", Action::Import),
    ("POST", "/import/receipts", Action::Import),
    ("POST", "/import/fec", Action::Import),
    ("POST", "/import/bank", Action::Import),
    ("GET", "/export/fec/{year}", Action::ExportAccounting),
    ("GET", "/export/{file}", Action::ReadReports),
    ("POST", "/files", Action::AttachFiles),
    ("GET", "/files/{id}", Action::ReadContacts),
    ("GET", "/letters/{kind}/{subject}", Action::ReadEvidence),
    ("GET", "/evidence/{subject}", Action::ReadEvidence),
    ("POST", "/evidence/verify", Action::ReadEvidence),
];
/// Routes without a caller of their own, or with guards that other tests look at.
const OPEN: &[&str] = &["/graphql", "/metrics", "/health", "/ready"];

/// The routes as they are written down in the sources.
fn routes() -> BTreeSet<String> {
    let text = include_str!("../../src/http/mod.rs");
    text.split("web::resource(\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next().map(str::to_owned))
        .collect()
}

/// A path with values of nothing that exists.
fn path_of(route: &str, id: &str) -> String {
    let path = route
        .replace("{year}", &year().to_string())
        .replace("{kind}", "REMINDER")
        .replace("{file}", "open-items.csv")
        .replace("{subject}", id)
        .replace("{id}", id);
    match route {
        "/files" => format!("{path}?subject={id}&kind=ORDER&name=a.txt"),
        _ => path,
    }
}

fn requested(api: &Api, method: &str, path: &str) -> (u16, String) {
    match method {
        "GET" => {
            let (status, bytes, _) = api.bytes(path);
            (status, String::from_utf8_lossy(&bytes).into_owned())
        }
        _ => {
            let kind = if path.contains("receivables") || path.contains("receipts") {
                "text/csv"
            } else {
                "application/octet-stream"
            };
            let answer = api.upload(path, kind, "x");
            (answer.status, answer.text)
        }
    }
}

#[test]
fn every_route_asks_every_role_as_the_table_says() {
    for route in routes() {
        assert!(
            OPEN.contains(&route.as_str()) || ROUTES.iter().any(|(_, path, _)| *path == route),
            "{route}: say in ROUTES what it asks for"
        );
    }
    let company = Company::new();
    let owned = company.admin();
    let client = owned.client("C001")["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    for role in Role::ALL.iter().copied() {
        let api = company.as_role(role.code());
        for (method, route, action) in ROUTES {
            let (status, text) = requested(&api, method, &path_of(route, &client));
            let shown = format!("{} {method} {route}: {status} {text}", role.code());
            assert!(status < 500, "{shown}");
            assert_eq!(status == 403, !role.may(*action), "{shown}");
            if status == 403 {
                assert!(
                    text.contains("\"FORBIDDEN\"") && text.contains(action.code()),
                    "{shown}"
                );
            }
        }
        // Subscriptions, as events.
        for (field, document) in subscriptions() {
            let action = action_of(&format!("Subscription.{field}")).expect("a row of FIELDS");
            let heard = events(&api, &document);
            assert_eq!(
                heard.contains("FORBIDDEN"),
                !role.may(action),
                "{} {document}: {heard}",
                role.code()
            );
        }
    }
    // Without a token, nothing at all.
    for (method, route, _) in ROUTES {
        let (status, _) = requested(&Api::stranger(), method, &path_of(route, &client));
        assert_eq!(status, 401, "{method} {route}");
    }
}

fn schema() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.graphql");
    std::fs::read_to_string(path).expect("the schema")
}

/// A document of each subscription, without arguments.
fn subscriptions() -> Vec<(String, Value)> {
    let (known, mut dice) = (Known::read(&schema(), Vec::new()), Dice(7));
    known
        .fields("Subscription")
        .into_iter()
        .map(|field| {
            let name = field.name.node.to_string();
            let values = known.selection(&field.ty.node, 0, &mut dice);
            let query = format!("subscription {{ {name}{values} }}");
            (name, json!({ "query": query }))
        })
        .collect()
}

/// What comes of a subscription within a while.
fn events(api: &Api, body: &Value) -> String {
    let address = url().strip_prefix("http://").expect("an address");
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_millis(700)))
        .expect("a limit");
    let text = body.to_string();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: {address}\r\nauthorization: {}\r\naccept: text/event-stream\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        api.authorization(),
        text.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let mut heard = Vec::new();
    let mut part = [0; 4096];
    while let Ok(read) = stream.read(&mut part) {
        if read == 0 {
            break;
        }
        heard.extend_from_slice(&part[..read]);
    }
    String::from_utf8_lossy(&heard).into_owned()
}

/// The ids in a text: three letters and 32 digits.
fn ids_in(text: &str) -> BTreeSet<String> {
    let is_id = |part: &&str| {
        part.len() == 36
            && part.as_bytes()[3] == b'_'
            && part[4..].bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(is_id)
        .map(str::to_owned)
        .collect()
}

/// Everything that a company's director sees by the queries of the schema, at several tries: the ids and the cursors.
fn seen_by(api: &Api, known: &Known, dice: &mut Dice) -> (BTreeSet<String>, Vec<(String, String)>) {
    let (mut ids, mut cursors) = (BTreeSet::new(), Vec::new());
    for field in known.fields("Query") {
        let name = field.name.node.as_str();
        for _ in 0..3 {
            let (document, variables) = known.document("query", field, dice);
            let answer = api.post(&json!({ "query": document, "variables": variables }));
            ids.extend(ids_in(&answer.text));
        }
        let pages = base(&field.ty.node).ends_with("Connection")
            && field.arguments.iter().all(|it| it.node.ty.node.nullable);
        if pages {
            let document =
                format!("{{ {name}(first: 2) {{ edges {{ cursor }} pageInfo {{ endCursor }} }} }}");
            let answer = api.run(&document, json!({}));
            if let Some(cursor) = answer["data"][name]["pageInfo"]["endCursor"].as_str() {
                cursors.push((name.to_owned(), cursor.to_owned()));
            }
        }
    }
    (ids, cursors)
}

#[test]
fn ids_cursors_files_and_subscriptions_of_another_company_are_of_no_use() {
    const MARK: &str = "Zoroastre-91be";
    let company = Company::new();
    let api = company.admin();
    let mut given: Vec<String> = records(&api).into_iter().map(|(_, id)| id).collect();
    let client = given[0].clone();
    let file = api.attach(&client, "ORDER", "a.txt", MARK.as_bytes());
    given.push(file.clone());
    let feed = api.data("{ changes(after: \"now\") { endCursor } }", json!({}));
    let known = Known::read(&schema(), given.clone());
    let (mut ids, cursors) = seen_by(&api, &known, &mut Dice(0x1234_5678_9abc));
    ids.extend(given);
    ids.remove(&company.id);
    assert!(ids.len() > 10 && cursors.len() > 4, "{ids:?} {cursors:?}");
    let stranger = Company::new().admin();
    let nobody = "cli_0199aaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let ask = |id: &str| {
        let document =
            "query($id: ID!) { node(id: $id) { __typename id } nodes(ids: [$id]) { id } }";
        stranger.post(&json!({ "query": document, "variables": { "id": id } }))
    };
    for id in &ids {
        // As if it did not exist: the same answer, for the same statements (R12.1: no timing to learn from).
        let none = format!("{}{}", &id[..4], &nobody[4..]);
        let (found, fresh) = (ask(id), ask(&none));
        assert_eq!(
            found.json()["data"],
            json!({ "node": null, "nodes": [null] }),
            "{id}"
        );
        assert_eq!(found.json()["data"], fresh.json()["data"], "{id}");
        assert_eq!(found.statements, fresh.statements, "{id}");
        for (method, route, _) in ROUTES
            .iter()
            .filter(|(_, route, _)| route.contains("{id}") || route.contains("{subject}"))
        {
            let theirs = requested(&stranger, method, &path_of(route, id));
            let nothing = requested(&stranger, method, &path_of(route, &none));
            assert_eq!(theirs, nothing, "{route} {id}");
            assert!(
                theirs.0 == 404 || theirs.0 == 422,
                "{route} {id}: {theirs:?}"
            );
        }
        let attached = requested(&stranger, "POST", &path_of("/files", id));
        assert!(matches!(attached.0, 404 | 422), "{id}: {attached:?}");
    }
    assert_eq!(api.bytes(&format!("/files/{file}")).0, 200);
    // A cursor says where a list goes on, not whose list it is.
    for (name, cursor) in &cursors {
        let document = format!(
            "query($after: String) {{ {name}(first: 5, after: $after) {{ totalCount edges {{ node {{ __typename }} }} }} }}"
        );
        let answer = stranger.post(&json!({ "query": document, "variables": { "after": cursor } }));
        let mut own = stranger
            .post(&json!({ "query": document, "variables": { "after": null } }))
            .json();
        let shown = answer.json();
        assert!(ids_in(&answer.text).is_disjoint(&ids), "{name}: {shown}");
        if codes(&shown).is_empty() {
            let total = |data: &mut Value| data["data"][name.as_str()]["totalCount"].take();
            assert_eq!(total(&mut shown.clone()), total(&mut own), "{name}");
        }
    }
    // Nor does the place in the feed: a subscription from there hears of one's own company only.
    api.client("C002");
    let after = &feed["changes"]["endCursor"];
    let body = json!({ "query": "subscription($after: String) { changes(after: $after) { kind subjectId client { number } } }",
        "variables": { "after": after } });
    let heard = events(&stranger, &body);
    assert!(
        heard.contains("200 OK") && !heard.contains("subjectId"),
        "{heard}"
    );
    assert!(events(&api, &body).contains("CLIENT"), "the owner hears it");
    for (_, body) in subscriptions() {
        let heard = events(&stranger, &body);
        assert!(ids_in(&heard).is_disjoint(&ids), "{heard}");
    }
    // Exports hold nothing of it.
    let (_, text) = requested(&stranger, "GET", &path_of("/export/fec/{year}", ""));
    assert!(!text.contains(MARK) && !text.contains("C001"), "{text}");
}
