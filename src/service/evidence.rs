//! The evidence file (dossier de preuve): one archive of all that proves a claim, sealed so that a later change is
//! found out.
//!
//! `manifest.json` names every file with its SHA-256; the digest of the manifest is the seal, which the company keeps.
//! The same record on the same day gives the same archive, byte for byte.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::letter::{self, Writer};
use super::{books, file};
use crate::domain::access::Caller;
use crate::domain::hex::hex;
use crate::domain::ids::{
    CaseId, ClientId, DisputeId, DocumentId, DunningActionId, Id, ItemId, NoteId, PlanId, PromiseId,
};
use crate::domain::letter::{Kind, Language};
use crate::domain::money::Minor;
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::{Error, Result};
use crate::formats::pdf::{self, Block, Column, Table};
use crate::objects::Objects;
use crate::store::client::Client;
use crate::store::file::Seal;
use crate::store::list::{Direction, Keyset, Sort};
use crate::store::{self};

/// Most bytes of attached files in one archive.
const LARGEST: i64 = 100 * 1024 * 1024;
/// Most records of one kind in one archive.
const MOST: i64 = 1000;
const MANIFEST: &str = "manifest.json";

/// What an archive is about.
struct Scope {
    client: Client,
    /// The invoices that it is about; all that have something open, or are disputed, for a client.
    invoices: Vec<DocumentId>,
    /// Whether everything of the client belongs to it.
    whole: bool,
    dispute: Option<DisputeId>,
    case: Option<CaseId>,
    name: String,
}

/// An archive that was made.
pub struct Archive {
    pub name: String,
    pub bytes: Vec<u8>,
    pub manifest_sha256: String,
}

/// Makes the evidence file of a client, an invoice, a dispute or a case, and keeps its seal.
pub fn archive(
    conn: &mut PgConnection,
    caller: &Caller,
    objects: &Objects,
    id: &str,
) -> Result<Archive> {
    let scope = scope(conn, caller, id)?;
    let mut files = Files::default();
    let mut story = Vec::new();
    documents(conn, caller, &scope, &mut files, &mut story)?;
    reminders(conn, caller, &scope, &mut files, &mut story)?;
    contacts(conn, caller, &scope, &mut files, &mut story)?;
    disputes(conn, caller, &scope, &mut files, &mut story)?;
    cases(conn, caller, &scope, &mut files, &mut story)?;
    attached(conn, caller, objects, &scope, &mut files)?;
    sheets(conn, caller, objects, &scope, story, &mut files)?;
    sealed(conn, caller, &scope, files)
}

fn scope(conn: &mut PgConnection, caller: &Caller, id: &str) -> Result<Scope> {
    let company = caller.company;
    let subject = file::subject(conn, caller, id)?;
    let client = subject
        .client
        .ok_or_else(|| Refusal::not_found("subject", "client's record"))?;
    let client = store::client::by_id(conn, company, client)?
        .ok_or_else(|| Refusal::not_found("subject", "client"))?;
    let mut scope = Scope {
        name: format!("client-{}", client.number),
        client,
        invoices: Vec::new(),
        whole: false,
        dispute: None,
        case: None,
    };
    let mut of_items = |conn: &mut PgConnection, ids: &[ItemId]| -> Result<()> {
        let items = store::item::by_ids(conn, company, ids)?;
        scope.invoices = items.iter().filter_map(|item| item.invoice_id).collect();
        Ok(())
    };
    match subject.kind {
        "DOCUMENT" => {
            let document = DocumentId(subject.id);
            let found = store::document::by_id(conn, company, document)?;
            scope.name = format!("facture-{}", found.map(|it| it.number).unwrap_or_default());
            scope.invoices = vec![document];
        }
        "DISPUTE" => {
            let dispute = store::dispute::by_id(conn, company, DisputeId(subject.id))?
                .ok_or_else(|| Refusal::not_found("subject", "dispute"))?;
            scope.name = format!("litige-{}", dispute.number);
            scope.invoices = vec![dispute.invoice_id];
            scope.dispute = Some(dispute.id);
        }
        "CASE" => {
            let lines = store::litigation::items_of(conn, company, CaseId(subject.id))?;
            let ids: Vec<ItemId> = lines.iter().map(|line| line.item_id).collect();
            of_items(conn, &ids)?;
            scope.whole = true;
            scope.case = Some(CaseId(subject.id));
            let case = store::litigation::by_ids(conn, company, &[CaseId(subject.id)])?.pop();
            scope.name = format!("dossier-{}", case.map(|it| it.number).unwrap_or_default());
        }
        "CLIENT" => {
            let open = store::item::open_of_client(conn, company, scope.client.id)?;
            scope.invoices = open.iter().filter_map(|item| item.invoice_id).collect();
            scope.whole = true;
        }
        _ => {
            return Err(Refusal::invalid(
                "subject",
                "an evidence file is of a client, an invoice, a dispute or a litigation case",
            )
            .into());
        }
    }
    scope.invoices.sort();
    scope.invoices.dedup();
    Ok(scope)
}

