//! `concord watch`: subscribes to the change events of a product, and prints them.

mod end;
mod request;

use std::{io, time::Duration};

use anyhow::{Context as _, ensure};
use concord_proto::{
    pb::records::{Handshake, SnapshotEnd},
    wire::{Event, SnapshotRecord},
};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    cli::WatchOptions,
    client::{Feed, FeedUpdate, ServiceClient},
    host::shutdown,
    render::{event_json, event_text, output},
};
use end::WatchEnd;

pub(super) async fn run(options: WatchOptions) -> anyhow::Result<u8> {
    options.check()?;
    let server = ServiceClient::records(&options.call).await?;
    let mut feed = Feed::new(server, request::of(&options));
    if options.subscription.name.is_some() && !options.subscription.ack {
        feed = feed.read_only();
    }
    let ended = Watch::new(&options).run(&mut feed).await;
    let note = match &options.subscription.name {
        None => end::resume_hint(ended.as_ref().ok(), feed.cursor()),
        Some(name) => ended
            .as_ref()
            .ok()
            .map(|end| end::subscription_hint(end, name, options.subscription.ack)),
    };
    note.into_iter().for_each(output::note);
    ended.map(|_| output::EXIT_OK)
}

/// The state of a running watch.
#[derive(Debug)]
struct Watch<'o> {
    options: &'o WatchOptions,
    /// The number of items still to print; none for no limit.
    remaining: Option<u64>,
    /// Whether the current disconnection was reported: it is reported once.
    is_disconnected: bool,
    /// Whether a stream was ever connected.
    has_connected: bool,
    /// Whether it was reported that the stream awaits an acknowledgement.
    is_waiting: bool,
    snapshot: Snapshot,
}

/// The progress of a snapshot.
#[derive(Debug, Default)]
struct Snapshot {
    records: usize,
    /// Whether it resumes a snapshot of an earlier watch.
    is_resumed: bool,
}

impl<'o> Watch<'o> {
    fn new(options: &'o WatchOptions) -> Self {
        Self {
            options,
            remaining: options.count,
            is_disconnected: false,
            has_connected: false,
            is_waiting: false,
            snapshot: Snapshot::default(),
        }
    }

    /// Prints updates of the feed until `--count`, `--until-idle` or a shutdown signal.
    async fn run(&mut self, feed: &mut Feed) -> anyhow::Result<WatchEnd> {
        let idle = self.options.until_idle.map(Duration::from_secs);
        let mut idle_at = idle.map(|idle| Instant::now() + idle);
        let mut shutdown_requested = std::pin::pin!(shutdown::requested());
        loop {
            let before = feed.cursor().to_owned();
            let update = tokio::select! {
                update = feed.next() => update?,
                () = sleep_until(idle_at) => {
                    ensure!(
                        feed.is_connected(),
                        "the connection was lost, and was not restored in time"
                    );
                    return Ok(WatchEnd::Complete);
                }
                requested = &mut shutdown_requested => {
                    requested.context("cannot listen for signals")?;
                    let is_pending = feed.has_pending_acknowledgement();
                    return Ok(if is_pending {
                        WatchEnd::Unacknowledged
                    } else {
                        WatchEnd::Complete
                    });
                }
            };
            if matches!(
                update,
                FeedUpdate::Events(_) | FeedUpdate::SnapshotRecords(_) | FeedUpdate::SnapshotEnd(_)
            ) {
                idle_at = idle.map(|idle| Instant::now() + idle);
            }
            if let Some(end) = self.handle(update, before, feed)? {
                return Ok(end);
            }
        }
    }

