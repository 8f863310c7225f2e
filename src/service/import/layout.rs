//! How a file is read: which of its columns is which field, and how days and numbers are written.
//!
//! A mapping is TOML. Columns without an entry go by our own names; every key may be left out:
//!
//! ```toml
//! dateFormat = "%d/%m/%Y"     # as in strftime; %Y-%m-%d when absent
//! decimalSeparator = ","      # a point when absent
//! delimiter = ";"             # found in the header when absent
//! currency = "EUR"            # of rows that name none; the company's when absent
//!
//! [columns]
//! client = "Code client"
//! number = "N° facture"
//! ```

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate};
use csv::ByteRecord;
use rust_decimal::Decimal;
use serde::Deserialize;

use super::Failure;
use crate::domain::money::Currency;
use crate::domain::refusal::Refusal;
use crate::error::{Error, Result};
use crate::service::books::{self, Books};

/// A column that a kind of file may have.
pub struct Field {
    /// Our own name of it, by which rows are read and refused.
    pub name: &'static str,
    /// Whether the file must have it.
    pub needed: bool,
}

/// A column that the file must have.
pub const fn needed(name: &'static str) -> Field {
    Field { name, needed: true }
}

/// A column that it may leave out.
pub const fn optional(name: &'static str) -> Field {
    Field {
        name,
        needed: false,
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mapping {
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
    pub date_format: Option<String>,
    pub decimal_separator: Option<char>,
    pub delimiter: Option<char>,
    pub currency: Option<String>,
}

impl Mapping {
    /// Reads the text of a mapping.
    pub fn read(text: &str, fields: &[Field]) -> std::result::Result<Mapping, Failure> {
        let mapping: Mapping = toml::from_str(text)
            .map_err(|error| Failure::Mapping(format!("the mapping: {error}")))?;
        let known = |name: &String| fields.iter().any(|field| field.name == name);
        if let Some(name) = mapping.columns.keys().find(|name| !known(name)) {
            let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
            let name: String = name.chars().take(40).collect();
            return Err(Failure::Mapping(format!(
                "the mapping: unknown field `{name}` under [columns], expected one of {}",
                names.join(", ")
            )));
        }
        Ok(mapping)
    }
}

/// Where each field of a row stands, and how it is written.
pub struct Layout {
    /// The fields that the file has, with their places.
    places: Vec<(&'static str, usize)>,
    /// The file's own names, for messages.
    header: Vec<String>,
    date_format: String,
    decimal_separator: char,
    currency: Option<String>,
}

impl Layout {
    /// Finds the columns of a header.
    pub fn of(
        mapping: Mapping,
        fields: &[Field],
        header: Vec<String>,
    ) -> std::result::Result<Layout, Failure> {
        let place = |name: &str| header.iter().position(|column| column == name);
        let shown = || {
            let cut = |name: &String| name.chars().take(40).collect::<String>();
            let names: Vec<String> = header.iter().take(30).map(cut).collect();
            names.join(", ")
        };
        let mut places = Vec::new();
        for field in fields {
            let own = field.name;
            let found = match mapping.columns.get(own) {
                Some(name) => Some(place(name).ok_or_else(|| {
                    Failure::Mapping(format!(
                        "the mapping names the column `{name}` for {own}; the file has {}",
                        shown()
                    ))
                })?),
                None => place(own),
            };
            match found {
                Some(found) => places.push((own, found)),
                None if field.needed => {
                    return Err(Failure::Mapping(format!(
                        "no column is known for {own}: name it in a mapping; the file has {}",
                        shown()
                    )));
                }
                None => {}
            }
        }
        let twice = header
            .iter()
            .enumerate()
            .find(|(n, name)| !name.is_empty() && header[..*n].contains(name));
        if let Some((_, name)) = twice {
            let name: String = name.chars().take(40).collect();
            return Err(Failure::Mapping(format!("two columns are named `{name}`")));
        }
        Ok(Layout {
            places,
            header,
            date_format: mapping.date_format.unwrap_or_else(|| "%Y-%m-%d".into()),
            decimal_separator: mapping.decimal_separator.unwrap_or('.'),
            currency: mapping.currency,
        })
    }

    fn place(&self, field: &str) -> Option<usize> {
        let found = self.places.iter().find(|(name, _)| *name == field);
        found.map(|(_, place)| *place)
    }

    /// The file's name of a field, else our own.
    pub fn shown<'a>(&'a self, field: &'a str) -> &'a str {
        self.place(field)
            .map_or(field, |place| self.header[place].as_str())
    }

    /// A cell as it stands, to compare rows.
    pub fn cell<'a>(&self, record: &'a ByteRecord, field: &str) -> &'a [u8] {
        let cell = self.place(field).and_then(|place| record.get(place));
        cell.unwrap_or_default().trim_ascii()
    }

    /// A field of a record, trimmed; blank counts as absent.
    pub fn text<'a>(&self, record: &'a ByteRecord, field: &str) -> Result<Option<&'a str>> {
        let Some(bytes) = self.place(field).and_then(|place| record.get(place)) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Refusal::invalid(field, "the text is not UTF-8"))?
            .trim();
        Ok((!text.is_empty()).then_some(text))
    }

    /// A field that must say something.
    pub fn needed<'a>(&self, record: &'a ByteRecord, field: &str) -> Result<&'a str> {
        self.text(record, field)?
            .ok_or_else(|| Error::from(Refusal::invalid(field, "a value is needed")))
    }

    /// A day.
    pub fn day(&self, record: &ByteRecord, field: &str) -> Result<Option<NaiveDate>> {
        let Some(text) = self.text(record, field)? else {
            return Ok(None);
        };
        NaiveDate::parse_from_str(text, &self.date_format)
            .ok()
            .filter(|day| (1900..=2200).contains(&day.year()))
            .map(Some)
            .ok_or_else(|| {
                Refusal::invalid(
                    field,
                    format!("`{text}` is not a day written as {}", self.date_format),
                )
                .into()
            })
    }

    /// A day that must be there.
    pub fn needed_day(&self, record: &ByteRecord, field: &str) -> Result<NaiveDate> {
        self.day(record, field)?
            .ok_or_else(|| Error::from(Refusal::invalid(field, "a value is needed")))
    }

    /// A number.
    pub fn decimal(&self, record: &ByteRecord, field: &str) -> Result<Option<Decimal>> {
        let Some(text) = self.text(record, field)? else {
            return Ok(None);
        };
        let mut plain = String::with_capacity(text.len());
        let mut sound = true;
        for sign in text.chars() {
            match sign {
                sign if sign == self.decimal_separator => plain.push('.'),
                '0'..='9' | '-' | '+' => plain.push(sign),
                ' ' | '\u{a0}' | '\u{202f}' => {}
                _ => sound = false,
            }
        }
        plain
            .parse()
            .ok()
            .filter(|_| sound)
            .map(Some)
            .ok_or_else(|| {
                Refusal::invalid(
                    field,
                    format!(
                        "`{text}` is not a number with `{}` before the decimals",
                        self.decimal_separator
                    ),
                )
                .into()
            })
    }

    /// A number that must be there.
    pub fn needed_decimal(&self, record: &ByteRecord, field: &str) -> Result<Decimal> {
        self.decimal(record, field)?
            .ok_or_else(|| Error::from(Refusal::invalid(field, "a value is needed")))
    }

    /// The row's currency, the mapping's or the company's.
    pub fn currency(&self, record: &ByteRecord, books: &Books) -> Result<Currency> {
        match self.text(record, "currency")?.or(self.currency.as_deref()) {
            Some(code) => books::currency_input("currency", code),
            None => Ok(books.currency),
        }
    }

    /// A row with more cells than the header, or over many lines, is not what its writer meant.
    pub fn check_shape(&self, record: &ByteRecord) -> Result<()> {
        let (cells, columns) = (record.len(), self.header.len());
        if cells > columns {
            let message = format!("the row has {cells} cells, the header {columns}");
            return Err(Refusal::invalid("", message).into());
        }
        let lines = record
            .as_slice()
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        if lines > 20 {
            let message =
                format!("the row goes over {lines} lines: is a quotation mark not closed?");
            return Err(Refusal::invalid("", message).into());
        }
        Ok(())
    }
}
