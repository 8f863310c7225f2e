//! Invoices: drafted, then issued with number, entry and open items in one transaction.

use chrono::{NaiveDate, Utc};
use diesel::pg::PgConnection;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::books::{self, Books, Draw, NewItem, NewLine, Posting};
use super::law;
use super::reference::{self, Ref};
use crate::domain::access::Caller;
use crate::domain::chart;
use crate::domain::company::VatDue;
use crate::domain::ids::{ClientId, DocumentId, DraftId, Id};
use crate::domain::money::{Currency, Minor};
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::domain::terms::{self, Buyer, PaymentTerms, TermsRule};
use crate::domain::vat::{self, RateShare};
use crate::error::{Error, Result};
use crate::store::client::Client;
use crate::store::document::{self, Document, Draft, Issue, Line, NewDocument, Tax};
use crate::store::gather::Record;
use crate::store::numbering::{Drawers, Numbered};
use crate::store::{self};

/// A line as entered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LineInput {
    pub description: String,
    pub quantity: Decimal,
    pub unit_price: Decimal,
    pub discount_percent: Option<Decimal>,
    pub vat_rate: Decimal,
    pub account: Option<String>,
}

/// An instalment as entered, in the invoice's currency.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstallmentInput {
    pub due_on: NaiveDate,
    pub amount: Decimal,
}

/// An invoice as entered; what is absent follows from the client and the company.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InvoiceInput {
    pub number: Option<String>,
    pub external_ref: Option<String>,
    pub issued_on: Option<NaiveDate>,
    pub received_on: Option<NaiveDate>,
    pub due_on: Option<NaiveDate>,
    pub periodic: bool,
    pub currency: Option<String>,
    pub exchange_rate: Option<Decimal>,
    pub purchase_order: Option<String>,
    pub lines: Vec<LineInput>,
    pub installments: Vec<InstallmentInput>,
    /// When its VAT falls due; the company's setting when absent (R2.4).
    #[serde(default)]
    pub vat_due: Option<VatDue>,
    /// The discount offered for early payment: percent, and days from the issue (R2.16).
    #[serde(default)]
    pub discount: Option<(Decimal, u16)>,
    /// A discount for early payment taken off at once, in percent (R2.17).
    #[serde(default)]
    pub deducted_discount_percent: Option<Decimal>,
    /// Whether a day in a closed period is posted on the first open day (R2.2).
    #[serde(default)]
    pub late_entry: bool,
}

/// Lines worked out: rows to store, VAT per rate, totals.
pub struct Worked {
    pub lines: Vec<Line>,
    pub taxes: Vec<RateShare>,
    pub net: Minor,
    pub vat: Minor,
    /// HT taken off at once for early payment: lines add up to `net` and this (R2.17).
    pub deducted: Minor,
}

impl Worked {
    /// Net and VAT.
    pub fn total(&self) -> Minor {
        self.net + self.vat
    }

    /// The VAT rows to store.
    pub fn tax_rows(&self, caller: &Caller, document: DocumentId) -> Vec<Tax> {
        let row = |share: &RateShare| Tax {
            company_id: caller.company,
            document_id: document,
            vat_rate: share.rate,
            net: share.net,
            vat: share.vat,
        };
        self.taxes.iter().map(row).collect()
    }
}

