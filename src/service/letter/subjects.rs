//! What each kind of letter says of its record: values and tables.

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use rust_decimal::Decimal;

use super::{
    Composed, Content, InForce, Writer, account_reference, client_party, client_values, column,
    language_of,
};
use crate::domain::access::Caller;
use crate::domain::dunning::Scenario;
use crate::domain::ids::{
    ClientId, DeductionId, DisputeId, DocumentId, Id, ItemId, PlanId, PromiseId,
    RectifiedInvoiceId, RemittanceId,
};
use crate::domain::letter::{Kind, Language, Template, Values};
use crate::domain::money::{Currency, Minor};
use crate::domain::print;
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::{Error, Result};
use crate::formats::pdf::{Party, Table};
use crate::objects::Objects;
use crate::service::books;
use crate::service::dunning::{self, Judged};
use crate::service::penalty::LateInvoice;
use crate::service::reference::{self, Ref};
use crate::store::aging::{OpenItems, Population};
use crate::store::client::Client;
use crate::store::document::Document;
use crate::store::item::Item;
use crate::store::list::Keyset;
use crate::store::{self};

fn said(language: Language, french: &'static str, english: &'static str) -> &'static str {
    match language {
        Language::French => french,
        Language::English => english,
    }
}

/// The claims of a reminder. A formal notice details each of them: HT, VAT, TTC, days, penalties (7.3).
pub(super) fn claims_table(
    listed: &[&Judged],
    invoices: &[Document],
    costs: &[&LateInvoice],
    currency: Currency,
    language: Language,
    on: NaiveDate,
    formal: bool,
) -> Table {
    let t = |french, english| said(language, french, english);
    let figures = |minor: Minor| print::amount(minor, currency, language);
    // Between professionals a formal notice counts days and interest; a consumer is told neither (R7.8).
    let charges = formal && !costs.is_empty();
    let mut columns = vec![
        column(t("Pièce", "Document"), false),
        column(t("Date", "Date"), false),
        column(t("Échéance", "Due date"), false),
    ];
    columns[0].wide = !formal;
    if formal {
        columns.extend([column(t("HT", "Net"), true), column(t("TVA", "VAT"), true)]);
    }
    columns.extend([
        column(t("TTC", "Total"), true),
        column(t("Réglé", "Paid"), true),
        column(t("Dû", "Due"), true),
    ]);
    if charges {
        columns.extend([
            column(t("Jours", "Days"), true),
            column(t("Pénalités", "Interest"), true),
        ]);
    }
    let (mut rows, mut total, mut interest) = (Vec::new(), 0, 0);
    let mut seen = std::collections::HashSet::new();
    for item in listed {
        let open = &item.open;
        let invoice = invoices
            .iter()
            .find(|invoice| Some(invoice.id.0) == open.invoice_id);
        let cost = costs
            .iter()
            .find(|cost| Some(cost.invoice.id.0) == open.invoice_id);
        let due = open.due_on.unwrap_or(open.posted_on);
        let mut row = vec![
            open.reference.clone(),
            print::day(
                invoice.map_or(open.posted_on, |invoice| invoice.issued_on),
                language,
            ),
            print::day(due, language),
        ];
        if formal {
            // An instalment is a part of its invoice: the invoice's own HT and VAT stand beside the whole only.
            let whole = invoice.filter(|invoice| invoice.total == open.amount.abs());
            let (net, vat) = whole.map_or((None, None), |it| (Some(it.net), Some(it.vat)));
            row.extend([net, vat].map(|part| part.map(figures).unwrap_or_default()));
        }
        row.extend([
            figures(open.amount.abs()),
            figures(open.amount.abs() - open.open),
            figures(item.verdict.claimed),
        ]);
        if charges {
            // Interest is computed for the invoice, and stands once, beside its first instalment.
            let first = seen.insert(open.invoice_id);
            let charged = cost.filter(|_| first).map(|cost| cost.claimable_interest());
            interest += charged.unwrap_or_default();
            row.extend([
                (on - due).num_days().max(0).to_string(),
                charged.map(figures).unwrap_or_default(),
            ]);
        }
        total += item.verdict.claimed;
        rows.push(row);
    }
    let mut last = vec![String::new(); columns.len()];
    last[0] = t("Total", "Total").to_owned();
    let at = if formal { 7 } else { 5 };
    last[at] = figures(total);
    if charges {
        last[9] = figures(interest);
    }
    Table {
        columns,
        rows,
        total: last,
    }
}

