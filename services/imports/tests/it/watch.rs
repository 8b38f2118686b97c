//! Tests `WatchImport` on any replica, in any state.

use std::time::Duration;

use concord_proto::pb::imports::{ImportState, WatchImportRequest};
use concord_testing::{TestDb, e2e::fake_records::FakeRecords};
use tonic::Code;

use crate::support::{Replica, client, quick, reason};

concord_testing::storage_tests! {
    watcher_receives_changes_and_the_end,
    watch_streams_end_when_the_service_stops,
}

async fn watcher_receives_changes_and_the_end(t: TestDb) {
    let (fake, records) = FakeRecords::start(&["manager", "books"]).await;
    fake.set_latency(Duration::from_millis(300));
    let settings = imports::WorkerSettings { chunk_records: 10, ..quick() };
    let replica = Replica::start(&t, records, settings).await;
    let other = Replica::start(&t, records, settings).await;
    let mut owner = replica.owner();
    let import = owner.create().await;
    let clients: Vec<_> = (0..40).map(|n| client(&format!("K{n}"), |_| ())).collect();
    owner.upload(&import, "one", &clients).await.unwrap();
    let request = WatchImportRequest { import_id: import.clone() };
    let mut staff = other.caller("p1", "books", "staff");
    let mut progress = staff.api.watch_import(request.clone()).await.unwrap().into_inner();
    let first = progress.message().await.unwrap().unwrap().import_job.unwrap();
    assert_eq!(first.state(), ImportState::Receiving);
    owner.seal(&import, 1, 40).await.unwrap();
    let (mut reported, mut fast) = (Vec::new(), false);
    while let Some(message) = progress.message().await.unwrap() {
        fast |= message.records_per_second > 0.0 && message.estimated_end_time.is_some();
        reported.push(message.import_job.unwrap());
    }
    let last = reported.last().unwrap();
    assert_eq!(last.state(), ImportState::Completed);
    assert_eq!(last.counters.unwrap().imported, 40);
    assert!(reported.iter().any(|import| import.state() == ImportState::Applying));
    assert!(fast, "an estimate is reported");
    // A late watcher gets the final state at once.
    let mut late = staff.api.watch_import(request).await.unwrap().into_inner();
    assert_eq!(late.message().await.unwrap().unwrap().import_job.unwrap(), *last);
    assert!(late.message().await.unwrap().is_none());
    let mut stranger = other.caller("p2", "manager", "owner");
    let request = WatchImportRequest { import_id: import };
    let refused = stranger.api.watch_import(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    replica.stop().await;
    other.stop().await;
}

async fn watch_streams_end_when_the_service_stops(t: TestDb) {
    let (_fake, records) = FakeRecords::start(&["manager"]).await;
    let replica = Replica::start(&t, records, quick()).await;
    let mut owner = replica.owner();
    let import = owner.create().await;
    let request = WatchImportRequest { import_id: import };
    let mut progress = owner.api.watch_import(request).await.unwrap().into_inner();
    progress.message().await.unwrap().unwrap();
    let stopping = tokio::spawn(replica.stop());
    let sent_away = progress.message().await.unwrap_err();
    assert_eq!((sent_away.code(), reason(&sent_away).as_str()), (Code::Unavailable, "UNAVAILABLE"));
    drop((progress, owner));
    tokio::time::timeout(Duration::from_mins(1), stopping).await.unwrap().unwrap();
}
