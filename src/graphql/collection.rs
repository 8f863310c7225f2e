//! The collectors' desk: the worklist, calls and notes, payment plans, how reliable a client is.

use std::collections::HashMap;

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use uuid::Uuid;

use super::client::{Client, client_filter_id, code_enum};
use super::document::{maybe, one};
use super::dunning::{DunningReminder, Promise};
use super::error::UserError;
use super::loaders::{InstalmentsOf, ReliabilityOf, StandingOf};
use super::mutation::{Done, mutate};
use super::operation::how;
use super::page::{self, Asked, Connection, Window, counted, listed};
use super::scalars::{ClientRef, Date, Decimal, Instant, ItemRefInput, money, on, show};
use super::text::untold;
use super::{Permitted, session};
use crate::domain::ids::{ClientId, NoteId, PlanId, UserId};
use crate::error::Result;
use crate::service::collection::{self, NoteInput, PlanInput};
use crate::service::dunning;
use crate::store::list::{Direction, Sort};
use crate::store::{self};

untold!(WorklistEntry, PaymentPlan, CollectionNote);

code_enum! {
    /// How a client was spoken to.
    CollectionNoteKind {
        /// A call.
        Call = "CALL",
        /// An e-mail of one's own.
        Email = "EMAIL",
        /// A visit.
        Visit = "VISIT",
        /// A note for the file.
        Note = "NOTE",
    }
}

code_enum! {
    /// What came of it.
    CollectionOutcome {
        /// Somebody answered.
        Reached = "REACHED",
        /// Nobody did.
        NoAnswer = "NO_ANSWER",
        /// A message was left.
        MessageLeft = "MESSAGE_LEFT",
        /// The number is wrong.
        WrongNumber = "WRONG_NUMBER",
        /// A payment was promised: record it with `recordPromise`.
        Promised = "PROMISED",
        /// The claim is contested: open a dispute.
        Disputed = "DISPUTED",
        /// The client will not pay.
        Refused = "REFUSED",
        /// Nothing to say.
        None = "NONE",
    }
}

code_enum! {
    /// What becomes of late-payment interest during a payment plan.
    PlanInterest {
        /// It runs on.
        Runs = "RUNS",
        /// It is given up when the plan is respected to its end: `waivePenalties` then.
        WaivedIfKept = "WAIVED_IF_KEPT",
    }
}

code_enum! {
    /// What became of a payment plan.
    PlanStatus {
        /// Everything that should be paid by now is: its items are not chased.
        InGoodStanding = "IN_GOOD_STANDING",
        /// An instalment was not paid within the days of grace: the whole is due (déchéance du terme).
        Broken = "BROKEN",
        /// All of it was paid.
        Completed = "COMPLETED",
        /// Taken back.
        Cancelled = "CANCELLED",
    }
}

listed!(store::collection::Note => CollectionNote, store::collection::Plan => PaymentPlan);

/// A call, a visit or a note.
#[derive(Clone)]
pub struct CollectionNote(store::collection::Note);

/// A call, a visit or a note about a client, kept for ever.
#[Object]
impl CollectionNote {
    /// The opaque id.
    pub async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// The client.
    async fn client(&self, ctx: &Context<'_>) -> Result<Client> {
        Ok(Client(one(ctx, self.0.client_id).await?))
    }
    /// How the client was spoken to.
    async fn kind(&self) -> Result<CollectionNoteKind> {
        CollectionNoteKind::of(&self.0.kind)
    }
    /// What came of it.
    async fn outcome(&self) -> Result<CollectionOutcome> {
        CollectionOutcome::of(&self.0.outcome)
    }
    /// Who was spoken to; null when not said.
    async fn spoke_to(&self) -> Option<&str> {
        self.0.spoke_to.as_deref()
    }
    /// What was said.
    async fn note(&self) -> &str {
        &self.0.note
    }
    /// The day.
    async fn done_on(&self) -> Date {
        self.0.done_on.into()
    }
    /// The day to come back; null when there is none.
    async fn follow_up_on(&self) -> Option<Date> {
        self.0.follow_up_on.map(Into::into)
    }
    /// When it was written.
    async fn recorded_at(&self) -> Instant {
        self.0.recorded_at.into()
    }
    /// Who wrote it.
    async fn recorded_by(&self) -> &str {
        &self.0.recorded_by
    }
}

