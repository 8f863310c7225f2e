//! The worked entries of section 2, through the public API: each test is named after its rule.

use serde_json::{Value, json};

use crate::harness::{Api, Company, day, single, today, year};

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

#[test]
fn vat_on_receipts_moves_with_each_receipt_and_closes_exactly_r2_4() {
    let api = Company::new().admin();
    api.client("C001");
    let input = json!({
        "client": { "number": "C001" }, "number": "FA-1", "issuedOn": day("01-10"), "dueOn": day("02-09"), "vatDue": "RECEIPTS",
        "lines": [{ "description": "Conseil", "quantity": "1", "unitPrice": "83.33", "vatRate": "20" }],
    });
    assert_eq!(
        api.make("IssueInvoice", input)["invoice"]["total"],
        "100.00"
    );
    posted(
        &entries_of(&api, "invoice", "FA-1"),
        &[
            ("411", "100.00", "0.00"),
            ("706", "0.00", "83.33"),
            ("4458", "0.00", "16.67"),
        ],
    );
    // 5.56, 5.55, 5.56: rounding each receipt alone would move 16.68.
    for (number, on, amount, moved) in [
        ("RG-1", "02-01", "33.33", "-5.56"),
        ("RG-2", "02-05", "33.33", "-11.11"),
        ("RG-3", "02-09", "33.34", "-16.67"),
    ] {
        pay(&api, number, &day(on), amount, "FA-1");
        assert_eq!(balance(&api, "44571", &day("02-28")), moved, "{number}");
    }
    assert_eq!(balance(&api, "4458", &day("02-28")), "0.00");
    // A receipt that bounces takes its share back.
    api.done(
        "mutation($on: Date) { returnPayment(input: { payment: { number: \"RG-2\" }, returnedOn: $on }) { payment { id } userErrors { code field message } } }",
        json!({ "on": day("02-20") }),
    );
    assert_eq!(balance(&api, "44571", &day("02-28")), "-11.11");
    api.sound();
}

#[test]
fn a_credit_note_takes_pending_vat_back_where_it_stands_r2_4() {
    let api = Company::new().admin();
    api.client("C001");
    let input = json!({
        "client": { "number": "C001" }, "number": "FA-1", "issuedOn": day("01-10"), "dueOn": day("02-09"), "vatDue": "RECEIPTS",
        "lines": [{ "description": "Conseil", "quantity": "1", "unitPrice": "1000.00", "vatRate": "20" }],
    });
    api.make("IssueInvoice", input);
    pay(&api, "RG-1", &day("02-01"), "720.00", "FA-1");
    assert_eq!(balance(&api, "4458", &day("02-28")), "-80.00");
    api.make(
        "IssueCreditNote",
        json!({ "invoice": { "number": "FA-1" }, "number": "AV-1", "issuedOn": day("02-10"), "amount": "480.00" }),
    );
    assert_eq!(
        (
            balance(&api, "4458", &day("02-28")),
            balance(&api, "44571", &day("02-28"))
        ),
        ("0.00".into(), "-120.00".into())
    );
    api.sound();
}

#[test]
fn a_deposit_waits_on_4191_and_is_used_on_the_invoice_2_4() {
    let api = Company::new().admin();
    api.client("C001");
    let deposit = json!({
        "client": { "number": "C001" }, "number": "RG-1", "receivedOn": day("01-05"), "method": "TRANSFER", "amount": "240.00",
        "deposit": { "vatRate": "20" },
    });
    api.make("RecordPayment", deposit);
    posted(
        &entries_of(&api, "payment", "RG-1"),
        &[
            ("512", "240.00", "0.00"),
            ("4191", "0.00", "240.00"),
            ("4458", "40.00", "0.00"),
            ("44571", "0.00", "40.00"),
        ],
    );
    // It is no receivable: the aged balance does not know it.
    assert_eq!(api.account("C001", &day("01-31")).1, Vec::<Value>::new());
    api.invoice(
        "C001",
        "FA-1",
        &day("02-01"),
        &day("03-03"),
        ("1000.00", "20"),
    );
    let used = operate(
        &api,
        "useDeposit",
        json!({ "deposit": { "number": "RG-1" }, "invoice": { "number": "FA-1" }, "on": day("02-01") }),
    );
    posted(
        &used["entries"],
        &[
            ("4191", "240.00", "0.00"),
            ("411", "0.00", "240.00"),
            ("44571", "40.00", "0.00"),
            ("4458", "0.00", "40.00"),
        ],
    );
    let (_, items) = api.account("C001", &day("02-28"));
    assert_eq!(single(json!(items))["open"], "960.00");
    let again = json!({ "deposit": { "number": "RG-1" }, "invoice": { "number": "FA-1" } });
    assert_eq!(
        refused(&api, "useDeposit", "UseDepositInput", again),
        "WRONG_STATE"
    );
    api.sound();
}

/// A bill of 1,200.00 that paid an invoice: section 2.6.
fn accepted_bill(api: &Api, matures_on: &str) {
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("1000.00", "20"),
    );
    let bill = json!({
        "client": { "number": "C001" }, "number": "RG-1", "receivedOn": day("01-20"), "method": "BILL", "amount": "1200.00",
        "maturesOn": matures_on, "allocations": [{ "debit": { "number": "FA-1" } }],
    });
    api.make("RecordPayment", bill);
    posted(
        &entries_of(api, "payment", "RG-1"),
        &[("413", "1200.00", "0.00"), ("411", "0.00", "1200.00")],
    );
}

