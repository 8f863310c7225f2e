//! The rules of 13.2 at work on one movement: what they decide is posted, matched and kept.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::NaiveDate;
use diesel::Connection;
use diesel::pg::PgConnection;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::{Laid, RULE, Record, SOMEBODY, ask, learn, reconcile, who_paid};
use crate::domain::access::Caller;
use crate::domain::bank::{
    self, Candidate, Decision, Difference, LineStatus, Offer, Payer, Receipt, Rule, Share,
};
use crate::domain::ids::{ClientId, DocumentId, Id, ItemId, OperationId, PaymentId};
use crate::domain::money::{Currency, Minor};
use crate::domain::task::TaskKind;
use crate::error::{Error, Result};
use crate::service::books::{self, Books, NewLine};
use crate::service::discount::{self, DiscountInput, TransferInput};
use crate::service::matching::{self, Pair};
use crate::service::operation::{self, New, OperationKind};
use crate::service::payment::{self, PaymentInput, ReturnInput};
use crate::service::reference::{ItemRef, Ref};
use crate::service::remittance::{self, CreditInput};
use crate::store::bank::{Account, Line};
use crate::store::item::Item;
use crate::store::payment::Payment;
use crate::store::{self};

/// Open items of a payer that are looked at one by one; of one with more, only those open for the amount.
const OWN: i64 = 2000;
/// Open items that the text may name.
const NAMED: i64 = 500;
/// What a bank takes for a return at most, in minor units: more is no fee.
const FEE: Minor = 10_000;

/// A movement that was just taken in.
pub struct Movement<'a> {
    pub line: &'a Line,
    pub account: &'a Account,
    pub currency: Currency,
    pub rate: Decimal,
    /// The bank takes back a booking of its own.
    pub is_reversal: bool,
}

/// Decides about a movement and does it. What a rule of the books refuses is left to a person.
pub fn decide(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    movement: &Movement<'_>,
) -> Result<LineStatus> {
    if reconcile::tie(conn, caller, movement)? {
        return Ok(LineStatus::Reconciled);
    }
    if movement.line.amount > 0 {
        if credit_slip(conn, caller, books, movement)? {
            return Ok(LineStatus::Posted);
        }
        return receive(conn, caller, books, movement);
    }
    if is_return(movement) {
        return take_back(conn, caller, books, movement);
    }
    if is_charge(movement.line) {
        let operation = post(
            conn,
            caller,
            books,
            movement,
            &books.settings.accounts.bank_fees,
            "Frais bancaires",
        )?;
        let status = LineStatus::Posted;
        store::bank::set_status(conn, caller.company, movement.line.id, status.code(), None)?;
        Record {
            operations: vec![operation],
            ..Record::of(Rule::BankCharge, status.code(), "a charge of the bank")
        }
        .keep(conn, caller, movement.line)?;
        return Ok(status);
    }
    Record::of(
        Rule::NotReceivable,
        LineStatus::Ignored.code(),
        "a payment of ours",
    )
    .keep(conn, caller, movement.line)?;
    Ok(LineStatus::Ignored)
}

/// Runs a step that may be refused, leaving nothing behind when it is.
fn attempt<T>(
    conn: &mut PgConnection,
    step: impl FnOnce(&mut PgConnection) -> Result<T>,
) -> Result<std::result::Result<T, String>> {
    match conn.transaction(step) {
        Ok(done) => Ok(Ok(done)),
        Err(Error::Refused(refusals)) => Ok(Err(refusals
            .iter()
            .map(|refusal| refusal.message.as_str())
            .collect::<Vec<_>>()
            .join("; "))),
        Err(error) => Err(error),
    }
}

fn has_word(line: &Line, words: &[&str]) -> bool {
    let text = line.remittance.to_uppercase();
    words.iter().any(|word| text.contains(word))
}

/// A part of the transaction's family, such as CHRG of RDDT/CHRG.
fn has_family(line: &Line, codes: &[&str]) -> bool {
    line.family
        .as_deref()
        .unwrap_or_default()
        .split('/')
        .any(|part| codes.contains(&part))
}

