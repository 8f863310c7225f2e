//! The command line: every setting from a flag, else from the environment, checked once at start.

mod access;
mod reading;
mod serving;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use encours::domain::access::Role;
use encours::domain::identity;
use encours::domain::ids::{CompanyId, Id};
use encours::domain::money::Currency;
use encours::embedded;
use encours::http::auth::SECRET_BYTES;
use reading::secret;
use uuid::Uuid;

pub use access::Access;
pub use reading::{noted, read, unknown_variables};
pub use serving::Wire;

/// API server for accounts receivable (suivi des créances clients).
///
/// Exit status: 0 done, 1 refused or broken, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(name = "encours", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the API until interrupted
    Serve(Box<Serve>),
    /// Bring the database up to date
    Migrate(Options),
    /// Load the demo company, once
    Demo(Options),
    /// Work with companies
    #[command(subcommand)]
    Company(CompanyCommand),
    /// Work with the members of a company
    #[command(subcommand)]
    Member(MemberCommand),
    /// Work with keys of service accounts
    #[command(subcommand)]
    Key(KeyCommand),
    /// Load records of another system into a company
    #[command(subcommand)]
    Import(ImportCommand),
    /// Write files for others
    #[command(subcommand)]
    Export(ExportCommand),
    /// Do the background work once: reminders, mails, the day's tasks; for a scheduler of one's own
    Work(Work),
    /// Record a legal rate that was published: without it nothing that states interest can be computed from its day on
    #[command(subcommand)]
    Rate(RateCommand),
    /// Print an access token, alone on standard output
    Token(Token),
    /// Check the books; status 1 and the first broken fact when something is wrong
    Check(Check),
    /// Print the schema of the API in SDL
    Schema,
    /// Ask a running server whether it is well: status 0 or 1
    Health(Health),
}

impl Cli {
    /// Finishes what [`read`] began: secrets from files, and what is wrong with settings whatever else follows.
    pub fn check(&mut self, mistakes: &mut Vec<String>) {
        if let Some(options) = self.command.options() {
            options.check(mistakes);
        }
        match &mut self.command {
            Command::Serve(serve) => {
                serve.desk.take_files(mistakes);
                serve.wire.take_files(mistakes);
                serve.wire.check(mistakes);
            }
            Command::Work(work) => work.desk.take_files(mistakes),
            _ => {}
        }
    }
}

impl Command {
    fn options(&mut self) -> Option<&mut Options> {
        Some(match self {
            Command::Serve(args) => &mut args.options,
            Command::Migrate(options) | Command::Demo(options) => options,
            Command::Company(CompanyCommand::Create(args)) => &mut args.options,
            Command::Member(MemberCommand::Add(args)) => &mut args.options,
            Command::Member(MemberCommand::List(args)) => &mut args.options,
            Command::Member(MemberCommand::Disable(args)) => &mut args.options,
            Command::Key(KeyCommand::Create(args)) => &mut args.options,
            Command::Import(ImportCommand::Receivables(args)) => &mut args.options,
            Command::Import(ImportCommand::Receipts(args)) => &mut args.options,
            Command::Import(ImportCommand::Fec(args)) => &mut args.options,
            Command::Import(ImportCommand::Bank(args)) => &mut args.file.options,
            Command::Export(ExportCommand::Fec(args)) => &mut args.options,
            Command::Work(args) => &mut args.options,
            Command::Rate(RateCommand::Add(args)) => &mut args.options,
            Command::Token(args) => &mut args.options,
            Command::Check(args) => &mut args.options,
            Command::Schema | Command::Health(_) => return None,
        })
    }
}

/// Where the data is, for every command.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Directory of the private Postgres and of the token key [default: $XDG_DATA_HOME/encours or
    /// ~/.local/share/encours; for root /var/lib/encours]
    #[arg(long, value_name = "DIR", env = "ENCOURS_DATA")]
    data: Option<PathBuf>,

    /// Postgres to use, as the owner of the tables; without it a private one runs under the data directory
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,

    /// Same Postgres, as the serving role; without it the owner steps down to encours_app
    #[arg(
        long,
        value_name = "URL",
        env = "ENCOURS_APP_DATABASE_URL",
        hide_env_values = true
    )]
    app_database_url: Option<String>,

    /// Secret that signs tokens, 32 bytes or more; without it one is made and kept in the data directory
    #[arg(
        long,
        value_name = "SECRET",
        env = "ENCOURS_JWT_SECRET",
        hide_env_values = true
    )]
    jwt_secret: Option<String>,

    /// Directory of initdb and postgres, when they are not found by themselves
    #[arg(long, value_name = "DIR", env = "ENCOURS_PG_BIN")]
    pub pg_bin: Option<PathBuf>,
}

