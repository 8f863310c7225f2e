//! A made-up company to try things out: its members, clients, and eighteen months of documents.
//!
//! Everything after the company itself goes through the ordinary services, as a member would.

mod closing;
mod names;
mod story;

use std::collections::HashMap;

use chrono::{Datelike, Duration, NaiveDate};
use diesel::Connection;
use diesel::pg::PgConnection;
use rust_decimal::Decimal;

use self::names::{CLIENTS, PEOPLE, Row};
use self::story::{Act, Sale, Step};
use super::client::{CreditTerms, Identity};
use super::credit_note::CreditNoteInput;
use super::dispute::{DeductionInput, DisputeInput, Resolution};
use super::invoice::{InstallmentInput, InvoiceInput, LineInput};
use super::payment::{Learning, PaymentInput};
use super::provision::AssessmentInput;
use super::reference::{ItemRef, Ref};
use super::{client, company, credit_note, dispute, invoice, law, matching, payment, provision};
use crate::domain::access::{Caller, Role};
use crate::domain::identity;
use crate::domain::ids::{
    AllocationId, CompanyId, DeductionId, DisputeId, DocumentId, Id, PaymentId, UserId,
};
use crate::domain::money::{Currency, Minor};
use crate::domain::terms::PaymentTerms;
use crate::error::{Error, Result};
use crate::store;

/// The password of every member of the demo.
pub const PASSWORD: &str = "demo-encours";
/// Steps per transaction.
const BATCH: usize = 25;

/// The demo company and who may log in.
pub struct Demo {
    pub company: CompanyId,
    /// Role, id and e-mail address.
    pub members: Vec<(Role, UserId, String)>,
}

/// Loads the demo company unless the database holds a company already (then `None`).
pub fn load(owner_url: &str, db: &store::Db, today: NaiveDate) -> Result<Option<Demo>> {
    let Some(demo) = found(owner_url)? else {
        return Ok(None);
    };
    let callers = demo
        .members
        .iter()
        .map(|(role, user, email)| Caller {
            company: demo.company,
            user: Some(*user),
            author: email.clone(),
            role: *role,
            scopes: None,
            today,
            approval: None,
        })
        .collect();
    let mut writer = Writer {
        callers,
        done: Done::default(),
    };
    let positions: Vec<usize> = (0..CLIENTS.len()).collect();
    for batch in positions.chunks(BATCH) {
        db.write_now(&writer.callers[names::ADMIN], |conn, caller| {
            batch
                .iter()
                .try_for_each(|position| open_client(conn, caller, &writer.callers, *position))
        })?;
    }
    let accountant = writer.callers[names::ACCOUNTANT].clone();
    let law = db.write_now(&accountant, |conn, _| {
        law::terms(conn)?
            .on(today)
            .map_err(|error| law::not_covered("today", &error))
    })?;
    for batch in story::plan(today, law).chunks(BATCH) {
        db.write_now(&accountant, |conn, _| {
            batch.iter().try_for_each(|step| writer.write(conn, step))
        })?;
    }
    closing::write(db, &writer.callers)?;
    Ok(Some(demo))
}

/// The company and its members, in one transaction of the owner.
fn found(owner_url: &str) -> Result<Option<Demo>> {
    let mut conn = store::owner(owner_url)?;
    conn.transaction(|conn| {
        if !store::company::all(conn)?.is_empty() {
            return Ok(None);
        }
        let company = company::create(
            conn,
            "Atelier Lumière (démo)",
            Some(&siren(1)),
            "EUR",
            false,
            1,
        )?;
        store::enter(conn, company)?;
        let mut members = Vec::with_capacity(PEOPLE.len());
        for (role, email, name) in PEOPLE {
            let user = store::member::save_user(
                conn,
                email,
                name,
                Some(&crate::service::member::hash_password(PASSWORD)?),
            )?;
            store::member::save_membership(conn, company, user, role.code())?;
            members.push((*role, user, (*email).to_owned()));
        }
        Ok(Some(Demo { company, members }))
    })
}

