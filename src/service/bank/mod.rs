//! Bank statements matched with what is owed (section 13): accounts, imports, the rules at work, and the desk
//! where a person decides what they leave.

mod apply;
mod desk;
mod import;
pub mod reconcile;

use diesel::pg::PgConnection;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{approval, books, task};
use crate::domain::access::Caller;
use crate::domain::bank::{Alternative, Difference, LineStatus, Rule, Share};
use crate::domain::ids::{BankAccountId, BankMatchId, ClientId, Id, OperationId, PaymentId};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::domain::task::TaskKind;
use crate::domain::{chart, identity};
use crate::error::{Error, Result};
use crate::store::bank::{Account, Line, Match};
use crate::store::{self};

pub use desk::{accept, assign, assign_return, complete, line, link, reject, undo, unlink};
pub use import::{Options, Report, import, import_bytes};

/// The rule of matchings that a bank line made.
pub const RULE: &str = "BANK";
/// Who pays when the bank does not say.
const SOMEBODY: &str = "an unknown payer";

/// A bank account as entered.
#[derive(Clone, Debug)]
pub struct AccountInput {
    /// Changes this one; opens a new one when absent.
    pub id: Option<String>,
    pub label: String,
    pub iban: Option<String>,
    pub bic: Option<String>,
    /// The general account, 512 and below; the account map's for a new one when absent.
    pub account: Option<String>,
    pub currency: Option<String>,
}

/// Opens a bank account, or changes its label, BIC and general account. Its number stays what it is.
pub fn save_account(
    conn: &mut PgConnection,
    caller: &Caller,
    input: &AccountInput,
) -> Result<BankAccountId> {
    let books = books::open(conn, caller)?;
    let account = input
        .account
        .clone()
        .unwrap_or_else(|| books.settings.accounts.bank.clone());
    if !(account.starts_with("512") && chart::is_account_number(&account)) {
        return Err(Refusal::invalid(
            "account",
            "a bank's general account begins with 512 and has 3 to 11 digits",
        )
        .into());
    }
    let label = books::text("label", &input.label, 100)?;
    let bic = match input.bic.as_deref() {
        Some(text) if plain(text).is_empty() => Some(None),
        Some(text) => Some(Some(self::bic(text)?)),
        None => None,
    };
    if let Some(id) = &input.id {
        let mut row = find_account(conn, caller, "id", id)?;
        let same = |given: &Option<String>, is: &str| {
            given.as_ref().is_none_or(|given| plain(given) == is)
        };
        if !same(&input.iban, &row.iban) || !same(&input.currency, &row.currency) {
            return Err(Refusal::invalid(
                "iban",
                "number and currency of a bank account stay what they are: open another one",
            )
            .into());
        }
        row.label = label;
        row.bic = bic.unwrap_or(row.bic);
        row.account = input.account.clone().unwrap_or(row.account);
        store::bank::update_account(conn, &row)?;
        return Ok(row.id);
    }
    let currency = input.currency.as_deref().unwrap_or(books.currency.code());
    let row = Account {
        company_id: caller.company,
        id: BankAccountId::new(),
        label,
        iban: number(input.iban.as_deref().unwrap_or_default())?,
        bic: bic.flatten(),
        account,
        journal: "BQ".into(),
        currency: books::currency_input("currency", currency)?
            .code()
            .to_owned(),
    };
    store::bank::insert_account(conn, &row).map_err(|error| {
        books::duplicate(
            error,
            "iban",
            "this bank account is open in this currency already",
        )
    })?;
    Ok(row.id)
}

/// A bank's code as ISO 9362 has it: four letters, the country, two signs of the place and perhaps three of the branch.
fn bic(text: &str) -> Result<String> {
    let bic = plain(text);
    let letters = |part: &str| part.bytes().all(|sign| sign.is_ascii_uppercase());
    let signs = bic
        .bytes()
        .all(|sign| sign.is_ascii_uppercase() || sign.is_ascii_digit());
    match signs && matches!(bic.len(), 8 | 11) && letters(&bic[..6]) {
        true => Ok(bic),
        false => {
            let message = "a BIC has 8 or 11 signs: four letters of the bank, two of its country, then letters or digits";
            Err(Refusal::invalid("bic", message).into())
        }
    }
}

/// A bank account, or `NOT_FOUND`.
fn find_account(
    conn: &mut PgConnection,
    caller: &Caller,
    field: &str,
    id: &str,
) -> Result<Account> {
    let found = match BankAccountId::read(id) {
        Some(id) => store::bank::accounts_by_ids(conn, caller.company, &[id])?.pop(),
        None => None,
    };
    found.ok_or_else(|| Refusal::not_found(field, "bank account").into())
}

fn plain(text: &str) -> String {
    text.chars()
        .filter(|sign| !sign.is_whitespace())
        .map(|sign| sign.to_ascii_uppercase())
        .collect()
}

/// An IBAN, checked when it looks like one, or the bank's own number.
fn number(text: &str) -> Result<String> {
    let number = plain(text);
    let country = number.len() > 4 && number.bytes().take(2).all(|sign| sign.is_ascii_uppercase());
    if country {
        return identity::iban(&number).map_err(|why| Refusal::invalid("iban", why).into());
    }
    let fine =
        (5..=34).contains(&number.len()) && number.bytes().all(|sign| sign.is_ascii_alphanumeric());
    if fine {
        return Ok(number);
    }
    Err(Refusal::invalid(
        "iban",
        "an IBAN, or the bank's own number of 5 to 34 letters and digits",
    )
    .into())
}

