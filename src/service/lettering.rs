//! The letters of what is matched (R3.1 to R3.3), for one pair or for a batch, by the same few statements.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::NaiveDate;
use diesel::pg::PgConnection;

use crate::domain::access::Caller;
use crate::domain::ids::{Id, ItemId, MatchingId};
use crate::domain::lettering;
use crate::domain::money::Minor;
use crate::error::{Error, Result};
use crate::store::item::Item;
use crate::store::matching::{Account, Allocation, Matching};
use crate::store::{self};

/// The group that each item stands in, if any.
pub type Groups = HashMap<ItemId, Option<MatchingId>>;

/// Writes the groups that items stand in once `added` is allocated; the caller moves the items there.
///
/// `items` are those whose open amounts changed, as they are afterwards; `added` is not written yet, what
/// ended is ended already. A group keeps the oldest letter among its items, a letter that no group keeps is
/// never used again, and new letters follow the days of the allocations.
pub fn regroup(
    conn: &mut PgConnection,
    caller: &Caller,
    items: &HashMap<ItemId, Item>,
    added: &[Allocation],
) -> Result<Groups> {
    let company = caller.company;
    let before: BTreeSet<MatchingId> = items.values().filter_map(|item| item.matching_id).collect();
    let before: Vec<MatchingId> = before.into_iter().collect();
    let mut members: BTreeMap<ItemId, Item> = BTreeMap::new();
    let mut edges = Vec::new();
    let mut groups: HashMap<MatchingId, Matching> = HashMap::new();
    // What is in no group has no running allocation.
    if !before.is_empty() {
        for item in store::item::by_matchings(conn, company, &before)? {
            members.insert(item.id, item);
        }
        let grouped: Vec<ItemId> = members.keys().copied().collect();
        for allocation in store::matching::active_of(conn, company, &grouped)? {
            edges.push((allocation.debit_item_id, allocation.credit_item_id));
        }
        for group in store::matching::groups(conn, company, &before)? {
            groups.insert(group.id, group);
        }
    }
    members.extend(items.iter().map(|(id, item)| (*id, item.clone())));
    edges.extend(
        added
            .iter()
            .map(|made| (made.debit_item_id, made.credit_item_id)),
    );

    let ids: Vec<ItemId> = members.keys().copied().collect();
    let mut components = lettering::components(&ids, &edges);
    let began = first_days(added);
    components.sort_by_cached_key(|component| {
        let day = component.iter().filter_map(|id| began.get(id)).min();
        (day.copied(), component.first().copied())
    });
    let mut plan = Plan::default();
    let mut stands = Groups::with_capacity(members.len());
    for component in components {
        let group = plan.place(caller, &component, &members, &groups);
        stands.extend(component.into_iter().map(|id| (id, group)));
    }
    let ended: Vec<MatchingId> = before
        .into_iter()
        .filter(|id| !plan.kept.contains(id))
        .collect();
    plan.write(conn, caller)?;
    store::matching::end_groups(conn, company, &ended)?;
    Ok(stands)
}

/// The first day on which each item takes part in a matching.
fn first_days(added: &[Allocation]) -> HashMap<ItemId, NaiveDate> {
    let mut first = HashMap::with_capacity(2 * added.len());
    for made in added {
        for item in [made.debit_item_id, made.credit_item_id] {
            let day = first.entry(item).or_insert(made.allocated_on);
            *day = made.allocated_on.min(*day);
        }
    }
    first
}

/// Groups to be written together.
#[derive(Default)]
struct Plan {
    kept: BTreeSet<MatchingId>,
    changed: Vec<Matching>,
    /// In the order of their letters.
    new: Vec<Matching>,
}

impl Plan {
    /// The group of a component: the one with the oldest letter among its items, or a new one.
    fn place(
        &mut self,
        caller: &Caller,
        component: &[ItemId],
        items: &BTreeMap<ItemId, Item>,
        groups: &HashMap<MatchingId, Matching>,
    ) -> Option<MatchingId> {
        let members: Vec<&Item> = component.iter().filter_map(|id| items.get(id)).collect();
        let [first, _, ..] = members.as_slice() else {
            return None;
        };
        let side = |item: &&Item| -> Minor {
            if item.is_debit {
                item.amount
            } else {
                -item.amount
            }
        };
        let residual: Minor = members.iter().map(side).sum();
        let complete = members.iter().all(|item| item.open_amount == 0);
        let oldest = members
            .iter()
            .filter_map(|item| groups.get(&item.matching_id?))
            .filter(|group| !self.kept.contains(&group.id))
            .min_by_key(|group| lettering::number(&group.code));
        let id = oldest.map_or_else(MatchingId::new, |group| group.id);
        let group = Matching {
            company_id: caller.company,
            id,
            client_id: first.client_id,
            family: first.family.clone(),
            currency: first.currency.clone(),
            code: oldest.map_or_else(String::new, |group| group.code.clone()),
            residual,
            complete,
        };
        if oldest.is_some() {
            self.changed.push(group);
        } else {
            self.new.push(group);
        }
        self.kept.insert(id);
        Some(id)
    }

    /// Draws the letters of the new groups, as many as each account needs at once.
    fn write(mut self, conn: &mut PgConnection, caller: &Caller) -> Result<()> {
        store::matching::update_groups(conn, caller.company, &self.changed)?;
        let mut wanted = BTreeMap::<Account, i32>::new();
        for group in &self.new {
            *wanted.entry(account(group)).or_default() += 1;
        }
        let wanted: Vec<(Account, i32)> = wanted.into_iter().collect();
        let last = store::matching::take_letters(conn, caller.company, &wanted)?;
        // The number before the next letter of each account.
        let mut used: BTreeMap<Account, i32> = last.into_iter().collect();
        for (account, count) in wanted {
            if let Some(last) = used.get_mut(&account) {
                *last -= count;
            }
        }
        for group in &mut self.new {
            let number = used
                .get_mut(&account(group))
                .ok_or_else(|| Error::Internal("an account without letters".into()))?;
            *number += 1;
            group.code = lettering::code(u32::try_from(*number).unwrap_or_default());
        }
        store::matching::insert_groups(conn, &self.new)?;
        Ok(())
    }
}

fn account(group: &Matching) -> Account {
    Account {
        client: group.client_id,
        family: group.family.clone(),
    }
}
