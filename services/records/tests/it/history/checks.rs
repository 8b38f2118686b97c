//! What every command checks: the record, the etag, the caller, the values.

use concord_proto::pb::records::{
    AddEntryRequest, AddPastEntryRequest, Address, AddressType, CorrectEntryRequest,
    CreateClientRequest, Entry, GetClientRequest, ListEntriesRequest, NewName, Timeline,
    add_entry_request, correct_entry_request,
};
use concord_testing::{TestDb, storage_tests};
use tonic::Code;

use super::{as_value, two_houses};
use concord_testing::e2e::{
    caller::{at_once, request_id},
    records::{
        Acme, address_entry, assert_one_succeeds, assert_refused, cancel, client, company,
        correction, create, end, entries, error_metadata, house, individual, kinds, lines,
        name_entry, new_person, past_address_entry, person_name, person_request, rescission,
        trading, violations,
    },
    servers,
};

storage_tests! {
    name_of_individual_is_kept_on_person,
    stale_etag_is_refused_with_current_etag,
    missing_etag_is_refused,
    concurrent_writes_of_one_timeline_apply_once,
    history_write_by_unlinked_product_is_refused,
    ids_of_other_kind_or_practice_are_refused,
    invalid_values_are_refused,
    value_of_wrong_kind_is_refused,
    ten_thousand_addresses_are_refused,
    one_megabyte_name_is_refused,
}

async fn name_of_individual_is_kept_on_person(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let grace = create(&acme.manager, individual("OKA1", "Grace", "Okafor")).await;
    let call = async {
        let request = name_entry(&grace.id, "Grace Eze", "", "");
        acme.manager.history().add_entry(request).await
    };
    let refused = acme.assert_refuses(call, Code::InvalidArgument, "FIELD_NOT_APPLICABLE").await;
    assert!(refused.message().contains("person"), "{}", refused.message());
    let name = entries(&acme.manager, &grace.person_id, Timeline::PersonName).await.remove(0);
    let request = AddEntryRequest {
        timeline: Timeline::PersonName.into(),
        value: Some(add_entry_request::Value::PersonName(person_name("Grace", "Eze"))),
        ..name_entry(&grace.person_id, "", "2026-02-01", &name.etag)
    };
    let on_client = AddEntryRequest {
        record: grace.id.clone(),
        current_etag: String::new(),
        request_id: request_id(),
        ..request.clone()
    };
    let call = async { acme.manager.history().add_entry(on_client).await };
    acme.assert_refuses(call, Code::InvalidArgument, "FIELD_NOT_APPLICABLE").await;
    acme.manager.history().add_entry(request).await.unwrap();
    assert_eq!(
        lines(&entries(&acme.manager, &grace.person_id, Timeline::PersonName).await),
        ["Grace Okafor ..2026-02-01 past", "Grace Eze 2026-02-01.. current"]
    );
    let trading = AddEntryRequest {
        timeline: Timeline::TradingName.into(),
        ..name_entry(&grace.person_id, "Grace's", "", "")
    };
    let call = async { acme.manager.history().add_entry(trading).await };
    acme.assert_refuses(call, Code::InvalidArgument, "FIELD_NOT_APPLICABLE").await;
}

async fn stale_etag_is_refused_with_current_etag(db: TestDb) {
    let acme = two_houses(&db).await;
    let stale = acme.addresses().await.remove(1);
    let old_record = acme.read().await.etag;
    let request = CorrectEntryRequest {
        value: Some(as_value("New Horse")),
        ..correction(&stale, &["value"])
    };
    acme.manager.history().correct_entry(request).await.unwrap();
    let current = acme.addresses().await.remove(1);
    let history = || acme.manager.history();
    let add = async {
        history().add_entry(address_entry(&acme.client.id, "Third House", "", &stale.etag)).await
    };
    let refused = acme.assert_refuses(add, Code::Aborted, "ETAG_MISMATCH").await;
    assert_eq!(error_metadata(&refused, "current_etag"), current.etag);
    assert_eq!(error_metadata(&refused, "changed_by_product"), "manager");
    assert!(error_metadata(&refused, "changed_at").starts_with("2026-03-01T10:00:00"));
    let correct = async {
        let request =
            CorrectEntryRequest { value: Some(as_value("X")), ..correction(&stale, &["value"]) };
        history().correct_entry(request).await
    };
    let refused = acme.assert_refuses(correct, Code::Aborted, "ETAG_MISMATCH").await;
    assert_eq!(error_metadata(&refused, "current_etag"), current.etag);
    let ends = async { history().end_entry(end(&stale, "")).await };
    acme.assert_refuses(ends, Code::Aborted, "ETAG_MISMATCH").await;
    let rescinds = async { history().rescind_entry(rescission(&stale, "Wrong")).await };
    acme.assert_refuses(rescinds, Code::Aborted, "ETAG_MISMATCH").await;
    let past = async {
        let request =
            past_address_entry(&acme.client.id, "First House", "2009-01-01", "2010-01-01");
        history().add_past_entry(AddPastEntryRequest { etag: old_record, ..request }).await
    };
    let refused = acme.assert_refuses(past, Code::Aborted, "ETAG_MISMATCH").await;
    assert_eq!(error_metadata(&refused, "current_etag"), acme.read().await.etag);
}

