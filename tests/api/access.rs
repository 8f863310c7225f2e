//! Access: sessions, guesses, the identity provider, service accounts, invitations, several companies.

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::Utc;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{
    Answer, Api, Company, Second, codes, command, data, send, single, soon, today,
};
use crate::idp;

const PASSWORD: &str = "les trois petits cochons";

fn email() -> String {
    format!("{}@example.com", Uuid::now_v7().simple())
}

/// A network address that no other test comes from.
fn address() -> String {
    let id = Uuid::now_v7().simple().to_string();
    format!("2001:db8::{}:{}", &id[24..28], &id[28..32])
}

fn from(address: &str) -> Vec<(&'static str, String)> {
    vec![("x-forwarded-for", address.to_owned())]
}

fn auth(path: &str, body: Value) -> Answer {
    send(&format!("/auth/{path}"), &from(&address()), Some(&body))
}

fn auth_as(token: &Value, path: &str, body: Value) -> Answer {
    let mut headers = from(&address());
    headers.push(("authorization", format!("Bearer {}", text(token))));
    send(&format!("/auth/{path}"), &headers, Some(&body))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text: {value}"))
}

/// What a member may do with an access token.
fn status(token: &Value) -> u16 {
    let api = Api::with(text(token));
    api.post(&json!({ "query": "{ viewer { name } }" })).status
}

fn mutate(api: &Api, mutation: &str, input: Value, fields: &str) -> Value {
    let kind = format!("{}{}", mutation[..1].to_uppercase(), &mutation[1..]);
    let document = format!(
        "mutation($input: {kind}Input!) {{ {mutation}(input: $input) {{ {fields} userErrors {{ code field message }} }} }}"
    );
    api.data(&document, json!({ "input": input }))[mutation].clone()
}

fn invited(company: &Company, email: &str, role: &str) -> String {
    let input = json!({ "email": email, "role": role });
    let made = mutate(
        &company.admin(),
        "inviteMember",
        input,
        "token invitation { id email role }",
    );
    assert_eq!(made["invitation"]["email"], email, "{made}");
    text(&made["token"]).to_owned()
}

/// A new member who accepted an invitation; what the acceptance answered.
fn member(company: &Company, email: &str, role: &str) -> Value {
    let token = invited(company, email, role);
    let accepted = auth(
        "accept",
        json!({ "token": token, "name": "Camille", "password": PASSWORD }),
    );
    assert_eq!(accepted.status, 200, "{}", accepted.text);
    accepted.json()
}

fn login(email: &str) -> Value {
    let answer = auth("login", json!({ "email": email, "password": PASSWORD }));
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

fn refresh(session: &Value) -> Answer {
    auth(
        "refresh",
        json!({ "refreshToken": session["refreshToken"] }),
    )
}

fn refreshed(session: &Value) -> Value {
    let answer = refresh(session);
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

#[test]
fn a_refresh_token_works_once_and_its_second_use_ends_the_log_in() {
    let company = Company::new();
    let email = email();
    member(&company, &email, "AR_ACCOUNTANT");
    let first = login(&email);
    assert_eq!(first["company"]["id"], json!(company.id));
    assert_eq!(
        (&first["role"], status(&first["token"])),
        (&json!("AR_ACCOUNTANT"), 200)
    );
    let lives = |name: &str| {
        let until = text(&first[name])
            .parse::<chrono::DateTime<Utc>>()
            .expect("an instant");
        until.signed_duration_since(Utc::now()).num_minutes()
    };
    assert_eq!(
        (lives("expiresAt"), lives("refreshExpiresAt")),
        (14, 30 * 24 * 60 - 1)
    );
    let second = refreshed(&first);
    assert_ne!(first["token"], second["token"]);
    assert_ne!(first["refreshToken"], second["refreshToken"]);
    assert_eq!(
        (status(&first["token"]), status(&second["token"])),
        (200, 200)
    );
    let other = login(&email);
    let stolen = refresh(&first);
    assert_eq!(
        (stolen.status, codes(&stolen.json())),
        (401, vec!["UNAUTHENTICATED"])
    );
    assert_eq!(refresh(&second).status, 401);
    assert_eq!(
        (status(&first["token"]), status(&second["token"])),
        (401, 401)
    );
    // Another log-in of the same person is another family.
    assert_eq!(
        (status(&other["token"]), refresh(&other).status),
        (200, 200)
    );
    for bad in ["", "encr_", text(&first["token"])] {
        assert_eq!(
            auth("refresh", json!({ "refreshToken": bad })).status,
            401,
            "{bad}"
        );
    }
    assert_eq!(auth("refresh", json!({})).status, 400);
}

#[test]
fn of_several_refreshes_at_once_one_wins() {
    let company = Company::new();
    let session = member(&company, &email(), "AUDITOR");
    let statuses: Vec<u16> = thread::scope(|scope| {
        let tries: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| refresh(&session).status))
            .collect();
        tries
            .into_iter()
            .map(|handle| handle.join().expect("an answer"))
            .collect()
    });
    let won = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(won, 1, "{statuses:?}");
    assert!(
        statuses.iter().all(|status| [200, 401].contains(status)),
        "{statuses:?}"
    );
    assert_eq!(status(&session["token"]), 401);
}

