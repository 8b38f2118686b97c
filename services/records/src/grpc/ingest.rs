//! `IngestService`: for the imports service only.

use shared::{
    call_id::CallId,
    caller::Caller,
    pb::internal::{
        ApplyChunkRequest, ApplyChunkResponse, KeepSupportReadRequest, KeepSupportReadResponse,
        ResolveLinksRequest, ResolveLinksResponse, ingest_service_server::IngestService,
    },
    server::SupportRead,
};
use tonic::{Request, Response, Status};

use super::Api;

#[tonic::async_trait]
impl IngestService for Api {
    async fn apply_chunk(
        &self,
        request: Request<ApplyChunkRequest>,
    ) -> Result<Response<ApplyChunkResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let ApplyChunkRequest { records, validate_only, fence } = request.into_inner();
        let outcomes = self.records.apply_chunk(caller, records, fence, validate_only).await?;
        Ok(Response::new(ApplyChunkResponse { outcomes }))
    }

    async fn keep_support_read(
        &self,
        request: Request<KeepSupportReadRequest>,
    ) -> Result<Response<KeepSupportReadResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let call = CallId::of(request.extensions());
        let KeepSupportReadRequest { rpc, reason } = request.into_inner();
        self.records.keep_read(SupportRead { caller, rpc, reason, call }).await?;
        Ok(Response::new(KeepSupportReadResponse {}))
    }

    async fn resolve_links(
        &self,
        request: Request<ResolveLinksRequest>,
    ) -> Result<Response<ResolveLinksResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let links = self.records.resolve_links(&caller, &request.into_inner().keys).await?;
        Ok(Response::new(ResolveLinksResponse { links }))
    }
}
