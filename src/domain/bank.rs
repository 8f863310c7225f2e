//! Which open items a receipt on a bank account pays: the ordered rules of 13.2. The first that gives a
//! unique answer wins; two equal answers are no answer (R13.1).

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::access::codes;
use super::ids::{ClientId, ItemId};
use super::money::Minor;
use super::proposal::{self, CreditKind, OpenCredit, OpenDebit};

/// Most words that make one number: `FA / 2026 / 000012` has three.
const LONGEST: usize = 6;
/// Significant digits of a number without letters, to be found in free text.
const DIGITS: usize = 4;
/// The same for the end of a number, when the payer is known.
const TAIL_DIGITS: usize = 2;
/// Numbers in a range such as FA12-15.
const RANGE: u64 = 50;
/// Words of a text that are looked at.
const WORDS: usize = 200;
/// Items of a payer among which sums are searched, and items of such a sum.
const SUBSET_OF: usize = 30;
const SUBSET: usize = 6;
/// Alternatives that are kept.
const ALTERNATIVES: usize = 5;

codes! {
    /// What decided about a movement on a bank account.
    Rule {
        /// A person.
        ByHand = "BY_HAND",
        /// The structured reference or end-to-end id is an item's (13.2, 1).
        StructuredReference = "STRUCTURED_REFERENCE",
        /// Numbers in the text add up to the amount (13.2, 2).
        NumbersInText = "NUMBERS_IN_TEXT",
        /// The same, but for a discount, a small difference or a part (13.2, 3).
        NumbersWithDifference = "NUMBERS_WITH_DIFFERENCE",
        /// The payer's account is known, and the amount is that of one item or one sum (13.2, 4).
        KnownAccount = "KNOWN_ACCOUNT",
        /// The client is known, nothing fits: on account (13.2, 5).
        KnownClient = "KNOWN_CLIENT",
        /// Nobody is known (13.2, 6).
        UnknownPayer = "UNKNOWN_PAYER",
        /// The bank credits a remittance slip.
        RemittanceSlip = "REMITTANCE_SLIP",
        /// A receipt comes back (R13.3).
        Return = "RETURN",
        /// The bank's own charge.
        BankCharge = "BANK_CHARGE",
        /// A payment of ours: not receivables.
        NotReceivable = "NOT_RECEIVABLE",
    }
}

codes! {
    /// Where a movement on a bank account stands.
    LineStatus {
        /// Matched by a rule.
        Automatic = "AUTOMATIC",
        /// Matched by a person.
        Matched = "MATCHED",
        /// A rule proposes; a person decides. The money waits on account, or on 471.
        Proposed = "PROPOSED",
        /// The client is known, the money is on account (13.2, 5).
        OnAccount = "ON_ACCOUNT",
        /// Nobody is known: the money is on 471 (13.2, 6).
        Unknown = "UNKNOWN",
        /// It took a receipt back (R13.3).
        Returned = "RETURNED",
        /// A remittance slip credited, or a charge of the bank.
        Posted = "POSTED",
        /// Not receivables.
        Ignored = "IGNORED",
        /// Taken back.
        Undone = "UNDONE",
    }
}

codes! {
    /// What a task is about.
    TaskKind {
        /// A receipt on 471: who paid?
        UnknownReceipt = "UNKNOWN_RECEIPT",
        /// A match that is proposed.
        BankProposal = "BANK_PROPOSAL",
        /// Money that went back: which receipt?
        UnmatchedReturn = "UNMATCHED_RETURN",
    }
}

impl Rule {
    /// The number that is stored: that of 13.2 from 1 to 6.
    pub fn number(self) -> i16 {
        let position = Rule::ALL.iter().position(|rule| *rule == self);
        i16::try_from(position.unwrap_or_default()).unwrap_or_default()
    }

    /// The rule with a stored number.
    pub fn numbered(number: i16) -> Option<Rule> {
        Rule::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// An open item that a receipt might pay, or a credit that a payer might have taken off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    pub item: ItemId,
    pub client: ClientId,
    /// 411 or 416: only equals settle each other.
    pub family: String,
    /// What made it: instalments share one.
    pub document: Uuid,
    /// Its number.
    pub reference: String,
    pub is_debit: bool,
    /// What is open, minor units, positive.
    pub open: Minor,
    pub due_on: NaiveDate,
    pub invoiced_on: NaiveDate,
    /// The discount that this receipt would earn on the whole document (R2.16).
    pub offer: Option<Offer>,
    /// What of it is in dispute.
    pub disputed: Minor,
}

/// An early-payment discount: what it takes off with its VAT corrected, and as "escompte net de taxe" (R2.15).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer {
    pub gross: Minor,
    pub net: Minor,
}

/// Money that came in.
#[derive(Clone, Debug, Default)]
pub struct Receipt<'a> {
    /// Minor units, positive.
    pub amount: Minor,
    /// Creditor references, document numbers and the end-to-end id.
    pub structured: Vec<&'a str>,
    /// What the payer wrote.
    pub text: &'a str,
    pub booked_on: NaiveDate,
}

/// Who paid, as far as the account or the name tells.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Payer {
    pub clients: Vec<ClientId>,
    /// Whether the account is known; a name alone never matches anything.
    pub by_account: bool,
}

/// A part of a decision: what the receipt, or a credit that the payer took off, pays of an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Share {
    pub client: ClientId,
    pub debit: ItemId,
    /// The credit taken off; none for the receipt itself.
    pub credit: Option<ItemId>,
    /// Minor units, positive.
    pub amount: Minor,
}

/// What is left between the items and the amount, and where it goes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Difference {
    /// Nothing is left, or it stays open.
    #[default]
    None,
    /// Discounts that the receipt earned (2.8).
    Discount {
        documents: Vec<Uuid>,
        corrects_vat: bool,
    },
    /// At most the tolerance (2.14): positive when still owed, negative when paid too much.
    Small(Minor),
}

