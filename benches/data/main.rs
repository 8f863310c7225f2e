//! Companies of a known size, the same on every run: `cargo bench --bench data -- --size m`.
//!
//! One company has 80 % of everything and twenty small ones share the rest. Their invoices, credit notes and
//! receipts are written as CSV, as an old system would export them, and loaded through the product's own bulk
//! import; deductions and disputes are made by the services behind the API. At the end the integrity check
//! goes over every company.

mod clients;
mod rng;
mod trade;

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use chrono::{Months, NaiveDate};
use clap::{Parser, ValueEnum};
use diesel::connection::Connection;
use encours::domain::access::{Caller, Role};
use encours::domain::ids::{CompanyId, Id};
use encours::http::auth;
use encours::service::dispute::{self, DeductionInput, DisputeInput, Resolution};
use encours::service::import::{Summary, receipts, receivables};
use encours::service::integrity::{self, Seals};
use encours::service::reference::Ref;
use encours::service::{company, jobs, rounds};
use encours::store::{self, Db, Settings};

use rng::Rng;
use trade::{Quarrel, Told, Trade};

/// As the binary, whose imports these are.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Small companies beside the large one.
const SMALL: u64 = 20;
/// Deductions or disputes of one transaction.
const BATCH: usize = 50;
/// A deduction older than this has been decided.
const DECIDED_DAYS: i64 = 120;

/// How large.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Size {
    /// 10 thousand invoices, 300 clients
    S,
    /// 200 thousand invoices, 6 thousand clients
    M,
    /// 2 million invoices, 60 thousand clients
    L,
}

impl Size {
    /// Invoices and clients of all companies.
    fn figures(self) -> (u64, usize) {
        match self {
            Size::S => (10_000, 300),
            Size::M => (200_000, 6_000),
            Size::L => (2_000_000, 60_000),
        }
    }
}

/// Makes companies of a known size, and says how fast they went in.
#[derive(Debug, Parser)]
struct Arguments {
    /// How large
    #[arg(long, value_enum, ignore_case = true)]
    size: Size,

    /// The database, as the owner of its tables; it is migrated first
    #[arg(long, env = "DATABASE_URL")]
    database_url: String,

    /// Another seed makes other companies
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// The last day of the four years; today when absent
    #[arg(long)]
    until: Option<NaiveDate>,

    /// Deductions and disputes of a company at most: they are made one by one
    #[arg(long, default_value_t = usize::MAX)]
    quarrels: usize,

    /// Keep the files that were imported in this directory
    #[arg(long)]
    keep: Option<PathBuf>,

    /// What cargo tells every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// What was done in a phase, and how long it took.
#[derive(Clone, Copy, Default)]
struct Phase {
    count: u64,
    time: Duration,
}

impl Phase {
    fn add(&mut self, count: u64, since: Instant) {
        self.count += count;
        self.time += since.elapsed();
    }

