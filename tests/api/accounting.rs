//! The worked entries of section 2, through the public API: each test is named after its rule.

mod closing;
mod doubtful;
mod settling;

use serde_json::{Value, json};

use crate::harness::Api;

/// Runs a mutation whose payload answers an operation.
#[track_caller]
fn operate(api: &Api, mutation: &str, input: Value) -> Value {
    let kind = format!("{}{}Input", &mutation[..1].to_uppercase(), &mutation[1..]);
    operate_as(api, mutation, &kind, input)
}

#[track_caller]
fn operate_as(api: &Api, mutation: &str, input_type: &str, input: Value) -> Value {
    let document = format!(
        "mutation($input: {input_type}!) {{ {mutation}(input: $input) {{ operation {{ id number kind amount net vat \
           entries {{ label lines {{ account debit credit }} }} }} userErrors {{ code field message }} }} }}"
    );
    api.done(&document, json!({ "input": input }))["operation"].take()
}

/// The code that a mutation is refused with.
#[track_caller]
fn refused(api: &Api, mutation: &str, input_type: &str, input: Value) -> String {
    let document = format!(
        "mutation($input: {input_type}!) {{ {mutation}(input: $input) {{ userErrors {{ code field message }} }} }}"
    );
    let data = api.data(&document, json!({ "input": input }));
    data[mutation]["userErrors"][0]["code"]
        .as_str()
        .unwrap_or_else(|| panic!("not refused: {data:#}"))
        .to_owned()
}

/// Account, debit and credit of the lines of some entries, in their order.
fn lines(entries: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    entries
        .as_array()
        .expect("entries")
        .iter()
        .flat_map(|entry| entry["lines"].as_array().expect("lines"))
        .map(|line| {
            (
                text(&line["account"]),
                text(&line["debit"]),
                text(&line["credit"]),
            )
        })
        .collect()
}

/// Whether entries move these accounts so, whatever the length of their numbers.
#[track_caller]
fn posted(entries: &Value, expected: &[(&str, &str, &str)]) {
    let lines = lines(entries);
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.0.starts_with(expected.0), "{expected:?}: {lines:#?}");
        assert_eq!(
            (line.1.as_str(), line.2.as_str()),
            (expected.1, expected.2),
            "{lines:#?}"
        );
    }
}

/// The entries of a payment, slip or run.
fn entries_of(api: &Api, field: &str, number: &str) -> Value {
    let document = format!(
        "query($number: String!) {{ {field}(ref: {{ number: $number }}) {{ entries {{ label lines {{ account debit credit }} }} }} }}"
    );
    api.data(&document, json!({ "number": number }))[field]["entries"].take()
}

/// The balance of an account (and what is below it) on a day: debits less credits.
fn balance(api: &Api, account: &str, on: &str) -> String {
    let data = api.data(
        "query($on: Date!) { trialBalance(asOf: $on) { rows { account closing } totalDebit totalCredit } }",
        json!({ "on": on }),
    );
    let trial = &data["trialBalance"];
    assert_eq!(trial["totalDebit"], trial["totalCredit"]);
    let cents = |text: &str| text.replace('.', "").parse::<i64>().expect("an amount");
    let sum: i64 = trial["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .filter(|row| {
            row["account"]
                .as_str()
                .expect("an account")
                .starts_with(account)
        })
        .map(|row| cents(row["closing"].as_str().expect("a balance")))
        .sum();
    let sign = if sum < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", sum.abs() / 100, sum.abs() % 100)
}

fn pay(api: &Api, number: &str, on: &str, amount: &str, invoice: &str) -> Value {
    api.make(
        "RecordPayment",
        json!({ "client": { "number": "C001" }, "number": number, "receivedOn": on, "method": "TRANSFER", "amount": amount,
                "allocations": [{ "debit": { "number": invoice } }] }),
    )
}
