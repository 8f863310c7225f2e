//! CFONB 120 (relevé de compte): records of 120 characters, 01 old balance, 04 movement, 05 detail,
//! 07 new balance. The last character of an amount carries its sign (13.3).

use chrono::NaiveDate;
use rust_decimal::Decimal;

use super::statement::{Format, Movement, Statement, StatementError, wrong};

/// Characters of a record.
const RECORD: usize = 120;

/// Reads a file: one statement for each pair of balances.
pub fn read(bytes: &[u8]) -> Result<Vec<Statement>, StatementError> {
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let mut statements = Vec::new();
    let mut open: Option<Statement> = None;
    for (line, record) in (1..).zip(records(&text)) {
        let record: Vec<char> = record.chars().collect();
        if record.len() != RECORD {
            return Err(wrong(
                line,
                None,
                format!(
                    "a record has {RECORD} characters, this one {}: the file breaks off or is no CFONB 120",
                    record.len()
                ),
            ));
        }
        let at = |from: usize, to: usize| -> String { record[from - 1..to].iter().collect() };
        let field = |from: usize, to: usize| at(from, to).trim().to_owned();
        match at(1, 2).as_str() {
            "01" => {
                if open.is_some() {
                    return Err(wrong(
                        line,
                        Some("01"),
                        "a statement begins before the last one ended",
                    ));
                }
                let decimals = decimals(line, &field(20, 20))?;
                open = Some(Statement {
                    format: Format::Cfonb120,
                    reference: String::new(),
                    sequence: None,
                    account: account(&field(3, 7), &field(12, 16), &field(22, 32)),
                    currency: currency(&field(17, 19)),
                    from_on: Some(day(line, "01", &field(35, 40))?),
                    to_on: None,
                    opening: Some(amount(line, "01", &at(91, 104), decimals)?),
                    closing: None,
                    movements: Vec::new(),
                });
            }
            "04" => {
                let statement = open.as_mut().ok_or_else(|| {
                    wrong(line, Some("04"), "a movement stands before the old balance")
                })?;
                let decimals = decimals(line, &field(20, 20))?;
                let amount = amount(line, "04", &at(91, 104), decimals)?;
                let rejected = field(41, 42);
                statement.movements.push(Movement {
                    line,
                    booked_on: day(line, "04", &field(35, 40))?,
                    value_on: day(line, "04", &field(43, 48)).ok(),
                    amount,
                    currency: statement.currency.clone(),
                    servicer_ref: Some(field(82, 88))
                        .filter(|text| text.chars().any(|sign| sign != '0')),
                    text: field(49, 79),
                    // Interbank operation code: 05 transfers received, 08 rejected collections, 02 unpaid cheques …
                    family: Some(format!("CFONB/{}", field(33, 34))),
                    return_reason: Some(rejected).filter(|code| !code.is_empty() && code != "00"),
                    ..Movement::default()
                });
            }
            "05" => {
                let movement = open
                    .as_mut()
                    .and_then(|statement| statement.movements.last_mut())
                    .ok_or_else(|| {
                        wrong(line, Some("05"), "a detail stands before its movement")
                    })?;
                let told = field(49, 118);
                match field(46, 48).as_str() {
                    "NPY" | "NBE" => movement.counterparty = Some(told),
                    "RCN" => movement.end_to_end_id = Some(told).filter(|id| id != "NOTPROVIDED"),
                    "REF" => movement.structured.push(told),
                    "IBE" | "IPY" => {
                        movement.counterparty_iban = Some(
                            told.chars()
                                .filter(|sign| !sign.is_whitespace())
                                .take(34)
                                .collect(),
                        );
                    }
                    _ => {
                        movement.text.push(' ');
                        movement.text.push_str(&told);
                    }
                }
            }
            "07" => {
                let mut statement = open.take().ok_or_else(|| {
                    wrong(line, Some("07"), "a new balance stands before the old one")
                })?;
                let decimals = decimals(line, &field(20, 20))?;
                let to_on = day(line, "07", &field(35, 40))?;
                statement.to_on = Some(to_on);
                statement.closing = Some(amount(line, "07", &at(91, 104), decimals)?);
                statement.reference = format!("{}-{to_on}", statement.account);
                statement.check(line)?;
                statements.push(statement);
            }
            other => {
                return Err(wrong(
                    line,
                    Some(other),
                    "01, 04, 05 and 07 are the records of a CFONB 120",
                ));
            }
        }
    }
    if open.is_some() || statements.is_empty() {
        return Err(wrong(
            statements.len() as u64 + 1,
            Some("07"),
            "the file breaks off: the new balance is missing",
        ));
    }
    Ok(statements)
}

