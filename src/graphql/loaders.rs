//! One statement per level: records and lists asked for by many parents are loaded together.
//! Loaders live one request and read its snapshot.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use async_graphql::async_trait::async_trait;
use async_graphql::dataloader::Loader;
use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

use crate::domain::ids::{
    AllocationId, ApprovalId, BankAccountId, BankLineId, BankStatementId, ClientId, CompanyId,
    DeductionId, DisputeId, DocumentId, DoubtfulFileId, DunningActionId, DunningRunId, EntryId,
    ItemId, MailId, MatchingId, OperationId, PaymentId, PlanId, PromiseId, ProvisionRunId,
    RemittanceId, TaskId, UserId,
};
use crate::domain::money::Currency;
use crate::error::Error;
use crate::service::books;
use crate::store::aging::{ClientBalance, Population};
use crate::store::{self, Session};

/// All loaders of a request.
pub struct Loads(pub Session);

type Loaded<K, V> = Result<HashMap<K, V>, Arc<Error>>;

/// A record by its id.
macro_rules! by_id {
    ($($key:ty => $record:ty, $load:path);+ $(;)?) => {$(
        #[async_trait]
        impl Loader<$key> for Loads {
            type Value = $record;
            type Error = Arc<Error>;

            async fn load(&self, keys: &[$key]) -> Loaded<$key, $record> {
                let ids = keys.to_vec();
                let rows = self.0.read(move |conn, caller| Ok($load(conn, caller.company, &ids)?)).await?;
                Ok(rows.into_iter().map(|row| (row.id, row)).collect())
            }
        }
    )+};
}

by_id! {
    ClientId => store::client::Client, store::client::by_ids;
    DocumentId => store::document::Document, store::document::by_ids;
    PaymentId => store::payment::Payment, store::payment::by_ids;
    ItemId => store::item::Item, store::item::by_ids;
    AllocationId => store::matching::Allocation, store::matching::by_ids;
    MatchingId => store::matching::Matching, store::matching::groups;
    DisputeId => store::dispute::Dispute, store::dispute::by_ids;
    DeductionId => store::dispute::Deduction, store::dispute::deductions_by_ids;
    EntryId => store::journal::Entry, store::journal::by_ids;
    OperationId => store::operation::Operation, store::operation::by_ids;
    RemittanceId => store::remittance::Remittance, store::remittance::by_ids;
    DoubtfulFileId => store::doubtful::File, store::doubtful::by_ids;
    ProvisionRunId => store::provision_run::Run, store::provision_run::by_ids;
    BankAccountId => store::bank::Account, store::bank::accounts_by_ids;
    BankStatementId => store::bank::Statement, store::bank::statements_by_ids;
    BankLineId => store::bank::Line, store::bank::lines_by_ids;
    TaskId => store::task::Task, store::task::by_ids;
    ApprovalId => store::approval::Request, store::approval::by_ids;
    DunningActionId => store::dunning::Action, store::dunning::actions_by_ids;
    DunningRunId => store::dunning_run::Run, store::dunning_run::by_ids;
    PromiseId => store::dunning::Promise, store::dunning::promises_by_ids;
    PlanId => store::collection::Plan, store::collection::plans_by_ids;
    MailId => store::mail::Mail, store::mail::by_ids;
}

