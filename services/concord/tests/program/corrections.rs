//! Failures files that users corrected and spreadsheets converted.

use std::{fmt::Write as _, fs, path::PathBuf};

use chrono::NaiveDate;

use crate::{
    process::wait_until,
    rounds::{answer, count, counter, edit, imported, run, services, text},
    running::{Background, CommandOutput, Services},
};

const HEADING: &str = "source_id,client_reference,client_type,registered_name,company_number,phone";

/// Writes a file of clients.
fn clients(services: &Services, name: &str, rows: &str) -> PathBuf {
    let path = services.folder.path().join(name);
    fs::write(&path, format!("{HEADING}\n{rows}")).unwrap();
    path
}

/// The value as a spreadsheet converts it: a number loses its leading zeros.
fn as_number(value: &str) -> String {
    value.parse::<u64>().map_or_else(|_| value.to_owned(), |number| number.to_string())
}

#[test]
fn lost_leading_zeros_are_reported_and_restored() {
    let services = services();
    let rows = "007,R007,PRIVATE_LIMITED_COMPANY,,07687209,02079460000\n\
                008,R008,PRIVATE_LIMITED_COMPANY,,,\n";
    let file = clients(&services, "clients.csv", rows);
    let output = services.import("manager", &file, &["--failures", "failures.csv"]);
    let (id, folder) = (text(&output.json()[0], "id"), services.folder.path());
    edit(
        &folder.join("failures.csv"),
        &folder.join("corrected.csv"),
        |source_id, column, value| match (source_id, column) {
            ("007", "registered_name") => "Seven Limited".to_owned(),
            _ => as_number(value),
        },
    );
    let output = run(&services, "import", &["--retry", &id, "--corrected", "corrected.csv"]);
    assert_eq!(output.status, 2, "{output:?}");
    output.assert_reports(&[
        "line 2, source_id: `007` was changed to `7`",
        "line 2, company_number: `07687209` was changed to `7687209`",
        "line 2, phone: `02079460000` was changed to `2079460000`",
        "line 3, source_id: `008` was changed to `8`",
        "Format such columns as text",
        "1 corrected records",
    ]);
    let shown = run(&services, "show", &["ref:R007"]).out;
    assert!(shown.contains("07687209") && shown.contains("02079460000"), "{shown}");
    // The record keeps its id with the zeros, so that the next import skips it.
    let rows = "007,R007,PRIVATE_LIMITED_COMPANY,Seven Limited,07687209,02079460000\n";
    let again = clients(&services, "again.csv", rows);
    let again = services.import("manager", &again, &[]).json().remove(0);
    assert_eq!((counter(&again, "skipped"), counter(&again, "failed")), (1, 0), "{again:#}");
}

#[test]
fn converted_dates_are_reported_and_keep_their_value() {
    let services = services();
    let folder = services.folder.path();
    clients(&services, "clients.csv", "C1,R1,TRUST,One Trust,,\n");
    let addresses = "source_id,owner_kind,owner_source_id,type,line_1,active_from\n\
                     A1,client,C1,TRADING,,2021-03-01\n";
    fs::write(folder.join("addresses.csv"), addresses).unwrap();
    let id = failed(&services, &["clients.csv", "addresses.csv"]);
    let british = |value: &str| {
        let day = value.parse::<NaiveDate>();
        day.map_or_else(|_| value.to_owned(), |day| day.format("%d/%m/%Y").to_string())
    };
    edit(&folder.join("failures.csv"), &folder.join("corrected.csv"), |_, column, value| {
        if column == "line_1" { "1 Quay Street".to_owned() } else { british(value) }
    });
    let output = run(&services, "import", &["--retry", &id, "--corrected", "corrected.csv"]);
    assert_eq!(output.status, 0, "{output:?}");
    let expected = "line 2, active_from: `2021-03-01` was changed to `01/03/2021`";
    assert!(output.err.contains(expected), "{output:?}");
    let shown = run(&services, "show", &["ref:R1"]).out;
    assert!(shown.contains("1 Quay Street") && shown.contains("2021-03-01"), "{shown}");
}

/// Imports files with failing records, and writes `failures.csv`. Returns the import id.
fn failed(services: &Services, files: &[&str]) -> String {
    let mut import = services.command("import", "manager");
    import.args(files).args(["--failures", "failures.csv", "--json"]);
    let output = CommandOutput::of(&mut import);
    assert_eq!(output.status, 2, "{output:?}");
    text(&output.json()[0], "id")
}

