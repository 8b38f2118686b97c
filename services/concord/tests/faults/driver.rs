//! One who imports the sample, and sends every call again until it is answered.

use std::time::Duration;

use shared::{
    pb::imports::{
        BatchCommit, BatchHeader, CreateImportRequest, Failure as Listed, Import, ImportCounters,
        ImportState, ListFailuresRequest, RetryImportRequest, SealImportRequest,
        UploadBatchRequest, WatchImportRequest, upload_batch_request::Part,
    },
    wire::BatchFrame,
};
use tokio::sync::watch;
use tonic::Status;

use crate::support::{
    caller::Caller,
    dice::Dice,
    failure::{Failure, failure},
    sample,
};

/// Records of a batch: the sample makes some thirty of them.
const BATCH: usize = 12;

/// How long one step of an import may take, with all the faults in it.
const PATIENCE: Duration = Duration::from_mins(5);

/// What somebody does who imports, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Upload,
    Seal,
    Work,
    Retry,
}

/// What is told of an import at the end of a round.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) counters: ImportCounters,
    /// The failures, without where the records were in their batches; sorted.
    failures: Vec<String>,
}

/// Who imports.
pub(crate) struct Driver {
    replicas: Vec<Caller>,
    /// All that it may meet.
    expected: &'static [Failure],
    step: watch::Sender<Step>,
    dice: Dice,
}

impl Driver {
    /// One who calls these replicas in turn, and what it does.
    pub(crate) fn new(
        replicas: Vec<Caller>,
        expected: &'static [Failure],
        dice: Dice,
    ) -> (Self, watch::Receiver<Step>) {
        let (step, steps) = watch::channel(Step::Upload);
        (Self { replicas, expected, step, dice }, steps)
    }

    /// Imports the sample; then has what failed tried again. What is told after
    /// each.
    pub(crate) async fn run(mut self) -> [Told; 2] {
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

    /// The sample in some order.
    fn batches(&mut self) -> Vec<Vec<Vec<u8>>> {
        let mut records = sample::records();
        for at in (1..records.len()).rev() {
            records.swap(at, self.dice.below(at + 1));
        }
        records.chunks(BATCH).map(<[_]>::to_vec).collect()
    }

    /// Calls one replica after the other until it is done.
    async fn insist<T, F>(&self, call: impl Fn(Caller) -> F) -> T
    where
        F: Future<Output = Result<T, Status>>,
    {
        let again = async {
            for replica in self.replicas.iter().cycle() {
                match call(replica.clone()).await {
                    Ok(answer) => return answer,
                    Err(status) => {
                        assert!(self.expected.contains(&failure(&status)), "{status:?}");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            }
            unreachable!("there is a replica")
        };
        tokio::time::timeout(PATIENCE, again).await.expect("an answer in time")
    }

    async fn create(&self) -> String {
        let create = |caller: Caller| async move {
            caller.imports().create_import(CreateImportRequest::default()).await
        };
        self.insist(create).await.into_inner().import.unwrap().id
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
        self.insist(upload).await;
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
        self.insist(seal).await;
    }

    /// Begins the second round, once, however often the call comes.
    async fn retry(&self, id: &str) {
        let request =
            RetryImportRequest { import_id: id.to_owned(), replacements: false, round: 2 };
        let retry = |caller: Caller| {
            let request = request.clone();
            async move { caller.imports().retry_import(request).await }
        };
        let begun = self.insist(retry).await.into_inner().import.unwrap();
        assert_eq!(begun.round, 2);
    }

    /// Watches to the end of the round.
    async fn end(&self, id: &str) -> Told {
        let import = self.insist(|caller| watch_to_the_end(caller, id)).await;
        assert_eq!(import.state(), ImportState::CompletedWithFailures);
        let request =
            ListFailuresRequest { import_id: id.into(), page_size: 1_000, ..Default::default() };
        let list = |caller: Caller| {
            let request = request.clone();
            async move { caller.imports().list_failures(request).await }
        };
        let listed = self.insist(list).await.into_inner().failures.into_iter();
        let place = |listed| Listed {
            batch_key: String::new(),
            row: 0,
            row_token: String::new(),
            ..listed
        };
        let mut failures: Vec<_> = listed.map(|one| format!("{:?}", place(one))).collect();
        failures.sort();
        Told { counters: import.counters.unwrap(), failures }
    }
}

async fn watch_to_the_end(caller: Caller, id: &str) -> Result<Import, Status> {
    let request = WatchImportRequest { import_id: id.to_owned() };
    let mut stream = caller.imports().watch_import(request).await?.into_inner();
    let mut last = None;
    while let Some(told) = stream.message().await? {
        last = told.import;
    }
    last.ok_or_else(|| Status::unavailable("the stream said nothing"))
}