#[test]
fn within_a_grace_the_same_client_may_repeat_a_refresh() {
    let company = Company::new();
    let session = member(&company, &email(), "AUDITOR");
    let second = Second::start(&[("ENCOURS_REFRESH_GRACE", "60")]);
    let (here, there) = (from(&address()), from(&address()));
    let body = json!({ "refreshToken": session["refreshToken"] });
    let refresh = |headers: &[(&str, String)]| second.send("/auth/refresh", headers, &body);
    let answers = [refresh(&here), refresh(&here)];
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    // Somebody else is a thief all the same.
    assert_eq!(refresh(&there).status, 401);
    let next = json!({ "refreshToken": answers[1].json()["refreshToken"] });
    assert_eq!(second.send("/auth/refresh", &here, &next).status, 401);
}

#[test]
fn a_log_out_counts_on_every_instance() {
    let company = Company::new();
    let email = email();
    let session = member(&company, &email, "AUDITOR");
    let second = Second::start(&[]);
    let token = text(&session["token"]);
    assert_eq!(
        (second.status(token), status(&session["token"])),
        (200, 200)
    );
    assert_eq!(auth_as(&session["token"], "logout", json!({})).status, 204);
    let left = Instant::now();
    assert_eq!(status(&session["token"]), 401);
    while second.status(token) == 200 {
        assert!(
            left.elapsed() < Duration::from_secs(5),
            "the other instance does not know"
        );
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(
        (
            refresh(&session).status,
            auth_as(&session["token"], "logout", json!({})).status
        ),
        (401, 401)
    );
    // By the refresh token, when the access token is gone; again it does nothing.
    let session = login(&email);
    let by_token = json!({ "refreshToken": session["refreshToken"] });
    for _ in 0..2 {
        assert_eq!(auth("logout", by_token.clone()).status, 204);
    }
    assert_eq!(status(&session["token"]), 401);
}

#[test]
fn another_role_the_end_of_a_membership_and_disabling_end_sessions() {
    let company = Company::new();
    let admin = company.admin();
    let email = email();
    member(&company, &email, "AUDITOR");
    let save = |role: &str| {
        let input = json!({ "email": email, "name": "Camille", "role": role });
        mutate(&admin, "saveMember", input, "member { id role }")
    };
    let session = login(&email);
    let id = save("AUDITOR")["member"]["id"].clone();
    assert_eq!(status(&session["token"]), 200, "the role is the same");
    assert_eq!(save("DIRECTOR")["member"]["role"], "DIRECTOR");
    assert_eq!(
        (status(&session["token"]), refresh(&session).status),
        (401, 401)
    );
    let session = login(&email);
    assert_eq!(session["role"], "DIRECTOR");
    let removed = format!("mutation {{ removeMember(member: {id}) {{ userErrors {{ code }} }} }}");
    admin.done(&removed, json!({}));
    assert_eq!(
        (status(&session["token"]), refresh(&session).status),
        (401, 401)
    );
    let again = auth("login", json!({ "email": email, "password": PASSWORD }));
    assert_eq!(again.status, 401);

    save("SALES");
    let session = login(&email);
    command(&["member", "disable", &email]);
    assert_eq!(refresh(&session).status, 401);
    assert_eq!(
        auth("login", json!({ "email": email, "password": PASSWORD })).status,
        401
    );
}

#[test]
fn a_company_keeps_an_admin() {
    let company = Company::new();
    let script = company.admin();
    let (one, two) = (company.as_member("ADMIN"), company.as_member("ADMIN"));
    let admins = || {
        let members = script.data("{ members { id email role } }", json!({}));
        let members = members["members"].as_array().expect("members").clone();
        members.into_iter().filter(|it| it["role"] == "ADMIN")
    };
    let remove = |api: &Api, id: &Value| {
        let document = "mutation($id: ID!) { removeMember(member: $id) { userErrors { code } } }";
        api.post(&json!({ "query": document, "variables": { "id": id } }))
            .json()
    };
    for other in admins().filter(|it| ![&one.1, &two.1].iter().any(|id| it["id"] == **id)) {
        assert_eq!(
            remove(&script, &other["id"])["data"]["removeMember"]["userErrors"],
            json!([])
        );
    }
    // Each removes the other at once: who comes second is refused, or is nobody any more.
    thread::scope(|scope| {
        scope.spawn(|| remove(&one.0, &json!(two.1)));
        scope.spawn(|| remove(&two.0, &json!(one.1)));
    });
    let left = admins().next().expect("an admin");
    assert_eq!(admins().count(), 1);
    let refused = |answer: &Value, field: &str| {
        let error = &answer["data"][field]["userErrors"][0];
        assert_eq!(error["code"], "WRONG_STATE", "{answer}");
    };
    refused(&remove(&script, &left["id"]), "removeMember");
    // Nor is somebody an admin who may not come in.
    let (_, id) = company.as_member("ADMIN");
    let disabled = admins().find(|it| it["id"] == *id).expect("the other");
    command(&[
        "member",
        "disable",
        disabled["email"].as_str().expect("an address"),
    ]);
    refused(&remove(&script, &left["id"]), "removeMember");
    let input = json!({ "email": left["email"], "name": "Camille", "role": "AUDITOR" });
    let saved = mutate(&script, "saveMember", input, "member { id }");
    assert_eq!(saved["userErrors"][0]["code"], "WRONG_STATE");
}

#[test]
fn guesses_at_one_address_wait_and_nobody_learns_whether_it_is_known() {
    let company = Company::new();
    let (known, unknown) = (email(), email());
    member(&company, &known, "AUDITOR");
    let guess = |email: &str, password: &str| {
        auth("login", json!({ "email": email, "password": password }))
    };
    let wrong = guess(&known, "wrong");
    for attempt in 0..5 {
        for email in [&known, &unknown] {
            if (attempt, email) == (0, &known) {
                continue;
            }
            let answer = guess(&email.to_uppercase(), "wrong");
            assert_eq!(
                (answer.status, &answer.text),
                (401, &wrong.text),
                "{attempt} {email}"
            );
        }
    }
    for email in [&known, &unknown] {
        // Even with the right password: it was not looked at.
        let locked = guess(email, PASSWORD);
        assert_eq!((locked.status, &locked.text), (429, &wrong.text), "{email}");
        let wait: u64 = locked
            .retry_after
            .expect("Retry-After")
            .parse()
            .expect("seconds");
        assert!((1..=16).contains(&wait), "{wait}");
    }
    // Right guesses before the limit start counting anew.
    let other = email();
    member(&company, &other, "AUDITOR");
    for _ in 0..2 {
        for _ in 0..4 {
            assert_eq!(guess(&other, "wrong").status, 401);
        }
        assert_eq!(guess(&other, PASSWORD).status, 200);
    }
}

#[test]
fn guesses_from_one_network_address_wait() {
    let company = Company::new();
    let known = email();
    member(&company, &known, "AUDITOR");
    let here = address();
    let login = |headers: &[(&'static str, String)], email: &str, password: &str| {
        let body = json!({ "email": email, "password": password });
        send("/auth/login", headers, Some(&body))
    };
    for attempt in 0..20 {
        // What stands before the address was written by the client.
        let spoofed = vec![("x-forwarded-for", format!("198.51.100.{attempt}, {here}"))];
        assert_eq!(login(&spoofed, &email(), "wrong").status, 401, "{attempt}");
    }
    let locked = login(&from(&here), &known, PASSWORD);
    assert_eq!(locked.status, 429);
    assert!(locked.retry_after.is_some());
    assert_eq!(login(&from(&address()), &known, PASSWORD).status, 200);
}

#[test]
fn members_come_in_by_their_identity_provider() {
    let company = Company::new();
    let email = email();
    member(&company, &email, "DIRECTOR");
    let ask = |claims: Value, kid: &str| {
        let api = Api::with(&idp::token(kid, &idp::claims(claims)));
        api.post(
            &json!({ "query": "{ viewer { name role company { id } companies { id role } } }" }),
        )
    };
    let known =
        json!({ "email": email.to_uppercase(), "email_verified": true, "company": company.id });
    for kid in ["rsa", "ec", "ed"] {
        let viewer = data(ask(known.clone(), kid).json())["viewer"].clone();
        assert_eq!(viewer["role"], "DIRECTOR", "{kid}");
        assert_eq!(
            viewer["companies"],
            json!([{ "id": company.id, "role": "DIRECTOR" }])
        );
    }
    let stranger = Api::stranger().post(&json!({ "query": "{ viewer { name } }" }));
    for (name, value) in [
        ("email", json!("nobody@example.com")),
        ("email", Value::Null),
        ("email_verified", json!(false)),
        ("email_verified", Value::Null),
        ("company", json!(Company::new().id)),
        ("company", Value::Null),
        ("company", json!("com_1")),
        // Roles of the provider do not count while claims are not trusted; without a membership neither.
        ("role", json!("ADMIN")),
    ] {
        let mut changed = known.clone();
        changed[name] = value.clone();
        let answer = ask(changed, "rsa");
        if name == "role" {
            assert_eq!(data(answer.json())["viewer"]["role"], "DIRECTOR");
            continue;
        }
        assert_eq!(
            (answer.status, &answer.text),
            (401, &stranger.text),
            "{name} {value}"
        );
    }
    command(&["member", "disable", &email]);
    assert_eq!(ask(known, "rsa").status, 401);
}

#[test]
fn claims_are_enough_when_the_operator_says_so() {
    let company = Company::new();
    let second = Second::start(&[
        ("ENCOURS_OIDC_TRUST_CLAIMS", "true"),
        ("ENCOURS_OIDC_ROLE_CLAIM", "groups"),
        (
            "ENCOURS_OIDC_ROLE_MAP",
            "finance-admins=ADMIN,finance=AR_ACCOUNTANT",
        ),
    ]);
    let token = |groups: Value, company: &str| {
        idp::token(
            "ec",
            &idp::claims(json!({ "groups": groups, "company": company })),
        )
    };
    let answer = second.ask(
        &token(json!(["staff", "finance"]), &company.id),
        "{ viewer { name role company { id } } }",
    );
    assert_eq!(
        data(answer)["viewer"],
        json!({ "name": "42", "role": "AR_ACCOUNTANT", "company": { "id": company.id } })
    );
    for (groups, id) in [
        (json!(["staff"]), company.id.clone()),
        (json!(["ADMIN"]), company.id.clone()),
        (
            json!(["finance"]),
            format!("com_{}", Uuid::now_v7().simple()),
        ),
    ] {
        assert_eq!(
            second.status(&token(groups.clone(), &id)),
            401,
            "{groups} {id}"
        );
    }
}

/// A token from its parts; the signature is what the closure makes of the message.
fn forged(head: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> String) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(head), part(claims));
    let signature = sign(message.as_bytes());
    format!("{message}.{signature}")
}

