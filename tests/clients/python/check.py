"""Puts the worked subscriber to the test against a running server.

`manager` changes the records of a practice. `books` keeps a copy of them with the
worked subscriber, in a process of its own, over a proxy that resets connections.
The process is killed, the server is stopped and killed, and each time the copy
must become what the API says: the same records, in the same versions.

    python check.py --records 127.0.0.1:50051 --server-pid FILE

`--server-pid` names a file with the process id of a server that is started again
when it ends; without it the server is left alone. `--token-records` is another
server, which checks tokens; `--concord` and `--signing-key` make them.
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


class Failed(Exception):
    """The check has found something wrong."""


def expect(holds: bool, what: str) -> None:
    if not holds:
        raise Failed(what)


def wait_for(what: str, holds: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        expect(time.monotonic() < until, f"waited {seconds:.0f} s in vain: {what}")
        time.sleep(0.02)


# The subscriber, in a process of its own.


class Watched(Subscriber):
    """Tells on standard output what it has seen, and dies when it is told to."""

    def __init__(self, args: argparse.Namespace, store: Store) -> None:
        super().__init__(settings_of(args, resume_with_cursor=not args.by_name), store)
        self._die_at = args.die_at_acknowledge
        self._withhold = args.withhold
        self._acknowledges = 0

    def acknowledge(self, cursor: str) -> None:
        # Here the batch is committed, and not acknowledged.
        self._tell()
        self._acknowledges += 1
        if self._acknowledges == self._die_at:
            os._exit(KILLED)
        if not self._withhold:
            super().acknowledge(cursor)

    def _on_handshake(self, *args) -> None:  # type: ignore[no-untyped-def]
        super()._on_handshake(*args)
        self._tell()

    def _on_heartbeat(self, heartbeat: changes_pb2.Heartbeat) -> None:
        super()._on_heartbeat(heartbeat)
        self._tell()

    def _tell(self) -> None:
        print(json.dumps(asdict(self.stats)), flush=True)


def subscriber_process() -> int:
    parser = arguments()
    parser.add_argument("--by-name", action="store_true")
    parser.add_argument("--withhold", action="store_true")
    parser.add_argument("--die-at-acknowledge", type=int, default=0)
    args = parser.parse_args(sys.argv[2:])
    return run_until_stopped(Watched(args, Store(args.store)))


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
        """Ends the process by a signal, of which it must end, and of nothing else."""
        assert self._process is not None
        self._process.send_signal(number)
        status = self.ended()
        expected = 0 if number == signal.SIGTERM else -number
        expect(status == expected, f"the process ended with {status}, and not of the signal")

    def ended(self, seconds: float = 30.0) -> int:
        """Waits for the end of the process. Gives its exit status."""
        assert self._process is not None and self._reader is not None
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired as late:
            raise Failed("the process was to end, and went on") from late
        self._reader.join()
        self._before, self._now = self.stats, Stats()
        return status

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def now(self) -> Stats:
        """What the running process has seen."""
        return self._now

    @property
    def stats(self) -> Stats:
        """What all processes have seen together."""
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
        """The last that the processes had to say."""
        lines = self._log.read_text(encoding="utf-8").splitlines() if self._log.exists() else []
        return "\n".join(lines[-40:])

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._now = Stats(**json.loads(line))

    # The store, read beside the process.

    def query(self, sql: str) -> list[tuple]:  # type: ignore[type-arg]
        if not self.store.exists():
            return []
        db = sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=30)
        try:
            return db.execute(sql).fetchall()
        except sqlite3.OperationalError:
            # The process is about to make the tables.
            return []
        finally:
            db.close()

    def held(self) -> dict[str, tuple[int, str]]:
        rows = self.query("SELECT id, version, image FROM records")
        return {row[0]: (row[1], row[2]) for row in rows}

    def in_snapshot_with(self) -> int:
        """How many records of a running snapshot are here."""
        rows = self.query("SELECT (SELECT COUNT(*) FROM seen) FROM place WHERE in_snapshot")
        return int(rows[0][0]) if rows else 0

    def spoil(self, cursor: str) -> None:
        """Makes the store one that was fed by another database: the cursor is of no
        use, versions are ahead, a record is there that never was."""
        with sqlite3.connect(self.store) as db:
            db.execute("UPDATE place SET cursor = ?", (cursor,))
            db.execute("UPDATE records SET version = version + 1000000, image = '{}'")
            db.execute("INSERT INTO records VALUES ('cli_ghost', 'client', '?', 1, '{}')")
        db.close()


class Tokens:
    """A subscriber at a server that checks tokens, with a token that expires in a
    minute; clocks may be half a minute apart. Another token is put in its place before
    that, as whoever renews tokens does."""

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
        # What the stream that stands has is the old one.
        self._renew(minutes=60)

    def finish(self) -> None:
        """Changes go on until the first token has expired, and after it."""
        while (now := self.books.now).tokens_expired == 0:
            expect(self.books.runs, "the subscriber ended with its token")
            expect(now.streams == 1, "a stream ended before its token")
            self._manager.change_something()
            time.sleep(0.2)
        for _ in range(5):
            self._manager.change_something()
        truth = self._manager.everything()
        wait_for(
            "the store holds what the API says",
            lambda: self.books.runs and self.books.held() == truth,
        )
        self.books.end()
        stats = self.books.stats
        expect(stats.tokens_expired == 1, f"{stats.tokens_expired} times a token had expired")
        expect(stats.streams == 2, f"there were {stats.streams} streams")
        expect(stats.duplicates == 0, "events came again")
        print(
            f"python      tokens: the stream ended with its token, and went on with the next "
            f"one; {stats.events} events, no gap, no duplicate",
            flush=True,
        )

    def _renew(self, minutes: int = 1) -> None:
        """In one step: the file is read at any time."""
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
    """One practice, from its first record on."""

    def __init__(self, records: str, server_pid: Path | None, folder: Path) -> None:
        self._records = records
        self._server_pid = server_pid
        run = secrets.token_hex(3)
        practice, other = f"python-{run}", f"python-{run}-other"
        self._managers = [Product(records, practice, "manager", n) for n in range(WRITERS)]
        self._manager = self._managers[0]
        # Changes of another practice stand between those of this one in the feed.
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
        """A snapshot that is interrupted by resets and by the end of the process."""
        self._in_parallel(lambda one: one.create_whole(), CLIENTS // WRITERS)
        self._proxy.throttle(400_000)
        self.books.start("--die-at-acknowledge", "1")
        expect(self.books.ended(60) == KILLED, "the process was to die in the snapshot")
        self.books.start()
        resets = 0
        while resets < 2:
            before = self.books.in_snapshot_with()
            wait_for(
                "records of the snapshot",
                lambda: self.books.in_snapshot_with() > before
                or self.books.now.snapshots_ended > 0,
            )
            if self.books.now.snapshots_ended:
                break
            resets += self._proxy.reset_all()
        self._proxy.throttle(0)
        self._becomes_equal()
        stats = self.books.stats
        expect(resets > 0, "the snapshot was over before a connection was reset")
        expect(stats.snapshots_begun == 1, "a snapshot began anew that could be resumed")
        expect(stats.snapshots_resumed >= 2, "the snapshot was to be resumed")
        self._say(
            "snapshot",
            f"{stats.snapshot_records} records, {resets} connections reset and one process "
            f"killed in its middle, resumed {stats.snapshots_resumed} times, begun once",
        )

    def changes(self) -> None:
        """Changes while connections are reset, and the process dies between apply and
        acknowledge."""
        before, resets = self.books.stats, self._proxy.resets
        stop = threading.Event()
        with ThreadPoolExecutor() as pool:
            work = [pool.submit(self._reset_now_and_then, stop)]
            for product in (*self._managers, self._noise):
                work.append(pool.submit(self._change_until, product, stop))
            try:
                # Its own changes come to it too.
                for _ in range(10):
                    self._own.create_whole()
                for _ in range(2):
                    self.books.end(signal.SIGKILL)
                    self.books.start("--die-at-acknowledge", "2")
                    expect(self.books.ended() == KILLED, "the process was to die")
                    self.books.start()
                    time.sleep(1.5)
            finally:
                stop.set()
        for one in work:
            one.result()
        self._becomes_equal()
        stats = self.books.stats
        expect(stats.duplicates == 0, "events came again after the cursor that was given")
        self._say(
            "changes",
            f"{stats.events - before.events} events, "
            f"{self._proxy.resets - resets} connections reset, "
            "process killed 4 times, no gap, no duplicate",
        )

    def window(self) -> None:
        """Nothing is acknowledged: the stream waits. The process is killed, and the
        server's place alone is gone on from: what was not acknowledged comes again."""
        self.books.end()
        window = ("--max-unacknowledged", str(WINDOW))
        self.books.start("--withhold", *window)
        self._in_parallel(lambda one: one.create_whole(), 2 * WINDOW // WRITERS)
        wait_for("a heartbeat that says it waits", lambda: self.books.now.waiting)
        sent = self.books.now.events
        expect(0 < sent <= WINDOW, f"{sent} events came in a window of {WINDOW}")
        self.books.end(signal.SIGKILL)
        self.books.start("--by-name", *window)
        self._becomes_equal()
        again = self.books.now.duplicates
        expect(again == sent, f"{sent} events were not acknowledged, {again} came again")
        self.books.end()
        self.books.start()
        self._is_connected()
        self._say(
            "acknowledging",
            f"the stream waited after {sent} events (window {WINDOW}); killed then and "
            f"resumed by its name, {again} came again and were recognised",
        )

    def server_restarts(self, pid_file: Path) -> None:
        """The server is stopped, and started again, and killed, and started again."""
        before = self.books.stats
        for number in (signal.SIGTERM, signal.SIGKILL):
            with ThreadPoolExecutor(1) as pool:
                writing = pool.submit(
                    self._in_parallel, lambda one: one.change_something(), 40 // WRITERS
                )
                end_server(pid_file, number)
            writing.result()
            self._becomes_equal()
        stats = self.books.stats
        expect(stats.closings > before.closings, "no closing message at the shutdown")
        self._say(
            "server",
            f"stopped once with a closing message, killed once, "
            f"{stats.events - before.events} events, no gap, no duplicate",
        )

    def silence(self) -> None:
        """The connection is dead, and nobody has said so."""
        self._proxy.freeze_all()
        self._in_parallel(lambda one: one.change_something(), 2)
        started = time.monotonic()
        self._becomes_equal()
        seconds = time.monotonic() - started
        self._say("silence", f"a dead connection was replaced in {seconds:.0f} s")

    def takeover(self) -> None:
        """A second instance begins: the first one leaves."""
        second = self.books.start_second()
        try:
            status = self.books.ended(60)
            expect(status == 3, f"taken over, the first instance ended with {status}")
            self._in_parallel(lambda one: one.change_something(), 5)
            self._becomes_equal(lambda: second.poll() is None)
        finally:
            second.terminate()
            second.wait(30)
        self.books.start()
        self._is_connected()
        self._say("takeover", "the older instance ended by itself, the newer one went on")

    def foreign_cursor(self) -> None:
        """A cursor that this feed does not know: all is read anew."""
        self.books.end()
        before = self.books.stats
        self.books.spoil(self._manager.cursor_of_now())
        self.books.start()
        self._becomes_equal()
        stats = self.books.stats
        refused = stats.cursors_refused
        expect(refused.get("CURSOR_FOREIGN") == 1, f"the refusals were {refused}")
        expect(stats.records_gone > before.records_gone, "what was not in the snapshot stayed")
        self._say(
            "another database",
            f"cursor refused, {stats.snapshot_records - before.snapshot_records} records of a "
            "fresh snapshot replaced newer versions and removed what was not in it",
        )

    def support(self) -> None:
        """What support sees of it."""
        self._in_parallel(lambda one: one.change_something(), 5)
        self._becomes_equal()
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
        self._say(
            "in all",
            f"{total.events} events, {total.snapshot_records} snapshot records, "
            f"{total.streams} streams, {self._proxy.resets} connections reset, "
            f"{total.duplicates} duplicates, lag 0, last change acknowledged",
        )

    # Helpers.

    def _is_connected(self) -> None:
        """Waits until the process that was just started has a stream."""
        wait_for("the handshake", lambda: self.books.now.streams > 0)

    def _becomes_equal(self, runs: Callable[[], bool] | None = None) -> None:
        """Waits until the store holds what the API says, and no more."""
        truth = self._manager.everything()
        runs = runs or (lambda: self.books.runs)

        def equal() -> bool:
            expect(runs(), "the subscriber has ended")
            return not self.books.in_snapshot_with() and self.books.held() == truth

        try:
            wait_for("the store holds what the API says", equal)
        except Failed as failed:
            raise Failed(f"{failed}: {difference(truth, self.books.held())}") from failed

    def _reset_now_and_then(self, stop: threading.Event) -> None:
        while not stop.wait(0.25):
            self._proxy.reset_all()

    def _change_until(self, product: Product, stop: threading.Event) -> None:
        while not stop.wait(0.01):
            product.change_something()

    def _in_parallel(self, work: Callable[[Product], None], times: int) -> None:
        def all_of(product: Product) -> None:
            for _ in range(times):
                work(product)

        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(all_of, self._managers))

    def _say(self, name: str, text: str) -> None:
        print(f"python      {name}: {text}", flush=True)


