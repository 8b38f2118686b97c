//! Tests uploads and seals: what is stored, and what is rejected and discarded.

use std::time::Duration;

use bytes::Bytes;
use concord_proto::pb::imports::{
    BatchCommit, BatchHeader, CreateImportRequest, GetImportRequest, ImportState,
    SealImportRequest, UploadBatchRequest, upload_batch_request::Part,
};
use concord_testing::{TestDb, e2e::fake_records::FakeRecords};
use futures::{StreamExt as _, future::select_all, stream};
use imports::UploadSettings;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{
    Caller, Replica, batch, client, commit, contact, frame, header, pair, reason,
};

concord_testing::storage_tests! {
    repeated_batch_returns_the_first_receipt,
    concurrent_equal_uploads_are_staged_once,
    reused_batch_key_with_other_content_is_rejected,
    batches_over_a_limit_are_rejected_and_discarded,
    batch_that_differs_from_its_header_is_rejected,
    stream_without_commit_is_discarded,
    out_of_order_messages_are_rejected,
    excess_concurrent_uploads_are_rejected_with_retry_info,
    stalled_or_endless_upload_times_out_and_frees_its_permit,
    import_is_restricted_to_its_product_and_practice,
    seal_with_wrong_counts_lists_the_differences,
    sealed_import_rejects_new_batches,
    empty_import_completes_at_once,
    open_imports_of_a_practice_are_limited,
}

/// Asserts that nothing of an upload was stored.
async fn assert_untouched(owner: &mut Caller, import: &str) {
    let found = owner.get(import).await;
    assert_eq!((found.batch_count, found.counters.unwrap().received), (0, 0));
    assert_eq!(found.state(), ImportState::Receiving);
}

async fn repeated_batch_returns_the_first_receipt(t: TestDb) {
    let (replica, _fake) = pair(&t).await;
    let mut owner = replica.owner();
    let import = owner.create().await;
    let records = [client("K1", |_| ()), contact("P1", &["K1"], |_| ()), Bytes::new()];
    let first = owner.upload(&import, "one", &records).await.unwrap();
    assert!(!first.already_staged);
    let counts = first.receipt.clone().unwrap().counts.unwrap();
    assert_eq!((counts.records, counts.clients, counts.contacts, counts.unreadable), (3, 1, 1, 1));
    let second = owner.upload(&import, "one", &records).await.unwrap();
    assert!(second.already_staged);
    assert_eq!(second.receipt, first.receipt);
    owner.seal(&import, 1, 3).await.unwrap();
    let third = owner.upload(&import, "one", &records).await.unwrap();
    assert_eq!((third.receipt, third.already_staged), (first.receipt, true));
    assert_eq!(owner.ended(&import).await.counters.unwrap().received, 3);
    replica.stop().await;
}

async fn concurrent_equal_uploads_are_staged_once(t: TestDb) {
    let (replica, _fake) = pair(&t).await;
    let mut owner = replica.owner();
    let import = owner.create().await;
    let records: Vec<Bytes> = (0..50).map(|n| client(&format!("K{n}"), |_| ())).collect();
    let uploads = (0..4).map(|_| {
        let (mut caller, import, records) = (replica.owner(), import.clone(), records.clone());
        tokio::spawn(async move { caller.upload(&import, "one", &records).await.unwrap() })
    });
    let mut new = 0;
    for upload in uploads.collect::<Vec<_>>() {
        new += usize::from(!upload.await.unwrap().already_staged);
    }
    assert_eq!(new, 1);
    assert_eq!(owner.get(&import).await.counters.unwrap().received, 50);
    replica.stop().await;
}

async fn reused_batch_key_with_other_content_is_rejected(t: TestDb) {
    let (replica, _fake) = pair(&t).await;
    let mut owner = replica.owner();
    let import = owner.create().await;
    owner.upload(&import, "one", &[client("K1", |_| ())]).await.unwrap();
    let refused = owner.upload(&import, "one", &[client("K2", |_| ())]).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::AlreadyExists, "BATCH_KEY_REUSED")
    );
    assert_eq!(owner.get(&import).await.counters.unwrap().received, 1);
    replica.stop().await;
}

