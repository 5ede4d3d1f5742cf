"""The reply of a worker that cannot begin its work yet: `421 4.3.0`, better than no answer.

A peer that is told so keeps its mail and tries again, or another of our machines (RFC 5321 §3.8).
Where another worker of this machine is at its work, connections are left to that one.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from relay.connection.limits import LINGER_SECONDS
from relay.server.listen_socket import BACKLOG
from relay.smtp.errors import Reply

LOOK_SECONDS: Final = 0.5  # between two looks whether somebody else is at work
MOST: Final = 100  # connections that are told at once; more are cut
_AWAY: Final = Reply(421, "4.3.0", "Mail store unavailable, try again later")


@dataclass(slots=True)
class TurningAway:
    """Answers on listening sockets, which stay open, while nobody else does."""

    sockets: Sequence[socket.socket]
    others: Callable[[], bool]  # whether another worker is at its work
    _task: asyncio.Task[None] | None = None
    _told: set[asyncio.StreamWriter] = field(default_factory=set)
    _servers: list[asyncio.Server] = field(default_factory=list)

    @property
    def answers(self) -> bool:
        """Whether it does now."""
        return bool(self._servers)

    def begin(self) -> None:
        """Answer from now on."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def end(self) -> None:
        """Answer no more; who was accepted is still told."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        try:
            while True:
                if self.others():
                    self._close()
                elif not self._servers:
                    await self._open()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._close()

    async def _open(self) -> None:
        for one in self.sockets:
            copy = one.dup()  # closed with its server, other than what it is a copy of
            server = await asyncio.start_server(self._tell, sock=copy, backlog=BACKLOG)
            self._servers.append(server)

    def _close(self) -> None:
        while self._servers:
            self._servers.pop().close()

    async def _tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._told) >= MOST:
            writer.transport.abort()
            return
        self._told.add(writer)
        try:
            # Closed at once with octets of the peer unread, TCP would throw our reply away.
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(LINGER_SECONDS):
                    writer.write(f"{_AWAY}\r\n".encode())
                    writer.write_eof()
                    while await reader.read(4096):
                        pass
        finally:
            writer.transport.abort()
            self._told.discard(writer)
