//! Four eyes (section 12): what needs a second person is not done but asked for; an approval does it, judged anew.

use chrono::{Days, Utc};
use diesel::Connection;
use diesel::pg::PgConnection;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use super::books::{self, Books};
use super::reference::Ref;
use super::{doubtful, provision_run};
use crate::domain::access::{Action, Caller, Role};
use crate::domain::approval::{ApprovalKind, ApprovalStatus, Granted, Ground, Matter, Need};
use crate::domain::ids::{ApprovalId, DocumentId, DoubtfulFileId, Id, ItemId, ProvisionRunId};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::{Error, Result};
use crate::store::approval::{Decider, Request};
use crate::store::{self};

/// A mutation as it was sent: what is kept when it has to wait.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The mutation.
    pub operation: String,
    /// Its input.
    pub input: Value,
    /// A digest of the input.
    pub hash: String,
    /// Why, for whoever approves.
    pub reason: Option<String>,
    /// Whether a key tells repeated calls apart from new ones.
    pub keyed: bool,
}

/// What a call made, or what waits instead.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Made<T> {
    /// Nothing was done: the request waits.
    Waiting {
        /// The request.
        approval_request: ApprovalId,
    },
    /// It was done.
    Done(T),
}

/// By the name alone: a list of one id would pass for the fields of a request.
impl<'de, T: DeserializeOwned> Deserialize<'de> for Made<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        use serde::de::Error as _;
        let value = Value::deserialize(deserializer)?;
        match value
            .as_object()
            .and_then(|fields| fields.get("approval_request"))
        {
            Some(id) => serde_json::from_value(id.clone())
                .map(|approval_request| Made::Waiting { approval_request }),
            None => serde_json::from_value(value).map(Made::Done),
        }
        .map_err(D::Error::custom)
    }
}

/// Lets a thing that was just done stand, or refuses it because a second person has to approve it. Called at the
/// end of the deed, when all other rules have been asked: a refusal takes everything back.
///
/// Without segregation of duties it stands, and that it would have needed one is recorded.
pub fn gate(conn: &mut PgConnection, caller: &Caller, books: &Books, matter: Matter) -> Result<()> {
    if let Some(granted) = &caller.approval {
        if !granted.covers(&matter) {
            return Err(Refusal::new(
                RefusalCode::Conflict,
                "",
                "this is no longer what was proposed: reject the request, and have it proposed anew",
            )
            .into());
        }
        let request = granted.request;
        return Ok(store::approval::set_result(
            conn,
            caller.company,
            request,
            &matter.result,
        )?);
    }
    let Some(need) = need_of(books, matter) else {
        return Ok(());
    };
    if books.company.segregation {
        return Err(refusal(need).into());
    }
    let request = Request {
        status: ApprovalStatus::Approved.code().to_owned(),
        decided_at: Some(Utc::now()),
        decided_by: Some(caller.author.clone()),
        segregated: Some(false),
        result_id: Some(need.matter.result.clone()),
        ..request(caller, ApprovalId::new(), &need)
    };
    Ok(store::approval::insert(conn, &request)?)
}

fn refusal(need: Need) -> Refusal {
    let why = match need.ground {
        Ground::Always => "this always needs a second person".to_owned(),
        Ground::AboveThreshold => match need.matter.amount {
            Some((amount, currency)) => {
                format!("{} is above the company's threshold", currency.show(amount))
            }
            None => "this is above the company's thresholds".to_owned(),
        },
        Ground::BackDated => "this takes effect on a day long past".to_owned(),
        Ground::SamePerson => {
            "the same person recorded a receipt and a credit for this item (R12.2)".to_owned()
        }
    };
    let mut refusal = Refusal::new(
        RefusalCode::ApprovalRequired,
        "",
        format!("{why}: another person has to approve it"),
    )
    .detail("kind", need.matter.kind.code())
    .detail("ground", need.ground.code())
    .detail("permission", need.approver.code());
    refusal.need = Some(Box::new(need));
    refusal
}

