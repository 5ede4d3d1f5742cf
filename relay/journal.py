"""The trace journal: every session and decision, who, when, what, reply, failure (DOMAIN §9.59).

Promises: `record` costs microseconds, never waits for the disk and never raises; memory is bounded.
One thread adds what was recorded to the file of the hour, whole lines by one write to a file opened
with O_APPEND, so that processes share a file and no line is torn by another.  A disk in trouble
costs events, never mail: how many is logged, and recorded once writing works again.  Whatever is
recorded, no patient's identifier gets in (`relay.masking`): an INS is health data (DESIGN §3).

A process that is killed loses what it recorded in the last half second.
"""

import json
import os
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import structlog

from relay.journal_folder import hour_file
from relay.masking import INS_LENGTH, mask, suspicious

_log = structlog.get_logger(__name__)

PAUSE: Final = 0.5  # seconds between two writes, unless much comes
BATCH: Final = 256 * 1024  # octets recorded that are written at once
MAX_PENDING: Final = 8 * 1024 * 1024  # octets that may wait for a slow disk; then events are lost
MAX_LINE: Final = 16 * 1024  # octets of an event; longer texts are cut
CLOSE_SECONDS: Final = 5.0  # that `close` waits for a disk that does not answer
CUT: Final = "…[cut]"  # the mark of a text that was longer

# Octets of a text, or of a list's texts together, that are tried in turn on an event too long.
_CUTS: Final = (12_000, 2_000, 300, 40)

_IDENTIFIERS: Final = frozenset({"session", "message"})  # facts that are ids of ours, as promised

_encode: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False, default=str).encode


class Journal:
    """Writes events below `folder`; one for each process, `process` its name in every event."""

    def __init__(self, folder: Path, clock: Callable[[], datetime], *, process: str = "") -> None:
        self._folder = folder
        self._clock = clock
        self._process = process
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._pending: list[tuple[str, str]] = []  # each with its hour
        self._size = 0
        self._dropped = 0
        self._failing = False
        self._closed = False
        self._writer = threading.Thread(target=self._run, name="journal", daemon=True)
        self._writer.start()

    def record(self, event: str, /, **facts: object) -> None:
        """Note an event of now: texts, numbers, lists of texts; empty ones are left out.

        Sessions and messages are found by the facts `session` and `message`, each an id.
        """
        try:
            at = self._clock().astimezone(UTC).isoformat(timespec="milliseconds")
            line = _compose(at, event, self._process, facts)
        except Exception:  # whatever it was given: mail goes on
            at = line = ""
        with self._lock:
            if self._closed:
                return
            if not line or self._size + len(line) > MAX_PENDING:
                self._dropped += 1
                return
            self._pending.append((at[:13], line))
            self._size += len(line)
            if len(self._pending) == 1 or self._size >= BATCH:
                self._changed.notify()

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
                self._changed.wait_for(lambda: self._pending or self._closed)
                self._changed.wait_for(lambda: self._size >= BATCH or self._closed, PAUSE)
                batch, self._pending, self._size = self._pending, [], 0
                lost, self._dropped = self._dropped, 0
                closed = self._closed
            try:
                lost = self._write_out(batch, lost)
            except Exception:
                # Whatever it was, the next batch must be tried.
                _log.exception("journal.error")
                lost += len(batch)
            with self._lock:
                self._dropped += lost

    def _write_out(self, batch: list[tuple[str, str]], lost: int) -> int:
        """Write a batch, after the fact that `lost` events were dropped; returns how many are."""
        if lost:
            at = self._clock().astimezone(UTC).isoformat(timespec="milliseconds")
            gap = _compose(at, "journal.dropped", self._process, {"events": lost})
            if self._append(at, gap.encode("ascii")) == 0:
                lost = 0
        for hour, lines in groupby(batch, key=lambda one: one[0]):
            lost += self._append(hour, "".join(line for _, line in lines).encode("ascii"))
        return lost

    def _append(self, hour: str, octets: bytes) -> int:
        """Add whole lines to the file of an hour; returns how many were lost."""
        # Ends the line that a process killed in the middle of a write may have left.
        rest = b"\n" + octets
        try:
            descriptor = _open(hour_file(self._folder, hour))
            try:
                while rest:
                    rest = _left(rest, os.write(descriptor, rest))
            finally:
                os.close(descriptor)
        except OSError as error:
            if not self._failing:
                _log.error("journal.unwritable", why=str(error))
            self._failing = True
            return max(rest.count(b"\n") - 1, 0)
        if self._failing:
            _log.warning("journal.writable")
        self._failing = False
        return 0


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
    if "patient." in line.lower() or r"\ud" in line or _suspicious(facts):
        line = _encode(_cleaned(json.loads(line)))
    if len(line) >= MAX_LINE:
        line = _shortened(json.loads(line))
    return line + "\n"


def _suspicious(facts: Mapping[str, object]) -> bool:
    """Whether a fact may hold a patient's number: told in a moment, for every event pays for it."""
    for key, value in facts.items():
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
