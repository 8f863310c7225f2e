//! The one error, and how it came about. Its codes are given in `graphql/error.rs`.

use crate::domain::access::Action;
use crate::domain::refusal::Refusal;

/// The result of everything below the API.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Rules said no; nothing was written.
    #[error("refused: {}", .0.iter().map(|r| r.message.as_str()).collect::<Vec<_>>().join("; "))]
    Refused(Vec<Refusal>),
    /// Everything was checked, nothing is to be kept: rolls a validation back.
    #[error("validated only")]
    Validated,
    /// An argument of a query is not acceptable.
    #[error("{message}")]
    BadInput {
        /// The argument.
        field: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// No valid token. The cause is not told.
    #[error("a valid token is needed")]
    Unauthenticated,
    /// Neither the caller's role nor its scopes allow this.
    #[error("this token may not do this{}", lacking(.0))]
    Forbidden(Option<Action>),
    /// The database is away or everything is busy: try again.
    #[error("the service is busy or starting, try again: {0}")]
    Unavailable(String),
    /// The statement took too long.
    #[error("the request took too long")]
    Timeout,
    /// A subscriber does not read as fast as changes come.
    #[error("too slow: subscribe again with after: \"{after}\"")]
    TooSlow {
        /// The cursor of the last change that was sent.
        after: String,
    },
    /// A fault of ours.
    #[error("database: {0}")]
    Database(diesel::result::Error),
    /// A fault of ours.
    #[error("{0}")]
    Internal(String),
}

fn lacking(action: &Option<Action>) -> String {
    action.map_or_else(String::new, |action| {
        format!(": it lacks {}", action.code())
    })
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Error::Refused(vec![refusal])
    }
}

impl From<crate::formats::pdf::NotTypeset> for Error {
    fn from(fault: crate::formats::pdf::NotTypeset) -> Self {
        Error::Internal(fault.to_string())
    }
}

impl From<diesel::result::Error> for Error {
    fn from(error: diesel::result::Error) -> Self {
        use diesel::result::{DatabaseErrorKind as Kind, Error as Diesel};
        match &error {
            Diesel::DatabaseError(Kind::ClosedConnection, _) => {
                Error::Unavailable("database connection lost".into())
            }
            Diesel::DatabaseError(_, info) if is_cancelled(info.message()) => Error::Timeout,
            Diesel::DatabaseError(_, info) if is_away(info.message()) => {
                Error::Unavailable("database is not accepting connections".into())
            }
            // Locked by others, full, at odds about the time, or elsewhere: nothing was written, and a later try, or one
            // at the right place, may be.
            Diesel::DatabaseError(_, info) if is_unable(info.message()) => {
                Error::Unavailable(info.message().to_owned())
            }
            Diesel::BrokenTransactionManager => {
                Error::Unavailable("database connection lost".into())
            }
            _ => Error::Database(error),
        }
    }
}

/// What a client is told that comes while the database is busy or away.
pub const BUSY: &str = "the service is busy or starting: send the request again";

/// What `must_lie_here` says on a cluster (`store/distribution.sql`): another instance serves the company.
pub const ELSEWHERE: &str = "this company lies on another machine";

// libpq gives no error class for these through diesel: the server runs with lc_messages C.
fn is_cancelled(message: &str) -> bool {
    message.contains("statement timeout")
}

fn is_unable(message: &str) -> bool {
    [
        "lock timeout",
        "could not extend file",
        "could not write",
        "could not fsync",
        "No space left on device",
        "File too large",
        "Disk quota exceeded",
        "out of memory",
        "out of shared memory",
        "during recovery",
        "the clocks of server and database differ",
        ELSEWHERE,
    ]
    .iter()
    .any(|cause| message.contains(cause))
}

fn is_away(message: &str) -> bool {
    [
        "server closed the connection",
        "terminating connection",
        "the database system is",
        "connection to server",
        "remaining connection slots",
        "too many clients",
        "too many connections",
        "no connection to the server",
    ]
    .iter()
    .any(|away| message.contains(away))
}

impl Error {
    /// What a client is told whose request could not be done now.
    pub fn advice(cause: &str) -> &'static str {
        if cause.contains(ELSEWHERE) {
            "another instance serves this company: send the request to that one"
        } else {
            BUSY
        }
    }

    /// A file that could not be read or written: a full disk passes, anything else is a fault.
    pub fn of_file(what: &str, error: &std::io::Error) -> Error {
        use std::io::ErrorKind as Kind;
        let message = format!("{what}: {error}");
        match error.kind() {
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => {
                Error::Unavailable(message)
            }
            _ => Error::Internal(message),
        }
    }

    /// Whether another try of the same transaction may succeed: a deadlock or a serialization failure.
    pub fn is_transient(&self) -> bool {
        use diesel::result::{DatabaseErrorKind as Kind, Error as Diesel};
        match self {
            Error::Database(Diesel::DatabaseError(Kind::SerializationFailure, _)) => true,
            Error::Database(Diesel::DatabaseError(_, info)) => {
                // Of one server, or of the machines of a cluster.
                let message = info.message();
                message.contains("deadlock detected") || message.contains("distributed deadlock")
            }
            _ => false,
        }
    }

    /// What another try of the same transaction may not meet.
    pub fn transient(why: &str) -> Error {
        use diesel::result::{DatabaseErrorKind as Kind, Error as Diesel};
        Error::Database(Diesel::DatabaseError(
            Kind::SerializationFailure,
            Box::new(why.to_owned()),
        ))
    }

    /// The same for the number of a record that somebody gave to another at this very moment: it is seen the next time.
    #[must_use]
    pub fn again_if_taken(self) -> Error {
        const NUMBERS: [&str; 3] = [
            "clients_company_id_number_key",
            "documents_company_id_kind_number_key",
            "payments_company_id_number_key",
        ];
        match self.constraint() {
            Some(name) if NUMBERS.contains(&name) => {
                Error::transient("a number was taken meanwhile")
            }
            _ => self,
        }
    }

    /// The constraint that a write violated, if that is what happened.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Error::Database(diesel::result::Error::DatabaseError(_, info)) => {
                info.constraint_name().map(without_shard)
            }
            _ => None,
        }
    }
}

/// The name that a constraint was given: where companies are spread over machines, that of a shard has its number behind.
pub(crate) fn without_shard(name: &str) -> &str {
    match name.rsplit_once('_') {
        Some((given, shard)) if shard.len() >= 6 && shard.bytes().all(|b| b.is_ascii_digit()) => {
            given
        }
        _ => name,
    }
}
