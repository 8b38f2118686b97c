//! Calls to the records service, as the imports service, on behalf of an import.
//!
//! A fault says whether to send the call again, whether some record of it is to
//! blame, or whether it can only be reported.

use std::{collections::HashMap, error::Error as _, net::IpAddr, time::Duration};

use http::Uri;
use shared::{
    call_id::CallId,
    caller::{
        ACCOUNT_HEADER, Caller, IMPORT_HEADER, PRACTICE_HEADER, PRODUCT_HEADER, ROLES_HEADER,
        USER_HEADER,
    },
    identity::{OnBehalf, ServiceSecret, TOKEN_HEADER},
    ids::{self, IdKind},
    pb::{
        imports::RecordStatus,
        internal::{
            ApplyChunkRequest, ApplyChunkResponse, ApplyDuplicate, ApplyOutcome, ApplyViolation,
            Erasure, KeepSupportReadRequest, ListErasuresRequest, ListErasuresResponse,
            ResolveLinksRequest, ResolvedLink, SourceKey,
            ingest_service_client::IngestServiceClient,
        },
        records::{
            ErrorReason, ListConnectionsRequest, connection_service_client::ConnectionServiceClient,
        },
    },
    reach::{self, Obstacle},
    rules::reason_code,
    security::{ClientTls, InsecureStart, SecuritySettings},
    server::SupportRead,
    telemetry,
    wire::ApplyRecord,
};
use tonic::{
    Code, Request, Status,
    metadata::{AsciiMetadataValue, MetadataMap},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use crate::{
    app::StartError,
    domain::{
        duplicate::{OtherRecord, PossibleDuplicate},
        finding::Finding,
        import::{Import, ImportKey},
        words::{Kind, Severity, Status as RecordVerdict, kind_of, wire_kind},
    },
};

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one call may take; a chunk of 5,000 records takes a second or two.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);
/// How often a silent connection is asked whether it lives.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// A gRPC service that the records service alone has.
const RECORDS_SERVICE: &str = "concord.records.v1.ClientService";
/// The largest answer: 5,000 outcomes with some violations each.
const MAX_ANSWER_BYTES: usize = 32 * 1_024 * 1_024;

/// Keys of one call of `ResolveLinks`.
pub(crate) const MAX_KEYS: usize = 5_000;

/// On whose behalf the calls for an import are made.
pub(crate) fn behalf_of(import: &Import) -> OnBehalf {
    let Import { key: ImportKey { practice, id }, product, account, created_by, .. } = import;
    OnBehalf {
        practice: practice.to_string(),
        product: product.clone(),
        account: account.clone(),
        user: created_by.clone(),
        import: Some(ids::text(IdKind::Import, *id)),
    }
}

/// On whose behalf a call is made that is for no import, or for none yet.
pub(crate) fn behalf_of_caller(caller: &Caller) -> OnBehalf {
    let Caller { practice, product, account, user, .. } = caller;
    OnBehalf {
        practice: practice.to_string(),
        product: product.to_string(),
        account: account.to_string(),
        user: user.clone(),
        import: None,
    }
}

/// How the records service is told who calls.
#[derive(Clone, Debug)]
enum Proof {
    /// By headers: it believes callers on this machine.
    Headers,
    /// By tokens that are signed with the secret of both services.
    Secret(ServiceSecret),
}

/// Why a call was not answered.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the records service answered {code:?} {reason} to the call {}{}", .call.as_ref().map(ToString::to_string).unwrap_or_default(), advice(*.code))]
pub(crate) struct CallFault {
    pub(crate) kind: FaultKind,
    pub(crate) retry_after: Option<Duration>,
    code: Code,
    reason: String,
    /// Which call it was, in the log of the records service.
    call: Option<CallId>,
}

/// What operators can look at.
fn advice(code: Code) -> &'static str {
    match code {
        Code::Unauthenticated => ": is `--service-secret` the same at both services?",
        _ => "",
    }
}

/// What to do about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The service is away or busy: send the call again, later.
    Passing,
    /// Something broke, in the service or on the way: send the call again; if
    /// that does not help, a record may be to blame.
    Unclear,
    /// The service does not take the call as it is: a record is to blame.
    Poison,
    /// No repetition will help: people have to do something.
    Lasting,
    /// A later worker has called: the import is no longer this one's.
    Stale,
}

