//! What people do about bank accounts, movements and tasks.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::{BankAccount, BankLine, Task};
use crate::domain::access::Caller;
use crate::domain::ids::{BankAccountId, BankLineId, ClientId};
use crate::error::Result;
use crate::graphql::Permitted;
use crate::graphql::client::Client;
use crate::graphql::document::one;
use crate::graphql::error::UserError;
use crate::graphql::mutation::{Done, How, mutate};
use crate::graphql::operation::how;
use crate::graphql::scalars::{ClientRef, Decimal, ItemRefInput, PaymentRef};
use crate::service::bank as desk;
use crate::service::bank::reconcile;
use crate::store::Conn;

/// A bank account to open or change.
#[derive(InputObject, Clone, Debug)]
struct SaveBankAccountInput {
    /// Changes this one; opens another when absent.
    id: Option<ID>,
    /// What the company calls it.
    label: String,
    /// IBAN, or the bank's own number; needed to open.
    iban: Option<String>,
    /// The bank's BIC.
    bic: Option<String>,
    /// The general account, 512 and below. When absent: the account map's, and that of an account that is changed stays.
    account: Option<String>,
    /// The company's currency when absent.
    currency: Option<String>,
}

/// Accepts what is proposed for a movement.
#[derive(InputObject, Clone, Debug)]
struct AcceptBankProposalInput {
    /// The movement.
    line: ID,
    /// One of the alternatives instead, counted from 0.
    alternative: Option<i32>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// Turns a proposal down.
#[derive(InputObject, Clone, Debug)]
struct RejectBankProposalInput {
    /// The movement.
    line: ID,
    /// Why, kept for ever.
    reason: String,
}

/// What a movement pays.
#[derive(InputObject, Clone, Debug)]
struct BankAllocationInput {
    /// The invoice, instalment or deduction, of any client (R13.4).
    debit: ItemRefInput,
    /// How much; as much as is open and left when absent.
    amount: Option<Decimal>,
}

/// Whose money a movement is.
#[derive(InputObject, Clone, Debug)]
struct AssignBankLineInput {
    /// The movement, a credit that waits.
    line: ID,
    /// Who paid.
    client: ClientRef,
    /// What it pays, at most 100; the rest stays on account.
    #[graphql(default)]
    allocations: Vec<BankAllocationInput>,
    /// Remember that this account pays for the client.
    #[graphql(default = true)]
    remember: bool,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// Which receipt a movement took back.
#[derive(InputObject, Clone, Debug)]
struct AssignBankReturnInput {
    /// The movement, a debit that waits on 471.
    line: ID,
    /// The receipt that went back; what exceeds it is the bank's fee.
    payment: PaymentRef,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// A movement that the books hold already.
#[derive(InputObject, Clone, Debug)]
struct ReconcileBankLineInput {
    /// The movement: proposed, on account, unknown, ignored or undone.
    line: ID,
    /// The journal entry with a line on 512 for its amount.
    entry: ID,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// A match to undo.
#[derive(InputObject, Clone, Debug)]
struct UndoBankMatchInput {
    /// The movement.
    line: ID,
    /// Why, kept for ever.
    reason: String,
    /// The client was right, only the matching was not: the money stays on account instead of going to 471.
    #[graphql(default)]
    keep_on_account: bool,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// An account that pays for a client.
#[derive(InputObject, Clone, Debug)]
pub struct PayerAccountInput {
    /// The client.
    client: ClientRef,
    /// IBAN, or the bank's own number.
    iban: String,
    /// Why, for whoever approves it when a second person is needed.
    reason: Option<String>,
}

/// What happened to a bank account.
#[derive(SimpleObject)]
struct BankAccountPayload {
    /// The account as it is now; null when refused.
    bank_account: Option<BankAccount>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// What happened to a movement.
#[derive(SimpleObject)]
struct BankLinePayload {
    /// The movement as it is now; null when refused.
    bank_line: Option<BankLine>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// What happened to a task.
#[derive(SimpleObject)]
struct TaskPayload {
    /// The task as it is now; null when refused.
    task: Option<Task>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// What happened to a payer's account.
#[derive(SimpleObject)]
struct PayerAccountPayload {
    /// The client; null when refused.
    client: Option<Client>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

async fn moved(ctx: &Context<'_>, done: Done<BankLineId>) -> Result<BankLinePayload> {
    let bank_line = match done.made {
        Some(id) => Some(BankLine(one(ctx, id).await?)),
        None => None,
    };
    Ok(BankLinePayload {
        bank_line,
        user_errors: done.user_errors,
    })
}

async fn linked(ctx: &Context<'_>, done: Done<ClientId>) -> Result<PayerAccountPayload> {
    let client = match done.made {
        Some(id) => Some(Client(one(ctx, id).await?)),
        None => None,
    };
    Ok(PayerAccountPayload {
        client,
        user_errors: done.user_errors,
    })
}

/// Remembers a payer's account as the input says.
pub fn link_payer_account(
    conn: &mut Conn,
    caller: &Caller,
    input: PayerAccountInput,
) -> Result<ClientId> {
    desk::link(conn, caller, &input.iban, &input.client.into())
}

/// The bank.
#[derive(Default)]
pub struct BankMutation;

#[Object]
impl BankMutation {
    /// Opens a bank account, or changes its label, BIC and general account.
    #[graphql(guard = "Permitted(\"Mutation.saveBankAccount\")")]
    async fn save_bank_account(
        &self,
        ctx: &Context<'_>,
        input: SaveBankAccountInput,
    ) -> Result<BankAccountPayload> {
        let done = mutate(ctx, how(&None, false), move |conn, caller| {
            let input = input.clone();
            let input = desk::AccountInput {
                id: input.id.map(|id| id.0),
                label: input.label,
                iban: input.iban,
                bic: input.bic,
                account: input.account,
                currency: input.currency,
            };
            desk::save_account(conn, caller, &input)
        })
        .await?;
        let bank_account = match done.made {
            Some(id) => Some(BankAccount(one::<BankAccountId>(ctx, id).await?)),
            None => None,
        };
        Ok(BankAccountPayload {
            bank_account,
            user_errors: done.user_errors,
        })
    }

