//! Accounting operations beyond documents and receipts (section 2): discounts, differences, deposits,
//! penalties, factoring, accruals, and how one is taken back.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::client::{Client, client_filter_id, code_enum};
use super::document::{Invoice, OrderDirection, maybe, one};
use super::error::UserError;
use super::journal::{Entry, entries};
use super::mutation::{Done, How, mutate};
use super::page::{self, Asked, Connection, Window, listed, single};
use super::payment::Payment;
use super::scalars::{
    ClientRef, Date, Decimal, InvoiceRef, ItemRefInput, JsonObject, PaymentRef, money, on, show,
    two_ways,
};
use super::text::untold;
use super::{Permitted, session};
use crate::domain::ids::OperationId;
use crate::domain::refusal::Refusal;
use crate::error::Result;
use crate::service::accrual::{self, AccrualInput};
use crate::service::discount::{self, DiscountInput, ImportedDiscount, TransferInput};
use crate::service::factoring::{self, AssignmentInput, SettlementInput};
use crate::service::operation;
use crate::service::{doubtful, remittance};
use crate::store::list::{Direction, Sort};
use crate::store::{self};

untold!(Operation);

code_enum! {
    /// What an operation does.
    OperationKind {
        /// Early-payment discount (escompte): D 665 and 44571 / C 411.
        Discount = "DISCOUNT",
        /// Small difference written off: D 658 / C 411, or D 411 / C 758.
        Difference = "DIFFERENCE",
        /// A deposit used on an invoice: D 4191 / C 411.
        DepositUse = "DEPOSIT_USE",
        /// Late-payment interest and indemnity claimed: D 411 / C 7631 and 7581.
        Penalty = "PENALTY",
        /// A claimed penalty given up.
        Waiver = "WAIVER",
        /// Transfer to doubtful clients: D 416 / C 411.
        Doubtful = "DOUBTFUL",
        /// Definitive loss: D 654 / C 411 or 416.
        WriteOff = "WRITE_OFF",
        /// Money received after the loss: D 512 / C 7583.
        Recovery = "RECOVERY",
        /// Claims assigned to a factor: D 467 / C 411.
        Assignment = "ASSIGNMENT",
        /// The factor's settlement.
        FactorSettlement = "FACTOR_SETTLEMENT",
        /// The factor's guarantee fund released.
        RetentionRelease = "RETENTION_RELEASE",
        /// A client paid us what belongs to the factor.
        FactorDiverted = "FACTOR_DIVERTED",
        /// The factor returned an unpaid claim.
        Recourse = "RECOURSE",
        /// Invoices or credit notes to be issued, at a closing.
        Accrual = "ACCRUAL",
        /// Exchange difference at a matching: 656 or 756.
        Exchange = "EXCHANGE",
        /// A discounted bill reached its maturity.
        BillMaturity = "BILL_MATURITY",
        /// Money moved between two accounts of clients.
        Transfer = "TRANSFER",
        /// Takes another operation back (contre-passation).
        Reversal = "REVERSAL",
        /// A movement on a bank account that no receipt explains: the bank's charge (627), or money back whose
        /// receipt is not found (471).
        BankMovement = "BANK_MOVEMENT",
    }
}

code_enum! {
    /// What is accrued at a closing.
    AccrualKind {
        /// Delivered, not invoiced (factures à établir): D 4181 / C 70x and 44587.
        InvoicesToIssue = "INVOICES_TO_ISSUE",
        /// Rebates due, not credited (avoirs à établir): D 709 and 44587 / C 4198.
        CreditNotesToIssue = "CREDIT_NOTES_TO_ISSUE",
    }
}

/// An accounting operation (opération): it posts its own entries and is never changed.
#[derive(Clone)]
pub struct Operation(pub store::operation::Operation);

listed!(store::operation::Operation => Operation);

