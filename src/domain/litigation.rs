//! What follows dunning (7.4): stages, their ceilings, and the days by which something has to be done.

use chrono::{Months, NaiveDate};

use super::access::codes;
use super::money::Minor;

codes! {
    /// Where a case stands.
    Stage {
        /// Précontentieux: the file is made up, the account blocked.
        PreLitigation = "PRE_LITIGATION",
        /// Société de recouvrement.
        CollectionAgency = "COLLECTION_AGENCY",
        /// Commandement de payer for uncontested commercial claims (CPCE L126-1, law of 23 April 2026).
        PaymentCommand = "PAYMENT_COMMAND",
        /// Procédure simplifiée de recouvrement des petites créances (CPCE L125-1).
        SmallClaim = "SMALL_CLAIM",
        /// Injonction de payer (CPC 1405 s.).
        PaymentOrder = "PAYMENT_ORDER",
        /// Référé-provision.
        InterimOrder = "INTERIM_ORDER",
        /// Assignation au fond.
        Summons = "SUMMONS",
        /// An enforceable title.
        Judgment = "JUDGMENT",
        /// Seizure.
        Enforcement = "ENFORCEMENT",
        /// Over.
        Closed = "CLOSED",
    }
}

codes! {
    /// What starts a new period of prescription (C. civ. 2240, 2241, 2244); reminders and formal notices do not.
    Cause {
        /// A written acknowledgment of the debt.
        Acknowledgment = "ACKNOWLEDGMENT",
        /// A claim in court.
        CourtClaim = "COURT_CLAIM",
        /// An act of enforcement.
        Enforcement = "ENFORCEMENT",
    }
}

/// Ceiling of the small-claims procedure: 5,000 €.
pub const SMALL_CLAIM: Minor = 500_000;

/// Why a case cannot take a stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Barred {
    /// It is over.
    Closed,
    /// Above the ceiling of the small-claims procedure.
    AboveCeiling,
    /// Claims between traders go by the payment command since 23 April 2026.
    BetweenTraders,
    /// The payment command is for claims between traders.
    NotBetweenTraders,
    /// A judge in urgent matters needs a claim that is not seriously contestable.
    Contested,
    /// The stage comes before the one that the case has, or needs a title that it has not.
    Order,
}

impl Stage {
    /// How far a case has come: preparation, a procedure, a title, its enforcement.
    fn rank(self) -> u8 {
        match self {
            Stage::PreLitigation => 0,
            Stage::CollectionAgency => 1,
            Stage::PaymentCommand
            | Stage::SmallClaim
            | Stage::PaymentOrder
            | Stage::InterimOrder
            | Stage::Summons => 2,
            Stage::Judgment => 3,
            Stage::Enforcement => 4,
            Stage::Closed => 5,
        }
    }

    /// Whether an order is made, served and contested in this stage.
    pub fn has_orders(self) -> bool {
        matches!(
            self,
            Stage::PaymentCommand | Stage::PaymentOrder | Stage::InterimOrder
        )
    }

    /// Whether a case may go on to another stage: from one procedure to another, never back, to a judgment from a
    /// procedure, and to enforcement with a title: a judgment, or an order.
    fn leads_to(self, to: Stage) -> bool {
        match to {
            Stage::Closed => true,
            Stage::Judgment => self.rank() == 2,
            Stage::Enforcement => {
                self == Stage::Judgment || self.has_orders() || self == Stage::SmallClaim
            }
            _ => self != to && to.rank() >= self.rank() && self.rank() <= 2,
        }
    }
}

/// What decides whether a case may take a stage.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    pub stage: Stage,
    /// What is claimed, in euro cents.
    pub claimed: Minor,
    /// Whether both sides are traders.
    pub traders: bool,
    /// Whether a part is in an open dispute.
    pub contested: bool,
}

/// Whether a case may take a stage on a day.
pub fn check(standing: &Standing, to: Stage, on: NaiveDate) -> Result<(), Barred> {
    let commands = NaiveDate::from_ymd_opt(2026, 4, 23).is_some_and(|since| on >= since);
    if standing.stage == Stage::Closed {
        return Err(Barred::Closed);
    }
    if !standing.stage.leads_to(to) {
        return Err(Barred::Order);
    }
    match to {
        Stage::SmallClaim if standing.claimed > SMALL_CLAIM => Err(Barred::AboveCeiling),
        Stage::SmallClaim if standing.traders && commands => Err(Barred::BetweenTraders),
        Stage::PaymentCommand if !standing.traders => Err(Barred::NotBetweenTraders),
        Stage::InterimOrder | Stage::PaymentCommand if standing.contested => Err(Barred::Contested),
        _ => Ok(()),
    }
}

/// Years of prescription (R7.11): 5 between traders, 2 against consumers, 1 for the carriage of goods.
pub fn prescription_years(segment: &str, carriage: bool) -> u32 {
    match segment {
        "CONSUMER" => 2,
        _ if carriage => 1,
        _ => 5,
    }
}

/// The day a claim is prescribed, when its period runs from a day (R7.11).
pub fn prescribes_on(runs_from: NaiveDate, years: u32) -> NaiveDate {
    later(runs_from, 12 * years)
}

