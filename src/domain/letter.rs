//! Letters and notices: their kinds, and the small language of their templates.
//!
//! `{{name}}` stands for a value, `{{#name}} … {{/name}}` is kept when the value is not empty, and a paragraph
//! that is nothing but the name of a table is that table. Nothing else has a meaning: a template can neither
//! compute nor reach anything, and a name that the kind does not know is refused when the template is saved.

use std::collections::BTreeMap;

use super::access::codes;
use super::dunning::Tone;

codes! {
    /// What a letter is.
    Kind {
        /// Before the due date (level 0).
        Courtesy = "COURTESY",
        /// The first reminder: an oversight is assumed.
        FirstReminder = "FIRST_REMINDER",
        /// After the call of level 2.
        CallFollowUp = "CALL_FOLLOW_UP",
        /// The firm reminder, with penalties and the flat indemnity.
        FirmReminder = "FIRM_REMINDER",
        /// The last amicable letter.
        LastReminder = "LAST_REMINDER",
        /// Mise en demeure (7.3).
        FormalNotice = "FORMAL_NOTICE",
        /// Relevé de compte.
        Statement = "STATEMENT",
        /// Avis de litige: to the department that has to answer.
        DisputeNotice = "DISPUTE_NOTICE",
        /// Avis de déduction: to the client who paid less.
        DeductionNotice = "DEDUCTION_NOTICE",
        /// Confirmation of a promise to pay.
        PromiseConfirmation = "PROMISE_CONFIRMATION",
        /// Confirmation of a payment plan.
        PlanConfirmation = "PLAN_CONFIRMATION",
        /// Bordereau de remise: goes to the bank with cheques or bills.
        RemittanceSlip = "REMITTANCE_SLIP",
        /// Duplicate of an unpaid invoice that recovers its VAT (CGI 272).
        RectifiedInvoice = "RECTIFIED_INVOICE",
    }
}

codes! {
    /// The language of a letter.
    Language {
        /// French.
        French = "FR",
        /// English.
        English = "EN",
    }
}

impl Kind {
    /// The letter that speaks in a tone; none for a file that goes to the next stage.
    pub fn of_tone(tone: Tone) -> Option<Kind> {
        match tone {
            Tone::Courtesy => Some(Kind::Courtesy),
            Tone::Friendly => Some(Kind::FirstReminder),
            Tone::Enquiring => Some(Kind::CallFollowUp),
            Tone::Firm => Some(Kind::FirmReminder),
            Tone::LastAmicable => Some(Kind::LastReminder),
            Tone::FormalNotice => Some(Kind::FormalNotice),
            Tone::PreLitigation => None,
        }
    }

    /// Whether it claims open items from a client.
    pub fn is_reminder(self) -> bool {
        matches!(
            self,
            Kind::Courtesy
                | Kind::FirstReminder
                | Kind::CallFollowUp
                | Kind::FirmReminder
                | Kind::LastReminder
                | Kind::FormalNotice
        )
    }

    /// The values that its template may name.
    pub fn values(self) -> Vec<&'static str> {
        let mut names = vec![
            "company",
            "siren",
            "iban",
            "bic",
            "client",
            "account",
            "clientSiren",
            "today",
            "author",
            "phone",
            "email",
        ];
        names.extend_from_slice(match self {
            kind if kind.is_reminder() => &[
                "total",
                "count",
                "credits",
                "net",
                "oldestDue",
                "days",
                "penalties",
                "rate",
                "law",
                "indemnity",
                "grandTotal",
                "deadline",
                "disputed",
                "order",
            ],
            Kind::Statement => &["total", "overdue"],
            Kind::DisputeNotice => &[
                "dispute",
                "invoice",
                "amount",
                "reason",
                "description",
                "department",
                "openedOn",
                "respondBy",
                "owner",
            ],
            Kind::DeductionNotice => &[
                "deduction",
                "invoice",
                "amount",
                "reason",
                "description",
                "recordedOn",
                "respondBy",
            ],
            Kind::PromiseConfirmation => &["amount", "dueOn", "promisedOn"],
            Kind::PlanConfirmation => &[
                "amount",
                "count",
                "agreedOn",
                "grace",
                "interestRuns",
                "interestWaived",
            ],
            Kind::RemittanceSlip => &["slip", "bankAccount", "remittedOn", "count", "total"],
            Kind::RectifiedInvoice => &["number", "invoice", "issuedOn", "wording"],
            _ => &[],
        });
        names
    }

    /// The tables that its template may place.
    pub fn tables(self) -> &'static [&'static str] {
        match self {
            Kind::Statement => &["statement"],
            Kind::PlanConfirmation => &["items", "instalments"],
            Kind::RemittanceSlip => &["receipts"],
            Kind::RectifiedInvoice => &["amounts"],
            Kind::DisputeNotice | Kind::DeductionNotice => &[],
            _ => &["items"],
        }
    }

    /// What its template must say (7.3): names, and words in any case. The law asks for a sufficient summons;
    /// the rest is the house's.
    pub fn mandatory(
        self,
        language: Language,
    ) -> (&'static [&'static str], &'static [&'static str]) {
        match (self, language) {
            (Kind::FormalNotice, Language::French) => (FORMAL, &["mise en demeure"]),
            (Kind::FormalNotice, Language::English) => (FORMAL, &["formal notice"]),
            (kind, _) if kind.is_reminder() => (&["items"], &[]),
            _ => (&[], &[]),
        }
    }
}