impl Options {
    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(embedded::default_data_dir)
    }

    /// The database as its owner sees it, when it is not a private one.
    pub fn database_url(&self) -> Option<&str> {
        filled(self.database_url.as_deref())
    }

    /// The same database as the serving role sees it.
    pub fn app_database_url(&self) -> Option<&str> {
        filled(self.app_database_url.as_deref())
    }

    /// The secret that signs tokens.
    pub fn jwt_secret(&self) -> Option<&str> {
        filled(self.jwt_secret.as_deref())
    }
}

impl Options {
    /// Reads secrets from the files that hold them, and looks at what can be looked at before anything is started.
    fn check(&mut self, mistakes: &mut Vec<String>) {
        let database = self.database_url.take();
        self.database_url = secret("DATABASE_URL", database, mistakes);
        let serving = self.app_database_url.take();
        self.app_database_url = secret("ENCOURS_APP_DATABASE_URL", serving, mistakes);
        let key = self.jwt_secret.take();
        self.jwt_secret = secret("ENCOURS_JWT_SECRET", key, mistakes);
        noted(mistakes, check_url("DATABASE_URL", self.database_url()));
        let serving = self.app_database_url();
        noted(mistakes, check_url("ENCOURS_APP_DATABASE_URL", serving));
        if serving.is_some() && self.database_url().is_none() {
            mistakes.push(
                "ENCOURS_APP_DATABASE_URL needs DATABASE_URL: the same database as its owner sees it"
                    .into(),
            );
        }
        if let Some(key) = self.jwt_secret().filter(|key| key.len() < SECRET_BYTES) {
            mistakes.push(format!(
                "ENCOURS_JWT_SECRET has {} bytes and needs {SECRET_BYTES} or more",
                key.len()
            ));
        }
    }
}

/// Whether a text can be the address of a database. It holds a password, so it is never shown.
fn check_url(name: &str, url: Option<&str>) -> Result<(), String> {
    let fits = url.is_none_or(|url| {
        url.starts_with("postgres://") || url.starts_with("postgresql://") || url.contains('=')
    });
    match fits {
        true => Ok(()),
        false => Err(format!(
            "{name} is no address of a Postgres: postgres://user:password@host/database"
        )),
    }
}

/// Yes or no, and nothing that could be either: a typing error opens nothing.
fn switched(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Ok(true),
        "off" | "false" | "no" | "0" | "" => Ok(false),
        _ => Err("on or off is expected".into()),
    }
}

fn sender(text: &str) -> Result<String, String> {
    match encours::mailer::is_sender(text) {
        true => Ok(text.to_owned()),
        false => Err("an address such as compta@example.com is expected".into()),
    }
}

/// An empty variable counts as one that is not set: container set-ups pass both the same way.
fn filled(value: Option<&str>) -> Option<&str> {
    value.filter(|text| !text.is_empty())
}

