//! A driver that imports the sample, and retries every call until it is accepted.

use std::time::Duration;

use concord_proto::{
    pb::imports::{
        BatchCommit, BatchHeader, CreateImportRequest, Failure as Listed, Import, ImportCounters,
        ImportState, ListFailuresRequest, RetryImportRequest, SealImportRequest,
        UploadBatchRequest, WatchImportRequest, upload_batch_request::Part,
    },
    wire::BatchFrame,
};
use tokio::sync::watch;
use tonic::Status;

use concord_testing::e2e::{
    caller::Caller,
    failure::{Failure, failure},
    rng::SeededRng,
    sample,
};

/// Records of a batch: the sample makes about thirty batches.
const BATCH: usize = 12;

/// The timeout of one step of an import, including the injected faults.
const STEP_TIMEOUT: Duration = Duration::from_mins(5);

/// The steps of an import, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Upload,
    Seal,
    Work,
    Retry,
}

/// The result of a round of an import.
#[derive(Debug, PartialEq)]
pub(crate) struct RoundResult {
    pub(crate) counters: ImportCounters,
    /// The failures without their batch and row, sorted.
    failures: Vec<String>,
}

/// Imports the sample over several replicas.
pub(crate) struct Driver {
    replicas: Vec<Caller>,
    /// The errors that are expected and retried.
    expected: &'static [Failure],
    step: watch::Sender<Step>,
    rng: SeededRng,
}

impl Driver {
    /// A driver that calls these replicas in turn, and a receiver of its current step.
    pub(crate) fn new(
        replicas: Vec<Caller>,
        expected: &'static [Failure],
        rng: SeededRng,
    ) -> (Self, watch::Receiver<Step>) {
        let (step, steps) = watch::channel(Step::Upload);
        (Self { replicas, expected, step, rng }, steps)
    }

    /// Imports the sample, then retries failed records. Returns the result of each round.
    pub(crate) async fn run(mut self) -> [RoundResult; 2] {
        let batches = self.batches();
        let id = self.create().await;
        for (number, batch) in batches.iter().enumerate() {
            self.upload(&id, number, batch).await;
        }
        self.step.send_replace(Step::Seal);
        self.seal(&id, &batches).await;
        self.step.send_replace(Step::Work);
        let first = self.end(&id).await;
        self.step.send_replace(Step::Retry);
        self.retry(&id).await;
        [first, self.end(&id).await]
    }

    /// The batches of the sample, with its records in random order.
    fn batches(&mut self) -> Vec<Vec<Vec<u8>>> {
        let mut records = sample::records();
        for at in (1..records.len()).rev() {
            records.swap(at, self.rng.below(at + 1));
        }
        records.chunks(BATCH).map(<[_]>::to_vec).collect()
    }

    /// Makes a call, and retries it on the replicas in turn until it is accepted.
    async fn retry_until_accepted<T, F>(&self, call: impl Fn(Caller) -> F) -> T
    where
        F: Future<Output = Result<T, Status>>,
    {
        let attempts = async {
            for replica in self.replicas.iter().cycle() {
                match call(replica.clone()).await {
                    Ok(answer) => return answer,
                    Err(status) => {
                        assert!(self.expected.contains(&failure(&status)), "{status:?}");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            }
            unreachable!("there is at least one replica")
        };
        tokio::time::timeout(STEP_TIMEOUT, attempts).await.expect("a response in time")
    }

    async fn create(&self) -> String {
        let create = |caller: Caller| async move {
            caller.imports().create_import(CreateImportRequest::default()).await
        };
        self.retry_until_accepted(create).await.into_inner().import_job.unwrap().id
    }

    async fn upload(&self, id: &str, number: usize, records: &[Vec<u8>]) {
        let header = BatchHeader {
            import_id: id.to_owned(),
            batch_key: format!("b{number}"),
            ..BatchHeader::default()
        };
        let records: Vec<_> = records.iter().map(|record| record.clone().into()).collect();
        let parts = [
            Part::Header(header),
            Part::Frame(BatchFrame { records }),
            Part::Commit(BatchCommit::default()),
        ];
        let parts = parts.map(|part| UploadBatchRequest { part: Some(part) });
        let upload = |caller: Caller| {
            let parts = futures::stream::iter(parts.clone());
            async move { caller.imports().upload_batch(parts).await }
        };
        self.retry_until_accepted(upload).await;
    }

    async fn seal(&self, id: &str, batches: &[Vec<Vec<u8>>]) {
        let request = SealImportRequest {
            import_id: id.to_owned(),
            batch_count: i32::try_from(batches.len()).unwrap(),
            record_count: sample::COUNTS[0],
            ..SealImportRequest::default()
        };
        let seal = |caller: Caller| {
            let request = request.clone();
            async move { caller.imports().seal_import(request).await }
        };
        self.retry_until_accepted(seal).await;
    }

    /// Starts the second round. The call is idempotent by the round number.
    async fn retry(&self, id: &str) {
        let request =
            RetryImportRequest { import_id: id.to_owned(), replacements: false, round: 2 };
        let retry = |caller: Caller| {
            let request = request.clone();
            async move { caller.imports().retry_import(request).await }
        };
        let started = self.retry_until_accepted(retry).await.into_inner().import_job.unwrap();
        assert_eq!(started.round, 2);
    }

    /// Waits for the end of the round.
    async fn end(&self, id: &str) -> RoundResult {
        let import = self.retry_until_accepted(|caller| watch_to_the_end(caller, id)).await;
        assert_eq!(import.state(), ImportState::CompletedWithFailures);
        let request =
            ListFailuresRequest { import_id: id.into(), page_size: 1_000, ..Default::default() };
        let list = |caller: Caller| {
            let request = request.clone();
            async move { caller.imports().list_failures(request).await }
        };
        let listed = self.retry_until_accepted(list).await.into_inner().failures.into_iter();
        let without_row = |listed| Listed {
            batch_key: String::new(),
            row: 0,
            row_token: String::new(),
            ..listed
        };
        let mut failures: Vec<_> = listed.map(|one| format!("{:?}", without_row(one))).collect();
        failures.sort();
        RoundResult { counters: import.counters.unwrap(), failures }
    }
}

async fn watch_to_the_end(caller: Caller, id: &str) -> Result<Import, Status> {
    let request = WatchImportRequest { import_id: id.to_owned() };
    let mut stream = caller.imports().watch_import(request).await?.into_inner();
    let mut last = None;
    while let Some(message) = stream.message().await? {
        last = message.import_job;
    }
    last.ok_or_else(|| Status::unavailable("the stream sent no message"))
}