/// The files of an archive by path, and what is attached to which record.
#[derive(Default)]
struct Files {
    by_path: BTreeMap<String, Vec<u8>>,
    subjects: Vec<(Uuid, String)>,
}

impl Files {
    fn json(&mut self, path: &str, value: &Value) -> Result<()> {
        let mut bytes =
            serde_json::to_vec_pretty(value).map_err(|error| Error::Internal(error.to_string()))?;
        bytes.push(b'\n');
        self.by_path.insert(path.to_owned(), bytes);
        Ok(())
    }
}

/// A code as a French reader reads it.
fn french(code: &str) -> &str {
    match code {
        "EMAIL" => "courriel",
        "PHONE" | "CALL" => "appel",
        "LETTER" => "lettre",
        "REGISTERED_LETTER" => "lettre recommandée avec AR",
        "ELECTRONIC_REGISTERED_LETTER" => "lettre recommandée électronique",
        "FILE_TRANSFER" => "transmission du dossier",
        "DEPOSIT" => "dépôt",
        "ACKNOWLEDGMENT" => "avis de réception",
        "REFUSED" => "refus",
        "UNCLAIMED" => "pli non réclamé",
        "UNDELIVERED" => "pli non distribuable",
        "VISIT" => "visite",
        "NOTE" => "note",
        "OPEN" => "ouverture",
        "UNDER_REVIEW" => "en cours d'examen",
        "ACCEPTED" => "accepté",
        "PARTLY_ACCEPTED" => "accepté en partie",
        "REJECTED" => "rejeté",
        "DOCUMENT_SENT" => "justificatif envoyé",
        "CREDIT_NOTE_ISSUED" => "avoir émis",
        "CLOSED" => "clôture",
        "WITHDRAWN" => "retrait",
        "ESCALATED" => "escalade",
        other => other,
    }
}

/// A line of the chronology: day, what, by whom.
struct Told {
    on: NaiveDate,
    what: String,
    by: String,
}

fn tell(story: &mut Vec<Told>, on: NaiveDate, what: String, by: &str) {
    story.push(Told {
        on,
        what,
        by: by.to_owned(),
    });
}

/// A part of a path: no separators, nothing hidden.
fn part(text: &str) -> String {
    let safe: String = text
        .chars()
        .map(|sign| {
            if sign.is_alphanumeric() || matches!(sign, '-' | '_' | '.' | ' ') {
                sign
            } else {
                '-'
            }
        })
        .collect();
    safe.trim_start_matches('.').to_owned()
}

fn money(minor: Minor, code: &str) -> Result<String> {
    Ok(books::currency(code)?.decimal(minor).to_string())
}