#[test]
fn every_attack_of_rfc_8725_gets_the_same_answer() {
    let company = Company::new();
    let email = email();
    let session = member(&company, &email, "ADMIN");
    let good =
        idp::claims(json!({ "email": email, "email_verified": true, "company": company.id }));
    let by = |kid: &str| {
        let (key, algorithm) = idp::key(kid);
        move |message: &[u8]| jsonwebtoken::crypto::sign(message, &key, algorithm).expect("signed")
    };
    let hmac = |secret: &[u8]| {
        let key = EncodingKey::from_secret(secret);
        move |message: &[u8]| {
            jsonwebtoken::crypto::sign(message, &key, Algorithm::HS256).expect("signed")
        }
    };
    let none = |_: &[u8]| String::new();
    let rsa = json!({ "alg": "RS256", "kid": "rsa" });
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().expect("claims").remove(name);
        claims
    };
    let now = Utc::now().timestamp();
    let head = |name: &str, value: Value| {
        let mut head = rsa.clone();
        head[name] = value;
        head
    };
    let ours: Vec<&str> = text(&session["token"]).split('.').collect();
    let twice = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","alg":"none","typ":"JWT"}"#);
    let set: Value = serde_json::from_str(idp::SET).expect("a set");
    let attacks = [
        (
            "alg none, ours",
            forged(&json!({ "alg": "none", "typ": "JWT" }), &good, none),
        ),
        (
            "alg none, theirs",
            forged(&head("alg", json!("none")), &good, none),
        ),
        ("signature cut off", format!("{}.{}.", ours[0], ours[1])),
        (
            "claims changed",
            format!(
                "{}.{}.{}",
                ours[0],
                URL_SAFE_NO_PAD.encode(good.to_string()),
                ours[2]
            ),
        ),
        (
            "public key as secret",
            forged(
                &head("alg", json!("HS256")),
                &good,
                hmac(idp::SET.as_bytes()),
            ),
        ),
        (
            "modulus as secret",
            forged(
                &head("alg", json!("HS256")),
                &good,
                hmac(text(&set["keys"][0]["n"]).as_bytes()),
            ),
        ),
        (
            "public key as our secret",
            forged(
                &json!({ "alg": "HS256", "typ": "JWT" }),
                &good,
                hmac(idp::SET.as_bytes()),
            ),
        ),
        (
            "another algorithm",
            forged(&head("alg", json!("RS512")), &good, by("rsa")),
        ),
        (
            "the key of another id",
            forged(&head("kid", json!("ec")), &good, by("rsa")),
        ),
        (
            "unknown kid",
            forged(&head("kid", json!("unknown")), &good, by("rsa")),
        ),
        (
            "kid as a path",
            forged(&head("kid", json!("../../dev/null")), &good, by("rsa")),
        ),
        (
            "no kid",
            forged(&json!({ "alg": "RS256", "typ": "JWT" }), &good, by("rsa")),
        ),
        (
            "embedded key",
            forged(
                &json!({ "alg": "RS256", "jwk": set["keys"][0] }),
                &good,
                by("rsa"),
            ),
        ),
        (
            "key by address",
            forged(
                &json!({ "alg": "RS256", "jku": "https://evil.example/keys", "kid": "evil" }),
                &good,
                by("rsa"),
            ),
        ),
        ("head twice", format!("{twice}.{}.{}", ours[1], ours[2])),
        (
            "critical extension",
            forged(&head("crit", json!(["x"])), &good, by("rsa")),
        ),
        (
            "wrong type",
            forged(&head("typ", json!("logout+jwt")), &good, by("rsa")),
        ),
        (
            "wrong issuer",
            forged(&rsa, &with("iss", json!("https://evil.example")), by("rsa")),
        ),
        (
            "our issuer",
            forged(&rsa, &with("iss", json!("encours")), by("rsa")),
        ),
        (
            "wrong audience",
            forged(&rsa, &with("aud", json!("another")), by("rsa")),
        ),
        (
            "expired",
            forged(&rsa, &with("exp", json!(now - 60)), by("rsa")),
        ),
        (
            "not yet valid",
            forged(&rsa, &with("nbf", json!(now + 120)), by("rsa")),
        ),
        ("no issuer", forged(&rsa, &without("iss"), by("rsa"))),
        ("no audience", forged(&rsa, &without("aud"), by("rsa"))),
        ("no end", forged(&rsa, &without("exp"), by("rsa"))),
        ("no subject", forged(&rsa, &without("sub"), by("rsa"))),
        (
            "oversized",
            idp::token("rsa", &with("x", json!("x".repeat(20_000)))),
        ),
        ("no token", "x".into()),
        ("empty", String::new()),
        ("no key", "enc_1_2".into()),
    ];
    let answers: HashSet<(u16, String)> = attacks
        .iter()
        .map(|(name, token)| {
            let answer = Api::with(token).post(&json!({ "query": "{ viewer { name } }" }));
            assert_eq!(answer.status, 401, "{name}: {}", answer.text);
            (answer.status, answer.text)
        })
        .collect();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let accepted = Api::with(&forged(&rsa, &good, by("rsa")));
    assert_eq!(
        accepted
            .post(&json!({ "query": "{ viewer { name } }" }))
            .status,
        200
    );
}

