//! Sums by the day of a change and the day age is counted from: they answer every day alike, past or present.

use super::span::Day;

/// What is open of items that share a day to count age from, on each day it changed.
#[derive(Clone, Debug, Default)]
struct Series {
    age: Day,
    /// Day of a change, and what is open from then on; in order.
    levels: Vec<(Day, i64)>,
}

impl Series {
    fn level(&self, on: Day) -> i64 {
        let behind = self.levels.partition_point(|(day, _)| *day <= on);
        behind.checked_sub(1).map_or(0, |last| self.levels[last].1)
    }

    fn add(&mut self, on: Day, delta: i64) {
        let behind = self.levels.partition_point(|(day, _)| *day <= on);
        let is_there = behind > 0 && self.levels[behind - 1].0 == on;
        let from = if is_there {
            behind - 1
        } else {
            let before = behind.checked_sub(1).map_or(0, |last| self.levels[last].1);
            self.levels.insert(behind, (on, before));
            behind
        };
        for level in &mut self.levels[from..] {
            level.1 += delta;
        }
    }
}

/// The series of all days to count age from, in order.
#[derive(Clone, Debug, Default)]
pub struct Cube(Vec<Series>);

impl Cube {
    /// From changes `(age, on, delta)` in any order; much cheaper than adding them one by one.
    pub fn of(mut changes: Vec<(Day, Day, i64)>) -> Cube {
        changes.sort_unstable_by_key(|(age, on, _)| (*age, *on));
        let mut series: Vec<Series> = Vec::new();
        for (age, on, delta) in changes {
            if series.last().is_none_or(|last| last.age != age) {
                series.push(Series {
                    age,
                    levels: Vec::new(),
                });
            }
            let Some(Series { levels, .. }) = series.last_mut() else {
                continue;
            };
            match levels.last_mut() {
                Some((day, level)) if *day == on => *level += delta,
                Some((_, level)) => {
                    let level = *level + delta;
                    levels.push((on, level));
                }
                None => levels.push((on, delta)),
            }
        }
        for series in &mut series {
            series.levels.shrink_to_fit();
        }
        Cube(series)
    }

    /// Adds a change that takes effect on a day, whenever that is.
    pub fn add(&mut self, age: Day, on: Day, delta: i64) {
        let place = match self.0.binary_search_by_key(&age, |series| series.age) {
            Ok(place) => place,
            Err(place) => {
                self.0.insert(
                    place,
                    Series {
                        age,
                        levels: Vec::new(),
                    },
                );
                place
            }
        };
        self.0[place].add(on, delta);
    }

    /// What is open on a day, by the day age is counted from.
    pub fn on(&self, day: Day) -> impl Iterator<Item = (Day, i64)> + '_ {
        self.0
            .iter()
            .map(move |series| (series.age, series.level(day)))
            .filter(|(_, level)| *level != 0)
    }

    /// Bytes it takes, about.
    pub fn bytes(&self) -> usize {
        self.0
            .iter()
            .map(|series| size_of::<Series>() + series.levels.capacity() * size_of::<(Day, i64)>())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_day_is_the_sum_of_the_changes_until_then(
            made in prop::collection::vec((0_u16..6, 0_u16..8, -50_i64..50), 0..40),
            added in prop::collection::vec((0_u16..6, 0_u16..8, -50_i64..50), 0..40),
            on in 0_u16..9,
        ) {
            let mut cube = Cube::of(made.clone());
            for (age, day, delta) in &added {
                cube.add(*age, *day, *delta);
            }
            let mut expected = BTreeMap::<Day, i64>::new();
            for (age, _, delta) in made.iter().chain(&added).filter(|(_, day, _)| *day <= on) {
                *expected.entry(*age).or_default() += delta;
            }
            expected.retain(|_, sum| *sum != 0);
            prop_assert_eq!(cube.on(on).collect::<BTreeMap<_, _>>(), expected);
        }
    }
}
