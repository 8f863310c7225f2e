//! Allocations, letters and proposals.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::aging::OpenItem;
use super::document::{maybe, one};
use super::error::UserError;
use super::mutation::{How, mutate};
use super::page::listed;
use super::scalars::{ClientRef, Date, Decimal, ItemRefInput, money, read, show};
use super::text::told;
use super::{Permitted, session};
use crate::domain::access::Caller;
use crate::domain::ids::AllocationId;
use crate::domain::lettering;
use crate::error::Result;
use crate::service::matching::{self, Line};
use crate::store::{self, Conn};

/// An allocation of a credit item to a debit item (imputation). Ended ones stay, with their end.
#[derive(Clone)]
pub struct Allocation(pub store::matching::Allocation);

told! {
    Allocation {
        id, amount, currency, allocated_on as "allocatedOn", effective_on as "effectiveOn",
        unallocated_on as "unallocatedOn", rule, recorded_by as "recordedBy", ended_by as "endedBy",
        ended_reason as "endedReason",
    }
}

listed!(store::matching::Allocation => Allocation);

/// An allocation (imputation).
#[Object]
impl Allocation {
    /// The opaque id.
    pub async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// The amount matched, positive.
    async fn amount(&self) -> Decimal {
        money(self.0.amount, &self.0.currency)
    }
    /// The currency of the amount.
    async fn currency(&self) -> &str {
        &self.0.currency
    }
    /// The day it was matched as of (date de lettrage).
    async fn allocated_on(&self) -> Date {
        self.0.allocated_on.into()
    }
    /// The day it takes effect: the latest of `allocatedOn` and both documents' days.
    async fn effective_on(&self) -> Date {
        self.0.effective_on.into()
    }
    /// The day it ended (délettrage); null while it runs.
    async fn unallocated_on(&self) -> Option<Date> {
        self.0.ended_on.map(Into::into)
    }
    /// What is paid.
    async fn debit(&self, ctx: &Context<'_>) -> Result<OpenItem> {
        OpenItem::now(ctx, one(ctx, self.0.debit_item_id).await?)
    }
    /// What pays it.
    async fn credit(&self, ctx: &Context<'_>) -> Result<OpenItem> {
        OpenItem::now(ctx, one(ctx, self.0.credit_item_id).await?)
    }
    /// The lettering group it stands in now (lettrage); null once it ended.
    async fn matching(&self, ctx: &Context<'_>) -> Result<Option<Matching>> {
        if self.0.ended_on.is_some() {
            return Ok(None);
        }
        let item: store::item::Item = one(ctx, self.0.debit_item_id).await?;
        match item.matching_id {
            Some(id) => Ok(maybe(ctx, id).await?.map(Matching::from)),
            None => Ok(None),
        }
    }
    /// Why: OPERATION, MANUAL, DEBTOR_INDICATION, CREDIT_NOTE_REFERENCE, DEDUCTION, RETURN, BANK (13.2), or a rule of R3.8.
    async fn rule(&self) -> &str {
        &self.0.rule
    }
    /// Who matched.
    async fn recorded_by(&self) -> &str {
        &self.0.recorded_by
    }
    /// Who ended it; null while it runs.
    async fn ended_by(&self) -> Option<&str> {
        self.0.ended_by.as_deref()
    }
    /// Why it was ended; null while it runs, and when nobody said.
    async fn ended_reason(&self) -> Option<&str> {
        self.0.ended_reason.as_deref()
    }
}

/// A lettering group (lettrage).
#[derive(SimpleObject, Clone)]
pub struct Matching {
    /// The letters: upper case when settled whole, lower case while partial (R3.2).
    code: String,
    /// Whether everything in the group is settled.
    complete: bool,
    /// Debits less credits of the group; zero when complete.
    residual: Decimal,
    /// The currency of the residual.
    currency: String,
}

impl From<store::matching::Matching> for Matching {
    fn from(group: store::matching::Matching) -> Matching {
        Matching {
            code: lettering::shown(&group.code, group.complete),
            complete: group.complete,
            residual: money(group.residual, &group.currency),
            currency: group.currency,
        }
    }
}

