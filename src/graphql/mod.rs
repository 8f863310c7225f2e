//! The API: views of the records, one guarded field per question, one mutation per use case.

#![expect(
    clippy::too_many_arguments,
    reason = "fields take filter, order and paging one by one, as callers write them"
)]

mod access;
mod aging;
mod approval;
mod audit;
mod bank;
mod below;
mod client;
mod collection;
mod company;
mod dispute;
mod dispute_desk;
mod document;
mod doubtful;
mod dunning;
mod dunning_run;
mod error;
mod file;
mod journal;
pub mod kept;
mod lean;
mod ledger;
mod letter;
mod litigation;
mod live;
mod loaders;
mod matching;
mod mutation;
mod node;
mod operation;
mod page;
mod payment;
mod penalty;
mod personal;
mod provision;
mod provision_run;
mod remittance;
mod replay;
mod scalars;
pub(crate) mod text;
mod watch;
mod webhook;

use std::sync::Arc;

use async_graphql::async_trait::async_trait;
use async_graphql::dataloader::DataLoader;
use async_graphql::{Context, Guard, MergedObject, Request, Response, SchemaBuilder};

use crate::domain::access::action_of;
use crate::error::{Error, Result};
use crate::objects::Objects;
use crate::service::balances::Balances;
use crate::service::live::Feed;
use crate::service::provision::memory::Provisions;
use crate::service::webhook::Policy;
use crate::store::Session;
use crate::telemetry::figures::Figures;
use watch::Watched;

/// Questions about getting paid. In groups, since each part of a root wraps those before it.
#[derive(MergedObject, Default)]
pub struct CollectingQuery(
    dunning::DunningQuery,
    dunning_run::DunningRunQuery,
    letter::LetterQuery,
    collection::CollectionQuery,
    litigation::LitigationQuery,
    dispute_desk::DisputeDeskQuery,
);

/// Questions about who comes in, who is told, and what waits for a second person.
#[derive(MergedObject, Default)]
pub struct ConnectingQuery(
    live::LiveQuery,
    webhook::WebhookQuery,
    access::AccessQuery,
    approval::ApprovalQuery,
    audit::AuditQuery,
    personal::PersonalQuery,
);

/// Everything that can be asked. All fields of a document are read from one snapshot of the books.
///
/// Lists that can grow are connections: `first` rows (0 to 100, 20 when absent) behind `after`, or the `last` rows before
/// `before`; both at once are an error, and a cursor belongs to its list, filter and order. A document may cost 10,000: one
/// for each record that may be answered, a tenth for each value in it; `extensions.cost` of the answer says what it was.
/// Arguments that are wrong, and fields that the role may not read, are errors with `extensions.code`, and `extensions.field`
/// or `extensions.permission`.
#[derive(MergedObject, Default)]
pub struct Query(
    company::CompanyQuery,
    client::ClientQuery,
    node::NodeQuery,
    document::DocumentQuery,
    payment::PaymentQuery,
    dispute::DisputeQuery,
    matching::MatchingQuery,
    aging::AgingQuery,
    provision::ProvisionQuery,
    journal::JournalQuery,
    ledger::LedgerQuery,
    operation::OperationQuery,
    remittance::RemittanceQuery,
    bank::BankQuery,
    doubtful::DoubtfulQuery,
    penalty::PenaltyQuery,
    provision_run::ProvisionRunQuery,
    CollectingQuery,
    ConnectingQuery,
);

/// Deeds about getting paid. In groups, since each part of a root wraps those before it.
#[derive(MergedObject, Default)]
pub struct CollectingMutation(
    dunning::DunningMutation,
    dunning_run::DunningRunMutation,
    letter::LetterMutation,
    collection::CollectionMutation,
    litigation::LitigationMutation,
    dispute_desk::DisputeDeskMutation,
);

/// Deeds about who comes in, who is told, and what waits for a second person.
#[derive(MergedObject, Default)]
pub struct ConnectingMutation(
    webhook::WebhookMutation,
    access::AccessMutation,
    approval::ApprovalMutation,
    personal::PersonalMutation,
);

