//! The accountant's reading: chart of accounts, trial balance, general ledger, financial years.

use async_graphql::{Context, Enum, InputObject, Object, SimpleObject};

use super::client::{Client, client_filter_id};
use super::document::one;
use super::error::UserError;
use super::journal::Entry;
use super::mutation::{How, mutate};
use super::page::{Asked, Connection, Window, counted};
use super::scalars::{ClientRef, Date, Decimal, Instant, at, day, money, on};
use super::text::untold;
use super::{Permitted, session};
use crate::domain::ids::{ClientId, EntryId};
use crate::error::{Error, Result};
use crate::service::{books, chart as charts, year};
use crate::store::ledger::{LedgerLine as Row, Period, Question};
use crate::store::{self};

untold!(LedgerLine);

/// An account of the chart in a financial year (plan comptable).
#[derive(SimpleObject)]
struct ChartAccount {
    /// The number; accounts below it may be posted to as well.
    number: String,
    /// The company's label, else that of the chart.
    label: String,
    /// Whether the company named it itself, or only the chart (PCG) has it.
    own: bool,
    /// Nothing is posted to it from this day on; null while it is open.
    closed_on: Option<Date>,
}

/// A journal (journal).
#[derive(SimpleObject)]
struct Journal {
    /// Its code, such as VE.
    code: String,
    /// Its label.
    label: String,
}

/// An account in a trial balance. Balances are debits less credits, in the company's currency.
#[derive(SimpleObject)]
struct TrialBalanceRow {
    /// The account.
    account: String,
    /// Its label.
    label: String,
    /// Balance before the period.
    opening: Decimal,
    /// Debits of the period.
    debit: Decimal,
    /// Credits of the period.
    credit: Decimal,
    /// Balance at the end.
    closing: Decimal,
}

/// A trial balance (balance générale): debits equal credits in the period, balances add up to zero.
#[derive(SimpleObject)]
struct TrialBalance {
    /// First day of the period.
    from: Date,
    /// Last day.
    to: Date,
    /// The company's currency.
    currency: String,
    /// The accounts by number. Classes 6 and 7 begin at nothing each financial year; what earlier years
    /// earned stands on the account of profit or loss carried forward.
    rows: Vec<TrialBalanceRow>,
    /// Debits of the period over all accounts.
    total_debit: Decimal,
    /// Credits of the period: the same.
    total_credit: Decimal,
}

/// A line of the general ledger, in the company's currency.
#[derive(Clone)]
pub struct LedgerLine(Row, String);

/// A line of the general ledger (grand livre).
#[Object]
impl LedgerLine {
    /// The journal entry that it stands in.
    async fn entry(&self, ctx: &Context<'_>) -> Result<Entry> {
        Ok(Entry(one(ctx, EntryId(self.0.entry_id)).await?))
    }
    /// Accounting date.
    async fn posted_on(&self) -> Date {
        self.0.posted_on.into()
    }
    /// The account.
    async fn account(&self) -> &str {
        &self.0.account
    }
    /// The client on an auxiliary account; null on general accounts.
    async fn client(&self, ctx: &Context<'_>) -> Result<Option<Client>> {
        match self.0.client_id {
            Some(id) => Ok(Some(Client(one(ctx, ClientId(id)).await?))),
            None => Ok(None),
        }
    }
    /// Debit.
    async fn debit(&self) -> Decimal {
        money(self.0.debit, &self.1)
    }
    /// Credit.
    async fn credit(&self) -> Decimal {
        money(self.0.credit, &self.1)
    }
    /// Balance after this line, of what is asked for, its opening balance included when no first day is given.
    async fn balance(&self) -> Decimal {
        money(self.0.balance, &self.1)
    }
    /// Letters of the line's group now (lettrage), lower case while partial; null while it stands alone.
    async fn letter(&self) -> Option<&str> {
        self.0.letter.as_deref()
    }
}

