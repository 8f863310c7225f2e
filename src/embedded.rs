//! The private Postgres cluster: finds the binaries, creates it, starts it, watches it, stops it.
//!
//! Under the data directory: `postgres/` (the cluster), `run` (its socket directory, or a link to a shorter one),
//! `postgres.log`, and two lock files. `start.lock` is held while a process starts, attaches or stops. `users.lock` is
//! held, shared, by every process that uses the cluster: the last one to leave stops it, whoever started it. The kernel
//! drops these locks with the process, so a killed server leaves nothing to clean up: the next one attaches to the
//! orphan or starts afresh.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{
    DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink,
};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use diesel::prelude::*;
use rustix::process::{Pid, Signal, geteuid, kill_process, test_kill_process};

/// The role that owns the cluster. Trusted on the socket, which only its own account and root can reach.
pub const SUPERUSER: &str = "encours";
/// The database that [`Cluster::start`] creates.
pub const DATABASE: &str = "encours";

const OLDEST_MAJOR: u32 = 14;
const PID_FILE: &str = "postmaster.pid";
const SOCKET: &str = ".s.PGSQL.5432";
// The kernel takes 107 bytes on Linux and 103 on macOS.
const LONGEST_SOCKET_PATH: usize = 100;
// Crash recovery of a full WAL takes this long on a slow disk.
const START_WITHIN: Duration = Duration::from_secs(120);
// Backends outlive a killed postmaster for a moment, and hold its shared memory.
const LEFTOVERS_GONE_WITHIN: Duration = Duration::from_secs(20);
const STOP_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(15);

/// Where the cluster lives and how it runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Directory of the cluster, its socket, its log and its locks; made when absent.
    pub data_dir: PathBuf,
    /// False turns `fsync` off: faster, and a power cut may destroy the cluster. For tests only.
    pub durable: bool,
    /// Directory of `initdb` and `postgres`; searched for when absent.
    pub pg_bin: Option<PathBuf>,
}

/// Why there is no private Postgres.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "no PostgreSQL server (>= {OLDEST_MAJOR}) found{tried}; install one ({install}), or name its directory \
         in ENCOURS_PG_BIN, or name a running server in DATABASE_URL"
    )]
    NoBinaries {
        tried: String,
        install: &'static str,
    },
    #[error(
        "{dir} was made by PostgreSQL {cluster}, but the binaries found are: {found}. Install PostgreSQL {cluster}, or \
         move the data over with pg_upgrade, or with pg_dump {cluster} and a fresh data directory",
        dir = dir.display()
    )]
    WrongVersion {
        dir: PathBuf,
        cluster: u32,
        found: String,
    },
    #[error("{path} is not empty and is not a PostgreSQL cluster: move it away or choose another data directory",
        path = .0.display())]
    NotACluster(PathBuf),
    #[error(
        "PostgreSQL does not run as root, and the account it runs as here (uid {uid}) may not enter {dir}: choose a data \
         directory elsewhere (such as /var/lib/encours), or allow it with chmod o+x",
        dir = dir.display()
    )]
    NotTraversable { dir: PathBuf, uid: u32 },
    #[error("the path {0:?} is not UTF-8")]
    NotUtf8(PathBuf),
    #[error("no directory is fit for the socket of PostgreSQL: set TMPDIR to a short path")]
    NoSocketDirectory,
    #[error("initdb failed: {0}")]
    Initdb(String),
    #[error("postgres stopped while starting: {0}")]
    Exited(String),
    #[error("postgres is not ready after {} s: {last}", START_WITHIN.as_secs())]
    NotReady { last: String },
    #[error("another process has been starting or stopping the cluster for {} s: {}", START_WITHIN.as_secs(), .0.display())]
    Locked(PathBuf),
    #[error("the database {DATABASE} cannot be created: {0}")]
    Database(#[from] diesel::result::Error),
}

type Result<T> = std::result::Result<T, EmbeddedError>;

/// A running cluster that this process uses. Dropping it is [`Cluster::stop`].
#[derive(Debug)]
pub struct Cluster {
    layout: Layout,
    postgres: PathBuf,
    socket_dir: String,
    durable: bool,
    /// Present when this process started the server.
    child: Option<Child>,
    /// The shared lock on `users.lock`; absent once stopped.
    using: Option<File>,
}

