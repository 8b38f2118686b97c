//! The RPCs of the imports service.

use concord_core::caller::{
    ACCOUNT_HEADER, DEFAULT_ACCOUNT, IMPORT_HEADER, PRACTICE_HEADER, PRODUCT_HEADER, ROLES_HEADER,
};
use concord_proto::pb::internal::{
    ApplyChunkRequest, ApplyChunkResponse, KeepSupportReadRequest, KeepSupportReadResponse,
    ListErasuresRequest, ListErasuresResponse, ResolveLinksRequest, ResolveLinksResponse,
    ResolvedLink, SourceKey, ingest_service_server::IngestService,
};
use tonic::{Request, Response, Status};

use super::{Call, FakeRecords, InjectedFault, store::link_key};

/// The caller: practice, product, account, import.
pub(super) fn caller<T>(request: &Request<T>) -> Result<[String; 4], Status> {
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
        if records.is_empty() {
            let mut all = self.available()?;
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
            let mut all = self.available()?;
            all.known_erasures.extend(known_erasure);
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
        let all = self.available()?;
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
        let all = self.available()?;
        let resolve = |key: SourceKey| {
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
