//! Litigation: cases, what happens in them, and the deadlines of all claims.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::aging::OpenItem;
use super::client::{Client, client_filter_id, code_enum};
use super::document::one;
use super::error::UserError;
use super::file::{AttachedFile, files_of};
use super::mutation::{Done, mutate};
use super::operation::how;
use super::page::{self, Asked, Connection, Window, listed};
use super::scalars::{ClientRef, Date, Decimal, Instant, ItemRefInput, money, on, show};
use super::text::untold;
use super::{Permitted, session};
use crate::domain::ids::{CaseId, ClientId};
use crate::domain::litigation as rules;
use crate::error::Result;
use crate::service::litigation::{self, CaseInput, StepInput};
use crate::store::list::{Direction, Sort};
use crate::store::{self};

untold!(LitigationCase);

code_enum! {
    /// Where a litigation case stands (7.4).
    LitigationStage {
        /// Précontentieux: the file is made up, the account blocked. Propose 416 with `proposeDoubtful`.
        PreLitigation = "PRE_LITIGATION",
        /// Société de recouvrement.
        CollectionAgency = "COLLECTION_AGENCY",
        /// Commandement de payer: uncontested claims between traders (CPCE L126-1, law of 23 April 2026).
        PaymentCommand = "PAYMENT_COMMAND",
        /// Procédure simplifiée: at most 5,000 €, and not between traders since 23 April 2026 (CPCE L125-1).
        SmallClaim = "SMALL_CLAIM",
        /// Injonction de payer (CPC 1405 s.).
        PaymentOrder = "PAYMENT_ORDER",
        /// Référé-provision: an obligation that is not seriously contestable.
        InterimOrder = "INTERIM_ORDER",
        /// Assignation au fond.
        Summons = "SUMMONS",
        /// An enforceable title.
        Judgment = "JUDGMENT",
        /// Seizure.
        Enforcement = "ENFORCEMENT",
        /// Over: `outcome` says how.
        Closed = "CLOSED",
    }
}

code_enum! {
    /// What happened in a case.
    LitigationEventKind {
        /// It took a stage.
        Stage = "STAGE",
        /// A payment order was made: it is served within 3 months, or void.
        OrderMade = "ORDER_MADE",
        /// The order was served: the debtor has a month to contest it.
        Served = "SERVED",
        /// The debtor contested it.
        Contested = "CONTESTED",
        /// Anything else.
        Note = "NOTE",
    }
}

code_enum! {
    /// How a case ended.
    LitigationOutcome {
        /// Paid in full.
        Paid = "PAID",
        /// An agreement.
        Settled = "SETTLED",
        /// Given up.
        Abandoned = "ABANDONED",
        /// Lost: `proposeWriteOff` with its evidence.
        WrittenOff = "WRITTEN_OFF",
        /// Insolvency proceedings took over: declare the claim.
        Insolvency = "INSOLVENCY",
    }
}

code_enum! {
    /// What has to be done by a day.
    DeadlineKind {
        /// A claim is prescribed (R7.11): 5 years, 2 against consumers, 1 for the carriage of goods.
        Prescription = "PRESCRIPTION",
        /// A claim is declared in insolvency proceedings, 2 months from the BODACC (R7.10).
        ProofOfClaim = "PROOF_OF_CLAIM",
        /// A payment order is served, or it is void.
        ServeOrder = "SERVE_ORDER",
        /// The debtor may no longer contest an order.
        OppositionEnds = "OPPOSITION_ENDS",
    }
}

listed!(store::litigation::Case => LitigationCase);

/// A litigation case.
#[derive(Clone)]
pub struct LitigationCase(store::litigation::Case);

/// What a case claims of an item.
#[derive(SimpleObject)]
struct LitigationClaim {
    /// The item, as it is now.
    item: OpenItem,
    /// What was claimed of it when the case was opened.
    claimed: Decimal,
}

