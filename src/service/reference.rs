//! From what a caller names to the record: an id, a business number, or another system's reference.

use std::collections::{BTreeSet, HashMap};

use chrono::NaiveDate;
use diesel::pg::PgConnection;

use crate::domain::access::Caller;
use crate::domain::ids::{
    ClientId, CompanyId, DeductionId, DisputeId, DocumentId, Id, ItemId, PaymentId, UserId,
};
use crate::domain::refusal::Refusal;
use crate::error::Result;
use crate::store::client::Client;
use crate::store::dispute::{Deduction, Dispute};
use crate::store::document::{self, Document};
use crate::store::item::Item;
use crate::store::payment::Payment;
use crate::store::{self};

/// A reference to a record: one of three ways to name it.
#[derive(Clone, Debug)]
pub enum Ref {
    /// The API's opaque id.
    Id(String),
    /// The business number.
    Number(String),
    /// Another system's reference.
    ExternalRef(String),
}

/// The client, or `NOT_FOUND`.
pub fn client(
    conn: &mut PgConnection,
    caller: &Caller,
    field: &str,
    target: &Ref,
) -> Result<Client> {
    let company = caller.company;
    let found = match target {
        Ref::Id(id) => match ClientId::read(id) {
            Some(id) => store::client::by_id(conn, company, id)?,
            None => None,
        },
        Ref::Number(number) => store::client::by_number(conn, company, number)?,
        Ref::ExternalRef(external) => store::client::by_external_ref(conn, company, external)?,
    };
    found.ok_or_else(|| Refusal::not_found(field, "client").into())
}

/// The invoice, or `NOT_FOUND`.
pub fn invoice(
    conn: &mut PgConnection,
    caller: &Caller,
    field: &str,
    target: &Ref,
) -> Result<Document> {
    document(conn, caller, field, target, document::INVOICE, "invoice")
}

/// The credit note, or `NOT_FOUND`.
pub fn credit_note(
    conn: &mut PgConnection,
    caller: &Caller,
    field: &str,
    target: &Ref,
) -> Result<Document> {
    document(
        conn,
        caller,
        field,
        target,
        document::CREDIT_NOTE,
        "credit note",
    )
}

fn document(
    conn: &mut PgConnection,
    caller: &Caller,
    field: &str,
    target: &Ref,
    kind: &str,
    what: &str,
) -> Result<Document> {
    let company = caller.company;
    let found = match target {
        Ref::Id(id) => match DocumentId::read(id) {
            Some(id) => {
                document::by_id(conn, company, id)?.filter(|document| document.kind == kind)
            }
            None => None,
        },
        Ref::Number(number) => document::by_number(conn, company, kind, number)?,
        Ref::ExternalRef(external) => document::by_external_ref(conn, company, kind, external)?,
    };
    found.ok_or_else(|| Refusal::not_found(field, what).into())
}

/// The receipt, or `NOT_FOUND`.
pub fn payment(
    conn: &mut PgConnection,
    caller: &Caller,
    field: &str,
    target: &Ref,
) -> Result<Payment> {
    let company = caller.company;
    let found = match target {
        Ref::Id(id) => match PaymentId::read(id) {
            Some(id) => store::payment::by_id(conn, company, id)?,
            None => None,
        },
        Ref::Number(number) => store::payment::by_number(conn, company, number)?,
        Ref::ExternalRef(external) => store::payment::by_external_ref(conn, company, external)?,
    };
    found.ok_or_else(|| Refusal::not_found(field, "payment").into())
}

/// The dispute, or `NOT_FOUND`; it has no external reference.
pub fn dispute(
    conn: &mut PgConnection,
    caller: &Caller,
    field: &str,
    target: &Ref,
) -> Result<Dispute> {
    let found = match target {
        Ref::Number(number) => store::dispute::by_number(conn, caller.company, number)?,
        Ref::Id(id) | Ref::ExternalRef(id) => match DisputeId::read(id) {
            Some(id) => store::dispute::by_id(conn, caller.company, id)?,
            None => None,
        },
    };
    found.ok_or_else(|| Refusal::not_found(field, "dispute").into())
}

/// The deduction, or `NOT_FOUND`; it has no external reference.
pub fn deduction(
    conn: &mut PgConnection,
    caller: &Caller,
    field: &str,
    target: &Ref,
) -> Result<Deduction> {
    let found = match target {
        Ref::Number(number) => store::dispute::deduction_by_number(conn, caller.company, number)?,
        Ref::Id(id) | Ref::ExternalRef(id) => match DeductionId::read(id) {
            Some(id) => store::dispute::deductions_by_ids(conn, caller.company, &[id])?.pop(),
            None => None,
        },
    };
    found.ok_or_else(|| Refusal::not_found(field, "deduction").into())
}

