//! Matching (lettrage): allocations between items, their letters, and proposals.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use rust_decimal::Decimal;
use serde_json::json;

use super::books::{self, Books};
use super::reference::{self, ItemRef, Ref};
use super::{approval, exchange, vat_receipts};
use crate::domain::access::Caller;
use crate::domain::approval::{ApprovalKind, Matter};
use crate::domain::ids::{AllocationId, ClientId, DocumentId, Id, ItemId, MatchingId};
use crate::domain::lettering;
use crate::domain::money::Minor;
use crate::domain::proposal::{self, CreditKind, OpenCredit, OpenDebit};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::Result;
use crate::store::item::{Change, Item};
use crate::store::matching::{Allocation, Matching};
use crate::store::{self};

/// One allocation asked for; without an amount, as much as both sides have open.
#[derive(Clone, Debug)]
pub struct Line {
    pub debit: ItemRef,
    pub credit: ItemRef,
    pub amount: Option<Decimal>,
}

/// A pair of items and the amount to match, all known.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    pub debit: ItemId,
    pub credit: ItemId,
    pub amount: Minor,
    /// Position of the input line, for the refusal's field.
    pub line: usize,
}

/// Matches items as the caller says (R3.4).
pub fn allocate(
    conn: &mut PgConnection,
    caller: &Caller,
    lines: &[Line],
    on: Option<NaiveDate>,
) -> Result<Vec<AllocationId>> {
    let books = books::open(conn, caller)?;
    let on = on.unwrap_or(caller.today);
    books.check_day("allocatedOn", on)?;
    if lines.is_empty() || lines.len() > 100 {
        return Err(Refusal::invalid("lines", "1 to 100 lines are needed").into());
    }
    let mut open = HashMap::new();
    let mut pairs = Vec::new();
    for (position, line) in lines.iter().enumerate() {
        let debits = reference::items(
            conn,
            caller,
            &format!("lines.{position}.debit"),
            &line.debit,
            true,
        )?;
        let credits = reference::items(
            conn,
            caller,
            &format!("lines.{position}.credit"),
            &line.credit,
            false,
        )?;
        for item in debits.iter().chain(&credits) {
            open.entry(item.id).or_insert(item.open_amount);
        }
        same_account(&debits[0], &credits[0], position)?;
        let currency = books::currency(&debits[0].currency)?;
        let field = format!("lines.{position}.amount");
        let sum = |items: &[Item]| items.iter().map(|item| open[&item.id]).sum::<Minor>();
        let wanted = match line.amount {
            Some(amount) => books::amount(&field, amount, currency)?,
            None => sum(&debits).min(sum(&credits)),
        };
        for (side, available) in [("debit", sum(&debits)), ("credit", sum(&credits))] {
            if wanted > available || wanted == 0 {
                return Err(over_allocation(
                    &field,
                    side,
                    currency.show(available),
                    currency.decimal(available).to_string(),
                )
                .into());
            }
        }
        pairs.extend(spread(wanted, &debits, &credits, &mut open, position));
    }
    let made = match_pairs(conn, caller, &books, &pairs, on, "MANUAL")?;
    second_person(conn, caller, &books, &made)?;
    Ok(made)
}

/// Matchings made by hand may need a second person: as of a day long past, or of one's own receipt with what one
/// credited alone (R12.1, R12.2).
fn second_person(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    made: &[AllocationId],
) -> Result<()> {
    let company = caller.company;
    let rows = store::matching::by_ids(conn, company, made)?;
    let (Some(first), Some(on)) = (made.first(), rows.iter().map(|row| row.effective_on).min())
    else {
        return Ok(());
    };
    let debits: Vec<ItemId> = rows.iter().map(|row| row.debit_item_id).collect();
    let credits: Vec<ItemId> = rows.iter().map(|row| row.credit_item_id).collect();
    let author = &caller.author;
    let same_person = store::approval::own_receipts(conn, company, &credits, author)?
        && store::approval::credited_alone(conn, company, &debits, author)?;
    let one = |same: bool| same.then(|| &rows[0]);
    let of_one_client = one(rows.iter().all(|row| row.client_id == rows[0].client_id));
    let amount = one(rows.iter().all(|row| row.currency == rows[0].currency))
        .map(|row| books::currency(&row.currency))
        .transpose()?
        .map(|currency| (rows.iter().map(|row| row.amount).sum(), currency));
    let matter = Matter {
        client: of_one_client.map(|row| row.client_id),
        amount,
        back_dated: books.settings.approvals.is_back_dated(on, caller.today),
        same_person,
        before: json!({ "allocations": 0 }),
        after: json!({ "allocations": rows.len(), "effectiveOn": on }),
        ..Matter::of(ApprovalKind::Matching, first.show())
    };
    approval::gate(conn, caller, books, matter)
}

