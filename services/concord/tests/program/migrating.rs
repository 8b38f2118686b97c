//! `concord migrate`, `concord post-restore`, and `--no-migrate`.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Stdio};

use crate::running::{CommandOutput, concord};

fn run(arguments: &[&str], data: &Path) -> CommandOutput {
    let mut command = concord();
    command.args(arguments).arg("--data-dir").arg(data).env("CONCORD_LOG", "warn");
    CommandOutput::of(command.stdin(Stdio::null()))
}

const SERVE: &[&str] =
    &["serve", "--records-listen", "127.0.0.1:0", "--imports-listen", "127.0.0.1:0"];

#[test]
fn migrate_applies_migrations_once() {
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
fn no_migrate_does_not_start_on_an_older_schema() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let refused = run(&[SERVE, &["--no-migrate"]].concat(), &data);
    assert_eq!(refused.status, 1);
    assert!(refused.err.contains("the database of the records service"), "{}", refused.err);
    assert!(refused.err.contains("run `concord migrate`"), "{}", refused.err);
}

#[test]
fn grant_to_is_rejected_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let refused = run(&["migrate", "--grant-to", "concord"], folder.path());
    assert_eq!(refused.status, 1);
    assert!(refused.err.contains("leave --grant-to out"), "{}", refused.err);
}

#[test]
fn migrated_files_are_accessible_to_their_owner_only() {
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
fn post_restore_renews_feeds_and_leases() {
    let folder = tempfile::tempdir().unwrap();
    let refused = run(&["post-restore", "records"], folder.path());
    assert_eq!(refused.status, 1);
    assert!(refused.err.contains("run `concord migrate`"), "{}", refused.err);
    run(&["migrate"], folder.path());
    // The second name is the alias for scripts that were written before.
    for command in ["post-restore", "restored"] {
        let renewed = run(&[command], folder.path());
        assert_eq!(renewed.status, 0, "{}", renewed.err);
        assert!(renewed.out.starts_with("records: 0 feeds start a new epoch"), "{}", renewed.out);
        assert!(renewed.out.contains("imports: 0 unfinished imports"), "{}", renewed.out);
    }
}

#[test]
fn version_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let output = CommandOutput::of(concord().current_dir(folder.path()).arg("--version"));
    assert_eq!(output.out.trim(), format!("concord {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn invalid_database_url_error_names_the_option_without_the_url() {
    let folder = tempfile::tempdir().unwrap();
    for url in ["mysql://u:S3CRET@db/records", "postgres://u:S3CRET@db:port/records", "S3CRET"] {
        for (command, option) in [(&["migrate"][..], "--records-db"), (SERVE, "--imports-db")] {
            let refused = run(&[command, &[option, url]].concat(), folder.path());
            let printed = format!("{}{}", refused.out, refused.err);
            assert_eq!(refused.status, 1, "{printed}");
            assert!(printed.contains(&format!("the URL in {option} (CONCORD_")), "{printed}");
            assert!(!printed.contains("S3CRET"), "{printed}");
        }
        let mut command = concord();
        command.args(["migrate", "records"]).env("CONCORD_RECORDS_DB", url);
        let refused = CommandOutput::of(command.current_dir(folder.path()));
        assert_eq!(refused.status, 1, "{}", refused.err);
        assert!(!refused.err.contains("S3CRET"), "{}", refused.err);
    }
}

#[test]
fn invalid_otlp_endpoint_error_does_not_contain_the_url() {
    let folder = tempfile::tempdir().unwrap();
    let url = "http://u:S3CRET@col lector/";
    let refused = run(&[SERVE, &["--otlp-endpoint", url]].concat(), folder.path());
    assert_eq!(refused.status, 1);
    assert!(refused.err.contains("--otlp-endpoint"), "{}", refused.err);
    assert!(!refused.err.contains("S3CRET"), "{}", refused.err);
}
