//! Payment terms (conditions de règlement): from the terms agreed to the due date, and the longest
//! due date that the law allows (section 6).

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, Days, Months, NaiveDate};
use serde::{Deserialize, Serialize};

use super::access::codes;
use super::penalty::{Dated, NotCovered, value_on};

/// The legal terms and ceilings as dated data (R0.5): table 6.1, in days.
#[derive(Clone, Debug, Default)]
pub struct TermsLaw {
    /// After the invoice's date.
    pub net: Vec<Dated>,
    /// With an end-of-month clause, either method.
    pub end_of_month: Vec<Dated>,
    /// Of a periodic invoice (facture récapitulative).
    pub periodic: Vec<Dated>,
    /// What holds when nothing was agreed (délai supplétif), after reception.
    pub default: Vec<Dated>,
    /// After the end of the ten-day period of the delivery.
    pub decade: Vec<Dated>,
    /// Of public buyers (commande publique).
    pub public: Vec<Dated>,
}

impl TermsLaw {
    /// The values in force on a day.
    pub fn on(&self, on: NaiveDate) -> Result<Ceilings, NotCovered> {
        let days = |rows: &[Dated], what| {
            let value = value_on(rows, what, on)?.value;
            u16::try_from(value).map_err(|_| NotCovered { what, on })
        };
        Ok(Ceilings {
            net: days(&self.net, "ceiling of payment terms")?,
            end_of_month: days(&self.end_of_month, "ceiling of end-of-month terms")?,
            periodic: days(&self.periodic, "ceiling for periodic invoices")?,
            default: days(&self.default, "legal default term")?,
            decade: days(&self.decade, "ceiling of terms by ten-day period")?,
            // Older invoices of public buyers are rare: the ceiling of all buyers is no guess for them.
            public: days(&self.public, "ceiling for public buyers").ok(),
        })
    }
}

/// The legal terms and ceilings in force on a day, in days.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ceilings {
    /// After the invoice's date: 60.
    pub net: u16,
    /// With an end-of-month clause: 45.
    pub end_of_month: u16,
    /// Of a periodic invoice: 45.
    pub periodic: u16,
    /// Délai supplétif: 30.
    pub default: u16,
    /// After the end of the ten-day period: 30.
    pub decade: u16,
    /// Of public buyers: 30; none before the text that set it.
    pub public: Option<u16>,
}

#[cfg(test)]
impl Ceilings {
    /// The values of table 6.1.
    pub const TABLE_6_1: Ceilings = Ceilings {
        net: 60,
        end_of_month: 45,
        periodic: 45,
        default: 30,
        decade: 30,
        public: Some(30),
    };
}

/// Who buys, as far as the ceilings differ. Consumers have none (R6.12).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Buyer {
    /// A professional: C. com. L441-10.
    Professional,
    /// A public buyer (commande publique).
    Public,
}

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

impl TermsRule {
    /// Days that may pass before the rule's own days are counted, or behind them: to the end of the
    /// month or of the ten-day period.
    fn longest_wait(self) -> u16 {
        match self {
            TermsRule::Net | TermsRule::LegalDefault => 0,
            TermsRule::EomThenDays | TermsRule::DaysThenEom => 30,
            TermsRule::Decade => 10,
        }
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
    /// Number of calendar days of the rule. Not read by `LEGAL_DEFAULT`, whose days the law sets.
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
    pub fn due_on(
        &self,
        issued_on: NaiveDate,
        received_on: Option<NaiveDate>,
        law: &Ceilings,
    ) -> NaiveDate {
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
            TermsRule::LegalDefault => add_days(received_on, law.default),
            TermsRule::Decade => add_days(end_of_decade(received_on), self.days),
        }
    }

