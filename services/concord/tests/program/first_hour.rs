//! What goes wrong in the first hour: one line that names the cause and the remedy.

use std::{fs, path::Path};

use crate::{
    process::wait_until,
    running::{Background, Pair, Said, concord},
};

/// The only line that a command has said, after it could not run.
fn told(said: &Said) -> &str {
    assert_eq!(said.status, 1, "{said:?}");
    assert!(said.out.is_empty(), "{said:?}");
    let [line] = said.err.lines().collect::<Vec<_>>()[..] else { panic!("{said:?}") };
    line
}

fn run(args: &[&str]) -> Said {
    Said::of(&concord().args(args).output().unwrap())
}

/// A search of `manager` in the practice `p1`.
fn find(args: &[&str]) -> Said {
    run(&[&["find", "otter", "--practice", "p1", "--product", "manager"][..], args].concat())
}

fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap()
}

/// The files of `concord keys`, for this machine.
fn keys(folder: &Path) {
    let mut command = concord();
    command.arg("keys").arg(folder).args(["--host", "localhost", "--client", "manager"]);
    assert!(command.output().unwrap().status.success());
}

fn tls(folder: &Path) -> [String; 4] {
    let file = |name: &str| folder.join(name).display().to_string();
    ["--tls-cert".to_owned(), file("server.pem"), "--tls-key".to_owned(), file("server-key.pem")]
}

#[test]
fn a_url_without_a_scheme_is_refused_with_the_right_one() {
    let said = find(&["--records", "127.0.0.1:50051"]);
    let line = told(&said);
    assert!(line.contains("--records: `127.0.0.1:50051` has no scheme"), "{line}");
    assert!(line.contains("write http://127.0.0.1:50051"), "{line}");
    let folder = tempfile::tempdir().unwrap();
    let mut serve = concord();
    serve.args(["serve", "imports", "--imports-listen", "127.0.0.1:0", "--records", "records:1"]);
    let said = Said::of(&serve.arg("--data-dir").arg(folder.path()).output().unwrap());
    assert_eq!(said.status, 1);
    let line = said.err.lines().last().unwrap();
    assert!(
        line.contains("(--records): `records:1` has no scheme: write http://records:1"),
        "{line}"
    );
}

#[test]
fn a_service_that_does_not_run_is_named_once() {
    let said = find(&["--records", "http://127.0.0.1:1"]);
    let line = told(&said);
    assert!(line.contains("cannot reach the records service at http://127.0.0.1:1: "), "{line}");
    assert!(line.contains("does `concord serve` run there"), "{line}");
    assert_eq!(line.matches("efused").count(), 1, "{line}");
}

#[test]
fn services_that_are_exchanged_are_suspected() {
    let pair = Pair::start();
    pair.connect("manager");
    let (records, imports) = (pair.records(), pair.imports());
    let said = find(&["--records", &format!("http://{imports}")]);
    assert!(told(&said).contains("are --records and --imports exchanged"), "{said:?}");
    let mut list = concord();
    list.args(["imports", "list", "--practice", "p1", "--product", "manager"]);
    let said = list.args(["--imports", &format!("http://{records}")]).output().unwrap();
    let said = Said::of(&said);
    assert!(told(&said).contains("are --records and --imports exchanged"), "{said:?}");
    // The imports service says it in its log.
    let folder = tempfile::tempdir().unwrap();
    let mut serve = concord();
    serve.args(["serve", "imports", "--imports-listen", "127.0.0.1:0"]);
    serve.args(["--imports-metrics-listen", "off", "--records", &format!("http://{imports}")]);
    let serve = Background::start(serve.arg("--data-dir").arg(folder.path()));
    serve.wait_for("err", "another service answers there");
    serve.kill();
}

