//! Early-payment discounts (2.8), small differences (2.14), deposits used on invoices (2.4), and money
//! moved between accounts of clients (R13.4).

use chrono::{Duration, NaiveDate};
use diesel::pg::PgConnection;
use rust_decimal::Decimal;
use serde_json::json;

use super::approval;
use super::books::{self, Books, NewItem, NewLine};
use super::operation::{self, New, OperationKind};
use super::payment;
use super::reference::{self, ItemRef, Ref};
use super::vat_receipts;
use crate::domain::access::Caller;
use crate::domain::ids::{Id, ItemId, OperationId};
use crate::domain::money::Minor;
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::domain::vat::{self, RateShare};
use crate::error::Result;
use crate::store::document::Document;
use crate::store::item::Item;
use crate::store::payment::DEPOSIT;
use crate::store::{self};

/// A discount as entered.
#[derive(Clone, Debug)]
pub struct DiscountInput {
    pub invoice: Ref,
    /// The receipt that came early enough.
    pub payment: Ref,
    /// In percent; the invoice's own offer when absent.
    pub percent: Option<Decimal>,
    /// Whether VAT is corrected too (with the wording agreed), or stays: "escompte net de taxe" (R2.15).
    pub corrects_vat: bool,
    pub on: Option<NaiveDate>,
}

/// Grants the discount that a receipt earned: D 665 and 44571 / C 411, matched with the invoice.
pub fn grant(
    conn: &mut PgConnection,
    caller: &Caller,
    input: &DiscountInput,
) -> Result<OperationId> {
    let books = books::open(conn, caller)?;
    let invoice = reference::invoice(conn, caller, "invoice", &input.invoice)?;
    let payment = reference::payment(conn, caller, "payment", &input.payment)?;
    let on = input.on.unwrap_or(payment.received_on);
    books.check_day("on", on)?;
    check_offer(&invoice, payment.received_on, input.percent)?;
    let currency = books::currency(&invoice.currency)?;
    let percent = input
        .percent
        .or(invoice.discount_percent)
        .unwrap_or_default();
    let (net, whole_tax) = parts(conn, caller, &invoice, percent)?;
    // Net de taxe: only the HT part is granted, VAT stays as invoiced.
    let tax = if input.corrects_vat { whole_tax } else { 0 };
    let amount = net + tax;
    let item = open_item(conn, caller, &books, &invoice, amount)?;
    let operation = New {
        client: Some(invoice.client_id),
        invoice: Some(invoice.id),
        payment: Some(payment.id),
        net,
        vat: tax,
        details: json!({ "percent": percent.normalize().to_string(), "correctsVat": input.corrects_vat }),
        ..New::of(OperationKind::Discount, on, amount, currency)
    }
    .record(conn, caller, &books)?;
    let accounts = &books.settings.accounts;
    let mut lines = vec![NewLine::debit(&accounts.granted_discount, net)];
    lines.extend(vat_receipts::take_off(
        conn,
        caller,
        &books,
        Some(&invoice),
        "CREDIT",
        tax,
        on,
    )?);
    lines.push(
        NewLine::credit(books.client_account(&item.family), amount).open(
            invoice.client_id,
            operation::item_like("DISCOUNT", &operation, &item, false),
        ),
    );
    let posting = operation::posting(
        &books,
        &operation,
        &format!("Escompte facture {}", invoice.number),
        invoice.exchange_rate,
        lines,
    )?;
    let made = books::post(conn, caller, &books, vec![posting])?;
    settle_first(conn, caller, &books, &item, &made, amount, on)?;
    Ok(operation.id)
}

/// A discount on an item taken over from another system, as entered.
#[derive(Clone, Debug)]
pub struct ImportedDiscount {
    pub item: ItemRef,
    pub payment: Ref,
    /// In percent; what was agreed is not in the books.
    pub percent: Option<Decimal>,
    pub corrects_vat: bool,
    pub on: Option<NaiveDate>,
}

