//! Clients: opened by accounting, their terms and limits set by the credit manager.

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use rust_decimal::Decimal;
use serde_json::json;

use super::books::{self, Draw};
use super::reference::{self, Ref};
use super::{approval, law};
use crate::domain::access::{Action, Caller, codes};
use crate::domain::approval::{ApprovalKind, Matter};
use crate::domain::identity;
use crate::domain::ids::{ClientId, ContactId, Id, UserId};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::domain::terms::{PaymentTerms, TermsRule};
use crate::error::{Error, Result};
use crate::store::client::{Client, Contact};
use crate::store::numbering::Numbered;
use crate::store::{self};

/// What the numbers of clients begin with.
pub const SERIES: &str = "CL";

/// What is said of a number or a reference that is taken.
const TAKEN: &str = "a client with this number or reference exists already";

/// What a client is known by, as entered. Absent values are left as they are.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    pub number: Option<String>,
    pub external_ref: Option<String>,
    pub name: Option<String>,
    pub kind: Option<&'static str>,
    pub segment: Option<&'static str>,
    pub siren: Option<String>,
    pub siret: Option<String>,
    pub vat_number: Option<String>,
    pub address: Option<String>,
    pub currency: Option<String>,
    /// `FR` or `EN`.
    pub language: Option<&'static str>,
    pub sales_owner: Option<UserId>,
    pub collector: Option<UserId>,
    /// What to take away; before anything is set.
    pub clear: Vec<Cleared>,
}

codes! {
    /// Something of a client that may be taken away.
    Cleared {
        /// Another system's reference.
        ExternalRef = "EXTERNAL_REF",
        /// SIREN, and the SIRET that begins with it.
        Siren = "SIREN",
        /// SIRET.
        Siret = "SIRET",
        /// VAT number.
        VatNumber = "VAT_NUMBER",
        /// Postal address.
        Address = "ADDRESS",
        /// Sales owner.
        SalesOwner = "SALES_OWNER",
        /// Collector.
        Collector = "COLLECTOR",
        /// The day of closing: the account is open again.
        ClosedOn = "CLOSED_ON",
    }
}

/// What a client is allowed, as entered. Absent values are left as they are.
#[derive(Clone, Debug, Default)]
pub struct CreditTerms {
    pub terms: Option<PaymentTerms>,
    pub credit_limit: Option<Decimal>,
    pub insured_percent: Option<Decimal>,
    pub insured_limit: Option<Decimal>,
    /// Insolvency state.
    pub insolvency: Option<&'static str>,
    /// The day of the judgment.
    pub insolvency_on: Option<NaiveDate>,
    /// The day the judgment was published (BODACC).
    pub insolvency_published_on: Option<NaiveDate>,
    /// Contractual late-payment rate in percent per year; `None` inside takes it away (R6.5).
    pub penalty_rate: Option<Option<Decimal>>,
    /// Take the credit limit away.
    pub no_limit: bool,
}

impl CreditTerms {
    fn sets_more_than_terms(&self) -> bool {
        self.credit_limit.is_some()
            || self.insured_percent.is_some()
            || self.insured_limit.is_some()
            || self.insolvency.is_some()
            || self.insolvency_on.is_some()
            || self.insolvency_published_on.is_some()
    }
}

/// Opens a client. Payment terms may be given at once; limits need the right to set them.
pub fn create(
    conn: &mut PgConnection,
    caller: &Caller,
    identity: &Identity,
    credit: &CreditTerms,
) -> Result<ClientId> {
    let books = books::open(conn, caller)?;
    if credit.sets_more_than_terms() && !caller.may(Action::WriteCreditTerms) {
        return Err(Refusal::new(
            RefusalCode::Forbidden,
            "",
            "limits, cover and insolvency are set by the credit manager: use setCreditTerms",
        )
        .into());
    }
    let mut client = blank(caller, &books);
    if identity.name.is_none() {
        return Err(Refusal::invalid("name", "a client needs a name").into());
    }
    apply_identity(conn, &mut client, identity)?;
    if identity.number.is_none() {
        let series = Draw {
            prefix: SERIES,
            on: caller.today,
            dated: false,
            field: "number",
            of: Numbered::Clients,
            taken: TAKEN,
        };
        client.number = books.number(conn, None, &series)?;
    }
    apply_credit(conn, caller, &mut client, credit)?;
    let is_drawn = identity.number.is_none();
    store::client::insert(conn, std::slice::from_ref(&client))
        .map_err(|error| books::duplicate_or_again(error, is_drawn, "number", TAKEN))?;
    raise_limit(conn, caller, &client, None).map_err(|error| match error {
        Error::Refused(_) => Refusal::new(
            RefusalCode::ApprovalRequired,
            "creditLimit",
            "a limit above the threshold needs a second person: open the client without it, then propose it with setCreditTerms",
        )
        .into(),
        other => other,
    })?;
    Ok(client.id)
}

