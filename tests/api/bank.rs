//! Bank statements: matched by the rules of 13.2, corrected at the desk, each movement once.

use serde_json::{Value, json};

use crate::harness::{Api, Company, day};

pub const OURS: &str = "FR7699999000010000000004286";
pub const PAYER: &str = "FR7699999000010000000100219";

/// An entry: amount, what identifies it, and what else the bank says.
pub fn entry(amount: &str, on: &str, id: &str, more: &str) -> String {
    let (sign, plain) = match amount.strip_prefix('-') {
        Some(plain) => ("DBIT", plain),
        None => ("CRDT", amount),
    };
    format!(
        "<Ntry><Amt Ccy=\"EUR\">{plain}</Amt><CdtDbtInd>{sign}</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>{on}</Dt></BookgDt>\
         <AcctSvcrRef>{id}</AcctSvcrRef>{more}</Ntry>"
    )
}

fn family(code: &str, sub: &str) -> String {
    format!(
        "<BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>{code}</Cd><SubFmlyCd>{sub}</SubFmlyCd></Fmly></Domn></BkTxCd>"
    )
}

/// Details of one payment: its end-to-end id, its payer, the payer's account and the text.
pub fn details(e2e: &str, name: &str, iban: &str, text: &str) -> String {
    let account = if iban.is_empty() {
        String::new()
    } else {
        format!("<DbtrAcct><Id><IBAN>{iban}</IBAN></Id></DbtrAcct>")
    };
    format!(
        "<NtryDtls><TxDtls><Refs><EndToEndId>{e2e}</EndToEndId></Refs><RltdPties><Dbtr><Pty><Nm>{name}</Nm></Pty></Dbtr>{account}</RltdPties>\
         <RmtInf>{text}</RmtInf></TxDtls></NtryDtls>"
    )
}

pub fn free(text: &str) -> String {
    format!("<Ustrd>{text}</Ustrd>")
}

pub fn statement(
    id: &str,
    number: u32,
    opening: &str,
    closing: &str,
    entries: &[String],
) -> String {
    let balance = |kind: &str, amount: &str| {
        format!(
            "<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp><Amt Ccy=\"EUR\">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd></Bal>"
        )
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\"><BkToCstmrStmt>\
         <GrpHdr><MsgId>M-{id}</MsgId></GrpHdr><Stmt><Id>{id}</Id><ElctrncSeqNb>{number}</ElctrncSeqNb><Acct><Id><IBAN>{OURS}</IBAN></Id><Ccy>EUR</Ccy></Acct>\
         {}{}{}</Stmt></BkToCstmrStmt></Document>",
        balance("OPBD", opening),
        balance("CLBD", closing),
        entries.concat()
    )
}

pub fn open_account(api: &Api) {
    api.done(
        "mutation($iban: String!) { saveBankAccount(input: { label: \"Courant\", iban: $iban, account: \"512100\" }) { userErrors { code field message } } }",
        json!({ "iban": OURS }),
    );
}

fn lines(api: &Api) -> Vec<Value> {
    let answer = api.data(
        "{ bankLines(first: 50) { nodes { id amount status counterpartyIban payment { number client { number } unallocated } \
           matches { rule score outcome evidence shares { amount debit { reference } } alternatives { evidence shares { amount } } } } } }",
        json!({}),
    );
    answer["bankLines"]["nodes"]
        .as_array()
        .expect("lines")
        .clone()
}

pub fn line_of(api: &Api, amount: &str) -> Value {
    let found: Vec<Value> = lines(api)
        .into_iter()
        .filter(|line| line["amount"] == amount)
        .collect();
    assert_eq!(found.len(), 1, "{amount}: {found:#?}");
    found[0].clone()
}

pub fn last(line: &Value) -> &Value {
    line["matches"]
        .as_array()
        .and_then(|all| all.last())
        .expect("a decision")
}

pub fn open(api: &Api, invoice: &str) -> Value {
    api.data(
        "query($n: String!) { invoice(ref: { number: $n }) { open } }",
        json!({ "n": invoice }),
    )["invoice"]["open"]
        .clone()
}

pub fn desk(api: &Api, field: &str, input: Value) -> Value {
    let kind = format!("{}{}", field[..1].to_uppercase(), &field[1..]);
    let document = format!(
        "mutation($input: {kind}Input!) {{ {field}(input: $input) {{ bankLine {{ id status }} userErrors {{ code field message }} }} }}"
    );
    api.data(&document, json!({ "input": input }))[field].clone()
}