def end_server(pid_file: Path, number: int) -> None:
    """Ends the server by a signal, and waits for the next one."""
    old = pid_file.read_text(encoding="utf-8")
    os.kill(int(old), number)
    wait_for("the server", lambda: pid_file.read_text(encoding="utf-8") != old)


def difference(truth: dict[str, tuple[int, str]], held: dict[str, tuple[int, str]]) -> str:
    """In numbers, and one of each kind by its id."""
    missing = [key for key in truth if key not in held]
    beyond = [key for key in held if key not in truth]
    other = [key for key in truth if key in held and truth[key] != held[key]]
    parts: Sequence[tuple[str, list[str]]] = (
        ("missing", missing), ("too many", beyond), ("different", other)
    )
    return ", ".join(f"{len(keys)} {name} {keys[:1]}" for name, keys in parts)


def main() -> int:
    if sys.argv[1:2] == ["subscriber"]:
        return subscriber_process()
    parser = argparse.ArgumentParser(description="Tests the worked subscriber.")
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
            # Begun first: a token takes its time to expire.
            tokens = None
            if args.token_records is not None:
                key, beside = args.signing_key, Path(folder) / "tokens"
                tokens = Tokens(args.token_records, args.concord, key, beside)
                runs.append(tokens.books)
                tokens.start()
            check.run()
            if tokens is not None:
                tokens.finish()
        except Failed as failed:
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
