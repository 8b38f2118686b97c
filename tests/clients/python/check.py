"""Tests the example subscriber against a running server.

`manager` changes the records of a practice. `books` keeps a copy of them with the
example subscriber, in a process of its own, over a proxy that resets connections.
The process is killed, the server is stopped and killed, and each time the copy
must become equal to the API: the same records in the same versions.

    python check.py --records 127.0.0.1:50051 --server-pid FILE

`--server-pid` is a file with the process id of a server that is restarted when it
ends; without it the server is not stopped. `--token-records` is another server,
which checks tokens; `--concord` and `--signing-key` issue them.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from concord.records.v1 import changes_pb2, support_pb2
from manager import Product
from proxy import Proxy
from store import Store
from subscriber import Stats, Subscriber, arguments, run_until_stopped, settings_of

NAME = "ledger"
WRITERS = 4
CLIENTS = 600
WINDOW = 50
KILLED = 9
SILENCE_SECONDS = 20.0


class CheckFailed(Exception):
    """An expectation of the check failed."""


def expect(condition: bool, what: str) -> None:
    if not condition:
        raise CheckFailed(what)


def wait_for(what: str, condition: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        expect(time.monotonic() < until, f"timeout after {seconds:.0f} s: {what}")
        time.sleep(0.02)


# The subscriber, in a process of its own.


class InstrumentedSubscriber(Subscriber):
    """Prints its counters to standard output, and exits at a configured point."""

    def __init__(self, args: argparse.Namespace, store: Store) -> None:
        super().__init__(settings_of(args, resume_with_cursor=not args.by_name), store)
        self._die_at = args.die_at_acknowledge
        self._withhold = args.withhold
        self._acknowledges = 0

    def acknowledge(self, cursor: str) -> None:
        # At this point the batch is committed and not acknowledged.
        self._report_stats()
        self._acknowledges += 1
        if self._acknowledges == self._die_at:
            os._exit(KILLED)
        if not self._withhold:
            super().acknowledge(cursor)

    def _on_handshake(self, *args) -> None:  # type: ignore[no-untyped-def]
        super()._on_handshake(*args)
        self._report_stats()

    def _on_heartbeat(self, heartbeat: changes_pb2.Heartbeat) -> None:
        super()._on_heartbeat(heartbeat)
        self._report_stats()

    def _report_stats(self) -> None:
        print(json.dumps(asdict(self.stats)), flush=True)


def subscriber_process() -> int:
    parser = arguments()
    parser.add_argument("--by-name", action="store_true")
    parser.add_argument("--withhold", action="store_true")
    parser.add_argument("--die-at-acknowledge", type=int, default=0)
    args = parser.parse_args(sys.argv[2:])
    return run_until_stopped(InstrumentedSubscriber(args, Store(args.store)))


class Books:
    """The product `books`: its store, and the process that fills it."""

    def __init__(self, records: str, practice: str, folder: Path, *options: str) -> None:
        self.store = folder / "books.sqlite"
        self._log = folder / "books.log"
        self._command = [
            sys.executable, __file__, "subscriber",
            "--records", records, "--practice", practice, "--product", "books",
            "--name", NAME, "--store", str(self.store),
            "--silence-seconds", str(SILENCE_SECONDS), *options,
        ]
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._now = Stats()
        self._before = Stats()

    def start(self, *options: str) -> None:
        """Starts the process. It must not run already."""
        with self._log.open("a", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [*self._command, *options], stdout=subprocess.PIPE, stderr=log, text=True
            )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def start_second(self) -> subprocess.Popen[str]:
        """One more instance on the same store."""
        with self._log.open("a", encoding="utf-8") as log:
            return subprocess.Popen(
                self._command, stdout=subprocess.DEVNULL, stderr=log, text=True
            )

    def end(self, number: int = signal.SIGTERM) -> None:
        """Ends the process by a signal, and checks that the signal ended it."""
        assert self._process is not None
        self._process.send_signal(number)
        status = self.ended()
        expected = 0 if number == signal.SIGTERM else -number
        expect(status == expected, f"the process ended with {status}, expected {expected}")

    def ended(self, seconds: float = 30.0) -> int:
        """Waits for the end of the process, and returns its exit status."""
        assert self._process is not None and self._reader is not None
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired as late:
            raise CheckFailed("the process did not end") from late
        self._reader.join()
        self._before, self._now = self.stats, Stats()
        return status

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def now(self) -> Stats:
        """The counters of the running process."""
        return self._now

    @property
    def stats(self) -> Stats:
        """The sums of the counters of all processes."""
        total = Stats()
        for part in (self._before, self._now):
            for name, value in asdict(part).items():
                if isinstance(value, dict):
                    sums = getattr(total, name)
                    sums.update({key: sums.get(key, 0) + n for key, n in value.items()})
                else:
                    setattr(total, name, getattr(total, name) + value)
        return total

    def log(self) -> str:
        """The end of the log of the processes."""
        lines = self._log.read_text(encoding="utf-8").splitlines() if self._log.exists() else []
        return "\n".join(lines[-40:])

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._now = Stats(**json.loads(line))

    # The store, read concurrently with the process.

    def query(self, sql: str) -> list[tuple]:  # type: ignore[type-arg]
        if not self.store.exists():
            return []
        db = sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=30)
        try:
            return db.execute(sql).fetchall()
        except sqlite3.OperationalError:
            # The process has not created the tables yet.
            return []
        finally:
            db.close()

    def stored(self) -> dict[str, tuple[int, str]]:
        rows = self.query("SELECT id, version, image FROM records")
        return {row[0]: (row[1], row[2]) for row in rows}

    def snapshot_records_received(self) -> int:
        """The number of stored records of a running snapshot."""
        rows = self.query("SELECT (SELECT COUNT(*) FROM seen) FROM resume_point WHERE in_snapshot")
        return int(rows[0][0]) if rows else 0

    def corrupt(self, cursor: str) -> None:
        """Makes the store look like the copy of another database: the cursor is
        invalid, versions are ahead, and an unknown record exists."""
        with sqlite3.connect(self.store) as db:
            db.execute("UPDATE resume_point SET cursor = ?", (cursor,))
            db.execute("UPDATE records SET version = version + 1000000, image = '{}'")
            db.execute("INSERT INTO records VALUES ('cli_ghost', 'client', '?', 1, '{}')")
        db.close()


class Tokens:
    """A subscriber of a server that checks tokens, with a token that expires in a
    minute; the server allows 30 seconds of clock skew. The token file is replaced
    before that, as by a process that renews tokens."""

    def __init__(self, records: str, concord: str, key: str, folder: Path) -> None:
        folder.mkdir()
        self._make = [concord, "token", "--key", key, "--roles", "owner"]
        self._practice = f"python-{secrets.token_hex(3)}-tokens"
        token = self._token("manager", minutes=60)
        self._manager = Product(records, self._practice, "manager", token=token)
        self._file = folder / "token"
        self.books = Books(records, self._practice, folder, "--token-file", str(self._file))

    def start(self) -> None:
        self._renew()
        for product in ("manager", "books"):
            self._manager.connect(product)
        self.books.start()
        wait_for("the handshake", lambda: self.books.now.streams > 0)
        # The open stream still has the old token.
        self._renew(minutes=60)

    def finish(self) -> None:
        """Makes changes until the first token has expired, and after it."""
        while (now := self.books.now).tokens_expired == 0:
            expect(self.books.runs, "the subscriber ended with its token")
            expect(now.streams == 1, "a stream ended before its token")
            self._manager.make_random_change()
            time.sleep(0.2)
        for _ in range(5):
            self._manager.make_random_change()
        truth = self._manager.all_records()
        wait_for(
            "the store equals the API",
            lambda: self.books.runs and self.books.stored() == truth,
        )
        self.books.end()
        stats = self.books.stats
        expect(stats.tokens_expired == 1, f"{stats.tokens_expired} tokens expired, expected 1")
        expect(stats.streams == 2, f"there were {stats.streams} streams, expected 2")
        expect(stats.duplicates == 0, "events were delivered twice")
        print(
            f"python      tokens: the stream ended with its token and resumed with the next one; "
            f"{stats.events} events, no gap, no duplicate",
            flush=True,
        )

    def _renew(self, minutes: int = 1) -> None:
        """Replaces the token file atomically: it may be read at any time."""
        new = self._file.with_suffix(".new")
        new.write_text(self._token("books", minutes), encoding="ascii")
        new.replace(self._file)

    def _token(self, product: str, minutes: int) -> str:
        command = [
            *self._make, "--practice", self._practice, "--product", product,
            "--minutes", str(minutes),
        ]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


# The check.


class Check:
    """The check of one practice, from its first record."""

    def __init__(self, records: str, server_pid: Path | None, folder: Path) -> None:
        self._records = records
        self._server_pid = server_pid
        run = secrets.token_hex(3)
        practice, other = f"python-{run}", f"python-{run}-other"
        self._managers = [Product(records, practice, "manager", n) for n in range(WRITERS)]
        self._manager = self._managers[0]
        # Changes of another practice are between those of this one in the feed.
        self._noise = Product(records, other, "manager")
        self._own = Product(records, practice, "books")
        for product in (self._manager, self._noise):
            product.connect("manager")
            product.connect("books")
        self._proxy = Proxy(records)
        self.books = Books(self._proxy.address, practice, folder)

    def run(self) -> None:
        self.snapshot()
        self.changes()
        self.window()
        if self._server_pid is not None:
            self.server_restarts(self._server_pid)
        self.silence()
        self.takeover()
        self.foreign_cursor()
        self.support()

    def snapshot(self) -> None:
        """A snapshot is interrupted by resets and by a kill, and is resumed."""
        self._in_parallel(lambda one: one.create_client_with_contact(), CLIENTS // WRITERS)
        self._proxy.throttle(400_000)
        self.books.start("--die-at-acknowledge", "1")
        expect(self.books.ended(60) == KILLED, "the process did not die in the snapshot")
        self.books.start()
        resets = 0
        while resets < 2:
            before = self.books.snapshot_records_received()
            wait_for(
                "records of the snapshot",
                lambda: self.books.snapshot_records_received() > before
                or self.books.now.snapshots_ended > 0,
            )
            if self.books.now.snapshots_ended:
                break
            resets += self._proxy.reset_all()
        self._proxy.throttle(0)
        self._wait_until_equal()
        stats = self.books.stats
        expect(resets > 0, "the snapshot ended before a connection was reset")
        expect(stats.snapshots_started == 1, "a snapshot restarted instead of being resumed")
        expect(stats.snapshots_resumed >= 2, "the snapshot was not resumed")
        self._print_result(
            "snapshot",
            f"{stats.snapshot_records} records, {resets} connections reset and one process "
            f"killed during it, resumed {stats.snapshots_resumed} times, started once",
        )

    def changes(self) -> None:
        """Changes while connections are reset, and while the process dies between commit
        and acknowledgement."""
        before, resets = self.books.stats, self._proxy.resets
        stop = threading.Event()
        with ThreadPoolExecutor() as pool:
            work = [pool.submit(self._reset_periodically, stop)]
            for product in (*self._managers, self._noise):
                work.append(pool.submit(self._change_until, product, stop))
            try:
                # The subscriber receives its own changes too.
                for _ in range(10):
                    self._own.create_client_with_contact()
                for _ in range(2):
                    self.books.end(signal.SIGKILL)
                    self.books.start("--die-at-acknowledge", "2")
                    expect(self.books.ended() == KILLED, "the process did not die")
                    self.books.start()
                    time.sleep(1.5)
            finally:
                stop.set()
        for one in work:
            one.result()
        self._wait_until_equal()
        stats = self.books.stats
        expect(stats.duplicates == 0, "events before the given cursor were delivered again")
        self._print_result(
            "changes",
            f"{stats.events - before.events} events, "
            f"{self._proxy.resets - resets} connections reset, "
            "process killed 4 times, no gap, no duplicate",
        )

    def window(self) -> None:
        """Nothing is acknowledged: the stream waits. The process is killed and resumes
        by name only: unacknowledged events are delivered again."""
        self.books.end()
        window = ("--max-unacknowledged", str(WINDOW))
        self.books.start("--withhold", *window)
        self._in_parallel(lambda one: one.create_client_with_contact(), 2 * WINDOW // WRITERS)
        wait_for("a heartbeat with waiting_for_acknowledgement", lambda: self.books.now.waiting)
        sent = self.books.now.events
        expect(0 < sent <= WINDOW, f"{sent} events were sent with a window of {WINDOW}")
        self.books.end(signal.SIGKILL)
        self.books.start("--by-name", *window)
        self._wait_until_equal()
        again = self.books.now.duplicates
        expect(again == sent, f"{sent} events were unacknowledged, {again} were redelivered")
        self.books.end()
        self.books.start()
        self._wait_until_connected()
        self._print_result(
            "flow control",
            f"the stream waited after {sent} events (window {WINDOW}); after a kill and a "
            f"resume by name, {again} were redelivered and deduplicated",
        )

    def server_restarts(self, pid_file: Path) -> None:
        """The server is stopped and restarted, then killed and restarted."""
        before = self.books.stats
        for number in (signal.SIGTERM, signal.SIGKILL):
            with ThreadPoolExecutor(1) as pool:
                writing = pool.submit(
                    self._in_parallel, lambda one: one.make_random_change(), 40 // WRITERS
                )
                end_server(pid_file, number)
            writing.result()
            self._wait_until_equal()
        stats = self.books.stats
        expect(stats.closings > before.closings, "no closing message at the shutdown")
        self._print_result(
            "server",
            f"stopped once with a closing message, killed once, "
            f"{stats.events - before.events} events, no gap, no duplicate",
        )

    def silence(self) -> None:
        """A connection is dead without being closed."""
        self._proxy.freeze_all()
        self._in_parallel(lambda one: one.make_random_change(), 2)
        started = time.monotonic()
        self._wait_until_equal()
        seconds = time.monotonic() - started
        self._print_result("silence", f"a dead connection was replaced in {seconds:.0f} s")

    def takeover(self) -> None:
        """A second instance opens the subscription: the first one exits."""
        second = self.books.start_second()
        try:
            status = self.books.ended(60)
            expect(status == 3, f"taken over, the first instance ended with {status}")
            self._in_parallel(lambda one: one.make_random_change(), 5)
            self._wait_until_equal(lambda: second.poll() is None)
        finally:
            second.terminate()
            second.wait(30)
        self.books.start()
        self._wait_until_connected()
        self._print_result("takeover", "the older instance exited, the newer one continued")

    def foreign_cursor(self) -> None:
        """A cursor of another feed is rejected: the subscriber takes a snapshot."""
        self.books.end()
        before = self.books.stats
        self.books.corrupt(self._manager.current_cursor())
        self.books.start()
        self._wait_until_equal()
        stats = self.books.stats
        rejected = stats.cursors_rejected
        expect(rejected.get("CURSOR_FOREIGN") == 1, f"rejected cursors: {rejected}")
        expect(
            stats.records_deleted > before.records_deleted,
            "records that were not in the snapshot were not deleted",
        )
        self._print_result(
            "another database",
            f"cursor rejected, {stats.snapshot_records - before.snapshot_records} records of a "
            "fresh snapshot replaced newer versions and removed what was not in it",
        )

    def support(self) -> None:
        """Support traces the last change and reads the lag."""
        self._in_parallel(lambda one: one.make_random_change(), 5)
        self._wait_until_equal()
        change = self._manager.last_change

        def acknowledged() -> bool:
            trace = self._manager.trace(change, "books")
            ours = [one for one in trace.subscriptions if one.subscription == NAME]
            return [one.delivery for one in ours] == [support_pb2.DELIVERY_ACKNOWLEDGED]

        wait_for("the last change is acknowledged", acknowledged)
        wait_for("no lag", lambda: self._own.subscription(NAME).lag_changes == 0)
        state = self._own.subscription(NAME).state
        expect(state == changes_pb2.SUBSCRIPTION_STATE_ACTIVE, f"the state is {state}")
        self.books.end()
        total = self.books.stats
        self._print_result(
            "total",
            f"{total.events} events, {total.snapshot_records} snapshot records, "
            f"{total.streams} streams, {self._proxy.resets} connections reset, "
            f"{total.duplicates} duplicates, lag 0, last change acknowledged",
        )

    # Helpers.

    def _wait_until_connected(self) -> None:
        """Waits until the process that was just started has opened a stream."""
        wait_for("the handshake", lambda: self.books.now.streams > 0)

    def _wait_until_equal(self, runs: Callable[[], bool] | None = None) -> None:
        """Waits until the store is equal to the API."""
        truth = self._manager.all_records()
        runs = runs or (lambda: self.books.runs)

        def equal() -> bool:
            expect(runs(), "the subscriber has ended")
            return not self.books.snapshot_records_received() and self.books.stored() == truth

        try:
            wait_for("the store equals the API", equal)
        except CheckFailed as failed:
            raise CheckFailed(f"{failed}: {difference(truth, self.books.stored())}") from failed

    def _reset_periodically(self, stop: threading.Event) -> None:
        while not stop.wait(0.25):
            self._proxy.reset_all()

    def _change_until(self, product: Product, stop: threading.Event) -> None:
        while not stop.wait(0.01):
            product.make_random_change()

    def _in_parallel(self, work: Callable[[Product], None], times: int) -> None:
        def all_of(product: Product) -> None:
            for _ in range(times):
                work(product)

        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(all_of, self._managers))

    def _print_result(self, name: str, text: str) -> None:
        print(f"python      {name}: {text}", flush=True)


def end_server(pid_file: Path, number: int) -> None:
    """Ends the server by a signal, and waits for its restart."""
    old = pid_file.read_text(encoding="utf-8")
    os.kill(int(old), number)
    wait_for("the server", lambda: pid_file.read_text(encoding="utf-8") != old)


def difference(truth: dict[str, tuple[int, str]], stored: dict[str, tuple[int, str]]) -> str:
    """The number of differing records by kind, with one id of each."""
    missing = [key for key in truth if key not in stored]
    beyond = [key for key in stored if key not in truth]
    other = [key for key in truth if key in stored and truth[key] != stored[key]]
    parts: Sequence[tuple[str, list[str]]] = (
        ("missing", missing), ("unexpected", beyond), ("different", other)
    )
    return ", ".join(f"{len(keys)} {name} {keys[:1]}" for name, keys in parts)


def main() -> int:
    if sys.argv[1:2] == ["subscriber"]:
        return subscriber_process()
    parser = argparse.ArgumentParser(description="Tests the example subscriber.")
    parser.add_argument("--records", default="127.0.0.1:50051", metavar="HOST:PORT")
    parser.add_argument("--server-pid", type=Path, metavar="FILE")
    parser.add_argument("--token-records", metavar="HOST:PORT")
    parser.add_argument("--concord", default="concord", metavar="PROGRAM")
    parser.add_argument("--signing-key", default="", metavar="FILE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="concord-python.") as folder:
        check = Check(args.records, args.server_pid, Path(folder))
        runs = [check.books]
        try:
            # Started first, because the token needs time to expire.
            tokens = None
            if args.token_records is not None:
                key, beside = args.signing_key, Path(folder) / "tokens"
                tokens = Tokens(args.token_records, args.concord, key, beside)
                runs.append(tokens.books)
                tokens.start()
            check.run()
            if tokens is not None:
                tokens.finish()
        except CheckFailed as failed:
            logs = "\n".join(one.log() for one in runs)
            print(f"python      FAILED: {failed}\n{logs}", file=sys.stderr)
            return 1
        finally:
            for one in runs:
                if one.runs:
                    one.end(signal.SIGKILL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
