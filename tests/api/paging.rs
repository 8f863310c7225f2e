//! Every list of the schema pages forward and backward over the same rows in the same order.

use serde_json::{Value, json};

use crate::harness::{Api, Company, day};

/// Places that have lists below them: the type, and the query around a field of it.
const PLACES: [(&str, &str, &str); 7] = [
    ("Query", "", ""),
    ("Client", "client(ref: { number: \"C001\" }) {", "}"),
    ("Invoice", "invoice(ref: { number: \"FA-1-C001\" }) {", "}"),
    ("Payment", "payment(ref: { number: \"RG-C001\" }) {", "}"),
    ("AgedBalance", "agedBalance {", "}"),
    ("GeneralLedger", "generalLedger(account: \"411\") {", "}"),
    ("DoubtfulDebtProvision", "doubtfulDebtProvision {", "}"),
];

#[test]
fn ranges_that_hold_nothing_and_policies_that_are_two_are_refused() {
    let api = Company::new().admin();
    for (field, filter) in [
        (
            "issuedTo",
            "issuedFrom: \"2026-02-01\", issuedTo: \"2026-01-01\"",
        ),
        ("dueTo", "dueFrom: \"2026-02-01\", dueTo: \"2026-01-31\""),
        (
            "maxTotal",
            "currency: \"EUR\", minTotal: \"2.00\", maxTotal: \"1.99\"",
        ),
    ] {
        let answer = api.run(
            &format!("{{ invoices(filter: {{ {filter} }}) {{ totalCount }} }}"),
            json!({}),
        );
        assert_eq!(
            answer["errors"][0]["extensions"]["field"], field,
            "{answer}"
        );
    }
    let answer = api.run("{ doubtfulDebtProvision(policy: { name: \"default\", rates: [\"0\", \"0\", \"0\", \"0\", \"0\"] }) { asOf } }", json!({}));
    assert_eq!(
        answer["errors"][0]["extensions"]["field"], "policy.name",
        "{answer}"
    );
    // An instant says its form.
    let answer = api.run(
        "{ agedBalance(knownAt: \"2026-10-01\") { asOf } }",
        json!({}),
    );
    assert!(
        answer["errors"][0]["message"]
            .as_str()
            .is_some_and(|said| said.contains("2026-03-31T")),
        "{answer}"
    );
}

fn books() -> Api {
    books_of(&Company::new())
}

fn books_of(company: &Company) -> Api {
    let api = company.admin();
    for client in ["C001", "C002", "C003"] {
        api.client(client);
        for n in 1..=3 {
            api.invoice(
                client,
                &format!("FA-{n}-{client}"),
                &day(&format!("0{n}-10")),
                &day(&format!("0{n}-25")),
                ("1000.00", "20"),
            );
        }
        let receipt = format!("RG-{client}");
        api.payment(client, &receipt, &day("03-01"), "500.00");
        for n in 1..=3 {
            let invoice = format!("FA-{n}-{client}");
            api.allocate(&day("03-20"), &[(&invoice, &receipt, "50.00")]);
        }
    }
    api
}

/// The lists of a type that need no argument.
fn lists(api: &Api, of: &str) -> Vec<String> {
    let answer = api.data(
        "query($name: String!) { __type(name: $name) { fields { name args { name defaultValue type { kind } } type { kind ofType { name } } } } }",
        json!({ "name": of }),
    );
    let fields = answer["__type"]["fields"].as_array().expect("fields");
    let needs = |argument: &Value| {
        argument["type"]["kind"] == "NON_NULL" && argument["defaultValue"].is_null()
    };
    fields
        .iter()
        .filter(|field| {
            let name = field["type"]["ofType"]["name"].as_str().unwrap_or_default();
            name.ends_with("Connection")
                && !field["args"]
                    .as_array()
                    .expect("arguments")
                    .iter()
                    .any(needs)
        })
        .map(|field| field["name"].as_str().expect("name").to_owned())
        .collect()
}

