//! The clients of a company: who looks after them, how they pay, and what makes some of them doubtful.

use chrono::{Duration, NaiveDate};
use encours::domain::access::{Caller, Role};
use encours::domain::ids::UserId;
use encours::error::Result;
use encours::service::{books, client, member};
use encours::store::client::Client;
use encours::store::{self, Db};
use rust_decimal::Decimal;

use crate::rng::Rng;

/// Clients of one transaction.
const BATCH: usize = 5_000;

/// How a client pays.
#[derive(Clone, Debug)]
pub struct Payer {
    pub number: String,
    /// Days of payment.
    pub terms: i64,
    /// Part of its invoices that it pays when they are due.
    pub punctual: f64,
    /// The day of the week on which it pays, from Monday: what falls in one week is one receipt.
    pub weekday: i64,
    /// It pays nothing from this day on.
    pub insolvent_on: Option<NaiveDate>,
}

/// Makes `count` clients and writes them.
pub fn make(
    db: &Db,
    caller: &Caller,
    name: &str,
    count: usize,
    rng: &mut Rng,
) -> Result<Vec<Payer>> {
    let owners = people(db, caller, name)?;
    let mut payers = Vec::with_capacity(count);
    for first in (0..count).step_by(BATCH) {
        let rows = db.write_now(caller, |conn, caller| {
            let books = books::open(conn, caller)?;
            let mut rng = rng.clone();
            let rows: Vec<(Client, Payer)> = (first..count.min(first + BATCH))
                .map(|rank| one(caller, &books, &owners, rank, &mut rng))
                .collect();
            let clients: Vec<Client> = rows.iter().map(|(client, _)| client.clone()).collect();
            store::client::insert(conn, &clients)?;
            Ok((rows, rng))
        })?;
        *rng = rows.1;
        payers.extend(rows.0.into_iter().map(|(_, payer)| payer));
    }
    Ok(payers)
}

/// Sales people and collectors.
struct People {
    sales: Vec<UserId>,
    collectors: Vec<UserId>,
}

fn people(db: &Db, caller: &Caller, name: &str) -> Result<People> {
    let several = |role: Role, word: &str, count: u32| -> Result<Vec<UserId>> {
        db.write_now(caller, |conn, caller| {
            (1..=count)
                .map(|n| {
                    let email = format!("{word}{n}.{name}@example.com");
                    member::save(conn, caller, &email, &format!("{word} {n}"), role, None)
                })
                .collect()
        })
    };
    Ok(People {
        sales: several(Role::Sales, "sales", 8)?,
        collectors: several(Role::CreditManager, "collector", 4)?,
    })
}

fn one(
    caller: &Caller,
    books: &books::Books,
    people: &People,
    rank: usize,
    rng: &mut Rng,
) -> (Client, Payer) {
    let number = format!("C{:06}", rank + 1);
    let segment = *rng.weighted(&[
        (5.0, "LARGE_GROUP"),
        (60.0, "SME"),
        (10.0, "NEW_OR_RISKY"),
        (10.0, "PUBLIC"),
        (10.0, "CONSUMER"),
        (5.0, "GROUP_COMPANY"),
    ]);
    let terms = *rng.weighted(&[(3.0, 30), (4.0, 45), (3.0, 60)]);
    // The later, the likelier the insolvency: older ones are over.
    let (insolvency, insolvent_on) = if rng.chance(0.004) {
        let kind = *rng.one(&["RECEIVERSHIP", "RECEIVERSHIP", "LIQUIDATION", "SAFEGUARD"]);
        let ago = Duration::days(rng.exponential(200.0) as i64 + 5);
        (kind, Some(caller.today - ago))
    } else {
        ("NONE", None)
    };
    let insured = rng.chance(0.3);
    let limit = rng.log_normal(30_000.0, 1.2) as i64 * 100;
    let payer = Payer {
        number: number.clone(),
        terms,
        punctual: 0.30 + 0.60 * rng.unit(),
        weekday: rng.between(0, 4),
        insolvent_on,
    };
    let client = Client {
        number,
        name: format!("{} {}", rng.one(&TRADES), rng.one(&PLACES)),
        segment: segment.into(),
        terms_days: terms as i16,
        sales_owner_id: Some(*rng.one(&people.sales)),
        collector_id: Some(*rng.one(&people.collectors)),
        insolvency: insolvency.into(),
        insolvency_on: insolvent_on,
        insured_percent: Decimal::from(if insured { *rng.one(&[80, 90]) } else { 0 }),
        insured_limit: insured.then_some(limit),
        credit_limit: rng.chance(0.7).then_some(limit),
        ..client::blank(caller, books)
    };
    (client, payer)
}

const TRADES: [&str; 16] = [
    "Boulangerie",
    "Menuiserie",
    "Transports",
    "Garage",
    "Imprimerie",
    "Quincaillerie",
    "Cave",
    "Librairie",
    "Plomberie",
    "Serres",
    "Laiterie",
    "Fonderie",
    "Verrerie",
    "Papeterie",
    "Charpente",
    "Scierie",
];
const PLACES: [&str; 20] = [
    "du Rhône",
    "de Bresse",
    "du Jura",
    "des Alpes",
    "de Loire",
    "du Nord",
    "de l'Ouest",
    "d'Auvergne",
    "du Forez",
    "de Savoie",
    "du Berry",
    "de Picardie",
    "du Midi",
    "des Landes",
    "du Vexin",
    "de Lorraine",
    "d'Alsace",
    "du Morvan",
    "de Gascogne",
    "du Perche",
];
