//! The aged balance (balance âgée), and the open items that it is made of.

mod item;

use std::collections::HashMap;

use async_graphql::{Context, Enum, InputObject, Object, SimpleObject};
use chrono::{DateTime, NaiveTime, TimeZone, Utc};
use uuid::Uuid;

use super::client::{Client, ClientFilter, client_filter_id};
use super::document::{OrderDirection, one};
use super::page::{Asked, Connection, Window, counted};
use super::scalars::{ClientRef, Date, Decimal, Instant, at, day, money, show};
use super::text::untold;
use super::{Permitted, Roots, balances, loader, session};
use crate::domain::aging::{AgingBasis as Basis, Buckets};
use crate::domain::ids::{ClientId, ItemId};
use crate::domain::money::{Currency, Minor, convert};
use crate::error::{Error, Result};
use crate::service::books;
use crate::store;
use crate::store::aging::{self, Cell, Group, Layout, OpenItems, Population, RowSort};

pub use item::{ItemKind, OpenItem, open_items};

untold!(AgedBalanceRow);

/// What age is counted from.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AgingBasis {
    /// The due date: what is not due yet has its own bucket.
    #[default]
    DueDate,
    /// The invoice's date (R4.6): no bucket for what is not due.
    InvoiceDate,
}

/// Where unallocated credits stand (R4.7).
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum UnallocatedCredits {
    /// In a column of their own, so that overdue debt is not hidden.
    #[default]
    Separate,
    /// In the buckets, aged from their own date.
    ByOwnDate,
}

/// Narrows an aged balance; all conditions hold at once.
#[derive(InputObject, Clone, Debug, Default)]
struct AgedBalanceFilter {
    /// Of this client alone.
    client: Option<ClientRef>,
    /// Of these clients.
    clients: Option<ClientFilter>,
    /// In this currency.
    currency: Option<String>,
    /// With bills of exchange to receive (413) beside 411 and 416, in a column of their own (R4.1).
    #[graphql(default)]
    include_bills: bool,
}

/// A column of an aged balance.
#[derive(SimpleObject, Clone)]
struct AgedBucket {
    /// "not due", "1-30", …, "> 90".
    label: String,
    /// First day of age, inclusive; null when not bounded.
    from_days: Option<i32>,
    /// Last day of age, inclusive; null when not bounded.
    to_days: Option<i32>,
}

/// What one client owes in one currency, by age. Unallocated credits are negative.
#[derive(Clone)]
struct AgedBalanceRow {
    row: aging::Row,
    report: AgedBalance,
}

/// A row of an aged balance.
#[Object]
impl AgedBalanceRow {
    /// The client.
    async fn client(&self, ctx: &Context<'_>) -> Result<Client> {
        Ok(Client(one(ctx, ClientId(self.row.id)).await?))
    }
    /// The currency of the amounts: currencies are never added (R4.11).
    async fn currency(&self) -> &str {
        &self.row.currency
    }
    /// Amounts per bucket, in the order of `AgedBalance.buckets`.
    async fn buckets(&self) -> Vec<Decimal> {
        self.row
            .buckets
            .iter()
            .map(|amount| money(*amount, &self.row.currency))
            .collect()
    }
    /// Receipts and credit notes not matched (non affecté), zero or negative.
    async fn unallocated(&self) -> Decimal {
        money(self.row.unallocated, &self.row.currency)
    }
    /// Bills of exchange to receive (413), whatever their maturity; zero unless `includeBills` asks for them.
    async fn bills(&self) -> Decimal {
        money(self.row.bills, &self.row.currency)
    }
    /// Buckets, unallocated and bills together.
    async fn total(&self) -> Decimal {
        money(self.row.total, &self.row.currency)
    }
    /// Debts past their due date; credits do not reduce it.
    async fn overdue(&self) -> Decimal {
        money(self.row.overdue, &self.row.currency)
    }
    /// Of which in dispute: a memo, already inside the buckets unless disputes are excluded (R4.9).
    async fn disputed(&self) -> Decimal {
        money(self.row.disputed, &self.row.currency)
    }
    /// The open items behind the row, or behind one of its cells: bucket 0 is the first column.
    async fn open_items(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Position of a bucket; all when absent.")] bucket: Option<i32>,
        #[graphql(desc = "Only the unallocated credits.", default)] unallocated: bool,
        #[graphql(desc = "Only the bills of exchange.", default)] bills: bool,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<OpenItem>> {
        let population = Population {
            client_ids: vec![ClientId(self.row.id)],
            currency: Some(self.row.currency.clone()),
            ..self.report.population.clone()
        };
        self.report
            .cell(
                ctx,
                population,
                bucket,
                (unallocated, bills),
                Window {
                    first,
                    after,
                    last,
                    before,
                },
            )
            .await
    }
}