/// Something else that the receipt could pay.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Alternative {
    pub evidence: String,
    pub shares: Vec<Share>,
}

/// What the rules say about a receipt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    pub rule: Rule,
    /// 0 to 100.
    pub score: i16,
    /// Whether it is done at once; otherwise it is proposed, or the money stays on account.
    pub automatic: bool,
    /// Whose account the money goes to; none while nobody is known for sure.
    pub client: Option<ClientId>,
    pub evidence: String,
    pub shares: Vec<Share>,
    pub difference: Difference,
    pub alternatives: Vec<Alternative>,
}

/// What to look for among the open items: keys, and keys in runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lookups {
    pub keys: BTreeSet<String>,
    pub runs: BTreeSet<String>,
}

/// A number without blanks and signs, in upper case; the database has the same function.
pub fn reference_key(number: &str) -> String {
    number
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|sign| sign.to_ascii_uppercase())
        .collect()
}

/// A number in runs of letters and of digits, these without leading zeros; the database has the same function.
pub fn reference_runs(number: &str) -> String {
    let words: Vec<Word> = words(number);
    joined(&words)
}

/// A run of letters or of digits, and what stood before it.
#[derive(Clone, Debug)]
struct Word {
    text: String,
    is_number: bool,
    before: String,
}

impl Word {
    /// Without leading zeros.
    fn short(&self) -> &str {
        if !self.is_number {
            return &self.text;
        }
        let short = self.text.trim_start_matches('0');
        if short.is_empty() { "0" } else { short }
    }

    fn value(&self) -> Option<u64> {
        self.text.parse().ok().filter(|_| self.is_number)
    }
}

fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut before = String::new();
    let mut glued = false;
    for sign in text.chars() {
        if !sign.is_ascii_alphanumeric() {
            before.push(sign);
            glued = false;
            continue;
        }
        let is_number = sign.is_ascii_digit();
        match words.last_mut() {
            Some(word) if glued && word.is_number == is_number => {
                word.text.push(sign.to_ascii_uppercase());
            }
            _ => words.push(Word {
                text: sign.to_ascii_uppercase().to_string(),
                is_number,
                before: std::mem::take(&mut before),
            }),
        }
        glued = true;
    }
    words
}

fn joined(words: &[Word]) -> String {
    words.iter().map(Word::short).collect::<Vec<_>>().join("/")
}

/// A part of a text that may be a number.
struct Span<'a> {
    words: &'a [Word],
    /// What follows it in the text.
    after: &'a [Word],
}

impl Span<'_> {
    /// Whether it may be a whole number: it has a digit, and enough of them without a letter.
    fn is_telling(&self, digits: usize) -> bool {
        let counted: usize = self
            .words
            .iter()
            .filter(|word| word.is_number)
            .map(|word| word.short().len())
            .sum();
        let lettered = self.words.iter().any(|word| !word.is_number);
        let amount = !lettered
            && self.after.first().is_some_and(|next| {
                next.is_number && next.text.len() == 2 && matches!(next.before.as_str(), "," | ".")
            });
        counted > 0 && !amount && (lettered || counted >= digits)
    }

    fn key(&self) -> String {
        self.words.iter().map(|word| word.text.as_str()).collect()
    }

    /// FA12-15, FA 12 à 15: the runs of the numbers behind the first, when a range follows.
    fn range(&self) -> Vec<String> {
        let (Some((last, head)), Some(next)) = (self.words.split_last(), self.after.first()) else {
            return Vec::new();
        };
        let to = match next.text.as_str() {
            "A" | "AU" => self.after.get(1),
            _ if matches!(next.before.trim(), "-" | "–" | "à" | ".." | "...") => Some(next),
            _ => None,
        };
        let (Some(from), Some(to)) = (last.value(), to.and_then(Word::value)) else {
            return Vec::new();
        };
        if to <= from || to - from > RANGE || head.is_empty() {
            return Vec::new();
        }
        let head = joined(head);
        (from + 1..=to)
            .map(|number| format!("{head}/{number}"))
            .collect()
    }
}

fn spans(words: &[Word], from: usize) -> impl Iterator<Item = Span<'_>> {
    let longest = (words.len() - from).min(LONGEST);
    (1..=longest).rev().map(move |length| Span {
        words: &words[from..from + length],
        after: &words[from + length..],
    })
}

/// A creditor reference of ISO 11649 without its check, when the check is right.
fn creditor_reference(text: &str) -> Option<String> {
    let key = reference_key(text);
    let (head, body) = key.split_at_checked(4)?;
    if !head.starts_with("RF") || body.is_empty() {
        return None;
    }
    let rest = format!("{body}{head}").bytes().fold(0_u32, |rest, sign| {
        let value = match sign {
            b'0'..=b'9' => u32::from(sign - b'0'),
            _ => u32::from(sign - b'A') + 10,
        };
        (if value > 9 { rest * 100 } else { rest * 10 } + value) % 97
    });
    (rest == 1).then(|| body.to_owned())
}

impl Receipt<'_> {
    fn words(&self) -> Vec<Word> {
        let mut found = words(self.text);
        found.truncate(WORDS);
        found
    }

    /// Every number that the structured references name.
    fn references(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for text in &self.structured {
            let plain = creditor_reference(text).unwrap_or_else(|| (*text).to_owned());
            found.push((reference_key(&plain), reference_runs(&plain)));
            found.push((reference_key(text), reference_runs(text)));
        }
        found.retain(|(key, _)| !key.is_empty());
        found
    }

    /// What to look for among the open items of all clients.
    pub fn lookups(&self) -> Lookups {
        let mut lookups = Lookups::default();
        for (key, runs) in self.references() {
            lookups.keys.insert(key);
            lookups.runs.insert(runs);
        }
        let words = self.words();
        for from in 0..words.len() {
            for span in spans(&words, from).filter(|span| span.is_telling(DIGITS)) {
                lookups.keys.insert(span.key());
                lookups.runs.insert(joined(span.words));
                lookups.runs.extend(span.range());
            }
        }
        lookups
    }
}

