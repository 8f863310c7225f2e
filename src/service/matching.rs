//! Matching (lettrage): allocations between items, their letters, and proposals.

pub mod foreseen;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use rust_decimal::Decimal;
use serde_json::json;

use super::books::{self, Books, Drafts, Opened};
use super::lettering::{self, Groups};
use super::reference::{self, ItemRef, Ref};
use super::{approval, exchange, vat_receipts};
use crate::domain::access::Caller;
use crate::domain::approval::{ApprovalKind, Matter};
use crate::domain::ids::{AllocationId, ClientId, DocumentId, Id, ItemId, MatchingId};
use crate::domain::money::{Currency, Minor};
use crate::domain::proposal::{self, CreditKind, OpenCredit, OpenDebit};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::Result;
use crate::store::item::{Beside, Change, Item, Standing};
use crate::store::matching::{Allocation, Ending};
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
    let named = |side: &str, item: fn(&Line) -> &ItemRef| -> Vec<(String, &ItemRef)> {
        let sides = lines.iter().map(item).enumerate();
        sides
            .map(|(position, item)| (format!("lines.{position}.{side}"), item))
            .collect()
    };
    let debits = named("debit", |line| &line.debit);
    let debits = reference::items_of_all(conn, caller, &debits, true)?;
    let credits = named("credit", |line| &line.credit);
    let credits = reference::items_of_all(conn, caller, &credits, false)?;
    let found = debits.into_iter().zip(credits);
    for ((position, line), (debits, credits)) in lines.iter().enumerate().zip(found) {
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
            if wanted > available || available == 0 {
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
    let rows = store::matching::by_ids(conn, caller.company, made)?;
    let (Some(first), Some(on)) = (made.first(), rows.iter().map(|row| row.effective_on).min())
    else {
        return Ok(());
    };
    let debits: Vec<ItemId> = rows.iter().map(|row| row.debit_item_id).collect();
    let credits: Vec<ItemId> = rows.iter().map(|row| row.credit_item_id).collect();
    let same_person = approval::same_person(conn, caller, &debits, &credits)?;
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
    let pairs: Vec<(Pair, NaiveDate)> = pairs.iter().map(|pair| (*pair, on)).collect();
    write_matched(conn, caller, books, Known::default(), &pairs, rule, None)
}

/// The same for items of an entry that was just posted, which are written together with what settles them. `taxed` are
/// those of the invoices concerned whose VAT follows what they receive: asked before numbers were drawn.
#[expect(
    clippy::too_many_arguments,
    reason = "what is matched, and what is known of it"
)]
pub fn match_new(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    opened: Vec<Opened>,
    pairs: &[Pair],
    on: NaiveDate,
    rule: &str,
    taxed: Vec<DocumentId>,
) -> Result<Vec<AllocationId>> {
    let pairs: Vec<(Pair, NaiveDate)> = pairs.iter().map(|pair| (*pair, on)).collect();
    let known = Known {
        opened,
        ..Known::default()
    };
    write_matched(conn, caller, books, known, &pairs, rule, Some(taxed))
}

/// Items that need not be read any more to be matched.
#[derive(Default)]
struct Known {
    /// Of new entries, not written yet.
    opened: Vec<Opened>,
    /// Of the books, locked by this transaction, as they stand.
    held: Vec<Item>,
}

impl Known {
    /// Whether nothing is in another currency: no differences of exchange are posted.
    fn is_all_in(&self, currency: Currency) -> bool {
        let opened = self.opened.iter().map(|opened| &opened.item);
        let mut all = opened.chain(&self.held);
        all.all(|item| item.currency == currency.code())
    }
}

/// Writes entries and their items together with what settles them, each pair on its own day: with one another, and with
/// `held` items of the books, locked by this transaction, as they stand. The result is that of `match_pairs` day by day.
///
/// The entries come last, for the least wait of others for their numbers, which takes constraints that
/// [`prepare`](store::imports::prepare) defers; but first when others follow from them.
pub fn match_drafts(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    mut drafts: Drafts,
    held: Vec<Item>,
    pairs: &[(Pair, NaiveDate)],
    rule: &str,
) -> Result<()> {
    let opened = std::mem::take(&mut drafts.opened);
    let known = Known { opened, held };
    let apart = set_apart(conn, caller, &known, pairs)?;
    let has_no_others = apart.by_day.is_empty() && known.is_all_in(books.currency);
    let last = if has_no_others {
        Some(drafts)
    } else {
        drafts.enter(conn, caller)?;
        None
    };
    // What was set apart is all whose VAT follows.
    write_matched(
        conn,
        caller,
        books,
        known,
        &apart.at_once,
        rule,
        Some(Vec::new()),
    )?;
    for (on, pairs) in apart.by_day {
        match_pairs(conn, caller, books, &pairs, on, rule)?;
    }
    last.map_or(Ok(()), |drafts| drafts.enter(conn, caller))
}

