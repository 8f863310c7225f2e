//! Files, letters, runs, mail and evidence (sections 7 and 8), as a credit manager uses them.

use std::io::{Cursor, Read, Write};

use chrono::Days;
use serde_json::{Value, json};

use crate::harness::{Api, Company, command, data_dir, outcome, today};
use crate::mail::MailServer;

pub fn ago(days: u64) -> String {
    (today() - Days::new(days)).to_string()
}

/// Runs are proposed on whatever day the tests run.
pub fn any_day(api: &Api) {
    let settings = json!({ "settings": { "dunning_any_day": true } });
    mutate(api, "updateCompany", settings, "company { id }");
}

/// Days after which the first reminder is due, whatever day it is: J+3, and four more at most until a working day (R7.5),
/// when Ascension is on the day before 8 May.
pub const JUST_LATE: u64 = 7;

/// A client with an address, and one invoice of 1,200.00 that is so many days late: both ids.
pub fn late(api: &Api, client: &str, invoice: &str, days: u64) -> (String, String) {
    let id = api.client(client)["id"].as_str().expect("an id").to_owned();
    any_day(api);
    contact(
        api,
        client,
        &format!("compta@{}.example", client.to_lowercase()),
    );
    let made = api.invoice(
        client,
        invoice,
        &ago(days + 30),
        &ago(days),
        ("1000.00", "20"),
    );
    (id, made["id"].as_str().expect("an id").to_owned())
}

pub fn contact(api: &Api, client: &str, email: &str) {
    let input = json!({ "client": { "number": client }, "role": "ACCOUNTING", "name": "Compta", "email": email, "phone": "+33 4 72 00 00 00" });
    let added = mutate(api, "addContact", input, "client { number }");
    assert_eq!(added["userErrors"], json!([]), "{added}");
}

/// Runs a mutation that takes one `input`.
pub fn mutate(api: &Api, mutation: &str, input: Value, fields: &str) -> Value {
    let kind = format!("{}{}", mutation[..1].to_uppercase(), &mutation[1..]);
    let document = format!(
        "mutation($input: {kind}Input!) {{ {mutation}(input: $input) {{ {fields} userErrors {{ code field message details }} }} }}"
    );
    api.data(&document, json!({ "input": input }))[mutation].clone()
}

const RUN: &str = "id status automatic counts { status count } lines(first: 50) { nodes { id client { number } level channel claimed status reason action { id files { id name path } } } }";

/// Runs a mutation about a run.
fn run(api: &Api, mutation: &str, id: &Value) -> Value {
    let document = format!(
        "mutation($run: ID!) {{ {mutation}(run: $run) {{ run {{ {RUN} }} userErrors {{ code field message details }} }} }}"
    );
    api.data(&document, json!({ "run": id }))[mutation].clone()
}

fn propose(api: &Api, input: Value) -> Value {
    mutate(api, "proposeDunningRun", input, &format!("run {{ {RUN} }}"))
}

fn lines(run: &Value) -> Vec<(String, i64, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    run["lines"]["nodes"]
        .as_array()
        .expect("lines")
        .iter()
        .map(|line| {
            let level = line["level"].as_i64().expect("a level");
            (
                text(&line["client"]["number"]),
                level,
                text(&line["status"]),
                text(&line["reason"]),
            )
        })
        .collect()
}

/// Does the background work of a company once, with a mail server.
fn work(company: &Company, mail: &str) {
    command(&[
        "work",
        "--company",
        &company.id,
        "--smtp-url",
        mail,
        "--mail-from",
        "no-reply@encours.example",
    ]);
}

fn outbox(api: &Api) -> Vec<Value> {
    let answer = api.data(
        "{ outbox(first: 50) { nodes { id status attempts recipient subject lastError files { name } } } }",
        json!({}),
    );
    answer["outbox"]["nodes"].as_array().expect("mails").clone()
}

