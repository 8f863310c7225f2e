//! Receipts, bills, slips, discounts, penalties, and the VAT that follows them (sections 2.4 to 2.8).

use serde_json::{Value, json};

use super::{balance, entries_of, operate, pay, posted, refused};
use crate::harness::{Api, Company, day, single, today};

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
