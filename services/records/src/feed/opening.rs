//! Opening a stream: resolves where it starts, and takes over the named subscription.

use concord_core::{
    caller::{PracticeId, Subscriber},
    ids::new_uuid,
    status::ApiError,
};
use concord_db::{TenantDb, TenantScope};
use concord_proto::pb::records::ErrorReason;
use sea_orm::ConnectionTrait;
use tonic::Code;
use uuid::Uuid;

use super::{
    Feed,
    cursor::{ConnectionIdentity, Cursor, CursorSigner, unusable},
    session::{LEASE, Session},
};
use crate::{
    domain::{
        feed_head::FeedHead,
        filter::Filter,
        resume_point::{ResumePoint, SnapshotPosition},
        subscription::{Subscription, SubscriptionKey},
    },
    error::{RecordError, not_connected},
    store::{
        connections,
        feed::{self, SeekTarget},
        subscriptions,
    },
};

/// Maximum number of subscriptions of a product in one practice, and for all practices.
pub(crate) const MAX_SUBSCRIPTIONS: u64 = 100;

/// The parameters of a Subscribe call.
#[derive(Clone, Debug)]
pub(crate) struct SubscribeCommand {
    pub(crate) start: Start,
    pub(crate) filter: Filter,
    pub(crate) named: Option<NamedSubscription>,
}

/// The named subscription that the stream belongs to.
#[derive(Clone, Debug)]
pub(crate) struct NamedSubscription {
    pub(crate) name: String,
    /// Starts from `start` even if the subscription has a position.
    pub(crate) restart: bool,
    /// Maximum number of unacknowledged events (flow control).
    pub(crate) window: usize,
}

/// Where a stream starts.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    Earliest,
    Now,
    Snapshot,
    /// After a cursor; `None` if it could not be decoded.
    After(Option<Cursor>),
}

/// The start of a stream that was accepted.
#[derive(Debug)]
pub(crate) struct OpenedStream {
    pub(crate) signer: CursorSigner,
    pub(crate) feed_head: FeedHead,
    pub(crate) resume_point: ResumePoint,
    pub(crate) session: Option<Session>,
}

/// Resolves where the stream starts, and takes over the named subscription if there is
/// one.
///
/// # Errors
///
/// `OUT_OF_RANGE` if the feed cannot be resumed after the cursor, `FAILED_PRECONDITION`
/// if the product is not connected, `NOT_FOUND` for a practice of another tenant.
pub(super) async fn open(
    feed: &Feed,
    subscriber: &Subscriber,
    command: &SubscribeCommand,
) -> Result<OpenedStream, RecordError> {
    check_practices(feed, subscriber, &command.filter).await?;
    let Some(named) = &command.named else {
        let (feed_head, resume_point) =
            resolve(feed.db().reader(), subscriber, &command.start).await?;
        let signer = cursor_signer(feed.db().reader(), subscriber, &feed_head).await?;
        return Ok(OpenedStream { signer, feed_head, resume_point, session: None });
    };
    let key = SubscriptionKey::of(subscriber, named.name.clone());
    let (row, resume_point, feed_head) =
        take_over(feed, subscriber.clone(), key, command.clone()).await?;
    let session = Session::new(feed.clone(), &row, (&resume_point, feed_head.change), named.window);
    let signer = cursor_signer(feed.db().reader(), subscriber, &feed_head).await?;
    Ok(OpenedStream { signer, feed_head, resume_point, session: Some(session) })
}

/// Checks that the caller's practice and the practices of the filter are connected to
/// its product.
async fn check_practices(
    feed: &Feed,
    subscriber: &Subscriber,
    filter: &Filter,
) -> Result<(), RecordError> {
    let product = &subscriber.product;
    if let Some(own) = &subscriber.practice
        && let Some(other) = filter.practices.iter().find(|practice| *practice != own)
    {
        return Err(ApiError::not_found("practice", other.as_str()).into());
    }
    let practices: Vec<&PracticeId> = subscriber.practice.iter().chain(&filter.practices).collect();
    for practice in practices {
        if !connections::is_connected(feed.db().reader_of(practice), product).await? {
            return Err(not_connected(product.as_str()).into());
        }
    }
    Ok(())
}

