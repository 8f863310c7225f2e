//! Scalars of our own: exact decimals as text, facts as JSON; and how ids and references are read.

use async_graphql::{
    ID, InputObject, InputValueError, InputValueResult, OneofObject, Scalar, ScalarType, Value,
};
use chrono::{DateTime, Datelike, NaiveDate, SecondsFormat, Utc};
use rust_decimal::Decimal as Exact;

use crate::domain::ids::Id;
use crate::domain::money::{Currency, Minor};
use crate::domain::refusal::Refusal;
use crate::error::{Error, Result};
use crate::service::reference::{ItemRef, Ref};

/// An exact decimal number.
#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decimal(pub Exact);

/// An exact decimal number as a string, such as "1200.00". Amounts have as many decimals as their
/// currency. JSON numbers are refused: they would pass through binary floating point.
#[Scalar(
    name = "Decimal",
    specified_by_url = "https://www.w3.org/TR/xmlschema-2/#decimal"
)]
impl ScalarType for Decimal {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else {
            return Err(InputValueError::custom(
                "a decimal is written as a string, such as \"12.50\"",
            ));
        };
        let plain = text.len() <= 30
            && !text.is_empty()
            && text
                .bytes()
                .all(|sign| sign.is_ascii_digit() || matches!(sign, b'.' | b'-'));
        plain
            .then(|| Exact::from_str_exact(text).ok())
            .flatten()
            .map(Decimal)
            .ok_or_else(|| {
                InputValueError::custom(format!(
                    "`{}` is not a decimal such as \"12.50\"",
                    text.chars().take(40).collect::<String>()
                ))
            })
    }

    fn is_valid(value: &Value) -> bool {
        Self::parse(value.clone()).is_ok()
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// A civil day.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Date(pub NaiveDate);

/// A civil day without time, `YYYY-MM-DD`, in the company's time zone: from 1900-01-01 to 2200-12-31.
#[Scalar(
    name = "Date",
    specified_by_url = "https://scalars.graphql.org/andimarek/local-date.html"
)]
impl ScalarType for Date {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else {
            return Err(InputValueError::custom(
                "a day is written as a string, such as \"2026-03-31\"",
            ));
        };
        let day = (text.len() == 10)
            .then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok())
            .flatten()
            // Nothing that is owed is older or due later: such a day is a slip of the pen.
            .filter(|day| (1900..=2200).contains(&day.year()));
        day.map(Date).ok_or_else(|| {
            InputValueError::custom(format!(
                "`{}` is not a day of the years 1900 to 2200 such as \"2026-03-31\"",
                text.chars().take(40).collect::<String>()
            ))
        })
    }

    fn is_valid(value: &Value) -> bool {
        Self::parse(value.clone()).is_ok()
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

impl From<NaiveDate> for Date {
    fn from(day: NaiveDate) -> Date {
        Date(day)
    }
}

impl From<Date> for NaiveDate {
    fn from(day: Date) -> NaiveDate {
        day.0
    }
}

/// A day of the input that may be absent, for the layers below.
pub fn on(day: Option<Date>) -> Option<NaiveDate> {
    day.map(|day| day.0)
}

/// An instant as the API reads and shows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Instant(pub DateTime<Utc>);

/// An instant with its time zone (RFC 3339), such as `2026-03-31T08:00:00Z`; fractions of seconds are kept to the microsecond. Answers are in UTC with six digits.
#[Scalar(
    name = "DateTime",
    specified_by_url = "https://scalars.graphql.org/andimarek/date-time.html"
)]
impl ScalarType for Instant {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else {
            return Err(InputValueError::custom(
                "an instant is written as a string, such as \"2026-03-31T08:00:00Z\"",
            ));
        };
        let read = DateTime::parse_from_rfc3339(text).ok();
        // As days: what is older or later is a slip of the pen.
        read.filter(|at| text.len() <= 40 && (1900..=2200).contains(&at.year()))
            .map(|at| Instant(at.to_utc()))
            .ok_or_else(|| {
                InputValueError::custom(format!(
                    "`{}` is not an instant with its time zone such as \"2026-03-31T08:00:00Z\"",
                    text.chars().take(40).collect::<String>()
                ))
            })
    }

    fn is_valid(value: &Value) -> bool {
        Self::parse(value.clone()).is_ok()
    }

    fn to_value(&self) -> Value {
        // As exports and webhooks write it: one length, so that texts sort as instants do.
        Value::String(self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl From<DateTime<Utc>> for Instant {
    fn from(at: DateTime<Utc>) -> Instant {
        Instant(at)
    }
}

impl From<Instant> for DateTime<Utc> {
    fn from(at: Instant) -> DateTime<Utc> {
        at.0
    }
}

/// An instant of the input that may be absent, for the layers below.
pub fn at(instant: Option<Instant>) -> Option<DateTime<Utc>> {
    instant.map(|instant| instant.0)
}

/// An amount as the API shows it: all the decimals of its currency.
pub fn money(minor: Minor, currency: &str) -> Decimal {
    let exponent = currency.parse::<Currency>().map_or(2, Currency::exponent);
    Decimal(Exact::new(minor, exponent))
}

/// A rate without idle zeros: `5.5`, `20`.
pub fn rate(value: Exact) -> Decimal {
    Decimal(value.normalize())
}

/// A JSON object of facts.
#[derive(Clone, Debug)]
pub struct JsonObject(pub serde_json::Value);

/// A JSON value, most often an object of facts.
#[Scalar(name = "JSON")]
impl ScalarType for JsonObject {
    fn parse(value: Value) -> InputValueResult<Self> {
        Ok(JsonObject(value.into_json()?))
    }

    fn to_value(&self) -> Value {
        Value::from_json(self.0.clone()).unwrap_or(Value::Null)
    }
}

/// The id of a record as the API shows it.
pub fn show(id: impl Id) -> ID {
    ID(id.show())
}

/// Reads an id of the input; malformed ones are refused like unknown ones.
pub fn read<T: Id>(field: &str, what: &str, id: &ID) -> Result<T> {
    T::read(id).ok_or_else(|| Error::from(Refusal::not_found(field, what)))
}

macro_rules! references {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(OneofObject, Clone, Debug)]
        pub enum $name {
            /// The opaque id that the API gave.
            Id(ID),
            /// The business number.
            Number(String),
            /// The reference that another system gave.
            ExternalRef(String),
        }

        impl From<$name> for Ref {
            fn from(target: $name) -> Ref {
                match target {
                    $name::Id(id) => Ref::Id(id.0),
                    $name::Number(number) => Ref::Number(number),
                    $name::ExternalRef(external) => Ref::ExternalRef(external),
                }
            }
        }
    )+};
}

