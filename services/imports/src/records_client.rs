//! Client of the records service. The imports service calls it on behalf of the creator
//! of an import.
//!
//! An error says whether to retry the call, whether a record of the request is invalid,
//! or whether the error is permanent.

use std::{collections::HashMap, error::Error as _, net::IpAddr, time::Duration};

use concord_core::{
    call_id::CallId,
    caller::{
        ACCOUNT_HEADER, Caller, IMPORT_HEADER, PRACTICE_HEADER, PRODUCT_HEADER, ROLES_HEADER,
        USER_HEADER,
    },
    ids::{self, IdKind},
    rules::reason_code,
};
use concord_proto::{
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
    wire::ApplyRecord,
};
use concord_server::{
    SupportAccess,
    identity::{OnBehalf, ServiceSecret, TOKEN_HEADER},
    reach::{self, ConnectFailure},
    security::{ClientTls, InsecureStart, SecuritySettings},
    telemetry,
};
use http::Uri;
use tonic::{
    Code, Request, Status,
    metadata::{AsciiMetadataValue, MetadataMap},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use crate::{
    domain::{
        duplicate::{OtherRecord, PossibleDuplicate},
        enums::{Kind, Severity, Status as RecordVerdict, kind_of, wire_kind},
        import::{Import, ImportKey},
        issue::RecordIssue,
    },
    error::StartError,
};

/// Timeout for establishing a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout of one call; a chunk of 5,000 records takes 1 to 2 s.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);
/// Interval of the keepalive pings of an idle connection.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// A gRPC service that only the records service provides.
const RECORDS_SERVICE: &str = "concord.records.v1.ClientService";
/// Limit on the size of a response: 5,000 outcomes with several violations each.
const MAX_ANSWER_BYTES: usize = 32 * 1_024 * 1_024;

/// Maximum number of keys per call of `ResolveLinks`.
pub(crate) const MAX_KEYS: usize = 5_000;

/// The identity for the calls of an import: its practice, product, account and creator.
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

/// The identity for calls that belong to no import.
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

/// How the service authenticates to the records service.
#[derive(Clone, Debug)]
enum Credentials {
    /// By headers: the records service trusts callers on the same machine.
    Headers,
    /// By tokens signed with the secret that both services share.
    Secret(ServiceSecret),
}

/// Why a call to the records service failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the records service answered {code:?} {reason} to the call {}{}", .call.as_ref().map(ToString::to_string).unwrap_or_default(), hint(*.code))]
pub(crate) struct CallError {
    pub(crate) kind: CallErrorKind,
    pub(crate) retry_after: Option<Duration>,
    code: Code,
    reason: String,
    /// The id of the call, as in the log of the records service.
    call: Option<CallId>,
}

/// What an operator can check.
fn hint(code: Code) -> &'static str {
    match code {
        Code::Unauthenticated => ": is `--service-secret` the same at both services?",
        _ => "",
    }
}

/// The class of an error, which determines the reaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallErrorKind {
    /// The service is unavailable or overloaded: retry later, with backoff.
    Transient,
    /// An error in the service or on the way to it: retry; if it persists, a record of
    /// the request may cause it.
    Unknown,
    /// The service rejects the request as invalid: one of its records causes it.
    InvalidRecord,
    /// A retry does not help: a person must act.
    Permanent,
    /// The fencing token is stale: a later call of the import was made, so another
    /// worker owns it.
    Fenced,
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        let reason = status.get_details_error_info().map(|info| info.reason);
        // A status that the server sent has no source.
        let broke = || status.source().map(|error| ConnectFailure::of(error).to_string());
        let reason = reason.or_else(broke).unwrap_or_default();
        let kind = match status.code() {
            Code::Aborted if reason == reason_code(ErrorReason::StaleWorker) => {
                CallErrorKind::Fenced
            }
            Code::Unavailable
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::DeadlineExceeded
            | Code::Cancelled => CallErrorKind::Transient,
            Code::Internal | Code::Unknown | Code::DataLoss => CallErrorKind::Unknown,
            Code::InvalidArgument | Code::OutOfRange => CallErrorKind::InvalidRecord,
            _ => CallErrorKind::Permanent,
        };
        let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
        Self { kind, retry_after, code: status.code(), reason, call: None }
    }
}

impl CallError {
    /// Whether the service is unavailable or overloaded.
    pub(crate) fn is_transient(&self) -> bool {
        self.kind == CallErrorKind::Transient
    }

    /// The response does not match the request.
    fn malformed(what: &str) -> Self {
        let reason = what.to_owned();
        let kind = CallErrorKind::Unknown;
        Self { kind, retry_after: None, code: Code::Internal, reason, call: None }
    }

    /// Adds the call id to the error.
    fn for_call(call: CallId) -> impl FnOnce(Status) -> Self {
        move |status| Self { call: Some(call), ..Self::from(status) }
    }
}

/// The outcome of one record in the records service.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) status: RecordVerdict,
    pub(crate) record_id: Option<String>,
    /// The violations, if it failed.
    pub(crate) issues: Vec<RecordIssue>,
    /// Its possible duplicates, if it was imported.
    pub(crate) duplicates: Vec<PossibleDuplicate>,
}

