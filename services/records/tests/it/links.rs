//! Links between products and records, and the lifecycle of records: orphaned, restored,
//! purged.

use concord_proto::pb::records::{
    ChangeKind, Client, GetClientRequest, GetContactRequest, GetPersonRequest, Link,
    LinkPersonRequest, LinkPersonResponse, ListClientLinksRequest, ListClientsRequest,
    ListPersonsRequest, RecordKind, RecordState, SearchRecordsRequest, create_contact_request::Who,
};
use concord_testing::{TestDb, storage_tests};
use tonic::{Code, Response, Status};

use concord_testing::e2e::{
    caller::{Caller, at_once, request_id},
    feed::{EventStream, from_earliest},
    records::{
        Acme, address_entry, appoint, assert_refused, client, company, contact_request, create,
        error_metadata, individual, kinds, link, new_person, person, purge, purge_request, reason,
        removal, unlink, unlink_person,
    },
    servers,
};

storage_tests! {
    linked_product_may_change_record,
    repeated_link_creates_one_link,
    external_id_of_account_is_unique,
    link_does_not_change_etag,
    last_unlink_orphans_client,
    link_before_purge_restores_client,
    unlink_removes_own_link_only,
    each_account_has_own_link,
    change_of_orphaned_client_is_refused,
    reference_of_orphaned_client_stays_taken,
    purge_of_client_in_use_is_refused,
    purge_needs_role_and_reason,
    purge_removes_client_contacts_and_persons,
    purge_keeps_person_in_use,
    person_is_orphaned_with_last_use,
    purge_of_individual_removes_person,
    lifecycle_changes_are_delivered_to_other_products,
    concurrent_links_create_one_link,
    concurrent_link_and_last_unlink_leave_client_active,
    invalid_names_and_other_practices_are_refused,
}

async fn books(acme: &Acme) -> Caller {
    acme.server.owner("p1", "books").await.connect().await
}

async fn link_person(caller: &Caller, name: &str) -> Result<LinkPersonResponse, Status> {
    let request = LinkPersonRequest {
        person: name.into(),
        request_id: request_id(),
        ..LinkPersonRequest::default()
    };
    caller.persons().link_person(request).await.map(Response::into_inner)
}

async fn links(caller: &Caller, name: &str) -> Vec<(String, String, String)> {
    let request = ListClientLinksRequest { client: name.into() };
    let links = caller.clients().list_client_links(request).await.unwrap().into_inner().links;
    let fields = |Link { product, account, external_id, .. }| (product, account, external_id);
    links.into_iter().map(fields).collect()
}

async fn listed(caller: &Caller, show_orphaned: bool) -> Vec<String> {
    let request = ListClientsRequest { show_orphaned, ..ListClientsRequest::default() };
    let clients = caller.clients().list_clients(request).await.unwrap().into_inner().clients;
    clients.into_iter().map(|client| client.client_reference).collect()
}

async fn found(caller: &Caller, query: &str, show_orphaned: bool) -> usize {
    let request = SearchRecordsRequest {
        query: query.into(),
        show_orphaned,
        ..SearchRecordsRequest::default()
    };
    caller.support().search_records(request).await.unwrap().into_inner().results.len()
}

async fn is_gone(caller: &Caller, id: &str) -> bool {
    let outcome = match id.get(..4) {
        Some("cli_") => {
            let request = GetClientRequest { client: id.into() };
            caller.clients().get_client(request).await.map(drop)
        }
        Some("per_") => {
            let request = GetPersonRequest { person: id.into() };
            caller.persons().get_person(request).await.map(drop)
        }
        _ => {
            let request = GetContactRequest { contact: id.into() };
            caller.contacts().get_contact(request).await.map(drop)
        }
    };
    match outcome {
        Ok(()) => false,
        Err(status) => {
            assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "NOT_FOUND"));
            true
        }
    }
}