/// An accounting operation (opération).
#[Object]
impl Operation {
    /// The opaque id.
    pub async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// Gapless number of its series.
    async fn number(&self) -> &str {
        &self.0.number
    }
    /// What it does.
    async fn kind(&self) -> Result<OperationKind> {
        OperationKind::of(&self.0.kind)
    }
    /// Whose account it concerns; null when it concerns none.
    async fn client(&self, ctx: &Context<'_>) -> Result<Option<Client>> {
        match self.0.client_id {
            Some(id) => Ok(Some(Client(one(ctx, id).await?))),
            None => Ok(None),
        }
    }
    /// The invoice it is about; null when there is none.
    async fn invoice(&self, ctx: &Context<'_>) -> Result<Option<Invoice>> {
        match self.0.invoice_id {
            Some(id) => Ok(Some(Invoice(one(ctx, id).await?))),
            None => Ok(None),
        }
    }
    /// The payment it is about; null when there is none.
    async fn payment(&self, ctx: &Context<'_>) -> Result<Option<Payment>> {
        match self.0.payment_id {
            Some(id) => Ok(Some(Payment(one(ctx, id).await?))),
            None => Ok(None),
        }
    }
    /// The operation it reverses, settles or returns; null when it stands alone.
    async fn follows(&self, ctx: &Context<'_>) -> Result<Option<Operation>> {
        match self.0.follows_id {
            Some(id) => Ok(maybe(ctx, id).await?.map(Operation)),
            None => Ok(None),
        }
    }
    /// The day of the operation; its entries stand on it, or on the first open day after it (R2.2).
    async fn happened_on(&self) -> Date {
        self.0.happened_on.into()
    }
    /// The gross amount (TTC), positive.
    async fn amount(&self) -> Decimal {
        money(self.0.amount, &self.0.currency)
    }
    /// The part before VAT (HT).
    async fn net(&self) -> Decimal {
        money(self.0.net, &self.0.currency)
    }
    /// The VAT in it.
    async fn vat(&self) -> Decimal {
        money(self.0.vat, &self.0.currency)
    }
    /// The currency of the amounts.
    async fn currency(&self) -> &str {
        &self.0.currency
    }
    /// Why; null when no reason was asked for.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }
    /// Facts of the kind, such as `{"percent": "2", "correctsVat": true}` of a discount.
    async fn details(&self) -> JsonObject {
        JsonObject(self.0.details.clone())
    }
    /// Who recorded it.
    async fn recorded_by(&self) -> &str {
        &self.0.recorded_by
    }
    /// Its journal entries, oldest first.
    async fn entries(&self, ctx: &Context<'_>) -> Result<Vec<Entry>> {
        entries(ctx, self.0.id.0).await
    }
}

/// Names an operation: exactly one of its id or its number.
#[derive(async_graphql::OneofObject, Clone, Debug)]
pub enum OperationRef {
    /// The opaque id.
    Id(ID),
    /// The operation's number.
    Number(String),
}
two_ways!(OperationRef);

/// Narrows operations; all conditions hold at once.
#[derive(InputObject, Clone, Debug, Default)]
struct OperationFilter {
    /// Of one of these kinds.
    kinds: Option<Vec<OperationKind>>,
    /// Of this client.
    client: Option<ClientRef>,
    /// On or after this day.
    from: Option<Date>,
    /// On or before this day.
    to: Option<Date>,
}

/// Operations.
#[derive(Default)]
pub struct OperationQuery;

#[Object]
impl OperationQuery {
    /// An operation; null when there is none.
    #[graphql(guard = "Permitted(\"Query.operation\")")]
    async fn operation(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "ref")] target: OperationRef,
    ) -> Result<Option<Operation>> {
        let target = target.into();
        single(ctx, move |conn, caller| {
            operation::find(conn, caller, "ref", &target)
        })
        .await
    }

    /// Operations by day, latest first unless ordered otherwise.
    #[graphql(guard = "Permitted(\"Query.operations\")")]
    async fn operations(
        &self,
        ctx: &Context<'_>,
        filter: Option<OperationFilter>,
        direction: Option<OrderDirection>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<Operation>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("operations{filter:?}{direction:?}"),
        )?;
        let input = filter.unwrap_or_default();
        let filter = store::operation::Filter {
            kinds: input
                .kinds
                .unwrap_or_default()
                .into_iter()
                .map(|kind| kind.code().to_owned())
                .collect(),
            client: client_filter_id(ctx, input.client).await?,
            from: on(input.from),
            to: on(input.to),
        };
        let session = session(ctx)?;
        let sort = Sort {
            column: "t.happened_on",
            sql_type: "date",
            direction: direction.map_or(Direction::Descending, Into::into),
        };
        page::list(
            session,
            store::operation::from(session.caller().company, &filter),
            sort,
            asked,
            |conn, caller, ids| {
                let ids: Vec<OperationId> = ids.iter().copied().map(OperationId).collect();
                Ok(store::operation::by_ids(conn, caller.company, &ids)?)
            },
        )
        .await
    }
}

