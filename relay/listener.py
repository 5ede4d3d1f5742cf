"""The listener: accepts connections on a bound socket, within a limit, and stops without loss.

Each worker process has its own socket on the same port (SO_REUSEPORT); the kernel spreads
connections over them.
"""

import asyncio
import socket

import structlog

from relay.context import SessionContext
from relay.errors import Reply
from relay.session import Session

_log = structlog.get_logger(__name__)

_FULL = Reply(421, "4.3.2", "Too many connections, try again later")
_STOPPING = Reply(421, "4.3.2", "Service is stopping, try again later")


def bind(host: str, port: int, *, share: bool) -> socket.socket:
    """A TCP socket bound to an address, shared with other processes if asked.  Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


class _TurnedAway(asyncio.Protocol):
    """A connection over the limit: told so and closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101  # TCP always is
        transport.write(f"{_FULL}\r\n".encode())
        transport.close()


class Listener:
    """Serves sessions on one socket."""

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self._server: asyncio.Server | None = None

    async def start(self, bound: socket.socket) -> None:
        """Begin to accept connections on `bound`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, sock=bound, backlog=512)

    async def stop(self, grace: float) -> None:
        """Stop accepting, end idle sessions, let transactions finish for `grace` seconds."""
        if self._server is not None:
            self._server.close()
        deadline = asyncio.get_running_loop().time() + grace
        while self._context.sessions:
            for session in [s for s in self._context.sessions if s.idle]:
                session.hang_up(_STOPPING)
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining <= 0:
                break
            await asyncio.sleep(min(0.05, remaining))
        for session in tuple(self._context.sessions):
            session.hang_up(_STOPPING)
        _log.info("listener.stopped", cut_off=len(self._context.sessions))

    def _protocol(self) -> asyncio.Protocol:
        if len(self._context.sessions) >= self._context.limits.max_connections:
            return _TurnedAway()
        return Session(self._context)
