//! A records service in memory: it links and creates by the same promises as the
//! real one, and breaks in the ways in which a real one can.

mod connections;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use shared::{
    caller::{ACCOUNT_HEADER, IMPORT_HEADER, PRACTICE_HEADER, PRODUCT_HEADER, ROLES_HEADER},
    ids::{self, IdKind},
    key_digest::KeyDigest,
    pb::{
        imports::{ImportRecordKind, RecordStatus},
        internal::{
            ApplyChunkRequest, ApplyChunkResponse, ApplyDuplicate, ApplyOutcome, ApplyViolation,
            Erasure, KeepSupportReadRequest, KeepSupportReadResponse, ListErasuresRequest,
            ListErasuresResponse, ResolveLinksRequest, ResolveLinksResponse, ResolvedLink,
            erasure::Erased,
            ingest_service_server::{IngestService, IngestServiceServer},
        },
        records::{ErrorReason, connection_service_server::ConnectionServiceServer},
    },
    rules::import::{ParsedRecord, parse_bytes},
    status::Refusal,
    wire::ApplyRecord,
};
use tokio::{net::TcpListener, sync::Notify};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, transport::Server};

/// One way to misbehave, for one call of `ApplyChunk`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mishap {
    /// None: the call is carried out, and answered.
    Well,
    /// The service is away: nothing is done.
    Away,
    /// Everything is done, and the answer lost.
    AnswerLost,
    /// The service refuses: people have to do something.
    Refuse,
    /// The call is held up on its way, until [`Double::thaw`], whatever becomes of
    /// who made it.
    Frozen,
    /// The same, and whoever made it hears that the service is away.
    FrozenAway,
}

impl Mishap {
    fn freezes(self) -> bool {
        matches!(self, Self::Frozen | Self::FrozenAway)
    }
}

/// A product's claim on a record.
#[derive(Clone, Debug)]
struct Link {
    record_id: String,
    import: String,
    first_outcome: RecordStatus,
    name: String,
    reference: String,
}

/// (practice, product, account, kind, source id)
type LinkKey = (String, String, String, ImportRecordKind, String);

/// What the service has in its database.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    links: HashMap<LinkKey, Link>,
    /// (practice, what makes two records equal) → record id
    by_content: HashMap<(String, String), String>,
    /// (practice, reference) → client id
    references: HashMap<(String, String), String>,
    /// record id → the reference of its client
    reference_of: HashMap<String, String>,
    /// What was created, in order.
    created: Vec<String>,
    periods: HashMap<String, (String, String)>,
    /// (practice, import) → the highest fence of a call that was carried out
    fences: HashMap<(String, String), i64>,
}

#[derive(Debug, Default)]
struct Records {
    connected: Vec<String>,
    kept: Kept,
    /// What the database goes back to at the next call that only raises a fence.
    set_back: Option<Kept>,
    /// Whether no call is answered.
    away: bool,
    mishaps: VecDeque<Mishap>,
    poison: HashSet<String>,
    /// source id → what its record looks like
    look_alikes: HashMap<String, ApplyDuplicate>,
    delay: Option<Duration>,
    /// practice → its erasures
    erasures: HashMap<String, Vec<Erasure>>,
    /// The last erasure that each chunk knew.
    known_erasures: Vec<i64>,
    at_once: HashMap<String, usize>,
    most_at_once: HashMap<String, usize>,
}

/// The double. Clones are the same service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Double(Arc<Mutex<Records>>, Arc<Ice>);

/// A call that is held up.
#[derive(Debug, Default)]
struct Ice {
    frozen: Notify,
    thaw: Notify,
    /// What the call came to.
    answered: Mutex<Option<Result<Vec<ApplyOutcome>, Status>>>,
    done: Notify,
}

