//! The company, its members, code tables and legal values; and who is asking.

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};

use super::access::Invitation;
use super::client::code_enum;
use super::dispute::DisputeKind;
use super::error::UserError;
use super::mutation::{How, mutate};
use super::scalars::{Date, Decimal, JsonObject, rate, read, show};
use super::{Permitted, session};
use crate::domain::access;
use crate::domain::ids::UserId;
use crate::domain::refusal::Refusal;
use crate::error::{Error, Result};
use crate::service::{self, books};
use crate::store::{self};

/// What a person is in a company (section 12).
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(remote = "access::Role")]
pub enum Role {
    /// Everything, set-up included.
    Admin,
    /// Dirigeant: reads everything, approves.
    Director,
    /// Credit manager: limits, terms, policies.
    CreditManager,
    /// Comptable clients: documents, receipts, matching.
    ArAccountant,
    /// Commercial: the clients of the own portfolio, their disputes.
    Sales,
    /// Expert-comptable or auditor: reads everything, changes nothing.
    Auditor,
    /// BI tool: documents and aggregates without personal data.
    BiReader,
}

code_enum! {
    /// Which legal value.
    LegalRateKind {
        /// ECB main refinancing rate on 1 January or 1 July, percent.
        EcbRefinancing = "ECB_REFINANCING",
        /// Legal interest rate, professionals' column, percent (taux d'intérêt légal).
        LegalInterestProfessional = "LEGAL_INTEREST_PROFESSIONAL",
        /// Points added to the ECB rate for the default penalty rate.
        DefaultPenaltyMargin = "DEFAULT_PENALTY_MARGIN",
        /// A contractual penalty rate is at least this many times the legal rate.
        ContractFloorMultiple = "CONTRACT_FLOOR_MULTIPLE",
        /// Flat indemnity per late invoice, euros (indemnité forfaitaire).
        RecoveryIndemnity = "RECOVERY_INDEMNITY",
        /// Points added to the ECB rate for public buyers (commande publique).
        PublicPenaltyMargin = "PUBLIC_PENALTY_MARGIN",
        /// Longest payment terms after the invoice's date, days.
        TermsNetMax = "TERMS_NET_MAX",
        /// Longest payment terms with an end-of-month clause (fin de mois), days.
        TermsEndOfMonthMax = "TERMS_END_OF_MONTH_MAX",
        /// Longest payment terms of a periodic invoice (facture récapitulative), days.
        TermsPeriodicMax = "TERMS_PERIODIC_MAX",
        /// Payment terms when nothing was agreed (délai supplétif), days after reception.
        TermsDefault = "TERMS_DEFAULT",
        /// Longest terms after the end of the ten-day period of delivery (décade), days.
        TermsDecadeMax = "TERMS_DECADE_MAX",
        /// Longest payment terms of public buyers (commande publique), days.
        TermsPublicMax = "TERMS_PUBLIC_MAX",
    }
}

/// A person, as others of the company see them.
#[derive(SimpleObject, Clone)]
pub struct User {
    /// The opaque id.
    id: ID,
    /// The person's name.
    name: String,
}

impl User {
    /// Of a record.
    pub fn of(id: UserId, name: String) -> User {
        User { id: show(id), name }
    }
}

/// A person of the company and the role there.
#[derive(SimpleObject)]
struct Member {
    /// The person's opaque id; the invitation's for who was only invited.
    id: ID,
    /// The person's name; empty for who was only invited.
    name: String,
    /// E-mail address, which logs in.
    email: String,
    /// The role in this company.
    role: Role,
    /// The invitation that the person did not accept yet; null for members.
    invitation: Option<Invitation>,
}

/// Somebody who was invited, shown among the members.
fn invited(row: store::account::Invitation) -> Result<Member> {
    let role = access::Role::read(&row.role)
        .ok_or_else(|| Error::Internal(format!("stored role {}", row.role)))?;
    Ok(Member {
        id: show(row.id),
        name: String::new(),
        email: row.email.clone(),
        role: role.into(),
        invitation: Some(Invitation::of(row)?),
    })
}