/// Three invoices, and a first statement with a movement of every sort.
fn first_month(api: &Api) -> String {
    open_account(api);
    api.client("C001");
    for (number, net) in [
        ("FA-2026-101", "100.00"),
        ("FA-2026-102", "200.00"),
        ("FA-2026-103", "50.00"),
    ] {
        api.invoice("C001", number, &day("01-10"), &day("02-09"), (net, "20"));
    }
    let on = day("03-10");
    let structured = "<Strd><CdtrRefInf><Ref>FA-2026-101</Ref></CdtrRefInf></Strd>";
    let entries = [
        entry(
            "120.00",
            &on,
            "B1",
            &details("E2E-1", "CLIENT UN", PAYER, structured),
        ),
        entry(
            "239.50",
            &on,
            "B2",
            &details(
                "E2E-2",
                "CLIENT UN",
                "",
                &free("REGLEMENT FACTURE FA 2026 102"),
            ),
        ),
        entry(
            "77.00",
            &on,
            "B3",
            &details("NOTPROVIDED", "CLIENT UN", PAYER, &free("acompte divers")),
        ),
        entry(
            "55.00",
            &on,
            "B4",
            &details("NOTPROVIDED", "MYSTERE", "", &free("merci")),
        ),
        entry(
            "-12.90",
            &on,
            "B5",
            &format!(
                "{}<AddtlNtryInf>TENUE DE COMPTE</AddtlNtryInf>",
                family("MDOP", "CHRG")
            ),
        ),
        entry("-30.00", &on, "B6", &family("ICDT", "ESCT")),
    ];
    statement("S-1", 1, "1000.00", "1448.60", &entries)
}

#[test]
fn a_statement_matches_itself_13_2() {
    let company = Company::new();
    let api = company.admin();
    let file = first_month(&api);
    let report = api.upload("/import/bank", "application/xml", &file).json();
    assert_eq!(
        report["outcomes"],
        json!({ "AUTOMATIC": 2, "PROPOSED": 1, "UNKNOWN": 1, "POSTED": 1, "IGNORED": 1 }),
        "{report:#}"
    );
    let first = line_of(&api, "120.00");
    assert_eq!(last(&first)["rule"], "STRUCTURED_REFERENCE");
    assert_eq!(last(&first)["score"], 100);
    assert_eq!(
        last(&first)["shares"][0]["debit"]["reference"],
        "FA-2026-101"
    );
    let second = line_of(&api, "239.50");
    assert_eq!(
        last(&second)["rule"],
        "NUMBERS_WITH_DIFFERENCE",
        "{second:#}"
    );
    for number in ["FA-2026-101", "FA-2026-102"] {
        assert_eq!(open(&api, number), "0.00", "{number}");
    }
    // The account was learned from the first line; nothing is open for this amount: a person decides.
    let third = line_of(&api, "77.00");
    assert_eq!(
        (&third["status"], &third["payment"]["client"]["number"]),
        (&json!("PROPOSED"), &json!("C001"))
    );
    let unknown = line_of(&api, "55.00");
    assert_eq!(
        (&unknown["status"], &unknown["payment"]["client"]),
        (&json!("UNKNOWN"), &json!(null))
    );
    let tasks = api.data(
        "{ tasks { nodes { kind subject bankLine { amount } } } }",
        json!({}),
    );
    let mut kinds: Vec<&str> = tasks["tasks"]["nodes"]
        .as_array()
        .expect("tasks")
        .iter()
        .filter_map(|task| task["kind"].as_str())
        .collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["BANK_PROPOSAL", "UNKNOWN_RECEIPT"], "{tasks:#}");
    api.sound();

    // Accounts are shown whole only to those who record payments.
    let auditor = company.as_role("AUDITOR");
    assert_eq!(line_of(&auditor, "120.00")["counterpartyIban"], "…0219");
    assert_eq!(line_of(&api, "120.00")["counterpartyIban"], PAYER);
    for (role, status) in [("SALES", 403), ("AUDITOR", 403), ("BI_READER", 403)] {
        let answer = company
            .as_role(role)
            .upload("/import/bank", "application/xml", &file);
        assert_eq!(answer.status, status, "{role}");
    }
}

