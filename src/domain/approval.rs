//! Four eyes (section 12): what needs a second person, on what ground, and whose right it is to decide.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::access::{Action, codes};
use super::ids::{ApprovalId, ClientId, DocumentId};
use super::money::{Currency, Minor};

codes! {
    /// What a second person decides about (R12.1).
    ApprovalKind {
        /// A credit note, alone or at the end of a dispute or deduction.
        CreditNote = "CREDIT_NOTE",
        /// A definitive loss (2.11).
        WriteOff = "WRITE_OFF",
        /// A transfer to doubtful clients (2.10).
        Doubtful = "DOUBTFUL",
        /// A provision run (section 5).
        Provision = "PROVISION",
        /// A client's credit limit.
        CreditLimit = "CREDIT_LIMIT",
        /// The account that a client pays from.
        BankDetails = "BANK_DETAILS",
        /// Matching or un-matching as of a day long past, or of one's own receipt with what one credited.
        Matching = "MATCHING",
        /// Interest or indemnity given up.
        PenaltyWaiver = "PENALTY_WAIVER",
    }
}

codes! {
    /// Where a request stands.
    ApprovalStatus {
        /// It waits.
        Proposed = "PROPOSED",
        /// Approved and done.
        Approved = "APPROVED",
        /// Rejected, with a reason.
        Rejected = "REJECTED",
        /// Taken back by its author.
        Withdrawn = "WITHDRAWN",
        /// Nobody decided in time.
        Expired = "EXPIRED",
    }
}

codes! {
    /// Why a second person is needed.
    Ground {
        /// The kind always needs one.
        Always = "ALWAYS",
        /// The amount is above the company's threshold (R12.6).
        AboveThreshold = "ABOVE_THRESHOLD",
        /// It takes effect on a day long past.
        BackDated = "BACK_DATED",
        /// The same person recorded a receipt for the same item (R12.2).
        SamePerson = "SAME_PERSON",
    }
}

impl ApprovalKind {
    /// Whether requests of this kind are kept by a file or a run of their own, which is decided with them.
    pub fn has_a_file(self) -> bool {
        match self {
            ApprovalKind::WriteOff | ApprovalKind::Doubtful | ApprovalKind::Provision => true,
            ApprovalKind::CreditNote
            | ApprovalKind::CreditLimit
            | ApprovalKind::BankDetails
            | ApprovalKind::Matching
            | ApprovalKind::PenaltyWaiver => false,
        }
    }
}

/// Amounts by currency.
pub type Limits = BTreeMap<String, Decimal>;

/// The setting `approvals`: above which amounts, and how far back, a second person is needed. Without amounts
/// of a kind it needs none. What moves money out of sight is guarded without any setting: losses, provisions,
/// payers' accounts, matchings of more than a month ago, and R12.2.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Credit notes above this: the credit manager (VAT included).
    #[serde(deserialize_with = "without_nulls")]
    pub credit_note: Limits,
    /// Credit notes above this: the director.
    #[serde(deserialize_with = "without_nulls")]
    pub credit_note_director: Limits,
    /// Credit limits above this, when they are raised: the director.
    #[serde(deserialize_with = "without_nulls")]
    pub credit_limit: Limits,
    /// Interest and indemnity given up above this: the director.
    #[serde(deserialize_with = "without_nulls")]
    pub penalty_waiver: Limits,
    /// Matching as of more days ago than this: the credit manager; null for never.
    pub backdated_days: Option<u16>,
    /// Days after which a request that nobody decided is void.
    pub request_days: u16,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            credit_note: Limits::new(),
            credit_note_director: Limits::new(),
            credit_limit: Limits::new(),
            penalty_waiver: Limits::new(),
            // A month: what is entered late day by day passes, a closing that was reported does not change alone.
            backdated_days: Some(31),
            request_days: 30,
        }
    }
}

/// A null takes a currency's amount away: settings are laid over those in force.
fn without_nulls<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Limits, D::Error> {
    let given: Option<BTreeMap<String, Option<Decimal>>> = Option::deserialize(deserializer)?;
    let given = given.unwrap_or_default().into_iter();
    Ok(given
        .filter_map(|(currency, amount)| Some((currency, amount?)))
        .collect())
}

