//! `concord find`, `show` and `trace`, as support uses them.

use concord_proto::pb::records::ClientType;
use concord_testing::e2e::records::{company, create, name_entry};
use serde_json::Value;

use crate::running::{CommandOutput, Services, sample};

/// Services with the sample, and a client with a former name.
fn services() -> Services {
    let services = Services::with(&["manager", "books"]);
    services.import("manager", &sample(), &[]);
    tokio::runtime::Runtime::new().unwrap().block_on(rename(&services));
    services
}

/// Creates a client, and renames it.
async fn rename(services: &Services) {
    let sam = services.owner("manager").with("x-concord-user", "sam");
    let sam = sam.with("x-concord-roles", "staff");
    let mut request = company("MUL001", "Müller & Ó Briain");
    request.r#type = ClientType::SoleTrader.into();
    let client = create(&sam, request).await;
    let entry = name_entry(&client.id, "Sorrel Upholstery", "", &client.entries[0].etag);
    sam.history().add_entry(entry).await.unwrap();
}

fn run(services: &Services, command: &str, args: &[&str]) -> CommandOutput {
    let mut command = services.command(command, "books");
    command.args(["--roles", "support", "--reason", "ticket 4711"]).args(args);
    CommandOutput::of(&mut command)
}

fn found(services: &Services, args: &[&str]) -> Vec<Value> {
    let output = run(services, "find", &[args, &["--json"]].concat());
    assert_eq!(output.status, 0, "{output:?}");
    output.json()[0]["results"].as_array().unwrap().clone()
}

#[test]
fn support_can_find_and_show_records() {
    let services = services();

    let former = run(&services, "find", &["muller", "o", "BRIAIN"]);
    assert_eq!(former.status, 0, "{former:?}");
    let row = former.out.lines().nth(1).unwrap();
    assert!(row.starts_with("client  Sorrel Upholstery  MUL001     cli_"), "{former:?}");
    assert!(row.ends_with("other name: Müller & Ó Briain"), "{former:?}");
    assert_eq!(found(&services, &["bri001"])[0]["match"], "reference");
    assert_eq!(found(&services, &["99007000"])[0]["client_reference"], "BRI001");

    let page = run(&services, "show", &["ref:MUL001"]);
    assert_eq!(page.status, 0, "{page:?}");
    for part in [
        "Sorrel Upholstery\n  client      MUL001 (cli_",
        "past       Müller & Ó Briain",
        "current    Sorrel Upholstery",
        "Used by\n  manager/main as ",
        "entry added (Registered name), manager/main, by sam",
    ] {
        assert!(page.out.contains(part), "{part} is not in\n{}", page.out);
    }

    let person = &found(&services, &["edith", "kestrelton", "--kind", "person"])[0];
    let page = run(&services, "show", &[person["record_id"].as_str().unwrap()]);
    assert!(
        page.out.contains("Contact of\n  Brindle & Moss Limited (BRI001): director"),
        "{page:?}"
    );
    let page = run(&services, "show", &["ref:BRI001", "--json"]).json().remove(0);
    assert_eq!(page["name"], "Brindle & Moss Limited");
    assert_eq!(page["links"][0]["external_id"], "C001");
    assert_eq!(page["contacts"][0]["person"]["name"]["surname"], "Kestrelton");
}

#[test]
fn search_stops_at_its_limit_and_reports_more() {
    let services = services();
    let all = found(&services, &["limited", "--limit", "1000"]);
    let few = run(&services, "find", &["limited", "--limit", "3", "--json"]);
    assert_eq!(few.json()[0]["results"].as_array().unwrap()[..], all[..3]);
    assert_eq!(few.json()[0]["more"], true);
    let few = run(&services, "find", &["limited", "--limit", "3"]);
    assert_eq!(few.out.lines().count(), 4, "{few:?}");
    assert!(few.err.contains("there are more"), "{few:?}");

    let none = run(&services, "find", &["nobody"]);
    assert_eq!((none.status, none.out.as_str()), (0, ""), "{none:?}");
    assert!(none.err.contains("nothing was found"), "{none:?}");
}

#[test]
fn invalid_query_is_rejected_with_its_reason() {
    let services = Services::with(&["books"]);
    let short = run(&services, "find", &["ab"]);
    assert_eq!(short.status, 1);
    assert!(short.err.contains("at least 3 letters or digits"), "{short:?}");
    let unknown = run(&services, "show", &["ref:NOBODY"]);
    assert_eq!(unknown.status, 1);
    assert!(unknown.err.contains("(NOT_FOUND)"), "{unknown:?}");
    let wrong = run(&services, "show", &["nobody"]);
    assert_eq!(wrong.status, 1);
    assert!(wrong.err.contains("(INVALID_ID)"), "{wrong:?}");
}

#[test]
fn control_characters_in_stored_values_are_escaped() {
    let services = services();
    let database = services.folder.path().join("data").join("records.db");
    tokio::runtime::Runtime::new().unwrap().block_on(forge(&database));
    let page = run(&services, "show", &["ref:MUL001"]);
    assert_eq!(page.status, 0, "{page:?}");
    let is_control = |c: char| c.is_control() && c != '\n';
    assert!(!page.out.contains(is_control), "{page:?}");
    for part in [
        "Used by\n  manager/main as ",
        ", by eve\\u001b]0;OWNED\\u0007\\u001b[2J",
        ": typo\\u000a2026-01-01 00:00:00Z  purged, manager/main, by the-owner\\u202e",
    ] {
        assert!(page.out.contains(part), "{part} is not in\n{}", page.out);
    }
    assert!(!page.out.lines().any(|line| line.starts_with("2026-01-01")), "{page:?}");
    let traced = run(&services, "trace", &["ref:MUL001"]);
    assert!(traced.out.contains("by eve\\u001b]0;"), "{traced:?}");
    // JSON has the stored value.
    let page = run(&services, "show", &["ref:MUL001", "--json"]).json().remove(0);
    let user = page["changes"][0]["origin"]["user"].as_str().unwrap();
    assert_eq!(user, "eve\u{1b}]0;OWNED\u{7}\u{1b}[2J");
}

/// Writes values into the audit log and the links that current versions reject.
async fn forge(database: &std::path::Path) {
    use sea_orm::{ConnectionTrait as _, Database};
    let db = Database::connect(format!("sqlite:{}", database.display())).await.unwrap();
    let eve = "'eve' || char(27) || ']0;OWNED' || char(7) || char(27) || '[2J'";
    let reason = "'typo' || char(10) || '2026-01-01 00:00:00Z  purged, manager/main, by the-owner' \
                  || char(8238)";
    for sql in [
        format!("UPDATE audit SET user_id = {eve}, reason = {reason}"),
        format!("UPDATE feed_change SET origin_user = {eve}"),
        format!("UPDATE link SET linked_by = {eve}"),
    ] {
        db.execute_unprepared(&sql).await.unwrap();
    }
    db.close().await.unwrap();
}
