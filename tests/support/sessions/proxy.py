"""Proxy on loopback between the daemon and its services, with all faults of a network.

It can cut connections, freeze them (open, but nothing passes), vanish (not even the kernel
answers), be slow, and corrupt answers.  It can be pointed to another server; connections to the old
server are then cut (fencing) or kept.  It runs in its own thread.
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
_PATIENCE: Final = 20.0  # timeout in seconds of a request to the proxy's thread

# A socket filter that drops every packet (Linux, socket(7)): a host that is gone acknowledges none.
_DROP: Final = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
_FILTER: Final = struct.pack("HP", 1, ctypes.addressof(_DROP))
_ATTACH_FILTER: Final = 26
_DETACH_FILTER: Final = 27


def spoil(data: bytes, seen: int, every: int) -> bytes:
    """Flip one bit in each `every`-th octet of a stream, after `seen` octets of it."""
    spoilt = bytearray(data)
    for place in range(every - 1 - seen % every, len(spoilt), every):
        spoilt[place] ^= 0x10
    return bytes(spoilt)


class Proxy:
    """Proxy.  A method returns once its fault is active; the fault lasts until `mend`."""

    def __init__(self, target: Address) -> None:
        self.target = target
        self.taken = 0  # number of connections since the start
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

    # Methods for tests.

    def cut(self) -> None:
        """Reset all connections, and each new connection."""
        self._do(self._refuse)

    def blink(self) -> None:
        """Reset all connections; accept new connections."""
        self._do(self._reset)

    def freeze(self) -> None:
        """Keep all connections, accept new connections, and pass nothing."""
        self._do(self._open.clear)

    def vanish(self) -> None:
        """Answer no packet, also of new connections; `mend` ends all connections."""
        self._do(self._drop)

    def slow(self, *, latency: float = 0.0, rate: float = 0.0) -> None:
        """Delay each piece by `latency` seconds; pass `rate` octets a second (0: no limit)."""
        self._do(lambda: self._pace(latency, rate))

    def corrupt(self, every: int) -> None:
        """Flip a bit in each `every`-th octet of the target's answers.

        Requests stay intact: a real S3 would refuse a wrong signature, but the tests' server does
        not always check it.
        """
        self._do(lambda: self._spoil(every))

    def mend(self) -> None:
        """End the fault; frozen connections continue."""
        self._do(self._mend)

    def point(self, target: Address, *, fencing: bool) -> None:
        """Lead new connections to another target; `fencing` resets those to the old target."""
        self.target = target
        if fencing:
            self.blink()

    def close(self) -> None:
        """Stop the proxy and end all connections."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return len(self._near)

    # Methods for its thread.

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
        with suppress(FileNotFoundError):  # no filter is set
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
                # One side has closed, or the target is gone: the other side must learn of it.
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
        await self._open.wait()  # while frozen, EOF does not pass either
        sink.shutdown(socket.SHUT_WR)


def _reset_at_close(one: socket.socket) -> None:
    """Send RST, not FIN: a client that waits for an answer gets the error at once."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def proxying(target: Address) -> Iterator[Proxy]:
    """Run a proxy to a target."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