fn over_allocation(field: &str, side: &str, shown: String, open: String) -> Refusal {
    Refusal::new(
        RefusalCode::OverAllocation,
        field,
        format!("only {shown} is open on the {side} side"),
    )
    .detail("open", open)
    .detail("side", side)
}

fn same_account(debit: &Item, credit: &Item, position: usize) -> Result<()> {
    let mismatch = if debit.client_id != credit.client_id {
        "the two items belong to different clients"
    } else if debit.currency != credit.currency {
        "the two items are in different currencies"
    } else if debit.family != credit.family {
        "the two items stand on different accounts (411, 413, 416)"
    } else {
        return Ok(());
    };
    Err(Refusal::new(
        RefusalCode::AllocationMismatch,
        &format!("lines.{position}"),
        mismatch,
    )
    .into())
}

/// Lays an amount over instalments in order, on both sides.
fn spread(
    amount: Minor,
    debits: &[Item],
    credits: &[Item],
    open: &mut HashMap<ItemId, Minor>,
    line: usize,
) -> Vec<Pair> {
    let (mut pairs, mut left) = (Vec::new(), amount);
    for debit in debits {
        for credit in credits {
            let share = left.min(open[&debit.id]).min(open[&credit.id]);
            if share > 0 {
                pairs.push(Pair {
                    debit: debit.id,
                    credit: credit.id,
                    amount: share,
                    line,
                });
                for id in [debit.id, credit.id] {
                    open.entry(id).and_modify(|open| *open -= share);
                }
                left -= share;
            }
        }
    }
    pairs
}

/// Matches pairs of items: locks them, checks them, writes allocations, ledger and letters.
///
/// Takes effect on the latest of `on`, both documents' days (R3.6), and the end of earlier matchings.
pub fn match_pairs(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    pairs: &[Pair],
    on: NaiveDate,
    rule: &str,
) -> Result<Vec<AllocationId>> {
    let ids: BTreeSet<ItemId> = pairs
        .iter()
        .flat_map(|pair| [pair.debit, pair.credit])
        .collect();
    let ids: Vec<ItemId> = ids.into_iter().collect();
    let items: HashMap<ItemId, Item> = store::item::for_update(conn, caller.company, &ids)?
        .into_iter()
        .map(|item| (item.id, item))
        .collect();
    let mut open: HashMap<ItemId, Minor> = items
        .values()
        .map(|item| (item.id, item.open_amount))
        .collect();
    let ends = store::matching::last_ends(conn, caller.company, &ids)?;
    let mut values = exchange::values(conn, caller, books, &items)?;
    let (mut allocations, mut changes) = (Vec::new(), Vec::new());
    for pair in pairs {
        let (Some(debit), Some(credit)) = (items.get(&pair.debit), items.get(&pair.credit)) else {
            return Err(Refusal::not_found(&format!("lines.{}", pair.line), "open item").into());
        };
        same_account(debit, credit, pair.line)?;
        for (side, item) in [("debit", debit), ("credit", credit)] {
            let left = open.entry(item.id).or_default();
            if pair.amount > *left {
                let currency = books::currency(&item.currency)?;
                let field = format!("lines.{}.amount", pair.line);
                return Err(over_allocation(
                    &field,
                    side,
                    currency.show(*left),
                    currency.decimal(*left).to_string(),
                )
                .into());
            }
            *left -= pair.amount;
        }
        // Not before an earlier matching of either side ended: what was matched then was not open.
        let ended = ends
            .iter()
            .filter(|(item, _)| *item == debit.id || *item == credit.id)
            .map(|(_, on)| *on)
            .max();
        let effective_on = on
            .max(debit.posted_on)
            .max(credit.posted_on)
            .max(ended.unwrap_or(on));
        let mut allocation = Allocation {
            company_id: caller.company,
            id: AllocationId::new(),
            client_id: debit.client_id,
            debit_item_id: debit.id,
            credit_item_id: credit.id,
            amount: pair.amount,
            currency: debit.currency.clone(),
            allocated_on: on,
            effective_on,
            rule: rule.to_owned(),
            recorded_by: caller.author.clone(),
            ended_on: None,
            ended_by: None,
            debit_base: None,
            credit_base: None,
        };
        if let Some(values) = &mut values
            && debit.currency != books.currency.code()
        {
            values.settle(&mut allocation, debit, credit)?;
        }
        changes.push(Change::of(
            debit,
            Some(allocation.id),
            effective_on,
            -pair.amount,
        ));
        changes.push(Change::of(
            credit,
            Some(allocation.id),
            effective_on,
            pair.amount,
        ));
        allocations.push(allocation);
    }
    store::matching::insert(conn, &allocations)?;
    store::item::append(conn, &changes)?;
    store::item::refresh(conn, caller.company, &ids)?;
    letter(conn, caller, &ids)?;
    exchange::post(conn, caller, books, &allocations, &items, None)?;
    let last = allocations.iter().map(|made| made.effective_on).max();
    vat_receipts::refresh(
        conn,
        caller,
        books,
        &invoices_of(&items),
        last.unwrap_or(on),
    )?;
    Ok(allocations.iter().map(|allocation| allocation.id).collect())
}