/// Works out the lines of an invoice or credit note.
pub fn work_out(
    caller: &Caller,
    document: DocumentId,
    lines: &[LineInput],
    currency: Currency,
    account: &str,
    deducted_percent: Option<Decimal>,
) -> Result<Worked> {
    if lines.is_empty() || lines.len() > 100 {
        return Err(Refusal::invalid("lines", "1 to 100 lines are needed").into());
    }
    let mut rows = Vec::with_capacity(lines.len());
    for (line, position) in lines.iter().zip(1_i16..) {
        let at = |field: &str| format!("lines.{}.{field}", position - 1);
        let refuse =
            |field: &str, message: &str| Error::from(Refusal::invalid(&at(field), message));
        let bounded = |value: Decimal| {
            value.scale() <= 6 && value.abs() < Decimal::from(1_000_000_000_000_i64)
        };
        if line.quantity.is_zero() || !bounded(line.quantity) {
            return Err(refuse(
                "quantity",
                "a quantity other than zero is needed, with at most 6 decimals",
            ));
        }
        if !bounded(line.unit_price) {
            return Err(refuse(
                "unitPrice",
                "a price has at most 6 decimals and 12 digits before them",
            ));
        }
        if line.vat_rate < Decimal::ZERO
            || line.vat_rate > Decimal::ONE_HUNDRED
            || line.vat_rate.scale() > 3
        {
            return Err(refuse(
                "vatRate",
                "a rate in percent from 0 to 100 is needed, such as 20 or 5.5",
            ));
        }
        // The least rate of VAT in France is 0.9 % (Corsica): below it a share of one was meant.
        if line.vat_rate > Decimal::ZERO && line.vat_rate < Decimal::new(9, 1) {
            return Err(refuse(
                "vatRate",
                "a rate is in percent: 20 for 20 %, not 0.2",
            ));
        }
        let discount = line.discount_percent.unwrap_or_default();
        if discount < Decimal::ZERO || discount > Decimal::ONE_HUNDRED || discount.scale() > 4 {
            return Err(refuse(
                "discountPercent",
                "a discount in percent from 0 to 100 is needed, with at most 4 decimals",
            ));
        }
        let account = line.account.as_deref().unwrap_or(account);
        if !account.starts_with('7')
            || !(3..=11).contains(&account.len())
            || !account.bytes().all(|sign| sign.is_ascii_digit())
        {
            return Err(refuse(
                "account",
                "a revenue account of class 7 is needed, 3 to 11 digits",
            ));
        }
        let net = vat::line_net(
            line.quantity,
            line.unit_price,
            line.discount_percent,
            currency.exponent(),
        )
        .filter(|net| net.abs() <= 1_000_000_000_000_000)
        .ok_or_else(|| refuse("unitPrice", "the line's amount is too large"))?;
        rows.push(Line {
            company_id: caller.company,
            document_id: document,
            line: position,
            description: books::text(&at("description"), &line.description, 500)?,
            quantity: line.quantity,
            unit_price: line.unit_price,
            discount_percent: discount,
            vat_rate: line.vat_rate.normalize(),
            net,
            account: account.to_owned(),
        });
    }
    let mut shares: Vec<(Decimal, Minor)> =
        rows.iter().map(|row| (row.vat_rate, row.net)).collect();
    let too_large = || Error::from(Refusal::invalid("lines", "the amounts are too large"));
    let mut deducted = 0;
    if let Some(percent) = deducted_percent {
        check_discount("deductedDiscountPercent", percent)?;
        // Per VAT rate, so that each rate's base is the price really due.
        for share in vat::totals(&shares).ok_or_else(too_large)? {
            let part = vat::percent_of(share.net, percent);
            shares.push((share.rate, -part));
            deducted += part;
        }
    }
    let taxes = vat::totals(&shares).ok_or_else(too_large)?;
    if taxes.iter().any(|share| share.net < 0) {
        return Err(Refusal::invalid(
            "lines",
            "the lines of one VAT rate add up to less than zero: issue a credit note instead",
        )
        .into());
    }
    let (net, vat) = taxes.iter().fold((0, 0), |(net, vat), share| {
        (net + share.net, vat + share.vat)
    });
    if net + vat <= 0 || net + vat > 1_000_000_000_000_000 {
        return Err(Refusal::invalid(
            "lines",
            "the total must be positive, with at most 13 digits before the decimals",
        )
        .into());
    }
    Ok(Worked {
        lines: rows,
        taxes,
        net,
        vat,
        deducted,
    })
}

/// A discount is a percentage above 0 and below 100.
fn check_discount(field: &str, percent: Decimal) -> Result<()> {
    if percent <= Decimal::ZERO || percent >= Decimal::ONE_HUNDRED || percent.scale() > 3 {
        return Err(Refusal::invalid(
            field,
            "a percentage above 0 and below 100 is needed, with at most 3 decimals",
        )
        .into());
    }
    Ok(())
}

/// Issues an invoice (R9.2, R9.3): checks, number, entry D 411 / C 70 and 44571, open items.
pub fn issue(
    conn: &mut PgConnection,
    caller: &Caller,
    client: &Ref,
    input: &InvoiceInput,
) -> Result<DocumentId> {
    let books = books::open(conn, caller)?;
    let client = reference::client(conn, caller, "client", client)?;
    issue_for(conn, caller, &books, &client, input)
}