/// The cursors of a list, page by page, and the number of rows it says it has.
fn walk(api: &Api, place: (&str, &str), list: &str, backward: bool) -> (Vec<String>, usize) {
    let (size, from, more, edge) = if backward {
        ("last", "before", "hasPreviousPage", "startCursor")
    } else {
        ("first", "after", "hasNextPage", "endCursor")
    };
    let (open, close) = place;
    let document = format!(
        "query($from: String) {{ {open} {list}({size}: 2, {from}: $from) {{ totalCount edges {{ cursor }} \
           pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} {close} }}"
    );
    let (mut found, mut cursor, mut pages) = (Vec::new(), Value::Null, 0);
    loop {
        let mut answer = api.data(&document, json!({ "from": cursor }));
        if !open.is_empty() {
            let parent = open.split(['(', ' ']).next().expect("a field");
            answer = answer[parent].clone();
        }
        let page = &answer[list];
        let cursors = page["edges"].as_array().expect("edges").iter();
        let cursors = cursors.map(|edge| edge["cursor"].as_str().expect("cursor").to_owned());
        if backward {
            found.splice(0..0, cursors);
        } else {
            found.extend(cursors);
        }
        pages += 1;
        assert!(pages < 50, "{list} does not end");
        if page["pageInfo"][more] == false {
            let total = page["totalCount"].as_u64().expect("a count");
            return (found, usize::try_from(total).expect("a count"));
        }
        cursor = page["pageInfo"][edge].clone();
    }
}

#[test]
fn every_list_pages_both_ways_over_the_same_rows() {
    let api = books();
    let (mut seen, mut long) = (0, 0);
    for (of, open, close) in PLACES {
        for list in lists(&api, of) {
            let (forward, total) = walk(&api, (open, close), &list, false);
            let (backward, _) = walk(&api, (open, close), &list, true);
            assert_eq!(forward, backward, "{of}.{list}");
            assert_eq!(forward.len(), total, "{of}.{list}: totalCount");
            seen += 1;
            long += usize::from(total > 2);
        }
    }
    assert!(
        seen > 30 && long >= 12,
        "{seen} lists, {long} longer than a page"
    );
}

#[test]
fn first_with_last_is_an_error() {
    let api = Company::new().admin();
    for (arguments, field) in [
        ("first: 1, last: 1", "last"),
        ("first: 1, before: \"00\"", "before"),
        ("last: 101", "last"),
        ("last: 1, before: \"00\"", "before"),
    ] {
        let answer = api.run(
            &format!("{{ clients({arguments}) {{ totalCount }} }}"),
            json!({}),
        );
        let extensions = &answer["errors"][0]["extensions"];
        assert_eq!(extensions["code"], "BAD_USER_INPUT", "{arguments}");
        assert_eq!(extensions["field"], field, "{arguments}");
    }
}

/// What can be asked of the lists of a client: from both ends, twice under two names, with and without variables, by
/// rows and by edges, through fragments, and left out.
const BELOW: &str = "fragment Below on Client { number
  two: invoices(first: 2) { nodes { ...OfInvoice } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount }
  same: invoices(first: 2) { edges { cursor node { ...OfInvoice } } }
  oldest: invoices(last: $one) { nodes { number ... on Invoice { allocations(first: $one) { nodes { amount } } } } pageInfo { hasNextPage hasPreviousPage } }
  all: invoices { rows: nodes { number } }
  none: invoices(first: 0) { nodes { number } pageInfo { hasNextPage } }
  kept: invoices(first: 20) @include(if: true) { __typename }
  left: invoices(first: 1) @skip(if: true) { nodes { number } }
  creditNotes(first: $one, after: null) { nodes { number allocations(first: 3) { nodes { amount } } } }
  payments(first: 3) { nodes { number allocations(last: 1) { nodes { amount effectiveOn } } } }
  disputes { nodes { number amount } } deductions { edges { node { number dispute { number } } } } }
fragment OfInvoice on Invoice { number allocations(first: $one) { nodes { amount } pageInfo { hasNextPage endCursor } }
  last: allocations(last: 2) { nodes { amount } } first: allocations(first: $one) { edges { node { amount } cursor } }
  creditNotes(first: 3) { nodes { number } } deductions(first: 3) { nodes { amount } totalCount } disputes(last: 3) { nodes { number } } }";

