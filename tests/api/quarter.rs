//! A quarter of a small company, day by day on a clock of the test's own: what was sent, asked and decided is compared
//! with a transcript that was read by eye against the rules of sections 7 and 8.

use std::collections::BTreeMap;
use std::fmt::Write;

use chrono::NaiveDate;
use diesel::Connection;
use encours::domain::access::{Caller, Role};
use encours::domain::calendar::is_working_day;
use encours::domain::ids::{ClientId, CompanyId, Id};
use encours::domain::letter::{Kind, Language};
use encours::mailer::Mailer;
use encours::objects::Objects;
use encours::service::reference::Ref;
use encours::service::{collection, dispute, dunning, dunning_run, file, letter, payment, rounds};
use encours::store::{self, Conn, Db, Settings};

use crate::harness::{Company, data_dir, serving_url};
use crate::mail::MailServer;

const TRANSCRIPT: &str = include_str!("quarter.txt");

fn date(text: &str) -> NaiveDate {
    text.parse().expect("a day")
}

struct Quarter {
    desk: rounds::Desk,
    company: CompanyId,
    mail: MailServer,
    told: String,
    seen: (usize, usize),
}

impl Quarter {
    fn caller(&self, role: Role, on: NaiveDate) -> Caller {
        Caller {
            company: self.company,
            user: None,
            author: role.code().to_lowercase(),
            role,
            scopes: None,
            today: on,
            approval: None,
        }
    }

    fn write<T>(
        &self,
        role: Role,
        on: NaiveDate,
        work: impl Fn(&mut Conn, &Caller) -> encours::error::Result<T>,
    ) -> T {
        let caller = self.caller(role, on);
        self.desk
            .db
            .write_now(&caller, work)
            .unwrap_or_else(|error| panic!("{on}: {error}"))
    }

    fn say(&mut self, on: NaiveDate, what: &str) {
        writeln!(self.told, "{on} {what}").expect("text");
    }

    /// What people do on the day.
    fn events(&mut self, on: NaiveDate) {
        let client = |number: &str| Ref::Number(number.to_owned());
        match on.to_string().as_str() {
            "2026-01-20" => {
                // Atelier says that part of its invoice is damaged goods.
                let input = dispute::DisputeInput {
                    invoice: Ref::Number("FA-2".into()),
                    kind: None,
                    reason: "BCAS".into(),
                    amount: Some("1500.00".parse().expect("an amount")),
                    opened_on: None,
                    respond_by: None,
                    owner: None,
                    description: "deux palettes cassées".into(),
                    reopens: None,
                };
                self.write(Role::Admin, on, |conn, caller| {
                    dispute::open(conn, caller, &input)
                });
                self.say(on, "event: FA-2 disputed for 1500.00");
            }
            "2026-01-26" => {
                let input = dunning::PromiseInput {
                    client: client("BOULANGERIE"),
                    amount: "1200.00".parse().expect("an amount"),
                    currency: None,
                    due_on: date("2026-02-02"),
                    items: Vec::new(),
                    note: None,
                };
                self.write(Role::ArAccountant, on, |conn, caller| {
                    dunning::promise(conn, caller, &input)
                });
                self.say(on, "event: BOULANGERIE promises 1200.00 for 2026-02-02");
            }
            "2026-02-10" => {
                self.write(Role::Admin, on, |conn, caller| {
                    let target = Ref::Number("LIT-2026-000001".into());
                    let input = dispute::Resolution {
                        outcome: "REJECTED",
                        accepted_amount: None,
                        credit_note: None,
                        credit_note_number: None,
                        closed_on: None,
                        note: Some("livraison conforme au BL".into()),
                    };
                    dispute::resolve(conn, caller, &target, &input).map(drop)
                });
                self.say(on, "event: the dispute of FA-2 is rejected");
            }
            "2026-02-16" => {
                let input = collection::PlanInput {
                    client: client("CHANTIER"),
                    items: Vec::new(),
                    instalments: vec![
                        (date("2026-02-27"), "2000.00".parse().expect("an amount")),
                        (date("2026-03-31"), "4000.00".parse().expect("an amount")),
                    ],
                    currency: None,
                    interest: "RUNS",
                    grace_days: 5,
                    note: None,
                };
                self.write(Role::CreditManager, on, |conn, caller| {
                    collection::plan(conn, caller, &input)
                });
                self.say(
                    on,
                    "event: CHANTIER agrees to a plan of 2000.00 and 4000.00",
                );
            }
            "2026-02-18" => {
                self.write(Role::ArAccountant, on, |conn, caller| {
                    pay(conn, caller, "BOULANGERIE", "FA-1", "1200.00", on)
                });
                self.say(on, "event: BOULANGERIE pays 1200.00");
            }
            "2026-03-02" => {
                let objects = self.desk.objects.clone();
                self.write(Role::ArAccountant, on, |conn, caller| {
                    let invoice =
                        store::document::by_number(conn, caller.company, "INVOICE", "FA-2")?
                            .expect("FA-2");
                    let upload = file::Upload {
                        subject: invoice.id.show(),
                        kind: file::FileKind::DeliveryProof,
                        name: "BL-2.pdf".into(),
                        bytes: b"%PDF-1.7 BL".to_vec(),
                    };
                    file::attach(conn, caller, &objects, &upload)
                });
                self.say(on, "event: the delivery of FA-2 is proven");
            }
            _ => {}
        }
    }

