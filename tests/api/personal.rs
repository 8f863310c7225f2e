//! Personal data: reported, erased wherever nothing needs it, kept where the law does.

use chrono::Months;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::audit::{sealed, trail, verified};
use crate::desk::{JUST_LATE, late, mutate};
use crate::harness::{Api, Company, codes, command, day, owner, tamper, today, uuid, year};

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    place: String,
    #[diesel(sql_type = Text)]
    sql: String,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

/// Every column of the database that holds one of these texts, in any case.
fn places(values: &[&str]) -> Vec<String> {
    let mut conn = owner();
    let pattern = values.join("|").replace('+', "\\+").replace('\'', "''");
    let columns: Vec<Column> = diesel::sql_query(
        "SELECT k.table_name || '.' || k.column_name AS place, \
           format('SELECT count(*) AS n FROM %I t WHERE t.%I::text ~* ', k.table_name, k.column_name) AS sql \
         FROM information_schema.columns k JOIN information_schema.tables t ON t.table_schema = k.table_schema AND t.table_name = k.table_name \
         WHERE k.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND k.data_type IN ('text', 'character varying', 'json', 'jsonb', 'ARRAY') \
         ORDER BY 1",
    )
    .load(&mut conn)
    .expect("columns");
    assert!(columns.len() > 200, "{}", columns.len());
    columns
        .into_iter()
        .filter(|column| {
            let sql = format!("{} '{pattern}'", column.sql);
            let found: Count = diesel::sql_query(sql)
                .get_result(&mut conn)
                .expect(&column.place);
            found.n > 0
        })
        .map(|column| column.place)
        .collect()
}

/// A digest of the books of a company: documents, entries, lines and seals.
fn books(company: &Company) -> String {
    #[derive(QueryableByName)]
    struct Digest {
        #[diesel(sql_type = Text)]
        digest: String,
    }
    let id = uuid(&company.id);
    let parts = ["documents", "document_lines", "payments", "journal_entries", "journal_lines", "journal_seals", "receivable_ledger", "items"]
        .map(|table| format!("(SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {table} t WHERE company_id = '{id}')"));
    let found: Digest = diesel::sql_query(format!(
        "SELECT concat_ws('-', {}) AS digest",
        parts.join(", ")
    ))
    .get_result(&mut owner())
    .expect("a digest");
    found.digest
}

/// A name that nobody else has.
fn name() -> String {
    let id = Uuid::now_v7().simple().to_string();
    format!("Ombeline {}", &id[20..])
}

