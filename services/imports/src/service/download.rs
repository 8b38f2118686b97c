//! `DownloadFailures`: streams the failures file with flow control. It reads a page of
//! failures, writes it, and waits until the caller has received it.

use bytes::Bytes;
use concord_core::{
    caller::Caller,
    ids::{self, IdKind},
    status::ApiError,
};
use concord_server::on_demand::{self, Demand, OnDemand};
use tokio::sync::mpsc;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Imports, failures::READ_ROWS, find, key};
use crate::{
    domain::import::ImportKey,
    error::ImportError,
    failures_file::{Csv, FileWriter, Jsonl, Line},
    store::failures::{FailurePosition, Filter},
};

/// Size of one message, in bytes.
const CHUNK_BYTES: usize = 256 * 1_024;

/// Target size of one page of the file, in bytes, estimated from the previous page.
const READ_BYTES: usize = 1_024 * 1_024;

/// The file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Csv,
    Jsonl,
}

type ChunkResult = Result<Bytes, ImportError>;

impl Imports {
    /// Streams the failures file.
    pub(crate) async fn download(
        &self,
        caller: &Caller,
        id: Uuid,
        format: Format,
    ) -> Result<OnDemand<ChunkResult>, ImportError> {
        let key = key(caller, id);
        find(self.reader_of(&key)).await?;
        let (sender, demand, receiver) = on_demand::channel();
        let imports = self.clone();
        let download = async move {
            let mut out = Out { sender: sender.clone(), demand };
            let written = match format {
                Format::Csv => imports.write_file(&key, Csv::new(), &mut out).await,
                Format::Jsonl => imports.write_file(&key, Jsonl::new(), &mut out).await,
            };
            if let Err(error) = written {
                // A caller that has disconnected needs no answer.
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
        let mut size = READ_ROWS;
        loop {
            // Nothing is read from the database for a caller that does not read.
            if !self.wait_for_demand(out).await? {
                return Ok(());
            }
            let read = self.read_failures(key, &filter, after.as_ref(), size).await?;
            for (failure, record) in &read {
                file.write(&Line::of(&import, failure, record))?;
            }
            after = read.last().map(|(failure, _)| FailurePosition::of(&failure.row));
            let last = read.len() < size;
            let bytes = file.take();
            size = (size * READ_BYTES / bytes.len().max(1)).clamp(1, READ_ROWS);
            if !self.send(bytes, out).await? || last {
                return Ok(());
            }
        }
    }

    /// Sends some bytes; false if the caller has disconnected.
    async fn send(&self, mut bytes: Bytes, out: &mut Out) -> Result<bool, ImportError> {
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(CHUNK_BYTES));
            if !self.wait_for_demand(out).await? || out.sender.send(Ok(chunk)).await.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits until the transport has sent the previous message; false if the caller has
    /// disconnected.
    async fn wait_for_demand(&self, out: &mut Out) -> Result<bool, ImportError> {
        tokio::select! {
            wanted = out.demand.requested() => Ok(wanted.is_ok()),
            () = self.stop.cancelled() => {
                let stopping = "the service stops; download the file again";
                Err(ApiError::unavailable(stopping).into())
            }
        }
    }
}

/// The output of a download.
struct Out {
    sender: mpsc::Sender<ChunkResult>,
    demand: Demand,
}
