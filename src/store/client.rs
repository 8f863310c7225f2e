//! Clients and their contacts.

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{
    BigInt, Date, Integer, Nullable, Numeric, SmallInt, Text, Uuid as SqlUuid,
};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::bulk;
use super::keys::{self, keyed};
use super::list::{Bind, Direction, Keyset, Sql, containing, folded, reads_like};
use super::schema::{client_contacts, clients};
use crate::domain::ids::{ClientId, CompanyId, ContactId, UserId};

keyed!(Client => "clients", Named => "clients");

/// A client as stored.
#[derive(Clone, Debug, Queryable, Selectable, AsChangeset)]
#[diesel(table_name = clients, primary_key(company_id, id), treat_none_as_null = true)]
pub struct Client {
    pub company_id: CompanyId,
    pub id: ClientId,
    pub number: String,
    pub external_ref: Option<String>,
    pub name: String,
    pub kind: String,
    pub segment: String,
    pub siren: Option<String>,
    pub siret: Option<String>,
    pub vat_number: Option<String>,
    pub address: Option<String>,
    pub currency: String,
    pub terms_rule: String,
    pub terms_days: i16,
    pub terms_then_day: Option<i16>,
    pub sales_owner_id: Option<UserId>,
    pub collector_id: Option<UserId>,
    pub insolvency: String,
    pub insolvency_on: Option<NaiveDate>,
    pub insured_percent: Decimal,
    pub insured_limit: Option<i64>,
    pub credit_limit: Option<i64>,
    pub created_by: String,
    pub closed_on: Option<NaiveDate>,
    pub version: i32,
    /// Contractual late-payment rate, percent per year; the legal default when none (R6.5).
    pub penalty_rate: Option<Decimal>,
    /// The language in which the client is written to: `fr` or `en`.
    pub language: String,
    /// The day the judgment of `insolvency_on` was published (BODACC, R7.10).
    pub insolvency_published_on: Option<NaiveDate>,
}

bulk::rows!(Client => "clients" {
    company_id: SqlUuid, id: SqlUuid, number: Text, external_ref: Nullable<Text>, name: Text, kind: Text,
    segment: Text, siren: Nullable<Text>, siret: Nullable<Text>, vat_number: Nullable<Text>,
    address: Nullable<Text>, currency: Text, terms_rule: Text, terms_days: SmallInt,
    terms_then_day: Nullable<SmallInt>, sales_owner_id: Nullable<SqlUuid>, collector_id: Nullable<SqlUuid>,
    insolvency: Text, insolvency_on: Nullable<Date>, insured_percent: Numeric, insured_limit: Nullable<BigInt>,
    credit_limit: Nullable<BigInt>, created_by: Text, closed_on: Nullable<Date>, version: Integer,
    penalty_rate: Nullable<Numeric>, language: Text, insolvency_published_on: Nullable<Date>,
} given { created_at = "now()" before "created_by" });

/// What a list of clients may be narrowed to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Part of the name or number, any case.
    pub search: Option<String>,
    pub kinds: Vec<String>,
    pub segments: Vec<String>,
    pub sales_owner: Option<UserId>,
    pub collector: Option<UserId>,
    /// Only those in insolvency proceedings, or only the others.
    pub insolvent: Option<bool>,
    /// Only those with something open, or only the others.
    pub has_open_items: Option<bool>,
    /// Only those with something open that was due before a day, or only the others.
    pub overdue: Option<(bool, NaiveDate)>,
    pub closed: Option<bool>,
}

/// `FROM clients t WHERE …` of a filter.
pub fn from(company: CompanyId, filter: &Filter) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        "FROM clients t WHERE t.company_id = ?",
        [Bind::Id(company.0)],
    );
    narrow(&mut sql, "t", filter);
    sql
}

/// Adds the filter's conditions on the clients table under `alias`.
pub fn narrow(sql: &mut Sql, alias: &str, filter: &Filter) {
    let on = |condition: &str| condition.replace("t.", &format!("{alias}."));
    if let Some(search) = &filter.search {
        let pattern = containing(search);
        sql.and(
            &on(&format!("({} OR t.number ILIKE ?)", reads_like("t.name"))),
            [Bind::Text(folded(&pattern)), Bind::Text(pattern)],
        );
    }
    if !filter.kinds.is_empty() {
        sql.and(&on("t.kind = ANY(?)"), [Bind::Texts(filter.kinds.clone())]);
    }
    if !filter.segments.is_empty() {
        sql.and(
            &on("t.segment = ANY(?)"),
            [Bind::Texts(filter.segments.clone())],
        );
    }
    if let Some(user) = filter.sales_owner {
        sql.and(&on("t.sales_owner_id = ?"), [Bind::Id(user.0)]);
    }
    if let Some(user) = filter.collector {
        sql.and(&on("t.collector_id = ?"), [Bind::Id(user.0)]);
    }
    if let Some(insolvent) = filter.insolvent {
        sql.and(&on("(t.insolvency <> 'NONE') = ?"), [Bind::Flag(insolvent)]);
    }
    if let Some(open) = filter.has_open_items {
        sql.exists(
            open,
            &on("SELECT 1 FROM items i WHERE i.company_id = t.company_id AND i.client_id = t.id AND i.open_amount > 0"),
            [],
        );
    }
    if let Some((overdue, day)) = filter.overdue {
        sql.exists(
            overdue,
            &on("SELECT 1 FROM items i WHERE i.company_id = t.company_id AND i.client_id = t.id AND i.is_debit AND i.open_amount > 0 AND i.due_on < ?"),
            [Bind::Day(day)],
        );
    }
    if let Some(closed) = filter.closed {
        sql.and(&on("(t.closed_on IS NOT NULL) = ?"), [Bind::Flag(closed)]);
    }
}

