//! The doubtful-debt provision (dépréciation des créances douteuses) on demand.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use uuid::Uuid;

use super::aging::OpenItem;
use super::client::{Client, ClientSegment};
use super::document::one;
use super::error::UserError;
use super::loaders::BooksCurrency;
use super::mutation::{How, mutate};
use super::page::{Asked, Connection, Window, counted};
use super::scalars::{
    ClientRef, Date, Decimal, Instant, InvoiceRef, JsonObject, at, day, money, rate, show,
};
use super::text::untold;
use super::{Permitted, provisions, session};
use crate::domain::provision::{Framework, Method};
use crate::error::Result;
use crate::service::provision::memory::{Place, Question};
use crate::service::provision::{
    self as service, AssessmentInput, ClaimResult, ClientResult, PolicyContent, PolicyInput,
};
use crate::store::{self};

untold!(ClientProvision);

/// Under which rules a provision is computed.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(remote = "Framework")]
enum ProvisionFramework {
    /// French accounting rules: net of VAT, with disputes, insurance and insolvency (R5.1 to R5.12).
    FrenchGaap,
    /// IFRS 9 simplified approach: lifetime loss on everything open, by age (5.2). An independent run.
    Ifrs9,
}

/// How a claim's provision was found.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "Method")]
enum ProvisionMethod {
    /// Rate of its age.
    Matrix,
    /// A part of it is in dispute: that part at the rate for disputes, the rest by age.
    Disputed,
    /// An individual estimate with its proof.
    Individual,
    /// The client is in liquidation.
    Liquidation,
    /// The client is in safeguard or receivership.
    Insolvency,
}

/// The rates of one segment.
#[derive(InputObject, Clone, Debug)]
struct SegmentRatesInput {
    /// The segment.
    segment: ClientSegment,
    /// One rate per bucket, in percent.
    rates: Vec<Decimal>,
}

/// The policy to compute with: a stored one by its name, or rates of the moment.
#[derive(InputObject, Clone, Debug)]
pub struct ProvisionPolicyInput {
    /// Name of a stored policy; "default" when neither a name nor rates are given.
    name: Option<String>,
    /// FRENCH_GAAP when absent and no stored policy says otherwise.
    framework: Option<ProvisionFramework>,
    /// Last day of each bucket; 30, 60, 90 when absent.
    bounds: Option<Vec<i32>>,
    /// One rate per bucket in percent, what is not due first, beyond the last bound last.
    rates: Option<Vec<Decimal>>,
    /// Other rates for some segments.
    segments: Option<Vec<SegmentRatesInput>>,
    /// For disputed amounts; 50 when absent (R5.8).
    disputed_rate: Option<Decimal>,
    /// For clients in liquidation; 100 when absent (R5.9).
    liquidation_rate: Option<Decimal>,
    /// For clients in safeguard or receivership; 50 when absent (R5.9).
    insolvency_rate: Option<Decimal>,
}

impl ProvisionPolicyInput {
    fn content(&self) -> PolicyContent {
        let mut content = PolicyContent::default();
        let numbers = |rates: &[Decimal]| rates.iter().map(|rate| rate.0).collect::<Vec<_>>();
        if let Some(bounds) = &self.bounds {
            content.bounds.clone_from(bounds);
        }
        if let Some(rates) = &self.rates {
            content.rates = numbers(rates);
        }
        for segment in self.segments.iter().flatten() {
            content
                .segments
                .insert(segment.segment.code().to_owned(), numbers(&segment.rates));
        }
        for (rate, slot) in [
            (self.disputed_rate, &mut content.disputed_rate),
            (self.liquidation_rate, &mut content.liquidation_rate),
            (self.insolvency_rate, &mut content.insolvency_rate),
        ] {
            if let Some(rate) = rate {
                *slot = rate.0;
            }
        }
        content
    }

