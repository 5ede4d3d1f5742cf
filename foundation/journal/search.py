"""Search of the trace journal for a session or message (DOMAIN §9.59).

An identifier contains its time (RFC 9562 §5.7), so only the hours that may mention it are read.
They are searched as octets; only lines with an identifier are parsed. Where those hours say nothing
(pruned, or on another machine), all later hours are read. An identifier from the future was made by
a clock that was ahead: all hours are read. An incomplete event, such as the last line of a killed
process, is skipped.
"""

import json
import mmap
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from foundation.ids import parse_id, time_of
from foundation.journal.files import hours

SESSION_LIFE: Final = timedelta(hours=25)  # longest life of a session
CLOCKS: Final = timedelta(minutes=10)  # tolerance: two events may be out of order by this much
_HOUR: Final = timedelta(hours=1)
_STEP: Final = timedelta(days=7)  # length of each further search for a message older than its life
_FIRST: Final = datetime(1, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 31, tzinfo=UTC)
_ENDS: Final = frozenset({"queue.dropped", "queue.forgotten"})


@dataclass(frozen=True, slots=True)
class Event:
    """An event of the journal; `facts` are the other members of its line."""

    at: datetime
    name: str
    facts: Mapping[str, Any]

    @property
    def session(self) -> str:
        """The event's session, '' if none."""
        return _identifier(self.facts.get("session"))

    @property
    def message(self) -> str:
        """The event's message, '' if none."""
        return _identifier(self.facts.get("message"))

    @property
    def messages(self) -> frozenset[str]:
        """The event's messages: the received message, and receipts and reports about it."""
        about = (_identifier(self.facts.get(name)) for name in ("message", "receipt", "report"))
        return frozenset(filter(None, about))


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Result of a search: events by time, and the range of time that was searched, None if none."""

    events: tuple[Event, ...]
    searched: tuple[datetime, datetime] | None


def find(folder: Path, identifier: str, now: datetime, life: timedelta) -> SearchResult:
    """Find all events of a session and its messages, or of a message and its session.

    `life` is the longest stay of a message in the queue. The search goes on beyond it if nothing is
    found, or if a delivery has not ended: a held delivery, or a failed delivery that may be
    retried. Raises OSError.
    """
    search = _Search(folder, now)
    since = time_of(identifier)
    direct = search.collect({identifier}, since, life)
    while since < now - life and (not direct or _unended(direct)):
        direct += search.collect({identifier}, since + life, _STEP)
        since += _STEP
    if any(identifier in event.messages for event in direct):
        for session in sorted({event.session for event in direct} - {"", identifier}):
            # Other messages of the session do not belong to the result.
            search.collect(
                {session},
                time_of(session),
                SESSION_LIFE,
                lambda event: event.messages <= {identifier},
            )
    elif messages := frozenset[str]().union(*(event.messages for event in direct)):
        times = [time_of(message) for message in messages]
        search.collect(messages, min(times), max(times) - min(times) + life)
    return search.result()


def _unended(events: Collection[Event]) -> bool:
    """True if any delivery in the events is neither delivered nor out of the queue."""
    seen = {event.facts.get("delivery") for event in events}
    ended = {
        event.facts.get("delivery")
        for event in events
        if event.name in _ENDS or event.facts.get("state") == "delivered"
    }
    return bool(seen - ended - {None})


class _Search:
    def __init__(self, folder: Path, now: datetime) -> None:
        self._hours = hours(folder)
        self._now = now
        self._found: dict[tuple[Path, int], Event] = {}
        self._read: set[datetime] = set()

    def collect(
        self,
        wanted: Collection[str],
        since: datetime,
        span: timedelta,
        fits: Callable[[Event], bool] = lambda _: True,
    ) -> list[Event]:
        """Find the events of sessions or messages in a span; a session's end ends the search."""
        # Identifiers of a session or a day have a common prefix, which makes the search fast.
        pattern = re.compile(b"|".join(key.encode() for key in sorted(wanted)))
        # The clock was ahead when the identifier was made and may have been corrected at any time
        # since.
        ahead = since > self._now + CLOCKS
        begin = _FIRST if ahead else since - CLOCKS
        until = _LAST if ahead else min(since + span, self._now) + CLOCKS
        events = []
        for hour in self._hours:
            if hour.begins + _HOUR < begin:
                continue
            if hour.begins > until:
                break
            self._read.add(hour.begins)
            for offset, line in _lines(hour.path, pattern):
                event = read_event(line)
                if event is None or not {event.session, *event.messages} & set(wanted):
                    continue
                if event.session in wanted and not ahead:
                    over = event.name == "session.closed"
                    until = min(until, event.at + CLOCKS if over else since + SESSION_LIFE)
                if fits(event):
                    self._found[hour.path, offset] = event
                    events.append(event)
        return events

    def result(self) -> SearchResult:
        events = sorted(self._found.items(), key=lambda item: (item[1].at, item[0]))
        searched = (min(self._read), max(self._read) + _HOUR) if self._read else None
        return SearchResult(tuple(event for _, event in events), searched)


def _lines(path: Path, pattern: re.Pattern[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the matching lines of a file with their offsets; none if the file was pruned."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        if not file.seek(0, 2):
            return  # an empty file cannot be mapped
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as octets:
            position = 0
            while match := pattern.search(octets, position):
                begin = octets.rfind(b"\n", 0, match.start()) + 1
                end = octets.find(b"\n", match.end())
                position = len(octets) if end < 0 else end
                yield begin, octets[begin:position]


def read_event(line: bytes) -> Event | None:
    """Parse a line; None if it is not an event."""
    try:
        facts = json.loads(line)
        at, name = datetime.fromisoformat(facts.pop("at")), facts.pop("event")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return Event(at, str(name), facts) if at.tzinfo is not None else None


def _identifier(value: object) -> str:
    try:
        return parse_id(value) if isinstance(value, str) else ""
    except ValueError:
        return ""