/// The fencing tokens of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fences {
    /// The fence of this call: higher than those of all earlier calls.
    pub(crate) fence: i64,
    /// The fence of the last call that was answered.
    pub(crate) applied_fence: i64,
}

/// How a chunk is applied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ApplyOptions {
    /// Whether the call is a dry run, which the records service rolls back.
    pub(crate) validate_only: bool,
    /// The last erasure for which the import was scanned. Records that were erased after it
    /// fail.
    pub(crate) known_erasure: i64,
}

/// The result of applying a chunk.
#[derive(Clone, Debug)]
pub(crate) enum Applied {
    /// One outcome per record, in order.
    Outcomes(Vec<Outcome>),
    /// Nothing was applied: the database of the records service has lost the changes
    /// after the call with this fence.
    Lost {
        /// The highest fence that the records service has.
        fence: i64,
    },
}

/// Client of the records service. It connects at the first call, and reconnects after a
/// connection error.
#[derive(Clone, Debug)]
pub(crate) struct RecordsClient {
    url: Uri,
    channel: Channel,
    credentials: Credentials,
}

impl RecordsClient {
    /// Creates a client of the service at `url`. It authenticates with the shared
    /// secret if tokens are checked.
    ///
    /// # Errors
    ///
    /// If the URL is invalid, or the configuration is insecure.
    pub(crate) fn new(
        url: &str,
        tls: &ClientTls,
        security: &SecuritySettings,
    ) -> Result<Self, StartError> {
        let credentials = match (&security.tokens, &security.service_secret) {
            (None, _) => Credentials::Headers,
            (Some(_), Some(secret)) => Credentials::Secret(secret.clone()),
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
        } else if matches!(credentials, Credentials::Secret(_))
            && !security.behind_proxy
            && !is_local(&endpoint)
        {
            return Err(InsecureStart::PlainRecords(url.to_owned()).into());
        }
        Ok(Self { url: service_url, channel: endpoint.connect_lazy(), credentials })
    }

    /// Logs an error if the records service is unreachable for a reason that does not
    /// resolve itself: another service at the URL, or TLS on one side only.
    pub(crate) async fn check(&self) {
        match reach::check(&self.url, self.channel.clone(), Some(RECORDS_SERVICE)).await {
            None | Some(ConnectFailure::Other(_)) => {}
            Some(obstacle) => tracing::error!(
                url = %self.url,
                %obstacle,
                "the records service cannot be reached: correct --records or --records-ca"
            ),
        }
    }

    /// The products that are connected to the practice; requested while handling
    /// `call`.
    pub(crate) async fn connected_products(
        &self,
        behalf: &OnBehalf,
        call: CallId,
    ) -> Result<Vec<String>, CallError> {
        let mut client = ConnectionServiceClient::new(self.channel.clone());
        let request = self.request(behalf, &call, ListConnectionsRequest {});
        let answer = client.list_connections(request).await.map_err(CallError::for_call(call))?;
        let answer = answer.into_inner();
        Ok(answer.connections.into_iter().map(|connection| connection.product).collect())
    }

    /// Resolves keys to links; [`MAX_KEYS`] keys at most.
    pub(crate) async fn resolve(
        &self,
        behalf: &OnBehalf,
        keys: impl IntoIterator<Item = (Kind, String)>,
    ) -> Result<HashMap<(Kind, String), ResolvedLink>, CallError> {
        let wire = |(kind, source_id): (Kind, String)| SourceKey {
            kind: wire_kind(kind).into(),
            source_id,
        };
        let keys: Vec<_> = keys.into_iter().map(wire).collect();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let call = new_call_id(behalf);
        let request = self.request(behalf, &call, ResolveLinksRequest { keys });
        let answer =
            self.ingest().resolve_links(request).await.map_err(CallError::for_call(call))?;
        let answer = answer.into_inner();
        let mut links = HashMap::new();
        for link in answer.links {
            let key =
                link.key.as_ref().ok_or_else(|| CallError::malformed("a link without key"))?;
            links.insert((kind_of(key.kind()), key.source_id.clone()), link);
        }
        Ok(links)
    }

    /// Applies a chunk of records of one kind; the outcomes are in the order of the
    /// records. The call is idempotent: a chunk that is sent again gets the same
    /// outcomes. Afterwards the records service rejects calls of the import with a lower
    /// fence.
    pub(crate) async fn apply(
        &self,
        behalf: &OnBehalf,
        records: Vec<ApplyRecord>,
        fences: Fences,
        options: ApplyOptions,
    ) -> Result<Applied, CallError> {
        let (sent, call) = (records.len(), new_call_id(behalf));
        tracing::debug!(records = sent, call = %call, "chunk sent");
        let Fences { fence, applied_fence } = fences;
        let ApplyOptions { validate_only, known_erasure } = options;
        let message = ApplyChunkRequest {
            records,
            validate_only,
            fence,
            applied_fence,
            known_erasure: Some(known_erasure),
        };
        let request = self.request(behalf, &call, message);
        let answer = self.ingest().apply_chunk(request).await.map_err(CallError::for_call(call))?;
        let ApplyChunkResponse { outcomes, fence_before } = answer.into_inner();
        let before = fence_before.filter(|before| *before < applied_fence && !validate_only);
        if let Some(fence) = before {
            return Ok(Applied::Lost { fence });
        }
        if outcomes.len() != sent {
            return Err(CallError::malformed(
                "the number of outcomes differs from the number of records",
            ));
        }
        let outcomes = outcomes.into_iter().map(outcome).collect::<Result<_, _>>()?;
        Ok(Applied::Outcomes(outcomes))
    }

