//! Dunning (relances): the preview of a day, what was sent, scenarios, promises to pay.

mod act;

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use uuid::Uuid;

use super::aging::OpenItem;
use super::client::{Client, ClientFilter, client_filter_id, code_enum};
use super::document::{maybe, one};
use super::loaders::{BooksCurrency, DunningItemsOf, PaidOnPromise, ProofsOf};
use super::page::{self, Asked, Connection, Window, counted, listed};
use super::scalars::{ClientRef, Date, Decimal, Instant, money, show};
use super::text::untold;
use super::{Permitted, session};
use crate::domain::dunning::{self as rules, Level};
use crate::domain::ids::{ClientId, DunningActionId, ItemId, PromiseId};
use crate::domain::money::Currency;
use crate::domain::refusal::Refusal;
use crate::error::{Error, Result};
use crate::service::dunning::{self, Chosen, Judged, Reminder};
use crate::store::aging::Population;
use crate::store::list::{Direction, Sort};
use crate::store::{self};

pub use act::DunningMutation;

untold!(Promise, DunningReminder, DunningAction);

code_enum! {
    /// How a reminder reaches the client.
    DunningChannel {
        /// An e-mail.
        Email = "EMAIL",
        /// A call.
        Phone = "PHONE",
        /// A letter.
        Letter = "LETTER",
        /// A registered letter with acknowledgment (LRAR).
        RegisteredLetter = "REGISTERED_LETTER",
        /// An electronic registered letter (LRE).
        ElectronicRegisteredLetter = "ELECTRONIC_REGISTERED_LETTER",
        /// The file goes to the next stage.
        FileTransfer = "FILE_TRANSFER",
    }
}

code_enum! {
    /// How a reminder speaks.
    DunningTone {
        /// Before anything is late.
        Courtesy = "COURTESY",
        /// An oversight is assumed.
        Friendly = "FRIENDLY",
        /// Finds the reason, and gets a promise.
        Enquiring = "ENQUIRING",
        /// States penalties and the flat indemnity.
        Firm = "FIRM",
        /// The last amicable letter.
        LastAmicable = "LAST_AMICABLE",
        /// Mise en demeure.
        FormalNotice = "FORMAL_NOTICE",
        /// Pre-litigation (pré-contentieux).
        PreLitigation = "PRE_LITIGATION",
    }
}

code_enum! {
    /// Why a claim, or a client, is not chased (R7.2).
    DunningExclusion {
        /// The client is not chased at all: a company of the group, or by its scenario.
        NotChased = "NOT_CHASED",
        /// Insolvency proceedings: dunning is over.
        Insolvent = "INSOLVENT",
        /// Not late yet.
        NotLate = "NOT_LATE",
        /// All of it is in a dispute that stops dunning (R7.4).
        Disputed = "DISPUTED",
        /// A promise to pay is running.
        Promised = "PROMISED",
        /// A payment plan in good standing covers it.
        Planned = "PLANNED",
        /// A litigation case holds it.
        Litigation = "LITIGATION",
        /// Too little is left.
        BelowMinimum = "BELOW_MINIMUM",
        /// Credits that are not matched cover everything the client owes.
        CreditBalance = "CREDIT_BALANCE",
        /// The next level is not reached yet.
        NotYet = "NOT_YET",
        /// The last action to this client was too recent (R7.3).
        TooSoon = "TOO_SOON",
    }
}

code_enum! {
    /// Who takes a step of a scenario.
    DunningActor {
        /// The server, when the company wants automatic dunning; else the accountant.
        Automatic = "AUTOMATIC",
        /// Comptable clients.
        Accountant = "ACCOUNTANT",
        /// The credit manager.
        CreditManager = "CREDIT_MANAGER",
    }
}

code_enum! {
    /// What a formal notice about a claim lacks (R7.7): it has to be certain, liquid and due.
    FormalNoticeFault {
        /// A part of it is in dispute: it is not certain.
        Contested = "CONTESTED",
        /// Nothing proves its delivery: attach a DELIVERY_PROOF or an ACKNOWLEDGMENT_OF_DEBT.
        Unproven = "UNPROVEN",
        /// Its term has not expired.
        NotDue = "NOT_DUE",
    }
}

