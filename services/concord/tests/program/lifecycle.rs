//! How the program starts and how it ends.

use crate::running::{Background, Pair, Said, concord};

#[test]
fn a_service_that_is_asked_to_end_ends_well() {
    assert_eq!(Pair::start().terminate(), 0);
}

#[cfg(unix)]
#[test]
fn the_files_of_a_service_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let pair = Pair::start();
    let data = pair.folder.path().join("data");
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("records.db")), 0o600);
    assert_eq!(mode(&data.join("imports.db")), 0o600);
}

#[test]
fn an_address_that_others_can_reach_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = concord();
    let command = command.args(["serve", "records", "--records-listen", "0.0.0.0:0", "--data-dir"]);
    let said = Said::of(&command.arg(folder.path()).output().unwrap());
    assert_eq!(said.status, 1);
    assert!(said.err.contains("refusing to listen on 0.0.0.0"), "{said:?}");
}

#[test]
fn an_address_in_use_is_named() {
    let pair = Pair::start();
    let mut command = concord();
    let command =
        command.args(["serve", "records", "--records-listen", pair.records(), "--data-dir"]);
    let said = Said::of(&command.arg(pair.folder.path()).output().unwrap());
    assert_eq!(said.status, 1);
    assert!(said.err.contains(&format!("cannot listen on {}", pair.records())), "{said:?}");
}

#[test]
fn the_demonstration_shows_everything_and_ends() {
    let said = Said::of(&concord().args(["demo", "--exit"]).output().unwrap());
    assert_eq!(said.status, 0, "{said:?}");
    for part in [
        "Address Line 1 is missing",
        "Parent record was not found: C999",
        "349 changes, at the positions 1 to 349: none is missing",
        "buf curl",
    ] {
        assert!(said.out.contains(part), "{part} is not in\n{}", said.out);
    }
}

#[test]
fn the_demonstration_stays_up_until_it_is_asked_to_end() {
    let demo = Background::start(concord().arg("demo"));
    demo.wait_for("out", "until you press Ctrl-C");
    demo.terminate();
    assert_eq!(demo.end().status, 0);
}

#[test]
fn a_watch_that_is_ended_prints_where_to_go_on() {
    let pair = Pair::start();
    pair.connect("books");
    let watch = Background::start(&mut pair.command("watch", "books"));
    watch.wait_for("err", "listening after position 0");
    watch.terminate();
    let ended = watch.end();
    assert_eq!(ended.status, 0, "{ended:?}");
    let cursor = ended.err.lines().last().unwrap().rsplit(' ').next().unwrap();
    let mut resumed = pair.command("watch", "books");
    let said = Said::of(&resumed.args(["--cursor", cursor, "--until-idle", "1"]).output().unwrap());
    assert_eq!(said.status, 0, "{said:?}");
}
