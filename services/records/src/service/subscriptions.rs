//! Named subscriptions: acknowledge, read, list, delete.

use chrono::TimeDelta;
use concord_core::{
    caller::{PracticeId, Product, Subscriber},
    page,
    status::ApiError,
};
use concord_db::TenantScope;
use concord_proto::pb::records::{self as pb, ErrorReason, RecordKind};
use prost::Message as _;
use tonic::Code;

use super::{Records, reading::PageRequest};
use crate::{
    domain::subscription::{Subscription, SubscriptionKey},
    error::{RecordError, not_connected},
    feed::{
        cursor::{ConnectionIdentity, Cursor, CursorSigner},
        opening,
    },
    image::timestamp,
    store::{
        connections,
        feed::{self, SeekTarget, lag::lag},
        subscriptions,
    },
};

impl Records {
    /// Applies an acknowledgement. Returns the acknowledged position.
    pub(crate) async fn acknowledge(
        &self,
        subscriber: Subscriber,
        name: String,
        cursor: Option<Cursor>,
    ) -> Result<i64, RecordError> {
        self.check_subscriber(&subscriber).await?;
        let (clock, key) = (self.clock.clone(), SubscriptionKey::of(&subscriber, name));
        let changed = key.clone();
        let write = self.db.write(TenantScope::AllPractices, move |tx| {
            let (subscriber, key, cursor) = (subscriber.clone(), key.clone(), cursor.clone());
            let now = clock.now();
            async move {
                let row = subscriptions::lock(&*tx, &key).await?;
                let mut row = row.ok_or_else(|| not_found(&key.name))?;
                let Some(cursor) = cursor else {
                    let reason = ErrorReason::CursorForeign;
                    return Err(opening::cursor_error(&*tx, &subscriber, reason).await?);
                };
                check_delivered(&*tx, &subscriber, &row, &cursor).await?;
                if row.acknowledge(cursor.resume_point, now) {
                    subscriptions::update(&*tx, &row).await?;
                }
                Ok(row.acked.position)
            }
        });
        let position = write.await?;
        self.feed.notify_subscription_changed(&changed);
        Ok(position)
    }

    /// One subscription.
    pub(crate) async fn subscription(
        &self,
        subscriber: &Subscriber,
        name: String,
    ) -> Result<pb::Subscription, RecordError> {
        self.check_subscriber(subscriber).await?;
        let key = SubscriptionKey::of(subscriber, name);
        let row = subscriptions::get(self.db.reader(), &key).await?;
        self.view(subscriber, row.ok_or_else(|| not_found(&key.name))?).await
    }

