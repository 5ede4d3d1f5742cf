"""Limits of the admin HTTP: whoever connects there costs the maintenance process little.

uvicorn waits without end for a request to be finished and for its answer to be read, and takes any
number of connections; each holds a descriptor of the process that fetches the lists.  Here a
connection has its time and there are so many; beyond, the oldest that waits for its request is cut,
so that a scrape or a probe is always answered.
"""

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

MOST: Final = 32  # connections at once
REQUEST_SECONDS: Final = 10.0  # for all requests of a connection; one being answered is let finish
LAST_SECONDS: Final = 60.0  # after which it is cut whatever it does
MAX_REQUEST: Final = 16 * 1024  # octets of a request line with its headers


class GuardedHttp(H11Protocol):
    """uvicorn's HTTP/1.1 with an end to patience."""

    since = 0.0  # when it came
    cut = False  # for another's sake, though it is lost only in the next turn of the loop
    _clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Take a connection, at another's cost where there are too many."""
        super().connection_made(transport)
        self.since = self.loop.time()
        self._clock = self.loop.call_later(REQUEST_SECONDS, self._hurry)
        held = [one for one in self.connections if isinstance(one, GuardedHttp) and not one.cut]
        if len(held) > MOST:
            waiting = [one for one in held if not one.answering]
            oldest = min(waiting, key=lambda one: one.since)
            oldest.cut = True
            oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self._clock is not None:
            self._clock.cancel()
        super().connection_lost(exc)

    @property
    def answering(self) -> bool:
        """Whether a request is here whole and its answer is not."""
        cycle: RequestResponseCycle | None = self.cycle  # None until the first request
        return cycle is not None and not cycle.response_complete

    def _hurry(self) -> None:
        self._clock = self.loop.call_later(LAST_SECONDS - REQUEST_SECONDS, self.transport.abort)
        if self.answering:
            self.cycle.keep_alive = False
        else:
            self.transport.close()
