//! Days as small numbers, and amounts that are open from one day to another.

use chrono::{Datelike, NaiveDate};

use crate::store::balances::Place;

/// Days since 1970-01-01: enough until the year 2149.
pub type Day = u16;

/// Behind every day.
pub const NEVER: Day = Day::MAX;

/// The day as a number; none outside 1970 to 2149.
pub fn day(on: NaiveDate) -> Option<Day> {
    const EPOCH: i32 = 719_163;
    Day::try_from(on.num_days_from_ce() - EPOCH)
        .ok()
        .filter(|day| *day < NEVER)
}

/// Items that are laid out alike.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kind {
    pub currency: String,
    /// 411, 413 or 416.
    pub family: String,
    pub is_debit: bool,
}

impl Kind {
    /// The kind of an item.
    pub fn of(place: &Place) -> Kind {
        Kind {
            currency: place.currency.clone(),
            family: place.family.clone(),
            is_debit: place.is_debit,
        }
    }

    /// Whether what is due on a day is overdue on another: a debit, and not a bill of exchange (413).
    pub fn is_late(&self, due: Day, on: Day) -> bool {
        self.is_debit && self.family != "413" && due < on
    }
}

/// Where an item stands: client and kind by their places in the lists of the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct At {
    pub client: u32,
    pub kind: u8,
    /// The due day of a debit, the day a credit was posted.
    pub age: Day,
    pub invoiced: Day,
}

/// An amount that is open from a day (inclusive) to another (exclusive).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    pub amount: i64,
    pub at: At,
    pub from: Day,
    pub to: Day,
}

impl Span {
    /// Whether it is open on a day.
    pub fn holds(&self, on: Day) -> bool {
        self.from <= on && on < self.to
    }
}

/// The levels of an item that changes by `deltas`: from which day on how much is open. In order, days once.
pub fn levels(mut changes: Vec<(Day, i64)>) -> Vec<(Day, i64)> {
    changes.sort_unstable_by_key(|(on, _)| *on);
    let (mut levels, mut level) = (Vec::<(Day, i64)>::new(), 0);
    for (on, delta) in changes {
        level += delta;
        match levels.last_mut() {
            Some(last) if last.0 == on => last.1 = level,
            _ => levels.push((on, level)),
        }
    }
    levels
}

/// What is in dispute of an item, and from which day on: the disputes of the day, never more than is open (R4.9).
pub fn disputed_levels(open: &[(Day, i64)], disputes: &[(Day, Day, i64)]) -> Vec<(Day, i64)> {
    let mut days: Vec<Day> = open.iter().map(|(on, _)| *on).collect();
    days.extend(disputes.iter().flat_map(|(from, to, _)| [*from, *to]));
    days.retain(|on| *on < NEVER);
    days.sort_unstable();
    days.dedup();
    days.into_iter()
        .map(|on| {
            let claimed: i64 = disputes
                .iter()
                .filter(|(from, to, _)| *from <= on && on < *to)
                .map(|(_, _, amount)| amount)
                .sum();
            let behind = open.partition_point(|(day, _)| *day <= on);
            let level = behind.checked_sub(1).map_or(0, |last| open[last].1);
            (on, claimed.min(level.max(0)))
        })
        .collect()
}

/// The spans of levels that are not zero.
pub fn spans(levels: &[(Day, i64)], at: At) -> impl Iterator<Item = Span> + '_ {
    levels
        .iter()
        .enumerate()
        .map(move |(place, (from, amount))| Span {
            amount: *amount,
            at,
            from: *from,
            to: levels.get(place + 1).map_or(NEVER, |(to, _)| *to),
        })
        .filter(|span| span.amount != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: At = At {
        client: 0,
        kind: 0,
        age: 0,
        invoiced: 0,
    };

    #[test]
    fn an_item_is_open_in_spans() {
        let levels = levels(vec![(10, 100), (30, -60), (20, -40), (40, 60), (40, -60)]);
        let spans: Vec<_> = spans(&levels, AT)
            .map(|span| (span.from, span.to, span.amount))
            .collect();
        assert_eq!(spans, [(10, 20, 100), (20, 30, 60)]);
    }

    #[test]
    fn no_more_is_in_dispute_than_is_open_r4_9() {
        let open = [(10, 100), (30, 40), (50, 0)];
        let disputes = [(15, 25, 30), (20, NEVER, 90)];
        assert_eq!(
            disputed_levels(&open, &disputes),
            [(10, 0), (15, 30), (20, 100), (25, 90), (30, 40), (50, 0)]
        );
    }

    #[test]
    fn days_are_counted_from_1970() {
        let on = |text: &str| day(text.parse().expect("a day"));
        assert_eq!(on("1970-01-01"), Some(0));
        assert_eq!(on("2026-11-26"), Some(20_783));
        assert_eq!(on("1969-12-31"), None);
        assert_eq!(on("2200-01-01"), None);
    }
}
