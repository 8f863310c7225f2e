//! Who may do what: every field of the schema against the table of roles and actions.

use std::collections::HashMap;

use encours::domain::access::{FIELDS, Role, action_of};
use serde_json::{Value, json};

use crate::harness::{Api, Company, codes, data, day, single, today};

const INTROSPECTION: &str = "{ __schema { types { kind name isOneOf
    fields { name args { name defaultValue type { ...ref } } type { ...ref } }
    inputFields { name defaultValue type { ...ref } } enumValues { name } } } }
    fragment ref on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";

/// The types of the schema by name.
struct Types(HashMap<String, Value>);

impl Types {
    fn of(api: &Api) -> Types {
        let data = api.data(INTROSPECTION, json!({}));
        let types = data["__schema"]["types"].as_array().expect("types").iter();
        Types(
            types
                .map(|found| {
                    (
                        found["name"].as_str().expect("a name").to_owned(),
                        found.clone(),
                    )
                })
                .collect(),
        )
    }

    fn fields(&self, name: &str) -> &[Value] {
        self.0[name]["fields"].as_array().expect("fields")
    }

    /// The smallest call of a root field.
    fn call(&self, kind: &str, field: &Value) -> String {
        let arguments = self.required(&field["args"]);
        let arguments = if arguments.is_empty() {
            String::new()
        } else {
            format!("({arguments})")
        };
        let answer = named(&field["type"]);
        let selection = match answer["kind"].as_str() {
            Some("OBJECT" | "INTERFACE" | "UNION") => " { __typename }",
            _ => "",
        };
        format!(
            "{kind} {{ {}{arguments}{selection} }}",
            field["name"].as_str().expect("a name")
        )
    }

