//! Late-payment interest (pénalités de retard) and the flat recovery indemnity (section 6.3 to 6.6).
//!
//! Amounts are minor units, VAT included; rates are percents per year on 365 days, leap years too.

use chrono::{Days, NaiveDate};
use rust_decimal::Decimal;

use super::money::{Minor, round_half_up};

/// A legal value and the days it holds for, both included; for ever when `to` is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dated {
    /// First day.
    pub from: NaiveDate,
    /// Last day.
    pub to: Option<NaiveDate>,
    /// The value.
    pub value: Decimal,
}

/// A day that no row of a legal table covers (R0.5): nothing is extrapolated.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no {what} is known for {on}: the legal rates end before it")]
pub struct NotCovered {
    /// The legal value.
    pub what: &'static str,
    /// The day.
    pub on: NaiveDate,
}

/// The value on a day.
pub fn value_on<'a>(
    rows: &'a [Dated],
    what: &'static str,
    on: NaiveDate,
) -> Result<&'a Dated, NotCovered> {
    rows.iter()
        .find(|row| row.from <= on && row.to.is_none_or(|to| on <= to))
        .ok_or(NotCovered { what, on })
}

/// The legal tables that interest is computed from.
#[derive(Clone, Debug, Default)]
pub struct PenaltyRates {
    /// ECB refinancing rate, by half-year.
    pub ecb: Vec<Dated>,
    /// Points above it for want of a contract: 10 (R6.5).
    pub margin: Vec<Dated>,
    /// Legal interest rate for professionals, by half-year.
    pub legal: Vec<Dated>,
    /// How many times the legal rate bounds a contract from below: 3 (R6.5).
    pub floor_multiple: Vec<Dated>,
}

impl PenaltyRates {
    /// The rate without a contract: ECB on the first day of the half-year, and the margin (R6.5).
    /// The floor does not raise it (R6.6).
    pub fn default_on(&self, on: NaiveDate) -> Result<Decimal, NotCovered> {
        let ecb = value_on(&self.ecb, "ECB refinancing rate", on)?;
        let margin = value_on(&self.margin, "margin over the ECB rate", on)?;
        Ok(ecb.value + margin.value)
    }

    /// The least that a contract may stipulate from a day: three times the legal rate (R6.5).
    pub fn floor_on(&self, on: NaiveDate) -> Result<Decimal, NotCovered> {
        let legal = value_on(&self.legal, "legal interest rate", on)?;
        let multiple = value_on(&self.floor_multiple, "multiple of the legal rate", on)?;
        Ok(legal.value * multiple.value)
    }

    /// The default rate of a day, and the last day it holds for.
    fn default_until(&self, on: NaiveDate) -> Result<(Decimal, NaiveDate), NotCovered> {
        let ecb = value_on(&self.ecb, "ECB refinancing rate", on)?;
        let margin = value_on(&self.margin, "margin over the ECB rate", on)?;
        let until = [ecb.to, margin.to].into_iter().flatten().min();
        Ok((ecb.value + margin.value, until.unwrap_or(NaiveDate::MAX)))
    }
}

/// The rate that counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rate {
    /// As the contract has it, applied as written (R6.7).
    Contract(Decimal),
    /// The default of each half-year (R6.5).
    Default,
}

/// Something that made a claim smaller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reduction {
    /// The day of the payment, which still bears interest (R6.8).
    pub on: NaiveDate,
    /// How much, positive.
    pub amount: Minor,
    /// A credit note corrects what was never owed: it counts from the first day (R6.9).
    pub from_first_day: bool,
}

/// A claim with one due date.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LateClaim {
    /// The contractual due date.
    pub due_on: NaiveDate,
    /// Amount due, VAT included.
    pub amount: Minor,
    /// What was paid or credited.
    pub reductions: Vec<Reduction>,
}

/// Part of a delay with one principal and one rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// First day that bears interest.
    pub from: NaiveDate,
    /// Last day.
    pub to: NaiveDate,
    /// Days of the segment.
    pub days: i64,
    /// What was unpaid, VAT included.
    pub principal: Minor,
    /// Percent per year.
    pub rate: Decimal,
}

