//! Doubtful debts, losses and the rectified invoices that recover their VAT (2.10 to 2.12).

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::client::{Client, code_enum};
use super::document::{Invoice, one};
use super::error::UserError;
use super::mutation::{Done, mutate};
use super::operation::{Operation, how};
use super::page::{self, Asked, Connection, Window, listed, single};
use super::scalars::{ClientRef, Date, Decimal, InvoiceRef, JsonObject, money, on, show, two_ways};
use super::text::untold;
use super::{Permitted, session};
use crate::domain::ids::{DoubtfulFileId, RectifiedInvoiceId};
use crate::error::Result;
use crate::service::doubtful::{self, FileInput};
use crate::store::list::{Direction, Sort};
use crate::store::{self};

untold!(RectifiedInvoice, DoubtfulFile);

code_enum! {
    /// What a file proposes.
    DoubtfulFileKind {
        /// The claim becomes doubtful: the whole TTC moves to 416 (R5.12).
        Transfer = "TRANSFER",
        /// The claim is lost: 654.
        WriteOff = "WRITE_OFF",
    }
}

code_enum! {
    /// Where a file stands.
    DoubtfulFileStatus {
        /// Proposed: nothing is posted yet.
        Proposed = "PROPOSED",
        /// Approved and posted.
        Posted = "POSTED",
        /// Rejected, with a reason.
        Rejected = "REJECTED",
    }
}

code_enum! {
    /// On what ground the VAT of a loss is recovered (CGI 272-1, R2.21).
    VatRecovery {
        /// Not recovered: the whole TTC is lost.
        None = "NONE",
        /// The judgment opening liquidation judiciaire.
        LiquidationJudgment = "LIQUIDATION_JUDGMENT",
        /// The claim is proven to be definitively irrecoverable.
        ProvenIrrecoverable = "PROVEN_IRRECOVERABLE",
    }
}

/// The file of a doubtful debt or a loss: proposed by one person, decided by another.
#[derive(Clone)]
pub struct DoubtfulFile(pub store::doubtful::File);

listed!(store::doubtful::File => DoubtfulFile);

/// The file of a doubtful debt or a loss.
#[Object]
impl DoubtfulFile {
    /// The opaque id.
    pub async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// Gapless number of its series.
    async fn number(&self) -> &str {
        &self.0.number
    }
    /// What it proposes.
    async fn kind(&self) -> Result<DoubtfulFileKind> {
        DoubtfulFileKind::of(&self.0.kind)
    }
    /// Where it stands.
    async fn status(&self) -> Result<DoubtfulFileStatus> {
        DoubtfulFileStatus::of(&self.0.status)
    }
    /// Whose claim it is.
    async fn client(&self, ctx: &Context<'_>) -> Result<Client> {
        Ok(Client(one(ctx, self.0.client_id).await?))
    }
    /// The only invoice it is about; null when it is everything the client has open.
    async fn invoice(&self, ctx: &Context<'_>) -> Result<Option<Invoice>> {
        match self.0.invoice_id {
            Some(id) => Ok(Some(Invoice(one(ctx, id).await?))),
            None => Ok(None),
        }
    }
    /// A part of the claim (R2.23); null for all of it.
    async fn amount(&self) -> Option<Decimal> {
        self.0.amount.map(|amount| money(amount, &self.0.currency))
    }
    /// The currency of the claim.
    async fn currency(&self) -> &str {
        &self.0.currency
    }
    /// On what ground VAT is recovered.
    async fn vat_recovery(&self) -> Result<VatRecovery> {
        VatRecovery::of(&self.0.vat_recovery)
    }
    /// Why.
    async fn reason(&self) -> &str {
        &self.0.reason
    }
    /// Documents that prove it.
    async fn evidence(&self) -> Vec<String> {
        texts(&self.0.evidence)
    }
    /// Accounting date.
    async fn happened_on(&self) -> Date {
        self.0.happened_on.into()
    }
    /// Who proposed it.
    async fn proposed_by(&self) -> &str {
        &self.0.recorded_by
    }
    /// Who decided; null until then.
    async fn decided_by(&self) -> Option<&str> {
        self.0.decided_by.as_deref()
    }
    /// Why it was decided so; null when nothing was said.
    async fn decision(&self) -> Option<&str> {
        self.0.decision.as_deref()
    }
    /// What was posted, an operation for each item; empty until then.
    async fn operations(&self, ctx: &Context<'_>) -> Result<Vec<Operation>> {
        let id = self.0.id;
        let rows = session(ctx)?
            .read(move |conn, caller| Ok(store::operation::of_files(conn, caller.company, &[id])?))
            .await?;
        Ok(rows.into_iter().map(Operation).collect())
    }
    /// The rectified invoices that recover VAT; empty when none is recovered.
    async fn rectified_invoices(&self, ctx: &Context<'_>) -> Result<Vec<RectifiedInvoice>> {
        let id = self.0.id;
        let rows = session(ctx)?
            .read(move |conn, caller| {
                let made = store::operation::of_files(conn, caller.company, &[id])?;
                let ids: Vec<_> = made.iter().map(|operation| operation.id).collect();
                Ok(store::doubtful::rectified_of(conn, caller.company, &ids)?)
            })
            .await?;
        Ok(rows.into_iter().map(RectifiedInvoice).collect())
    }
}

