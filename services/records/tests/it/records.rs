//! Creates and reads records.

use concord_proto::pb::records::{
    ClientIdentifiers, CreateClientRequest, CreateContactRequest, CreatePersonRequest, EntryStatus,
    GetClientRequest, ListClientsRequest, ListContactsRequest, NewPerson, Timeline,
    create_client_request::Individual, create_contact_request::Who, entry::Value,
    list_contacts_request::Of,
};
use concord_testing::{TestDb, storage_tests};
use tonic::Code;

use concord_testing::e2e::{
    caller::{Caller, at_once, request_id},
    records::{
        Acme, assert_one_succeeds, assert_refused, client as get_client, company, contact_request,
        create, entries, error_metadata, individual, new_person, person as get_person,
        person_request, reason, trading, violations,
    },
    servers,
};

storage_tests! {
    created_client_is_readable_by_every_alias,
    created_individual_has_person,
    all_violations_are_reported_together,
    reference_is_unique_within_practice,
    external_id_is_unique_within_account,
    contact_attaches_person_to_client,
    contact_by_unlinked_product_is_refused,
    clients_are_paginated,
    clients_are_isolated_by_practice,
    unconnected_product_is_refused,
    overlapping_addresses_of_one_type_are_refused,
    first_name_too_far_ahead_is_refused,
    concurrent_creates_with_one_reference_succeed_once,
}

/// `manager`, connected to practice `p1`, on a server of its own.
async fn manager(db: &TestDb) -> (servers::Running, Caller) {
    let server = servers::records(db.settings()).await;
    let manager = server.owner("p1", "manager").await.connect().await;
    (server, manager)
}

async fn created_client_is_readable_by_every_alias(db: TestDb) {
    let (_server, manager) = manager(&db).await;
    let mut request = company("ACME01", "Acme Limited");
    request.registered_name.as_mut().unwrap().active_from.clear();
    request.identifiers = Some(ClientIdentifiers {
        company_number: "7687209".into(),
        ..ClientIdentifiers::default()
    });
    request.external_id = "123".into();
    request.addresses =
        vec![trading("New House", "2019-07-01", ""), trading("Old House", "2010-01-01", "")];
    let created = manager.clients().create_client(request).await.unwrap().into_inner();
    assert_eq!(created.change_ids.len(), 1);
    let client = created.client.unwrap();
    assert_eq!(client.registered_name, "Acme Limited");
    assert_eq!(client.identifiers.as_ref().unwrap().company_number, "07687209");
    let aliases = ["ref:acme01", "company:7687209", "ext:manager/main/123", &client.id];
    for alias in aliases {
        assert_eq!(get_client(&manager, alias).await, client, "{alias}");
    }
    let entries = entries(&manager, "ref:ACME01", Timeline::Address).await;
    let reported = |n: usize| {
        let Some(Value::Address(address)) = &entries[n].value else { panic!("no address") };
        (address.line_1.as_str(), entries[n].active_to.as_str(), entries[n].status())
    };
    assert_eq!(reported(0), ("Old House", "2019-07-01", EntryStatus::Past));
    assert_eq!(reported(1), ("New House", "", EntryStatus::Current));
}

async fn created_individual_has_person(db: TestDb) {
    let (_server, manager) = manager(&db).await;
    let grace = NewPerson { birth_date: "1975-05-05".into(), ..new_person("Grace", "Okafor") };
    let request = CreateClientRequest {
        individual: Some(Individual::Person(grace)),
        ..individual("OKA1", "", "")
    };
    let created = manager.clients().create_client(request).await.unwrap().into_inner();
    let (client, person) = (created.client.unwrap(), created.person.unwrap());
    assert_eq!(client.person_id, person.id);
    assert_eq!(client.registered_name, "");
    let got = manager.clients().get_client(GetClientRequest { client: client.id }).await.unwrap();
    assert_eq!(got.into_inner().person, Some(person.clone()));
    assert_eq!(get_person(&manager, &person.id).await, person);
}