    /// As the service knows it.
    pub fn read(self) -> PolicyInput {
        let rates_given = self.bounds.is_some()
            || self.rates.is_some()
            || self.segments.is_some()
            || self.disputed_rate.is_some()
            || self.liquidation_rate.is_some()
            || self.insolvency_rate.is_some();
        PolicyInput {
            content: rates_given.then(|| self.content()),
            framework: self.framework.map(Into::into),
            name: self.name,
        }
    }
}

/// The rates of a policy, in percent.
#[derive(SimpleObject)]
struct ProvisionRates {
    /// Last day of each bucket.
    bounds: Vec<i32>,
    /// One rate per bucket.
    rates: Vec<Decimal>,
    /// Other rates by segment: `{"PUBLIC": ["0", …]}`.
    segments: JsonObject,
    /// For disputed amounts.
    disputed_rate: Decimal,
    /// For clients in liquidation.
    liquidation_rate: Decimal,
    /// For clients in safeguard or receivership.
    insolvency_rate: Decimal,
}

fn rates(content: &PolicyContent) -> ProvisionRates {
    ProvisionRates {
        bounds: content.bounds.clone(),
        rates: content.rates.iter().map(|value| rate(*value)).collect(),
        segments: JsonObject(serde_json::json!(content.segments)),
        disputed_rate: rate(content.disputed_rate),
        liquidation_rate: rate(content.liquidation_rate),
        insolvency_rate: rate(content.insolvency_rate),
    }
}

/// One version of a stored policy.
#[derive(SimpleObject)]
struct ProvisionPolicy {
    /// The opaque id.
    id: ID,
    /// The policy's name.
    name: String,
    /// The version: the latest counts.
    version: i32,
    /// Under which rules.
    framework: ProvisionFramework,
    /// The rates.
    rates: ProvisionRates,
    /// Who saved it.
    recorded_by: String,
}

fn policy(record: store::provision::Policy) -> Result<ProvisionPolicy> {
    let content: PolicyContent = serde_json::from_value(record.content)
        .map_err(|error| crate::error::Error::Internal(format!("stored policy: {error}")))?;
    Ok(ProvisionPolicy {
        id: show(record.id),
        name: record.name,
        version: record.version,
        framework: if record.framework == "IFRS9" {
            ProvisionFramework::Ifrs9
        } else {
            ProvisionFramework::FrenchGaap
        },
        rates: rates(&content),
        recorded_by: record.recorded_by,
    })
}

/// An individual estimate (R5.3).
#[derive(SimpleObject)]
struct ProvisionAssessment {
    /// The opaque id.
    id: ID,
    /// The client's id.
    client_id: ID,
    /// The invoice's id; null when it is about all the client's claims.
    invoice_id: Option<ID>,
    /// The estimated loss in percent of the net base.
    rate_percent: Decimal,
    /// Why.
    reason: String,
    /// The documents that prove it.
    evidence: JsonObject,
    /// Whether it is deductible for tax (R5.4).
    deductible: bool,
    /// From which day it counts.
    valid_from: Date,
    /// Until which day; null while it counts.
    valid_to: Option<Date>,
    /// Who estimated.
    recorded_by: String,
}

/// A claim and its provision. Amounts are positive, net of VAT unless said otherwise.
struct ProvisionClaim(ClaimResult, Date);

