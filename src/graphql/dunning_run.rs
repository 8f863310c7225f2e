//! Runs of reminders, and the proofs of registered letters.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::client::{Client, code_enum};
use super::document::{maybe, one};
use super::dunning::{DunningAction, DunningChannel};
use super::error::UserError;
use super::mutation::{Done, How, mutate};
use super::operation::how;
use super::page::{self, Asked, Connection, Window, listed};
use super::scalars::{Date, Decimal, Instant, money, on, show};
use super::text::untold;
use super::{Permitted, objects, session};
use crate::domain::ids::{DunningActionId, DunningRunId, DunningRunLineId};
use crate::error::Result;
use crate::service::dunning_run::{self, ProofInput, Scope};
use crate::store::list::{Direction, Sort};
use crate::store::{self};

untold!(DunningRunLine, DunningRun);

code_enum! {
    /// Where a run stands.
    DunningRunStatus {
        /// To be reviewed: lines may be taken out.
        Proposed = "PROPOSED",
        /// May be sent: the server does it by itself, `sendDunningRun` at once.
        Validated = "VALIDATED",
        /// Everything in it was sent, handed to a person, or no longer due.
        Sent = "SENT",
        /// Given up; what was sent of it stays sent.
        Cancelled = "CANCELLED",
    }
}

code_enum! {
    /// What becomes of a reminder in a run.
    DunningRunLineStatus {
        /// Will be sent.
        Ready = "READY",
        /// Taken out by a person: `reason` says why.
        Excluded = "EXCLUDED",
        /// Sent: `action` is the reminder.
        Sent = "SENT",
        /// A person does it (a call, a client without an address): `reason` is the task's kind.
        Task = "TASK",
        /// No longer due when it was to be sent (R7.6): `reason` says why.
        Cancelled = "CANCELLED",
    }
}

code_enum! {
    /// What became of a registered letter (R7.9).
    DunningProofKind {
        /// Deposited at the post office, or sent electronically: the slip.
        Deposit = "DEPOSIT",
        /// Avis de réception.
        Acknowledgment = "ACKNOWLEDGMENT",
        /// The addressee refused it.
        Refused = "REFUSED",
        /// Not fetched in time (pli avisé et non réclamé): the notice remains valid (7.3).
        Unclaimed = "UNCLAIMED",
        /// N'habite pas à l'adresse indiquée: use an electronic registered letter next.
        Undelivered = "UNDELIVERED",
    }
}

listed!(store::dunning_run::Run => DunningRun, store::dunning_run::RunLine => DunningRunLine);

/// A run of reminders.
#[derive(Clone)]
pub struct DunningRun(pub store::dunning_run::Run);

/// How many reminders of a run stand how.
#[derive(SimpleObject)]
struct DunningRunCount {
    /// The state.
    status: DunningRunLineStatus,
    /// How many.
    count: i32,
}

/// A run of reminders (campagne de relance): proposed, reviewed, validated, sent.
#[Object]
impl DunningRun {
    /// The opaque id.
    pub async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// The day it was judged on.
    async fn as_of(&self) -> Date {
        self.0.as_of.into()
    }
    /// Whether the server proposed it, with the levels that need nobody.
    async fn automatic(&self) -> bool {
        self.0.automatic
    }
    /// Where it stands.
    async fn status(&self) -> Result<DunningRunStatus> {
        DunningRunStatus::of(&self.0.status)
    }
    /// How many reminders stand how; states without any are left out.
    async fn counts(&self, ctx: &Context<'_>) -> Result<Vec<DunningRunCount>> {
        let id = self.0.id;
        let rows = session(ctx)?
            .read(move |conn, caller| Ok(store::dunning_run::counts(conn, caller.company, id)?))
            .await?;
        rows.into_iter()
            .map(|(status, count)| {
                Ok(DunningRunCount {
                    status: DunningRunLineStatus::of(&status)?,
                    count: i32::try_from(count).unwrap_or(i32::MAX),
                })
            })
            .collect()
    }
    /// Its reminders, in the order of the clients' numbers.
    async fn lines(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<DunningRunLine>> {
        let id = self.0.id;
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("run lines{id:?}"),
        )?;
        let session = session(ctx)?;
        let sort = Sort {
            column: "t.id",
            sql_type: "uuid",
            direction: Direction::Ascending,
        };
        let from = store::dunning_run::lines_from(session.caller().company, id);
        page::list(session, from, sort, asked, move |conn, caller, ids| {
            let ids: Vec<_> = ids.iter().copied().map(DunningRunLineId).collect();
            Ok(store::dunning_run::lines(
                conn,
                caller.company,
                id,
                Some(&ids),
            )?)
        })
        .await
    }
    /// When it was proposed.
    async fn recorded_at(&self) -> Instant {
        self.0.recorded_at.into()
    }
    /// Who proposed it.
    async fn recorded_by(&self) -> &str {
        &self.0.recorded_by
    }
    /// Who validated it; null until then.
    async fn validated_by(&self) -> Option<&str> {
        self.0.validated_by.as_deref()
    }
    /// When it ended; null until then.
    async fn ended_at(&self) -> Option<Instant> {
        self.0.ended_at.map(Into::into)
    }
}

