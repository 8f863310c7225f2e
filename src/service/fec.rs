//! The FEC of a financial year: written from the journal and checked before it leaves (section 10). Files of other
//! software are taken into the books by [`intake`].

mod ahead;
mod intake;

use std::collections::BTreeMap;
use std::io::Write;

use diesel::pg::PgConnection;

pub use self::intake::{Report, import};
use super::audit;
use super::books::{self, Books};
use super::chart::{self as charts, Labels};
use super::year;
use crate::domain::access::Caller;
use crate::domain::lettering;
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::domain::vat;
use crate::error::{Error, Result};
use crate::formats::fec::{self, Encoding, Line, Separator, WriteError, Writer, Written};
use crate::store::fec::{Letters, Line as Row};
use crate::store::{self, Db};

/// What stands before the due date in a label: the file has no column for it.
const DUE_MARK: &str = " éch. ";
/// What stands before the open part of a line that is lettered in part: letters alone do not tell it.
const REST_MARK: &str = " reste ";

/// How a file is to be written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    pub separator: Separator,
    pub encoding: Encoding,
    /// Lower-case letters stand in the file too; R10.7 leaves them out.
    pub partial_letters: bool,
}

/// A file that was written.
#[derive(Clone, Debug)]
pub struct Exported {
    /// `SirenFECAAAAMMJJ.txt`.
    pub name: String,
    pub written: Written,
}

/// Writes down that the file of a year left.
pub fn note_exported(
    conn: &mut PgConnection,
    caller: &Caller,
    year: i32,
    exported: &Exported,
    bytes: u64,
) -> Result<()> {
    let details = serde_json::json!({
        "year": year, "name": exported.name, "lines": exported.written.lines, "bytes": bytes,
    });
    audit::exported(conn, caller, "FEC", &year.to_string(), None, &details)
}

/// Writes the FEC of a year. Nothing of it may leave when this refuses: the file broke a rule (R10.6).
///
/// A long year is read over two connections when `beside` has one to spare, on the snapshot of `conn`. Memory is that of
/// four stretches of lines, however long the year.
pub fn export(
    conn: &mut PgConnection,
    caller: &Caller,
    beside: Option<&Db>,
    name: i32,
    options: Options,
    out: impl Write + Send,
) -> Result<Exported> {
    let books = books::open(conn, caller)?;
    let year = year::named(&books, name)?;
    let siren = books.company.siren.clone().ok_or_else(|| {
        Refusal::invalid(
            "company.siren",
            "the file is named by the company's SIREN (R10.3): set it with updateCompany",
        )
    })?;
    let writer = Writer::new(
        out,
        options.separator,
        options.encoding,
        books.currency.exponent(),
    );
    let mut file = Filling {
        writer: writer.map_err(broken)?,
        books: &books,
        labels: charts::labels(conn, caller, &books, year.ends_on)?,
        journals: store::chart::journals(conn, caller.company)?
            .into_iter()
            .map(|(code, label)| (code, Journal { label, entries: 0 }))
            .collect(),
        entry: 0,
    };
    // Opening entries come first (R10.4).
    let asked = (year.name, options.partial_letters);
    ahead::each_stretch(conn, caller, beside, asked, |read| {
        let letters = &read.letters;
        read.lines.into_iter().try_for_each(|row| {
            let lettered = row.matching.and_then(|group| letters.get(&group));
            file.add(row, lettered)
        })
    })?;
    Ok(Exported {
        name: fec::file_name(&siren, year.ends_on),
        written: file.writer.finish().map_err(broken)?,
    })
}

fn broken(error: WriteError) -> Error {
    match error {
        WriteError::Io(error) => Error::of_file("the FEC cannot be written", &error),
        WriteError::Rule(rule) => Refusal::new(
            RefusalCode::FileInvalid,
            "year",
            format!("the file would break a rule: {rule}"),
        )
        .into(),
    }
}

/// A file on its way.
struct Filling<'a, W: Write> {
    writer: Writer<W>,
    books: &'a Books,
    labels: Labels,
    journals: BTreeMap<String, Journal>,
    /// The number of the last line's entry in the books.
    entry: i64,
}

/// A journal, and how many of its entries the file has.
struct Journal {
    label: String,
    entries: u64,
}

