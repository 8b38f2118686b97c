//! `DownloadFailures`: reads some failures, writes them, waits until the caller
//! has taken them, reads the next.

use bytes::Bytes;
use shared::{
    caller::Caller,
    ids::{self, IdKind},
    server::on_demand::{self, Demand, OnDemand},
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

/// Bytes of a file that are made at once, as far as the failures before these tell.
const READ_BYTES: usize = 1_024 * 1_024;

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
    ) -> Result<OnDemand<Sent>, ImportError> {
        let key = key(caller, id);
        self.check_exists(&key).await?;
        let (sender, demand, receiver) = on_demand::channel();
        let imports = self.clone();
        let download = async move {
            let mut out = Out { sender: sender.clone(), demand };
            let written = match format {
                Format::Csv => imports.write_file(&key, Csv::new(), &mut out).await,
                Format::Jsonl => imports.write_file(&key, Jsonl::new(), &mut out).await,
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
        out: &mut Out,
    ) -> Result<(), ImportError> {
        let import = ids::text(IdKind::Import, key.id);
        let (filter, mut after) = (Filter::default(), None::<FailurePosition>);
        let mut size = READ;
        loop {
            // Nothing is read for a caller who does not read.
            if !self.is_wanted(out).await? {
                return Ok(());
            }
            let read = self.read_failures(key, &filter, after.as_ref(), size).await?;
            for (failure, record) in &read {
                file.write(&Line::of(&import, failure, record))?;
            }
            after = read.last().map(|(failure, _)| failure.row.position());
            let last = read.len() < size;
            let bytes = file.take();
            size = (size * READ_BYTES / bytes.len().max(1)).clamp(1, READ);
            if !self.send(bytes, out).await? || last {
                return Ok(());
            }
        }
    }

    /// Sends some bytes; `false` when nobody takes them.
    async fn send(&self, mut bytes: Bytes, out: &mut Out) -> Result<bool, ImportError> {
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(CHUNK_BYTES));
            if !self.is_wanted(out).await? || out.sender.send(Ok(chunk)).await.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits until the transport has taken what was sent; `false` when nobody reads any
    /// longer.
    async fn is_wanted(&self, out: &mut Out) -> Result<bool, ImportError> {
        tokio::select! {
            wanted = out.demand.wanted() => Ok(wanted.is_ok()),
            () = self.stop.cancelled() => {
                let stopping = "the service stops; download the file again";
                Err(Refusal::unavailable(stopping).into())
            }
        }
    }
}

/// Where the file goes.
struct Out {
    sender: mpsc::Sender<Sent>,
    demand: Demand,
}
