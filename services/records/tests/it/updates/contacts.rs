//! Contacts: their roles, the primary contact, and their etags.

use concord_proto::pb::records::{
    AddRoleRequest, Contact, ContactRole, CreateClientRequest, CreateContactRequest,
    EndRoleRequest, GetContactRequest, PersonFields, RemoveContactRequest, Role,
    UpdateContactRequest, UpdateRoleRequest, create_contact_request::Who,
};
use concord_testing::{TestDb, storage_tests};
use tonic::Code;

use super::{contact, update_person};
use concord_testing::e2e::{
    caller::{Caller, request_id},
    records::{
        Acme, appoint, assert_refused, audit, company, create, director, kinds, new_person,
        violations,
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
    let number_and_role = |held: &'_ ContactRole| (held.number, held.role());
    contact
        .roles
        .iter()
        .map(|held| {
            let (number, role) = number_and_role(held);
            (number, role, held.appointed_on.as_str(), held.resigned_on.as_str())
        })
        .collect()
}

async fn roles_are_added_and_ended_with_dates(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let (appointed, _) = appoint(&acme.manager, "ref:ACME", "Ann", "Smith").await;
    let request = AddRoleRequest {
        contact: appointed.id.clone(),
        role: Some(role(Role::Secretary, "2020-01-01", "")),
        etag: appointed.etag.clone(),
        request_id: request_id(),
        ..AddRoleRequest::default()
    };
    let added = acme.manager.contacts().add_role(request).await.unwrap().into_inner();
    assert_eq!(added.change_ids.len(), 1);
    let added = added.contact.unwrap();
    assert_eq!(
        roles(&added),
        [(1, Role::Director, "", ""), (2, Role::Secretary, "2020-01-01", "")]
    );
    let request = EndRoleRequest {
        contact: appointed.id.clone(),
        number: 2,
        etag: added.etag.clone(),
        request_id: request_id(),
        ..EndRoleRequest::default()
    };
    let ended = acme.manager.contacts().end_role(request).await.unwrap().into_inner();
    let ended = ended.contact.unwrap();
    assert_eq!(roles(&ended)[1], (2, Role::Secretary, "2020-01-01", "2026-03-01"));
    assert_eq!(ended, contact(&acme.manager, &appointed.id).await);
    let wrong = EndRoleRequest {
        contact: appointed.id.clone(),
        number: 2,
        resigned_on: "2020-01-01".into(),
        etag: ended.etag.clone(),
        request_id: request_id(),
        ..EndRoleRequest::default()
    };
    let call = async { acme.manager.contacts().end_role(wrong).await };
    acme.assert_refuses(call, Code::InvalidArgument, "PERIOD_INVALID").await;
    let entries = audit(&acme.manager, &appointed.id).await;
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[0].changed_fields, ["roles"]);
}

async fn role_is_corrected(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let (appointed, _) = appoint(&acme.manager, "ref:ACME", "Ann", "Smith").await;
    let request = |held, number, etag: &str| UpdateRoleRequest {
        contact: appointed.id.clone(),
        number,
        role: Some(held),
        etag: etag.to_owned(),
        request_id: request_id(),
        ..UpdateRoleRequest::default()
    };
    let held = role(Role::Psc, "2019-01-01", "2021-01-01");
    let corrected =
        acme.manager.contacts().update_role(request(held, 1, &appointed.etag)).await.unwrap();
    let now = corrected.into_inner().contact.unwrap();
    assert_eq!(roles(&now), [(1, Role::Psc, "2019-01-01", "2021-01-01")]);
    let again = acme.manager.contacts().update_role(request(held_again(), 1, &now.etag)).await;
    assert_eq!(again.unwrap().into_inner().change_ids.len(), 0);
    let reversed = role(Role::Psc, "2021-01-01", "2019-01-01");
    let call = async { acme.manager.contacts().update_role(request(reversed, 1, &now.etag)).await };
    acme.assert_refuses(call, Code::InvalidArgument, "PERIOD_INVALID").await;
    let invalid = role(Role::Psc, "2021-02-29", "");
    let call = async { acme.manager.contacts().update_role(request(invalid, 1, &now.etag)).await };
    acme.assert_refuses(call, Code::InvalidArgument, "INVALID_DATE").await;
}

