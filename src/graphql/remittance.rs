//! Remittance slips (bordereaux de remise): cheques and bills handed to the bank.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::client::code_enum;
use super::document::one;
use super::error::UserError;
use super::journal::{Entry, entries};
use super::mutation::{Done, mutate};
use super::operation::how;
use super::page::{self, Asked, Connection, Window, listed, single};
use super::payment::Payment;
use super::scalars::{Date, Decimal, PaymentRef, money, on, show, two_ways};
use super::text::untold;
use super::{Permitted, session};
use crate::domain::ids::RemittanceId;
use crate::error::Result;
use crate::service::remittance::{self, CreditInput, SlipInput};
use crate::store::list::{Direction, Sort};
use crate::store::{self};

untold!(Remittance);

code_enum! {
    /// What a slip hands in, and what for.
    RemittanceKind {
        /// Cheques (remise de chèques).
        Cheques = "CHEQUES",
        /// Bills that the bank collects at maturity (remise à l'encaissement, 5113).
        BillsForCollection = "BILLS_FOR_COLLECTION",
        /// Bills that the bank pays before maturity (remise à l'escompte, 5114).
        BillsForDiscount = "BILLS_FOR_DISCOUNT",
    }
}

/// A remittance slip (bordereau de remise). `GET /letters/REMITTANCE_SLIP/{id}` gives its list as PDF.
#[derive(Clone)]
pub struct Remittance(pub store::remittance::Remittance);

listed!(store::remittance::Remittance => Remittance);

/// A remittance slip (bordereau de remise). `GET /letters/REMITTANCE_SLIP/{id}` gives its list as PDF.
#[Object]
impl Remittance {
    /// The opaque id.
    pub async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// Gapless number of its series.
    async fn number(&self) -> &str {
        &self.0.number
    }
    /// What it hands in, and what for.
    async fn kind(&self) -> Result<RemittanceKind> {
        RemittanceKind::of(&self.0.kind)
    }
    /// The bank's general account.
    async fn bank_account(&self) -> &str {
        &self.0.bank_account
    }
    /// The day it was handed in.
    async fn remitted_on(&self) -> Date {
        self.0.remitted_on.into()
    }
    /// What its instruments add up to, positive.
    async fn amount(&self) -> Decimal {
        money(self.0.amount, &self.0.currency)
    }
    /// The currency of the amounts.
    async fn currency(&self) -> &str {
        &self.0.currency
    }
    /// The day the bank credited it; null until then, like what follows.
    async fn credited_on(&self) -> Option<Date> {
        self.0.credited_on.map(Into::into)
    }
    /// What the bank paid; null until credited.
    async fn received(&self) -> Option<Decimal> {
        self.optional(self.0.received)
    }
    /// The bank's fee before VAT; null until credited.
    async fn fee(&self) -> Option<Decimal> {
        self.optional(self.0.fee_net)
    }
    /// VAT on the fee; null until credited.
    async fn fee_vat(&self) -> Option<Decimal> {
        self.optional(self.0.fee_vat)
    }
    /// Bank discount (6616); null until credited.
    async fn interest(&self) -> Option<Decimal> {
        self.optional(self.0.interest)
    }
    /// The cheques or bills on it.
    async fn payments(&self, ctx: &Context<'_>) -> Result<Vec<Payment>> {
        let id = self.0.id;
        let lines = session(ctx)?
            .read(move |conn, caller| Ok(store::remittance::lines(conn, caller.company, &[id])?))
            .await?;
        let mut payments = Vec::new();
        for line in lines {
            payments.push(Payment(one(ctx, line.payment_id).await?));
        }
        Ok(payments)
    }
    /// Who handed it in.
    async fn recorded_by(&self) -> &str {
        &self.0.recorded_by
    }
    /// Its journal entries, oldest first.
    async fn entries(&self, ctx: &Context<'_>) -> Result<Vec<Entry>> {
        entries(ctx, self.0.id.0).await
    }
}

impl Remittance {
    fn optional(&self, amount: Option<i64>) -> Option<Decimal> {
        amount.map(|amount| money(amount, &self.0.currency))
    }
}

/// Names a remittance slip: exactly one of its id or its number.
#[derive(async_graphql::OneofObject, Clone, Debug)]
enum RemittanceRef {
    /// The opaque id.
    Id(ID),
    /// The slip's number.
    Number(String),
}
two_ways!(RemittanceRef);

/// Remittance slips.
#[derive(Default)]
pub struct RemittanceQuery;