impl Double {
    /// Starts a service to which these products are connected.
    pub(crate) async fn start(connected: &[&str]) -> (Self, SocketAddr) {
        let double = Self::default();
        double.lock().connected = connected.iter().map(ToString::to_string).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ingest =
            IngestServiceServer::new(double.clone()).max_decoding_message_size(16 * 1_024 * 1_024);
        let server = Server::builder()
            .add_service(ingest)
            .add_service(ConnectionServiceServer::new(double.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (double, address)
    }

    /// The next calls of `ApplyChunk` go wrong in these ways.
    pub(crate) fn will(&self, mishaps: &[Mishap]) {
        self.lock().mishaps.extend(mishaps);
    }

    /// What it has in its database.
    pub(crate) fn kept(&self) -> Kept {
        self.lock().kept.clone()
    }

    /// Its database goes back to an earlier state.
    pub(crate) fn goes_back_to(&self, kept: Kept) {
        self.lock().kept = kept;
    }

    /// Its database goes back to an earlier state at the next call that only raises a
    /// fence.
    pub(crate) fn goes_back_at_the_fence_to(&self, kept: Kept) {
        self.lock().set_back = Some(kept);
    }

    /// From now on no call is answered, or all are.
    pub(crate) fn is_away(&self, away: bool) {
        self.lock().away = away;
    }

    /// The mishaps that are still to come.
    pub(crate) fn mishaps_left(&self) -> usize {
        self.lock().mishaps.len()
    }

    /// No more mishaps.
    pub(crate) fn behave(&self) {
        self.lock().mishaps.clear();
    }

    /// Waits until a call is held up.
    pub(crate) async fn wait_for_frost(&self) {
        self.1.frozen.notified().await;
    }

    /// Lets the call go on that was held up; what it comes to.
    pub(crate) async fn thaw(&self) -> Result<Vec<ApplyOutcome>, Status> {
        self.1.thaw.notify_one();
        self.1.done.notified().await;
        self.1.answered.lock().unwrap().take().unwrap()
    }

    /// The name that a client was created with.
    pub(crate) fn name_of_client(&self, source_id: &str) -> Option<String> {
        let all = self.lock();
        let client = |key: &LinkKey| key.3 == ImportRecordKind::Client && key.4 == source_id;
        all.kept.links.iter().find(|(key, _)| client(key)).map(|(_, link)| link.name.clone())
    }

    /// A chunk with this source id breaks the service.
    pub(crate) fn is_poisoned_by(&self, source_id: &str) {
        self.lock().poison.insert(source_id.to_owned());
    }

    /// The record with this source id looks like another one.
    pub(crate) fn looks_alike(&self, source_id: &str, other: ApplyDuplicate) {
        self.lock().look_alikes.insert(source_id.to_owned(), other);
    }

    /// The record of a key of `manager` is erased now.
    pub(crate) fn erases(&self, practice: &str, kind: ImportRecordKind, source_id: &str) {
        let mut all = self.lock();
        let who = [practice.into(), "manager".into(), "main".into(), String::new()];
        let link = all.kept.links.remove(&link_key(&who, kind, source_id));
        if let Some(link) = &link {
            all.kept.by_content.retain(|_, id| *id != link.record_id);
            all.kept.references.retain(|_, id| *id != link.record_id);
            all.kept.reference_of.remove(&link.record_id);
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

    /// The link of a key of `manager` is removed.
    pub(crate) fn unlinks(&self, practice: &str, kind: ImportRecordKind, source_id: &str) {
        let who = [practice.into(), "manager".into(), "main".into(), String::new()];
        self.lock().kept.links.remove(&link_key(&who, kind, source_id));
    }

    /// The last erasure that each chunk knew, in their order.
    pub(crate) fn known_erasures(&self) -> Vec<i64> {
        self.lock().known_erasures.clone()
    }

    /// Every chunk takes a while.
    pub(crate) fn takes(&self, delay: Duration) {
        self.lock().delay = Some(delay);
    }

    /// What was created, by practice, kind and source id, in order.
    pub(crate) fn created(&self) -> Vec<String> {
        self.lock().kept.created.clone()
    }

    /// The dates that an address was applied with.
    pub(crate) fn period(&self, source_id: &str) -> (String, String) {
        self.lock().kept.periods.get(source_id).cloned().unwrap()
    }

    /// The most chunks of a practice that were applied at the same time.
    pub(crate) fn most_at_once(&self, practice: &str) -> usize {
        self.lock().most_at_once.get(practice).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap()
    }
}

/// Who calls: practice, product, account, import.
fn who<T>(request: &Request<T>) -> Result<[String; 4], Status> {
    let text = |name: &str| {
        let value = request.metadata().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    if text(ROLES_HEADER) != "service" {
        return Err(Status::permission_denied("only the imports service"));
    }
    Ok([text(PRACTICE_HEADER), text(PRODUCT_HEADER), text(ACCOUNT_HEADER), text(IMPORT_HEADER)])
}

#[tonic::async_trait]
impl IngestService for Double {
    async fn apply_chunk(
        &self,
        request: Request<ApplyChunkRequest>,
    ) -> Result<Response<ApplyChunkResponse>, Status> {
        let who = who(&request)?;
        assert!(who[3].starts_with("imp_"), "a chunk is of an import");
        let ApplyChunkRequest { records, validate_only, fence, applied_fence, known_erasure } =
            request.into_inner();
        assert!(records.len() <= 5_000);
        let fence = (!validate_only).then_some((fence, applied_fence));
        if self.lock().away {
            return Err(Status::unavailable("away"));
        }
        if !records.is_empty() {
            self.lock().known_erasures.extend(known_erasure);
        }
        if records.is_empty() {
            let mut all = self.lock();
            if let Some(kept) = all.set_back.take() {
                all.kept = kept;
            }
            return Ok(Response::new(all.raise(&who, fence)?.1));
        }
        let (mishap, delay) = {
            let mut all = self.lock();
            let now = all.at_once.entry(who[0].clone()).or_default();
            *now += 1;
            let now = *now;
            let most = all.most_at_once.entry(who[0].clone()).or_default();
            *most = now.max(*most);
            (all.mishaps.pop_front(), all.delay)
        };
        tokio::time::sleep(delay.unwrap_or_default()).await;
        let double = self.clone();
        let applied = tokio::spawn(async move {
            let freezes = mishap.is_some_and(Mishap::freezes);
            if freezes {
                double.1.frozen.notify_one();
                double.1.thaw.notified().await;
            }
            let known = known_erasure.unwrap_or(i64::MAX);
            let answer = double.lock().apply(&who, (fence, known), &records, mishap);
            *double.lock().at_once.entry(who[0].clone()).or_default() -= 1;
            if freezes {
                let outcomes = answer.clone().map(|answer| answer.outcomes);
                *double.1.answered.lock().unwrap() = Some(outcomes);
                double.1.done.notify_one();
            }
            answer
        });
        if matches!(mishap, Some(Mishap::FrozenAway)) {
            return Err(Status::unavailable("away"));
        }
        applied.await.unwrap().map(Response::new)
    }

    async fn list_erasures(
        &self,
        request: Request<ListErasuresRequest>,
    ) -> Result<Response<ListErasuresResponse>, Status> {
        let who = who(&request)?;
        let after = request.into_inner().after;
        let all = self.lock();
        if all.away {
            return Err(Status::unavailable("away"));
        }
        let erasures = all.erasures.get(&who[0]).cloned().unwrap_or_default();
        let head = erasures.last().map_or(0, |last| last.position);
        // In pages of two, so that there are several.
        let page = erasures.into_iter().filter(|erasure| erasure.position > after).take(2);
        Ok(Response::new(ListErasuresResponse { erasures: page.collect(), head }))
    }

    async fn keep_support_read(
        &self,
        _: Request<KeepSupportReadRequest>,
    ) -> Result<Response<KeepSupportReadResponse>, Status> {
        Ok(Response::new(KeepSupportReadResponse {}))
    }

    async fn resolve_links(
        &self,
        request: Request<ResolveLinksRequest>,
    ) -> Result<Response<ResolveLinksResponse>, Status> {
        let who = who(&request)?;
        let keys = request.into_inner().keys;
        assert!(keys.len() <= 5_000);
        let all = self.lock();
        if all.away {
            return Err(Status::unavailable("away"));
        }
        let resolve = |key: shared::pb::internal::SourceKey| {
            let link = all.kept.links.get(&link_key(&who, key.kind(), &key.source_id))?;
            Some(ResolvedLink {
                key: Some(key),
                record_id: link.record_id.clone(),
                import_id: link.import.clone(),
                name: link.name.clone(),
                client_reference: link.reference.clone(),
            })
        };
        let links = keys.into_iter().filter_map(resolve).collect();
        Ok(Response::new(ResolveLinksResponse { links }))
    }
}

impl Records {
    /// Refuses what comes after a later call, and raises the fence, unless one is known
    /// that was lost. What is only checked has no fence.
    fn raise(
        &mut self,
        who: &[String; 4],
        fences: Option<(i64, i64)>,
    ) -> Result<(bool, ApplyChunkResponse), Status> {
        let Some((fence, applied)) = fences else {
            return Ok((true, ApplyChunkResponse::default()));
        };
        let highest = self.kept.fences.entry((who[0].clone(), who[3].clone())).or_default();
        if fence < *highest {
            let reason = ErrorReason::StaleWorker;
            return Err(Refusal::new(Code::Aborted, reason, "a later call was made").into());
        }
        let answer = ApplyChunkResponse { outcomes: Vec::new(), fence_before: Some(*highest) };
        let is_known = *highest >= applied;
        if is_known {
            *highest = fence;
        }
        Ok((is_known, answer))
    }

    fn apply(
        &mut self,
        who: &[String; 4],
        (fence, known): (Option<(i64, i64)>, i64),
        records: &[ApplyRecord],
        mishap: Option<Mishap>,
    ) -> Result<ApplyChunkResponse, Status> {
        match mishap {
            Some(Mishap::Away) => return Err(Status::unavailable("away")),
            Some(Mishap::Refuse) => return Err(Status::failed_precondition("not connected")),
            _ => {}
        }
        let (raised, answer) = self.raise(who, fence)?;
        if !raised {
            return Ok(answer);
        }
        let parsed: Vec<_> = records.iter().map(|record| parse_bytes(&record.record)).collect();
        let kinds: HashSet<_> = parsed.iter().map(|record| record.kind as i32).collect();
        assert!(kinds.len() <= 1, "a chunk is of one kind");
        if parsed.iter().any(|record| self.poison.contains(&record.source_id)) {
            return Err(Status::invalid_argument("poison"));
        }
        let outcomes = parsed.iter().zip(records).map(|(parsed, record)| {
            let named = self.look_alikes.get(&parsed.source_id).cloned();
            let possible_duplicates = named.into_iter().collect();
            if self.is_erased(who, parsed, known) {
                return failed("", "RECORD_ERASED", "nothing");
            }
            ApplyOutcome { possible_duplicates, ..self.one(who, parsed, record) }
        });
        let outcomes = outcomes.collect();
        match mishap {
            Some(Mishap::AnswerLost) => Err(Status::unknown("transport error")),
            _ => Ok(ApplyChunkResponse { outcomes, ..answer }),
        }
    }

    /// Whether the key of a record was erased after the last erasure that is known.
    fn is_erased(&self, who: &[String; 4], parsed: &ParsedRecord, known: i64) -> bool {
        let of = who[0].parse().unwrap();
        let digest = KeyDigest::of(&of, (&who[1], &who[2]), parsed.kind, &parsed.source_id);
        let key = Some(Erased::KeyDigest(digest.to_vec().into()));
        let later = self.erasures.get(&who[0]).into_iter().flatten();
        later.filter(|erasure| erasure.position > known).any(|erasure| erasure.erased == key)
    }

    fn one(
        &mut self,
        who: &[String; 4],
        parsed: &ParsedRecord,
        record: &ApplyRecord,
    ) -> ApplyOutcome {
        assert!(parsed.outcome.is_ok(), "only valid records are applied");
        let key = link_key(who, parsed.kind, &parsed.source_id);
        if let Some(link) = self.kept.links.get(&key) {
            let again = link.import == who[3];
            let status = if again { link.first_outcome } else { RecordStatus::Skipped };
            return outcome(status, &link.record_id);
        }
        let parents: Vec<&str> = record.parents.iter().map(|p| p.record_id.as_str()).collect();
        assert!(parents.is_empty() == (parsed.kind == ImportRecordKind::Client));
        if parents.iter().any(|parent| !self.kept.reference_of.contains_key(*parent)) {
            return failed("client_source_id", "PARENT_NOT_FOUND", "nothing");
        }
        let content = (who[0].clone(), content(parsed, record, &parents));
        let known = self.kept.by_content.get(&content).cloned();
        if known.is_none()
            && let Some(reference) = &parsed.reference_key
        {
            let client = self.kept.references.get(&(who[0].clone(), reference.clone()));
            if let Some(client) = client {
                return failed("client_reference", "DUPLICATE_REFERENCE", client);
            }
        }
        let (status, record_id) = match known {
            Some(known) => (RecordStatus::Linked, known),
            None => (RecordStatus::Imported, self.create(who, parsed, record, content)),
        };
        let of_parent = |parent: &shared::pb::internal::ApplyParent| {
            self.kept.reference_of.get(&parent.record_id).cloned()
        };
        let first = record.parents.iter().find_map(of_parent);
        let reference = first.unwrap_or_else(|| parsed.own_reference.clone());
        self.kept.reference_of.insert(record_id.clone(), reference.clone());
        let link = Link {
            record_id: record_id.clone(),
            import: who[3].clone(),
            first_outcome: status,
            name: parsed.record_name.clone(),
            reference,
        };
        self.kept.links.insert(key, link);
        outcome(status, &record_id)
    }

    fn create(
        &mut self,
        who: &[String; 4],
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
            self.kept.references.insert((who[0].clone(), reference.clone()), record_id.clone());
        }
        let period = (record.active_from.clone(), record.active_to.clone());
        self.kept.periods.insert(parsed.source_id.clone(), period);
        self.kept.by_content.insert(content, record_id.clone());
        self.kept.created.push(format!("{} {name} {}", who[0], parsed.source_id));
        record_id
    }
}

/// What makes two records equal: the name, and what they hang on.
fn content(parsed: &ParsedRecord, record: &ApplyRecord, parents: &[&str]) -> String {
    let reference = parsed.reference_key.clone().unwrap_or_default();
    let name = &parsed.record_name;
    format!("{:?} {reference} {name} {} {}", parsed.kind, record.active_from, parents.join(" "))
}

fn link_key(who: &[String; 4], kind: ImportRecordKind, source_id: &str) -> LinkKey {
    let [practice, product, account, _] = who.clone();
    (practice, product, account, kind, source_id.to_owned())
}

fn outcome(status: RecordStatus, record_id: &str) -> ApplyOutcome {
    let record_id = record_id.to_owned();
    ApplyOutcome { status: status.into(), record_id, ..ApplyOutcome::default() }
}

fn failed(field: &str, reason: &str, existing: &str) -> ApplyOutcome {
    let text = format!("Client reference is already used by {existing}");
    let violation = ApplyViolation { field: field.to_owned(), reason: reason.to_owned(), text };
    ApplyOutcome {
        status: RecordStatus::Failed.into(),
        violations: vec![violation],
        ..ApplyOutcome::default()
    }
}