    /// The credit manager's morning: a run of all that is due, and the calls it asks for.
    fn run(&mut self, on: NaiveDate) {
        let manager = self.caller(Role::CreditManager, on);
        let objects = self.desk.objects.clone();
        let proposed = self.desk.db.write_now(&manager, |conn, caller| {
            dunning_run::propose(conn, caller, &dunning_run::Scope::default())
        });
        let Ok(run) = proposed else {
            return;
        };
        let id = run.show();
        let lines = self.desk.db.write_now(&manager, |conn, caller| {
            dunning_run::validate(conn, caller, &id)?;
            dunning_run::send(conn, caller, &objects, &id, 100)?;
            Ok(store::dunning_run::lines(conn, caller.company, run, None)?)
        });
        for line in lines.expect("the run") {
            let name = self.name(line.client_id);
            let reason = line.reason.unwrap_or_default();
            let claimed = rust_decimal::Decimal::new(line.claimed, 2);
            self.say(
                on,
                format!(
                    "run: {name} level {} {} {claimed} {} {reason}",
                    line.level, line.channel, line.status
                )
                .trim_end(),
            );
            if reason == "CALL" {
                let input = dunning::ActionInput {
                    client: Ref::Number(name),
                    currency: None,
                    level: Some(i32::from(line.level)),
                    channel: None,
                    done_on: None,
                    recipient: None,
                    proof: None,
                    note: Some("appelé".into()),
                };
                self.write(Role::CreditManager, on, |conn, caller| {
                    dunning::record(conn, caller, &input)
                });
            }
        }
    }

    fn name(&self, client: ClientId) -> String {
        let caller = self.caller(Role::Admin, date("2026-01-01"));
        self.desk
            .db
            .read_now(&caller, |conn, caller| {
                Ok(store::client::by_id(conn, caller.company, client)?)
            })
            .expect("a read")
            .expect("a client")
            .number
    }

    /// Mails that left and tasks that came up since the last look.
    fn look(&mut self, on: NaiveDate) {
        let taken = self.mail.messages();
        for message in taken.iter().skip(self.seen.0) {
            let files = message
                .data
                .matches("Content-Disposition: attachment")
                .count();
            self.told
                .push_str(&format!("{on} mail: {} with {files} file(s)\n", message.to));
        }
        self.seen.0 = taken.len();
        let caller = self.caller(Role::Admin, on);
        let mut tasks = self
            .desk
            .db
            .read_now(&caller, |conn, caller| {
                let sort = store::list::Sort {
                    column: "t.recorded_at",
                    sql_type: "timestamptz",
                    direction: store::list::Direction::Ascending,
                };
                let from = store::task::from(caller.company, &[], None);
                let keys = store::list::keys(
                    conn,
                    &from,
                    sort,
                    &store::list::Keyset {
                        size: 1000,
                        from: None,
                        backward: false,
                    },
                )?;
                let ids: Vec<_> = keys
                    .keys
                    .iter()
                    .map(|key| encours::domain::ids::TaskId(key.id))
                    .collect();
                Ok(store::task::by_ids(conn, caller.company, &ids)?)
            })
            .expect("tasks");
        tasks.sort_by_key(|task| task.id);
        for task in tasks.iter().skip(self.seen.1) {
            self.told
                .push_str(&format!("{on} task: {} {}\n", task.kind, task.subject));
        }
        self.seen.1 = tasks.len();
    }
}

fn pay(
    conn: &mut Conn,
    caller: &Caller,
    client: &str,
    invoice: &str,
    amount: &str,
    on: NaiveDate,
) -> encours::error::Result<()> {
    let paid = encours::service::reference::ItemRef {
        number: Some(invoice.to_owned()),
        ..encours::service::reference::ItemRef::default()
    };
    let input = payment::PaymentInput {
        client: Some(Ref::Number(client.to_owned())),
        payer: None,
        number: None,
        external_ref: None,
        received_on: Some(on),
        method: "TRANSFER",
        amount: amount.parse().expect("an amount"),
        currency: None,
        exchange_rate: None,
        remittance: None,
        matures_on: None,
        deposit: None,
        bank_account: None,
        late_entry: false,
        allocations: vec![(paid, None)],
    };
    payment::record(conn, caller, &input).map(drop)
}

