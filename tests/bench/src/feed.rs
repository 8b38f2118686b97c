//! Subscribers of the feed, of another product than the writer.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use concord_proto::pb::records::{
    Events, Handshake, StartFrom, SubscribeRequest, SubscribeResponse,
    change_service_client::ChangeServiceClient, subscribe_response::Message,
};
use tonic::Streaming;

use crate::service::{self, Identity, PRACTICE, SUBSCRIBER, Wire};

/// Timeout for the sequencer.
const SEQUENCING_TIMEOUT: Duration = Duration::from_mins(10);

/// Interval between polls.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// An open stream.
pub(crate) type Changes = Streaming<SubscribeResponse>;

/// A client of the feed, for another product than the writer.
#[derive(Clone, Debug)]
pub(crate) struct Subscriber(ChangeServiceClient<Wire>);

impl Subscriber {
    /// Opens a connection to the server at `url`, for the measured practice.
    pub(crate) async fn connect(url: &str) -> anyhow::Result<Self> {
        Self::of(url, PRACTICE).await
    }

    /// Opens a connection for `practice`.
    pub(crate) async fn of(url: &str, practice: &'static str) -> anyhow::Result<Self> {
        let wire = service::wire(url, Identity::owner(practice, SUBSCRIBER)).await?;
        Ok(Self(ChangeServiceClient::new(wire)))
    }

    /// Opens a stream at a start position.
    pub(crate) async fn subscribe(&self, start_from: StartFrom) -> anyhow::Result<Changes> {
        let request = SubscribeRequest { start_from: start_from.into(), ..Default::default() };
        self.open(request).await
    }

    /// Opens a stream that resumes after a cursor.
    pub(crate) async fn resume(&self, cursor: &str) -> anyhow::Result<Changes> {
        let request = SubscribeRequest { cursor: cursor.to_owned(), ..Default::default() };
        self.open(request).await
    }

    async fn open(&self, request: SubscribeRequest) -> anyhow::Result<Changes> {
        Ok(self.0.clone().subscribe(request).await?.into_inner())
    }

    /// The handshake of a stream at the current end of the feed.
    pub(crate) async fn now(&self) -> anyhow::Result<Handshake> {
        handshake(&mut self.subscribe(StartFrom::Now).await?).await
    }

    /// Waits until the feed has `changes` sequenced changes.
    pub(crate) async fn wait_for(&self, changes: i64) -> anyhow::Result<()> {
        let deadline = Instant::now() + SEQUENCING_TIMEOUT;
        while self.now().await?.head_position < changes {
            ensure!(Instant::now() < deadline, "{changes} changes were not sequenced");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }
}

/// The first message of a stream.
pub(crate) async fn handshake(changes: &mut Changes) -> anyhow::Result<Handshake> {
    match next(changes).await?.message {
        Some(Message::Handshake(handshake)) => Ok(handshake),
        _ => anyhow::bail!("a stream does not begin with a handshake"),
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

/// Reads at least `wanted` events, in whole messages.
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
