//! What comes from outside, bent and broken: nothing panics, nothing takes long, nothing is our fault.
//!
//! Each reader has a corpus in `tests/corpus`. Its files are mutated, by bytes and by the words of their format, the
//! same way every time; what breaks a reader is written into the corpus, where it stays and is tried first from then
//! on. The suite takes some rounds of it. `ENCOURS_FUZZ_SECONDS` goes on for so long per reader (`make fuzz`), from a
//! seed of its own, which it prints.

use std::io::BufReader;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use async_graphql::Variables;
use async_graphql::parser::parse_query;
use encours::domain::letter::{Kind, Language, Paragraph, Template, Values};
use encours::formats::{fec, statement};
use encours::http::guard::{Limits, lexical_scan, walk};

use crate::harness::{Company, codes};
use crate::hostile::Dice;

/// Largest input that is made.
const LARGEST: usize = 64 * 1024;
/// Longest time for one input: far more than any needs, whatever else the machine does.
const LONGEST: Duration = Duration::from_secs(5);
/// What breaks readers of any format.
const WORDS: &[&[u8]] = &[
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\r\n",
    b"\"",
    b"'",
    b"\\",
    b"{",
    b"}",
    b"{{",
    b"}}",
    b"[",
    b"<",
    b">",
    b"&",
    b";",
    b"|",
    b"\t",
    b"-1",
    b"0",
    b"99999999999999999999999999999",
    b"1e309",
    b"NaN",
    b"0.0000000000000000000000000001",
    b"-0",
    b"9999-12-31",
    b"0000-00-00",
    b"29/02/2026",
    b"00000000",
    b"\xe2\x80\xae",
    b"\xf0\x9f\xa6\x80",
    b"\xcc\x81",
    b"%s%n",
    b"../../etc/passwd",
    b"=1+1",
    b"\r\nBcc: x@y.example",
];

struct Corpus {
    kind: &'static str,
    words: &'static [&'static str],
    files: Vec<Vec<u8>>,
}

impl Corpus {
    fn of(kind: &'static str, words: &'static [&'static str]) -> Corpus {
        let mut paths: Vec<PathBuf> = sources(kind)
            .iter()
            .filter_map(|directory| std::fs::read_dir(directory).ok())
            .flatten()
            .map(|entry| entry.expect("a file").path())
            .filter(|path| kind != "graphql" || path.extension().is_some_and(|it| it == "graphql"))
            .collect();
        paths.sort_by_key(|path| path.file_name().map(std::ffi::OsStr::to_owned));
        let files: Vec<Vec<u8>> = paths
            .iter()
            .map(|path| std::fs::read(path).expect("a file"))
            .collect();
        assert!(!files.is_empty(), "{kind} has no corpus");
        Corpus { kind, words, files }
    }

    /// Tries the files as they are, then mutations of them.
    #[track_caller]
    fn try_with(&self, mut read: impl FnMut(&[u8])) {
        for file in &self.files {
            self.tried(file, &mut read);
        }
        let rounds = std::env::var("ENCOURS_FUZZ_SECONDS")
            .ok()
            .and_then(|text| text.parse().ok());
        let seed = match rounds {
            Some(_) => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(1, |now| now.as_nanos() as u64 | 1),
            None => 0x9e37_79b9_7f4a_7c15,
        };
        let (mut dice, began, mut count) = (Dice(seed), Instant::now(), 0u64);
        let goes_on = |count: u64| match rounds {
            Some(seconds) => began.elapsed() < Duration::from_secs(seconds),
            None => count < 1500,
        };
        while goes_on(count) {
            self.tried(&self.mutated(&mut dice), &mut read);
            count += 1;
        }
        println!(
            "{}: {count} inputs from seed {seed}, nothing broke",
            self.kind
        );
    }

    #[track_caller]
    fn tried(&self, input: &[u8], read: &mut impl FnMut(&[u8])) {
        let since = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| read(input)));
        let took = since.elapsed();
        if outcome.is_err() || took > LONGEST {
            use sha2::Digest;
            let name: String = sha2::Sha256::digest(input)
                .iter()
                .take(6)
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let path = directory(self.kind).join(format!("found-{name}"));
            std::fs::create_dir_all(directory(self.kind)).expect("a corpus");
            std::fs::write(&path, input).expect("kept");
            panic!("{} breaks on {} after {took:?}", self.kind, path.display());
        }
    }

    fn mutated(&self, dice: &mut Dice) -> Vec<u8> {
        let mut input = dice.pick(&self.files).clone();
        for _ in 0..=dice.roll(6) {
            self.mutate(&mut input, dice);
        }
        input.truncate(LARGEST);
        input
    }

    fn mutate(&self, input: &mut Vec<u8>, dice: &mut Dice) {
        let at = dice.roll(input.len() + 1);
        let end = (at + 1 + dice.roll(64)).min(input.len());
        match dice.roll(9) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << dice.roll(8);
                }
            }
            1 => drop(input.drain(at.min(end)..end)),
            2 => input.truncate(at),
            // Again and again: nesting, long names, long lines.
            3 => {
                let part = input[at.min(end)..end].to_vec();
                let times = *dice.pick(&[1, 2, 10, 1000]);
                let more = part.repeat(times.min(LARGEST / part.len().max(1)));
                input.splice(at..at, more);
            }
            4 => drop(input.splice(at..at, dice.pick(WORDS).iter().copied())),
            5 | 6 if !self.words.is_empty() => {
                let word = dice.pick(self.words).as_bytes();
                input.splice(
                    at.min(end)..end.min(at + word.len()).max(at.min(end)),
                    word.iter().copied(),
                );
            }
            // The beginning of one file and the end of another.
            7 => {
                let other = dice.pick(&self.files);
                let from = dice.roll(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            // A number becomes another one.
            _ => {
                if let Some(found) = input[at.min(end)..].iter().position(u8::is_ascii_digit) {
                    let start = at.min(end) + found;
                    let digits = input[start..]
                        .iter()
                        .take_while(|byte| byte.is_ascii_digit())
                        .count();
                    let number = *dice.pick(&[
                        "0",
                        "-1",
                        "1",
                        "2147483648",
                        "9223372036854775808",
                        "99999999999999999999999999999999",
                    ]);
                    input.splice(start..start + digits, number.bytes());
                }
            }
        }
    }
}

