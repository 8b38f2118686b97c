//! A driver that imports the sample, and retries every call until it is accepted.

use std::time::Duration;

use concord_proto::pb::imports::{
    CreateImportRequest, Failure as Listed, ImportCounters, ImportState, ListFailuresRequest,
};
use tokio::sync::watch;
use tonic::Status;

use concord_testing::e2e::{
    caller::Caller,
    failure::{Failure, retry_while},
    importing,
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
    async fn call<T, F>(&self, call: impl Fn(Caller) -> F) -> T
    where
        F: Future<Output = Result<T, Status>>,
    {
        let mut replicas = self.replicas.iter().cycle();
        let next = move || call(replicas.next().unwrap().clone());
        let answer = tokio::time::timeout(STEP_TIMEOUT, retry_while(self.expected, next)).await;
        let answer = answer.expect("a response in time");
        answer.unwrap_or_else(|status| panic!("{status:?}"))
    }

    async fn create(&self) -> String {
        let create = |caller: Caller| async move {
            caller.imports().create_import(CreateImportRequest::default()).await
        };
        self.call(create).await.into_inner().import_job.unwrap().id
    }

    async fn upload(&self, id: &str, number: usize, records: &[Vec<u8>]) {
        let parts = importing::batch(id, &format!("b{number}"), records);
        let upload = |caller: Caller| {
            let parts = parts.clone();
            async move { importing::send(&caller, parts).await }
        };
        self.call(upload).await;
    }

    async fn seal(&self, id: &str, batches: &[Vec<Vec<u8>>]) {
        let records = batches.iter().map(Vec::len).sum();
        let seal = |caller: Caller| async move {
            importing::seal(&caller, id, batches.len(), records).await
        };
        self.call(seal).await;
    }

    /// Starts the second round. The call is idempotent by the round number.
    async fn retry(&self, id: &str) {
        let retry = |caller: Caller| async move { importing::retry(&caller, id, false, 2).await };
        assert_eq!(self.call(retry).await.round, 2);
    }

    /// Waits for the end of the round.
    async fn end(&self, id: &str) -> RoundResult {
        let watch = |caller: Caller| async move { importing::watch(&caller, id).await };
        let import = self.call(watch).await;
        assert_eq!(import.state(), ImportState::CompletedWithFailures);
        let request =
            ListFailuresRequest { import_id: id.into(), page_size: 1_000, ..Default::default() };
        let list = |caller: Caller| {
            let request = request.clone();
            async move { caller.imports().list_failures(request).await }
        };
        let listed = self.call(list).await.into_inner().failures.into_iter();
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
