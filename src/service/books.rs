//! The books of a company: its settings, the days that may be posted, numbers, and posting itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use chrono::{Datelike, NaiveDate};
use diesel::pg::PgConnection;
use diesel::result::QueryResult;
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::domain::access::Caller;
use crate::domain::chart;
use crate::domain::company::Settings;
use crate::domain::ids::{ClientId, DocumentId, EntryId, Id, ItemId};
use crate::domain::money::{Currency, Minor, convert};
use crate::domain::numbering::{FiscalYear, document_number, fiscal_year};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::{Error, Result};
use crate::store::company::{Closings, Company};
use crate::store::item::{Beside, Change, Item};
use crate::store::numbering::{Drawers, Drawn, ENTRY, Numbered, Numbers, Rank, Series};
use crate::store::{self, journal};

/// The company of the caller, as every write needs it.
pub struct Books {
    pub company: Company,
    pub settings: Settings,
    pub currency: Currency,
    closings: Closings,
    /// The last day of the current financial year: later days belong to periods not open yet.
    open_until: NaiveDate,
}

/// A number to draw from a series that also takes numbers given by hand.
pub struct Draw<'a> {
    pub prefix: &'a str,
    /// The day of the record.
    pub on: NaiveDate,
    /// Whether the series keeps its days in order (R9.2).
    pub dated: bool,
    /// The input's field of the day.
    pub field: &'a str,
    /// Whose numbers they are.
    pub of: Numbered,
    /// What is said of a number or a reference that is taken.
    pub taken: &'static str,
}

/// Books begin in this year at the earliest.
pub const FIRST_YEAR: i32 = 1990;

/// Loads the books of the caller's company.
pub fn open(conn: &mut PgConnection, caller: &Caller) -> Result<Books> {
    let (company, closings) =
        store::company::load_with_closings(conn, caller.company)?.ok_or(Error::Unauthenticated)?;
    let settings = serde_json::from_value(company.settings.clone()).map_err(|error| {
        Error::Internal(format!(
            "settings of company {}: {error}",
            company.company_id.show()
        ))
    })?;
    let currency = currency(&company.currency)?;
    let open_until = year_of(&company, caller.today).ends_on;
    Ok(Books {
        company,
        settings,
        currency,
        closings,
        open_until,
    })
}

/// A currency that the database holds: known, since a foreign key says so.
pub fn currency(code: &str) -> Result<Currency> {
    code.parse()
        .map_err(|error| Error::Internal(format!("stored currency: {error}")))
}

fn year_of(company: &Company, on: NaiveDate) -> FiscalYear {
    fiscal_year(
        on,
        u32::try_from(company.fiscal_year_start_month).unwrap_or(1),
    )
}

/// Refuses a day before the one that something else is of, and says what that is.
pub fn not_before(field: &str, on: NaiveDate, known: Option<NaiveDate>, why: &str) -> Result<()> {
    match known.filter(|known| on < *known) {
        Some(known) => {
            let message = format!("{why} {known}: take that day or a later one");
            Err(Refusal::invalid(field, message).into())
        }
        None => Ok(()),
    }
}

impl Books {
    /// Refuses a day that is closed, or that lies beyond the current financial year.
    pub fn check_day(&self, field: &str, on: NaiveDate) -> Result<()> {
        if on.year() < FIRST_YEAR {
            let message = format!("a day from {FIRST_YEAR} on is needed");
            return Err(Refusal::invalid(field, message).into());
        }
        if let Some(closed) = self.closings.through.filter(|closed| on <= *closed) {
            return Err(Refusal::new(
                RefusalCode::PeriodClosed,
                field,
                format!("the books are closed through {closed}: take a later day, or have a late fact posted on the first open day where the input offers it"),
            )
            .detail("closedThrough", closed.to_string())
            .detail("firstOpenDay", self.first_open_day(on).to_string())
            .into());
        }
        if on > self.open_until {
            return Err(Refusal::new(
                RefusalCode::FuturePeriod,
                field,
                format!(
                    "the day is beyond the current financial year, which ends on {}",
                    self.open_until
                ),
            )
            .detail("openUntil", self.open_until.to_string())
            .into());
        }
        Ok(())
    }

    /// The accounting day of something that happened on `on`. In a closed period it is refused, or with
    /// `late` posted on the first open day, while the entry keeps the real one (R2.2).
    pub fn accounting_day(&self, field: &str, on: NaiveDate, late: bool) -> Result<NaiveDate> {
        match self.closings.through.filter(|closed| on <= *closed) {
            Some(_) if late => Ok(self.first_open_day(on)),
            _ => self.check_day(field, on).map(|()| on),
        }
    }