fn is_return(movement: &Movement<'_>) -> bool {
    let line = movement.line;
    line.return_reason.is_some()
        || movement.is_reversal
        || has_family(line, &["RRTN", "UPDD", "UPCQ", "PRDD", "RRCT"])
        || has_word(line, &["IMPAYE", "REJET"])
}

fn is_charge(line: &Line) -> bool {
    has_family(line, &["CHRG", "FEES", "COMM"])
        || line.counterparty.is_none()
            && has_word(line, &["FRAIS", "COMMISSION", "COTISATION", "AGIOS"])
}

/// The payer's own reference, when the payer gave one.
fn end_to_end(line: &Line) -> Option<&str> {
    line.end_to_end_id
        .as_deref()
        .filter(|id| *id != "NOTPROVIDED")
}

fn method_of(line: &Line) -> &'static str {
    if has_family(line, &["IDDT", "ESDD"]) {
        "DIRECT_DEBIT"
    } else if has_family(line, &["CCRD", "MCRD", "POSD"]) {
        "CARD"
    } else {
        "TRANSFER"
    }
}

/// The bank credits the one slip of this amount that it has.
fn credit_slip(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    movement: &Movement<'_>,
) -> Result<bool> {
    let (line, account) = (movement.line, movement.account);
    let instruments = has_family(line, &["RCHQ", "DRFT"]) || has_word(line, &["REMISE", "REM CHQ"]);
    if !instruments {
        return Ok(false);
    }
    let waiting = store::remittance::awaiting(
        conn,
        caller.company,
        &account.account,
        line.amount,
        &line.currency,
        line.booked_on,
    )?;
    let [slip] = waiting.as_slice() else {
        return Ok(false);
    };
    let target = Ref::Id(slip.id.show());
    let done = attempt(conn, |conn| {
        let input = CreditInput {
            credited_on: Some(books.first_open_day(line.booked_on)),
            received: Some(movement.currency.decimal(line.amount)),
            ..CreditInput::default()
        };
        remittance::credit(conn, caller, &target, &input)
    })?;
    if done.is_err() {
        return Ok(false);
    }
    store::bank::set_status(
        conn,
        caller.company,
        line.id,
        LineStatus::Posted.code(),
        None,
    )?;
    let evidence = format!("slip {} was waiting for this amount", slip.number);
    Record::of(Rule::RemittanceSlip, LineStatus::Posted.code(), evidence)
        .keep(conn, caller, line)?;
    Ok(true)
}

/// Money that came in.
fn receive(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    movement: &Movement<'_>,
) -> Result<LineStatus> {
    let line = movement.line;
    let mut decision = ask_rules(conn, caller, books, movement)?;
    if let (true, Some(client)) = (decision.automatic, decision.client) {
        let laid = Laid {
            shares: decision.shares.clone(),
            difference: decision.difference.clone(),
        };
        let paid = attempt(conn, |conn| {
            pay(conn, caller, books, movement, client, &laid)
        })?;
        match paid {
            Ok((payment, operations)) => {
                let status = LineStatus::Automatic;
                store::bank::set_status(
                    conn,
                    caller.company,
                    line.id,
                    status.code(),
                    Some(payment),
                )?;
                if decision.rule != Rule::KnownAccount && !is_somebody_elses(conn, caller, line)? {
                    let clients: HashSet<ClientId> =
                        laid.shares.iter().map(|share| share.client).collect();
                    learn(conn, caller, line, &Vec::from_iter(clients))?;
                }
                keep(conn, caller, line, status, &decision, operations)?;
                return Ok(status);
            }
            Err(why) => decision.evidence = format!("{}; not done: {why}", decision.evidence),
        }
    }
    let input = receipt_of(movement, decision.client, Vec::new());
    let payment = payment::record_by(conn, caller, &input, RULE)?.payment;
    let status = if !decision.shares.is_empty() || !decision.alternatives.is_empty() {
        let subject = format!(
            "{} from {} on {}: {}",
            movement.currency.show(line.amount),
            line.counterparty.as_deref().unwrap_or(SOMEBODY),
            line.booked_on,
            decision.evidence
        );
        ask(conn, caller, line, TaskKind::BankProposal, subject)?;
        LineStatus::Proposed
    } else if decision.client.is_some() {
        LineStatus::OnAccount
    } else {
        who_paid(conn, caller, line)?;
        LineStatus::Unknown
    };
    store::bank::set_status(conn, caller.company, line.id, status.code(), Some(payment))?;
    keep(conn, caller, line, status, &decision, Vec::new())?;
    Ok(status)
}

