//! Provision runs: proposed, approved, posted to 491, cancelled; and the history of 491 (section 5).

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use uuid::Uuid;

use super::client::{Client, client_filter_id, code_enum};
use super::document::one;
use super::error::UserError;
use super::journal::{Entry, entries};
use super::mutation::{Done, mutate};
use super::operation::how;
use super::page::{self, Asked, Connection, Listed, Window, listed, single};
use super::provision::ProvisionPolicyInput;
use super::scalars::{
    ClientRef, Date, Decimal, Instant, JsonObject, at, money, on, rate, show, two_ways,
};
use super::text::untold;
use super::{Permitted, session};
use crate::domain::ids::{ClientId, ProvisionRunId};
use crate::error::Result;
use crate::service::{books, provision_run};
use crate::store::list::{Direction, Sort};
use crate::store::provision_run::{RunClient, RunLine};
use crate::store::{self};

untold!(ProvisionRunClient, ProvisionRun, ProvisionMovement);

code_enum! {
    /// Where a run stands.
    ProvisionRunStatus {
        /// Computed and kept; nothing is posted.
        Proposed = "PROPOSED",
        /// Approved by a second person; nothing is posted.
        Approved = "APPROVED",
        /// Rejected, with a reason.
        Rejected = "REJECTED",
        /// In the books.
        Posted = "POSTED",
        /// Taken back.
        Cancelled = "CANCELLED",
    }
}

code_enum! {
    /// Why a client's provision moved.
    ProvisionMovementKind {
        /// Taken over from before.
        Opening = "OPENING",
        /// A run was posted.
        Run = "RUN",
        /// A run was cancelled.
        Cancellation = "CANCELLATION",
        /// Released by a loss (R2.20).
        Loss = "LOSS",
        /// A loss was taken back.
        Reversal = "REVERSAL",
    }
}

/// A provision run: what it computed when it was proposed never changes. Amounts in the company's currency.
#[derive(Clone)]
pub struct ProvisionRun(pub store::provision_run::Run);

listed!(store::provision_run::Run => ProvisionRun);

/// Sums of a run. Charges and releases are never netted (R5.10).
#[derive(SimpleObject)]
struct ProvisionRunTotals {
    /// What the claims require.
    required: Decimal,
    /// What 491 held before.
    previous: Decimal,
    /// Dotations (68174).
    charge: Decimal,
    /// Reprises (78174).
    release: Decimal,
}

/// A claim in a run, in its own currency.
#[derive(SimpleObject, Clone)]
struct ProvisionRunClaim {
    /// Number of the document.
    reference: String,
    /// Due date.
    due_on: Date,
    /// What was open, VAT included.
    open: Decimal,
    /// What was left after unallocated credits (R5.7).
    exposure: Decimal,
    /// Base net of VAT, insured part included.
    base: Decimal,
    /// Part of the base that the insurer pays (R5.6).
    insured: Decimal,
    /// Disputed base net of VAT (R5.8).
    disputed_base: Decimal,
    /// Rate on the uninsured base, percent.
    rate: Decimal,
    /// Rate on the disputed base, percent.
    disputed_rate: Decimal,
    /// The provision of the claim.
    provision: Decimal,
    /// What decided the rate: MATRIX, DISPUTED, INDIVIDUAL, LIQUIDATION or INSOLVENCY.
    method: String,
    /// Whether tax law accepts the charge (R5.4).
    deductible: bool,
    /// The currency of the amounts.
    currency: String,
}

impl From<RunLine> for ProvisionRunClaim {
    fn from(line: RunLine) -> ProvisionRunClaim {
        let amount = |minor| money(minor, &line.currency);
        ProvisionRunClaim {
            due_on: line.due_on.into(),
            open: amount(line.open),
            exposure: amount(line.exposure),
            base: amount(line.base),
            insured: amount(line.insured),
            disputed_base: amount(line.disputed_base),
            rate: rate(line.rate),
            disputed_rate: rate(line.disputed_rate),
            provision: amount(line.provision),
            deductible: line.deductible,
            reference: line.reference,
            method: line.method,
            currency: line.currency,
        }
    }
}

