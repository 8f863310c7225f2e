//! Payments (règlements): recorded, their payer named, returned.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::below::nested;
use super::client::{Client, client_filter_id, code_enum};
use super::document::{OrderDirection, maybe, one};
use super::error::UserError;
use super::journal::{Entry, entries};
use super::loaders::{EventsOfPayment, ItemsOf};
use super::matching::{Allocation, allocations};
use super::mutation::{Ahead, Done, How, Row, in_bulk, mutate, mutate_or_gather};
use super::page::{self, Asked, Connection, Window, listed, single};
use super::scalars::{ClientRef, Date, Decimal, ItemRefInput, PaymentRef, money, rate, show};
use super::text::told;
use super::{Permitted, session};
use crate::domain::ids::PaymentId;
use crate::error::Result;
use crate::service::payment::{self, PaymentInput};
use crate::service::reference;
use crate::store::list::{Direction, Sort};
use crate::store::nested::Nested;
use crate::store::{self};

code_enum! {
    /// Means of payment.
    PaymentMethod {
        /// Chèque: on 5112 until the bank credits it.
        Cheque = "CHEQUE",
        /// Virement.
        Transfer = "TRANSFER",
        /// Carte.
        Card = "CARD",
        /// Prélèvement.
        DirectDebit = "DIRECT_DEBIT",
        /// Bill of exchange (effet, LCR): on 413 until it is paid.
        Bill = "BILL",
        /// Espèces.
        Cash = "CASH",
    }
}

/// A payment received (règlement).
#[derive(Clone)]
pub struct Payment(pub store::payment::Payment);

listed!(store::payment::Payment => Payment of |payment| payment.client_id);

told! {
    Payment {
        id, number, external_ref as "externalRef", payer, remittance, received_on as "receivedOn", method,
        matures_on as "maturesOn", amount, is_deposit as "isDeposit", bank_account as "bankAccount",
        exchange_rate as "exchangeRate", currency,
    }
}

impl Payment {
    async fn event(&self, ctx: &Context<'_>, kind: &str) -> Result<Option<store::payment::Event>> {
        let events = maybe(ctx, EventsOfPayment(self.0.id))
            .await?
            .unwrap_or_default();
        Ok(events.into_iter().find(|event| event.kind == kind))
    }
}