/// The last day on which prescription that runs from it falls within `through`.
pub fn runs_from_by(through: NaiveDate, years: u32) -> NaiveDate {
    // A day more: 29 February counts back to the 28th.
    through
        .checked_sub_months(Months::new(12 * years))
        .and_then(|day| day.succ_opt())
        .unwrap_or(through)
}

/// By when a payment order has to be served: 3 months for orders from 1 September 2026, 6 before (CPC 1411).
pub fn serve_by(made_on: NaiveDate) -> NaiveDate {
    let reform = NaiveDate::from_ymd_opt(2026, 9, 1);
    later(
        made_on,
        if reform.is_some_and(|since| made_on >= since) {
            3
        } else {
            6
        },
    )
}

/// Until when the debtor may contest an order that was served (CPC 1416).
pub fn opposition_until(served_on: NaiveDate) -> NaiveDate {
    later(served_on, 1)
}

/// By when a claim is declared in insolvency proceedings (R7.10; C. com. R622-24).
pub fn proof_of_claim_by(published_on: NaiveDate) -> NaiveDate {
    later(published_on, 2)
}

fn later(day: NaiveDate, months: u32) -> NaiveDate {
    day.checked_add_months(Months::new(months))
        .unwrap_or(NaiveDate::MAX)
}

codes! {
    /// What has to be done by a day.
    DeadlineKind {
        /// A claim is prescribed.
        Prescription = "PRESCRIPTION",
        /// A claim is declared in insolvency proceedings.
        ProofOfClaim = "PROOF_OF_CLAIM",
        /// A payment order is served, or it is void.
        ServeOrder = "SERVE_ORDER",
        /// The debtor may no longer contest an order.
        OppositionEnds = "OPPOSITION_ENDS",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a day")
    }

    #[test]
    fn prescription_r7_11() {
        for (from, years, on) in [
            ("2026-03-16", 5, "2031-03-16"),
            ("2028-02-29", 5, "2033-02-28"),
            ("2026-03-16", 2, "2028-03-16"),
        ] {
            assert_eq!(prescribes_on(date(from), years), date(on));
            assert!(date(from) <= runs_from_by(date(on), years));
        }
        assert_eq!(
            ["CONSUMER", "SME"].map(|segment| prescription_years(segment, false)),
            [2, 5]
        );
        assert_eq!(prescription_years("SME", true), 1);
    }

    #[test]
    fn insolvency_and_orders_r7_10() {
        assert_eq!(proof_of_claim_by(date("2026-05-31")), date("2026-07-31"));
        assert_eq!(proof_of_claim_by(date("2026-12-31")), date("2027-02-28"));
        assert_eq!(serve_by(date("2026-08-31")), date("2027-02-28"));
        assert_eq!(serve_by(date("2026-09-01")), date("2026-12-01"));
        assert_eq!(opposition_until(date("2026-01-31")), date("2026-02-28"));
    }

    #[test]
    fn stages_and_their_ceilings() {
        let standing = Standing {
            stage: Stage::PreLitigation,
            claimed: 500_000,
            traders: false,
            contested: false,
        };
        let on = date("2026-11-26");
        assert_eq!(check(&standing, Stage::SmallClaim, on), Ok(()));
        let above = Standing {
            claimed: 500_001,
            ..standing
        };
        assert_eq!(
            check(&above, Stage::SmallClaim, on),
            Err(Barred::AboveCeiling)
        );
        let traders = Standing {
            traders: true,
            ..standing
        };
        assert_eq!(
            check(&traders, Stage::SmallClaim, on),
            Err(Barred::BetweenTraders)
        );
        assert_eq!(
            check(&traders, Stage::SmallClaim, date("2026-04-22")),
            Ok(())
        );
        assert_eq!(check(&traders, Stage::PaymentCommand, on), Ok(()));
        assert_eq!(
            check(&standing, Stage::PaymentCommand, on),
            Err(Barred::NotBetweenTraders)
        );
        let contested = Standing {
            contested: true,
            ..traders
        };
        assert_eq!(
            check(&contested, Stage::InterimOrder, on),
            Err(Barred::Contested)
        );
        assert_eq!(check(&contested, Stage::Summons, on), Ok(()));
        // Never back, and no seizure without a title.
        for (from, to, may) in [
            (Stage::PreLitigation, Stage::Enforcement, false),
            (Stage::PreLitigation, Stage::Judgment, false),
            (Stage::Summons, Stage::Enforcement, false),
            (Stage::Summons, Stage::Judgment, true),
            (Stage::PaymentOrder, Stage::Summons, true),
            (Stage::PaymentOrder, Stage::Enforcement, true),
            (Stage::Judgment, Stage::PaymentOrder, false),
            (Stage::Judgment, Stage::Enforcement, true),
            (Stage::Summons, Stage::PreLitigation, false),
            (Stage::Enforcement, Stage::Closed, true),
        ] {
            let found = check(
                &Standing {
                    stage: from,
                    ..traders
                },
                to,
                on,
            );
            assert_eq!(found == Ok(()), may, "{from:?} {to:?}");
        }
        let over = Standing {
            stage: Stage::Closed,
            ..standing
        };
        assert_eq!(check(&over, Stage::Judgment, on), Err(Barred::Closed));
    }
}