/// The segments of a delay through a day, in order: a new one at each payment and half-year.
pub fn segments(
    claim: &LateClaim,
    rate: Rate,
    rates: &PenaltyRates,
    through: NaiveDate,
) -> Result<Vec<Segment>, NotCovered> {
    let mut found = Vec::new();
    let mut from = next_day(claim.due_on);
    while from <= through {
        let principal = principal_on(claim, from);
        let (percent, rate_ends) = match rate {
            Rate::Contract(percent) => (percent, NaiveDate::MAX),
            Rate::Default if principal > 0 => rates.default_until(from)?,
            Rate::Default => (Decimal::ZERO, NaiveDate::MAX),
        };
        // A payment ends the segment on its own day; the next day bears interest on the rest.
        let paid = claim
            .reductions
            .iter()
            .filter(|reduction| !reduction.from_first_day && reduction.on >= from)
            .map(|reduction| reduction.on)
            .min();
        let to = [Some(through), Some(rate_ends), paid]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(through);
        if principal > 0 {
            found.push(Segment {
                from,
                to,
                days: (to - from).num_days() + 1,
                principal,
                rate: percent,
            });
        }
        from = next_day(to);
    }
    Ok(found)
}

/// Unpaid at the beginning of a day.
fn principal_on(claim: &LateClaim, day: NaiveDate) -> Minor {
    let reduced: Minor = claim
        .reductions
        .iter()
        .filter(|reduction| reduction.from_first_day || reduction.on < day)
        .map(|reduction| reduction.amount)
        .sum();
    (claim.amount - reduced).max(0)
}

fn next_day(day: NaiveDate) -> NaiveDate {
    day.checked_add_days(Days::new(1)).unwrap_or(NaiveDate::MAX)
}

