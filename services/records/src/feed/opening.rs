//! Where a stream begins.

use sea_orm::ConnectionTrait;
use shared::{
    caller::{Listener, PracticeId},
    db::Scope,
    ids::new_uuid,
    pb::records::ErrorReason,
    status::Refusal,
};
use tonic::Code;
use uuid::Uuid;

use super::{
    Feed,
    cursor::{Connection, Cursor, Seal, refused},
    session::{LEASE, Session},
};
use crate::{
    domain::{
        filter::Filter,
        place::{Place, Walk},
        subscription::{Subscription, SubscriptionKey},
    },
    error::{RecordError, not_connected},
    store::{
        connections,
        feed::{self, Spot, Standing},
        subscriptions,
    },
};

/// Subscriptions of a product in one practice, or for all practices, at most.
pub(crate) const MAX_SUBSCRIPTIONS: u64 = 100;

/// What a caller asks for.
#[derive(Clone, Debug)]
pub(crate) struct Subscribing {
    pub(crate) start: Start,
    pub(crate) filter: Filter,
    pub(crate) named: Option<Named>,
}

/// A subscription that the stream belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    /// Whether it begins anew though it has a place.
    pub(crate) restart: bool,
    /// Events that may be unacknowledged.
    pub(crate) window: usize,
}

/// Where a stream begins.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    Earliest,
    Now,
    Snapshot,
    /// After a cursor; none when it could not be read.
    After(Option<Cursor>),
}

/// A stream that may begin.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) seal: Seal,
    pub(crate) standing: Standing,
    pub(crate) place: Place,
    pub(crate) session: Option<Session>,
}

/// Finds the beginning, and takes the subscription over when there is one.
///
/// # Errors
///
/// `OUT_OF_RANGE` when the place cannot be gone on from, `FAILED_PRECONDITION`
/// when the product is not connected, `NOT_FOUND` for a practice that is not the
/// caller's.
pub(super) async fn open(
    feed: &Feed,
    listener: &Listener,
    asked: &Subscribing,
) -> Result<Opened, RecordError> {
    check_practices(feed, listener, &asked.filter).await?;
    let Some(named) = &asked.named else {
        let (standing, place) = resolve(feed.db().reader(), listener, &asked.start).await?;
        let seal = seal(feed.db().reader(), listener, &standing).await?;
        return Ok(Opened { seal, standing, place, session: None });
    };
    let key = SubscriptionKey::of(listener, named.name.clone());
    let (row, place, standing) = take_over(feed, listener.clone(), key, asked.clone()).await?;
    let session = Session::new(feed.clone(), &row, (&place, standing.change), named.window);
    let seal = seal(feed.db().reader(), listener, &standing).await?;
    Ok(Opened { seal, standing, place, session: Some(session) })
}

/// The caller's practice, or those it asks for, must be connected to its product.
async fn check_practices(
    feed: &Feed,
    listener: &Listener,
    filter: &Filter,
) -> Result<(), RecordError> {
    let (db, product) = (feed.db().reader(), &listener.product);
    if let Some(own) = &listener.practice
        && let Some(other) = filter.practices.iter().find(|practice| *practice != own)
    {
        return Err(Refusal::not_found("practice", other.as_str()).into());
    }
    let asked: Vec<&PracticeId> = listener.practice.iter().chain(&filter.practices).collect();
    for practice in asked {
        if !connections::is_connected(db, practice, product).await? {
            return Err(not_connected(product.as_str()).into());
        }
    }
    Ok(())
}

/// The place that a start means.
async fn resolve(
    db: &impl ConnectionTrait,
    listener: &Listener,
    start: &Start,
) -> Result<(Standing, Place), RecordError> {
    match start {
        Start::Earliest => {
            let standing = standing(db, listener, Spot::BeforeOldest).await?;
            let place = Place::after(standing.position);
            Ok((standing, place))
        }
        Start::Now => {
            let standing = standing(db, listener, Spot::Newest).await?;
            let place = Place::after(standing.position);
            Ok((standing, place))
        }
        Start::Snapshot => {
            let standing = standing(db, listener, Spot::Newest).await?;
            let place = Place { position: standing.position, walk: Some(Walk::beginning()) };
            Ok((standing, place))
        }
        Start::After(None) => Err(refusal(db, listener, ErrorReason::CursorForeign).await?),
        Start::After(Some(cursor)) => {
            let standing = check(db, listener, cursor).await?;
            Ok((standing, cursor.place.clone()))
        }
    }
}

/// What stands at a spot of the listener's feed.
async fn standing(
    db: &impl ConnectionTrait,
    listener: &Listener,
    spot: Spot,
) -> Result<Standing, RecordError> {
    let standing = feed::standing(db, &listener.product, spot).await?;
    standing.ok_or_else(|| not_connected(listener.product.as_str()).into())
}

/// What seals the cursors of a listener.
///
/// # Errors
///
/// `FAILED_PRECONDITION` when the product is not connected to the practice.
pub(crate) async fn seal(
    db: &impl ConnectionTrait,
    listener: &Listener,
    standing: &Standing,
) -> Result<Seal, RecordError> {
    let connection = connection(db, listener).await?;
    Ok(Seal::of(&listener.product, connection, standing))
}