/// The same for an item taken over from another system: its HT and VAT are those of its entry (R2.15).
pub fn grant_imported(
    conn: &mut PgConnection,
    caller: &Caller,
    input: &ImportedDiscount,
) -> Result<OperationId> {
    let books = books::open(conn, caller)?;
    let payment = reference::payment(conn, caller, "payment", &input.payment)?;
    let on = input.on.unwrap_or(payment.received_on);
    books.check_day("on", on)?;
    let percent = input
        .percent
        .filter(|percent| *percent > Decimal::ZERO && *percent < Decimal::ONE_HUNDRED)
        .ok_or_else(|| {
            Refusal::invalid(
                "percent",
                "the percent agreed is needed, above 0 and below 100: the books do not hold the offer",
            )
        })?;
    let item = reference::items(conn, caller, "item", &input.item, true)?
        .into_iter()
        .find(|item| item.open_amount > 0 && item.kind == "IMPORTED")
        .ok_or_else(|| {
            Refusal::new(
                RefusalCode::WrongState,
                "item",
                "no imported item is open here: the discount of an invoice goes by the invoice",
            )
        })?;
    let currency = books::currency(&item.currency)?;
    let whole = vat::percent_of(item.amount, percent);
    let (net_of, total) = (
        i128::from(item.document_net),
        i128::from(item.document_total),
    );
    let net = vat::proportion(whole, net_of, total).unwrap_or(whole);
    let tax = if input.corrects_vat { whole - net } else { 0 };
    let amount = net + tax;
    if amount <= 0 || amount > item.open_amount {
        return Err(Refusal::new(
            RefusalCode::OverAllocation,
            "item",
            format!(
                "{} is open on {}",
                currency.show(item.open_amount),
                item.reference
            ),
        )
        .detail("open", currency.decimal(item.open_amount).to_string())
        .into());
    }
    let operation = New {
        client: Some(item.client_id),
        payment: Some(payment.id),
        net,
        vat: tax,
        details: json!({ "percent": percent.normalize().to_string(), "correctsVat": input.corrects_vat }),
        ..New::of(OperationKind::Discount, on, amount, currency)
    }
    .record(conn, caller, &books)?;
    let mut lines = vec![NewLine::debit(
        &books.settings.accounts.granted_discount,
        net,
    )];
    lines.extend(vat_receipts::take_off(
        conn, caller, &books, None, "CREDIT", tax, on,
    )?);
    lines.push(
        NewLine::credit(books.client_account(&item.family), amount).open(
            item.client_id,
            operation::item_like("DISCOUNT", &operation, &item, false),
        ),
    );
    let rate = rate_of(conn, caller, &item)?;
    let label = format!("Escompte facture {}", item.reference);
    let posting = operation::posting(&books, &operation, &label, rate, lines)?;
    let made = books::post(conn, caller, &books, vec![posting])?;
    settle_first(conn, caller, &books, &item, &made, amount, on)?;
    Ok(operation.id)
}

/// R2.15: the percent of the whole TTC, then split like the invoice into its HT and VAT.
fn parts(
    conn: &mut PgConnection,
    caller: &Caller,
    invoice: &Document,
    percent: Decimal,
) -> Result<(Minor, Minor)> {
    let whole = vat::percent_of(invoice.total, percent);
    let taxes: Vec<RateShare> = store::document::taxes(conn, caller.company, &[invoice.id])?
        .iter()
        .map(|tax| RateShare {
            rate: tax.vat_rate,
            net: tax.net,
            vat: tax.vat,
        })
        .collect();
    let split = vat::split_over_rates(whole, &taxes);
    Ok(split.iter().fold((0, 0), |(net, vat), share| {
        (net + share.net, vat + share.vat)
    }))
}

/// The discount (HT, VAT) that a receipt of a day would earn on an invoice; none when it offers none, or came too late.
pub fn offered(
    conn: &mut PgConnection,
    caller: &Caller,
    invoice: &Document,
    received_on: NaiveDate,
) -> Result<Option<(Minor, Minor)>> {
    let Some(percent) = invoice.discount_percent else {
        return Ok(None);
    };
    if check_offer(invoice, received_on, None).is_err() {
        return Ok(None);
    }
    parts(conn, caller, invoice, percent).map(Some)
}

