//! Named subscriptions, snapshots, and where a change is on its way.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use crate::running::{Background, Pair, Said, sample};

/// Changes of the sample.
const CHANGES: i64 = 349;

/// A pair with the sample, of which books can hear every change.
fn pair() -> Pair {
    let pair = Pair::start();
    pair.connect("manager");
    pair.connect("books");
    pair.import("manager", &sample(), &[]);
    assert_eq!(positions(&pair.heard("books", &[])), all_from(1));
    pair
}

/// Listens as `name` until nothing comes.
fn watch(pair: &Pair, name: &str, more: &[&str]) -> Said {
    let mut command = pair.command("watch", "books");
    command.args(["--name", name, "--json", "--until-idle", "2"]).args(more);
    let said = Said::of(&command.output().unwrap());
    assert_eq!(said.status, 0, "{}", said.err);
    said
}

fn positions(events: &[Value]) -> Vec<i64> {
    events.iter().map(|event| event["position"].as_i64().unwrap()).collect()
}

fn all_from(first: i64) -> Vec<i64> {
    (first..=CHANGES).collect()
}

fn trace(pair: &Pair, args: &[&str]) -> Said {
    let mut command = pair.command("trace", "books");
    let said = Said::of(
        &command
            .args(["--roles", "support", "--reason", "ticket 4711"])
            .args(args)
            .output()
            .unwrap(),
    );
    assert_eq!(said.status, 0, "{}", said.err);
    said
}

/// Adds a client, which is one change.
fn add_client(pair: &Pair, reference: &str, name: &str) {
    let file = pair.folder.path().join(format!("{reference}.csv"));
    let heading = "source_id,client_reference,client_type,registered_name";
    fs::write(&file, format!("{heading}\n{reference},{reference},TRUST,{name}\n")).unwrap();
    let said = pair.import("manager", &file, &[]);
    assert_eq!(said.status, 0, "{said:?}");
}

#[test]
fn a_named_watch_goes_on_after_what_was_acknowledged() {
    let pair = pair();
    let first = watch(&pair, "ledger", &["--ack", "--count", "100"]);
    assert_eq!(positions(&first.json()), (1..=100).collect::<Vec<_>>());
    assert!(first.err.ends_with("go on after this with --name ledger\n"), "{}", first.err);
    let second = watch(&pair, "ledger", &["--ack"]);
    assert_eq!(positions(&second.json()), all_from(101));
    assert!(watch(&pair, "ledger", &["--ack"]).out.is_empty());

    add_client(&pair, "LATER", "A Later Trust");
    let third = watch(&pair, "ledger", &["--ack"]).json();
    assert_eq!(third.len(), 1);
    assert_eq!(third[0]["name"], "A Later Trust");
    let anew = watch(&pair, "ledger", &["--ack", "--restart", "--from", "earliest"]);
    assert_eq!(anew.json().len(), 350);
}

#[test]
fn a_watch_that_does_not_acknowledge_leaves_the_place() {
    let pair = pair();
    for _ in 0..2 {
        let said = watch(&pair, "ledger", &[]);
        assert_eq!(positions(&said.json()), all_from(1));
        assert!(said.err.contains("nothing was acknowledged"), "{}", said.err);
    }
    let few = watch(&pair, "ledger", &["--window", "10"]);
    assert_eq!(few.json().len(), 10, "the server waits then");
    // All come together, and only some of them are shown.
    let part = watch(&pair, "ledger", &["--ack", "--count", "3", "--window", "1000"]);
    assert_eq!(positions(&part.json()), [1, 2, 3]);
    assert!(part.err.contains("nothing of it is acknowledged"), "{}", part.err);
    assert_eq!(positions(&watch(&pair, "ledger", &["--ack"]).json()), all_from(1));
}