/// Each id of the feed is read back by `nodes`.
#[track_caller]
fn every_change_has_its_record(api: &Api) {
    let found = api.data(
        "{ changes(first: 100) { changes { kind subjectId } } }",
        json!({}),
    );
    let ids: Vec<&Value> = found["changes"]["changes"]
        .as_array()
        .expect("changes")
        .iter()
        .map(|change| &change["subjectId"])
        .collect();
    assert!(ids.len() > 5, "{found}");
    let records = api.data(
        "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }",
        json!({ "ids": ids }),
    );
    for (id, record) in ids.iter().zip(records["nodes"].as_array().expect("nodes")) {
        assert_eq!(&record["id"], *id, "{found}");
    }
}

#[test]
fn a_run_is_proposed_reviewed_validated_and_sent_r7_6() {
    let company = Company::new();
    let api = company.admin();
    late(&api, "C001", "FA-1", JUST_LATE);
    late(&api, "C002", "FA-2", JUST_LATE + 1);
    late(&api, "C003", "FA-3", JUST_LATE + 2);
    // Nobody to write to.
    api.client("C004");
    api.invoice("C004", "FA-4", &ago(40), &ago(10), ("100.00", "20"));
    let proposed = propose(&api, json!({}));
    let id = proposed["run"]["id"].clone();
    assert_eq!(
        lines(&proposed["run"]),
        ["C001", "C002", "C003", "C004"].map(|client| (
            client.to_owned(),
            1,
            "READY".to_owned(),
            String::new()
        ))
    );
    // Asked again it is the same run.
    assert_eq!(propose(&api, json!({}))["run"]["id"], id);
    // But what asks for a part of it does not get more.
    let narrow = propose(&api, json!({ "levels": [2] }));
    assert_eq!(
        (
            &narrow["userErrors"][0]["code"],
            &narrow["userErrors"][0]["details"]["run"]
        ),
        (&json!("WRONG_STATE"), &id)
    );
    let line = |client: &str| {
        let nodes = proposed["run"]["lines"]["nodes"].as_array().expect("lines");
        nodes
            .iter()
            .find(|line| line["client"]["number"] == client)
            .expect("a line")["id"]
            .clone()
    };
    let review = json!({ "run": id, "lines": [line("C003")], "reason": "client appelé ce matin" });
    let reviewed = mutate(&api, "reviewDunningRun", review, "run { id }");
    assert_eq!(reviewed["userErrors"], json!([]));
    let early = run(&api, "sendDunningRun", &id);
    assert_eq!(early["userErrors"][0]["code"], "WRONG_STATE", "{early}");
    assert_eq!(
        run(&api, "validateDunningRun", &id)["run"]["status"],
        "VALIDATED"
    );
    // The last minute: C002 pays.
    api.payment("C002", "RG-2", &ago(0), "1200.00");
    api.allocate(&ago(0), &[("FA-2", "RG-2", "1200.00")]);
    let sent = run(&api, "sendDunningRun", &id);
    assert_eq!(sent["run"]["status"], "SENT", "{sent}");
    let expected = [
        ("C001", "SENT", ""),
        ("C002", "CANCELLED", "SETTLED"),
        ("C003", "EXCLUDED", "client appelé ce matin"),
        ("C004", "TASK", "MISSING_ADDRESS"),
    ];
    assert_eq!(
        lines(&sent["run"]),
        expected.map(|(client, status, reason)| (
            client.to_owned(),
            1,
            status.to_owned(),
            reason.to_owned()
        ))
    );
    // Sent twice, or run again, nothing changes: one mail, one reminder.
    assert_eq!(run(&api, "sendDunningRun", &id)["userErrors"], json!([]));
    let again = propose(&api, json!({ "levels": [1, 2] }));
    let due = again["run"]["lines"]["nodes"]
        .as_array()
        .map_or(0, |lines| {
            lines
                .iter()
                .filter(|line| line["client"]["number"] == "C001")
                .count()
        });
    assert_eq!(due, 0, "{again}");
    assert_eq!(outbox(&api).len(), 1);
    // The letter is kept with the reminder.
    let path = sent["run"]["lines"]["nodes"][0]["action"]["files"][0]["path"]
        .as_str()
        .expect("a path");
    let (status, pdf, _) = api.bytes(path);
    assert!(status == 200 && pdf.starts_with(b"%PDF-"), "{status}");
    assert_eq!(company.as_role("BI_READER").fetch(path).status, 403);
    assert_eq!(Company::new().admin().fetch(path).status, 404);
    every_change_has_its_record(&api);
}