fn contact(api: &Api, client: &str, name: &str, email: &str, phone: &str) -> String {
    let input = json!({ "client": { "number": client }, "role": "ACCOUNTING", "name": name, "email": email, "phone": phone,
        "idempotencyKey": format!("contact-{}", Uuid::now_v7()) });
    let added = mutate(
        api,
        "addContact",
        input,
        "client { contacts { id name email phone } }",
    );
    assert_eq!(added["userErrors"], json!([]), "{added}");
    added["client"]["contacts"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned()
}

fn note(api: &Api, client: &str, spoke_to: &str, note: &str) {
    let input = json!({ "client": { "number": client }, "kind": "CALL", "outcome": "REACHED", "spokeTo": spoke_to, "note": note });
    let made = mutate(api, "recordCollectionNote", input, "note { id }");
    assert_eq!(made["userErrors"], json!([]), "{made}");
}

const ERASURE: &str = "erasure { id subjectType subject reason erased { place rows } kept { class rows until ground } }";

fn kept(erasure: &Value) -> Vec<&str> {
    let kept = erasure["kept"].as_array().expect("kept").iter();
    kept.map(|kept| kept["class"].as_str().expect("a class"))
        .collect()
}

#[test]
fn an_erased_contact_is_nowhere_and_the_books_are_untouched() {
    let company = Company::new();
    let api = company.admin();
    let name = name();
    let email = format!("{}@example.com", Uuid::now_v7().simple());
    let phone = format!("+33 {}", &Uuid::now_v7().simple().to_string()[24..]);
    api.client("C001");
    let invoice = api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("1000.00", "20"),
    );
    let contact = contact(&api, "C001", &name, &email, &phone);
    note(
        &api,
        "C001",
        &name.to_uppercase(),
        &format!("{name} ({email}, {phone}) rappelle demain, Ombelinette aussi"),
    );
    let dispute = json!({ "invoice": { "number": "FA-1" }, "amount": "60.00", "reason": "BLIV", "openedOn": day("02-03"), "description": format!("appel de {name}") });
    api.make("OpenDispute", dispute);
    let values = [name.as_str(), email.as_str(), phone.as_str()];
    sealed(&company);
    assert!(places(&values).contains(&"audit_entries.after".to_owned()));
    let before = books(&company);

    let input = json!({ "contact": contact, "reason": "demande du 3 mai" });
    let checked = json!({ "contact": contact, "reason": "demande du 3 mai", "validateOnly": true });
    assert_eq!(
        mutate(&api, "eraseContact", checked, ERASURE)["erasure"],
        Value::Null
    );
    assert!(!places(&values).is_empty());
    let done = mutate(&api, "eraseContact", input, ERASURE);
    assert_eq!(done["userErrors"], json!([]), "{done}");
    let erasure = &done["erasure"];
    assert_eq!(
        (&erasure["subjectType"], &erasure["subject"]),
        (&json!("CONTACT"), &json!(contact))
    );
    let erased: Vec<&str> = erasure["erased"]
        .as_array()
        .expect("places")
        .iter()
        .map(|place| place["place"].as_str().expect("a place"))
        .collect();
    for place in [
        "client_contacts",
        "audit_entries",
        "collection_notes.note",
        "collection_notes.spoke_to",
        "disputes.description",
        "idempotency_answers",
    ] {
        assert!(erased.contains(&place), "{place}: {erased:?}");
    }
    assert_eq!(places(&values), Vec::<String>::new());
    // Other people's names stay, and what was said.
    let notes = api.data(
        "{ collectionNotes(first: 5) { nodes { spokeTo note } } }",
        json!({}),
    );
    let said = &notes["collectionNotes"]["nodes"][0];
    assert_eq!(
        said["note"],
        "(effacé) ((effacé), (effacé)) rappelle demain, Ombelinette aussi"
    );
    assert_eq!(said["spokeTo"], "(effacé)");
    assert_eq!(books(&company), before);
    api.sound();
    let proof = sealed(&company);
    assert_eq!(proof["intact"], true, "{proof}");
    assert_ne!(proof["erased"], "0");
    // The trail says that it was erased, by whom, and of which columns.
    let entries = trail(&api, json!({ "recordId": contact }));
    assert_eq!(entries[0]["erased"], true);
    assert_eq!(entries[0]["after"]["email"], "(erased)");
    let told = trail(&api, json!({ "recordType": "ERASURE" }));
    assert_eq!(told[0]["after"]["reason"], "demande du 3 mai");
    assert_eq!(
        api.data("{ erasures { id } }", json!({}))["erasures"][0]["id"],
        erasure["id"]
    );
    let shown = api.data(
        "{ client(ref: { number: \"C001\" }) { contacts { name } } }",
        json!({}),
    );
    assert_eq!(shown["client"]["contacts"], json!([]));
    assert!(invoice["id"].is_string());
}

#[test]
fn a_removed_contact_is_erased_as_well() {
    let company = Company::new();
    let api = company.as_role("AR_ACCOUNTANT");
    let (name, email) = (name(), format!("{}@example.com", Uuid::now_v7().simple()));
    api.client("C001");
    let contact = contact(&api, "C001", &name, &email, "+33 1 44 55 66 77");
    note(&api, "C001", &name, "rien");
    let remove = "mutation($contact: ID!) { removeContact(contact: $contact) { client { contacts { name } } userErrors { code field } } }";
    let removed = api.done(remove, json!({ "contact": contact }));
    assert_eq!(removed["client"]["contacts"], json!([]));
    assert_eq!(places(&[&name, &email]), Vec::<String>::new());
    let again = api.data(remove, json!({ "contact": contact }));
    assert_eq!(again["removeContact"]["userErrors"][0]["code"], "NOT_FOUND");
    assert_eq!(sealed(&company)["intact"], true);
}

