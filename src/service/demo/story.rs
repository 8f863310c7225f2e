//! What happens in the demo, planned day by day before anything is written.
//!
//! The plan is the same for the same `today`. A step beyond `today` is left out.

use std::collections::BTreeMap;

use chrono::{Duration, Months, NaiveDate};

use super::names::{self, Article, CLIENTS, Habit};
use crate::domain::terms::{Ceilings, PaymentTerms};

/// Invoices of the story.
const INVOICES: usize = 340;
/// Keys of receipts that no invoice stands behind.
pub const FIRST_UNKNOWN: usize = 10_000;

/// Pseudo-random numbers that are the same each time (xorshift64).
pub struct Dice(u64);

impl Dice {
    /// Dice that begin at a seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed | 1)
    }

    /// A number from 0 to `below` - 1.
    pub fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % below.max(1)
    }

    /// A number from `from` to `to`.
    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        let width = usize::try_from(to - from + 1).unwrap_or(1);
        from + i64::try_from(self.roll(width)).unwrap_or_default()
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.roll(from.len())]
    }
}

/// A step of the story and its day.
pub struct Step {
    pub on: NaiveDate,
    pub act: Act,
}

/// A line: the article, how many, discount in percent.
pub type Sale = (&'static Article, i64, i64);

/// Something that happens. Invoices go by their position, clients by theirs in [`CLIENTS`].
pub enum Act {
    /// Issues an invoice, due by the client's terms or in parts after so many days.
    Invoice {
        invoice: usize,
        client: usize,
        sales: Vec<Sale>,
        parts: &'static [i64],
    },
    /// Saves a draft.
    Draft { client: usize, sales: Vec<Sale> },
    /// A receipt that pays shares, in percent, of what invoices have open.
    Pay {
        key: usize,
        client: usize,
        method: &'static str,
        pays: Vec<(usize, i64)>,
    },
    /// Money on account, in cents.
    OnAccount {
        client: usize,
        method: &'static str,
        cents: i64,
    },
    /// Money of somebody unknown.
    Unknown {
        key: usize,
        payer: &'static str,
        cents: i64,
    },
    /// The payer is known now.
    Identify { key: usize, client: usize },
    /// A cheque or direct debit comes back.
    Return { key: usize, reason: &'static str },
    /// Ends what a receipt was matched with.
    Unmatch { key: usize },
    /// Matches what the rules propose.
    AutoMatch { client: usize },
    /// Credits a share of an invoice; matched with it or left open.
    Credit {
        invoice: usize,
        percent: i64,
        matched: bool,
    },
    /// A rebate for a period, in cents before VAT.
    Rebate { client: usize, cents: i64 },
    /// The client deducts what is still open.
    Deduct {
        invoice: usize,
        reason: &'static str,
        note: &'static str,
    },
    /// A dispute of a share of what is open.
    Dispute {
        invoice: usize,
        reason: &'static str,
        percent: i64,
        note: &'static str,
    },
    /// The dispute, or the deduction's, takes a step: `UNDER_REVIEW` or `ESCALATED`.
    Move {
        invoice: usize,
        status: &'static str,
    },
    /// The dispute or deduction ends; by sales only the decision is taken.
    Resolve {
        invoice: usize,
        outcome: &'static str,
        by_sales: bool,
    },
    /// An individual estimate, in percent.
    Assess { client: usize, percent: i64 },
    /// A provision from before, in euros.
    Opening { client: usize, euros: i64 },
}

/// Something special about an invoice.
#[derive(Clone, Copy)]
enum Theme {
    /// A deduction and its outcome, if there is one yet.
    Deducted(Option<&'static str>),
    /// A dispute: reason, share, last status, closed by accounting.
    Disputed(&'static str, i64, &'static str, bool),
    /// Paid by this means, and returned.
    Returned(&'static str),
    /// Paid, and un-matched later.
    Unmatched,
    /// Cancelled altogether.
    Cancelled,
}

/// Themes of invoices that are months old.
const OLD: &[Theme] = &[
    Theme::Deducted(Some("ACCEPTED")),
    Theme::Disputed("BPRX", 40, "ACCEPTED", true),
    Theme::Cancelled,
    Theme::Deducted(Some("PARTLY_ACCEPTED")),
    Theme::Disputed("BQTE", 60, "PARTLY_ACCEPTED", true),
    Theme::Disputed("BLIV", 100, "REJECTED", true),
    Theme::Deducted(Some("REJECTED")),
    Theme::Disputed("BJUS", 100, "DOCUMENT_SENT", true),
    Theme::Disputed("BQUA", 50, "WITHDRAWN", true),
    Theme::Deducted(Some("ACCEPTED")),
    Theme::Disputed("BPRE", 70, "ESCALATED", true),
    Theme::Disputed("BCAS", 30, "ACCEPTED", true),
    Theme::Returned("CHEQUE"),
    Theme::Cancelled,
    Theme::Returned("DIRECT_DEBIT"),
    Theme::Unmatched,
];
/// Themes of invoices that are weeks old.
const RECENT: &[Theme] = &[
    Theme::Disputed("BQUA", 100, "OPEN", true),
    Theme::Deducted(None),
    Theme::Disputed("BCDE", 100, "UNDER_REVIEW", true),
    Theme::Disputed("BPRX", 25, "ACCEPTED", false),
    Theme::Disputed("BMAN", 50, "PARTLY_ACCEPTED", false),
    Theme::Deducted(None),
    Theme::Disputed("BPOR", 15, "OPEN", true),
    Theme::Disputed("BTVA", 100, "UNDER_REVIEW", true),
];

/// The plan, in order of days.
pub fn plan(today: NaiveDate, law: Ceilings) -> Vec<Step> {
    let start = today.checked_sub_months(Months::new(18)).unwrap_or(today);
    let mut plan = Plan {
        today,
        law,
        dice: Dice::new(0x1e55_ab0d_e20c),
        steps: Vec::new(),
        held: BTreeMap::new(),
    };
    for &(client, euros) in names::OPENINGS {
        plan.push(start, Act::Opening { client, euros });
    }
    let invoices = plan.invoices(start);
    let themes = plan.themes(&invoices);
    for (invoice, (client, issued)) in invoices.iter().enumerate() {
        plan.issue(invoice, *client, *issued);
        match themes.get(&invoice) {
            Some(theme) => plan.themed(invoice, *client, *issued, *theme),
            None => plan.plain(invoice, *client, *issued),
        }
    }
    plan.extras(start);
    // A stable sort: on one day, an invoice stays before what happens to it.
    plan.steps.sort_by_key(|step| step.on);
    plan.steps
}

struct Plan {
    today: NaiveDate,
    law: Ceilings,
    dice: Dice,
    steps: Vec<Step>,
    /// Invoices that a client will pay together with the next one.
    held: BTreeMap<usize, Vec<usize>>,
}

fn days(count: i64) -> Duration {
    Duration::days(count)
}

impl Plan {
    fn due_on(&self, client: usize, issued: NaiveDate) -> NaiveDate {
        let (rule, days, then_day) = CLIENTS[client].terms;
        PaymentTerms {
            rule,
            days,
            then_day,
        }
        .due_on(issued, None, &self.law)
    }

    fn push(&mut self, on: NaiveDate, act: Act) {
        if on <= self.today {
            self.steps.push(Step { on, act });
        }
    }

    /// Who is invoiced when: evenly over the time, clients at random.
    fn invoices(&mut self, start: NaiveDate) -> Vec<(usize, NaiveDate)> {
        let span = (self.today - start).num_days().max(1);
        let count = i64::try_from(INVOICES).unwrap_or(1);
        (0..count)
            .map(|n| {
                let client = match self.dice.roll(24) {
                    0 => *self.dice.pick(names::ABROAD),
                    1..18 => self.dice.roll(names::CORE),
                    _ => self.dice.roll(CLIENTS.len()),
                };
                (client, start + days((n + 1) * span / count))
            })
            .collect()
    }

    /// Spreads the themes over invoices of ordinary domestic clients.
    fn themes(&self, invoices: &[(usize, NaiveDate)]) -> BTreeMap<usize, Theme> {
        let mut themes = BTreeMap::new();
        for (wanted, youngest, oldest) in [(OLD, 115, 420), (RECENT, 26, 75)] {
            let fit: Vec<usize> = (0..invoices.len())
                .filter(|n| {
                    let (client, issued) = invoices[*n];
                    let ordinary = CLIENTS[client].kind == "CUSTOMER"
                        && CLIENTS[client].currency == "EUR"
                        && CLIENTS[client].habit != Habit::Broke;
                    ordinary && (youngest..=oldest).contains(&(self.today - issued).num_days())
                })
                .collect();
            for (position, theme) in wanted.iter().enumerate() {
                if let Some(invoice) = fit.get(position * fit.len() / wanted.len()) {
                    themes.insert(*invoice, *theme);
                }
            }
        }
        themes
    }

    fn issue(&mut self, invoice: usize, client: usize, issued: NaiveDate) {
        let parts: &'static [i64] = match (CLIENTS[client].kind, self.dice.roll(14)) {
            ("STUDENT", _) => &[30, 60, 90],
            ("CUSTOMER", 0) => &[15, 30],
            ("CUSTOMER", 1) => &[10, 20, 30],
            _ => &[],
        };
        let sales = self.sales(client);
        self.push(
            issued,
            Act::Invoice {
                invoice,
                client,
                sales,
                parts,
            },
        );
    }

    fn sales(&mut self, client: usize) -> Vec<Sale> {
        let row = &CLIENTS[client];
        let articles = match row.kind {
            "STUDENT" => names::COURSES,
            "MEMBER" => names::DUES,
            "OTHER" => names::RENTS,
            _ if row.currency != "EUR" => names::EXPORTS,
            _ => names::TRADE,
        };
        let (lines, most) = match row.segment {
            "CONSUMER" => (1, 1),
            "LARGE_GROUP" => (4, 12),
            _ => (3, 5),
        };
        (0..=self.dice.roll(lines))
            .map(|_| {
                let discount = *self.dice.pick(&[0, 0, 0, 5, 10]);
                (
                    self.dice.pick(articles),
                    self.dice.between(1, most),
                    discount,
                )
            })
            .collect()
    }

    /// Days from the due date to the payment; none when it does not come.
    fn delay(&mut self, habit: Habit) -> Option<i64> {
        let roll = self.dice.roll(100);
        let (from, to) = match (habit, roll) {
            (Habit::Prompt, _) => (-6, 2),
            (Habit::Usual, 0..62) => (-5, 4),
            (Habit::Usual, 62..86) => (5, 35),
            (Habit::Usual, 86..94) => (36, 80),
            (Habit::Usual, 94..98) => (90, 170),
            (Habit::Slow, 0..88) => (15, 75),
            (Habit::Slow, 88..93) => (91, 200),
            (Habit::Broke, 0..55) => (30, 70),
            _ => return None,
        };
        Some(self.dice.between(from, to))
    }

    fn method(&mut self, client: usize, on: NaiveDate) -> &'static str {
        // Bills only where they have not matured yet: nothing collects them.
        if CLIENTS[client].segment == "LARGE_GROUP"
            && self.today - on < days(40)
            && self.dice.roll(2) == 0
        {
            return "BILL";
        }
        match CLIENTS[client].segment {
            "CONSUMER" => {
                self.dice
                    .pick::<&str>(&["CARD", "CARD", "CHEQUE", "DIRECT_DEBIT", "CASH"])
            }
            "PUBLIC" => "TRANSFER",
            _ => self.dice.pick::<&str>(&[
                "TRANSFER",
                "TRANSFER",
                "TRANSFER",
                "CHEQUE",
                "DIRECT_DEBIT",
            ]),
        }
    }

    fn pay(&mut self, client: usize, on: NaiveDate, pays: Vec<(usize, i64)>) {
        let key = pays.last().map_or(0, |(invoice, _)| *invoice);
        let method = self.method(client, on);
        // A bill of exchange is no use for an invoice in another currency here.
        let method = if CLIENTS[client].currency == "EUR" {
            method
        } else {
            "TRANSFER"
        };
        self.push(
            on,
            Act::Pay {
                key,
                client,
                method,
                pays,
            },
        );
    }

    /// An invoice like most: sometimes credited in part, paid in one go, in parts, or with others.
    fn plain(&mut self, invoice: usize, client: usize, issued: NaiveDate) {
        if invoice % 13 == 5 {
            let percent = self.dice.between(5, 20);
            self.push(
                issued + days(6),
                Act::Credit {
                    invoice,
                    percent,
                    matched: !invoice.is_multiple_of(3),
                },
            );
        }
        let Some(delay) = self.delay(CLIENTS[client].habit) else {
            return;
        };
        let on = (self.due_on(client, issued) + days(delay)).max(issued + days(7));
        match self.dice.roll(20) {
            0..=1 => {
                self.pay(client, on, vec![(invoice, 50)]);
                self.pay(client, on + days(21), vec![(invoice, 100)]);
            }
            2 => self.pay(client, on, vec![(invoice, 60)]),
            3..=5 if CLIENTS[client].kind == "CUSTOMER" && on <= self.today => {
                self.held.entry(client).or_default().push(invoice)
            }
            _ => {
                let mut pays: Vec<(usize, i64)> = if on <= self.today {
                    self.held.remove(&client).unwrap_or_default()
                } else {
                    Vec::new()
                }
                .into_iter()
                .map(|held| (held, 100))
                .collect();
                pays.push((invoice, 100));
                self.pay(client, on, pays);
            }
        }
    }

    fn themed(&mut self, invoice: usize, client: usize, issued: NaiveDate, theme: Theme) {
        let due = self.due_on(client, issued);
        match theme {
            Theme::Deducted(outcome) => self.deducted(invoice, client, issued, outcome),
            Theme::Disputed(reason, percent, last, closed) => {
                self.disputed(invoice, client, issued, (reason, percent, last, closed))
            }
            Theme::Returned(method) => {
                self.push(
                    due,
                    Act::Pay {
                        key: invoice,
                        client,
                        method,
                        pays: vec![(invoice, 100)],
                    },
                );
                let reason = if method == "CHEQUE" {
                    "Provision insuffisante"
                } else {
                    "Opposition du débiteur"
                };
                self.push(
                    due + days(6),
                    Act::Return {
                        key: invoice,
                        reason,
                    },
                );
                if method == "DIRECT_DEBIT" {
                    self.push(
                        due + days(30),
                        Act::Pay {
                            key: invoice,
                            client,
                            method: "TRANSFER",
                            pays: vec![(invoice, 100)],
                        },
                    );
                }
            }
            Theme::Unmatched => {
                self.push(
                    due,
                    Act::Pay {
                        key: invoice,
                        client,
                        method: "TRANSFER",
                        pays: vec![(invoice, 100)],
                    },
                );
                self.push(due + days(12), Act::Unmatch { key: invoice });
            }
            Theme::Cancelled => self.push(
                issued + days(4),
                Act::Credit {
                    invoice,
                    percent: 100,
                    matched: true,
                },
            ),
        }
    }

    fn deducted(
        &mut self,
        invoice: usize,
        client: usize,
        issued: NaiveDate,
        outcome: Option<&'static str>,
    ) {
        let on = issued + days(20);
        self.push(
            on,
            Act::Pay {
                key: invoice,
                client,
                method: "TRANSFER",
                pays: vec![(invoice, 80)],
            },
        );
        self.push(
            on + days(1),
            Act::Deduct {
                invoice,
                reason: "BMAN",
                note: "Articles manquants déduits du règlement",
            },
        );
        if let Some(outcome) = outcome {
            self.push(
                on + days(8),
                Act::Move {
                    invoice,
                    status: "UNDER_REVIEW",
                },
            );
            self.push(
                on + days(19),
                Act::Resolve {
                    invoice,
                    outcome,
                    by_sales: false,
                },
            );
        }
    }

    fn disputed(
        &mut self,
        invoice: usize,
        client: usize,
        issued: NaiveDate,
        story: (&'static str, i64, &'static str, bool),
    ) {
        let (reason, percent, last, closed) = story;
        let on = issued + days(9);
        self.push(
            on,
            Act::Dispute {
                invoice,
                reason,
                percent,
                note: "Le client conteste la facture par courrier",
            },
        );
        if !matches!(last, "OPEN" | "WITHDRAWN") {
            self.push(
                on + days(5),
                Act::Move {
                    invoice,
                    status: "UNDER_REVIEW",
                },
            );
        }
        match last {
            "OPEN" | "UNDER_REVIEW" => return,
            "ESCALATED" => {
                return self.push(
                    on + days(40),
                    Act::Move {
                        invoice,
                        status: last,
                    },
                );
            }
            _ => self.push(
                on + days(14),
                Act::Resolve {
                    invoice,
                    outcome: last,
                    by_sales: !closed,
                },
            ),
        }
        if closed && last != "REJECTED" {
            self.pay(
                client,
                self.due_on(client, issued).max(on + days(20)),
                vec![(invoice, 100)],
            );
        }
    }

    /// What no invoice stands behind.
    fn extras(&mut self, start: NaiveDate) {
        let ago = |count| self.today - days(count);
        let (old, late) = (FIRST_UNKNOWN, FIRST_UNKNOWN + 1);
        let mut extras = vec![
            (
                ago(96),
                Act::Unknown {
                    key: old,
                    payer: "VIR SEPA D. MERIDIEN",
                    cents: 84_120,
                },
            ),
            (
                ago(84),
                Act::Identify {
                    key: old,
                    client: 4,
                },
            ),
            (
                ago(9),
                Act::Unknown {
                    key: late,
                    payer: "REMISE CHQ ILLISIBLE",
                    cents: 31_250,
                },
            ),
            (
                ago(70),
                Act::OnAccount {
                    client: 1,
                    method: "TRANSFER",
                    cents: 150_000,
                },
            ),
            (ago(69), Act::AutoMatch { client: 1 }),
            (
                ago(33),
                Act::OnAccount {
                    client: 9,
                    method: "CHEQUE",
                    cents: 60_000,
                },
            ),
            (
                ago(21),
                Act::OnAccount {
                    client: 33,
                    method: "CARD",
                    cents: 5_000,
                },
            ),
            (
                ago(14),
                Act::OnAccount {
                    client: 18,
                    method: "TRANSFER",
                    cents: 240_000,
                },
            ),
            (
                ago(5),
                Act::OnAccount {
                    client: 46,
                    method: "CASH",
                    cents: 20_000,
                },
            ),
            (
                ago(25),
                Act::Assess {
                    client: names::IN_RECEIVERSHIP,
                    percent: 60,
                },
            ),
        ];
        for (position, client) in [0, 1, 10, 18, 4, 14, 16, 24].into_iter().enumerate() {
            let count = i64::try_from(position).unwrap_or_default();
            extras.push((
                start + days(200 + 45 * count),
                Act::Rebate {
                    client,
                    cents: 9_000 + 4_500 * count,
                },
            ));
        }
        for client in [2, 7, 19, 44] {
            let sales = self.sales(client);
            extras.push((self.today, Act::Draft { client, sales }));
        }
        for (on, act) in extras {
            self.push(on, act);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_is_long_enough_and_never_beyond_today() {
        for today in ["2026-11-24", "2024-02-29", "2027-01-01"] {
            let today: NaiveDate = today.parse().expect("a day");
            let steps = plan(today, Ceilings::TABLE_6_1);
            assert!(steps.windows(2).all(|pair| pair[0].on <= pair[1].on));
            assert!(steps.iter().all(|step| step.on <= today));
            let documents = steps.iter().filter(|step| {
                matches!(
                    step.act,
                    Act::Invoice { .. }
                        | Act::Pay { .. }
                        | Act::Credit { .. }
                        | Act::Rebate { .. }
                        | Act::OnAccount { .. }
                        | Act::Deduct { .. }
                )
            });
            assert!(documents.count() >= 600);
        }
    }
}