/// Resolves a start to a resume point.
async fn resolve(
    db: &impl ConnectionTrait,
    subscriber: &Subscriber,
    start: &Start,
) -> Result<(FeedHead, ResumePoint), RecordError> {
    match start {
        Start::Earliest => {
            let feed_head = seek(db, subscriber, SeekTarget::BeforeOldest).await?;
            let resume_point = ResumePoint::after(feed_head.position);
            Ok((feed_head, resume_point))
        }
        Start::Now => {
            let feed_head = seek(db, subscriber, SeekTarget::Newest).await?;
            let resume_point = ResumePoint::after(feed_head.position);
            Ok((feed_head, resume_point))
        }
        Start::Snapshot => {
            let feed_head = seek(db, subscriber, SeekTarget::Newest).await?;
            let resume_point = ResumePoint {
                position: feed_head.position,
                snapshot: Some(SnapshotPosition::start()),
            };
            Ok((feed_head, resume_point))
        }
        Start::After(None) => Err(cursor_error(db, subscriber, ErrorReason::CursorForeign).await?),
        Start::After(Some(cursor)) => {
            let feed_head = check(db, subscriber, cursor).await?;
            Ok((feed_head, cursor.resume_point.clone()))
        }
    }
}

/// Seeks in the feed of the subscriber's product.
async fn seek(
    db: &impl ConnectionTrait,
    subscriber: &Subscriber,
    target: SeekTarget,
) -> Result<FeedHead, RecordError> {
    let feed_head = feed::seek(db, &subscriber.product, target).await?;
    feed_head.ok_or_else(|| not_connected(subscriber.product.as_str()).into())
}

/// The signer of a subscriber's cursors.
///
/// # Errors
///
/// `FAILED_PRECONDITION` if the product is not connected to the practice.
pub(crate) async fn cursor_signer(
    db: &impl ConnectionTrait,
    subscriber: &Subscriber,
    feed_head: &FeedHead,
) -> Result<CursorSigner, RecordError> {
    let connection = connection(db, subscriber).await?;
    Ok(CursorSigner::of(&subscriber.product, connection, feed_head))
}

/// Since when the subscriber's practice is connected; `None` if the subscriber receives
/// all practices.
pub(super) async fn connection(
    db: &impl ConnectionTrait,
    subscriber: &Subscriber,
) -> Result<Option<ConnectionIdentity>, RecordError> {
    let Some(practice) = subscriber.practice.clone() else { return Ok(None) };
    match connections::connected_at(TenantDb::new(db, &practice), &subscriber.product).await? {
        Some(since) => Ok(Some(ConnectionIdentity { practice, since })),
        None => Err(not_connected(subscriber.product.as_str()).into()),
    }
}

/// Checks that the feed can be resumed after a cursor. Returns the feed at the cursor's
/// position.
///
/// # Errors
///
/// `OUT_OF_RANGE` with the reason and the cursors at both ends of the feed.
pub(crate) async fn check(
    db: &impl ConnectionTrait,
    subscriber: &Subscriber,
    cursor: &Cursor,
) -> Result<FeedHead, RecordError> {
    let at = seek(db, subscriber, SeekTarget::At(cursor.resume_point.position)).await?;
    match cursor_signer(db, subscriber, &at).await?.check(cursor, &at.ends, at.change) {
        Ok(()) => Ok(at),
        Err(reason) => Err(cursor_error(db, subscriber, reason).await?),
    }
}

/// The error of an unusable cursor, with the cursors at both ends of the feed.
pub(crate) async fn cursor_error(
    db: &impl ConnectionTrait,
    subscriber: &Subscriber,
    reason: ErrorReason,
) -> Result<RecordError, RecordError> {
    let earliest = seek(db, subscriber, SeekTarget::BeforeOldest).await?;
    let latest = seek(db, subscriber, SeekTarget::Newest).await?;
    let signer = cursor_signer(db, subscriber, &earliest).await?;
    let at = |s: &FeedHead| signer.cursor(ResumePoint::after(s.position), Uuid::nil(), s.change);
    Ok(unusable(reason, &at(&earliest), &at(&latest)).into())
}

