//! The audit trail: every write and every export told, chained, and readable by those who may.

use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::desk::mutate;
use crate::harness::{
    Api, Company, codes, command, day, owner, send, serving_url, soon, tamper, texts, uuid, year,
};

const FIELDS: &str = "at action recordType recordId clientId actorKind actorId actor role operation requestId address transaction before after details erased ordinal seal";
const PASSWORD: &str = "les trois petits cochons";

/// Entries of a filter, oldest first.
pub fn trail(api: &Api, filter: Value) -> Vec<Value> {
    let answer = api.data(
        &format!(
            "query($filter: AuditFilter) {{ auditTrail(filter: $filter, orderBy: OLDEST_FIRST, first: 100) {{ nodes {{ {FIELDS} }} }} }}"
        ),
        json!({ "filter": filter }),
    );
    answer["auditTrail"]["nodes"]
        .as_array()
        .expect("entries")
        .clone()
}

/// The only entry of a filter.
fn one(api: &Api, filter: Value) -> Value {
    let found = trail(api, filter);
    assert_eq!(found.len(), 1, "{found:#?}");
    found[0].clone()
}

pub fn verified(api: &Api) -> Value {
    api.data(
        "{ verifyAuditTrail { intact sealed proven erased unsealed sealedThrough head broken { ordinal why } } }",
        json!({}),
    )["verifyAuditTrail"]
        .take()
}

