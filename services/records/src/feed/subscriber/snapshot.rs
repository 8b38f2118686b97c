//! The snapshot of a stream: sends every record in its current state.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use concord_core::caller::PracticeId;
use concord_proto::{
    pb::records::{SnapshotEnd, SnapshotRecords, subscribe_response::Message},
    wire::SnapshotRecord,
};
use uuid::Uuid;

use super::{End, Stream};
use crate::{
    domain::{
        record::RecordRef,
        resume_point::{ResumePoint, SnapshotPosition, SnapshotStage},
    },
    error::RecordError,
    feed::tail::BATCH_BYTES,
    store::{
        feed::snapshot::{self, SnapshotRow},
        images,
    },
};

/// Maximum number of records in one read.
const PAGE: i64 = 250;

impl Stream {
    /// Sends the records after the snapshot position, then the end of the snapshot. Does
    /// nothing if the stream has no snapshot position.
    ///
    /// Changes up to the feed position of the snapshot were committed before it started,
    /// so the records contain them. Changes made during the snapshot follow it in the
    /// feed.
    pub(super) async fn send_snapshot(&mut self) -> Result<(), End> {
        let mut sent = 0;
        while let Some(position) = self.resume_point.snapshot.clone() {
            let Some(practice) = self.practice_from(&position.practice).await? else { break };
            let position = if position.practice == practice {
                position
            } else {
                SnapshotPosition { practice: practice.clone(), ..SnapshotPosition::start() }
            };
            sent += self.send_practice(position).await?;
            // No practice sorts between this text and the practice: continues with the next one.
            let next = SnapshotPosition {
                practice: format!("{practice}\u{1}"),
                ..SnapshotPosition::start()
            };
            self.resume_point.snapshot = Some(next);
        }
        if self.resume_point.snapshot.is_some() {
            self.end_snapshot(sent).await?;
        }
        Ok(())
    }

    async fn end_snapshot(&mut self, sent: i64) -> Result<(), End> {
        self.check_history().await?;
        let resume_point = ResumePoint::after(self.resume_point.position);
        let end = SnapshotEnd {
            cursor: self.cursor_at(resume_point.clone(), self.change).encode(),
            position: resume_point.position,
            record_count: sent,
        };
        self.send(Message::SnapshotEnd(end)).await?;
        self.resume_point = resume_point;
        Ok(())
    }

    /// The first practice of this stream, in the order of names, from `from` on.
    async fn practice_from(&self, from: &str) -> Result<Option<String>, RecordError> {
        if let Some(own) = &self.subscriber.practice {
            return Ok(Some(own.to_string()).filter(|own| own.as_str() >= from));
        }
        let (db, product) = (self.feed.db().reader(), &self.subscriber.product);
        let mut practice = snapshot::practice_from(db, product, from).await?;
        while let Some(found) = practice {
            if self.filter.wants_practice(&found) {
                return Ok(Some(found));
            }
            practice = snapshot::practice_after(db, product, &found).await?;
        }
        Ok(None)
    }

    /// Reads a page of the records of one kind after `position` (keyset pagination), and
    /// checks that the feed still has the history that follows the snapshot.
    async fn read_page(&mut self, position: &SnapshotPosition) -> Result<Vec<SnapshotRow>, End> {
        let (db, subscriber) = (self.feed.db().clone(), Arc::clone(&self.subscriber));
        let SnapshotPosition { practice, stage, id } = position.clone();
        let page = async move {
            let kind = stage.record_kind();
            snapshot::page(db.reader(), &subscriber.product, &practice, kind, id, PAGE).await
        };
        let rows = self.with_periodic_tasks(page).await??;
        self.check_history().await?;
        Ok(rows)
    }

