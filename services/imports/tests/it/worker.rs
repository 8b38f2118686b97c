//! Tests the worker: fault tolerance, leases and fencing.

use std::time::Duration;

use bytes::Bytes;
use concord_proto::pb::{
    imports::{ImportState, ListPossibleDuplicatesRequest},
    internal::ApplyDuplicate,
};
use concord_testing::{
    TestDb,
    e2e::fake_records::{FakeRecords, InjectedFault},
};

use crate::support::{Caller, Killable, Replica, address, client, contact, pair, quick, reason};

concord_testing::storage_tests! {
    outages_and_lost_responses_change_nothing,
    possible_duplicates_are_stored_once_despite_retries,
    poison_record_fails_alone,
    permanent_error_stalls_the_import_until_it_is_fixed,
    stopping_replica_hands_over_its_import,
    killed_replica_is_replaced,
    imports_of_a_practice_run_one_at_a_time,
    delayed_chunk_is_fenced_from_a_later_round,
    abandoned_call_is_fenced_after_the_end,
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

pub(crate) fn assert_created_once(fake: &FakeRecords, records: usize) {
    let mut created = fake.created();
    created.sort();
    created.dedup();
    assert_eq!((created.len(), fake.created().len()), (records, records));
}

async fn outages_and_lost_responses_change_nothing(t: TestDb) {
    let (replica, fake) = pair(&t).await;
    fake.inject(&[
        InjectedFault::Unavailable,
        InjectedFault::ResponseLost,
        InjectedFault::Unavailable,
        InjectedFault::ResponseLost,
    ]);
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &many(40)).await;
    let ended = owner.ended(&import).await;
    assert_eq!(ended.state(), ImportState::Completed);
    assert_eq!((ended.counters.unwrap().imported, ended.status_message.as_str()), (120, ""));
    assert_eq!(fake.pending_faults(), 0);
    assert_created_once(&fake, 120);
    replica.stop().await;
}

