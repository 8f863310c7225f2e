//! Late-payment interest and the flat recovery indemnity (2.9, 6.3 to 6.6).

use async_graphql::{Context, InputObject, Object, SimpleObject};

use super::client::{client_filter_id, code_enum};
use super::document::Invoice;
use super::error::UserError;
use super::mutation::{How, mutate};
use super::operation::{Operation, OperationPayload, how, payload};
use super::page::{self, Asked, Connection, Listed, Window};
use super::scalars::{ClientRef, Date, Decimal, InvoiceRef, money, on, rate};
use super::text::untold;
use super::{Permitted, session};
use crate::domain::access::Caller;
use crate::domain::ids::{DocumentId, OperationId};
use crate::error::Result;
use crate::service::penalty::{self, ClaimInput, LateInvoice};
use crate::store::list::{Direction, Sort};
use crate::store::{self, Conn};

untold!(LatePenalty);

code_enum! {
    /// What is given up.
    WaiverScope {
        /// The interest.
        Interest = "INTEREST",
        /// The flat indemnity.
        Indemnity = "INDEMNITY",
        /// Both.
        Both = "BOTH",
    }
}

/// A part of a delay with one principal and one rate.
#[derive(SimpleObject, Clone)]
struct PenaltySegment {
    /// First day that bears interest.
    from: Date,
    /// Last day; the day of a payment still counts (R6.8).
    to: Date,
    /// Days, both included.
    days: i32,
    /// What was unpaid, VAT included.
    principal: Decimal,
    /// Percent per year, on 365 days.
    rate: Decimal,
}

/// What an invoice's delay has cost by a day. Outside VAT; amounts in `currency`.
#[derive(SimpleObject, Clone)]
pub struct LatePenalty {
    /// The invoice.
    invoice: Invoice,
    /// The currency of the amounts.
    currency: String,
    /// Interest through the day asked for, rounded once (R6.8).
    interest: Decimal,
    /// The indemnity that the delay gives a right to: once for each invoice (6.6).
    indemnity: Decimal,
    /// Interest claimed so far.
    claimed_interest: Decimal,
    /// Indemnity claimed so far.
    claimed_indemnity: Decimal,
    /// Whether the interest was given up.
    interest_waived: bool,
    /// Whether the indemnity was given up.
    indemnity_waived: bool,
    /// What may be claimed now, interest and indemnity.
    claimable: Decimal,
    /// A part is in dispute: nothing is claimed until it is rejected (R8.5).
    disputed: bool,
    /// The contractual rate is below three times the legal rate by now; it is applied as written (R6.7).
    below_floor: bool,
    /// How the interest comes about.
    segments: Vec<PenaltySegment>,
}

impl LatePenalty {
    fn of(late: LateInvoice) -> LatePenalty {
        let currency = late.invoice.currency.clone();
        let amount = |minor| money(minor, &currency);
        LatePenalty {
            interest: amount(late.interest),
            indemnity: amount(late.indemnity),
            claimed_interest: amount(late.claimed_interest),
            claimed_indemnity: amount(late.claimed_indemnity),
            interest_waived: late.interest_waived,
            indemnity_waived: late.indemnity_waived,
            claimable: amount(match late.disputed {
                true => 0,
                false => late.claimable_interest() + late.claimable_indemnity(),
            }),
            disputed: late.disputed,
            below_floor: late.below_floor,
            segments: late
                .segments
                .iter()
                .map(|segment| PenaltySegment {
                    from: segment.from.into(),
                    to: segment.to.into(),
                    days: i32::try_from(segment.days).unwrap_or(i32::MAX),
                    principal: amount(segment.principal),
                    rate: rate(segment.rate),
                })
                .collect(),
            invoice: Invoice(late.invoice),
            currency,
        }
    }
}

impl Listed for LateInvoice {
    type View = LatePenalty;
    fn id(&self) -> uuid::Uuid {
        self.invoice.id.0
    }
    fn view(self) -> LatePenalty {
        LatePenalty::of(self)
    }
}

/// Penalties.
#[derive(Default)]
pub struct PenaltyQuery;