code_enum! {
    /// What became of a promise to pay: known the day after it was for.
    PromiseStatus {
        /// Its day has not passed.
        Running = "RUNNING",
        /// Paid in time.
        Kept = "KEPT",
        /// Paid in part.
        PartlyKept = "PARTLY_KEPT",
        /// Not paid: the reminders go on at the next level (R7.6).
        Broken = "BROKEN",
        /// Taken back.
        Cancelled = "CANCELLED",
    }
}

/// A level of a dunning scenario.
#[derive(SimpleObject, InputObject, Clone, Debug)]
#[graphql(input_name = "DunningLevelInput")]
struct DunningLevel {
    /// Counted from 1, the first reminder.
    level: i32,
    /// Days after the due date; a day without work moves to the next one (R7.5).
    day: i32,
    /// How it reaches the client.
    channel: DunningChannel,
    /// How it speaks.
    tone: DunningTone,
    /// Whether a proof must be named: deposit slip, acknowledgment (R7.9).
    proof: bool,
    /// Who takes it.
    #[graphql(default_with = "DunningActor::Accountant")]
    actor: DunningActor,
    /// A claim below this does not rise to it, in the company's currency.
    #[graphql(default)]
    min_amount: Decimal,
    /// Above this the director approves it, in the company's currency; null when nobody has to.
    approval_above: Option<Decimal>,
    /// Whether it states penalties and the flat indemnity (R6.12).
    #[graphql(default)]
    interest: bool,
}

impl DunningLevel {
    fn of(level: &Level, books: Currency) -> Result<DunningLevel> {
        Ok(DunningLevel {
            level: i32::from(level.level),
            day: i32::from(level.day),
            channel: DunningChannel::of(level.channel.code())?,
            tone: DunningTone::of(level.tone.code())?,
            proof: level.proof,
            actor: DunningActor::of(level.actor.code())?,
            min_amount: money(level.min_amount, books.code()),
            approval_above: level.approval_above.map(|most| money(most, books.code())),
            interest: level.interest,
        })
    }

    fn read(&self, position: usize, books: Currency) -> Result<Level> {
        let out_of_range = || {
            Error::from(Refusal::invalid(
                &format!("levels.{position}"),
                "levels go from 1 to 10, days from 0 to 730",
            ))
        };
        Ok(Level {
            level: u8::try_from(self.level).map_err(|_| out_of_range())?,
            day: u16::try_from(self.day).map_err(|_| out_of_range())?,
            channel: rules::Channel::read(self.channel.code()).ok_or_else(out_of_range)?,
            tone: rules::Tone::read(self.tone.code()).ok_or_else(out_of_range)?,
            proof: self.proof,
            actor: rules::Actor::read(self.actor.code()).ok_or_else(out_of_range)?,
            min_amount: least(
                &format!("levels.{position}.minAmount"),
                self.min_amount,
                books,
            )?,
            approval_above: self
                .approval_above
                .map(|most| least(&format!("levels.{position}.approvalAbove"), most, books))
                .transpose()?,
            interest: self.interest,
        })
    }
}

/// An amount that may be zero.
fn least(field: &str, amount: Decimal, books: Currency) -> Result<i64> {
    if amount.0.is_zero() {
        Ok(0)
    } else {
        crate::service::books::amount(field, amount.0, books)
    }
}

/// The notice before the due date (level 0).
#[derive(SimpleObject, InputObject, Clone, Debug)]
#[graphql(input_name = "CourtesyNoticeInput")]
struct CourtesyNotice {
    /// Days before the due date, 1 to 60.
    days_before: i32,
    /// What falls due together is not worth a notice below this, in the company's currency.
    min_amount: Decimal,
}

/// A dunning scenario: who is reminded how, and when (7.1).
#[derive(SimpleObject, Clone)]
struct DunningScenario {
    /// A segment's code, or a name of the company's own.
    name: String,
    /// Counts up with each change; 0 for the one that comes with the product.
    version: i32,
    /// Whether these clients are reminded at all.
    chased: bool,
    /// Days between two actions to one client, at least (R7.3).
    min_gap_days: i32,
    /// What is below this is not worth a reminder (R7.2), in the company's currency.
    min_residual: Decimal,
    /// Whether reminders may state interest and the 40 € between professionals (R6.12).
    between_professionals: bool,
    /// The levels, one after the other.
    levels: Vec<DunningLevel>,
    /// The courtesy notice; null when nothing is sent before the due date.
    courtesy: Option<CourtesyNotice>,
    /// Closed: no run uses it, and no client is given it.
    closed: bool,
}

