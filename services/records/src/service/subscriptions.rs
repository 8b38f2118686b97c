//! Named subscriptions: acknowledging, looking, removing.

use chrono::TimeDelta;
use prost::Message as _;
use shared::{
    caller::{Listener, PracticeId, Product},
    db::Scope,
    page,
    pb::records::{self as pb, ErrorReason, RecordKind},
    status::Refusal,
};
use tonic::Code;

use super::{Records, reading::PageRequest};
use crate::{
    domain::subscription::{Subscription, SubscriptionKey},
    error::{RecordError, not_connected},
    feed::{
        cursor::{Connection, Cursor, Seal},
        opening,
    },
    image::timestamp,
    store::{
        connections,
        feed::{self, Spot, lag::lag},
        subscriptions,
    },
};

impl Records {
    /// Takes an acknowledgement; the position that is acknowledged then.
    pub(crate) async fn acknowledge(
        &self,
        listener: Listener,
        name: String,
        cursor: Option<Cursor>,
    ) -> Result<i64, RecordError> {
        self.check_hears(&listener).await?;
        let (clock, key) = (self.clock.clone(), SubscriptionKey::of(&listener, name));
        let changed = key.clone();
        let write = self.db.write(Scope::AllPractices, move |tx| {
            let (listener, key, cursor) = (listener.clone(), key.clone(), cursor.clone());
            let now = clock.now();
            async move {
                let row = subscriptions::lock(&*tx, &key).await?;
                let mut row = row.ok_or_else(|| not_found(&key.name))?;
                let Some(cursor) = cursor else {
                    let reason = ErrorReason::CursorForeign;
                    return Err(opening::refusal(&*tx, &listener, reason).await?);
                };
                check_delivered(&*tx, &listener, &row, &cursor).await?;
                if row.acknowledge(cursor.place, now) {
                    subscriptions::update(&*tx, &row).await?;
                }
                Ok(row.acked.position)
            }
        });
        let position = write.await?;
        self.feed.subscription_has_changed(&changed);
        Ok(position)
    }

    /// One subscription.
    pub(crate) async fn subscription(
        &self,
        listener: &Listener,
        name: String,
    ) -> Result<pb::Subscription, RecordError> {
        self.check_hears(listener).await?;
        let key = SubscriptionKey::of(listener, name);
        let row = subscriptions::get(self.db.reader(), &key).await?;
        self.shown(listener, row.ok_or_else(|| not_found(&key.name))?).await
    }

    /// The subscriptions that tell of the caller's practice, a page of them; of its
    /// product when it is for all practices.
    pub(crate) async fn list_subscriptions(
        &self,
        listener: &Listener,
        product: Option<Product>,
        request: PageRequest,
    ) -> Result<(Vec<pb::Subscription>, String), RecordError> {
        self.check_hears(listener).await?;
        let practice = listener.practice.as_ref();
        let mut products = self.heard_products(listener).await?;
        products.retain(|one| product.as_ref().is_none_or(|only| one == only));
        let key = (
            "subscriptions",
            listener.product.as_str(),
            practice.map(PracticeId::as_str),
            product.as_ref().map(Product::as_str),
        );
        let after = page::begin_after(&request.token, &key)?;
        let db = self.db.reader();
        let limit = request.size + 1;
        let mut rows = subscriptions::page(db, &products, practice, after.as_ref(), limit).await?;
        let size = usize::try_from(request.size).unwrap_or(usize::MAX);
        let mut more = rows.len() > size;
        rows.truncate(size);
        let (mut room, mut last) = (page::Room::default(), None);
        let mut shown = Vec::with_capacity(rows.len());
        for row in rows {
            let place = subscriptions::page_key(&row.key);
            if tells_of(&row, practice) {
                let one = self.shown(listener, row).await?;
                if !room.take(one.encoded_len()) {
                    more = true;
                    break;
                }
                shown.push(one);
            }
            last = Some(place);
        }
        let next = last.filter(|_| more).map(|last| page::token(&key, &last));
        Ok((shown, next.unwrap_or_default()))
    }

    /// Removes a subscription; a stream of it ends.
    pub(crate) async fn delete_subscription(
        &self,
        listener: &Listener,
        name: String,
    ) -> Result<(), RecordError> {
        self.check_hears(listener).await?;
        let key = SubscriptionKey::of(listener, name);
        let deleted = key.clone();
        let write = self.db.write(Scope::AllPractices, move |tx| {
            let key = key.clone();
            async move { subscriptions::delete(&*tx, &key).await }
        });
        if !write.await? {
            return Err(not_found(&deleted.name).into());
        }
        self.feed.subscription_has_changed(&deleted);
        Ok(())
    }

    /// Refuses a listener whose product is not connected.
    async fn check_hears(&self, listener: &Listener) -> Result<(), RecordError> {
        let Some(practice) = &listener.practice else { return Ok(()) };
        if connections::is_connected(self.db.reader(), practice, &listener.product).await? {
            Ok(())
        } else {
            Err(not_connected(listener.product.as_str()).into())
        }
    }

