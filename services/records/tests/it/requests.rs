//! Idempotent requests and dry runs.

use concord_proto::pb::records::{
    AddEntryRequest, CorrectEntryRequest, CreateClientRequest, CreateContactRequest,
    CreatePersonRequest, EndEntryRequest, GetClientRequest, ListClientsRequest, ListPersonsRequest,
    RemoveContactRequest, RescindEntryRequest, UnlinkClientRequest, correct_entry_request,
    create_contact_request::Who,
};
use concord_testing::{TestDb, storage_tests};
use tonic::Code;

use concord_testing::e2e::{
    caller::{at_once, request_id},
    records::{
        Acme, address_entry, appoint, assert_refused, company, contact_request, correction, create,
        end, house, kinds, link, link_request, new_person, past_address_entry, person_request,
        purge, removal, rescission, unlink, unlink_request,
    },
    servers,
};

storage_tests! {
    repeated_request_id_returns_first_answer,
    refused_request_may_be_retried_with_same_id,
    request_id_with_other_payload_is_refused,
    request_id_of_other_rpc_is_refused,
    repeated_request_is_recognised_before_etag_check,
    request_id_is_scoped_to_product,
    dry_run_writes_nothing,
    dry_run_is_refused_like_real_call,
    concurrent_equal_requests_apply_once,
    stored_answer_is_removed_with_record,
    missing_or_invalid_request_id_is_refused,
    request_id_is_recognised_after_restart,
}

async fn repeated_request_id_returns_first_answer(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[("New House", "2019-07-01", "")]).await;
    let request = company("TWICE", "Twice Limited");
    let first = acme.manager.clients().create_client(request.clone()).await.unwrap().into_inner();
    let again = acme.manager.clients().create_client(request.clone()).await.unwrap().into_inner();
    assert_eq!(first, again);
    let created = first.client.clone().unwrap();
    link(&acme.manager, &created.id, "").await.unwrap();
    let etag = acme.addresses().await[0].etag.clone();
    let add = address_entry(&acme.client.id, "Third House", "", &etag);
    let first = acme.manager.history().add_entry(add.clone()).await.unwrap().into_inner();
    acme.add_past_entry(past_address_entry(&acme.client.id, "Old House", "", "2019-07-01"))
        .await
        .unwrap();
    for _ in 0..3 {
        let again = acme.manager.history().add_entry(add.clone()).await.unwrap().into_inner();
        assert_eq!(first, again);
    }
    assert_eq!(acme.addresses().await.len(), 3);
}

async fn refused_request_may_be_retried_with_same_id(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let books = acme.server.owner("p1", "books").await;
    let request = company("LATER", "Later Limited");
    let call = async { books.clients().create_client(request.clone()).await };
    acme.assert_refuses(call, Code::FailedPrecondition, "PRODUCT_NOT_CONNECTED").await;
    let books = books.connect().await;
    books.clients().create_client(request).await.unwrap();
}

async fn request_id_with_other_payload_is_refused(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let request = company("ONE", "One Limited");
    acme.manager.clients().create_client(request.clone()).await.unwrap();
    let other = CreateClientRequest { client_reference: "TWO".into(), ..request.clone() };
    let call = async { acme.manager.clients().create_client(other).await };
    acme.assert_refuses(call, Code::InvalidArgument, "REQUEST_ID_REUSED").await;
    let missing = GetClientRequest { client: "ref:TWO".into() };
    assert_refused(acme.manager.clients().get_client(missing).await, Code::NotFound, "NOT_FOUND");
}

async fn request_id_of_other_rpc_is_refused(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let link = link_request(&acme.client.id);
    let request_id = link.request_id.clone();
    acme.manager.clients().link_client(link).await.unwrap();
    let unlink = UnlinkClientRequest { request_id, ..unlink_request(&acme.client.id) };
    let call = async { acme.manager.clients().unlink_client(unlink).await };
    acme.assert_refuses(call, Code::InvalidArgument, "REQUEST_ID_REUSED").await;
}

