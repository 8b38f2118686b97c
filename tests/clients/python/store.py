"""The product's own store: what it holds of Concord, in one SQLite file.

The place in the feed lies beside the records and is written in the same
transaction. So whatever happens to the process, the place says exactly what the
records hold, and nothing is applied twice or left out.
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
CREATE TABLE IF NOT EXISTS place(
  only INTEGER PRIMARY KEY CHECK (only = 1),
  cursor TEXT NOT NULL,
  position INTEGER NOT NULL,
  in_snapshot INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS seen(id TEXT PRIMARY KEY) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Place:
    """How far the store has come."""

    cursor: str
    """What to go on after; empty before the first record of a snapshot."""
    position: int
    """Everything up to here is applied. The cursor may stand further on, after what
    the filters left out."""
    in_snapshot: bool


@dataclass(frozen=True)
class Applied:
    """What a batch of events did to the store."""

    events: int
    """Those that were new."""
    duplicates: int
    """Those that had been applied before."""


class Store:
    """Applies what the feed says. One thread uses it at a time."""

    def __init__(self, path: str) -> None:
        # Transactions are begun by hand, so that each one is there to be seen.
        self._db = sqlite3.connect(path, isolation_level=None, timeout=30)
        self._db.execute("PRAGMA journal_mode = WAL")
        # The place is acknowledged after the commit, so the commit must last.
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(TABLES)

    def close(self) -> None:
        self._db.close()

    def place(self) -> Place | None:
        """Where the feed goes on; none when nothing was heard yet."""
        row = self._db.execute("SELECT cursor, position, in_snapshot FROM place").fetchone()
        return None if row is None else Place(row[0], row[1], bool(row[2]))

    def forget_place(self) -> None:
        """The place is of no use any longer: everything is to be read anew. The
        records stay until the new snapshot has replaced them."""
        with self._transaction():
            self._db.execute("DELETE FROM place")

    def begin_snapshot(self) -> None:
        """A fresh snapshot comes. There is nothing to go on after before its first
        records are here."""
        with self._transaction():
            self._db.execute("DELETE FROM seen")
            self._set_place(Place(cursor="", position=0, in_snapshot=True))

    def apply_snapshot(
        self, records: Sequence[changes_pb2.SnapshotRecord], cursor: str
    ) -> None:
        """A snapshot replaces what is held, whatever its version: after Concord was
        restored from a backup its versions may be lower than those held."""
        with self._transaction():
            place = self.place()
            replacing = place is not None and place.in_snapshot
            for record in records:
                for image in _images_of_record(record):
                    if not replacing:
                        # The end of this snapshot is here already, and only its
                        # acknowledgement was lost: what is held may be newer.
                        self._keep_if_newer(record.practice_id, image)
                        continue
                    self._keep(record.practice_id, image)
                    self._db.execute("INSERT OR IGNORE INTO seen VALUES (?)", (image.id,))
            if place is not None and replacing:
                self._set_place(Place(cursor, place.position, in_snapshot=True))

    def end_snapshot(self, end: changes_pb2.SnapshotEnd) -> int:
        """What was not in the snapshot is gone. Says how many records that were."""
        with self._transaction():
            place = self.place()
            if place is None or not place.in_snapshot:
                return 0
            gone = self._db.execute(
                "DELETE FROM records WHERE id NOT IN (SELECT id FROM seen)"
            ).rowcount
            self._db.execute("DELETE FROM seen")
            self._set_place(Place(end.cursor, end.position, in_snapshot=False))
            return gone

    def apply_events(self, events: Sequence[changes_pb2.Event], cursor: str) -> Applied:
        """Applies the events that are new, and moves the place with them."""
        with self._transaction():
            place = self.place()
            known = 0 if place is None else place.position
            fresh = [event for event in events if event.position > known]
            for event in fresh:
                self._apply(event)
            if fresh:
                self._set_place(Place(cursor, fresh[-1].position, in_snapshot=False))
        return Applied(len(fresh), len(events) - len(fresh))

    def move_on(self, cursor: str, position: int) -> None:
        """Everything up to the cursor was left out by the filters. A reader that
        hears little must move on all the same, or its cursor grows too old."""
        with self._transaction():
            place = self.place()
            if place is not None and not place.in_snapshot and position > place.position:
                self._set_place(Place(cursor, position, in_snapshot=False))

    def _apply(self, event: changes_pb2.Event) -> None:
        for image in _images_of_event(event):
            self._keep_if_newer(event.practice_id, image)
        if event.kind == changes_pb2.CHANGE_KIND_PURGED:
            self._db.execute("DELETE FROM records WHERE id = ?", (event.record_id,))

    def _keep_if_newer(self, practice: str, image: Image) -> None:
        # An image is the record as it was when the event was sent, which may be
        # newer than the change. Its own version says what it is.
        row = self._db.execute("SELECT version FROM records WHERE id = ?", (image.id,)).fetchone()
        if row is None or row[0] < image.version:
            self._keep(practice, image)

    def _keep(self, practice: str, image: Image) -> None:
        kind = image.DESCRIPTOR.name.lower()
        values = (image.id, kind, practice, image.version, as_json(image))
        self._db.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?)", values)

    def _set_place(self, place: Place) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO place VALUES (1, ?, ?, ?)",
            (place.cursor, place.position, place.in_snapshot),
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
