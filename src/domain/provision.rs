//! Provisions for doubtful debts (dépréciations): the required provision of one client and its
//! closing movement (section 5).
//!
//! Amounts are minor units of one currency, never negative; rates are percents (50 for 50 %).

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::access::codes;
use super::aging::Buckets;
use super::money::{Minor, round_half_up};
use super::vat::proportion;

codes! {
    /// Where a client stands in insolvency proceedings (procédures collectives, R5.9).
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    Insolvency {
        /// No proceedings.
        None = "NONE",
        /// Sauvegarde.
        Safeguard = "SAFEGUARD",
        /// Redressement judiciaire.
        Receivership = "RECEIVERSHIP",
        /// Liquidation judiciaire.
        Liquidation = "LIQUIDATION",
    }
}

codes! {
    /// The set of rules of a run; the two never mix (R5.13).
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    Framework {
        /// French accounts: net of VAT, with individual estimates (R5.2 to R5.9).
        FrenchGaap = "FRENCH_GAAP",
        /// IFRS 9, simplified approach: rate × gross exposure per bucket (5.2).
        Ifrs9 = "IFRS9",
    }
}

codes! {
    /// What decided the rates of a claim.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    Method {
        /// The rate of its ageing bucket (R5.5).
        Matrix = "MATRIX",
        /// A part or all is disputed and leaves the matrix (R5.8).
        Disputed = "DISPUTED",
        /// An estimate of this claim (R5.3).
        Individual = "INDIVIDUAL",
        /// Liquidation judiciaire (R5.9).
        Liquidation = "LIQUIDATION",
        /// Redressement or sauvegarde, without an estimate of the claim (R5.9).
        Insolvency = "INSOLVENCY",
    }
}

/// An open claim on a client at the closing day.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim<K> {
    /// The caller's key.
    pub key: K,
    /// Number of the document; orders claims of the same due date.
    pub reference: String,
    /// Due date.
    pub due_on: NaiveDate,
    /// What is still open, VAT included (TTC).
    pub open: Minor,
    /// Net (HT) of the whole document, for the ratio of R5.2.
    pub net: Minor,
    /// Gross (TTC) of the whole document, for the ratio of R5.2.
    pub gross: Minor,
    /// Disputed part of `open`, VAT included.
    pub disputed: Minor,
    /// Age in days on the basis of the policy's buckets.
    pub age: i64,
    /// The estimate made for this claim, in percent (R5.3); taken within 0 to 100.
    pub individual_rate: Option<Decimal>,
}

/// What is known of the client at the closing day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientSituation {
    /// Insolvency proceedings (R5.9).
    pub insolvency: Insolvency,
    /// Share covered by credit insurance, in percent (R5.6); taken within 0 to 100.
    pub cover_percent: Decimal,
    /// The most that the insurer pays, net of VAT like the base; `None` without limit (R5.6).
    pub cover_limit: Option<Minor>,
    /// Receipts and credit notes not matched, as a positive amount, VAT included (R5.7).
    pub unallocated_credits: Minor,
    /// The provision carried so far (491), positive (R5.10).
    pub previous: Minor,
}

/// The rates outside the matrix, in percent (R5.8, R5.9).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpecialRates {
    /// Of the disputed amounts (R5.8).
    pub disputed: Decimal,
    /// In liquidation judiciaire (R5.9).
    pub liquidation: Decimal,
    /// In redressement or sauvegarde (R5.9).
    pub insolvency: Decimal,
}

/// The rates of a run. Invariant: one rate per bucket, all rates between 0 and 100 percent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    framework: Framework,
    buckets: Buckets,
    rates: Vec<Decimal>,
    special: SpecialRates,
}

/// Why rates do not make a policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidPolicy {
    /// Not one rate per bucket.
    #[error("there are {buckets} buckets and {rates} rates: give one rate per bucket")]
    RatesPerBucket {
        /// Number of buckets.
        buckets: usize,
        /// Number of rates given.
        rates: usize,
    },
    /// A rate below 0 or above 100 percent.
    #[error("{rate} is not a rate: use 0 to 100 percent")]
    RateOutOfRange {
        /// The rate given.
        rate: Decimal,
    },
}