#[test]
fn reminders_keep_their_addressee_as_proof_and_waiting_mails_are_not_sent_r8_6() {
    let company = Company::new();
    let api = company.admin();
    late(&api, "C001", "FA-1", JUST_LATE);
    let proposed = mutate(&api, "proposeDunningRun", json!({}), "run { id }");
    let run = proposed["run"]["id"].clone();
    for step in ["validateDunningRun", "sendDunningRun"] {
        let document = format!(
            "mutation($run: ID!) {{ {step}(run: $run) {{ userErrors {{ code message }} }} }}"
        );
        api.done(&document, json!({ "run": run }));
    }
    let mails = "{ outbox(first: 5) { nodes { status recipient } } }";
    assert_eq!(
        api.data(mails, json!({}))["outbox"]["nodes"][0]["status"],
        "QUEUED"
    );
    // Somebody who came later was sent nothing.
    contact(
        &api,
        "C001",
        &name(),
        "autre@c001.example",
        "+33 4 72 00 00 01",
    );
    let contacts = api.data(
        "{ client(ref: { number: \"C001\" }) { contacts { id email } } }",
        json!({}),
    )["client"]["contacts"]
        .take();
    let of = |email: &str| {
        let mut contacts = contacts.as_array().expect("contacts").iter();
        let found = contacts.find(|contact| contact["email"] == email);
        found.expect("the contact")["id"].clone()
    };
    let erase = |email: &str| {
        let input = json!({ "contact": of(email), "reason": "demande" });
        mutate(&api, "eraseContact", input, ERASURE)
    };
    let other = erase("autre@c001.example");
    assert_eq!(other["erasure"]["kept"], json!([]), "{other}");
    let held = api.data(
        "query($contact: ID!) { personalData(subject: { contact: $contact }) }",
        json!({ "contact": of("compta@c001.example") }),
    )["personalData"]
        .take();
    let done = erase("compta@c001.example");
    let erasure = &done["erasure"];
    assert_eq!(kept(erasure), ["REMINDERS", "MAILS", "FILES"], "{done}");
    // As many as the report of what is held says.
    for (at, list) in ["reminders", "mails"].into_iter().enumerate() {
        let held = held[list].as_array();
        assert_eq!(
            erasure["kept"][at]["rows"],
            held.map_or(0, Vec::len),
            "{list}"
        );
    }
    // Prescription, five years, and one more.
    let until = today()
        .checked_add_months(chrono::Months::new(72))
        .expect("a day");
    assert_eq!(erasure["kept"][0]["until"], until.to_string());
    assert!(
        erasure["kept"][0]["ground"]
            .as_str()
            .is_some_and(|ground| ground.contains("L110-4"))
    );
    let left = api.data(mails, json!({}))["outbox"]["nodes"][0].clone();
    assert_eq!(
        (&left["status"], &left["recipient"]),
        (&json!("CANCELLED"), &json!("compta@c001.example"))
    );
    let found = places(&["compta@c001\\.example"]);
    // Kept on purpose, in this and other companies of these tests: nothing but the proof.
    assert!(
        found.iter().any(|place| place == "outbox.recipient"),
        "{found:?}"
    );
}

