//! Doubtful debts and losses (2.10 to 2.12): proposed with evidence, posted by a second person.

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use rust_decimal::Decimal;
use serde_json::json;
use uuid::Uuid;

use super::approval::{self, Asked};
use super::books::{self, Books, NewItem, NewLine};
use super::discount::rate_of;
use super::operation::{self, New, OperationKind};
use super::reference::{self, Ref};
use super::vat_receipts;
use crate::domain::access::{Caller, codes};
use crate::domain::approval::{ApprovalKind, ApprovalStatus, Matter};
use crate::domain::ids::{DoubtfulFileId, Id, OperationId, RectifiedInvoiceId};
use crate::domain::money::Minor;
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::domain::vat::{self, RateShare};
use crate::domain::wording;
use crate::error::{Error, Result};
use crate::store::document::Document;
use crate::store::doubtful::{File, Movement, Rectified};
use crate::store::item::Item;
use crate::store::operation::Operation;
use crate::store::{self};

codes! {
    /// On what ground the VAT of a loss is recovered (R2.21, R2.22).
    VatRecovery {
        /// Not recovered: the whole TTC is lost.
        None = "NONE",
        /// The judgment opening liquidation judiciaire.
        LiquidationJudgment = "LIQUIDATION_JUDGMENT",
        /// The claim is proven to be definitively irrecoverable.
        ProvenIrrecoverable = "PROVEN_IRRECOVERABLE",
    }
}

/// A file as entered.
#[derive(Clone, Debug)]
pub struct FileInput {
    /// Whether the claim is lost; else only doubtful.
    pub is_loss: bool,
    pub client: Option<Ref>,
    /// Only this invoice; everything the client has open when absent.
    pub invoice: Option<Ref>,
    /// A part of a loss (R2.23); everything when absent.
    pub amount: Option<Decimal>,
    pub vat_recovery: VatRecovery,
    pub reason: String,
    pub evidence: Vec<String>,
    pub on: Option<NaiveDate>,
}

