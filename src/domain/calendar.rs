//! Working days in France: weekends and the public holidays of C. trav. L3133-1 (R7.5).
//!
//! Only what somebody does moves to a working day; legal dates never do.

use chrono::{Datelike, Days, NaiveDate, Weekday};

/// Easter Sunday of a year of the Gregorian calendar (Meeus, Jones and Butcher).
pub fn easter(year: i32) -> Option<NaiveDate> {
    let (a, b, c) = (year.rem_euclid(19), year / 100, year % 100);
    let (d, e) = (b / 4, b % 4);
    let f = (b + 8) / 25;
    let g = (b - f + 1) / 3;
    let h = (19 * a + b - d - g + 15) % 30;
    let (i, k) = (c / 4, c % 4);
    let l = (32 + 2 * e + 2 * i - h - k) % 7;
    let m = (a + 11 * h + 22 * l) / 451;
    let month = (h + l - 7 * m + 114) / 31;
    let day = (h + l - 7 * m + 114) % 31 + 1;
    NaiveDate::from_ymd_opt(year, u32::try_from(month).ok()?, u32::try_from(day).ok()?)
}

/// Whether a day is a public holiday: eight of a fixed day, three that follow Easter.
pub fn is_holiday(on: NaiveDate) -> bool {
    const FIXED: [(u32, u32); 8] = [
        (1, 1),
        (5, 1),
        (5, 8),
        (7, 14),
        (8, 15),
        (11, 1),
        (11, 11),
        (12, 25),
    ];
    // Easter Monday, Ascension, Whit Monday.
    let moving =
        easter(on.year()).is_some_and(|easter| [1, 39, 50].contains(&(on - easter).num_days()));
    moving || FIXED.contains(&(on.month(), on.day()))
}

/// Whether people work on a day.
pub fn is_working_day(on: NaiveDate) -> bool {
    !matches!(on.weekday(), Weekday::Sat | Weekday::Sun) && !is_holiday(on)
}

/// The day itself when people work on it, else the next one on which they do.
pub fn working_day_from(on: NaiveDate) -> NaiveDate {
    let mut day = on;
    while !is_working_day(day) {
        match day.checked_add_days(Days::new(1)) {
            Some(next) => day = next,
            None => break,
        }
    }
    day
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a day")
    }

    #[test]
    fn easter_falls_where_it_did() {
        for (year, day) in [
            (2000, "2000-04-23"),
            (2008, "2008-03-23"),
            (2011, "2011-04-24"),
            (2024, "2024-03-31"),
            (2025, "2025-04-20"),
            (2026, "2026-04-05"),
            (2038, "2038-04-25"),
        ] {
            assert_eq!(easter(year), Some(date(day)), "{year}");
        }
    }

    #[test]
    fn actions_move_to_working_days_r7_5() {
        for (day, expected) in [
            // Easter Sunday and Monday of the example of 7.1.
            ("2026-04-05", "2026-04-07"),
            ("2026-05-14", "2026-05-15"),
            ("2026-05-25", "2026-05-26"),
            ("2026-07-14", "2026-07-15"),
            ("2026-11-11", "2026-11-12"),
            ("2026-12-25", "2026-12-28"),
            ("2027-01-01", "2027-01-04"),
            ("2026-03-19", "2026-03-19"),
        ] {
            assert_eq!(working_day_from(date(day)), date(expected), "{day}");
        }
    }

    #[test]
    fn a_year_has_eleven_holidays() {
        for year in [2024, 2025, 2026, 2027] {
            let first = NaiveDate::from_ymd_opt(year, 1, 1).expect("a day");
            let count = first
                .iter_days()
                .take_while(|day| day.year() == year)
                .filter(|day| is_holiday(*day))
                .count();
            // In 2008 Ascension fell on 1 May; not in these.
            assert_eq!(count, 11, "{year}");
        }
    }
}
