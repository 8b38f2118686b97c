//! `SupportService`.

use concord_core::{caller::Caller, page::page_size, status::ApiError};
use concord_proto::{
    pb::records::{
        ErrorReason, GetRecordSummaryRequest, GetRecordSummaryResponse, ListAuditEntriesRequest,
        ListAuditEntriesResponse, ListSupportReadsRequest, ListSupportReadsResponse,
        PurgeNowRequest, PurgeNowResponse, RecordKind, SearchRecordsRequest, SearchRecordsResponse,
        TraceChangeRequest, TraceChangeResponse, support_service_server::SupportService,
    },
    rpc::Rpc,
};
use concord_server::with_record_ids;
use tonic::{Request, Response, Status};

use super::{Api, parse};
use crate::service::{
    reading::PageRequest,
    request_context::RequestContext,
    support::SearchCommand,
    trace::{TraceCommand, Traced},
};

/// Maximum length of a query, in characters.
pub(super) const MAX_QUERY: usize = 300;

/// Maximum number of changes of a record that one call traces.
pub(super) const MAX_TRACED: i32 = 20;

#[tonic::async_trait]
impl SupportService for Api {
    async fn search_records(
        &self,
        request: Request<SearchRecordsRequest>,
    ) -> Result<Response<SearchRecordsResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let page =
            PageRequest { size: page_size(request.page_size)?, token: request.page_token.clone() };
        let command = command(request)?;
        let answer = self.records.search(&caller, command, page).await?;
        let found: Vec<String> = answer.results.iter().map(|one| one.record_id.clone()).collect();
        Ok(with_record_ids(answer, found))
    }

    async fn get_record_summary(
        &self,
        request: Request<GetRecordSummaryRequest>,
    ) -> Result<Response<GetRecordSummaryResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let record = request.into_inner().record;
        let summary = self.records.summary(&caller, &record).await?;
        let client = summary.client.as_ref().map(|client| client.id.clone());
        let person = summary.person.as_ref().map(|person| person.id.clone());
        Ok(with_record_ids(summary, client.into_iter().chain(person)))
    }

    async fn list_audit_entries(
        &self,
        request: Request<ListAuditEntriesRequest>,
    ) -> Result<Response<ListAuditEntriesResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let page = PageRequest { size: page_size(request.page_size)?, token: request.page_token };
        let (entries, next_page_token) = self.records.audit(&caller, &request.record, page).await?;
        let mut records: Vec<String> =
            entries.iter().map(|entry| entry.record_id.clone()).collect();
        records.sort_unstable();
        records.dedup();
        Ok(with_record_ids(ListAuditEntriesResponse { entries, next_page_token }, records))
    }

    async fn list_support_reads(
        &self,
        request: Request<ListSupportReadsRequest>,
    ) -> Result<Response<ListSupportReadsResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let page = PageRequest { size: page_size(request.page_size)?, token: request.page_token };
        let (reads, next_page_token) = self.records.access_log(&caller, page).await?;
        Ok(Response::new(ListSupportReadsResponse { reads, next_page_token }))
    }

    async fn trace_change(
        &self,
        request: Request<TraceChangeRequest>,
    ) -> Result<Response<TraceChangeResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let command = trace_command(request.into_inner())?;
        let trace = self.records.trace(&caller, command).await?;
        let mut records: Vec<String> =
            trace.changes.iter().map(|change| change.record_id.clone()).collect();
        records.dedup();
        Ok(with_record_ids(trace, records))
    }

    async fn purge_now(
        &self,
        request: Request<PurgeNowRequest>,
    ) -> Result<Response<PurgeNowResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let context =
            RequestContext::parse(Rpc::SupportPurgeNow, &request, &request.request_id, false)?
                .with_reason(parse::reason(&request.reason)?);
        Ok(Response::new(self.records.purge_now(caller, context, request.record).await?))
    }
}

fn command(request: SearchRecordsRequest) -> Result<SearchCommand, ApiError> {
    let kind = match RecordKind::try_from(request.record_kind) {
        Ok(RecordKind::Unspecified) => None,
        Ok(kind @ (RecordKind::Client | RecordKind::Person)) => Some(kind),
        Ok(RecordKind::Contact) | Err(_) => {
            let text = "is not known; use CLIENT or PERSON";
            return Err(ApiError::invalid_field("record_kind", ErrorReason::UnknownValue, text));
        }
    };
    if request.query.chars().count() > MAX_QUERY {
        let text = format!("at most {MAX_QUERY} characters");
        return Err(ApiError::invalid_field("query", ErrorReason::ValueTooLong, text));
    }
    Ok(SearchCommand { query: request.query, kind, show_orphaned: request.show_orphaned })
}

fn trace_command(request: TraceChangeRequest) -> Result<TraceCommand, ApiError> {
    let TraceChangeRequest { change, record, max_changes, product } = request;
    let wrong = |field: &str, reason, text: &str| Err(ApiError::invalid_field(field, reason, text));
    let what = match (change.as_str(), record.as_str()) {
        ("", "") => {
            let text = "give a change, or a record to trace its last changes";
            return wrong("change", ErrorReason::RequiredFieldBlank, text);
        }
        (_, "") => Traced::Change(change),
        ("", _) => {
            let max_changes = match max_changes {
                0 => 1,
                1..=MAX_TRACED => max_changes.unsigned_abs().into(),
                _ => {
                    let text = "must be 1 to 20; leave it out for the last change alone";
                    return wrong("max_changes", ErrorReason::UnknownValue, text);
                }
            };
            Traced::Record { name: record, max_changes }
        }
        (_, _) => {
            let text = "give either a change or a record";
            return wrong("record", ErrorReason::FieldNotApplicable, text);
        }
    };
    Ok(TraceCommand { what, product: parse::product(&product)? })
}