impl Rules {
    /// The amounts with their names, in the order of the documentation.
    pub fn limits(&self) -> [(&'static str, &Limits); 4] {
        [
            ("credit_note", &self.credit_note),
            ("credit_note_director", &self.credit_note_director),
            ("credit_limit", &self.credit_limit),
            ("penalty_waiver", &self.penalty_waiver),
        ]
    }

    /// What is wrong with them, if anything.
    pub fn fault(&self) -> Option<String> {
        for (name, limits) in self.limits() {
            for (code, amount) in limits {
                let Ok(currency) = code.parse::<Currency>() else {
                    return Some(format!("approvals.{name}: {code} is no currency"));
                };
                if amount.is_sign_negative() || currency.minor(*amount).is_none() {
                    return Some(format!(
                        "approvals.{name}.{code} is an amount from 0 on, with the decimals of {code}"
                    ));
                }
            }
        }
        let beyond = |code: &String, most: &Decimal| {
            let first = self.credit_note.get(code);
            first.is_some_and(|first| first > most)
        };
        if self.credit_note_director.iter().any(|(c, m)| beyond(c, m)) {
            return Some("approvals.credit_note_director is not below credit_note".into());
        }
        if !(1..=365).contains(&self.request_days) {
            return Some("approvals.request_days go from 1 to 365".into());
        }
        None
    }

    /// Whether a day lies so far back that matching as of it needs a second person.
    pub fn is_back_dated(&self, on: NaiveDate, today: NaiveDate) -> bool {
        let first = self.backdated_days.map(|days| {
            today
                .checked_sub_days(Days::new(u64::from(days)))
                .unwrap_or(NaiveDate::MIN)
        });
        first.is_some_and(|first| on < first)
    }
}

/// Whether an amount is above the threshold of its currency. Once a kind has thresholds, a currency without one
/// has zero: otherwise another currency would be the way around.
fn exceeds(limits: &Limits, amount: Option<(Minor, Currency)>) -> bool {
    match amount {
        Some((amount, currency)) if !limits.is_empty() => {
            let most = limits.get(currency.code()).copied().unwrap_or_default();
            currency.decimal(amount) > most
        }
        _ => false,
    }
}

/// Something that was done, or is about to be, as the rules see it.
#[derive(Clone, PartialEq, Debug)]
pub struct Matter {
    /// What it is.
    pub kind: ApprovalKind,
    /// Whom it concerns.
    pub client: Option<ClientId>,
    /// The invoice it is about, when it is about one.
    pub document: Option<DocumentId>,
    /// How much, when that is one amount.
    pub amount: Option<(Minor, Currency)>,
    /// What there was, field by field.
    pub before: Value,
    /// What there is then, in the same fields.
    pub after: Value,
    /// A bound is taken away altogether: above every threshold.
    pub unbounded: bool,
    /// It takes effect on a day that [`Rules::is_back_dated`].
    pub back_dated: bool,
    /// The author recorded a receipt for the same item, or credited it (R12.2).
    pub same_person: bool,
    /// What it made, as the API names it.
    pub result: String,
}

impl Matter {
    /// Of a kind, with its result; everything else is not so.
    pub fn of(kind: ApprovalKind, result: String) -> Matter {
        Matter {
            kind,
            client: None,
            document: None,
            amount: None,
            before: Value::Object(serde_json::Map::new()),
            after: Value::Object(serde_json::Map::new()),
            unbounded: false,
            back_dated: false,
            same_person: false,
            result,
        }
    }

