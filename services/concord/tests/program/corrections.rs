//! Failures files that spreadsheets and people have changed.

use std::{fmt::Write as _, fs, path::PathBuf};

use chrono::NaiveDate;

use crate::{
    process::wait_until,
    rounds::{answer, count, edit, imported, pair, run, text},
    running::{Background, Pair, Said},
};

const HEADING: &str = "source_id,client_reference,client_type,registered_name,company_number,phone";

/// Writes a file of clients.
fn clients(pair: &Pair, name: &str, rows: &str) -> PathBuf {
    let path = pair.folder.path().join(name);
    fs::write(&path, format!("{HEADING}\n{rows}")).unwrap();
    path
}

/// What a spreadsheet makes of a value: a number, when it is one.
fn as_number(value: &str) -> String {
    value.parse::<u64>().map_or_else(|_| value.to_owned(), |number| number.to_string())
}

#[test]
fn zeros_that_a_spreadsheet_takes_away_are_told_and_come_back() {
    let pair = pair();
    let rows = "007,R007,PRIVATE_LIMITED_COMPANY,,07687209,02079460000\n\
                008,R008,PRIVATE_LIMITED_COMPANY,,,\n";
    let file = clients(&pair, "clients.csv", rows);
    let said = pair.import("manager", &file, &["--failures", "failures.csv"]);
    let (id, folder) = (text(&said.json()[0], "import_id"), pair.folder.path());
    edit(
        &folder.join("failures.csv"),
        &folder.join("corrected.csv"),
        |source_id, column, value| match (source_id, column) {
            ("007", "registered_name") => "Seven Limited".to_owned(),
            _ => as_number(value),
        },
    );
    let said = run(&pair, "import", &["--retry", &id, "--corrected", "corrected.csv"]);
    assert_eq!(said.status, 2, "{said:?}");
    for told in [
        "line 2, source_id: `007` has become `7`",
        "line 2, company_number: `07687209` has become `7687209`",
        "line 2, phone: `02079460000` has become `2079460000`",
        "line 3, source_id: `008` has become `8`",
        "Format such columns as text",
        "1 corrected records",
    ] {
        assert!(said.err.contains(told), "{told}: {said:?}");
    }
    let shown = run(&pair, "show", &["ref:R007"]).out;
    assert!(shown.contains("07687209") && shown.contains("02079460000"), "{shown}");
    // The product knows it by the id with the zeros: the next import skips it.
    let rows = "007,R007,PRIVATE_LIMITED_COMPANY,Seven Limited,07687209,02079460000\n";
    let again = clients(&pair, "again.csv", rows);
    let again = pair.import("manager", &again, &[]).json().remove(0);
    assert_eq!((count(&again, "skipped"), count(&again, "failed")), (1, 0), "{again:#}");
}

#[test]
fn dates_that_a_spreadsheet_rewrites_are_told_before_anything_is_sent() {
    let pair = pair();
    let id = imported(&pair, &["--failures", "failures.csv"]);
    let folder = pair.folder.path();
    let british = |value: &str| {
        let day = value.parse::<NaiveDate>();
        day.map_or_else(|_| value.to_owned(), |day| day.format("%d/%m/%Y").to_string())
    };
    let save = |name: &str, line_1: &str| {
        edit(&folder.join("failures.csv"), &folder.join(name), |source_id, column, value| {
            match (source_id, column) {
                ("A193", "line_1") if !line_1.is_empty() => line_1.to_owned(),
                (_, "active_from" | "active_to" | "birth_date") => british(value),
                _ => value.to_owned(),
            }
        });
    };
    save("corrected.csv", "1 Quay Street");
    let refused = run(&pair, "import", &["--retry", &id, "--corrected", "corrected.csv"]);
    assert_eq!(refused.status, 1, "{refused:?}");
    assert!(refused.err.contains("nothing was sent: write them as 2026-03-01"), "{refused:?}");
    assert!(refused.err.contains("active_from: `"), "{refused:?}");
    assert_eq!(count(&answer(&pair, "imports show", &[&id]), "round"), 1);
    // Nothing but dates: the records are tried again as they were.
    save("only-dates.csv", "");
    let said = run(&pair, "import", &["--retry", &id, "--corrected", "only-dates.csv"]);
    assert!(said.err.contains("tried again as they were"), "{said:?}");
    assert!(said.err.contains("nothing was changed in the file"), "{said:?}");
}