/// Seals the trail of a company. What other tests have under way holds it back for a moment.
pub fn sealed(company: &Company) -> Value {
    for _ in 0..50 {
        command(&["work", "--company", &company.id]);
        let found = verified(&company.admin());
        if found["unsealed"] == "0" {
            return found;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("the trail is not sealed: {}", verified(&company.admin()));
}

#[test]
fn every_table_of_a_company_is_audited_or_says_why_not() {
    let unknown = texts(
        "SELECT c.relname::text AS found FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'company_id' AND NOT a.attisdropped \
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname NOT IN (SELECT table_name FROM audited)",
    );
    assert!(
        unknown.is_empty(),
        "nobody said how these are audited: {unknown:?}"
    );
    // Updates and deletions of all, insertions of those that are not part of another.
    let missing = texts(
        "SELECT x.table_name || '.' || t.name AS found FROM audited x CROSS JOIN (VALUES ('audit_insert'), ('audit_update'), ('audit_delete')) t(name) \
         WHERE x.mode <> 'NONE' AND NOT (x.mode = 'PART' AND t.name = 'audit_insert') AND NOT EXISTS (SELECT 1 FROM pg_trigger g \
           WHERE g.tgrelid = x.table_name::regclass AND g.tgname = t.name AND g.tgenabled = 'O')",
    );
    assert!(missing.is_empty(), "{missing:?}");
    let exempt = texts(
        "SELECT table_name AS found FROM audited WHERE mode = 'NONE' AND reason <> '' ORDER BY 1",
    );
    assert_eq!(
        exempt,
        [
            "audit_chains",
            "audit_entries",
            "audit_seals",
            "changes",
            "counters",
            "idempotency",
            "idempotency_answers",
            "import_lanes",
            "import_refusals",
            "letter_counters",
            "sessions",
            "webhook_deliveries",
        ]
    );
    // A fact is its own image: the serving role may not rewrite what it says.
    let rewritable = texts(
        "SELECT x.table_name AS found FROM audited x WHERE x.mode = 'FACT' AND has_table_privilege('encours_app', x.table_name, 'DELETE')",
    );
    assert!(rewritable.is_empty(), "{rewritable:?}");
}

#[test]
fn a_write_tells_who_when_from_where_and_what() {
    let company = Company::new();
    let (admin, id) = company.as_member("ADMIN");
    let headers = [
        ("authorization", admin.authorization()),
        ("x-forwarded-for", "203.0.113.7".to_owned()),
        ("x-request-id", "order-4711".to_owned()),
    ];
    let write = |document: &str| {
        let answer = send("/graphql", &headers, Some(&json!({ "query": document })));
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    };
    let made = write(
        "mutation { createClient(input: { number: \"C001\", name: \"L'Étoile \\\\ d'or\" }) { client { id } userErrors { message } } }",
    );
    let client = made["data"]["createClient"]["client"]["id"]
        .as_str()
        .expect("a client");
    write(
        "mutation { other: updateClient(input: { client: { number: \"C001\" }, name: \"Étoile\" }) { userErrors { message } } }",
    );
    let entries = trail(&admin, json!({ "recordId": client }));
    assert_eq!(entries.len(), 2, "{entries:#?}");
    for (entry, action, operation) in [
        (&entries[0], "CREATED", "createClient"),
        (&entries[1], "CHANGED", "updateClient"),
    ] {
        assert_eq!(entry["action"], action);
        assert_eq!(entry["operation"], operation);
        assert_eq!(entry["recordType"], "CLIENT");
        assert_eq!(entry["clientId"], client);
        assert_eq!(entry["actorKind"], "PERSON");
        assert_eq!(entry["actorId"], id.as_str());
        assert!(
            entry["actor"]
                .as_str()
                .is_some_and(|actor| actor.contains('@'))
        );
        assert_eq!(entry["role"], "ADMIN");
        assert_eq!(entry["address"], "203.0.113.7");
        assert_eq!(entry["requestId"], "order-4711");
    }
    assert_eq!(entries[0]["before"], Value::Null);
    assert_eq!(entries[0]["after"]["name"], "L'Étoile \\ d'or");
    // Only what changed.
    assert_eq!(entries[1]["before"], json!({ "name": "L'Étoile \\ d'or" }));
    assert_eq!(entries[1]["after"], json!({ "name": "Étoile" }));
    // By person, by operation, by period.
    let count = |filter: Value| trail(&admin, filter).len();
    assert_eq!(count(json!({ "actor": id, "recordType": "CLIENT" })), 2);
    assert_eq!(
        count(json!({ "actor": entries[0]["actor"], "operation": "updateClient" })),
        1
    );
    assert_eq!(
        count(json!({ "client": client, "actions": ["CHANGED"] })),
        1
    );
    let at = entries[1]["at"].clone();
    assert_eq!(count(json!({ "recordId": client, "to": at })), 1);
    assert_eq!(count(json!({ "recordId": client, "from": at })), 1);
    // What is refused, or only checked, wrote nothing.
    write(
        "mutation { createClient(input: { number: \"C001\", name: \"Again\" }) { userErrors { message } } }",
    );
    write(
        "mutation { createClient(input: { number: \"C002\", name: \"New\", validateOnly: true }) { userErrors { message } } }",
    );
    assert_eq!(count(json!({ "recordType": "CLIENT" })), 2);
}

#[test]
fn a_fact_is_shown_as_it_was_written_whatever_became_of_it() {
    let company = Company::new();
    let api = company.admin();
    api.client("C001");
    let invoice = api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("1000.00", "20"),
    );
    let issued = one(&api, json!({ "recordId": invoice["id"] }));
    assert_eq!(issued["action"], "CREATED");
    assert_eq!(issued["operation"], "issueInvoice");
    assert_eq!(issued["after"]["number"], "FA-1");
    assert_eq!(issued["after"]["total"], 120_000);
    // Its entry, lines and items were written with it: they are not told one by one.
    let transaction = issued["transaction"].clone();
    let told = trail(&api, json!({ "operation": "issueInvoice" }));
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(told[0]["transaction"], transaction);

    let opened = json!({ "invoice": { "number": "FA-1" }, "amount": "60.00", "reason": "BLIV", "openedOn": day("02-03") });
    let dispute = api.make("OpenDispute", opened)["dispute"]["id"].clone();
    let closed = json!({ "dispute": { "id": dispute }, "outcome": "WITHDRAWN", "note": "payé", "closedOn": day("02-10") });
    let answer = mutate(&api, "resolveDispute", closed, "dispute { status }");
    assert_eq!(answer["userErrors"], json!([]), "{answer}");
    let entries = trail(&api, json!({ "recordId": dispute }));
    assert_eq!(entries[0]["after"]["status"], "OPEN", "{entries:#?}");
    assert_eq!(entries[0]["after"]["closed_on"], Value::Null);
    let withdrawn = entries
        .iter()
        .any(|entry| entry["action"] == "CHANGED" && entry["after"]["status"] == "WITHDRAWN");
    assert!(withdrawn, "{entries:#?}");
    // The cached open amount of an item follows from allocations: it is not told.
    api.payment("C001", "RG-1", &day("02-20"), "1200.00");
    api.allocate(&day("02-20"), &[("FA-1", "RG-1", "1200.00")]);
    assert!(trail(&api, json!({ "recordType": "ITEM" })).is_empty());
    assert_eq!(trail(&api, json!({ "recordType": "ALLOCATION" })).len(), 1);
}

#[test]
fn secrets_are_hidden_and_bank_accounts_show_their_ends() {
    let company = Company::new();
    let api = company.admin();
    let account = json!({ "name": "Shop", "scopes": ["READ_CLIENTS"], "expiresOn": soon() });
    let made = mutate(
        &api,
        "createServiceAccount",
        account,
        "key serviceAccount { id }",
    );
    let id = &made["serviceAccount"]["id"];
    let revoke = "mutation($id: ID!) { revokeServiceAccount(serviceAccount: $id) { userErrors { message } } }";
    api.done(revoke, json!({ "id": id }));
    let entries = trail(&api, json!({ "recordId": id }));
    let actions: Vec<&Value> = entries.iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["CREATED", "CHANGED"]);
    assert_eq!(entries[0]["after"]["key_hash"], "(hidden)");
    assert_eq!(entries[0]["after"]["scopes"], json!(["READ_CLIENTS"]));
    assert!(entries[1]["after"]["revoked_at"].is_string());

    let bank =
        json!({ "label": "Banque", "iban": "FR7630006000011234567890189", "account": "512000" });
    let saved = mutate(&api, "saveBankAccount", bank, "bankAccount { id }");
    assert_eq!(saved["userErrors"], json!([]), "{saved}");
    let told = one(&api, json!({ "recordType": "BANK_ACCOUNT" }));
    assert_eq!(told["after"]["iban"], "FR76…0189");
}