/// Proposes that a claim is doubtful or lost; refused without evidence (R5.3). Nothing is posted yet.
pub fn propose(
    conn: &mut PgConnection,
    caller: &Caller,
    input: &FileInput,
) -> Result<DoubtfulFileId> {
    let books = books::open(conn, caller)?;
    let invoice = input
        .invoice
        .as_ref()
        .map(|target| reference::invoice(conn, caller, "invoice", target))
        .transpose()?;
    let client = match (&input.client, &invoice) {
        (Some(target), _) => reference::client(conn, caller, "client", target)?,
        (None, Some(invoice)) => store::client::by_id(conn, caller.company, invoice.client_id)?
            .ok_or_else(|| Refusal::not_found("client", "client"))?,
        (None, None) => {
            return Err(Refusal::invalid("client", "name the client or the invoice").into());
        }
    };
    if invoice
        .as_ref()
        .is_some_and(|invoice| invoice.client_id != client.id)
    {
        return Err(Refusal::invalid("invoice", "the invoice belongs to another client").into());
    }
    let on = input.on.unwrap_or(caller.today);
    books.check_day("on", on)?;
    if input.vat_recovery == VatRecovery::LiquidationJudgment
        && !(client.insolvency == "LIQUIDATION"
            && client.insolvency_on.is_some_and(|day| day <= on))
    {
        return Err(Refusal::invalid(
            "vatRecovery",
            "the client is not in liquidation on that day: record the judgment first (R2.21)",
        )
        .into());
    }
    let code = invoice
        .as_ref()
        .map_or(client.currency.as_str(), |invoice| &invoice.currency);
    let currency = books::currency(code)?;
    if input.amount.is_some() && (!input.is_loss || invoice.is_none()) {
        return Err(Refusal::invalid(
            "amount",
            "a part can be lost of one invoice; a doubtful claim moves whole (R2.23, R5.12)",
        )
        .into());
    }
    let amount = input
        .amount
        .map(|amount| books::amount("amount", amount, currency))
        .transpose()?;
    let evidence = operation::evidence(&input.evidence)?;
    let file = File {
        company_id: caller.company,
        id: DoubtfulFileId::new(),
        number: books.next_number(conn, &books.settings.series.doubtful_files, on, false, "on")?,
        kind: if input.is_loss {
            "WRITE_OFF"
        } else {
            "TRANSFER"
        }
        .into(),
        client_id: client.id,
        invoice_id: invoice.as_ref().map(|invoice| invoice.id),
        amount,
        currency: currency.code().to_owned(),
        vat_recovery: input.vat_recovery.code().to_owned(),
        reason: books::text("reason", &input.reason, 1000)?,
        evidence: json!(evidence),
        happened_on: on,
        recorded_by: caller.author.clone(),
        status: "PROPOSED".into(),
        decided_by: None,
        decision: None,
        decided_at: None,
    };
    let items = concerned(conn, caller, &file)?;
    // Of a client, what was posted later moves on its own day.
    let known = match &invoice {
        Some(_) => items.iter().map(|item| item.posted_on).max(),
        None => items.iter().map(|item| item.posted_on).min(),
    };
    books::not_before("on", on, known, "the claim is posted on")?;
    let open: Minor = items.iter().map(|item| item.open_amount).sum();
    if open == 0 || amount.is_some_and(|amount| amount > open) {
        return Err(Refusal::new(
            RefusalCode::OverAllocation,
            match (amount, &input.client) {
                (Some(_), _) => "amount",
                (None, Some(_)) => "client",
                (None, None) => "invoice",
            },
            format!("{} is open that could be moved", currency.show(open)),
        )
        .detail("open", currency.decimal(open).to_string())
        .into());
    }
    store::doubtful::insert(conn, &file)?;
    let shown =
        |account: &str| json!({ "account": account, "open": currency.decimal(open).to_string() });
    let matter = Matter {
        client: Some(file.client_id),
        document: file.invoice_id,
        amount: Some((file.amount.unwrap_or(open), currency)),
        before: shown(if file.kind == "TRANSFER" {
            "411"
        } else {
            "411, 416"
        }),
        after: shown(if file.kind == "TRANSFER" {
            "416"
        } else {
            "654"
        }),
        ..Matter::of(
            if input.is_loss {
                ApprovalKind::WriteOff
            } else {
                ApprovalKind::Doubtful
            },
            file.id.show(),
        )
    };
    let asked = Asked {
        operation: "decideDoubtfulFile".into(),
        input: json!({ "file": { "number": file.number } }),
        hash: String::new(),
        reason: Some(file.reason.clone()),
        keyed: true,
    };
    approval::file(conn, caller, &books, matter, file.id.0, asked)?;
    Ok(file.id)
}

/// The open claims that a file is about, oldest due first.
fn concerned(conn: &mut PgConnection, caller: &Caller, file: &File) -> Result<Vec<Item>> {
    let items = store::item::open_of_client(conn, caller.company, file.client_id)?;
    Ok(items
        .into_iter()
        .filter(|item| {
            item.is_debit
                && item.currency == file.currency
                && match file.kind.as_str() {
                    "TRANSFER" => item.family == "411",
                    _ => item.family == "411" || item.family == "416",
                }
                && (file.invoice_id.is_none() || item.invoice_id == file.invoice_id)
        })
        .collect())
}

