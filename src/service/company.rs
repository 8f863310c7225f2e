//! New companies. Everything they start with is their own copy: settings, journals, codes, policy.

use chrono::Datelike;
use diesel::pg::PgConnection;
use rust_decimal::Decimal;

use super::approval;
use super::books;
use super::provision::{DEFAULT_POLICY, PolicyContent};
use crate::domain::access::Caller;
use crate::domain::company::{Accounts, JOURNALS, Settings};
use crate::domain::dispute::STANDARD_REASONS;
use crate::domain::identity;
use crate::domain::ids::{CompanyId, Id, PolicyId};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::{Error, Result};
use crate::store;
use crate::store::company::{Company, Reason};
use crate::store::provision::Policy;

/// Who stands as the author of what a company starts with.
const AUTHOR: &str = "encours";

/// Creates a company, whose financial years begin in a month. `conn` is the owner's, in a transaction: nobody's company is
/// behind its wall yet.
pub fn create(
    conn: &mut PgConnection,
    name: &str,
    siren: Option<&str>,
    currency: &str,
    segregation: bool,
    year_begins: i16,
) -> Result<CompanyId> {
    let id = CompanyId::new();
    let company = Company {
        company_id: id,
        name: books::text("name", name, 200)?,
        siren: siren
            .map(identity::siren)
            .transpose()
            .map_err(|why| Refusal::invalid("siren", why))?,
        vat_number: None,
        address: None,
        currency: books::currency_input("currency", currency)?
            .code()
            .to_owned(),
        fiscal_year_start_month: year_begins,
        segregation,
        settings: json(&Settings::default())?,
    };
    store::company::insert(conn, &company)?;
    let rules = approval::recorded(&Settings::default().approvals)?;
    store::approval::insert_rules(conn, id, segregation, &rules, AUTHOR)?;
    store::company::insert_journals(conn, id, JOURNALS)?;
    store::company::save_reasons(conn, &standard_reasons(id))?;
    let policy = Policy {
        company_id: id,
        id: PolicyId::new(),
        name: DEFAULT_POLICY.to_owned(),
        version: 1,
        framework: "FRENCH_GAAP".to_owned(),
        content: json(&PolicyContent::default())?,
        recorded_by: AUTHOR.to_owned(),
    };
    store::provision::insert_policy(conn, &policy)?;
    Ok(id)
}

fn standard_reasons(company: CompanyId) -> Vec<Reason> {
    STANDARD_REASONS
        .iter()
        .map(|reason| Reason {
            company_id: company,
            code: reason.code.to_owned(),
            label: reason.label_fr.to_owned(),
            label_en: reason.label_en.to_owned(),
            kind: reason.kind.code().to_owned(),
            blocks_dunning: reason.blocks_dunning,
            department: reason
                .department
                .map(|department| department.code().to_owned())
                .unwrap_or_default(),
            active: true,
        })
        .collect()
}

fn json(value: &impl serde::Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(|error| Error::Internal(error.to_string()))
}

/// What to change of a company; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub name: Option<String>,
    pub siren: Option<String>,
    pub vat_number: Option<String>,
    pub address: Option<String>,
    pub segregation: Option<bool>,
    /// A part of the settings, laid over those in force.
    pub settings: Option<serde_json::Value>,
}

/// Changes the company's identity and house rules.
pub fn update(conn: &mut PgConnection, caller: &Caller, change: Change) -> Result<()> {
    let books = books::open(conn, caller)?;
    let mut company = books.company;
    if let Some(name) = &change.name {
        company.name = books::text("name", name, 200)?;
    }
    if let Some(siren) = &change.siren {
        company.siren = Some(identity::siren(siren).map_err(|why| Refusal::invalid("siren", why))?);
    }
    if let Some(vat) = &change.vat_number {
        company.vat_number =
            Some(identity::vat_number(vat).map_err(|why| Refusal::invalid("vatNumber", why))?);
    }
    if let Some(address) = &change.address {
        company.address = books::optional_text("address", Some(address), 500)?;
    }
    let (before, rules_before) = (company.segregation, books.settings.approvals);
    company.segregation = change.segregation.unwrap_or(company.segregation);
    let mut rules = rules_before.clone();
    if let Some(part) = change.settings {
        if !part.is_object() {
            return Err(Refusal::invalid("settings", "an object of settings is needed").into());
        }
        overlay(&mut company.settings, part);
        let settings: Settings = serde_json::from_value(company.settings.clone())
            .map_err(|error| not_a_setting(&error))?;
        check_settings(&settings)?;
        rules.clone_from(&settings.approvals);
        company.settings =
            serde_json::to_value(settings).map_err(|error| Error::Internal(error.to_string()))?;
    }
    store::company::update(conn, &company)?;
    if (company.segregation, &rules) != (before, &rules_before) {
        let recorded = approval::recorded(&rules)?;
        let (id, on) = (caller.company, company.segregation);
        store::approval::insert_rules(conn, id, on, &recorded, &caller.author)?;
    }
    Ok(())
}

