//! The chain of positions: proves that no change is missing and none is told
//! twice, over filters, broken connections and snapshots.

use std::fmt;

use shared::wire::Event;

/// What is wrong with a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Events are missing, or came twice: the event at `came` says that the one
    /// before it was at `told`, and the last one that was heard is at `heard`.
    Gap { heard: i64, told: i64, came: i64 },
    /// A stream goes on at `came`, and was asked to go on after `heard`.
    Elsewhere { heard: i64, came: i64 },
    /// The feed ends at `head`, and an event at `heard` was heard already.
    Shorter { heard: i64, head: i64 },
    /// A snapshot is said to be of `told` records, and `came` came.
    Records { told: i64, came: i64 },
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { heard, told, came } => write!(
                f,
                "GAP: the last change that was heard is at position {heard}, and the one at {came} \
                 says that the one before it was at {told}"
            ),
            Self::Elsewhere { heard, came } => write!(
                f,
                "GAP: the stream was to go on after position {heard}, and goes on after {came}"
            ),
            Self::Shorter { heard, head } => write!(
                f,
                "GAP: the feed ends at position {head}, and a change at {heard} was heard already, \
                 as when a backup was restored"
            ),
            Self::Records { told, came } => {
                write!(f, "GAP: the snapshot is of {told} records, and {came} came")
            }
        }
    }
}

/// The chain of positions, as far as it was heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    /// The last event of the stream, or where the stream began; none before the
    /// first stream.
    last: Option<i64>,
    /// The position of the cursor to resume with, when the server has said it.
    /// It may be beyond the last event: what lies between was left out.
    resume: Option<i64>,
    /// The last event that was passed on; 0 before the first one. Ahead of `last`
    /// while a stream repeats what was not acknowledged.
    passed_on: i64,
    /// How many records of a snapshot the stream has sent.
    records: i64,
}

impl Chain {
    /// A stream begins after `position`, wherever that is: the first stream, or
    /// that of a subscription, which goes on where it was acknowledged. What it
    /// repeats is not passed on again. `head` is the end of the feed.
    pub(super) fn begin(&mut self, position: i64, head: i64) -> Result<(), Broken> {
        if head < self.passed_on {
            return Err(Broken::Shorter { heard: self.passed_on, head });
        }
        self.start(position);
        Ok(())
    }

    /// A stream goes on after `position`: where the last one stopped.
    pub(super) fn go_on(&mut self, position: i64) -> Result<(), Broken> {
        if let Some(heard) = self.last {
            let goes_on = self.resume.map_or(position >= heard, |resume| position == resume);
            if !goes_on {
                return Err(Broken::Elsewhere { heard, came: position });
            }
        }
        self.start(position);
        Ok(())
    }

    fn start(&mut self, position: i64) {
        (self.last, self.resume, self.records) = (Some(position), Some(position), 0);
    }

    /// Takes events; those that are new.
    pub(super) fn events(&mut self, mut events: Vec<Event>) -> Result<Vec<Event>, Broken> {
        let mut new_from = 0;
        for event in &events {
            if !self.event(event)? {
                new_from += 1;
            }
        }
        Ok(events.split_off(new_from))
    }

    /// Takes an event; whether it is new.
    fn event(&mut self, event: &Event) -> Result<bool, Broken> {
        let Event { position: came, previous_position: told, .. } = *event;
        let heard = self.last.unwrap_or_default();
        if told != heard || came <= heard {
            return Err(Broken::Gap { heard, told, came });
        }
        (self.last, self.resume) = (Some(came), None);
        if came <= self.passed_on {
            return Ok(false);
        }
        // What is repeated must lead to what was heard, and not around it.
        if told < self.passed_on {
            return Err(Broken::Gap { heard: self.passed_on, told, came });
        }
        self.passed_on = came;
        Ok(true)
    }

    /// Everything up to `position` was sent or left out.
    pub(super) fn passed(&mut self, position: i64) {
        self.resume = Some(position);
    }

    /// The stream ends, with a cursor whose position is not said.
    pub(super) fn closing(&mut self) {
        self.resume = None;
    }

    /// So many records of a snapshot came.
    pub(super) fn records(&mut self, count: usize) {
        self.records += i64::try_from(count).unwrap_or(i64::MAX);
    }

