//! The command line: parses, calls, exits.

mod config;

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::net::{TcpListener, ToSocketAddrs};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use actix_web::web;
use anyhow::{Context, anyhow, bail};
use diesel::connection::Connection;
use encours::domain::access::{Caller, Role};
use encours::domain::ids::{CompanyId, Id};
use encours::embedded::{self, Cluster};
use encours::graphql::kept::Kept;
use encours::http::auth::jwks::Provider;
use encours::http::auth::{self, Authenticator};
use encours::http::graphql::{GraphqlEndpoint, Shape};
use encours::http::live::Closing;
use encours::http::metrics::Metrics;
use encours::http::rate::{Limiter, Rates};
use encours::mailer::Mailer;
use encours::objects::{BucketSettings, Objects};
use encours::service::balances::Balances;
use encours::service::import::{Summary, receipts, receivables};
use encours::service::live::Feed;
use encours::service::provision::memory::Provisions;
use encours::service::webhook::Policy;
use encours::service::{audit, jobs, rounds, webhook};
use encours::store::{self, Conn, Db};
use encours::telemetry::Tracer;
use encours::telemetry::figures::Figures;
use encours::{graphql, http, service};
use tracing_subscriber::EnvFilter;

use config::{
    AddMember, AddRate, Check, Command, CompanyCommand, CreateCompany, CreateKey, DeskOptions,
    DisableMember, ExportCommand, ExportFec, ImportBank, ImportCommand, ImportFile, ImportReceipts,
    ImportReceivables, KeyCommand, ListMembers, MemberCommand, Options, RateCommand, Serve, Switch,
    Token, Work, noted, unknown_variables,
};

/// The C library's keeps more of what many threads have freed: 224 MB instead of 167 with two million invoices, after
/// every question was asked by 64 connections; and nested screens, a thousand small values each, are a twentieth slower.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How often the private Postgres is looked after.
const WATCH: Duration = Duration::from_secs(1);
/// How long printed tokens are valid.
const PRINTED_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Connections of the background jobs.
const JOB_CONNECTIONS: u32 = 4;
/// Connections that load the balances in memory: a large company takes two, so that others are brought up to date
/// meanwhile.
const BALANCE_CONNECTIONS: u32 = 3;
/// The role that serves.
const SERVING_ROLE: &str = "encours_app";

