//! Disputes (litiges): the standard block codes of table 8.1 and the states of section 8.2.

use serde::{Deserialize, Serialize};

use super::access::codes;

codes! {
    /// What a dispute is about (table 8.1).
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    DisputeKind {
        /// Litige commercial: about the goods or the service; may end with a credit note.
        Commercial = "COMMERCIAL",
        /// A document or mention is missing or wrong.
        Administrative = "ADMINISTRATIVE",
        /// The contract lets the client wait, such as retention money (retenue de garantie).
        Contractual = "CONTRACTUAL",
        /// Litige financier: the client does not pay, without reason or for lack of funds.
        Financial = "FINANCIAL",
        /// The claim was assigned to a factor.
        Assigned = "ASSIGNED",
    }
}

codes! {
    /// Who is told of a dispute and answers for it (table 8.1, R8.4).
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    Department {
        /// Service commercial.
        Sales = "SALES",
        /// Logistique.
        Logistics = "LOGISTICS",
        /// Service technique.
        Technical = "TECHNICAL",
        /// Comptabilité clients.
        Accounting = "ACCOUNTING",
        /// Credit manager.
        Credit = "CREDIT",
        /// Dirigeant.
        Management = "MANAGEMENT",
        /// Lawyer (avocat).
        Legal = "LEGAL",
    }
}

codes! {
    /// What ends the block on dunning while the dispute itself stays open (table 8.1).
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    BlockEnd {
        /// The day on which the retention money is released.
        ReleaseDate = "RELEASE_DATE",
        /// The first instalment of the plan (moratoire) that is not paid.
        PlanBroken = "PLAN_BROKEN",
        /// The day for which payment was promised.
        PromisedDate = "PROMISED_DATE",
        /// Nothing: insolvency proceedings stop dunning for good.
        Never = "NEVER",
    }
}

/// One row of table 8.1: a block code (code de blocage) that every company starts with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StandardReason {
    /// The block code, such as `BLIV`.
    pub code: &'static str,
    /// Meaning in French.
    pub label_fr: &'static str,
    /// Meaning in English.
    pub label_en: &'static str,
    /// What it is about.
    pub kind: DisputeKind,
    /// Whether the disputed amount is left out of dunning (R7.2).
    pub blocks_dunning: bool,
    /// What ends the block early; `None` when it lasts as long as the dispute.
    pub block_ends: Option<BlockEnd>,
    /// The department that owns the answer; `None` when nobody has to be told.
    pub department: Option<Department>,
    /// A second department to tell.
    pub also_notified: Option<Department>,
}

impl StandardReason {
    const fn new(
        code: &'static str,
        label_fr: &'static str,
        label_en: &'static str,
        kind: DisputeKind,
        department: Option<Department>,
    ) -> StandardReason {
        StandardReason {
            code,
            label_fr,
            label_en,
            kind,
            blocks_dunning: true,
            block_ends: None,
            department,
            also_notified: None,
        }
    }

    const fn with(self, department: Department) -> StandardReason {
        StandardReason {
            also_notified: Some(department),
            ..self
        }
    }

    const fn until(self, end: BlockEnd) -> StandardReason {
        StandardReason {
            block_ends: Some(end),
            ..self
        }
    }

    const fn chased(self) -> StandardReason {
        StandardReason {
            blocks_dunning: false,
            ..self
        }
    }
}

const SALES: Option<Department> = Some(Department::Sales);
const LOGISTICS: Option<Department> = Some(Department::Logistics);
const TECHNICAL: Option<Department> = Some(Department::Technical);
const ACCOUNTING: Option<Department> = Some(Department::Accounting);
const CREDIT: Option<Department> = Some(Department::Credit);
const LEGAL: Option<Department> = Some(Department::Legal);

