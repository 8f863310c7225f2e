//! What opens and changes clients, their credit terms and their contacts.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};

use super::{
    Client, ClientKind, ClientSegment, ContactRole, Insolvency, LetterLanguage, PaymentTermsRule,
    code_enum,
};
use crate::domain::access::Caller;
use crate::domain::ids::{ClientId, ContactId, UserId};
use crate::domain::terms::TermsRule;
use crate::error::Result;
use crate::graphql::Permitted;
use crate::graphql::document::one;
use crate::graphql::error::UserError;
use crate::graphql::mutation::{Done, How, Row, in_bulk, mutate};
use crate::graphql::scalars::{ClientRef, Date, Decimal, on, read};
use crate::service::client::{self, CreditTerms, Identity};
use crate::store::Conn;

/// Payment terms as agreed.
#[derive(InputObject, Clone, Debug)]
struct PaymentTermsInput {
    /// How the due date is found.
    rule: PaymentTermsRule,
    /// The days of the rule.
    #[graphql(default)]
    days: i32,
    /// Day of the following month ("le 10").
    then_day: Option<i32>,
}

impl PaymentTermsInput {
    fn read(&self) -> Result<crate::domain::terms::PaymentTerms> {
        let rule: TermsRule = self
            .rule
            .code()
            .parse()
            .map_err(|_| crate::error::Error::Internal("payment terms rule".into()))?;
        client::payment_terms(rule, self.days, self.then_day)
    }
}

/// A client to open.
#[derive(InputObject, Clone, Debug)]
struct CreateClientInput {
    /// The company's own number; the next of its series when absent.
    number: Option<String>,
    /// Another system's reference, unique.
    external_ref: Option<String>,
    /// Name (raison sociale).
    name: String,
    /// CUSTOMER when absent.
    kind: Option<ClientKind>,
    /// SME when absent.
    segment: Option<ClientSegment>,
    /// The language of letters and mails; French when absent.
    language: Option<LetterLanguage>,
    /// SIREN: nine digits with a valid key.
    siren: Option<String>,
    /// SIRET: fourteen digits with a valid key.
    siret: Option<String>,
    /// VAT number with a valid key.
    vat_number: Option<String>,
    /// Postal address.
    address: Option<String>,
    /// The company's currency when absent.
    currency: Option<String>,
    /// 30 days net when absent. Above the legal ceiling: refused (R6.2).
    payment_terms: Option<PaymentTermsInput>,
    /// The sales person's id.
    sales_owner: Option<ID>,
    /// The collector's id.
    collector: Option<ID>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Check everything, write nothing.
    #[graphql(default)]
    validate_only: bool,
}

/// What to change of a client; what is absent stays.
#[derive(InputObject, Clone, Debug)]
struct UpdateClientInput {
    /// The client.
    client: ClientRef,
    /// The version that was read: refused when somebody changed the client since.
    version: Option<i32>,
    /// Another system's reference, unique.
    external_ref: Option<String>,
    /// Name (raison sociale). Issued documents keep the old one.
    name: Option<String>,
    /// What the debtor is.
    kind: Option<ClientKind>,
    /// How the client is treated.
    segment: Option<ClientSegment>,
    /// The language of letters and mails.
    language: Option<LetterLanguage>,
    /// SIREN.
    siren: Option<String>,
    /// SIRET.
    siret: Option<String>,
    /// VAT number.
    vat_number: Option<String>,
    /// Postal address.
    address: Option<String>,
    /// The sales person's id.
    sales_owner: Option<ID>,
    /// The collector's id.
    collector: Option<ID>,
    /// What to take away, such as a SIREN entered by mistake; what is given beside it is set after.
    #[graphql(default)]
    clear: Vec<ClientField>,
}

code_enum! {
    /// Something of a client that may be taken away.
    ClientField {
        /// Another system's reference.
        ExternalRef = "EXTERNAL_REF",
        /// The SIREN, and the SIRET that begins with it.
        Siren = "SIREN",
        /// The SIRET.
        Siret = "SIRET",
        /// The VAT number.
        VatNumber = "VAT_NUMBER",
        /// The postal address.
        Address = "ADDRESS",
        /// The sales owner.
        SalesOwner = "SALES_OWNER",
        /// The collector.
        Collector = "COLLECTOR",
        /// That the account is closed: it is open again.
        ClosedOn = "CLOSED_ON",
    }
}

code_enum! {
    /// Something of a client's credit terms that may be taken away.
    CreditTermsField {
        /// The credit limit.
        CreditLimit = "CREDIT_LIMIT",
        /// The contractual late-payment rate.
        PenaltyRate = "PENALTY_RATE",
    }
}