/// How to serve.
#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    pub options: Options,

    /// Address and port to listen on; port 0 takes a free one
    #[arg(
        long,
        value_name = "ADDR",
        env = "ENCOURS_LISTEN",
        default_value = "127.0.0.1:8080"
    )]
    pub listen: String,

    /// Load the demo company when there is no company yet
    #[arg(long)]
    pub demo: bool,

    /// Print a link to the explorer and a token per role of the first company, valid for 7 days
    #[arg(long)]
    pub print_tokens: bool,

    /// Database connections, and so requests that are worked on at once
    #[arg(long, value_name = "N", env = "ENCOURS_POOL_SIZE", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub pool_size: u32,

    /// Points that one caller can spend at once; a document costs what extensions.cost says
    #[arg(
        long,
        value_name = "N",
        env = "ENCOURS_RATE_BURST",
        default_value = "20000"
    )]
    pub rate_burst: std::num::NonZeroU32,

    /// Points that come back to a caller each second
    #[arg(
        long,
        value_name = "N",
        env = "ENCOURS_RATE_PER_SECOND",
        default_value = "200"
    )]
    pub rate_per_second: std::num::NonZeroU32,

    /// Requests of one caller that are worked on at once; the others wait for 5 s at most
    #[arg(long, value_name = "N", env = "ENCOURS_RATE_AT_ONCE", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate_at_once: u32,

    /// Seconds between SIGTERM and the end, in which the server is not ready any more but still answers, so that load
    /// balancers hear of it
    #[arg(long, value_name = "N", env = "ENCOURS_STOP_NOTICE", default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=300))]
    pub stop_notice: u64,

    /// Do not serve the explorer page at /
    #[arg(long)]
    pub no_explorer: bool,

    #[command(flatten)]
    pub wire: Wire,

    #[command(flatten)]
    pub access: Access,

    #[command(flatten)]
    pub desk: DeskOptions,

    /// Work in the background: reminders, mails, the day's tasks, webhooks; several servers share that work
    #[arg(long, value_enum, env = "ENCOURS_JOBS", default_value_t = Switch::On)]
    pub jobs: Switch,

    /// The same as --jobs off
    #[arg(long)]
    pub no_jobs: bool,

    /// Seconds between two rounds of reminders, mails and tasks
    #[arg(long, value_name = "N", env = "ENCOURS_JOB_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub job_seconds: u64,

    /// Memory for aged balances, in MB: they are then answered from memory, exactly; 0 asks the database each time
    #[arg(long, value_name = "MB", env = "ENCOURS_BALANCES_MEGABYTES", default_value_t = 256, value_parser = clap::value_parser!(u32).range(0..=65536))]
    pub balances_megabytes: u32,

    /// Memory for answers that are kept, in MB: asked again, they are given again while nothing of what they show has
    /// changed; 0 works each out anew
    #[arg(long, value_name = "MB", env = "ENCOURS_ANSWERS_MEGABYTES", default_value_t = 16, value_parser = clap::value_parser!(u32).range(0..=65536))]
    pub answers_megabytes: u32,

    /// Send webhooks to loopback, link-local and private addresses too
    #[arg(long, env = "ENCOURS_ALLOW_PRIVATE_WEBHOOKS", value_parser = switched)]
    pub allow_private_webhooks: bool,
}

/// Files and mail.
#[derive(Debug, Args)]
pub struct DeskOptions {
    /// Where attached files are: a directory, or s3://bucket/prefix?endpoint=https://…&region=… with the keys in
    /// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY [default: files in the data directory]
    #[arg(long, value_name = "PLACE", env = "ENCOURS_FILES")]
    pub files: Option<String>,

    /// Mail server, as smtp://user:password@host:587?tls=required; without it mails wait in the outbox
    #[arg(
        long,
        value_name = "URL",
        env = "ENCOURS_SMTP_URL",
        hide_env_values = true
    )]
    pub smtp_url: Option<String>,

    /// Address that mails come from; answers go to the company's own
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "ENCOURS_MAIL_FROM",
        default_value = "no-reply@localhost.localdomain",
        value_parser = sender
    )]
    pub mail_from: String,

    /// Keys of the bucket that `--files` names, from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
    #[arg(skip)]
    pub bucket_keys: Option<(String, String)>,
}

impl DeskOptions {
    fn take_files(&mut self, mistakes: &mut Vec<String>) {
        let url = self.smtp_url.take();
        self.smtp_url = secret("ENCOURS_SMTP_URL", url, mistakes);
        let mut key = |name: &str| secret(name, std::env::var(name).ok(), mistakes);
        let keys = (key("AWS_ACCESS_KEY_ID"), key("AWS_SECRET_ACCESS_KEY"));
        self.bucket_keys = keys.0.zip(keys.1);
    }
}

/// What to do with companies.
#[derive(Debug, Subcommand)]
pub enum CompanyCommand {
    /// Create a company and print its id, alone on standard output
    Create(CreateCompany),
}

/// A new company.
#[derive(Debug, Args)]
pub struct CreateCompany {
    #[command(flatten)]
    pub options: Options,

    /// Its name
    #[arg(long)]
    pub name: String,

    /// Its SIREN: 9 digits
    #[arg(long, value_name = "N", value_parser = identity::siren)]
    pub siren: Option<String>,

    /// The currency of its books, ISO 4217
    #[arg(long, value_name = "CODE", default_value = "EUR")]
    pub currency: Currency,

    /// Segregation of duties (séparation des tâches): whoever decides a dispute does not close it
    #[arg(long, value_enum, default_value_t = Switch::On)]
    pub segregation: Switch,

