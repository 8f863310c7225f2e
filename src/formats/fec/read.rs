//! Reading a FEC as real software writes it: any separator, UTF-8 or ISO 8859-15, padded, amounts in two columns or in
//! one with a side.

use std::fmt;
use std::io::{self, BufRead};

use chrono::{Datelike, NaiveDate};
use rust_decimal::Decimal;

use super::{COLUMNS, Line, from_latin9};

/// Why a file cannot be read: the line of the file, the field, and what is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadError {
    /// Line of the file, the names of the fields being line 1.
    pub line: u64,
    /// The column, when one is to blame.
    pub field: Option<&'static str>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(field) = self.field {
            write!(f, ", {field}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ReadError {}

/// Where the columns stand in a file.
#[derive(Clone, Debug)]
struct Layout {
    separator: char,
    /// Position of each of our columns.
    places: [Option<usize>; 18],
    /// `Montant` and `Sens` instead of `Debit` and `Credit`.
    amount_and_side: Option<(usize, usize)>,
    width: usize,
}

/// Reads a file line by line, whatever its separator, encoding and padding.
pub struct Reader<R> {
    input: R,
    layout: Layout,
    line: u64,
}

impl<R: BufRead> Reader<R> {
    /// Reads the names of the fields.
    pub fn new(mut input: R) -> Result<Reader<R>, ReadError> {
        let header =
            next_line(&mut input, 1)?.ok_or_else(|| wrong(1, None, "the file is empty"))?;
        let header = header.trim_start_matches('\u{feff}');
        let separator = ['\t', '|', ';']
            .into_iter()
            .max_by_key(|sign| header.matches(*sign).count())
            .unwrap_or('\t');
        let names: Vec<String> = header
            .split(separator)
            .map(|name| name.trim().trim_matches('"').to_lowercase())
            .collect();
        let place = |name: &str| {
            let name = name.to_lowercase();
            names.iter().position(|known| *known == name)
        };
        let mut places = [None; 18];
        for (slot, name) in places.iter_mut().zip(COLUMNS) {
            *slot = place(name);
        }
        let amount_and_side = match (places[11], places[12], place("montant"), place("sens")) {
            (Some(_), Some(_), _, _) => None,
            (_, _, Some(amount), Some(side)) => Some((amount, side)),
            _ => {
                return Err(wrong(
                    1,
                    Some("Debit"),
                    "the file has neither Debit and Credit nor Montant and Sens: this is not a FEC",
                ));
            }
        };
        for (place, name) in places.iter().zip(COLUMNS) {
            let optional = matches!(
                name,
                "CompAuxNum"
                    | "CompAuxLib"
                    | "Debit"
                    | "Credit"
                    | "EcritureLet"
                    | "DateLet"
                    | "ValidDate"
                    | "Montantdevise"
                    | "Idevise"
            );
            if place.is_none() && !optional {
                return Err(wrong(
                    1,
                    Some(name),
                    "this column is missing: this is not a FEC",
                ));
            }
        }
        Ok(Reader {
            input,
            layout: Layout {
                separator,
                places,
                amount_and_side,
                width: names.len(),
            },
            line: 1,
        })
    }

    /// The next line with its number in the file; none at the end.
    pub fn next_line(&mut self) -> Result<Option<(u64, Line)>, ReadError> {
        loop {
            self.line += 1;
            let Some(text) = next_line(&mut self.input, self.line)? else {
                return Ok(None);
            };
            if text.trim().is_empty() {
                continue;
            }
            return self.read(&text).map(|line| Some((self.line, line)));
        }
    }

    fn read(&self, text: &str) -> Result<Line, ReadError> {
        let fields: Vec<&str> = text
            .split(self.layout.separator)
            .map(|field| field.trim().trim_matches('"').trim())
            .collect();
        if fields.len() != self.layout.width {
            return Err(wrong(
                self.line,
                None,
                format!(
                    "{} fields, the header has {}: the line breaks off, or a text holds the separator",
                    fields.len(),
                    self.layout.width
                ),
            ));
        }
        let at = |column: usize| {
            self.layout.places[column]
                .and_then(|place| fields.get(place).copied())
                .unwrap_or_default()
        };
        let required = |column: usize| {
            let text = at(column);
            if text.is_empty() {
                Err(wrong(self.line, Some(COLUMNS[column]), "a value is needed"))
            } else {
                Ok(text.to_owned())
            }
        };
        let (debit, credit) = match self.layout.amount_and_side {
            Some((amount, side)) => self.sided(fields[amount], fields[side])?,
            None => self.both(at(11), at(12))?,
        };
        let posted_on = self.day(3, at(3))?;
        let letter = at(13).to_owned();
        Ok(Line {
            journal: required(0)?,
            journal_label: at(1).to_owned(),
            number: at(2).to_owned(),
            posted_on,
            account: required(4)?,
            account_label: at(5).to_owned(),
            auxiliary: at(6).to_owned(),
            auxiliary_label: at(7).to_owned(),
            piece: at(8).to_owned(),
            piece_on: if at(9).is_empty() {
                posted_on
            } else {
                self.day(9, at(9))?
            },
            label: at(10).to_owned(),
            debit,
            credit,
            lettered_on: if at(14).is_empty() || letter.is_empty() {
                None
            } else {
                Some(self.day(14, at(14))?)
            },
            letter,
            validated_on: if at(15).is_empty() {
                None
            } else {
                Some(self.day(15, at(15))?)
            },
            currency_amount: if at(16).is_empty() {
                None
            } else {
                Some(self.amount(16, at(16))?)
            },
            currency: at(17).to_owned(),
        })
    }

    /// A negative debit is a credit, and the other way round.
    fn both(&self, debit: &str, credit: &str) -> Result<(Decimal, Decimal), ReadError> {
        let net = self.amount(11, debit)? - self.amount(12, credit)?;
        if !self.amount(11, debit)?.is_zero() && !self.amount(12, credit)?.is_zero() {
            return Err(wrong(
                self.line,
                Some("Debit"),
                "debit and credit are both filled",
            ));
        }
        Ok((net.max(Decimal::ZERO), (-net).max(Decimal::ZERO)))
    }

    fn sided(&self, amount: &str, side: &str) -> Result<(Decimal, Decimal), ReadError> {
        let amount = self.amount(11, amount)?;
        let net = match side.to_uppercase().as_str() {
            "D" | "+1" | "1" | "+" => amount,
            "C" | "-1" | "-" => -amount,
            _ => {
                return Err(wrong(
                    self.line,
                    Some("Debit"),
                    format!("`{side}` is no side: D, C, +1 or -1 are (Sens)"),
                ));
            }
        };
        Ok((net.max(Decimal::ZERO), (-net).max(Decimal::ZERO)))
    }

    /// Decimal comma or point, sign first or last, blanks between thousands.
    fn amount(&self, column: usize, text: &str) -> Result<Decimal, ReadError> {
        if text.is_empty() {
            return Ok(Decimal::ZERO);
        }
        let plain: String = text
            .chars()
            .filter(|sign| !matches!(sign, ' ' | '\u{a0}' | '\u{202f}'))
            .map(|sign| if sign == ',' { '.' } else { sign })
            .collect();
        let (negative, digits) = match plain.strip_prefix('-').or_else(|| plain.strip_suffix('-')) {
            Some(rest) => (true, rest),
            None => (
                false,
                plain
                    .strip_prefix('+')
                    .or_else(|| plain.strip_suffix('+'))
                    .unwrap_or(&plain),
            ),
        };
        let digits = digits.trim_start_matches('0');
        let digits = if digits.is_empty() || digits.starts_with('.') {
            format!("0{digits}")
        } else {
            digits.to_owned()
        };
        let sound = digits
            .bytes()
            .all(|sign| sign.is_ascii_digit() || sign == b'.');
        let value: Option<Decimal> = sound.then(|| digits.parse().ok()).flatten();
        match value {
            Some(value) if negative => Ok(-value),
            Some(value) => Ok(value),
            None => Err(wrong(
                self.line,
                Some(COLUMNS[column]),
                format!("`{}` is not an amount", short(text)),
            )),
        }
    }

    /// `AAAAMMJJ`; also with separators, or day first, as some software writes it.
    fn day(&self, column: usize, text: &str) -> Result<NaiveDate, ReadError> {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        let only = text
            .chars()
            .all(|sign| sign.is_ascii_digit() || matches!(sign, '/' | '-' | '.'));
        let found = if only && digits.len() == 8 {
            let day_first = text
                .get(2..3)
                .is_some_and(|sign| !sign.as_bytes()[0].is_ascii_digit());
            let format = if day_first { "%d%m%Y" } else { "%Y%m%d" };
            NaiveDate::parse_from_str(&digits, format).ok()
        } else {
            None
        };
        found
            .filter(|day| (1900..=2200).contains(&day.year()))
            .ok_or_else(|| {
                wrong(
                    self.line,
                    Some(COLUMNS[column]),
                    format!("`{}` is not a day written as AAAAMMJJ", short(text)),
                )
            })
    }
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

fn wrong(line: u64, field: Option<&'static str>, message: impl Into<String>) -> ReadError {
    ReadError {
        line,
        field,
        message: message.into(),
    }
}

/// Longest line that is read: a file that is no text file has no line ends.
const LONGEST: u64 = 64 * 1024;

/// The next line without its end, in UTF-8 or ISO 8859-15.
fn next_line(input: &mut impl BufRead, line: u64) -> Result<Option<String>, ReadError> {
    let mut bytes = Vec::new();
    let read = io::Read::take(&mut *input, LONGEST)
        .read_until(b'\n', &mut bytes)
        .map_err(|error| wrong(line, None, format!("the file cannot be read: {error}")))?;
    if read == 0 {
        return Ok(None);
    }
    if read as u64 == LONGEST {
        return Err(wrong(line, None, "the line is too long: this is not a FEC"));
    }
    while matches!(bytes.last(), Some(b'\n' | b'\r')) {
        bytes.pop();
    }
    if bytes.contains(&0) {
        return Err(wrong(line, None, "the file is binary: this is not a FEC"));
    }
    Ok(Some(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => error.into_bytes().into_iter().map(from_latin9).collect(),
    }))
}
