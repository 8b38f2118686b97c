//! Erasure: a purged client leaves no data in any table or database file.

use std::time::Duration;

use concord_proto::pb::{
    imports::{CreateImportRequest, ImportState},
    records::{
        CreateClientRequest, ListContactsRequest, NewPerson, Timeline, correct_entry_request,
        create_client_request::Individual, list_contacts_request::Of,
    },
};
use concord_testing::{TestDb, storage_tests};

use concord_testing::e2e::{
    import_records,
    pair::Pair,
    records::{
        correction, create, entries, individual, new_person, person, person_name, purge, trading,
        unlink, unlink_person,
    },
};

storage_tests! {
    purge_leaves_no_data_in_either_database,
    upload_before_purge_does_not_recreate_client,
}

/// Markers in the values of the erased records, also in the lower case of search words.
const MARKS: [&str; 5] = ["zyxmark", "Zyxmark", "AB123456C", "ab123456c", "Qwvold"];

async fn start(db: &TestDb) -> Pair {
    Pair::start_with(db, |config| config.jobs_every = Duration::from_millis(200)).await
}

/// An individual, whose surname is `Zyxmark`.
fn client(source_id: &str) -> Vec<u8> {
    import_records::client(source_id, |client| {
        client.client_reference = format!("Zyxmark{source_id}");
        client.client_type = "INDIVIDUAL".into();
        client.registered_name.clear();
        client.forename = "Zyxmark".into();
        client.surname = "Zyxmark".into();
        client.email = "zyxmark@example.com".into();
    })
}

fn contact(source_id: &str, clients: &[&str]) -> Vec<u8> {
    import_records::contact(source_id, clients, |contact| {
        contact.clients.iter_mut().for_each(|client| client.roles = vec!["OTHER".into()]);
        contact.surname = "Zyxmark".into();
    })
}

fn address(source_id: &str, owner: &str, line_1: &str) -> Vec<u8> {
    import_records::address(source_id, ("client", owner), |address| {
        address.r#type = "RESIDENTIAL".into();
        address.line_1 = line_1.into();
    })
}

async fn occurrences(db: &TestDb) -> Vec<String> {
    let mut found = Vec::new();
    for mark in MARKS {
        found.extend(
            db.containing(mark).await.into_iter().map(|location| format!("{location}: {mark}")),
        );
    }
    found
}

async fn assert_nothing_left(db: &TestDb) {
    for _ in 0..300 {
        if occurrences(db).await.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("{:#?}", occurrences(db).await);
}

async fn purge_leaves_no_data_in_either_database(db: TestDb) {
    let pair = start(&db).await;
    let manager = &pair.manager;
    // One imported client, and one saved by a product.
    let records = [
        client("C1"),
        contact("P1", &["C1"]),
        address("A1", "C1", "Zyxmark"),
        address("A2", "C9", "Left"),
    ];
    let import = pair.import(CreateImportRequest::default(), &records).await;
    assert_eq!(import.counters.unwrap().imported, 3, "{:?}", pair.failures(&import.id).await);
    let imported = "ref:ZyxmarkC1";
    let with_nino = NewPerson {
        nino: "AB123456C".into(),
        emails: vec!["zyxmark@example.com".into()],
        ..new_person("Zyxmark", "Qwvold")
    };
    let saved = CreateClientRequest {
        individual: Some(Individual::Person(with_nino)),
        addresses: vec![trading("Zyxmark", "2019-07-01", "")],
        ..individual("ZyxmarkC2", "", "")
    };
    let saved = create(manager, saved).await;
    // The audit keeps the value from before the correction.
    let entries = entries(manager, &saved.person_id, Timeline::PersonName).await;
    let mut corrected = correction(&entries[0], &["value"]);
    corrected.value = Some(correct_entry_request::Value::PersonName(person_name("A", "Zyxmark")));
    corrected.reason = "It was Qwvold by mistake".into();
    manager.history().correct_entry(corrected).await.unwrap();
    let stays = create(manager, individual("STAYS", "Left", "Alone")).await;
    assert!(!occurrences(&db).await.is_empty());

    let contacts = ListContactsRequest {
        of: Some(Of::Client(imported.into())),
        ..ListContactsRequest::default()
    };
    let contacts = manager.contacts().list_contacts(contacts).await.unwrap().into_inner().contacts;
    let spouse = contacts[0].person.as_ref().unwrap().id.clone();
    for name in [imported, "ref:ZyxmarkC2"] {
        unlink(manager, name).await.unwrap();
    }
    unlink_person(manager, &spouse).await.unwrap();
    // Also the contact, its person, and the person of the client.
    assert_eq!(purge(manager, imported).await.unwrap().record_ids.len(), 4);
    assert_eq!(purge(manager, "ref:ZyxmarkC2").await.unwrap().record_ids.len(), 2);
    assert_nothing_left(&db).await;
    assert_eq!(person(manager, &stays.person_id).await.name.unwrap().surname, "Alone");

    // The failed address of the unknown client is still retried, and nothing else.
    let retried = pair.retry(&import.id, false).await.unwrap();
    let retried = pair.end(&retried.id).await;
    assert_eq!(retried.counters.unwrap().imported, 3);
    assert_nothing_left(&db).await;
    pair.stop().await;
}

async fn upload_before_purge_does_not_recreate_client(db: TestDb) {
    let pair = start(&db).await;
    let manager = &pair.manager;
    pair.import(CreateImportRequest::default(), &[client("C1")]).await;
    let waiting = pair.create(CreateImportRequest::default()).await;
    pair.upload(&waiting, "one", &[client("C1"), address("A1", "C1", "Zyxmark")]).await;
    unlink(manager, "ref:ZyxmarkC1").await.unwrap();
    purge(manager, "ref:ZyxmarkC1").await.unwrap();
    pair.seal(&waiting, 1, 2).await;
    let ended = pair.end(&waiting).await;
    assert_eq!(ended.state(), ImportState::CompletedWithFailures);
    let failures = pair.failures(&waiting).await;
    assert_eq!(failures.len(), 2);
    assert!(failures.iter().all(|one| one.reason == "RECORD_ERASED"), "{failures:?}");
    assert_eq!(pair.client_count().await, 0);
    assert_nothing_left(&db).await;
    pair.stop().await;
}
