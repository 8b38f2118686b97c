//! Subscribers of the feed: products that hear what another one writes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use shared::pb::records::{
    Events, Handshake, StartFrom, SubscribeRequest, SubscribeResponse,
    change_service_client::ChangeServiceClient, subscribe_response::Message,
};
use tonic::Streaming;

use crate::service::{self, HEARS, Identity, PRACTICE, Wire};

/// How long the sequencer may take with what was written.
const PATIENCE: Duration = Duration::from_mins(10);

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A stream, as its reader sees it.
pub(crate) type Changes = Streaming<SubscribeResponse>;

/// Another product than the one that writes.
#[derive(Clone, Debug)]
pub(crate) struct Subscriber(ChangeServiceClient<Wire>);

impl Subscriber {
    /// One with a connection of its own to whatever streams at `url`, about the
    /// practice that is measured.
    pub(crate) async fn connect(url: &str) -> anyhow::Result<Self> {
        Self::of(url, PRACTICE).await
    }

    /// One that hears of `practice`.
    pub(crate) async fn of(url: &str, practice: &'static str) -> anyhow::Result<Self> {
        let wire = service::wire(url, Identity::owner(practice, HEARS)).await?;
        Ok(Self(ChangeServiceClient::new(wire)))
    }

    /// Opens a stream.
    pub(crate) async fn subscribe(&self, start_from: StartFrom) -> anyhow::Result<Changes> {
        let request = SubscribeRequest { start_from: start_from.into(), ..Default::default() };
        self.open(request).await
    }

    /// Opens a stream that goes on after a cursor.
    pub(crate) async fn go_on(&self, cursor: &str) -> anyhow::Result<Changes> {
        let request = SubscribeRequest { cursor: cursor.to_owned(), ..Default::default() };
        self.open(request).await
    }

    async fn open(&self, request: SubscribeRequest) -> anyhow::Result<Changes> {
        Ok(self.0.clone().subscribe(request).await?.into_inner())
    }

    /// Where the feed ends now.
    pub(crate) async fn now(&self) -> anyhow::Result<Handshake> {
        handshake(&mut self.subscribe(StartFrom::Now).await?).await
    }

    /// Waits until the feed has so many changes, and no more are to come.
    pub(crate) async fn wait_for(&self, changes: i64) -> anyhow::Result<()> {
        let late = Instant::now() + PATIENCE;
        while self.now().await?.head_position < changes {
            ensure!(Instant::now() < late, "{changes} changes were not sequenced");
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

/// The first message of a stream.
pub(crate) async fn handshake(changes: &mut Changes) -> anyhow::Result<Handshake> {
    match next(changes).await?.message {
        Some(Message::Handshake(handshake)) => Ok(handshake),
        _ => anyhow::bail!("a stream that does not begin with a handshake"),
    }
}

/// The next events of a stream.
pub(crate) async fn events(changes: &mut Changes) -> anyhow::Result<Events> {
    loop {
        if let Some(Message::Events(events)) = next(changes).await?.message {
            return Ok(events);
        }
    }
}

/// Reads so many events, or some more: the rest of their message.
pub(crate) async fn read(changes: &mut Changes, wanted: usize) -> anyhow::Result<()> {
    let mut read = 0;
    while read < wanted {
        read += events(changes).await?.events.len();
    }
    Ok(())
}

async fn next(changes: &mut Changes) -> anyhow::Result<SubscribeResponse> {
    changes.message().await?.context("a stream ended")
}
