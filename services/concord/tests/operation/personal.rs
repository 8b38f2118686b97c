//! Logs, metrics and traces contain no personal data, even at the most verbose level.

use std::{collections::BTreeSet, fs};

use concord_proto::pb::records::{
    Address, AddressType, BatchGetClientsRequest, Client, ClientFields, ClientIdentifiers,
    CreateClientRequest, GetClientRequest, ListClientsRequest, NewAddress, NewPerson,
    SearchRecordsRequest,
};
use concord_testing::{TestDb, storage_tests};

use crate::{collector::Collector, sample, server_process::ServerProcess};
use concord_testing::e2e::{
    caller::{Caller, request_id},
    records::{company, create, house, name_entry, new_person, person_request, update_request},
};

storage_tests! { telemetry_contains_no_personal_data }

/// The personal data in the calls of this test, in addition to the sample.
const PERSONAL: [&str; 22] = [
    "Wisteria",
    "Quillon",
    "Wisteria Quillon Limited",
    "WIS-REF-1",
    "wis-ref-1",
    "99007013",
    "99007014",
    "QQ123456C",
    "1961-07-23",
    "1961-02-30",
    "wisteria@quillon.example",
    "not an email of Wisteria",
    "01632 960333",
    "12 Hollyhock Passage",
    "Wisteria Hollyhock Limited",
    "ZZ9 9ZZ",
    "Hollyhock",
    "wisteria-external-1",
    "olivia.owner@practice.example",
    "Nul\u{0}Quillon",
    "hollyh",
    "Pebblewick Secret",
];

async fn telemetry_contains_no_personal_data(db: TestDb) {
    let collector = Collector::start().await;
    let url = collector.url();
    let mut more = vec!["--otlp-endpoint", &url];
    if db.is_postgres() {
        more.extend(["--records-db", db.url(), "--imports-db", db.url()]);
    }
    let mut server = ServerProcess::start(&more);
    let owner = async |product| {
        let caller =
            server.owner(product).await.with("x-concord-user", "olivia.owner@practice.example");
        caller.connect().await
    };
    let (manager, books) = (owner("manager").await, owner("books").await);
    imports(&server);
    calls(&manager).await;
    failures(&manager, &books).await;
    reading(&server);
    let metrics = ["records", "imports"].map(|service| server.metrics(service)).concat();
    tokio::task::block_in_place(|| server.end());

    let mut values = sample::personal();
    values.extend(PERSONAL.map(ToOwned::to_owned));
    for (what, text) in [("log", server.log()), ("metrics", metrics), ("traces", collector.text())]
    {
        assert!(text.len() > 10_000, "the {what} are too short: {text}");
        let found = sample::found(&values, &text);
        assert!(found.is_empty(), "in the {what}:\n{}", found.join("\n"));
    }
}

