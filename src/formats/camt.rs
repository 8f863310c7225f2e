//! camt.053 and camt.054 (ISO 20022), versions 2 to 13: read by the names of elements, so that the
//! versions' small differences (parties under `Pty`, states under `Cd`) do not matter.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate};
use quick_xml::Reader;
use quick_xml::events::Event;
use rust_decimal::Decimal;

use super::statement::{Format, Movement, Statement, StatementError, wrong};

/// Deepest nesting of elements.
const DEPTH: usize = 40;
/// Most elements of one entry: a batch of 20,000 payments stays below.
const ELEMENTS: usize = 2_000_000;

/// An element with what stands in it.
#[derive(Default, Debug)]
struct Element {
    name: String,
    line: u64,
    currency: Option<String>,
    text: String,
    children: Vec<Element>,
}

impl Element {
    fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The element at a path such as `Acct/Id/IBAN`.
    fn at(&self, path: &str) -> Option<&Element> {
        path.split('/')
            .try_fold(self, |element, name| element.child(name))
    }

    fn text_at(&self, path: &str) -> Option<&str> {
        self.at(path)
            .map(|element| element.text.trim())
            .filter(|text| !text.is_empty())
    }
}

/// Reads a file; refuses what is not a camt.053 or camt.054.
pub fn read(bytes: &[u8]) -> Result<Vec<Statement>, StatementError> {
    let root = tree(&decoded(bytes))?;
    let message = root.children.first().filter(|_| root.name == "Document");
    let (format, name) = match message.map(|message| message.name.as_str()) {
        Some("BkToCstmrStmt") => (Format::Camt053, "Stmt"),
        Some("BkToCstmrDbtCdtNtfctn") => (Format::Camt054, "Ntfctn"),
        Some(other) => {
            return Err(wrong(
                root.line,
                Some(other),
                "a camt.053 (BkToCstmrStmt) or camt.054 (BkToCstmrDbtCdtNtfctn) is needed",
            ));
        }
        None => return Err(wrong(root.line, None, "this is not an ISO 20022 document")),
    };
    let statements: Vec<Statement> = message
        .iter()
        .flat_map(|message| message.all(name))
        .map(|element| statement(format, element))
        .collect::<Result<_, _>>()?;
    if statements.is_empty() {
        return Err(wrong(root.line, Some(name), "the file has no statement"));
    }
    Ok(statements)
}

/// The file in UTF-8: banks also declare Latin-1, Latin-9 or its Windows kin, which agree on letters.
fn decoded(bytes: &[u8]) -> Cow<'_, [u8]> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).to_lowercase();
    let declaration = head.split("?>").next().unwrap_or_default();
    let latin = ["iso-8859-1", "iso-8859-15", "windows-1252"]
        .iter()
        .any(|name| declaration.contains(name));
    if latin && std::str::from_utf8(bytes).is_err() {
        let text: String = bytes.iter().copied().map(super::fec::from_latin9).collect();
        Cow::Owned(text.into_bytes())
    } else {
        Cow::Borrowed(bytes)
    }
}