/// Whether a data directory holds a private Postgres.
pub fn exists(data_dir: &Path) -> bool {
    data_dir.join("postgres").join("PG_VERSION").exists()
}

/// `$XDG_DATA_HOME/encours`, else `~/.local/share/encours`; for root, `/var/lib/encours`.
pub fn default_data_dir() -> PathBuf {
    if geteuid().is_root() {
        return PathBuf::from("/var/lib/encours");
    }
    let named = |variable| {
        env::var_os(variable)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    named("XDG_DATA_HOME")
        .or_else(|| named("HOME").map(|home| home.join(".local/share")))
        .map_or_else(
            || PathBuf::from("encours-data"),
            |share| share.join("encours"),
        )
}

impl Cluster {
    /// Attaches to the server of this data directory, or starts it; makes the cluster and its database when absent.
    pub fn start(settings: &Settings) -> Result<Cluster> {
        let layout = Layout::prepare(&settings.data_dir)?;
        let starting = layout.lock_start()?;
        layout.remove_half_made();
        let postgres = layout.find_binaries(settings)?;
        let socket_dir = layout.socket_dir()?;
        let using = open_lock(&layout.users_lock())?;
        // Exclusive locks are only tried under `start.lock`, which is ours: this does not wait.
        using.lock_shared().map_err(at(&layout.users_lock()))?;
        let mut cluster = Cluster {
            layout,
            postgres,
            socket_dir,
            durable: settings.durable,
            child: None,
            using: None,
        };
        cluster.attach_or_launch()?;
        cluster.using = Some(using);
        let ready = cluster.ensure_database();
        // Before the cluster may be dropped: stopping takes this lock.
        drop(starting);
        ready.map(|()| cluster)
    }

    /// The libpq connection string of a login role and a database, over the socket.
    pub fn url(&self, role: &str, database: &str) -> String {
        format!(
            "host={} port=5432 user={} dbname={}",
            quoted(&self.socket_dir),
            quoted(role),
            quoted(database)
        )
    }

    /// Whether this process started the server, rather than attached to it.
    pub fn owned(&self) -> bool {
        self.child.is_some()
    }

    /// Whether the server is there. Cheap enough to ask every second.
    pub fn is_alive(&mut self) -> bool {
        if self.child_runs() {
            return true;
        }
        // Another process may have restarted it.
        self.child = None;
        self.answers()
    }

    /// Brings back a server that died; attaches when another process was faster.
    pub fn restart(&mut self) -> Result<()> {
        let _starting = self.layout.lock_start()?;
        if !self.child_runs() {
            self.child = None;
        }
        self.attach_or_launch()
    }

    /// Stops the server, unless another process uses it: then the last of them will. Closes open connections.
    pub fn stop(&mut self) {
        let Some(using) = self.using.take() else {
            return;
        };
        let Ok(_starting) = self.layout.lock_start() else {
            return;
        };
        drop(using);
        let alone =
            open_lock(&self.layout.users_lock()).is_ok_and(|users| users.try_lock().is_ok());
        if alone {
            self.shut_down();
        }
        self.child = None;
    }

    fn attach_or_launch(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_WITHIN;
        let patience = Instant::now() + LEFTOVERS_GONE_WITHIN;
        loop {
            // A server that is there but not ready is starting, recovering or stopping: wait until it is one or the other.
            if self.answers() {
                match self.connect("postgres") {
                    Ok(_) => return Ok(()),
                    Err(error) if Instant::now() > deadline => return Err(not_ready(error)),
                    Err(_) => thread::sleep(POLL),
                }
                continue;
            }
            match self.launch(deadline) {
                Err(EmbeddedError::Exited(why))
                    if is_held_by_leftovers(&why) && Instant::now() < patience =>
                {
                    thread::sleep(POLL * 10);
                }
                launched => return launched,
            }
        }
    }

    fn launch(&mut self, deadline: Instant) -> Result<()> {
        self.layout.disown_stale_locks(&self.socket_dir)?;
        let mut log = self.layout.open_log()?;
        let from = log.seek(SeekFrom::End(0)).map_err(at(&self.layout.log()))?;
        let mut child = self.spawn(log)?;
        self.await_ready(&mut child, from, deadline)
            .inspect_err(|_| end(&mut child))?;
        self.child = Some(child);
        Ok(())
    }

    fn spawn(&self, log: File) -> Result<Child> {
        let mut server = self.layout.command(&self.postgres);
        server.process_group(0).stdout(Stdio::null()).stderr(log);
        server.arg("-D").arg(self.layout.pgdata());
        server.arg("-c").arg(format!(
            "unix_socket_directories=\"{}\"",
            self.socket_dir.replace('"', "\"\"")
        ));
        let unsafe_settings = if self.durable {
            &[]
        } else {
            THROWAWAY_SETTINGS
        };
        for setting in SERVER_SETTINGS.iter().chain(unsafe_settings) {
            server.arg("-c").arg(setting);
        }
        server.spawn().map_err(at(&self.postgres))
    }

    fn await_ready(&self, child: &mut Child, log_from: u64, deadline: Instant) -> Result<()> {
        loop {
            if let Some(status) = child.try_wait().map_err(at(&self.postgres))? {
                return Err(EmbeddedError::Exited(format!(
                    "{status}\n{}",
                    self.layout.log_since(log_from)
                )));
            }
            match self.connect("postgres") {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(not_ready(error)),
                Err(_) => thread::sleep(POLL),
            }
        }
    }

    fn ensure_database(&self) -> Result<()> {
        let Err(_) = self.connect(DATABASE) else {
            return Ok(());
        };
        let mut conn = self.connect("postgres").map_err(not_ready)?;
        diesel::sql_query(format!("create database {DATABASE}")).execute(&mut conn)?;
        Ok(())
    }

    fn shut_down(&mut self) {
        if !self.is_alive() {
            return;
        }
        let pid = match &self.child {
            Some(child) => Some(Pid::from_child(child)),
            None => self.layout.server_pid().and_then(Pid::from_raw),
        };
        let Some(pid) = pid else { return };
        for signal in [Signal::INT, Signal::QUIT] {
            let _ = kill_process(pid, signal);
            let deadline = Instant::now() + STOP_WITHIN;
            while Instant::now() < deadline {
                if self.is_gone(pid) {
                    self.layout.remove_short_socket_dir();
                    return;
                }
                thread::sleep(POLL);
            }
        }
    }

    fn child_runs(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    fn is_gone(&mut self, pid: Pid) -> bool {
        if self.child.is_some() {
            return !self.child_runs();
        }
        // An orphan may stay a zombie where process 1 reaps nothing: its pid file tells.
        self.layout.server_pid() != Some(pid.as_raw_pid())
            || test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
    }

    fn answers(&self) -> bool {
        UnixStream::connect(Path::new(&self.socket_dir).join(SOCKET)).is_ok()
    }

    fn connect(&self, database: &str) -> ConnectionResult<PgConnection> {
        PgConnection::establish(&self.url(SUPERUSER, database))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

const SERVER_SETTINGS: &[&str] = &[
    "listen_addresses=",
    "port=5432",
    "unix_socket_permissions=0700",
    "timezone=UTC",
    "log_timezone=UTC",
    "lc_messages=C",
    // Statements and details hold bank data, and the application reports its own errors.
    "log_min_messages=log",
    "log_min_error_statement=panic",
    "log_error_verbosity=terse",
    "log_checkpoints=off",
];
const THROWAWAY_SETTINGS: &[&str] = &[
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
];

/// The paths of one data directory, and the account that may own them.
#[derive(Debug)]
struct Layout {
    dir: PathBuf,
    /// Whom Postgres runs as. Present when this process is root: Postgres refuses to be.
    account: Option<Account>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Account {
    uid: u32,
    gid: u32,
}

impl Layout {
    fn prepare(data_dir: &Path) -> Result<Layout> {
        let wanted = std::path::absolute(data_dir).map_err(at(data_dir))?;
        let account = geteuid()
            .is_root()
            .then(|| choose_account(&wanted.join("postgres")));
        let missing: Vec<_> = wanted.ancestors().take_while(|dir| !dir.exists()).collect();
        if let Some(account) = account {
            let deepest = wanted.ancestors().nth(missing.len()).unwrap_or(&wanted);
            open_the_way(deepest, deepest == wanted, account)?;
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&wanted)
            .map_err(at(&wanted))?;
        for dir in missing.iter().filter(|_| account.is_some()) {
            fs::set_permissions(dir, Permissions::from_mode(0o711)).map_err(at(dir))?;
        }
        let dir = wanted.canonicalize().map_err(at(&wanted))?;
        Ok(Layout { dir, account })
    }

    fn pgdata(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    fn log(&self) -> PathBuf {
        self.dir.join("postgres.log")
    }

    fn users_lock(&self) -> PathBuf {
        self.dir.join("users.lock")
    }

    fn lock_start(&self) -> Result<File> {
        let path = self.dir.join("start.lock");
        let file = open_lock(&path)?;
        let deadline = Instant::now() + START_WITHIN;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(POLL),
                Err(TryLockError::WouldBlock) => return Err(EmbeddedError::Locked(path)),
                Err(TryLockError::Error(source)) => return Err(EmbeddedError::Io { path, source }),
            }
        }
    }

    /// A program of Postgres, run as its account, with nothing of our environment.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::null());
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }

    /// The `postgres` to run. Makes the cluster when there is none; never touches one of another major version.
    fn find_binaries(&self, settings: &Settings) -> Result<PathBuf> {
        let named = settings
            .pg_bin
            .clone()
            .or_else(|| env::var_os("ENCOURS_PG_BIN").map(PathBuf::from));
        let mut found: Vec<Binaries> = Vec::new();
        for dir in named.map_or_else(bin_dirs, |dir| vec![dir]) {
            if let Some(binaries) = self.binaries_in(&dir).filter(|new| !found.contains(new)) {
                found.push(binaries);
            }
        }
        let cluster = self.cluster_version()?;
        let fit = match cluster {
            Some(cluster) => found.iter().find(|binaries| binaries.major == cluster),
            None => found.iter().find(|binaries| binaries.major >= OLDEST_MAJOR),
        };
        match (fit, cluster) {
            (Some(fit), None) => self.create_cluster(&fit.dir.join("initdb"), settings.durable)?,
            (None, Some(cluster)) if !found.is_empty() => {
                return Err(EmbeddedError::WrongVersion {
                    dir: self.pgdata(),
                    cluster,
                    found: listed(&found),
                });
            }
            _ => {}
        }
        fit.map(|fit| fit.dir.join("postgres"))
            .ok_or_else(|| no_binaries(&found))
    }

    fn cluster_version(&self) -> Result<Option<u32>> {
        let pgdata = self.pgdata();
        if let Ok(version) = fs::read_to_string(pgdata.join("PG_VERSION")) {
            return version
                .trim()
                .parse()
                .map(Some)
                .map_err(|_| EmbeddedError::NotACluster(pgdata));
        }
        match fs::read_dir(&pgdata) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Ok(mut entries) => match entries.next() {
                None => Ok(None),
                Some(_) => Err(EmbeddedError::NotACluster(pgdata)),
            },
            Err(error) => Err(at(&pgdata)(error)),
        }
    }

    fn binaries_in(&self, dir: &Path) -> Option<Binaries> {
        let dir = dir
            .canonicalize()
            .ok()
            .filter(|dir| dir.join("initdb").exists())?;
        let version = self
            .command(&dir.join("postgres"))
            .arg("--version")
            .output()
            .ok()?;
        let major = major_version(&String::from_utf8_lossy(&version.stdout))?;
        Some(Binaries { dir, major })
    }

    /// Made beside its final place and renamed when whole: a first start that was killed leaves no half cluster.
    fn create_cluster(&self, initdb: &Path, durable: bool) -> Result<()> {
        let half = self.dir.join(format!("{HALF_MADE}{}", std::process::id()));
        self.make_private(&half)?;
        let run = |arguments: &[&str]| -> Result<()> {
            let done = self
                .command(initdb)
                .process_group(0)
                .arg("-D")
                .arg(&half)
                .args(arguments)
                .output();
            let done = done.map_err(at(initdb))?;
            match done.status.success() {
                true => Ok(()),
                false => Err(EmbeddedError::Initdb(
                    String::from_utf8_lossy(&done.stderr).trim().to_owned(),
                )),
            }
        };
        let arguments = [
            "-U",
            SUPERUSER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        ];
        let synced = |()| {
            if durable {
                run(&["--sync-only"])
            } else {
                Ok(())
            }
        };
        run(&arguments)
            .and_then(synced)
            .inspect_err(|_| self.remove_half_made())?;
        fs::rename(&half, self.pgdata()).map_err(at(&half))?;
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(at(&self.dir))
    }

    fn remove_half_made(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(HALF_MADE) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    fn make_private(&self, dir: &Path) -> Result<()> {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                return Err(at(dir)(source));
            }
            _ => {}
        }
        fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(at(dir))?;
        match self.account {
            Some(account) => chown(dir, Some(account.uid), Some(account.gid)).map_err(at(dir)),
            None => Ok(()),
        }
    }

    /// `run`, or where that link leads: a short directory, when the path is too long for a socket.
    fn socket_dir(&self) -> Result<String> {
        let run = self.dir.join("run");
        let known = run
            .canonicalize()
            .ok()
            .filter(|dir| fits_socket(dir) && self.is_private(dir));
        let dir = match known {
            Some(dir) => dir,
            None if fits_socket(&run) && !run.is_symlink() => {
                self.make_private(&run)?;
                run
            }
            None => {
                let _ = fs::remove_file(&run).or_else(|_| fs::remove_dir(&run));
                let short = self.make_short_dir()?;
                symlink(&short, &run).map_err(at(&run))?;
                short
            }
        };
        dir.into_os_string()
            .into_string()
            .map_err(|path| EmbeddedError::NotUtf8(path.into()))
    }

    // A directory under /tmp could have been put there by anyone.
    fn is_private(&self, dir: &Path) -> bool {
        let owner = self
            .account
            .map_or(geteuid().as_raw(), |account| account.uid);
        fs::metadata(dir).is_ok_and(|m| m.is_dir() && m.uid() == owner && m.mode() & 0o077 == 0)
    }

    fn make_short_dir(&self) -> Result<PathBuf> {
        let runtime = env::var_os("XDG_RUNTIME_DIR")
            .filter(|_| self.account.is_none())
            .map(PathBuf::from);
        for parent in runtime.into_iter().chain([env::temp_dir(), "/tmp".into()]) {
            for attempt in 0..100 {
                let dir = parent.join(format!("encours-{}-{attempt}", std::process::id()));
                // `create` refuses a name that exists: nobody can have prepared it.
                if fits_socket(&dir) && DirBuilder::new().mode(0o700).create(&dir).is_ok() {
                    self.make_private(&dir)?;
                    return Ok(dir);
                }
            }
        }
        Err(EmbeddedError::NoSocketDirectory)
    }

    fn remove_short_socket_dir(&self) {
        let run = self.dir.join("run");
        if let Ok(short) = fs::read_link(&run) {
            let _ = fs::remove_dir(short);
            let _ = fs::remove_file(run);
        }
    }

    fn server_pid(&self) -> Option<i32> {
        first_line(&self.pgdata().join(PID_FILE))
    }

    /// Lets a cluster start although its lock files name a process that is not its server: another one of the same
    /// account, after a crash and a reboot or in a restarted container, or the dead server itself, where process 1 does
    /// not reap it.
    fn disown_stale_locks(&self, socket_dir: &str) -> Result<()> {
        let socket_lock = Path::new(socket_dir).join(format!("{SOCKET}.lock"));
        if first_line(&socket_lock).is_some_and(|pid| self.is_not_our_server(pid)) {
            fs::remove_file(&socket_lock).map_err(at(&socket_lock))?;
        }
        let path = self.pgdata().join(PID_FILE);
        if first_line(&path).is_some_and(|pid| self.is_not_our_server(pid)) {
            // Kept, since Postgres finds surviving backends through it. It takes the pid of its parent for a stale one.
            let file = fs::read_to_string(&path).map_err(at(&path))?;
            let rest = file.split_once('\n').map_or("", |(_, rest)| rest);
            fs::write(&path, format!("{}\n{rest}", std::process::id())).map_err(at(&path))?;
        }
        Ok(())
    }

    // Where there is no /proc, Postgres decides alone.
    fn is_not_our_server(&self, pid: i32) -> bool {
        // A postmaster works in its data directory.
        let elsewhere =
            fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd != self.pgdata());
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let zombie = stat
            .rsplit(") ")
            .next()
            .is_some_and(|state| state.starts_with('Z'));
        elsewhere || zombie
    }

    fn open_log(&self) -> Result<File> {
        let path = self.log();
        if fs::metadata(&path).is_ok_and(|log| log.len() > 1 << 20) {
            fs::rename(&path, self.dir.join("postgres.log.1")).map_err(at(&path))?;
        }
        OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(at(&path))
    }

    fn log_since(&self, start: u64) -> String {
        let mut text = Vec::new();
        let _ = File::open(self.log()).and_then(|mut log| {
            log.seek(SeekFrom::Start(start))?;
            log.take(4096).read_to_end(&mut text)
        });
        String::from_utf8_lossy(&text).trim().to_owned()
    }
}