/// What happened in a case.
#[derive(SimpleObject)]
struct LitigationEvent {
    /// What.
    kind: LitigationEventKind,
    /// The stage that the case had or took.
    stage: LitigationStage,
    /// The day.
    happened_on: Date,
    /// The number of the act; null when it has none.
    reference: Option<String>,
    /// What was noted; empty when nothing was.
    note: String,
    /// When it was recorded.
    recorded_at: Instant,
    /// Who recorded it.
    recorded_by: String,
}

/// A file in the hands of a lawyer, a commissaire de justice or an agency (dossier contentieux).
#[Object]
impl LitigationCase {
    /// The opaque id.
    async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// Its number.
    async fn number(&self) -> &str {
        &self.0.number
    }
    /// The debtor.
    async fn client(&self, ctx: &Context<'_>) -> Result<Client> {
        Ok(Client(one(ctx, self.0.client_id).await?))
    }
    /// Where it stands.
    async fn stage(&self) -> Result<LitigationStage> {
        LitigationStage::of(&self.0.stage)
    }
    /// Who leads it; null when nobody was named.
    async fn handler(&self) -> Option<&str> {
        self.0.handler.as_deref()
    }
    /// The day it was opened.
    async fn opened_on(&self) -> Date {
        self.0.opened_on.into()
    }
    /// The currency of the amounts.
    async fn currency(&self) -> &str {
        &self.0.currency
    }
    /// What was claimed when it was opened: not what was in dispute.
    async fn claimed(&self) -> Decimal {
        money(self.0.claimed, &self.0.currency)
    }
    /// Its claims.
    async fn claims(&self, ctx: &Context<'_>) -> Result<Vec<LitigationClaim>> {
        let id = self.0.id;
        let rows = session(ctx)?
            .read(move |conn, caller| Ok(store::litigation::items_of(conn, caller.company, id)?))
            .await?;
        let mut claims = Vec::new();
        for row in rows {
            claims.push(LitigationClaim {
                item: OpenItem::now(ctx, one(ctx, row.item_id).await?)?,
                claimed: money(row.claimed, &self.0.currency),
            });
        }
        Ok(claims)
    }
    /// Its history, in order.
    async fn events(&self, ctx: &Context<'_>) -> Result<Vec<LitigationEvent>> {
        let id = self.0.id;
        let rows = session(ctx)?
            .read(move |conn, caller| Ok(store::litigation::events_of(conn, caller.company, id)?))
            .await?;
        rows.into_iter()
            .map(|row| {
                Ok(LitigationEvent {
                    kind: LitigationEventKind::of(&row.kind)?,
                    stage: LitigationStage::of(&row.stage)?,
                    happened_on: row.happened_on.into(),
                    reference: row.reference,
                    note: row.note,
                    recorded_at: row.recorded_at.into(),
                    recorded_by: row.recorded_by,
                })
            })
            .collect()
    }
    /// What is attached to it. `GET /evidence/{id}` gives the whole file to hand over.
    async fn files(&self, ctx: &Context<'_>) -> Result<Vec<AttachedFile>> {
        files_of(ctx, self.0.id.0).await
    }
    /// The day it was closed; null while it is open.
    async fn closed_on(&self) -> Option<Date> {
        self.0.closed_on.map(Into::into)
    }
    /// How it ended; null while it is open.
    async fn outcome(&self) -> Result<Option<LitigationOutcome>> {
        self.0
            .outcome
            .as_deref()
            .map(LitigationOutcome::of)
            .transpose()
    }
}

/// Something that has to be done by a day, or ends on it.
#[derive(SimpleObject)]
struct Deadline {
    /// What.
    kind: DeadlineKind,
    /// By when.
    due_on: Date,
    /// Whose account it is about.
    client: Client,
    /// The invoice or the case; empty for a proof of claim.
    reference: String,
    /// What is open on the claim; null when it is about more than one.
    open: Option<Decimal>,
    /// Its currency.
    currency: Option<String>,
}