/// What an operation did.
#[derive(SimpleObject)]
pub struct OperationPayload {
    /// The operation; null when refused.
    operation: Option<Operation>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// The operation that was made, read back.
pub async fn payload(ctx: &Context<'_>, done: Done<OperationId>) -> Result<OperationPayload> {
    let operation = match done.made {
        Some(id) => Some(Operation(one(ctx, id).await?)),
        None => None,
    };
    Ok(OperationPayload {
        operation,
        user_errors: done.user_errors,
    })
}

/// How a creating mutation is to be run.
pub fn how(idempotency_key: &Option<String>, validate_only: bool) -> How {
    How {
        idempotency_key: idempotency_key.clone(),
        validate_only,
        ..How::default()
    }
}

/// An early-payment discount to grant.
#[derive(InputObject, Clone, Debug)]
struct GrantDiscountInput {
    /// The invoice that offers it; or give `item`.
    invoice: Option<InvoiceRef>,
    /// An item taken over from another system, whose offer the books do not hold; `percent` is needed then.
    item: Option<ItemRefInput>,
    /// The payment that came in time (R2.16).
    payment: PaymentRef,
    /// Percent; what the invoice offers when absent, never more.
    percent: Option<Decimal>,
    /// Correct VAT too (with a document or the agreed wording); false: "escompte net de taxe" (R2.15).
    #[graphql(default = true)]
    corrects_vat: bool,
    /// Accounting date; the payment's day when absent.
    on: Option<Date>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// A small difference to write off.
#[derive(InputObject, Clone, Debug)]
struct SettleDifferenceInput {
    /// The item with a small rest: an invoice paid a little short, or a payment a little too high.
    item: ItemRefInput,
    /// Whether the item is a credit (over-payment); else it is a debt.
    #[graphql(default)]
    credit: bool,
    /// Accounting date; today when absent.
    on: Option<Date>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// A deposit to use on an invoice.
#[derive(InputObject, Clone, Debug)]
struct UseDepositInput {
    /// The payment that was recorded as a deposit.
    deposit: PaymentRef,
    /// The final invoice.
    invoice: InvoiceRef,
    /// How much; as much as is left and open when absent.
    amount: Option<Decimal>,
    /// Accounting date; today when absent.
    on: Option<Date>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// Money on account to move to another account.
#[derive(InputObject, Clone, Debug)]
struct TransferCreditInput {
    /// The payment or credit note with something on account.
    credit: ItemRefInput,
    /// The client it moves to.
    to: ClientRef,
    /// Move it to the doubtful account 416, to pay a claim there.
    #[graphql(default)]
    doubtful: bool,
    /// How much; all that is left when absent.
    amount: Option<Decimal>,
    /// Accounting date; today when absent.
    on: Option<Date>,
    /// Why, such as "payé par la centrale".
    reason: String,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// Something to accrue at a closing.
#[derive(InputObject, Clone, Debug)]
struct AccrueInput {
    /// What is accrued.
    kind: AccrualKind,
    /// Whom it concerns.
    client: Option<ClientRef>,
    /// Amount before VAT, in the company's currency.
    net: Decimal,
    /// VAT rate in percent.
    vat_rate: Decimal,
    /// The revenue or rebate account; the account map's when absent.
    account: Option<String>,
    /// What it is, for the journal.
    label: String,
    /// The closing day.
    on: Date,
    /// The day the reversal is posted; the next day when absent.
    reversed_on: Option<Date>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// An invoice to assign to a factor.
#[derive(InputObject, Clone, Debug)]
struct AssignInvoiceInput {
    /// The invoice: all that is open on it is assigned.
    invoice: InvoiceRef,
    /// Who the factor is.
    factor: String,
    /// Whether the factor may return the claim unpaid.
    with_recourse: bool,
    /// Day of the assignment (quittance subrogative); today when absent.
    on: Option<Date>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// What a factor settled.
#[derive(InputObject, Clone, Debug)]
struct SettleAssignmentInput {
    /// The assignment.
    assignment: OperationRef,
    /// Commission before VAT; VAT at the company's setting `bankFeeVatRate` comes on top.
    commission: Option<Decimal>,
    /// Financing interest.
    financing: Option<Decimal>,
    /// What the factor keeps as a guarantee (retenue de garantie).
    retention: Option<Decimal>,
    /// Day of the settlement; today when absent.
    on: Option<Date>,
    /// The bank's general account; the account map's when absent.
    bank_account: Option<String>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// A step after an assignment or a settlement.
#[derive(InputObject, Clone, Debug)]
struct FactorStepInput {
    /// The assignment; for the release of a guarantee, the settlement.
    operation: OperationRef,
    /// The day; today when absent.
    on: Option<Date>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// What a client paid us although the claim is the factor's.
#[derive(InputObject, Clone, Debug)]
struct RecordDivertedPaymentInput {
    /// The assignment.
    assignment: OperationRef,
    /// What was paid.
    amount: Decimal,
    /// The day; today when absent.
    on: Option<Date>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// Money received on a claim that was written off.
#[derive(InputObject, Clone, Debug)]
struct RecordRecoveryInput {
    /// The loss.
    write_off: OperationRef,
    /// What was received, VAT included; at most what is not recovered yet.
    amount: Decimal,
    /// The day; today when absent.
    received_on: Option<Date>,
    /// The bank's general account; the account map's when absent.
    bank_account: Option<String>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// An operation to take back.
#[derive(InputObject, Clone, Debug)]
struct ReverseOperationInput {
    /// The operation.
    operation: OperationRef,
    /// Accounting date of the mirror entry; today when absent.
    on: Option<Date>,
    /// Why.
    reason: String,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// What `recordBillMaturities` did.
#[derive(SimpleObject)]
struct BillMaturitiesPayload {
    /// One operation for each bill that matured; null when refused.
    operations: Option<Vec<Operation>>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// Operations.
#[derive(Default)]
pub struct OperationMutation;

#[Object]
impl OperationMutation {
    /// Grants the early-payment discount that a payment earned (escompte, 2.8): what is missing on the
    /// invoice is settled by D 665 and 44571 / C 411.
    #[graphql(guard = "Permitted(\"Mutation.grantDiscount\")")]
    async fn grant_discount(
        &self,
        ctx: &Context<'_>,
        input: GrantDiscountInput,
    ) -> Result<OperationPayload> {
        let run = how(&input.idempotency_key, input.validate_only);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            let on = on(input.on);
            match (input.invoice, input.item) {
                (Some(invoice), None) => {
                    let input = DiscountInput {
                        invoice: invoice.into(),
                        payment: input.payment.into(),
                        percent: input.percent.map(|percent| percent.0),
                        corrects_vat: input.corrects_vat,
                        on,
                    };
                    discount::grant(conn, caller, &input)
                }
                (None, Some(item)) => {
                    let input = ImportedDiscount {
                        item: item.into(),
                        payment: input.payment.into(),
                        percent: input.percent.map(|percent| percent.0),
                        corrects_vat: input.corrects_vat,
                        on,
                    };
                    discount::grant_imported(conn, caller, &input)
                }
                _ => {
                    Err(Refusal::invalid("invoice", "give an invoice, or an imported item").into())
                }
            }
        })
        .await?;
        payload(ctx, done).await
    }

