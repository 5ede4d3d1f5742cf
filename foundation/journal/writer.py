"""Trace journal: all sessions and decisions: who, when, what, reply, failure (DOMAIN §9.59).

- `record` costs microseconds, never waits for the disk and never raises. Memory is bounded.
- A single thread appends to the file of the hour: whole lines, a single write, O_APPEND. So
  processes share a file, and no process tears the lines of another.
- A failing disk costs events, never mail. Lost events are counted; the count is recorded when
  writing works again. Writing stops while the remaining disk space is needed for mail.
- Strangers' events are dropped before all others.
- Patients' identifiers are masked in all events (`foundation.privacy`): an INS is health data
  (DOMAIN §1.5).

A killed process loses the events of its last half second.
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

PAUSE: Final = 0.5  # seconds between two writes, unless a batch is full
GAP_SECONDS: Final = 60.0  # between two `journal.dropped` events, while writing works
RETRY_SECONDS: Final = 5.0  # pause of a failing writer before the next try, even without new events
BATCH: Final = 256 * 1024  # pending octets that start a write at once
MAX_PENDING: Final = 8 * 1024 * 1024  # most octets waiting for a slow disk; further events are lost
MAX_STRANGERS: Final = 2 * 1024 * 1024  # octets of MAX_PENDING for strangers' events
STALL_SECONDS: Final = 10.0  # longest write before `failing` is true
MAX_LINE: Final = 16 * 1024  # octets of an event; longer texts are cut
CLOSE_SECONDS: Final = 5.0  # longest wait of `close` for the disk
CUT: Final = "…[cut]"  # mark at the end of a text that was cut

# Limits in octets of a text, or of the texts of a list together; tried in turn on a long event.
_CUTS: Final = (12_000, 2_000, 300, 40)

# Facts that hold our identifiers and digests.
_IDENTIFIERS: Final = frozenset({"session", "message", "message_id_digest"})

_encode: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False, default=str).encode


@dataclass(frozen=True, slots=True)
class DroppedLines:
    """Number of lost events, of others (peers and ourselves) and of strangers."""

    others: int = 0
    strangers: int = 0

    @property
    def all(self) -> int:
        """Sum of both."""
        return self.others + self.strangers


class JournalLine(NamedTuple):
    """An encoded event with its hour; `stranger`: dropped before others."""

    hour: str
    text: str
    stranger: bool


class Journal:
    """Writes events below `folder`, once per process; `process` is its name in every event.

    Free disk space, in octets: nothing is written below 1.25 times `floor`, no strangers' events
    below 1.5 times `floor`. `lost_events` and `lost_stranger_events` count the unwritten events of
    others and of strangers.
    """

    def __init__(
        self, folder: Path, clock: Callable[[], datetime], *, process: str = "", floor: int = 0
    ) -> None:
        self.lost_events = self.lost_stranger_events = 0
        self._folder = folder
        self._clock = clock
        self._process = process
        self._floor = floor
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._pending: list[JournalLine] = []
        self._size = 0
        self._strangers_size = 0
        self._told = DroppedLines()  # lost events already reported by an event
        self._told_at = -GAP_SECONDS  # monotonic
        self._failing = False
        self._began: float | None = None  # start of the current write
        self._closed = False
        self._writer = threading.Thread(target=self._run, name="journal", daemon=True)
        self._writer.start()

    @property
    def failing(self) -> bool:
        """True if events are lost now, or wait too long for the disk."""
        began = self._began
        return self._failing or (began is not None and time.monotonic() - began > STALL_SECONDS)

    def record(self, event: str, /, **facts: object) -> None:
        """Record an event: texts, numbers, lists of texts; empty facts are left out.

        Sessions and messages are found by the facts `session` and `message`, each an identifier.
        """
        self._take(event, facts, stranger=False)

    def record_stranger(self, event: str, /, **facts: object) -> None:
        """Record an event of a stranger, which is dropped before any other."""
        self._take(event, facts, stranger=True)

    def _take(self, event: str, facts: Mapping[str, object], *, stranger: bool) -> None:
        try:
            at = self._now()
            text = _compose(at, event, self._process, facts)
        except Exception:  # invalid facts must not stop mail
            at = text = ""
        with self._lock:
            if self._closed:
                return
            if not text or not self._make_room(len(text), stranger=stranger):
                self._lose(stranger=stranger)
                return
            self._pending.append(JournalLine(at[:13], text, stranger))
            self._size += len(text)
            if stranger:
                self._strangers_size += len(text)
            if len(self._pending) == 1 or self._size >= BATCH:
                self._changed.notify()

    def _make_room(self, octets: int, *, stranger: bool) -> bool:
        """True if `octets` more may wait; pending strangers' events are dropped to make room."""
        if stranger and self._strangers_size + octets > MAX_STRANGERS:
            return False
        if self._size + octets <= MAX_PENDING:
            return True
        if stranger or not self._strangers_size:
            return False
        kept = [line for line in self._pending if not line.stranger]
        self.lost_stranger_events += len(self._pending) - len(kept)
        self._pending, self._size = kept, self._size - self._strangers_size
        self._strangers_size = 0
        return self._size + octets <= MAX_PENDING

    def _lose(self, *, stranger: bool) -> None:
        if stranger:
            self.lost_stranger_events += 1
        else:
            self.lost_events += 1

    def close(self) -> None:
        """Write the pending events and stop; later events are ignored."""
        with self._lock:
            self._closed = True
            self._changed.notify()
        self._writer.join(CLOSE_SECONDS)

    def _run(self) -> None:
        closed = False
        while not closed:
            with self._lock:
                # A process without new events must leave the failing state too.
                patience = RETRY_SECONDS if self._failing or self._lost != self._told else None
                self._changed.wait_for(lambda: self._pending or self._closed, patience)
                self._changed.wait_for(lambda: self._size >= BATCH or self._closed, PAUSE)
                batch, self._pending, self._size, self._strangers_size = self._pending, [], 0, 0
                closed = self._closed
                self._began = time.monotonic()
            try:
                self._write_out(batch)
            except Exception:
                # Any error: the next batch must still be tried.
                _log.exception("journal.error")
                self._count(batch)
            self._began = None

    def _count(self, batch: Sequence[JournalLine]) -> None:
        strangers = sum(line.stranger for line in batch)
        with self._lock:
            self.lost_stranger_events += strangers
            self.lost_events += len(batch) - strangers

    def _write_out(self, batch: Sequence[JournalLine]) -> None:
        """Write a batch, preceded by the count of events lost before."""
        spared = self._spared(batch)
        if spared is None:
            return
        due = self._failing or self._closed or time.monotonic() >= self._told_at + GAP_SECONDS
        if self._lost != self._told and due:
            self._tell_lost(self._lost)
        elif self._failing:
            self._append(self._now(), [])  # an empty line, to find out if writing works
        for hour, lines in groupby(spared, key=lambda line: line.hour):
            self._count(self._append(hour, list(lines)))

    @property
    def _lost(self) -> DroppedLines:
        return DroppedLines(self.lost_events, self.lost_stranger_events)

    def _now(self) -> str:
        return self._clock().astimezone(UTC).isoformat(timespec="milliseconds")

    def _tell_lost(self, lost: DroppedLines) -> None:
        at = self._now()
        facts = {
            "events": lost.all - self._told.all,
            "strangers": lost.strangers - self._told.strangers or None,
        }
        gap = JournalLine(at, _compose(at, "journal.dropped", self._process, facts), stranger=True)
        if not self._append(at, [gap]):
            self._told, self._told_at = lost, time.monotonic()

    def _spared(self, batch: Sequence[JournalLine]) -> Sequence[JournalLine] | None:
        """Return the lines that leave the space reserved for mail; None: write nothing.

        The other lines are counted as lost.
        """
        if not self._floor:
            return batch
        try:
            disk = os.statvfs(self._folder.parent)
        except OSError:  # the write will report it
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

    def _append(self, hour: str, lines: Sequence[JournalLine]) -> Sequence[JournalLine]:
        """Append whole lines to the file of an hour; return the lost lines."""
        # The leading line end closes a line that a killed process left unfinished.
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
    """Octets still to be written after `done`: whole lines, with a leading line end."""
    if done == len(octets):
        return b""
    # The line that was cut stays unfinished in the file and is written again.
    return octets[octets.rindex(b"\n", 0, done + 1) :]