/// Digits with the check digit of Luhn's formula behind them.
fn with_check_digit(digits: &str) -> String {
    let sum: u32 = digits
        .chars()
        .rev()
        .filter_map(|digit| digit.to_digit(10))
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, double) if double > 9 => double - 9,
            (0, double) => double,
            _ => digit,
        })
        .sum();
    format!("{digits}{}", (10 - sum % 10) % 10)
}

/// A SIREN of a range that is not given out.
fn siren(position: usize) -> String {
    with_check_digit(&format!("009{:05}", 10_007 + position * 613))
}

fn number(position: usize) -> String {
    format!("C{:03}", position + 1)
}

fn named(position: usize) -> Ref {
    Ref::Number(number(position))
}

/// Cents of a table as an amount.
fn cents(cents: i64) -> Decimal {
    Decimal::new(cents, 2)
}

fn open_client(
    conn: &mut PgConnection,
    caller: &Caller,
    callers: &[Caller],
    position: usize,
) -> Result<()> {
    let row = &CLIENTS[position];
    let business = row.kind == "CUSTOMER" && row.segment != "CONSUMER" && row.currency == "EUR";
    let siren = business.then(|| siren(position + 2));
    let vat_number = siren
        .as_deref()
        .map(identity::french_vat_number)
        .transpose()
        .map_err(|why| Error::Internal(format!("demo client {position}: {why}")))?;
    let identity = Identity {
        number: Some(number(position)),
        name: Some(row.name.to_owned()),
        kind: Some(row.kind),
        segment: Some(row.segment),
        siret: siren
            .as_ref()
            .map(|siren| with_check_digit(&format!("{siren}0001"))),
        siren,
        vat_number,
        address: Some(row.address.to_owned()),
        currency: Some(row.currency.to_owned()),
        sales_owner: callers[names::SALES[position % 2]].user,
        collector: callers[names::COLLECTORS[(position / 2) % 2]].user,
        ..Identity::default()
    };
    client::create(
        conn,
        caller,
        &identity,
        &credit_terms(row, position, caller.today),
    )?;
    if row.segment != "CONSUMER" {
        let contact = names::CONTACTS[position % names::CONTACTS.len()];
        let email = format!("compta@{}.example", number(position).to_lowercase());
        client::add_contact(
            conn,
            caller,
            &named(position),
            "ACCOUNTING",
            contact,
            Some(&email),
            Some(&format!("01 99 00 {:02} {:02}", position, 10 + position)),
        )?;
    }
    Ok(())
}

fn credit_terms(row: &Row, position: usize, today: NaiveDate) -> CreditTerms {
    let (rule, days, then_day) = row.terms;
    let cover = names::INSURED
        .iter()
        .find(|(insured, _, _)| *insured == position);
    let limit = match row.segment {
        "LARGE_GROUP" => Some(120_000),
        "SME" => Some(30_000),
        "NEW_OR_RISKY" => Some(5_000),
        _ => None,
    };
    CreditTerms {
        terms: Some(PaymentTerms {
            rule,
            days,
            then_day,
        }),
        credit_limit: limit.map(Decimal::from),
        insured_percent: cover.map(|(_, percent, _)| Decimal::from(*percent)),
        insured_limit: cover.map(|(_, _, limit)| Decimal::from(*limit)),
        insolvency: match position {
            names::LIQUIDATED => Some("LIQUIDATION"),
            names::IN_RECEIVERSHIP => Some("RECEIVERSHIP"),
            _ => None,
        },
        insolvency_on: match position {
            names::LIQUIDATED => Some(today - Duration::days(75)),
            names::IN_RECEIVERSHIP => Some(today - Duration::days(120)),
            _ => None,
        },
        insolvency_published_on: match position {
            names::LIQUIDATED => Some(today - Duration::days(68)),
            names::IN_RECEIVERSHIP => Some(today - Duration::days(112)),
            _ => None,
        },
        penalty_rate: None,
        no_limit: false,
    }
}