/// Litigation.
#[derive(Default)]
pub struct LitigationQuery;

#[Object]
impl LitigationQuery {
    /// Litigation cases, latest first.
    #[graphql(guard = "Permitted(\"Query.litigationCases\")")]
    async fn litigation_cases(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of this client; of all when absent.")] client: Option<ClientRef>,
        #[graphql(desc = "Open ones, or closed ones; both when absent.")] open: Option<bool>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<LitigationCase>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("cases{client:?}{open:?}"),
        )?;
        let client = client_filter_id(ctx, client).await?;
        let session = session(ctx)?;
        let sort = Sort {
            column: "t.opened_on",
            sql_type: "date",
            direction: Direction::Descending,
        };
        let from = store::litigation::from(session.caller().company, client, open);
        page::list(session, from, sort, asked, |conn, caller, ids| {
            let ids: Vec<CaseId> = ids.iter().copied().map(CaseId).collect();
            Ok(store::litigation::by_ids(conn, caller.company, &ids)?)
        })
        .await
    }

    /// The legal deadlines through a day, earliest first: prescription, proofs of claim, orders to serve. Those that
    /// passed within 90 days are among them.
    #[graphql(guard = "Permitted(\"Query.deadlines\")")]
    async fn deadlines(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of this client; of all when absent.")] client: Option<ClientRef>,
        #[graphql(desc = "The last day; six months from today when absent.")] through: Option<Date>,
    ) -> Result<Vec<Deadline>> {
        let client = client_filter_id(ctx, client).await?;
        let session = session(ctx)?;
        let today = session.caller().today;
        let through = match through {
            Some(day) => super::scalars::day("through", day.0)?,
            None => today + chrono::Months::new(6),
        };
        let found = session
            .read(move |conn, caller| litigation::deadlines(conn, caller, client, through))
            .await?;
        let mut rows = Vec::new();
        for deadline in found {
            let (open, currency) = match deadline.open {
                Some((open, code)) => (Some(money(open, &code)), Some(code)),
                None => (None, None),
            };
            rows.push(Deadline {
                kind: DeadlineKind::of(deadline.kind.code())?,
                due_on: deadline.due_on.into(),
                client: Client(one(ctx, deadline.client).await?),
                reference: deadline.reference,
                open,
                currency,
            });
        }
        Ok(rows)
    }
}

