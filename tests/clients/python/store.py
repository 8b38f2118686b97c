"""The product's own store: a copy of Concord's records in one SQLite file.

The resume point in the feed is stored with the records and is written in the same
transaction. So after a crash the resume point matches the records exactly, and no
change is applied twice or missed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from google.protobuf import json_format

from concord.records.v1 import changes_pb2, clients_pb2, contacts_pb2, people_pb2

Image = clients_pb2.Client | people_pb2.Person | contacts_pb2.Contact

TABLES = """
CREATE TABLE IF NOT EXISTS records(
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  practice TEXT NOT NULL,
  version INTEGER NOT NULL,
  image TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS resume_point(
  only INTEGER PRIMARY KEY CHECK (only = 1),
  cursor TEXT NOT NULL,
  position INTEGER NOT NULL,
  in_snapshot INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS seen(id TEXT PRIMARY KEY) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class ResumePoint:
    """The point in the feed up to which the store has applied changes."""

    cursor: str
    """The cursor to resume after; empty before the first record of a snapshot."""
    position: int
    """Everything up to this position is applied. The cursor may be after it, behind
    changes that the filters excluded."""
    in_snapshot: bool


@dataclass(frozen=True)
class Applied:
    """The result of applying a batch of events."""

    events: int
    """Number of new events."""
    duplicates: int
    """Number of events that had already been applied."""


class Store:
    """Applies messages of the feed. Not thread-safe."""

    def __init__(self, path: str) -> None:
        # Transactions are explicit, so that each one is visible in the code.
        self._db = sqlite3.connect(path, isolation_level=None, timeout=30)
        self._db.execute("PRAGMA journal_mode = WAL")
        # The cursor is acknowledged after the commit, so the commit must be durable.
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(TABLES)

    def close(self) -> None:
        self._db.close()

    def resume_point(self) -> ResumePoint | None:
        """The point to resume from; None when nothing was received yet."""
        row = self._db.execute("SELECT cursor, position, in_snapshot FROM resume_point").fetchone()
        return None if row is None else ResumePoint(row[0], row[1], bool(row[2]))

    def clear_resume_point(self) -> None:
        """Deletes the resume point, so that the next stream takes a snapshot. The
        records stay until the new snapshot has replaced them."""
        with self._transaction():
            self._db.execute("DELETE FROM resume_point")

    def begin_snapshot(self) -> None:
        """Starts a new snapshot. There is no cursor to resume after until its first
        records are stored."""
        with self._transaction():
            self._db.execute("DELETE FROM seen")
            self._set_resume_point(ResumePoint(cursor="", position=0, in_snapshot=True))

    def apply_snapshot(
        self, records: Sequence[changes_pb2.SnapshotRecord], cursor: str
    ) -> None:
        """Stores records of a snapshot, regardless of their version: after a restore of
        Concord from a backup its versions may be lower than the stored ones."""
        with self._transaction():
            point = self.resume_point()
            replacing = point is not None and point.in_snapshot
            for record in records:
                for image in _images_of_record(record):
                    if not replacing:
                        # The end of this snapshot is already stored, and only its
                        # acknowledgement was lost: the stored record may be newer.
                        self._upsert_if_newer(record.practice_id, image)
                        continue
                    self._upsert(record.practice_id, image)
                    self._db.execute("INSERT OR IGNORE INTO seen VALUES (?)", (image.id,))
            if point is not None and replacing:
                self._set_resume_point(ResumePoint(cursor, point.position, in_snapshot=True))

    def end_snapshot(self, end: changes_pb2.SnapshotEnd) -> int:
        """Deletes the records that were not in the snapshot, and returns their number."""
        with self._transaction():
            point = self.resume_point()
            if point is None or not point.in_snapshot:
                return 0
            deleted = self._db.execute(
                "DELETE FROM records WHERE id NOT IN (SELECT id FROM seen)"
            ).rowcount
            self._db.execute("DELETE FROM seen")
            self._set_resume_point(ResumePoint(end.cursor, end.position, in_snapshot=False))
            return deleted

    def apply_events(self, events: Sequence[changes_pb2.Event], cursor: str) -> Applied:
        """Applies new events, and advances the resume point in the same transaction."""
        with self._transaction():
            point = self.resume_point()
            known = 0 if point is None else point.position
            fresh = [event for event in events if event.position > known]
            for event in fresh:
                self._apply(event)
            if fresh:
                self._set_resume_point(ResumePoint(cursor, fresh[-1].position, in_snapshot=False))
        return Applied(len(fresh), len(events) - len(fresh))

    def advance(self, cursor: str, position: int) -> None:
        """Advances the resume point past changes that the filters excluded. Otherwise
        the cursor of a subscriber that receives few events becomes too old."""
        with self._transaction():
            point = self.resume_point()
            if point is not None and not point.in_snapshot and position > point.position:
                self._set_resume_point(ResumePoint(cursor, position, in_snapshot=False))

    def _apply(self, event: changes_pb2.Event) -> None:
        for image in _images_of_event(event):
            self._upsert_if_newer(event.practice_id, image)
        if event.kind == changes_pb2.CHANGE_KIND_PURGED:
            self._db.execute("DELETE FROM records WHERE id = ?", (event.record_id,))

    def _upsert_if_newer(self, practice: str, image: Image) -> None:
        # An image is the record at the time when the event was sent, which may be
        # newer than the change. So compare the version of the image.
        row = self._db.execute("SELECT version FROM records WHERE id = ?", (image.id,)).fetchone()
        if row is None or row[0] < image.version:
            self._upsert(practice, image)

    def _upsert(self, practice: str, image: Image) -> None:
        kind = image.DESCRIPTOR.name.lower()
        values = (image.id, kind, practice, image.version, as_json(image))
        self._db.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?)", values)

    def _set_resume_point(self, point: ResumePoint) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO resume_point VALUES (1, ?, ?, ?)",
            (point.cursor, point.position, point.in_snapshot),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def as_json(image: Image) -> str:
    """A record as JSON, with the names of the contract."""
    return json_format.MessageToJson(image, preserving_proto_field_name=True, indent=None)


def _images_of_record(record: changes_pb2.SnapshotRecord) -> list[Image]:
    names = ("client", "person", "contact")
    return [getattr(record, name) for name in names if record.HasField(name)]


def _images_of_event(event: changes_pb2.Event) -> list[Image]:
    names = ("client", "person")
    images: list[Image] = [getattr(event, name) for name in names if event.HasField(name)]
    return images + list(event.contacts)
