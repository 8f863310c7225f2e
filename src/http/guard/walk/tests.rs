//! Documents that must run, and documents that must not.

use std::time::{Duration, Instant};

use async_graphql::parser::parse_query;
use serde_json::json;

use super::*;
use crate::http::guard::lexical_scan;
use crate::http::guard::measure::RECORD;

/// What graphql-js asks for GraphiQL, with every option on.
const INTROSPECTION: &str = "query IntrospectionQuery {
    __schema { description queryType { name kind } mutationType { name kind } subscriptionType { name kind }
      types { ...FullType }
      directives { name description isRepeatable locations args(includeDeprecated: true) { ...InputValue } } } }
  fragment FullType on __Type { kind name description specifiedByURL isOneOf
    fields(includeDeprecated: true) { name description args(includeDeprecated: true) { ...InputValue }
      type { ...TypeRef } isDeprecated deprecationReason }
    inputFields(includeDeprecated: true) { ...InputValue } interfaces { ...TypeRef }
    enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
    possibleTypes { ...TypeRef } }
  fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue isDeprecated deprecationReason }
  fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name
    ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } } } } }";

fn measured(document: &str, variables: serde_json::Value) -> Result<Walk, Rejection> {
    lexical_scan(document, &Limits::default())?;
    let doc = parse_query(document).unwrap();
    walk(
        &doc,
        None,
        &Variables::from_json(variables),
        &Limits::default(),
    )
}

#[track_caller]
fn assert_too_complex(document: &str, measure: &str) {
    let rejection = measured(document, json!({})).unwrap_err();
    assert_eq!(
        rejection.code, "OPERATION_TOO_COMPLEX",
        "{}",
        rejection.message
    );
    assert_eq!(rejection.details["measure"], measure);
}

/// Fragments that each spread the next one twice.
fn bomb(levels: usize, leaf: &str) -> String {
    let mut document = String::from("{...f0}");
    for level in 0..levels - 1 {
        let next = level + 1;
        document += &format!("fragment f{level} on Query{{...f{next} ...f{next}}}");
    }
    document + &format!("fragment f{} on Query{{{leaf}}}", levels - 1)
}

#[test]
fn graphiql_may_ask_for_the_schema() {
    let walk = measured(INTROSPECTION, json!({})).unwrap();
    assert!(walk.introspection);
    assert_eq!(
        (walk.depth, walk.root_fields),
        (15, vec!["__schema".to_owned()])
    );
    assert_eq!(walk.operation_name.as_deref(), Some("IntrospectionQuery"));
}