/// A request that waits; whoever makes another of it says so.
fn request(caller: &Caller, id: ApprovalId, need: &Need) -> Request {
    let matter = &need.matter;
    Request {
        company_id: caller.company,
        id,
        kind: matter.kind.code().to_owned(),
        ground: need.ground.code().to_owned(),
        approver: need.approver.code().to_owned(),
        client_id: matter.client,
        document_id: matter.document,
        amount: matter.amount.map(|(amount, _)| amount),
        currency: matter
            .amount
            .map(|(_, currency)| currency.code().to_owned()),
        operation: None,
        input: None,
        input_hash: None,
        reason: None,
        before: matter.before.clone(),
        after: matter.after.clone(),
        proposed_at: Utc::now(),
        proposed_by: caller.author.clone(),
        proposed_user: caller.user,
        role: caller.role.code().to_owned(),
        scopes: caller
            .scopes
            .as_ref()
            .map(|scopes| scopes.iter().map(|scope| scope.code().to_owned()).collect()),
        expires_at: None,
        status: ApprovalStatus::Proposed.code().to_owned(),
        decided_at: None,
        decided_by: None,
        decision: None,
        segregated: None,
        result_id: None,
        outcome: None,
    }
}

/// Does something that may need a second person; when it does, nothing is done and the request waits.
pub fn or_ask<T>(
    conn: &mut PgConnection,
    caller: &Caller,
    asked: &Asked,
    work: impl FnOnce(&mut PgConnection, &Caller) -> Result<T>,
) -> Result<Made<T>> {
    match conn.transaction(|conn| work(conn, caller)) {
        Err(Error::Refused(refusals)) => {
            match refusals.iter().find_map(|refusal| refusal.need.clone()) {
                Some(need) => Ok(Made::Waiting {
                    approval_request: ask(conn, caller, asked, &need)?,
                }),
                None => Err(Error::Refused(refusals)),
            }
        }
        other => other.map(Made::Done),
    }
}

/// Puts what was asked into the queue; once, however often the same person asks for it without a key.
fn ask(conn: &mut PgConnection, caller: &Caller, asked: &Asked, need: &Need) -> Result<ApprovalId> {
    let (company, operation) = (caller.company, &asked.operation);
    if !asked.keyed
        && let Some(waiting) =
            store::approval::same_waiting(conn, company, &caller.author, operation, &asked.hash)?
    {
        return Ok(waiting);
    }
    let days = books::open(conn, caller)?.settings.approvals.request_days;
    let made = Request {
        operation: Some(operation.clone()),
        input: Some(asked.input.clone()),
        input_hash: Some(asked.hash.clone()),
        reason: books::optional_text("reason", asked.reason.as_deref(), 1000)?,
        expires_at: Utc::now().checked_add_days(Days::new(u64::from(days))),
        ..request(caller, ApprovalId::new(), need)
    };
    store::approval::insert(conn, &made)?;
    Ok(made.id)
}

/// What a call that had to wait is answered by now: what it made once it was approved, else why not.
pub fn answer<T: DeserializeOwned>(
    conn: &mut PgConnection,
    caller: &Caller,
    id: ApprovalId,
) -> Result<std::result::Result<T, Refusal>> {
    let request = store::approval::by_ids(conn, caller.company, &[id])?
        .pop()
        .ok_or_else(|| Refusal::not_found("", "request for approval"))?;
    if let (ApprovalStatus::Approved, Some(outcome)) = (status_of(&request)?, &request.outcome) {
        return serde_json::from_value(outcome.clone())
            .map(Ok)
            .map_err(|error| Error::Internal(format!("stored outcome: {error}")));
    }
    let message = match status_of(&request)? {
        ApprovalStatus::Proposed | ApprovalStatus::Approved => {
            "nothing was done yet: the request waits for another person's approval".to_owned()
        }
        ApprovalStatus::Rejected => format!(
            "the request was rejected: {}",
            request.decision.as_deref().unwrap_or_default()
        ),
        ApprovalStatus::Withdrawn => "the request was withdrawn".to_owned(),
        ApprovalStatus::Expired => {
            "nobody decided the request in time: propose it anew, under another key".to_owned()
        }
    };
    Ok(Err(Refusal::new(
        RefusalCode::ApprovalRequired,
        "",
        message,
    )
    .detail("approvalRequestId", id.show())
    .detail("status", request.status)
    .detail("kind", request.kind)
    .detail("ground", request.ground)
    .detail("permission", request.approver)))
}

