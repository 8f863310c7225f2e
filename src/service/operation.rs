//! Operations beyond documents and receipts: what they share, and how one is reversed.

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use serde_json::{Value, json};

use super::books::{self, Books, NewItem, NewLine, Posting};
use super::matching::{self, Pair};
use super::reference::Ref;
use crate::domain::access::{Caller, codes};
use crate::domain::ids::{
    ClientId, DocumentId, DoubtfulFileId, Id, ItemId, OperationId, PaymentId,
};
use crate::domain::money::{Currency, Minor};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::{Error, Result};
use crate::store::item::Item;
use crate::store::matching::Ending;
use crate::store::operation::Operation;
use crate::store::{self};

codes! {
    /// What an operation does.
    OperationKind {
        /// Early-payment discount (escompte, 2.8).
        Discount = "DISCOUNT",
        /// Small difference written off (2.14).
        Difference = "DIFFERENCE",
        /// A deposit used on an invoice (2.4).
        DepositUse = "DEPOSIT_USE",
        /// Late-payment interest and indemnity claimed (2.9).
        Penalty = "PENALTY",
        /// A claimed penalty given up (R6.13).
        Waiver = "WAIVER",
        /// Transfer to doubtful clients, 416 (2.10).
        Doubtful = "DOUBTFUL",
        /// Definitive loss, 654 (2.11).
        WriteOff = "WRITE_OFF",
        /// Money received after the loss, 7583 (2.12).
        Recovery = "RECOVERY",
        /// Claims assigned to a factor (2.13).
        Assignment = "ASSIGNMENT",
        /// The factor's settlement (2.13).
        FactorSettlement = "FACTOR_SETTLEMENT",
        /// The factor's guarantee fund released (2.13).
        RetentionRelease = "RETENTION_RELEASE",
        /// A client paid us what belongs to the factor (2.13).
        FactorDiverted = "FACTOR_DIVERTED",
        /// The factor returns an unpaid claim (2.13).
        Recourse = "RECOURSE",
        /// Invoices or credit notes to be issued, at a closing (2.14).
        Accrual = "ACCRUAL",
        /// Exchange difference at a matching (2.14).
        Exchange = "EXCHANGE",
        /// A discounted bill reached its maturity (2.6).
        BillMaturity = "BILL_MATURITY",
        /// Money moved between two client accounts, or two accounts of a client (R13.4).
        Transfer = "TRANSFER",
        /// Takes another operation back (R2.2).
        Reversal = "REVERSAL",
        /// A movement on a bank account that no receipt explains: a charge, or money back of an unknown receipt (13.2).
        BankMovement = "BANK_MOVEMENT",
    }
}

/// An operation to record; [`New::record`] numbers and writes it.
pub struct New {
    pub kind: OperationKind,
    pub client: Option<ClientId>,
    pub invoice: Option<DocumentId>,
    pub payment: Option<PaymentId>,
    pub follows: Option<OperationId>,
    pub file: Option<DoubtfulFileId>,
    pub on: NaiveDate,
    pub net: Minor,
    pub vat: Minor,
    pub currency: Currency,
    pub reason: Option<String>,
    pub evidence: Vec<String>,
    pub details: Value,
}

impl New {
    /// An operation without anything special.
    pub fn of(kind: OperationKind, on: NaiveDate, amount: Minor, currency: Currency) -> New {
        New {
            kind,
            client: None,
            invoice: None,
            payment: None,
            follows: None,
            file: None,
            on,
            net: amount,
            vat: 0,
            currency,
            reason: None,
            evidence: Vec::new(),
            details: json!({}),
        }
    }

    /// Takes the next number of the series and writes the operation; its entries are posted after.
    pub fn record(
        self,
        conn: &mut PgConnection,
        caller: &Caller,
        books: &Books,
    ) -> Result<Operation> {
        let series = &books.settings.series;
        let prefix = match self.kind {
            // A penalty note has its own series (R2.19).
            OperationKind::Penalty => &series.penalties,
            _ => &series.operations,
        };
        let number = books.next_number(conn, prefix, self.on, false, "on")?;
        let row = Operation {
            company_id: caller.company,
            id: OperationId::new(),
            number,
            kind: self.kind.code().to_owned(),
            client_id: self.client,
            invoice_id: self.invoice,
            payment_id: self.payment,
            follows_id: self.follows,
            happened_on: self.on,
            amount: self.net + self.vat,
            net: self.net,
            vat: self.vat,
            currency: self.currency.code().to_owned(),
            reason: self.reason,
            evidence: json!(self.evidence),
            details: self.details,
            recorded_by: caller.author.clone(),
            file_id: self.file,
        };
        store::operation::insert(conn, &row)?;
        Ok(row)
    }
}