#[test]
fn a_fragment_bomb_is_measured_in_no_time() {
    let started = Instant::now();
    for levels in [24, 31] {
        assert_too_complex(&bomb(levels, "a"), "expanded nodes");
    }
    assert_too_complex(&bomb(100, "a"), "levels of selection");
    assert_too_complex(&bomb(24, "a").replace("{...f0}", "{a}"), "expanded nodes");
    assert!(
        started.elapsed() < Duration::from_millis(500),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn floods_are_refused() {
    let aliases: String = (0..31).map(|n| format!("a{n}:a ")).collect();
    assert_too_complex(&format!("{{b{{{aliases}}}}}"), "aliases");
    assert_too_complex(
        &format!("{{a {}}}", "@include(if:true)".repeat(51)),
        "directives",
    );
    assert_too_complex(&format!("{{{}}}", "a ".repeat(21)), "root fields");
    assert_too_complex(
        &format!("mutation{{{}}}", "a ".repeat(6)),
        "root fields of a mutation",
    );
    assert_too_complex(&("{a".repeat(16) + &"}".repeat(16)), "depth");
    assert_too_complex(
        &format!("{{a{}}}", "{...".repeat(40) + "{a}" + &"}".repeat(40)),
        "levels of selection",
    );
    assert_too_complex(
        &format!("{{a(b:[{}])}}", "1 ".repeat(101)),
        "values in one list",
    );
    assert_too_complex(
        &format!("query({}){{a}}", "$a:Int ".repeat(101)),
        "variables",
    );
    let operations: String = (0..6).map(|n| format!("query q{n}{{a}}")).collect();
    assert_too_complex(&operations, "operations");
}

#[test]
fn the_schema_about_itself_is_not_multiplied() {
    assert_too_complex(
        "{__schema{types{fields{type{fields{name}}}}}}",
        "introspection lists",
    );
    assert_too_complex(
        "{__type(name:\"A\"){...T}} fragment T on __Type{fields{type{interfaces{fields{name}}}}}",
        "introspection lists",
    );
    assert!(
        measured(
            "{__type(name:\"A\"){fields{type{fields{name}}}}}",
            json!({})
        )
        .is_ok()
    );
}

#[test]
fn a_fragment_that_spreads_itself_is_refused() {
    for document in [
        "{...a} fragment a on Query{...a}",
        "{...a} fragment a on Query{b{...b}} fragment b on B{...{...a}}",
        "{a} fragment a on Query{...b} fragment b on Query{...a}",
    ] {
        assert_eq!(
            measured(document, json!({})).unwrap_err().code,
            "GRAPHQL_VALIDATION_FAILED",
            "{document}"
        );
    }
}

#[test]
fn pages_multiply_the_cost_of_their_rows() {
    let rows =
        "query($n: Int = 30, $ids: [ID!]) { clients(first: $n) { nodes { name } totalCount } }";
    // In points: a record 10, a value 1.
    let cases = [
        ("{ a b { c } }", json!({}), 1 + 10 + 1),
        (
            "{ clients(first: 10) { nodes { name } totalCount } }",
            json!({}),
            10 + 10 * 11 + 1,
        ),
        (
            "{ clients { edges { node { name } } } }",
            json!({}),
            10 + 20 * 21,
        ),
        (
            "{ clients(last: 7) { ...C } } fragment C on C { nodes { name } }",
            json!({}),
            10 + 7 * 11,
        ),
        ("{ lines(first: 10) { name } }", json!({}), 10 + 10),
        (
            "{ clients(first: 10) { nodes { invoices(first: 20) { nodes { id } } } } }",
            json!({}),
            10 + 10 * (20 + 20 * 11),
        ),
        (
            "{ clients(first: 100000) { nodes { name } } }",
            json!({}),
            10 + 100 * 11,
        ),
        (
            "{ nodes(ids: [\"a\", \"b\", \"c\"]) { id total } }",
            json!({}),
            10 + 3 * 2,
        ),
        (rows, json!({}), 10 + 30 * 11 + 1),
        (rows, json!({"n": 50}), 10 + 50 * 11 + 1),
        (rows, json!({"n": "many"}), 10 + 20 * 11 + 1),
    ];
    for (document, variables, points) in cases {
        let walk = measured(document, variables.clone()).unwrap();
        assert_eq!(
            walk.cost,
            usize::div_ceil(points, RECORD),
            "{document} {variables}"
        );
    }
}

#[test]
fn the_cost_is_bounded() {
    let document = "query($n: Int!) { a(first: $n) { nodes { b(first: $n) { nodes { c } } } } }";
    let walk = measured(document, json!({"n": 90})).unwrap();
    assert_eq!(walk.cost, (10 + 90 * (20 + 90 * 11)) / 10);
    let refused = measured(document, json!({"n": 100})).unwrap_err();
    assert_eq!(
        (refused.code, refused.status),
        ("OPERATION_TOO_COMPLEX", 400)
    );
    assert_eq!(
        (&refused.details["limit"], &refused.details["actual"]),
        (&json!(10_000), &json!(11_201))
    );
}

#[test]
fn variables_must_fit_the_operation() {
    let document = "query($a: Int! $b: [Int!] $c: Int! = 1 $d: Int) { a(b: {c: [$a]} d: 1) }";
    assert_eq!(
        measured(document, json!({"a": 1}))
            .unwrap()
            .variable_arguments
            .len(),
        1
    );
    for variables in [json!({}), json!({"a": null}), json!({"a": 1, "c": null})] {
        assert_eq!(
            measured(document, variables.clone()).unwrap_err().code,
            "BAD_USER_INPUT",
            "{variables}"
        );
    }
    let uses = "$b ".repeat(90);
    let copies = format!("query($b: A){{a(b:[[{uses}] [{uses}] [{uses}]])}}");
    let refused = measured(&copies, json!({"b": vec![vec![1; 50]; 50]})).unwrap_err();
    assert_eq!(
        (refused.code, &refused.details["measure"]),
        ("OPERATION_TOO_COMPLEX", &json!("values of all arguments"))
    );
    let flood = measured(document, json!({"a": 1, "b": vec![1; 101]})).unwrap_err();
    assert_eq!(
        (flood.code, &flood.details["actual"]),
        ("OPERATION_TOO_COMPLEX", &json!(101))
    );
}

#[test]
fn the_operation_must_be_named_when_there_are_several() {
    let doc = parse_query("query q{a} mutation m{b}").unwrap();
    let chosen = |name| walk(&doc, name, &Variables::default(), &Limits::default());
    for name in [None, Some("x")] {
        assert_eq!(
            chosen(name).unwrap_err().code,
            "OPERATION_RESOLUTION_FAILURE"
        );
    }
    let walk = chosen(Some("m")).unwrap();
    assert_eq!(
        (walk.operation_type, walk.root_fields),
        (OperationType::Mutation, vec!["b".to_owned()])
    );
}