/// What a decision pays, and what becomes of the rest; kept with it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Laid {
    pub shares: Vec<Share>,
    pub difference: Difference,
}

impl Laid {
    /// Reads what was kept.
    pub fn of(found: &Match) -> Result<Laid> {
        serde_json::from_value(found.allocations.clone())
            .map_err(|error| Error::Internal(format!("stored match: {error}")))
    }
}

/// What else a decision could have been, as kept.
pub fn alternatives(found: &Match) -> Result<Vec<Alternative>> {
    serde_json::from_value(found.alternatives.clone())
        .map_err(|error| Error::Internal(format!("stored match: {error}")))
}

/// A decision to keep.
struct Record<'a> {
    rule: Rule,
    score: i16,
    outcome: &'a str,
    client: Option<ClientId>,
    evidence: String,
    laid: Laid,
    alternatives: Vec<Alternative>,
    operations: Vec<OperationId>,
}

impl<'a> Record<'a> {
    fn of(rule: Rule, outcome: &'a str, evidence: impl Into<String>) -> Record<'a> {
        Record {
            rule,
            score: 100,
            outcome,
            client: None,
            evidence: evidence.into(),
            laid: Laid::default(),
            alternatives: Vec::new(),
            operations: Vec::new(),
        }
    }

    fn keep(self, conn: &mut PgConnection, caller: &Caller, line: &Line) -> Result<()> {
        let row = Match {
            company_id: caller.company,
            id: BankMatchId::new(),
            line_id: line.id,
            rule: self.rule.number(),
            score: self.score,
            outcome: self.outcome.to_owned(),
            client_id: self.client,
            evidence: self.evidence,
            allocations: json!(self.laid),
            alternatives: json!(self.alternatives),
            operations: json!(self.operations),
            recorded_by: caller.author.clone(),
            // The database's clock says when.
            recorded_at: chrono::DateTime::UNIX_EPOCH,
        };
        Ok(store::bank::insert_match(conn, &row)?)
    }
}

/// Asks a person to look at a line.
fn ask(
    conn: &mut PgConnection,
    caller: &Caller,
    line: &Line,
    kind: TaskKind,
    subject: String,
) -> Result<()> {
    task::ask(conn, caller, kind, None, line.id.0, caller.today, subject)
}

/// The payer of a receipt that came over the bank was named: its line is no longer unknown, and the account is
/// remembered.
pub fn identified(
    conn: &mut PgConnection,
    caller: &Caller,
    payment: PaymentId,
    client: ClientId,
) -> Result<()> {
    let Some(line) = store::bank::line_of_payment(conn, caller.company, payment)? else {
        return Ok(());
    };
    if line.status == LineStatus::Unknown.code() {
        let status = LineStatus::OnAccount.code();
        store::bank::set_status(conn, caller.company, line.id, status, Some(payment))?;
        store::task::finish_of(conn, caller.company, line.id.0, &caller.author)?;
        Record {
            client: Some(client),
            ..Record::of(Rule::ByHand, status, "the payer was named")
        }
        .keep(conn, caller, &line)?;
    }
    learn_from_person(conn, caller, &line, &[client])
}

/// What a person decided is remembered as an account of the payer, with a second person while duties are segregated:
/// else naming a payer once would be a way to change whose money it is for good (R12.1).
fn learn_from_person(
    conn: &mut PgConnection,
    caller: &Caller,
    line: &Line,
    clients: &[ClientId],
) -> Result<()> {
    let iban = line.counterparty_iban.as_deref();
    let Some(iban) = iban.filter(|iban| is_number(iban)) else {
        return Ok(());
    };
    if !books::open(conn, caller)?.company.segregation {
        return learn(conn, caller, line, clients);
    }
    let known = store::bank::clients_of_iban(conn, caller.company, iban)?;
    for client in clients.iter().filter(|client| !known.contains(client)) {
        approval::ask_for_payer(conn, caller, iban, *client)?;
    }
    Ok(())
}

/// Remembers whose account a payer's is.
fn learn(
    conn: &mut PgConnection,
    caller: &Caller,
    line: &Line,
    clients: &[ClientId],
) -> Result<()> {
    let Some(iban) = line
        .counterparty_iban
        .as_deref()
        .filter(|iban| is_number(iban))
    else {
        return Ok(());
    };
    for client in clients {
        store::bank::link(conn, caller.company, iban, *client, &caller.author)?;
    }
    Ok(())
}

fn is_number(iban: &str) -> bool {
    (5..=34).contains(&iban.len())
        && iban
            .bytes()
            .all(|sign| sign.is_ascii_uppercase() || sign.is_ascii_digit())
}

fn wrong_state(field: &str, message: impl Into<String>) -> Error {
    Refusal::new(RefusalCode::WrongState, field, message).into()
}

/// All but the end of an account's number hidden: for roles that record no payments, and for messages that
/// end up in logs.
pub fn masked(iban: &str) -> String {
    let end = iban.get(iban.len().saturating_sub(4)..).unwrap_or_default();
    format!("…{end}")
}

/// A receipt that waits on 471: a person finds out whose it is.
fn who_paid(conn: &mut PgConnection, caller: &Caller, line: &Line) -> Result<()> {
    let shown = books::currency(&line.currency)?.show(line.amount);
    let from = line.counterparty.as_deref().unwrap_or(SOMEBODY);
    let subject = format!("{shown} from {from} on {}: who paid?", line.booked_on);
    ask(conn, caller, line, TaskKind::UnknownReceipt, subject)
}