fn status_of(request: &Request) -> Result<ApprovalStatus> {
    ApprovalStatus::read(&request.status)
        .ok_or_else(|| Error::Internal(format!("stored status {}", request.status)))
}

fn kind_of(request: &Request) -> Result<ApprovalKind> {
    ApprovalKind::read(&request.kind)
        .ok_or_else(|| Error::Internal(format!("stored kind {}", request.kind)))
}

/// The queue of a caller: what waits for a decision that the caller may take.
pub fn decider(caller: &Caller, books: &Books) -> Decider {
    let segregated = books.company.segregation;
    let rights = if caller.may(Action::Approve) && (caller.is_person() || !segregated) {
        let rights = caller.permissions().into_iter();
        rights.map(|right| right.code().to_owned()).collect()
    } else {
        Vec::new()
    };
    Decider {
        rights,
        not_of: segregated.then(|| caller.author.clone()),
        not_user: caller.user,
    }
}

/// The request, locked, still waiting; else why nobody can decide it any more.
fn waiting(conn: &mut PgConnection, caller: &Caller, id: &str) -> Result<Request> {
    let found = match ApprovalId::read(id) {
        Some(id) => store::approval::for_update(conn, caller.company, id)?,
        None => None,
    };
    let request = found.ok_or_else(|| Refusal::not_found("request", "request for approval"))?;
    let overdue = request.expires_at.is_some_and(|end| end <= Utc::now());
    let status = if overdue && request.status == ApprovalStatus::Proposed.code() {
        ApprovalStatus::Expired
    } else {
        status_of(&request)?
    };
    if status == ApprovalStatus::Proposed {
        return Ok(request);
    }
    let mut refusal = Refusal::new(
        RefusalCode::WrongState,
        "request",
        format!("this request is {} already", status.code()),
    )
    .detail("status", status.code());
    if let Some(by) = request.decided_by {
        refusal = refusal.detail("decidedBy", by);
    }
    Err(refusal.into())
}

fn is_author(caller: &Caller, request: &Request) -> bool {
    request.proposed_by == caller.author
        || (caller.user.is_some() && request.proposed_user == caller.user)
}

/// Refuses whoever may not decide: not a person (R12.5), not of a role with the right, or the author (R12.1).
fn may_decide(caller: &Caller, segregated: bool, request: &Request) -> Result<()> {
    let forbidden = |message: &str| {
        Refusal::new(RefusalCode::Forbidden, "request", message)
            .detail("permission", request.approver.clone())
    };
    let right = Action::read(&request.approver)
        .ok_or_else(|| Error::Internal(format!("stored right {}", request.approver)))?;
    if caller.is_service() || segregated && !caller.is_person() {
        return Err(forbidden("a person decides, never a script (R12.5)").into());
    }
    if !caller.may(right) {
        return Err(forbidden("another role decides this").into());
    }
    if segregated && is_author(caller, request) {
        return Err(Refusal::new(
            RefusalCode::SecondPersonRequired,
            "request",
            "whoever proposed it may not decide it (R12.1): withdraw it, or leave it to another person",
        )
        .into());
    }
    Ok(())
}

