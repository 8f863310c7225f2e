//! Letters and notices: a template, the values of a record, and the sheet that comes of both (section 7, R8.4).

mod subjects;

use chrono::{Days, NaiveDate};
use diesel::pg::PgConnection;

use super::books::{self, Books};
use super::dunning::Reminder;
use super::penalty;
use crate::domain::access::Caller;
use crate::domain::calendar::working_day_from;
use crate::domain::ids::{DocumentId, Id, LetterTemplateId};
use crate::domain::letter::{self, Fault, Kind, Language, Paragraph, Template, Values};
use crate::domain::money::Minor;
use crate::domain::print;
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::{Error, Result};
use crate::formats::pdf::{self, Block, Column, Party, Signatory, Table};
use crate::objects::Objects;
use crate::store::client::Client;
use crate::store::mail::TemplateRow;
use crate::store::{self};

pub use subjects::{of_subject, statement};

/// A template in force; version 0 is the one that comes with the product.
#[derive(Clone, Debug)]
pub struct InForce {
    pub kind: Kind,
    pub language: Language,
    pub version: i32,
    pub template: Template,
}

/// The template of a kind in a language: the company's own over the product's.
pub fn template(
    conn: &mut PgConnection,
    caller: &Caller,
    kind: Kind,
    language: Language,
) -> Result<InForce> {
    let own = store::mail::template(conn, caller.company, kind.code(), language.code())?;
    Ok(in_force(kind, language, own))
}

fn in_force(kind: Kind, language: Language, own: Option<TemplateRow>) -> InForce {
    match own {
        Some(row) => InForce {
            kind,
            language,
            version: row.version,
            template: Template {
                subject: row.subject,
                body: row.body,
            },
        },
        None => InForce {
            kind,
            language,
            version: 0,
            template: letter::usual(kind, language),
        },
    }
}

/// Every template in force.
pub fn templates(conn: &mut PgConnection, caller: &Caller) -> Result<Vec<InForce>> {
    let mut own = store::mail::templates(conn, caller.company)?;
    let mut found = Vec::new();
    for kind in Kind::ALL.iter().copied() {
        for language in Language::ALL.iter().copied() {
            let place = own
                .iter()
                .position(|row| row.kind == kind.code() && row.language == language.code());
            found.push(in_force(
                kind,
                language,
                place.map(|at| own.swap_remove(at)),
            ));
        }
    }
    Ok(found)
}

/// Saves the next version of a template, when it says nothing unknown and all that it must (7.3).
pub fn save_template(
    conn: &mut PgConnection,
    caller: &Caller,
    kind: Kind,
    language: Language,
    template: &Template,
) -> Result<()> {
    check(kind, language, template)?;
    let before = self::template(conn, caller, kind, language)?.version;
    let row = TemplateRow {
        company_id: caller.company,
        id: LetterTemplateId::new(),
        kind: kind.code().to_owned(),
        language: language.code().to_owned(),
        version: before + 1,
        subject: template.subject.clone(),
        body: template.body.clone(),
        recorded_by: caller.author.clone(),
    };
    store::mail::insert_template(conn, &row)
        .map_err(|error| books::duplicate(error, "kind", "somebody saved this template just now"))
}

/// Refuses a template that is not one, with the names that are known.
pub fn check(kind: Kind, language: Language, template: &Template) -> Result<()> {
    books::text("subject", &template.subject, 200)?;
    if template.body.trim().is_empty() || template.body.chars().count() > 10_000 {
        return Err(Refusal::invalid("body", "a body has 1 to 10,000 characters").into());
    }
    let Err((field, fault)) = template.check(kind, language) else {
        return Ok(());
    };
    let mut known: Vec<&str> = kind.values();
    if field == "body" {
        known.extend_from_slice(kind.tables());
    }
    Err(match fault {
        Fault::Unknown(name) => Refusal::invalid(
            field,
            format!("{{{{{name}}}}} stands for nothing in this letter"),
        )
        .detail("unknown", name)
        .detail("known", known),
        Fault::Broken(why) => Refusal::invalid(field, format!("the template is broken: {why}")),
        Fault::Missing(what) => Refusal::new(
            RefusalCode::MentionMissing,
            field,
            format!("this letter has to say {what}"),
        )
        .detail("missing", what),
    }
    .into())
}

