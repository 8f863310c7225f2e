//! The open items of one company in memory: everything that transactions below a horizon wrote.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use super::answer::Added;
use super::cube::Cube;
use super::opened::Opened;
use super::ranking::{Ranking, Topic};
use super::span::{At, Day, Kind, NEVER, Span, day, disputed_levels, levels, spans};
use crate::store::aging::Layout;
use crate::store::balances::{Change, Disputed, History, Place};

/// Days and layouts that are kept.
const KEPT: usize = 4;

/// A day that cannot be held here: the database answers instead.
#[derive(Debug)]
pub struct OutOfRange;

/// The names behind the numbers that spans go by.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub clients: Vec<Uuid>,
    by_client: foldhash::HashMap<Uuid, u32>,
    pub kinds: Vec<Kind>,
}

/// Finds the numbers of names, and gives numbers to new ones.
pub trait Naming {
    /// The number of a client.
    fn client(&mut self, id: Uuid) -> Result<u32, OutOfRange>;
    /// The kinds so far.
    fn kinds(&mut self) -> &mut Vec<Kind>;

    /// The number of a kind.
    fn kind(&mut self, place: &Place) -> Result<u8, OutOfRange> {
        let is_it = |kind: &Kind| {
            kind.is_debit == place.is_debit
                && kind.currency == place.currency
                && kind.family == place.family
        };
        let kinds = self.kinds();
        let found = kinds.iter().position(is_it);
        let number = found.unwrap_or(kinds.len());
        if found.is_none() {
            kinds.push(Kind::of(place));
        }
        u8::try_from(number).map_err(|_| OutOfRange)
    }

    /// Where an item stands.
    fn at(&mut self, place: &Place) -> Result<At, OutOfRange> {
        let age = place.due_on.filter(|_| place.is_debit);
        Ok(At {
            client: self.client(place.client_id)?,
            kind: self.kind(place)?,
            age: day(age.unwrap_or(place.posted_on)).ok_or(OutOfRange)?,
            invoiced: day(place.invoiced_on).ok_or(OutOfRange)?,
        })
    }
}

impl Naming for Names {
    fn client(&mut self, id: Uuid) -> Result<u32, OutOfRange> {
        if let Some(found) = self.by_client.get(&id) {
            return Ok(*found);
        }
        let next = u32::try_from(self.clients.len()).map_err(|_| OutOfRange)?;
        self.clients.push(id);
        self.by_client.insert(id, next);
        Ok(next)
    }

    fn kinds(&mut self) -> &mut Vec<Kind> {
        &mut self.kinds
    }
}

/// The names of a state and those that one reader's tail adds: a state has too many to copy.
pub struct Overlay<'a> {
    base: &'a Names,
    added: Names,
}

impl<'a> Overlay<'a> {
    /// The names of a state.
    pub fn of(base: &'a Names) -> Overlay<'a> {
        Overlay {
            base,
            added: Names {
                kinds: base.kinds.clone(),
                ..Names::default()
            },
        }
    }

    /// All kinds, by their numbers.
    pub fn all_kinds(&self) -> &[Kind] {
        &self.added.kinds
    }

    /// The client with a number.
    pub fn client_id(&self, number: usize) -> Uuid {
        match number.checked_sub(self.base.clients.len()) {
            Some(number) => self.added.clients[number],
            None => self.base.clients[number],
        }
    }
}

impl Naming for Overlay<'_> {
    fn client(&mut self, id: Uuid) -> Result<u32, OutOfRange> {
        if let Some(found) = self.base.by_client.get(&id) {
            return Ok(*found);
        }
        let base = u32::try_from(self.base.clients.len()).map_err(|_| OutOfRange)?;
        let added = self.added.client(id)?;
        base.checked_add(added).ok_or(OutOfRange)
    }

    fn kinds(&mut self) -> &mut Vec<Kind> {
        &mut self.added.kinds
    }
}

/// Sums of one kind, by both days that age may be counted from.
#[derive(Clone, Debug, Default)]
pub struct Cubes {
    /// By due day; credits by the day they were posted.
    pub by_age: Cube,
    /// By the invoice's day.
    pub by_invoice: Cube,
}