/// Approves a request and does what it proposed, as its author and under today's rules, in this transaction. A rule
/// that says no by now leaves the request as it is.
pub fn approve(
    conn: &mut PgConnection,
    caller: &Caller,
    id: &str,
    reason: Option<&str>,
    perform: impl FnOnce(&mut PgConnection, &Caller, &str, &Value) -> Result<Value>,
) -> Result<ApprovalId> {
    let books = books::open(conn, caller)?;
    let mut request = waiting(conn, caller, id)?;
    may_decide(caller, books.company.segregation, &request)?;
    let kind = kind_of(&request)?;
    if kind.has_a_file() {
        decide_file(conn, caller, &request, kind, true, reason)?;
        return Ok(request.id);
    }
    if kind == ApprovalKind::CreditNote
        && books.company.segregation
        && let Some(invoice) = request.document_id
    {
        independent(conn, caller, &[invoice], "request")?;
    }
    let author = as_author(caller, &request, kind)?;
    let (Some(operation), Some(input)) = (&request.operation, &request.input) else {
        return Err(Error::Internal("a request without its input".into()));
    };
    let outcome = perform(conn, &author, operation, input).map_err(below_request)?;
    request.decision = books::optional_text("reason", reason, 500)?;
    request.result_id = store::approval::by_ids(conn, caller.company, &[request.id])?
        .pop()
        .and_then(|done| done.result_id);
    if request.result_id.is_none() {
        return Err(Refusal::new(
            RefusalCode::Conflict,
            "request",
            "what was proposed would do something else by now: reject it, and have it proposed anew",
        )
        .into());
    }
    request.outcome = Some(outcome);
    settle(conn, caller, &books, request, ApprovalStatus::Approved)
}

/// R12.2: whether the caller alone would settle these debits by own receipts and own credit notes, one of which is
/// among these credits.
pub fn same_person(
    conn: &mut PgConnection,
    caller: &Caller,
    debits: &[ItemId],
    credits: &[ItemId],
) -> Result<bool> {
    let (company, author) = (caller.company, &caller.author);
    if store::approval::own_receipts(conn, company, credits, author)?
        && !store::approval::credited_alone(conn, company, debits, author)?.is_empty()
    {
        return Ok(true);
    }
    if !store::approval::own_credit_notes(conn, company, credits, author)? {
        return Ok(false);
    }
    let items = store::item::by_ids(conn, company, debits)?;
    let invoices: Vec<DocumentId> = items.iter().filter_map(|item| item.invoice_id).collect();
    Ok(store::approval::recorded_receipts(
        conn, company, &invoices, author,
    )?)
}

/// R12.2: whoever recorded receipts for an item does not approve its credit or loss.
pub fn independent(
    conn: &mut PgConnection,
    caller: &Caller,
    invoices: &[DocumentId],
    field: &str,
) -> Result<()> {
    let author = &caller.author;
    if store::approval::recorded_receipts(conn, caller.company, invoices, author)? {
        return Err(Refusal::new(
            RefusalCode::SecondPersonRequired,
            field,
            "you recorded a receipt for this item: another person approves what is taken off it (R12.2)",
        )
        .into());
    }
    Ok(())
}

/// Who does what was approved: its author, with the rights of then.
fn as_author(caller: &Caller, request: &Request, kind: ApprovalKind) -> Result<Caller> {
    let role = Role::read(&request.role)
        .ok_or_else(|| Error::Internal(format!("stored role {}", request.role)))?;
    let scopes = request
        .scopes
        .as_ref()
        .map(|codes| codes.iter().filter_map(|code| Action::read(code)).collect());
    Ok(Caller {
        company: caller.company,
        user: request.proposed_user,
        author: request.proposed_by.clone(),
        role,
        scopes,
        today: caller.today,
        approval: Some(Granted {
            request: request.id,
            kind,
            amount: request.amount.zip(request.currency.clone()),
            before: request.before.clone(),
        }),
    })
}

/// What refuses the proposed input stands below the request.
fn below_request(error: Error) -> Error {
    match error {
        Error::Refused(mut refusals) => {
            for refusal in &mut refusals {
                refusal.field.insert(0, "request".into());
                // An approval is no occasion to ask for another one.
                refusal.need = None;
            }
            Error::Refused(refusals)
        }
        other => other,
    }
}

