"""Where in the queue to look next, so that every destination and sender comes round.  Pure.

A round visits each destination for which mail of a class waits, a few at a look, those of people
and of programs in turns.  A destination with many senders goes on in the next round where this one
left it.  One that is passed over, since it has no place free or enough is known for it, comes round
again as soon as one of its deliveries has ended.  After a round that brought nothing new there is
none until `begin`.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final

from relay.queue.model import Traffic, Visit

VISITS: Final = 8  # destinations that are read at one look


@dataclass(slots=True)
class Feeding:
    """Rounds over the destinations."""

    due: bool = True  # a round is to begin
    _round: deque[tuple[Traffic, str]] = field(default_factory=deque)
    _passed: set[tuple[Traffic, str]] = field(default_factory=set)
    _left_at: dict[tuple[Traffic, str], str] = field(default_factory=dict)
    _news: int = 0

    @property
    def rests(self) -> bool:
        """Whether there is nothing to visit."""
        return not self.due and not self._round

    def begin(self) -> None:
        """Let a round begin, after one that is under way."""
        if self._round:
            self._news += 1
        else:
            self.due = True

    def visits(self, wanted: Callable[[Traffic, str], bool]) -> list[Visit]:
        """The next destinations of the round, those that are not wanted passed over."""
        found: list[Visit] = []
        while self._round and len(found) < VISITS:
            traffic, domain = self._round.popleft()
            if wanted(traffic, domain):
                found.append(Visit(traffic, domain, self._left_at.get((traffic, domain))))
            else:
                self._passed.add((traffic, domain))
        return found

    def freed(self, domain: str) -> None:
        """Let a destination come round again if it was passed over: a delivery to it ended."""
        for traffic in Traffic:
            if (traffic, domain) in self._passed:
                self._passed.remove((traffic, domain))
                self._round.append((traffic, domain))

    def visited(self, visit: Visit, last: str | None) -> None:
        """Note the sender that was read last, None where there were no more."""
        if last is None:
            self._left_at.pop((visit.traffic, visit.domain), None)
        else:
            self._left_at[visit.traffic, visit.domain] = last

    def learned(self, lanes: Mapping[Traffic, Sequence[str]] | None, news: int) -> None:
        """Note what a look brought: the destinations of a new round, if one is due; and news."""
        self._news += news
        if lanes is not None:
            columns = [[(traffic, domain) for domain in names] for traffic, names in lanes.items()]
            self._round = deque(one for row in zip_longest(*columns) for one in row if one)
            self._passed.clear()
            known = set(self._round)
            self._left_at = {k: v for k, v in self._left_at.items() if k in known}
            self._news = 0
            self.due = False
        elif not self._round and self._news:
            self.due = True
