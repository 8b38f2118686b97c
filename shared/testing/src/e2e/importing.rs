//! The calls of an import.

use std::time::Duration;

use bytes::Bytes;
use concord_proto::{
    pb::imports::{
        BatchCommit, BatchHeader, CancelImportRequest, CreateImportRequest, Failure,
        GetImportRequest, Import, ListFailuresRequest, RetryImportRequest, SealImportRequest,
        UploadBatchRequest, UploadBatchResponse, WatchImportRequest, upload_batch_request::Part,
    },
    wire::BatchFrame,
};
use tonic::{Response, Status};

use super::caller::Caller;

/// The timeout for the end of an import.
const TIMEOUT: Duration = Duration::from_mins(5);

/// Creates an import and returns its id.
pub async fn create(caller: &Caller, request: CreateImportRequest) -> String {
    let created = caller.imports().create_import(request).await.unwrap();
    created.into_inner().import_job.unwrap().id
}

/// The first message of a batch.
pub fn header(import: &str, batch_key: &str) -> Part {
    let (import_id, batch_key) = (import.to_owned(), batch_key.to_owned());
    Part::Header(BatchHeader { import_id, batch_key, ..BatchHeader::default() })
}

/// A message of a batch with records.
pub fn frame(records: &[impl Clone + Into<Bytes>]) -> Part {
    Part::Frame(BatchFrame { records: records.iter().cloned().map(Into::into).collect() })
}

/// The last message of a batch.
pub fn commit() -> Part {
    Part::Commit(BatchCommit::default())
}

/// The messages of a batch, with at most 100 records in a frame.
pub fn batch(import: &str, batch_key: &str, records: &[impl Clone + Into<Bytes>]) -> Vec<Part> {
    let mut parts = vec![header(import, batch_key)];
    parts.extend(records.chunks(100).map(frame));
    parts.push(commit());
    parts
}

/// Sends these messages as one upload.
pub async fn send(caller: &Caller, parts: Vec<Part>) -> Result<UploadBatchResponse, Status> {
    let messages = parts.into_iter().map(|part| UploadBatchRequest { part: Some(part) });
    let messages = futures::stream::iter(messages.collect::<Vec<_>>());
    caller.imports().upload_batch(messages).await.map(Response::into_inner)
}

/// Uploads a batch.
pub async fn upload(
    caller: &Caller,
    import: &str,
    batch_key: &str,
    records: &[impl Clone + Into<Bytes>],
) -> Result<UploadBatchResponse, Status> {
    send(caller, batch(import, batch_key, records)).await
}

/// Seals an import.
pub async fn seal(
    caller: &Caller,
    import: &str,
    batches: usize,
    records: usize,
) -> Result<Import, Status> {
    let request = SealImportRequest {
        import_id: import.to_owned(),
        batch_count: i32::try_from(batches).unwrap(),
        record_count: i64::try_from(records).unwrap(),
        ..SealImportRequest::default()
    };
    Ok(caller.imports().seal_import(request).await?.into_inner().import_job.unwrap())
}

/// Starts the round with this number, or the next round for 0.
pub async fn retry(
    caller: &Caller,
    import: &str,
    replacements: bool,
    round: i32,
) -> Result<Import, Status> {
    let request = RetryImportRequest { import_id: import.to_owned(), replacements, round };
    Ok(caller.imports().retry_import(request).await?.into_inner().import_job.unwrap())
}

/// Cancels an import.
pub async fn cancel(caller: &Caller, import: &str) -> Result<Import, Status> {
    let request = CancelImportRequest { import_id: import.to_owned() };
    Ok(caller.imports().cancel_import(request).await?.into_inner().import_job.unwrap())
}

/// Reads an import.
pub async fn get(caller: &Caller, import: &str) -> Import {
    let request = GetImportRequest { import_id: import.to_owned() };
    caller.imports().get_import(request).await.unwrap().into_inner().import_job.unwrap()
}

/// Watches an import until the stream ends, and returns its last state.
pub async fn watch(caller: &Caller, import: &str) -> Result<Import, Status> {
    let request = WatchImportRequest { import_id: import.to_owned() };
    let mut stream = caller.imports().watch_import(request).await?.into_inner();
    let mut last = None;
    while let Some(update) = stream.message().await? {
        last = update.import_job;
    }
    last.ok_or_else(|| Status::unavailable("the stream sent no message"))
}

/// Watches an import until it ends.
pub async fn end(caller: &Caller, import: &str) -> Import {
    let watched = tokio::time::timeout(TIMEOUT, watch(caller, import)).await;
    watched.expect("the import ends in time").unwrap()
}

/// All failures, page by page.
pub async fn failures(caller: &Caller, import: &str) -> Vec<Failure> {
    let import_id = import.to_owned();
    let mut request = ListFailuresRequest { import_id, page_size: 10, ..Default::default() };
    let mut failures = Vec::new();
    loop {
        let page = caller.imports().list_failures(request.clone()).await.unwrap().into_inner();
        failures.extend(page.failures);
        if page.next_page_token.is_empty() {
            return failures;
        }
        request.page_token = page.next_page_token;
    }
}