    /// Raises the fence without applying anything, so that the records service rejects
    /// delayed calls of the import with a lower fence.
    pub(crate) async fn raise_fence(
        &self,
        behalf: &OnBehalf,
        fences: Fences,
    ) -> Result<Applied, CallError> {
        let options = ApplyOptions { validate_only: false, known_erasure: i64::MAX };
        self.apply(behalf, Vec::new(), fences, options).await
    }

    /// One page of the erasures of the practice after a position, and the position of
    /// the last erasure.
    pub(crate) async fn erasures(
        &self,
        behalf: &OnBehalf,
        after: i64,
    ) -> Result<(Vec<Erasure>, i64), CallError> {
        let call = new_call_id(behalf);
        let request = self.request(behalf, &call, ListErasuresRequest { after });
        match self.ingest().list_erasures(request).await {
            Ok(answer) => {
                let ListErasuresResponse { erasures, head } = answer.into_inner();
                Ok((erasures, head))
            }
            // A replica of the previous version: a later call asks again.
            Err(status) if status.code() == Code::Unimplemented => Ok((Vec::new(), after)),
            Err(status) => Err(CallError::for_call(call)(status)),
        }
    }

    /// Builds a request with the identity and the call id.
    fn request<T>(&self, behalf: &OnBehalf, call: &CallId, message: T) -> Request<T> {
        let mut request = Request::new(message);
        call.send_with(request.metadata_mut());
        telemetry::send_trace(request.metadata_mut());
        match &self.credentials {
            Credentials::Headers => put_headers(request.metadata_mut(), behalf),
            Credentials::Secret(secret) => {
                let token = behalf.token(secret).unwrap_or_default();
                put(request.metadata_mut(), TOKEN_HEADER, &format!("Bearer {token}"));
            }
        }
        request
    }

    /// Writes an entry to the support access log.
    pub(crate) async fn keep_support_read(&self, read: SupportAccess) -> Result<(), CallError> {
        let SupportAccess { caller, rpc, record_ids, reason, call } = read;
        let message = KeepSupportReadRequest { rpc, reason, record_ids };
        let request = self.request(&behalf_of_caller(&caller), &call, message);
        self.ingest().keep_support_read(request).await.map_err(CallError::for_call(call))?;
        Ok(())
    }

    fn ingest(&self) -> IngestServiceClient<Channel> {
        IngestServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }
}

/// A new call id, derived from the import.
fn new_call_id(behalf: &OnBehalf) -> CallId {
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

/// The values come from metadata, or are built from it, so they are valid metadata
/// values.
fn put(metadata: &mut MetadataMap, name: &'static str, value: &str) {
    if let Ok(value) = AsciiMetadataValue::try_from(value) {
        metadata.insert(name, value);
    }
}

/// Whether the address of the service is a loopback address.
fn is_local(endpoint: &Endpoint) -> bool {
    let host = endpoint.uri().host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn outcome(wire: ApplyOutcome) -> Result<Outcome, CallError> {
    let status = match wire.status() {
        RecordStatus::Imported => RecordVerdict::Imported,
        RecordStatus::Linked => RecordVerdict::Linked,
        RecordStatus::Skipped => RecordVerdict::Skipped,
        RecordStatus::Failed => RecordVerdict::Failed,
        _ => return Err(CallError::malformed("an outcome without a verdict")),
    };
    let failed = status == RecordVerdict::Failed;
    if failed == wire.violations.is_empty() || failed != wire.record_id.is_empty() {
        return Err(CallError::malformed("an inconsistent outcome"));
    }
    let record_id = (!wire.record_id.is_empty()).then_some(wire.record_id);
    let issue = |ApplyViolation { field, reason, text }| RecordIssue {
        field,
        reason,
        text,
        root_cause: String::new(),
        severity: Severity::Error,
    };
    let issues = wire.violations.into_iter().map(issue).collect();
    let duplicates = wire.possible_duplicates.into_iter().map(duplicate).collect();
    Ok(Outcome { status, record_id, issues, duplicates })
}

fn duplicate(wire: ApplyDuplicate) -> PossibleDuplicate {
    let ApplyDuplicate { field, record_id, name, client_reference: reference, source_id } = wire;
    let is_client = ids::parse(IdKind::Client, &record_id).is_some();
    let kind = if is_client { Kind::Client } else { Kind::Contact };
    PossibleDuplicate { field, other: OtherRecord { kind, record_id, source_id, name, reference } }
}