impl From<Status> for CallFault {
    fn from(status: Status) -> Self {
        let reason = status.get_details_error_info().map(|info| info.reason);
        // A status that a service has sent has no source.
        let broke = || status.source().map(|error| Obstacle::of(error).to_string());
        let reason = reason.or_else(broke).unwrap_or_default();
        let kind = match status.code() {
            Code::Aborted if reason == reason_code(ErrorReason::StaleWorker) => FaultKind::Stale,
            Code::Unavailable
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::DeadlineExceeded
            | Code::Cancelled => FaultKind::Passing,
            Code::Internal | Code::Unknown | Code::DataLoss => FaultKind::Unclear,
            Code::InvalidArgument | Code::OutOfRange => FaultKind::Poison,
            _ => FaultKind::Lasting,
        };
        let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
        Self { kind, retry_after, code: status.code(), reason, call: None }
    }
}

impl CallFault {
    /// Whether the service is away or busy.
    pub(crate) fn is_passing(&self) -> bool {
        self.kind == FaultKind::Passing
    }

    /// An answer that does not fit its question.
    fn malformed(what: &str) -> Self {
        let reason = what.to_owned();
        let kind = FaultKind::Unclear;
        Self { kind, retry_after: None, code: Code::Internal, reason, call: None }
    }

    /// An answer to that call.
    fn to(call: CallId) -> impl FnOnce(Status) -> Self {
        move |status| Self { call: Some(call), ..Self::from(status) }
    }
}

/// How one record ended in the records service.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) status: RecordVerdict,
    pub(crate) record_id: Option<String>,
    /// Why it failed.
    pub(crate) findings: Vec<Finding>,
    /// What it looks like, when it was imported.
    pub(crate) duplicates: Vec<PossibleDuplicate>,
}

/// The fences that distinguish the calls of an import.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fences {
    /// That of the call: higher than those of all calls before it.
    pub(crate) fence: i64,
    /// That of the last call that was answered.
    pub(crate) applied_fence: i64,
}

/// What a chunk came to.
#[derive(Clone, Debug)]
pub(crate) enum Applied {
    /// One for each record, in order.
    Outcomes(Vec<Outcome>),
    /// Nothing was applied: the service has lost what was applied after the call of
    /// this fence.
    Lost {
        /// The fence.
        fence: i64,
    },
}

/// Reaches the records service. Connects when it is first needed, and again
/// after the connection broke.
#[derive(Clone, Debug)]
pub(crate) struct RecordsClient {
    url: Uri,
    channel: Channel,
    proof: Proof,
}

