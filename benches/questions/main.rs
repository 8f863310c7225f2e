//! The questions that must be fast, over HTTP with a token, beside the raw SQL of the same question on the same
//! database: `cargo bench --bench questions -- --data DIRECTORY`, on companies made by the bench `data`.
//!
//! Answers are compared before anything is measured. Nothing is asserted about time: the figures are printed.

mod load;
mod questions;
mod raw;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use encours::domain::ids::{CompanyId, Id};
use serde_json::Value;

use load::{Connection, Speed, Target};
use questions::{Question, Writing};
use raw::Database;

/// Measures the questions.
#[derive(Debug, Parser)]
struct Arguments {
    /// The data directory of a private database that holds the companies
    #[arg(long)]
    data: PathBuf,

    /// Another database that holds them, as the owner of its tables
    #[arg(long, env = "DATABASE_URL")]
    database_url: Option<String>,

    /// The server to measure
    #[arg(long, default_value = "target/release/encours")]
    encours: PathBuf,

    /// Seconds of each measurement
    #[arg(long, default_value_t = 5)]
    seconds: u64,

    /// Connections to measure with
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    connections: Vec<usize>,

    /// Only these questions, such as Q1,M2
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,

    /// The name of the company
    #[arg(long, default_value = "Grande")]
    company: String,

    /// A small company of the same database
    #[arg(long, default_value = "Petite 01")]
    beside: String,

    /// Programs of PostgreSQL
    #[arg(long, env = "ENCOURS_PG_BIN")]
    programs: Option<PathBuf>,

    /// What cargo tells every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    /// The product, which is to use the database that is measured.
    fn product(&self) -> Command {
        let mut product = Command::new(&self.encours);
        match &self.database_url {
            Some(url) => product.env("DATABASE_URL", url),
            None => product.env_remove("DATABASE_URL"),
        };
        product
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.starts_with(only))
    }
}

