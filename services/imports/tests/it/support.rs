//! Helpers of the tests: replicas, callers, batches, records.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use chrono_tz::Tz;
use concord_core::clock::Clock;
use concord_db::DatabaseSettings;
use concord_proto::pb::imports::{
    CreateImportRequest, DownloadFailuresRequest, Failure, FailuresFormat, Import, ImportAddress,
    ImportClient, ImportContact, ImportState, UploadBatchResponse,
    import_service_client::ImportServiceClient, upload_batch_request::Part,
};
use concord_testing::{
    TestDb,
    e2e::{
        caller::{self, Service},
        fake_records::FakeRecords,
        import_records, importing,
        servers::{self, Running},
    },
};
use imports::{ImportsConfig, WorkerSettings};
use tokio::runtime::{Builder, Runtime};
use tonic::{Status, transport::Endpoint};

pub(crate) use concord_testing::e2e::{
    importing::{batch, commit, header},
    records::reason,
};

/// Settings with short intervals for tests.
pub(crate) fn quick() -> WorkerSettings {
    WorkerSettings {
        lease: Duration::from_millis(1_500),
        renew_every: Duration::from_millis(400),
        poll_every: Duration::from_millis(100),
        initial_backoff: Duration::from_millis(20),
        stall_after: Duration::from_secs(20),
        stalled_backoff: Duration::from_millis(300),
        ..WorkerSettings::default()
    }
}

/// A replica of the imports service.
pub(crate) struct Replica(Running);

impl Replica {
    /// Starts a replica on the database of the test.
    pub(crate) async fn start(t: &TestDb, records: SocketAddr, worker: WorkerSettings) -> Self {
        Self::start_with(t, records, |config| config.worker = worker).await
    }

    /// Starts a replica with other settings.
    pub(crate) async fn start_with(
        t: &TestDb,
        records: SocketAddr,
        set: impl FnOnce(&mut ImportsConfig),
    ) -> Self {
        Self::on(t.settings(), records, set).await
    }

    /// Starts a replica on any database.
    pub(crate) async fn on(
        database: DatabaseSettings,
        records: SocketAddr,
        set: impl FnOnce(&mut ImportsConfig),
    ) -> Self {
        let set = |config: &mut ImportsConfig| {
            config.clock = Clock::system(Tz::Europe__London);
            set(config);
        };
        Self(servers::imports_with(database, &format!("http://{records}"), set).await)
    }

    /// Stops the replica, and waits for its end.
    pub(crate) async fn stop(self) {
        self.0.stop().await;
    }

    /// An owner of practice `p1` who calls through `manager`.
    pub(crate) fn owner(&self) -> Caller {
        self.caller("p1", "manager", "owner")
    }

    /// A caller with this practice, product and roles.
    pub(crate) fn caller(&self, practice: &str, product: &str, roles: &str) -> Caller {
        let channel = Endpoint::from_shared(self.0.url.clone()).unwrap().connect_lazy();
        let caller = caller::Caller::owner(channel, practice, product)
            .with("x-concord-user", "ann")
            .with("x-concord-roles", roles);
        Caller { api: caller.imports(), caller }
    }
}

/// A replica that can be killed: it has a runtime of its own, which is shut down in the
/// middle of its work.
pub(crate) struct Killable {
    pub(crate) replica: Replica,
    runtime: Runtime,
}

impl Killable {
    /// Starts a killable replica on the database of the test.
    pub(crate) async fn start(t: &TestDb, records: SocketAddr, worker: WorkerSettings) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let settings = t.settings();
        let starting = runtime.spawn(async move {
            Replica::on(settings, records, |config| config.worker = worker).await
        });
        Self { replica: starting.await.unwrap(), runtime }
    }

    /// Kills the replica.
    pub(crate) fn kill(self) {
        self.runtime.shutdown_background();
    }
}

/// A replica, and its fake of the records service.
pub(crate) async fn pair(t: &TestDb) -> (Replica, FakeRecords) {
    let (fake, records) = FakeRecords::start(&["manager", "books"]).await;
    (Replica::start(t, records, quick()).await, fake)
}

/// A client of the service with an identity.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    caller: caller::Caller,
    pub(crate) api: ImportServiceClient<Service>,
}

impl Caller {
    /// Creates an import.
    pub(crate) async fn create(&mut self) -> String {
        let request =
            CreateImportRequest { label: "test".into(), ..CreateImportRequest::default() };
        importing::create(&self.caller, request).await
    }

