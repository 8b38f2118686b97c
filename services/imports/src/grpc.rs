//! The RPCs of the service: each parses the request, calls the
//! [`service`](crate::service), and encodes the response.

mod encode;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod page_size;
mod parse;

use std::pin::Pin;

use concord_core::{call_id::CallId, caller::Caller};
use concord_proto::pb::imports::{
    CancelImportRequest, CancelImportResponse, CommitImportRequest, CommitImportResponse,
    CreateImportRequest, CreateImportResponse, DownloadFailuresRequest, DownloadFailuresResponse,
    GetBatchRequest, GetBatchResponse, GetImportRequest, GetImportResponse, ListFailuresRequest,
    ListFailuresResponse, ListImportsRequest, ListImportsResponse, ListPossibleDuplicatesRequest,
    ListPossibleDuplicatesResponse, RetryImportRequest, RetryImportResponse, SealImportRequest,
    SealImportResponse, UploadBatchRequest, UploadBatchResponse, WatchImportRequest,
    WatchImportResponse, import_service_server::ImportService,
};
use concord_server::with_record_ids;
use futures::{Stream, StreamExt as _};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Extensions, Request, Response, Status, Streaming};

use crate::service::Imports;

/// `concord.imports.v1.ImportService`.
#[derive(Clone, Debug)]
pub(crate) struct ImportsApi(pub(crate) Imports);

impl ImportsApi {
    /// Authenticates the caller, and checks that its product is connected to the
    /// practice.
    async fn caller(&self, extensions: &Extensions) -> Result<Caller, Status> {
        let caller = Caller::of(extensions)?;
        self.0.check_connected(&caller, CallId::of(extensions)).await?;
        Ok(caller)
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ImportService for ImportsApi {
    async fn create_import(
        &self,
        request: Request<CreateImportRequest>,
    ) -> Result<Response<CreateImportResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let wanted = parse::new_import(request.into_inner())?;
        let view = self.0.create(&caller, wanted).await?;
        Ok(Response::new(CreateImportResponse { import_job: Some(encode::import(&view)) }))
    }

    async fn upload_batch(
        &self,
        request: Request<Streaming<UploadBatchRequest>>,
    ) -> Result<Response<UploadBatchResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let messages = request.into_inner().map(parse::message);
        let uploaded = self.0.upload(&caller, messages).await?;
        Ok(Response::new(encode::uploaded(uploaded)))
    }

    async fn seal_import(
        &self,
        request: Request<SealImportRequest>,
    ) -> Result<Response<SealImportResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let (id, seal_counts) = parse::seal_counts(&request.into_inner())?;
        let view = self.0.seal(&caller, id, seal_counts).await?;
        Ok(Response::new(SealImportResponse { import_job: Some(encode::import(&view)) }))
    }

    async fn get_batch(
        &self,
        request: Request<GetBatchRequest>,
    ) -> Result<Response<GetBatchResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let GetBatchRequest { import_id, batch_key } = request.into_inner();
        let id = parse::import_id("import_id", &import_id)?;
        let batch_key = parse::batch_key("batch_key", &batch_key)?;
        let receipt = self.0.batch(&caller, id, &batch_key).await?;
        let receipt = Some(encode::receipt(receipt));
        Ok(with_record_ids(GetBatchResponse { receipt }, [encode::import_id(id)]))
    }

    async fn commit_import(
        &self,
        request: Request<CommitImportRequest>,
    ) -> Result<Response<CommitImportResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let id = parse::import_id("import_id", &request.into_inner().import_id)?;
        let view = self.0.commit(&caller, id).await?;
        Ok(Response::new(CommitImportResponse { import_job: Some(encode::import(&view)) }))
    }

    async fn retry_import(
        &self,
        request: Request<RetryImportRequest>,
    ) -> Result<Response<RetryImportResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let (id, retry) = parse::retry(&request.into_inner())?;
        let view = self.0.retry(&caller, id, retry).await?;
        Ok(Response::new(RetryImportResponse { import_job: Some(encode::import(&view)) }))
    }

    async fn cancel_import(
        &self,
        request: Request<CancelImportRequest>,
    ) -> Result<Response<CancelImportResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let id = parse::import_id("import_id", &request.into_inner().import_id)?;
        let view = self.0.cancel(&caller, id).await?;
        Ok(Response::new(CancelImportResponse { import_job: Some(encode::import(&view)) }))
    }

    async fn list_imports(
        &self,
        request: Request<ListImportsRequest>,
    ) -> Result<Response<ListImportsResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let asked = parse::list(request.into_inner())?;
        let page = self.0.list(&caller, &asked.filter, asked.size, &asked.token).await?;
        let answer = encode::imports(page);
        let ids: Vec<String> = answer.imports.iter().map(|import| import.id.clone()).collect();
        Ok(with_record_ids(answer, ids))
    }

    async fn get_import(
        &self,
        request: Request<GetImportRequest>,
    ) -> Result<Response<GetImportResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let id = parse::import_id("import_id", &request.into_inner().import_id)?;
        let import = Some(encode::import(&self.0.get(&caller, id).await?));
        Ok(with_record_ids(GetImportResponse { import_job: import }, [encode::import_id(id)]))
    }

    type WatchImportStream = Answers<WatchImportResponse>;

    async fn watch_import(
        &self,
        request: Request<WatchImportRequest>,
    ) -> Result<Response<Self::WatchImportStream>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let id = parse::import_id("import_id", &request.into_inner().import_id)?;
        let progress = ReceiverStream::new(self.0.watch(&caller, id).await?);
        let answers: Self::WatchImportStream =
            Box::pin(progress.map(|update| Ok(encode::progress(&update?))));
        Ok(with_record_ids(answers, [encode::import_id(id)]))
    }

    async fn list_failures(
        &self,
        request: Request<ListFailuresRequest>,
    ) -> Result<Response<ListFailuresResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let asked = parse::failures(request.into_inner())?;
        let page = self.0.failures(&caller, asked.id, &asked.filter, asked.size, &asked.token);
        Ok(with_record_ids(encode::failures(page.await?), [encode::import_id(asked.id)]))
    }

    type DownloadFailuresStream = Answers<DownloadFailuresResponse>;

    async fn download_failures(
        &self,
        request: Request<DownloadFailuresRequest>,
    ) -> Result<Response<Self::DownloadFailuresStream>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let (id, format) = parse::download(&request.into_inner())?;
        let chunks = self.0.download(&caller, id, format).await?;
        let answers = chunks.map(|data| Ok(DownloadFailuresResponse { data: data? }));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn list_possible_duplicates(
        &self,
        request: Request<ListPossibleDuplicatesRequest>,
    ) -> Result<Response<ListPossibleDuplicatesResponse>, Status> {
        let caller = self.caller(request.extensions()).await?;
        let asked = parse::duplicates(request.into_inner())?;
        let parse::ListDuplicatesArgs { id, kind, size, token } = asked;
        let page = self.0.possible_duplicates(&caller, id, kind, size, &token).await?;
        Ok(with_record_ids(encode::duplicates(page), [encode::import_id(id)]))
    }
}