/// Changes what a client is known by. `version` is the one that the caller read, when given.
pub fn update(
    conn: &mut PgConnection,
    caller: &Caller,
    target: &Ref,
    version: Option<i32>,
    identity: &Identity,
) -> Result<ClientId> {
    let mut client = locked(conn, caller, target, version)?;
    if identity.currency.is_some() && identity.currency.as_deref() != Some(&client.currency) {
        return Err(Refusal::invalid(
            "currency",
            "a client's currency stays: open another account for another currency",
        )
        .into());
    }
    apply_identity(conn, &mut client, identity)?;
    save(conn, client)
}

/// Sets terms, limits, cover and insolvency.
pub fn set_credit_terms(
    conn: &mut PgConnection,
    caller: &Caller,
    target: &Ref,
    version: Option<i32>,
    credit: &CreditTerms,
) -> Result<ClientId> {
    let mut client = locked(conn, caller, target, version)?;
    let before = client.credit_limit;
    apply_credit(conn, caller, &mut client, credit)?;
    if credit.no_limit {
        client.credit_limit = None;
    }
    if let Some(rate) = credit.penalty_rate {
        client.penalty_rate = checked_penalty_rate(conn, rate, caller.today)?;
    }
    let id = save(conn, client.clone())?;
    raise_limit(conn, caller, &client, before)?;
    Ok(id)
}

/// A limit that is raised, or taken away, may need a second person (R12.1). `before` is none when there was none.
fn raise_limit(
    conn: &mut PgConnection,
    caller: &Caller,
    client: &Client,
    before: Option<i64>,
) -> Result<()> {
    let after = client.credit_limit;
    let lowered = matches!((before, after), (Some(before), Some(after)) if after <= before);
    if caller.approval.is_none() && (lowered || before == after) {
        return Ok(());
    }
    let books = books::open(conn, caller)?;
    let currency = books::currency(&client.currency)?;
    let shown = |limit: Option<i64>| {
        let limit = limit.map(|limit| currency.decimal(limit).to_string());
        json!({ "creditLimit": limit })
    };
    let matter = Matter {
        client: Some(client.id),
        amount: after.map(|limit| (limit, currency)),
        unbounded: after.is_none(),
        before: shown(before),
        after: shown(after),
        ..Matter::of(ApprovalKind::CreditLimit, client.id.show())
    };
    approval::gate(conn, caller, &books, matter)
}

/// A contractual rate below three times the legal rate is refused when it is agreed (R6.7).
fn checked_penalty_rate(
    conn: &mut PgConnection,
    rate: Option<Decimal>,
    today: NaiveDate,
) -> Result<Option<Decimal>> {
    let Some(rate) = rate else {
        return Ok(None);
    };
    if rate <= Decimal::ZERO || rate > Decimal::ONE_HUNDRED || rate.scale() > 3 {
        return Err(Refusal::invalid(
            "penaltyRate",
            "a rate in percent per year is needed, with at most 3 decimals",
        )
        .into());
    }
    let floor = super::penalty::contract_floor(conn, today)?;
    if rate < floor {
        return Err(Refusal::new(
            RefusalCode::TermsUnlawful,
            "penaltyRate",
            format!(
                "a contract cannot go below {} %, three times the legal rate (C. com. L441-10 II)",
                floor.normalize()
            ),
        )
        .detail("floor", floor.normalize().to_string())
        .into());
    }
    Ok(Some(rate))
}

