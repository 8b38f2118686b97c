//! Named subscriptions, snapshots, and traces of changes.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use crate::running::{Background, CommandOutput, Services, sample};

/// The number of changes of the sample.
const CHANGES: i64 = 349;

/// Services with the sample, and books connected before the import.
fn services() -> Services {
    let services = Services::with(&["manager", "books"]);
    services.import("manager", &sample(), &[]);
    assert_eq!(positions(&services.events("books", &[])), all_from(1));
    services
}

/// Watches the subscription `name` until it is idle.
fn watch(services: &Services, name: &str, more: &[&str]) -> CommandOutput {
    let mut command = services.command("watch", "books");
    command.args(["--name", name, "--json", "--until-idle", "2"]).args(more);
    let output = CommandOutput::of(&mut command);
    assert_eq!(output.status, 0, "{}", output.err);
    output
}

fn positions(events: &[Value]) -> Vec<i64> {
    events.iter().map(|event| event["position"].as_i64().unwrap()).collect()
}

fn all_from(first: i64) -> Vec<i64> {
    (first..=CHANGES).collect()
}

fn trace(services: &Services, args: &[&str]) -> CommandOutput {
    let mut command = services.command("trace", "books");
    command.args(["--roles", "support", "--reason", "ticket 4711"]).args(args);
    let output = CommandOutput::of(&mut command);
    assert_eq!(output.status, 0, "{}", output.err);
    output
}

/// Imports one client, which is one change.
fn add_client(services: &Services, reference: &str, name: &str) {
    let file = services.folder.path().join(format!("{reference}.csv"));
    let heading = "source_id,client_reference,client_type,registered_name";
    fs::write(&file, format!("{heading}\n{reference},{reference},TRUST,{name}\n")).unwrap();
    let output = services.import("manager", &file, &[]);
    assert_eq!(output.status, 0, "{output:?}");
}

#[test]
fn named_watch_resumes_after_the_acknowledged_position() {
    let services = services();
    let first = watch(&services, "ledger", &["--ack", "--count", "100"]);
    assert_eq!(positions(&first.json()), (1..=100).collect::<Vec<_>>());
    assert!(first.err.ends_with("resume after this with --name ledger\n"), "{}", first.err);
    let second = watch(&services, "ledger", &["--ack"]);
    assert_eq!(positions(&second.json()), all_from(101));
    assert!(watch(&services, "ledger", &["--ack"]).out.is_empty());

    add_client(&services, "LATER", "A Later Trust");
    let third = watch(&services, "ledger", &["--ack"]).json();
    assert_eq!(third.len(), 1);
    assert_eq!(third[0]["name"], "A Later Trust");
    let restarted = watch(&services, "ledger", &["--ack", "--restart", "--from", "earliest"]);
    assert_eq!(restarted.json().len(), 350);
}

#[test]
fn watch_without_ack_keeps_the_position() {
    let services = services();
    for _ in 0..2 {
        let output = watch(&services, "ledger", &[]);
        assert_eq!(positions(&output.json()), all_from(1));
        assert!(output.err.contains("nothing was acknowledged"), "{}", output.err);
    }
    let few = watch(&services, "ledger", &["--window", "10"]);
    assert_eq!(few.json().len(), 10, "the server waits at the window");
    // One batch, of which only a part is printed.
    let part = watch(&services, "ledger", &["--ack", "--count", "3", "--window", "1000"]);
    assert_eq!(positions(&part.json()), [1, 2, 3]);
    assert!(part.err.contains("printed in part and is not acknowledged"), "{}", part.err);
    assert_eq!(positions(&watch(&services, "ledger", &["--ack"]).json()), all_from(1));
}

#[test]
fn second_watch_of_a_subscription_ends_the_first() {
    let services = Services::with(&["manager", "books"]);
    let start = || {
        Background::start(services.command("watch", "books").args(["--name", "ledger", "--ack"]))
    };
    let first = start();
    first.wait_for("err", "listening after position 0");
    let second = start();
    second.wait_for("err", "listening after position 0");
    let first = first.end();
    assert_eq!(first.status, 1, "{first:?}");
    assert!(
        first.err.contains("another stream of the subscription ledger has taken over"),
        "{first:?}"
    );
    add_client(&services, "LATER", "A Later Trust");
    second.wait_for("out", "A Later Trust");
    second.terminate();
    assert_eq!(second.end().status, 0);
}

