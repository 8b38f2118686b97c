"""A subscriber that keeps a synchronized copy of Concord's records: an example.

It stores the records of a practice, or of all practices of a product, in an SQLite
file (`store.py`). docs/sync.md explains it; in short:

- Each message is applied in one local transaction, together with its cursor.
  After the commit it is acknowledged.
- It starts with a snapshot, and resumes after its own cursor, also in the middle
  of a snapshot. Concord stores the acknowledged position too, which shows the lag.
- Every event has the position of the previous one. When that is not the position
  that was received last, an event is missing: the subscriber stops with an error.
- A stream that is silent for 45 seconds is dead, and is reopened.
- A stream ends with its token. The next one uses the token that is in the file then.

Run it:

    python subscriber.py --records 127.0.0.1:50051 --practice p1 --product books \\
      --name ledger --store books.sqlite

Where Concord checks tokens, add `--token-file FILE`; over a network, use
`grpc.secure_channel` in place of `grpc.insecure_channel` then.
"""

from __future__ import annotations

import argparse
import logging
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Protocol

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from concord.records.v1 import changes_pb2, changes_pb2_grpc
from store import ResumePoint, Store

log = logging.getLogger("subscriber")

# Concord sends a heartbeat every 15 seconds. A stream without three is dead.
SILENCE_SECONDS = 45.0
ACKNOWLEDGE_SECONDS = 10.0
INITIAL_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 30.0

CHANNEL_OPTIONS = [
    # Detects a connection whose peer has gone without closing it.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # By default the channels of a process share their connections.
    ("grpc.use_local_subchannel_pool", 1),
]

# Retryable statuses. With any other status a retry does not help: the request, the
# role or the connection of the product is wrong.
TRANSIENT_CODES = {
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
}


class Stopped(Exception):
    """The subscriber cannot continue without intervention."""


class Gap(Stopped):
    """An event is missing between two messages. It is a defect that needs to be
    investigated."""


class TakenOver(Stopped):
    """Another instance has opened a stream of the same name. Reopening it would end
    the other stream, and the two instances would loop."""


@dataclass(frozen=True)
class Settings:
    """The identity of the subscriber, and its subscription."""

    records: str
    """Host and port of the records service."""
    product: str
    name: str
    """The name of the subscription."""
    practice: str = ""
    """Only this practice; all of the product when it is empty."""
    account: str = "main"
    token_file: str = ""
    """The file with the token of the product. It is read for each stream: replace it
    before the old token expires."""
    max_unacknowledged: int = 0
    resume_with_cursor: bool = True
    """If false, the stream resumes after the position that Concord stores. Then events
    that were applied and not acknowledged are delivered again, and a restored backup
    of Concord is not detected. For the tests."""
    silence_seconds: float = SILENCE_SECONDS


@dataclass
class Stats:
    """Counters of a subscriber since its start."""

    streams: int = 0
    closings: int = 0
    events: int = 0
    duplicates: int = 0
    snapshot_records: int = 0
    snapshots_started: int = 0
    snapshots_resumed: int = 0
    snapshots_ended: int = 0
    records_deleted: int = 0
    heartbeats: int = 0
    waiting: bool = False
    """True if the stream waited for an acknowledgement at the last heartbeat."""
    dead_streams: int = 0
    tokens_expired: int = 0
    """How often the token of a stream expired."""
    cursors_rejected: dict[str, int] = field(default_factory=dict)


class Stream(Protocol):
    """The used part of the interface of a streaming call."""

    def __next__(self) -> changes_pb2.SubscribeResponse: ...

    def cancel(self) -> bool: ...


class Watchdog:
    """Cancels a call that receives no message for too long."""

    def __init__(self, call: Stream, seconds: float) -> None:
        self._call = call
        self._seconds = seconds
        self._waiting_since: float | None = None
        self._done = threading.Event()
        self.has_fired = False

    def __enter__(self) -> Watchdog:
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._call.cancel()

    def messages(self) -> Iterator[changes_pb2.SubscribeResponse]:
        """The messages of the call. The time to apply a message does not count."""
        while True:
            self._waiting_since = time.monotonic()
            try:
                message = next(self._call)
            except StopIteration:
                return
            finally:
                self._waiting_since = None
            yield message

    def _watch(self) -> None:
        while not self._done.wait(0.5):
            since = self._waiting_since
            if since is not None and time.monotonic() - since > self._seconds:
                self.has_fired = True
                self._call.cancel()
                return