/// The general ledger of an account, a client, or both (grand livre). Amounts in the company's currency.
struct GeneralLedger {
    question: Question,
    currency: String,
}

/// The general ledger of an account, a client, or both.
#[Object]
impl GeneralLedger {
    /// The company's currency.
    async fn currency(&self) -> &str {
        &self.currency
    }
    /// The balance before the first day; zero when none is given.
    async fn opening(&self, ctx: &Context<'_>) -> Result<Decimal> {
        let question = self.question.clone();
        let sum = session(ctx)?
            .read(move |conn, _| Ok(question.opening(conn)?))
            .await?;
        Ok(money(sum, &self.currency))
    }
    /// The lines by day, entry and position.
    async fn lines(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Connection<LedgerLine>> {
        let asked = Asked::new(
            &Window {
                first,
                after,
                last,
                before,
            },
            &format!("ledger{:?}", self.question),
        )?;
        let (question, keyset) = (self.question.clone(), asked.keyset.clone());
        let session = session(ctx)?.clone();
        let (rows, more) = session
            .read(move |conn, _| Ok(question.lines(conn, &keyset)?))
            .await?;
        let question = self.question.clone();
        Ok(Connection {
            cursors: rows
                .iter()
                .map(|row| asked.cursor(format!("{}/{}", row.posted_on, row.line), row.entry_id))
                .collect(),
            nodes: rows
                .into_iter()
                .map(|row| LedgerLine(row, self.currency.clone()))
                .collect(),
            ends: asked.ends(more),
            count: counted(move || {
                let (session, question) = (session.clone(), question.clone());
                async move { session.read(move |conn, _| Ok(question.count(conn)?)).await }
            }),
        })
    }
}

/// An account, or the beginning of accounts: digits only, so that it is no pattern.
pub fn account_prefix(account: String) -> Result<String> {
    let sound = (1..=11).contains(&account.len()) && account.bytes().all(|b| b.is_ascii_digit());
    if sound {
        return Ok(account);
    }
    Err(Error::BadInput {
        field: "account",
        message: "an account is 1 to 11 digits, such as 411".into(),
    })
}

/// Where a financial year stands.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "year::YearState")]
enum FinancialYearState {
    /// Some of its days may be posted.
    Open,
    /// All its days are closed; they may be reopened.
    Closed,
    /// Carried forward and locked for ever.
    Locked,
}

/// A financial year (exercice).
#[derive(SimpleObject)]
struct FinancialYear {
    /// The calendar year of its closing day.
    name: i32,
    /// First day.
    starts_on: Date,
    /// Closing day (clôture).
    ends_on: Date,
    /// Where it stands.
    state: FinancialYearState,
    /// What it earned, profit positive, in the company's currency; null until it is closed.
    result: Option<Decimal>,
}

/// The accountant's reading.
#[derive(Default)]
pub struct LedgerQuery;

#[Object]
impl LedgerQuery {
    /// The chart of accounts of a financial year (R1.2): what the PCG has for it, with the company's own labels.
    #[graphql(guard = "Permitted(\"Query.chartOfAccounts\")")]
    async fn chart_of_accounts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Calendar year of the closing day; the current one when absent.")]
        year: Option<i32>,
        #[graphql(desc = "Only accounts that begin with these digits.")] prefix: Option<String>,
    ) -> Result<Vec<ChartAccount>> {
        let rows = session(ctx)?
            .read(move |conn, caller| charts::of_year(conn, caller, year))
            .await?;
        Ok(rows
            .into_iter()
            .filter(|row| {
                prefix
                    .as_ref()
                    .is_none_or(|prefix| row.number.starts_with(prefix))
            })
            .map(|row| ChartAccount {
                number: row.number,
                label: row.label,
                own: row.own,
                closed_on: row.closed_on.map(Into::into),
            })
            .collect())
    }