/// A matching that the rules propose: give its lines to `allocate`, or everything to `autoAllocate`.
#[derive(SimpleObject)]
struct MatchingProposal {
    /// What would be paid.
    debit: OpenItem,
    /// What would pay it.
    credit: OpenItem,
    /// How much, positive.
    amount: Decimal,
    /// The rule's code, in the order of R3.9 and R3.8.
    rule: String,
    /// The reason in words, with the rule's number.
    reason: String,
}

/// Matching.
#[derive(Default)]
pub struct MatchingQuery;

#[Object]
impl MatchingQuery {
    /// Proposes matchings for what a client has open: a credit note's own invoice first (R3.9), then what
    /// the payer indicated, then debts already due, oldest first (R3.8). Nothing is written.
    #[graphql(guard = "Permitted(\"Query.matchingProposals\")")]
    async fn matching_proposals(
        &self,
        ctx: &Context<'_>,
        client: ClientRef,
    ) -> Result<Vec<MatchingProposal>> {
        let target = client.into();
        let proposed = super::document::found(
            session(ctx)?
                .read(move |conn, caller| matching::propose(conn, caller, &target))
                .await,
        )?;
        proposed
            .unwrap_or_default()
            .into_iter()
            .map(|found| {
                Ok(MatchingProposal {
                    amount: money(found.amount, &found.debit.currency),
                    debit: OpenItem::now(ctx, found.debit)?,
                    credit: OpenItem::now(ctx, found.credit)?,
                    rule: found.rule.code().to_owned(),
                    reason: found.reason,
                })
            })
            .collect()
    }
}

/// One allocation.
#[derive(InputObject, Clone, Debug)]
struct AllocationInput {
    /// What is paid: an invoice, one of its instalments, a deduction, a returned payment.
    debit: ItemRefInput,
    /// What pays it: a payment or a credit note.
    credit: ItemRefInput,
    /// How much; as much as both sides have open when absent.
    amount: Option<Decimal>,
}

