//! Sends a chunk to the records service, and bisects it to find the invalid record if
//! the chunk is rejected.

use std::time::Instant;

use concord_proto::wire::ApplyRecord;
use concord_server::meter::{NONE, catalog};
use prost::Message as _;

use crate::{
    domain::{enums::Status, issue::RecordIssue},
    records_client::{CallErrorKind, Outcome},
    worker::{page_context::PageContext, retry_policy::PageError},
};

/// Limit on the size of a request, in bytes, with the parents; the limit of the records
/// service is 16 MiB.
const REQUEST_BYTES: usize = 6 * 1_024 * 1_024;

/// Limit on the parents of a request: that of the records service.
const REQUEST_PARENTS: usize = 20_000;

/// How often a chunk is retried after an unknown error before it is split to find the
/// record that causes it.
const ATTEMPTS_BEFORE_SPLIT: u32 = 5;

/// Maximum number of records of one chunk that fail this way. With more, the service
/// itself is faulty, and the import waits instead of failing all records.
const MAX_REJECTED: usize = 20;

/// Applies the records; returns the outcomes in order. A rejected chunk is split in
/// half until the records that cause the rejection are isolated; only those fail.
pub(super) async fn send(
    context: &PageContext,
    records: Vec<ApplyRecord>,
) -> Result<Vec<Outcome>, PageError> {
    let (mut outcomes, mut rejected) = (Vec::new(), 0);
    let mut pending = requests(records);
    pending.reverse();
    while let Some(mut chunk) = pending.pop() {
        let started = Instant::now();
        let answer = context.apply(chunk.clone()).await;
        let seconds = context.imports.meter.histogram(&catalog::CHUNK_SECONDS, NONE);
        seconds.record(started.elapsed());
        match answer {
            Ok(answer) => outcomes.extend(answer),
            Err(error)
                if !is_record_error(&error, context.attempts) || rejected == MAX_REJECTED =>
            {
                return Err(error);
            }
            Err(_) if chunk.len() == 1 => {
                rejected += 1;
                outcomes.push(Outcome {
                    status: Status::Failed,
                    record_id: None,
                    issues: vec![RecordIssue::internal()],
                    duplicates: Vec::new(),
                });
            }
            Err(_) => {
                let second = chunk.split_off(chunk.len() / 2);
                pending.extend([second, chunk]);
            }
        }
    }
    Ok(outcomes)
}

/// Splits the records into as few requests as the limits allow.
fn requests(records: Vec<ApplyRecord>) -> Vec<Vec<ApplyRecord>> {
    let (mut requests, mut request) = (Vec::new(), Vec::new());
    let (mut size, mut parents) = (0, 0);
    for record in records {
        let (length, named) = (record.encoded_len(), record.parents.len());
        let full = size + length > REQUEST_BYTES || parents + named > REQUEST_PARENTS;
        if full && !request.is_empty() {
            requests.push(std::mem::take(&mut request));
            (size, parents) = (0, 0);
        }
        size += length;
        parents += named;
        request.push(record);
    }
    requests.extend(Some(request).filter(|request| !request.is_empty()));
    requests
}

/// Whether a record of the chunk may cause the error.
fn is_record_error(error: &PageError, attempts: u32) -> bool {
    let PageError::Call(error) = error else { return false };
    match error.kind {
        CallErrorKind::InvalidRecord => true,
        CallErrorKind::Unknown => attempts >= ATTEMPTS_BEFORE_SPLIT,
        CallErrorKind::Transient | CallErrorKind::Permanent | CallErrorKind::Fenced => false,
    }
}

#[cfg(test)]
mod tests {
    use concord_proto::pb::internal::ApplyParent;

    use super::*;

    #[test]
    fn requests_respect_byte_and_parent_limits() {
        let record = ApplyRecord { record: vec![0; 1_000_000].into(), ..ApplyRecord::default() };
        let lengths =
            |n| requests(vec![record.clone(); n]).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lengths(0), [0; 0]);
        assert_eq!(lengths(6), [6]);
        assert_eq!(lengths(14), [6, 6, 2]);
        let parents = vec![ApplyParent::default(); 1_000];
        let contact = ApplyRecord { parents, ..ApplyRecord::default() };
        assert_eq!(requests(vec![contact; 21]).iter().map(Vec::len).collect::<Vec<_>>(), [20, 1]);
    }
}