impl Policy {
    /// A policy with one rate per bucket, in their order. A segment's overrides are already in.
    pub fn new(
        framework: Framework,
        buckets: Buckets,
        rates: Vec<Decimal>,
        special: SpecialRates,
    ) -> Result<Policy, InvalidPolicy> {
        if rates.len() != buckets.len() {
            let (buckets, rates) = (buckets.len(), rates.len());
            return Err(InvalidPolicy::RatesPerBucket { buckets, rates });
        }
        let others = [special.disputed, special.liquidation, special.insolvency];
        for &rate in rates.iter().chain(&others) {
            if rate < Decimal::ZERO || rate > Decimal::ONE_HUNDRED {
                return Err(InvalidPolicy::RateOutOfRange { rate });
            }
        }
        Ok(Policy {
            framework,
            buckets,
            rates,
            special,
        })
    }

    /// The set of rules of the run.
    pub fn framework(&self) -> Framework {
        self.framework
    }

    /// The buckets of the matrix.
    pub fn buckets(&self) -> &Buckets {
        &self.buckets
    }

    /// The matrix: rates in percent, one per bucket.
    pub fn rates(&self) -> &[Decimal] {
        &self.rates
    }

    /// The rates outside the matrix.
    pub fn special(&self) -> SpecialRates {
        self.special
    }

    fn matrix_rate(&self, age: i64) -> Decimal {
        // The constructor made one rate for each index of the buckets.
        self.rates[self.buckets.index(age)]
    }
}

/// The provision of one claim, as a row of table 5.1.
///
/// Invariant: `provision = round((base − insured) × rate) + round(disputed_base × disputed_rate)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClaimProvision<K> {
    /// The key of the claim.
    pub key: K,
    /// Open amount after the unallocated credits, VAT included (R5.7).
    pub exposure: Minor,
    /// Undisputed base, insured part included: net of VAT in French accounts, gross in IFRS 9.
    pub base: Minor,
    /// Part of `base` that the insurer pays (R5.6).
    pub insured: Minor,
    /// Disputed base, net of VAT (R5.8).
    pub disputed_base: Minor,
    /// Rate on the uninsured base, in percent.
    pub rate: Decimal,
    /// Rate on the disputed base, in percent; 0 when nothing is disputed.
    pub disputed_rate: Decimal,
    /// The provision required for the claim.
    pub provision: Minor,
    /// What decided the rates.
    pub method: Method,
}

/// The provision of one client and its closing movement (R5.10).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientProvision<K> {
    /// The claims, oldest due date first.
    pub claims: Vec<ClaimProvision<K>>,
    /// Σ of the claims' provisions (R5.11).
    pub required: Minor,
    /// The provision carried so far.
    pub previous: Minor,
    /// Dotation (68174): what must be added; 0 when there is a release.
    pub charge: Minor,
    /// Reprise (78174): what must be taken back; 0 when there is a charge.
    pub release: Minor,
}

impl<K> ClientProvision<K> {
    /// What is required, and the movement from what is carried to that (R5.10).
    pub fn moved(
        claims: Vec<ClaimProvision<K>>,
        required: Minor,
        previous: Minor,
    ) -> ClientProvision<K> {
        let mut provision = ClientProvision {
            claims,
            required,
            previous,
            charge: 0,
            release: 0,
        };
        provision.move_to(required);
        provision
    }

    /// The movement from what is carried to an amount.
    pub fn move_to(&mut self, wanted: Minor) {
        self.charge = wanted.saturating_sub(self.previous).max(0);
        self.release = self.previous.saturating_sub(wanted).max(0);
    }
}

/// The provision required for a client's claims, and its movement since the last one.
///
/// Unallocated credits and insurance cover are used up by the oldest due dates first (R5.6,
/// R5.7). Liquidation comes before a claim's own estimate, which comes before redressement or
/// sauvegarde, which comes before dispute and matrix (R5.9). IFRS 9 reads the matrix only.
pub fn client_provision<K: Copy + Ord>(
    claims: &[Claim<K>],
    client: &ClientSituation,
    policy: &Policy,
) -> ClientProvision<K> {
    let mut oldest_first: Vec<&Claim<K>> = claims.iter().collect();
    oldest_first
        .sort_by(|a, b| (a.due_on, &a.reference, a.key).cmp(&(b.due_on, &b.reference, b.key)));
    let mut credits = client.unallocated_credits.max(0);
    let mut cover = client.cover_limit.map(|limit| limit.max(0));
    let claims: Vec<ClaimProvision<K>> = oldest_first
        .into_iter()
        .map(|claim| {
            let open = claim.open.max(0);
            let paid = open.min(credits);
            credits -= paid;
            match policy.framework {
                Framework::FrenchGaap => {
                    let line = french_line(claim, open - paid, client, policy, cover);
                    cover = cover.map(|left| left - line.insured);
                    line
                }
                Framework::Ifrs9 => ifrs_line(claim, open - paid, policy),
            }
        })
        .collect();

    let required = claims
        .iter()
        .fold(0, |sum: Minor, claim| sum.saturating_add(claim.provision));
    ClientProvision::moved(claims, required, client.previous)
}