/// Totals of an aged balance in one currency.
#[derive(SimpleObject)]
struct AgedBalanceTotals {
    /// The currency of the amounts.
    currency: String,
    /// Amounts per bucket, in the order of `AgedBalance.buckets`.
    buckets: Vec<Decimal>,
    /// Receipts and credit notes not matched, zero or negative.
    unallocated: Decimal,
    /// Bills of exchange to receive (413), whatever their maturity; zero unless `includeBills` asks for them.
    bills: Decimal,
    /// Buckets, unallocated and bills together.
    total: Decimal,
    /// Debts past their due date.
    overdue: Decimal,
    /// Of which in dispute (memo).
    disputed: Decimal,
}

/// A rate of the day.
#[derive(InputObject, Clone, Debug)]
struct CurrencyRateInput {
    /// The currency, ISO 4217.
    currency: String,
    /// Units of the company's currency for 1 of it.
    rate: Decimal,
}

/// What is open in a currency, in the company's currency.
#[derive(SimpleObject)]
struct Revaluation {
    /// The currency of `total`.
    currency: String,
    /// What is open, credits negative.
    total: Decimal,
    /// The same in the company's currency, at the rates it was booked at.
    book_value: Decimal,
    /// The rate of the day; null when none was given.
    rate: Option<Decimal>,
    /// What is open at that rate; null without one.
    value: Option<Decimal>,
    /// `value` less `bookValue`: a gain not made yet (écart de conversion passif, 477), a loss when negative
    /// (actif, 476).
    difference: Option<Decimal>,
}

fn revalued(
    row: aging::BookValue,
    books: Currency,
    rates: &std::collections::HashMap<String, rust_decimal::Decimal>,
) -> Result<Revaluation> {
    let base = money(row.base, books.code());
    let total = money(row.total, &row.currency);
    let rate = if row.currency == books.code() {
        Some(rust_decimal::Decimal::ONE)
    } else {
        rates.get(&row.currency).copied()
    };
    let currency: Currency = row
        .currency
        .parse()
        .map_err(|_| Error::Internal(format!("stored currency {}", row.currency)))?;
    let value = rate
        .map(|rate| {
            convert(row.total, currency, books, rate).ok_or_else(|| Error::BadInput {
                field: "rates",
                message: "the value is too large to be computed".into(),
            })
        })
        .transpose()?;
    let shown = |minor: Minor| money(minor, books.code());
    Ok(Revaluation {
        currency: row.currency,
        total,
        book_value: base,
        rate: rate.map(super::scalars::rate),
        value: value.map(shown),
        difference: value.map(|value| shown(value - row.base)),
    })
}

/// The sums of a group of clients in one currency.
#[derive(SimpleObject)]
struct AgedBalanceGroup {
    /// What they share: a segment, or a person's id; null for clients without one.
    key: Option<String>,
    /// The same in words: a person's name.
    label: Option<String>,
    /// The sums.
    totals: AgedBalanceTotals,
}

/// What the rows are added up by.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
enum AgedBalanceGrouping {
    /// The clients' segment.
    Segment,
    /// The sales person.
    SalesOwner,
    /// The collector.
    Collector,
}

/// The open items against the general ledger: the difference must be zero (R4.8).
#[derive(SimpleObject)]
struct LedgerCheck {
    /// The currency of the amounts.
    currency: String,
    /// The sum of all open items, whatever the filter.
    open_items: Decimal,
    /// The balance of the accounts (411, 416) in the general ledger.
    ledger_balance: Decimal,
    /// The one less the other.
    difference: Decimal,
}

/// What was left out because it is in dispute (D441-6 IV), per currency.
#[derive(SimpleObject)]
struct ExcludedDisputes {
    /// The currency of the amount.
    currency: String,
    /// How many documents have a disputed part.
    documents: i32,
    /// How much is in dispute.
    amount: Decimal,
}

/// What the rows of an aged balance are ordered by.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
enum AgedBalanceOrderField {
    /// Debts past their due date.
    Overdue,
    /// Everything open.
    Total,
    /// The amount in dispute.
    Disputed,
    /// The client's number.
    Number,
    /// The client's name.
    Name,
}