fn documents(
    conn: &mut PgConnection,
    caller: &Caller,
    scope: &Scope,
    files: &mut Files,
    story: &mut Vec<Told>,
) -> Result<()> {
    let company = caller.company;
    files.subjects.push((scope.client.id.0, "client".into()));
    let mut documents = store::document::by_ids(conn, company, &scope.invoices)?;
    documents.sort_by(|a, b| (a.issued_on, &a.number).cmp(&(b.issued_on, &b.number)));
    let snapshots: BTreeMap<DocumentId, Value> =
        store::document::snapshots(conn, company, &scope.invoices)?
            .into_iter()
            .collect();
    for document in &documents {
        let path = format!("invoices/{}", part(&document.number));
        files.subjects.push((document.id.0, path.clone()));
        let lines: Vec<Value> = store::document::lines(conn, company, &[document.id])?
            .iter()
            .map(|line| Ok(json!({ "description": line.description, "quantity": line.quantity, "net": money(line.net, &document.currency)? })))
            .collect::<Result<_>>()?;
        let items = store::item::debits_of_invoice(conn, company, document.id)?;
        let mut claims = Vec::new();
        for item in &items {
            files.subjects.push((item.id.0, path.clone()));
            claims.push(json!({
                "item": item.id.show(), "dueOn": item.due_on, "amount": money(item.amount, &item.currency)?,
                "open": money(item.open_amount, &item.currency)?, "settledOn": item.settled_on,
            }));
        }
        let value = json!({
            "number": document.number, "issuedOn": document.issued_on, "dueOn": document.due_on, "currency": document.currency,
            "net": money(document.net, &document.currency)?, "vat": money(document.vat, &document.currency)?,
            "total": money(document.total, &document.currency)?, "purchaseOrder": document.purchase_order,
            "asIssued": snapshots.get(&document.id), "lines": lines, "claims": claims,
        });
        files.json(&format!("{path}/invoice.json"), &value)?;
        tell(
            story,
            document.issued_on,
            format!(
                "Facture {} émise, {} {}",
                document.number,
                money(document.total, &document.currency)?,
                document.currency
            ),
            &document.recorded_by,
        );
        let ids: Vec<ItemId> = items.iter().map(|item| item.id).collect();
        for item in &ids {
            for row in store::matching::of_debit(conn, company, *item)? {
                let what = format!(
                    "{} {} imputés sur {} ({})",
                    money(row.amount, &row.currency)?,
                    row.currency,
                    document.number,
                    row.credit
                );
                tell(story, row.effective_on, what, &row.recorded_by);
            }
        }
    }
    Ok(())
}

fn reminders(
    conn: &mut PgConnection,
    caller: &Caller,
    scope: &Scope,
    files: &mut Files,
    story: &mut Vec<Told>,
) -> Result<()> {
    let company = caller.company;
    let from = store::dunning::actions_from(company, Some(scope.client.id));
    let ids: Vec<DunningActionId> = all(conn, &from, "t.done_on")?
        .into_iter()
        .map(DunningActionId)
        .collect();
    let mut actions = store::dunning::actions_by_ids(conn, company, &ids)?;
    actions.sort_by_key(|action| (action.done_on, action.id));
    let items = store::dunning::items_of_actions(conn, company, &ids)?;
    let proofs = store::dunning_run::proofs(conn, company, &ids)?;
    let mails = store::mail::of_actions(conn, company, &ids)?;
    let wanted: Vec<ItemId> = items.iter().map(|item| item.item_id).collect();
    let known: BTreeMap<ItemId, (String, Option<DocumentId>)> =
        store::item::by_ids(conn, company, &wanted)?
            .into_iter()
            .map(|item| (item.id, (item.reference, item.invoice_id)))
            .collect();
    let mut listed = Vec::new();
    for action in &actions {
        let of: Vec<_> = items
            .iter()
            .filter(|item| item.action_id == action.id)
            .collect();
        let concerned = scope.whole
            || of.iter().any(|item| {
                known
                    .get(&item.item_id)
                    .and_then(|(_, invoice)| *invoice)
                    .is_some_and(|id| scope.invoices.contains(&id))
            });
        if !concerned {
            continue;
        }
        files.subjects.push((
            action.id.0,
            format!("reminders/{}-level-{}", action.done_on, action.level),
        ));
        let claims: Vec<Value> = of
            .iter()
            .map(|item| {
                Ok(json!({
                    "reference": known.get(&item.item_id).map(|(reference, _)| reference), "level": item.level,
                    "residual": money(item.residual, &action.currency)?, "disputed": money(item.disputed, &action.currency)?,
                    "claimed": money(item.claimed, &action.currency)?,
                }))
            })
            .collect::<Result<_>>()?;
        let proven: Vec<Value> = proofs
            .iter()
            .filter(|proof| proof.action_id == action.id)
            .map(|proof| json!({ "kind": proof.kind, "happenedOn": proof.happened_on, "reference": proof.reference, "recordedBy": proof.recorded_by }))
            .collect();
        let sent: Vec<Value> = mails
            .iter()
            .filter(|mail| mail.action_id == Some(action.id))
            .map(|mail| json!({ "to": mail.recipient, "subject": mail.subject, "status": mail.status, "sentAt": mail.sent_at, "text": mail.body }))
            .collect();
        listed.push(json!({
            "id": action.id.show(), "doneOn": action.done_on, "level": action.level, "channel": action.channel, "tone": action.tone,
            "claimed": money(action.claimed, &action.currency)?, "currency": action.currency, "recipient": action.recipient,
            "proof": action.proof, "note": action.note, "scenario": format!("{} {}", action.scenario, action.scenario_version),
            "recordedAt": action.recorded_at, "recordedBy": action.recorded_by, "claims": claims, "proofs": proven, "mails": sent,
        }));
        let what = format!(
            "Relance de niveau {} ({}), {} {} réclamés",
            action.level,
            french(&action.channel),
            money(action.claimed, &action.currency)?,
            action.currency
        );
        tell(story, action.done_on, what, &action.recorded_by);
        for proof in proofs.iter().filter(|proof| proof.action_id == action.id) {
            tell(
                story,
                proof.happened_on,
                format!("{} {}", french(&proof.kind), proof.reference),
                &proof.recorded_by,
            );
        }
    }
    files.json("reminders.json", &json!(listed))
}