/// A client in a run.
#[derive(SimpleObject, Clone)]
struct ProvisionRunClient {
    /// The client.
    client: Client,
    /// What the claims require.
    required: Decimal,
    /// What 491 held before.
    previous: Decimal,
    /// Dotation (68174).
    charge: Decimal,
    /// Reprise (78174).
    release: Decimal,
    /// The claims behind it, oldest due first.
    claims: Vec<ProvisionRunClaim>,
}

/// A provision run.
#[Object]
impl ProvisionRun {
    /// The opaque id.
    pub async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// Gapless number of its series.
    async fn number(&self) -> &str {
        &self.0.number
    }
    /// The closing day.
    async fn as_of(&self) -> Date {
        self.0.as_of.into()
    }
    /// Where it stands.
    async fn status(&self) -> Result<ProvisionRunStatus> {
        ProvisionRunStatus::of(&self.0.status)
    }
    /// Name of the stored policy; null for rates of the moment.
    async fn policy_name(&self) -> Option<&str> {
        self.0.policy_name.as_deref()
    }
    /// Version of the stored policy; null for rates of the moment.
    async fn policy_version(&self) -> Option<i32> {
        self.0.policy_version
    }
    /// The rates it was computed with.
    async fn rates(&self) -> JsonObject {
        JsonObject(self.0.content.clone())
    }
    /// The company's currency.
    async fn currency(&self) -> &str {
        &self.0.currency
    }
    /// Sums over all clients.
    async fn totals(&self, ctx: &Context<'_>) -> Result<ProvisionRunTotals> {
        let id = self.0.id;
        let sums = session(ctx)?
            .read(move |conn, caller| Ok(store::provision_run::totals(conn, caller.company, id)?))
            .await?;
        let amount = |minor| money(minor, &self.0.currency);
        Ok(ProvisionRunTotals {
            required: amount(sums.required),
            previous: amount(sums.previous),
            charge: amount(sums.charge),
            release: amount(sums.release),
        })
    }
    /// Its clients by number, with their claims.
    async fn clients(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<ProvisionRunClient>> {
        let run = self.0.id;
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("run{}", run.0),
        )?;
        let keyset = asked.keyset.clone();
        let session = session(ctx)?.clone();
        let (rows, more, lines) = session
            .read(move |conn, caller| {
                let (rows, more) =
                    store::provision_run::client_page(conn, caller.company, run, &keyset)?;
                let ids: Vec<ClientId> = rows.iter().map(|row| row.client_id).collect();
                let lines = store::provision_run::lines(conn, caller.company, run, &ids)?;
                Ok((rows, more, lines))
            })
            .await?;
        let (mut cursors, mut nodes) = (Vec::new(), Vec::new());
        for row in rows {
            let node = self.client(ctx, row, &lines).await?;
            cursors.push(asked.cursor(&node.client.0.number, node.client.0.id.0));
            nodes.push(node);
        }
        Ok(Connection {
            cursors,
            nodes,
            ends: asked.ends(more),
            count: page::counted(move || {
                let session = session.clone();
                async move {
                    session
                        .read(move |conn, caller| {
                            let all =
                                store::provision_run::clients(conn, caller.company, run)?.len();
                            Ok(i64::try_from(all).unwrap_or(i64::MAX))
                        })
                        .await
                }
            }),
        })
    }
    /// Who proposed it.
    async fn proposed_by(&self) -> &str {
        &self.0.recorded_by
    }
    /// Who approved or rejected it; null until then.
    async fn approved_by(&self) -> Option<&str> {
        self.0.approved_by.as_deref()
    }
    /// Why it was decided or cancelled so; null when nothing was said.
    async fn decision(&self) -> Option<&str> {
        self.0.decision.as_deref()
    }
    /// Accounting date of its entries; null until posted.
    async fn posted_on(&self) -> Option<Date> {
        self.0.posted_on.map(Into::into)
    }
    /// Who posted it; null until then.
    async fn posted_by(&self) -> Option<&str> {
        self.0.posted_by.as_deref()
    }
    /// Accounting date of the reversal; null unless cancelled after posting.
    async fn cancelled_on(&self) -> Option<Date> {
        self.0.cancelled_on.map(Into::into)
    }
    /// Its journal entries: charges, releases, and their reversal.
    async fn entries(&self, ctx: &Context<'_>) -> Result<Vec<Entry>> {
        entries(ctx, self.0.id.0).await
    }
}

