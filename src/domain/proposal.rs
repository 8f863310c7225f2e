//! Proposed allocations of open credits to open debits, in the order of the law (R3.8, R3.9).

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::access::codes;
use super::money::Minor;

/// A number made of digits only is looked for in free text from this length on.
const SHORTEST_DIGITS: usize = 4;

codes! {
    /// The rule that put a credit on a debit.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    ProposalRule {
        /// The credit note names the invoice (R3.9).
        CreditNoteReference = "CREDIT_NOTE_REFERENCE",
        /// The payer named the invoice (R3.8, first).
        DebtorIndication = "DEBTOR_INDICATION",
        /// Oldest among the debts that are due (R3.8).
        DueOldestFirst = "DUE_OLDEST_FIRST",
        /// Nothing due is left: oldest among those not due (R3.8).
        NotDueOldestFirst = "NOT_DUE_OLDEST_FIRST",
        /// Nothing tells the debts apart: in proportion (R3.8, last).
        ProRata = "PRO_RATA",
    }
}

impl ProposalRule {
    /// Why the credit goes to the debit, for the person who decides.
    pub fn reason(self, debit: &str, credit: &str) -> String {
        match self {
            ProposalRule::CreditNoteReference => {
                format!("R3.9: credit note {credit} refers to {debit}")
            }
            ProposalRule::DebtorIndication => {
                format!("R3.8: the payer of {credit} named {debit}")
            }
            ProposalRule::DueOldestFirst => {
                format!("R3.8: {debit} is the oldest debt that is due for {credit}")
            }
            ProposalRule::NotDueOldestFirst => {
                format!("R3.8: no due debt is left, {debit} is the oldest one for {credit}")
            }
            ProposalRule::ProRata => {
                format!(
                    "R3.8: {debit} is equal to others in every respect, {credit} is shared pro rata"
                )
            }
        }
    }
}

/// A debit that is still open: an invoice, an instalment, a disputed deduction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenDebit<K> {
    /// The caller's key, unique among the debits.
    pub key: K,
    /// Its own number.
    pub reference: String,
    /// The invoice that it follows from, when it is not the invoice itself (R2.8).
    pub invoice_reference: Option<String>,
    /// Due date.
    pub due_on: NaiveDate,
    /// Invoice date.
    pub invoiced_on: NaiveDate,
    /// What is still open, minor units, positive; others are passed over.
    pub open: Minor,
}

/// What a credit is, and what it says about the debts that it pays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CreditKind {
    /// Avoir.
    CreditNote {
        /// Number of the invoice that it corrects.
        invoice: Option<String>,
    },
    /// Règlement.
    Receipt {
        /// What the payer wrote, in free text.
        indication: String,
    },
}

/// A credit that is not fully allocated: a receipt or a credit note.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenCredit<K> {
    /// The caller's key, unique among the credits.
    pub key: K,
    /// What it is.
    pub kind: CreditKind,
    /// Accounting date; the oldest credit is used first.
    pub posted_on: NaiveDate,
    /// What is still open, minor units, positive; others are passed over.
    pub open: Minor,
    /// Its number.
    pub reference: String,
}

/// An allocation to propose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proposal<K> {
    /// Key of the debit.
    pub debit: K,
    /// Key of the credit.
    pub credit: K,
    /// Minor units, positive.
    pub amount: Minor,
    /// The rule that decided.
    pub rule: ProposalRule,
}

/// Proposes allocations for one client account in one currency, in the order they are decided.
///
/// First the credit notes on the invoices they name (R3.9), then the receipts on the invoices
/// that their payers name, then what is left by R3.8: due before not due, then due date, invoice
/// date and number; pro rata between items that all these leave equal. A debit is due from the
/// day after its due date (R4.4). The order of the inputs does not matter, and no side ever gets
/// more than it has open.
pub fn propose<K: Copy + Ord>(
    debits: &[OpenDebit<K>],
    credits: &[OpenCredit<K>],
    today: NaiveDate,
) -> Vec<Proposal<K>> {
    let mut run = Run::new(debits, credits);
    for credit in 0..run.credits.len() {
        if let CreditKind::CreditNote {
            invoice: Some(invoice),
        } = &run.credits[credit].kind
        {
            let named = BTreeSet::from([normalised(invoice)]);
            run.pay_named(credit, &named, ProposalRule::CreditNoteReference);
        }
    }
    let numbers = run.numbers();
    for credit in 0..run.credits.len() {
        if let CreditKind::Receipt { indication } = &run.credits[credit].kind {
            let named = named_in(indication, &numbers);
            run.pay_named(credit, &named, ProposalRule::DebtorIndication);
        }
    }
    let everything: Vec<usize> = (0..run.debits.len()).collect();
    let groups = run.groups_of_equals(&everything);
    // Credits settle the groups one after the other: no credit needs to look back.
    let mut first = 0;
    for credit in 0..run.credits.len() {
        while run.credit_left[credit] > 0 && first < groups.len() {
            run.pay_group(credit, &groups[first], |run, shared| {
                if shared {
                    ProposalRule::ProRata
                } else if run.debits[groups[first][0]].due_on < today {
                    ProposalRule::DueOldestFirst
                } else {
                    ProposalRule::NotDueOldestFirst
                }
            });
            if run.credit_left[credit] > 0 {
                first += 1;
            }
        }
    }
    run.proposals
}

