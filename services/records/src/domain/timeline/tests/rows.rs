//! The normative table, one test for each of its rows, on every kind of timeline
//! that the row is about.

mod add;
mod correct;
mod past;
mod removal;

use super::{super::*, support::*};

fn on(
    keys: impl IntoIterator<Item = TimelineKey>,
    rows: &[&str],
    test: impl Fn(TimelineKey, Timeline),
) {
    for key in keys {
        test(key, given(key, rows));
    }
}