const HALF_MADE: &str = "postgres.new.";

#[derive(Debug, PartialEq)]
struct Binaries {
    dir: PathBuf,
    major: u32,
}

fn bin_dirs() -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> =
        env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    dirs.retain(|dir| dir.is_absolute());
    if let Ok(told) = Command::new("pg_config")
        .arg("--bindir")
        .stdin(Stdio::null())
        .output()
    {
        dirs.push(String::from_utf8_lossy(&told.stdout).trim().into());
    }
    dirs.extend(versioned("/usr/lib/postgresql", "", "bin"));
    dirs.extend(versioned("/usr", "pgsql-", "bin"));
    for prefix in [
        "/opt/homebrew/opt",
        "/usr/local/opt",
        "/home/linuxbrew/.linuxbrew/opt",
    ] {
        dirs.extend(versioned(prefix, "postgresql@", "bin"));
    }
    dirs.extend(versioned(
        "/Applications/Postgres.app/Contents/Versions",
        "",
        "bin",
    ));
    dirs
}

/// `parent/<prefix><number>/<below>` for every number there, the highest first.
fn versioned(parent: &str, prefix: &str, below: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = (fs::read_dir(parent).into_iter().flatten().flatten())
        .filter_map(|entry| {
            let number = entry
                .file_name()
                .to_str()?
                .strip_prefix(prefix)?
                .parse()
                .ok()?;
            Some((number, entry.path().join(below)))
        })
        .collect();
    found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    found.into_iter().map(|(_, dir)| dir).collect()
}