/// A payment received (règlement).
#[Object]
impl Payment {
    /// The opaque id.
    pub async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// The payment's number, unique in the company.
    async fn number(&self) -> &str {
        &self.0.number
    }
    /// Another system's reference; null when there is none.
    async fn external_ref(&self) -> Option<&str> {
        self.0.external_ref.as_deref()
    }
    /// Who paid; null while the payer is unknown and the amount waits on 471.
    async fn client(&self, ctx: &Context<'_>) -> Result<Option<Client>> {
        let id = match self.0.client_id {
            Some(id) => Some(id),
            None => self
                .event(ctx, store::payment::IDENTIFIED)
                .await?
                .and_then(|event| event.client_id),
        };
        match id {
            Some(id) => Ok(Some(Client(one(ctx, id).await?))),
            None => Ok(None),
        }
    }
    /// The payer as written on the payment; null when not given.
    async fn payer(&self) -> Option<&str> {
        self.0.payer.as_deref()
    }
    /// What the payer wrote: read for invoice numbers (R3.8); null when not given.
    async fn remittance(&self) -> Option<&str> {
        self.0.remittance.as_deref()
    }
    /// The day it was received, its accounting date.
    async fn received_on(&self) -> Date {
        self.0.received_on.into()
    }
    /// Means of payment.
    async fn method(&self) -> Result<PaymentMethod> {
        PaymentMethod::of(&self.0.method)
    }
    /// A bill's maturity; null for other means.
    async fn matures_on(&self) -> Option<Date> {
        self.0.matures_on.map(Into::into)
    }
    /// The amount received, positive.
    async fn amount(&self) -> Decimal {
        money(self.0.amount, &self.0.currency)
    }
    /// What is on account: not matched yet, positive; zero while the payer is unknown.
    async fn unallocated(&self, ctx: &Context<'_>) -> Result<Decimal> {
        let items = maybe(ctx, ItemsOf(self.0.id.0)).await?.unwrap_or_default();
        let open = items
            .iter()
            .filter(|item| item.kind == "PAYMENT")
            .map(|item| item.open_amount)
            .sum();
        Ok(money(open, &self.0.currency))
    }
    /// Whether it is a deposit on an order (acompte, 4191) instead of a payment of what is owed.
    async fn is_deposit(&self) -> bool {
        self.0.purpose == store::payment::DEPOSIT
    }
    /// What is left of a deposit for its invoices, positive; zero for other payments.
    async fn unused_deposit(&self, ctx: &Context<'_>) -> Result<Decimal> {
        let items = maybe(ctx, ItemsOf(self.0.id.0)).await?.unwrap_or_default();
        let open = items
            .iter()
            .filter(|item| !item.is_debit && item.family == "419")
            .map(|item| item.open_amount)
            .sum();
        Ok(money(open, &self.0.currency))
    }
    /// The general account of the bank or the means it arrived on; null: that of the account map.
    async fn bank_account(&self) -> Option<&str> {
        self.0.bank_account.as_deref()
    }
    /// What 1 of its currency was worth in the company's currency on its day.
    async fn exchange_rate(&self) -> Decimal {
        rate(self.0.exchange_rate)
    }
    /// The currency of the amounts.
    async fn currency(&self) -> &str {
        &self.0.currency
    }
    /// The day it was returned unpaid; null when it was not (R2.6).
    async fn returned_on(&self, ctx: &Context<'_>) -> Result<Option<Date>> {
        Ok(self
            .event(ctx, store::payment::RETURNED)
            .await?
            .map(|event| event.happened_on.into()))
    }
    /// Why it was returned; null when it was not, or no reason was given.
    async fn return_reason(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        Ok(self
            .event(ctx, store::payment::RETURNED)
            .await?
            .and_then(|event| event.reason))
    }
    /// The day it was taken back as an error; null when it was not (R2.2).
    async fn reversed_on(&self, ctx: &Context<'_>) -> Result<Option<Date>> {
        Ok(self
            .event(ctx, store::payment::REVERSED)
            .await?
            .map(|event| event.happened_on.into()))
    }
    /// What it was matched with, ended matchings included, latest first.
    async fn allocations(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<Allocation>> {
        nested::<store::matching::Allocation, Allocation>(
            ctx,
            Nested::AllocationsOfPayment,
            self.0.id.0,
            Window {
                first,
                after,
                last,
                before,
            },
            Allocation,
        )
        .await
    }
    /// The journal entries behind it; null, with an error FORBIDDEN, when the role may not read the journal.
    #[graphql(guard = "Permitted(\"Payment.entries\")")]
    async fn entries(&self, ctx: &Context<'_>) -> Result<Option<Vec<Entry>>> {
        entries(ctx, self.0.id.0).await.map(Some)
    }
}

/// Narrows payments; all conditions hold at once.
#[derive(InputObject, Clone, Debug, Default)]
struct PaymentFilter {
    /// Part of the number, the payer or what the payer wrote, whatever the case and the accents.
    search: Option<String>,
    /// Of this client.
    client: Option<ClientRef>,
    /// By one of these means.
    methods: Option<Vec<PaymentMethod>>,
    /// Received on or after this day.
    received_from: Option<Date>,
    /// Received on or before this day.
    received_to: Option<Date>,
    /// With a part not matched yet, or none.
    unallocated: Option<bool>,
    /// Whose payer is unknown, or known.
    unknown_payer: Option<bool>,
    /// Returned unpaid, or not.
    returned: Option<bool>,
}

/// Order of a list of payments, by the day received.
#[derive(InputObject, Clone, Copy, Debug)]
struct PaymentOrder {
    /// Which way.
    #[graphql(default)]
    direction: OrderDirection,
}

/// Payments.
#[derive(Default)]
pub struct PaymentQuery;

#[Object]
impl PaymentQuery {
    /// A payment; null when there is none for this caller.
    #[graphql(guard = "Permitted(\"Query.payment\")")]
    async fn payment(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "ref")] target: PaymentRef,
    ) -> Result<Option<Payment>> {
        let target = target.into();
        single(ctx, move |conn, caller| {
            reference::payment(conn, caller, "ref", &target)
        })
        .await
    }

    /// Payments, latest first unless ordered otherwise.
    #[graphql(guard = "Permitted(\"Query.payments\")")]
    async fn payments(
        &self,
        ctx: &Context<'_>,
        filter: Option<PaymentFilter>,
        order_by: Option<PaymentOrder>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<Payment>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("payments{filter:?}{order_by:?}"),
        )?;
        let input = filter.unwrap_or_default();
        let filter = store::payment::Filter {
            client: client_filter_id(ctx, input.client).await?,
            search: input.search,
            methods: input
                .methods
                .unwrap_or_default()
                .into_iter()
                .map(|method| method.code().to_owned())
                .collect(),
            received_from: super::scalars::on(input.received_from),
            received_to: super::scalars::on(input.received_to),
            unallocated: input.unallocated,
            unknown_payer: input.unknown_payer,
            returned: input.returned,
        };
        let session = session(ctx)?;
        let direction = order_by.map_or(Direction::Descending, |order| order.direction.into());
        let sort = Sort {
            column: "t.received_on",
            sql_type: "date",
            direction,
        };
        page::list(
            session,
            store::payment::from(session.caller().company, &filter),
            sort,
            asked,
            |conn, caller, ids| {
                Ok(store::payment::by_ids(
                    conn,
                    caller.company,
                    &ids.iter().copied().map(PaymentId).collect::<Vec<_>>(),
                )?)
            },
        )
        .await
    }
}