/// Everything that can be done. What the rules refuse is told in `userErrors`, with a stable code and the field; then, and
/// with `validateOnly`, the record of the payload is null. Under one `idempotencyKey` a thing is done once, and answered alike.
#[derive(MergedObject, Default)]
pub struct Mutation(
    company::CompanyMutation,
    client::ClientMutation,
    document::DocumentMutation,
    payment::PaymentMutation,
    dispute::DisputeMutation,
    matching::MatchingMutation,
    provision::ProvisionMutation,
    ledger::LedgerMutation,
    operation::OperationMutation,
    remittance::RemittanceMutation,
    bank::BankMutation,
    doubtful::DoubtfulMutation,
    penalty::PenaltyMutation,
    provision_run::ProvisionRunMutation,
    CollectingMutation,
    ConnectingMutation,
);

pub use live::Subscription;

/// The schema as served.
pub type Schema = async_graphql::Schema<Watched<Query>, Watched<Mutation>, Subscription>;

/// The schema to look at. Limits on documents are the guarded handler's, before execution.
pub fn schema() -> Schema {
    builder().finish()
}

/// The schema to serve: with what all requests of this process share.
pub fn serving(
    feed: Feed,
    webhooks: Policy,
    balances: Balances,
    provisions: Provisions,
    figures: Figures,
) -> Schema {
    builder()
        .data(feed)
        .data(webhooks)
        .data(balances)
        .data(provisions)
        .data(figures)
        .finish()
}

fn builder() -> SchemaBuilder<Watched<Query>, Watched<Mutation>, Subscription> {
    async_graphql::Schema::build(Watched::default(), Watched::default(), Subscription)
        .register_output_type::<node::Node>()
        .limit_depth(20)
        .disable_suggestions()
}

/// Questions about the whole of the books that only read: they may be answered by a replica.
pub const REPORTS: &[&str] = &[
    "agedBalance",
    "disputeStatistics",
    "doubtfulDebtProvision",
    "generalLedger",
    "integrityCheck",
    "journalEntries",
    "openItems",
    "trialBalance",
];

/// How many fields of the root a document asks for.
pub struct Roots(pub usize);

/// Gives a request its caller's session and loaders; they live as long as the request.
pub fn bind(request: Request, session: &Session, objects: &Objects, roots: Roots) -> Request {
    let loader = DataLoader::new(loaders::Loads(session.clone()), tokio::spawn)
        .delay(std::time::Duration::ZERO)
        .max_batch_size(1000);
    request
        .data(session.clone())
        .data(loader)
        .data(below::Asking::default())
        .data(objects.clone())
        .data(roots)
}

/// Runs a query or mutation that was given its session; what was done before is answered as it was then.
pub async fn execute(schema: &Schema, request: Request, session: &Session) -> Response {
    let asked = Arc::new(replay::Asked::of(&request));
    let mut response = schema.execute(request.data(Arc::clone(&asked))).await;
    replay::settle(&asked, session, &mut response).await;
    response
}

/// The session of the request.
fn session<'a>(ctx: &Context<'a>) -> Result<&'a Session> {
    ctx.data_opt::<Session>().ok_or(Error::Unauthenticated)
}

/// The balances in memory; without any, the database answers.
fn balances(ctx: &Context<'_>) -> Balances {
    ctx.data_opt::<Balances>().cloned().unwrap_or_default()
}

/// The provisions remembered; without any, each is computed anew.
fn provisions(ctx: &Context<'_>) -> Provisions {
    ctx.data_opt::<Provisions>().cloned().unwrap_or_default()
}

/// The store of files.
fn objects<'a>(ctx: &Context<'a>) -> Result<&'a Objects> {
    ctx.data_opt::<Objects>().ok_or(Error::Unauthenticated)
}

/// The loaders of the request.
fn loader<'a>(ctx: &Context<'a>) -> Result<&'a DataLoader<loaders::Loads>> {
    ctx.data_opt::<DataLoader<loaders::Loads>>()
        .ok_or(Error::Unauthenticated)
}

/// Lets a field through when the table of `domain/access.rs` gives it to the caller's role.
pub struct Permitted(pub &'static str);

#[async_trait]
impl Guard for Permitted {
    async fn check(&self, ctx: &Context<'_>) -> async_graphql::Result<()> {
        let action = action_of(self.0);
        let allowed = action
            .is_some_and(|action| session(ctx).is_ok_and(|session| session.caller().may(action)));
        if allowed {
            Ok(())
        } else {
            Err(Error::Forbidden(action).into())
        }
    }
}