/// Items as a promise or a plan names them.
fn items_table(items: &[Item], currency: Currency, language: Language) -> Table {
    let t = |french, english| said(language, french, english);
    let mut columns = vec![
        column(t("Pièce", "Document"), false),
        column(t("Échéance", "Due"), false),
        column(t("Reste dû", "Open"), true),
    ];
    columns[0].wide = true;
    let due = |item: &Item| {
        item.due_on
            .map(|due| print::day(due, language))
            .unwrap_or_default()
    };
    Table {
        columns,
        rows: items
            .iter()
            .map(|item| {
                vec![
                    item.reference.clone(),
                    due(item),
                    print::amount(item.open_amount, currency, language),
                ]
            })
            .collect(),
        total: Vec::new(),
    }
}

/// A letter about the record that an id names: a preview, or a notice to keep. `draft` is tried instead of the
/// template in force.
#[expect(
    clippy::too_many_arguments,
    reason = "what is asked, in the order of the API"
)]
pub fn of_subject(
    conn: &mut PgConnection,
    caller: &Caller,
    objects: &Objects,
    kind: Kind,
    id: &str,
    language: Option<Language>,
    draft: Option<Template>,
    on: NaiveDate,
) -> Result<Composed> {
    let writer = Writer::new(conn, caller, objects, on)?;
    let used = |conn: &mut PgConnection, usual: Language| -> Result<InForce> {
        let language = language.unwrap_or(usual);
        match &draft {
            Some(draft) => {
                super::check(kind, language, draft)?;
                Ok(InForce {
                    kind,
                    language,
                    version: 0,
                    template: draft.clone(),
                })
            }
            None => super::template(conn, caller, kind, language),
        }
    };
    match kind {
        kind if kind.is_reminder() => {
            let client = reference::client(conn, caller, "subject", &named(id))?;
            if client.insolvency != "NONE" {
                return Err(Refusal::new(
                    RefusalCode::NotChaseable,
                    "subject",
                    "insolvency proceedings stop every reminder: declare the claim (R7.10)",
                )
                .detail("reason", "INSOLVENT")
                .into());
            }
            let used = used(conn, language_of(&client))?;
            reminder(conn, &writer, &used, &client)
        }
        Kind::Statement => {
            let client = reference::client(conn, caller, "subject", &named(id))?;
            let used = used(conn, language_of(&client))?;
            statement(conn, &writer, &used, &client)
        }
        Kind::DisputeNotice => {
            let used = used(conn, Language::French)?;
            dispute(conn, &writer, &used, id)
        }
        Kind::DeductionNotice => {
            let found = reference::deduction(conn, caller, "subject", &named(id))?;
            let client = client_of(conn, caller, found.client_id)?;
            let used = used(conn, language_of(&client))?;
            deduction(conn, &writer, &used, found.id, &client)
        }
        Kind::PromiseConfirmation => {
            let found = PromiseId::read(id).ok_or_else(|| missing("promise"))?;
            let found = store::dunning::promises_by_ids(conn, caller.company, &[found])?.pop();
            let found = found.ok_or_else(|| missing("promise"))?;
            let client = client_of(conn, caller, found.client_id)?;
            let used = used(conn, language_of(&client))?;
            promise(conn, &writer, &used, &found, &client)
        }
        Kind::PlanConfirmation => {
            let found = PlanId::read(id).ok_or_else(|| missing("plan"))?;
            let found = store::collection::plans_by_ids(conn, caller.company, &[found])?.pop();
            let found = found.ok_or_else(|| missing("plan"))?;
            let client = client_of(conn, caller, found.client_id)?;
            let used = used(conn, language_of(&client))?;
            plan(conn, &writer, &used, &found, &client)
        }
        Kind::RemittanceSlip => {
            let used = used(conn, Language::French)?;
            slip(conn, &writer, &used, id)
        }
        _ => {
            let used = used(conn, Language::French)?;
            rectified(conn, &writer, &used, id)
        }
    }
}

