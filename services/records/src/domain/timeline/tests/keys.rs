use concord_proto::pb::records::AddressType;

use super::{super::*, support::*};

#[test]
fn timeline_key_round_trips() {
    let keys = [TimelineKey::PersonName, TimelineKey::Address(AddressType::RegisteredOffice)];
    for key in keys {
        assert_eq!(key.to_string().parse::<TimelineKey>().unwrap(), key);
    }
    assert!("ADDRESS/".parse::<TimelineKey>().is_err());
}

#[test]
fn timeline_ignores_entries_of_other_owners_and_keys() {
    let rows = ["1 A 2010-01-01..", "2 B 2011-01-01.."];
    let mut entries = entries(TODAY, ADDRESS, &rows);
    entries[1].owner = id(7);
    let (timeline, _) = Timeline::on(day(TODAY), id(0), ADDRESS, entries.clone());
    assert_eq!(shown(&timeline), ["1 A 2010-01-01.."]);
    let (timeline, _) = Timeline::on(day(TODAY), id(0), TimelineKey::TradingName, entries);
    assert!(timeline.entries().is_empty());
}

#[test]
fn timeline_rejects_value_of_other_kind() {
    for key in every_kind() {
        for other in every_kind() {
            let same = std::mem::discriminant(&value(key, "A"))
                == std::mem::discriminant(&value(other, "A"));
            let timeline = given(key, &["1 A 2010-01-01.."]);
            let command = AddEntry { value: value(other, "B"), ..add(2, key, "B", "") };
            assert_eq!(timeline.add(command.clone()).is_ok(), same);
            if !same {
                let field = ErrorReason::FieldNotApplicable;
                rejected(timeline.add(command), field, &[]);
                rejected(timeline.correct(correct_value(1, other, "B")), field, &[]);
                let past = past(2, other, "B", "2000-01-01..2010-01-01");
                rejected(timeline.add_past(past), field, &[]);
            }
        }
    }
}