    /// The products whose subscriptions a caller may see: those that are connected
    /// to its practice, or else its own.
    async fn heard_products(&self, listener: &Listener) -> Result<Vec<Product>, RecordError> {
        let Some(practice) = &listener.practice else { return Ok(vec![listener.product.clone()]) };
        let connected = connections::list(self.db.reader(), practice).await?;
        let parse = |text: &String| text.parse().map_err(|_| RecordError::Corrupt("a product"));
        connected.iter().map(|connection| parse(&connection.product)).collect()
    }

    /// A subscription as a caller may see it: one of a practice sees what is behind
    /// of that practice alone, and no other practice's name. The cursor names the practice
    /// and the record at which a snapshot is: only those may have it who may read both.
    async fn shown(
        &self,
        viewer: &Listener,
        row: Subscription,
    ) -> Result<pb::Subscription, RecordError> {
        let (db, now) = (self.db.reader(), self.clock.now());
        let product = &row.key.product;
        let practice = row.key.practice.as_ref().or(viewer.practice.as_ref());
        let of = practice.map_or_else(|| row.filter.practices(), |one| vec![one.clone()]);
        // Below all of them when its place was lost with a restored backup.
        let behind = lag(db, product, row.acked.position.max(0), &of).await?;
        let cursor = if covers(viewer, &row) && row.acked.position >= 0 {
            self.acknowledged_cursor(&row).await?
        } else {
            None
        };
        let age = behind.oldest.map_or(TimeDelta::zero(), |oldest| now - oldest);
        let mut practices = row.filter.practices.clone();
        practices.retain(|one| viewer.practice.as_ref().is_none_or(|own| one == own));
        Ok(pb::Subscription {
            name: row.key.name.clone(),
            product: product.to_string(),
            account: row.key.account.to_string(),
            practice_id: row.key.practice.as_ref().map(ToString::to_string).unwrap_or_default(),
            state: row.state(behind.floor, now).into(),
            echo_mode: row.filter.echo.into(),
            record_kinds: row.filter.kinds.iter().map(|kind: &RecordKind| (*kind).into()).collect(),
            linked_only: row.filter.linked_only,
            practices: practices.iter().map(ToString::to_string).collect(),
            acknowledged_position: row.acked.position.max(0),
            acknowledged_cursor: cursor.unwrap_or_default(),
            acknowledge_time: row.acked_at.map(timestamp),
            delivered_position: row.delivered,
            head_position: behind.head,
            lag_changes: behind.changes,
            lag_changes_cut: behind.cut,
            lag_seconds: age.num_seconds().max(0),
            in_snapshot: row.acked.walk.is_some(),
            create_time: Some(timestamp(row.created_at)),
            connect_time: Some(timestamp(row.connected_at)),
            expire_time: behind.oldest.map(|oldest| timestamp(oldest + self.feed_retention)),
        })
    }

    async fn acknowledged_cursor(&self, row: &Subscription) -> Result<Option<String>, RecordError> {
        let (db, product) = (self.db.reader(), &row.key.product);
        let at = feed::standing(db, product, Spot::At(row.acked.position)).await?;
        let connection = match row.key.practice.clone() {
            None => None,
            Some(practice) => connections::connected_at(db, &practice, product)
                .await?
                .map(|since| Connection { practice, since }),
        };
        Ok(at.map(|at| {
            let seal = Seal::of(product, connection, &at);
            seal.cursor(row.acked.clone(), row.id, at.change).encode()
        }))
    }
}

/// Whether a subscription is of the viewer's product, and of practices that the viewer's
/// credential is for.
fn covers(viewer: &Listener, row: &Subscription) -> bool {
    let practice = viewer.practice.as_ref();
    row.key.product == viewer.product
        && practice.is_none_or(|practice| row.key.practice.as_ref() == Some(practice))
}

/// Whether a subscription tells of a practice.
fn tells_of(row: &Subscription, practice: Option<&PracticeId>) -> bool {
    practice.is_none_or(|practice| row.filter.wants_practice(practice.as_str()))
}

/// A cursor is acknowledged only to the subscription whose stream has sent it: so
/// it was delivered, or was on its way.
///
/// # Errors
///
/// `OUT_OF_RANGE` for a cursor that is no cursor of this feed,
/// `FAILED_PRECONDITION` for one that a stream of another name has sent.
async fn check_delivered(
    db: &impl sea_orm::ConnectionTrait,
    listener: &Listener,
    row: &Subscription,
    cursor: &Cursor,
) -> Result<(), RecordError> {
    opening::check(db, listener, cursor).await?;
    if cursor.subscription == row.id {
        return Ok(());
    }
    Err(Refusal::new(
        Code::FailedPrecondition,
        ErrorReason::CursorNotDelivered,
        "the cursor was not sent by a stream of this subscription; acknowledge cursors of its own \
         streams only",
    )
    .with("subscription", &row.key.name)
    .into())
}

fn not_found(name: &str) -> Refusal {
    Refusal::not_found("subscription", name)
}
