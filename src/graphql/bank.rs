//! Bank accounts, statements, movements and their matches, and the tasks they leave (section 13).

mod act;

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use uuid::Uuid;

use super::aging::OpenItem;
use super::client::{Client, code_enum};
use super::document::{maybe, one};
use super::loaders::{MatchesOf, PayerAccountsOf};
use super::page::{self, Asked, Connection, Window, listed};
use super::payment::Payment;
use super::scalars::{Date, Decimal, Instant, money, on, show};
use super::text::untold;
use super::{Permitted, session};
use crate::domain::access::{Action, Caller};
use crate::domain::bank::{self, Share};
use crate::domain::ids::{BankLineId, BankStatementId, ClientId, Id, TaskId};
use crate::error::{Error, Result};
use crate::service::bank as desk;
use crate::store::list::{Direction, Sort};
use crate::store::{self};

pub use act::{BankMutation, link_payer_account};

untold!(Task, BankStatement, BankLine);

code_enum! {
    /// Where a movement on a bank account stands.
    BankLineStatus {
        /// Matched by a rule.
        Automatic = "AUTOMATIC",
        /// Matched by a person.
        Matched = "MATCHED",
        /// A rule proposes, a person decides; the money waits on account, or on 471.
        Proposed = "PROPOSED",
        /// The client is known, the money is on account.
        OnAccount = "ON_ACCOUNT",
        /// Nobody is known: the money is on 471.
        Unknown = "UNKNOWN",
        /// It took a receipt back (R13.3).
        Returned = "RETURNED",
        /// A remittance slip credited, or a charge of the bank.
        Posted = "POSTED",
        /// Not receivables.
        Ignored = "IGNORED",
        /// Taken back.
        Undone = "UNDONE",
        /// Tied to an entry that the books held already (rapprochement).
        Reconciled = "RECONCILED",
    }
}

code_enum! {
    /// What decided about a movement, in the order of 13.2.
    BankRule {
        /// A person.
        ByHand = "BY_HAND",
        /// The structured reference or end-to-end id is an open item's, for its amount.
        StructuredReference = "STRUCTURED_REFERENCE",
        /// Numbers in the text add up to the amount.
        NumbersInText = "NUMBERS_IN_TEXT",
        /// The same, but for a discount, a small difference or a part.
        NumbersWithDifference = "NUMBERS_WITH_DIFFERENCE",
        /// The payer's account is known, and one item, or one sum, is open for the amount.
        KnownAccount = "KNOWN_ACCOUNT",
        /// The client is known, nothing fits.
        KnownClient = "KNOWN_CLIENT",
        /// Nobody is known.
        UnknownPayer = "UNKNOWN_PAYER",
        /// The bank credits a remittance slip.
        RemittanceSlip = "REMITTANCE_SLIP",
        /// A receipt comes back.
        Return = "RETURN",
        /// The bank's own charge.
        BankCharge = "BANK_CHARGE",
        /// A payment of ours.
        NotReceivable = "NOT_RECEIVABLE",
        /// The books hold the movement already (rapprochement).
        AlreadyBooked = "ALREADY_BOOKED",
    }
}

code_enum! {
    /// What a task is about.
    TaskKind {
        /// A receipt on 471: who paid?
        UnknownReceipt = "UNKNOWN_RECEIPT",
        /// A match that is proposed.
        BankProposal = "BANK_PROPOSAL",
        /// Money that went back: which receipt?
        UnmatchedReturn = "UNMATCHED_RETURN",
        /// A client to call (a level of dunning that is a call).
        Call = "CALL",
        /// A file to hand over: the next level is pre-litigation.
        FileTransfer = "FILE_TRANSFER",
        /// A letter that could not be made, such as for a legal rate that is not known yet.
        LetterNotMade = "LETTER_NOT_MADE",
        /// A letter to print and post.
        PostLetter = "POST_LETTER",
        /// A registered letter to deposit; the slip is recorded (R7.9).
        RegisteredLetter = "REGISTERED_LETTER",
        /// No acknowledgment came back 15 days after the deposit (R7.9).
        AcknowledgmentMissing = "ACKNOWLEDGMENT_MISSING",
        /// A client without an address for mail.
        MissingAddress = "MISSING_ADDRESS",
        /// A mail that came back, or that the server would not take.
        BouncedMail = "BOUNCED_MAIL",
        /// A promise to pay that was not kept.
        BrokenPromise = "BROKEN_PROMISE",
        /// A payment plan that was not kept: the whole is due.
        BrokenPlan = "BROKEN_PLAN",
        /// A dispute that waits for its answer (R8.4).
        DisputeReminder = "DISPUTE_REMINDER",
        /// A dispute whose deadline has passed (R8.4).
        DisputeOverdue = "DISPUTE_OVERDUE",
        /// A run of reminders that a person has to validate.
        RunToValidate = "RUN_TO_VALIDATE",
        /// A claim to declare in insolvency proceedings (R7.10).
        ProofOfClaim = "PROOF_OF_CLAIM",
        /// A claim that will soon be prescribed (R7.11).
        Prescription = "PRESCRIPTION",
        /// A payment order to serve before it is void.
        ServeOrder = "SERVE_ORDER",
    }
}

