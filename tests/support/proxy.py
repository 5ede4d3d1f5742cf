"""A proxy on loopback between the daemon and what it needs, with every fault of a network.

It cuts connections, freezes them (they stay, and nothing passes), vanishes without a word (not even
the kernel answers), is slow, and corrupts answers; and it can be pointed to another server, with
the connections to the first one cut (fencing) or living on.  A thread of its own serves it.
"""

import asyncio
import ctypes
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

Address = tuple[str, int]
_PIECE: Final = 64 * 1024  # octets read at once
_PATIENCE: Final = 20.0  # seconds within which the proxy's own thread obeys

# A socket filter that drops every packet (Linux, socket(7)): a host that is gone acknowledges none.
_DROP: Final = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
_FILTER: Final = struct.pack("HP", 1, ctypes.addressof(_DROP))
_ATTACH_FILTER: Final = 26
_DETACH_FILTER: Final = 27


def spoil(data: bytes, seen: int, every: int) -> bytes:
    """Turn one bit of each `every`-th octet of a stream, of which `seen` octets came before."""
    spoilt = bytearray(data)
    for place in range(every - 1 - seen % every, len(spoilt), every):
        spoilt[place] ^= 0x10
    return bytes(spoilt)


class Proxy:
    """Its methods return once what they say is so; each holds until `mend`."""

    def __init__(self, target: Address) -> None:
        self.target = target
        self.taken = 0  # connections, from the beginning on
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._near: set[socket.socket] = set()
        self._far: set[socket.socket] = set()
        self._conversations: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._good()
        self._thread.start()

    def _good(self) -> None:
        self._refusing, self._latency, self._rate, self._every = False, 0.0, 0.0, 0
        self._open.set()

    # What a test does to it.

    def cut(self) -> None:
        """Reset all connections, and new ones as they come."""
        self._do(self._refuse)

    def blink(self) -> None:
        """Reset all connections, and take new ones."""
        self._do(self._reset)

    def freeze(self) -> None:
        """Keep all connections, take new ones, and let nothing pass."""
        self._do(self._open.clear)

    def vanish(self) -> None:
        """Answer no packet, of connections or of new ones; no connection outlives `mend`."""
        self._do(self._drop)

    def slow(self, *, latency: float = 0.0, rate: float = 0.0) -> None:
        """Have each piece late by so many seconds, at so many octets a second (0: no limit)."""
        self._do(lambda: self._pace(latency, rate))

    def corrupt(self, every: int) -> None:
        """Turn a bit in each `every`-th octet of what the target answers.

        What it is asked stays whole: S3 refuses what does not fit its signature, which not every
        server of tests looks at.
        """
        self._do(lambda: self._spoil(every))

    def mend(self) -> None:
        """Be a good network again; what was frozen goes on."""
        self._do(self._mend)

    def point(self, target: Address, *, fencing: bool) -> None:
        """Lead new connections elsewhere; `fencing` resets those that lead to the old target."""
        self.target = target
        if fencing:
            self.blink()

    def close(self) -> None:
        """End it, and all connections."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._near)

    # In its thread.

    def _do(self, act: Callable[[], None]) -> None:
        async def obey() -> None:
            act()

        asyncio.run_coroutine_threadsafe(obey(), self._loop).result(_PATIENCE)

    def _refuse(self) -> None:
        self._refusing = True
        self._reset()

    def _reset(self) -> None:
        for one in self._near | self._far:
            _reset_at_close(one)
        for task in self._conversations:
            task.cancel()

    def _drop(self) -> None:
        for one in (self._listener, *self._near):
            one.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, _FILTER)
        self._open.clear()

    def _pace(self, latency: float, rate: float) -> None:
        self._latency, self._rate = latency, rate

    def _spoil(self, every: int) -> None:
        self._every = every

    def _mend(self) -> None:
        with suppress(FileNotFoundError):  # there is no filter: it had not vanished
            self._listener.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)
            self._reset()
        self._good()

    def _run(self) -> None:
        serving = self._loop.create_task(self._serve())
        self._loop.run_forever()
        tasks = [serving, *self._conversations]
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()
        self._listener.close()

    async def _serve(self) -> None:
        while True:
            near, _ = await self._loop.sock_accept(self._listener)
            self.taken += 1
            task = self._loop.create_task(self._converse(near))
            self._conversations.add(task)
            task.add_done_callback(self._conversations.discard)

    async def _converse(self, near: socket.socket) -> None:
        with near, socket.socket() as far:
            if self._refusing:
                _reset_at_close(near)
                return
            self._near.add(near)
            self._far.add(far)
            try:
                for one in (near, far):
                    one.setblocking(False)
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await self._open.wait()
                await self._loop.sock_connect(far, self.target)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pass(near, far))
                    group.create_task(self._pass(far, near, answers=True))
            except* OSError:
                # Either side has ended it, or the target is not there: so does the other hear.
                _reset_at_close(near)
                _reset_at_close(far)
            finally:
                self._near.discard(near)
                self._far.discard(far)

    async def _pass(
        self, source: socket.socket, sink: socket.socket, *, answers: bool = False
    ) -> None:
        seen = 0
        while data := await self._loop.sock_recv(source, _PIECE):
            await self._open.wait()
            if self._latency or self._rate:
                await asyncio.sleep(self._latency + len(data) / (self._rate or float("inf")))
            every = self._every if answers else 0
            await self._loop.sock_sendall(sink, spoil(data, seen, every) if every else data)
            seen += len(data)
        await self._open.wait()  # nor does an end pass
        sink.shutdown(socket.SHUT_WR)


def _reset_at_close(one: socket.socket) -> None:
    """RST rather than FIN: whoever waits for an answer hears of it at once."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def proxying(target: Address) -> Iterator[Proxy]:
    """Serve a proxy to a target."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