/// The standard block codes, in the order of table 8.1. A company may edit its own copy.
#[rustfmt::skip]
pub const STANDARD_REASONS: &[StandardReason] = {
    use DisputeKind::{Administrative, Assigned, Commercial, Contractual, Financial};
    use StandardReason as R;
    &[
        R::new("BLIV", "livraison non conforme", "delivery not as ordered", Commercial, SALES).with(Department::Logistics),
        R::new("BMAN", "article manquant", "missing item", Commercial, LOGISTICS),
        R::new("BCAS", "casse, avarie", "breakage, damage", Commercial, LOGISTICS),
        R::new("BQUA", "qualité", "quality", Commercial, TECHNICAL),
        R::new("BPRX", "erreur de prix ou de remise", "wrong price or discount", Commercial, SALES),
        R::new("BQTE", "quantité facturée", "quantity invoiced", Commercial, SALES),
        R::new("BPOR", "port payé facturé en port dû", "prepaid carriage invoiced as carriage due", Commercial, SALES),
        R::new("BPRE", "prestation non faite ou inachevée", "service not rendered or unfinished", Commercial, TECHNICAL),
        R::new("BRFA", "ristourne de fin d'année réclamée", "year-end rebate claimed", Commercial, SALES),
        R::new("BPEN", "pénalité logistique déduite par le client", "logistics penalty deducted by the client", Commercial, SALES),
        R::new("BTVA", "erreur de TVA", "VAT error", Administrative, ACCOUNTING),
        R::new("BJUS", "absence de justificatif (BL, attachement)", "missing proof (delivery note, work sheet)", Administrative, SALES),
        R::new("BCDE", "numéro de commande manquant", "missing order number", Administrative, SALES),
        R::new("BHOM", "client non concerné (homonyme)", "wrong client of the same name", Administrative, ACCOUNTING),
        R::new("BDBL", "double facturation", "invoiced twice", Administrative, ACCOUNTING),
        R::new("BRTG", "retenue de garantie", "retention money", Contractual, TECHNICAL).until(BlockEnd::ReleaseDate),
        R::new("BFIN", "non-paiement sans motif ou faute de fonds", "unpaid without reason or for lack of funds", Financial, CREDIT).chased(),
        R::new("BMOR", "moratoire accordé", "instalment plan granted", Financial, CREDIT).until(BlockEnd::PlanBroken),
        R::new("BPRO", "promesse de paiement", "payment promise", Financial, None).until(BlockEnd::PromisedDate),
        R::new("BCOL", "procédure collective", "insolvency proceedings", Financial, CREDIT).with(Department::Management).until(BlockEnd::Never),
        R::new("BCTX", "contentieux en cours", "litigation in progress", Financial, LEGAL),
        R::new("BFAC", "cédée au factor", "assigned to the factor", Assigned, None),
    ]
};

codes! {
    /// Where a dispute stands (section 8.2).
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    DisputeStatus {
        /// Recorded, nobody has looked at it yet.
        Open = "OPEN",
        /// The department examines it.
        UnderReview = "UNDER_REVIEW",
        /// The client is right: a credit note is due.
        Accepted = "ACCEPTED",
        /// The client is right for a part: a credit note is due for it.
        PartlyAccepted = "PARTLY_ACCEPTED",
        /// The client is wrong: the item goes back to dunning (R2.10).
        Rejected = "REJECTED",
        /// The missing document was sent.
        DocumentSent = "DOCUMENT_SENT",
        /// The credit note is posted (R8.3).
        CreditNoteIssued = "CREDIT_NOTE_ISSUED",
        /// Over, final: a new challenge is a new dispute.
        Closed = "CLOSED",
        /// The client paid after all, final.
        Withdrawn = "WITHDRAWN",
        /// In litigation.
        Escalated = "ESCALATED",
    }
}

/// A step that section 8.2 does not know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a dispute that is {} cannot become {}", from.code(), to.code())]
pub struct TransitionRefused {
    /// Where the dispute stands.
    pub from: DisputeStatus,
    /// Where it was to go.
    pub to: DisputeStatus,
}

