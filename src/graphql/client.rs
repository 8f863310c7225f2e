//! Clients: who they are, what they owe, and their lists.

mod edit;

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};

use super::aging::{OpenItem, open_items};
use super::bank::{PayerAccount, payer_accounts};
use super::below::nested;
use super::company::User;
use super::dispute::{Deduction, Dispute};
use super::document::{CreditNote, Invoice, OrderDirection, maybe};
use super::loaders::{BalanceOf, ContactsOf};
use super::page::{self, Asked, Connection, Window, listed, single};
use super::payment::Payment;
use super::scalars::{ClientRef, Date, Decimal, Instant, at, day, money, rate, read, show};
use super::text::told;
use super::{Permitted, session};
use crate::domain::access::Caller;
use crate::domain::ids::{ClientId, ItemId, UserId};
use crate::error::Result;
use crate::service::reference;
use crate::store::aging::{OpenItems, Population};
use crate::store::list::{Direction, Sort};
use crate::store::nested::Nested;
use crate::store::{self};

pub use edit::{ClientMutation, set_credit_terms};

macro_rules! code_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $code:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(async_graphql::Enum, Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name { $($(#[$vdoc])* #[graphql(name = $code)] $variant),+ }

        impl $name {
            /// The stored code.
            pub fn code(self) -> &'static str {
                match self { $($name::$variant => $code),+ }
            }

            /// Reads the stored code.
            pub fn of(code: &str) -> Result<Self> {
                match code {
                    $($code => Ok($name::$variant),)+
                    other => Err(crate::error::Error::Internal(format!("stored code {other}"))),
                }
            }
        }

        impl $crate::graphql::text::Shown for $name {
            fn show(&self, text: &mut Vec<u8>) {
                $crate::graphql::text::Shown::show(self.code(), text);
            }
        }
    };
}
pub(crate) use code_enum;

code_enum! {
    /// What a debtor is to the company.
    ClientKind {
        /// A customer (client).
        Customer = "CUSTOMER",
        /// A member of an association (adhérent).
        Member = "MEMBER",
        /// A student (élève, étudiant).
        Student = "STUDENT",
        /// Any other debtor (débiteur divers).
        Other = "OTHER",
    }
}

/// Which lines of an account are meant.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
enum ItemState {
    /// Something is open on them.
    Open,
    /// Nothing is open any more (soldé).
    Settled,
    /// All of them.
    All,
}

code_enum! {
    /// How a client is treated in dunning and in provisions (R7.8).
    ClientSegment {
        /// Large group: pays later, defaults less.
        LargeGroup = "LARGE_GROUP",
        /// Small or mid-size enterprise: the default.
        Sme = "SME",
        /// New or risky.
        NewOrRisky = "NEW_OR_RISKY",
        /// Public buyer.
        Public = "PUBLIC",
        /// Consumer: the rules between professionals do not apply (R6.12).
        Consumer = "CONSUMER",
        /// Company of the same group.
        GroupCompany = "GROUP_COMPANY",
    }
}

code_enum! {
    /// Insolvency proceedings (procédure collective).
    Insolvency {
        /// None.
        None = "NONE",
        /// Sauvegarde.
        Safeguard = "SAFEGUARD",
        /// Redressement judiciaire.
        Receivership = "RECEIVERSHIP",
        /// Liquidation judiciaire.
        Liquidation = "LIQUIDATION",
    }
}

code_enum! {
    /// What a contact is asked about.
    ContactRole {
        /// Comptabilité fournisseurs.
        Accounting = "ACCOUNTING",
        /// Achats.
        Purchasing = "PURCHASING",
        /// Direction.
        Management = "MANAGEMENT",
        /// Logistique.
        Logistics = "LOGISTICS",
        /// Juridique.
        Legal = "LEGAL",
        /// Anything else.
        Other = "OTHER",
    }
}

code_enum! {
    /// The language of letters and mails.
    LetterLanguage {
        /// French.
        Fr = "FR",
        /// English.
        En = "EN",
    }
}

code_enum! {
    /// How a due date follows from the date of issue (R6.1): both end-of-month methods are lawful,
    /// the one that was agreed must be stored.
    PaymentTermsRule {
        /// Issue date + days (net).
        Net = "NET",
        /// End of the issue month, then days (fin de mois + n).
        EomThenDays = "EOM_THEN_DAYS",
        /// Issue date + days, then end of that month (n jours fin de mois), or `thenDay` of the next.
        DaysThenEom = "DAYS_THEN_EOM",
        /// Nothing agreed: 30 days after goods or service were received.
        LegalDefault = "LEGAL_DEFAULT",
        /// End of the ten-day period of delivery, then days (décade).
        Decade = "DECADE",
    }
}

/// Payment terms (conditions de règlement).
#[derive(SimpleObject)]
struct PaymentTerms {
    /// How the due date is found.
    rule: PaymentTermsRule,
    /// The days of the rule.
    days: i32,
    /// Day of the following month ("le 10"); null when there is none.
    then_day: Option<i32>,
}

/// Credit-insurance cover (assurance-crédit).
#[derive(SimpleObject)]
struct CreditInsurance {
    /// Covered share in percent.
    percent: Decimal,
    /// Most that is covered, in the client's currency; null when not bounded.
    limit: Option<Decimal>,
}

/// A contact of a client: personal data, hidden from roles without the right to it.
#[derive(SimpleObject)]
struct Contact {
    /// The opaque id.
    id: ID,
    /// What the contact is asked about.
    role: ContactRole,
    /// The person's or service's name.
    name: String,
    /// E-mail address; null when unknown.
    email: Option<String>,
    /// Telephone number; null when unknown.
    phone: Option<String>,
}

/// What a client owes in one currency on a day. Debts positive, unallocated credits negative.
#[derive(SimpleObject)]
struct ClientBalance {
    /// The currency of the amounts.
    currency: String,
    /// Everything open: debts less unallocated credits. Equals the client's account (411, 416).
    total: Decimal,
    /// The part of the debts past its due date; an item due on the day is not (R4.4).
    overdue: Decimal,
    /// The part of the debts in dispute, already inside `total`.
    disputed: Decimal,
    /// Receipts and credit notes not matched yet (non affecté), zero or negative.
    unallocated: Decimal,
}

/// A movement on a client's account.
#[derive(SimpleObject)]
struct StatementLine {
    /// Accounting date.
    posted_on: Date,
    /// What it is.
    kind: super::aging::ItemKind,
    /// Number of the document.
    reference: String,
    /// Due date; null for credits.
    due_on: Option<Date>,
    /// Debit, zero or positive.
    debit: Decimal,
    /// Credit, zero or positive.
    credit: Decimal,
    /// Balance after the movement.
    balance: Decimal,
}

/// A client's account over a period (relevé de compte).
#[derive(SimpleObject)]
struct Statement {
    /// The currency of the amounts.
    currency: String,
    /// First day.
    from: Date,
    /// Last day.
    to: Date,
    /// Balance before the first day.
    opening: Decimal,
    /// The movements, in order.
    lines: Vec<StatementLine>,
    /// Balance after the last day.
    closing: Decimal,
}

/// A client (client): any debtor of the company.
#[derive(Clone)]
pub struct Client(pub store::client::Client);

told! {
    Client {
        id, number, external_ref as "externalRef", name, kind, segment, language, siren, siret,
        vat_number as "vatNumber", address, currency, insolvency, insolvency_on as "insolvencyOn",
        insolvency_published_on as "insolvencyPublishedOn", penalty_rate as "penaltyRate",
        credit_limit as "creditLimit",
    }
}

listed!(store::client::Client => Client of |client| Some(client.id));

async fn user(ctx: &Context<'_>, id: Option<UserId>) -> Result<Option<User>> {
    match id {
        Some(id) => Ok(maybe(ctx, id)
            .await?
            .map(|user: store::member::User| User::of(user.id, user.name))),
        None => Ok(None),
    }
}

/// A client (client).
#[Object]
impl Client {
    /// The opaque id.
    pub async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// The company's own number for the client (code client), also its auxiliary account.
    async fn number(&self) -> &str {
        &self.0.number
    }
    /// Another system's reference; null when there is none.
    async fn external_ref(&self) -> Option<&str> {
        self.0.external_ref.as_deref()
    }
    /// Name (raison sociale).
    async fn name(&self) -> &str {
        &self.0.name
    }
    /// What the debtor is to the company.
    async fn kind(&self) -> Result<ClientKind> {
        ClientKind::of(&self.0.kind)
    }
    /// How the client is treated.
    async fn segment(&self) -> Result<ClientSegment> {
        ClientSegment::of(&self.0.segment)
    }
    /// The language in which the client is written to.
    async fn language(&self) -> Result<LetterLanguage> {
        LetterLanguage::of(&self.0.language)
    }
    /// SIREN, nine digits; null when unknown.
    async fn siren(&self) -> Option<&str> {
        self.0.siren.as_deref()
    }
    /// SIRET, fourteen digits; null when unknown.
    async fn siret(&self) -> Option<&str> {
        self.0.siret.as_deref()
    }
    /// VAT number (numéro de TVA); null when unknown.
    async fn vat_number(&self) -> Option<&str> {
        self.0.vat_number.as_deref()
    }
    /// Postal address; null when unknown.
    async fn address(&self) -> Option<&str> {
        self.0.address.as_deref()
    }
    /// The currency that the client is invoiced in unless said otherwise.
    async fn currency(&self) -> &str {
        &self.0.currency
    }
    /// Payment terms.
    async fn payment_terms(&self) -> Result<PaymentTerms> {
        Ok(PaymentTerms {
            rule: PaymentTermsRule::of(&self.0.terms_rule)?,
            days: i32::from(self.0.terms_days),
            then_day: self.0.terms_then_day.map(i32::from),
        })
    }
    /// The sales person whose portfolio the client is in; null when there is none.
    async fn sales_owner(&self, ctx: &Context<'_>) -> Result<Option<User>> {
        user(ctx, self.0.sales_owner_id).await
    }
    /// Who collects from the client; null when there is none.
    async fn collector(&self, ctx: &Context<'_>) -> Result<Option<User>> {
        user(ctx, self.0.collector_id).await
    }
    /// Insolvency proceedings.
    async fn insolvency(&self) -> Result<Insolvency> {
        Insolvency::of(&self.0.insolvency)
    }
    /// Day of the opening judgment; null without proceedings.
    async fn insolvency_on(&self) -> Option<Date> {
        self.0.insolvency_on.map(Into::into)
    }
    /// Day the opening judgment was published (BODACC); null outside proceedings, or when it is not known yet.
    async fn insolvency_published_on(&self) -> Option<Date> {
        self.0.insolvency_published_on.map(Into::into)
    }
    /// Credit-insurance cover; null when there is none.
    async fn credit_insurance(&self) -> Option<CreditInsurance> {
        (!self.0.insured_percent.is_zero()).then(|| CreditInsurance {
            percent: rate(self.0.insured_percent),
            limit: self
                .0
                .insured_limit
                .map(|limit| money(limit, &self.0.currency)),
        })
    }
    /// Contractual rate of late-payment interest, percent per year; null when the legal default counts (R6.5).
    async fn penalty_rate(&self) -> Option<Decimal> {
        self.0.penalty_rate.map(super::scalars::rate)
    }
    /// Credit limit (encours autorisé) in the client's currency; null when none is set.
    async fn credit_limit(&self) -> Option<Decimal> {
        self.0
            .credit_limit
            .map(|limit| money(limit, &self.0.currency))
    }
    /// Accounts that pay for it, learned from matches or recorded (R13.4); null, with an error FORBIDDEN, for roles that record no payments.
    #[graphql(guard = "Permitted(\"Client.payerAccounts\")")]
    async fn payer_accounts(&self, ctx: &Context<'_>) -> Result<Option<Vec<PayerAccount>>> {
        payer_accounts(ctx, self.0.id).await.map(Some)
    }
    /// Contacts; null, with an error FORBIDDEN, when the role may not read personal data.
    #[graphql(guard = "Permitted(\"Client.contacts\")")]
    async fn contacts(&self, ctx: &Context<'_>) -> Result<Option<Vec<Contact>>> {
        super::session(ctx)?.note_personal(1);
        let rows = maybe(ctx, ContactsOf(self.0.id)).await?.unwrap_or_default();
        let contacts = rows.into_iter().map(|row| {
            Ok(Contact {
                id: show(row.id),
                role: ContactRole::of(&row.role)?,
                name: row.name,
                email: row.email,
                phone: row.phone,
            })
        });
        contacts.collect::<Result<_>>().map(Some)
    }
    /// How the client kept its promises to pay.
    #[graphql(guard = "Permitted(\"Client.reliability\")")]
    async fn reliability(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<super::collection::Reliability>> {
        super::collection::reliability(ctx, self.0.id)
            .await
            .map(Some)
    }
    /// What is attached to the client: contracts, correspondence, acknowledgments of debt; null, with an error FORBIDDEN, when the role may not read it.
    #[graphql(guard = "Permitted(\"Client.files\")")]
    async fn files(&self, ctx: &Context<'_>) -> Result<Option<Vec<super::file::AttachedFile>>> {
        super::file::files_of(ctx, self.0.id.0).await.map(Some)
    }
    /// The day the account was closed; null while it is open.
    async fn closed_on(&self) -> Option<Date> {
        self.0.closed_on.map(Into::into)
    }
    /// Counts the changes: give it back with a change so that nobody's is overwritten.
    async fn version(&self) -> i32 {
        self.0.version
    }
    /// What the client owes on a day, one row per currency; always one for the client's own.
    async fn balance(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Effective day, inclusive; today when absent.")] as_of: Option<Date>,
        #[graphql(desc = "As recorded by this instant; now when absent.")] known_at: Option<
            Instant,
        >,
    ) -> Result<Vec<ClientBalance>> {
        let as_of = day(
            "asOf",
            super::scalars::on(as_of).unwrap_or(session(ctx)?.caller().today),
        )?;
        let key = BalanceOf {
            client: self.0.id,
            as_of,
            known_at: at(known_at),
        };
        let rows = maybe(ctx, key).await?.unwrap_or_default();
        let mut balances: Vec<ClientBalance> = rows
            .into_iter()
            .map(|row| ClientBalance {
                total: money(row.total, &row.currency),
                overdue: money(row.overdue, &row.currency),
                disputed: money(row.disputed, &row.currency),
                unallocated: money(row.unallocated, &row.currency),
                currency: row.currency,
            })
            .collect();
        if !balances
            .iter()
            .any(|balance| balance.currency == self.0.currency)
        {
            let zero = money(0, &self.0.currency);
            balances.insert(
                0,
                ClientBalance {
                    currency: self.0.currency.clone(),
                    total: zero,
                    overdue: zero,
                    disputed: zero,
                    unallocated: zero,
                },
            );
        }
        Ok(balances)
    }
    /// What is open on a day, oldest due first: debts positive, credits negative.
    async fn open_items(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Effective day, inclusive; today when absent.")] as_of: Option<Date>,
        #[graphql(desc = "As recorded by this instant; now when absent.")] known_at: Option<
            Instant,
        >,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<OpenItem>> {
        let caller = session(ctx)?.caller();
        let as_of = day("asOf", as_of.unwrap_or(caller.today.into()).0)?;
        let population = Population {
            known_at: at(known_at),
            client_ids: vec![self.0.id],
            ..Population::of(caller.company, as_of)
        };
        open_items(
            ctx,
            OpenItems {
                population,
                cell: None,
                is_debit: None,
                invoice: None,
            },
            Window {
                first,
                after,
                last,
                before,
            },
        )
        .await
    }
    /// The lines of the account as they are now, latest first: open ones, settled ones ("archive soldé", R3.10), or all.
    async fn items(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "ItemState::All")] state: ItemState,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<OpenItem>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("items{}{state:?}", self.0.id.0),
        )?;
        let session = session(ctx)?;
        let open = match state {
            ItemState::Open => Some(true),
            ItemState::Settled => Some(false),
            ItemState::All => None,
        };
        let sort = Sort {
            column: "t.posted_on",
            sql_type: "date",
            direction: Direction::Descending,
        };
        page::list(
            session,
            store::item::from(session.caller().company, self.0.id, open),
            sort,
            asked,
            |conn, caller, ids| {
                let ids: Vec<ItemId> = ids.iter().copied().map(ItemId).collect();
                store::item::by_ids(conn, caller.company, &ids)?
                    .into_iter()
                    .map(|item| OpenItem::on(caller.today.into(), item))
                    .collect()
            },
        )
        .await
    }
    /// The account over a period (relevé de compte), in one currency: at most 367 days. Bills of exchange (413)
    /// and deposits (4191) stand apart, as in the balance.
    async fn statement(
        &self,
        ctx: &Context<'_>,
        from: Date,
        to: Date,
        #[graphql(desc = "The client's currency when absent.")] currency: Option<String>,
        #[graphql(desc = "As recorded by this instant; now when absent.")] known_at: Option<
            Instant,
        >,
    ) -> Result<Statement> {
        day("from", from.0)?;
        if to < from || (day("to", to.0)? - from.0).num_days() > 366 {
            return Err(crate::error::Error::BadInput {
                field: "to",
                message: "a statement covers 1 to 367 days".into(),
            });
        }
        let (id, currency) = (
            self.0.id,
            currency.unwrap_or_else(|| self.0.currency.clone()),
        );
        crate::service::books::currency_input("currency", &currency)?;
        let code = currency.clone();
        let (opening, movements) = session(ctx)?
            .read(move |conn, caller| {
                Ok(store::aging::statement(
                    conn,
                    caller.company,
                    id,
                    &code,
                    from.0,
                    to.0,
                    at(known_at),
                )?)
            })
            .await?;
        let mut balance = opening;
        let mut lines = Vec::with_capacity(movements.len());
        for movement in movements {
            balance += movement.debit - movement.credit;
            lines.push(StatementLine {
                posted_on: movement.posted_on.into(),
                kind: super::aging::ItemKind::of(&movement.kind)?,
                reference: movement.reference,
                due_on: movement.due_on.map(Into::into),
                debit: money(movement.debit, &currency),
                credit: money(movement.credit, &currency),
                balance: money(balance, &currency),
            });
        }
        Ok(Statement {
            opening: money(opening, &currency),
            closing: money(balance, &currency),
            from,
            to,
            lines,
            currency,
        })
    }
    /// Invoices, latest first.
    async fn invoices(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<Invoice>> {
        nested::<store::document::Document, Invoice>(
            ctx,
            Nested::InvoicesOfClient,
            self.0.id.0,
            Window {
                first,
                after,
                last,
                before,
            },
            Invoice,
        )
        .await
    }
    /// Credit notes, latest first.
    async fn credit_notes(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<CreditNote>> {
        nested::<store::document::Document, CreditNote>(
            ctx,
            Nested::CreditNotesOfClient,
            self.0.id.0,
            Window {
                first,
                after,
                last,
                before,
            },
            CreditNote,
        )
        .await
    }
    /// Payments, latest first.
    async fn payments(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<Payment>> {
        nested::<store::payment::Payment, Payment>(
            ctx,
            Nested::PaymentsOfClient,
            self.0.id.0,
            Window {
                first,
                after,
                last,
                before,
            },
            Payment,
        )
        .await
    }
    /// Disputes, latest first.
    async fn disputes(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<Dispute>> {
        nested::<store::dispute::Dispute, Dispute>(
            ctx,
            Nested::DisputesOfClient,
            self.0.id.0,
            Window {
                first,
                after,
                last,
                before,
            },
            Dispute,
        )
        .await
    }
    /// Deductions, latest first.
    async fn deductions(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<Deduction>> {
        nested::<store::dispute::Deduction, Deduction>(
            ctx,
            Nested::DeductionsOfClient,
            self.0.id.0,
            Window {
                first,
                after,
                last,
                before,
            },
            Deduction,
        )
        .await
    }
}

/// Narrows clients; all conditions hold at once.
#[derive(InputObject, Clone, Debug, Default)]
pub struct ClientFilter {
    /// Part of the name or number, whatever the case and the accents.
    search: Option<String>,
    /// Of one of these kinds.
    kinds: Option<Vec<ClientKind>>,
    /// Of one of these segments.
    segments: Option<Vec<ClientSegment>>,
    /// In this sales person's portfolio; `me` is the caller.
    sales_owner: Option<ID>,
    /// Collected by this person; `me` is the caller.
    collector: Option<ID>,
    /// In insolvency proceedings, or not.
    insolvent: Option<bool>,
    /// With something open, or nothing.
    has_open_items: Option<bool>,
    /// With something open that is past its due date today, or nothing.
    overdue: Option<bool>,
    /// With a closed account, or an open one.
    closed: Option<bool>,
}

impl ClientFilter {
    /// For the store.
    pub fn read(self, caller: &Caller) -> Result<store::client::Filter> {
        let person = |field: &'static str, id: ID| match (id.as_str(), caller.user) {
            ("me", Some(user)) => Ok(user),
            _ => read(field, "member", &id),
        };
        Ok(store::client::Filter {
            search: self.search,
            kinds: self
                .kinds
                .unwrap_or_default()
                .into_iter()
                .map(|kind| kind.code().to_owned())
                .collect(),
            segments: self
                .segments
                .unwrap_or_default()
                .into_iter()
                .map(|segment| segment.code().to_owned())
                .collect(),
            sales_owner: self
                .sales_owner
                .map(|id| person("salesOwner", id))
                .transpose()?,
            collector: self
                .collector
                .map(|id| person("collector", id))
                .transpose()?,
            insolvent: self.insolvent,
            has_open_items: self.has_open_items,
            overdue: self.overdue.map(|overdue| (overdue, caller.today)),
            closed: self.closed,
        })
    }
}

/// The client that a filter names; an unknown one gives an empty list.
pub async fn client_filter_id(
    ctx: &Context<'_>,
    client: Option<ClientRef>,
) -> Result<Option<ClientId>> {
    let Some(client) = client else {
        return Ok(None);
    };
    let target = client.into();
    let client = session(ctx)?
        .read(move |conn, caller| reference::client(conn, caller, "client", &target))
        .await?;
    Ok(Some(client.id))
}

/// What clients are ordered by.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientOrderField {
    /// Number, letter by letter.
    Number,
    /// Name, letter by letter.
    Name,
}

/// Order of a list of clients.
#[derive(InputObject, Clone, Copy, Debug)]
pub struct ClientOrder {
    /// By what.
    field: ClientOrderField,
    /// Which way.
    #[graphql(default)]
    direction: OrderDirection,
}

/// Clients.
#[derive(Default)]
pub struct ClientQuery;

#[Object]
impl ClientQuery {
    /// A client; null when there is none for this caller.
    #[graphql(guard = "Permitted(\"Query.client\")")]
    async fn client(
        &self,
        ctx: &Context<'_>,
        #[graphql(name = "ref")] target: ClientRef,
    ) -> Result<Option<Client>> {
        let target = target.into();
        single(ctx, move |conn, caller| {
            reference::client(conn, caller, "ref", &target)
        })
        .await
    }

    /// Clients, by number unless ordered otherwise.
    #[graphql(guard = "Permitted(\"Query.clients\")")]
    async fn clients(
        &self,
        ctx: &Context<'_>,
        filter: Option<ClientFilter>,
        order_by: Option<ClientOrder>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<Client>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("clients{filter:?}{order_by:?}"),
        )?;
        let session = session(ctx)?;
        let from = store::client::from(
            session.caller().company,
            &filter.unwrap_or_default().read(session.caller())?,
        );
        let (column, direction) = match order_by {
            Some(ClientOrder {
                field: ClientOrderField::Name,
                direction,
            }) => ("(t.name COLLATE french)", direction.into()),
            Some(ClientOrder {
                field: ClientOrderField::Number,
                direction,
            }) => ("t.number", direction.into()),
            None => ("t.number", Direction::Ascending),
        };
        page::list(
            session,
            from,
            Sort {
                column,
                sql_type: "text",
                direction,
            },
            asked,
            |conn, caller, ids| {
                Ok(store::client::by_ids(
                    conn,
                    caller.company,
                    &ids.iter().copied().map(ClientId).collect::<Vec<_>>(),
                )?)
            },
        )
        .await
    }
}