#[test]
fn mails_leave_when_the_server_is_there_and_what_bounces_is_seen() {
    let company = Company::new();
    let api = company.admin();
    late(&api, "C001", "FA-1", JUST_LATE);
    let (_, invoice) = late(&api, "C002", "FA-2", JUST_LATE + 1);
    contact(&api, "C002", "second@c002.example");
    api.client("C003");
    contact(&api, "C003", "bounce@c003.example");
    api.invoice("C003", "FA-3", &ago(40), &ago(10), ("100.00", "20"));
    api.attach(&invoice, "INVOICE", "FA-2.pdf", b"%PDF-1.7 facture");
    let settings = json!({ "settings": { "letterhead": { "email": "compta@societe.example", "signatory": "Claire Dupré" } } });
    mutate(&api, "updateCompany", settings, "company { id }");
    let id = propose(&api, json!({}))["run"]["id"].clone();
    run(&api, "validateDunningRun", &id);
    run(&api, "sendDunningRun", &id);
    // No server: nothing is lost.
    work(&company, "smtp://127.0.0.1:1");
    let waiting = outbox(&api);
    assert_eq!(waiting.len(), 3);
    assert!(
        waiting.iter().all(|mail| mail["status"] == "QUEUED"
            && mail["attempts"] == 1
            && !mail["lastError"].is_null()),
        "{waiting:#?}"
    );
    for mail in &waiting {
        api.data(
            "mutation($mail: ID!) { retryMail(mail: $mail) { userErrors { code } } }",
            json!({ "mail": mail["id"] }),
        );
    }
    let server = MailServer::start();
    work(&company, &server.url);
    let taken = server.messages();
    assert_eq!(taken.len(), 2, "{taken:#?}");
    let mail = taken
        .iter()
        .find(|mail| mail.to == "compta@c002.example")
        .expect("a mail to C002");
    assert!(
        mail.header("From").contains("no-reply@encours.example"),
        "{}",
        mail.data
    );
    assert!(
        mail.header("Reply-To").contains("compta@societe.example"),
        "{}",
        mail.data
    );
    assert!(
        mail.header("Message-ID").starts_with("<eml_"),
        "{}",
        mail.data
    );
    assert_eq!(
        mail.data.matches("Content-Disposition: attachment").count(),
        2,
        "the letter and the invoice's copy"
    );
    let states = |api: &Api| -> Vec<(String, String)> {
        let mut found: Vec<_> = outbox(api)
            .iter()
            .map(|mail| {
                (
                    mail["recipient"].as_str().unwrap_or_default().to_owned(),
                    mail["status"].as_str().unwrap_or_default().to_owned(),
                )
            })
            .collect();
        found.sort();
        found
    };
    let pair = |to: &str, status: &str| (to.to_owned(), status.to_owned());
    assert_eq!(
        states(&api),
        [
            pair("bounce@c003.example", "BOUNCED"),
            pair("compta@c001.example", "SENT"),
            pair("compta@c002.example", "SENT")
        ]
    );
    // Nothing is sent twice, and what came back later is recorded by hand.
    work(&company, &server.url);
    assert_eq!(server.messages().len(), 2);
    let sent = outbox(&api)
        .into_iter()
        .find(|mail| mail["status"] == "SENT")
        .expect("a mail");
    let bounced = api.data(
        "mutation($mail: ID!) { recordBounce(mail: $mail, reason: \"550 mailbox full\") { mail { status } userErrors { code } } }",
        json!({ "mail": sent["id"] }),
    );
    assert_eq!(
        bounced["recordBounce"]["mail"]["status"], "BOUNCED",
        "{bounced}"
    );
    let tasks = api.data("{ tasks(kinds: [BOUNCED_MAIL]) { totalCount } }", json!({}));
    assert_eq!(tasks["tasks"]["totalCount"], 2);
    let cancelled = api.data(
        "mutation($mail: ID!) { cancelMail(mail: $mail) { userErrors { code details } } }",
        json!({ "mail": sent["id"] }),
    );
    assert_eq!(
        cancelled["cancelMail"]["userErrors"][0]["code"],
        "WRONG_STATE"
    );
}

