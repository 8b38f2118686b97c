//! A subscriber that works as `docs/sync.md` describes: it stores the events that it
//! receives and acknowledges the stored ones. Across disconnects it checks that no
//! event is missing and that only unacknowledged events are redelivered.

use std::time::{Duration, Instant};

use concord_proto::{
    pb::records::{Handshake, SubscribeRequest, SubscribeResponse, subscribe_response::Message},
    wire::Event,
};
use tokio::{sync::watch, task::JoinHandle};
use tonic::{Status, Streaming};

use super::{
    caller::Caller,
    failure::{Failure, failure},
    feed::{acknowledge, named},
    rng::SeededRng,
};

/// A stream without any message for this long, heartbeats included, has stalled.
const STALL_TIMEOUT: Duration = Duration::from_secs(40);

/// How long a follower waits for a message before it checks its goal again.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// An event that a subscriber received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedEvent {
    pub position: i64,
    pub change: String,
    pub practice: String,
    pub record: String,
    pub version: i64,
}

impl From<Event> for ReceivedEvent {
    fn from(event: Event) -> Self {
        Self {
            position: event.position,
            change: event.change_id,
            practice: event.practice_id,
            record: event.record_id,
            version: event.record_version,
        }
    }
}

/// The behaviour of a follower.
#[derive(Clone, Debug)]
pub struct FollowerConfig {
    /// The name of its subscription.
    pub name: String,
    /// The maximum number of unacknowledged events.
    pub window: i32,
    /// The percentage of stream ends at which its process crashes. After a crash it
    /// has only its stored state.
    pub crash_percent: usize,
    /// The failures of streams that it tolerates.
    pub expected: &'static [Failure],
}

/// The result of a follower.
#[derive(Debug)]
pub struct FollowerReport {
    /// The events, in the order received.
    pub feed: Vec<ReceivedEvent>,
    /// The number of streams that it opened.
    pub streams: usize,
    /// The number of events that were redelivered.
    pub duplicates: usize,
}

/// A position up to which every event is stored.
#[derive(Clone, Debug, Default)]
struct Checkpoint {
    position: i64,
    cursor: String,
}

/// A subscriber that receives its whole feed: without a filter, and without changes of
/// its own product.
#[derive(Debug)]
struct Follower {
    config: FollowerConfig,
    rng: SeededRng,
    /// The events received: the event at position `n` is the `n`th.
    log: Vec<ReceivedEvent>,
    /// The state that survives a crash.
    stored: Checkpoint,
    /// The greatest position that it has sent an acknowledgement for, and the greatest
    /// whose acknowledgement was answered.
    requested: i64,
    acknowledged: i64,
    streams: watch::Sender<usize>,
    duplicates: usize,
}

/// A running follower.
#[derive(Debug)]
pub struct FollowerHandle {
    task: JoinHandle<FollowerReport>,
    /// The number of streams opened so far.
    pub streams: watch::Receiver<usize>,
}

impl FollowerHandle {
    /// Waits until it has received every event up to its goal, and returns its report.
    pub async fn end(self) -> FollowerReport {
        let report = tokio::time::timeout(Duration::from_mins(1), self.task).await;
        report.expect("the subscriber receives everything in time").unwrap()
    }
}

/// One stream.
struct Stream {
    messages: Streaming<SubscribeResponse>,
    /// The position of the last event, or of the beginning.
    last: i64,
    duplicates: usize,
}

/// Follows the feed over any of these connections until it has received `goal`
/// changes.
pub fn follow(
    replicas: Vec<Caller>,
    config: FollowerConfig,
    rng: SeededRng,
    goal: watch::Receiver<i64>,
) -> FollowerHandle {
    let (streams, opened) = watch::channel(0);
    let mut follower = Follower {
        config,
        rng,
        log: Vec::new(),
        stored: Checkpoint::default(),
        requested: 0,
        acknowledged: 0,
        streams,
        duplicates: 0,
    };
    let task = tokio::spawn(async move {
        while !follower.has_received(*goal.borrow()) {
            let replica = follower.rng.pick(&replicas).clone();
            let status = match follower.run_stream(&replica, &goal).await {
                Ok(()) => continue,
                Err(status) => status,
            };
            let expected = &follower.config.expected;
            assert!(expected.contains(&failure(&status)), "{}: {status:?}", follower.config.name);
            if follower.rng.chance(follower.config.crash_percent) {
                follower.crash();
            }
            let pause = follower.rng.millis(100);
            tokio::time::sleep(pause).await;
        }
        let streams = *follower.streams.borrow();
        FollowerReport { feed: follower.log, streams, duplicates: follower.duplicates }
    });
    FollowerHandle { task, streams: opened }
}