#[test]
fn file_of_another_import_is_rejected() {
    let services = services();
    let first = imported(&services, &["--failures", "first.csv"]);
    let second = imported(&services, &["--failures", "second.csv"]);
    let output = run(&services, "import", &["--retry", &second, "--corrected", "first.csv"]);
    assert_eq!(output.status, 1, "{output:?}");
    let both = format!("from the failures file of {first}, and {second} is retried");
    assert!(output.err.contains(&both), "{output:?}");
    assert_eq!(count(&answer(&services, "imports show", &[&second]), "round"), 1);
}

#[test]
fn changed_row_of_a_record_that_did_not_fail_is_omitted() {
    let services = services();
    let folder = services.folder.path();
    let rows = "C1,R1,TRUST,,,\nC2,R2,SELF_ASSESSMENT,Two,,\n";
    clients(&services, "clients.csv", rows);
    let id = failed(&services, &["clients.csv"]);
    edit(&folder.join("failures.csv"), &folder.join("corrected.csv"), |id, column, value| {
        match (id, column) {
            ("C2", "registered_name") => "Changed Limited".to_owned(),
            _ => value.to_owned(),
        }
    });
    let output = run(&services, "import", &["--retry", &id, "--corrected", "corrected.csv"]);
    assert!(output.err.contains("they did not fail: 1 records: client C2"), "{output:?}");
    assert!(output.err.contains("nothing was changed in the file"), "{output:?}");
    let found = run(&services, "find", &["Changed Limited"]);
    assert!(!found.out.contains("Changed Limited"), "{found:?}");
}

#[test]
fn id_change_requires_its_column_to_be_marked() {
    let services = services();
    let id = imported(&services, &["--failures", "failures.csv"]);
    let folder = services.folder.path();
    // Overwrites the id of a failed record with C001, which was imported.
    let save = |name: &str, new_id: &str, mark: &str| {
        edit(&folder.join("failures.csv"), &folder.join(name), |source_id, column, value| {
            match (source_id, column) {
                ("C058", "source_id") => new_id.to_owned(),
                ("C058", "registered_name") => "Changed Limited".to_owned(),
                ("C058", "changed") => mark.to_owned(),
                _ => value.to_owned(),
            }
        });
    };
    save("typed.csv", "C001", "");
    let refused = run(&services, "import", &["--retry", &id, "--corrected", "typed.csv"]);
    assert_eq!(refused.status, 1, "{refused:?}");
    refused.assert_reports(&[
        "source_id: `C058` was changed to `C001`",
        "write `source_id` into the column `changed`",
    ]);
    assert_eq!(count(&answer(&services, "imports show", &[&id]), "round"), 1);
    save("meant.csv", "C901", "source_id");
    let second = answer(&services, "import", &["--retry", &id, "--corrected", "meant.csv"]);
    // Its contact and its address depend on C058, which does not exist any more.
    assert_eq!(counter(&second, "imported"), 350, "{second:#}");
    let shown = run(&services, "show", &["ext:manager/main/C901"]).out;
    assert!(shown.contains("Changed Limited"), "{shown}");
}

#[test]
fn converted_source_id_equal_to_another_id_is_restored() {
    let services = services();
    let folder = services.folder.path();
    clients(&services, "clients.csv", "C1,R1,PRIVATE_LIMITED_COMPANY,Company 1 Limited,,\n");
    let contacts = "source_id,client_source_id,roles,forename,surname,birth_date\n\
                    1.1,C1,,Sam,Marrow,1960-01-01\n1.10,C1,,Jo,Thyme,1980-02-02\n";
    fs::write(folder.join("contacts.csv"), contacts).unwrap();
    let addresses = "source_id,owner_kind,owner_source_id,type,line_1\n\
                     A1,contact,1.1,RESIDENTIAL,Marrow House\n\
                     A2,contact,1.10,RESIDENTIAL,Thyme House\n";
    fs::write(folder.join("addresses.csv"), addresses).unwrap();
    let id = failed(&services, &["clients.csv", "contacts.csv", "addresses.csv"]);
    edit(&folder.join("failures.csv"), &folder.join("corrected.csv"), |id, column, value| {
        match (id, column, value) {
            (_, "source_id" | "owner_source_id", "1.10") => "1.1".to_owned(),
            ("1.10", "roles", _) => "DIRECTOR".to_owned(),
            _ => value.to_owned(),
        }
    });
    let output =
        run(&services, "import", &["--retry", &id, "--corrected", "corrected.csv", "--json"]);
    let second = output.json().remove(0);
    assert_eq!((counter(&second, "imported"), counter(&second, "failed")), (3, 2), "{output:?}");
    output.assert_reports(&[
        "source_id: `1.10` was changed to `1.1`",
        "owner_source_id: `1.10` was changed to `1.1`",
    ]);
    let left = answer(&services, "imports failures", &[&id]);
    let left: Vec<_> =
        left["failures"].as_array().unwrap().iter().map(|one| text(one, "source_id")).collect();
    assert_eq!(left, ["1.1", "A1"]);
    let shown = run(&services, "show", &["ref:R1"]).out;
    assert!(shown.contains("Jo Thyme") && !shown.contains("Marrow"), "{shown}");
}