/// What a payment pays.
#[derive(InputObject, Clone, Debug)]
struct PaymentAllocationInput {
    /// The invoice, instalment or deduction.
    debit: ItemRefInput,
    /// How much; as much as is open and left when absent.
    amount: Option<Decimal>,
}

/// What makes a payment a deposit (acompte).
#[derive(InputObject, Clone, Debug)]
struct DepositInput {
    /// The VAT rate in percent when VAT is due on the deposit; none is posted when absent.
    vat_rate: Option<Decimal>,
}

/// A payment to record.
#[derive(InputObject, Clone, Debug)]
struct RecordPaymentInput {
    /// Who paid; absent when unknown, then `payer` says what is known.
    client: Option<ClientRef>,
    /// The payer as written on the payment.
    payer: Option<String>,
    /// The number when another system numbers; else the next of the company's series.
    number: Option<String>,
    /// Another system's reference, unique.
    external_ref: Option<String>,
    /// The day received; today when absent.
    received_on: Option<Date>,
    /// Means of payment.
    method: PaymentMethod,
    /// The amount, positive.
    amount: Decimal,
    /// The client's currency when absent.
    currency: Option<String>,
    /// Company-currency units for one unit of `currency`; needed when they differ.
    exchange_rate: Option<Decimal>,
    /// What the payer wrote.
    remittance: Option<String>,
    /// A bill's maturity.
    matures_on: Option<Date>,
    /// A deposit on an order that is not invoiced yet (acompte, 4191): used on an invoice later by `useDeposit`.
    deposit: Option<DepositInput>,
    /// The bank's general account, 512 and below; the account map's when absent.
    bank_account: Option<String>,
    /// When `receivedOn` lies in a closed period: post on the first open day and keep the real date (R2.2),
    /// instead of refusing with `PERIOD_CLOSED`.
    #[graphql(default)]
    late_entry: bool,
    /// What it pays, at most 100; the rest stays on account.
    #[graphql(default)]
    allocations: Vec<PaymentAllocationInput>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// What `recordPayment` did.
#[derive(SimpleObject)]
struct RecordPaymentPayload {
    /// The payment; null when refused.
    payment: Option<Payment>,
    /// What it was matched with at once; null when refused.
    allocations: Option<Vec<Allocation>>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// The payer of a payment, found later.
#[derive(InputObject, Clone, Debug)]
struct IdentifyPaymentInput {
    /// The payment.
    payment: PaymentRef,
    /// Who paid.
    client: ClientRef,
    /// From which day it counts on the client's account; today when absent.
    identified_on: Option<Date>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// A bounced cheque, a direct debit or bill returned unpaid.
#[derive(InputObject, Clone, Debug)]
struct ReturnPaymentInput {
    /// The payment.
    payment: PaymentRef,
    /// The day the bank took it back; today when absent.
    returned_on: Option<Date>,
    /// Why, such as "provision insuffisante".
    reason: Option<String>,
    /// The bank's fee with VAT; split at the company's setting `bankFeeVatRate`.
    fee: Option<Decimal>,
    /// When `returnedOn` lies in a closed period: post on the first open day and keep the real date (R2.2),
    /// instead of refusing with `PERIOD_CLOSED`.
    #[graphql(default)]
    late_entry: bool,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// A payment that was recorded in error.
#[derive(InputObject, Clone, Debug)]
struct ReversePaymentInput {
    /// The payment.
    payment: PaymentRef,
    /// Why, kept for ever.
    reason: String,
    /// The day; today when absent.
    on: Option<Date>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// What happened to a payment.
#[derive(SimpleObject)]
struct PaymentPayload {
    /// The payment as it is now; null when refused.
    payment: Option<Payment>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

async fn payload(ctx: &Context<'_>, done: Done<PaymentId>) -> Result<PaymentPayload> {
    let payment = match done.made {
        Some(id) => Some(Payment(one(ctx, id).await?)),
        None => None,
    };
    Ok(PaymentPayload {
        payment,
        user_errors: done.user_errors,
    })
}

fn payment_of(input: RecordPaymentInput) -> PaymentInput {
    PaymentInput {
        client: input.client.map(Into::into),
        payer: input.payer,
        number: input.number,
        external_ref: input.external_ref,
        received_on: super::scalars::on(input.received_on),
        method: input.method.code(),
        amount: input.amount.0,
        currency: input.currency,
        exchange_rate: input.exchange_rate.map(|rate| rate.0),
        remittance: input.remittance,
        matures_on: super::scalars::on(input.matures_on),
        deposit: input
            .deposit
            .map(|deposit| deposit.vat_rate.map(|rate| rate.0)),
        bank_account: input.bank_account,
        late_entry: input.late_entry,
        allocations: input
            .allocations
            .into_iter()
            .map(|part| (part.debit.into(), part.amount.map(|amount| amount.0)))
            .collect(),
    }
}

async fn record_one_payment(
    ctx: &Context<'_>,
    input: RecordPaymentInput,
    row: Option<Row>,
) -> Result<RecordPaymentPayload> {
    let how = How {
        idempotency_key: input.idempotency_key.clone(),
        validate_only: input.validate_only,
        reason: None,
        row,
    };
    let input = Arc::new(payment_of(input));
    let same = Arc::clone(&input);
    let ahead: Ahead<_> = Box::new(move |conn, caller| {
        let found = payment::ready(conn, caller, &same)?;
        Ok(found.map(|(recorded, series, record)| {
            ((recorded.payment, recorded.allocations), series, record)
        }))
    });
    let done = mutate_or_gather(ctx, how, Some(ahead), move |conn, caller| {
        let recorded = payment::record(conn, caller, &input)?;
        Ok((recorded.payment, recorded.allocations))
    })
    .await?;
    let Some((id, made)) = done.made else {
        return Ok(RecordPaymentPayload {
            payment: None,
            allocations: None,
            user_errors: done.user_errors,
        });
    };
    Ok(RecordPaymentPayload {
        payment: Some(Payment(one(ctx, id).await?)),
        allocations: Some(allocations(ctx, &made).await?),
        user_errors: done.user_errors,
    })
}

/// Payments.
#[derive(Default)]
pub struct PaymentMutation;

#[Object]
impl PaymentMutation {
    /// Records a payment and matches it where told; the rest stays on account, unallocated.
    #[graphql(guard = "Permitted(\"Mutation.recordPayment\")")]
    async fn record_payment(
        &self,
        ctx: &Context<'_>,
        input: RecordPaymentInput,
    ) -> Result<RecordPaymentPayload> {
        record_one_payment(ctx, input, None).await
    }