/// A claim and its provision (créance).
#[Object]
impl ProvisionClaim {
    /// Number of the document.
    async fn reference(&self) -> &str {
        &self.0.open.reference
    }
    /// Due date.
    async fn due_on(&self) -> Date {
        (self.0.open.due_on.unwrap_or(self.0.open.posted_on)).into()
    }
    /// What is open (TTC).
    async fn open(&self) -> Decimal {
        money(self.0.open.open, &self.0.open.currency)
    }
    /// What is left of it after the client's unallocated credits, oldest due first (TTC, R5.7).
    async fn exposure(&self) -> Decimal {
        money(self.0.result.exposure, &self.0.open.currency)
    }
    /// The part that is not in dispute (HT, R5.2, R5.8).
    async fn base(&self) -> Decimal {
        money(self.0.result.base, &self.0.open.currency)
    }
    /// The part of the base that the insurer covers (HT, R5.6).
    async fn insured(&self) -> Decimal {
        money(self.0.result.insured, &self.0.open.currency)
    }
    /// The part that is in dispute (HT).
    async fn disputed_base(&self) -> Decimal {
        money(self.0.result.disputed_base, &self.0.open.currency)
    }
    /// Rate on the uninsured base, in percent.
    async fn rate(&self) -> Decimal {
        rate(self.0.result.rate)
    }
    /// Rate on the disputed part, in percent.
    async fn disputed_rate(&self) -> Decimal {
        rate(self.0.result.disputed_rate)
    }
    /// The provision.
    async fn provision(&self) -> Decimal {
        money(self.0.result.provision, &self.0.open.currency)
    }
    /// How it was found.
    async fn method(&self) -> ProvisionMethod {
        self.0.result.method.into()
    }
    /// The open item behind it.
    async fn item(&self) -> Result<OpenItem> {
        OpenItem::then(self.0.open.clone(), self.1)
    }
}

/// A client's provision in one currency.
#[derive(Clone)]
struct ClientProvision {
    result: ClientResult,
    as_of: Date,
    /// Read with the page, where it was asked for.
    client: Option<Arc<Client>>,
}

/// A client's provision.
#[Object]
impl ClientProvision {
    /// The client.
    async fn client(&self, ctx: &Context<'_>) -> Result<Arc<Client>> {
        Ok(match &self.client {
            Some(client) => Arc::clone(client),
            None => Arc::new(Client(one(ctx, self.result.client).await?)),
        })
    }
    /// The currency of the amounts.
    async fn currency(&self) -> &str {
        &self.result.currency
    }
    /// What is to be provided: the sum of the claims.
    async fn required(&self) -> Decimal {
        money(self.result.provision.required, &self.result.currency)
    }
    /// The same in the company's currency: foreign claims count at the rate they were booked at.
    async fn required_in_books(&self, ctx: &Context<'_>) -> Result<Decimal> {
        let own = one(ctx, BooksCurrency).await?;
        Ok(money(self.result.in_books, own.code()))
    }
    /// What account 491 holds already for the client: on the row in the company's currency, 0 on others.
    async fn previous(&self) -> Decimal {
        money(self.result.provision.previous, &self.result.currency)
    }
    /// Charge (dotation, 68174) of the client: what is required in books for all its currencies above `previous`; on the
    /// row in the company's currency, 0 on others.
    async fn charge(&self) -> Decimal {
        money(self.result.provision.charge, &self.result.currency)
    }
    /// Release (reprise, 78174) of the client: `previous` above what is required in books for all its currencies; on the row
    /// in the company's currency, 0 on others. Never netted with other clients' charges.
    async fn release(&self) -> Decimal {
        money(self.result.provision.release, &self.result.currency)
    }
    /// The claims, oldest due first.
    async fn claims(&self) -> Vec<ProvisionClaim> {
        self.result
            .claims
            .iter()
            .cloned()
            .map(|claim| ProvisionClaim(claim, self.as_of))
            .collect()
    }
}

/// Totals of a provision in one currency.
#[derive(SimpleObject)]
struct ProvisionTotals {
    /// The currency of the amounts.
    currency: String,
    /// The claims' bases that are not in dispute (HT).
    base: Decimal,
    /// What is to be provided.
    required: Decimal,
    /// The same in the company's currency: foreign claims count at the rate they were booked at.
    required_in_books: Decimal,
    /// What account 491 holds already: on the row in the company's currency, 0 on others.
    previous: Decimal,
    /// The sum of the charges: on the row in the company's currency, 0 on others.
    charge: Decimal,
    /// The sum of the releases: on the row in the company's currency, 0 on others. There, previous + charge − release is the
    /// sum of `requiredInBooks` of all rows.
    release: Decimal,
}

