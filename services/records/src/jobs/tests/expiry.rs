//! The retention of idempotency keys and erasures.

use concord_core::key_digest::KeyDigest;
use concord_proto::pb::internal::erasure::Erased;

use super::*;

storage_tests! {
    idempotency_key_expires_after_seven_days,
    erasures_expire_after_ninety_days,
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
