//! The buckets (tranches) of the aged trial balance (balance âgée): R4.4 to R4.7.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::access::codes;

const MAX_BOUNDS: usize = 12;
/// A century: far beyond any claim, and far from the limits of 32 bits.
const MAX_BOUND_DAYS: i32 = 36_500;

codes! {
    /// The date from which an item ages.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    AgingBasis {
        /// Age since the due date; up to 0 the item is not due (R4.4).
        DueDate = "DUE_DATE",
        /// Age since the invoice date; nothing is "not due" (R4.6).
        InvoiceDate = "INVOICE_DATE",
    }
}

/// Calendar days from a due or invoice date to the day asked; 0 or less is not overdue (R4.4).
pub fn age(as_of: NaiveDate, from_on: NaiveDate) -> i64 {
    (as_of - from_on).num_days()
}

/// The bounds are not 1 to 12 positive days in strictly ascending order (R4.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("bucket bounds are 1 to 12 numbers of days, positive, strictly ascending, at most 36500")]
pub struct InvalidBounds;

/// Consecutive ranges of age that cover every age exactly once (R4.5).
///
/// Invariant: the bounds are 1 to 12 positive days, strictly ascending.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Buckets {
    basis: AgingBasis,
    bounds: Vec<i32>,
}

/// One bucket as a report shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BucketLabel {
    /// `not due`, `1-30`, `> 90`.
    pub label: String,
    /// Lowest age of the bucket in days; `None` for the first, which takes every lower age.
    pub from_days: Option<i32>,
    /// Highest age of the bucket in days; `None` for the last.
    pub to_days: Option<i32>,
}

impl Buckets {
    /// Buckets that end on the given ages in days: 30, 60, 90 (R4.5).
    pub fn new(basis: AgingBasis, bounds: &[i32]) -> Result<Buckets, InvalidBounds> {
        let ascending = bounds.windows(2).all(|pair| pair[0] < pair[1]);
        let in_range = bounds
            .iter()
            .all(|bound| (1..=MAX_BOUND_DAYS).contains(bound));
        if !(1..=MAX_BOUNDS).contains(&bounds.len()) || !ascending || !in_range {
            return Err(InvalidBounds);
        }
        Ok(Buckets {
            basis,
            bounds: bounds.to_vec(),
        })
    }

    /// The standard buckets of a basis: bounds 30, 60 and 90 days (R4.5, R4.6).
    pub fn standard(basis: AgingBasis) -> Buckets {
        Buckets {
            basis,
            bounds: vec![30, 60, 90],
        }
    }

    /// The date from which items age.
    pub fn basis(&self) -> AgingBasis {
        self.basis
    }

    /// The last ages of the buckets in days, as they were given; the open last bucket has none.
    pub fn bounds(&self) -> &[i32] {
        &self.bounds
    }

    /// Number of buckets, "not due" and the open last one included.
    #[expect(
        clippy::len_without_is_empty,
        reason = "there are always at least two buckets"
    )]
    pub fn len(&self) -> usize {
        self.lower_bounds().len() + 1
    }

    /// The lowest age of every bucket but the first: the thresholds of `width_bucket(age, …)`.
    pub fn lower_bounds(&self) -> Vec<i32> {
        let first = match self.basis {
            AgingBasis::DueDate => Some(1),
            AgingBasis::InvoiceDate => None,
        };
        first
            .into_iter()
            .chain(self.bounds.iter().map(|bound| bound + 1))
            .collect()
    }

    /// The rank of the bucket of an age in days, from 0: what Postgres calls `width_bucket`.
    pub fn index(&self, age: i64) -> usize {
        self.lower_bounds()
            .iter()
            .filter(|lower| i64::from(**lower) <= age)
            .count()
    }

    /// The buckets in order, "not due" first on the due-date basis (R4.5, R4.6).
    pub fn labels(&self) -> Vec<BucketLabel> {
        let lowers = self.lower_bounds();
        let froms = std::iter::once(None).chain(lowers.iter().copied().map(Some));
        let tos = lowers.iter().map(|lower| Some(lower - 1)).chain([None]);
        froms
            .zip(tos)
            .map(|(from_days, to_days)| BucketLabel {
                label: self.label(from_days, to_days),
                from_days,
                to_days,
            })
            .collect()
    }

    fn label(&self, from_days: Option<i32>, to_days: Option<i32>) -> String {
        match (from_days, to_days, self.basis) {
            (None, _, AgingBasis::DueDate) => "not due".to_owned(),
            (None, to, AgingBasis::InvoiceDate) => format!("0-{}", to.unwrap_or(0)),
            (Some(from), Some(to), AgingBasis::DueDate | AgingBasis::InvoiceDate) => {
                format!("{from}-{to}")
            }
            (Some(from), None, AgingBasis::DueDate | AgingBasis::InvoiceDate) => {
                format!("> {}", from - 1)
            }
        }
    }
}