/// Runs a mutation on a slip and answers it.
#[track_caller]
fn slip(api: &Api, mutation: &str, input_type: &str, input: Value) -> Value {
    let document = format!(
        "mutation($input: {input_type}!) {{ {mutation}(input: $input) {{ remittance {{ number received interest fee feeVat creditedOn \
           entries {{ label lines {{ account debit credit }} }} }} userErrors {{ code field message }} }} }}"
    );
    api.done(&document, json!({ "input": input }))["remittance"].take()
}

#[test]
fn a_bill_is_collected_2_6() {
    let api = Company::new().admin();
    accepted_bill(&api, &day("03-10"));
    let handed = slip(
        &api,
        "handIn",
        "HandInInput",
        json!({ "kind": "BILLS_FOR_COLLECTION", "payments": [{ "number": "RG-1" }], "remittedOn": day("02-25") }),
    );
    let number = handed["number"].clone();
    posted(
        &handed["entries"],
        &[("5113", "1200.00", "0.00"), ("413", "0.00", "1200.00")],
    );
    let credited = slip(
        &api,
        "creditRemittance",
        "CreditRemittanceInput",
        json!({ "remittance": { "number": number }, "creditedOn": day("03-10"), "fee": "10.00" }),
    );
    assert_eq!(credited["received"], "1188.00");
    posted(
        &json!([credited["entries"][1]]),
        &[
            ("512", "1188.00", "0.00"),
            ("627", "10.00", "0.00"),
            ("44566", "2.00", "0.00"),
            ("5113", "0.00", "1200.00"),
        ],
    );
    let again = json!({ "remittance": { "number": number } });
    assert_eq!(
        refused(&api, "creditRemittance", "CreditRemittanceInput", again),
        "WRONG_STATE"
    );
    api.sound();
}

#[test]
fn a_bill_is_discounted_and_comes_back_unpaid_r2_13_2_7() {
    let api = Company::new().admin();
    // 45 days before its maturity.
    accepted_bill(&api, &day("04-16"));
    let handed = slip(
        &api,
        "handIn",
        "HandInInput",
        json!({ "kind": "BILLS_FOR_DISCOUNT", "payments": [{ "number": "RG-1" }], "remittedOn": day("03-01") }),
    );
    posted(
        &handed["entries"],
        &[("5114", "1200.00", "0.00"), ("413", "0.00", "1200.00")],
    );
    let number = handed["number"].clone();
    let wrong = json!({ "remittance": { "number": number }, "creditedOn": day("03-02"), "fee": "8.00", "discountRate": "6", "received": "1100.00" });
    assert_eq!(
        refused(&api, "creditRemittance", "CreditRemittanceInput", wrong),
        "INVALID"
    );
    let credited = slip(
        &api,
        "creditRemittance",
        "CreditRemittanceInput",
        json!({ "remittance": { "number": number }, "creditedOn": day("03-02"), "fee": "8.00", "discountRate": "6", "received": "1181.40" }),
    );
    assert_eq!(
        (&credited["interest"], &credited["fee"], &credited["feeVat"]),
        (&json!("9.00"), &json!("8.00"), &json!("1.60"))
    );
    posted(
        &json!([credited["entries"][1], credited["entries"][2]]),
        &[
            ("512", "1181.40", "0.00"),
            ("6616", "9.00", "0.00"),
            ("627", "8.00", "0.00"),
            ("44566", "1.60", "0.00"),
            ("5114", "0.00", "1200.00"),
            ("8024", "1200.00", "0.00"),
            ("8014", "0.00", "1200.00"),
        ],
    );
    // Unpaid: the claim is back with its original due date, with a fee of 15.00 and 3.00 of VAT.
    api.done(
        "mutation($on: Date) { returnPayment(input: { payment: { number: \"RG-1\" }, returnedOn: $on, fee: \"18.00\" }) { payment { id } userErrors { code field message } } }",
        json!({ "on": day("04-17") }),
    );
    let entries = entries_of(&api, "payment", "RG-1");
    posted(
        &json!([entries[1]]),
        &[
            ("411", "1200.00", "0.00"),
            ("512", "0.00", "1200.00"),
            ("8014", "1200.00", "0.00"),
            ("8024", "0.00", "1200.00"),
            ("627", "15.00", "0.00"),
            ("44566", "3.00", "0.00"),
            ("512", "0.00", "18.00"),
        ],
    );
    let (_, items) = api.account("C001", &day("04-30"));
    let item = single(json!(items));
    assert_eq!(
        (&item["dueOn"], &item["open"]),
        (&json!(day("02-09")), &json!("1200.00"))
    );
    api.sound();
}

#[test]
fn cheques_are_handed_in_once_and_credited_2_4() {
    let api = Company::new().admin();
    api.client("C001");
    for number in ["CH-1", "CH-2"] {
        let cheque = json!({ "client": { "number": "C001" }, "number": number, "receivedOn": day("01-05"), "method": "CHEQUE", "amount": "600.00" });
        api.make("RecordPayment", cheque);
    }
    let handed = slip(
        &api,
        "handIn",
        "HandInInput",
        json!({ "kind": "CHEQUES", "payments": [{ "number": "CH-1" }, { "number": "CH-2" }], "remittedOn": day("01-06") }),
    );
    assert_eq!(
        handed["entries"],
        json!([]),
        "cheques stay on 5112 until the bank credits them"
    );
    let twice = json!({ "kind": "CHEQUES", "payments": [{ "number": "CH-1" }] });
    assert_eq!(refused(&api, "handIn", "HandInInput", twice), "DUPLICATE");
    let credited = slip(
        &api,
        "creditRemittance",
        "CreditRemittanceInput",
        json!({ "remittance": { "number": handed["number"] }, "creditedOn": day("01-08") }),
    );
    posted(
        &credited["entries"],
        &[("512", "1200.00", "0.00"), ("5112", "0.00", "1200.00")],
    );
    api.sound();
}