async fn batches_over_a_limit_are_rejected_and_discarded(t: TestDb) {
    let (replica, _fake) = pair(&t).await;
    let mut owner = replica.owner();
    let import = owner.create().await;
    let bytes = |size: usize| Bytes::from(vec![0_u8; size]);
    let declared = |size_bytes, record_count| {
        let (import_id, batch_key) = (import.clone(), "one".to_owned());
        let sha256 = Bytes::new();
        Part::Header(BatchHeader { import_id, batch_key, sha256, size_bytes, record_count })
    };
    let head = || header(&import, "one");
    let mut large = vec![head()];
    large.extend((0..11).map(|_| frame(&vec![bytes(65_536); 15])));
    let mut many = vec![head()];
    many.extend((0..51).map(|_| frame(&vec![Bytes::new(); 1_000])));
    let cases = [
        (vec![declared(10_485_761, 0)], "BATCH_TOO_LARGE"),
        (vec![declared(0, 50_001)], "BATCH_TOO_MANY_RECORDS"),
        (large, "BATCH_TOO_LARGE"),
        (many, "BATCH_TOO_MANY_RECORDS"),
        (vec![head(), frame(&vec![bytes(65_536); 17])], "FRAME_TOO_LARGE"),
        // Over the limit of any message.
        (vec![head(), frame(&vec![bytes(65_536); 80])], "FRAME_TOO_LARGE"),
        (vec![head(), frame(&[bytes(1_048_577)])], "FRAME_TOO_LARGE"),
    ];
    for (mut parts, expected) in cases {
        if expected == "BATCH_TOO_LARGE" && parts.len() > 1 {
            // 11 frames of 983,040 bytes: the eleventh is over.
            assert_eq!(parts.len(), 12);
        }
        parts.push(commit());
        let refused = owner.send(parts).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, expected));
        let fields = refused.get_details_bad_request().unwrap().field_violations;
        assert!(!fields[0].field.is_empty());
    }
    assert_untouched(&mut owner, &import).await;
    // Exactly the limit is accepted.
    let mut full = vec![declared(10_485_760, 160)];
    full.extend((0..10).map(|_| frame(&vec![bytes(65_536); 16])));
    full.push(commit());
    assert_eq!(owner.send(full).await.unwrap().receipt.unwrap().size_bytes, 10_485_760);
    replica.stop().await;
}

async fn batch_that_differs_from_its_header_is_rejected(t: TestDb) {
    let (replica, _fake) = pair(&t).await;
    let mut owner = replica.owner();
    let import = owner.create().await;
    let record = client("K1", |_| ());
    let header = |change: fn(&mut BatchHeader)| {
        let (import_id, batch_key) = (import.clone(), "one".to_owned());
        let mut header = BatchHeader { import_id, batch_key, ..BatchHeader::default() };
        change(&mut header);
        Part::Header(header)
    };
    let wrong_digest = Bytes::from(vec![7; 32]);
    let cases = [
        (header(|h| h.sha256 = vec![7; 32].into()), commit()),
        (header(|_| ()), Part::Commit(BatchCommit { sha256: wrong_digest })),
        (header(|h| h.size_bytes = 1), commit()),
        (header(|h| h.record_count = 2), commit()),
    ];
    for (header, commit) in cases {
        let refused = owner
            .send(vec![header, frame(std::slice::from_ref(&record)), commit])
            .await
            .unwrap_err();
        let reported = (refused.code(), reason(&refused));
        assert_eq!(reported, (Code::InvalidArgument, "BATCH_MISMATCH".to_owned()));
        let facts = refused.get_details_error_info().unwrap().metadata;
        assert_ne!(facts["expected"], facts["arrived"]);
    }
    assert_untouched(&mut owner, &import).await;
    replica.stop().await;
}