fn member(record: store::member::Member) -> Result<Member> {
    let role = access::Role::read(&record.role)
        .ok_or_else(|| Error::Internal(format!("stored role {}", record.role)))?;
    Ok(Member {
        id: show(record.user_id),
        name: record.name,
        email: record.email,
        role: role.into(),
        invitation: None,
    })
}

/// A reason for disputes and deductions (code de blocage). A company may add its own.
#[derive(SimpleObject, Clone)]
pub struct DisputeReason {
    /// The code, such as BLIV.
    code: String,
    /// What it means, in French.
    label: String,
    /// What it means, in English.
    label_en: String,
    /// What kind of dispute it makes.
    kind: DisputeKind,
    /// Whether reminders leave the disputed part out.
    blocks_dunning: bool,
    /// The department that answers; empty when none is set.
    department: String,
    /// Whether new disputes may have it.
    active: bool,
}

impl DisputeReason {
    /// Of a record.
    pub fn of(record: store::company::Reason) -> Result<DisputeReason> {
        Ok(DisputeReason {
            kind: DisputeKind::of(&record.kind)?,
            code: record.code,
            label: record.label,
            label_en: record.label_en,
            blocks_dunning: record.blocks_dunning,
            department: record.department,
            active: record.active,
        })
    }
}

/// A legal value in force over a period, with its source (R0.5). Days that no row covers have no value.
#[derive(SimpleObject)]
struct LegalRate {
    /// Which value.
    kind: LegalRateKind,
    /// First day.
    valid_from: Date,
    /// Last day; null while in force.
    valid_to: Option<Date>,
    /// The value.
    value: Decimal,
    /// PERCENT, POINTS, TIMES or EUR.
    unit: String,
    /// Where it is from.
    source: String,
}

/// The company whose books these are. A token sees one company.
#[derive(Clone)]
pub struct Company(store::company::Company, Option<Date>);

/// The company.
#[Object]
impl Company {
    /// The opaque id.
    async fn id(&self) -> ID {
        show(self.0.company_id)
    }
    /// Name (raison sociale).
    async fn name(&self) -> &str {
        &self.0.name
    }
    /// SIREN, nine digits; null when not set.
    async fn siren(&self) -> Option<&str> {
        self.0.siren.as_deref()
    }
    /// VAT number; null when not set.
    async fn vat_number(&self) -> Option<&str> {
        self.0.vat_number.as_deref()
    }
    /// Postal address; null when not set.
    async fn address(&self) -> Option<&str> {
        self.0.address.as_deref()
    }
    /// The currency of the books (ISO 4217).
    async fn currency(&self) -> &str {
        &self.0.currency
    }
    /// The month that financial years begin in, 1 to 12.
    async fn fiscal_year_start_month(&self) -> i32 {
        i32::from(self.0.fiscal_year_start_month)
    }
    /// Segregation of duties: who decides a dispute does not also credit it (R8.2).
    async fn segregation_of_duties(&self) -> bool {
        self.0.segregation
    }
    /// The last closed day: nothing is posted on or before it; null when nothing is closed.
    async fn closed_through(&self) -> Option<Date> {
        self.1
    }
    /// House rules: tolerance in minor units, mandatory mentions, account map, series.
    async fn settings(&self) -> Result<JsonObject> {
        let settings: crate::domain::company::Settings =
            serde_json::from_value(self.0.settings.clone())
                .map_err(|error| Error::Internal(format!("stored settings: {error}")))?;
        serde_json::to_value(settings)
            .map(JsonObject)
            .map_err(|error| Error::Internal(error.to_string()))
    }
}

/// Who is asking, and what they may do: a front-end shows what stands here.
struct Viewer;

