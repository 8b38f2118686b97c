//! Entries that are added from today on: `AddEntry`.

use concord_proto::pb::records::{AddEntryRequest, ChangeKind, HistoryOutcome, Timeline};
use concord_testing::{TestDb, storage_tests};
use tonic::Code;

use super::{ADDED, NO_CHANGE, two_houses};
use concord_testing::e2e::records::{Acme, end, error_metadata, kinds, line, lines, name_entry};

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
