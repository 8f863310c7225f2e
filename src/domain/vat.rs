//! VAT: splitting gross amounts, totals per rate and the net of a line (R0.2, R0.3, R2.15).
//!
//! Amounts are minor units of one currency, rates are percents (20 for 20 %).

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::money::{Minor, round_half_up};

/// The part of a document, or of an amount, that bears one VAT rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateShare {
    /// VAT rate in percent.
    pub rate: Decimal,
    /// Amount without VAT (HT), minor units, signed like its document.
    pub net: Minor,
    /// VAT, minor units, signed like its document.
    pub vat: Minor,
}

impl RateShare {
    /// Amount with VAT (TTC), minor units.
    pub fn gross(&self) -> Minor {
        self.net.saturating_add(self.vat)
    }
}

/// Net and VAT of a gross amount: the net is rounded, the VAT is the rest (R0.2).
///
/// The sign is kept. A rate of zero or below means no VAT.
pub fn split_gross(gross: Minor, rate: Decimal) -> (Minor, Minor) {
    // No VAT rate has more decimals, and with six the product below always fits.
    let rate = rate.round_dp(6).normalize();
    if rate <= Decimal::ZERO {
        return (gross, 0);
    }
    let divisor = Decimal::ONE_HUNDRED.saturating_add(rate);
    let hundred = 100 * 10_i128.pow(divisor.scale());
    let net = proportion(gross, hundred, divisor.mantissa()).unwrap_or(gross);
    (net, gross - net)
}

/// A gross amount spread over the VAT rates of its document (R0.3).
///
/// In proportion to the gross per rate, each share rounded; the rounding difference goes to the
/// largest rate, and to the next one only where the largest would change sign or exceed its
/// document. A share that is the whole of its rate is taken as the document has it; the others
/// are split by R0.2. The shares keep the order of `document` and add up to `amount`, unless the
/// document is empty or adds up to zero, which has no proportions: then the result is empty.
pub fn split_over_rates(amount: Minor, document: &[RateShare]) -> Vec<RateShare> {
    let total: i128 = document.iter().map(gross_of).sum();
    if total == 0 {
        return Vec::new();
    }
    let exact = |share: &RateShare| rounded_ratio(i128::from(amount), gross_of(share), total);
    let mut grosses: Vec<i128> = document.iter().map(exact).collect();
    level(&mut grosses, i128::from(amount), total, document);

    let shares = document.iter().zip(grosses);
    shares
        .map(|(share, gross)| {
            if gross == gross_of(share) {
                return *share;
            }
            let (net, vat) = split_gross(saturated(gross), share.rate);
            RateShare {
                rate: share.rate,
                net,
                vat,
            }
        })
        .collect()
}

/// Puts what rounding left over on the largest rates, so that the shares add up to the amount.
fn level(grosses: &mut [i128], amount: i128, total: i128, document: &[RateShare]) {
    let mut left = amount - grosses.iter().sum::<i128>();
    let mut largest_first: Vec<usize> = (0..document.len()).collect();
    largest_first.sort_by_key(|rank| std::cmp::Reverse(document[*rank].rate));

    // Signs are turned so that the amount and the document both count as positive.
    let (amount_sign, total_sign) = (amount.signum(), total.signum());
    for &rank in &largest_first {
        let share = grosses[rank] * amount_sign;
        let whole = gross_of(&document[rank]) * total_sign;
        let wanted = left * amount_sign;
        let moved = if wanted > 0 {
            wanted.min((whole - share).max(0))
        } else {
            wanted.max(-share.max(0))
        };
        grosses[rank] += moved * amount_sign;
        left -= moved * amount_sign;
    }
    if let Some(&rank) = largest_first.first() {
        grosses[rank] += left;
    }
}

/// Net and VAT per rate of a document's lines, `(rate, net)`: VAT = round(Σ net × rate / 100).
///
/// In ascending order of rates; equal rates written with other decimals are one. `None` on
/// overflow.
pub fn totals(lines: &[(Decimal, Minor)]) -> Option<Vec<RateShare>> {
    let mut nets: BTreeMap<Decimal, Minor> = BTreeMap::new();
    for (rate, net) in lines {
        let sum = nets.entry(rate.normalize()).or_default();
        *sum = sum.checked_add(*net)?;
    }
    nets.into_iter()
        .map(|(rate, net)| {
            let percents = Decimal::from(net).checked_mul(rate)?;
            let vat = round_half_up(percents.checked_div(Decimal::ONE_HUNDRED)?)?;
            net.checked_add(vat)?;
            Some(RateShare { rate, net, vat })
        })
        .collect()
}

