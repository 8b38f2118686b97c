//! Snapshots: every record in its current state, followed by the changes.

use std::collections::BTreeMap;

use concord_proto::{
    pb::records::{
        AddEntryRequest, ChangeKind, Client, Contact, Person, RecordKind, SubscribeRequest,
        Timeline, add_entry_request, subscribe_response::Message,
    },
    wire::SnapshotRecord,
};
use concord_testing::{TestDb, storage_tests};
use prost::Message as _;

use concord_testing::e2e::{
    feed::{
        EventStream, acknowledge, after, connect_all, create_all, from_snapshot, named, references,
        restart, server_with, subscription, two_products, wait_until_sequenced, with_own,
    },
    records::{
        address_entry, appoint, client, company, create, entries, individual, link_request,
        person_name, removal, unlink,
    },
};

storage_tests! {
    snapshot_has_every_record_once_then_changes,
    interrupted_snapshot_resumes_from_cursor,
    subscription_resumes_acknowledged_snapshot,
    snapshot_applies_filters,
    product_snapshot_has_all_connected_practices,
    linked_only_includes_contacts_and_persons,
}

/// The versions of records by id. Asserts that no record occurs twice.
fn versions(records: &[SnapshotRecord]) -> BTreeMap<String, i64> {
    let pairs = records.iter().map(|record| (record.record_id.clone(), record.record_version));
    let versions: BTreeMap<_, _> = pairs.collect();
    assert_eq!(versions.len(), records.len(), "no record twice");
    versions
}

async fn snapshot_has_every_record_once_then_changes(db: TestDb) {
    let (_server, manager, books) = two_products(&db).await;
    create_all(&manager, references(600)).await;
    let acme = client(&manager, "ref:R5").await;
    let (contact, person) = appoint(&manager, &acme.id, "Grace", "Okafor").await;
    let grace = create(&manager, individual("IND", "Ada", "Byron")).await;
    let moving = address_entry(&acme.id, "New House", "2026-03-01", "");
    manager.history().add_entry(moving).await.unwrap();
    wait_until_sequenced(&books, 603).await;
    let mut stream = EventStream::open(&books, from_snapshot()).await;
    assert!(stream.handshake.snapshot && !stream.handshake.snapshot_resumed);
    let (records, end) = stream.snapshot().await;
    assert_eq!(end.record_count, i64::try_from(records.len()).unwrap());
    assert_eq!(end.position, stream.handshake.position);
    assert_eq!(records.len(), 601 + 2 + 1);
    let received = versions(&records);
    assert_eq!((received[&acme.id], received[&contact.id], received[&person.id]), (2, 1, 1));
    assert!(received.contains_key(&grace.id) && received.contains_key(&grace.person_id));
    for record in &records {
        let images = (record.client.clone(), record.person.clone(), record.contact.clone());
        let (id, version) = match images {
            (Some(image), None, None) => Client::decode(image).map(|c| (c.id, c.version)).unwrap(),
            (None, Some(image), None) => Person::decode(image).map(|p| (p.id, p.version)).unwrap(),
            (None, None, Some(image)) => Contact::decode(image).map(|c| (c.id, c.version)).unwrap(),
            _ => panic!("one image"),
        };
        assert_eq!((&id, version), (&record.record_id, record.record_version));
        assert!(!record.linked, "books has no link");
    }
    create_all(&manager, ["R9999".to_owned()]).await;
    let events = stream.take(1).await;
    assert_eq!(events[0].position, end.position + 1);
    assert_eq!(events[0].previous_position, end.position);
}