/// The server under measurement; it ends with this.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(arguments: &Arguments) -> Result<Server> {
        let mut child = arguments
            .product()
            .args(["serve", "--listen", "127.0.0.1:0", "--no-jobs", "--data"])
            .arg(&arguments.data)
            // One caller asks for everything.
            .env("ENCOURS_RATE_BURST", "1000000000")
            .env("ENCOURS_RATE_PER_SECOND", "100000000")
            .env("ENCOURS_RATE_AT_ONCE", "1000")
            .env("ENCOURS_STOP_ON_EOF", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{}: build it first", arguments.encours.display()))?;
        let output = child.stdout.take().context("its output")?;
        let address = BufReader::new(output)
            .lines()
            .map_while(std::result::Result::ok)
            .find_map(|line| line.strip_prefix("listening on http://").map(str::to_owned))
            .context("the server does not start")?;
        Ok(Server { child, address })
    }

    /// What it keeps in memory, in MB.
    fn resident(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let kilobytes = status.ok().and_then(|status| {
            let line = status
                .lines()
                .find(|line| line.starts_with("VmRSS:"))?
                .to_owned();
            line.split_whitespace().nth(1)?.parse::<f64>().ok()
        });
        kilobytes.unwrap_or(f64::NAN) / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn programs(given: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given);
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .context("give --programs: where psql and pgbench are")?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|path| path.join("pgbench").exists())
        .collect();
    found.sort();
    found.pop().context("no pgbench under /usr/lib/postgresql")
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let scratch = std::env::temp_dir().join(format!("encours-bench-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let began = Instant::now();
    let server = Server::start(&arguments)?;
    let database = Database {
        url: arguments.database_url.clone().unwrap_or_else(|| {
            let socket = arguments.data.join("run");
            format!(
                "host={} port=5432 user=encours dbname=encours",
                socket.display()
            )
        }),
        programs: programs(arguments.programs.clone())?,
        scratch: scratch.clone(),
    };
    let outcome = measured(&arguments, &server, &database, began);
    std::fs::remove_dir_all(&scratch)?;
    outcome
}

/// The id of a company, and how to reach it.
fn entered(
    arguments: &Arguments,
    server: &Server,
    database: &Database,
    name: &str,
) -> Result<(String, Target)> {
    let company = database.ask(&format!(
        "SELECT company_id FROM companies WHERE name = '{name}'"
    ))?;
    let id = CompanyId(
        company
            .parse()
            .with_context(|| format!("no company {name}: make it with the bench `data`"))?,
    );
    let token = arguments
        .product()
        .args([
            "token",
            "--company",
            &id.show(),
            "--role",
            "ADMIN",
            "--ttl",
            "1h",
            "--data",
        ])
        .arg(&arguments.data)
        .output()?;
    let target = Target {
        address: server.address.clone(),
        token: String::from_utf8(token.stdout)?.trim().to_owned(),
    };
    Ok((company, target))
}

fn measured(
    arguments: &Arguments,
    server: &Server,
    database: &Database,
    began: Instant,
) -> Result<()> {
    let (company, target) = entered(arguments, server, database, &arguments.company)?;
    let today = encours::service::jobs::today();
    let back = today - chrono::Months::new(18);
    let loaded = wait_for_memory(server, &target, began)?;
    describe(database, &company, arguments, &loaded)?;
    database.ask("CREATE INDEX IF NOT EXISTS bench_open ON items (company_id, family, due_on) INCLUDE (client_id, is_debit, open_amount, document_net, document_total) WHERE open_amount > 0")?;
    for table in [
        "items",
        "receivable_ledger",
        "clients",
        "documents",
        "disputes",
        "deductions",
        "allocations",
    ] {
        database.ask(&format!("VACUUM ANALYZE {table}"))?;
    }
    let search = database.ask(&format!("SELECT right(number, 4) FROM documents WHERE company_id = '{company}' AND kind = 'INVOICE' ORDER BY id DESC LIMIT 1"))?;
    println!(
        "| question | connections | per second | p50 ms | p99 ms | raw per second | raw p50 ms | raw p99 ms | throughput / raw | raw p50 / p50 |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for question in questions::reading(&company, &today.to_string(), &back.to_string(), &search) {
        if arguments.wants(question.name) {
            compare(&question, &target, database)?;
            // Those without a goal take so long that a crowd of them is told to come again.
            let most = match question.name {
                "Q6" | "Q7" => 16,
                _ => usize::MAX,
            };
            for connections in arguments.connections.iter().filter(|n| **n <= most) {
                let ours = load::run(
                    &target,
                    *connections,
                    Duration::from_secs(arguments.seconds),
                    |_, _| question.anew(),
                )?;
                let raw = database.run(
                    &format!("{};\n", question.sql),
                    *connections,
                    arguments.seconds,
                )?;
                say(
                    &format!("{} {}", question.name, question.what),
                    *connections,
                    &ours,
                    Some(&raw),
                );
                if question.is_kept() {
                    let again = load::run(
                        &target,
                        *connections,
                        Duration::from_secs(arguments.seconds),
                        |_, _| question.body.clone(),
                    )?;
                    let what = format!("{} asked again, nothing has changed", question.name);
                    say(&what, *connections, &again, Some(&raw));
                }
            }
        }
    }
    let writing = Writing::of(database, &company, &today.to_string())?;
    if arguments.wants("Q1w") {
        while_writing(arguments, &target, &writing, &today.to_string())?;
    }
    if arguments.wants("Q3") {
        let asked = questions::reading(&company, &today.to_string(), &back.to_string(), &search);
        for question in asked.iter().filter(|question| question.is_kept()) {
            let (speed, _) = beside_a_writer(arguments, &target, &writing, &question.body)?;
            let what = format!(
                "{} asked again while 50 invoices a second are issued",
                question.name
            );
            say(&what, 16, &speed, None);
        }
    }
    writes(arguments, &target, database, &writing)?;
    if arguments.wants("E1") {
        export(server, &target, database, &company, &today)?;
    }
    if arguments.wants("small") {
        small(arguments, server, database)?;
    }
    println!(
        "\nresident memory of the server at the end: {:.0} MB",
        server.resident()
    );
    Ok(())
}

/// Waits until the balances of the company are answered from memory for every day.
fn wait_for_memory(server: &Server, target: &Target, began: Instant) -> Result<String> {
    let ready = began.elapsed();
    let mut connection = Connection::open(target)?;
    let old = r#"{"query":"{ agedBalance(asOf: \"2000-01-01\") { totals { total } } }"}"#;
    let memory = || -> Result<u64> {
        let url = format!("http://{}/metrics", target.address);
        let text = ureq::get(&url).call()?.body_mut().read_to_string()?;
        let name = "encours_aged_balances{name=\"answers_from_memory\"}";
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        line.context("no figure of the balances in memory")
    };
    for _ in 0..600 {
        let before = memory()?;
        connection.ask(old)?;
        if memory()? > before {
            return Ok(format!(
                "ready after {:.1} s; the whole history in memory after {:.1} s; resident {:.0} MB",
                ready.as_secs_f64(),
                began.elapsed().as_secs_f64(),
                server.resident()
            ));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("the balances were not loaded within a minute")
}

fn describe(database: &Database, company: &str, arguments: &Arguments, loaded: &str) -> Result<()> {
    let count = |table: &str, rest: &str| {
        database.ask(&format!(
            "SELECT count(*) FROM {table} WHERE company_id = '{company}'{rest}"
        ))
    };
    let all = database.ask("SELECT count(*) FROM documents WHERE kind = 'INVOICE'")?;
    println!(
        "{}: {} of {all} invoices, {} clients, {} open items, {} ledger rows, {} disputes; {loaded}\n",
        arguments.company,
        count("documents", " AND kind = 'INVOICE'")?,
        count("clients", "")?,
        count("items", " AND open_amount > 0")?,
        count("receivable_ledger", "")?,
        count("disputes", "")?
    );
    Ok(())
}

/// The same answer, figure by figure, before anything is measured.
fn compare(question: &Question, target: &Target, database: &Database) -> Result<()> {
    let mut connection = Connection::open(target)?;
    let answer: Value = serde_json::from_slice(connection.ask(&question.body)?)?;
    let ours = (question.figures)(&answer);
    let raw = (question.rows)(&database.ask(&question.sql)?);
    if ours.is_empty() {
        bail!("{}: nothing was answered", question.name);
    }
    // The matrix is all that raw SQL knows of provisions; the rules per client make the rest of the difference.
    if question.name != "Q4" && ours != raw {
        bail!("{}: {ours:?}\nis not\n{raw:?}", question.name);
    }
    if question.name == "Q4" {
        eprintln!("Q4: required {ours:?}; the matrix without the rules per client {raw:?}");
    }
    Ok(())
}

fn say(what: &str, connections: usize, ours: &Speed, raw: Option<&Speed>) {
    let (p50, p99) = (ours.percentile(0.5), ours.percentile(0.99));
    let beside = match raw {
        Some(raw) => format!(
            "{:.0} | {:.2} | {:.2} | {:.2} | {:.2}",
            raw.per_second,
            raw.percentile(0.5),
            raw.percentile(0.99),
            ours.per_second / raw.per_second,
            raw.percentile(0.5) / p50
        ),
        None => "| | | |".to_owned(),
    };
    println!(
        "| {what} | {connections} | {:.0} | {p50:.2} | {p99:.2} | {beside} |",
        ours.per_second
    );
}

/// Q1 while fifty invoices a second are issued; the answer must move by what was issued, exactly.
fn while_writing(
    arguments: &Arguments,
    target: &Target,
    writing: &Writing,
    today: &str,
) -> Result<()> {
    let body = serde_json::json!({ "query": "query($on: Date!) { agedBalance(asOf: $on) { totals { total } } }", "variables": { "on": today } }).to_string();
    let total = || -> Result<i64> {
        let mut connection = Connection::open(target)?;
        let answer: Value = serde_json::from_slice(connection.ask(&body)?)?;
        let text = answer["data"]["agedBalance"]["totals"][0]["total"]
            .as_str()
            .unwrap_or_default()
            .replace('.', "");
        Ok(text.parse()?)
    };
    let before = total()?;
    let (speed, issued) = beside_a_writer(arguments, target, writing, &body)?;
    let after = total()?;
    if after - before != issued * 12_000 {
        bail!(
            "{issued} invoices of 120.00 moved the total by {}",
            after - before
        );
    }
    let what = format!(
        "Q1 while {:.0} invoices a second are issued (total exact)",
        issued as f64 / (2 * arguments.seconds) as f64
    );
    say(&what, 16, &speed, None);
    Ok(())
}

/// A question asked again and again by sixteen while fifty invoices a second are issued; how many were.
fn beside_a_writer(
    arguments: &Arguments,
    target: &Target,
    writing: &Writing,
    body: &str,
) -> Result<(Speed, i64)> {
    let time = Duration::from_secs(arguments.seconds * 2);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<i64> {
            let (mut connection, since) = (Connection::open(target)?, Instant::now());
            let mut issued = 0;
            while since.elapsed() < time {
                connection.ask(&writing.invoice(0, usize::try_from(issued)?))?;
                issued += 1;
                let due = Duration::from_millis(20 * u64::try_from(issued)?);
                std::thread::sleep(due.saturating_sub(since.elapsed()));
            }
            Ok(issued)
        });
        let speed = load::run(target, 16, time, |_, _| body.to_owned())?;
        let issued = writer
            .join()
            .map_err(|_| anyhow::anyhow!("the writer panicked"))??;
        Ok((speed, issued))
    })
}