/// What to change of a client's credit; what is absent stays.
#[derive(InputObject, Clone, Debug)]
pub struct SetCreditTermsInput {
    /// The client.
    client: ClientRef,
    /// The version that was read.
    version: Option<i32>,
    /// Payment terms.
    payment_terms: Option<PaymentTermsInput>,
    /// Credit limit (encours autorisé) in the client's currency.
    credit_limit: Option<Decimal>,
    /// Insured share in percent.
    insured_percent: Option<Decimal>,
    /// Most that the insurer pays, in the client's currency.
    insured_limit: Option<Decimal>,
    /// Insolvency proceedings.
    insolvency: Option<Insolvency>,
    /// Day of the opening judgment; needed with proceedings.
    insolvency_on: Option<Date>,
    /// Day the judgment was published (BODACC): the claim is declared within two months of it (R7.10).
    insolvency_published_on: Option<Date>,
    /// Contractual rate of late-payment interest, percent per year; refused below three times the legal rate (R6.7).
    penalty_rate: Option<Decimal>,
    /// What to take away.
    #[graphql(default)]
    clear: Vec<CreditTermsField>,
    /// Why, for whoever approves it when a second person is needed.
    reason: Option<String>,
}

/// A contact to add.
#[derive(InputObject, Clone, Debug)]
struct AddContactInput {
    /// The client.
    client: ClientRef,
    /// What the contact is asked about.
    role: ContactRole,
    /// Name.
    name: String,
    /// E-mail address.
    email: Option<String>,
    /// Telephone number.
    phone: Option<String>,
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
}

/// What happened to a client.
#[derive(SimpleObject)]
struct ClientPayload {
    /// The client as it is now; null when refused.
    client: Option<Client>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

fn user_id(field: &str, id: Option<&ID>) -> Result<Option<UserId>> {
    id.map(|id| read(field, "member", id)).transpose()
}

async fn payload(ctx: &Context<'_>, done: Done<ClientId>) -> Result<ClientPayload> {
    let client = match done.made {
        Some(id) => Some(Client(one(ctx, id).await?)),
        None => None,
    };
    Ok(ClientPayload {
        client,
        user_errors: done.user_errors,
    })
}

async fn create_one_client(
    ctx: &Context<'_>,
    input: CreateClientInput,
    row: Option<Row>,
) -> Result<ClientPayload> {
    let how = How {
        idempotency_key: input.idempotency_key.clone(),
        validate_only: input.validate_only,
        reason: None,
        row,
    };
    let done = mutate(ctx, how, move |conn, caller| {
        let input = input.clone();
        let identity = Identity {
            number: input.number,
            external_ref: input.external_ref,
            name: Some(input.name),
            kind: input.kind.map(ClientKind::code),
            segment: input.segment.map(ClientSegment::code),
            siren: input.siren,
            siret: input.siret,
            vat_number: input.vat_number,
            address: input.address,
            currency: input.currency,
            language: input.language.map(LetterLanguage::code),
            sales_owner: user_id("salesOwner", input.sales_owner.as_ref())?,
            collector: user_id("collector", input.collector.as_ref())?,
            clear: Vec::new(),
        };
        let terms = input.payment_terms.map(|terms| terms.read()).transpose()?;
        client::create(
            conn,
            caller,
            &identity,
            &CreditTerms {
                terms,
                ..CreditTerms::default()
            },
        )
    })
    .await?;
    payload(ctx, done).await
}

/// Sets credit terms as the input says.
pub fn set_credit_terms(
    conn: &mut Conn,
    caller: &Caller,
    input: SetCreditTermsInput,
) -> Result<ClientId> {
    let credit = CreditTerms {
        terms: input.payment_terms.map(|terms| terms.read()).transpose()?,
        credit_limit: input.credit_limit.map(|limit| limit.0),
        insured_percent: input.insured_percent.map(|percent| percent.0),
        insured_limit: input.insured_limit.map(|limit| limit.0),
        insolvency: input.insolvency.map(|state| state.code()),
        insolvency_on: on(input.insolvency_on),
        insolvency_published_on: on(input.insolvency_published_on),
        penalty_rate: match input.penalty_rate {
            Some(rate) => Some(Some(rate.0)),
            None if input.clear.contains(&CreditTermsField::PenaltyRate) => Some(None),
            None => None,
        },
        no_limit: input.clear.contains(&CreditTermsField::CreditLimit),
    };
    client::set_credit_terms(conn, caller, &input.client.into(), input.version, &credit)
}

/// Clients.
#[derive(Default)]
pub struct ClientMutation;

#[Object]
impl ClientMutation {
    /// Opens a client. Its credit limit, insurance cover and insolvency come with `setCreditTerms`, its people with
    /// `addContact`.
    #[graphql(guard = "Permitted(\"Mutation.createClient\")")]
    async fn create_client(
        &self,
        ctx: &Context<'_>,
        input: CreateClientInput,
    ) -> Result<ClientPayload> {
        create_one_client(ctx, input, None).await
    }