/// The ids of a list, oldest first.
fn all(
    conn: &mut PgConnection,
    from: &store::list::Sql,
    column: &'static str,
) -> Result<Vec<Uuid>> {
    let sort = Sort {
        column,
        sql_type: "date",
        direction: Direction::Descending,
    };
    let page = Keyset {
        size: MOST,
        from: None,
        backward: false,
    };
    let keys = store::list::keys(conn, from, sort, &page)?;
    Ok(keys.keys.into_iter().map(|key| key.id).collect())
}

/// Calls and notes, promises, plans: of the client as a whole.
fn contacts(
    conn: &mut PgConnection,
    caller: &Caller,
    scope: &Scope,
    files: &mut Files,
    story: &mut Vec<Told>,
) -> Result<()> {
    if !scope.whole {
        return Ok(());
    }
    let (company, client): (_, ClientId) = (caller.company, scope.client.id);
    let from = store::collection::notes_from(company, Some(client));
    let ids: Vec<NoteId> = all(conn, &from, "t.done_on")?
        .into_iter()
        .map(NoteId)
        .collect();
    let mut listed = Vec::new();
    for note in store::collection::notes_by_ids(conn, company, &ids)? {
        tell(
            story,
            note.done_on,
            format!("{} : {}", french(&note.kind), note.note),
            &note.recorded_by,
        );
        listed.push(json!({
            "doneOn": note.done_on, "kind": note.kind, "outcome": note.outcome, "spokeTo": note.spoke_to, "note": note.note,
            "followUpOn": note.follow_up_on, "recordedAt": note.recorded_at, "recordedBy": note.recorded_by,
        }));
    }
    files.json("calls.json", &json!(listed))?;
    let from = store::dunning::promises_from(company, Some(client));
    let ids: Vec<PromiseId> = all(conn, &from, "t.due_on")?
        .into_iter()
        .map(PromiseId)
        .collect();
    let mut promises = store::dunning::promises_by_ids(conn, company, &ids)?;
    promises.sort_by_key(|promise| (promise.promised_on, promise.id));
    let paid = store::dunning::paid(conn, company, &ids, caller.today)?;
    let mut listed = Vec::new();
    for promise in &promises {
        let paid = paid
            .iter()
            .find(|paid| paid.promise_id == promise.id)
            .map_or(0, |paid| paid.paid);
        let amount = money(promise.amount, &promise.currency)?;
        files.subjects.push((promise.id.0, "promises".into()));
        if let Some(cancelled) = promise.cancelled_on {
            let why = promise.cancelled_reason.clone().unwrap_or_default();
            let by = promise.cancelled_by.clone().unwrap_or_default();
            tell(
                story,
                cancelled,
                format!("Promesse de {amount} {} retirée : {why}", promise.currency),
                &by,
            );
        }
        tell(
            story,
            promise.promised_on,
            format!(
                "Promesse de {amount} {} pour le {}",
                promise.currency, promise.due_on
            ),
            &promise.recorded_by,
        );
        listed.push(json!({
            "promisedOn": promise.promised_on, "dueOn": promise.due_on, "amount": amount, "currency": promise.currency,
            "paid": money(paid, &promise.currency)?, "outcome": super::dunning::outcome(promise, paid, caller.today),
            "note": promise.note, "recordedBy": promise.recorded_by,
            "cancelledOn": promise.cancelled_on, "cancelledReason": promise.cancelled_reason, "cancelledBy": promise.cancelled_by,
        }));
    }
    files.json("promises.json", &json!(listed))?;
    let from = store::collection::plans_from(company, Some(client));
    let ids: Vec<PlanId> = all(conn, &from, "t.agreed_on")?
        .into_iter()
        .map(PlanId)
        .collect();
    let mut plans = store::collection::plans_by_ids(conn, company, &ids)?;
    plans.sort_by_key(|plan| (plan.agreed_on, plan.id));
    let parts = store::collection::instalments_of(conn, company, &ids)?;
    let mut listed = Vec::new();
    for plan in &plans {
        files.subjects.push((plan.id.0, "plans".into()));
        let amount = money(plan.amount, &plan.currency)?;
        tell(
            story,
            plan.agreed_on,
            format!("Échéancier de {amount} {}", plan.currency),
            &plan.recorded_by,
        );
        let instalments: Vec<Value> = parts
            .iter()
            .filter(|part| part.plan_id == plan.id)
            .map(|part| Ok(json!({ "number": part.number, "dueOn": part.due_on, "amount": money(part.amount, &plan.currency)? })))
            .collect::<Result<_>>()?;
        listed.push(json!({ "agreedOn": plan.agreed_on, "amount": amount, "currency": plan.currency, "interest": plan.interest,
            "graceDays": plan.grace_days, "instalments": instalments, "cancelledOn": plan.cancelled_on, "recordedBy": plan.recorded_by }));
    }
    files.json("plans.json", &json!(listed))
}

