//! Contacts: their roles, the primary contact, and their etags.

use concord_proto::pb::records::{
    AddRoleRequest, Contact, ContactRole, CreateClientRequest, CreateContactRequest,
    EndRoleRequest, GetContactRequest, PersonFields, Role, UpdateContactRequest, UpdateRoleRequest,
    create_contact_request::Who,
};
use concord_testing::{TestDb, storage_tests};
use tonic::Code;

use super::{contact, update_person};
use concord_testing::e2e::{
    caller::request_id,
    records::{
        Acme, appoint, assert_refused, audit, company, contact_request, create, kinds, new_person,
        removal, violations,
    },
};

storage_tests! {
    roles_are_added_and_ended_with_dates,
    role_is_corrected,
    unknown_role_is_refused,
    client_has_one_primary_contact,
    contact_etag_covers_own_content_only,
    contact_without_role_is_refused,
    contacts_of_another_practice_are_not_found,
}

fn role(role: Role, appointed_on: &str, resigned_on: &str) -> ContactRole {
    ContactRole {
        role: role.into(),
        appointed_on: appointed_on.into(),
        resigned_on: resigned_on.into(),
        number: 0,
    }
}

fn roles(contact: &Contact) -> Vec<(i32, Role, &str, &str)> {
    let held = contact.roles.iter();
    held.map(|held| (held.number, held.role(), &*held.appointed_on, &*held.resigned_on)).collect()
}

fn addition(contact: &Contact, role: Option<ContactRole>) -> AddRoleRequest {
    AddRoleRequest {
        contact: contact.id.clone(),
        role,
        etag: contact.etag.clone(),
        request_id: request_id(),
        ..AddRoleRequest::default()
    }
}

fn resignation(contact: &Contact, number: i32, on: &str) -> EndRoleRequest {
    EndRoleRequest {
        contact: contact.id.clone(),
        number,
        resigned_on: on.into(),
        etag: contact.etag.clone(),
        request_id: request_id(),
        ..EndRoleRequest::default()
    }
}

/// A request that makes it the primary contact.
fn promotion(contact: &Contact) -> UpdateContactRequest {
    UpdateContactRequest {
        contact: contact.id.clone(),
        is_primary: true,
        etag: contact.etag.clone(),
        request_id: request_id(),
        ..UpdateContactRequest::default()
    }
}

async fn roles_are_added_and_ended_with_dates(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let (appointed, _) = appoint(&acme.manager, "ref:ACME", "Ann", "Smith").await;
    let request = addition(&appointed, Some(role(Role::Secretary, "2020-01-01", "")));
    let added = acme.manager.contacts().add_role(request).await.unwrap().into_inner();
    assert_eq!(added.change_ids.len(), 1);
    let added = added.contact.unwrap();
    assert_eq!(
        roles(&added),
        [(1, Role::Director, "", ""), (2, Role::Secretary, "2020-01-01", "")]
    );
    let request = resignation(&added, 2, "");
    let ended = acme.manager.contacts().end_role(request).await.unwrap().into_inner();
    let ended = ended.contact.unwrap();
    assert_eq!(roles(&ended)[1], (2, Role::Secretary, "2020-01-01", "2026-03-01"));
    assert_eq!(ended, contact(&acme.manager, &appointed.id).await);
    let wrong = resignation(&ended, 2, "2020-01-01");
    let call = async { acme.manager.contacts().end_role(wrong).await };
    acme.assert_refuses(call, Code::InvalidArgument, "PERIOD_INVALID").await;
    let entries = audit(&acme.manager, &appointed.id).await;
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[0].changed_fields, ["roles"]);
}

async fn role_is_corrected(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let (appointed, _) = appoint(&acme.manager, "ref:ACME", "Ann", "Smith").await;
    let update = async |etag: &str, (from, to): (&str, &str)| {
        let request = UpdateRoleRequest {
            contact: appointed.id.clone(),
            number: 1,
            role: Some(role(Role::Psc, from, to)),
            etag: etag.to_owned(),
            request_id: request_id(),
            ..UpdateRoleRequest::default()
        };
        acme.manager.contacts().update_role(request).await
    };
    let dates = ("2019-01-01", "2021-01-01");
    let corrected = update(&appointed.etag, dates).await.unwrap();
    let now = corrected.into_inner().contact.unwrap();
    assert_eq!(roles(&now), [(1, Role::Psc, "2019-01-01", "2021-01-01")]);
    let again = update(&now.etag, dates).await;
    assert_eq!(again.unwrap().into_inner().change_ids.len(), 0);
    let reversed = update(&now.etag, ("2021-01-01", "2019-01-01"));
    acme.assert_refuses(reversed, Code::InvalidArgument, "PERIOD_INVALID").await;
    let invalid = update(&now.etag, ("2021-02-29", ""));
    acme.assert_refuses(invalid, Code::InvalidArgument, "INVALID_DATE").await;
}