fn missing(what: &str) -> Error {
    Refusal::not_found("subject", what).into()
}

fn named(id: &str) -> Ref {
    Ref::Id(id.to_owned())
}

fn client_of(conn: &mut PgConnection, caller: &Caller, id: ClientId) -> Result<Client> {
    store::client::by_id(conn, caller.company, id)?.ok_or_else(|| missing("client"))
}

/// What the client would be sent today if the letter were of this kind: a preview of wording and figures.
fn reminder(
    conn: &mut PgConnection,
    writer: &Writer<'_>,
    used: &InForce,
    client: &Client,
) -> Result<Composed> {
    let found = dunning::preview(conn, writer.caller, writer.on, std::slice::from_ref(client))?;
    let mut found = found
        .into_iter()
        .max_by_key(|reminder| {
            reminder
                .items
                .iter()
                .map(|item| item.open.open)
                .sum::<Minor>()
        })
        .ok_or_else(|| missing("open item of this client"))?;
    let level = found
        .chosen
        .scenario
        .levels
        .iter()
        .find(|level| Kind::of_tone(level.tone) == Some(used.kind))
        .cloned();
    let level = level
        .filter(|_| used.kind != Kind::Courtesy)
        .unwrap_or_else(Scenario::courtesy_level);
    for item in &mut found.items {
        let left = item.open.open - item.facts.blocked.min(item.open.open);
        let due = item.open.due_on.unwrap_or(item.open.posted_on);
        let late = due < writer.on;
        item.verdict.courtesy = !late;
        item.verdict.claimed = if late == (level.level > 0) { left } else { 0 };
        item.verdict.level = item.verdict.level.max(u8::from(late));
    }
    found.level = Some(level);
    writer.reminder(conn, used, &found)
}

/// A client's account: what is open, and the balance.
pub fn statement(
    conn: &mut PgConnection,
    writer: &Writer<'_>,
    used: &InForce,
    client: &Client,
) -> Result<Composed> {
    let language = used.language;
    let t = |french, english| said(language, french, english);
    let population = Population {
        client_ids: vec![client.id],
        families: vec!["411".into(), "416".into()],
        ..Population::of(writer.caller.company, writer.on)
    };
    let question = OpenItems {
        population,
        cell: None,
        is_debit: None,
        invoice: None,
    };
    let (items, _) = question.page(conn, &Keyset::all())?;
    let currency = books::currency(&client.currency)?;
    let (mut rows, mut total, mut overdue) = (Vec::new(), 0, 0);
    for item in items.iter().filter(|item| item.currency == client.currency) {
        total += item.open;
        if item.is_debit && item.due_on.is_some_and(|due| due < writer.on) {
            overdue += item.open;
        }
        rows.push(vec![
            item.reference.clone(),
            print::day(item.posted_on, language),
            item.due_on
                .map(|due| print::day(due, language))
                .unwrap_or_default(),
            print::amount(item.amount, currency, language),
            print::amount(item.open, currency, language),
        ]);
    }
    let mut columns = vec![
        column(t("Pièce", "Document"), false),
        column(t("Date", "Date"), false),
        column(t("Échéance", "Due"), false),
        column(t("Montant", "Amount"), true),
        column(t("Solde", "Open"), true),
    ];
    columns[0].wide = true;
    let mut last = vec![String::new(); 5];
    last[0] = t("Solde du compte", "Balance").to_owned();
    last[4] = print::amount(total, currency, language);
    let mut values = Values::new();
    client_values(&mut values, client);
    values.insert("total", print::amount(total, currency, language));
    if overdue > 0 {
        values.insert("overdue", print::amount(overdue, currency, language));
    }
    let content = Content {
        recipient: client_party(client),
        delivery: None,
        references: vec![account_reference(client, language)],
        values,
        tables: vec![(
            "statement",
            Table {
                columns,
                rows,
                total: last,
            },
        )],
    };
    writer.compose(conn, used, &client.currency, content)
}

