//! Streams and uploads end with the credential that they were begun with.

use std::time::Duration;

use shared::{
    pb::{
        imports::{
            BatchCommit, BatchHeader, CreateImportRequest, GetBatchRequest, UploadBatchRequest,
            WatchImportRequest, upload_batch_request::Part,
        },
        records::SubscribeRequest,
    },
    testing::{TestDb, storage_tests},
    wire::BatchFrame,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, transport::Channel};

use crate::support::{
    caller::Caller,
    feed::{Listening, create_all, from_earliest, named, with_own},
    records::reason,
    secure::Issuer,
    servers::{self, Running},
};

storage_tests! {
    a_stream_of_changes_ends_with_its_token_and_goes_on_with_the_next,
    a_stream_of_changes_ends_when_the_key_of_its_token_is_removed,
    streams_about_an_import_and_uploads_end_with_their_token,
}

/// How long a token lives with which something is opened: long enough on a machine that is
/// busy, and short enough to wait for.
const SECONDS: u64 = 20;

/// Far more than anything here takes: a stream that goes on for ever fails the test.
const PATIENCE: Duration = Duration::from_mins(1);

async fn records(db: &TestDb, issuer: &Issuer) -> Running {
    let security = issuer.tokens();
    servers::records_with(db.settings(), |config| config.security = security).await
}

/// What is opened with a token that ends soon; again when it has ended before.
async fn with_ending_token<T>(
    issuer: &Issuer,
    channel: &Channel,
    open: impl AsyncFn(Caller) -> Result<T, Status>,
) -> T {
    loop {
        let claims = Issuer::ending_owner("p1", "manager", SECONDS);
        match open(issuer.caller(channel, &claims)).await {
            Ok(opened) => return opened,
            Err(status) => assert_eq!(reason(&status), "TOKEN_EXPIRED", "{status:?}"),
        }
    }
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("an end in time")
}

/// Waits until the service lets the caller in.
async fn accepted(caller: &Caller) {
    while Listening::try_open(caller, from_earliest()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn assert_new_token_is_asked_for(status: &Status) {
    assert_eq!(
        (status.code(), reason(status).as_str()),
        (Code::Unauthenticated, "TOKEN_EXPIRED"),
        "{status:?}"
    );
}

async fn a_stream_of_changes_ends_with_its_token_and_goes_on_with_the_next(db: TestDb) {
    let issuer = Issuer::new();
    let server = records(&db, &issuer).await;
    let channel = server.channel().await;
    let owner = issuer.caller(&channel, &Issuer::owner("p1", "manager")).connect().await;
    let request = with_own(named("ledger"));
    let mut stream = with_ending_token(&issuer, &channel, async |caller| {
        Listening::try_open(&caller, request.clone()).await
    })
    .await;
    create_all(&owner, ["R1".to_owned()]).await;
    let heard = stream.take(1).await;
    assert_new_token_is_asked_for(&in_time(stream.end()).await);
    create_all(&owner, ["R2".to_owned()]).await;
    let request = SubscribeRequest { cursor: stream.cursor.clone(), ..request };
    let mut next = Listening::open(&owner, request).await;
    let event = next.take(1).await.remove(0);
    assert_eq!(event.previous_position, heard[0].position, "nothing is missing between them");
    server.stop().await;
}

async fn a_stream_of_changes_ends_when_the_key_of_its_token_is_removed(db: TestDb) {
    let (issuer, other) = (Issuer::new(), Issuer::new());
    let server = records(&db, &issuer).await;
    let channel = server.channel().await;
    let claims = Issuer::owner("p1", "manager");
    let (old, new) = (issuer.caller(&channel, &claims), other.caller(&channel, &claims));
    let old = old.connect().await;
    let mut stream = Listening::open(&old, with_own(from_earliest())).await;
    // Another key beside it changes nothing.
    issuer.publish(&[issuer.public_key(), other.public_key()].concat());
    in_time(accepted(&new)).await;
    create_all(&new, ["R1".to_owned()]).await;
    assert_eq!(stream.take(1).await.len(), 1);

    issuer.publish(&other.public_key());
    assert_new_token_is_asked_for(&in_time(stream.end()).await);
    let refused = Listening::try_open(&old, from_earliest()).await.unwrap_err();
    assert_eq!(reason(&refused), "UNAUTHENTICATED");

    // A set without keys is one: nobody is let in.
    let mut stream = Listening::open(&new, from_earliest()).await;
    issuer.publish(r#"{"keys": []}"#);
    assert_new_token_is_asked_for(&in_time(stream.end()).await);
    let refused = Listening::try_open(&new, from_earliest()).await.unwrap_err();
    assert_eq!(reason(&refused), "UNAUTHENTICATED");
    issuer.publish(&issuer.public_key());
    in_time(accepted(&old)).await;
    server.stop().await;
}

fn part(part: Part) -> UploadBatchRequest {
    UploadBatchRequest { part: Some(part) }
}

fn header(import: &str, batch_key: &str) -> UploadBatchRequest {
    part(Part::Header(BatchHeader {
        import_id: import.into(),
        batch_key: batch_key.into(),
        record_count: 1,
        ..BatchHeader::default()
    }))
}

fn frame() -> UploadBatchRequest {
    part(Part::Frame(BatchFrame { records: vec![b"record".to_vec().into()] }))
}

async fn streams_about_an_import_and_uploads_end_with_their_token(db: TestDb) {
    let issuer = Issuer::new();
    let records = records(&db, &issuer).await;
    let security = issuer.tokens();
    let set = |config: &mut imports::ImportsConfig| config.security = security;
    let imports = servers::imports_with(db.beside("imports"), &records.url, set).await;
    let claims = Issuer::owner("p1", "manager");
    issuer.caller(&records.channel().await, &claims).connect().await;
    let channel = imports.channel().await;
    let owner = issuer.caller(&channel, &claims);
    let created = owner.imports().create_import(CreateImportRequest::default()).await.unwrap();
    let id = created.into_inner().import.unwrap().id;

    // What is committed is kept, though the caller goes on holding the stream.
    let (whole, messages) = mpsc::channel(3);
    for message in [header(&id, "whole"), frame(), part(Part::Commit(BatchCommit::default()))] {
        whole.send(message).await.unwrap();
    }
    owner.imports().upload_batch(ReceiverStream::new(messages)).await.unwrap();

    let mut progress = with_ending_token(&issuer, &channel, async |caller| {
        let request = WatchImportRequest { import_id: id.clone() };
        caller.imports().watch_import(request).await.map(tonic::Response::into_inner)
    })
    .await;
    let (half, messages) = mpsc::channel(3);
    for message in [header(&id, "half"), frame()] {
        half.send(message).await.unwrap();
    }
    let caller = issuer.caller(&channel, &Issuer::ending_owner("p1", "manager", SECONDS));
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
    assert_new_token_is_asked_for(&watched.await);
    assert_new_token_is_asked_for(&in_time(uploading).await.unwrap().unwrap_err());
    for (batch_key, is_kept) in [("whole", true), ("half", false)] {
        let request = GetBatchRequest { import_id: id.clone(), batch_key: batch_key.into() };
        assert_eq!(owner.imports().get_batch(request).await.is_ok(), is_kept, "{batch_key}");
    }
    drop((whole, half));
    imports.stop().await;
    records.stop().await;
}
