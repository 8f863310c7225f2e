//! Journal entries, and the check of the books.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use uuid::Uuid;

use super::client::client_filter_id;
use super::document::{maybe, one};
use super::loaders::{BooksCurrency, EntriesOf, LinesOfEntry};
use super::page::{self, Asked, Connection, Window, listed};
use super::scalars::{ClientRef, Date, Decimal, Instant, at, money, show};
use super::text::untold;
use super::{Permitted, session};
use crate::domain::ids::EntryId;
use crate::error::Result;
use crate::service::integrity::{self, Seals};
use crate::store::list::{Direction, Sort};
use crate::store::{self};

untold!(Entry);

/// A journal entry (écriture): never changed, corrected by another.
#[derive(Clone)]
pub struct Entry(pub store::journal::Entry);

listed!(store::journal::Entry => Entry);

/// A line of an entry: exactly one of debit and credit is not zero (R2.1).
#[derive(SimpleObject)]
struct EntryLine {
    /// Account of the chart.
    account: String,
    /// Debit in the entry's currency.
    debit: Decimal,
    /// Credit in the entry's currency.
    credit: Decimal,
    /// The entry's currency.
    currency: String,
    /// Debit in the company's currency.
    base_debit: Decimal,
    /// Credit in the company's currency.
    base_credit: Decimal,
    /// The client's id on an auxiliary account; null on general accounts.
    client_id: Option<ID>,
}

/// A journal entry (écriture).
#[Object]
impl Entry {
    /// The opaque id.
    async fn id(&self) -> ID {
        show(self.0.id)
    }
    /// Code of the journal: VE sales, BQ bank, OD miscellaneous, AN opening.
    async fn journal(&self) -> &str {
        &self.0.journal
    }
    /// Gapless number within the financial year, as text: year and number.
    async fn number(&self) -> String {
        format!("{}-{:06}", self.0.fiscal_year, self.0.number)
    }
    /// Accounting date.
    async fn posted_on(&self) -> Date {
        self.0.posted_on.into()
    }
    /// The day of the operation itself: earlier than `postedOn` when it fell in a closed period (R2.2).
    async fn occurred_on(&self) -> Date {
        self.0.occurred_on.into()
    }
    /// What made it: INVOICE, CREDIT_NOTE, PAYMENT, DEDUCTION, OPERATION, REMITTANCE, PROVISION_RUN, CARRY_FORWARD, …
    async fn source_kind(&self) -> &str {
        &self.0.source_kind
    }
    /// The entry that it takes back (contre-passation, R2.2); null when it is none.
    async fn reversal_of(&self, ctx: &Context<'_>) -> Result<Option<Entry>> {
        match self.0.reversal_of {
            Some(id) => Ok(maybe(ctx, id).await?.map(Entry)),
            None => Ok(None),
        }
    }
    /// Number of the supporting document.
    async fn reference(&self) -> &str {
        &self.0.reference
    }
    /// What it records.
    async fn label(&self) -> &str {
        &self.0.label
    }
    /// The lines; debits equal credits.
    async fn lines(&self, ctx: &Context<'_>) -> Result<Vec<EntryLine>> {
        let rows = maybe(ctx, LinesOfEntry(self.0.id))
            .await?
            .unwrap_or_default();
        let base = one(ctx, BooksCurrency).await?;
        Ok(rows
            .into_iter()
            .map(|row| EntryLine {
                account: row.account,
                debit: money(row.debit, &row.currency),
                credit: money(row.credit, &row.currency),
                base_debit: money(row.base_debit, base.code()),
                base_credit: money(row.base_credit, base.code()),
                client_id: row.client_id.map(show),
                currency: row.currency,
            })
            .collect())
    }
    /// When it was recorded.
    async fn recorded_at(&self) -> Instant {
        self.0.recorded_at.into()
    }
    /// Who recorded it.
    async fn recorded_by(&self) -> &str {
        &self.0.recorded_by
    }
}

/// The entries that a document, receipt or deduction made.
pub async fn entries(ctx: &Context<'_>, source: Uuid) -> Result<Vec<Entry>> {
    Ok(maybe(ctx, EntriesOf(source))
        .await?
        .unwrap_or_default()
        .into_iter()
        .map(Entry)
        .collect())
}

/// Narrows journal entries; all conditions hold at once.
#[derive(InputObject, Clone, Debug, Default)]
struct JournalEntryFilter {
    /// Code of the journal.
    journal: Option<String>,
    /// Posted on or after this day.
    posted_from: Option<Date>,
    /// Posted on or before this day.
    posted_to: Option<Date>,
    /// With a line on this account or below it, such as 411; digits.
    account: Option<String>,
    /// With a line of this client.
    client: Option<ClientRef>,
    /// Of this supporting document.
    reference: Option<String>,
    /// As recorded by this instant; now when absent.
    known_at: Option<Instant>,
}

/// One check of the books.
#[derive(SimpleObject)]
struct IntegrityResult {
    /// The check.
    code: String,
    /// What it proves.
    description: String,
    /// The first broken fact; null when the check holds.
    broken: Option<String>,
}

/// The check of the books.
#[derive(SimpleObject)]
struct IntegrityCheck {
    /// Whether every check holds.
    ok: bool,
    /// The checks, in order.
    checks: Vec<IntegrityResult>,
}

/// The journal.
#[derive(Default)]
pub struct JournalQuery;

#[Object]
impl JournalQuery {
    /// Journal entries by accounting date, earliest first.
    #[graphql(guard = "Permitted(\"Query.journalEntries\")")]
    async fn journal_entries(
        &self,
        ctx: &Context<'_>,
        filter: Option<JournalEntryFilter>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<Entry>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("entries{filter:?}"),
        )?;
        let input = filter.unwrap_or_default();
        let filter = store::journal::Filter {
            journal: input.journal,
            from: super::scalars::on(input.posted_from),
            to: super::scalars::on(input.posted_to),
            account: input
                .account
                .map(super::ledger::account_prefix)
                .transpose()?,
            client: client_filter_id(ctx, input.client).await?,
            reference: input.reference,
            known_at: at(input.known_at),
        };
        let session = session(ctx)?;
        let from = store::journal::from(session.caller().company, &filter);
        let sort = Sort {
            column: "t.posted_on",
            sql_type: "date",
            direction: Direction::Ascending,
        };
        page::list(session, from, sort, asked, |conn, caller, ids| {
            Ok(store::journal::by_ids(
                conn,
                caller.company,
                &ids.iter().copied().map(EntryId).collect::<Vec<_>>(),
            )?)
        })
        .await
    }

    /// Proves the invariants of the books: entries balance, sub-ledger equals ledger, numbers have no gap,
    /// cached amounts equal the facts. Names the first broken fact of each check. Seals are proven for the last
    /// 10,000 entries of each year; `encours check` proves all of them.
    #[graphql(guard = "Permitted(\"Query.integrityCheck\")")]
    async fn integrity_check(&self, ctx: &Context<'_>) -> Result<IntegrityCheck> {
        let balances = super::balances(ctx);
        let results = session(ctx)?
            .read(move |conn, caller| {
                let mut results = integrity::check(conn, caller.company, Seals::Latest)?;
                results.push(balances.check(conn, caller)?);
                Ok(results)
            })
            .await?;
        let checks: Vec<IntegrityResult> = results
            .into_iter()
            .map(|(code, description, broken)| IntegrityResult {
                code: code.to_owned(),
                description: description.to_owned(),
                broken,
            })
            .collect();
        Ok(IntegrityCheck {
            ok: checks.iter().all(|check| check.broken.is_none()),
            checks,
        })
    }
}