/// The entry of an operation, in the miscellaneous journal unless said otherwise.
pub fn posting(
    books: &Books,
    operation: &Operation,
    label: &str,
    rate: rust_decimal::Decimal,
    lines: Vec<NewLine>,
) -> Result<Posting> {
    Ok(Posting {
        journal: "OD".into(),
        posted_on: books.first_open_day(operation.happened_on),
        occurred_on: operation.happened_on,
        reference: operation.number.clone(),
        label: label.to_owned(),
        source_kind: "OPERATION",
        source_id: operation.id.0,
        reversal_of: None,
        currency: books::currency(&operation.currency)?,
        rate,
        lines,
    })
}

/// An item of an operation that stands for (part of) another: same invoice, same due date, same HT/TTC ratio (R4.13).
pub fn item_like(kind: &'static str, operation: &Operation, of: &Item, is_debit: bool) -> NewItem {
    NewItem {
        kind,
        source_id: operation.id.0,
        reference: operation.number.clone(),
        invoice_id: of.invoice_id,
        invoiced_on: of.invoiced_on,
        due_on: is_debit.then(|| of.due_on.unwrap_or(of.posted_on)),
        document_net: of.document_net,
        document_total: of.document_total,
    }
}

/// The rule of matchings that an operation makes with its own items.
pub const RULE: &str = "OPERATION";

/// Matches two items for an amount, as the consequence of an operation.
pub fn settle(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    debit: ItemId,
    credit: ItemId,
    amount: Minor,
    on: NaiveDate,
) -> Result<()> {
    let pair = Pair {
        debit,
        credit,
        amount,
        line: 0,
    };
    matching::match_pairs(conn, caller, books, &[pair], on, RULE).map(drop)
}

/// The evidence of the input: trimmed, and refused when there is none (R5.3).
pub fn evidence(given: &[String]) -> Result<Vec<String>> {
    let kept: Vec<String> = given
        .iter()
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .collect();
    if kept.is_empty() {
        return Err(Refusal::new(
            RefusalCode::EvidenceRequired,
            "evidence",
            "name at least one document that proves it: only proof of the efforts to collect justifies this step",
        )
        .into());
    }
    if kept.len() > 50 || kept.iter().any(|text| text.chars().count() > 300) {
        return Err(Refusal::invalid(
            "evidence",
            "at most 50 documents of at most 300 characters each",
        )
        .into());
    }
    Ok(kept)
}

/// The operation, or `NOT_FOUND`.
pub fn find(
    conn: &mut PgConnection,
    caller: &Caller,
    field: &str,
    target: &Ref,
) -> Result<Operation> {
    let found = match target {
        Ref::Number(number) => store::operation::by_number(conn, caller.company, number)?,
        Ref::Id(id) | Ref::ExternalRef(id) => match OperationId::read(id) {
            Some(id) => store::operation::by_ids(conn, caller.company, &[id])?.pop(),
            None => None,
        },
    };
    found.ok_or_else(|| Refusal::not_found(field, "operation").into())
}

/// Takes an operation back by a mirror entry (contre-passation, R2.2): its matchings end, what it had
/// settled is open again with its own due date, and both stay in the books.
pub fn reverse(
    conn: &mut PgConnection,
    caller: &Caller,
    target: &Ref,
    on: Option<NaiveDate>,
    reason: &str,
) -> Result<OperationId> {
    let books = books::open(conn, caller)?;
    let operation = find(conn, caller, "operation", target)?;
    let reason = books::text("reason", reason, 500)?;
    let on = on.unwrap_or(caller.today.max(operation.happened_on));
    books.check_day("on", on)?;
    if on < operation.happened_on {
        return Err(Refusal::invalid(
            "on",
            format!("the operation is of {}", operation.happened_on),
        )
        .into());
    }
    let kind = OperationKind::read(&operation.kind)
        .ok_or_else(|| Error::Internal(format!("stored operation {}", operation.kind)))?;
    if !is_reversible(kind) {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "operation",
            "this operation is not taken back by itself: its own step does that",
        )
        .detail("kind", kind.code())
        .into());
    }
    if !store::operation::followers(conn, caller.company, operation.id, "REVERSAL")?.is_empty() {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "operation",
            "this operation was taken back already",
        )
        .into());
    }
    if super::doubtful::recovered(conn, caller, operation.id)? > 0 {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "operation",
            "money was received on this loss: take the recovery back first",
        )
        .into());
    }
    let reversal = New {
        client: operation.client_id,
        invoice: operation.invoice_id,
        payment: operation.payment_id,
        follows: Some(operation.id),
        net: operation.net,
        vat: operation.vat,
        reason: Some(reason),
        ..New::of(
            OperationKind::Reversal,
            on,
            operation.amount,
            books::currency(&operation.currency)?,
        )
    }
    .record(conn, caller, &books)?;
    mirror(conn, caller, &books, operation.id.0, &reversal)?;
    super::doubtful::undo_movements(conn, caller, operation.id, on)?;
    super::vat_receipts::undo_reduction(conn, caller, &books, &operation, on)?;
    Ok(reversal.id)
}

