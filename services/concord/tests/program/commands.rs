//! Usage errors, and their messages.

use std::fs;

use crate::running::{CommandOutput, Services, concord, sample};

fn run(args: &[&str]) -> CommandOutput {
    CommandOutput::of(concord().args(args))
}

#[test]
fn usage_error_exits_with_1() {
    let output = run(&["import"]);
    assert_eq!(output.status, 1, "2 means that records failed: {output:?}");
    assert_eq!(run(&["--help"]).status, 0);
    assert_eq!(run(&["--version"]).status, 0);
}

#[test]
fn missing_practice_or_product_error_names_the_option() {
    let folder = sample();
    let folder = folder.to_str().unwrap();
    assert!(run(&["import", folder, "--product", "manager"]).err.contains("--practice"));
    assert!(run(&["import", folder, "--practice", "p1"]).err.contains("--product"));
    assert!(run(&["connect", "books"]).err.contains("--practice"));
    assert!(run(&["watch", "--practice", "p1"]).err.contains("--product"));
}

#[test]
fn unreachable_service_error_has_its_url() {
    let output = run(&["connect", "books", "--practice", "p1", "--records", "http://127.0.0.1:1"]);
    assert_eq!(output.status, 1);
    assert!(
        output.err.contains("cannot reach the records service at http://127.0.0.1:1"),
        "{output:?}"
    );
    assert!(!output.err.contains("Status {"), "{output:?}");
}

#[test]
fn import_requires_owner_or_admin_of_a_connected_product() {
    let services = Services::start();
    let stranger = services.import("books", &sample(), &[]);
    assert_eq!(stranger.status, 1);
    assert!(stranger.err.contains("PRODUCT_NOT_CONNECTED"), "{stranger:?}");
    services.connect("books");
    let staff = services.import("books", &sample(), &["--roles", "staff"]);
    assert_eq!(staff.status, 1);
    assert!(staff.err.contains("needs one of the roles owner, admin"), "{staff:?}");
}

#[test]
fn invalid_file_fails_before_the_import_starts() {
    let services = Services::with(&["manager"]);
    let files = services.folder.path().join("files");
    fs::create_dir(&files).unwrap();
    fs::copy(sample().join("clients.csv"), files.join("clients.csv")).unwrap();
    fs::write(files.join("contacts.csv"), "source_id,client_source_id,roles,surname\nP1,C1\n")
        .unwrap();
    let output = services.import("manager", &files, &[]);
    assert_eq!(output.status, 1);
    assert!(
        output.err.contains("contacts.csv, line 2: 2 values, and the heading has 4"),
        "{output:?}"
    );
    assert!(output.out.is_empty());
    assert!(services.events("manager", &["--echo", "include"]).is_empty());
}

#[test]
fn import_without_failures_exits_with_0_and_writes_no_file() {
    let services = Services::with(&["manager"]);
    let file = services.folder.path().join("one.csv");
    fs::write(
        &file,
        "source_id,client_reference,client_type,registered_name\nC1,R1,TRUST,A Trust\n",
    )
    .unwrap();
    let output = services.import("manager", &file, &[]);
    assert_eq!(output.status, 0, "{output:?}");
    assert!(output.json()[0]["failures_file"].is_null());
    let left =
        fs::read_dir(services.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().starts_with("failures")));
    let events = services.events("manager", &["--echo", "include", "--kind", "client"]);
    assert_eq!(events[0]["name"], "A Trust");
    assert_eq!(events[0]["client_reference"], "R1");
}