/// A reminder in a run.
#[derive(Clone)]
pub struct DunningRunLine(store::dunning_run::RunLine);

/// A reminder in a run: one for each client and currency (R7.1).
#[Object]
impl DunningRunLine {
    /// The opaque id.
    pub async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// The client.
    async fn client(&self, ctx: &Context<'_>) -> Result<Client> {
        Ok(Client(one(ctx, self.0.client_id).await?))
    }
    /// Its level; 0 is the courtesy notice.
    async fn level(&self) -> i32 {
        i32::from(self.0.level)
    }
    /// How it reaches the client.
    async fn channel(&self) -> Result<DunningChannel> {
        DunningChannel::of(&self.0.channel)
    }
    /// The currency of the amount.
    async fn currency(&self) -> &str {
        &self.0.currency
    }
    /// What it claims: when it was proposed, and when it was sent once it is.
    async fn claimed(&self) -> Decimal {
        money(self.0.claimed, &self.0.currency)
    }
    /// How many claims it lists.
    async fn items(&self) -> i32 {
        self.0.items
    }
    /// What becomes of it.
    async fn status(&self) -> Result<DunningRunLineStatus> {
        DunningRunLineStatus::of(&self.0.status)
    }
    /// Why it was taken out, handed over or cancelled; null otherwise.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }
    /// The reminder that was sent; null otherwise.
    async fn action(&self, ctx: &Context<'_>) -> Result<Option<DunningAction>> {
        let Some(id) = self.0.action_id else {
            return Ok(None);
        };
        DunningAction::find(ctx, id).await
    }
}

/// Runs of reminders.
#[derive(Default)]
pub struct DunningRunQuery;

#[Object]
impl DunningRunQuery {
    /// Runs of reminders, latest first.
    #[graphql(guard = "Permitted(\"Query.dunningRuns\")")]
    async fn dunning_runs(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<DunningRun>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            "dunning runs",
        )?;
        let session = session(ctx)?;
        let sort = Sort {
            column: "t.as_of",
            sql_type: "date",
            direction: Direction::Descending,
        };
        let from = store::dunning_run::from(session.caller().company);
        page::list(session, from, sort, asked, |conn, caller, ids| {
            let ids: Vec<DunningRunId> = ids.iter().copied().map(DunningRunId).collect();
            Ok(store::dunning_run::by_ids(conn, caller.company, &ids)?)
        })
        .await
    }

    /// A run of reminders; null when there is no such run.
    #[graphql(guard = "Permitted(\"Query.dunningRun\")")]
    async fn dunning_run(&self, ctx: &Context<'_>, id: ID) -> Result<Option<DunningRun>> {
        use crate::domain::ids::Id;
        match DunningRunId::read(&id) {
            Some(id) => Ok(maybe(ctx, id).await?.map(DunningRun)),
            None => Ok(None),
        }
    }
}

