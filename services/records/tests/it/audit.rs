//! The audit: user, change, time and reason of every write. Only auditors see values.

use concord_proto::pb::records::{
    AuditEntry, ChangeKind, CorrectEntryRequest, GetRecordSummaryRequest, ListAuditEntriesRequest,
    RecordKind, correct_entry_request,
};
use concord_testing::{TestDb, storage_tests};
use tonic::Code;

use concord_testing::e2e::{
    caller::request_id,
    records::{
        Acme, appoint, assert_refused, audit, client, company, correction, create, house,
        individual, link_request, purge_request, rescission, unlink, unlink_person,
    },
};

storage_tests! {
    audit_entry_has_origin_kind_and_reason,
    audit_values_are_visible_to_auditors_only,
    audit_is_paginated,
    audit_is_isolated_by_practice,
    audit_without_role_or_connection_is_refused,
    purge_erases_personal_data_and_keeps_audit_entries,
    client_summary_has_contacts_links_and_changes,
    summary_of_individual_has_person,
    no_op_and_refused_calls_are_not_audited,
    reason_is_normalised_to_one_line,
}

async fn corrected(acme: &Acme, line_1: &str, reason: &str) -> String {
    let entry = acme.addresses().await.remove(0);
    let id = request_id();
    let request = CorrectEntryRequest {
        value: Some(correct_entry_request::Value::Address(house(line_1))),
        reason: reason.into(),
        request_id: id.clone(),
        ..correction(&entry, &["value"])
    };
    acme.manager.history().correct_entry(request).await.unwrap();
    id
}

async fn audit_entry_has_origin_kind_and_reason(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[("New House", "2019-07-01", "")]).await;
    let id = corrected(&acme, "New Horse", "A typo").await;
    let staff = acme
        .manager
        .clone()
        .with("x-concord-user", "sam")
        .with("x-concord-account", "second")
        .with("x-concord-roles", "staff");
    let link = link_request("ref:ACME");
    let linked = staff.clients().link_client(link.clone()).await.unwrap().into_inner();
    let entries = audit(&acme.manager, "ref:ACME").await;
    assert_eq!(entries.len(), 3);
    let [linking, correcting, creating] = <[AuditEntry; 3]>::try_from(entries).unwrap();
    assert_eq!(linking.kind(), ChangeKind::Linked);
    assert_eq!(linking.change_id, linked.change_ids[0]);
    let origin = linking.origin.unwrap();
    assert_eq!((origin.product.as_str(), origin.account.as_str()), ("manager", "second"));
    assert_eq!((origin.user.as_str(), origin.import_id.as_str()), ("sam", ""));
    assert_eq!(linking.request_id, link.request_id);
    assert_eq!(correcting.kind(), ChangeKind::EntryCorrected);
    assert_eq!((correcting.reason.as_str(), &correcting.request_id), ("A typo", &id));
    assert_eq!(correcting.entry_id, acme.addresses().await[0].id);
    assert_eq!(correcting.origin.unwrap().user, "olivia");
    assert_eq!(correcting.changed_fields, ["entries"]);
    assert_eq!(
        (creating.kind(), creating.record_kind()),
        (ChangeKind::Created, RecordKind::Client)
    );
    assert_eq!(creating.record_id, acme.client.id);
    let at = creating.time.unwrap().seconds;
    assert_eq!(at, acme.client.create_time.as_ref().unwrap().seconds);
}

async fn audit_values_are_visible_to_auditors_only(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[("Wrong House", "2019-07-01", "")]).await;
    corrected(&acme, "Right House", "A typo").await;
    for role in ["owner", "admin", "support"] {
        let caller = acme.manager.clone().with("x-concord-roles", role);
        let caller = caller.with("x-concord-reason", "ticket 4711");
        for entry in audit(&caller, "").await {
            assert_eq!((entry.before.as_str(), entry.after.as_str()), ("", ""), "{role}");
        }
        let request = GetRecordSummaryRequest { record: "ref:ACME".into() };
        let summary = caller.support().get_record_summary(request).await.unwrap().into_inner();
        assert!(!format!("{summary:?}").contains("Wrong House"), "{role}");
    }
    let auditor = acme.manager.clone().with("x-concord-roles", "auditor");
    let entry = audit(&auditor, "ref:ACME").await.remove(0);
    assert!(entry.before.contains("Wrong House") && !entry.before.contains("Right House"));
    assert!(entry.after.contains("Right House") && !entry.after.contains("Wrong House"));
    for entry in acme.addresses().await {
        assert!(!format!("{entry:?}").contains("Wrong House"), "not on the timeline");
    }
    assert!(!format!("{:?}", client(&auditor, "ref:ACME").await).contains("Wrong House"));
}

