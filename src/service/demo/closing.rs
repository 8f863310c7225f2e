//! The last days of the story, on whatever day it is told: cheques at the bank, a doubtful client, the
//! provision of the last month, reminders and a promise, and a bank statement with something to decide.

use chrono::{Datelike, Duration, NaiveDate};
use diesel::pg::PgConnection;
use rust_decimal::Decimal;

use super::{named, names};
use crate::domain::access::Caller;
use crate::domain::ids::{ClientId, Id, ProvisionRunId};
use crate::domain::money::Minor;
use crate::error::{Error, Result};
use crate::service::bank::{self, AccountInput, Options};
use crate::service::company::{self, Change};
use crate::service::doubtful::{self, FileInput, VatRecovery};
use crate::service::dunning::{self, ActionInput, PromiseInput};
use crate::service::reference::Ref;
use crate::service::remittance::{self, CHEQUES, SlipInput};
use crate::service::{books, provision_run};
use crate::store::aging::{Open, OpenItems, Population};
use crate::store::list::Keyset;
use crate::store::{self, Db};

/// The company's own account, of a bank that does not exist.
const IBAN: &str = "FR7699999000010000000004286";
/// Days before today that the statement reaches back.
const DAYS: i64 = 6;

/// A chapter: who writes it, and what it does.
type Chapter = fn(&mut PgConnection, &Caller) -> Result<()>;