async fn linked_product_may_change_record(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[("New House", "2019-07-01", "")]).await;
    let books = books(&acme).await;
    let linked = link(&books, "ref:acme", " B-1 ").await.unwrap();
    assert_eq!(linked.change_ids.len(), 1);
    let made = linked.link.unwrap();
    assert_eq!((made.product.as_str(), made.account.as_str()), ("books", "main"));
    assert_eq!((made.external_id.as_str(), made.linked_by.as_str()), ("B-1", "olivia"));
    assert_eq!(client(&books, "ext:books/main/B-1").await, linked.client.unwrap());
    let etag = acme.addresses().await[0].etag.clone();
    let request = address_entry("ext:books/main/B-1", "Third House", "", &etag);
    books.history().add_entry(request).await.unwrap();
    assert_eq!(
        links(&acme.manager, "ref:acme").await,
        [
            ("books".into(), "main".into(), "B-1".into()),
            ("manager".into(), "main".into(), acme.client.id.clone()),
        ]
    );
    let request =
        ListClientsRequest { linked_product: "books".into(), ..ListClientsRequest::default() };
    create(&acme.manager, company("OTHER", "Other Limited")).await;
    let listed = acme.manager.clients().list_clients(request).await.unwrap().into_inner().clients;
    assert_eq!(listed.len(), 1);
}

async fn repeated_link_creates_one_link(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let books = books(&acme).await;
    link(&books, &acme.client.id, "B-1").await.unwrap();
    for id in ["B-1", ""] {
        let again = link(&books, &acme.client.id, id).await.unwrap();
        assert_eq!(again.change_ids.len(), 0);
        assert_eq!(again.link.unwrap().external_id, "B-1");
        assert_eq!(again.client.unwrap().version, 2);
    }
    let other = link(&books, &acme.client.id, "B-2").await;
    let refused = assert_refused(other, Code::AlreadyExists, "ALREADY_LINKED_AS");
    assert_eq!(error_metadata(&refused, "external_id"), "B-1");
    assert_eq!(links(&books, &acme.client.id).await.len(), 2);
}

async fn external_id_of_account_is_unique(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let books = books(&acme).await;
    let other = create(&acme.manager, company("OTHER", "Other Limited")).await;
    link(&books, &acme.client.id, "B-1").await.unwrap();
    let taken = link(&books, &other.id, "B-1").await;
    assert_refused(taken, Code::AlreadyExists, "DUPLICATE_EXTERNAL_ID");
    assert_eq!(links(&books, &other.id).await.len(), 1);
    unlink(&books, &acme.client.id).await.unwrap();
    link(&books, &other.id, "B-1").await.unwrap();
    let long = link(&books, &acme.client.id, &"x".repeat(201)).await;
    assert_refused(long, Code::InvalidArgument, "VALUE_TOO_LONG");
}

async fn link_does_not_change_etag(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[("New House", "2019-07-01", "")]).await;
    let books = books(&acme).await;
    let same = |now: &Client, version| {
        assert_eq!((&now.etag, now.version), (&acme.client.etag, version));
        assert_eq!(now.entries, acme.client.entries);
    };
    same(&link(&books, &acme.client.id, "").await.unwrap().client.unwrap(), 2);
    same(&unlink(&books, &acme.client.id).await.unwrap().client.unwrap(), 3);
    same(&unlink(&acme.manager, &acme.client.id).await.unwrap().client.unwrap(), 5);
    same(&link(&books, &acme.client.id, "").await.unwrap().client.unwrap(), 7);
}

async fn last_unlink_orphans_client(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let books = books(&acme).await;
    link(&books, &acme.client.id, "B-1").await.unwrap();
    let first = unlink(&acme.manager, &acme.client.id).await.unwrap();
    assert_eq!((first.change_ids.len(), first.client.unwrap().state()), (1, RecordState::Active));
    let last = unlink(&books, "ext:books/main/B-1").await.unwrap();
    assert_eq!(last.change_ids.len(), 2);
    let orphan = last.client.unwrap();
    assert_eq!(orphan.state(), RecordState::Orphaned);
    let at = orphan.purge_time.as_ref().unwrap().seconds;
    assert_eq!(
        at,
        "2026-03-15T10:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp()
    );
    assert_eq!(client(&books, &acme.client.id).await, orphan, "GetClient still returns it");
    assert_eq!(listed(&books, false).await, [""; 0]);
    assert_eq!(listed(&books, true).await, ["ACME"]);
    assert_eq!((found(&books, "acme", false).await, found(&books, "acme", true).await), (0, 1));
    assert_eq!(links(&books, "ref:acme").await, []);
}