    /// Writes off the small rest of an item, at most the company's setting `tolerance` (2.14).
    #[graphql(guard = "Permitted(\"Mutation.settleDifference\")")]
    async fn settle_difference(
        &self,
        ctx: &Context<'_>,
        input: SettleDifferenceInput,
    ) -> Result<OperationPayload> {
        let run = how(&input.idempotency_key, input.validate_only);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            discount::settle_difference(
                conn,
                caller,
                &input.item.into(),
                !input.credit,
                on(input.on),
            )
        })
        .await?;
        payload(ctx, done).await
    }

    /// Uses a deposit (acompte) on the final invoice: D 4191 / C 411, and its VAT taken back (2.4).
    #[graphql(guard = "Permitted(\"Mutation.useDeposit\")")]
    async fn use_deposit(
        &self,
        ctx: &Context<'_>,
        input: UseDepositInput,
    ) -> Result<OperationPayload> {
        let run = how(&input.idempotency_key, input.validate_only);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            discount::use_deposit(
                conn,
                caller,
                &input.deposit.into(),
                &input.invoice.into(),
                input.amount.map(|amount| amount.0),
                on(input.on),
            )
        })
        .await?;
        payload(ctx, done).await
    }

    /// Moves money on account to another client's account, or to the same client's doubtful account (R13.4).
    #[graphql(guard = "Permitted(\"Mutation.transferCredit\")")]
    async fn transfer_credit(
        &self,
        ctx: &Context<'_>,
        input: TransferCreditInput,
    ) -> Result<OperationPayload> {
        let run = how(&input.idempotency_key, input.validate_only);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            let input = TransferInput {
                credit: input.credit.into(),
                to: input.to.into(),
                doubtful: input.doubtful,
                amount: input.amount.map(|amount| amount.0),
                on: on(input.on),
                reason: input.reason,
            };
            discount::transfer(conn, caller, &input)
        })
        .await?;
        payload(ctx, done).await
    }

