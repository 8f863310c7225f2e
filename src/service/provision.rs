//! The doubtful-debt provision on demand (section 5): claims from the open items, rules from the
//! policy, nothing posted.

pub mod memory;

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::PgConnection;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::books::{self, NewLine, Posting};
use super::reference::{self, Ref};
use crate::domain::access::Caller;
use crate::domain::aging::{AgingBasis, Buckets};
use crate::domain::ids::{AssessmentId, ClientId, EntryId, Id, ItemId, PolicyId};
use crate::domain::money::Minor;
use crate::domain::provision::{
    self, Claim, ClientProvision, ClientSituation, Framework, Insolvency, SpecialRates,
};
use crate::domain::refusal::Refusal;
use crate::domain::vat;
use crate::error::{Error, Result};
use crate::store::aging::{Open, OpenItems, Population};
use crate::store::balances::Touched;
use crate::store::client::Client;
use crate::store::list::Keyset;
use crate::store::provision::{Assessment, Estimate, Policy, Wanted};
use crate::store::{self};

/// The rates of a policy, in percent. The first rate is for what is not due.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyContent {
    /// Upper bounds of the buckets, in days past due.
    pub bounds: Vec<i32>,
    /// One rate per bucket: not due, each bound, and beyond the last.
    pub rates: Vec<Decimal>,
    /// Other rates for clients of a segment.
    pub segments: BTreeMap<String, Vec<Decimal>>,
    /// For disputed amounts (R5.8).
    pub disputed_rate: Decimal,
    /// For clients in liquidation (R5.9).
    pub liquidation_rate: Decimal,
    /// For clients in safeguard or receivership without an individual estimate (R5.9).
    pub insolvency_rate: Decimal,
}

impl Default for PolicyContent {
    /// House defaults: the matrix of example 5.1 and the rates of R5.8 and R5.9.
    fn default() -> Self {
        PolicyContent {
            bounds: vec![30, 60, 90],
            rates: [0, 1, 5, 15, 40].map(Decimal::from).to_vec(),
            segments: BTreeMap::new(),
            disputed_rate: Decimal::from(50),
            liquidation_rate: Decimal::from(100),
            insolvency_rate: Decimal::from(50),
        }
    }
}

/// The name of the policy that counts when none is named.
pub const DEFAULT_POLICY: &str = "default";

/// A policy as asked for: a stored one by name, or rates of the moment.
#[derive(Clone, Debug, Default)]
pub struct PolicyInput {
    pub name: Option<String>,
    pub framework: Option<Framework>,
    pub content: Option<PolicyContent>,
}

/// What a run is computed from, ready to be asked for totals or a page of clients.
#[derive(Clone, Debug)]
pub struct Run {
    pub as_of: NaiveDate,
    pub known_at: Option<DateTime<Utc>>,
    pub framework: Framework,
    pub content: PolicyContent,
    /// The stored policy behind it: name and version.
    pub policy: Option<(String, i32)>,
}

/// A claim with what the rules made of it.
#[derive(Clone, Debug)]
pub struct ClaimResult {
    pub open: Open,
    /// Its provision in the company's currency: of a foreign claim, at the rate it was booked at.
    pub in_books: Minor,
    pub result: provision::ClaimProvision<ItemId>,
}

/// A client's provision in one currency. There is always one in the company's currency, since that is what moves
/// (R5.10): its charge and release are those of the client's claims in all currencies.
#[derive(Clone, Debug)]
pub struct ClientResult {
    pub client: ClientId,
    pub number: String,
    pub currency: String,
    pub provision: ClientProvision<ItemId>,
    pub claims: Vec<ClaimResult>,
    /// What is required for them in the company's currency.
    pub in_books: Minor,
    /// Whether anything is open, be it a credit.
    pub is_open: bool,
}

/// Sums over all clients in one currency. Charges and releases are never netted (R5.10).
#[derive(Clone, Debug, Default)]
pub struct Totals {
    pub base: Minor,
    pub required: Minor,
    /// The same in the company's currency; of all currencies together, previous + charge − release.
    pub in_books: Minor,
    pub previous: Minor,
    pub charge: Minor,
    pub release: Minor,
}