async fn link_before_purge_restores_client(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[("New House", "2019-07-01", "")]).await;
    unlink(&acme.manager, &acme.client.id).await.unwrap();
    let books = books(&acme).await;
    let restored = link(&books, &acme.client.id, "").await.unwrap();
    assert_eq!(restored.change_ids.len(), 2);
    let now = restored.client.unwrap();
    assert_eq!((now.state(), now.purge_time), (RecordState::Active, None));
    assert_eq!(listed(&books, false).await, ["ACME"]);
    assert_eq!(found(&books, "acme", false).await, 1);
    assert_eq!(
        kinds(&books, &now.id).await,
        [
            ChangeKind::Created,
            ChangeKind::Unlinked,
            ChangeKind::Orphaned,
            ChangeKind::Linked,
            ChangeKind::Restored,
        ]
    );
    let again = purge(&books, &now.id).await;
    assert_refused(again, Code::FailedPrecondition, "RECORD_IN_USE");
}

async fn unlink_removes_own_link_only(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let books = books(&acme).await;
    let call = unlink(&books, &acme.client.id);
    acme.assert_refuses(call, Code::FailedPrecondition, "NOT_LINKED").await;
    let second = acme.manager.clone().with("x-concord-account", "second");
    let call = unlink(&second, &acme.client.id);
    acme.assert_refuses(call, Code::FailedPrecondition, "NOT_LINKED").await;
}

async fn each_account_has_own_link(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let second = acme.manager.clone().with("x-concord-account", "second");
    link(&second, &acme.client.id, "S-1").await.unwrap();
    let rest = unlink(&acme.manager, &acme.client.id).await.unwrap().client.unwrap();
    assert_eq!(rest.state(), RecordState::Active);
    assert_eq!(
        links(&second, &acme.client.id).await,
        [("manager".into(), "second".into(), "S-1".into())]
    );
}

async fn change_of_orphaned_client_is_refused(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[("New House", "2019-07-01", "")]).await;
    unlink(&acme.manager, &acme.client.id).await.unwrap();
    let call = acme.add_address("Third House", "");
    let refused = acme.assert_refuses(call, Code::FailedPrecondition, "RECORD_ORPHANED").await;
    assert!(refused.message().contains("link"), "{}", refused.message());
    let request = contact_request(&acme.client.id, Who::Person(new_person("Ann", "Smith")));
    let call = async { acme.manager.contacts().create_contact(request).await };
    acme.assert_refuses(call, Code::FailedPrecondition, "RECORD_ORPHANED").await;
    let call = unlink(&acme.manager, &acme.client.id);
    acme.assert_refuses(call, Code::FailedPrecondition, "NOT_LINKED").await;
}

async fn reference_of_orphaned_client_stays_taken(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    unlink(&acme.manager, &acme.client.id).await.unwrap();
    let call = async { acme.manager.clients().create_client(company("acme", "New Acme")).await };
    let refused = acme.assert_refuses(call, Code::AlreadyExists, "DUPLICATE_REFERENCE").await;
    assert_eq!(error_metadata(&refused, "existing"), acme.client.id);
    purge(&acme.manager, &acme.client.id).await.unwrap();
    create(&acme.manager, company("ACME", "New Acme")).await;
}

async fn purge_of_client_in_use_is_refused(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let (_, ann) = appoint(&acme.manager, "ref:ACME", "Ann", "Smith").await;
    for name in [acme.client.id.as_str(), "ref:ACME", &ann.id] {
        let call = purge(&acme.manager, name);
        acme.assert_refuses(call, Code::FailedPrecondition, "RECORD_IN_USE").await;
    }
}

async fn purge_needs_role_and_reason(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    unlink(&acme.manager, &acme.client.id).await.unwrap();
    for role in ["staff", "support", "auditor"] {
        let caller = acme.manager.clone().with("x-concord-roles", role);
        let call = purge(&caller, &acme.client.id);
        acme.assert_refuses(call, Code::PermissionDenied, "ROLE_NOT_ALLOWED").await;
    }
    let request = purge_request(&acme.client.id, "  ");
    let call = async { acme.manager.support().purge_now(request).await };
    acme.assert_refuses(call, Code::InvalidArgument, "REQUIRED_FIELD_BLANK").await;
}