/// Who is asking.
#[Object]
impl Viewer {
    /// The person's name, or that of the script.
    async fn name(&self, ctx: &Context<'_>) -> Result<String> {
        let caller = session(ctx)?.caller();
        match caller.user {
            Some(id) => Ok(super::document::maybe(ctx, id).await?.map_or_else(
                || caller.author.clone(),
                |user: store::member::User| user.name,
            )),
            None => Ok(caller.author.clone()),
        }
    }
    /// The person, whose id filters such as `salesOwner` take; null for a script's token.
    async fn user(&self, ctx: &Context<'_>) -> Result<Option<User>> {
        let Some(id) = session(ctx)?.caller().user else {
            return Ok(None);
        };
        let user: Option<store::member::User> = super::document::maybe(ctx, id).await?;
        Ok(user.map(|user| User::of(user.id, user.name)))
    }
    /// The role of the token; null for a service account, which has scopes: see `permissions`.
    async fn role(&self, ctx: &Context<'_>) -> Result<Option<Role>> {
        let caller = session(ctx)?.caller();
        Ok((!caller.is_service()).then(|| caller.role.into()))
    }
    /// What the role or the scopes allow, as stable codes.
    async fn permissions(&self, ctx: &Context<'_>) -> Result<Vec<String>> {
        Ok(session(ctx)?
            .caller()
            .permissions()
            .into_iter()
            .map(|action| action.code().to_owned())
            .collect())
    }
    /// The company of the token.
    async fn company(&self, ctx: &Context<'_>) -> Result<Company> {
        company(ctx).await
    }
    /// The companies that the person belongs to, by name, for `POST /auth/switch`; a script's only one.
    async fn companies(&self, ctx: &Context<'_>) -> Result<Vec<super::access::ViewerCompany>> {
        super::access::viewer_companies(ctx).await
    }
    /// Today in the company's time zone (R0.4).
    async fn today(&self, ctx: &Context<'_>) -> Result<Date> {
        Ok(session(ctx)?.caller().today.into())
    }
}

async fn company(ctx: &Context<'_>) -> Result<Company> {
    session(ctx)?
        .read(|conn, caller| {
            let books = books::open(conn, caller)?;
            let closed = books.closed_through();
            Ok(Company(books.company, closed.map(Into::into)))
        })
        .await
}

/// The company and its tables.
#[derive(Default)]
pub struct CompanyQuery;

#[Object]
impl CompanyQuery {
    /// Who is asking, and what they may do.
    #[graphql(guard = "Permitted(\"Query.viewer\")")]
    async fn viewer(&self) -> Viewer {
        Viewer
    }

    /// The company of the token.
    #[graphql(guard = "Permitted(\"Query.company\")")]
    async fn company(&self, ctx: &Context<'_>) -> Result<Company> {
        company(ctx).await
    }

    /// The people of the company, by name; with those who were invited and did not accept yet behind them, when
    /// asked for.
    #[graphql(guard = "Permitted(\"Query.members\")")]
    async fn members(
        &self,
        ctx: &Context<'_>,
        #[graphql(default)] with_invitations: bool,
    ) -> Result<Vec<Member>> {
        let (rows, pending) = session(ctx)?
            .read(move |conn, caller| {
                let pending = match with_invitations {
                    true => store::account::pending(conn, caller.company)?,
                    false => Vec::new(),
                };
                Ok((store::member::members(conn, caller.company)?, pending))
            })
            .await?;
        let members = rows.into_iter().map(member);
        members.chain(pending.into_iter().map(invited)).collect()
    }

    /// The reasons that disputes and deductions may have, by code.
    #[graphql(guard = "Permitted(\"Query.disputeReasons\")")]
    async fn dispute_reasons(&self, ctx: &Context<'_>) -> Result<Vec<DisputeReason>> {
        let rows = session(ctx)?
            .read(|conn, caller| Ok(store::company::reasons(conn, caller.company)?))
            .await?;
        rows.into_iter().map(DisputeReason::of).collect()
    }

