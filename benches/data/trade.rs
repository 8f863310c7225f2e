//! Four years of a company's trade, day by day, written as the two files that are imported.
//!
//! What is written of a day depends on the days before it alone, and only what is still to come is held:
//! the memory does not grow with the number of documents.

use std::collections::BTreeMap;
use std::io::Write;

use chrono::{Datelike, Duration, NaiveDate, Weekday};
use rust_decimal::Decimal;

use crate::clients::Payer;
use crate::rng::Rng;

/// Part of the invoices that are never paid.
const NEVER: f64 = 0.026;
/// Part of those open at the end that is in dispute: 1.5 % of all.
const DISPUTED: f64 = 0.23;

/// What the services are asked to do once the files are in.
#[derive(Clone, Debug)]
pub struct Quarrel {
    pub invoice: String,
    /// What the client kept back; all that is open when none.
    pub amount: Option<Decimal>,
    pub on: NaiveDate,
}

/// What was written, and what follows.
#[derive(Default, Debug)]
pub struct Told {
    pub invoices: u64,
    pub credit_notes: u64,
    pub receipts: u64,
    pub deductions: Vec<Quarrel>,
    pub disputes: Vec<Quarrel>,
}

/// A part of an invoice that is paid on some day.
struct Part {
    invoice: String,
    cents: i64,
    /// Kept back from the last part, and why the rest stays open.
    deducted: i64,
}

struct CreditNote {
    client: usize,
    of: Option<String>,
    cents: i64,
    rate: &'static str,
}

/// A company at work.
pub struct Trade<'a, W: Write> {
    pub payers: &'a [Payer],
    pub rng: Rng,
    pub until: NaiveDate,
    pub receivables: csv::Writer<W>,
    pub receipts: csv::Writer<W>,
    pub told: Told,
    payments: BTreeMap<NaiveDate, BTreeMap<usize, Vec<Part>>>,
    credits: BTreeMap<NaiveDate, Vec<CreditNote>>,
}

impl<'a, W: Write> Trade<'a, W> {
    /// A company that writes its invoices to one file and its receipts to another.
    pub fn new(
        payers: &'a [Payer],
        rng: Rng,
        until: NaiveDate,
        receivables: W,
        receipts: W,
    ) -> Self {
        Trade {
            payers,
            rng,
            until,
            receivables: csv::Writer::from_writer(receivables),
            receipts: csv::Writer::from_writer(receipts),
            told: Told::default(),
            payments: BTreeMap::new(),
            credits: BTreeMap::new(),
        }
    }

    /// Trades from a day on, until `invoices` are written.
    pub fn run(mut self, from: NaiveDate, invoices: u64) -> Result<Told, csv::Error> {
        self.receivables.write_record([
            "client", "number", "issuedOn", "dueOn", "amount", "vatRate", "creditOf",
        ])?;
        self.receipts.write_record([
            "number",
            "client",
            "receivedOn",
            "amount",
            "method",
            "invoice",
            "allocated",
            "matchedOn",
        ])?;
        let days: Vec<NaiveDate> = from
            .iter_days()
            .take_while(|day| *day <= self.until)
            .collect();
        let open = |day: &NaiveDate| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
        let working = days.iter().filter(|day| open(day)).count() as u64;
        let mut worked = 0;
        for day in days {
            if open(&day) {
                worked += 1;
                // As many as keep the pace, to the last one.
                while self.told.invoices < invoices * worked / working {
                    self.invoice(day)?;
                }
            }
            for note in self.credits.remove(&day).unwrap_or_default() {
                self.credit_note(day, &note)?;
            }
            for (client, parts) in self.payments.remove(&day).unwrap_or_default() {
                self.receipt(day, client, parts)?;
            }
        }
        self.receivables.flush()?;
        self.receipts.flush()?;
        Ok(self.told)
    }

    fn invoice(&mut self, day: NaiveDate) -> Result<(), csv::Error> {
        self.told.invoices += 1;
        let number = format!("F{:08}", self.told.invoices);
        let client = self.rng.rank(self.payers.len());
        let payer = &self.payers[client];
        let rate = *self
            .rng
            .weighted(&[(85.0, "20"), (8.0, "10"), (4.0, "5.5"), (3.0, "")]);
        let cents = (self.rng.log_normal(90_000.0, 1.1) as i64).clamp(500, 50_000_000);
        let due = day + Duration::days(payer.terms);
        self.receivables.write_record([
            payer.number.as_str(),
            &number,
            &day.to_string(),
            &due.to_string(),
            &euros(cents),
            rate,
            "",
        ])?;
        let credited = self.credited(day, client, &number, cents, rate);
        let rest = cents - credited;
        if rest > 0 {
            self.payment(day, due, client, number, rest);
        }
        Ok(())
    }

