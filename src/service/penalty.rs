//! Late-payment interest and the 40 € (2.9, 6.3 to 6.6): computed always, claimed by decision, waived
//! with author and reason (R6.13).

use std::collections::HashMap;

use chrono::{Days, NaiveDate};
use diesel::pg::PgConnection;
use rust_decimal::Decimal;
use serde_json::json;
use uuid::Uuid;

use super::approval;
use super::books::{self, Books, NewItem, NewLine};
use super::invoice::is_professional;
use super::law;
use super::operation::{self, New, OperationKind};
use super::reference::{self, Ref};
use crate::domain::access::{Caller, codes};
use crate::domain::approval::{ApprovalKind, Matter};
use crate::domain::ids::{ClientId, DocumentId, Id, OperationId};
use crate::domain::money::{Minor, round_half_up};
use crate::domain::penalty::{
    self, Dated, LateClaim, NotCovered, PenaltyRates, Rate, Reduction, Segment, value_on,
};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::{Error, Result};
use crate::store::client::Client;
use crate::store::document::Document;
use crate::store::item::Item;
use crate::store::operation::{PenaltyClaim, PenaltyWaiver};
use crate::store::penalty::{Due, Reduced};
use crate::store::{self};

codes! {
    /// What is given up.
    WaiverScope {
        /// The interest.
        Interest = "INTEREST",
        /// The flat indemnity.
        Indemnity = "INDEMNITY",
        /// Both.
        Both = "BOTH",
    }
}

/// What an invoice's delay has cost by a day. Amounts in minor units of the invoice.
#[derive(Clone, Debug)]
pub struct LateInvoice {
    pub invoice: Document,
    /// Interest through that day, whatever was claimed of it.
    pub interest: Minor,
    /// The indemnity that the delay gives a right to.
    pub indemnity: Minor,
    pub claimed_interest: Minor,
    pub claimed_indemnity: Minor,
    pub interest_waived: bool,
    pub indemnity_waived: bool,
    /// How the interest comes about.
    pub segments: Vec<Segment>,
    /// Whether a part is in an open dispute: then nothing is claimed yet (R8.5).
    pub disputed: bool,
    /// The contractual rate is below the legal floor by now (R6.7).
    pub below_floor: bool,
}

impl LateInvoice {
    /// Interest that may be claimed now.
    pub fn claimable_interest(&self) -> Minor {
        if self.interest_waived {
            0
        } else {
            (self.interest - self.claimed_interest).max(0)
        }
    }

    /// Indemnity that may be claimed now: once for each invoice (6.6).
    pub fn claimable_indemnity(&self) -> Minor {
        if self.indemnity_waived || self.claimed_indemnity > 0 {
            0
        } else {
            self.indemnity
        }
    }
}

/// The legal tables.
struct Law {
    rates: PenaltyRates,
    public_margin: Vec<Dated>,
    indemnity: Vec<Dated>,
}

fn law(conn: &mut PgConnection) -> Result<Law> {
    let mut tables = law::Tables::load(conn)?;
    let mut take = |kind: &str| tables.take(kind);
    Ok(Law {
        rates: PenaltyRates {
            ecb: take("ECB_REFINANCING"),
            margin: take("DEFAULT_PENALTY_MARGIN"),
            legal: take("LEGAL_INTEREST_PROFESSIONAL"),
            floor_multiple: take("CONTRACT_FLOOR_MULTIPLE"),
        },
        public_margin: take("PUBLIC_PENALTY_MARGIN"),
        indemnity: take("RECOVERY_INDEMNITY"),
    })
}

fn not_covered(error: NotCovered) -> Error {
    law::not_covered("through", &error)
}

/// The least contractual rate that may be agreed from a day (R6.5, R6.7).
pub fn contract_floor(conn: &mut PgConnection, on: NaiveDate) -> Result<Decimal> {
    law(conn)?.rates.floor_on(on).map_err(not_covered)
}

