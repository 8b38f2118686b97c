//! An in-memory fake of the records service. It links and creates records by the same
//! rules as the real service, and injects the faults that a real one may have.
//!
//! The real service and the fake pass the same suite, [`ingest_contract`](super::ingest_contract).
//! The fake does not model: timelines, orphaned records, equal identifiers, possible
//! duplicates by match keys, and products that are connected to some practices only.

mod connections;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use concord_core::{
    caller::{
        ACCOUNT_HEADER, DEFAULT_ACCOUNT, IMPORT_HEADER, PRACTICE_HEADER, PRODUCT_HEADER,
        ROLES_HEADER,
    },
    ids::{self, IdKind},
    key_digest::KeyDigest,
    rules::{
        FieldViolation,
        import::{ImportDraft, ParsedRecord, parse_bytes},
        reason_code,
        text::match_key,
    },
    status::ApiError,
};
use concord_proto::{
    pb::{
        imports::{ImportRecordKind, RecordStatus},
        internal::{
            ApplyChunkRequest, ApplyChunkResponse, ApplyDuplicate, ApplyOutcome, ApplyParent,
            ApplyViolation, Erasure, KeepSupportReadRequest, KeepSupportReadResponse,
            ListErasuresRequest, ListErasuresResponse, ResolveLinksRequest, ResolveLinksResponse,
            ResolvedLink,
            erasure::Erased,
            ingest_service_server::{IngestService, IngestServiceServer},
        },
        records::{ErrorReason, connection_service_server::ConnectionServiceServer},
    },
    wire::ApplyRecord,
};
use tokio::{net::TcpListener, sync::Notify};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, transport::Server};

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

/// The link of a product to a record.
#[derive(Clone, Debug)]
struct Link {
    record_id: String,
    import: String,
    first_outcome: RecordStatus,
}

/// (practice, product, account, kind, source id)
type LinkKey = (String, String, String, ImportRecordKind, String);

/// The database of the service.
#[derive(Clone, Debug, Default)]
pub struct StoredState {
    links: HashMap<LinkKey, Link>,
    /// (practice, content that makes two records equal) → record ids, the oldest first
    by_content: HashMap<(String, String), Vec<String>>,
    /// (practice, reference) → client id
    references: HashMap<(String, String), String>,
    /// (practice, client or person) → its name, and the reference of the client
    names: HashMap<(String, String), (String, String)>,
    /// The created records, in order.
    created: Vec<String>,
    periods: HashMap<String, (String, String)>,
    /// (practice, import) → the highest fence of a processed call
    fences: HashMap<(String, String), i64>,
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
            for ids in all.stored.by_content.values_mut() {
                ids.retain(|id| *id != link.record_id);
            }
            all.stored.references.retain(|_, id| *id != link.record_id);
            all.stored.names.remove(&(practice.to_owned(), link.record_id.clone()));
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
}

