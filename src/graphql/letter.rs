//! Letters: their templates, a preview of any of them, and the outbox of mails.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::client::{Client, LetterLanguage, client_filter_id, code_enum};
use super::document::one;
use super::error::UserError;
use super::file::AttachedFile;
use super::mutation::{Done, How, mutate};
use super::page::{self, Asked, Connection, Window, listed};
use super::scalars::{ClientRef, Instant, show};
use super::text::untold;
use super::{Permitted, objects, session};
use crate::domain::ids::MailId;
use crate::domain::letter::{self as rules, Kind, Language};
use crate::error::{Error, Result};
use crate::service::letter::{self, InForce};
use crate::service::mail;
use crate::store::list::{Direction, Sort};
use crate::store::{self};

untold!(OutboxMail);

code_enum! {
    /// What a letter is.
    LetterKind {
        /// Before the due date (level 0).
        Courtesy = "COURTESY",
        /// The first reminder: an oversight is assumed.
        FirstReminder = "FIRST_REMINDER",
        /// After the call of level 2.
        CallFollowUp = "CALL_FOLLOW_UP",
        /// The firm reminder, with penalties and the 40 €.
        FirmReminder = "FIRM_REMINDER",
        /// The last amicable letter.
        LastReminder = "LAST_REMINDER",
        /// Mise en demeure (7.3).
        FormalNotice = "FORMAL_NOTICE",
        /// Relevé de compte.
        Statement = "STATEMENT",
        /// Avis de litige, to the department that has to answer.
        DisputeNotice = "DISPUTE_NOTICE",
        /// Avis de déduction, to the client who paid less.
        DeductionNotice = "DEDUCTION_NOTICE",
        /// Confirmation of a promise to pay.
        PromiseConfirmation = "PROMISE_CONFIRMATION",
        /// Confirmation of a payment plan.
        PlanConfirmation = "PLAN_CONFIRMATION",
        /// Bordereau de remise, to the bank.
        RemittanceSlip = "REMITTANCE_SLIP",
        /// Duplicate of an unpaid invoice that recovers its VAT (CGI 272).
        RectifiedInvoice = "RECTIFIED_INVOICE",
    }
}

code_enum! {
    /// What became of a mail.
    MailStatus {
        /// Waits for its time, or for the mail server.
        Queued = "QUEUED",
        /// The mail server has taken it.
        Sent = "SENT",
        /// Tried for five days in vain: `retryMail` tries again.
        Dead = "DEAD",
        /// Refused by the server, or came back.
        Bounced = "BOUNCED",
        /// Given up before it left.
        Cancelled = "CANCELLED",
    }
}

/// The wording of a kind of letter in one language.
#[derive(SimpleObject)]
struct LetterTemplate {
    /// The kind.
    kind: LetterKind,
    /// The language.
    language: LetterLanguage,
    /// Counts up with each change; 0 for the one that comes with the product.
    version: i32,
    /// The subject line. `{{name}}` stands for a value.
    subject: String,
    /// The paragraphs, with an empty line between them. `{{name}}` stands for a value, `{{#name}} … {{/name}}` is kept
    /// when the value is not empty, and a paragraph that is the name of a table is that table.
    body: String,
    /// The values that it may name.
    values: Vec<String>,
    /// The tables that it may place.
    tables: Vec<String>,
}

impl LetterTemplate {
    fn of(found: InForce) -> Result<LetterTemplate> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Ok(LetterTemplate {
            kind: LetterKind::of(found.kind.code())?,
            language: LetterLanguage::of(found.language.code())?,
            version: found.version,
            subject: found.template.subject,
            body: found.template.body,
            values: owned(&found.kind.values()),
            tables: owned(found.kind.tables()),
        })
    }
}

/// A letter as it would be sent.
#[derive(SimpleObject)]
struct LetterPreview {
    /// The subject line.
    subject: String,
    /// The text of a mail.
    text: String,
    /// The version of the template; 0 for the product's, and for a draft.
    version: i32,
    /// The sheet as PDF, in base64.
    pdf: String,
}

listed!(store::mail::Mail => OutboxMail);

/// A mail of the outbox.
#[derive(Clone)]
pub struct OutboxMail(pub store::mail::Mail);