#[test]
fn an_erased_client_lives_on_in_the_books_alone() {
    let company = Company::new();
    let api = company.admin();
    api.done(
        "mutation { updateCompany(input: { siren: \"732829320\" }) { userErrors { message } } }",
        json!({}),
    );
    let (name, email) = (name(), format!("{}@example.com", Uuid::now_v7().simple()));
    let street = format!(
        "{} rue des Lilas",
        &Uuid::now_v7().simple().to_string()[20..]
    );
    let input = json!({ "number": "P001", "name": name, "segment": "CONSUMER", "address": street });
    let client = api.make("CreateClient", input)["client"]["id"].clone();
    contact(&api, "P001", "Sidonie Marchal", &email, "+33 6 00 00 00 01");
    note(&api, "P001", &name, &format!("{name} déménage"));
    api.invoice(
        "P001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("1000.00", "20"),
    );
    let input = json!({ "client": client_ref(), "reason": "demande" });
    let refused = mutate(&api, "eraseClient", input.clone(), ERASURE);
    assert_eq!(refused["userErrors"][0]["code"], "WRONG_STATE", "{refused}");
    assert_eq!(refused["userErrors"][0]["details"]["openItems"], 1);
    api.payment("P001", "RG-1", &day("02-01"), "1200.00");
    api.allocate(&day("02-01"), &[("FA-1", "RG-1", "1200.00")]);
    let (before, fec) = (
        books(&company),
        api.fetch(&format!("/export/fec/{}", year())).text,
    );
    assert!(fec.contains(&name));

    let done = mutate(&api, "eraseClient", input, ERASURE);
    assert_eq!(done["userErrors"], json!([]), "{done}");
    let erasure = &done["erasure"];
    let end = format!("{}-12-31", year() + 10);
    let classes = kept(erasure);
    for class in ["ENTRIES", "DOCUMENTS", "PAYMENTS", "LEGAL_ARCHIVE"] {
        assert!(classes.contains(&class), "{classes:?}");
    }
    for rule in erasure["kept"].as_array().expect("kept") {
        assert_eq!(rule["until"], end.as_str(), "{rule}");
        assert!(
            rule["ground"]
                .as_str()
                .is_some_and(|ground| ground.contains("L123-22")),
            "{rule}"
        );
    }
    let shown = api.data(
        "{ client(ref: { number: \"P001\" }) { name address contacts { name } } }",
        json!({}),
    );
    assert_eq!(
        shown["client"],
        json!({ "name": "Client effacé P001", "address": null, "contacts": [] })
    );
    assert_eq!(places(&[&email, "Sidonie Marchal"]), Vec::<String>::new());
    // The documented keeps, and nothing else: vouchers, entries, the archive.
    let left = places(&[&name, &street]);
    let allowed = [
        "documents.snapshot",
        "journal_entries.label",
        "legal_archive.name",
        "legal_archive.address",
    ];
    assert!(
        left.iter().all(|place| allowed.contains(&place.as_str())),
        "{left:?}"
    );
    assert!(left.contains(&"documents.snapshot".to_owned()));
    assert_eq!(books(&company), before);
    assert_eq!(api.fetch(&format!("/export/fec/{}", year())).text, fec);
    api.sound();
    assert_eq!(sealed(&company)["intact"], true);
    assert!(client.is_string());
}

fn client_ref() -> Value {
    json!({ "number": "P001" })
}

#[test]
fn only_people_are_erased_and_only_by_those_who_answer_them() {
    let (company, other) = (Company::new(), Company::new());
    let api = company.admin();
    api.client("C001");
    let contact = contact(&api, "C001", &name(), "x@example.com", "+33 6 00 00 00 02");
    let input = json!({ "client": { "number": "C001" }, "reason": "demande" });
    let refused = mutate(&api, "eraseClient", input, ERASURE);
    assert_eq!(refused["userErrors"][0]["code"], "WRONG_STATE");
    let input = json!({ "client": { "number": "C001" }, "reason": "entrepreneur individuel", "isNaturalPerson": true, "validateOnly": true });
    assert_eq!(
        mutate(&api, "eraseClient", input, ERASURE)["userErrors"],
        json!([])
    );
    let erase = "mutation($contact: ID!) { eraseContact(input: { contact: $contact, reason: \"x\" }) { erasure { id } userErrors { code } } }";
    for role in [
        "DIRECTOR",
        "CREDIT_MANAGER",
        "AR_ACCOUNTANT",
        "SALES",
        "AUDITOR",
        "BI_READER",
    ] {
        let answer = company
            .as_role(role)
            .run(erase, json!({ "contact": contact }));
        assert_eq!(codes(&answer), ["FORBIDDEN"], "{role}");
    }
    let held = "query($contact: ID!) { personalData(subject: { contact: $contact }) }";
    let theirs = other.admin();
    assert_eq!(
        theirs.data(erase, json!({ "contact": contact }))["eraseContact"]["userErrors"][0]["code"],
        "NOT_FOUND"
    );
    assert_eq!(
        codes(&theirs.run(held, json!({ "contact": contact }))),
        ["BAD_USER_INPUT"]
    );
    assert_eq!(
        codes(
            &company
                .as_role("AUDITOR")
                .run(held, json!({ "contact": contact }))
        ),
        ["FORBIDDEN"]
    );
    let blank = json!({ "contact": contact, "reason": " " });
    let refused = mutate(&api, "eraseContact", blank, ERASURE);
    assert_eq!(
        refused["userErrors"][0]["field"],
        json!(["reason"]),
        "{refused}"
    );
}