/// Items in their order of payment, what is left of each, and what was decided so far.
struct Run<'a, K> {
    debits: Vec<&'a OpenDebit<K>>,
    credits: Vec<&'a OpenCredit<K>>,
    debit_numbers: Vec<(String, Option<String>)>,
    debit_left: Vec<Minor>,
    credit_left: Vec<Minor>,
    proposals: Vec<Proposal<K>>,
}

impl<'a, K: Copy + Ord> Run<'a, K> {
    fn new(debits: &'a [OpenDebit<K>], credits: &'a [OpenCredit<K>]) -> Self {
        let mut debits: Vec<_> = debits.iter().filter(|debit| debit.open > 0).collect();
        debits.sort_by(|a, b| by_age(a, b).then_with(|| a.key.cmp(&b.key)));
        let mut credits: Vec<_> = credits.iter().filter(|credit| credit.open > 0).collect();
        credits.sort_by(|a, b| {
            let posted = a.posted_on.cmp(&b.posted_on);
            posted
                .then_with(|| by_number(&a.reference, &b.reference))
                .then(a.key.cmp(&b.key))
        });
        let number = |debit: &&OpenDebit<K>| {
            (
                normalised(&debit.reference),
                debit.invoice_reference.as_deref().map(normalised),
            )
        };
        Run {
            debit_numbers: debits.iter().map(number).collect(),
            debit_left: debits.iter().map(|debit| debit.open).collect(),
            credit_left: credits.iter().map(|credit| credit.open).collect(),
            debits,
            credits,
            proposals: Vec::new(),
        }
    }

    /// Every number by which a debit can be named, longest first.
    fn numbers(&self) -> Vec<String> {
        let own = self.debit_numbers.iter().map(|(number, _)| number);
        let invoices = self
            .debit_numbers
            .iter()
            .filter_map(|(_, invoice)| invoice.as_ref());
        let mut numbers: Vec<String> = own.chain(invoices).cloned().collect();
        numbers.sort_by(|a, b| (Reverse(a.len()), a).cmp(&(Reverse(b.len()), b)));
        numbers.dedup();
        numbers
    }

    /// Pays the debits that bear one of the numbers, then those that follow from them: the
    /// principal of an invoice comes before its accessories (R3.8).
    fn pay_named(&mut self, credit: usize, named: &BTreeSet<String>, rule: ProposalRule) {
        if named.is_empty() {
            return;
        }
        let all = 0..self.debits.len();
        let (own, others): (Vec<usize>, Vec<usize>) =
            all.partition(|debit| named.contains(&self.debit_numbers[*debit].0));
        let following: Vec<usize> = others
            .into_iter()
            .filter(|debit| {
                self.debit_numbers[*debit]
                    .1
                    .as_ref()
                    .is_some_and(|number| named.contains(number))
            })
            .collect();
        for ranks in [own, following] {
            for group in self.groups_of_equals(&ranks) {
                self.pay_group(credit, &group, |_, _| rule);
            }
        }
    }

    /// Cuts debits in order of payment where the law tells them apart.
    fn groups_of_equals(&self, ranks: &[usize]) -> Vec<Vec<usize>> {
        ranks
            .chunk_by(|a, b| by_age(self.debits[*a], self.debits[*b]) == Ordering::Equal)
            .map(<[usize]>::to_vec)
            .collect()
    }