/// Operations whose whole effect is their own entries.
fn is_reversible(kind: OperationKind) -> bool {
    match kind {
        OperationKind::Discount
        | OperationKind::Difference
        | OperationKind::DepositUse
        | OperationKind::Doubtful
        | OperationKind::WriteOff
        | OperationKind::Accrual
        | OperationKind::BankMovement
        | OperationKind::Recovery
        | OperationKind::Transfer => true,
        OperationKind::Penalty
        | OperationKind::Waiver
        | OperationKind::Assignment
        | OperationKind::FactorSettlement
        | OperationKind::RetentionRelease
        | OperationKind::FactorDiverted
        | OperationKind::Recourse
        | OperationKind::Exchange
        | OperationKind::BillMaturity
        | OperationKind::Reversal => false,
    }
}

/// Posts the mirror of every entry of a source, ends what its items are matched with, and settles each
/// item with its mirror.
pub fn mirror(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    source: uuid::Uuid,
    by: &Operation,
) -> Result<()> {
    let company = caller.company;
    let items = store::item::by_sources(conn, company, &[source])?;
    let ids: Vec<ItemId> = items.iter().map(|item| item.id).collect();
    let running = store::matching::active_of(conn, company, &ids)?;
    if running.iter().any(|allocation| allocation.rule != RULE) {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "operation",
            "what it opened was paid or matched since: end those matchings first",
        )
        .into());
    }
    let on = books.first_open_day(by.happened_on);
    if !running.is_empty() {
        matching::end_allocations(conn, caller, books, &running, Ending::on(on))?;
    }
    let mut postings = Vec::new();
    let entries = store::journal::by_sources(conn, company, &[source])?;
    let all = store::journal::lines(
        conn,
        company,
        &entries.iter().map(|entry| entry.id).collect::<Vec<_>>(),
    )?;
    for entry in &entries {
        let own = all.iter().filter(|line| line.entry_id == entry.id);
        let mut lines = Vec::new();
        let mut currency = books.currency;
        for line in own {
            currency = books::currency(&line.currency)?;
            let item = items
                .iter()
                .find(|item| item.entry_id == entry.id && item.entry_line == line.line);
            let mut mirrored = NewLine {
                account: line.account.clone(),
                client: line.client_id,
                debit: line.credit,
                credit: line.debit,
                // The same amounts in the company's currency, whatever the rate is today.
                base: (currency != books.currency).then_some(line.base_credit - line.base_debit),
                item: None,
            };
            if let Some(item) = item {
                mirrored = mirrored.open(
                    item.client_id,
                    item_like("REVERSAL", by, item, !item.is_debit),
                );
            }
            lines.push(mirrored);
        }
        postings.push(Posting {
            journal: entry.journal.clone(),
            posted_on: on,
            occurred_on: by.happened_on,
            reference: by.number.clone(),
            label: format!("Extourne {}", entry.reference),
            source_kind: "OPERATION",
            source_id: by.id.0,
            reversal_of: Some(entry.id),
            currency,
            rate: rust_decimal::Decimal::ONE,
            lines,
        });
    }
    let made = books::post(conn, caller, books, postings)?;
    // In the order of posting: each item and its mirror stand at the same place.
    let mut originals: Vec<&Item> = items.iter().collect();
    originals.sort_by_key(|item| {
        let entry = entries.iter().position(|entry| entry.id == item.entry_id);
        (entry, item.entry_line)
    });
    let pairs: Vec<Pair> = originals
        .iter()
        .zip(&made)
        .map(|(original, mirror)| {
            let (debit, credit) = if original.is_debit {
                (original.id, mirror.id)
            } else {
                (mirror.id, original.id)
            };
            Pair {
                debit,
                credit,
                amount: original.amount,
                line: 0,
            }
        })
        .collect();
    if !pairs.is_empty() {
        matching::match_pairs(conn, caller, books, &pairs, on, "REVERSAL")?;
    }
    Ok(())
}