    /// Records up to 100 payments, one result a row in the order given. Each is recorded or refused by itself, as `recordPayment` would; every row needs its `idempotencyKey`.
    #[graphql(guard = "Permitted(\"Mutation.recordPayments\")")]
    async fn record_payments(
        &self,
        ctx: &Context<'_>,
        inputs: Vec<RecordPaymentInput>,
    ) -> Result<Vec<RecordPaymentPayload>> {
        in_bulk(
            ctx,
            "recordPayment",
            inputs,
            |input, row| record_one_payment(ctx, input, Some(row)),
            |input| input.idempotency_key.as_deref(),
            |user_errors| RecordPaymentPayload {
                payment: None,
                allocations: None,
                user_errors,
            },
        )
        .await
    }

    /// Names the payer of a payment that waited on 471: it moves to the client's account, on account.
    #[graphql(guard = "Permitted(\"Mutation.identifyPayment\")")]
    async fn identify_payment(
        &self,
        ctx: &Context<'_>,
        input: IdentifyPaymentInput,
    ) -> Result<PaymentPayload> {
        let how = How {
            idempotency_key: input.idempotency_key.clone(),
            validate_only: false,
            ..How::default()
        };
        let done = mutate(ctx, how, move |conn, caller| {
            let input = input.clone();
            payment::identify(
                conn,
                caller,
                &input.payment.into(),
                &input.client.into(),
                super::scalars::on(input.identified_on),
                payment::Learning::Account,
            )
        })
        .await?;
        payload(ctx, done).await
    }