async fn stream_without_commit_is_discarded(t: TestDb) {
    let (replica, _fake) = pair(&t).await;
    let mut owner = replica.owner();
    let import = owner.create().await;
    let mut parts = batch(&import, "one", &[client("K1", |_| ())]);
    parts.pop();
    let refused = owner.send(parts.clone()).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Aborted, "BATCH_INCOMPLETE"));
    // A caller that disconnects during the upload.
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let mut caller = replica.owner();
    let call = tokio::spawn(async move {
        caller.api.upload_batch(ReceiverStream::new(receiver)).await.map(drop)
    });
    for part in parts {
        sender.send(UploadBatchRequest { part: Some(part) }).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    call.abort();
    drop(sender);
    assert_untouched(&mut owner, &import).await;
    owner.upload(&import, "one", &[client("K1", |_| ())]).await.unwrap();
    replica.stop().await;
}

async fn out_of_order_messages_are_rejected(t: TestDb) {
    let (replica, _fake) = pair(&t).await;
    let mut owner = replica.owner();
    let import = owner.create().await;
    let head = || header(&import, "one");
    for parts in [vec![frame(&[])], vec![commit()], vec![head(), head(), commit()]] {
        let refused = owner.send(parts).await.unwrap_err();
        let reported = (refused.code(), reason(&refused));
        assert_eq!(reported, (Code::InvalidArgument, "BATCH_OUT_OF_ORDER".to_owned()));
    }
    let nameless = owner.send(vec![header(&import, ""), commit()]).await.unwrap_err();
    assert_eq!(reason(&nameless), "REQUIRED_FIELD_BLANK");
    let long = owner.send(vec![header(&import, &"k".repeat(101)), commit()]).await.unwrap_err();
    assert_eq!(reason(&long), "VALUE_TOO_LONG");
    assert_untouched(&mut owner, &import).await;
    replica.stop().await;
}

/// An upload that has sent its header.
type Begun = (mpsc::Sender<UploadBatchRequest>, JoinHandle<Result<(), Status>>);

async fn begin(caller: &Caller, import: &str, key: &str) -> Begun {
    let (sender, receiver) = mpsc::channel(4);
    let mut caller = caller.clone();
    let call = tokio::spawn(async move {
        caller.api.upload_batch(ReceiverStream::new(receiver)).await.map(drop)
    });
    sender.send(UploadBatchRequest { part: Some(header(import, key)) }).await.unwrap();
    (sender, call)
}

async fn excess_concurrent_uploads_are_rejected_with_retry_info(t: TestDb) {
    let (replica, _fake) = pair(&t).await;
    let (mut senders, mut open) = (Vec::new(), Vec::new());
    // Each practice gets a share of the free permits, and a product two thirds of all: the
    // practices of another product find some.
    for (practice, product, share) in [
        ("p1", "manager", 4),
        ("p2", "manager", 3),
        ("p3", "manager", 1),
        ("p4", "manager", 0),
        ("p5", "books", 1),
    ] {
        let mut owner = replica.caller(practice, product, "owner");
        let import = owner.create().await;
        let mut calls = Vec::new();
        for number in 0..=share {
            let (sender, call) = begin(&owner, &import, &format!("batch-{number}")).await;
            senders.push(sender);
            calls.push(call);
        }
        // One upload over the share is rejected; the others wait for their commits.
        let (refused, _, others) = select_all(calls).await;
        let refused = refused.unwrap().unwrap_err();
        let reported = (refused.code(), reason(&refused));
        assert_eq!(reported, (Code::ResourceExhausted, "LIMIT_REACHED".to_owned()), "{practice}");
        assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
        open.extend(others);
    }
    assert_eq!(open.len(), 9);
    for sender in senders {
        // The streams of the rejected uploads are closed.
        let _ = sender.send(UploadBatchRequest { part: Some(commit()) }).await;
    }
    for call in open {
        call.await.unwrap().unwrap();
    }
    let mut owner = replica.caller("p4", "manager", "owner");
    let import = owner.create().await;
    owner.upload(&import, "one", &[]).await.unwrap();
    replica.stop().await;
}

