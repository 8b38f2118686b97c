//! Snapshots: every record as it is, then the changes.

use std::collections::BTreeMap;

use prost::Message as _;
use shared::{
    pb::records::{
        ChangeKind, Client, Contact, Person, RecordKind, SubscribeRequest,
        subscribe_response::Message,
    },
    testing::{TestDb, storage_tests},
    wire::SnapshotRecord,
};

use crate::support::{
    caller::Caller,
    feed::{
        Listening, acknowledge, after, connect_all, create_all, from_snapshot, named, references,
        sequenced, server_with, subscription, with_own,
    },
    records::{appoint, client, company, create, entries, individual, moved},
};

storage_tests! {
    a_snapshot_holds_every_record_once_and_the_changes_follow,
    a_snapshot_that_breaks_off_goes_on_where_it_was,
    a_subscription_keeps_its_place_in_a_snapshot,
    a_snapshot_holds_what_was_asked_for,
    a_backend_gets_all_practices_that_it_is_connected_to,
    linked_records_bring_their_contacts_and_persons,
}

/// The ids of records with their versions; no record twice.
fn versions(records: &[SnapshotRecord]) -> BTreeMap<String, i64> {
    let pairs = records.iter().map(|record| (record.record_id.clone(), record.record_version));
    let versions: BTreeMap<_, _> = pairs.collect();
    assert_eq!(versions.len(), records.len(), "no record twice");
    versions
}

