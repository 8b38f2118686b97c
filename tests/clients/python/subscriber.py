"""A subscriber that stays in step with Concord: a worked example.

It keeps a copy of the records of a practice, or of all practices of a product, in
an SQLite file (`store.py`). What it does is told in docs/sync.md; in short:

- Each message is applied in one local transaction, together with its cursor.
  After the commit it is acknowledged.
- It begins with a snapshot, and goes on after its own cursor, also in the middle
  of a snapshot. Concord's place is beside it, so that support can see the lag.
- Every event names the position of the one before. When that is another than the
  one that came last, something is missing: it stops, and says so.
- A stream that is silent for 45 seconds is dead, and is begun again.
- A stream ends with its token. The next one takes the token that is in the file then.

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
from store import Place, Store

log = logging.getLogger("subscriber")

# Concord sends a heartbeat every 15 seconds. Three of them missing is no chance.
SILENCE_SECONDS = 45.0
ACKNOWLEDGE_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 30.0

CHANNEL_OPTIONS = [
    # A connection whose other end has gone without a word is found out.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # The channels of a process share their connections unless they are told not to.
    ("grpc.use_local_subchannel_pool", 1),
]

# Waiting does not mend other statuses than these: the request, the role or the
# connection of the product is wrong.
PASSING = {
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
}


class Stopped(Exception):
    """The subscriber cannot go on by itself."""


class Gap(Stopped):
    """Something is missing between two messages. It never happens unless there is
    a fault: a human being should look at it."""


class TakenOver(Stopped):
    """Another instance has begun a stream of the same name. To fight for it would
    end its stream, and so on without an end."""


@dataclass(frozen=True)
class Settings:
    """Who listens to what."""

    records: str
    """Host and port of the records service."""
    product: str
    name: str
    """The name of the subscription."""
    practice: str = ""
    """Only this practice; all of the product when it is empty."""
    account: str = "main"
    token_file: str = ""
    """Holds the token of the product. It is read for each stream: whoever renews the
    token replaces the file before the old one expires."""
    max_unacknowledged: int = 0
    resume_with_cursor: bool = True
    """Without it Concord's own place is gone on from. Then events come again that
    were applied and not acknowledged, and a backup of Concord that was restored is
    not noticed. It is there for the tests."""
    silence_seconds: float = SILENCE_SECONDS


@dataclass
class Stats:
    """What a subscriber has seen since it was started."""

    streams: int = 0
    closings: int = 0
    events: int = 0
    duplicates: int = 0
    snapshot_records: int = 0
    snapshots_begun: int = 0
    snapshots_resumed: int = 0
    snapshots_ended: int = 0
    records_gone: int = 0
    heartbeats: int = 0
    waiting: bool = False
    """Whether the last heartbeat said that the stream waits."""
    dead_streams: int = 0
    tokens_expired: int = 0
    """How often Concord asked for a new token."""
    cursors_refused: dict[str, int] = field(default_factory=dict)


class Stream(Protocol):
    """What is used of a call that answers with a stream."""

    def __next__(self) -> changes_pb2.SubscribeResponse: ...

    def cancel(self) -> bool: ...


class Watchdog:
    """Cancels a call from which nothing comes for too long."""

    def __init__(self, call: Stream, seconds: float) -> None:
        self._call = call
        self._seconds = seconds
        self._waiting_since: float | None = None
        self._over = threading.Event()
        self.has_bitten = False

    def __enter__(self) -> Watchdog:
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._call.cancel()

    def messages(self) -> Iterator[changes_pb2.SubscribeResponse]:
        """The messages of the call. The time in which one is applied is not silence."""
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
        while not self._over.wait(0.5):
            since = self._waiting_since
            if since is not None and time.monotonic() - since > self._seconds:
                self.has_bitten = True
                self._call.cancel()
                return


class Subscriber:
    """Keeps a store in step with Concord until it is stopped."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.stats = Stats()
        self._settings = settings
        self._store = store
        self._changes: changes_pb2_grpc.ChangeServiceStub
        self._metadata: list[tuple[str, str]] = []
        self._stop = threading.Event()
        self._call: Stream | None = None
        self._failures = 0
        # The position that the next event must name as the one before it.
        self._last = 0
        self._acknowledged = ""

    def stop(self) -> None:
        """May be called from anywhere, also from a signal handler."""
        self._stop.set()
        if self._call is not None:
            self._call.cancel()

    def run(self) -> None:
        """Listens until `stop`, or until it cannot go on by itself."""
        while not self._stop.is_set():
            try:
                # A channel of its own for each stream: over the one before a new
                # call would take a connection that is dead.
                target = self._settings.records
                self._metadata = self._identity()
                with grpc.insecure_channel(target, options=CHANNEL_OPTIONS) as channel:
                    self._changes = changes_pb2_grpc.ChangeServiceStub(channel)
                    self._listen()
                # Ended by Concord, which wants it begun again.
                self._stop.wait(self._pause())
            except grpc.RpcError as error:
                if not self._stop.is_set():
                    self._recover(error)

    def _identity(self) -> list[tuple[str, str]]:
        """What says who calls, on each call of a stream and its acknowledgements."""
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
        """One stream, from its handshake to its end."""
        place = self._store.place()
        self._acknowledged = ""
        self._call = self._changes.Subscribe(self._request(place), metadata=self._metadata)
        self.stats.streams += 1
        with Watchdog(self._call, self._settings.silence_seconds) as watchdog:
            try:
                for message in watchdog.messages():
                    self._handle(message, place)
            finally:
                if watchdog.has_bitten:
                    self.stats.dead_streams += 1
                    log.warning("nothing was heard for too long: the stream is dead")

    def _request(self, place: Place | None) -> changes_pb2.SubscribeRequest:
        request = changes_pb2.SubscribeRequest(
            subscription=self._settings.name,
            max_unacknowledged=self._settings.max_unacknowledged,
            # A copy holds everything, also what this product changed itself.
            echo_mode=changes_pb2.ECHO_MODE_INCLUDE,
        )
        if place is None or not place.cursor:
            # Concord may know a place of this name, when the store was lost. With
            # an empty store it is of no use, so it is begun anew.
            request.start_from = changes_pb2.START_FROM_SNAPSHOT
            request.restart = True
        elif self._settings.resume_with_cursor:
            request.cursor = place.cursor
        return request

    def _handle(self, message: changes_pb2.SubscribeResponse, place: Place | None) -> None:
        match message.WhichOneof("message"):
            case "handshake":
                self._on_handshake(message.handshake, place)
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
                # A newer Concord may send what is not known here.
                log.debug("a message of another kind")

    def _on_handshake(self, handshake: changes_pb2.Handshake, place: Place | None) -> None:
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
            self.stats.snapshots_begun += 1
            self._store.begin_snapshot()
        elif place is not None and place.in_snapshot:
            raise Gap("the stream begins after a snapshot whose end is not held")

    def _on_snapshot_records(self, message: changes_pb2.SnapshotRecords) -> None:
        self._store.apply_snapshot(message.records, message.cursor)
        self.stats.snapshot_records += len(message.records)
        self._dealt_with(message.cursor)

    def _on_snapshot_end(self, end: changes_pb2.SnapshotEnd) -> None:
        self.stats.records_gone += self._store.end_snapshot(end)
        self.stats.snapshots_ended += 1
        self._last = end.position
        log.info("the snapshot is complete, at position %d", end.position)
        self._dealt_with(end.cursor)

    def _on_events(self, message: changes_pb2.Events) -> None:
        for event in message.events:
            if event.previous_position != self._last:
                raise Gap(
                    f"position {event.position} comes after {event.previous_position}, "
                    f"and {self._last} was heard last"
                )
            self._last = event.position
        applied = self._store.apply_events(message.events, message.cursor)
        self.stats.events += applied.events
        self.stats.duplicates += applied.duplicates
        self._dealt_with(message.cursor)

    def _on_heartbeat(self, heartbeat: changes_pb2.Heartbeat) -> None:
        self.stats.heartbeats += 1
        self.stats.waiting = heartbeat.waiting_for_acknowledgement
        place = self._store.place()
        if place is None or place.in_snapshot:
            return
        self._store.move_on(heartbeat.cursor, heartbeat.position)
        self._dealt_with(heartbeat.cursor)

    def _dealt_with(self, cursor: str) -> None:
        """What came up to the cursor is committed. Only now may Concord forget it."""
        self._failures = 0
        if cursor != self._acknowledged:
            self.acknowledge(cursor)
            self._acknowledged = cursor

    def acknowledge(self, cursor: str) -> None:
        """Tells Concord. When that fails the stream is begun again: the place is in
        the store, so nothing is lost."""
        request = changes_pb2.AcknowledgeRequest(
            subscription=self._settings.name, cursor=cursor
        )
        self._changes.Acknowledge(
            request, metadata=self._metadata, timeout=ACKNOWLEDGE_SECONDS
        )

    def _recover(self, error: grpc.RpcError) -> None:
        """Waits as long as the status asks, or gives up."""
        code, reason = error.code(), reason_of(error)
        if code == grpc.StatusCode.OUT_OF_RANGE:
            # Too old, or of a database that is not there any longer. The next
            # stream begins with a snapshot.
            log.warning("the cursor is of no use any longer: %s", reason)
            self.stats.cursors_refused[reason] = self.stats.cursors_refused.get(reason, 0) + 1
            self._store.forget_place()
            self._stop.wait(self._pause())
            return
        if reason == "SUBSCRIPTION_TAKEN_OVER":
            raise TakenOver("another instance has begun a stream of this name")
        if reason == "TOKEN_EXPIRED" and self._settings.token_file:
            # The file has a new token, or will have one soon.
            self.stats.tokens_expired += 1
        elif code not in PASSING:
            raise Stopped(f"{code.name} {reason}: {error.details()}") from error
        asked = retry_delay(error)
        pause = self._pause() if asked is None else asked + self._pause()
        log.warning("%s %s; again in %.1f s", code.name, reason, pause)
        self._stop.wait(pause)

    def _pause(self) -> float:
        """Longer each time, and by chance, so that a thousand subscribers do not
        come back in the same moment."""
        longest = min(FIRST_PAUSE_SECONDS * 2**self._failures, LONGEST_PAUSE_SECONDS)
        self._failures = min(self._failures + 1, 20)
        return random.uniform(longest / 2, longest)


def reason_of(error: grpc.RpcError) -> str:
    """The reason in the details of a status, such as `CURSOR_TOO_OLD`."""
    info = error_details_pb2.ErrorInfo()
    return info.reason if _detail(error, info) else ""


def retry_delay(error: grpc.RpcError) -> float | None:
    """How many seconds to wait, when the status says so."""
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
        # The details are of another status: something between has rewritten it.
        return False
    details = [] if status is None else status.details
    return any(detail.Is(into.DESCRIPTOR) and detail.Unpack(into) for detail in details)


def arguments() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(description="Keeps a copy of Concord's records.")
    parser.add_argument("--records", default="127.0.0.1:50051", metavar="HOST:PORT")
    parser.add_argument("--product", required=True)
    parser.add_argument("--practice", default="", help="only this one; all when it is left out")
    parser.add_argument("--name", required=True, help="of the subscription")
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
    """Runs it; SIGTERM and SIGINT end it cleanly. Gives the exit status: 0 stopped,
    1 refused, 3 taken over by another instance, 4 something is missing."""
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