/// The open items of a company.
#[derive(Debug, Default)]
pub struct State {
    /// Everything that transactions below this one wrote is in it, and nothing else.
    pub horizon: i64,
    pub names: Names,
    /// Latest end first, so that what was over on a day stands behind what was not.
    pub history: Vec<Span>,
    /// Changes since it was built, each open for ever: together with `history` they add up.
    pub recent: Vec<Span>,
    /// One for each kind.
    pub cubes: Vec<Cubes>,
    /// What was ever in dispute, and of which item; latest end first.
    pub disputed: Vec<(Span, Uuid)>,
    /// The items that were ever under dispute.
    pub disputed_items: HashSet<Uuid>,
    /// Items whose disputes here may be ahead of the horizon: they are read again for every answer.
    pub unsettled: HashSet<Uuid>,
    /// What was open on the days that were looked at last, and what it adds up to; the latest one behind.
    opened: Mutex<Vec<Arc<Opened>>>,
    added: Mutex<Vec<Arc<Added>>>,
    /// The clients in order, as they were listed last.
    rankings: Mutex<Vec<Arc<Ranking>>>,
}

impl State {
    /// Adds changes below the new horizon, and what became of disputes.
    pub fn fold(
        &mut self,
        horizon: i64,
        changes: &[Change],
        disputed: &[Disputed],
        unsettled: HashSet<Uuid>,
    ) -> Result<(), OutOfRange> {
        let mut folded = Vec::with_capacity(changes.len());
        for change in changes {
            folded.push(delta(&mut self.names, change)?);
        }
        self.cubes
            .resize_with(self.names.kinds.len(), Cubes::default);
        for span in &folded {
            let cubes = &mut self.cubes[usize::from(span.at.kind)];
            cubes.by_age.add(span.at.age, span.from, span.amount);
            cubes
                .by_invoice
                .add(span.at.invoiced, span.from, span.amount);
        }
        self.recent.extend(folded);
        self.replace(disputed)?;
        self.cubes
            .resize_with(self.names.kinds.len(), Cubes::default);
        self.unsettled = unsettled;
        self.horizon = horizon;
        self.opened = Mutex::default();
        self.added = Mutex::default();
        self.rankings = Mutex::default();
        Ok(())
    }

    fn replace(&mut self, items: &[Disputed]) -> Result<(), OutOfRange> {
        if items.is_empty() {
            return Ok(());
        }
        let replaced: HashSet<Uuid> = items.iter().map(|item| item.item_id).collect();
        self.disputed.retain(|(_, item)| !replaced.contains(item));
        for item in items {
            let spans = disputed_spans(&mut self.names, item)?;
            self.disputed
                .extend(spans.into_iter().map(|span| (span, item.item_id)));
        }
        self.disputed.sort_by_key(|(span, _)| Reverse(span.to));
        self.disputed_items.extend(replaced);
        Ok(())
    }

    /// What is open on a day.
    pub fn opened(&self, on: Day) -> Arc<Opened> {
        kept(
            &self.opened,
            |opened| opened.on() == on,
            || {
                let until = self.history.partition_point(|span| span.to > on);
                let spans = self.history[..until].iter().chain(&self.recent);
                let open = spans.filter(|span| span.from <= on);
                Opened::of(on, self.names.clients.len(), open)
            },
        )
    }

    /// What it adds up to on a day, without what is in dispute.
    pub fn sums(&self, on: Day, layout: &Layout) -> Arc<Added> {
        kept(
            &self.added,
            |added| added.of.0 == on && added.of.1 == *layout,
            || Added::up(self, on, layout),
        )
    }

    /// Its clients in order.
    pub fn ranking(&self, topic: Topic) -> Arc<Ranking> {
        kept(
            &self.rankings,
            |ranking| ranking.of == topic,
            || Ranking::of(self, topic.clone()),
        )
    }

    /// Whether so much was folded in since it was built that building it anew pays.
    pub fn is_worn(&self) -> bool {
        self.recent.len() > 50_000.max(self.history.len() / 8)
    }

    /// Bytes it takes, about.
    pub fn bytes(&self) -> usize {
        let cubes: usize = self
            .cubes
            .iter()
            .map(|cubes| cubes.by_age.bytes() + cubes.by_invoice.bytes())
            .sum();
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let opened: usize = opened.iter().map(|opened| opened.bytes()).sum();
        let rankings = self.rankings.lock().unwrap_or_else(PoisonError::into_inner);
        let rankings: usize = rankings.iter().map(|ranking| ranking.bytes()).sum();
        (self.history.capacity() + self.recent.capacity()) * size_of::<Span>()
            + cubes
            + opened
            + rankings
            + self.names.clients.len() * 64
            + self.disputed.len() * 96
    }
}