/// The same for a client that is at hand.
pub fn issue_for(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    client: &Client,
    input: &InvoiceInput,
) -> Result<DocumentId> {
    let issue = prepare(conn, caller, books, client, input)?;
    let series = series(books, &issue);
    let given = input.number.as_deref();
    let posted_on = issue.entry.posted_on;
    books.write_numbered(conn, given, &series, posted_on, |conn, numbers| {
        document::insert_numbered(conn, numbers, &issue)
    })?;
    Ok(issue.document.document.id)
}

/// Makes an invoice ready to be written together with others: reads only. None where it has to be issued by itself: under
/// a number of its own, or to be refused for its reference.
pub fn ready(
    conn: &mut PgConnection,
    caller: &Caller,
    client: &Ref,
    input: &InvoiceInput,
) -> Result<Option<(DocumentId, Drawers, Record)>> {
    if input.number.is_some() {
        return Ok(None);
    }
    let books = books::open(conn, caller)?;
    let client = reference::client(conn, caller, "client", client)?;
    let issue = prepare(conn, caller, &books, &client, input)?;
    let Document {
        id, external_ref, ..
    } = &issue.document.document;
    if let Some(reference) = external_ref
        && document::by_external_ref(conn, caller.company, document::INVOICE, reference)?.is_some()
    {
        return Ok(None);
    }
    let series = books.drawers(&series(&books, &issue), issue.entry.posted_on);
    Ok(Some((*id, series, Record::Invoice(Box::new(issue)))))
}

fn series<'a>(books: &'a Books, issue: &Issue) -> Draw<'a> {
    Draw {
        prefix: &books.settings.series.invoices,
        on: issue.document.document.issued_on,
        dated: true,
        field: "issuedOn",
        of: Numbered::Documents,
        taken: "an invoice with this number or reference exists already",
    }
}

/// Checks an invoice and works out all that it makes.
fn prepare(
    conn: &mut PgConnection,
    caller: &Caller,
    books: &Books,
    client: &Client,
    input: &InvoiceInput,
) -> Result<Issue> {
    super::client::refuse_closed(client, "client")?;
    let id = DocumentId::new();
    let issued_on = input.issued_on.unwrap_or(caller.today);
    books.accounting_day("issuedOn", issued_on, input.late_entry)?;
    if let Some((percent, days)) = input.discount {
        check_discount("earlyPaymentDiscount.percent", percent)?;
        if days > 365 {
            return Err(
                Refusal::invalid("earlyPaymentDiscount.days", "days go from 0 to 365").into(),
            );
        }
    }
    let currency = currency_of(client, input)?;
    let rate = books.rate(currency, input.exchange_rate)?;
    check_line_accounts(books, input, issued_on)?;
    let worked = work_out(
        caller,
        id,
        &input.lines,
        currency,
        &books.settings.accounts.revenue,
        input.deducted_discount_percent,
    )?;
    let installments = installments(conn, client, input, issued_on, currency, worked.total())?;
    let mentions = mentions(books, client, input)?;
    let due_on = installments.iter().map(|(due, _)| *due).max();
    let document = Document {
        company_id: caller.company,
        id,
        kind: document::INVOICE.into(),
        number: String::new(),
        external_ref: books::optional_text("externalRef", input.external_ref.as_deref(), 100)?,
        external_series: input.number.is_some(),
        client_id: client.id,
        issued_on,
        due_on,
        currency: currency.code().to_owned(),
        net: worked.net,
        vat: worked.vat,
        total: worked.total(),
        exchange_rate: rate,
        invoice_id: None,
        period_from: None,
        period_to: None,
        purchase_order: books::optional_text(
            "purchaseOrder",
            input.purchase_order.as_deref(),
            100,
        )?,
        recorded_by: caller.author.clone(),
        vat_due: input
            .vat_due
            .unwrap_or(books.settings.vat_due)
            .code()
            .to_owned(),
        discount_percent: input.discount.map(|(percent, _)| percent),
        discount_days: input
            .discount
            .and_then(|(_, days)| i16::try_from(days).ok()),
        deducted_discount: worked.deducted,
        reason: None,
    };
    let vat_due = input.vat_due.unwrap_or(books.settings.vat_due);
    let posting = entry(
        books,
        client.id,
        id,
        issued_on,
        currency,
        rate,
        &worked,
        &installments,
        vat_due,
    );
    let (entry, entry_lines, opened) = books::draft_one(caller, books, posting)?;
    let (items, changes) = books::openings(opened);
    let taxes = worked.tax_rows(caller, id);
    Ok(Issue {
        document: NewDocument {
            document,
            snapshot: snapshot(books, client, &mentions),
        },
        lines: worked.lines,
        taxes,
        entry,
        entry_lines,
        items,
        changes,
    })
}