#[test]
fn converted_references_and_names_are_restored() {
    let services = services();
    let folder = services.folder.path();
    let rows = "C1,DEC1,PRIVATE_LIMITED_COMPANY,,,\nC2,5E2,OTHER,,,\nC3,3/4,OTHER,Séamus Ó Néill,123456789,\n";
    clients(&services, "clients.csv", rows);
    let id = failed(&services, &["clients.csv"]);
    edit(&folder.join("failures.csv"), &folder.join("corrected.csv"), |id, column, value| {
        match (id, column, value) {
            (_, "client_reference", "DEC1") => "01-Dec".to_owned(),
            (_, "client_reference", "5E2") => "5.00E+02".to_owned(),
            (_, "client_reference", "3/4") => "03-Apr".to_owned(),
            ("C1", "registered_name", _) => "Fixed One Ltd".to_owned(),
            ("C2", "registered_name", _) => "Fixed Two Ltd".to_owned(),
            ("C3", "company_number", _) => String::new(),
            // UTF-8, decoded as ISO 8859-1.
            _ => value.bytes().map(char::from).collect(),
        }
    });
    let output = run(&services, "import", &["--retry", &id, "--corrected", "corrected.csv"]);
    assert_eq!(output.status, 0, "{output:?}");
    output.assert_reports(&[
        "client_reference: `DEC1` was changed to `01-Dec`",
        "client_reference: `5E2` was changed to `5.00E+02`",
        "client_reference: `3/4` was changed to `03-Apr`",
        "registered_name: `Séamus Ó Néill` was changed to `SÃ©amus",
        "3 corrected records",
    ]);
    for (reference, name) in
        [("DEC1", "Fixed One Ltd"), ("5E2", "Fixed Two Ltd"), ("3/4", "Séamus Ó Néill")]
    {
        let shown = run(&services, "show", &[&format!("ref:{reference}")]).out;
        assert!(shown.contains(name), "{reference}: {shown}");
    }
}

#[test]
fn rows_without_valid_token_are_all_reported_and_nothing_is_sent() {
    let services = services();
    let folder = services.folder.path();
    clients(&services, "clients.csv", "C1,R1,TRUST,,,\nC2,R2,TRUST,,,\nC3,R3,TRUST,,,\n");
    let id = failed(&services, &["clients.csv"]);
    edit(&folder.join("failures.csv"), &folder.join("corrected.csv"), |id, column, value| {
        match (id, column) {
            ("C1", "token") => String::new(),
            ("C2", "token") => value.chars().rev().collect(),
            (_, "registered_name") => format!("{id} Limited"),
            _ => value.to_owned(),
        }
    });
    let output = run(&services, "import", &["--retry", &id, "--corrected", "corrected.csv"]);
    assert_eq!(output.status, 1, "{output:?}");
    output.assert_reports(&[
        "nothing was sent",
        "line 2, token: it is missing",
        "line 3, token: `",
    ]);
    assert!(!output.err.contains("line 4"), "{output:?}");
    assert_eq!(count(&answer(&services, "imports show", &[&id]), "round"), 1);
}

#[test]
fn missing_source_id_can_be_set_in_the_file() {
    let services = services();
    let folder = services.folder.path();
    clients(&services, "clients.csv", ",R1,TRUST,One Trust,,\n,R2,TRUST,Two Trust,,\n");
    let id = failed(&services, &["clients.csv"]);
    let file = fs::read(folder.join("failures.csv")).unwrap();
    assert!(file.starts_with("\u{feff}status,".as_bytes()));
    // Both rows are identified by their token alone.
    let number = std::cell::Cell::new(0);
    edit(&folder.join("failures.csv"), &folder.join("corrected.csv"), |_, column, value| {
        if column != "source_id" {
            return value.to_owned();
        }
        number.set(number.get() + 1);
        format!("C{}", number.get())
    });
    let second = answer(&services, "import", &["--retry", &id, "--corrected", "corrected.csv"]);
    assert_eq!((counter(&second, "imported"), counter(&second, "failed")), (2, 0), "{second:#}");
    assert_eq!(counter(&second, "received"), 2);
    for (source_id, name) in [("C1", "One Trust"), ("C2", "Two Trust")] {
        let shown = run(&services, "show", &[&format!("ext:manager/main/{source_id}")]).out;
        assert!(shown.contains(name), "{shown}");
    }
}