/// Rows that hang below a key, in order; a key without rows has an empty list.
macro_rules! below {
    ($($(#[$doc:meta])* $key:ident($id:ty) => $record:ty, $load:path, |$row:ident| $of:expr);+ $(;)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $key(pub $id);

        #[async_trait]
        impl Loader<$key> for Loads {
            type Value = Vec<$record>;
            type Error = Arc<Error>;

            async fn load(&self, keys: &[$key]) -> Loaded<$key, Vec<$record>> {
                let ids: Vec<$id> = keys.iter().map(|key| key.0).collect();
                let rows = self.0.read(move |conn, caller| Ok($load(conn, caller.company, &ids)?)).await?;
                Ok(grouped(keys, rows, |$row: &$record| $key($of)))
            }
        }
    )+};
}

fn grouped<K: Copy + Eq + Hash, V>(
    keys: &[K],
    rows: Vec<V>,
    key_of: impl Fn(&V) -> K,
) -> HashMap<K, Vec<V>> {
    let mut groups: HashMap<K, Vec<V>> = keys.iter().map(|key| (*key, Vec::new())).collect();
    for row in rows {
        groups.entry(key_of(&row)).or_default().push(row);
    }
    groups
}

below! {
    /// The items that a document, receipt or deduction made.
    ItemsOf(Uuid) => store::item::Item, store::item::by_sources, |row| row.source_id;
    /// The lines of a document.
    LinesOf(DocumentId) => store::document::Line, store::document::lines, |row| row.document_id;
    /// The VAT of a document per rate.
    TaxesOf(DocumentId) => store::document::Tax, store::document::taxes, |row| row.document_id;
    /// What became known of a receipt.
    EventsOfPayment(PaymentId) => store::payment::Event, store::payment::events, |row| row.payment_id;
    /// The history of a dispute.
    EventsOfDispute(DisputeId) => store::dispute::Event, store::dispute::events, |row| row.dispute_id;
    /// The contacts of a client.
    ContactsOf(ClientId) => store::client::Contact, store::client::contacts, |row| row.client_id;
    /// The journal entries of a document, receipt or deduction.
    EntriesOf(Uuid) => store::journal::Entry, store::journal::by_sources, |row| row.source_id;
    /// The lines of a journal entry.
    LinesOfEntry(EntryId) => store::journal::Line, store::journal::lines, |row| row.entry_id;
    /// The decisions about a movement on a bank account.
    MatchesOf(BankLineId) => store::bank::Match, store::bank::matches_of, |row| row.line_id;
    /// What happened to a request for approval.
    EventsOfApproval(ApprovalId) => store::approval::Event, store::approval::events_of, |row| row.request_id;
    /// The files of a record.
    FilesOf(Uuid) => store::file::Kept, store::file::of_subjects, |row| row.subject_id;
    /// What became of a registered letter.
    ProofsOf(DunningActionId) => store::dunning_run::Proof, store::dunning_run::proofs, |row| row.action_id;
    /// The instalments of a plan.
    InstalmentsOf(PlanId) => store::collection::Instalment, store::collection::instalments_of, |row| row.plan_id;
    /// The accounts that pay for a client.
    PayerAccountsOf(ClientId) => store::bank::PayerAccount, store::bank::payer_accounts_of, |row| row.client_id;
    /// The disputes that a deduction opened.
    DisputesOfDeduction(DeductionId) => store::dispute::Dispute, store::dispute::of_deductions,
        |row| row.deduction_id.unwrap_or(DeductionId(Uuid::nil()));
}

/// Parties and mentions of a document as issued.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SnapshotOf(pub DocumentId);

#[async_trait]
impl Loader<SnapshotOf> for Loads {
    type Value = serde_json::Value;
    type Error = Arc<Error>;

    async fn load(&self, keys: &[SnapshotOf]) -> Loaded<SnapshotOf, serde_json::Value> {
        let ids: Vec<DocumentId> = keys.iter().map(|key| key.0).collect();
        let rows = self
            .0
            .read(move |conn, caller| Ok(store::document::snapshots(conn, caller.company, &ids)?))
            .await?;
        Ok(rows
            .into_iter()
            .map(|(id, snapshot)| (SnapshotOf(id), snapshot))
            .collect())
    }
}

/// What is in dispute on an item now, not capped by what it has open.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DisputedOn(pub ItemId);

#[async_trait]
impl Loader<DisputedOn> for Loads {
    type Value = i64;
    type Error = Arc<Error>;

    async fn load(&self, keys: &[DisputedOn]) -> Loaded<DisputedOn, i64> {
        let ids: Vec<ItemId> = keys.iter().map(|key| key.0).collect();
        let rows = self
            .0
            .read(move |conn, caller| {
                Ok(store::dispute::open_on_items(conn, caller.company, &ids)?)
            })
            .await?;
        Ok(rows
            .into_iter()
            .map(|(id, amount)| (DisputedOn(id), amount))
            .collect())
    }
}

#[async_trait]
impl Loader<UserId> for Loads {
    type Value = store::member::User;
    type Error = Arc<Error>;

    async fn load(&self, keys: &[UserId]) -> Loaded<UserId, store::member::User> {
        let ids = keys.to_vec();
        let rows = self
            .0
            .read(move |conn, caller| Ok(store::member::known_in(conn, caller.company, &ids)?))
            .await?;
        Ok(rows.into_iter().map(|row| (row.id, row)).collect())
    }
}

/// Whether duties are segregated in a company.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SegregationOf(pub CompanyId);

#[async_trait]
impl Loader<SegregationOf> for Loads {
    type Value = bool;
    type Error = Arc<Error>;

    async fn load(&self, _: &[SegregationOf]) -> Loaded<SegregationOf, bool> {
        let company = self
            .0
            .read(|conn, caller| Ok(store::company::load(conn, caller.company)?))
            .await?;
        Ok(company
            .into_iter()
            .map(|company| (SegregationOf(company.company_id), company.segregation))
            .collect())
    }
}

/// What a reminder claimed, item by item.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DunningItemsOf(pub DunningActionId);

#[async_trait]
impl Loader<DunningItemsOf> for Loads {
    type Value = Vec<store::dunning::ActionItem>;
    type Error = Arc<Error>;

    async fn load(
        &self,
        keys: &[DunningItemsOf],
    ) -> Loaded<DunningItemsOf, Vec<store::dunning::ActionItem>> {
        let ids: Vec<DunningActionId> = keys.iter().map(|key| key.0).collect();
        let rows = self
            .0
            .read(move |conn, caller| {
                Ok(store::dunning::items_of_actions(
                    conn,
                    caller.company,
                    &ids,
                )?)
            })
            .await?;
        let mut found: HashMap<DunningItemsOf, Vec<store::dunning::ActionItem>> = HashMap::new();
        for row in rows {
            found
                .entry(DunningItemsOf(row.action_id))
                .or_default()
                .push(row);
        }
        Ok(found)
    }
}

/// What was paid on a promise by today.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PaidOnPromise(pub PromiseId);

#[async_trait]
impl Loader<PaidOnPromise> for Loads {
    type Value = i64;
    type Error = Arc<Error>;

    async fn load(&self, keys: &[PaidOnPromise]) -> Loaded<PaidOnPromise, i64> {
        let ids: Vec<PromiseId> = keys.iter().map(|key| key.0).collect();
        let rows = self
            .0
            .read(move |conn, caller| {
                Ok(store::dunning::paid(
                    conn,
                    caller.company,
                    &ids,
                    caller.today,
                )?)
            })
            .await?;
        Ok(rows
            .into_iter()
            .map(|row| (PaidOnPromise(row.promise_id), row.paid))
            .collect())
    }
}

/// The currency of the company's books, read once a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BooksCurrency;

#[async_trait]
impl Loader<BooksCurrency> for Loads {
    type Value = Currency;
    type Error = Arc<Error>;

    async fn load(&self, _: &[BooksCurrency]) -> Loaded<BooksCurrency, Currency> {
        let currency = self
            .0
            .read(|conn, caller| {
                let code = store::company::currency(conn, caller.company)?;
                books::currency(&code.ok_or(Error::Unauthenticated)?)
            })
            .await?;
        Ok([(BooksCurrency, currency)].into())
    }
}

/// A dispute reason by its code.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ReasonCode(pub String);

#[async_trait]
impl Loader<ReasonCode> for Loads {
    type Value = store::company::Reason;
    type Error = Arc<Error>;

    async fn load(&self, _: &[ReasonCode]) -> Loaded<ReasonCode, store::company::Reason> {
        // A company has a few dozen reasons: all are read once.
        let rows = self
            .0
            .read(|conn, caller| Ok(store::company::reasons(conn, caller.company)?))
            .await?;
        Ok(rows
            .into_iter()
            .map(|row| (ReasonCode(row.code.clone()), row))
            .collect())
    }
}

/// What a client owes on a day, as known at an instant.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BalanceOf {
    pub client: ClientId,
    pub as_of: NaiveDate,
    pub known_at: Option<DateTime<Utc>>,
}

