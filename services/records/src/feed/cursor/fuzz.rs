//! Fuzzing: mutated cursors are rejected.

use concord_testing::fuzz::Fuzz;

use super::{tests::*, *};
use crate::domain::resume_point::{ResumePoint, SnapshotPosition, SnapshotStage};

#[test]
fn mutated_cursor_is_rejected() {
    let snapshot = SnapshotPosition {
        practice: "p1".into(),
        stage: SnapshotStage::ALL[0],
        id: Uuid::from_u128(9),
    };
    let places =
        [ResumePoint::after(5), ResumePoint { snapshot: Some(snapshot), ..ResumePoint::after(5) }];
    let sent =
        places.map(|resume_point| signer().cursor(resume_point, Uuid::from_u128(1), None).encode());
    let fuzz = sent.iter().fold(Fuzz::corpus("cursor"), |fuzz, own| fuzz.seed(own.clone()));
    fuzz.cases(2_000).check_text(|text| {
        let Some(cursor) = Cursor::decode(text) else { return };
        assert_eq!(cursor.encode(), text, "a cursor has one encoding");
        if signer().check(&cursor, &ends(i64::MAX, 1), None).is_ok() {
            assert!(sent.iter().any(|own| own == text), "{cursor:?}");
        }
    });
}
