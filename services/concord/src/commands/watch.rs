//! `concord watch`: listens to the changes that a product is told of.

mod end;
mod request;

use std::{io, time::Duration};

use anyhow::{Context as _, ensure};
use prost::DecodeError;
use serde_json::json;
use shared::{
    pb::records::{Handshake, SnapshotEnd},
    wire::{Event, SnapshotRecord},
};
use tokio::time::Instant;

use crate::{
    DONE,
    cli::WatchOptions,
    client::Server,
    event_json, event_text,
    feed::{Feed, Heard},
    output, stop,
};
use end::End;

pub(super) async fn run(options: WatchOptions) -> anyhow::Result<u8> {
    options.check()?;
    let server = Server::records(&options.call).await?;
    let mut feed = Feed::new(server, request::of(&options));
    if options.subscription.name.is_some() && !options.subscription.ack {
        feed = feed.looking_only();
    }
    let ended = Watch::new(&options).listen(&mut feed).await;
    let note = match &options.subscription.name {
        None => end::by_cursor(ended.as_ref().ok(), feed.cursor()),
        Some(name) => {
            ended.as_ref().ok().map(|end| end::by_name(end, name, options.subscription.ack))
        }
    };
    note.into_iter().for_each(output::note);
    ended.map(|_| DONE)
}

/// A watch that is under way.
#[derive(Debug)]
struct Watch<'o> {
    options: &'o WatchOptions,
    /// How much more is to be shown; without an end when there is none.
    left: Option<u64>,
    /// Whether the present trouble was told: once is enough.
    in_trouble: bool,
    /// Whether a stream has begun.
    has_begun: bool,
    /// Whether it was told that the stream waits.
    is_waiting: bool,
    snapshot: Snapshot,
}

/// What of a snapshot was shown.
#[derive(Debug, Default)]
struct Snapshot {
    records: usize,
    /// Whether it goes on with one that an earlier watch began.
    is_rest: bool,
}

impl<'o> Watch<'o> {
    fn new(options: &'o WatchOptions) -> Self {
        Self {
            options,
            left: options.count,
            in_trouble: false,
            has_begun: false,
            is_waiting: false,
            snapshot: Snapshot::default(),
        }
    }

    /// Listens until it was enough, or until someone ends it.
    async fn listen(&mut self, feed: &mut Feed) -> anyhow::Result<End> {
        let idle = self.options.until_idle.map(Duration::from_secs);
        let mut idle_at = idle.map(|idle| Instant::now() + idle);
        let mut asked_to_stop = std::pin::pin!(stop::asked());
        loop {
            let before = feed.cursor().to_owned();
            let heard = tokio::select! {
                heard = feed.next() => heard?,
                () = sleep_until(idle_at) => {
                    ensure!(feed.is_connected(), "the connection was lost, and did not come back in time");
                    return Ok(End::Here);
                }
                stop = &mut asked_to_stop => {
                    stop.context("no signals")?;
                    return Ok(if feed.owes() { End::Unacknowledged } else { End::Here });
                }
            };
            if matches!(heard, Heard::Events(_) | Heard::Records(_) | Heard::SnapshotEnd(_)) {
                idle_at = idle.map(|idle| Instant::now() + idle);
            }
            if let Some(end) = self.take(heard, before, feed)? {
                return Ok(end);
            }
        }
    }

    /// Shows what was heard; where the watch ends, when it was enough.
    fn take(
        &mut self,
        heard: Heard,
        before: String,
        feed: &mut Feed,
    ) -> anyhow::Result<Option<End>> {
        let json = self.options.call.json;
        match heard {
            Heard::Beginning(handshake) => self.beginning(&handshake),
            Heard::Lost(why) => {
                if !std::mem::replace(&mut self.in_trouble, true) {
                    output::note(format_args!("{why}; trying again"));
                }
            }
            Heard::Waiting => self.waiting(),
            Heard::Acknowledged => {
                self.in_trouble = false;
                return Ok((self.left == Some(0)).then_some(End::Here));
            }
            Heard::SnapshotEnd(end) => {
                self.snapshot_end(&end)?;
                self.acknowledge(feed)?;
            }
            Heard::Records(records) => {
                self.snapshot.records += records.len();
                let lines = records.iter().map(|record| record_line(record, json));
                return self.show(lines, before, feed);
            }
            Heard::Events(events) => {
                self.is_waiting = false;
                let lines = events.iter().map(|event| event_line(event, json));
                return self.show(lines, before, feed);
            }
        }
        Ok(None)
    }

    /// A connection that was renewed is not worth a word, unless records come
    /// again.
    fn beginning(&mut self, handshake: &Handshake) {
        let was_in_trouble = std::mem::replace(&mut self.in_trouble, false);
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let (snapshot, resumed) = (handshake.snapshot, handshake.snapshot_resumed);
        if snapshot && (is_first || !resumed) {
            self.snapshot = Snapshot { records: 0, is_rest: resumed };
        }
        let note = match (snapshot, resumed) {
            (true, false) => "a snapshot begins: every record as it is now".to_owned(),
            _ if !is_first && !was_in_trouble => return,
            (true, true) => "the snapshot goes on where it was".to_owned(),
            (false, _) => format!("listening after position {}", handshake.position),
        };
        output::note(note);
    }

    fn snapshot_end(&mut self, end: &SnapshotEnd) -> io::Result<()> {
        let (Snapshot { records, is_rest }, position) = (&self.snapshot, end.position);
        if self.options.call.json {
            let end = json!({ "position": position, "record_count": records });
            output::line(json!({ "snapshot_end": end }))?;
        }
        let rest = if *is_rest { ", beside those of an earlier watch" } else { "" };
        output::note(format_args!(
            "snapshot complete: {records} records{rest}, listening after position {position}"
        ));
        Ok(())
    }

    fn waiting(&mut self) {
        if !self.options.subscription.ack && !std::mem::replace(&mut self.is_waiting, true) {
            output::note(
                "the stream waits until what was shown is acknowledged; with --ack, watch does so",
            );
        }
    }

    /// Shows as many lines as are wanted, and acknowledges them when they are all
    /// of those that came together.
    fn show(
        &mut self,
        lines: impl ExactSizeIterator<Item = Result<String, DecodeError>>,
        before: String,
        feed: &mut Feed,
    ) -> anyhow::Result<Option<End>> {
        let came = lines.len();
        let most = self.left.map_or(came, |left| usize::try_from(left).unwrap_or(came));
        for line in lines.take(most) {
            output::line(output::visible(&line?))?;
        }
        self.left = self.left.map(|left| left.saturating_sub(came as u64));
        if most < came {
            return Ok(Some(End::Amid { before }));
        }
        self.acknowledge(feed)?;
        Ok((self.left == Some(0) && !feed.owes()).then_some(End::Here))
    }

    /// What was shown counts as dealt with once it has left the program.
    fn acknowledge(&self, feed: &mut Feed) -> io::Result<()> {
        output::flush()?;
        if self.options.subscription.ack {
            feed.acknowledge();
        }
        Ok(())
    }
}

fn event_line(event: &Event, json: bool) -> Result<String, DecodeError> {
    if json {
        event_json::event(event).map(|event| event.to_string())
    } else {
        event_text::line(event)
    }
}

/// In JSON in an object of its own, so that it is not taken for a change.
fn record_line(record: &SnapshotRecord, json: bool) -> Result<String, DecodeError> {
    if json {
        event_json::record(record).map(|record| json!({ "snapshot_record": record }).to_string())
    } else {
        event_text::record_line(record)
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