    /// A page of the subscriptions that include the caller's practice. For a subscriber to
    /// all practices, those of its product.
    pub(crate) async fn list_subscriptions(
        &self,
        subscriber: &Subscriber,
        product: Option<Product>,
        request: PageRequest,
    ) -> Result<(Vec<pb::Subscription>, String), RecordError> {
        self.check_subscriber(subscriber).await?;
        let practice = subscriber.practice.as_ref();
        let mut products = self.visible_products(subscriber).await?;
        products.retain(|one| product.as_ref().is_none_or(|only| one == only));
        let key = (
            "subscriptions",
            subscriber.product.as_str(),
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
        let (mut budget, mut last) = (page::ResponseBudget::default(), None);
        let mut shown = Vec::with_capacity(rows.len());
        for row in rows {
            let page_key = subscriptions::page_key(&row.key);
            if includes(&row, practice) {
                let one = self.view(subscriber, row).await?;
                if !budget.try_take(one.encoded_len()) {
                    more = true;
                    break;
                }
                shown.push(one);
            }
            last = Some(page_key);
        }
        let next = last.filter(|_| more).map(|last| page::token(&key, &last));
        Ok((shown, next.unwrap_or_default()))
    }

    /// Deletes a subscription, and ends its stream.
    pub(crate) async fn delete_subscription(
        &self,
        subscriber: &Subscriber,
        name: String,
    ) -> Result<(), RecordError> {
        self.check_subscriber(subscriber).await?;
        let key = SubscriptionKey::of(subscriber, name);
        let deleted = key.clone();
        let write = self.db.write(TenantScope::AllPractices, move |tx| {
            let key = key.clone();
            async move { subscriptions::delete(&*tx, &key).await }
        });
        if !write.await? {
            return Err(not_found(&deleted.name).into());
        }
        self.feed.notify_subscription_changed(&deleted);
        Ok(())
    }

    /// Checks that the product of a subscriber to one practice is connected.
    async fn check_subscriber(&self, subscriber: &Subscriber) -> Result<(), RecordError> {
        let Some(practice) = &subscriber.practice else { return Ok(()) };
        if connections::is_connected(self.db.reader_of(practice), &subscriber.product).await? {
            Ok(())
        } else {
            Err(not_connected(subscriber.product.as_str()).into())
        }
    }

    /// The products whose subscriptions a caller may see: those connected to its practice,
    /// or its own product if it has no practice.
    async fn visible_products(&self, subscriber: &Subscriber) -> Result<Vec<Product>, RecordError> {
        let Some(practice) = &subscriber.practice else {
            return Ok(vec![subscriber.product.clone()]);
        };
        let connected = connections::list(self.db.reader_of(practice)).await?;
        let parse = |text: &String| text.parse().map_err(|_| RecordError::Corrupt("a product"));
        connected.iter().map(|connection| parse(&connection.product)).collect()
    }

    /// A subscription as a message for the viewer. A viewer of one practice gets the lag of
    /// that practice only, and no names of other practices. The cursor contains the
    /// practice and the record of a snapshot position: only a viewer who may read both
    /// gets it.
    async fn view(
        &self,
        viewer: &Subscriber,
        row: Subscription,
    ) -> Result<pb::Subscription, RecordError> {
        let (db, now) = (self.db.reader(), self.clock.now());
        let product = &row.key.product;
        let practice = row.key.practice.as_ref().or(viewer.practice.as_ref());
        let of = practice.map_or_else(|| row.filter.practices(), |one| vec![one.clone()]);
        // Negative after a restored backup, which reset the resume point.
        let lag = lag(db, product, row.acked.position.max(0), &of).await?;
        let cursor = if covers(viewer, &row) && row.acked.position >= 0 {
            self.acknowledged_cursor(&row).await?
        } else {
            None
        };
        let age = lag.oldest.map_or(TimeDelta::zero(), |oldest| now - oldest);
        let mut practices = row.filter.practices.clone();
        practices.retain(|one| viewer.practice.as_ref().is_none_or(|own| one == own));
        Ok(pb::Subscription {
            name: row.key.name.clone(),
            product: product.to_string(),
            account: row.key.account.to_string(),
            practice_id: row.key.practice.as_ref().map(ToString::to_string).unwrap_or_default(),
            state: row.state(lag.floor, now).into(),
            echo_mode: row.filter.echo.into(),
            record_kinds: row.filter.kinds.iter().map(|kind: &RecordKind| (*kind).into()).collect(),
            linked_only: row.filter.linked_only,
            practices: practices.iter().map(ToString::to_string).collect(),
            acknowledged_position: row.acked.position.max(0),
            acknowledged_cursor: cursor.unwrap_or_default(),
            acknowledge_time: row.acked_at.map(timestamp),
            delivered_position: row.delivered,
            head_position: lag.head,
            lag_changes: lag.changes,
            lag_changes_truncated: lag.truncated,
            lag_seconds: age.num_seconds().max(0),
            in_snapshot: row.acked.snapshot.is_some(),
            create_time: Some(timestamp(row.created_at)),
            connect_time: Some(timestamp(row.connected_at)),
            expire_time: lag.oldest.map(|oldest| timestamp(oldest + self.feed_retention)),
        })
    }

    async fn acknowledged_cursor(&self, row: &Subscription) -> Result<Option<String>, RecordError> {
        let product = &row.key.product;
        let target = SeekTarget::At(row.acked.position);
        let at = feed::seek(self.db.reader(), product, target).await?;
        let connection = match row.key.practice.clone() {
            None => None,
            Some(practice) => connections::connected_at(self.db.reader_of(&practice), product)
                .await?
                .map(|since| ConnectionIdentity { practice, since }),
        };
        Ok(at.map(|at| {
            let signer = CursorSigner::of(product, connection, &at);
            signer.cursor(row.acked.clone(), row.id, at.change).encode()
        }))
    }
}

/// True if a subscription belongs to the viewer's product, and all its practices to the
/// viewer's credential.
fn covers(viewer: &Subscriber, row: &Subscription) -> bool {
    let practice = viewer.practice.as_ref();
    row.key.product == viewer.product
        && practice.is_none_or(|practice| row.key.practice.as_ref() == Some(practice))
}

/// True if a subscription includes a practice.
fn includes(row: &Subscription, practice: Option<&PracticeId>) -> bool {
    practice.is_none_or(|practice| row.filter.wants_practice(practice.as_str()))
}

/// Checks that a stream of the subscription has sent the cursor. A cursor of another
/// subscription cannot be acknowledged.
///
/// # Errors
///
/// `OUT_OF_RANGE` for a cursor of another feed, `FAILED_PRECONDITION` for a cursor of
/// another subscription.
async fn check_delivered(
    db: &impl sea_orm::ConnectionTrait,
    subscriber: &Subscriber,
    row: &Subscription,
    cursor: &Cursor,
) -> Result<(), RecordError> {
    opening::check(db, subscriber, cursor).await?;
    if cursor.subscription == row.id {
        return Ok(());
    }
    Err(ApiError::new(
        Code::FailedPrecondition,
        ErrorReason::CursorNotDelivered,
        "the cursor was not sent by a stream of this subscription; acknowledge cursors of its own \
         streams only",
    )
    .with("subscription", &row.key.name)
    .into())
}

fn not_found(name: &str) -> ApiError {
    ApiError::not_found("subscription", name)
}