fn main() -> ExitCode {
    let (mut cli, mut mistakes) =
        config::read(std::env::args_os().collect()).unwrap_or_else(|error| error.exit());
    // One provider of cryptography for mail, webhooks and files.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli.check(&mut mistakes);
    if let Err(mistake) = start_log(matches!(cli.command, Command::Serve(_))) {
        mistakes.push(mistake);
    }
    let done = match cli.command {
        // It has more to look at, and tells all of it at once.
        Command::Serve(args) => serve(*args, mistakes),
        command => right(mistakes).and_then(|()| run(command)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whoever reads standard error may be gone: then nobody is left to tell.
            let _ = writeln!(io::stderr(), "encours: {error:#}");
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// A setting that cannot be meant.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// Goes on when there is no mistake in the settings, else names every one.
fn right(mistakes: Vec<String>) -> anyhow::Result<()> {
    match mistakes.as_slice() {
        [] => Ok(()),
        [one] => Err(Usage(one.clone()).into()),
        more => {
            let list: String = more.iter().map(|it| format!("\n  - {it}")).collect();
            Err(Usage(format!("{} mistakes in the settings:{list}", more.len())).into())
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => serve(*args, Vec::new()),
        Command::Migrate(options) => Database::made(&options).map(drop),
        Command::Demo(options) => demo(&options),
        Command::Company(CompanyCommand::Create(args)) => create_company(&args),
        Command::Member(MemberCommand::Add(args)) => add_member(&args),
        Command::Member(MemberCommand::List(args)) => list_members(&args),
        Command::Member(MemberCommand::Disable(args)) => disable_member(&args),
        Command::Key(KeyCommand::Create(args)) => create_key(&args),
        Command::Import(ImportCommand::Receivables(args)) => import_receivables(&args),
        Command::Import(ImportCommand::Receipts(args)) => import_receipts(&args),
        Command::Import(ImportCommand::Fec(args)) => import_fec(&args),
        Command::Import(ImportCommand::Bank(args)) => import_bank(&args),
        Command::Export(ExportCommand::Fec(args)) => export_fec(&args),
        Command::Work(args) => work(&args),
        Command::Rate(RateCommand::Add(args)) => add_rate(&args),
        Command::Token(args) => token(&args),
        Command::Check(args) => check(&args),
        Command::Schema => say(graphql::schema().sdl().trim_end()),
        Command::Health(args) => match http::health::probe(&args.listen, args.tls) {
            Ok(true) => Ok(()),
            Ok(false) => bail!("the server at {} is not well", args.listen),
            Err(error) => Err(error).with_context(|| {
                format!(
                    "no server at {} (--listen or ENCOURS_LISTEN says where)",
                    args.listen
                )
            }),
        },
    }
}

/// The database of a command, up to date. A private one is stopped when dropped, unless another process uses it.
struct Database {
    cluster: Option<Cluster>,
    owner_url: String,
    settings: store::Settings,
}

impl Database {
    /// The database that is there. A wrong directory makes no new one, in which all would be well.
    fn open(options: &Options) -> anyhow::Result<Database> {
        let data = options.data();
        if options.database_url().is_none() && !embedded::exists(&data) {
            bail!(
                "there is no database in {}: say where with --data or DATABASE_URL, or make one with `encours serve` or `encours company create`",
                data.display()
            );
        }
        Database::made(options)
    }

    /// The same; a private one is made when it is missing.
    fn made(options: &Options) -> anyhow::Result<Database> {
        let database = match options.database_url() {
            Some(url) => {
                let settings = match options.app_database_url() {
                    Some(serving) => store::Settings::new(serving.to_owned(), false),
                    None => store::Settings::new(url.to_owned(), true),
                };
                Database {
                    cluster: None,
                    owner_url: url.to_owned(),
                    settings,
                }
            }
            None => {
                let cluster = Cluster::start(&embedded::Settings {
                    data_dir: options.data(),
                    durable: true,
                    pg_bin: options.pg_bin.clone(),
                })?;
                let owner_url = cluster.url(embedded::SUPERUSER, embedded::DATABASE);
                let settings =
                    store::Settings::new(cluster.url(SERVING_ROLE, embedded::DATABASE), false);
                Database {
                    cluster: Some(cluster),
                    owner_url,
                    settings,
                }
            }
        };
        for migration in store::migrate(&database.owner_url)? {
            tracing::info!(%migration, "migrated");
        }
        Ok(database)
    }

    fn owner(&self) -> anyhow::Result<Conn> {
        Ok(store::owner(&self.owner_url)?)
    }
}

fn secret(options: &Options) -> anyhow::Result<Vec<u8>> {
    auth::secret(options.jwt_secret(), &options.data())
}

fn authenticator(options: &Options) -> anyhow::Result<Authenticator> {
    Authenticator::new(&secret(options)?).map_err(|error| Usage(error.to_string()).into())
}

/// Keeps the private Postgres alive as long as it lives itself.
struct Supervisor {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Supervisor {
    fn start(mut cluster: Cluster) -> Supervisor {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(WATCH) == Err(RecvTimeoutError::Timeout) {
                if cluster.is_alive() {
                    continue;
                }
                tracing::error!("the private Postgres is gone: starting it again");
                match cluster.restart() {
                    Ok(()) => tracing::info!("the private Postgres is back"),
                    Err(error) => tracing::error!(%error, "the private Postgres does not start"),
                }
            }
            cluster.stop();
        });
        Supervisor {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Where files are.
fn objects(desk: &DeskOptions, options: &Options) -> Result<Objects, String> {
    match desk.files.as_deref().filter(|place| !place.is_empty()) {
        None => Ok(Objects::directory(&options.data().join("files"))),
        Some(place) if place.starts_with("s3://") => {
            let settings =
                BucketSettings::read(place).map_err(|why| format!("--files {place}: {why}"))?;
            let (key, secret) = desk.bucket_keys.as_ref().ok_or_else(|| {
                format!("--files {place} needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment")
            })?;
            Objects::bucket(&settings, key, secret)
                .map_err(|error| format!("--files {place}: {error}"))
        }
        Some(place) => std::fs::create_dir_all(place)
            .map(|()| Objects::directory(Path::new(place)))
            .map_err(|error| format!("--files {place}: {error}")),
    }
}

/// The mail server, when one is set.
fn mailer(desk: &DeskOptions) -> Result<Option<Mailer>, String> {
    match desk.smtp_url.as_deref().filter(|url| !url.is_empty()) {
        None => Ok(None),
        Some(url) => Mailer::new(url, &desk.mail_from)
            .map(Some)
            .map_err(|why| format!("--smtp-url: {why}")),
    }
}

fn add_rate(args: &AddRate) -> anyhow::Result<()> {
    let database = Database::open(&args.options)?;
    if args.to.is_some_and(|to| to < args.from) || args.source.trim().is_empty() {
        return Err(Usage("a rate has a period, first day first, and a source".into()).into());
    }
    let added = store::member::add_legal_rate(
        &mut database.owner()?,
        &args.kind,
        args.from,
        args.to,
        args.value,
        args.source.trim(),
    )?;
    if !added {
        bail!(
            "nothing was recorded: either there is no kind {} (the query legalRates lists them), or a rate of that kind stands for some of these days already",
            args.kind
        );
    }
    Ok(())
}

fn work(args: &Work) -> anyhow::Result<()> {
    let database = Database::open(&args.options)?;
    let desk = rounds::Desk {
        db: Db::open(&database.settings),
        objects: objects(&args.desk, &args.options).map_err(Usage)?,
        mailer: mailer(&args.desk).map_err(Usage)?,
    };
    match args.company {
        Some(company) => {
            let company = known_company(&mut database.owner()?, company)?;
            rounds::visit(&desk, company, auth::today());
            Ok(())
        }
        None => {
            for company in store::company::ids(&mut database.owner()?)? {
                rounds::lead(&desk, company, auth::today())?;
            }
            Ok(())
        }
    }
}

/// The aged balances in memory, loaded over connections of their own; off without memory.
fn balances(settings: &store::Settings, megabytes: u32) -> Balances {
    if megabytes == 0 {
        return Balances::default();
    }
    let db = Db::open(&store::Settings {
        pool_size: BALANCE_CONNECTIONS,
        ..settings.clone()
    });
    Balances::new(db, megabytes as usize * 1024 * 1024)
}

fn serve(args: Serve, mut mistakes: Vec<String>) -> anyhow::Result<()> {
    let wrong = &mut mistakes;
    let provider = noted(wrong, args.access.provider());
    let certificate = noted(wrong, args.wire.certificate());
    let collector = noted(wrong, args.wire.collector());
    let objects = noted(wrong, objects(&args.desk, &args.options).map(Some));
    let mailer = noted(wrong, mailer(&args.desk));
    if let Err(error) = args.listen.to_socket_addrs() {
        wrong.push(format!("--listen {}: {error}", args.listen));
    }
    right(mistakes)?;
    for name in unknown_variables() {
        tracing::warn!("{name} is no setting: `encours serve --help` names them");
    }
    let tls = certificate
        .as_ref()
        .map(|certificate| certificate.config())
        .transpose()
        .map_err(Usage)?;
    let tracer = collector.map_or_else(Tracer::default, Tracer::to);
    let objects = objects.context("files have no place")?;
    let listener = TcpListener::bind(&args.listen).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => anyhow!(
            "{} is in use: stop the other server or choose another port with --listen",
            args.listen
        ),
        _ => anyhow!("cannot listen on {}: {error}", args.listen),
    })?;
    let address = listener.local_addr()?;
    let mut database = Database::made(&args.options)?;
    database.settings.pool_size = args.pool_size;
    database.settings.replica_url = args.wire.replica_url().map(str::to_owned);
    database.settings.statement_timeout = args.wire.statement_time();
    let authenticator = Authenticator::with(
        &secret(&args.options)?,
        args.access.policy(),
        provider.map(Provider::new),
    )
    .map_err(|error| Usage(error.to_string()))?;
    let db = Db::open(&database.settings);
    let owner_url = database.owner_url.clone();
    // From here on, so that nothing below waits for a database that died. It stops after the server.
    let _supervisor = database.cluster.take().map(Supervisor::start);

    if args.demo && store::company::all(&mut store::owner(&owner_url)?)?.is_empty() {
        service::demo::load(&owner_url, &db, auth::today())?;
    }
    let tokens = match args.print_tokens {
        true => printed_tokens(&mut store::owner(&owner_url)?, &authenticator)?,
        false => Vec::new(),
    };
    let webhooks = Policy {
        allow_private: args.allow_private_webhooks,
    };
    let balances = balances(&database.settings, args.balances_megabytes);
    balances.warm();
    let provisions = match args.balances_megabytes {
        0 => Provisions::default(),
        _ => Provisions::remembering(),
    };
    let figures = Figures::default();
    let schema = graphql::serving(
        Feed::new(db.clone()),
        webhooks,
        balances.clone(),
        provisions,
        figures.clone(),
    );
    let endpoint = web::Data::new(GraphqlEndpoint {
        shape: Shape::of(&schema.sdl()),
        schema,
        limits: args.wire.limits(),
        timeout: args.wire.request_time(),
        store: db.clone(),
        objects: objects.clone(),
        balances,
        kept: Kept::within(args.answers_megabytes as usize * 1_000_000),
        authenticator,
        metrics: Metrics::with(&figures),
        tracer,
        limiter: Limiter::new(Rates {
            burst: args.rate_burst,
            per_second: args.rate_per_second,
            at_once: args.rate_at_once,
        }),
        closing: Closing::default(),
    });
    // Their own connection: they never wait for requests, nor requests for them. They stop after the server.
    let _jobs = (args.jobs == Switch::On && !args.no_jobs).then(|| {
        database.settings.pool_size = JOB_CONNECTIONS;
        database.settings.replica_url = None;
        let db = Db::open(&database.settings);
        let desk = rounds::Desk {
            db: db.clone(),
            objects,
            mailer,
        };
        let period = Duration::from_secs(args.job_seconds);
        jobs::start(
            &db,
            &figures,
            vec![
                webhook::job(webhooks),
                rounds::job(desk, period),
                audit::job(),
            ],
        )
    });
    let scheme = if tls.is_some() { "https" } else { "http" };
    say(&format!("listening on {scheme}://{address}"))?;
    if args.print_tokens && tokens.is_empty() {
        tracing::warn!("there is no company yet, so there is no token to print");
    }
    if let Some((_, token)) = tokens
        .iter()
        .find(|(role, _)| *role == Role::Admin)
        .filter(|_| !args.no_explorer)
    {
        say(&format!("{scheme}://{address}/#token={token}"))?;
    }
    for (role, token) in &tokens {
        say(&format!("{} {token}", role.code()))?;
    }
    if std::env::var_os("ENCOURS_STOP_ON_EOF").is_some() {
        stop_on_eof();
    }
    let wire = http::Wire {
        listener,
        tls: tls.zip(certificate),
        explorer: !args.no_explorer,
        max_connections: args.wire.max_connections as usize,
        head_time: Duration::from_secs(args.wire.head_seconds),
        notice: Duration::from_secs(args.stop_notice),
    };
    actix_web::rt::System::new().block_on(http::serve(wire, endpoint))?;
    Ok(())
}

/// Ends the server when standard input ends: whoever started it with a pipe takes it along, however it ends.
fn stop_on_eof() {
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM);
    });
}

/// One token per role of the first company, for its first member of that role, else for a script.
fn printed_tokens(
    conn: &mut Conn,
    authenticator: &Authenticator,
) -> anyhow::Result<Vec<(Role, String)>> {
    let Some(company) = store::company::all(conn)?
        .into_iter()
        .next()
        .map(|company| company.company_id)
    else {
        return Ok(Vec::new());
    };
    let members = store::member::members(conn, company)?;
    let mut tokens = Vec::new();
    for role in Role::ALL.iter().copied() {
        let mut caller = auth::script(company, role);
        match members.iter().find(|member| member.role == role.code()) {
            Some(member) => {
                caller.user = Some(member.user_id);
                caller.author.clone_from(&member.email);
            }
            // A sales token without a person opens nothing.
            None if role == Role::Sales => continue,
            None => {}
        }
        tokens.push((role, authenticator.issue(&caller, PRINTED_TTL)?.text));
    }
    Ok(tokens)
}

fn demo(options: &Options) -> anyhow::Result<()> {
    let database = Database::made(options)?;
    let Some(demo) = service::demo::load(
        &database.owner_url,
        &Db::open(&database.settings),
        auth::today(),
    )?
    else {
        bail!("there is a company already: the demo is loaded into an empty database only");
    };
    say(&demo.company.show())?;
    for (role, _, email) in &demo.members {
        say(&format!("{} {email}", role.code()))?;
    }
    Ok(())
}

fn create_company(args: &CreateCompany) -> anyhow::Result<()> {
    let database = Database::made(&args.options)?;
    let segregation = args.segregation == Switch::On;
    let id = database.owner()?.transaction(|conn| {
        service::company::create(
            conn,
            &args.name,
            args.siren.as_deref(),
            args.currency.code(),
            segregation,
            args.year_begins,
        )
    })?;
    say(&id.show())
}

fn import_receivables(args: &ImportReceivables) -> anyhow::Result<()> {
    let options = receivables::Options {
        mapping: mapping(args.mapping.as_deref())?,
        ignore_settlements: args.ignore_settlements,
    };
    let database = Database::open(&args.options)?;
    let company = known_company(&mut database.owner()?, args.company)?;
    let summary = receivables::import(
        &Db::open(&database.settings),
        &auth::script(company, Role::ArAccountant),
        &args.file,
        &options,
        tell_row,
    )
    .with_context(|| format!("cannot import {}", args.file.display()))?;
    say_imported(&args.file, &summary)
}

fn import_receipts(args: &ImportReceipts) -> anyhow::Result<()> {
    let mapping = mapping(args.mapping.as_deref())?;
    let database = Database::open(&args.options)?;
    let company = known_company(&mut database.owner()?, args.company)?;
    let summary = receipts::import(
        &Db::open(&database.settings),
        &auth::script(company, Role::ArAccountant),
        &args.file,
        mapping.as_deref(),
        tell_row,
    )
    .with_context(|| format!("cannot import {}", args.file.display()))?;
    say_imported(&args.file, &summary)
}

/// The text of a mapping.
fn mapping(path: Option<&Path>) -> anyhow::Result<Option<String>> {
    path.map(|path| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    })
    .transpose()
}

