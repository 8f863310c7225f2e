//! Bills of exchange (effets de commerce): the bank's discount (R2.13).

use rust_decimal::Decimal;

use super::money::{Minor, round_half_up};

/// Bank discount of a bill: nominal × rate × days / 360, the bankers' year (R2.13).
///
/// `rate` in percent per year; minor units in and out. `None` on overflow.
pub fn discount_interest(nominal: Minor, rate: Decimal, days: i64) -> Option<Minor> {
    let product = Decimal::from(nominal)
        .checked_mul(rate)?
        .checked_mul(Decimal::from(days))?;
    round_half_up(product.checked_div(Decimal::from(36_000))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bankers_discount_r2_13() {
        let cases = [
            (120_000, "6", 45, 900),
            (120_000, "6", 0, 0),
            (100_001, "4.75", 30, 396),
        ];
        for (nominal, rate, days, expected) in cases {
            let rate = rate.parse().expect("a rate");
            assert_eq!(
                discount_interest(nominal, rate, days),
                Some(expected),
                "{nominal} {rate} {days}"
            );
        }
    }
}
