//! No sequence of calls unbalances anything: random calls, most of them sensible and some not, and after
//! them every invariant of the books holds. A failing sequence is printed.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::harness::{Api, Company, day, texts, uuid};

const CLIENTS: [&str; 2] = ["C001", "C002"];

/// A book under random calls: what was made so far, by number or id.
pub struct Books {
    pub api: Api,
    company: String,
    invoices: Vec<String>,
    receipts: Vec<String>,
    made: BTreeMap<&'static str, u32>,
}

impl Books {
    pub fn new() -> Books {
        let company = Company::new();
        let api = company.admin();
        for client in CLIENTS {
            api.client(client);
        }
        Books {
            api,
            company: company.id.clone(),
            invoices: Vec::new(),
            receipts: Vec::new(),
            made: BTreeMap::new(),
        }
    }

    /// Runs a mutation; a refusal is fine, a fault is not. Answers the payload when it was done.
    fn call(&mut self, mutation: &'static str, input: &Value, fields: &str) -> Option<Value> {
        let kind = format!("{}{}Input", mutation[..1].to_uppercase(), &mutation[1..]);
        let document = format!(
            "mutation($input: {kind}!) {{ {mutation}(input: $input) {{ {fields} userErrors {{ code field message }} }} }}"
        );
        let answer = self.api.run(&document, json!({ "input": input }));
        assert!(answer["errors"].is_null(), "{mutation} {input}: {answer}");
        let payload = answer["data"][mutation].clone();
        let done = payload["userErrors"] == json!([]);
        if done {
            *self.made.entry(mutation).or_default() += 1;
        }
        done.then_some(payload)
    }

    fn invoice(&self, pick: usize) -> Value {
        let number = self.invoices.get(pick % self.invoices.len().max(1));
        json!({ "number": number.map_or("NONE", String::as_str) })
    }

    fn receipt(&self, pick: usize) -> Value {
        let number = self.receipts.get(pick % self.receipts.len().max(1));
        json!({ "number": number.map_or("NONE", String::as_str) })
    }

    /// The latest record of a list that is open to a step, by a field of it.
    fn latest(&self, document: &str, list: &str, field: &str, pick: usize) -> Option<Value> {
        let data = self.api.data(document, json!({}));
        let nodes = data[list]["nodes"].as_array()?.clone();
        (!nodes.is_empty()).then(|| nodes[pick % nodes.len()][field].clone())
    }

    /// One call: what it is comes from `step`, on whom and how much from `pick` and `cents`.
    pub fn step(&mut self, step: u8, pick: usize, cents: u32, on: &str) {
        let amount = format!("{}.{:02}", cents / 100, cents % 100);
        let client = json!({ "number": CLIENTS[pick % CLIENTS.len()] });
        match step % 18 {
            0..=2 => {
                let rate = ["20", "10", "5.5", "0"][pick % 4];
                let vat = if pick.is_multiple_of(3) {
                    "RECEIPTS"
                } else {
                    "DEBITS"
                };
                let input = json!({ "client": client, "issuedOn": day("01-15"), "vatDue": vat,
                    "earlyPaymentDiscount": (pick.is_multiple_of(5)).then(|| json!({ "percent": "2", "days": 60 })),
                    "lines": [{ "description": "Prestation", "quantity": "1", "unitPrice": amount, "vatRate": rate },
                              { "description": "Port", "quantity": "2", "unitPrice": "3.33", "vatRate": "20" }] });
                if let Some(done) = self.call("issueInvoice", &input, "invoice { number }") {
                    self.invoices.push(text(&done["invoice"]["number"]));
                }
            }
            3 | 4 => {
                let method = ["TRANSFER", "CHEQUE", "DIRECT_DEBIT", "BILL"][pick % 4];
                let matures = (method == "BILL").then(|| day("06-30"));
                let input = json!({ "client": client, "receivedOn": on, "method": method, "amount": amount, "maturesOn": matures });
                if let Some(done) = self.call("recordPayment", &input, "payment { number }") {
                    self.receipts.push(text(&done["payment"]["number"]));
                }
            }
            5 => {
                let input = json!({ "allocatedOn": on, "lines": [{ "debit": self.invoice(pick), "credit": self.receipt(pick / 2),
                    "amount": (pick.is_multiple_of(2)).then_some(amount) }] });
                self.call("allocate", &input, "matching { code }");
            }
            6 => {
                self.call(
                    "autoAllocate",
                    &json!({ "client": client }),
                    "matching { code }",
                );
            }
            7 => {
                let input =
                    json!({ "invoice": self.invoice(pick), "issuedOn": on, "amount": amount });
                self.call("issueCreditNote", &input, "creditNote { number }");
            }
            8 => {
                let input = json!({ "invoice": self.invoice(pick), "amount": (pick.is_multiple_of(2)).then_some(amount), "reason": "BMAN", "recordedOn": on });
                self.call("recordDeduction", &input, "deduction { number }");
            }
            9 => {
                let open = "{ deductions(filter: { statuses: [OPEN] }) { nodes { id } } }";
                if let Some(id) = self.latest(open, "deductions", "id", pick) {
                    let outcome = ["ACCEPTED", "REJECTED"][pick % 2];
                    let input = json!({ "deduction": { "id": id }, "outcome": outcome });
                    self.call("resolveDeduction", &input, "deduction { number }");
                }
            }
            10 => {
                let input = json!({ "invoice": self.invoice(pick), "reason": "BLIV", "openedOn": on, "amount": (pick.is_multiple_of(2)).then_some(amount) });
                self.call("openDispute", &input, "dispute { number }");
            }
            11 => {
                let input = json!({ "payment": self.receipt(pick), "reason": "provision insuffisante", "fee": (pick.is_multiple_of(2)).then_some("12.00") });
                self.call("returnPayment", &input, "payment { number }");
            }
            12 => {
                let input = json!({ "payment": self.receipt(pick), "reason": "saisi deux fois" });
                self.call("reversePayment", &input, "payment { number }");
            }
            13 => {
                let input = json!({ "invoice": self.invoice(pick), "payment": self.receipt(pick / 2), "correctsVat": pick.is_multiple_of(2) });
                self.call("grantDiscount", &input, "operation { number }");
            }
            14 => {
                let input = json!({ "invoices": [self.invoice(pick)] });
                self.call("claimPenalties", &input, "operation { number }");
            }
            15 => {
                let mutation = ["proposeDoubtful", "proposeWriteOff"][pick % 2];
                let input = json!({ "invoice": self.invoice(pick), "reason": "impayé", "evidence": ["relances"], "on": on });
                if let Some(done) = self.call(mutation, &input, "file { id }") {
                    let input = json!({ "file": { "id": done["file"]["id"] }, "approve": true });
                    self.call("decideDoubtfulFile", &input, "file { number }");
                }
            }
            16 => {
                let all = "{ operations(first: 50) { nodes { id } } }";
                if let Some(id) = self.latest(all, "operations", "id", pick) {
                    let input = json!({ "operation": { "id": id }, "reason": "erreur" });
                    self.call("reverseOperation", &input, "operation { number }");
                }
            }
            _ => {
                let own = format!(
                    "{{ invoice(ref: {{ number: \"{}\" }}) {{ allocations {{ nodes {{ id }} }} }} }}",
                    text(&self.invoice(pick)["number"])
                );
                let data = self.api.data(&own, json!({}));
                let nodes = data["invoice"]["allocations"]["nodes"].as_array();
                if let Some(node) = nodes.and_then(|nodes| nodes.first()) {
                    // Back on the day of the step, or today.
                    let back = (pick.is_multiple_of(2)).then_some(on);
                    let input = json!({ "allocation": node["id"], "unallocatedOn": back });
                    self.call("unallocate", &input, "allocation { id }");
                }
            }
        }
    }

