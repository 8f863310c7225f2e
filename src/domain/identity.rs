//! Identifiers that carry their own check: SIREN, SIRET, VAT number, e-mail address, IBAN.
//!
//! Each function takes what a person typed and answers the normal form, or why it is refused.

/// La Poste numbers its establishments with a rule of its own.
const LA_POSTE: &str = "356000000";

/// Digits and capitals of a French VAT key: neither I nor O.
const VAT_KEY_ALPHABET: &str = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ";

/// Prefixes of the other VAT numbers of the European Union (XI: Northern Ireland), with the
/// shortest and longest text after the prefix.
const EU_VAT_LENGTHS: &[(&str, usize, usize)] = &[
    ("AT", 9, 9),
    ("BE", 10, 10),
    ("BG", 9, 10),
    ("CY", 9, 9),
    ("CZ", 8, 10),
    ("DE", 9, 9),
    ("DK", 8, 8),
    ("EE", 9, 9),
    ("EL", 9, 9),
    ("ES", 9, 9),
    ("FI", 8, 8),
    ("HR", 11, 11),
    ("HU", 8, 8),
    ("IE", 8, 9),
    ("IT", 11, 11),
    ("LT", 9, 12),
    ("LU", 8, 8),
    ("LV", 11, 11),
    ("MT", 8, 8),
    ("NL", 12, 12),
    ("PL", 10, 10),
    ("PT", 9, 9),
    ("RO", 2, 10),
    ("SE", 12, 12),
    ("SI", 8, 8),
    ("SK", 10, 10),
    ("XI", 5, 12),
];

/// Lengths of the IBANs most often met here; the others only have to lie in 15 to 34.
const IBAN_LENGTHS: &[(&str, usize)] = &[
    ("BE", 16),
    ("CH", 21),
    ("DE", 22),
    ("ES", 24),
    ("FR", 27),
    ("GB", 22),
    ("IT", 27),
    ("LU", 20),
    ("MC", 27),
    ("NL", 18),
    ("PT", 25),
];

/// A SIREN: nine digits with a valid Luhn key. Blanks are dropped.
pub fn siren(text: &str) -> Result<String, &'static str> {
    let siren = without_blanks(text);
    if siren.len() != 9 || !all_digits(&siren) {
        return Err("a SIREN has 9 digits");
    }
    if siren == "000000000" || !luhn_sum(&siren).is_multiple_of(10) {
        return Err("this SIREN has a wrong check digit");
    }
    Ok(siren)
}

/// A SIRET: a SIREN and five digits, with a valid Luhn key. Blanks are dropped.
///
/// For La Poste (SIREN 356000000) a sum of digits that is a multiple of 5 is valid too.
pub fn siret(text: &str) -> Result<String, &'static str> {
    let siret = without_blanks(text);
    if siret.len() != 14 || !all_digits(&siret) {
        return Err("a SIRET has 14 digits");
    }
    siren(&siret[..9]).map_err(|_| "the SIREN in this SIRET has a wrong check digit")?;
    let la_poste = siret.starts_with(LA_POSTE) && digits(&siret).sum::<u32>().is_multiple_of(5);
    if !la_poste && !luhn_sum(&siret).is_multiple_of(10) {
        return Err("this SIRET has a wrong check digit");
    }
    Ok(siret)
}

/// A VAT number of the European Union, in capitals. Blanks, dots and hyphens are dropped.
///
/// French: `FR`, a key of two characters and a SIREN; a key of two digits must be
/// `(12 + 3 × (SIREN mod 97)) mod 97`. Other countries: prefix and length only.
pub fn vat_number(text: &str) -> Result<String, &'static str> {
    let number: String = without_blanks(text)
        .chars()
        .filter(|c| !matches!(c, '.' | '-'))
        .map(|c| c.to_ascii_uppercase())
        .collect();
    if !number.bytes().all(|b| b.is_ascii_alphanumeric()) || number.len() < 4 {
        return Err("a VAT number is a country code followed by letters and digits");
    }
    let (country, rest) = number.split_at(2);
    if country == "FR" {
        return french_vat_is_valid(rest).map(|()| number);
    }
    let Some((_, shortest, longest)) = EU_VAT_LENGTHS.iter().find(|(code, ..)| *code == country)
    else {
        return Err("a VAT number starts with the code of a country of the European Union");
    };
    if !(*shortest..=*longest).contains(&rest.len()) || !rest.bytes().any(|b| b.is_ascii_digit()) {
        return Err("this VAT number does not have the form used in its country");
    }
    Ok(number)
}

/// The VAT number of a French company: `FR`, the computed key, the SIREN. Checks the SIREN.
pub fn french_vat_number(siren_text: &str) -> Result<String, &'static str> {
    let siren = siren(siren_text)?;
    Ok(format!("FR{:02}{siren}", vat_key(value(&siren))))
}

