//! What issues invoices and credit notes, and writes drafts.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::{CreditNote, Invoice, InvoiceDraft, VatDue, one};
use crate::domain::access::Caller;
use crate::domain::ids::{DocumentId, DraftId};
use crate::domain::refusal::Refusal;
use crate::error::Result;
use crate::graphql::error::UserError;
use crate::graphql::mutation::{Ahead, How, Row, in_bulk, mutate, mutate_or_gather};
use crate::graphql::page::Listed;
use crate::graphql::scalars::{ClientRef, Date, Decimal, InvoiceRef, on, read};
use crate::graphql::{Permitted, session};
use crate::service;
use crate::service::credit_note::CreditNoteInput;
use crate::service::invoice::{self, InstallmentInput, InvoiceInput, LineInput};
use crate::store::{Conn, document};

/// A line of an invoice or credit note.
#[derive(InputObject, Clone, Debug)]
struct InvoiceLineInput {
    /// What is sold.
    description: String,
    /// How many; may be negative on a line that takes something back.
    quantity: Decimal,
    /// Net price of one (HT).
    unit_price: Decimal,
    /// VAT rate in percent: "20", "5.5", "0".
    vat_rate: Decimal,
    /// Discount in percent (remise).
    discount_percent: Option<Decimal>,
    /// Account of class 7; the company's setting when absent.
    account: Option<String>,
}

impl From<InvoiceLineInput> for LineInput {
    fn from(input: InvoiceLineInput) -> LineInput {
        LineInput {
            description: input.description,
            quantity: input.quantity.0,
            unit_price: input.unit_price.0,
            discount_percent: input.discount_percent.map(|discount| discount.0),
            vat_rate: input.vat_rate.0,
            account: input.account,
        }
    }
}

/// A part of the total with its own due date.
#[derive(InputObject, Clone, Debug)]
struct InvoiceInstallmentInput {
    /// The due date.
    due_on: Date,
    /// The gross amount; all instalments add up to the invoice's total.
    amount: Decimal,
}

impl From<InvoiceInstallmentInput> for InstallmentInput {
    fn from(input: InvoiceInstallmentInput) -> InstallmentInput {
        InstallmentInput {
            due_on: input.due_on.0,
            amount: input.amount.0,
        }
    }
}

/// A discount for early payment (escompte de règlement).
#[derive(InputObject, Clone, Debug)]
struct EarlyPaymentDiscountInput {
    /// Percent of the total, above 0 and below 100.
    percent: Decimal,
    /// Days from the issue within which the payment must come, 0 to 365.
    days: i32,
}

impl EarlyPaymentDiscountInput {
    fn into_domain(self) -> (rust_decimal::Decimal, u16) {
        (self.percent.0, u16::try_from(self.days).unwrap_or(u16::MAX))
    }
}

/// An invoice to issue, or a draft to issue as it stands.
#[derive(InputObject, Clone, Debug)]
struct IssueInvoiceInput {
    /// Whom it is for; not with `draft`.
    client: Option<ClientRef>,
    /// A draft to issue: then only `issuedOn` and `lateEntry` may be given beside it.
    draft: Option<ID>,
    /// The number when another system numbers; else the next of the company's gapless series.
    number: Option<String>,
    /// Another system's reference, unique.
    external_ref: Option<String>,
    /// Date of issue; today when absent.
    issued_on: Option<Date>,
    /// When goods or service were received: the legal default term counts from it.
    received_on: Option<Date>,
    /// Due date; from the client's payment terms when absent.
    due_on: Option<Date>,
    /// A periodic invoice (facture récapitulative): at most 45 days (R6.2).
    #[graphql(default)]
    periodic: bool,
    /// The client's currency when absent.
    currency: Option<String>,
    /// Company-currency units for one unit of `currency`; needed when they differ.
    exchange_rate: Option<Decimal>,
    /// The client's purchase order.
    purchase_order: Option<String>,
    /// When its VAT falls due; the company's setting `vatDue` when absent (R2.4).
    vat_due: Option<VatDue>,
    /// The discount offered for early payment (escompte, R2.16); none when absent.
    early_payment_discount: Option<EarlyPaymentDiscountInput>,
    /// A discount for early payment taken off at once, in percent: on 665, never netted in revenue (R2.17).
    deducted_discount_percent: Option<Decimal>,
    /// When `issuedOn` lies in a closed period: post on the first open day and keep the real date (R2.2),
    /// instead of refusing with `PERIOD_CLOSED`. Give a `number` too when later days have theirs: the
    /// company's own series keep their days in order (R9.2).
    #[graphql(default)]
    late_entry: bool,
    /// The lines; not with `draft`.
    #[graphql(default)]
    lines: Vec<InvoiceLineInput>,
    /// Instalments instead of one due date.
    #[graphql(default)]
    installments: Vec<InvoiceInstallmentInput>,
    /// Makes the call repeatable: the same key and input give the first answer again.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

impl IssueInvoiceInput {
    /// What is given that a draft has of its own.
    fn beside_a_draft(&self) -> Option<&'static str> {
        let given = [
            ("client", self.client.is_some()),
            ("number", self.number.is_some()),
            ("externalRef", self.external_ref.is_some()),
            ("receivedOn", self.received_on.is_some()),
            ("dueOn", self.due_on.is_some()),
            ("periodic", self.periodic),
            ("currency", self.currency.is_some()),
            ("exchangeRate", self.exchange_rate.is_some()),
            ("purchaseOrder", self.purchase_order.is_some()),
            ("vatDue", self.vat_due.is_some()),
            (
                "earlyPaymentDiscount",
                self.early_payment_discount.is_some(),
            ),
            (
                "deductedDiscountPercent",
                self.deducted_discount_percent.is_some(),
            ),
            ("lines", !self.lines.is_empty()),
            ("installments", !self.installments.is_empty()),
        ];
        given
            .into_iter()
            .find(|(_, is_given)| *is_given)
            .map(|(field, _)| field)
    }