    /// The month its financial year begins in (exercice), 1 to 12; it stays so
    #[arg(long, value_name = "MONTH", default_value_t = 1, value_parser = clap::value_parser!(i16).range(1..=12))]
    pub year_begins: i16,
}

/// On or off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

/// What to do with members.
#[derive(Debug, Subcommand)]
pub enum MemberCommand {
    /// Invite a person and print the invitation's token, alone on standard output
    Add(AddMember),
    /// Print the members, and those who were invited
    List(ListMembers),
    /// Keep a person out of every company, at once and for good
    Disable(DisableMember),
}

/// A person to invite. Whoever has the token accepts with POST /auth/accept, once, within seven days.
#[derive(Debug, Args)]
pub struct AddMember {
    #[command(flatten)]
    pub options: Options,

    /// The company
    #[arg(long, value_name = "ID", value_parser = company)]
    pub company: CompanyId,

    /// E-mail address, which will log in
    #[arg(long)]
    pub email: String,

    /// ADMIN, DIRECTOR, CREDIT_MANAGER, AR_ACCOUNTANT, SALES, AUDITOR or BI_READER
    #[arg(long, value_parser = role)]
    pub role: Role,
}

/// Whose members to print: role, e-mail address and name, with tabs between.
#[derive(Debug, Args)]
pub struct ListMembers {
    #[command(flatten)]
    pub options: Options,

    /// The company
    #[arg(long, value_name = "ID", value_parser = company)]
    pub company: CompanyId,
}

/// Whom to keep out. Sessions end within seconds; tokens that the command line printed stay valid to their end.
#[derive(Debug, Args)]
pub struct DisableMember {
    #[command(flatten)]
    pub options: Options,

    /// E-mail address of the person
    #[arg(value_name = "EMAIL")]
    pub email: String,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Create a service account and print its key, alone on standard output
    Create(CreateKey),
}

/// A service account to create.
#[derive(Debug, Args)]
pub struct CreateKey {
    #[command(flatten)]
    pub options: Options,

    /// The company
    #[arg(long, value_name = "ID", value_parser = company)]
    pub company: CompanyId,

    /// What it is called
    #[arg(long)]
    pub name: String,

    /// What it may do, with commas between, such as READ_DOCUMENTS,RECORD_PAYMENTS
    #[arg(long, value_name = "CODES", value_delimiter = ',')]
    pub scopes: Vec<String>,

    /// It may also read what this role reads
    #[arg(long, value_name = "ROLE", value_parser = role)]
    pub read_set_of: Option<Role>,

    /// How many days the key is valid
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u64).range(0..=731))]
    pub days: u64,
}

/// What to load.
#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// Load invoices, credit notes and their settlements from a CSV file
    Receivables(ImportReceivables),
    /// Load receipts and what they settled from a CSV file
    Receipts(ImportReceipts),
    /// Take in a FEC (fichier des écritures comptables) of any software, whole or not at all
    Fec(ImportFile),
    /// Take in a bank statement (camt.053, camt.054, CFONB 120) and match its movements
    Bank(ImportBank),
}

/// What to write.
#[derive(Debug, Subcommand)]
pub enum ExportCommand {
    /// Write the FEC of a financial year, checked, with the text that accompanies it
    Fec(ExportFec),
}

/// The columns of receipts, for `--help`.
const RECEIPTS_HELP: &str = "How the file's columns are named and written, in TOML.

Columns, by our own names when the mapping has none:
  number        needed; rows with the same number one after another are one receipt
  client        needed
  receivedOn    needed
  amount        needed: of the whole receipt
  currency      the company's when empty
  exchangeRate  needed for another currency: what 1 of it is worth in the company's
  method        TRANSFER when empty; CHEQUE (waits on a slip), CARD, DIRECT_DEBIT, CASH
  invoice       the number of the invoice that the row settles; nothing when empty
  allocated     how much of it; as much as both have open when empty
  matchedOn     the day of the matching, if later than the receipt

  dateFormat, decimalSeparator, delimiter, currency and [columns] as for receivables";

/// The columns of receivables, for `--help`.
const MAPPING_HELP: &str = "How the file's columns are named and written, in TOML.