/// A part of a payment plan.
#[derive(SimpleObject)]
struct PlanInstallment {
    /// Counted from 1.
    number: i32,
    /// Its day.
    due_on: Date,
    /// Its amount.
    amount: Decimal,
}

/// A payment plan (échéancier, moratoire).
#[derive(Clone)]
pub struct PaymentPlan(pub store::collection::Plan);

/// A payment plan (échéancier, moratoire): its items are not chased while it is respected (R7.2).
#[Object]
impl PaymentPlan {
    /// The opaque id.
    pub async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// The client.
    async fn client(&self, ctx: &Context<'_>) -> Result<Client> {
        Ok(Client(one(ctx, self.0.client_id).await?))
    }
    /// The day it was agreed.
    async fn agreed_on(&self) -> Date {
        self.0.agreed_on.into()
    }
    /// The sum of its instalments.
    async fn amount(&self) -> Decimal {
        money(self.0.amount, &self.0.currency)
    }
    /// The currency of the amounts.
    async fn currency(&self) -> &str {
        &self.0.currency
    }
    /// Its parts, in order.
    async fn installments(&self, ctx: &Context<'_>) -> Result<Vec<PlanInstallment>> {
        let rows = maybe(ctx, InstalmentsOf(self.0.id))
            .await?
            .unwrap_or_default();
        Ok(rows
            .into_iter()
            .map(|row| PlanInstallment {
                number: i32::from(row.number),
                due_on: row.due_on.into(),
                amount: money(row.amount, &self.0.currency),
            })
            .collect())
    }
    /// What becomes of late-payment interest.
    async fn interest(&self) -> Result<PlanInterest> {
        PlanInterest::of(&self.0.interest)
    }
    /// Days after an instalment's day before the plan is broken.
    async fn grace_days(&self) -> i32 {
        i32::from(self.0.grace_days)
    }
    /// Paid or credited on its items since it was agreed.
    async fn paid(&self, ctx: &Context<'_>) -> Result<Decimal> {
        let standing = maybe(ctx, StandingOf(self.0.id)).await?;
        let paid = standing.map(|standing| standing.paid).unwrap_or_default();
        Ok(money(paid, &self.0.currency))
    }
    /// What became of it by today.
    async fn status(&self, ctx: &Context<'_>) -> Result<PlanStatus> {
        let standing = maybe(ctx, StandingOf(self.0.id)).await?;
        let today = session(ctx)?.caller().today;
        PlanStatus::of(collection::outcome(&self.0, standing.as_ref(), today))
    }
    /// What was agreed beside; null when nothing was noted, or when the role may not read personal data.
    async fn note(&self, ctx: &Context<'_>) -> Result<Option<&str>> {
        super::dunning::personal(ctx, self.0.note.as_deref())
    }
    /// Why it was taken back; null when it was not.
    async fn cancelled_reason(&self) -> Option<&str> {
        self.0.cancelled_reason.as_deref()
    }
    /// Who recorded it.
    async fn recorded_by(&self) -> &str {
        &self.0.recorded_by
    }
}

/// How a client kept its promises to pay, those whose day has passed.
#[derive(SimpleObject)]
pub struct Reliability {
    /// Paid in time.
    kept: i32,
    /// Paid in part.
    partly_kept: i32,
    /// Not paid.
    broken: i32,
    /// Kept ones of all, in percent, partly kept ones counting half; null when there was none.
    percent: Option<Decimal>,
}

/// How a client kept its promises.
pub async fn reliability(ctx: &Context<'_>, client: ClientId) -> Result<Reliability> {
    let row = maybe(ctx, ReliabilityOf(client)).await?;
    let (kept, partly, broken) = row.map_or((0, 0, 0), |row| (row.kept, row.partly, row.broken));
    let all = kept + partly + broken;
    let percent = (all > 0).then(|| {
        let share = rust_decimal::Decimal::from(100 * (2 * kept + partly))
            / rust_decimal::Decimal::from(2 * all);
        super::scalars::rate(share.round_dp(1))
    });
    let count = |count: i64| i32::try_from(count).unwrap_or(i32::MAX);
    Ok(Reliability {
        kept: count(kept),
        partly_kept: count(partly),
        broken: count(broken),
        percent,
    })
}

/// A client on the worklist.
#[derive(Clone)]
struct WorklistEntry {
    client: store::client::Client,
    work: store::collection::Work,
    reminder: Option<dunning::Reminder>,
    phone: Option<String>,
    promise: Option<store::dunning::Promise>,
}