/// The invoices that debit items belong to.
fn invoices_of(items: &HashMap<ItemId, Item>) -> Vec<DocumentId> {
    let found: BTreeSet<DocumentId> = items
        .values()
        .filter(|item| item.is_debit)
        .filter_map(|item| item.invoice_id)
        .collect();
    found.into_iter().collect()
}

/// Matchings that belong to what made them: ending one alone would tear the books apart (R2.6, R2.8).
const FOLLOWING: &[&str] = &["RETURN", "DEDUCTION", "REVERSAL", super::operation::RULE];

/// Ends a matching from `on` (délettrage, R3.7): residuals come back, history stays.
pub fn unallocate(
    conn: &mut PgConnection,
    caller: &Caller,
    id: AllocationId,
    on: Option<NaiveDate>,
) -> Result<()> {
    let books = books::open(conn, caller)?;
    let allocation = store::matching::by_id(conn, caller.company, id)?
        .ok_or_else(|| Refusal::not_found("allocation", "allocation"))?;
    if FOLLOWING.contains(&allocation.rule.as_str()) {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "allocation",
            "this matching follows from a return, a deduction or an operation: take that back instead",
        )
        .detail("rule", allocation.rule)
        .into());
    }
    let on = on.unwrap_or(caller.today.max(allocation.effective_on));
    books.check_day("unallocatedOn", on)?;
    if on < allocation.effective_on {
        return Err(Refusal::invalid(
            "unallocatedOn",
            format!(
                "the matching took effect on {}: it cannot end before",
                allocation.effective_on
            ),
        )
        .detail("earliest", allocation.effective_on.to_string())
        .into());
    }
    let matter = Matter {
        client: Some(allocation.client_id),
        amount: Some((allocation.amount, books::currency(&allocation.currency)?)),
        back_dated: books.settings.approvals.is_back_dated(on, caller.today),
        before: json!({ "effectiveOn": allocation.effective_on, "endsOn": null }),
        after: json!({ "effectiveOn": allocation.effective_on, "endsOn": on }),
        ..Matter::of(ApprovalKind::Matching, id.show())
    };
    end_allocations(conn, caller, &books, &[allocation], on)?;
    approval::gate(conn, caller, &books, matter)
}