async fn possible_duplicates_are_stored_once_despite_retries(t: TestDb) {
    let (replica, fake) = pair(&t).await;
    let other = ApplyDuplicate {
        field: "utr".into(),
        record_id: "cli_00000000000000000000000000000007".into(),
        name: "Other Limited".into(),
        ..ApplyDuplicate::default()
    };
    for source_id in ["K0001", "K0003", "P0002"] {
        fake.set_duplicate_of(source_id, other.clone());
    }
    fake.inject(&[
        InjectedFault::ResponseLost,
        InjectedFault::Unavailable,
        InjectedFault::ResponseLost,
        InjectedFault::ResponseLost,
    ]);
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

async fn poison_record_fails_alone(t: TestDb) {
    let (replica, fake) = pair(&t).await;
    fake.reject_chunks_with("K0017");
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

async fn permanent_error_stalls_the_import_until_it_is_fixed(t: TestDb) {
    let (replica, fake) = pair(&t).await;
    fake.inject(&[InjectedFault::Reject; 1_000]);
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &many(5)).await;
    let stalled = owner.wait(&import, &[ImportState::Stalled]).await;
    assert!(!stalled.status_message.is_empty());
    fake.clear_faults();
    assert_eq!(owner.ended(&import).await.counters.unwrap().imported, 15);
    replica.stop().await;
}

/// Two replicas on one database, with small, slow chunks.
async fn slow_replicas(t: &TestDb) -> (Replica, Replica, FakeRecords) {
    let (fake, records) = FakeRecords::start(&["manager"]).await;
    fake.set_latency(Duration::from_millis(60));
    let settings = imports::WorkerSettings { chunk_records: 10, ..quick() };
    let first = Replica::start(t, records, settings).await;
    let second = Replica::start(t, records, settings).await;
    (first, second, fake)
}

async fn stopping_replica_hands_over_its_import(t: TestDb) {
    let (first, second, fake) = slow_replicas(&t).await;
    let import = sealed(&mut first.owner(), &many(60)).await;
    first.owner().wait(&import, &[ImportState::Applying]).await;
    first.stop().await;
    let ended = second.owner().ended(&import).await;
    assert_eq!(ended.counters.unwrap().imported, 180);
    assert_created_once(&fake, 180);
    second.stop().await;
}

async fn killed_replica_is_replaced(t: TestDb) {
    let (fake, records) = FakeRecords::start(&["manager"]).await;
    fake.set_latency(Duration::from_millis(40));
    let settings = imports::WorkerSettings { chunk_records: 10, ..quick() };
    let mut killable = Killable::start(&t, records, settings).await;
    let import = sealed(&mut killable.replica.owner(), &many(60)).await;
    // Kill it repeatedly, at different times.
    for moment in 0..6 {
        let mut owner = killable.replica.owner();
        owner.wait(&import, &[ImportState::Resolving, ImportState::Applying]).await;
        tokio::time::sleep(Duration::from_millis(30 + 37 * moment)).await;
        killable.kill();
        killable = Killable::start(&t, records, settings).await;
    }
    let ended = killable.replica.owner().ended(&import).await;
    assert_eq!(ended.counters.unwrap().imported, 180);
    assert_created_once(&fake, 180);
    killable.kill();
}

async fn imports_of_a_practice_run_one_at_a_time(t: TestDb) {
    let (first, second, fake) = slow_replicas(&t).await;
    let mut imports = Vec::new();
    for number in 0..4 {
        let practice = if number < 3 { "p1" } else { "p2" };
        let mut owner = first.caller(practice, "manager", "owner");
        let records: Vec<_> = (0..30).map(|n| client(&format!("K{number}-{n}"), |_| ())).collect();
        imports.push((sealed(&mut owner, &records).await, owner));
    }
    let (third, mut owner) = imports[2].clone();
    let mut waits = owner.get(&third).await;
    while waits.state() == ImportState::Sealed && waits.status_message.is_empty() {
        waits = owner.get(&third).await;
    }
    let others = imports[..2].iter().map(|(import, _)| import.as_str());
    let other = others.into_iter().find(|other| waits.status_message.contains(other));
    assert!(
        other.is_some() && waits.status_message.starts_with("It waits for "),
        "{}",
        waits.status_message
    );
    for (import, mut owner) in imports {
        assert_eq!(owner.ended(&import).await.counters.unwrap().imported, 30);
    }
    assert_eq!((fake.max_concurrency("p1"), fake.max_concurrency("p2")), (1, 1));
    first.stop().await;
    second.stop().await;
}

/// Retries an import with a corrected client `K1`, which has another name than the
/// uploaded one.
pub(crate) async fn retry_with_a_replacement(owner: &mut Caller, import: &str) {
    owner.retry(import, true, 2).await;
    let corrected = client("K1", |c| c.registered_name = "Corrected Limited".into());
    owner.upload(import, "corrected", &[corrected]).await.unwrap();
}

async fn delayed_chunk_is_fenced_from_a_later_round(t: TestDb) {
    let (fake, records) = FakeRecords::start(&["manager"]).await;
    fake.inject(&[InjectedFault::Paused]);
    let first = Killable::start(&t, records, quick()).await;
    let import = sealed(&mut first.replica.owner(), &[client("K1", |_| ())]).await;
    fake.wait_until_paused().await;
    first.kill();
    // Another worker ends the import, and the record is corrected.
    let second = Replica::start(&t, records, quick()).await;
    let mut owner = second.owner();
    owner.cancel(&import).await;
    let ended = owner.wait(&import, &[ImportState::Cancelled]).await;
    assert_eq!(ended.counters.unwrap().unprocessed, 1);
    retry_with_a_replacement(&mut owner, &import).await;
    let late = fake.resume().await.unwrap_err();
    assert_eq!(reason(&late), "STALE_WORKER");
    owner.seal(&import, 1, 1).await.unwrap();
    assert_eq!(owner.ended(&import).await.counters.unwrap().imported, 1);
    assert_eq!(fake.name_of_client("K1").unwrap(), "Corrected Limited");
    assert_created_once(&fake, 1);
    second.stop().await;
}

/// The worker abandons a call, and sends it again.
async fn abandoned_call_is_fenced_after_the_end(t: TestDb) {
    let (replica, fake) = pair(&t).await;
    fake.inject(&[InjectedFault::PausedUnavailable]);
    let mut owner = replica.owner();
    let import = sealed(&mut owner, &[client("K1", |_| ())]).await;
    assert_eq!(owner.ended(&import).await.counters.unwrap().imported, 1);
    assert_eq!(reason(&fake.resume().await.unwrap_err()), "STALE_WORKER");
    assert_created_once(&fake, 1);
    replica.stop().await;
}