#[test]
fn the_serving_role_can_only_add() {
    let mut conn = diesel::PgConnection::establish(&serving_url()).expect("the serving role");
    conn.batch_execute(
        "SET ROLE encours_app; SET encours.company = '00000000-0000-0000-0000-000000000000'",
    )
    .expect("the role");
    for sql in [
        "INSERT INTO audit_entries (company_id, action, record_type, record_id, actor_kind, actor) VALUES (gen_random_uuid(), 'READ', 'X1', '', 'SERVER', 'x')",
        "UPDATE audit_entries SET actor = 'x'",
        "DELETE FROM audit_entries",
        "TRUNCATE audit_entries",
        "UPDATE audit_seals SET seal = seal",
        "DELETE FROM audit_seals",
        "UPDATE audit_chains SET ordinal = 0",
        "DELETE FROM erasures",
        "DELETE FROM legal_archive",
        "SELECT seal_audit('00000000-0000-0000-0000-000000000000', 1, '18446744073709551615')",
        "SELECT rebase_audit()",
    ] {
        let error = conn.batch_execute(sql).expect_err(sql);
        assert!(
            error.to_string().contains("permission denied"),
            "{sql}: {error}"
        );
    }
    // Events, but no writes that never were.
    let forged = "SELECT audit_event('00000000-0000-0000-0000-000000000000', 'CREATED', 'CLIENT', '', NULL, '{}')";
    let error = conn.batch_execute(forged).expect_err(forged);
    assert!(
        error.to_string().contains("recorded by the tables"),
        "{error}"
    );
}

