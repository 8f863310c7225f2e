//! Aged balances from the open items in memory: the same figures, rows and order as the SQL of `store::aging`.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use uuid::Uuid;

use super::ranking::{Key, Line, Ranking, Standing, Topic, currencies};
use super::span::{At, Day, Kind, Span};
use super::state::{OutOfRange, Overlay, State, delta, disputed_spans};
use crate::store::aging::{Layout, Row, RowSort};
use crate::store::balances::{Disputed, Tail};
use crate::store::list::{Direction, Keyset};

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub on: Day,
    pub families: &'a [String],
    pub currency: Option<&'a str>,
}

impl Question<'_> {
    fn wants(&self, kind: &Kind) -> bool {
        self.families.contains(&kind.family)
            && self
                .currency
                .is_none_or(|currency| currency == kind.currency)
    }
}

/// The state with the tail of one reader's snapshot over it: what that snapshot sees.
pub struct View<'a> {
    state: &'a State,
    names: Overlay<'a>,
    changes: Vec<Span>,
    replaced: HashSet<Uuid>,
    disputed: Vec<Span>,
}

impl<'a> View<'a> {
    /// Lays the tail over the state. `touched` are the items whose disputes the state may have otherwise, and
    /// `disputed` is what the snapshot sees of them.
    pub fn new(
        state: &'a State,
        tail: &Tail,
        touched: &[Uuid],
        disputed: &[Disputed],
    ) -> Result<View<'a>, OutOfRange> {
        let mut view = View {
            state,
            names: Overlay::of(&state.names),
            changes: Vec::with_capacity(tail.changes.len()),
            replaced: touched.iter().copied().collect(),
            disputed: Vec::new(),
        };
        for change in &tail.changes {
            view.changes.push(delta(&mut view.names, change)?);
        }
        for item in disputed {
            let spans = disputed_spans(&mut view.names, item)?;
            view.disputed.extend(spans);
        }
        Ok(view)
    }

    /// What the tail changes on a day.
    fn changed_on(&self, on: Day) -> impl Iterator<Item = &Span> {
        self.changes.iter().filter(move |span| span.from <= on)
    }

    fn disputed_on(&self, on: Day) -> impl Iterator<Item = &Span> {
        let disputed = &self.state.disputed;
        let over = disputed.partition_point(|(span, _)| span.to > on);
        disputed[..over]
            .iter()
            .filter(|(_, item)| self.replaced.is_empty() || !self.replaced.contains(item))
            .map(|(span, _)| span)
            .chain(&self.disputed)
            .filter(move |span| span.holds(on))
    }

    fn kinds(&self, question: &Question<'_>) -> Vec<bool> {
        let kinds = self.names.all_kinds().iter();
        kinds.map(|kind| question.wants(kind)).collect()
    }

    /// The totals, one per currency with anything open.
    pub fn totals(&self, question: &Question<'_>, layout: &Layout) -> Vec<Row> {
        let on = question.on;
        let kinds = self.names.all_kinds();
        let wanted = self.kinds(question);
        let mut of_kind = self.state.sums(on, layout).of_kind.clone();
        of_kind.resize_with(kinds.len(), || Sums::new(layout));
        let is_wanted = |span: &&Span| wanted[usize::from(span.at.kind)];
        for span in self.changed_on(on).filter(is_wanted) {
            let kind = usize::from(span.at.kind);
            of_kind[kind].add(layout, &kinds[kind], &span.at, on, span.amount);
        }
        for span in self.disputed_on(on).filter(is_wanted) {
            let kind = usize::from(span.at.kind);
            of_kind[kind].dispute(layout, &kinds[kind], &span.at, on, span.amount);
        }
        let mut per_currency = BTreeMap::<&str, Sums>::new();
        for ((kind, sums), _) in kinds.iter().zip(&of_kind).zip(&wanted).filter(|it| *it.1) {
            per_currency
                .entry(&kind.currency)
                .or_insert_with(|| Sums::new(layout))
                .join(sums);
        }
        per_currency
            .into_iter()
            .filter(|(_, sums)| sums.is_there())
            .map(|(currency, sums)| sums.row(Uuid::nil(), currency, String::new()))
            .collect()
    }

    /// The ranking of the state, and the lines that the tail and disputes change with what they add to them.
    fn ranked(
        &self,
        question: &Question<'_>,
        layout: &Layout,
        by: RowSort,
    ) -> (Arc<Ranking>, HashMap<Line, Standing>) {
        let on = question.on;
        let mut wanted = self.kinds(question);
        let kinds = self.names.all_kinds();
        let (_, currency_of) = currencies(kinds);
        let mut changed = HashMap::<Line, Standing>::new();
        let line = |at: &At| (at.client, currency_of[usize::from(at.kind)]);
        let is_wanted = |span: &&Span| wanted[usize::from(span.at.kind)];
        for span in self.changed_on(on).filter(is_wanted) {
            let kind = &kinds[usize::from(span.at.kind)];
            let standing = changed.entry(line(&span.at)).or_default();
            standing.open(kind, span, on, by);
        }
        if layout.exclude_disputed || by == RowSort::Disputed {
            for span in self.disputed_on(on).filter(is_wanted) {
                let kind = &kinds[usize::from(span.at.kind)];
                let standing = changed.entry(line(&span.at)).or_default();
                standing.dispute(kind, span, on, by, layout.exclude_disputed);
            }
        }
        wanted.truncate(self.state.names.kinds.len());
        let ranking = self.state.ranking(Topic { on, wanted, by });
        for (line, standing) in &mut changed {
            *standing = ranking.standing(*line).with(*standing);
        }
        (ranking, changed)
    }

    /// A page of rows, one per client and currency with anything open. Not by number or name: those are the
    /// database's.
    pub fn rows(
        &self,
        question: &Question<'_>,
        layout: &Layout,
        sort: RowSort,
        direction: Direction,
        page: &Keyset,
    ) -> Option<(Vec<Row>, bool)> {
        if matches!(sort, RowSort::Number | RowSort::Name) {
            return None;
        }
        let cursor: Option<Key<'_>> = match &page.from {
            Some((text, client)) => {
                let (currency, value) = text.split_at_checked(3)?;
                Some((value.parse().ok()?, *client, currency))
            }
            None => None,
        };
        let chosen = self.chosen(question, layout, sort, direction, page, cursor);
        let sums = self.sums(question, layout, chosen.iter().map(|(_, line)| *line));
        let rows = chosen.iter().zip(sums).map(|((key, _), sums)| {
            let (measure, client, currency) = key;
            sums.row(*client, currency, measure.to_string())
        });
        Some(page.page(rows.collect()))
    }

    /// The lines of a page, and the one behind it, in the order in which the page is read.
    fn chosen(
        &self,
        question: &Question<'_>,
        layout: &Layout,
        sort: RowSort,
        direction: Direction,
        page: &Keyset,
        cursor: Option<Key<'_>>,
    ) -> Vec<(Key<'_>, Line)> {
        let (names, _) = currencies(self.names.all_kinds());
        let (ranking, changed) = self.ranked(question, layout, sort);
        let is_descending = page.reading(direction) == Direction::Descending;
        let key = |measure, (client, currency): Line| -> Key<'_> {
            let id = self.names.client_id(client as usize);
            (measure, id, names[currency])
        };
        let at_end = match is_descending {
            true => Ordering::Less,
            false => Ordering::Greater,
        };
        let beside = |measure, line| match cursor {
            Some(cursor) => key(measure, line).cmp(&cursor),
            None => at_end,
        };
        let limit = usize::try_from(page.limit()).unwrap_or(usize::MAX);
        let unchanged = ranking
            .behind(is_descending, beside)
            .filter(|line| !changed.contains_key(line))
            .take(limit)
            .map(|line| (ranking.standing(line).measure, line));
        let others = changed
            .iter()
            .filter(|(_, standing)| standing.is_there())
            .map(|(line, standing)| (standing.measure, *line))
            .filter(|(measure, line)| beside(*measure, *line) == at_end);
        let mut chosen: Vec<(Key<'_>, Line)> = unchanged
            .chain(others)
            .map(|(measure, line)| (key(measure, line), line))
            .collect();
        chosen.sort_unstable();
        if is_descending {
            chosen.reverse();
        }
        chosen.truncate(limit);
        chosen
    }

    /// What each of these lines adds up to.
    fn sums(
        &self,
        question: &Question<'_>,
        layout: &Layout,
        lines: impl Iterator<Item = Line>,
    ) -> Vec<Sums> {
        let row_of: HashMap<Line, usize> = lines.zip(0..).collect();
        let mut sums: Vec<Sums> = row_of.iter().map(|_| Sums::new(layout)).collect();
        let wanted = self.kinds(question);
        let kinds = self.names.all_kinds();
        let (_, currency_of) = currencies(kinds);
        let row = |at: &At| {
            let kind = usize::from(at.kind);
            let row = row_of.get(&(at.client, currency_of[kind])).copied();
            row.filter(|_| wanted[kind])
        };
        let opened = self.state.opened(question.on);
        let clients: BTreeSet<u32> = row_of.keys().map(|(client, _)| *client).collect();
        let open = clients.iter().flat_map(|client| opened.of_client(*client));
        for span in open.chain(self.changed_on(question.on)) {
            if let Some(row) = row(&span.at) {
                let kind = &kinds[usize::from(span.at.kind)];
                sums[row].add(layout, kind, &span.at, question.on, span.amount);
            }
        }
        for span in self.disputed_on(question.on) {
            if let Some(row) = row(&span.at) {
                let kind = &kinds[usize::from(span.at.kind)];
                sums[row].dispute(layout, kind, &span.at, question.on, span.amount);
            }
        }
        sums
    }

    /// How many rows the balance has.
    pub fn row_count(&self, question: &Question<'_>, layout: &Layout) -> usize {
        // Every order has the same rows; this one is the most wanted.
        let (ranking, changed) = self.ranked(question, layout, RowSort::Overdue);
        let count = |is_there: bool| usize::from(is_there);
        let were: usize = changed
            .keys()
            .map(|line| count(ranking.standing(*line).is_there()))
            .sum();
        let are: usize = changed
            .values()
            .map(|standing| count(standing.is_there()))
            .sum();
        ranking.count() - were + are
    }
}

