//! `concord watch`: listens to the changes that a product is told of.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use shared::{
    pb::records::{EchoMode, RecordKind, StartFrom, SubscribeRequest},
    wire::Event,
};
use tokio::time::Instant;

use crate::{
    DONE,
    cli::{Echo, Kind, Start, WatchOptions},
    client::Server,
    event_json, event_text,
    feed::{Feed, Heard},
    output, stop,
};

pub(super) async fn run(options: WatchOptions) -> anyhow::Result<u8> {
    let server = Server::records(&options.call).await?;
    let mut feed = Feed::new(server, request(&options));
    let ended = listen(&mut feed, &options).await;
    let cursor = match &ended {
        Ok(End::Amid { before }) => before,
        Ok(End::Here) | Err(_) => feed.cursor(),
    };
    if !cursor.is_empty() {
        output::note(format_args!("go on after this with --cursor {cursor}"));
    }
    ended.map(|_| DONE)
}

/// Where a watch has ended.
enum End {
    /// After all that came.
    Here,
    /// With changes left that came together with the last one that was shown.
    /// There is no cursor between them: this one is before all of them.
    Amid { before: String },
}

fn request(options: &WatchOptions) -> SubscribeRequest {
    let start_from = match (&options.cursor, options.from) {
        (Some(_), _) => StartFrom::Unspecified,
        (None, Start::Earliest) => StartFrom::Earliest,
        (None, Start::Now) => StartFrom::Now,
    };
    let echo_mode = match options.echo {
        Echo::Suppress => EchoMode::Suppress,
        Echo::Mark => EchoMode::Mark,
        Echo::Include => EchoMode::Include,
    };
    let kinds = options.kinds.iter().map(|kind| match kind {
        Kind::Client => RecordKind::Client.into(),
        Kind::Person => RecordKind::Person.into(),
        Kind::Contact => RecordKind::Contact.into(),
    });
    SubscribeRequest {
        start_from: start_from.into(),
        cursor: options.cursor.clone().unwrap_or_default(),
        echo_mode: echo_mode.into(),
        record_kinds: kinds.collect(),
        linked_only: options.linked_only,
        ..SubscribeRequest::default()
    }
}

/// Listens until it was enough, or until someone ends it.
async fn listen(feed: &mut Feed, options: &WatchOptions) -> anyhow::Result<End> {
    let idle = options.until_idle.map(Duration::from_secs);
    let mut idle_at = idle.map(|idle| Instant::now() + idle);
    let mut left = options.count;
    let mut asked_to_stop = std::pin::pin!(stop::asked());
    let mut lost = false;
    loop {
        let before = feed.cursor().to_owned();
        let heard = tokio::select! {
            heard = feed.next() => heard?,
            () = sleep_until(idle_at) => {
                ensure!(feed.is_connected(), "the connection was lost, and did not come back in time");
                return Ok(End::Here);
            }
            stop = &mut asked_to_stop => return stop.map(|()| End::Here).context("no signals"),
        };
        match heard {
            Heard::Beginning(position) => {
                lost = false;
                output::note(format_args!("listening after position {position}"));
            }
            Heard::Lost(why) => {
                // Once is enough.
                if !std::mem::replace(&mut lost, true) {
                    output::note(format_args!("{why}; trying again"));
                }
            }
            Heard::Events(events) => {
                let most =
                    left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
                show(events.iter().take(most), options.call.json)?;
                left = left.map(|left| left.saturating_sub(events.len() as u64));
                if left == Some(0) {
                    return Ok(if events.len() > most { End::Amid { before } } else { End::Here });
                }
                idle_at = idle.map(|idle| Instant::now() + idle);
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn show<'e>(events: impl Iterator<Item = &'e Event>, json: bool) -> anyhow::Result<()> {
    for event in events {
        if json {
            output::line(event_json::event(event)?)?;
        } else {
            output::line(event_text::line(event)?)?;
        }
    }
    Ok(())
}