/// Refuses a client whose account is closed: nothing new is opened on it.
pub fn refuse_closed(client: &Client, field: &str) -> Result<()> {
    match client.closed_on {
        Some(closed) => Err(Refusal::new(
            RefusalCode::WrongState,
            field,
            format!("the client's account was closed on {closed}"),
        )
        .into()),
        None => Ok(()),
    }
}

/// Closes a client's account; nothing may be open on it.
pub fn close(
    conn: &mut PgConnection,
    caller: &Caller,
    target: &Ref,
    on: Option<NaiveDate>,
) -> Result<ClientId> {
    let mut client = locked(conn, caller, target, None)?;
    refuse_closed(&client, "client")?;
    let on = on.unwrap_or(caller.today);
    let last = store::item::last_day_of_client(conn, caller.company, client.id)?;
    if on > caller.today || last.is_some_and(|last| on < last) {
        let since = last.map_or_else(String::new, |last| format!(" from {last}, its last entry,"));
        return Err(Refusal::invalid(
            "closedOn",
            format!("an account closes on a day{since} up to today"),
        )
        .into());
    }
    if !store::item::open_of_client(conn, caller.company, client.id)?.is_empty() {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "client",
            "the account has open items: settle them first",
        )
        .into());
    }
    client.closed_on = Some(on);
    save(conn, client)
}

fn locked(
    conn: &mut PgConnection,
    caller: &Caller,
    target: &Ref,
    version: Option<i32>,
) -> Result<Client> {
    let found = reference::client(conn, caller, "client", target)?;
    let client = store::client::for_update(conn, caller.company, found.id)?
        .ok_or_else(|| Refusal::not_found("client", "client"))?;
    if version.is_some_and(|version| version != client.version) {
        return Err(Refusal::new(
            RefusalCode::Conflict,
            "version",
            "somebody changed this client meanwhile: read it again",
        )
        .detail("version", client.version)
        .into());
    }
    Ok(client)
}

fn save(conn: &mut PgConnection, mut client: Client) -> Result<ClientId> {
    client.version += 1;
    store::client::update(conn, &client)
        .map_err(|error| books::duplicate(error, "number", TAKEN))?;
    Ok(client.id)
}

fn apply_identity(conn: &mut PgConnection, client: &mut Client, identity: &Identity) -> Result<()> {
    for cleared in &identity.clear {
        match cleared {
            Cleared::ExternalRef => client.external_ref = None,
            Cleared::Siren => (client.siren, client.siret) = (None, None),
            Cleared::Siret => client.siret = None,
            Cleared::VatNumber => client.vat_number = None,
            Cleared::Address => client.address = None,
            Cleared::SalesOwner => client.sales_owner_id = None,
            Cleared::Collector => client.collector_id = None,
            Cleared::ClosedOn => client.closed_on = None,
        }
    }
    let checked =
        |field: &str, result: std::result::Result<String, &'static str>| -> Result<String> {
            result.map_err(|message| Error::from(Refusal::invalid(field, message)))
        };
    if let Some(number) = &identity.number {
        client.number = books::text("number", number, 40)?;
    }
    if let Some(name) = &identity.name {
        client.name = books::text("name", name, 200)?;
    }
    if let Some(kind) = identity.kind {
        client.kind = kind.to_owned();
    }
    if let Some(language) = identity.language {
        client.language = language.to_owned();
    }
    if let Some(segment) = identity.segment {
        client.segment = segment.to_owned();
    }
    if let Some(siren) = &identity.siren {
        client.siren = Some(checked("siren", identity::siren(siren))?);
    }
    if let Some(siret) = &identity.siret {
        let siret = checked("siret", identity::siret(siret))?;
        client.siren.get_or_insert_with(|| siret[..9].to_owned());
        client.siret = Some(siret);
    }
    let is_given = identity.siren.is_some() || identity.siret.is_some();
    if let (true, Some(siren), Some(siret)) = (is_given, &client.siren, &client.siret)
        && !siret.starts_with(siren.as_str())
    {
        let (field, message) = match &identity.siret {
            Some(_) => ("siret", "the SIRET does not begin with the client's SIREN"),
            None => (
                "siren",
                "the client's SIRET is of another SIREN: give the new SIRET too, or clear it",
            ),
        };
        return Err(Refusal::invalid(field, message).into());
    }
    if let Some(vat) = &identity.vat_number {
        client.vat_number = Some(checked("vatNumber", identity::vat_number(vat))?);
    }
    // A French VAT number ends with the SIREN of its holder.
    if let (Some(siren), Some(vat)) = (&client.siren, &client.vat_number)
        && vat.starts_with("FR")
        && !vat.ends_with(siren.as_str())
    {
        return Err(Refusal::invalid(
            "vatNumber",
            format!("this VAT number belongs to another SIREN than {siren}"),
        )
        .into());
    }
    if let Some(address) = &identity.address {
        client.address = books::optional_text("address", Some(address), 500)?;
    }
    if let Some(external) = &identity.external_ref {
        client.external_ref = books::optional_text("externalRef", Some(external), 100)?;
    }
    if let Some(code) = &identity.currency {
        client.currency = books::currency_input("currency", code)?.code().to_owned();
    }
    for (field, user, slot) in [
        (
            "salesOwner",
            identity.sales_owner,
            &mut client.sales_owner_id,
        ),
        ("collector", identity.collector, &mut client.collector_id),
    ] {
        if let Some(user) = user {
            *slot = Some(reference::member(conn, client.company_id, field, user)?);
        }
    }
    Ok(())
}