#[test]
fn lists_below_the_rows_of_a_page_are_those_of_each_record_alone() {
    let api = Company::new().admin();
    (1..=3).for_each(|number| crate::limits::client_with_everything(&api, number));
    api.client("C004");
    let ask = |query: &str| api.data(&format!("{query} {BELOW}"), json!({ "one": 1 }));
    let alone = |number: usize| {
        let client = format!("client(ref: {{ number: \"C{number:03}\" }}) {{ ...Below }}");
        ask(&format!("query($one: Int) {{ {client} }}"))["client"].clone()
    };
    let alone: Vec<Value> = (1..=4).map(alone).collect();
    let page = |asked: &str| ask(&format!("query($one: Int) {{ {asked} }}"));
    let rows = page("clients(first: 4) { nodes { ...Below } }");
    assert_eq!(rows["clients"]["nodes"], json!(alone));
    let edges = page("clients(first: 3) { edges { node { ...Below } } }");
    for (place, edge) in edges["clients"]["edges"]
        .as_array()
        .expect("edges")
        .iter()
        .enumerate()
    {
        assert_eq!(edge["node"], alone[place]);
    }
    // One record in two rows of a level.
    let twice = page(
        "clients(last: 2) { nodes { ...Below } } again: clients(last: 2) { nodes { ...Below } }",
    );
    assert_eq!(twice["clients"]["nodes"], json!(alone[2..]));
    assert_eq!(twice["again"], twice["clients"]);
    // What they are compared with has something in it.
    let (invoice, other) = (&alone[0]["two"]["nodes"][0], &alone[0]["same"]["edges"][0]);
    assert_eq!(*invoice, other["node"]);
    let amounts = |list: &Value| list["nodes"].as_array().map_or(0, Vec::len);
    let counts = [
        "allocations",
        "last",
        "creditNotes",
        "deductions",
        "disputes",
    ];
    assert_eq!(
        counts.map(|list| amounts(&invoice[list])),
        [1, 2, 1, 1, 2],
        "{invoice}"
    );
    assert_eq!(invoice["allocations"]["pageInfo"]["hasNextPage"], true);
    assert_eq!(
        alone[3]["two"],
        json!({ "nodes": [], "totalCount": 0,
        "pageInfo": { "hasNextPage": false, "hasPreviousPage": false, "startCursor": null, "endCursor": null } })
    );
    assert!(alone[0].get("left").is_none());
    // A page that cannot be is refused below each row, and the other lists are there.
    let wrong = api.run("{ clients(first: 2) { nodes { number invoices(first: 101) { nodes { number } } disputes(first: 1) { nodes { number } } } } }", json!({}));
    let errors = wrong["errors"].as_array().expect("errors");
    assert_eq!(errors.len(), 2, "{wrong}");
    assert_eq!(errors[0]["extensions"]["field"], "first", "{wrong}");
}

/// All that rows of a type can be asked for without arguments: what stands in them, and the rows of the lists below.
fn everything_of(api: &Api, type_name: &str, below: bool) -> String {
    let answer = api.data(
        "query($name: String!) { __type(name: $name) { fields { name type { ...Named } args { type { kind } defaultValue } } } }
         fragment Named on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }",
        json!({ "name": type_name }),
    );
    let fields = answer["__type"]["fields"].as_array().expect("fields");
    let mut asked = vec!["__typename".to_owned()];
    for field in fields {
        let (mut kind, name) = (&field["type"], field["name"].as_str().expect("a name"));
        while !kind["ofType"].is_null() {
            kind = &kind["ofType"];
        }
        let leads_to = kind["name"].as_str().expect("a type");
        match kind["kind"].as_str() {
            Some("SCALAR" | "ENUM") if field["args"] == json!([]) => asked.push(name.to_owned()),
            _ if below && name != "openItems" => {
                if let Some(rows) = leads_to.strip_suffix("Connection") {
                    let rows = everything_of(api, rows, false);
                    asked.push(format!("{name}(first: 3) {{ nodes {{ {rows} }} }}"));
                }
            }
            _ => {}
        }
    }
    asked.join(" ")
}