/// What was asked for lately, or what is found now and kept for the next questions.
fn kept<T>(
    last: &Mutex<Vec<Arc<T>>>,
    is_it: impl Fn(&T) -> bool,
    find: impl FnOnce() -> T,
) -> Arc<T> {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    let place = last.iter().position(|found| is_it(found));
    let found = match place {
        Some(place) => last.remove(place),
        None => Arc::new(find()),
    };
    if last.len() >= KEPT {
        last.remove(0);
    }
    last.push(Arc::clone(&found));
    found
}

/// A ledger row as a span that never ends.
pub fn delta(names: &mut impl Naming, change: &Change) -> Result<Span, OutOfRange> {
    Ok(Span {
        amount: change.delta,
        at: names.at(&change.place)?,
        from: day(change.effective_on).ok_or(OutOfRange)?,
        to: NEVER,
    })
}

fn item_levels(history: &History) -> Result<Vec<(Day, i64)>, OutOfRange> {
    let mut changes = Vec::with_capacity(history.days.len());
    for (on, delta) in history.days.iter().zip(&history.deltas) {
        changes.push((day(*on).ok_or(OutOfRange)?, *delta));
    }
    Ok(levels(changes))
}

/// When how much of an item was in dispute.
pub fn disputed_spans(names: &mut impl Naming, item: &Disputed) -> Result<Vec<Span>, OutOfRange> {
    let at = names.at(&item.history.place)?;
    let mut disputes = Vec::with_capacity(item.amounts.len());
    for ((opened, closed), amount) in item.opened.iter().zip(&item.closed).zip(&item.amounts) {
        let to = match closed {
            Some(closed) => day(*closed).ok_or(OutOfRange)?,
            None => NEVER,
        };
        disputes.push((day(*opened).ok_or(OutOfRange)?, to, *amount));
    }
    let levels = disputed_levels(&item_levels(&item.history)?, &disputes);
    Ok(spans(&levels, at).collect())
}

/// Changes by the day age is counted from and the day they take effect: two look-ups for each of millions, which
/// nobody from outside chooses.
type Sums = foldhash::HashMap<(Day, Day), i64>;

/// Builds a state from what one snapshot sees.
#[derive(Default)]
pub struct Builder {
    names: Names,
    history: Vec<Span>,
    by_age: Vec<Sums>,
    by_invoice: Vec<Sums>,
}

impl Builder {
    /// Adds an item.
    pub fn add(&mut self, item: &History) -> Result<(), OutOfRange> {
        let at = self.names.at(&item.place)?;
        let kind = usize::from(at.kind);
        if self.by_age.len() <= kind {
            self.by_age.resize_with(kind + 1, Sums::default);
            self.by_invoice.resize_with(kind + 1, Sums::default);
        }
        let mut before = 0;
        let levels = item_levels(item)?;
        for (on, level) in &levels {
            *self.by_age[kind].entry((at.age, *on)).or_default() += level - before;
            *self.by_invoice[kind].entry((at.invoiced, *on)).or_default() += level - before;
            before = *level;
        }
        self.history.extend(spans(&levels, at));
        Ok(())
    }

    /// The state below `horizon`: `tail` is what the same snapshot saw of later transactions, taken out again.
    pub fn finish(
        mut self,
        horizon: i64,
        tail: &[Change],
        disputed: &[Disputed],
        unsettled: HashSet<Uuid>,
    ) -> Result<State, OutOfRange> {
        self.history.sort_unstable_by_key(|span| Reverse(span.to));
        self.history.shrink_to_fit();
        let cube = |sums: Sums| {
            Cube::of(
                sums.into_iter()
                    .map(|((age, on), sum)| (age, on, sum))
                    .collect(),
            )
        };
        let cubes = self
            .by_age
            .into_iter()
            .zip(self.by_invoice)
            .map(|(by_age, by_invoice)| Cubes {
                by_age: cube(by_age),
                by_invoice: cube(by_invoice),
            })
            .collect();
        let mut state = State {
            names: self.names,
            history: self.history,
            cubes,
            ..State::default()
        };
        let taken_out: Vec<Change> = tail
            .iter()
            .map(|change| Change {
                delta: -change.delta,
                ..change.clone()
            })
            .collect();
        state.fold(horizon, &taken_out, disputed, unsettled)?;
        Ok(state)
    }
}
