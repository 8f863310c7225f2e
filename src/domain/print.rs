//! Days and amounts as readers of a language write them.

use chrono::{Datelike, NaiveDate};
use rust_decimal::Decimal;

use super::letter::Language;
use super::money::{Currency, Minor};

const MONTHS_FR: [&str; 12] = [
    "janvier",
    "février",
    "mars",
    "avril",
    "mai",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
];
const MONTHS_EN: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// `16/03/2026`; `16 Mar 2026` in English, which no country reads another way.
pub fn day(on: NaiveDate, language: Language) -> String {
    match language {
        Language::French => on.format("%d/%m/%Y").to_string(),
        Language::English => {
            let month = MONTHS_EN[on.month0() as usize];
            format!("{} {} {}", on.day(), &month[..3], on.year())
        }
    }
}

/// `16 mars 2026`, `1er mai 2026`; `16 March 2026`.
pub fn long_day(on: NaiveDate, language: Language) -> String {
    let place = on.month0() as usize;
    match language {
        Language::French => {
            let first = if on.day() == 1 { "er" } else { "" };
            format!("{}{first} {} {}", on.day(), MONTHS_FR[place], on.year())
        }
        Language::English => format!("{} {} {}", on.day(), MONTHS_EN[place], on.year()),
    }
}

/// `1 234,56 €`; `€1,234.56` in English; other currencies by their code.
pub fn amount(minor: Minor, currency: Currency, language: Language) -> String {
    let figures = number(currency.decimal(minor), language);
    match (currency.code(), language) {
        ("EUR", Language::French) => format!("{figures}\u{a0}€"),
        ("EUR", Language::English) => format!("€{figures}"),
        (code, _) => format!("{figures}\u{a0}{code}"),
    }
}

/// `12,15 %`; `12.15%` in English.
pub fn percent(value: Decimal, language: Language) -> String {
    let figures = number(value.normalize(), language);
    match language {
        Language::French => format!("{figures}\u{a0}%"),
        Language::English => format!("{figures}%"),
    }
}

fn number(value: Decimal, language: Language) -> String {
    let plain = value.abs().to_string();
    let (whole, cents) = plain.split_once('.').unwrap_or((&plain, ""));
    let (group, point) = match language {
        Language::French => ('\u{202f}', ','),
        Language::English => (',', '.'),
    };
    let mut out = String::new();
    if value.is_sign_negative() && !value.is_zero() {
        out.push('-');
    }
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            out.push(group);
        }
        out.push(digit);
    }
    if !cents.is_empty() {
        out.push(point);
        out.push_str(cents);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_days_in_both_languages() {
        let (fr, en) = (Language::French, Language::English);
        let code = |code: &str| code.parse::<Currency>().expect("a currency");
        assert_eq!(
            amount(123_456_789, code("EUR"), fr),
            "1\u{202f}234\u{202f}567,89\u{a0}€"
        );
        assert_eq!(amount(123_456_789, code("EUR"), en), "€1,234,567.89");
        assert_eq!(amount(-5, code("EUR"), fr), "-0,05\u{a0}€");
        assert_eq!(amount(1_200, code("JPY"), fr), "1\u{202f}200\u{a0}JPY");
        let on = "2026-05-01".parse().expect("a day");
        assert_eq!(
            (day(on, fr), day(on, en)),
            ("01/05/2026".into(), "1 May 2026".into())
        );
        assert_eq!(long_day(on, fr), "1er mai 2026");
        assert_eq!(percent(Decimal::new(12_150, 3), fr), "12,15\u{a0}%");
    }
}
