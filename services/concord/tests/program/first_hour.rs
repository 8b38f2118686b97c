//! Common setup errors: each is reported in one line with the cause and the remedy.

use std::{fs, path::Path};

use crate::{
    process::wait_until,
    running::{Background, CommandOutput, Services, concord, keys, tls_url},
};

/// The only line of output of a command that failed.
fn error_line(output: &CommandOutput) -> &str {
    assert_eq!(output.status, 1, "{output:?}");
    assert!(output.out.is_empty(), "{output:?}");
    let [line] = output.err.lines().collect::<Vec<_>>()[..] else { panic!("{output:?}") };
    line
}

fn run(args: &[&str]) -> CommandOutput {
    CommandOutput::of(concord().args(args))
}

/// A search of `manager` in the practice `p1`.
fn find(args: &[&str]) -> CommandOutput {
    run(&[&["find", "otter", "--practice", "p1", "--product", "manager"][..], args].concat())
}

fn tls(folder: &Path) -> [String; 4] {
    let file = |name: &str| folder.join(name).display().to_string();
    ["--tls-cert".to_owned(), file("server.pem"), "--tls-key".to_owned(), file("server-key.pem")]
}

#[test]
fn url_without_scheme_error_suggests_the_scheme() {
    let output = find(&["--records", "127.0.0.1:50051"]);
    let line = error_line(&output);
    assert!(line.contains("--records: `127.0.0.1:50051` has no scheme"), "{line}");
    assert!(line.contains("write http://127.0.0.1:50051"), "{line}");
    let folder = tempfile::tempdir().unwrap();
    let mut serve = concord();
    serve.args(["serve", "imports", "--imports-listen", "127.0.0.1:0", "--records", "records:1"]);
    let output = CommandOutput::of(serve.arg("--data-dir").arg(folder.path()));
    assert_eq!(output.status, 1);
    let line = output.err.lines().last().unwrap();
    assert!(
        line.contains("(--records): `records:1` has no scheme: write http://records:1"),
        "{line}"
    );
}

#[test]
fn connection_refused_is_reported_once() {
    let output = find(&["--records", "http://127.0.0.1:1"]);
    let line = error_line(&output);
    assert!(line.contains("cannot reach the records service at http://127.0.0.1:1: "), "{line}");
    assert!(line.contains("is `concord serve` running there"), "{line}");
    assert_eq!(line.matches("efused").count(), 1, "{line}");
}

#[test]
fn exchanged_service_urls_are_suggested() {
    let services = Services::with(&["manager"]);
    let (records, imports) = (services.records(), services.imports());
    let output = find(&["--records", &format!("http://{imports}")]);
    assert!(error_line(&output).contains("are --records and --imports exchanged"), "{output:?}");
    let mut list = concord();
    list.args(["imports", "list", "--practice", "p1", "--product", "manager"]);
    let output = CommandOutput::of(list.args(["--imports", &format!("http://{records}")]));
    assert!(error_line(&output).contains("are --records and --imports exchanged"), "{output:?}");
    // The imports service logs the same cause.
    let folder = tempfile::tempdir().unwrap();
    let mut serve = concord();
    serve.args(["serve", "imports", "--imports-listen", "127.0.0.1:0"]);
    serve.args(["--imports-metrics-listen", "off", "--records", &format!("http://{imports}")]);
    let serve = Background::start(serve.arg("--data-dir").arg(folder.path()));
    serve.wait_for("err", "another service answers there");
    serve.kill();
}

