//! Every limit of a request, at its figure and one above it; every status, with its code and its header.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use diesel::connection::{Connection, SimpleConnection};
use serde_json::{Value, json};
use ureq::Agent;
use uuid::Uuid;

use crate::harness::{Answer, Api, Company, Second, codes, command_on, url};

const NEWER: &str = "application/graphql-response+json";

/// Posts a document, and says which media type is understood.
fn post(api: &Api, accept: &str, body: &Value) -> Answer {
    let headers = [
        ("authorization", api.authorization()),
        ("accept", accept.to_owned()),
    ];
    crate::harness::send("/graphql", &headers, Some(body))
}

fn ask(api: &Api, document: &str) -> Answer {
    post(api, NEWER, &json!({ "query": document }))
}

/// `count` times the same text.
fn times(text: &str, count: usize) -> String {
    text.repeat(count)
}

/// A document whose fields stand this deep.
fn deep(depth: usize) -> String {
    let cycle = [
        ("client", "number"),
        ("invoices(first: 1)", "totalCount"),
        ("nodes", "number"),
    ];
    let first = ("invoice(ref: { number: \"F\" })", "number");
    let path: Vec<_> = std::iter::once(first)
        .chain(cycle.into_iter().cycle())
        .take(depth - 1)
        .collect();
    let opened: String = path
        .iter()
        .map(|(field, _)| format!("{{ {field} "))
        .collect();
    let leaf = path.last().map_or("number", |(_, leaf)| leaf);
    format!("{opened} {{ {leaf} {}", times("} ", path.len() + 1))
}

fn company(fields: &str) -> String {
    format!("{{ company {{ {fields} }} }}")
}

fn aliases(count: usize) -> String {
    let fields: Vec<_> = (0..count)
        .map(|number| format!("a{number}: name"))
        .collect();
    company(&fields.join(" "))
}

fn variables(count: usize) -> String {
    let declared: Vec<_> = (0..count)
        .map(|number| format!("$v{number}: Int"))
        .collect();
    format!(
        "query({}) {{ clients(first: $v0) {{ totalCount }} }}",
        declared.join(" ")
    )
}

#[test]
fn every_limit_of_a_document_holds_at_its_figure() {
    let api = Company::new().admin();
    let padded = |bytes: usize| {
        let document = company("name");
        let space = times(" ", bytes - document.len());
        document + &space
    };
    let nested = |depth: usize| {
        let (open, close) = (times("[", depth - 2), times("]", depth - 2));
        format!("{{ node(id: {open}{close}) {{ id }} }}")
    };
    let spread = |count: usize| {
        let fragment = format!("fragment f on Company {{ {} }}", times("name ", 99));
        format!("{} {fragment}", company(&times("...f ", count)))
    };
    let operations = |count: usize| {
        (0..count).fold(String::new(), |mut text, number| {
            write!(text, "query Q{number} {{ __typename }} ").expect("text");
            text
        })
    };
    let cost = |first: usize| {
        format!(
            "{{ clients(first: {first}) {{ nodes {{ invoices(first: 100) {{ nodes {{ number }} }} }} }} }}"
        )
    };
    for (measure, limit, within, above, status) in [
        (
            "tokens",
            2000,
            company(&times("name ", 1995)),
            company(&times("name ", 1996)),
            400,
        ),
        (
            "document bytes",
            15_000,
            padded(15_000),
            padded(15_001),
            413,
        ),
        ("nesting", 48, nested(48), nested(49), 400),
        ("depth", 15, deep(15), deep(16), 400),
        ("cost", 10_000, cost(80), cost(100), 400),
        ("aliases", 30, aliases(30), aliases(31), 400),
        (
            "directives",
            50,
            company(&times("name @skip(if: false) ", 50)),
            company(&times("name @skip(if: false) ", 51)),
            400,
        ),
        ("expanded nodes", 3000, spread(29), spread(31), 400),
        (
            "root fields",
            20,
            format!("{{ {} }}", times("__typename ", 20)),
            format!("{{ {} }}", times("__typename ", 21)),
            400,
        ),
        (
            "root fields of a mutation",
            5,
            format!("mutation {{ {} }}", times("__typename ", 5)),
            format!("mutation {{ {} }}", times("__typename ", 6)),
            400,
        ),
        ("operations", 5, operations(5), operations(6), 400),
        ("variables", 100, variables(100), variables(101), 400),
    ] {
        let asked = |document: &str| {
            let name = (measure == "operations").then_some("Q1");
            post(
                &api,
                NEWER,
                &json!({ "query": document, "operationName": name }),
            )
        };
        let answer = asked(&within);
        assert!(
            !codes(&answer.json()).contains(&"OPERATION_TOO_COMPLEX"),
            "{measure} within its limit: {}",
            answer.text
        );
        let answer = asked(&above);
        assert_eq!(answer.status, status, "{measure}: {}", answer.text);
        let error = &answer.json()["errors"][0]["extensions"];
        assert_eq!(
            (&error["code"], &error["measure"], &error["limit"]),
            (
                &json!("OPERATION_TOO_COMPLEX"),
                &json!(measure),
                &json!(limit)
            ),
            "{}",
            answer.text
        );
        assert!(
            error["actual"].as_u64() > error["limit"].as_u64(),
            "{error}"
        );
    }
}

