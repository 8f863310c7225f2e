//! The disputes desk: figures by reason, owner, department and month, and the challenge that comes back.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::client::code_enum;
use super::dispute::{Dispute, DisputeRef};
use super::error::UserError;
use super::mutation::mutate;
use super::operation::how;
use super::scalars::{Date, Decimal, money, on, rate};
use super::{Permitted, session};
use crate::error::Result;
use crate::service::dispute;
use crate::store;

code_enum! {
    /// What dispute figures are grouped by.
    DisputeGrouping {
        /// The reason's code.
        Reason = "REASON",
        /// Who answers; empty when nobody was named.
        Owner = "OWNER",
        /// The department that has to answer.
        Department = "DEPARTMENT",
        /// The month of opening, as `2026-03`.
        Month = "MONTH",
    }
}

/// Figures about disputes of one group and currency.
#[derive(SimpleObject)]
struct DisputeStatistic {
    /// The reason's code, the owner's name, the department or the month.
    key: String,
    /// The currency of the amounts.
    currency: String,
    /// How many were opened.
    opened: i32,
    /// What was disputed in them.
    disputed: Decimal,
    /// How many of them are not closed.
    open: i32,
    /// What is disputed in those.
    open_amount: Decimal,
    /// How many of those are past their deadline.
    overdue: i32,
    /// What was accepted in favour of clients.
    accepted: Decimal,
    /// Average days from opening to closing, to one decimal; null when none was closed.
    days_to_resolve: Option<Decimal>,
}

/// The disputes desk.
#[derive(Default)]
pub struct DisputeDeskQuery;

#[Object]
impl DisputeDeskQuery {
    /// Figures about the disputes opened in a period, group by group: how many, how much, how long.
    #[graphql(guard = "Permitted(\"Query.disputeStatistics\")")]
    async fn dispute_statistics(
        &self,
        ctx: &Context<'_>,
        group_by: DisputeGrouping,
        #[graphql(desc = "Opened on or after this day; a year ago when absent.")] from: Option<
            Date,
        >,
        #[graphql(desc = "Opened on or before this day; today when absent.")] to: Option<Date>,
    ) -> Result<Vec<DisputeStatistic>> {
        let session = session(ctx)?;
        let today = session.caller().today;
        let from = on(from).unwrap_or(today - chrono::Months::new(12));
        let to = on(to).unwrap_or(today);
        let rows = session
            .read(move |conn, caller| {
                let (company, key) = (caller.company, group_by.code());
                Ok(store::dispute::statistics(
                    conn,
                    company,
                    key,
                    from,
                    to,
                    caller.today,
                )?)
            })
            .await?;
        let count = |count: i64| i32::try_from(count).unwrap_or(i32::MAX);
        Ok(rows
            .into_iter()
            .map(|row| DisputeStatistic {
                key: row.key,
                opened: count(row.opened),
                disputed: money(row.disputed, &row.currency),
                open: count(row.open),
                open_amount: money(row.open_amount, &row.currency),
                overdue: count(row.overdue),
                accepted: money(row.accepted, &row.currency),
                days_to_resolve: row.days.map(rate),
                currency: row.currency,
            })
            .collect())
    }
}

/// A challenge that comes back.
#[derive(InputObject, Clone, Debug)]
struct ReopenDisputeInput {
    /// The dispute that is closed or withdrawn.
    dispute: DisputeRef,
    /// The gross amount in dispute; everything open and not in dispute when absent.
    amount: Option<Decimal>,
    /// What the client says now.
    description: String,
    /// The deadline to answer; the company's setting when absent.
    respond_by: Option<Date>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// What `reopenDispute` did.
#[derive(SimpleObject)]
struct ReopenDisputePayload {
    /// The new dispute, which names the old one; null when refused.
    dispute: Option<Dispute>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// The disputes desk.
#[derive(Default)]
pub struct DisputeDeskMutation;

#[Object]
impl DisputeDeskMutation {
    /// Takes up a dispute that ended: CLOSED and WITHDRAWN are final, so a new one is opened with the same invoice,
    /// reason and owner, and names the old one (8.2).
    #[graphql(guard = "Permitted(\"Mutation.reopenDispute\")")]
    async fn reopen_dispute(
        &self,
        ctx: &Context<'_>,
        input: ReopenDisputeInput,
    ) -> Result<ReopenDisputePayload> {
        let run = how(&input.idempotency_key, input.validate_only);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            let again = dispute::Again {
                amount: input.amount.map(|amount| amount.0),
                description: input.description,
                respond_by: on(input.respond_by),
            };
            dispute::reopen(conn, caller, &input.dispute.into(), again)
        })
        .await?;
        let found = match done.made {
            Some(id) => Some(Dispute(super::document::one(ctx, id).await?)),
            None => None,
        };
        Ok(ReopenDisputePayload {
            dispute: found,
            user_errors: done.user_errors,
        })
    }
}

/// The id of the dispute that one takes up again.
pub fn reopened(id: Option<crate::domain::ids::DisputeId>) -> Option<ID> {
    id.map(super::scalars::show)
}