fn discounted_invoice(api: &Api) {
    api.client("C001");
    let input = json!({
        "client": { "number": "C001" }, "number": "FA-1", "issuedOn": day("01-10"), "dueOn": day("02-09"),
        "earlyPaymentDiscount": { "percent": "2", "days": 8 },
        "lines": [{ "description": "Vitrine", "quantity": "1", "unitPrice": "1000.00", "vatRate": "20" }],
    });
    api.make("IssueInvoice", input);
}

#[test]
fn an_early_payment_discount_is_665_with_its_vat_r2_15() {
    let api = Company::new().admin();
    discounted_invoice(&api);
    pay(&api, "RG-1", &day("01-18"), "1176.00", "FA-1");
    let made = operate(
        &api,
        "grantDiscount",
        json!({ "invoice": { "number": "FA-1" }, "payment": { "number": "RG-1" } }),
    );
    posted(
        &made["entries"],
        &[
            ("665", "20.00", "0.00"),
            ("44571", "4.00", "0.00"),
            ("411", "0.00", "24.00"),
        ],
    );
    assert_eq!(api.account("C001", &day("01-31")).1, Vec::<Value>::new());
    api.sound();
    // Taken back, the missing part is open again with the invoice's own due date.
    operate(
        &api,
        "reverseOperation",
        json!({ "operation": { "number": made["number"] }, "on": day("01-25"), "reason": "escompte indu" }),
    );
    let item = single(json!(api.account("C001", &day("01-31")).1));
    assert_eq!(
        (&item["dueOn"], &item["open"]),
        (&json!(day("02-09")), &json!("24.00"))
    );
    let twice = json!({ "operation": { "number": made["number"] }, "reason": "encore" });
    assert_eq!(
        refused(&api, "reverseOperation", "ReverseOperationInput", twice),
        "WRONG_STATE"
    );
    api.sound();
}

#[test]
fn a_discount_net_of_tax_leaves_vat_alone_r2_15() {
    let api = Company::new().admin();
    discounted_invoice(&api);
    pay(&api, "RG-1", &day("01-18"), "1180.00", "FA-1");
    let made = operate(
        &api,
        "grantDiscount",
        json!({ "invoice": { "number": "FA-1" }, "payment": { "number": "RG-1" }, "correctsVat": false }),
    );
    posted(
        &made["entries"],
        &[("665", "20.00", "0.00"), ("411", "0.00", "20.00")],
    );
    api.sound();
}

#[test]
fn a_discount_is_for_payment_in_time_r2_16() {
    let api = Company::new().admin();
    discounted_invoice(&api);
    pay(&api, "RG-1", &day("01-19"), "1176.00", "FA-1");
    let late = json!({ "invoice": { "number": "FA-1" }, "payment": { "number": "RG-1" } });
    assert_eq!(
        refused(&api, "grantDiscount", "GrantDiscountInput", late),
        "WRONG_STATE"
    );
}

#[test]
fn a_discount_on_the_invoice_is_not_netted_in_revenue_r2_17() {
    let api = Company::new().admin();
    api.client("C001");
    let input = json!({
        "client": { "number": "C001" }, "number": "FA-1", "issuedOn": day("01-10"), "dueOn": day("02-09"), "deductedDiscountPercent": "2",
        "lines": [{ "description": "Vitrine", "quantity": "1", "unitPrice": "1000.00", "vatRate": "20", "account": "707000" }],
    });
    assert_eq!(
        api.make("IssueInvoice", input)["invoice"]["total"],
        "1176.00"
    );
    posted(
        &entries_of(&api, "invoice", "FA-1"),
        &[
            ("411", "1176.00", "0.00"),
            ("707", "0.00", "1000.00"),
            ("665", "20.00", "0.00"),
            ("44571", "0.00", "196.00"),
        ],
    );
    api.sound();
}

#[test]
fn penalties_are_claimed_as_items_of_their_own_and_waived_r2_19() {
    let api = Company::new().admin();
    api.client("C001");
    let input = json!({
        "client": { "number": "C001" }, "number": "FA-1", "issuedOn": "2026-03-01", "dueOn": "2026-03-31", "lateEntry": true,
        "lines": [{ "description": "Vitrine", "quantity": "1", "unitPrice": "10000.00", "vatRate": "20" }],
    });
    api.make("IssueInvoice", input);
    pay(&api, "RG-1", "2026-05-15", "12000.00", "FA-1");
    let asked = "{ latePenalties(client: { number: \"C001\" }) { nodes { invoice { number } interest indemnity claimable segments { days rate principal } } } }";
    let late = single(api.data(asked, json!({}))["latePenalties"]["nodes"].take());
    assert_eq!(
        late,
        json!({ "invoice": { "number": "FA-1" }, "interest": "179.75", "indemnity": "40.00", "claimable": "219.75",
                "segments": [{ "days": 45, "rate": "12.15", "principal": "12000.00" }] })
    );
    let claimed = operate(
        &api,
        "claimPenalties",
        json!({ "invoices": [{ "number": "FA-1" }] }),
    );
    posted(
        &claimed["entries"],
        &[
            ("411", "179.75", "0.00"),
            ("411", "40.00", "0.00"),
            ("7631", "0.00", "179.75"),
            ("7581", "0.00", "40.00"),
        ],
    );
    let again = json!({ "invoices": [{ "number": "FA-1" }] });
    assert_eq!(
        refused(&api, "claimPenalties", "ClaimPenaltiesInput", again),
        "WRONG_STATE"
    );
    let waived = api.done(
        "mutation { waivePenalties(input: { invoice: { number: \"FA-1\" }, scope: INDEMNITY, reason: \"geste commercial\" }) { waived operation { amount entries { lines { account debit credit } } } userErrors { code field message } } }",
        json!({}),
    );
    posted(
        &waived["operation"]["entries"],
        &[("7581", "40.00", "0.00"), ("411", "0.00", "40.00")],
    );
    let (_, items) = api.account("C001", &today().to_string());
    let item = single(json!(items));
    assert_eq!(
        (&item["kind"], &item["open"]),
        (&json!("PENALTY"), &json!("179.75"))
    );
    api.sound();
}

