"""Best-effort information: a daemon that cannot write log, journal or metrics still handles mail.

Standard error is a closed pipe, a pipe with a stopped reader, or a full device; the trace journal
is on a disk that refuses writes.  Mail is answered once, stored once and delivered.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.crash.site import environment
from tests.support.faults import library, missing
from tests.support.machines.daemon import MSSANTE, Daemon, client, get, lay_out, sample
from tests.support.sessions.letters import MARTIN, TEXT
from tests.support.waiting import until_now

PEER = "dr@b.mssante.fr"


def start(daemon: Daemon, errors: int, output: int = subprocess.PIPE) -> None:
    """Start the daemon with a given standard error, and wait until it is ready."""
    daemon.process = subprocess.Popen(
        [*MSSANTE, "--config", str(daemon.config), "serve"],
        stdout=output,
        stderr=errors,
        process_group=0,
    )
    if daemon.process.stdout is None:
        until_now(lambda: ready(daemon), 30)
    else:
        assert daemon.process.stdout.readline().startswith(b"mssante listens on ")


def ready(daemon: Daemon) -> bool:
    with suppress(OSError):
        return get(daemon, "/readyz")[0] == 200
    return False


def warnings(daemon: Daemon) -> list[str]:
    """Warnings of /readyz, which must answer that the daemon is ready."""
    status, text = get(daemon, "/readyz")
    found = json.loads(text)
    assert (status, found["ready"]) == (200, True)
    return [text.partition(":")[0] for text in found["warnings"]]


def stop(daemon: Daemon) -> int:
    """Stop the daemon as a service manager does."""
    process, daemon.process = daemon.process, None
    assert process is not None
    process.send_signal(signal.SIGTERM)
    code = process.wait(30)
    if process.stdout is not None:
        process.stdout.close()
    return code


@pytest.fixture
def operator_a(tmp_path: Path) -> Iterator[Daemon]:
    daemon = lay_out(tmp_path / "a", "a", {"b.mssante.fr": "127.0.0.1:9"}, workers=1)
    text = daemon.config.read_text()
    daemon.config.write_text(text.replace('format = "console"', 'format = "json"'))
    yield daemon
    if daemon.process is not None:
        stop(daemon)


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    try:
        yield reader, writer
    finally:
        for end in (reader, writer):
            with suppress(OSError):
                os.close(end)


def take(daemon: Daemon, number: int) -> None:
    """Send so many messages as a peer; each is acknowledged, and stored once."""
    before = len(daemon.entries(MARTIN))
    begun = time.monotonic()
    with client(daemon, "b") as smtp:
        for _ in range(number):
            assert smtp.sendmail(PEER, [MARTIN], TEXT) == {}
    assert time.monotonic() - begun < 15
    assert len(daemon.entries(MARTIN)) == before + number


def attempt(daemon: Daemon) -> None:
    """Cause an attempt to a peer that does not answer: it is logged and journaled."""
    letter = daemon.folder / "letter.eml"
    letter.write_bytes(TEXT.replace(b"dr@b.mssante.fr", MARTIN.encode()))
    tried = 'mssante_deliveries_deferred_total{operator="smtp.b.mssante.fr",reason="connection"}'

    def attempts() -> float:
        with suppress(StopIteration):
            return sample(daemon, tried)
        return 0.0

    before = attempts()
    daemon.run("message", "send", str(letter), "--from", MARTIN, "--to", PEER)
    until_now(lambda: attempts() > before, 20)


def test_a_log_whose_reader_has_gone(operator_a: Daemon) -> None:
    with pipe() as (reader, writer):
        start(operator_a, writer)
        os.close(writer)
        processes = operator_a.processes()
        take(operator_a, 1)
        os.close(reader)  # from now on each write is EPIPE
        take(operator_a, 3)
        attempt(operator_a)
        until_now(lambda: warnings(operator_a) == ["log"], 20)
        until_now(lambda: sample(operator_a, "mssante_log_lines_lost_total") >= 4)
        until_now(lambda: sample(operator_a, 'mssante_alarm{name="log-lost"}') == 1)
        take(operator_a, 1)
        assert operator_a.processes() == processes
        assert stop(operator_a) == 0


def test_a_log_whose_reader_stalls_and_comes_back(operator_a: Daemon) -> None:
    with pipe() as (reader, writer):
        os.set_blocking(reader, False)
        with suppress(BlockingIOError):
            os.set_blocking(writer, False)
            while os.write(writer, b"#" * 4096):  # the pipe is full before the daemon starts
                pass
        os.set_blocking(writer, True)
        start(operator_a, writer)
        take(operator_a, 3)
        attempt(operator_a)
        until_now(lambda: warnings(operator_a) == ["log"], 20)
        take(operator_a, 1)
        said = b""

        def read() -> bool:
            nonlocal said
            with suppress(BlockingIOError):
                said += os.read(reader, 65_536)
            return said.count(b'"event": "accepted"') == 4

        until_now(read, 20)  # nothing was lost: lines were only buffered
        assert sample(operator_a, "mssante_log_lines_lost_total") == 0
        until_now(lambda: sample(operator_a, 'mssante_information_failing{kind="log"}') == 0, 20)
        assert stop(operator_a) == 0


def test_a_log_and_an_output_without_room(operator_a: Daemon) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        start(operator_a, full, full)
        take(operator_a, 3)
        attempt(operator_a)
        until_now(lambda: warnings(operator_a) == ["log"], 20)
        assert stop(operator_a) == 0
    finally:
        os.close(full)


def test_without_any_standard_descriptors(operator_a: Daemon) -> None:
    # A file opened later would get such a number, and the log would be written into it.
    words = " ".join([*MSSANTE, "--config", str(operator_a.config), "serve"])
    operator_a.process = subprocess.Popen(
        ["/bin/sh", "-c", f"exec {words} <&- >&- 2>&-"], process_group=0
    )
    until_now(lambda: ready(operator_a), 30)
    take(operator_a, 3)
    attempt(operator_a)
    for pid in {operator_a.process.pid, *operator_a.processes()}:
        for number in range(3):
            assert Path(f"/proc/{pid}/fd/{number}").readlink() == Path("/dev/null")
    assert stop(operator_a) == 0
    assert "all bodies are intact" in operator_a.run("store", "check")


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_a_journal_on_a_disk_that_refuses_it(operator_a: Daemon, tmp_path: Path) -> None:
    control, trace = tmp_path / "control", operator_a.folder / "data" / "trace"
    preload = str(library("readonly"))
    with environment(LD_PRELOAD=preload, READONLY=str(control), READONLY_UNDER=str(trace)):
        operator_a.start()
    try:
        take(operator_a, 1)
        control.touch()
        take(operator_a, 3)
        attempt(operator_a)
        until_now(lambda: warnings(operator_a) == ["journal"], 20)
        assert sample(operator_a, 'mssante_journal_events_lost_total{of="peer"}') >= 3
        assert len(operator_a.events("journal.unwritable")) >= 1
        control.unlink()
        take(operator_a, 1)
        until_now(lambda: operator_a.events("journal.writable") != [], 20)
        until_now(
            lambda: (
                '"event":"journal.dropped"' in "".join(map(Path.read_text, trace.rglob("*.jsonl")))
            )
        )
        assert stop(operator_a) == 0
    finally:
        control.unlink(missing_ok=True)


def test_metrics_without_a_folder(operator_a: Daemon) -> None:
    operator_a.start()
    metrics = operator_a.folder / "data" / "run" / "metrics"
    kept = metrics.with_name("away")
    metrics.rename(kept)
    metrics.write_bytes(b"in the way of the next process")
    (worker,) = operator_a.processes("worker")
    os.kill(worker, signal.SIGKILL)
    until_now(lambda: operator_a.processes("worker") not in ({worker}, set()), 30)
    until_now(lambda: len(operator_a.processes("worker")) == 1, 30)
    take(operator_a, 3)
    metrics.unlink()
    kept.rename(metrics)

    def counted() -> bool:
        take(operator_a, 1)
        return sample(operator_a, "mssante_messages_accepted_total") >= 4

    until_now(counted, 30)  # including the time without a file
    assert stop(operator_a) == 0