/// Tells of a row that was left out. Whoever reads standard error may be gone: the import goes on.
fn tell_row(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn say_imported(file: &Path, summary: &Summary) -> anyhow::Result<()> {
    if summary.finished_before {
        return say(&format!(
            "{} was imported before: {} rows, nothing to do",
            file.display(),
            summary.skipped
        ));
    }
    if summary.skipped > 0 {
        say(&format!("{} rows were dealt with before", summary.skipped))?;
    }
    let made = &summary.made;
    say(&format!(
        "{} rows read: {} invoices, {} credit notes, {} receipts, {} matchings, {} clients created, {} rows refused",
        summary.rows,
        made.invoices,
        made.credit_notes,
        made.receipts,
        made.allocations,
        made.clients,
        summary.refused
    ))?;
    if made.above_ceiling > 0 {
        say(&format!(
            "{} invoices have terms above the legal ceiling (C. com. L441-10)",
            made.above_ceiling
        ))?;
    }
    if summary.refused > 0 {
        bail!("{} rows were refused; the others are kept", summary.refused);
    }
    Ok(())
}

fn import_fec(args: &ImportFile) -> anyhow::Result<()> {
    let database = Database::open(&args.options)?;
    let company = known_company(&mut database.owner()?, args.company)?;
    let report = Db::open(&database.settings)
        .write_now(
            &auth::script(company, Role::ArAccountant),
            |conn, caller| service::fec::import(conn, caller, &args.file),
        )
        .with_context(|| format!("cannot import {}", args.file.display()))?;
    if report.imported_before {
        return say(&format!(
            "{} was imported before: nothing to do",
            args.file.display()
        ));
    }
    say(&format!(
        "{} lines, {} entries ({} opening entries known already): debit {}, credit {}; posted {} and {}",
        report.lines,
        report.entries,
        report.carried_entries,
        report.debit,
        report.credit,
        report.posted_debit,
        report.posted_credit
    ))?;
    say(&format!(
        "{} clients created, {} items, {} allocations, {} letters left open",
        report.clients_created, report.items, report.allocations, report.open_letters
    ))?;
    say(&format!(
        "receivables: {} in the file, {} in the items",
        report.receivables_in_file, report.receivables_in_items
    ))
}

fn import_bank(args: &ImportBank) -> anyhow::Result<()> {
    let ImportFile {
        options,
        file,
        company,
    } = &args.file;
    let database = Database::open(options)?;
    let company = known_company(&mut database.owner()?, *company)?;
    let how = service::bank::Options {
        allow_gap: args.allow_gap,
        exchange_rate: args.exchange_rate,
        file_name: file
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
    };
    let report = Db::open(&database.settings)
        .write_now(
            &auth::script(company, Role::ArAccountant),
            |conn, caller| service::bank::import(conn, caller, file, &how),
        )
        .with_context(|| format!("cannot import {}", file.display()))?;
    if report.imported_before {
        return say(&format!(
            "{} was imported before: nothing to do",
            file.display()
        ));
    }
    for statement in &report.statements {
        say(&format!(
            "statement {} of {}: {} movements, {} known before",
            statement.reference, statement.account, statement.lines, statement.known_before
        ))?;
    }
    for (status, count) in &report.outcomes {
        say(&format!("{status}: {count}"))?;
    }
    Ok(())
}

fn export_fec(args: &ExportFec) -> anyhow::Result<()> {
    let options = http::accounting::options(
        Some(&args.separator),
        Some(&args.encoding),
        args.partial_letters,
    )
    .map_err(Usage)?;
    let database = Database::open(&args.options)?;
    let company = known_company(&mut database.owner()?, args.company)?;
    let (caller, db) = (
        auth::script(company, Role::ArAccountant),
        Db::open(&database.settings),
    );
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot write into {}", args.out.display()))?;
    let unfinished = args.out.join(format!(".{}.fec.unfinished", company.show()));
    let written = std::fs::File::create(&unfinished)
        .with_context(|| format!("cannot write into {}", args.out.display()))
        .and_then(|file| {
            let (exported, text) = db.read_now(&caller, |conn, caller| {
                let out = io::BufWriter::new(file);
                let exported =
                    service::fec::export(conn, caller, Some(&db), args.year, options, out)?;
                let books = service::books::open(conn, caller)?;
                let text = service::fec::description(&books, args.year, &exported, options);
                Ok((exported, text))
            })?;
            // What cannot be written down does not leave.
            let bytes = std::fs::metadata(&unfinished)?.len();
            db.write_now(&caller, |conn, caller| {
                service::fec::note_exported(conn, caller, args.year, &exported, bytes)
            })?;
            Ok((exported, text))
        });
    let (exported, text) = match written {
        Ok(done) => done,
        Err(error) => {
            // A file that broke a rule gets no name.
            let _ = std::fs::remove_file(&unfinished);
            return Err(error.context("the FEC was not written"));
        }
    };
    let path = args.out.join(&exported.name);
    std::fs::rename(&unfinished, &path)?;
    std::fs::write(
        args.out
            .join(exported.name.replace(".txt", "_description.txt")),
        text,
    )?;
    say(&path.display().to_string())?;
    say(&format!(
        "{} lines, {} entries, debit {}, credit {}",
        exported.written.lines,
        exported.written.entries,
        exported.written.debit,
        exported.written.credit
    ))
}

fn token(args: &Token) -> anyhow::Result<()> {
    if args.role == Role::Sales && args.user.is_none() {
        tracing::warn!("a SALES token without --user has an empty portfolio: it sees no client");
    }
    let database = Database::open(&args.options)?;
    let mut conn = database.owner()?;
    let company = known_company(&mut conn, args.company)?;
    let caller = match &args.user {
        Some(email) => member(&mut conn, company, args.role, email)?,
        None => auth::script(company, args.role),
    };
    say(&authenticator(&args.options)?.issue(&caller, args.ttl)?.text)
}

fn known_company(conn: &mut Conn, company: CompanyId) -> anyhow::Result<CompanyId> {
    let found = store::company::load(conn, company)?
        .with_context(|| format!("no company {}", company.show()))?;
    Ok(found.company_id)
}

/// A person as a caller, in the role that the operator chose. Who is not known yet becomes a member.
fn member(conn: &mut Conn, company: CompanyId, role: Role, email: &str) -> anyhow::Result<Caller> {
    let email =
        encours::domain::identity::email(email).map_err(|why| Usage(format!("--user: {why}")))?;
    let user = store::member::save_user(conn, &email, &email, None)?;
    if !store::member::memberships_of(conn, user)?
        .iter()
        .any(|(known, _)| *known == company)
    {
        store::member::save_membership(conn, company, user, role.code())?;
        tracing::warn!(
            "{email} was not a member of the company: added as {}",
            role.code()
        );
    }
    Ok(Caller {
        user: Some(user),
        author: email,
        ..auth::script(company, role)
    })
}

fn add_member(args: &AddMember) -> anyhow::Result<()> {
    let database = Database::open(&args.options)?;
    let company = known_company(&mut database.owner()?, args.company)?;
    let caller = auth::script(company, Role::Admin);
    let (_, token) = Db::open(&database.settings).write_now(&caller, |conn, caller| {
        service::access::invite(conn, caller, &args.email, args.role)
    })?;
    say(&token)
}

fn list_members(args: &ListMembers) -> anyhow::Result<()> {
    let database = Database::open(&args.options)?;
    let mut conn = database.owner()?;
    let company = known_company(&mut conn, args.company)?;
    for member in store::member::members(&mut conn, company)? {
        say(&format!(
            "{}\t{}\t{}",
            member.role, member.email, member.name
        ))?;
    }
    for invited in store::account::pending(&mut conn, company)? {
        let until = invited.expires_at.date_naive();
        say(&format!(
            "{}\t{}\tinvited until {until}",
            invited.role, invited.email
        ))?;
    }
    Ok(())
}

fn disable_member(args: &DisableMember) -> anyhow::Result<()> {
    let database = Database::open(&args.options)?;
    database
        .owner()?
        .transaction(|conn| service::member::disable(conn, &args.email))
        .map_err(Into::into)
}

fn create_key(args: &CreateKey) -> anyhow::Result<()> {
    let database = Database::open(&args.options)?;
    let company = known_company(&mut database.owner()?, args.company)?;
    let caller = auth::script(company, Role::Admin);
    let (_, key) = Db::open(&database.settings).write_now(&caller, |conn, caller| {
        let scopes = service::access::scopes(&args.scopes, args.read_set_of)?;
        let expires_on = caller.today + chrono::Days::new(args.days);
        service::access::create_account(conn, caller, &args.name, &scopes, expires_on)
    })?;
    say(&key)
}

fn check(args: &Check) -> anyhow::Result<()> {
    let database = Database::open(&args.options)?;
    let mut conn = database.owner()?;
    let companies = match args.company {
        Some(company) => vec![known_company(&mut conn, company)?],
        None => store::company::ids(&mut conn)?,
    };
    if companies.is_empty() {
        bail!("there is no company in this database: nothing was checked");
    }
    for company in companies {
        // One snapshot, so that a booking under way is seen whole or not at all.
        let results = conn
            .build_transaction()
            .read_only()
            .repeatable_read()
            .run(|conn| {
                service::integrity::check(conn, company, service::integrity::Seals::Every)
            })?;
        for (code, description, broken) in &results {
            if let Some(fact) = broken {
                say(&format!("{code}: {fact}"))?;
                bail!(
                    "the books of company {} are broken: {description}",
                    company.show()
                );
            }
        }
        say(&format!(
            "{}: {} checks hold",
            company.show(),
            results.len()
        ))?;
    }
    Ok(())
}

/// Writes a line on standard output; a reader that left early is no fault.
fn say(line: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("standard output")
        }
        _ => Ok(()),
    }
}

