//! The records and the imports service in separate processes, with empty databases.

use anyhow::{Context as _, ensure};
use concord_proto::pb::imports::{
    CreateImportRequest, GetImportRequest, Import, RetryImportRequest, SealImportRequest,
    import_service_client::ImportServiceClient,
};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement};
use tokio::time::{Duration, Instant, sleep};

use super::{
    batches::{self, Batch},
    follow::{self, Followed},
};
use crate::{
    databases::{Databases, Engine},
    process::Process,
    service::{Identity, PRACTICE, SUBSCRIBER, WRITER, Wire, connect_products, wire},
};

/// The connected products: the one that imports its records, and two subscribers.
const PRODUCTS: [&str; 3] = [WRITER, SUBSCRIBER, "payroll"];

/// Timeout for the sequencer after an import.
const SEQUENCING_TIMEOUT: Duration = Duration::from_mins(10);

/// The two services.
#[derive(Debug)]
pub(crate) struct Pair {
    engine: Engine,
    name: String,
    pub(crate) records: Process,
    pub(crate) imports: Process,
    api: ImportServiceClient<Wire>,
    /// A connection to the database of the imports service, for the progress.
    progress: DatabaseConnection,
}

impl Pair {
    /// Starts the services. Each `name` may be used once.
    pub(crate) async fn start(
        databases: &Databases,
        engine: Engine,
        name: &str,
    ) -> anyhow::Result<Self> {
        let location = databases.location(engine, &records_of(name)).await?;
        let records = Process::records(location).await?;
        connect_products(records.url(), PRACTICE, &PRODUCTS).await?;
        let location = databases.location(engine, &imports_of(name)).await?;
        let imports = Process::imports(location, records.url()).await?;
        let wire = wire(imports.url(), Identity::owner(PRACTICE, WRITER)).await?;
        let progress = databases.open(engine, &imports_of(name)).await?;
        let (name, api) = (name.to_owned(), ImportServiceClient::new(wire));
        Ok(Self { engine, name, records, imports, api, progress })
    }

    /// The database of the records service.
    pub(crate) fn records_database(&self) -> String {
        records_of(&self.name)
    }

    /// The database of the imports service.
    pub(crate) fn imports_database(&self) -> String {
        imports_of(&self.name)
    }

    /// Creates an import and returns its id.
    pub(crate) async fn create(&self) -> anyhow::Result<String> {
        let response = self.api.clone().create_import(CreateImportRequest::default()).await?;
        Ok(response.into_inner().import_job.context("the response has no import")?.id)
    }

    /// Uploads batches until each has its receipt. Returns the numbers of batches and records.
    pub(crate) async fn upload(
        &self,
        import_id: &str,
        batches: impl Iterator<Item = Batch> + Send,
    ) -> anyhow::Result<(usize, usize)> {
        batches::upload_all(&self.api, import_id, batches).await
    }

    /// Seals an import, and polls it until it is COMPLETED with all records imported. Calls
    /// `on_progress` with the number of imported records.
    pub(crate) async fn complete(
        &self,
        import_id: &str,
        (batches, records): (usize, usize),
        on_progress: impl AsyncFnMut(usize) -> anyhow::Result<()>,
    ) -> anyhow::Result<Followed> {
        let followed = self.seal(import_id, (batches, records), on_progress).await?;
        follow::check(&self.get(import_id).await?, records)?;
        Ok(followed)
    }

    /// Seals an import, and polls it until all its records have failed.
    pub(crate) async fn fail(
        &self,
        import_id: &str,
        (batches, records): (usize, usize),
    ) -> anyhow::Result<Followed> {
        let followed = self.seal(import_id, (batches, records), async |_| Ok(())).await?;
        follow::check_failed(&self.get(import_id).await?, records)?;
        Ok(followed)
    }

    /// Retries all records of an import, and polls it until they have failed again.
    pub(crate) async fn retry(
        &self,
        import_id: &str,
        (_, records): (usize, usize),
    ) -> anyhow::Result<Followed> {
        let request =
            RetryImportRequest { import_id: import_id.to_owned(), ..RetryImportRequest::default() };
        let begun = Instant::now();
        self.api.clone().retry_import(request).await?;
        let followed = follow::to_the_end(&self.progress, begun, async |_| Ok(())).await?;
        follow::check_failed(&self.get(import_id).await?, records)?;
        Ok(followed)
    }

    async fn seal(
        &self,
        import_id: &str,
        (batches, records): (usize, usize),
        on_progress: impl AsyncFnMut(usize) -> anyhow::Result<()>,
    ) -> anyhow::Result<Followed> {
        let request = SealImportRequest {
            import_id: import_id.to_owned(),
            batch_count: batches.try_into()?,
            record_count: records.try_into()?,
            ..SealImportRequest::default()
        };
        let begun = Instant::now();
        self.api.clone().seal_import(request).await?;
        follow::to_the_end(&self.progress, begun, on_progress).await
    }

    async fn get(&self, import_id: &str) -> anyhow::Result<Import> {
        let request = GetImportRequest { import_id: import_id.to_owned() };
        let response = self.api.clone().get_import(request).await?;
        response.into_inner().import_job.context("the response has no import")
    }

    /// Waits until all changes are sequenced. Returns the duration.
    pub(crate) async fn sequenced(&self, databases: &Databases) -> anyhow::Result<Duration> {
        let tables = databases.open(self.engine, &self.records_database()).await?;
        let begun = Instant::now();
        let pending = "SELECT 1 FROM feed_pending LIMIT 1";
        let pending = Statement::from_string(tables.get_database_backend(), pending);
        while tables.query_one_raw(pending.clone()).await?.is_some() {
            ensure!(begun.elapsed() < SEQUENCING_TIMEOUT, "changes were not sequenced in time");
            sleep(Duration::from_millis(50)).await;
        }
        tables.close().await?;
        Ok(begun.elapsed())
    }

    /// Stops the services and keeps their databases.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.progress.close().await?;
        self.imports.stop().await?;
        self.records.stop().await
    }

    /// Stops the services and removes their databases.
    pub(crate) async fn remove(self, databases: &Databases) -> anyhow::Result<()> {
        let (engine, names) = (self.engine, [self.records_database(), self.imports_database()]);
        self.stop().await?;
        for name in names {
            databases.remove(engine, &name).await?;
        }
        Ok(())
    }
}

fn records_of(name: &str) -> String {
    format!("{name}_records")
}

fn imports_of(name: &str) -> String {
    format!("{name}_imports")
}
