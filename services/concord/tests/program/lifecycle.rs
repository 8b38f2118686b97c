//! Startup and shutdown of the program.

use crate::running::{Background, CommandOutput, Services, concord};

#[test]
fn services_exit_with_0_on_sigterm() {
    assert_eq!(Services::start().terminate(), 0);
}

#[cfg(unix)]
#[test]
fn data_files_are_accessible_to_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let services = Services::start();
    let data = services.folder.path().join("data");
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("records.db")), 0o600);
    assert_eq!(mode(&data.join("imports.db")), 0o600);
}

#[test]
fn non_loopback_address_without_keys_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = concord();
    let command = command.args(["serve", "records", "--records-listen", "0.0.0.0:0", "--data-dir"]);
    let output = CommandOutput::of(command.arg(folder.path()));
    assert_eq!(output.status, 1);
    assert!(output.err.contains("refusing to listen on 0.0.0.0"), "{output:?}");
}

#[test]
fn address_in_use_error_has_the_address() {
    let services = Services::start();
    let mut command = concord();
    let command =
        command.args(["serve", "records", "--records-listen", services.records(), "--data-dir"]);
    let output = CommandOutput::of(command.arg(services.folder.path()));
    assert_eq!(output.status, 1);
    assert!(output.err.contains(&format!("cannot listen on {}", services.records())), "{output:?}");
}

#[test]
fn demo_prints_all_steps_and_exits() {
    let output = CommandOutput::of(concord().args(["demo", "--exit"]));
    assert_eq!(output.status, 0, "{output:?}");
    for part in [
        "Address Line 1 is missing",
        "Parent record was not found: C999",
        "349 changes, at the positions 1 to 349: none is missing",
        "buf curl",
    ] {
        assert!(output.out.contains(part), "{part} is not in\n{}", output.out);
    }
}

#[test]
fn demo_runs_until_sigterm() {
    let demo = Background::start(concord().arg("demo"));
    demo.wait_for("out", "until you press Ctrl-C");
    demo.terminate();
    assert_eq!(demo.end().status, 0);
}

#[test]
fn stopped_watch_prints_the_resume_cursor() {
    let services = Services::with(&["books"]);
    let watch = Background::start(&mut services.command("watch", "books"));
    watch.wait_for("err", "listening after position 0");
    watch.terminate();
    let ended = watch.end();
    assert_eq!(ended.status, 0, "{ended:?}");
    let cursor = ended.err.lines().last().unwrap().rsplit(' ').next().unwrap();
    let mut resumed = services.command("watch", "books");
    let output = CommandOutput::of(resumed.args(["--cursor", cursor, "--until-idle", "1"]));
    assert_eq!(output.status, 0, "{output:?}");
}
