"""Standard error of a process: writes never block, never raise, are bounded and counted."""

import gc
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import structlog
from structlog.testing import capture_logs

from mssante_operator import log_writer, logs
from mssante_operator.log_writer import MAX_PENDING, LogWriter
from tests.support.waiting import until_now


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for end in (reader, writer):
        os.close(end)


def fill(writer: int) -> int:
    """Write until a pipe is full; returns the number of octets."""
    os.set_blocking(writer, False)
    total = 0
    try:
        while True:
            total += os.write(writer, b"#" * 1024)
    except BlockingIOError:
        os.set_blocking(writer, True)
        return total


def test_lines_come_whole_and_in_order(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        writer = LogWriter(file.fileno())
        threads = [
            threading.Thread(
                target=lambda who=who: [writer.write(f"{who} {n} é\udcff\n") for n in range(2000)]
            )
            for who in "abc"
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        writer.finish()
        print("still", file=writer)  # a late line
        writer.finish()
    lines = (tmp_path / "log").read_text().splitlines()
    for who in "abc":
        found = [line for line in lines if line.startswith(who)]
        assert found == [f"{who} {n} é\\udcff" for n in range(2000)]
    assert lines[-1] == "still"
    assert (writer.lost_lines, writer.failing) == (0, False)


def test_a_reader_that_stalls_costs_no_time_and_bounded_memory(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, end = pipe
    monkeypatch.setattr(log_writer, "CLOSE_SECONDS", 0.01)
    monkeypatch.setattr(log_writer, "STALL_SECONDS", 0.0)
    before = fill(end)
    writer = LogWriter(end)
    writer.write("first\n")
    until_now(lambda: writer.failing)
    begun, line = time.monotonic(), "x" * 999 + "\n"
    for _ in range(5000):
        writer.write(line)
    writer.finish()
    assert time.monotonic() - begun < 5
    assert writer.lost_lines == 5000 - MAX_PENDING // 1000
    told, octets = 0, b""
    with capture_logs() as found:
        while len(octets) < before + len("first\n") + (5000 - writer.lost_lines) * 1000:
            octets += os.read(reader, 65_536)
        until_now(lambda: len(found) > 0)
        told = found[0]["lines"]
    assert (found[0]["event"], told) == ("log.dropped", writer.lost_lines)
    assert octets[before:].splitlines()[0] == b"first"
    until_now(lambda: not writer.failing)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_descriptor_that_does_not_wait_loses_nothing(
    pipe: tuple[int, int], blocking: bool
) -> None:
    # Another program that shares standard error may have set O_NONBLOCK on it.
    reader, end = pipe
    os.set_blocking(end, blocking)
    writer = LogWriter(end)
    wanted = "".join(f"{number}\n" for number in range(100_000))
    for number in range(100_000):
        writer.write(f"{number}\n")
    octets = b""
    while len(octets) < len(wanted):
        octets += os.read(reader, 65_536)
    writer.finish()
    assert octets.decode() == wanted
    assert writer.lost_lines == 0


def test_a_device_without_room_and_a_descriptor_that_is_none() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    writers = [LogWriter(full), LogWriter(9999)]
    for writer in writers:
        writer.write("a\nb\n")
        writer.finish()
        assert writer.lost_lines == 2
        assert writer.failing
        assert not writer.isatty()
    os.close(full)


def test_a_line_that_was_torn_is_ended_once_there_is_room(tmp_path: Path) -> None:
    script_file = tmp_path / "log"
    with script_file.open("wb", buffering=0) as file:
        writer = LogWriter(file.fileno())
        writer._torn = True  # as after a short write before an error
        writer.write("whole\n")
        writer.finish()
    assert script_file.read_text() == "\nwhole\n"


def test_what_is_collected_in_the_middle_may_write_too(pipe: tuple[int, int]) -> None:
    reader, end = pipe
    writer = LogWriter(end)

    class Last:
        circle: object = None

        def __del__(self) -> None:
            writer.write("last words\n")

    with writer._changed:  # as in the middle of a write
        one = Last()
        one.circle = one
        del one
        gc.collect()
    writer.finish()
    assert os.read(reader, 100) == b"last words\n"


def test_no_call_of_a_logger_raises(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    class Mute:
        def __repr__(self) -> str:
            raise OSError("no")

    reader, end = pipe
    os.close(reader)
    with os.fdopen(os.dup(end), "w") as broken:
        monkeypatch.setattr(sys, "stderr", broken)
        try:
            for style in ("json", "console"):
                logs.configure("info", style)
                structlog.get_logger().info("broken pipe")
                structlog.get_logger().error("no fact", what=Mute())
                structlog.get_logger().bind(a=1).exception("no exception", endless=Mute())
        finally:
            structlog.reset_defaults()
        with pytest.raises(BrokenPipeError):
            broken.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), broken.fileno())
    os.dup2(os.open(os.devnull, os.O_RDONLY), reader)


def test_a_command_s_error_goes_through_it(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Click tests whether a file takes octets by writing some.
    reader, end = pipe
    writer = LogWriter(end)
    monkeypatch.setattr(sys, "stderr", writer)
    click.echo("mssante: no", err=True)
    writer.finish()
    assert os.read(reader, 100) == b"mssante: no\n"
    with pytest.raises(TypeError):
        writer.write(b"octets")  # type: ignore[arg-type]  # as click does