/// A payer whose account is known already, and who pays for another this once, teaches nothing (R13.4):
/// who it may pay for beside its owner, a person says.
fn is_somebody_elses(conn: &mut PgConnection, caller: &Caller, line: &Line) -> Result<bool> {
    match &line.counterparty_iban {
        Some(iban) => Ok(!store::bank::clients_of_iban(conn, caller.company, iban)?.is_empty()),
        None => Ok(false),
    }
}

fn keep(
    conn: &mut PgConnection,
    caller: &Caller,
    line: &Line,
    status: LineStatus,
    decision: &Decision,
    operations: Vec<OperationId>,
) -> Result<()> {
    Record {
        rule: decision.rule,
        score: decision.score,
        outcome: status.code(),
        client: decision.client,
        evidence: decision.evidence.clone(),
        laid: Laid {
            shares: decision.shares.clone(),
            difference: decision.difference.clone(),
        },
        alternatives: decision.alternatives.clone(),
        operations,
    }
    .keep(conn, caller, line)
}

fn ask_rules(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    movement: &Movement<'_>,
) -> Result<Decision> {
    let (line, company) = (movement.line, caller.company);
    let mut structured: Vec<&str> = line.structured.iter().map(String::as_str).collect();
    structured.extend(end_to_end(line));
    let receipt = Receipt {
        amount: line.amount,
        structured,
        text: &line.remittance,
        booked_on: line.booked_on,
    };
    let payer = payer_of(conn, caller, line)?;
    let lookups = receipt.lookups();
    let (keys, runs) = (Vec::from_iter(lookups.keys), Vec::from_iter(lookups.runs));
    let named = store::bank::named(conn, company, &line.currency, &keys, &runs, NAMED)?;
    let mut own = store::bank::open_of(conn, company, &line.currency, &payer.clients, None, OWN)?;
    if own.len() as i64 == OWN {
        own = store::bank::open_of(
            conn,
            company,
            &line.currency,
            &payer.clients,
            Some(line.amount),
            10,
        )?;
    }
    let settled = store::bank::settled(conn, company, &keys, &runs)?;
    let named = candidates(conn, caller, named, line.booked_on)?;
    let own = candidates(conn, caller, own, line.booked_on)?;
    let decision = bank::decide(&receipt, &payer, &named, &own, books.settings.tolerance);
    Ok(decision.unless_paid_before(&settled))
}

/// The clients whose account this is, else the one client of this name.
pub fn payer_of(conn: &mut PgConnection, caller: &Caller, line: &Line) -> Result<Payer> {
    if let Some(iban) = &line.counterparty_iban {
        let clients = store::bank::clients_of_iban(conn, caller.company, iban)?;
        if !clients.is_empty() {
            return Ok(Payer {
                clients,
                by_account: true,
            });
        }
    }
    let named = match &line.counterparty {
        Some(name) => store::bank::clients_named(conn, caller.company, name)?,
        None => Vec::new(),
    };
    Ok(Payer {
        clients: if named.len() == 1 { named } else { Vec::new() },
        by_account: false,
    })
}

/// Items as the rules see them, with the discounts that a receipt of the day would earn and what is in dispute.
fn candidates(
    conn: &mut PgConnection,
    caller: &Caller,
    items: Vec<Item>,
    received_on: NaiveDate,
) -> Result<Vec<Candidate>> {
    let ids: Vec<ItemId> = items.iter().map(|item| item.id).collect();
    let disputed: HashMap<ItemId, Minor> =
        store::dispute::open_on_items(conn, caller.company, &ids)?
            .into_iter()
            .collect();
    let offers = offers(conn, caller, &items, received_on)?;
    Ok(items
        .into_iter()
        .map(|item| Candidate {
            item: item.id,
            client: item.client_id,
            document: item.source_id,
            is_debit: item.is_debit,
            open: item.open_amount,
            due_on: item.due_on.unwrap_or(item.posted_on),
            invoiced_on: item.invoiced_on,
            offer: offers
                .get(&item.source_id)
                .copied()
                .filter(|_| item.is_debit),
            disputed: disputed.get(&item.id).copied().unwrap_or_default(),
            family: item.family,
            reference: item.reference,
        })
        .collect())
}

