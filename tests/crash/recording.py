"""Reader of the log of tests/support/faults/record.c: a sequence of changes and syncs."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_HEAD: Final = struct.Struct("<IBBHQQI")


@dataclass(frozen=True, slots=True)
class Event:
    """A record. `end` is the octet position of its end in the log: the clock of all events.

    `kind` is that of the C source: o(pen) w(rite) t(runcate) r(ename) l(ink) u(nlink) m(kdir), and
    b(egun), d(one) or x (failed) of a sync, with `how` f(sync), d(atasync) or s(yncfs).
    """

    end: int
    kind: str
    how: str
    inode: int
    number: int
    path: str
    data: bytes

    @property
    def second(self) -> str:
        """The second path of a rename or a link."""
        return self.data.decode()


def events(log: Path) -> Iterator[Event]:
    """All records in order; a last record cut off by a kill is skipped."""
    with log.open("rb") as file:
        end = 0
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            length, kind, how, first, inode, number, second = _HEAD.unpack(head)
            rest = file.read(length - _HEAD.size)
            if len(rest) < first + second:
                return
            end += length
            path, data = rest[:first].decode(), rest[first:]
            yield Event(end, chr(kind), chr(how) if how else "", inode, number, path, data)