async fn repeated_request_is_recognised_before_etag_check(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[("New House", "2019-07-01", "")]).await;
    let entry = acme.addresses().await.remove(0);
    let request = CorrectEntryRequest {
        value: Some(correct_entry_request::Value::Address(house("New Horse"))),
        ..correction(&entry, &["value"])
    };
    let correct = |request| async { acme.manager.history().correct_entry(request).await };
    let first = correct(request.clone()).await.unwrap().into_inner();
    assert_eq!(correct(request.clone()).await.unwrap().into_inner(), first);
    let stale = CorrectEntryRequest { reason: "Typo".into(), ..request.clone() };
    acme.assert_refuses(correct(stale), Code::InvalidArgument, "REQUEST_ID_REUSED").await;
    let new_request = CorrectEntryRequest { request_id: request_id(), ..request };
    acme.assert_refuses(correct(new_request), Code::Aborted, "ETAG_MISMATCH").await;
    let rescind = RescindEntryRequest { ..rescission(&acme.addresses().await[0], "Never true") };
    let rescinds = |request| async { acme.manager.history().rescind_entry(request).await };
    let first = rescinds(rescind.clone()).await.unwrap().into_inner();
    assert_eq!(rescinds(rescind).await.unwrap().into_inner(), first, "the entry is removed");
}

async fn request_id_is_scoped_to_product(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let books = acme.server.owner("p1", "books").await.connect().await;
    let other = acme.server.owner("p2", "manager").await.connect().await;
    let request = company("ONE", "One Limited");
    acme.manager.clients().create_client(request.clone()).await.unwrap();
    let call = async { books.clients().create_client(request.clone()).await };
    acme.assert_refuses(call, Code::AlreadyExists, "DUPLICATE_REFERENCE").await;
    let made = other.clients().create_client(request.clone()).await.unwrap().into_inner();
    assert_eq!(made.change_ids.len(), 1);
    let listed = other.clients().list_clients(ListClientsRequest::default()).await.unwrap();
    assert_eq!(listed.into_inner().clients.len(), 1);
    let second = acme.manager.clone().with("x-concord-account", "second");
    let link = link_request(&acme.client.id);
    acme.manager.clients().link_client(link.clone()).await.unwrap();
    let linked = second.clients().link_client(link).await;
    assert_refused(linked, Code::InvalidArgument, "REQUEST_ID_REUSED");
}

async fn dry_run_writes_nothing(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[("New House", "2019-07-01", "")]).await;
    let (contact, ann) = appoint(&acme.manager, "ref:ACME", "Ann", "Smith").await;
    let before = (acme.read().await, kinds(&acme.manager, "").await);
    let dry_run = CreateClientRequest { validate_only: true, ..company("ASK", "Ask Limited") };
    let reported =
        acme.manager.clients().create_client(dry_run.clone()).await.unwrap().into_inner();
    assert_eq!(reported.client.unwrap().registered_name, "Ask Limited");
    let bob = || new_person("Bob", "Jones");
    let person = CreatePersonRequest { validate_only: true, ..person_request(bob()) };
    acme.manager.persons().create_person(person).await.unwrap();
    let appointed = contact_request(&acme.client.id, Who::Person(bob()));
    let appointed = CreateContactRequest { validate_only: true, ..appointed };
    acme.manager.contacts().create_contact(appointed).await.unwrap();
    let entry = acme.addresses().await.remove(0);
    let add = AddEntryRequest {
        validate_only: true,
        ..address_entry(&acme.client.id, "Third House", "", &entry.etag)
    };
    let reported = acme.manager.history().add_entry(add.clone()).await.unwrap().into_inner();
    assert_eq!(reported.moved.len(), 1);
    let ends = EndEntryRequest { validate_only: true, ..end(&entry, "") };
    acme.manager.history().end_entry(ends).await.unwrap();
    let rescinds = RescindEntryRequest { validate_only: true, ..rescission(&entry, "Wrong") };
    acme.manager.history().rescind_entry(rescinds).await.unwrap();
    let unlink = UnlinkClientRequest { validate_only: true, ..unlink_request(&acme.client.id) };
    acme.manager.clients().unlink_client(unlink).await.unwrap();
    let remove = RemoveContactRequest { validate_only: true, ..removal(&contact) };
    acme.manager.contacts().remove_contact(remove).await.unwrap();
    assert_eq!((acme.read().await, kinds(&acme.manager, "").await), before);
    let persons = acme.manager.persons().list_persons(ListPersonsRequest::default()).await;
    assert_eq!(persons.unwrap().into_inner().persons, [ann]);
    let real = CreateClientRequest { validate_only: false, ..dry_run };
    let made = acme.manager.clients().create_client(real).await.unwrap().into_inner();
    assert_eq!(
        made.client.unwrap().client_reference,
        "ASK",
        "a dry run does not use up the request id"
    );
    let real = AddEntryRequest { validate_only: false, ..add };
    acme.manager.history().add_entry(real).await.unwrap();
}