impl ProvisionRun {
    async fn client(
        &self,
        ctx: &Context<'_>,
        row: RunClient,
        lines: &[RunLine],
    ) -> Result<ProvisionRunClient> {
        let amount = |minor| money(minor, &self.0.currency);
        Ok(ProvisionRunClient {
            client: Client(one(ctx, row.client_id).await?),
            required: amount(row.required),
            previous: amount(row.previous),
            charge: amount(row.charge),
            release: amount(row.release),
            claims: lines
                .iter()
                .filter(|line| line.client_id == row.client_id)
                .cloned()
                .map(Into::into)
                .collect(),
        })
    }
}

/// A movement of a client's provision, in the company's currency.
#[derive(Clone)]
pub struct ProvisionMovement(store::doubtful::Movement, String);

/// A movement of a client's provision (491).
#[Object]
impl ProvisionMovement {
    /// The client.
    async fn client(&self, ctx: &Context<'_>) -> Result<Client> {
        Ok(Client(one(ctx, self.0.client_id).await?))
    }
    /// Accounting date.
    async fn posted_on(&self) -> Date {
        self.0.posted_on.into()
    }
    /// Why it moved.
    async fn kind(&self) -> Result<ProvisionMovementKind> {
        ProvisionMovementKind::of(&self.0.kind)
    }
    /// Positive when the provision grew, negative when it was released.
    async fn amount(&self) -> Decimal {
        money(self.0.amount, &self.1)
    }
    /// The company's currency.
    async fn currency(&self) -> &str {
        &self.1
    }
    /// Who recorded it.
    async fn recorded_by(&self) -> &str {
        &self.0.recorded_by
    }
}

impl Listed for ProvisionMovement {
    type View = ProvisionMovement;
    fn id(&self) -> Uuid {
        self.0.id
    }
    fn view(self) -> ProvisionMovement {
        self
    }
}

/// Names a provision run: exactly one of its id or its number.
#[derive(async_graphql::OneofObject, Clone, Debug)]
enum ProvisionRunRef {
    /// The opaque id.
    Id(ID),
    /// The run's number.
    Number(String),
}
two_ways!(ProvisionRunRef);

/// Provision runs.
#[derive(Default)]
pub struct ProvisionRunQuery;

#[Object]
impl ProvisionRunQuery {
    /// A provision run; null when there is none.
    #[graphql(guard = "Permitted(\"Query.provisionRun\")")]
    async fn provision_run(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "ref")] target: ProvisionRunRef,
    ) -> Result<Option<ProvisionRun>> {
        let target = target.into();
        single(ctx, move |conn, caller| {
            provision_run::find(conn, caller, "ref", &target)
        })
        .await
    }

    /// Provision runs by closing day, latest first.
    #[graphql(guard = "Permitted(\"Query.provisionRuns\")")]
    async fn provision_runs(
        &self,
        ctx: &Context<'_>,
        statuses: Option<Vec<ProvisionRunStatus>>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<ProvisionRun>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("runs{statuses:?}"),
        )?;
        let statuses: Vec<String> = statuses
            .unwrap_or_default()
            .into_iter()
            .map(|status| status.code().to_owned())
            .collect();
        let session = session(ctx)?;
        let sort = Sort {
            column: "t.as_of",
            sql_type: "date",
            direction: Direction::Descending,
        };
        page::list(
            session,
            store::provision_run::from(session.caller().company, &statuses),
            sort,
            asked,
            |conn, caller, ids| {
                let ids: Vec<ProvisionRunId> = ids.iter().copied().map(ProvisionRunId).collect();
                Ok(store::provision_run::by_ids(conn, caller.company, &ids)?)
            },
        )
        .await
    }

    /// The history of provisions (491): each movement by accounting date, latest first.
    #[graphql(guard = "Permitted(\"Query.provisionMovements\")")]
    async fn provision_movements(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of this client; of all when absent.")] client: Option<ClientRef>,
        #[graphql(desc = "Posted by this day; all when absent.")] as_of: Option<Date>,
        #[graphql(desc = "As recorded by this instant; now when absent.")] known_at: Option<
            Instant,
        >,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<ProvisionMovement>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("movements{client:?}{as_of:?}{known_at:?}"),
        )?;
        let client = client_filter_id(ctx, client).await?;
        let session = session(ctx)?;
        let sort = Sort {
            column: "t.posted_on",
            sql_type: "date",
            direction: Direction::Descending,
        };
        page::list(
            session,
            store::doubtful::movements_from(
                session.caller().company,
                client,
                on(as_of),
                at(known_at),
            ),
            sort,
            asked,
            |conn, caller, ids| {
                let currency = books::open(conn, caller)?.currency.code().to_owned();
                Ok(
                    store::doubtful::movements_by_ids(conn, caller.company, ids)?
                        .into_iter()
                        .map(|row| ProvisionMovement(row, currency.clone()))
                        .collect(),
                )
            },
        )
        .await
    }
}