/// A client on the worklist, with what to do about it.
#[Object]
impl WorklistEntry {
    /// The client.
    async fn client(&self) -> Client {
        Client(self.client.clone())
    }
    /// The points that it is ordered by: the late amount, one for each 1,000 units, at most 40; the age of the oldest
    /// claim, one for 3 days, at most 30; 5 for each level sent; 15 for a promise broken in the last 90 days; 10 for a
    /// new or risky client, and 10 for one above its credit limit; 20 when the day to come back has come; 40 less while
    /// a promise or a plan runs on everything that is late.
    async fn priority(&self) -> i32 {
        self.work.priority
    }
    /// The client's currency, of the amounts.
    async fn currency(&self) -> &str {
        &self.work.currency
    }
    /// What is past its due date, in the client's currency.
    async fn overdue(&self) -> Decimal {
        money(self.work.overdue, &self.work.currency)
    }
    /// Days since the oldest due date; 0 when nothing is late.
    async fn oldest_days(&self) -> i32 {
        self.work.oldest_days
    }
    /// What is in open disputes.
    async fn disputed(&self) -> Decimal {
        money(self.work.disputed, &self.work.currency)
    }
    /// The highest level that was sent; 0 for none.
    async fn last_level(&self) -> i32 {
        self.work.last_level
    }
    /// The last call, note or reminder; null when there was none.
    async fn last_contact_on(&self) -> Option<Date> {
        self.work.last_contact_on.map(Into::into)
    }
    /// The day to come back that the last note says; null when it says none.
    async fn follow_up_on(&self) -> Option<Date> {
        self.work.follow_up_on.map(Into::into)
    }
    /// Whether a promise was broken in the last 90 days.
    async fn broken_promise(&self) -> bool {
        self.work.broken
    }
    /// Whether a promise or a plan runs on everything that is late.
    async fn waiting(&self) -> bool {
        self.work.waiting
    }
    /// The promise that runs; null when none does.
    async fn promise(&self) -> Option<Promise> {
        self.promise.clone().map(Promise)
    }
    /// The number to call: the accounting contact's, else any; null when unknown, or when the role may not read personal data.
    async fn phone(&self) -> Option<&str> {
        self.phone.as_deref()
    }
    /// What dunning would do next and why or why not; null when nothing is open in the client's currency.
    async fn next_action(&self) -> Option<DunningReminder> {
        self.reminder.clone().map(DunningReminder)
    }
}

/// The collectors' desk.
#[derive(Default)]
pub struct CollectionQuery;

#[Object]
impl CollectionQuery {
    /// The clients to work on today, most urgent first: those with something late, and those to come back to.
    #[graphql(guard = "Permitted(\"Query.worklist\")")]
    async fn worklist(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only clients of this collector; `me` for one's own.")] collector: Option<
            ID,
        >,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<WorklistEntry>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("worklist{collector:?}"),
        )?;
        let session = session(ctx)?.clone();
        let caller = session.caller();
        let collector = match collector {
            Some(me) if me.as_str() == "me" => Some(caller.user.unwrap_or(UserId(Uuid::nil()))),
            Some(id) => Some(super::scalars::read("collector", "member", &id)?),
            None => None,
        };
        let from = store::collection::worklist(caller.company, collector, caller.today, None);
        let sort = Sort {
            column: "t.priority",
            sql_type: "int",
            direction: Direction::Descending,
        };
        let (question, keyset) = (from.clone(), asked.keyset.clone());
        let (keys, mut entries) = session
            .read(move |conn, caller| {
                let keys = store::list::keys(conn, &question, sort, &keyset)?;
                let ids: Vec<ClientId> = keys.keys.iter().map(|key| ClientId(key.id)).collect();
                let entries = entries(conn, caller, collector, &ids)?;
                Ok((keys, entries))
            })
            .await?;
        let (mut cursors, mut nodes) = (Vec::new(), Vec::new());
        for key in &keys.keys {
            if let Some(entry) = entries.remove(&ClientId(key.id)) {
                cursors.push(asked.cursor(&key.sort, key.id));
                nodes.push(entry);
            }
        }
        Ok(Connection {
            cursors,
            nodes,
            ends: asked.ends(keys.more),
            count: counted(move || {
                let (session, from) = (session.clone(), from.clone());
                async move {
                    session
                        .read(move |conn, _| Ok(store::list::count(conn, &from)?))
                        .await
                }
            }),
        })
    }

    /// Calls, visits and notes, latest first.
    #[graphql(guard = "Permitted(\"Query.collectionNotes\")")]
    async fn collection_notes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of this client; of all when absent.")] client: Option<ClientRef>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<CollectionNote>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("collection notes{client:?}"),
        )?;
        let client = client_filter_id(ctx, client).await?;
        let session = session(ctx)?;
        let sort = Sort {
            column: "t.done_on",
            sql_type: "date",
            direction: Direction::Descending,
        };
        let from = store::collection::notes_from(session.caller().company, client);
        page::list(session, from, sort, asked, |conn, caller, ids| {
            let ids: Vec<NoteId> = ids.iter().copied().map(NoteId).collect();
            Ok(store::collection::notes_by_ids(conn, caller.company, &ids)?)
        })
        .await
    }

    /// Payment plans, latest first.
    #[graphql(guard = "Permitted(\"Query.paymentPlans\")")]
    async fn payment_plans(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of this client; of all when absent.")] client: Option<ClientRef>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<PaymentPlan>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("plans{client:?}"),
        )?;
        let client = client_filter_id(ctx, client).await?;
        let session = session(ctx)?;
        let sort = Sort {
            column: "t.agreed_on",
            sql_type: "date",
            direction: Direction::Descending,
        };
        let from = store::collection::plans_from(session.caller().company, client);
        page::list(session, from, sort, asked, |conn, caller, ids| {
            let ids: Vec<PlanId> = ids.iter().copied().map(PlanId).collect();
            Ok(store::collection::plans_by_ids(conn, caller.company, &ids)?)
        })
        .await
    }
}