/// A change behind everybody's back, and what is found wrong with a company's trail: the place and the cause.
fn touched(change: impl Fn(Uuid) -> String) -> (String, String) {
    let company = Company::new();
    let api = company.admin();
    api.client("C001");
    api.client("C002");
    api.client("C003");
    let before = sealed(&company);
    assert_eq!(before["intact"], true, "{before}");
    tamper(&change(uuid(&company.id)));
    let after = verified(&api);
    assert_eq!(after["intact"], false, "{after}");
    let (done, shown) = crate::harness::outcome(&["check", "--company", &company.id]);
    assert!(!done && shown.contains("AUDIT"), "{shown}");
    let text = |name: &str| after["broken"][name].as_str().expect("a text").to_owned();
    (text("ordinal"), text("why"))
}

#[test]
fn whatever_is_touched_is_found() {
    // The second client's entry: where it stands in the chain.
    let second = "(SELECT e.seq FROM audit_entries e WHERE e.record_type = 'CLIENT' AND e.company_id = c.id ORDER BY e.seq OFFSET 1 LIMIT 1)";
    let on = |sql: &str| {
        let sql = sql.replace("SECOND", second);
        move |company: Uuid| sql.replace("c.id", &format!("'{company}'"))
    };
    let cases = [
        (
            "UPDATE audit_entries SET after = after || '{\"name\": \"Nobody\"}' WHERE seq = SECOND",
            "what it changed was altered",
        ),
        (
            "UPDATE audit_entries SET address = '10.0.0.1' WHERE seq = SECOND",
            "who made it was altered",
        ),
        (
            "UPDATE audit_entries SET operation = 'nothing' WHERE seq = SECOND",
            "the chain does not lead here",
        ),
        (
            "UPDATE audit_entries SET at = '2020-01-01' WHERE seq = SECOND",
            "the chain does not lead here",
        ),
        (
            "DELETE FROM audit_entries WHERE seq = SECOND",
            "the entry was removed",
        ),
        (
            "UPDATE audit_entries SET after = NULL, what_salt = NULL WHERE seq = SECOND",
            "erased without an erasure",
        ),
        (
            "UPDATE audit_entries SET actor = 'x', who_salt = NULL WHERE seq = SECOND",
            "its author was erased",
        ),
        (
            "UPDATE audit_seals SET what = sha256('x') WHERE seq = SECOND AND company_id = c.id",
            "what it changed was altered",
        ),
        (
            "DELETE FROM audit_seals WHERE seq = SECOND AND company_id = c.id",
            "its seal was removed",
        ),
        (
            "INSERT INTO audit_entries (company_id, xid, action, record_type, record_id, actor_kind, actor) \
          SELECT e.company_id, (e.xid::text::bigint - 1)::text::xid8, 'READ', 'QUERY', '', 'SERVER', 'x' FROM audit_entries e WHERE e.seq = SECOND",
            "an entry was put before it",
        ),
        (
            "UPDATE audit_chains SET ordinal = ordinal - 1 WHERE company_id = c.id",
            "the end of the chain",
        ),
    ];
    let places: Vec<String> = cases
        .iter()
        .map(|(sql, cause)| {
            let (ordinal, why) = touched(on(sql));
            assert!(why.contains(cause), "{sql}: {why}");
            ordinal
        })
        .collect();
    // All of them but the last at the same place: the first that was touched.
    assert!(
        places[..places.len() - 1]
            .iter()
            .all(|place| *place == places[0]),
        "{places:?}"
    );
}