/// 15 of `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, 18 of `postgres (PostgreSQL) 18beta1`.
fn major_version(told: &str) -> Option<u32> {
    let version = told.split_once("(PostgreSQL) ")?.1;
    let digits = version
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(version.len());
    version[..digits].parse().ok()
}

fn listed(found: &[Binaries]) -> String {
    let each: Vec<_> = found
        .iter()
        .map(|b| format!("{} in {}", b.major, b.dir.display()))
        .collect();
    each.join(", ")
}

fn no_binaries(found: &[Binaries]) -> EmbeddedError {
    let tried = if found.is_empty() {
        String::new()
    } else {
        format!(" (too old: {})", listed(found))
    };
    let install = match () {
        () if cfg!(target_os = "macos") => "brew install postgresql@17",
        () if Path::new("/etc/debian_version").exists() => "apt-get install postgresql",
        () => "package postgresql-server or postgresql of the distribution",
    };
    EmbeddedError::NoBinaries { tried, install }
}

/// The owner of the cluster when there is one, else `postgres`, else `nobody`.
fn choose_account(pgdata: &Path) -> Account {
    let owner = fs::metadata(pgdata).map(|m| Account {
        uid: m.uid(),
        gid: m.gid(),
    });
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    (owner.ok().filter(|owner| owner.uid != 0))
        .or_else(|| account_named("postgres", &passwd))
        .or_else(|| account_named("nobody", &passwd))
        .unwrap_or(Account {
            uid: 65534,
            gid: 65534,
        })
}