/// A person of the company: those of others are nobody here.
pub fn member(
    conn: &mut PgConnection,
    company: CompanyId,
    field: &str,
    user: UserId,
) -> Result<UserId> {
    match store::member::member(conn, company, user)? {
        Some(member) => Ok(member.user_id),
        None => Err(Refusal::not_found(field, "member").into()),
    }
}

/// How a caller names open items: one item, or a document and perhaps one of its instalments.
#[derive(Clone, Debug, Default)]
pub struct ItemRef {
    pub id: Option<String>,
    pub number: Option<String>,
    pub due_on: Option<NaiveDate>,
}

/// The items that are meant, oldest due first: several when a document has instalments.
pub fn items(
    conn: &mut PgConnection,
    caller: &Caller,
    field: &str,
    target: &ItemRef,
    is_debit: bool,
) -> Result<Vec<Item>> {
    let mut found = items_of_all(conn, caller, &[(field.to_owned(), target)], is_debit)?;
    Ok(found.pop().unwrap_or_default())
}

/// The same for each of these references, with their fields; those by number are looked up together.
pub fn items_of_all(
    conn: &mut PgConnection,
    caller: &Caller,
    targets: &[(String, &ItemRef)],
    is_debit: bool,
) -> Result<Vec<Vec<Item>>> {
    let company = caller.company;
    let numbers: BTreeSet<&str> = targets
        .iter()
        .filter_map(|(_, target)| target.number.as_deref())
        .collect();
    let numbers: Vec<&str> = numbers.into_iter().collect();
    let mut by_number: HashMap<String, Vec<Item>> = HashMap::new();
    for item in store::item::by_references(conn, company, &numbers, is_debit)? {
        let found = by_number.entry(item.reference.clone()).or_default();
        found.push(item);
    }
    let mut all = Vec::with_capacity(targets.len());
    for (field, target) in targets {
        let found = match (&target.id, &target.number) {
            (Some(id), None) => match (ItemId::read(id), source_of(id)) {
                (Some(id), _) => store::item::by_ids(conn, company, &[id])?,
                (None, Some(source)) => store::item::by_sources(conn, company, &[source])?,
                (None, None) => Vec::new(),
            },
            (None, Some(number)) => by_number.get(number).cloned().unwrap_or_default(),
            _ => {
                return Err(Refusal::invalid(
                    field,
                    "name the item by exactly one of its id and its document's number",
                )
                .into());
            }
        };
        all.push(meant(conn, company, field, target, is_debit, found)?);
    }
    Ok(all)
}

/// Those of the items found that a reference means.
fn meant(
    conn: &mut PgConnection,
    company: CompanyId,
    field: &str,
    target: &ItemRef,
    is_debit: bool,
    mut found: Vec<Item>,
) -> Result<Vec<Item>> {
    found.retain(|item| item.is_debit == is_debit);
    if found.is_empty() {
        return Err(missing(conn, company, field, target, is_debit)?.into());
    }
    let days: Vec<Option<NaiveDate>> = found.iter().map(|item| item.due_on).collect();
    found.retain(|item| target.due_on.is_none_or(|due| item.due_on == Some(due)));
    if found.is_empty() {
        return Err(Refusal::invalid(
            &format!("{field}.dueOn"),
            "nothing of this document is due on that day",
        )
        .detail("dueDates", serde_json::json!(days))
        .into());
    }
    let several = |found: &[Item]| {
        found
            .iter()
            .any(|item| item.source_id != found[0].source_id)
    };
    if several(&found) && found.iter().any(|item| item.open_amount > 0) {
        // A claim that was moved, to 416 or back from a factor, keeps its number: the open one is meant.
        found.retain(|item| item.open_amount > 0);
    }
    if several(&found) {
        return Err(Refusal::invalid(
            field,
            "several documents carry this number: name the item by its id",
        )
        .into());
    }
    Ok(found)
}

/// Why no item is found: it is unknown, or it stands on the other side.
fn missing(
    conn: &mut PgConnection,
    company: CompanyId,
    field: &str,
    target: &ItemRef,
    is_debit: bool,
) -> Result<Refusal> {
    let (what, side) = match is_debit {
        true => ("invoice or other debit item", "credit"),
        false => ("payment, credit note or other credit item", "debit"),
    };
    let number = target.number.as_deref();
    let there = match number {
        Some(number) => store::item::by_references(conn, company, &[number], !is_debit)?,
        None => Vec::new(),
    };
    if there.is_empty() {
        return Ok(Refusal::not_found(field, what));
    }
    let number = number.unwrap_or_default();
    Ok(Refusal::invalid(
        field,
        format!("{number} stands on the {side} side: give it as `{side}`"),
    ))
}

fn source_of(id: &str) -> Option<uuid::Uuid> {
    DocumentId::read(id)
        .map(Id::uuid)
        .or_else(|| PaymentId::read(id).map(Id::uuid))
        .or_else(|| DeductionId::read(id).map(Id::uuid))
}