/// Rejects a request; why is kept (R12.6).
pub fn reject(
    conn: &mut PgConnection,
    caller: &Caller,
    id: &str,
    reason: &str,
) -> Result<ApprovalId> {
    let books = books::open(conn, caller)?;
    let mut request = waiting(conn, caller, id)?;
    may_decide(caller, books.company.segregation, &request)?;
    let reason = books::text("reason", reason, 500)?;
    let kind = kind_of(&request)?;
    if kind.has_a_file() {
        decide_file(conn, caller, &request, kind, false, Some(&reason))?;
        return Ok(request.id);
    }
    request.decision = Some(reason);
    settle(conn, caller, &books, request, ApprovalStatus::Rejected)
}

/// Takes a request back: its author alone, as long as it waits.
pub fn withdraw(
    conn: &mut PgConnection,
    caller: &Caller,
    id: &str,
    reason: Option<&str>,
) -> Result<ApprovalId> {
    let books = books::open(conn, caller)?;
    let mut request = waiting(conn, caller, id)?;
    if !is_author(caller, &request) {
        return Err(Refusal::new(
            RefusalCode::Forbidden,
            "request",
            "only its author takes a request back: reject it",
        )
        .into());
    }
    request.decision = books::optional_text("reason", reason, 500)?;
    let why = request
        .decision
        .as_deref()
        .unwrap_or("withdrawn by its author");
    match kind_of(&request)? {
        ApprovalKind::WriteOff | ApprovalKind::Doubtful => {
            doubtful::withdraw(conn, caller, DoubtfulFileId(request.id.0), why)?;
        }
        ApprovalKind::Provision => {
            provision_run::withdraw(conn, caller, ProvisionRunId(request.id.0), why)?;
        }
        ApprovalKind::CreditNote
        | ApprovalKind::CreditLimit
        | ApprovalKind::BankDetails
        | ApprovalKind::Matching
        | ApprovalKind::PenaltyWaiver => {}
    }
    settle(conn, caller, &books, request, ApprovalStatus::Withdrawn)
}

/// What nobody decided in time is void.
pub fn expire(conn: &mut PgConnection, caller: &Caller) -> Result<()> {
    let books = books::open(conn, caller)?;
    for id in store::approval::overdue(conn, caller.company)? {
        let request = store::approval::for_update(conn, caller.company, id)?;
        if let Some(request) = request.filter(|found| found.status == "PROPOSED") {
            settle(conn, caller, &books, request, ApprovalStatus::Expired)?;
        }
    }
    Ok(())
}

fn settle(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    mut request: Request,
    status: ApprovalStatus,
) -> Result<ApprovalId> {
    status.code().clone_into(&mut request.status);
    request.decided_by = Some(caller.author.clone());
    request.segregated = Some(books.company.segregation);
    store::approval::decide(conn, &request)?;
    Ok(request.id)
}

/// A request that a file or a run keeps is decided with it.
fn decide_file(
    conn: &mut PgConnection,
    caller: &Caller,
    request: &Request,
    kind: ApprovalKind,
    approve: bool,
    reason: Option<&str>,
) -> Result<()> {
    if kind == ApprovalKind::Provision {
        let target = Ref::Id(ProvisionRunId(request.id.0).show());
        provision_run::decide(conn, caller, &target, approve, reason).map_err(below_request)?;
    } else {
        let target = Ref::Id(DoubtfulFileId(request.id.0).show());
        doubtful::decide(conn, caller, &target, approve, reason).map_err(below_request)?;
    }
    Ok(())
}

/// Why a matter needs a second person, and whom, by the company's settings; none when it needs nobody.
fn need_of(books: &Books, matter: Matter) -> Option<Need> {
    let (ground, approver) = matter.needs(&books.settings.approvals)?;
    Some(Need {
        matter,
        ground,
        approver,
    })
}

/// Puts a file or a run that waits into the queue, under its own id.
pub fn file(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    matter: Matter,
    id: uuid::Uuid,
    asked: Asked,
) -> Result<()> {
    let Some(need) = need_of(books, matter) else {
        return Ok(());
    };
    let made = Request {
        operation: Some(asked.operation),
        input: Some(asked.input),
        reason: asked.reason,
        ..request(caller, ApprovalId(id), &need)
    };
    Ok(store::approval::insert(conn, &made)?)
}