/// Writes the chapters, each in a transaction of the member whose work it is. What the rules refuse on this
/// very day (nothing to hand in, a month without provisions) is left out of the story.
pub fn write(db: &Db, callers: &[Caller]) -> Result<()> {
    let chapters: [(usize, Chapter); 9] = [
        (names::ADMIN, introduce),
        (names::ADMIN, open_account),
        (names::ACCOUNTANT, hand_in_cheques),
        (names::CREDIT, propose_doubtful),
        (names::ADMIN, decide_doubtful),
        (names::CREDIT, propose_loss),
        (names::ADMIN, provide),
        (names::CREDIT, remind),
        (names::ACCOUNTANT, import_statement),
    ];
    for (who, chapter) in chapters {
        match db.write_now(&callers[who], chapter) {
            Ok(()) => {}
            Err(Error::Refused(reasons)) => {
                let why: Vec<&str> = reasons.iter().map(|why| why.message.as_str()).collect();
                tracing::info!(why = why.join("; "), "the demo leaves a chapter out");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What letters say of the company.
fn introduce(conn: &mut PgConnection, caller: &Caller) -> Result<()> {
    let change = Change {
        address: Some("12 rue des Verriers\n69002 Lyon".into()),
        settings: Some(serde_json::json!({ "letterhead": {
            "legal_form": "SAS au capital de 120 000 €",
            "registration": "Société de démonstration, non immatriculée",
            "city": "Lyon",
            "phone": "+33 4 00 00 00 00",
            "email": "comptabilite@atelier-lumiere.example",
            "signatory": "Claire Dupré",
            "signatory_title": "Responsable du recouvrement",
        } })),
        ..Change::default()
    };
    company::update(conn, caller, change)
}

fn open_account(conn: &mut PgConnection, caller: &Caller) -> Result<()> {
    let input = AccountInput {
        id: None,
        label: "Compte courant".into(),
        iban: Some(IBAN.into()),
        bic: None,
        account: None,
        currency: None,
    };
    bank::save_account(conn, caller, &input).map(drop)
}

/// The cheques of the last days, on one slip that the bank has not credited yet.
fn hand_in_cheques(conn: &mut PgConnection, caller: &Caller) -> Result<()> {
    let since = caller.today - Duration::days(20);
    let cheques = store::remittance::waiting_cheques(conn, caller.company, since)?;
    let input = SlipInput {
        kind: CHEQUES,
        payments: cheques.iter().map(|id| Ref::Id(id.show())).collect(),
        bank_account: None,
        remitted_on: Some(caller.today),
    };
    remittance::hand_in(conn, caller, &input).map(drop)
}

/// The client in liquidation: everything it owes moves to 416.
fn propose_doubtful(conn: &mut PgConnection, caller: &Caller) -> Result<()> {
    let input = FileInput {
        is_loss: false,
        client: Some(named(names::LIQUIDATED)),
        invoice: None,
        amount: None,
        vat_recovery: VatRecovery::None,
        reason: "Liquidation judiciaire ouverte".into(),
        evidence: vec!["Annonce BODACC".into(), "Déclaration de créance".into()],
        on: Some(caller.today),
    };
    doubtful::propose(conn, caller, &input).map(drop)
}

fn decide_doubtful(conn: &mut PgConnection, caller: &Caller) -> Result<()> {
    for file in store::doubtful::proposed(conn, caller.company)? {
        doubtful::decide(conn, caller, &Ref::Id(file.show()), true, Some("Accord"))?;
    }
    Ok(())
}

/// The loss that follows is proposed as well, and waits for the director: something stands in the queue of approvals.
fn propose_loss(conn: &mut PgConnection, caller: &Caller) -> Result<()> {
    let input = FileInput {
        is_loss: true,
        client: Some(named(names::LIQUIDATED)),
        invoice: None,
        amount: None,
        vat_recovery: VatRecovery::LiquidationJudgment,
        reason: "Certificat d'irrécouvrabilité du liquidateur".into(),
        evidence: vec!["Certificat d'irrécouvrabilité".into()],
        on: Some(caller.today),
    };
    doubtful::propose(conn, caller, &input).map(drop)
}

/// The provision at the end of last month, proposed, approved and posted.
fn provide(conn: &mut PgConnection, caller: &Caller) -> Result<()> {
    let first = caller.today.with_day(1).unwrap_or(caller.today);
    let run: ProvisionRunId =
        provision_run::propose(conn, caller, first - Duration::days(1), None)?;
    let target = Ref::Id(run.show());
    provision_run::decide(conn, caller, &target, true, Some("Arrêté mensuel"))?;
    provision_run::post(conn, caller, &target).map(drop)
}

/// First reminders ten days ago, and a promise that one of these clients gave since.
fn remind(conn: &mut PgConnection, caller: &Caller) -> Result<()> {
    let on = caller.today - Duration::days(10);
    let page = Keyset {
        size: 12,
        from: None,
        backward: false,
    };
    let population = Population {
        families: vec!["411".into()],
        ..Population::of(caller.company, on)
    };
    let (ids, _) = store::dunning::late_clients(conn, &population, on, &page)?;
    let ids: Vec<ClientId> = ids.into_iter().map(ClientId).collect();
    let clients = store::client::by_ids(conn, caller.company, &ids)?;
    // One reminder a client: a second one, in another currency, would come too soon.
    let mut due = dunning::preview(conn, caller, on, &clients)?;
    due.retain(|reminder| {
        reminder.level.is_some() && reminder.currency == reminder.client.currency
    });
    for reminder in &due {
        let input = ActionInput {
            client: Ref::Id(reminder.client.id.show()),
            currency: Some(reminder.currency.clone()),
            level: None,
            channel: None,
            done_on: Some(on),
            recipient: Some("Service comptabilité fournisseurs".into()),
            proof: None,
            note: None,
        };
        dunning::record(conn, caller, &input)?;
    }
    let Some(reminder) = due.first() else {
        return Ok(());
    };
    let promise = PromiseInput {
        client: Ref::Id(reminder.client.id.show()),
        amount: books::currency(&reminder.currency)?.decimal(reminder.claimed().min(20_000)),
        currency: Some(reminder.currency.clone()),
        due_on: caller.today + Duration::days(7),
        items: Vec::new(),
        note: Some("Virement annoncé par téléphone".into()),
    };
    dunning::promise(conn, caller, &promise).map(drop)
}

/// A statement with a movement of each sort: matched, in part, unknown, a charge.
fn import_statement(conn: &mut PgConnection, caller: &Caller) -> Result<()> {
    let books = books::open(conn, caller)?;
    let population = Population {
        currency: Some(books.currency.code().to_owned()),
        families: vec!["411".into()],
        ..Population::of(caller.company, caller.today)
    };
    let question = OpenItems {
        population,
        cell: None,
        is_debit: Some(true),
        invoice: None,
    };
    let page = Keyset {
        size: 60,
        from: None,
        backward: true,
    };
    let (items, _) = question.page(conn, &page)?;
    let whole: Vec<&Open> = items
        .iter()
        .filter(|item| item.kind == "INVOICE" && item.disputed == 0 && item.open == item.amount)
        .filter(|item| item.posted_on < caller.today - Duration::days(DAYS))
        .take(4)
        .collect();
    let mut movements = Vec::new();
    for (place, item) in whole.iter().enumerate() {
        let client = store::client::by_ids(conn, caller.company, &[ClientId(item.client_id)])?;
        let name = client.first().map_or("", |client| client.name.as_str());
        let (amount, text) = match place {
            0 => (item.open, format!("REGLEMENT {}", item.reference)),
            1 => (item.open - 37, item.reference.clone()),
            2 => (item.open / 2, format!("ACOMPTE SUR {}", item.reference)),
            _ => (item.open, "VOTRE FACTURE".to_owned()),
        };
        movements.push((amount, name.to_owned(), text));
    }
    movements.push((84_000, "SCI DES TILLEULS".into(), "LOYER".into()));
    movements.push((-1_850, String::new(), "FRAIS DE TENUE DE COMPTE".into()));
    let file = camt(&movements, caller.today);
    let options = Options {
        file_name: "releve-demo.xml".into(),
        ..Options::default()
    };
    bank::import_bytes(conn, caller, file.as_bytes(), &options).map(drop)
}

/// A camt.053 of movements on consecutive days up to yesterday, in cents of the euro.
fn camt(movements: &[(Minor, String, String)], today: NaiveDate) -> String {
    let shown = |cents: Minor| Decimal::new(cents.abs(), 2).to_string();
    let sign = |cents: Minor| if cents < 0 { "DBIT" } else { "CRDT" };
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
    let opening: Minor = 1_250_000;
    let closing: Minor = opening + movements.iter().map(|(amount, _, _)| amount).sum::<Minor>();
    let balance = |kind: &str, cents: Minor| {
        format!(
            "<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp><Amt Ccy=\"EUR\">{}</Amt><CdtDbtInd>{}</CdtDbtInd></Bal>",
            shown(cents),
            sign(cents)
        )
    };
    let mut entries = String::new();
    for (place, (cents, name, text)) in movements.iter().enumerate() {
        let back = DAYS - i64::try_from(place).unwrap_or(DAYS).min(DAYS - 1);
        let on = today - Duration::days(back);
        let payer = if name.is_empty() {
            String::new()
        } else {
            format!(
                "<RltdPties><Dbtr><Pty><Nm>{}</Nm></Pty></Dbtr></RltdPties>",
                escaped(name)
            )
        };
        entries.push_str(&format!(
            "<Ntry><Amt Ccy=\"EUR\">{}</Amt><CdtDbtInd>{}</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>{on}</Dt></BookgDt>\
             <AcctSvcrRef>DEMO-{place}</AcctSvcrRef><NtryDtls><TxDtls>{payer}<RmtInf><Ustrd>{}</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>",
            shown(*cents),
            sign(*cents),
            escaped(text)
        ));
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\"><BkToCstmrStmt>\
         <GrpHdr><MsgId>DEMO</MsgId></GrpHdr><Stmt><Id>RELEVE-{}</Id><Acct><Id><IBAN>{IBAN}</IBAN></Id><Ccy>EUR</Ccy></Acct>{}{}{entries}</Stmt>\
         </BkToCstmrStmt></Document>",
        today.format("%Y-%j"),
        balance("OPBD", opening),
        balance("CLBD", closing)
    )
}
