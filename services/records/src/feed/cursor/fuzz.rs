//! Cursors that no stream has sent.

use shared::testing::fuzz::Fuzz;

use super::{tests::*, *};
use crate::domain::place::{Place, Stage, Walk};

#[test]
fn no_cursor_is_taken_for_one_that_was_sent() {
    let walk = Walk { practice: "p1".into(), stage: Stage::ALL[0], id: Uuid::from_u128(9) };
    let places = [Place::after(5), Place { walk: Some(walk), ..Place::after(5) }];
    let sent = places.map(|place| seal().cursor(place, Uuid::from_u128(1), None).encode());
    let fuzz = sent.iter().fold(Fuzz::of("cursor"), |fuzz, own| fuzz.and(own.clone()));
    fuzz.cases(2_000).hold_text(|text| {
        let Some(cursor) = Cursor::decode(text) else { return };
        assert_eq!(cursor.encode(), text, "a cursor has one form");
        if seal().check(&cursor, &ends(i64::MAX, 1), None).is_ok() {
            assert!(sent.iter().any(|own| own == text), "{cursor:?}");
        }
    });
}