/// What a page of the worklist shows, in a fixed number of statements.
fn entries(
    conn: &mut store::Conn,
    caller: &crate::domain::access::Caller,
    collector: Option<UserId>,
    ids: &[ClientId],
) -> Result<HashMap<ClientId, WorklistEntry>> {
    use crate::domain::access::Action;
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let list = store::collection::worklist(caller.company, collector, caller.today, Some(ids));
    let mut work: HashMap<ClientId, store::collection::Work> =
        store::collection::work(conn, &list)?
            .into_iter()
            .map(|row| (row.id, row))
            .collect();
    let clients = store::client::by_ids(conn, caller.company, ids)?;
    let contacts = match caller.may(Action::ReadContacts) {
        true => store::client::contacts(conn, caller.company, ids)?,
        false => Vec::new(),
    };
    let mut reminders: HashMap<(ClientId, String), dunning::Reminder> =
        dunning::preview(conn, caller, caller.today, &clients)?
            .into_iter()
            .map(|found| ((found.client.id, found.currency.clone()), found))
            .collect();
    let promises = store::dunning::running(conn, caller.company, ids, caller.today)?;
    let mut found = HashMap::new();
    for client in clients {
        let Some(row) = work.remove(&client.id) else {
            continue;
        };
        let own = || {
            contacts
                .iter()
                .filter(|contact| contact.client_id == client.id && contact.phone.is_some())
        };
        let contact = own()
            .find(|contact| contact.role == "ACCOUNTING")
            .or_else(|| own().next());
        let entry = WorklistEntry {
            phone: contact.and_then(|contact| contact.phone.clone()),
            reminder: reminders.remove(&(client.id, client.currency.clone())),
            promise: promises
                .iter()
                .find(|promise| promise.client_id == client.id)
                .cloned(),
            work: row,
            client,
        };
        found.insert(entry.client.id, entry);
    }
    Ok(found)
}