#[test]
fn a_contractual_rate_has_a_floor_r6_7() {
    let api = Company::new().admin();
    api.client("C001");
    let low = json!({ "client": { "number": "C001" }, "penaltyRate": "5" });
    assert_eq!(
        refused(&api, "setCreditTerms", "SetCreditTermsInput", low),
        "TERMS_UNLAWFUL"
    );
}

fn propose(api: &Api, mutation: &str, input: Value) -> Value {
    let kind = format!("{}{}Input", &mutation[..1].to_uppercase(), &mutation[1..]);
    let document = format!(
        "mutation($input: {kind}!) {{ {mutation}(input: $input) {{ file {{ number status }} userErrors {{ code field message }} }} }}"
    );
    api.done(&document, json!({ "input": input }))["file"]["number"].take()
}

fn decide(api: &Api, number: &Value) -> Value {
    api.done(
        "mutation($number: String!) { decideDoubtfulFile(input: { file: { number: $number }, approve: true }) { file { status operations { number kind amount net vat \
           entries { label lines { account debit credit } } } rectifiedInvoices { id number wording } } userErrors { code field message } } }",
        json!({ "number": number }),
    )["file"]
        .take()
}

/// Proposes, approves and posts a provision run; its totals and entries.
fn provide(api: &Api, as_of: &str, rate: &str) -> Value {
    let policy = json!({ "rates": [rate, rate, rate, rate, rate] });
    let run = api.done(
        "mutation($input: ProposeProvisionRunInput!) { proposeProvisionRun(input: $input) { run { number status } userErrors { code field message } } }",
        json!({ "input": { "asOf": as_of, "policy": policy } }),
    )["run"]
        .take();
    assert_eq!(run["status"], "PROPOSED");
    let number = &run["number"];
    api.done(
        "mutation($number: String!) { decideProvisionRun(input: { run: { number: $number }, approve: true }) { run { status } userErrors { code field message } } }",
        json!({ "number": number }),
    );
    api.done(
        "mutation($number: String!) { postProvisionRun(run: { number: $number }) { run { number status totals { required previous charge release } \
           entries { lines { account debit credit } } } userErrors { code field message } } }",
        json!({ "number": number }),
    )["run"]
        .take()
}

#[test]
fn a_doubtful_claim_is_provided_paid_in_part_and_lost_2_10_2_11_2_12() {
    let api = Company::new().admin();
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("1000.00", "20"),
    );
    // 416 for the whole TTC, with its own due date (R5.12, R4.13).
    let evidence = json!(["relance du 12 mars", "mise en demeure, AR du 2 avril"]);
    let file = propose(
        &api,
        "proposeDoubtful",
        json!({ "invoice": { "number": "FA-1" }, "reason": "impayé", "evidence": evidence, "on": day("04-10") }),
    );
    let file = decide(&api, &file);
    posted(
        &file["operations"][0]["entries"],
        &[("416", "1200.00", "0.00"), ("411", "0.00", "1200.00")],
    );
    let item = single(json!(api.account("C001", &day("04-30")).1));
    assert_eq!(
        (&item["kind"], &item["dueOn"]),
        (&json!("DOUBTFUL"), &json!(day("02-09")))
    );
    // 60 % of 1,000.00 HT.
    let run = provide(&api, &day("04-30"), "60");
    posted(
        &run["entries"],
        &[("68174", "600.00", "0.00"), ("491", "0.00", "600.00")],
    );
    // The client pays 360.00 on 416.
    pay(&api, "RG-1", &day("05-10"), "360.00", "FA-1");
    posted(
        &entries_of(&api, "payment", "RG-1"),
        &[("512", "360.00", "0.00"), ("416", "0.00", "360.00")],
    );
    // 80 % of the 700.00 HT left: 40.00 released.
    let run = provide(&api, &day("05-31"), "80");
    posted(
        &run["entries"],
        &[("491", "40.00", "0.00"), ("78174", "0.00", "40.00")],
    );
    api.sound();
    // The loss: HT, VAT recovered, the provision released whole (R2.20).
    let without =
        json!({ "client": { "number": "C001" }, "reason": "liquidation", "evidence": [] });
    assert_eq!(
        refused(&api, "proposeWriteOff", "ProposeWriteOffInput", without),
        "EVIDENCE_REQUIRED"
    );
    let file = propose(
        &api,
        "proposeWriteOff",
        json!({ "client": { "number": "C001" }, "vatRecovery": "PROVEN_IRRECOVERABLE", "reason": "clôture pour insuffisance d'actif",
                "evidence": ["certificat d'irrécouvrabilité"], "on": day("06-30") }),
    );
    let file = decide(&api, &file);
    let loss = &file["operations"][0];
    posted(
        &loss["entries"],
        &[
            ("6541", "700.00", "0.00"),
            ("44571", "140.00", "0.00"),
            ("416", "0.00", "840.00"),
            ("491", "560.00", "0.00"),
            ("78174", "0.00", "560.00"),
        ],
    );
    let wording = file["rectifiedInvoices"][0]["wording"]
        .as_str()
        .expect("a wording");
    assert!(
        wording.contains("700,00 € (prix net)")
            && wording.contains("140,00 € (TVA correspondante)"),
        "{wording}"
    );
    let id = file["rectifiedInvoices"][0]["id"].as_str().expect("an id");
    let text = api.letter("RECTIFIED_INVOICE", id);
    assert!(
        text.contains("Duplicata") && text.contains("840,00\u{a0}€"),
        "{text}"
    );
    assert_eq!(api.account("C001", &day("06-30")).1, Vec::<Value>::new());
    api.sound();
    // 360.00 comes in after all: VAT is due again (2.12).
    let recovery = operate(
        &api,
        "recordRecovery",
        json!({ "writeOff": { "number": loss["number"] }, "amount": "360.00", "receivedOn": day("09-01") }),
    );
    posted(
        &recovery["entries"],
        &[
            ("512", "360.00", "0.00"),
            ("7583", "0.00", "300.00"),
            ("44571", "0.00", "60.00"),
        ],
    );
    let vat = api.data(
        "query($from: Date!, $to: Date!) { vatOnBadDebts(from: $from, to: $to) { recovered dueAgain losses } }",
        json!({ "from": day("01-01"), "to": day("12-31") }),
    );
    assert_eq!(
        single(vat["vatOnBadDebts"].clone()),
        json!({ "recovered": "140.00", "dueAgain": "60.00", "losses": "700.00" })
    );
    api.sound();
}

