//! Subscribers of the feed: products that hear what another one writes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use shared::pb::records::{
    Events, Handshake, StartFrom, SubscribeRequest, SubscribeResponse,
    change_service_client::ChangeServiceClient, subscribe_response::Message,
};
use tonic::Streaming;

use crate::service::{self, Identity, PRACTICE, Wire};

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
    /// One with a connection of its own to whatever streams at `url`.
    pub(crate) async fn connect(url: &str) -> anyhow::Result<Self> {
        let wire = service::wire(url, Identity::owner(PRACTICE, "books")).await?;
        Ok(Self(ChangeServiceClient::new(wire)))
    }

    /// Opens a stream.
    pub(crate) async fn subscribe(&self, start_from: StartFrom) -> anyhow::Result<Changes> {
        let request = SubscribeRequest { start_from: start_from.into(), ..Default::default() };
        Ok(self.0.clone().subscribe(request).await?.into_inner())
    }

    /// Waits until the feed has so many changes, and no more are to come.
    pub(crate) async fn wait_for(&self, changes: i64) -> anyhow::Result<()> {
        let late = Instant::now() + PATIENCE;
        while handshake(&mut self.subscribe(StartFrom::Now).await?).await?.head_position < changes {
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

async fn next(changes: &mut Changes) -> anyhow::Result<SubscribeResponse> {
    changes.message().await?.context("a stream ended")
}
