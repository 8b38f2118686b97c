//! A records service in a process of its own, with a database of one extent.

use std::ops::Range;

use anyhow::{Context as _, ensure};
use shared::pb::{
    imports::RecordStatus,
    internal::{ApplyChunkRequest, ingest_service_client::IngestServiceClient},
};
use tonic::{service::interceptor::InterceptedService, transport::Channel};

use super::{extent::Extent, names};
use crate::{
    chunks::{self, CHUNK},
    databases::{Databases, Engine},
    feed::Subscriber,
    output,
    process::Process,
    service::{self, Identity, PRODUCTS, SAVES, Wire},
};

/// A service, and what is known of its records.
pub(super) struct World {
    pub(super) extent: Extent,
    pub(super) process: Process,
    /// Bytes on the disk when it had been filled.
    pub(super) disk: u64,
    /// Which clients are read next.
    pub(super) reads: Picks,
    /// Which are renamed next: each once, for a name is not changed twice a day.
    pub(super) renames: Picks,
    practices: Vec<Practice>,
    channel: Channel,
    /// Where pages in the middle of a list begin, once they have been found.
    pub(super) pages: Vec<String>,
    /// Changes that were made.
    changes: usize,
}

#[derive(Debug)]
struct Practice {
    name: &'static str,
    /// Of its clients, by their numbers.
    ids: Vec<String>,
}

/// One client, somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pick {
    pub(super) practice: usize,
    pub(super) number: usize,
}

impl World {
    /// Starts a service on an empty database and fills it.
    pub(super) async fn start(
        databases: &Databases,
        engine: Engine,
        name: &str,
        extent: Extent,
    ) -> anyhow::Result<Self> {
        output::note(format_args!("growth on {engine}: {extent} clients are brought over"));
        let process = Process::records(databases.place(engine, name).await?).await?;
        let channel = service::channel(process.url()).await?;
        let (reads, renames) = (Picks::new(extent), Picks::new(extent));
        let practices = (0..extent.practices).map(Practice::new).collect();
        let (disk, changes, pages) = (0, 0, Vec::new());
        let mut world =
            Self { extent, process, disk, reads, renames, practices, channel, pages, changes };
        world.fill().await?;
        world.disk = databases.size(engine, name).await?;
        Ok(world)
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        for practice in 0..self.extent.practices {
            let name = self.practice(practice)?.name;
            service::connect_products(self.process.url(), name, &PRODUCTS).await?;
            for first in (0..self.extent.clients).step_by(CHUNK) {
                let last = self.extent.clients.min(first + CHUNK);
                let ids = self.apply(practice, first..last).await?;
                self.practices.get_mut(practice).context("no practice")?.ids.extend(ids);
            }
        }
        self.sequenced().await
    }

    /// Brings these clients over in one chunk; tells their ids.
    pub(super) async fn apply(
        &mut self,
        practice: usize,
        numbers: Range<usize>,
    ) -> anyhow::Result<Vec<String>> {
        let identity = chunks::importer(self.practice(practice)?.name);
        let mut ingest =
            IngestServiceClient::new(InterceptedService::new(self.channel.clone(), identity));
        self.note_changes(numbers.len());
        let records = numbers.map(|number| names::record(number, self.extent.clients)).collect();
        let request = ApplyChunkRequest { records, ..ApplyChunkRequest::default() };
        let outcomes = ingest.apply_chunk(request).await?.into_inner().outcomes;
        let imported = |status| status == RecordStatus::Imported;
        ensure!(outcomes.iter().all(|outcome| imported(outcome.status())), "a record failed");
        Ok(outcomes.into_iter().map(|outcome| outcome.record_id).collect())
    }

    /// Waits until every change has its position.
    pub(super) async fn sequenced(&self) -> anyhow::Result<()> {
        self.subscriber().await?.wait_for(self.changes.try_into()?).await
    }

    /// A product that hears of all practices.
    pub(super) async fn subscriber(&self) -> anyhow::Result<Subscriber> {
        Subscriber::of(self.process.url(), Identity::ALL).await
    }

    /// So many changes more will have positions.
    pub(super) fn note_changes(&mut self, count: usize) {
        self.changes += count;
    }

    /// What calls about a practice are sent through.
    pub(super) fn wire(&self, practice: usize) -> anyhow::Result<Wire> {
        Ok(InterceptedService::new(self.channel.clone(), self.identity(practice)?))
    }

    pub(super) fn id(&self, Pick { practice, number }: Pick) -> anyhow::Result<&str> {
        let id = self.practice(practice)?.ids.get(number);
        Ok(id.context("a practice without this client")?)
    }

    fn identity(&self, practice: usize) -> anyhow::Result<Identity> {
        Ok(Identity::owner(self.practice(practice)?.name, SAVES))
    }

    fn practice(&self, practice: usize) -> anyhow::Result<&Practice> {
        self.practices.get(practice).context("no practice")
    }
}

impl Practice {
    fn new(number: usize) -> Self {
        // Some kilobytes, once: identities are of names that stay.
        Self { name: format!("bench{number}").leak(), ids: Vec::new() }
    }
}

/// Clients from everywhere, in an order that looks like none; each once before one
/// comes again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picks {
    extent: Extent,
    stride: usize,
    taken: usize,
}

impl Picks {
    fn new(extent: Extent) -> Self {
        // About the golden section: what follows each other lies far apart.
        let total = extent.total();
        let mut stride = total * 618 / 1_000 + 1;
        while common_divisor(stride, total) > 1 {
            stride += 1;
        }
        Self { extent, stride, taken: 0 }
    }

    /// The next one, from the beginning again after the last.
    pub(super) fn next(&mut self) -> Pick {
        let at = self.taken % self.extent.total() * self.stride % self.extent.total();
        self.taken += 1;
        Pick { practice: at % self.extent.practices, number: at / self.extent.practices }
    }

    /// The next one that has not been picked.
    pub(super) fn next_new(&mut self) -> Option<Pick> {
        (self.taken < self.extent.total()).then(|| self.next())
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
        for extent in [Extent::of_one(1), Extent::of_one(1_000), "50x20".parse().unwrap()] {
            let mut picks = Picks::new(extent);
            let picked: HashSet<Pick> = std::iter::from_fn(|| picks.next_new()).collect();
            assert_eq!(picked.len(), extent.total());
        }
    }
}