async fn audit_is_paginated(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[("House 0", "2019-07-01", "")]).await;
    for n in 1..7 {
        corrected(&acme, &format!("House {n}"), &format!("Reason {n}")).await;
    }
    let mut request =
        ListAuditEntriesRequest { record: "ref:ACME".into(), page_size: 3, ..Default::default() };
    let mut reasons = Vec::new();
    loop {
        let page = acme.manager.support().list_audit_entries(request.clone()).await;
        let page = page.unwrap().into_inner();
        reasons.extend(page.entries.into_iter().map(|entry| entry.reason));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
        corrected(&acme, &format!("House {}", reasons.len() + 10), "Meanwhile").await;
    }
    assert_eq!(
        reasons,
        ["Reason 6", "Reason 5", "Reason 4", "Reason 3", "Reason 2", "Reason 1", ""]
    );
    request.record = String::new();
    let refused = acme.manager.support().list_audit_entries(request).await;
    assert_refused(refused, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
}

async fn audit_is_isolated_by_practice(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let other = acme.server.owner("p2", "manager").await.connect().await;
    assert_eq!(audit(&other, "").await, []);
    let (contact, ann) = appoint(&acme.manager, "ref:ACME", "Ann", "Smith").await;
    assert_eq!(audit(&acme.manager, "").await.len(), 2);
    assert_eq!(audit(&acme.manager, &contact.id).await.len(), 1);
    for record in [acme.client.id.as_str(), "ref:ACME", &ann.id, &contact.id] {
        let request = ListAuditEntriesRequest { record: record.into(), ..Default::default() };
        match other.support().list_audit_entries(request).await {
            Ok(listed) => assert_eq!(listed.into_inner().entries, [], "{record}"),
            Err(refused) => assert_eq!(refused.code(), Code::NotFound, "{record}"),
        }
        let request = GetRecordSummaryRequest { record: record.into() };
        let refused = other.support().get_record_summary(request).await.unwrap_err();
        assert!(matches!(refused.code(), Code::NotFound | Code::InvalidArgument), "{record}");
    }
    for record in ["ACME", "cli_1", "con_", "chg_1"] {
        let request = ListAuditEntriesRequest { record: record.into(), ..Default::default() };
        let refused = acme.manager.support().list_audit_entries(request).await;
        assert_refused(refused, Code::InvalidArgument, "INVALID_ID");
    }
}

async fn audit_without_role_or_connection_is_refused(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let staff = acme.manager.clone().with("x-concord-roles", "staff");
    let refused = staff.support().list_audit_entries(ListAuditEntriesRequest::default()).await;
    assert_refused(refused, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
    let ap = acme.server.owner("p1", "ap").await;
    let refused = ap.support().list_audit_entries(ListAuditEntriesRequest::default()).await;
    assert_refused(refused, Code::FailedPrecondition, "PRODUCT_NOT_CONNECTED");
}

async fn purge_erases_personal_data_and_keeps_audit_entries(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[("Secret House", "2019-07-01", "")]).await;
    let (contact, ann) = appoint(&acme.manager, "ref:ACME", "Ann", "Secretive").await;
    corrected(&acme, "Secret Horse", "Secret reason").await;
    let entry = acme.addresses().await.remove(0);
    acme.manager.history().rescind_entry(rescission(&entry, "Secret too")).await.unwrap();
    unlink_person(&acme.manager, &ann.id).await.unwrap();
    unlink(&acme.manager, "ref:ACME").await.unwrap();
    let before = audit(&acme.manager, "").await.len();
    let purge = purge_request("ref:ACME", "Asked by letter");
    let purged = acme.manager.support().purge_now(purge).await.unwrap().into_inner();
    let auditor = acme.manager.clone().with("x-concord-roles", "auditor");
    let entries = audit(&auditor, "").await;
    assert_eq!(entries.len(), before + purged.change_ids.len());
    let all = format!("{entries:?}");
    for secret in ["Secret", "Ann", "Acme Limited"] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
    for entry in &entries {
        assert_eq!((entry.before.as_str(), entry.after.as_str()), ("", ""));
        assert_eq!(entry.origin.as_ref().unwrap().user, "olivia");
    }
    let (removals, others): (Vec<_>, Vec<_>) =
        entries.iter().partition(|entry| entry.kind() == ChangeKind::Purged);
    assert_eq!((removals.len(), others.len()), (3, before));
    assert!(removals.iter().all(|entry| entry.reason == "Asked by letter"));
    let by_id = audit(&auditor, &contact.id).await;
    assert_eq!(by_id.len(), 2, "the audit of a purged record is listed by its id");
    assert_eq!(audit(&auditor, &acme.client.id).await[0].kind(), ChangeKind::Purged);
}

