//! Many at once: numbers without gaps, one effect for one key, one state of the books for one document.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use diesel::RunQueryDsl;
use diesel::connection::SimpleConnection;
use serde_json::{Value, json};

use super::{Ground, invoice, is_clean, long};
use crate::harness::{Api, Company, command_on, day, today, year};
use crate::live::eventually;

/// Invoices a second that 64 writers on one series are to issue at least.
const A_SECOND: f64 = 150.0;

/// After this long a machine is not just busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// All invoices of a company in the order of their numbers: number and day.
fn issued(api: &Api) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut after = Value::Null;
    loop {
        let document = "query($after: String) { invoices(first: 100, after: $after) {
            nodes { number issuedOn } pageInfo { hasNextPage endCursor } } }";
        let mut page = api.data(document, json!({ "after": after }))["invoices"].take();
        for node in page["nodes"].as_array().expect("nodes") {
            let text = |name: &str| node[name].as_str().expect("a text").to_owned();
            found.push((text("number"), text("issuedOn")));
        }
        if page["pageInfo"]["hasNextPage"] != true {
            found.sort();
            return found;
        }
        after = page["pageInfo"]["endCursor"].take();
    }
}

/// A connection keeps the plans that it made while the tables were empty. They go by keys, or each write would read all
/// that was written before it.
#[test]
fn a_database_that_was_just_made_is_not_read_whole_by_each_write() {
    const EACH: i64 = 150;
    let Some(ground) = Ground::new(&[("ENCOURS_POOL_SIZE", "2")]) else {
        return;
    };
    for place in 0..EACH {
        let number = ground.issue(&format!("invoice {place}")).expect("a number");
        let paid = ground.ask(&format!(
            "mutation {{ recordPayment(input: {{ client: {{ number: \"C001\" }}, amount: \"12.00\", method: TRANSFER,
                allocations: [{{ debit: {{ number: \"{number}\" }} }}] }}) {{ allocations {{ id }} userErrors {{ message }} }} }}"
        ));
        let allocations = paid["data"]["recordPayment"]["allocations"].as_array();
        assert_eq!(allocations.map(Vec::len), Some(1), "{paid}");
    }
    let mut owner = ground.owner();
    let mut figure = |text: &str| -> i64 {
        let figure = diesel::dsl::sql::<diesel::sql_types::BigInt>(text);
        diesel::select(figure)
            .get_result(&mut owner)
            .expect("a figure")
    };
    // PostgreSQL tells its statistics when a connection has nothing to do.
    eventually("all is told", || {
        let told = figure("(SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'payments')");
        (told == EACH).then_some(())
    });
    for table in [
        "documents",
        "payments",
        "journal_entries",
        "journal_lines",
        "journal_seals",
        "items",
        "allocations",
        "receivable_ledger",
    ] {
        let read = figure(&format!(
            "(SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = '{table}')"
        ));
        assert!(
            read < 10 * EACH,
            "{read} rows of {table} were read by scans"
        );
    }
}

/// A receipt that settles a group of letters looks at that group, not at all that the company ever matched.
#[test]
fn an_import_does_not_read_what_others_have_matched() {
    const BEFORE: u32 = 1_000;
    const FILES: u32 = 5;
    let Some(ground) = Ground::new(&[]) else {
        return;
    };
    let file = ground.data.join("rows.csv");
    let import = |kind: &str, header: &str, rows: &mut dyn Iterator<Item = String>| {
        let text: Vec<String> = std::iter::once(header.to_owned()).chain(rows).collect();
        std::fs::write(&file, text.join("\n")).expect("the file");
        let path = file.to_str().expect("a path");
        let company = &ground.company;
        command_on(&ground.data, &["import", kind, path, "--company", company]);
    };
    let mut invoices = (0..BEFORE + FILES).map(|n| format!("C001,I-{n},2025-01-10,10.00"));
    import(
        "receivables",
        "client,number,issuedOn,amount",
        &mut invoices,
    );
    let receipts = "number,client,receivedOn,amount,invoice";
    let paid =
        |series: &str, n: u32, amount: &str| format!("{series}-{n},C001,2025-02-10,{amount},I-{n}");
    let whole = (0..BEFORE).map(|n| paid("W", n, "10.00"));
    let halves = (BEFORE..BEFORE + FILES).map(|n| paid("H", n, "5.00"));
    import("receipts", receipts, &mut whole.chain(halves));
    let read = || -> i64 {
        let figure = diesel::dsl::sql::<diesel::sql_types::BigInt>(
            "(SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'items_by_matching')",
        );
        diesel::select(figure)
            .get_result(&mut ground.owner())
            .expect("a figure")
    };
    let before = read();
    for n in BEFORE..BEFORE + FILES {
        import(
            "receipts",
            receipts,
            &mut std::iter::once(paid("R", n, "5.00")),
        );
    }
    let told = eventually("all is told", || Some(read()).filter(|read| *read > before));
    assert!(
        told - before < i64::from(BEFORE),
        "{} rows were read for {FILES} groups",
        told - before
    );
}

const RECEIPT: &str = "mutation { recordPayment(input: { client: { number: \"C001\" }, amount: \"0.50\", method: TRANSFER,
    allocations: [{ debit: { number: \"NUMBER\" } }] }) { payment { id } userErrors { message } } }";

/// Records receipts and something other at once, so many by each of six: the other on invoices of its `own`, or on those
/// that the receipts pay. Nothing is refused, and nobody waits in a circle.
fn nobody_waits_in_a_circle(other: &str, own: bool, each: usize) {
    let Some(ground) = Ground::new(&[]) else {
        return;
    };
    let ask = |text: &str, number: &str| {
        let answer = ground.ask(&text.replace("NUMBER", number));
        let payload = answer["data"]
            .as_object()
            .and_then(|data| data.values().next());
        let errors = payload.map(|it| &it["userErrors"]);
        assert_eq!(errors, Some(&json!([])), "{answer}");
    };
    let invoices: Vec<String> = (0..6)
        .map(|place| ground.issue(&format!("invoice {place}")).expect("a number"))
        .collect();
    std::thread::scope(|scope| {
        for place in 0..6 {
            let (text, number) = match place % 2 {
                0 => (RECEIPT, &invoices[place]),
                _ if own => (other, &invoices[place]),
                _ => (other, &invoices[place - 1]),
            };
            let ask = &ask;
            scope.spawn(move || (0..each).for_each(|_| ask(text, number)));
        }
    });
    let figure = diesel::dsl::sql::<diesel::sql_types::BigInt>(
        "(SELECT deadlocks FROM pg_stat_database WHERE datname = current_database())",
    );
    let deadlocks: i64 = diesel::select(figure)
        .get_result(&mut ground.owner())
        .expect("a figure");
    assert_eq!(deadlocks, 0);
}

/// Who credits an invoice keeps others from crediting it, by its client; a receipt of that client is recorded meanwhile.
#[test]
fn receipts_and_credit_notes_of_one_client_do_not_wait_for_each_other_in_a_circle() {
    let credit =
        "mutation { issueCreditNote(input: { invoice: { number: \"NUMBER\" }, amount: \"0.50\" })
        { creditNote { id } userErrors { message } } }";
    nobody_waits_in_a_circle(credit, true, 12);
}

#[test]
fn receipts_and_deductions_of_one_invoice_do_not_wait_for_each_other_in_a_circle() {
    let deduction = "mutation { recordDeduction(input: { invoice: { number: \"NUMBER\" }, amount: \"1.10\", reason: \"BPRX\",
        description: \"Retenue\" }) { deduction { id } userErrors { message } } }";
    nobody_waits_in_a_circle(deduction, false, 7);
}

/// What a receipt settles is worked out before its numbers are drawn. When others settle some of it while it waits for
/// them, it goes by what is so then (R3.4), and a receipt that is refused for it leaves no gap (R9.1).
#[test]
fn a_receipt_that_waited_for_its_number_settles_what_is_open_then() {
    let Some(ground) = Ground::new(&[]) else {
        return;
    };
    let number = ground.issue("invoice").expect("a number");
    let receipt = |amount: &str, paid: Option<&str>| {
        let allocations = paid.map_or_else(String::new, |number| {
            format!("allocations: [{{ debit: {{ number: \"{number}\" }}, amount: \"{amount}\" }}]")
        });
        let answer = ground.ask(&format!(
            "mutation {{ recordPayment(input: {{ client: {{ number: \"C001\" }}, amount: \"{amount}\", method: TRANSFER, {allocations} }})
                {{ payment {{ number }} userErrors {{ code field }} }} }}"
        ));
        answer["data"]["recordPayment"].clone()
    };
    // The account has its first letter; two receipts lie on it.
    assert_eq!(receipt("1.00", Some(&number))["userErrors"], json!([]));
    let on_account: Vec<String> = ["2.00", "3.00"]
        .map(|amount| {
            let number = receipt(amount, None)["payment"]["number"]
                .as_str()
                .map(str::to_owned);
            number.expect("a number")
        })
        .into();
    // Records a receipt, and matches another one while it waits for the counters.
    let overtaken = |amount: &str, other: &str| {
        let mut owner = ground.owner();
        owner
            .batch_execute("BEGIN; UPDATE counters SET last_number = last_number")
            .expect("the counters");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| receipt(amount, Some(&number)));
            // With the one statement that writes it if what it settles is as it was.
            eventually("it waits", || {
                let waits = ground.waiting("%INTO counters %waited AS %");
                (waits > 0).then_some(())
            });
            let matched = ground.ask(&format!(
                "mutation {{ allocate(input: {{ lines: [{{ debit: {{ number: \"{number}\" }}, credit: {{ number: \"{other}\" }} }}] }})
                    {{ userErrors {{ message }} }} }}"
            ));
            assert_eq!(
                matched["data"]["allocate"]["userErrors"],
                json!([]),
                "{matched}"
            );
            owner.batch_execute("COMMIT").expect("to let go");
            waiting.join().expect("an answer")
        })
    };
    let open = || {
        let answer = ground.ask(&format!(
            "{{ invoice(ref: {{ number: \"{number}\" }}) {{ open }} }}"
        ));
        answer["data"]["invoice"]["open"].clone()
    };
    assert_eq!(open(), "11.00");
    let taken = overtaken("4.00", &on_account[0]);
    assert_eq!(taken["userErrors"], json!([]));
    assert_eq!(open(), "5.00");
    let refused = overtaken("5.00", &on_account[1]);
    let why = json!([{ "code": "OVER_ALLOCATION", "field": ["allocations", "0", "amount"] }]);
    assert_eq!(refused["userErrors"], why);
    assert_eq!(open(), "2.00");
    // The number that was refused is the next one's.
    let rank = |number: &Value| -> u32 {
        let number = number.as_str().expect("a number");
        number
            .rsplit('-')
            .next()
            .expect("a rank")
            .parse()
            .expect("digits")
    };
    let last = receipt("2.00", Some(&number));
    assert_eq!(
        rank(&last["payment"]["number"]),
        rank(&taken["payment"]["number"]) + 1
    );
    assert_eq!(open(), "0.00");
    let told = ground.ask(&format!(
        "{{ invoice(ref: {{ number: \"{number}\" }}) {{ allocations {{ nodes {{ matching {{ code }} }} }} }}
            integrityCheck {{ ok checks {{ code broken }} }} }}"
    ));
    let matched = told["data"]["invoice"]["allocations"]["nodes"].as_array();
    let letters: Vec<&Value> = matched
        .expect("matchings")
        .iter()
        .map(|made| &made["matching"]["code"])
        .collect();
    assert_eq!(letters, ["A"; 5], "{told}");
    assert_eq!(told["data"]["integrityCheck"]["ok"], true, "{told}");
}