#[test]
fn lists_pages_and_bodies_have_limits_too() {
    let api = Company::new().admin();
    let ids = |count: usize| {
        let body = json!({ "query": "query($ids: [ID!]!) { nodes(ids: $ids) { id } }", "variables": { "ids": vec!["x"; count] } });
        post(&api, NEWER, &body)
    };
    assert_eq!(
        ids(100).json()["data"]["nodes"].as_array().map(Vec::len),
        Some(100)
    );
    let refused = ids(101).json();
    assert_eq!(
        refused["errors"][0]["extensions"]["measure"],
        "values in one list"
    );

    (0..22).for_each(|number| drop(api.client(&format!("C{number:03}"))));
    let usual = ask(&api, "{ clients { nodes { number } } }").json();
    assert_eq!(
        usual["data"]["clients"]["nodes"].as_array().map(Vec::len),
        Some(20)
    );
    let most = ask(&api, "{ clients(first: 100) { totalCount } }").json();
    assert_eq!(most["data"]["clients"]["totalCount"], 22);
    let more = ask(&api, "{ clients(first: 101) { totalCount } }").json();
    assert_eq!(codes(&more), ["BAD_USER_INPUT"]);
    assert_eq!(more["errors"][0]["extensions"]["field"], "first");

    const BODY: usize = 256 * 1024;
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    // Written here, byte by byte.
    let sized = |bytes: usize| {
        let (open, close) = (
            "{\"query\":\"{ company { name } }\",\"extensions\":{\"pad\":\"",
            "\"}}",
        );
        let pad = times("a", bytes - open.len() - close.len());
        let request = agent
            .post(format!("{}/graphql", url()))
            .header("authorization", api.authorization())
            .header("content-type", "application/json");
        let mut answer = request
            .send(format!("{open}{pad}{close}"))
            .expect("an answer");
        let text = answer.body_mut().read_to_string().expect("a body");
        (answer.status().as_u16(), text)
    };
    assert_eq!(sized(BODY).0, 200);
    let (status, text) = sized(BODY + 1);
    assert_eq!(status, 413);
    assert!(text.contains("PAYLOAD_TOO_LARGE"), "{text}");
}

#[test]
fn an_answer_holds_twenty_errors_and_says_how_many_it_leaves_out() {
    let company = Company::new();
    let admin = company.admin();
    (0..22).for_each(|number| drop(admin.client(&format!("C{number:03}"))));
    let reader = company.as_role("BI_READER");
    let answer = ask(
        &reader,
        "{ clients(first: 22) { nodes { number contacts { email } } } }",
    )
    .json();
    assert_eq!(codes(&answer), ["FORBIDDEN"; 20]);
    assert_eq!(answer["extensions"]["errorsLeftOut"], 2, "{answer}");
}

