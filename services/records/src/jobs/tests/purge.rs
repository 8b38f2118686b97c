//! The purge of orphaned clients.

use super::*;

storage_tests! {
    orphaned_client_is_purged_at_its_purge_time,
    link_before_purge_time_restores_client,
}

async fn orphaned_client_is_purged_at_its_purge_time(t: TestDb) {
    let clock = clock();
    let replicas = replicas(&t, &clock).await;
    let records = &replicas[0];
    let client = with_client(records).await;
    let unlinked =
        records.unlink_client(caller("manager"), context(), client.clone()).await.unwrap();
    assert_eq!(unlinked.client.unwrap().state(), RecordState::Orphaned);
    assert_eq!(unlinked.change_ids.len(), 2, "unlinked, orphaned");
    clock.set("2026-03-15T09:59:59Z".parse().unwrap());
    run_all_jobs(&replicas).await;
    assert!(records.client(&caller("books"), &client).await.is_ok());
    clock.set("2026-03-15T10:00:00Z".parse().unwrap());
    run_all_jobs(&replicas).await;
    assert!(records.client(&caller("books"), &client).await.is_err());
    assert!(records.client(&caller("books"), "ref:ACME01").await.is_err());
    let purged = kinds(records, &client).await;
    assert_eq!(purged.iter().filter(|kind| **kind == ChangeKind::Purged).count(), 1);
}

async fn link_before_purge_time_restores_client(t: TestDb) {
    let clock = clock();
    let records = replica(&t, &clock).await;
    let client = with_client(&records).await;
    records.unlink_client(caller("manager"), context(), client.clone()).await.unwrap();
    clock.set("2026-03-14T10:00:00Z".parse().unwrap());
    let command = LinkCommand { record: client.clone(), external_id: None };
    let linked = records.link_client(caller("books"), context(), command).await.unwrap();
    assert_eq!(linked.client.unwrap().state(), RecordState::Active);
    clock.set("2026-04-14T10:00:00Z".parse().unwrap());
    run_jobs(&records).await;
    assert!(records.client(&caller("books"), &client).await.is_ok());
    assert_eq!(kinds(&records, &client).await[..2], [ChangeKind::Restored, ChangeKind::Linked]);
}