/// R2.2: nothing is posted on a day that is closed, not even by whoever found it open and then waited for a number; and
/// whoever closes waits for those that have posted.
#[test]
fn what_waited_while_its_day_was_closed_is_refused() {
    let Some(ground) = Ground::new(&[]) else {
        return;
    };
    let waiting = |count: i64| {
        eventually("they wait", || (ground.waiting("%") == count).then_some(()));
    };
    let receipt = |day: &str| {
        ground.ask(&format!(
            "mutation {{ recordPayment(input: {{ client: {{ number: \"C001\" }}, amount: \"1.00\", method: TRANSFER, receivedOn: \"{day}\" }})
                {{ payment {{ number }} userErrors {{ code }} }} }}"
        ))["data"]["recordPayment"]
            .take()
    };
    let days = ["06-14", "06-15", "06-16"].map(day);
    // What follows waits for the numbers of that year.
    receipt(&days[0]);
    let close = |day: &str| {
        let closed = ground.ask(&format!(
            "mutation {{ closePeriod(through: \"{day}\") {{ userErrors {{ code message }} }} }}"
        ));
        assert_eq!(
            closed["data"]["closePeriod"]["userErrors"],
            json!([]),
            "{closed}"
        );
    };
    let mut owner = ground.owner();
    let mut own = |sql: &str| owner.batch_execute(sql).expect(sql);
    std::thread::scope(|scope| {
        own("BEGIN; UPDATE counters SET last_number = last_number");
        let first = scope.spawn(|| receipt(&days[0]));
        waiting(1);
        close(&days[0]);
        own("COMMIT");
        let first = first.join().expect("an answer");
        assert_eq!(first["userErrors"][0]["code"], "PERIOD_CLOSED", "{first}");
        // As one that has posted and not ended yet.
        own(
            "BEGIN; SELECT pg_advisory_xact_lock_shared(hashtextextended('closings ' || company_id, 0)) FROM companies",
        );
        let closing = scope.spawn(|| close(&days[1]));
        waiting(1);
        let second = scope.spawn(|| receipt(&days[1]));
        waiting(2);
        own("COMMIT");
        closing.join().expect("closed");
        let second = second.join().expect("an answer");
        assert_eq!(second["userErrors"][0]["code"], "PERIOD_CLOSED", "{second}");
    });
    // Nothing of it is left, and no number is missing.
    assert_eq!(
        receipt(&days[2])["payment"]["number"],
        format!("RG-{}-000002", year())
    );
    ground.sound();
}