    /// Legal values with their periods and sources: all, or those in force on a day.
    #[graphql(guard = "Permitted(\"Query.legalRates\")")]
    async fn legal_rates(&self, ctx: &Context<'_>, on: Option<Date>) -> Result<Vec<LegalRate>> {
        let rows = session(ctx)?
            .read(move |conn, _| Ok(store::member::legal_rates(conn, super::scalars::on(on))?))
            .await?;
        rows.into_iter()
            .map(|row| {
                Ok(LegalRate {
                    kind: LegalRateKind::of(&row.kind)?,
                    valid_from: row.valid_from.into(),
                    valid_to: row.valid_to.map(Into::into),
                    value: rate(row.value),
                    unit: row.unit,
                    source: row.source,
                })
            })
            .collect()
    }
}

/// What to change of the company; what is absent stays.
#[derive(InputObject, Clone, Debug)]
struct UpdateCompanyInput {
    /// Name.
    name: Option<String>,
    /// SIREN, nine digits with a valid key.
    siren: Option<String>,
    /// VAT number with a valid key.
    vat_number: Option<String>,
    /// Postal address.
    address: Option<String>,
    /// Segregation of duties.
    segregation_of_duties: Option<bool>,
    /// House rules to change, such as `{"penalty_mention": "…"}`; see `Company.settings`.
    settings: Option<JsonObject>,
}

/// What happened to the company.
#[derive(SimpleObject)]
struct CompanyPayload {
    /// The company as it is now; null when refused.
    company: Option<Company>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// A person to add, or a role to change.
#[derive(InputObject, Clone, Debug)]
struct SaveMemberInput {
    /// E-mail address, which logs in.
    email: String,
    /// The person's name.
    name: String,
    /// The role in this company.
    role: Role,
    /// First password of a new person: 12 to 200 characters, not the e-mail address, not a common one. A known person
    /// keeps the own one. `inviteMember` lets the person choose it.
    password: Option<String>,
}

/// What happened to a member.
#[derive(SimpleObject)]
struct MemberPayload {
    /// The member; null when refused or removed.
    member: Option<Member>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// A reason to add or to change.
#[derive(InputObject, Clone, Debug)]
struct SaveDisputeReasonInput {
    /// The code: 2 to 12 capital letters, digits or underscores.
    code: String,
    /// What it means, in French.
    label: String,
    /// What it means, in English; the French label when absent.
    label_en: Option<String>,
    /// What kind of dispute it makes.
    kind: DisputeKind,
    /// Whether reminders leave the disputed part out.
    #[graphql(default = true)]
    blocks_dunning: bool,
    /// The department that answers.
    #[graphql(default)]
    department: String,
    /// Whether new disputes may have it.
    #[graphql(default = true)]
    active: bool,
}

/// What happened to a reason.
#[derive(SimpleObject)]
struct DisputeReasonPayload {
    /// The reason; null when refused.
    reason: Option<DisputeReason>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

async fn company_payload(
    ctx: &Context<'_>,
    done: super::mutation::Done<()>,
) -> Result<CompanyPayload> {
    let company = match done.made {
        Some(()) => Some(company(ctx).await?),
        None => None,
    };
    Ok(CompanyPayload {
        company,
        user_errors: done.user_errors,
    })
}

/// The company and its tables.
#[derive(Default)]
pub struct CompanyMutation;

#[Object]
impl CompanyMutation {
    /// Changes the company's identity and house rules.
    #[graphql(guard = "Permitted(\"Mutation.updateCompany\")")]
    async fn update_company(
        &self,
        ctx: &Context<'_>,
        input: UpdateCompanyInput,
    ) -> Result<CompanyPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            let input = input.clone();
            service::company::update(
                conn,
                caller,
                service::company::Change {
                    name: input.name,
                    siren: input.siren,
                    vat_number: input.vat_number,
                    address: input.address,
                    segregation: input.segregation_of_duties,
                    settings: input.settings.map(|settings| settings.0),
                },
            )
        })
        .await?;
        company_payload(ctx, done).await
    }