async fn purge_removes_client_contacts_and_persons(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[("New House", "2019-07-01", "")]).await;
    let (contact, ann) = appoint(&acme.manager, "ref:ACME", "Ann", "Smith").await;
    unlink_person(&acme.manager, &ann.id).await.unwrap();
    assert_eq!(
        person(&acme.manager, &ann.id).await.state(),
        RecordState::Active,
        "still a contact"
    );
    unlink(&acme.manager, &acme.client.id).await.unwrap();
    let request = purge_request(&acme.client.id, "The practice asked for it");
    let purged = acme.manager.support().purge_now(request.clone()).await.unwrap().into_inner();
    assert_eq!(purged.change_ids.len(), 3);
    let mut gone = purged.record_ids.clone();
    gone.sort();
    assert_eq!(gone, [acme.client.id.clone(), contact.id.clone(), ann.id.clone()]);
    for id in &gone {
        assert!(is_gone(&acme.manager, id).await, "{id}");
    }
    assert_eq!(listed(&acme.manager, true).await, [""; 0]);
    let persons = ListPersonsRequest { show_orphaned: true, ..ListPersonsRequest::default() };
    let persons = acme.manager.persons().list_persons(persons).await.unwrap().into_inner();
    assert_eq!(persons.persons, []);
    for query in ["acme", "smith"] {
        assert_eq!(found(&acme.manager, query, true).await, 0, "{query}");
    }
    let again = acme.manager.support().purge_now(request).await.unwrap().into_inner();
    assert_eq!(again, purged, "the request is idempotent");
    let new_request = purge(&acme.manager, &acme.client.id).await;
    assert_refused(new_request, Code::NotFound, "NOT_FOUND");
    let new_request = link(&acme.manager, &acme.client.id, "").await;
    assert_refused(new_request, Code::NotFound, "NOT_FOUND");
}

async fn purge_keeps_person_in_use(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let other = create(&acme.manager, company("OTHER", "Other Limited")).await;
    let (_, ann) = appoint(&acme.manager, "ref:ACME", "Ann", "Smith").await;
    let request = contact_request(&other.id, Who::PersonId(ann.id.clone()));
    acme.manager.contacts().create_contact(request).await.unwrap();
    unlink_person(&acme.manager, &ann.id).await.unwrap();
    unlink(&acme.manager, &acme.client.id).await.unwrap();
    let purged = purge(&acme.manager, &acme.client.id).await.unwrap();
    assert_eq!(purged.record_ids.len(), 2);
    assert_eq!(person(&acme.manager, &ann.id).await.state(), RecordState::Active);
    unlink(&acme.manager, &other.id).await.unwrap();
    link_person(&acme.manager, &ann.id).await.unwrap();
    let purged = purge(&acme.manager, &other.id).await.unwrap();
    assert_eq!(purged.record_ids.len(), 2, "a linked person is not purged");
    assert_eq!(person(&acme.manager, &ann.id).await.state(), RecordState::Active);
}

async fn person_is_orphaned_with_last_use(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let (contact, ann) = appoint(&acme.manager, "ref:ACME", "Ann", "Smith").await;
    unlink_person(&acme.manager, &ann.id).await.unwrap();
    let request = removal(&contact);
    let removed = acme.manager.contacts().remove_contact(request).await.unwrap().into_inner();
    assert_eq!(removed.change_ids.len(), 2);
    assert!(is_gone(&acme.manager, &contact.id).await);
    let orphan = person(&acme.manager, &ann.id).await;
    assert_eq!((orphan.state(), &orphan.etag), (RecordState::Orphaned, &ann.etag));
    let restored = link_person(&acme.manager, &ann.id).await.unwrap().person.unwrap();
    assert_eq!((restored.state(), restored.purge_time), (RecordState::Active, None));
    let orphan = unlink_person(&acme.manager, &ann.id).await.unwrap().person.unwrap();
    assert_eq!(orphan.state(), RecordState::Orphaned);
    let purged = purge(&acme.manager, &ann.id).await.unwrap();
    assert_eq!(purged.record_ids, std::slice::from_ref(&ann.id));
    assert!(is_gone(&acme.manager, &ann.id).await);
}

async fn purge_of_individual_removes_person(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let grace = create(&acme.manager, individual("OKA1", "Grace", "Okafor")).await;
    let call = purge(&acme.manager, &grace.person_id);
    acme.assert_refuses(call, Code::FailedPrecondition, "RECORD_IN_USE").await;
    unlink(&acme.manager, &grace.id).await.unwrap();
    let purged = purge(&acme.manager, &grace.id).await.unwrap();
    assert_eq!(purged.record_ids, [grace.id.clone(), grace.person_id.clone()]);
    assert!(is_gone(&acme.manager, &grace.person_id).await);
    assert_eq!(found(&acme.manager, "okafor", true).await, 0);
}