impl RecordsClient {
    /// A client of the service at `url`. It proves itself by the secret when tokens
    /// are checked.
    ///
    /// # Errors
    ///
    /// When the URL is none, or the calls would not be safe.
    pub(crate) fn new(
        url: &str,
        tls: &ClientTls,
        security: &SecuritySettings,
    ) -> Result<Self, StartError> {
        let proof = match (&security.tokens, &security.service_secret) {
            (None, _) => Proof::Headers,
            (Some(_), Some(secret)) => Proof::Secret(secret.clone()),
            (Some(_), None) => return Err(InsecureStart::NoServiceSecret.into()),
        };
        let service_url = reach::service_url(url)?;
        let mut endpoint = Endpoint::from(service_url.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .http2_adaptive_window(true);
        if endpoint.uri().scheme_str() == Some("https") {
            endpoint = endpoint.tls_config(tls.config()?)?;
        } else if matches!(proof, Proof::Secret(_))
            && !security.behind_proxy
            && !is_local(&endpoint)
        {
            return Err(InsecureStart::PlainRecords(url.to_owned()).into());
        }
        Ok(Self { url: service_url, channel: endpoint.connect_lazy(), proof })
    }

    /// Says in the log what keeps from the records service, when it is something that
    /// does not pass: another service at the URL, or TLS at one side alone.
    pub(crate) async fn check(&self) {
        match reach::check(&self.url, self.channel.clone(), Some(RECORDS_SERVICE)).await {
            None | Some(Obstacle::Other(_)) => {}
            Some(obstacle) => tracing::error!(
                url = %self.url,
                %obstacle,
                "the records service cannot be reached: correct --records or --records-ca"
            ),
        }
    }

    /// The products that are connected to the practice; asked in answer to `call`.
    pub(crate) async fn connected_products(
        &self,
        behalf: &OnBehalf,
        call: CallId,
    ) -> Result<Vec<String>, CallFault> {
        let mut client = ConnectionServiceClient::new(self.channel.clone());
        let request = self.request(behalf, &call, ListConnectionsRequest {});
        let answer = client.list_connections(request).await.map_err(CallFault::to(call))?;
        let answer = answer.into_inner();
        Ok(answer.connections.into_iter().map(|connection| connection.product).collect())
    }

    /// Which of some keys are linked; [`MAX_KEYS`] at most.
    pub(crate) async fn resolve(
        &self,
        behalf: &OnBehalf,
        keys: impl IntoIterator<Item = (Kind, String)>,
    ) -> Result<HashMap<(Kind, String), ResolvedLink>, CallFault> {
        let wire = |(kind, source_id): (Kind, String)| SourceKey {
            kind: wire_kind(kind).into(),
            source_id,
        };
        let keys: Vec<_> = keys.into_iter().map(wire).collect();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let call = part_of(behalf);
        let request = self.request(behalf, &call, ResolveLinksRequest { keys });
        let answer = self.ingest().resolve_links(request).await.map_err(CallFault::to(call))?;
        let answer = answer.into_inner();
        let mut links = HashMap::new();
        for link in answer.links {
            let key =
                link.key.as_ref().ok_or_else(|| CallFault::malformed("a link without key"))?;
            links.insert((kind_of(key.kind()), key.source_id.clone()), link);
        }
        Ok(links)
    }

    /// Applies a chunk of records of one kind; an outcome for each, in order. A record
    /// that was erased after the last erasure that is known fails. From now on no call of the import with a lower fence is carried out.
    pub(crate) async fn apply(
        &self,
        behalf: &OnBehalf,
        records: Vec<ApplyRecord>,
        fences: Fences,
        (validate_only, known_erasure): (bool, i64),
    ) -> Result<Applied, CallFault> {
        let (sent, call) = (records.len(), part_of(behalf));
        tracing::debug!(records = sent, call = %call, "a chunk is sent");
        let Fences { fence, applied_fence } = fences;
        let message = ApplyChunkRequest {
            records,
            validate_only,
            fence,
            applied_fence,
            known_erasure: Some(known_erasure),
        };
        let request = self.request(behalf, &call, message);
        let answer = self.ingest().apply_chunk(request).await.map_err(CallFault::to(call))?;
        let ApplyChunkResponse { outcomes, fence_before } = answer.into_inner();
        let before = fence_before.filter(|before| *before < applied_fence && !validate_only);
        if let Some(fence) = before {
            return Ok(Applied::Lost { fence });
        }
        if outcomes.len() != sent {
            return Err(CallFault::malformed("another number of outcomes than of records"));
        }
        let outcomes = outcomes.into_iter().map(outcome).collect::<Result<_, _>>()?;
        Ok(Applied::Outcomes(outcomes))
    }

    /// Sees to it that no call of the import with a lower fence is carried out any
    /// more, wherever it is on its way.
    pub(crate) async fn raise_fence(
        &self,
        behalf: &OnBehalf,
        fences: Fences,
    ) -> Result<Applied, CallFault> {
        self.apply(behalf, Vec::new(), fences, (false, i64::MAX)).await
    }

    /// The erasures of the practice after a position, a page of them, and the last
    /// position.
    pub(crate) async fn erasures(
        &self,
        behalf: &OnBehalf,
        after: i64,
    ) -> Result<(Vec<Erasure>, i64), CallFault> {
        let call = part_of(behalf);
        let request = self.request(behalf, &call, ListErasuresRequest { after });
        match self.ingest().list_erasures(request).await {
            Ok(answer) => {
                let ListErasuresResponse { erasures, head } = answer.into_inner();
                Ok((erasures, head))
            }
            // A replica of the version before: this one asks it again later.
            Err(status) if status.code() == Code::Unimplemented => Ok((Vec::new(), after)),
            Err(status) => Err(CallFault::to(call)(status)),
        }
    }

    /// A request that says on whose behalf it is made, and which call it is.
    fn request<T>(&self, behalf: &OnBehalf, call: &CallId, message: T) -> Request<T> {
        let mut request = Request::new(message);
        call.send_with(request.metadata_mut());
        telemetry::send_trace(request.metadata_mut());
        match &self.proof {
            Proof::Headers => put_headers(request.metadata_mut(), behalf),
            Proof::Secret(secret) => {
                let token = behalf.token(secret).unwrap_or_default();
                put(request.metadata_mut(), TOKEN_HEADER, &format!("Bearer {token}"));
            }
        }
        request
    }

    /// Has it kept what support reads.
    pub(crate) async fn keep_support_read(&self, read: SupportRead) -> Result<(), CallFault> {
        let SupportRead { caller, rpc, record_ids, reason, call } = read;
        let message = KeepSupportReadRequest { rpc, reason, record_ids };
        let request = self.request(&behalf_of_caller(&caller), &call, message);
        self.ingest().keep_support_read(request).await.map_err(CallFault::to(call))?;
        Ok(())
    }

    fn ingest(&self) -> IngestServiceClient<Channel> {
        IngestServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }
}

/// The id of the next call for an import, which names it.
fn part_of(behalf: &OnBehalf) -> CallId {
    behalf.import.as_deref().map(CallId::for_part_of).unwrap_or_default()
}

fn put_headers(metadata: &mut MetadataMap, behalf: &OnBehalf) {
    let OnBehalf { practice, product, account, user, import } = behalf;
    let fields = [
        (PRACTICE_HEADER, practice.as_str()),
        (PRODUCT_HEADER, product),
        (ACCOUNT_HEADER, account),
        (USER_HEADER, user),
        (ROLES_HEADER, "service"),
        (IMPORT_HEADER, import.as_deref().unwrap_or_default()),
    ];
    for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
        put(metadata, name, value);
    }
}