/// Refuses a policy that is not one rate per bucket from 0 to 100.
fn check(content: &PolicyContent) -> Result<()> {
    Buckets::new(AgingBasis::DueDate, &content.bounds)
        .map_err(|error| Refusal::invalid("policy.bounds", error.to_string()))?;
    let wanted = content.bounds.len() + 2;
    let lists = std::iter::once(("policy.rates", &content.rates)).chain(
        content
            .segments
            .values()
            .map(|rates| ("policy.segments", rates)),
    );
    for (field, rates) in lists {
        if rates.len() != wanted {
            return Err(Refusal::invalid(
                field,
                format!(
                    "{wanted} rates are needed: not due, one per bound, and beyond the last bound"
                ),
            )
            .into());
        }
        check_rates(field, rates)?;
    }
    for (field, rate) in [
        ("policy.disputedRate", content.disputed_rate),
        ("policy.liquidationRate", content.liquidation_rate),
        ("policy.insolvencyRate", content.insolvency_rate),
    ] {
        check_rates(field, &[rate])?;
    }
    Ok(())
}

fn check_rates(field: &str, rates: &[Decimal]) -> Result<()> {
    if rates
        .iter()
        .any(|rate| *rate < Decimal::ZERO || *rate > Decimal::ONE_HUNDRED || rate.scale() > 4)
    {
        return Err(Refusal::invalid(
            field,
            "rates are percentages from 0 to 100, with at most 4 decimals",
        )
        .into());
    }
    Ok(())
}

/// Prepares a run with rates of the moment; none when the policy is a stored one.
pub fn with_rates(
    as_of: NaiveDate,
    known_at: Option<DateTime<Utc>>,
    input: &PolicyInput,
) -> Result<Option<Run>> {
    let Some(content) = &input.content else {
        return Ok(None);
    };
    if input.name.is_some() {
        return Err(Refusal::invalid(
            "policy.name",
            "name a stored policy or give rates, not both",
        )
        .into());
    }
    check(content)?;
    Ok(Some(Run {
        as_of,
        known_at,
        framework: input.framework.unwrap_or(Framework::FrenchGaap),
        content: content.clone(),
        policy: None,
    }))
}

/// Prepares a run: the policy asked for, or the company's default as it was known then.
pub fn run(
    conn: &mut PgConnection,
    caller: &Caller,
    as_of: NaiveDate,
    known_at: Option<DateTime<Utc>>,
    input: &PolicyInput,
) -> Result<Run> {
    if let Some(run) = with_rates(as_of, known_at, input)? {
        return Ok(run);
    }
    let name = input.name.as_deref().unwrap_or(DEFAULT_POLICY);
    let Some(stored) = store::provision::policy(conn, caller.company, name, known_at)? else {
        if input.name.is_some() {
            return Err(Refusal::not_found("policy.name", "provision policy").into());
        }
        let framework = input.framework.unwrap_or(Framework::FrenchGaap);
        return Ok(Run {
            as_of,
            known_at,
            framework,
            content: PolicyContent::default(),
            policy: None,
        });
    };
    let content = serde_json::from_value(stored.content)
        .map_err(|error| Error::Internal(format!("stored policy: {error}")))?;
    let framework = match input.framework {
        Some(framework) => framework,
        None if stored.framework == "IFRS9" => Framework::Ifrs9,
        None => Framework::FrenchGaap,
    };
    Ok(Run {
        as_of,
        known_at,
        framework,
        content,
        policy: Some((stored.name, stored.version)),
    })
}

/// What belongs to all clients of a run, read once.
pub struct Context {
    estimates: Vec<Estimate>,
    /// What account 491 holds for each client.
    previous: HashMap<Uuid, Minor>,
    /// The company's.
    currency: String,
}

impl Run {
    fn population(&self, caller: &Caller) -> Population {
        Population {
            known_at: self.known_at,
            ..Population::of(caller.company, self.as_of)
        }
    }

    /// What belongs to all its clients.
    pub fn context(&self, conn: &mut PgConnection, caller: &Caller) -> Result<Context> {
        Ok(self.context_since(conn, caller, None)?.0)
    }

    /// The same, and who was touched by transactions from one on: at most so many rows of each kind.
    fn context_since(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        since: Option<(i64, usize)>,
    ) -> Result<(Context, Option<Touched>)> {
        let wanted = Wanted {
            // An IFRS run is independent: nothing of it was ever posted (R5.13).
            provided: self.framework == Framework::FrenchGaap,
            touched: since,
        };
        let company = caller.company;
        let basis = store::provision::basis(conn, company, self.as_of, self.known_at, wanted)?;
        let provided = basis.provided.into_iter();
        let context = Context {
            estimates: basis.estimates,
            previous: provided.map(|row| (row.client_id, row.amount)).collect(),
            currency: basis.currency.ok_or(Error::Unauthenticated)?,
        };
        Ok((context, basis.touched))
    }