async fn stalled_or_endless_upload_times_out_and_frees_its_permit(t: TestDb) {
    let (_fake, records) = FakeRecords::start(&["manager"]).await;
    let upload = UploadSettings {
        header_timeout: Duration::from_secs(2),
        idle_timeout: Duration::from_secs(2),
        min_bytes: 10,
        total_timeout: Duration::from_secs(5),
    };
    let replica = Replica::start_with(&t, records, |config| config.upload = upload).await;
    let mut owner = replica.owner();
    let import = owner.create().await;
    // An upload without a header, one that stops after its header, one below the
    // minimum throughput, and one that never ends.
    let record = client("K1", |_| ());
    let kinds = [
        (None, 60_000, "no header arrived within"),
        (Some("stops"), 60_000, "fewer than 10 bytes"),
        (Some("drips"), 100, "fewer than 10 bytes"),
        (Some("endless"), 100, "the batch took over"),
    ];
    let uploads = kinds.map(|(key, pause, text)| {
        let records = if key == Some("endless") { vec![record.clone()] } else { Vec::new() };
        let drip = stream::unfold((), move |()| {
            let part = frame(&records);
            async move {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                Some((part, ()))
            }
        });
        let parts = stream::iter(key.map(|key| header(&import, key))).chain(drip);
        let parts = parts.map(|part| UploadBatchRequest { part: Some(part) });
        let mut caller = replica.owner();
        (text, tokio::spawn(async move { caller.api.upload_batch(parts).await.unwrap_err() }))
    });
    for (text, upload) in uploads {
        let refused = upload.await.unwrap();
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (Code::Aborted, "BATCH_INCOMPLETE")
        );
        assert!(refused.message().starts_with(text), "{}", refused.message());
    }
    assert_untouched(&mut owner, &import).await;
    owner.upload(&import, "one", &[client("K1", |_| ())]).await.unwrap();
    replica.stop().await;
}

async fn import_is_restricted_to_its_product_and_practice(t: TestDb) {
    let (replica, _fake) = pair(&t).await;
    let import = replica.owner().create().await;
    let reported = |refused: Status| (refused.code(), reason(&refused));
    let one = [client("K1", |_| ())];
    let request = || GetImportRequest { import_id: import.clone() };
    // Another practice.
    let mut stranger = replica.caller("p2", "manager", "owner");
    let not_found = (Code::NotFound, "NOT_FOUND".to_owned());
    assert_eq!(reported(stranger.upload(&import, "x", &one).await.unwrap_err()), not_found);
    assert_eq!(reported(stranger.seal(&import, 0, 0).await.unwrap_err()), not_found);
    assert_eq!(reported(stranger.api.get_import(request()).await.unwrap_err()), not_found);
    // Another product of the practice may read it.
    let mut other = replica.caller("p1", "books", "admin");
    let not_own = (Code::PermissionDenied, "OTHER_PRODUCT".to_owned());
    assert_eq!(reported(other.upload(&import, "x", &one).await.unwrap_err()), not_own);
    assert_eq!(reported(other.seal(&import, 0, 0).await.unwrap_err()), not_own);
    assert_eq!(other.get(&import).await.product, "manager");
    // Staff may read it.
    let mut staff = replica.caller("p1", "manager", "staff");
    let role = (Code::PermissionDenied, "ROLE_NOT_ALLOWED".to_owned());
    assert_eq!(reported(staff.upload(&import, "x", &one).await.unwrap_err()), role);
    let create = CreateImportRequest::default;
    assert_eq!(reported(staff.api.create_import(create()).await.unwrap_err()), role);
    assert_eq!(staff.get(&import).await.created_by, "ann");
    // A product that is not connected.
    let mut stray = replica.caller("p1", "stray", "owner");
    let refused = stray.api.create_import(create()).await.unwrap_err();
    assert_eq!(reported(refused), (Code::FailedPrecondition, "PRODUCT_NOT_CONNECTED".to_owned()));
    let invalid = GetImportRequest { import_id: "imp_1".into() };
    let refused = replica.owner().api.get_import(invalid).await.unwrap_err();
    assert_eq!(reported(refused), (Code::InvalidArgument, "INVALID_ID".to_owned()));
    replica.stop().await;
}