listed!(
    store::bank::Statement => BankStatement,
    store::bank::Line => BankLine,
    store::task::Task => Task
);

/// An account's number as the caller may see it: whole for those who record payments.
fn shown(caller: &Caller, iban: &str) -> String {
    if caller.may(Action::RecordPayments) {
        return iban.to_owned();
    }
    desk::masked(iban)
}

/// A bank account of the company (compte bancaire).
#[derive(Clone)]
pub struct BankAccount(pub store::bank::Account);

/// A bank account of the company (compte bancaire).
#[Object]
impl BankAccount {
    /// The opaque id.
    pub async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// What the company calls it.
    async fn label(&self) -> &str {
        &self.0.label
    }
    /// IBAN, or the bank's own number; only its end for roles that record no payments.
    async fn iban(&self, ctx: &Context<'_>) -> Result<String> {
        Ok(shown(session(ctx)?.caller(), &self.0.iban))
    }
    /// The bank's BIC; null when not given.
    async fn bic(&self) -> Option<&str> {
        self.0.bic.as_deref()
    }
    /// The general account, 512 and below.
    async fn account(&self) -> &str {
        &self.0.account
    }
    /// Its currency.
    async fn currency(&self) -> &str {
        &self.0.currency
    }
}

/// A bank statement or notification that was imported.
#[derive(Clone)]
pub struct BankStatement(pub store::bank::Statement);

/// A bank statement (relevé) or notification that was imported.
#[Object]
impl BankStatement {
    /// The opaque id.
    pub async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// The bank's identification.
    async fn reference(&self) -> &str {
        &self.0.reference
    }
    /// CAMT053, CAMT054 or CFONB120.
    async fn format(&self) -> &str {
        &self.0.format
    }
    /// The bank's running number; null when it gives none.
    async fn sequence(&self) -> Option<String> {
        self.0.sequence.map(|number| number.to_string())
    }
    /// The bank account.
    async fn bank_account(&self, ctx: &Context<'_>) -> Result<BankAccount> {
        Ok(BankAccount(one(ctx, self.0.bank_account_id).await?))
    }
    /// The last day it speaks of.
    async fn to_on(&self) -> Option<Date> {
        self.0.to_on.map(Into::into)
    }
    /// Balance before, negative when overdrawn; null in notifications.
    async fn opening(&self) -> Option<Decimal> {
        self.0.opening.map(|amount| money(amount, &self.0.currency))
    }
    /// Balance after; null in notifications.
    async fn closing(&self) -> Option<Decimal> {
        self.0.closing.map(|amount| money(amount, &self.0.currency))
    }
    /// The currency of the amounts.
    async fn currency(&self) -> &str {
        &self.0.currency
    }
    /// The file it came in.
    async fn file_name(&self) -> &str {
        &self.0.file_name
    }
    /// Who imported it.
    async fn recorded_by(&self) -> &str {
        &self.0.recorded_by
    }
}

/// A movement on a bank account: a line of a statement, or one payment of a batch.
#[derive(Clone)]
pub struct BankLine(pub store::bank::Line);

