"""Ready queue: cache of due deliveries, in the order of their attempts.  Pure.

Interactive mail goes before bulk: bulk gets one attempt in `bulk_every` while interactive mail
waits, and the slots left over.  Within a class, senders take turns, however much mail each has
queued; and a sender's newest mail takes turns with its oldest.  The cache has room for `max_cached`
deliveries of each class; the rest stays in the database.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from relay.queue.model import Due, Traffic

BULK_EVERY: Final = 5
MAX_CACHED: Final = 1000


@dataclass(slots=True)
class _SenderQueue:
    """Cached deliveries of one sender in one class."""

    fresh: deque[Due] = field(default_factory=deque)
    old: deque[Due] = field(default_factory=deque)
    old_next: bool = False

    def take(self, allowed: Callable[[Due], bool]) -> Due | None:
        """Remove and return the next delivery allowed now; None if there is none."""
        sides = (self.old, self.fresh) if self.old_next else (self.fresh, self.old)
        for side in sides:
            for due in side:
                if allowed(due):
                    side.remove(due)
                    self.old_next = side is self.fresh
                    return due
        return None

    def __bool__(self) -> bool:
        return bool(self.fresh or self.old)


class ReadyQueue:
    """Bounded cache of due deliveries, and the choice among them."""

    def __init__(self, *, bulk_every: int = BULK_EVERY, max_cached: int = MAX_CACHED) -> None:
        self._bulk_every = bulk_every
        self._max_cached = max_cached
        self._by_sender: dict[Traffic, OrderedDict[str, _SenderQueue]] = {
            t: OrderedDict() for t in Traffic
        }
        self._known: dict[int, Due] = {}
        self._count = dict.fromkeys(Traffic, 0)
        self._stock: Counter[tuple[Traffic, str]] = Counter()
        self._since_bulk = 0

    def __len__(self) -> int:
        """Number of cached deliveries."""
        return len(self._known)

    def stock(self, traffic: Traffic, domain: str) -> int:
        """Number of cached deliveries of a class for a destination."""
        return self._stock[traffic, domain]

    def add(self, found: Iterable[Due]) -> int:
        """Add due deliveries; return how many were new and had room.

        If the cache is full, a delivery without an attempt so far replaces the oldest such entry,
        because new mail may be for a destination with free slots.  A delivery with earlier attempts
        is not added.
        """
        taken = 0
        for due in found:
            known = self._known.get(due.id)
            if known is not None:
                if (known.domain, known.sender) == (due.domain, due.sender):
                    continue
                self._forget(known)  # after a fail-over the number belongs to another delivery
            if self._count[due.traffic] >= self._max_cached and not (
                due.fresh and self._forget_one(due.traffic)
            ):
                continue
            sender_queue = self._by_sender[due.traffic].setdefault(due.sender, _SenderQueue())
            (sender_queue.fresh if due.fresh else sender_queue.old).append(due)
            self._known[due.id] = due
            self._count[due.traffic] += 1
            self._stock[due.traffic, due.domain] += 1
            taken += 1
        return taken

    def take(self, room: int, bulk_room: int, free_slots: Callable[[Due], int]) -> list[Due]:
        """Take up to `room` deliveries, of them up to `bulk_room` of bulk traffic.

        `free_slots(due)`: how many more deliveries may be in flight to its destination, for its
        class; deliveries taken here count too.
        """
        picked: list[Due] = []
        used: Counter[str] = Counter()
        # Senders whose turn is to come; a sender without an allowed delivery drops out.
        turns = {traffic: deque(senders) for traffic, senders in self._by_sender.items()}
        while len(picked) < room:
            traffic = self._next_class(turns, bulk_room)
            if traffic is None:
                break
            sender = turns[traffic].popleft()
            due = self._by_sender[traffic][sender].take(
                lambda one: used[one.domain] < free_slots(one)
            )
            if due is None:
                continue
            picked.append(due)
            used[due.domain] += 1
            if traffic is Traffic.BULK:
                bulk_room -= 1
                self._since_bulk = 0
            else:
                self._since_bulk += 1
            self._by_sender[traffic].move_to_end(sender)
            self._gone(due)
            if sender in self._by_sender[traffic]:
                turns[traffic].append(sender)
        return picked

    def forget(self, unwanted: Callable[[Due], bool]) -> None:
        """Remove deliveries that must not be tried now."""
        for due in [one for one in self._known.values() if unwanted(one)]:
            self._forget(due)

    def _next_class(self, turns: Mapping[Traffic, deque[str]], bulk_room: int) -> Traffic | None:
        bulk = bool(turns[Traffic.BULK]) and bulk_room > 0
        if turns[Traffic.PERSON] and not (bulk and self._since_bulk >= self._bulk_every - 1):
            return Traffic.PERSON
        return Traffic.BULK if bulk else None

    def _gone(self, due: Due) -> None:
        del self._known[due.id]
        self._count[due.traffic] -= 1
        self._stock[due.traffic, due.domain] -= 1
        if not self._stock[due.traffic, due.domain]:
            del self._stock[due.traffic, due.domain]
        senders = self._by_sender[due.traffic]
        if not senders[due.sender]:
            del senders[due.sender]

    def _forget(self, due: Due) -> None:
        sender_queue = self._by_sender[due.traffic][due.sender]
        (sender_queue.fresh if due in sender_queue.fresh else sender_queue.old).remove(due)
        self._gone(due)

    def _forget_one(self, traffic: Traffic) -> bool:
        for due in self._known.values():
            if due.fresh and due.traffic is traffic:
                self._by_sender[traffic][due.sender].fresh.remove(due)
                self._gone(due)
                return True
        return False