/// M1 and M2.
fn writes(
    arguments: &Arguments,
    target: &Target,
    database: &Database,
    writing: &Writing,
) -> Result<()> {
    let time = Duration::from_secs(arguments.seconds);
    // A series of its own in a year of its own, gone on with if it is there.
    let series = |of: &str| -> Result<String> {
        let series = format!("BENCH{}{of}", std::process::id());
        let year = if of == "INVOICE" { 1900 } else { 1901 };
        database.ask(&format!(
            "INSERT INTO counters (company_id, series, fiscal_year, last_number) VALUES ('{company}', '{series}', {year}, coalesce((SELECT max(number) FROM journal_entries WHERE company_id = '{company}' AND fiscal_year = {year}), 0)) \
             ON CONFLICT DO NOTHING",
            company = writing.company
        ))?;
        Ok(series)
    };
    if arguments.wants("M1") {
        let series = series("INVOICE")?;
        for connections in &arguments.connections {
            let ours = load::run(target, *connections, time, |connection, turn| {
                writing.invoice(connection, turn)
            })?;
            let raw = database.run(
                &writing.raw_invoice(&series),
                *connections,
                arguments.seconds,
            )?;
            say("M1 issue an invoice", *connections, &ours, Some(&raw));
        }
    }
    if arguments.wants("M2") {
        for connections in &arguments.connections {
            // Every connection pays invoices of a client of its own.
            let prepared: Vec<(String, Vec<String>)> = (0..*connections)
                .map(|n| {
                    let (_, number) = &writing.clients[n % writing.clients.len()];
                    let mut connection = Connection::open(target)?;
                    let invoices = (0..3)
                        .map(|_| {
                            let text = big_invoice(number, &writing.today);
                            let answer: Value = serde_json::from_slice(connection.ask(&text)?)?;
                            let made = &answer["data"]["issueInvoice"]["invoice"]["number"];
                            Ok(made.as_str().context("an invoice")?.to_owned())
                        })
                        .collect::<Result<_>>()?;
                    Ok((number.clone(), invoices))
                })
                .collect::<Result<_>>()?;
            let ours = load::run(target, *connections, time, |connection, _| {
                let (number, invoices) = &prepared[connection];
                writing.receipt(invoices, number)
            })?;
            targets(database, &writing.company, &prepared)?;
            let raw = database.run(
                &writing.raw_receipt(&series("RECEIPT")?),
                *connections,
                arguments.seconds,
            )?;
            let what = "M2 record a receipt on three invoices";
            say(what, *connections, &ours, Some(&raw));
        }
        database.ask("DROP TABLE IF EXISTS bench_targets")?;
    }
    Ok(())
}