    /// Accrues invoices or credit notes to be issued at a closing, with the reversal at the opening (2.14).
    #[graphql(guard = "Permitted(\"Mutation.accrue\")")]
    async fn accrue(&self, ctx: &Context<'_>, input: AccrueInput) -> Result<OperationPayload> {
        let run = how(&input.idempotency_key, input.validate_only);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            let input = AccrualInput {
                kind: match input.kind {
                    AccrualKind::InvoicesToIssue => accrual::AccrualKind::InvoicesToIssue,
                    AccrualKind::CreditNotesToIssue => accrual::AccrualKind::CreditNotesToIssue,
                },
                client: input.client.map(Into::into),
                net: input.net.0,
                vat_rate: input.vat_rate.0,
                account: input.account,
                label: input.label,
                on: input.on.0,
                reversed_on: on(input.reversed_on),
            };
            accrual::accrue(conn, caller, &input)
        })
        .await?;
        payload(ctx, done).await
    }

    /// Assigns what an invoice has open to a factor: D 467 / C 411 (2.13). It leaves the aged balance (R2.24).
    #[graphql(guard = "Permitted(\"Mutation.assignInvoice\")")]
    async fn assign_invoice(
        &self,
        ctx: &Context<'_>,
        input: AssignInvoiceInput,
    ) -> Result<OperationPayload> {
        let run = how(&input.idempotency_key, input.validate_only);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            let input = AssignmentInput {
                invoice: input.invoice.into(),
                factor: input.factor,
                with_recourse: input.with_recourse,
                on: on(input.on),
            };
            factoring::assign(conn, caller, &input)
        })
        .await?;
        payload(ctx, done).await
    }