#[test]
fn the_nesting_bomb_and_the_fragment_bomb_are_answered_in_milliseconds() {
    let api = Company::new().admin();
    let nesting = format!("{{ client(ref: {}", times("[", 4082));
    let mut fragments = "query { ...f0 }".to_owned();
    for level in 0..24 {
        let next = level + 1;
        write!(
            fragments,
            " fragment f{level} on Query {{ ...f{next} ...f{next} }}"
        )
        .expect("text");
    }
    fragments.push_str(" fragment f24 on Query { __typename }");
    assert_eq!((nesting.len(), fragments.len()), (4096, 984));
    for bomb in [nesting, fragments] {
        // The machine may be busy with something else: what it can do counts.
        let best = (0..10)
            .map(|_| {
                let started = Instant::now();
                let answer = ask(&api, &bomb);
                assert_eq!(codes(&answer.json()), ["OPERATION_TOO_COMPLEX"]);
                started.elapsed()
            })
            .min()
            .expect("a time");
        println!("{} bytes answered in {best:?}", bomb.len());
        assert!(best < Duration::from_millis(100), "{best:?}");
    }
}

#[test]
fn the_schema_is_shown_to_any_valid_token_and_to_nobody_else() {
    const SCHEMA: &str = "{ __schema { queryType { name } types { name } } }";
    let answer = ask(&Company::new().as_role("BI_READER"), SCHEMA);
    assert_eq!(
        answer.json()["data"]["__schema"]["queryType"]["name"],
        "Query"
    );
    let answer = ask(&Api::stranger(), SCHEMA);
    assert_eq!(
        (answer.status, codes(&answer.json())),
        (401, vec!["UNAUTHENTICATED"])
    );
    // Nor is it told by way of suggestions.
    let guess = ask(&Company::new().admin(), "{ clientz { totalCount } }");
    assert!(!guess.text.contains("Did you mean"), "{}", guess.text);
    assert!(!guess.text.contains("\"clients\""), "{}", guess.text);
}

