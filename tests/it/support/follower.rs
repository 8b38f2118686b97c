//! A subscriber as `docs/sync.md` tells one to be: it stores what it hears, and
//! acknowledges what it has stored. Whatever cuts it off, it checks that nothing
//! is missing, and that only what it had not acknowledged comes again.

use std::time::{Duration, Instant};

use shared::{
    pb::records::{Handshake, SubscribeRequest, SubscribeResponse, subscribe_response::Message},
    wire::Event,
};
use tokio::{sync::watch, task::JoinHandle};
use tonic::{Status, Streaming};

use super::{
    caller::Caller,
    dice::Dice,
    failure::{Failure, failure},
    feed::{acknowledge, named},
};

/// A stream that is silent for so long, heartbeats too, hangs.
const PATIENCE: Duration = Duration::from_secs(40);

/// How often a follower that hears nothing looks whether there is more to do.
const LOOK: Duration = Duration::from_millis(200);

/// A change that was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) position: i64,
    pub(crate) change: String,
    pub(crate) practice: String,
    pub(crate) record: String,
    pub(crate) version: i64,
}

impl From<Event> for Heard {
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

/// How a follower lives.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    /// The name of its subscription.
    pub(crate) name: String,
    /// Events that it lets be unacknowledged.
    pub(crate) window: i32,
    /// Of a hundred streams that end, those with which its process dies: it knows
    /// afterwards only what it has stored.
    pub(crate) deaths: usize,
    /// The ends of its streams that it lives with.
    pub(crate) expected: &'static [Failure],
}

/// What became of a follower.
#[derive(Debug)]
pub(crate) struct Told {
    /// The feed, as it was heard.
    pub(crate) feed: Vec<Heard>,
    /// Streams that it has opened.
    pub(crate) streams: usize,
    /// Events that it heard again after it had stored them.
    pub(crate) duplicates: usize,
}

/// A place up to which all is stored.
#[derive(Clone, Debug, Default)]
struct Place {
    position: i64,
    cursor: String,
}

/// A subscriber of a feed that it hears whole: no filter, and no change of its
/// own.
#[derive(Debug)]
struct Follower {
    habits: Habits,
    dice: Dice,
    /// What it has heard: the change at position `n` is the `n`th.
    log: Vec<Heard>,
    /// What outlives it.
    stored: Place,
    /// The greatest position whose acknowledgement it has asked for, and the
    /// greatest whose acknowledgement was answered.
    asked: i64,
    acknowledged: i64,
    streams: watch::Sender<usize>,
    duplicates: usize,
}

/// A follower at work.
#[derive(Debug)]
pub(crate) struct Following {
    task: JoinHandle<Told>,
    /// Streams that it has opened so far.
    pub(crate) streams: watch::Receiver<usize>,
}

impl Following {
    /// What became of it, once it has heard as much as it was to hear.
    pub(crate) async fn end(self) -> Told {
        let told = tokio::time::timeout(Duration::from_mins(1), self.task).await;
        told.expect("a subscriber hears everything in time").unwrap()
    }
}

/// One stream.
struct Stream {
    messages: Streaming<SubscribeResponse>,
    /// The position of the last event, or of the beginning.
    last: i64,
    duplicates: usize,
}

/// Follows the feed, over any of these connections, until it has heard as many
/// changes as `goal` says.
pub(crate) fn follow(
    replicas: Vec<Caller>,
    habits: Habits,
    dice: Dice,
    goal: watch::Receiver<i64>,
) -> Following {
    let (streams, opened) = watch::channel(0);
    let mut follower = Follower {
        habits,
        dice,
        log: Vec::new(),
        stored: Place::default(),
        asked: 0,
        acknowledged: 0,
        streams,
        duplicates: 0,
    };
    let task = tokio::spawn(async move {
        while !follower.has_heard(*goal.borrow()) {
            let replica = follower.dice.pick(&replicas).clone();
            let status = match follower.listen(&replica, &goal).await {
                Ok(()) => continue,
                Err(status) => status,
            };
            let expected = &follower.habits.expected;
            assert!(expected.contains(&failure(&status)), "{}: {status:?}", follower.habits.name);
            if follower.dice.chance(follower.habits.deaths) {
                follower.die();
            }
            let pause = follower.dice.millis(100);
            tokio::time::sleep(pause).await;
        }
        let streams = *follower.streams.borrow();
        Told { feed: follower.log, streams, duplicates: follower.duplicates }
    });
    Following { task, streams: opened }
}