#[test]
fn each_statement_once_and_without_a_gap_13_1() {
    let company = Company::new();
    let api = company.admin();
    let file = first_month(&api);
    let missing = api.upload(
        "/import/bank",
        "application/xml",
        &file.replace(OURS, PAYER),
    );
    assert_eq!(missing.status, 422);
    assert!(missing.text.contains("saveBankAccount"), "{}", missing.text);
    assert_eq!(
        api.upload("/import/bank", "application/xml", &file).status,
        200
    );
    let again = api.upload("/import/bank", "application/xml", &file).json();
    assert_eq!(again["importedBefore"], true);
    let same = api.upload(
        "/import/bank",
        "application/xml",
        &file.replace("M-S-1", "M-2"),
    );
    assert_eq!(same.json()["errors"][0]["extensions"]["code"], "DUPLICATE");
    assert_eq!(lines(&api).len(), 6);

    // The next one overlaps: what is known is not taken twice (R13.2).
    let on = day("03-10");
    let known = entry(
        "55.00",
        &on,
        "B4",
        &details("NOTPROVIDED", "MYSTERE", "", &free("merci")),
    );
    let fresh = entry(
        "10.00",
        &day("03-11"),
        "B7",
        &details("X", "AUTRE", "", &free("don")),
    );
    let next = |opening: &str, closing: &str| {
        statement("S-2", 2, opening, closing, &[known.clone(), fresh.clone()])
    };
    let gap = api.upload(
        "/import/bank",
        "application/xml",
        &next("1500.00", "1565.00"),
    );
    assert_eq!(
        gap.json()["errors"][0]["extensions"]["code"],
        "STATEMENT_GAP"
    );
    let allowed = api
        .upload(
            "/import/bank?allowGap=true",
            "application/xml",
            &next("1500.00", "1565.00"),
        )
        .json();
    assert_eq!(allowed["statements"][0]["knownBefore"], 1, "{allowed:#}");
    assert_eq!(lines(&api).len(), 7);
    for bad in [
        "",
        "<a/>",
        "<Document",
        &file.replace("1448.60", "1448.61"),
        &file[..file.len() / 2],
    ] {
        let answer = api.upload("/import/bank", "application/xml", bad);
        assert_eq!(answer.status, 422, "{}", answer.text);
    }
    api.sound();
}

#[test]
fn a_person_decides_and_undoes_r13_1() {
    let company = Company::new();
    let api = company.admin();
    let file = first_month(&api);
    assert_eq!(
        api.upload("/import/bank", "application/xml", &file).status,
        200
    );
    let id = |amount: &str| line_of(&api, amount)["id"].clone();

    // The alternative in the order of the law pays the last invoice, the rest stays on account.
    let none = desk(&api, "acceptBankProposal", json!({ "line": id("77.00") }));
    assert_eq!(
        none["userErrors"][0]["field"],
        json!(["alternative"]),
        "{none:#}"
    );
    let accepted = desk(
        &api,
        "acceptBankProposal",
        json!({ "line": id("77.00"), "alternative": 0 }),
    );
    assert_eq!(accepted["bankLine"]["status"], "MATCHED", "{accepted:#}");
    assert_eq!(open(&api, "FA-2026-103"), "0.00");
    assert_eq!(line_of(&api, "77.00")["payment"]["unallocated"], "17.00");

    // Undone as one step: the matching ends, the small difference is reversed, the money is nobody's.
    let undone = desk(
        &api,
        "undoBankMatch",
        json!({ "line": id("239.50"), "reason": "wrong client" }),
    );
    assert_eq!(undone["bankLine"]["status"], "UNKNOWN", "{undone:#}");
    assert_eq!(open(&api, "FA-2026-102"), "240.00");
    assert_eq!(line_of(&api, "239.50")["payment"]["client"], json!(null));
    api.sound();
    let twice = desk(
        &api,
        "undoBankMatch",
        json!({ "line": id("239.50"), "reason": "again" }),
    );
    assert_eq!(twice["userErrors"][0]["code"], "WRONG_STATE");

    // Assigned by hand, in part.
    let too_much = desk(
        &api,
        "assignBankLine",
        json!({
            "line": id("239.50"), "client": { "number": "C001" },
            "allocations": [{ "debit": { "number": "FA-2026-102" }, "amount": "240.00" }],
        }),
    );
    assert_eq!(
        too_much["userErrors"][0]["code"], "OVER_ALLOCATION",
        "{too_much:#}"
    );
    let assigned = desk(
        &api,
        "assignBankLine",
        json!({
            "line": id("239.50"), "client": { "number": "C001" },
            "allocations": [{ "debit": { "number": "FA-2026-102" } }],
        }),
    );
    assert_eq!(assigned["bankLine"]["status"], "MATCHED", "{assigned:#}");
    assert_eq!(open(&api, "FA-2026-102"), "0.50");

    // What the bank brought did arrive: its receipt is not reversed by itself.
    let number = line_of(&api, "77.00")["payment"]["number"].clone();
    let refused = api.data(
        "mutation($n: String!) { reversePayment(input: { payment: { number: $n }, reason: \"no\" }) { userErrors { code field } } }",
        json!({ "n": number }),
    );
    assert_eq!(
        refused["reversePayment"]["userErrors"],
        json!([{ "code": "WRONG_STATE", "field": ["payment"] }])
    );
    // Kept on account: only the matching was wrong.
    let kept = desk(
        &api,
        "undoBankMatch",
        json!({ "line": id("77.00"), "reason": "not this one", "keepOnAccount": true }),
    );
    assert_eq!(kept["bankLine"]["status"], "ON_ACCOUNT", "{kept:#}");
    assert_eq!(line_of(&api, "77.00")["payment"]["unallocated"], "77.00");
    let charge = desk(
        &api,
        "undoBankMatch",
        json!({ "line": id("-12.90"), "reason": "not ours" }),
    );
    assert_eq!(charge["bankLine"]["status"], "UNDONE", "{charge:#}");
    api.sound();
}