    /// Refuses terms that break R6.2 whatever the document, and terms that contradict themselves.
    ///
    /// "N days end of month, the k-th" passes when n + k is at most 45: on rare issue dates its
    /// due date may still be too late, which [`Issue::check_due`] finds document by document.
    pub fn check_terms(&self, buyer: Buyer, law: &Ceilings) -> Result<(), UnlawfulTermsClause> {
        if let Some(then_day) = self.then_day {
            if self.rule != TermsRule::DaysThenEom {
                return Err(UnlawfulTermsClause::ThenDayNotAllowed { rule: self.rule });
            }
            if !(1..=31).contains(&then_day) {
                return Err(UnlawfulTermsClause::ThenDayOutOfRange { then_day });
            }
        }
        let then_day = u16::from(self.then_day.unwrap_or(0));
        let (days, max_days) = match self.rule {
            TermsRule::LegalDefault if self.days == 0 || self.days == law.default => return Ok(()),
            TermsRule::LegalDefault => {
                return Err(UnlawfulTermsClause::NotTheLegalDefault {
                    days: self.days,
                    default: law.default,
                });
            }
            TermsRule::Net => (self.days, law.net),
            TermsRule::EomThenDays => (self.days, law.end_of_month),
            TermsRule::DaysThenEom => (self.days.saturating_add(then_day), law.end_of_month),
            TermsRule::Decade => (self.days, law.decade),
        };
        let (days, max_days) = match (buyer, law.public) {
            // Their ceiling knows no end of month: a month or ten-day period may be that much longer.
            (Buyer::Public, Some(public)) => {
                (days.saturating_add(self.rule.longest_wait()), public)
            }
            _ => (days, max_days),
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
    /// More days than the law allows for the rule and the buyer.
    #[error("the law allows at most {max_days} days here, {rule} may give {days} (R6.2)")]
    TooLong {
        /// The rule of the terms.
        rule: TermsRule,
        /// The days asked, "le k" included, and for public buyers the days to the end of the period.
        days: u16,
        /// The most that the law allows.
        max_days: u16,
    },
    /// `LEGAL_DEFAULT` with a number of days of its own.
    #[error("LEGAL_DEFAULT is {default} days after reception: {days} days is a term, use NET")]
    NotTheLegalDefault {
        /// The days asked.
        days: u16,
        /// The days of the law.
        default: u16,
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

/// What the latest lawful due date of a document depends on.
#[derive(Clone, Copy, Debug)]
pub struct Issue {
    /// The document's date.
    pub issued_on: NaiveDate,
    /// Reception or delivery; the document's date when unknown.
    pub received_on: Option<NaiveDate>,
    /// The rule of the terms agreed.
    pub rule: TermsRule,
    /// Facture récapitulative (CGI 289 I-3).
    pub periodic: bool,
    /// Who buys.
    pub buyer: Buyer,
}

impl Issue {
    /// The latest lawful due date (R6.2, table 6.1).
    ///
    /// Issue + 60 days; with an end-of-month clause also the later of the two 45-day methods; a
    /// periodic invoice issue + 45 days, without end of month. `DECADE`: end of the décade + 30 days,
    /// periodic or not (L441-11 II). Public buyers: 30 days after reception, whatever the rule.
    pub fn latest_due(&self, law: &Ceilings) -> NaiveDate {
        let issued_on = self.issued_on;
        let received_on = self.received_on.unwrap_or(issued_on);
        if let (Buyer::Public, Some(days)) = (self.buyer, law.public) {
            return add_days(received_on.max(issued_on), days);
        }
        let agreed = add_days(
            issued_on,
            if self.periodic { law.periodic } else { law.net },
        );
        match self.rule {
            TermsRule::Net => agreed,
            TermsRule::EomThenDays | TermsRule::DaysThenEom if self.periodic => agreed,
            TermsRule::EomThenDays | TermsRule::DaysThenEom => agreed
                .max(add_days(end_of_month(issued_on), law.end_of_month))
                .max(end_of_month(add_days(issued_on, law.end_of_month))),
            // What the law itself gives to the debtor is lawful, however late the goods came.
            TermsRule::LegalDefault => agreed.max(add_days(received_on, law.default)),
            TermsRule::Decade => add_days(end_of_decade(received_on), law.decade),
        }
    }

    /// Refuses a due date after the latest lawful one, and names that one.
    pub fn check_due(&self, due_on: NaiveDate, law: &Ceilings) -> Result<(), UnlawfulTerms> {
        let latest = self.latest_due(law);
        if due_on > latest {
            Err(UnlawfulTerms { latest })
        } else {
            Ok(())
        }
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

    const LAW: Ceilings = Ceilings::TABLE_6_1;

    fn issue(rule: TermsRule, issued_on: NaiveDate) -> Issue {
        Issue {
            issued_on,
            received_on: None,
            rule,
            periodic: false,
            buyer: Buyer::Professional,
        }
    }

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
            let due = terms(rule, days).due_on(date(issued_on), None, &LAW);
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
                terms.due_on(date(issued_on), None, &LAW),
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
            let due = terms(rule, days).due_on(date(issued_on), received_on.map(date), &LAW);
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
            let issue = Issue {
                periodic,
                ..issue(rule, date(issued_on))
            };
            let found = issue.latest_due(&LAW);
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
            let issue = Issue {
                received_on: received_on.map(date),
                ..issue(rule, issued_on)
            };
            let found = issue.check_due(date(due_on), &LAW);
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
            let found = terms.check_terms(Buyer::Professional, &LAW);
            assert_eq!(found.is_ok(), lawful, "{terms:?}");
        }
    }

    #[test]
    fn public_buyers_pay_in_thirty_days_table_6_1() {
        use TermsRule::{DaysThenEom, Decade, EomThenDays, LegalDefault, Net};
        for (rule, days, lawful) in [
            (Net, 30, true),
            (Net, 31, false),
            (LegalDefault, 0, true),
            (DaysThenEom, 0, true),
            (DaysThenEom, 1, false),
            (EomThenDays, 30, false),
            (Decade, 20, true),
            (Decade, 21, false),
        ] {
            let found = terms(rule, days).check_terms(Buyer::Public, &LAW);
            assert_eq!(found.is_ok(), lawful, "{rule} {days}");
        }
        let issue = Issue {
            buyer: Buyer::Public,
            received_on: Some(date("2026-01-20")),
            ..issue(Net, date("2026-01-15"))
        };
        assert_eq!(issue.latest_due(&LAW), date("2026-02-19"));
        // Before the text that set it, the ceilings of all professionals hold.
        let before = Ceilings {
            public: None,
            ..LAW
        };
        assert_eq!(issue.latest_due(&before), date("2026-03-16"));
    }

    #[test]
    fn a_day_without_law_is_an_error_r0_5() {
        let since = |from: &str, days: i64| {
            vec![Dated {
                from: date(from),
                to: None,
                value: days.into(),
            }]
        };
        let law = TermsLaw {
            net: since("2009-01-01", 60),
            end_of_month: since("2009-01-01", 45),
            periodic: since("2009-01-01", 45),
            default: since("2009-01-01", 30),
            decade: since("2009-01-01", 30),
            public: since("2013-05-01", 30),
        };
        assert_eq!(law.on(date("2026-01-01")), Ok(LAW));
        assert_eq!(law.on(date("2012-01-01")).map(|law| law.public), Ok(None));
        assert!(law.on(date("2008-12-31")).is_err());
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
            let due_on = terms.due_on(issued_on, received_on, &LAW);
            for buyer in [Buyer::Professional, Buyer::Public] {
                if terms.check_terms(buyer, &LAW).is_ok() {
                    let issue = Issue { received_on, buyer, ..issue(terms.rule, issued_on) };
                    prop_assert_eq!(issue.check_due(due_on, &LAW), Ok(()), "{:?}", buyer);
                }
            }
            prop_assert!(due_on >= issued_on);
        }
    }
}