#[test]
fn snapshot_has_each_record_once_followed_by_changes() {
    let services = services();
    let clients = services.events("books", &["--kind", "client"]);
    let watch =
        Background::start(services.command("watch", "books").args(["--snapshot", "--json"]));
    watch.wait_for("err", "snapshot complete: ");
    add_client(&services, "LATER", "A Later Trust");
    watch.wait_for("out", "A Later Trust");
    watch.terminate();
    let output = watch.end();
    assert_eq!(output.status, 0, "{output:?}");

    let mut lines = output.json();
    let event = lines.pop().unwrap();
    assert_eq!(
        (&event["previous_position"], &event["position"]),
        (&json!(CHANGES), &json!(CHANGES + 1))
    );
    let end = lines.pop().unwrap();
    assert_eq!(end["snapshot_end"], json!({ "position": CHANGES, "record_count": lines.len() }));
    let complete =
        format!("snapshot complete: {} records, listening after position {CHANGES}\n", lines.len());
    assert!(output.err.contains(&complete), "{}", output.err);
    let ids: BTreeSet<_> =
        lines.iter().map(|line| line["snapshot_record"]["record_id"].to_string()).collect();
    assert_eq!(ids.len(), lines.len(), "each record once");
    for event in clients {
        assert!(ids.contains(&event["record_id"].to_string()), "{event:#}");
    }
}

#[test]
fn named_snapshot_resumes_after_the_acknowledged_position() {
    let services = services();
    let all = watch(&services, "ledger", &["--snapshot"]).json();
    assert_eq!(watch(&services, "ledger", &[]).json(), all, "nothing was acknowledged");
    // A message has records of one kind only.
    let is_person = |line: &&Value| line["snapshot_record"]["record_kind"] == "person";
    let persons = all.iter().filter(is_person).count();
    let first = watch(&services, "ledger", &["--ack", "--count", &persons.to_string()]).json();
    assert_eq!(first, all[..persons]);
    let last = watch(&services, "ledger", &["--ack"]);
    assert!(last.err.contains("the snapshot resumes from its last position"), "{}", last.err);
    let rest = last.json();
    assert_eq!(rest[..rest.len() - 1], all[persons..all.len() - 1]);
    assert_eq!(
        rest[rest.len() - 1]["snapshot_end"],
        json!({ "position": CHANGES, "record_count": rest.len() - 1 })
    );
    assert!(watch(&services, "ledger", &["--ack"]).out.is_empty());
}

#[test]
fn named_watch_loses_nothing_when_the_services_crash() {
    let services = Services::with(&["manager", "books"]);
    let mut watching = services.command("watch", "books");
    let args = ["--name", "ledger", "--ack", "--count", "349", "--json"];
    let watching = Background::start(watching.args(args));
    watching.wait_for("err", "listening after position 0");
    let mut import = services.command("import", "manager");
    let import = Background::start(import.arg(sample()).args(["--json", "--batches", "300"]));
    watching.wait_for("out", "\"position\":20,");
    let services = services.crash_and_restart();

    assert_eq!(import.end().status, 2);
    let output = watching.end();
    assert_eq!(output.status, 0, "{}", output.err);
    assert_eq!(positions(&output.json()), all_from(1));
    assert!(watch(&services, "ledger", &["--ack"]).out.is_empty(), "everything is acknowledged");
}