/// Pairs that are matched together, and those that must be matched day by day.
#[derive(Default)]
struct Apart {
    at_once: Vec<(Pair, NaiveDate)>,
    by_day: BTreeMap<NaiveDate, Vec<Pair>>,
}

/// Sets apart what must be matched day by day: VAT on receipts is posted on the day of each (R2.4).
fn set_apart(
    conn: &mut PgConnection,
    caller: &Caller,
    known: &Known,
    pairs: &[(Pair, NaiveDate)],
) -> Result<Apart> {
    let opened = known.opened.iter().map(|opened| &opened.item);
    let invoices: HashMap<ItemId, Option<DocumentId>> = opened
        .chain(&known.held)
        .map(|item| (item.id, item.invoice_id))
        .collect();
    let paid: BTreeSet<DocumentId> = pairs
        .iter()
        .filter_map(|(pair, _)| *invoices.get(&pair.debit)?)
        .collect();
    let paid: Vec<DocumentId> = paid.into_iter().collect();
    let on_receipts = vat_receipts::among(conn, caller, &paid)?;
    let mut apart = Apart::default();
    for (pair, on) in pairs {
        let invoice = invoices.get(&pair.debit).copied().flatten();
        if invoice.is_some_and(|invoice| on_receipts.contains(&invoice)) {
            apart.by_day.entry(*on).or_default().push(*pair);
        } else {
            apart.at_once.push((*pair, *on));
        }
    }
    Ok(apart)
}

/// The one way in which matchings are written. Items that are opened here are written as they stand
/// afterwards; those of the books are locked, if they are not yet, and changed by one statement.
fn write_matched(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    known: Known,
    pairs: &[(Pair, NaiveDate)],
    rule: &str,
    taxed: Option<Vec<DocumentId>>,
) -> Result<Vec<AllocationId>> {
    let company = caller.company;
    let Known { opened, held } = known;
    let order: Vec<ItemId> = opened.iter().map(|opened| opened.item.id).collect();
    let bases: HashMap<ItemId, Minor> = opened
        .iter()
        .map(|opened| (opened.item.id, opened.base))
        .collect();
    let touched: BTreeSet<ItemId> = pairs
        .iter()
        .flat_map(|(pair, _)| [pair.debit, pair.credit])
        .filter(|id| !bases.contains_key(id))
        .collect();
    let mut items: HashMap<ItemId, Item> = held
        .into_iter()
        .filter(|item| touched.contains(&item.id))
        .map(|item| (item.id, item))
        .collect();
    let free = touched.iter().filter(|id| !items.contains_key(id));
    let free: Vec<ItemId> = free.copied().collect();
    let touched: Vec<ItemId> = touched.into_iter().collect();
    for item in store::item::for_update(conn, company, &free)? {
        items.insert(item.id, item);
    }
    let mut ends = HashMap::<ItemId, NaiveDate>::new();
    if !touched.is_empty() {
        ends.extend(store::matching::last_ends(conn, company, &touched)?);
    }
    items.extend(
        opened
            .into_iter()
            .map(|opened| (opened.item.id, opened.item)),
    );
    let mut values = exchange::values(conn, caller, books, &items, &bases)?;
    let worked = work_out(
        caller,
        books,
        &mut items,
        &ends,
        values.as_mut(),
        pairs,
        rule,
    )?;
    let Worked {
        allocations,
        changes,
        settled,
    } = worked;
    let (groups, regrouped) = lettering::join(conn, caller, &items, &allocations)?;
    let fresh = as_matched(&order, &items, &groups, &settled);
    let stands = standings(&touched, &groups, &changes);
    let openings: Vec<Change> = fresh.iter().map(Change::opening).collect();
    let changes: Vec<Change> = openings.into_iter().chain(changes).collect();
    let beside = Beside {
        stands: &stands,
        groups: &regrouped,
    };
    store::item::insert(conn, company, &fresh, &allocations, &changes, beside)?;
    exchange::post(conn, caller, books, &allocations, &items, None)?;
    if let Some(last) = allocations.iter().map(|made| made.effective_on).max() {
        let taxed = match taxed {
            Some(known) => known,
            None => invoices_of(&items),
        };
        vat_receipts::refresh(conn, caller, books, &taxed, last)?;
    }
    Ok(allocations.iter().map(|allocation| allocation.id).collect())
}