async fn missing_etag_is_refused(db: TestDb) {
    let acme = two_houses(&db).await;
    let mut entry = acme.addresses().await.remove(1);
    entry.etag = String::new();
    let history = || acme.manager.history();
    let why = (Code::InvalidArgument, "ETAG_REQUIRED");
    let add =
        async { history().add_entry(address_entry(&acme.client.id, "Third House", "", "")).await };
    acme.assert_refuses(add, why.0, why.1).await;
    let correct = async {
        let request =
            CorrectEntryRequest { value: Some(as_value("X")), ..correction(&entry, &["value"]) };
        history().correct_entry(request).await
    };
    acme.assert_refuses(correct, why.0, why.1).await;
    let ends = async { history().end_entry(end(&entry, "")).await };
    acme.assert_refuses(ends, why.0, why.1).await;
    let rescinds = async { history().rescind_entry(rescission(&entry, "Wrong")).await };
    acme.assert_refuses(rescinds, why.0, why.1).await;
    let cancels = async { history().cancel_scheduled_entry(cancel(&entry)).await };
    acme.assert_refuses(cancels, why.0, why.1).await;
    let past = async {
        history()
            .add_past_entry(past_address_entry(&acme.client.id, "A", "2009-01-01", "2010-01-01"))
            .await
    };
    acme.assert_refuses(past, why.0, why.1).await;
}

async fn concurrent_writes_of_one_timeline_apply_once(db: TestDb) {
    let acme = two_houses(&db).await;
    let (callers, running) = acme.on_replicas(&db, "manager").await;
    let etag = acme.addresses().await[1].etag.clone();
    let written = at_once(&callers, 8, |caller, n| {
        let request = address_entry(&acme.client.id, &format!("House {n}"), "2026-02-01", &etag);
        async move { caller.history().add_entry(request).await }
    });
    assert_one_succeeds(written.await, Code::Aborted, "ETAG_MISMATCH");
    assert_eq!(acme.addresses().await.len(), 3);
    assert_eq!(kinds(&acme.manager, &acme.client.id).await.len(), 2);
    servers::stop_all(running).await;
}

async fn history_write_by_unlinked_product_is_refused(db: TestDb) {
    let acme = two_houses(&db).await;
    let books = acme.server.owner("p1", "books").await.connect().await;
    let current = acme.addresses().await.remove(1);
    let add = async {
        let request = address_entry(&acme.client.id, "Third House", "", &current.etag);
        books.history().add_entry(request).await
    };
    let refused = acme.assert_refuses(add, Code::FailedPrecondition, "NOT_LINKED").await;
    assert!(refused.message().contains(&acme.client.id), "{}", refused.message());
    let ends = async { books.history().end_entry(end(&current, "")).await };
    acme.assert_refuses(ends, Code::FailedPrecondition, "NOT_LINKED").await;
    assert_eq!(
        lines(&entries(&books, "ref:acme", Timeline::Address).await).len(),
        2,
        "reads are allowed"
    );
}