/// A case to open.
#[derive(InputObject, Clone, Debug)]
struct OpenLitigationCaseInput {
    /// The debtor.
    client: ClientRef,
    /// What is claimed; everything that is late when absent. What is in dispute is not claimed.
    #[graphql(default)]
    items: Vec<ItemRefInput>,
    /// The currency; the client's when absent.
    currency: Option<String>,
    /// The lawyer, commissaire de justice or agency.
    handler: Option<String>,
    /// What to note.
    note: Option<String>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// A step of a case: the stage that it takes, or what happened in it.
#[derive(InputObject, Clone, Debug)]
struct AdvanceLitigationCaseInput {
    /// The case.
    case: ID,
    /// The stage that it takes.
    stage: Option<LitigationStage>,
    /// What happened within its stage.
    event: Option<LitigationEventKind>,
    /// The day; today when absent.
    happened_on: Option<Date>,
    /// The number of the act.
    reference: Option<String>,
    /// What to note.
    note: Option<String>,
    /// Who leads it from now on.
    handler: Option<String>,
    /// How it ended, with the stage `CLOSED`.
    outcome: Option<LitigationOutcome>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// What happened to a case.
#[derive(SimpleObject)]
struct LitigationCasePayload {
    /// The case as it is now; null when refused.
    case: Option<LitigationCase>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// A written acknowledgment of debt.
#[derive(InputObject, Clone, Debug)]
struct RecordDebtAcknowledgmentInput {
    /// Who acknowledged.
    client: ClientRef,
    /// What was acknowledged; everything that is late when absent.
    #[graphql(default)]
    items: Vec<ItemRefInput>,
    /// The day of the document.
    acknowledged_on: Date,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// What `recordDebtAcknowledgment` did.
#[derive(SimpleObject)]
struct DebtAcknowledgmentPayload {
    /// The client; null when refused.
    client: Option<Client>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

async fn led(ctx: &Context<'_>, done: Done<CaseId>) -> Result<LitigationCasePayload> {
    let case = match done.made {
        Some(id) => session(ctx)?
            .read(move |conn, caller| {
                Ok(store::litigation::by_ids(conn, caller.company, &[id])?.pop())
            })
            .await?
            .map(LitigationCase),
        None => None,
    };
    Ok(LitigationCasePayload {
        case,
        user_errors: done.user_errors,
    })
}

/// Litigation.
#[derive(Default)]
pub struct LitigationMutation;

#[Object]
impl LitigationMutation {
    /// Opens a case in pre-litigation: its claims leave dunning. `NOT_CHASEABLE` in insolvency proceedings (R7.10), and
    /// when everything is in dispute.
    #[graphql(guard = "Permitted(\"Mutation.openLitigationCase\")")]
    async fn open_litigation_case(
        &self,
        ctx: &Context<'_>,
        input: OpenLitigationCaseInput,
    ) -> Result<LitigationCasePayload> {
        let run = how(&input.idempotency_key, input.validate_only);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            let input = CaseInput {
                client: input.client.into(),
                items: input.items.into_iter().map(Into::into).collect(),
                currency: input.currency,
                handler: input.handler,
                note: input.note,
            };
            litigation::open(conn, caller, &input)
        })
        .await?;
        led(ctx, done).await
    }

    /// Takes a case to another stage, or records what happened in it. A claim in court and an act of enforcement start
    /// a new period of prescription (R7.11); a stage that the law bars is `WRONG_STATE`.
    #[graphql(guard = "Permitted(\"Mutation.advanceLitigationCase\")")]
    async fn advance_litigation_case(
        &self,
        ctx: &Context<'_>,
        input: AdvanceLitigationCaseInput,
    ) -> Result<LitigationCasePayload> {
        let run = how(&input.idempotency_key, false);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            let input = StepInput {
                case: input.case.0,
                stage: input
                    .stage
                    .and_then(|stage| rules::Stage::read(stage.code())),
                event: input
                    .event
                    .filter(|event| *event != LitigationEventKind::Stage)
                    .map(LitigationEventKind::code),
                happened_on: on(input.happened_on),
                reference: input.reference,
                note: input.note,
                handler: input.handler,
                outcome: input.outcome.map(LitigationOutcome::code),
            };
            litigation::step(conn, caller, &input)
        })
        .await?;
        led(ctx, done).await
    }

    /// Records a written acknowledgment of debt: a new period of prescription begins (C. civ. 2240). It is attached
    /// first, as a file of the kind `ACKNOWLEDGMENT_OF_DEBT`.
    #[graphql(guard = "Permitted(\"Mutation.recordDebtAcknowledgment\")")]
    async fn record_debt_acknowledgment(
        &self,
        ctx: &Context<'_>,
        input: RecordDebtAcknowledgmentInput,
    ) -> Result<DebtAcknowledgmentPayload> {
        let run = how(&input.idempotency_key, false);
        let done: Done<ClientId> = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            let items: Vec<_> = input.items.into_iter().map(Into::into).collect();
            let client = input.client.into();
            litigation::acknowledge(conn, caller, &client, &items, input.acknowledged_on.0)
        })
        .await?;
        let client = match done.made {
            Some(id) => Some(Client(one(ctx, id).await?)),
            None => None,
        };
        Ok(DebtAcknowledgmentPayload {
            client,
            user_errors: done.user_errors,
        })
    }
}
