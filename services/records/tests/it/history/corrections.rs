//! Corrections of values and dates: `CorrectEntry`.

use concord_proto::pb::records::{
    AddPastEntryRequest, ChangeKind, CorrectEntryRequest, HistoryOutcome, add_past_entry_request,
};
use concord_testing::{TestDb, storage_tests};
use tonic::Code;

use super::{NO_CHANGE, as_value, two_houses, with_books};
use concord_testing::e2e::records::{
    Acme, address_entry, correction, current_etag, end, error_metadata, house, kinds, line, lines,
    past_address_entry,
};

storage_tests! {
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
