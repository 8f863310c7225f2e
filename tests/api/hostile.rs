//! Every operation of the schema with values that nobody sends in good faith: the answer may refuse, it never breaks.
//!
//! The documents are made from the published schema, so a new field is tried without touching this file. The same seed
//! makes the same documents; `ENCOURS_HOSTILE_ROUNDS` tries more of them.

use std::collections::HashMap;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, FieldDefinition, InputValueDefinition, Type, TypeKind, TypeSystemDefinition,
};
use serde_json::{Value, json};

use crate::harness::{Api, Company, codes, day, today};
use crate::live::eventually;

/// A generator of numbers that is the same everywhere (xorshift).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).expect("a small number")
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.roll(from.len())]
    }
}

pub struct Known {
    types: HashMap<String, TypeKind>,
    one_of: Vec<String>,
    ids: Vec<String>,
}

impl Known {
    pub fn read(sdl: &str, ids: Vec<String>) -> Known {
        let mut known = Known {
            types: HashMap::new(),
            one_of: Vec::new(),
            ids,
        };
        for definition in parse_schema(sdl).expect("the schema").definitions {
            if let TypeSystemDefinition::Type(definition) = definition {
                let name = definition.node.name.node.to_string();
                let directives = &definition.node.directives;
                if directives.iter().any(|it| it.node.name.node == "oneOf") {
                    known.one_of.push(name.clone());
                }
                known.types.insert(name, definition.node.kind);
            }
        }
        known
    }

    pub fn fields(&self, name: &str) -> Vec<&FieldDefinition> {
        match self.types.get(name) {
            Some(TypeKind::Object(object)) => object.fields.iter().map(|it| &it.node).collect(),
            Some(TypeKind::Interface(object)) => object.fields.iter().map(|it| &it.node).collect(),
            _ => Vec::new(),
        }
    }

    fn value(&self, of: &Type, dice: &mut Dice) -> Value {
        if of.nullable && dice.roll(8) == 0 {
            return Value::Null;
        }
        match &of.base {
            BaseType::List(inner) => {
                let count = *dice.pick(&[0, 1, 1, 2, 3]);
                (0..count).map(|_| self.value(inner, dice)).collect()
            }
            BaseType::Named(name) => self.named(name, dice),
        }
    }

    fn named(&self, name: &str, dice: &mut Dice) -> Value {
        let today = today().to_string();
        match (name, self.types.get(name)) {
            ("Int", _) => json!(dice.pick(&[0, 1, 2, 5, 20, -1, 101, i32::MAX, i32::MIN])),
            ("Boolean", _) => json!(dice.roll(2) == 0),
            ("ID", _) if dice.roll(4) > 0 => json!(dice.pick(&self.ids)),
            ("Date", _) => json!(dice.pick(&[
                today.as_str(),
                "2026-01-31",
                "1900-01-01",
                "2200-12-31",
                "0001-01-01",
                "2026-02-30"
            ])),
            ("DateTime", _) => json!(dice.pick(&[
                "2026-01-31T00:00:00Z",
                "1970-01-01T00:00:00+14:00",
                "9999-12-31T23:59:59Z",
                "yesterday"
            ])),
            ("Decimal", _) => json!(dice.pick(&[
                "100.00",
                "1",
                "0",
                "-1.00",
                "0.005",
                "99999999999999999999999999",
                "1e9",
                "NaN",
                "20"
            ])),
            ("JSON", _) => json!({ "tolerance": 1 }),
            (_, Some(TypeKind::Enum(values))) => {
                json!(dice.pick(&values.values).node.value.node.as_str())
            }
            (_, Some(TypeKind::InputObject(input))) => {
                let fields: Vec<&InputValueDefinition> =
                    input.fields.iter().map(|it| &it.node).collect();
                let one_of = self.one_of.contains(&name.to_owned());
                let only = one_of.then(|| dice.roll(fields.len()));
                let mut object = serde_json::Map::new();
                for (place, field) in fields.into_iter().enumerate() {
                    let needed = !field.ty.node.nullable && field.default_value.is_none();
                    let taken = match only {
                        Some(only) => only == place,
                        None => needed || dice.roll(2) == 0,
                    };
                    if taken {
                        let mut value = self.value(&field.ty.node, dice);
                        while one_of && value.is_null() {
                            value = self.value(&field.ty.node, dice);
                        }
                        object.insert(field.name.node.to_string(), value);
                    }
                }
                Value::Object(object)
            }
            _ => json!(dice.pick(&[
                "C001",
                "FA-1",
                "EUR",
                "RG-1",
                "TRANSFER",
                "note",
                "411000",
                "",
                " ",
                "é\u{301}",
                "\u{0}",
                "'; DROP TABLE items; --",
                "{{client}}",
                "\u{202e}🦀",
                "a@b.example",
                "http://127.0.0.1/",
                "2026",
                "../../etc/passwd",
                "=1+1",
                "x\r\nBcc: y@z.example",
                LONG,
            ])),
        }
    }

