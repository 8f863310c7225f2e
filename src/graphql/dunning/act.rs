//! What saves scenarios, and records reminders and promises.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::{
    CourtesyNotice, DunningAction, DunningChannel, DunningLevel, DunningScenario, Promise, least,
};
use crate::domain::dunning::{self as rules, Scenario};
use crate::domain::ids::PromiseId;
use crate::error::Result;
use crate::graphql::client::Client;
use crate::graphql::document::one;
use crate::graphql::error::UserError;
use crate::graphql::loaders::BooksCurrency;
use crate::graphql::mutation::{Done, How, mutate};
use crate::graphql::operation::how;
use crate::graphql::scalars::{ClientRef, Date, Decimal, ItemRefInput, on};
use crate::graphql::{Permitted, session};
use crate::service::dunning::{self, ActionInput, PromiseInput};
use crate::store;

/// A scenario to save; it becomes the next version.
#[derive(InputObject, Clone, Debug)]
struct SaveDunningScenarioInput {
    /// A segment's code, or a name of the company's own: capital letters, digits, underscores.
    name: String,
    /// Whether these clients are reminded at all.
    #[graphql(default = true)]
    chased: bool,
    /// Days between two actions to one client, at least.
    #[graphql(default = 7)]
    min_gap_days: i32,
    /// What is below this is not worth a reminder; 5.00 when absent.
    min_residual: Option<Decimal>,
    /// Whether reminders may state interest and the 40 € between professionals.
    #[graphql(default = true)]
    between_professionals: bool,
    /// The levels, from 1 without a gap, each later than the one before.
    levels: Vec<DunningLevel>,
    /// The courtesy notice; none when absent.
    courtesy: Option<CourtesyNotice>,
    /// Close it: no run uses it any more.
    #[graphql(default)]
    closed: bool,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// What `saveDunningScenario` did.
#[derive(SimpleObject)]
struct DunningScenarioPayload {
    /// The scenario as it is in force; null when refused.
    scenario: Option<DunningScenario>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// Which scenario a client has.
#[derive(InputObject, Clone, Debug)]
struct SetDunningScenarioInput {
    /// The client.
    client: ClientRef,
    /// The scenario's name; that of the client's segment again when absent.
    name: Option<String>,
}

/// A client whose scenario was set.
#[derive(SimpleObject)]
struct DunningClientPayload {
    /// The client; null when refused.
    client: Option<Client>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// A reminder that somebody made.
#[derive(InputObject, Clone, Debug)]
struct RecordDunningActionInput {
    /// The client.
    client: ClientRef,
    /// The currency; the client's when absent.
    currency: Option<String>,
    /// The level that was seen in the preview: refused with `CONFLICT` when another one is due by now (R7.6).
    level: Option<i32>,
    /// How it reached the client; as the scenario has it when absent.
    channel: Option<DunningChannel>,
    /// The day; today when absent, never later.
    done_on: Option<Date>,
    /// Whom it was sent to, or who was spoken to.
    recipient: Option<String>,
    /// The proof that is kept; needed where the level says so.
    proof: Option<String>,
    /// What was said or agreed.
    note: Option<String>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// What `recordDunningAction` did.
#[derive(SimpleObject)]
struct DunningActionPayload {
    /// The reminder; null when refused.
    action: Option<DunningAction>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// A promise to record.
#[derive(InputObject, Clone, Debug)]
struct RecordPromiseInput {
    /// Who promises.
    client: ClientRef,
    /// How much; at most what is open on the items.
    amount: Decimal,
    /// The currency; the client's when absent.
    currency: Option<String>,
    /// The day it is for, today or later.
    due_on: Date,
    /// What is promised; what is late when absent, the oldest first, as far as the amount goes.
    #[graphql(default)]
    items: Vec<ItemRefInput>,
    /// What was said.
    note: Option<String>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// A promise to take back.
#[derive(InputObject, Clone, Debug)]
struct CancelPromiseInput {
    /// The promise.
    promise: ID,
    /// Why, kept for ever.
    reason: String,
}

/// What happened to a promise.
#[derive(SimpleObject)]
struct PromisePayload {
    /// The promise as it is now; null when refused.
    promise: Option<Promise>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

async fn promised(ctx: &Context<'_>, done: Done<PromiseId>) -> Result<PromisePayload> {
    let promise = match done.made {
        Some(id) => session(ctx)?
            .read(move |conn, caller| {
                Ok(store::dunning::promises_by_ids(conn, caller.company, &[id])?.pop())
            })
            .await?
            .map(Promise),
        None => None,
    };
    Ok(PromisePayload {
        promise,
        user_errors: done.user_errors,
    })
}

/// Dunning.
#[derive(Default)]
pub struct DunningMutation;

#[Object]
impl DunningMutation {
    /// Saves a dunning scenario as its next version; versions before stay with the reminders they made.
    #[graphql(guard = "Permitted(\"Mutation.saveDunningScenario\")")]
    async fn save_dunning_scenario(
        &self,
        ctx: &Context<'_>,
        input: SaveDunningScenarioInput,
    ) -> Result<DunningScenarioPayload> {
        let run = how(&input.idempotency_key, input.validate_only);
        let done = mutate(ctx, run, move |conn, caller| {
            let books = crate::service::books::open(conn, caller)?;
            let min_residual = match input.min_residual {
                Some(amount) => least("minResidual", amount, books.currency)?,
                None => Scenario::usual().min_residual,
            };
            let courtesy = match &input.courtesy {
                Some(notice) => Some(rules::Courtesy {
                    // One that is out of range is told with the others.
                    days_before: u16::try_from(notice.days_before).unwrap_or(u16::MAX),
                    min_amount: least("courtesy.minAmount", notice.min_amount, books.currency)?,
                }),
                None => None,
            };
            let gap = u16::try_from(input.min_gap_days).unwrap_or(u16::MAX);
            let scenario = Scenario {
                chased: input.chased,
                min_gap_days: gap,
                min_residual,
                between_professionals: input.between_professionals,
                levels: input
                    .levels
                    .iter()
                    .enumerate()
                    .map(|(position, level)| level.read(position, books.currency))
                    .collect::<Result<_>>()?,
                courtesy,
                closed: input.closed,
            };
            dunning::save_scenario(conn, caller, &input.name, &scenario)
        })
        .await?;
        let books = one(ctx, BooksCurrency).await?;
        let scenario = match done.made {
            Some(name) => session(ctx)?
                .read(dunning::scenarios)
                .await?
                .get(&name)
                .map(|chosen| DunningScenario::of(chosen, books))
                .transpose()?,
            None => None,
        };
        Ok(DunningScenarioPayload {
            scenario,
            user_errors: done.user_errors,
        })
    }