/// R9.1, R9.2: three tenths of the transactions take a number and are rolled back, some because they are only
/// validated, some because their day would go back while numbers go on.
#[test]
fn sixty_four_writers_on_one_series_leave_no_gap_and_no_double() {
    const WRITERS: usize = 64;
    let rounds = if long() { 50 } else { 3 };
    let company = Company::new();
    let api = company.admin();
    api.client("C001");
    let (latest, before) = (day("06-15"), day("06-14"));
    let numbers = Mutex::new(Vec::new());
    let (rolled_back, others) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let ready = Barrier::new(WRITERS);
    let since = Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (api, numbers, rolled_back, others, ready) =
                (&api, &numbers, &rolled_back, &others, &ready);
            let (latest, before) = (latest.as_str(), before.as_str());
            scope.spawn(move || {
                ready.wait();
                for round in 0..rounds {
                    let turn = (writer + round * 7) % 20;
                    let on = if turn < 3 { before } else { latest };
                    let key = format!("w{writer}-{round}");
                    let body = invoice(Some(&key), on, (3..6).contains(&turn));
                    // A busy machine may say so: the key makes it safe to send it again.
                    let answer = loop {
                        let answer = api.post(&body).json();
                        if !is_clean(&answer) || since.elapsed() > PATIENCE {
                            break answer;
                        }
                    };
                    let payload = &answer["data"]["issueInvoice"];
                    match payload["invoice"]["number"].as_str() {
                        Some(number) => {
                            let number = number.to_owned();
                            numbers.lock().expect("numbers").push(number);
                        }
                        None if turn < 6 && answer["errors"].is_null() => {
                            rolled_back.fetch_add(1, Ordering::Relaxed);
                        }
                        None => others.lock().expect("others").push(answer.to_string()),
                    }
                }
            });
        }
    });
    let took = since.elapsed();
    let others = others.into_inner().expect("others");
    assert!(others.is_empty(), "{} failed: {}", others.len(), others[0]);
    let numbers = numbers.into_inner().expect("numbers");
    let found = issued(&api);
    let known: BTreeSet<&String> = numbers.iter().collect();
    assert_eq!(known.len(), numbers.len(), "a number was given twice");
    assert_eq!(found.len(), numbers.len());
    for (place, (number, _)) in found.iter().enumerate() {
        let rank: usize = number
            .rsplit('-')
            .next()
            .and_then(|rank| rank.parse().ok())
            .expect("a number");
        assert_eq!(rank, place + 1, "a gap before {number}");
    }
    assert!(
        found.windows(2).all(|pair| pair[0].1 <= pair[1].1),
        "days go back while numbers go on"
    );
    api.sound();
    let rate = numbers.len() as f64 / took.as_secs_f64();
    println!(
        "64 writers on one series: {} issued, {} rolled back, 0 gaps, 0 doubles, dates in order, {rate:.0} issued a second",
        numbers.len(),
        rolled_back.into_inner()
    );
    assert!(!long() || rate >= A_SECOND, "{rate} a second");
}