    /// Values of an object, and of the objects right below it; only what needs no argument.
    pub fn selection(&self, of: &Type, depth: usize, dice: &mut Dice) -> String {
        let name = base(of);
        let mut parts = Vec::new();
        for field in self.fields(name) {
            let asks = field
                .arguments
                .iter()
                .any(|it| !it.node.ty.node.nullable && it.node.default_value.is_none());
            if asks {
                continue;
            }
            let inner = base(&field.ty.node);
            let leaf = self.fields(inner).is_empty()
                && !matches!(self.types.get(inner), Some(TypeKind::Union(_)));
            if leaf {
                parts.push(field.name.node.to_string());
            } else if depth > 0 && dice.roll(3) > 0 && !self.fields(inner).is_empty() {
                let below = self.selection(&field.ty.node, depth - 1, dice);
                if !below.is_empty() {
                    parts.push(format!("{}{below}", field.name.node));
                }
            }
        }
        match (parts.is_empty(), self.fields(name).is_empty()) {
            (_, true) => String::new(),
            (true, false) => " { __typename }".to_owned(),
            _ => format!(" {{ {} }}", parts.join(" ")),
        }
    }

    pub fn document(
        &self,
        kind: &str,
        field: &FieldDefinition,
        dice: &mut Dice,
    ) -> (String, Value) {
        let (mut declared, mut given, mut values) =
            (Vec::new(), Vec::new(), serde_json::Map::new());
        for argument in field.arguments.iter().map(|it| &it.node) {
            let needed = !argument.ty.node.nullable && argument.default_value.is_none();
            if needed || dice.roll(3) > 0 {
                let name = &argument.name.node;
                declared.push(format!("${name}: {}", argument.ty.node));
                given.push(format!("{name}: ${name}"));
                values.insert(name.to_string(), self.value(&argument.ty.node, dice));
            }
        }
        let wrap = |parts: &[String]| {
            if parts.is_empty() {
                String::new()
            } else {
                format!("({})", parts.join(", "))
            }
        };
        let selection = self.selection(&field.ty.node, 2, dice);
        let document = format!(
            "{kind}{} {{ {}{}{selection} }}",
            wrap(&declared),
            field.name.node,
            wrap(&given)
        );
        (document, Value::Object(values))
    }
}

const LONG: &str = "ÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿ";

pub fn base(of: &Type) -> &str {
    match &of.base {
        BaseType::Named(name) => name.as_str(),
        BaseType::List(inner) => base(inner),
    }
}

/// A company with one record of most kinds: their ids, and some that are none.
fn stocked(company: &Company, api: &Api) -> Vec<String> {
    let client = api.client("C001");
    let invoice = api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-10"),
        ("1000.00", "20"),
    );
    let payment = api.payment("C001", "RG-1", &day("02-20"), "200.00");
    let dispute = api.make(
        "OpenDispute",
        json!({ "invoice": { "number": "FA-1" }, "reason": "BLIV", "amount": "100.00" }),
    );
    let mut ids: Vec<String> = [
        &client["id"],
        &invoice["id"],
        &payment["id"],
        &dispute["dispute"]["id"],
        &json!(company.id),
    ]
    .into_iter()
    .filter_map(|id| id.as_str().map(str::to_owned))
    .collect();
    let items = api.account_items("C001");
    ids.extend(
        items
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|item| item["id"].as_str().map(str::to_owned)),
    );
    ids.extend(
        [
            "",
            "cli_",
            "cli_00000000000000000000000000000000",
            "dun_ffffffffffffffffffffffffffffffff",
            "me",
            "x",
        ]
        .map(str::to_owned),
    );
    ids
}