/// What these invoices' delays have cost by a day.
pub fn late(
    conn: &mut PgConnection,
    caller: &Caller,
    invoices: &[Document],
    through: NaiveDate,
) -> Result<Vec<LateInvoice>> {
    if invoices.is_empty() {
        return Ok(Vec::new());
    }
    let books = books::open(conn, caller)?;
    let company = caller.company;
    let ids: Vec<DocumentId> = invoices.iter().map(|invoice| invoice.id).collect();
    let law = law(conn)?;
    let dues = store::penalty::dues(conn, company, &ids)?;
    let reductions = store::penalty::reductions(conn, company, &ids)?;
    let claims = store::operation::claims_of(conn, company, &ids)?;
    let waivers = store::operation::waivers_of(conn, company, &ids)?;
    let client_ids: Vec<ClientId> = invoices.iter().map(|invoice| invoice.client_id).collect();
    let clients: HashMap<ClientId, Client> = store::client::by_ids(conn, company, &client_ids)?
        .into_iter()
        .map(|client| (client.id, client))
        .collect();
    let mut found = Vec::new();
    for invoice in invoices {
        let Some(client) = clients.get(&invoice.client_id) else {
            continue;
        };
        let own: Vec<&Due> = dues
            .iter()
            .filter(|due| due.invoice_id == invoice.id.0)
            .collect();
        let segments =
            segments_of(&law, client, invoice, &own, &reductions, through).map_err(not_covered)?;
        let interest = penalty::interest(&segments)
            .ok_or_else(|| Error::Internal("interest is too large".into()))?;
        let claimed = |part: fn(&PenaltyClaim) -> Minor| -> Minor {
            claims
                .iter()
                .filter(|claim| claim.invoice_id == invoice.id)
                .map(part)
                .sum()
        };
        let waived = |scope: WaiverScope| {
            waivers.iter().any(|(waiver, _)| {
                waiver.invoice_id == invoice.id
                    && (waiver.scope == scope.code() || waiver.scope == WaiverScope::Both.code())
            })
        };
        let floor = law.rates.floor_on(through);
        let below_floor = match (client.penalty_rate, floor) {
            (Some(rate), Ok(floor)) if !segments.is_empty() => rate < floor,
            _ => false,
        };
        found.push(LateInvoice {
            interest,
            indemnity: indemnity(&law, &books, client, invoice, &own, &segments)?,
            claimed_interest: claimed(|claim| claim.interest),
            claimed_indemnity: claimed(|claim| claim.indemnity),
            interest_waived: waived(WaiverScope::Interest),
            indemnity_waived: waived(WaiverScope::Indemnity),
            segments,
            disputed: own.iter().any(|due| due.disputed > 0),
            below_floor,
            invoice: invoice.clone(),
        });
    }
    Ok(found)
}

/// The segments of every due date of an invoice. None for consumers (R6.12); none from the judgment that
/// opens insolvency proceedings on (R6.11).
fn segments_of(
    law: &Law,
    client: &Client,
    invoice: &Document,
    dues: &[&Due],
    reductions: &[Reduced],
    through: NaiveDate,
) -> std::result::Result<Vec<Segment>, NotCovered> {
    let mut segments = Vec::new();
    if !is_professional(client) {
        return Ok(segments);
    }
    let through = match client.insolvency_on {
        Some(judgment) => through.min(judgment.checked_sub_days(Days::new(1)).unwrap_or(judgment)),
        None => through,
    };
    for due in dues {
        let first = due
            .due_on
            .checked_add_days(Days::new(1))
            .unwrap_or(due.due_on);
        let rate = match client.penalty_rate {
            Some(rate) => Rate::Contract(rate),
            // Public buyers: ECB + 8, the rate of the half-year in which interest began (6.1).
            None if client.segment == "PUBLIC" && first <= through => Rate::Contract(
                value_on(&law.rates.ecb, "ECB refinancing rate", first)?.value
                    + value_on(&law.public_margin, "margin for public buyers", first)?.value,
            ),
            None => Rate::Default,
        };
        let claim = LateClaim {
            due_on: due.due_on,
            amount: due.amount,
            reductions: reductions
                .iter()
                .filter(|reduced| {
                    reduced.invoice_id == invoice.id.0 && reduced.due_on == due.due_on
                })
                .map(|reduced| Reduction {
                    on: reduced.paid_on,
                    amount: reduced.amount,
                    from_first_day: reduced.corrects,
                })
                .collect(),
        };
        segments.extend(penalty::segments(&claim, rate, &law.rates, through)?);
    }
    Ok(segments)
}