references! {
    /// Names a client: exactly one of its id, its number, or another system's reference.
    ClientRef,
    /// Names an invoice (facture): exactly one of its id, its number, or another system's reference.
    InvoiceRef,
    /// Names a credit note (avoir): exactly one of its id, its number, or another system's reference.
    CreditNoteRef,
    /// Names a payment (règlement): exactly one of its id, its number, or another system's reference.
    PaymentRef,
}

/// Reads a reference by id or number as the layers below know it.
macro_rules! two_ways {
    ($name:ident) => {
        impl From<$name> for $crate::service::reference::Ref {
            fn from(target: $name) -> $crate::service::reference::Ref {
                match target {
                    $name::Id(id) => $crate::service::reference::Ref::Id(id.0),
                    $name::Number(number) => $crate::service::reference::Ref::Number(number),
                }
            }
        }
    };
}
pub(crate) use two_ways;

/// Names open items of one side: an item by its id, or a document by its number, and with `dueOn` one
/// of its instalments. A document with several instalments is taken oldest due first.
#[derive(InputObject, Clone, Debug)]
pub struct ItemRefInput {
    /// An item's id, or that of an invoice, credit note, payment or deduction.
    id: Option<ID>,
    /// The number of the invoice, credit note, payment or deduction.
    number: Option<String>,
    /// The due date of one instalment.
    due_on: Option<Date>,
}

impl From<ItemRefInput> for ItemRef {
    fn from(input: ItemRefInput) -> ItemRef {
        ItemRef {
            id: input.id.map(|id| id.0),
            number: input.number,
            due_on: on(input.due_on),
        }
    }
}

/// A day that must stand in a sensible range: years 1900 to 2999.
pub fn day(field: &'static str, on: NaiveDate) -> Result<NaiveDate> {
    use chrono::Datelike;
    if (1900..3000).contains(&on.year()) {
        return Ok(on);
    }
    Err(Error::BadInput {
        field,
        message: format!("{field}: a day between 1900 and 2999 is needed"),
    })
}