/// A mail of the outbox: it leaves at least once, and what does not leave is seen.
#[Object]
impl OutboxMail {
    /// The opaque id, also its message id.
    pub async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// The client that it is about.
    async fn client(&self, ctx: &Context<'_>) -> Result<Client> {
        Ok(Client(one(ctx, self.0.client_id).await?))
    }
    /// The address; null when the role may not read personal data.
    async fn recipient(&self, ctx: &Context<'_>) -> Result<Option<&str>> {
        let may = session(ctx)?
            .caller()
            .may(crate::domain::access::Action::ReadContacts);
        Ok(may.then_some(self.0.recipient.as_str()))
    }
    /// The subject line.
    async fn subject(&self) -> &str {
        &self.0.subject
    }
    /// The text.
    async fn text(&self) -> &str {
        &self.0.body
    }
    /// What became of it.
    async fn status(&self) -> Result<MailStatus> {
        MailStatus::of(&self.0.status)
    }
    /// How often it was tried.
    async fn attempts(&self) -> i32 {
        self.0.attempts
    }
    /// What the mail server said last; null when it said nothing.
    async fn last_error(&self) -> Option<&str> {
        self.0.last_error.as_deref()
    }
    /// When it is tried next, while it is queued.
    async fn next_at(&self) -> Option<Instant> {
        (self.0.status == "QUEUED")
            .then_some(self.0.next_at)
            .map(Into::into)
    }
    /// When the mail server took it; null until then.
    async fn sent_at(&self) -> Option<Instant> {
        self.0.sent_at.map(Into::into)
    }
    /// What is attached.
    async fn files(&self, ctx: &Context<'_>) -> Result<Vec<AttachedFile>> {
        let id = self.0.id;
        let rows = session(ctx)?
            .read(move |conn, caller| {
                let ids = store::mail::files_of(conn, caller.company, id)?;
                Ok(store::file::by_ids(conn, caller.company, &ids)?)
            })
            .await?;
        Ok(rows.into_iter().map(AttachedFile).collect())
    }
    /// When it was queued.
    async fn recorded_at(&self) -> Instant {
        self.0.recorded_at.into()
    }
    /// Who queued it.
    async fn recorded_by(&self) -> &str {
        &self.0.recorded_by
    }
}

/// A wording that is tried before it is saved.
#[derive(InputObject, Clone, Debug)]
struct LetterDraftInput {
    /// The subject line.
    subject: String,
    /// The paragraphs.
    body: String,
}

/// Letters.
#[derive(Default)]
pub struct LetterQuery;

#[Object]
impl LetterQuery {
    /// The wording of every kind of letter in each language: the company's own over the product's.
    #[graphql(guard = "Permitted(\"Query.letterTemplates\")")]
    async fn letter_templates(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only of this kind.")] kind: Option<LetterKind>,
    ) -> Result<Vec<LetterTemplate>> {
        let mut found = session(ctx)?.read(letter::templates).await?;
        if let Some(kind) = kind {
            found.retain(|template| template.kind.code() == kind.code());
        }
        found.into_iter().map(LetterTemplate::of).collect()
    }

    /// Any letter with the figures of today, before it is sent: reminders and statements of a client, notices of a
    /// dispute or deduction, confirmations of a promise or plan, slips, rectified invoices. Nothing is sent or kept.
    #[graphql(guard = "Permitted(\"Query.letterPreview\")")]
    async fn letter_preview(
        &self,
        ctx: &Context<'_>,
        kind: LetterKind,
        #[graphql(
            desc = "The record: a client for reminders and statements, else the dispute, deduction, promise, plan, remittance or rectified invoice."
        )]
        subject: ID,
        #[graphql(desc = "The language; the client's when absent.")] language: Option<
            LetterLanguage,
        >,
        #[graphql(desc = "A wording to try instead of the one in force.")] draft: Option<
            LetterDraftInput,
        >,
    ) -> Result<LetterPreview> {
        let objects = objects(ctx)?.clone();
        let kind = read_kind(kind)?;
        let language = language.and_then(|language| Language::read(language.code()));
        let composed = session(ctx)?
            .read(move |conn, caller| {
                let draft = draft.map(|draft| rules::Template {
                    subject: draft.subject,
                    body: draft.body,
                });
                let found = letter::of_subject(
                    conn,
                    caller,
                    &objects,
                    kind,
                    &subject,
                    language,
                    draft,
                    caller.today,
                )?;
                let pdf = found.pdf()?;
                Ok((found, pdf))
            })
            .await
            .map_err(asked)?;
        let (found, pdf) = composed;
        Ok(LetterPreview {
            subject: found.subject,
            text: found.text,
            version: found.version,
            pdf: BASE64.encode(&pdf),
        })
    }

    /// Mails, latest first.
    #[graphql(guard = "Permitted(\"Query.outbox\")")]
    async fn outbox(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of this client; of all when absent.")] client: Option<ClientRef>,
        #[graphql(desc = "In one of these states; in any when absent.")] statuses: Option<
            Vec<MailStatus>,
        >,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<OutboxMail>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("outbox{client:?}{statuses:?}"),
        )?;
        let client = client_filter_id(ctx, client).await?;
        let statuses: Vec<String> = statuses
            .unwrap_or_default()
            .into_iter()
            .map(|status| status.code().to_owned())
            .collect();
        let session = session(ctx)?;
        let sort = Sort {
            column: "t.recorded_at",
            sql_type: "timestamptz",
            direction: Direction::Descending,
        };
        let from = store::mail::from(session.caller().company, client, &statuses);
        page::list(session, from, sort, asked, |conn, caller, ids| {
            let ids: Vec<MailId> = ids.iter().copied().map(MailId).collect();
            Ok(store::mail::by_ids(conn, caller.company, &ids)?)
        })
        .await
    }
}

