//! Listens to the feed of a product, and proves that nothing is missing.

use std::fmt;

use shared::{
    pb::records::{StartFrom, SubscribeRequest, SubscribeResponse, subscribe_response::Message},
    wire::Event,
};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use crate::{client::Server, refused::Refused, retry::Patience};

/// Why listening came to an end.
#[derive(Debug)]
pub(crate) enum FeedError {
    /// The service refused.
    Refused(Refused),
    /// The chain of positions is broken: events are missing, or came twice.
    Broken(Broken),
}

/// Where the chain of positions is broken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// The last position that was heard.
    heard: i64,
    /// The position that should have been the same.
    told: i64,
    /// The position that came.
    came: i64,
}

impl std::error::Error for FeedError {}

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::Broken(Broken { heard, told, came }) => write!(
                f,
                "GAP: the last change that was heard is at position {heard}, and the one at {came} \
                 says that the one before it was at {told}"
            ),
        }
    }
}

/// The chain of positions, as far as it was heard.
#[derive(Clone, Copy, Debug, Default)]
struct Chain {
    /// The last event, or where the stream began; none before its beginning.
    last: Option<i64>,
    /// The position of the cursor to resume with, when the server has said it.
    /// It may be beyond the last event: what lies between was left out.
    resume: Option<i64>,
}

impl Chain {
    /// A stream begins at `position`: where the last one stopped.
    fn begin(&mut self, position: i64) -> Result<(), Broken> {
        if let Some(heard) = self.last {
            let goes_on = self.resume.map_or(position >= heard, |resume| position == resume);
            if !goes_on {
                return Err(Broken { heard, told: position, came: position });
            }
        }
        *self = Self { last: Some(position), resume: Some(position) };
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), Broken> {
        let heard = self.last.unwrap_or_default();
        if event.previous_position != heard || event.position <= heard {
            return Err(Broken { heard, told: event.previous_position, came: event.position });
        }
        *self = Self { last: Some(event.position), resume: None };
        Ok(())
    }
}

/// One product's feed. It connects again by itself, and goes on where it was.
#[derive(Debug)]
pub(crate) struct Feed {
    server: Server,
    request: SubscribeRequest,
    stream: Option<Streaming<SubscribeResponse>>,
    chain: Chain,
    patience: Patience,
    /// When to connect again, after the connection was lost.
    again_at: Option<Instant>,
}

/// What happened in the feed.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A stream begins after this position.
    Beginning(i64),
    /// Changes.
    Events(Vec<Event>),
    /// The connection was lost, and will be made again.
    Lost(Refused),
}

impl Feed {
    /// A feed that begins as the request says.
    pub(crate) fn new(server: Server, request: SubscribeRequest) -> Self {
        Self {
            server,
            request,
            stream: None,
            chain: Chain::default(),
            patience: Patience::endless(),
            again_at: None,
        }
    }

    /// The cursor to go on with later; empty while there is none.
    pub(crate) fn cursor(&self) -> &str {
        &self.request.cursor
    }

    /// Whether a stream stands.
    pub(crate) fn is_connected(&self) -> bool {
        self.stream.is_some()
    }

    /// Waits for something to happen. The wait may be given up, and begun again:
    /// nothing is lost by it.
    pub(crate) async fn next(&mut self) -> Result<Heard, FeedError> {
        loop {
            match self.receive().await {
                Ok(message) => {
                    self.patience.renew();
                    if let Some(heard) = self.take(message).map_err(FeedError::Broken)? {
                        return Ok(heard);
                    }
                }
                Err(status) => return self.lost(status),
            }
        }
    }

    async fn receive(&mut self) -> Result<Message, Status> {
        if let Some(at) = self.again_at {
            tokio::time::sleep_until(at).await;
            self.again_at = None;
        }
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let request = self.request.clone();
                none.insert(self.server.changes().subscribe(request).await?.into_inner())
            }
        };
        let message = stream.message().await?.and_then(|message| message.message);
        message.ok_or_else(|| Status::unavailable("the server ended the stream"))
    }

    fn take(&mut self, message: Message) -> Result<Option<Heard>, Broken> {
        match message {
            Message::Handshake(handshake) => {
                self.chain.begin(handshake.position)?;
                self.resume_at(handshake.cursor);
                Ok(Some(Heard::Beginning(handshake.position)))
            }
            Message::Events(events) => {
                for event in &events.events {
                    self.chain.event(event)?;
                }
                self.resume_at(events.cursor);
                Ok(Some(Heard::Events(events.events)))
            }
            Message::Heartbeat(heartbeat) => {
                self.chain.resume = Some(heartbeat.position);
                self.resume_at(heartbeat.cursor);
                Ok(None)
            }
            Message::SnapshotRecords(_) | Message::SnapshotEnd(_) => Ok(None),
            Message::Closing(closing) => {
                self.chain.resume = None;
                self.resume_at(closing.cursor);
                self.stream = None;
                Ok(None)
            }
        }
    }

    fn resume_at(&mut self, cursor: String) {
        self.request.start_from = StartFrom::Unspecified.into();
        self.request.cursor = cursor;
    }

    fn lost(&mut self, status: Status) -> Result<Heard, FeedError> {
        self.stream = None;
        let Some(pause) = self.patience.pause_after(&status) else {
            return Err(FeedError::Refused(status.into()));
        };
        self.again_at = Some(Instant::now() + pause);
        Ok(Heard::Lost(status.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(previous_position: i64, position: i64) -> Event {
        Event { position, previous_position, ..Event::default() }
    }

    #[test]
    fn a_chain_without_a_gap_holds() {
        let mut chain = Chain::default();
        chain.begin(4).unwrap();
        chain.event(&event(4, 5)).unwrap();
        // A filter has left 6 and 7 out.
        chain.event(&event(5, 8)).unwrap();
        chain.begin(8).unwrap();
        chain.event(&event(8, 9)).unwrap();
    }

    #[test]
    fn a_missing_event_is_noticed() {
        let mut chain = Chain::default();
        chain.begin(4).unwrap();
        let broken = chain.event(&event(5, 6)).unwrap_err();
        assert_eq!(broken, Broken { heard: 4, told: 5, came: 6 });
    }

    #[test]
    fn an_event_that_comes_twice_is_noticed() {
        let mut chain = Chain::default();
        chain.begin(0).unwrap();
        chain.event(&event(0, 1)).unwrap();
        assert!(chain.event(&event(1, 1)).is_err());
        assert!(chain.event(&event(0, 1)).is_err());
    }

    #[test]
    fn a_stream_that_resumes_elsewhere_is_noticed() {
        let mut chain = Chain::default();
        chain.begin(0).unwrap();
        chain.event(&event(0, 5)).unwrap();
        assert!(chain.begin(4).is_err());
        // What was left out after the last event.
        chain.begin(7).unwrap();
        assert!(chain.begin(6).is_err());
        assert!(chain.begin(8).is_err());
    }

    #[test]
    fn a_heartbeat_moves_the_place_to_resume_at() {
        let mut chain = Chain::default();
        chain.begin(0).unwrap();
        chain.event(&event(0, 1)).unwrap();
        chain.resume = Some(9);
        chain.begin(9).unwrap();
        chain.event(&event(9, 10)).unwrap();
    }
}