/// Order of the rows of an aged balance.
#[derive(InputObject, Clone, Copy, Debug)]
struct AgedBalanceOrder {
    /// By what.
    field: AgedBalanceOrderField,
    /// Which way.
    #[graphql(default)]
    direction: OrderDirection,
}

/// An aged balance (balance âgée) on a day. Each part is computed when it is asked for, all from one
/// state of the books.
#[derive(Clone)]
pub struct AgedBalance {
    population: Population,
    layout: Layout,
    buckets: Buckets,
    /// The document asks for its totals, and for nothing else that is read.
    only_totals: bool,
}

/// Whether the document asks of the database nothing but the totals of this balance.
fn asks_only_totals(ctx: &Context<'_>) -> bool {
    const NOT_READ: [&str; 4] = ["__typename", "asOf", "buckets", "knownAt"];
    let is_only_root = ctx.data_opt::<Roots>().is_some_and(|roots| roots.0 == 1);
    let field = ctx.field();
    let read = field.selection_set().map(|field| field.name());
    let mut read = read.filter(|name| !NOT_READ.contains(name));
    is_only_root && read.next() == Some("totals") && read.next().is_none()
}

fn totals(row: &aging::Row) -> AgedBalanceTotals {
    let amount = |minor| money(minor, &row.currency);
    AgedBalanceTotals {
        currency: row.currency.clone(),
        buckets: row.buckets.iter().map(|minor| amount(*minor)).collect(),
        unallocated: amount(row.unallocated),
        bills: amount(row.bills),
        total: amount(row.total),
        overdue: amount(row.overdue),
        disputed: amount(row.disputed),
    }
}

impl AgedBalance {
    async fn sums(&self, ctx: &Context<'_>) -> Result<Vec<aging::Row>> {
        if self.only_totals {
            let (this, balances) = (self.clone(), balances(ctx));
            let found = session(ctx)?
                .read_alone(move |conn, caller| {
                    balances.totals_alone(conn, caller, &this.population, &this.layout)
                })
                .await?;
            if let Some(rows) = found {
                return Ok(rows);
            }
        }
        let (this, balances) = (self.clone(), balances(ctx));
        session(ctx)?
            .read(move |conn, caller| balances.totals(conn, caller, &this.population, &this.layout))
            .await
    }

    async fn cell(
        &self,
        ctx: &Context<'_>,
        population: Population,
        bucket: Option<i32>,
        (unallocated, bills): (bool, bool),
        window: Window,
    ) -> Result<Connection<OpenItem>> {
        let cell = match bucket {
            Some(_) if unallocated || bills => {
                return Err(Error::BadInput {
                    field: "bucket",
                    message: "ask for a bucket, for unallocated credits or for bills".into(),
                });
            }
            Some(bucket)
                if !(0..self.buckets.len())
                    .contains(&usize::try_from(bucket).unwrap_or(usize::MAX)) =>
            {
                return Err(Error::BadInput {
                    field: "bucket",
                    message: format!(
                        "this balance has the buckets 0 to {}",
                        self.buckets.len() - 1
                    ),
                });
            }
            Some(bucket) => Some((self.layout.clone(), Cell::Bucket(bucket))),
            None if unallocated && bills => {
                return Err(Error::BadInput {
                    field: "bills",
                    message: "ask for unallocated credits or for bills, not both".into(),
                });
            }
            None if unallocated => Some((self.layout.clone(), Cell::Unallocated)),
            None if bills => Some((self.layout.clone(), Cell::Bills)),
            None => None,
        };
        open_items(
            ctx,
            OpenItems {
                population,
                cell,
                is_debit: None,
                invoice: None,
            },
            window,
        )
        .await
    }
}