class Subscriber:
    """Keeps a store synchronized with Concord until it is stopped."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.stats = Stats()
        self._settings = settings
        self._store = store
        self._changes: changes_pb2_grpc.ChangeServiceStub
        self._metadata: list[tuple[str, str]] = []
        self._stop = threading.Event()
        self._call: Stream | None = None
        self._failures = 0
        # The expected `previous_position` of the next event.
        self._last = 0
        self._acknowledged = ""

    def stop(self) -> None:
        """Stops the subscriber. May be called from any thread or signal handler."""
        self._stop.set()
        if self._call is not None:
            self._call.cancel()

    def run(self) -> None:
        """Runs until `stop`, or until it cannot continue without intervention."""
        while not self._stop.is_set():
            try:
                # A new channel for each stream: on the previous channel a call
                # could use a dead connection.
                target = self._settings.records
                self._metadata = self._identity()
                with grpc.insecure_channel(target, options=CHANNEL_OPTIONS) as channel:
                    self._changes = changes_pb2_grpc.ChangeServiceStub(channel)
                    self._listen()
                # Concord has ended the stream: reconnect.
                self._stop.wait(self._next_backoff())
            except grpc.RpcError as error:
                if not self._stop.is_set():
                    self._recover(error)

    def _identity(self) -> list[tuple[str, str]]:
        """The identity metadata of a stream and of its acknowledgements."""
        settings = self._settings
        metadata = [
            ("x-concord-product", settings.product),
            ("x-concord-account", settings.account),
        ]
        if settings.practice:
            metadata.append(("x-concord-practice", settings.practice))
        if settings.token_file:
            token = Path(settings.token_file).read_text(encoding="ascii").strip()
            metadata.append(("authorization", f"Bearer {token}"))
        return metadata

    def _listen(self) -> None:
        """Reads one stream from its handshake to its end."""
        point = self._store.resume_point()
        self._acknowledged = ""
        self._call = self._changes.Subscribe(self._request(point), metadata=self._metadata)
        self.stats.streams += 1
        with Watchdog(self._call, self._settings.silence_seconds) as watchdog:
            try:
                for message in watchdog.messages():
                    self._handle(message, point)
            finally:
                if watchdog.has_fired:
                    self.stats.dead_streams += 1
                    seconds = self._settings.silence_seconds
                    log.warning("no message for %.0f s: the stream is dead", seconds)

    def _request(self, point: ResumePoint | None) -> changes_pb2.SubscribeRequest:
        request = changes_pb2.SubscribeRequest(
            subscription=self._settings.name,
            max_unacknowledged=self._settings.max_unacknowledged,
            # The copy includes the changes that this product made itself.
            echo_mode=changes_pb2.ECHO_MODE_INCLUDE,
        )
        if point is None or not point.cursor:
            # Concord may store a position for this name although the store was lost.
            # With an empty store that position is useless: restart.
            request.start_from = changes_pb2.START_FROM_SNAPSHOT
            request.restart = True
        elif self._settings.resume_with_cursor:
            request.cursor = point.cursor
        return request

    def _handle(self, message: changes_pb2.SubscribeResponse, point: ResumePoint | None) -> None:
        match message.WhichOneof("message"):
            case "handshake":
                self._on_handshake(message.handshake, point)
            case "snapshot_records":
                self._on_snapshot_records(message.snapshot_records)
            case "snapshot_end":
                self._on_snapshot_end(message.snapshot_end)
            case "events":
                self._on_events(message.events)
            case "heartbeat":
                self._on_heartbeat(message.heartbeat)
            case "closing":
                self.stats.closings += 1
                reason = changes_pb2.ClosingReason.Name(message.closing.reason)
                log.info("the stream ends: %s", reason)
            case _:
                # A newer version of Concord may send unknown messages.
                log.debug("unknown message ignored")

    def _on_handshake(self, handshake: changes_pb2.Handshake, point: ResumePoint | None) -> None:
        log.info(
            "connected at position %d of %d%s",
            handshake.position,
            handshake.head_position,
            ", with a snapshot" if handshake.snapshot else "",
        )
        self._last = handshake.position
        if handshake.snapshot_resumed:
            self.stats.snapshots_resumed += 1
        elif handshake.snapshot:
            self.stats.snapshots_started += 1
            self._store.begin_snapshot()
        elif point is not None and point.in_snapshot:
            raise Gap("the stream starts after a snapshot whose end is not stored")

    def _on_snapshot_records(self, message: changes_pb2.SnapshotRecords) -> None:
        self._store.apply_snapshot(message.records, message.cursor)
        self.stats.snapshot_records += len(message.records)
        self._acknowledge_once(message.cursor)

    def _on_snapshot_end(self, end: changes_pb2.SnapshotEnd) -> None:
        self.stats.records_deleted += self._store.end_snapshot(end)
        self.stats.snapshots_ended += 1
        self._last = end.position
        log.info("the snapshot is complete, at position %d", end.position)
        self._acknowledge_once(end.cursor)

    def _on_events(self, message: changes_pb2.Events) -> None:
        for event in message.events:
            if event.previous_position != self._last:
                raise Gap(
                    f"the event at {event.position} follows {event.previous_position}, "
                    f"but the last received position is {self._last}"
                )
            self._last = event.position
        applied = self._store.apply_events(message.events, message.cursor)
        self.stats.events += applied.events
        self.stats.duplicates += applied.duplicates
        self._acknowledge_once(message.cursor)

    def _on_heartbeat(self, heartbeat: changes_pb2.Heartbeat) -> None:
        self.stats.heartbeats += 1
        self.stats.waiting = heartbeat.waiting_for_acknowledgement
        point = self._store.resume_point()
        if point is None or point.in_snapshot:
            return
        self._store.advance(heartbeat.cursor, heartbeat.position)
        self._acknowledge_once(heartbeat.cursor)

    def _acknowledge_once(self, cursor: str) -> None:
        """Acknowledges a cursor whose changes are committed, unless it was the last."""
        self._failures = 0
        if cursor != self._acknowledged:
            self.acknowledge(cursor)
            self._acknowledged = cursor

    def acknowledge(self, cursor: str) -> None:
        """Acknowledges a cursor. After an error the stream is reopened: the resume point
        is in the store, so nothing is lost."""
        request = changes_pb2.AcknowledgeRequest(
            subscription=self._settings.name, cursor=cursor
        )
        self._changes.Acknowledge(
            request, metadata=self._metadata, timeout=ACKNOWLEDGE_SECONDS
        )

    def _recover(self, error: grpc.RpcError) -> None:
        """Waits before the next attempt, or raises `Stopped` if a retry does not help."""
        code, reason = error.code(), reason_of(error)
        if code == grpc.StatusCode.OUT_OF_RANGE:
            # The cursor is too old, or of a database that was replaced. The next
            # stream starts with a snapshot.
            log.warning("cursor rejected: %s", reason)
            self.stats.cursors_rejected[reason] = self.stats.cursors_rejected.get(reason, 0) + 1
            self._store.clear_resume_point()
            self._stop.wait(self._next_backoff())
            return
        if reason == "SUBSCRIPTION_TAKEN_OVER":
            raise TakenOver("another instance has opened a stream of this name")
        if reason == "TOKEN_EXPIRED" and self._settings.token_file:
            # The file has a new token, or will have one soon.
            self.stats.tokens_expired += 1
        elif code not in TRANSIENT_CODES:
            raise Stopped(f"{code.name} {reason}: {error.details()}") from error
        asked = retry_delay(error)
        delay = self._next_backoff() if asked is None else asked + self._next_backoff()
        log.warning("%s %s; retrying in %.1f s", code.name, reason, delay)
        self._stop.wait(delay)

    def _next_backoff(self) -> float:
        """Exponential backoff with jitter, so that many subscribers do not reconnect at
        the same moment."""
        limit = min(INITIAL_BACKOFF_SECONDS * 2**self._failures, MAX_BACKOFF_SECONDS)
        self._failures = min(self._failures + 1, 20)
        return random.uniform(limit / 2, limit)


def reason_of(error: grpc.RpcError) -> str:
    """The reason in the details of a status, such as `CURSOR_TOO_OLD`."""
    info = error_details_pb2.ErrorInfo()
    return info.reason if _detail(error, info) else ""


def retry_delay(error: grpc.RpcError) -> float | None:
    """The delay in the `RetryInfo` of a status, in seconds."""
    info = error_details_pb2.RetryInfo()
    if not _detail(error, info):
        return None
    delay: timedelta = info.retry_delay.ToTimedelta()
    return delay.total_seconds()


def _detail(
    error: grpc.RpcError, into: error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo
) -> bool:
    if not isinstance(error, grpc.Call):
        return False
    try:
        status = rpc_status.from_call(error)
    except ValueError:
        # The details belong to another status: an intermediary has rewritten it.
        return False
    details = [] if status is None else status.details
    return any(detail.Is(into.DESCRIPTOR) and detail.Unpack(into) for detail in details)


def arguments() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(description="Keeps a synchronized copy of Concord's records.")
    parser.add_argument("--records", default="127.0.0.1:50051", metavar="HOST:PORT")
    parser.add_argument("--product", required=True)
    parser.add_argument("--practice", default="", help="default: all practices of the product")
    parser.add_argument("--name", required=True, help="name of the subscription")
    parser.add_argument("--store", required=True, metavar="FILE")
    parser.add_argument("--token-file", default="", metavar="FILE")
    parser.add_argument("--max-unacknowledged", type=int, default=0)
    parser.add_argument("--silence-seconds", type=float, default=SILENCE_SECONDS)
    return parser


def settings_of(args: argparse.Namespace, resume_with_cursor: bool = True) -> Settings:
    """The settings that the options name."""
    return Settings(
        records=args.records,
        product=args.product,
        practice=args.practice,
        name=args.name,
        token_file=args.token_file,
        max_unacknowledged=args.max_unacknowledged,
        silence_seconds=args.silence_seconds,
        resume_with_cursor=resume_with_cursor,
    )


def run_until_stopped(subscriber: Subscriber) -> int:
    """Runs it; SIGTERM and SIGINT stop it gracefully. Returns the exit status: 0
    stopped, 1 rejected, 3 taken over by another instance, 4 an event is missing."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: subscriber.stop())
    try:
        subscriber.run()
    except Stopped as reason:
        log.error("%s", reason)
        return 3 if isinstance(reason, TakenOver) else 4 if isinstance(reason, Gap) else 1
    return 0


def main() -> int:
    args = arguments().parse_args()
    store = Store(args.store)
    try:
        return run_until_stopped(Subscriber(settings_of(args), store))
    finally:
        store.close()


if __name__ == "__main__":
    sys.exit(main())