#[test]
fn a_loss_without_recovery_takes_the_whole_ttc_and_can_be_partial_r2_22_r2_23() {
    let api = Company::new().admin();
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("1000.00", "20"),
    );
    let file = propose(
        &api,
        "proposeWriteOff",
        json!({ "invoice": { "number": "FA-1" }, "amount": "200.00", "reason": "accord transactionnel", "evidence": ["accord signé"], "on": day("06-30") }),
    );
    let file = decide(&api, &file);
    let loss = &file["operations"][0];
    posted(
        &loss["entries"],
        &[("6541", "200.00", "0.00"), ("411", "0.00", "200.00")],
    );
    assert_eq!(file["rectifiedInvoices"], json!([]));
    let item = single(json!(api.account("C001", &day("06-30")).1));
    assert_eq!(
        (&item["open"], &item["dueOn"]),
        (&json!("1000.00"), &json!(day("02-09")))
    );
    api.sound();
}

#[test]
fn nobody_decides_what_they_proposed_r12_1() {
    let company = Company::segregated();
    let api = company.admin();
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("1000.00", "20"),
    );
    let accountant = company.as_role("AR_ACCOUNTANT");
    let admin = company.admin();
    let file = propose(
        &admin,
        "proposeWriteOff",
        json!({ "invoice": { "number": "FA-1" }, "reason": "perdu", "evidence": ["courrier"], "on": day("06-30") }),
    );
    let input = json!({ "file": { "number": file }, "approve": true });
    assert_eq!(
        refused(
            &admin,
            "decideDoubtfulFile",
            "DecideDoubtfulFileInput",
            input
        ),
        "SECOND_PERSON_REQUIRED"
    );
    let file = propose(
        &accountant,
        "proposeWriteOff",
        json!({ "invoice": { "number": "FA-1" }, "reason": "perdu", "evidence": ["courrier"], "on": day("06-30") }),
    );
    let (director, _) = company.as_member("DIRECTOR");
    let rejected = json!({ "file": { "number": file }, "approve": false });
    assert_eq!(
        refused(
            &director,
            "decideDoubtfulFile",
            "DecideDoubtfulFileInput",
            rejected
        ),
        "INVALID"
    );
    assert_eq!(decide(&director, &file)["status"], "POSTED");
    admin.sound();
}

#[test]
fn factoring_step_by_step_2_13() {
    let api = Company::new().admin();
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("10000.00", "20"),
    );
    let assigned = operate(
        &api,
        "assignInvoice",
        json!({ "invoice": { "number": "FA-1" }, "factor": "Factor SA", "withRecourse": true, "on": day("01-15") }),
    );
    posted(
        &assigned["entries"],
        &[("467", "12000.00", "0.00"), ("411", "0.00", "12000.00")],
    );
    assert_eq!(
        api.account("C001", &day("01-31")).1,
        Vec::<Value>::new(),
        "R2.24"
    );
    let settled = operate(
        &api,
        "settleAssignment",
        json!({ "assignment": { "number": assigned["number"] }, "commission": "150.00", "financing": "90.00", "retention": "1200.00", "on": day("01-17") }),
    );
    posted(
        &settled["entries"],
        &[
            ("512", "10530.00", "0.00"),
            ("6225", "150.00", "0.00"),
            ("44566", "30.00", "0.00"),
            ("6616", "90.00", "0.00"),
            ("467", "1200.00", "0.00"),
            ("467", "0.00", "12000.00"),
        ],
    );
    let released = operate_as(
        &api,
        "releaseRetention",
        "FactorStepInput",
        json!({ "operation": { "number": settled["number"] }, "on": day("03-01") }),
    );
    posted(
        &released["entries"],
        &[("512", "1200.00", "0.00"), ("467", "0.00", "1200.00")],
    );
    let returned = operate_as(
        &api,
        "recordRecourse",
        "FactorStepInput",
        json!({ "operation": { "number": assigned["number"] }, "on": day("04-01") }),
    );
    posted(
        &returned["entries"],
        &[("411", "12000.00", "0.00"), ("512", "0.00", "12000.00")],
    );
    let item = single(json!(api.account("C001", &day("04-30")).1));
    assert_eq!(
        (&item["dueOn"], &item["open"]),
        (&json!(day("02-09")), &json!("12000.00"))
    );
    api.sound();
}

