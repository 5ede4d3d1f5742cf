"""The trace journal: every session and decision, who, when, what, reply, failure (DOMAIN §9.59).

Promises: `record` costs microseconds, never waits for the disk and never raises; memory is bounded.
One thread adds what was recorded to the file of the hour, whole lines by one write to a file opened
with O_APPEND, so that processes share a file and no line is torn by another.  A disk in trouble
costs events, never mail: how many is counted, and recorded once writing works again.  It stops
before the room is gone that mail needs.  Events of strangers give way to all others.  Whatever is
recorded, no patient's identifier gets in (`foundation.privacy`): an INS is health data (DOMAIN
§1.5).

A process that is killed loses what it recorded in the last half second.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog

from foundation.journal.files import hour_file
from foundation.privacy import INS_LENGTH, mask, suspicious

_log = structlog.get_logger(__name__)

PAUSE: Final = 0.5  # seconds between two writes, unless much comes
GAP_SECONDS: Final = 60.0  # between two events that tell of lost ones, while writing works
RETRY_SECONDS: Final = 5.0  # after which writing is tried again though nothing comes
BATCH: Final = 256 * 1024  # octets recorded that are written at once
MAX_PENDING: Final = 8 * 1024 * 1024  # octets that may wait for a slow disk; then events are lost
MAX_STRANGERS: Final = 2 * 1024 * 1024  # of these, octets of events of strangers
STALL_SECONDS: Final = 10.0  # for which one write may take, before readiness tells of it
MAX_LINE: Final = 16 * 1024  # octets of an event; longer texts are cut
CLOSE_SECONDS: Final = 5.0  # that `close` waits for a disk that does not answer
CUT: Final = "…[cut]"  # the mark of a text that was longer

# Octets of a text, or of a list's texts together, that are tried in turn on an event too long.
_CUTS: Final = (12_000, 2_000, 300, 40)

_IDENTIFIERS: Final = frozenset({"session", "message"})  # facts that are ids of ours, as promised

_encode: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False, default=str).encode


@dataclass(frozen=True, slots=True)
class Dropped:
    """How many events were lost, by peers or ourselves and by strangers."""

    others: int = 0
    strangers: int = 0

    @property
    def all(self) -> int:
        """Both."""
        return self.others + self.strangers


class Line(NamedTuple):
    """An event as it is written, with its hour; `stranger` if it gives way to others."""

    hour: str
    text: str
    stranger: bool


class Journal:
    """Writes events below `folder`; one for each process, `process` its name in every event.

    Nothing is written where fewer than `floor` octets, and a quarter more, would stay free; of
    strangers nothing where it would be less than half more.  `lost` and `strangers_lost` count the
    events that were not written, by others and by strangers.
    """

    def __init__(
        self, folder: Path, clock: Callable[[], datetime], *, process: str = "", floor: int = 0
    ) -> None:
        self.lost = self.strangers_lost = 0
        self._folder = folder
        self._clock = clock
        self._process = process
        self._floor = floor
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._pending: list[Line] = []
        self._size = 0
        self._strangers_size = 0
        self._told = Dropped()  # the lost events that an event tells of
        self._told_at = -GAP_SECONDS  # monotonic
        self._failing = False
        self._began: float | None = None  # when the write under way did
        self._closed = False
        self._writer = threading.Thread(target=self._run, name="journal", daemon=True)
        self._writer.start()

    @property
    def failing(self) -> bool:
        """Whether events are lost now, or wait for the disk for too long."""
        began = self._began
        return self._failing or (began is not None and time.monotonic() - began > STALL_SECONDS)

    def record(self, event: str, /, **facts: object) -> None:
        """Note an event of now: texts, numbers, lists of texts; empty ones are left out.

        Sessions and messages are found by the facts `session` and `message`, each an id.
        """
        self._take(event, facts, stranger=False)

    def record_stranger(self, event: str, /, **facts: object) -> None:
        """The same for an event by somebody unknown, which is dropped before any other."""
        self._take(event, facts, stranger=True)

    def _take(self, event: str, facts: Mapping[str, object], *, stranger: bool) -> None:
        try:
            at = self._now()
            text = _compose(at, event, self._process, facts)
        except Exception:  # whatever it was given: mail goes on
            at = text = ""
        with self._lock:
            if self._closed:
                return
            if not text or not self._make_room(len(text), stranger=stranger):
                self._lose(stranger=stranger)
                return
            self._pending.append(Line(at[:13], text, stranger))
            self._size += len(text)
            if stranger:
                self._strangers_size += len(text)
            if len(self._pending) == 1 or self._size >= BATCH:
                self._changed.notify()

    def _make_room(self, octets: int, *, stranger: bool) -> bool:
        """Whether so much more may wait; strangers' events go where that makes the room."""
        if stranger and self._strangers_size + octets > MAX_STRANGERS:
            return False
        if self._size + octets <= MAX_PENDING:
            return True
        if stranger or not self._strangers_size:
            return False
        kept = [line for line in self._pending if not line.stranger]
        self.strangers_lost += len(self._pending) - len(kept)
        self._pending, self._size = kept, self._size - self._strangers_size
        self._strangers_size = 0
        return self._size + octets <= MAX_PENDING

    def _lose(self, *, stranger: bool) -> None:
        if stranger:
            self.strangers_lost += 1
        else:
            self.lost += 1

    def close(self) -> None:
        """Write out what is pending; what is recorded later is ignored."""
        with self._lock:
            self._closed = True
            self._changed.notify()
        self._writer.join(CLOSE_SECONDS)

    def _run(self) -> None:
        closed = False
        while not closed:
            with self._lock:
                # A process that has nothing to record must not stay in trouble for ever.
                patience = RETRY_SECONDS if self._failing or self._lost != self._told else None
                self._changed.wait_for(lambda: self._pending or self._closed, patience)
                self._changed.wait_for(lambda: self._size >= BATCH or self._closed, PAUSE)
                batch, self._pending, self._size, self._strangers_size = self._pending, [], 0, 0
                closed = self._closed
                self._began = time.monotonic()
            try:
                self._write_out(batch)
            except Exception:
                # Whatever it was, the next batch must be tried.
                _log.exception("journal.error")
                self._count(batch)
            self._began = None

    def _count(self, batch: Sequence[Line]) -> None:
        strangers = sum(line.stranger for line in batch)
        with self._lock:
            self.strangers_lost += strangers
            self.lost += len(batch) - strangers

    def _write_out(self, batch: Sequence[Line]) -> None:
        """Write a batch, after an event that tells of those that were lost before."""
        spared = self._spared(batch)
        if spared is None:
            return
        due = self._failing or self._closed or time.monotonic() >= self._told_at + GAP_SECONDS
        if self._lost != self._told and due:
            self._tell_lost(self._lost)
        elif self._failing:
            self._append(self._now(), [])  # the end of a line, which tells whether writing works
        for hour, lines in groupby(spared, key=lambda line: line.hour):
            self._count(self._append(hour, list(lines)))

    @property
    def _lost(self) -> Dropped:
        return Dropped(self.lost, self.strangers_lost)

    def _now(self) -> str:
        return self._clock().astimezone(UTC).isoformat(timespec="milliseconds")

    def _tell_lost(self, lost: Dropped) -> None:
        at = self._now()
        facts = {
            "events": lost.all - self._told.all,
            "strangers": lost.strangers - self._told.strangers or None,
        }
        gap = Line(at, _compose(at, "journal.dropped", self._process, facts), stranger=True)
        if not self._append(at, [gap]):
            self._told, self._told_at = lost, time.monotonic()

    def _spared(self, batch: Sequence[Line]) -> Sequence[Line] | None:
        """The lines for which there is room beside what mail needs, None where nothing may be.

        All others are counted.
        """
        if not self._floor:
            return batch
        try:
            disk = os.statvfs(self._folder.parent)
        except OSError:  # the write will tell
            return batch
        free = disk.f_bavail * disk.f_frsize - sum(len(line.text) for line in batch)
        if free < self._floor + self._floor // 4:
            self._count(batch)
            self._fail(f"the disk is nearly full, {free} octets free; the rest is for mail")
            return None
        if free >= self._floor + self._floor // 2:
            return batch
        self._count([line for line in batch if line.stranger])
        return [line for line in batch if not line.stranger]

    def _append(self, hour: str, lines: Sequence[Line]) -> Sequence[Line]:
        """Add whole lines to the file of an hour; returns those that were lost."""
        # Ends the line that a process killed in the middle of a write may have left.
        rest = b"\n" + "".join(line.text for line in lines).encode("ascii")
        try:
            descriptor = _open(hour_file(self._folder, hour))
            try:
                while rest:
                    rest = _left(rest, os.write(descriptor, rest))
            finally:
                os.close(descriptor)
        except OSError as error:
            self._fail(str(error))
            return lines[len(lines) - max(rest.count(b"\n") - 1, 0) :]
        if self._failing:
            _log.warning("journal.writable")
        self._failing = False
        return ()

    def _fail(self, why: str) -> None:
        if not self._failing:
            _log.error("journal.unwritable", why=why)
        self._failing = True