#[test]
fn a_second_watch_of_the_same_name_ends_the_first() {
    let pair = Pair::start();
    pair.connect("manager");
    pair.connect("books");
    let start =
        || Background::start(pair.command("watch", "books").args(["--name", "ledger", "--ack"]));
    let first = start();
    first.wait_for("err", "listening after position 0");
    let second = start();
    second.wait_for("err", "listening after position 0");
    let first = first.end();
    assert_eq!(first.status, 1, "{first:?}");
    assert!(first.err.contains("another stream of the subscription ledger has begun"), "{first:?}");
    add_client(&pair, "LATER", "A Later Trust");
    second.wait_for("out", "A Later Trust");
    second.terminate();
    assert_eq!(second.end().status, 0);
}

#[test]
fn a_snapshot_shows_each_record_once_and_goes_on_with_changes() {
    let pair = pair();
    let clients = pair.heard("books", &["--kind", "client"]);
    let watch = Background::start(pair.command("watch", "books").args(["--snapshot", "--json"]));
    watch.wait_for("err", "snapshot complete: ");
    add_client(&pair, "LATER", "A Later Trust");
    watch.wait_for("out", "A Later Trust");
    watch.terminate();
    let said = watch.end();
    assert_eq!(said.status, 0, "{said:?}");

    let mut lines = said.json();
    let event = lines.pop().unwrap();
    assert_eq!(
        (&event["previous_position"], &event["position"]),
        (&json!(CHANGES), &json!(CHANGES + 1))
    );
    let end = lines.pop().unwrap();
    assert_eq!(end["snapshot_end"], json!({ "position": CHANGES, "record_count": lines.len() }));
    let complete =
        format!("snapshot complete: {} records, listening after position {CHANGES}\n", lines.len());
    assert!(said.err.contains(&complete), "{}", said.err);
    let ids: BTreeSet<_> =
        lines.iter().map(|line| line["snapshot_record"]["record_id"].to_string()).collect();
    assert_eq!(ids.len(), lines.len(), "each record once");
    for event in clients {
        assert!(ids.contains(&event["record_id"].to_string()), "{event:#}");
    }
}

#[test]
fn a_named_snapshot_goes_on_after_what_was_acknowledged() {
    let pair = pair();
    let all = watch(&pair, "ledger", &["--snapshot"]).json();
    assert_eq!(watch(&pair, "ledger", &[]).json(), all, "nothing was acknowledged");
    // The records of one kind come in messages of their own.
    let is_person = |line: &&Value| line["snapshot_record"]["record_kind"] == "person";
    let persons = all.iter().filter(is_person).count();
    let first = watch(&pair, "ledger", &["--ack", "--count", &persons.to_string()]).json();
    assert_eq!(first, all[..persons]);
    let last = watch(&pair, "ledger", &["--ack"]);
    assert!(last.err.contains("the snapshot goes on where it was"), "{}", last.err);
    let rest = last.json();
    assert_eq!(rest[..rest.len() - 1], all[persons..all.len() - 1]);
    assert_eq!(
        rest[rest.len() - 1]["snapshot_end"],
        json!({ "position": CHANGES, "record_count": rest.len() - 1 })
    );
    assert!(watch(&pair, "ledger", &["--ack"]).out.is_empty());
}

#[test]
fn a_crash_under_a_named_watch_loses_nothing() {
    let pair = Pair::start();
    pair.connect("manager");
    pair.connect("books");
    let mut watching = pair.command("watch", "books");
    let args = ["--name", "ledger", "--ack", "--count", "349", "--json"];
    let watching = Background::start(watching.args(args));
    watching.wait_for("err", "listening after position 0");
    let mut import = pair.command("import", "manager");
    let import = Background::start(import.arg(sample()).args(["--json", "--batches", "300"]));
    watching.wait_for("out", "\"position\":20,");
    let pair = pair.crash_and_restart();

    assert_eq!(import.end().status, 2);
    let said = watching.end();
    assert_eq!(said.status, 0, "{}", said.err);
    assert_eq!(positions(&said.json()), all_from(1));
    assert!(watch(&pair, "ledger", &["--ack"]).out.is_empty(), "all is acknowledged");
}