/// A provision computed on a day; nothing is posted.
struct DoubtfulDebtProvision(Question);

/// A doubtful-debt provision (dépréciation des créances).
#[Object]
impl DoubtfulDebtProvision {
    /// The effective day, inclusive.
    async fn as_of(&self) -> Date {
        self.0.run.as_of.into()
    }
    /// As recorded by this instant; null means now.
    async fn known_at(&self) -> Option<Instant> {
        self.0.run.known_at.map(Into::into)
    }
    /// Under which rules.
    async fn framework(&self) -> ProvisionFramework {
        self.0.run.framework.into()
    }
    /// Name of the stored policy; null with rates of the moment.
    async fn policy_name(&self) -> Option<&str> {
        self.0.run.policy.as_ref().map(|(name, _)| name.as_str())
    }
    /// Version of the stored policy; null with rates of the moment.
    async fn policy_version(&self) -> Option<i32> {
        self.0.run.policy.as_ref().map(|(_, version)| *version)
    }
    /// The rates it was computed with.
    async fn rates(&self) -> ProvisionRates {
        rates(&self.0.run.content)
    }
    /// Totals per currency; always one for the company's own.
    async fn totals(&self, ctx: &Context<'_>) -> Result<Vec<ProvisionTotals>> {
        let (question, provisions) = (self.0.clone(), provisions(ctx));
        let (own, totals) = session(ctx)?
            .read(move |conn, caller| provisions.totals(conn, caller, &question))
            .await?;
        Ok(totals
            .into_iter()
            .map(|(currency, sum)| ProvisionTotals {
                base: money(sum.base, &currency),
                required: money(sum.required, &currency),
                required_in_books: money(sum.in_books, &own),
                previous: money(sum.previous, &currency),
                charge: money(sum.charge, &currency),
                release: money(sum.release, &currency),
                currency,
            })
            .collect())
    }
    /// Clients with something open or provided, by number and currency: a row each in the company's currency, and one for each
    /// other in which something is open.
    async fn clients(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<ClientProvision>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("{:?}", self.0.run),
        )?;
        let (question, keyset) = (self.0.clone(), asked.keyset.clone());
        let (session, provisions) = (session(ctx)?.clone(), provisions(ctx));
        let asking = provisions.clone();
        let asked_for = ctx.look_ahead();
        let nodes = [
            asked_for.field("nodes"),
            asked_for.field("edges").field("node"),
        ];
        let asks = |field: &str| nodes.iter().any(|node| node.field(field).exists());
        let (with_claims, with_clients) = (asks("claims"), asks("client"));
        let (results, more, clients) = session
            .read(move |conn, caller| {
                let (results, more) = asking.page(conn, caller, &question, &keyset, with_claims)?;
                let ids: Vec<_> = results.iter().map(|result| result.client).collect();
                let clients = match with_clients {
                    true => store::client::by_ids(conn, caller.company, &ids)?,
                    false => Vec::new(),
                };
                let clients = clients
                    .into_iter()
                    .map(|client| (client.id, Arc::new(Client(client))));
                Ok((results, more, clients.collect::<HashMap<_, _>>()))
            })
            .await?;
        let cursors = results
            .iter()
            .map(|result| asked.cursor(Place::of(result).show(), Uuid::nil()))
            .collect();
        let question = self.0.clone();
        Ok(Connection {
            cursors,
            nodes: results
                .into_iter()
                .map(|result| ClientProvision {
                    as_of: self.0.run.as_of.into(),
                    client: clients.get(&result.client).cloned(),
                    result,
                })
                .collect(),
            ends: asked.ends(more),
            count: counted(move || {
                let (session, question) = (session.clone(), question.clone());
                let provisions = provisions.clone();
                async move {
                    session
                        .read(move |conn, caller| provisions.row_count(conn, caller, &question))
                        .await
                }
            }),
        })
    }
}

/// Provisions.
#[derive(Default)]
pub struct ProvisionQuery;

