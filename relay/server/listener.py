"""The listener: accepts connections on a bound socket, within a limit, and stops without loss.

All worker processes accept from the same listening sockets, which the supervisor holds: connections
in a socket's queue outlive any worker (docs/decisions/0014).
"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Final, cast

import structlog

from relay import metrics
from relay.connection.connection_counts import ConnectionCounts
from relay.connection.limits import LINGER_SECONDS
from relay.connection.worker_load import WorkerLoad
from relay.server.context import SessionContext
from relay.server.listen_socket import BACKLOG
from relay.server.session import Session
from relay.smtp.reply import Reply

SessionFactory = Callable[[SessionContext], Session]

_log = structlog.get_logger(__name__)

_FULL = Reply(421, "4.3.2", "Too many connections, try again later")
_FULL_FOR_ADDRESS = Reply(421, "4.3.2", "Too many connections from your address")
_STOPPING = Reply(421, "4.3.2", "Service is stopping, try again later")

# A replaced listener lets its sessions go on for so long: a peer that has just connected can send
# its message, and no handshake is cut off.
SETTLE_SECONDS: Final = 5.0

YIELD_SECONDS: Final = 0.003  # for a worker with sessions to accept a connection first
FULL_SECONDS: Final = 1.0  # until the next try after the system refused to accept
GOODBYE_SECONDS: Final = 1.0  # for a peer to read the last reply, after the grace


class _AcceptedConnection(asyncio.Protocol):
    """Turns a new connection into a session, or refuses it over a limit.

    A refused peer gets the reason and a moment to read it: if we closed at once with octets of the
    peer unread, TCP would throw our reply away.
    """

    def __init__(
        self,
        factory: SessionFactory,
        context: SessionContext,
        ours: SessionContext,
        leaving: set[asyncio.Transport],
    ) -> None:
        self._factory = factory
        self._context = context
        self._ours = ours
        self._leaving = leaving
        self._abort: asyncio.TimerHandle | None = None
        self._stream: asyncio.Transport | None = None  # of a refused connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast("asyncio.Transport", transport)
        address = str((transport.get_extra_info("peername") or ("unknown",))[0])
        own = self._context.own_port.is_from_us(stream)
        over = "" if own else self._context.connection_counts.make_room(address)
        if not over:
            session = self._factory(self._ours if own else self._context)
            stream.set_protocol(session)
            session.connection_made(stream)
            return
        metrics.TURNED_AWAY.labels(over).inc()
        if len(self._leaving) >= self._context.limits.max_connections:
            stream.abort()
            return
        self._leaving.add(stream)
        stream.write(f"{_FULL if over == 'all' else _FULL_FOR_ADDRESS}\r\n".encode())
        stream.write_eof()
        self._stream = stream
        self._abort = asyncio.get_running_loop().call_later(LINGER_SECONDS, stream.abort)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._abort is not None:
            self._abort.cancel()
        if self._stream is not None:
            self._leaving.discard(self._stream)


class Listener:
    """Serves sessions on one socket, alone or beside the listeners of other processes.

    `factory` makes the sessions: of peers, our own users or LMTP.
    """

    def __init__(
        self, factory: SessionFactory, context: SessionContext, load: WorkerLoad | None = None
    ) -> None:
        self._factory = factory
        self._context = context
        # For the daemon's connections to itself, which take no peer's place.
        self._ours = replace(
            context,
            quiet=True,
            connection_counts=ConnectionCounts(context.limits),
            debug_peers=frozenset(),
        )
        self._load = load or WorkerLoad.unshared()
        self._bound: socket.socket | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._coming: set[asyncio.Task[None]] = set()
        self._leaving: set[asyncio.Transport] = set()  # refused, reading the reason

    def start(self, bound: socket.socket) -> None:
        """Begin to accept connections on `bound`, which now belongs to the listener."""
        bound.listen(BACKLOG)
        bound.settimeout(0)
        self._bound = bound
        asyncio.get_running_loop().add_reader(bound, self._arrived, bound)

    async def stop(self, grace: float, hurry: asyncio.Event | None = None) -> None:
        """Stop accepting, end idle sessions, let transactions finish for `grace` seconds.

        With `hurry`, another listener has taken over: until it is set, idle sessions may go on for
        SETTLE_SECONDS, but for no more than half of `grace`.
        """
        self._close()
        if self._coming:  # accepted connections become sessions first
            await asyncio.wait(self._coming)
        now = asyncio.get_running_loop().time()
        deadline = now + grace
        settled = now + min(SETTLE_SECONDS, grace / 2)
        while self._context.connection_counts.sessions:
            at_once = hurry is None or hurry.is_set()
            if at_once or asyncio.get_running_loop().time() >= settled:
                for session in [s for s in self._context.connection_counts.sessions if s.idle]:
                    session.hang_up(_STOPPING)
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining <= 0:
                break
            await asyncio.sleep(min(0.05, remaining))
        cut_off = len(self._context.connection_counts.sessions)
        for session in tuple(self._context.connection_counts.sessions):
            session.hang_up(_STOPPING)
        for session in tuple(self._ours.connection_counts.sessions):
            session.hang_up(_STOPPING)
        await self._let_end(GOODBYE_SECONDS)
        for session in (
            *self._context.connection_counts.sessions,
            *self._ours.connection_counts.sessions,
        ):
            session.drop()
        for stream in self._leaving:
            stream.abort()
        await self._let_end(GOODBYE_SECONDS)
        _log.info("listener.stopped", cut_off=cut_off)

    async def _let_end(self, seconds: float) -> None:
        """Wait until no connection is left and each end is in the journal; at most `seconds`."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self._open():
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                break
            await asyncio.sleep(min(0.01, left))

    def _open(self) -> int:
        """The number of open connections, served or refused."""
        served = self._context.connection_counts.sessions, self._ours.connection_counts.sessions
        return sum(map(len, served)) + len(self._leaving)

    def _close(self) -> None:
        self._load.clear()
        if self._pause is not None:
            self._pause.cancel()
        if self._bound is not None:
            asyncio.get_running_loop().remove_reader(self._bound)
            self._bound.close()
            self._bound = None

    def _arrived(self, bound: socket.socket) -> None:
        """Accept a new connection, at once or, if no other worker does, in a moment."""
        if self._load.should_defer_accept():
            self._rest(bound, YIELD_SECONDS)
        else:
            self._accept(bound)

    def _rest(self, bound: socket.socket, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(bound)
        self._pause = loop.call_later(seconds, self._resume, bound)

    def _resume(self, bound: socket.socket) -> None:
        self._pause = None
        asyncio.get_running_loop().add_reader(bound, self._arrived, bound)
        self._accept(bound)

    def _accept(self, bound: socket.socket) -> None:
        # One at a time: of many connections at once, every process gets its share.
        try:
            stream, _ = bound.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # accepted by another process, or gone
        except OSError as error:  # no descriptor or memory left
            _log.error("listener.cannot_accept", detail=str(error))
            self._rest(bound, FULL_SECONDS)
            return
        self._load.add_coming(1)
        task = asyncio.get_running_loop().create_task(self._connect(stream))
        self._coming.add(task)
        task.add_done_callback(self._connected)

    async def _connect(self, stream: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: _AcceptedConnection(
                    self._factory, self._context, self._ours, self._leaving
                ),
                stream,
            )
        except OSError as error:  # the peer is gone already
            stream.close()
            _log.debug("listener.gone", detail=str(error))

    def _connected(self, task: asyncio.Task[None]) -> None:
        self._coming.discard(task)
        self._load.add_coming(-1)