    /// Prints an update. Returns how the watch ends, when `--count` is reached. `before` is
    /// the cursor before the update.
    fn handle(
        &mut self,
        update: FeedUpdate,
        before: String,
        feed: &mut Feed,
    ) -> anyhow::Result<Option<WatchEnd>> {
        let json = self.options.call.json;
        match update {
            FeedUpdate::Connected(handshake) => self.connected(&handshake),
            FeedUpdate::Disconnected(error) => {
                if !std::mem::replace(&mut self.is_disconnected, true) {
                    output::note(format_args!("{error}; retrying"));
                }
            }
            FeedUpdate::AwaitingAcknowledgement => self.waiting(),
            FeedUpdate::Acknowledged => {
                self.is_disconnected = false;
                return Ok((self.remaining == Some(0)).then_some(WatchEnd::Complete));
            }
            FeedUpdate::SnapshotEnd(end) => {
                self.snapshot_end(&end)?;
                self.acknowledge(feed)?;
            }
            FeedUpdate::SnapshotRecords(records) => {
                self.snapshot.records += records.len();
                let lines = records.iter().map(|record| record_line(record, json));
                return self.show(lines, before, feed);
            }
            FeedUpdate::Events(events) => {
                self.is_waiting = false;
                let lines = events.iter().map(|event| event_line(event, json));
                return self.show(lines, before, feed);
            }
        }
        Ok(None)
    }

    /// Reports the start of a stream. A planned reconnection is not reported, unless the
    /// snapshot restarts.
    fn connected(&mut self, handshake: &Handshake) {
        let was_disconnected = std::mem::replace(&mut self.is_disconnected, false);
        let is_first = !std::mem::replace(&mut self.has_connected, true);
        let (snapshot, resumed) = (handshake.snapshot, handshake.snapshot_resumed);
        if snapshot && (is_first || !resumed) {
            self.snapshot = Snapshot { records: 0, is_resumed: resumed };
        }
        let note = match (snapshot, resumed) {
            (true, false) => "a snapshot starts: every current record".to_owned(),
            _ if !is_first && !was_disconnected => return,
            (true, true) => "the snapshot resumes from its last position".to_owned(),
            (false, _) => format!("listening after position {}", handshake.position),
        };
        output::note(note);
    }

    fn snapshot_end(&mut self, end: &SnapshotEnd) -> io::Result<()> {
        let (Snapshot { records, is_resumed }, position) = (&self.snapshot, end.position);
        if self.options.call.json {
            let end = json!({ "position": position, "record_count": records });
            output::line(json!({ "snapshot_end": end }))?;
        }
        let rest = if *is_resumed { ", in addition to those of an earlier watch" } else { "" };
        output::note(format_args!(
            "snapshot complete: {records} records{rest}, listening after position {position}"
        ));
        Ok(())
    }

    fn waiting(&mut self) {
        if !self.options.subscription.ack && !std::mem::replace(&mut self.is_waiting, true) {
            output::note(
                "the stream waits for an acknowledgement of the printed changes; --ack sends it",
            );
        }
    }

    /// Prints lines up to the remaining count, and acknowledges the batch when all of it
    /// was printed.
    fn show(
        &mut self,
        lines: impl ExactSizeIterator<Item = anyhow::Result<String>>,
        before: String,
        feed: &mut Feed,
    ) -> anyhow::Result<Option<WatchEnd>> {
        let received = lines.len();
        let limit = self
            .remaining
            .map_or(received, |remaining| usize::try_from(remaining).unwrap_or(received));
        for line in lines.take(limit) {
            output::line(output::escaped(&line?))?;
        }
        self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(received as u64));
        if limit < received {
            return Ok(Some(WatchEnd::MidBatch { before }));
        }
        self.acknowledge(feed)?;
        let is_done = self.remaining == Some(0) && !feed.has_pending_acknowledgement();
        Ok(is_done.then_some(WatchEnd::Complete))
    }

    /// Flushes the output, and then acknowledges everything printed so far.
    fn acknowledge(&self, feed: &mut Feed) -> io::Result<()> {
        output::flush()?;
        if self.options.subscription.ack {
            feed.acknowledge();
        }
        Ok(())
    }
}

fn event_line(event: &Event, json: bool) -> anyhow::Result<String> {
    if json {
        event_json::event(event).map(|event| event.to_string())
    } else {
        Ok(event_text::line(event)?)
    }
}

/// In JSON a snapshot record is wrapped in an object, to distinguish it from a change.
fn record_line(record: &SnapshotRecord, json: bool) -> anyhow::Result<String> {
    if json {
        event_json::record(record).map(|record| json!({ "snapshot_record": record }).to_string())
    } else {
        Ok(event_text::record_line(record)?)
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