impl DunningScenario {
    fn of(chosen: &Chosen, books: Currency) -> Result<DunningScenario> {
        let scenario = &chosen.scenario;
        Ok(DunningScenario {
            name: chosen.name.clone(),
            version: chosen.version,
            chased: scenario.chased,
            min_gap_days: i32::from(scenario.min_gap_days),
            min_residual: money(scenario.min_residual, books.code()),
            between_professionals: scenario.between_professionals,
            levels: scenario
                .levels
                .iter()
                .map(|level| DunningLevel::of(level, books))
                .collect::<Result<_>>()?,
            courtesy: scenario.courtesy.as_ref().map(|notice| CourtesyNotice {
                days_before: i32::from(notice.days_before),
                min_amount: money(notice.min_amount, books.code()),
            }),
            closed: scenario.closed,
        })
    }
}

/// What a client would be sent on a day in one currency, and why or why not.
#[derive(Clone)]
pub struct DunningReminder(pub Reminder);

/// What a client would be sent on a day in one currency, and why or why not.
#[Object]
impl DunningReminder {
    /// The client.
    async fn client(&self) -> Client {
        Client(self.0.client.clone())
    }
    /// The currency of the amounts.
    async fn currency(&self) -> &str {
        &self.0.currency
    }
    /// The scenario that decides: the client's own, else that of its segment.
    async fn scenario(&self, ctx: &Context<'_>) -> Result<DunningScenario> {
        DunningScenario::of(&self.0.chosen, one(ctx, BooksCurrency).await?)
    }
    /// The level that is due: the highest among the claims (R7.1); null when nothing is sent.
    async fn level(&self, ctx: &Context<'_>) -> Result<Option<DunningLevel>> {
        let books = one(ctx, BooksCurrency).await?;
        let level = self.0.level.as_ref();
        level
            .map(|level| DunningLevel::of(level, books))
            .transpose()
    }
    /// Why nothing is sent; null when a reminder is due, or nothing is late.
    async fn exclusion(&self) -> Result<Option<DunningExclusion>> {
        exclusion(self.0.exclusion)
    }
    /// What the reminder claims: the undisputed part of its claims.
    async fn claimed(&self) -> Decimal {
        money(self.0.claimed(), &self.0.currency)
    }
    /// Receipts and credit notes that are not matched, positive.
    async fn unallocated(&self) -> Decimal {
        money(self.0.credits, &self.0.currency)
    }
    /// What the client would have to pay: `claimed` less `unallocated`.
    async fn net(&self) -> Decimal {
        money(self.0.claimed() - self.0.credits, &self.0.currency)
    }
    /// Every open debt, oldest due first, with what becomes of it.
    async fn claims(&self) -> Vec<DunningClaim> {
        self.0.items.iter().cloned().map(DunningClaim).collect()
    }
}

fn exclusion(found: Option<rules::Exclusion>) -> Result<Option<DunningExclusion>> {
    found
        .map(|exclusion| DunningExclusion::of(exclusion.code()))
        .transpose()
}

/// An open debt in a preview.
#[derive(Clone)]
struct DunningClaim(Judged);