#[Object]
impl ProvisionQuery {
    /// The doubtful-debt provision on a day, per claim and client (section 5). Nothing is posted.
    #[graphql(guard = "Permitted(\"Query.doubtfulDebtProvision\")")]
    async fn doubtful_debt_provision(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Effective day, inclusive; today when absent.")] as_of: Option<Date>,
        #[graphql(desc = "As recorded by this instant; now when absent.")] known_at: Option<
            Instant,
        >,
        policy: Option<ProvisionPolicyInput>,
    ) -> Result<DoubtfulDebtProvision> {
        let session = session(ctx)?;
        let as_of = day("asOf", as_of.unwrap_or(session.caller().today.into()).0)?;
        let input = policy.map(ProvisionPolicyInput::read).unwrap_or_default();
        let run = match service::with_rates(as_of, at(known_at), &input)? {
            Some(run) => run,
            None => {
                session
                    .read(move |conn, caller| {
                        service::run(conn, caller, as_of, at(known_at), &input)
                    })
                    .await?
            }
        };
        Ok(DoubtfulDebtProvision(Question::new(run)))
    }

    /// Stored policies by name, every version, latest first.
    #[graphql(guard = "Permitted(\"Query.provisionPolicies\")")]
    async fn provision_policies(&self, ctx: &Context<'_>) -> Result<Vec<ProvisionPolicy>> {
        let rows = session(ctx)?
            .read(|conn, caller| Ok(store::provision::policies(conn, caller.company)?))
            .await?;
        rows.into_iter().map(policy).collect()
    }

    /// Individual estimates in force on a day, latest first.
    #[graphql(guard = "Permitted(\"Query.provisionAssessments\")")]
    async fn provision_assessments(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Effective day; today when absent.")] as_of: Option<Date>,
    ) -> Result<Vec<ProvisionAssessment>> {
        let session = session(ctx)?;
        let as_of = day("asOf", as_of.unwrap_or(session.caller().today.into()).0)?;
        let rows = session
            .read(move |conn, caller| {
                Ok(store::provision::assessments(
                    conn,
                    caller.company,
                    as_of,
                    None,
                )?)
            })
            .await?;
        Ok(rows
            .into_iter()
            .map(|row| ProvisionAssessment {
                id: show(row.id),
                client_id: show(row.client_id),
                invoice_id: row.invoice_id.map(show),
                rate_percent: rate(row.rate_percent),
                reason: row.reason,
                evidence: JsonObject(row.evidence),
                deductible: row.deductible,
                valid_from: row.valid_from.into(),
                valid_to: row.valid_to.map(Into::into),
                recorded_by: row.recorded_by,
            })
            .collect())
    }
}