/// A letter that was composed: its sheet, and the same as plain text for a mail.
#[derive(Clone, Debug)]
pub struct Composed {
    pub kind: Kind,
    pub version: i32,
    pub subject: String,
    pub text: String,
    pub sheet: pdf::Letter,
}

impl Composed {
    /// The PDF.
    pub fn pdf(&self) -> Result<Vec<u8>> {
        Ok(pdf::letter(&self.sheet)?)
    }
}

/// What goes into a letter beside the company's own values.
pub struct Content {
    /// To whom: name and address.
    pub recipient: Party,
    /// How it travels.
    pub delivery: Option<&'static str>,
    pub references: Vec<(String, String)>,
    pub values: Values,
    /// By the names that `Kind::tables` has.
    pub tables: Vec<(&'static str, Table)>,
}

/// Writes letters for one company on one day.
pub struct Writer<'a> {
    pub books: Books,
    pub objects: &'a Objects,
    pub caller: &'a Caller,
    pub on: NaiveDate,
}

impl<'a> Writer<'a> {
    /// A writer of the caller's company.
    pub fn new(
        conn: &mut PgConnection,
        caller: &'a Caller,
        objects: &'a Objects,
        on: NaiveDate,
    ) -> Result<Writer<'a>> {
        Ok(Writer {
            books: books::open(conn, caller)?,
            objects,
            caller,
            on,
        })
    }

    /// Puts a letter together.
    pub fn compose(
        &self,
        conn: &mut PgConnection,
        used: &InForce,
        currency: &str,
        mut content: Content,
    ) -> Result<Composed> {
        let head = &self.books.settings.letterhead;
        let company = &self.books.company;
        // Of the claims' currency, else any: a formal notice names the means of payment (7.3).
        let account = store::bank::accounts(conn, self.caller.company)?
            .into_iter()
            .min_by_key(|account| account.currency != currency);
        let mut add = |name, value: String| {
            content.values.insert(name, value);
        };
        add("company", company.name.clone());
        add("siren", company.siren.clone().unwrap_or_default());
        add("phone", head.phone.clone());
        add("email", head.email.clone());
        add("author", head.signatory.clone());
        add("today", print::day(self.on, used.language));
        if let Some(account) = account {
            add("iban", in_fours(&account.iban));
            add("bic", account.bic.unwrap_or_default());
        }
        let subject = used.template.subject(&content.values);
        let (mut blocks, mut text) = (Vec::new(), String::new());
        for paragraph in used.template.paragraphs(used.kind, &content.values) {
            if !text.is_empty() {
                text.push_str("\n\n");
            }
            match paragraph {
                Paragraph::Text(said) => {
                    text.push_str(&said);
                    blocks.push(Block::Text { text: said });
                }
                Paragraph::Table(name) => {
                    let table = content.tables.iter().find(|(known, _)| *known == name);
                    let table = table.map(|(_, table)| table.clone()).unwrap_or_default();
                    text.push_str(&plain(&table));
                    blocks.push(Block::Table(table));
                }
            }
        }
        let (sender, signatory, images) = self.letterhead(conn)?;
        Ok(Composed {
            kind: used.kind,
            version: used.version,
            subject: subject.clone(),
            text,
            sheet: pdf::Letter {
                language: used.language.code().to_lowercase(),
                sender,
                recipient: content.recipient,
                delivery: content.delivery.map(str::to_owned),
                dated: self.dated(used.language),
                references: content.references,
                subject,
                blocks,
                signatory,
                footer: self.footer(),
                images,
            },
        })
    }

    fn dated(&self, language: Language) -> String {
        let day = print::long_day(self.on, language);
        match (self.books.settings.letterhead.city.as_str(), language) {
            ("", _) => day,
            (city, Language::French) => format!("{city}, le {day}"),
            (city, Language::English) => format!("{city}, {day}"),
        }
    }

    /// Name, form, capital, registration: what identifies the creditor (7.3).
    fn footer(&self) -> String {
        let (company, head) = (&self.books.company, &self.books.settings.letterhead);
        let siren = company.siren.as_ref().map(|siren| format!("SIREN {siren}"));
        let vat = company.vat_number.as_ref().map(|vat| format!("TVA {vat}"));
        let parts = [
            Some(company.name.clone()),
            Some(head.legal_form.clone()),
            Some(head.registration.clone())
                .filter(|text| !text.is_empty())
                .or(siren),
            vat,
            company
                .address
                .as_ref()
                .map(|address| address.replace('\n', ", ")),
        ];
        let parts: Vec<String> = parts
            .into_iter()
            .flatten()
            .filter(|part| !part.is_empty())
            .collect();
        parts.join(" — ")
    }

    #[expect(clippy::type_complexity, reason = "the three parts of a letterhead")]
    fn letterhead(
        &self,
        conn: &mut PgConnection,
    ) -> Result<(Party, Signatory, Vec<(String, Vec<u8>)>)> {
        let (company, head) = (&self.books.company, &self.books.settings.letterhead);
        let mut images = Vec::new();
        let mut image =
            |conn: &mut PgConnection, kind: &str, stem: &str| -> Result<Option<String>> {
                let kept =
                    store::file::latest(conn, self.caller.company, self.caller.company.0, kind)?;
                let Some(kept) = kept else {
                    return Ok(None);
                };
                let bytes = self.objects.get(self.caller.company, &kept.sha256)?;
                let name = pdf::image_name(stem, &bytes);
                images.push((name.clone(), bytes));
                Ok(Some(name))
            };
        let logo = image(conn, "LOGO", "logo")?;
        let signature = image(conn, "SIGNATURE", "signature")?;
        let mut lines = address(company.address.as_deref());
        lines.extend(
            [&head.phone, &head.email]
                .into_iter()
                .filter(|line| !line.is_empty())
                .cloned(),
        );
        let sender = Party {
            name: company.name.clone(),
            lines,
            logo,
        };
        let signatory = Signatory {
            name: if head.signatory.is_empty() {
                company.name.clone()
            } else {
                head.signatory.clone()
            },
            title: head.signatory_title.clone(),
            image: signature,
        };
        Ok((sender, signatory, images))
    }

    /// A reminder: what is claimed, with penalties and the flat indemnity where the level states them (R6.12).
    pub fn reminder(
        &self,
        conn: &mut PgConnection,
        used: &InForce,
        reminder: &Reminder,
    ) -> Result<Composed> {
        let Some(level) = &reminder.level else {
            return Err(Error::Internal(
                "a letter for a reminder that is not due".into(),
            ));
        };
        let language = used.language;
        let currency = books::currency(&reminder.currency)?;
        let money = |minor: Minor| print::amount(minor, currency, language);
        let listed: Vec<_> = reminder
            .items
            .iter()
            .filter(|item| item.verdict.listed_at(level.level))
            .collect();
        let ids: Vec<DocumentId> = listed
            .iter()
            .filter_map(|item| item.open.invoice_id.map(DocumentId))
            .collect();
        let invoices = store::document::by_ids(conn, self.caller.company, &ids)?;
        let states = level.interest && reminder.chosen.scenario.between_professionals;
        let costs = match states {
            true => penalty::late(conn, self.caller, &invoices, self.on)?,
            false => Vec::new(),
        };
        // What is in dispute is claimed only when the dispute is rejected (R8.5).
        let costs: Vec<_> = costs.iter().filter(|cost| !cost.disputed).collect();
        let interest: Minor = costs.iter().map(|cost| cost.claimable_interest()).sum();
        let indemnity: Minor = costs.iter().map(|cost| cost.claimable_indemnity()).sum();
        let claimed: Minor = listed.iter().map(|item| item.verdict.claimed).sum();
        let disputed: Minor = listed
            .iter()
            .map(|item| item.facts.blocked.min(item.open.open))
            .sum();
        let net = claimed - reminder.credits.min(claimed);
        let oldest = listed.iter().filter_map(|item| item.open.due_on).min();
        let mut values = Values::new();
        let mut add = |name, value: String| {
            values.insert(name, value);
        };
        let shown = |minor: Minor| {
            if minor > 0 {
                money(minor)
            } else {
                String::new()
            }
        };
        add("total", money(claimed));
        add("count", listed.len().to_string());
        add("credits", shown(reminder.credits));
        add("net", money(net));
        add("disputed", shown(disputed));
        add("penalties", shown(interest));
        add("indemnity", shown(indemnity));
        add("grandTotal", money(net + interest + indemnity));
        add("deadline", print::day(deadline(self.on), language));
        add(
            "oldestDue",
            oldest
                .map(|due| print::day(due, language))
                .unwrap_or_default(),
        );
        let days = oldest.map(|due| (self.on - due).num_days().max(0));
        add("days", days.unwrap_or_default().to_string());
        // Every rate that the figures come from, in the order of its days: a half-year may bring another one.
        let mut rates: Vec<_> = costs.iter().flat_map(|cost| &cost.segments).collect();
        rates.sort_by_key(|part| (part.from, part.rate));
        let mut told: Vec<String> = Vec::new();
        for part in rates {
            let shown = print::percent(part.rate, language);
            if !told.contains(&shown) {
                told.push(shown);
            }
        }
        let then = match language {
            Language::French => " puis ",
            Language::English => ", then ",
        };
        add("rate", told.join(then));
        let public = reminder.client.segment == "PUBLIC";
        let law = match (language, public) {
            (Language::French, false) => "articles L441-10 et D441-5 du code de commerce",
            (Language::French, true) => {
                "articles L2192-13 et D2192-35 du code de la commande publique"
            }
            (Language::English, false) => {
                "articles L441-10 and D441-5 of the French commercial code"
            }
            (Language::English, true) => {
                "articles L2192-13 and D2192-35 of the French public procurement code"
            }
        };
        add("law", law.to_owned());
        let mut orders: Vec<String> = invoices
            .iter()
            .filter_map(|it| it.purchase_order.clone())
            .collect();
        orders.sort();
        orders.dedup();
        add("order", orders.join(", "));
        client_values(&mut values, &reminder.client);
        let formal = used.kind == Kind::FormalNotice;
        let table = subjects::claims_table(
            &listed, &invoices, &costs, currency, language, self.on, formal,
        );
        let registered = matches!(
            level.channel,
            crate::domain::dunning::Channel::RegisteredLetter
                | crate::domain::dunning::Channel::ElectronicRegisteredLetter
        );
        let content = Content {
            recipient: client_party(&reminder.client),
            delivery: registered.then_some(match language {
                Language::French => "Lettre recommandée avec avis de réception",
                Language::English => "Registered letter with acknowledgment of receipt",
            }),
            references: vec![account_reference(&reminder.client, language)],
            values,
            tables: vec![("items", table)],
        };
        self.compose(conn, used, &reminder.currency, content)
    }
}