/// An aged balance (balance âgée).
#[Object]
impl AgedBalance {
    /// The effective day, inclusive.
    async fn as_of(&self) -> Date {
        self.population.as_of.into()
    }
    /// As recorded by this instant; null means now.
    async fn known_at(&self) -> Option<Instant> {
        self.population.known_at.map(Into::into)
    }
    /// The instant of the snapshot that the report was read from: give it as `knownAt` to print the same report again.
    async fn read_at(&self, ctx: &Context<'_>) -> Result<Instant> {
        let read = session(ctx)?.read(|conn, _| Ok(crate::store::snapshot_instant(conn)?));
        Ok(read.await?.into())
    }
    /// The columns.
    async fn buckets(&self) -> Vec<AgedBucket> {
        self.buckets
            .labels()
            .into_iter()
            .map(|bucket| AgedBucket {
                label: bucket.label,
                from_days: bucket.from_days,
                to_days: bucket.to_days,
            })
            .collect()
    }
    /// Totals, one per currency.
    async fn totals(&self, ctx: &Context<'_>) -> Result<Vec<AgedBalanceTotals>> {
        Ok(self.sums(ctx).await?.iter().map(totals).collect())
    }
    /// What was left out because it is in dispute; empty unless disputes are excluded.
    async fn excluded_disputes(&self, ctx: &Context<'_>) -> Result<Vec<ExcludedDisputes>> {
        if !self.layout.exclude_disputed {
            return Ok(Vec::new());
        }
        let rows = self.sums(ctx).await?;
        Ok(rows
            .into_iter()
            .map(|row| ExcludedDisputes {
                documents: i32::try_from(row.disputed_count).unwrap_or(i32::MAX),
                amount: money(row.disputed, &row.currency),
                currency: row.currency,
            })
            .collect())
    }
    /// What is open in each currency, at the rates it was booked at; with the rates of the day, also
    /// revalued (R4.11). Currencies are shown beside each other, never added.
    async fn revaluation(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Units of the company's currency for 1 of the other, for the currencies to revalue.",
            default
        )]
        rates: Vec<CurrencyRateInput>,
    ) -> Result<Vec<Revaluation>> {
        let population = self.population.clone();
        let (rows, books) = session(ctx)?
            .read(move |conn, caller| {
                let books = books::open(conn, caller)?;
                Ok((aging::book_values(conn, &population)?, books.currency))
            })
            .await?;
        let mut by_currency = std::collections::HashMap::new();
        for given in rates {
            let bad = |message: &str| Error::BadInput {
                field: "rates",
                message: format!(
                    "{}: {message}",
                    given.currency.chars().take(10).collect::<String>()
                ),
            };
            let currency: Currency = given
                .currency
                .parse()
                .map_err(|_| bad("not a currency of ISO 4217 that is known here"))?;
            let fits = given.rate.0 > rust_decimal::Decimal::ZERO
                && given.rate.0 < rust_decimal::Decimal::from(1_000_000)
                && given.rate.0.scale() <= 8;
            if !fits || currency == books {
                return Err(bad(
                    "a rate is positive, with at most 8 decimals, of another currency than the company's",
                ));
            }
            by_currency.insert(currency.code().to_owned(), given.rate.0);
        }
        rows.into_iter()
            .map(|row| revalued(row, books, &by_currency))
            .collect()
    }
    /// Totals per segment, sales person or collector, and currency.
    async fn groups(
        &self,
        ctx: &Context<'_>,
        by: AgedBalanceGrouping,
    ) -> Result<Vec<AgedBalanceGroup>> {
        let group = match by {
            AgedBalanceGrouping::Segment => Group::Segment,
            AgedBalanceGrouping::SalesOwner => Group::SalesOwner,
            AgedBalanceGrouping::Collector => Group::Collector,
        };
        let this = self.clone();
        let rows = session(ctx)?
            .read(move |conn, _| Ok(aging::groups(conn, &this.population, &this.layout, group)?))
            .await?;
        let ids: Vec<_> = rows
            .iter()
            .filter_map(|row| Uuid::try_parse(&row.sort).ok())
            .map(crate::domain::ids::UserId)
            .collect();
        let users = loader(ctx)?
            .load_many(ids)
            .await
            .map_err(super::document::shared)?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let user = Uuid::try_parse(&row.sort)
                    .ok()
                    .map(crate::domain::ids::UserId);
                let label = match user {
                    Some(id) => users.get(&id).map(|user| user.name.clone()),
                    None => (!row.sort.is_empty()).then(|| row.sort.clone()),
                };
                let key = user
                    .map(|id| show(id).0)
                    .or_else(|| (!row.sort.is_empty()).then(|| row.sort.clone()));
                AgedBalanceGroup {
                    key,
                    label,
                    totals: totals(&row),
                }
            })
            .collect())
    }
    /// The whole company's open items against the general ledger, per currency, whatever the filter.
    async fn ledger_check(&self, ctx: &Context<'_>) -> Result<Vec<LedgerCheck>> {
        let population = self.population.clone();
        let rows = session(ctx)?
            .read(move |conn, _| Ok(aging::ledger_check(conn, &population)?))
            .await?;
        Ok(rows
            .into_iter()
            .map(|row| LedgerCheck {
                open_items: money(row.items, &row.currency),
                ledger_balance: money(row.ledger, &row.currency),
                difference: money(row.items - row.ledger, &row.currency),
                currency: row.currency,
            })
            .collect())
    }
    /// One row per client and currency with something open, most overdue first unless ordered otherwise.
    async fn rows(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        order_by: Option<AgedBalanceOrder>,
    ) -> Result<Connection<AgedBalanceRow>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("{:?}{:?}{order_by:?}", self.population, self.layout),
        )?;
        let order = order_by.unwrap_or(AgedBalanceOrder {
            field: AgedBalanceOrderField::Overdue,
            direction: OrderDirection::Desc,
        });
        let sort = match order.field {
            AgedBalanceOrderField::Overdue => RowSort::Overdue,
            AgedBalanceOrderField::Total => RowSort::Total,
            AgedBalanceOrderField::Disputed => RowSort::Disputed,
            AgedBalanceOrderField::Number => RowSort::Number,
            AgedBalanceOrderField::Name => RowSort::Name,
        };
        let (this, keyset) = (self.clone(), asked.keyset.clone());
        let (session, balances) = (session(ctx)?.clone(), balances(ctx));
        let asking = balances.clone();
        let (rows, more) = session
            .read(move |conn, caller| {
                asking.rows(
                    conn,
                    caller,
                    &this.population,
                    &this.layout,
                    sort,
                    order.direction.into(),
                    &keyset,
                )
            })
            .await?;
        let this = self.clone();
        Ok(Connection {
            cursors: rows
                .iter()
                .map(|row| asked.cursor(format!("{}{}", row.currency, row.sort), row.id))
                .collect(),
            nodes: rows
                .into_iter()
                .map(|row| AgedBalanceRow {
                    row,
                    report: self.clone(),
                })
                .collect(),
            ends: asked.ends(more),
            count: counted(move || {
                let (session, balances, this) = (session.clone(), balances.clone(), this.clone());
                async move {
                    session
                        .read(move |conn, caller| {
                            balances.row_count(conn, caller, &this.population, &this.layout)
                        })
                        .await
                }
            }),
        })
    }
    /// The open items behind the whole balance, or behind one of its columns.
    async fn open_items(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Position of a bucket; all when absent.")] bucket: Option<i32>,
        #[graphql(desc = "Only the unallocated credits.", default)] unallocated: bool,
        #[graphql(desc = "Only the bills of exchange.", default)] bills: bool,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<OpenItem>> {
        self.cell(
            ctx,
            self.population.clone(),
            bucket,
            (unallocated, bills),
            Window {
                first,
                after,
                last,
                before,
            },
        )
        .await
    }
    /// Documents that take effect by `asOf` but were recorded later (R4.14): after `since`, else after
    /// `knownAt`, else after the day itself. Earliest recorded first.
    async fn late_entries(
        &self,
        ctx: &Context<'_>,
        since: Option<Instant>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<OpenItem>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("late{:?}{since:?}", self.population),
        )?;
        let since = at(since)
            .or(self.population.known_at)
            .unwrap_or_else(|| end_of_day(self.population.as_of.into()));
        let (population, keyset) = (self.population.clone(), asked.keyset.clone());
        let session = session(ctx)?;
        let (keys, mut items) = session
            .read(move |conn, caller| {
                let keys = aging::late_entries(conn, &population, since, &keyset)?;
                let ids: Vec<ItemId> = keys.keys.iter().map(|key| ItemId(key.id)).collect();
                let mut items: HashMap<_, _> = store::item::by_ids(conn, caller.company, &ids)?
                    .into_iter()
                    .map(|item| (item.id.0, item))
                    .collect();
                let ids: Vec<Uuid> = items.keys().copied().collect();
                let stood = aging::standings(conn, &population, &ids)?.into_iter();
                let stood: HashMap<_, _> = stood
                    .filter_map(|standing| {
                        Some((standing.id, (items.remove(&standing.id)?, standing)))
                    })
                    .collect();
                Ok((keys, stood))
            })
            .await?;
        let (mut cursors, mut nodes) = (Vec::new(), Vec::new());
        for key in &keys.keys {
            if let Some((item, standing)) = items.remove(&key.id) {
                cursors.push(asked.cursor(&key.sort, key.id));
                nodes.push(OpenItem::standing(
                    self.population.as_of.into(),
                    item,
                    standing,
                )?);
            }
        }
        let (session, population) = (session.clone(), self.population.clone());
        Ok(Connection {
            cursors,
            nodes,
            ends: asked.ends(keys.more),
            count: counted(move || {
                let (session, population) = (session.clone(), population.clone());
                async move {
                    session
                        .read(move |conn, _| Ok(aging::late_count(conn, &population, since)?))
                        .await
                }
            }),
        })
    }
}

