//! Reads change feeds and checks them.

use std::time::Duration;

use crate::TestDb;
use concord_proto::{
    pb::records::{
        AcknowledgeRequest, EchoMode, GetSubscriptionRequest, Handshake, Heartbeat, SnapshotEnd,
        StartFrom, SubscribeRequest, SubscribeResponse, Subscription, subscribe_response::Message,
    },
    wire::{Event, SnapshotRecord},
};
use tonic::{Status, Streaming};

use super::{
    caller::Caller,
    records::{company, create as create_client},
    servers::{self, Running},
};

/// Starts a server with these products connected to the practice `p1`.
pub async fn server_with(db: &TestDb, products: &[&str]) -> Running {
    let server = servers::records(db.settings()).await;
    connect_all(&server, "p1", products).await;
    server
}

/// Owners of `manager` and of `books` in the practice `p1`.
pub async fn owners(server: &Running) -> (Caller, Caller) {
    (server.owner("p1", "manager").await, server.owner("p1", "books").await)
}

/// Starts a server with `manager` and `books` connected to the practice `p1`. Returns it
/// with their owners.
pub async fn two_products(db: &TestDb) -> (Running, Caller, Caller) {
    let server = server_with(db, &["manager", "books"]).await;
    let (manager, books) = owners(&server).await;
    (server, manager, books)
}

pub async fn connect_all(server: &Running, practice: &str, products: &[&str]) {
    for product in products {
        server.owner(practice, product).await.connect().await;
    }
}

/// Creates companies with these references, one call each.
pub async fn create_all(caller: &Caller, references: impl IntoIterator<Item = String>) {
    for reference in references {
        create_client(caller, company(&reference, "Acme Limited")).await;
    }
}

/// Waits until `count` changes have positions in the caller's feed.
pub async fn wait_until_sequenced(caller: &Caller, count: i64) {
    let mut stream = EventStream::open(caller, with_own(from_earliest())).await;
    while stream.last < count {
        stream.events().await;
    }
}

/// `R0`, `R1` and so on.
pub fn references(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("R{n}"))
}

pub fn from_earliest() -> SubscribeRequest {
    SubscribeRequest { start_from: StartFrom::Earliest.into(), ..SubscribeRequest::default() }
}

pub fn from_snapshot() -> SubscribeRequest {
    SubscribeRequest { start_from: StartFrom::Snapshot.into(), ..SubscribeRequest::default() }
}

pub fn after(cursor: &str) -> SubscribeRequest {
    SubscribeRequest { cursor: cursor.to_owned(), ..SubscribeRequest::default() }
}

/// A request for a named subscription. A new subscription starts from the earliest
/// change.
pub fn named(name: &str) -> SubscribeRequest {
    SubscribeRequest { subscription: name.to_owned(), ..SubscribeRequest::default() }
}

/// A request that restarts a named subscription from a snapshot.
pub fn restart(name: &str) -> SubscribeRequest {
    SubscribeRequest { subscription: name.to_owned(), restart: true, ..from_snapshot() }
}

/// The same request, with the subscriber's own changes included.
pub fn with_own(request: SubscribeRequest) -> SubscribeRequest {
    SubscribeRequest { echo_mode: EchoMode::Include.into(), ..request }
}

pub async fn acknowledge(caller: &Caller, name: &str, cursor: &str) -> Result<i64, Status> {
    let request = AcknowledgeRequest { subscription: name.to_owned(), cursor: cursor.to_owned() };
    Ok(caller.changes().acknowledge(request).await?.into_inner().position)
}

pub async fn subscription(caller: &Caller, name: &str) -> Subscription {
    let request = GetSubscriptionRequest { subscription: name.to_owned() };
    caller.changes().get_subscription(request).await.unwrap().into_inner().subscription.unwrap()
}

/// An open subscribe stream. Checks that `previous_position` of each event is the
/// position of the event before it.
#[derive(Debug)]
pub struct EventStream {
    stream: Streaming<SubscribeResponse>,
    pub handshake: Handshake,
    /// The last cursor received.
    pub cursor: String,
    /// The position of the last event, or the start position.
    pub last: i64,
}

impl EventStream {
    pub async fn open(caller: &Caller, request: SubscribeRequest) -> Self {
        Self::try_open(caller, request).await.unwrap()
    }

    pub async fn try_open(caller: &Caller, request: SubscribeRequest) -> Result<Self, Status> {
        let mut stream = caller.changes().subscribe(request).await?.into_inner();
        let first = stream.message().await?.expect("a handshake").message;
        let Some(Message::Handshake(handshake)) = first else { panic!("no handshake: {first:?}") };
        let (cursor, last) = (handshake.cursor.clone(), handshake.position);
        Ok(Self { stream, handshake, cursor, last })
    }

    /// The next message.
    pub async fn message(&mut self) -> Result<Option<Message>, Status> {
        let message = tokio::time::timeout(Duration::from_secs(40), self.stream.message()).await;
        let message = message.expect("a message in time")?.and_then(|message| message.message);
        match &message {
            Some(Message::Events(batch)) => {
                for event in &batch.events {
                    assert_eq!(event.previous_position, self.last, "unbroken chain of positions");
                    assert!(event.position > self.last);
                    self.last = event.position;
                }
                self.cursor.clone_from(&batch.cursor);
            }
            Some(Message::SnapshotRecords(batch)) => self.cursor.clone_from(&batch.cursor),
            Some(Message::SnapshotEnd(end)) => {
                self.cursor.clone_from(&end.cursor);
                self.last = end.position;
            }
            Some(Message::Heartbeat(heartbeat)) => self.cursor.clone_from(&heartbeat.cursor),
            Some(Message::Closing(closing)) => self.cursor.clone_from(&closing.cursor),
            Some(Message::Handshake(_)) => panic!("a second handshake"),
            None => {}
        }
        Ok(message)
    }

    /// Receives the next batch of events, at least one event.
    pub async fn events(&mut self) -> Vec<Event> {
        loop {
            match self.message().await.unwrap() {
                Some(Message::Events(batch)) => return batch.events,
                Some(Message::Heartbeat(_)) => {}
                other => panic!("no events: {other:?}"),
            }
        }
    }

    /// Receives exactly `count` events.
    pub async fn take(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            events.extend(self.events().await);
        }
        assert_eq!(events.len(), count);
        events
    }

    /// Receives the next heartbeat. Fails if an event precedes it.
    pub async fn heartbeat(&mut self) -> Heartbeat {
        match self.message().await.unwrap() {
            Some(Message::Heartbeat(heartbeat)) => heartbeat,
            other => panic!("no heartbeat: {other:?}"),
        }
    }

    /// Receives the rest of a snapshot.
    pub async fn snapshot(&mut self) -> (Vec<SnapshotRecord>, SnapshotEnd) {
        let mut records = Vec::new();
        loop {
            match self.message().await.unwrap() {
                Some(Message::SnapshotRecords(batch)) => records.extend(batch.records),
                Some(Message::SnapshotEnd(end)) => return (records, end),
                Some(Message::Heartbeat(_)) => {}
                other => panic!("no snapshot: {other:?}"),
            }
        }
    }

    /// Reads to the end of the stream and returns its status.
    pub async fn end(&mut self) -> Status {
        loop {
            match self.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended without a status"),
                Err(status) => return status,
            }
        }
    }

    /// Acknowledges the last cursor received.
    pub async fn acknowledge(&self, caller: &Caller) -> i64 {
        acknowledge(caller, &self.handshake.subscription, &self.cursor).await.unwrap()
    }
}

pub fn positions(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.position).collect()
}