/// 40 € once an invoice is late, whatever its instalments (6.6); not when the proceedings forbade to pay (R6.11).
fn indemnity(
    law: &Law,
    books: &Books,
    client: &Client,
    invoice: &Document,
    dues: &[&Due],
    segments: &[Segment],
) -> Result<Minor> {
    let Some(first) = segments.first() else {
        return Ok(0);
    };
    let late_due = dues
        .iter()
        .map(|due| due.due_on)
        .find(|due| *due < first.from);
    if client
        .insolvency_on
        .is_some_and(|judgment| late_due.is_some_and(|due| due >= judgment))
    {
        return Ok(0);
    }
    let euros = value_on(&law.indemnity, "flat recovery indemnity", first.from)
        .map_err(not_covered)?
        .value;
    let currency = books::currency(&invoice.currency)?;
    let amount = if currency.code() == "EUR" || books.currency.code() != "EUR" {
        euros
    } else {
        euros / invoice.exchange_rate
    };
    round_half_up(amount * Decimal::from(10_i64.pow(currency.exponent())))
        .ok_or_else(|| Error::Internal("the indemnity is too large".into()))
}

/// A claim as entered.
#[derive(Clone, Debug)]
pub struct ClaimInput {
    pub invoices: Vec<Ref>,
    /// Interest through this day; today when absent.
    pub through: Option<NaiveDate>,
    /// Leave the indemnity out.
    pub interest_only: bool,
}

/// Claims interest and indemnity of a client's invoices: D 411 / C 7631 and C 7581, each an item of its
/// own that bears no further interest (R2.19), outside VAT.
pub fn claim(conn: &mut PgConnection, caller: &Caller, input: &ClaimInput) -> Result<OperationId> {
    let books = books::open(conn, caller)?;
    let through = input.through.unwrap_or(caller.today);
    if through > caller.today {
        return Err(Refusal::invalid("through", "interest runs up to today at the latest").into());
    }
    if input.invoices.is_empty() || input.invoices.len() > 100 {
        return Err(Refusal::invalid("invoices", "1 to 100 invoices are needed").into());
    }
    let on = caller.today;
    books.check_day("through", on)?;
    let mut invoices: Vec<Document> = Vec::new();
    for (position, target) in input.invoices.iter().enumerate() {
        let field = format!("invoices.{position}");
        let invoice = reference::invoice(conn, caller, &field, target)?;
        // Those who claim the same invoice at once wait in line.
        store::document::for_update(conn, caller.company, invoice.id)?;
        if invoices.iter().any(|other| other.id == invoice.id) {
            return Err(Refusal::new(RefusalCode::Duplicate, &field, "named twice").into());
        }
        if let Some(first) = invoices.first()
            && (first.client_id != invoice.client_id || first.currency != invoice.currency)
        {
            return Err(Refusal::new(
                RefusalCode::AllocationMismatch,
                &field,
                "a claim is on one client and in one currency",
            )
            .into());
        }
        invoices.push(invoice);
    }
    let late = late(conn, caller, &invoices, through)?;
    let mut parts = Vec::new();
    for (position, found) in late.iter().enumerate() {
        if found.disputed {
            return Err(Refusal::new(
                RefusalCode::WrongState,
                &format!("invoices.{position}"),
                format!(
                    "{} is in dispute: its penalties are claimed when the dispute is rejected (R8.5)",
                    found.invoice.number
                ),
            )
            .into());
        }
        let interest = found.claimable_interest();
        let indemnity = if input.interest_only {
            0
        } else {
            found.claimable_indemnity()
        };
        if interest + indemnity == 0 {
            return Err(Refusal::new(
                RefusalCode::WrongState,
                &format!("invoices.{position}"),
                format!("nothing is left to claim for {}", found.invoice.number),
            )
            .into());
        }
        parts.push((found, interest, indemnity));
    }
    let client = invoices[0].client_id;
    let currency = books::currency(&invoices[0].currency)?;
    let interest: Minor = parts.iter().map(|part| part.1).sum();
    let indemnity: Minor = parts.iter().map(|part| part.2).sum();
    let operation = New {
        client: Some(client),
        details: json!({ "through": through }),
        ..New::of(OperationKind::Penalty, on, interest + indemnity, currency)
    }
    .record(conn, caller, &books)?;
    let claims: Vec<PenaltyClaim> = parts
        .iter()
        .map(|(found, interest, indemnity)| PenaltyClaim {
            company_id: caller.company,
            id: Uuid::now_v7(),
            operation_id: operation.id,
            client_id: client,
            invoice_id: found.invoice.id,
            computed_through: through,
            interest: *interest,
            indemnity: *indemnity,
        })
        .collect();
    store::operation::insert_claims(conn, &claims)?;
    let accounts = &books.settings.accounts;
    let mut lines = Vec::new();
    for claim in &claims {
        for (kind, amount) in [("PENALTY", claim.interest), ("INDEMNITY", claim.indemnity)] {
            if amount > 0 {
                lines.push(NewLine::debit(&accounts.receivable, amount).open(
                    client,
                    NewItem {
                        kind,
                        source_id: operation.id.0,
                        reference: operation.number.clone(),
                        invoice_id: None,
                        invoiced_on: on,
                        due_on: Some(on),
                        document_net: amount,
                        document_total: amount,
                    },
                ));
            }
        }
    }
    for (account, amount) in [
        (&accounts.penalties, interest),
        (&accounts.indemnities, indemnity),
    ] {
        if amount > 0 {
            lines.push(NewLine::credit(account, amount));
        }
    }
    let mut posting = operation::posting(
        &books,
        &operation,
        &format!("Pénalités de retard {}", operation.number),
        invoices[0].exchange_rate,
        lines,
    )?;
    posting.journal = "VE".into();
    books::post(conn, caller, &books, vec![posting])?;
    Ok(operation.id)
}