/// What a state adds up to on a day, without what is in dispute: of each kind, laid out as asked.
#[derive(Debug)]
pub struct Added {
    /// The day and the layout.
    pub of: (Day, Layout),
    of_kind: Vec<Sums>,
}

impl Added {
    /// Adds a state up.
    pub fn up(state: &State, on: Day, layout: &Layout) -> Added {
        let mut of_kind = Vec::with_capacity(state.cubes.len());
        for (kind, cubes) in state.names.kinds.iter().zip(&state.cubes) {
            let mut sums = Sums::new(layout);
            for (age, level) in cubes.by_age.on(on) {
                sums.add_late(kind, age, on, level);
                if layout.by_due_date || !kind.is_debit {
                    sums.add_cell(layout, kind, age, on, level);
                }
                sums.open(kind, level);
            }
            if !layout.by_due_date && kind.is_debit {
                for (invoiced, level) in cubes.by_invoice.on(on) {
                    sums.add_cell(layout, kind, invoiced, on, level);
                }
            }
            of_kind.push(sums);
        }
        Added {
            of: (on, layout.clone()),
            of_kind,
        }
    }
}

/// The sums of a row.
#[derive(Clone, Debug)]
struct Sums {
    buckets: Vec<i64>,
    unallocated: i64,
    bills: i64,
    overdue: i64,
    disputed: i64,
    disputed_count: i64,
    debit: i64,
    credit: i64,
    /// What is left out because it is in dispute.
    excluded: i64,
}