#[test]
fn a_small_difference_is_written_off_up_to_the_tolerance_2_14() {
    let api = Company::new().admin();
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("100.00", "20"),
    );
    pay(&api, "RG-1", &day("02-01"), "119.60", "FA-1");
    let made = operate(
        &api,
        "settleDifference",
        json!({ "item": { "number": "FA-1" }, "on": day("02-01") }),
    );
    posted(
        &made["entries"],
        &[("658", "0.40", "0.00"), ("411", "0.00", "0.40")],
    );
    api.payment("C001", "RG-2", &day("02-02"), "0.40");
    let made = operate(
        &api,
        "settleDifference",
        json!({ "item": { "number": "RG-2" }, "credit": true, "on": day("02-02") }),
    );
    posted(
        &made["entries"],
        &[("411", "0.40", "0.00"), ("758", "0.00", "0.40")],
    );
    api.invoice(
        "C001",
        "FA-2",
        &day("01-10"),
        &day("02-09"),
        ("10.00", "20"),
    );
    let much = json!({ "item": { "number": "FA-2" } });
    assert_eq!(
        refused(&api, "settleDifference", "SettleDifferenceInput", much),
        "OVER_ALLOCATION"
    );
    api.sound();
}

#[test]
fn an_exchange_difference_is_posted_at_the_matching_2_14() {
    let api = Company::new().admin();
    api.make(
        "CreateClient",
        json!({ "number": "C001", "name": "Client", "currency": "USD" }),
    );
    let input = json!({
        "client": { "number": "C001" }, "number": "FA-1", "issuedOn": day("01-10"), "dueOn": day("02-09"), "exchangeRate": "0.92",
        "lines": [{ "description": "Export", "quantity": "1", "unitPrice": "1000.00", "vatRate": "0" }],
    });
    api.make("IssueInvoice", input);
    // In two parts, so that rounding must close: 333.33 and 666.67.
    for (number, amount) in [("RG-1", "333.33"), ("RG-2", "666.67")] {
        let payment = json!({
            "client": { "number": "C001" }, "number": number, "receivedOn": day("02-01"), "method": "TRANSFER", "amount": amount, "exchangeRate": "0.90",
            "allocations": [{ "debit": { "number": "FA-1" } }],
        });
        api.make("RecordPayment", payment);
    }
    assert_eq!(
        (
            balance(&api, "656", &day("02-28")),
            balance(&api, "411", &day("02-28"))
        ),
        ("20.00".into(), "0.00".into())
    );
    api.sound();
    // Ending a matching takes its difference back.
    let found = api.data(
        "{ payment(ref: { number: \"RG-2\" }) { allocations { nodes { id } } } }",
        json!({}),
    );
    let id = &found["payment"]["allocations"]["nodes"][0]["id"];
    api.done(
        "mutation($id: ID!, $on: Date) { unallocate(input: { allocation: $id, unallocatedOn: $on }) { allocation { id } userErrors { code field message } } }",
        json!({ "id": id, "on": day("02-10") }),
    );
    // 333.33 USD: 306.66 at 0.92, 300.00 at 0.90.
    assert_eq!(balance(&api, "656", &day("02-28")), "6.66");
    api.sound();
}

#[test]
fn accruals_are_reversed_at_the_opening_2_14() {
    let api = Company::new().admin();
    let made = operate(
        &api,
        "accrue",
        json!({ "kind": "INVOICES_TO_ISSUE", "net": "500.00", "vatRate": "20", "label": "Prestations de juin", "on": day("06-30") }),
    );
    posted(
        &made["entries"],
        &[
            ("4181", "600.00", "0.00"),
            ("706", "0.00", "500.00"),
            ("44587", "0.00", "100.00"),
            ("4181", "0.00", "600.00"),
            ("706", "500.00", "0.00"),
            ("44587", "100.00", "0.00"),
        ],
    );
    let made = operate(
        &api,
        "accrue",
        json!({ "kind": "CREDIT_NOTES_TO_ISSUE", "net": "100.00", "vatRate": "20", "label": "Ristournes", "on": day("06-30") }),
    );
    posted(
        &json!([made["entries"][0]]),
        &[
            ("4198", "0.00", "120.00"),
            ("7097", "100.00", "0.00"),
            ("44587", "20.00", "0.00"),
        ],
    );
    assert_eq!(balance(&api, "4181", &day("06-30")), "600.00");
    assert_eq!(balance(&api, "4181", &day("07-01")), "0.00");
    api.sound();
}