/// A document with what is open of it.
#[derive(Clone, Debug)]
struct Document<'a> {
    id: Uuid,
    items: Vec<&'a Candidate>,
}

impl Document<'_> {
    fn client(&self) -> ClientId {
        self.items[0].client
    }

    fn reference(&self) -> &str {
        &self.items[0].reference
    }

    /// What is owed on it; negative for a credit note.
    fn net(&self) -> Minor {
        self.items
            .iter()
            .map(|item| if item.is_debit { item.open } else { -item.open })
            .sum()
    }
}

/// Decides about a receipt. `named` are the open items that its lookups found, of any client; `own` those of
/// the payer's accounts. Both in the receipt's currency.
pub fn decide(
    receipt: &Receipt<'_>,
    payer: &Payer,
    named: &[Candidate],
    own: &[Candidate],
    tolerance: Minor,
) -> Decision {
    let structured = by_reference(receipt, payer, named);
    if let Some(decision) = exact(receipt, payer, &structured, Rule::StructuredReference, 100) {
        return decision;
    }
    let mut mentioned = structured;
    for found in in_text(receipt, payer, named, false) {
        if !mentioned.iter().any(|before| same(before, &found)) {
            mentioned.push(found);
        }
    }
    if let Some(decision) = exact(receipt, payer, &mentioned, Rule::NumbersInText, 95) {
        return decision;
    }
    if payer.by_account {
        let tails = in_text(receipt, payer, own, true);
        if let Some(decision) = exact(receipt, payer, &tails, Rule::NumbersInText, 90) {
            return decision;
        }
    }
    if let Some(decision) = nearly(receipt, payer, &mentioned, tolerance) {
        return decision;
    }
    let mut alternatives: Vec<Alternative> = mentioned
        .iter()
        .filter(|mention| mention.len() > 1)
        .flatten()
        .map(|document| Alternative {
            evidence: format!("the payer may have meant {}", document.reference()),
            shares: lay(std::slice::from_ref(document), receipt.amount).unwrap_or_default(),
        })
        .take(ALTERNATIVES)
        .collect();
    if payer.by_account
        && let Some(decision) = by_amount(receipt, own, &mut alternatives)
    {
        return decision;
    }
    left_over(receipt, payer, &mentioned, own, alternatives)
}

/// One thing that the payer named: the documents that it may be.
type Mention<'a> = Vec<Document<'a>>;

fn same(a: &Mention<'_>, b: &Mention<'_>) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.id == b.id)
}

/// The documents of these candidates; those of the payer when that decides between several.
fn documents<'a>(found: Vec<&'a Candidate>, payer: &Payer) -> Mention<'a> {
    let mut by_id: BTreeMap<Uuid, Vec<&Candidate>> = BTreeMap::new();
    for candidate in found {
        by_id.entry(candidate.document).or_default().push(candidate);
    }
    let mut documents: Mention<'a> = by_id
        .into_iter()
        .map(|(id, mut items)| {
            items.sort_by_key(|item| (item.due_on, item.item));
            Document { id, items }
        })
        .collect();
    let mine: Vec<bool> = documents
        .iter()
        .map(|document| payer.clients.contains(&document.client()))
        .collect();
    if documents.len() > 1 && mine.contains(&true) {
        let mut mine = mine.into_iter();
        documents.retain(|_| mine.next().unwrap_or_default());
    }
    documents
}

fn by_reference<'a>(
    receipt: &Receipt<'_>,
    payer: &Payer,
    named: &'a [Candidate],
) -> Vec<Mention<'a>> {
    let mut mentions: Vec<Mention<'a>> = Vec::new();
    for (key, runs) in receipt.references() {
        let found: Vec<&Candidate> = named
            .iter()
            .filter(|candidate| {
                reference_key(&candidate.reference) == key
                    || reference_runs(&candidate.reference) == runs
            })
            .collect();
        let mention = documents(found, payer);
        if !mention.is_empty() && !mentions.iter().any(|before| same(before, &mention)) {
            mentions.push(mention);
        }
    }
    mentions
}

/// What the text names, from its beginning; with `tails`, the ends of numbers count too.
fn in_text<'a>(
    receipt: &Receipt<'_>,
    payer: &Payer,
    candidates: &'a [Candidate],
    tails: bool,
) -> Vec<Mention<'a>> {
    let words = receipt.words();
    let known: Vec<(&Candidate, String, String)> = candidates
        .iter()
        .map(|candidate| {
            let reference = &candidate.reference;
            (
                candidate,
                reference_key(reference),
                reference_runs(reference),
            )
        })
        .collect();
    let find = |wanted: &dyn Fn(&str, &str) -> bool| -> Vec<&'a Candidate> {
        known
            .iter()
            .filter(|(_, key, runs)| wanted(key, runs))
            .map(|(candidate, _, _)| *candidate)
            .collect()
    };
    let mut mentions: Vec<Mention<'a>> = Vec::new();
    let mut add = |found: Vec<&'a Candidate>| {
        let mention = documents(found, payer);
        if !mention.is_empty() && !mentions.iter().any(|before| same(before, &mention)) {
            mentions.push(mention);
        }
    };
    let mut at = 0;
    while at < words.len() {
        let hit = spans(&words, at).find_map(|span| {
            let (key, runs) = (span.key(), joined(span.words));
            let end = format!("/{runs}");
            let found = find(&|of_key, of_runs| {
                let whole = span.is_telling(DIGITS) && (of_key == key || of_runs == runs);
                whole || tails && span.is_telling(TAIL_DIGITS) && of_runs.ends_with(&end)
            });
            (!found.is_empty()).then_some((span, found))
        });
        let Some((span, found)) = hit else {
            at += 1;
            continue;
        };
        add(found);
        at += span.words.len();
        let range = span.range();
        // A range counts when its end exists: FA-2026-12 is no range from 2026.
        let end = range.last().map(|end| find(&|_, runs| runs == end));
        if end.is_some_and(|end| !end.is_empty()) {
            for number in &range {
                add(find(&|_, runs| runs == number));
            }
        }
    }
    mentions
}