/// A movement on a bank account: a line of a statement, or one payment of a batch.
#[Object]
impl BankLine {
    /// The opaque id.
    pub async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// The statement that brought it.
    async fn statement(&self, ctx: &Context<'_>) -> Result<BankStatement> {
        Ok(BankStatement(one(ctx, self.0.statement_id).await?))
    }
    /// The bank account.
    async fn bank_account(&self, ctx: &Context<'_>) -> Result<BankAccount> {
        Ok(BankAccount(one(ctx, self.0.bank_account_id).await?))
    }
    /// The day the bank booked it.
    async fn booked_on(&self) -> Date {
        self.0.booked_on.into()
    }
    /// The value date; null when not given.
    async fn value_on(&self) -> Option<Date> {
        self.0.value_on.map(Into::into)
    }
    /// The amount: positive for money in, negative for money out.
    async fn amount(&self) -> Decimal {
        money(self.0.amount, &self.0.currency)
    }
    /// The currency of the amount.
    async fn currency(&self) -> &str {
        &self.0.currency
    }
    /// Who paid or was paid, as the bank names it; null when not given.
    async fn counterparty(&self) -> Option<&str> {
        self.0.counterparty.as_deref()
    }
    /// The account of who paid; only its end for roles that record no payments.
    async fn counterparty_iban(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        let caller = session(ctx)?.caller();
        Ok(self
            .0
            .counterparty_iban
            .as_deref()
            .map(|iban| shown(caller, iban)))
    }
    /// The payer's own reference (EndToEndId); null when not given.
    async fn end_to_end_id(&self) -> Option<&str> {
        self.0.end_to_end_id.as_deref()
    }
    /// Structured references.
    async fn structured_references(&self) -> &[String] {
        &self.0.structured
    }
    /// What the payer wrote.
    async fn remittance(&self) -> &str {
        &self.0.remittance
    }
    /// Why money came back, as the bank's code; null when it did not.
    async fn return_reason(&self) -> Option<&str> {
        self.0.return_reason.as_deref()
    }
    /// Where it stands.
    async fn status(&self) -> Result<BankLineStatus> {
        BankLineStatus::of(&self.0.status)
    }
    /// The receipt that it became, or took back; null when there is none.
    async fn payment(&self, ctx: &Context<'_>) -> Result<Option<Payment>> {
        match self.0.payment_id {
            Some(id) => Ok(Some(Payment(one(ctx, id).await?))),
            None => Ok(None),
        }
    }
    /// The entry that held it already; null when it was booked from the statement, or not at all.
    async fn reconciled_with(&self, ctx: &Context<'_>) -> Result<Option<super::journal::Entry>> {
        match self.0.entry_id {
            Some(id) => Ok(maybe(ctx, id).await?.map(super::journal::Entry)),
            None => Ok(None),
        }
    }
    /// Every decision about it, oldest first: the last one counts.
    async fn matches(&self, ctx: &Context<'_>) -> Result<Vec<BankMatch>> {
        let rows = maybe(ctx, MatchesOf(self.0.id)).await?.unwrap_or_default();
        Ok(rows
            .into_iter()
            .map(|row| BankMatch(row, self.0.currency.clone()))
            .collect())
    }
}

/// A decision about a movement, with its currency.
#[derive(Clone)]
pub struct BankMatch(store::bank::Match, String);

/// A decision about a movement, by a rule or a person; kept for ever (R13.1).
#[Object]
impl BankMatch {
    /// What decided.
    async fn rule(&self) -> Result<BankRule> {
        let rule = bank::Rule::numbered(self.0.rule)
            .ok_or_else(|| Error::Internal(format!("stored rule {}", self.0.rule)))?;
        BankRule::of(rule.code())
    }
    /// How sure it is, 0 to 100.
    async fn score(&self) -> i32 {
        i32::from(self.0.score)
    }
    /// AUTOMATIC, PROPOSED, ACCEPTED, REJECTED, ON_ACCOUNT, UNKNOWN, RETURNED, POSTED, IGNORED, RECONCILED or UNDONE.
    async fn outcome(&self) -> &str {
        &self.0.outcome
    }
    /// Why.
    async fn evidence(&self) -> &str {
        &self.0.evidence
    }
    /// Whose money it was taken for; null when nobody's.
    async fn client(&self, ctx: &Context<'_>) -> Result<Option<Client>> {
        match self.0.client_id {
            Some(id) => Ok(maybe(ctx, id).await?.map(Client)),
            None => Ok(None),
        }
    }
    /// What it pays.
    async fn shares(&self) -> Result<Vec<BankShare>> {
        Ok(shares(desk::Laid::of(&self.0)?.shares, &self.1))
    }
    /// What else it could have paid, counted from 0 for `acceptBankProposal`.
    async fn alternatives(&self) -> Result<Vec<BankAlternative>> {
        Ok(desk::alternatives(&self.0)?
            .into_iter()
            .map(|found| BankAlternative {
                evidence: found.evidence,
                shares: shares(found.shares, &self.1),
            })
            .collect())
    }
    /// When it was recorded.
    async fn recorded_at(&self) -> Instant {
        self.0.recorded_at.into()
    }
    /// Who decided.
    async fn recorded_by(&self) -> &str {
        &self.0.recorded_by
    }
}