impl Sums {
    fn new(layout: &Layout) -> Sums {
        Sums {
            buckets: vec![0; layout.lower_bounds.len() + 1],
            unallocated: 0,
            bills: 0,
            overdue: 0,
            disputed: 0,
            disputed_count: 0,
            debit: 0,
            credit: 0,
            excluded: 0,
        }
    }

    fn is_there(&self) -> bool {
        self.debit != 0 || self.credit != 0
    }

    fn open(&mut self, kind: &Kind, amount: i64) {
        match kind.is_debit {
            true => self.debit += amount,
            false => self.credit += amount,
        }
    }

    fn add_late(&mut self, kind: &Kind, due: Day, on: Day, amount: i64) {
        if kind.is_late(due, on) {
            self.overdue += amount;
        }
    }

    /// Puts an amount into its bucket or column; `age` is the day that its age is counted from.
    fn add_cell(&mut self, layout: &Layout, kind: &Kind, age: Day, on: Day, amount: i64) {
        if kind.family == "413" {
            self.bills += amount;
        } else if kind.is_debit || layout.credits_by_own_date {
            let age = i32::from(on) - i32::from(age);
            let bucket = layout.lower_bounds.partition_point(|bound| *bound <= age);
            self.buckets[bucket] += amount;
        } else {
            self.unallocated += amount;
        }
    }