/// The items that the bare statements of each connection pay.
fn targets(database: &Database, company: &str, prepared: &[(String, Vec<String>)]) -> Result<()> {
    database.ask("DROP TABLE IF EXISTS bench_targets; CREATE TABLE bench_targets (n int PRIMARY KEY, client uuid, a uuid, b uuid, c uuid)")?;
    for (n, (_, invoices)) in prepared.iter().enumerate() {
        let item = |number: &str| {
            database.ask(&format!("SELECT i.client_id || ' ' || i.id FROM documents d JOIN items i ON i.company_id = d.company_id AND i.source_id = d.id \
                WHERE d.company_id = '{company}' AND d.kind = 'INVOICE' AND d.number = '{number}' AND i.is_debit"))
        };
        let found: Vec<String> = invoices
            .iter()
            .map(|number| item(number))
            .collect::<Result<_>>()?;
        let ids: Vec<(&str, &str)> = found.iter().filter_map(|row| row.split_once(' ')).collect();
        let [(client, a), (_, b), (_, c)] = ids[..] else {
            bail!("{invoices:?} have no items");
        };
        database.ask(&format!(
            "INSERT INTO bench_targets VALUES ({n}, '{client}', '{a}', '{b}', '{c}')"
        ))?;
    }
    Ok(())
}