#[test]
fn what_is_held_about_a_person_is_one_report() {
    let company = Company::new();
    let api = company.admin();
    let client = api.client("C001")["id"].clone();
    let name = name();
    let contact = contact(&api, "C001", &name, "zoe@example.com", "+33 6 00 00 00 03");
    note(&api, "C001", &name, "promet de payer");
    note(&api, "C001", "quelqu'un d'autre", "rien sur elle");
    let held = api.data(
        "query($id: ID!) { personalData(subject: { contact: $id }) }",
        json!({ "id": contact }),
    )["personalData"]
        .take();
    assert_eq!(held["contact"]["email"], "zoe@example.com");
    assert_eq!(held["client"]["number"], "C001");
    let notes = held["notes"].as_array().expect("notes");
    assert_eq!((notes.len(), &notes[0]["spokeTo"]), (1, &json!(name)));
    assert_eq!(held["trail"][0]["action"], "CREATED");
    assert!(
        held["retention"]
            .as_array()
            .is_some_and(|rules| rules.len() >= 8)
    );
    let told = trail(
        &api,
        json!({ "actions": ["EXPORTED"], "recordId": contact }),
    );
    assert_eq!(told[0]["details"]["report"], "PERSONAL_DATA");
    let held = api.data(
        "query($id: ID!) { personalData(subject: { client: $id }) }",
        json!({ "id": client }),
    )["personalData"]
        .take();
    assert_eq!(held["contacts"][0]["name"], name.as_str());
    let (_, member) = company.as_member("AUDITOR");
    let held = api.data(
        "query($id: ID!) { personalData(subject: { member: $id }) }",
        json!({ "id": member }),
    )["personalData"]
        .take();
    assert_eq!(held["membership"]["role"], "AUDITOR");
    assert!(!held.to_string().contains("password"));
}

#[test]
fn a_person_who_left_everywhere_is_erased_but_as_an_author() {
    let company = Company::new();
    let api = company.admin();
    let (member, id) = company.as_member("AR_ACCOUNTANT");
    member.client("C001");
    member.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("1000.00", "20"),
    );
    let email = trail(&api, json!({ "actor": id }))[0]["actor"]
        .as_str()
        .expect("an author")
        .to_owned();
    let input = json!({ "member": id, "reason": "départ" });
    let refused = mutate(&api, "eraseMember", input.clone(), ERASURE);
    assert_eq!(refused["userErrors"][0]["code"], "WRONG_STATE", "{refused}");
    api.done(
        "mutation($member: ID!) { removeMember(member: $member) { userErrors { code } } }",
        json!({ "member": id }),
    );
    let done = mutate(&api, "eraseMember", input, ERASURE);
    assert_eq!(done["userErrors"], json!([]), "{done}");
    assert_eq!(kept(&done["erasure"]), ["ENTRIES"]);
    // Authors stand on the books: who recorded what is kept with them.
    let left = places(&[&email]);
    assert!(left.iter().all(|place| place.ends_with("_by")), "{left:?}");
    assert!(left.contains(&"journal_entries.recorded_by".to_owned()));
    // The trail still tells the same person from others.
    let entries = trail(&api, json!({ "actor": id }));
    assert!(!entries.is_empty());
    assert!(
        entries
            .iter()
            .all(|entry| entry["address"].is_null() && entry["actorId"] == id.as_str())
    );
    assert_eq!(sealed(&company)["intact"], true);
    api.sound();
}

