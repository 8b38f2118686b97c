//! Helpers of the tests: replicas, callers, batches, records.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use chrono_tz::Tz;
use concord_core::clock::Clock;
use concord_db::DatabaseSettings;
use concord_proto::{
    pb::imports::{
        BatchCommit, BatchHeader, ContactClient, CreateImportRequest, DownloadFailuresRequest,
        Failure, FailuresFormat, GetImportRequest, Import, ImportAddress, ImportClient,
        ImportContact, ImportRecord, ImportState, ListFailuresRequest, SealImportRequest,
        UploadBatchRequest, UploadBatchResponse, import_record::Record,
        import_service_client::ImportServiceClient, upload_batch_request::Part,
    },
    wire::BatchFrame,
};
use concord_testing::{TestDb, e2e::fake_records::FakeRecords};
use imports::{Application, ImportsConfig, WorkerSettings};
use prost::Message as _;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

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
pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

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
        let listen = "127.0.0.1:0".parse().unwrap();
        let (url, clock) = (format!("http://{records}"), Clock::system(Tz::Europe__London));
        let mut config = ImportsConfig::new(listen, database, url, clock);
        set(&mut config);
        let application = Application::build(config).await.unwrap();
        let (address, stop) = (application.address(), CancellationToken::new());
        let until = stop.clone();
        let task = tokio::spawn(async move { application.run_until(until).await.unwrap() });
        Self { address, stop, task }
    }

    /// Stops the replica, and waits for its end.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// An owner of practice `p1` who calls through `manager`.
    pub(crate) fn owner(&self) -> Caller {
        self.caller("p1", "manager", "owner")
    }

    /// A caller with this practice, product and roles.
    pub(crate) fn caller(&self, practice: &str, product: &str, roles: &str) -> Caller {
        let value = |text: &str| text.parse().unwrap();
        let headers = Headers([
            ("x-concord-practice", value(practice)),
            ("x-concord-product", value(product)),
            ("x-concord-user", value("ann")),
            ("x-concord-roles", value(roles)),
        ]);
        let channel = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        Caller { api: ImportServiceClient::with_interceptor(channel.connect_lazy(), headers) }
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

#[derive(Clone, Debug)]
pub(crate) struct Headers([(&'static str, MetadataValue<Ascii>); 4]);

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for (name, value) in &self.0 {
            request.metadata_mut().insert(*name, value.clone());
        }
        Ok(request)
    }
}

/// A client of the service with an identity.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) api: ImportServiceClient<InterceptedService<Channel, Headers>>,
}

impl Caller {
    /// Creates an import.
    pub(crate) async fn create(&mut self) -> String {
        let request =
            CreateImportRequest { label: "test".into(), ..CreateImportRequest::default() };
        self.api.create_import(request).await.unwrap().into_inner().import_job.unwrap().id
    }

    /// Sends these messages as one upload.
    pub(crate) async fn send(&mut self, parts: Vec<Part>) -> Result<UploadBatchResponse, Status> {
        let messages = parts.into_iter().map(|part| UploadBatchRequest { part: Some(part) });
        let answer = self.api.upload_batch(futures::stream::iter(messages.collect::<Vec<_>>()));
        answer.await.map(tonic::Response::into_inner)
    }

    /// Uploads a batch.
    pub(crate) async fn upload(
        &mut self,
        import: &str,
        batch_key: &str,
        records: &[Bytes],
    ) -> Result<UploadBatchResponse, Status> {
        self.send(batch(import, batch_key, records)).await
    }

    /// Seals an import.
    pub(crate) async fn seal(
        &mut self,
        import: &str,
        batches: usize,
        records: usize,
    ) -> Result<Import, Status> {
        let request = SealImportRequest {
            import_id: import.to_owned(),
            batch_count: i32::try_from(batches).unwrap(),
            record_count: i64::try_from(records).unwrap(),
            ..SealImportRequest::default()
        };
        let answer = self.api.seal_import(request).await?;
        Ok(answer.into_inner().import_job.unwrap())
    }

    /// Gets the import.
    pub(crate) async fn get(&mut self, import: &str) -> Import {
        let request = GetImportRequest { import_id: import.to_owned() };
        self.api.get_import(request).await.unwrap().into_inner().import_job.unwrap()
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
        let mut request = ListFailuresRequest {
            import_id: import.to_owned(),
            page_size: 3,
            ..ListFailuresRequest::default()
        };
        let mut failures = Vec::new();
        loop {
            let page = self.api.list_failures(request.clone()).await.unwrap().into_inner();
            failures.extend(page.failures);
            if page.next_page_token.is_empty() {
                return failures;
            }
            request.page_token = page.next_page_token;
        }
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

/// The messages of a complete upload.
pub(crate) fn batch(import: &str, batch_key: &str, records: &[Bytes]) -> Vec<Part> {
    let mut parts = vec![header(import, batch_key)];
    parts.extend(records.chunks(100).map(frame));
    parts.push(commit());
    parts
}

pub(crate) fn header(import: &str, batch_key: &str) -> Part {
    let (import_id, batch_key) = (import.to_owned(), batch_key.to_owned());
    Part::Header(BatchHeader { import_id, batch_key, ..BatchHeader::default() })
}

pub(crate) fn frame(records: &[Bytes]) -> Part {
    Part::Frame(BatchFrame { records: records.to_vec() })
}

pub(crate) fn commit() -> Part {
    Part::Commit(BatchCommit::default())
}

/// The reason code of an error.
pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

fn encode(record: Record) -> Bytes {
    ImportRecord { record: Some(record), ..Default::default() }.encode_to_vec().into()
}

/// A valid company.
pub(crate) fn company(source_id: &str) -> ImportClient {
    ImportClient {
        source_id: source_id.to_owned(),
        client_reference: format!("X{source_id}"),
        client_type: "PRIVATE_LIMITED_COMPANY".to_owned(),
        registered_name: format!("Case {source_id} Limited"),
        ..ImportClient::default()
    }
}

/// A valid company with changed fields.
pub(crate) fn client(source_id: &str, change: impl Fn(&mut ImportClient)) -> Bytes {
    let mut client = company(source_id);
    change(&mut client);
    encode(Record::Client(client))
}

/// A director of some clients.
pub(crate) fn contact(
    source_id: &str,
    clients: &[&str],
    change: impl Fn(&mut ImportContact),
) -> Bytes {
    let link = |client: &&str| ContactClient {
        client_source_id: (*client).to_owned(),
        roles: vec!["DIRECTOR".to_owned()],
    };
    let mut contact = ImportContact {
        source_id: source_id.to_owned(),
        clients: clients.iter().map(link).collect(),
        forename: "Ann".to_owned(),
        surname: format!("Case {source_id}"),
        birth_date: "1980-02-29".to_owned(),
        ..ImportContact::default()
    };
    change(&mut contact);
    encode(Record::Contact(contact))
}

/// A trading address of a client, or a residential one of a contact.
pub(crate) fn address(
    source_id: &str,
    owner: (&str, &str),
    dates: (&str, &str),
    change: impl Fn(&mut ImportAddress),
) -> Bytes {
    let kind = if owner.0 == "client" { "TRADING" } else { "RESIDENTIAL" };
    let mut address = ImportAddress {
        source_id: source_id.to_owned(),
        owner_kind: owner.0.to_owned(),
        owner_source_id: owner.1.to_owned(),
        r#type: kind.to_owned(),
        line_1: "1 High Street".to_owned(),
        town: "Leeds".to_owned(),
        active_from: dates.0.to_owned(),
        active_to: dates.1.to_owned(),
        ..ImportAddress::default()
    };
    change(&mut address);
    encode(Record::Address(address))
}
