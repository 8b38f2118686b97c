//! A product that subscribes to change events while another product imports.

use std::{collections::HashMap, fmt, time::Duration};

use anyhow::Context as _;
use concord_proto::pb::{
    imports::Import,
    records::{StartFrom, SubscribeRequest},
};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use crate::{
    client::{Feed, FeedUpdate, ServiceClient},
    render::event_text,
};

/// The number of lines that are printed for each kind of change.
const LINES_PER_KIND: usize = 2;

/// The timeout for the delivery of the last changes.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// A running subscription, and what it has received.
#[derive(Debug)]
pub(super) struct Subscriber {
    received: watch::Receiver<Received>,
    task: JoinHandle<anyhow::Result<()>>,
}

/// A summary of the received events.
#[derive(Clone, Debug, Default)]
pub(super) struct Received {
    count: i64,
    first: i64,
    last: i64,
    lines: Vec<String>,
}

impl Subscriber {
    /// Subscribes to changes from now on.
    pub(super) async fn start(server: ServiceClient) -> anyhow::Result<Self> {
        let request =
            SubscribeRequest { start_from: StartFrom::Now.into(), ..SubscribeRequest::default() };
        let mut feed = Feed::new(server, request);
        // Waits for the connection, before anything is imported.
        while !matches!(feed.next().await?, FeedUpdate::Connected(_)) {}
        let (sender, received) = watch::channel(Received::default());
        let task = tokio::spawn(receive(feed, sender));
        Ok(Self { received, task })
    }

    /// Waits until every change of the import was received.
    pub(super) async fn finish(mut self, import: &Import) -> anyhow::Result<Received> {
        let changes = import.counters.map(|counters| counters.imported).unwrap_or_default();
        let received = self.received.wait_for(|received| received.count >= changes);
        let received = timeout(DELIVERY_TIMEOUT, received).await;
        let received = received.map(|result| result.map(|received| received.clone()));
        self.task.abort();
        match received {
            Ok(Ok(received)) => Ok(received),
            Err(_) => anyhow::bail!("not every change was received in time"),
            // The task has ended early; its result is the reason.
            Ok(Err(_)) => {
                self.task.await.context("the subscription ended")??;
                anyhow::bail!("the subscription ended")
            }
        }
    }
}

async fn receive(mut feed: Feed, sender: watch::Sender<Received>) -> anyhow::Result<()> {
    // The number of events by kind of change and kind of record.
    let mut kinds: HashMap<(i32, i32), usize> = HashMap::new();
    loop {
        let FeedUpdate::Events(events) = feed.next().await? else { continue };
        let mut lines = Vec::new();
        for event in &events {
            let count = kinds.entry((event.kind, event.record_kind)).or_default();
            *count += 1;
            if *count <= LINES_PER_KIND {
                lines.push(event_text::line(event)?);
            }
        }
        sender.send_modify(|received| {
            if received.count == 0 {
                received.first = events.first().map(|event| event.position).unwrap_or_default();
            }
            received.last = events.last().map_or(received.last, |event| event.position);
            received.count += i64::try_from(events.len()).unwrap_or_default();
            received.lines.extend(lines);
        });
    }
}

impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, first, last, lines } = self;
        for line in lines {
            writeln!(f, "{line}")?;
        }
        write!(f, "       …\n  {count} changes, at the positions {first} to {last}: ")?;
        if last - first + 1 == *count {
            write!(f, "none is missing, and none is duplicated.")
        } else {
            write!(f, "{} are missing.", last - first + 1 - count)
        }
    }
}