fn offers(
    conn: &mut PgConnection,
    caller: &Caller,
    items: &[Item],
    received_on: NaiveDate,
) -> Result<HashMap<Uuid, Offer>> {
    let mut open: BTreeMap<Uuid, Minor> = BTreeMap::new();
    for item in items.iter().filter(|item| item.kind == "INVOICE") {
        *open.entry(item.source_id).or_default() += item.open_amount;
    }
    let ids: Vec<DocumentId> = open.keys().copied().map(DocumentId).collect();
    let mut offers = HashMap::new();
    for invoice in store::document::by_ids(conn, caller.company, &ids)? {
        // A discount is for payment of the whole.
        if open.get(&invoice.id.0) == Some(&invoice.total)
            && let Some((net, vat)) = discount::offered(conn, caller, &invoice, received_on)?
        {
            let gross = net + vat;
            offers.insert(invoice.id.0, Offer { gross, net });
        }
    }
    Ok(offers)
}

/// The receipt that a movement is.
pub fn receipt_of(
    movement: &Movement<'_>,
    client: Option<ClientId>,
    allocations: Vec<(ItemRef, Option<Decimal>)>,
) -> PaymentInput {
    let line = movement.line;
    let payer = line
        .counterparty
        .clone()
        .or_else(|| Some(line.remittance.chars().take(200).collect()))
        .filter(|payer: &String| !payer.trim().is_empty())
        .unwrap_or_else(|| "inconnu".into());
    PaymentInput {
        client: client.map(|client| Ref::Id(client.show())),
        payer: Some(payer),
        received_on: Some(line.booked_on),
        method: method_of(line),
        amount: movement.currency.decimal(line.amount),
        currency: Some(line.currency.clone()),
        exchange_rate: Some(movement.rate),
        remittance: Some(line.remittance.clone()),
        bank_account: Some(movement.account.account.clone()),
        late_entry: true,
        allocations,
        ..PaymentInput::default()
    }
}

/// Records the receipt for a client and lays it over what it pays.
fn pay(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    movement: &Movement<'_>,
    client: ClientId,
    laid: &Laid,
) -> Result<(PaymentId, Vec<OperationId>)> {
    let on = books.first_open_day(movement.line.booked_on);
    let (own, others): (Vec<Share>, Vec<Share>) = laid
        .shares
        .iter()
        .partition(|share| share.credit.is_none() && share.client == client);
    let allocations = own
        .iter()
        .map(|share| {
            let item = ItemRef {
                id: Some(share.debit.show()),
                ..ItemRef::default()
            };
            (item, Some(movement.currency.decimal(share.amount)))
        })
        .collect();
    let input = receipt_of(movement, Some(client), allocations);
    let payment = payment::record_by(conn, caller, &input, RULE)?.payment;
    let mut operations = lay(conn, caller, books, payment, client, &others, on)?;
    operations.extend(settle(conn, caller, payment, laid, on)?);
    Ok((payment, operations))
}