impl Default for Buckets {
    /// Due date, 30, 60 and 90 days (R4.5).
    fn default() -> Self {
        Buckets::standard(AgingBasis::DueDate)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(buckets: &Buckets) -> Vec<String> {
        buckets
            .labels()
            .into_iter()
            .map(|bucket| bucket.label)
            .collect()
    }

    #[test]
    fn labels_r4_5() {
        let buckets = Buckets::default();
        assert_eq!(
            names(&buckets),
            ["not due", "1-30", "31-60", "61-90", "> 90"]
        );
        assert_eq!(buckets.lower_bounds(), [1, 31, 61, 91]);
        assert_eq!(buckets.len(), 5);
        let ends: Vec<_> = buckets
            .labels()
            .iter()
            .map(|b| (b.from_days, b.to_days))
            .collect();
        let expected = [
            (None, Some(0)),
            (Some(1), Some(30)),
            (Some(31), Some(60)),
            (Some(61), Some(90)),
            (Some(91), None),
        ];
        assert_eq!(ends, expected);
    }

    #[test]
    fn labels_by_invoice_date_r4_6() {
        let buckets = Buckets::standard(AgingBasis::InvoiceDate);
        assert_eq!(names(&buckets), ["0-30", "31-60", "61-90", "> 90"]);
        assert_eq!(buckets.lower_bounds(), [31, 61, 91]);
        assert_eq!(buckets.len(), 4);
    }

    #[test]
    fn an_item_due_on_the_day_is_not_due_r4_4() {
        let due_on = "2026-03-31".parse().expect("a date");
        let cases = [
            ("2026-03-30", 0),
            ("2026-03-31", 0),
            ("2026-04-01", 1),
            ("2026-07-01", 4),
        ];
        for (as_of, index) in cases {
            let age = age(as_of.parse().expect("a date"), due_on);
            assert_eq!(Buckets::default().index(age), index, "{as_of}");
        }
    }

    #[test]
    fn ages_on_the_bounds_r4_5() {
        let cases = [
            (i64::MIN, 0),
            (-1, 0),
            (0, 0),
            (1, 1),
            (30, 1),
            (31, 2),
            (60, 2),
            (61, 3),
            (90, 3),
            (91, 4),
            (i64::MAX, 4),
        ];
        for (age, index) in cases {
            assert_eq!(Buckets::default().index(age), index, "{age}");
        }
        let six = Buckets::new(AgingBasis::DueDate, &[30, 60, 90, 120, 180]).expect("valid");
        assert_eq!(names(&six)[six.index(142)], "121-180");
        let by_invoice = Buckets::standard(AgingBasis::InvoiceDate);
        for (age, index) in [(-3, 0), (0, 0), (30, 0), (31, 1), (91, 3)] {
            assert_eq!(by_invoice.index(age), index, "{age}");
        }
    }

    #[test]
    fn invalid_bounds_are_refused_r4_5() {
        let thirteen: Vec<i32> = (1..=13).collect();
        let bad: [&[i32]; 7] = [
            &[],
            &[0, 30],
            &[-1],
            &[30, 30],
            &[60, 30],
            &thirteen,
            &[i32::MAX],
        ];
        for bounds in bad {
            assert_eq!(
                Buckets::new(AgingBasis::DueDate, bounds),
                Err(InvalidBounds),
                "{bounds:?}"
            );
        }
        assert!(Buckets::new(AgingBasis::DueDate, &thirteen[..12]).is_ok());
    }

    proptest! {
        /// R4.5: every age is in exactly one labelled bucket, the one of `index`.
        #[test]
        fn every_age_is_in_exactly_one_bucket_r4_5(
            bounds in prop::collection::btree_set(1..400_i32, 1..12),
            by_invoice in any::<bool>(),
            age in -500..500_i64,
        ) {
            let basis = if by_invoice { AgingBasis::InvoiceDate } else { AgingBasis::DueDate };
            let bounds: Vec<i32> = bounds.into_iter().collect();
            let buckets = Buckets::new(basis, &bounds).expect("valid");
            let labels = buckets.labels();
            prop_assert_eq!(labels.len(), buckets.len());
            let holding: Vec<usize> = (0..labels.len())
                .filter(|rank| {
                    labels[*rank].from_days.is_none_or(|from| i64::from(from) <= age)
                        && labels[*rank].to_days.is_none_or(|to| age <= i64::from(to))
                })
                .collect();
            prop_assert_eq!(holding, vec![buckets.index(age)]);
        }

        /// `index` is Postgres' `width_bucket`: 0 below the first threshold, i from the i-th on.
        #[test]
        fn index_is_width_bucket(age in -500..500_i64) {
            let buckets = Buckets::default();
            let thresholds = buckets.lower_bounds();
            let expected = match thresholds.iter().position(|lower| age < i64::from(*lower)) {
                Some(rank) => rank,
                None => thresholds.len(),
            };
            prop_assert_eq!(buckets.index(age), expected);
        }
    }
}