/// Since when the listener's practice is connected; none when it hears all of
/// them.
pub(super) async fn connection(
    db: &impl ConnectionTrait,
    listener: &Listener,
) -> Result<Option<Connection>, RecordError> {
    let Some(practice) = listener.practice.clone() else { return Ok(None) };
    match connections::connected_at(db, &practice, &listener.product).await? {
        Some(since) => Ok(Some(Connection { practice, since })),
        None => Err(not_connected(listener.product.as_str()).into()),
    }
}

/// Whether the feed can go on after a cursor; what stands there.
///
/// # Errors
///
/// `OUT_OF_RANGE` with the reason, and the ends of the feed.
pub(crate) async fn check(
    db: &impl ConnectionTrait,
    listener: &Listener,
    cursor: &Cursor,
) -> Result<Standing, RecordError> {
    let at = standing(db, listener, Spot::At(cursor.place.position)).await?;
    match seal(db, listener, &at).await?.check(cursor, &at.ends, at.change) {
        Ok(()) => Ok(at),
        Err(reason) => Err(refusal(db, listener, reason).await?),
    }
}

/// A refusal with the cursors at both ends of the feed.
pub(crate) async fn refusal(
    db: &impl ConnectionTrait,
    listener: &Listener,
    reason: ErrorReason,
) -> Result<RecordError, RecordError> {
    let earliest = standing(db, listener, Spot::BeforeOldest).await?;
    let latest = standing(db, listener, Spot::Newest).await?;
    let seal = seal(db, listener, &earliest).await?;
    let at = |s: &Standing| seal.cursor(Place::after(s.position), Uuid::nil(), s.change);
    Ok(refused(reason, &at(&earliest), &at(&latest)).into())
}

/// Makes the subscription, or takes it over from its last stream; where the new
/// stream begins.
async fn take_over(
    feed: &Feed,
    listener: Listener,
    key: SubscriptionKey,
    asked: Subscribing,
) -> Result<(Subscription, Place, Standing), RecordError> {
    let clock = feed.inner.clock.clone();
    let (listener, key, asked) =
        (std::sync::Arc::new(listener), std::sync::Arc::new(key), std::sync::Arc::new(asked));
    let taken_key = std::sync::Arc::clone(&key);
    let write = feed.db().write(Scope::AllPractices, move |tx| {
        let (listener, key, asked) = (listener.clone(), key.clone(), asked.clone());
        let now = clock.now();
        async move {
            let known = subscriptions::lock(&*tx, &key).await?;
            let is_new = known.is_none();
            let restart = asked.named.as_ref().is_some_and(|named| named.restart);
            let (mut row, place, standing) = match known {
                Some(row) if !restart => go_on(&*tx, &listener, row, &asked.start).await?,
                known => {
                    if is_new {
                        check_count(&*tx, &key).await?;
                    }
                    let (standing, place) = resolve(&*tx, &listener, &asked.start).await?;
                    (begin(&key, known, &place, &asked.filter, now), place, standing)
                }
            };
            row.session += 1;
            (row.delivered, row.seen) = (place.position, place.position);
            row.filter = asked.filter.clone();
            row.connection_since = connection(&*tx, &listener).await?.map(|own| own.since);
            (row.connected_at, row.active_until) = (now, Some(now + LEASE));
            if is_new {
                subscriptions::insert(&*tx, &row).await?;
            } else {
                subscriptions::update(&*tx, &row).await?;
            }
            Ok::<_, RecordError>((row, place, standing))
        }
    });
    let taken = write.await?;
    feed.subscription_has_changed(&taken_key);
    Ok(taken)
}

/// Where a subscription goes on: after the cursor that the caller gives, which
/// then counts as acknowledged, or else where it was acknowledged.
async fn go_on(
    db: &impl ConnectionTrait,
    listener: &Listener,
    mut row: Subscription,
    start: &Start,
) -> Result<(Subscription, Place, Standing), RecordError> {
    if matches!(start, Start::After(_)) {
        let (standing, place) = resolve(db, listener, start).await?;
        row.start = row.start.min(place.position);
        if place.is_beyond(&row.acked) {
            row.acked = place.clone();
        }
        return Ok((row, place, standing));
    }
    let place = row.acked.clone();
    let standing = standing(db, listener, Spot::At(place.position)).await?;
    if place.position > standing.ends.head {
        return Err(refusal(db, listener, ErrorReason::CursorTooNew).await?);
    }
    // A subscription of an earlier connection has missed the changes in between. The
    // comparison needs no clock.
    let connection = connection(db, listener).await?;
    let is_torn = connection.map(|connection| connection.since) != row.connection_since;
    if place.position < standing.ends.floor - 1 || is_torn {
        return Err(refusal(db, listener, ErrorReason::CursorTooOld).await?);
    }
    Ok((row, place, standing))
}

/// A subscription that begins at a place. One that is begun anew is another one:
/// late acknowledgements of what it was do not move it.
fn begin(
    key: &SubscriptionKey,
    known: Option<Subscription>,
    place: &Place,
    filter: &Filter,
    now: chrono::DateTime<chrono::Utc>,
) -> Subscription {
    Subscription {
        key: key.clone(),
        id: new_uuid(),
        session: known.as_ref().map_or(0, |known| known.session),
        start: place.position,
        acked: place.clone(),
        acked_at: None,
        delivered: place.position,
        seen: place.position,
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
    // Waiting does not help: it is not to be sent again as it is.
    let refusal = Refusal::new(Code::FailedPrecondition, ErrorReason::LimitReached, message);
    Err(refusal.precondition("subscriptions", "delete one that is not used").into())
}