/// Posts a proposed file, or rejects it with a reason. Never by its author while duties are segregated (R12.1).
pub fn decide(
    conn: &mut PgConnection,
    caller: &Caller,
    target: &Ref,
    approve: bool,
    decision: Option<&str>,
) -> Result<DoubtfulFileId> {
    let books = books::open(conn, caller)?;
    let found = find(conn, caller, "file", target)?;
    let mut file = store::doubtful::for_update(conn, caller.company, found.id)?
        .ok_or_else(|| Refusal::not_found("file", "doubtful file"))?;
    if file.status != "PROPOSED" {
        return Err(Refusal::new(
            RefusalCode::WrongState,
            "file",
            format!("this file is {} already", file.status),
        )
        .detail("status", file.status.clone())
        .into());
    }
    if books.company.segregation && file.recorded_by == caller.author {
        return Err(Refusal::new(
            RefusalCode::SecondPersonRequired,
            "file",
            "whoever proposed it may not decide it",
        )
        .into());
    }
    if books.company.segregation && approve && file.kind == "WRITE_OFF" {
        let items = concerned(conn, caller, &file)?;
        let invoices: Vec<_> = items.iter().filter_map(|item| item.invoice_id).collect();
        approval::independent(conn, caller, &invoices, "file")?;
    }
    file.decision = books::optional_text("reason", decision, 500)?;
    file.decided_by = Some(caller.author.clone());
    if !approve && file.decision.is_none() {
        return Err(Refusal::invalid("reason", "say why it is rejected (R12.6)").into());
    }
    file.status = if approve { "POSTED" } else { "REJECTED" }.into();
    store::doubtful::decide(conn, &file)?;
    if approve {
        post(conn, caller, &books, &file)?;
    }
    let (status, result) = if approve {
        (ApprovalStatus::Approved, Some(file.id.show()))
    } else {
        (ApprovalStatus::Rejected, None)
    };
    let why = file.decision.as_deref();
    approval::filed(conn, caller, &books, file.id.0, status, why, result)?;
    Ok(file.id)
}

/// Its author takes a file back that waits: it ends as a rejected one.
pub fn withdraw(
    conn: &mut PgConnection,
    caller: &Caller,
    id: DoubtfulFileId,
    why: &str,
) -> Result<()> {
    let mut file = store::doubtful::for_update(conn, caller.company, id)?
        .filter(|file| file.status == "PROPOSED")
        .ok_or_else(|| Refusal::not_found("request", "doubtful file that waits"))?;
    file.status = "REJECTED".into();
    file.decided_by = Some(caller.author.clone());
    file.decision = Some(why.to_owned());
    Ok(store::doubtful::decide(conn, &file)?)
}

fn post(conn: &mut PgConnection, caller: &Caller, books: &Books, file: &File) -> Result<()> {
    let items = concerned(conn, caller, file)?;
    let mut left = file.amount.unwrap_or(Minor::MAX);
    let mut posted = false;
    for item in items {
        let part = left.min(item.open_amount);
        if part > 0 {
            if file.kind == "TRANSFER" {
                move_to_doubtful(conn, caller, books, file, &item)?;
            } else {
                write_off(conn, caller, books, file, &item, part)?;
            }
            left -= part;
            posted = true;
        }
    }
    if !posted || (file.amount.is_some() && left > 0) {
        return Err(Refusal::new(
            RefusalCode::OverAllocation,
            "file",
            "less is open by now than the file is about: reject it and propose anew",
        )
        .into());
    }
    Ok(())
}

/// D 416 / C 411 for the whole claim, VAT included, with its own due date (R5.12, R4.13).
fn move_to_doubtful(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    file: &File,
    item: &Item,
) -> Result<()> {
    let on = file.happened_on.max(item.posted_on);
    let operation = New {
        client: Some(file.client_id),
        invoice: item.invoice_id,
        file: Some(file.id),
        reason: Some(file.reason.clone()),
        ..New::of(
            OperationKind::Doubtful,
            on,
            item.open_amount,
            books::currency(&item.currency)?,
        )
    }
    .record(conn, caller, books)?;
    let accounts = &books.settings.accounts;
    let rate = rate_of(conn, caller, item)?;
    let moved = NewItem {
        reference: item.reference.clone(),
        ..operation::item_like("DOUBTFUL", &operation, item, true)
    };
    let posting = operation::posting(
        books,
        &operation,
        &format!("Client douteux {}", item.reference),
        rate,
        vec![
            NewLine::debit(&accounts.doubtful, item.open_amount).open(item.client_id, moved),
            NewLine::credit(&accounts.receivable, item.open_amount).open(
                item.client_id,
                operation::item_like("DOUBTFUL", &operation, item, false),
            ),
        ],
    )?;
    let made = books::post(conn, caller, books, vec![posting])?;
    if let Some(credit) = made.iter().find(|made| !made.is_debit) {
        operation::settle(
            conn,
            caller,
            books,
            item.id,
            credit.id,
            item.open_amount,
            on,
        )?;
    }
    Ok(())
}

