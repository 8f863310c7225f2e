//! Files of other software taken into the books.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use rust_decimal::Decimal;
use serde::Serialize;
use sha2::Digest;

use super::{DUE_MARK, REST_MARK};
use crate::domain::access::Caller;
use crate::domain::hex::hex;
use crate::domain::ids::{ClientId, EntryId, Id, ItemId};
use crate::domain::money::{Currency, Minor};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::domain::terms::TermsLaw;
use crate::error::{Error, Result};
use crate::formats::fec::{Line, ReadError, Reader};
use crate::service::books::{self, Books, CARRY_FORWARD, NewItem, NewLine, Posting};
use crate::service::matching::{self, Pair};
use crate::service::{client, files, invoice, law};
use crate::store::client::Client;
use crate::store::{self};

/// Entries that are taken in at once.
const CHUNK: usize = 500;
/// What the table of imports calls this one.
const KIND: &str = "fec";

/// What an import did, with the file's own totals beside those of the books.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether the same file was imported before: then nothing was done.
    pub imported_before: bool,
    pub lines: u64,
    pub entries: u64,
    /// Totals of the file.
    pub debit: Decimal,
    pub credit: Decimal,
    /// What the import posted: equal to the file's.
    pub posted_debit: Decimal,
    pub posted_credit: Decimal,
    /// Balance of 411, 413, 416 and 4191 in the file, opening entries that repeat a year before left out ...
    pub receivables_in_file: Decimal,
    /// ... and of the items that were made of them.
    pub receivables_in_items: Decimal,
    pub clients_created: u64,
    pub items: u64,
    pub allocations: u64,
    /// Groups of letters that the file leaves open: their other lines stand in another year's file.
    pub open_letters: u64,
    /// Opening entries that repeat a year that is here already: kept in the journal, without items.
    pub carried_entries: u64,
}

/// Why a file was not imported: nothing of it was written.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file.
    #[error("{0}")]
    File(#[from] ReadError),
    /// The medium.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The books.
    #[error("{0}")]
    Books(#[from] Error),
}

impl From<diesel::result::Error> for ImportError {
    fn from(error: diesel::result::Error) -> Self {
        ImportError::Books(error.into())
    }
}

impl From<ImportError> for Error {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Books(error) => error,
            ImportError::Io(error) => Error::Internal(format!("the file cannot be read: {error}")),
            ImportError::File(error) => files::invalid(error.line, error.field, error.to_string()),
        }
    }
}

/// Takes a FEC into the books: every entry is posted, clients are created, receivable lines become items,
/// letters become matchings. The whole file in the caller's transaction, or nothing.
pub fn import(conn: &mut PgConnection, caller: &Caller, path: &Path) -> Result<Report> {
    Ok(take_in(conn, caller, path)?)
}

fn take_in(
    conn: &mut PgConnection,
    caller: &Caller,
    path: &Path,
) -> std::result::Result<Report, ImportError> {
    let books = books::open(conn, caller)?;
    let entries = checked(&books, path)?;
    let hash = hex(&files::digest(path)?.finalize());
    if !store::imports::claim(conn, caller.company, &hash, KIND, &caller.author)? {
        return Ok(Report {
            imported_before: true,
            ..Report::default()
        });
    }
    refuse_known(conn, caller, &books, &entries)?;
    let known_years: BTreeSet<i32> = store::company::years_with_entries(conn, caller.company)?
        .into_iter()
        .collect();
    let mut taken = Intake {
        books: &books,
        clients: HashMap::new(),
        journals: store::chart::journals(conn, caller.company)?
            .into_iter()
            .map(|(code, _)| code)
            .collect(),
        letters: BTreeMap::new(),
        law: law::terms(conn)?,
        known_years,
        report: Report::default(),
    };
    let mut next = 1;
    for (at, chunk) in entries.chunks(CHUNK).enumerate() {
        taken.post(conn, caller, chunk)?;
        // As the company doubles, the planner is told.
        if at + 1 == next {
            next *= 2;
            let rows = i64::try_from((at + 1) * chunk.len()).unwrap_or(i64::MAX);
            store::imports::refresh_statistics(conn, caller.company, rows, store::imports::SEEN)?;
        }
    }
    taken.letter(conn, caller)?;
    let report = taken.report;
    if report.posted_debit != report.debit || report.posted_credit != report.credit {
        return Err(Error::Internal(format!("an import went wrong: {report:?}")).into());
    }
    store::imports::finish(
        conn,
        caller.company,
        &hash,
        KIND,
        i64::try_from(report.lines).unwrap_or(i64::MAX),
    )?;
    Ok(report)
}

