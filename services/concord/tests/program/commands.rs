//! What people may get wrong, and what they are told.

use std::fs;

use crate::running::{Pair, Said, concord, sample};

fn run(args: &[&str]) -> Said {
    Said::of(&concord().args(args).output().unwrap())
}

#[test]
fn a_wrong_command_line_could_not_run() {
    let said = run(&["import"]);
    assert_eq!(said.status, 1, "2 says that records failed: {said:?}");
    assert_eq!(run(&["--help"]).status, 0);
    assert_eq!(run(&["--version"]).status, 0);
}

#[test]
fn a_practice_or_product_that_is_not_named_is_asked_for() {
    let folder = sample();
    let folder = folder.to_str().unwrap();
    assert!(run(&["import", folder, "--product", "manager"]).err.contains("--practice"));
    assert!(run(&["import", folder, "--practice", "p1"]).err.contains("--product"));
    assert!(run(&["connect", "books"]).err.contains("--practice"));
    assert!(run(&["watch", "--practice", "p1"]).err.contains("--product"));
}

#[test]
fn a_service_that_is_not_there_is_named() {
    let said = run(&["connect", "books", "--practice", "p1", "--records", "http://127.0.0.1:1"]);
    assert_eq!(said.status, 1);
    assert!(
        said.err.contains("cannot reach the records service at http://127.0.0.1:1"),
        "{said:?}"
    );
    assert!(!said.err.contains("Status {"), "{said:?}");
}

#[test]
fn only_an_owner_or_admin_of_a_connected_product_imports() {
    let pair = Pair::start();
    let stranger = pair.import("books", &sample(), &[]);
    assert_eq!(stranger.status, 1);
    assert!(stranger.err.contains("PRODUCT_NOT_CONNECTED"), "{stranger:?}");
    pair.connect("books");
    let staff = pair.import("books", &sample(), &["--roles", "staff"]);
    assert_eq!(staff.status, 1);
    assert!(staff.err.contains("needs one of the roles owner, admin"), "{staff:?}");
}

#[test]
fn a_broken_file_stops_the_import_before_it_begins() {
    let pair = Pair::start();
    pair.connect("manager");
    let files = pair.folder.path().join("files");
    fs::create_dir(&files).unwrap();
    fs::copy(sample().join("clients.csv"), files.join("clients.csv")).unwrap();
    fs::write(files.join("contacts.csv"), "source_id,client_source_id,roles,surname\nP1,C1\n")
        .unwrap();
    let said = pair.import("manager", &files, &[]);
    assert_eq!(said.status, 1);
    assert!(said.err.contains("contacts.csv, line 2: 2 values, and the heading has 4"), "{said:?}");
    assert!(said.out.is_empty());
    assert!(pair.heard("manager", &["--echo", "include"]).is_empty());
}

#[test]
fn an_import_without_failures_ends_with_zero_and_writes_no_file() {
    let pair = Pair::start();
    pair.connect("manager");
    let file = pair.folder.path().join("one.csv");
    fs::write(
        &file,
        "source_id,client_reference,client_type,registered_name\nC1,R1,TRUST,A Trust\n",
    )
    .unwrap();
    let said = pair.import("manager", &file, &[]);
    assert_eq!(said.status, 0, "{said:?}");
    assert!(said.json()[0]["failures_file"].is_null());
    let left = fs::read_dir(pair.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().starts_with("failures")));
    let heard = pair.heard("manager", &["--echo", "include", "--kind", "client"]);
    assert_eq!(heard[0]["name"], "A Trust");
    assert_eq!(heard[0]["client_reference"], "R1");
}

#[test]
fn a_cursor_of_another_feed_is_refused_in_words() {
    let pair = Pair::start();
    pair.connect("books");
    let said =
        Said::of(&pair.command("watch", "books").args(["--cursor", "nonsense"]).output().unwrap());
    assert_eq!(said.status, 1);
    assert!(said.err.contains("CURSOR_FOREIGN"), "{said:?}");
}