async fn unknown_role_is_refused(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let (appointed, _) = appoint(&acme.manager, "ref:ACME", "Ann", "Smith").await;
    for number in [0, 2, -1, i32::MAX, i32::MIN] {
        let request = resignation(&appointed, number, "");
        let call = async { acme.manager.contacts().end_role(request).await };
        acme.assert_refuses(call, Code::NotFound, "NOT_FOUND").await;
    }
    let unknown = ContactRole { role: 99, ..ContactRole::default() };
    for (held, why) in [
        (Some(unknown), "UNKNOWN_VALUE"),
        (Some(ContactRole::default()), "REQUIRED_FIELD_BLANK"),
        (None, "REQUIRED_FIELD_BLANK"),
    ] {
        let request = addition(&appointed, held);
        let call = async { acme.manager.contacts().add_role(request).await };
        acme.assert_refuses(call, Code::InvalidArgument, why).await;
    }
}

async fn client_has_one_primary_contact(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let (ann, _) = appoint(&acme.manager, "ref:ACME", "Ann", "Smith").await;
    let (bob, _) = appoint(&acme.manager, "ref:ACME", "Bob", "Jones").await;
    for appointed in [&ann, &bob] {
        let request = promotion(appointed);
        acme.manager.contacts().update_contact(request).await.unwrap();
    }
    assert!(!contact(&acme.manager, &ann.id).await.is_primary);
    assert!(contact(&acme.manager, &bob.id).await.is_primary);
    assert_eq!(kinds(&acme.manager, &ann.id).await.len(), 3);
    let request = contact_request("ref:ACME", Who::Person(new_person("Cid", "Brown")));
    let request = CreateContactRequest { is_primary: true, ..request };
    let cid = acme.manager.contacts().create_contact(request).await.unwrap().into_inner();
    assert!(cid.contact.unwrap().is_primary);
    assert!(!contact(&acme.manager, &bob.id).await.is_primary, "there is one primary contact");
}

async fn contact_etag_covers_own_content_only(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let (appointed, ann) = appoint(&acme.manager, "ref:ACME", "Ann", "Smith").await;
    let fields = PersonFields { emails: vec!["a@b.example".into()], ..PersonFields::default() };
    update_person(&acme.manager, &ann.id, &ann.etag, &["emails"], fields).await.unwrap();
    assert_eq!(contact(&acme.manager, &appointed.id).await, appointed);
    for (etag, code, why) in
        [("", Code::InvalidArgument, "ETAG_REQUIRED"), ("stale", Code::Aborted, "ETAG_MISMATCH")]
    {
        let stale = Contact { etag: etag.into(), ..appointed.clone() };
        let call = async { acme.manager.contacts().update_contact(promotion(&stale)).await };
        acme.assert_refuses(call, code, why).await;
        let call = async { acme.manager.contacts().remove_contact(removal(&stale)).await };
        acme.assert_refuses(call, code, why).await;
    }
}

async fn contact_without_role_is_refused(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let request = contact_request("ref:ACME", Who::Person(new_person("Ann", "")));
    let request = CreateContactRequest { roles: Vec::new(), ..request };
    let call = async { acme.manager.contacts().create_contact(request).await };
    let refused = acme.assert_refuses(call, Code::InvalidArgument, "INVALID_REQUEST").await;
    let texts: Vec<String> = violations(&refused).into_iter().map(|(_, text)| text).collect();
    assert_eq!(
        texts,
        [
            "REQUIRED_FIELD_BLANK: Required field is blank: Surname",
            "CONTACT_ROLE_MISSING: Contact has no role assigned",
        ]
    );
    let request = CreateClientRequest { r#type: 99, ..company("X", "X Limited") };
    let call = async { acme.manager.clients().create_client(request).await };
    acme.assert_refuses(call, Code::InvalidArgument, "UNKNOWN_VALUE").await;
}

async fn contacts_of_another_practice_are_not_found(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let (appointed, ann) = appoint(&acme.manager, "ref:ACME", "Ann", "Smith").await;
    let other = acme.server.owner("p2", "manager").await.connect().await;
    let call = async { other.contacts().remove_contact(removal(&appointed)).await };
    acme.assert_refuses(call, Code::NotFound, "NOT_FOUND").await;
    let own = create(&other, company("OWN", "Own Limited")).await;
    let request = contact_request(&own.id, Who::PersonId(ann.id.clone()));
    let call = async { other.contacts().create_contact(request).await };
    acme.assert_refuses(call, Code::NotFound, "NOT_FOUND").await;
    let call = update_person(&other, &ann.id, &ann.etag, &["emails"], PersonFields::default());
    acme.assert_refuses(call, Code::NotFound, "NOT_FOUND").await;
    for id in ["", "con_", &ann.id, &acme.client.id] {
        let request = GetContactRequest { contact: id.into() };
        let call = acme.manager.contacts().get_contact(request).await;
        assert_refused(call, Code::InvalidArgument, "INVALID_ID");
    }
}
