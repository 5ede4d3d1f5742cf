"""Accepting connections from a listening socket that several processes share.

Messages that arrive together share a commit, so that few peers are served best by one process, and
many by all.  No process knows of the others: one that has some company takes the next connection at
once, one that has none or many lets a moment pass in which another may be quicker.  Whoever is busy
is late by itself, and a connection that nobody else wants is taken after that moment.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

import structlog

_log = structlog.get_logger(__name__)

BACKLOG: Final = 512  # connections that may wait to be accepted
COMPANY: Final = 8  # sessions up to which more of them are welcome
_ALONE: Final = 0.001  # seconds that one without any waits
_EACH: Final = 0.0002  # and one with more than enough, for each of them
_LONGEST: Final = 0.005
_NO_MORE: Final = 1.0  # after the system has refused a connection


def reluctance(sessions: int) -> float:
    """Seconds for which a process with so many sessions lets others go first."""
    if sessions == 0:
        return _ALONE
    return 0.0 if sessions < COMPANY else min(_EACH * sessions, _LONGEST)


class Acceptor:
    """Accepts on `bound` for `serve`, which makes a protocol; `count` tells the open sessions."""

    def __init__(
        self,
        bound: socket.socket,
        serve: Callable[[], asyncio.Protocol],
        count: Callable[[], int],
    ) -> None:
        self._bound = bound
        self._serve = serve
        self._count = count
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._coming: set[asyncio.Task[object]] = set()
        bound.settimeout(0)
        bound.listen(BACKLOG)
        self._loop.add_reader(bound, self._ready)

    async def close(self) -> None:
        """Accept no more; what was accepted becomes a session first."""
        if self._bound.fileno() >= 0:
            self._loop.remove_reader(self._bound)
            self._bound.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._coming:
            await asyncio.wait(self._coming)

    def _ready(self) -> None:
        pause = reluctance(self._count() + len(self._coming))
        if pause:
            self._rest(pause)
        else:
            self._accept()

    def _rest(self, seconds: float) -> None:
        self._loop.remove_reader(self._bound)
        self._timer = self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._loop.add_reader(self._bound, self._ready)
        self._accept()

    def _accept(self) -> None:
        try:
            connection, _ = self._bound.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # another was quicker, or the peer has gone
        except OSError as error:
            _log.error("connection.not_accepted", why=str(error))
            self._rest(_NO_MORE)
            return
        coming = self._loop.connect_accepted_socket(self._serve, connection)
        task = self._loop.create_task(coming)
        self._coming.add(task)
        task.add_done_callback(self._coming.discard)