impl<W: Write> Filling<'_, W> {
    fn add(&mut self, row: Row, lettered: Option<&Letters>) -> Result<()> {
        let Some(journal) = self.journals.get_mut(&row.journal) else {
            let fault = format!("the journal of entry {} is not known", row.number);
            return Err(Error::Internal(fault));
        };
        if row.number != self.entry {
            self.entry = row.number;
            journal.entries += 1;
        }
        let rank = journal.entries;
        let base = self.books.currency;
        let foreign = row.currency != base.code();
        let currency_amount = match foreign {
            true => Some(books::currency(&row.currency)?.decimal(row.debit - row.credit)),
            false => None,
        };
        // Auxiliary accounts are those of clients; 491 names a client without being one.
        let auxiliary = row.account.starts_with("41");
        let of_client = |text: Option<String>| text.filter(|_| auxiliary).unwrap_or_default();
        let line = Line {
            label: label_of(self.books, &row, lettered.is_some())?,
            number: format!("{}-{rank:06}", row.journal),
            journal: row.journal,
            journal_label: journal.label.clone(),
            posted_on: row.posted_on,
            account_label: self.labels.of(&row.account),
            account: row.account,
            auxiliary: of_client(row.client_number),
            auxiliary_label: of_client(row.client_name),
            piece: row.reference,
            piece_on: row.occurred_on,
            debit: base.decimal(row.base_debit),
            credit: base.decimal(row.base_credit),
            letter: lettered
                .map(|letters| lettering::shown(&letters.code, letters.complete))
                .unwrap_or_default(),
            // A group's day is that of its last matching: never before a line of it (R3.6).
            lettered_on: lettered.map(|letters| letters.lettered_on.max(row.posted_on)),
            validated_on: Some(row.validated_on),
            currency_amount,
            currency: if foreign { row.currency } else { String::new() },
        };
        self.writer.line(&line, rank).map_err(broken)
    }
}

/// The label of a line, with what the file has no column for.
fn label_of(books: &Books, row: &Row, is_lettered: bool) -> Result<String> {
    let mut label = row.label.clone();
    if let Some(due) = row.due_on
        && row.debit > 0
    {
        label += &format!("{DUE_MARK}{}", due.format("%d/%m/%Y"));
    }
    if let Some(open) = row.open
        && open > 0
        && is_lettered
    {
        let whole = row.base_debit + row.base_credit;
        let amount = row.debit + row.credit;
        let rest = vat::proportion(whole, i128::from(open), i128::from(amount))
            .ok_or_else(|| Error::Internal("an item is too large".into()))?;
        let rest = books.currency.decimal(rest).to_string().replace('.', ",");
        label += &format!("{REST_MARK}{rest}");
    }
    Ok(label)
}

/// The text that accompanies the file (R10.4).
pub fn description(books: &Books, name: i32, exported: &Exported, options: Options) -> String {
    let (separator, encoding) = (
        match options.separator {
            Separator::Tab => "tabulation",
            Separator::Pipe => "barre verticale |",
        },
        match options.encoding {
            Encoding::Utf8 => "UTF-8",
            Encoding::Latin9 => "ISO 8859-15",
        },
    );
    format!(
        "Fichier des écritures comptables (LPF art. A47 A-1)\r\n\
         Société : {}\r\nExercice : {name}\r\nFichier : {}\r\n\
         Lignes : {}, écritures : {}\r\nTotal débit : {}, total crédit : {}\r\n\
         Séparateur : {separator}. Jeu de caractères : {encoding}. Fin de ligne : CR LF.\r\n\
         EcritureNum : code journal et numéro continu dans le journal ; les à-nouveaux viennent en premier.\r\n\
         CompAuxNum : code client. EcritureLet : lettres par compte auxiliaire{}.\r\n\
         DateLet : date du lettrage. EcritureLib : libellé, suivi de l'échéance (« éch. JJ/MM/AAAA ») pour une créance.\r\n\
         Montantdevise et Idevise : montant signé et devise d'origine, vides en {}.\r\n",
        books.company.name,
        exported.name,
        exported.written.lines,
        exported.written.entries,
        exported.written.debit,
        exported.written.credit,
        if options.partial_letters {
            ", en minuscules quand le lettrage est partiel"
        } else {
            " (lettrages partiels exclus)"
        },
        books.currency,
    )
}