async fn ids_of_other_kind_or_practice_are_refused(db: TestDb) {
    let acme = two_houses(&db).await;
    let entry = acme.addresses().await.remove(1);
    let other = acme.server.owner("p2", "manager").await.connect().await;
    for record in [acme.client.id.as_str(), "ref:ACME", "ext:manager/main/1"] {
        let call =
            async { other.history().add_entry(address_entry(record, "Third House", "", "")).await };
        acme.assert_refuses(call, Code::NotFound, "NOT_FOUND").await;
        let request = ListEntriesRequest { record: record.into(), ..ListEntriesRequest::default() };
        assert_refused(other.history().list_entries(request).await, Code::NotFound, "NOT_FOUND");
    }
    let call = async { other.history().end_entry(end(&entry, "")).await };
    acme.assert_refuses(call, Code::NotFound, "NOT_FOUND").await;
    let call = async { other.history().rescind_entry(rescission(&entry, "Wrong")).await };
    acme.assert_refuses(call, Code::NotFound, "NOT_FOUND").await;
    for record in ["", "ACME", "con_0197f3b2c4d87c1e9a4b3c2d1e0f9a8b", &entry.id, "cli_1", "ext:x"]
    {
        let call = async {
            acme.manager.history().add_entry(address_entry(record, "Third House", "", "")).await
        };
        acme.assert_refuses(call, Code::InvalidArgument, "INVALID_ID").await;
    }
    for id in ["", "ent_", &acme.client.id, &entry.id.replace("ent_", "per_")] {
        let wrong = Entry { id: id.into(), ..entry.clone() };
        let call = async { acme.manager.history().end_entry(end(&wrong, "")).await };
        acme.assert_refuses(call, Code::InvalidArgument, "INVALID_ID").await;
        let call = async { acme.manager.history().cancel_scheduled_entry(cancel(&wrong)).await };
        acme.assert_refuses(call, Code::InvalidArgument, "INVALID_ID").await;
    }
}

async fn invalid_values_are_refused(db: TestDb) {
    let acme = two_houses(&db).await;
    let etag = acme.addresses().await.remove(1).etag;
    let good = || address_entry(&acme.client.id, "Third House", "", &etag);
    let adds = |request| async { acme.manager.history().add_entry(request).await };
    for (timeline, why) in [(99, "UNKNOWN_VALUE"), (0, "REQUIRED_FIELD_BLANK")] {
        let request = AddEntryRequest { timeline, ..good() };
        let refused = acme.assert_refuses(adds(request), Code::InvalidArgument, why).await;
        assert_eq!(violations(&refused)[0].0, "timeline");
    }
    for (address_type, why) in [(-1, "UNKNOWN_VALUE"), (0, "REQUIRED_FIELD_BLANK")] {
        let request = AddEntryRequest { address_type, ..good() };
        let refused = acme.assert_refuses(adds(request), Code::InvalidArgument, why).await;
        assert_eq!(violations(&refused)[0].0, "address_type");
    }
    for day in ["2026-02-30", "2025-02-29", "2026-3-1", "01/03/2026", "today", "2026-03-01T00:00Z"]
    {
        let request = AddEntryRequest { effective_date: day.into(), ..good() };
        let refused =
            acme.assert_refuses(adds(request), Code::InvalidArgument, "INVALID_DATE").await;
        assert_eq!(violations(&refused)[0].0, "effective_date");
    }
    let no_line = Some(add_entry_request::Value::Address(Address::default()));
    let request = AddEntryRequest { value: no_line, ..good() };
    let refused =
        acme.assert_refuses(adds(request), Code::InvalidArgument, "ADDRESS_LINE_1_MISSING").await;
    assert_eq!(
        violations(&refused),
        [("address.line_1".into(), "ADDRESS_LINE_1_MISSING: Address Line 1 is missing".into())]
    );
    let request = AddEntryRequest { value: None, ..good() };
    acme.assert_refuses(adds(request), Code::InvalidArgument, "REQUIRED_FIELD_BLANK").await;
    let nul = Some(add_entry_request::Value::Address(house("a\0b")));
    let request = AddEntryRequest { value: nul, ..good() };
    acme.assert_refuses(adds(request), Code::InvalidArgument, "INVALID_CHARACTER").await;
    for request_id in ["", "1", "00000000-0000-0000-0000-000000000000"] {
        let request = AddEntryRequest { request_id: request_id.into(), ..good() };
        acme.assert_refuses(adds(request), Code::InvalidArgument, "INVALID_REQUEST_ID").await;
    }
    let many = AddEntryRequest {
        effective_date: "never".into(),
        timeline: 77,
        value: Some(add_entry_request::Value::Address(Address::default())),
        ..good()
    };
    let refused = acme.assert_refuses(adds(many), Code::InvalidArgument, "INVALID_REQUEST").await;
    let fields: Vec<String> = violations(&refused).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["timeline", "address.line_1", "effective_date"]);
}

