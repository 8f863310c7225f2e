//! The provision in the books (section 5): proposed with its claims, approved by a second person, posted
//! as one entry of charges and one of releases, cancelled by reversal.

use std::collections::{BTreeMap, HashMap};

use chrono::{NaiveDate, Utc};
use diesel::pg::PgConnection;
use rust_decimal::Decimal;
use serde_json::json;
use uuid::Uuid;

use super::approval::{self, Asked};
use super::books::{self, Books, NewLine, Posting};
use super::provision::{self, ClientResult, PolicyInput};
use super::reference::Ref;
use crate::domain::access::Caller;
use crate::domain::approval::{ApprovalKind, ApprovalStatus, Matter};
use crate::domain::ids::{ClientId, EntryId, Id, ProvisionRunId};
use crate::domain::money::Minor;
use crate::domain::provision::{Framework, Method};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::{Error, Result};
use crate::store::doubtful::Movement;
use crate::store::provision_run::{Run, RunClient, RunLine};
use crate::store::{self};

/// Lines of one entry at most: a line's position is a small number.
const ENTRY_LINES: usize = 20_000;

/// Computes a run and keeps it with its claims: nothing is posted (preview → proposed).
pub fn propose(
    conn: &mut PgConnection,
    caller: &Caller,
    as_of: NaiveDate,
    policy: Option<PolicyInput>,
) -> Result<ProvisionRunId> {
    let books = books::open(conn, caller)?;
    if as_of > caller.today {
        return Err(Refusal::invalid("asOf", "a closing day is not in the future").into());
    }
    let computed = provision::run(conn, caller, as_of, None, &policy.unwrap_or_default())?;
    if computed.framework != Framework::FrenchGaap {
        return Err(Refusal::invalid(
            "policy",
            "only a French run is posted to 491: an IFRS 9 run is a report (R5.13)",
        )
        .into());
    }
    if let Some(later) = store::provision::moved_after(conn, caller.company, as_of)? {
        // What it would charge is counted from what 491 held on its day: it could never be posted.
        return Err(Refusal::invalid(
            "asOf",
            format!("491 has moved since that day, on {later}: propose a run of {later} or later"),
        )
        .into());
    }
    let id = ProvisionRunId::new();
    let content = serde_json::to_value(&computed.content)
        .map_err(|error| Error::Internal(error.to_string()))?;
    let number = books.next_number(
        conn,
        &books.settings.series.provision_runs,
        as_of,
        false,
        "asOf",
    )?;
    store::provision_run::insert(
        conn,
        &Run {
            company_id: caller.company,
            id,
            number,
            as_of,
            policy_name: computed.policy.as_ref().map(|(name, _)| name.clone()),
            policy_version: computed.policy.as_ref().map(|(_, version)| *version),
            content,
            currency: books.currency.code().to_owned(),
            recorded_by: caller.author.clone(),
            status: "PROPOSED".into(),
            approved_by: None,
            approved_at: None,
            decision: None,
            posted_by: None,
            posted_at: None,
            posted_on: None,
            cancelled_by: None,
            cancelled_at: None,
            cancelled_on: None,
        },
    )?;
    let deductible = store::provision::deductible_claims(conn, caller.company, as_of)?;
    let context = computed.context(conn, caller)?;
    let everybody = store::list::Keyset::all();
    let (clients, _) = computed.client_ids(conn, caller, &context, &everybody)?;
    // In batches: a run of a large company is never held in memory as a whole.
    for chunk in clients.chunks(1000) {
        let records = store::client::by_ids(conn, caller.company, chunk)?;
        let results = computed.clients(conn, caller, &records, &context)?;
        let (clients, lines) = parts(caller, id, &results, &deductible);
        store::provision_run::insert_parts(conn, &clients, &lines)?;
    }
    ask(conn, caller, &books, id)?;
    Ok(id)
}