    /// Pays a group of equals with what is left of a credit; `rule` is told whether it is shared.
    fn pay_group(
        &mut self,
        credit: usize,
        group: &[usize],
        rule: impl Fn(&Self, bool) -> ProposalRule,
    ) {
        let open: Vec<Minor> = group.iter().map(|debit| self.debit_left[*debit]).collect();
        let parts = pro_rata(self.credit_left[credit], &open);
        let unpaid = open.iter().zip(&parts).any(|(open, part)| part < open);
        let shared = unpaid && open.iter().filter(|open| **open > 0).count() > 1;
        let rule = rule(self, shared);
        for (&debit, amount) in group.iter().zip(parts) {
            if amount > 0 {
                self.debit_left[debit] -= amount;
                self.credit_left[credit] -= amount;
                self.proposals.push(Proposal {
                    debit: self.debits[debit].key,
                    credit: self.credits[credit].key,
                    amount,
                    rule,
                });
            }
        }
    }
}

/// Due date, invoice date, number (R3.8). Due debts come first by themselves: they are older.
fn by_age<K>(a: &OpenDebit<K>, b: &OpenDebit<K>) -> Ordering {
    let dates = (a.due_on, a.invoiced_on).cmp(&(b.due_on, b.invoiced_on));
    dates.then_with(|| by_number(&a.reference, &b.reference))
}

/// The order of document numbers: runs of digits count as numbers, so FA-2 comes before FA-10.
fn by_number(a: &str, b: &str) -> Ordering {
    let (left, right) = (runs(a), runs(b));
    let compared = left.iter().zip(&right).map(|(a, b)| {
        if !is_number(a) || !is_number(b) {
            return a.cmp(b);
        }
        let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
        (a.len(), a).cmp(&(b.len(), b))
    });
    let natural = compared.fold(Ordering::Equal, Ordering::then);
    natural
        .then(left.len().cmp(&right.len()))
        .then_with(|| a.cmp(b))
}

fn runs(text: &str) -> Vec<&str> {
    let mut runs = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let kind = first.is_ascii_digit();
        let end = rest
            .find(|c: char| c.is_ascii_digit() != kind)
            .unwrap_or(rest.len());
        let (run, tail) = rest.split_at(end);
        runs.push(run);
        rest = tail;
    }
    runs
}

fn is_number(run: &str) -> bool {
    run.starts_with(|c: char| c.is_ascii_digit())
}

/// Shares an amount in proportion to what is open, by the largest remainders; the shares add up
/// to the amount, or to all that is open when that is less.
fn pro_rata(amount: Minor, open: &[Minor]) -> Vec<Minor> {
    let total: i128 = open.iter().map(|open| i128::from(*open)).sum();
    let amount = i128::from(amount);
    if amount >= total {
        return open.to_vec();
    }
    let products: Vec<i128> = open.iter().map(|open| amount * i128::from(*open)).collect();
    // A share is at most what is open, which fits.
    let mut parts: Vec<Minor> = products
        .iter()
        .map(|product| (product / total) as Minor)
        .collect();
    let given: i128 = parts.iter().map(|part| i128::from(*part)).sum();
    let mut largest_first: Vec<usize> = (0..open.len()).collect();
    largest_first.sort_by_key(|rank| Reverse(products[*rank] % total));
    for rank in largest_first.into_iter().take((amount - given) as usize) {
        parts[rank] += 1;
    }
    parts
}

/// Upper case, without blanks and hyphens.
fn normalised(number: &str) -> String {
    number
        .chars()
        .filter(|c| !is_dropped(*c))
        .flat_map(char::to_uppercase)
        .collect()
}

fn is_dropped(c: char) -> bool {
    c.is_whitespace() || is_hyphen(c)
}

