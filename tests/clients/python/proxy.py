"""A small TCP proxy that injects faults into connections, for the test."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

CHUNK = 4096
# With a linger of zero seconds a closed socket sends a reset, like a router that has
# lost the state of the connection: data in flight is dropped.
NO_LINGER = struct.pack("ii", 1, 0)


class Pair:
    """The two sides of one connection."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self._writers = writers
        self.flowing = asyncio.Event()
        self.flowing.set()

    def reset(self) -> None:
        for writer in self._writers:
            raw: socket.socket | None = writer.get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            writer.transport.abort()


class Proxy:
    """Forwards connections to a target, and injects faults on request."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._pairs: set[Pair] = set()
        self._bytes_per_second = 0
        self._resets = 0
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        server = self._on_loop(self._listen())
        self.address = "127.0.0.1:%d" % server.sockets[0].getsockname()[1]

    @property
    def resets(self) -> int:
        """The number of connections that were reset."""
        return self._resets

    def reset_all(self) -> int:
        """Resets every open connection, and returns their number."""
        return self._on_loop(self._for_all(Pair.reset))

    def freeze_all(self) -> int:
        """Stops forwarding on all open connections without closing them, and returns
        their number. New connections are not affected."""
        return self._on_loop(self._for_all(lambda pair: pair.flowing.clear()))

    def throttle(self, bytes_per_second: int) -> None:
        """Limits the rate of the data from the target; 0 removes the limit."""
        self._bytes_per_second = bytes_per_second

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _for_all(self, what: Callable[[Pair], None]) -> int:
        pairs = list(self._pairs)
        for pair in pairs:
            what(pair)
        if what is Pair.reset:
            self._resets += len(pairs)
        return len(pairs)

    async def _serve(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        try:
            far, to_far = await asyncio.open_connection(*self._target)
        except OSError:
            Pair(to_near).reset()
            return
        pair = Pair(to_near, to_far)
        self._pairs.add(pair)
        try:
            up = asyncio.create_task(self._pump(near, to_far, pair, slow=False))
            down = asyncio.create_task(self._pump(far, to_near, pair, slow=True))
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            up.cancel()
            down.cancel()
        finally:
            self._pairs.discard(pair)
            to_near.close()
            to_far.close()

    async def _pump(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        pair: Pair,
        slow: bool,
    ) -> None:
        try:
            while data := await source.read(CHUNK):
                await pair.flowing.wait()
                if slow and self._bytes_per_second:
                    await asyncio.sleep(len(data) / self._bytes_per_second)
                sink.write(data)
                await sink.drain()
        except OSError:
            # One side has closed; the caller closes the other one.
            return