/// A call, a visit or a note to write down.
#[derive(InputObject, Clone, Debug)]
struct RecordCollectionNoteInput {
    /// The client.
    client: ClientRef,
    /// How the client was spoken to.
    kind: CollectionNoteKind,
    /// What came of it.
    #[graphql(default_with = "CollectionOutcome::None")]
    outcome: CollectionOutcome,
    /// Who was spoken to.
    spoke_to: Option<String>,
    /// What was said.
    note: String,
    /// The day to come back, today or later: the client is on the worklist from then on.
    follow_up_on: Option<Date>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// What `recordCollectionNote` did.
#[derive(SimpleObject)]
struct CollectionNotePayload {
    /// The note; null when refused.
    note: Option<CollectionNote>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// A part of a plan to record.
#[derive(InputObject, Clone, Debug)]
struct PlanInstallmentInput {
    /// Its day, from today on, each later than the one before.
    due_on: Date,
    /// Its amount.
    amount: Decimal,
}

/// A payment plan to record.
#[derive(InputObject, Clone, Debug)]
struct RecordPaymentPlanInput {
    /// The client.
    client: ClientRef,
    /// What it is about; everything that is late when absent.
    #[graphql(default)]
    items: Vec<ItemRefInput>,
    /// Its parts, 1 to 60: together at most what is open on the items.
    installments: Vec<PlanInstallmentInput>,
    /// The currency; the client's when absent.
    currency: Option<String>,
    /// What becomes of late-payment interest.
    #[graphql(default_with = "PlanInterest::Runs")]
    interest: PlanInterest,
    /// Days after an instalment's day before the whole is due, 0 to 60.
    #[graphql(default = 5)]
    grace_days: i32,
    /// What was agreed beside.
    note: Option<String>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// A payment plan to take back.
#[derive(InputObject, Clone, Debug)]
struct CancelPaymentPlanInput {
    /// The plan.
    plan: ID,
    /// Why, kept for ever.
    reason: String,
}

/// What happened to a payment plan.
#[derive(SimpleObject)]
struct PaymentPlanPayload {
    /// The plan as it is now; null when refused.
    plan: Option<PaymentPlan>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

async fn planned(ctx: &Context<'_>, done: Done<PlanId>) -> Result<PaymentPlanPayload> {
    let plan = match done.made {
        Some(id) => session(ctx)?
            .read(move |conn, caller| {
                Ok(store::collection::plans_by_ids(conn, caller.company, &[id])?.pop())
            })
            .await?
            .map(PaymentPlan),
        None => None,
    };
    Ok(PaymentPlanPayload {
        plan,
        user_errors: done.user_errors,
    })
}

/// The collectors' desk.
#[derive(Default)]
pub struct CollectionMutation;

#[Object]
impl CollectionMutation {
    /// Writes down a call, a visit or a note; the latest one says when to come back. A call that was a level of
    /// dunning is recorded by `recordDunningAction`.
    #[graphql(guard = "Permitted(\"Mutation.recordCollectionNote\")")]
    async fn record_collection_note(
        &self,
        ctx: &Context<'_>,
        input: RecordCollectionNoteInput,
    ) -> Result<CollectionNotePayload> {
        let run = how(&input.idempotency_key, false);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            let input = NoteInput {
                client: input.client.into(),
                kind: input.kind.code(),
                outcome: input.outcome.code(),
                spoke_to: input.spoke_to,
                note: input.note,
                follow_up_on: on(input.follow_up_on),
            };
            collection::note(conn, caller, &input)
        })
        .await?;
        let note = match done.made {
            Some(id) => session(ctx)?
                .read(move |conn, caller| {
                    Ok(store::collection::notes_by_ids(conn, caller.company, &[id])?.pop())
                })
                .await?
                .map(CollectionNote),
            None => None,
        };
        Ok(CollectionNotePayload {
            note,
            user_errors: done.user_errors,
        })
    }

    /// Records a payment plan; its items are not chased while it is respected (R7.2).
    #[graphql(guard = "Permitted(\"Mutation.recordPaymentPlan\")")]
    async fn record_payment_plan(
        &self,
        ctx: &Context<'_>,
        input: RecordPaymentPlanInput,
    ) -> Result<PaymentPlanPayload> {
        let run = how(&input.idempotency_key, input.validate_only);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            let input = PlanInput {
                client: input.client.into(),
                items: input.items.into_iter().map(Into::into).collect(),
                instalments: input
                    .installments
                    .iter()
                    .map(|part| (part.due_on.0, part.amount.0))
                    .collect(),
                currency: input.currency,
                interest: input.interest.code(),
                grace_days: input.grace_days,
                note: input.note,
            };
            collection::plan(conn, caller, &input)
        })
        .await?;
        planned(ctx, done).await
    }

    /// Takes a payment plan back, with the reason: its items are chased again at once.
    #[graphql(guard = "Permitted(\"Mutation.cancelPaymentPlan\")")]
    async fn cancel_payment_plan(
        &self,
        ctx: &Context<'_>,
        input: CancelPaymentPlanInput,
    ) -> Result<PaymentPlanPayload> {
        let done = mutate(ctx, how(&None, false), move |conn, caller| {
            collection::cancel_plan(conn, caller, &input.plan, &input.reason)
        })
        .await?;
        planned(ctx, done).await
    }
}