async fn all_violations_are_reported_together(db: TestDb) {
    let (_server, manager) = manager(&db).await;
    let mut request = company("", "");
    request.identifiers =
        Some(ClientIdentifiers { utr: "1234567890".into(), ..ClientIdentifiers::default() });
    request.addresses = vec![trading(" ", "2021-02-29", "")];
    request.emails = vec!["no address".into()];
    let refused = manager.clients().create_client(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let fields: Vec<_> = violations(&refused).into_iter().map(|(field, _)| field).collect();
    assert_eq!(
        fields,
        [
            "client_reference",
            "registered_name.name",
            "identifiers.utr",
            "emails[0]",
            "addresses[0].address.line_1",
            "addresses[0].active_from",
        ]
    );
    let listed = manager.clients().list_clients(ListClientsRequest::default()).await.unwrap();
    assert!(listed.into_inner().clients.is_empty());
}

async fn reference_is_unique_within_practice(db: TestDb) {
    let (_server, manager) = manager(&db).await;
    let first = create(&manager, company("TWICE", "One")).await;
    let refused = manager.clients().create_client(company("twice", "Other")).await;
    let refused = assert_refused(refused, Code::AlreadyExists, "DUPLICATE_REFERENCE");
    assert_eq!(error_metadata(&refused, "existing"), first.id);
}

async fn external_id_is_unique_within_account(db: TestDb) {
    let (_server, manager) = manager(&db).await;
    let with_id = |reference| CreateClientRequest {
        external_id: "123".into(),
        ..company(reference, "Acme Limited")
    };
    create(&manager, with_id("A")).await;
    let refused = manager.clients().create_client(with_id("B")).await;
    assert_refused(refused, Code::AlreadyExists, "DUPLICATE_EXTERNAL_ID");
    create(&manager.with("x-concord-account", "second"), with_id("B")).await;
}

async fn contact_attaches_person_to_client(db: TestDb) {
    let (_server, manager) = manager(&db).await;
    create(&manager, company("ACME01", "Acme Limited")).await;
    let request = CreatePersonRequest {
        external_id: "P1".into(),
        ..person_request(new_person("Ann", "Smith"))
    };
    let person = manager.persons().create_person(request).await.unwrap().into_inner();
    let person = person.person.unwrap();
    let request = contact_request("ref:ACME01", Who::PersonId("ext:manager/main/P1".into()));
    let created = manager.contacts().create_contact(request.clone()).await.unwrap().into_inner();
    let contact = created.contact.unwrap();
    assert_eq!(contact.person_id, person.id);
    let again = CreateContactRequest { request_id: request_id(), ..request };
    let again = manager.contacts().create_contact(again).await;
    assert_refused(again, Code::AlreadyExists, "DUPLICATE_CONTACT");
    for of in [Of::Client("ref:ACME01".into()), Of::Person(person.id.clone())] {
        let request = ListContactsRequest { of: Some(of), ..ListContactsRequest::default() };
        let listed = manager.contacts().list_contacts(request).await.unwrap().into_inner();
        assert_eq!(listed.contacts.len(), 1);
        assert_eq!(listed.contacts[0].contact.as_ref(), Some(&contact));
        assert_eq!(listed.contacts[0].person.as_ref(), Some(&person));
    }
}

async fn contact_by_unlinked_product_is_refused(db: TestDb) {
    let (server, manager) = manager(&db).await;
    create(&manager, company("ACME01", "Acme Limited")).await;
    let books = server.owner("p1", "books").await.connect().await;
    let request = contact_request("ref:ACME01", Who::Person(new_person("Ann", "Smith")));
    let refused = books.contacts().create_contact(request).await;
    assert_refused(refused, Code::FailedPrecondition, "NOT_LINKED");
}

async fn clients_are_paginated(db: TestDb) {
    let (_server, manager) = manager(&db).await;
    for n in 0..7 {
        create(&manager, company(&format!("R{n}"), "Acme Limited")).await;
    }
    let mut references = Vec::new();
    let mut request = ListClientsRequest { page_size: 3, ..ListClientsRequest::default() };
    loop {
        let page = manager.clients().list_clients(request.clone()).await.unwrap().into_inner();
        references.extend(page.clients.into_iter().map(|client| client.client_reference));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(references, ["R0", "R1", "R2", "R3", "R4", "R5", "R6"]);
    request.linked_product = "books".into();
    let refused = manager.clients().list_clients(request).await.unwrap_err();
    assert_eq!(reason(&refused), "PAGE_TOKEN_INVALID");
}

async fn clients_are_isolated_by_practice(db: TestDb) {
    let (server, manager) = manager(&db).await;
    let id = create(&manager, company("ACME01", "Acme Limited")).await.id;
    let other = server.owner("p2", "manager").await.connect().await;
    for name in [id.as_str(), "ref:ACME01"] {
        let request = GetClientRequest { client: name.into() };
        let refused = other.clients().get_client(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{name}");
    }
    create(&other, company("ACME01", "Acme Limited")).await;
}

async fn unconnected_product_is_refused(db: TestDb) {
    let (server, _manager) = manager(&db).await;
    let ap = server.owner("p1", "ap").await;
    let write = ap.clients().create_client(company("A", "Acme Limited")).await.map(drop);
    let read = ap.clients().list_clients(ListClientsRequest::default()).await.map(drop);
    for refused in [write, read] {
        assert_refused(refused, Code::FailedPrecondition, "PRODUCT_NOT_CONNECTED");
    }
}

async fn overlapping_addresses_of_one_type_are_refused(db: TestDb) {
    let (_server, manager) = manager(&db).await;
    let mut request = company("ACME01", "Acme Limited");
    request.addresses =
        vec![trading("One", "2010-01-01", "2015-01-01"), trading("Two", "2014-01-01", "")];
    let refused = manager.clients().create_client(request).await;
    assert_refused(refused, Code::InvalidArgument, "PERIOD_OVERLAP");
}

async fn first_name_too_far_ahead_is_refused(db: TestDb) {
    let (_server, manager) = manager(&db).await;
    let mut request = company("ACME01", "Acme Limited");
    request.registered_name.as_mut().unwrap().active_from = "2027-03-03".into();
    let refused = manager.clients().create_client(request.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), "EFFECTIVE_DATE_TOO_FAR");
    request.registered_name.as_mut().unwrap().active_from = "2027-03-02".into();
    create(&manager, request).await;
}

async fn concurrent_creates_with_one_reference_succeed_once(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let (callers, running) = acme.on_replicas(&db, "manager").await;
    let created = at_once(&callers, 8, |caller, _| async move {
        caller.clients().create_client(company("ONE", "One Limited")).await
    });
    assert_one_succeeds(created.await, Code::AlreadyExists, "DUPLICATE_REFERENCE");
    servers::stop_all(running).await;
}
