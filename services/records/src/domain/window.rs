//! Flow control of a subscription: the window of unacknowledged events.

use std::collections::VecDeque;

/// The window of events that were sent and not acknowledged. Its limit bounds the events
/// in flight, and those that are delivered again after a broken stream.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    limit: usize,
    /// Positions, ascending.
    unacknowledged: VecDeque<i64>,
}

impl Window {
    /// Default limit of a window, in events.
    pub(crate) const DEFAULT: usize = 1_000;
    /// Maximum limit of a window, in events.
    pub(crate) const LARGEST: usize = 10_000;

    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, unacknowledged: VecDeque::new() }
    }

    /// Number of events that may be sent now.
    pub(crate) fn room(&self) -> usize {
        self.limit.saturating_sub(self.unacknowledged.len())
    }

    /// Records a sent event. Positions must ascend.
    pub(crate) fn sent(&mut self, position: i64) {
        self.unacknowledged.push_back(position);
    }

    /// Records an acknowledgement of all events up to a position.
    pub(crate) fn acknowledged(&mut self, position: i64) {
        let done = self.unacknowledged.partition_point(|sent| *sent <= position);
        self.unacknowledged.drain(..done);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Compares the window with a naive model: a list of the sent positions, and the
        /// greatest acknowledgement.
        #[test]
        fn window_room_is_limit_minus_unacknowledged(
            limit in 1_usize..20,
            steps in proptest::collection::vec((any::<bool>(), 0_i64..5), 0..200),
        ) {
            let mut window = Window::new(limit);
            let (mut sent, mut acked, mut last): (Vec<i64>, i64, i64) = (Vec::new(), 0, 0);
            for (send, by) in steps {
                if send && window.room() > 0 {
                    last += 1 + by;
                    window.sent(last);
                    sent.push(last);
                } else if !send {
                    acked = acked.max(last - by);
                    window.acknowledged(last - by);
                }
                let open = sent.iter().filter(|position| **position > acked).count();
                prop_assert!(open <= limit);
                prop_assert_eq!(window.room(), limit - open);
            }
        }
    }
}
