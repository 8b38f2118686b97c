//! Tests of the feed against a fake server with scripted messages.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use clap::Parser as _;
use concord_core::status::ApiError;
use concord_proto::pb::records::{
    self, AcknowledgeResponse, Closing, ClosingReason, Events, Heartbeat, SnapshotRecords,
    change_service_server::{ChangeService, ChangeServiceServer},
};
use futures::{StreamExt as _, stream::BoxStream};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response};

use super::*;
use crate::cli::{Cli, Command};

/// The messages of one stream, and its final status; without one the stream stays open.
type Script = (Vec<Message>, Option<Status>);

/// A fake server with one script for each stream.
#[derive(Clone, Debug, Default)]
struct FakeServer(Arc<Mutex<FakeState>>);

#[derive(Debug, Default)]
struct FakeState {
    scripts: VecDeque<Script>,
    /// Errors of the next calls of Acknowledge.
    acknowledge_errors: VecDeque<Status>,
    requests: Vec<SubscribeRequest>,
    acknowledged: Vec<String>,
}

fn unimplemented<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not part of this test"))
}

#[tonic::async_trait]
impl ChangeService for FakeServer {
    type SubscribeStream = BoxStream<'static, Result<SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let mut state = self.0.lock().unwrap();
        state.requests.push(request.into_inner());
        let (messages, end) = state.scripts.pop_front().unwrap_or_default();
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
        let mut state = self.0.lock().unwrap();
        if let Some(error) = state.acknowledge_errors.pop_front() {
            return Err(error);
        }
        state.acknowledged.push(request.into_inner().cursor);
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

/// A feed of the subscription `ledger` on a fake server with these scripts.
async fn feed(scripts: impl IntoIterator<Item = Script>) -> (Feed, FakeServer) {
    let server = FakeServer::default();
    server.0.lock().unwrap().scripts.extend(scripts);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = ChangeServiceServer::new(server.clone());
    let router = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    let args = ["concord", "watch", "--product", "books", "--records", &url];
    let Command::Watch(options) = Cli::parse_from(args).command else { panic!("another command") };
    let request = SubscribeRequest {
        start_from: StartFrom::Earliest.into(),
        subscription: "ledger".to_owned(),
        restart: true,
        ..SubscribeRequest::default()
    };
    (Feed::new(ServiceClient::records(&options.call).await.unwrap(), request), server)
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

fn unavailable() -> Status {
    Status::unavailable("draining")
}

/// The positions of the next events. Other updates are skipped.
async fn next_positions(feed: &mut Feed) -> Vec<i64> {
    loop {
        if let FeedUpdate::Events(events) = feed.next().await.unwrap() {
            return events.iter().map(|event| event.position).collect();
        }
    }
}

#[tokio::test]
async fn feed_resumes_after_the_last_received_event() {
    let first = (vec![handshake(0), events(0, 2)], Some(unavailable()));
    let (mut feed, server) = feed([first, (vec![handshake(2), events(2, 3)], None)]).await;
    assert_eq!(next_positions(&mut feed).await, [1, 2]);
    assert_eq!(next_positions(&mut feed).await, [3]);
    let requests = server.0.lock().unwrap().requests.clone();
    assert_eq!((requests[0].start_from(), requests[0].restart), (StartFrom::Earliest, true));
    assert_eq!((requests[1].start_from(), requests[1].restart), (StartFrom::Unspecified, false));
    assert_eq!(
        (requests[1].cursor.as_str(), requests[1].subscription.as_str()),
        ("at 2", "ledger")
    );
}

#[tokio::test]
async fn read_only_feed_resumes_without_cursor_and_duplicates() {
    let first = (vec![handshake(0), events(0, 2)], Some(unavailable()));
    let (feed, server) =
        feed([first, (vec![handshake(0), events(0, 2), events(2, 3)], None)]).await;
    let mut feed = feed.read_only();
    assert_eq!(next_positions(&mut feed).await, [1, 2]);
    assert_eq!(next_positions(&mut feed).await, [3]);
    let requests = server.0.lock().unwrap().requests.clone();
    assert_eq!((requests[1].cursor.as_str(), requests[1].restart), ("", false));
}

#[tokio::test]
async fn acknowledgement_is_sent_before_more_is_received() {
    let script = (vec![handshake(0), events(0, 2), events(2, 3)], None);
    let (mut feed, server) = feed([script]).await;
    server.0.lock().unwrap().acknowledge_errors.push_back(ApiError::conflict().into());
    assert_eq!(next_positions(&mut feed).await, [1, 2]);
    feed.acknowledge();
    assert!(matches!(feed.next().await.unwrap(), FeedUpdate::Disconnected(_)), "write conflict");
    assert!(feed.has_pending_acknowledgement() && !feed.is_connected());
    assert!(matches!(feed.next().await.unwrap(), FeedUpdate::Acknowledged));
    assert_eq!(server.0.lock().unwrap().acknowledged, ["at 2"]);
    assert_eq!(next_positions(&mut feed).await, [3]);
}

#[tokio::test]
async fn rejected_acknowledgement_ends_the_feed() {
    let (mut feed, server) = feed([(vec![handshake(0), events(0, 2)], None)]).await;
    let error =
        ApiError::new(Code::InvalidArgument, ErrorReason::CursorNotDelivered, "not delivered");
    server.0.lock().unwrap().acknowledge_errors.push_back(error.into());
    assert_eq!(next_positions(&mut feed).await, [1, 2]);
    feed.acknowledge();
    let error = feed.next().await.unwrap_err().to_string();
    assert!(error.contains("CURSOR_NOT_DELIVERED"), "{error}");
}

#[tokio::test]
async fn taken_over_feed_does_not_reconnect() {
    let taken = ApiError::new(Code::Aborted, ErrorReason::SubscriptionTakenOver, "taken over");
    let (mut feed, server) = feed([(vec![handshake(0)], Some(taken.into()))]).await;
    assert!(matches!(feed.next().await.unwrap(), FeedUpdate::Connected(_)));
    let error = feed.next().await.unwrap_err().to_string();
    assert!(
        error.starts_with("another stream of the subscription ledger has taken over"),
        "{error}"
    );
    assert_eq!(server.0.lock().unwrap().requests.len(), 1);
}

#[tokio::test]
async fn unavailable_cursor_error_names_the_restart_options() {
    let gone = ApiError::new(Code::OutOfRange, ErrorReason::CursorTooOld, "not kept");
    let (mut feed, _) = feed([(vec![], Some(gone.into()))]).await;
    let error = feed.next().await.unwrap_err().to_string();
    assert!(error.contains("--snapshot --restart restarts from a snapshot"), "{error}");
}

#[tokio::test]
async fn interrupted_snapshot_is_resumed_and_changes_follow() {
    let page = |records, cursor: &str| {
        let records = vec![SnapshotRecord::default(); records];
        Message::SnapshotRecords(SnapshotRecords { records, cursor: cursor.to_owned() })
    };
    let end = SnapshotEnd { cursor: "end".to_owned(), position: 4, record_count: 1 };
    let rest = vec![handshake(4), page(1, "second"), Message::SnapshotEnd(end), events(4, 5)];
    let (mut feed, server) =
        feed([(vec![handshake(4), page(2, "first")], Some(unavailable())), (rest, None)]).await;
    let mut records = 0;
    loop {
        match feed.next().await.unwrap() {
            FeedUpdate::SnapshotRecords(page) => records += page.len(),
            FeedUpdate::SnapshotEnd(end) => break assert_eq!(end.position, 4),
            FeedUpdate::Connected(_) | FeedUpdate::Disconnected(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(records, 3);
    assert_eq!(feed.cursor(), "end");
    assert_eq!(next_positions(&mut feed).await, [5]);
    assert_eq!(server.0.lock().unwrap().requests[1].cursor, "first");
}

#[tokio::test]
async fn planned_reconnection_is_not_a_disconnection() {
    let reason = ClosingReason::ConnectionAge.into();
    let closing = Message::Closing(Closing { reason, cursor: "at 4".to_owned() });
    let first = (vec![handshake(0), events(0, 2), closing], None);
    let (mut feed, _) = feed([first, (vec![handshake(4), events(4, 5)], None)]).await;
    assert_eq!(next_positions(&mut feed).await, [1, 2]);
    assert!(matches!(feed.next().await.unwrap(), FeedUpdate::Connected(_)));
    assert_eq!(next_positions(&mut feed).await, [5]);
}

#[tokio::test]
async fn idle_stream_is_reconnected() {
    let waiting = Heartbeat {
        cursor: "at 2".to_owned(),
        position: 2,
        waiting_for_acknowledgement: true,
        ..Heartbeat::default()
    };
    let first = (vec![handshake(0), events(0, 2), Message::Heartbeat(waiting)], None);
    let (mut feed, _) = feed([first, (vec![handshake(2), events(2, 3)], None)]).await;
    feed.idle_timeout = Duration::from_millis(300);
    assert_eq!(next_positions(&mut feed).await, [1, 2]);
    assert!(matches!(feed.next().await.unwrap(), FeedUpdate::AwaitingAcknowledgement));
    // A cancelled wait does not reset the idle timeout.
    for _ in 0..3 {
        let wait = timeout(Duration::from_millis(100), feed.next()).await;
        if let Ok(update) = wait {
            assert!(matches!(update.unwrap(), FeedUpdate::Disconnected(_)));
        }
    }
    assert_eq!(next_positions(&mut feed).await, [3]);
}