const FORMAL: &[&str] = &[
    "items",
    "penalties",
    "indemnity",
    "grandTotal",
    "deadline",
    "iban",
    "law",
];

/// A template: a subject line and paragraphs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template {
    pub subject: String,
    pub body: String,
}

/// What is wrong with a template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A name that this kind of letter does not know.
    Unknown(String),
    /// A brace without its counterpart, or a section that is not closed.
    Broken(String),
    /// Something that it must say.
    Missing(String),
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part<'a> {
    Text(&'a str),
    Value(&'a str),
    Section(&'a str, Vec<Part<'a>>),
}

fn parts<'a>(text: &'a str, inside: Option<&str>) -> Result<(Vec<Part<'a>>, &'a str), Fault> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let Some(open) = rest.find("{{") else {
            return match inside {
                Some(name) => Err(Fault::Broken(format!("{{{{#{name}}}}} is not closed"))),
                None if rest.contains("}}") => Err(Fault::Broken("}} without {{".into())),
                None => {
                    found.push(Part::Text(rest));
                    Ok((found, ""))
                }
            };
        };
        let (before, after) = rest.split_at(open);
        if before.contains("}}") {
            return Err(Fault::Broken("}} without {{".into()));
        }
        found.push(Part::Text(before));
        let Some(close) = after.find("}}") else {
            return Err(Fault::Broken("{{ without }}".into()));
        };
        let name = after[2..close].trim();
        rest = &after[close + 2..];
        if let Some(name) = name.strip_prefix('#') {
            if inside.is_some() {
                return Err(Fault::Broken(format!(
                    "{{{{#{name}}}}} inside another section"
                )));
            }
            let (inner, left) = parts(rest, Some(name))?;
            found.push(Part::Section(name, inner));
            rest = left;
        } else if let Some(name) = name.strip_prefix('/') {
            return if inside == Some(name) {
                Ok((found, rest))
            } else {
                Err(Fault::Broken(format!("{{{{/{name}}}}} closes nothing")))
            };
        } else {
            found.push(Part::Value(name));
        }
    }
}

fn names<'a>(parts: &[Part<'a>], into: &mut Vec<&'a str>) {
    for part in parts {
        match part {
            Part::Text(_) => {}
            Part::Value(name) => into.push(name),
            Part::Section(name, inner) => {
                into.push(name);
                names(inner, into);
            }
        }
    }
}

