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

/// Writes the groups that items stand in once `added` is allocated, and moves those of merged groups; the caller moves
/// the items that it was given, and writes the groups of the books that add up to something else now: both beside what
/// it adds.
///
/// `items` are those whose open amounts changed, as they are afterwards; `added` is not written yet. A group keeps the
/// oldest letter among its items, a letter that no group keeps is never used again, and new letters follow the days of
/// the allocations. Groups are taken whole, so that what it costs does not grow with them: an account that is paid in
/// parts for years is one group.
pub fn join(
    conn: &mut PgConnection,
    caller: &Caller,
    items: &HashMap<ItemId, Item>,
    added: &[Allocation],
) -> Result<(Groups, Vec<Matching>)> {
    let company = caller.company;
    let groups = locked(conn, caller, items)?;
    let components = tied(items, added, &groups);
    let open = still_open(conn, caller, &components, items)?;
    let Joined {
        plan,
        stands,
        merged,
    } = Joined::of(caller, components, &open);
    let changed = plan.begin(conn, caller)?;
    store::item::merge_groups(conn, company, &merged)?;
    let ended: Vec<MatchingId> = merged.into_iter().map(|(group, _)| group).collect();
    store::matching::end_groups(conn, company, &ended)?;
    Ok((stands, changed))
}

/// What [`join`] would write, when that is one group of the books at most, or a new one.
pub struct Foreseen {
    /// The group of each item.
    pub stands: Groups,
    /// The group of the books that adds up to something else now.
    pub changed: Option<Matching>,
    /// The new group, without its letter.
    pub new: Option<Matching>,
}

/// Looks ahead at [`join`] without writing or locking anything. `groups` are those that the items stand in.
pub fn foresee(
    conn: &mut PgConnection,
    caller: &Caller,
    items: &HashMap<ItemId, Item>,
    added: &[Allocation],
    groups: &HashMap<MatchingId, Matching>,
) -> Result<Option<Foreseen>> {
    let components = tied(items, added, groups);
    let open = still_open(conn, caller, &components, items)?;
    let Joined {
        mut plan,
        stands,
        merged,
    } = Joined::of(caller, components, &open);
    let is_simple = merged.is_empty() && plan.new.len() + plan.changed.len() <= 1;
    Ok(is_simple.then(|| Foreseen {
        stands,
        changed: plan.changed.pop(),
        new: plan.new.pop(),
    }))
}

/// What is tied together once `added` is allocated, in the order of the days on which that begins.
fn tied<'a>(
    items: &'a HashMap<ItemId, Item>,
    added: &[Allocation],
    groups: &'a HashMap<MatchingId, Matching>,
) -> Vec<Component<'a>> {
    let part = |item: &Item| item.matching_id.map_or(Part::Item(item.id), Part::Group);
    let ids: Vec<Part> = items.values().map(part).collect();
    let mut edges = Vec::with_capacity(added.len());
    for made in added {
        if let (Some(debit), Some(credit)) = (
            items.get(&made.debit_item_id),
            items.get(&made.credit_item_id),
        ) {
            edges.push((part(debit), part(credit)));
        }
    }
    let mut touched: HashMap<Part, Vec<&Item>> = HashMap::with_capacity(ids.len());
    for item in items.values() {
        touched.entry(part(item)).or_default().push(item);
    }
    let mut components: Vec<Component<'_>> = lettering::components(&ids, &edges)
        .into_iter()
        .map(|parts| Component::of(&parts, &touched, groups))
        .collect();
    let began = first_days(added);
    components.sort_by_cached_key(|component| {
        let ids = || component.items.iter().map(|item| item.id);
        let day = ids().filter_map(|id| began.get(&id)).min();
        (day.copied(), ids().min())
    });
    components
}

/// The groups in which something is open apart from `items`, as far as that is in question: with a residual something
/// is open; without one, all is settled unless a debit and a credit wait for each other.
fn still_open(
    conn: &mut PgConnection,
    caller: &Caller,
    components: &[Component<'_>],
    items: &HashMap<ItemId, Item>,
) -> Result<BTreeSet<MatchingId>> {
    let doubtful: Vec<MatchingId> = components
        .iter()
        .filter(|component| component.is_settled())
        .flat_map(|component| component.groups.iter().map(|group| group.id))
        .collect();
    let all: Vec<ItemId> = items.keys().copied().collect();
    let open = store::matching::still_open(conn, caller.company, &doubtful, &all)?;
    Ok(open.into_iter().collect())
}

/// What components come to.
#[derive(Default)]
struct Joined {
    plan: Plan,
    /// The group of each item.
    stands: Groups,
    /// Groups that are merged, each with the one that is kept.
    merged: Vec<(MatchingId, MatchingId)>,
}

impl Joined {
    fn of(caller: &Caller, components: Vec<Component<'_>>, open: &BTreeSet<MatchingId>) -> Joined {
        let mut joined = Joined::default();
        for component in components {
            let complete = component.is_settled()
                && !component
                    .groups
                    .iter()
                    .any(|group| open.contains(&group.id));
            let oldest = component
                .groups
                .iter()
                .copied()
                .min_by_key(|group| lettering::number(&group.code));
            let members = component.items.len() + component.groups.len();
            let kept = match component.items.first() {
                Some(first) if members > 1 => {
                    let plan = &mut joined.plan;
                    Some(plan.keep(caller, first, oldest, component.residual, complete))
                }
                _ => None,
            };
            if let Some(kept) = kept {
                let others = component.groups.iter().filter(|group| group.id != kept);
                joined.merged.extend(others.map(|group| (group.id, kept)));
            }
            let members = component.items.iter();
            joined.stands.extend(members.map(|item| (item.id, kept)));
        }
        joined
    }
}

/// The groups that items stand in, locked.
fn locked(
    conn: &mut PgConnection,
    caller: &Caller,
    items: &HashMap<ItemId, Item>,
) -> Result<HashMap<MatchingId, Matching>> {
    let ids: BTreeSet<MatchingId> = items.values().filter_map(|item| item.matching_id).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<MatchingId> = ids.into_iter().collect();
    let groups = store::matching::groups_for_update(conn, caller.company, &ids)?;
    Ok(groups.into_iter().map(|group| (group.id, group)).collect())
}

/// A group of the books, or an item that stands in none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Part {
    Item(ItemId),
    Group(MatchingId),
}