/// What matchings come to before anything of it is written.
struct Worked {
    allocations: Vec<Allocation>,
    /// The rows of the ledger that they make.
    changes: Vec<Change>,
    /// The last day on which each item was matched.
    settled: HashMap<ItemId, NaiveDate>,
}

/// Items that are opened and matched at once, in this order, as they stand afterwards.
fn as_matched(
    order: &[ItemId],
    items: &HashMap<ItemId, Item>,
    groups: &Groups,
    settled: &HashMap<ItemId, NaiveDate>,
) -> Vec<Item> {
    let found = order.iter().filter_map(|id| items.get(id));
    let matched = found.map(|item| Item {
        settled_on: settled
            .get(&item.id)
            .copied()
            .filter(|_| item.open_amount == 0),
        matching_id: groups.get(&item.id).copied().flatten(),
        ..item.clone()
    });
    matched.collect()
}

/// Works out what pairs of items come to, and takes it from what the items have open. `ends` are the last days on which
/// matchings of theirs ended.
fn work_out(
    caller: &Caller,
    books: &Books,
    items: &mut HashMap<ItemId, Item>,
    ends: &HashMap<ItemId, NaiveDate>,
    mut values: Option<&mut exchange::Values>,
    pairs: &[(Pair, NaiveDate)],
    rule: &str,
) -> Result<Worked> {
    let (mut allocations, mut changes) = (Vec::new(), Vec::new());
    let mut settled = HashMap::<ItemId, NaiveDate>::new();
    for (pair, on) in pairs {
        let (Some(debit), Some(credit)) = (items.get(&pair.debit), items.get(&pair.credit)) else {
            return Err(Refusal::not_found(&format!("lines.{}", pair.line), "open item").into());
        };
        same_account(debit, credit, pair.line)?;
        for (side, item) in [("debit", debit), ("credit", credit)] {
            if pair.amount > item.open_amount {
                let currency = books::currency(&item.currency)?;
                let field = format!("lines.{}.amount", pair.line);
                return Err(over_allocation(
                    &field,
                    side,
                    currency.show(item.open_amount),
                    currency.decimal(item.open_amount).to_string(),
                )
                .into());
            }
        }
        // Not before an earlier matching of either side ended: what was matched then was not open.
        let ended = [debit.id, credit.id]
            .iter()
            .filter_map(|item| ends.get(item))
            .max();
        let effective_on = (*on)
            .max(debit.posted_on)
            .max(credit.posted_on)
            .max(ended.copied().unwrap_or(*on));
        let mut allocation = Allocation {
            company_id: caller.company,
            id: AllocationId::new(),
            client_id: debit.client_id,
            debit_item_id: debit.id,
            credit_item_id: credit.id,
            amount: pair.amount,
            currency: debit.currency.clone(),
            allocated_on: *on,
            effective_on,
            rule: rule.to_owned(),
            recorded_by: caller.author.clone(),
            ended_on: None,
            ended_by: None,
            debit_base: None,
            credit_base: None,
            ended_reason: None,
        };
        if let Some(values) = &mut values
            && debit.currency != books.currency.code()
        {
            values.settle(&mut allocation, debit, credit)?;
        }
        for (item, delta) in [(debit, -pair.amount), (credit, pair.amount)] {
            changes.push(Change::of(item, Some(allocation.id), effective_on, delta));
        }
        for id in [pair.debit, pair.credit] {
            let day = settled.entry(id).or_insert(effective_on);
            *day = effective_on.max(*day);
            items
                .entry(id)
                .and_modify(|item| item.open_amount -= pair.amount);
        }
        allocations.push(allocation);
    }
    Ok(Worked {
        allocations,
        changes,
        settled,
    })
}