#[test]
fn rows_that_are_written_as_text_are_those_that_the_library_builds() {
    let company = Company::new();
    let api = books_of(&company);
    crate::limits::client_with_everything(&api, 4);
    // Seals come in the background, between two looks at the trail.
    crate::audit::sealed(&company);
    let (mut rows, mut texts) = (0, 0);
    for (of, open, close) in PLACES {
        for list in lists(&api, of) {
            let name = format!("{of}.{list}");
            let query =
                format!("{{ {open} {list}(first: 1) {{ nodes {{ __typename }} }} {close} }}");
            let place = |answer: &Value| match open.split(['(', ' ']).next() {
                Some(parent) if !parent.is_empty() => {
                    answer["data"][parent][&list]["nodes"].clone()
                }
                _ => answer["data"][&list]["nodes"].clone(),
            };
            let first = place(&api.run(&query, json!({})));
            let Some(type_name) = first[0]["__typename"].as_str() else {
                continue;
            };
            let asked = everything_of(&api, type_name, true);
            let nodes = format!("nodes {{ {asked} }}");
            let ask = |asked: &str, fragment: &str| {
                let query =
                    format!("{{ {open} {list}(first: 20) {{ {asked} }} {close} }} {fragment}");
                api.run(&query, json!({}))
            };
            let text = ask(&nodes, "");
            // What is asked for twice is put together by the library.
            let built = ask(&format!("nodes {{ __typename }} {nodes}"), "");
            assert_eq!(text["data"], built["data"], "{name}");
            let errors = |answer: &Value| answer["errors"].to_string();
            assert_eq!(errors(&text), errors(&built), "{name}");
            let fragment = format!("fragment Row on {type_name} {{ {asked} }}");
            let text = ask("nodes { ...Row }", &fragment);
            assert_eq!(text["data"], built["data"], "{name}");
            rows += place(&text).as_array().map_or(0, Vec::len);
            texts += 1;
        }
    }
    assert!(texts > 15 && rows > 50, "{texts} lists, {rows} rows");
}

#[test]
fn one_page_that_two_places_wait_for_is_there_in_both() {
    let api = Company::new().admin();
    crate::limits::client_with_everything(&api, 1);
    let ask = |asked: &str| {
        let query = format!("{{ client(ref: {{ number: \"C001\" }}) {{ {asked} }} }}");
        api.data(&query, json!({}))["client"].clone()
    };
    let note = ask(
        "creditNotes(first: 1) { nodes { number allocations(first: 1) { nodes { amount } pageInfo { endCursor } } } }",
    );
    let note = &note["creditNotes"]["nodes"][0];
    // The same list from a later day on: a cursor, so that it is not read ahead.
    let cursor = note["allocations"]["pageInfo"]["endCursor"].as_str();
    let cursor = cursor.expect("an allocation");
    let (place, day) = cursor.split_at(cursor.len() - 20);
    let day = day
        .as_bytes()
        .chunks(2)
        .map(|sign| std::str::from_utf8(sign).expect("hex"));
    let day: String = day
        .enumerate()
        .map(|(sign, hex)| if sign < 4 { "39" } else { hex })
        .collect();
    let rest = format!(
        "nodes {{ number allocations(first: 1, after: \"{place}{day}\") {{ nodes {{ amount }} }} }}"
    );
    let both = ask(&format!(
        "invoices(first: 1) {{ nodes {{ number creditNotes(first: 1) {{ {rest} }} }} }} creditNotes(first: 1) {{ {rest} }}"
    ));
    let below = &both["invoices"]["nodes"][0]["creditNotes"]["nodes"][0];
    assert_eq!(*below, both["creditNotes"]["nodes"][0], "{both}");
    assert_eq!(below["allocations"]["nodes"], note["allocations"]["nodes"]);
    assert_eq!(below["number"], note["number"]);
}