#[test]
fn tls_mismatch_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    keys(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let plain = Services::start();
    let output = find(&["--records", &format!("https://{}", plain.records())]);
    let line = error_line(&output);
    assert!(line.contains("it does not use TLS") && line.contains("write http://"), "{line}");

    let tls = tls(folder.path());
    let ca = file("ca.pem");
    let options = tls.iter().map(String::as_str).chain(["--records-ca", &ca]);
    let services = Services::start_with(&options.collect::<Vec<_>>());
    let output = find(&["--records", &format!("http://{}", services.records())]);
    let line = error_line(&output);
    assert!(line.contains("it uses TLS") && line.contains("write https://"), "{line}");

    let by_name = tls_url(services.records());
    let output = find(&["--records", &by_name]);
    let line = error_line(&output);
    assert!(line.contains("authority of its certificate is not known here"), "{line}");
    assert!(line.contains("by --ca"), "{line}");
    let other = tempfile::tempdir().unwrap();
    keys(other.path());
    let other = other.path().join("ca.pem").display().to_string();
    let output = find(&["--records", &by_name, "--ca", &other]);
    assert!(
        error_line(&output).contains(&format!("it is not that of the file {other}")),
        "{output:?}"
    );
    let output = find(&["--records", &format!("https://{}", services.records()), "--ca", &ca]);
    assert!(
        error_line(&output).contains("its certificate is for localhost: use one of its names"),
        "{output:?}"
    );
    let mut connect = concord();
    connect.args(["connect", "manager", "--practice", "p1", "--records", &by_name, "--ca", &ca]);
    assert!(connect.output().unwrap().status.success());
}

