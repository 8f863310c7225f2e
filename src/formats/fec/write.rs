//! Writing a FEC: each rule is checked before a line leaves (R10.5, R10.6).

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::{self, Write};

use chrono::{Datelike, NaiveDate};
use rust_decimal::Decimal;

use super::{COLUMNS, Encoding, Line, Separator, latin9};

/// Writes the file and checks it on the way (R10.6): nothing that breaks a rule gets a name.
pub struct Writer<W: Write> {
    out: W,
    encoding: Encoding,
    fields: Fields,
    entry: Option<(String, NaiveDate, Decimal)>,
    numbers: BTreeMap<String, u64>,
    debit: Decimal,
    credit: Decimal,
    lines: u64,
}

/// What was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    pub lines: u64,
    pub entries: u64,
    pub debit: Decimal,
    pub credit: Decimal,
}

/// Why a file was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The medium.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A rule of the FEC.
    #[error("{0}")]
    Rule(String),
}

impl<W: Write> Writer<W> {
    /// Begins with the names of the fields. `decimals` are those of the accounting currency.
    pub fn new(
        mut out: W,
        separator: Separator,
        encoding: Encoding,
        decimals: u32,
    ) -> Result<Writer<W>, WriteError> {
        let header = COLUMNS.join(&separator.sign().to_string());
        out.write_all(format!("{header}\r\n").as_bytes())?;
        Ok(Writer {
            out,
            encoding,
            fields: Fields {
                line: String::new(),
                separator: separator.sign(),
                decimals,
            },
            entry: None,
            numbers: BTreeMap::new(),
            debit: Decimal::ZERO,
            credit: Decimal::ZERO,
            lines: 0,
        })
    }

    /// Writes a line. Lines of one entry follow each other; `rank` counts entries within their journal.
    pub fn line(&mut self, line: &Line, rank: u64) -> Result<(), WriteError> {
        self.check(line, rank)?;
        let text = self.fields.of(line).map_err(io::Error::other)?;
        match self.encoding {
            Encoding::Utf8 => self.out.write_all(text.as_bytes())?,
            Encoding::Latin9 => self.out.write_all(&latin9(text))?,
        }
        self.lines += 1;
        self.debit += line.debit;
        self.credit += line.credit;
        Ok(())
    }

    fn check(&mut self, line: &Line, rank: u64) -> Result<(), WriteError> {
        let broken = |what: &str| {
            Err(WriteError::Rule(format!(
                "entry {} of {}: {what}",
                line.number, line.posted_on
            )))
        };
        let required = [
            &line.journal,
            &line.journal_label,
            &line.number,
            &line.account,
            &line.account_label,
            &line.piece,
            &line.label,
        ];
        if required.iter().any(|text| text.trim().is_empty()) || line.validated_on.is_none() {
            return broken("a required field is empty (R10.5)");
        }
        if line.account.len() < 3 || !line.account.as_bytes()[..3].iter().all(u8::is_ascii_digit) {
            return broken("an account does not begin with three digits (R10.5)");
        }
        if line.debit < Decimal::ZERO || line.credit < Decimal::ZERO {
            return broken("an amount is negative");
        }
        if line.letter.is_empty() != line.lettered_on.is_none() {
            return broken("letter and date of lettering go together (R10.6)");
        }
        if line.lettered_on.is_some_and(|on| on < line.posted_on) {
            return broken("it was lettered before it was posted (R10.6)");
        }
        let same = self
            .entry
            .as_ref()
            .is_some_and(|(number, on, _)| *number == line.number && *on == line.posted_on);
        if !same {
            self.close_entry()?;
            let last = self.numbers.entry(line.journal.clone()).or_default();
            if rank != *last + 1 {
                return broken("numbers have a gap within the journal (R10.6)");
            }
            *last = rank;
            self.entry = Some((line.number.clone(), line.posted_on, Decimal::ZERO));
        }
        if let Some((_, _, balance)) = &mut self.entry {
            *balance += line.debit - line.credit;
        }
        Ok(())
    }

    fn close_entry(&mut self) -> Result<(), WriteError> {
        match self.entry.take() {
            Some((number, on, balance)) if !balance.is_zero() => Err(WriteError::Rule(format!(
                "entry {number} of {on} does not balance: {balance} (R10.6)"
            ))),
            _ => Ok(()),
        }
    }

    /// Ends the file: the last entry and the whole balance.
    pub fn finish(mut self) -> Result<Written, WriteError> {
        self.close_entry()?;
        if self.debit != self.credit {
            return Err(WriteError::Rule(format!(
                "debits are {}, credits {} (R10.6)",
                self.debit, self.credit
            )));
        }
        if self.lines == 0 {
            return Err(WriteError::Rule(
                "the year has no entry: an empty file is refused (R10.5)".into(),
            ));
        }
        self.out.flush()?;
        Ok(Written {
            lines: self.lines,
            entries: self.numbers.values().sum(),
            debit: self.debit,
            credit: self.credit,
        })
    }
}

/// The fields of a line, each behind the other.
struct Fields {
    /// The last line, in a place that lines share: a file has millions of fields.
    line: String,
    separator: char,
    decimals: u32,
}

impl Fields {
    /// The text of a line, its end with it.
    fn of(&mut self, line: &Line) -> Result<&str, fmt::Error> {
        self.line.clear();
        self.text(&line.journal);
        self.text(&line.journal_label);
        self.text(&line.number);
        self.day(Some(line.posted_on))?;
        self.text(&line.account);
        self.text(&line.account_label);
        self.text(&line.auxiliary);
        self.text(&line.auxiliary_label);
        self.text(&line.piece);
        self.day(Some(line.piece_on))?;
        self.text(&line.label);
        self.amount(line.debit)?;
        self.amount(line.credit)?;
        self.text(&line.letter);
        self.day(line.lettered_on)?;
        self.day(line.validated_on)?;
        self.decimal(line.currency_amount)?;
        self.text(&line.currency);
        // The last field has no separator behind it.
        self.line.pop();
        self.line.push_str("\r\n");
        Ok(&self.line)
    }

    /// A text without the signs that would end a field or a line.
    fn text(&mut self, text: &str) {
        let ends = |sign| matches!(sign, '\t' | '|' | '\r' | '\n');
        match text.contains(ends) {
            true => self.line.push_str(text.replace(ends, " ").trim()),
            false => self.line.push_str(text.trim()),
        }
        self.line.push(self.separator);
    }

    fn day(&mut self, on: Option<NaiveDate>) -> fmt::Result {
        if let Some(on) = on {
            write!(
                self.line,
                "{:04}{:02}{:02}",
                on.year(),
                on.month(),
                on.day()
            )?;
        }
        self.line.push(self.separator);
        Ok(())
    }

    /// Decimal comma, no thousands (R10.2), as many decimals as the accounting currency has.
    fn amount(&mut self, mut amount: Decimal) -> fmt::Result {
        amount.rescale(self.decimals);
        self.decimal(Some(amount))
    }

    /// The same with the decimals that it has.
    fn decimal(&mut self, amount: Option<Decimal>) -> fmt::Result {
        if let Some(amount) = amount {
            let begins = self.line.len();
            write!(self.line, "{amount}")?;
            if let Some(point) = self.line[begins..].find('.') {
                let point = begins + point;
                self.line.replace_range(point..=point, ",");
            }
        }
        self.line.push(self.separator);
        Ok(())
    }
}
