//! The feed against a server that says what it is told to say.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use clap::Parser as _;
use futures::{StreamExt as _, stream::BoxStream};
use shared::{
    pb::records::{
        self, AcknowledgeResponse, Closing, ClosingReason, Events, Heartbeat, SnapshotRecords,
        change_service_server::{ChangeService, ChangeServiceServer},
    },
    status::Refusal,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response};

use super::*;
use crate::cli::{Cli, Command};

/// The messages of one stream, and the status it ends with; none hangs for ever.
type Script = (Vec<Message>, Option<Status>);

/// A server that plays one script after the other.
#[derive(Clone, Debug, Default)]
struct Stage(Arc<Mutex<Played>>);

#[derive(Debug, Default)]
struct Played {
    scripts: VecDeque<Script>,
    /// Answers of Acknowledge that are no success.
    troubles: VecDeque<Status>,
    asked: Vec<SubscribeRequest>,
    acknowledged: Vec<String>,
}

fn unimplemented<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not of this play"))
}

#[tonic::async_trait]
impl ChangeService for Stage {
    type SubscribeStream = BoxStream<'static, Result<SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let mut played = self.0.lock().unwrap();
        played.asked.push(request.into_inner());
        let (messages, end) = played.scripts.pop_front().unwrap_or_default();
        let messages = messages.into_iter().map(|message| Ok(message_of(message)));
        let messages = futures::stream::iter(messages);
        let rest = match end {
            Some(status) => futures::stream::iter([Err(status)]).boxed(),
            None => futures::stream::pending().boxed(),
        };
        Ok(Response::new(messages.chain(rest).boxed()))
    }

    async fn acknowledge(
        &self,
        request: Request<AcknowledgeRequest>,
    ) -> Result<Response<AcknowledgeResponse>, Status> {
        let mut played = self.0.lock().unwrap();
        if let Some(trouble) = played.troubles.pop_front() {
            return Err(trouble);
        }
        played.acknowledged.push(request.into_inner().cursor);
        Ok(Response::new(AcknowledgeResponse::default()))
    }

    async fn get_subscription(
        &self,
        _: Request<records::GetSubscriptionRequest>,
    ) -> Result<Response<records::GetSubscriptionResponse>, Status> {
        unimplemented()
    }

    async fn list_subscriptions(
        &self,
        _: Request<records::ListSubscriptionsRequest>,
    ) -> Result<Response<records::ListSubscriptionsResponse>, Status> {
        unimplemented()
    }

    async fn delete_subscription(
        &self,
        _: Request<records::DeleteSubscriptionRequest>,
    ) -> Result<Response<records::DeleteSubscriptionResponse>, Status> {
        unimplemented()
    }
}

fn message_of(message: Message) -> SubscribeResponse {
    SubscribeResponse { message: Some(message) }
}

/// A feed of the subscription `ledger` at a server with these scripts.
async fn feed(scripts: impl IntoIterator<Item = Script>) -> (Feed, Stage) {
    let stage = Stage::default();
    stage.0.lock().unwrap().scripts.extend(scripts);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = ChangeServiceServer::new(stage.clone());
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let args = ["concord", "watch", "--product", "books", "--records", &url];
    let Command::Watch(options) = Cli::parse_from(args).command else { panic!("another command") };
    let request = SubscribeRequest {
        start_from: StartFrom::Earliest.into(),
        subscription: "ledger".to_owned(),
        restart: true,
        ..SubscribeRequest::default()
    };
    (Feed::new(Server::records(&options.call).await.unwrap(), request), stage)
}

fn handshake(position: i64) -> Message {
    let cursor = format!("at {position}");
    Message::Handshake(Handshake { cursor, position, head_position: 9, ..Handshake::default() })
}

/// The events after `from` up to `to`.
fn events(from: i64, to: i64) -> Message {
    let event = |at| Event { position: at, previous_position: at - 1, ..Event::default() };
    let events = (from + 1..=to).map(event).collect();
    Message::Events(Events { events, cursor: format!("at {to}"), position: to })
}

fn lost() -> Status {
    Status::unavailable("draining")
}

/// The positions of the next events; trouble and beginnings are passed over.
async fn heard(feed: &mut Feed) -> Vec<i64> {
    loop {
        if let Heard::Events(events) = feed.next().await.unwrap() {
            return events.iter().map(|event| event.position).collect();
        }
    }
}

#[tokio::test]
async fn a_feed_goes_on_after_what_was_heard() {
    let first = (vec![handshake(0), events(0, 2)], Some(lost()));
    let (mut feed, stage) = feed([first, (vec![handshake(2), events(2, 3)], None)]).await;
    assert_eq!(heard(&mut feed).await, [1, 2]);
    assert_eq!(heard(&mut feed).await, [3]);
    let asked = stage.0.lock().unwrap().asked.clone();
    assert_eq!((asked[0].start_from(), asked[0].restart), (StartFrom::Earliest, true));
    assert_eq!((asked[1].start_from(), asked[1].restart), (StartFrom::Unspecified, false));
    assert_eq!((asked[1].cursor.as_str(), asked[1].subscription.as_str()), ("at 2", "ledger"));
}

#[tokio::test]
async fn a_feed_that_only_looks_never_gives_a_cursor_and_hears_nothing_twice() {
    let first = (vec![handshake(0), events(0, 2)], Some(lost()));
    let (feed, stage) = feed([first, (vec![handshake(0), events(0, 2), events(2, 3)], None)]).await;
    let mut feed = feed.looking_only();
    assert_eq!(heard(&mut feed).await, [1, 2]);
    assert_eq!(heard(&mut feed).await, [3]);
    let asked = stage.0.lock().unwrap().asked.clone();
    assert_eq!((asked[1].cursor.as_str(), asked[1].restart), ("", false));
}

