//! An in-memory fake of the records service. It links and creates records by the same
//! rules as the real service, and injects the faults that a real one may have.
//!
//! The real service and the fake pass the same suite, [`ingest_contract`](super::ingest_contract).
//! The fake does not model: timelines, orphaned records, equal identifiers, possible
//! duplicates by match keys, and products that are connected to some practices only.

mod connections;
mod rpcs;
mod rules;
mod store;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use concord_core::key_digest::KeyDigest;
use concord_proto::pb::{
    imports::ImportRecordKind,
    internal::{
        ApplyDuplicate, ApplyOutcome, Erasure, erasure::Erased,
        ingest_service_server::IngestServiceServer,
    },
    records::connection_service_server::ConnectionServiceServer,
};
use tokio::{net::TcpListener, sync::Notify};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Status, transport::Server};

pub use store::StoredState;
use store::{LinkKey, link_key};

/// A fault that is injected into one call of `ApplyChunk`.
#[derive(Clone, Copy, Debug)]
pub enum InjectedFault {
    /// No fault: the call is processed and answered.
    None,
    /// The service is unavailable, and nothing is applied.
    Unavailable,
    /// The chunk is applied, and the response is lost.
    ResponseLost,
    /// The service rejects the call with a permanent error.
    Reject,
    /// The call is paused until [`FakeRecords::resume`], even if the client cancels it.
    Paused,
    /// The call is paused, and the client gets UNAVAILABLE.
    PausedUnavailable,
}

impl InjectedFault {
    fn pauses(self) -> bool {
        matches!(self, Self::Paused | Self::PausedUnavailable)
    }
}

#[derive(Debug, Default)]
struct Records {
    connected: Vec<String>,
    stored: StoredState,
    /// The state that is restored at the next call that only raises the fence.
    restore_on_fence: Option<StoredState>,
    /// Whether all calls fail with UNAVAILABLE.
    unavailable: bool,
    faults: VecDeque<InjectedFault>,
    rejected_ids: HashSet<String>,
    /// source id → its possible duplicate
    duplicates: HashMap<String, ApplyDuplicate>,
    latency: Option<Duration>,
    /// practice → its erasures
    erasures: HashMap<String, Vec<Erasure>>,
    /// The last known erasure of each chunk.
    known_erasures: Vec<i64>,
    /// The number of invalid records in all chunks.
    invalid: usize,
    concurrency: HashMap<String, usize>,
    max_concurrency: HashMap<String, usize>,
}

/// The tokens and the mode of a call of `ApplyChunk`.
#[derive(Clone, Copy, Debug)]
struct Call {
    fence: i64,
    applied_fence: i64,
    validate_only: bool,
    known_erasure: i64,
}

/// The fake service. Clones share its state.
#[derive(Clone, Debug, Default)]
pub struct FakeRecords(Arc<Mutex<Records>>, Arc<PauseSignals>);

/// Signals of a paused call.
#[derive(Debug, Default)]
struct PauseSignals {
    paused: Notify,
    resume: Notify,
    /// The result of the paused call.
    outcomes: Mutex<Option<Result<Vec<ApplyOutcome>, Status>>>,
    done: Notify,
}