#[Object]
impl RemittanceQuery {
    /// A remittance slip; null when there is none.
    #[graphql(guard = "Permitted(\"Query.remittance\")")]
    async fn remittance(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "ref")] target: RemittanceRef,
    ) -> Result<Option<Remittance>> {
        let target = target.into();
        single(ctx, move |conn, caller| {
            remittance::find(conn, caller, "ref", &target)
        })
        .await
    }

    /// Remittance slips by day, latest first.
    #[graphql(guard = "Permitted(\"Query.remittances\")")]
    async fn remittances(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of these kinds; all when absent.")] kinds: Option<Vec<RemittanceKind>>,
        #[graphql(desc = "Credited by the bank, or not yet; both when absent.")] credited: Option<
            bool,
        >,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<Remittance>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("remittances{kinds:?}{credited:?}"),
        )?;
        let kinds: Vec<String> = kinds
            .unwrap_or_default()
            .into_iter()
            .map(|kind| kind.code().to_owned())
            .collect();
        let session = session(ctx)?;
        let sort = Sort {
            column: "t.remitted_on",
            sql_type: "date",
            direction: Direction::Descending,
        };
        page::list(
            session,
            store::remittance::from(session.caller().company, &kinds, credited),
            sort,
            asked,
            |conn, caller, ids| {
                let ids: Vec<RemittanceId> = ids.iter().copied().map(RemittanceId).collect();
                Ok(store::remittance::by_ids(conn, caller.company, &ids)?)
            },
        )
        .await
    }
}

/// Cheques or bills to hand in.
#[derive(InputObject, Clone, Debug)]
struct HandInInput {
    /// What is handed in, and what for.
    kind: RemittanceKind,
    /// The payments: cheques, or bills of exchange; 1 to 100.
    payments: Vec<PaymentRef>,
    /// The bank's general account; the account map's when absent.
    bank_account: Option<String>,
    /// The day; today when absent.
    remitted_on: Option<Date>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// What the bank credited for a slip.
#[derive(InputObject, Clone, Debug)]
struct CreditRemittanceInput {
    /// The slip.
    remittance: RemittanceRef,
    /// The day; today when absent.
    credited_on: Option<Date>,
    /// What the bank paid, as its statement says; worked out from the rest when absent. Interest takes the
    /// cent that differs (R2.13).
    received: Option<Decimal>,
    /// The bank's fee before VAT; VAT at the company's setting `bankFeeVatRate` comes on top.
    fee: Option<Decimal>,
    /// Bank discount in percent per year, on 360 days to each bill's maturity (R2.13).
    discount_rate: Option<Decimal>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// What happened to a slip.
#[derive(SimpleObject)]
struct RemittancePayload {
    /// The slip as it is now; null when refused.
    remittance: Option<Remittance>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

async fn payload(ctx: &Context<'_>, done: Done<RemittanceId>) -> Result<RemittancePayload> {
    let remittance = match done.made {
        Some(id) => Some(Remittance(one(ctx, id).await?)),
        None => None,
    };
    Ok(RemittancePayload {
        remittance,
        user_errors: done.user_errors,
    })
}

/// Remittance slips.
#[derive(Default)]
pub struct RemittanceMutation;

#[Object]
impl RemittanceMutation {
    /// Hands cheques or bills to the bank. Bills move from 413 to 5113 or 5114 (2.6); cheques stay on 5112.
    #[graphql(guard = "Permitted(\"Mutation.handIn\")")]
    async fn hand_in(&self, ctx: &Context<'_>, input: HandInInput) -> Result<RemittancePayload> {
        let run = how(&input.idempotency_key, input.validate_only);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            let input = SlipInput {
                kind: input.kind.code(),
                payments: input.payments.into_iter().map(Into::into).collect(),
                bank_account: input.bank_account,
                remitted_on: on(input.remitted_on),
            };
            remittance::hand_in(conn, caller, &input)
        })
        .await?;
        payload(ctx, done).await
    }

    /// Records that the bank credited a slip: D 512, 627, 44566, 6616 / C 5112, 5113 or 5114; discounted
    /// bills also stand off the balance sheet, D 8024 / C 8014, until they mature (2.6).
    #[graphql(guard = "Permitted(\"Mutation.creditRemittance\")")]
    async fn credit_remittance(
        &self,
        ctx: &Context<'_>,
        input: CreditRemittanceInput,
    ) -> Result<RemittancePayload> {
        let run = how(&input.idempotency_key, input.validate_only);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            let credit = CreditInput {
                credited_on: on(input.credited_on),
                received: input.received.map(|amount| amount.0),
                fee: input.fee.map(|amount| amount.0),
                discount_rate: input.discount_rate.map(|rate| rate.0),
            };
            remittance::credit(conn, caller, &input.remittance.into(), &credit)
        })
        .await?;
        payload(ctx, done).await
    }
}