/// Texts of a stored list.
pub fn texts(list: &serde_json::Value) -> Vec<String> {
    list.as_array()
        .map(|texts| {
            texts
                .iter()
                .filter_map(|text| text.as_str().map(str::to_owned))
                .collect()
        })
        .unwrap_or_default()
}

/// A rectified invoice (duplicata): the document that recovers the VAT of a loss (R2.21).
#[derive(Clone)]
pub struct RectifiedInvoice(pub store::doubtful::Rectified);

listed!(store::doubtful::Rectified => RectifiedInvoice);

/// A rectified invoice (duplicata). `GET /letters/RECTIFIED_INVOICE/{id}` gives it as PDF.
#[Object]
impl RectifiedInvoice {
    /// The opaque id.
    async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// Gapless number of its series.
    async fn number(&self) -> &str {
        &self.0.number
    }
    /// Date of issue.
    async fn issued_on(&self) -> Date {
        self.0.issued_on.into()
    }
    /// Whom it goes to.
    async fn client(&self, ctx: &Context<'_>) -> Result<Client> {
        Ok(Client(one(ctx, self.0.client_id).await?))
    }
    /// The loss behind it.
    async fn write_off(&self, ctx: &Context<'_>) -> Result<Operation> {
        Ok(Operation(one(ctx, self.0.operation_id).await?))
    }
    /// The mandatory wording with both amounts, in French (CGI 272).
    async fn wording(&self) -> Option<&str> {
        self.0.content["wording"].as_str()
    }
    /// Invoice, unpaid amounts and parties as issued.
    async fn content(&self) -> JsonObject {
        JsonObject(self.0.content.clone())
    }
}

/// VAT recovered on losses, and due again on recoveries, in one currency.
#[derive(SimpleObject)]
struct VatOnBadDebts {
    /// The currency.
    currency: String,
    /// VAT of losses recovered (44571 debited), positive.
    recovered: Decimal,
    /// VAT due again on money received after a loss (44571 credited), positive.
    due_again: Decimal,
    /// Losses before VAT, VAT recovered left out.
    losses: Decimal,
}

/// Names a doubtful file: exactly one of its id or its number.
#[derive(async_graphql::OneofObject, Clone, Debug)]
enum DoubtfulFileRef {
    /// The opaque id.
    Id(ID),
    /// The file's number.
    Number(String),
}
two_ways!(DoubtfulFileRef);

/// Doubtful debts.
#[derive(Default)]
pub struct DoubtfulQuery;