/// D 654 (6541 or 6544), D 44571 when VAT is recovered / C 411 or 416; and the provision released (R2.20).
fn write_off(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    file: &File,
    item: &Item,
    amount: Minor,
) -> Result<()> {
    let on = file.happened_on.max(item.posted_on);
    let currency = books::currency(&item.currency)?;
    let invoice = match item.invoice_id {
        Some(id) => store::document::by_id(conn, caller.company, id)?,
        None => None,
    };
    let recovery = VatRecovery::read(&file.vat_recovery)
        .ok_or_else(|| Error::Internal(format!("stored recovery {}", file.vat_recovery)))?;
    let tax = match (recovery, &invoice) {
        (VatRecovery::None, _) | (_, None) => 0,
        (_, Some(invoice)) => split(conn, caller, invoice, amount)?.1,
    };
    let operation = New {
        client: Some(file.client_id),
        invoice: item.invoice_id,
        file: Some(file.id),
        net: amount - tax,
        vat: tax,
        reason: Some(file.reason.clone()),
        details: json!({ "vatRecovery": recovery.code(), "account": item.family, "document": item.reference }),
        ..New::of(OperationKind::WriteOff, on, amount, currency)
    }
    .record(conn, caller, books)?;
    let accounts = &books.settings.accounts;
    let prior = books.year(item.invoiced_on).name < books.year(on).name;
    let loss = if prior {
        &accounts.loss_prior
    } else {
        &accounts.loss_current
    };
    let mut lines = vec![NewLine::debit(loss, amount - tax)];
    lines.extend(vat_receipts::take_off(
        conn,
        caller,
        books,
        invoice.as_ref(),
        "LOSS",
        tax,
        on,
    )?);
    lines.push(
        NewLine::credit(books.client_account(&item.family), amount).open(
            item.client_id,
            operation::item_like("WRITE_OFF", &operation, item, false),
        ),
    );
    let rate = rate_of(conn, caller, item)?;
    let mut postings = vec![operation::posting(
        books,
        &operation,
        &format!("Perte sur créance {}", item.reference),
        rate,
        lines,
    )?];
    let release = released(conn, caller, books, item, amount, rate)?;
    if release > 0 {
        let mut entry = operation::posting(
            books,
            &operation,
            &format!("Reprise dépréciation {}", item.reference),
            Decimal::ONE,
            vec![
                NewLine::debit(&accounts.provision, release).of(item.client_id),
                NewLine::credit(&accounts.provision_release, release),
            ],
        )?;
        entry.currency = books.currency;
        postings.push(entry);
        store::doubtful::insert_movements(
            conn,
            &[Movement {
                company_id: caller.company,
                id: Uuid::now_v7(),
                client_id: item.client_id,
                amount: -release,
                kind: "LOSS".into(),
                source_id: operation.id.0,
                item_id: Some(item.id),
                posted_on: books.first_open_day(on),
                recorded_by: caller.author.clone(),
            }],
        )?;
    }
    let made = books::post(conn, caller, books, postings)?;
    if let Some(credit) = made.first() {
        operation::settle(conn, caller, books, item.id, credit.id, amount, on)?;
    }
    if let (Some(invoice), true) = (&invoice, tax > 0) {
        rectify(conn, caller, books, &operation, invoice, recovery)?;
    }
    Ok(())
}

