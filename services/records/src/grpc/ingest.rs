//! `IngestService`, which only the imports service calls.

use concord_core::{
    call_id::CallId,
    caller::Caller,
    rules::text::{check_characters, too_many},
    status::ApiError,
};
use concord_proto::pb::{
    internal::{
        ApplyChunkRequest, ApplyChunkResponse, KeepSupportReadRequest, KeepSupportReadResponse,
        ListErasuresRequest, ListErasuresResponse, ResolveLinksRequest, ResolveLinksResponse,
        ingest_service_server::IngestService,
    },
    records::ErrorReason,
};
use concord_server::{MAX_RECORDS, SupportAccess};
use tonic::{Request, Response, Status};

use super::{Api, parse};

#[tonic::async_trait]
impl IngestService for Api {
    async fn apply_chunk(
        &self,
        request: Request<ApplyChunkRequest>,
    ) -> Result<Response<ApplyChunkResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let answer = self.records.apply_chunk(caller, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn keep_support_read(
        &self,
        request: Request<KeepSupportReadRequest>,
    ) -> Result<Response<KeepSupportReadResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let call = CallId::of(request.extensions());
        let KeepSupportReadRequest { rpc, reason, record_ids } = request.into_inner();
        if record_ids.len() > MAX_RECORDS {
            let many = too_many("Records", record_ids.len(), MAX_RECORDS);
            return Err(ApiError::invalid(vec![many.at("record_ids")]).into());
        }
        // The RPC and the ids are stored as one text, separated by spaces.
        for (field, text) in record_ids.iter().map(|id| ("record_ids", id)).chain([("rpc", &rpc)]) {
            storable(field, text)?;
            if text.contains(char::is_whitespace) {
                let what = "has white space";
                let refusal = ApiError::invalid_field(field, ErrorReason::InvalidCharacter, what);
                return Err(refusal.into());
            }
        }
        let reason = parse::reason(&reason)?;
        let access = SupportAccess { caller, rpc, record_ids, reason, call };
        self.records.log_access(access).await?;
        Ok(Response::new(KeepSupportReadResponse {}))
    }

    async fn list_erasures(
        &self,
        request: Request<ListErasuresRequest>,
    ) -> Result<Response<ListErasuresResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let answer = self.records.list_erasures(&caller, request.into_inner().after).await?;
        Ok(Response::new(answer))
    }

    async fn resolve_links(
        &self,
        request: Request<ResolveLinksRequest>,
    ) -> Result<Response<ResolveLinksResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let keys = request.into_inner().keys;
        keys.iter().try_for_each(|key| storable("keys", &key.source_id))?;
        let links = self.records.resolve_links(&caller, &keys).await?;
        Ok(Response::new(ResolveLinksResponse { links }))
    }
}

/// Checks that a text can be stored: PostgreSQL rejects some control characters.
fn storable(field: &str, text: &str) -> Result<(), ApiError> {
    let checked = check_characters("The text", text);
    checked.map_err(|problem| ApiError::invalid(vec![problem.at(field)]))
}