/// A client of whom nothing is known yet: 30 days net, in the company's currency.
pub fn blank(caller: &Caller, books: &books::Books) -> Client {
    Client {
        company_id: caller.company,
        id: ClientId::new(),
        number: String::new(),
        external_ref: None,
        name: String::new(),
        kind: "CUSTOMER".into(),
        segment: "SME".into(),
        siren: None,
        siret: None,
        vat_number: None,
        address: None,
        currency: books.currency.code().to_owned(),
        terms_rule: "NET".into(),
        terms_days: 30,
        terms_then_day: None,
        sales_owner_id: None,
        collector_id: None,
        insolvency: "NONE".into(),
        insolvency_on: None,
        insured_percent: Decimal::ZERO,
        insured_limit: None,
        credit_limit: None,
        created_by: caller.author.clone(),
        closed_on: None,
        version: 1,
        penalty_rate: None,
        language: "FR".into(),
        insolvency_published_on: None,
    }
}

fn apply_credit(
    conn: &mut PgConnection,
    caller: &Caller,
    client: &mut Client,
    credit: &CreditTerms,
) -> Result<()> {
    let currency = books::currency(&client.currency)?;
    if let Some(terms) = &credit.terms {
        let law = law::terms(conn)?
            .on(caller.today)
            .map_err(|error| law::not_covered("paymentTerms", &error))?;
        if terms.days > 365 || terms.then_day.is_some_and(|day| !(1..=28).contains(&day)) {
            return Err(Refusal::invalid(
                "paymentTerms",
                "days go from 0 to 365, the day of the month from 1 to 28",
            )
            .into());
        }
        if terms.then_day.is_some() && terms.rule != TermsRule::DaysThenEom {
            return Err(Refusal::invalid(
                "paymentTerms.thenDay",
                "a day of the month goes with DAYS_THEN_EOM",
            )
            .into());
        }
        let checked = super::invoice::buyer(client).map(|buyer| terms.check_terms(buyer, &law));
        if let Some(Err(unlawful)) = checked {
            return Err(Refusal::new(
                RefusalCode::TermsUnlawful,
                "paymentTerms",
                format!("these terms are above the legal ceiling: {unlawful}"),
            )
            .into());
        }
        client.terms_rule = terms.rule.to_string();
        client.terms_days = i16::try_from(terms.days).unwrap_or(i16::MAX);
        client.terms_then_day = terms.then_day.map(i16::from);
    }
    if let Some(limit) = credit.credit_limit {
        client.credit_limit = Some(if limit.is_zero() {
            0
        } else {
            books::amount("creditLimit", limit, currency)?
        });
    }
    if let Some(percent) = credit.insured_percent {
        if percent < Decimal::ZERO || percent > Decimal::ONE_HUNDRED || percent.scale() > 2 {
            return Err(Refusal::invalid(
                "insuredPercent",
                "a percentage from 0 to 100 is needed, with at most 2 decimals",
            )
            .into());
        }
        client.insured_percent = percent;
    }
    if let Some(limit) = credit.insured_limit {
        if client.insured_percent.is_zero() {
            return Err(Refusal::invalid(
                "insuredPercent",
                "a limit of the insurer needs the share that it covers",
            )
            .into());
        }
        client.insured_limit = Some(books::amount("insuredLimit", limit, currency)?);
    }
    if let (None, Some(_)) = (credit.insolvency, credit.insolvency_on)
        && client.insolvency == "NONE"
    {
        return Err(Refusal::invalid(
            "insolvencyOn",
            "no insolvency is known of this client: give its state with the day",
        )
        .into());
    }
    let known = credit.insolvency_on.map(|_| client.insolvency.clone());
    let state = credit.insolvency.map(str::to_owned).or(known);
    if let Some(state) = state {
        let on = credit.insolvency_on;
        if (state == "NONE") != on.is_none() {
            return Err(Refusal::invalid(
                "insolvencyOn",
                "an insolvency needs the day of its judgment, and only an insolvency",
            )
            .into());
        }
        client.insolvency = state;
        client.insolvency_on = on;
        client.insolvency_published_on = client.insolvency_published_on.filter(|_| on.is_some());
    }
    if let Some(published) = credit.insolvency_published_on {
        if client.insolvency_on.is_none_or(|judged| published < judged) {
            return Err(Refusal::invalid(
                "insolvencyPublishedOn",
                "the publication follows the judgment: set insolvency and insolvencyOn with it",
            )
            .into());
        }
        client.insolvency_published_on = Some(published);
    }
    Ok(())
}

