//! Remittance slips (bordereaux de remise) and the instruments on them.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Date, Uuid as SqlUuid};

use super::list::{Bind, Sql};
use super::schema::{remittance_lines, remittances};
use crate::domain::ids::{CompanyId, PaymentId, RemittanceId};

/// A slip. Amounts are minor units of `currency`; what the bank credited is known later.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = remittances)]
pub struct Remittance {
    pub company_id: CompanyId,
    pub id: RemittanceId,
    pub number: String,
    pub kind: String,
    pub bank_account: String,
    pub remitted_on: NaiveDate,
    pub amount: i64,
    pub currency: String,
    pub recorded_by: String,
    pub credited_on: Option<NaiveDate>,
    pub received: Option<i64>,
    pub fee_net: Option<i64>,
    pub fee_vat: Option<i64>,
    pub interest: Option<i64>,
    pub credited_at: Option<DateTime<Utc>>,
    pub credited_by: Option<String>,
}

/// An instrument on a slip.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = remittance_lines)]
pub struct Line {
    pub company_id: CompanyId,
    pub remittance_id: RemittanceId,
    pub payment_id: PaymentId,
    pub amount: i64,
}

/// Adds a slip with its instruments.
pub fn insert(conn: &mut PgConnection, slip: &Remittance, lines: &[Line]) -> QueryResult<()> {
    diesel::insert_into(remittances::table)
        .values(slip)
        .execute(conn)?;
    diesel::insert_into(remittance_lines::table)
        .values(lines)
        .execute(conn)
        .map(drop)
}

/// Slips by id, in no order.
pub fn by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[RemittanceId],
) -> QueryResult<Vec<Remittance>> {
    remittances::table
        .filter(
            remittances::company_id
                .eq(company)
                .and(remittances::id.eq_any(ids)),
        )
        .select(Remittance::as_select())
        .load(conn)
}

/// A slip by its number.
pub fn by_number(
    conn: &mut PgConnection,
    company: CompanyId,
    number: &str,
) -> QueryResult<Option<Remittance>> {
    remittances::table
        .filter(
            remittances::company_id
                .eq(company)
                .and(remittances::number.eq(number)),
        )
        .select(Remittance::as_select())
        .first(conn)
        .optional()
}

/// Locks a slip until the transaction ends.
pub fn for_update(
    conn: &mut PgConnection,
    company: CompanyId,
    id: RemittanceId,
) -> QueryResult<Option<Remittance>> {
    remittances::table
        .find((company, id))
        .select(Remittance::as_select())
        .for_no_key_update()
        .first(conn)
        .optional()
}

/// The slip that an instrument was handed in with.
pub fn of_payment(
    conn: &mut PgConnection,
    company: CompanyId,
    payment: PaymentId,
) -> QueryResult<Option<Remittance>> {
    let slip = remittance_lines::table
        .filter(
            remittance_lines::company_id
                .eq(company)
                .and(remittance_lines::payment_id.eq(payment)),
        )
        .select(remittance_lines::remittance_id);
    remittances::table
        .filter(
            remittances::company_id
                .eq(company)
                .and(remittances::id.eq_any(slip)),
        )
        .select(Remittance::as_select())
        .first(conn)
        .optional()
}

/// The instruments of these slips.
pub fn lines(
    conn: &mut PgConnection,
    company: CompanyId,
    slips: &[RemittanceId],
) -> QueryResult<Vec<Line>> {
    remittance_lines::table
        .filter(
            remittance_lines::company_id
                .eq(company)
                .and(remittance_lines::remittance_id.eq_any(slips)),
        )
        .order(remittance_lines::payment_id)
        .select(Line::as_select())
        .load(conn)
}

