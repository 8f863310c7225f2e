//! Tasks: how a person is asked to look at something.

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use uuid::Uuid;

use crate::domain::access::Caller;
use crate::domain::ids::{ClientId, Id, TaskId};
use crate::domain::task::TaskKind;
use crate::error::Result;
use crate::store;
use crate::store::task::Task;

/// Asks once: a record has at most one task of a kind that is not done.
pub fn ask(
    conn: &mut PgConnection,
    caller: &Caller,
    kind: TaskKind,
    client: Option<ClientId>,
    source: Uuid,
    due_on: NaiveDate,
    subject: String,
) -> Result<()> {
    let row = Task {
        company_id: caller.company,
        id: TaskId::new(),
        kind: kind.code().to_owned(),
        subject,
        source_id: source,
        due_on,
        recorded_at: chrono::DateTime::UNIX_EPOCH,
        done_at: None,
        done_by: None,
        client_id: client,
    };
    Ok(store::task::insert(conn, &row)?)
}