/// The net of a line in minor units: quantity × unit price less the discount, rounded once (R0.1).
///
/// `unit_price` is in major units (euros), `exponent` the currency's number of decimals. `None`
/// on overflow or when the discount is not between 0 and 100 percent.
pub fn line_net(
    quantity: Decimal,
    unit_price: Decimal,
    discount_percent: Option<Decimal>,
    exponent: u32,
) -> Option<Minor> {
    let discount = discount_percent.unwrap_or(Decimal::ZERO);
    if discount < Decimal::ZERO || discount > Decimal::ONE_HUNDRED {
        return None;
    }
    let paid_percent = Decimal::ONE_HUNDRED - discount;
    let minor_units = Decimal::from(10_i64.checked_pow(exponent)?);
    let percents = quantity
        .checked_mul(unit_price)?
        .checked_mul(paid_percent)?;
    round_half_up(
        percents
            .checked_mul(minor_units)?
            .checked_div(Decimal::ONE_HUNDRED)?,
    )
}

/// A percentage of an amount, rounded half away from zero (R0.1).
pub fn percent_of(amount: Minor, percent: Decimal) -> Minor {
    let percent = percent.round_dp(6).normalize();
    let hundred = 100 * 10_i128.pow(percent.scale());
    proportion(amount, percent.mantissa(), hundred).unwrap_or(amount)
}

/// `amount × part / whole` rounded half away from zero; `None` when `whole` is zero or on overflow.
pub(crate) fn proportion(amount: Minor, part: i128, whole: i128) -> Option<Minor> {
    let product = i128::from(amount).checked_mul(part)?;
    rounded_quotient(product, whole)?.try_into().ok()
}

fn rounded_quotient(dividend: i128, divisor: i128) -> Option<i128> {
    let quotient = dividend.checked_div(divisor)?;
    let rest = dividend.checked_rem(divisor)?;
    let away = dividend.signum() * divisor.signum();
    let half_or_more = rest.unsigned_abs() >= divisor.unsigned_abs().div_ceil(2);
    Some(if half_or_more {
        quotient + away
    } else {
        quotient
    })
}

fn rounded_ratio(amount: i128, part: i128, whole: i128) -> i128 {
    // A 64-bit amount by a sum of two 64-bit amounts stays below 2^127.
    rounded_quotient(amount.saturating_mul(part), whole).unwrap_or(0)
}

fn gross_of(share: &RateShare) -> i128 {
    i128::from(share.net) + i128::from(share.vat)
}