/// Gives up interest, indemnity or both of an invoice. What was claimed and is open is taken back:
/// D 7631 or 7581 / C 411, matched with the claim.
pub fn waive(
    conn: &mut PgConnection,
    caller: &Caller,
    invoice: &Ref,
    scope: WaiverScope,
    reason: &str,
) -> Result<Option<OperationId>> {
    let books = books::open(conn, caller)?;
    let invoice = reference::invoice(conn, caller, "invoice", invoice)?;
    store::document::for_update(conn, caller.company, invoice.id)?;
    let reason = books::text("reason", reason, 500)?;
    let on = caller.today;
    let matter = waived(conn, caller, &books, &invoice, scope)?;
    store::operation::insert_waiver(
        conn,
        &PenaltyWaiver {
            company_id: caller.company,
            id: Uuid::now_v7(),
            client_id: invoice.client_id,
            invoice_id: invoice.id,
            scope: scope.code().to_owned(),
            reason: reason.clone(),
            waived_on: on,
            recorded_by: caller.author.clone(),
        },
    )?;
    let claimed = claimed_items(conn, caller, invoice.id)?;
    let concerned: Vec<&Item> = claimed
        .iter()
        .filter(|item| {
            item.open_amount > 0
                && match scope {
                    WaiverScope::Interest => item.kind == "PENALTY",
                    WaiverScope::Indemnity => item.kind == "INDEMNITY",
                    WaiverScope::Both => true,
                }
        })
        .collect();
    if concerned.is_empty() {
        approval::gate(conn, caller, &books, matter)?;
        return Ok(None);
    }
    books.check_day("invoice", on)?;
    let amount = concerned.iter().map(|item| item.open_amount).sum();
    let operation = New {
        client: Some(invoice.client_id),
        invoice: Some(invoice.id),
        reason: Some(reason),
        details: json!({ "scope": scope.code() }),
        ..New::of(
            OperationKind::Waiver,
            on,
            amount,
            books::currency(&invoice.currency)?,
        )
    }
    .record(conn, caller, &books)?;
    let accounts = &books.settings.accounts;
    let mut lines = Vec::new();
    for item in &concerned {
        let account = if item.kind == "PENALTY" {
            &accounts.penalties
        } else {
            &accounts.indemnities
        };
        lines.push(NewLine::debit(account, item.open_amount));
        lines.push(
            NewLine::credit(books.client_account(&item.family), item.open_amount).open(
                item.client_id,
                operation::item_like("WAIVER", &operation, item, false),
            ),
        );
    }
    let posting = operation::posting(
        &books,
        &operation,
        &format!("Abandon de pénalités {}", invoice.number),
        invoice.exchange_rate,
        lines,
    )?;
    let made = books::post(conn, caller, &books, vec![posting])?;
    for (item, credit) in concerned.iter().zip(&made) {
        operation::settle(
            conn,
            caller,
            &books,
            item.id,
            credit.id,
            item.open_amount,
            on,
        )?;
    }
    let result = operation.id.show();
    approval::gate(conn, caller, &books, Matter { result, ..matter })?;
    Ok(Some(operation.id))
}