#[test]
fn a_named_watch_that_is_killed_loses_nothing() {
    let pair = Pair::start();
    pair.connect("manager");
    pair.connect("books");
    let start = || {
        let mut command = pair.command("watch", "books");
        Background::start(command.args(["--name", "ledger", "--ack", "--json", "--window", "7"]))
    };
    let mut watching = start();
    watching.wait_for("err", "listening after position 0");
    let mut import = pair.command("import", "manager");
    let import = Background::start(import.arg(sample()).args(["--json", "--batches", "300"]));
    let mut shown = BTreeSet::new();
    while !shown.contains(&CHANGES) {
        let next = i64::try_from(shown.len()).unwrap() + 1;
        let until = (next + 60).min(CHANGES);
        watching.wait_for("out", &format!("\"position\":{until},"));
        let killed = watching.kill();
        // The last line may be torn.
        let whole = killed.out.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let events = Said { out: whole.to_owned(), ..killed }.json();
        let positions = positions(&events);
        let new = positions.iter().find(|position| !shown.contains(*position));
        assert_eq!(new.copied(), Some(next), "nothing is passed over");
        shown.extend(positions);
        watching = start();
    }
    watching.kill();
    assert_eq!(import.end().status, 2);
    assert_eq!(shown.into_iter().collect::<Vec<_>>(), all_from(1));
}

#[test]
fn a_change_is_traced_to_every_product() {
    let pair = pair();
    let heard = watch(&pair, "ledger", &["--ack", "--count", "100"]).json();
    watch(&pair, "viewer", &["--count", "100"]);
    assert_eq!(pair.connect("payroll").status, 0);

    let change = heard[20]["change_id"].as_str().unwrap();
    let traced = trace(&pair, &[change, "--json"]).json().remove(0);
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

    let page = trace(&pair, &[change]);
    for part in ["manager/main", change, "not connected", "ledger  acknowledged"] {
        assert!(page.out.contains(part), "{part} is not in\n{}", page.out);
    }
    let alone = trace(&pair, &[change, "--to", "payroll", "--json"]).json().remove(0);
    assert_eq!(alone["changes"][0]["products"].as_array().unwrap().len(), 1);
    let record = trace(&pair, &["ref:BRI001", "--max", "20", "--json"]).json().remove(0);
    assert_eq!(record["changes"][0]["record_kind"], "client", "{record:#}");
}

#[test]
fn whoever_is_behind_is_listed() {
    let pair = pair();
    let list = |more: &[&str]| {
        Said::of(&pair.command("subscriptions", "books").args(more).output().unwrap())
    };
    assert!(list(&[]).err.contains("there are no subscriptions"));
    watch(&pair, "ledger", &["--ack", "--count", "100"]);
    watch(&pair, "all", &["--ack"]);

    let listed = list(&["--json"]).json().remove(0);
    let listed = listed["subscriptions"].as_array().unwrap();
    let lags: Vec<_> = listed.iter().map(|one| (&one["name"], &one["lag_changes"])).collect();
    assert_eq!(lags, [(&json!("all"), &json!(0)), (&json!("ledger"), &json!(CHANGES - 100))]);
    let table = list(&[]).out;
    assert!(table.starts_with("product  practice  account  name"), "{table}");
    assert!(table.contains("books    p1        main     ledger  idle"), "{table}");
}

#[test]
fn a_place_that_is_gone_says_how_to_begin_anew() {
    let pair = Pair::start();
    pair.connect("books");
    let run =
        |args: &[&str]| Said::of(&pair.command("watch", "books").args(args).output().unwrap());
    let unnamed = run(&["--cursor", "nonsense"]);
    assert_eq!(unnamed.status, 1);
    assert!(unnamed.err.contains("--snapshot begins anew"), "{unnamed:?}");
    let named = run(&["--cursor", "nonsense", "--name", "ledger"]);
    assert_eq!(named.status, 1);
    assert!(named.err.contains("--snapshot --restart begins anew"), "{named:?}");
}