#[test]
fn nothing_that_is_sent_breaks_the_server() {
    let rounds: usize = std::env::var("ENCOURS_HOSTILE_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(3);
    let company = Company::new();
    let api = company.admin();
    let ids = stocked(&company, &api);
    let sdl = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/schema.graphql"))
        .expect("the schema");
    let known = Known::read(&sdl, ids);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut broken = Vec::new();
    let mut reached = 0;
    for round in 0..rounds {
        for (kind, root) in [("query", "Query"), ("mutation", "Mutation")] {
            for field in known.fields(root) {
                let (document, variables) = known.document(kind, field, &mut dice);
                let answer = api.post(&json!({ "query": document, "variables": variables }));
                let shown = answer.json();
                let fault = answer.status >= 500
                    || codes(&shown).contains(&"INTERNAL_SERVER_ERROR")
                    || answer.text.contains("(none)");
                if fault {
                    broken.push(format!(
                        "round {round}: {document}\n{variables}\n{} {}",
                        answer.status, answer.text
                    ));
                }
                if !shown["data"].is_null() {
                    reached += 1;
                }
            }
        }
    }
    assert!(
        broken.is_empty(),
        "{} broke:\n{}",
        broken.len(),
        broken.join("\n\n")
    );
    // Most of it gets past the door, or nothing was tried.
    assert!(reached > rounds * 50, "{reached} documents were executed");
    api.sound();
}

#[test]
fn another_company_and_another_portfolio_learn_nothing() {
    const MARK: &str = "Zébulon-7f3a";
    let company = Company::new();
    let api = company.admin();
    let ids = stocked(&company, &api);
    let renamed = json!({ "client": { "number": "C001" }, "name": MARK });
    api.done("mutation($input: UpdateClientInput!) { updateClient(input: $input) { userErrors { message } } }", json!({ "input": renamed }));
    let note = json!({ "client": { "number": "C001" }, "kind": "NOTE", "note": MARK });
    api.done("mutation($input: RecordCollectionNoteInput!) { recordCollectionNote(input: $input) { userErrors { message } } }", json!({ "input": note }));
    api.client("BEFORE");
    let sdl = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/schema.graphql"))
        .expect("the schema");
    let known = Known::read(&sdl, ids);
    let strangers = [Company::new().admin(), company.as_role("SALES")];
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    for stranger in &strangers {
        for (kind, root) in [("query", "Query"), ("mutation", "Mutation")] {
            for field in known.fields(root) {
                let (document, variables) = known.document(kind, field, &mut dice);
                let answer = stranger.post(&json!({ "query": document, "variables": variables }));
                assert!(
                    !answer.text.contains(MARK),
                    "{document}\n{variables}\n{}",
                    answer.text
                );
                let total = format!("query {{ {} {{ totalCount }} }}", field.name.node);
                if base(&field.ty.node).ends_with("Connection")
                    && field.arguments.iter().all(|it| it.node.ty.node.nullable)
                {
                    let counted = stranger.post(&json!({ "query": total })).json();
                    let count = &counted["data"][field.name.node.as_str()]["totalCount"];
                    assert!(
                        count.is_null()
                            || *count == 0
                            || root == "Query" && is_own(field.name.node.as_str()),
                        "{total}: {counted}"
                    );
                }
            }
        }
    }
    // Nothing of it was changed either: clients, documents, payments and disputes are as they were.
    api.client("AFTER");
    let told = told_until(&api, "AFTER");
    let begun = told
        .iter()
        .position(|change| change["client"]["number"] == "BEFORE")
        .expect("the client before");
    assert_eq!(told.len(), begun + 2, "{:?}", &told[begun..]);
}

/// What the feed tells of a company, up to the opening of a client. It waits for transactions of other tests that
/// began before, so that nothing done in the meantime is missing.
fn told_until(api: &Api, client: &str) -> Vec<Value> {
    eventually("the end of the feed", || {
        let found = api.data(
            "{ changes(topics: [DOCUMENTS, PAYMENTS, DISPUTES, CLIENTS]) { changes { kind client { number } } } }",
            json!({}),
        );
        let told = found["changes"]["changes"].as_array().expect("changes");
        told.iter()
            .any(|change| change["client"]["number"] == client)
            .then(|| told.clone())
    })
}

/// Lists of what a stranger made in the course of the test, or that every company has.
fn is_own(field: &str) -> bool {
    !matches!(
        field,
        "invoices"
            | "creditNotes"
            | "deductions"
            | "disputes"
            | "dunningActions"
            | "promises"
            | "paymentPlans"
            | "litigationCases"
            | "collectionNotes"
            | "outbox"
    )
}
