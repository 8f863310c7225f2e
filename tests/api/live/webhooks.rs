//! Webhooks: signed, sent again after a failure, replayed, in order, by one server at a time.

use serde_json::{Value, json};

use super::receiver::Hook;
use super::{eventually, issue, now};
use crate::harness::{Api, Company, Second, codes};

fn mutate(api: &Api, mutation: &str, input: Value, fields: &str) -> Value {
    let kind = format!("{}{}", mutation[..1].to_uppercase(), &mutation[1..]);
    let kind = match mutation {
        "deleteWebhook" | "testWebhook" => "WebhookId".to_owned(),
        _ => kind,
    };
    let document = format!(
        "mutation($input: {kind}Input!) {{ {mutation}(input: $input) {{ {fields} userErrors {{ code field message }} }} }}"
    );
    api.data(&document, json!({ "input": input }))[mutation].clone()
}

fn create(api: &Api, input: Value) -> Value {
    mutate(
        api,
        "createWebhook",
        input,
        "secret webhook { id url topics active cursor failures pausedUntil }",
    )
}

/// The latest messages to a webhook.
fn deliveries(api: &Api, webhook: &Value) -> Vec<Value> {
    let document = "query($id: ID!) { webhookDeliveries(webhook: $id) { nodes { id kind subjectId status attempts lastStatus lastError nextAt finishedAt } } }";
    let found = api.data(document, json!({ "id": webhook }));
    found["webhookDeliveries"]["nodes"]
        .as_array()
        .expect("messages")
        .clone()
}

#[test]
fn messages_are_signed_retried_and_replayed() {
    let api = Company::new().admin();
    api.client("C001");
    let start = now(&api);
    let hook = Hook::answering(&[500, 302]);
    let made = create(&api, json!({ "url": hook.url, "topics": ["DOCUMENTS"] }));
    let (secret, webhook) = (made["secret"].as_str().expect("a secret"), &made["webhook"]);
    assert_eq!(webhook["active"], true);
    let invoice = issue(&api, "C001", "FA-1");
    let first = hook.next();
    assert!(first.is_signed_with(secret), "{first:?}");
    let body = first.json();
    assert_eq!(
        (&body["topic"], &body["kind"], &body["subjectId"]),
        (
            &json!("DOCUMENTS"),
            &json!("INVOICE_ISSUED"),
            &invoice["id"]
        )
    );
    assert_eq!(body["id"], first.headers["webhook-id"]);
    assert!(
        body["clientId"]
            .as_str()
            .is_some_and(|id| id.starts_with("cli_"))
    );
    // Refused, then sent elsewhere: it comes again with the same id, and nobody follows the redirection.
    for _ in 0..2 {
        let again = hook.next();
        assert!(again.is_signed_with(secret));
        assert_eq!(again.headers["webhook-id"], first.headers["webhook-id"]);
        assert_eq!(again.json(), body);
    }
    let told = eventually("delivered", || {
        deliveries(&api, &webhook["id"])
            .into_iter()
            .find(|message| message["status"] == "DELIVERED")
    });
    assert_eq!(
        (&told["attempts"], &told["lastStatus"], &told["nextAt"]),
        (&json!(3), &json!(200), &Value::Null)
    );
    let replay = json!({ "webhook": webhook["id"], "after": start });
    let replayed = mutate(&api, "replayWebhook", replay, "webhook { id }");
    assert_eq!(replayed["userErrors"], json!([]));
    let second = hook.next();
    assert_ne!(second.headers["webhook-id"], first.headers["webhook-id"]);
    assert_eq!(second.json()["cursor"], body["cursor"]);
}