/// The currency of an invoice: the one given, else the client's.
fn currency_of(client: &Client, input: &InvoiceInput) -> Result<Currency> {
    match &input.currency {
        Some(code) => books::currency_input("currency", code),
        None => books::currency(&client.currency),
    }
}

/// Section 2.1: D 411 per instalment, C 70x per account, C 44571. The invoice's number comes when it is written.
#[expect(
    clippy::too_many_arguments,
    reason = "the facts of an invoice that its entry shows"
)]
fn entry(
    books: &Books,
    client: ClientId,
    id: DocumentId,
    issued_on: NaiveDate,
    currency: Currency,
    rate: Decimal,
    worked: &Worked,
    installments: &[(NaiveDate, Minor)],
    vat_due: VatDue,
) -> Posting {
    let accounts = &books.settings.accounts;
    let open = |(due_on, amount): &(NaiveDate, Minor)| {
        NewLine::debit(&accounts.receivable, *amount).open(
            client,
            NewItem {
                kind: "INVOICE",
                source_id: id.0,
                reference: String::new(),
                invoice_id: Some(id),
                invoiced_on: issued_on,
                due_on: Some(*due_on),
                document_net: worked.net,
                document_total: worked.total(),
            },
        )
    };
    let mut lines: Vec<NewLine> = installments.iter().map(open).collect();
    lines.extend(
        by_account(worked)
            .into_iter()
            .map(|(account, net)| NewLine::signed(&account, -net)),
    );
    if worked.deducted > 0 {
        // Never netted in class 70 (R2.17).
        lines.push(NewLine::debit(&accounts.granted_discount, worked.deducted));
    }
    if worked.vat > 0 {
        let account = match vat_due {
            VatDue::Debits => &accounts.vat,
            VatDue::Receipts => &accounts.pending_vat,
        };
        lines.push(NewLine::credit(account, worked.vat));
    }
    Posting {
        journal: "VE".into(),
        posted_on: books.first_open_day(issued_on),
        occurred_on: issued_on,
        reference: String::new(),
        label: "Facture ".into(),
        source_kind: "INVOICE",
        source_id: id.0,
        reversal_of: None,
        currency,
        rate,
        lines,
    }
}

/// Net per account; accounts that cancel out are left out.
pub fn by_account(worked: &Worked) -> Vec<(String, Minor)> {
    let mut sums = std::collections::BTreeMap::<String, Minor>::new();
    for line in &worked.lines {
        *sums.entry(line.account.clone()).or_default() += line.net;
    }
    sums.into_iter().filter(|(_, net)| *net != 0).collect()
}