async fn client_summary_has_contacts_links_and_changes(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[("New House", "2019-07-01", "")]).await;
    let (contact, ann) = appoint(&acme.manager, "ref:ACME", "Ann", "Smith").await;
    for n in 0..25 {
        corrected(&acme, &format!("House {n}"), "").await;
    }
    let support = acme.manager.as_support();
    for record in ["ref:acme", &acme.client.id] {
        let request = GetRecordSummaryRequest { record: record.into() };
        let summary = support.support().get_record_summary(request).await.unwrap().into_inner();
        assert_eq!(summary.client, Some(acme.read().await));
        assert_eq!((summary.person, summary.contacts.len()), (None, 1));
        assert_eq!(summary.contacts[0].contact.as_ref(), Some(&contact));
        assert_eq!(summary.contacts[0].person.as_ref(), Some(&ann));
        assert_eq!((summary.links.len(), summary.changes.len()), (1, 20));
        assert_eq!(summary.links[0].product, "manager");
    }
}

async fn summary_of_individual_has_person(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let grace = create(&acme.manager, individual("OKA1", "Grace", "Okafor")).await;
    let summary = |record: &str| {
        let request = GetRecordSummaryRequest { record: record.into() };
        async { acme.manager.support().get_record_summary(request).await }
    };
    let of_client = summary("ref:OKA1").await.unwrap().into_inner();
    assert_eq!(of_client.client.as_ref(), Some(&grace));
    assert_eq!(of_client.person.as_ref().unwrap().id, grace.person_id);
    let of_person = summary(&grace.person_id).await.unwrap().into_inner();
    assert_eq!((of_person.client, of_person.person), (None, of_client.person));
    assert_refused(summary("ref:none").await, Code::NotFound, "NOT_FOUND");
    assert_refused(summary("").await, Code::InvalidArgument, "INVALID_ID");
}

async fn no_op_and_refused_calls_are_not_audited(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[("New House", "2019-07-01", "")]).await;
    acme.add_address("New House", "").await.unwrap();
    let call = async { acme.manager.clients().create_client(company("ACME", "Twice")).await };
    acme.assert_refuses(call, Code::AlreadyExists, "DUPLICATE_REFERENCE").await;
    assert_eq!(audit(&acme.manager, "").await.len(), 1);
}

async fn reason_is_normalised_to_one_line(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[("New House", "2019-07-01", "")]).await;
    let forged = "typo\r\n2026-01-01  purged,\u{b}by\u{85}the\u{2028}owner\u{2029}\u{202e}!";
    corrected(&acme, "New Horse", forged).await;
    let entries = audit(&acme.manager, "ref:ACME").await;
    assert_eq!(entries[0].reason, "typo 2026-01-01 purged, by the owner !");
    let entry = acme.addresses().await.remove(0);
    let request = CorrectEntryRequest {
        reason: "\u{1b}[2J".into(),
        request_id: request_id(),
        ..correction(&entry, &["value"])
    };
    let refused = acme.manager.history().correct_entry(request).await;
    assert_refused(refused, Code::InvalidArgument, "INVALID_CHARACTER");
    acme.server.stop().await;
}
