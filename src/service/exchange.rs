//! Exchange differences (écarts de change) at a matching in a foreign currency (section 2.14).
//!
//! Each side of an allocation takes its share of its item's value in the company's currency; what
//! closes an item takes the rest. The difference of the two shares goes to 656 or 756, so that the
//! account is settled in both currencies.

use std::collections::HashMap;

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use serde_json::json;

use super::books::{self, Books, NewLine};
use super::operation::{self, New, OperationKind};
use crate::domain::access::Caller;
use crate::domain::ids::ItemId;
use crate::domain::money::Minor;
use crate::domain::vat;
use crate::error::{Error, Result};
use crate::store::item::Item;
use crate::store::matching::Allocation;
use crate::store::{self};

/// What the items of some allocations are worth in the company's currency.
pub struct Values {
    /// Of the whole item, and what running allocations took of its amount and of its value.
    known: HashMap<ItemId, (Minor, Minor, Minor)>,
}

/// Loads the values of items in a foreign currency; none within the company's. `opened` are the values of
/// items that are not written yet.
pub fn values(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    items: &HashMap<ItemId, Item>,
    opened: &HashMap<ItemId, Minor>,
) -> Result<Option<Values>> {
    let (fresh, foreign): (Vec<ItemId>, Vec<ItemId>) = items
        .values()
        .filter(|item| item.currency != books.currency.code())
        .map(|item| item.id)
        .partition(|id| opened.contains_key(id));
    if foreign.is_empty() && fresh.is_empty() {
        return Ok(None);
    }
    let mut known: HashMap<ItemId, (Minor, Minor, Minor)> =
        store::item::base_values(conn, caller.company, &foreign)?
            .into_iter()
            .map(|row| (ItemId(row.item_id), (row.base, 0, 0)))
            .collect();
    known.extend(fresh.iter().map(|id| (*id, (opened[id], 0, 0))));
    for allocation in store::matching::active_of(conn, caller.company, &foreign)? {
        for (item, base) in [
            (allocation.debit_item_id, allocation.debit_base),
            (allocation.credit_item_id, allocation.credit_base),
        ] {
            if let Some(taken) = known.get_mut(&item) {
                taken.1 += allocation.amount;
                taken.2 += base.unwrap_or_default();
            }
        }
    }
    Ok(Some(Values { known }))
}

impl Values {
    /// Takes the share of an allocation from an item.
    fn take(&mut self, item: &Item, amount: Minor) -> Result<Minor> {
        let (base, allocated, taken) = self
            .known
            .get_mut(&item.id)
            .ok_or_else(|| Error::Internal("an item without its entry".into()))?;
        *allocated += amount;
        // What is taken in all, less what was taken before: the last allocation closes exactly.
        let in_all = vat::proportion(*base, i128::from(*allocated), i128::from(item.amount))
            .ok_or_else(|| Error::Internal("an item is too large".into()))?;
        let share = in_all - *taken;
        *taken = in_all;
        Ok(share)
    }

    /// Writes into an allocation what it takes from both sides.
    pub fn settle(
        &mut self,
        allocation: &mut Allocation,
        debit: &Item,
        credit: &Item,
    ) -> Result<()> {
        allocation.debit_base = Some(self.take(debit, allocation.amount)?);
        allocation.credit_base = Some(self.take(credit, allocation.amount)?);
        Ok(())
    }
}

/// Posts the differences of allocations that begin (or end, when `ending`).
pub fn post(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    allocations: &[Allocation],
    items: &HashMap<ItemId, Item>,
    on: Option<NaiveDate>,
) -> Result<()> {
    let differing: Vec<&Allocation> = allocations
        .iter()
        .filter(|allocation| allocation.debit_base != allocation.credit_base)
        .collect();
    if differing.is_empty() {
        return Ok(());
    }
    let accounts = &books.settings.accounts;
    for allocation in differing {
        let gain =
            allocation.credit_base.unwrap_or_default() - allocation.debit_base.unwrap_or_default();
        // More received than invoiced, counted in our currency, is a gain. Its end leaves the same account.
        let result = if gain > 0 {
            &accounts.exchange_gain
        } else {
            &accounts.exchange_loss
        };
        // Ending an allocation takes its difference back.
        let gain = if on.is_some() { -gain } else { gain };
        let account = items
            .get(&allocation.debit_item_id)
            .map_or("411", |item| item.family.as_str());
        let account = books.client_account(account);
        let reference = items
            .get(&allocation.debit_item_id)
            .map_or_else(String::new, |item| item.reference.clone());
        let operation = New {
            client: Some(allocation.client_id),
            details: json!({ "allocation": allocation.id.0, "gain": books.currency.decimal(gain).to_string(), "document": reference }),
            ..New::of(
                OperationKind::Exchange,
                on.unwrap_or(allocation.effective_on),
                gain.abs(),
                books.currency,
            )
        }
        .record(conn, caller, books)?;
        let lines = vec![
            NewLine::exchange(account, gain).of(allocation.client_id),
            NewLine::exchange(result, -gain),
        ];
        let mut posting = operation::posting(
            books,
            &operation,
            &format!("Écart de change {reference}"),
            rust_decimal::Decimal::ONE,
            lines,
        )?;
        posting.currency = books::currency(&allocation.currency)?;
        books::post(conn, caller, books, vec![posting])?;
    }
    Ok(())
}