impl Template {
    /// Why it cannot be a template of this kind, with the field that is wrong.
    pub fn check(&self, kind: Kind, language: Language) -> Result<(), (&'static str, Fault)> {
        let mut known = kind.values();
        for (field, text) in [("subject", &self.subject), ("body", &self.body)] {
            if field == "body" {
                known.extend_from_slice(kind.tables());
            }
            let (parts, _) = parts(text, None).map_err(|fault| (field, fault))?;
            let mut used = Vec::new();
            names(&parts, &mut used);
            if let Some(name) = used.iter().find(|name| !known.contains(name)) {
                return Err((field, Fault::Unknown((*name).to_owned())));
            }
            if field == "body" {
                let (needed, words) = kind.mandatory(language);
                if let Some(name) = needed.iter().find(|name| !used.contains(name)) {
                    return Err((field, Fault::Missing(format!("{{{{{name}}}}}"))));
                }
                let said = format!("{} {}", self.subject, self.body).to_lowercase();
                if let Some(word) = words
                    .iter()
                    .find(|word| !said.contains(&word.to_lowercase()))
                {
                    return Err((field, Fault::Missing((*word).to_owned())));
                }
                for table in kind.tables() {
                    let alone = self
                        .body
                        .split("\n\n")
                        .any(|it| it.trim() == format!("{{{{{table}}}}}"));
                    if used.contains(table) && !alone {
                        return Err((
                            field,
                            Fault::Broken(format!(
                                "{{{{{table}}}}} stands in a paragraph of its own"
                            )),
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// The subject with its values.
    pub fn subject(&self, values: &Values) -> String {
        filled(&self.subject, values)
            // No-break spaces inside amounts stay.
            .split([' ', '\t', '\r', '\n'])
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The paragraphs with their values: text, or the name of a table.
    pub fn paragraphs(&self, kind: Kind, values: &Values) -> Vec<Paragraph> {
        let mut found = Vec::new();
        for paragraph in self.body.split("\n\n") {
            let paragraph = paragraph.trim();
            let table = kind
                .tables()
                .iter()
                .find(|table| paragraph == format!("{{{{{table}}}}}"));
            if let Some(table) = table {
                found.push(Paragraph::Table(table));
                continue;
            }
            let text = filled(paragraph, values);
            if !text.trim().is_empty() {
                found.push(Paragraph::Text(text.trim().to_owned()));
            }
        }
        found
    }
}

const FRENCH: &str = include_str!("letter/fr.txt");
const ENGLISH: &str = include_str!("letter/en.txt");

/// The template that comes with the product.
pub fn usual(kind: Kind, language: Language) -> Template {
    let texts = match language {
        Language::French => FRENCH,
        Language::English => ENGLISH,
    };
    let found = texts
        .split("=== ")
        .find_map(|text| text.strip_prefix(kind.code())?.strip_prefix('\n'))
        .unwrap_or_default();
    let (subject, body) = found.split_once('\n').unwrap_or((found, ""));
    Template {
        subject: subject.to_owned(),
        body: body.trim().to_owned(),
    }
}

/// The values of a letter by name.
pub type Values = BTreeMap<&'static str, String>;

/// A paragraph of a letter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Paragraph {
    Text(String),
    Table(&'static str),
}

fn filled(text: &str, values: &Values) -> String {
    // A stored template was checked; one that cannot be read any more is shown as it is.
    let Ok((parts, _)) = parts(text, None) else {
        return text.to_owned();
    };
    let mut out = String::new();
    write(&parts, values, &mut out);
    out
}

fn write(parts: &[Part<'_>], values: &Values, out: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Value(name) => out.push_str(values.get(name).map_or("", String::as_str)),
            Part::Section(name, inner) => {
                if values.get(name).is_some_and(|value| !value.is_empty()) {
                    write(inner, values, out);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn template(body: &str) -> Template {
        Template {
            subject: "Compte {{account}}".into(),
            body: body.into(),
        }
    }

    #[test]
    fn values_sections_and_tables() {
        let of = template(
            "Bonjour {{client}},\n\n{{#disputed}}Dont {{disputed}} en litige.{{/disputed}}\n\n{{items}}\n\nTotal {{ total }}",
        );
        let values = Values::from([
            ("client", "Ærø {{total}}".into()),
            ("total", "12,00 EUR".into()),
            ("account", "C1".into()),
        ]);
        assert_eq!(of.check(Kind::FirstReminder, Language::French), Ok(()));
        assert_eq!(of.subject(&values), "Compte C1");
        // A value is never read as a template.
        assert_eq!(
            of.paragraphs(Kind::FirstReminder, &values),
            [
                Paragraph::Text("Bonjour Ærø {{total}},".into()),
                Paragraph::Table("items"),
                Paragraph::Text("Total 12,00 EUR".into())
            ]
        );
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let fault = |body: &str, kind| template(body).check(kind, Language::French);
        assert_eq!(
            fault("{{items}}\n\n{{password}}", Kind::FirstReminder),
            Err(("body", Fault::Unknown("password".into())))
        );
        for broken in [
            "{{items}}\n\n{{total",
            "{{items}}\n\ntotal}}",
            "{{items}}\n\n{{#total}}x",
            "{{items}}\n\n{{/total}}",
            "a {{items}} b",
        ] {
            assert!(
                matches!(
                    fault(broken, Kind::FirstReminder),
                    Err(("body", Fault::Broken(_)))
                ),
                "{broken}"
            );
        }
        assert_eq!(
            fault("Bonjour", Kind::FirstReminder),
            Err(("body", Fault::Missing("{{items}}".into())))
        );
        assert!(matches!(
            fault("{{items}}\n\n{{penalties}}{{indemnity}}{{grandTotal}}{{deadline}}{{iban}}{{law}}", Kind::FormalNotice),
            Err((_, Fault::Missing(words))) if words == "mise en demeure"
        ));
    }

    #[test]
    fn every_template_of_the_product_is_sound() {
        for kind in Kind::ALL {
            for language in Language::ALL {
                let of = usual(*kind, *language);
                assert_eq!(of.check(*kind, *language), Ok(()), "{kind:?} {language:?}");
            }
        }
    }

    proptest! {
        /// Whatever is typed in, it is refused or shown; nothing breaks.
        #[test]
        fn no_template_breaks_the_reader(body in "[a-z{}#/ \n]{0,60}") {
            let of = template(&body);
            if of.check(Kind::Statement, Language::English).is_ok() {
                of.paragraphs(Kind::Statement, &Values::new());
            }
        }
    }
}
