//! Creates and reads records.

use concord_proto::pb::records::{
    Address, AddressType, ClientIdentifiers, ClientType, ContactRole, CreateClientRequest,
    CreateContactRequest, CreatePersonRequest, EntryStatus, GetClientRequest, GetPersonRequest,
    ListClientsRequest, ListContactsRequest, ListEntriesRequest, NewAddress, NewName, NewPerson,
    PersonName, Role, Timeline, create_client_request::Individual, create_contact_request::Who,
    entry::Value, list_contacts_request::Of,
};
use concord_testing::{TestDb, storage_tests};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use concord_testing::e2e::{
    caller::{Caller, request_id},
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
    let manager = Caller::owner(server.channel().await, "p1", "manager").connect().await;
    (server, manager)
}

fn company(reference: &str, name: &str) -> CreateClientRequest {
    CreateClientRequest {
        r#type: ClientType::PrivateLimitedCompany.into(),
        client_reference: reference.into(),
        registered_name: Some(NewName { name: name.into(), active_from: String::new() }),
        request_id: request_id(),
        ..CreateClientRequest::default()
    }
}

fn new_person(forename: &str, surname: &str) -> NewPerson {
    let name =
        PersonName { forename: forename.into(), surname: surname.into(), ..PersonName::default() };
    NewPerson { name: Some(name), birth_date: "1975-05-05".into(), ..NewPerson::default() }
}

fn trading(line_1: &str, active_from: &str, active_to: &str) -> NewAddress {
    NewAddress {
        r#type: AddressType::Trading.into(),
        address: Some(Address {
            line_1: line_1.into(),
            country: "GB".into(),
            ..Address::default()
        }),
        active_from: active_from.into(),
        active_to: active_to.into(),
        external_id: String::new(),
    }
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

async fn created_client_is_readable_by_every_alias(db: TestDb) {
    let (_server, manager) = manager(&db).await;
    let mut request = company("ACME01", "Acme Limited");
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
        let request = GetClientRequest { client: alias.into() };
        let got = manager.clients().get_client(request).await.unwrap().into_inner();
        assert_eq!(got.client.as_ref(), Some(&client), "{alias}");
    }
    let request = ListEntriesRequest {
        record: "ref:ACME01".into(),
        timeline: Timeline::Address.into(),
        ..ListEntriesRequest::default()
    };
    let entries = manager.history().list_entries(request).await.unwrap().into_inner().entries;
    let reported = |n: usize| {
        let Some(Value::Address(address)) = &entries[n].value else { panic!("no address") };
        (address.line_1.as_str(), entries[n].active_to.as_str(), entries[n].status())
    };
    assert_eq!(reported(0), ("Old House", "2019-07-01", EntryStatus::Past));
    assert_eq!(reported(1), ("New House", "", EntryStatus::Current));
}

async fn created_individual_has_person(db: TestDb) {
    let (_server, manager) = manager(&db).await;
    let request = CreateClientRequest {
        r#type: ClientType::Individual.into(),
        client_reference: "OKA1".into(),
        individual: Some(Individual::Person(new_person("Grace", "Okafor"))),
        request_id: request_id(),
        ..CreateClientRequest::default()
    };
    let created = manager.clients().create_client(request).await.unwrap().into_inner();
    let (client, person) = (created.client.unwrap(), created.person.unwrap());
    assert_eq!(client.person_id, person.id);
    assert_eq!(client.registered_name, "");
    let got = manager.clients().get_client(GetClientRequest { client: client.id }).await.unwrap();
    assert_eq!(got.into_inner().person, Some(person.clone()));
    let got = manager.persons().get_person(GetPersonRequest { person: person.id.clone() }).await;
    assert_eq!(got.unwrap().into_inner().person, Some(person));
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
    let details = refused.get_error_details();
    let fields: Vec<_> =
        details.bad_request().unwrap().field_violations.iter().map(|v| v.field.as_str()).collect();
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
    let first = manager.clients().create_client(company("TWICE", "One")).await.unwrap();
    let refused = manager.clients().create_client(company("twice", "Other")).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::AlreadyExists, "DUPLICATE_REFERENCE")
    );
    let details = refused.get_error_details();
    let existing = &details.error_info().unwrap().metadata["existing"];
    assert_eq!(existing, &first.into_inner().client.unwrap().id);
}

async fn external_id_is_unique_within_account(db: TestDb) {
    let (_server, manager) = manager(&db).await;
    let with_id = |reference| CreateClientRequest {
        external_id: "123".into(),
        request_id: request_id(),
        ..company(reference, "Acme Limited")
    };
    manager.clients().create_client(with_id("A")).await.unwrap();
    let refused = manager.clients().create_client(with_id("B")).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::AlreadyExists, "DUPLICATE_EXTERNAL_ID")
    );
    let other = manager.with("x-concord-account", "second");
    other.clients().create_client(with_id("B")).await.unwrap();
}

