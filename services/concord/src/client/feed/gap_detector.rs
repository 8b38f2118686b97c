//! Gap detection: verifies by the positions of events that none is missing or duplicated,
//! across filters, reconnections and snapshots. Each event carries the position of the event
//! before it in the stream.

use std::fmt;

use concord_proto::wire::Event;

/// A gap or another inconsistency in a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GapError {
    /// Events are missing or duplicated: the event at `position` has the previous position
    /// `previous`, and the last received event is at `last`.
    Gap { last: i64, previous: i64, position: i64 },
    /// A stream resumes after `position` instead of after `last`.
    WrongResume { last: i64, position: i64 },
    /// The feed ends at `head`, before the last received event at `last`.
    Truncated { last: i64, head: i64 },
    /// A snapshot has `expected` records, and `received` were received.
    RecordCount { expected: i64, received: i64 },
}

impl fmt::Display for GapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { last, previous, position } => write!(
                f,
                "GAP: the last received change is at position {last}, and the change at {position} \
                 has the previous position {previous}"
            ),
            Self::WrongResume { last, position } => write!(
                f,
                "GAP: the stream resumes after position {position} instead of after {last}"
            ),
            Self::Truncated { last, head } => write!(
                f,
                "GAP: the feed ends at position {head}, before the last received change at {last}, \
                 as after a restored backup"
            ),
            Self::RecordCount { expected, received } => {
                write!(f, "GAP: the snapshot has {expected} records, and {received} were received")
            }
        }
    }
}

/// The positions of a feed that were received so far.
#[derive(Clone, Debug, Default)]
pub(super) struct GapDetector {
    /// The position of the last event of the stream, or of its start; none before the first
    /// stream.
    last: Option<i64>,
    /// The position of the resume cursor, if known. It may be after the last event, when a
    /// filter omitted the events in between.
    resume_position: Option<i64>,
    /// The position of the last delivered event; 0 before the first one. It is after `last`
    /// while a stream repeats unacknowledged events.
    delivered: i64,
    /// The number of snapshot records that the stream has sent.
    records: i64,
}

impl GapDetector {
    /// Starts a stream after any `position`: the first stream, or one that resumes from the
    /// acknowledged position of its subscription, and repeats events. `head` is the end of
    /// the feed.
    pub(super) fn start(&mut self, position: i64, head: i64) -> Result<(), GapError> {
        if head < self.delivered {
            return Err(GapError::Truncated { last: self.delivered, head });
        }
        self.set_position(position);
        Ok(())
    }

    /// Starts a stream after `position`, which must be where the last stream ended.
    pub(super) fn resume(&mut self, position: i64) -> Result<(), GapError> {
        if let Some(last) = self.last {
            let is_valid =
                self.resume_position.map_or(position >= last, |expected| position == expected);
            if !is_valid {
                return Err(GapError::WrongResume { last, position });
            }
        }
        self.set_position(position);
        Ok(())
    }

    fn set_position(&mut self, position: i64) {
        (self.last, self.resume_position, self.records) = (Some(position), Some(position), 0);
    }

    /// Checks events. Returns the new ones, without repeated ones.
    pub(super) fn add_events(&mut self, mut events: Vec<Event>) -> Result<Vec<Event>, GapError> {
        let mut new_from = 0;
        for event in &events {
            if !self.add_event(event)? {
                new_from += 1;
            }
        }
        Ok(events.split_off(new_from))
    }

    /// Checks an event. Returns whether it is new.
    fn add_event(&mut self, event: &Event) -> Result<bool, GapError> {
        let Event { position, previous_position: previous, .. } = *event;
        let last = self.last.unwrap_or_default();
        if previous != last || position <= last {
            return Err(GapError::Gap { last, previous, position });
        }
        (self.last, self.resume_position) = (Some(position), None);
        if position <= self.delivered {
            return Ok(false);
        }
        // Repeated events must include the last delivered one.
        if previous < self.delivered {
            return Err(GapError::Gap { last: self.delivered, previous, position });
        }
        self.delivered = position;
        Ok(true)
    }

    /// Advances the resume position: everything up to `position` was sent or filtered out.
    pub(super) fn advance(&mut self, position: i64) {
        self.resume_position = Some(position);
    }

    /// Ends the stream with a cursor of unknown position.
    pub(super) fn close(&mut self) {
        self.resume_position = None;
    }

    /// Counts snapshot records.
    pub(super) fn add_records(&mut self, count: usize) {
        self.records += i64::try_from(count).unwrap_or(i64::MAX);
    }