async fn seal_with_wrong_counts_lists_the_differences(t: TestDb) {
    let (replica, fake) = pair(&t).await;
    let mut owner = replica.owner();
    let import = owner.create().await;
    owner.upload(&import, "one", &[client("K1", |_| ())]).await.unwrap();
    let request = SealImportRequest {
        import_id: import.clone(),
        batch_count: 2,
        record_count: 3,
        client_count: Some(1),
        contact_count: Some(2),
        address_count: None,
    };
    let refused = owner.api.seal_import(request).await.unwrap_err();
    let reported = (refused.code(), reason(&refused));
    assert_eq!(reported, (Code::FailedPrecondition, "COUNTS_DIFFER".to_owned()));
    let text = "what arrived is not what was announced: 2 batches were announced and 1 arrived; 3 \
                records were announced and 1 arrived; 2 contacts were announced and 0 arrived; \
                upload what is missing";
    assert_eq!(refused.message(), text);
    let listed = refused.get_details_precondition_failure().unwrap().violations;
    let listed: Vec<_> =
        listed.iter().map(|v| (v.subject.as_str(), v.description.as_str())).collect();
    assert_eq!(
        listed,
        [
            ("batch_count", "expected 2, arrived 1"),
            ("record_count", "expected 3, arrived 1"),
            ("contact_count", "expected 2, arrived 0"),
        ]
    );
    assert_eq!(owner.get(&import).await.state(), ImportState::Receiving);
    assert!(fake.created().is_empty());
    owner.seal(&import, 1, 1).await.unwrap();
    let ended = owner.ended(&import).await;
    assert_eq!(owner.seal(&import, 1, 1).await.unwrap(), ended);
    assert_eq!(reason(&owner.seal(&import, 1, 2).await.unwrap_err()), "COUNTS_DIFFER");
    replica.stop().await;
}

async fn sealed_import_rejects_new_batches(t: TestDb) {
    let (replica, _fake) = pair(&t).await;
    let mut owner = replica.owner();
    let import = owner.create().await;
    owner.upload(&import, "one", &[client("K1", |_| ())]).await.unwrap();
    owner.seal(&import, 1, 1).await.unwrap();
    let refused = owner.upload(&import, "two", &[client("K2", |_| ())]).await.unwrap_err();
    let reported = (refused.code(), reason(&refused));
    assert_eq!(reported, (Code::FailedPrecondition, "IMPORT_STATE".to_owned()));
    replica.stop().await;
}

async fn empty_import_completes_at_once(t: TestDb) {
    let (replica, _fake) = pair(&t).await;
    let mut owner = replica.owner();
    let import = owner.create().await;
    let sealed = owner.seal(&import, 0, 0).await.unwrap();
    assert_eq!(sealed.state(), ImportState::Completed);
    assert!(sealed.end_time.is_some() && sealed.seal_time.is_some());
    replica.stop().await;
}

async fn open_imports_of_a_practice_are_limited(t: TestDb) {
    let (replica, _fake) = pair(&t).await;
    let mut owner = replica.owner();
    let first = owner.create().await;
    for _ in 1..20 {
        owner.create().await;
    }
    let refused = owner.api.create_import(CreateImportRequest::default()).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::ResourceExhausted, "LIMIT_REACHED")
    );
    replica.caller("p2", "manager", "owner").create().await;
    owner.seal(&first, 0, 0).await.unwrap();
    owner.create().await;
    replica.stop().await;
}