#[Object]
impl DoubtfulQuery {
    /// A file; null when there is none.
    #[graphql(guard = "Permitted(\"Query.doubtfulFile\")")]
    async fn doubtful_file(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "ref")] target: DoubtfulFileRef,
    ) -> Result<Option<DoubtfulFile>> {
        let target = target.into();
        single(ctx, move |conn, caller| {
            doubtful::find(conn, caller, "ref", &target)
        })
        .await
    }

    /// Files of doubtful debts and losses by day, latest first. `statuses: [PROPOSED]` is the queue of what
    /// waits for a decision.
    #[graphql(guard = "Permitted(\"Query.doubtfulFiles\")")]
    async fn doubtful_files(
        &self,
        ctx: &Context<'_>,
        statuses: Option<Vec<DoubtfulFileStatus>>,
        kinds: Option<Vec<DoubtfulFileKind>>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<DoubtfulFile>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("doubtful{statuses:?}{kinds:?}"),
        )?;
        let statuses: Vec<String> = statuses
            .unwrap_or_default()
            .into_iter()
            .map(|status| status.code().to_owned())
            .collect();
        let kinds: Vec<String> = kinds
            .unwrap_or_default()
            .into_iter()
            .map(|kind| kind.code().to_owned())
            .collect();
        let session = session(ctx)?;
        let sort = Sort {
            column: "t.happened_on",
            sql_type: "date",
            direction: Direction::Descending,
        };
        page::list(
            session,
            store::doubtful::from(session.caller().company, &statuses, &kinds),
            sort,
            asked,
            |conn, caller, ids| {
                let ids: Vec<DoubtfulFileId> = ids.iter().copied().map(DoubtfulFileId).collect();
                Ok(store::doubtful::by_ids(conn, caller.company, &ids)?)
            },
        )
        .await
    }

    /// Rectified invoices by day, latest first.
    #[graphql(guard = "Permitted(\"Query.rectifiedInvoices\")")]
    async fn rectified_invoices(
        &self,
        ctx: &Context<'_>,
        from: Option<Date>,
        to: Option<Date>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<RectifiedInvoice>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("rectified{from:?}{to:?}"),
        )?;
        let session = session(ctx)?;
        let sort = Sort {
            column: "t.issued_on",
            sql_type: "date",
            direction: Direction::Descending,
        };
        page::list(
            session,
            store::doubtful::rectified_from(session.caller().company, on(from), on(to)),
            sort,
            asked,
            |conn, caller, ids| {
                let ids: Vec<RectifiedInvoiceId> =
                    ids.iter().copied().map(RectifiedInvoiceId).collect();
                Ok(store::doubtful::rectified_by_ids(
                    conn,
                    caller.company,
                    &ids,
                )?)
            },
        )
        .await
    }

    /// VAT recovered on bad debts in a period, and due again (R2.21, 2.12), per currency.
    #[graphql(guard = "Permitted(\"Query.vatOnBadDebts\")")]
    async fn vat_on_bad_debts(
        &self,
        ctx: &Context<'_>,
        from: Date,
        to: Date,
        #[graphql(desc = "As recorded by this instant; now when absent.")] known_at: Option<
            chrono::DateTime<chrono::Utc>,
        >,
    ) -> Result<Vec<VatOnBadDebts>> {
        let rows = session(ctx)?
            .read(move |conn, caller| {
                Ok(store::operation::vat_on_bad_debts(
                    conn,
                    caller.company,
                    from.0,
                    to.0,
                    known_at,
                )?)
            })
            .await?;
        Ok(rows
            .into_iter()
            .map(|row| VatOnBadDebts {
                recovered: money(row.recovered, &row.currency),
                due_again: money(row.due_again, &row.currency),
                losses: money(row.losses, &row.currency),
                currency: row.currency,
            })
            .collect())
    }
}