impl FakeRecords {
    /// Starts a service with these products, which are connected to every practice.
    pub async fn start(connected: &[&str]) -> (Self, SocketAddr) {
        let fake = Self::default();
        let mut connected: Vec<_> = connected.iter().map(ToString::to_string).collect();
        connected.sort();
        fake.lock().connected = connected;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ingest =
            IngestServiceServer::new(fake.clone()).max_decoding_message_size(16 * 1_024 * 1_024);
        let server = Server::builder()
            .add_service(ingest)
            .add_service(ConnectionServiceServer::new(fake.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (fake, address)
    }

    /// Injects faults into the next calls of `ApplyChunk`.
    pub fn inject(&self, faults: &[InjectedFault]) {
        self.lock().faults.extend(faults);
    }

    /// A copy of the database.
    pub fn stored(&self) -> StoredState {
        self.lock().stored.clone()
    }

    /// Restores the database to an earlier state.
    pub fn restore(&self, stored: StoredState) {
        self.lock().stored = stored;
    }

    /// Restores the database to an earlier state at the next call that only raises the
    /// fence.
    pub fn restore_on_next_fence(&self, stored: StoredState) {
        self.lock().restore_on_fence = Some(stored);
    }

    /// Makes all calls fail with UNAVAILABLE, or stops that.
    pub fn set_unavailable(&self, unavailable: bool) {
        self.lock().unavailable = unavailable;
    }

    /// The number of faults that are still to be injected.
    pub fn pending_faults(&self) -> usize {
        self.lock().faults.len()
    }

    /// Removes all pending faults.
    pub fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// Waits until a call is paused.
    pub async fn wait_until_paused(&self) {
        self.1.paused.notified().await;
    }

    /// Resumes the paused call; returns its result.
    pub async fn resume(&self) -> Result<Vec<ApplyOutcome>, Status> {
        self.1.resume.notify_one();
        self.1.done.notified().await;
        self.1.outcomes.lock().unwrap().take().unwrap()
    }

    /// The name with which a client was created.
    pub fn name_of_client(&self, source_id: &str) -> Option<String> {
        let all = self.lock();
        let client = |key: &LinkKey| key.3 == ImportRecordKind::Client && key.4 == source_id;
        let (key, link) = all.stored.links.iter().find(|(key, _)| client(key))?;
        let (name, _) = all.stored.names.get(&(key.0.clone(), link.record_id.clone()))?;
        Some(name.clone())
    }

    /// Rejects every chunk that contains this source id.
    pub fn reject_chunks_with(&self, source_id: &str) {
        self.lock().rejected_ids.insert(source_id.to_owned());
    }

    /// Reports a possible duplicate for the record with this source id.
    pub fn set_duplicate_of(&self, source_id: &str, other: ApplyDuplicate) {
        self.lock().duplicates.insert(source_id.to_owned(), other);
    }

    /// Erases the record of a key of `manager`.
    pub fn erase(&self, practice: &str, kind: ImportRecordKind, source_id: &str) {
        let mut all = self.lock();
        let caller = [practice.into(), "manager".into(), "main".into(), String::new()];
        let link = all.stored.links.remove(&link_key(&caller, kind, source_id));
        if let Some(link) = &link {
            all.stored.remove(practice, &link.record_id);
        }
        let of = practice.parse().unwrap();
        let digest = KeyDigest::of(&of, ("manager", "main"), kind, source_id);
        let record = link.map(|link| Erased::RecordId(link.record_id));
        let key = Erased::KeyDigest(digest.to_vec().into());
        let erasures = all.erasures.entry(practice.to_owned()).or_default();
        for erased in record.into_iter().chain([key]) {
            let position = erasures.last().map_or(0, |last| last.position) + 1;
            let erase_time = Some(SystemTime::now().into());
            erasures.push(Erasure { position, erase_time, erased: Some(erased) });
        }
    }

    /// Removes the link of a key of `manager`.
    pub fn unlink(&self, practice: &str, kind: ImportRecordKind, source_id: &str) {
        let caller = [practice.into(), "manager".into(), "main".into(), String::new()];
        self.lock().stored.links.remove(&link_key(&caller, kind, source_id));
    }

    /// The last known erasure of each chunk, in order.
    pub fn known_erasures(&self) -> Vec<i64> {
        self.lock().known_erasures.clone()
    }

    /// The number of invalid records in all chunks.
    pub fn invalid_records(&self) -> usize {
        self.lock().invalid
    }

    /// Delays every chunk.
    pub fn set_latency(&self, latency: Duration) {
        self.lock().latency = Some(latency);
    }

    /// The created records, as practice, kind and source id, in order.
    pub fn created(&self) -> Vec<String> {
        self.lock().stored.created.clone()
    }

    /// The dates with which an address was applied.
    pub fn period(&self, source_id: &str) -> (String, String) {
        self.lock().stored.periods.get(source_id).cloned().unwrap()
    }

    /// The maximum number of concurrent chunks of a practice.
    pub fn max_concurrency(&self, practice: &str) -> usize {
        self.lock().max_concurrency.get(practice).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap()
    }

    /// The state, or an error if all calls fail.
    fn available(&self) -> Result<MutexGuard<'_, Records>, Status> {
        let all = self.lock();
        if all.unavailable { Err(Status::unavailable("away")) } else { Ok(all) }
    }
}