/// A service account with these scopes; its id and key.
fn account(admin: &Api, name: &str, scopes: &[&str]) -> (Value, String) {
    let expires_on = soon();
    let input = json!({ "name": name, "scopes": scopes, "expiresOn": expires_on });
    let made = mutate(
        admin,
        "createServiceAccount",
        input,
        "serviceAccount { id name scopes lastUsedAt } key",
    );
    assert_eq!(made["userErrors"], json!([]), "{made}");
    (
        made["serviceAccount"]["id"].clone(),
        text(&made["key"]).to_owned(),
    )
}

#[test]
fn a_service_account_does_what_its_scopes_say_r12_5() {
    let company = Company::new();
    let admin = company.admin();
    let (id, key) = account(
        &admin,
        "Boutique",
        &["READ_COMPANY", "READ_CLIENTS", "WRITE_CLIENTS"],
    );
    assert!(key.starts_with("enc_"), "{key}");
    let shop = Api::with(&key);
    let viewer = shop.data(
        "{ viewer { name role permissions user { id } companies { id role } } }",
        json!({}),
    );
    assert_eq!(
        viewer["viewer"],
        json!({ "name": "service account Boutique", "role": null, "user": null,
            "permissions": ["READ_COMPANY", "READ_CLIENTS", "WRITE_CLIENTS"],
            "companies": [{ "id": company.id, "role": null }] })
    );
    let input = json!({ "number": "C001", "name": "Client" });
    shop.refused(
        "CreateClient",
        input.clone(),
        "INVALID",
        &["idempotencyKey"],
    );
    let mut keyed = input;
    keyed["idempotencyKey"] = json!("order-1");
    let made = shop.make("CreateClient", keyed.clone());
    assert_eq!(shop.make("CreateClient", keyed), made);
    for (document, permission) in [
        ("{ members { id } }", "READ_MEMBERS"),
        ("{ invoices { totalCount } }", "READ_DOCUMENTS"),
        (
            "mutation { closePeriod(through: \"2020-01-31\") { userErrors { code } } }",
            "CLOSE_PERIODS",
        ),
    ] {
        let answer = shop.run(document, json!({}));
        assert_eq!(codes(&answer), ["FORBIDDEN"], "{answer}");
        assert_eq!(answer["errors"][0]["extensions"]["permission"], permission);
    }
    // The use is noted to the minute, and the key shows nowhere.
    let listed = admin.data(
        "{ serviceAccounts { id name scopes lastUsedAt revokedAt createdBy } }",
        json!({}),
    );
    let listed = single(listed["serviceAccounts"].clone());
    assert_eq!(listed["id"], id);
    assert!(
        text(&listed["lastUsedAt"]).ends_with(":00.000000Z"),
        "{listed}"
    );
    let other = Company::new()
        .admin()
        .data("{ serviceAccounts { id } }", json!({}));
    assert_eq!(other["serviceAccounts"], json!([]));
}