async fn a_snapshot_holds_every_record_once_and_the_changes_follow(db: TestDb) {
    let server = server_with(&db, &["manager", "books"]).await;
    let manager = Caller::owner(server.channel().await, "p1", "manager");
    let books = Caller::owner(server.channel().await, "p1", "books");
    create_all(&manager, references(600)).await;
    let acme = client(&manager, "ref:R5").await;
    let (contact, person) = appoint(&manager, &acme.id, "Grace", "Okafor").await;
    let grace = create(&manager, individual("IND", "Ada", "Byron")).await;
    let moving = moved(&acme.id, "New House", "2026-03-01", "");
    manager.history().add_entry(moving).await.unwrap();
    sequenced(&books, 603).await;
    let mut stream = Listening::open(&books, from_snapshot()).await;
    assert!(stream.handshake.snapshot && !stream.handshake.snapshot_resumed);
    let (records, end) = stream.snapshot().await;
    assert_eq!(end.record_count, i64::try_from(records.len()).unwrap());
    assert_eq!(end.position, stream.handshake.position);
    assert_eq!(records.len(), 601 + 2 + 1);
    let held = versions(&records);
    assert_eq!((held[&acme.id], held[&contact.id], held[&person.id]), (2, 1, 1));
    assert!(held.contains_key(&grace.id) && held.contains_key(&grace.person_id));
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

async fn a_snapshot_that_breaks_off_goes_on_where_it_was(db: TestDb) {
    let server = server_with(&db, &["manager", "books"]).await;
    let manager = Caller::owner(server.channel().await, "p1", "manager");
    let books = Caller::owner(server.channel().await, "p1", "books");
    create_all(&manager, references(600)).await;
    sequenced(&books, 600).await;
    let mut first = Listening::open(&books, from_snapshot()).await;
    let Some(Message::SnapshotRecords(batch)) = first.message().await.unwrap() else {
        panic!("records")
    };
    drop(first);
    // Meanwhile one record of each part changes, and one is new.
    let changed = [&batch.records[0].record_id, "ref:R599"];
    for name in changed {
        let moving = moved(name, "New House", "2026-03-01", "");
        manager.history().add_entry(moving).await.unwrap();
    }
    create_all(&manager, ["LATE".to_owned()]).await;
    let mut resumed = Listening::open(&books, after(&batch.cursor)).await;
    assert!(resumed.handshake.snapshot && resumed.handshake.snapshot_resumed);
    let (rest, end) = resumed.snapshot().await;
    let mut all = batch.records.clone();
    all.extend(rest);
    let mut held = versions(&all);
    assert_eq!(held.len(), 601, "the late one too: it lies ahead");
    assert_eq!(end.position, 600, "as when the snapshot began");
    for event in resumed.take(3).await {
        let image = Client::decode(event.client.unwrap()).unwrap();
        let known = held.entry(image.id).or_default();
        *known = image.version.max(*known);
    }
    for name in changed {
        let now = client(&manager, name).await;
        assert_eq!(held[&now.id], now.version);
    }
}

async fn a_subscription_keeps_its_place_in_a_snapshot(db: TestDb) {
    let server = server_with(&db, &["manager", "books"]).await;
    let manager = Caller::owner(server.channel().await, "p1", "manager");
    let books = Caller::owner(server.channel().await, "p1", "books");
    create_all(&manager, references(600)).await;
    sequenced(&books, 600).await;
    let request = SubscribeRequest { subscription: "ledger".into(), ..from_snapshot() };
    let mut first = Listening::open(&books, request.clone()).await;
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
    // The first of its requests again: it goes on, it does not begin anew.
    let mut second = Listening::open(&books, request.clone()).await;
    assert!(second.handshake.snapshot_resumed);
    let (rest, end) = second.snapshot().await;
    let mut all = seen[0].records.clone();
    all.extend(rest);
    assert_eq!(versions(&all).len(), 600);
    assert_eq!(acknowledge(&books, "ledger", &end.cursor).await.unwrap(), 600);
    let late = acknowledge(&books, "ledger", &seen[1].cursor).await;
    assert_eq!(late.unwrap(), 600, "a late one moves nothing back");
    drop(second);
    let third = Listening::open(&books, named("ledger")).await;
    assert!(!third.handshake.snapshot);
    assert_eq!(third.handshake.position, 600);
    let anew = SubscribeRequest { restart: true, ..request };
    let mut fourth = Listening::open(&books, anew).await;
    assert_eq!(fourth.snapshot().await.0.len(), 600);
}

async fn a_snapshot_holds_what_was_asked_for(db: TestDb) {
    let server = server_with(&db, &["manager", "books"]).await;
    let manager = Caller::owner(server.channel().await, "p1", "manager");
    let books = Caller::owner(server.channel().await, "p1", "books");
    let acme = create(&manager, company("ACME", "Acme Limited")).await;
    let own = create(&books, company("OWN", "Own Limited")).await;
    let ada = create(&manager, individual("IND", "Ada", "Byron")).await;
    let (contact, person) = appoint(&manager, &acme.id, "Grace", "Okafor").await;
    let of = async |kinds: &[RecordKind], linked_only: bool| {
        let record_kinds = kinds.iter().map(|kind| (*kind).into()).collect();
        let request = SubscribeRequest { record_kinds, linked_only, ..from_snapshot() };
        Listening::open(&books, request).await.snapshot().await.0
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
    let beside = Person::decode(contacts[0].person.clone().unwrap()).unwrap();
    assert_eq!(beside.id, person.id, "a person comes beside its contact");
    let clients = of(&[RecordKind::Client], false).await;
    let individual = clients.iter().find(|record| record.record_id == ada.id).unwrap();
    assert!(individual.person.is_some(), "and beside an individual");
    let both = of(&[RecordKind::Contact, RecordKind::Person], false).await;
    assert!(both.iter().all(|record| record.contact.is_none() || record.person.is_none()));
}

async fn a_backend_gets_all_practices_that_it_is_connected_to(db: TestDb) {
    let server = server_with(&db, &["manager", "books"]).await;
    for practice in ["p1-b", "p10", "p2"] {
        connect_all(&server, practice, &["manager"]).await;
    }
    connect_all(&server, "p10", &["books"]).await;
    connect_all(&server, "p2", &["books"]).await;
    for practice in ["p1", "p1-b", "p10", "p2"] {
        let manager = Caller::owner(server.channel().await, practice, "manager");
        create(&manager, company("ACME", "Acme Limited")).await;
        create(&manager, individual("IND", "Ada", "Byron")).await;
    }
    let everywhere =
        Caller::owner(server.channel().await, "p1", "books").without("x-concord-practice");
    let (records, _) = Listening::open(&everywhere, from_snapshot()).await.snapshot().await;
    let of_practices: Vec<_> =
        records.iter().map(|r| (r.practice_id.as_str(), r.record_kind())).collect();
    let (person, client) = (RecordKind::Person, RecordKind::Client);
    let each = |practice| [(practice, person), (practice, client), (practice, client)];
    assert_eq!(of_practices, ["p1", "p10", "p2"].map(each).concat(), "p1-b has no books");
    let practices = vec!["p10".to_owned()];
    let narrowed = SubscribeRequest { practices, ..from_snapshot() };
    let (records, _) = Listening::open(&everywhere, narrowed).await.snapshot().await;
    assert_eq!(records.len(), 3);
}

async fn linked_records_bring_their_contacts_and_persons(db: TestDb) {
    let server = server_with(&db, &["manager", "books"]).await;
    let manager = Caller::owner(server.channel().await, "p1", "manager");
    let books = Caller::owner(server.channel().await, "p1", "books");
    let acme = create(&books, company("ACME", "Acme Limited")).await;
    let other = create(&manager, company("OTHER", "Other Limited")).await;
    let link = shared::pb::records::LinkClientRequest {
        client: acme.id.clone(),
        request_id: crate::support::caller::request_id(),
        ..Default::default()
    };
    manager.clients().link_client(link).await.unwrap();
    sequenced(&books, 3).await;
    let linked_only = SubscribeRequest { linked_only: true, ..from_snapshot() };
    let mut stream = Listening::open(&books, linked_only.clone()).await;
    assert_eq!(stream.snapshot().await.0.len(), 1);
    appoint(&manager, &other.id, "Not", "Heard").await;
    let (contact, person) = appoint(&manager, &acme.id, "Grace", "Okafor").await;
    let heard = stream.take(1).await;
    assert_eq!((&heard[0].record_id, heard[0].linked), (&contact.id, true));
    let timeline = shared::pb::records::Timeline::PersonName;
    let etag = entries(&manager, &person.id, timeline).await.remove(0).etag;
    let name = crate::support::records::person_name("Grace", "Hopper");
    let renamed = shared::pb::records::AddEntryRequest {
        timeline: timeline.into(),
        address_type: 0,
        value: Some(shared::pb::records::add_entry_request::Value::PersonName(name)),
        ..moved(&person.id, "", "2026-03-01", &etag)
    };
    manager.history().add_entry(renamed).await.unwrap();
    assert_eq!(stream.take(1).await[0].record_id, person.id, "a person of a linked client");
    let remove = shared::pb::records::RemoveContactRequest {
        contact: contact.id.clone(),
        etag: contact.etag.clone(),
        request_id: crate::support::caller::request_id(),
        ..Default::default()
    };
    manager.contacts().remove_contact(remove).await.unwrap();
    let heard = stream.take(1).await;
    assert_eq!((&heard[0].record_id, heard[0].kind()), (&contact.id, ChangeKind::Purged));
    let unlink = shared::pb::records::UnlinkClientRequest {
        client: acme.id.clone(),
        request_id: crate::support::caller::request_id(),
        ..Default::default()
    };
    books.clients().unlink_client(unlink).await.unwrap();
    let own = Listening::open(
        &books,
        with_own(SubscribeRequest { linked_only: true, ..after(&stream.cursor) }),
    );
    let heard = own.await.take(1).await;
    assert_eq!(heard[0].kind(), ChangeKind::Unlinked, "the end of its own link");
}