/// Where the files of a corpus are: what was found before, and for documents those that clients rely on.
fn sources(kind: &str) -> Vec<PathBuf> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = vec![directory(kind)];
    if kind == "graphql" {
        sources.extend(["examples/queries", "tests/contract"].map(|path| root.join(path)));
    }
    sources
}

fn directory(kind: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "corpus", kind]
        .iter()
        .collect()
}

/// The way of a document to its execution: measured, parsed, walked.
#[test]
fn fuzz_documents() {
    let words = &[
        "query",
        "mutation",
        "subscription",
        "fragment f on Query",
        "...f",
        "... on Client",
        "@include(if: true)",
        "@skip(if: $a)",
        "$a: Int! = 1",
        "{ a ",
        "}",
        "(first: 100)",
        "(ids: [",
        "\"\"\"",
        "\"\\u0000\"",
        "#",
        "__schema { types",
        "a: ",
        "nodes {",
        "null",
        "{a:",
        "input: {",
    ];
    let limits = Limits::default();
    Corpus::of("graphql", words).try_with(|input| {
        let Ok(text) = std::str::from_utf8(input) else {
            return;
        };
        // As in the endpoint: what the scan refuses is not parsed.
        if lexical_scan(text, &limits).is_ok()
            && let Ok(doc) = parse_query(text)
        {
            let _ = walk(&doc, None, &Variables::default(), &limits);
        }
    });
}

#[test]
fn fuzz_variables() {
    let words = &[
        "{\"a\":",
        "[",
        "]",
        "null",
        "true",
        "\"first\":",
        "1e999",
        "\\ud800",
        "\"input\":{",
    ];
    let (limits, corpus) = (Limits::default(), Corpus::of("variables", words));
    let doc = parse_query(
        "query($input: X, $first: Int) { clients(first: $first, x: $input) { nodes { name } } }",
    )
    .expect("a document");
    corpus.try_with(|input| {
        if let Ok(value) = serde_json::from_slice::<serde_json::Value>(input) {
            let _ = walk(&doc, None, &Variables::from_json(value), &limits);
        }
    });
}