#[Object]
impl PenaltyQuery {
    /// What late invoices have cost by a day, by due date, earliest first: computed always, claimed by decision (R6.13).
    #[graphql(guard = "Permitted(\"Query.latePenalties\")")]
    async fn late_penalties(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of this client; of all when absent.")] client: Option<ClientRef>,
        #[graphql(desc = "Interest through this day; today when absent.")] through: Option<Date>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<LatePenalty>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("late{client:?}{through:?}"),
        )?;
        let client = client_filter_id(ctx, client).await?;
        let session = session(ctx)?;
        let through = on(through).unwrap_or(session.caller().today);
        let sort = Sort {
            column: "t.due_on",
            sql_type: "date",
            direction: Direction::Ascending,
        };
        page::list(
            session,
            store::penalty::late_from(session.caller().company, client, through),
            sort,
            asked,
            move |conn, caller, ids| {
                let ids: Vec<DocumentId> = ids.iter().copied().map(DocumentId).collect();
                let invoices = store::document::by_ids(conn, caller.company, &ids)?;
                penalty::late(conn, caller, &invoices, through)
            },
        )
        .await
    }
}

/// Penalties to claim.
#[derive(InputObject, Clone, Debug)]
struct ClaimPenaltiesInput {
    /// Late invoices of one client and one currency, 1 to 100.
    invoices: Vec<InvoiceRef>,
    /// Interest through this day; today when absent.
    through: Option<Date>,
    /// Leave the flat indemnity out.
    #[graphql(default)]
    interest_only: bool,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// Penalties to give up.
#[derive(InputObject, Clone, Debug)]
pub struct WaivePenaltiesInput {
    /// The late invoice.
    invoice: InvoiceRef,
    /// What is given up.
    scope: WaiverScope,
    /// Why; kept with who decided.
    reason: String,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// What `waivePenalties` did.
#[derive(SimpleObject)]
struct WaivePenaltiesPayload {
    /// Whether the waiver was recorded.
    waived: bool,
    /// What took an open claim back; null when nothing was claimed yet.
    operation: Option<Operation>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// Gives penalties up as the input says.
pub fn waive_penalties(
    conn: &mut Conn,
    caller: &Caller,
    input: WaivePenaltiesInput,
) -> Result<Option<OperationId>> {
    let scope = match input.scope {
        WaiverScope::Interest => penalty::WaiverScope::Interest,
        WaiverScope::Indemnity => penalty::WaiverScope::Indemnity,
        WaiverScope::Both => penalty::WaiverScope::Both,
    };
    penalty::waive(conn, caller, &input.invoice.into(), scope, &input.reason)
}

/// Penalties.
#[derive(Default)]
pub struct PenaltyMutation;

#[Object]
impl PenaltyMutation {
    /// Claims interest and indemnity: D 411 / C 7631 and 7581, items of their own that bear no interest (R2.19).
    #[graphql(guard = "Permitted(\"Mutation.claimPenalties\")")]
    async fn claim_penalties(
        &self,
        ctx: &Context<'_>,
        input: ClaimPenaltiesInput,
    ) -> Result<OperationPayload> {
        let run = how(&input.idempotency_key, input.validate_only);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            let input = ClaimInput {
                invoices: input.invoices.into_iter().map(Into::into).collect(),
                through: on(input.through),
                interest_only: input.interest_only,
            };
            penalty::claim(conn, caller, &input)
        })
        .await?;
        payload(ctx, done).await
    }

    /// Gives up interest, indemnity or both of an invoice, with author and reason (R6.13). A claim that is
    /// open is taken back.
    #[graphql(guard = "Permitted(\"Mutation.waivePenalties\")")]
    async fn waive_penalties(
        &self,
        ctx: &Context<'_>,
        input: WaivePenaltiesInput,
    ) -> Result<WaivePenaltiesPayload> {
        let run = How {
            idempotency_key: input.idempotency_key.clone(),
            reason: Some(input.reason.clone()),
            ..How::default()
        };
        let done = mutate(ctx, run, move |conn, caller| {
            waive_penalties(conn, caller, input.clone())
        })
        .await?;
        let operation = match done.made.flatten() {
            Some(id) => Some(Operation(super::document::one(ctx, id).await?)),
            None => None,
        };
        Ok(WaivePenaltiesPayload {
            waived: done.user_errors.is_empty(),
            operation,
            user_errors: done.user_errors,
        })
    }
}
