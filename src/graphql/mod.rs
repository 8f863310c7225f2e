//! The API: views of the records, one guarded field per question, one mutation per use case.

#![expect(
    clippy::too_many_arguments,
    reason = "fields take filter, order and paging one by one, as callers write them"
)]

mod access;
mod aging;
mod bank;
mod client;
mod company;
mod dispute;
mod document;
mod doubtful;
mod dunning;
mod error;
mod journal;
mod ledger;
mod loaders;
mod matching;
mod mutation;
mod operation;
mod page;
mod payment;
mod penalty;
mod provision;
mod provision_run;
mod remittance;
mod replay;
mod scalars;

use async_graphql::dataloader::DataLoader;
use async_graphql::{Context, EmptySubscription, Guard, MergedObject, Request};

use crate::domain::access::{Caller, action_of};
use crate::error::{Error, Result};
use crate::store::{Db, Session};

/// Everything that can be asked.
#[derive(MergedObject, Default)]
pub struct Query(
    company::CompanyQuery,
    client::ClientQuery,
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
    dunning::DunningQuery,
    penalty::PenaltyQuery,
    provision_run::ProvisionRunQuery,
    access::AccessQuery,
);

/// Everything that can be done.
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
    dunning::DunningMutation,
    penalty::PenaltyMutation,
    provision_run::ProvisionRunMutation,
    access::AccessMutation,
);

/// The schema as served.
pub type Schema = async_graphql::Schema<Query, Mutation, EmptySubscription>;

/// Builds the schema. Limits on documents are the guarded handler's, before execution.
pub fn schema() -> Schema {
    async_graphql::Schema::build(Query::default(), Mutation::default(), EmptySubscription)
        .register_output_type::<document::Node>()
        .limit_depth(20)
        .disable_suggestions()
        .extension(replay::Replays)
        .finish()
}

/// Gives a request its caller's session and loaders; they live as long as the request.
pub fn bind(request: Request, caller: Caller, db: &Db) -> (Request, Session) {
    let session = db.session(caller);
    let loader = DataLoader::new(loaders::Loads(session.clone()), tokio::spawn)
        .delay(std::time::Duration::ZERO)
        .max_batch_size(1000);
    let asked = replay::Asked::new(&request.query, request.operation_name.as_deref());
    (
        request.data(session.clone()).data(loader).data(asked),
        session,
    )
}

/// The session of the request.
fn session<'a>(ctx: &Context<'a>) -> Result<&'a Session> {
    ctx.data_opt::<Session>().ok_or(Error::Unauthenticated)
}

/// The loaders of the request.
fn loader<'a>(ctx: &Context<'a>) -> Result<&'a DataLoader<loaders::Loads>> {
    ctx.data_opt::<DataLoader<loaders::Loads>>()
        .ok_or(Error::Unauthenticated)
}

/// Lets a field through when the table of `domain/access.rs` gives it to the caller's role.
pub struct Permitted(pub &'static str);

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
