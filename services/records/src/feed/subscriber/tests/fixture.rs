//! A feed that tests fill and truncate by SQL, and the streams that read it.

use super::*;

/// Time limit for what a test waits for.
const TIMEOUT: Duration = Duration::from_mins(1);

pub(super) const NEVER: Duration = Duration::from_hours(1);

/// One statement with its values.
pub(super) type Sql = (String, Vec<sea_orm::Value>);

/// A feed without changes, whose streams run their periodic tasks at
/// `intervals`. Some practices are connected.
pub(super) async fn feed_at(db: Database, intervals: StreamIntervals) -> Feed {
    db.migrate::<Migrator>().await.unwrap();
    let feed = Feed::with_intervals(db, Clock::fixed(time(0)), CancellationToken::new(), intervals);
    let product = "INSERT INTO feed_product(product, epoch, head, floor, last_practice, secret) \
                   VALUES ('books', $1, 0, 1, '', $2)";
    let values = vec![Uuid::nil().into(), vec![7_u8; 32].into()];
    let connection = "INSERT INTO connection VALUES ($1, 'books', $2, 'ann')";
    let connected = ["p1", "p2", "p3"]
        .map(|practice| (connection.to_owned(), vec![practice.into(), time(0).into()]));
    run(&feed, vec![(product.to_owned(), values)]).await;
    run(&feed, connected.to_vec()).await;
    feed
}

/// Runs statements in one transaction.
pub(super) async fn run(feed: &Feed, statements: Vec<Sql>) {
    let engine = feed.db().engine();
    let written = feed.db().write(TenantScope::AllPractices, move |tx| {
        let statements = statements.clone();
        async move {
            for (sql, values) in statements {
                tx.execute_raw(Statement::from_sql_and_values(engine, sql, values)).await?;
            }
            Ok::<_, RecordError>(())
        }
    });
    written.await.unwrap();
}

/// Statements that append `count` changes of a practice at the next positions.
pub(super) fn filled(feed: &Feed, practice: &str, count: i64) -> Vec<Sql> {
    let id = if feed.db().engine() == sea_orm::DbBackend::Postgres {
        "gen_random_uuid()"
    } else {
        "randomblob(16)"
    };
    let changes = format!(
        "INSERT INTO feed_change (id, practice_id, record_kind, record_id, record_version, kind, \
         changed_fields, companions, origin_product, origin_account, origin_user, \
         transaction_id, transaction_index, transaction_count, changed_at) \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $3) \
         SELECT {id}, $1, 'CLIENT', {id}, 1, 'UPDATED', '[]', '[]', 'manager', 'main', '', {id}, \
         0, 1, $2 FROM n"
    );
    let entries = "INSERT INTO feed_entry (product, pos, seq, practice_id, linked, sequenced_at) \
         SELECT 'books', f.head + ROW_NUMBER() OVER (ORDER BY c.seq), c.seq, c.practice_id, \
         false, c.changed_at FROM feed_change c JOIN feed_product f ON f.product = 'books' \
         WHERE c.seq > COALESCE((SELECT MAX(seq) FROM feed_entry WHERE product = 'books'), 0)";
    let head = "UPDATE feed_product SET head = \
         (SELECT MAX(pos) FROM feed_entry WHERE product = 'books') WHERE product = 'books'";
    let values = vec![practice.into(), time(1).into(), count.into()];
    vec![(changes, values), (entries.to_owned(), Vec::new()), (head.to_owned(), Vec::new())]
}

pub(super) async fn fill(feed: &Feed, practice: &str, count: i64) {
    run(feed, filled(feed, practice, count)).await;
}

/// Statements that remove what follows a position, as on a standby that has not received
/// it.
pub(super) fn lost_after(position: i64) -> Vec<Sql> {
    let changes = "DELETE FROM feed_change WHERE seq IN \
                   (SELECT seq FROM feed_entry WHERE product = 'books' AND pos > $1)";
    let entries = "DELETE FROM feed_entry WHERE product = 'books' AND pos > $1";
    let head = "UPDATE feed_product SET head = $1 WHERE product = 'books'";
    let all = [changes, entries, head];
    all.map(|sql| (sql.to_owned(), vec![position.into()])).to_vec()
}

