//! Work in the background: each job visits all companies, again and again, on a thread of its own.
//!
//! Servers that share a database all run the jobs. A job therefore claims what it works on, by a lease in the
//! row and never by a transaction held open: an open one would hold back the change feed of everybody.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use chrono::{NaiveDate, Utc};

use crate::domain::access::{Caller, Role};
use crate::domain::ids::{CompanyId, Id};
use crate::error::{Error, Result};
use crate::store::{self, Db};
use crate::telemetry::figures::Figures;

/// How long a job waits after something went wrong.
const RELIEF: Duration = Duration::from_secs(5);

/// Work for one company, done within seconds. It may run on several servers at once.
pub type Run = Box<dyn Fn(&Db, CompanyId) -> Result<()> + Send>;

/// Something to do for each company from time to time.
pub struct Job {
    /// For the log.
    pub name: &'static str,
    /// The pause between two rounds.
    pub period: Duration,
    /// What to do.
    pub run: Run,
}

/// The jobs under way. Dropped, it waits for what they are at and ends them.
pub struct Jobs {
    running: Vec<(Sender<()>, JoinHandle<()>)>,
}

/// Starts the jobs.
pub fn start(db: &Db, figures: &Figures, jobs: Vec<Job>) -> Jobs {
    let running = jobs
        .into_iter()
        .map(|job| {
            let (stop, stopped) = mpsc::channel();
            let (db, figures) = (db.clone(), figures.clone());
            let at_it = move || work(&db, &figures, &job, &stopped);
            (stop, thread::spawn(at_it))
        })
        .collect();
    Jobs { running }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        // All are told before one is waited for.
        let threads: Vec<_> = self.running.drain(..).map(|(_, thread)| thread).collect();
        for thread in threads {
            let _ = thread.join();
        }
    }
}

fn work(db: &Db, figures: &Figures, job: &Job, stopped: &Receiver<()>) {
    let mut pause = job.period;
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        let since = Instant::now();
        let done = round(db, job, stopped);
        figures.worked(job.name, done.is_ok(), since.elapsed());
        pause = match done {
            Ok(()) => job.period,
            Err(error) => {
                tracing::warn!(%error, job = job.name, "the job {} failed", job.name);
                RELIEF
            }
        };
    }
}

/// Visits every company; what goes wrong in one does not keep the others waiting. The last fault is answered.
fn round(db: &Db, job: &Job, stopped: &Receiver<()>) -> Result<()> {
    let companies = db.anonymous_now(|conn| Ok(store::company::ids(conn)?))?;
    let mut outcome = Ok(());
    for company in companies {
        if stopped.try_recv() == Err(TryRecvError::Disconnected) {
            break;
        }
        let visit = catch_unwind(AssertUnwindSafe(|| (job.run)(db, company)));
        if let Err(error) = visit.unwrap_or_else(|_| Err(Error::Internal("it panicked".into()))) {
            let fault = format!("company {}: {error}", company.show());
            outcome = Err(Error::Internal(fault));
        }
    }
    outcome
}

/// The caller that a job works as.
pub fn worker(company: CompanyId) -> Caller {
    Caller {
        company,
        user: None,
        author: "encours".into(),
        role: Role::Admin,
        scopes: None,
        today: today(),
        approval: None,
    }
}

/// Today in France (R0.4): the one clock of days, for requests, commands and jobs alike.
pub fn today() -> NaiveDate {
    Utc::now()
        .with_timezone(&chrono_tz::Europe::Paris)
        .date_naive()
}