def _compose(at: str, event: str, process: str, facts: Mapping[str, object]) -> str:
    """Encode an event as an ASCII line. Raises any error of an invalid fact."""
    found = {
        "at": at,
        "event": event,
        "process": process,
        **facts,
    }
    found["at"], found["event"] = at, event
    kept = {key: value for key, value in found.items() if value or value == 0}
    line = _encode(kept)
    # A patient's identifier, or a lone surrogate, Python's sign for octets that are not UTF-8.
    if r"\ud" in line or _suspicious(facts):
        line = _encode(_cleaned(json.loads(line)))
    if len(line) >= MAX_LINE:
        line = _shortened(json.loads(line))
    return line + "\n"


def _suspicious(facts: Mapping[str, object]) -> bool:
    """True if a fact may contain a patient's identifier; fast, because every event pays for it."""
    for key, value in facts.items():
        if key in _IDENTIFIERS and type(value) is str:
            continue
        if len(key) >= INS_LENGTH and suspicious(key):
            return True
        if type(value) is str:
            if len(value) >= INS_LENGTH and suspicious(value):
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
    # Not even short texts fit: too many facts. Keep the main facts.
    names = ("at", "event", "session", "message")
    return _encode({name: _cut(facts.get(name), _CUTS[-1]) for name in names} | {"cut": CUT})


def _cut(value: Any, limit: int) -> Any:
    """Cut a text, or a list of texts, to `limit` octets; a list loses its middle."""
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
    """Number of leading texts that fit into `limit`."""
    total = 0
    for number, text in enumerate(texts):
        total += len(text)
        if total > limit:
            return number
    return len(texts)