#[test]
fn the_provision_of_section_5_1_is_posted_in_two_entries_r5_10() {
    let api = Company::new().admin();
    for number in ["A", "B"] {
        api.client(number);
    }
    api.invoice("A", "FA-A", &day("01-10"), &day("02-09"), ("1000.00", "20"));
    let opening = "mutation($client: String!, $amount: Decimal!, $on: Date) { recordOpeningProvision(input: { client: { number: $client }, amount: $amount, postedOn: $on }) { userErrors { code field message } } }";
    for (client, amount) in [("A", "100.00"), ("B", "900.00")] {
        api.done(
            opening,
            json!({ "client": client, "amount": amount, "on": day("01-01") }),
        );
    }
    let run = provide(&api, &day("06-30"), "40");
    assert_eq!(
        run["totals"],
        json!({ "required": "400.00", "previous": "1000.00", "charge": "300.00", "release": "900.00" })
    );
    posted(
        &run["entries"],
        &[
            ("68174", "300.00", "0.00"),
            ("491", "0.00", "300.00"),
            ("491", "900.00", "0.00"),
            ("78174", "0.00", "900.00"),
        ],
    );
    // Posting twice changes nothing.
    api.done(
        "mutation($number: String!) { postProvisionRun(run: { number: $number }) { run { id } userErrors { code field message } } }",
        json!({ "number": run["number"] }),
    );
    assert_eq!(balance(&api, "491", &day("06-30")), "-400.00");
    api.sound();
    api.done(
        "mutation($number: String!, $on: Date) { cancelProvisionRun(input: { run: { number: $number }, on: $on, reason: \"taux erroné\" }) { run { status } userErrors { code field message } } }",
        json!({ "number": run["number"], "on": day("07-01") }),
    );
    assert_eq!(balance(&api, "491", &day("07-01")), "-1000.00");
    assert_eq!(balance(&api, "491", &day("06-30")), "-400.00");
    let history = api.data(
        "{ provisionMovements(client: { number: \"B\" }) { nodes { kind amount postedOn } } }",
        json!({}),
    );
    let kinds: Vec<&str> = history["provisionMovements"]["nodes"]
        .as_array()
        .expect("movements")
        .iter()
        .map(|row| row["kind"].as_str().expect("a kind"))
        .collect();
    assert_eq!(kinds, ["CANCELLATION", "RUN", "OPENING"]);
    api.sound();
}

#[test]
fn a_late_fact_is_posted_on_the_first_open_day_r2_2() {
    let api = Company::new().admin();
    api.client("C001");
    let close =
        "mutation($on: Date!) { closePeriod(through: $on) { userErrors { code field message } } }";
    let before_all = api.data(close, json!({ "on": "1989-12-31" }));
    assert_eq!(
        before_all["closePeriod"]["userErrors"][0]["field"],
        json!(["through"])
    );
    api.done(close, json!({ "on": format!("{}-12-31", year() - 1) }));
    let years = api.data("{ financialYears { name } }", json!({}));
    assert_eq!(
        years["financialYears"],
        json!([{ "name": year() }]),
        "closing makes no year"
    );
    api.done(close, json!({ "on": day("01-31") }));
    let payment = |late: bool| json!({ "client": { "number": "C001" }, "number": "RG-1", "receivedOn": day("01-15"), "method": "TRANSFER", "amount": "50.00", "lateEntry": late });
    api.refused(
        "RecordPayment",
        payment(false),
        "PERIOD_CLOSED",
        &["receivedOn"],
    );
    api.make("RecordPayment", payment(true));
    let found = api.data(
        "{ payment(ref: { number: \"RG-1\" }) { receivedOn entries { postedOn occurredOn } } }",
        json!({}),
    );
    assert_eq!(
        found["payment"],
        json!({ "receivedOn": day("01-15"), "entries": [{ "postedOn": day("02-01"), "occurredOn": day("01-15") }] })
    );
    assert_eq!(
        api.account("C001", &day("01-31")).1,
        Vec::<Value>::new(),
        "a closed balance stays as it was"
    );
    api.sound();
}

#[test]
fn a_year_is_closed_locked_and_carried_forward() {
    let api = Company::new().admin();
    api.client("C001");
    let last = year() - 1;
    let old = |rest: &str| format!("{last}-{rest}");
    api.invoice(
        "C001",
        "FA-1",
        &old("11-10"),
        &old("12-10"),
        ("1000.00", "20"),
    );
    let early = api.data(
        "mutation($y: Int!) { closeYear(year: $y) { year userErrors { code } } }",
        json!({ "y": last }),
    );
    assert_eq!(early["closeYear"]["userErrors"][0]["code"], "WRONG_STATE");
    api.done(
        "mutation($on: Date!) { closePeriod(through: $on) { userErrors { code field message } } }",
        json!({ "on": old("12-31") }),
    );
    api.done(
        "mutation($y: Int!) { closeYear(year: $y) { year userErrors { code field message } } }",
        json!({ "y": last }),
    );
    let found = api.data(
        "{ financialYears { name state result } journalEntries(filter: { journal: \"AN\" }) { nodes { postedOn lines { account debit credit } } } }",
        json!({}),
    );
    assert_eq!(
        found["financialYears"],
        json!([
            { "name": year(), "state": "OPEN", "result": null },
            { "name": last, "state": "LOCKED", "result": "1000.00" }
        ])
    );
    let opening = &found["journalEntries"]["nodes"];
    assert_eq!(opening[0]["postedOn"], day("01-01"));
    posted(
        opening,
        &[
            ("120", "0.00", "1000.00"),
            ("411", "1200.00", "0.00"),
            ("44571", "0.00", "200.00"),
        ],
    );
    // Carried, not counted twice.
    assert_eq!(balance(&api, "411", &day("03-31")), "1200.00");
    assert_eq!(balance(&api, "70", &day("03-31")), "0.00");
    assert_eq!(balance(&api, "12", &day("03-31")), "-1000.00");
    let report = api.data(
        "query($on: Date!) { agedBalance(asOf: $on) { ledgerCheck { difference } totals { total } } }",
        json!({ "on": day("03-31") }),
    );
    assert_eq!(
        report["agedBalance"]["ledgerCheck"][0]["difference"],
        "0.00"
    );
    let reopened = api.data(
        "mutation { reopenPeriod(reason: \"erreur\") { userErrors { code } } }",
        json!({}),
    );
    assert_eq!(
        reopened["reopenPeriod"]["userErrors"][0]["code"],
        "PERIOD_CLOSED"
    );
    api.sound();
}