/// The rate of a foreign invoice or receipt: it wanders a little from month to month.
fn rate(currency: &str, on: NaiveDate) -> Option<Decimal> {
    let wander = i64::from(on.month() * 7 % 12);
    match currency {
        "USD" => Some(Decimal::new(8_700 + wander * 20, 4)),
        "GBP" => Some(Decimal::new(11_500 + wander * 15, 4)),
        _ => None,
    }
}

/// What was made so far, by the story's own keys.
#[derive(Default)]
struct Done {
    invoices: HashMap<usize, DocumentId>,
    payments: HashMap<usize, PaymentId>,
    allocations: HashMap<usize, Vec<AllocationId>>,
    disputes: HashMap<usize, DisputeId>,
    deductions: HashMap<usize, DeductionId>,
}

fn known<T: Copy>(made: &HashMap<usize, T>, key: usize) -> Result<T> {
    made.get(&key).copied().ok_or_else(|| {
        Error::Internal(format!("the demo's story comes to {key} before it is made"))
    })
}

/// Writes the story, step by step.
struct Writer {
    callers: Vec<Caller>,
    done: Done,
}

impl Writer {
    /// A member on a day of the story.
    fn caller(&self, position: usize, on: NaiveDate) -> Caller {
        Caller {
            today: on,
            ..self.callers[position].clone()
        }
    }

    fn write(&mut self, conn: &mut PgConnection, step: &Step) -> Result<()> {
        let on = step.on;
        let caller = &self.caller(names::ACCOUNTANT, on);
        match &step.act {
            Act::Invoice {
                invoice,
                client,
                sales,
                parts,
            } => self.invoice(conn, caller, *invoice, *client, sales, parts),
            Act::Draft { client, sales } => invoice::save_draft(
                conn,
                caller,
                None,
                &named(*client),
                &invoice_input(*client, sales, on),
            )
            .map(drop),
            Act::Pay {
                key,
                client,
                method,
                pays,
            } => self.pay(conn, caller, *key, *client, method, pays),
            Act::OnAccount {
                client,
                method,
                cents,
            } => {
                let input = PaymentInput {
                    client: Some(named(*client)),
                    ..receipt(on, method, self::cents(*cents))
                };
                payment::record(conn, caller, &input).map(drop)
            }
            Act::Unknown { key, payer, cents } => {
                let input = PaymentInput {
                    payer: Some((*payer).to_owned()),
                    ..receipt(on, "TRANSFER", self::cents(*cents))
                };
                let made = payment::record(conn, caller, &input)?;
                self.done.payments.insert(*key, made.payment);
                Ok(())
            }
            Act::Identify { key, client } => payment::identify(
                conn,
                caller,
                &self.payment(*key)?,
                &named(*client),
                Some(on),
                Learning::Account,
            )
            .map(drop),
            Act::Return { key, reason } => payment::record_return(
                conn,
                caller,
                &self.payment(*key)?,
                &payment::ReturnInput {
                    on: Some(on),
                    reason: Some((*reason).to_owned()),
                    fee: Some(cents(1_800)),
                    late_entry: false,
                },
            )
            .map(drop),
            Act::Unmatch { key } => self.unmatch(conn, caller, *key),
            Act::AutoMatch { client } => {
                matching::auto_allocate(conn, caller, &named(*client), Some(on)).map(drop)
            }
            Act::Credit {
                invoice,
                percent,
                matched,
            } => self.credit(conn, caller, *invoice, *percent, *matched),
            Act::Rebate { client, cents } => rebate(conn, caller, *client, *cents),
            Act::Deduct {
                invoice,
                reason,
                note,
            } => self.deduct(conn, caller, *invoice, reason, note),
            Act::Dispute {
                invoice,
                reason,
                percent,
                note,
            } => self.dispute(conn, caller, *invoice, reason, *percent, note),
            Act::Move { invoice, status } => self.step(conn, caller, *invoice, status),
            Act::Resolve {
                invoice,
                outcome,
                by_sales,
            } => self.resolve(conn, on, *invoice, outcome, *by_sales),
            Act::Assess { client, percent } => {
                assess(conn, &self.caller(names::CREDIT, on), *client, *percent)
            }
            Act::Opening { client, euros } => provision::record_opening(
                conn,
                caller,
                &named(*client),
                Decimal::from(*euros),
                Some(on),
            )
            .map(drop),
        }
    }