#[test]
fn tls_at_one_side_alone_is_told() {
    let folder = tempfile::tempdir().unwrap();
    keys(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let plain = Pair::start();
    let said = find(&["--records", &format!("https://{}", plain.records())]);
    let line = told(&said);
    assert!(line.contains("it does not use TLS") && line.contains("write http://"), "{line}");

    let tls = tls(folder.path());
    let ca = file("ca.pem");
    let options = tls.iter().map(String::as_str).chain(["--records-ca", &ca]);
    let pair = Pair::start_with(&options.collect::<Vec<_>>());
    let said = find(&["--records", &format!("http://{}", pair.records())]);
    let line = told(&said);
    assert!(line.contains("it uses TLS") && line.contains("write https://"), "{line}");

    let by_name = format!("https://localhost:{}", port(pair.records()));
    let said = find(&["--records", &by_name]);
    let line = told(&said);
    assert!(line.contains("authority of its certificate is not known here"), "{line}");
    assert!(line.contains("by --ca"), "{line}");
    let other = tempfile::tempdir().unwrap();
    keys(other.path());
    let other = other.path().join("ca.pem").display().to_string();
    let said = find(&["--records", &by_name, "--ca", &other]);
    assert!(told(&said).contains(&format!("it is not that of the file {other}")), "{said:?}");
    let said = find(&["--records", &format!("https://{}", pair.records()), "--ca", &ca]);
    assert!(told(&said).contains("its certificate is for localhost: use such a name"), "{said:?}");
    let mut connect = concord();
    connect.args(["connect", "manager", "--practice", "p1", "--records", &by_name, "--ca", &ca]);
    assert!(connect.output().unwrap().status.success());
}

#[test]
fn a_client_certificate_that_is_asked_for_is_named() {
    let folder = tempfile::tempdir().unwrap();
    keys(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (tls, ca) = (tls(folder.path()), file("ca.pem"));
    let more = ["--client-ca", &ca, "--records-ca", &ca];
    let options = tls.iter().map(String::as_str).chain(more);
    let pair = Pair::start_with(&options.collect::<Vec<_>>());
    let url = format!("https://localhost:{}", port(pair.records()));
    let said = find(&["--records", &url, "--ca", &ca]);
    let line = told(&said);
    assert!(line.contains("needs a client certificate"), "{line}");
    assert!(line.contains("--client-cert and --client-key"), "{line}");
}

#[test]
fn a_token_and_a_reason_that_are_missing_are_named_by_their_options() {
    let folder = tempfile::tempdir().unwrap();
    keys(folder.path());
    let keys = folder.path().join("token-keys.pem").display().to_string();
    let pair = Pair::start_with(&["--token-keys", &keys, "--token-issuer", "concord-token"]);
    let said = find(&["--records", &format!("http://{}", pair.records())]);
    let line = told(&said);
    assert!(line.contains("--token, or in CONCORD_TOKEN"), "{line}");

    let pair = Pair::start();
    pair.connect("manager");
    let records = format!("http://{}", pair.records());
    let said = find(&["--records", &records, "--role", "support"]);
    assert!(told(&said).contains("say why by --reason"), "{said:?}");
    let said = find(&["--records", &records, "--role", "support", "--reason", "ticket 4711"]);
    assert_eq!(said.status, 0, "{said:?}");
}

#[test]
fn a_product_that_is_not_connected_is_told_how_to_be() {
    let pair = Pair::start();
    let said = find(&["--records", &format!("http://{}", pair.records())]);
    let line = told(&said);
    assert!(line.contains("`concord connect manager` connects it"), "{line}");
}

#[test]
fn a_postgresql_that_is_away_is_told_once_without_its_url() {
    let url = "postgres://concord:s3cret@127.0.0.1:1/records";
    let serve: &[&str] = &["serve", "records", "--records-listen", "127.0.0.1:0"];
    let serve = [serve, &["--db-acquire-timeout", "1"]].concat();
    for command in [&serve[..], &["migrate", "records"]] {
        let said = run(&[command, &["--records-db", url]].concat());
        assert_eq!(said.status, 1, "{said:?}");
        let lines: Vec<_> = said.err.lines().filter(|line| line.starts_with("concord: ")).collect();
        let [line] = lines[..] else { panic!("{said:?}") };
        let told = "the database of the records service cannot be reached";
        assert!(line.contains(told) && line.contains("is --records-db right?"), "{line}");
        assert!(!said.err.contains("s3cret") && !said.err.contains("postgres://"), "{said:?}");
        let counts = [told, "Connection refused"].map(|text| line.matches(text).count());
        assert_eq!(counts, [1, 1], "{line}");
    }
}

#[test]
fn a_log_that_is_no_terminal_has_no_colours() {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = concord();
    serve.args(["serve", "--records-listen", "127.0.0.1:0", "--imports-listen", "127.0.0.1:0"]);
    serve.args(["--records-metrics-listen", "off", "--imports-metrics-listen", "off"]);
    let serve = Background::start(serve.arg("--data-dir").arg(folder.path().join("data")));
    wait_until("the start", || serve.said("out").contains("imports listening").then_some(()));
    let log = serve.said("err");
    assert!(log.contains("DEVELOPMENT IDENTITY") && !log.contains('\u{1b}'), "{log:?}");
    serve.kill();
}

#[test]
fn unknown_columns_stop_an_import_and_not_a_dry_run() {
    let pair = Pair::start();
    pair.connect("manager");
    let file = pair.folder.path().join("clients.csv");
    let text = "source_id,client_reference,client_type,registered_name,phone number\n\
                C1,R1,TRUST,A Trust,020 7946 0000\n";
    fs::write(&file, text).unwrap();
    let column = "unknown column `phone number` (is it `phone`?)";
    let refused = pair.import("manager", &file, &[]);
    assert_eq!((refused.status, refused.out.as_str()), (1, ""), "{refused:?}");
    for told in [column, "nothing was imported", "--ignore-unknown-columns"] {
        assert!(refused.err.contains(told), "{told}: {refused:?}");
    }
    assert!(pair.heard("manager", &["--echo", "include", "--kind", "client"]).is_empty());

    let checked = pair.import("manager", &file, &["--dry-run"]);
    assert_eq!(checked.status, 0, "{checked:?}");
    for told in [column, "the dry run goes on without these columns"] {
        assert!(checked.err.contains(told), "{told}: {checked:?}");
    }
    let imported = pair.import("manager", &file, &["--ignore-unknown-columns"]);
    assert_eq!(imported.status, 0, "{imported:?}");
    assert!(imported.err.contains(column), "{imported:?}");
    assert_eq!(imported.json()[0]["imported"], 1);
}

#[cfg(unix)]
#[test]
fn the_failures_file_is_new_and_follows_no_link() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let pair = Pair::start();
    pair.connect("manager");
    let folder = pair.folder.path();
    fs::write(folder.join("victim"), "kept").unwrap();
    symlink("victim", folder.join("failures.csv.part")).unwrap();
    symlink("victim", folder.join("failures.csv")).unwrap();
    fs::write(folder.join("one.csv"), "source_id,client_reference,client_type\nC1,,TRUST\n")
        .unwrap();
    let said = pair.import("manager", &folder.join("one.csv"), &["--failures", "failures.csv"]);
    assert_eq!(said.status, 2, "{said:?}");
    assert_eq!(fs::read_to_string(folder.join("victim")).unwrap(), "kept");
    let written = fs::symlink_metadata(folder.join("failures.csv")).unwrap();
    assert!(written.is_file());
    assert_eq!(written.permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(folder.join("failures.csv")).unwrap().contains("C1"));
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let names = fs::read_dir(folder).unwrap().map(|entry| name(entry.unwrap()));
    let parts: Vec<String> = names.filter(|name| name.contains(".part")).collect();
    assert_eq!(parts, ["failures.csv.part"], "the link alone");
}

#[test]
fn a_file_of_warnings_alone_is_not_called_one_of_failures() {
    let pair = Pair::start();
    pair.connect("manager");
    let file = pair.folder.path().join("clients.csv");
    let text = "source_id,client_reference,client_type,registered_name,email\n\
                C1,R1,TRUST,A Trust,nobody\n";
    fs::write(&file, text).unwrap();
    let said = pair.import("manager", &file, &[]);
    assert_eq!(said.status, 0, "{said:?}");
    let id = said.json()[0]["import_id"].as_str().unwrap().to_owned();
    let mut command = pair.command("imports failures", "manager");
    let said = Said::of(&command.args([&id, "--file", "warnings.csv"]).output().unwrap());
    assert_eq!(said.out.trim(), "The warnings are in warnings.csv");
}