    /// Opens up to 100 clients, one result a row in the order given. Each is opened or refused by itself, as `createClient` would; every row needs its `idempotencyKey`.
    #[graphql(guard = "Permitted(\"Mutation.createClients\")")]
    async fn create_clients(
        &self,
        ctx: &Context<'_>,
        inputs: Vec<CreateClientInput>,
    ) -> Result<Vec<ClientPayload>> {
        in_bulk(
            ctx,
            "createClient",
            inputs,
            |input, row| create_one_client(ctx, input, Some(row)),
            |input| input.idempotency_key.as_deref(),
            |user_errors| ClientPayload {
                client: None,
                user_errors,
            },
        )
        .await
    }

    /// Changes what a client is known by. Issued documents keep what they were issued with (R9.3).
    #[graphql(guard = "Permitted(\"Mutation.updateClient\")")]
    async fn update_client(
        &self,
        ctx: &Context<'_>,
        input: UpdateClientInput,
    ) -> Result<ClientPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            let input = input.clone();
            let identity = Identity {
                number: None,
                external_ref: input.external_ref,
                name: input.name,
                kind: input.kind.map(ClientKind::code),
                segment: input.segment.map(ClientSegment::code),
                siren: input.siren,
                siret: input.siret,
                vat_number: input.vat_number,
                address: input.address,
                currency: None,
                language: input.language.map(LetterLanguage::code),
                sales_owner: user_id("salesOwner", input.sales_owner.as_ref())?,
                collector: user_id("collector", input.collector.as_ref())?,
                clear: input
                    .clear
                    .iter()
                    .filter_map(|field| client::Cleared::read(field.code()))
                    .collect(),
            };
            client::update(conn, caller, &input.client.into(), input.version, &identity)
        })
        .await?;
        payload(ctx, done).await
    }

    /// Sets payment terms, credit limit, insurance cover and insolvency: the credit manager's.
    #[graphql(guard = "Permitted(\"Mutation.setCreditTerms\")")]
    async fn set_credit_terms(
        &self,
        ctx: &Context<'_>,
        input: SetCreditTermsInput,
    ) -> Result<ClientPayload> {
        let how = How {
            reason: input.reason.clone(),
            ..How::default()
        };
        let done = mutate(ctx, how, move |conn, caller| {
            set_credit_terms(conn, caller, input.clone())
        })
        .await?;
        payload(ctx, done).await
    }

    /// Closes a client's account, on a day from its last entry up to today; nothing may be open on it. `updateClient`
    /// with `clear: [CLOSED_ON]` opens it again.
    #[graphql(guard = "Permitted(\"Mutation.closeClient\")")]
    async fn close_client(
        &self,
        ctx: &Context<'_>,
        client: ClientRef,
        closed_on: Option<Date>,
    ) -> Result<ClientPayload> {
        let target = client.into();
        let done = mutate(ctx, How::default(), move |conn, caller| {
            client::close(conn, caller, &target, on(closed_on))
        })
        .await?;
        payload(ctx, done).await
    }

    /// Adds a contact to a client.
    #[graphql(guard = "Permitted(\"Mutation.addContact\")")]
    async fn add_contact(
        &self,
        ctx: &Context<'_>,
        input: AddContactInput,
    ) -> Result<ClientPayload> {
        let how = How {
            idempotency_key: input.idempotency_key.clone(),
            validate_only: false,
            ..How::default()
        };
        let done = mutate(ctx, how, move |conn, caller| {
            let target = input.client.clone().into();
            client::add_contact(
                conn,
                caller,
                &target,
                input.role.code(),
                &input.name,
                input.email.as_deref(),
                input.phone.as_deref(),
            )
        })
        .await?;
        payload(ctx, done).await
    }

    /// Removes a contact and erases its personal data.
    #[graphql(guard = "Permitted(\"Mutation.removeContact\")")]
    async fn remove_contact(&self, ctx: &Context<'_>, contact: ID) -> Result<ClientPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            client::remove_contact(
                conn,
                caller,
                read::<ContactId>("contact", "contact", &contact)?,
            )
        })
        .await?;
        payload(ctx, done).await
    }
}