#[test]
fn a_service_account_never_approves_and_its_key_ends() {
    let company = Company::new();
    let admin = company.admin();
    let create = |more: Value| {
        let mut input = json!({ "name": "Script", "scopes": ["READ_COMPANY"], "expiresOn": today().to_string() });
        input
            .as_object_mut()
            .expect("input")
            .extend(more.as_object().expect("more").clone());
        mutate(
            &admin,
            "createServiceAccount",
            input,
            "serviceAccount { id scopes } key",
        )
    };
    let day = |days: i64| (today() + chrono::Duration::days(days)).to_string();
    for (more, field) in [
        (json!({ "scopes": ["DECIDE_LOSSES"] }), json!(["scopes"])),
        (
            json!({ "scopes": ["READ_COMPANY", "MANAGE_MEMBERS"] }),
            json!(["scopes"]),
        ),
        (
            json!({ "scopes": ["READ_COMPANY", "FLY"] }),
            json!(["scopes", "1"]),
        ),
        (json!({ "scopes": [] }), json!(["scopes"])),
        (json!({ "readSetOf": "SALES" }), json!(["readSetOf"])),
        (json!({ "expiresOn": day(-1) }), json!(["expiresOn"])),
        (json!({ "expiresOn": day(800) }), json!(["expiresOn"])),
        (json!({ "name": " " }), json!(["name"])),
    ] {
        let refused = create(more.clone());
        let error = &refused["userErrors"][0];
        assert_eq!(
            (&error["code"], &error["field"]),
            (&json!("INVALID"), &field),
            "{more}: {refused}"
        );
        assert!(refused["key"].is_null() && refused["serviceAccount"].is_null());
    }
    let bi = create(json!({ "scopes": [], "readSetOf": "BI_READER" }));
    assert_eq!(
        bi["serviceAccount"]["scopes"],
        json!([
            "READ_COMPANY",
            "READ_CLIENTS",
            "READ_DOCUMENTS",
            "READ_REPORTS",
            "READ_PROVISION"
        ])
    );
    assert_eq!(
        create(json!({ "name": "SCRIPT" }))["userErrors"][0]["code"],
        "DUPLICATE"
    );

    let works = |key: &Value| status(key) == 200;
    let (id, first) = (&bi["serviceAccount"]["id"], &bi["key"]);
    assert!(works(first));
    let rotate = json!({ "serviceAccount": id, "expiresOn": day(5) });
    let second = mutate(
        &admin,
        "rotateServiceAccount",
        rotate.clone(),
        "serviceAccount { expiresOn rotatedAt } key",
    );
    assert_eq!(second["serviceAccount"]["expiresOn"], day(5));
    assert!(!works(first) && works(&second["key"]));
    let revoke = format!(
        "mutation {{ revokeServiceAccount(serviceAccount: {id}) {{ serviceAccount {{ revokedAt }} userErrors {{ code }} }} }}"
    );
    let revoked = admin.done(&revoke, json!({}));
    assert!(revoked["serviceAccount"]["revokedAt"].is_string());
    assert!(!works(&second["key"]));
    let again = mutate(&admin, "rotateServiceAccount", rotate, "key");
    assert_eq!(again["userErrors"][0]["code"], "WRONG_STATE");
    // The name is free again, and the operator has the same on the command line.
    let key = command(&[
        "key",
        "create",
        "--company",
        &company.id,
        "--name",
        "Script",
        "--scopes",
        "READ_COMPANY",
    ]);
    assert!(works(&json!(key)));
    let director = company.as_role("DIRECTOR").run(&revoke, json!({}));
    assert_eq!(codes(&director), ["FORBIDDEN"]);
}