/// Creates the subscription, or takes it over from its last stream. Returns where the
/// new stream starts.
async fn take_over(
    feed: &Feed,
    subscriber: Subscriber,
    key: SubscriptionKey,
    command: SubscribeCommand,
) -> Result<(Subscription, ResumePoint, FeedHead), RecordError> {
    let clock = feed.inner.clock.clone();
    let (subscriber, key, command) =
        (std::sync::Arc::new(subscriber), std::sync::Arc::new(key), std::sync::Arc::new(command));
    let taken_key = std::sync::Arc::clone(&key);
    let write = feed.db().write(TenantScope::AllPractices, move |tx| {
        let (subscriber, key, command) = (subscriber.clone(), key.clone(), command.clone());
        let now = clock.now();
        async move {
            let known = subscriptions::lock(&*tx, &key).await?;
            let is_new = known.is_none();
            let restart = command.named.as_ref().is_some_and(|named| named.restart);
            let (mut row, resume_point, feed_head) = match known {
                Some(row) if !restart => resume(&*tx, &subscriber, row, &command.start).await?,
                known => {
                    if is_new {
                        check_count(&*tx, &key).await?;
                    }
                    let (feed_head, resume_point) =
                        resolve(&*tx, &subscriber, &command.start).await?;
                    (
                        new_subscription(&key, known, &resume_point, &command.filter, now),
                        resume_point,
                        feed_head,
                    )
                }
            };
            row.session += 1;
            (row.delivered, row.seen) = (resume_point.position, resume_point.position);
            row.filter = command.filter.clone();
            row.connection_since = connection(&*tx, &subscriber).await?.map(|own| own.since);
            (row.connected_at, row.active_until) = (now, Some(now + LEASE));
            if is_new {
                subscriptions::insert(&*tx, &row).await?;
            } else {
                subscriptions::update(&*tx, &row).await?;
            }
            Ok::<_, RecordError>((row, resume_point, feed_head))
        }
    });
    let taken = write.await?;
    feed.notify_subscription_changed(&taken_key);
    Ok(taken)
}

/// Resolves where a subscription resumes: after the cursor of the request, which then
/// counts as acknowledged, or else after its last acknowledged position.
async fn resume(
    db: &impl ConnectionTrait,
    subscriber: &Subscriber,
    mut row: Subscription,
    start: &Start,
) -> Result<(Subscription, ResumePoint, FeedHead), RecordError> {
    if matches!(start, Start::After(_)) {
        let (feed_head, resume_point) = resolve(db, subscriber, start).await?;
        row.start = row.start.min(resume_point.position);
        if resume_point.is_beyond(&row.acked) {
            row.acked = resume_point.clone();
        }
        return Ok((row, resume_point, feed_head));
    }
    let resume_point = row.acked.clone();
    let feed_head = seek(db, subscriber, SeekTarget::At(resume_point.position)).await?;
    if resume_point.position > feed_head.ends.head {
        return Err(cursor_error(db, subscriber, ErrorReason::CursorTooNew).await?);
    }
    // A subscription of an earlier connection has missed the changes between the two
    // connections. Comparing the identities needs no clock.
    let connection = connection(db, subscriber).await?;
    let has_gap = connection.map(|connection| connection.since) != row.connection_since;
    if resume_point.position < feed_head.ends.floor - 1 || has_gap {
        return Err(cursor_error(db, subscriber, ErrorReason::CursorTooOld).await?);
    }
    Ok((row, resume_point, feed_head))
}

/// A subscription that starts at a resume point. A restarted subscription gets a new id,
/// so that late acknowledgements of the earlier one do not apply to it.
fn new_subscription(
    key: &SubscriptionKey,
    known: Option<Subscription>,
    resume_point: &ResumePoint,
    filter: &Filter,
    now: chrono::DateTime<chrono::Utc>,
) -> Subscription {
    Subscription {
        key: key.clone(),
        id: new_uuid(),
        session: known.as_ref().map_or(0, |known| known.session),
        start: resume_point.position,
        acked: resume_point.clone(),
        acked_at: None,
        delivered: resume_point.position,
        seen: resume_point.position,
        filter: filter.clone(),
        created_at: known.map_or(now, |known| known.created_at),
        connected_at: now,
        active_until: None,
        connection_since: None,
    }
}

async fn check_count(db: &impl ConnectionTrait, key: &SubscriptionKey) -> Result<(), RecordError> {
    if subscriptions::count(db, key).await? < MAX_SUBSCRIPTIONS {
        return Ok(());
    }
    let message = format!(
        "a product has at most {MAX_SUBSCRIPTIONS} subscriptions in a practice, and as many for \
         all practices; delete one"
    );
    // No backoff: a retry of the same request fails again.
    let error = ApiError::new(Code::FailedPrecondition, ErrorReason::LimitReached, message);
    Err(error.precondition("subscriptions", "delete one that is not used").into())
}