/// The rule and days of a client's payment terms, from the words of the input.
pub fn payment_terms(rule: TermsRule, days: i32, then_day: Option<i32>) -> Result<PaymentTerms> {
    let days = u16::try_from(days)
        .map_err(|_| Refusal::invalid("paymentTerms.days", "days go from 0 to 365"))?;
    let then_day = then_day
        .map(|day| {
            u8::try_from(day).map_err(|_| {
                Error::from(Refusal::invalid(
                    "paymentTerms.thenDay",
                    "the day of the month goes from 1 to 28",
                ))
            })
        })
        .transpose()?;
    Ok(PaymentTerms {
        rule,
        days,
        then_day,
    })
}

/// Adds a contact.
pub fn add_contact(
    conn: &mut PgConnection,
    caller: &Caller,
    target: &Ref,
    role: &'static str,
    name: &str,
    email: Option<&str>,
    phone: Option<&str>,
) -> Result<ClientId> {
    let client = reference::client(conn, caller, "client", target)?;
    let email = books::optional_text("email", email, 200)?
        .map(|email| {
            identity::email(&email)
                .map_err(|message| Error::from(Refusal::invalid("email", message)))
        })
        .transpose()?;
    store::client::insert_contact(
        conn,
        &Contact {
            company_id: caller.company,
            id: ContactId::new(),
            client_id: client.id,
            role: role.to_owned(),
            name: books::text("name", name, 200)?,
            email,
            phone: books::optional_text("phone", phone, 40)?,
        },
    )?;
    Ok(client.id)
}

/// Removes a contact and erases its personal data, wherever they are no proof: an erasure that nobody had to ask for.
pub fn remove_contact(
    conn: &mut PgConnection,
    caller: &Caller,
    contact: ContactId,
) -> Result<ClientId> {
    let client = store::client::present_contact_of(conn, caller.company, contact)?
        .ok_or_else(|| Refusal::not_found("contact", "contact"))?;
    super::personal::erase_contact(conn, caller, contact, "contact retiré")?;
    Ok(client)
}