    /// The day itself, or the first open one after a closed period (R2.2): for what the server posts by itself.
    pub fn first_open_day(&self, on: NaiveDate) -> NaiveDate {
        match self.closings.through {
            Some(closed) if on <= closed => closed.succ_opt().unwrap_or(on),
            _ => on,
        }
    }

    /// The last closed day.
    pub fn closed_through(&self) -> Option<NaiveDate> {
        self.closings.through
    }

    /// The general account of an account family of clients: 411, 413, 416 or 419.
    pub fn client_account(&self, family: &str) -> &str {
        let accounts = &self.settings.accounts;
        match family {
            "413" => &accounts.bills,
            "416" => &accounts.doubtful,
            "419" => &accounts.deposits,
            _ => &accounts.receivable,
        }
    }

    /// The financial year of a day.
    pub fn year(&self, on: NaiveDate) -> FiscalYear {
        year_of(&self.company, on)
    }

    /// Locks the series of entries of the days' years, for whoever locks items before posting: counters come before items
    /// wherever both are locked, or two would wait for each other.
    pub fn hold_entries(
        &self,
        conn: &mut PgConnection,
        days: impl IntoIterator<Item = NaiveDate>,
    ) -> Result<()> {
        self.hold(conn, ENTRY, days)
    }

    /// The same of another series: whoever draws from it waits.
    pub fn hold(
        &self,
        conn: &mut PgConnection,
        series: &str,
        days: impl IntoIterator<Item = NaiveDate>,
    ) -> Result<()> {
        let years: BTreeSet<i32> = days.into_iter().map(|on| self.year(on).name).collect();
        for year in years {
            store::numbering::take(conn, self.company.company_id, series, year, None, 0)?;
        }
        Ok(())
    }

    /// The next number of an own series in which none is given by hand. Days must not go back while numbers go on
    /// (R9.2) when `dated`.
    pub fn next_number(
        &self,
        conn: &mut PgConnection,
        prefix: &str,
        on: NaiveDate,
        dated: bool,
        field: &str,
    ) -> Result<String> {
        let year = self.year(on).name;
        let on_or_none = dated.then_some(on);
        let company = self.company.company_id;
        let taken = store::numbering::take(conn, company, prefix, year, on_or_none, 1)?;
        in_order(taken.last_on, prefix, on_or_none, field)?;
        Ok(document_number(prefix, year, taken.last_number))
    }

    /// The number of a record: the one given, of any form, else the next of our own series. Numbers that
    /// were given by hand in the form of the series are passed over, so that they never block it.
    pub fn number(
        &self,
        conn: &mut PgConnection,
        given: Option<&str>,
        draw: &Draw<'_>,
    ) -> Result<String> {
        match given {
            Some(number) => text("number", number, 60),
            None => self.drawn(conn, None, draw, None, |conn, numbers| {
                numbers.draw(conn).map_err(Error::from)
            }),
        }
    }