    fn payment(&self, key: usize) -> Result<Ref> {
        known(&self.done.payments, key).map(|id| Ref::Id(id.show()))
    }

    fn document(&self, invoice: usize) -> Result<Ref> {
        known(&self.done.invoices, invoice).map(|id| Ref::Id(id.show()))
    }

    /// What an invoice has open, with its currency.
    fn open(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        invoice: usize,
    ) -> Result<(Minor, Currency)> {
        let id = known(&self.done.invoices, invoice)?;
        let items = store::item::by_sources(conn, caller.company, &[id.0])?;
        let code = items.first().map_or("EUR", |item| item.currency.as_str());
        Ok((
            items.iter().map(|item| item.open_amount).sum(),
            super::books::currency(code)?,
        ))
    }

    fn invoice(
        &mut self,
        conn: &mut PgConnection,
        caller: &Caller,
        invoice: usize,
        client: usize,
        sales: &[Sale],
        parts: &[i64],
    ) -> Result<()> {
        let mut input = invoice_input(client, sales, caller.today);
        if CLIENTS[client].segment == "PUBLIC" {
            input.purchase_order = Some(format!("BC-{:05}", 20_000 + invoice * 7));
        }
        let currency: Currency = super::books::currency(CLIENTS[client].currency)?;
        let total = invoice::work_out(
            caller,
            DocumentId::new(),
            &input.lines,
            currency,
            "706000",
            None,
        )?
        .total();
        input.installments = installments(total, currency, caller.today, parts);
        let id = invoice::issue(conn, caller, &named(client), &input)?;
        self.done.invoices.insert(invoice, id);
        Ok(())
    }

    /// A receipt over shares of what is open; nothing happens when nothing is.
    fn pay(
        &mut self,
        conn: &mut PgConnection,
        caller: &Caller,
        key: usize,
        client: usize,
        method: &'static str,
        pays: &[(usize, i64)],
    ) -> Result<()> {
        let (mut total, mut allocations, mut numbers) = (Decimal::ZERO, Vec::new(), Vec::new());
        for (invoice, percent) in pays {
            let (open, currency) = self.open(conn, caller, *invoice)?;
            let amount = currency.decimal(open * percent / 100);
            if amount.is_zero() {
                continue;
            }
            let id = known(&self.done.invoices, *invoice)?;
            numbers.extend(
                store::document::by_id(conn, caller.company, id)?.map(|document| document.number),
            );
            allocations.push((
                ItemRef {
                    id: Some(id.show()),
                    ..ItemRef::default()
                },
                Some(amount),
            ));
            total += amount;
        }
        if total.is_zero() {
            return Ok(());
        }
        let input = PaymentInput {
            client: Some(named(client)),
            exchange_rate: rate(CLIENTS[client].currency, caller.today),
            remittance: Some(format!("Règlement {}", numbers.join(" "))),
            matures_on: (method == "BILL").then(|| caller.today + Duration::days(60)),
            allocations,
            ..receipt(caller.today, method, total)
        };
        let made = payment::record(conn, caller, &input)?;
        self.done.payments.insert(key, made.payment);
        self.done.allocations.insert(key, made.allocations);
        Ok(())
    }