fn shares(found: Vec<Share>, currency: &str) -> Vec<BankShare> {
    found
        .into_iter()
        .map(|share| BankShare(share, currency.to_owned()))
        .collect()
}

/// Something else that a movement could have paid.
#[derive(SimpleObject, Clone)]
struct BankAlternative {
    /// Why.
    evidence: String,
    /// What it would pay.
    shares: Vec<BankShare>,
}

#[derive(Clone)]
struct BankShare(Share, String);

/// A part of a decision: what the money, or a credit that the payer took off, pays of an item.
#[Object]
impl BankShare {
    /// What is paid.
    async fn debit(&self, ctx: &Context<'_>) -> Result<OpenItem> {
        OpenItem::now(ctx, one(ctx, self.0.debit).await?)
    }
    /// The credit that the payer took off; null for the money itself.
    async fn credit(&self, ctx: &Context<'_>) -> Result<Option<OpenItem>> {
        match self.0.credit {
            Some(id) => Ok(Some(OpenItem::now(ctx, one(ctx, id).await?)?)),
            None => Ok(None),
        }
    }
    /// How much, positive.
    async fn amount(&self) -> Decimal {
        money(self.0.amount, &self.1)
    }
}

/// Something that a person has to look at.
#[derive(Clone)]
pub struct Task(pub store::task::Task);

/// Something that a person has to look at.
#[Object]
impl Task {
    /// The opaque id.
    pub async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// What it is about.
    async fn kind(&self) -> Result<TaskKind> {
        TaskKind::of(&self.0.kind)
    }
    /// What to do.
    async fn subject(&self) -> &str {
        &self.0.subject
    }
    /// By when.
    async fn due_on(&self) -> Date {
        self.0.due_on.into()
    }
    /// The client whose account it is about; null when that is not known.
    async fn client(&self, ctx: &Context<'_>) -> Result<Option<Client>> {
        match self.0.client_id {
            Some(id) => Ok(maybe(ctx, id).await?.map(Client)),
            None => Ok(None),
        }
    }
    /// The movement concerned; null when it is about something else.
    async fn bank_line(&self, ctx: &Context<'_>) -> Result<Option<BankLine>> {
        Ok(maybe(ctx, BankLineId(self.0.source_id))
            .await?
            .map(BankLine))
    }
    /// When it was done; null until then.
    async fn done_at(&self) -> Option<Instant> {
        self.0.done_at.map(Into::into)
    }
    /// Who did it; null until then.
    async fn done_by(&self) -> Option<&str> {
        self.0.done_by.as_deref()
    }
}

/// An account that pays for a client (R13.4: one account may pay for several).
#[derive(SimpleObject, Clone)]
pub struct PayerAccount {
    /// IBAN, or the bank's own number.
    iban: String,
    /// Who recorded it, or what.
    recorded_by: String,
}

/// The accounts that pay for a client.
pub async fn payer_accounts(ctx: &Context<'_>, client: ClientId) -> Result<Vec<PayerAccount>> {
    let rows = maybe(ctx, PayerAccountsOf(client))
        .await?
        .unwrap_or_default();
    Ok(rows
        .into_iter()
        .map(|row| PayerAccount {
            iban: row.iban,
            recorded_by: row.recorded_by,
        })
        .collect())
}

/// Narrows movements; all conditions hold at once.
#[derive(InputObject, Clone, Debug, Default)]
struct BankLineFilter {
    /// Standing so.
    statuses: Option<Vec<BankLineStatus>>,
    /// On this bank account.
    bank_account: Option<ID>,
    /// Of this statement.
    statement: Option<ID>,
    /// Booked on or after this day.
    booked_from: Option<Date>,
    /// Booked on or before this day.
    booked_to: Option<Date>,
    /// Part of the counterparty's name or of what the payer wrote, whatever the case and the accents.
    search: Option<String>,
}