    fn say(&self, name: &str, unit: &str) {
        let seconds = self.time.as_secs_f64();
        println!(
            "{name:<22} {:>9} {unit:<12} {seconds:>9.1} s {:>9.0} a second",
            self.count,
            self.count as f64 / seconds.max(1e-9)
        );
    }
}

#[derive(Default)]
struct Report {
    writing: Phase,
    clients: Phase,
    receivables: Phase,
    receipts: Phase,
    allocations: u64,
    statistics: Phase,
    deductions: Phase,
    disputes: Phase,
    checks: Phase,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    store::migrate(&arguments.database_url)?;
    let until = arguments.until.unwrap_or_else(jobs::today);
    if until > jobs::today() {
        bail!("the four years end today at the latest");
    }
    let from = until
        .checked_sub_months(Months::new(48))
        .and_then(|day| day.succ_opt())
        .context("a day within the calendar")?;
    let directory = match &arguments.keep {
        Some(directory) => directory.clone(),
        None => std::env::temp_dir().join(format!("encours-data-{}", std::process::id())),
    };
    std::fs::create_dir_all(&directory)?;
    let db = Db::open(&Settings::new(arguments.database_url.clone(), true));
    let (invoices, clients) = arguments.size.figures();
    let mut report = Report::default();
    let mut companies = Vec::new();
    for n in 0..=SMALL {
        let (name, share) = match n {
            0 => ("Grande".to_owned(), 80),
            n => (format!("Petite {n:02}"), 20 / SMALL),
        };
        let rng = Rng::new(arguments.seed, n);
        let size = (invoices * share / 100, clients * share as usize / 100);
        let made = one_company(
            &arguments,
            &db,
            &directory,
            &name,
            from,
            until,
            size,
            rng,
            &mut report,
        )
        .with_context(|| format!("the company {name}"))?;
        companies.push(made);
    }
    if arguments.keep.is_none() {
        std::fs::remove_dir_all(&directory)?;
    }
    let mut owner = store::owner(&arguments.database_url)?;
    for company in &companies {
        let began = Instant::now();
        let results = owner
            .build_transaction()
            .read_only()
            .repeatable_read()
            .run(|conn| integrity::check(conn, *company, Seals::Every))?;
        for (code, description, broken) in results {
            if let Some(fact) = broken {
                bail!("{}: {description}: {code}: {fact}", company.show());
            }
        }
        report.checks.add(1, began);
    }
    say(&report);
    println!("the large company is {}", companies[0].show());
    Ok(())
}

fn say(report: &Report) {
    report.writing.say("files written", "documents");
    report.clients.say("clients", "clients");
    report.receivables.say("receivables", "documents");
    report.receipts.say("receipts", "documents");
    let bulk = Phase {
        count: report.receivables.count + report.receipts.count,
        time: report.receivables.time + report.receipts.time,
    };
    bulk.say("B1 bulk import", "documents");
    println!("{:<22} {:>9}", "matchings of receipts", report.allocations);
    report
        .statistics
        .say("planner told, as rounds do", "companies");
    report.deductions.say("deductions", "deductions");
    report.disputes.say("disputes", "disputes");
    report.checks.say("integrity", "companies");
    if let Some(peak) = peak_memory() {
        println!("{:<22} {peak:>9} MB", "peak memory");
    }
}

/// The most memory that this process has held, in MB, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024)
}

#[expect(clippy::too_many_arguments, reason = "the figures of a company")]
fn one_company(
    arguments: &Arguments,
    db: &Db,
    directory: &Path,
    name: &str,
    from: NaiveDate,
    until: NaiveDate,
    (invoices, clients): (u64, usize),
    mut rng: Rng,
    report: &mut Report,
) -> anyhow::Result<CompanyId> {
    let id = store::owner(&arguments.database_url)?
        .transaction(|conn| company::create(conn, name, Some("732829320"), "EUR", false, 1))?;
    let caller = |role| Caller {
        today: until,
        ..auth::script(id, role)
    };
    // A person may work for several companies of the same name in one database.
    let address = id.0.simple().to_string();
    let began = Instant::now();
    let payers = clients::make(db, &caller(Role::Admin), &address, clients.max(3), &mut rng)?;
    report.clients.add(payers.len() as u64, began);

    let file = |kind: &str| directory.join(format!("{}-{kind}.csv", name.replace(' ', "-")));
    let (owed, paid) = (file("receivables"), file("receipts"));
    let began = Instant::now();
    let create = |path: &Path| File::create(path).map(BufWriter::new);
    let trade = Trade::new(&payers, rng, until, create(&owed)?, create(&paid)?);
    let mut told = trade.run(from, invoices)?;
    told.deductions.truncate(arguments.quarrels);
    told.disputes.truncate(arguments.quarrels);
    let documents = told.invoices + told.credit_notes + told.receipts;
    report.writing.add(documents, began);

    let accountant = caller(Role::ArAccountant);
    let began = Instant::now();
    let options = receivables::Options::default();
    let summary =
        receivables::import(db, &accountant, &owed, &options, |line| eprintln!("{line}"))?;
    whole(&summary, told.invoices + told.credit_notes)?;
    report.receivables.add(summary.rows, began);
    let began = Instant::now();
    let summary = receipts::import(db, &accountant, &paid, None, |line| eprintln!("{line}"))?;
    whole(&summary, told.receipts)?;
    report.receipts.add(summary.made.receipts, began);
    report.allocations += summary.made.allocations;

    // A server that runs does it beside the next import.
    let began = Instant::now();
    rounds::tell_planner(db, &caller(Role::Admin))?;
    report.statistics.add(1, began);

    quarrel(db, &caller(Role::Admin), &told, report)?;
    println!(
        "{name}: {} invoices, {} credit notes, {} receipts, {} deductions, {} disputes",
        told.invoices,
        told.credit_notes,
        told.receipts,
        told.deductions.len(),
        told.disputes.len()
    );
    Ok(id)
}