    fn rates(&self, client: &Client) -> &[Decimal] {
        self.content
            .segments
            .get(&client.segment)
            .unwrap_or(&self.content.rates)
    }

    fn client(
        &self,
        client: &Client,
        currency: &str,
        items: Vec<Open>,
        context: &Context,
    ) -> Result<ClientResult> {
        let is_open = !items.is_empty();
        let credits: Minor = items
            .iter()
            .filter(|item| !item.is_debit)
            .map(|item| -item.open)
            .sum();
        let debits: Vec<Open> = items.into_iter().filter(|item| item.is_debit).collect();
        let claims: Vec<Claim<ItemId>> = debits
            .iter()
            .map(|item| self.claim(client, item, context))
            .collect();
        let situation = ClientSituation {
            insolvency: insolvency(client, self.as_of),
            cover_percent: client.insured_percent,
            // The cover is agreed in the company's currency.
            cover_limit: client.insured_limit,
            unallocated_credits: credits,
            previous: context.held(client.id.0, currency),
        };
        let internal = |error: String| Error::Internal(error);
        let policy = provision::Policy::new(
            self.framework,
            Buckets::new(AgingBasis::DueDate, &self.content.bounds)
                .map_err(|error| internal(error.to_string()))?,
            self.rates(client).to_vec(),
            SpecialRates {
                disputed: self.content.disputed_rate,
                liquidation: self.content.liquidation_rate,
                insolvency: self.content.insolvency_rate,
            },
        )
        .map_err(|error| internal(error.to_string()))?;
        let provision = provision::client_provision(&claims, &situation, &policy);
        let by_key: HashMap<ItemId, _> = provision
            .claims
            .iter()
            .map(|claim| (claim.key, *claim))
            .collect();
        let claims = debits
            .into_iter()
            .filter_map(|open| {
                by_key
                    .get(&ItemId(open.id))
                    .cloned()
                    .map(|result| ClaimResult {
                        open,
                        in_books: result.provision,
                        result,
                    })
            })
            .collect();
        Ok(ClientResult {
            client: client.id,
            number: client.number.clone(),
            currency: currency.to_owned(),
            in_books: provision.required,
            provision,
            claims,
            is_open,
        })
    }

    fn claim(&self, client: &Client, item: &Open, context: &Context) -> Claim<ItemId> {
        let due_on = item.due_on.unwrap_or(item.posted_on);
        // The latest estimate of the document counts, else the latest of the client.
        let of_invoice = context
            .estimates
            .iter()
            .find(|a| a.invoice_id.is_some() && a.invoice_id == item.invoice_id);
        let of_client = context
            .estimates
            .iter()
            .find(|a| a.invoice_id.is_none() && a.client_id == client.id);
        Claim {
            key: ItemId(item.id),
            reference: item.reference.clone(),
            due_on,
            open: item.open,
            net: item.document_net,
            gross: item.document_total,
            disputed: item.disputed,
            age: (self.as_of - due_on).num_days(),
            individual_rate: of_invoice
                .or(of_client)
                .map(|estimate| estimate.rate_percent),
        }
    }

    /// The provisions of these clients, by currency, with their claims.
    pub fn clients(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        clients: &[Client],
        context: &Context,
    ) -> Result<Vec<ClientResult>> {
        let population = Population {
            client_ids: clients.iter().map(|client| client.id).collect(),
            ..self.population(caller)
        };
        let mut items: BTreeMap<(Uuid, String), Vec<Open>> = BTreeMap::new();
        if !clients.is_empty() {
            let question = OpenItems {
                population,
                cell: None,
                is_debit: None,
                invoice: None,
            };
            question.each(conn, |open| {
                items
                    .entry((open.client_id, open.currency.clone()))
                    .or_default()
                    .push(open)
            })?;
        }
        let by_id: HashMap<Uuid, &Client> =
            clients.iter().map(|client| (client.id.0, client)).collect();
        for id in by_id.keys() {
            items.entry((*id, context.currency.clone())).or_default();
        }
        let mut results = Vec::with_capacity(items.len());
        for ((id, currency), open) in items {
            if let Some(client) = by_id.get(&id) {
                results.push(self.client(client, &currency, open, context)?);
            }
        }
        value_in_books(conn, caller, context, &mut results)?;
        move_to_required(context, &mut results);
        Ok(results)
    }

