"""Limits of the admin HTTP: clients cannot exhaust the maintenance process.

uvicorn has no timeout for an incomplete request or an unread answer, and no limit of connections;
each connection takes a descriptor of the process that fetches the lists.  Here the life and the
number of connections are limited.  Beyond the limit the oldest connection without a complete
request is closed, so that a scrape or a probe always gets an answer.
"""

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

MAX_CONNECTIONS: Final = 32  # connections at once
REQUEST_SECONDS: Final = 10.0  # life of a connection; an answer in progress may still finish
LAST_SECONDS: Final = 60.0  # absolute limit of its life
MAX_REQUEST: Final = 16 * 1024  # octets of a request line with its headers


class GuardedHttp(H11Protocol):
    """uvicorn's HTTP/1.1 with limits of time and number."""

    since = 0.0  # time of accept, by the loop's clock
    cut = False  # aborted; `connection_lost` comes in the next iteration of the loop
    _clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Accept a connection; abort the oldest idle connection if there are too many."""
        super().connection_made(transport)
        self.since = self.loop.time()
        self._clock = self.loop.call_later(REQUEST_SECONDS, self._hurry)
        held = [one for one in self.connections if isinstance(one, GuardedHttp) and not one.cut]
        if len(held) > MAX_CONNECTIONS:
            waiting = [one for one in held if not one.answering]
            oldest = min(waiting, key=lambda one: one.since)
            oldest.cut = True
            oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timer."""
        if self._clock is not None:
            self._clock.cancel()
        super().connection_lost(exc)

    @property
    def answering(self) -> bool:
        """Whether a complete request has no complete answer yet."""
        cycle: RequestResponseCycle | None = self.cycle  # None until the first request
        return cycle is not None and not cycle.response_complete

    def _hurry(self) -> None:
        self._clock = self.loop.call_later(LAST_SECONDS - REQUEST_SECONDS, self.transport.abort)
        if self.answering:
            self.cycle.keep_alive = False
        else:
            self.transport.close()