/// Rules 1 and 2: what is named is open for exactly the amount.
fn exact(
    receipt: &Receipt<'_>,
    payer: &Payer,
    mentions: &[Mention<'_>],
    rule: Rule,
    score: i16,
) -> Option<Decision> {
    let (shares, meant) = match mentions {
        [] => return None,
        // One number that several documents bear: the one that fits, when only one does.
        [mention] => {
            let mut fitting = mention.iter().filter_map(|document| {
                let alone = std::slice::from_ref(document);
                Some((fitting(alone, receipt.amount)?, alone.to_vec()))
            });
            let found = fitting.next()?;
            if fitting.next().is_some() {
                return None;
            }
            found
        }
        several => {
            let meant = unambiguous(several)?;
            (fitting(&meant, receipt.amount)?, meant)
        }
    };
    let clients: BTreeSet<ClientId> = meant.iter().map(Document::client).collect();
    // R13.4: several accounts are paid at once only by somebody who is known to pay for them.
    let sure = clients.len() == 1 || clients.iter().all(|client| payer.clients.contains(client));
    Some(Decision {
        rule,
        score: if sure { score } else { 60 },
        automatic: sure,
        client: meant.first().map(Document::client).filter(|_| sure),
        evidence: format!("{} for exactly this amount", list(&meant)),
        shares,
        difference: Difference::None,
        alternatives: Vec::new(),
    })
}

/// Every mention as the one document it means; none when one of them may mean several.
fn unambiguous<'a>(mentions: &[Mention<'a>]) -> Option<Vec<Document<'a>>> {
    mentions
        .iter()
        .map(|mention| match mention.as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        })
        .collect()
}