    /// 3 % of the documents are credit notes: most on an invoice, some on all of it.
    fn credited(
        &mut self,
        day: NaiveDate,
        client: usize,
        number: &str,
        cents: i64,
        rate: &'static str,
    ) -> i64 {
        if !self.rng.chance(0.031) {
            return 0;
        }
        let on = day + Duration::days(self.rng.between(3, 40));
        if on > self.until {
            return 0;
        }
        let free = self.rng.chance(0.1);
        let part = if self.rng.chance(0.3) {
            cents
        } else {
            (cents * self.rng.between(10, 40) / 100).max(1)
        };
        self.credits.entry(on).or_default().push(CreditNote {
            client,
            of: (!free).then(|| number.to_owned()),
            cents: part,
            rate,
        });
        if free { 0 } else { part }
    }

    fn credit_note(&mut self, day: NaiveDate, note: &CreditNote) -> Result<(), csv::Error> {
        self.told.credit_notes += 1;
        self.receivables.write_record([
            self.payers[note.client].number.as_str(),
            &format!("A{:08}", self.told.credit_notes),
            &day.to_string(),
            "",
            &format!("-{}", euros(note.cents)),
            // On an invoice, its own rates.
            if note.of.is_some() { "" } else { note.rate },
            note.of.as_deref().unwrap_or_default(),
        ])
    }

    /// When an invoice is paid, if ever: 55 % when due, the others with a long tail, 8 % in several parts.
    fn payment(
        &mut self,
        day: NaiveDate,
        due: NaiveDate,
        client: usize,
        number: String,
        cents: i64,
    ) {
        let payer = &self.payers[client];
        let (punctual, weekday) = (payer.punctual, payer.weekday);
        let on_time = self.rng.chance(punctual);
        let first = if on_time {
            before(due, weekday).max(after(day, weekday))
        } else {
            let tail = if self.rng.chance(0.08) { 120.0 } else { 0.0 };
            let late = 1.0 + self.rng.exponential(18.0) + self.rng.exponential(tail);
            after(due + Duration::days(late as i64), weekday)
        };
        let never = !on_time && self.rng.chance(NEVER / 0.4);
        let insolvent = payer.insolvent_on.is_some_and(|on| first >= on);
        if never || insolvent || first > self.until {
            if self.rng.chance(DISPUTED) && cents > 100 {
                let on = (day + Duration::days(self.rng.between(5, 60))).min(self.until);
                self.told.disputes.push(Quarrel {
                    invoice: number,
                    amount: None,
                    on,
                });
            }
            return;
        }
        let share = if self.rng.chance(0.02) {
            cents * self.rng.between(2, 15) / 100
        } else {
            0
        };
        // A euro or less is not worth a dispute (R2.12).
        let deducted = if share > 100 { share } else { 0 };
        let mut left = cents - deducted;
        let mut on = first;
        let parts = if self.rng.chance(0.08) {
            self.rng.between(2, 3)
        } else {
            1
        };
        for rest in (1..=parts).rev() {
            let part = if rest == 1 {
                left
            } else {
                left * self.rng.between(30, 60) / 100
            };
            if part == 0 {
                continue;
            }
            left -= part;
            self.payments
                .entry(on)
                .or_default()
                .entry(client)
                .or_default()
                .push(Part {
                    invoice: number.clone(),
                    cents: part,
                    deducted: if rest == 1 { deducted } else { 0 },
                });
            on += Duration::days(7 * self.rng.between(1, 4));
        }
    }

    /// One receipt for what a client pays in a week; 10 % of the matchings come days later.
    fn receipt(
        &mut self,
        day: NaiveDate,
        client: usize,
        parts: Vec<Part>,
    ) -> Result<(), csv::Error> {
        self.told.receipts += 1;
        let number = format!("R{:08}", self.told.receipts);
        let method = *self.rng.weighted(&[
            (75.0, "TRANSFER"),
            (12.0, "DIRECT_DEBIT"),
            (8.0, "CARD"),
            (5.0, "CHEQUE"),
        ]);
        let too_much = if self.rng.chance(0.005) {
            self.rng.between(100, 20_000)
        } else {
            0
        };
        let total: i64 = parts.iter().map(|part| part.cents).sum();
        for part in parts {
            let matched = if self.rng.chance(0.1) {
                (day + Duration::days(self.rng.between(1, 12))).min(self.until)
            } else {
                day
            };
            self.receipts.write_record([
                number.as_str(),
                &self.payers[client].number,
                &day.to_string(),
                &euros(total + too_much),
                method,
                &part.invoice,
                &euros(part.cents),
                &matched.to_string(),
            ])?;
            if part.deducted > 0 {
                self.told.deductions.push(Quarrel {
                    invoice: part.invoice,
                    amount: Some(Decimal::new(part.deducted, 2)),
                    on: matched,
                });
            }
        }
        Ok(())
    }
}

fn euros(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// The last such day of the week that is not after `day`.
fn before(day: NaiveDate, weekday: i64) -> NaiveDate {
    let back = (i64::from(day.weekday().num_days_from_monday()) - weekday).rem_euclid(7);
    day - Duration::days(back)
}

/// The first such day of the week that is not before `day`.
fn after(day: NaiveDate, weekday: i64) -> NaiveDate {
    let ahead = (weekday - i64::from(day.weekday().num_days_from_monday())).rem_euclid(7);
    day + Duration::days(ahead)
}