    /// Why a second person is needed and whose right it is to decide; none when nobody is.
    pub fn needs(&self, rules: &Rules) -> Option<(Ground, Action)> {
        let above = |limits: &Limits, approver: Action| {
            (exceeds(limits, self.amount) || self.unbounded && !limits.is_empty())
                .then_some((Ground::AboveThreshold, approver))
        };
        match self.kind {
            ApprovalKind::CreditNote => {
                above(&rules.credit_note_director, Action::ApproveLargeCreditNotes)
                    .or_else(|| above(&rules.credit_note, Action::ApproveCreditNotes))
                    .or_else(|| {
                        self.same_person
                            .then_some((Ground::SamePerson, Action::ApproveCreditNotes))
                    })
            }
            ApprovalKind::CreditLimit => above(&rules.credit_limit, Action::ApproveCreditLimits),
            ApprovalKind::PenaltyWaiver => above(&rules.penalty_waiver, Action::ApproveWaivers),
            ApprovalKind::BankDetails => Some((Ground::Always, Action::ApproveBankDetails)),
            ApprovalKind::Matching if self.back_dated => {
                Some((Ground::BackDated, Action::ApproveMatching))
            }
            ApprovalKind::Matching => self
                .same_person
                .then_some((Ground::SamePerson, Action::ApproveMatching)),
            ApprovalKind::WriteOff | ApprovalKind::Doubtful => {
                Some((Ground::Always, Action::DecideLosses))
            }
            ApprovalKind::Provision => Some((Ground::Always, Action::DecideProvision)),
        }
    }
}

/// What has to be approved, on what ground, and whose right it is to decide.
#[derive(Clone, PartialEq, Debug)]
pub struct Need {
    /// What was about to be done.
    pub matter: Matter,
    /// Why a second person is needed.
    pub ground: Ground,
    /// The right that decides it.
    pub approver: Action,
}

/// What somebody approved: it lets the same thing through, and nothing else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Granted {
    /// The request.
    pub request: ApprovalId,
    /// What was shown to the approver.
    pub kind: ApprovalKind,
    /// How much was shown: minor units and currency.
    pub amount: Option<(Minor, String)>,
    /// What there was then.
    pub before: Value,
}