/// A run to propose.
#[derive(InputObject, Clone, Debug)]
struct ProposeDunningRunInput {
    /// Only clients with this scenario; refused when it is closed.
    scenario: Option<String>,
    /// Only these levels; all when absent.
    #[graphql(default)]
    levels: Vec<i32>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// Lines to take out of a run, or to put back.
#[derive(InputObject, Clone, Debug)]
struct ReviewDunningRunInput {
    /// The run, before it is validated.
    run: ID,
    /// Its lines, 100 at most.
    lines: Vec<ID>,
    /// Why they are taken out; absent puts them back.
    reason: Option<String>,
}

/// What happened to a run.
#[derive(SimpleObject)]
struct DunningRunPayload {
    /// The run as it is now; null when refused.
    run: Option<DunningRun>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// What became of a registered letter.
#[derive(InputObject, Clone, Debug)]
struct RecordLetterProofInput {
    /// The reminder that the letter was.
    action: ID,
    /// What happened; the deposit first.
    kind: DunningProofKind,
    /// The day; today when absent.
    happened_on: Option<Date>,
    /// The number of the slip or letter.
    reference: String,
    /// The scanned slip or acknowledgment, attached to the reminder or the client.
    file: Option<ID>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// What `recordLetterProof` did.
#[derive(SimpleObject)]
struct LetterProofPayload {
    /// The reminder with its proofs; null when refused.
    action: Option<DunningAction>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

async fn ran(ctx: &Context<'_>, done: Done<DunningRunId>) -> Result<DunningRunPayload> {
    let run = match done.made {
        Some(id) => maybe(ctx, id).await?.map(DunningRun),
        None => None,
    };
    Ok(DunningRunPayload {
        run,
        user_errors: done.user_errors,
    })
}

/// Runs of reminders.
#[derive(Default)]
pub struct DunningRunMutation;

#[Object]
impl DunningRunMutation {
    /// Proposes the run of today: one line for each client and currency to whom a reminder is due. Asked again on the
    /// same day it answers the run that is under way; `NOT_CHASEABLE` when nothing is due.
    #[graphql(guard = "Permitted(\"Mutation.proposeDunningRun\")")]
    async fn propose_dunning_run(
        &self,
        ctx: &Context<'_>,
        #[graphql(default)] input: Option<ProposeDunningRunInput>,
    ) -> Result<DunningRunPayload> {
        let (key, check) = input
            .as_ref()
            .map(|input| (input.idempotency_key.clone(), input.validate_only))
            .unwrap_or_default();
        let scope = Scope {
            scenario: input.as_ref().and_then(|input| input.scenario.clone()),
            levels: input.map(|input| input.levels).unwrap_or_default(),
            automatic: false,
        };
        let done = mutate(ctx, how(&key, check), move |conn, caller| {
            dunning_run::propose(conn, caller, &scope)
        })
        .await?;
        ran(ctx, done).await
    }

    /// Takes reminders out of a run with a reason, or puts them back without one.
    #[graphql(guard = "Permitted(\"Mutation.reviewDunningRun\")")]
    async fn review_dunning_run(
        &self,
        ctx: &Context<'_>,
        input: ReviewDunningRunInput,
    ) -> Result<DunningRunPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            let lines: Vec<String> = input.lines.iter().map(|line| line.0.clone()).collect();
            dunning_run::review(conn, caller, &input.run, &lines, input.reason.as_deref())
        })
        .await?;
        ran(ctx, done).await
    }

    /// Validates a run: it may be sent. `APPROVAL_REQUIRED` when it holds a formal notice above the threshold of its
    /// level and the caller may not approve it.
    #[graphql(guard = "Permitted(\"Mutation.validateDunningRun\")")]
    async fn validate_dunning_run(&self, ctx: &Context<'_>, run: ID) -> Result<DunningRunPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            dunning_run::validate(conn, caller, &run)
        })
        .await?;
        ran(ctx, done).await
    }

    /// Sends the next 50 reminders of a validated run, each judged anew at that moment (R7.6): mails go to the outbox,
    /// letters become files and tasks, calls become tasks. Repeat it until the run is `SENT`, or leave the rest to the
    /// server; on a run that was sent it changes nothing.
    #[graphql(guard = "Permitted(\"Mutation.sendDunningRun\")")]
    async fn send_dunning_run(&self, ctx: &Context<'_>, run: ID) -> Result<DunningRunPayload> {
        let objects = objects(ctx)?.clone();
        let done = mutate(ctx, How::default(), move |conn, caller| {
            dunning_run::send(conn, caller, &objects, &run, dunning_run::AT_ONCE)
        })
        .await?;
        ran(ctx, done).await
    }

    /// Gives a run up; what was sent of it stays sent.
    #[graphql(guard = "Permitted(\"Mutation.cancelDunningRun\")")]
    async fn cancel_dunning_run(&self, ctx: &Context<'_>, run: ID) -> Result<DunningRunPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            dunning_run::cancel(conn, caller, &run)
        })
        .await?;
        ran(ctx, done).await
    }

    /// Records what became of a registered letter: the deposit slip, then the acknowledgment, or why there is none
    /// (R7.9). Without one after 15 days a task asks for it.
    #[graphql(guard = "Permitted(\"Mutation.recordLetterProof\")")]
    async fn record_letter_proof(
        &self,
        ctx: &Context<'_>,
        input: RecordLetterProofInput,
    ) -> Result<LetterProofPayload> {
        let run = how(&input.idempotency_key, false);
        let done: Done<DunningActionId> = mutate(ctx, run, move |conn, caller| {
            let input = ProofInput {
                action: input.action.0.clone(),
                kind: input.kind.code(),
                happened_on: on(input.happened_on),
                reference: input.reference.clone(),
                file: input.file.as_ref().map(|file| file.0.clone()),
            };
            dunning_run::prove(conn, caller, &input)
        })
        .await?;
        let action = match done.made {
            Some(id) => DunningAction::find(ctx, id).await?,
            None => None,
        };
        Ok(LetterProofPayload {
            action,
            user_errors: done.user_errors,
        })
    }
}