#[test]
fn the_server_reminds_by_itself_when_the_company_wants_it() {
    let company = Company::new();
    let api = company.admin();
    late(&api, "C001", "FA-1", JUST_LATE);
    let server = MailServer::start();
    work(&company, &server.url);
    assert_eq!(server.messages().len(), 0);
    mutate(
        &api,
        "updateCompany",
        json!({ "settings": { "automatic_dunning": true } }),
        "company { id }",
    );
    work(&company, &server.url);
    work(&company, &server.url);
    assert_eq!(server.messages().len(), 1);
    // A second worker beside it finds nothing to do, and the command says nothing of it.
    assert!(outcome(&["work", "--company", &company.id, "--smtp-url", &server.url]).0);
    assert_eq!(server.messages().len(), 1);
}

#[test]
fn registered_letters_have_their_proof_r7_9() {
    let company = Company::new();
    let api = company.admin();
    let (_, invoice) = late(&api, "C001", "FA-1", 60);
    api.attach(
        &invoice,
        "DELIVERY_PROOF",
        "BL-1.pdf",
        b"%PDF-1.7 bon de livraison",
    );
    for (level, days) in [(1, 50), (2, 40), (3, 30)] {
        let input = json!({ "client": { "number": "C001" }, "level": level, "doneOn": ago(days) });
        assert_eq!(
            mutate(&api, "recordDunningAction", input, "action { id }")["userErrors"],
            json!([])
        );
    }
    let id = propose(&api, json!({}))["run"]["id"].clone();
    run(&api, "validateDunningRun", &id);
    let sent = run(&api, "sendDunningRun", &id);
    let line = &sent["run"]["lines"]["nodes"][0];
    assert_eq!(
        (&line["level"], &line["channel"]),
        (&json!(4), &json!("REGISTERED_LETTER")),
        "{sent}"
    );
    let tasks = |kind: &str| {
        let document =
            format!("{{ tasks(kinds: [{kind}]) {{ nodes {{ subject client {{ number }} }} }} }}");
        api.data(&document, json!({}))["tasks"]["nodes"]
            .as_array()
            .expect("tasks")
            .len()
    };
    assert_eq!(tasks("REGISTERED_LETTER"), 1);
    let action = line["action"]["id"].clone();
    let slip = api.attach(
        action.as_str().expect("an id"),
        "DEPOSIT_SLIP",
        "depot.png",
        b"\x89PNG\r\n\x1a\n slip",
    );
    let prove = |kind: &str, file: Value| {
        let input =
            json!({ "action": action, "kind": kind, "reference": "1A 234 567 890", "file": file });
        mutate(
            &api,
            "recordLetterProof",
            input,
            "action { proofs { kind reference } }",
        )
    };
    assert_eq!(
        prove("ACKNOWLEDGMENT", Value::Null)["userErrors"][0]["code"],
        "WRONG_STATE"
    );
    assert_eq!(
        prove("DEPOSIT", json!(slip))["action"]["proofs"][0]["kind"],
        "DEPOSIT"
    );
    assert_eq!(
        prove("DEPOSIT", Value::Null)["userErrors"][0]["code"],
        "DUPLICATE"
    );
    assert_eq!(tasks("REGISTERED_LETTER"), 0);
    assert_eq!(prove("UNDELIVERED", Value::Null)["userErrors"], json!([]));
    assert_eq!(tasks("MISSING_ADDRESS"), 1);
}