/// Nothing of a generated file is refused.
fn whole(summary: &Summary, documents: u64) -> anyhow::Result<()> {
    let made = &summary.made;
    let taken = made.invoices + made.credit_notes + made.receipts;
    if summary.refused > 0 || taken != documents {
        bail!(
            "{taken} of {documents} documents were taken in, {} rows refused",
            summary.refused
        );
    }
    Ok(())
}

/// Deductions of what clients kept back, decided when they are old, and disputes of what they do not pay.
fn quarrel(db: &Db, caller: &Caller, told: &Told, report: &mut Report) -> anyhow::Result<()> {
    let reasons = ["BPRX", "BQTE", "BPEN", "BRFA"];
    let began = Instant::now();
    for (batch, some) in told.deductions.chunks(BATCH).enumerate() {
        db.write_now(caller, |conn, caller| {
            for (n, quarrel) in some.iter().enumerate() {
                let input = DeductionInput {
                    invoice: Ref::Number(quarrel.invoice.clone()),
                    amount: quarrel.amount,
                    reason: reasons[(batch + n) % reasons.len()].into(),
                    recorded_on: Some(quarrel.on),
                    owner: None,
                    description: "Retenue sur règlement".into(),
                };
                let made = dispute::deduct(conn, caller, &input)?;
                if (caller.today - quarrel.on).num_days() > DECIDED_DAYS {
                    let accepted = n % 10 < 7;
                    let resolution = Resolution {
                        outcome: if accepted { "ACCEPTED" } else { "REJECTED" },
                        accepted_amount: None,
                        credit_note: None,
                        credit_note_number: None,
                        closed_on: None,
                        note: None,
                    };
                    dispute::resolve_deduction(conn, caller, &Ref::Id(made.show()), &resolution)?;
                }
            }
            Ok(())
        })?;
    }
    report.deductions.add(told.deductions.len() as u64, began);
    let began = Instant::now();
    let reasons = ["BLIV", "BQUA", "BPRX", "BJUS", "BCDE", "BDBL"];
    for (batch, some) in told.disputes.chunks(BATCH).enumerate() {
        db.write_now(caller, |conn, caller| {
            for (n, quarrel) in some.iter().enumerate() {
                dispute::open(
                    conn,
                    caller,
                    &disputed(quarrel, reasons[(batch + n) % reasons.len()]),
                )?;
            }
            Ok(())
        })?;
    }
    report.disputes.add(told.disputes.len() as u64, began);
    Ok(())
}

fn disputed(quarrel: &Quarrel, reason: &str) -> DisputeInput {
    DisputeInput {
        invoice: Ref::Number(quarrel.invoice.clone()),
        kind: None,
        reason: reason.into(),
        amount: quarrel.amount,
        opened_on: Some(quarrel.on),
        respond_by: None,
        owner: None,
        description: "Contestation du client".into(),
        reopens: None,
    }
}
