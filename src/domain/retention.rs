//! How long what is kept, and why: personal data leaves when no law and no claim needs it any more.

use chrono::{Datelike, Months, NaiveDate};

use super::access::codes;

codes! {
    /// What happens to a class of records when its time is over.
    Afterwards {
        /// It stays: the company archives or deletes the whole year by itself.
        Kept = "KEPT",
        /// The personal data in it is erased; the record stays.
        Erased = "ERASED",
        /// It is deleted.
        Deleted = "DELETED",
    }
}

/// A class of records with its retention.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Its name.
    pub code: &'static str,
    /// What is in it.
    pub what: &'static str,
    /// How long.
    pub months: u32,
    /// From when.
    pub from: &'static str,
    /// The law, the guidance or the interest behind it.
    pub ground: &'static str,
    /// What then.
    pub afterwards: Afterwards,
}

/// Documents, entries, receipts, bank movements, slips: the vouchers of the books.
pub const BOOKS: Rule = Rule {
    code: "BOOKS",
    what: "Journal entries, invoices and credit notes with the parties as issued, receipts, bank movements, operations, and who recorded them",
    months: 120,
    from: "the end of the financial year",
    ground: "Code de commerce, art. L123-22: accounting documents and their vouchers are kept for ten years; RGPD, art. 17(3)(b)",
    afterwards: Afterwards::Kept,
};
/// The identity of an erased client.
pub const ARCHIVE: Rule = Rule {
    code: "LEGAL_ARCHIVE",
    what: "Name and address of an erased client, read by the FEC alone (archivage intermédiaire)",
    months: 120,
    from: "the end of the financial year of the client's last entry",
    ground: "Code de commerce, art. L123-22, and LPF, art. L102 B: the FEC names the client account; RGPD, art. 17(3)(b)",
    afterwards: Afterwards::Deleted,
};
/// Proof of claims: prescription and a year (R8.6).
pub const REMINDERS: Rule = Rule {
    code: "REMINDERS",
    what: "Reminders with their letters, mails, addressees and proofs, calls and notes, disputes, promises, litigation cases",
    months: 72,
    from: "the day they were recorded",
    ground: "Proof of claims until prescription (five years, Code de commerce, art. L110-4) and one year; RGPD, art. 17(3)(e)",
    afterwards: Afterwards::Erased,
};
/// Contacts of those to whom nothing was sold.
pub const PROSPECTS: Rule = Rule {
    code: "PROSPECTS",
    what: "Contacts of clients without any entry in the books",
    months: 36,
    from: "the day they were recorded, or the last call",
    ground: "CNIL, référentiel gestion commerciale: prospects, three years after the last contact",
    afterwards: Afterwards::Erased,
};
/// Contacts of clients.
pub const CONTACTS: Rule = Rule {
    code: "CONTACTS",
    what: "Contacts of clients: name, e-mail address, telephone",
    months: 0,
    from: "the day somebody removes or erases them",
    ground: "RGPD, art. 6(1)(f): needed while the relation lasts",
    afterwards: Afterwards::Erased,
};
/// The trail.
pub const TRAIL: Rule = Rule {
    code: "AUDIT_TRAIL",
    what: "The audit trail: who, what, before and after. Seals and the heads of entries, without personal data, stay for ever",
    months: 120,
    from: "the instant of the entry",
    ground: "As long as the books that it explains: Code de commerce, art. L123-22; RGPD, art. 32",
    afterwards: Afterwards::Erased,
};
/// Where requests came from.
pub const ADDRESSES: Rule = Rule {
    code: "ADDRESSES",
    what: "Network addresses in the audit trail",
    months: 12,
    from: "the instant of the entry",
    ground: "CNIL, recommandation journalisation (délibération 2021-122): six months to one year",
    afterwards: Afterwards::Erased,
};
/// First answers to idempotency keys.
pub const ANSWERS: Rule = Rule {
    code: "REPEATED_ANSWERS",
    what: "Answers kept for repeated requests; later repetitions read the records again",
    months: 3,
    from: "the first request",
    ground: "RGPD, art. 5(1)(e): no longer than the purpose needs",
    afterwards: Afterwards::Deleted,
};

/// Every rule.
pub const RULES: &[Rule] = &[
    BOOKS, ARCHIVE, REMINDERS, PROSPECTS, CONTACTS, TRAIL, ADDRESSES, ANSWERS,
];

impl Rule {
    /// The last day of what begins on `from`.
    pub fn until(&self, from: NaiveDate) -> NaiveDate {
        from.checked_add_months(Months::new(self.months))
            .unwrap_or(NaiveDate::MAX)
    }

    /// What began before this day is over today.
    pub fn over_before(&self, today: NaiveDate) -> NaiveDate {
        today
            .checked_sub_months(Months::new(self.months))
            .unwrap_or(NaiveDate::MIN)
    }
}

/// The last day of the financial year of a day, for years that begin on the first of `start_month`.
pub fn year_end(day: NaiveDate, start_month: u32) -> NaiveDate {
    let start_month = start_month.clamp(1, 12);
    let next = if day.month() < start_month {
        day.year()
    } else {
        day.year() + 1
    };
    NaiveDate::from_ymd_opt(next, start_month, 1)
        .and_then(|first| first.pred_opt())
        .unwrap_or(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a day")
    }

    #[test]
    fn books_are_kept_ten_years_from_the_end_of_their_year_r8_6() {
        let cases = [
            ("2026-01-01", 1, "2026-12-31", "2036-12-31"),
            ("2026-12-31", 1, "2026-12-31", "2036-12-31"),
            ("2026-06-30", 7, "2026-06-30", "2036-06-30"),
            ("2026-07-01", 7, "2027-06-30", "2037-06-30"),
            ("2026-02-28", 3, "2026-02-28", "2036-02-28"),
        ];
        for (on, start, end, until) in cases {
            assert_eq!(year_end(day(on), start), day(end), "{on}");
            assert_eq!(BOOKS.until(year_end(day(on), start)), day(until), "{on}");
        }
    }

    #[test]
    fn proofs_outlive_prescription_by_a_year_r8_6() {
        assert_eq!(REMINDERS.until(day("2026-03-31")), day("2032-03-31"));
        assert_eq!(ADDRESSES.over_before(day("2026-03-31")), day("2025-03-31"));
        assert_eq!(PROSPECTS.over_before(day("2026-03-31")), day("2023-03-31"));
    }

    #[test]
    fn a_rule_stands_once_and_says_why() {
        for (position, rule) in RULES.iter().enumerate() {
            assert!(!rule.ground.is_empty() && !rule.what.is_empty());
            assert!(
                RULES[position + 1..]
                    .iter()
                    .all(|other| other.code != rule.code)
            );
        }
    }
}
