//! The batch loads of single records, of one kind and any practices and products.

use bytes::Bytes;
use concord_core::caller::{PracticeId, Product};
use concord_db::{Binds, Column, pad_to_power_of_two};
use concord_proto::pb::records::RecordKind;
use sea_orm::{ConnectionTrait, DbBackend};

use crate::{domain::record::RecordRef, error::RecordError};

/// The key of a batch load: a record, and the product that reads it.
#[derive(Clone, Debug)]
pub(crate) struct LoadKey {
    pub(crate) practice: PracticeId,
    pub(crate) product: Product,
    pub(crate) record: RecordRef,
}

/// The images of one record.
#[derive(Clone, Debug)]
pub(crate) struct LoadedRecord {
    pub(crate) image: Bytes,
    /// The image of the person of an individual client or of a contact.
    pub(crate) person: Option<Bytes>,
}

/// The outcome of a load.
#[derive(Clone, Debug)]
pub(crate) enum LoadOutcome {
    Found(LoadedRecord),
    Missing,
    /// The product is not connected. Does not disclose whether the record exists.
    NotConnected,
}

/// Loads the images of records of one kind, and those of their persons, for connected
/// products. One statement; the outcomes are in the order of the keys.
pub(crate) async fn read(
    db: &impl ConnectionTrait,
    kind: RecordKind,
    keys: &[&LoadKey],
) -> Result<Vec<LoadOutcome>, RecordError> {
    let mut outcomes = vec![LoadOutcome::NotConnected; keys.len()];
    for row in concord_db::query(db, |sql| read_sql(sql, kind, keys)).await? {
        let n = row.try_get::<i64>("", "n")?;
        let slot = usize::try_from(n).ok().and_then(|n| outcomes.get_mut(n));
        let (image, person): (Option<Vec<u8>>, Option<Vec<u8>>) =
            (row.try_get("", "image")?, row.try_get("", "person")?);
        if let Some(slot) = slot {
            let loaded = |image: Vec<u8>| LoadedRecord {
                image: image.into(),
                person: person.map(Bytes::from),
            };
            *slot = image.map_or(LoadOutcome::Missing, |image| LoadOutcome::Found(loaded(image)));
        }
    }
    Ok(outcomes)
}

fn read_sql(sql: &mut Binds, kind: RecordKind, keys: &[&LoadKey]) -> String {
    const OF_PERSON: &str =
        "LEFT JOIN person p ON p.practice_id = r.practice_id AND p.id = r.person_id";
    let (table, person, join) = match kind {
        RecordKind::Person if sql.engine() == DbBackend::Postgres => ("person", "NULL::bytea", ""),
        RecordKind::Person => ("person", "NULL", ""),
        RecordKind::Contact => ("contact", "p.image", OF_PERSON),
        RecordKind::Client | RecordKind::Unspecified => ("client", "p.image", OF_PERSON),
    };
    let row = |(n, key): (i64, &&LoadKey)| {
        let (practice, product) = (key.practice.as_str(), key.product.as_str());
        vec![n.into(), practice.into(), product.into(), key.record.id.into()]
    };
    let mut rows: Vec<_> = (0..).zip(keys).map(row).collect();
    if sql.engine() == DbBackend::Sqlite {
        pad_to_power_of_two(&mut rows);
    }
    let columns = ["n", "practice", "product", "id"].map(Column::of);
    let list = sql.list(&columns, rows);
    format!(
        "WITH v(n, practice, product, id) AS ({list}) \
         SELECT v.n, r.image, {person} AS person FROM v \
         JOIN connection k ON k.practice_id = v.practice AND k.product = v.product \
         LEFT JOIN {table} r ON r.practice_id = k.practice_id AND r.id = v.id {join}"
    )
}