async fn lifecycle_changes_are_delivered_to_other_products(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let books = books(&acme).await;
    let other = create(&acme.manager, company("OTHER", "Other Limited")).await;
    let (_, ann) = appoint(&acme.manager, &other.id, "Ann", "Smith").await;
    unlink_person(&acme.manager, &ann.id).await.unwrap();
    unlink(&acme.manager, &other.id).await.unwrap();
    link(&acme.manager, &other.id, "").await.unwrap();
    unlink(&acme.manager, &other.id).await.unwrap();
    purge(&acme.manager, &other.id).await.unwrap();
    let events = EventStream::open(&books, from_earliest()).await.take(12).await;
    let delivered: Vec<(RecordKind, ChangeKind)> =
        events.iter().map(|event| (event.record_kind(), event.kind())).collect();
    let (cli, per, con) = (RecordKind::Client, RecordKind::Person, RecordKind::Contact);
    assert_eq!(
        delivered,
        [
            (cli, ChangeKind::Created),
            (con, ChangeKind::Created),
            (per, ChangeKind::Unlinked),
            (cli, ChangeKind::Unlinked),
            (cli, ChangeKind::Orphaned),
            (cli, ChangeKind::Linked),
            (cli, ChangeKind::Restored),
            (cli, ChangeKind::Unlinked),
            (cli, ChangeKind::Orphaned),
            (con, ChangeKind::Purged),
            (cli, ChangeKind::Purged),
            (per, ChangeKind::Purged),
        ]
    );
}

async fn concurrent_links_create_one_link(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let (callers, running) = acme.on_replicas(&db, "books").await;
    let outcomes = at_once(&callers, 8, |caller, n| {
        let id = acme.client.id.clone();
        async move { link(&caller, &id, &format!("B-{}", n % 2)).await }
    });
    let mut made = 0;
    for outcome in outcomes.await {
        match outcome {
            Ok(linked) => made += linked.change_ids.len(),
            Err(refused) => assert_eq!(reason(&refused), "ALREADY_LINKED_AS"),
        }
    }
    assert_eq!(made, 1);
    assert_eq!(links(&acme.manager, &acme.client.id).await.len(), 2);
    servers::stop_all(running).await;
}

async fn concurrent_link_and_last_unlink_leave_client_active(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let (callers, running) = acme.on_replicas(&db, "books").await;
    let books = callers.last().unwrap();
    for round in 0..6 {
        let made = create(&acme.manager, company(&format!("R{round}"), "Race Limited")).await;
        let linked = link(books, &made.id, "");
        let unlinked = unlink(&acme.manager, &made.id);
        let (linked, unlinked) = tokio::join!(linked, unlinked);
        linked.unwrap();
        unlinked.unwrap();
        let now = client(books, &made.id).await;
        assert_eq!((now.state(), now.purge_time), (RecordState::Active, None));
        let purged = purge(&acme.manager, &made.id).await;
        assert_refused(purged, Code::FailedPrecondition, "RECORD_IN_USE");
    }
    servers::stop_all(running).await;
}

async fn invalid_names_and_other_practices_are_refused(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[("New House", "", "")]).await;
    let (contact, ann) = appoint(&acme.manager, "ref:ACME", "Ann", "Smith").await;
    let other = acme.server.owner("p2", "manager").await.connect().await;
    for name in [acme.client.id.as_str(), "ref:ACME", "company:07687209", "ext:manager/main/1"] {
        acme.assert_refuses(link(&other, name, ""), Code::NotFound, "NOT_FOUND").await;
        acme.assert_refuses(unlink(&other, name), Code::NotFound, "NOT_FOUND").await;
        acme.assert_refuses(purge(&other, name), Code::NotFound, "NOT_FOUND").await;
        let request = ListClientLinksRequest { client: name.into() };
        let call = other.clients().list_client_links(request).await;
        assert_refused(call, Code::NotFound, "NOT_FOUND");
    }
    acme.assert_refuses(link_person(&other, &ann.id), Code::NotFound, "NOT_FOUND").await;
    acme.assert_refuses(unlink_person(&other, &ann.id), Code::NotFound, "NOT_FOUND").await;
    assert!(is_gone(&other, &contact.id).await);
    for name in ["", "ACME", &ann.id, &contact.id, "cli_", "ext:manager", "ext:MANAGER/main/1"] {
        acme.assert_refuses(link(&acme.manager, name, ""), Code::InvalidArgument, "INVALID_ID")
            .await;
        acme.assert_refuses(unlink(&acme.manager, name), Code::InvalidArgument, "INVALID_ID").await;
    }
    let call = purge(&acme.manager, &contact.id);
    acme.assert_refuses(call, Code::InvalidArgument, "INVALID_ID").await;
}
