//! Named subscriptions: places in a feed that the server keeps.

use chrono::{DateTime, Utc};
use shared::{
    caller::{Account, Listener, PracticeId, Product},
    pb::records::SubscriptionState,
};
use uuid::Uuid;

use super::{
    filter::{Filter, Hearer},
    place::Place,
};

/// What names a subscription: a name of one product, account and practice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SubscriptionKey {
    pub(crate) product: Product,
    /// All practices of the product when there is none.
    pub(crate) practice: Option<PracticeId>,
    pub(crate) account: Account,
    pub(crate) name: String,
}

impl SubscriptionKey {
    pub(crate) fn of(listener: &Listener, name: String) -> Self {
        let Listener { practice, product, account, .. } = listener.clone();
        Self { product, practice, account, name }
    }

    pub(crate) fn hearer(&self) -> Hearer<'_> {
        Hearer { practice: self.practice.as_ref(), product: &self.product, account: &self.account }
    }
}

/// A subscription as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) key: SubscriptionKey,
    /// Another one when it is begun anew: cursors from before are not its own.
    pub(crate) id: Uuid,
    /// Rises with every stream; the newest one holds it.
    pub(crate) session: i64,
    /// The position that it began after.
    pub(crate) start: i64,
    pub(crate) acked: Place,
    pub(crate) acked_at: Option<DateTime<Utc>>,
    /// The position of the event that was sent last.
    pub(crate) delivered: i64,
    /// The position up to which everything was sent or left out.
    pub(crate) seen: i64,
    /// What its newest stream asks for.
    pub(crate) filter: Filter,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) connected_at: DateTime<Utc>,
    /// A stream stands until then, unless it says again that it does.
    pub(crate) active_until: Option<DateTime<Utc>>,
    /// When the practice's connection was made under which the subscription was begun.
    /// Identifies that connection; none when the subscription is for all practices.
    pub(crate) connection_since: Option<DateTime<Utc>>,
}

impl Subscription {
    /// Takes an acknowledgement; whether it moves the place.
    ///
    /// When nothing that was sent is left unacknowledged, what was left out after
    /// it is acknowledged too.
    pub(crate) fn acknowledge(&mut self, place: Place, now: DateTime<Utc>) -> bool {
        if !place.is_beyond(&self.acked) {
            return false;
        }
        self.acked = place;
        self.acked_at = Some(now);
        self.pass_what_was_left_out();
        true
    }

    /// Moves the place over what was left out, when all that was sent is
    /// acknowledged.
    pub(crate) fn pass_what_was_left_out(&mut self) {
        let acked = self.acked.position;
        if self.acked.walk.is_none() && acked >= self.delivered && self.seen > acked {
            self.acked = Place::after(self.seen);
        }
    }

    /// Whether it is in use. `floor` is the oldest position that is kept.
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
    use shared::pb::records::EchoMode;

    use super::*;
    use crate::domain::place::Walk;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn subscription(acked: Place, delivered: i64, seen: i64) -> Subscription {
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
    fn an_acknowledgement_never_goes_back() {
        let mut subscription = subscription(Place::after(5), 9, 9);
        assert!(!subscription.acknowledge(Place::after(4), at(1)));
        assert_eq!(subscription.acked, Place::after(5));
        assert!(subscription.acknowledge(Place::after(7), at(1)));
        assert_eq!(subscription.acked, Place::after(7));
    }

    #[test]
    fn what_was_left_out_after_the_last_event_is_acknowledged_with_it() {
        let mut subscription = subscription(Place::after(5), 7, 20);
        subscription.acknowledge(Place::after(6), at(1));
        assert_eq!(subscription.acked, Place::after(6), "7 was sent");
        subscription.acknowledge(Place::after(7), at(1));
        assert_eq!(subscription.acked, Place::after(20));
    }

    #[test]
    fn nothing_is_passed_over_in_the_middle_of_a_snapshot() {
        let walk = Place { position: 5, walk: Some(Walk::beginning()) };
        let mut subscription = subscription(walk.clone(), 5, 20);
        subscription.pass_what_was_left_out();
        assert_eq!(subscription.acked, walk);
        assert!(subscription.acknowledge(Place::after(5), at(1)), "its end");
    }

    #[test]
    fn a_state_is_told_by_the_clock_and_the_oldest_change() {
        let subscription = subscription(Place::after(5), 5, 5);
        assert_eq!(subscription.state(6, at(9)), SubscriptionState::Active);
        assert_eq!(subscription.state(6, at(10)), SubscriptionState::Idle);
        assert_eq!(subscription.state(7, at(9)), SubscriptionState::Expired);
    }
}