async fn interrupted_snapshot_resumes_from_cursor(db: TestDb) {
    let (_server, manager, books) = two_products(&db).await;
    create_all(&manager, references(600)).await;
    wait_until_sequenced(&books, 600).await;
    let mut first = EventStream::open(&books, from_snapshot()).await;
    let Some(Message::SnapshotRecords(batch)) = first.message().await.unwrap() else {
        panic!("records")
    };
    drop(first);
    // Meanwhile one record of each part changes, and one is created.
    let changed = [&batch.records[0].record_id, "ref:R599"];
    for name in changed {
        let moving = address_entry(name, "New House", "2026-03-01", "");
        manager.history().add_entry(moving).await.unwrap();
    }
    create_all(&manager, ["LATE".to_owned()]).await;
    let mut resumed = EventStream::open(&books, after(&batch.cursor)).await;
    assert!(resumed.handshake.snapshot && resumed.handshake.snapshot_resumed);
    let (rest, end) = resumed.snapshot().await;
    let mut all = batch.records.clone();
    all.extend(rest);
    let mut received = versions(&all);
    assert_eq!(received.len(), 601, "also the new record, which is after the cursor");
    assert_eq!(end.position, 600, "the position when the snapshot started");
    for event in resumed.take(3).await {
        let image = Client::decode(event.client.unwrap()).unwrap();
        let known = received.entry(image.id).or_default();
        *known = image.version.max(*known);
    }
    for name in changed {
        let now = client(&manager, name).await;
        assert_eq!(received[&now.id], now.version);
    }
}

async fn subscription_resumes_acknowledged_snapshot(db: TestDb) {
    let (_server, manager, books) = two_products(&db).await;
    create_all(&manager, references(600)).await;
    wait_until_sequenced(&books, 600).await;
    let request = SubscribeRequest { subscription: "ledger".into(), ..from_snapshot() };
    let mut first = EventStream::open(&books, request.clone()).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let Some(Message::SnapshotRecords(batch)) = first.message().await.unwrap() else {
            panic!("records")
        };
        seen.push(batch);
    }
    acknowledge(&books, "ledger", &seen[0].cursor).await.unwrap();
    drop(first);
    assert!(subscription(&books, "ledger").await.in_snapshot);
    // The same first request resumes the snapshot and does not restart it.
    let mut second = EventStream::open(&books, request).await;
    assert!(second.handshake.snapshot_resumed);
    let (rest, end) = second.snapshot().await;
    let mut all = seen[0].records.clone();
    all.extend(rest);
    assert_eq!(versions(&all).len(), 600);
    assert_eq!(acknowledge(&books, "ledger", &end.cursor).await.unwrap(), 600);
    let stale = acknowledge(&books, "ledger", &seen[1].cursor).await;
    assert_eq!(stale.unwrap(), 600, "an older cursor does not move the position back");
    drop(second);
    let third = EventStream::open(&books, named("ledger")).await;
    assert!(!third.handshake.snapshot);
    assert_eq!(third.handshake.position, 600);
    let mut fourth = EventStream::open(&books, restart("ledger")).await;
    assert_eq!(fourth.snapshot().await.0.len(), 600);
}

async fn snapshot_applies_filters(db: TestDb) {
    let (_server, manager, books) = two_products(&db).await;
    let acme = create(&manager, company("ACME", "Acme Limited")).await;
    let own = create(&books, company("OWN", "Own Limited")).await;
    let ada = create(&manager, individual("IND", "Ada", "Byron")).await;
    let (contact, person) = appoint(&manager, &acme.id, "Grace", "Okafor").await;
    let of = async |kinds: &[RecordKind], linked_only: bool| {
        let record_kinds = kinds.iter().map(|kind| (*kind).into()).collect();
        let request = SubscribeRequest { record_kinds, linked_only, ..from_snapshot() };
        EventStream::open(&books, request).await.snapshot().await.0
    };
    let ids = |records: &[SnapshotRecord]| -> Vec<String> {
        records.iter().map(|record| record.record_id.clone()).collect()
    };
    assert_eq!(ids(&of(&[RecordKind::Client], false).await).len(), 3);
    let linked = of(&[], true).await;
    assert_eq!(ids(&linked), [own.id]);
    assert!(linked[0].linked);
    let contacts = of(&[RecordKind::Contact], false).await;
    assert_eq!(ids(&contacts), [contact.id]);
    let included = Person::decode(contacts[0].person.clone().unwrap()).unwrap();
    assert_eq!(included.id, person.id, "a contact includes its person");
    let clients = of(&[RecordKind::Client], false).await;
    let individual = clients.iter().find(|record| record.record_id == ada.id).unwrap();
    assert!(individual.person.is_some(), "an individual includes its person");
    let both = of(&[RecordKind::Contact, RecordKind::Person], false).await;
    assert!(both.iter().all(|record| record.contact.is_none() || record.person.is_none()));
}