    /// The same for a record that makes an entry on `posted_on`: `write` writes both, drafted without numbers (see
    /// [`draft`]), by the statement that draws them. Answers the record's number. The counters are locked from there
    /// until the transaction ends, so that this comes as late as can be.
    ///
    /// A `write` whose condition did not hold is called again, under the numbers that it drew.
    pub fn write_numbered(
        &self,
        conn: &mut PgConnection,
        given: Option<&str>,
        draw: &Draw<'_>,
        posted_on: NaiveDate,
        mut write: impl FnMut(&mut PgConnection, &Numbers<'_>) -> QueryResult<Drawn>,
    ) -> Result<String> {
        let given = given.map(|number| text("number", number, 60)).transpose()?;
        let entry = Rank::Next(self.year(posted_on).name);
        let is_drawn = given.is_none();
        self.drawn(
            conn,
            given.as_deref(),
            draw,
            Some(entry),
            |conn, numbers| {
                write(conn, numbers)
                    .map_err(|error| duplicate_or_again(error, is_drawn, "number", draw.taken))
            },
        )
    }

    /// The series of records that are written together with others, each with an entry on `posted_on`.
    pub fn drawers(&self, draw: &Draw<'_>, posted_on: NaiveDate) -> Drawers {
        Drawers {
            prefix: draw.prefix.to_owned(),
            year: self.year(draw.on).name,
            on: draw.dated.then_some(draw.on),
            of: draw.of,
            entry_year: self.year(posted_on).name,
        }
    }

    fn drawn(
        &self,
        conn: &mut PgConnection,
        given: Option<&str>,
        draw: &Draw<'_>,
        mut entry: Option<Rank>,
        mut write: impl FnMut(&mut PgConnection, &Numbers<'_>) -> Result<Drawn>,
    ) -> Result<String> {
        let on = draw.dated.then_some(draw.on);
        let mut given = given.map(str::to_owned);
        loop {
            let numbers = Numbers {
                company: self.company.company_id,
                given: given.as_deref(),
                series: Series {
                    prefix: draw.prefix,
                    year: self.year(draw.on).name,
                    on,
                    of: draw.of,
                },
                entry,
            };
            let since = Instant::now();
            let drawn = write(conn, &numbers);
            let drawn = store::numbering::waited(conn, draw.prefix, since, drawn)?;
            in_order(drawn.last_on, draw.prefix, on, draw.field)?;
            if drawn.is_written {
                return Ok(drawn.number);
            }
            entry = drawn.entry.map(Rank::Drawn);
            if !drawn.is_used {
                given = Some(drawn.number);
            }
        }
    }

    /// The rate of a document: 1 in the company's currency, else given by the caller.
    pub fn rate(&self, currency: Currency, given: Option<Decimal>) -> Result<Decimal> {
        match given {
            Some(rate) if currency == self.currency && rate != Decimal::ONE => {
                Err(Refusal::invalid(
                    "exchangeRate",
                    format!("the books are in {currency}: its rate is 1"),
                )
                .into())
            }
            _ if currency == self.currency => Ok(Decimal::ONE),
            Some(rate)
                if rate > Decimal::ZERO
                    && rate.scale() <= 8
                    && rate < Decimal::from(1_000_000_000) =>
            {
                Ok(rate)
            }
            Some(_) => Err(Refusal::invalid(
                "exchangeRate",
                "the rate must be positive, with at most 8 decimals",
            )
            .into()),
            None => Err(Refusal::invalid(
                "exchangeRate",
                format!(
                    "a document in {currency} needs its rate: {} for 1 {currency}",
                    self.currency
                ),
            )
            .into()),
        }
    }
}

/// Days must not go back while the numbers of a series go on (R9.2).
fn in_order(
    reached: Option<NaiveDate>,
    prefix: &str,
    on: Option<NaiveDate>,
    field: &str,
) -> Result<()> {
    match (reached, on) {
        (Some(last), Some(on)) if last > on => Err(Refusal::invalid(
            field,
            format!("series {prefix} has reached {last}: days cannot go back while numbers go on"),
        )
        .detail("earliest", last.to_string())
        .into()),
        _ => Ok(()),
    }
}

/// A line of an entry to post. Exactly one of debit and credit is not zero.
pub struct NewLine {
    pub account: String,
    pub client: Option<ClientId>,
    pub debit: Minor,
    pub credit: Minor,
    /// The amount in the company's currency, debit positive, when it is not the entry's rate that gives it.
    pub base: Option<Minor>,
    /// Set when the line is an open item.
    pub item: Option<NewItem>,
}

/// What makes a third-party line an open item.
pub struct NewItem {
    pub kind: &'static str,
    pub source_id: Uuid,
    pub reference: String,
    pub invoice_id: Option<DocumentId>,
    pub invoiced_on: NaiveDate,
    pub due_on: Option<NaiveDate>,
    pub document_net: Minor,
    pub document_total: Minor,
}

impl NewLine {
    /// A debit of a general account.
    pub fn debit(account: &str, amount: Minor) -> NewLine {
        NewLine {
            account: account.to_owned(),
            client: None,
            debit: amount,
            credit: 0,
            base: None,
            item: None,
        }
    }

    /// A credit of a general account.
    pub fn credit(account: &str, amount: Minor) -> NewLine {
        NewLine {
            account: account.to_owned(),
            client: None,
            debit: 0,
            credit: amount,
            base: None,
            item: None,
        }
    }

    /// An amount on the side of its sign: debit when positive.
    pub fn signed(account: &str, amount: Minor) -> NewLine {
        if amount >= 0 {
            NewLine::debit(account, amount)
        } else {
            NewLine::credit(account, -amount)
        }
    }

    /// A difference in the company's currency alone, debit positive (section 2.14).
    pub fn exchange(account: &str, base: Minor) -> NewLine {
        NewLine {
            base: Some(base),
            ..NewLine::debit(account, 0)
        }
    }

    /// The same line on a client's auxiliary account, as an open item.
    #[must_use]
    pub fn open(mut self, client: ClientId, item: NewItem) -> NewLine {
        self.client = Some(client);
        self.item = Some(item);
        self
    }

    /// The same line, naming the client it concerns.
    #[must_use]
    pub fn of(mut self, client: ClientId) -> NewLine {
        self.client = Some(client);
        self
    }
}

/// The source of an opening entry, which sums over years leave out.
pub const CARRY_FORWARD: &str = "CARRY_FORWARD";

/// An entry to post.
pub struct Posting {
    pub journal: String,
    pub posted_on: NaiveDate,
    /// The day of the operation itself, when it is posted later (R2.2).
    pub occurred_on: NaiveDate,
    pub reference: String,
    pub label: String,
    pub source_kind: &'static str,
    pub source_id: Uuid,
    pub reversal_of: Option<EntryId>,
    pub currency: Currency,
    pub rate: Decimal,
    pub lines: Vec<NewLine>,
}

/// An open item of an entry that was just posted, not written yet.
#[derive(Clone, Debug)]
pub struct Opened {
    pub item: Item,
    /// What it is worth in the company's currency, positive.
    pub base: Minor,
}

/// Posts entries with their open items; entry numbers are taken last. Answers the items, in order.
pub fn post(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    postings: Vec<Posting>,
) -> Result<Vec<Item>> {
    let mut drafts = draft(caller, books, postings)?;
    let opened = std::mem::take(&mut drafts.opened);
    drafts.enter(conn, caller)?;
    open_items(conn, caller, opened)
}

/// Writes the open items of entries that were just posted, as they stand: with nothing settled.
pub fn open_items(
    conn: &mut PgConnection,
    caller: &Caller,
    opened: Vec<Opened>,
) -> Result<Vec<Item>> {
    let (items, changes) = openings(opened);
    store::item::insert(
        conn,
        caller.company,
        &items,
        &[],
        &changes,
        Beside::default(),
    )?;
    Ok(items)
}

/// Open items of which nothing is settled, with the rows of the ledger that open them.
pub fn openings(opened: Vec<Opened>) -> (Vec<Item>, Vec<Change>) {
    let items: Vec<Item> = opened.into_iter().map(|opened| opened.item).collect();
    let changes = items.iter().map(Change::opening).collect();
    (items, changes)
}

/// Entries that are not written yet, and have no number.
#[derive(Default)]
pub struct Drafts {
    pub entries: Vec<journal::NewEntry>,
    pub lines: Vec<journal::Line>,
    /// The open items that they make. One that is written together with what settles it at once
    /// (`matching::match_drafts`) costs half of one that is written and changed.
    pub opened: Vec<Opened>,
}

/// Drafts entries, to be written under numbers that are drawn last: by [`Drafts::enter`], or with the record that they
/// are of ([`Books::write_numbered`]), in which case the posting leaves the record's number empty, as reference, in its
/// items and at the end of its label.
pub fn draft(caller: &Caller, books: &Books, postings: Vec<Posting>) -> Result<Drafts> {
    check_accounts(books, &postings)?;
    let mut drafts = Drafts::default();
    for posting in postings {
        drafts.add(caller, books, posting)?;
    }
    Ok(drafts)
}

/// The same for one posting: its entry, with its lines and the open items that it makes.
pub fn draft_one(
    caller: &Caller,
    books: &Books,
    posting: Posting,
) -> Result<(journal::NewEntry, Vec<journal::Line>, Vec<Opened>)> {
    let mut drafts = draft(caller, books, vec![posting])?;
    let entry = drafts.entries.pop();
    let entry = entry.ok_or_else(|| Error::Internal("a posting without an entry".into()))?;
    Ok((entry, drafts.lines, drafts.opened))
}

impl Drafts {
    /// Writes the entries, numbered in their order: the series is locked from here to the end of the transaction.
    pub fn enter(mut self, conn: &mut PgConnection, caller: &Caller) -> Result<()> {
        let mut next = BTreeMap::<i32, i64>::new();
        for entry in &self.entries {
            *next.entry(entry.fiscal_year).or_default() += 1;
        }
        // The first free number of each year, counted up below.
        for (year, count) in &mut next {
            let company = caller.company;
            let taken = store::numbering::take(conn, company, ENTRY, *year, None, *count)?;
            *count = taken.last_number - *count + 1;
        }
        for entry in &mut self.entries {
            let number = next.entry(entry.fiscal_year).or_default();
            entry.number = *number;
            *number += 1;
        }
        journal::insert(conn, &self.entries, &self.lines)?;
        Ok(())
    }

    fn add(&mut self, caller: &Caller, books: &Books, posting: Posting) -> Result<()> {
        let company = caller.company;
        let id = EntryId::new();
        let base = base_amounts(&posting, books.currency)?;
        self.entries.push(journal::NewEntry {
            company_id: company,
            id,
            journal: posting.journal,
            fiscal_year: books.year(posting.posted_on).name,
            number: 0,
            posted_on: posting.posted_on,
            occurred_on: posting.occurred_on,
            reference: posting.reference,
            label: posting.label,
            source_kind: posting.source_kind.to_owned(),
            source_id: posting.source_id,
            reversal_of: posting.reversal_of,
            recorded_by: caller.author.clone(),
        });
        for ((line, (base_debit, base_credit)), position) in
            posting.lines.into_iter().zip(base).zip(1_i16..)
        {
            if let (Some(item), Some(client)) = (line.item, line.client) {
                let item = open_item(
                    caller,
                    id,
                    position,
                    client,
                    &line.account,
                    line.debit,
                    line.credit,
                    posting.posted_on,
                    posting.currency,
                    item,
                );
                let base = base_debit + base_credit;
                self.opened.push(Opened { item, base });
            }
            self.lines.push(journal::Line {
                company_id: company,
                entry_id: id,
                line: position,
                account: line.account,
                client_id: line.client,
                debit: line.debit,
                credit: line.credit,
                currency: posting.currency.code().to_owned(),
                base_debit,
                base_credit,
                posted_on: posting.posted_on,
                carried: posting.source_kind == CARRY_FORWARD,
            });
        }
        Ok(())
    }
}

/// Every account is in the chart of its financial year (R1.2), and the company has not closed it.
fn check_accounts(books: &Books, postings: &[Posting]) -> Result<()> {
    for posting in postings {
        let year_opens_on = books.year(posting.posted_on).starts_on;
        for NewLine { account, .. } in &posting.lines {
            chart::account_of(account, year_opens_on).map_err(not_in_chart)?;
            let closed = books.closings.accounts.get(account);
            if let Some(closed_on) = closed.filter(|closed_on| posting.posted_on >= **closed_on) {
                return Err(Refusal::new(
                    RefusalCode::AccountNotInChart,
                    "",
                    format!("the company closed account {account} on {closed_on}"),
                )
                .detail("account", account.clone())
                .into());
            }
        }
    }
    Ok(())
}

/// An account that the year's chart does not have, as a refusal.
pub fn not_in_chart(error: chart::NotInChart) -> Error {
    not_in_chart_at("", error)
}

/// The same for the field that names the account.
pub fn not_in_chart_at(field: &str, error: chart::NotInChart) -> Error {
    let account = match &error {
        chart::NotInChart::Unknown(account) | chart::NotInChart::OtherYears { account, .. } => {
            account.clone()
        }
    };
    Refusal::new(RefusalCode::AccountNotInChart, field, error.to_string())
        .detail("account", account)
        .into()
}

#[expect(
    clippy::too_many_arguments,
    reason = "the columns of an item, from its entry and its line"
)]
fn open_item(
    caller: &Caller,
    entry: EntryId,
    position: i16,
    client: ClientId,
    account: &str,
    debit: Minor,
    credit: Minor,
    posted_on: NaiveDate,
    currency: Currency,
    item: NewItem,
) -> Item {
    let amount = debit.max(credit);
    Item {
        company_id: caller.company,
        id: ItemId::new(),
        client_id: client,
        family: account.chars().take(3).collect(),
        kind: item.kind.to_owned(),
        is_debit: debit > 0,
        reference: item.reference,
        source_id: item.source_id,
        invoice_id: item.invoice_id,
        entry_id: entry,
        entry_line: position,
        posted_on,
        invoiced_on: item.invoiced_on,
        due_on: item.due_on,
        amount,
        currency: currency.code().to_owned(),
        document_net: item.document_net,
        document_total: item.document_total,
        open_amount: amount,
        settled_on: None,
        matching_id: None,
    }
}