#[test]
fn every_status_has_its_code() {
    let api = Company::new().admin();
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let endpoint = format!("{}/graphql", url());
    let post = |content_type: &str, accept: &str, body: &str| {
        let request = agent
            .post(&endpoint)
            .header("authorization", api.authorization())
            .header("content-type", content_type)
            .header("accept", accept);
        let mut answer = request.send(body).expect("an answer");
        let text = answer.body_mut().read_to_string().expect("a body");
        let found: Value = serde_json::from_str(&text).expect("JSON");
        assert!(
            found.get("data").is_none(),
            "a request error has no data: {text}"
        );
        let code = found["errors"][0]["extensions"]["code"]
            .as_str()
            .map(str::to_owned);
        (answer.status().as_u16(), code.unwrap_or_default())
    };
    let json_type = "application/json";
    let syntax = json!({ "query": "{" }).to_string();
    let field = json!({ "query": "{ nothing }" }).to_string();
    let unknown = json!({ "query": "query A { __typename }", "operationName": "B" }).to_string();
    let coerced = json!({ "query": "query($n: Int) { clients(first: $n) { totalCount } }", "variables": { "n": "x" } }).to_string();
    let fine = json!({ "query": "{ __typename }" }).to_string();
    for (content_type, accept, body, status, code) in [
        (json_type, NEWER, "{", 400, "BAD_REQUEST"),
        (json_type, NEWER, "[]", 400, "BAD_REQUEST"),
        (json_type, NEWER, "{}", 400, "BAD_REQUEST"),
        (
            json_type,
            NEWER,
            syntax.as_str(),
            400,
            "GRAPHQL_PARSE_FAILED",
        ),
        (
            json_type,
            NEWER,
            field.as_str(),
            422,
            "GRAPHQL_VALIDATION_FAILED",
        ),
        (
            json_type,
            json_type,
            &field,
            400,
            "GRAPHQL_VALIDATION_FAILED",
        ),
        (
            json_type,
            NEWER,
            &unknown,
            422,
            "OPERATION_RESOLUTION_FAILURE",
        ),
        (json_type, NEWER, coerced.as_str(), 422, "BAD_USER_INPUT"),
        (
            json_type,
            json_type,
            coerced.as_str(),
            400,
            "BAD_USER_INPUT",
        ),
        (
            "text/plain",
            NEWER,
            fine.as_str(),
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (
            "application/graphql",
            NEWER,
            fine.as_str(),
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (json_type, "text/html", fine.as_str(), 406, "NOT_ACCEPTABLE"),
    ] {
        assert_eq!(
            post(content_type, accept, body),
            (status, code.to_owned()),
            "{body}"
        );
    }
    let hash = json!({ "extensions": { "persistedQuery": { "version": 1, "sha256Hash": "0" } } });
    let answer = api.post(&hash);
    assert_eq!(
        (answer.status, codes(&answer.json())),
        (200, vec!["PERSISTED_QUERY_NOT_FOUND"])
    );

    let stranger = Api::stranger().post(&json!({ "query": "{ __typename }" }));
    assert_eq!(stranger.status, 401);
    assert_eq!(stranger.challenge.as_deref(), Some("Bearer"));
    let reader = Company::new().as_role("BI_READER");
    let forbidden = reader.post(&json!({ "query": "{ members { id } }" }));
    assert_eq!(
        (forbidden.status, codes(&forbidden.json())),
        (200, vec!["FORBIDDEN"])
    );
    let deleted = agent
        .delete(&endpoint)
        .header("authorization", api.authorization())
        .call()
        .expect("an answer");
    assert_eq!(deleted.status(), 405);
    assert_eq!(deleted.headers()["allow"], "GET, POST");
}

/// A server of its own for what would be in everybody's way.
struct Private {
    data: PathBuf,
    token: String,
}

impl Private {
    fn new() -> Private {
        let data = std::env::temp_dir().join(format!("encours-{}", Uuid::now_v7().simple()));
        std::fs::create_dir(&data).expect("a directory");
        Private {
            data,
            token: String::new(),
        }
    }

    fn ask(&self, server: &Second) -> Answer {
        let headers = [("authorization", format!("Bearer {}", self.token))];
        let body = json!({ "query": "{ legalRates { kind } }" });
        server.send("/graphql", &headers, &body)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

#[test]
fn what_takes_too_long_is_504_and_what_finds_no_connection_is_503() {
    // It locks a table: not in a database that was given to the tests.
    if crate::harness::database().is_some() {
        return;
    }
    let mut private = Private::new();
    let narrow = Second::on(&private.data, &[("ENCOURS_POOL_SIZE", "1")]);
    let impatient = Second::on(&private.data, &[("ENCOURS_STATEMENT_SECONDS", "1")]);
    let hurried = Second::on(
        &private.data,
        &[
            ("ENCOURS_STATEMENT_SECONDS", "1"),
            ("ENCOURS_REQUEST_SECONDS", "1"),
        ],
    );
    let company = command_on(&private.data, &["company", "create", "--name", "Test"]);
    let token = ["token", "--company", company.as_str(), "--role", "ADMIN"];
    private.token = command_on(&private.data, &token);

    let run = private.data.join("run");
    let url = format!(
        "host={} port=5432 user=encours dbname=encours",
        run.display()
    );
    let mut owner = diesel::PgConnection::establish(&url).expect("the owner's connection");
    owner
        .batch_execute("BEGIN; LOCK TABLE legal_rates IN ACCESS EXCLUSIVE MODE")
        .expect("the lock");
    // By the statement's limit, and by the request's.
    for server in [&impatient, &hurried] {
        let answer = private.ask(server);
        assert_eq!(
            (answer.status, codes(&answer.json())),
            (504, vec!["TIMEOUT"])
        );
    }
    // One has the connection until its lock is given up, one has it after that, and one goes away.
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| private.ask(&narrow)))
            .collect();
        asked
            .into_iter()
            .map(|it| it.join().expect("an answer"))
            .collect()
    });
    let busy = answers.iter().find(|answer| answer.status == 503);
    let busy = busy.expect("a request that finds no connection");
    assert_eq!(codes(&busy.json()), ["UNAVAILABLE"]);
    assert_eq!(busy.retry_after.as_deref(), Some("1"));

    owner
        .batch_execute("ROLLBACK")
        .expect("the end of the lock");
    for server in [&narrow, &impatient, &hurried] {
        let answer = private.ask(server);
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    drop((narrow, impatient, hurried));
}