fn saturated(value: i128) -> Minor {
    value.clamp(i128::from(Minor::MIN), i128::from(Minor::MAX)) as Minor
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dec(text: &str) -> Decimal {
        text.parse().expect("a decimal")
    }

    fn share(rate: &str, net: Minor, vat: Minor) -> RateShare {
        RateShare {
            rate: dec(rate),
            net,
            vat,
        }
    }

    #[test]
    fn gross_amounts_are_split_r0_2() {
        let cases = [
            (10_000, "20", (8_333, 1_667)),
            (3_000, "20", (2_500, 500)),
            (-10_000, "20", (-8_333, -1_667)),
            (10_550, "5.5", (10_000, 550)),
            (10_210, "2.10", (10_000, 210)),
            (1_234, "0", (1_234, 0)),
            (1_234, "-5", (1_234, 0)),
            (0, "20", (0, 0)),
            // 3 / 1.2 = 2.5: half goes away from zero.
            (3, "20", (3, 0)),
            (-3, "20", (-3, 0)),
            (
                Minor::MAX,
                "20",
                (7_686_143_364_045_646_506, 1_537_228_672_809_129_301),
            ),
        ];
        for (gross, rate, expected) in cases {
            assert_eq!(split_gross(gross, dec(rate)), expected, "{gross} {rate}");
        }
    }

    #[test]
    fn an_early_payment_discount_is_split_r2_15() {
        // 2 % of 1,200.00 TTC.
        assert_eq!(split_gross(2_400, dec("20")), (2_000, 400));
    }

    #[test]
    fn partial_amounts_follow_the_rates_of_the_document_r0_3() {
        let document = [share("20", 10_000, 2_000), share("5.5", 10_000, 550)];
        // 100.00 × 120 / 225.50 = 53.215 and 46.785: both round up, the cent comes off 20 %.
        let split = split_over_rates(10_000, &document);
        assert_eq!(split, [share("20", 4_435, 887), share("5.5", 4_434, 244)]);
        assert_eq!(split_over_rates(22_550, &document), document);
        let back: Vec<_> = split_over_rates(-10_000, &document);
        assert_eq!(
            back,
            [share("20", -4_435, -887), share("5.5", -4_434, -244)]
        );
        assert_eq!(split_over_rates(10_000, &[]), []);
        let one = [share("20", 100_000, 20_000)];
        assert_eq!(split_over_rates(3_000, &one), [share("20", 2_500, 500)]);
    }

    #[test]
    fn the_rounding_difference_goes_to_the_largest_rate_r0_3() {
        let document = [share("0", 100, 0), share("20", 83, 17), share("10", 91, 9)];
        let grosses = |amount| -> Vec<Minor> {
            split_over_rates(amount, &document)
                .iter()
                .map(RateShare::gross)
                .collect()
        };
        assert_eq!(grosses(1), [0, 1, 0]);
        assert_eq!(grosses(2), [1, 0, 1]);
        assert_eq!(grosses(100), [33, 34, 33]);
        assert_eq!(grosses(299), [100, 99, 100]);
    }

    #[test]
    fn totals_round_once_per_rate_r0_1() {
        let lines = [
            (dec("20"), 333),
            (dec("5.5"), 1_000),
            (dec("20.0"), 334),
            (dec("20"), -1),
        ];
        let expected = vec![share("5.5", 1_000, 55), share("20", 666, 133)];
        assert_eq!(totals(&lines), Some(expected));
        assert_eq!(totals(&[]), Some(vec![]));
        assert_eq!(totals(&[(dec("20"), Minor::MAX)]), None);
        assert_eq!(totals(&[(dec("0"), Minor::MAX), (dec("0"), 1)]), None);
    }

    #[test]
    fn lines_round_once_r0_1() {
        let cases = [
            ("3", "33.335", None, 2, Some(10_001)),
            ("1", "0.005", None, 2, Some(1)),
            ("-1", "0.005", None, 2, Some(-1)),
            ("2.5", "10", Some("10"), 2, Some(2_250)),
            ("3", "0.99", Some("33.333"), 2, Some(198)),
            ("1", "10", Some("100"), 2, Some(0)),
            ("1", "10", Some("100.01"), 2, None),
            ("1", "10", Some("-1"), 2, None),
            ("1.5", "101", None, 0, Some(152)),
            ("1", "1.2345", None, 3, Some(1_235)),
            ("79228162514264337593543950335", "2", None, 2, None),
            ("1", "1", None, 99, None),
        ];
        for (quantity, price, discount, exponent, expected) in cases {
            let net = line_net(dec(quantity), dec(price), discount.map(dec), exponent);
            assert_eq!(net, expected, "{quantity} × {price} − {discount:?}");
        }
    }

    fn documents() -> impl Strategy<Value = Vec<RateShare>> {
        prop::collection::vec(1..5_000_i64, 1..6).prop_map(|nets| {
            let rates = ["20", "10", "5.5", "2.1", "0"].map(dec);
            let lines: Vec<_> = rates.into_iter().zip(nets).collect();
            totals(&lines).expect("small")
        })
    }

    proptest! {
        /// R0.2: nothing is lost, and a net gives itself back.
        #[test]
        fn net_and_vat_add_up_r0_2(gross in any::<Minor>(), rate in 0..10_000_i64) {
            let (net, vat) = split_gross(gross, Decimal::new(rate, 2));
            prop_assert_eq!(net + vat, gross);
            prop_assert!(net.unsigned_abs() <= gross.unsigned_abs());
        }

        /// R0.3: the shares add up, none changes sign, none exceeds its rate in the document.
        #[test]
        fn shares_add_up_r0_3(document in documents(), amount in 0..30_000_i64, back in any::<bool>()) {
            let total: Minor = document.iter().map(RateShare::gross).sum();
            let amount = if back { -amount } else { amount };
            let split = split_over_rates(amount, &document);
            prop_assert_eq!(split.iter().map(RateShare::gross).sum::<Minor>(), amount);
            for (part, whole) in split.iter().zip(&document) {
                prop_assert!(part.gross() * amount.signum() >= 0);
                if amount.abs() <= total {
                    prop_assert!(part.gross().abs() <= whole.gross());
                }
            }
        }

        /// R0.3: the whole amount gives the document back.
        #[test]
        fn the_whole_is_the_document_r0_3(document in documents()) {
            let total = document.iter().map(RateShare::gross).sum();
            prop_assert_eq!(split_over_rates(total, &document), document);
        }
    }
}