/// Net and VAT of a part of an invoice (R0.3).
fn split(
    conn: &mut PgConnection,
    caller: &Caller,
    invoice: &Document,
    amount: Minor,
) -> Result<(Minor, Minor)> {
    let shares: Vec<RateShare> = store::document::taxes(conn, caller.company, &[invoice.id])?
        .iter()
        .map(|tax| RateShare {
            rate: tax.vat_rate,
            net: tax.net,
            vat: tax.vat,
        })
        .collect();
    Ok(vat::split_over_rates(amount, &shares)
        .iter()
        .fold((0, 0), |(net, vat), share| {
            (net + share.net, vat + share.vat)
        }))
}

/// The provision that a loss releases: the claim's own in the last posted run, in proportion to what is
/// lost of it; without one, the loss before VAT. Never more than the client's provision.
fn released(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    item: &Item,
    amount: Minor,
    rate: Decimal,
) -> Result<Minor> {
    let held = store::doubtful::provided_for(conn, caller.company, item.client_id)?;
    if held <= 0 {
        return Ok(0);
    }
    let own = store::doubtful::provided_for_item(conn, caller.company, item.id)?;
    let too_large = || Error::Internal("a provision is too large".into());
    let part = match own {
        Some(own) => vat::proportion(own, i128::from(amount), i128::from(item.open_amount))
            .ok_or_else(too_large)?,
        None => {
            let net = vat::proportion(
                amount,
                i128::from(item.document_net),
                i128::from(item.document_total),
            )
            .ok_or_else(too_large)?;
            crate::domain::money::convert(
                net,
                books::currency(&item.currency)?,
                books.currency,
                rate,
            )
            .ok_or_else(too_large)?
        }
    };
    Ok(part.min(held))
}

/// Issues the rectified invoice that recovers the VAT: the duplicate with the wording of R2.21.
fn rectify(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    operation: &Operation,
    invoice: &Document,
    recovery: VatRecovery,
) -> Result<()> {
    let currency = books::currency(&operation.currency)?;
    let (net, tax) = (
        currency.decimal(operation.net).to_string(),
        currency.decimal(operation.vat).to_string(),
    );
    let text = wording::unpaid_invoice(operation.happened_on, &net, &tax, currency.code())
        .map_err(|error| Refusal::invalid("on", error.to_string()))?;
    let number = books.next_number(
        conn,
        &books.settings.series.rectified_invoices,
        operation.happened_on,
        true,
        "on",
    )?;
    let parties = store::document::snapshots(conn, caller.company, &[invoice.id])?
        .pop()
        .map(|(_, parties)| parties);
    store::doubtful::insert_rectified(
        conn,
        &Rectified {
            company_id: caller.company,
            id: RectifiedInvoiceId::new(),
            number,
            operation_id: operation.id,
            client_id: invoice.client_id,
            issued_on: operation.happened_on,
            content: json!({
                "invoice": { "number": invoice.number, "issuedOn": invoice.issued_on, "net": currency.decimal(invoice.net).to_string(),
                             "vat": currency.decimal(invoice.vat).to_string(), "total": currency.decimal(invoice.total).to_string() },
                "unpaid": { "net": net, "vat": tax, "total": currency.decimal(operation.amount).to_string(), "currency": currency.code() },
                "ground": recovery.code(),
                "wording": text,
                "parties": parties,
            }),
            recorded_by: caller.author.clone(),
        },
    )?;
    Ok(())
}

/// Takes back the movements of provisions that a reversed operation made.
pub fn undo_movements(
    conn: &mut PgConnection,
    caller: &Caller,
    operation: OperationId,
    on: NaiveDate,
) -> Result<()> {
    let rows: Vec<Movement> = store::doubtful::movements_of(conn, caller.company, operation.0)?
        .into_iter()
        .map(|movement| Movement {
            id: Uuid::now_v7(),
            amount: -movement.amount,
            kind: "REVERSAL".into(),
            posted_on: on,
            recorded_by: caller.author.clone(),
            ..movement
        })
        .collect();
    Ok(store::doubtful::insert_movements(conn, &rows)?)
}

