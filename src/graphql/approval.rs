//! Four eyes (section 12): the queue of what waits for a second person, and its decisions.

use async_graphql::{Context, ID, InputObject, InputType, Object, SimpleObject, Value};
use serde::Serialize;

use super::client::{Client, client_filter_id, code_enum};
use super::document::{maybe, one};
use super::error::UserError;
use super::mutation::{Done, mutate};
use super::operation::how;
use super::page::{self, Asked, Connection, Window, listed};
use super::scalars::{ClientRef, Decimal, Instant, JsonObject, money, show};
use super::text::untold;
use super::{Permitted, loader, session};
use super::{bank, client, dispute, document, loaders, matching, penalty};
use crate::domain::access::{Action, Caller};
use crate::domain::ids::{ApprovalId, Id};
use crate::error::{Error, Result};
use crate::service::{approval as service, books};
use crate::store::approval::{Event, Request, RulesInForce, Wanted};
use crate::store::list::{Direction, Sort};
use crate::store::{self, Conn};

untold!(ApprovalRequest);

/// A mutation that may have to wait: how its kept input is done.
type Performer = fn(&mut Conn, &Caller, serde_json::Value) -> Result<serde_json::Value>;

/// The mutations that a second person may have to approve.
fn performer(operation: &str) -> Option<Performer> {
    Some(match operation {
        "issueCreditNote" => {
            |conn, caller, input| run(conn, caller, input, document::issue_credit_note)
        }
        "resolveDispute" => {
            |conn, caller, input| run(conn, caller, input, dispute::resolve_dispute)
        }
        "resolveDeduction" => {
            |conn, caller, input| run(conn, caller, input, dispute::resolve_deduction)
        }
        "setCreditTerms" => {
            |conn, caller, input| run(conn, caller, input, client::set_credit_terms)
        }
        "linkPayerAccount" => {
            |conn, caller, input| run(conn, caller, input, bank::link_payer_account)
        }
        "allocate" => |conn, caller, input| run(conn, caller, input, matching::allocate),
        "autoAllocate" => |conn, caller, input| run(conn, caller, input, matching::auto_allocate),
        "unallocate" => |conn, caller, input| run(conn, caller, input, matching::unallocate),
        "waivePenalties" => {
            |conn, caller, input| run(conn, caller, input, penalty::waive_penalties)
        }
        _ => return None,
    })
}

/// Whether a mutation may have to wait for a second person.
pub fn may_wait(operation: &str) -> bool {
    performer(operation).is_some()
}

/// Reads an input as the API does, defaults included, and does it.
fn run<I: InputType, T: Serialize>(
    conn: &mut Conn,
    caller: &Caller,
    input: serde_json::Value,
    work: fn(&mut Conn, &Caller, I) -> Result<T>,
) -> Result<serde_json::Value> {
    let unread = |what: String| Error::Internal(format!("kept input: {what}"));
    let value = Value::from_json(input).map_err(|error| unread(error.to_string()))?;
    let input = I::parse(Some(value)).map_err(|error| {
        unread(
            error
                .into_server_error(async_graphql::Pos::default())
                .message,
        )
    })?;
    let made = work(conn, caller, input)?;
    serde_json::to_value(made).map_err(|error| Error::Internal(error.to_string()))
}

fn perform(
    conn: &mut Conn,
    caller: &Caller,
    operation: &str,
    input: &serde_json::Value,
) -> Result<serde_json::Value> {
    let work =
        performer(operation).ok_or_else(|| Error::Internal(format!("nothing does {operation}")))?;
    work(conn, caller, input.clone())
}

code_enum! {
    /// What a second person decides about (R12.1).
    ApprovalKind {
        /// A credit note, alone or at the end of a dispute or deduction.
        CreditNote = "CREDIT_NOTE",
        /// A definitive loss (perte, 2.11).
        WriteOff = "WRITE_OFF",
        /// A transfer to doubtful clients (416, 2.10).
        Doubtful = "DOUBTFUL",
        /// A provision run.
        Provision = "PROVISION",
        /// A credit limit that is raised, or taken away.
        CreditLimit = "CREDIT_LIMIT",
        /// The account that a client pays from.
        BankDetails = "BANK_DETAILS",
        /// Matching or un-matching as of a day long past, or of one's own receipt with what one credited (R12.2).
        Matching = "MATCHING",
        /// Interest or indemnity given up.
        PenaltyWaiver = "PENALTY_WAIVER",
    }
}

code_enum! {
    /// Where a request stands.
    ApprovalStatus {
        /// It waits for a decision.
        Proposed = "PROPOSED",
        /// Approved and done.
        Approved = "APPROVED",
        /// Rejected, with a reason (R12.6).
        Rejected = "REJECTED",
        /// Taken back by its author.
        Withdrawn = "WITHDRAWN",
        /// Nobody decided in time (`settings.approvals.request_days`).
        Expired = "EXPIRED",
    }
}