/// Due days and amounts: as given, or the client's terms (R6.2). Ceilings hold between professionals.
fn installments(
    conn: &mut PgConnection,
    client: &Client,
    input: &InvoiceInput,
    issued_on: NaiveDate,
    currency: Currency,
    total: Minor,
) -> Result<Vec<(NaiveDate, Minor)>> {
    let terms = terms_of(client)?;
    let law = law::terms(conn)?
        .on(issued_on)
        .map_err(|error| law::not_covered("issuedOn", &error))?;
    let mut dues = Vec::new();
    if input.installments.is_empty() {
        dues.push((
            input
                .due_on
                .unwrap_or_else(|| terms.due_on(issued_on, input.received_on, &law)),
            total,
            "dueOn".to_owned(),
        ));
    } else {
        if input.due_on.is_some() {
            return Err(
                Refusal::invalid("dueOn", "give a due date or instalments, not both").into(),
            );
        }
        if input.installments.len() > 60 {
            return Err(Refusal::invalid("installments", "at most 60 instalments").into());
        }
        for (position, part) in input.installments.iter().enumerate() {
            let amount = books::amount(
                &format!("installments.{position}.amount"),
                part.amount,
                currency,
            )?;
            if dues.iter().any(|(due, _, _)| *due == part.due_on) {
                return Err(Refusal::invalid(
                    &format!("installments.{position}.dueOn"),
                    "two instalments are due on this day",
                )
                .into());
            }
            dues.push((
                part.due_on,
                amount,
                format!("installments.{position}.dueOn"),
            ));
        }
        let sum: Minor = dues.iter().map(|(_, amount, _)| amount).sum();
        if sum != total {
            return Err(Refusal::invalid(
                "installments",
                format!(
                    "the instalments add up to {}, the invoice to {}",
                    currency.show(sum),
                    currency.show(total)
                ),
            )
            .detail("total", currency.decimal(total).to_string())
            .into());
        }
    }
    for (due_on, _, field) in &dues {
        if *due_on < issued_on {
            return Err(
                Refusal::invalid(field, "the due date is before the invoice's date").into(),
            );
        }
        let issue = buyer(client).map(|buyer| terms::Issue {
            issued_on,
            received_on: input.received_on,
            rule: terms.rule,
            periodic: input.periodic,
            buyer,
        });
        if let Some(Err(unlawful)) = issue.map(|issue| issue.check_due(*due_on, &law)) {
            return Err(Refusal::new(
                RefusalCode::TermsUnlawful,
                field,
                format!("the law allows {} at the latest for an invoice of {issued_on} to this client (C. com. L441-10, or commande publique)", unlawful.latest),
            )
            .detail("latest", unlawful.latest.to_string())
            .into());
        }
    }
    dues.sort_unstable_by_key(|(due_on, _, _)| *due_on);
    Ok(dues
        .into_iter()
        .map(|(due_on, amount, _)| (due_on, amount))
        .collect())
}

/// Whether payment terms between professionals bind (L441-10 does not apply to consumers, R6.12).
pub fn is_professional(client: &Client) -> bool {
    client.kind == "CUSTOMER" && client.segment != "CONSUMER"
}

/// As whom a client buys, where the law bounds payment terms; none for consumers and other debtors.
pub fn buyer(client: &Client) -> Option<Buyer> {
    is_professional(client).then_some(if client.segment == "PUBLIC" {
        Buyer::Public
    } else {
        Buyer::Professional
    })
}

/// The payment terms of a client's record.
pub fn terms_of(client: &Client) -> Result<PaymentTerms> {
    let rule: TermsRule = client
        .terms_rule
        .parse()
        .map_err(|_| Error::Internal(format!("stored terms {}", client.terms_rule)))?;
    Ok(PaymentTerms {
        rule,
        days: u16::try_from(client.terms_days).unwrap_or_default(),
        then_day: client.terms_then_day.and_then(|day| u8::try_from(day).ok()),
    })
}

/// The accounts of the lines are in the year's chart (R1.2); the posting checks them all again.
fn check_line_accounts(books: &Books, input: &InvoiceInput, issued_on: NaiveDate) -> Result<()> {
    let year_opens_on = books.year(issued_on).starts_on;
    for (position, line) in input.lines.iter().enumerate() {
        let Some(account) = &line.account else {
            continue;
        };
        if let Err(error) = chart::account_of(account, year_opens_on) {
            let field = format!("lines.{position}.account");
            return Err(books::not_in_chart_at(&field, error));
        }
    }
    Ok(())
}

