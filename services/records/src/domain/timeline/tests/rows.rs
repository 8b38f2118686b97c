//! Tests of the table in `docs/history.md`: one test for each row, on every kind of
//! timeline to which the row applies.

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