#[test]
fn accounts_outside_the_chart_are_refused_r1_2() {
    let api = Company::new().admin();
    api.client("C001");
    let input = json!({
        "client": { "number": "C001" }, "number": "FA-1", "issuedOn": day("01-10"), "dueOn": day("02-09"),
        "lines": [{ "description": "Rentrée", "quantity": "1", "unitPrice": "10.00", "vatRate": "0", "account": "771400" }],
    });
    api.refused(
        "IssueInvoice",
        input,
        "ACCOUNT_NOT_IN_CHART",
        &["lines", "0", "account"],
    );
    let saved = api.done(
        "mutation($on: Date) { saveAccount(input: { number: \"706100\", label: \"Conseil\", closedOn: $on }) { account { label own } userErrors { code field message } } }",
        json!({ "on": day("02-01") }),
    );
    assert_eq!(saved["account"], json!({ "label": "Conseil", "own": true }));
    let input = |on: &str, number: &str| {
        json!({
            "client": { "number": "C001" }, "number": number, "issuedOn": on,
            "lines": [{ "description": "Conseil", "quantity": "1", "unitPrice": "10.00", "vatRate": "0", "account": "706100" }],
        })
    };
    api.make("IssueInvoice", input(&day("01-31"), "FA-2"));
    api.refused(
        "IssueInvoice",
        input(&day("02-01"), "FA-3"),
        "ACCOUNT_NOT_IN_CHART",
        &[],
    );
    let chart = api.data(
        "{ chartOfAccounts(prefix: \"7061\") { number label own } }",
        json!({}),
    );
    assert_eq!(
        chart["chartOfAccounts"],
        json!([{ "number": "706100", "label": "Conseil", "own": true }])
    );
}

#[test]
fn the_ledger_of_a_client_runs_to_its_balance() {
    let api = Company::new().admin();
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("100.00", "20"),
    );
    pay(&api, "RG-1", &day("02-01"), "120.00", "FA-1");
    api.invoice(
        "C001",
        "FA-2",
        &day("03-10"),
        &day("04-09"),
        ("200.00", "20"),
    );
    let asked = "query($from: Date, $first: Int, $after: String) { generalLedger(account: \"411\", client: { number: \"C001\" }, from: $from) { opening \
        lines(first: $first, after: $after) { totalCount pageInfo { endCursor hasNextPage } nodes { debit credit balance letter entry { reference } } } } }";
    let page = api.data(asked, json!({ "first": 2 }))["generalLedger"]["lines"].take();
    assert_eq!(page["totalCount"], 3);
    let letters: Vec<&Value> = page["nodes"]
        .as_array()
        .expect("lines")
        .iter()
        .map(|line| &line["letter"])
        .collect();
    assert_eq!(letters, [&json!("A"), &json!("A")]);
    let next = api.data(
        asked,
        json!({ "first": 2, "after": page["pageInfo"]["endCursor"] }),
    )["generalLedger"]["lines"]
        .take();
    assert_eq!(
        next["nodes"],
        json!([{ "debit": "240.00", "credit": "0.00", "balance": "240.00", "letter": null, "entry": { "reference": "FA-2" } }])
    );
    let later =
        api.data(asked, json!({ "from": day("02-01"), "first": 5 }))["generalLedger"].take();
    assert_eq!(later["opening"], "120.00");
    assert_eq!(later["lines"]["nodes"][0]["balance"], "0.00");
}

#[test]
fn money_moves_between_the_accounts_of_a_payer_s_clients_r13_4() {
    let api = Company::new().admin();
    for number in ["C001", "C002"] {
        api.client(number);
    }
    api.payment("C001", "RG-1", &day("01-05"), "500.00");
    let made = operate(
        &api,
        "transferCredit",
        json!({ "credit": { "number": "RG-1" }, "to": { "number": "C002" }, "amount": "200.00", "on": day("01-06"), "reason": "payé par la centrale" }),
    );
    posted(
        &made["entries"],
        &[("411", "200.00", "0.00"), ("411", "0.00", "200.00")],
    );
    assert_eq!(
        api.account("C001", &day("01-31")).0["unallocated"],
        "-300.00"
    );
    assert_eq!(
        api.account("C002", &day("01-31")).0["unallocated"],
        "-200.00"
    );
    api.sound();
}

#[test]
fn bills_stand_in_a_column_of_their_own_r4_1() {
    let api = Company::new().admin();
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("1000.00", "20"),
    );
    api.invoice(
        "C001",
        "FA-2",
        &day("01-10"),
        &day("02-09"),
        ("100.00", "20"),
    );
    let bill = json!({ "client": { "number": "C001" }, "number": "RG-1", "receivedOn": day("02-01"), "method": "BILL", "amount": "1200.00",
        "maturesOn": day("03-31"), "allocations": [{ "debit": { "number": "FA-1" } }] });
    api.make("RecordPayment", bill);
    let ask = |include: bool| {
        api.data(
            "query($on: Date!, $include: Boolean!) { agedBalance(asOf: $on, filter: { includeBills: $include }) { totals { buckets bills overdue total }
               bills: openItems(bills: true) { nodes { open } } } }",
            json!({ "on": day("02-28"), "include": include }),
        )["agedBalance"]
            .clone()
    };
    let without = ask(false);
    assert_eq!(without["totals"][0]["bills"], "0.00");
    assert_eq!(without["totals"][0]["total"], "120.00");
    let with = ask(true);
    let totals = &with["totals"][0];
    assert_eq!(
        (&totals["bills"], &totals["overdue"], &totals["total"]),
        (&json!("1200.00"), &json!("120.00"), &json!("1320.00")),
        "{with:#}"
    );
    assert_eq!(totals["buckets"], without["totals"][0]["buckets"]);
    assert_eq!(with["bills"]["nodes"], json!([{ "open": "1200.00" }]));
}
