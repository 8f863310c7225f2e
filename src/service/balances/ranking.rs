//! What each client has open on one day, in order: found once for a state, and corrected for each reader by what
//! the tail changes, so that a page costs its rows and not the clients there are.

use std::cmp::Ordering;

use uuid::Uuid;

use super::span::{Day, Kind, Span};
use super::state::State;
use crate::store::aging::RowSort;

/// What a ranking is of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    pub on: Day,
    /// Which kinds of the state count.
    pub wanted: Vec<bool>,
    pub by: RowSort,
}

/// A client, by its number, and the place of a currency among those of the kinds.
pub type Line = (u32, usize);

/// A client's standing in one currency.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Standing {
    /// What it is ordered by.
    pub measure: i64,
    debit: i64,
    credit: i64,
}

impl Standing {
    /// Open debits are never negative and open credits never positive, so a sum of zero means that none is open.
    pub fn is_there(&self) -> bool {
        self.debit != 0 || self.credit != 0
    }

    /// Adds what is open of an item.
    pub fn open(&mut self, kind: &Kind, span: &Span, on: Day, by: RowSort) {
        match kind.is_debit {
            true => self.debit += span.amount,
            false => self.credit += span.amount,
        }
        match by {
            RowSort::Overdue if !kind.is_late(span.at.age, on) => {}
            RowSort::Overdue | RowSort::Total => self.measure += span.amount,
            RowSort::Disputed | RowSort::Number | RowSort::Name => {}
        }
    }

    /// Counts what is in dispute of an item; `excluded` when the balance leaves that out.
    pub fn dispute(&mut self, kind: &Kind, span: &Span, on: Day, by: RowSort, excluded: bool) {
        match by {
            RowSort::Disputed => self.measure += span.amount,
            RowSort::Overdue if excluded && kind.is_late(span.at.age, on) => {
                self.measure -= span.amount;
            }
            RowSort::Total if excluded => self.measure -= span.amount,
            RowSort::Overdue | RowSort::Total | RowSort::Number | RowSort::Name => {}
        }
    }

    /// Together with another.
    pub fn with(self, other: Standing) -> Standing {
        Standing {
            measure: self.measure + other.measure,
            debit: self.debit + other.debit,
            credit: self.credit + other.credit,
        }
    }
}

/// The currencies of kinds, in the order of their first kinds, and which of them each kind has.
pub fn currencies(kinds: &[Kind]) -> (Vec<&str>, Vec<usize>) {
    let mut names: Vec<&str> = Vec::new();
    let mut of_kind = Vec::with_capacity(kinds.len());
    for kind in kinds {
        let known = names.iter().position(|name| *name == kind.currency);
        of_kind.push(known.unwrap_or(names.len()));
        if known.is_none() {
            names.push(&kind.currency);
        }
    }
    (names, of_kind)
}

/// The clients of a state on a day, without what is in dispute.
#[derive(Debug)]
pub struct Ranking {
    /// What it is of.
    pub of: Topic,
    /// Currencies of each client.
    width: usize,
    standings: Vec<Standing>,
    /// The places of those with anything open, lowest measure first; then by client and currency.
    order: Vec<u32>,
}

impl Ranking {
    /// Ranks the clients of a state.
    pub fn of(state: &State, topic: Topic) -> Ranking {
        let kinds = &state.names.kinds;
        let (names, currency_of) = currencies(kinds);
        let width = names.len();
        let mut standings = vec![Standing::default(); state.names.clients.len() * width];
        for span in state.opened(topic.on).all() {
            let kind = usize::from(span.at.kind);
            if topic.wanted[kind] {
                let place = span.at.client as usize * width + currency_of[kind];
                standings[place].open(&kinds[kind], span, topic.on, topic.by);
            }
        }
        let mut order: Vec<u32> = (0..)
            .zip(&standings)
            .filter(|(_, standing)| standing.is_there())
            .map(|(place, _)| place)
            .collect();
        order.sort_unstable_by_key(|place| {
            let place = *place as usize;
            let client = state.names.clients[place / width];
            (standings[place].measure, client, names[place % width])
        });
        order.shrink_to_fit();
        Ranking {
            of: topic,
            width,
            standings,
            order,
        }
    }

    /// How many have anything open.
    pub fn count(&self) -> usize {
        self.order.len()
    }

    /// Where a client stands in a currency; nowhere when the state does not know them.
    pub fn standing(&self, (client, currency): Line) -> Standing {
        let place = (currency < self.width).then_some(client as usize * self.width + currency);
        let found = place.and_then(|place| self.standings.get(place));
        found.copied().unwrap_or_default()
    }

    /// The lines behind a place, in order: `beside` compares a line's key with that place's.
    pub fn behind(
        &self,
        is_descending: bool,
        beside: impl Fn(i64, Line) -> Ordering,
    ) -> impl Iterator<Item = Line> {
        let line = |place: u32| {
            let place = place as usize;
            let client = u32::try_from(place / self.width).unwrap_or(u32::MAX);
            (client, place % self.width)
        };
        let at = |place: u32| beside(self.standings[place as usize].measure, line(place));
        let (mut from, mut to) = (0, self.order.len());
        if is_descending {
            to = self
                .order
                .partition_point(|place| at(*place) == Ordering::Less);
        } else {
            from = self
                .order
                .partition_point(|place| at(*place) != Ordering::Greater);
        }
        let lines = self.order[from..to].iter();
        let (ahead, back) = match is_descending {
            true => (None, Some(lines.rev())),
            false => (Some(lines), None),
        };
        let ahead = ahead.into_iter().flatten();
        ahead
            .chain(back.into_iter().flatten())
            .map(move |place| line(*place))
    }

    /// Bytes it takes, about.
    pub fn bytes(&self) -> usize {
        self.standings.capacity() * size_of::<Standing>() + self.order.capacity() * size_of::<u32>()
    }
}

/// What rows of a balance are ordered by: measure, client, currency.
pub type Key<'a> = (i64, Uuid, &'a str);
