//! Hostile uploads: each is rejected with its reason, or accepted as data, and the memory of the
//! service stays bounded.
//!
//! To run with a million tiny records:
//!
//! ```console
//! CONCORD_TINY_BATCHES=20 cargo test --release -p concord --test faults hostile_uploads
//! ```

#![cfg(target_os = "linux")]

use std::time::Duration;

use bytes::Bytes;
use concord_proto::{
    pb::imports::{
        BatchHeader, CreateImportRequest, Import, ImportState, UploadBatchRequest,
        UploadBatchResponse, upload_batch_request::Part,
    },
    wire::BatchFrame,
};
use concord_testing::{TestDb, storage_tests};
use futures::{StreamExt as _, stream};
use prost::Message;
use tonic::{
    Code, Request, Status, client::Grpc, codec::CompressionEncoding,
    codegen::http::uri::PathAndQuery,
};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;

use crate::{
    deployment::Deployment,
    memory::{peak, reset_peak},
};
use concord_testing::e2e::{
    caller::Caller,
    import_records, importing,
    records::reason,
    rng::{SeededRng, setting},
};

storage_tests! {
    compressed_upload_is_rejected_without_inflating,
    padded_or_invalid_messages_do_not_grow_memory,
    frame_with_too_many_records_is_rejected,
    many_tiny_records_fail_with_bounded_memory,
    invalid_records_fail_individually,
    fifty_concurrent_uploads_are_all_stored,
}

const MIB: i64 = 1_024 * 1_024;

/// The default number of batches of 50,000 tiny records; `CONCORD_TINY_BATCHES` overrides it.
const TINY_BATCHES: usize = 2;

/// The maximum number of records of a batch.
const BATCH_RECORDS: usize = 50_000;

/// The services, and an owner of a practice with an import that receives batches.
struct Fixture {
    deployment: Deployment,
    owner: Caller,
    import: String,
}

impl Fixture {
    async fn start(db: &TestDb) -> Self {
        let imports_url = db.url().replace("test.db", "imports.db");
        let deployment = Deployment::start([db.url(), &imports_url], 1, &mut SeededRng::from_env());
        deployment.records[0].owner("p1", "manager").connect().await;
        let owner = deployment.imports[0].owner("p1", "manager");
        let import = importing::create(&owner, CreateImportRequest::default()).await;
        Self { deployment, owner, import }
    }

    /// The growth of the peak memory of the imports service during the work, in bytes.
    async fn growth(&self, work: impl Future<Output = ()>) -> i64 {
        reset_peak(&self.deployment.imports[0]);
        let before = peak(&self.deployment.imports[0]);
        work.await;
        peak(&self.deployment.imports[0]) - before
    }

    async fn upload(&self, key: &str, frames: &[Vec<Bytes>]) -> Result<i64, Status> {
        let mut parts = vec![importing::header(&self.import, key)];
        parts.extend(frames.iter().map(|records| importing::frame(records)));
        parts.push(importing::commit());
        importing::send(&self.owner, parts).await.map(stored)
    }

    async fn get(&self) -> Import {
        importing::get(&self.owner, &self.import).await
    }

    async fn received(&self) -> i64 {
        self.get().await.counters.unwrap().received
    }