async fn contact_attaches_person_to_client(db: TestDb) {
    let (_server, manager) = manager(&db).await;
    manager.clients().create_client(company("ACME01", "Acme Limited")).await.unwrap();
    let request = CreatePersonRequest {
        person: Some(new_person("Ann", "Smith")),
        external_id: "P1".into(),
        request_id: request_id(),
        ..CreatePersonRequest::default()
    };
    let person = manager.persons().create_person(request).await.unwrap().into_inner();
    let person = person.person.unwrap();
    let role = ContactRole { role: Role::Director.into(), ..ContactRole::default() };
    let request = CreateContactRequest {
        client: "ref:ACME01".into(),
        who: Some(Who::PersonId("ext:manager/main/P1".into())),
        roles: vec![role],
        request_id: request_id(),
        ..CreateContactRequest::default()
    };
    let created = manager.contacts().create_contact(request.clone()).await.unwrap().into_inner();
    let contact = created.contact.unwrap();
    assert_eq!(contact.person_id, person.id);
    let again = CreateContactRequest { request_id: request_id(), ..request };
    let again = manager.contacts().create_contact(again).await.unwrap_err();
    assert_eq!((again.code(), reason(&again).as_str()), (Code::AlreadyExists, "DUPLICATE_CONTACT"));
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
    manager.clients().create_client(company("ACME01", "Acme Limited")).await.unwrap();
    let books = Caller::owner(server.channel().await, "p1", "books").connect().await;
    let request = CreateContactRequest {
        client: "ref:ACME01".into(),
        who: Some(Who::Person(new_person("Ann", "Smith"))),
        roles: vec![ContactRole { role: Role::Director.into(), ..ContactRole::default() }],
        request_id: request_id(),
        ..CreateContactRequest::default()
    };
    let refused = books.contacts().create_contact(request).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::FailedPrecondition, "NOT_LINKED")
    );
}

async fn clients_are_paginated(db: TestDb) {
    let (_server, manager) = manager(&db).await;
    for n in 0..7 {
        manager.clients().create_client(company(&format!("R{n}"), "Acme Limited")).await.unwrap();
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
    let created = manager.clients().create_client(company("ACME01", "Acme Limited")).await.unwrap();
    let id = created.into_inner().client.unwrap().id;
    let other = Caller::owner(server.channel().await, "p2", "manager").connect().await;
    for name in [id.as_str(), "ref:ACME01"] {
        let request = GetClientRequest { client: name.into() };
        let refused = other.clients().get_client(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{name}");
    }
    other.clients().create_client(company("ACME01", "Acme Limited")).await.unwrap();
}

async fn unconnected_product_is_refused(db: TestDb) {
    let (server, _manager) = manager(&db).await;
    let ap = Caller::owner(server.channel().await, "p1", "ap");
    let write = ap.clients().create_client(company("A", "Acme Limited")).await.unwrap_err();
    let read = ap.clients().list_clients(ListClientsRequest::default()).await.unwrap_err();
    for refused in [write, read] {
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (Code::FailedPrecondition, "PRODUCT_NOT_CONNECTED")
        );
    }
}

async fn overlapping_addresses_of_one_type_are_refused(db: TestDb) {
    let (_server, manager) = manager(&db).await;
    let mut request = company("ACME01", "Acme Limited");
    request.addresses =
        vec![trading("One", "2010-01-01", "2015-01-01"), trading("Two", "2014-01-01", "")];
    let refused = manager.clients().create_client(request).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::InvalidArgument, "PERIOD_OVERLAP")
    );
}

async fn first_name_too_far_ahead_is_refused(db: TestDb) {
    let (_server, manager) = manager(&db).await;
    let mut request = company("ACME01", "Acme Limited");
    request.registered_name.as_mut().unwrap().active_from = "2027-03-03".into();
    let refused = manager.clients().create_client(request.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), "EFFECTIVE_DATE_TOO_FAR");
    request.registered_name.as_mut().unwrap().active_from = "2027-03-02".into();
    manager.clients().create_client(request).await.unwrap();
}

async fn concurrent_creates_with_one_reference_succeed_once(db: TestDb) {
    let mut callers = Vec::new();
    let mut running = Vec::new();
    for _ in 0..servers::replicas(&db) {
        let server = servers::records(db.settings()).await;
        callers.push(Caller::owner(server.channel().await, "p1", "manager").connect().await);
        running.push(server);
    }
    let creates = (0..8).map(|n| {
        let caller = callers[n % callers.len()].clone();
        tokio::spawn(async move { caller.clients().create_client(company("ONE", "Acme")).await })
    });
    let mut successes = 0;
    for create in creates.collect::<Vec<_>>() {
        match create.await.unwrap() {
            Ok(_) => successes += 1,
            Err(refused) => assert_eq!(reason(&refused), "DUPLICATE_REFERENCE"),
        }
    }
    assert_eq!(successes, 1);
    for server in running {
        server.stop().await;
    }
}