/// Imports the sample, also for another product and as a dry run, and files with invalid values.
fn imports(server: &ServerProcess) {
    let folder = sample::folder();
    let files = folder.to_str().unwrap();
    server.run("import", "manager", &[files, "--json", "--failures", "failures.csv"]);
    server.run("import", "books", &[files, "--dry-run"]);
    server.run("import", "books", &[files]);
    // A valid file with invalid values.
    let wrong = server.folder.path().join("wrong");
    fs::create_dir(&wrong).unwrap();
    let text = "source_id,client_reference,client_type,registered_name,birth_date,email,phone,utr\n\
                X1,WIS-REF-1,PRIVATE_LIMITED_COMPANY,Wisteria Quillon Limited,1961-02-30,\
                not an email of Wisteria,01632 960333,99007014\n\
                X2,wis-ref-1,NO_SUCH_TYPE,Hollyhock,1961-07-23,wisteria@quillon.example,,\n";
    fs::write(wrong.join("clients.csv"), text).unwrap();
    let output =
        server.run("import", "manager", &[wrong.to_str().unwrap(), "--failures", "wrong.csv"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

fn wisteria() -> CreateClientRequest {
    CreateClientRequest {
        identifiers: Some(ClientIdentifiers {
            company_number: "99007013".into(),
            ..ClientIdentifiers::default()
        }),
        emails: vec!["wisteria@quillon.example".into()],
        phones: vec!["01632 960333".into()],
        addresses: vec![NewAddress {
            r#type: AddressType::Trading.into(),
            address: Some(Address { postcode: "ZZ9 9ZZ".into(), ..house("12 Hollyhock Passage") }),
            ..NewAddress::default()
        }],
        external_id: "wisteria-external-1".into(),
        ..company("WIS-REF-1", "Wisteria Quillon Limited")
    }
}

fn quillon() -> NewPerson {
    NewPerson {
        birth_date: "1961-07-23".into(),
        emails: vec!["wisteria@quillon.example".into()],
        ..new_person("Wisteria", "Quillon")
    }
}

/// Calls that succeed.
async fn calls(manager: &Caller) {
    let client = create(manager, wisteria()).await;
    manager.persons().create_person(person_request(quillon())).await.unwrap();
    let fields = ClientFields { client_reference: "WIS-REF-2".into(), ..ClientFields::default() };
    let update = update_request(&client, &["client_reference"], fields);
    manager.clients().update_client(update).await.unwrap();
    let etag = &client.entries[0].etag;
    let renamed = name_entry(&client.id, "Wisteria Hollyhock Limited", "", etag);
    manager.history().add_entry(renamed).await.unwrap();
    let query = |text: &str| SearchRecordsRequest { query: text.into(), ..Default::default() };
    for text in ["Wisteria", "hollyh", "WIS-REF-2", "99007013", "Kestrelton", "Pebblewick Secret"] {
        manager.support().search_records(query(text)).await.unwrap();
    }
}

/// Calls that fail, each for another reason.
async fn failures(manager: &Caller, books: &Caller) {
    let again = CreateClientRequest { external_id: String::new(), ..wisteria() };
    let wrong = [
        // The old reference is unused; the name and the number are in use.
        CreateClientRequest { client_reference: "BRI001".into(), ..again.clone() },
        CreateClientRequest { emails: vec!["not an email of Wisteria".into()], ..again.clone() },
        CreateClientRequest { client_reference: "Nul\u{0}Quillon".into(), ..again.clone() },
        wisteria(),
        CreateClientRequest {
            identifiers: Some(ClientIdentifiers {
                utr: "99007014".into(),
                ..ClientIdentifiers::default()
            }),
            ..again
        },
    ];
    for request in wrong {
        let request = CreateClientRequest { request_id: request_id(), ..request };
        manager.clients().create_client(request).await.unwrap_err();
    }
    for person in [
        NewPerson { birth_date: "1961-02-30".into(), ..quillon() },
        NewPerson { nino: "QQ123456C".into(), ..quillon() },
    ] {
        manager.persons().create_person(person_request(person)).await.unwrap_err();
    }
    for client in ["ref:wis-ref-1", "company:99007014", "Wisteria Quillon Limited", "ref:Nul\u{0}"]
    {
        let request = GetClientRequest { client: client.into() };
        books.clients().get_client(request).await.unwrap_err();
    }
    let batch =
        BatchGetClientsRequest { clients: vec!["ref:BRI001".into(), "ref:Hollyhock".into()] };
    let _ = books.clients().batch_get_clients(batch).await;
    let page =
        ListClientsRequest { page_token: "Wisteria".into(), ..ListClientsRequest::default() };
    books.clients().list_clients(page).await.unwrap_err();
    let stale = Client { id: "ref:OTT001".into(), etag: "Wisteria".into(), ..Client::default() };
    let fields = ClientFields { client_reference: "BRI001".into(), ..ClientFields::default() };
    let stale = update_request(&stale, &["client_reference"], fields);
    books.clients().update_client(stale).await.unwrap_err();
    let badly_named = books.clone().with("x-concord-roles", "Hollyhock");
    badly_named.clients().list_clients(ListClientsRequest::default()).await.unwrap_err();
}

/// Runs the commands that read.
fn reading(server: &ServerProcess) {
    for words in ["Kestrelton", "brindle", "BRI001", "Pebblewick Secret"] {
        server.run("find", "books", &[words]);
    }
    assert!(server.run("show", "books", &["ref:BRI001"]).status.success());
    assert!(server.run("trace", "books", &["ref:BRI001"]).status.success());
    let watch = ["--name", "ledger", "--snapshot", "--ack", "--until-idle", "1"];
    assert!(server.run("watch", "books", &watch).status.success());
}

#[test]
fn personal_values_are_unique() {
    let values: BTreeSet<_> = PERSONAL.into_iter().collect();
    assert_eq!(values.len(), PERSONAL.len());
}