/// All values came in as metadata, or are made of such: they fit in there again.
fn put(metadata: &mut MetadataMap, name: &'static str, value: &str) {
    if let Ok(value) = AsciiMetadataValue::try_from(value) {
        metadata.insert(name, value);
    }
}

/// Whether the service is on this machine, as far as its address says.
fn is_local(endpoint: &Endpoint) -> bool {
    let host = endpoint.uri().host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn outcome(wire: ApplyOutcome) -> Result<Outcome, CallFault> {
    let status = match wire.status() {
        RecordStatus::Imported => RecordVerdict::Imported,
        RecordStatus::Linked => RecordVerdict::Linked,
        RecordStatus::Skipped => RecordVerdict::Skipped,
        RecordStatus::Failed => RecordVerdict::Failed,
        _ => return Err(CallFault::malformed("an outcome without a verdict")),
    };
    let failed = status == RecordVerdict::Failed;
    if failed == wire.violations.is_empty() || failed != wire.record_id.is_empty() {
        return Err(CallFault::malformed("an outcome that contradicts itself"));
    }
    let record_id = (!wire.record_id.is_empty()).then_some(wire.record_id);
    let finding = |ApplyViolation { field, reason, text }| Finding {
        field,
        reason,
        text,
        root_cause: String::new(),
        severity: Severity::Error,
    };
    let findings = wire.violations.into_iter().map(finding).collect();
    let duplicates = wire.possible_duplicates.into_iter().map(duplicate).collect();
    Ok(Outcome { status, record_id, findings, duplicates })
}

fn duplicate(wire: ApplyDuplicate) -> PossibleDuplicate {
    let ApplyDuplicate { field, record_id, name, client_reference: reference, source_id } = wire;
    let is_client = ids::parse(IdKind::Client, &record_id).is_some();
    let kind = if is_client { Kind::Client } else { Kind::Contact };
    PossibleDuplicate { field, other: OtherRecord { kind, record_id, source_id, name, reference } }
}