/// What serde says of a wrong setting, without the names of our types.
fn not_a_setting(error: &serde_json::Error) -> Refusal {
    let text = error.to_string();
    let text = text
        .replace("expected struct Settings", "expected an object")
        .replace(
            "expected struct Accounts",
            "expected an object of account numbers",
        )
        .replace("expected struct Series", "expected an object of prefixes")
        .replace("expected i64", "expected a whole number")
        .replace("expected u16", "expected a whole number from 0 to 65535");
    Refusal::invalid("settings", format!("not a setting: {text}"))
}

/// An event's account may be another of its kind, never one that means something else: a receipt posted
/// to 411 would be no receipt. Receivables and provisions keep their family, balance-sheet accounts their
/// first two digits, charges and revenue their class.
fn check_account_map(accounts: &serde_json::Map<String, serde_json::Value>) -> Result<()> {
    let usual = serde_json::to_value(Accounts::default())
        .map_err(|error| Error::Internal(error.to_string()))?;
    for (event, account) in accounts {
        let (account, usual) = (
            account.as_str().unwrap_or_default(),
            usual[event].as_str().unwrap_or_default(),
        );
        let kept = match usual {
            "419100" => 4,
            _ if ["411", "413", "416", "491"]
                .iter()
                .any(|family| usual.starts_with(family)) =>
            {
                3
            }
            _ if usual.starts_with(['6', '7']) => 1,
            _ => 2,
        };
        let receivable = |number: &str| {
            ["411", "413", "416", "4191", "491"]
                .iter()
                .any(|family| number.starts_with(family))
        };
        if !account.starts_with(&usual[..kept]) || receivable(account) != receivable(usual) {
            return Err(Refusal::invalid(
                "settings",
                format!(
                    "accounts.{event}: {account} is no account for this event; it begins with {}",
                    &usual[..kept]
                ),
            )
            .detail("account", account)
            .into());
        }
    }
    Ok(())
}

/// Lays the fields of an object over those of another, in depth.
fn overlay(base: &mut serde_json::Value, part: serde_json::Value) {
    match (base, part) {
        (serde_json::Value::Object(base), serde_json::Value::Object(part)) => {
            for (name, value) in part {
                overlay(base.entry(name).or_insert(serde_json::Value::Null), value);
            }
        }
        (base, part) => *base = part,
    }
}

/// A part of the settings, member by member.
fn members(part: &impl serde::Serialize) -> Result<serde_json::Map<String, serde_json::Value>> {
    match serde_json::to_value(part) {
        Ok(serde_json::Value::Object(members)) => Ok(members),
        Ok(other) => Err(Error::Internal(format!("{other} is no part of settings"))),
        Err(error) => Err(Error::Internal(error.to_string())),
    }
}