/// The same questions in a small company of the same database: the large one must not be felt.
fn small(arguments: &Arguments, server: &Server, database: &Database) -> Result<()> {
    let name = &arguments.beside;
    let (company, target) = entered(arguments, server, database, name)?;
    let today = encours::service::jobs::today().to_string();
    let time = Duration::from_secs(arguments.seconds);
    let writing = Writing::of(database, &company, &today)?;
    println!("\nbeside it, {name}:\n");
    println!("| question | connections | per second | p50 ms | p99 ms |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    let brief = |what: &str, speed: &Speed| {
        let (p50, p99) = (speed.percentile(0.5), speed.percentile(0.99));
        println!(
            "| {what} | 1 | {:.0} | {p50:.2} | {p99:.2} |",
            speed.per_second
        );
    };
    for question in questions::reading(&company, &today, &today, "0001") {
        if ["Q1", "Q2", "Q3", "Q4"].contains(&question.name) {
            let speed = load::run(&target, 1, time, |_, _| question.anew())?;
            brief(&format!("{} {}", question.name, question.what), &speed);
        }
    }
    let speed = load::run(&target, 1, time, |connection, turn| {
        writing.invoice(connection, turn)
    })?;
    brief("M1 issue an invoice", &speed);
    let (_, number) = &writing.clients[0];
    let mut connection = Connection::open(&target)?;
    let answer: Value = serde_json::from_slice(connection.ask(&big_invoice(number, &today))?)?;
    let invoice = answer["data"]["issueInvoice"]["invoice"]["number"]
        .as_str()
        .context("an invoice")?
        .to_owned();
    let speed = load::run(&target, 1, time, |_, _| writing.deduction(&invoice))?;
    brief("M3 record a deduction", &speed);
    Ok(())
}

/// An invoice that many receipts fit on.
fn big_invoice(number: &str, today: &str) -> String {
    serde_json::json!({
        "query": "mutation($input: IssueInvoiceInput!) { issueInvoice(input: $input) { invoice { number } userErrors { code field message } } }",
        "variables": { "input": { "client": { "number": number }, "issuedOn": today, "dueOn": today,
            "lines": [{ "description": "Prestation", "quantity": "1", "unitPrice": "10000000.00", "vatRate": "0" }] } },
    })
    .to_string()
}

/// E1: the FEC of last year, and what it does to memory; one statement that copies the same lines, for comparison.
fn export(
    server: &Server,
    target: &Target,
    database: &Database,
    company: &str,
    today: &chrono::NaiveDate,
) -> Result<()> {
    let year = chrono::Datelike::year(today) - 1;
    println!();
    for memory in ["4MB", "256MB"] {
        let took = database.discarded(&questions::copied_year(company, year), memory)?;
        println!("E1 raw: one COPY with {memory} to sort in: {took:.1} s");
    }
    for _ in 0..2 {
        let (before, since) = (server.resident(), Instant::now());
        let bytes = Connection::open(target)?.fetch(&format!("/export/fec/{year}"))?;
        let took = since.elapsed().as_secs_f64();
        println!(
            "E1: FEC of {year}: {:.1} MB in {took:.1} s ({:.1} MB/s); resident {before:.0} MB before, {:.0} MB after",
            bytes as f64 / 1e6,
            bytes as f64 / 1e6 / took,
            server.resident()
        );
    }
    Ok(())
}