/// The first instant after a day in the company's time zone (R0.4).
fn end_of_day(on: Date) -> DateTime<Utc> {
    let midnight = (on.0 + chrono::Duration::days(1)).and_time(NaiveTime::MIN);
    chrono_tz::Europe::Paris
        .from_local_datetime(&midnight)
        .earliest()
        .map_or_else(|| midnight.and_utc(), |at| at.with_timezone(&Utc))
}

/// Reports.
#[derive(Default)]
pub struct AgingQuery;

#[Object]
impl AgingQuery {
    /// What is open on a day, over all clients, oldest due first.
    #[graphql(guard = "Permitted(\"Query.openItems\")")]
    async fn open_items(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Effective day, inclusive; today when absent.")] as_of: Option<Date>,
        #[graphql(desc = "As recorded by this instant; now when absent.")] known_at: Option<
            Instant,
        >,
        filter: Option<AgedBalanceFilter>,
        #[graphql(desc = "Only debts, or only credits.")] debit: Option<bool>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<OpenItem>> {
        let as_of = as_of.unwrap_or(session(ctx)?.caller().today.into());
        let population = population(ctx, as_of, known_at, filter).await?;
        open_items(
            ctx,
            OpenItems {
                population,
                cell: None,
                is_debit: debit,
                invoice: None,
            },
            Window {
                first,
                after,
                last,
                before,
            },
        )
        .await
    }