#[test]
fn a_key_is_the_password_of_tools_that_fetch_files() {
    let company = Company::new();
    let admin = company.admin();
    let (_, key) = account(
        &admin,
        "Excel",
        &["READ_COMPANY", "READ_JOURNAL", "EXPORT_ACCOUNTING"],
    );
    let (_, narrow) = account(&admin, "Étroit", &["READ_COMPANY"]);
    let basic = |key: &str| format!("Basic {}", STANDARD.encode(format!("anybody:{key}")));
    let path = format!("/export/fec/{}", crate::harness::year());
    let fetch = |header: String| send(&path, &[("authorization", header)], None).status;
    // 422: the company has no SIREN yet, so the file is refused; the caller is not.
    assert_eq!(
        fetch(basic(&key)),
        fetch(format!("Bearer {}", admin.token()))
    );
    assert_ne!(fetch(basic(&key)), 401);
    assert_eq!(
        (
            fetch(basic(&narrow)),
            fetch(basic("enc_1")),
            fetch(basic(admin.token()))
        ),
        (403, 401, 401)
    );
    let query = json!({ "query": "{ viewer { name } }" });
    let graphql = send("/graphql", &[("authorization", basic(&key))], Some(&query));
    assert_eq!(graphql.status, 401);
}

#[test]
fn an_invitation_is_accepted_once_by_whom_it_is_for() {
    let company = Company::new();
    let admin = company.admin();
    let email = email();
    let void = invited(&company, &email, "AUDITOR");
    let token = invited(&company, &email, "CREDIT_MANAGER");
    let accept = |token: &str, password: &str| {
        auth(
            "accept",
            json!({ "token": token, "name": "Camille", "password": password }),
        )
    };
    assert_eq!(
        accept(&void, PASSWORD).status,
        401,
        "the second invitation took its place"
    );
    assert_eq!(accept("encinv_1", PASSWORD).status, 401);
    for weak in ["short", "motdepasse123", &email] {
        let refused = accept(&token, weak);
        let error = refused.json()["errors"][0]["extensions"].clone();
        assert_eq!(
            (refused.status, &error["field"]),
            (422, &json!("password")),
            "{weak}"
        );
    }
    let list = "{ members(withInvitations: true) { email role name invitation { id expiresAt invitedBy } } }";
    let pending = |api: &Api| {
        let members = api.data(list, json!({}))["members"].clone();
        let members = members.as_array().expect("members").clone();
        members
            .into_iter()
            .filter(|member| !member["invitation"].is_null())
            .collect::<Vec<_>>()
    };
    assert_eq!(single(json!(pending(&admin)))["email"], email);
    assert_eq!(
        admin.data("{ members { email } }", json!({}))["members"],
        json!([])
    );
    let accepted = accept(&token, PASSWORD);
    assert_eq!(
        (accepted.status, &accepted.json()["role"]),
        (200, &json!("CREDIT_MANAGER")),
        "{}",
        accepted.text
    );
    assert_eq!(status(&accepted.json()["token"]), 200);
    assert!(pending(&admin).is_empty());
    assert_eq!(accept(&token, PASSWORD).status, 401);
    let again = mutate(
        &admin,
        "inviteMember",
        json!({ "email": email, "role": "ADMIN" }),
        "token",
    );
    assert_eq!(again["userErrors"][0]["code"], "DUPLICATE");

    // Taken back before it was accepted.
    let other = self::email();
    let token = invited(&company, &other, "AUDITOR");
    let id = pending(&admin)[0]["invitation"]["id"].clone();
    let revoke =
        format!("mutation {{ revokeInvitation(invitation: {id}) {{ userErrors {{ code }} }} }}");
    admin.done(&revoke, json!({}));
    assert_eq!(accept(&token, PASSWORD).status, 401);
    let twice = admin.data(&revoke, json!({}));
    assert_eq!(
        twice["revokeInvitation"]["userErrors"][0]["code"],
        "WRONG_STATE"
    );
    let foreign = Company::new().admin().data(&revoke, json!({}));
    assert_eq!(
        foreign["revokeInvitation"]["userErrors"][0]["code"],
        "NOT_FOUND"
    );

    // From the command line.
    let third = self::email();
    let token = command(&[
        "member",
        "add",
        "--company",
        &company.id,
        "--email",
        &third,
        "--role",
        "auditor",
    ]);
    assert!(
        command(&["member", "list", "--company", &company.id])
            .contains(&format!("AUDITOR\t{third}\tinvited until"))
    );
    assert_eq!(accept(&token, PASSWORD).status, 200);
}