/// A policy to store.
#[derive(InputObject, Clone, Debug)]
struct SaveProvisionPolicyInput {
    /// Its name; "default" counts when none is named. A name that exists gets a new version.
    name: String,
    /// The rates and rules; its own `name` is not read.
    policy: ProvisionPolicyInput,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// What `saveProvisionPolicy` did.
#[derive(SimpleObject)]
struct SaveProvisionPolicyPayload {
    /// The new version; null when refused.
    policy: Option<ProvisionPolicy>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// An individual estimate to record.
#[derive(InputObject, Clone, Debug)]
struct AssessClaimInput {
    /// The client.
    client: ClientRef,
    /// The invoice; all the client's claims when absent.
    invoice: Option<InvoiceRef>,
    /// The estimated loss in percent of the net base.
    rate_percent: Decimal,
    /// Why.
    reason: String,
    /// Documents that prove it, at least one (R5.3).
    evidence: Vec<String>,
    /// Whether it is deductible for tax (R5.4).
    #[graphql(default)]
    deductible: bool,
    /// From which day it counts; today when absent.
    valid_from: Option<Date>,
    /// Until which day.
    valid_to: Option<Date>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// What `assessClaim` did.
#[derive(SimpleObject)]
struct AssessClaimPayload {
    /// The estimate's id; null when refused.
    assessment_id: Option<ID>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// A provision taken over from other books.
#[derive(InputObject, Clone, Debug)]
struct RecordOpeningProvisionInput {
    /// The client.
    client: ClientRef,
    /// What account 491 held for the client, in the company's currency.
    amount: Decimal,
    /// The day; today when absent.
    posted_on: Option<Date>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// What `recordOpeningProvision` did.
#[derive(SimpleObject)]
struct RecordOpeningProvisionPayload {
    /// The client; null when refused.
    client: Option<Client>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// Provisions.
#[derive(Default)]
pub struct ProvisionMutation;

#[Object]
impl ProvisionMutation {
    /// Stores a provision policy: a new version of its name.
    #[graphql(guard = "Permitted(\"Mutation.saveProvisionPolicy\")")]
    async fn save_provision_policy(
        &self,
        ctx: &Context<'_>,
        input: SaveProvisionPolicyInput,
    ) -> Result<SaveProvisionPolicyPayload> {
        let how = How {
            idempotency_key: input.idempotency_key.clone(),
            validate_only: false,
            ..How::default()
        };
        let done = mutate(ctx, how, move |conn, caller| {
            let framework = input
                .policy
                .framework
                .map_or(Framework::FrenchGaap, Into::into);
            service::save_policy(
                conn,
                caller,
                &input.name,
                framework,
                &input.policy.content(),
            )
        })
        .await?;
        let saved = match done.made {
            Some(id) => {
                let rows = session(ctx)?
                    .read(|conn, caller| Ok(store::provision::policies(conn, caller.company)?))
                    .await?;
                rows.into_iter()
                    .find(|row| row.id == id)
                    .map(policy)
                    .transpose()?
            }
            None => None,
        };
        Ok(SaveProvisionPolicyPayload {
            policy: saved,
            user_errors: done.user_errors,
        })
    }

    /// Records an individual estimate of a client's or an invoice's loss; proof is required.
    #[graphql(guard = "Permitted(\"Mutation.assessClaim\")")]
    async fn assess_claim(
        &self,
        ctx: &Context<'_>,
        input: AssessClaimInput,
    ) -> Result<AssessClaimPayload> {
        let how = How {
            idempotency_key: input.idempotency_key.clone(),
            validate_only: false,
            ..How::default()
        };
        let done = mutate(ctx, how, move |conn, caller| {
            let input = input.clone();
            let estimate = AssessmentInput {
                client: input.client.into(),
                invoice: input.invoice.map(Into::into),
                rate_percent: input.rate_percent.0,
                reason: input.reason,
                evidence: input.evidence,
                deductible: input.deductible,
                valid_from: super::scalars::on(input.valid_from),
                valid_to: super::scalars::on(input.valid_to),
            };
            service::assess(conn, caller, &estimate)
        })
        .await?;
        Ok(AssessClaimPayload {
            assessment_id: done.made.map(show),
            user_errors: done.user_errors,
        })
    }

    /// Takes over what account 491 held for a client in other books.
    #[graphql(guard = "Permitted(\"Mutation.recordOpeningProvision\")")]
    async fn record_opening_provision(
        &self,
        ctx: &Context<'_>,
        input: RecordOpeningProvisionInput,
    ) -> Result<RecordOpeningProvisionPayload> {
        let how = How {
            idempotency_key: input.idempotency_key.clone(),
            validate_only: false,
            ..How::default()
        };
        let done = mutate(ctx, how, move |conn, caller| {
            service::record_opening(
                conn,
                caller,
                &input.client.clone().into(),
                input.amount.0,
                super::scalars::on(input.posted_on),
            )
        })
        .await?;
        let client = match done.made {
            Some(id) => Some(Client(one(ctx, id).await?)),
            None => None,
        };
        Ok(RecordOpeningProvisionPayload {
            client,
            user_errors: done.user_errors,
        })
    }
}
