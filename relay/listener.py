"""The listener: accepts connections on a bound socket, within a limit, and stops without loss.

All worker processes accept from the same listening sockets, which the supervisor holds: what waits
in a socket's queue is nobody's yet, so it outlives any of them (docs/decisions/0014).
"""

import asyncio
import socket
from typing import Final, cast

import structlog

from relay import metrics
from relay.context import SessionContext
from relay.errors import Reply
from relay.limits import LINGER_SECONDS
from relay.session import Session

_log = structlog.get_logger(__name__)

_FULL = Reply(421, "4.3.2", "Too many connections, try again later")
_FULL_FOR_ADDRESS = Reply(421, "4.3.2", "Too many connections from your address")
_STOPPING = Reply(421, "4.3.2", "Service is stopping, try again later")


BACKLOG: Final = 512  # connections that may wait to be accepted

# For which a listener that has been replaced lets its sessions go on: a peer that has just come
# brings its message, and nothing is cut off in the middle of a handshake.
SETTLE_SECONDS: Final = 5.0


def bind(host: str, port: int) -> socket.socket:
    """A TCP socket bound to an address.  Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


class _Door(asyncio.Protocol):
    """Lets a new connection in as a session, or turns it away where it is one too many.

    One that is turned away is told so, and may take a moment to read it: closed at once with octets
    of its own unread, TCP would throw our reply away.
    """

    def __init__(self, context: SessionContext, leaving: "set[_Door]") -> None:
        self._context = context
        self._leaving = leaving
        self._abort: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast("asyncio.Transport", transport)
        address = str((transport.get_extra_info("peername") or ("unknown",))[0])
        over = self._context.occupancy.over(address)
        if not over:
            session = Session(self._context)
            stream.set_protocol(session)
            session.connection_made(stream)
            return
        metrics.TURNED_AWAY.labels(over).inc()
        if len(self._leaving) >= self._context.limits.max_connections:
            stream.abort()
            return
        self._leaving.add(self)
        stream.write(f"{_FULL if over == 'all' else _FULL_FOR_ADDRESS}\r\n".encode())
        stream.write_eof()
        loop = asyncio.get_running_loop()
        self._abort = loop.call_later(LINGER_SECONDS, stream.abort)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._abort is not None:
            self._abort.cancel()
        self._leaving.discard(self)


class Listener:
    """Serves sessions on one socket, alone or beside the listeners of other processes."""

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self._server: asyncio.Server | None = None
        self._leaving: set[_Door] = set()

    async def start(self, bound: socket.socket) -> None:
        """Begin to accept connections on `bound`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, sock=bound, backlog=BACKLOG)

    async def stop(self, grace: float, hurry: asyncio.Event | None = None) -> None:
        """Stop accepting, end idle sessions, let transactions finish for `grace` seconds.

        With `hurry`, another listener has taken over: until that is set, idle sessions are let go
        on for SETTLE_SECONDS, but for no more than half of `grace`.
        """
        if self._server is not None:
            self._server.close()
        await asyncio.sleep(0)  # what was accepted a moment ago becomes a session
        now = asyncio.get_running_loop().time()
        deadline = now + grace
        settled = now + min(SETTLE_SECONDS, grace / 2)
        while self._context.occupancy.sessions:
            at_once = hurry is None or hurry.is_set()
            if at_once or asyncio.get_running_loop().time() >= settled:
                for session in [s for s in self._context.occupancy.sessions if s.idle]:
                    session.hang_up(_STOPPING)
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining <= 0:
                break
            await asyncio.sleep(min(0.05, remaining))
        for session in tuple(self._context.occupancy.sessions):
            session.hang_up(_STOPPING)
        _log.info("listener.stopped", cut_off=len(self._context.occupancy.sessions))

    def _protocol(self) -> asyncio.Protocol:
        return _Door(self._context, self._leaving)