/// Each line in the company's currency. What rounding leaves over goes to the largest line (R0.3).
fn base_amounts(posting: &Posting, base: Currency) -> Result<Vec<(Minor, Minor)>> {
    let too_large = || Error::from(Refusal::invalid("", "an amount is too large"));
    let mut amounts = Vec::with_capacity(posting.lines.len());
    for line in &posting.lines {
        let converted =
            |amount| convert(amount, posting.currency, base, posting.rate).ok_or_else(too_large);
        amounts.push(match line.base {
            Some(given) => (given.max(0), (-given).max(0)),
            None => (converted(line.debit)?, converted(line.credit)?),
        });
    }
    let difference: Minor = amounts.iter().map(|(debit, credit)| debit - credit).sum();
    if difference != 0
        && let Some(largest) = (0..amounts.len())
            .filter(|n| posting.lines[*n].item.is_none() && posting.lines[*n].base.is_none())
            .max_by_key(|n| amounts[*n].0.max(amounts[*n].1))
    {
        let (debit, credit) = &mut amounts[largest];
        if *debit > 0 {
            *debit -= difference
        } else {
            *credit += difference
        }
    }
    Ok(amounts)
}

/// Reads an amount of the input: positive, with the currency's decimals and no more.
pub fn amount(field: &str, value: Decimal, currency: Currency) -> Result<Minor> {
    if value <= Decimal::ZERO {
        return Err(Refusal::invalid(field, "the amount must be positive").into());
    }
    currency
        .minor(value)
        .filter(|minor| *minor < 10_i64.pow(13 + currency.exponent()))
        .ok_or_else(|| {
            Refusal::invalid(
                field,
                format!(
                    "an amount in {currency} has at most {} decimals and 13 digits before them",
                    currency.exponent()
                ),
            )
            .into()
        })
}