    /// Sends these messages as one upload.
    pub(crate) async fn send(&mut self, parts: Vec<Part>) -> Result<UploadBatchResponse, Status> {
        importing::send(&self.caller, parts).await
    }

    /// Uploads a batch.
    pub(crate) async fn upload(
        &mut self,
        import: &str,
        batch_key: &str,
        records: &[Bytes],
    ) -> Result<UploadBatchResponse, Status> {
        importing::upload(&self.caller, import, batch_key, records).await
    }

    /// Seals an import.
    pub(crate) async fn seal(
        &mut self,
        import: &str,
        batches: usize,
        records: usize,
    ) -> Result<Import, Status> {
        importing::seal(&self.caller, import, batches, records).await
    }

    /// Starts the round with this number, or the next round for 0.
    pub(crate) async fn retry(&mut self, import: &str, replacements: bool, round: i32) {
        importing::retry(&self.caller, import, replacements, round).await.unwrap();
    }

    /// Cancels an import.
    pub(crate) async fn cancel(&mut self, import: &str) {
        importing::cancel(&self.caller, import).await.unwrap();
    }

    /// Gets the import.
    pub(crate) async fn get(&mut self, import: &str) -> Import {
        importing::get(&self.caller, import).await
    }

    /// Waits until the import is in one of these states.
    pub(crate) async fn wait(&mut self, import: &str, states: &[ImportState]) -> Import {
        for _ in 0..600 {
            let found = self.get(import).await;
            if states.contains(&found.state()) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("never {states:?}: {:?}", self.get(import).await);
    }

    /// Waits until the import has ended.
    pub(crate) async fn ended(&mut self, import: &str) -> Import {
        let ends = [ImportState::Completed, ImportState::CompletedWithFailures];
        self.wait(import, &ends).await
    }

    /// Creates, uploads and seals an import with these batches, and waits for its end.
    pub(crate) async fn import(&mut self, batches: &[Vec<Bytes>]) -> Import {
        let import = self.create().await;
        for (number, records) in batches.iter().enumerate() {
            self.upload(&import, &format!("batch-{number}"), records).await.unwrap();
        }
        let records = batches.iter().map(Vec::len).sum();
        self.seal(&import, batches.len(), records).await.unwrap();
        self.ended(&import).await
    }

    /// All failures, page by page.
    pub(crate) async fn failures(&mut self, import: &str) -> Vec<Failure> {
        importing::failures(&self.caller, import).await
    }

    /// The whole failures file.
    pub(crate) async fn download(&mut self, import: &str, format: FailuresFormat) -> Vec<u8> {
        let request =
            DownloadFailuresRequest { import_id: import.to_owned(), format: format.into() };
        let mut stream = self.api.download_failures(request).await.unwrap().into_inner();
        let mut file = Vec::new();
        while let Some(chunk) = stream.message().await.unwrap() {
            assert!(chunk.data.len() <= 256 * 1_024);
            file.extend(chunk.data);
        }
        file
    }
}

pub(crate) fn frame(records: &[Bytes]) -> Part {
    importing::frame(records)
}

/// A valid company with changed fields.
pub(crate) fn client(source_id: &str, change: impl Fn(&mut ImportClient)) -> Bytes {
    let client = import_records::client(source_id, |client| {
        client.client_reference = format!("X{source_id}");
        client.registered_name = format!("Case {source_id} Limited");
        change(client);
    });
    client.into()
}

/// A director of some clients.
pub(crate) fn contact(
    source_id: &str,
    clients: &[&str],
    change: impl Fn(&mut ImportContact),
) -> Bytes {
    let contact = import_records::contact(source_id, clients, |contact| {
        contact.forename = "Ann".into();
        contact.surname = format!("Case {source_id}");
        contact.birth_date = "1980-02-29".into();
        change(contact);
    });
    contact.into()
}

/// A trading address of a client, or a residential one of a contact.
pub(crate) fn address(
    source_id: &str,
    owner: (&str, &str),
    dates: (&str, &str),
    change: impl Fn(&mut ImportAddress),
) -> Bytes {
    let address = import_records::address(source_id, owner, |address| {
        address.town = "Leeds".into();
        address.active_from = dates.0.into();
        address.active_to = dates.1.into();
        change(address);
    });
    address.into()
}