/// Parses the XML. No document type, so no entities of its own: a bomb has nothing to expand.
fn tree(bytes: &[u8]) -> Result<Element, StatementError> {
    let mut reader = Reader::from_reader(bytes);
    reader.config_mut().check_end_names = true;
    let (mut stack, mut root): (Vec<Element>, Option<Element>) = (Vec::new(), None);
    let mut elements = 0;
    let foreign = |byte: &u8| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r');
    if let Some(place) = bytes.iter().position(foreign) {
        let line = 1 + bytes[..place].iter().filter(|byte| **byte == b'\n').count() as u64;
        return Err(wrong(line, None, "XML has no control characters"));
    }
    let mut lines = Lines {
        bytes,
        position: 0,
        line: 1,
    };
    loop {
        let event = reader.read_event();
        let line = lines.at(reader.buffer_position());
        let event = event.map_err(|error| unsound(line, &error))?;
        match event {
            Event::DocType(_) => {
                return Err(wrong(line, None, "a document type is not accepted"));
            }
            Event::Start(start) | Event::Empty(start)
                if stack.len() >= DEPTH || elements >= ELEMENTS =>
            {
                let _ = start;
                return Err(wrong(
                    line,
                    None,
                    "the file is nested too deeply or too large",
                ));
            }
            Event::Start(start) => {
                elements += 1;
                stack.push(element(&start, line)?);
            }
            Event::Empty(start) => {
                elements += 1;
                let made = element(&start, line)?;
                close(&mut stack, &mut root, made);
            }
            Event::End(_) => {
                if let Some(made) = stack.pop() {
                    close(&mut stack, &mut root, made);
                }
            }
            Event::Text(text) => {
                if let Some(open) = stack.last_mut() {
                    open.text.push_str(&text);
                }
            }
            Event::CData(text) => {
                if let Some(open) = stack.last_mut() {
                    open.text.push_str(&text);
                }
            }
            Event::GeneralRef(name) => {
                let name = name.to_string();
                let sign = entity(&name).ok_or_else(|| {
                    wrong(line, None, format!("the entity &{name}; is not accepted"))
                })?;
                if let Some(open) = stack.last_mut() {
                    open.text.push(sign);
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if let Some(open) = stack.last() {
        return Err(wrong(
            open.line,
            Some(&open.name),
            "the file breaks off: the element is not closed",
        ));
    }
    root.ok_or_else(|| wrong(1, None, "the file is empty"))
}

/// XML's own complaint: its syntax errors all are something that never ends.
fn unsound(line: u64, error: &quick_xml::Error) -> StatementError {
    let why = match error {
        quick_xml::Error::Syntax(_) => "the file breaks off",
        _ => "not sound XML",
    };
    wrong(line, None, format!("{why}: {error}"))
}

/// Line numbers of ascending positions.
struct Lines<'a> {
    bytes: &'a [u8],
    position: usize,
    line: u64,
}

impl Lines<'_> {
    fn at(&mut self, position: u64) -> u64 {
        let to = usize::try_from(position)
            .unwrap_or(self.bytes.len())
            .clamp(self.position, self.bytes.len());
        let passed = &self.bytes[self.position..to];
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.position = to;
        self.line
    }
}

/// The five entities of XML, and characters by number.
fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code).filter(|sign| !sign.is_control() || *sign == '\n')
        }
    }
}

fn element(
    start: &quick_xml::events::BytesStart<'_>,
    line: u64,
) -> Result<Element, StatementError> {
    let name = start.local_name().as_ref().to_owned();
    let mut currency = None;
    for attribute in start.attributes() {
        let attribute = attribute
            .map_err(|error| wrong(line, Some(&name), format!("not sound XML: {error}")))?;
        if attribute.key.local_name().as_ref() == "Ccy" {
            currency = Some(attribute.value.to_string());
        }
    }
    Ok(Element {
        name,
        line,
        currency,
        ..Element::default()
    })
}

fn close(stack: &mut [Element], root: &mut Option<Element>, made: Element) {
    match stack.last_mut() {
        Some(parent) => parent.children.push(made),
        None => *root = Some(made),
    }
}

fn statement(format: Format, element: &Element) -> Result<Statement, StatementError> {
    let account = element
        .text_at("Acct/Id/IBAN")
        .or_else(|| element.text_at("Acct/Id/Othr/Id"))
        .ok_or_else(|| wrong(element.line, Some("Acct/Id"), "the account is not named"))?;
    let balance = |kinds: &[&str]| -> Result<Option<Decimal>, StatementError> {
        let found = element.all("Bal").find(|balance| {
            balance
                .text_at("Tp/CdOrPrtry/Cd")
                .is_some_and(|kind| kinds.contains(&kind))
        });
        found.map(signed).transpose()
    };
    let period = |path: &str| element.at(path).map(day).transpose();
    let mut movements = Vec::new();
    for entry in element.all("Ntry") {
        // Pending and information entries are not in the books of the bank yet.
        let state = entry.text_at("Sts/Cd").or_else(|| entry.text_at("Sts"));
        if state.is_none_or(|state| state == "BOOK") {
            movements.extend(entries(entry)?);
        }
    }
    let currency = element
        .text_at("Acct/Ccy")
        .map(str::to_owned)
        .or_else(|| {
            element
                .at("Bal/Amt")
                .and_then(|amount| amount.currency.clone())
        })
        .or_else(|| movements.first().map(|movement| movement.currency.clone()))
        .unwrap_or_else(|| "EUR".to_owned());
    let made = Statement {
        format,
        reference: element
            .text_at("Id")
            .ok_or_else(|| {
                wrong(
                    element.line,
                    Some("Id"),
                    "the statement has no identification",
                )
            })?
            .to_owned(),
        sequence: element
            .text_at("ElctrncSeqNb")
            .or_else(|| element.text_at("LglSeqNb"))
            .and_then(|number| number.parse().ok()),
        account: account
            .chars()
            .filter(|sign| !sign.is_whitespace())
            .collect(),
        currency,
        from_on: period("FrToDt/FrDtTm")?,
        to_on: match period("FrToDt/ToDtTm")? {
            Some(on) => Some(on),
            None => element
                .all("Bal")
                .find(|balance| balance.text_at("Tp/CdOrPrtry/Cd") == Some("CLBD"))
                .and_then(|balance| balance.child("Dt"))
                .map(day)
                .transpose()?,
        },
        opening: balance(&["OPBD", "PRCD"])?,
        closing: balance(&["CLBD"])?,
        movements,
    };
    made.check(element.line)?;
    Ok(made)
}