    /// Closes the books through a day: nothing is posted on or before it any more (R2.2).
    #[graphql(guard = "Permitted(\"Mutation.closePeriod\")")]
    async fn close_period(&self, ctx: &Context<'_>, through: Date) -> Result<CompanyPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            service::company::close_period(conn, caller, through.0)
        })
        .await?;
        company_payload(ctx, done).await
    }

    /// Reopens the books after a day; null reopens everything. The reason is kept.
    #[graphql(guard = "Permitted(\"Mutation.reopenPeriod\")")]
    async fn reopen_period(
        &self,
        ctx: &Context<'_>,
        through: Option<Date>,
        reason: String,
    ) -> Result<CompanyPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            service::company::reopen_period(conn, caller, super::scalars::on(through), &reason)
        })
        .await?;
        company_payload(ctx, done).await
    }

    /// Adds a dispute reason or changes one.
    #[graphql(guard = "Permitted(\"Mutation.saveDisputeReason\")")]
    async fn save_dispute_reason(
        &self,
        ctx: &Context<'_>,
        input: SaveDisputeReasonInput,
    ) -> Result<DisputeReasonPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            let code = books::text("code", &input.code, 12)?;
            if code.len() < 2
                || !code
                    .bytes()
                    .all(|sign| sign.is_ascii_uppercase() || sign.is_ascii_digit() || sign == b'_')
            {
                return Err(Refusal::invalid(
                    "code",
                    "2 to 12 capital letters, digits or underscores are needed",
                )
                .into());
            }
            let label = books::text("label", &input.label, 100)?;
            let reason = store::company::Reason {
                company_id: caller.company,
                code: code.clone(),
                label_en: books::optional_text("labelEn", input.label_en.as_deref(), 100)?
                    .unwrap_or_else(|| label.clone()),
                label,
                kind: input.kind.code().to_owned(),
                blocks_dunning: input.blocks_dunning,
                department: books::optional_text("department", Some(&input.department), 60)?
                    .unwrap_or_default(),
                active: input.active,
            };
            store::company::save_reasons(conn, std::slice::from_ref(&reason))?;
            Ok(code)
        })
        .await?;
        let reason = match done.made {
            Some(code) => session(ctx)?
                .read(move |conn, caller| Ok(store::company::reason(conn, caller.company, &code)?))
                .await?
                .map(DisputeReason::of)
                .transpose()?,
            None => None,
        };
        Ok(DisputeReasonPayload {
            reason,
            user_errors: done.user_errors,
        })
    }

    /// Adds a person to the company, or changes the role of one. Whose account another company made, with a password, is invited
    /// instead (`inviteMember`), unless the ADMIN is in a company with them. Pending invitations of the address end.
    #[graphql(guard = "Permitted(\"Mutation.saveMember\")")]
    async fn save_member(
        &self,
        ctx: &Context<'_>,
        input: SaveMemberInput,
    ) -> Result<MemberPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            if let Some(password) = &input.password {
                crate::domain::password::check(password, &input.email)
                    .map_err(|why| Refusal::invalid("password", why))?;
            }
            let hash = input
                .password
                .as_deref()
                .map(service::member::hash_password)
                .transpose()?;
            service::member::save(
                conn,
                caller,
                &input.email,
                &input.name,
                input.role.into(),
                hash.as_deref(),
            )
        })
        .await?;
        let saved = match done.made {
            Some(id) => {
                session(ctx)?.learn_revocations().await?;
                let rows = session(ctx)?
                    .read(|conn, caller| Ok(store::member::members(conn, caller.company)?))
                    .await?;
                rows.into_iter()
                    .find(|row| row.user_id == id)
                    .map(member)
                    .transpose()?
            }
            None => None,
        };
        Ok(MemberPayload {
            member: saved,
            user_errors: done.user_errors,
        })
    }

    /// Takes a person out of the company; what they recorded stays.
    #[graphql(guard = "Permitted(\"Mutation.removeMember\")")]
    async fn remove_member(&self, ctx: &Context<'_>, member: ID) -> Result<MemberPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            service::member::remove(conn, caller, read("member", "member", &member)?)
        })
        .await?;
        session(ctx)?.learn_revocations().await?;
        Ok(MemberPayload {
            member: None,
            user_errors: done.user_errors,
        })
    }
}