    fn add_counted(&mut self, layout: &Layout, kind: &Kind, at: &At, on: Day, amount: i64) {
        let age = match kind.is_debit && !layout.by_due_date {
            true => at.invoiced,
            false => at.age,
        };
        self.add_cell(layout, kind, age, on, amount);
        self.add_late(kind, at.age, on, amount);
    }

    fn add(&mut self, layout: &Layout, kind: &Kind, at: &At, on: Day, amount: i64) {
        self.add_counted(layout, kind, at, on, amount);
        self.open(kind, amount);
    }

    fn dispute(&mut self, layout: &Layout, kind: &Kind, at: &At, on: Day, amount: i64) {
        self.disputed += amount;
        self.disputed_count += 1;
        if layout.exclude_disputed {
            self.add_counted(layout, kind, at, on, -amount);
            self.excluded += amount;
        }
    }

    fn join(&mut self, other: &Sums) {
        for (sum, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += more;
        }
        self.unallocated += other.unallocated;
        self.bills += other.bills;
        self.overdue += other.overdue;
        self.disputed += other.disputed;
        self.disputed_count += other.disputed_count;
        self.debit += other.debit;
        self.credit += other.credit;
        self.excluded += other.excluded;
    }

    fn row(self, id: Uuid, currency: &str, sort: String) -> Row {
        Row {
            id,
            sort,
            currency: currency.to_owned(),
            total: self.debit + self.credit - self.excluded,
            buckets: self.buckets,
            unallocated: self.unallocated,
            bills: self.bills,
            overdue: self.overdue,
            disputed: self.disputed,
            disputed_count: self.disputed_count,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{Days, NaiveDate};
    use proptest::prelude::*;

    use super::super::state::Builder;
    use super::*;
    use crate::store::balances::{Change, History, Place};

    const FAMILIES: [&str; 2] = ["411", "413"];

    fn layout(exclude_disputed: bool) -> Layout {
        Layout {
            by_due_date: true,
            lower_bounds: vec![1, 31],
            credits_by_own_date: false,
            exclude_disputed,
        }
    }

    fn on(day: u64) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 1, 1).unwrap_or_default() + Days::new(day)
    }

    /// Something that a client owes, or has paid ahead: its currency, family and due day, and how much.
    #[derive(Clone, Debug)]
    struct Fact {
        client: u128,
        currency: usize,
        family: usize,
        is_debit: bool,
        due: u64,
        amount: i64,
    }

    impl Fact {
        fn place(&self) -> Place {
            Place {
                client_id: Uuid::from_u128(self.client),
                currency: ["EUR", "USD"][self.currency].to_owned(),
                family: FAMILIES[self.family].to_owned(),
                is_debit: self.is_debit,
                due_on: Some(on(self.due)).filter(|_| self.is_debit),
                posted_on: on(0),
                invoiced_on: on(0),
            }
        }