/// R2.16: only when the receipt came within the days offered.
fn check_offer(invoice: &Document, received_on: NaiveDate, percent: Option<Decimal>) -> Result<()> {
    let Some(days) = invoice.discount_days else {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "invoice",
            "the invoice offers no discount for early payment: credit it, or record a deduction",
        )
        .into());
    };
    let last = invoice.issued_on + Duration::days(i64::from(days));
    if received_on > last {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "payment",
            format!("the discount was for payment by {last}: the missing part is a short payment"),
        )
        .detail("latest", last.to_string())
        .into());
    }
    let bad = percent.is_some_and(|percent| {
        percent <= Decimal::ZERO || Some(percent) > invoice.discount_percent
    });
    if bad {
        return Err(Refusal::invalid(
            "percent",
            "more than nothing and at most what the invoice offers",
        )
        .into());
    }
    Ok(())
}

/// The item of an invoice that has this much open; refused when none has.
fn open_item(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    invoice: &Document,
    amount: Minor,
) -> Result<Item> {
    let items = store::item::by_sources(conn, caller.company, &[invoice.id.0])?;
    let open: Minor = items.iter().map(|item| item.open_amount).sum();
    items
        .into_iter()
        .rev()
        .find(|item| item.is_debit && item.open_amount >= amount && amount > 0)
        .ok_or_else(|| {
            let shown = books::currency(&invoice.currency)
                .unwrap_or(books.currency)
                .show(open);
            Refusal::new(
                RefusalCode::OverAllocation,
                "invoice",
                format!("{shown} is open on {}", invoice.number),
            )
            .into()
        })
}

fn settle_first(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    item: &Item,
    made: &[Item],
    amount: Minor,
    on: NaiveDate,
) -> Result<()> {
    let Some(own) = made.first() else {
        return Ok(());
    };
    let (debit, credit) = if item.is_debit {
        (item.id, own.id)
    } else {
        (own.id, item.id)
    };
    operation::settle(conn, caller, books, debit, credit, amount, on)
}

/// Writes off what is left of an item when it is not worth a dispute: D 658 / C 411, or D 411 / C 758.
pub fn settle_difference(
    conn: &mut PgConnection,
    caller: &Caller,
    target: &ItemRef,
    is_debit: bool,
    on: Option<NaiveDate>,
) -> Result<OperationId> {
    let books = books::open(conn, caller)?;
    let on = on.unwrap_or(caller.today);
    books.check_day("on", on)?;
    let item = reference::items(conn, caller, "item", target, is_debit)?
        .into_iter()
        .find(|item| item.open_amount > 0)
        .ok_or_else(|| {
            Refusal::new(
                RefusalCode::WrongState,
                "item",
                "nothing is open on this item",
            )
        })?;
    let amount = item.open_amount;
    let currency = books::currency(&item.currency)?;
    let tolerance = books.settings.tolerance;
    if amount > tolerance {
        return Err(Refusal::new(
            RefusalCode::OverAllocation,
            "item",
            format!(
                "{} is above the tolerance of {}: record a deduction, a credit note or a loss",
                currency.show(amount),
                currency.show(tolerance)
            ),
        )
        .detail("tolerance", currency.decimal(tolerance).to_string())
        .into());
    }
    if on < item.posted_on {
        return Err(Refusal::invalid("on", format!("the item is of {}", item.posted_on)).into());
    }
    let operation = New {
        client: Some(item.client_id),
        invoice: item.invoice_id,
        ..New::of(OperationKind::Difference, on, amount, currency)
    }
    .record(conn, caller, &books)?;
    let accounts = &books.settings.accounts;
    let account = books.client_account(&item.family).to_owned();
    let own = operation::item_like("DIFFERENCE", &operation, &item, !is_debit);
    let lines = if is_debit {
        vec![
            NewLine::debit(&accounts.small_loss, amount),
            NewLine::credit(&account, amount).open(item.client_id, own),
        ]
    } else {
        vec![
            NewLine::debit(&account, amount).open(item.client_id, own),
            NewLine::credit(&accounts.small_gain, amount),
        ]
    };
    let rate = rate_of(conn, caller, &item)?;
    let posting = operation::posting(
        &books,
        &operation,
        &format!("Écart de règlement {}", item.reference),
        rate,
        lines,
    )?;
    let made = books::post(conn, caller, &books, vec![posting])?;
    settle_first(conn, caller, &books, &item, &made, amount, on)?;
    Ok(operation.id)
}