    /// Seals the import, and waits for its end.
    async fn end(&self) -> Import {
        let import = self.get().await;
        let batches = usize::try_from(import.batch_count).unwrap();
        let records = usize::try_from(import.counters.unwrap().received).unwrap();
        importing::seal(&self.owner, &self.import, batches, records).await.unwrap();
        loop {
            let import = self.get().await;
            if import.end_time.is_some() {
                return import;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The number of stored records of a batch.
fn stored(answer: UploadBatchResponse) -> i64 {
    answer.receipt.unwrap().counts.unwrap().records
}

#[track_caller]
fn assert_rejected(result: Result<i64, Status>, expected: &str) {
    let status = result.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, expected));
}

/// A valid client.
fn client(source_id: &str) -> Bytes {
    import_records::client(source_id, |client| client.client_reference = source_id.into()).into()
}

async fn compressed_upload_is_rejected_without_inflating(db: TestDb) {
    let fixture = Fixture::start(&db).await;
    // A decompression bomb: 64 kB on the wire.
    let bomb = Part::Frame(BatchFrame { records: vec![Bytes::from(vec![0; 64 << 20])] });
    let parts = [importing::header(&fixture.import, "bomb"), bomb, importing::commit()];
    let parts = parts.map(|part| UploadBatchRequest { part: Some(part) });
    let growth = fixture.growth(async {
        for _ in 0..5 {
            let mut api = fixture.owner.imports().send_compressed(CompressionEncoding::Gzip);
            let refused = api.upload_batch(stream::iter(parts.clone())).await.unwrap_err();
            match refused.code() {
                Code::Unimplemented => assert!(refused.message().contains("gzip")),
                code => assert_eq!(
                    (code, reason(&refused).as_str()),
                    (Code::InvalidArgument, "FRAME_TOO_LARGE")
                ),
            }
        }
    });
    let growth = growth.await;
    assert!(growth < 32 * MIB, "{growth} bytes");
    assert_eq!(fixture.received().await, 0);
}

/// An `UploadBatchRequest` with arbitrary bytes in its parts.
#[derive(Clone, PartialEq, Message)]
struct Raw {
    #[prost(bytes = "bytes", optional, tag = "1")]
    header: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    frame: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    commit: Option<Bytes>,
}

impl Fixture {
    /// Uploads a batch of encoded frames.
    async fn upload_raw(&self, key: &str, frames: Vec<Bytes>) -> Result<i64, Status> {
        let (import_id, batch_key) = (self.import.clone(), key.to_owned());
        let header = BatchHeader { import_id, batch_key, ..BatchHeader::default() };
        let header = Some(header.encode_to_vec().into());
        let frames = frames.into_iter().map(|frame| Raw { frame: Some(frame), ..Raw::default() });
        let mut parts = vec![Raw { header, ..Raw::default() }];
        parts.extend(frames);
        parts.push(Raw { commit: Some(Bytes::new()), ..Raw::default() });
        let mut grpc = Grpc::new(self.owner.service());
        grpc.ready().await.unwrap();
        let path = PathAndQuery::from_static("/concord.imports.v1.ImportService/UploadBatch");
        let codec = ProstCodec::<Raw, UploadBatchResponse>::default();
        let answer = grpc.client_streaming(Request::new(stream::iter(parts)), path, codec).await?;
        Ok(stored(answer.into_inner()))
    }
}

/// An unknown field of a frame with this number of bytes.
fn padding(bytes: usize) -> Vec<u8> {
    #[derive(Clone, PartialEq, Message)]
    struct Padding {
        #[prost(bytes = "vec", tag = "1000")]
        padding: Vec<u8>,
    }
    Padding { padding: vec![7; bytes] }.encode_to_vec()
}

async fn padded_or_invalid_messages_do_not_grow_memory(db: TestDb) {
    let fixture = Fixture::start(&db).await;
    let padding = padding(4_000_000);
    let frame = |n: usize| {
        let record = BatchFrame { records: vec![client(&format!("C{n}"))] }.encode_to_vec();
        Bytes::from([record, padding.clone()].concat())
    };
    let growth = fixture.growth(async {
        // A stored record must not keep the buffer of its message alive.
        assert_eq!(fixture.upload_raw("padded", (0..50).map(frame).collect()).await.unwrap(), 50);
    });
    let growth = growth.await;
    assert!(growth < 64 * MIB, "{growth} bytes");
    // Truncated and invalid frames.
    for garbage in [&b"\x0a\xff"[..], b"\xff\xff\xff\xff", b"\x0a\x05ab"] {
        let refused = fixture.upload_raw("garbage", vec![Bytes::from_static(garbage)]).await;
        assert_rejected(refused, "BATCH_OUT_OF_ORDER");
    }
    assert_eq!(fixture.received().await, 50);
}

async fn frame_with_too_many_records_is_rejected(db: TestDb) {
    let fixture = Fixture::start(&db).await;
    // An empty record has two bytes, and 32 bytes in memory: decoded, a frame has 64 MB.
    let frame = Bytes::from([0x0a, 0].repeat(2_000_000));
    let growth = fixture.growth(async {
        for n in 0..10 {
            let refused = fixture.upload_raw(&n.to_string(), vec![frame.clone()]).await;
            assert_rejected(refused, "BATCH_TOO_MANY_RECORDS");
        }
    });
    let growth = growth.await;
    eprintln!("{growth} bytes");
    assert!(growth < 48 * MIB, "{growth} bytes");
    assert_eq!(fixture.received().await, 0);
}

async fn many_tiny_records_fail_with_bounded_memory(db: TestDb) {
    let fixture = Fixture::start(&db).await;
    let batches = setting("CONCORD_TINY_BATCHES", TINY_BATCHES);
    let frames = vec![vec![Bytes::new(); 5_000]; BATCH_RECORDS / 5_000];
    let growth = fixture.growth(async {
        let too_many = [frames.clone(), vec![vec![Bytes::new()]]].concat();
        assert_rejected(fixture.upload("more", &too_many).await, "BATCH_TOO_MANY_RECORDS");
        for batch in 0..batches {
            let kept = fixture.upload(&batch.to_string(), &frames).await.unwrap();
            assert_eq!(kept, i64::try_from(BATCH_RECORDS).unwrap());
        }
        let ended = fixture.end().await;
        assert_eq!(ended.state(), ImportState::CompletedWithFailures);
        let failed = i64::try_from(batches * BATCH_RECORDS).unwrap();
        assert_eq!(ended.counters.unwrap().failed, failed);
    });
    let growth = growth.await;
    eprintln!("{growth} bytes for {batches} batches");
    // SQLite has a page cache of up to 64 MiB in addition.
    let bound = if db.is_postgres() { 128 } else { 128 + 64 };
    assert!(growth < bound * MIB, "{growth} bytes");
}

async fn invalid_records_fail_individually(db: TestDb) {
    let fixture = Fixture::start(&db).await;
    let records = [
        // Nested groups and messages.
        Bytes::from(vec![0x0b; 60_000]),
        Bytes::from(
            [0x0b].repeat(30_000).into_iter().chain([0x0c].repeat(30_000)).collect::<Vec<_>>(),
        ),
        Bytes::from([0x0a, 0x7f].repeat(30_000)),
        Bytes::from(vec![0xff; 65_536]),
        Bytes::from_static(b"source_id,client_reference\n"),
        client("C\0"),
        client("\u{202e}\u{feff}\u{10ffff}"),
        client(&"x".repeat(30_000)),
        client("C1"),
    ];
    fixture.upload("garbage", &[records.to_vec()]).await.unwrap();
    let counters = fixture.end().await.counters.unwrap();
    assert_eq!((counters.received, counters.imported), (9, 1), "{counters:?}");
    let failures = importing::failures(&fixture.owner, &fixture.import).await;
    let mut rows: Vec<_> = failures.iter().map(|failure| failure.row).collect();
    rows.sort_unstable();
    rows.dedup();
    assert_eq!(rows, (1..=8).collect::<Vec<_>>());
    assert!(failures.iter().all(|failure| failure.reason != "INTERNAL"));
}

/// Fifty concurrent uploads exceed the memory for uploads: backpressure rejects some of them,
/// and retries succeed.
async fn fifty_concurrent_uploads_are_all_stored(db: TestDb) {
    let fixture = Fixture::start(&db).await;
    let (batches, frames, size) = (50, 10, 10);
    let growth = fixture.growth(async {
        let uploads = (0..batches).map(|batch| {
            let mut parts = vec![importing::header(&fixture.import, &batch.to_string())];
            for frame in 0..frames {
                // Large records with invalid content.
                let record = |n: usize| Bytes::from(format!("{batch} {frame} {n} {:60000}", ""));
                parts.push(importing::frame(&(0..size).map(record).collect::<Vec<_>>()));
            }
            parts.push(importing::commit());
            // A separate connection each.
            upload_with_retries(fixture.deployment.imports[0].owner("p1", "manager"), parts)
        });
        let uploads: Vec<_> = uploads.map(tokio::spawn).collect();
        let mut refused = 0;
        for upload in uploads {
            refused += upload.await.unwrap();
        }
        assert!(refused > 0, "the uploads were not concurrent");
        eprintln!("{refused} uploads were rejected and retried");
    });
    let growth = growth.await;
    assert!(growth < 256 * MIB, "{growth} bytes");
    let import = fixture.get().await;
    let received = i64::try_from(batches * frames * size).unwrap();
    assert_eq!((import.batch_count, import.counters.unwrap().received), (50, received));
}

/// Uploads a batch, with retries. Returns the number of rejected attempts.
async fn upload_with_retries(caller: Caller, parts: Vec<Part>) -> usize {
    for attempts in 0.. {
        let slowly = stream::iter(parts.clone()).then(|part| async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            UploadBatchRequest { part: Some(part) }
        });
        let Err(refused) = caller.imports().upload_batch(slowly).await else { return attempts };
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (Code::ResourceExhausted, "LIMIT_REACHED")
        );
        let delay = refused.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert!(delay >= Duration::from_millis(100) && delay < Duration::from_mins(1));
        tokio::time::sleep(delay).await;
    }
    unreachable!("the upload succeeds eventually")
}