/// The shape of an e-mail address. Blanks around it are dropped, the domain goes to lower case.
pub fn email(text: &str) -> Result<String, &'static str> {
    const SHAPE: &str = "an e-mail address looks like name@example.com";
    let text = text.trim();
    let (local, domain) = text.rsplit_once('@').ok_or(SHAPE)?;
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || "@()<>[]:;,\\\"".contains(c);
    let local_is_valid = (1..=64).contains(&local.len())
        && !local.contains(forbidden)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..");
    let label_is_valid = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let top_is_valid = domain
        .rsplit_once('.')
        .is_some_and(|(_, top)| top.chars().count() >= 2 && !all_digits(top));
    if text.len() > 254
        || !local_is_valid
        || !top_is_valid
        || !domain.split('.').all(label_is_valid)
    {
        return Err(SHAPE);
    }
    Ok(format!("{local}@{}", domain.to_lowercase()))
}

/// An IBAN in capitals, blanks dropped, with a valid mod 97 key (ISO 13616).
pub fn iban(text: &str) -> Result<String, &'static str> {
    let iban = without_blanks(text).to_ascii_uppercase();
    if !iban.bytes().all(|b| b.is_ascii_alphanumeric()) || !(15..=34).contains(&iban.len()) {
        return Err("an IBAN has 15 to 34 letters and digits");
    }
    let (country, rest) = iban.split_at(2);
    let key = &rest[..2];
    if !country.bytes().all(|b| b.is_ascii_uppercase()) || !all_digits(key) {
        return Err("an IBAN starts with a country code and two digits");
    }
    let known = IBAN_LENGTHS.iter().find(|(code, _)| *code == country);
    if known.is_some_and(|(_, length)| *length != iban.len()) {
        return Err("this IBAN does not have the length used in its country");
    }
    // 00, 01 and 99 satisfy the remainder but no bank computes them.
    if !(2..=98).contains(&value(key)) || iban_remainder(&iban) != 1 {
        return Err("this IBAN has a wrong check key");
    }
    Ok(iban)
}

/// Whether [`iban`] accepts the text.
pub fn iban_is_valid(text: &str) -> bool {
    iban(text).is_ok()
}

/// Remainder by 97 with the first four characters moved to the end and A = 10 … Z = 35.
fn iban_remainder(iban: &str) -> u32 {
    let (head, tail) = iban.split_at(4);
    tail.chars()
        .chain(head.chars())
        .filter_map(|c| c.to_digit(36))
        .fold(0, |remainder, n| {
            let shift = if n > 9 { 100 } else { 10 };
            (remainder * shift + n) % 97
        })
}

fn french_vat_is_valid(rest: &str) -> Result<(), &'static str> {
    const FORM: &str = "a French VAT number is FR, a key of two characters and a SIREN";
    if rest.len() != 11 || !all_digits(&rest[2..]) {
        return Err(FORM);
    }
    let (key, siren_text) = rest.split_at(2);
    // Monaco: the number belongs to no SIREN, only the key can be checked.
    if !siren_text.starts_with("000") {
        siren(siren_text).map_err(|_| "the SIREN in this VAT number has a wrong check digit")?;
    }
    let number = value(siren_text);
    let key_is_valid = if all_digits(key) {
        value(key) == vat_key(number)
    } else {
        lettered_key_is_valid(key, number).ok_or(FORM)?
    };
    if key_is_valid {
        Ok(())
    } else {
        Err("this VAT number has a wrong key")
    }
}

fn vat_key(siren: u64) -> u64 {
    (12 + 3 * (siren % 97)) % 97
}

/// The newer keys, with a letter. `None` when a character does not belong in a key.
fn lettered_key_is_valid(key: &str, siren: u64) -> Option<bool> {
    let mut ranks = key
        .chars()
        .map(|c| VAT_KEY_ALPHABET.find(c).map(|rank| rank as u64));
    let (first, second) = (ranks.next()??, ranks.next()??);
    // A letter stands in the key, so neither difference goes below zero.
    let check = if first < 10 {
        first * 24 + second - 10
    } else {
        first * 34 + second - 100
    };
    Some((siren + 1 + check / 11) % 11 == check % 11)
}

/// Σ of the digits, every second one from the right doubled and its own digits added.
fn luhn_sum(text: &str) -> u32 {
    digits(text)
        .rev()
        .enumerate()
        .map(|(rank, digit)| match rank % 2 {
            0 => digit,
            _ if digit > 4 => digit * 2 - 9,
            _ => digit * 2,
        })
        .sum()
}

/// The number that a short run of ASCII digits writes.
fn value(text: &str) -> u64 {
    digits(text).fold(0, |value, digit| value * 10 + u64::from(digit))
}

