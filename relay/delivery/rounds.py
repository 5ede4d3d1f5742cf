"""Rounds over the destinations with waiting mail, so that each destination is read in turn.  Pure.

A round visits each destination and class once, a few at each read, interactive and bulk in turns.
A destination with many senders continues in the next round at the sender where this round stopped.
A destination skipped because its window is full, or because enough of its deliveries are cached, is
re-queued when one of its attempts ends.  After a round without new deliveries, no round starts
until `begin`.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final

from relay.queue.model import Traffic, Visit

VISITS: Final = 8  # destinations per read


@dataclass(slots=True)
class DestinationRounds:
    """Rounds over the destinations."""

    due: bool = True  # a round must begin
    _round: deque[tuple[Traffic, str]] = field(default_factory=deque)
    _skipped: set[tuple[Traffic, str]] = field(default_factory=set)
    _left_at: dict[tuple[Traffic, str], str] = field(default_factory=dict)
    _news: int = 0

    @property
    def rests(self) -> bool:
        """Whether there is no destination to visit."""
        return not self.due and not self._round

    def begin(self) -> None:
        """Begin a round; during a round, begin another after it."""
        if self._round:
            self._news += 1
        else:
            self.due = True

    def visits(self, wanted: Callable[[Traffic, str], bool]) -> list[Visit]:
        """Return the next destinations of the round; skip unwanted destinations."""
        found: list[Visit] = []
        while self._round and len(found) < VISITS:
            traffic, domain = self._round.popleft()
            if wanted(traffic, domain):
                found.append(Visit(traffic, domain, self._left_at.get((traffic, domain))))
            else:
                self._skipped.add((traffic, domain))
        return found

    def requeue(self, domain: str) -> None:
        """Re-queue a skipped destination: one of its attempts has ended."""
        for traffic in Traffic:
            if (traffic, domain) in self._skipped:
                self._skipped.remove((traffic, domain))
                self._round.append((traffic, domain))

    def note_visit(self, visit: Visit, last: str | None) -> None:
        """Note the last sender read; None if there are no more senders."""
        if last is None:
            self._left_at.pop((visit.traffic, visit.domain), None)
        else:
            self._left_at[visit.traffic, visit.domain] = last

    def note_read(self, destinations: Mapping[Traffic, Sequence[str]] | None, news: int) -> None:
        """Note the destinations of a new round, if any, and how many deliveries were new."""
        self._news += news
        if destinations is not None:
            columns = [
                [(traffic, domain) for domain in names] for traffic, names in destinations.items()
            ]
            self._round = deque(one for row in zip_longest(*columns) for one in row if one)
            self._skipped.clear()
            known = set(self._round)
            self._left_at = {k: v for k, v in self._left_at.items() if k in known}
            self._news = 0
            self.due = False
        elif not self._round and self._news:
            self.due = True