/// A refusal of something that was asked, not written: an argument that is not acceptable.
fn asked(error: Error) -> Error {
    let Error::Refused(reasons) = error else {
        return error;
    };
    let Some(reason) = reasons.into_iter().next() else {
        return Error::Internal("refused without a reason".into());
    };
    let field = match reason.field.first().map(String::as_str) {
        Some("body") => "draft.body",
        Some("subject") if reason.message.contains("{{") => "draft.subject",
        _ => "subject",
    };
    Error::BadInput {
        field,
        message: reason.message,
    }
}

fn read_kind(kind: LetterKind) -> Result<Kind> {
    Kind::read(kind.code()).ok_or_else(|| Error::Internal(format!("letter {}", kind.code())))
}

/// A wording to save; it becomes the next version.
#[derive(InputObject, Clone, Debug)]
struct SaveLetterTemplateInput {
    /// The kind of letter.
    kind: LetterKind,
    /// The language.
    language: LetterLanguage,
    /// The subject line.
    subject: String,
    /// The paragraphs, with an empty line between them.
    body: String,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// What `saveLetterTemplate` did.
#[derive(SimpleObject)]
struct LetterTemplatePayload {
    /// The wording in force now; null when refused.
    template: Option<LetterTemplate>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// What happened to a mail.
#[derive(SimpleObject)]
struct MailPayload {
    /// The mail as it is now; null when refused.
    mail: Option<OutboxMail>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

async fn mailed(ctx: &Context<'_>, done: Done<MailId>) -> Result<MailPayload> {
    let mail = match done.made {
        Some(id) => session(ctx)?
            .read(move |conn, caller| Ok(store::mail::by_ids(conn, caller.company, &[id])?.pop()))
            .await?
            .map(OutboxMail),
        None => None,
    };
    Ok(MailPayload {
        mail,
        user_errors: done.user_errors,
    })
}

/// Letters.
#[derive(Default)]
pub struct LetterMutation;

#[Object]
impl LetterMutation {
    /// Saves the company's own wording of a letter as its next version. An unknown `{{name}}` is `INVALID` and tells
    /// the known ones; what a letter has to say and does not is `MENTION_MISSING` (7.3).
    #[graphql(guard = "Permitted(\"Mutation.saveLetterTemplate\")")]
    async fn save_letter_template(
        &self,
        ctx: &Context<'_>,
        input: SaveLetterTemplateInput,
    ) -> Result<LetterTemplatePayload> {
        let kind = read_kind(input.kind)?;
        let language = Language::read(input.language.code())
            .ok_or_else(|| Error::Internal("letter language".into()))?;
        let run = How {
            validate_only: input.validate_only,
            ..How::default()
        };
        let done = mutate(ctx, run, move |conn, caller| {
            let template = rules::Template {
                subject: input.subject.clone(),
                body: input.body.clone(),
            };
            letter::save_template(conn, caller, kind, language, &template)
        })
        .await?;
        let template = match done.made {
            Some(()) => {
                let found = session(ctx)?
                    .read(move |conn, caller| letter::template(conn, caller, kind, language))
                    .await?;
                Some(LetterTemplate::of(found)?)
            }
            None => None,
        };
        Ok(LetterTemplatePayload {
            template,
            user_errors: done.user_errors,
        })
    }

    /// Queues a mail again that is dead or came back; one that waits is tried at once.
    #[graphql(guard = "Permitted(\"Mutation.retryMail\")")]
    async fn retry_mail(&self, ctx: &Context<'_>, mail: ID) -> Result<MailPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            mail::retry(conn, caller, &mail)
        })
        .await?;
        mailed(ctx, done).await
    }

    /// Gives up a mail that has not left.
    #[graphql(guard = "Permitted(\"Mutation.cancelMail\")")]
    async fn cancel_mail(&self, ctx: &Context<'_>, mail: ID) -> Result<MailPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            mail::cancel(conn, caller, &mail)
        })
        .await?;
        mailed(ctx, done).await
    }

    /// Records that a mail came back, with what the server said: the client's address becomes a task.
    #[graphql(guard = "Permitted(\"Mutation.recordBounce\")")]
    async fn record_bounce(
        &self,
        ctx: &Context<'_>,
        mail: ID,
        reason: String,
    ) -> Result<MailPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            mail::bounce(conn, caller, &mail, &reason)
        })
        .await?;
        mailed(ctx, done).await
    }
}