impl Granted {
    /// Whether this is what was approved. Interest grows day by day: what is given up is all of it, as was shown.
    pub fn covers(&self, matter: &Matter) -> bool {
        let amount = matter
            .amount
            .map(|(amount, currency)| (amount, currency.code().to_owned()));
        match self.kind {
            _ if self.kind != matter.kind => false,
            ApprovalKind::PenaltyWaiver => true,
            ApprovalKind::CreditLimit => self.amount == amount && self.before == matter.before,
            ApprovalKind::CreditNote
            | ApprovalKind::BankDetails
            | ApprovalKind::Matching
            | ApprovalKind::WriteOff
            | ApprovalKind::Doubtful
            | ApprovalKind::Provision => self.amount == amount,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn euros(amount: Minor) -> Option<(Minor, Currency)> {
        Some((amount, "EUR".parse().expect("euros")))
    }

    fn rules() -> Rules {
        serde_json::from_value(json!({
            "credit_note": { "EUR": "500.00", "JPY": null }, "credit_note_director": { "EUR": 5000 },
            "credit_limit": { "EUR": "10000" }, "penalty_waiver": { "EUR": "40" },
        }))
        .expect("rules")
    }

    #[test]
    fn who_decides_what_above_which_amount_r12_1_r12_6() {
        use ApprovalKind::{CreditLimit, CreditNote, PenaltyWaiver};
        let dollars = Some((1, "USD".parse().expect("dollars")));
        let above = |approver| Some((Ground::AboveThreshold, approver));
        let cases = [
            (CreditNote, euros(50_000), None),
            (CreditNote, euros(50_001), above(Action::ApproveCreditNotes)),
            (
                CreditNote,
                euros(500_000),
                above(Action::ApproveCreditNotes),
            ),
            (
                CreditNote,
                euros(500_001),
                above(Action::ApproveLargeCreditNotes),
            ),
            // A currency without a threshold has none to spare.
            (CreditNote, dollars, above(Action::ApproveLargeCreditNotes)),
            (CreditLimit, euros(1_000_000), None),
            (
                CreditLimit,
                euros(1_000_001),
                above(Action::ApproveCreditLimits),
            ),
            (PenaltyWaiver, euros(4_000), None),
            (PenaltyWaiver, euros(4_001), above(Action::ApproveWaivers)),
        ];
        for (kind, amount, expected) in cases {
            let matter = Matter {
                amount,
                ..Matter::of(kind, String::new())
            };
            assert_eq!(matter.needs(&rules()), expected, "{kind:?} {amount:?}");
            assert_eq!(matter.needs(&Rules::default()), None, "{kind:?} by default");
        }
        let unlimited = Matter {
            unbounded: true,
            ..Matter::of(CreditLimit, String::new())
        };
        assert_eq!(
            unlimited.needs(&rules()),
            above(Action::ApproveCreditLimits)
        );
        assert_eq!(unlimited.needs(&Rules::default()), None);
    }

    #[test]
    fn some_things_need_two_people_without_any_setting_r12_1_r12_2() {
        let plain = |kind| Matter::of(kind, String::new());
        let cases = [
            (plain(ApprovalKind::Matching), None),
            (plain(ApprovalKind::CreditNote), None),
            (
                plain(ApprovalKind::BankDetails),
                Some((Ground::Always, Action::ApproveBankDetails)),
            ),
            (
                Matter {
                    back_dated: true,
                    same_person: true,
                    ..plain(ApprovalKind::Matching)
                },
                Some((Ground::BackDated, Action::ApproveMatching)),
            ),
            (
                Matter {
                    same_person: true,
                    ..plain(ApprovalKind::Matching)
                },
                Some((Ground::SamePerson, Action::ApproveMatching)),
            ),
            (
                Matter {
                    same_person: true,
                    amount: euros(1),
                    ..plain(ApprovalKind::CreditNote)
                },
                Some((Ground::SamePerson, Action::ApproveCreditNotes)),
            ),
            (
                plain(ApprovalKind::WriteOff),
                Some((Ground::Always, Action::DecideLosses)),
            ),
            (
                plain(ApprovalKind::Provision),
                Some((Ground::Always, Action::DecideProvision)),
            ),
        ];
        for (matter, expected) in cases {
            assert_eq!(matter.needs(&Rules::default()), expected, "{matter:?}");
        }
    }

    #[test]
    fn the_first_day_that_is_long_past() {
        let date = |text: &str| text.parse::<NaiveDate>().expect("a day");
        let today = date("2026-05-15");
        let cases = [
            (Some(31), "2026-04-14", false),
            (Some(31), "2026-04-13", true),
            (Some(0), "2026-05-15", false),
            (Some(0), "2026-05-14", true),
            (None, "1999-01-01", false),
        ];
        for (backdated_days, on, expected) in cases {
            let rules = Rules {
                backdated_days,
                ..Rules::default()
            };
            assert_eq!(rules.is_back_dated(date(on), today), expected, "{on}");
        }
    }

    #[test]
    fn thresholds_are_amounts_of_currencies_in_order() {
        assert_eq!(rules().fault(), None);
        assert_eq!(rules().credit_note.get("JPY"), None);
        let eur = |amount: Decimal| Limits::from([("EUR".to_owned(), amount)]);
        let cases = [
            Rules {
                credit_note: Limits::from([("XXQ".to_owned(), Decimal::ONE)]),
                ..Rules::default()
            },
            Rules {
                penalty_waiver: eur(-Decimal::ONE),
                ..Rules::default()
            },
            Rules {
                credit_limit: eur(Decimal::new(1, 3)),
                ..Rules::default()
            },
            Rules {
                credit_note: eur(Decimal::TEN),
                credit_note_director: eur(Decimal::from(9)),
                ..Rules::default()
            },
            Rules {
                request_days: 0,
                ..Rules::default()
            },
        ];
        for rules in cases {
            assert!(rules.fault().is_some(), "{rules:?}");
        }
    }

    #[test]
    fn an_approval_covers_what_was_shown_and_nothing_else() {
        let limit = |amount, before: Value| Matter {
            amount: euros(amount),
            before,
            ..Matter::of(ApprovalKind::CreditLimit, String::new())
        };
        let before = json!({ "creditLimit": "100.00" });
        let granted = Granted {
            request: ApprovalId(uuid::Uuid::nil()),
            kind: ApprovalKind::CreditLimit,
            amount: Some((200, "EUR".into())),
            before: before.clone(),
        };
        assert!(granted.covers(&limit(200, before.clone())));
        assert!(!granted.covers(&limit(201, before.clone())));
        assert!(!granted.covers(&limit(200, json!({ "creditLimit": null }))));
        assert!(!granted.covers(&Matter {
            kind: ApprovalKind::CreditNote,
            ..limit(200, before)
        }));
    }
}