/// The log goes to standard error; `ENCOURS_LOG` says how much of it, as in `info,encours=debug`, and
/// `ENCOURS_LOG_FORMAT=json` writes an object a line.
fn start_log(serving: bool) -> Result<(), String> {
    // What a client sends that is no HTTP is the client's fault, and nothing to wake anybody for.
    let usual = if serving {
        "info,actix_http=off"
    } else {
        "warn"
    };
    let text = |name: &str| std::env::var(name).ok().filter(|it| !it.is_empty());
    let wanted = text("ENCOURS_LOG").map(|wanted| {
        EnvFilter::try_new(&wanted).map_err(|error| format!("ENCOURS_LOG {wanted}: {error}"))
    });
    let format = text("ENCOURS_LOG_FORMAT").unwrap_or_else(|| "text".into());
    let (filter, mistake) = match wanted {
        Some(Ok(filter)) => (filter, None),
        Some(Err(mistake)) => (EnvFilter::new(usual), Some(mistake)),
        None => (EnvFilter::new(usual), None),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match format.as_str() {
        "json" => log.json().with_ansi(false).init(),
        _ => log.with_ansi(io::stderr().is_terminal()).init(),
    }
    match (mistake, format.as_str()) {
        (Some(mistake), _) => Err(mistake),
        (None, "json" | "text") => Ok(()),
        (None, other) => Err(format!("ENCOURS_LOG_FORMAT is json or text, not {other}")),
    }
}