/// R5.2 to R5.9: net of VAT, disputed and insured parts apart.
fn french_line<K: Copy>(
    claim: &Claim<K>,
    exposure: Minor,
    client: &ClientSituation,
    policy: &Policy,
    cover: Option<Minor>,
) -> ClaimProvision<K> {
    let disputed_base = net_of(claim.disputed.clamp(0, exposure), claim);
    // Rounding keeps the order of amounts, so this is never negative.
    let base = net_of(exposure, claim) - disputed_base;
    let covered = percent_of(base, client.cover_percent);
    let insured = cover.map_or(covered, |left| covered.min(left));

    let special = policy.special;
    let (method, rate, disputed_rate) = match (client.insolvency, claim.individual_rate) {
        (Insolvency::Liquidation, _) => (
            Method::Liquidation,
            special.liquidation,
            special.liquidation,
        ),
        (Insolvency::None | Insolvency::Safeguard | Insolvency::Receivership, Some(rate)) => {
            let rate = within_percents(rate);
            (Method::Individual, rate, rate)
        }
        (Insolvency::Safeguard | Insolvency::Receivership, None) => {
            (Method::Insolvency, special.insolvency, special.insolvency)
        }
        (Insolvency::None, None) if disputed_base > 0 => (
            Method::Disputed,
            policy.matrix_rate(claim.age),
            special.disputed,
        ),
        (Insolvency::None, None) => (Method::Matrix, policy.matrix_rate(claim.age), Decimal::ZERO),
    };
    let disputed_rate = if disputed_base > 0 {
        disputed_rate
    } else {
        Decimal::ZERO
    };
    ClaimProvision {
        key: claim.key,
        exposure,
        base,
        insured,
        disputed_base,
        rate,
        disputed_rate,
        provision: percent_of(base - insured, rate) + percent_of(disputed_base, disputed_rate),
        method,
    }
}

/// 5.2: the rate of the bucket on the gross exposure, and nothing else.
fn ifrs_line<K: Copy>(claim: &Claim<K>, exposure: Minor, policy: &Policy) -> ClaimProvision<K> {
    let rate = policy.matrix_rate(claim.age);
    ClaimProvision {
        key: claim.key,
        exposure,
        base: exposure,
        insured: 0,
        disputed_base: 0,
        rate,
        disputed_rate: Decimal::ZERO,
        provision: percent_of(exposure, rate),
        method: Method::Matrix,
    }
}

/// R5.2: the amount without the VAT of its document; unchanged when the document has no ratio.
fn net_of<K>(amount: Minor, claim: &Claim<K>) -> Minor {
    if claim.gross <= 0 || !(0..=claim.gross).contains(&claim.net) {
        return amount;
    }
    // A ratio of at most 1 cannot overflow.
    proportion(amount, i128::from(claim.net), i128::from(claim.gross)).unwrap_or(amount)
}

fn percent_of(amount: Minor, percent: Decimal) -> Minor {
    // A rate of at most 100 % cannot overflow.
    Decimal::from(amount)
        .checked_mul(within_percents(percent) / Decimal::ONE_HUNDRED)
        .and_then(round_half_up)
        .unwrap_or(amount)
}