fn held_again() -> ContactRole {
    role(Role::Psc, "2019-01-01", "2021-01-01")
}

async fn unknown_role_is_refused(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let (appointed, _) = appoint(&acme.manager, "ref:ACME", "Ann", "Smith").await;
    for number in [0, 2, -1, i32::MAX, i32::MIN] {
        let request = EndRoleRequest {
            contact: appointed.id.clone(),
            number,
            etag: appointed.etag.clone(),
            request_id: request_id(),
            ..EndRoleRequest::default()
        };
        let call = async { acme.manager.contacts().end_role(request).await };
        acme.assert_refuses(call, Code::NotFound, "NOT_FOUND").await;
    }
    let unknown = ContactRole { role: 99, ..ContactRole::default() };
    for (held, why) in [
        (Some(unknown), "UNKNOWN_VALUE"),
        (Some(ContactRole::default()), "REQUIRED_FIELD_BLANK"),
        (None, "REQUIRED_FIELD_BLANK"),
    ] {
        let request = AddRoleRequest {
            contact: appointed.id.clone(),
            role: held,
            etag: appointed.etag.clone(),
            request_id: request_id(),
            ..AddRoleRequest::default()
        };
        let call = async { acme.manager.contacts().add_role(request).await };
        acme.assert_refuses(call, Code::InvalidArgument, why).await;
    }
}

async fn client_has_one_primary_contact(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let (ann, _) = appoint(&acme.manager, "ref:ACME", "Ann", "Smith").await;
    let (bob, _) = appoint(&acme.manager, "ref:ACME", "Bob", "Jones").await;
    for appointed in [&ann, &bob] {
        let request = UpdateContactRequest {
            contact: appointed.id.clone(),
            is_primary: true,
            etag: appointed.etag.clone(),
            request_id: request_id(),
            ..UpdateContactRequest::default()
        };
        acme.manager.contacts().update_contact(request).await.unwrap();
    }
    assert!(!contact(&acme.manager, &ann.id).await.is_primary);
    assert!(contact(&acme.manager, &bob.id).await.is_primary);
    assert_eq!(kinds(&acme.manager, &ann.id).await.len(), 3);
    let request = CreateContactRequest {
        client: "ref:ACME".into(),
        who: Some(Who::Person(new_person("Cid", "Brown"))),
        roles: vec![director()],
        is_primary: true,
        request_id: request_id(),
        ..CreateContactRequest::default()
    };
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
        let request = UpdateContactRequest {
            contact: appointed.id.clone(),
            is_primary: true,
            etag: etag.into(),
            request_id: request_id(),
            ..UpdateContactRequest::default()
        };
        let call = async { acme.manager.contacts().update_contact(request).await };
        acme.assert_refuses(call, code, why).await;
        let request = RemoveContactRequest {
            contact: appointed.id.clone(),
            etag: etag.into(),
            request_id: request_id(),
            ..RemoveContactRequest::default()
        };
        let call = async { acme.manager.contacts().remove_contact(request).await };
        acme.assert_refuses(call, code, why).await;
    }
}

async fn contact_without_role_is_refused(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let request = CreateContactRequest {
        client: "ref:ACME".into(),
        who: Some(Who::Person(new_person("Ann", ""))),
        request_id: request_id(),
        ..CreateContactRequest::default()
    };
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
    let other = Caller::owner(acme.server.channel().await, "p2", "manager").connect().await;
    let request = RemoveContactRequest {
        contact: appointed.id.clone(),
        etag: appointed.etag.clone(),
        request_id: request_id(),
        ..RemoveContactRequest::default()
    };
    let call = async { other.contacts().remove_contact(request).await };
    acme.assert_refuses(call, Code::NotFound, "NOT_FOUND").await;
    let own = create(&other, company("OWN", "Own Limited")).await;
    let request = CreateContactRequest {
        client: own.id,
        who: Some(Who::PersonId(ann.id.clone())),
        roles: vec![director()],
        request_id: request_id(),
        ..CreateContactRequest::default()
    };
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