/// What a waiver gives up: what may be claimed still, and what was claimed and is open. Asked before it is recorded.
fn waived(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    invoice: &Document,
    scope: WaiverScope,
) -> Result<Matter> {
    let matter = Matter {
        client: Some(invoice.client_id),
        document: Some(invoice.id),
        ..Matter::of(ApprovalKind::PenaltyWaiver, invoice.id.show())
    };
    if caller.approval.is_none() && books.settings.approvals.penalty_waiver.is_empty() {
        // Nobody asks how much it is: rates that are not known yet do not matter.
        return Ok(matter);
    }
    let found = late(conn, caller, std::slice::from_ref(invoice), caller.today)?;
    let claimed = claimed_items(conn, caller, invoice.id)?;
    let open = |kind: &str| -> Minor {
        let items = claimed.iter().filter(|item| item.kind == kind);
        items.map(|item| item.open_amount).sum()
    };
    let sum = |part: fn(&LateInvoice) -> Minor| -> Minor { found.iter().map(part).sum() };
    let interest = sum(LateInvoice::claimable_interest) + open("PENALTY");
    let indemnity = sum(LateInvoice::claimable_indemnity) + open("INDEMNITY");
    let (left_interest, left_indemnity) = match scope {
        WaiverScope::Interest => (0, indemnity),
        WaiverScope::Indemnity => (interest, 0),
        WaiverScope::Both => (0, 0),
    };
    let currency = books::currency(&invoice.currency)?;
    let shown = |interest: Minor, indemnity: Minor| {
        json!({
            "invoice": invoice.number,
            "interest": currency.decimal(interest).to_string(),
            "indemnity": currency.decimal(indemnity).to_string(),
        })
    };
    let given_up = interest + indemnity - left_interest - left_indemnity;
    Ok(Matter {
        amount: Some((given_up, currency)),
        before: shown(interest, indemnity),
        after: shown(left_interest, left_indemnity),
        ..matter
    })
}

/// The items that claims on an invoice made, found by their place: interest, then indemnity, claim by claim.
fn claimed_items(
    conn: &mut PgConnection,
    caller: &Caller,
    invoice: DocumentId,
) -> Result<Vec<Item>> {
    let mut found = Vec::new();
    for own in store::operation::claims_of(conn, caller.company, &[invoice])? {
        let mut items = store::item::by_sources(conn, caller.company, &[own.operation_id.0])?;
        items.sort_by_key(|item| item.entry_line);
        let mut items = items.into_iter();
        for claim in store::operation::claims_by_operation(conn, caller.company, own.operation_id)?
        {
            for amount in [claim.interest, claim.indemnity] {
                if amount > 0
                    && let Some(item) = items.next()
                    && claim.id == own.id
                {
                    found.push(item);
                }
            }
        }
    }
    Ok(found)
}