/// Company-currency units for one unit of an item's currency, as its entry had it.
pub fn rate_of(conn: &mut PgConnection, caller: &Caller, item: &Item) -> Result<Decimal> {
    let value = store::item::base_values(conn, caller.company, &[item.id])?
        .first()
        .map_or(item.amount, |row| row.base);
    let books = books::open(conn, caller)?;
    let currency = books::currency(&item.currency)?;
    if currency == books.currency {
        return Ok(Decimal::ONE);
    }
    Ok((books.currency.decimal(value) / currency.decimal(item.amount)).round_dp(8))
}

/// Uses a deposit on an invoice: D 4191 / C 411, and its VAT line taken back (2.4).
pub fn use_deposit(
    conn: &mut PgConnection,
    caller: &Caller,
    deposit: &Ref,
    invoice: &Ref,
    amount: Option<Decimal>,
    on: Option<NaiveDate>,
) -> Result<OperationId> {
    let books = books::open(conn, caller)?;
    let payment = reference::payment(conn, caller, "deposit", deposit)?;
    let invoice = reference::invoice(conn, caller, "invoice", invoice)?;
    if payment.purpose != DEPOSIT {
        return Err(Refusal::invalid(
            "deposit",
            "this payment is not a deposit: allocate it to the invoice",
        )
        .into());
    }
    if payment.client_id != Some(invoice.client_id) {
        return Err(Refusal::new(
            RefusalCode::AllocationMismatch,
            "invoice",
            "the deposit and the invoice belong to different clients",
        )
        .into());
    }
    if payment.currency != invoice.currency {
        return Err(Refusal::new(
            RefusalCode::CurrencyMismatch,
            "invoice",
            format!("the deposit is in {}", payment.currency),
        )
        .into());
    }
    let on = on.unwrap_or(caller.today.max(payment.received_on).max(invoice.issued_on));
    books.check_day("on", on)?;
    let currency = books::currency(&payment.currency)?;
    let held = store::item::by_sources(conn, caller.company, &[payment.id.0])?
        .into_iter()
        .find(|item| !item.is_debit && item.family == "419" && item.open_amount > 0)
        .ok_or_else(|| {
            Refusal::new(
                RefusalCode::WrongState,
                "deposit",
                "this deposit is used up",
            )
        })?;
    let debits: Vec<Item> = store::item::by_sources(conn, caller.company, &[invoice.id.0])?
        .into_iter()
        .filter(|item| item.is_debit && item.family == "411" && item.open_amount > 0)
        .collect();
    let known = payment.received_on.max(invoice.issued_on);
    let why = "the deposit and the invoice are known since";
    books::not_before("on", on, Some(known), why)?;
    let open: Minor = debits.iter().map(|item| item.open_amount).sum();
    let amount = match amount {
        Some(amount) => books::amount("amount", amount, currency)?,
        None => open.min(held.open_amount),
    };
    if amount == 0 || amount > open || amount > held.open_amount {
        return Err(Refusal::new(
            RefusalCode::OverAllocation,
            "amount",
            format!(
                "{} is left of the deposit and {} is open on the invoice",
                currency.show(held.open_amount),
                currency.show(open)
            ),
        )
        .into());
    }
    let used_on: Vec<ItemId> = debits.iter().map(|item| item.id).collect();
    if books.company.segregation && approval::same_person(conn, caller, &used_on, &[held.id])? {
        return Err(Refusal::new(
            RefusalCode::SecondPersonRequired,
            "invoice",
            "you recorded the deposit and credited this invoice alone (R12.2): another person uses the one on the other",
        )
        .into());
    }
    let (_, whole_vat) = payment::deposit_vat(&payment);
    // In proportion to what is used in all, so that the last use closes exactly.
    let share = |used: Minor| {
        vat::proportion(used, i128::from(whole_vat), i128::from(payment.amount)).unwrap_or_default()
    };
    let used_before = held.amount - held.open_amount;
    let tax = share(used_before + amount) - share(used_before);
    let operation = New {
        client: Some(invoice.client_id),
        invoice: Some(invoice.id),
        payment: Some(payment.id),
        ..New::of(OperationKind::DepositUse, on, amount, currency)
    }
    .record(conn, caller, &books)?;
    let accounts = &books.settings.accounts;
    let own = |is_debit: bool, of: &Item| NewItem {
        invoice_id: Some(invoice.id),
        ..operation::item_like("DEPOSIT", &operation, of, is_debit)
    };
    let mut lines = vec![
        NewLine::debit(&accounts.deposits, amount).open(
            invoice.client_id,
            NewItem {
                invoice_id: None,
                ..operation::item_like("DEPOSIT", &operation, &held, true)
            },
        ),
        NewLine::credit(&accounts.receivable, amount)
            .open(invoice.client_id, own(false, &debits[0])),
    ];
    if tax > 0 {
        lines.push(NewLine::debit(&accounts.vat, tax));
        lines.push(NewLine::credit(&accounts.pending_vat, tax));
    }
    let posting = operation::posting(
        &books,
        &operation,
        &format!("Acompte {} sur facture {}", payment.number, invoice.number),
        payment.exchange_rate,
        lines,
    )?;
    let made = books::post(conn, caller, &books, vec![posting])?;
    let (Some(released), Some(credit)) = (made.first(), made.get(1)) else {
        return Ok(operation.id);
    };
    operation::settle(conn, caller, &books, released.id, held.id, amount, on)?;
    let mut left = amount;
    for debit in &debits {
        let part = left.min(debit.open_amount);
        if part > 0 {
            operation::settle(conn, caller, &books, debit.id, credit.id, part, on)?;
            left -= part;
        }
    }
    Ok(operation.id)
}