Columns, by our own names when the mapping has none:
  client        needed; an unknown client is created
  clientName
  number        needed
  issuedOn      needed
  dueOn         by the client's terms when empty
  amount        needed, VAT included; a credit note when negative
  currency      the company's when empty
  exchangeRate  needed for another currency: what 1 of it is worth in the company's
  settledOn     a receipt of the whole amount on that day; of a credit note, the day it was set against its invoice
  vatRate       percent; no VAT when empty, and the invoice's rates for a credit note on one
  creditOf      of a credit note: the number of the invoice it corrects, which it settles as far as it is open

  dateFormat = \"%d/%m/%Y\"     # %Y-%m-%d when absent
  decimalSeparator = \",\"      # a point when absent
  delimiter = \";\"             # found in the header when absent
  currency = \"EUR\"            # of rows that name none
  [columns]
  client = \"Code client\"
  number = \"N° facture\"";

/// A file to take in.
#[derive(Debug, Args)]
pub struct ImportFile {
    #[command(flatten)]
    pub options: Options,

    /// The file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// The company to load it into
    #[arg(long, value_name = "ID", value_parser = company)]
    pub company: CompanyId,
}

/// A bank file to take in.
#[derive(Debug, Args)]
pub struct ImportBank {
    #[command(flatten)]
    pub file: ImportFile,

    /// Take a statement although one is missing before it
    #[arg(long)]
    pub allow_gap: bool,

    /// Company-currency units for one unit of the account's currency, when they differ
    #[arg(long, value_name = "RATE")]
    pub exchange_rate: Option<rust_decimal::Decimal>,
}

/// Writes SirenFECAAAAMMJJ.txt and its description into a directory; nothing when a rule of the FEC is broken.
#[derive(Debug, Args)]
pub struct ExportFec {
    #[command(flatten)]
    pub options: Options,

    /// The company
    #[arg(long, value_name = "ID", value_parser = company)]
    pub company: CompanyId,

    /// The financial year, named by the calendar year of its closing day
    #[arg(long, value_name = "YYYY")]
    pub year: i32,

    /// The directory to write into
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Between fields: tab or pipe
    #[arg(long, default_value = "tab")]
    pub separator: String,

    /// utf-8 or iso-8859-15
    #[arg(long, default_value = "utf-8")]
    pub encoding: String,

    /// Write partial letters too, in lower case: for another encours, not for the tax authority
    #[arg(long)]
    pub partial_letters: bool,
}

/// Loads invoices and credit notes, and a receipt for each invoice that was settled, from a CSV file with a header.
///
/// Columns go by these names: client, number, issuedOn, amount (all four needed; the amount includes VAT),
/// clientName, dueOn, currency, exchangeRate, settledOn, vatRate, creditOf. A mapping in TOML names others under [columns], and sets
/// dateFormat (%Y-%m-%d), decimalSeparator (.), delimiter (found in the header) and currency (the company's).
/// The header of the IBM sample of receivables is known. Clients not known yet are created.
///
/// A bad row is left out and told on standard error, as FILE:LINE: COLUMN: reason; the good rows are kept, and the
/// status is 1 then. The same file again goes on where it stopped, and does nothing once it is done: put
/// corrected rows in a file of their own.
#[derive(Debug, Args)]
pub struct ImportReceivables {
    #[command(flatten)]
    pub options: Options,

    /// The CSV file, in UTF-8
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// The company to load it into
    #[arg(long, value_name = "ID", value_parser = company)]
    pub company: CompanyId,

    /// How the file's columns are named and written, in TOML: `[columns]` gives the file's name of each
    #[arg(long, value_name = "FILE", long_help = MAPPING_HELP)]
    pub mapping: Option<PathBuf>,

    /// Leave the settlement days aside: every invoice stays open
    #[arg(long)]
    pub ignore_settlements: bool,
}

/// Loads receipts and what they settled from a CSV file with a header; the clients and invoices are there already.
///
/// Columns go by these names: number, client, receivedOn, amount (all four needed), currency, exchangeRate, method,
/// invoice, allocated, matchedOn. A mapping in TOML names others under [columns], as for receivables.
///
/// The rows of a receipt go in together or not at all. Bad rows are left out and told as for receivables; the same
/// file again goes on where it stopped, and does nothing once it is done.
#[derive(Debug, Args)]
pub struct ImportReceipts {
    #[command(flatten)]
    pub options: Options,

    /// The CSV file, in UTF-8
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// The company to load it into
    #[arg(long, value_name = "ID", value_parser = company)]
    pub company: CompanyId,

    /// How the file's columns are named and written, in TOML: `[columns]` gives the file's name of each
    #[arg(long, value_name = "FILE", long_help = RECEIPTS_HELP)]
    pub mapping: Option<PathBuf>,
}