    fn unmatch(&mut self, conn: &mut PgConnection, caller: &Caller, key: usize) -> Result<()> {
        for allocation in self.done.allocations.get(&key).into_iter().flatten() {
            matching::unallocate(
                conn,
                caller,
                *allocation,
                Some(caller.today),
                Some("Erreur d'imputation"),
            )?;
        }
        Ok(())
    }

    fn credit(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        invoice: usize,
        percent: i64,
        matched: bool,
    ) -> Result<()> {
        let (open, currency) = self.open(conn, caller, invoice)?;
        let amount = open * percent / 100;
        if amount == 0 {
            return Ok(());
        }
        let input = CreditNoteInput {
            invoice: Some(self.document(invoice)?),
            issued_on: Some(caller.today),
            amount: Some(currency.decimal(amount)),
            allocate: matched,
            reason: Some("Geste commercial".to_owned()),
            ..CreditNoteInput::default()
        };
        credit_note::issue(conn, caller, &input).map(drop)
    }

    fn deduct(
        &mut self,
        conn: &mut PgConnection,
        caller: &Caller,
        invoice: usize,
        reason: &str,
        note: &str,
    ) -> Result<()> {
        let input = DeductionInput {
            invoice: self.document(invoice)?,
            amount: None,
            reason: reason.to_owned(),
            recorded_on: Some(caller.today),
            owner: self.callers[names::SALES[invoice % 2]].user,
            description: note.to_owned(),
        };
        let deduction = dispute::deduct(conn, caller, &input)?;
        let opened = store::dispute::of_deductions(conn, caller.company, &[deduction])?;
        self.done.deductions.insert(invoice, deduction);
        self.done
            .disputes
            .extend(opened.first().map(|dispute| (invoice, dispute.id)));
        Ok(())
    }

    fn dispute(
        &mut self,
        conn: &mut PgConnection,
        caller: &Caller,
        invoice: usize,
        reason: &str,
        percent: i64,
        note: &str,
    ) -> Result<()> {
        let (open, currency) = self.open(conn, caller, invoice)?;
        let input = DisputeInput {
            invoice: self.document(invoice)?,
            kind: None,
            reason: reason.to_owned(),
            amount: Some(currency.decimal(open * percent / 100)),
            opened_on: Some(caller.today),
            respond_by: None,
            owner: self.callers[names::SALES[invoice % 2]].user,
            description: note.to_owned(),
            reopens: None,
        };
        let id = dispute::open(conn, caller, &input)?;
        self.done.disputes.insert(invoice, id);
        Ok(())
    }

    fn step(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        invoice: usize,
        status: &'static str,
    ) -> Result<()> {
        let target = Ref::Id(known(&self.done.disputes, invoice)?.show());
        dispute::update(
            conn,
            caller,
            &target,
            None,
            None,
            Some(status),
            Some("Dossier transmis au service concerné"),
        )
        .map(drop)
    }

    fn resolve(
        &self,
        conn: &mut PgConnection,
        on: NaiveDate,
        invoice: usize,
        outcome: &'static str,
        by_sales: bool,
    ) -> Result<()> {
        // The wall is the accountant's; only the right to decide is the sales person's.
        let caller = &self.caller(
            if by_sales {
                names::SALES[invoice % 2]
            } else {
                names::ACCOUNTANT
            },
            on,
        );
        let target = known(&self.done.disputes, invoice)?;
        let accepted = match (
            outcome,
            store::dispute::by_id(conn, caller.company, target)?,
        ) {
            ("PARTLY_ACCEPTED", Some(dispute)) => {
                Some(super::books::currency(&dispute.currency)?.decimal(dispute.amount / 2))
            }
            _ => None,
        };
        let input = Resolution {
            outcome,
            accepted_amount: accepted,
            credit_note: None,
            credit_note_number: None,
            closed_on: Some(on),
            note: Some("Décision communiquée au client".to_owned()),
        };
        match self.done.deductions.get(&invoice) {
            Some(deduction) => {
                dispute::resolve_deduction(conn, caller, &Ref::Id(deduction.show()), &input)
                    .map(drop)
            }
            None => dispute::resolve(conn, caller, &Ref::Id(target.show()), &input).map(drop),
        }
    }
}