async fn product_snapshot_has_all_connected_practices(db: TestDb) {
    let server = server_with(&db, &["manager", "books"]).await;
    for practice in ["p1-b", "p10", "p2"] {
        connect_all(&server, practice, &["manager"]).await;
    }
    connect_all(&server, "p10", &["books"]).await;
    connect_all(&server, "p2", &["books"]).await;
    for practice in ["p1", "p1-b", "p10", "p2"] {
        let manager = server.owner(practice, "manager").await;
        create(&manager, company("ACME", "Acme Limited")).await;
        create(&manager, individual("IND", "Ada", "Byron")).await;
    }
    let everywhere = server.owner("p1", "books").await.without("x-concord-practice");
    let (records, _) = EventStream::open(&everywhere, from_snapshot()).await.snapshot().await;
    let of_practices: Vec<_> =
        records.iter().map(|r| (r.practice_id.as_str(), r.record_kind())).collect();
    let (person, client) = (RecordKind::Person, RecordKind::Client);
    let each = |practice| [(practice, person), (practice, client), (practice, client)];
    assert_eq!(of_practices, ["p1", "p10", "p2"].map(each).concat(), "p1-b has no books");
    let practices = vec!["p10".to_owned()];
    let narrowed = SubscribeRequest { practices, ..from_snapshot() };
    let (records, _) = EventStream::open(&everywhere, narrowed).await.snapshot().await;
    assert_eq!(records.len(), 3);
}

async fn linked_only_includes_contacts_and_persons(db: TestDb) {
    let (_server, manager, books) = two_products(&db).await;
    let acme = create(&books, company("ACME", "Acme Limited")).await;
    let other = create(&manager, company("OTHER", "Other Limited")).await;
    manager.clients().link_client(link_request(&acme.id)).await.unwrap();
    wait_until_sequenced(&books, 3).await;
    let linked_only = SubscribeRequest { linked_only: true, ..from_snapshot() };
    let mut stream = EventStream::open(&books, linked_only.clone()).await;
    assert_eq!(stream.snapshot().await.0.len(), 1);
    appoint(&manager, &other.id, "Not", "Linked").await;
    let (contact, person) = appoint(&manager, &acme.id, "Grace", "Okafor").await;
    let events = stream.take(1).await;
    assert_eq!((&events[0].record_id, events[0].linked), (&contact.id, true));
    let etag = entries(&manager, &person.id, Timeline::PersonName).await.remove(0).etag;
    let name = add_entry_request::Value::PersonName(person_name("Grace", "Hopper"));
    let renamed = AddEntryRequest {
        timeline: Timeline::PersonName.into(),
        address_type: 0,
        value: Some(name),
        ..address_entry(&person.id, "", "2026-03-01", &etag)
    };
    manager.history().add_entry(renamed).await.unwrap();
    assert_eq!(stream.take(1).await[0].record_id, person.id, "a person of a linked client");
    manager.contacts().remove_contact(removal(&contact)).await.unwrap();
    let events = stream.take(1).await;
    assert_eq!((&events[0].record_id, events[0].kind()), (&contact.id, ChangeKind::Purged));
    unlink(&books, &acme.id).await.unwrap();
    let own = EventStream::open(
        &books,
        with_own(SubscribeRequest { linked_only: true, ..after(&stream.cursor) }),
    );
    let events = own.await.take(1).await;
    assert_eq!(events[0].kind(), ChangeKind::Unlinked, "the end of its own link");
}
