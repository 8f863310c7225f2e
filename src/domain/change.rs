//! The change feed: topics, positions, and how a changed record is named.

use super::access::{Action, codes};
use super::hex::hex;
use super::ids::{
    AllocationId, ApprovalId, CaseId, ClientId, DeductionId, DisputeId, DocumentId,
    DunningActionId, DunningRunId, Id, MailId, NoteId, PaymentId, PlanId, PromiseId, TaskId,
};
use uuid::Uuid;

codes! {
    /// What a change is about: as much as a follower subscribes to.
    Topic {
        /// Invoices, credit notes and deductions.
        Documents = "DOCUMENTS",
        /// Receipts, their payers and their returns.
        Payments = "PAYMENTS",
        /// Allocations and their ends.
        Matchings = "MATCHINGS",
        /// Disputes, their states and notes.
        Disputes = "DISPUTES",
        /// Reminders, runs, mails, promises, plans and litigation cases.
        Dunning = "DUNNING",
        /// Tasks, calls and notes.
        Worklist = "WORKLIST",
        /// Clients.
        Clients = "CLIENTS",
    }
}

impl Topic {
    /// What a role needs to be told of it: the same as to read the records.
    pub fn action(self) -> Action {
        match self {
            Topic::Documents
            | Topic::Payments
            | Topic::Matchings
            | Topic::Disputes
            | Topic::Dunning
            | Topic::Clients => Action::ReadReports,
            Topic::Worklist => Action::ReadJournal,
        }
    }
}

/// A place in the feed: behind the change with these numbers. Changes are ordered by transaction, then by number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Position {
    /// The transaction.
    pub xid: i64,
    /// The number within the feed; not in the order of commits.
    pub seq: i64,
}

impl Position {
    /// Before everything.
    pub const START: Position = Position { xid: 0, seq: 0 };

    /// As the API shows it: opaque.
    pub fn cursor(self) -> String {
        hex(format!("change|{}|{}", self.xid, self.seq).as_bytes())
    }

    /// Reads what [`Position::cursor`] wrote; `None` for anything else.
    pub fn read(cursor: &str) -> Option<Position> {
        if cursor.len() > 200 || !cursor.len().is_multiple_of(2) || !cursor.is_ascii() {
            return None;
        }
        let bytes: Option<Vec<u8>> = (0..cursor.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&cursor[at..at + 2], 16).ok())
            .collect();
        let text = String::from_utf8(bytes?).ok()?;
        let (xid, seq) = text.strip_prefix("change|")?.split_once('|')?;
        let position = Position {
            xid: xid.parse().ok().filter(|xid| *xid >= 0)?,
            seq: seq.parse().ok().filter(|seq| *seq >= 0)?,
        };
        // Signs and leading zeros would be other texts of the same place.
        (position.cursor() == cursor).then_some(position)
    }
}

/// How the kind of a change begins, and the type of the record that it names.
const SUBJECTS: &[(&str, &str)] = &[
    ("INVOICE_", DocumentId::PREFIX),
    ("CREDIT_NOTE_", DocumentId::PREFIX),
    ("DEDUCTION_", DeductionId::PREFIX),
    ("PAYMENT_PLAN_", PlanId::PREFIX),
    ("PAYMENT_", PaymentId::PREFIX),
    ("ALLOCATION_", AllocationId::PREFIX),
    ("DISPUTE_", DisputeId::PREFIX),
    ("DUNNING_ACTION_", DunningActionId::PREFIX),
    ("PROMISE_", PromiseId::PREFIX),
    ("DUNNING_RUN_", DunningRunId::PREFIX),
    ("MAIL_", MailId::PREFIX),
    ("LITIGATION_CASE_", CaseId::PREFIX),
    ("COLLECTION_NOTE_", NoteId::PREFIX),
    ("TASK_", TaskId::PREFIX),
    ("CLIENT_", ClientId::PREFIX),
    ("APPROVAL_", ApprovalId::PREFIX),
];

/// The id of a changed record as the API shows it.
pub fn subject(kind: &str, id: Uuid) -> String {
    let prefix = SUBJECTS
        .iter()
        .find(|(beginning, _)| kind.starts_with(beginning))
        // A newer server may share the database and tell of records that this one does not know.
        .map_or("rec", |(_, prefix)| prefix);
    format!("{prefix}_{}", id.simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_nothing_else_is() {
        for position in [
            Position::START,
            Position { xid: 1, seq: 2 },
            Position {
                xid: i64::MAX,
                seq: i64::MAX,
            },
        ] {
            assert_eq!(Position::read(&position.cursor()), Some(position));
        }
        let written = |text: &str| hex(text.as_bytes());
        for wrong in [
            String::new(),
            "zz".into(),
            "é".into(),
            "abc".into(),
            written("change|1"),
            written("change|-1|2"),
            written("change|+1|2"),
            written("change|01|2"),
            written("other|1|2"),
            Position::START.cursor().to_uppercase(),
        ] {
            assert_eq!(Position::read(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn positions_are_ordered_by_transaction_first() {
        let early = Position { xid: 1, seq: 9 };
        let late = Position { xid: 2, seq: 1 };
        assert!(Position::START < early && early < late);
    }

    #[test]
    fn every_watched_table_names_its_records() {
        let id = ClientId::new();
        assert_eq!(subject("CLIENT_CHANGED", id.0), id.show());
        let migration = include_str!("../../migrations/2026-11-26-000010_live/up.sql");
        let kinds = migration
            .lines()
            .filter_map(|line| line.strip_prefix("SELECT watch('"))
            .map(|line| line.split('\'').nth(4).unwrap_or_default());
        for kind in kinds.filter(|kind| *kind != "DOCUMENT") {
            assert!(
                !subject(&format!("{kind}_RECORDED"), id.0).starts_with("rec_"),
                "{kind} has no type of id"
            );
        }
    }
}