/// What allocations tie together: whole groups, and the items among those that changed.
struct Component<'a> {
    groups: Vec<&'a Matching>,
    items: Vec<&'a Item>,
    /// Debits less credits of all its items.
    residual: Minor,
}

impl<'a> Component<'a> {
    fn of(
        parts: &[Part],
        touched: &HashMap<Part, Vec<&'a Item>>,
        groups: &'a HashMap<MatchingId, Matching>,
    ) -> Component<'a> {
        let found = parts.iter().filter_map(|part| match part {
            Part::Group(id) => groups.get(id),
            Part::Item(_) => None,
        });
        let groups: Vec<&Matching> = found.collect();
        let mut residual: Minor = groups.iter().map(|group| group.residual).sum();
        let mut items = Vec::new();
        for part in parts {
            let members = touched.get(part).map_or(&[][..], Vec::as_slice);
            if let Part::Item(_) = part {
                residual += members.iter().map(|item| signed(item)).sum::<Minor>();
            }
            items.extend_from_slice(members);
        }
        Component {
            groups,
            items,
            residual,
        }
    }

    /// Whether nothing is open of what changed, and nothing in sum.
    fn is_settled(&self) -> bool {
        self.residual == 0 && self.items.iter().all(|item| item.open_amount == 0)
    }
}

/// An amount in the sign of a balance.
fn signed(item: &Item) -> Minor {
    if item.is_debit {
        item.amount
    } else {
        -item.amount
    }
}

/// Writes the groups that items stand in after allocations of theirs have ended; the caller moves the items there.
///
/// A group may fall apart, so all of its items are looked at; otherwise as [`join`].
pub fn part(
    conn: &mut PgConnection,
    caller: &Caller,
    items: &HashMap<ItemId, Item>,
) -> Result<Groups> {
    let company = caller.company;
    // Before their members are read: what others join to a group meanwhile comes after.
    let groups = locked(conn, caller, items)?;
    let before: Vec<MatchingId> = groups.keys().copied().collect();
    let mut members: BTreeMap<ItemId, Item> = store::item::by_matchings(conn, company, &before)?
        .into_iter()
        .map(|item| (item.id, item))
        .collect();
    let grouped: Vec<ItemId> = members.keys().copied().collect();
    let edges: Vec<(ItemId, ItemId)> = store::matching::active_of(conn, company, &grouped)?
        .into_iter()
        .map(|allocation| (allocation.debit_item_id, allocation.credit_item_id))
        .collect();
    members.extend(items.iter().map(|(id, item)| (*id, item.clone())));
    let ids: Vec<ItemId> = members.keys().copied().collect();
    let mut plan = Plan::default();
    let mut stands = Groups::with_capacity(members.len());
    for component in lettering::components(&ids, &edges) {
        let group = plan.place(caller, &component, &members, &groups);
        stands.extend(component.into_iter().map(|id| (id, group)));
    }
    let ended: Vec<MatchingId> = before
        .into_iter()
        .filter(|id| !plan.kept.contains(id))
        .collect();
    let changed = plan.begin(conn, caller)?;
    store::matching::update_groups(conn, company, &changed)?;
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
        let residual: Minor = members.iter().map(|item| signed(item)).sum();
        let complete = members.iter().all(|item| item.open_amount == 0);
        let oldest = members
            .iter()
            .filter_map(|item| groups.get(&item.matching_id?))
            .filter(|group| !self.kept.contains(&group.id))
            .min_by_key(|group| lettering::number(&group.code));
        Some(self.keep(caller, first, oldest, residual, complete))
    }

    /// Keeps a group as it is now, or makes a new one on the account of an item.
    fn keep(
        &mut self,
        caller: &Caller,
        first: &Item,
        oldest: Option<&Matching>,
        residual: Minor,
        complete: bool,
    ) -> MatchingId {
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
        id
    }

    /// Writes the new groups, with as many letters as each account needs drawn at once. Answers those that changed.
    fn begin(mut self, conn: &mut PgConnection, caller: &Caller) -> Result<Vec<Matching>> {
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
        Ok(self.changed)
    }
}

fn account(group: &Matching) -> Account {
    Account {
        client: group.client_id,
        family: group.family.clone(),
    }
}
