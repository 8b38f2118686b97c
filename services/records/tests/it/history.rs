//! History and corrections: a test of each row of the table in `docs/history.md`, through
//! the API.

use concord_proto::pb::records::{
    AddEntryRequest, AddPastEntryRequest, Address, AddressType, ChangeKind, CorrectEntryRequest,
    CreateClientRequest, HistoryOutcome, ListEntriesRequest, NewName, Timeline, add_entry_request,
    add_past_entry_request, correct_entry_request,
};
use concord_testing::{TestDb, storage_tests};
use tonic::Code;

use concord_testing::e2e::{
    caller::{Caller, request_id},
    records::{
        Acme, address_entry, assert_refused, cancel, client, company, correction, create,
        current_etag, end, entries, error_metadata, house, individual, kinds, line, lines,
        name_entry, new_person, past_address_entry, person_name, reason, rescission, trading,
        violations,
    },
    servers,
};

storage_tests! {
    add_entry_ends_current_entry_today,
    add_entry_may_be_backdated,
    add_entry_on_start_day_of_current_is_refused,
    add_entry_before_current_names_add_past_entry,
    add_entry_after_today_is_scheduled,
    add_entry_over_366_days_ahead_is_refused,
    second_scheduled_entry_is_refused,
    add_entry_keeps_later_scheduled_entry,
    add_entry_with_same_value_is_no_op,
    add_entry_with_older_value_creates_entry,
    add_entry_continues_ended_timeline,
    past_entry_is_inserted_between_others,
    past_address_keeps_unknown_start_of_next,
    past_addresses_may_be_added_in_any_order,
    overlapping_past_entry_is_refused_with_conflicts,
    past_entry_with_trim_shortens_overlapped_entries,
    past_entry_with_trim_may_not_swallow_or_split,
    past_entry_with_invalid_period_is_refused,
    past_name_with_gap_is_refused,
    corrected_value_keeps_entry_id,
    corrected_dates_move_adjacent_entries,
    corrected_address_date_keeps_gaps,
    corrected_name_date_moves_previous_name,
    correction_past_adjacent_entry_is_refused,
    correction_that_changes_status_is_refused,
    staff_of_origin_product_clears_mistaken_end,
    start_corrected_to_future_becomes_scheduled,
    correcting_date_of_other_product_needs_admin,
    trimming_past_entry_needs_admin,
    correcting_past_entry_needs_admin,
    correction_without_difference_is_no_op,
    correction_with_invalid_mask_is_refused,
    end_entry_leaves_no_current_entry,
    end_entry_in_future_or_twice_is_refused,
    end_of_required_name_is_refused,
    cancel_scheduled_entry_reopens_previous,
    cancel_of_begun_entry_is_refused,
    rescinded_entry_extends_previous,
    rescinded_ended_entry_reopens_previous,
    rescission_restores_timeline_before_entry,
    rescission_needs_role_and_reason,
    rescinded_first_name_moves_start_of_next,
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

const ADDED: HistoryOutcome = HistoryOutcome::Added;
const NO_CHANGE: HistoryOutcome = HistoryOutcome::NoChange;

/// A client that traded at Old House until 2019-07-01 and at New House since.
async fn two_houses(db: &TestDb) -> Acme {
    Acme::with_addresses(
        db,
        &[("Old House", "2010-01-01", "2019-07-01"), ("New House", "2019-07-01", "")],
    )
    .await
}

async fn add_entry_ends_current_entry_today(db: TestDb) {
    let acme = two_houses(&db).await;
    let answer = acme.add_address("Third House", "").await.unwrap();
    assert_eq!((answer.outcome(), answer.change_ids.len()), (ADDED, 1));
    assert_eq!(line(&answer.entry.unwrap()), "Third House 2026-03-01.. current");
    assert_eq!(lines(&answer.moved), ["New House 2019-07-01..2026-03-01 past"]);
    assert_eq!(
        lines(&acme.addresses().await),
        [
            "Old House 2010-01-01..2019-07-01 past",
            "New House 2019-07-01..2026-03-01 past",
            "Third House 2026-03-01.. current",
        ]
    );
    let reported = kinds(&acme.manager, &acme.client.id).await;
    assert_eq!(reported, [ChangeKind::Created, ChangeKind::EntryAdded]);
    let now = acme.read().await;
    assert_eq!(now.version, 2);
    assert_ne!(now.etag, acme.client.etag);
}

async fn add_entry_may_be_backdated(db: TestDb) {
    let acme = two_houses(&db).await;
    acme.add_address("Third House", "2019-07-02").await.unwrap();
    acme.add_name("Acme Holdings Limited", "2024-02-29").await.unwrap();
    assert_eq!(
        lines(&acme.addresses().await)[1..],
        ["New House 2019-07-01..2019-07-02 past", "Third House 2019-07-02.. current"]
    );
    assert_eq!(
        lines(&acme.names().await),
        ["Acme Limited 2010-01-01..2024-02-29 past", "Acme Holdings Limited 2024-02-29.. current",]
    );
    assert_eq!(acme.read().await.registered_name, "Acme Holdings Limited");
}

async fn add_entry_on_start_day_of_current_is_refused(db: TestDb) {
    let acme = two_houses(&db).await;
    let call = acme.add_address("Third House", "2019-07-01");
    let refused =
        acme.assert_refuses(call, Code::FailedPrecondition, "ENTRY_STARTS_SAME_DAY").await;
    assert!(refused.message().contains("CorrectEntry"), "{}", refused.message());
    assert_eq!(error_metadata(&refused, "entries"), acme.addresses().await[1].id);
    acme.add_address("Third House", "").await.unwrap();
    let again = acme.add_address("Fourth House", "");
    acme.assert_refuses(again, Code::FailedPrecondition, "ENTRY_STARTS_SAME_DAY").await;
}

async fn add_entry_before_current_names_add_past_entry(db: TestDb) {
    let acme = two_houses(&db).await;
    for day in ["2019-06-30", "2015-01-01", "1900-01-01"] {
        let call = acme.add_address("Third House", day);
        let refused =
            acme.assert_refuses(call, Code::FailedPrecondition, "BEFORE_CURRENT_ENTRY").await;
        assert!(refused.message().contains("AddPastEntry"), "{}", refused.message());
    }
}

async fn add_entry_after_today_is_scheduled(db: TestDb) {
    let acme = two_houses(&db).await;
    let answer = acme.add_address("Third House", "2026-03-02").await.unwrap();
    assert_eq!(answer.outcome(), HistoryOutcome::Scheduled);
    assert_eq!(line(answer.entry.as_ref().unwrap()), "Third House 2026-03-02.. scheduled");
    assert_eq!(lines(&answer.moved), ["New House 2019-07-01..2026-03-02 current"]);
    acme.add_name("Acme Holdings Limited", "2026-04-01").await.unwrap();
    let now = acme.read().await;
    assert_eq!(now.registered_name, "Acme Limited", "the current name");
    assert_eq!(
        kinds(&acme.manager, &acme.client.id).await[1..],
        [ChangeKind::EntryScheduled, ChangeKind::EntryScheduled]
    );
}

async fn add_entry_over_366_days_ahead_is_refused(db: TestDb) {
    let acme = two_houses(&db).await;
    for day in ["2027-03-03", "9999-12-31"] {
        let call = acme.add_address("Third House", day);
        acme.assert_refuses(call, Code::FailedPrecondition, "EFFECTIVE_DATE_TOO_FAR").await;
    }
    let answer = acme.add_address("Third House", "2027-03-02").await.unwrap();
    assert_eq!(answer.outcome(), HistoryOutcome::Scheduled);
}

async fn second_scheduled_entry_is_refused(db: TestDb) {
    let acme = two_houses(&db).await;
    let scheduled = acme.add_address("Third House", "2026-04-01").await.unwrap().entry.unwrap();
    for day in ["2026-03-15", "2026-04-01", "2026-05-01"] {
        let call = acme.add_address("Fourth House", day);
        let refused =
            acme.assert_refuses(call, Code::FailedPrecondition, "SCHEDULED_ENTRY_EXISTS").await;
        assert_eq!(error_metadata(&refused, "entries"), scheduled.id);
        assert!(refused.message().contains("CancelScheduledEntry"), "{}", refused.message());
    }
}

async fn add_entry_keeps_later_scheduled_entry(db: TestDb) {
    let acme = two_houses(&db).await;
    acme.add_address("Fourth House", "2026-04-01").await.unwrap();
    acme.add_address("Third House", "2026-01-01").await.unwrap();
    assert_eq!(
        lines(&acme.addresses().await)[1..],
        [
            "New House 2019-07-01..2026-01-01 past",
            "Third House 2026-01-01..2026-04-01 current",
            "Fourth House 2026-04-01.. scheduled",
        ]
    );
}

async fn add_entry_with_same_value_is_no_op(db: TestDb) {
    let acme = two_houses(&db).await;
    let before = acme.read().await;
    for (same, day) in [("New House", ""), ("  New   House ", ""), ("New House", "2019-07-01")] {
        let answer = acme.add_address(same, day).await.unwrap();
        assert_eq!((answer.outcome(), answer.change_ids.len()), (NO_CHANGE, 0), "{same:?} {day}");
        assert_eq!(line(&answer.entry.unwrap()), "New House 2019-07-01.. current");
    }
    assert_eq!(acme.read().await, before);
    assert_eq!(kinds(&acme.manager, &acme.client.id).await, [ChangeKind::Created]);
    for day in ["2022-01-01", "2018-01-01", "2026-04-01"] {
        let call = acme.add_address("New House", day);
        let refused = acme.assert_refuses(call, Code::FailedPrecondition, "ALREADY_CURRENT").await;
        assert!(refused.message().contains("CorrectEntry"), "{}", refused.message());
    }
    let other_case = acme.add_address("NEW HOUSE", "").await.unwrap();
    assert_eq!(other_case.outcome(), ADDED);
    let composed = acme.add_name("Caf\u{e9} Limited", "2020-01-01").await.unwrap();
    assert_eq!(composed.outcome(), ADDED);
    let decomposed = acme.add_name("Cafe\u{301} Limited", "").await.unwrap();
    assert_eq!(decomposed.outcome(), NO_CHANGE);
}

async fn add_entry_with_older_value_creates_entry(db: TestDb) {
    let acme = two_houses(&db).await;
    let answer = acme.add_address("Old House", "2025-01-01").await.unwrap();
    assert_eq!(answer.outcome(), ADDED);
    assert_eq!(
        lines(&acme.addresses().await),
        [
            "Old House 2010-01-01..2019-07-01 past",
            "New House 2019-07-01..2025-01-01 past",
            "Old House 2025-01-01.. current",
        ]
    );
}

async fn add_entry_continues_ended_timeline(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let first = acme.add_address("Old House", "2020-01-01").await.unwrap();
    assert_eq!((first.outcome(), first.moved.len()), (ADDED, 0));
    let request = end(&first.entry.unwrap(), "2022-01-01");
    acme.manager.history().end_entry(request).await.unwrap();
    let call = acme.add_address("New House", "2021-12-31");
    acme.assert_refuses(call, Code::FailedPrecondition, "PERIOD_OVERLAP").await;
    acme.add_address("New House", "2022-01-01").await.unwrap();
    assert_eq!(
        lines(&acme.addresses().await),
        ["Old House 2020-01-01..2022-01-01 past", "New House 2022-01-01.. current"]
    );
    let request = AddEntryRequest {
        timeline: Timeline::TradingName.into(),
        ..name_entry(&acme.client.id, "Acme", "2026-04-01", "")
    };
    let scheduled = acme.manager.history().add_entry(request).await.unwrap().into_inner();
    assert_eq!(scheduled.outcome(), HistoryOutcome::Scheduled);
    assert_eq!(acme.read().await.trading_name, "");
}

async fn past_entry_is_inserted_between_others(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[("New House", "2019-07-01", "")]).await;
    let answer = acme
        .add_past_entry(past_address_entry(
            &acme.client.id,
            "Old House",
            "2010-01-01",
            "2015-01-01",
        ))
        .await
        .unwrap();
    assert_eq!((answer.outcome(), answer.change_ids.len(), answer.moved.len()), (ADDED, 1, 0));
    assert_eq!(line(&answer.entry.unwrap()), "Old House 2010-01-01..2015-01-01 past");
    acme.add_past_entry(past_address_entry(&acme.client.id, "First House", "", "2010-01-01"))
        .await
        .unwrap();
    acme.add_past_entry(past_address_entry(
        &acme.client.id,
        "Mid House",
        "2015-01-01",
        "2019-07-01",
    ))
    .await
    .unwrap();
    assert_eq!(
        lines(&acme.addresses().await),
        [
            "First House ..2010-01-01 past",
            "Old House 2010-01-01..2015-01-01 past",
            "Mid House 2015-01-01..2019-07-01 past",
            "New House 2019-07-01.. current",
        ]
    );
    let again = acme
        .add_past_entry(past_address_entry(
            &acme.client.id,
            "Mid House",
            "2015-01-01",
            "2019-07-01",
        ))
        .await;
    assert_eq!(again.unwrap().outcome(), NO_CHANGE);
}