/// An id of a filter: unknown ones find nothing.
fn wanted<T: Id>(id: Option<ID>) -> Option<T> {
    id.map(|id| T::read(&id).unwrap_or(T::from_uuid(Uuid::nil())))
}

/// The bank.
#[derive(Default)]
pub struct BankQuery;

#[Object]
impl BankQuery {
    /// The company's bank accounts, by label.
    #[graphql(guard = "Permitted(\"Query.bankAccounts\")")]
    async fn bank_accounts(&self, ctx: &Context<'_>) -> Result<Vec<BankAccount>> {
        let rows = session(ctx)?
            .read(|conn, caller| Ok(store::bank::accounts(conn, caller.company)?))
            .await?;
        Ok(rows.into_iter().map(BankAccount).collect())
    }

    /// Imported statements and notifications, latest first.
    #[graphql(guard = "Permitted(\"Query.bankStatements\")")]
    async fn bank_statements(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of this bank account; of all when absent.")] bank_account: Option<ID>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<BankStatement>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("statements{bank_account:?}"),
        )?;
        let session = session(ctx)?;
        let from = store::bank::statements_from(session.caller().company, wanted(bank_account));
        let sort = Sort {
            column: "t.to_on",
            sql_type: "date",
            direction: Direction::Descending,
        };
        page::list(session, from, sort, asked, |conn, caller, ids| {
            let ids: Vec<_> = ids.iter().copied().map(BankStatementId).collect();
            Ok(store::bank::statements_by_ids(conn, caller.company, &ids)?)
        })
        .await
    }

    /// A movement; null when there is none.
    #[graphql(guard = "Permitted(\"Query.bankLine\")")]
    async fn bank_line(&self, ctx: &Context<'_>, id: ID) -> Result<Option<BankLine>> {
        match BankLineId::read(&id) {
            Some(id) => Ok(maybe(ctx, id).await?.map(BankLine)),
            None => Ok(None),
        }
    }

    /// Movements, latest first.
    #[graphql(guard = "Permitted(\"Query.bankLines\")")]
    async fn bank_lines(
        &self,
        ctx: &Context<'_>,
        filter: Option<BankLineFilter>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<BankLine>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("bank lines{filter:?}"),
        )?;
        let input = filter.unwrap_or_default();
        let statuses = input.statuses.unwrap_or_default();
        let filter = store::bank::Filter {
            statuses: statuses
                .into_iter()
                .map(|status| status.code().to_owned())
                .collect(),
            account: wanted(input.bank_account),
            statement: wanted(input.statement),
            from: on(input.booked_from),
            to: on(input.booked_to),
            search: input.search,
        };
        let session = session(ctx)?;
        let from = store::bank::lines_from(session.caller().company, &filter);
        let sort = Sort {
            column: "t.booked_on",
            sql_type: "date",
            direction: Direction::Descending,
        };
        page::list(session, from, sort, asked, |conn, caller, ids| {
            let ids: Vec<_> = ids.iter().copied().map(BankLineId).collect();
            Ok(store::bank::lines_by_ids(conn, caller.company, &ids)?)
        })
        .await
    }

    /// Tasks by the day they are due; those not done unless asked otherwise.
    #[graphql(guard = "Permitted(\"Query.tasks\")")]
    async fn tasks(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of these kinds; all when absent.")] kinds: Option<Vec<TaskKind>>,
        #[graphql(default)] done: bool,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<Task>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("tasks{kinds:?}{done}"),
        )?;
        let kinds = kinds.unwrap_or_default();
        let kinds: Vec<String> = kinds
            .into_iter()
            .map(|kind| kind.code().to_owned())
            .collect();
        let session = session(ctx)?;
        let sort = Sort {
            column: "t.due_on",
            sql_type: "date",
            direction: Direction::Ascending,
        };
        let from = store::task::from(session.caller().company, &kinds, Some(done));
        page::list(session, from, sort, asked, |conn, caller, ids| {
            let ids: Vec<_> = ids.iter().copied().map(TaskId).collect();
            Ok(store::task::by_ids(conn, caller.company, &ids)?)
        })
        .await
    }
}