    /// The invariants, the trial balance, and the aged balance against the ledger.
    fn sound(&self) {
        self.api.sound();
        let books = self.api.data(
            "{ trialBalance { rows { opening debit credit } } agedBalance { ledgerCheck { difference } } }",
            json!({}),
        );
        let cents = |row: &Value, name: &str| -> i64 {
            text(&row[name]).replace('.', "").parse().expect("cents")
        };
        let rows = books["trialBalance"]["rows"].as_array().expect("rows");
        let sum: i64 = rows
            .iter()
            .map(|row| cents(row, "opening") + cents(row, "debit") - cents(row, "credit"))
            .sum();
        assert_eq!(sum, 0, "the trial balance");
        for check in books["agedBalance"]["ledgerCheck"]
            .as_array()
            .expect("checks")
        {
            assert_eq!(check["difference"], "0.00");
        }
        self.lettered();
    }

    /// A group that is settled whole was lettered when the last of its items was settled (R3.6): the FEC goes by that.
    fn lettered(&self) {
        let others = texts(&format!(
            "SELECT m.code AS found FROM matchings m WHERE m.company_id = '{0}' AND m.complete \
               AND (SELECT max(i.settled_on) FROM items i WHERE i.company_id = m.company_id AND i.matching_id = m.id) IS DISTINCT FROM \
                 (SELECT max(a.effective_on) FROM items i JOIN allocations a ON a.company_id = i.company_id AND a.debit_item_id = i.id AND a.ended_on IS NULL \
                    WHERE i.company_id = m.company_id AND i.matching_id = m.id)",
            uuid(&self.company)
        ));
        assert_eq!(others, Vec::<String>::new());
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Runs some sequences of this many random calls, each on books of its own, and does something after each call: it is
/// told how many were made before.
pub fn run(cases: u32, calls: usize, after: impl Fn(&Books, usize)) {
    let step = (any::<u8>(), 0_usize..40, 1_u32..60_000, 2_u32..6);
    let steps = proptest::collection::vec(step, calls);
    let mut runner = TestRunner::new(Config {
        cases,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&steps, |steps| {
        let mut books = Books::new();
        for (at, (step, pick, cents, month)) in steps.iter().enumerate() {
            // Begin with something to work on.
            let step = if at < 8 { [0, 3][at % 2] } else { *step };
            books.step(step, *pick, *cents, &day(&format!("0{month}-20")));
            after(&books, at);
        }
        Ok(())
    });
    if let Err(why) = result {
        panic!("{why}");
    }
}

#[test]
fn no_sequence_of_calls_unbalances_anything() {
    let made: std::cell::RefCell<BTreeMap<&'static str, u32>> = std::cell::RefCell::default();
    run(4, 60, |books, at| {
        if at % 20 == 19 {
            books.sound();
        }
        if at == 59 {
            for (mutation, times) in &books.made {
                *made.borrow_mut().entry(mutation).or_default() += times;
            }
        }
    });
    // The calls were not all refused.
    let made = made.into_inner();
    assert!(made.len() >= 10, "{made:?}");
}
