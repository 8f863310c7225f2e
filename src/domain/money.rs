//! Exact money: whole minor units of a currency. Rounding happens here and nowhere else (R0.1).

use std::fmt;
use std::str::FromStr;

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};

/// A whole number of a currency's minor units: cents for the euro, yen for the yen.
pub type Minor = i64;

/// Rounds half away from zero to a whole number of minor units; `None` beyond 64 bits (R0.1).
pub fn round_half_up(value: Decimal) -> Option<Minor> {
    value
        .round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero)
        .to_i64()
}

/// An ISO 4217 currency that the server knows, with its number of decimals.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Currency {
    code: [u8; 3],
    exponent: u8,
}

/// Code and number of decimals: the same list as the table `currencies`.
const CURRENCIES: &[(&str, u8)] = &[
    ("AUD", 2),
    ("BGN", 2),
    ("BHD", 3),
    ("CAD", 2),
    ("CHF", 2),
    ("CNY", 2),
    ("CZK", 2),
    ("DKK", 2),
    ("DZD", 2),
    ("EUR", 2),
    ("GBP", 2),
    ("HUF", 2),
    ("JPY", 0),
    ("KWD", 3),
    ("MAD", 2),
    ("NOK", 2),
    ("PLN", 2),
    ("RON", 2),
    ("SEK", 2),
    ("TND", 3),
    ("USD", 2),
    ("XAF", 0),
    ("XOF", 0),
    ("XPF", 0),
];

impl Currency {
    /// The code in three capital letters.
    pub fn code(&self) -> &str {
        // The constructor only lets ASCII letters in.
        std::str::from_utf8(&self.code).unwrap_or("???")
    }

    /// Number of decimals of the minor unit: 2 for the euro, 0 for the yen.
    pub fn exponent(self) -> u32 {
        u32::from(self.exponent)
    }

    /// Reads an amount; refuses more decimals than the currency has and what 64 bits cannot hold.
    pub fn minor(self, amount: Decimal) -> Option<Minor> {
        let scaled = amount.checked_mul(Decimal::from(10_i64.pow(self.exponent())))?;
        if scaled.fract().is_zero() {
            scaled.to_i64()
        } else {
            None
        }
    }

    /// The amount as a decimal with all the currency's decimals: 12 → 0.12.
    pub fn decimal(self, minor: Minor) -> Decimal {
        Decimal::new(minor, self.exponent())
    }

    /// The same as text, for messages: `12.00 EUR`.
    pub fn show(self, minor: Minor) -> String {
        format!("{} {}", self.decimal(minor), self.code())
    }
}

/// The text is not the code of a currency that the server knows.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a currency code that is known here (ISO 4217, e.g. EUR)")]
pub struct UnknownCurrency(pub String);

impl FromStr for Currency {
    type Err = UnknownCurrency;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        CURRENCIES
            .iter()
            .find(|(code, _)| *code == text)
            .and_then(|(code, exponent)| {
                let code = code.as_bytes().try_into().ok()?;
                Some(Currency {
                    code,
                    exponent: *exponent,
                })
            })
            .ok_or_else(|| UnknownCurrency(text.to_owned()))
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An amount of a document currency in the company's currency, at the document's rate.
///
/// `rate` is company-currency units for one unit of the document's currency. `None` on overflow.
pub fn convert(amount: Minor, from: Currency, to: Currency, rate: Decimal) -> Option<Minor> {
    if from == to {
        return Some(amount);
    }
    let shift = Decimal::from(10_i64.pow(to.exponent()));
    round_half_up(from.decimal(amount).checked_mul(rate)?.checked_mul(shift)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dec(text: &str) -> Decimal {
        text.parse().expect("a decimal")
    }

    #[test]
    fn rounding_is_half_away_from_zero_r0_1() {
        for (value, expected) in [
            ("0.5", 1),
            ("1.5", 2),
            ("2.4999", 2),
            ("-0.5", -1),
            ("-2.5", -3),
        ] {
            assert_eq!(round_half_up(dec(value)), Some(expected), "{value}");
        }
    }

    #[test]
    fn amounts_take_the_currency_s_own_decimals_r0_1() {
        let cases = [
            ("EUR", "12.34", Some(1234)),
            ("EUR", "12.345", None),
            ("EUR", "12.340", Some(1234)),
            ("JPY", "12", Some(12)),
            ("JPY", "12.5", None),
            ("BHD", "1.234", Some(1234)),
            ("EUR", "92233720368547758.08", None),
        ];
        for (code, text, expected) in cases {
            let currency: Currency = code.parse().expect("known");
            assert_eq!(currency.minor(dec(text)), expected, "{code} {text}");
        }
        assert!("eur".parse::<Currency>().is_err());
    }

    #[test]
    fn conversion_rounds_once_in_the_target_currency() {
        let usd: Currency = "USD".parse().expect("known");
        let eur: Currency = "EUR".parse().expect("known");
        let jpy: Currency = "JPY".parse().expect("known");
        assert_eq!(convert(100_000, usd, eur, dec("0.92")), Some(92_000));
        assert_eq!(convert(1_000, jpy, eur, dec("0.00615")), Some(615));
    }
}
