//! The events of a subscription that were sent and are not acknowledged.

use std::collections::VecDeque;

/// Bounds what comes twice when a stream breaks: no more is sent than this while
/// nothing is acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    limit: usize,
    /// Positions, rising.
    unacknowledged: VecDeque<i64>,
}

impl Window {
    /// Events in a window when the subscriber does not say.
    pub(crate) const DEFAULT: usize = 1_000;
    /// Events in a window at most.
    pub(crate) const LARGEST: usize = 10_000;

    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, unacknowledged: VecDeque::new() }
    }

    /// How many more events may be sent.
    pub(crate) fn room(&self) -> usize {
        self.limit.saturating_sub(self.unacknowledged.len())
    }

    /// An event was sent; positions rise.
    pub(crate) fn sent(&mut self, position: i64) {
        self.unacknowledged.push_back(position);
    }

    /// Everything up to a position is acknowledged.
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
        /// Against the plain meaning: a list of what was sent, and the greatest
        /// acknowledgement.
        #[test]
        fn a_window_has_room_for_what_is_not_acknowledged(
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