/// Allocations to make together: all or none.
#[derive(InputObject, Clone, Debug)]
pub struct AllocateInput {
    /// The allocations, at most 100.
    lines: Vec<AllocationInput>,
    /// The day of matching; today when absent. It takes effect no earlier than both documents. A day long past needs a second person.
    allocated_on: Option<Date>,
    /// Why, for whoever approves it when a second person is needed.
    reason: Option<String>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// What `allocate` did.
#[derive(SimpleObject)]
struct AllocatePayload {
    /// The allocations; null when refused.
    allocations: Option<Vec<Allocation>>,
    /// The lettering group of the first line; null when refused.
    matching: Option<Matching>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// A matching to end.
#[derive(InputObject, Clone, Debug)]
pub struct UnallocateInput {
    /// The allocation.
    allocation: ID,
    /// From which day, at the latest today; today when absent. A day long past needs a second person.
    unallocated_on: Option<Date>,
    /// Why, for the record and for whoever approves it when a second person is needed; at most 500 characters.
    reason: Option<String>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// What `unallocate` did.
#[derive(SimpleObject)]
struct UnallocatePayload {
    /// The ended allocation; null when refused.
    allocation: Option<Allocation>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// Everything that the rules propose for a client, to match at once.
#[derive(InputObject, Clone, Debug)]
pub struct AutoAllocateInput {
    /// The client.
    client: ClientRef,
    /// The day of matching; today when absent.
    allocated_on: Option<Date>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// The allocations of these ids, in order.
pub async fn allocations(ctx: &Context<'_>, ids: &[AllocationId]) -> Result<Vec<Allocation>> {
    let mut found = super::loader(ctx)?
        .load_many(ids.iter().copied())
        .await
        .map_err(super::document::shared)?;
    Ok(ids
        .iter()
        .filter_map(|id| found.remove(id))
        .map(Allocation)
        .collect())
}

async fn payload(
    ctx: &Context<'_>,
    done: super::mutation::Done<Vec<AllocationId>>,
) -> Result<AllocatePayload> {
    let Some(ids) = done.made else {
        return Ok(AllocatePayload {
            allocations: None,
            matching: None,
            user_errors: done.user_errors,
        });
    };
    let allocations = allocations(ctx, &ids).await?;
    let matching = match allocations.first() {
        Some(first) => {
            let item: store::item::Item = one(ctx, first.0.debit_item_id).await?;
            match item.matching_id {
                Some(id) => maybe(ctx, id).await?.map(Matching::from),
                None => None,
            }
        }
        None => None,
    };
    Ok(AllocatePayload {
        allocations: Some(allocations),
        matching,
        user_errors: done.user_errors,
    })
}

/// Matches as the input says.
pub fn allocate(
    conn: &mut Conn,
    caller: &Caller,
    input: AllocateInput,
) -> Result<Vec<AllocationId>> {
    let lines: Vec<Line> = input
        .lines
        .iter()
        .cloned()
        .map(|line| Line {
            debit: line.debit.into(),
            credit: line.credit.into(),
            amount: line.amount.map(|amount| amount.0),
        })
        .collect();
    matching::allocate(conn, caller, &lines, super::scalars::on(input.allocated_on))
}

/// Ends a matching as the input says.
pub fn unallocate(
    conn: &mut Conn,
    caller: &Caller,
    input: UnallocateInput,
) -> Result<AllocationId> {
    let id: AllocationId = read("allocation", "allocation", &input.allocation)?;
    let on = super::scalars::on(input.unallocated_on);
    matching::unallocate(conn, caller, id, on, input.reason.as_deref())?;
    Ok(id)
}

/// Matches everything that is proposed for a client.
pub fn auto_allocate(
    conn: &mut Conn,
    caller: &Caller,
    input: AutoAllocateInput,
) -> Result<Vec<AllocationId>> {
    matching::auto_allocate(
        conn,
        caller,
        &input.client.clone().into(),
        super::scalars::on(input.allocated_on),
    )
}

/// Matching.
#[derive(Default)]
pub struct MatchingMutation;

#[Object]
impl MatchingMutation {
    /// Matches credits with debits of one client, account and currency (lettrage). Never above what is open.
    #[graphql(guard = "Permitted(\"Mutation.allocate\")")]
    async fn allocate(&self, ctx: &Context<'_>, input: AllocateInput) -> Result<AllocatePayload> {
        let how = How {
            idempotency_key: input.idempotency_key.clone(),
            validate_only: input.validate_only,
            reason: input.reason.clone(),
            ..How::default()
        };
        let done = mutate(ctx, how, move |conn, caller| {
            allocate(conn, caller, input.clone())
        })
        .await?;
        payload(ctx, done).await
    }

    /// Ends an allocation from a day on (délettrage): residuals come back, history stays.
    #[graphql(guard = "Permitted(\"Mutation.unallocate\")")]
    async fn unallocate(
        &self,
        ctx: &Context<'_>,
        input: UnallocateInput,
    ) -> Result<UnallocatePayload> {
        let how = How {
            idempotency_key: input.idempotency_key.clone(),
            validate_only: input.validate_only,
            reason: input.reason.clone(),
            ..How::default()
        };
        let done = mutate(ctx, how, move |conn, caller| {
            unallocate(conn, caller, input.clone())
        })
        .await?;
        let allocation = match done.made {
            Some(id) => Some(Allocation(one(ctx, id).await?)),
            None => None,
        };
        Ok(UnallocatePayload {
            allocation,
            user_errors: done.user_errors,
        })
    }

    /// Matches everything that `matchingProposals` proposes for a client.
    #[graphql(guard = "Permitted(\"Mutation.autoAllocate\")")]
    async fn auto_allocate(
        &self,
        ctx: &Context<'_>,
        input: AutoAllocateInput,
    ) -> Result<AllocatePayload> {
        let how = How {
            idempotency_key: input.idempotency_key.clone(),
            validate_only: input.validate_only,
            ..How::default()
        };
        let done = mutate(ctx, how, move |conn, caller| {
            auto_allocate(conn, caller, input.clone())
        })
        .await?;
        payload(ctx, done).await
    }
}