#[tokio::test]
async fn what_was_heard_is_acknowledged_before_more_is_heard() {
    let script = (vec![handshake(0), events(0, 2), events(2, 3)], None);
    let (mut feed, stage) = feed([script]).await;
    stage.0.lock().unwrap().troubles.push_back(Refusal::conflict().into());
    assert_eq!(heard(&mut feed).await, [1, 2]);
    feed.acknowledge();
    assert!(matches!(feed.next().await.unwrap(), Heard::Lost(_)), "other writers in the way");
    assert!(feed.owes() && !feed.is_connected());
    assert!(matches!(feed.next().await.unwrap(), Heard::Acknowledged));
    assert_eq!(stage.0.lock().unwrap().acknowledged, ["at 2"]);
    assert_eq!(heard(&mut feed).await, [3]);
}

#[tokio::test]
async fn an_acknowledgement_that_is_refused_ends_the_feed() {
    let (mut feed, stage) = feed([(vec![handshake(0), events(0, 2)], None)]).await;
    let refused =
        Refusal::new(Code::InvalidArgument, ErrorReason::CursorNotDelivered, "not delivered");
    stage.0.lock().unwrap().troubles.push_back(refused.into());
    assert_eq!(heard(&mut feed).await, [1, 2]);
    feed.acknowledge();
    let error = feed.next().await.unwrap_err().to_string();
    assert!(error.contains("CURSOR_NOT_DELIVERED"), "{error}");
}

#[tokio::test]
async fn a_feed_that_was_taken_over_does_not_take_it_back() {
    let taken = Refusal::new(Code::Aborted, ErrorReason::SubscriptionTakenOver, "taken over");
    let (mut feed, stage) = feed([(vec![handshake(0)], Some(taken.into()))]).await;
    assert!(matches!(feed.next().await.unwrap(), Heard::Beginning(_)));
    let error = feed.next().await.unwrap_err().to_string();
    assert!(error.starts_with("another stream of the subscription ledger has begun"), "{error}");
    assert_eq!(stage.0.lock().unwrap().asked.len(), 1);
}

#[tokio::test]
async fn a_place_that_is_gone_says_how_to_begin_anew() {
    let gone = Refusal::new(Code::OutOfRange, ErrorReason::CursorTooOld, "not kept");
    let (mut feed, _) = feed([(vec![], Some(gone.into()))]).await;
    let error = feed.next().await.unwrap_err().to_string();
    assert!(error.contains("--snapshot --restart begins anew"), "{error}");
}

#[tokio::test]
async fn a_snapshot_that_breaks_off_is_resumed_and_changes_follow_it() {
    let page = |records, cursor: &str| {
        let records = vec![SnapshotRecord::default(); records];
        Message::SnapshotRecords(SnapshotRecords { records, cursor: cursor.to_owned() })
    };
    let end = SnapshotEnd { cursor: "end".to_owned(), position: 4, record_count: 1 };
    let rest = vec![handshake(4), page(1, "second"), Message::SnapshotEnd(end), events(4, 5)];
    let (mut feed, stage) =
        feed([(vec![handshake(4), page(2, "first")], Some(lost())), (rest, None)]).await;
    let mut records = 0;
    loop {
        match feed.next().await.unwrap() {
            Heard::Records(page) => records += page.len(),
            Heard::SnapshotEnd(end) => break assert_eq!(end.position, 4),
            Heard::Beginning(_) | Heard::Lost(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(records, 3);
    assert_eq!(feed.cursor(), "end");
    assert_eq!(heard(&mut feed).await, [5]);
    assert_eq!(stage.0.lock().unwrap().asked[1].cursor, "first");
}

#[tokio::test]
async fn a_connection_that_is_renewed_is_no_trouble() {
    let reason = ClosingReason::ConnectionAge.into();
    let closing = Message::Closing(Closing { reason, cursor: "at 4".to_owned() });
    let first = (vec![handshake(0), events(0, 2), closing], None);
    let (mut feed, _) = feed([first, (vec![handshake(4), events(4, 5)], None)]).await;
    assert_eq!(heard(&mut feed).await, [1, 2]);
    assert!(matches!(feed.next().await.unwrap(), Heard::Beginning(_)));
    assert_eq!(heard(&mut feed).await, [5]);
}

#[tokio::test]
async fn a_stream_that_says_nothing_is_given_up() {
    let waiting = Heartbeat {
        cursor: "at 2".to_owned(),
        position: 2,
        waiting_for_acknowledgement: true,
        ..Heartbeat::default()
    };
    let first = (vec![handshake(0), events(0, 2), Message::Heartbeat(waiting)], None);
    let (mut feed, _) = feed([first, (vec![handshake(2), events(2, 3)], None)]).await;
    feed.silence = Duration::from_millis(300);
    assert_eq!(heard(&mut feed).await, [1, 2]);
    assert!(matches!(feed.next().await.unwrap(), Heard::Waiting));
    // A wait that is given up does not make the stream any livelier.
    for _ in 0..3 {
        let wait = timeout(Duration::from_millis(100), feed.next()).await;
        if let Ok(heard) = wait {
            assert!(matches!(heard.unwrap(), Heard::Lost(_)));
        }
    }
    assert_eq!(heard(&mut feed).await, [3]);
}