code_enum! {
    /// Why a second person is needed.
    ApprovalGround {
        /// The kind always needs one.
        Always = "ALWAYS",
        /// The amount is above the company's threshold for its currency (R12.6).
        AboveThreshold = "ABOVE_THRESHOLD",
        /// It takes effect on a day long past (`settings.approvals.backdated_days`).
        BackDated = "BACK_DATED",
        /// The same person recorded a receipt for the same item (R12.2).
        SamePerson = "SAME_PERSON",
    }
}

listed!(Request => ApprovalRequest);

/// Something that waits for a second person, or was decided by one: what was asked, by whom, and what became of it.
/// What was asked never changes: an approval does exactly that, judged by the rules of its own moment.
#[derive(Clone)]
pub struct ApprovalRequest(pub Request);

/// Something that happened to a request.
#[derive(SimpleObject)]
struct ApprovalEvent {
    /// What it became.
    status: ApprovalStatus,
    /// Why; null when nobody said.
    reason: Option<String>,
    /// When.
    recorded_at: Instant,
    /// Who.
    recorded_by: String,
}

impl ApprovalEvent {
    fn of(row: Event) -> Result<ApprovalEvent> {
        Ok(ApprovalEvent {
            status: ApprovalStatus::of(&row.kind)?,
            reason: row.reason,
            recorded_at: row.recorded_at.into(),
            recorded_by: row.recorded_by,
        })
    }
}

impl ApprovalRequest {
    /// Facts for this caller: a payer's account is masked for roles that do not approve it (section 12).
    fn shown(&self, ctx: &Context<'_>, facts: &serde_json::Value) -> Result<JsonObject> {
        let mut facts = facts.clone();
        let clear = session(ctx)?.caller().may(Action::ApproveBankDetails);
        if let Some(serde_json::Value::String(iban)) = facts.get_mut("iban")
            && !clear
        {
            *iban = crate::service::bank::masked(iban);
        }
        Ok(JsonObject(facts))
    }
}

/// A request for approval (demande de validation).
#[Object]
impl ApprovalRequest {
    /// The opaque id.
    pub async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// What it is about.
    async fn kind(&self) -> Result<ApprovalKind> {
        ApprovalKind::of(&self.0.kind)
    }
    /// Where it stands.
    async fn status(&self) -> Result<ApprovalStatus> {
        ApprovalStatus::of(&self.0.status)
    }
    /// Why a second person is needed.
    async fn ground(&self) -> Result<ApprovalGround> {
        ApprovalGround::of(&self.0.ground)
    }
    /// What whoever decides must be allowed, one of the codes of `viewer { permissions }`.
    async fn permission(&self) -> &str {
        &self.0.approver
    }
    /// Whether the caller may decide it now: it waits, and the caller has the right and is another person.
    async fn decidable(&self, ctx: &Context<'_>) -> Result<bool> {
        let caller = session(ctx)?.caller();
        let segregated = loader(ctx)?
            .load_one(loaders::SegregationOf(caller.company))
            .await
            .map_err(document::shared)?;
        Ok(service::is_decidable(
            caller,
            segregated.unwrap_or(true),
            &self.0,
        ))
    }
    /// Whom it concerns; null when that is nobody or several clients.
    async fn client(&self, ctx: &Context<'_>) -> Result<Option<Client>> {
        match self.0.client_id {
            Some(id) => Ok(Some(Client(one(ctx, id).await?))),
            None => Ok(None),
        }
    }
    /// The invoice it is about, for `node`; null when that is none or several.
    async fn document_id(&self) -> Option<ID> {
        self.0.document_id.map(show)
    }
    /// How much, positive; null when it is no amount, or several currencies.
    async fn amount(&self) -> Option<Decimal> {
        let currency = self.0.currency.as_deref().unwrap_or_default();
        self.0.amount.map(|amount| money(amount, currency))
    }
    /// The currency of the amount.
    async fn currency(&self) -> Option<&str> {
        self.0.currency.as_deref()
    }
    /// The mutation that was asked for, such as `issueCreditNote`; null when it was done at once.
    async fn operation(&self) -> Option<&str> {
        self.0.operation.as_deref()
    }
    /// The input of that mutation, as it was sent.
    async fn input(&self, ctx: &Context<'_>) -> Result<Option<JsonObject>> {
        match &self.0.input {
            Some(input) => Ok(Some(self.shown(ctx, input)?)),
            None => Ok(None),
        }
    }
    /// What there was when it was asked, field by field.
    async fn before(&self, ctx: &Context<'_>) -> Result<JsonObject> {
        self.shown(ctx, &self.0.before)
    }
    /// What there will be, or is, in the same fields.
    async fn after(&self, ctx: &Context<'_>) -> Result<JsonObject> {
        self.shown(ctx, &self.0.after)
    }
    /// Why it is asked; null when nobody said.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }
    /// Who asked.
    async fn proposed_by(&self) -> &str {
        &self.0.proposed_by
    }
    /// When.
    async fn proposed_at(&self) -> Instant {
        self.0.proposed_at.into()
    }
    /// When it becomes void unless somebody decides; null for files and runs, which wait for ever.
    async fn expires_at(&self) -> Option<Instant> {
        self.0.expires_at.map(Into::into)
    }
    /// Who decided, or took it back; null while it waits.
    async fn decided_by(&self) -> Option<&str> {
        self.0.decided_by.as_deref()
    }
    /// When; null while it waits.
    async fn decided_at(&self) -> Option<Instant> {
        self.0.decided_at.map(Into::into)
    }
    /// Why it was decided so; null when nobody said.
    async fn decision(&self) -> Option<&str> {
        self.0.decision.as_deref()
    }
    /// Whether duties were segregated when it was decided. False for what was done at once, by one person, while the
    /// company's setting was off; null while it waits.
    async fn segregated(&self) -> Option<bool> {
        self.0.segregated
    }
    /// What it made, such as the credit note, for `node` when that knows the type; null until it is approved.
    async fn result_id(&self) -> Option<ID> {
        self.0.result_id.clone().map(ID)
    }
    /// Everything that happened to it, oldest first. Nothing of it is ever changed.
    async fn history(&self, ctx: &Context<'_>) -> Result<Vec<ApprovalEvent>> {
        let events = loader(ctx)?
            .load_one(loaders::EventsOfApproval(self.0.id))
            .await
            .map_err(document::shared)?;
        events
            .unwrap_or_default()
            .into_iter()
            .map(ApprovalEvent::of)
            .collect()
    }
}