/// Lays money that is on a client's account over items: credits that the payer took off first, then the
/// client's own items on 411, then those on 416 and of other clients, to which the money moves (R13.4).
pub fn lay(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    payment: PaymentId,
    client: ClientId,
    shares: &[Share],
    on: NaiveDate,
) -> Result<Vec<OperationId>> {
    let ids: Vec<ItemId> = shares.iter().map(|share| share.debit).collect();
    let families: HashMap<ItemId, String> = store::item::by_ids(conn, caller.company, &ids)?
        .into_iter()
        .map(|item| (item.id, item.family))
        .collect();
    let family = |share: &Share| families.get(&share.debit).map_or("411", String::as_str);
    let pair = |share: &Share, credit: ItemId| Pair {
        debit: share.debit,
        credit,
        amount: share.amount,
        line: 0,
    };
    let mut pairs: Vec<Pair> = shares
        .iter()
        .filter_map(|share| share.credit.map(|credit| pair(share, credit)))
        .collect();
    let credit = store::item::by_sources(conn, caller.company, &[payment.0])?
        .into_iter()
        .find(|item| !item.is_debit && item.family == "411");
    let mut elsewhere: BTreeMap<(ClientId, bool), Vec<&Share>> = BTreeMap::new();
    for share in shares.iter().filter(|share| share.credit.is_none()) {
        let doubtful = family(share) == "416";
        match &credit {
            Some(credit) if share.client == client && !doubtful => {
                pairs.push(pair(share, credit.id))
            }
            _ => elsewhere
                .entry((share.client, doubtful))
                .or_default()
                .push(share),
        }
    }
    if !pairs.is_empty() {
        matching::match_pairs(conn, caller, books, &pairs, on, RULE)?;
    }
    let mut operations = Vec::new();
    for ((to, doubtful), shares) in elsewhere {
        let currency = credit
            .as_ref()
            .map_or(books.currency.code(), |item| &item.currency);
        let amount: Minor = shares.iter().map(|share| share.amount).sum();
        let input = TransferInput {
            credit: ItemRef {
                id: Some(payment.show()),
                ..ItemRef::default()
            },
            to: Ref::Id(to.show()),
            doubtful,
            amount: Some(books::currency(currency)?.decimal(amount)),
            on: Some(on),
            reason: "paid with one receipt for several accounts".into(),
        };
        let operation = discount::transfer(conn, caller, &input)?;
        let moved = store::item::by_sources(conn, caller.company, &[operation.0])?
            .into_iter()
            .find(|item| !item.is_debit)
            .ok_or_else(|| Error::Internal("a transfer without a credit".into()))?;
        let pairs: Vec<Pair> = shares.iter().map(|share| pair(share, moved.id)).collect();
        matching::match_pairs(conn, caller, books, &pairs, on, RULE)?;
        operations.push(operation);
    }
    Ok(operations)
}

/// Discounts that the receipt earned, and small differences (2.8, 2.14).
pub fn settle(
    conn: &mut PgConnection,
    caller: &Caller,
    payment: PaymentId,
    laid: &Laid,
    on: NaiveDate,
) -> Result<Vec<OperationId>> {
    let mut operations = Vec::new();
    match &laid.difference {
        Difference::None => {}
        Difference::Discount {
            documents,
            corrects_vat,
        } => {
            for document in documents {
                let input = DiscountInput {
                    invoice: Ref::Id(DocumentId(*document).show()),
                    payment: Ref::Id(payment.show()),
                    percent: None,
                    corrects_vat: *corrects_vat,
                    on: Some(on),
                };
                operations.push(discount::grant(conn, caller, &input)?);
            }
        }
        Difference::Small(owed) if *owed > 0 => {
            let debits: Vec<ItemId> = laid.shares.iter().map(|share| share.debit).collect();
            let sources: HashSet<Uuid> = store::item::by_ids(conn, caller.company, &debits)?
                .into_iter()
                .map(|item| item.source_id)
                .collect();
            for item in store::item::by_sources(conn, caller.company, &Vec::from_iter(sources))? {
                if item.is_debit && item.open_amount > 0 {
                    operations.push(small(conn, caller, item.id.show(), true, on)?);
                }
            }
        }
        Difference::Small(_) => operations.push(small(conn, caller, payment.show(), false, on)?),
    }
    Ok(operations)
}

fn small(
    conn: &mut PgConnection,
    caller: &Caller,
    id: String,
    is_debit: bool,
    on: NaiveDate,
) -> Result<OperationId> {
    let item = ItemRef {
        id: Some(id),
        ..ItemRef::default()
    };
    discount::settle_difference(conn, caller, &item, is_debit, Some(on))
}