fn check_settings(settings: &Settings) -> Result<()> {
    let refuse = |message: &str| Err(Error::from(Refusal::invalid("settings", message)));
    if !(0..=1_000_000).contains(&settings.tolerance) {
        return refuse("the tolerance is a number of minor units from 0 to 1000000");
    }
    let accounts = members(&settings.accounts)?;
    let is_account = |account: &str| {
        (3..=11).contains(&account.len())
            && account.bytes().all(|sign| sign.is_ascii_digit())
            && !account.starts_with(['0', '9'])
    };
    if accounts
        .values()
        .any(|account| !account.as_str().is_some_and(is_account))
    {
        return refuse("an account has 3 to 11 digits and begins with 1 to 8");
    }
    check_account_map(&accounts)?;
    if let Some(fault) = settings.approvals.fault() {
        return refuse(&fault);
    }
    if settings.bank_fee_vat_rate < Decimal::ZERO
        || settings.bank_fee_vat_rate > Decimal::ONE_HUNDRED
    {
        return refuse("bank_fee_vat_rate is a percentage from 0 to 100");
    }
    let head = &settings.letterhead;
    for (name, text) in [
        ("legal_form", &head.legal_form),
        ("registration", &head.registration),
        ("city", &head.city),
        ("phone", &head.phone),
        ("signatory", &head.signatory),
        ("signatory_title", &head.signatory_title),
    ] {
        if text.chars().count() > 150 || text.chars().any(char::is_control) {
            return refuse(&format!(
                "letterhead.{name} is one line of 150 characters at most"
            ));
        }
    }
    if !head.email.is_empty() && !crate::mailer::is_address(&head.email) {
        return refuse("letterhead.email is no address");
    }
    let series = members(&settings.series)?;
    // Those of clients and of entries have fixed names.
    let fixed = [super::client::SERIES, store::numbering::ENTRY];
    let prefixes = series.values().filter_map(|prefix| prefix.as_str());
    let prefixes: Vec<&str> = prefixes.chain(fixed).collect();
    let is_prefix = |prefix: &str| {
        (1..=10).contains(&prefix.len())
            && prefix
                .bytes()
                .all(|sign| sign.is_ascii_uppercase() || sign.is_ascii_digit())
    };
    if prefixes.iter().any(|prefix| !is_prefix(prefix))
        || (0..prefixes.len()).any(|n| prefixes[n + 1..].contains(&prefixes[n]))
    {
        return refuse(
            "prefixes are distinct and have 1 to 10 capital letters or digits; CL and ENTRY are taken",
        );
    }
    Ok(())
}

/// Closes the books through a day, later than the last closed one.
pub fn close_period(
    conn: &mut PgConnection,
    caller: &Caller,
    through: chrono::NaiveDate,
) -> Result<()> {
    store::company::hold(conn, caller.company)?;
    let books = books::open(conn, caller)?;
    if let Some(closed) = books.closed_through().filter(|closed| through <= *closed) {
        return Err(Refusal::invalid(
            "through",
            format!("the books are closed through {closed} already"),
        )
        .into());
    }
    if through >= caller.today {
        return Err(Refusal::invalid("through", "only days before today can be closed").into());
    }
    if through.year() < books::FIRST_YEAR {
        let message = format!("a day from {} on is needed", books::FIRST_YEAR);
        return Err(Refusal::invalid("through", message).into());
    }
    Ok(store::company::insert_closing(
        conn,
        caller.company,
        Some(through),
        "",
        &caller.author,
        None,
    )?)
}

/// Reopens the books after a day, or altogether; the reason is kept.
pub fn reopen_period(
    conn: &mut PgConnection,
    caller: &Caller,
    through: Option<chrono::NaiveDate>,
    reason: &str,
) -> Result<()> {
    store::company::hold(conn, caller.company)?;
    let books = books::open(conn, caller)?;
    let Some(closed) = books.closed_through() else {
        return Err(Refusal::invalid("through", "nothing is closed").into());
    };
    if through.is_some_and(|through| through >= closed) {
        return Err(Refusal::invalid(
            "through",
            format!("the books are closed through {closed}: name an earlier day"),
        )
        .into());
    }
    if let Some(locked) = store::company::locked_through(conn, caller.company)?
        && through.is_none_or(|through| through < locked)
    {
        return Err(Refusal::new(
            RefusalCode::PeriodClosed,
            "through",
            format!("the year through {locked} is locked for ever: correct it by later entries"),
        )
        .detail("lockedThrough", locked.to_string())
        .into());
    }
    let reason = books::text("reason", reason, 500)?;
    Ok(store::company::insert_closing(
        conn,
        caller.company,
        through,
        &reason,
        &caller.author,
        None,
    )?)
}
