//! Updates of plain fields: update masks, etags, and the roles of contacts.

mod contacts;

use concord_proto::pb::records::{
    ChangeKind, Client, ClientFields, ClientIdentifiers, Contact, GetClientRequest,
    GetContactRequest, Jurisdiction, PersonFields, UpdateClientRequest, UpdateClientResponse,
    UpdatePersonRequest, UpdatePersonResponse,
};
use concord_testing::{TestDb, storage_tests};
use tonic::{Code, Response, Status};

use concord_testing::e2e::{
    caller::{Caller, at_once, request_id},
    records::{
        Acme, appoint, assert_one_succeeds, assert_refused, audit, client, company, create,
        error_metadata, kinds, mask, person, update_request, violations,
    },
    servers,
};

storage_tests! {
    update_changes_masked_fields_only,
    masked_empty_field_is_cleared,
    mask_in_camel_case_is_accepted,
    empty_or_wildcard_mask_is_refused,
    mask_with_history_field_is_refused,
    update_without_difference_is_no_op,
    all_violations_of_update_are_reported_together,
    taken_reference_is_refused_with_existing_id,
    changed_reference_becomes_alias,
    person_fields_are_updated,
    stale_record_etag_is_refused,
    concurrent_updates_of_client_apply_once,
    update_by_unlinked_product_is_refused,
}

/// A value for every updatable field of a client.
fn fields() -> ClientFields {
    ClientFields {
        jurisdiction: Jurisdiction::Scotland.into(),
        client_reference: "ACME2".into(),
        identifiers: Some(ClientIdentifiers {
            company_number: "7687209".into(),
            utr: "1955839661".into(),
            vat_number: "GB 980 7806 84".into(),
            paye_reference: "123/AB456".into(),
        }),
        emails: vec!["one@acme.example".into(), "two@acme.example".into()],
        phones: vec!["020 7946 0101".into()],
    }
}

async fn update(
    caller: &Caller,
    etag: &str,
    paths: &[&str],
    fields: ClientFields,
) -> Result<UpdateClientResponse, Status> {
    let client = Client { id: "ref:acme".into(), etag: etag.into(), ..Client::default() };
    let request = update_request(&client, paths, fields);
    caller.clients().update_client(request).await.map(Response::into_inner)
}

async fn update_person(
    caller: &Caller,
    id: &str,
    etag: &str,
    paths: &[&str],
    fields: PersonFields,
) -> Result<UpdatePersonResponse, Status> {
    let request = UpdatePersonRequest {
        person: id.into(),
        fields: Some(fields),
        update_mask: Some(mask(paths)),
        etag: etag.into(),
        request_id: request_id(),
        ..UpdatePersonRequest::default()
    };
    caller.persons().update_person(request).await.map(Response::into_inner)
}

async fn contact(caller: &Caller, id: &str) -> Contact {
    let request = GetContactRequest { contact: id.into() };
    caller.contacts().get_contact(request).await.unwrap().into_inner().contact.unwrap()
}

async fn update_changes_masked_fields_only(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[("New House", "2019-07-01", "")]).await;
    let paths = ["emails", "identifiers.utr"];
    let updated = update(&acme.manager, &acme.client.etag, &paths, fields()).await.unwrap();
    assert_eq!(updated.change_ids.len(), 1);
    let now = updated.client.unwrap();
    assert_eq!(now, acme.read().await);
    assert_eq!(now.emails, fields().emails);
    let identifiers = now.identifiers.clone().unwrap();
    assert_eq!((identifiers.utr.as_str(), identifiers.vat_number.as_str()), ("1955839661", ""));
    assert_eq!((now.phones.len(), now.client_reference.as_str()), (0, "ACME"));
    assert_eq!(now.entries, acme.client.entries);
    assert_eq!(now.version, 2);
    assert_ne!(now.etag, acme.client.etag);
    let entry = audit(&acme.manager, &now.id).await.remove(0);
    assert_eq!(entry.kind(), ChangeKind::Updated);
    assert_eq!(entry.changed_fields, ["emails", "identifiers.utr"]);
    let all = ["jurisdiction", "client_reference", "identifiers", "emails", "phones"];
    let updated = update(&acme.manager, &now.etag, &all, fields()).await.unwrap().client.unwrap();
    assert_eq!(updated.jurisdiction(), Jurisdiction::Scotland);
    let identifiers = updated.identifiers.unwrap();
    assert_eq!(identifiers.company_number, "07687209");
    assert_eq!(identifiers.vat_number, "980780684");
    assert_eq!(identifiers.paye_reference, "123/AB456");
}

