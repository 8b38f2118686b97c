//! Both services, with helpers for every call of an import.

use crate::TestDb;
use concord_db::DatabaseSettings;
use concord_proto::pb::imports::{CommitImportRequest, CreateImportRequest, Failure, Import};
use tonic::Status;

use super::{
    caller::Caller,
    importing,
    records::all_clients,
    servers::{self, Running},
};

/// Both services over the databases of a test, and callers of `manager` in `p1`.
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
        Self::on(db.settings(), db.sibling("imports"), set).await
    }

    /// Starts both services on any databases.
    pub async fn on(
        records: DatabaseSettings,
        imports: DatabaseSettings,
        set: impl FnOnce(&mut imports::ImportsConfig),
    ) -> Self {
        let records = servers::records(records).await;
        let imports = servers::imports_with(imports, &records.url, set).await;
        let manager = records.owner("p1", "manager").await.connect().await;
        let caller = imports.owner("p1", "manager").await;
        Self { records, imports, manager, caller }
    }

    /// The same services, with callers of `books`, which is connected. `manager` still
    /// calls the records service.
    pub async fn of_books(self) -> Self {
        self.records.owner("p1", "books").await.connect().await;
        let caller = self.imports.owner("p1", "books").await;
        Self { caller, ..self }
    }

    pub async fn stop(self) {
        self.imports.stop().await;
        self.records.stop().await;
    }

    /// Creates an import and returns its id.
    pub async fn create(&self, request: CreateImportRequest) -> String {
        importing::create(&self.caller, request).await
    }

    /// Uploads a batch.
    pub async fn upload(&self, id: &str, key: &str, records: &[Vec<u8>]) {
        self.try_upload(id, key, records).await.unwrap();
    }

    /// Uploads a batch and returns the outcome.
    pub async fn try_upload(&self, id: &str, key: &str, records: &[Vec<u8>]) -> Result<(), Status> {
        importing::upload(&self.caller, id, key, records).await.map(drop)
    }

    /// Seals an import.
    pub async fn seal(&self, id: &str, batches: usize, records: usize) {
        self.try_seal(id, batches, records).await.unwrap();
    }

    /// Seals an import and returns the outcome.
    pub async fn try_seal(
        &self,
        id: &str,
        batches: usize,
        records: usize,
    ) -> Result<Import, Status> {
        importing::seal(&self.caller, id, batches, records).await
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
        importing::end(&self.caller, id).await
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
        importing::retry(&self.caller, id, replacements, round).await
    }

    /// Commits an import after its dry run.
    pub async fn commit(&self, id: &str) -> Result<Import, Status> {
        let request = CommitImportRequest { import_id: id.into() };
        Ok(self.caller.imports().commit_import(request).await?.into_inner().import_job.unwrap())
    }

    /// Cancels an import.
    pub async fn cancel(&self, id: &str) -> Result<Import, Status> {
        importing::cancel(&self.caller, id).await
    }

    /// Reads the import.
    pub async fn get(&self, id: &str) -> Import {
        importing::get(&self.caller, id).await
    }

    /// Lists its failures.
    pub async fn failures(&self, id: &str) -> Vec<Failure> {
        importing::failures(&self.caller, id).await
    }

    /// The number of clients of the practice.
    pub async fn client_count(&self) -> usize {
        all_clients(&self.manager).await.len()
    }
}