/// A run to propose.
#[derive(InputObject, Clone, Debug)]
struct ProposeProvisionRunInput {
    /// The closing day.
    as_of: Date,
    /// The policy; the company's default when absent.
    policy: Option<ProvisionPolicyInput>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// A decision on a run.
#[derive(InputObject, Clone, Debug)]
struct DecideProvisionRunInput {
    /// The run.
    run: ProvisionRunRef,
    /// Approve it, or reject it.
    approve: bool,
    /// Why; needed to reject (R12.6).
    reason: Option<String>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// A run to cancel.
#[derive(InputObject, Clone, Debug)]
struct CancelProvisionRunInput {
    /// The run.
    run: ProvisionRunRef,
    /// Accounting date of the reversal; today when absent.
    on: Option<Date>,
    /// Why.
    reason: String,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// What happened to a run.
#[derive(SimpleObject)]
struct ProvisionRunPayload {
    /// The run as it is now; null when refused.
    run: Option<ProvisionRun>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

async fn payload(ctx: &Context<'_>, done: Done<ProvisionRunId>) -> Result<ProvisionRunPayload> {
    let run = match done.made {
        Some(id) => Some(ProvisionRun(one(ctx, id).await?)),
        None => None,
    };
    Ok(ProvisionRunPayload {
        run,
        user_errors: done.user_errors,
    })
}

/// Provision runs.
#[derive(Default)]
pub struct ProvisionRunMutation;

#[Object]
impl ProvisionRunMutation {
    /// Computes a provision run and keeps it with its claims; nothing is posted. `doubtfulDebtProvision` is the preview.
    #[graphql(guard = "Permitted(\"Mutation.proposeProvisionRun\")")]
    async fn propose_provision_run(
        &self,
        ctx: &Context<'_>,
        input: ProposeProvisionRunInput,
    ) -> Result<ProvisionRunPayload> {
        let run = how(&input.idempotency_key, input.validate_only);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            let policy = input.policy.map(ProvisionPolicyInput::read);
            provision_run::propose(conn, caller, input.as_of.0, policy)
        })
        .await?;
        payload(ctx, done).await
    }

    /// Approves a proposed run, or rejects it: never by its author while duties are segregated (R12.1).
    #[graphql(guard = "Permitted(\"Mutation.decideProvisionRun\")")]
    async fn decide_provision_run(
        &self,
        ctx: &Context<'_>,
        input: DecideProvisionRunInput,
    ) -> Result<ProvisionRunPayload> {
        let run = how(&input.idempotency_key, false);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            provision_run::decide(
                conn,
                caller,
                &input.run.into(),
                input.approve,
                input.reason.as_deref(),
            )
        })
        .await?;
        payload(ctx, done).await
    }

    /// Posts an approved run: D 68174 / C 491 and D 491 / C 78174, client by client (R5.10). Posting twice
    /// changes nothing.
    #[graphql(guard = "Permitted(\"Mutation.postProvisionRun\")")]
    async fn post_provision_run(
        &self,
        ctx: &Context<'_>,
        run: ProvisionRunRef,
    ) -> Result<ProvisionRunPayload> {
        let target = run.into();
        let done = mutate(ctx, how(&None, false), move |conn, caller| {
            provision_run::post(conn, caller, &target)
        })
        .await?;
        payload(ctx, done).await
    }

    /// Cancels a run; the last posted one is reversed (R2.2).
    #[graphql(guard = "Permitted(\"Mutation.cancelProvisionRun\")")]
    async fn cancel_provision_run(
        &self,
        ctx: &Context<'_>,
        input: CancelProvisionRunInput,
    ) -> Result<ProvisionRunPayload> {
        let run = how(&input.idempotency_key, false);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            provision_run::cancel(conn, caller, &input.run.into(), on(input.on), &input.reason)
        })
        .await?;
        payload(ctx, done).await
    }
}