#[test]
fn rows_of_a_record_are_merged() {
    let services = services();
    let folder = services.folder.path();
    clients(&services, "clients.csv", "C1,R1,PRIVATE_LIMITED_COMPANY,,123456789,\n");
    let id = failed(&services, &["clients.csv"]);
    // Each row is corrected for its own reason.
    let rows = fs::read_to_string(folder.join("failures.csv")).unwrap().lines().count() - 1;
    assert_eq!(rows, 2);
    let correct = |name: &str, corrected: &str, value: &'static str| {
        edit(&folder.join("failures.csv"), &folder.join(name), |_, column, was| {
            if column == corrected { value.to_owned() } else { was.to_owned() }
        });
    };
    correct("one.csv", "registered_name", "One Limited");
    correct("other.csv", "company_number", "07687209");
    let args = ["--retry", &id, "--corrected", "one.csv", "other.csv"];
    let second = answer(&services, "import", &args);
    assert_eq!((counter(&second, "imported"), counter(&second, "failed")), (1, 0), "{second:#}");
    let shown = run(&services, "show", &["ref:R1"]).out;
    assert!(shown.contains("One Limited") && shown.contains("07687209"), "{shown}");
}

#[test]
fn stray_quotes_are_rejected_and_valid_quotes_are_read() {
    let services = services();
    let rows = "C1,R1,OTHER,One Ltd,,\nC2,R2,OTHER,\"Big Shed Ltd,,\nC3,R3,OTHER,Three Ltd,,\n\
                C4,R4,OTHER,\"Fourth Ltd,,\nC5,R5,OTHER,Five Ltd,,\n";
    let file = clients(&services, "clients.csv", rows);
    let refused = run(&services, "import", &[file.to_str().unwrap()]);
    assert_eq!(refused.status, 1, "{refused:?}");
    refused.assert_reports(&[
        "line 3: a quote is opened",
        "line 4",
        "line 5: a quote is opened",
        "doubled",
    ]);
    assert!(run(&services, "imports list", &[]).err.contains("there are no such imports"));
    let rows = "C1,R1,OTHER,\"\"\"A\"\" CERAMICS, LIMITED\",,\nC2,R2,OTHER,5\" Pipe Ltd,,\n";
    let file = clients(&services, "good.csv", rows);
    assert_eq!(services.import("manager", &file, &[]).status, 0);
    for (reference, name) in [("R1", "\"A\" CERAMICS, LIMITED"), ("R2", "5\" Pipe Ltd")] {
        let shown = run(&services, "show", &[&format!("ref:{reference}")]).out;
        assert!(shown.contains(name), "{shown}");
    }
}

#[test]
fn contact_with_separators_in_client_ids_can_be_corrected() {
    let services = services();
    let folder = services.folder.path();
    clients(&services, "clients.csv", "C;1,R1,TRUST,One Trust,,\nC|2,R2,TRUST,Two Trust,,\n");
    let contacts = "source_id,client_source_id,roles,surname\n\
                    P1,C;1,TRUSTEE,\nP1,C|2,TRUSTEE;DIRECTOR,\n";
    fs::write(folder.join("contacts.csv"), contacts).unwrap();
    let id = failed(&services, &["clients.csv", "contacts.csv"]);
    edit(&folder.join("failures.csv"), &folder.join("corrected.csv"), |_, column, value| {
        if column == "surname" { "Okafor".to_owned() } else { value.to_owned() }
    });
    let second = answer(&services, "import", &["--retry", &id, "--corrected", "corrected.csv"]);
    assert_eq!((counter(&second, "imported"), counter(&second, "failed")), (3, 0), "{second:#}");
    for reference in ["ref:R1", "ref:R2"] {
        let shown = run(&services, "show", &[reference]).out;
        assert!(shown.contains("Okafor"), "{shown}");
    }
}

#[test]
fn second_import_of_a_practice_waits_and_reports_it() {
    let services = services();
    let mut rows = String::new();
    for n in 0..4_000 {
        writeln!(rows, "K{n},K{n},TRUST,Trust {n},,").unwrap();
    }
    let (long, short) = (
        clients(&services, "long.csv", &rows),
        clients(&services, "short.csv", "X1,X1,TRUST,A Trust,,\n"),
    );
    let first = Background::start(services.command("import", "manager").arg(&long));
    first.wait_for("err", "4000 records");
    wait_until("the import is running", || {
        let listed = answer(&services, "imports list", &[]);
        let state = text(&listed["imports"][0], "state");
        ["resolving", "applying"].contains(&&*state).then_some(())
    });
    let second = run(&services, "import", &[short.to_str().unwrap()]);
    assert_eq!(second.status, 0, "{second:?}");
    assert!(second.err.contains("It waits for imp_"), "{second:?}");
    assert_eq!(first.end().status, 0);
}