    /// Does what is proposed for a movement: names the payer when it is not known, and matches.
    #[graphql(guard = "Permitted(\"Mutation.acceptBankProposal\")")]
    async fn accept_bank_proposal(
        &self,
        ctx: &Context<'_>,
        input: AcceptBankProposalInput,
    ) -> Result<BankLinePayload> {
        let run = how(&input.idempotency_key, false);
        let done = mutate(ctx, run, move |conn, caller| {
            let place = input
                .alternative
                .map(|place| usize::try_from(place).unwrap_or(usize::MAX));
            desk::accept(conn, caller, &input.line, place)
        })
        .await?;
        moved(ctx, done).await
    }

    /// Turns a proposal down: the money stays on account, or on 471.
    #[graphql(guard = "Permitted(\"Mutation.rejectBankProposal\")")]
    async fn reject_bank_proposal(
        &self,
        ctx: &Context<'_>,
        input: RejectBankProposalInput,
    ) -> Result<BankLinePayload> {
        let done = mutate(ctx, how(&None, false), move |conn, caller| {
            desk::reject(conn, caller, &input.line, &input.reason)
        })
        .await?;
        moved(ctx, done).await
    }

    /// Says whose money a movement is, and what it pays.
    #[graphql(guard = "Permitted(\"Mutation.assignBankLine\")")]
    async fn assign_bank_line(
        &self,
        ctx: &Context<'_>,
        input: AssignBankLineInput,
    ) -> Result<BankLinePayload> {
        let run = how(&input.idempotency_key, false);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            let parts: Vec<_> = input
                .allocations
                .into_iter()
                .map(|part| (part.debit.into(), part.amount.map(|amount| amount.0)))
                .collect();
            desk::assign(
                conn,
                caller,
                &input.line,
                &input.client.into(),
                &parts,
                input.remember,
            )
        })
        .await?;
        moved(ctx, done).await
    }