/// Interest of segments: Σ principal × rate × days / 100 / 365, rounded once (R6.8). `None` on overflow.
pub fn interest(segments: &[Segment]) -> Option<Minor> {
    let mut sum = Decimal::ZERO;
    for segment in segments {
        let part = Decimal::from(segment.principal)
            .checked_mul(segment.rate)?
            .checked_mul(Decimal::from(segment.days))?;
        sum = sum.checked_add(part)?;
    }
    round_half_up(sum.checked_div(Decimal::from(36_500))?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    fn dec(text: &str) -> Decimal {
        text.parse().expect("a decimal")
    }

    /// Table 6.4, the half-years that the examples need.
    fn rates() -> PenaltyRates {
        let half_years = [
            ("2024-01-01", "2024-06-30", "4.50", "5.07"),
            ("2024-07-01", "2024-12-31", "4.25", "4.92"),
            ("2025-01-01", "2025-06-30", "3.15", "3.71"),
            ("2025-07-01", "2025-12-31", "2.15", "2.76"),
            ("2026-01-01", "2026-06-30", "2.15", "2.62"),
        ];
        let rows = |value: fn(&(&str, &str, &str, &str)) -> Decimal| {
            half_years
                .iter()
                .map(|row| Dated {
                    from: date(row.0),
                    to: Some(date(row.1)),
                    value: value(row),
                })
                .collect()
        };
        let always = |value: i64| {
            vec![Dated {
                from: date("2009-01-01"),
                to: None,
                value: Decimal::from(value),
            }]
        };
        PenaltyRates {
            ecb: rows(|row| dec(row.2)),
            margin: always(10),
            legal: rows(|row| dec(row.3)),
            floor_multiple: always(3),
        }
    }

    fn paid(on: &str, amount: Minor) -> Reduction {
        Reduction {
            on: date(on),
            amount,
            from_first_day: false,
        }
    }

    #[test]
    fn worked_penalties_r6_8() {
        let cases = [
            (
                "2026-03-31",
                1_200_000,
                vec![paid("2026-05-15", 1_200_000)],
                vec![45],
                17_975,
            ),
            (
                "2025-05-31",
                1_200_000,
                vec![paid("2025-08-20", 1_200_000)],
                vec![30, 51],
                33_342,
            ),
            (
                "2026-01-31",
                840_000,
                vec![paid("2026-03-10", 340_000), paid("2026-04-15", 500_000)],
                vec![38, 36],
                16_617,
            ),
            // R6.6: 14.50 %, not the floor of 15.21 %.
            (
                "2024-03-31",
                500_000,
                vec![paid("2024-05-30", 500_000)],
                vec![60],
                11_918,
            ),
            (
                "2026-03-31",
                500_000,
                vec![paid("2026-03-31", 500_000)],
                vec![],
                0,
            ),
        ];
        for (due_on, amount, reductions, days, expected) in cases {
            let claim = LateClaim {
                due_on: date(due_on),
                amount,
                reductions,
            };
            let found = segments(&claim, Rate::Default, &rates(), date("2026-06-30"));
            let found = found.expect("rates are known");
            let counted: Vec<i64> = found.iter().map(|segment| segment.days).collect();
            assert_eq!(
                (counted, interest(&found)),
                (days, Some(expected)),
                "{due_on}"
            );
        }
    }

    #[test]
    fn a_credit_note_counts_from_the_first_day_r6_9() {
        let mut claim = LateClaim {
            due_on: date("2026-03-31"),
            amount: 1_200_000,
            reductions: vec![Reduction {
                on: date("2026-05-10"),
                amount: 200_000,
                from_first_day: true,
            }],
        };
        let through = date("2026-05-15");
        let found = segments(&claim, Rate::Default, &rates(), through).expect("rates");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].principal, found[0].days), (1_000_000, 45));
        claim.reductions[0].from_first_day = false;
        let found = segments(&claim, Rate::Default, &rates(), through).expect("rates");
        assert_eq!(found.iter().map(|s| s.days).collect::<Vec<_>>(), [40, 5]);
    }

    #[test]
    fn a_contract_applies_as_written_and_has_a_floor_r6_5() {
        let claim = LateClaim {
            due_on: date("2026-03-31"),
            amount: 1_200_000,
            reductions: vec![],
        };
        let found = segments(
            &claim,
            Rate::Contract(dec("10")),
            &rates(),
            date("2026-05-15"),
        )
        .expect("a contract needs no table");
        assert_eq!(interest(&found), Some(14_795));
        assert_eq!(rates().floor_on(date("2026-03-31")), Ok(dec("7.86")));
        assert_eq!(rates().default_on(date("2024-05-01")), Ok(dec("14.50")));
    }

    #[test]
    fn a_half_year_without_a_rate_is_an_error_r0_5() {
        let claim = LateClaim {
            due_on: date("2026-05-31"),
            amount: 100_000,
            reductions: vec![],
        };
        let error = segments(&claim, Rate::Default, &rates(), date("2026-07-15"));
        assert_eq!(error.expect_err("unknown").on, date("2026-07-01"));
        // What is paid before needs no later rate.
        let claim = LateClaim {
            reductions: vec![paid("2026-06-20", 100_000)],
            ..claim
        };
        assert!(segments(&claim, Rate::Default, &rates(), date("2026-07-15")).is_ok());
    }

    proptest! {
        /// Days are neither lost nor counted twice, whatever is paid when.
        #[test]
        fn segments_cover_the_delay_once(delays in prop::collection::vec((0..200_i64, 1..40_000_i64), 0..6)) {
            let due_on = date("2025-03-31");
            let claim = LateClaim {
                due_on,
                amount: 1_000_000,
                reductions: delays
                    .iter()
                    .map(|(delay, amount)| Reduction {
                        on: due_on + chrono::Duration::days(*delay),
                        amount: *amount,
                        from_first_day: false,
                    })
                    .collect(),
            };
            let found = segments(&claim, Rate::Default, &rates(), due_on + chrono::Duration::days(250)).expect("rates");
            prop_assert_eq!(found.iter().map(|s| s.days).sum::<i64>(), 250);
            for pair in found.windows(2) {
                prop_assert_eq!(next_day(pair[0].to), pair[1].from);
                prop_assert!(pair[0].principal >= pair[1].principal);
            }
        }
    }
}