/// What to do with legal rates.
#[derive(Debug, Subcommand)]
pub enum RateCommand {
    /// Record a rate with its period and its source; a rate that is recorded never changes
    Add(AddRate),
}

/// A legal rate.
#[derive(Debug, Args)]
pub struct AddRate {
    #[command(flatten)]
    pub options: Options,

    /// ECB_REFINANCING, LEGAL_INTEREST_PROFESSIONAL, or another kind of the query legalRates
    #[arg(long)]
    pub kind: String,

    /// First day
    #[arg(long, value_name = "DATE")]
    pub from: chrono::NaiveDate,

    /// Last day; without it the rate holds until further notice
    #[arg(long, value_name = "DATE")]
    pub to: Option<chrono::NaiveDate>,

    /// Its value, in the unit of its kind
    #[arg(long)]
    pub value: rust_decimal::Decimal,

    /// Where it was published
    #[arg(long)]
    pub source: String,
}

/// Work to do once.
#[derive(Debug, Args)]
pub struct Work {
    #[command(flatten)]
    pub options: Options,

    #[command(flatten)]
    pub desk: DeskOptions,

    /// Only of this company, whether or not a server is at work; without it of all of them, unless one is
    #[arg(long, value_name = "ID", value_parser = company)]
    pub company: Option<CompanyId>,
}

/// A token to make.
#[derive(Debug, Args)]
pub struct Token {
    #[command(flatten)]
    pub options: Options,

    /// The only company that the token opens
    #[arg(long, value_name = "ID", value_parser = company)]
    pub company: CompanyId,

    /// ADMIN, DIRECTOR, CREDIT_MANAGER, AR_ACCOUNTANT, SALES, AUDITOR or BI_READER
    #[arg(long, value_parser = role)]
    pub role: Role,

    /// The member that it is for; without one it is for a script. SALES needs one: a portfolio has an owner
    #[arg(long, value_name = "EMAIL")]
    pub user: Option<String>,

    /// How long it is valid, such as 30m, 1h or 7d; at most 366d
    #[arg(long, default_value = "1h", value_parser = duration)]
    pub ttl: Duration,
}

/// What to check.
#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    pub options: Options,

    /// The company to check; without it every company
    #[arg(long, value_name = "ID", value_parser = company)]
    pub company: Option<CompanyId>,
}

/// Whom to ask.
#[derive(Debug, Args)]
pub struct Health {
    /// Address and port that the server listens on
    #[arg(
        long,
        value_name = "ADDR",
        env = "ENCOURS_LISTEN",
        default_value = "127.0.0.1:8080"
    )]
    pub listen: String,

    /// The server speaks TLS. Its certificate is not looked at: this machine asks itself
    #[arg(long, env = "ENCOURS_TLS_CERT", value_parser = clap::builder::FalseyValueParser::new())]
    pub tls: bool,
}

fn company(text: &str) -> Result<CompanyId, String> {
    CompanyId::read(text)
        .or_else(|| Uuid::try_parse(text).ok().map(CompanyId))
        .ok_or_else(|| "a company id looks like com_0199…; `company create` prints it".into())
}

fn role(text: &str) -> Result<Role, String> {
    Role::read(&text.to_ascii_uppercase()).ok_or_else(|| {
        let known: Vec<_> = Role::ALL.iter().map(|role| role.code()).collect();
        format!("a role is one of {}", known.join(", "))
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    const SHAPE: &str = "a duration looks like 30m, 1h or 7d, and is at most 366d";
    const DAY: u64 = 24 * 60 * 60;
    let digits = text.trim_end_matches(|sign: char| sign.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => DAY,
        _ => return Err(SHAPE.into()),
    };
    let seconds = digits
        .parse::<u64>()
        .ok()
        .and_then(|count| count.checked_mul(unit));
    seconds
        .filter(|seconds| (1..=366 * DAY).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| SHAPE.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_a_unit_and_a_limit() {
        assert_eq!(duration("30m"), Ok(Duration::from_secs(1800)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for bad in [
            "",
            "1",
            "h",
            "0h",
            "-1h",
            "367d",
            "1w",
            "1hh",
            "99999999999999999999d",
            "é",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_company_is_named_by_its_id_or_its_uuid() {
        let id = CompanyId::new();
        assert_eq!(company(&id.show()), Ok(id));
        assert_eq!(company(&id.uuid().to_string()), Ok(id));
        assert!(company("cli_0199").is_err());
    }
}