impl Follower {
    fn heard(&self) -> i64 {
        i64::try_from(self.log.len()).unwrap()
    }

    fn has_heard(&self, goal: i64) -> bool {
        assert!(self.heard() <= goal, "more changes than were written");
        self.heard() == goal
    }

    /// Listens to one stream until it ends.
    async fn listen(
        &mut self,
        replica: &Caller,
        goal: &watch::Receiver<i64>,
    ) -> Result<(), Status> {
        let mut stream = self.open(replica).await?;
        let mut silent_since = Instant::now();
        while !self.has_heard(*goal.borrow()) {
            let Ok(message) = tokio::time::timeout(LOOK, stream.messages.message()).await else {
                assert!(silent_since.elapsed() < PATIENCE, "{} hangs", self.habits.name);
                self.acknowledge(replica, self.stored.clone()).await?;
                continue;
            };
            silent_since = Instant::now();
            match message?.and_then(|message| message.message) {
                Some(Message::Events(batch)) => {
                    for event in batch.events {
                        self.hear(&mut stream, event);
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
        let Habits { name, window, .. } = &self.habits;
        let request = SubscribeRequest { max_unacknowledged: *window, ..named(name) };
        let mut messages = replica.changes().subscribe(request).await?.into_inner();
        let Some(first) = messages.message().await? else {
            return Err(Status::unknown("the stream ended before its handshake"));
        };
        let Some(Message::Handshake(Handshake { position, .. })) = first.message else {
            panic!("no handshake: {first:?}")
        };
        // What was acknowledged does not come again. The answer to an
        // acknowledgement may have been lost.
        let known = self.acknowledged..=self.asked;
        assert!(known.contains(&position), "it goes on after {position}, and not in {known:?}");
        self.streams.send_modify(|streams| *streams += 1);
        Ok(Stream { messages, last: position, duplicates: 0 })
    }

    /// Takes an event: the next one, or one that is known already.
    fn hear(&mut self, stream: &mut Stream, event: Event) {
        let name = &self.habits.name;
        assert_eq!(event.previous_position, stream.last, "{name}: a chain");
        assert_eq!(event.position, stream.last + 1, "{name}: it hears everything");
        stream.last = event.position;
        let heard = Heard::from(event);
        if heard.position > self.heard() {
            self.log.push(heard);
            return;
        }
        let before = &self.log[usize::try_from(heard.position).unwrap() - 1];
        assert_eq!(*before, heard, "{name}: the same change at the same position");
        stream.duplicates += 1;
        self.duplicates += 1;
        let window = usize::try_from(self.habits.window).unwrap();
        assert!(stream.duplicates <= window, "{name}: more duplicates than the window has");
    }

    /// Stores what was heard, and acknowledges what is stored: each now and then,
    /// so that acknowledgements come late, and for sure when the window is full.
    async fn store_and_acknowledge(
        &mut self,
        replica: &Caller,
        last: i64,
        cursor: String,
    ) -> Result<(), Status> {
        let full = last - self.acknowledged >= i64::from(self.habits.window);
        let before = self.stored.clone();
        if last > self.stored.position && (full || self.dice.chance(70)) {
            self.stored = Place { position: last, cursor };
        }
        if full {
            self.acknowledge(replica, self.stored.clone()).await
        } else if self.dice.chance(40) {
            let late = self.dice.chance(30);
            self.acknowledge(replica, if late { before } else { self.stored.clone() }).await
        } else {
            Ok(())
        }
    }

    async fn acknowledge(&mut self, replica: &Caller, place: Place) -> Result<(), Status> {
        if place.position <= self.acknowledged {
            return Ok(());
        }
        self.asked = self.asked.max(place.position);
        match acknowledge(replica, &self.habits.name, &place.cursor).await {
            Ok(position) => {
                assert!((place.position..=self.asked).contains(&position));
                self.acknowledged = position;
                Ok(())
            }
            // It is asked for again, with a later place.
            Err(status) if failure(&status) == Failure::Later => Ok(()),
            Err(status) => Err(status),
        }
    }

    /// Its process ends: what it had not stored is forgotten.
    fn die(&mut self) {
        self.log.truncate(usize::try_from(self.stored.position).unwrap());
    }
}