/// Puts a new run into the queue of those who approve runs.
fn ask(conn: &mut PgConnection, caller: &Caller, books: &Books, id: ProvisionRunId) -> Result<()> {
    let Some(run) = store::provision_run::by_ids(conn, caller.company, &[id])?.pop() else {
        return Err(Error::Internal(
            "a run that was just written is missing".into(),
        ));
    };
    let totals = store::provision_run::totals(conn, caller.company, id)?;
    let shown = |amount: Minor| json!({ "asOf": run.as_of, "provision": books.currency.decimal(amount).to_string() });
    let matter = Matter {
        amount: Some((totals.required, books.currency)),
        before: shown(totals.previous),
        after: shown(totals.required),
        ..Matter::of(ApprovalKind::Provision, id.show())
    };
    let asked = Asked {
        operation: "decideProvisionRun".into(),
        input: json!({ "run": { "number": run.number } }),
        hash: String::new(),
        reason: None,
        keyed: true,
    };
    approval::file(conn, caller, books, matter, id.0, asked)
}

/// Its author takes a run back that waits.
pub fn withdraw(
    conn: &mut PgConnection,
    caller: &Caller,
    id: ProvisionRunId,
    why: &str,
) -> Result<()> {
    let mut run = store::provision_run::for_update(conn, caller.company, id)?
        .filter(|run| run.status == "PROPOSED")
        .ok_or_else(|| Refusal::not_found("request", "provision run that waits"))?;
    run.status = "CANCELLED".into();
    run.decision = Some(why.to_owned());
    run.cancelled_by = Some(caller.author.clone());
    run.cancelled_at = Some(Utc::now());
    Ok(store::provision_run::update(conn, &run)?)
}

/// Clients and claims of a batch.
fn parts(
    caller: &Caller,
    run: ProvisionRunId,
    results: &[ClientResult],
    deductible: &store::provision::Deductible,
) -> (Vec<RunClient>, Vec<RunLine>) {
    let company = caller.company;
    let mut clients: BTreeMap<ClientId, (Minor, Minor)> = BTreeMap::new();
    let mut lines = Vec::new();
    for result in results {
        let sums = clients.entry(result.client).or_default();
        sums.0 += result.in_books;
        sums.1 += result.provision.previous;
        for claim in &result.claims {
            let found = &claim.result;
            lines.push(RunLine {
                company_id: company,
                run_id: run,
                item_id: found.key,
                client_id: result.client,
                reference: claim.open.reference.clone(),
                due_on: claim.open.due_on.unwrap_or(claim.open.posted_on),
                open: claim.open.open,
                exposure: found.exposure,
                base: found.base,
                insured: found.insured,
                disputed_base: found.disputed_base,
                rate: found.rate.round_dp(4),
                disputed_rate: found.disputed_rate.round_dp(4),
                provision: found.provision,
                method: found.method.code().to_owned(),
                deductible: match found.method {
                    // R5.4: an event in progress makes the loss probable; a matrix or a dispute alone does not.
                    Method::Liquidation | Method::Insolvency => true,
                    Method::Individual => deductible.holds(result.client, claim.open.invoice_id),
                    Method::Matrix | Method::Disputed => false,
                },
                currency: result.currency.clone(),
            });
        }
    }
    let clients = clients
        .into_iter()
        .filter(|(_, (required, previous))| *required != 0 || *previous != 0)
        .map(|(client, (required, previous))| RunClient {
            company_id: company,
            run_id: run,
            client_id: client,
            required,
            previous,
            charge: (required - previous).max(0),
            release: (previous - required).max(0),
        })
        .collect();
    (clients, lines)
}

/// Approves a proposed run, or rejects it with a reason. Never its author while duties are segregated (R12.1).
pub fn decide(
    conn: &mut PgConnection,
    caller: &Caller,
    target: &Ref,
    approve: bool,
    reason: Option<&str>,
) -> Result<ProvisionRunId> {
    let books = books::open(conn, caller)?;
    let mut run = locked(conn, caller, target)?;
    expect(&run, "PROPOSED")?;
    if books.company.segregation && run.recorded_by == caller.author {
        return Err(Refusal::new(
            RefusalCode::SecondPersonRequired,
            "run",
            "whoever proposed the run may not approve it",
        )
        .into());
    }
    run.decision = books::optional_text("reason", reason, 500)?;
    if !approve && run.decision.is_none() {
        return Err(Refusal::invalid("reason", "say why it is rejected (R12.6)").into());
    }
    run.status = if approve { "APPROVED" } else { "REJECTED" }.into();
    run.approved_by = Some(caller.author.clone());
    run.approved_at = Some(Utc::now());
    store::provision_run::update(conn, &run)?;
    let (status, result) = if approve {
        (ApprovalStatus::Approved, Some(run.id.show()))
    } else {
        (ApprovalStatus::Rejected, None)
    };
    let why = run.decision.as_deref();
    approval::filed(conn, caller, &books, run.id.0, status, why, result)?;
    Ok(run.id)
}