#[test]
fn whoever_invites_gets_no_hold_on_an_account_of_another_company() {
    let (ours, theirs) = (Company::new(), Company::new());
    // Known with a password: only that one is accepted, and it stays.
    let known = email();
    member(&ours, &known, "ADMIN");
    let token = invited(&theirs, &known, "AUDITOR");
    let accept = |token: &str, password: &str| {
        auth(
            "accept",
            json!({ "token": token, "name": "Eve", "password": password }),
        )
    };
    assert_eq!(accept(&token, "another long password").status, 401);
    assert_eq!(accept(&token, PASSWORD).status, 200);
    assert_eq!(
        auth(
            "login",
            json!({ "email": known, "password": "another long password" })
        )
        .status,
        401
    );
    // Known without a password, as a member elsewhere: nobody sets one from here.
    let passwordless = email();
    let input = json!({ "email": passwordless, "name": "Camille", "role": "ADMIN" });
    mutate(&ours.admin(), "saveMember", input, "member { id }");
    let token = invited(&theirs, &passwordless, "AUDITOR");
    let refused = accept(&token, PASSWORD);
    assert_eq!(
        (refused.status, codes(&refused.json())),
        (422, vec!["WRONG_STATE"])
    );
}

#[test]
fn whoever_made_an_account_elsewhere_is_not_trusted_here() {
    let (ours, theirs) = (Company::new(), Company::new());
    let (known, admin) = (email(), email());
    member(&ours, &known, "AUDITOR");
    member(&theirs, &admin, "ADMIN");
    // An ADMIN who does not know the person: another company has chosen the password.
    let add = |api: &Api| {
        let input = json!({ "email": known, "name": "Camille", "role": "DIRECTOR" });
        let saved = mutate(api, "saveMember", input, "member { name }");
        let error = &saved["userErrors"][0];
        json!([error["code"], error["field"]])
    };
    let person = || Api::with(text(&login(&admin)["token"]));
    assert_eq!(add(&person()), json!(["WRONG_STATE", ["email"]]));
    let there = json!({ "email": known, "password": PASSWORD, "company": theirs.id });
    assert_ne!(auth("login", there.clone()).status, 200);
    // One who is in a company with them does.
    let token = invited(&ours, &admin, "AUDITOR");
    let accepted = auth("accept", json!({ "token": token, "password": PASSWORD }));
    assert_eq!(accepted.status, 200);
    let input = json!({ "email": admin, "password": PASSWORD, "company": theirs.id });
    let session = auth("login", input).json();
    assert_eq!(
        add(&Api::with(text(&session["token"]))),
        json!([null, null])
    );
    assert_eq!(auth("login", there).status, 200);
}