/// Reads a currency code of the input.
pub fn currency_input(field: &str, code: &str) -> Result<Currency> {
    code.parse()
        .map_err(|error: crate::domain::money::UnknownCurrency| {
            Refusal::invalid(field, error.to_string()).into()
        })
}

/// Texts up to this long are names, numbers and references: they stand on one line.
const ONE_LINE: usize = 200;

/// Reads a text of the input: trimmed, not empty, not longer than `longest`, without control characters.
pub fn text(field: &str, value: &str, longest: usize) -> Result<String> {
    let value = value.trim();
    if !value.is_empty() && value.chars().all(is_invisible) {
        return Err(Refusal::invalid(field, "a text that can be seen is needed").into());
    }
    if value.is_empty() || value.chars().count() > longest {
        return Err(Refusal::invalid(
            field,
            format!("a text of 1 to {longest} characters is needed"),
        )
        .into());
    }
    if longest <= ONE_LINE && value.contains(['\n', '\u{2028}', '\u{2029}']) {
        return Err(Refusal::invalid(field, "the text must stand on one line").into());
    }
    if value.chars().any(|sign| sign.is_control() && sign != '\n') {
        return Err(Refusal::invalid(field, "control characters are not allowed").into());
    }
    Ok(value.to_owned())
}

/// Signs that take no room or only turn the direction of others.
fn is_invisible(sign: char) -> bool {
    sign.is_whitespace()
        || matches!(sign, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The same for a text that may be absent; blank counts as absent.
pub fn optional_text(field: &str, value: Option<&str>, longest: usize) -> Result<Option<String>> {
    value
        .filter(|value| !value.trim().is_empty())
        .map(|value| text(field, value, longest))
        .transpose()
}

/// Turns a violated uniqueness into the refusal that the input deserves.
pub fn duplicate(error: diesel::result::Error, field: &str, message: &str) -> Error {
    use diesel::result::{DatabaseErrorKind, Error as Diesel};
    match error {
        Diesel::DatabaseError(DatabaseErrorKind::UniqueViolation, info) => {
            let field = if info
                .constraint_name()
                .is_some_and(|name| name.contains("external_ref"))
            {
                "externalRef"
            } else {
                field
            };
            Refusal::new(RefusalCode::Duplicate, field, message).into()
        }
        other => other.into(),
    }
}

/// The same for a record whose number was drawn here: somebody gave that number by hand at this very moment, and
/// another try passes it over.
pub fn duplicate_or_again(
    error: diesel::result::Error,
    is_drawn: bool,
    field: &str,
    message: &str,
) -> Error {
    use diesel::result::{DatabaseErrorKind, Error as Diesel};
    match &error {
        Diesel::DatabaseError(DatabaseErrorKind::UniqueViolation, info)
            if is_drawn
                && info.constraint_name().is_some_and(|name| {
                    crate::error::without_shard(name).ends_with("number_key")
                }) =>
        {
            Error::transient("a drawn number was given by hand")
        }
        _ => duplicate(error, field, message),
    }
}