        fn signed(&self) -> i64 {
            if self.is_debit {
                self.amount
            } else {
                -self.amount
            }
        }
    }

    fn facts(most: usize) -> impl Strategy<Value = Vec<Fact>> {
        let fact = (
            0_u128..6,
            0_usize..2,
            0_usize..2,
            any::<bool>(),
            0_u64..40,
            1_i64..4,
        );
        let fact = fact.prop_map(|(client, currency, family, is_debit, due, amount)| Fact {
            client,
            currency,
            family,
            is_debit,
            due,
            amount,
        });
        proptest::collection::vec(fact, 0..most)
    }

    /// What the rows are to be, by what they are ordered by: measure, client and currency.
    fn expected(facts: &[&Fact], sort: RowSort, today: u64) -> Vec<(i64, Uuid, String)> {
        let mut lines: BTreeMap<(u128, usize), i64> = BTreeMap::new();
        for fact in facts {
            let is_late = fact.is_debit && fact.family == 0 && fact.due < today;
            let counts = match sort {
                RowSort::Overdue => is_late,
                RowSort::Total => true,
                RowSort::Disputed | RowSort::Number | RowSort::Name => false,
            };
            let measure = lines.entry((fact.client, fact.currency)).or_default();
            *measure += if counts { fact.signed() } else { 0 };
        }
        let mut rows: Vec<_> = lines
            .into_iter()
            .map(|((client, currency), measure)| {
                let currency = ["EUR", "USD"][currency].to_owned();
                (measure, Uuid::from_u128(client), currency)
            })
            .collect();
        rows.sort();
        rows
    }

    proptest! {
        /// Page by page in either direction, the rows are those of the state with the tail over it, in order.
        #[test]
        fn pages_follow_one_another(state in facts(12), tail in facts(6), size in 1_i64..4, today in 0_u64..40) {
            let mut builder = Builder::default();
            for fact in &state {
                let history = History { place: fact.place(), days: vec![on(0)], deltas: vec![fact.signed()] };
                prop_assert!(builder.add(&history).is_ok());
            }
            let changes = tail.iter().map(|fact| Change {
                xid: 9,
                item_id: Uuid::new_v4(),
                place: fact.place(),
                effective_on: on(0),
                delta: fact.signed(),
            });
            let tail_read = Tail { horizon: 9, changes: changes.collect(), ..Tail::default() };
            let built = builder.finish(9, &[], &[], HashSet::new());
            let built = built.map_err(|_| TestCaseError::fail("a day out of range"))?;
            let view = View::new(&built, &tail_read, &[], &[]);
            let view = view.map_err(|_| TestCaseError::fail("a day out of range"))?;
            let families = FAMILIES.map(str::to_owned);
            let question = Question { on: super::super::span::day(on(today)).unwrap_or_default(), families: &families, currency: None };
            let layout = layout(false);
            let all: Vec<&Fact> = state.iter().chain(&tail).collect();
            for sort in [RowSort::Overdue, RowSort::Total, RowSort::Disputed] {
                let expected = expected(&all, sort, today);
                prop_assert_eq!(view.row_count(&question, &layout), expected.len());
                for (direction, backward) in [(Direction::Ascending, false), (Direction::Descending, false), (Direction::Ascending, true)] {
                    let mut walked = Vec::new();
                    let mut from = None;
                    loop {
                        let page = Keyset { size, from, backward };
                        let (mut rows, more) = view.rows(&question, &layout, sort, direction, &page).unwrap_or_default();
                        if backward {
                            rows.reverse();
                        }
                        from = rows.last().map(|row| (format!("{}{}", row.currency, row.sort), row.id));
                        walked.extend(rows.into_iter().map(|row| (row.sort.parse::<i64>().unwrap_or_default(), row.id, row.currency)));
                        if !more {
                            break;
                        }
                    }
                    if backward || direction == Direction::Descending {
                        walked.reverse();
                    }
                    prop_assert_eq!(walked, expected.clone());
                }
            }
        }
    }
}