    /// Records the factor's settlement: D 512, 6225, 44566, 6616 and the guarantee / C 467 (2.13).
    #[graphql(guard = "Permitted(\"Mutation.settleAssignment\")")]
    async fn settle_assignment(
        &self,
        ctx: &Context<'_>,
        input: SettleAssignmentInput,
    ) -> Result<OperationPayload> {
        let run = how(&input.idempotency_key, input.validate_only);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            let input = SettlementInput {
                assignment: input.assignment.into(),
                commission: input.commission.map(|amount| amount.0),
                financing: input.financing.map(|amount| amount.0),
                retention: input.retention.map(|amount| amount.0),
                on: on(input.on),
                bank_account: input.bank_account,
            };
            factoring::settle(conn, caller, &input)
        })
        .await?;
        payload(ctx, done).await
    }

    /// The factor's guarantee fund came back: D 512 / C 467 (2.13).
    #[graphql(guard = "Permitted(\"Mutation.releaseRetention\")")]
    async fn release_retention(
        &self,
        ctx: &Context<'_>,
        input: FactorStepInput,
    ) -> Result<OperationPayload> {
        let run = how(&input.idempotency_key, false);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            factoring::release_retention(conn, caller, &input.operation.into(), on(input.on))
        })
        .await?;
        payload(ctx, done).await
    }

    /// A client paid us what belongs to the factor: D 512 / C 467 (2.13).
    #[graphql(guard = "Permitted(\"Mutation.recordDivertedPayment\")")]
    async fn record_diverted_payment(
        &self,
        ctx: &Context<'_>,
        input: RecordDivertedPaymentInput,
    ) -> Result<OperationPayload> {
        let run = how(&input.idempotency_key, false);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            factoring::record_diverted(
                conn,
                caller,
                &input.assignment.into(),
                input.amount.0,
                on(input.on),
            )
        })
        .await?;
        payload(ctx, done).await
    }

    /// The factor returned an unpaid claim: D 411 with its original due date / C 512 or 467 (2.13, R4.13).
    #[graphql(guard = "Permitted(\"Mutation.recordRecourse\")")]
    async fn record_recourse(
        &self,
        ctx: &Context<'_>,
        input: FactorStepInput,
    ) -> Result<OperationPayload> {
        let run = how(&input.idempotency_key, false);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            factoring::return_claim(conn, caller, &input.operation.into(), on(input.on))
        })
        .await?;
        payload(ctx, done).await
    }

    /// Records money received after a loss: D 512 / C 7583, and 44571 when its VAT had been recovered (2.12).
    #[graphql(guard = "Permitted(\"Mutation.recordRecovery\")")]
    async fn record_recovery(
        &self,
        ctx: &Context<'_>,
        input: RecordRecoveryInput,
    ) -> Result<OperationPayload> {
        let run = how(&input.idempotency_key, input.validate_only);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            doubtful::record_recovery(
                conn,
                caller,
                &input.write_off.into(),
                input.amount.0,
                on(input.received_on),
                input.bank_account.as_deref(),
            )
        })
        .await?;
        payload(ctx, done).await
    }

    /// Ends the engagement of discounted bills that matured unreturned: D 8014 / C 8024 (2.6). Bills of days
    /// before are taken along; calling again changes nothing.
    #[graphql(guard = "Permitted(\"Mutation.recordBillMaturities\")")]
    async fn record_bill_maturities(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Through this day; today when absent.")] through: Option<Date>,
    ) -> Result<BillMaturitiesPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            remittance::mature(conn, caller, on(through))
        })
        .await?;
        let mut operations = None;
        if let Some(ids) = done.made {
            let mut made = Vec::new();
            for id in ids {
                made.push(Operation(one(ctx, id).await?));
            }
            operations = Some(made);
        }
        Ok(BillMaturitiesPayload {
            operations,
            user_errors: done.user_errors,
        })
    }

    /// Takes an operation back by a mirror entry (contre-passation, R2.2): what it had settled is open again.
    /// Discounts, differences, deposits used, transfers, doubtful transfers, losses and accruals.
    #[graphql(guard = "Permitted(\"Mutation.reverseOperation\")")]
    async fn reverse_operation(
        &self,
        ctx: &Context<'_>,
        input: ReverseOperationInput,
    ) -> Result<OperationPayload> {
        let run = how(&input.idempotency_key, false);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            operation::reverse(
                conn,
                caller,
                &input.operation.into(),
                on(input.on),
                &input.reason,
            )
        })
        .await?;
        payload(ctx, done).await
    }
}