fn disputes(
    conn: &mut PgConnection,
    caller: &Caller,
    scope: &Scope,
    files: &mut Files,
    story: &mut Vec<Told>,
) -> Result<()> {
    let company = caller.company;
    let filter = store::dispute::Filter {
        client: Some(scope.client.id),
        ..store::dispute::Filter::default()
    };
    let from = store::dispute::from(company, &filter);
    let ids: Vec<DisputeId> = all(conn, &from, "t.opened_on")?
        .into_iter()
        .map(DisputeId)
        .collect();
    let mut found = store::dispute::by_ids(conn, company, &ids)?;
    found.retain(|dispute| match scope.dispute {
        Some(only) => dispute.id == only,
        None => scope.whole || scope.invoices.contains(&dispute.invoice_id),
    });
    found.sort_by_key(|dispute| (dispute.opened_on, dispute.id));
    let ids: Vec<DisputeId> = found.iter().map(|dispute| dispute.id).collect();
    let events = store::dispute::events(conn, company, &ids)?;
    let mut listed = Vec::new();
    for dispute in &found {
        files
            .subjects
            .push((dispute.id.0, format!("disputes/{}", part(&dispute.number))));
        let history: Vec<Value> = events
            .iter()
            .filter(|event| event.dispute_id == dispute.id)
            .map(|event| {
                let what = french(event.status.as_deref().unwrap_or("NOTE"));
                tell(story, event.happened_on, format!("Litige {} : {what} {}", dispute.number, event.note), &event.recorded_by);
                json!({ "happenedOn": event.happened_on, "status": event.status, "note": event.note, "recordedAt": event.recorded_at, "recordedBy": event.recorded_by })
            })
            .collect();
        listed.push(json!({
            "number": dispute.number, "reason": dispute.reason, "kind": dispute.kind, "amount": money(dispute.amount, &dispute.currency)?,
            "currency": dispute.currency, "description": dispute.description, "openedOn": dispute.opened_on, "respondBy": dispute.respond_by,
            "status": dispute.status, "outcome": dispute.outcome, "decidedBy": dispute.decided_by, "closedOn": dispute.closed_on, "history": history,
        }));
    }
    files.json("disputes.json", &json!(listed))
}

fn cases(
    conn: &mut PgConnection,
    caller: &Caller,
    scope: &Scope,
    files: &mut Files,
    story: &mut Vec<Told>,
) -> Result<()> {
    let company = caller.company;
    let ids: Vec<CaseId> = match scope.case {
        Some(case) => vec![case],
        None if scope.whole => {
            let from = store::litigation::from(company, Some(scope.client.id), None);
            all(conn, &from, "t.opened_on")?
                .into_iter()
                .map(CaseId)
                .collect()
        }
        None => Vec::new(),
    };
    let mut listed = Vec::new();
    for case in store::litigation::by_ids(conn, company, &ids)? {
        files
            .subjects
            .push((case.id.0, format!("cases/{}", part(&case.number))));
        let history: Vec<Value> = store::litigation::events_of(conn, company, case.id)?
            .iter()
            .map(|event| {
                tell(story, event.happened_on, format!("{} : {} {}", case.number, event.kind, event.stage), &event.recorded_by);
                json!({ "happenedOn": event.happened_on, "kind": event.kind, "stage": event.stage, "reference": event.reference, "note": event.note, "recordedBy": event.recorded_by })
            })
            .collect();
        listed.push(json!({ "number": case.number, "claimed": money(case.claimed, &case.currency)?, "currency": case.currency, "openedOn": case.opened_on,
            "stage": case.stage, "handler": case.handler, "closedOn": case.closed_on, "outcome": case.outcome, "history": history }));
    }
    files.json("cases.json", &json!(listed))
}