fn digits(text: &str) -> impl DoubleEndedIterator<Item = u32> + ExactSizeIterator + '_ {
    text.as_bytes()
        .iter()
        .map(|byte| u32::from(byte.wrapping_sub(b'0')))
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn without_blanks(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(function: fn(&str) -> Result<String, &'static str>, cases: &[(&str, Option<&str>)]) {
        for (text, expected) in cases {
            assert_eq!(function(text).ok().as_deref(), *expected, "{text:?}");
        }
    }

    #[test]
    fn sirens() {
        check(
            siren,
            &[
                ("732829320", Some("732829320")),
                (" 732 829\u{a0}320 ", Some("732829320")),
                ("356000000", Some("356000000")),
                ("732829321", None),
                ("000000000", None),
                ("73282932", None),
                ("7328293200", None),
                ("73282932O", None),
                ("٧٣٢٨٢٩٣٢٠", None),
                ("", None),
            ],
        );
    }

    #[test]
    fn sirets() {
        check(
            siret,
            &[
                ("732 829 320 00074", Some("73282932000074")),
                ("73282932000075", None),
                ("35600000000048", Some("35600000000048")),
                // Σ digits = 20 is enough at La Poste, and nowhere else.
                ("35600000000015", Some("35600000000015")),
                ("35600000000016", None),
                ("7328293200007", None),
            ],
        );
    }

    #[test]
    fn vat_numbers() {
        check(
            vat_number,
            &[
                ("FR40303265045", Some("FR40303265045")),
                ("fr 40 303.265-045", Some("FR40303265045")),
                ("FR41303265045", None),
                ("FR40303265046", None),
                ("FRK7399859412", Some("FRK7399859412")),
                ("FR4Z123456782", Some("FR4Z123456782")),
                ("FRK8399859412", None),
                ("FRIO399859412", None),
                ("FR4030326504", None),
                ("DE123456789", Some("DE123456789")),
                ("DE12345678", None),
                ("ATU12345678", Some("ATU12345678")),
                ("US123456789", None),
                ("FR", None),
                ("Dé123456789", None),
            ],
        );
        assert_eq!(
            french_vat_number("303265045").as_deref(),
            Ok("FR40303265045")
        );
        assert_eq!(
            french_vat_number("732 829 320").as_deref(),
            Ok("FR44732829320")
        );
    }

    #[test]
    fn emails() {
        check(
            email,
            &[
                (" Compta@Dubois.FR ", Some("Compta@dubois.fr")),
                ("a.b+c@x-y.example.com", Some("a.b+c@x-y.example.com")),
                ("compta@dubois", None),
                ("compta", None),
                ("@dubois.fr", None),
                ("a@b@dubois.fr", None),
                ("a b@dubois.fr", None),
                ("a..b@dubois.fr", None),
                ("a@dubois..fr", None),
                ("a@-dubois.fr", None),
                ("a@dubois.fr\r\nBcc: x@y.fr", None),
                ("a@192.168.0.1", None),
                ("", None),
            ],
        );
    }

    #[test]
    fn ibans() {
        check(
            iban,
            &[
                (
                    "FR14 2004 1010 0505 0001 3M02 606",
                    Some("FR1420041010050500013M02606"),
                ),
                (
                    "fr1420041010050500013m02606",
                    Some("FR1420041010050500013M02606"),
                ),
                ("DE89370400440532013000", Some("DE89370400440532013000")),
                (
                    "GB82 WEST 1234 5698 7654 32",
                    Some("GB82WEST12345698765432"),
                ),
                ("FR1420041010050500013M02607", None),
                ("FR142004101005050001", None),
                ("1420041010050500013M02606FR", None),
                ("FR14é004101005050001", None),
                ("", None),
            ],
        );
        assert!(iban_is_valid("BE68 5390 0754 7034"));
        assert!(!iban_is_valid("BE68 5390 0754 7035"));
    }

    proptest! {
        /// Any single wrong digit breaks the key of a SIREN, of a VAT number and of an IBAN.
        #[test]
        fn one_wrong_digit_is_seen(place in 0..9_usize, digit in 0..10_u32) {
            let change = |text: &str, place: usize| -> String {
                text.chars()
                    .enumerate()
                    .map(|(i, c)| if i == place { char::from_digit(digit, 10).unwrap_or(c) } else { c })
                    .collect()
            };
            let number = change("732829320", place);
            prop_assert_eq!(siren(&number).is_ok(), number == "732829320");
            let number = change("FR44732829320", place + 2);
            prop_assert_eq!(vat_number(&number).is_ok(), number == "FR44732829320");
            let number = change("DE89370400440532013000", place + 2);
            prop_assert_eq!(iban_is_valid(&number), number == "DE89370400440532013000");
        }

        /// Nothing that a person can type makes a check panic.
        #[test]
        fn any_text_gets_an_answer(text in ".*") {
            let _ = (siren(&text), siret(&text), vat_number(&text), email(&text), iban(&text));
        }
    }
}
