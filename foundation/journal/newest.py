"""Events of the trace journal from the newest to the oldest, for searches that end at a limit.

Files are read backwards, and only lines of the wanted events are looked at, so that memory is
bounded whatever the size of the journal. Processes write their events in turn: two events may be
out of order by `CLOCKS`, and `in_order` puts them right.
"""

import heapq
import mmap
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from foundation.ids import time_of
from foundation.journal.files import HourFile, hours
from foundation.journal.search import CLOCKS, Event, read_event

HOUR: Final = timedelta(hours=1)


def hours_between(folder: Path, since: datetime, until: datetime) -> list[HourFile]:
    """Files with events of a span, the newest first. Raises OSError."""
    begin, end = since - CLOCKS, until + CLOCKS
    return [one for one in reversed(hours(folder)) if begin - HOUR < one.begins <= end]


def newest_events(path: Path, names: Collection[str], needle: bytes = b"") -> Iterator[Event]:
    """Events of these names in a file, the last first; none if the file was pruned.

    `needle`: in lower case; lines without it, whatever their case, are left out. A malformed line
    is skipped. Raises OSError.
    """
    marks = [f'"event":"{name}"'.encode() for name in names]
    for line in _lines_backwards(path, marks):
        if needle in line.lower():
            event = read_event(line)
            if event is not None and event.name in names:
                yield event


def _lines_backwards(path: Path, marks: Sequence[bytes]) -> Iterator[bytes]:
    """Lines with at least one mark, the last first."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        if not file.seek(0, 2):
            return  # an empty file cannot be mapped
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as octets:
            places = [octets.rfind(mark) for mark in marks]
            while (place := max(places)) >= 0:
                begin = octets.rfind(b"\n", 0, place) + 1
                end = octets.find(b"\n", place)
                yield octets[begin : len(octets) if end < 0 else end]
                places = [
                    at if at < begin else octets.rfind(mark, 0, begin)
                    for at, mark in zip(places, marks, strict=True)
                ]


def in_order(events: Iterable[Event]) -> Iterator[tuple[str, Event]]:
    """Events of messages with their identifiers, by identifier, the newest first.

    `events` come the newest first, but for a disorder of `CLOCKS`. Other events are left out.
    """
    waiting: list[tuple[int, str, int, Event]] = []
    for number, event in enumerate(events):
        message = event.message
        if not message:
            continue
        horizon = event.at + CLOCKS
        while waiting and time_of(waiting[0][1]) > horizon:
            yield waiting[0][1], heapq.heappop(waiting)[3]
        heapq.heappush(waiting, (-int(message, 16), message, number, event))
    while waiting:
        yield waiting[0][1], heapq.heappop(waiting)[3]
