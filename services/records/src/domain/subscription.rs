//! Named subscriptions: durable resume points that the server stores.

use chrono::{DateTime, Utc};
use concord_core::caller::{Account, PracticeId, Product, Subscriber};
use concord_proto::pb::records::SubscriptionState;
use uuid::Uuid;

use super::{
    filter::{Filter, Recipient},
    resume_point::ResumePoint,
};

/// The key of a subscription: its product, practice, account and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SubscriptionKey {
    pub(crate) product: Product,
    /// `None` for a subscription to all practices of the product.
    pub(crate) practice: Option<PracticeId>,
    pub(crate) account: Account,
    pub(crate) name: String,
}

impl SubscriptionKey {
    pub(crate) fn of(subscriber: &Subscriber, name: String) -> Self {
        let Subscriber { practice, product, account, .. } = subscriber.clone();
        Self { product, practice, account, name }
    }

    pub(crate) fn recipient(&self) -> Recipient<'_> {
        Recipient {
            practice: self.practice.as_ref(),
            product: &self.product,
            account: &self.account,
        }
    }
}

/// A stored subscription.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) key: SubscriptionKey,
    /// Replaced when the subscription is restarted, which invalidates its older cursors.
    pub(crate) id: Uuid,
    /// The fencing token of its streams. Every new stream increments it, and only the
    /// stream with the newest one may write.
    pub(crate) session: i64,
    /// The position after which it started.
    pub(crate) start: i64,
    pub(crate) acked: ResumePoint,
    pub(crate) acked_at: Option<DateTime<Utc>>,
    /// The position of the last sent event.
    pub(crate) delivered: i64,
    /// The position up to which all changes were sent or filtered out.
    pub(crate) seen: i64,
    /// The filter of its newest stream.
    pub(crate) filter: Filter,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) connected_at: DateTime<Utc>,
    /// The end of the lease of its stream, which the stream renews.
    pub(crate) active_until: Option<DateTime<Utc>>,
    /// When the product was connected to the practice. Identifies the connection under
    /// which the subscription was created; `None` for a subscription to all practices.
    pub(crate) connection_since: Option<DateTime<Utc>>,
}

impl Subscription {
    /// Applies an acknowledgement. Returns true if it moves the resume point.
    ///
    /// When all sent events are acknowledged, the changes that were filtered out after
    /// them are acknowledged too.
    pub(crate) fn acknowledge(&mut self, point: ResumePoint, now: DateTime<Utc>) -> bool {
        if !point.is_beyond(&self.acked) {
            return false;
        }
        self.acked = point;
        self.acked_at = Some(now);
        self.skip_filtered();
        true
    }

    /// Moves the resume point over the changes that were filtered out, if all sent events
    /// are acknowledged.
    pub(crate) fn skip_filtered(&mut self) {
        let acked = self.acked.position;
        if self.acked.snapshot.is_none() && acked >= self.delivered && self.seen > acked {
            self.acked = ResumePoint::after(self.seen);
        }
    }

    /// The state of the subscription. `floor` is the oldest retained position.
    pub(crate) fn state(&self, floor: i64, now: DateTime<Utc>) -> SubscriptionState {
        if self.acked.position < floor - 1 {
            SubscriptionState::Expired
        } else if self.active_until.is_some_and(|until| until > now) {
            SubscriptionState::Active
        } else {
            SubscriptionState::Idle
        }
    }
}

#[cfg(test)]
mod tests {
    use concord_proto::pb::records::EchoMode;

    use super::*;
    use crate::domain::resume_point::SnapshotPosition;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn subscription(acked: ResumePoint, delivered: i64, seen: i64) -> Subscription {
        let key = SubscriptionKey {
            product: "books".parse().unwrap(),
            practice: None,
            account: "main".parse().unwrap(),
            name: "ledger".to_owned(),
        };
        let filter = Filter {
            echo: EchoMode::Suppress,
            kinds: Vec::new(),
            linked_only: false,
            practices: Vec::new(),
        };
        Subscription {
            key,
            id: Uuid::nil(),
            session: 1,
            start: 0,
            acked,
            acked_at: None,
            delivered,
            seen,
            filter,
            created_at: at(0),
            connected_at: at(0),
            active_until: Some(at(10)),
            connection_since: None,
        }
    }

    #[test]
    fn acknowledge_of_earlier_position_is_ignored() {
        let mut subscription = subscription(ResumePoint::after(5), 9, 9);
        assert!(!subscription.acknowledge(ResumePoint::after(4), at(1)));
        assert_eq!(subscription.acked, ResumePoint::after(5));
        assert!(subscription.acknowledge(ResumePoint::after(7), at(1)));
        assert_eq!(subscription.acked, ResumePoint::after(7));
    }

    #[test]
    fn acknowledge_of_last_event_skips_filtered_changes() {
        let mut subscription = subscription(ResumePoint::after(5), 7, 20);
        subscription.acknowledge(ResumePoint::after(6), at(1));
        assert_eq!(subscription.acked, ResumePoint::after(6), "7 was sent");
        subscription.acknowledge(ResumePoint::after(7), at(1));
        assert_eq!(subscription.acked, ResumePoint::after(20));
    }

    #[test]
    fn skip_filtered_within_snapshot_does_nothing() {
        let within = ResumePoint { position: 5, snapshot: Some(SnapshotPosition::start()) };
        let mut subscription = subscription(within.clone(), 5, 20);
        subscription.skip_filtered();
        assert_eq!(subscription.acked, within);
        assert!(subscription.acknowledge(ResumePoint::after(5), at(1)), "its end");
    }

    #[test]
    fn state_depends_on_lease_and_retention() {
        let subscription = subscription(ResumePoint::after(5), 5, 5);
        assert_eq!(subscription.state(6, at(9)), SubscriptionState::Active);
        assert_eq!(subscription.state(6, at(10)), SubscriptionState::Idle);
        assert_eq!(subscription.state(7, at(9)), SubscriptionState::Expired);
    }
}