    /// Sums per currency over every client, and the company's own currency. Claims are read as a stream, client by client.
    pub fn totals(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        context: &Context,
    ) -> Result<(String, BTreeMap<String, Totals>)> {
        let (ids, _) = self.client_ids(conn, caller, context, &Keyset::all())?;
        let mut totals: BTreeMap<String, Totals> =
            BTreeMap::from([(context.currency.clone(), Totals::default())]);
        for chunk in ids.chunks(1000) {
            let clients = store::client::by_ids(conn, caller.company, chunk)?;
            for result in self.clients(conn, caller, &clients, context)? {
                let sum = totals.entry(result.currency).or_default();
                sum.base += result
                    .provision
                    .claims
                    .iter()
                    .map(|claim| claim.base)
                    .sum::<Minor>();
                sum.required += result.provision.required;
                sum.in_books += result.in_books;
                sum.previous += result.provision.previous;
                sum.charge += result.provision.charge;
                sum.release += result.provision.release;
            }
        }
        Ok((context.currency.clone(), totals))
    }

    /// A page of clients with something open or provided, by number; and whether more follow.
    pub fn client_ids(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        context: &Context,
        page: &Keyset,
    ) -> Result<(Vec<ClientId>, bool)> {
        let population = self.population(caller);
        let (ids, more) = store::provision::clients(conn, &population, &context.holders(), page)?;
        Ok((ids.into_iter().map(ClientId).collect(), more))
    }

    /// How many rows [`Run::clients`] makes of all of them.
    pub fn row_count(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        context: &Context,
    ) -> Result<i64> {
        let (population, held) = (self.population(caller), context.holders());
        let currency = &context.currency;
        Ok(store::provision::row_count(
            conn,
            &population,
            &held,
            currency,
        )?)
    }
}

impl Context {
    /// What account 491 holds for a client: in the company's currency, so nothing in others.
    fn held(&self, client: Uuid, currency: &str) -> Minor {
        let held = self.previous.get(&client).copied();
        held.filter(|_| currency == self.currency)
            .unwrap_or_default()
    }

    fn holders(&self) -> Vec<Uuid> {
        self.previous.keys().copied().collect()
    }
}

/// Foreign claims count in the books at the rate they were booked at.
fn value_in_books(
    conn: &mut PgConnection,
    caller: &Caller,
    context: &Context,
    results: &mut [ClientResult],
) -> Result<()> {
    let mut foreign: Vec<&mut ClientResult> = results
        .iter_mut()
        .filter(|result| result.currency != context.currency)
        .collect();
    let items: Vec<ItemId> = foreign
        .iter()
        .flat_map(|result| result.claims.iter().map(|claim| claim.result.key))
        .collect();
    if items.is_empty() {
        return Ok(());
    }
    let values: HashMap<Uuid, Minor> = store::item::base_values(conn, caller.company, &items)?
        .into_iter()
        .map(|row| (row.item_id, row.base))
        .collect();
    for result in &mut foreign {
        for claim in &mut result.claims {
            let value = values
                .get(&claim.open.id)
                .ok_or_else(|| Error::Internal("a claim without its value".into()))?;
            let (part, whole) = (claim.result.provision, claim.open.amount.abs());
            claim.in_books = vat::proportion(*value, i128::from(part), i128::from(whole))
                .ok_or_else(|| Error::Internal("a provision is too large".into()))?;
        }
        result.in_books = result.claims.iter().map(|claim| claim.in_books).sum();
    }
    Ok(())
}

/// Charges and releases per client, from what is held to what is required for all currencies together (R5.10).
fn move_to_required(context: &Context, results: &mut [ClientResult]) {
    let mut required = HashMap::<ClientId, Minor>::new();
    for result in results.iter() {
        *required.entry(result.client).or_default() += result.in_books;
    }
    for result in results {
        let moved = result.currency == context.currency;
        let wanted = required.get(&result.client).filter(|_| moved).copied();
        result.provision.move_to(wanted.unwrap_or_default());
    }
}

fn insolvency(client: &Client, as_of: NaiveDate) -> Insolvency {
    if client.insolvency_on.is_none_or(|on| on > as_of) {
        return Insolvency::None;
    }
    match client.insolvency.as_str() {
        "LIQUIDATION" => Insolvency::Liquidation,
        "RECEIVERSHIP" => Insolvency::Receivership,
        "SAFEGUARD" => Insolvency::Safeguard,
        _ => Insolvency::None,
    }
}

