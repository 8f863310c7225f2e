//! Payment terms (conditions de règlement): from the terms agreed to the due date, and the longest
//! due date that the law allows (section 6).

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, Days, Months, NaiveDate};
use serde::{Deserialize, Serialize};

use super::access::codes;

// The ceilings of table 6.1 and of R6.2, in days. Source: C. com. L441-10 I, L441-11 II.
const NET_MAX_DAYS: u16 = 60;
const EOM_MAX_DAYS: u16 = 45;
const PERIODIC_MAX_DAYS: u16 = 45;
const LEGAL_DEFAULT_DAYS: u16 = 30;
const DECADE_MAX_DAYS: u16 = 30;

codes! {
    /// How a due date follows from a document's dates (formulas of section 6.2).
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    TermsRule {
        /// A number of days after the issue date.
        Net = "NET",
        /// Fin de mois + n, method A: end of the issue month, then n days.
        EomThenDays = "EOM_THEN_DAYS",
        /// N jours fin de mois, method B: n days, then the end of that month.
        DaysThenEom = "DAYS_THEN_EOM",
        /// Délai supplétif: nothing was agreed, 30 days after reception.
        LegalDefault = "LEGAL_DEFAULT",
        /// End of the ten-day period (décade) of the delivery, then n days.
        Decade = "DECADE",
    }
}

impl fmt::Display for TermsRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// The text is not the code of a payment-terms rule.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{0}` is not a payment-terms rule: use NET, EOM_THEN_DAYS, DAYS_THEN_EOM, LEGAL_DEFAULT or DECADE"
)]
pub struct UnknownTermsRule(pub String);

impl FromStr for TermsRule {
    type Err = UnknownTermsRule;

    fn from_str(code: &str) -> Result<Self, Self::Err> {
        TermsRule::read(code).ok_or_else(|| UnknownTermsRule(code.to_owned()))
    }
}

/// The terms agreed with a client. They may be unlawful: [`PaymentTerms::check_terms`] tells.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct PaymentTerms {
    /// How the due date is computed; which end-of-month method was agreed must be known (R6.1).
    pub rule: TermsRule,
    /// Number of calendar days of the rule. Not read by `LEGAL_DEFAULT`, which is always 30.
    pub days: u16,
    /// "Le 10": that day of the month after the end of month. Read by `DAYS_THEN_EOM` only.
    pub then_day: Option<u8>,
}

impl PaymentTerms {
    /// The due date (échéance) of a document, by the formulas of section 6.2 (R6.1).
    ///
    /// `received_on` is the day of reception or delivery, read by `LEGAL_DEFAULT` and `DECADE`;
    /// when it is unknown the issue date stands for it. A weekend or holiday does not move the due
    /// date (R6.3).
    pub fn due_on(&self, issued_on: NaiveDate, received_on: Option<NaiveDate>) -> NaiveDate {
        let received_on = received_on.unwrap_or(issued_on);
        match self.rule {
            TermsRule::Net => add_days(issued_on, self.days),
            TermsRule::EomThenDays => add_days(end_of_month(issued_on), self.days),
            TermsRule::DaysThenEom => {
                let month_end = end_of_month(add_days(issued_on, self.days));
                match self.then_day {
                    Some(day) => day_of_next_month(month_end, day),
                    None => month_end,
                }
            }
            TermsRule::LegalDefault => add_days(received_on, LEGAL_DEFAULT_DAYS),
            TermsRule::Decade => add_days(end_of_decade(received_on), self.days),
        }
    }

    /// Refuses terms that break R6.2 whatever the document, and terms that contradict themselves.
    ///
    /// "N days end of month, the k-th" passes when n + k is at most 45: on rare issue dates its
    /// due date may still be too late, which [`check_due`] finds document by document.
    pub fn check_terms(&self) -> Result<(), UnlawfulTermsClause> {
        if let Some(then_day) = self.then_day {
            if self.rule != TermsRule::DaysThenEom {
                return Err(UnlawfulTermsClause::ThenDayNotAllowed { rule: self.rule });
            }
            if !(1..=31).contains(&then_day) {
                return Err(UnlawfulTermsClause::ThenDayOutOfRange { then_day });
            }
        }
        let (days, max_days) = match self.rule {
            TermsRule::Net => (self.days, NET_MAX_DAYS),
            TermsRule::EomThenDays => (self.days, EOM_MAX_DAYS),
            TermsRule::DaysThenEom => {
                let then_day = u16::from(self.then_day.unwrap_or(0));
                (self.days.saturating_add(then_day), EOM_MAX_DAYS)
            }
            TermsRule::LegalDefault if self.days == 0 => return Ok(()),
            TermsRule::LegalDefault if self.days != LEGAL_DEFAULT_DAYS => {
                return Err(UnlawfulTermsClause::NotTheLegalDefault { days: self.days });
            }
            TermsRule::LegalDefault => return Ok(()),
            TermsRule::Decade => (self.days, DECADE_MAX_DAYS),
        };
        if days > max_days {
            return Err(UnlawfulTermsClause::TooLong {
                rule: self.rule,
                days,
                max_days,
            });
        }
        Ok(())
    }
}