/// Money that went back: the receipt is found and returned (R13.3), or waits on 471 for a person.
fn take_back(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    movement: &Movement<'_>,
) -> Result<LineStatus> {
    let line = movement.line;
    let mut evidence = "no receipt with this reference and amount".to_owned();
    if let Some((payment, fee)) = original(conn, caller, line)? {
        let done = attempt(conn, |conn| {
            returned(conn, caller, movement.currency, line, payment.id, fee)
        })?;
        match done {
            Ok(()) => {
                let status = LineStatus::Returned;
                store::bank::set_status(
                    conn,
                    caller.company,
                    line.id,
                    status.code(),
                    Some(payment.id),
                )?;
                Record::of(
                    Rule::Return,
                    status.code(),
                    format!("takes receipt {} back", payment.number),
                )
                .keep(conn, caller, line)?;
                return Ok(status);
            }
            Err(why) => evidence = why,
        }
    }
    let suspense = &books.settings.accounts.suspense;
    let operation = post(
        conn,
        caller,
        books,
        movement,
        suspense,
        "Impayé à identifier",
    )?;
    let subject = format!(
        "{} went back on {}: which receipt?",
        movement.currency.show(-line.amount),
        line.booked_on
    );
    ask(conn, caller, line, TaskKind::UnmatchedReturn, subject)?;
    let status = LineStatus::Unknown;
    store::bank::set_status(conn, caller.company, line.id, status.code(), None)?;
    Record {
        score: 0,
        operations: vec![operation],
        ..Record::of(Rule::Return, status.code(), evidence)
    }
    .keep(conn, caller, line)?;
    Ok(status)
}

/// Records the return of a receipt that a movement tells of.
pub fn returned(
    conn: &mut PgConnection,
    caller: &Caller,
    currency: Currency,
    line: &Line,
    payment: PaymentId,
    fee: Minor,
) -> Result<()> {
    let input = ReturnInput {
        on: Some(line.booked_on),
        reason: line
            .return_reason
            .clone()
            .or_else(|| Some(line.remittance.chars().take(300).collect())),
        fee: (fee > 0).then(|| currency.decimal(fee)),
        late_entry: true,
    };
    payment::record_return(conn, caller, &Ref::Id(payment.show()), &input).map(drop)
}

/// The one receipt that went back, and the bank's fee on top of it.
fn original(
    conn: &mut PgConnection,
    caller: &Caller,
    line: &Line,
) -> Result<Option<(Payment, Minor)>> {
    let id = end_to_end(line);
    let found = store::bank::receipts_like(conn, line, id, line.servicer_ref.as_deref())?;
    let mut payments: Vec<PaymentId> = found.iter().filter_map(|line| line.payment_id).collect();
    if payments.is_empty() {
        for number in id
            .into_iter()
            .chain(line.structured.iter().map(String::as_str))
        {
            let by_number = store::payment::by_number(conn, caller.company, number)?;
            let found = match by_number {
                Some(found) => Some(found),
                None => store::payment::by_external_ref(conn, caller.company, number)?,
            };
            payments.extend(found.map(|payment| payment.id));
        }
    }
    payments.sort();
    payments.dedup();
    let mut fitting = Vec::new();
    for payment in store::payment::by_ids(conn, caller.company, &payments)? {
        let fee = -line.amount - payment.amount;
        if payment.currency == line.currency && (0..=FEE.min(payment.amount)).contains(&fee) {
            fitting.push((payment, fee));
        }
    }
    // Two that fit are no answer.
    let only = fitting.pop();
    Ok(only.filter(|_| fitting.is_empty()))
}

/// Posts a debit of the bank that is no receipt: D `account` / C 512.
fn post(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    movement: &Movement<'_>,
    account: &str,
    label: &str,
) -> Result<OperationId> {
    let (line, amount) = (movement.line, -movement.line.amount);
    let reason = Some(line.remittance.chars().take(500).collect::<String>());
    let operation = New {
        reason: reason.filter(|reason| !reason.trim().is_empty()),
        ..New::of(
            OperationKind::BankMovement,
            line.booked_on,
            amount,
            movement.currency,
        )
    }
    .record(conn, caller, books)?;
    let lines = vec![
        NewLine::debit(account, amount),
        NewLine::credit(&movement.account.account, amount),
    ];
    let mut posting = operation::posting(books, &operation, label, movement.rate, lines)?;
    posting.journal.clone_from(&movement.account.journal);
    books::post(conn, caller, books, vec![posting])?;
    Ok(operation.id)
}
