//! How lists of invoices and credit notes are narrowed and ordered.

use async_graphql::{Context, Enum, InputObject};

use super::InvoiceStatus;
use crate::error::{Error, Result};
use crate::graphql::client::client_filter_id;
use crate::graphql::scalars::{ClientRef, Date, Decimal, on};
use crate::graphql::session;
use crate::service;
use crate::store::document;
use crate::store::list::{Direction, Sort};

/// Which way a list runs.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum OrderDirection {
    /// Smallest, earliest or first letter first.
    #[default]
    Asc,
    /// Largest, latest or last letter first.
    Desc,
}

impl From<OrderDirection> for Direction {
    fn from(direction: OrderDirection) -> Direction {
        match direction {
            OrderDirection::Asc => Direction::Ascending,
            OrderDirection::Desc => Direction::Descending,
        }
    }
}

/// What invoices or credit notes are ordered by.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum InvoiceOrderField {
    /// Date of issue.
    IssuedOn,
    /// Due date.
    DueOn,
    /// Number, letter by letter.
    Number,
    /// Gross amount.
    Total,
}

/// Order of a list of invoices or credit notes.
#[derive(InputObject, Clone, Copy, Debug)]
pub struct InvoiceOrder {
    /// By what.
    field: InvoiceOrderField,
    /// Which way.
    #[graphql(default)]
    direction: OrderDirection,
}

pub fn sort(order: Option<InvoiceOrder>) -> Sort {
    let order = order.unwrap_or(InvoiceOrder {
        field: InvoiceOrderField::IssuedOn,
        direction: OrderDirection::Desc,
    });
    let (column, sql_type) = match order.field {
        InvoiceOrderField::IssuedOn => ("t.issued_on", "date"),
        InvoiceOrderField::DueOn => ("coalesce(t.due_on, t.issued_on)", "date"),
        InvoiceOrderField::Number => ("t.number", "text"),
        InvoiceOrderField::Total => ("t.total", "bigint"),
    };
    Sort {
        column,
        sql_type,
        direction: order.direction.into(),
    }
}

/// Narrows a list of invoices or credit notes; all conditions hold at once.
#[derive(InputObject, Clone, Debug, Default)]
pub struct InvoiceFilter {
    /// Part of the number or of the client's name, whatever the case and the accents.
    search: Option<String>,
    /// Of this client.
    client: Option<ClientRef>,
    /// Issued on or after this day.
    issued_from: Option<Date>,
    /// Issued on or before this day.
    issued_to: Option<Date>,
    /// Due on or after this day.
    due_from: Option<Date>,
    /// Due on or before this day.
    due_to: Option<Date>,
    /// In this currency.
    currency: Option<String>,
    /// Gross amount at least; needs `currency`.
    min_total: Option<Decimal>,
    /// Gross amount at most; needs `currency`.
    max_total: Option<Decimal>,
    /// With this status. For credit notes: settled means matched whole.
    status: Option<InvoiceStatus>,
    /// With something open, or nothing.
    open: Option<bool>,
    /// With an open part past its due date today, or none.
    overdue: Option<bool>,
    /// With an open dispute, or none.
    disputed: Option<bool>,
}

pub async fn filter(ctx: &Context<'_>, input: Option<InvoiceFilter>) -> Result<document::Filter> {
    let input = input.unwrap_or_default();
    let amount = |field: &'static str, value: Option<Decimal>| -> Result<Option<i64>> {
        let Some(value) = value else { return Ok(None) };
        let code = input.currency.as_deref().ok_or(Error::BadInput {
            field,
            message: format!("{field} needs a currency"),
        })?;
        Ok(Some(service::books::amount(
            field,
            value.0,
            service::books::currency_input("currency", code)?,
        )?))
    };
    let (min_total, max_total) = (
        amount("minTotal", input.min_total)?,
        amount("maxTotal", input.max_total)?,
    );
    for (field, empty) in [
        (
            "issuedTo",
            input.issued_from > input.issued_to && input.issued_to.is_some(),
        ),
        (
            "dueTo",
            input.due_from > input.due_to && input.due_to.is_some(),
        ),
        ("maxTotal", min_total > max_total && max_total.is_some()),
    ] {
        if empty {
            return Err(Error::BadInput {
                field,
                message: "nothing can be in this range: its end is before its beginning".into(),
            });
        }
    }
    let today = session(ctx)?.caller().today;
    Ok(document::Filter {
        client: client_filter_id(ctx, input.client).await?,
        search: input.search,
        issued_from: on(input.issued_from),
        issued_to: on(input.issued_to),
        due_from: on(input.due_from),
        due_to: on(input.due_to),
        currency: input.currency,
        min_total,
        max_total,
        open: match input.status {
            Some(InvoiceStatus::Settled) => Some(false),
            Some(InvoiceStatus::Open | InvoiceStatus::PartlySettled) => Some(true),
            None => input.open,
        },
        partly_settled: match input.status {
            Some(InvoiceStatus::Open) => Some(false),
            Some(InvoiceStatus::PartlySettled) => Some(true),
            Some(InvoiceStatus::Settled) | None => None,
        },
        overdue: input.overdue.map(|overdue| (overdue, today)),
        disputed: input.disputed,
    })
}