/// Records by line, or cut every 120 characters when the file has no line ends.
fn records(text: &str) -> Vec<String> {
    let text = text.trim_end_matches(['\r', '\n', '\u{1a}']);
    if text.contains('\n') || text.chars().count() <= RECORD {
        return text
            .lines()
            .map(|line| {
                let line = line.trim_end_matches('\r');
                // Blanks at the end are often cut.
                if line.chars().count() < RECORD && line.chars().count() >= 104 {
                    format!("{line:<RECORD$}")
                } else {
                    line.to_owned()
                }
            })
            .collect();
    }
    let signs: Vec<char> = text.chars().collect();
    signs
        .chunks(RECORD)
        .map(|part| part.iter().collect())
        .collect()
}

/// Bank, counter and account make the French account number; its key makes the IBAN.
fn account(bank: &str, counter: &str, number: &str) -> String {
    let digits = |text: &str| -> String {
        text.chars()
            .map(|sign| match sign {
                'A'..='I' => char::from(b'1' + (sign as u8 - b'A')),
                'J'..='R' => char::from(b'1' + (sign as u8 - b'J')),
                'S'..='Z' => char::from(b'2' + (sign as u8 - b'S')),
                other => other,
            })
            .collect()
    };
    let modulo = |text: &str| {
        text.bytes().fold(0_u64, |rest, byte| {
            (rest * 10 + u64::from(byte.saturating_sub(b'0'))) % 97
        })
    };
    let key = 97
        - (89 * modulo(&digits(bank))
            + 15 * modulo(&digits(counter))
            + 3 * modulo(&digits(number)))
            % 97;
    let bban = format!("{bank}{counter}{number}{key:02}");
    // FR00 behind, letters as two digits: 98 less the remainder is the check of the IBAN.
    let expanded: String = format!("{bban}FR00")
        .chars()
        .map(|sign| match sign {
            'A'..='Z' => (u32::from(sign) - u32::from('A') + 10).to_string(),
            other => other.to_string(),
        })
        .collect();
    format!("FR{:02}{bban}", 98 - modulo(&expanded))
}

fn currency(code: &str) -> String {
    if code.is_empty() {
        "EUR".to_owned()
    } else {
        code.to_owned()
    }
}

fn decimals(line: u64, text: &str) -> Result<u32, StatementError> {
    match text {
        "" => Ok(2),
        _ => text
            .parse()
            .ok()
            .filter(|decimals| *decimals <= 4)
            .ok_or_else(|| {
                wrong(
                    line,
                    Some("decimals"),
                    format!("`{text}` is no number of decimals"),
                )
            }),
    }
}

/// `JJMMAA`.
fn day(line: u64, record: &str, text: &str) -> Result<NaiveDate, StatementError> {
    NaiveDate::parse_from_str(text, "%d%m%y").map_err(|_| {
        wrong(
            line,
            Some(record),
            format!("`{text}` is not a day written as JJMMAA"),
        )
    })
}