/// Refuses a file of which an entry is in the books already, by journal, day, document and total: the same year in another
/// file, saved anew or corrected, would double it, and so would what these books themselves have exported. The same file
/// is told apart before.
fn refuse_known(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    entries: &[Entry],
) -> std::result::Result<(), ImportError> {
    for chunk in entries.chunks(CHUNK) {
        let asked: Vec<store::fec::Asked> = chunk
            .iter()
            .map(|entry| {
                let first = &entry.lines[0].1;
                let total: Decimal = entry.lines.iter().map(|(_, line)| line.debit).sum();
                store::fec::Asked {
                    journal: journal_code(&first.journal),
                    posted_on: first.posted_on,
                    reference: or(&first.piece, &first.number, "-"),
                    total: books.currency.minor(total).unwrap_or_default(),
                }
            })
            .collect();
        if let Some((place, number)) = store::fec::known_entry(conn, caller.company, &asked)? {
            let (at, first) = chunk.get(place).map_or((1, None), |entry| {
                (entry.lines[0].0, Some(&entry.lines[0].1))
            });
            let name = first.map_or_else(String::new, |line| {
                format!(
                    "{} of journal {} on {}",
                    line.number, line.journal, line.posted_on
                )
            });
            let refusal = Refusal::new(
                RefusalCode::Duplicate,
                "file",
                format!(
                    "line {at}: entry {name} is in the books already, as number {number}; nothing was taken in"
                ),
            )
            .detail("line", at)
            .detail("field", "EcritureNum");
            return Err(Error::from(refusal).into());
        }
    }
    Ok(())
}

/// A journal's code as the books have it.
fn journal_code(given: &str) -> String {
    let code: String = given
        .to_uppercase()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(6)
        .collect();
    if code.is_empty() {
        "OD".to_owned()
    } else {
        code
    }
}

/// An entry of the file: its lines with their place.
struct Entry {
    lines: Vec<(u64, Line)>,
}

/// Reads the whole file and checks that every entry balances, before anything is written.
///
/// Lines of one entry share journal, number and day; some software numbers by journal, some numbers the
/// opening 0, some leaves lines of one entry apart.
fn checked(books: &Books, path: &Path) -> std::result::Result<Vec<Entry>, ImportError> {
    let mut reader = Reader::new(BufReader::new(File::open(path)?))?;
    let mut order = Vec::new();
    let mut groups: HashMap<(String, String, NaiveDate), usize> = HashMap::new();
    while let Some((at, line)) = reader.next_line()? {
        for (field, amount) in [("Debit", line.debit), ("Credit", line.credit)] {
            if books.currency.minor(amount).is_none() {
                return Err(ReadError {
                    line: at,
                    field: Some(field),
                    message: format!(
                        "{amount} has more than the {} decimals of {}",
                        books.currency.exponent(),
                        books.currency
                    ),
                }
                .into());
            }
        }
        let key = (line.journal.clone(), line.number.clone(), line.posted_on);
        let place = *groups.entry(key).or_insert_with(|| {
            order.push(Entry { lines: Vec::new() });
            order.len() - 1
        });
        order[place].lines.push((at, line));
    }
    if order.is_empty() {
        return Err(ReadError {
            line: 2,
            field: None,
            message: "the file has no entry".into(),
        }
        .into());
    }
    for entry in &order {
        let balance: Decimal = entry
            .lines
            .iter()
            .map(|(_, line)| line.debit - line.credit)
            .sum();
        let (at, first) = &entry.lines[0];
        if !balance.is_zero() {
            return Err(ReadError {
                line: *at,
                field: Some("Debit"),
                message: format!(
                    "entry {} of journal {} on {} does not balance: {balance} too much on the debit side",
                    first.number, first.journal, first.posted_on
                ),
            }
            .into());
        }
        if entry.lines.len() > 30_000 {
            return Err(ReadError {
                line: *at,
                field: Some("EcritureNum"),
                message: "an entry of more than 30000 lines is not taken".into(),
            }
            .into());
        }
    }
    Ok(order)
}