/// Eight days to pay, the last of them a working day (7.3).
fn deadline(on: NaiveDate) -> NaiveDate {
    on.checked_add_days(Days::new(8))
        .map_or(on, working_day_from)
}

/// The language that a client is written to in.
pub fn language_of(client: &Client) -> Language {
    Language::read(&client.language).unwrap_or(Language::French)
}

fn client_values(values: &mut Values, client: &Client) {
    values.insert("client", client.name.clone());
    values.insert("account", client.number.clone());
    values.insert("clientSiren", client.siren.clone().unwrap_or_default());
}

/// A letter goes to the company or person concerned, never to relatives or an employer (7.3).
fn client_party(client: &Client) -> Party {
    let mut lines = address(client.address.as_deref());
    lines.extend(client.siren.as_ref().map(|siren| format!("SIREN {siren}")));
    Party {
        name: client.name.clone(),
        lines,
        logo: None,
    }
}

fn account_reference(client: &Client, language: Language) -> (String, String) {
    let label = match language {
        Language::French => "Votre compte",
        Language::English => "Your account",
    };
    (label.to_owned(), client.number.clone())
}

fn address(text: Option<&str>) -> Vec<String> {
    text.unwrap_or_default()
        .split(['\n', ','])
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// `FR76 3000 1007 …`.
fn in_fours(iban: &str) -> String {
    let signs: Vec<char> = iban.chars().collect();
    let groups: Vec<String> = signs
        .chunks(4)
        .map(|group| group.iter().collect())
        .collect();
    groups.join("\u{a0}")
}

/// A table in a mail of plain text: a line a row.
fn plain(table: &Table) -> String {
    let row = |cells: &[String]| {
        cells
            .iter()
            .filter(|cell| !cell.is_empty())
            .map(|cell| cell.replace('\n', " "))
            .collect::<Vec<_>>()
            .join(" | ")
    };
    let titles: Vec<String> = table
        .columns
        .iter()
        .map(|column| column.title.clone())
        .collect();
    let mut lines = vec![row(&titles)];
    lines.extend(table.rows.iter().map(|cells| row(cells)));
    if !table.total.is_empty() {
        lines.push(row(&table.total));
    }
    lines.join("\n")
}

fn column(title: &str, right: bool) -> Column {
    Column {
        title: title.to_owned(),
        right,
        wide: false,
    }
}