/// A claim to transfer to doubtful clients.
#[derive(InputObject, Clone, Debug)]
struct ProposeDoubtfulInput {
    /// Whose claims; everything open on 411 unless an invoice is named.
    client: Option<ClientRef>,
    /// Only this invoice.
    invoice: Option<InvoiceRef>,
    /// Why the claim is doubtful.
    reason: String,
    /// Documents that prove it; at least one (R5.3).
    evidence: Vec<String>,
    /// Accounting date; today when absent.
    on: Option<Date>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// A claim to write off.
#[derive(InputObject, Clone, Debug)]
struct ProposeWriteOffInput {
    /// Whose claims; everything open on 411 and 416 unless an invoice is named.
    client: Option<ClientRef>,
    /// Only this invoice.
    invoice: Option<InvoiceRef>,
    /// A part of that invoice, VAT included (R2.23); all that is open when absent.
    amount: Option<Decimal>,
    /// On what ground VAT is recovered.
    #[graphql(default_with = "VatRecovery::None")]
    vat_recovery: VatRecovery,
    /// Why the claim is lost.
    reason: String,
    /// Documents that prove it; at least one (R5.3).
    evidence: Vec<String>,
    /// Accounting date; today when absent.
    on: Option<Date>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// A decision on a file.
#[derive(InputObject, Clone, Debug)]
struct DecideDoubtfulFileInput {
    /// The file.
    file: DoubtfulFileRef,
    /// Post it, or reject it.
    approve: bool,
    /// Why; needed to reject (R12.6).
    reason: Option<String>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// What happened to a file.
#[derive(SimpleObject)]
struct DoubtfulFilePayload {
    /// The file as it is now; null when refused.
    file: Option<DoubtfulFile>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

async fn payload(ctx: &Context<'_>, done: Done<DoubtfulFileId>) -> Result<DoubtfulFilePayload> {
    let file = match done.made {
        Some(id) => Some(DoubtfulFile(one(ctx, id).await?)),
        None => None,
    };
    Ok(DoubtfulFilePayload {
        file,
        user_errors: done.user_errors,
    })
}

/// Doubtful debts.
#[derive(Default)]
pub struct DoubtfulMutation;

#[Object]
impl DoubtfulMutation {
    /// Proposes to transfer claims to doubtful clients (416), whole and VAT included (R5.12). Nothing is posted
    /// until somebody else approves.
    #[graphql(guard = "Permitted(\"Mutation.proposeDoubtful\")")]
    async fn propose_doubtful(
        &self,
        ctx: &Context<'_>,
        input: ProposeDoubtfulInput,
    ) -> Result<DoubtfulFilePayload> {
        let run = how(&input.idempotency_key, input.validate_only);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            let input = FileInput {
                is_loss: false,
                client: input.client.map(Into::into),
                invoice: input.invoice.map(Into::into),
                amount: None,
                vat_recovery: doubtful::VatRecovery::None,
                reason: input.reason,
                evidence: input.evidence,
                on: on(input.on),
            };
            doubtful::propose(conn, caller, &input)
        })
        .await?;
        payload(ctx, done).await
    }

    /// Proposes to write claims off (perte définitive, 2.11). Nothing is posted until somebody else approves.
    #[graphql(guard = "Permitted(\"Mutation.proposeWriteOff\")")]
    async fn propose_write_off(
        &self,
        ctx: &Context<'_>,
        input: ProposeWriteOffInput,
    ) -> Result<DoubtfulFilePayload> {
        let run = how(&input.idempotency_key, input.validate_only);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            let input = FileInput {
                is_loss: true,
                client: input.client.map(Into::into),
                invoice: input.invoice.map(Into::into),
                amount: input.amount.map(|amount| amount.0),
                vat_recovery: match input.vat_recovery {
                    VatRecovery::None => doubtful::VatRecovery::None,
                    VatRecovery::LiquidationJudgment => doubtful::VatRecovery::LiquidationJudgment,
                    VatRecovery::ProvenIrrecoverable => doubtful::VatRecovery::ProvenIrrecoverable,
                },
                reason: input.reason,
                evidence: input.evidence,
                on: on(input.on),
            };
            doubtful::propose(conn, caller, &input)
        })
        .await?;
        payload(ctx, done).await
    }

    /// Approves and posts a file, or rejects it: never by its author while duties are segregated (R12.1).
    #[graphql(guard = "Permitted(\"Mutation.decideDoubtfulFile\")")]
    async fn decide_doubtful_file(
        &self,
        ctx: &Context<'_>,
        input: DecideDoubtfulFileInput,
    ) -> Result<DoubtfulFilePayload> {
        let run = how(&input.idempotency_key, false);
        let done = mutate(ctx, run, move |conn, caller| {
            let input = input.clone();
            doubtful::decide(
                conn,
                caller,
                &input.file.into(),
                input.approve,
                input.reason.as_deref(),
            )
        })
        .await?;
        payload(ctx, done).await
    }
}