/// Posts an approved run at its closing day: D 68174 / C 491 and D 491 / C 78174, each client on its own
/// line, never netted (R2.3, R5.10). A run that is posted already stays as it is.
pub fn post(conn: &mut PgConnection, caller: &Caller, target: &Ref) -> Result<ProvisionRunId> {
    let books = books::open(conn, caller)?;
    let mut run = locked(conn, caller, target)?;
    if run.status == "POSTED" {
        return Ok(run.id);
    }
    expect(&run, "APPROVED")?;
    let clients = store::provision_run::clients(conn, caller.company, run.id)?;
    let held: HashMap<Uuid, Minor> = store::provision::held(conn, caller.company)?
        .into_iter()
        .map(|row| (row.client_id, row.amount))
        .collect();
    for client in &clients {
        let now = held.get(&client.client_id.0).copied().unwrap_or_default();
        if now != client.previous {
            return Err(Refusal::new(
                RefusalCode::Conflict,
                "run",
                "a provision has moved since the run was proposed: propose a new one",
            )
            .detail("client", client.client_id.show())
            .into());
        }
    }
    let posted_on = books.first_open_day(run.as_of);
    let accounts = &books.settings.accounts;
    let charges: Vec<(ClientId, Minor)> = clients
        .iter()
        .filter(|client| client.charge > 0)
        .map(|client| (client.client_id, client.charge))
        .collect();
    let releases: Vec<(ClientId, Minor)> = clients
        .iter()
        .filter(|client| client.release > 0)
        .map(|client| (client.client_id, client.release))
        .collect();
    let mut postings = Vec::new();
    for chunk in charges.chunks(ENTRY_LINES) {
        let mut lines = vec![NewLine::debit(
            &accounts.provision_charge,
            chunk.iter().map(|(_, amount)| amount).sum(),
        )];
        lines.extend(
            chunk
                .iter()
                .map(|(client, amount)| NewLine::credit(&accounts.provision, *amount).of(*client)),
        );
        postings.push(entry(
            &books,
            &run,
            posted_on,
            "Dotation dépréciations clients",
            lines,
        ));
    }
    for chunk in releases.chunks(ENTRY_LINES) {
        let mut lines: Vec<NewLine> = chunk
            .iter()
            .map(|(client, amount)| NewLine::debit(&accounts.provision, *amount).of(*client))
            .collect();
        lines.push(NewLine::credit(
            &accounts.provision_release,
            chunk.iter().map(|(_, amount)| amount).sum(),
        ));
        postings.push(entry(
            &books,
            &run,
            posted_on,
            "Reprise dépréciations clients",
            lines,
        ));
    }
    let movements: Vec<Movement> = charges
        .iter()
        .map(|(client, amount)| (*client, *amount))
        .chain(releases.iter().map(|(client, amount)| (*client, -amount)))
        .map(|(client, amount)| movement(caller, &run, client, amount, "RUN", posted_on))
        .collect();
    books::post(conn, caller, &books, postings)?;
    store::doubtful::insert_movements(conn, &movements)?;
    run.status = "POSTED".into();
    run.posted_by = Some(caller.author.clone());
    run.posted_at = Some(Utc::now());
    run.posted_on = Some(posted_on);
    store::provision_run::update(conn, &run)?;
    Ok(run.id)
}

fn movement(
    caller: &Caller,
    run: &Run,
    client: ClientId,
    amount: Minor,
    kind: &str,
    posted_on: NaiveDate,
) -> Movement {
    Movement {
        company_id: caller.company,
        id: Uuid::now_v7(),
        client_id: client,
        amount,
        kind: kind.to_owned(),
        source_id: run.id.0,
        item_id: None,
        posted_on,
        recorded_by: caller.author.clone(),
    }
}

fn entry(
    books: &Books,
    run: &Run,
    posted_on: NaiveDate,
    label: &str,
    lines: Vec<NewLine>,
) -> Posting {
    Posting {
        journal: "OD".into(),
        posted_on,
        occurred_on: run.as_of,
        reference: run.number.clone(),
        label: format!("{label} {}", run.as_of),
        source_kind: "PROVISION_RUN",
        source_id: run.id.0,
        reversal_of: None,
        currency: books.currency,
        rate: Decimal::ONE,
        lines,
    }
}

