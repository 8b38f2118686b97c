//! Uploads that are made to do harm: each is refused with what is wrong with it,
//! or taken for what it is, and the service's memory stays bounded.
//!
//! A million tiny records instead of a part of them:
//!
//! ```console
//! CONCORD_TINY_BATCHES=20 cargo test --release -p concord --test faults harm
//! ```

#![cfg(target_os = "linux")]

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use prost::Message;
use shared::{
    pb::imports::{
        BatchCommit, BatchHeader, CreateImportRequest, GetImportRequest, Import, ImportClient,
        ImportRecord, ImportState, ListFailuresRequest, SealImportRequest, UploadBatchRequest,
        UploadBatchResponse, import_record::Record, upload_batch_request::Part,
    },
    testing::{TestDb, storage_tests},
    wire::BatchFrame,
};
use tonic::{
    Code, Request, Status, client::Grpc, codec::CompressionEncoding,
    codegen::http::uri::PathAndQuery,
};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;

use crate::{
    memory::{forget_peak, peak},
    site::Site,
    support::{
        caller::Caller,
        dice::{Dice, setting},
    },
};

storage_tests! {
    what_would_inflate_is_refused_as_it_is,
    messages_that_are_padded_or_no_messages_cost_nothing,
    a_frame_of_two_million_empty_records_is_refused,
    many_tiny_records_of_one_import_are_told_of_one_by_one,
    records_that_are_garbage_fail_alone,
    fifty_uploads_at_once_are_all_kept,
}

const MIB: i64 = 1_024 * 1_024;

/// Batches of 50,000 tiny records, unless `CONCORD_TINY_BATCHES` says otherwise.
const TINY_BATCHES: usize = 2;

/// Records of a batch at the most.
const BATCH_RECORDS: usize = 50_000;

/// An owner of a practice, and the services.
struct Harm {
    site: Site,
    owner: Caller,
    import: String,
}

impl Harm {
    /// With an import that takes batches.
    async fn start(db: &TestDb) -> Self {
        let beside = db.url().replace("test.db", "imports.db");
        let site = Site::start([db.url(), &beside], 1, &mut Dice::of_this_run());
        site.records[0].owner("p1", "manager").connect().await;
        let owner = site.imports[0].owner("p1", "manager");
        let created = owner.imports().create_import(CreateImportRequest::default()).await.unwrap();
        let import = created.into_inner().import.unwrap().id;
        Self { site, owner, import }
    }

    /// How much more memory the service of the imports holds at its worst meanwhile.
    async fn growth(&self, work: impl Future<Output = ()>) -> i64 {
        forget_peak(&self.site.imports[0]);
        let before = peak(&self.site.imports[0]);
        work.await;
        peak(&self.site.imports[0]) - before
    }

    fn header(&self, batch_key: &str) -> BatchHeader {
        let (import_id, batch_key) = (self.import.clone(), batch_key.to_owned());
        BatchHeader { import_id, batch_key, ..BatchHeader::default() }
    }

    async fn upload(&self, key: &str, frames: &[Vec<Bytes>]) -> Result<i64, Status> {
        let mut parts = vec![Part::Header(self.header(key))];
        parts.extend(frames.iter().cloned().map(|records| Part::Frame(BatchFrame { records })));
        parts.push(Part::Commit(BatchCommit::default()));
        let parts = parts.into_iter().map(|part| UploadBatchRequest { part: Some(part) });
        let answer = self.owner.imports().upload_batch(stream::iter(parts)).await?;
        Ok(kept(answer.into_inner()))
    }

    async fn get(&self) -> Import {
        let request = GetImportRequest { import_id: self.import.clone() };
        self.owner.imports().get_import(request).await.unwrap().into_inner().import.unwrap()
    }

    async fn received(&self) -> i64 {
        self.get().await.counters.unwrap().received
    }

