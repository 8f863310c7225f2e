//! What a receipt settles, worked out before its numbers are drawn, so that the counters are locked for one statement.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::NaiveDate;
use diesel::pg::PgConnection;

use super::{Pair, Worked, as_matched, work_out};
use crate::domain::access::Caller;
use crate::domain::ids::{ItemId, MatchingId};
use crate::domain::lettering::code;
use crate::error::{Error, Result};
use crate::service::books::{Books, Opened};
use crate::service::lettering::{self, Groups};
use crate::store::foreseen::{Foreseen, Letter, Moved, Stand, Version};
use crate::store::item::{Change, Item};
use crate::store::matching::Matching;
use crate::store::{self};

/// Items of the books, as they were read without a lock.
type Stands = BTreeMap<ItemId, Stand>;

/// A receipt and what it is to settle.
pub struct Settled<'a> {
    /// Its own items, not written yet.
    pub opened: &'a [Opened],
    /// The items of the books that it settles.
    pub debits: Vec<Item>,
    pub pairs: &'a [Pair],
    pub on: NaiveDate,
    pub rule: &'a str,
}

/// Works out what [`super::match_new`] would write, from what is seen without a lock. None where one statement will not
/// do: in a foreign currency, for more than one group of letters, for the first letter of an account, and for what is to be
/// refused.
pub fn foresee(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    settled: Settled<'_>,
) -> Result<Option<Foreseen>> {
    let company = caller.company;
    let order: Vec<ItemId> = settled.opened.iter().map(|opened| opened.item.id).collect();
    let opened = settled.opened.iter().map(|opened| opened.item.clone());
    let mut items: HashMap<ItemId, Item> = settled
        .debits
        .into_iter()
        .chain(opened)
        .map(|item| (item.id, item))
        .collect();
    let own = books.currency.code();
    if items.values().any(|item| item.currency != own) {
        return Ok(None);
    }
    let stands = stands(conn, caller, &order, &mut items)?;
    let ends = stands.values();
    let ends = ends.filter_map(|stand| Some((stand.item, stand.ended_on?)));
    let pairs: Vec<_> = settled
        .pairs
        .iter()
        .map(|pair| (*pair, settled.on))
        .collect();
    let worked = work_out(
        caller,
        books,
        &mut items,
        &ends.collect(),
        None,
        &pairs,
        settled.rule,
    );
    let worked = match worked {
        Ok(worked) => worked,
        // It is refused under the locks, by what is so then.
        Err(Error::Refused(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let ids: BTreeSet<MatchingId> = items.values().filter_map(|item| item.matching_id).collect();
    let ids: Vec<MatchingId> = ids.into_iter().collect();
    let versions = store::foreseen::versions(conn, company, &ids)?;
    let groups = store::matching::groups(conn, company, &ids)?;
    let groups = groups.into_iter().map(|group| (group.id, group)).collect();
    let joined = lettering::foresee(conn, caller, &items, &worked.allocations, &groups)?;
    Ok(joined.and_then(|joined| {
        let changed = joined.changed.map(|group| versioned(group, &versions));
        let new = joined.new.map(|group| lettered(group, &stands, &items));
        let foreseen = assembled(&order, &items, &stands, &joined.stands, worked);
        Some(Foreseen {
            changed: changed.into_iter().collect::<Option<_>>()?,
            new: new.into_iter().collect::<Option<_>>()?,
            ..foreseen
        })
    }))
}

/// Reads where the items of the books stand; `items` stand there afterwards.
fn stands(
    conn: &mut PgConnection,
    caller: &Caller,
    opened: &[ItemId],
    items: &mut HashMap<ItemId, Item>,
) -> Result<Stands> {
    let of_books: BTreeSet<ItemId> = items.keys().copied().collect();
    let of_books: Vec<ItemId> = of_books
        .into_iter()
        .filter(|id| !opened.contains(id))
        .collect();
    let stands = store::foreseen::stands(conn, caller.company, &of_books)?;
    for stand in &stands {
        if let Some(item) = items.get_mut(&stand.item) {
            item.open_amount = stand.open_amount;
            item.matching_id = stand.matching_id;
        }
    }
    Ok(stands
        .into_iter()
        .map(|stand| (stand.item, stand))
        .collect())
}

fn versioned(group: Matching, versions: &[(MatchingId, Version)]) -> Option<(Matching, Version)> {
    let (_, version) = versions.iter().find(|(id, _)| *id == group.id)?;
    Some((group, version.clone()))
}

/// A new group with the next letter of its account.
fn lettered(
    mut group: Matching,
    stands: &Stands,
    items: &HashMap<ItemId, Item>,
) -> Option<(Matching, Letter)> {
    let is_on_account = |stand: &&Stand| {
        let item = items.get(&stand.item);
        item.is_some_and(|item| item.client_id == group.client_id && item.family == group.family)
    };
    let last = stands.values().find(is_on_account)?.last_letter?;
    group.code = code(u32::try_from(last).ok()? + 1);
    let letter = Letter {
        client: group.client_id,
        family: group.family.clone(),
        last,
    };
    Some((group, letter))
}

/// All that is to be written but for groups.
fn assembled(
    order: &[ItemId],
    items: &HashMap<ItemId, Item>,
    stands: &Stands,
    groups: &Groups,
    worked: Worked,
) -> Foreseen {
    let opened = as_matched(order, items, groups, &worked.settled);
    let moved = stands.values().filter_map(|stand| {
        let open_amount = items.get(&stand.item)?.open_amount;
        Some(Moved {
            item: stand.item,
            version: stand.version.clone(),
            open_amount,
            settled_on: worked
                .settled
                .get(&stand.item)
                .copied()
                .max(stand.last_on)
                .filter(|_| open_amount == 0),
            group: groups.get(&stand.item).copied().flatten(),
        })
    });
    let openings = opened.iter().map(Change::opening);
    Foreseen {
        moved: moved.collect(),
        changes: openings.chain(worked.changes).collect(),
        opened,
        allocations: worked.allocations,
        ..Foreseen::default()
    }
}
