//! Streams and uploads end when the credential that opened them expires.

use std::time::Duration;

use concord_proto::pb::{
    imports::{
        CreateImportRequest, GetBatchRequest, UploadBatchRequest, WatchImportRequest,
        upload_batch_request::Part,
    },
    records::SubscribeRequest,
};
use concord_testing::{TestDb, storage_tests};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, transport::Channel};

use concord_testing::e2e::{
    caller::Caller,
    feed::{EventStream, create_all, from_earliest, named, with_own},
    importing,
    records::{assert_refused, reason},
    secure::Issuer,
    servers::{self, Running},
};

storage_tests! {
    feed_stream_ends_at_token_expiry_and_resumes,
    feed_stream_ends_when_token_key_is_removed,
    import_streams_and_uploads_end_at_token_expiry,
}

/// The lifetime of a token that opens a stream: long enough for a busy machine, and short
/// enough to wait for its end.
const TOKEN_SECONDS: u64 = 20;

/// The timeout for everything here. A stream that does not end fails the test.
const TIMEOUT: Duration = Duration::from_mins(1);

async fn records(db: &TestDb, issuer: &Issuer) -> Running {
    let security = issuer.tokens();
    servers::records_with(db.settings(), |config| config.security = security).await
}

/// Opens a stream with a token that expires soon. Retries if it has expired before.
async fn with_expiring_token<T>(
    issuer: &Issuer,
    channel: &Channel,
    open: impl AsyncFn(Caller) -> Result<T, Status>,
) -> T {
    loop {
        let claims = Issuer::expiring_owner("p1", "manager", TOKEN_SECONDS);
        match open(issuer.caller(channel, &claims)).await {
            Ok(opened) => return opened,
            Err(status) => assert_eq!(reason(&status), "TOKEN_EXPIRED", "{status:?}"),
        }
    }
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, work).await.expect("an end in time")
}

/// Waits until the service accepts the token of the caller.
async fn wait_until_accepted(caller: &Caller) {
    while EventStream::try_open(caller, from_earliest()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn assert_token_expired(status: Status) {
    assert_refused::<()>(Err(status), Code::Unauthenticated, "TOKEN_EXPIRED");
}

async fn feed_stream_ends_at_token_expiry_and_resumes(db: TestDb) {
    let issuer = Issuer::new();
    let server = records(&db, &issuer).await;
    let channel = server.channel().await;
    let owner = issuer.caller(&channel, &Issuer::owner("p1", "manager")).connect().await;
    let request = with_own(named("ledger"));
    let mut stream = with_expiring_token(&issuer, &channel, async |caller| {
        EventStream::try_open(&caller, request.clone()).await
    })
    .await;
    create_all(&owner, ["R1".to_owned()]).await;
    let events = stream.take(1).await;
    assert_token_expired(in_time(stream.end()).await);
    create_all(&owner, ["R2".to_owned()]).await;
    let request = SubscribeRequest { cursor: stream.cursor.clone(), ..request };
    let mut next = EventStream::open(&owner, request).await;
    let event = next.take(1).await.remove(0);
    assert_eq!(event.previous_position, events[0].position, "no event is missing");
    server.stop().await;
}

async fn feed_stream_ends_when_token_key_is_removed(db: TestDb) {
    let (issuer, other) = (Issuer::new(), Issuer::new());
    let server = records(&db, &issuer).await;
    let channel = server.channel().await;
    let claims = Issuer::owner("p1", "manager");
    let (old, new) = (issuer.caller(&channel, &claims), other.caller(&channel, &claims));
    let old = old.connect().await;
    let mut stream = EventStream::open(&old, with_own(from_earliest())).await;
    // A second key does not affect tokens of the first one.
    issuer.publish(&[issuer.public_key(), other.public_key()].concat());
    in_time(wait_until_accepted(&new)).await;
    create_all(&new, ["R1".to_owned()]).await;
    assert_eq!(stream.take(1).await.len(), 1);

    issuer.publish(&other.public_key());
    assert_token_expired(in_time(stream.end()).await);
    let refused = EventStream::try_open(&old, from_earliest()).await.unwrap_err();
    assert_eq!(reason(&refused), "UNAUTHENTICATED");

    // An empty key set is valid: no token is accepted.
    let mut stream = EventStream::open(&new, from_earliest()).await;
    issuer.publish(r#"{"keys": []}"#);
    assert_token_expired(in_time(stream.end()).await);
    let refused = EventStream::try_open(&new, from_earliest()).await.unwrap_err();
    assert_eq!(reason(&refused), "UNAUTHENTICATED");
    issuer.publish(&issuer.public_key());
    in_time(wait_until_accepted(&old)).await;
    server.stop().await;
}

fn part(part: Part) -> UploadBatchRequest {
    UploadBatchRequest { part: Some(part) }
}

fn header(import: &str, batch_key: &str) -> UploadBatchRequest {
    part(importing::header(import, batch_key))
}

fn frame() -> UploadBatchRequest {
    part(importing::frame(&[b"record".to_vec()]))
}

async fn import_streams_and_uploads_end_at_token_expiry(db: TestDb) {
    let issuer = Issuer::new();
    let records = records(&db, &issuer).await;
    let security = issuer.tokens();
    let set = |config: &mut imports::ImportsConfig| config.security = security;
    let imports = servers::imports_with(db.sibling("imports"), &records.url, set).await;
    let claims = Issuer::owner("p1", "manager");
    issuer.caller(&records.channel().await, &claims).connect().await;
    let channel = imports.channel().await;
    let owner = issuer.caller(&channel, &claims);
    let id = importing::create(&owner, CreateImportRequest::default()).await;

    // A committed batch is kept although the caller keeps the stream open.
    let (whole, messages) = mpsc::channel(3);
    for message in [header(&id, "whole"), frame(), part(importing::commit())] {
        whole.send(message).await.unwrap();
    }
    owner.imports().upload_batch(ReceiverStream::new(messages)).await.unwrap();

    let mut progress = with_expiring_token(&issuer, &channel, async |caller| {
        let request = WatchImportRequest { import_id: id.clone() };
        caller.imports().watch_import(request).await.map(tonic::Response::into_inner)
    })
    .await;
    let (half, messages) = mpsc::channel(3);
    for message in [header(&id, "half"), frame()] {
        half.send(message).await.unwrap();
    }
    let caller = issuer.caller(&channel, &Issuer::expiring_owner("p1", "manager", TOKEN_SECONDS));
    let uploading = tokio::spawn(async move {
        caller.imports().upload_batch(ReceiverStream::new(messages)).await.map(drop)
    });
    let watched = in_time(async {
        loop {
            match progress.message().await {
                Ok(message) => assert!(message.is_some(), "the stream ended without a status"),
                Err(status) => return status,
            }
        }
    });
    assert_token_expired(watched.await);
    assert_token_expired(in_time(uploading).await.unwrap().unwrap_err());
    for (batch_key, is_kept) in [("whole", true), ("half", false)] {
        let request = GetBatchRequest { import_id: id.clone(), batch_key: batch_key.into() };
        assert_eq!(owner.imports().get_batch(request).await.is_ok(), is_kept, "{batch_key}");
    }
    drop((whole, half));
    imports.stop().await;
    records.stop().await;
}