    /// The journals, by code.
    #[graphql(guard = "Permitted(\"Query.journals\")")]
    async fn journals(&self, ctx: &Context<'_>) -> Result<Vec<Journal>> {
        let rows = session(ctx)?
            .read(|conn, caller| Ok(store::chart::journals(conn, caller.company)?))
            .await?;
        Ok(rows
            .into_iter()
            .map(|(code, label)| Journal { code, label })
            .collect())
    }

    /// The trial balance (balance générale) of a period.
    #[graphql(guard = "Permitted(\"Query.trialBalance\")")]
    async fn trial_balance(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Last day, inclusive; today when absent.")] as_of: Option<Date>,
        #[graphql(desc = "First day; that of the financial year when absent.")] from: Option<Date>,
        #[graphql(desc = "As recorded by this instant; now when absent.")] known_at: Option<
            Instant,
        >,
    ) -> Result<TrialBalance> {
        let session = session(ctx)?;
        let to = day("asOf", as_of.unwrap_or(session.caller().today.into()).0)?;
        let from = from.map(|from| day("from", from.0)).transpose()?;
        if from.is_some_and(|from| from > to) {
            return Err(Error::BadInput {
                field: "from",
                message: "the period ends before it begins".into(),
            });
        }
        session
            .read(move |conn, caller| {
                let books = books::open(conn, caller)?;
                let year = books.year(to);
                let from = from.unwrap_or(year.starts_on);
                let accounts = &books.settings.accounts;
                let rows = store::ledger::trial_balance(
                    conn,
                    &Period {
                        company: caller.company,
                        year_starts_on: year.starts_on,
                        from,
                        to,
                        known_at: at(known_at),
                    },
                    &accounts.profit,
                    &accounts.loss,
                )?;
                let mut labels = charts::labels(conn, caller, &books, to)?;
                let code = books.currency.code();
                let sum = |part: fn(&store::ledger::Balance) -> i64| {
                    money(rows.iter().map(part).sum(), code)
                };
                Ok(TrialBalance {
                    from: from.into(),
                    to: to.into(),
                    currency: code.to_owned(),
                    total_debit: sum(|row| row.debit),
                    total_credit: sum(|row| row.credit),
                    rows: rows
                        .iter()
                        .map(|row| TrialBalanceRow {
                            label: labels.of(&row.account),
                            opening: money(row.opening, code),
                            debit: money(row.debit, code),
                            credit: money(row.credit, code),
                            closing: money(row.opening + row.debit - row.credit, code),
                            account: row.account.clone(),
                        })
                        .collect(),
                })
            })
            .await
    }

    /// The general ledger (grand livre) of an account, a client, or both.
    #[graphql(guard = "Permitted(\"Query.generalLedger\")")]
    async fn general_ledger(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "An account with everything below it, such as 411; digits.")]
        account: Option<String>,
        #[graphql(desc = "A client's auxiliary accounts.")] client: Option<ClientRef>,
        #[graphql(desc = "First day.")] from: Option<Date>,
        #[graphql(desc = "Last day, inclusive; today when absent.")] as_of: Option<Date>,
        #[graphql(desc = "As recorded by this instant; now when absent.")] known_at: Option<
            Instant,
        >,
    ) -> Result<GeneralLedger> {
        if account.is_none() && client.is_none() {
            return Err(Error::BadInput {
                field: "account",
                message: "name an account, a client, or both".into(),
            });
        }
        let account = account.map(account_prefix).transpose()?;
        let client = client_filter_id(ctx, client).await?;
        let session = session(ctx)?;
        let to = day("asOf", as_of.unwrap_or(session.caller().today.into()).0)?;
        let question = Question {
            company: session.caller().company,
            account,
            client,
            from: on(from),
            to,
            known_at: at(known_at),
        };
        let currency = session
            .read(|conn, caller| Ok(books::open(conn, caller)?.currency))
            .await?;
        Ok(GeneralLedger {
            question,
            currency: currency.code().to_owned(),
        })
    }

    /// The financial years that have entries, and the current one, latest first.
    #[graphql(guard = "Permitted(\"Query.financialYears\")")]
    async fn financial_years(&self, ctx: &Context<'_>) -> Result<Vec<FinancialYear>> {
        session(ctx)?
            .read(|conn, caller| {
                let books = books::open(conn, caller)?;
                let code = books.currency.code();
                Ok(year::list(conn, caller)?
                    .into_iter()
                    .map(|found| FinancialYear {
                        name: found.year.name,
                        starts_on: found.year.starts_on.into(),
                        ends_on: found.year.ends_on.into(),
                        state: found.state.into(),
                        result: found.result.map(|result| money(result, code)),
                    })
                    .collect())
            })
            .await
    }
}