async fn past_address_keeps_unknown_start_of_next(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[("New House", "", "")]).await;
    let before = acme.addresses().await.remove(0);
    let answer = acme
        .add_past_entry(past_address_entry(
            &acme.client.id,
            "Old House",
            "2010-01-01",
            "2019-07-01",
        ))
        .await
        .unwrap();
    assert_eq!((lines(&answer.moved).len(), answer.change_ids.len()), (0, 1));
    let after = acme.addresses().await;
    assert_eq!(lines(&after), ["Old House 2010-01-01..2019-07-01 past", "New House .. current"]);
    assert_eq!(after[1], before, "its etag too");
    // The start of a name becomes known.
    let grace = create(&acme.manager, individual("OKA1", "Grace", "Okafor")).await;
    let now = concord_proto::pb::records::GetPersonRequest { person: grace.person_id.clone() };
    let etag = acme.manager.persons().get_person(now).await.unwrap().into_inner();
    let request = AddPastEntryRequest {
        timeline: Timeline::PersonName.into(),
        address_type: AddressType::Unspecified.into(),
        value: Some(add_past_entry_request::Value::PersonName(person_name("Grace", "Eze"))),
        etag: etag.person.unwrap().etag,
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
    acme.assert_refuses(past("2020-01-01", ""), Code::InvalidArgument, "PERIOD_INVALID").await;
    acme.assert_refuses(past("2020-01-01", "2020-01-01"), Code::InvalidArgument, "PERIOD_INVALID")
        .await;
    acme.assert_refuses(past("2020-01-01", "2019-01-01"), Code::InvalidArgument, "PERIOD_INVALID")
        .await;
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

fn as_value(line_1: &str) -> correct_entry_request::Value {
    correct_entry_request::Value::Address(house(line_1))
}

async fn corrected_value_keeps_entry_id(db: TestDb) {
    let acme = two_houses(&db).await;
    let current = acme.addresses().await.remove(1);
    let request = CorrectEntryRequest {
        value: Some(as_value("New Horse")),
        ..correction(&current, &["value"])
    };
    let answer = acme.manager.history().correct_entry(request).await.unwrap().into_inner();
    assert_eq!(answer.outcome(), HistoryOutcome::Corrected);
    assert_eq!((answer.change_ids.len(), answer.moved.len()), (1, 0));
    let corrected = answer.entry.unwrap();
    assert_eq!(corrected.id, current.id);
    assert_ne!(corrected.etag, current.etag);
    assert_eq!(
        lines(&acme.addresses().await),
        ["Old House 2010-01-01..2019-07-01 past", "New Horse 2019-07-01.. current"]
    );
    assert_eq!(kinds(&acme.manager, &acme.client.id).await[1..], [ChangeKind::EntryCorrected]);
}

async fn corrected_dates_move_adjacent_entries(db: TestDb) {
    let acme = two_houses(&db).await;
    acme.add_address("Third House", "2026-01-01").await.unwrap();
    let current = acme.addresses().await.remove(2);
    let request = CorrectEntryRequest {
        active_from: "2025-06-01".into(),
        ..correction(&current, &["active_from"])
    };
    let answer = acme.manager.history().correct_entry(request).await.unwrap().into_inner();
    assert_eq!(answer.outcome(), HistoryOutcome::Corrected);
    assert_eq!(answer.change_ids.len(), 2);
    assert_eq!(lines(&answer.moved), ["New House 2019-07-01..2025-06-01 past"]);
    let middle = acme.addresses().await.remove(1);
    let request = CorrectEntryRequest {
        active_from: "2019-01-01".into(),
        active_to: "2025-07-01".into(),
        correct_history: true,
        ..correction(&middle, &["active_from", "active_to"])
    };
    acme.manager.history().correct_entry(request).await.unwrap();
    assert_eq!(
        lines(&acme.addresses().await),
        [
            "Old House 2010-01-01..2019-01-01 past",
            "New House 2019-01-01..2025-07-01 past",
            "Third House 2025-07-01.. current",
        ]
    );
    let reported = kinds(&acme.manager, &acme.client.id).await;
    assert_eq!(reported[2..], [ChangeKind::EntryDatesChanged; 5]);
}

async fn corrected_address_date_keeps_gaps(db: TestDb) {
    let acme = two_houses(&db).await;
    acme.add_address("Third House", "2024-01-01").await.unwrap();
    let [old, new, third] = <[_; 3]>::try_from(acme.addresses().await).unwrap();
    let corrects = |request| async {
        acme.manager.history().correct_entry(request).await.unwrap().into_inner()
    };
    let later = CorrectEntryRequest {
        active_from: "2025-01-01".into(),
        ..correction(&third, &["active_from"])
    };
    let answer = corrects(later).await;
    assert_eq!((answer.moved.len(), answer.change_ids.len()), (0, 1));
    let earlier = CorrectEntryRequest {
        active_to: "2018-01-01".into(),
        correct_history: true,
        ..correction(&old, &["active_to"])
    };
    assert_eq!(corrects(earlier).await.moved.len(), 0);
    assert_eq!(
        lines(&acme.addresses().await),
        [
            "Old House 2010-01-01..2018-01-01 past",
            "New House 2019-07-01..2024-01-01 past",
            "Third House 2025-01-01.. current",
        ]
    );
    // Into the gap, and past it: an overlapped entry is shortened.
    let within = CorrectEntryRequest {
        active_from: "2018-06-01".into(),
        correct_history: true,
        ..correction(&new, &["active_from"])
    };
    let within = corrects(within).await;
    assert_eq!(within.moved.len(), 0);
    let beyond = CorrectEntryRequest {
        active_from: "2017-01-01".into(),
        correct_history: true,
        ..correction(&within.entry.unwrap(), &["active_from"])
    };
    let moved = lines(&corrects(beyond).await.moved);
    assert_eq!(moved, ["Old House 2010-01-01..2017-01-01 past"]);
}

async fn corrected_name_date_moves_previous_name(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    acme.add_name("Acme Holdings Limited", "2020-01-01").await.unwrap();
    let current = acme.names().await.remove(1);
    let later = CorrectEntryRequest {
        active_from: "2021-01-01".into(),
        ..correction(&current, &["active_from"])
    };
    let answer = acme.manager.history().correct_entry(later).await.unwrap().into_inner();
    assert_eq!(lines(&answer.moved), ["Acme Limited 2010-01-01..2021-01-01 past"]);
}

async fn correction_past_adjacent_entry_is_refused(db: TestDb) {
    let acme = two_houses(&db).await;
    let [old, new] = <[_; 2]>::try_from(acme.addresses().await).unwrap();
    for day in ["2010-01-01", "2009-01-01", ""] {
        let request =
            CorrectEntryRequest { active_from: day.into(), ..correction(&new, &["active_from"]) };
        let call = async { acme.manager.history().correct_entry(request).await };
        let refused =
            acme.assert_refuses(call, Code::FailedPrecondition, "PERIOD_SWALLOWS_ENTRY").await;
        assert_eq!(error_metadata(&refused, "entries"), old.id);
    }
    let reversed = CorrectEntryRequest {
        active_from: "2020-01-01".into(),
        correct_history: true,
        ..correction(&old, &["active_from"])
    };
    let call = async { acme.manager.history().correct_entry(reversed).await };
    acme.assert_refuses(call, Code::InvalidArgument, "PERIOD_INVALID").await;
}

async fn correction_that_changes_status_is_refused(db: TestDb) {
    let acme = two_houses(&db).await;
    let [old, new] = <[_; 2]>::try_from(acme.addresses().await).unwrap();
    let ended =
        CorrectEntryRequest { active_to: "2026-01-01".into(), ..correction(&new, &["active_to"]) };
    let revived = CorrectEntryRequest { correct_history: true, ..correction(&old, &["active_to"]) };
    for (request, rpc) in [(ended, "EndEntry"), (revived, "AddEntry")] {
        let call = async { acme.manager.history().correct_entry(request).await };
        let refused =
            acme.assert_refuses(call, Code::FailedPrecondition, "ENTRY_STATUS_WOULD_CHANGE").await;
        assert!(refused.message().contains(rpc), "{}", refused.message());
    }
}

/// Links a second product to the client. Returns staff callers of both products.
async fn with_books(acme: &Acme) -> (Caller, Caller) {
    let books = Caller::owner(acme.server.channel().await, "p1", "books").connect().await;
    let link = concord_proto::pb::records::LinkClientRequest {
        client: acme.client.id.clone(),
        external_id: "B1".into(),
        request_id: request_id(),
        ..Default::default()
    };
    books.clients().link_client(link).await.unwrap();
    let staff = |caller: &Caller| caller.clone().with("x-concord-roles", "staff");
    (staff(&acme.manager), staff(&books))
}

async fn staff_of_origin_product_clears_mistaken_end(db: TestDb) {
    let acme = two_houses(&db).await;
    let (staff, _) = with_books(&acme).await;
    let before = acme.addresses().await;
    let ended = staff.history().end_entry(end(&before[1], "2026-02-01")).await.unwrap();
    let ended = ended.into_inner().entry.unwrap();
    let request = correction(&ended, &["active_to"]);
    let answer = staff.history().correct_entry(request).await.unwrap().into_inner();
    assert_eq!(answer.outcome(), HistoryOutcome::Corrected);
    assert_eq!(line(&answer.entry.unwrap()), "New House 2019-07-01.. current");
    assert_eq!(acme.addresses().await, before);
    assert_eq!(
        kinds(&acme.manager, &acme.client.id).await[2..],
        [ChangeKind::EntryEnded, ChangeKind::EntryDatesChanged]
    );
    // Ended again, with a later entry: it is no longer the last one.
    let ended = staff.history().end_entry(end(&before[1], "2026-02-01")).await.unwrap();
    let ended = ended.into_inner().entry.unwrap();
    acme.add_address("Third House", "2026-02-15").await.unwrap();
    let call = async { staff.history().correct_entry(correction(&ended, &["active_to"])).await };
    acme.assert_refuses(call, Code::FailedPrecondition, "CORRECT_HISTORY_REQUIRED").await;
}

async fn start_corrected_to_future_becomes_scheduled(db: TestDb) {
    let acme = two_houses(&db).await;
    let (staff, _) = with_books(&acme).await;
    let etag = acme.addresses().await[1].etag.clone();
    let request = address_entry(&acme.client.id, "Third House", "2026-02-01", &etag);
    let third = staff.history().add_entry(request).await.unwrap().into_inner().entry.unwrap();
    let planned = CorrectEntryRequest {
        active_from: "2026-04-01".into(),
        ..correction(&third, &["active_from"])
    };
    let answer = staff.history().correct_entry(planned).await.unwrap().into_inner();
    assert_eq!(line(&answer.entry.unwrap()), "Third House 2026-04-01.. scheduled");
    assert_eq!(lines(&answer.moved), ["New House 2019-07-01..2026-04-01 current"]);
    assert_eq!(current_etag(&acme.addresses().await), acme.addresses().await[1].etag);
    // The same for a name: the previous one stays current until then.
    acme.add_name("Acme Holdings Limited", "2026-02-01").await.unwrap();
    let name = acme.names().await.remove(1);
    let planned = CorrectEntryRequest {
        active_from: "2026-05-01".into(),
        ..correction(&name, &["active_from"])
    };
    staff.history().correct_entry(planned).await.unwrap();
    assert_eq!(acme.read().await.registered_name, "Acme Limited");
    assert_eq!(
        lines(&acme.names().await),
        [
            "Acme Limited 2010-01-01..2026-05-01 current",
            "Acme Holdings Limited 2026-05-01.. scheduled"
        ]
    );
}

async fn correcting_date_of_other_product_needs_admin(db: TestDb) {
    let acme = two_houses(&db).await;
    let (staff, others) = with_books(&acme).await;
    let current = acme.addresses().await.remove(1);
    let ended = staff.history().end_entry(end(&current, "2026-02-01")).await.unwrap();
    let ended = ended.into_inner().entry.unwrap();
    let call = async { others.history().correct_entry(correction(&ended, &["active_to"])).await };
    let refused = acme.assert_refuses(call, Code::PermissionDenied, "ROLE_NOT_ALLOWED").await;
    assert!(refused.message().contains("CorrectEntry"), "{}", refused.message());
    let admin = others.clone().with("x-concord-roles", "admin");
    let answer = admin.history().correct_entry(correction(&ended, &["active_to"])).await.unwrap();
    let cleared = answer.into_inner().entry.unwrap();
    assert_eq!(line(&cleared), "New House 2019-07-01.. current");
    // The start was set by manager, which created the client.
    let planned = || CorrectEntryRequest {
        active_from: "2026-04-01".into(),
        ..correction(&cleared, &["active_from"])
    };
    let call = async { others.history().correct_entry(planned()).await };
    acme.assert_refuses(call, Code::PermissionDenied, "ROLE_NOT_ALLOWED").await;
    staff.history().correct_entry(planned()).await.unwrap();
}

async fn trimming_past_entry_needs_admin(db: TestDb) {
    let acme = two_houses(&db).await;
    let staff = acme.manager.clone().with("x-concord-roles", "staff");
    let etag = || async { acme.read().await.etag };
    let trims = |from, to, etag| AddPastEntryRequest {
        trim: true,
        etag,
        ..past_address_entry(&acme.client.id, "Mid House", from, to)
    };
    let request = trims("2018-01-01", "2020-01-01", etag().await);
    let call = async { staff.history().add_past_entry(request).await };
    let refused = acme.assert_refuses(call, Code::PermissionDenied, "ROLE_NOT_ALLOWED").await;
    assert_eq!(error_metadata(&refused, "entries"), acme.addresses().await[0].id);
    // Every role that may write may correct the current entry.
    let request = trims("2019-07-01", "2020-01-01", etag().await);
    staff.history().add_past_entry(request).await.unwrap();
    let request = trims("2018-01-01", "2019-07-01", etag().await);
    let admin = acme.manager.clone().with("x-concord-roles", "admin");
    let request = AddPastEntryRequest {
        value: Some(add_past_entry_request::Value::Address(house("Other House"))),
        ..request
    };
    admin.history().add_past_entry(request).await.unwrap();
    assert_eq!(
        lines(&acme.addresses().await),
        [
            "Old House 2010-01-01..2018-01-01 past",
            "Other House 2018-01-01..2019-07-01 past",
            "Mid House 2019-07-01..2020-01-01 past",
            "New House 2020-01-01.. current",
        ]
    );
}

async fn correcting_past_entry_needs_admin(db: TestDb) {
    let acme = two_houses(&db).await;
    let old = acme.addresses().await.remove(0);
    let request = |correct_history| CorrectEntryRequest {
        value: Some(as_value("Olde House")),
        correct_history,
        ..correction(&old, &["value"])
    };
    let call = async { acme.manager.history().correct_entry(request(false)).await };
    let refused =
        acme.assert_refuses(call, Code::FailedPrecondition, "CORRECT_HISTORY_REQUIRED").await;
    assert!(refused.message().contains("correct_history"), "{}", refused.message());
    let staff = acme.manager.clone().with("x-concord-roles", "staff");
    let call = async { staff.history().correct_entry(request(true)).await };
    acme.assert_refuses(call, Code::PermissionDenied, "ROLE_NOT_ALLOWED").await;
    let admin = acme.manager.clone().with("x-concord-roles", "admin");
    admin.history().correct_entry(request(true)).await.unwrap();
    assert_eq!(lines(&acme.addresses().await)[0], "Olde House 2010-01-01..2019-07-01 past");
    let current = acme.addresses().await.remove(1);
    let request = CorrectEntryRequest {
        value: Some(as_value("New Horse")),
        ..correction(&current, &["value"])
    };
    staff.history().correct_entry(request).await.unwrap();
}

async fn correction_without_difference_is_no_op(db: TestDb) {
    let acme = two_houses(&db).await;
    let before = acme.read().await;
    for (entry, same) in acme.addresses().await.iter().zip([" Old House", "New  House "]) {
        let request = CorrectEntryRequest {
            value: Some(as_value(same)),
            active_from: entry.active_from.clone(),
            active_to: entry.active_to.clone(),
            ..correction(entry, &["value", "active_from", "active_to"])
        };
        let answer = acme.manager.history().correct_entry(request).await.unwrap().into_inner();
        assert_eq!((answer.outcome(), answer.change_ids.len()), (NO_CHANGE, 0));
    }
    assert_eq!(acme.read().await, before);
}

async fn correction_with_invalid_mask_is_refused(db: TestDb) {
    let acme = two_houses(&db).await;
    let current = acme.addresses().await.remove(1);
    for fields in [&[][..], &["*"], &["line_1"], &["value", "dates"]] {
        let request = CorrectEntryRequest {
            value: Some(as_value("New Horse")),
            ..correction(&current, fields)
        };
        let call = async { acme.manager.history().correct_entry(request).await };
        acme.assert_refuses(call, Code::InvalidArgument, "INVALID_MASK").await;
    }
    let request = correction(&current, &["value"]);
    let call = async { acme.manager.history().correct_entry(request).await };
    acme.assert_refuses(call, Code::InvalidArgument, "REQUIRED_FIELD_BLANK").await;
}

async fn end_entry_leaves_no_current_entry(db: TestDb) {
    let acme = two_houses(&db).await;
    let current = acme.addresses().await.remove(1);
    let answer = acme.manager.history().end_entry(end(&current, "")).await.unwrap().into_inner();
    assert_eq!(answer.outcome(), HistoryOutcome::Ended);
    assert_eq!(line(&answer.entry.unwrap()), "New House 2019-07-01..2026-03-01 past");
    assert_eq!(kinds(&acme.manager, &acme.client.id).await[1..], [ChangeKind::EntryEnded]);
    assert_eq!(lines(&acme.addresses().await).len(), 2);
}

async fn end_entry_in_future_or_twice_is_refused(db: TestDb) {
    let acme = two_houses(&db).await;
    let [old, new] = <[_; 2]>::try_from(acme.addresses().await).unwrap();
    let ends = |request| async { acme.manager.history().end_entry(request).await };
    let call = ends(end(&new, "2026-03-02"));
    acme.assert_refuses(call, Code::FailedPrecondition, "END_IN_FUTURE").await;
    acme.assert_refuses(ends(end(&old, "")), Code::FailedPrecondition, "NO_CURRENT_ENTRY").await;
    let call = ends(end(&new, "2019-07-01"));
    acme.assert_refuses(call, Code::InvalidArgument, "PERIOD_INVALID").await;
    acme.add_address("Third House", "2026-04-01").await.unwrap();
    let current = acme.addresses().await.remove(1);
    let call = ends(end(&current, ""));
    acme.assert_refuses(call, Code::FailedPrecondition, "SCHEDULED_ENTRY_EXISTS").await;
}

async fn end_of_required_name_is_refused(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let name = acme.names().await.remove(0);
    let call = async { acme.manager.history().end_entry(end(&name, "")).await };
    acme.assert_refuses(call, Code::FailedPrecondition, "NAME_REQUIRED").await;
    let request =
        CorrectEntryRequest { active_to: "2026-02-01".into(), ..correction(&name, &["active_to"]) };
    let call = async { acme.manager.history().correct_entry(request).await };
    acme.assert_refuses(call, Code::FailedPrecondition, "NAME_REQUIRED").await;
    let request = rescission(&name, "never");
    let call = async { acme.manager.history().rescind_entry(request).await };
    acme.assert_refuses(call, Code::FailedPrecondition, "NAME_REQUIRED").await;
}

async fn cancel_scheduled_entry_reopens_previous(db: TestDb) {
    let acme = two_houses(&db).await;
    let before = acme.read().await;
    let scheduled = acme.add_address("Third House", "2026-04-01").await.unwrap().entry.unwrap();
    let request = cancel(&scheduled);
    let answer = acme.manager.history().cancel_scheduled_entry(request).await.unwrap().into_inner();
    assert_eq!((answer.outcome(), answer.entry), (HistoryOutcome::Cancelled, None));
    assert_eq!(lines(&answer.moved), ["New House 2019-07-01.. current"]);
    let after = acme.read().await;
    assert_eq!(
        (after.entries, after.etag),
        (before.entries, before.etag),
        "the state before the call"
    );
    assert_eq!(
        kinds(&acme.manager, &acme.client.id).await[1..],
        [ChangeKind::EntryScheduled, ChangeKind::EntryCancelled]
    );
}

async fn cancel_of_begun_entry_is_refused(db: TestDb) {
    let acme = two_houses(&db).await;
    for entry in acme.addresses().await {
        let call = async { acme.manager.history().cancel_scheduled_entry(cancel(&entry)).await };
        acme.assert_refuses(call, Code::FailedPrecondition, "NOT_SCHEDULED").await;
    }
}

async fn rescinded_entry_extends_previous(db: TestDb) {
    let acme = two_houses(&db).await;
    let before = acme.read().await;
    let wrong = acme.add_address("Third House", "2025-01-01").await.unwrap().entry.unwrap();
    let request = rescission(&wrong, "Meant another client");
    let answer = acme.manager.history().rescind_entry(request).await.unwrap().into_inner();
    assert_eq!((answer.outcome(), answer.entry), (HistoryOutcome::Rescinded, None));
    assert_eq!(lines(&answer.moved), ["New House 2019-07-01.. current"]);
    let after = acme.read().await;
    assert_eq!((after.entries, after.etag), (before.entries, before.etag));
    let kinds = kinds(&acme.manager, &acme.client.id).await;
    assert_eq!(kinds[1..], [ChangeKind::EntryAdded, ChangeKind::EntryRescinded]);
    let request = rescission(&wrong, "Once more");
    let call = async { acme.manager.history().rescind_entry(request).await };
    acme.assert_refuses(call, Code::NotFound, "NOT_FOUND").await;
}

async fn rescinded_ended_entry_reopens_previous(db: TestDb) {
    let acme = two_houses(&db).await;
    let before = acme.read().await;
    let wrong = acme.add_address("Third House", "2025-01-01").await.unwrap().entry.unwrap();
    let ended = acme.manager.history().end_entry(end(&wrong, "2025-06-01")).await.unwrap();
    let request = rescission(&ended.into_inner().entry.unwrap(), "Another client's");
    let answer = acme.manager.history().rescind_entry(request).await.unwrap().into_inner();
    assert_eq!(lines(&answer.moved), ["New House 2019-07-01.. current"]);
    let after = acme.read().await;
    assert_eq!((after.entries, after.etag), (before.entries, before.etag));
}

async fn rescission_restores_timeline_before_entry(db: TestDb) {
    let acme = &two_houses(&db).await;
    let before = acme.read().await;
    let history = || acme.manager.history();
    let rescind = |entry: concord_proto::pb::records::Entry| async move {
        let request = rescission(&entry, "Another client's");
        history().rescind_entry(request).await.unwrap();
        let after = acme.read().await;
        (after.entries, after.etag)
    };
    // Added, and its start corrected, which leaves a gap.
    let wrong = acme.add_address("Third House", "2024-01-01").await.unwrap().entry.unwrap();
    let later = CorrectEntryRequest {
        active_from: "2025-01-01".into(),
        ..correction(&wrong, &["active_from"])
    };
    let wrong = history().correct_entry(later).await.unwrap().into_inner().entry.unwrap();
    assert_eq!(rescind(wrong).await, (before.entries.clone(), before.etag.clone()));
    // Added as a past entry that trims both adjacent entries.
    let request = AddPastEntryRequest {
        trim: true,
        ..past_address_entry(&acme.client.id, "Mid House", "2018-01-01", "2020-01-01")
    };
    let wrong = acme.add_past_entry(request).await.unwrap().entry.unwrap();
    assert_eq!(rescind(wrong).await, (before.entries.clone(), before.etag.clone()));
    // Ended before the entry was added: the end stays.
    let current = acme.addresses().await.remove(1);
    history().end_entry(end(&current, "2026-01-01")).await.unwrap();
    let ended = acme.read().await;
    let wrong = acme.add_address("Third House", "2026-01-01").await.unwrap().entry.unwrap();
    assert_eq!(rescind(wrong).await, (ended.entries, ended.etag));
}

async fn rescission_needs_role_and_reason(db: TestDb) {
    let acme = two_houses(&db).await;
    let old = acme.addresses().await.remove(0);
    let staff = acme.manager.clone().with("x-concord-roles", "staff");
    let call = async { staff.history().rescind_entry(rescission(&old, "Never true")).await };
    acme.assert_refuses(call, Code::PermissionDenied, "ROLE_NOT_ALLOWED").await;
    let call = async { acme.manager.history().rescind_entry(rescission(&old, " ")).await };
    acme.assert_refuses(call, Code::InvalidArgument, "REQUIRED_FIELD_BLANK").await;
    let request = rescission(&old, &"x".repeat(501));
    let call = async { acme.manager.history().rescind_entry(request).await };
    acme.assert_refuses(call, Code::InvalidArgument, "VALUE_TOO_LONG").await;
    let admin = acme.manager.clone().with("x-concord-roles", "admin");
    admin.history().rescind_entry(rescission(&old, "Never true")).await.unwrap();
    assert_eq!(lines(&acme.addresses().await), ["New House 2019-07-01.. current"]);
}

async fn rescinded_first_name_moves_start_of_next(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    acme.add_name("Acme Holdings Limited", "2020-01-01").await.unwrap();
    let first = acme.names().await.remove(0);
    let request = rescission(&first, "Another company's");
    acme.manager.history().rescind_entry(request).await.unwrap();
    assert_eq!(lines(&acme.names().await), ["Acme Holdings Limited 2010-01-01.. current"]);
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
        history()
            .add_entry(address_entry(&acme.client.id, "Third House", "", &stale.etag))
            .await
            .map(drop)
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
    let mut running = Vec::new();
    let mut callers = vec![acme.manager.clone()];
    for _ in 1..servers::replicas(&db) {
        let server = servers::records(db.settings()).await;
        callers.push(Caller::owner(server.channel().await, "p1", "manager"));
        running.push(server);
    }
    let etag = acme.addresses().await[1].etag.clone();
    let writes = (0..8).map(|n| {
        let caller = callers[n % callers.len()].clone();
        let request = address_entry(&acme.client.id, &format!("House {n}"), "2026-02-01", &etag);
        tokio::spawn(async move { caller.history().add_entry(request).await })
    });
    let mut written = 0;
    for write in writes.collect::<Vec<_>>() {
        match write.await.unwrap() {
            Ok(_) => written += 1,
            Err(refused) => {
                assert_eq!(
                    (refused.code(), reason(&refused).as_str()),
                    (Code::Aborted, "ETAG_MISMATCH")
                );
            }
        }
    }
    assert_eq!(written, 1);
    assert_eq!(acme.addresses().await.len(), 3);
    assert_eq!(kinds(&acme.manager, &acme.client.id).await.len(), 2);
    for server in running {
        server.stop().await;
    }
}

async fn history_write_by_unlinked_product_is_refused(db: TestDb) {
    let acme = two_houses(&db).await;
    let books = Caller::owner(acme.server.channel().await, "p1", "books").connect().await;
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
    let other = Caller::owner(acme.server.channel().await, "p2", "manager").connect().await;
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
        let wrong = concord_proto::pb::records::Entry { id: id.into(), ..entry.clone() };
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
    let request = concord_proto::pb::records::GetClientRequest { client: "ref:MANY".into() };
    assert_refused(acme.manager.clients().get_client(request).await, Code::NotFound, "NOT_FOUND");
    let mut many = new_person("Ann", "Smith");
    many.addresses = vec![trading("House", "", ""); 10_000];
    let request = concord_proto::pb::records::CreatePersonRequest {
        person: Some(many),
        request_id: request_id(),
        ..concord_proto::pb::records::CreatePersonRequest::default()
    };
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