pub(super) fn everything() -> Filter {
    Filter { echo: EchoMode::Include, kinds: Vec::new(), linked_only: false, practices: Vec::new() }
}

/// A filter that excludes all changes of the tests.
pub(super) fn nothing() -> Filter {
    Filter { kinds: vec![concord_proto::pb::records::RecordKind::Contact], ..everything() }
}

pub(super) fn of_practices(names: &[&str]) -> Filter {
    let practices = names.iter().map(|name| name.parse().unwrap()).collect();
    Filter { practices, ..everything() }
}

pub(super) fn subscriber(practice: Option<&str>) -> Subscriber {
    Subscriber {
        practice: practice.map(|practice| practice.parse().unwrap()),
        product: "books".parse().unwrap(),
        account: "main".parse().unwrap(),
        roles: Vec::new(),
    }
}

pub(super) fn key(name: &str) -> SubscriptionKey {
    SubscriptionKey::of(&subscriber(None), name.to_owned())
}

/// A stream of all practices from the earliest change.
pub(super) async fn stream(feed: &Feed, filter: Filter, name: Option<&str>) -> Messages {
    let named = name.map(|name| named(name, 1_000));
    let command = SubscribeCommand { start: Start::Earliest, filter, named };
    open(feed, subscriber(None), command, None).await.unwrap()
}

pub(super) fn named(name: &str, window: usize) -> NamedSubscription {
    NamedSubscription { name: name.to_owned(), restart: false, window }
}

/// Awaits `what` with a time limit.
async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, what).await.expect("timed out")
}

/// The next message. Panics if the stream ends.
pub(super) async fn next(messages: &mut Messages) -> Result<Message, Status> {
    let next = in_time(messages.recv()).await;
    next.expect("the stream ended without a status").map(|message| message.message.unwrap())
}

/// What a stream has sent: the positions of its events, each with the one before, and
/// of its heartbeats.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) events: Vec<(i64, i64)>,
    pub(super) heartbeats: Vec<i64>,
    pub(super) snapshot_ends: usize,
}

impl Received {
    pub(super) fn take(&mut self, message: Message) -> i64 {
        match message {
            Message::Events(batch) => {
                let events = batch.events.iter();
                self.events.extend(events.map(|event| (event.previous_position, event.position)));
                batch.position
            }
            Message::Heartbeat(heartbeat) => {
                self.heartbeats.push(heartbeat.position);
                heartbeat.position
            }
            Message::Handshake(handshake) => handshake.position,
            Message::SnapshotEnd(_) => {
                self.snapshot_ends += 1;
                0
            }
            Message::SnapshotRecords(_) => 0,
            Message::Closing(closing) => panic!("{closing:?}"),
        }
    }
}

/// Reads messages until one has reached the position.
pub(super) async fn until(messages: &mut Messages, position: i64) -> Received {
    let reading = async {
        let mut received = Received::default();
        while received.take(next(messages).await.unwrap()) < position {}
        received
    };
    in_time(reading).await
}

/// Reads messages until the stream ends with a status.
pub(super) async fn end(messages: &mut Messages) -> (Received, Status) {
    let reading = async {
        let mut received = Received::default();
        loop {
            match next(messages).await {
                Ok(message) => received.take(message),
                Err(status) => return (received, status),
            };
        }
    };
    in_time(reading).await
}

pub(super) fn reason(status: &Status) -> String {
    status.get_error_details().error_info().unwrap().reason.clone()
}

/// Polls the stored subscription until it meets the condition.
pub(super) async fn stored_subscription(
    feed: &Feed,
    name: &str,
    condition: impl Fn(&Subscription) -> bool,
) -> Subscription {
    let polling = async {
        loop {
            let row = subscriptions::get(feed.db().reader(), &key(name)).await.unwrap();
            match row.filter(&condition) {
                Some(row) => return row,
                None => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    in_time(polling).await
}
