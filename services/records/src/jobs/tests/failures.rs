//! Unreadable records: they block neither other jobs nor other records.

use super::*;

storage_tests! {
    unreadable_record_does_not_block_other_jobs,
    unreadable_records_do_not_starve_the_round,
}

async fn unreadable_record_does_not_block_other_jobs(t: TestDb) {
    let clock = clock();
    let records = replica(&t, &clock).await;
    let mut clients = Vec::new();
    // The rows of the practice that sorts first are damaged.
    for practice in ["p1", "p2"] {
        let (orphaned, scheduled) = (
            with_client_in(&records, practice).await,
            create_client(&records, practice, "ACME02").await,
        );
        schedule_in(&records, practice, &scheduled).await;
        let manager = caller_in(practice, "manager");
        records.unlink_client(manager, context(), orphaned.clone()).await.unwrap();
        clients.push((orphaned, scheduled));
    }
    let import = Caller { import: Some(new_uuid()), ..caller("manager") };
    let chunk = concord_proto::pb::internal::ApplyChunkRequest { fence: 1, ..Default::default() };
    records.apply_chunk(import, chunk).await.unwrap();
    let damaged = "UPDATE client SET state = 'DAMAGED ' || state WHERE practice_id = 'p1'";
    execute(&records, damaged).await;
    assert!(count(&records, "request").await > 0);

    // More than 60 days later, all jobs have due work.
    clock.set("2026-05-15T10:00:00Z".parse().unwrap());
    let meter = Meter::new("records");
    let mut jobs = Jobs::new(records.clone(), &meter);
    while jobs.run_round().await {}
    let books = caller_in("p2", "books");
    assert!(records.client(&books, &clients[1].0).await.is_err(), "removed");
    let (client, _) = records.client(&books, &clients[1].1).await.unwrap();
    assert_eq!(client.registered_name, "Bolt Limited");
    assert_eq!(count(&records, "request").await, 0);
    assert_eq!(count(&records, "import_fence").await, 0);
    assert_eq!(failed_jobs(&meter), ["purge_clients 1", "turn_entries 1"]);

    // No retry before the backoff has passed, and one after it.
    clock.set("2026-05-15T10:00:19Z".parse().unwrap());
    while jobs.run_round().await {}
    assert_eq!(failed_jobs(&meter), ["purge_clients 1", "turn_entries 1"]);
    let mended = "UPDATE client SET state = REPLACE(state, 'DAMAGED ', '')";
    execute(&records, mended).await;
    clock.set("2026-05-15T10:00:20Z".parse().unwrap());
    while jobs.run_round().await {}
    assert_eq!(failed_jobs(&meter), ["purge_clients 1", "turn_entries 1"]);
    let books = caller("books");
    assert!(records.client(&books, &clients[0].0).await.is_err(), "removed");
    let (client, _) = records.client(&books, &clients[0].1).await.unwrap();
    assert_eq!(client.registered_name, "Bolt Limited");
}

async fn unreadable_records_do_not_starve_the_round(t: TestDb) {
    let clock = clock();
    let records = replica(&t, &clock).await;
    let client = with_client_in(&records, "p2").await;
    let manager = caller_in("p2", "manager");
    records.unlink_client(manager, context(), client.clone()).await.unwrap();
    // More than a round processes, and all due before the readable one.
    let id = if t.is_postgres() {
        "CAST('019b0000-0000-7000-8000-' || LPAD(CAST(n AS text), 12, '0') AS uuid)"
    } else {
        "CAST(PRINTF('%016d', n) AS blob)"
    };
    let sql = format!(
        "INSERT INTO client (practice_id, id, client_type, jurisdiction, reference, \
           reference_key, emails, phones, state, version, created_at, updated_at, image, purge_at) \
         WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 450) \
         SELECT 'p1', {id}, client_type, jurisdiction, reference, 'K' || n, emails, phones, \
           'DAMAGED', version, created_at, updated_at, image, created_at \
         FROM numbers CROSS JOIN client WHERE practice_id = 'p2'"
    );
    execute(&records, &sql).await;
    clock.set("2026-03-16T10:00:00Z".parse().unwrap());
    let meter = Meter::new("records");
    let mut jobs = Jobs::new(records.clone(), &meter);
    for _ in 0..4 {
        jobs.run_round().await;
    }
    assert!(records.client(&caller_in("p2", "books"), &client).await.is_err(), "removed");
    assert_eq!(failed_jobs(&meter), ["purge_clients 450"]);
}