#[test]
fn the_same_key_thirty_two_times_at_once_has_one_effect_and_one_answer() {
    const TIMES: usize = 32;
    let api = Company::new().admin();
    api.client("C001");
    let body = invoice(Some("once"), &today().to_string(), false);
    let ready = Barrier::new(TIMES);
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..TIMES)
            .map(|_| {
                scope.spawn(|| {
                    ready.wait();
                    api.post(&body).json()
                })
            })
            .collect();
        asked
            .into_iter()
            .map(|it| it.join().expect("an answer"))
            .collect()
    });
    assert!(
        answers[0]["data"]["issueInvoice"]["invoice"]["number"].is_string(),
        "{}",
        answers[0]
    );
    for answer in &answers {
        assert_eq!(answer["data"], answers[0]["data"]);
        assert!(answer["errors"].is_null(), "{answer}");
    }
    assert_eq!(issued(&api).len(), 1);
    println!("the same key {TIMES} times at once: 1 effect, {TIMES} equal answers");
}

/// Every invoice is of 12.00 and stays open, so a document that saw two states would contradict itself.
#[test]
fn a_document_that_is_read_while_six_write_sees_one_state_of_the_books() {
    const DOCUMENT: &str = "{ a: invoices { totalCount } b: agedBalance { totals { total } ledgerCheck { difference } }
        c: clients { nodes { balance { total } } } d: agedBalance { totals { total } rows(first: 1) { nodes { total } } }
        e: invoices { totalCount } }";
    let documents = if long() { 200 } else { 15 };
    let api = Company::new().admin();
    api.client("C001");
    let today = today().to_string();
    api.post(&invoice(None, &today, false));
    let (over, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut seen = BTreeSet::new();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let answer = api.post(&invoice(None, &today, false)).json();
                    assert!(answer["errors"].is_null() || is_clean(&answer), "{answer}");
                    written.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = Vec::new();
                    for _ in 0..documents {
                        seen.push(api.data(DOCUMENT, json!({})));
                    }
                    seen
                })
            })
            .collect();
        let read: Vec<_> = readers.into_iter().map(|reader| reader.join()).collect();
        over.store(true, Ordering::Relaxed);
        for data in read.into_iter().flat_map(|it| it.expect("a reader")) {
            let count = data["a"]["totalCount"].as_i64().expect("a count");
            let total = json!(format!("{}.00", count * 12));
            for figure in [
                &data["b"]["totals"][0]["total"],
                &data["c"]["nodes"][0]["balance"][0]["total"],
                &data["d"]["totals"][0]["total"],
                &data["d"]["rows"]["nodes"][0]["total"],
            ] {
                assert_eq!(figure, &total, "{data}");
            }
            assert_eq!(data["b"]["ledgerCheck"][0]["difference"], "0.00", "{data}");
            assert_eq!(data["e"]["totalCount"], count, "{data}");
            seen.insert(count);
        }
    });
    // They did write meanwhile, or nothing was shown.
    assert!(seen.len() > 2, "{seen:?}");
    println!(
        "{} documents read while {} were written: {} states, each document saw one",
        2 * documents,
        written.into_inner(),
        seen.len()
    );
}