/// Brings items of the books in line with the ledger and with their groups; `touched` have new ledger rows.
fn move_items(
    conn: &mut PgConnection,
    caller: &Caller,
    items: &HashMap<ItemId, Item>,
    touched: &[ItemId],
    groups: &Groups,
) -> Result<()> {
    store::item::refresh(conn, caller.company, &standings(touched, groups, &[]))?;
    // The others of a group only follow its letter, when that changed.
    let others: BTreeSet<ItemId> = groups
        .keys()
        .filter(|id| !items.contains_key(id))
        .copied()
        .collect();
    let others: Vec<ItemId> = others.into_iter().collect();
    let group = |id: &ItemId| groups.get(id).copied().flatten();
    let stands: Vec<Option<MatchingId>> = others.iter().map(group).collect();
    store::item::regroup(conn, caller.company, &others, &stands)?;
    Ok(())
}

/// Where items of the books stand in their groups, once the ledger has these rows too.
fn standings(items: &[ItemId], groups: &Groups, to_come: &[Change]) -> Vec<Standing> {
    let mut added = HashMap::<ItemId, (Minor, NaiveDate)>::new();
    for change in to_come {
        let (sum, last) = added
            .entry(change.item_id)
            .or_insert((0, change.effective_on));
        *sum += change.delta;
        *last = change.effective_on.max(*last);
    }
    let standing = |item: &ItemId| Standing {
        item: *item,
        group: groups.get(item).copied().flatten(),
        added: added.get(item).copied(),
    };
    items.iter().map(standing).collect()
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

/// Longest reason why a matching ends.
const REASON: usize = 500;

/// Matchings that belong to what made them: ending one alone would tear the books apart (R2.6, R2.8).
const FOLLOWING: &[&str] = &["RETURN", "DEDUCTION", "REVERSAL", super::operation::RULE];

/// Ends a matching from `on` (délettrage, R3.7): residuals come back, history stays.
pub fn unallocate(
    conn: &mut PgConnection,
    caller: &Caller,
    id: AllocationId,
    on: Option<NaiveDate>,
    reason: Option<&str>,
) -> Result<()> {
    let books = books::open(conn, caller)?;
    let reason = books::optional_text("reason", reason, REASON)?;
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
    let latest = caller.today.max(allocation.effective_on);
    if on > latest {
        // What is matched until then would be open today, and not be: no reader of today's figures could tell.
        return Err(Refusal::invalid(
            "unallocatedOn",
            format!("a matching ends on a day that has come: {latest} at the latest"),
        )
        .detail("latest", latest.to_string())
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
    let ending = Ending {
        on,
        reason: reason.as_deref(),
    };
    end_allocations(conn, caller, &books, &[allocation], ending)?;
    approval::gate(conn, caller, &books, matter)
}

/// Ends allocations that still run, and letters what remains.
pub fn end_allocations(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    allocations: &[Allocation],
    ending: Ending<'_>,
) -> Result<()> {
    let on = ending.on;
    let ids: BTreeSet<ItemId> = allocations
        .iter()
        .flat_map(|a| [a.debit_item_id, a.credit_item_id])
        .collect();
    let ids: Vec<ItemId> = ids.into_iter().collect();
    let mut items: HashMap<ItemId, Item> = store::item::for_update(conn, caller.company, &ids)?
        .into_iter()
        .map(|item| (item.id, item))
        .collect();
    let mut changes = Vec::new();
    for allocation in allocations {
        if !store::matching::end(conn, caller.company, allocation.id, ending, &caller.author)? {
            let ended = allocation.ended_on.map(|on| on.to_string());
            return Err(Refusal::new(
                RefusalCode::WrongState,
                "allocation",
                match &ended {
                    Some(on) => format!("this allocation has ended already, on {on}"),
                    None => "this allocation has ended already".into(),
                },
            )
            .detail("unallocatedOn", ended.unwrap_or_default())
            .into());
        }
        for (item, delta) in [
            (allocation.debit_item_id, allocation.amount),
            (allocation.credit_item_id, -allocation.amount),
        ] {
            if let Some(item) = items.get_mut(&item) {
                changes.push(Change::of(
                    item,
                    Some(allocation.id),
                    on.max(allocation.effective_on),
                    delta,
                ));
                item.open_amount += allocation.amount;
            }
        }
    }
    store::item::append(conn, &changes)?;
    let groups = lettering::part(conn, caller, &items)?;
    move_items(conn, caller, &items, &ids, &groups)?;
    exchange::post(conn, caller, books, allocations, &items, Some(on))?;
    vat_receipts::refresh(conn, caller, books, &invoices_of(&items), on)
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