/// An open debt in a preview: what it deserves, what it gets, and why.
#[Object]
impl DunningClaim {
    /// The item.
    async fn item(&self, ctx: &Context<'_>) -> Result<OpenItem> {
        OpenItem::now(ctx, one(ctx, ItemId(self.0.open.id)).await?)
    }
    /// Number of its document.
    async fn reference(&self) -> &str {
        &self.0.open.reference
    }
    /// The due date.
    async fn due_on(&self) -> Option<Date> {
        self.0.open.due_on.map(Into::into)
    }
    /// What is open on the day.
    async fn residual(&self) -> Decimal {
        money(self.0.open.open, &self.0.open.currency)
    }
    /// Of which in disputes that stop dunning.
    async fn disputed(&self) -> Decimal {
        money(
            self.0.facts.blocked.min(self.0.open.open),
            &self.0.open.currency,
        )
    }
    /// What the reminder claims of it; zero when it is left out.
    async fn claimed(&self) -> Decimal {
        money(self.0.verdict.claimed, &self.0.open.currency)
    }
    /// The level that its age deserves; 0 for none.
    async fn deserved_level(&self) -> i32 {
        i32::from(self.0.verdict.deserved)
    }
    /// The last level sent for it; 0 for none.
    async fn last_level(&self) -> i32 {
        i32::from(self.0.facts.last_level)
    }
    /// The level it gets: at most one more than it had (R7.3), no formal notice while a part is disputed (R7.7).
    async fn level(&self) -> i32 {
        i32::from(self.0.verdict.level)
    }
    /// Why it is left out; null when it is claimed.
    async fn exclusion(&self) -> Result<Option<DunningExclusion>> {
        exclusion(self.0.verdict.exclusion)
    }
    /// What a formal notice about it lacks (R7.7); empty when it is certain, liquid and due.
    async fn formal_notice_faults(&self) -> Result<Vec<FormalNoticeFault>> {
        let faults = self.0.formal_faults.iter();
        faults
            .map(|fault| FormalNoticeFault::of(fault.code()))
            .collect()
    }
}

listed!(store::dunning::Action => DunningAction, store::dunning::Promise => Promise);

/// A reminder that was made, with the figures of that moment (R7.9).
#[derive(Clone)]
pub struct DunningAction(pub store::dunning::Action);

/// A text in which people are named: for those who may read personal data (R12.4).
pub fn personal<'a>(ctx: &Context<'_>, text: Option<&'a str>) -> Result<Option<&'a str>> {
    let may = session(ctx)?
        .caller()
        .may(crate::domain::access::Action::ReadContacts);
    Ok(text.filter(|_| may))
}

impl DunningAction {
    /// The reminder of an id.
    pub async fn find(ctx: &Context<'_>, id: DunningActionId) -> Result<Option<DunningAction>> {
        let row = session(ctx)?
            .read(move |conn, caller| {
                Ok(store::dunning::actions_by_ids(conn, caller.company, &[id])?.pop())
            })
            .await?;
        Ok(row.map(DunningAction))
    }
}

/// What became of a registered letter (R7.9).
#[derive(SimpleObject)]
struct DunningProof {
    /// What happened.
    kind: super::dunning_run::DunningProofKind,
    /// The day.
    happened_on: Date,
    /// The number of the slip or letter.
    reference: String,
    /// The scanned slip or acknowledgment; null when none was attached.
    file: Option<ID>,
    /// Who recorded it.
    recorded_by: String,
}

/// A reminder that was made, with the figures of that moment (R7.9).
#[Object]
impl DunningAction {
    /// The opaque id.
    pub async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// The client.
    async fn client(&self, ctx: &Context<'_>) -> Result<Client> {
        Ok(Client(one(ctx, self.0.client_id).await?))
    }
    /// Its level.
    async fn level(&self) -> i32 {
        i32::from(self.0.level)
    }
    /// How it reached the client.
    async fn channel(&self) -> Result<DunningChannel> {
        DunningChannel::of(&self.0.channel)
    }
    /// How it spoke.
    async fn tone(&self) -> Result<DunningTone> {
        DunningTone::of(&self.0.tone)
    }
    /// The day.
    async fn done_on(&self) -> Date {
        self.0.done_on.into()
    }
    /// The currency of the amounts.
    async fn currency(&self) -> &str {
        &self.0.currency
    }
    /// What was claimed.
    async fn claimed(&self) -> Decimal {
        money(self.0.claimed, &self.0.currency)
    }
    /// Credits that were not matched then, positive.
    async fn unallocated(&self) -> Decimal {
        money(self.0.credits, &self.0.currency)
    }
    /// The scenario, and its version: 0 for the one that comes with the product.
    async fn scenario(&self) -> String {
        format!("{} {}", self.0.scenario, self.0.scenario_version)
    }
    /// Whom it was sent to, or who was spoken to; null when not said, or when the role may not read personal data.
    async fn recipient(&self, ctx: &Context<'_>) -> Result<Option<&str>> {
        personal(ctx, self.0.recipient.as_deref())
    }
    /// The proof that is kept; null when none is needed.
    async fn proof(&self) -> Option<&str> {
        self.0.proof.as_deref()
    }
    /// What was said or agreed; null when nothing was noted, or when the role may not read personal data.
    async fn note(&self, ctx: &Context<'_>) -> Result<Option<&str>> {
        personal(ctx, self.0.note.as_deref())
    }
    /// What became of the letter: deposit, acknowledgment, refusal, in the order of recording.
    async fn proofs(&self, ctx: &Context<'_>) -> Result<Vec<DunningProof>> {
        let rows = maybe(ctx, ProofsOf(self.0.id)).await?.unwrap_or_default();
        rows.into_iter()
            .map(|row| {
                Ok(DunningProof {
                    kind: super::dunning_run::DunningProofKind::of(&row.kind)?,
                    happened_on: row.happened_on.into(),
                    reference: row.reference,
                    file: row.file_id.map(show),
                    recorded_by: row.recorded_by,
                })
            })
            .collect()
    }
    /// The letter that was sent, and what was attached to it since.
    async fn files(&self, ctx: &Context<'_>) -> Result<Vec<super::file::AttachedFile>> {
        super::file::files_of(ctx, self.0.id.0).await
    }
    /// What was claimed, item by item.
    async fn items(&self, ctx: &Context<'_>) -> Result<Vec<DunningActionItem>> {
        let rows = maybe(ctx, DunningItemsOf(self.0.id))
            .await?
            .unwrap_or_default();
        let currency = &self.0.currency;
        Ok(rows
            .into_iter()
            .map(|row| DunningActionItem {
                item: show(row.item_id),
                level: i32::from(row.level),
                residual: money(row.residual, currency),
                disputed: money(row.disputed, currency),
                claimed: money(row.claimed, currency),
            })
            .collect())
    }
    /// When it was recorded.
    async fn recorded_at(&self) -> Instant {
        self.0.recorded_at.into()
    }
    /// Who recorded it.
    async fn recorded_by(&self) -> &str {
        &self.0.recorded_by
    }
}