/// What is attached to any of the records.
fn attached(
    conn: &mut PgConnection,
    caller: &Caller,
    objects: &Objects,
    scope: &Scope,
    files: &mut Files,
) -> Result<()> {
    let subjects: Vec<Uuid> = files.subjects.iter().map(|(id, _)| *id).collect();
    let kept = store::file::of_subjects(conn, caller.company, &subjects)?;
    let size: i64 = kept.iter().map(|file| file.bytes).sum();
    if size > LARGEST {
        return Err(Refusal::new(
            RefusalCode::Invalid,
            "subject",
            "more than 100 MB are attached: take the evidence file invoice by invoice",
        )
        .detail("client", scope.client.number.clone())
        .into());
    }
    for file in kept {
        let Some((_, folder)) = files.subjects.iter().find(|(id, _)| *id == file.subject_id) else {
            continue;
        };
        let short = &file.id.0.simple().to_string()[24..];
        let path = format!(
            "{folder}/{}-{short}-{}",
            file.kind.to_lowercase(),
            part(&file.name)
        );
        files
            .by_path
            .insert(path, objects.get(caller.company, &file.sha256)?);
    }
    Ok(())
}

/// The statement and the chronology, for people.
fn sheets(
    conn: &mut PgConnection,
    caller: &Caller,
    objects: &Objects,
    scope: &Scope,
    mut story: Vec<Told>,
    files: &mut Files,
) -> Result<()> {
    let writer = Writer::new(conn, caller, objects, caller.today)?;
    let used = letter::template(conn, caller, Kind::Statement, Language::French)?;
    let statement = letter::statement(conn, &writer, &used, &scope.client)?;
    files
        .by_path
        .insert("statement.pdf".into(), statement.pdf()?);
    story.sort_by_key(|told| told.on);
    let column = |title: &str, wide| Column {
        title: title.to_owned(),
        right: false,
        wide,
    };
    let chronology = Table {
        columns: vec![
            column("Date", false),
            column("Fait", true),
            column("Par", false),
        ],
        rows: story
            .into_iter()
            .map(|told| vec![told.on.format("%d/%m/%Y").to_string(), told.what, told.by])
            .collect(),
        total: Vec::new(),
    };
    let mut sheet = statement.sheet;
    sheet.subject = format!("Chronologie du dossier : {}", scope.client.name);
    sheet.blocks = vec![Block::Table(chronology)];
    files
        .by_path
        .insert("chronology.pdf".into(), pdf::letter(&sheet)?);
    Ok(())
}

/// Writes the archive with its manifest, and keeps the seal.
fn sealed(
    conn: &mut PgConnection,
    caller: &Caller,
    scope: &Scope,
    files: Files,
) -> Result<Archive> {
    let listed: Vec<Value> = files
        .by_path
        .iter()
        .map(|(path, bytes)| json!({ "path": path, "bytes": bytes.len(), "sha256": hex(&Sha256::digest(bytes)) }))
        .collect();
    let count = listed.len();
    let manifest = json!({
        "company": caller.company.show(), "client": { "id": scope.client.id.show(), "number": scope.client.number, "name": scope.client.name },
        "subject": scope.name, "asOf": caller.today, "files": listed,
    });
    let mut text =
        serde_json::to_vec_pretty(&manifest).map_err(|error| Error::Internal(error.to_string()))?;
    text.push(b'\n');
    let digest = hex(&Sha256::digest(&text));
    let seal = Seal {
        company_id: caller.company,
        manifest_sha256: digest.clone(),
        client_id: scope.client.id,
        subject: scope.name.clone(),
        files: i32::try_from(count).unwrap_or(i32::MAX),
        sealed_at: chrono::DateTime::UNIX_EPOCH,
        sealed_by: caller.author.clone(),
    };
    store::file::seal(conn, &seal)?;
    let bytes = zipped(&text, &files.by_path)
        .map_err(|error| Error::Internal(format!("an archive was not written: {error}")))?;
    Ok(Archive {
        name: format!("preuves-{}-{}.zip", part(&scope.name), caller.today),
        bytes,
        manifest_sha256: digest,
    })
}