    fn invoice(self) -> InvoiceInput {
        InvoiceInput {
            number: self.number,
            external_ref: self.external_ref,
            issued_on: on(self.issued_on),
            received_on: on(self.received_on),
            due_on: on(self.due_on),
            periodic: self.periodic,
            currency: self.currency,
            exchange_rate: self.exchange_rate.map(|rate| rate.0),
            purchase_order: self.purchase_order,
            lines: self.lines.into_iter().map(LineInput::from).collect(),
            installments: self
                .installments
                .into_iter()
                .map(InstallmentInput::from)
                .collect(),
            vat_due: self.vat_due.map(VatDue::into_domain),
            discount: self
                .early_payment_discount
                .map(EarlyPaymentDiscountInput::into_domain),
            deducted_discount_percent: self.deducted_discount_percent.map(|percent| percent.0),
            late_entry: self.late_entry,
        }
    }
}

/// What `issueInvoice` did.
#[derive(SimpleObject)]
struct IssueInvoicePayload {
    /// The invoice; null when refused.
    invoice: Option<Invoice>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// A draft to write.
#[derive(InputObject, Clone, Debug)]
struct SaveInvoiceDraftInput {
    /// The draft to change; a new one when absent.
    draft: Option<ID>,
    /// Whom it is for.
    client: ClientRef,
    /// Date of issue; the day it is issued when absent.
    issued_on: Option<Date>,
    /// Due date; from the client's payment terms when absent.
    due_on: Option<Date>,
    /// When goods or service were received: the legal default term counts from it.
    received_on: Option<Date>,
    /// A periodic invoice (facture récapitulative): at most 45 days (R6.2).
    #[graphql(default)]
    periodic: bool,
    /// The number when another system numbers; else the next of the series when it is issued.
    number: Option<String>,
    /// Another system's reference, unique.
    external_ref: Option<String>,
    /// When its VAT falls due; the company's setting `vatDue` when absent (R2.4).
    vat_due: Option<VatDue>,
    /// The discount offered for early payment (escompte, R2.16); none when absent.
    early_payment_discount: Option<EarlyPaymentDiscountInput>,
    /// A discount for early payment taken off at once, in percent (R2.17).
    deducted_discount_percent: Option<Decimal>,
    /// The client's currency when absent.
    currency: Option<String>,
    /// Company-currency units for one unit of `currency`.
    exchange_rate: Option<Decimal>,
    /// The client's purchase order.
    purchase_order: Option<String>,
    /// The lines.
    lines: Vec<InvoiceLineInput>,
    /// Instalments instead of one due date.
    #[graphql(default)]
    installments: Vec<InvoiceInstallmentInput>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// What happened to a draft.
#[derive(SimpleObject)]
struct InvoiceDraftPayload {
    /// The draft; null when refused or thrown away.
    draft: Option<InvoiceDraft>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// A credit note to issue.
#[derive(InputObject, Clone, Debug)]
pub struct IssueCreditNoteInput {
    /// Whom it is for; the invoice's client when absent.
    client: Option<ClientRef>,
    /// The invoice it corrects; absent for a free-standing one.
    invoice: Option<InvoiceRef>,
    /// The number when another system numbers; else the next of the company's gapless series.
    number: Option<String>,
    /// Another system's reference, unique.
    external_ref: Option<String>,
    /// Date of issue; today when absent.
    issued_on: Option<Date>,
    /// For a free-standing one: first day of the period it refers to.
    period_from: Option<Date>,
    /// Last day of that period.
    period_to: Option<Date>,
    /// The invoice's or client's currency when absent.
    currency: Option<String>,
    /// Company-currency units for one unit of `currency`; the invoice's when absent.
    exchange_rate: Option<Decimal>,
    /// The lines.
    #[graphql(default)]
    lines: Vec<InvoiceLineInput>,
    /// Instead of lines: a gross amount, split over the invoice's VAT rates.
    amount: Option<Decimal>,
    /// Match it with its invoice at once (R3.9).
    #[graphql(default = true)]
    allocate: bool,
    /// When `issuedOn` lies in a closed period: post on the first open day and keep the real date (R2.2),
    /// instead of refusing with `PERIOD_CLOSED`. Give a `number` too when later days have theirs: the
    /// company's own series keep their days in order (R9.2).
    #[graphql(default)]
    late_entry: bool,
    /// Why it is given (motif), for the record and for whoever approves it when a second person is needed; at most 500
    /// characters.
    reason: Option<String>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// What `issueCreditNote` did.
#[derive(SimpleObject)]
struct IssueCreditNotePayload {
    /// The credit note; null when refused.
    credit_note: Option<CreditNote>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

async fn issue_one_invoice(
    ctx: &Context<'_>,
    input: IssueInvoiceInput,
    row: Option<Row>,
) -> Result<IssueInvoicePayload> {
    let how = How {
        idempotency_key: input.idempotency_key.clone(),
        validate_only: input.validate_only,
        reason: None,
        row,
    };
    // A draft is taken away, too, and a given number is no next one: such an invoice is issued by itself.
    let client = input.client.clone();
    let client = client.filter(|_| input.draft.is_none() && input.number.is_none());
    let ahead = client.map(|client| -> Ahead<_> {
        let same = input.clone();
        Box::new(move |conn, caller| invoice::ready(conn, caller, &client.into(), &same.invoice()))
    });
    let done = mutate_or_gather(ctx, how, ahead, move |conn, caller| {
        let input = input.clone();
        match (&input.draft, input.client.clone()) {
            (Some(draft), _) => {
                let draft: DraftId = read("draft", "draft", draft)?;
                if let Some(field) = input.beside_a_draft() {
                    let message =
                        "a draft is issued as it stands: change it with saveInvoiceDraft first";
                    return Err(Refusal::invalid(field, message).into());
                }
                invoice::issue_draft(conn, caller, draft, on(input.issued_on), input.late_entry)
            }
            (None, Some(client)) => invoice::issue(conn, caller, &client.into(), &input.invoice()),
            (None, None) => {
                Err(Refusal::invalid("client", "give a client and lines, or a draft alone").into())
            }
        }
    })
    .await?;
    let invoice = match done.made {
        Some(id) => Some(Invoice(one(ctx, id).await?)),
        None => None,
    };
    Ok(IssueInvoicePayload {
        invoice,
        user_errors: done.user_errors,
    })
}

/// Issues a credit note as the input says.
pub fn issue_credit_note(
    conn: &mut Conn,
    caller: &Caller,
    input: IssueCreditNoteInput,
) -> Result<DocumentId> {
    let period = match (input.period_from, input.period_to) {
        (Some(from), Some(to)) => Some((from.0, to.0)),
        (None, None) => None,
        _ => {
            return Err(Refusal::invalid("periodTo", "a period has a first and a last day").into());
        }
    };
    service::credit_note::issue(
        conn,
        caller,
        &CreditNoteInput {
            number: input.number,
            external_ref: input.external_ref,
            client: input.client.map(Into::into),
            invoice: input.invoice.map(Into::into),
            issued_on: on(input.issued_on),
            period,
            currency: input.currency,
            exchange_rate: input.exchange_rate.map(|rate| rate.0),
            lines: input.lines.into_iter().map(LineInput::from).collect(),
            amount: input.amount.map(|amount| amount.0),
            allocate: input.allocate,
            late_entry: input.late_entry,
            reason: input.reason,
        },
    )
}

async fn issue_one_credit_note(
    ctx: &Context<'_>,
    input: IssueCreditNoteInput,
    row: Option<Row>,
) -> Result<IssueCreditNotePayload> {
    let how = How {
        idempotency_key: input.idempotency_key.clone(),
        validate_only: input.validate_only,
        reason: input.reason.clone(),
        row,
    };
    let done = mutate(ctx, how, move |conn, caller| {
        issue_credit_note(conn, caller, input.clone())
    })
    .await?;
    let credit_note = match done.made {
        Some(id) => Some(CreditNote(one(ctx, id).await?)),
        None => None,
    };
    Ok(IssueCreditNotePayload {
        credit_note,
        user_errors: done.user_errors,
    })
}

/// Documents.
#[derive(Default)]
pub struct DocumentMutation;

#[Object]
impl DocumentMutation {
    /// Issues an invoice: number, journal entry and open items in one step. It never changes afterwards.
    #[graphql(guard = "Permitted(\"Mutation.issueInvoice\")")]
    async fn issue_invoice(
        &self,
        ctx: &Context<'_>,
        input: IssueInvoiceInput,
    ) -> Result<IssueInvoicePayload> {
        issue_one_invoice(ctx, input, None).await
    }

