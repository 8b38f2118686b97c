//! Entries that are added to the past: `AddPastEntry`.

use concord_proto::pb::records::{
    AddPastEntryRequest, AddressType, ChangeKind, CreateClientRequest, Timeline,
    add_past_entry_request,
};
use concord_testing::{TestDb, storage_tests};
use tonic::Code;

use super::{ADDED, NO_CHANGE, two_houses};
use concord_testing::e2e::records::{
    Acme, client, company, create, entries, error_metadata, individual, kinds, line, lines,
    past_address_entry, person, person_name, trading,
};

storage_tests! {
    past_entry_is_inserted_between_others,
    past_address_keeps_unknown_start_of_next,
    past_addresses_may_be_added_in_any_order,
    overlapping_past_entry_is_refused_with_conflicts,
    past_entry_with_trim_shortens_overlapped_entries,
    past_entry_with_trim_may_not_swallow_or_split,
    past_entry_with_invalid_period_is_refused,
    past_name_with_gap_is_refused,
}

async fn past_entry_is_inserted_between_others(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[("New House", "2019-07-01", "")]).await;
    let add = async |line_1, from, to| {
        let request = past_address_entry(&acme.client.id, line_1, from, to);
        acme.add_past_entry(request).await.unwrap()
    };
    let answer = add("Old House", "2010-01-01", "2015-01-01").await;
    assert_eq!((answer.outcome(), answer.change_ids.len(), answer.moved.len()), (ADDED, 1, 0));
    assert_eq!(line(&answer.entry.unwrap()), "Old House 2010-01-01..2015-01-01 past");
    add("First House", "", "2010-01-01").await;
    add("Mid House", "2015-01-01", "2019-07-01").await;
    assert_eq!(
        lines(&acme.addresses().await),
        [
            "First House ..2010-01-01 past",
            "Old House 2010-01-01..2015-01-01 past",
            "Mid House 2015-01-01..2019-07-01 past",
            "New House 2019-07-01.. current",
        ]
    );
    let again = add("Mid House", "2015-01-01", "2019-07-01").await;
    assert_eq!(again.outcome(), NO_CHANGE);
}

async fn past_address_keeps_unknown_start_of_next(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[("New House", "", "")]).await;
    let before = acme.addresses().await.remove(0);
    let request = past_address_entry(&acme.client.id, "Old House", "2010-01-01", "2019-07-01");
    let answer = acme.add_past_entry(request).await.unwrap();
    assert_eq!((lines(&answer.moved).len(), answer.change_ids.len()), (0, 1));
    let after = acme.addresses().await;
    assert_eq!(lines(&after), ["Old House 2010-01-01..2019-07-01 past", "New House .. current"]);
    assert_eq!(after[1], before, "its etag too");
    // The start of a name becomes known.
    let grace = create(&acme.manager, individual("OKA1", "Grace", "Okafor")).await;
    let request = AddPastEntryRequest {
        timeline: Timeline::PersonName.into(),
        address_type: AddressType::Unspecified.into(),
        value: Some(add_past_entry_request::Value::PersonName(person_name("Grace", "Eze"))),
        etag: person(&acme.manager, &grace.person_id).await.etag,
        ..past_address_entry(&grace.person_id, "", "2010-01-01", "2019-07-01")
    };
    acme.manager.history().add_past_entry(request).await.unwrap();
    assert_eq!(
        lines(&entries(&acme.manager, &grace.person_id, Timeline::PersonName).await),
        ["Grace Eze 2010-01-01..2019-07-01 past", "Grace Okafor 2019-07-01.. current"]
    );
}

async fn past_addresses_may_be_added_in_any_order(db: TestDb) {
    let older = [
        ("First House", "2005-01-01", "2008-01-01"),
        ("Second House", "2008-01-01", "2010-01-01"),
        ("Third House", "2012-01-01", "2015-01-01"),
    ];
    let acme = Acme::with_addresses(&db, &[("New House", "", "")]).await;
    for (nth, order) in [[0, 1, 2], [2, 1, 0], [1, 2, 0]].into_iter().enumerate() {
        let request = CreateClientRequest {
            addresses: vec![trading("New House", "", "")],
            ..company(&format!("ORDER{nth}"), "Acme Limited")
        };
        let made = create(&acme.manager, request).await;
        for one in order {
            let (line, from, to) = older[one];
            let etag = client(&acme.manager, &made.id).await.etag;
            let request =
                AddPastEntryRequest { etag, ..past_address_entry(&made.id, line, from, to) };
            acme.manager.history().add_past_entry(request).await.unwrap();
        }
        assert_eq!(
            lines(&entries(&acme.manager, &made.id, Timeline::Address).await),
            [
                "First House 2005-01-01..2008-01-01 past",
                "Second House 2008-01-01..2010-01-01 past",
                "Third House 2012-01-01..2015-01-01 past",
                "New House .. current",
            ],
            "{order:?}"
        );
    }
}