    /// Ends the snapshot, which has this number of records. Changes follow after `position`.
    pub(super) fn end_snapshot(&mut self, position: i64, expected: i64) -> Result<(), GapError> {
        if expected != self.records {
            return Err(GapError::RecordCount { expected, received: self.records });
        }
        self.set_position(position);
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

    /// A detector with a stream after `position`.
    fn detector(position: i64) -> GapDetector {
        let mut detector = GapDetector::default();
        detector.start(position, 100).unwrap();
        detector
    }

    #[test]
    fn contiguous_events_are_accepted() {
        let mut detector = detector(4);
        detector.add_event(&event(4, 5)).unwrap();
        // A filter omitted 6 and 7.
        detector.add_event(&event(5, 8)).unwrap();
        detector.resume(8).unwrap();
        detector.add_event(&event(8, 9)).unwrap();
    }

    #[test]
    fn missing_event_is_detected() {
        let error = detector(4).add_event(&event(5, 6)).unwrap_err();
        assert_eq!(error, GapError::Gap { last: 4, previous: 5, position: 6 });
    }

    #[test]
    fn duplicate_event_is_detected() {
        let mut detector = detector(0);
        detector.add_event(&event(0, 1)).unwrap();
        assert!(detector.add_event(&event(1, 1)).is_err());
        assert!(detector.add_event(&event(0, 1)).is_err());
    }

    #[test]
    fn resume_at_another_position_is_detected() {
        let mut detector = detector(0);
        detector.add_event(&event(0, 5)).unwrap();
        assert_eq!(detector.resume(4), Err(GapError::WrongResume { last: 5, position: 4 }));
        // Filtered out events after the last one.
        detector.resume(7).unwrap();
        assert!(detector.resume(6).is_err());
        assert!(detector.resume(8).is_err());
    }

    #[test]
    fn heartbeat_advances_the_resume_position() {
        let mut detector = detector(0);
        detector.add_event(&event(0, 1)).unwrap();
        detector.advance(9);
        detector.resume(9).unwrap();
        detector.add_event(&event(9, 10)).unwrap();
    }

    #[test]
    fn reconnection_resumes_after_filtered_events() {
        let mut detector = detector(0);
        detector.add_event(&event(0, 1)).unwrap();
        detector.close();
        detector.resume(3).unwrap();
        detector.add_event(&event(3, 4)).unwrap();
    }

    #[test]
    fn changes_follow_a_snapshot_at_its_position() {
        let mut detector = detector(7);
        detector.add_records(250);
        // The snapshot is resumed.
        detector.resume(7).unwrap();
        detector.add_records(50);
        let error = GapError::RecordCount { expected: 51, received: 50 };
        assert_eq!(detector.end_snapshot(7, 51), Err(error));
        detector.end_snapshot(7, 50).unwrap();
        detector.add_event(&event(7, 8)).unwrap();
    }

    #[test]
    fn repeated_events_are_delivered_once() {
        let mut detector = detector(2);
        assert_eq!(detector.add_events(vec![event(2, 3), event(3, 6)]).unwrap().len(), 2);
        detector.start(2, 100).unwrap();
        let new = detector.add_events(vec![event(2, 3), event(3, 6), event(6, 7)]).unwrap();
        assert_eq!(new, [event(6, 7)]);
        // Another subscriber acknowledged them meanwhile.
        detector.start(7, 100).unwrap();
        assert_eq!(detector.add_events(vec![event(7, 8)]).unwrap().len(), 1);
    }

    #[test]
    fn repetition_that_skips_a_delivered_event_is_detected() {
        let mut detector = detector(2);
        detector.add_events(vec![event(2, 3), event(3, 6)]).unwrap();
        detector.start(2, 100).unwrap();
        let error = detector.add_events(vec![event(2, 3), event(3, 7)]).unwrap_err();
        assert_eq!(error, GapError::Gap { last: 6, previous: 3, position: 7 });
    }

    #[test]
    fn truncated_feed_is_detected() {
        let mut detector = detector(2);
        detector.add_events(vec![event(2, 3)]).unwrap();
        assert_eq!(detector.start(2, 2), Err(GapError::Truncated { last: 3, head: 2 }));
    }

    /// A model of the server: the events of a stream after a position, of a feed with events
    /// at these positions.
    fn stream(positions: &[i64], after: i64) -> Vec<Event> {
        let mut previous = after;
        let later = positions.iter().filter(|position| **position > after);
        later.map(|at| event(std::mem::replace(&mut previous, *at), *at)).collect()
    }

    proptest! {
        /// Streams break at any event, and resume from a cursor or from the acknowledged
        /// position. Each event is delivered once, and a lost event is detected.
        #[test]
        fn each_event_is_delivered_once(
            steps in proptest::collection::vec(1_i64..4, 1..30),
            by_cursor: bool,
            breaks in proptest::collection::vec((0_usize..8, 0_usize..8), 0..10),
            lost in 0_usize..30,
        ) {
            let mut head = 0;
            let positions: Vec<i64> = steps.iter().map(|step| { head += step; head }).collect();
            let mut detector = GapDetector::default();
            let (mut delivered, mut at) = (Vec::new(), 0);
            detector.start(at, head).unwrap();
            for (take, unacknowledged) in breaks {
                let received: Vec<_> = stream(&positions, at).into_iter().take(take).collect();
                let new = detector.add_events(received).unwrap();
                delivered.extend(new.iter().map(|event| event.position));
                if by_cursor {
                    at = delivered.last().copied().unwrap_or_default();
                    detector.resume(at).unwrap();
                } else {
                    let acknowledged = delivered.len().checked_sub(unacknowledged + 1);
                    at = acknowledged.map_or(at, |last| at.max(delivered[last]));
                    detector.start(at, head).unwrap();
                }
            }
            let mut rest = stream(&positions, at);
            let new = detector.clone().add_events(rest.clone()).unwrap();
            delivered.extend(new.iter().map(|event| event.position));
            prop_assert_eq!(&delivered, &positions);
            if lost + 1 < rest.len() {
                rest.remove(lost);
                prop_assert!(detector.add_events(rest).is_err());
            }
        }
    }
}
