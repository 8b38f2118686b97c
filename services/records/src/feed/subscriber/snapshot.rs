//! Sending every record as it is now.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use shared::{
    pb::records::{SnapshotEnd, SnapshotRecords, subscribe_response::Message},
    wire::SnapshotRecord,
};
use uuid::Uuid;

use super::{End, Stream};
use crate::{
    domain::{
        place::{Place, Stage, Walk},
        record::RecordRef,
    },
    error::RecordError,
    feed::tail::BATCH_BYTES,
    store::{
        feed::snapshot::{self, SnapshotRow},
        images,
    },
};

/// Records that are read, and sent, at once at most.
const PAGE: i64 = 250;

impl Stream {
    /// Sends the records after the place where the snapshot is, and its end.
    /// Nothing when the stream is in no snapshot.
    ///
    /// Changes up to the position of the snapshot were committed before it began,
    /// so that what is read now holds them. What changes while it is read comes
    /// with the changes that follow.
    pub(super) async fn send_snapshot(&mut self) -> Result<(), End> {
        let mut sent = 0;
        while let Some(walk) = self.place.walk.clone() {
            let Some(practice) = self.practice_from(&walk.practice).await? else { break };
            let walk = if walk.practice == practice {
                walk
            } else {
                Walk { practice: practice.clone(), ..Walk::beginning() }
            };
            sent += self.send_practice(walk).await?;
            // No name of a practice lies between this and the next.
            let next = Walk { practice: format!("{practice}\u{1}"), ..Walk::beginning() };
            self.place.walk = Some(next);
        }
        if self.place.walk.is_some() {
            self.end_snapshot(sent).await?;
        }
        Ok(())
    }

    async fn end_snapshot(&mut self, sent: i64) -> Result<(), End> {
        self.check_past().await?;
        let place = Place::after(self.place.position);
        let end = SnapshotEnd {
            cursor: self.cursor_at(place.clone(), self.change).encode(),
            position: place.position,
            record_count: sent,
        };
        self.send(Message::SnapshotEnd(end)).await?;
        self.place = place;
        Ok(())
    }

    /// The first practice from `from` on that this stream tells of.
    async fn practice_from(&self, from: &str) -> Result<Option<String>, RecordError> {
        if let Some(own) = &self.listener.practice {
            return Ok(Some(own.to_string()).filter(|own| own.as_str() >= from));
        }
        let (db, product) = (self.feed.db().reader(), &self.listener.product);
        let mut practice = snapshot::practice_from(db, product, from).await?;
        while let Some(found) = practice {
            if self.filter.wants_practice(&found) {
                return Ok(Some(found));
            }
            practice = snapshot::practice_after(db, product, &found).await?;
        }
        Ok(None)
    }

    /// Reads a page of the records of one kind after `walk`, and checks that they are
    /// of the feed whose changes follow them.
    async fn read_page(&mut self, walk: &Walk) -> Result<Vec<SnapshotRow>, End> {
        let (db, listener) = (self.feed.db().clone(), Arc::clone(&self.listener));
        let Walk { practice, stage, id } = walk.clone();
        let page = async move {
            let kind = stage.record_kind();
            snapshot::page(db.reader(), &listener.product, &practice, kind, id, PAGE).await
        };
        let rows = self.meanwhile(page).await??;
        self.check_past().await?;
        Ok(rows)
    }

    /// Sends the records of one practice after `walk`; how many.
    async fn send_practice(&mut self, mut walk: Walk) -> Result<i64, End> {
        let mut sent = 0;
        let from = walk.stage;
        for stage in Stage::ALL.into_iter().filter(|stage| *stage >= from) {
            if stage > walk.stage {
                walk = Walk { stage, id: Uuid::nil(), ..walk };
            }
            if !self.filter.wants_kind(stage.record_kind()) {
                continue;
            }
            loop {
                self.until_wanted().await?;
                let rows = self.read_page(&walk).await?;
                let Some(last) = rows.last() else { break };
                let next = Walk { id: last.id, ..walk.clone() };
                let (records, upto) = self.send_page(&walk, rows).await?;
                sent += records;
                let next = upto.map_or(next, |id| Walk { id, ..walk.clone() });
                self.place.walk = Some(next.clone());
                walk = next;
            }
        }
        Ok(sent)
    }

    /// Sends the records of a page in messages of bounded size; how many, and the last
    /// of them when the rest was given up because the reader is slow.
    async fn send_page(
        &mut self,
        walk: &Walk,
        mut rows: Vec<SnapshotRow>,
    ) -> Result<(i64, Option<Uuid>), End> {
        if self.filter.linked_only {
            rows.retain(|row| row.linked);
        }
        let persons = self.persons_beside(walk, &rows).await?;
        let (mut sent, mut rows) = (0, rows.into_iter().peekable());
        let mut upto = None;
        while rows.peek().is_some() {
            if let Some(last) = upto
                && !self.is_wanted_soon().await?
            {
                return Ok((sent, Some(last)));
            }
            let (mut records, mut bytes, mut last) = (Vec::new(), 0, walk.clone());
            while let Some(row) = rows.next_if(|row| fits(bytes, row.image.len())) {
                bytes += row.image.len();
                last.id = row.id;
                records.push(record(walk, row, &persons));
            }
            sent += i64::try_from(records.len()).unwrap_or(i64::MAX);
            upto = Some(last.id);
            let place = Place { walk: Some(last), ..self.place.clone() };
            let cursor = self.cursor_at(place.clone(), self.change).encode();
            self.send(Message::SnapshotRecords(SnapshotRecords { records, cursor })).await?;
            self.place = place;
        }
        Ok((sent, None))
    }

    /// The persons of contacts and individual clients, when persons themselves are
    /// not asked for.
    async fn persons_beside(
        &self,
        walk: &Walk,
        rows: &[SnapshotRow],
    ) -> Result<HashMap<Uuid, Bytes>, RecordError> {
        if self.filter.wants_kind(Stage::Persons.record_kind()) {
            return Ok(HashMap::new());
        }
        let persons = rows.iter().filter_map(|row| row.person_id).map(RecordRef::person);
        let persons: Vec<RecordRef> = persons.collect();
        images::get_all(self.feed.db().reader(), &walk.practice, &persons).await
    }
}

/// Whether one more record fits a message: the first one always does.
fn fits(bytes: usize, more: usize) -> bool {
    bytes == 0 || bytes + more <= BATCH_BYTES
}

fn record(walk: &Walk, row: SnapshotRow, persons: &HashMap<Uuid, Bytes>) -> SnapshotRecord {
    let SnapshotRow { id, version, image, linked, person_id } = row;
    let kind = walk.stage.record_kind();
    let mut record = SnapshotRecord {
        practice_id: walk.practice.clone(),
        record_kind: kind.into(),
        record_id: RecordRef { kind, id }.text(),
        record_version: version,
        linked,
        ..SnapshotRecord::default()
    };
    match walk.stage {
        Stage::Persons => record.person = Some(image),
        Stage::Clients => record.client = Some(image),
        Stage::Contacts => record.contact = Some(image),
    }
    if let Some(person) = person_id.and_then(|id| persons.get(&id)) {
        record.person = Some(person.clone());
    }
    record
}