/// Ends allocations that still run, and letters what remains.
pub fn end_allocations(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    allocations: &[Allocation],
    on: NaiveDate,
) -> Result<()> {
    let ids: BTreeSet<ItemId> = allocations
        .iter()
        .flat_map(|a| [a.debit_item_id, a.credit_item_id])
        .collect();
    let ids: Vec<ItemId> = ids.into_iter().collect();
    let items: HashMap<ItemId, Item> = store::item::for_update(conn, caller.company, &ids)?
        .into_iter()
        .map(|item| (item.id, item))
        .collect();
    let mut changes = Vec::new();
    for allocation in allocations {
        if !store::matching::end(conn, caller.company, allocation.id, on, &caller.author)? {
            return Err(Refusal::new(
                RefusalCode::WrongState,
                "allocation",
                "this allocation has ended already",
            )
            .into());
        }
        for (item, delta) in [
            (allocation.debit_item_id, allocation.amount),
            (allocation.credit_item_id, -allocation.amount),
        ] {
            if let Some(item) = items.get(&item) {
                changes.push(Change::of(
                    item,
                    Some(allocation.id),
                    on.max(allocation.effective_on),
                    delta,
                ));
            }
        }
    }
    store::item::append(conn, &changes)?;
    store::item::refresh(conn, caller.company, &ids)?;
    letter(conn, caller, &ids)?;
    exchange::post(conn, caller, books, allocations, &items, Some(on))?;
    vat_receipts::refresh(conn, caller, books, &invoices_of(&items), on)
}

/// Gives letters to the groups that `touched` items stand in now (R3.1 to R3.3).
///
/// A group keeps the oldest letter among its items; a letter that no group keeps is never used again.
fn letter(conn: &mut PgConnection, caller: &Caller, touched: &[ItemId]) -> Result<()> {
    let company = caller.company;
    let touched = store::item::by_ids(conn, company, touched)?;
    let before: BTreeSet<MatchingId> = touched.iter().filter_map(|item| item.matching_id).collect();
    let before: Vec<MatchingId> = before.into_iter().collect();
    let mut items: BTreeMap<ItemId, Item> =
        touched.into_iter().map(|item| (item.id, item)).collect();
    items.extend(
        store::item::by_matchings(conn, company, &before)?
            .into_iter()
            .map(|item| (item.id, item)),
    );
    let ids: Vec<ItemId> = items.keys().copied().collect();
    let edges: Vec<(ItemId, ItemId)> = store::matching::active_of(conn, company, &ids)?
        .iter()
        .map(|a| (a.debit_item_id, a.credit_item_id))
        .collect();
    let groups: HashMap<MatchingId, Matching> = store::matching::groups(conn, company, &before)?
        .into_iter()
        .map(|group| (group.id, group))
        .collect();
    let mut kept = BTreeSet::new();
    for component in lettering::components(&ids, &edges) {
        if component.len() < 2 {
            store::item::set_matching(conn, company, &component, None)?;
            continue;
        }
        let members: Vec<&Item> = component.iter().filter_map(|id| items.get(id)).collect();
        let residual: Minor = members
            .iter()
            .map(|item| {
                if item.is_debit {
                    item.amount
                } else {
                    -item.amount
                }
            })
            .sum();
        let complete = members.iter().all(|item| item.open_amount == 0);
        let oldest = members
            .iter()
            .filter_map(|item| groups.get(&item.matching_id?))
            .filter(|group| !kept.contains(&group.id))
            .min_by_key(|group| lettering::number(&group.code));
        let id = match oldest {
            Some(group) => {
                store::matching::update_group(conn, company, group.id, residual, complete)?;
                group.id
            }
            None => new_group(conn, caller, members[0], residual, complete)?,
        };
        kept.insert(id);
        store::item::set_matching(conn, company, &component, Some(id))?;
    }
    let ended: Vec<MatchingId> = before.into_iter().filter(|id| !kept.contains(id)).collect();
    store::matching::end_groups(conn, company, &ended)?;
    Ok(())
}

fn new_group(
    conn: &mut PgConnection,
    caller: &Caller,
    member: &Item,
    residual: Minor,
    complete: bool,
) -> Result<MatchingId> {
    let last =
        store::matching::take_letters(conn, caller.company, member.client_id, &member.family, 1)?;
    let group = Matching {
        company_id: caller.company,
        id: MatchingId::new(),
        client_id: member.client_id,
        family: member.family.clone(),
        currency: member.currency.clone(),
        code: lettering::code(u32::try_from(last).unwrap_or_default()),
        residual,
        complete,
    };
    let id = group.id;
    store::matching::insert_groups(conn, &[group])?;
    Ok(id)
}

/// A matching that the rules propose, with the reason.
#[derive(Clone, Debug)]
pub struct Proposed {
    pub debit: Item,
    pub credit: Item,
    pub amount: Minor,
    pub rule: proposal::ProposalRule,
    pub reason: String,
}