/// An account of the company to name or close.
#[derive(InputObject, Clone, Debug)]
struct SaveAccountInput {
    /// The number, 3 to 11 digits: an account of the chart, or one below it.
    number: String,
    /// The company's label.
    label: String,
    /// Nothing is posted to it from this day on; open when absent.
    closed_on: Option<Date>,
}

/// What `saveAccount` did.
#[derive(SimpleObject)]
struct SaveAccountPayload {
    /// The account; null when refused.
    account: Option<ChartAccount>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// A journal to add or rename.
#[derive(InputObject, Clone, Debug)]
struct SaveJournalInput {
    /// 1 to 6 capital letters or digits.
    code: String,
    /// Its label.
    label: String,
}

/// What `saveJournal` did.
#[derive(SimpleObject)]
struct SaveJournalPayload {
    /// The journal; null when refused.
    journal: Option<Journal>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// What `closeYear` did.
#[derive(SimpleObject)]
struct CloseYearPayload {
    /// The year's name; null when refused.
    year: Option<i32>,
    /// Why it was refused; empty when it was done.
    user_errors: Vec<UserError>,
}

/// The chart and the years.
#[derive(Default)]
pub struct LedgerMutation;

#[Object]
impl LedgerMutation {
    /// Names an account below the chart, or closes one.
    #[graphql(guard = "Permitted(\"Mutation.saveAccount\")")]
    async fn save_account(
        &self,
        ctx: &Context<'_>,
        input: SaveAccountInput,
    ) -> Result<SaveAccountPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            charts::save_account(
                conn,
                caller,
                &input.number,
                &input.label,
                on(input.closed_on),
            )
        })
        .await?;
        Ok(SaveAccountPayload {
            account: done.made.map(|(number, label, closed_on)| ChartAccount {
                number,
                label,
                own: true,
                closed_on: closed_on.map(Into::into),
            }),
            user_errors: done.user_errors,
        })
    }

    /// Adds a journal, or renames one.
    #[graphql(guard = "Permitted(\"Mutation.saveJournal\")")]
    async fn save_journal(
        &self,
        ctx: &Context<'_>,
        input: SaveJournalInput,
    ) -> Result<SaveJournalPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            charts::save_journal(conn, caller, &input.code, &input.label)
        })
        .await?;
        Ok(SaveJournalPayload {
            journal: done.made.map(|(code, label)| Journal { code, label }),
            user_errors: done.user_errors,
        })
    }

    /// Closes a financial year: its days are locked for ever, and balances are carried forward to the
    /// opening journal of the next (à-nouveaux). All its periods must be closed, and the years before.
    #[graphql(guard = "Permitted(\"Mutation.closeYear\")")]
    async fn close_year(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Calendar year of the closing day.")] year: i32,
    ) -> Result<CloseYearPayload> {
        let done = mutate(ctx, How::default(), move |conn, caller| {
            year::close(conn, caller, year)
        })
        .await?;
        Ok(CloseYearPayload {
            year: done.made,
            user_errors: done.user_errors,
        })
    }
}