#[test]
fn killed_named_watch_loses_nothing() {
    let services = Services::with(&["manager", "books"]);
    let start = || {
        let mut command = services.command("watch", "books");
        Background::start(command.args(["--name", "ledger", "--ack", "--json", "--window", "7"]))
    };
    let mut watching = start();
    watching.wait_for("err", "listening after position 0");
    let mut import = services.command("import", "manager");
    let import = Background::start(import.arg(sample()).args(["--json", "--batches", "300"]));
    let mut shown = BTreeSet::new();
    while !shown.contains(&CHANGES) {
        let next = i64::try_from(shown.len()).unwrap() + 1;
        let until = (next + 60).min(CHANGES);
        watching.wait_for("out", &format!("\"position\":{until},"));
        let killed = watching.kill();
        // The last line may be incomplete.
        let whole = killed.out.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let events = CommandOutput { out: whole.to_owned(), ..killed }.json();
        let positions = positions(&events);
        let new = positions.iter().find(|position| !shown.contains(*position));
        assert_eq!(new.copied(), Some(next), "no change is skipped");
        shown.extend(positions);
        watching = start();
    }
    watching.kill();
    assert_eq!(import.end().status, 2);
    assert_eq!(shown.into_iter().collect::<Vec<_>>(), all_from(1));
}

#[test]
fn trace_shows_every_product() {
    let services = services();
    let events = watch(&services, "ledger", &["--ack", "--count", "100"]).json();
    watch(&services, "viewer", &["--count", "100"]);
    assert_eq!(services.connect("payroll").status, 0);

    let change = events[20]["change_id"].as_str().unwrap();
    let traced = trace(&services, &[change, "--json"]).json().remove(0);
    let [traced] = traced["changes"].as_array().unwrap().as_slice() else { panic!("{traced:#}") };
    assert_eq!(traced["change_id"], *change);
    let product = |name: &str| {
        let products = traced["products"].as_array().unwrap();
        products.iter().find(|product| product["product"] == name).unwrap().clone()
    };
    let books = product("books");
    assert_eq!((&books["place"], &books["position"]), (&json!("at_position"), &json!(21)));
    let delivery = |name: &str| {
        let subscriptions = books["subscriptions"].as_array().unwrap();
        let found = subscriptions.iter().find(|trace| trace["subscription"] == name);
        found.unwrap()["delivery"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        (delivery("ledger").as_str(), delivery("viewer").as_str()),
        ("acknowledged", "delivered")
    );
    assert_eq!(product("payroll")["place"], "not_connected");

    let page = trace(&services, &[change]);
    for part in ["manager/main", change, "not connected", "ledger  acknowledged"] {
        assert!(page.out.contains(part), "{part} is not in\n{}", page.out);
    }
    let alone = trace(&services, &[change, "--to", "payroll", "--json"]).json().remove(0);
    assert_eq!(alone["changes"][0]["products"].as_array().unwrap().len(), 1);
    let record = trace(&services, &["ref:BRI001", "--max", "20", "--json"]).json().remove(0);
    assert_eq!(record["changes"][0]["record_kind"], "client", "{record:#}");
}

#[test]
fn subscriptions_are_listed_with_their_lag() {
    let services = services();
    let list =
        |more: &[&str]| CommandOutput::of(services.command("subscriptions", "books").args(more));
    assert!(list(&[]).err.contains("there are no subscriptions"));
    watch(&services, "ledger", &["--ack", "--count", "100"]);
    watch(&services, "all", &["--ack"]);

    let listed = list(&["--json"]).json().remove(0);
    let listed = listed["subscriptions"].as_array().unwrap();
    let lags: Vec<_> = listed.iter().map(|one| (&one["name"], &one["lag_changes"])).collect();
    assert_eq!(lags, [(&json!("all"), &json!(0)), (&json!("ledger"), &json!(CHANGES - 100))]);
    let table = list(&[]).out;
    assert!(table.starts_with("product  practice  account  name"), "{table}");
    assert!(table.contains("books    p1        main     ledger  idle"), "{table}");
}

#[test]
fn unavailable_cursor_error_names_the_restart_options() {
    let services = Services::with(&["books"]);
    let run = |args: &[&str]| CommandOutput::of(services.command("watch", "books").args(args));
    let unnamed = run(&["--cursor", "nonsense"]);
    assert_eq!(unnamed.status, 1);
    assert!(unnamed.err.contains("CURSOR_FOREIGN"), "{unnamed:?}");
    assert!(unnamed.err.contains("--snapshot restarts from a snapshot"), "{unnamed:?}");
    let named = run(&["--cursor", "nonsense", "--name", "ledger"]);
    assert_eq!(named.status, 1);
    assert!(named.err.contains("--snapshot --restart restarts from a snapshot"), "{named:?}");
}
