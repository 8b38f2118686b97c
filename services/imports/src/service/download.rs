//! `DownloadFailures`: reads some failures, writes them, waits until the caller
//! has taken them, reads the next.

use bytes::Bytes;
use shared::{
    caller::Caller,
    ids::{self, IdKind},
    status::Refusal,
};
use tokio::sync::mpsc;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Imports, failures::READ, key};
use crate::{
    domain::import::ImportKey,
    error::ImportError,
    failures_file::{Csv, FileWriter, Jsonl, Line},
    store::failures::{FailurePosition, Filter},
};

/// The bytes of one message.
const CHUNK_BYTES: usize = 256 * 1_024;

/// Messages that wait for a caller who reads slowly.
const WAITING: usize = 2;

/// The form of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Csv,
    Jsonl,
}

type Sent = Result<Bytes, ImportError>;

impl Imports {
    /// Streams the failures file.
    pub(crate) async fn download(
        &self,
        caller: &Caller,
        id: Uuid,
        format: Format,
    ) -> Result<mpsc::Receiver<Sent>, ImportError> {
        let key = key(caller, id);
        self.check_exists(&key).await?;
        let (sender, receiver) = mpsc::channel(WAITING);
        let imports = self.clone();
        let download = async move {
            let written = match format {
                Format::Csv => imports.write_file(&key, Csv::new(), &sender).await,
                Format::Jsonl => imports.write_file(&key, Jsonl::new(), &sender).await,
            };
            if let Err(error) = written {
                // A caller who has gone away needs no answer.
                let _ = sender.send(Err(error)).await;
            }
        };
        tokio::spawn(download.in_current_span());
        Ok(receiver)
    }

    async fn write_file(
        &self,
        key: &ImportKey,
        mut file: impl FileWriter,
        sender: &mpsc::Sender<Sent>,
    ) -> Result<(), ImportError> {
        let import = ids::text(IdKind::Import, key.id);
        let (filter, mut after) = (Filter::default(), None::<FailurePosition>);
        loop {
            let read = self.read_failures(key, &filter, after.as_ref(), READ).await?;
            for (failure, record) in &read {
                file.write(&Line::of(&import, failure, record))?;
            }
            after = read.last().map(|(failure, _)| failure.row.position());
            let last = read.len() < READ;
            if !self.send(file.take(), sender).await? || last {
                return Ok(());
            }
        }
    }

    /// Sends some bytes; `false` when nobody takes them.
    async fn send(
        &self,
        mut bytes: Bytes,
        sender: &mpsc::Sender<Sent>,
    ) -> Result<bool, ImportError> {
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(CHUNK_BYTES));
            tokio::select! {
                sent = sender.send(Ok(chunk)) => if sent.is_err() { return Ok(false) },
                () = self.stop.cancelled() => {
                    let stopping = "the service stops; download the file again";
                    return Err(Refusal::unavailable(stopping).into());
                }
            }
        }
        Ok(true)
    }
}