    /// Sends the records of one practice after `position`. Returns their number.
    async fn send_practice(&mut self, mut position: SnapshotPosition) -> Result<i64, End> {
        let mut sent = 0;
        let from = position.stage;
        for stage in SnapshotStage::ALL.into_iter().filter(|stage| *stage >= from) {
            if stage > position.stage {
                position = SnapshotPosition { stage, id: Uuid::nil(), ..position };
            }
            if !self.filter.wants_kind(stage.record_kind()) {
                continue;
            }
            loop {
                self.wait_for_demand().await?;
                let rows = self.read_page(&position).await?;
                let Some(last) = rows.last() else { break };
                let next = SnapshotPosition { id: last.id, ..position.clone() };
                let (records, upto) = self.send_page(&position, rows).await?;
                sent += records;
                let next = upto.map_or(next, |id| SnapshotPosition { id, ..position.clone() });
                self.resume_point.snapshot = Some(next.clone());
                position = next;
            }
        }
        Ok(sent)
    }

    /// Sends the records of a page in messages of bounded size. Returns their number, and
    /// the last id if the rest was dropped because the client reads slowly.
    async fn send_page(
        &mut self,
        position: &SnapshotPosition,
        mut rows: Vec<SnapshotRow>,
    ) -> Result<(i64, Option<Uuid>), End> {
        if self.filter.linked_only {
            rows.retain(|row| row.linked);
        }
        let persons = self.embedded_persons(position, &rows).await?;
        let (mut sent, mut rows) = (0, rows.into_iter().peekable());
        let mut upto = None;
        while rows.peek().is_some() {
            if let Some(last) = upto
                && !self.has_demand_soon().await?
            {
                return Ok((sent, Some(last)));
            }
            let (mut records, mut bytes, mut last) = (Vec::new(), 0, position.clone());
            while let Some(row) = rows.next_if(|row| fits(bytes, row.image.len())) {
                bytes += row.image.len();
                last.id = row.id;
                records.push(record(position, row, &persons));
            }
            sent += i64::try_from(records.len()).unwrap_or(i64::MAX);
            upto = Some(last.id);
            let resume_point = ResumePoint { snapshot: Some(last), ..self.resume_point.clone() };
            let cursor = self.cursor_at(resume_point.clone(), self.change).encode();
            self.send(Message::SnapshotRecords(SnapshotRecords { records, cursor })).await?;
            self.resume_point = resume_point;
        }
        Ok((sent, None))
    }

    /// Loads the persons of contacts and of individual clients, if the filter excludes
    /// the person records themselves.
    async fn embedded_persons(
        &self,
        position: &SnapshotPosition,
        rows: &[SnapshotRow],
    ) -> Result<HashMap<Uuid, Bytes>, RecordError> {
        if self.filter.wants_kind(SnapshotStage::Persons.record_kind()) {
            return Ok(HashMap::new());
        }
        let persons = rows.iter().filter_map(|row| row.person_id).map(RecordRef::person);
        let persons: Vec<RecordRef> = persons.collect();
        let practice: PracticeId =
            position.practice.parse().map_err(|_| RecordError::Corrupt("a practice"))?;
        images::get_all(self.feed.db().reader_of(&practice), &persons).await
    }
}

/// True if another record fits into the message. The first record always fits.
fn fits(bytes: usize, more: usize) -> bool {
    bytes == 0 || bytes + more <= BATCH_BYTES
}

fn record(
    position: &SnapshotPosition,
    row: SnapshotRow,
    persons: &HashMap<Uuid, Bytes>,
) -> SnapshotRecord {
    let SnapshotRow { id, version, image, linked, person_id } = row;
    let kind = position.stage.record_kind();
    let mut record = SnapshotRecord {
        practice_id: position.practice.clone(),
        record_kind: kind.into(),
        record_id: RecordRef { kind, id }.text(),
        record_version: version,
        linked,
        ..SnapshotRecord::default()
    };
    match position.stage {
        SnapshotStage::Persons => record.person = Some(image),
        SnapshotStage::Clients => record.client = Some(image),
        SnapshotStage::Contacts => record.contact = Some(image),
    }
    if let Some(person) = person_id.and_then(|id| persons.get(&id)) {
        record.person = Some(person.clone());
    }
    record
}