/// An amount without sign, as ISO 20022 writes it: digits, and a point before at most five decimals.
fn amount_of(element: &Element) -> Result<Decimal, StatementError> {
    let text = element.text.trim();
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|sign| sign.is_ascii_digit());
    let plain = digits(whole) && digits(decimals) && whole.len() <= 18 && decimals.len() <= 5;
    plain.then(|| text.parse().ok()).flatten().ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        wrong(
            element.line,
            Some("Amt"),
            format!("`{shown}` is not an amount such as 1234.56"),
        )
    })
}

/// An amount with its side: money in, and balances in our favour, are positive.
fn signed(element: &Element) -> Result<Decimal, StatementError> {
    let amount = element
        .child("Amt")
        .ok_or_else(|| wrong(element.line, Some("Amt"), "an amount is needed"))?;
    let value = amount_of(amount)?;
    match element.text_at("CdtDbtInd") {
        Some("CRDT") => Ok(value),
        Some("DBIT") => Ok(-value),
        _ => Err(wrong(
            element.line,
            Some("CdtDbtInd"),
            "CRDT or DBIT is needed",
        )),
    }
}

/// A day, or the day of an instant.
fn day(element: &Element) -> Result<NaiveDate, StatementError> {
    let inner = element.child("Dt").or_else(|| element.child("DtTm"));
    let text = inner.unwrap_or(element).text.trim();
    let date = text.get(..10).unwrap_or(text);
    date.parse()
        .ok()
        .or_else(|| {
            DateTime::parse_from_rfc3339(text)
                .ok()
                .map(|at| at.date_naive())
        })
        .ok_or_else(|| {
            wrong(
                element.line,
                Some(&element.name),
                format!("`{text}` is not a day"),
            )
        })
}

/// The movements of an entry: one, or one for each payment of a batch that the file tells apart.
fn entries(entry: &Element) -> Result<Vec<Movement>, StatementError> {
    let whole = signed(entry)?;
    let booked = entry
        .child("BookgDt")
        .or_else(|| entry.child("ValDt"))
        .ok_or_else(|| wrong(entry.line, Some("BookgDt"), "a day of booking is needed"))?;
    let family = match (
        entry.text_at("BkTxCd/Domn/Fmly/Cd"),
        entry.text_at("BkTxCd/Domn/Fmly/SubFmlyCd"),
    ) {
        (Some(family), Some(sub)) => Some(format!("{family}/{sub}")),
        (Some(family), None) => Some(family.to_owned()),
        _ => entry.text_at("BkTxCd/Prtry/Cd").map(str::to_owned),
    };
    let base = Movement {
        line: entry.line,
        booked_on: day(booked)?,
        value_on: entry.child("ValDt").map(day).transpose()?,
        amount: whole,
        currency: entry
            .child("Amt")
            .and_then(|amount| amount.currency.clone())
            .unwrap_or_else(|| "EUR".to_owned()),
        servicer_ref: entry.text_at("AcctSvcrRef").map(str::to_owned),
        entry_ref: entry.text_at("AcctSvcrRef").map(str::to_owned),
        is_reversal: entry.text_at("RvslInd") == Some("true"),
        family,
        text: entry.text_at("AddtlNtryInf").unwrap_or_default().to_owned(),
        ..Movement::default()
    };
    let details: Vec<&Element> = entry
        .all("NtryDtls")
        .flat_map(|details| details.all("TxDtls"))
        .collect();
    let single = details.len() == 1;
    let mut movements = Vec::new();
    for (position, detail) in details.iter().enumerate() {
        movements.push(payment(&base, detail, single, position)?);
    }
    let sum: Decimal = movements.iter().map(|movement| movement.amount).sum();
    if movements.is_empty() {
        return Ok(vec![base]);
    }
    if sum != whole {
        // The details are in another currency or not whole: the entry counts, with what they tell.
        let told = Movement {
            amount: whole,
            ..movements.swap_remove(0)
        };
        return Ok(vec![if single { told } else { base }]);
    }
    Ok(movements)
}