#[test]
fn a_chain_that_was_written_anew_does_not_hold_the_anchor() {
    let company = Company::new();
    let api = company.admin();
    api.client("C001");
    let head = sealed(&company)["head"].clone();
    let verify = |anchor: &Value| {
        let query = "query($anchor: String) { verifyAuditTrail(anchor: $anchor) { intact head broken { why } } }";
        api.data(query, json!({ "anchor": anchor }))["verifyAuditTrail"].take()
    };
    assert_eq!(verify(&head)["intact"], true);
    api.client("C002");
    sealed(&company);
    assert_eq!(verify(&head)["intact"], true);
    let id = uuid(&company.id);
    tamper(&format!(
        "UPDATE audit_entries SET operation = 'nothing' WHERE company_id = '{id}' AND operation = 'createClient'; \
         DELETE FROM audit_seals WHERE company_id = '{id}'; DELETE FROM audit_chains WHERE company_id = '{id}'"
    ));
    let anew = sealed(&company);
    assert_eq!(anew["intact"], true, "{anew}");
    let found = verify(&head);
    assert_eq!(found["intact"], false, "{found}");
    let bad = api.run("{ verifyAuditTrail(anchor: \"x\") { intact } }", json!({}));
    assert_eq!(codes(&bad), ["BAD_USER_INPUT"]);
}

#[test]
fn eight_writers_and_two_that_seal_leave_one_whole_chain() {
    let company = Company::new();
    let api = company.admin();
    api.client("C001");
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let api = api.clone();
            thread::spawn(move || {
                for n in 0..6 {
                    let number = format!("FA-{writer}-{n}");
                    api.invoice(
                        "C001",
                        &number,
                        &day("01-10"),
                        &day("02-09"),
                        ("10.00", "20"),
                    );
                }
            })
        })
        .collect();
    let sealers: Vec<_> = (0..2)
        .map(|_| {
            let id = company.id.clone();
            thread::spawn(move || {
                for _ in 0..3 {
                    command(&["work", "--company", &id]);
                }
            })
        })
        .collect();
    for thread in writers.into_iter().chain(sealers) {
        thread.join().expect("done");
    }
    let proof = sealed(&company);
    assert_eq!(proof["intact"], true, "{proof}");
    assert_eq!(proof["sealed"], proof["proven"]);
    assert_eq!(
        trail(&api, json!({ "operation": "issueInvoice" })).len(),
        48
    );
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        n: i64,
    }
    let entries: Count = diesel::sql_query(format!(
        "SELECT count(*) AS n FROM audit_entries WHERE company_id = '{}'",
        uuid(&company.id)
    ))
    .get_result(&mut owner())
    .expect("a count");
    assert_eq!(proof["sealed"], entries.n.to_string());
    let (done, shown) = crate::harness::outcome(&["check", "--company", &company.id]);
    assert!(done, "{shown}");
}

#[test]
fn those_who_may_read_it_and_nobody_else() {
    let (ours, theirs) = (Company::new(), Company::new());
    ours.admin().client("C001");
    let asked =
        "{ auditTrail(filter: { recordType: \"CLIENT\" }) { totalCount nodes { action } } }";
    for (role, may) in [
        ("ADMIN", true),
        ("DIRECTOR", true),
        ("CREDIT_MANAGER", true),
        ("AUDITOR", true),
        ("AR_ACCOUNTANT", false),
        ("SALES", false),
        ("BI_READER", false),
    ] {
        let answer = ours.as_role(role).run(asked, json!({}));
        let verified = ours
            .as_role(role)
            .run("{ verifyAuditTrail { intact } }", json!({}));
        if may {
            assert_eq!(
                answer["data"]["auditTrail"]["totalCount"], 1,
                "{role}: {answer}"
            );
            assert_eq!(
                verified["data"]["verifyAuditTrail"]["intact"], true,
                "{role}"
            );
        } else {
            assert_eq!(codes(&answer), ["FORBIDDEN"], "{role}");
            assert_eq!(codes(&verified), ["FORBIDDEN"], "{role}");
        }
    }
    let answer = theirs.as_role("AUDITOR").run(asked, json!({}));
    assert_eq!(answer["data"]["auditTrail"]["totalCount"], 0);
    // What an auditor asks is told; an administrator's own look is not.
    let reads = trail(&ours.admin(), json!({ "actions": ["READ"] }));
    assert_eq!(reads.len(), 2, "{reads:#?}");
    assert_eq!(reads[0]["details"]["fields"], json!(["auditTrail"]));
    assert_eq!(reads[0]["role"], "AUDITOR");
}