#[test]
fn fuzz_statements() {
    let xml = &[
        "<Ntry>",
        "</Ntry>",
        "<Stmt>",
        "</Stmt>",
        "<TxDtls>",
        "<Amt Ccy=\"EUR\">",
        "<CdtDbtInd>DBIT</CdtDbtInd>",
        "<![CDATA[",
        "]]>",
        "<!--",
        "-->",
        "<?xml version=\"1.0\" encoding=\"UTF-16\"?>",
        "&#0;",
        "&#x110000;",
        "&amp;",
        "<!DOCTYPE a [<!ENTITY a \"b\">]>",
        "xmlns=\"",
        "<a>",
        "<BookgDt><Dt>",
    ];
    Corpus::of("camt", xml).try_with(|input| drop(statement::read(input)));
    let cfonb = &[
        "01",
        "04",
        "05",
        "07",
        "\r\n",
        "EUR2",
        "EUR9",
        "0000000012050{",
        "0000000012050}",
        "99999999999999",
        "NPY",
        "LCC",
        "310200",
        "      ",
    ];
    Corpus::of("cfonb", cfonb).try_with(|input| drop(statement::read(input)));
}

#[test]
fn fuzz_accounting_files() {
    let words = &[
        "|",
        "\t",
        "JournalCode",
        "EcritureNum",
        "20260230",
        "20261231",
        "1 234,56",
        "-0,00",
        "411000",
        "D",
        "C",
        "\r\n",
        "\n\n",
        "\"\"",
        "EUR",
    ];
    Corpus::of("fec", words).try_with(|input| {
        let Ok(mut reader) = fec::Reader::new(BufReader::new(input)) else {
            return;
        };
        // As long as there are lines; the first that is broken ends a file.
        while let Ok(Some(_)) = reader.next_line() {}
    });
}

/// A template that is accepted makes a letter; one that is not, is refused.
#[test]
fn fuzz_templates() {
    let words = &[
        "{{",
        "}}",
        "{{#",
        "{{/",
        "{{client}}",
        "{{items}}",
        "{{#iban}}",
        "{{/iban}}",
        "\n\n",
        "{{ }}",
        "{{#}}{{/}}",
        "{{{{",
        "}}}}",
    ];
    Corpus::of("templates", words).try_with(|input| {
        let text = String::from_utf8_lossy(input);
        let (subject, body) = text.split_once("\n\n").unwrap_or(("x", &text));
        let template = Template {
            subject: subject.to_owned(),
            body: body.to_owned(),
        };
        for kind in Kind::ALL {
            for language in Language::ALL {
                if template.check(*kind, *language).is_ok() {
                    let values: Values = kind
                        .values()
                        .into_iter()
                        .map(|name| (name, "{{x}}".to_owned()))
                        .collect();
                    let _ = template.subject(&values);
                    for paragraph in template.paragraphs(*kind, &values) {
                        if let Paragraph::Text(text) = paragraph {
                            assert!(!text.is_empty());
                        }
                    }
                }
            }
        }
    });
}

/// The same files through the server, into the books: whatever is in them, the books stay right.
#[test]
fn fuzz_imports_into_the_books() {
    let company = Company::new();
    let api = company.admin();
    api.done(
        "mutation($input: SaveBankAccountInput!) { saveBankAccount(input: $input) { userErrors { code message } } }",
        serde_json::json!({ "input": { "label": "Banque", "iban": "FR7699999000010000000004286" } }),
    );
    let rounds = if std::env::var_os("ENCOURS_FUZZ_SECONDS").is_some() {
        1500
    } else {
        12
    };
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    for (kind, path, media) in [
        ("receivables", "/import/receivables", "text/csv"),
        ("fec", "/import/fec", "application/octet-stream"),
        ("camt", "/import/bank", "application/octet-stream"),
        ("cfonb", "/import/bank", "application/octet-stream"),
    ] {
        let corpus = Corpus::of(
            kind,
            &[
                ",",
                ";",
                "\"",
                "\n",
                "C001",
                "2026-01-10",
                "120.00",
                "|",
                "EUR",
            ],
        );
        let mutated: Vec<Vec<u8>> = (0..rounds).map(|_| corpus.mutated(&mut dice)).collect();
        for input in corpus.files.iter().chain(&mutated) {
            let answer = api.sent_as(path, media, input);
            let broken = answer.status >= 500 || answer.text.contains("INTERNAL");
            if broken {
                let name = directory(kind).join("found-in-the-books");
                std::fs::write(&name, input).expect("kept");
            }
            assert!(!broken, "{kind}: {} {}", answer.status, answer.text);
        }
    }
    let listed = api.post(&serde_json::json!({ "query": "{ clients(first: 20) { nodes { number name } } invoices(first: 20) { nodes { number total } } }" }));
    assert!(codes(&listed.json()).is_empty(), "{}", listed.text);
    api.sound();
}