/// One payment of an entry.
fn payment(
    base: &Movement,
    detail: &Element,
    single: bool,
    position: usize,
) -> Result<Movement, StatementError> {
    let incoming = base.amount >= Decimal::ZERO;
    let amount = match (detail.child("Amt"), detail.at("AmtDtls/TxAmt/Amt")) {
        _ if single => base.amount,
        (Some(own), _) | (None, Some(own)) => {
            let value = amount_of(own)?;
            let side = detail.text_at("CdtDbtInd");
            let negative = side.map_or(!incoming, |side| side == "DBIT");
            if negative { -value } else { value }
        }
        (None, None) => Decimal::ZERO,
    };
    let parties = detail.child("RltdPties");
    // Who paid us, or whom we paid; a returned collection names the one who refused as debtor.
    let sides = if incoming || base.is_reversal {
        ["Dbtr", "UltmtDbtr", "Cdtr"]
    } else {
        ["Cdtr", "UltmtCdtr", "Dbtr"]
    };
    let name = sides.iter().find_map(|side| {
        let party = parties?.child(side)?;
        party.text_at("Nm").or_else(|| party.text_at("Pty/Nm"))
    });
    let accounts = if incoming || base.is_reversal {
        ["DbtrAcct", "CdtrAcct"]
    } else {
        ["CdtrAcct", "DbtrAcct"]
    };
    let iban = accounts
        .iter()
        .find_map(|side| parties?.child(side)?.text_at("Id/IBAN"));
    let mut structured = Vec::new();
    for part in detail
        .all("RmtInf")
        .flat_map(|remittance| remittance.all("Strd"))
    {
        structured.extend(part.text_at("CdtrRefInf/Ref").map(str::to_owned));
        structured.extend(
            part.all("RfrdDocInf")
                .filter_map(|document| document.text_at("Nb"))
                .map(str::to_owned),
        );
    }
    let mut texts: Vec<&str> = detail
        .all("RmtInf")
        .flat_map(|remittance| remittance.all("Ustrd"))
        .map(|text| text.text.trim())
        .collect();
    if texts.is_empty() {
        texts.extend(detail.text_at("AddtlTxInf"));
    }
    if texts.is_empty() && structured.is_empty() && single {
        texts.push(&base.text);
    }
    let own = |path: &str| {
        detail
            .text_at(path)
            .filter(|text| *text != "NOTPROVIDED")
            .map(str::to_owned)
    };
    Ok(Movement {
        amount,
        servicer_ref: own("Refs/AcctSvcrRef").or_else(|| {
            base.servicer_ref.as_ref().map(|whole| {
                if single {
                    whole.clone()
                } else {
                    format!("{whole}#{}", position + 1)
                }
            })
        }),
        end_to_end_id: own("Refs/EndToEndId"),
        counterparty: name.map(str::to_owned),
        counterparty_iban: iban
            .map(|iban| iban.chars().filter(|sign| !sign.is_whitespace()).collect()),
        structured,
        text: texts.join(" "),
        return_reason: own("RtrInf/Rsn/Cd").or_else(|| own("RtrInf/Rsn/Prtry")),
        ..base.clone()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BATCH: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt><GrpHdr><MsgId>M</MsgId></GrpHdr>
<Stmt><Id>S-1</Id><ElctrncSeqNb>9</ElctrncSeqNb><Acct><Id><IBAN>FR76 9999 9000 0100 0000 0004 286</IBAN></Id><Ccy>EUR</Ccy></Acct>
<Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">100</Amt><CdtDbtInd>CRDT</CdtDbtInd></Bal>
<Bal><Tp><CdOrPrtry><Cd>CLBD</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">137.40</Amt><CdtDbtInd>CRDT</CdtDbtInd></Bal>
<Ntry><Amt Ccy="EUR">50.30</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts><BookgDt><DtTm>2025-09-01T13:15:00+02:00</DtTm></BookgDt><AcctSvcrRef>B1</AcctSvcrRef>
<BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>RCDT</Cd><SubFmlyCd>ESCT</SubFmlyCd></Fmly></Domn></BkTxCd><NtryDtls><Btch><NbOfTxs>2</NbOfTxs></Btch>
<TxDtls><Refs><EndToEndId>NOTPROVIDED</EndToEndId></Refs><Amt Ccy="EUR">20.3</Amt><RltdPties><Dbtr><Pty><Nm>Garage Fictif &amp; Fils</Nm></Pty></Dbtr><DbtrAcct><Id><IBAN>FR7699999000010000000100219</IBAN></Id></DbtrAcct></RltdPties><RmtInf><Ustrd>FA-1</Ustrd><Ustrd>et FA-2</Ustrd></RmtInf></TxDtls>
<TxDtls><Refs><AcctSvcrRef>T2</AcctSvcrRef><EndToEndId>E2E</EndToEndId></Refs><Amt Ccy="EUR">30</Amt><RmtInf><Strd><RfrdDocInf><Nb>FA-3</Nb></RfrdDocInf><CdtrRefInf><Ref>RF75FA3</Ref></CdtrRefInf></Strd></RmtInf></TxDtls></NtryDtls></Ntry>
<Ntry><Amt Ccy="EUR">7</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>PDNG</Sts><BookgDt><Dt>2025-09-02</Dt></BookgDt></Ntry>
<Ntry><Amt Ccy="EUR">12.90</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts>BOOK</Sts><BookgDt><Dt>2025-09-30</Dt></BookgDt><AddtlNtryInf>FRAIS</AddtlNtryInf></Ntry>
</Stmt></BkToCstmrStmt></Document>"#;

    fn dec(text: &str) -> Decimal {
        text.parse().expect("a decimal")
    }

    #[test]
    fn a_batch_is_told_apart_13_1() {
        let statements = read(BATCH.as_bytes()).expect("a statement");
        let statement = &statements[0];
        assert_eq!(statement.account, "FR7699999000010000000004286");
        assert_eq!(
            (statement.sequence, statement.opening),
            (Some(9), Some(dec("100")))
        );
        let amounts: Vec<Decimal> = statement.movements.iter().map(|m| m.amount).collect();
        assert_eq!(
            amounts,
            [dec("20.3"), dec("30"), dec("-12.90")],
            "pending entries do not count"
        );
        let first = &statement.movements[0];
        assert_eq!(first.counterparty.as_deref(), Some("Garage Fictif & Fils"));
        assert_eq!(
            (first.text.as_str(), &first.end_to_end_id),
            ("FA-1 et FA-2", &None)
        );
        assert_eq!(first.servicer_ref.as_deref(), Some("B1#1"));
        assert_eq!(first.entry_ref.as_deref(), Some("B1"));
        let second = &statement.movements[1];
        assert_eq!(second.structured, ["RF75FA3", "FA-3"]);
        assert_eq!(second.servicer_ref.as_deref(), Some("T2"));
        assert_eq!(second.booked_on.to_string(), "2025-09-01");
        assert_eq!(statement.movements[2].text, "FRAIS");
    }

    #[test]
    fn broken_files_are_refused_with_their_line() {
        let cases = [
            (BATCH[..BATCH.len() - 200].to_owned(), "breaks off"),
            (BATCH.replace("137.40", "137.41"), "do not give"),
            (
                BATCH.replace("BkToCstmrStmt", "CstmrCdtTrfInitn"),
                "camt.053",
            ),
            (BATCH.replace("50.30", "fifty"), "not an amount"),
            (BATCH.replace("2025-09-30", "2025-13-30"), "not a day"),
            (
                BATCH.replace(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>",
                    "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]>",
                ),
                "document type",
            ),
            (BATCH.replace("&amp;", "&boom;"), "entity"),
            ("<a>".repeat(100), "nested"),
            ("<html></html>".to_owned(), "ISO 20022"),
        ];
        for (text, why) in cases {
            let error = read(text.as_bytes()).expect_err(why);
            assert!(error.to_string().contains(why), "{error}");
            assert!(error.line > 0);
        }
    }

    proptest! {
        /// Whatever is cut out of a file or put into it, the reader answers.
        #[test]
        fn mutilated_files_never_panic(from in 0..2000_usize, length in 0..60_usize, put in prop::collection::vec(any::<u8>(), 0..20)) {
            let mut bytes = BATCH.as_bytes().to_vec();
            let from = from.min(bytes.len());
            let to = (from + length).min(bytes.len());
            bytes.splice(from..to, put);
            let _ = super::super::statement::read(&bytes);
        }
    }
}