async fn masked_empty_field_is_cleared(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let all = ["identifiers", "emails", "phones", "jurisdiction"];
    let full = update(&acme.manager, &acme.client.etag, &all, fields()).await.unwrap();
    let etag = full.client.unwrap().etag;
    let empty = ClientFields::default();
    let cleared = update(&acme.manager, &etag, &all, empty.clone()).await.unwrap();
    let cleared = cleared.client.unwrap();
    assert_eq!((cleared.emails.len(), cleared.phones.len()), (0, 0));
    assert_eq!(cleared.etag, acme.client.etag, "the same content as at first");
    assert_eq!(cleared.identifiers, acme.client.identifiers);
    let call = update(&acme.manager, &cleared.etag, &["client_reference"], empty);
    acme.assert_refuses(call, Code::InvalidArgument, "REQUIRED_FIELD_BLANK").await;
    let request = update_request(&cleared, &["emails"], ClientFields::default());
    let request = UpdateClientRequest { fields: None, ..request };
    acme.manager.clients().update_client(request).await.unwrap();
}

async fn mask_in_camel_case_is_accepted(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let paths = ["clientReference", "identifiers.companyNumber", "identifiers.vat_number"];
    let updated = update(&acme.manager, &acme.client.etag, &paths, fields()).await.unwrap();
    let now = updated.client.unwrap();
    assert_eq!(now.client_reference, "ACME2");
    let identifiers = now.identifiers.unwrap();
    assert_eq!(identifiers.company_number, "07687209");
    assert_eq!((identifiers.vat_number.as_str(), identifiers.utr.as_str()), ("980780684", ""));
}

async fn empty_or_wildcard_mask_is_refused(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let etag = &acme.client.etag;
    let unknown = ["id", "type", "personId", "state", "etag", "identifiers.", "", " ", "emails[0]"];
    let single = unknown.iter().map(std::slice::from_ref);
    for paths in [&[][..], &["*"], &["emails", "*"]].into_iter().chain(single) {
        let call = update(&acme.manager, etag, paths, fields());
        let refused = acme.assert_refuses(call, Code::InvalidArgument, "INVALID_MASK").await;
        assert_eq!(violations(&refused)[0].0, "update_mask", "{paths:?}");
    }
    let request = update_request(&acme.client, &[], fields());
    let request = UpdateClientRequest { update_mask: None, ..request };
    let call = async { acme.manager.clients().update_client(request).await };
    acme.assert_refuses(call, Code::InvalidArgument, "INVALID_MASK").await;
    let long = "x".repeat(1_000_000);
    let paths = [long.as_str()];
    let call = update(&acme.manager, etag, &paths, fields());
    let refused = acme.assert_refuses(call, Code::InvalidArgument, "INVALID_MASK").await;
    assert!(refused.message().len() < 300);
}

async fn mask_with_history_field_is_refused(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let timelines = [
        "registered_name",
        "registeredName",
        "trading_name",
        "tradingName",
        "addresses",
        "entries",
    ];
    for path in timelines {
        let paths = [path];
        let call = update(&acme.manager, &acme.client.etag, &paths, fields());
        let refused =
            acme.assert_refuses(call, Code::InvalidArgument, "HISTORY_FIELD_NEEDS_INTENT").await;
        let text = refused.message();
        assert!(text.contains("AddEntry") && text.contains("CorrectEntry"), "{text}");
    }
    let (_, ann) = appoint(&acme.manager, "ref:ACME", "Ann", "Smith").await;
    for path in ["name", "name.surname", "name.middleNames", "addresses"] {
        let paths = [path];
        let call =
            update_person(&acme.manager, &ann.id, &ann.etag, &paths, PersonFields::default());
        acme.assert_refuses(call, Code::InvalidArgument, "HISTORY_FIELD_NEEDS_INTENT").await;
    }
}

async fn update_without_difference_is_no_op(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let paths = ["identifiers.utr", "emails"];
    let first = update(&acme.manager, &acme.client.etag, &paths, fields()).await.unwrap();
    let before = first.client.unwrap();
    let mut same = fields();
    same.identifiers.as_mut().unwrap().utr = "19558 39661".into();
    let again = update(&acme.manager, &before.etag, &paths, same).await.unwrap();
    assert_eq!((again.client, again.change_ids.len()), (Some(before.clone()), 0));
    assert_eq!(kinds(&acme.manager, &before.id).await.len(), 2);
}

async fn all_violations_of_update_are_reported_together(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let wrong = ClientFields {
        jurisdiction: 99,
        client_reference: "x".repeat(65),
        identifiers: Some(ClientIdentifiers {
            company_number: "no number".into(),
            utr: "1234567890".into(),
            vat_number: "GB654052054".into(),
            paye_reference: "12".into(),
        }),
        emails: vec!["a@b.example".into(), "no address".into()],
        phones: vec![String::from("1"); 21],
    };
    let paths =
        ["jurisdiction", "client_reference", "identifiers", "emails", "phones", "registered_name"];
    let call = update(&acme.manager, &acme.client.etag, &paths, wrong);
    let refused = acme.assert_refuses(call, Code::InvalidArgument, "INVALID_REQUEST").await;
    let mut named: Vec<String> = violations(&refused).into_iter().map(|(field, _)| field).collect();
    named.sort();
    assert_eq!(
        named,
        [
            "fields.client_reference",
            "fields.emails[1]",
            "fields.identifiers.company_number",
            "fields.identifiers.paye_reference",
            "fields.identifiers.utr",
            "fields.identifiers.vat_number",
            "fields.jurisdiction",
            "fields.phones",
            "update_mask",
        ]
    );
}

