//! Imports in lanes: a file whose import is broken off goes on where each lane stopped.

use std::panic::{AssertUnwindSafe, catch_unwind};

use diesel::QueryableByName;
use diesel::RunQueryDsl;
use diesel::sql_types::BigInt;
use serde_json::json;

use super::Ground;
use crate::harness::command_on;

const ROWS: i64 = 900;

#[derive(QueryableByName, Debug)]
struct Figures {
    #[diesel(sql_type = BigInt)]
    invoices: i64,
    #[diesel(sql_type = BigInt)]
    entries: i64,
    #[diesel(sql_type = BigInt)]
    done: i64,
    /// Of the lanes, where the one that is behind stands, and the one that is ahead.
    #[diesel(sql_type = BigInt)]
    behind: i64,
    #[diesel(sql_type = BigInt)]
    ahead: i64,
    #[diesel(sql_type = BigInt)]
    ended: i64,
}

/// A file of invoices of 60 clients on the ground.
struct File<'a> {
    ground: &'a Ground,
    path: String,
}

impl File<'_> {
    fn of(ground: &Ground) -> File<'_> {
        let rows = (1..=ROWS).map(|n| format!("L{},Z-{n},2025-01-10,10.00\n", n % 60));
        let text = "client,number,issuedOn,amount\n".to_owned() + &rows.collect::<String>();
        let path = ground.data.join("lanes.csv").display().to_string();
        std::fs::write(&path, text).expect("the file");
        File { ground, path }
    }

    fn import(&self) -> String {
        let company = &self.ground.company;
        command_on(
            &self.ground.data,
            &["import", "receivables", &self.path, "--company", company],
        )
    }

    /// Has the import fall over documents of which this holds.
    fn fall_over(&self, condition: &str) {
        self.ground.sql(&format!(
            "CREATE FUNCTION fall() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'it falls'; END $$; \
             CREATE TRIGGER fall BEFORE INSERT ON documents FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION fall()"
        ));
        assert!(catch_unwind(AssertUnwindSafe(|| self.import())).is_err());
        self.ground
            .sql("DROP TRIGGER fall ON documents; DROP FUNCTION fall");
    }

    fn figures(&self) -> Figures {
        diesel::sql_query(
            "SELECT (SELECT count(*) FROM documents WHERE number LIKE 'Z-%') AS invoices, \
               (SELECT count(*) FROM journal_entries WHERE reference LIKE 'Z-%') AS entries, \
               (SELECT sum(rows_done)::bigint FROM imports WHERE kind = 'receivables') AS done, \
               (SELECT min(done_through) FROM import_lanes) AS behind, (SELECT max(done_through) FROM import_lanes) AS ahead, \
               (SELECT count(*) FROM imports WHERE kind = 'receivables' AND finished_at IS NOT NULL) AS ended",
        )
        .get_result(&mut self.ground.owner())
        .expect("the figures")
    }
}

#[test]
fn a_lane_that_is_broken_off_goes_on_where_it_stopped() {
    let Some(ground) = Ground::new(&[]) else {
        return;
    };
    let file = File::of(&ground);
    file.fall_over("NEW.number = 'Z-800'");
    let broken = file.figures();
    // The first rows are booked together; then one lane is done, and the other is not.
    assert_eq!((broken.behind, broken.ended), (200, 0), "{broken:?}");
    assert!(broken.ahead >= ROWS - 60, "{broken:?}");
    // Done is what the lane that is behind has done.
    assert_eq!(broken.done, 200, "{broken:?}");
    assert!((201..ROWS).contains(&broken.invoices), "{broken:?}");
    assert_eq!(broken.entries, broken.invoices);
    ground.sound();

    let said = file.import();
    let whole = file.figures();
    assert_eq!(
        (whole.invoices, whole.entries, whole.done, whole.ended),
        (ROWS, ROWS, ROWS, 1),
        "{said}"
    );
    assert!(whole.behind >= ROWS - 60, "{whole:?}");
    ground.sound();
    // And a third time there is nothing left.
    file.import();
    let again = file.figures();
    assert_eq!((again.invoices, again.done), (ROWS, ROWS), "{again:?}");
}

/// A file that the former binary left half done, which knew one mark for all rows.
#[test]
fn a_file_that_was_begun_without_lanes_goes_on_behind_its_mark() {
    let Some(ground) = Ground::new(&[]) else {
        return;
    };
    let file = File::of(&ground);
    // As if its first 300 rows had been booked, which they have not.
    file.fall_over("true");
    ground.sql("DELETE FROM import_lanes; UPDATE imports SET rows_done = 300");
    file.import();
    let figures = file.figures();
    assert_eq!(
        (figures.invoices, figures.done, figures.ended),
        (ROWS - 300, ROWS, 1)
    );
    ground.sound();
}

/// Two runs of one file at once: each row goes in once, and one of them is told to wait, or finds nothing left to do.
#[test]
fn the_same_file_twice_at_once_goes_in_once() {
    let Some(ground) = Ground::new(&[]) else {
        return;
    };
    let file = File::of(&ground);
    let ended: Vec<bool> = std::thread::scope(|scope| {
        let run = || catch_unwind(AssertUnwindSafe(|| file.import())).is_ok();
        let runs: Vec<_> = (0..2).map(|_| scope.spawn(run)).collect();
        runs.into_iter()
            .map(|run| run.join().expect("a run"))
            .collect()
    });
    // Each may have been ahead in one lane.
    let said = if ended.contains(&true) {
        String::new()
    } else {
        file.import()
    };
    let figures = file.figures();
    assert_eq!(
        (
            figures.invoices,
            figures.entries,
            figures.done,
            figures.ended
        ),
        (ROWS, ROWS, ROWS, 1),
        "{said}"
    );
    ground.sound();
}

/// Receipts by the API beside an import that settles other invoices of the same clients: both lock the letters of a
/// client and the series of entries, in another order.
#[test]
fn an_import_and_receipts_of_the_same_clients_get_done_beside_each_other() {
    let Some(ground) = Ground::new(&[]) else {
        return;
    };
    let own = ground.issue("own").expect("a number");
    let rows = (0..2_400).map(|n| {
        let client = if n % 8 == 0 {
            "C001".to_owned()
        } else {
            format!("L{}", n % 60)
        };
        format!("{client},S-{n},2025-01-10,10.00,2025-02-10\n")
    });
    let text = "client,number,issuedOn,amount,settledOn\n".to_owned() + &rows.collect::<String>();
    let path = ground.data.join("settled.csv").display().to_string();
    std::fs::write(&path, text).expect("the file");
    let receipt = format!(
        "mutation {{ recordPayment(input: {{ client: {{ number: \"C001\" }}, amount: \"0.10\", method: TRANSFER, \
           allocations: [{{ debit: {{ number: \"{own}\" }} }}] }}) {{ userErrors {{ message }} }} }}"
    );
    let company = &ground.company;
    let arguments = ["import", "receivables", &path, "--company", company];
    std::thread::scope(|scope| {
        let import = scope.spawn(|| command_on(&ground.data, &arguments));
        let mut receipts = 0;
        while receipts < 100 && !import.is_finished() {
            let answer = ground.ask(&receipt);
            assert_eq!(
                answer["data"]["recordPayment"]["userErrors"],
                json!([]),
                "{answer}"
            );
            receipts += 1;
        }
        let said = import.join().expect("an import");
        assert!(receipts > 1, "{said}");
    });
    ground.sound();
}
