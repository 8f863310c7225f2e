//! Which open items a receipt on a bank account pays: the ordered rules of 13.2. The first that gives a
//! unique answer wins; two equal answers are no answer (R13.1).

mod reference;
mod rules;
#[cfg(test)]
mod tests;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::access::codes;
use super::ids::{ClientId, ItemId};
use super::money::Minor;

pub use reference::{Lookups, reference_key, reference_runs};
pub use rules::decide;

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
        /// The books hold the movement already (rapprochement).
        AlreadyBooked = "ALREADY_BOOKED",
    }
}

impl Decision {
    /// The debtor's indication comes first (R3.8): who names what is settled has perhaps paid it twice, and
    /// the amount alone does not make it the payment of something else. A decision by number stands.
    pub fn unless_paid_before(mut self, settled: &[String]) -> Decision {
        let by_number = matches!(
            self.rule,
            Rule::StructuredReference | Rule::NumbersInText | Rule::NumbersWithDifference
        );
        if settled.is_empty() || by_number {
            return self;
        }
        self.automatic = false;
        self.score = self.score.min(60);
        self.evidence = format!(
            "{} named, which is settled already: paid twice? {}",
            settled.join(", "),
            self.evidence
        );
        self
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
        /// Tied to an entry that the books held already (rapprochement).
        Reconciled = "RECONCILED",
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