    /// Issues up to 100 invoices, one result a row in the order given. Each is issued or refused by itself, as `issueInvoice` would; every row needs its `idempotencyKey`.
    #[graphql(guard = "Permitted(\"Mutation.issueInvoices\")")]
    async fn issue_invoices(
        &self,
        ctx: &Context<'_>,
        inputs: Vec<IssueInvoiceInput>,
    ) -> Result<Vec<IssueInvoicePayload>> {
        in_bulk(
            ctx,
            "issueInvoice",
            inputs,
            |input, row| issue_one_invoice(ctx, input, Some(row)),
            |input| input.idempotency_key.as_deref(),
            |user_errors| IssueInvoicePayload {
                invoice: None,
                user_errors,
            },
        )
        .await
    }

    /// Writes a draft of an invoice, new or changed. It has no number and is not in the books.
    #[graphql(guard = "Permitted(\"Mutation.saveInvoiceDraft\")")]
    async fn save_invoice_draft(
        &self,
        ctx: &Context<'_>,
        input: SaveInvoiceDraftInput,
    ) -> Result<InvoiceDraftPayload> {
        let how = How {
            idempotency_key: input.idempotency_key.clone(),
            validate_only: false,
            ..How::default()
        };
        let done = mutate(ctx, how, move |conn, caller| {
            let input = input.clone();
            let draft = input
                .draft
                .as_ref()
                .map(|id| read("draft", "draft", id))
                .transpose()?;
            let content = InvoiceInput {
                issued_on: on(input.issued_on),
                due_on: on(input.due_on),
                received_on: on(input.received_on),
                periodic: input.periodic,
                number: input.number,
                external_ref: input.external_ref,
                vat_due: input.vat_due.map(VatDue::into_domain),
                discount: input
                    .early_payment_discount
                    .map(EarlyPaymentDiscountInput::into_domain),
                deducted_discount_percent: input.deducted_discount_percent.map(|percent| percent.0),
                currency: input.currency,
                exchange_rate: input.exchange_rate.map(|rate| rate.0),
                purchase_order: input.purchase_order,
                lines: input.lines.into_iter().map(LineInput::from).collect(),
                installments: input
                    .installments
                    .into_iter()
                    .map(InstallmentInput::from)
                    .collect(),
                ..InvoiceInput::default()
            };
            invoice::save_draft(conn, caller, draft, &input.client.into(), &content)
        })
        .await?;
        let draft = match done.made {
            Some(id) => {
                session(ctx)?
                    .read(move |conn, caller| Ok(document::draft(conn, caller.company, id)?))
                    .await?
            }
            None => None,
        };
        Ok(InvoiceDraftPayload {
            draft: draft.map(Listed::view),
            user_errors: done.user_errors,
        })
    }