#[test]
fn the_file_of_another_import_is_refused() {
    let pair = pair();
    let first = imported(&pair, &["--failures", "first.csv"]);
    let second = imported(&pair, &["--failures", "second.csv"]);
    let said = run(&pair, "import", &["--retry", &second, "--corrected", "first.csv"]);
    assert_eq!(said.status, 1, "{said:?}");
    let both = format!("of the failures file of {first}, and {second} is to be retried");
    assert!(said.err.contains(&both), "{said:?}");
    assert_eq!(count(&answer(&pair, "imports show", &[&second]), "round"), 1);
}

#[test]
fn a_row_of_a_record_that_did_not_fail_is_left_out_and_told() {
    let pair = pair();
    let id = imported(&pair, &["--failures", "failures.csv"]);
    let folder = pair.folder.path();
    // C001 was imported, and is written over a row of a record that failed.
    edit(
        &folder.join("failures.csv"),
        &folder.join("corrected.csv"),
        |source_id, column, value| match (source_id, column) {
            ("C058", "source_id") => "C001".to_owned(),
            ("C058", "registered_name") => "Changed Limited".to_owned(),
            _ => value.to_owned(),
        },
    );
    let said = run(&pair, "import", &["--retry", &id, "--corrected", "corrected.csv"]);
    assert!(said.err.contains("(any longer): 1 records: client C001"), "{said:?}");
    assert!(said.err.contains("nothing was changed in the file"), "{said:?}");
    let found = run(&pair, "find", &["Changed Limited"]);
    assert!(!found.out.contains("Changed Limited"), "{found:?}");
}

#[test]
fn a_contact_with_semicolons_in_its_client_ids_can_be_corrected() {
    let pair = pair();
    let folder = pair.folder.path();
    clients(&pair, "clients.csv", "C;1,R1,TRUST,One Trust,,\nC|2,R2,TRUST,Two Trust,,\n");
    let contacts = "source_id,client_source_id,roles,surname\n\
                    P1,C;1,TRUSTEE,\nP1,C|2,TRUSTEE;DIRECTOR,\n";
    fs::write(folder.join("contacts.csv"), contacts).unwrap();
    let mut import = pair.command("import", "manager");
    import.args(["clients.csv", "contacts.csv", "--failures", "failures.csv", "--json"]);
    let said = Said::of(&import.output().unwrap());
    assert_eq!(said.status, 2, "{said:?}");
    let id = text(&said.json()[0], "import_id");
    edit(&folder.join("failures.csv"), &folder.join("corrected.csv"), |_, column, value| {
        if column == "surname" { "Okafor".to_owned() } else { value.to_owned() }
    });
    let second = answer(&pair, "import", &["--retry", &id, "--corrected", "corrected.csv"]);
    assert_eq!((count(&second, "imported"), count(&second, "failed")), (3, 0), "{second:#}");
    for reference in ["ref:R1", "ref:R2"] {
        let shown = run(&pair, "show", &[reference]).out;
        assert!(shown.contains("Okafor"), "{shown}");
    }
}

#[test]
fn a_second_import_of_a_practice_waits_and_says_so() {
    let pair = pair();
    let mut rows = String::new();
    for n in 0..4_000 {
        writeln!(rows, "K{n},K{n},TRUST,Trust {n},,").unwrap();
    }
    let (long, short) =
        (clients(&pair, "long.csv", &rows), clients(&pair, "short.csv", "X1,X1,TRUST,A Trust,,\n"));
    let first = Background::start(pair.command("import", "manager").arg(&long));
    first.wait_for("err", "4000 records");
    wait_until("it is at work", || {
        let listed = answer(&pair, "imports list", &[]);
        let state = text(&listed["imports"][0], "state");
        ["RESOLVING", "APPLYING"].contains(&&*state).then_some(())
    });
    let second = run(&pair, "import", &[short.to_str().unwrap()]);
    assert_eq!(second.status, 0, "{second:?}");
    assert!(second.err.contains("It waits for imp_"), "{second:?}");
    assert_eq!(first.end().status, 0);
}