#[test]
fn what_comes_back_finds_its_receipt_r13_3() {
    let company = Company::new();
    let api = company.admin();
    let file = first_month(&api);
    assert_eq!(
        api.upload("/import/bank", "application/xml", &file).status,
        200
    );
    let on = day("03-20");
    let returned = |e2e: &str| {
        format!(
            "{}<NtryDtls><TxDtls><Refs><EndToEndId>{e2e}</EndToEndId></Refs><RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf></TxDtls></NtryDtls>",
            family("RRCT", "RRTN")
        )
    };
    let entries = [
        entry("-130.00", &on, "R1", &returned("E2E-1")),
        entry("-55.00", &on, "R2", &returned("NOBODY")),
    ];
    let next = statement("S-2", 2, "1448.60", "1263.60", &entries);
    let report = api.upload("/import/bank", "application/xml", &next).json();
    assert_eq!(
        report["outcomes"],
        json!({ "RETURNED": 1, "UNKNOWN": 1 }),
        "{report:#}"
    );
    assert_eq!(open(&api, "FA-2026-101"), "120.00");
    api.sound();
    // The other one waits on 471 until a person names the receipt.
    let receipt = line_of(&api, "55.00")["payment"]["number"].clone();
    let line = line_of(&api, "-55.00")["id"].clone();
    let done = desk(
        &api,
        "assignBankReturn",
        json!({ "line": line, "payment": { "number": receipt } }),
    );
    assert_eq!(done["bankLine"]["status"], "RETURNED", "{done:#}");
    api.sound();
}

#[test]
fn a_receipt_recorded_in_error_is_reversed_r2_2() {
    let api = Company::new().admin();
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("100.00", "20"),
    );
    api.payment("C001", "RG-1", &day("02-09"), "120.00");
    api.allocate(&day("02-10"), &[("FA-1", "RG-1", "120.00")]);
    let document = "mutation($input: ReversePaymentInput!) { reversePayment(input: $input) { payment { reversedOn returnedOn unallocated allocations { nodes { amount endedReason } } } userErrors { code field message } } }";
    let input = json!({ "input": { "payment": { "number": "RG-1" }, "reason": "entered twice", "on": day("03-01") } });
    let done = api.data(document, input.clone());
    assert_eq!(
        done["reversePayment"]["payment"],
        json!({ "reversedOn": day("03-01"), "returnedOn": null, "unallocated": "0.00", "allocations": { "nodes": [
            { "amount": "120.00", "endedReason": null }, { "amount": "120.00", "endedReason": "entered twice" }] } }),
        "{done:#}"
    );
    assert_eq!(open(&api, "FA-1"), "120.00");
    let again = api.data(document, input);
    assert_eq!(
        again["reversePayment"]["userErrors"][0]["code"],
        "WRONG_STATE"
    );
    api.sound();
}