    /// Seals the import, and waits for its end.
    async fn end(&self) -> Import {
        let import = self.get().await;
        let request = SealImportRequest {
            import_id: self.import.clone(),
            batch_count: import.batch_count,
            record_count: import.counters.unwrap().received,
            ..SealImportRequest::default()
        };
        self.owner.imports().seal_import(request).await.unwrap();
        loop {
            let import = self.get().await;
            if import.end_time.is_some() {
                return import;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// How many records of a batch were kept.
fn kept(answer: UploadBatchResponse) -> i64 {
    answer.receipt.unwrap().counts.unwrap().records
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

#[track_caller]
fn assert_refused(answer: Result<i64, Status>, why: &str) {
    let refused = answer.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, why));
}

/// A valid client.
fn client(source_id: &str) -> Bytes {
    let client = ImportClient {
        source_id: source_id.into(),
        client_reference: source_id.into(),
        client_type: "PRIVATE_LIMITED_COMPANY".into(),
        registered_name: "Acme Limited".into(),
        ..ImportClient::default()
    };
    ImportRecord { record: Some(Record::Client(client)), ..Default::default() }
        .encode_to_vec()
        .into()
}

async fn what_would_inflate_is_refused_as_it_is(db: TestDb) {
    let harm = Harm::start(&db).await;
    // 64 kB on the wire.
    let bomb = Part::Frame(BatchFrame { records: vec![Bytes::from(vec![0; 64 << 20])] });
    let parts = [Part::Header(harm.header("bomb")), bomb, Part::Commit(BatchCommit::default())];
    let parts = parts.map(|part| UploadBatchRequest { part: Some(part) });
    let growth = harm.growth(async {
        for _ in 0..5 {
            let mut api = harm.owner.imports().send_compressed(CompressionEncoding::Gzip);
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
    assert_eq!(harm.received().await, 0);
}

/// `UploadBatchRequest` with whatever is in its parts.
#[derive(Clone, PartialEq, Message)]
struct Raw {
    #[prost(bytes = "bytes", optional, tag = "1")]
    header: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    frame: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    commit: Option<Bytes>,
}

impl Harm {
    /// Uploads a batch of frames that are encoded already.
    async fn upload_raw(&self, key: &str, frames: Vec<Bytes>) -> Result<i64, Status> {
        let header = Some(self.header(key).encode_to_vec().into());
        let frames = frames.into_iter().map(|frame| Raw { frame: Some(frame), ..Raw::default() });
        let mut parts = vec![Raw { header, ..Raw::default() }];
        parts.extend(frames);
        parts.push(Raw { commit: Some(Bytes::new()), ..Raw::default() });
        let mut grpc = Grpc::new(self.owner.service());
        grpc.ready().await.unwrap();
        let path = PathAndQuery::from_static("/concord.imports.v1.ImportService/UploadBatch");
        let codec = ProstCodec::<Raw, UploadBatchResponse>::default();
        let answer = grpc.client_streaming(Request::new(stream::iter(parts)), path, codec).await?;
        Ok(kept(answer.into_inner()))
    }
}

/// A field that no version of a frame has, with so many bytes.
fn padding(bytes: usize) -> Vec<u8> {
    #[derive(Clone, PartialEq, Message)]
    struct Padding {
        #[prost(bytes = "vec", tag = "1000")]
        padding: Vec<u8>,
    }
    Padding { padding: vec![7; bytes] }.encode_to_vec()
}

async fn messages_that_are_padded_or_no_messages_cost_nothing(db: TestDb) {
    let harm = Harm::start(&db).await;
    let padding = padding(4_000_000);
    let frame = |n: usize| {
        let record = BatchFrame { records: vec![client(&format!("C{n}"))] }.encode_to_vec();
        Bytes::from([record, padding.clone()].concat())
    };
    let growth = harm.growth(async {
        // A record holds on to nothing of the message that it came in.
        assert_eq!(harm.upload_raw("padded", (0..50).map(frame).collect()).await.unwrap(), 50);
    });
    let growth = growth.await;
    assert!(growth < 64 * MIB, "{growth} bytes");
    // A frame, and a header, that break off in the middle of a record.
    for garbage in [&b"\x0a\xff"[..], b"\xff\xff\xff\xff", b"\x0a\x05ab"] {
        let refused = harm.upload_raw("garbage", vec![Bytes::from_static(garbage)]).await;
        assert_refused(refused, "BATCH_OUT_OF_ORDER");
    }
    assert_eq!(harm.received().await, 50);
}

async fn a_frame_of_two_million_empty_records_is_refused(db: TestDb) {
    let harm = Harm::start(&db).await;
    // Two bytes each, and 32 in memory: were they read, 64 MB of each frame.
    let frame = Bytes::from([0x0a, 0].repeat(2_000_000));
    let growth = harm.growth(async {
        for n in 0..10 {
            let refused = harm.upload_raw(&n.to_string(), vec![frame.clone()]).await;
            assert_refused(refused, "BATCH_TOO_MANY_RECORDS");
        }
    });
    let growth = growth.await;
    eprintln!("{growth} bytes");
    assert!(growth < 48 * MIB, "{growth} bytes");
    assert_eq!(harm.received().await, 0);
}

async fn many_tiny_records_of_one_import_are_told_of_one_by_one(db: TestDb) {
    let harm = Harm::start(&db).await;
    let batches = setting("CONCORD_TINY_BATCHES", TINY_BATCHES);
    let frames = vec![vec![Bytes::new(); 5_000]; BATCH_RECORDS / 5_000];
    let growth = harm.growth(async {
        let one_more = [frames.clone(), vec![vec![Bytes::new()]]].concat();
        assert_refused(harm.upload("more", &one_more).await, "BATCH_TOO_MANY_RECORDS");
        for batch in 0..batches {
            let kept = harm.upload(&batch.to_string(), &frames).await.unwrap();
            assert_eq!(kept, i64::try_from(BATCH_RECORDS).unwrap());
        }
        let ended = harm.end().await;
        assert_eq!(ended.state(), ImportState::CompletedWithFailures);
        let failed = i64::try_from(batches * BATCH_RECORDS).unwrap();
        assert_eq!(ended.counters.unwrap().failed, failed);
    });
    let growth = growth.await;
    eprintln!("{growth} bytes for {batches} batches");
    // SQLite keeps up to 64 MiB of its pages beside.
    let bound = if db.is_postgres() { 128 } else { 128 + 64 };
    assert!(growth < bound * MIB, "{growth} bytes");
}

async fn records_that_are_garbage_fail_alone(db: TestDb) {
    let harm = Harm::start(&db).await;
    let records = [
        // Groups in groups, and messages in messages.
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
    harm.upload("garbage", &[records.to_vec()]).await.unwrap();
    let counters = harm.end().await.counters.unwrap();
    assert_eq!((counters.received, counters.imported), (9, 1), "{counters:?}");
    let request = ListFailuresRequest { import_id: harm.import.clone(), ..Default::default() };
    let listed = harm.owner.imports().list_failures(request).await.unwrap().into_inner();
    let mut rows: Vec<_> = listed.failures.iter().map(|failure| failure.row).collect();
    rows.sort_unstable();
    rows.dedup();
    assert_eq!(rows, (1..=8).collect::<Vec<_>>());
    assert!(listed.failures.iter().all(|failure| failure.reason != "INTERNAL"));
}

/// Fifty products that all begin at the same moment: more than may be in memory.
async fn fifty_uploads_at_once_are_all_kept(db: TestDb) {
    let harm = Harm::start(&db).await;
    let (batches, frames, size) = (50, 10, 10);
    let growth = harm.growth(async {
        let uploads = (0..batches).map(|batch| {
            let mut parts = vec![Part::Header(harm.header(&batch.to_string()))];
            for frame in 0..frames {
                // Not to be read, but large.
                let record = |n: usize| Bytes::from(format!("{batch} {frame} {n} {:60000}", ""));
                parts.push(Part::Frame(BatchFrame { records: (0..size).map(record).collect() }));
            }
            parts.push(Part::Commit(BatchCommit::default()));
            // Each has a connection of its own.
            send_until_it_is_kept(harm.site.imports[0].owner("p1", "manager"), parts)
        });
        let uploads: Vec<_> = uploads.map(tokio::spawn).collect();
        let mut refused = 0;
        for upload in uploads {
            refused += upload.await.unwrap();
        }
        assert!(refused > 0, "they did not come at once");
        eprintln!("{refused} were told to come again");
    });
    let growth = growth.await;
    assert!(growth < 256 * MIB, "{growth} bytes");
    let import = harm.get().await;
    let received = i64::try_from(batches * frames * size).unwrap();
    assert_eq!((import.batch_count, import.counters.unwrap().received), (50, received));
}

/// How often it was told to come again.
async fn send_until_it_is_kept(caller: Caller, parts: Vec<Part>) -> usize {
    for told in 0.. {
        let slowly = stream::iter(parts.clone()).then(|part| async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            UploadBatchRequest { part: Some(part) }
        });
        let Err(refused) = caller.imports().upload_batch(slowly).await else { return told };
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (Code::ResourceExhausted, "LIMIT_REACHED")
        );
        let delay = refused.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert!(delay >= Duration::from_millis(100) && delay < Duration::from_mins(1));
        tokio::time::sleep(delay).await;
    }
    unreachable!("it is kept in the end")
}