/// What a dispute and a deduction say alike.
fn challenge(
    conn: &mut PgConnection,
    writer: &Writer<'_>,
    language: Language,
    invoice: DocumentId,
    reason: &str,
) -> Result<Values> {
    let company = writer.caller.company;
    let invoice = store::document::by_id(conn, company, invoice)?;
    let reason = store::company::reason(conn, company, reason)?;
    Ok(Values::from([
        ("invoice", invoice.map(|it| it.number).unwrap_or_default()),
        (
            "reason",
            reason
                .map(|it| said_of(language, it.label, it.label_en))
                .unwrap_or_default(),
        ),
    ]))
}

fn said_of(language: Language, french: String, english: String) -> String {
    match language {
        Language::French => french,
        Language::English => english,
    }
}

fn dispute(
    conn: &mut PgConnection,
    writer: &Writer<'_>,
    used: &InForce,
    id: &str,
) -> Result<Composed> {
    let company = writer.caller.company;
    let found = match DisputeId::read(id) {
        Some(id) => store::dispute::by_id(conn, company, id)?,
        None => None,
    };
    let found = found.ok_or_else(|| missing("dispute"))?;
    let client = client_of(conn, writer.caller, found.client_id)?;
    let language = used.language;
    let currency = books::currency(&found.currency)?;
    let owner = match found.owner_id {
        Some(owner) => store::member::member(conn, company, owner)?.map(|owner| owner.name),
        None => None,
    };
    let mut values = challenge(conn, writer, language, found.invoice_id, &found.reason)?;
    client_values(&mut values, &client);
    values.insert("dispute", found.number.clone());
    values.insert("amount", print::amount(found.amount, currency, language));
    values.insert("description", found.description.clone());
    values.insert("department", found.department.clone());
    values.insert("openedOn", print::day(found.opened_on, language));
    values.insert("respondBy", print::day(found.respond_by, language));
    values.insert("owner", owner.clone().unwrap_or_default());
    let content = Content {
        recipient: Party {
            name: owner.unwrap_or_else(|| found.department.clone()),
            lines: vec![found.department.clone()],
            logo: None,
        },
        delivery: None,
        references: vec![(
            said(language, "Client", "Client").into(),
            client.name.clone(),
        )],
        values,
        tables: Vec::new(),
    };
    writer.compose(conn, used, &found.currency, content)
}

fn deduction(
    conn: &mut PgConnection,
    writer: &Writer<'_>,
    used: &InForce,
    id: DeductionId,
    client: &Client,
) -> Result<Composed> {
    let company = writer.caller.company;
    let found = store::dispute::deductions_by_ids(conn, company, &[id])?
        .pop()
        .ok_or_else(|| missing("deduction"))?;
    let dispute = store::dispute::of_deductions(conn, company, &[id])?.pop();
    let language = used.language;
    let currency = books::currency(&found.currency)?;
    let mut values = challenge(conn, writer, language, found.invoice_id, &found.reason)?;
    client_values(&mut values, client);
    values.insert("deduction", found.number.clone());
    values.insert("amount", print::amount(found.amount, currency, language));
    values.insert("description", found.description.clone());
    values.insert("recordedOn", print::day(found.recorded_on, language));
    let by = dispute.map_or(found.recorded_on, |dispute| dispute.respond_by);
    values.insert("respondBy", print::day(by, language));
    to_client(
        conn,
        writer,
        used,
        client,
        &found.currency,
        values,
        Vec::new(),
    )
}