#[test]
fn a_slip_is_printed_and_credited_by_the_bank_13_2() {
    let company = Company::new();
    let api = company.admin();
    open_account(&api);
    api.make(
        "CreateClient",
        json!({ "number": "C001", "name": "Dupont & <Fils>" }),
    );
    let cheque = json!({ "client": { "number": "C001" }, "number": "RG-1", "receivedOn": day("03-01"), "method": "CHEQUE", "amount": "1234.56" });
    api.make("RecordPayment", cheque);
    let slip = api.data(
        "mutation($on: Date!) { handIn(input: { kind: CHEQUES, payments: [{ number: \"RG-1\" }], bankAccount: \"512100\", remittedOn: $on }) \
           { remittance { id number } userErrors { message } } }",
        json!({ "on": day("03-02") }),
    );
    let id = slip["handIn"]["remittance"]["id"]
        .as_str()
        .expect("a slip")
        .to_owned();
    let text = api.letter("REMITTANCE_SLIP", &id);
    for part in [
        "Bordereau de remise",
        "Dupont & <Fils>",
        "1\u{202f}234,56\u{a0}€",
        "RG-1",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let path = format!("/letters/REMITTANCE_SLIP/{id}");
    assert!(api.bytes(&path).1.starts_with(b"%PDF-"));
    assert_eq!(company.as_role("SALES").fetch(&path).status, 403);
    assert_eq!(Company::new().admin().fetch(&path).status, 404);
    assert_eq!(api.fetch("/letters/RECTIFIED_INVOICE/nothing").status, 404);
    assert_eq!(api.fetch(&format!("/letters/POSTCARD/{id}")).status, 404);

    let credit = entry("1234.56", &day("03-05"), "B1", &family("RCHQ", "XCHQ"));
    let file = statement("S-1", 1, "0.00", "1234.56", &[credit]);
    let report = api.upload("/import/bank", "application/xml", &file).json();
    assert_eq!(report["outcomes"], json!({ "POSTED": 1 }), "{report:#}");
    let credited = api.data(
        "query($id: ID!) { remittance(ref: { id: $id }) { creditedOn received } }",
        json!({ "id": id }),
    );
    assert_eq!(
        credited["remittance"],
        json!({ "creditedOn": day("03-05"), "received": "1234.56" })
    );
    api.sound();
}

#[test]
fn a_notification_tells_the_payments_of_a_batch_apart_r13_2() {
    let api = Company::new().admin();
    open_account(&api);
    api.client("C001");
    for (number, net) in [("FA-2026-101", "100.00"), ("FA-2026-102", "200.00")] {
        api.invoice("C001", number, &day("01-10"), &day("02-09"), (net, "20"));
    }
    let on = day("03-10");
    let whole = statement(
        "S-1",
        1,
        "0.00",
        "360.00",
        &[entry("360.00", &on, "BATCH", "")],
    );
    let report = api.upload("/import/bank", "application/xml", &whole).json();
    assert_eq!(report["outcomes"], json!({ "UNKNOWN": 1 }), "{report:#}");
    let part = |id: &str, amount: &str, number: &str| {
        format!(
            "<TxDtls><Refs><AcctSvcrRef>{id}</AcctSvcrRef></Refs><Amt Ccy=\"EUR\">{amount}</Amt><RmtInf><Ustrd>{number}</Ustrd></RmtInf></TxDtls>"
        )
    };
    let parts = [
        part("T1", "120.00", "FA-2026-101"),
        part("T2", "240.00", "FA-2026-102"),
    ]
    .concat();
    let told = entry(
        "360.00",
        &on,
        "BATCH",
        &format!("<NtryDtls><Btch><NbOfTxs>2</NbOfTxs></Btch>{parts}</NtryDtls>"),
    );
    let notification = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.054.001.08\"><BkToCstmrDbtCdtNtfctn>\
         <GrpHdr><MsgId>N</MsgId></GrpHdr><Ntfctn><Id>N-1</Id><Acct><Id><IBAN>{OURS}</IBAN></Id><Ccy>EUR</Ccy></Acct>{told}</Ntfctn></BkToCstmrDbtCdtNtfctn></Document>"
    );
    let report = api
        .upload("/import/bank", "application/xml", &notification)
        .json();
    assert_eq!(report["outcomes"], json!({ "AUTOMATIC": 2 }), "{report:#}");
    assert_eq!(report["detailed"], 1);
    assert_eq!(line_of(&api, "360.00")["status"], "UNDONE");
    let tasks = api.data("{ tasks { totalCount } }", json!({}));
    assert_eq!(tasks["tasks"]["totalCount"], 0);
    assert_eq!(open(&api, "FA-2026-102"), "0.00");
    // The other way round: the sum of what was told is known.
    let later = statement(
        "S-2",
        2,
        "360.00",
        "720.00",
        &[entry("360.00", &on, "BATCH", "")],
    );
    let report = api.upload("/import/bank", "application/xml", &later).json();
    assert_eq!(report["statements"][0]["knownBefore"], 1, "{report:#}");
    api.sound();
}