/// Why terms cannot be agreed with a client at all (R6.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UnlawfulTermsClause {
    /// More days than the law allows for the rule.
    #[error("{rule} allows at most {max_days} days, not {days} (R6.2)")]
    TooLong {
        /// The rule of the terms.
        rule: TermsRule,
        /// The days asked, "le k" included.
        days: u16,
        /// The most that the law allows.
        max_days: u16,
    },
    /// `LEGAL_DEFAULT` with a number of days of its own.
    #[error("LEGAL_DEFAULT is 30 days after reception: {days} days is a term, use NET")]
    NotTheLegalDefault {
        /// The days asked.
        days: u16,
    },
    /// A day of the month with a rule that does not read one.
    #[error("a fixed day of the month goes with DAYS_THEN_EOM, not with {rule}")]
    ThenDayNotAllowed {
        /// The rule of the terms.
        rule: TermsRule,
    },
    /// Not a day of a month.
    #[error("{then_day} is not a day of a month: use 1 to 31")]
    ThenDayOutOfRange {
        /// The day asked.
        then_day: u8,
    },
}

/// A due date later than the law allows (R6.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the law allows a due date up to {latest} here (R6.2)")]
pub struct UnlawfulTerms {
    /// The latest lawful due date.
    pub latest: NaiveDate,
}

/// The latest lawful due date of a document received on its issue date (R6.2).
///
/// Issue + 60 days; with an end-of-month clause also the later of the two 45-day methods; a
/// periodic invoice (facture récapitulative) issue + 45 days, without end of month. `DECADE`:
/// end of the décade + 30 days, periodic or not (L441-11 II).
pub fn latest_lawful_due(issued_on: NaiveDate, rule: TermsRule, periodic: bool) -> NaiveDate {
    latest_when_received(issued_on, issued_on, rule, periodic)
}

/// Refuses a due date after the latest lawful one (R6.2), and names that one.
///
/// Like [`latest_lawful_due`], but `LEGAL_DEFAULT` and `DECADE` run from `received_on` when known.
pub fn check_due(
    due_on: NaiveDate,
    issued_on: NaiveDate,
    received_on: Option<NaiveDate>,
    rule: TermsRule,
    periodic: bool,
) -> Result<(), UnlawfulTerms> {
    let received_on = received_on.unwrap_or(issued_on);
    let latest = latest_when_received(issued_on, received_on, rule, periodic);
    if due_on > latest {
        Err(UnlawfulTerms { latest })
    } else {
        Ok(())
    }
}

fn latest_when_received(
    issued_on: NaiveDate,
    received_on: NaiveDate,
    rule: TermsRule,
    periodic: bool,
) -> NaiveDate {
    let agreed = add_days(
        issued_on,
        if periodic {
            PERIODIC_MAX_DAYS
        } else {
            NET_MAX_DAYS
        },
    );
    match rule {
        TermsRule::Net => agreed,
        TermsRule::EomThenDays | TermsRule::DaysThenEom if periodic => agreed,
        TermsRule::EomThenDays | TermsRule::DaysThenEom => agreed
            .max(add_days(end_of_month(issued_on), EOM_MAX_DAYS))
            .max(end_of_month(add_days(issued_on, EOM_MAX_DAYS))),
        // What the law itself gives to the debtor is lawful, however late the goods came.
        TermsRule::LegalDefault => agreed.max(add_days(received_on, LEGAL_DEFAULT_DAYS)),
        TermsRule::Decade => add_days(end_of_decade(received_on), DECADE_MAX_DAYS),
    }
}

/// A number of months later; a day that the month lacks becomes its last one (R0.4).
pub fn add_months(on: NaiveDate, months: u32) -> NaiveDate {
    on.checked_add_months(Months::new(months))
        .unwrap_or(NaiveDate::MAX)
}