#[test]
fn an_invitation_ends_with_what_comes_after_it() {
    let company = Company::new();
    let admin = company.admin();
    let accept = |token: &str| {
        let input = json!({ "token": token, "name": "Camille", "password": PASSWORD });
        auth("accept", input).status
    };
    // A role that was given meanwhile, and the person may have been removed since.
    let known = email();
    let first = invited(&company, &known, "ADMIN");
    let input = json!({ "email": known, "name": "Camille", "role": "AUDITOR" });
    let saved = mutate(&admin, "saveMember", input, "member { id }");
    assert_eq!(accept(&first), 401);
    let remove = format!(
        "mutation {{ removeMember(member: {}) {{ userErrors {{ code }} }} }}",
        saved["member"]["id"]
    );
    admin.done(&remove, json!({}));
    assert_eq!(accept(&first), 401);
    let second = invited(&company, &known, "AUDITOR");
    assert_eq!(accept(&second), 200);
}

#[test]
fn a_session_goes_to_another_company_of_its_person() {
    let (one, two, other) = (Company::new(), Company::new(), Company::new());
    let email = email();
    member(&one, &email, "AUDITOR");
    let token = invited(&two, &email, "DIRECTOR");
    auth("accept", json!({ "token": token, "password": PASSWORD }));
    let session = login(&email);
    assert_eq!(session["company"]["id"], json!(one.id));
    let companies = |token: &Value| {
        let data =
            Api::with(text(token)).data("{ viewer { companies { id name role } } }", json!({}));
        data["viewer"]["companies"]
            .as_array()
            .expect("companies")
            .clone()
    };
    let seen = companies(&session["token"]);
    assert_eq!(seen.len(), 2);
    for (company, role) in [(&one, "AUDITOR"), (&two, "DIRECTOR")] {
        let shown = json!({ "id": company.id, "name": "Test", "role": role });
        assert!(seen.contains(&shown), "{seen:?}");
    }
    let switch =
        |token: &Value, company: &str| auth_as(token, "switch", json!({ "company": company }));
    let there = switch(&session["token"], &two.id).json();
    assert_eq!(
        (&there["role"], &there["company"]["id"]),
        (&json!("DIRECTOR"), &json!(two.id))
    );
    assert_eq!(
        (status(&there["token"]), status(&session["token"])),
        (200, 200)
    );
    for company in [other.id.as_str(), "com_1", ""] {
        assert_eq!(switch(&session["token"], company).status, 401, "{company}");
    }
    // A printed token has no session to take along.
    let printed = json!(command(&[
        "token",
        "--company",
        &one.id,
        "--role",
        "AUDITOR",
        "--user",
        &email
    ]));
    assert_eq!(switch(&printed, &two.id).status, 401);
    let by_company = auth(
        "login",
        json!({ "email": email, "password": PASSWORD, "company": two.id }),
    );
    assert_eq!(by_company.json()["role"], "DIRECTOR");
    // All of one log-in end together.
    assert_eq!(auth_as(&there["token"], "logout", json!({})).status, 204);
    assert_eq!(
        (status(&there["token"]), status(&session["token"])),
        (401, 401)
    );
    assert_eq!(status(&by_company.json()["token"]), 200);
}

#[test]
fn another_password_ends_the_other_sessions() {
    let company = Company::new();
    let email = email();
    let other = member(&company, &email, "AUDITOR");
    let here = login(&email);
    let change = |old: &str, new: &str| {
        auth_as(
            &here["token"],
            "password",
            json!({ "oldPassword": old, "newPassword": new }),
        )
    };
    assert_eq!(change("wrong", "sept longues minutes").status, 401);
    let weak = change(PASSWORD, "password1234");
    assert_eq!(
        (
            weak.status,
            &weak.json()["errors"][0]["extensions"]["field"]
        ),
        (422, &json!("newPassword"))
    );
    assert_eq!(status(&other["token"]), 200);
    assert_eq!(change(PASSWORD, "sept longues minutes").status, 204);
    assert_eq!((status(&here["token"]), refresh(&here).status), (200, 200));
    assert_eq!(
        (status(&other["token"]), refresh(&other).status),
        (401, 401)
    );
    assert_eq!(
        auth("login", json!({ "email": email, "password": PASSWORD })).status,
        401
    );
    let renewed = auth(
        "login",
        json!({ "email": email, "password": "sept longues minutes" }),
    );
    assert_eq!(renewed.status, 200);
    let script = json!(company.admin().token());
    let nobody = auth_as(
        &script,
        "password",
        json!({ "oldPassword": PASSWORD, "newPassword": PASSWORD }),
    );
    assert_eq!(nobody.status, 401);
}
