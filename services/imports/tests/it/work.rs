//! The worker: what it survives, and who works on what.

use std::time::Duration;

use bytes::Bytes;
use shared::{
    pb::{
        imports::{
            CancelImportRequest, ImportState, ListPossibleDuplicatesRequest, RetryImportRequest,
        },
        internal::ApplyDuplicate,
    },
    testing::TestDb,
};

use crate::{
    double::{Double, Mishap},
    support::{Caller, Killable, Replica, address, client, contact, pair, quick, reason},
};

shared::storage_tests! {
    a_service_that_is_away_and_answers_that_are_lost_change_nothing,
    possible_duplicates_are_kept_once_whatever_is_sent_again,
    a_record_that_breaks_the_service_fails_alone,
    what_people_must_mend_stalls_the_import_and_it_goes_on_afterwards,
    a_replica_that_stops_hands_its_import_over,
    a_replica_that_is_killed_is_replaced,
    imports_of_a_practice_take_turns,
    a_chunk_that_was_held_up_does_not_land_in_a_later_round,
    a_call_that_was_given_up_does_not_land_after_the_end,
}

/// Clients, contacts and addresses, `n` of each.
pub(crate) fn many(n: usize) -> Vec<Bytes> {
    let of_one = |n: usize| {
        let (k, p) = (format!("K{n:04}"), format!("P{n:04}"));
        let a = address(&format!("A{n:04}"), ("contact", &p), ("", ""), |_| ());
        [a, contact(&p, &[&k], |_| ()), client(&k, |_| ())]
    };
    (0..n).flat_map(of_one).collect()
}

pub(crate) async fn sealed(owner: &mut Caller, records: &[Bytes]) -> String {
    let import = owner.create().await;
    owner.upload(&import, "one", records).await.unwrap();
    owner.seal(&import, 1, records.len()).await.unwrap();
    import
}

pub(crate) fn assert_created_once(double: &Double, records: usize) {
    let mut created = double.created();
    created.sort();
    created.dedup();
    assert_eq!((created.len(), double.created().len()), (records, records));
}

async fn a_service_that_is_away_and_answers_that_are_lost_change_nothing(t: TestDb) {
    let (replica, double) = pair(&t).await;
    double.will(&[Mishap::Away, Mishap::AnswerLost, Mishap::Away, Mishap::AnswerLost]);
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &many(40)).await;
    let ended = owner.ended(&import).await;
    assert_eq!(ended.state(), ImportState::Completed);
    assert_eq!((ended.counters.unwrap().imported, ended.note.as_str()), (120, ""));
    assert_eq!(double.mishaps_left(), 0);
    assert_created_once(&double, 120);
    replica.stop().await;
}

async fn possible_duplicates_are_kept_once_whatever_is_sent_again(t: TestDb) {
    let (replica, double) = pair(&t).await;
    let other = ApplyDuplicate {
        field: "utr".into(),
        record_id: "cli_00000000000000000000000000000007".into(),
        name: "Other Limited".into(),
        ..ApplyDuplicate::default()
    };
    for source_id in ["K0001", "K0003", "P0002"] {
        double.looks_alike(source_id, other.clone());
    }
    double.will(&[Mishap::AnswerLost, Mishap::Away, Mishap::AnswerLost, Mishap::AnswerLost]);
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &many(5)).await;
    let ended = owner.ended(&import).await;
    assert_eq!((ended.state(), ended.possible_duplicates), (ImportState::Completed, 3));
    let request = ListPossibleDuplicatesRequest { import_id: import, ..Default::default() };
    let listed = owner.api.list_possible_duplicates(request).await.unwrap().into_inner();
    let listed = listed.possible_duplicates;
    let ids: Vec<_> = listed.iter().map(|one| one.source_id.as_str()).collect();
    assert_eq!(ids, ["K0001", "K0003", "P0002"]);
    assert!(listed.iter().all(|one| one.other_name == "Other Limited" && one.field == "utr"));
    replica.stop().await;
}

async fn a_record_that_breaks_the_service_fails_alone(t: TestDb) {
    let (replica, double) = pair(&t).await;
    double.is_poisoned_by("K0017");
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &many(40)).await;
    let ended = owner.ended(&import).await;
    let counters = ended.counters.unwrap();
    assert_eq!((counters.imported, counters.failed, counters.blocked), (117, 3, 2));
    let failures = owner.failures(&import).await;
    assert_eq!(failures[0].reason, "INTERNAL");
    assert_eq!(failures[0].source_id, "K0017");
    assert_eq!(
        failures[2].root_cause,
        "client K0017: The record could not be imported: internal error"
    );
    replica.stop().await;
}

async fn what_people_must_mend_stalls_the_import_and_it_goes_on_afterwards(t: TestDb) {
    let (replica, double) = pair(&t).await;
    double.will(&[Mishap::Refuse; 1_000]);
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &many(5)).await;
    let stalled = owner.wait(&import, &[ImportState::Stalled]).await;
    assert!(!stalled.note.is_empty());
    double.behave();
    assert_eq!(owner.ended(&import).await.counters.unwrap().imported, 15);
    replica.stop().await;
}

