"""Reply `421 4.3.0` of a worker that waits for the store; better than no answer.

The peer keeps its mail and tries again, or tries another machine of ours (RFC 5321 §3.8).  If
another worker of this machine works, the connections are left to it.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from relay.connection.limits import LINGER_SECONDS
from relay.server.listen_socket import BACKLOG
from relay.smtp.reply import Reply

LOOK_SECONDS: Final = 0.5  # between two looks for another worker that works
MAX_CONNECTIONS: Final = (
    100  # connections answered at the same time; further connections are aborted
)
_AWAY: Final = Reply(421, "4.3.0", "Mail store unavailable, try again later")


@dataclass(slots=True)
class StartupResponder:
    """Replies 421 on the listening sockets while no other worker serves them.

    The sockets themselves stay open.
    """

    sockets: Sequence[socket.socket]
    others: Callable[[], bool]  # whether another worker of this machine works
    _task: asyncio.Task[None] | None = None
    _told: set[asyncio.StreamWriter] = field(default_factory=set)
    _servers: list[asyncio.Server] = field(default_factory=list)

    @property
    def answers(self) -> bool:
        """Whether it replies now."""
        return bool(self._servers)

    def begin(self) -> None:
        """Start to reply."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def end(self) -> None:
        """Stop.  Connections already accepted still get their reply."""
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
            copy = one.dup()  # the server closes the copy; the original stays open
            server = await asyncio.start_server(self._tell, sock=copy, backlog=BACKLOG)
            self._servers.append(server)

    def _close(self) -> None:
        while self._servers:
            self._servers.pop().close()

    async def _tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._told) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._told.add(writer)
        try:
            # Read to EOF first: a close with unread octets makes TCP drop our reply.
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(LINGER_SECONDS):
                    writer.write(f"{_AWAY}\r\n".encode())
                    writer.write_eof()
                    while await reader.read(4096):
                        pass
        finally:
            writer.transport.abort()
            self._told.discard(writer)