impl Follower {
    fn received(&self) -> i64 {
        i64::try_from(self.log.len()).unwrap()
    }

    fn has_received(&self, goal: i64) -> bool {
        assert!(self.received() <= goal, "more changes than were written");
        self.received() == goal
    }

    /// Reads one stream until it ends.
    async fn run_stream(
        &mut self,
        replica: &Caller,
        goal: &watch::Receiver<i64>,
    ) -> Result<(), Status> {
        let mut stream = self.open(replica).await?;
        let mut silent_since = Instant::now();
        while !self.has_received(*goal.borrow()) {
            let Ok(message) = tokio::time::timeout(POLL_INTERVAL, stream.messages.message()).await
            else {
                assert!(silent_since.elapsed() < STALL_TIMEOUT, "{} has stalled", self.config.name);
                self.acknowledge(replica, self.stored.clone()).await?;
                continue;
            };
            silent_since = Instant::now();
            match message?.and_then(|message| message.message) {
                Some(Message::Events(batch)) => {
                    for event in batch.events {
                        self.receive(&mut stream, event);
                    }
                    self.store_and_acknowledge(replica, stream.last, batch.cursor).await?;
                }
                Some(Message::Heartbeat(_)) => {}
                Some(Message::Closing(_)) | None => return Ok(()),
                other => panic!("unexpected: {other:?}"),
            }
        }
        Ok(())
    }

    async fn open(&mut self, replica: &Caller) -> Result<Stream, Status> {
        let FollowerConfig { name, window, .. } = &self.config;
        let request = SubscribeRequest { max_unacknowledged: *window, ..named(name) };
        let mut messages = replica.changes().subscribe(request).await?.into_inner();
        let Some(first) = messages.message().await? else {
            return Err(Status::unknown("the stream ended before its handshake"));
        };
        let Some(Message::Handshake(Handshake { position, .. })) = first.message else {
            panic!("no handshake: {first:?}")
        };
        // Acknowledged events are not redelivered. The answer to an acknowledgement may
        // have been lost.
        let expected = self.acknowledged..=self.requested;
        assert!(expected.contains(&position), "it resumes after {position}, not in {expected:?}");
        self.streams.send_modify(|streams| *streams += 1);
        Ok(Stream { messages, last: position, duplicates: 0 })
    }

    /// Records an event, or checks one that was received before.
    fn receive(&mut self, stream: &mut Stream, event: Event) {
        let name = &self.config.name;
        assert_eq!(event.previous_position, stream.last, "{name}: unbroken chain of positions");
        assert_eq!(event.position, stream.last + 1, "{name}: no position is missing");
        stream.last = event.position;
        let event = ReceivedEvent::from(event);
        if event.position > self.received() {
            self.log.push(event);
            return;
        }
        let before = &self.log[usize::try_from(event.position).unwrap() - 1];
        assert_eq!(*before, event, "{name}: the same change at the same position");
        stream.duplicates += 1;
        self.duplicates += 1;
        let window = usize::try_from(self.config.window).unwrap();
        assert!(stream.duplicates <= window, "{name}: more duplicates than the window allows");
    }

    /// Stores the received events and acknowledges the stored ones. Does each at random,
    /// so that acknowledgements are late, and always when the window is full.
    async fn store_and_acknowledge(
        &mut self,
        replica: &Caller,
        last: i64,
        cursor: String,
    ) -> Result<(), Status> {
        let full = last - self.acknowledged >= i64::from(self.config.window);
        let before = self.stored.clone();
        if last > self.stored.position && (full || self.rng.chance(70)) {
            self.stored = Checkpoint { position: last, cursor };
        }
        if full {
            self.acknowledge(replica, self.stored.clone()).await
        } else if self.rng.chance(40) {
            let late = self.rng.chance(30);
            self.acknowledge(replica, if late { before } else { self.stored.clone() }).await
        } else {
            Ok(())
        }
    }

    async fn acknowledge(
        &mut self,
        replica: &Caller,
        checkpoint: Checkpoint,
    ) -> Result<(), Status> {
        if checkpoint.position <= self.acknowledged {
            return Ok(());
        }
        self.requested = self.requested.max(checkpoint.position);
        match acknowledge(replica, &self.config.name, &checkpoint.cursor).await {
            Ok(position) => {
                assert!((checkpoint.position..=self.requested).contains(&position));
                self.acknowledged = position;
                Ok(())
            }
            // A later checkpoint is acknowledged instead.
            Err(status) if failure(&status) == Failure::Retryable => Ok(()),
            Err(status) => Err(status),
        }
    }

    /// Simulates a crash: discards the events that are not stored.
    fn crash(&mut self) {
        self.log.truncate(usize::try_from(self.stored.position).unwrap());
    }
}
