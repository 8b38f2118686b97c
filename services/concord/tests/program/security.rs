//! Tokens and certificates, as described in the docs.

use std::{fs, path::Path, process::Command};

use crate::running::{CommandOutput, Services, concord, keys, sample, tls_url};

fn token(folder: &Path, more: &[&str]) -> CommandOutput {
    let mut command = concord();
    command.args(["token", "--key"]).arg(folder.join("token-signing-key.pem")).args(more);
    CommandOutput::of(&mut command)
}

/// A command with the token of a caller, over TLS.
fn command(services: &Services, name: &str, keys: &Path, token: &str) -> Command {
    let mut command = concord();
    command
        .args(name.split(' '))
        .env("CONCORD_TOKEN", token)
        .args(["--records", &tls_url(services.records())])
        .args(["--imports", &tls_url(services.imports())])
        .arg("--ca")
        .arg(keys.join("ca.pem"))
        .current_dir(services.folder.path());
    command
}

#[test]
fn practice_is_imported_with_tokens_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    keys(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let services = Services::start_with(&[
        "--token-keys",
        &file("token-keys.pem"),
        "--token-issuer",
        "concord-token",
        "--tls-cert",
        &file("server.pem"),
        "--tls-key",
        &file("server-key.pem"),
        "--client-ca",
        &file("ca.pem"),
        "--records-ca",
        &file("ca.pem"),
    ]);
    let owner = ["--practice", "p1", "--product", "manager", "--user", "olivia", "--role", "owner"];
    let owner = token(folder.path(), &owner).out;
    let run = |name: &str, token: &str, more: &[&str]| {
        let mut command = command(&services, name, folder.path(), token.trim());
        command.args(["--client-cert", &file("manager.pem")]);
        command.args(["--client-key", &file("manager-key.pem")]);
        CommandOutput::of(command.args(more))
    };
    let connected = run("connect", &owner, &["manager"]);
    assert_eq!(connected.status, 0, "{connected:?}");
    let files = sample().display().to_string();
    let imported = run("import", &owner, &[&files, "--json"]);
    assert_eq!(imported.status, 2, "{imported:?}");
    assert_eq!(imported.json()[0]["counters"]["imported"], 349, "{imported:?}");
    let found = run("find", &owner, &["otterbank"]);
    assert!(found.out.contains("OTT001"), "{found:?}");

    let staff = ["--practice", "p1", "--product", "manager", "--role", "staff"];
    let staff = run("import", &token(folder.path(), &staff).out, &[&files]);
    assert_eq!(staff.status, 1);
    assert!(staff.err.contains("owner, admin"), "{staff:?}");
    let other = run("find", &owner, &["otterbank", "--practice", "p2"]);
    assert!(other.err.contains("--practice says p2, and the token is for p1"), "{other:?}");
    let books = ["--practice", "p1", "--product", "books", "--role", "owner"];
    let books = run("find", &token(folder.path(), &books).out, &["otterbank"]);
    assert!(books.err.contains("client certificate is not for"), "{books:?}");
}

#[test]
fn existing_keys_are_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    keys(folder.path());
    let secret = fs::read(folder.path().join("service-secret")).unwrap();
    let again = keys(folder.path());
    assert!(again.err.contains("exists already"), "{again:?}");
    assert_eq!(fs::read(folder.path().join("service-secret")).unwrap(), secret);
}

#[cfg(unix)]
#[test]
fn secrets_are_accessible_to_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    keys(folder.path());
    for name in ["token-signing-key.pem", "service-secret", "server-key.pem", "manager-key.pem"] {
        let mode = folder.path().join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn insecure_settings_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    keys(folder.path());
    let keys = folder.path().join("token-keys.pem").display().to_string();
    let checked = ["--token-keys", &keys, "--token-issuer", "concord-token"];
    let serve = |service: &str, listen: &str, more: &[&str]| {
        let mut command = concord();
        command.args(["serve", service, &format!("--{service}-listen"), listen]);
        command.arg("--data-dir").arg(folder.path().join("data")).args(more);
        let output = CommandOutput::of(&mut command);
        assert_eq!(output.status, 1, "{output:?}");
        output.err
    };
    let plain = serve("records", "0.0.0.0:0", &checked);
    assert!(plain.contains("without encryption") && plain.contains("--tls-cert"), "{plain}");
    let secret = serve("imports", "127.0.0.1:0", &checked);
    assert!(secret.contains("--service-secret"), "{secret}");
    let service_secret = folder.path().join("service-secret").display().to_string();
    let with_secret = [&checked[..], &["--service-secret", &service_secret]].concat();
    let clear = [&with_secret[..], &["--records", "http://records.example:50051"]].concat();
    let clear = serve("imports", "127.0.0.1:0", &clear);
    assert!(clear.contains("http://records.example:50051") && clear.contains("https"), "{clear}");
}

#[test]
fn invalid_token_is_not_signed() {
    let folder = tempfile::tempdir().unwrap();
    keys(folder.path());
    let named = ["--practice", "p/1", "--product", "manager"];
    assert_eq!(token(folder.path(), &named).status, 1);
    let service = ["--practice", "p1", "--product", "manager", "--role", "service"];
    let output = token(folder.path(), &service);
    assert!(output.err.contains("role service"), "{output:?}");
    let mut public = concord();
    public.args(["token", "--practice", "p1", "--product", "manager", "--key"]);
    let output = CommandOutput::of(public.arg(folder.path().join("token-keys.pem")));
    assert!(output.err.contains("not a private key"), "{output:?}");
}