/// The caller: practice, product, account, import.
fn caller<T>(request: &Request<T>) -> Result<[String; 4], Status> {
    let text = |name: &str| {
        let value = request.metadata().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    if text(ROLES_HEADER) != "service" {
        return Err(Status::permission_denied("only the imports service"));
    }
    let mut account = text(ACCOUNT_HEADER);
    if account.is_empty() {
        DEFAULT_ACCOUNT.clone_into(&mut account);
    }
    Ok([text(PRACTICE_HEADER), text(PRODUCT_HEADER), account, text(IMPORT_HEADER)])
}

#[tonic::async_trait]
impl IngestService for FakeRecords {
    async fn apply_chunk(
        &self,
        request: Request<ApplyChunkRequest>,
    ) -> Result<Response<ApplyChunkResponse>, Status> {
        let caller = caller(&request)?;
        assert!(caller[3].starts_with("imp_"), "a chunk is of an import");
        let ApplyChunkRequest { records, validate_only, fence, applied_fence, known_erasure } =
            request.into_inner();
        assert!(records.len() <= 5_000);
        let known = known_erasure.unwrap_or(i64::MAX);
        let call = Call { fence, applied_fence, validate_only, known_erasure: known };
        if self.lock().unavailable {
            return Err(Status::unavailable("away"));
        }
        if !records.is_empty() {
            self.lock().known_erasures.extend(known_erasure);
        }
        if records.is_empty() {
            let mut all = self.lock();
            if let Some(stored) = all.restore_on_fence.take() {
                all.stored = stored;
            }
            let (is_known, answer) = all.check_fence(&caller, call)?;
            if is_known {
                all.raise_fence(&caller, fence);
            }
            return Ok(Response::new(answer));
        }
        let (fault, latency) = {
            let mut all = self.lock();
            let now = all.concurrency.entry(caller[0].clone()).or_default();
            *now += 1;
            let now = *now;
            let most = all.max_concurrency.entry(caller[0].clone()).or_default();
            *most = now.max(*most);
            (all.faults.pop_front(), all.latency)
        };
        tokio::time::sleep(latency.unwrap_or_default()).await;
        let fake = self.clone();
        let applied = tokio::spawn(async move {
            let pauses = fault.is_some_and(InjectedFault::pauses);
            if pauses {
                fake.1.paused.notify_one();
                fake.1.resume.notified().await;
            }
            let answer = fake.lock().apply(&caller, call, &records, fault);
            *fake.lock().concurrency.entry(caller[0].clone()).or_default() -= 1;
            if pauses {
                let outcomes = answer.clone().map(|answer| answer.outcomes);
                *fake.1.outcomes.lock().unwrap() = Some(outcomes);
                fake.1.done.notify_one();
            }
            answer
        });
        if matches!(fault, Some(InjectedFault::PausedUnavailable)) {
            return Err(Status::unavailable("away"));
        }
        applied.await.unwrap().map(Response::new)
    }

    async fn list_erasures(
        &self,
        request: Request<ListErasuresRequest>,
    ) -> Result<Response<ListErasuresResponse>, Status> {
        let caller = caller(&request)?;
        let after = request.into_inner().after;
        let all = self.lock();
        if all.unavailable {
            return Err(Status::unavailable("away"));
        }
        let erasures = all.erasures.get(&caller[0]).cloned().unwrap_or_default();
        let head = erasures.last().map_or(0, |last| last.position);
        // Two per page, so that there are several pages.
        let page = erasures.into_iter().filter(|erasure| erasure.position > after).take(2);
        Ok(Response::new(ListErasuresResponse { erasures: page.collect(), head }))
    }

    async fn keep_support_read(
        &self,
        request: Request<KeepSupportReadRequest>,
    ) -> Result<Response<KeepSupportReadResponse>, Status> {
        caller(&request)?;
        Ok(Response::new(KeepSupportReadResponse {}))
    }

    async fn resolve_links(
        &self,
        request: Request<ResolveLinksRequest>,
    ) -> Result<Response<ResolveLinksResponse>, Status> {
        let caller = caller(&request)?;
        let keys = request.into_inner().keys;
        assert!(keys.len() <= 5_000);
        let all = self.lock();
        if all.unavailable {
            return Err(Status::unavailable("away"));
        }
        let resolve = |key: concord_proto::pb::internal::SourceKey| {
            let link = all.stored.links.get(&link_key(&caller, key.kind(), &key.source_id))?;
            let record = (caller[0].clone(), link.record_id.clone());
            // Addresses have neither.
            let names = all.stored.names.get(&record).cloned();
            let (name, client_reference) = names.unwrap_or_default();
            Some(ResolvedLink {
                key: Some(key),
                record_id: link.record_id.clone(),
                import_id: link.import.clone(),
                name,
                client_reference,
            })
        };
        let links = keys.into_iter().filter_map(resolve).collect();
        Ok(Response::new(ResolveLinksResponse { links }))
    }
}

impl Records {
    /// Rejects a stale fence. Returns false if the caller knows a higher fence that was
    /// lost, so that nothing is applied.
    fn check_fence(
        &self,
        caller: &[String; 4],
        call: Call,
    ) -> Result<(bool, ApplyChunkResponse), Status> {
        let import = (caller[0].clone(), caller[3].clone());
        let highest = self.stored.fences.get(&import).copied().unwrap_or_default();
        let answer = ApplyChunkResponse { outcomes: Vec::new(), fence_before: Some(highest) };
        if highest < call.applied_fence && !call.validate_only {
            return Ok((false, answer));
        }
        if call.fence < highest {
            let reason = ErrorReason::StaleWorker;
            return Err(ApiError::new(Code::Aborted, reason, "a later call was made").into());
        }
        Ok((true, answer))
    }

    fn raise_fence(&mut self, caller: &[String; 4], fence: i64) {
        self.stored.fences.insert((caller[0].clone(), caller[3].clone()), fence);
    }

    fn apply(
        &mut self,
        caller: &[String; 4],
        call: Call,
        records: &[ApplyRecord],
        fault: Option<InjectedFault>,
    ) -> Result<ApplyChunkResponse, Status> {
        match fault {
            Some(InjectedFault::Unavailable) => return Err(Status::unavailable("away")),
            Some(InjectedFault::Reject) => {
                return Err(Status::failed_precondition("not connected"));
            }
            _ => {}
        }
        let (is_known, answer) = self.check_fence(caller, call)?;
        if !is_known {
            return Ok(answer);
        }
        if !self.connected.contains(&caller[1]) {
            let reason = ErrorReason::ProductNotConnected;
            return Err(ApiError::new(Code::FailedPrecondition, reason, "not connected").into());
        }
        let parsed: Vec<_> = records.iter().map(|record| parse_bytes(&record.record)).collect();
        let kinds: HashSet<_> = parsed.iter().map(|record| record.kind as i32).collect();
        assert!(kinds.len() <= 1, "a chunk is of one kind");
        if parsed.iter().any(|record| self.rejected_ids.contains(&record.source_id)) {
            return Err(Status::invalid_argument("poison"));
        }
        let before = call.validate_only.then(|| self.stored.clone());
        self.raise_fence(caller, call.fence);
        let mut seen = HashSet::new();
        let mut outcomes = Vec::with_capacity(records.len());
        for (parsed, record) in parsed.iter().zip(records) {
            let mut outcome = self.apply_one(caller, call, parsed, record, &mut seen);
            if outcome.status() == RecordStatus::Imported {
                let named = self.duplicates.get(&parsed.source_id).cloned();
                outcome.possible_duplicates.extend(named);
            }
            outcomes.push(outcome);
        }
        // A dry run leaves nothing behind.
        let fence_before = answer.fence_before.filter(|_| !call.validate_only);
        if let Some(before) = before {
            self.stored = before;
        }
        match fault {
            Some(InjectedFault::ResponseLost) => Err(Status::unknown("transport error")),
            _ => Ok(ApplyChunkResponse { outcomes, fence_before }),
        }
    }

    /// Whether the key of a record was erased after the last known erasure.
    fn is_erased(&self, caller: &[String; 4], parsed: &ParsedRecord, known: i64) -> bool {
        let of = caller[0].parse().unwrap();
        let digest = KeyDigest::of(&of, (&caller[1], &caller[2]), parsed.kind, &parsed.source_id);
        let key = Some(Erased::KeyDigest(digest.to_vec().into()));
        let later = self.erasures.get(&caller[0]).into_iter().flatten();
        later.filter(|erasure| erasure.position > known).any(|erasure| erasure.erased == key)
    }

    /// Whether the account of the caller is linked to a record.
    fn is_linked(&self, caller: &[String; 4], record_id: &str) -> bool {
        let mut links = self.stored.links.iter();
        links.any(|((practice, product, account, ..), link)| {
            [practice, product, account] == [&caller[0], &caller[1], &caller[2]]
                && link.record_id == record_id
        })
    }

    /// Applies a record. `seen` are the source ids that the chunk has applied.
    fn apply_one(
        &mut self,
        caller: &[String; 4],
        call: Call,
        parsed: &ParsedRecord,
        record: &ApplyRecord,
        seen: &mut HashSet<String>,
    ) -> ApplyOutcome {
        let practice = &caller[0];
        let key = link_key(caller, parsed.kind, &parsed.source_id);
        let link = self.stored.links.get(&key).filter(|_| !seen.contains(&parsed.source_id));
        if let Some(link) = link {
            let again = link.import == caller[3];
            let status = if again { link.first_outcome } else { RecordStatus::Skipped };
            return outcome(status, &link.record_id);
        }
        if self.is_erased(caller, parsed, call.known_erasure) {
            let text = "Record was erased after it was uploaded";
            return failed_with("", ErrorReason::RecordErased, text);
        }
        let draft = match &parsed.outcome {
            Ok(draft) => draft,
            Err(violations) => {
                self.invalid += 1;
                return failed(violations.clone().into_vec());
            }
        };
        if !seen.insert(parsed.source_id.clone()) {
            return failed_with("source_id", ErrorReason::DuplicateKey, "Source id is used twice");
        }
        let parents: Vec<&str> = record.parents.iter().map(|p| p.record_id.as_str()).collect();
        assert!(parents.is_empty() == (parsed.kind == ImportRecordKind::Client));
        let of_parent = |parent: &ApplyParent| {
            self.stored.names.get(&(practice.clone(), parent.record_id.clone())).cloned()
        };
        let missing = record.parents.iter().find(|parent| of_parent(parent).is_none());
        // A dry run has not created the parents.
        if let Some(parent) = missing.filter(|_| !call.validate_only) {
            let is_contact = parsed.kind == ImportRecordKind::Contact;
            let field = if is_contact { "client_source_id" } else { "owner_source_id" };
            let text = format!("Parent record was not found: {}", parent.source_id);
            return failed_with(field, ErrorReason::ParentNotFound, text);
        }
        let parent = record.parents.iter().find_map(of_parent);
        let reference = parent.map_or_else(|| parsed.own_reference.clone(), |(_, of)| of);
        let content = (practice.clone(), content(draft, record, &parents));
        let equal = self.stored.by_content.get(&content).cloned().unwrap_or_default();
        let known = equal.iter().find(|record_id| !self.is_linked(caller, record_id)).cloned();
        if known.is_none() {
            let holder = parsed.reference_key.as_ref().and_then(|reference| {
                self.stored.references.get(&(practice.clone(), reference.clone()))
            });
            if let Some(client) = holder {
                let text = format!("Client reference is already used by {client}");
                return failed_with("client_reference", ErrorReason::DuplicateReference, text);
            }
            if parsed.kind == ImportRecordKind::Address && !equal.is_empty() {
                let text = "Period overlaps what is kept already";
                return failed_with("active_from", ErrorReason::PeriodOverlap, text);
            }
        }
        let (status, record_id) = match known {
            Some(known) => (RecordStatus::Linked, known),
            None => (RecordStatus::Imported, self.create(caller, parsed, record, content)),
        };
        // Addresses have no names, and are no parents.
        if parsed.kind != ImportRecordKind::Address {
            let record = (practice.clone(), record_id.clone());
            let names = || (parsed.record_name.clone(), reference);
            self.stored.names.entry(record).or_insert_with(names);
        }
        let link =
            Link { record_id: record_id.clone(), import: caller[3].clone(), first_outcome: status };
        self.stored.links.insert(key, link);
        outcome(status, &record_id)
    }

    fn create(
        &mut self,
        caller: &[String; 4],
        parsed: &ParsedRecord,
        record: &ApplyRecord,
        content: (String, String),
    ) -> String {
        let (kind, name) = match parsed.kind {
            ImportRecordKind::Client => (IdKind::Client, "client"),
            ImportRecordKind::Contact => (IdKind::Person, "contact"),
            _ => (IdKind::Entry, "address"),
        };
        let record_id = ids::text(kind, ids::new_uuid());
        if let Some(reference) = &parsed.reference_key {
            self.stored
                .references
                .insert((caller[0].clone(), reference.clone()), record_id.clone());
        }
        let period = (record.active_from.clone(), record.active_to.clone());
        self.stored.periods.insert(parsed.source_id.clone(), period);
        self.stored.by_content.entry(content).or_default().push(record_id.clone());
        self.stored.created.push(format!("{} {name} {}", caller[0], parsed.source_id));
        record_id
    }
}

/// The content that makes two records equal: the reference and name of a client, the name
/// and birth date of a contact, an address with its first day; and the parents.
fn content(draft: &ImportDraft, record: &ApplyRecord, parents: &[&str]) -> String {
    let own = match draft {
        ImportDraft::Client { client, individual } => {
            let person = individual.as_ref().map(|person| person.name.match_key());
            let company = client.registered_name.as_ref().map(|name| match_key(&name.name));
            let name = person.or(company).unwrap_or_default();
            format!("client {} {name}", client.reference.key)
        }
        ImportDraft::Contact { person, .. } => {
            format!("contact {} {:?}", person.name.match_key(), person.birth_date)
        }
        ImportDraft::Address { address, .. } => {
            let first_day = &record.active_from;
            format!("address {:?} {:?} {first_day}", address.address_type, address.address)
        }
    };
    format!("{own} {}", parents.join(" "))
}

fn link_key(caller: &[String; 4], kind: ImportRecordKind, source_id: &str) -> LinkKey {
    let [practice, product, account, _] = caller.clone();
    (practice, product, account, kind, source_id.to_owned())
}

fn outcome(status: RecordStatus, record_id: &str) -> ApplyOutcome {
    let record_id = record_id.to_owned();
    ApplyOutcome { status: status.into(), record_id, ..ApplyOutcome::default() }
}

fn failed(violations: Vec<FieldViolation>) -> ApplyOutcome {
    let violation = |FieldViolation { field, reason, text }| ApplyViolation {
        field,
        reason: reason_code(reason).to_owned(),
        text,
    };
    ApplyOutcome {
        status: RecordStatus::Failed.into(),
        violations: violations.into_iter().map(violation).collect(),
        ..ApplyOutcome::default()
    }
}

/// A record that failed with one violation.
fn failed_with(field: &str, reason: ErrorReason, text: impl Into<String>) -> ApplyOutcome {
    failed(vec![FieldViolation::new(field, reason, text)])
}
