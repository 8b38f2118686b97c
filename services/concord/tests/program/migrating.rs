//! `concord migrate`, and a start that leaves the tables alone.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Stdio};

use crate::running::{Said, concord};

fn run(arguments: &[&str], data: &Path) -> Said {
    let mut command = concord();
    command.args(arguments).arg("--data-dir").arg(data).env("CONCORD_LOG", "warn");
    Said::of(&command.stdin(Stdio::null()).output().unwrap())
}

const SERVE: &[&str] =
    &["serve", "--records-listen", "127.0.0.1:0", "--imports-listen", "127.0.0.1:0"];

#[test]
fn tables_are_brought_up_to_date_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let first = run(&["migrate"], &data);
    assert_eq!(first.status, 0, "{}", first.err);
    assert!(first.out.contains("records: brought up to date with concord "), "{}", first.out);
    assert!(first.out.contains("imports: brought up to date with concord "), "{}", first.out);
    let second = run(&["migrate", "records"], &data);
    assert_eq!(second.out.lines().count(), 1, "{}", second.out);
    assert!(second.out.contains("records: up to date with concord "), "{}", second.out);
}

#[test]
fn without_migrations_it_does_not_start_on_older_tables() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let refused = run(&[SERVE, &["--no-migrate"]].concat(), &data);
    assert_eq!(refused.status, 1);
    assert!(refused.err.contains("the database of the records service"), "{}", refused.err);
    assert!(refused.err.contains("run `concord migrate`"), "{}", refused.err);
}

#[test]
fn rights_are_granted_on_postgresql_alone() {
    let folder = tempfile::tempdir().unwrap();
    let refused = run(&["migrate", "--grant-to", "concord"], folder.path());
    assert_eq!(refused.status, 1);
    assert!(refused.err.contains("leave --grant-to out"), "{}", refused.err);
}

#[test]
fn the_files_are_their_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    assert_eq!(run(&["migrate"], &data).status, 0);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for file in fs::read_dir(&data).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn after_a_restore_the_feeds_begin_anew() {
    let folder = tempfile::tempdir().unwrap();
    let refused = run(&["restored", "records"], folder.path());
    assert_eq!(refused.status, 1);
    assert!(refused.err.contains("run `concord migrate`"), "{}", refused.err);
    run(&["migrate"], folder.path());
    let renewed = run(&["restored"], folder.path());
    assert_eq!(renewed.status, 0, "{}", renewed.err);
    assert!(renewed.out.starts_with("records: 0 feeds begin a new epoch"), "{}", renewed.out);
    assert!(renewed.out.contains("imports: 0 imports that have not ended"), "{}", renewed.out);
}

#[test]
fn the_program_says_its_version() {
    let folder = tempfile::tempdir().unwrap();
    let said = Said::of(&concord().current_dir(folder.path()).arg("--version").output().unwrap());
    assert_eq!(said.out.trim(), format!("concord {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_url_that_cannot_be_used_is_named_by_its_option_and_not_printed() {
    let folder = tempfile::tempdir().unwrap();
    for url in ["mysql://u:S3CRET@db/records", "postgres://u:S3CRET@db:port/records", "S3CRET"] {
        for (command, option) in [(&["migrate"][..], "--records-db"), (SERVE, "--imports-db")] {
            let refused = run(&[command, &[option, url]].concat(), folder.path());
            let told = format!("{}{}", refused.out, refused.err);
            assert_eq!(refused.status, 1, "{told}");
            assert!(told.contains(&format!("the URL in {option} (CONCORD_")), "{told}");
            assert!(!told.contains("S3CRET"), "{told}");
        }
        let mut command = concord();
        command.args(["migrate", "records"]).env("CONCORD_RECORDS_DB", url);
        let refused = Said::of(&command.current_dir(folder.path()).output().unwrap());
        assert_eq!(refused.status, 1, "{}", refused.err);
        assert!(!refused.err.contains("S3CRET"), "{}", refused.err);
    }
}

#[test]
fn the_url_of_a_collector_is_not_printed() {
    let folder = tempfile::tempdir().unwrap();
    let url = "http://u:S3CRET@col lector/";
    let refused = run(&[SERVE, &["--otlp-endpoint", url]].concat(), folder.path());
    assert_eq!(refused.status, 1);
    assert!(refused.err.contains("--otlp-endpoint"), "{}", refused.err);
    assert!(!refused.err.contains("S3CRET"), "{}", refused.err);
}