    /// Throws a draft away.
    #[graphql(guard = "Permitted(\"Mutation.deleteInvoiceDraft\")")]
    async fn delete_invoice_draft(
        &self,
        ctx: &Context<'_>,
        draft: ID,
    ) -> Result<InvoiceDraftPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            invoice::delete_draft(conn, caller, read("draft", "draft", &draft)?)
        })
        .await?;
        Ok(InvoiceDraftPayload {
            draft: None,
            user_errors: done.user_errors,
        })
    }

    /// Issues a credit note, against an invoice (never above it, per VAT rate) or free-standing.
    #[graphql(guard = "Permitted(\"Mutation.issueCreditNote\")")]
    async fn issue_credit_note(
        &self,
        ctx: &Context<'_>,
        input: IssueCreditNoteInput,
    ) -> Result<IssueCreditNotePayload> {
        issue_one_credit_note(ctx, input, None).await
    }

    /// Issues up to 100 credit notes, one result a row in the order given. Each is issued or refused by itself, as `issueCreditNote` would; every row needs its `idempotencyKey`.
    #[graphql(guard = "Permitted(\"Mutation.issueCreditNotes\")")]
    async fn issue_credit_notes(
        &self,
        ctx: &Context<'_>,
        inputs: Vec<IssueCreditNoteInput>,
    ) -> Result<Vec<IssueCreditNotePayload>> {
        in_bulk(
            ctx,
            "issueCreditNote",
            inputs,
            |input, row| issue_one_credit_note(ctx, input, Some(row)),
            |input| input.idempotency_key.as_deref(),
            |user_errors| IssueCreditNotePayload {
                credit_note: None,
                user_errors,
            },
        )
        .await
    }
}