    /// What must be given, with values of no meaning.
    fn required(&self, inputs: &Value) -> String {
        let inputs = inputs.as_array().expect("inputs").iter();
        let required = inputs
            .filter(|input| input["type"]["kind"] == "NON_NULL" && input["defaultValue"].is_null());
        let shown = required.map(|input| {
            format!(
                "{}: {}",
                input["name"].as_str().expect("a name"),
                self.value(&input["type"])
            )
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    fn value(&self, of: &Value) -> String {
        let name = of["name"].as_str().unwrap_or_default();
        match (of["kind"].as_str().expect("a kind"), name) {
            ("NON_NULL", _) => self.value(&of["ofType"]),
            ("LIST", _) => format!("[{}]", self.value(&of["ofType"])),
            ("ENUM", _) => self.0[name]["enumValues"][0]["name"]
                .as_str()
                .expect("an enum value")
                .to_owned(),
            ("INPUT_OBJECT", _) if self.0[name]["isOneOf"] == true => {
                let first = &self.0[name]["inputFields"][0];
                format!(
                    "{{ {}: {} }}",
                    first["name"].as_str().expect("a name"),
                    self.value(&first["type"])
                )
            }
            ("INPUT_OBJECT", _) => format!("{{ {} }}", self.required(&self.0[name]["inputFields"])),
            ("SCALAR", "Int") => "1".into(),
            ("SCALAR", "Boolean") => "true".into(),
            ("SCALAR", "Decimal") => "\"1.00\"".into(),
            ("SCALAR", "Date") => format!("\"{}\"", today()),
            ("SCALAR", "DateTime") => format!("\"{}T00:00:00Z\"", today()),
            ("SCALAR", "JSON") => "{}".into(),
            ("SCALAR", "ID" | "String") => "\"x\"".into(),
            (kind, name) => panic!("a value for {kind} {name}"),
        }
    }
}

fn named(of: &Value) -> &Value {
    if of["ofType"].is_null() {
        of
    } else {
        named(&of["ofType"])
    }
}

#[test]
fn every_root_field_stands_in_the_table() {
    let types = Types::of(&Company::new().admin());
    for root in ["Query", "Mutation", "Subscription"] {
        for field in types.fields(root) {
            let name = format!("{root}.{}", field["name"].as_str().expect("a name"));
            assert!(
                action_of(&name).is_some(),
                "{name} stands in no row of FIELDS: nobody may use it"
            );
        }
    }
    for (name, _) in FIELDS
        .iter()
        .filter(|(name, _)| !name.starts_with("Mutation.") && !name.starts_with("Query."))
    {
        let (kind, field) = name.split_once('.').expect("Type.field");
        assert!(
            types
                .fields(kind)
                .iter()
                .any(|found| found["name"] == field),
            "{name} is not in the schema"
        );
    }
}

#[test]
fn every_role_may_do_what_the_table_says_and_nothing_else() {
    let types = Types::of(&Company::new().admin());
    for role in Role::ALL.iter().copied() {
        // What the calls do stays in the role's own company.
        let api = Company::new().as_role(role.code());
        for (root, kind) in [("Query", "query"), ("Mutation", "mutation")] {
            for field in types.fields(root) {
                let name = field["name"].as_str().expect("a name");
                let action = action_of(&format!("{root}.{name}")).expect("a row of FIELDS");
                let call = types.call(kind, field);
                let answer = api.run(&call, json!({}));
                let shown = format!("{} {call}: {answer}", role.code());
                if role.may(action) {
                    for code in codes(&answer) {
                        assert!(
                            !matches!(
                                code,
                                "FORBIDDEN"
                                    | "INTERNAL_SERVER_ERROR"
                                    | "GRAPHQL_VALIDATION_FAILED"
                                    | "(none)"
                            ),
                            "{shown}"
                        );
                    }
                } else {
                    assert_eq!(codes(&answer), ["FORBIDDEN"], "{shown}");
                    assert_eq!(answer["errors"][0]["path"], json!([name]), "{shown}");
                    assert!(answer["data"][name].is_null(), "{shown}");
                }
            }
        }
    }
}

/// A company with a record of every kind; their ids by the field that answers them.
pub fn records(api: &Api) -> Vec<(&'static str, String)> {
    let id = |record: &Value| record["id"].as_str().expect("an id").to_owned();
    let client = api.client("C001");
    let invoice = api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("1000.00", "20"),
    );
    let credit = json!({ "invoice": { "number": "FA-1" }, "number": "AV-1", "issuedOn": day("01-20"), "amount": "120.00" });
    let credit = api.make("IssueCreditNote", credit);
    let payment = api.payment("C001", "RG-1", &day("02-01"), "100.00");
    let deduction = json!({ "invoice": { "number": "FA-1" }, "amount": "50.00", "reason": "BMAN", "recordedOn": day("02-02") });
    let deduction = api.make("RecordDeduction", deduction);
    let dispute = json!({ "invoice": { "number": "FA-1" }, "amount": "60.00", "reason": "BLIV", "openedOn": day("02-03") });
    let dispute = api.make("OpenDispute", dispute);
    vec![
        ("client", id(&client)),
        ("invoice", id(&invoice)),
        ("creditNote", id(&credit["creditNote"])),
        ("payment", id(&payment)),
        ("deduction", id(&deduction["deduction"])),
        ("dispute", id(&dispute["dispute"])),
    ]
}

#[test]
fn another_company_sees_and_changes_nothing() {
    let owner = Company::new().admin();
    let stranger = Company::new().admin();
    let records = records(&owner);
    for (field, id) in &records {
        let document = format!(
            "{{ {field}(ref: {{ id: \"{id}\" }}) {{ id }} node(id: \"{id}\") {{ id }} nodes(ids: [\"{id}\", \"x\"]) {{ id }} }}"
        );
        let found = owner.data(&document, json!({}));
        assert_eq!(
            found,
            json!({ *field: { "id": id }, "node": { "id": id }, "nodes": [{ "id": id }, null] }),
            "{field}"
        );
        let found = stranger.data(&document, json!({}));
        assert_eq!(
            found,
            json!({ *field: null, "node": null, "nodes": [null, null] }),
            "{field}"
        );
    }
    let ids: HashMap<_, _> = records.into_iter().collect();
    stranger.client("C001");
    let line = json!([{ "description": "x", "quantity": "1", "unitPrice": "1", "vatRate": "20" }]);
    for (operation, input, field) in [
        (
            "IssueInvoice",
            json!({ "client": { "id": ids["client"] }, "lines": line }),
            &["client"][..],
        ),
        (
            "IssueCreditNote",
            json!({ "invoice": { "id": ids["invoice"] }, "amount": "1.00" }),
            &["invoice"],
        ),
        (
            "RecordPayment",
            json!({ "client": { "id": ids["client"] }, "method": "TRANSFER", "amount": "1.00" }),
            &["client"],
        ),
        (
            "RecordPayment",
            json!({ "client": { "number": "C001" }, "method": "TRANSFER", "amount": "1.00", "allocations": [{ "debit": { "id": ids["invoice"] } }] }),
            &["allocations", "0", "debit"],
        ),
        (
            "Allocate",
            json!({ "lines": [{ "debit": { "id": ids["invoice"] }, "credit": { "id": ids["payment"] } }] }),
            &["lines", "0", "debit"],
        ),
        (
            "OpenDispute",
            json!({ "invoice": { "id": ids["invoice"] }, "reason": "BLIV" }),
            &["invoice"],
        ),
        (
            "RecordDeduction",
            json!({ "invoice": { "id": ids["invoice"] }, "reason": "BMAN" }),
            &["invoice"],
        ),
        (
            "ResolveDispute",
            json!({ "dispute": { "id": ids["dispute"] }, "outcome": "REJECTED" }),
            &["dispute"],
        ),
        (
            "ResolveDeduction",
            json!({ "deduction": { "id": ids["deduction"] }, "outcome": "REJECTED" }),
            &["deduction"],
        ),
    ] {
        stranger.refused(operation, input, "NOT_FOUND", field);
    }
}

/// Gives a client to a sales person.
pub fn own(api: &Api, client: &str, owner: &str) {
    let updated = api.done(
        "mutation($input: UpdateClientInput!) { updateClient(input: $input) { client { salesOwner { id } } userErrors { code field message } } }",
        json!({ "input": { "client": { "number": client }, "salesOwner": owner } }),
    );
    assert_eq!(updated["client"]["salesOwner"]["id"], owner);
}

#[test]
fn sales_see_their_portfolio_in_rows_and_totals() {
    let company = Company::new();
    let admin = company.admin();
    let (sales, user) = company.as_member("SALES");
    for (client, price) in [("C001", "100.00"), ("C002", "1000.00")] {
        admin.client(client);
        let number = |kind: &str| format!("{kind}-{client}");
        admin.invoice(
            client,
            &number("FA"),
            &day("01-10"),
            &day("02-09"),
            (price, "20"),
        );
        admin.payment(client, &number("RG"), &day("02-01"), "12.00");
        admin.make("OpenDispute", json!({ "invoice": { "number": number("FA") }, "amount": "20.00", "reason": "BLIV", "openedOn": day("01-20") }));
        admin.make("RecordDeduction", json!({ "invoice": { "number": number("FA") }, "amount": "10.00", "reason": "BMAN", "recordedOn": day("01-20") }));
    }
    own(&admin, "C001", &user);

    let lists = "{ clients { totalCount nodes { number } } invoices { totalCount nodes { client { number } } }
        payments { totalCount nodes { client { number } } } disputes { totalCount nodes { client { number } } }
        deductions { totalCount nodes { client { number } } } }";
    let (seen, all) = (sales.data(lists, json!({})), admin.data(lists, json!({})));
    for list in ["clients", "invoices", "payments", "disputes", "deductions"] {
        let (mine, everything) = (&seen[list], &all[list]);
        let count = everything["totalCount"].as_i64().expect("a count");
        assert_eq!(mine["totalCount"].as_i64(), Some(count / 2), "{list}");
        assert!(!mine.to_string().contains("C002"), "{list}: {mine}");
    }
    let report = json!({ "asOf": day("02-28"), "first": 10 });
    let mut seen = sales.ask("AgedBalance", report.clone());
    let rows = seen["agedBalance"]["rows"].take();
    assert_eq!(rows["totalCount"], 1);
    let row = single(rows["nodes"].clone());
    assert_eq!(
        (&row["client"]["number"], &row["total"], &row["disputed"]),
        (&json!("C001"), &json!("108.00"), &json!("30.00"))
    );
    let totals = single(seen["agedBalance"]["totals"].take());
    for column in ["buckets", "unallocated", "total", "overdue", "disputed"] {
        assert_eq!(totals[column], row[column], "{column}");
    }
    assert_eq!(
        single(admin.ask("AgedBalance", report)["agedBalance"]["totals"].take())["total"],
        "1296.00"
    );

    let foreign = "{ client(ref: { number: \"C002\" }) { name } invoice(ref: { number: \"FA-C002\" }) { total } payment(ref: { number: \"RG-C002\" }) { amount } }";
    assert_eq!(
        sales.data(foreign, json!({})),
        json!({ "client": null, "invoice": null, "payment": null })
    );
    sales.refused(
        "OpenDispute",
        json!({ "invoice": { "number": "FA-C002" }, "reason": "BPRX" }),
        "NOT_FOUND",
        &["invoice"],
    );
    sales.make("OpenDispute", json!({ "invoice": { "number": "FA-C001" }, "amount": "5.00", "reason": "BPRX", "openedOn": day("01-21") }));
}

#[test]
fn personal_data_of_contacts_is_hidden_from_bi() {
    let company = Company::new();
    let admin = company.admin();
    admin.client("C001");
    admin.done(
        "mutation($input: AddContactInput!) { addContact(input: $input) { client { number } userErrors { code field message } } }",
        json!({ "input": { "client": { "number": "C001" }, "role": "ACCOUNTING", "name": "Dominique", "email": "d@example.com" } }),
    );
    let ask = "{ client(ref: { number: \"C001\" }) { number contacts { name } } }";
    assert_eq!(
        admin.data(ask, json!({}))["client"]["contacts"],
        json!([{ "name": "Dominique" }])
    );
    let answer = company.as_role("BI_READER").run(ask, json!({}));
    assert_eq!(codes(&answer), ["FORBIDDEN"], "{answer}");
    assert_eq!(answer["errors"][0]["path"], json!(["client", "contacts"]));
    assert_eq!(
        answer["data"]["client"],
        json!({ "number": "C001", "contacts": null })
    );
    let entries = company
        .as_role("SALES")
        .run("{ viewer { permissions } }", json!({}));
    assert!(!data(entries).to_string().contains("READ_JOURNAL"));
}