/// Stores a policy: a new version of its name.
pub fn save_policy(
    conn: &mut PgConnection,
    caller: &Caller,
    name: &str,
    framework: Framework,
    content: &PolicyContent,
) -> Result<PolicyId> {
    check(content)?;
    let name = books::text("name", name, 60)?;
    let version = store::provision::policy(conn, caller.company, &name, None)?
        .map_or(1, |policy| policy.version + 1);
    let id = PolicyId::new();
    let policy = Policy {
        company_id: caller.company,
        id,
        name,
        version,
        framework: match framework {
            Framework::FrenchGaap => "FRENCH_GAAP".into(),
            Framework::Ifrs9 => "IFRS9".into(),
        },
        content: serde_json::to_value(content)
            .map_err(|error| Error::Internal(error.to_string()))?,
        recorded_by: caller.author.clone(),
    };
    store::provision::insert_policy(conn, &policy).map_err(|error| {
        books::duplicate(
            error,
            "name",
            "somebody saved this policy at the same time: send it again",
        )
    })?;
    Ok(id)
}

/// An individual estimate as entered.
#[derive(Clone, Debug)]
pub struct AssessmentInput {
    pub client: Ref,
    pub invoice: Option<Ref>,
    pub rate_percent: Decimal,
    pub reason: String,
    pub evidence: Vec<String>,
    pub deductible: bool,
    pub valid_from: Option<NaiveDate>,
    pub valid_to: Option<NaiveDate>,
}

/// Records an individual estimate; without proof it is refused (R5.3).
pub fn assess(
    conn: &mut PgConnection,
    caller: &Caller,
    input: &AssessmentInput,
) -> Result<AssessmentId> {
    let client = reference::client(conn, caller, "client", &input.client)?;
    let invoice = input
        .invoice
        .as_ref()
        .map(|target| reference::invoice(conn, caller, "invoice", target))
        .transpose()?;
    if invoice
        .as_ref()
        .is_some_and(|invoice| invoice.client_id != client.id)
    {
        return Err(Refusal::invalid("invoice", "the invoice belongs to another client").into());
    }
    check_rates("ratePercent", &[input.rate_percent])?;
    let evidence = super::operation::evidence(&input.evidence)?;
    let valid_from = input.valid_from.unwrap_or(caller.today);
    if input.valid_to.is_some_and(|to| to < valid_from) {
        return Err(Refusal::invalid("validTo", "the estimate ends before it begins").into());
    }
    let id = AssessmentId::new();
    store::provision::insert_assessment(
        conn,
        &Assessment {
            company_id: caller.company,
            id,
            client_id: client.id,
            invoice_id: invoice.map(|invoice| invoice.id),
            rate_percent: input.rate_percent,
            reason: books::text("reason", &input.reason, 1000)?,
            evidence: serde_json::json!(evidence),
            deductible: input.deductible,
            valid_from,
            valid_to: input.valid_to,
            recorded_by: caller.author.clone(),
        },
    )?;
    Ok(id)
}

/// Takes over what account 491 held for a client before: D 890 / C 491 in the opening journal.
pub fn record_opening(
    conn: &mut PgConnection,
    caller: &Caller,
    client: &Ref,
    amount: Decimal,
    on: Option<NaiveDate>,
) -> Result<ClientId> {
    let books = books::open(conn, caller)?;
    let client = reference::client(conn, caller, "client", client)?;
    let on = on.unwrap_or(caller.today);
    books.check_day("postedOn", on)?;
    let amount = books::amount("amount", amount, books.currency)?;
    let accounts = &books.settings.accounts;
    let reference = format!("AN-{}", client.number);
    let posting = Posting {
        journal: "AN".into(),
        posted_on: on,
        occurred_on: on,
        label: format!("Reprise dépréciation {}", client.number),
        reference,
        source_kind: "OPENING_PROVISION",
        source_id: EntryId::new().uuid(),
        reversal_of: None,
        currency: books.currency,
        rate: Decimal::ONE,
        lines: vec![
            NewLine::debit(&accounts.opening, amount),
            NewLine::credit(&accounts.provision, amount).of(client.id),
        ],
    };
    let source_id = posting.source_id;
    books::post(conn, caller, &books, vec![posting])?;
    store::doubtful::insert_movements(
        conn,
        &[store::doubtful::Movement {
            company_id: caller.company,
            id: Uuid::now_v7(),
            client_id: client.id,
            amount,
            kind: "OPENING".into(),
            source_id,
            item_id: None,
            posted_on: on,
            recorded_by: caller.author.clone(),
        }],
    )?;
    Ok(client.id)
}
