//! The retention of idempotency keys, erasures, fencing tokens and changes in the feeds.

use concord_core::key_digest::KeyDigest;
use concord_proto::pb::internal::erasure::Erased;

use super::*;

storage_tests! {
    idempotency_key_expires_after_seven_days,
    erasures_expire_after_ninety_days,
    fencing_token_expires_60_days_after_last_call,
    feed_purge_is_split_into_rounds,
}

async fn idempotency_key_expires_after_seven_days(t: TestDb) {
    let clock = clock();
    let records = replica(&t, &clock).await;
    with_client(&records).await;
    let (empty, id) =
        (concord_proto::pb::records::ListConnectionsRequest {}, new_uuid().to_string());
    let create = async || {
        let context = RequestContext::parse(Rpc::ClientCreateClient, &empty, &id, false).unwrap();
        let command = ClientCommand {
            draft: company("AGAIN"),
            person: None,
            addresses: Vec::new(),
            external_id: None,
            warnings: Vec::new(),
        };
        let created = records.create_client(caller("manager"), context, command).await;
        created.map(|created| created.client.unwrap().id)
    };
    let first = create().await.unwrap();
    clock.set("2026-03-08T10:00:00Z".parse().unwrap());
    run_jobs(&records).await;
    assert_eq!(create().await.unwrap(), first, "7 days later");
    clock.set("2026-03-08T10:00:01Z".parse().unwrap());
    run_jobs(&records).await;
    assert_eq!(count(&records, "request").await, 0);
    assert!(create().await.is_err(), "the reference is used");
}

async fn erasures_expire_after_ninety_days(t: TestDb) {
    let clock = clock();
    let records = replica(&t, &clock).await;
    let client = with_client(&records).await;
    let manager = caller("manager");
    // Another product was linked too, with two external ids.
    for external_id in ["B1", "B2"] {
        let external_id = Some(external_id.to_owned());
        let command = LinkCommand { record: client.clone(), external_id };
        records.link_client(caller("books"), context(), command).await.unwrap();
        records.unlink_client(caller("books"), context(), client.clone()).await.unwrap();
    }
    records.unlink_client(manager.clone(), context(), client.clone()).await.unwrap();
    assert_eq!(records.list_erasures(&manager, 0).await.unwrap().head, 0);
    clock.set("2026-03-16T10:00:00Z".parse().unwrap());
    run_jobs(&records).await;
    let listed = records.list_erasures(&manager, 0).await.unwrap();
    let positions: Vec<i64> = listed.erasures.iter().map(|erasure| erasure.position).collect();
    assert_eq!((positions, listed.head), (vec![1, 2, 3, 4], 4));
    let key = |product: &str, id: &str| {
        let kind = concord_proto::pb::imports::ImportRecordKind::Client;
        let digest = KeyDigest::of(&"p1".parse().unwrap(), (product, "main"), kind, id);
        Erased::KeyDigest(digest.to_vec().into())
    };
    let erased: Vec<Erased> = listed.erasures.into_iter().filter_map(|one| one.erased).collect();
    for one in [
        Erased::RecordId(client.clone()),
        key("manager", &client),
        key("books", "B1"),
        key("books", "B2"),
    ] {
        assert!(erased.contains(&one), "{one:?} {erased:?}");
    }
    assert_eq!(records.list_erasures(&manager, 3).await.unwrap().erasures.len(), 1);
    let other = records.list_erasures(&caller_in("p2", "manager"), 0).await.unwrap();
    assert_eq!((other.erasures.len(), other.head), (0, 0));
    assert_eq!(count(&records, "former_link").await, 0);
    clock.set("2026-06-14T10:00:00Z".parse().unwrap());
    run_jobs(&records).await;
    assert_eq!(count(&records, "erasure").await, 4);
    clock.set("2026-06-14T10:00:01Z".parse().unwrap());
    run_jobs(&records).await;
    let listed = records.list_erasures(&manager, 0).await.unwrap();
    assert_eq!((listed.erasures.len(), listed.head), (0, 4));
}

async fn fencing_token_expires_60_days_after_last_call(t: TestDb) {
    let clock = clock();
    let records = replica(&t, &clock).await;
    let import = Caller { import: Some(new_uuid()), ..caller("manager") };
    let raise = |fence| {
        let request =
            concord_proto::pb::internal::ApplyChunkRequest { fence, ..Default::default() };
        records.apply_chunk(import.clone(), request)
    };
    raise(5).await.unwrap();
    clock.set("2026-03-20T10:00:00Z".parse().unwrap());
    raise(6).await.unwrap();
    clock.set("2026-05-19T10:00:00Z".parse().unwrap());
    run_jobs(&records).await;
    assert!(raise(5).await.is_err(), "kept for 60 days");
    clock.set("2026-05-19T10:00:01Z".parse().unwrap());
    run_jobs(&records).await;
    raise(1).await.unwrap();
}

async fn feed_purge_is_split_into_rounds(t: TestDb) {
    let clock = clock();
    let records = replica(&t, &clock).await;
    with_client(&records).await;
    let batches = i64::from(MAX_PURGE_BATCHES) + 1;
    let positions = retention::BATCH * batches;
    let id = if t.is_postgres() { "gen_random_uuid()" } else { "randomblob(16)" };
    // The feeds of two products, with the same changes.
    for sql in [
        "DELETE FROM feed_pending".to_owned(),
        "DELETE FROM feed_change".to_owned(),
        format!(
            "INSERT INTO feed_change (seq, id, practice_id, record_kind, record_id, \
               record_version, kind, changed_fields, companions, origin_product, origin_account, \
               origin_user, transaction_id, transaction_index, transaction_count, changed_at) \
             WITH RECURSIVE numbers(n) AS ( \
               SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {positions}) \
             SELECT n, {id}, 'p1', 'CLIENT', {id}, 1, 'CREATED', '[]', '[]', 'manager', 'main', \
               '', {id}, 0, 1, connected_at FROM numbers CROSS JOIN connection \
             WHERE product = 'books'"
        ),
        "INSERT INTO feed_entry (product, pos, seq, practice_id, linked, sequenced_at) \
         SELECT f.product, c.seq, c.seq, c.practice_id, true, c.changed_at \
         FROM feed_change c CROSS JOIN feed_product f"
            .to_owned(),
        format!("UPDATE feed_product SET head = {positions}"),
    ] {
        execute(&records, &sql).await;
    }
    clock.set("2026-04-02T10:00:00Z".parse().unwrap());
    let mut jobs = Jobs::new(records.clone(), &Meter::new("records"));
    assert!(jobs.run_round().await, "there is more to do");
    assert_eq!(count(&records, "feed_entry").await, 2 * retention::BATCH);
    assert_eq!(count(&records, "feed_change").await, retention::BATCH);
    assert!(!jobs.run_round().await);
    assert_eq!(count(&records, "feed_entry").await, 0);
    assert_eq!(count(&records, "feed_change").await, 0);
}
