//! Legal wordings with the period they hold for (R0.6): article numbers change with the law.

use chrono::NaiveDate;

use super::penalty::NotCovered;

/// A wording and the days it may be printed, both included.
struct Wording {
    from: &'static str,
    to: &'static str,
    text: &'static str,
}

// R2.21, CGI 272-1. The CIBS replaces the CGI on 2027-01-01 (ordonnance 2025-1247, postponed by
// ordonnance 2026-671); references to the CGI are tolerated on documents through 2028-06-30.
const UNPAID_INVOICE: &[Wording] = &[Wording {
    from: "1979-01-01",
    to: "2028-06-30",
    text: "Facture demeurée impayée pour la somme de {net} {currency} (prix net) et pour la somme de {vat} {currency} (TVA correspondante) qui ne peut faire l'objet d'une déduction (article 272 du CGI)",
}];

/// What a rectified invoice must bear to recover the VAT of a loss (R2.21).
pub fn unpaid_invoice(
    on: NaiveDate,
    net: &str,
    vat: &str,
    currency: &str,
) -> Result<String, NotCovered> {
    let day = on.to_string();
    let wording = UNPAID_INVOICE
        .iter()
        .find(|wording| wording.from <= day.as_str() && day.as_str() <= wording.to)
        .ok_or(NotCovered {
            what: "wording of a rectified invoice (CGI 272)",
            on,
        })?;
    let french = |amount: &str| amount.replace('.', ",");
    let sign = if currency == "EUR" { "€" } else { currency };
    Ok(wording
        .text
        .replace("{net}", &french(net))
        .replace("{vat}", &french(vat))
        .replace("{currency}", sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wording_of_a_rectified_invoice_is_dated_r2_21() {
        let day = |text: &str| text.parse().expect("a day");
        let text = unpaid_invoice(day("2026-06-30"), "700.00", "140.00", "EUR").expect("covered");
        assert!(
            text.contains("700,00 € (prix net)") && text.contains("140,00 € (TVA"),
            "{text}"
        );
        assert!(unpaid_invoice(day("2028-07-01"), "1.00", "0.20", "EUR").is_err());
    }
}
