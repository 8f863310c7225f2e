//! Files: what they are, of what, and the seals of archives. Their bytes are in the object store.

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use uuid::Uuid;

use super::schema::{evidence_seals, files};
use crate::domain::ids::{ClientId, CompanyId, FileId};

/// A file.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = files)]
pub struct Kept {
    pub company_id: CompanyId,
    pub id: FileId,
    pub client_id: Option<ClientId>,
    pub subject_type: String,
    pub subject_id: Uuid,
    pub kind: String,
    pub name: String,
    pub media_type: String,
    pub bytes: i64,
    pub sha256: String,
    #[diesel(skip_insertion)]
    pub recorded_at: DateTime<Utc>,
    pub recorded_by: String,
}

/// Adds a file.
pub fn insert(conn: &mut PgConnection, row: &Kept) -> QueryResult<()> {
    diesel::insert_into(files::table)
        .values(row)
        .execute(conn)
        .map(drop)
}

/// Files by id, oldest first.
pub fn by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[FileId],
) -> QueryResult<Vec<Kept>> {
    files::table
        .filter(files::company_id.eq(company))
        .filter(files::id.eq_any(ids))
        .order(files::id)
        .select(Kept::as_select())
        .load(conn)
}

/// The files of records, oldest first.
pub fn of_subjects(
    conn: &mut PgConnection,
    company: CompanyId,
    subjects: &[Uuid],
) -> QueryResult<Vec<Kept>> {
    files::table
        .filter(files::company_id.eq(company))
        .filter(files::subject_id.eq_any(subjects))
        .order(files::id)
        .select(Kept::as_select())
        .load(conn)
}

/// The latest file of a kind of a record, such as the company's logo.
pub fn latest(
    conn: &mut PgConnection,
    company: CompanyId,
    subject: Uuid,
    kind: &str,
) -> QueryResult<Option<Kept>> {
    files::table
        .filter(files::company_id.eq(company))
        .filter(files::subject_id.eq(subject))
        .filter(files::kind.eq(kind))
        .order(files::id.desc())
        .select(Kept::as_select())
        .first(conn)
        .optional()
}

/// The seal of an archive that left.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = evidence_seals)]
pub struct Seal {
    pub company_id: CompanyId,
    pub manifest_sha256: String,
    pub client_id: ClientId,
    pub subject: String,
    pub files: i32,
    #[diesel(skip_insertion)]
    pub sealed_at: DateTime<Utc>,
    pub sealed_by: String,
}

/// Keeps a seal; the same archive twice has one.
pub fn seal(conn: &mut PgConnection, row: &Seal) -> QueryResult<()> {
    diesel::insert_into(evidence_seals::table)
        .values(row)
        .on_conflict_do_nothing()
        .execute(conn)
        .map(drop)
}

/// The seal of a manifest.
pub fn seal_of(
    conn: &mut PgConnection,
    company: CompanyId,
    manifest: &str,
) -> QueryResult<Option<Seal>> {
    evidence_seals::table
        .find((company, manifest))
        .select(Seal::as_select())
        .first(conn)
        .optional()
}