/// Refuses a path that the account cannot walk. Opens only its end, when that is the data directory and holds nothing
/// else, as `mktemp -d` leaves it.
fn open_the_way(path: &Path, is_data_dir: bool, account: Account) -> Result<()> {
    let path = path.canonicalize().map_err(at(path))?;
    let mut closed = None;
    for dir in path.ancestors() {
        let found = fs::metadata(dir).map_err(at(dir))?;
        if !may_enter(&found, account) {
            closed = Some((dir, found.mode()));
        }
    }
    match closed {
        None => Ok(()),
        Some((dir, mode)) if is_data_dir && dir == path && is_all_ours(dir) => {
            fs::set_permissions(dir, Permissions::from_mode(mode | 0o111)).map_err(at(dir))
        }
        Some((dir, _)) => Err(EmbeddedError::NotTraversable {
            dir: dir.to_owned(),
            uid: account.uid,
        }),
    }
}

fn is_all_ours(dir: &Path) -> bool {
    let ours = [
        "postgres",
        "run",
        "postgres.log",
        "postgres.log.1",
        "start.lock",
        "users.lock",
    ];
    let is_ours = |name: &OsStr| {
        ours.iter().any(|known| name == *known) || name.to_string_lossy().starts_with(HALF_MADE)
    };
    fs::read_dir(dir)
        .is_ok_and(|mut all| all.all(|entry| entry.is_ok_and(|entry| is_ours(&entry.file_name()))))
}