#[test]
fn pages_of_the_trail_neither_lose_nor_repeat() {
    let company = Company::new();
    let api = company.admin();
    for n in 0..7 {
        api.client(&format!("C00{n}"));
    }
    let page = |after: &Value| {
        api.data(
            "query($after: String) { auditTrail(filter: { recordType: \"CLIENT\" }, first: 3, after: $after) { nodes { after } pageInfo { hasNextPage endCursor } } }",
            json!({ "after": after }),
        )["auditTrail"]
            .take()
    };
    let (mut after, mut numbers) = (Value::Null, Vec::new());
    loop {
        let found = page(&after);
        for node in found["nodes"].as_array().expect("nodes") {
            numbers.push(
                node["after"]["number"]
                    .as_str()
                    .expect("a number")
                    .to_owned(),
            );
        }
        after = found["pageInfo"]["endCursor"].clone();
        if found["pageInfo"]["hasNextPage"] == false {
            break;
        }
        // What comes meanwhile stands before.
        api.client(&format!("D{}", numbers.len()));
    }
    assert_eq!(
        numbers,
        ["C006", "C005", "C004", "C003", "C002", "C001", "C000"]
    );
}

#[test]
fn what_leaves_is_told() {
    let company = Company::new();
    let api = company.admin();
    let set =
        "mutation { updateCompany(input: { siren: \"732829320\" }) { userErrors { message } } }";
    api.done(set, json!({}));
    let client = api.client("C001")["id"].as_str().expect("an id").to_owned();
    let invoice = api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("1000.00", "20"),
    );
    let invoice = invoice["id"].as_str().expect("an id");
    let file = api.attach(invoice, "ORDER", "bon.txt", b"commande");
    let auditor = company.as_role("AUDITOR");
    for path in [
        format!("/export/fec/{}", year()),
        format!("/files/{file}"),
        format!("/letters/STATEMENT/{client}"),
        format!("/evidence/{client}"),
    ] {
        assert_eq!(auditor.bytes(&path).0, 200, "{path}");
    }
    let told = trail(&api, json!({ "actions": ["EXPORTED"] }));
    let shown: Vec<(&Value, &Value)> = told
        .iter()
        .map(|entry| (&entry["recordType"], &entry["operation"]))
        .collect();
    assert_eq!(
        shown,
        [
            (&json!("FEC"), &json!("GET /export/fec/{year}")),
            (&json!("FILE"), &json!("GET /files/{id}")),
            (&json!("LETTER"), &json!("GET /letters/{kind}/{subject}")),
            (&json!("EVIDENCE_FILE"), &json!("GET /evidence/{subject}")),
        ]
    );
    for entry in &told {
        assert_eq!(entry["role"], "AUDITOR");
        assert!(
            entry["address"].is_string() && entry["requestId"].is_string(),
            "{entry}"
        );
        assert!(
            entry["details"]["bytes"]
                .as_i64()
                .is_some_and(|bytes| bytes > 0),
            "{entry}"
        );
    }
    assert_eq!(told[0]["details"]["lines"], 3);
    assert_eq!(told[1]["recordId"], file.as_str());
    // By the command, too.
    let out = std::env::temp_dir().join(format!("fec-{}", uuid::Uuid::now_v7()));
    let (name, out) = (year().to_string(), out.display().to_string());
    let export = [
        "export",
        "fec",
        "--company",
        &company.id,
        "--year",
        &name,
        "--out",
        &out,
    ];
    command(&export);
    std::fs::remove_dir_all(&out).expect("what was written goes");
    let told = trail(&api, json!({ "actions": ["EXPORTED"] }));
    let last = told.last().expect("an entry");
    assert_eq!(
        (&last["recordType"], &last["details"]["lines"], told.len()),
        (&json!("FEC"), &json!(3), 5)
    );
    // What was refused did not leave.
    assert_eq!(
        company
            .as_role("BI_READER")
            .fetch(&format!("/export/fec/{}", year()))
            .status,
        403
    );
    assert_eq!(trail(&api, json!({ "actions": ["EXPORTED"] })).len(), 5);
}