/// Writes what the bank credited.
pub fn credit(conn: &mut PgConnection, slip: &Remittance) -> QueryResult<()> {
    diesel::update(remittances::table.find((slip.company_id, slip.id)))
        .set((
            remittances::credited_on.eq(slip.credited_on),
            remittances::received.eq(slip.received),
            remittances::fee_net.eq(slip.fee_net),
            remittances::fee_vat.eq(slip.fee_vat),
            remittances::interest.eq(slip.interest),
            remittances::credited_at.eq(diesel::dsl::now),
            remittances::credited_by.eq(&slip.credited_by),
        ))
        .execute(conn)
        .map(drop)
}

/// `FROM remittances t WHERE …`, narrowed to kinds and to those the bank has credited or not.
pub fn from(company: CompanyId, kinds: &[String], credited: Option<bool>) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        "FROM remittances t WHERE t.company_id = ?",
        [Bind::Id(company.0)],
    );
    if !kinds.is_empty() {
        sql.and("t.kind = ANY(?)", [Bind::Texts(kinds.to_vec())]);
    }
    if let Some(credited) = credited {
        sql.and("(t.credited_on IS NOT NULL) = ?", [Bind::Flag(credited)]);
    }
    sql
}

/// Slips of a bank account that it has not credited, by their amount; at most two, since two are no answer.
pub fn awaiting(
    conn: &mut PgConnection,
    company: CompanyId,
    bank_account: &str,
    amount: i64,
    currency: &str,
    by: NaiveDate,
) -> QueryResult<Vec<Remittance>> {
    remittances::table
        .filter(remittances::company_id.eq(company))
        .filter(remittances::bank_account.eq(bank_account))
        .filter(remittances::amount.eq(amount))
        .filter(remittances::currency.eq(currency))
        .filter(remittances::remitted_on.le(by))
        .filter(remittances::credited_on.is_null())
        .order(remittances::id)
        .limit(2)
        .select(Remittance::as_select())
        .load(conn)
}

/// Bills that the bank has discounted, that mature by a day, and whose maturity is not recorded; returned ones left out.
pub fn maturing(
    conn: &mut PgConnection,
    company: CompanyId,
    through: NaiveDate,
) -> QueryResult<Vec<PaymentId>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Uuid)]
        id: uuid::Uuid,
    }
    let mut sql = Sql::default();
    sql.push(
        "SELECT p.id FROM payments p JOIN remittance_lines l ON l.company_id = p.company_id AND l.payment_id = p.id \
           JOIN remittances r ON r.company_id = l.company_id AND r.id = l.remittance_id \
         WHERE p.company_id = ? AND r.kind = 'BILLS_FOR_DISCOUNT' AND r.credited_on IS NOT NULL AND coalesce(p.matures_on, p.received_on) <= ? \
           AND NOT EXISTS (SELECT 1 FROM operations o WHERE o.company_id = p.company_id AND o.payment_id = p.id AND o.kind = 'BILL_MATURITY') \
           AND NOT EXISTS (SELECT 1 FROM payment_events e WHERE e.company_id = p.company_id AND e.payment_id = p.id AND e.kind IN ('RETURNED', 'REVERSED')) \
         ORDER BY p.matures_on, p.id",
        [Bind::Id(company.0), Bind::Day(through)],
    );
    Ok(sql
        .query()
        .load::<Row>(conn)?
        .into_iter()
        .map(|row| PaymentId(row.id))
        .collect())
}

/// Cheques received since a day that stand on no slip and did not come back; at most 100.
pub fn waiting_cheques(
    conn: &mut PgConnection,
    company: CompanyId,
    since: NaiveDate,
) -> QueryResult<Vec<PaymentId>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        id: PaymentId,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT p.id FROM payments p WHERE p.company_id = $1 AND p.method = 'CHEQUE' AND p.received_on >= $2 \
           AND NOT EXISTS (SELECT 1 FROM remittance_lines l WHERE l.company_id = p.company_id AND l.payment_id = p.id) \
           AND NOT EXISTS (SELECT 1 FROM payment_events e WHERE e.company_id = p.company_id AND e.payment_id = p.id AND e.kind IN ('RETURNED', 'REVERSED')) \
         ORDER BY p.received_on, p.id LIMIT 100",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<Date, _>(since)
    .load(conn)?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}