/// Letters of one account that wait for the end of the file.
#[derive(Default)]
struct Group {
    debits: Vec<(NaiveDate, ItemId, Minor)>,
    credits: Vec<(NaiveDate, ItemId, Minor)>,
    on: Option<NaiveDate>,
    /// The first day of its lines.
    begins_on: Option<NaiveDate>,
}

struct Intake<'a> {
    books: &'a Books,
    clients: HashMap<String, Client>,
    journals: BTreeSet<String>,
    law: TermsLaw,
    /// By client, account family and letter.
    letters: BTreeMap<(ClientId, String, String), Group>,
    known_years: BTreeSet<i32>,
    report: Report,
}

impl Intake<'_> {
    fn post(
        &mut self,
        conn: &mut PgConnection,
        caller: &Caller,
        entries: &[Entry],
    ) -> std::result::Result<(), ImportError> {
        let mut postings = Vec::new();
        // For each item that a posting opens, in order: letters, day of lettering, what stays open.
        let mut lettered: Vec<(String, Option<NaiveDate>, Minor)> = Vec::new();
        for entry in entries {
            let first = &entry.lines[0].1;
            let at = entry.lines[0].0;
            let journal = self.journal(conn, caller, first)?;
            self.books
                .check_day("EcritureDate", first.posted_on)
                .map_err(|error| placed(at, "EcritureDate", error))?;
            let carried = self.repeats_a_known_year(first);
            self.report.entries += 1;
            self.report.carried_entries += u64::from(carried);
            let mut lines = Vec::new();
            for (at, line) in &entry.lines {
                self.report.lines += 1;
                self.report.debit += line.debit;
                self.report.credit += line.credit;
                if let Some(posted) = self.line(conn, caller, entry, *at, line, carried)? {
                    self.report.posted_debit += self.books.currency.decimal(posted.debit);
                    self.report.posted_credit += self.books.currency.decimal(posted.credit);
                    if posted.item.is_some() {
                        let (_, rest) = marked(&line.label);
                        let rest = rest.and_then(|rest| self.books.currency.minor(rest));
                        let rest = rest.unwrap_or_default();
                        lettered.push((line.letter.clone(), line.lettered_on, rest));
                    }
                    lines.push(posted);
                }
            }
            if lines.len() < 2 {
                continue;
            }
            postings.push(Posting {
                journal,
                posted_on: first.posted_on,
                occurred_on: first.piece_on,
                reference: or(&first.piece, &first.number, "-"),
                label: or(&first.label, &first.piece, "Reprise"),
                source_kind: if carried { CARRY_FORWARD } else { "IMPORT" },
                source_id: EntryId::new().uuid(),
                reversal_of: None,
                currency: self.books.currency,
                rate: Decimal::ONE,
                lines,
            });
        }
        let items = books::post(conn, caller, self.books, postings)
            .map_err(|error| placed(entries[0].lines[0].0, "CompteNum", error))?;
        for (item, (letter, on, rest)) in items.iter().zip(lettered) {
            self.report.items += 1;
            self.report.receivables_in_items += self.books.currency.decimal(item.signed_open());
            if letter.is_empty() {
                continue;
            }
            let key = (item.client_id, item.family.clone(), letter.to_uppercase());
            let group = self.letters.entry(key).or_default();
            group.on = group.on.max(on);
            let begins_on = group.begins_on.unwrap_or(item.posted_on);
            group.begins_on = Some(begins_on.min(item.posted_on));
            let side = if item.is_debit {
                &mut group.debits
            } else {
                &mut group.credits
            };
            let free = (item.amount - rest).max(0);
            side.push((item.due_on.unwrap_or(item.posted_on), item.id, free));
        }
        Ok(())
    }

    /// An opening entry of a year whose predecessor is here already repeats what is known.
    fn repeats_a_known_year(&self, line: &Line) -> bool {
        let year = self.books.year(line.posted_on);
        let opening = ["AN", "RAN", "OUV", "ANO"].contains(&line.journal.to_uppercase().as_str());
        opening && line.posted_on == year.starts_on && self.known_years.contains(&(year.name - 1))
    }

    fn journal(&mut self, conn: &mut PgConnection, caller: &Caller, line: &Line) -> Result<String> {
        let code = journal_code(&line.journal);
        if self.journals.insert(code.clone()) {
            let label = or(&line.journal_label, &code, "-");
            store::chart::save_journal(conn, caller.company, &code, &label)?;
        }
        Ok(code)
    }

    /// A line to post; none when it moves nothing.
    fn line(
        &mut self,
        conn: &mut PgConnection,
        caller: &Caller,
        entry: &Entry,
        at: u64,
        line: &Line,
        carried: bool,
    ) -> std::result::Result<Option<NewLine>, ImportError> {
        let currency = self.books.currency;
        let minor = |amount: Decimal| currency.minor(amount).unwrap_or_default();
        let (debit, credit) = (minor(line.debit), minor(line.credit));
        if debit == 0 && credit == 0 {
            return Ok(None);
        }
        let digits: String = line
            .account
            .chars()
            .take_while(char::is_ascii_digit)
            .take(11)
            .collect();
        if digits.len() < 3 {
            return Err(ReadError {
                line: at,
                field: Some("CompteNum"),
                message: format!("`{}` does not begin with three digits", line.account),
            }
            .into());
        }
        let posted = NewLine {
            debit,
            credit,
            ..NewLine::debit(&digits, 0)
        };
        let receivable = ["411", "413", "416", "4191"]
            .iter()
            .any(|family| digits.starts_with(family));
        if !receivable {
            return Ok(Some(posted));
        }
        if carried {
            let client = self.client(conn, caller, line)?;
            return Ok(Some(posted.of(client.id)));
        }
        self.report.receivables_in_file += line.debit - line.credit;
        let client = self.client(conn, caller, line)?;
        let due_on = (debit > 0)
            .then(|| due_of(line, &client, &self.law))
            .transpose()?;
        let (net, total) = ratio(entry, currency, debit.max(credit));
        Ok(Some(posted.open(
            client.id,
            NewItem {
                kind: "IMPORTED",
                source_id: EntryId::new().uuid(),
                reference: or(&line.piece, &line.number, "-"),
                invoice_id: None,
                invoiced_on: line.piece_on,
                due_on,
                document_net: net,
                document_total: total,
            },
        )))
    }

    /// The client of a line: by its auxiliary account, else by what follows 411, else one for all.
    fn client(&mut self, conn: &mut PgConnection, caller: &Caller, line: &Line) -> Result<Client> {
        let own = line
            .account
            .get(3..)
            .unwrap_or_default()
            .trim_start_matches('0');
        let number = if !line.auxiliary.is_empty() {
            line.auxiliary.clone()
        } else if !own.is_empty() {
            line.account.clone()
        } else {
            "DIVERS".to_owned()
        };
        let number: String = number.chars().take(40).collect();
        if let Some(known) = self.clients.get(&number) {
            return Ok(known.clone());
        }
        let client = match store::client::by_number(conn, caller.company, &number)? {
            Some(known) => known,
            None => {
                let name = if !line.auxiliary_label.is_empty() {
                    line.auxiliary_label.clone()
                } else if line.auxiliary.is_empty() && own.is_empty() {
                    "Clients divers".to_owned()
                } else {
                    or(&line.account_label, &number, "-")
                };
                let client = Client {
                    number: books::text("CompAuxNum", &number, 40)?,
                    name: books::text("CompAuxLib", &name, 200)?,
                    ..client::blank(caller, self.books)
                };
                store::client::insert(conn, std::slice::from_ref(&client))?;
                self.report.clients_created += 1;
                client
            }
        };
        self.clients.insert(number, client.clone());
        Ok(client)
    }

    /// Matches the lines that share a letter, oldest first.
    fn letter(&mut self, conn: &mut PgConnection, caller: &Caller) -> Result<()> {
        for group in std::mem::take(&mut self.letters).into_values() {
            let Group {
                mut debits,
                mut credits,
                on,
                begins_on,
            } = group;
            debits.sort_unstable();
            credits.sort_unstable();
            let (mut pairs, mut left): (Vec<Pair>, Minor) = (Vec::new(), 0);
            let mut credits = credits.into_iter();
            let mut credit = credits.next();
            for (_, debit, amount) in &debits {
                let mut wanted = *amount;
                while wanted > 0
                    && let Some((_, id, free)) = &mut credit
                {
                    let part = wanted.min(*free);
                    pairs.push(Pair {
                        debit: *debit,
                        credit: *id,
                        amount: part,
                        line: 0,
                    });
                    wanted -= part;
                    *free -= part;
                    if *free == 0 {
                        credit = credits.next();
                    }
                }
                left += wanted;
            }
            left += credit.map_or(0, |(_, _, free)| free);
            left += credits.map(|(_, _, free)| free).sum::<Minor>();
            self.report.open_letters += u64::from(left > 0);
            if pairs.is_empty() {
                continue;
            }
            // Without a day in the file each pair takes effect as soon as both its lines are posted (R3.6).
            let on = on.or(begins_on).unwrap_or(caller.today);
            self.report.allocations += pairs.len() as u64;
            matching::match_pairs(conn, caller, self.books, &pairs, on, "IMPORT")?;
        }
        Ok(())
    }
}