/// Two replicas on one database, in small chunks that take a while.
async fn slow_replicas(t: &TestDb) -> (Replica, Replica, Double) {
    let (double, records) = Double::start(&["manager"]).await;
    double.takes(Duration::from_millis(60));
    let settings = imports::WorkerSettings { chunk_records: 10, ..quick() };
    let first = Replica::start(t, records, settings).await;
    let second = Replica::start(t, records, settings).await;
    (first, second, double)
}

async fn a_replica_that_stops_hands_its_import_over(t: TestDb) {
    let (first, second, double) = slow_replicas(&t).await;
    let import = sealed(&mut first.owner(), &many(60)).await;
    first.owner().wait(&import, &[ImportState::Applying]).await;
    first.stop().await;
    let ended = second.owner().ended(&import).await;
    assert_eq!(ended.counters.unwrap().imported, 180);
    assert_created_once(&double, 180);
    second.stop().await;
}

async fn a_replica_that_is_killed_is_replaced(t: TestDb) {
    let (double, records) = Double::start(&["manager"]).await;
    double.takes(Duration::from_millis(40));
    let settings = imports::WorkerSettings { chunk_records: 10, ..quick() };
    let mut killable = Killable::start(&t, records, settings).await;
    let import = sealed(&mut killable.replica.owner(), &many(60)).await;
    // Again and again, at moments that differ.
    for moment in 0..6 {
        let mut owner = killable.replica.owner();
        owner.wait(&import, &[ImportState::Resolving, ImportState::Applying]).await;
        tokio::time::sleep(Duration::from_millis(30 + 37 * moment)).await;
        killable.kill();
        killable = Killable::start(&t, records, settings).await;
    }
    let ended = killable.replica.owner().ended(&import).await;
    assert_eq!(ended.counters.unwrap().imported, 180);
    assert_created_once(&double, 180);
    killable.kill();
}

async fn imports_of_a_practice_take_turns(t: TestDb) {
    let (first, second, double) = slow_replicas(&t).await;
    let mut imports = Vec::new();
    for number in 0..4 {
        let practice = if number < 3 { "p1" } else { "p2" };
        let mut owner = first.caller(practice, "manager", "owner");
        let records: Vec<_> = (0..30).map(|n| client(&format!("K{number}-{n}"), |_| ())).collect();
        imports.push((sealed(&mut owner, &records).await, owner));
    }
    let (third, mut owner) = imports[2].clone();
    let mut waits = owner.get(&third).await;
    while waits.state() == ImportState::Sealed && waits.note.is_empty() {
        waits = owner.get(&third).await;
    }
    let others = imports[..2].iter().map(|(import, _)| import.as_str());
    let other = others.into_iter().find(|other| waits.note.contains(other));
    assert!(other.is_some() && waits.note.starts_with("It waits for "), "{}", waits.note);
    for (import, mut owner) in imports {
        assert_eq!(owner.ended(&import).await.counters.unwrap().imported, 30);
    }
    assert_eq!((double.most_at_once("p1"), double.most_at_once("p2")), (1, 1));
    first.stop().await;
    second.stop().await;
}

/// Tries an import again, with a client `K1` of another name in the place of the
/// one that was uploaded first.
async fn retry_with_a_replacement(owner: &mut Caller, import: &str) {
    let request = RetryImportRequest { import_id: import.to_owned(), replacements: true, round: 2 };
    owner.api.retry_import(request).await.unwrap();
    let corrected = client("K1", |c| c.registered_name = "Corrected Limited".into());
    owner.upload(import, "corrected", &[corrected]).await.unwrap();
}

async fn a_chunk_that_was_held_up_does_not_land_in_a_later_round(t: TestDb) {
    let (double, records) = Double::start(&["manager"]).await;
    double.will(&[Mishap::Frozen]);
    let first = Killable::start(&t, records, quick()).await;
    let import = sealed(&mut first.replica.owner(), &[client("K1", |_| ())]).await;
    double.wait_for_frost().await;
    first.kill();
    // Another worker ends the import, and the record is corrected.
    let second = Replica::start(&t, records, quick()).await;
    let mut owner = second.owner();
    let request = CancelImportRequest { import_id: import.clone() };
    owner.api.cancel_import(request).await.unwrap();
    let ended = owner.wait(&import, &[ImportState::Cancelled]).await;
    assert_eq!(ended.counters.unwrap().unprocessed, 1);
    retry_with_a_replacement(&mut owner, &import).await;
    let late = double.thaw().await.unwrap_err();
    assert_eq!(reason(&late), "STALE_WORKER");
    owner.seal(&import, 1, 1).await.unwrap();
    assert_eq!(owner.ended(&import).await.counters.unwrap().imported, 1);
    assert_eq!(double.name_of_client("K1").unwrap(), "Corrected Limited");
    assert_created_once(&double, 1);
    second.stop().await;
}

/// The worker itself has given the call up, and has sent it again.
async fn a_call_that_was_given_up_does_not_land_after_the_end(t: TestDb) {
    let (replica, double) = pair(&t).await;
    double.will(&[Mishap::FrozenAway]);
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &[client("K1", |_| ())]).await;
    assert_eq!(owner.ended(&import).await.counters.unwrap().imported, 1);
    assert_eq!(reason(&double.thaw().await.unwrap_err()), "STALE_WORKER");
    assert_created_once(&double, 1);
    replica.stop().await;
}