/// Thirteen digits and one that carries the sign: `{` and A to I positive, `}` and J to R negative.
fn amount(line: u64, record: &str, text: &str, decimals: u32) -> Result<Decimal, StatementError> {
    let bad = || {
        wrong(
            line,
            Some(record),
            format!("`{}` is not an amount", text.trim()),
        )
    };
    let text = text.trim();
    let last = text.chars().last().ok_or_else(bad)?;
    let (digit, negative) = match last {
        '{' | 'é' => (0, false),
        '}' | 'è' => (0, true),
        'A'..='I' => (i64::from(u32::from(last) - u32::from('A')) + 1, false),
        'J'..='R' => (i64::from(u32::from(last) - u32::from('J')) + 1, true),
        _ => return Err(bad()),
    };
    let head = &text[..text.len() - last.len_utf8()];
    let head: i64 = if head.is_empty() {
        0
    } else {
        head.parse().map_err(|_| bad())?
    };
    let value = Decimal::new(head * 10 + digit, decimals);
    Ok(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(code: &str, day: &str, amount: &str, rest: &[(usize, &str)]) -> String {
        let mut signs: Vec<char> = " ".repeat(RECORD).chars().collect();
        let mut put = |at: usize, text: &str| {
            for (offset, sign) in text.chars().enumerate() {
                signs[at - 1 + offset] = sign;
            }
        };
        put(1, code);
        put(3, "30004");
        put(12, "00819");
        put(17, "EUR2");
        put(22, "00010163231");
        put(35, day);
        put(91, amount);
        for (at, text) in rest {
            put(*at, text);
        }
        signs.into_iter().collect()
    }

    fn file() -> String {
        [
            record("01", "310826", "0000000010000{", &[]),
            record(
                "04",
                "010926",
                "0000000012050{",
                &[(33, "05"), (43, "010926"), (49, "VIR SEPA DUPONT")],
            ),
            record("05", "010926", "", &[(46, "NPY"), (49, "DUPONT SARL")]),
            record(
                "05",
                "010926",
                "",
                &[(46, "LCC"), (49, "FACTURE FA-2026-000012")],
            ),
            record(
                "04",
                "020926",
                "0000000000290}",
                &[(33, "61"), (43, "020926"), (49, "FRAIS")],
            ),
            record("07", "300926", "0000000021760{", &[]),
        ]
        .join("\r\n")
    }

    #[test]
    fn a_statement_is_read_13_3() {
        let statement = read(file().as_bytes()).expect("a statement").remove(0);
        let dec = |text: &str| text.parse::<Decimal>().expect("a decimal");
        assert_eq!(
            (statement.opening, statement.closing),
            (Some(dec("1000.00")), Some(dec("2176.00")))
        );
        assert_eq!(statement.account, "FR7630004008190001016323117");
        let amounts: Vec<Decimal> = statement.movements.iter().map(|m| m.amount).collect();
        assert_eq!(amounts, [dec("1205.00"), dec("-29.00")]);
        let first = &statement.movements[0];
        assert_eq!(first.counterparty.as_deref(), Some("DUPONT SARL"));
        assert_eq!(first.text, "VIR SEPA DUPONT FACTURE FA-2026-000012");
        // The same without line ends.
        let joined = file().replace("\r\n", "");
        assert_eq!(
            read(joined.as_bytes()).expect("a statement")[0],
            Statement {
                movements: statement.movements.clone(),
                ..read(joined.as_bytes()).expect("a statement")[0].clone()
            }
        );
    }

    #[test]
    fn broken_files_are_refused() {
        let lines: Vec<String> = file().lines().map(str::to_owned).collect();
        let without = |n: usize| {
            let mut kept = lines.clone();
            kept.remove(n);
            kept.join("\n")
        };
        let cases = [
            (without(5), "breaks off"),
            (without(0), "before"),
            (without(1), "before its movement"),
            (
                file()
                    .replace("0000000021760{", "0000000021761{")
                    .replace("21761{", "2176A{"),
                "not an amount",
            ),
            (
                file()
                    .replace("0000000012050{", "0000000012051{")
                    .replace("12051{", "01206A"),
                "do not give",
            ),
            (file()[..300].to_owned(), "characters"),
        ];
        for (text, why) in cases {
            let error = read(text.as_bytes()).expect_err(why);
            assert!(error.to_string().contains(why), "{why}: {error}");
        }
    }

    proptest! {
        #[test]
        fn mutilated_files_never_panic(from in 0..700_usize, length in 0..60_usize, put in prop::collection::vec(any::<u8>(), 0..20)) {
            let mut bytes = file().into_bytes();
            let from = from.min(bytes.len());
            let to = (from + length).min(bytes.len());
            bytes.splice(from..to, put);
            let _ = read(&bytes);
        }
    }
}
