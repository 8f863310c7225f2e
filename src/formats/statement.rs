//! A bank statement or notification as the matching reads it, whatever the format it came in.

use std::fmt;

use chrono::NaiveDate;
use rust_decimal::Decimal;

/// The format of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// ISO 20022 bank-to-customer statement.
    Camt053,
    /// ISO 20022 bank-to-customer debit and credit notification.
    Camt054,
    /// French fixed-length statement.
    Cfonb120,
}

impl Format {
    /// The stored code.
    pub fn code(self) -> &'static str {
        match self {
            Format::Camt053 => "CAMT053",
            Format::Camt054 => "CAMT054",
            Format::Cfonb120 => "CFONB120",
        }
    }
}

/// One statement of one account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement {
    pub format: Format,
    /// The bank's identification.
    pub reference: String,
    /// The bank's running number, when it gives one.
    pub sequence: Option<i64>,
    /// IBAN, or the bank's own number, without blanks.
    pub account: String,
    pub currency: String,
    pub from_on: Option<NaiveDate>,
    pub to_on: Option<NaiveDate>,
    /// Signed: negative when overdrawn; none in notifications.
    pub opening: Option<Decimal>,
    pub closing: Option<Decimal>,
    pub movements: Vec<Movement>,
}

/// One movement: a line of the statement, or one payment of a batch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Movement {
    /// Line of the file, for messages; 0 when unknown.
    pub line: u64,
    pub booked_on: NaiveDate,
    pub value_on: Option<NaiveDate>,
    /// Signed: money in is positive.
    pub amount: Decimal,
    pub currency: String,
    /// The bank's key, of the payment where it has one, else of the entry.
    pub servicer_ref: Option<String>,
    /// The bank's key of the entry: that of a batch, when this is one payment of it.
    pub entry_ref: Option<String>,
    pub end_to_end_id: Option<String>,
    pub counterparty: Option<String>,
    pub counterparty_iban: Option<String>,
    /// Creditor references and document numbers.
    pub structured: Vec<String>,
    /// What the payer wrote.
    pub text: String,
    /// Why money came back.
    pub return_reason: Option<String>,
    /// A booking that takes back another.
    pub is_reversal: bool,
    /// Family of the transaction, such as RCDT or RDDT/ESDD.
    pub family: Option<String>,
}

/// Why a file cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StatementError {
    /// Line of the file.
    pub line: u64,
    /// The element or field, when one is to blame.
    pub field: Option<String>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for StatementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(field) = &self.field {
            write!(f, ", {field}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for StatementError {}

/// An error at a line.
pub fn wrong(line: u64, field: Option<&str>, message: impl Into<String>) -> StatementError {
    StatementError {
        line,
        field: field.map(str::to_owned),
        message: message.into(),
    }
}

impl Statement {
    /// The last day it speaks of.
    pub fn last_day(&self) -> Option<NaiveDate> {
        let booked = self
            .movements
            .iter()
            .map(|movement| movement.booked_on)
            .max();
        self.to_on.or(booked).or(self.from_on)
    }

    /// Refuses a statement whose movements do not lead from its opening to its closing balance.
    pub fn check(&self, line: u64) -> Result<(), StatementError> {
        let (Some(opening), Some(closing)) = (self.opening, self.closing) else {
            return Ok(());
        };
        let sum: Decimal = self.movements.iter().map(|movement| movement.amount).sum();
        if opening + sum == closing {
            return Ok(());
        }
        Err(wrong(
            line,
            Some("Bal"),
            format!(
                "statement {}: {opening} and movements of {sum} do not give {closing}",
                self.reference
            ),
        ))
    }
}

/// Reads a file of any known format.
pub fn read(bytes: &[u8]) -> Result<Vec<Statement>, StatementError> {
    let start = bytes
        .iter()
        .position(|byte| !byte.is_ascii_whitespace() && !matches!(byte, 0xEF | 0xBB | 0xBF))
        .unwrap_or_default();
    match bytes.get(start) {
        Some(b'<') => super::camt::read(bytes),
        Some(b'0') => super::cfonb::read(bytes),
        _ => Err(wrong(
            1,
            None,
            "neither a camt file (XML) nor a CFONB 120 statement",
        )),
    }
}