#[test]
fn a_person_whose_name_is_a_word_takes_nothing_of_others_along() {
    let company = Company::new();
    let api = company.admin();
    let (_, other) = company.as_member("AUDITOR");
    let (_, id) = company.as_member("SALES");
    let user = uuid(&id);
    tamper(&format!(
        "UPDATE users SET name = 'AUDITOR' WHERE id = '{user}'"
    ));
    api.done(
        "mutation($member: ID!) { removeMember(member: $member) { userErrors { code } } }",
        json!({ "member": id }),
    );
    let done = mutate(
        &api,
        "eraseMember",
        json!({ "member": id, "reason": "départ" }),
        ERASURE,
    );
    assert_eq!(done["userErrors"], json!([]), "{done}");
    let entries = trail(&api, json!({ "recordId": other }));
    assert!(!entries.is_empty());
    for entry in &entries {
        assert_eq!(entry["after"]["role"], "AUDITOR", "{entry}");
        assert_eq!(entry["erased"], false, "{entry}");
    }
    assert_eq!(sealed(&company)["intact"], true);
    api.sound();
}

#[test]
fn what_has_outlived_its_retention_goes_when_the_company_wants_it() {
    let company = Company::new();
    let api = company.admin();
    let name = name();
    api.client("C001");
    contact(&api, "C001", &name, "old@example.com", "+33 6 00 00 00 04");
    let headers = [
        ("authorization", api.authorization()),
        ("x-forwarded-for", "203.0.113.99".to_owned()),
    ];
    let write = json!({ "query": "mutation { createClient(input: { number: \"C002\", name: \"N\" }) { userErrors { code } } }" });
    crate::harness::send("/graphql", &headers, Some(&write));
    let id = uuid(&company.id);
    // Four years ago, before anything was sealed.
    let then = today() - Months::new(48);
    tamper(&format!(
        "DELETE FROM audit_seals WHERE company_id = '{id}'; DELETE FROM audit_chains WHERE company_id = '{id}'; \
         UPDATE audit_entries SET at = '{then}' WHERE company_id = '{id}'; \
         UPDATE clients SET created_at = '{then}' WHERE company_id = '{id}'; \
         UPDATE client_contacts SET created_at = '{then}' WHERE company_id = '{id}'"
    ));
    let addresses = || {
        trail(
            &api,
            json!({ "to": format!("{}-01-01T00:00:00Z", year() - 1) }),
        )
        .iter()
        .filter(|entry| !entry["address"].is_null())
        .count()
    };
    command(&["work", "--company", &company.id]);
    assert!(addresses() > 0);
    assert!(!places(&[&name]).is_empty());
    mutate(
        &api,
        "updateCompany",
        json!({ "settings": { "retention_purge": true } }),
        "company { id }",
    );
    command(&["work", "--company", &company.id]);
    assert_eq!(addresses(), 0);
    assert_eq!(places(&[&name]), Vec::<String>::new());
    let erasures = api.data("{ erasures { subjectType erased { place } } }", json!({}));
    assert_eq!(erasures["erasures"][0]["subjectType"], "RETENTION");
    // Once a day.
    command(&["work", "--company", &company.id]);
    assert_eq!(
        api.data("{ erasures { id } }", json!({}))["erasures"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    let proof = sealed(&company);
    assert_eq!(proof["intact"], true, "{proof}");
    assert_eq!(verified(&api)["broken"], Value::Null);
}

#[test]
fn each_class_of_records_has_its_retention_and_its_ground() {
    let api = Company::new().as_role("SALES");
    let rules = api.data(
        "{ retentionRules { code what months from ground afterwards } }",
        json!({}),
    );
    let rules = rules["retentionRules"].as_array().expect("rules").clone();
    let of = |code: &str| {
        rules
            .iter()
            .find(|rule| rule["code"] == code)
            .expect("a rule")
            .clone()
    };
    assert_eq!(of("BOOKS")["months"], 120);
    assert_eq!(of("PROSPECTS")["months"], 36);
    assert_eq!(of("REMINDERS")["months"], 72);
    assert_eq!(of("ADDRESSES")["afterwards"], "ERASED");
}