/// Whether duties were segregated from an instant on, and above which amounts a second person was needed.
#[derive(SimpleObject)]
struct ApprovalRules {
    /// Whether anything had to wait for a second person.
    segregation_of_duties: bool,
    /// `settings.approvals` as they were; empty for what was before this was recorded.
    approvals: JsonObject,
    /// From when on.
    since: Instant,
    /// Who set it so.
    recorded_by: String,
}

impl ApprovalRules {
    fn of(row: RulesInForce) -> ApprovalRules {
        let rules = row.thresholds.get("rules").cloned();
        ApprovalRules {
            segregation_of_duties: row.segregation,
            approvals: JsonObject(rules.unwrap_or_else(|| serde_json::json!({}))),
            since: row.recorded_at.into(),
            recorded_by: row.recorded_by,
        }
    }
}

/// Which requests are meant; what is absent does not narrow.
#[derive(InputObject, Clone, Debug, Default)]
struct ApprovalFilter {
    /// In one of these states.
    status: Option<Vec<ApprovalStatus>>,
    /// Of one of these kinds.
    kind: Option<Vec<ApprovalKind>>,
    /// Concerning this client.
    client: Option<ClientRef>,
    /// Only what the caller may decide now: it waits, another person asked, and the caller has the right.
    #[graphql(default)]
    waiting_for_me: bool,
}

/// Approvals.
#[derive(Default)]
pub struct ApprovalQuery;