fn zipped(manifest: &[u8], files: &BTreeMap<String, Vec<u8>>) -> zip::result::ZipResult<Vec<u8>> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let mut out = ZipWriter::new(Cursor::new(Vec::new()));
    out.start_file(MANIFEST, options)?;
    out.write_all(manifest)?;
    for (path, bytes) in files {
        out.start_file(path.as_str(), options)?;
        out.write_all(bytes)?;
    }
    Ok(out.finish()?.into_inner())
}

/// What an archive turned out to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// The seal that the company keeps of it; none when it never left here so.
    pub sealed_at: Option<chrono::DateTime<chrono::Utc>>,
    pub manifest_sha256: String,
    /// Files that were changed, added or taken away since.
    pub changed: Vec<String>,
}

/// Whether an archive is the one that was sealed.
pub fn verify(conn: &mut PgConnection, caller: &Caller, bytes: &[u8]) -> Result<Verified> {
    let unreadable = || {
        Error::from(Refusal::new(
            RefusalCode::FileInvalid,
            "file",
            "this is no evidence file, or a damaged one: a ZIP with a manifest.json is needed",
        ))
    };
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|_| unreadable())?;
    let mut left = UNPACKED;
    let manifest = read(&mut archive, MANIFEST, &mut left).ok_or_else(unreadable)?;
    let digest = hex(&Sha256::digest(&manifest));
    let listed: Value = serde_json::from_slice(&manifest).map_err(|_| unreadable())?;
    let mut wanted: BTreeMap<String, String> = BTreeMap::new();
    for entry in listed["files"].as_array().ok_or_else(unreadable)? {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        wanted.insert(text("path"), text("sha256"));
    }
    let names: Vec<String> = archive
        .file_names()
        .map(|name| name.map(|name| name.into_owned()))
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| unreadable())?;
    let mut changed: Vec<String> = names
        .iter()
        .filter(|name| *name != MANIFEST && !wanted.contains_key(*name))
        .cloned()
        .collect();
    for (path, sha256) in wanted {
        let kept = read(&mut archive, &path, &mut left);
        if left == 0 {
            return Err(Refusal::new(
                RefusalCode::FileInvalid,
                "file",
                format!(
                    "this archive unpacks to more than {} MB: no evidence file does",
                    UNPACKED / 1024 / 1024
                ),
            )
            .into());
        }
        if kept.is_none_or(|bytes| hex(&Sha256::digest(&bytes)) != sha256) {
            changed.push(path);
        }
    }
    changed.sort();
    let seal = store::file::seal_of(conn, caller.company, &digest)?;
    Ok(Verified {
        sealed_at: seal.map(|seal| seal.sealed_at),
        manifest_sha256: digest,
        changed,
    })
}

/// What all files of an archive may unpack to, together.
const UNPACKED: u64 = 256 * 1024 * 1024;

/// A file of an archive, when there is so much `left` to unpack: a bomb is not unpacked, nor are a thousand small ones.
fn read(archive: &mut ZipArchive<Cursor<&[u8]>>, name: &str, left: &mut u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = archive.by_name(name).ok()?;
    let done = file.take(*left).read_to_end(&mut bytes);
    *left -= bytes.len() as u64;
    done.ok().map(|_| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_archive_unpacks_to_is_bounded_over_all_its_files() {
        let files: BTreeMap<String, Vec<u8>> =
            (0..3).map(|n| (format!("{n}"), vec![0; 1000])).collect();
        let bytes = zipped(b"{}", &files).expect("an archive");
        let mut archive = ZipArchive::new(Cursor::new(&bytes[..])).expect("an archive");
        let mut left = 2500;
        let mut sizes = Vec::new();
        for name in ["0", "1", "2", "0"] {
            sizes.push(read(&mut archive, name, &mut left).map(|it| it.len()));
        }
        // Cut short where nothing is left: the caller refuses the archive then.
        assert_eq!(sizes, [Some(1000), Some(1000), Some(500), Some(0)]);
        assert_eq!(left, 0);
        assert_eq!(read(&mut archive, "none", &mut left), None);
    }
}