def _open(path: Path) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        for folder in (path.parent.parent, path.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, flags, 0o600)


def _left(octets: bytes, done: int) -> bytes:
    """What is still to be written after `done` octets: whole lines, on a line of their own."""
    if done == len(octets):
        return b""
    # The line that was cut is given up where it stands and written anew.
    return octets[octets.rindex(b"\n", 0, done + 1) :]


def _compose(at: str, event: str, process: str, facts: Mapping[str, object]) -> str:
    """The line of an event, in ASCII.  Raises what facts that are no facts raise."""
    found = {
        "at": at,
        "event": event,
        "process": process,
        **facts,
    }
    found["at"], found["event"] = at, event
    kept = {key: value for key, value in found.items() if value or value == 0}
    line = _encode(kept)
    # A patient's identifier, or what is no character: Python's sign for octets that are not UTF-8.
    if r"\ud" in line or _suspicious(facts):
        line = _encode(_cleaned(json.loads(line)))
    if len(line) >= MAX_LINE:
        line = _shortened(json.loads(line))
    return line + "\n"


def _suspicious(facts: Mapping[str, object]) -> bool:
    """Whether a fact may name a patient: told in a moment, for every event pays for it."""
    for key, value in facts.items():
        if suspicious(key):
            return True
        if type(value) is str:
            if len(value) >= INS_LENGTH and key not in _IDENTIFIERS and suspicious(value):
                return True
        elif type(value) is list:
            for text in value:
                if suspicious(str(text)):
                    return True
        elif type(value) is not int and value is not None and suspicious(str(value)):
            return True
    return False


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return mask(value.encode("utf-8", "replace").decode())
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {_cleaned(key): _cleaned(item) for key, item in value.items()}
    return value


def _shortened(facts: dict[str, Any]) -> str:
    for limit in _CUTS:
        line = _encode({key: _cut(value, limit) for key, value in facts.items()})
        if len(line) < MAX_LINE:
            return line
    # So many facts that they are no event of ours.
    names = ("at", "event", "session", "message")
    return _encode({name: _cut(facts.get(name), _CUTS[-1]) for name in names} | {"cut": CUT})


def _cut(value: Any, limit: int) -> Any:
    """A text or a list of texts, at most `limit` octets of it; a list loses its middle."""
    if isinstance(value, str):
        return value if len(value) <= limit else value[:limit] + CUT
    if not isinstance(value, list):
        return value
    texts = [_cut(str(text), limit // 4) for text in value]
    if sum(map(len, texts)) <= limit:
        return texts
    head, tail = _fitting(texts, limit // 2), _fitting(texts[::-1], limit // 2)
    left_out = len(texts) - head - tail
    return [*texts[:head], f"…[{left_out} cut]", *texts[len(texts) - tail :]]


def _fitting(texts: list[str], limit: int) -> int:
    """How many of the first texts fit into `limit`."""
    total = 0
    for number, text in enumerate(texts):
        total += len(text)
        if total > limit:
            return number
    return len(texts)