#[test]
fn contacts_of_many_clients_at_once_are_told() {
    let company = Company::new();
    let api = company.admin();
    for n in 10..32 {
        api.client(&format!("C0{n}"));
    }
    let read = |first: usize| {
        let query =
            "query($first: Int!) { clients(first: $first) { nodes { contacts { name } } } }";
        api.data(query, json!({ "first": first }));
        trail(&api, json!({ "actions": ["READ"] }))
    };
    assert!(read(20).is_empty());
    let told = read(22);
    assert_eq!(told.len(), 1);
    assert_eq!(
        told[0]["details"],
        json!({ "fields": ["clients"], "clientsWithContacts": 22 })
    );
}

/// Entries that are written beside an answer: waited for.
fn awaited(api: &Api, filter: Value, count: usize) -> Vec<Value> {
    for _ in 0..100 {
        let found = trail(api, filter.clone());
        if found.len() >= count {
            assert_eq!(found.len(), count, "{found:#?}");
            return found;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!(
        "{count} entries of {filter}: {:#?}",
        trail(api, filter.clone())
    );
}

#[test]
fn the_door_is_on_the_trail() {
    let (company, other) = (Company::new(), Company::new());
    let api = company.admin();
    let email = format!("{}@example.com", Uuid::now_v7().simple());
    let here = format!("2001:db8::{:x}", Uuid::now_v7().as_u128() & 0xffff);
    let from = [("x-forwarded-for", here.clone())];
    let invite = json!({ "email": email, "role": "AR_ACCOUNTANT" });
    let token = mutate(&api, "inviteMember", invite, "token")["token"].clone();
    let accept = json!({ "token": token, "name": "Camille", "password": PASSWORD });
    let session = send("/auth/accept", &from, Some(&accept)).json();
    let user = trail(&api, json!({ "actions": ["LOGGED_IN"] }))[0]["actorId"].clone();
    let of = |action: &str| json!({ "actions": [action], "recordId": user });
    let entry = one(&api, of("LOGGED_IN"));
    assert_eq!(
        (&entry["actor"], &entry["address"]),
        (&json!(email), &json!(here))
    );
    assert_eq!(entry["operation"], "POST /auth/accept");
    // The membership was made by the person who accepted.
    let joined = one(&api, of("CREATED"));
    assert_eq!(
        (&joined["actor"], &joined["after"]["role"]),
        (&json!(email), &json!("AR_ACCOUNTANT"))
    );
    let invited = trail(&api, json!({ "recordType": "INVITATION" }));
    assert_eq!(invited[0]["after"]["token_hash"], "(hidden)");
    assert_eq!(invited.len(), 2, "{invited:#?}");

    let wrong = json!({ "email": email, "password": "not this one" });
    for _ in 0..5 {
        assert_eq!(send("/auth/login", &from, Some(&wrong)).status, 401);
    }
    // The fifth locks; what comes while it waits is not looked at, and not told again.
    assert_eq!(send("/auth/login", &from, Some(&wrong)).status, 429);
    let refused = awaited(&api, of("LOG_IN_REFUSED"), 5);
    assert_eq!(
        (&refused[0]["actor"], &refused[0]["address"]),
        (&json!(email), &json!(here))
    );
    assert_eq!(refused[0]["details"], Value::Object(Default::default()));
    let locked = awaited(&api, of("LOCKED_OUT"), 1);
    assert!(
        locked[0]["details"]["seconds"]
            .as_i64()
            .is_some_and(|seconds| seconds > 0)
    );

    // Another company, a switch, another role, the end.
    let save = json!({ "email": email, "name": "Camille", "role": "AUDITOR" });
    let joined = mutate(&other.admin(), "saveMember", save, "member { id }");
    assert_eq!(joined["userErrors"], json!([]), "{joined}");
    let bearer = [
        ("x-forwarded-for", here.clone()),
        (
            "authorization",
            format!("Bearer {}", session["token"].as_str().expect("a token")),
        ),
    ];
    let switch = send(
        "/auth/switch",
        &bearer,
        Some(&json!({ "company": other.id })),
    );
    assert_eq!(switch.status, 200, "{}", switch.text);
    let switched = one(&other.admin(), of("SWITCHED"));
    assert_eq!(switched["details"]["role"], "AUDITOR");
    assert!(trail(&api, of("SWITCHED")).is_empty());
    assert_eq!(send("/auth/logout", &bearer, Some(&json!({}))).status, 204);
    assert_eq!(one(&api, of("LOGGED_OUT"))["address"], here.as_str());
    let save = json!({ "email": email, "name": "Camille", "role": "SALES" });
    mutate(&api, "saveMember", save, "member { id }");
    let role = one(&api, of("CHANGED"));
    assert_eq!(
        (&role["before"], &role["after"]),
        (
            &json!({ "role": "AR_ACCOUNTANT" }),
            &json!({ "role": "SALES" })
        )
    );
    assert_eq!(role["operation"], "saveMember");
}

#[test]
fn a_refused_key_is_told_once_a_minute() {
    let company = Company::new();
    let api = company.admin();
    let account = json!({ "name": "Shop", "scopes": ["READ_CLIENTS"], "expiresOn": soon() });
    let made = mutate(
        &api,
        "createServiceAccount",
        account,
        "key serviceAccount { id }",
    );
    let key = made["key"].as_str().expect("a key");
    let revoke = "mutation($id: ID!) { revokeServiceAccount(serviceAccount: $id) { userErrors { message } } }";
    api.done(revoke, json!({ "id": made["serviceAccount"]["id"] }));
    let refused = Api::with(key);
    for _ in 0..3 {
        assert_eq!(
            refused
                .post(&json!({ "query": "{ viewer { name } }" }))
                .status,
            401
        );
        assert_eq!(
            refused.fetch(&format!("/export/fec/{}", year())).status,
            401
        );
        awaited(&api, json!({ "actions": ["KEY_REFUSED"] }), 1);
    }
    let told = one(&api, json!({ "actions": ["KEY_REFUSED"] }));
    assert_eq!(told["recordId"], made["serviceAccount"]["id"]);
}

#[test]
fn what_nobody_asked_for_is_the_servers_and_what_has_no_caller_the_operators() {
    let company = Company::new();
    let created = one(&company.admin(), json!({ "recordType": "COMPANY" }));
    assert_eq!(created["actorKind"], "OPERATOR");
    let id = uuid(&company.id);
    owner()
        .batch_execute(&format!(
            "UPDATE companies SET name = 'Other' WHERE company_id = '{id}'"
        ))
        .expect("a hand in the tables");
    let by_hand = &trail(&company.admin(), json!({ "recordType": "COMPANY" }))[1];
    assert_eq!(
        (&by_hand["actorKind"], &by_hand["after"]["name"]),
        (&json!("OPERATOR"), &json!("Other"))
    );
}
