//! Sends a chunk, and finds the record that is to blame when the records service
//! does not take it.

use std::time::Instant;

use prost::Message as _;
use shared::{
    meter::{NONE, catalog},
    wire::ApplyRecord,
};

use crate::{
    domain::{finding::Finding, words::Status},
    records_client::{FaultKind, Outcome},
    worker::{job::Job, trouble::WorkFault},
};

/// The records of a request together, in bytes, with their parents: the records
/// service takes 8 MiB.
const REQUEST_BYTES: usize = 6 * 1_024 * 1_024;

/// Parents of a request: the records service takes no more.
const REQUEST_PARENTS: usize = 20_000;

/// How often a chunk is sent again before some record of it is blamed for a
/// fault that nobody can tell the cause of.
const TRIES: u32 = 5;

/// More records of one chunk than this are not to blame: something is wrong with
/// the service, and the import must wait rather than fail them all.
const MAX_BLAMED: usize = 20;

/// Has the records applied; an outcome for each, in order. When the service does
/// not take a chunk, it is halved until the records that are to blame stand
/// alone; those fail.
pub(super) async fn send(job: &Job, records: Vec<ApplyRecord>) -> Result<Vec<Outcome>, WorkFault> {
    let (mut outcomes, mut blamed) = (Vec::new(), 0);
    let mut waiting = requests(records);
    waiting.reverse();
    while let Some(mut chunk) = waiting.pop() {
        let started = Instant::now();
        let answer = job.apply(chunk.clone()).await;
        let seconds = job.imports.meter.histogram(&catalog::CHUNK_SECONDS, NONE);
        seconds.record(started.elapsed());
        match answer {
            Ok(answer) => outcomes.extend(answer),
            Err(fault) if !is_records_fault(&fault, job.tries()) || blamed == MAX_BLAMED => {
                return Err(fault);
            }
            Err(_) if chunk.len() == 1 => {
                blamed += 1;
                outcomes.push(Outcome {
                    status: Status::Failed,
                    record_id: None,
                    findings: vec![Finding::internal()],
                    duplicates: Vec::new(),
                });
            }
            Err(_) => {
                let second = chunk.split_off(chunk.len() / 2);
                waiting.extend([second, chunk]);
            }
        }
    }
    Ok(outcomes)
}

/// The records in as few requests as the limits allow.
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

/// Whether some record of the chunk may be to blame.
fn is_records_fault(fault: &WorkFault, tries: u32) -> bool {
    let WorkFault::Call(fault) = fault else { return false };
    match fault.kind {
        FaultKind::Poison => true,
        FaultKind::Unclear => tries >= TRIES,
        FaultKind::Passing | FaultKind::Lasting | FaultKind::Stale => false,
    }
}

#[cfg(test)]
mod tests {
    use shared::pb::internal::ApplyParent;

    use super::*;

    #[test]
    fn records_with_many_parents_are_sent_in_several_requests() {
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