/// Writes to the request of a file or a run what was decided about it.
pub fn filed(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    id: uuid::Uuid,
    status: ApprovalStatus,
    reason: Option<&str>,
    result: Option<String>,
) -> Result<()> {
    let request = store::approval::for_update(conn, caller.company, ApprovalId(id))?;
    if let Some(mut request) = request.filter(|found| found.status == "PROPOSED") {
        request.decision = reason.map(str::to_owned);
        request.result_id = result;
        settle(conn, caller, books, request, status)?;
    }
    Ok(())
}

/// Asks for the account of a payer to be remembered, which a person's decision showed; unless it waits already,
/// or was rejected.
pub fn ask_for_payer(
    conn: &mut PgConnection,
    caller: &Caller,
    iban: &str,
    client: crate::domain::ids::ClientId,
) -> Result<()> {
    const OPERATION: &str = "linkPayerAccount";
    let hash = format!("{iban} {}", client.show());
    if store::approval::was_asked(conn, caller.company, OPERATION, &hash)? {
        return Ok(());
    }
    let matter = Matter {
        client: Some(client),
        before: json!({ "iban": null }),
        after: json!({ "iban": iban }),
        ..Matter::of(ApprovalKind::BankDetails, client.show())
    };
    let need = Need {
        matter,
        ground: Ground::Always,
        approver: Action::ApproveBankDetails,
    };
    let asked = Asked {
        operation: OPERATION.into(),
        input: json!({ "iban": iban, "client": { "id": client.show() } }),
        hash,
        reason: Some("named as the payer of a movement on a bank account".into()),
        keyed: true,
    };
    ask(conn, caller, &asked, &need).map(drop)
}

/// The thresholds as they are recorded: least amounts in minor units by kind and currency, and the rules themselves.
pub fn recorded(rules: &crate::domain::approval::Rules) -> Result<Value> {
    let given = [&rules.credit_note, &rules.credit_note_director];
    let given: Vec<_> = given
        .into_iter()
        .filter(|limits| !limits.is_empty())
        .collect();
    let mut least = Map::new();
    for code in given.iter().flat_map(|limits| limits.keys()) {
        let currency = books::currency_input("settings", code)?;
        let amounts = given.iter().map(|limits| limits.get(code).copied());
        let amount = amounts.map(Option::unwrap_or_default).min();
        let minor = currency.minor(amount.unwrap_or_default());
        least.insert(code.clone(), json!(minor));
    }
    let rules = serde_json::to_value(rules).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(if given.is_empty() {
        json!({ "rules": rules })
    } else {
        json!({ "CREDIT_NOTE": least, "rules": rules })
    })
}

/// Whether this caller may decide the request now, while duties are segregated or not.
pub fn is_decidable(caller: &Caller, segregated: bool, request: &Request) -> bool {
    request.status == ApprovalStatus::Proposed.code()
        && request.expires_at.is_none_or(|end| end > Utc::now())
        && caller.may(Action::Approve)
        && may_decide(caller, segregated, request).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::AllocationId;

    #[test]
    fn what_waits_is_told_from_what_was_made() {
        let id = ApprovalId::new();
        let read = |value: Value| serde_json::from_value::<Made<Vec<AllocationId>>>(value);
        let waits: Made<Vec<AllocationId>> = Made::Waiting {
            approval_request: id,
        };
        let kept = serde_json::to_value(waits).expect("a value");
        assert!(
            matches!(read(kept), Ok(Made::Waiting { approval_request }) if approval_request == id)
        );
        // One allocation is not a request, though its id could be one.
        assert!(matches!(read(json!([id])), Ok(Made::Done(made)) if made.len() == 1));
        assert!(read(json!("no list")).is_err());
        let none = serde_json::from_value::<Made<Option<ApprovalId>>>(Value::Null);
        assert!(matches!(none, Ok(Made::Done(None))));
    }
}
