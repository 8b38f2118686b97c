//! A product that listens while another one imports.

use std::{collections::HashMap, fmt, time::Duration};

use anyhow::Context as _;
use shared::pb::{
    imports::Import,
    records::{StartFrom, SubscribeRequest},
};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use crate::{
    client::Server,
    event_text,
    feed::{Feed, Heard},
};

/// So many lines are shown of each sort of change.
const LINES_OF_A_SORT: usize = 2;

/// How long the last changes may be on their way.
const PATIENCE: Duration = Duration::from_secs(30);

/// Somebody listens.
#[derive(Debug)]
pub(super) struct Audience {
    heard: watch::Receiver<Digest>,
    listening: JoinHandle<anyhow::Result<()>>,
}

/// What was heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Digest {
    count: i64,
    first: i64,
    last: i64,
    lines: Vec<String>,
}

impl Audience {
    /// Begins to listen, from now on.
    pub(super) async fn begin(server: Server) -> anyhow::Result<Self> {
        let request =
            SubscribeRequest { start_from: StartFrom::Now.into(), ..SubscribeRequest::default() };
        let mut feed = Feed::new(server, request);
        // The stream stands before anything is imported.
        while !matches!(feed.next().await?, Heard::Beginning(_)) {}
        let (tell, heard) = watch::channel(Digest::default());
        let listening = tokio::spawn(listen(feed, tell));
        Ok(Self { heard, listening })
    }

    /// Waits until every change of the import was heard.
    pub(super) async fn end(mut self, import: &Import) -> anyhow::Result<Digest> {
        let changes = import.counters.map(|counters| counters.imported).unwrap_or_default();
        let heard = self.heard.wait_for(|digest| digest.count >= changes);
        let heard = timeout(PATIENCE, heard).await;
        let heard = heard.map(|heard| heard.map(|digest| digest.clone()));
        self.listening.abort();
        match heard {
            Ok(Ok(digest)) => Ok(digest),
            Err(_) => anyhow::bail!("not every change was heard in time"),
            // It has ended by itself, and says why.
            Ok(Err(_)) => {
                self.listening.await.context("listening ended")??;
                anyhow::bail!("listening ended")
            }
        }
    }
}

async fn listen(mut feed: Feed, tell: watch::Sender<Digest>) -> anyhow::Result<()> {
    // How many of each kind of change of each kind of record.
    let mut sorts: HashMap<(i32, i32), usize> = HashMap::new();
    loop {
        let Heard::Events(events) = feed.next().await? else { continue };
        let mut lines = Vec::new();
        for event in &events {
            let heard = sorts.entry((event.kind, event.record_kind)).or_default();
            *heard += 1;
            if *heard <= LINES_OF_A_SORT {
                lines.push(event_text::line(event)?);
            }
        }
        tell.send_modify(|digest| {
            if digest.count == 0 {
                digest.first = events.first().map(|event| event.position).unwrap_or_default();
            }
            digest.last = events.last().map_or(digest.last, |event| event.position);
            digest.count += i64::try_from(events.len()).unwrap_or_default();
            digest.lines.extend(lines);
        });
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, first, last, lines } = self;
        for line in lines {
            writeln!(f, "{line}")?;
        }
        write!(f, "       …\n  {count} changes, at the positions {first} to {last}: ")?;
        if last - first + 1 == *count {
            write!(f, "none is missing, and none came twice.")
        } else {
            write!(f, "{} are missing.", last - first + 1 - count)
        }
    }
}