/// The file, or `NOT_FOUND`.
pub fn find(conn: &mut PgConnection, caller: &Caller, field: &str, target: &Ref) -> Result<File> {
    let found = match target {
        Ref::Number(number) => store::doubtful::by_number(conn, caller.company, number)?,
        Ref::Id(id) | Ref::ExternalRef(id) => match DoubtfulFileId::read(id) {
            Some(id) => store::doubtful::by_ids(conn, caller.company, &[id])?.pop(),
            None => None,
        },
    };
    found.ok_or_else(|| Error::from(Refusal::not_found(field, "doubtful file")))
}

/// What was recovered of a loss and not taken back.
pub fn recovered(conn: &mut PgConnection, caller: &Caller, loss: OperationId) -> Result<Minor> {
    let reversal = OperationKind::Reversal.code();
    let mut sum = 0;
    for recovery in
        store::operation::followers(conn, caller.company, loss, OperationKind::Recovery.code())?
    {
        if store::operation::followers(conn, caller.company, recovery.id, reversal)?.is_empty() {
            sum += recovery.amount;
        }
    }
    Ok(sum)
}

/// Money received after a loss (2.12): D 512 / C 7583, and the VAT due again when it had been recovered.
pub fn record_recovery(
    conn: &mut PgConnection,
    caller: &Caller,
    loss: &Ref,
    amount: Decimal,
    on: Option<NaiveDate>,
    bank_account: Option<&str>,
) -> Result<OperationId> {
    let books = books::open(conn, caller)?;
    let loss = operation::find(conn, caller, "writeOff", loss)?;
    if loss.kind != OperationKind::WriteOff.code() {
        return Err(Refusal::invalid("writeOff", "this operation is not a loss").into());
    }
    let on = on.unwrap_or(caller.today.max(loss.happened_on));
    books.check_day("receivedOn", on)?;
    if on < loss.happened_on {
        return Err(
            Refusal::invalid("receivedOn", format!("the loss is of {}", loss.happened_on)).into(),
        );
    }
    let currency = books::currency(&loss.currency)?;
    let amount = books::amount("amount", amount, currency)?;
    let before = recovered(conn, caller, loss.id)?;
    let reversed = !store::operation::followers(
        conn,
        caller.company,
        loss.id,
        OperationKind::Reversal.code(),
    )?
    .is_empty();
    if reversed || before + amount > loss.amount {
        return Err(Refusal::new(
            RefusalCode::OverAllocation,
            "amount",
            format!(
                "{} of the loss was not recovered yet",
                currency.show(if reversed { 0 } else { loss.amount - before })
            ),
        )
        .into());
    }
    // In proportion, cumulated: the last recovery closes the VAT exactly.
    let share = |recovered: Minor| {
        vat::proportion(recovered, i128::from(loss.vat), i128::from(loss.amount))
            .unwrap_or_default()
    };
    let tax = share(before + amount) - share(before);
    let operation = New {
        client: loss.client_id,
        invoice: loss.invoice_id,
        follows: Some(loss.id),
        net: amount - tax,
        vat: tax,
        ..New::of(OperationKind::Recovery, on, amount, currency)
    }
    .record(conn, caller, &books)?;
    let accounts = &books.settings.accounts;
    let mut lines = vec![
        NewLine::debit(bank_account.unwrap_or(&accounts.bank), amount),
        NewLine::credit(&accounts.recovery, amount - tax),
    ];
    if tax > 0 {
        lines.push(NewLine::credit(&accounts.vat, tax));
    }
    let rate = match loss.invoice_id {
        Some(id) => store::document::by_id(conn, caller.company, id)?
            .map_or(Decimal::ONE, |invoice| invoice.exchange_rate),
        None => Decimal::ONE,
    };
    let mut posting = operation::posting(
        &books,
        &operation,
        &format!("Rentrée sur créance amortie {}", loss.number),
        rate,
        lines,
    )?;
    posting.journal = "BQ".into();
    books::post(conn, caller, &books, vec![posting])?;
    Ok(operation.id)
}