#[async_trait]
impl Loader<BalanceOf> for Loads {
    type Value = Vec<ClientBalance>;
    type Error = Arc<Error>;

    async fn load(&self, keys: &[BalanceOf]) -> Loaded<BalanceOf, Vec<ClientBalance>> {
        let keys = keys.to_vec();
        let balances = self
            .0
            .read(move |conn, caller| {
                let mut moments: HashMap<(NaiveDate, Option<DateTime<Utc>>), Vec<ClientId>> =
                    HashMap::new();
                for key in &keys {
                    moments
                        .entry((key.as_of, key.known_at))
                        .or_default()
                        .push(key.client);
                }
                let mut balances: HashMap<BalanceOf, Vec<ClientBalance>> =
                    keys.into_iter().map(|key| (key, Vec::new())).collect();
                for ((as_of, known_at), client_ids) in moments {
                    let population = Population {
                        known_at,
                        client_ids,
                        ..Population::of(caller.company, as_of)
                    };
                    for row in store::aging::client_balances(conn, &population)? {
                        let key = BalanceOf {
                            client: ClientId(row.client_id),
                            as_of,
                            known_at,
                        };
                        balances.entry(key).or_default().push(row);
                    }
                }
                Ok(balances)
            })
            .await?;
        Ok(balances)
    }
}

/// Where a payment plan stands today.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StandingOf(pub PlanId);

#[async_trait]
impl Loader<StandingOf> for Loads {
    type Value = store::collection::PlanStanding;
    type Error = Arc<Error>;

    async fn load(
        &self,
        keys: &[StandingOf],
    ) -> Loaded<StandingOf, store::collection::PlanStanding> {
        let ids: Vec<PlanId> = keys.iter().map(|key| key.0).collect();
        let rows = self
            .0
            .read(move |conn, caller| {
                let (company, today) = (caller.company, caller.today);
                Ok(store::collection::plan_standings(
                    conn, company, &ids, today,
                )?)
            })
            .await?;
        Ok(rows
            .into_iter()
            .map(|row| (StandingOf(row.plan_id), row))
            .collect())
    }
}

/// How a client kept its promises.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReliabilityOf(pub ClientId);

#[async_trait]
impl Loader<ReliabilityOf> for Loads {
    type Value = store::collection::Reliability;
    type Error = Arc<Error>;

    async fn load(
        &self,
        keys: &[ReliabilityOf],
    ) -> Loaded<ReliabilityOf, store::collection::Reliability> {
        let ids: Vec<ClientId> = keys.iter().map(|key| key.0).collect();
        let rows = self
            .0
            .read(move |conn, caller| {
                let (company, today) = (caller.company, caller.today);
                Ok(store::collection::reliability(conn, company, &ids, today)?)
            })
            .await?;
        Ok(rows
            .into_iter()
            .map(|row| (ReliabilityOf(row.client_id), row))
            .collect())
    }
}