async fn overlapping_past_entry_is_refused_with_conflicts(db: TestDb) {
    let acme = two_houses(&db).await;
    let both = past_address_entry(&acme.client.id, "Mid House", "2018-01-01", "2020-01-01");
    let refused = acme
        .assert_refuses(acme.add_past_entry(both), Code::FailedPrecondition, "PERIOD_OVERLAP")
        .await;
    let ids: Vec<String> = acme.addresses().await.into_iter().map(|entry| entry.id).collect();
    assert_eq!(error_metadata(&refused, "entries"), ids.join(","));
    let one = past_address_entry(&acme.client.id, "Mid House", "", "2010-01-02");
    let refused = acme
        .assert_refuses(acme.add_past_entry(one), Code::FailedPrecondition, "PERIOD_OVERLAP")
        .await;
    assert_eq!(error_metadata(&refused, "entries"), ids[0]);
}

async fn past_entry_with_trim_shortens_overlapped_entries(db: TestDb) {
    let acme = two_houses(&db).await;
    let request = AddPastEntryRequest {
        trim: true,
        ..past_address_entry(&acme.client.id, "Mid House", "2018-01-01", "2020-01-01")
    };
    let answer = acme.add_past_entry(request).await.unwrap();
    assert_eq!(answer.change_ids.len(), 3);
    assert_eq!(
        lines(&acme.addresses().await),
        [
            "Old House 2010-01-01..2018-01-01 past",
            "Mid House 2018-01-01..2020-01-01 past",
            "New House 2020-01-01.. current",
        ]
    );
    assert_eq!(
        kinds(&acme.manager, &acme.client.id).await[1..],
        [ChangeKind::EntryAdded, ChangeKind::EntryDatesChanged, ChangeKind::EntryDatesChanged]
    );
}

async fn past_entry_with_trim_may_not_swallow_or_split(db: TestDb) {
    let acme = two_houses(&db).await;
    let trim = |from, to| AddPastEntryRequest {
        trim: true,
        ..past_address_entry(&acme.client.id, "Mid House", from, to)
    };
    let old = acme.addresses().await[0].id.clone();
    let swallow = acme.add_past_entry(trim("2009-01-01", "2020-01-01"));
    let refused =
        acme.assert_refuses(swallow, Code::FailedPrecondition, "PERIOD_SWALLOWS_ENTRY").await;
    assert_eq!(error_metadata(&refused, "entries"), old);
    let split = acme.add_past_entry(trim("2012-01-01", "2013-01-01"));
    let refused = acme.assert_refuses(split, Code::FailedPrecondition, "PERIOD_SPLITS_ENTRY").await;
    assert_eq!(error_metadata(&refused, "entries"), old);
}

async fn past_entry_with_invalid_period_is_refused(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let past =
        |from, to| acme.add_past_entry(past_address_entry(&acme.client.id, "Old House", from, to));
    for to in ["", "2020-01-01", "2019-01-01"] {
        let call = past("2020-01-01", to);
        acme.assert_refuses(call, Code::InvalidArgument, "PERIOD_INVALID").await;
    }
    let future = past("2020-01-01", "2026-03-02");
    acme.assert_refuses(future, Code::FailedPrecondition, "END_IN_FUTURE").await;
    past("2020-01-01", "2026-03-01").await.unwrap();
}

async fn past_name_with_gap_is_refused(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let name = |from, to| AddPastEntryRequest {
        timeline: Timeline::RegisteredName.into(),
        address_type: AddressType::Unspecified.into(),
        value: Some(add_past_entry_request::Value::Name("Wile Limited".into())),
        ..past_address_entry(&acme.client.id, "", from, to)
    };
    let gap = acme.add_past_entry(name("2005-01-01", "2009-12-31"));
    acme.assert_refuses(gap, Code::FailedPrecondition, "PERIOD_GAP").await;
    acme.add_past_entry(name("2005-01-01", "2010-01-01")).await.unwrap();
    let inside = AddPastEntryRequest {
        value: Some(add_past_entry_request::Value::Name("Coyote Limited".into())),
        trim: true,
        ..name("2008-01-01", "2010-01-01")
    };
    acme.add_past_entry(inside).await.unwrap();
    assert_eq!(
        lines(&acme.names().await),
        [
            "Wile Limited 2005-01-01..2008-01-01 past",
            "Coyote Limited 2008-01-01..2010-01-01 past",
            "Acme Limited 2010-01-01.. current",
        ]
    );
}
