//! Both services, with helpers for every call of an import.

use std::time::Duration;

use crate::TestDb;
use concord_proto::{
    pb::{
        imports::{
            BatchCommit, BatchHeader, CancelImportRequest, CommitImportRequest,
            CreateImportRequest, Failure, GetImportRequest, Import, ListFailuresRequest,
            RetryImportRequest, SealImportRequest, UploadBatchRequest, WatchImportRequest,
            upload_batch_request::Part,
        },
        records::ListClientsRequest,
    },
    wire::BatchFrame,
};
use tonic::Status;

use super::{
    caller::Caller,
    servers::{self, Running},
};

/// Both services over the databases of a test.
pub struct Pair {
    pub records: Running,
    pub imports: Running,
    pub manager: Caller,
    pub caller: Caller,
}

impl Pair {
    /// Starts both services.
    pub async fn start(db: &TestDb) -> Self {
        Self::start_with(db, |_| {}).await
    }

    /// Starts both services, the imports service with other settings.
    pub async fn start_with(db: &TestDb, set: impl FnOnce(&mut imports::ImportsConfig)) -> Self {
        let records = servers::records(db.settings()).await;
        let imports = servers::imports_with(db.sibling("imports"), &records.url, set).await;
        let manager = Caller::owner(records.channel().await, "p1", "manager").connect().await;
        let caller = Caller::owner(imports.channel().await, "p1", "manager");
        Self { records, imports, manager, caller }
    }

    /// Creates an import and returns its id.
    pub async fn create(&self, request: CreateImportRequest) -> String {
        let created = self.caller.imports().create_import(request).await.unwrap();
        created.into_inner().import_job.unwrap().id
    }

    /// Uploads a batch.
    pub async fn upload(&self, id: &str, key: &str, records: &[Vec<u8>]) {
        self.try_upload(id, key, records).await.unwrap();
    }

    /// Uploads a batch and returns the outcome.
    pub async fn try_upload(&self, id: &str, key: &str, records: &[Vec<u8>]) -> Result<(), Status> {
        let header =
            BatchHeader { import_id: id.into(), batch_key: key.into(), ..BatchHeader::default() };
        let frames = records.chunks(100).map(|chunk| {
            let records = chunk.iter().map(|record| record.clone().into()).collect();
            Part::Frame(BatchFrame { records })
        });
        let mut parts = vec![Part::Header(header)];
        parts.extend(frames);
        parts.push(Part::Commit(BatchCommit::default()));
        let parts = parts.into_iter().map(|part| UploadBatchRequest { part: Some(part) });
        self.caller.imports().upload_batch(futures::stream::iter(parts)).await.map(drop)
    }

    /// Seals an import.
    pub async fn seal(&self, id: &str, batches: i32, records: usize) {
        self.try_seal(id, batches, records).await.unwrap();
    }

    /// Seals an import and returns the outcome.
    pub async fn try_seal(&self, id: &str, batches: i32, records: usize) -> Result<Import, Status> {
        let request = SealImportRequest {
            import_id: id.into(),
            batch_count: batches,
            record_count: i64::try_from(records).unwrap(),
            ..SealImportRequest::default()
        };
        Ok(self.caller.imports().seal_import(request).await?.into_inner().import_job.unwrap())
    }

    /// Imports records in one batch and waits for the end.
    pub async fn import(&self, request: CreateImportRequest, records: &[Vec<u8>]) -> Import {
        let id = self.create(request).await;
        self.upload(&id, "one", records).await;
        self.seal(&id, 1, records.len()).await;
        self.end(&id).await
    }

    /// Watches an import until it ends.
    pub async fn end(&self, id: &str) -> Import {
        let request = WatchImportRequest { import_id: id.into() };
        let watched = self.caller.imports().watch_import(request).await.unwrap();
        let (mut stream, mut last) = (watched.into_inner(), None);
        let wait = Duration::from_mins(1);
        while let Some(update) =
            tokio::time::timeout(wait, stream.message()).await.unwrap().unwrap()
        {
            last = update.import_job;
        }
        last.unwrap()
    }

    /// Starts the next round.
    pub async fn retry(&self, id: &str, replacements: bool) -> Result<Import, Status> {
        self.begin_round(id, replacements, 0).await
    }

    /// Starts the round with this number.
    pub async fn begin_round(
        &self,
        id: &str,
        replacements: bool,
        round: i32,
    ) -> Result<Import, Status> {
        let request = RetryImportRequest { import_id: id.into(), replacements, round };
        Ok(self.caller.imports().retry_import(request).await?.into_inner().import_job.unwrap())
    }

    /// Commits an import after its dry run.
    pub async fn commit(&self, id: &str) -> Result<Import, Status> {
        let request = CommitImportRequest { import_id: id.into() };
        Ok(self.caller.imports().commit_import(request).await?.into_inner().import_job.unwrap())
    }

    /// Cancels an import.
    pub async fn cancel(&self, id: &str) -> Result<Import, Status> {
        let request = CancelImportRequest { import_id: id.into() };
        Ok(self.caller.imports().cancel_import(request).await?.into_inner().import_job.unwrap())
    }

    /// Reads the import.
    pub async fn get(&self, id: &str) -> Import {
        let request = GetImportRequest { import_id: id.into() };
        self.caller.imports().get_import(request).await.unwrap().into_inner().import_job.unwrap()
    }

    /// Lists its failures.
    pub async fn failures(&self, id: &str) -> Vec<Failure> {
        let request =
            ListFailuresRequest { import_id: id.into(), page_size: 1_000, ..Default::default() };
        self.caller.imports().list_failures(request).await.unwrap().into_inner().failures
    }

    /// The number of clients of the practice.
    pub async fn client_count(&self) -> usize {
        let request = ListClientsRequest { page_size: 1_000, ..ListClientsRequest::default() };
        self.manager.clients().list_clients(request).await.unwrap().into_inner().clients.len()
    }
}