fn within_percents(percent: Decimal) -> Decimal {
    percent.clamp(Decimal::ZERO, Decimal::ONE_HUNDRED)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::aging::{AgingBasis, age};

    fn dec(text: &str) -> Decimal {
        text.parse().expect("a decimal")
    }

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    fn policy(framework: Framework, rates: [&str; 5], disputed: &str) -> Policy {
        let special = SpecialRates {
            disputed: dec(disputed),
            liquidation: dec("100"),
            insolvency: dec("50"),
        };
        Policy::new(
            framework,
            Buckets::default(),
            rates.map(dec).to_vec(),
            special,
        )
        .expect("valid rates")
    }

    fn matrix() -> Policy {
        policy(Framework::FrenchGaap, ["0", "1", "5", "15", "40"], "30")
    }

    fn claim(key: &'static str, due_on: &str, open: Minor) -> Claim<&'static str> {
        let due_on = date(due_on);
        Claim {
            key,
            reference: key.to_owned(),
            due_on,
            open,
            net: 1_000,
            gross: 1_200,
            disputed: 0,
            age: age(date("2026-12-31"), due_on),
            individual_rate: None,
        }
    }

    fn client(previous: Minor) -> ClientSituation {
        ClientSituation {
            insolvency: Insolvency::None,
            cover_percent: Decimal::ZERO,
            cover_limit: None,
            unallocated_credits: 0,
            previous,
        }
    }

    /// A row of table 5.1: key, exposure, base, insured, disputed base, two rates, provision.
    type Row = (
        &'static str,
        Minor,
        Minor,
        Minor,
        Minor,
        &'static str,
        &'static str,
        Minor,
    );

    fn assert_rows(found: &ClientProvision<&'static str>, rows: &[(Row, Method)]) {
        let expected: Vec<_> = rows
            .iter()
            .map(
                |&(
                    (key, exposure, base, insured, disputed_base, rate, other, provision),
                    method,
                )| {
                    ClaimProvision {
                        key,
                        exposure,
                        base,
                        insured,
                        disputed_base,
                        rate: dec(rate),
                        disputed_rate: dec(other),
                        provision,
                        method,
                    }
                },
            )
            .collect();
        assert_eq!(found.claims, expected);
    }

    #[test]
    fn worked_example_5_1() {
        let a = client_provision(
            &[
                claim("A2", "2027-01-15", 120_000),
                claim("A1", "2026-09-15", 240_000),
            ],
            &ClientSituation {
                unallocated_credits: 60_000,
                ..client(40_000)
            },
            &matrix(),
        );
        let b = client_provision(
            &[Claim {
                disputed: 120_000,
                ..claim("B1", "2026-11-20", 360_000)
            }],
            &client(90_000),
            &matrix(),
        );
        let c = client_provision(
            &[claim("C1", "2026-10-20", 960_000)],
            &ClientSituation {
                cover_percent: dec("90"),
                cover_limit: Some(2_000_000),
                ..client(0)
            },
            &matrix(),
        );
        let d = client_provision(
            &[claim("D1", "2027-01-31", 180_000)],
            &ClientSituation {
                insolvency: Insolvency::Liquidation,
                ..client(0)
            },
            &matrix(),
        );
        let e = client_provision(&[], &client(12_000), &matrix());

        assert_rows(
            &a,
            &[
                (
                    ("A1", 180_000, 150_000, 0, 0, "40", "0", 60_000),
                    Method::Matrix,
                ),
                (("A2", 120_000, 100_000, 0, 0, "0", "0", 0), Method::Matrix),
            ],
        );
        assert_rows(
            &b,
            &[(
                ("B1", 360_000, 200_000, 0, 100_000, "5", "30", 40_000),
                Method::Disputed,
            )],
        );
        assert_rows(
            &c,
            &[(
                ("C1", 960_000, 800_000, 720_000, 0, "15", "0", 12_000),
                Method::Matrix,
            )],
        );
        assert_rows(
            &d,
            &[(
                ("D1", 180_000, 150_000, 0, 0, "100", "0", 150_000),
                Method::Liquidation,
            )],
        );

        let movements = [&a, &b, &c, &d, &e].map(|x| (x.previous, x.required, x.charge, x.release));
        let expected = [
            (40_000, 60_000, 20_000, 0),
            (90_000, 40_000, 0, 50_000),
            (0, 12_000, 12_000, 0),
            (0, 150_000, 150_000, 0),
            (12_000, 0, 0, 12_000),
        ];
        assert_eq!(movements, expected);
        let charges: Minor = movements.iter().map(|row| row.2).sum();
        let releases: Minor = movements.iter().map(|row| row.3).sum();
        assert_eq!((charges, releases), (182_000, 62_000));
    }

    #[test]
    fn ifrs_example_5_2() {
        let policy = policy(Framework::Ifrs9, ["0.3", "1.6", "3.6", "6.6", "10.6"], "30");
        let cases = [
            ("2027-01-31", 1_500_000_000, 4_500_000),
            ("2026-12-15", 750_000_000, 12_000_000),
            ("2026-11-15", 400_000_000, 14_400_000),
            ("2026-10-15", 250_000_000, 16_500_000),
            ("2026-06-30", 100_000_000, 10_600_000),
        ];
        // Neither dispute, estimate, cover nor liquidation counts.
        let claims = cases.map(|(due_on, open, _)| Claim {
            disputed: open,
            individual_rate: Some(dec("99")),
            ..claim("X", due_on, open)
        });
        let situation = ClientSituation {
            insolvency: Insolvency::Liquidation,
            cover_percent: dec("90"),
            ..client(0)
        };
        let found = client_provision(&claims, &situation, &policy);
        assert_eq!(found.required, 58_000_000);
        for (_, open, expected) in cases {
            let line = found
                .claims
                .iter()
                .find(|line| line.exposure == open)
                .expect("a line");
            assert_eq!((line.base, line.provision), (open, expected));
        }
    }

    #[test]
    fn liquidation_takes_the_disputed_part_and_spares_the_insured_one_r5_9() {
        let claims = [Claim {
            disputed: 24_000,
            individual_rate: Some(dec("10")),
            ..claim("D", "2027-06-30", 120_000)
        }];
        let situation = ClientSituation {
            insolvency: Insolvency::Liquidation,
            cover_percent: dec("50"),
            ..client(0)
        };
        let found = client_provision(&claims, &situation, &matrix());
        let row = ("D", 120_000, 80_000, 40_000, 20_000, "100", "100", 60_000);
        assert_rows(&found, &[(row, Method::Liquidation)]);
    }

    #[test]
    fn an_estimate_replaces_the_matrix_r5_3() {
        use Insolvency::{None as Solvent, Receivership, Safeguard};
        let cases = [
            (Solvent, Some("60"), "60", 60_000, Method::Individual),
            (Receivership, Some("60"), "60", 60_000, Method::Individual),
            (Receivership, None, "50", 50_000, Method::Insolvency),
            (Safeguard, None, "50", 50_000, Method::Insolvency),
            (Solvent, Some("140"), "100", 100_000, Method::Individual),
        ];
        for (insolvency, individual_rate, rate, provision, method) in cases {
            let claims = [Claim {
                disputed: 60_000,
                individual_rate: individual_rate.map(dec),
                ..claim("I", "2026-12-01", 120_000)
            }];
            let situation = ClientSituation {
                insolvency,
                ..client(0)
            };
            let found = client_provision(&claims, &situation, &matrix());
            let row = ("I", 120_000, 50_000, 0, 50_000, rate, rate, provision);
            assert_rows(&found, &[(row, method)]);
        }
    }

    #[test]
    fn cover_is_used_up_by_the_oldest_due_date_r5_6() {
        let claims = [
            claim("new", "2026-11-20", 120_000),
            claim("old", "2026-06-30", 120_000),
        ];
        let situation = ClientSituation {
            cover_percent: dec("90"),
            cover_limit: Some(100_000),
            ..client(0)
        };
        let found = client_provision(&claims, &situation, &matrix());
        assert_rows(
            &found,
            &[
                (
                    ("old", 120_000, 100_000, 90_000, 0, "40", "0", 4_000),
                    Method::Matrix,
                ),
                (
                    ("new", 120_000, 100_000, 10_000, 0, "5", "0", 4_500),
                    Method::Matrix,
                ),
            ],
        );
    }

    #[test]
    fn credits_cap_the_dispute_r5_8() {
        // 36.00 open, 30.00 received: of 12.00 disputed only 6.00 are left.
        let claims = [Claim {
            disputed: 1_200,
            ..claim("B", "2026-11-20", 3_600)
        }];
        let situation = ClientSituation {
            unallocated_credits: 3_000,
            ..client(0)
        };
        let found = client_provision(&claims, &situation, &matrix());
        let row = ("B", 600, 0, 0, 500, "5", "30", 150);
        assert_rows(&found, &[(row, Method::Disputed)]);
    }

    #[test]
    fn exempt_documents_count_in_full_r5_2() {
        let exempt = |net, gross| Claim {
            net,
            gross,
            ..claim("X", "2026-06-30", 1_000)
        };
        for claim in [exempt(1_000, 1_000), exempt(0, 0)] {
            let found = client_provision(&[claim], &client(0), &matrix());
            assert_eq!((found.claims[0].base, found.required), (1_000, 400));
        }
    }

    #[test]
    fn policies_without_a_rate_per_bucket_are_refused_r5_5() {
        let special = SpecialRates {
            disputed: dec("50"),
            liquidation: dec("100"),
            insolvency: dec("50"),
        };
        let new = |rates: &[&str], special| {
            let rates = rates.iter().map(|rate| dec(rate)).collect();
            let buckets = Buckets::standard(AgingBasis::DueDate);
            Policy::new(Framework::FrenchGaap, buckets, rates, special).err()
        };
        let cases: [(&[&str], _); 4] = [
            (&["0", "1", "5", "15", "40"], None),
            (
                &["0", "1"],
                Some(InvalidPolicy::RatesPerBucket {
                    buckets: 5,
                    rates: 2,
                }),
            ),
            (
                &["0", "1", "5", "15", "100.01"],
                Some(InvalidPolicy::RateOutOfRange {
                    rate: dec("100.01"),
                }),
            ),
            (
                &["-1", "1", "5", "15", "40"],
                Some(InvalidPolicy::RateOutOfRange { rate: dec("-1") }),
            ),
        ];
        for (rates, expected) in cases {
            assert_eq!(new(rates, special), expected, "{rates:?}");
        }
        let special = SpecialRates {
            liquidation: dec("101"),
            ..special
        };
        let expected = InvalidPolicy::RateOutOfRange { rate: dec("101") };
        assert_eq!(new(&["0", "1", "5", "15", "40"], special), Some(expected));
    }

    fn claims() -> impl Strategy<Value = Vec<Claim<usize>>> {
        let one = (
            (
                0..400_u64,
                0..100_000_i64,
                0..50_000_i64,
                0..50_000_i64,
                0..120_000_i64,
            ),
            prop::option::of(0..101_i64),
        );
        prop::collection::vec(one, 0..8).prop_map(|rows| {
            rows.into_iter()
                .enumerate()
                .map(|(key, ((days, open, net, vat, disputed), individual))| {
                    let due_on = date("2026-01-31") + chrono::Days::new(days);
                    Claim {
                        key,
                        reference: format!("FA-{key}"),
                        due_on,
                        open,
                        net,
                        gross: net + vat,
                        disputed,
                        age: age(date("2026-12-31"), due_on),
                        individual_rate: individual.map(Decimal::from),
                    }
                })
                .collect()
        })
    }

    proptest! {
        /// R5.7, R5.10, R5.11: sums, movements and bounds hold; the order of claims is free.
        #[test]
        fn provisions_are_consistent(
            claims in claims(),
            credits in 0..300_000_i64,
            cover in 0..101_i64,
            limit in prop::option::of(0..100_000_i64),
            previous in 0..200_000_i64,
            stage in 0..Insolvency::ALL.len(),
            ifrs in any::<bool>(),
        ) {
            let situation = ClientSituation {
                insolvency: Insolvency::ALL[stage],
                cover_percent: Decimal::from(cover),
                cover_limit: limit,
                unallocated_credits: credits,
                previous,
            };
            let framework = if ifrs { Framework::Ifrs9 } else { Framework::FrenchGaap };
            let policy = policy(framework, ["0", "1", "5", "15", "40"], "30");
            let found = client_provision(&claims, &situation, &policy);

            let open: Minor = claims.iter().map(|claim| claim.open).sum();
            let exposure: Minor = found.claims.iter().map(|line| line.exposure).sum();
            prop_assert_eq!(exposure, (open - credits).max(0));
            let sum: Minor = found.claims.iter().map(|line| line.provision).sum();
            prop_assert_eq!(found.required, sum);
            prop_assert!(found.charge == 0 || found.release == 0);
            prop_assert_eq!(previous + found.charge - found.release, found.required);
            let insured: Minor = found.claims.iter().map(|line| line.insured).sum();
            prop_assert!(limit.is_none_or(|limit| insured <= limit));
            for line in &found.claims {
                prop_assert!(line.base >= 0 && line.disputed_base >= 0 && line.insured >= 0);
                prop_assert!(line.insured <= line.base);
                prop_assert!(line.base + line.disputed_base <= line.exposure);
                prop_assert!((0..=line.exposure).contains(&line.provision));
            }
            let turned: Vec<_> = claims.into_iter().rev().collect();
            prop_assert_eq!(client_provision(&turned, &situation, &policy), found);
        }
    }
}