/// The first text that says something.
fn or(first: &str, second: &str, last: &str) -> String {
    [first, second, last]
        .into_iter()
        .find(|text| !text.trim().is_empty())
        .unwrap_or("-")
        .chars()
        .filter(|sign| !sign.is_control())
        .take(200)
        .collect()
}

/// The due date and the open part that our own files carry in a label.
fn marked(label: &str) -> (Option<NaiveDate>, Option<Decimal>) {
    let (label, rest) = match label.rsplit_once(REST_MARK) {
        Some((label, rest)) => (label, rest.trim().replace(',', ".").parse().ok()),
        None => (label, None),
    };
    let due = label
        .rsplit_once(DUE_MARK)
        .and_then(|(_, day)| NaiveDate::parse_from_str(day.trim(), "%d/%m/%Y").ok());
    (due, rest)
}

/// The due date that our own files carry in the label, else by the client's terms.
fn due_of(line: &Line, client: &Client, law: &TermsLaw) -> Result<NaiveDate> {
    if let Some(due) = marked(&line.label).0 {
        return Ok(due);
    }
    let ceilings = law
        .on(line.piece_on)
        .map_err(|error| law::not_covered("PieceDate", &error))?;
    Ok(invoice::terms_of(client)?.due_on(line.piece_on, None, &ceilings))
}

/// HT and TTC of the entry behind a receivable line, for the base of a provision (R5.2).
fn ratio(entry: &Entry, currency: Currency, amount: Minor) -> (Minor, Minor) {
    let sum = |class: char| -> Minor {
        entry
            .lines
            .iter()
            .filter(|(_, line)| line.account.starts_with(class))
            .map(|(_, line)| currency.minor(line.debit - line.credit).unwrap_or_default())
            .sum::<Minor>()
            .abs()
    };
    let tax: Minor = entry
        .lines
        .iter()
        .filter(|(_, line)| line.account.starts_with("445"))
        .map(|(_, line)| currency.minor(line.debit - line.credit).unwrap_or_default())
        .sum::<Minor>()
        .abs();
    let net = sum('7');
    if net > 0 {
        (net, net + tax)
    } else {
        (amount, amount)
    }
}

/// A refusal of the books, with its place in the file.
fn placed(line: u64, field: &'static str, error: Error) -> ImportError {
    match error {
        Error::Refused(reasons) => ReadError {
            line,
            field: Some(field),
            message: reasons
                .into_iter()
                .map(|reason| reason.message)
                .collect::<Vec<_>>()
                .join("; "),
        }
        .into(),
        other => other.into(),
    }
}