    /// Records that a payment came back unpaid (R2.6): what it had paid is open again with its original
    /// due date, and the history stays.
    #[graphql(guard = "Permitted(\"Mutation.returnPayment\")")]
    async fn return_payment(
        &self,
        ctx: &Context<'_>,
        input: ReturnPaymentInput,
    ) -> Result<PaymentPayload> {
        let how = How {
            idempotency_key: input.idempotency_key.clone(),
            validate_only: false,
            ..How::default()
        };
        let done = mutate(ctx, how, move |conn, caller| {
            let input = input.clone();
            payment::record_return(
                conn,
                caller,
                &input.payment.into(),
                &payment::ReturnInput {
                    on: super::scalars::on(input.returned_on),
                    reason: input.reason,
                    fee: input.fee.map(|fee| fee.0),
                    late_entry: input.late_entry,
                },
            )
        })
        .await?;
        payload(ctx, done).await
    }

    /// Takes back a payment that was recorded in error, by a mirror entry (contre-passation, R2.2): what it
    /// had paid is open again, and both stay in the books. What came back unpaid is `returnPayment`'s.
    #[graphql(guard = "Permitted(\"Mutation.reversePayment\")")]
    async fn reverse_payment(
        &self,
        ctx: &Context<'_>,
        input: ReversePaymentInput,
    ) -> Result<PaymentPayload> {
        let how = How {
            idempotency_key: input.idempotency_key.clone(),
            validate_only: input.validate_only,
            ..How::default()
        };
        let done = mutate(ctx, how, move |conn, caller| {
            let input = input.clone();
            payment::reverse(
                conn,
                caller,
                &input.payment.into(),
                super::scalars::on(input.on),
                &input.reason,
            )
        })
        .await?;
        payload(ctx, done).await
    }
}