/// Cancels a run: rejected before it is posted, reversed after. Only the last posted run can be reversed:
/// the ones before are what it was computed from.
pub fn cancel(
    conn: &mut PgConnection,
    caller: &Caller,
    target: &Ref,
    on: Option<NaiveDate>,
    reason: &str,
) -> Result<ProvisionRunId> {
    let books = books::open(conn, caller)?;
    let mut run = locked(conn, caller, target)?;
    let reason = books::text("reason", reason, 500)?;
    if run.status == "POSTED" {
        if store::provision_run::last_posted(conn, caller.company)? != Some(run.id) {
            return Err(Refusal::new(
                RefusalCode::WrongState,
                "run",
                "a later run was posted: cancel that one first",
            )
            .into());
        }
        let on = on.unwrap_or(caller.today);
        books.check_day("on", on)?;
        if run.posted_on.is_some_and(|posted| on < posted) {
            return Err(Refusal::invalid("on", "the run was posted later than that").into());
        }
        reverse_entries(conn, caller, &books, &run, on)?;
        run.cancelled_on = Some(on);
    } else if run.status != "PROPOSED" && run.status != "APPROVED" {
        expect(&run, "POSTED")?;
    }
    run.status = "CANCELLED".into();
    run.decision = Some(reason);
    run.cancelled_by = Some(caller.author.clone());
    run.cancelled_at = Some(Utc::now());
    store::provision_run::update(conn, &run)?;
    let status = if run.recorded_by == caller.author {
        ApprovalStatus::Withdrawn
    } else {
        ApprovalStatus::Rejected
    };
    let why = run.decision.as_deref();
    approval::filed(conn, caller, &books, run.id.0, status, why, None)?;
    Ok(run.id)
}

fn reverse_entries(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    run: &Run,
    on: NaiveDate,
) -> Result<()> {
    let entries = store::journal::by_sources(conn, caller.company, &[run.id.0])?;
    let ids: Vec<EntryId> = entries.iter().map(|entry| entry.id).collect();
    let lines = store::journal::lines(conn, caller.company, &ids)?;
    let postings = entries
        .iter()
        .map(|original| {
            let mirrored = lines
                .iter()
                .filter(|line| line.entry_id == original.id)
                .map(|line| NewLine {
                    client: line.client_id,
                    ..NewLine::signed(&line.account, line.credit - line.debit)
                })
                .collect();
            Posting {
                reversal_of: Some(original.id),
                occurred_on: on,
                ..entry(books, run, on, "Extourne dépréciations clients", mirrored)
            }
        })
        .collect();
    books::post(conn, caller, books, postings)?;
    let back: Vec<Movement> = store::doubtful::movements_of(conn, caller.company, run.id.0)?
        .iter()
        .map(|made| {
            movement(
                caller,
                run,
                made.client_id,
                -made.amount,
                "CANCELLATION",
                on,
            )
        })
        .collect();
    Ok(store::doubtful::insert_movements(conn, &back)?)
}

fn expect(run: &Run, status: &str) -> Result<()> {
    if run.status == status {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalCode::WrongState,
        "run",
        format!("run {} is {}, {status} is needed", run.number, run.status),
    )
    .detail("status", run.status.clone())
    .into())
}

fn locked(conn: &mut PgConnection, caller: &Caller, target: &Ref) -> Result<Run> {
    let found = find(conn, caller, "run", target)?;
    store::provision_run::for_update(conn, caller.company, found.id)?
        .ok_or_else(|| Refusal::not_found("run", "provision run").into())
}

/// The run, or `NOT_FOUND`.
pub fn find(conn: &mut PgConnection, caller: &Caller, field: &str, target: &Ref) -> Result<Run> {
    let found = match target {
        Ref::Number(number) => store::provision_run::by_number(conn, caller.company, number)?,
        Ref::Id(id) | Ref::ExternalRef(id) => match ProvisionRunId::read(id) {
            Some(id) => store::provision_run::by_ids(conn, caller.company, &[id])?.pop(),
            None => None,
        },
    };
    found.ok_or_else(|| Error::from(Refusal::not_found(field, "provision run")))
}