/// The mandatory mentions (R6.14): a missing one is refused between professionals.
fn mentions(books: &Books, client: &Client, input: &InvoiceInput) -> Result<serde_json::Value> {
    let settings = &books.settings;
    if is_professional(client) {
        for (what, mention) in [
            ("penalty rate", &settings.penalty_mention),
            ("40 € indemnity", &settings.indemnity_mention),
            ("discount conditions", &settings.discount_mention),
        ] {
            if mention.trim().is_empty() {
                return Err(Refusal::new(
                    RefusalCode::MentionMissing,
                    "",
                    format!("the company's settings hold no wording for the {what}: an invoice must state it (C. com. L441-9, L441-10)"),
                )
                .into());
            }
        }
    }
    if !is_professional(client) {
        // Penalties and the 40 € are between professionals (R6.12): a consumer's invoice does not claim them.
        return Ok(json!({}));
    }
    let discount = match input.discount {
        Some((percent, days)) => format!(
            "Escompte pour paiement anticipé : {} % sous {days} jours",
            percent.normalize().to_string().replace('.', ",")
        ),
        None => settings.discount_mention.clone(),
    };
    Ok(
        json!({ "penalty": settings.penalty_mention, "indemnity": settings.indemnity_mention, "discount": discount }),
    )
}

/// Parties and mentions as issued: later changes of the client do not touch the document (R9.3).
pub fn snapshot(books: &Books, client: &Client, mentions: &serde_json::Value) -> serde_json::Value {
    let seller = &books.company;
    json!({
        "seller": { "name": seller.name, "siren": seller.siren, "vatNumber": seller.vat_number, "address": seller.address },
        "buyer": { "number": client.number, "name": client.name, "siren": client.siren, "siret": client.siret,
                   "vatNumber": client.vat_number, "address": client.address },
        "mentions": mentions,
    })
}

/// Writes a draft, new or changed. It is checked as an invoice would be, without number or day.
pub fn save_draft(
    conn: &mut PgConnection,
    caller: &Caller,
    draft: Option<DraftId>,
    client: &Ref,
    input: &InvoiceInput,
) -> Result<DraftId> {
    let books = books::open(conn, caller)?;
    let client = reference::client(conn, caller, "client", client)?;
    work_out(
        caller,
        DocumentId::new(),
        &input.lines,
        currency_of(&client, input)?,
        &books.settings.accounts.revenue,
        input.deducted_discount_percent,
    )?;
    books::optional_text("number", input.number.as_deref(), 60)?;
    books::optional_text("externalRef", input.external_ref.as_deref(), 100)?;
    books::optional_text("purchaseOrder", input.purchase_order.as_deref(), 100)?;
    let content =
        serde_json::to_value(input).map_err(|error| Error::Internal(error.to_string()))?;
    let saved = Draft {
        company_id: caller.company,
        id: draft.unwrap_or_else(DraftId::new),
        client_id: client.id,
        content,
        updated_at: Utc::now(),
        updated_by: caller.author.clone(),
    };
    match draft {
        None => document::insert_draft(conn, &saved)?,
        Some(_) if document::update_draft(conn, &saved)? => {}
        Some(_) => return Err(Refusal::not_found("draft", "draft").into()),
    }
    Ok(saved.id)
}

/// Throws a draft away.
pub fn delete_draft(conn: &mut PgConnection, caller: &Caller, draft: DraftId) -> Result<()> {
    if document::delete_draft(conn, caller.company, draft)? {
        Ok(())
    } else {
        Err(Refusal::not_found("draft", "draft").into())
    }
}

/// What a draft holds.
pub fn draft_input(draft: &Draft) -> Result<InvoiceInput> {
    serde_json::from_value(draft.content.clone())
        .map_err(|error| Error::Internal(format!("stored draft: {error}")))
}

/// Issues a draft and takes it away, in one transaction.
pub fn issue_draft(
    conn: &mut PgConnection,
    caller: &Caller,
    draft: DraftId,
    issued_on: Option<NaiveDate>,
    late_entry: bool,
) -> Result<DocumentId> {
    let books = books::open(conn, caller)?;
    let draft = store::document::draft_for_update(conn, caller.company, draft)?
        .ok_or_else(|| Refusal::not_found("draft", "draft"))?;
    let client = store::client::by_id(conn, caller.company, draft.client_id)?
        .ok_or_else(|| Refusal::not_found("client", "client"))?;
    let mut input = draft_input(&draft)?;
    input.issued_on = issued_on.or(input.issued_on);
    input.late_entry |= late_entry;
    let id = issue_for(conn, caller, &books, &client, &input)?;
    // Two who issue the same draft at once: the second finds it gone.
    delete_draft(conn, caller, draft.id)?;
    Ok(id)
}