#[test]
fn messages_come_once_and_in_order_from_several_servers() {
    let api = Company::new().admin();
    api.client("C001");
    let second = Second::start(&[]);
    let hook = Hook::answering(&[]);
    create(&api, json!({ "url": hook.url, "topics": ["DOCUMENTS"] }));
    let issued: Vec<Value> = (0..12)
        .map(|number| issue(&api, "C001", &format!("FA-{number}"))["id"].clone())
        .collect();
    let received: Vec<Value> = issued
        .iter()
        .map(|_| hook.next().json()["subjectId"].clone())
        .collect();
    assert_eq!(received, issued);
    assert!(hook.is_quiet());
    second.terminate();
    assert!(second.ended_well());
}

#[test]
fn webhooks_are_set_up_tested_stopped_and_ended() {
    let company = Company::new();
    let api = company.admin();
    let hook = Hook::answering(&[]);
    let made = create(&api, json!({ "url": hook.url }));
    let id = &made["webhook"]["id"];
    let test = |api: &Api| {
        mutate(
            api,
            "testWebhook",
            json!({ "webhook": id }),
            "delivery { id kind status }",
        )
    };
    let queued = test(&api);
    assert_eq!(queued["delivery"]["kind"], "TEST", "{queued}");
    let received = hook.next();
    assert_eq!(received.headers["webhook-id"], queued["delivery"]["id"]);
    assert_eq!(received.json()["cursor"], Value::Null);
    let stop = json!({ "webhook": id, "active": false, "topics": ["CLIENTS"] });
    let stopped = mutate(&api, "updateWebhook", stop, "webhook { active topics }");
    assert_eq!(
        stopped["webhook"],
        json!({ "active": false, "topics": ["CLIENTS"] })
    );
    assert_eq!(test(&api)["userErrors"][0]["code"], "WRONG_STATE");
    api.client("C001");
    let go = json!({ "webhook": id, "active": true });
    mutate(&api, "updateWebhook", go, "webhook { active }");
    assert_eq!(
        hook.next().json()["kind"],
        "CLIENT_OPENED",
        "what was missed"
    );
    let ended = mutate(
        &api,
        "deleteWebhook",
        json!({ "webhook": id }),
        "webhook { id }",
    );
    assert_eq!(ended, json!({ "webhook": null, "userErrors": [] }));
    assert_eq!(test(&api)["userErrors"][0]["code"], "NOT_FOUND");
    let left = api.data("{ webhooks { id } }", json!({}));
    assert_eq!(left["webhooks"], json!([]));
    assert_eq!(deliveries(&api, id).len(), 2);
}

#[test]
fn webhooks_are_refused_to_wrong_addresses_and_people() {
    let company = Company::new();
    let api = company.admin();
    for url in [
        "",
        "ftp://example.com/",
        "https://me:secret@example.com/",
        "/hook",
    ] {
        let refused = create(&api, json!({ "url": url }));
        assert_eq!(refused["userErrors"][0]["code"], "INVALID", "{url}");
        assert_eq!(refused["userErrors"][0]["field"], json!(["url"]));
        assert_eq!(
            (&refused["secret"], &refused["webhook"]),
            (&Value::Null, &Value::Null)
        );
    }
    let after = create(&api, json!({ "url": "https://example.com/", "after": "x" }));
    assert_eq!(after["userErrors"][0]["field"], json!(["after"]));
    let made = create(
        &api,
        json!({ "url": "https://example.com/", "topics": ["WORKLIST"] }),
    );
    let stranger = Company::new().admin();
    let taken = json!({ "webhook": made["webhook"]["id"] });
    let refused = mutate(&stranger, "deleteWebhook", taken, "webhook { id }");
    assert_eq!(refused["userErrors"][0]["code"], "NOT_FOUND");
    let asked = "{ webhooks { id url } }";
    assert_eq!(stranger.data(asked, json!({}))["webhooks"], json!([]));
    for role in ["CREDIT_MANAGER", "SALES", "AUDITOR", "BI_READER"] {
        let answer = company.as_role(role).run(asked, json!({}));
        assert_eq!(codes(&answer), ["FORBIDDEN"], "{role}");
    }
}