async fn value_of_wrong_kind_is_refused(db: TestDb) {
    let acme = two_houses(&db).await;
    let [address, name] = [acme.addresses().await.remove(1), acme.names().await.remove(0)];
    let as_address = Some(add_entry_request::Value::Address(house("Third House")));
    let as_person = Some(add_entry_request::Value::PersonName(person_name("Ann", "Smith")));
    let on_name =
        |value| AddEntryRequest { value, ..name_entry(&acme.client.id, "", "", &name.etag) };
    let adds = |request| async { acme.manager.history().add_entry(request).await };
    for request in [on_name(as_address), on_name(as_person)] {
        acme.assert_refuses(adds(request), Code::InvalidArgument, "FIELD_NOT_APPLICABLE").await;
    }
    let typed = AddEntryRequest {
        address_type: AddressType::Trading.into(),
        ..name_entry(&acme.client.id, "Other Limited", "", &name.etag)
    };
    acme.assert_refuses(adds(typed), Code::InvalidArgument, "FIELD_NOT_APPLICABLE").await;
    let request = CorrectEntryRequest {
        value: Some(correct_entry_request::Value::Name("Not an address".into())),
        ..correction(&address, &["value"])
    };
    let call = async { acme.manager.history().correct_entry(request).await };
    acme.assert_refuses(call, Code::InvalidArgument, "FIELD_NOT_APPLICABLE").await;
}

async fn ten_thousand_addresses_are_refused(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let addresses = vec![trading("House", "", ""); 10_000];
    let request = CreateClientRequest { addresses, ..company("MANY", "Many Limited") };
    let call = async { acme.manager.clients().create_client(request).await };
    let refused = acme.assert_refuses(call, Code::InvalidArgument, "VALUE_TOO_LONG").await;
    assert_eq!(violations(&refused)[0].0, "addresses");
    let request = GetClientRequest { client: "ref:MANY".into() };
    assert_refused(acme.manager.clients().get_client(request).await, Code::NotFound, "NOT_FOUND");
    let mut many = new_person("Ann", "Smith");
    many.addresses = vec![trading("House", "", ""); 10_000];
    let request = person_request(many);
    let call = async { acme.manager.persons().create_person(request).await };
    acme.assert_refuses(call, Code::InvalidArgument, "VALUE_TOO_LONG").await;
}

async fn one_megabyte_name_is_refused(db: TestDb) {
    let acme = two_houses(&db).await;
    let long = "n".repeat(1_000_000);
    let call = acme.add_name(&long, "");
    let refused = acme.assert_refuses(call, Code::InvalidArgument, "VALUE_TOO_LONG").await;
    assert!(refused.message().len() < 300, "{} bytes", refused.message().len());
    let call = acme.add_address(&long, "");
    acme.assert_refuses(call, Code::InvalidArgument, "VALUE_TOO_LONG").await;
    let named = NewName { name: long.clone(), active_from: long.clone() };
    let request = CreateClientRequest {
        client_reference: long.clone(),
        registered_name: Some(named),
        external_id: long.clone(),
        ..company("", "")
    };
    let call = async { acme.manager.clients().create_client(request).await };
    let refused = acme.assert_refuses(call, Code::InvalidArgument, "INVALID_REQUEST").await;
    assert_eq!(violations(&refused).len(), 4);
    let call = async { acme.manager.history().add_entry(address_entry(&long, "X", "", "")).await };
    acme.assert_refuses(call, Code::InvalidArgument, "INVALID_ID").await;
    let unknown = format!("ref:{long}");
    let call =
        async { acme.manager.history().add_entry(address_entry(&unknown, "X", "", "")).await };
    acme.assert_refuses(call, Code::NotFound, "NOT_FOUND").await;
    let call = acme.add_address("Third House", &long);
    acme.assert_refuses(call, Code::InvalidArgument, "INVALID_DATE").await;
    assert_eq!(client(&acme.manager, "ref:ACME").await.version, 1);
}