fn is_hyphen(c: char) -> bool {
    matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

/// The numbers that a free text names as whole tokens. `numbers` are normalised, longest first:
/// what a longer number used does not name a shorter one.
fn named_in(text: &str, numbers: &[String]) -> BTreeSet<String> {
    let text: Vec<char> = text.chars().flat_map(char::to_uppercase).collect();
    let places: Vec<usize> = (0..text.len())
        .filter(|place| !is_dropped(text[*place]))
        .collect();
    let mut used = vec![false; places.len()];
    let mut named = BTreeSet::new();
    for number in numbers {
        let wanted: Vec<char> = number.chars().collect();
        let digits_only = wanted.iter().all(char::is_ascii_digit);
        if wanted.is_empty() || (digits_only && wanted.len() < SHORTEST_DIGITS) {
            continue;
        }
        for start in 0..(places.len() + 1).saturating_sub(wanted.len()) {
            let span = start..start + wanted.len();
            let found = places[span.clone()]
                .iter()
                .zip(&wanted)
                .all(|(at, c)| text[*at] == *c);
            if !found || used[span.clone()].contains(&true) {
                continue;
            }
            let (first, last) = (places[span.start], places[span.end - 1]);
            let is_amount = digits_only && has_cents(&text[last + 1..]);
            if starts_token(&text, first) && ends_token(&text, last) && !is_amount {
                used[span].fill(true);
                named.insert(number.clone());
            }
        }
    }
    named
}

fn starts_token(text: &[char], first: usize) -> bool {
    let before = |back: usize| first.checked_sub(back).map(|at| text[at]);
    !joined(before(2), before(1), Some(text[first]))
}

fn ends_token(text: &[char], last: usize) -> bool {
    let after = |ahead: usize| text.get(last + ahead).copied();
    match after(1) {
        Some(c) if is_hyphen(c) => !joined(Some(text[last]), Some(c), after(2)),
        next => !next.is_some_and(char::is_alphanumeric),
    }
}

/// Whether `here` continues what stands before it. A hyphen joins, except from a digit to a
/// letter: FA-1-FA-2 are two numbers, FA-1-2 is one.
fn joined(before: Option<char>, between: Option<char>, here: Option<char>) -> bool {
    let (Some(between), Some(here)) = (between, here) else {
        return false;
    };
    if !is_hyphen(between) {
        return between.is_alphanumeric();
    }
    let next_number = before.is_some_and(|c| c.is_ascii_digit()) && !here.is_ascii_digit();
    before.is_some_and(char::is_alphanumeric) && here.is_alphanumeric() && !next_number
}

/// Whether a comma or point and exactly two digits follow: 1200,00 is an amount.
fn has_cents(after: &[char]) -> bool {
    let digit = |at: usize| after.get(at).is_some_and(char::is_ascii_digit);
    matches!(after.first(), Some(',' | '.')) && digit(1) && digit(2) && !digit(3)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::ProposalRule::{
        CreditNoteReference, DebtorIndication, DueOldestFirst, NotDueOldestFirst, ProRata,
    };
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    fn debit(key: u32, reference: &str, due_on: &str, open: Minor) -> OpenDebit<u32> {
        OpenDebit {
            key,
            reference: reference.to_owned(),
            invoice_reference: None,
            due_on: date(due_on),
            invoiced_on: date("2026-01-01"),
            open,
        }
    }

    fn receipt(key: u32, posted_on: &str, open: Minor, indication: &str) -> OpenCredit<u32> {
        OpenCredit {
            key,
            kind: CreditKind::Receipt {
                indication: indication.to_owned(),
            },
            posted_on: date(posted_on),
            open,
            reference: format!("RG-{key}"),
        }
    }

    fn credit_note(key: u32, posted_on: &str, open: Minor, invoice: &str) -> OpenCredit<u32> {
        let kind = CreditKind::CreditNote {
            invoice: Some(invoice.to_owned()),
        };
        OpenCredit {
            kind,
            reference: format!("AV-{key}"),
            ..receipt(key, posted_on, open, "")
        }
    }

    fn rows(
        debits: &[OpenDebit<u32>],
        credits: &[OpenCredit<u32>],
    ) -> Vec<(u32, u32, Minor, ProposalRule)> {
        propose(debits, credits, date("2026-03-31"))
            .into_iter()
            .map(|proposal| {
                (
                    proposal.credit,
                    proposal.debit,
                    proposal.amount,
                    proposal.rule,
                )
            })
            .collect()
    }

    #[test]
    fn oldest_first_then_not_due_r3_8() {
        let debits = [
            debit(3, "FA-3", "2026-03-31", 500),
            debit(2, "FA-2", "2026-03-30", 300),
            debit(1, "FA-1", "2026-01-09", 200),
        ];
        let expected = [
            (9, 1, 200, DueOldestFirst),
            (9, 2, 200, DueOldestFirst),
            (10, 2, 100, DueOldestFirst),
            (10, 3, 500, NotDueOldestFirst),
        ];
        let credits = [
            receipt(10, "2026-03-20", 900, ""),
            receipt(9, "2026-03-01", 400, ""),
        ];
        assert_eq!(rows(&debits, &credits), expected);
    }

    #[test]
    fn invoice_date_then_number_break_ties_r3_8() {
        let older = OpenDebit {
            invoiced_on: date("2025-12-31"),
            ..debit(7, "FA-99", "2026-02-01", 100)
        };
        let debits = [
            debit(1, "FA-10", "2026-02-01", 100),
            debit(2, "FA-9", "2026-02-01", 100),
            older,
        ];
        let expected = [
            (5, 7, 100, DueOldestFirst),
            (5, 2, 100, DueOldestFirst),
            (5, 1, 50, DueOldestFirst),
        ];
        assert_eq!(
            rows(&debits, &[receipt(5, "2026-03-01", 250, "")]),
            expected
        );
    }

    #[test]
    fn equals_are_paid_pro_rata_r3_8() {
        let debits = [
            debit(1, "FA-1", "2026-02-01", 100),
            debit(2, "FA-1", "2026-02-01", 100),
            debit(3, "FA-1", "2026-02-01", 100),
        ];
        let part = [
            (5, 1, 34, ProRata),
            (5, 2, 33, ProRata),
            (5, 3, 33, ProRata),
        ];
        assert_eq!(rows(&debits, &[receipt(5, "2026-03-01", 100, "")]), part);
        let all = [(5, 1, 100), (5, 2, 100), (5, 3, 100)];
        let all = all.map(|(credit, debit, amount)| (credit, debit, amount, DueOldestFirst));
        assert_eq!(rows(&debits, &[receipt(5, "2026-03-01", 300, "")]), all);
    }

    #[test]
    fn credit_notes_go_to_their_invoice_first_r3_9() {
        let debits = [
            debit(1, "FA-1", "2026-01-09", 100),
            debit(2, "FA-2", "2026-04-30", 100),
        ];
        let credits = [
            receipt(5, "2026-01-01", 100, "FA-2"),
            credit_note(6, "2026-03-01", 130, "fa 2"),
        ];
        // The receipt named FA-2, which the credit note has settled: it pays the oldest instead.
        let expected = [
            (6, 2, 100, CreditNoteReference),
            (5, 1, 100, DueOldestFirst),
        ];
        assert_eq!(rows(&debits, &credits), expected);
    }

    #[test]
    fn the_payer_s_indication_comes_first_r3_8() {
        let debits = [
            debit(1, "FA-1", "2026-01-09", 100),
            debit(12, "FA-12", "2026-04-30", 100),
        ];
        let credits = [
            receipt(5, "2026-01-01", 100, ""),
            receipt(6, "2026-02-01", 150, "Vir fact. fa 12"),
        ];
        let expected = [(6, 12, 100, DebtorIndication), (5, 1, 100, DueOldestFirst)];
        assert_eq!(rows(&debits, &credits), expected);
    }

    #[test]
    fn the_principal_comes_before_what_follows_from_it_r3_8() {
        let deduction = OpenDebit {
            invoice_reference: Some("FA-1".to_owned()),
            ..debit(2, "OD-7", "2026-01-09", 30)
        };
        let debits = [deduction, debit(1, "FA-1", "2026-02-09", 100)];
        let expected = [(5, 1, 100, DebtorIndication), (5, 2, 20, DebtorIndication)];
        assert_eq!(
            rows(&debits, &[receipt(5, "2026-03-01", 120, "FA1")]),
            expected
        );
    }

    #[test]
    fn numbers_are_found_as_whole_tokens_r3_8() {
        let cases: [(&str, &[&str]); 19] = [
            ("FA-1", &["FA1"]),
            ("fa 1, FA-12.", &["FA1", "FA12"]),
            ("FA-12", &["FA12"]),
            ("FA123", &[]),
            ("SOFA-1", &[]),
            ("REGLT FA–12/FA1", &["FA1", "FA12"]),
            ("FA-1-FA-12", &["FA1", "FA12"]),
            ("FA-1-7", &[]),
            // Without hyphens it is FA12.
            ("FA-1-2", &["FA12"]),
            ("2026 FA-1", &["FA1"]),
            ("facture FA-2026-000001", &["FA2026000001"]),
            ("facture fa2026 000001 du 3", &["FA2026000001"]),
            ("FA-2026", &["FA2026"]),
            ("VIR 4512", &["4512"]),
            ("VIR 4512,00 EUR", &[]),
            ("VIR 45123", &[]),
            ("le 12", &[]),
            ("é FA-1 É", &["FA1"]),
            ("", &[]),
        ];
        let numbers = ["FA2026000001", "FA2026", "4512", "FA12", "FA1", "12"].map(str::to_owned);
        for (text, expected) in cases {
            let found = named_in(text, &numbers);
            assert_eq!(
                found.iter().map(String::as_str).collect::<Vec<_>>(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn numbers_are_in_natural_order() {
        let ordered = [
            "FA-2",
            "FA-9",
            "FA-10",
            "FA-10-1",
            "FA-2026-000009",
            "FA-2026-000010",
        ];
        for pair in ordered.windows(2) {
            assert_eq!(by_number(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(by_number(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(by_number("FA-1", "FA-1"), Ordering::Equal);
        assert_ne!(by_number("FA-01", "FA-1"), Ordering::Equal);
    }

    #[test]
    fn reasons_name_their_rule() {
        for rule in ProposalRule::ALL {
            let reason = rule.reason("FA-1", "RG-1");
            assert!(
                reason.starts_with("R3.") && reason.contains("FA-1"),
                "{reason}"
            );
        }
        let reason = CreditNoteReference.reason("FA-1", "AV-1");
        assert_eq!(reason, "R3.9: credit note AV-1 refers to FA-1");
    }

    fn debits() -> impl Strategy<Value = Vec<OpenDebit<u32>>> {
        let one = (0..6_u32, 0..4_u64, -5..200_i64, prop::option::of(0..6_u32));
        prop::collection::vec(one, 0..10).prop_map(|rows| {
            (0..)
                .zip(rows)
                .map(|(key, (number, days, open, follows))| OpenDebit {
                    invoice_reference: follows.map(|number| format!("FA-{number}")),
                    due_on: date("2026-03-29") + chrono::Days::new(days),
                    ..debit(key, &format!("FA-{number}"), "2026-03-29", open)
                })
                .collect()
        })
    }

    fn credits() -> impl Strategy<Value = Vec<OpenCredit<u32>>> {
        let one = (0..8_u32, 0..3_u64, -5..400_i64, any::<bool>());
        prop::collection::vec(one, 0..8).prop_map(|rows| {
            (100..)
                .zip(rows)
                .map(|(key, (number, days, open, is_note))| {
                    let number = format!("FA-{number}");
                    let credit = if is_note {
                        credit_note(key, "2026-03-01", open, &number)
                    } else {
                        receipt(key, "2026-03-01", open, &number)
                    };
                    OpenCredit {
                        posted_on: credit.posted_on + chrono::Days::new(days),
                        ..credit
                    }
                })
                .collect()
        })
    }

    proptest! {
        /// R3.4, R3.8: no side gets more than it has, all that can be matched is, once per pair,
        /// and the order of the inputs does not matter.
        #[test]
        fn proposals_conserve_amounts_r3_8(debits in debits(), credits in credits()) {
            let today = date("2026-03-31");
            let found = propose(&debits, &credits, today);
            let mut by_debit: BTreeMap<u32, Minor> = BTreeMap::new();
            let mut by_credit: BTreeMap<u32, Minor> = BTreeMap::new();
            let mut pairs = BTreeSet::new();
            for proposal in &found {
                prop_assert!(proposal.amount > 0);
                prop_assert!(pairs.insert((proposal.debit, proposal.credit)));
                *by_debit.entry(proposal.debit).or_default() += proposal.amount;
                *by_credit.entry(proposal.credit).or_default() += proposal.amount;
            }
            for debit in &debits {
                prop_assert!(by_debit.get(&debit.key).is_none_or(|sum| *sum <= debit.open));
            }
            for credit in &credits {
                prop_assert!(by_credit.get(&credit.key).is_none_or(|sum| *sum <= credit.open));
            }
            let owed: Minor = debits.iter().map(|debit| debit.open.max(0)).sum();
            let paid: Minor = credits.iter().map(|credit| credit.open.max(0)).sum();
            let matched: Minor = found.iter().map(|proposal| proposal.amount).sum();
            prop_assert_eq!(matched, owed.min(paid));

            let debits: Vec<_> = debits.into_iter().rev().collect();
            let credits: Vec<_> = credits.into_iter().rev().collect();
            prop_assert_eq!(propose(&debits, &credits, today), found);
        }

        /// R3.8: shares add up and stay within what is open.
        #[test]
        fn pro_rata_shares_add_up(
            amount in 0..Minor::MAX, open in prop::collection::vec(0..Minor::MAX, 1..6),
        ) {
            let parts = pro_rata(amount, &open);
            let total: i128 = open.iter().map(|open| i128::from(*open)).sum();
            let given: i128 = parts.iter().map(|part| i128::from(*part)).sum();
            prop_assert_eq!(given, total.min(i128::from(amount)));
            for (part, open) in parts.iter().zip(&open) {
                prop_assert!((0..=*open).contains(part));
            }
        }
    }
}
