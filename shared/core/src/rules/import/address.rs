//! Parser of an address record of an import.

use super::{
    digest::Canonical,
    fields::{damaged, given, own_source_id},
    record::{AddressSlot, ImportDraft, OwnerKind, ParsedRecord},
};
use crate::rules::{
    draft::{self, AddressDraft},
    terms::{Term, term_key, unknown_value},
    text::{blank, check_characters},
    value::Address,
    violation::{FieldViolations, ValueError},
    warning,
};
use concord_proto::pb::{
    imports::{ImportAddress, ImportRecordKind},
    records::{self, AddressType},
};

pub(super) fn parse(record: &ImportAddress) -> ParsedRecord {
    let mut violations = FieldViolations::new();
    let source_id = own_source_id(&mut violations, &record.source_id);
    let owner = violations.field("owner_kind", owner_kind(&record.owner_kind));
    let owner_source_id = draft::source_id("Owner source id", &record.owner_source_id);
    let owner_source_id = violations.field("owner_source_id", owner_source_id);
    let address_type = given(AddressType::LABEL, AddressType::parse(&record.r#type));
    let address_type = violations.field("type", address_type);
    let address = violations.part("", Address::parse(&address(record), ""));
    let period = draft::period(&mut violations, &record.active_from, &record.active_to);

    let mut warnings = warning::of_address(&self::address(record));
    damaged(
        &mut warnings,
        [
            ("source_id", "Source id", &record.source_id),
            ("owner_source_id", "Owner source id", &record.owner_source_id),
        ],
    );

    let owner = owner.zip(owner_source_id);
    let parents = owner.iter().map(|(kind, id)| (kind.record_kind(), id.clone())).collect();
    let slot = address_type.zip(period);
    let address = slot.zip(address).map(|((address_type, period), address)| AddressDraft {
        address_type,
        address,
        period,
    });
    let draft = owner.zip(address).map(|((owner, owner_source_id), address)| {
        ImportDraft::Address { owner, owner_source_id, address }
    });
    ParsedRecord {
        kind: ImportRecordKind::Address,
        source_id,
        excluded: false,
        reference_key: None,
        parents,
        address_slot: slot.map(|(address_type, period)| AddressSlot {
            address_type,
            active_from: period.from,
            active_to: period.to,
        }),
        record_name: address_type.map_or("Address", Term::label).to_owned(),
        own_reference: String::new(),
        outcome: violations.finish(draft),
        warnings,
    }
}

fn owner_kind(text: &str) -> Result<OwnerKind, ValueError> {
    const LABEL: &str = "Owner kind";
    check_characters(LABEL, text)?;
    match term_key(text).as_str() {
        "" => Err(blank(LABEL)),
        "CLIENT" => Ok(OwnerKind::Client),
        "CONTACT" => Ok(OwnerKind::Contact),
        _ => Err(unknown_value(LABEL, text, ["client", "contact"])),
    }
}

fn address(record: &ImportAddress) -> records::Address {
    records::Address {
        line_1: record.line_1.clone(),
        line_2: record.line_2.clone(),
        line_3: record.line_3.clone(),
        town: record.town.clone(),
        county: record.county.clone(),
        postcode: record.postcode.clone(),
        country: record.country.clone(),
    }
}

/// The digest of all fields by number. The build fails if a new field is missing here.
pub(super) fn digest(record: &ImportAddress) -> [u8; 32] {
    let ImportAddress {
        source_id,
        owner_kind,
        owner_source_id,
        r#type,
        line_1,
        line_2,
        line_3,
        town,
        county,
        postcode,
        country,
        active_from,
        active_to,
    } = record;
    let mut canonical = Canonical::new(ImportRecordKind::Address);
    canonical.field(1, source_id);
    canonical.field(2, &term_key(owner_kind));
    canonical.field(3, owner_source_id);
    canonical.field(4, &term_key(r#type));
    canonical.field(5, line_1);
    canonical.field(6, line_2);
    canonical.field(7, line_3);
    canonical.field(8, town);
    canonical.field(9, county);
    canonical.field(10, postcode);
    canonical.field(11, country);
    canonical.field(12, active_from);
    canonical.field(13, active_to);
    canonical.finish()
}