    /// Says which receipt a debit of the bank took back (R2.6).
    #[graphql(guard = "Permitted(\"Mutation.assignBankReturn\")")]
    async fn assign_bank_return(
        &self,
        ctx: &Context<'_>,
        input: AssignBankReturnInput,
    ) -> Result<BankLinePayload> {
        let run = how(&input.idempotency_key, false);
        let done = mutate(ctx, run, move |conn, caller| {
            desk::assign_return(conn, caller, &input.line, &input.payment.clone().into())
        })
        .await?;
        moved(ctx, done).await
    }

    /// Says that an entry of the books holds a movement already (rapprochement): what the import recorded for
    /// it is taken back, and nothing is booked twice.
    #[graphql(guard = "Permitted(\"Mutation.reconcileBankLine\")")]
    async fn reconcile_bank_line(
        &self,
        ctx: &Context<'_>,
        input: ReconcileBankLineInput,
    ) -> Result<BankLinePayload> {
        let run = how(&input.idempotency_key, false);
        let done = mutate(ctx, run, move |conn, caller| {
            reconcile::by_hand(conn, caller, &input.line, &input.entry)
        })
        .await?;
        moved(ctx, done).await
    }

    /// Undoes the last match of a movement as one step (R13.1): its matchings end, discounts, differences and
    /// transfers are reversed, what it taught is forgotten, and the money waits on 471 again.
    #[graphql(guard = "Permitted(\"Mutation.undoBankMatch\")")]
    async fn undo_bank_match(
        &self,
        ctx: &Context<'_>,
        input: UndoBankMatchInput,
    ) -> Result<BankLinePayload> {
        let run = how(&input.idempotency_key, false);
        let done = mutate(ctx, run, move |conn, caller| {
            desk::undo(
                conn,
                caller,
                &input.line,
                &input.reason,
                input.keep_on_account,
            )
        })
        .await?;
        moved(ctx, done).await
    }

    /// Remembers that an account pays for a client; it may pay for several (R13.4). With segregation of duties a
    /// second person approves it (R12.1).
    #[graphql(guard = "Permitted(\"Mutation.linkPayerAccount\")")]
    async fn link_payer_account(
        &self,
        ctx: &Context<'_>,
        input: PayerAccountInput,
    ) -> Result<PayerAccountPayload> {
        let how = How {
            reason: input.reason.clone(),
            ..How::default()
        };
        let done = mutate(ctx, how, move |conn, caller| {
            link_payer_account(conn, caller, input.clone())
        })
        .await?;
        linked(ctx, done).await
    }

    /// Forgets that an account pays for a client.
    #[graphql(guard = "Permitted(\"Mutation.unlinkPayerAccount\")")]
    async fn unlink_payer_account(
        &self,
        ctx: &Context<'_>,
        input: PayerAccountInput,
    ) -> Result<PayerAccountPayload> {
        let done = mutate(ctx, how(&None, false), move |conn, caller| {
            desk::unlink(conn, caller, &input.iban, &input.client.clone().into())
        })
        .await?;
        linked(ctx, done).await
    }

    /// Marks a task as done.
    #[graphql(guard = "Permitted(\"Mutation.completeTask\")")]
    async fn complete_task(&self, ctx: &Context<'_>, task: ID) -> Result<TaskPayload> {
        let done = mutate(ctx, how(&None, false), move |conn, caller| {
            desk::complete(conn, caller, &task)
        })
        .await?;
        let task = match done.made {
            Some(id) => Some(Task(one(ctx, id).await?)),
            None => None,
        };
        Ok(TaskPayload {
            task,
            user_errors: done.user_errors,
        })
    }
}