    /// The aged balance (balance âgée) on a day: who owes what since when (section 4).
    #[graphql(guard = "Permitted(\"Query.agedBalance\")")]
    async fn aged_balance(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Effective day, inclusive; today when absent.")] as_of: Option<Date>,
        #[graphql(
            desc = "As recorded by this instant: prints a report as it was printed then; now when absent."
        )]
        known_at: Option<Instant>,
        #[graphql(desc = "What age is counted from; DUE_DATE when absent.")] basis: Option<
            AgingBasis,
        >,
        #[graphql(
            desc = "Last day of each bucket, ascending, at most 12; 30, 60, 90 when absent."
        )]
        bounds: Option<Vec<i32>>,
        #[graphql(desc = "Where unallocated credits stand; SEPARATE when absent.")]
        unallocated_credits: Option<UnallocatedCredits>,
        #[graphql(desc = "Leave disputed amounts out, and say how much.", default)]
        exclude_disputed: bool,
        filter: Option<AgedBalanceFilter>,
    ) -> Result<AgedBalance> {
        let as_of = as_of.unwrap_or(session(ctx)?.caller().today.into());
        let basis = match basis.unwrap_or_default() {
            AgingBasis::DueDate => Basis::DueDate,
            AgingBasis::InvoiceDate => Basis::InvoiceDate,
        };
        let buckets =
            Buckets::new(basis, &bounds.unwrap_or_else(|| vec![30, 60, 90])).map_err(|error| {
                Error::BadInput {
                    field: "bounds",
                    message: error.to_string(),
                }
            })?;
        let layout = Layout {
            by_due_date: basis == Basis::DueDate,
            lower_bounds: buckets.lower_bounds(),
            credits_by_own_date: unallocated_credits.unwrap_or_default()
                == UnallocatedCredits::ByOwnDate,
            exclude_disputed,
        };
        Ok(AgedBalance {
            population: population(ctx, as_of, known_at, filter).await?,
            layout,
            buckets,
            only_totals: asks_only_totals(ctx),
        })
    }
}

async fn population(
    ctx: &Context<'_>,
    as_of: Date,
    known_at: Option<Instant>,
    filter: Option<AgedBalanceFilter>,
) -> Result<Population> {
    let as_of = day("asOf", as_of.0)?;
    let filter = filter.unwrap_or_default();
    let mut population = Population {
        known_at: at(known_at),
        ..Population::of(session(ctx)?.caller().company, as_of)
    };
    if filter.include_bills {
        population.families.push("413".into());
    }
    population.client_ids = client_filter_id(ctx, filter.client)
        .await?
        .into_iter()
        .collect();
    let clients = filter.clients.unwrap_or_default();
    population.clients = clients.read(session(ctx)?.caller())?;
    population.currency = filter.currency;
    Ok(population)
}