impl DisputeStatus {
    /// The statuses that may follow this one (section 8.2); none after a final one.
    pub fn next(self) -> &'static [DisputeStatus] {
        use DisputeStatus as S;
        match self {
            S::Open => &[S::UnderReview, S::Withdrawn, S::Escalated],
            S::UnderReview => &[
                S::Accepted,
                S::PartlyAccepted,
                S::Rejected,
                S::DocumentSent,
                S::Withdrawn,
                S::Escalated,
            ],
            S::Accepted | S::PartlyAccepted => &[S::CreditNoteIssued, S::Withdrawn, S::Escalated],
            S::Rejected | S::CreditNoteIssued => &[S::Closed, S::Withdrawn, S::Escalated],
            S::DocumentSent => &[S::Closed, S::UnderReview, S::Withdrawn, S::Escalated],
            // The law has spoken: the dispute ends as it would have without litigation.
            S::Escalated => &[S::Accepted, S::PartlyAccepted, S::Rejected, S::Withdrawn],
            S::Closed | S::Withdrawn => &[],
        }
    }

    /// The status after a step, or why section 8.2 refuses it.
    pub fn transition(self, to: DisputeStatus) -> Result<DisputeStatus, TransitionRefused> {
        if self.next().contains(&to) {
            Ok(to)
        } else {
            Err(TransitionRefused { from: self, to })
        }
    }

    /// Whether the dispute counts among the open ones (R8.1): neither closed nor withdrawn.
    pub fn is_open(self) -> bool {
        !self.next().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_standard_codes_8_1() {
        assert_eq!(STANDARD_REASONS.len(), 22);
        let codes: BTreeSet<_> = STANDARD_REASONS.iter().map(|reason| reason.code).collect();
        assert_eq!(codes.len(), 22);
        for reason in STANDARD_REASONS {
            assert!(
                reason.code.len() == 4 && reason.code.starts_with('B'),
                "{}",
                reason.code
            );
            assert_eq!(
                reason.blocks_dunning,
                reason.code != "BFIN",
                "{}",
                reason.code
            );
        }
        let kinds = |kind| {
            STANDARD_REASONS
                .iter()
                .filter(|reason| reason.kind == kind)
                .count()
        };
        let counts: Vec<usize> = DisputeKind::ALL.iter().map(|kind| kinds(*kind)).collect();
        assert_eq!(counts, [10, 5, 1, 5, 1]);
    }

    #[test]
    fn two_departments_and_early_ends_8_1() {
        let cases = [
            (
                "BLIV",
                Some(Department::Sales),
                Some(Department::Logistics),
                None,
            ),
            (
                "BRTG",
                Some(Department::Technical),
                None,
                Some(BlockEnd::ReleaseDate),
            ),
            (
                "BMOR",
                Some(Department::Credit),
                None,
                Some(BlockEnd::PlanBroken),
            ),
            ("BPRO", None, None, Some(BlockEnd::PromisedDate)),
            (
                "BCOL",
                Some(Department::Credit),
                Some(Department::Management),
                Some(BlockEnd::Never),
            ),
            ("BFAC", None, None, None),
        ];
        for (code, department, also_notified, block_ends) in cases {
            let reason = STANDARD_REASONS
                .iter()
                .find(|reason| reason.code == code)
                .expect(code);
            assert_eq!(reason.department, department, "{code}");
            assert_eq!(reason.also_notified, also_notified, "{code}");
            assert_eq!(reason.block_ends, block_ends, "{code}");
        }
    }

    #[test]
    fn transitions_8_2() {
        use DisputeStatus as S;
        let allowed = [
            (S::Open, S::UnderReview),
            (S::UnderReview, S::Accepted),
            (S::UnderReview, S::PartlyAccepted),
            (S::UnderReview, S::Rejected),
            (S::UnderReview, S::DocumentSent),
            (S::Accepted, S::CreditNoteIssued),
            (S::PartlyAccepted, S::CreditNoteIssued),
            (S::CreditNoteIssued, S::Closed),
            (S::Rejected, S::Closed),
            (S::DocumentSent, S::Closed),
            (S::DocumentSent, S::UnderReview),
            (S::Escalated, S::Accepted),
            (S::Escalated, S::PartlyAccepted),
            (S::Escalated, S::Rejected),
        ];
        for &from in S::ALL {
            for &to in S::ALL {
                let leaves = to == S::Withdrawn || (to == S::Escalated && from != S::Escalated);
                let expected = allowed.contains(&(from, to)) || (from.is_open() && leaves);
                let found = from.transition(to);
                assert_eq!(found.is_ok(), expected, "{from:?} to {to:?}");
                if !expected {
                    assert_eq!(found, Err(TransitionRefused { from, to }));
                }
            }
        }
    }

    #[test]
    fn closed_and_withdrawn_are_final_8_2() {
        let finals: Vec<_> = DisputeStatus::ALL
            .iter()
            .filter(|status| !status.is_open())
            .collect();
        assert_eq!(finals, [&DisputeStatus::Closed, &DisputeStatus::Withdrawn]);
    }
}