fn to_client(
    conn: &mut PgConnection,
    writer: &Writer<'_>,
    used: &InForce,
    client: &Client,
    currency: &str,
    values: Values,
    tables: Vec<(&'static str, Table)>,
) -> Result<Composed> {
    let content = Content {
        recipient: client_party(client),
        delivery: None,
        references: vec![account_reference(client, used.language)],
        values,
        tables,
    };
    writer.compose(conn, used, currency, content)
}

fn promise(
    conn: &mut PgConnection,
    writer: &Writer<'_>,
    used: &InForce,
    found: &store::dunning::Promise,
    client: &Client,
) -> Result<Composed> {
    let company = writer.caller.company;
    let language = used.language;
    let currency = books::currency(&found.currency)?;
    let ids = store::dunning::items_of_promise(conn, company, found.id)?;
    let items = sorted(store::item::by_ids(conn, company, &ids)?);
    let mut values = Values::new();
    client_values(&mut values, client);
    values.insert("amount", print::amount(found.amount, currency, language));
    values.insert("dueOn", print::day(found.due_on, language));
    values.insert("promisedOn", print::day(found.promised_on, language));
    let tables = vec![("items", items_table(&items, currency, language))];
    to_client(conn, writer, used, client, &found.currency, values, tables)
}

fn sorted(mut items: Vec<Item>) -> Vec<Item> {
    items.sort_by(|a, b| (a.due_on, &a.reference).cmp(&(b.due_on, &b.reference)));
    items
}

fn plan(
    conn: &mut PgConnection,
    writer: &Writer<'_>,
    used: &InForce,
    found: &store::collection::Plan,
    client: &Client,
) -> Result<Composed> {
    let company = writer.caller.company;
    let language = used.language;
    let t = |french, english| said(language, french, english);
    let currency = books::currency(&found.currency)?;
    let ids: Vec<ItemId> = store::collection::items_of_plan(conn, company, found.id)?;
    let items = sorted(store::item::by_ids(conn, company, &ids)?);
    let parts = store::collection::instalments_of(conn, company, &[found.id])?;
    let mut columns = vec![
        column("N°", false),
        column(t("Échéance", "Due"), false),
        column(t("Montant", "Amount"), true),
    ];
    columns[1].wide = true;
    let instalments = Table {
        columns,
        rows: parts
            .iter()
            .map(|part| {
                vec![
                    part.number.to_string(),
                    print::day(part.due_on, language),
                    print::amount(part.amount, currency, language),
                ]
            })
            .collect(),
        total: vec![
            "".into(),
            t("Total", "Total").into(),
            print::amount(found.amount, currency, language),
        ],
    };
    let mut values = Values::new();
    client_values(&mut values, client);
    values.insert("amount", print::amount(found.amount, currency, language));
    values.insert("count", parts.len().to_string());
    values.insert("agreedOn", print::day(found.agreed_on, language));
    values.insert("grace", found.grace_days.to_string());
    let runs = found.interest == "RUNS";
    values.insert(
        if runs {
            "interestRuns"
        } else {
            "interestWaived"
        },
        "x".into(),
    );
    let tables = vec![
        ("instalments", instalments),
        ("items", items_table(&items, currency, language)),
    ];
    to_client(conn, writer, used, client, &found.currency, values, tables)
}

fn slip(
    conn: &mut PgConnection,
    writer: &Writer<'_>,
    used: &InForce,
    id: &str,
) -> Result<Composed> {
    let company = writer.caller.company;
    let language = used.language;
    let t = |french, english| said(language, french, english);
    let found = match RemittanceId::read(id) {
        Some(id) => store::remittance::by_ids(conn, company, &[id])?.pop(),
        None => None,
    };
    let found = found.ok_or_else(|| missing("remittance"))?;
    let currency = books::currency(&found.currency)?;
    let lines = store::remittance::lines(conn, company, &[found.id])?;
    let ids: Vec<_> = lines.iter().map(|line| line.payment_id).collect();
    let payments = store::payment::by_ids(conn, company, &ids)?;
    let events = store::payment::events(conn, company, &ids)?;
    let mut rows = Vec::new();
    for (place, line) in lines.iter().enumerate() {
        let payment = payments
            .iter()
            .find(|payment| payment.id == line.payment_id);
        let payment = payment
            .ok_or_else(|| Error::Internal("a slip names a receipt that is missing".into()))?;
        let payer = match crate::service::payment::client_of(payment, &events) {
            Some(client) => store::client::by_id(conn, company, client)?.map(|client| client.name),
            None => payment.payer.clone(),
        };
        rows.push(vec![
            (place + 1).to_string(),
            payment.number.clone(),
            payer.unwrap_or_default(),
            print::day(payment.received_on, language),
            payment
                .matures_on
                .map(|on| print::day(on, language))
                .unwrap_or_default(),
            print::amount(line.amount, currency, language),
        ]);
    }
    let mut columns = vec![
        column("N°", false),
        column(t("Règlement", "Receipt"), false),
        column(t("Tireur ou tiré", "Drawer or drawee"), false),
        column(t("Reçu le", "Received"), false),
        column(t("Échéance", "Matures"), false),
        column(t("Montant", "Amount"), true),
    ];
    columns[2].wide = true;
    let mut last = vec![String::new(); 6];
    last[5] = print::amount(found.amount, currency, language);
    let values = Values::from([
        ("slip", found.number.clone()),
        ("bankAccount", found.bank_account.clone()),
        ("remittedOn", print::day(found.remitted_on, language)),
        ("count", lines.len().to_string()),
        ("total", print::amount(found.amount, currency, language)),
    ]);
    let content = Content {
        recipient: Party {
            name: t("À la banque", "To the bank").into(),
            lines: vec![found.bank_account.clone()],
            logo: None,
        },
        delivery: None,
        references: Vec::new(),
        values,
        tables: vec![(
            "receipts",
            Table {
                columns,
                rows,
                total: last,
            },
        )],
    };
    writer.compose(conn, used, &found.currency, content)
}

fn rectified(
    conn: &mut PgConnection,
    writer: &Writer<'_>,
    used: &InForce,
    id: &str,
) -> Result<Composed> {
    let language = used.language;
    let t = |french, english| said(language, french, english);
    let found = match RectifiedInvoiceId::read(id) {
        Some(id) => store::doubtful::rectified_by_ids(conn, writer.caller.company, &[id])?.pop(),
        None => None,
    };
    let found = found.ok_or_else(|| missing("rectified invoice"))?;
    let client = client_of(conn, writer.caller, found.client_id)?;
    let part = |of: &str, name: &str| {
        found.content[of][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let code = part("unpaid", "currency");
    let currency = books::currency(&code)?;
    let money = |of: &str, name: &str| -> String {
        let value: Decimal = part(of, name).parse().unwrap_or_default();
        match currency.minor(value) {
            Some(minor) => print::amount(minor, currency, language),
            None => part(of, name),
        }
    };
    let mut columns = vec![
        column("", false),
        column(t("HT", "Net"), true),
        column(t("TVA", "VAT"), true),
        column(t("TTC", "Total"), true),
    ];
    columns[0].wide = true;
    let rows = [
        ("invoice", t("Facture", "Invoice")),
        ("unpaid", t("Impayé", "Unpaid")),
    ]
    .map(|(of, what)| {
        vec![
            format!("{what} {}", part(of, "number")).trim().to_owned(),
            money(of, "net"),
            money(of, "vat"),
            money(of, "total"),
        ]
    })
    .to_vec();
    let mut values = Values::from([
        ("number", found.number.clone()),
        ("invoice", part("invoice", "number")),
        ("issuedOn", print::day(found.issued_on, language)),
        (
            "wording",
            found.content["wording"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        ),
    ]);
    client_values(&mut values, &client);
    let amounts = Table {
        columns,
        rows,
        total: Vec::new(),
    };
    to_client(
        conn,
        writer,
        used,
        &client,
        &code,
        values,
        vec![("amounts", amounts)],
    )
}