#[Object]
impl ApprovalQuery {
    /// Requests for approval, oldest first: `filter: { waitingForMe: true }` is the caller's queue.
    #[graphql(guard = "Permitted(\"Query.approvals\")")]
    async fn approvals(
        &self,
        ctx: &Context<'_>,
        #[graphql(default)] filter: ApprovalFilter,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<ApprovalRequest>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("approvals{filter:?}"),
        )?;
        let client = client_filter_id(ctx, filter.client).await?;
        let session = session(ctx)?;
        let decider = match filter.waiting_for_me {
            true => Some(
                session
                    .read(|conn, caller| {
                        let books = books::open(conn, caller)?;
                        Ok(service::decider(caller, &books))
                    })
                    .await?,
            ),
            false => None,
        };
        let codes = |codes: Vec<&'static str>| codes.into_iter().map(str::to_owned).collect();
        let wanted = Wanted {
            statuses: codes(
                filter
                    .status
                    .unwrap_or_default()
                    .into_iter()
                    .map(ApprovalStatus::code)
                    .collect(),
            ),
            kinds: codes(
                filter
                    .kind
                    .unwrap_or_default()
                    .into_iter()
                    .map(ApprovalKind::code)
                    .collect(),
            ),
            client,
            decider,
        };
        let sort = Sort {
            column: "t.proposed_at",
            sql_type: "timestamptz",
            direction: Direction::Ascending,
        };
        let from = store::approval::from(session.caller().company, &wanted);
        page::list(session, from, sort, asked, |conn, caller, ids| {
            let ids: Vec<_> = ids.iter().copied().map(ApprovalId).collect();
            Ok(store::approval::by_ids(conn, caller.company, &ids)?)
        })
        .await
    }

    /// One request for approval; null when there is none with this id.
    #[graphql(guard = "Permitted(\"Query.approval\")")]
    async fn approval(&self, ctx: &Context<'_>, id: ID) -> Result<Option<ApprovalRequest>> {
        match ApprovalId::read(&id) {
            Some(id) => Ok(maybe(ctx, id).await?.map(ApprovalRequest)),
            None => Ok(None),
        }
    }

    /// Whether duties were segregated and above which amounts, at all times: the last 100 changes, latest first.
    #[graphql(guard = "Permitted(\"Query.approvalRules\")")]
    async fn approval_rules(&self, ctx: &Context<'_>) -> Result<Vec<ApprovalRules>> {
        let rows = session(ctx)?
            .read(|conn, caller| Ok(store::approval::rules(conn, caller.company)?))
            .await?;
        Ok(rows.into_iter().map(ApprovalRules::of).collect())
    }
}

/// A request to approve.
#[derive(InputObject, Clone, Debug)]
struct ApproveRequestInput {
    /// The request.
    request: ID,
    /// What is to be noted about it.
    reason: Option<String>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// A request to reject.
#[derive(InputObject, Clone, Debug)]
struct RejectRequestInput {
    /// The request.
    request: ID,
    /// Why (R12.6); its author reads it.
    reason: String,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// A request to take back.
#[derive(InputObject, Clone, Debug)]
struct WithdrawRequestInput {
    /// The request.
    request: ID,
    /// Why.
    reason: Option<String>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// What happened to a request for approval.
#[derive(SimpleObject)]
struct ApprovalPayload {
    /// The request as it is now; null when refused.
    approval: Option<ApprovalRequest>,
    /// Why it was refused; empty when it was done. What refuses the proposed input has a `field` below `request`.
    user_errors: Vec<UserError>,
}

async fn payload(ctx: &Context<'_>, done: Done<ApprovalId>) -> Result<ApprovalPayload> {
    let approval = match done.made {
        Some(id) => Some(ApprovalRequest(one(ctx, id).await?)),
        None => None,
    };
    Ok(ApprovalPayload {
        approval,
        user_errors: done.user_errors,
    })
}

/// Approvals.
#[derive(Default)]
pub struct ApprovalMutation;

#[Object]
impl ApprovalMutation {
    /// Approves a request and does what it proposed, at once and under today's rules; its author stands in the books
    /// as the author. Never by that author while duties are segregated (R12.1), never by a script (R12.5). When a
    /// rule says no by now, it says so, and the request waits on.
    #[graphql(guard = "Permitted(\"Mutation.approveRequest\")")]
    async fn approve_request(
        &self,
        ctx: &Context<'_>,
        input: ApproveRequestInput,
    ) -> Result<ApprovalPayload> {
        let run = how(&input.idempotency_key, input.validate_only);
        let done = mutate(ctx, run, move |conn, caller| {
            service::approve(
                conn,
                caller,
                &input.request,
                input.reason.as_deref(),
                perform,
            )
        })
        .await?;
        payload(ctx, done).await
    }

    /// Rejects a request: nothing is done, the reason is kept (R12.6). Its author withdraws it instead.
    #[graphql(guard = "Permitted(\"Mutation.rejectRequest\")")]
    async fn reject_request(
        &self,
        ctx: &Context<'_>,
        input: RejectRequestInput,
    ) -> Result<ApprovalPayload> {
        let run = how(&input.idempotency_key, false);
        let done = mutate(ctx, run, move |conn, caller| {
            service::reject(conn, caller, &input.request, &input.reason)
        })
        .await?;
        payload(ctx, done).await
    }

    /// Takes one's own request back while it waits.
    #[graphql(guard = "Permitted(\"Mutation.withdrawRequest\")")]
    async fn withdraw_request(
        &self,
        ctx: &Context<'_>,
        input: WithdrawRequestInput,
    ) -> Result<ApprovalPayload> {
        let run = how(&input.idempotency_key, false);
        let done = mutate(ctx, run, move |conn, caller| {
            service::withdraw(conn, caller, &input.request, input.reason.as_deref())
        })
        .await?;
        payload(ctx, done).await
    }
}