#[test]
fn missing_client_certificate_error_names_the_options() {
    let folder = tempfile::tempdir().unwrap();
    keys(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (tls, ca) = (tls(folder.path()), file("ca.pem"));
    let more = ["--client-ca", &ca, "--records-ca", &ca];
    let options = tls.iter().map(String::as_str).chain(more);
    let services = Services::start_with(&options.collect::<Vec<_>>());
    let url = tls_url(services.records());
    let output = find(&["--records", &url, "--ca", &ca]);
    let line = error_line(&output);
    assert!(line.contains("needs a client certificate"), "{line}");
    assert!(line.contains("--client-cert and --client-key"), "{line}");
}

#[test]
fn missing_token_or_reason_error_names_the_option() {
    let folder = tempfile::tempdir().unwrap();
    keys(folder.path());
    let keys = folder.path().join("token-keys.pem").display().to_string();
    let services =
        Services::start_with(&["--token-keys", &keys, "--token-issuer", "concord-token"]);
    let output = find(&["--records", &format!("http://{}", services.records())]);
    let line = error_line(&output);
    assert!(line.contains("--token, or in CONCORD_TOKEN"), "{line}");

    let services = Services::with(&["manager"]);
    let records = format!("http://{}", services.records());
    let output = find(&["--records", &records, "--role", "support"]);
    assert!(error_line(&output).contains("pass --reason"), "{output:?}");
    let output = find(&["--records", &records, "--role", "support", "--reason", "ticket 4711"]);
    assert_eq!(output.status, 0, "{output:?}");
}

#[test]
fn unconnected_product_error_names_the_command() {
    let services = Services::start();
    let output = find(&["--records", &format!("http://{}", services.records())]);
    let line = error_line(&output);
    assert!(line.contains("`concord connect manager` connects it"), "{line}");
}

#[test]
fn unreachable_postgresql_is_reported_once_without_url() {
    let url = "postgres://concord:s3cret@127.0.0.1:1/records";
    let serve: &[&str] = &["serve", "records", "--records-listen", "127.0.0.1:0"];
    let serve = [serve, &["--db-acquire-timeout", "1"]].concat();
    for command in [&serve[..], &["migrate", "records"]] {
        let output = run(&[command, &["--records-db", url]].concat());
        assert_eq!(output.status, 1, "{output:?}");
        let lines: Vec<_> =
            output.err.lines().filter(|line| line.starts_with("concord: ")).collect();
        let [line] = lines[..] else { panic!("{output:?}") };
        let expected = "the database of the records service cannot be reached";
        assert!(line.contains(expected) && line.contains("is --records-db correct?"), "{line}");
        assert!(
            !output.err.contains("s3cret") && !output.err.contains("postgres://"),
            "{output:?}"
        );
        let counts = [expected, "Connection refused"].map(|text| line.matches(text).count());
        assert_eq!(counts, [1, 1], "{line}");
    }
}

#[test]
fn log_without_terminal_has_no_colours() {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = concord();
    serve.args(["serve", "--records-listen", "127.0.0.1:0", "--imports-listen", "127.0.0.1:0"]);
    serve.args(["--records-metrics-listen", "off", "--imports-metrics-listen", "off"]);
    let serve = Background::start(serve.arg("--data-dir").arg(folder.path().join("data")));
    wait_until("the start", || serve.output("out").contains("imports listening").then_some(()));
    let log = serve.output("err");
    assert!(log.contains("DEVELOPMENT IDENTITY") && !log.contains('\u{1b}'), "{log:?}");
    serve.kill();
}

#[test]
fn unknown_columns_fail_an_import_but_not_a_dry_run() {
    let services = Services::with(&["manager"]);
    let file = services.folder.path().join("clients.csv");
    let text = "source_id,client_reference,client_type,registered_name,phone number\n\
                C1,R1,TRUST,A Trust,020 7946 0000\n";
    fs::write(&file, text).unwrap();
    let column = "unknown column `phone number` (is it `phone`?)";
    let refused = services.import("manager", &file, &[]);
    assert_eq!((refused.status, refused.out.as_str()), (1, ""), "{refused:?}");
    refused.assert_reports(&[column, "nothing was imported", "--ignore-unknown-columns"]);
    assert!(services.events("manager", &["--echo", "include", "--kind", "client"]).is_empty());

    let checked = services.import("manager", &file, &["--dry-run"]);
    assert_eq!(checked.status, 0, "{checked:?}");
    checked.assert_reports(&[column, "the dry run ignores these columns"]);
    let imported = services.import("manager", &file, &["--ignore-unknown-columns"]);
    assert_eq!(imported.status, 0, "{imported:?}");
    assert!(imported.err.contains(column), "{imported:?}");
    assert_eq!(imported.json()[0]["counters"]["imported"], 1);
}

#[cfg(unix)]
#[test]
fn failures_file_replaces_symbolic_links() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let services = Services::with(&["manager"]);
    let folder = services.folder.path();
    fs::write(folder.join("victim"), "kept").unwrap();
    symlink("victim", folder.join("failures.csv.part")).unwrap();
    symlink("victim", folder.join("failures.csv")).unwrap();
    fs::write(folder.join("one.csv"), "source_id,client_reference,client_type\nC1,,TRUST\n")
        .unwrap();
    let output =
        services.import("manager", &folder.join("one.csv"), &["--failures", "failures.csv"]);
    assert_eq!(output.status, 2, "{output:?}");
    assert_eq!(fs::read_to_string(folder.join("victim")).unwrap(), "kept");
    let written = fs::symlink_metadata(folder.join("failures.csv")).unwrap();
    assert!(written.is_file());
    assert_eq!(written.permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(folder.join("failures.csv")).unwrap().contains("C1"));
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let names = fs::read_dir(folder).unwrap().map(|entry| name(entry.unwrap()));
    let parts: Vec<String> = names.filter(|name| name.contains(".part")).collect();
    assert_eq!(parts, ["failures.csv.part"], "only the existing link");
}

#[test]
fn file_with_only_warnings_is_described_as_warnings() {
    let services = Services::with(&["manager"]);
    let file = services.folder.path().join("clients.csv");
    let text = "source_id,client_reference,client_type,registered_name,email\n\
                C1,R1,TRUST,A Trust,nobody\n";
    fs::write(&file, text).unwrap();
    let output = services.import("manager", &file, &[]);
    assert_eq!(output.status, 0, "{output:?}");
    let id = output.json()[0]["id"].as_str().unwrap().to_owned();
    let mut command = services.command("imports failures", "manager");
    let output = CommandOutput::of(command.args([&id, "--file", "warnings.csv"]));
    assert_eq!(output.out.trim(), "The warnings are in warnings.csv");
}