/// A transfer between two accounts, as entered.
#[derive(Clone, Debug)]
pub struct TransferInput {
    /// The credit (receipt, credit note) to move.
    pub credit: ItemRef,
    /// The client it moves to; the same client for a move to the doubtful account.
    pub to: Ref,
    /// Whether it goes to 416, to pay a doubtful claim.
    pub doubtful: bool,
    pub amount: Option<Decimal>,
    pub on: Option<NaiveDate>,
    pub reason: String,
}

/// Moves money on account from one auxiliary account to another (R13.4): a payer who pays for several
/// clients, or a receipt of 411 that pays a claim on 416.
pub fn transfer(
    conn: &mut PgConnection,
    caller: &Caller,
    input: &TransferInput,
) -> Result<OperationId> {
    let books = books::open(conn, caller)?;
    let to = reference::client(conn, caller, "to", &input.to)?;
    super::client::refuse_closed(&to, "to")?;
    let reason = books::text("reason", &input.reason, 500)?;
    let credit = reference::items(conn, caller, "credit", &input.credit, false)?
        .into_iter()
        .find(|item| item.open_amount > 0 && item.family == "411")
        .ok_or_else(|| {
            Refusal::new(
                RefusalCode::WrongState,
                "credit",
                "nothing is left on account of this credit",
            )
        })?;
    let on = input.on.unwrap_or(caller.today.max(credit.posted_on));
    books.check_day("on", on)?;
    let known = Some(credit.posted_on);
    books::not_before("on", on, known, "the money is there since")?;
    if credit.client_id == to.id && !input.doubtful {
        return Err(Refusal::invalid("to", "the money is on this client's account already").into());
    }
    let currency = books::currency(&credit.currency)?;
    let amount = match input.amount {
        Some(amount) => books::amount("amount", amount, currency)?,
        None => credit.open_amount,
    };
    if amount > credit.open_amount {
        return Err(Refusal::new(
            RefusalCode::OverAllocation,
            "amount",
            format!("{} is left on account", currency.show(credit.open_amount)),
        )
        .into());
    }
    let operation = New {
        client: Some(credit.client_id),
        reason: Some(reason),
        details: json!({ "from": credit.client_id.show(), "to": to.id.show() }),
        ..New::of(OperationKind::Transfer, on, amount, currency)
    }
    .record(conn, caller, &books)?;
    let accounts = &books.settings.accounts;
    let target = if input.doubtful {
        &accounts.doubtful
    } else {
        &accounts.receivable
    };
    let rate = rate_of(conn, caller, &credit)?;
    let posting = operation::posting(
        &books,
        &operation,
        &format!("Virement de compte {}", credit.reference),
        rate,
        vec![
            NewLine::debit(&accounts.receivable, amount).open(
                credit.client_id,
                operation::item_like("TRANSFER", &operation, &credit, true),
            ),
            NewLine::credit(target, amount).open(
                to.id,
                operation::item_like("TRANSFER", &operation, &credit, false),
            ),
        ],
    )?;
    let made = books::post(conn, caller, &books, vec![posting])?;
    settle_first(conn, caller, &books, &credit, &made, amount, on)?;
    Ok(operation.id)
}