async fn dry_run_is_refused_like_real_call(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[("New House", "2019-07-01", "")]).await;
    let dry_run = CreateClientRequest { validate_only: true, ..company("acme", "Ask Limited") };
    let call = async { acme.manager.clients().create_client(dry_run).await };
    acme.assert_refuses(call, Code::AlreadyExists, "DUPLICATE_REFERENCE").await;
    let add = AddEntryRequest {
        validate_only: true,
        ..address_entry(&acme.client.id, "Third House", "", "x")
    };
    let call = async { acme.manager.history().add_entry(add).await };
    acme.assert_refuses(call, Code::Aborted, "ETAG_MISMATCH").await;
}

async fn concurrent_equal_requests_apply_once(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[("New House", "2019-07-01", "")]).await;
    let (callers, running) = acme.on_replicas(&db, "manager").await;
    let create = company("ONCE", "Once Limited");
    let etag = acme.addresses().await[0].etag.clone();
    let add = address_entry(&acme.client.id, "Third House", "", &etag);
    let answers = at_once(&callers, 8, |caller, _| {
        let (create, add) = (create.clone(), add.clone());
        async move {
            let created = caller.clients().create_client(create).await.unwrap().into_inner();
            (created, caller.history().add_entry(add).await.unwrap().into_inner())
        }
    });
    let mut answers = answers.await;
    answers.dedup();
    assert_eq!(answers.len(), 1, "all answers are equal");
    assert_eq!(acme.addresses().await.len(), 2);
    assert_eq!(kinds(&acme.manager, "").await.len(), 3);
    servers::stop_all(running).await;
}

async fn stored_answer_is_removed_with_record(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let request = company("SOON", "Soon Gone Limited");
    let made = create(&acme.manager, request.clone()).await;
    unlink(&acme.manager, &made.id).await.unwrap();
    purge(&acme.manager, &made.id).await.unwrap();
    let call = async { acme.manager.clients().create_client(request).await };
    acme.assert_refuses(call, Code::NotFound, "NOT_FOUND").await;
}

async fn missing_or_invalid_request_id_is_refused(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    for id in ["", " ", "not-a-uuid", "00000000-0000-0000-0000-000000000000", "1234"] {
        let request = CreateClientRequest { request_id: id.into(), ..company("NO", "No Limited") };
        let call = async { acme.manager.clients().create_client(request).await };
        acme.assert_refuses(call, Code::InvalidArgument, "INVALID_REQUEST_ID").await;
        let unlink = unlink_request(&acme.client.id);
        let request = UnlinkClientRequest { request_id: id.into(), ..unlink };
        let call = async { acme.manager.clients().unlink_client(request).await };
        acme.assert_refuses(call, Code::InvalidArgument, "INVALID_REQUEST_ID").await;
    }
}

async fn request_id_is_recognised_after_restart(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let request = company("STAYS", "Stays Limited");
    let first = acme.manager.clients().create_client(request.clone()).await.unwrap().into_inner();
    acme.server.stop().await;
    let server = servers::records(db.settings()).await;
    let manager = server.owner("p1", "manager").await;
    let again = manager.clients().create_client(request).await.unwrap().into_inner();
    assert_eq!(first, again);
}