#[test]
fn a_formal_notice_needs_a_certain_claim_and_the_directors_approval_r7_7() {
    let company = Company::new();
    let api = company.admin();
    let big = json!({ "client": { "number": "C001" }, "number": "FA-1", "issuedOn": ago(150), "dueOn": ago(100),
        "lines": [{ "description": "Prestation", "quantity": "1", "unitPrice": "20000.00", "vatRate": "20" }] });
    api.client("C001");
    any_day(&api);
    let invoice = api.make("IssueInvoice", big)["invoice"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    for (level, days) in [(1, 60), (2, 50), (3, 40), (4, 30)] {
        let input = json!({ "client": { "number": "C001" }, "level": level, "doneOn": ago(days), "proof": "LRAR" });
        assert_eq!(
            mutate(&api, "recordDunningAction", input, "action { id }")["userErrors"],
            json!([])
        );
    }
    let faults = |api: &Api| {
        let found = api.data(
            "{ dunningPreview { nodes { level { level } claims { level deservedLevel formalNoticeFaults } } } }",
            json!({}),
        );
        found["dunningPreview"]["nodes"][0].clone()
    };
    let found = faults(&api);
    assert_eq!(
        found["claims"][0]["formalNoticeFaults"],
        json!(["UNPROVEN"]),
        "{found}"
    );
    assert_eq!(found["level"], Value::Null);
    api.attach(
        &invoice,
        "DELIVERY_PROOF",
        "PV.txt",
        "procès-verbal signé".as_bytes(),
    );
    let found = faults(&api);
    assert_eq!(
        (
            &found["level"]["level"],
            &found["claims"][0]["formalNoticeFaults"]
        ),
        (&json!(5), &json!([]))
    );
    // The credit manager may not send 24,000.00 of it alone.
    let manager = company.as_role("CREDIT_MANAGER");
    let alone = json!({ "client": { "number": "C001" }, "level": 5, "proof": "LRAR 5" });
    assert_eq!(
        mutate(&manager, "recordDunningAction", alone, "action { id }")["userErrors"][0]["code"],
        "APPROVAL_REQUIRED"
    );
    let id = propose(&manager, json!({}))["run"]["id"].clone();
    assert_eq!(
        run(&manager, "validateDunningRun", &id)["userErrors"][0]["code"],
        "APPROVAL_REQUIRED"
    );
    assert_eq!(
        run(&company.as_role("DIRECTOR"), "validateDunningRun", &id)["run"]["status"],
        "VALIDATED"
    );
    let sent = run(&manager, "sendDunningRun", &id);
    assert_eq!(sent["run"]["lines"]["nodes"][0]["status"], "SENT", "{sent}");
    // What it has to say (7.3): words, identities, claims, penalties, deadline, texts.
    let client = api.data("{ client(ref: { number: \"C001\" }) { id } }", json!({}));
    let text = api.letter(
        "FORMAL_NOTICE",
        client["client"]["id"].as_str().expect("an id"),
    );
    for part in [
        "mettons en demeure",
        "Mise en demeure",
        "FA-1",
        "24\u{202f}000,00\u{a0}€",
        "L441-10",
        "D441-5",
        "40 €",
        "huit jours",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_companys_own_wording_is_safe_and_complete() {
    let api = Company::new().admin();
    let (client, _) = late(&api, "C001", "FA-1", 30);
    let save = |kind: &str, subject: &str, body: &str| {
        let input = json!({ "kind": kind, "language": "FR", "subject": subject, "body": body });
        mutate(
            &api,
            "saveLetterTemplate",
            input,
            "template { version subject }",
        )
    };
    let unknown = save(
        "FIRST_REMINDER",
        "Rappel",
        "Bonjour {{prenom}}\n\n{{items}}",
    );
    let error = &unknown["userErrors"][0];
    assert_eq!(
        (
            &error["code"],
            &error["field"],
            &error["details"]["unknown"]
        ),
        (&json!("INVALID"), &json!(["body"]), &json!("prenom"))
    );
    assert!(
        error["details"]["known"]
            .as_array()
            .is_some_and(|known| known.contains(&json!("client"))),
        "{error}"
    );
    assert_eq!(
        save("FIRST_REMINDER", "{{items}}", "{{items}}")["userErrors"][0]["field"],
        json!(["subject"])
    );
    assert_eq!(
        save("FORMAL_NOTICE", "Mise en demeure", "{{items}}")["userErrors"][0]["code"],
        "MENTION_MISSING"
    );
    assert_eq!(
        save(
            "FIRST_REMINDER",
            "Compte {{account}} : {{total}}",
            "Cher {{client}},\n\n{{items}}\n\nÀ bientôt"
        )["template"]["version"],
        1
    );
    let text = api.letter("FIRST_REMINDER", &client);
    assert!(
        text.starts_with("Compte C001 : 1\u{202f}200,00\u{a0}€")
            && text.contains("Cher Client C001,")
            && text.contains("FA-1 | "),
        "{text}"
    );
    // Tried before it is saved; what is wrong with it is told, and nothing is written.
    let document = "query($subject: ID!, $draft: LetterDraftInput) { letterPreview(kind: FIRM_REMINDER, subject: $subject, language: EN, draft: $draft) { subject text version pdf } }";
    let tried = api.data(document, json!({ "subject": client, "draft": { "subject": "Hello {{client}}", "body": "{{items}}" } }));
    assert_eq!(tried["letterPreview"]["subject"], "Hello Client C001");
    assert!(
        tried["letterPreview"]["pdf"]
            .as_str()
            .is_some_and(|pdf| pdf.starts_with("JVBERi"))
    );
    let broken = api.post(&json!({ "query": document, "variables": { "subject": client, "draft": { "subject": "x", "body": "{{items" } } })).json();
    assert_eq!(
        broken["errors"][0]["extensions"]["code"], "BAD_USER_INPUT",
        "{broken}"
    );
    assert_eq!(
        broken["errors"][0]["extensions"]["field"], "draft.body",
        "{broken}"
    );
}

#[test]
fn files_are_checked_and_kept_from_strangers() {
    let company = Company::new();
    let api = company.admin();
    let (client, _) = late(&api, "C001", "FA-1", 10);
    let path = |kind: &str, name: &str| format!("/files?subject={client}&kind={kind}&name={name}");
    let refused = |answer: crate::harness::Answer| {
        (
            answer.status,
            answer.json()["errors"][0]["extensions"]["field"].clone(),
        )
    };
    assert_eq!(
        refused(api.send(&path("CONTRACT", "virus.exe"), b"MZ\x90\x00\xff")),
        (422, json!("file"))
    );
    assert_eq!(
        refused(api.send(&path("CONTRACT", "vide.pdf"), b"")),
        (422, json!("file"))
    );
    assert_eq!(
        refused(api.send(&path("CONTRACT", "..%2Fpasswd"), b"%PDF-1.7")),
        (422, json!("name"))
    );
    assert_eq!(
        refused(api.send(&path("LOGO", "logo.png"), b"\x89PNG\r\n\x1a\n")),
        (422, json!("kind"))
    );
    assert_eq!(
        refused(api.send(&path("NONSENSE", "x.pdf"), b"%PDF-1.7")),
        (422, json!("kind"))
    );
    let huge = vec![b'%'; 10 * 1024 * 1024 + 1];
    assert_eq!(api.send(&path("CONTRACT", "x.pdf"), &huge).status, 413);
    let logo = format!("/files?subject={}&kind=LOGO&name=logo.png", company.id);
    assert_eq!(
        refused(api.send(&logo, b"\x89PNG\r\n\x1a\nbroken")),
        (422, json!("file"))
    );
    assert_eq!(
        company
            .as_role("AUDITOR")
            .send(&path("CONTRACT", "x.pdf"), b"%PDF-1.7")
            .status,
        403
    );
    let stranger = Company::new().admin();
    assert_eq!(
        stranger
            .send(&path("CONTRACT", "x.pdf"), b"%PDF-1.7")
            .status,
        404
    );
    let id = api.attach(&client, "CONTRACT", "contrat.pdf", b"%PDF-1.7 contrat");
    let path = format!("/files/{id}");
    assert_eq!(api.bytes(&path).1, b"%PDF-1.7 contrat");
    assert_eq!(stranger.fetch(&path).status, 404);
    // Another's client is none of a salesperson's.
    assert_eq!(company.as_role("SALES").fetch(&path).status, 404);
    assert_eq!(Api::stranger().fetch(&path).status, 401);
    let listed = api.data(
        "{ client(ref: { number: \"C001\" }) { files { name sha256 bytes mediaType } } }",
        json!({}),
    );
    assert_eq!(listed["client"]["files"][0]["mediaType"], "application/pdf");
}

#[test]
fn an_evidence_file_is_sealed_and_a_change_is_found_out() {
    let company = Company::new();
    let api = company.admin();
    let (client, invoice) = late(&api, "C001", "FA-1", 40);
    api.attach(&invoice, "DELIVERY_PROOF", "BL-1.pdf", b"%PDF-1.7 bon");
    api.attach(
        &invoice,
        "ORDER",
        "commande.txt",
        "commande n° 7".as_bytes(),
    );
    api.make("OpenDispute", json!({ "invoice": { "number": "FA-1" }, "reason": "BLIV", "amount": "100.00", "description": "un carton manque" }));
    let note = json!({ "client": { "number": "C001" }, "kind": "CALL", "outcome": "REACHED", "note": "paiera vendredi" });
    mutate(&api, "recordCollectionNote", note, "note { id }");
    mutate(
        &api,
        "recordPromise",
        json!({ "client": { "number": "C001" }, "amount": "500.00", "dueOn": today().to_string() }),
        "promise { id }",
    );
    let (status, archive, seal) = api.bytes(&format!("/evidence/{client}"));
    assert_eq!(status, 200);
    let mut zip = zip::ZipArchive::new(Cursor::new(archive.clone())).expect("a ZIP");
    let names: Vec<String> = zip
        .file_names()
        .map(|name| name.expect("a name").into_owned())
        .collect();
    for part in [
        "manifest.json",
        "statement.pdf",
        "chronology.pdf",
        "reminders.json",
        "calls.json",
        "promises.json",
        "disputes.json",
        "invoices/FA-1/invoice.json",
    ] {
        assert!(names.contains(&part.to_owned()), "{part}: {names:?}");
    }
    assert!(
        names
            .iter()
            .any(|name| name.starts_with("invoices/FA-1/delivery_proof-")
                && name.ends_with("BL-1.pdf")),
        "{names:?}"
    );
    let mut calls = String::new();
    zip.by_name("calls.json")
        .expect("calls")
        .read_to_string(&mut calls)
        .expect("text");
    assert!(calls.contains("paiera vendredi"), "{calls}");
    // The same again is the same, byte for byte.
    let (_, again, same) = api.bytes(&format!("/evidence/{client}"));
    assert_eq!((again == archive, &same), (true, &seal));
    let verified = api.send("/evidence/verify", &archive).json();
    assert_eq!(
        (&verified["intact"], &verified["changed"]),
        (&json!(true), &json!([])),
        "{verified}"
    );
    assert_eq!(verified["manifestSha256"].as_str(), seal.as_deref());
    // One file changed, one added.
    let mut forged = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for name in &names {
        let mut bytes = Vec::new();
        zip.by_name(name)
            .expect("a file")
            .read_to_end(&mut bytes)
            .expect("bytes");
        if name == "calls.json" {
            bytes = b"[]".to_vec();
        }
        forged.start_file(name.as_str(), options).expect("a file");
        forged.write_all(&bytes).expect("bytes");
    }
    forged.start_file("aveu.txt", options).expect("a file");
    forged.write_all(b"je dois tout").expect("bytes");
    let forged = forged.finish().expect("a ZIP").into_inner();
    let verified = api.send("/evidence/verify", &forged).json();
    assert_eq!(
        (&verified["intact"], &verified["changed"]),
        (&json!(false), &json!(["aveu.txt", "calls.json"])),
        "{verified}"
    );
    // Another company never sealed it, and no archive is no archive.
    let stranger = Company::new().admin();
    assert_eq!(
        stranger.send("/evidence/verify", &archive).json()["intact"],
        false
    );
    assert_eq!(stranger.fetch(&format!("/evidence/{client}")).status, 404);
    assert_eq!(api.send("/evidence/verify", b"nothing").status, 422);
    assert_eq!(
        company
            .as_role("SALES")
            .fetch(&format!("/evidence/{client}"))
            .status,
        403
    );
    assert_eq!(api.bytes(&format!("/evidence/{invoice}")).0, 200);
    // A file that was changed in its store is never handed out.
    let kept = data_dir().join("files");
    assert!(kept.is_dir(), "files are below the data directory");
}

#[test]
fn a_notice_states_figures_that_add_up() {
    let api = Company::new().admin();
    let client = api.client("C001")["id"].as_str().expect("an id").to_owned();
    let input = json!({ "client": { "number": "C001" }, "number": "FA-1", "issuedOn": ago(200),
        "lines": [{ "description": "Prestation", "quantity": "1", "unitPrice": "10000.00", "vatRate": "20" }],
        "installments": [{ "dueOn": ago(170), "amount": "6000.00" }, { "dueOn": ago(145), "amount": "6000.00" }] });
    api.make("IssueInvoice", input);
    let text = api.letter("FORMAL_NOTICE", &client);
    let interest = |line: &str| line.rsplit(" | ").next().unwrap_or_default().to_owned();
    let rows: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("FA-1 | "))
        .collect();
    let total = text
        .lines()
        .find(|line| line.starts_with("Total | "))
        .expect("a total");
    assert_eq!(rows.len(), 2, "{text}");
    // The invoice's interest stands once, and is the total; no part shows the HT of the whole.
    assert_eq!(interest(rows[0]), interest(total), "{text}");
    assert!(
        text.contains(&format!("soit {} à ce jour", interest(total))),
        "{text}"
    );
    assert!(!rows[0].contains("10\u{202f}000,00"), "{text}");
    // A public buyer's law is another one, and a consumer is told neither interest nor 40 € (R7.8).
    for (segment, with, without) in [
        ("PUBLIC", "commande publique", "L441-10"),
        ("CONSUMER", "mettons en demeure", "40 €"),
    ] {
        mutate(
            &api,
            "updateClient",
            json!({ "client": { "number": "C001" }, "segment": segment }),
            "client { number }",
        );
        let text = api.letter("FORMAL_NOTICE", &client);
        assert!(
            text.contains(with) && !text.contains(without),
            "{segment}: {text}"
        );
    }
}

#[test]
fn what_the_company_says_of_itself_is_checked() {
    let api = Company::new().admin();
    for head in [
        json!({ "email": "pas une adresse" }),
        json!({ "email": "a@b.example\r\nBcc: x@y.example" }),
        json!({ "city": "x".repeat(151) }),
        json!({ "signatory": "a\nb" }),
    ] {
        let refused = mutate(
            &api,
            "updateCompany",
            json!({ "settings": { "letterhead": head } }),
            "company { id }",
        );
        assert_eq!(
            refused["userErrors"][0]["code"], "INVALID",
            "{head}: {refused}"
        );
    }
}