async fn taken_reference_is_refused_with_existing_id(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let other = create(&acme.manager, company("acme2", "Other Limited")).await;
    let call = update(&acme.manager, &acme.client.etag, &["client_reference"], fields());
    let refused = acme.assert_refuses(call, Code::AlreadyExists, "DUPLICATE_REFERENCE").await;
    assert_eq!(error_metadata(&refused, "existing"), other.id);
}

async fn changed_reference_becomes_alias(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    update(&acme.manager, &acme.client.etag, &["client_reference"], fields()).await.unwrap();
    assert_eq!(client(&acme.manager, "ref:acme2").await.id, acme.client.id);
    let request = GetClientRequest { client: "ref:ACME".into() };
    assert_refused(acme.manager.clients().get_client(request).await, Code::NotFound, "NOT_FOUND");
    create(&acme.manager, company("ACME", "Another Limited")).await;
}

async fn person_fields_are_updated(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let (_, ann) = appoint(&acme.manager, "ref:ACME", "Ann", "Smith").await;
    let fields = PersonFields {
        birth_date: "1975-05-05".into(),
        nino: "ab 12 34 56 c".into(),
        emails: vec!["ann@smith.example".into()],
        ..PersonFields::default()
    };
    let paths = ["birthDate", "nino", "emails"];
    let updated = update_person(&acme.manager, &ann.id, &ann.etag, &paths, fields).await.unwrap();
    let now = updated.person.unwrap();
    assert_eq!((now.birth_date.as_str(), now.nino.as_str()), ("1975-05-05", "AB123456C"));
    assert_eq!(now, person(&acme.manager, &ann.id).await);
    for day in ["1975-02-29", "5 May 1975"] {
        let fields = PersonFields { birth_date: day.into(), ..PersonFields::default() };
        let call = update_person(&acme.manager, &ann.id, &now.etag, &["birth_date"], fields);
        acme.assert_refuses(call, Code::InvalidArgument, "INVALID_DATE").await;
    }
    let fields = PersonFields { nino: "QQ123456C".into(), ..PersonFields::default() };
    let call = update_person(&acme.manager, &ann.id, &now.etag, &["nino"], fields);
    acme.assert_refuses(call, Code::InvalidArgument, "INVALID_NINO").await;
    let call = update_person(&acme.manager, &ann.id, &now.etag, &["*"], PersonFields::default());
    acme.assert_refuses(call, Code::InvalidArgument, "INVALID_MASK").await;
}

async fn stale_record_etag_is_refused(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let stale = acme.client.etag.clone();
    let now = update(&acme.manager, &stale, &["emails"], fields()).await.unwrap().client.unwrap();
    let call = update(&acme.manager, &stale, &["phones"], fields());
    let refused = acme.assert_refuses(call, Code::Aborted, "ETAG_MISMATCH").await;
    assert_eq!(error_metadata(&refused, "current_etag"), now.etag);
    assert_eq!(error_metadata(&refused, "record_id"), now.id);
    assert_eq!(error_metadata(&refused, "changed_by_product"), "manager");
    let call = update(&acme.manager, "", &["phones"], fields());
    acme.assert_refuses(call, Code::InvalidArgument, "ETAG_REQUIRED").await;
    let (_, ann) = appoint(&acme.manager, "ref:ACME", "Ann", "Smith").await;
    let call = update_person(&acme.manager, &ann.id, "stale", &["emails"], PersonFields::default());
    let refused = acme.assert_refuses(call, Code::Aborted, "ETAG_MISMATCH").await;
    assert_eq!(error_metadata(&refused, "current_etag"), ann.etag);
}

async fn concurrent_updates_of_client_apply_once(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let (callers, running) = acme.on_replicas(&db, "manager").await;
    let outcomes = at_once(&callers, 8, |caller, n| {
        let fields = ClientFields { phones: vec![format!("0{n}")], ..ClientFields::default() };
        let request = update_request(&acme.client, &["phones"], fields);
        async move { caller.clients().update_client(request).await }
    });
    assert_one_succeeds(outcomes.await, Code::Aborted, "ETAG_MISMATCH");
    assert_eq!(acme.read().await.version, 2);
    servers::stop_all(running).await;
}

async fn update_by_unlinked_product_is_refused(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let books = acme.server.owner("p1", "books").await.connect().await;
    let call = update(&books, &acme.client.etag, &["emails"], fields());
    acme.assert_refuses(call, Code::FailedPrecondition, "NOT_LINKED").await;
    let other = acme.server.owner("p2", "manager").await.connect().await;
    let call = update(&other, &acme.client.etag, &["emails"], fields());
    acme.assert_refuses(call, Code::NotFound, "NOT_FOUND").await;
    for role in ["support", "auditor"] {
        let reader = acme.manager.clone().with("x-concord-roles", role);
        let call = update(&reader, &acme.client.etag, &["emails"], fields());
        acme.assert_refuses(call, Code::PermissionDenied, "ROLE_NOT_ALLOWED").await;
    }
}