fn account_named(name: &str, passwd: &str) -> Option<Account> {
    let line = passwd
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    let mut ids = line.split(':').skip(2).map(str::parse);
    Some(Account {
        uid: ids.next()?.ok().filter(|uid| *uid != 0)?,
        gid: ids.next()?.ok()?,
    })
}

fn first_line(file: &Path) -> Option<i32> {
    fs::read_to_string(file)
        .ok()?
        .lines()
        .next()?
        .trim()
        .parse()
        .ok()
}

fn may_enter(dir: &fs::Metadata, account: Account) -> bool {
    let bit = match () {
        () if dir.uid() == account.uid => 0o100,
        () if dir.gid() == account.gid => 0o010,
        () => 0o001,
    };
    dir.mode() & bit != 0
}

// libpq reads a comma as a second host.
fn fits_socket(dir: &Path) -> bool {
    let bytes = dir.as_os_str().as_encoded_bytes();
    bytes.len() + 1 + SOCKET.len() <= LONGEST_SOCKET_PATH && !bytes.contains(&b',')
}

fn is_held_by_leftovers(log: &str) -> bool {
    log.contains("pre-existing shared memory block")
        || (log.contains("lock file") && log.contains("already exists"))
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn open_lock(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(at(path))
}

fn not_ready(error: ConnectionError) -> EmbeddedError {
    EmbeddedError::NotReady {
        last: error.to_string(),
    }
}

fn end(child: &mut Child) {
    let deadline = Instant::now() + STOP_WITHIN;
    if let Ok(None) = child.try_wait() {
        let _ = kill_process(Pid::from_child(child), Signal::QUIT);
    }
    while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
        thread::sleep(POLL);
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> EmbeddedError + use<> {
    let path = path.to_owned();
    |source| EmbeddedError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_connection_string_are_quoted() {
        let cases = [
            ("encours", "'encours'"),
            ("", "''"),
            ("/a b", "'/a b'"),
            ("l'été", "'l\\'été'"),
            ("a\\b", "'a\\\\b'"),
        ];
        for (value, expected) in cases {
            assert_eq!(quoted(value), expected);
        }
    }

    #[test]
    fn the_major_version_is_read_from_what_postgres_tells() {
        let cases = [
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n",
                Some(15),
            ),
            ("postgres (PostgreSQL) 18beta1\n", Some(18)),
            ("postgres (PostgreSQL) 18\n", Some(18)),
            ("postgres (PostgreSQL) devel\n", None),
            ("", None),
        ];
        for (told, major) in cases {
            assert_eq!(major_version(told), major, "{told:?}");
        }
    }

    #[test]
    fn a_socket_directory_is_short_and_has_no_comma() {
        let longest = format!("/{}", "d".repeat(LONGEST_SOCKET_PATH - SOCKET.len() - 2));
        let cases = [
            ("/run/encours", true),
            ("/a,b", false),
            (&longest, true),
            (&format!("{longest}d"), false),
        ];
        for (dir, fits) in cases {
            assert_eq!(fits_socket(Path::new(dir)), fits, "{dir}");
        }
    }

    #[test]
    fn an_account_is_found_by_its_whole_name_and_never_is_root() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgres2:x:7:7::/:/bin/sh\npostgres:x:101:104:,,,:/var:/bin/sh\nodd:x:0:5::/:\n";
        let cases = [
            ("postgres", Some(Account { uid: 101, gid: 104 })),
            ("nobody", None),
            ("root", None),
            ("odd", None),
        ];
        for (name, account) in cases {
            assert_eq!(account_named(name, passwd), account, "{name}");
        }
    }
}
