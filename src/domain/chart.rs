//! The French chart of accounts (plan comptable général), dated by the opening day of the financial
//! year (R1.2): an account that has left the chart is refused to the years that opened without it.
//!
//! Source: ANC, règlement 2014-03 as modified by règlement 2022-06, versions of 1 January 2024 and
//! 1 January 2026. The file holds the accounts that receivables meet and the classes around them.

use std::sync::LazyLock;

use chrono::NaiveDate;

/// An account of the chart: it and everything below it, until a longer number says otherwise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChartAccount {
    /// The number, one to five digits.
    pub number: String,
    /// The label in force (libellé).
    pub label: String,
    /// Financial years that open on or after this day have it; always when none.
    pub valid_from: Option<NaiveDate>,
    /// Financial years that open after this day have it no more.
    pub valid_to: Option<NaiveDate>,
}

impl ChartAccount {
    fn holds(&self, year_opens_on: NaiveDate) -> bool {
        self.valid_from.is_none_or(|from| from <= year_opens_on)
            && self.valid_to.is_none_or(|to| year_opens_on <= to)
    }
}

static CHART: LazyLock<Vec<ChartAccount>> = LazyLock::new(|| {
    let mut accounts: Vec<ChartAccount> = include_str!("chart.csv")
        .lines()
        .skip(1)
        .filter_map(read)
        .collect();
    accounts.sort_by(|a, b| (&a.number, a.valid_from).cmp(&(&b.number, b.valid_from)));
    accounts
});

/// A line of the file: a label that holds a comma stands in quotes.
fn read(line: &str) -> Option<ChartAccount> {
    let (number, rest) = line.split_once(',')?;
    let (label, rest) = match rest.strip_prefix('"') {
        Some(quoted) => {
            let (label, rest) = quoted.split_once('"')?;
            (label, rest.strip_prefix(',')?)
        }
        None => rest.split_once(',')?,
    };
    let (from, to) = rest.split_once(',')?;
    Some(ChartAccount {
        number: number.to_owned(),
        label: label.to_owned(),
        valid_from: from.parse().ok(),
        valid_to: to.parse().ok(),
    })
}

/// Why an account cannot be posted to in a financial year.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotInChart {
    /// No account of the chart begins the number.
    #[error("account {0} is not in the chart: no account of the PCG begins its number")]
    Unknown(String),
    /// The account was deleted, or did not exist yet.
    #[error(
        "account {account} is not in the chart of a financial year that opens on {year_opens_on}: {number} {label} {when}"
    )]
    OtherYears {
        /// As asked for.
        account: String,
        /// The account of the chart that it falls under.
        number: String,
        /// Its label.
        label: String,
        /// Which years have it.
        when: String,
        /// The year asked for.
        year_opens_on: NaiveDate,
    },
}

/// The account of the chart that `account` falls under in a year, the longest that begins its number.
///
/// The longest number decides, in force or not: 7714 was deleted, so 771400 does not fall back on 77.
pub fn account_of(account: &str, year_opens_on: NaiveDate) -> Result<&ChartAccount, NotInChart> {
    let longest = CHART
        .iter()
        .filter(|known| account.starts_with(&known.number))
        .map(|known| known.number.len())
        .max()
        .ok_or_else(|| NotInChart::Unknown(account.to_owned()))?;
    let number = &account[..longest];
    let mut candidates = CHART.iter().filter(|known| known.number == number);
    if let Some(found) = candidates.clone().find(|known| known.holds(year_opens_on)) {
        return Ok(found);
    }
    let other = candidates
        .next()
        .ok_or_else(|| NotInChart::Unknown(account.to_owned()))?;
    let when = match (other.valid_from, other.valid_to) {
        (_, Some(to)) => format!("left it for years opened after {to}"),
        (Some(from), None) => format!("entered it for years opened on or after {from}"),
        (None, None) => String::new(),
    };
    Err(NotInChart::OtherYears {
        account: account.to_owned(),
        number: number.to_owned(),
        label: other.label.clone(),
        when,
        year_opens_on,
    })
}

/// The chart of a financial year, by number.
pub fn of_year(year_opens_on: NaiveDate) -> impl Iterator<Item = &'static ChartAccount> {
    CHART
        .iter()
        .filter(move |account| account.holds(year_opens_on))
}

/// Whether a number is written like an account: 3 to 11 digits, beginning with a class from 1 to 8.
pub fn is_account_number(text: &str) -> bool {
    (3..=11).contains(&text.len())
        && text.bytes().all(|sign| sign.is_ascii_digit())
        && !text.starts_with(['0', '9'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    #[test]
    fn accounts_that_left_the_chart_in_2025_are_refused_r1_2() {
        let before = date("2024-12-31");
        let since = date("2025-01-01");
        for gone in [
            "7714", "771400", "7711", "6714", "791", "791000", "671000", "771800",
        ] {
            assert!(account_of(gone, before).is_ok(), "{gone}");
            assert!(account_of(gone, since).is_err(), "{gone}");
        }
        for new in ["7581", "758300", "7587"] {
            assert!(account_of(new, before).is_err(), "{new}");
            assert!(account_of(new, since).is_ok(), "{new}");
        }
        for lasting in [
            "411000", "413", "416000", "4191", "491000", "654400", "665", "68174", "772",
        ] {
            assert!(account_of(lasting, before).is_ok(), "{lasting}");
            assert!(account_of(lasting, since).is_ok(), "{lasting}");
        }
    }

    #[test]
    fn the_longest_number_names_an_account() {
        let year = date("2026-01-01");
        let label = |account| account_of(account, year).map(|found| found.label.as_str());
        assert_eq!(label("445710"), Ok("TVA collectée"));
        assert_eq!(label("445660"), Ok("TVA sur autres biens et services"));
        assert_eq!(label("512100"), Ok("Comptes en euros"));
        assert_eq!(
            account_of("512100", date("2024-01-01")).map(|found| found.label.as_str()),
            Ok("Comptes en monnaie nationale")
        );
        assert_eq!(
            account_of("999000", year),
            Err(NotInChart::Unknown("999000".into()))
        );
    }

    #[test]
    fn every_line_of_the_file_is_read() {
        let lines = include_str!("chart.csv").lines().skip(1);
        assert_eq!(CHART.len(), lines.count());
        for account in CHART.iter() {
            let dated = |day: &Option<NaiveDate>| day.is_some();
            assert!(!account.label.is_empty(), "{account:?}");
            assert!(
                !(dated(&account.valid_from) && dated(&account.valid_to)),
                "{account:?}"
            );
        }
    }
}
