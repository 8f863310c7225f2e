//! Financial years (exercices) and the numbers of documents (R9.1).

use chrono::{Datelike, Days, NaiveDate};

use super::terms::add_months;

/// Twelve months of accounts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FiscalYear {
    /// The calendar year of the closing day: April 2026 to March 2027 is 2027.
    pub name: i32,
    /// First day.
    pub starts_on: NaiveDate,
    /// Closing day (clôture).
    pub ends_on: NaiveDate,
}

/// The financial year of a day, for a company whose years start with `start_month`.
///
/// `start_month` is 1 for January to 12; a number outside is taken as the nearest of the two.
pub fn fiscal_year(on: NaiveDate, start_month: u32) -> FiscalYear {
    let start_month = start_month.clamp(1, 12);
    let year = if on.month() < start_month {
        on.year() - 1
    } else {
        on.year()
    };
    let starts_on = NaiveDate::from_ymd_opt(year, start_month, 1).unwrap_or(NaiveDate::MIN);
    let ends_on = add_months(starts_on, 12)
        .checked_sub_days(Days::new(1))
        .unwrap_or(on);
    FiscalYear {
        name: ends_on.year(),
        starts_on,
        ends_on,
    }
}

/// Fewest digits of a rank.
pub const RANK_DIGITS: usize = 6;

/// What the numbers of a series begin with in a year.
pub fn document_number_head(prefix: &str, year: i32) -> String {
    format!("{prefix}-{year:04}-")
}

/// The number of a document: prefix of the series, year, rank of at least six digits (R9.1).
pub fn document_number(prefix: &str, year: i32, n: i64) -> String {
    format!("{}{n:0RANK_DIGITS$}", document_number_head(prefix, year))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    #[test]
    fn fiscal_years() {
        let cases = [
            ("2026-01-01", 1, 2026, "2026-01-01", "2026-12-31"),
            ("2026-12-31", 1, 2026, "2026-01-01", "2026-12-31"),
            ("2026-03-31", 4, 2026, "2025-04-01", "2026-03-31"),
            ("2026-04-01", 4, 2027, "2026-04-01", "2027-03-31"),
            ("2028-02-29", 3, 2028, "2027-03-01", "2028-02-29"),
            ("2026-12-01", 12, 2027, "2026-12-01", "2027-11-30"),
            ("2026-05-05", 0, 2026, "2026-01-01", "2026-12-31"),
        ];
        for (on, start_month, name, starts_on, ends_on) in cases {
            let expected = FiscalYear {
                name,
                starts_on: date(starts_on),
                ends_on: date(ends_on),
            };
            assert_eq!(
                fiscal_year(date(on), start_month),
                expected,
                "{on} {start_month}"
            );
        }
    }

    #[test]
    fn document_numbers_r9_1() {
        assert_eq!(document_number("FA", 2026, 1), "FA-2026-000001");
        assert_eq!(document_number("AV", 2026, 123_456), "AV-2026-123456");
        assert_eq!(document_number("AV", 2026, 1_234_567), "AV-2026-1234567");
    }

    proptest! {
        /// A year holds its day, and the next one starts the day after.
        #[test]
        fn years_follow_each_other(day in 0..20_000_i32, start_month in 1..13_u32) {
            let on = NaiveDate::from_num_days_from_ce_opt(730_000 + day).expect("in range");
            let year = fiscal_year(on, start_month);
            prop_assert!(year.starts_on <= on && on <= year.ends_on);
            let next = fiscal_year(year.ends_on + Days::new(1), start_month);
            prop_assert_eq!(next.name, year.name + 1);
            prop_assert_eq!(next.starts_on, year.ends_on + Days::new(1));
        }
    }
}