/// The last day of the month.
pub fn end_of_month(on: NaiveDate) -> NaiveDate {
    // The 31st clamped to the month is its last day, in every month.
    day_of_month(on, 31)
}

fn day_of_next_month(month_end: NaiveDate, day: u8) -> NaiveDate {
    day_of_month(add_days(month_end, 1), u32::from(day))
}

fn day_of_month(on: NaiveDate, day: u32) -> NaiveDate {
    (1..=day.min(31))
        .rev()
        .find_map(|day| on.with_day(day))
        .unwrap_or(on)
}

/// The 10th, the 20th or the last day of the month, whichever comes next.
fn end_of_decade(on: NaiveDate) -> NaiveDate {
    match on.day() {
        ..=10 => day_of_month(on, 10),
        11..=20 => day_of_month(on, 20),
        21.. => end_of_month(on),
    }
}

fn add_days(on: NaiveDate, days: u16) -> NaiveDate {
    on.checked_add_days(Days::new(u64::from(days)))
        .unwrap_or(NaiveDate::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    fn terms(rule: TermsRule, days: u16) -> PaymentTerms {
        PaymentTerms {
            rule,
            days,
            then_day: None,
        }
    }

    #[test]
    fn due_dates_r6_1() {
        use TermsRule::{DaysThenEom, EomThenDays, Net};
        let cases = [
            (Net, 60, "2026-01-15", "2026-03-16"),
            (EomThenDays, 45, "2026-01-15", "2026-03-17"),
            (DaysThenEom, 45, "2026-01-15", "2026-03-31"),
            (DaysThenEom, 45, "2028-01-15", "2028-02-29"),
            (EomThenDays, 45, "2025-12-31", "2026-02-14"),
            (DaysThenEom, 45, "2025-12-31", "2026-02-28"),
            (EomThenDays, 45, "2026-02-28", "2026-04-14"),
            (DaysThenEom, 45, "2026-02-28", "2026-04-30"),
            (EomThenDays, 45, "2026-03-01", "2026-05-15"),
            (DaysThenEom, 45, "2026-03-01", "2026-04-30"),
            (DaysThenEom, 45, "2026-04-16", "2026-05-31"),
            (DaysThenEom, 45, "2026-04-17", "2026-06-30"),
            (Net, 30, "2026-01-31", "2026-03-02"),
            (Net, 0, "2026-01-31", "2026-01-31"),
        ];
        for (rule, days, issued_on, due_on) in cases {
            let due = terms(rule, days).due_on(date(issued_on), None);
            assert_eq!(due, date(due_on), "{rule} {days} {issued_on}");
        }
    }

    #[test]
    fn due_dates_on_a_fixed_day_6_2() {
        let cases = [
            (30, 10, "2026-04-17", "2026-06-10"),
            (0, 10, "2026-12-05", "2027-01-10"),
            (0, 31, "2026-01-05", "2026-02-28"),
        ];
        for (days, then_day, issued_on, due_on) in cases {
            let terms = PaymentTerms {
                rule: TermsRule::DaysThenEom,
                days,
                then_day: Some(then_day),
            };
            assert_eq!(
                terms.due_on(date(issued_on), None),
                date(due_on),
                "{terms:?}"
            );
        }
    }

    #[test]
    fn due_dates_from_reception_6_2() {
        use TermsRule::{Decade, LegalDefault};
        let cases = [
            (
                LegalDefault,
                0,
                "2026-03-02",
                Some("2026-03-06"),
                "2026-04-05",
            ),
            (LegalDefault, 30, "2026-03-02", None, "2026-04-01"),
            (Decade, 30, "2026-03-14", Some("2026-03-14"), "2026-04-19"),
            (Decade, 30, "2026-03-20", Some("2026-03-10"), "2026-04-09"),
            (Decade, 30, "2026-03-31", Some("2026-03-20"), "2026-04-19"),
            (Decade, 0, "2026-02-21", None, "2026-02-28"),
        ];
        for (rule, days, issued_on, received_on, due_on) in cases {
            let due = terms(rule, days).due_on(date(issued_on), received_on.map(date));
            assert_eq!(
                due,
                date(due_on),
                "{rule} {days} {issued_on} {received_on:?}"
            );
        }
    }

    #[test]
    fn months_clamp_r0_4() {
        let cases = [
            ("2026-08-31", 1, "2026-09-30"),
            ("2026-01-31", 1, "2026-02-28"),
            ("2028-01-31", 1, "2028-02-29"),
            ("2028-02-29", 60, "2033-02-28"),
            ("2026-05-31", 2, "2026-07-31"),
        ];
        for (on, months, expected) in cases {
            assert_eq!(
                add_months(date(on), months),
                date(expected),
                "{on} + {months}"
            );
        }
    }

    #[test]
    fn latest_due_dates_r6_2() {
        use TermsRule::{DaysThenEom, Decade, EomThenDays, LegalDefault, Net};
        let cases = [
            (Net, false, "2026-01-15", "2026-03-16"),
            (EomThenDays, false, "2026-01-15", "2026-03-31"),
            (DaysThenEom, false, "2026-03-01", "2026-05-15"),
            // Both methods end before issue + 60, which any clause may use.
            (DaysThenEom, false, "2026-01-31", "2026-04-01"),
            (Net, true, "2026-01-15", "2026-03-01"),
            (EomThenDays, true, "2026-01-15", "2026-03-01"),
            (LegalDefault, false, "2026-01-15", "2026-03-16"),
            (Decade, true, "2026-03-14", "2026-04-19"),
        ];
        for (rule, periodic, issued_on, latest) in cases {
            let found = latest_lawful_due(date(issued_on), rule, periodic);
            assert_eq!(found, date(latest), "{rule} {periodic} {issued_on}");
        }
    }

    #[test]
    fn due_dates_over_the_limit_are_refused_r6_2() {
        use TermsRule::{DaysThenEom, LegalDefault, Net};
        let issued_on = date("2026-01-31");
        let cases = [
            (Net, None, "2026-04-01", None),
            (Net, None, "2026-04-02", Some("2026-04-01")),
            // "30 days end of month the 10th" is too late when issued on 31 January.
            (DaysThenEom, None, "2026-04-10", Some("2026-04-01")),
            (LegalDefault, Some("2026-03-31"), "2026-04-30", None),
            (
                LegalDefault,
                Some("2026-03-31"),
                "2026-05-01",
                Some("2026-04-30"),
            ),
        ];
        for (rule, received_on, due_on, latest) in cases {
            let found = check_due(date(due_on), issued_on, received_on.map(date), rule, false);
            let expected = latest.map_or(Ok(()), |on| Err(UnlawfulTerms { latest: date(on) }));
            assert_eq!(found, expected, "{rule} {due_on}");
        }
    }

    #[test]
    fn unlawful_clauses_are_refused_r6_2() {
        use TermsRule::{DaysThenEom, Decade, EomThenDays, LegalDefault, Net};
        let cases = [
            (Net, 60, None, true),
            (Net, 61, None, false),
            (EomThenDays, 45, None, true),
            (EomThenDays, 46, None, false),
            (EomThenDays, 30, Some(10), false),
            (DaysThenEom, 45, None, true),
            (DaysThenEom, 46, None, false),
            (DaysThenEom, 30, Some(10), true),
            (DaysThenEom, 45, Some(10), false),
            (DaysThenEom, 0, Some(0), false),
            (DaysThenEom, 0, Some(32), false),
            (LegalDefault, 0, None, true),
            (LegalDefault, 30, None, true),
            (LegalDefault, 60, None, false),
            (Decade, 30, None, true),
            (Decade, 31, None, false),
            (DaysThenEom, u16::MAX, Some(10), false),
        ];
        for (rule, days, then_day, lawful) in cases {
            let terms = PaymentTerms {
                rule,
                days,
                then_day,
            };
            assert_eq!(terms.check_terms().is_ok(), lawful, "{terms:?}");
        }
    }

    #[test]
    fn rules_are_read_as_they_are_written() {
        for rule in TermsRule::ALL {
            assert_eq!(rule.to_string().parse(), Ok(*rule));
        }
        assert!("net".parse::<TermsRule>().is_err());
    }

    proptest! {
        /// R6.2: lawful terms without a fixed day give a lawful due date on every issue date.
        #[test]
        fn lawful_terms_give_lawful_due_dates_r6_2(
            rule in 0..TermsRule::ALL.len(), days in 0..70_u16, day in 0..20_000_i32, late in 0..90_i64,
        ) {
            let terms = terms(TermsRule::ALL[rule], days);
            let issued_on = NaiveDate::from_num_days_from_ce_opt(730_000 + day).expect("in range");
            let received_on = Some(issued_on + chrono::Duration::days(late));
            let due_on = terms.due_on(issued_on, received_on);
            if terms.check_terms().is_ok() {
                prop_assert_eq!(check_due(due_on, issued_on, received_on, terms.rule, false), Ok(()));
            }
            prop_assert!(due_on >= issued_on);
        }
    }
}