fn line(sale: &Sale) -> LineInput {
    let (article, quantity, discount) = sale;
    let (description, price, vat, account) = **article;
    LineInput {
        description: description.to_owned(),
        quantity: Decimal::from(*quantity),
        unit_price: cents(price),
        discount_percent: (*discount > 0).then(|| Decimal::from(*discount)),
        vat_rate: Decimal::new(vat, 1),
        account: Some(account.to_owned()),
    }
}

fn invoice_input(client: usize, sales: &[Sale], on: NaiveDate) -> InvoiceInput {
    InvoiceInput {
        issued_on: Some(on),
        exchange_rate: rate(CLIENTS[client].currency, on),
        lines: sales.iter().map(line).collect(),
        ..InvoiceInput::default()
    }
}

/// Equal parts; the last one takes what division leaves.
fn installments(
    total: Minor,
    currency: Currency,
    issued_on: NaiveDate,
    parts: &[i64],
) -> Vec<InstallmentInput> {
    let count = Minor::try_from(parts.len()).unwrap_or(1).max(1);
    let part = total / count;
    parts
        .iter()
        .zip(1..)
        .map(|(after, position)| {
            let amount = if position == count {
                total - part * (count - 1)
            } else {
                part
            };
            InstallmentInput {
                due_on: issued_on + Duration::days(*after),
                amount: currency.decimal(amount),
            }
        })
        .collect()
}

/// A receipt with neither client nor allocations yet.
fn receipt(on: NaiveDate, method: &'static str, amount: Decimal) -> PaymentInput {
    PaymentInput {
        client: None,
        payer: None,
        number: None,
        external_ref: None,
        received_on: Some(on),
        method,
        amount,
        currency: None,
        exchange_rate: None,
        remittance: None,
        matures_on: None,
        deposit: None,
        bank_account: None,
        late_entry: false,
        allocations: Vec::new(),
    }
}

/// A rebate that no single invoice stands behind: it names its period.
fn rebate(conn: &mut PgConnection, caller: &Caller, client: usize, amount: i64) -> Result<()> {
    const REBATE: &str = "Ristourne sur chiffre d'affaires";
    let until = caller.today;
    let input = CreditNoteInput {
        client: Some(named(client)),
        issued_on: Some(until),
        period: Some((until - Duration::days(90), until - Duration::days(1))),
        lines: vec![LineInput {
            description: REBATE.to_owned(),
            quantity: Decimal::ONE,
            unit_price: cents(amount),
            discount_percent: None,
            vat_rate: Decimal::from(20),
            account: None,
        }],
        reason: Some(REBATE.to_owned()),
        ..CreditNoteInput::default()
    };
    credit_note::issue(conn, caller, &input).map(drop)
}

fn assess(conn: &mut PgConnection, caller: &Caller, client: usize, percent: i64) -> Result<()> {
    let input = AssessmentInput {
        client: named(client),
        invoice: None,
        rate_percent: Decimal::from(percent),
        reason: "Redressement judiciaire : dividende attendu de 40 % selon le projet de plan"
            .to_owned(),
        evidence: vec![
            "Déclaration de créance, accusé du mandataire".to_owned(),
            "Mise en demeure restée sans réponse".to_owned(),
        ],
        deductible: true,
        valid_from: Some(caller.today),
        valid_to: None,
    };
    provision::assess(conn, caller, &input).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sirens_and_sirets_of_the_demo_are_valid() {
        for position in 0..CLIENTS.len() + 2 {
            let siren = siren(position);
            assert_eq!(identity::siren(&siren), Ok(siren.clone()));
            assert!(identity::siret(&with_check_digit(&format!("{siren}0001"))).is_ok());
        }
    }
}