/// What a reminder claimed of an item.
#[derive(SimpleObject)]
struct DunningActionItem {
    /// The open item's id, for `node`.
    item: ID,
    /// The level it got.
    level: i32,
    /// What was open then.
    residual: Decimal,
    /// Of which in disputes that stop dunning.
    disputed: Decimal,
    /// What was claimed.
    claimed: Decimal,
}

/// A promise to pay (promesse de paiement).
#[derive(Clone)]
pub struct Promise(pub store::dunning::Promise);

/// A promise to pay (promesse de paiement): its items are not chased until its day has passed.
#[Object]
impl Promise {
    /// The opaque id.
    pub async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// Who promised.
    async fn client(&self, ctx: &Context<'_>) -> Result<Client> {
        Ok(Client(one(ctx, self.0.client_id).await?))
    }
    /// The day it was given.
    async fn promised_on(&self) -> Date {
        self.0.promised_on.into()
    }
    /// The day it is for.
    async fn due_on(&self) -> Date {
        self.0.due_on.into()
    }
    /// What was promised.
    async fn amount(&self) -> Decimal {
        money(self.0.amount, &self.0.currency)
    }
    /// The currency of the amounts.
    async fn currency(&self) -> &str {
        &self.0.currency
    }
    /// What was paid or credited on its items since, through its day.
    async fn paid(&self, ctx: &Context<'_>) -> Result<Decimal> {
        let paid = maybe(ctx, PaidOnPromise(self.0.id)).await?.unwrap_or(0);
        Ok(money(paid, &self.0.currency))
    }
    /// What became of it by today.
    async fn status(&self, ctx: &Context<'_>) -> Result<PromiseStatus> {
        let paid = maybe(ctx, PaidOnPromise(self.0.id)).await?.unwrap_or(0);
        PromiseStatus::of(dunning::outcome(
            &self.0,
            paid,
            session(ctx)?.caller().today,
        ))
    }
    /// What was said; null when nothing was noted, or when the role may not read personal data.
    async fn note(&self, ctx: &Context<'_>) -> Result<Option<&str>> {
        personal(ctx, self.0.note.as_deref())
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

/// Dunning.
#[derive(Default)]
pub struct DunningQuery;

#[Object]
impl DunningQuery {
    /// What would be sent on a day, client by client, by number, and for each claim why or why not
    /// (R7.1 to R7.6). Clients with something late, or soon due enough for a courtesy notice; nothing is sent.
    #[graphql(guard = "Permitted(\"Query.dunningPreview\")")]
    async fn dunning_preview(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The day; today when absent.")] as_of: Option<Date>,
        #[graphql(desc = "Only of this client.")] client: Option<ClientRef>,
        #[graphql(desc = "Only of these clients.")] clients: Option<ClientFilter>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<DunningReminder>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("dunning{as_of:?}{client:?}{clients:?}"),
        )?;
        let caller = session(ctx)?.caller();
        let day = super::scalars::day("asOf", as_of.unwrap_or(caller.today.into()).0)?;
        let population = Population {
            families: vec!["411".into()],
            client_ids: client_filter_id(ctx, client).await?.into_iter().collect(),
            clients: clients
                .map(|clients| clients.read(caller))
                .transpose()?
                .unwrap_or_default(),
            ..Population::of(caller.company, day)
        };
        let (asking, keyset) = (population.clone(), asked.keyset.clone());
        let session = session(ctx)?.clone();
        let (reminders, more) = session
            .read(move |conn, caller| {
                let before = dunning::horizon(&dunning::scenarios(conn, caller)?, day);
                let (ids, more) = store::dunning::late_clients(conn, &asking, before, &keyset)?;
                let ids: Vec<ClientId> = ids.into_iter().map(ClientId).collect();
                let mut clients = store::client::by_ids(conn, caller.company, &ids)?;
                clients.sort_by(|a, b| a.number.cmp(&b.number));
                Ok((dunning::preview(conn, caller, day, &clients)?, more))
            })
            .await?;
        Ok(Connection {
            cursors: reminders
                .iter()
                .map(|found| asked.cursor(&found.client.number, Uuid::nil()))
                .collect(),
            nodes: reminders.into_iter().map(DunningReminder).collect(),
            ends: asked.ends(more),
            count: counted(move || {
                let (session, population) = (session.clone(), population.clone());
                async move {
                    session
                        .read(move |conn, caller| {
                            let before = dunning::horizon(&dunning::scenarios(conn, caller)?, day);
                            Ok(store::dunning::late_client_count(
                                conn,
                                &population,
                                before,
                            )?)
                        })
                        .await
                }
            }),
        })
    }

    /// Reminders that were made, latest first.
    #[graphql(guard = "Permitted(\"Query.dunningActions\")")]
    async fn dunning_actions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of this client; of all when absent.")] client: Option<ClientRef>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<DunningAction>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("dunning actions{client:?}"),
        )?;
        let client = client_filter_id(ctx, client).await?;
        let session = session(ctx)?;
        let sort = Sort {
            column: "t.done_on",
            sql_type: "date",
            direction: Direction::Descending,
        };
        let from = store::dunning::actions_from(session.caller().company, client);
        page::list(session, from, sort, asked, |conn, caller, ids| {
            let ids: Vec<DunningActionId> = ids.iter().copied().map(DunningActionId).collect();
            Ok(store::dunning::actions_by_ids(conn, caller.company, &ids)?)
        })
        .await
    }

    /// The dunning scenarios in force, by name: the company's own over those of the segments (R7.8).
    #[graphql(guard = "Permitted(\"Query.dunningScenarios\")")]
    async fn dunning_scenarios(&self, ctx: &Context<'_>) -> Result<Vec<DunningScenario>> {
        let books = one(ctx, BooksCurrency).await?;
        let found = session(ctx)?.read(dunning::scenarios).await?;
        found
            .values()
            .map(|chosen| DunningScenario::of(chosen, books))
            .collect()
    }

    /// Promises to pay, latest day first.
    #[graphql(guard = "Permitted(\"Query.promises\")")]
    async fn promises(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of this client; of all when absent.")] client: Option<ClientRef>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<Promise>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("promises{client:?}"),
        )?;
        let client = client_filter_id(ctx, client).await?;
        let session = session(ctx)?;
        let sort = Sort {
            column: "t.due_on",
            sql_type: "date",
            direction: Direction::Descending,
        };
        let from = store::dunning::promises_from(session.caller().company, client);
        page::list(session, from, sort, asked, |conn, caller, ids| {
            let ids: Vec<PromiseId> = ids.iter().copied().map(PromiseId).collect();
            Ok(store::dunning::promises_by_ids(conn, caller.company, &ids)?)
        })
        .await
    }
}
