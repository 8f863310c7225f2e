//! Records by their global ids: whatever a change of the feed can be about.

use async_graphql::{Context, ID, Interface, Object};

use super::approval::ApprovalRequest;
use super::bank::Task;
use super::client::Client;
use super::collection::PaymentPlan;
use super::dispute::{Deduction, Dispute};
use super::document::{CreditNote, Invoice, maybe};
use super::dunning::{DunningAction, Promise};
use super::dunning_run::DunningRun;
use super::letter::OutboxMail;
use super::matching::Allocation;
use super::payment::Payment;
use super::{Permitted, session};
use crate::domain::access::action_of;
use crate::domain::ids::{
    AllocationId, ApprovalId, ClientId, DeductionId, DisputeId, DocumentId, DunningActionId,
    DunningRunId, Id, MailId, PaymentId, PlanId, PromiseId, TaskId,
};
use crate::error::{Error, Result};
use crate::store::document::{self, Document};

/// A record that has a global id.
#[derive(Interface, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "an interface holds its records as they are"
)]
#[graphql(field(name = "id", ty = "ID", desc = "The opaque id: give it to `node`."))]
pub enum Node {
    Client(Client),
    Invoice(Invoice),
    CreditNote(CreditNote),
    Payment(Payment),
    Allocation(Allocation),
    Deduction(Deduction),
    Dispute(Dispute),
    DunningAction(DunningAction),
    DunningRun(DunningRun),
    Promise(Promise),
    PaymentPlan(PaymentPlan),
    OutboxMail(OutboxMail),
    Task(Task),
    ApprovalRequest(ApprovalRequest),
}

/// Reads a kind of record whose ids have a prefix of their own, for those who may read its list.
macro_rules! read {
    ($ctx:ident, $id:ident, $($key:ty => $kind:ident of $field:literal),+ $(,)?) => {$(
        if let Some(key) = <$key>::read($id) {
            if !may_read($ctx, $field)? {
                return Ok(None);
            }
            return Ok(maybe($ctx, key).await?.map(|record| Node::$kind($kind(record))));
        }
    )+};
}

/// Whether the caller may read a root field, and so the records that it lists.
fn may_read(ctx: &Context<'_>, field: &str) -> Result<bool> {
    let caller = session(ctx)?.caller();
    Ok(action_of(field).is_some_and(|action| caller.may(action)))
}

/// Reads a record; unknown, foreign, malformed and forbidden ids alike give none.
async fn node(ctx: &Context<'_>, id: &ID) -> Result<Option<Node>> {
    if let Some(id) = DocumentId::read(id) {
        let found: Option<Document> = maybe(ctx, id).await?;
        return Ok(found.map(|record| match record.kind.as_str() {
            document::INVOICE => Node::Invoice(Invoice(record)),
            _ => Node::CreditNote(CreditNote(record)),
        }));
    }
    read!(ctx, id,
        ClientId => Client of "Query.client",
        PaymentId => Payment of "Query.payment",
        AllocationId => Allocation of "Query.payment",
        DeductionId => Deduction of "Query.deduction",
        DisputeId => Dispute of "Query.dispute",
        DunningActionId => DunningAction of "Query.dunningActions",
        DunningRunId => DunningRun of "Query.dunningRun",
        PromiseId => Promise of "Query.promises",
        PlanId => PaymentPlan of "Query.paymentPlans",
        MailId => OutboxMail of "Query.outbox",
        TaskId => Task of "Query.tasks",
        ApprovalId => ApprovalRequest of "Query.approvals",
    );
    Ok(None)
}

/// Records by id.
#[derive(Default)]
pub struct NodeQuery;

#[Object]
impl NodeQuery {
    /// A record by its id, such as the `subjectId` of a change; null when it is unknown, another company's, malformed, or not
    /// for this caller.
    #[graphql(guard = "Permitted(\"Query.node\")")]
    async fn node(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Node>> {
        node(ctx, &id).await
    }

    /// Records by their ids, in the same order; at most 100.
    #[graphql(guard = "Permitted(\"Query.nodes\")")]
    async fn nodes(&self, ctx: &Context<'_>, ids: Vec<ID>) -> Result<Vec<Option<Node>>> {
        if ids.len() > 100 {
            return Err(Error::BadInput {
                field: "ids",
                message: "at most 100 ids".into(),
            });
        }
        futures_util::future::try_join_all(ids.iter().map(|id| node(ctx, id))).await
    }
}