#[test]
fn a_quarter_of_collection_reads_as_reviewed() {
    let made = Company::new();
    let api = made.admin();
    let company = CompanyId::read(&made.id).expect("an id");
    for (number, name, email) in [
        (
            "BOULANGERIE",
            "Boulangerie Émile",
            "compta@boulangerie.example",
        ),
        (
            "ATELIER",
            "Atelier Šťastný & Fils",
            "compta@atelier.example",
        ),
        ("CHANTIER", "Chantier du Rhône", "compta@chantier.example"),
        ("DEPOT", "Dépôt sans adresse", ""),
    ] {
        api.make(
            "CreateClient",
            serde_json::json!({ "number": number, "name": name }),
        );
        if !email.is_empty() {
            crate::desk::contact(&api, number, email);
        }
    }
    for (client, number, issued, due, net) in [
        ("BOULANGERIE", "FA-1", "2025-12-05", "2026-01-05", "1000.00"),
        ("ATELIER", "FA-2", "2025-12-05", "2026-01-05", "5000.00"),
        ("CHANTIER", "FA-3", "2025-12-15", "2026-01-15", "5000.00"),
        ("DEPOT", "FA-4", "2025-12-31", "2026-01-30", "100.00"),
        ("BOULANGERIE", "FA-5", "2026-02-10", "2026-03-12", "2000.00"),
    ] {
        let invoice = serde_json::json!({ "client": { "number": client }, "number": number, "issuedOn": issued, "dueOn": due,
            "lines": [{ "description": "Prestation", "quantity": "1", "unitPrice": net, "vatRate": "20" }] });
        api.make("IssueInvoice", invoice);
    }
    let mail = MailServer::start();
    let mut settings = Settings::new(
        serving_url(),
        std::env::var_os("TEST_DATABASE_URL").is_some(),
    );
    settings.pool_size = 2;
    let mut quarter = Quarter {
        desk: rounds::Desk {
            db: Db::open(&settings),
            objects: Objects::directory(&data_dir().join("files")),
            mailer: Some(Mailer::new(&mail.url, "no-reply@encours.example").expect("a mailer")),
        },
        company,
        mail,
        told: String::new(),
        seen: (0, 0),
    };
    let mut on = date("2026-01-02");
    while on <= date("2026-03-31") {
        quarter.events(on);
        if is_working_day(on) {
            quarter.run(on);
        }
        rounds::visit(&quarter.desk, company, on);
        quarter.look(on);
        on = on.succ_opt().expect("a day");
    }
    assert!(
        quarter.told == TRANSCRIPT,
        "the transcript differs; what happened:\n{}",
        quarter.told
    );
    api.sound();
    letters_are_typeset(&quarter);
    // What the transcript says stays: no reminder is without its letter.
    let mut conn = store::owner(&crate::harness::owner_url()).expect("the owner");
    let without: i64 = conn
        .transaction(|conn| {
            use diesel::prelude::*;
            #[derive(QueryableByName)]
            struct Count {
                #[diesel(sql_type = diesel::sql_types::BigInt)]
                count: i64,
            }
            diesel::sql_query("SELECT count(*) AS count FROM dunning_actions a WHERE a.company_id = $1 AND a.channel <> 'PHONE' AND NOT EXISTS (SELECT 1 FROM files f WHERE f.company_id = a.company_id AND f.subject_id = a.id)")
                .bind::<diesel::sql_types::Uuid, _>(company.uuid())
                .get_result::<Count>(conn)
                .map(|row| row.count)
        })
        .expect("a count");
    assert_eq!(without, 0);
}

/// Every kind of letter about a client, in both languages, becomes a PDF.
fn letters_are_typeset(quarter: &Quarter) {
    let on = date("2026-03-31");
    let caller = quarter.caller(Role::CreditManager, on);
    let objects = quarter.desk.objects.clone();
    let mut written: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let db = &quarter.desk.db;
    let client = db
        .read_now(&caller, |conn, caller| {
            Ok(store::client::by_number(conn, caller.company, "ATELIER")?)
        })
        .expect("a read")
        .expect("a client");
    for kind in Kind::ALL
        .iter()
        .copied()
        .filter(|kind| kind.is_reminder() || *kind == Kind::Statement)
    {
        for language in [Language::French, Language::English] {
            let pdf = db
                .read_now(&caller, |conn, caller| {
                    let id = client.id.show();
                    letter::of_subject(conn, caller, &objects, kind, &id, Some(language), None, on)?
                        .pdf()
                })
                .unwrap_or_else(|error| panic!("{kind:?} {language:?}: {error}"));
            assert!(pdf.starts_with(b"%PDF-"));
            written.insert(format!("{}-{}.pdf", kind.code(), language.code()), pdf);
        }
    }
    // To look at them: ENCOURS_TEST_PDF names a directory.
    if let Some(directory) = std::env::var_os("ENCOURS_TEST_PDF") {
        for (name, pdf) in written {
            std::fs::write(std::path::Path::new(&directory).join(name), pdf).expect("kept");
        }
    }
}