fn list(documents: &[Document<'_>]) -> String {
    let names: Vec<&str> = documents.iter().map(Document::reference).collect();
    names.join(", ")
}

/// Shares when the documents are open for exactly the amount, or the first instalments of one are.
fn fitting(documents: &[Document<'_>], amount: Minor) -> Option<Vec<Share>> {
    let net: Minor = documents.iter().map(Document::net).sum();
    if net == amount {
        return lay(documents, amount);
    }
    let [only] = documents else {
        return None;
    };
    let mut sum = 0;
    for (count, item) in only.items.iter().enumerate() {
        sum += item.open;
        if item.is_debit && sum == amount {
            let first = Document {
                id: only.id,
                items: only.items[..=count].to_vec(),
            };
            return lay(&[first], amount);
        }
    }
    None
}

/// Lays credits that were taken off, then the receipt, over the debits, oldest due first, client by client.
/// None when the credits of a client exceed its debits.
fn lay(documents: &[Document<'_>], amount: Minor) -> Option<Vec<Share>> {
    let mut by_client: BTreeMap<ClientId, Vec<&Candidate>> = BTreeMap::new();
    let mut order = Vec::new();
    for document in documents {
        let items = by_client.entry(document.client()).or_default();
        if items.is_empty() {
            order.push(document.client());
        }
        items.extend(&document.items);
    }
    let (mut shares, mut left) = (Vec::new(), amount);
    for client in order {
        let items = by_client.remove(&client).unwrap_or_default();
        let mut debits: Vec<(&Candidate, Minor)> = items
            .iter()
            .filter(|item| item.is_debit)
            .map(|item| (*item, item.open))
            .collect();
        debits.sort_by_key(|(item, _)| (item.due_on, item.invoiced_on, item.item));
        for credit in items.iter().filter(|item| !item.is_debit) {
            let mut of_credit = credit.open;
            for (debit, open) in &mut debits {
                let part = of_credit.min(*open);
                if part > 0 && debit.family == credit.family {
                    shares.push(Share {
                        client,
                        debit: debit.item,
                        credit: Some(credit.item),
                        amount: part,
                    });
                    of_credit -= part;
                    *open -= part;
                }
            }
            if of_credit > 0 {
                return None;
            }
        }
        for (debit, open) in debits {
            let part = left.min(open);
            if part > 0 {
                shares.push(Share {
                    client,
                    debit: debit.item,
                    credit: None,
                    amount: part,
                });
                left -= part;
            }
        }
    }
    Some(shares)
}

/// Rule 3: what is named, but for a discount or a small difference; else a proposal.
fn nearly(
    receipt: &Receipt<'_>,
    payer: &Payer,
    mentions: &[Mention<'_>],
    tolerance: Minor,
) -> Option<Decision> {
    let meant = unambiguous(mentions).filter(|meant| !meant.is_empty())?;
    let client = meant[0].client();
    if meant.iter().any(|document| document.client() != client) {
        return None;
    }
    // Somebody known who names another client's number, and not for its amount: nothing is sure.
    let sure = payer.clients.is_empty() || payer.clients.contains(&client);
    let net: Minor = meant.iter().map(Document::net).sum();
    let difference = net - receipt.amount;
    let decision = |score, automatic, evidence, shares, difference| {
        Some(Decision {
            rule: Rule::NumbersWithDifference,
            score: if sure { score } else { 60 },
            automatic: automatic && sure,
            client: Some(client).filter(|_| sure),
            evidence,
            shares,
            difference,
            alternatives: Vec::new(),
        })
    };
    if let Some(corrects_vat) = discount(&meant, difference) {
        let documents = meant
            .iter()
            .filter(|document| document.items.iter().any(|item| item.offer.is_some()))
            .map(|document| document.id)
            .collect();
        return decision(
            90,
            true,
            format!("{} less the discount for early payment", list(&meant)),
            lay_discounted(&meant, corrects_vat)?,
            Difference::Discount {
                documents,
                corrects_vat,
            },
        );
    }
    let shares = lay(&meant, receipt.amount)?;
    if difference.abs() <= tolerance && net > 0 {
        return decision(
            90,
            true,
            format!("{} but for a small difference", list(&meant)),
            shares,
            Difference::Small(difference),
        );
    }
    let disputed: Minor = meant
        .iter()
        .flat_map(|document| &document.items)
        .map(|item| item.disputed)
        .sum();
    let why = if difference > 0 && difference == disputed {
        "the rest is what is in dispute"
    } else if difference > 0 {
        "a part: what is missing may be an instalment, or a deduction to record"
    } else {
        "more than is open: the rest stays on account"
    };
    decision(
        if payer.clients.is_empty() { 65 } else { 75 },
        false,
        format!("{} named, {why}", list(&meant)),
        shares,
        Difference::None,
    )
}

/// Whether the difference is the sum of the discounts that the documents offer: with VAT corrected, or net of tax.
fn discount(documents: &[Document<'_>], difference: Minor) -> Option<bool> {
    let offers: Vec<Offer> = documents
        .iter()
        .filter_map(|document| document.items.iter().find_map(|item| item.offer))
        .collect();
    let gross: Minor = offers.iter().map(|offer| offer.gross).sum();
    let net: Minor = offers.iter().map(|offer| offer.net).sum();
    if gross > 0 && difference == gross {
        Some(true)
    } else if net > 0 && difference == net {
        Some(false)
    } else {
        None
    }
}

/// Every document for what is left behind its discount: the discount settles the rest.
fn lay_discounted(documents: &[Document<'_>], corrects_vat: bool) -> Option<Vec<Share>> {
    let mut shares = Vec::new();
    for document in documents {
        let offer = document.items.iter().find_map(|item| item.offer);
        let less = offer.map_or(
            0,
            |offer| if corrects_vat { offer.gross } else { offer.net },
        );
        if document.items.iter().any(|item| !item.is_debit) {
            // A credit note among them: which document keeps the discount is not clear.
            return None;
        }
        shares.extend(lay(std::slice::from_ref(document), document.net() - less)?);
    }
    Some(shares)
}

/// Rule 4: the payer's account is known; one item, or one sum of a few, is open for the amount.
fn by_amount(
    receipt: &Receipt<'_>,
    own: &[Candidate],
    alternatives: &mut Vec<Alternative>,
) -> Option<Decision> {
    let debits: Vec<&Candidate> = own.iter().filter(|item| item.is_debit).collect();
    let share = |item: &Candidate| Share {
        client: item.client,
        debit: item.item,
        credit: None,
        amount: item.open,
    };
    let alone: Vec<&&Candidate> = debits
        .iter()
        .filter(|item| item.open == receipt.amount)
        .collect();
    let mut sums = Vec::new();
    if alone.is_empty() {
        sums = subsets(&debits, receipt.amount);
    }
    match (alone.as_slice(), sums.as_slice()) {
        ([item], _) => Some(Decision {
            rule: Rule::KnownAccount,
            score: 85,
            automatic: true,
            client: Some(item.client),
            evidence: format!(
                "the payer's account is known, only {} is open for this amount",
                item.reference
            ),
            shares: vec![share(item)],
            difference: Difference::None,
            alternatives: Vec::new(),
        }),
        ([], [sum]) => Some(Decision {
            rule: Rule::KnownAccount,
            score: 60,
            automatic: false,
            client: Some(sum[0].client),
            evidence: format!(
                "the payer's account is known, only {} add up to this amount",
                sum.iter()
                    .map(|item| item.reference.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            shares: sum.iter().map(|item| share(item)).collect(),
            difference: Difference::None,
            alternatives: Vec::new(),
        }),
        _ => {
            let several = alone.iter().map(|item| vec![**item]).chain(sums);
            let found = several.take(ALTERNATIVES).map(|items| Alternative {
                evidence: format!(
                    "{} for this amount, but not alone",
                    items
                        .iter()
                        .map(|item| item.reference.as_str())
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
                shares: items.iter().map(|item| share(item)).collect(),
            });
            alternatives.extend(found);
            None
        }
    }
}

/// Sums of two to six items of one client that give the amount; at most one more than are kept.
fn subsets<'a>(items: &[&'a Candidate], amount: Minor) -> Vec<Vec<&'a Candidate>> {
    let mut by_client: BTreeMap<ClientId, Vec<&Candidate>> = BTreeMap::new();
    for item in items {
        by_client.entry(item.client).or_default().push(item);
    }
    let mut found = Vec::new();
    for items in by_client
        .values_mut()
        .filter(|items| items.len() <= SUBSET_OF)
    {
        items.sort_by_key(|item| std::cmp::Reverse((item.open, item.item)));
        search(items, amount, &mut Vec::new(), &mut found);
    }
    found
}

fn search<'a>(
    items: &[&'a Candidate],
    left: Minor,
    taken: &mut Vec<&'a Candidate>,
    found: &mut Vec<Vec<&'a Candidate>>,
) {
    if left == 0 && taken.len() > 1 {
        found.push(taken.clone());
        return;
    }
    let room = SUBSET - taken.len();
    if room == 0 || left <= 0 {
        return;
    }
    for (at, item) in items.iter().enumerate() {
        if found.len() > ALTERNATIVES {
            return;
        }
        // Largest first: when even the largest that are left cannot fill it, nothing behind can.
        if item.open.saturating_mul(room as Minor) < left {
            return;
        }
        if item.open <= left {
            taken.push(item);
            search(&items[at + 1..], left - item.open, taken, found);
            taken.pop();
        }
    }
}

/// Rules 5 and 6: on account of the client who is known, else nobody's.
fn left_over(
    receipt: &Receipt<'_>,
    payer: &Payer,
    mentions: &[Mention<'_>],
    own: &[Candidate],
    mut alternatives: Vec<Alternative>,
) -> Decision {
    let named: BTreeSet<ClientId> = mentions.iter().flatten().map(Document::client).collect();
    let client = match (payer.clients.as_slice(), named.len()) {
        ([only], _) => Some(*only),
        // The payer named documents of one client only.
        ([], 1) => named.first().copied(),
        _ => None,
    };
    if alternatives.is_empty()
        && let Some(client) = client
    {
        alternatives.extend(in_order_of_law(receipt, client, own));
    }
    match client {
        Some(_) => Decision {
            rule: Rule::KnownClient,
            score: 50,
            automatic: false,
            client,
            evidence: if payer.by_account {
                "the payer's account is known, nothing fits the amount".to_owned()
            } else if payer.clients.is_empty() {
                "the payer named documents of this client, nothing fits the amount".to_owned()
            } else {
                "the payer has this client's name, nothing fits for sure".to_owned()
            },
            shares: Vec::new(),
            difference: Difference::None,
            alternatives,
        },
        None => Decision {
            rule: Rule::UnknownPayer,
            score: 0,
            automatic: false,
            client: None,
            evidence: match payer.clients.len() {
                0 => "neither account, name nor text tells who paid".to_owned(),
                several => {
                    format!("the payer stands for {several} clients, nothing fits the amount")
                }
            },
            shares: Vec::new(),
            difference: Difference::None,
            alternatives,
        },
    }
}

/// What R3.8 would pay with it.
fn in_order_of_law(
    receipt: &Receipt<'_>,
    client: ClientId,
    own: &[Candidate],
) -> Option<Alternative> {
    let debits: Vec<OpenDebit<ItemId>> = own
        .iter()
        .filter(|item| item.is_debit && item.client == client)
        .map(|item| OpenDebit {
            key: item.item,
            reference: item.reference.clone(),
            invoice_reference: None,
            due_on: item.due_on,
            invoiced_on: item.invoiced_on,
            open: item.open,
        })
        .collect();
    let credit = OpenCredit {
        key: ItemId(Uuid::nil()),
        kind: CreditKind::Receipt {
            indication: receipt.text.to_owned(),
        },
        posted_on: receipt.booked_on,
        open: receipt.amount,
        reference: String::new(),
    };
    let shares: Vec<Share> = proposal::propose(&debits, &[credit], receipt.booked_on)
        .into_iter()
        .map(|found| Share {
            client,
            debit: found.debit,
            credit: None,
            amount: found.amount,
        })
        .collect();
    (!shares.is_empty()).then(|| Alternative {
        evidence: "in the order of R3.8".to_owned(),
        shares,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(n: u128) -> ClientId {
        ClientId(Uuid::from_u128(n))
    }

    fn day(n: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 1, 1).expect("a day") + chrono::Duration::days(i64::from(n))
    }

    /// An item of client `of`, with its own document.
    fn item(n: u128, of: u128, reference: &str, open: Minor) -> Candidate {
        Candidate {
            item: ItemId(Uuid::from_u128(n)),
            client: client(of),
            family: "411".into(),
            document: Uuid::from_u128(1000 + n),
            reference: reference.into(),
            is_debit: true,
            open,
            due_on: day(n as u32),
            invoiced_on: day(0),
            offer: None,
            disputed: 0,
        }
    }

    fn credit(n: u128, of: u128, reference: &str, open: Minor) -> Candidate {
        Candidate {
            is_debit: false,
            ..item(n, of, reference, open)
        }
    }

    fn text(amount: Minor, text: &str) -> Receipt<'_> {
        Receipt {
            amount,
            text,
            booked_on: day(40),
            ..Receipt::default()
        }
    }

    fn nobody() -> Payer {
        Payer::default()
    }

    fn account_of(clients: &[u128]) -> Payer {
        Payer {
            clients: clients.iter().map(|n| client(*n)).collect(),
            by_account: true,
        }
    }

    /// Item number and amount of the shares of the receipt itself.
    fn paid(decision: &Decision) -> Vec<(u128, Minor)> {
        let own = decision
            .shares
            .iter()
            .filter(|share| share.credit.is_none());
        own.map(|share| (share.debit.0.as_u128(), share.amount))
            .collect()
    }

    fn outcome(decision: &Decision) -> (Rule, bool) {
        (decision.rule, decision.automatic)
    }

    #[test]
    fn rule_1_a_reference_for_its_amount() {
        let named = [
            item(1, 1, "FA2025-00066", 355_111),
            item(2, 1, "FA2025-00067", 100),
        ];
        // With the check of ISO 11649, without one, and as the end-to-end id.
        for structured in ["RF75FA202500066", "FA2025-00066", "fa2025 00066"] {
            let receipt = Receipt {
                structured: vec![structured],
                ..text(355_111, "")
            };
            let decision = decide(&receipt, &nobody(), &named, &[], 100);
            assert_eq!(
                outcome(&decision),
                (Rule::StructuredReference, true),
                "{structured}"
            );
            assert_eq!(paid(&decision), [(1, 355_111)]);
            assert_eq!((decision.score, decision.client), (100, Some(client(1))));
        }
        // A wrong check makes it another reference.
        let wrong = Receipt {
            structured: vec!["RF76FA202500066"],
            ..text(355_111, "")
        };
        assert_eq!(
            decide(&wrong, &nobody(), &named, &[], 100).rule,
            Rule::UnknownPayer
        );
    }

    #[test]
    fn rule_2_numbers_in_the_text_add_up() {
        let named = [
            item(1, 1, "FA-2026-000012", 10_000),
            item(2, 1, "FA-2026-000013", 20_000),
            item(3, 1, "FA-2026-000014", 30_000),
            item(4, 1, "FA-2026-000015", 40_000),
            credit(5, 1, "AV-2026-000001", 5_000),
        ];
        type Case<'a> = (&'a str, Minor, &'a [(u128, Minor)]);
        let cases: &[Case<'_>] = &[
            ("REGLT FA-2026-000012", 10_000, &[(1, 10_000)]),
            ("fact FA 2026 12 du 3/1", 10_000, &[(1, 10_000)]),
            ("FA2026000012", 10_000, &[(1, 10_000)]),
            (
                "FA-2026-12 + FA-2026-13",
                30_000,
                &[(1, 10_000), (2, 20_000)],
            ),
            (
                "FA-2026-12-15",
                100_000,
                &[(1, 10_000), (2, 20_000), (3, 30_000), (4, 40_000)],
            ),
            (
                "FA-2026-12 à 14",
                60_000,
                &[(1, 10_000), (2, 20_000), (3, 30_000)],
            ),
            (
                "FA 2026 12 AU 14",
                60_000,
                &[(1, 10_000), (2, 20_000), (3, 30_000)],
            ),
            // Less a credit note that the payer names.
            ("FA-2026-000012 moins AV-2026-000001", 5_000, &[(1, 5_000)]),
        ];
        for (written, amount, expected) in cases {
            let decision = decide(&text(*amount, written), &nobody(), &named, &[], 0);
            assert_eq!(outcome(&decision), (Rule::NumbersInText, true), "{written}");
            assert_eq!(paid(&decision), *expected, "{written}");
        }
        // The payer is known: the end of a number is enough, when the amount is right.
        let decision = decide(
            &text(10_000, "votre facture 12"),
            &account_of(&[1]),
            &[],
            &named,
            0,
        );
        assert_eq!(outcome(&decision), (Rule::NumbersInText, true));
        let decision = decide(&text(10_000, "votre facture 12"), &nobody(), &named, &[], 0);
        assert_eq!(decision.rule, Rule::UnknownPayer);
    }

    #[test]
    fn rule_2_first_instalments_of_what_is_named() {
        let mut named = [
            item(1, 1, "FA-2026-9", 100),
            item(2, 1, "FA-2026-9", 100),
            item(3, 1, "FA-2026-9", 100),
        ];
        for instalment in &mut named {
            instalment.document = Uuid::from_u128(9);
        }
        let decision = decide(&text(200, "FA-2026-9"), &nobody(), &named, &[], 0);
        assert_eq!(outcome(&decision), (Rule::NumbersInText, true));
        assert_eq!(paid(&decision), [(1, 100), (2, 100)]);
    }

    #[test]
    fn rule_3_a_discount_a_small_difference_or_a_proposal() {
        let mut offered = item(1, 1, "FA-2026-1", 120_000);
        offered.offer = Some(Offer {
            gross: 2_400,
            net: 2_000,
        });
        let named = [offered];
        for (amount, corrects_vat) in [(117_600, true), (118_000, false)] {
            let decision = decide(
                &text(amount, "FA-2026-1 escompte"),
                &nobody(),
                &named,
                &[],
                100,
            );
            assert_eq!(outcome(&decision), (Rule::NumbersWithDifference, true));
            assert_eq!(paid(&decision), [(1, amount)]);
            let documents = vec![Uuid::from_u128(1001)];
            assert_eq!(
                decision.difference,
                Difference::Discount {
                    documents,
                    corrects_vat
                }
            );
        }
        for (amount, left) in [(119_999, 1), (120_100, -100)] {
            let decision = decide(&text(amount, "FA-2026-1"), &nobody(), &named, &[], 100);
            assert_eq!(
                outcome(&decision),
                (Rule::NumbersWithDifference, true),
                "{amount}"
            );
            assert_eq!(decision.difference, Difference::Small(left));
        }
        for amount in [100_000, 120_101] {
            let decision = decide(&text(amount, "FA-2026-1"), &nobody(), &named, &[], 100);
            assert_eq!(
                outcome(&decision),
                (Rule::NumbersWithDifference, false),
                "{amount}"
            );
            assert_eq!(paid(&decision), [(1, amount.min(120_000))]);
            assert_eq!(decision.difference, Difference::None);
        }
        let disputed = [Candidate {
            disputed: 20_000,
            ..item(1, 1, "FA-2026-1", 120_000)
        }];
        let decision = decide(&text(100_000, "FA-2026-1"), &nobody(), &disputed, &[], 100);
        assert!(
            decision.evidence.contains("dispute"),
            "{}",
            decision.evidence
        );
        // A payer who is known as somebody else: nothing is done by itself.
        let decision = decide(
            &text(119_999, "FA-2026-1"),
            &account_of(&[2]),
            &named,
            &[],
            100,
        );
        assert_eq!((decision.automatic, decision.client), (false, None));
    }

    #[test]
    fn rule_4_a_known_account_one_item_or_one_sum() {
        let own = [
            item(1, 1, "A-1", 100),
            item(2, 1, "A-2", 250),
            item(3, 1, "A-3", 400),
            item(4, 1, "A-4", 400),
        ];
        let decision = decide(&text(250, "merci"), &account_of(&[1]), &[], &own, 0);
        assert_eq!(
            (outcome(&decision), paid(&decision)),
            ((Rule::KnownAccount, true), vec![(2, 250)])
        );
        let decision = decide(&text(350, "merci"), &account_of(&[1]), &[], &own, 0);
        assert_eq!(
            (outcome(&decision), paid(&decision)),
            ((Rule::KnownAccount, false), vec![(2, 250), (1, 100)])
        );
        // R13.1: two equal candidates are no match, but they are shown.
        let decision = decide(&text(400, "merci"), &account_of(&[1]), &[], &own, 0);
        assert_eq!(
            (outcome(&decision), decision.alternatives.len()),
            ((Rule::KnownClient, false), 2)
        );
        assert_eq!(decision.client, Some(client(1)));
        // Never on the amount alone, whoever has the only item of it.
        let decision = decide(&text(250, "merci"), &nobody(), &own, &[], 0);
        assert_eq!((decision.rule, decision.client), (Rule::UnknownPayer, None));
    }

    #[test]
    fn rule_5_on_account_with_the_order_of_the_law() {
        let own = [item(1, 1, "A-1", 100), item(2, 1, "A-2", 250)];
        for payer in [
            account_of(&[1]),
            Payer {
                clients: vec![client(1)],
                by_account: false,
            },
        ] {
            let decision = decide(&text(120, "acompte"), &payer, &[], &own, 0);
            assert_eq!(
                (outcome(&decision), decision.client),
                ((Rule::KnownClient, false), Some(client(1)))
            );
            assert!(decision.shares.is_empty(), "never spread silently");
            let order: Vec<Minor> = decision.alternatives[0]
                .shares
                .iter()
                .map(|share| share.amount)
                .collect();
            assert_eq!(order, [100, 20]);
        }
        // A name alone matches nothing, whatever the amount.
        let by_name = Payer {
            clients: vec![client(1)],
            by_account: false,
        };
        assert_eq!(
            decide(&text(100, ""), &by_name, &[], &own, 0).rule,
            Rule::KnownClient
        );
    }

    #[test]
    fn rule_6_nobody_is_known() {
        let decision = decide(&text(120, "virement"), &nobody(), &[], &[], 0);
        assert_eq!(
            (outcome(&decision), decision.client, decision.score),
            ((Rule::UnknownPayer, false), None, 0)
        );
    }

    #[test]
    fn one_payer_for_several_clients_r13_4() {
        let named = [item(1, 1, "FA-2026-1", 100), item(2, 2, "FA-2026-2", 50)];
        let receipt = text(150, "FA-2026-1 FA-2026-2");
        let decision = decide(&receipt, &account_of(&[1, 2]), &named, &named, 0);
        assert_eq!(
            (outcome(&decision), decision.client),
            ((Rule::NumbersInText, true), Some(client(1)))
        );
        // Not known to pay for both: a person decides, and the money waits.
        let decision = decide(&receipt, &account_of(&[1]), &named, &named[..1], 0);
        assert_eq!((decision.automatic, decision.client), (false, None));
        assert_eq!(decision.shares.len(), 2);
    }

    #[test]
    fn the_same_number_of_two_clients_is_no_answer_r13_1() {
        let named = [item(1, 1, "2026-0001", 100), item(2, 2, "2026-0001", 100)];
        let decision = decide(&text(100, "2026-0001"), &nobody(), &named, &[], 0);
        assert_eq!(
            (decision.rule, decision.alternatives.len()),
            (Rule::UnknownPayer, 2)
        );
        // The payer's account decides between them.
        let decision = decide(
            &text(100, "2026-0001"),
            &account_of(&[2]),
            &named,
            &named[1..],
            0,
        );
        assert_eq!(
            (outcome(&decision), paid(&decision)),
            ((Rule::NumbersInText, true), vec![(2, 100)])
        );
    }

    #[test]
    fn lookups_find_numbers_and_leave_amounts() {
        let lookups = text(1, "Fact. 4512, 1200,50 EUR; FA12-14").lookups();
        assert!(lookups.runs.contains("4512") && lookups.runs.contains("FA/14"));
        assert!(!lookups.runs.contains("1200"), "an amount");
        assert!(lookups.keys.contains("FA12"));
        assert_eq!(reference_runs("FA-2026-000012/a"), "FA/2026/12/A");
        assert_eq!(reference_key("fa-2026 000012"), "FA2026000012");
    }

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        let one = (1..4_u128, 1..60_u32, 1..500_i64, any::<bool>(), 1..30_u128);
        prop::collection::vec(one, 0..12).prop_map(|rows| {
            let made = rows.into_iter().enumerate();
            made.map(|(n, (of, number, open, is_debit, document))| Candidate {
                is_debit,
                document: Uuid::from_u128(document * 10 + of),
                ..item(n as u128 + 1, of, &format!("FA-2026-{number:04}"), open)
            })
            .collect()
        })
    }

    proptest! {
        /// Whatever is asked: no item and no receipt gets more than it has, credits are used up whole, and
        /// what is done at once accounts for every cent and stays with clients who are sure.
        #[test]
        fn decisions_keep_their_bounds(
            all in candidates(), amount in 1..2000_i64, written in "(FA-2026-[0-9]{1,4}[ +-]{0,2}){0,4}[a-zà 0-9]{0,10}",
            known in prop::collection::vec(1..4_u128, 0..3), by_account in any::<bool>(), tolerance in 0..5_i64,
        ) {
            let payer = Payer { by_account, ..account_of(&known) };
            let own: Vec<Candidate> = all.iter().filter(|item| payer.clients.contains(&item.client)).cloned().collect();
            let decision = decide(&text(amount, &written), &payer, &all, &own, tolerance);
            let sum = |shares: &[Share], wanted: &dyn Fn(&Share) -> bool| -> Minor {
                shares.iter().filter(|share| wanted(share)).map(|share| share.amount).sum()
            };
            let mut answers: Vec<&[Share]> = vec![&decision.shares];
            answers.extend(decision.alternatives.iter().map(|other| other.shares.as_slice()));
            for shares in answers {
                for item in &all {
                    let taken = if item.is_debit {
                        sum(shares, &|share| share.debit == item.item)
                    } else {
                        sum(shares, &|share| share.credit == Some(item.item))
                    };
                    prop_assert!(taken <= item.open);
                }
                prop_assert!(sum(shares, &|share| share.credit.is_none()) <= amount);
                prop_assert!(shares.iter().all(|share| share.amount > 0));
            }
            if decision.automatic {
                prop_assert!(decision.client.is_some());
                let paid = sum(&decision.shares, &|share| share.credit.is_none());
                let more = match decision.difference {
                    Difference::Small(left) => (-left).max(0),
                    _ => 0,
                };
                prop_assert_eq!(paid + more, amount);
            }
        }
    }
}