    /// Gives a client a scenario other than its segment's, or that one again.
    #[graphql(guard = "Permitted(\"Mutation.setDunningScenario\")")]
    async fn set_dunning_scenario(
        &self,
        ctx: &Context<'_>,
        input: SetDunningScenarioInput,
    ) -> Result<DunningClientPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            let client = input.client.clone().into();
            dunning::choose(conn, caller, &client, input.name.as_deref())
        })
        .await?;
        let client = match done.made {
            Some(id) => Some(Client(one(ctx, id).await?)),
            None => None,
        };
        Ok(DunningClientPayload {
            client,
            user_errors: done.user_errors,
        })
    }

    /// Records a reminder that was made, with the figures of the moment (R7.9): the level that is due by the
    /// preview, never one that skips another. `NOT_CHASEABLE` when none is due.
    #[graphql(guard = "Permitted(\"Mutation.recordDunningAction\")")]
    async fn record_dunning_action(
        &self,
        ctx: &Context<'_>,
        input: RecordDunningActionInput,
    ) -> Result<DunningActionPayload> {
        let run = how(&input.idempotency_key, input.validate_only);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            let input = ActionInput {
                client: input.client.into(),
                currency: input.currency,
                level: input.level,
                channel: input
                    .channel
                    .and_then(|channel| rules::Channel::read(channel.code())),
                done_on: on(input.done_on),
                recipient: input.recipient,
                proof: input.proof,
                note: input.note,
            };
            dunning::record(conn, caller, &input)
        })
        .await?;
        let action = match done.made {
            Some(id) => DunningAction::find(ctx, id).await?,
            None => None,
        };
        Ok(DunningActionPayload {
            action,
            user_errors: done.user_errors,
        })
    }

    /// Records a promise to pay; its items are not chased until its day has passed (R7.2).
    #[graphql(guard = "Permitted(\"Mutation.recordPromise\")")]
    async fn record_promise(
        &self,
        ctx: &Context<'_>,
        input: RecordPromiseInput,
    ) -> Result<PromisePayload> {
        let run = how(&input.idempotency_key, input.validate_only);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            let input = PromiseInput {
                client: input.client.into(),
                amount: input.amount.0,
                currency: input.currency,
                due_on: input.due_on.0,
                items: input.items.into_iter().map(Into::into).collect(),
                note: input.note,
            };
            dunning::promise(conn, caller, &input)
        })
        .await?;
        promised(ctx, done).await
    }

    /// Takes a promise back, with the reason: its items are chased again at once.
    #[graphql(guard = "Permitted(\"Mutation.cancelPromise\")")]
    async fn cancel_promise(
        &self,
        ctx: &Context<'_>,
        input: CancelPromiseInput,
    ) -> Result<PromisePayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            dunning::cancel_promise(conn, caller, &input.promise, &input.reason)
        })
        .await?;
        promised(ctx, done).await
    }
}
