//! Entries that end or are removed: `EndEntry`, `CancelScheduledEntry` and
//! `RescindEntry`.

use concord_proto::pb::records::{
    AddPastEntryRequest, ChangeKind, CorrectEntryRequest, HistoryOutcome,
};
use concord_testing::{TestDb, storage_tests};
use tonic::Code;

use super::two_houses;
use concord_testing::e2e::records::{
    Acme, cancel, correction, end, kinds, line, lines, past_address_entry, rescission,
};

storage_tests! {
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