/// Proposes matchings for what a client has open, in the order of R3.8 and R3.9.
pub fn propose(conn: &mut PgConnection, caller: &Caller, client: &Ref) -> Result<Vec<Proposed>> {
    let client = reference::client(conn, caller, "client", client)?;
    propose_for(conn, caller, client.id)
}

fn propose_for(
    conn: &mut PgConnection,
    caller: &Caller,
    client: ClientId,
) -> Result<Vec<Proposed>> {
    let company = caller.company;
    let items = store::item::open_of_client(conn, company, client)?;
    let payments: Vec<_> = items
        .iter()
        .filter(|item| item.kind == "PAYMENT")
        .map(|item| crate::domain::ids::PaymentId(item.source_id))
        .collect();
    let remittances: HashMap<_, _> = store::payment::by_ids(conn, company, &payments)?
        .into_iter()
        .map(|payment| (payment.id.0, payment.remittance.unwrap_or_default()))
        .collect();
    let invoices: Vec<_> = items.iter().filter_map(|item| item.invoice_id).collect();
    let numbers: HashMap<_, _> = store::document::by_ids(conn, company, &invoices)?
        .into_iter()
        .map(|invoice| (invoice.id, invoice.number))
        .collect();
    let accounts: BTreeSet<(String, String)> = items
        .iter()
        .map(|item| (item.family.clone(), item.currency.clone()))
        .collect();
    let by_id: HashMap<ItemId, &Item> = items.iter().map(|item| (item.id, item)).collect();
    let mut proposed = Vec::new();
    for (family, currency) in accounts {
        let own: Vec<&Item> = items
            .iter()
            .filter(|item| item.family == family && item.currency == currency)
            .collect();
        let number_of = |item: &Item| item.invoice_id.and_then(|id| numbers.get(&id).cloned());
        let debits: Vec<OpenDebit<ItemId>> = own
            .iter()
            .filter(|item| item.is_debit)
            .map(|item| OpenDebit {
                key: item.id,
                reference: item.reference.clone(),
                invoice_reference: number_of(item),
                due_on: item.due_on.unwrap_or(item.posted_on),
                invoiced_on: item.invoiced_on,
                open: item.open_amount,
            })
            .collect();
        let credits: Vec<OpenCredit<ItemId>> = own
            .iter()
            .filter(|item| !item.is_debit)
            .map(|item| OpenCredit {
                key: item.id,
                kind: match item.kind.as_str() {
                    "CREDIT_NOTE" => CreditKind::CreditNote {
                        invoice: number_of(item),
                    },
                    _ => CreditKind::Receipt {
                        indication: remittances
                            .get(&item.source_id)
                            .cloned()
                            .unwrap_or_default(),
                    },
                },
                posted_on: item.posted_on,
                open: item.open_amount,
                reference: item.reference.clone(),
            })
            .collect();
        for found in proposal::propose(&debits, &credits, caller.today) {
            if let (Some(debit), Some(credit)) = (by_id.get(&found.debit), by_id.get(&found.credit))
            {
                let reason = found.rule.reason(&debit.reference, &credit.reference);
                proposed.push(Proposed {
                    debit: (*debit).clone(),
                    credit: (*credit).clone(),
                    amount: found.amount,
                    rule: found.rule,
                    reason,
                });
            }
        }
    }
    Ok(proposed)
}

/// Matches everything that the rules propose for a client.
pub fn auto_allocate(
    conn: &mut PgConnection,
    caller: &Caller,
    client: &Ref,
    on: Option<NaiveDate>,
) -> Result<Vec<AllocationId>> {
    let books: Books = books::open(conn, caller)?;
    let on = on.unwrap_or(caller.today);
    books.check_day("allocatedOn", on)?;
    let client = reference::client(conn, caller, "client", client)?;
    // The client's row is the queue for those who match the same account at once.
    store::client::for_update(conn, caller.company, client.id)?;
    let mut made = Vec::new();
    for found in propose_for(conn, caller, client.id)? {
        let pair = Pair {
            debit: found.debit.id,
            credit: found.credit.id,
            amount: found.amount,
            line: 0,
        };
        made.extend(match_pairs(
            conn,
            caller,
            &books,
            &[pair],
            on,
            found.rule.code(),
        )?);
    }
    second_person(conn, caller, &books, &made)?;
    Ok(made)
}
