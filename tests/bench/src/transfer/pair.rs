//! The records and the imports service, each in a process of its own, on fresh
//! databases.

use anyhow::{Context as _, ensure};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement};
use shared::pb::imports::{
    CreateImportRequest, GetImportRequest, Import, RetryImportRequest, SealImportRequest,
    import_service_client::ImportServiceClient,
};
use tokio::time::{Duration, Instant, sleep};

use super::{
    batches::{self, Batch},
    follow::{self, Followed},
};
use crate::{
    databases::{Databases, Engine},
    process::Process,
    service::{HEARS, Identity, PRACTICE, SAVES, Wire, connect_products, wire},
};

/// The products that are switched on: the one that brings its records over, and
/// two that hear of them.
const PRODUCTS: [&str; 3] = [SAVES, HEARS, "payroll"];

/// How long the sequencer may take after an import.
const PATIENCE: Duration = Duration::from_mins(10);

/// The two services.
#[derive(Debug)]
pub(crate) struct Pair {
    engine: Engine,
    name: String,
    pub(crate) records: Process,
    pub(crate) imports: Process,
    api: ImportServiceClient<Wire>,
    /// The tables of the imports service, to see how far it is.
    progress: DatabaseConnection,
}

impl Pair {
    /// Starts them. `name` may be used once.
    pub(crate) async fn start(
        databases: &Databases,
        engine: Engine,
        name: &str,
    ) -> anyhow::Result<Self> {
        let place = databases.place(engine, &records_of(name)).await?;
        let records = Process::records(place).await?;
        connect_products(records.url(), PRACTICE, &PRODUCTS).await?;
        let place = databases.place(engine, &imports_of(name)).await?;
        let imports = Process::imports(place, records.url()).await?;
        let wire = wire(imports.url(), Identity::owner(PRACTICE, SAVES)).await?;
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

    /// Opens an import; its id.
    pub(crate) async fn create(&self) -> anyhow::Result<String> {
        let answer = self.api.clone().create_import(CreateImportRequest::default()).await?;
        Ok(answer.into_inner().import.context("an answer without its import")?.id)
    }

    /// Uploads batches until each has its receipt; how many there were, and their
    /// records.
    pub(crate) async fn upload(
        &self,
        import_id: &str,
        batches: impl Iterator<Item = Batch> + Send,
    ) -> anyhow::Result<(usize, usize)> {
        batches::upload_all(&self.api, import_id, batches).await
    }

    /// Seals an import, and follows it until it is COMPLETED, with all records
    /// imported. `seen` hears now and then how many are.
    pub(crate) async fn complete(
        &self,
        import_id: &str,
        (batches, records): (usize, usize),
        seen: impl AsyncFnMut(usize) -> anyhow::Result<()>,
    ) -> anyhow::Result<Followed> {
        let followed = self.seal(import_id, (batches, records), seen).await?;
        follow::check(&self.get(import_id).await?, records)?;
        Ok(followed)
    }

    /// Seals an import, and follows it until all its records have failed.
    pub(crate) async fn fail(
        &self,
        import_id: &str,
        (batches, records): (usize, usize),
    ) -> anyhow::Result<Followed> {
        let followed = self.seal(import_id, (batches, records), async |_| Ok(())).await?;
        follow::check_failed(&self.get(import_id).await?, records)?;
        Ok(followed)
    }

    /// Has all records of an import tried again, and follows it until they have failed
    /// again.
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
        seen: impl AsyncFnMut(usize) -> anyhow::Result<()>,
    ) -> anyhow::Result<Followed> {
        let request = SealImportRequest {
            import_id: import_id.to_owned(),
            batch_count: batches.try_into()?,
            record_count: records.try_into()?,
            ..SealImportRequest::default()
        };
        let begun = Instant::now();
        self.api.clone().seal_import(request).await?;
        follow::to_the_end(&self.progress, begun, seen).await
    }

    async fn get(&self, import_id: &str) -> anyhow::Result<Import> {
        let request = GetImportRequest { import_id: import_id.to_owned() };
        let answer = self.api.clone().get_import(request).await?;
        answer.into_inner().import.context("an answer without its import")
    }

    /// Waits until every change has its positions; how long that took.
    pub(crate) async fn sequenced(&self, databases: &Databases) -> anyhow::Result<Duration> {
        let tables = databases.open(self.engine, &self.records_database()).await?;
        let begun = Instant::now();
        let pending = "SELECT 1 FROM feed_pending LIMIT 1";
        let pending = Statement::from_string(tables.get_database_backend(), pending);
        while tables.query_one_raw(pending.clone()).await?.is_some() {
            ensure!(begun.elapsed() < PATIENCE, "changes were given no positions");
            sleep(Duration::from_millis(50)).await;
        }
        tables.close().await?;
        Ok(begun.elapsed())
    }

    /// Stops them; their databases stay.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.progress.close().await?;
        self.imports.stop().await?;
        self.records.stop().await
    }

    /// Stops them, and removes their databases.
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
