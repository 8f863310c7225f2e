//! Doubtful claims, losses and provisions (sections 2.10 to 2.12 and 5.1).

use serde_json::{Value, json};

use super::{balance, entries_of, operate, pay, posted, refused};
use crate::harness::{Api, Company, day, single};

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
