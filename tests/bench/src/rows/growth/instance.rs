//! An instance: a records service in a separate process, with a dataset of one size.

use std::ops::Range;

use anyhow::{Context as _, ensure};
use concord_proto::pb::{
    imports::RecordStatus,
    internal::{ApplyChunkRequest, ingest_service_client::IngestServiceClient},
};
use tonic::{service::interceptor::InterceptedService, transport::Channel};

use super::{dataset_size::DatasetSize, names};
use crate::{
    chunks::{self, CHUNK},
    databases::{Databases, Engine},
    feed::Subscriber,
    output,
    process::Process,
    service::{self, Identity, PRODUCTS, WRITER, Wire},
};

/// A service, and the ids of its records.
pub(super) struct Instance {
    pub(super) size: DatasetSize,
    pub(super) process: Process,
    /// Size on disk after filling, in bytes.
    pub(super) disk: u64,
    /// The clients to read.
    pub(super) reads: Picks,
    /// The clients to rename. Each once, because a name changes at most once a day.
    pub(super) renames: Picks,
    practices: Vec<Practice>,
    channel: Channel,
    /// The tokens of the pages in the middle of a list, once found.
    pub(super) pages: Vec<String>,
    /// Number of changes.
    changes: usize,
}

#[derive(Debug)]
struct Practice {
    name: &'static str,
    /// The ids of the clients, by number.
    ids: Vec<String>,
}

/// A client, by practice and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pick {
    pub(super) practice: usize,
    pub(super) number: usize,
}

impl Instance {
    /// Starts a service with an empty database and fills it.
    pub(super) async fn start(
        databases: &Databases,
        engine: Engine,
        name: &str,
        size: DatasetSize,
    ) -> anyhow::Result<Self> {
        output::note(format_args!("growth on {engine}: creating {size} clients"));
        let process = Process::records(databases.location(engine, name).await?).await?;
        let channel = service::channel(process.url()).await?;
        let (reads, renames) = (Picks::new(size), Picks::new(size));
        let practices = (0..size.practices).map(Practice::new).collect();
        let (disk, changes, pages) = (0, 0, Vec::new());
        let mut instance =
            Self { size, process, disk, reads, renames, practices, channel, pages, changes };
        instance.fill().await?;
        instance.disk = databases.size(engine, name).await?;
        Ok(instance)
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        for practice in 0..self.size.practices {
            let name = self.practice(practice)?.name;
            service::connect_products(self.process.url(), name, &PRODUCTS).await?;
            for first in (0..self.size.clients).step_by(CHUNK) {
                let last = self.size.clients.min(first + CHUNK);
                let ids = self.apply(practice, first..last).await?;
                self.practices.get_mut(practice).context("no practice")?.ids.extend(ids);
            }
        }
        self.sequenced().await
    }

    /// Applies these clients in one chunk and returns their ids.
    pub(super) async fn apply(
        &mut self,
        practice: usize,
        numbers: Range<usize>,
    ) -> anyhow::Result<Vec<String>> {
        let identity = chunks::importer(self.practice(practice)?.name);
        let mut ingest =
            IngestServiceClient::new(InterceptedService::new(self.channel.clone(), identity));
        self.add_changes(numbers.len());
        let records = numbers.map(|number| names::record(number, self.size.clients)).collect();
        let request = ApplyChunkRequest { records, ..ApplyChunkRequest::default() };
        let outcomes = ingest.apply_chunk(request).await?.into_inner().outcomes;
        let imported = |status| status == RecordStatus::Imported;
        ensure!(outcomes.iter().all(|outcome| imported(outcome.status())), "a record failed");
        Ok(outcomes.into_iter().map(|outcome| outcome.record_id).collect())
    }

    /// Waits until all changes are sequenced.
    pub(super) async fn sequenced(&self) -> anyhow::Result<()> {
        self.subscriber().await?.wait_for(self.changes.try_into()?).await
    }

    /// A subscriber to all practices.
    pub(super) async fn subscriber(&self) -> anyhow::Result<Subscriber> {
        Subscriber::of(self.process.url(), Identity::ALL).await
    }

    /// Adds to the number of changes to wait for.
    pub(super) fn add_changes(&mut self, count: usize) {
        self.changes += count;
    }

    /// An authenticated connection for a practice.
    pub(super) fn wire(&self, practice: usize) -> anyhow::Result<Wire> {
        Ok(InterceptedService::new(self.channel.clone(), self.identity(practice)?))
    }

    pub(super) fn id(&self, Pick { practice, number }: Pick) -> anyhow::Result<&str> {
        let id = self.practice(practice)?.ids.get(number);
        Ok(id.context("the practice does not have this client")?)
    }

    fn identity(&self, practice: usize) -> anyhow::Result<Identity> {
        Ok(Identity::owner(self.practice(practice)?.name, WRITER))
    }

    fn practice(&self, practice: usize) -> anyhow::Result<&Practice> {
        self.practices.get(practice).context("no practice")
    }
}

impl Practice {
    fn new(number: usize) -> Self {
        // Leaks some kilobytes: identities need static names.
        Self { name: format!("bench{number}").leak(), ids: Vec::new() }
    }
}

/// A pseudo-random sequence of all clients. It repeats after all clients have occurred once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picks {
    size: DatasetSize,
    stride: usize,
    taken: usize,
}

impl Picks {
    fn new(size: DatasetSize) -> Self {
        // A stride near the golden ratio moves consecutive clients far apart.
        let total = size.total();
        let mut stride = total * 618 / 1_000 + 1;
        while common_divisor(stride, total) > 1 {
            stride += 1;
        }
        Self { size, stride, taken: 0 }
    }

    /// The next client. Restarts after the last.
    pub(super) fn next(&mut self) -> Pick {
        let at = self.taken % self.size.total() * self.stride % self.size.total();
        self.taken += 1;
        Pick { practice: at % self.size.practices, number: at / self.size.practices }
    }

    /// The next client; `None` after the last.
    pub(super) fn next_new(&mut self) -> Option<Pick> {
        (self.taken < self.size.total()).then(|| self.next())
    }
}

const fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_client_is_picked_once() {
        for size in [DatasetSize::of_one(1), DatasetSize::of_one(1_000), "50x20".parse().unwrap()] {
            let mut picks = Picks::new(size);
            let picked: HashSet<Pick> = std::iter::from_fn(|| picks.next_new()).collect();
            assert_eq!(picked.len(), size.total());
        }
    }
}