    /// The snapshot is complete, and was of so many records: changes follow after
    /// `position`.
    pub(super) fn snapshot_end(&mut self, position: i64, told: i64) -> Result<(), Broken> {
        if told != self.records {
            return Err(Broken::Records { told, came: self.records });
        }
        self.start(position);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(previous_position: i64, position: i64) -> Event {
        Event { position, previous_position, ..Event::default() }
    }

    /// Begun after `position`.
    fn chain(position: i64) -> Chain {
        let mut chain = Chain::default();
        chain.begin(position, 100).unwrap();
        chain
    }

    #[test]
    fn a_chain_without_a_gap_holds() {
        let mut chain = chain(4);
        chain.event(&event(4, 5)).unwrap();
        // A filter has left 6 and 7 out.
        chain.event(&event(5, 8)).unwrap();
        chain.go_on(8).unwrap();
        chain.event(&event(8, 9)).unwrap();
    }

    #[test]
    fn a_missing_event_is_noticed() {
        let broken = chain(4).event(&event(5, 6)).unwrap_err();
        assert_eq!(broken, Broken::Gap { heard: 4, told: 5, came: 6 });
    }

    #[test]
    fn an_event_that_comes_twice_is_noticed() {
        let mut chain = chain(0);
        chain.event(&event(0, 1)).unwrap();
        assert!(chain.event(&event(1, 1)).is_err());
        assert!(chain.event(&event(0, 1)).is_err());
    }

    #[test]
    fn a_stream_that_resumes_elsewhere_is_noticed() {
        let mut chain = chain(0);
        chain.event(&event(0, 5)).unwrap();
        assert_eq!(chain.go_on(4), Err(Broken::Elsewhere { heard: 5, came: 4 }));
        // What was left out after the last event.
        chain.go_on(7).unwrap();
        assert!(chain.go_on(6).is_err());
        assert!(chain.go_on(8).is_err());
    }

    #[test]
    fn a_heartbeat_moves_the_place_to_resume_at() {
        let mut chain = chain(0);
        chain.event(&event(0, 1)).unwrap();
        chain.passed(9);
        chain.go_on(9).unwrap();
        chain.event(&event(9, 10)).unwrap();
    }

    #[test]
    fn a_connection_that_is_renewed_goes_on_beyond_what_was_left_out() {
        let mut chain = chain(0);
        chain.event(&event(0, 1)).unwrap();
        chain.closing();
        chain.go_on(3).unwrap();
        chain.event(&event(3, 4)).unwrap();
    }

    #[test]
    fn changes_follow_a_snapshot_at_its_position() {
        let mut chain = chain(7);
        chain.records(250);
        // Resumed in its middle.
        chain.go_on(7).unwrap();
        chain.records(50);
        assert_eq!(chain.snapshot_end(7, 51), Err(Broken::Records { told: 51, came: 50 }));
        chain.snapshot_end(7, 50).unwrap();
        chain.event(&event(7, 8)).unwrap();
    }

    #[test]
    fn what_a_subscription_repeats_is_not_passed_on_again() {
        let mut chain = chain(2);
        assert_eq!(chain.events(vec![event(2, 3), event(3, 6)]).unwrap().len(), 2);
        chain.begin(2, 100).unwrap();
        let new = chain.events(vec![event(2, 3), event(3, 6), event(6, 7)]).unwrap();
        assert_eq!(new, [event(6, 7)]);
        // Acknowledged by another one meanwhile.
        chain.begin(7, 100).unwrap();
        assert_eq!(chain.events(vec![event(7, 8)]).unwrap().len(), 1);
    }

    #[test]
    fn a_repetition_that_leads_around_what_was_heard_is_noticed() {
        let mut chain = chain(2);
        chain.events(vec![event(2, 3), event(3, 6)]).unwrap();
        chain.begin(2, 100).unwrap();
        let broken = chain.events(vec![event(2, 3), event(3, 7)]).unwrap_err();
        assert_eq!(broken, Broken::Gap { heard: 6, told: 3, came: 7 });
    }

    #[test]
    fn a_feed_that_has_become_shorter_is_noticed() {
        let mut chain = chain(2);
        chain.events(vec![event(2, 3)]).unwrap();
        assert_eq!(chain.begin(2, 2), Err(Broken::Shorter { heard: 3, head: 2 }));
    }

    /// A server in a few lines: the events of a stream that begins after a
    /// position, of a feed that has events at these positions.
    fn stream(positions: &[i64], after: i64) -> Vec<Event> {
        let mut previous = after;
        let later = positions.iter().filter(|position| **position > after);
        later.map(|at| event(std::mem::replace(&mut previous, *at), *at)).collect()
    }

    proptest! {
        /// Streams that break anywhere, and go on by cursor, or where the
        /// subscription was acknowledged: each event is passed on once; and with
        /// one event lost, the chain breaks.
        #[test]
        fn each_event_is_passed_on_once(
            steps in proptest::collection::vec(1_i64..4, 1..30),
            by_cursor: bool,
            breaks in proptest::collection::vec((0_usize..8, 0_usize..8), 0..10),
            lost in 0_usize..30,
        ) {
            let mut head = 0;
            let positions: Vec<i64> = steps.iter().map(|step| { head += step; head }).collect();
            let (mut chain, mut passed_on, mut at) = (Chain::default(), Vec::new(), 0);
            chain.begin(at, head).unwrap();
            for (take, unacknowledged) in breaks {
                let came: Vec<_> = stream(&positions, at).into_iter().take(take).collect();
                passed_on.extend(chain.events(came).unwrap().iter().map(|event| event.position));
                if by_cursor {
                    at = passed_on.last().copied().unwrap_or_default();
                    chain.go_on(at).unwrap();
                } else {
                    let acknowledged = passed_on.len().checked_sub(unacknowledged + 1);
                    at = acknowledged.map_or(at, |last| at.max(passed_on[last]));
                    chain.begin(at, head).unwrap();
                }
            }
            let mut rest = stream(&positions, at);
            let new = chain.clone().events(rest.clone()).unwrap();
            passed_on.extend(new.iter().map(|event| event.position));
            prop_assert_eq!(&passed_on, &positions);
            if lost + 1 < rest.len() {
                rest.remove(lost);
                prop_assert!(chain.events(rest).is_err());
            }
        }
    }
}