/// Clients by id, in no order.
pub fn by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[ClientId],
) -> QueryResult<Vec<Client>> {
    keys::by_ids(conn, company, ids)
}

/// A client by id.
pub fn by_id(
    conn: &mut PgConnection,
    company: CompanyId,
    id: ClientId,
) -> QueryResult<Option<Client>> {
    clients::table
        .find((company, id))
        .select(Client::as_select())
        .first(conn)
        .optional()
}

/// A client by the company's own number.
pub fn by_number(
    conn: &mut PgConnection,
    company: CompanyId,
    number: &str,
) -> QueryResult<Option<Client>> {
    clients::table
        .filter(
            clients::company_id
                .eq(company)
                .and(clients::number.eq(number)),
        )
        .select(Client::as_select())
        .first(conn)
        .optional()
}

/// Clients by number, in no order: for imports.
pub fn by_numbers(
    conn: &mut PgConnection,
    company: CompanyId,
    numbers: &[String],
) -> QueryResult<Vec<Client>> {
    keys::by_numbers(conn, company, None, numbers)
}

/// A client as imports name it.
#[derive(Queryable, Selectable)]
#[diesel(table_name = clients)]
struct Named {
    number: String,
    id: ClientId,
}

/// The ids of clients by number, in no order.
pub fn ids_by_number(
    conn: &mut PgConnection,
    company: CompanyId,
    numbers: &[String],
) -> QueryResult<Vec<(String, ClientId)>> {
    let found: Vec<Named> = keys::by_numbers(conn, company, None, numbers)?;
    Ok(found.into_iter().map(|it| (it.number, it.id)).collect())
}

/// A client by another system's reference.
pub fn by_external_ref(
    conn: &mut PgConnection,
    company: CompanyId,
    external_ref: &str,
) -> QueryResult<Option<Client>> {
    clients::table
        .filter(
            clients::company_id
                .eq(company)
                .and(clients::external_ref.eq(external_ref)),
        )
        .select(Client::as_select())
        .first(conn)
        .optional()
}

/// Adds to a statement over the clients `c` where a page begins, its order by number, and how many rows to read.
pub(super) fn in_number_order(sql: &mut Sql, page: &Keyset, limit: i64) {
    let reading = page.reading(Direction::Ascending);
    if let Some((number, _)) = &page.from {
        sql.and(
            &format!("c.number {} ?", reading.beyond()),
            [Bind::Text(number.clone())],
        );
    }
    sql.push(
        &format!(" ORDER BY c.number {} LIMIT ?", reading.order()),
        [Bind::Number(limit)],
    );
}

/// A page, by number, of the clients `c` that a statement asks the ids of; and whether more follow.
pub fn page_by_number(
    conn: &mut PgConnection,
    mut sql: Sql,
    page: &Keyset,
) -> QueryResult<(Vec<Uuid>, bool)> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    in_number_order(&mut sql, page, page.limit());
    let rows: Vec<Row> = sql.query().load(conn)?;
    Ok(page.page(rows.into_iter().map(|row| row.id).collect()))
}

/// Locks a client until the transaction ends.
pub fn for_update(
    conn: &mut PgConnection,
    company: CompanyId,
    id: ClientId,
) -> QueryResult<Option<Client>> {
    clients::table
        .find((company, id))
        .select(Client::as_select())
        .for_no_key_update()
        .first(conn)
        .optional()
}

/// Adds clients.
pub fn insert(conn: &mut PgConnection, rows: &[Client]) -> QueryResult<()> {
    bulk::insert(conn, rows)
}

/// Writes a changed client.
pub fn update(conn: &mut PgConnection, client: &Client) -> QueryResult<()> {
    diesel::update(clients::table.find((client.company_id, client.id)))
        .set(client)
        .execute(conn)
        .map(drop)
}

/// A contact of a client: personal data.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = client_contacts)]
pub struct Contact {
    pub company_id: CompanyId,
    pub id: ContactId,
    pub client_id: ClientId,
    pub role: String,
    pub name: String,
    pub email: Option<String>,
    pub phone: Option<String>,
}

/// The contacts of these clients that were not removed, oldest first.
pub fn contacts(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[ClientId],
) -> QueryResult<Vec<Contact>> {
    client_contacts::table
        .filter(
            client_contacts::company_id
                .eq(company)
                .and(client_contacts::client_id.eq_any(ids)),
        )
        .filter(client_contacts::removed_at.is_null())
        .order(client_contacts::id)
        .select(Contact::as_select())
        .load(conn)
}

/// Adds a contact.
pub fn insert_contact(conn: &mut PgConnection, contact: &Contact) -> QueryResult<()> {
    diesel::insert_into(client_contacts::table)
        .values(contact)
        .execute(conn)
        .map(drop)
}

/// The client of a contact, removed or not.
pub fn contact_of(
    conn: &mut PgConnection,
    company: CompanyId,
    id: ContactId,
) -> QueryResult<Option<ClientId>> {
    client_contacts::table
        .find((company, id))
        .select(client_contacts::client_id)
        .first(conn)
        .optional()
}

/// The client of a contact that was not removed.
pub fn present_contact_of(
    conn: &mut PgConnection,
    company: CompanyId,
    id: ContactId,
) -> QueryResult<Option<ClientId>> {
    client_contacts::table
        .find((company, id))
        .filter(client_contacts::removed_at.is_null())
        .select(client_contacts::client_id)
        .for_no_key_update()
        .first(conn)
        .optional()
}
