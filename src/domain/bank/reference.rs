//! Document numbers as payers write them: in structured references, and in the middle of a text.

use std::collections::BTreeSet;

use super::Receipt;

/// Most words that make one number: `FA / 2026 / 000012` has three.
const LONGEST: usize = 6;
/// Significant digits of a number without letters, to be found in free text.
pub(super) const DIGITS: usize = 4;
/// The same for the end of a number, when the payer is known.
pub(super) const TAIL_DIGITS: usize = 2;
/// Numbers in a range such as FA12-15.
const RANGE: u64 = 50;
/// Words of a text that are looked at.
const WORDS: usize = 200;
/// What to look for among the open items: keys, and keys in runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lookups {
    pub keys: BTreeSet<String>,
    pub runs: BTreeSet<String>,
}

/// A number without blanks and signs, in upper case; the database has the same function.
pub fn reference_key(number: &str) -> String {
    number
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|sign| sign.to_ascii_uppercase())
        .collect()
}

/// A number in runs of letters and of digits, these without leading zeros; the database has the same function.
pub fn reference_runs(number: &str) -> String {
    let words: Vec<Word> = words(number);
    joined(&words)
}

/// A run of letters or of digits, and what stood before it.
#[derive(Clone, Debug)]
pub(super) struct Word {
    text: String,
    is_number: bool,
    before: String,
}

impl Word {
    /// Without leading zeros.
    fn short(&self) -> &str {
        if !self.is_number {
            return &self.text;
        }
        let short = self.text.trim_start_matches('0');
        if short.is_empty() { "0" } else { short }
    }

    fn value(&self) -> Option<u64> {
        self.text.parse().ok().filter(|_| self.is_number)
    }
}

fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut before = String::new();
    let mut glued = false;
    for sign in text.chars() {
        if !sign.is_ascii_alphanumeric() {
            before.push(sign);
            glued = false;
            continue;
        }
        let is_number = sign.is_ascii_digit();
        match words.last_mut() {
            Some(word) if glued && word.is_number == is_number => {
                word.text.push(sign.to_ascii_uppercase());
            }
            _ => words.push(Word {
                text: sign.to_ascii_uppercase().to_string(),
                is_number,
                before: std::mem::take(&mut before),
            }),
        }
        glued = true;
    }
    words
}

pub(super) fn joined(words: &[Word]) -> String {
    words.iter().map(Word::short).collect::<Vec<_>>().join("/")
}

/// A part of a text that may be a number.
pub(super) struct Span<'a> {
    pub(super) words: &'a [Word],
    /// What follows it in the text.
    after: &'a [Word],
}

impl Span<'_> {
    /// Whether it may be a whole number: it has a digit, and enough of them without a letter.
    pub(super) fn is_telling(&self, digits: usize) -> bool {
        let counted: usize = self
            .words
            .iter()
            .filter(|word| word.is_number)
            .map(|word| word.short().len())
            .sum();
        let lettered = self.words.iter().any(|word| !word.is_number);
        let amount = !lettered
            && self.after.first().is_some_and(|next| {
                next.is_number && next.text.len() == 2 && matches!(next.before.as_str(), "," | ".")
            });
        counted > 0 && !amount && (lettered || counted >= digits)
    }

    pub(super) fn key(&self) -> String {
        self.words.iter().map(|word| word.text.as_str()).collect()
    }

    /// FA12-15, FA 12 à 15: the runs of the numbers behind the first, when a range follows.
    pub(super) fn range(&self) -> Vec<String> {
        let (Some((last, head)), Some(next)) = (self.words.split_last(), self.after.first()) else {
            return Vec::new();
        };
        let to = match next.text.as_str() {
            "A" | "AU" => self.after.get(1),
            _ if matches!(next.before.trim(), "-" | "–" | "à" | ".." | "...") => Some(next),
            _ => None,
        };
        let (Some(from), Some(to)) = (last.value(), to.and_then(Word::value)) else {
            return Vec::new();
        };
        if to <= from || to - from > RANGE || head.is_empty() {
            return Vec::new();
        }
        let head = joined(head);
        (from + 1..=to)
            .map(|number| format!("{head}/{number}"))
            .collect()
    }
}

pub(super) fn spans(words: &[Word], from: usize) -> impl Iterator<Item = Span<'_>> {
    let longest = (words.len() - from).min(LONGEST);
    (1..=longest).rev().map(move |length| Span {
        words: &words[from..from + length],
        after: &words[from + length..],
    })
}

/// A creditor reference of ISO 11649 without its check, when the check is right.
fn creditor_reference(text: &str) -> Option<String> {
    let key = reference_key(text);
    let (head, body) = key.split_at_checked(4)?;
    if !head.starts_with("RF") || body.is_empty() {
        return None;
    }
    let rest = format!("{body}{head}").bytes().fold(0_u32, |rest, sign| {
        let value = match sign {
            b'0'..=b'9' => u32::from(sign - b'0'),
            _ => u32::from(sign - b'A') + 10,
        };
        (if value > 9 { rest * 100 } else { rest * 10 } + value) % 97
    });
    (rest == 1).then(|| body.to_owned())
}

impl Receipt<'_> {
    pub(super) fn words(&self) -> Vec<Word> {
        let mut found = words(self.text);
        found.truncate(WORDS);
        found
    }

    /// Every number that the structured references name.
    pub(super) fn references(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for text in &self.structured {
            let plain = creditor_reference(text).unwrap_or_else(|| (*text).to_owned());
            found.push((reference_key(&plain), reference_runs(&plain)));
            found.push((reference_key(text), reference_runs(text)));
        }
        found.retain(|(key, _)| !key.is_empty());
        found
    }

    /// What to look for among the open items of all clients.
    pub fn lookups(&self) -> Lookups {
        let mut lookups = Lookups::default();
        for (key, runs) in self.references() {
            lookups.keys.insert(key);
            lookups.runs.insert(runs);
        }
        let words = self.words();
        for from in 0..words.len() {
            for span in spans(&words, from).filter(|span| span.is_telling(DIGITS)) {
                lookups.keys.insert(span.key());
                lookups.runs.insert(joined(span.words));
                lookups.runs.extend(span.range());
            }
        }
        lookups
    }
}
