"""The choice of the worker that takes a new connection."""

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from relay.connection.worker_load import FEW, WorkerLoad, create_load_file, should_defer_accept
from relay.server.listen_socket import bind
from relay.server.listener import Listener
from relay.server.peer_service import peer_session
from tests.support.machines.operators import HOST, inbound

FREE = 0


def having(*sessions: int | None) -> list[int]:
    """The numbers of workers with these sessions, None for a free slot."""
    return [FREE if one is None else one + 1 for one in sessions]


@pytest.mark.parametrize(
    ("numbers", "who"),
    [
        (having(0), 0),
        (having(0, 0, 0), 0),  # all are empty: the first
        (having(None, 0, 0), 1),
        (having(0, 1), 1),  # the second has few: the second
        (having(0, FEW - 1), 1),
        (having(3, 0), 0),
    ],
)
def test_few_connections_stay_together(numbers: list[int], who: int) -> None:
    taken = [load for load, number in enumerate(numbers) if number]
    assert [load for load in taken if not should_defer_accept(numbers, load)] == [who]


@pytest.mark.parametrize(
    ("numbers", "who"),
    [
        (having(0, FEW), [0]),  # the second has many: the idle first
        (having(3, FEW), [0]),
        (having(4, FEW), [0, 1]),
        (having(40, 19), [1]),
        (having(40, 20), [0, 1]),
        (having(40, None), [0]),
    ],
)
def test_many_are_shared(numbers: list[int], who: list[int]) -> None:
    taken = [load for load, number in enumerate(numbers) if number]
    assert [load for load in taken if not should_defer_accept(numbers, load)] == who


@given(st.lists(st.none() | st.integers(0, 3 * FEW), min_size=1, max_size=6))
def test_somebody_always_takes_it_at_once(sessions: list[int | None]) -> None:
    numbers = having(*sessions)
    taken = [load for load, number in enumerate(numbers) if number]
    assert not taken or not all(should_defer_accept(numbers, load) for load in taken)


@pytest.mark.integration
def test_a_seat_is_free_again_once_its_process_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "seats"
    create_load_file(path)
    script = (
        "import sys; from pathlib import Path\n"
        "from relay.connection.worker_load import WorkerLoad\n"
        "load = WorkerLoad.take(Path(sys.argv[1])); load.set_sessions(3)\n"
        "print(load._mine, flush=True)\n"
        "sys.stdin.read()"
    )

    def other() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", script, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    seats = []
    for _ in range(2):
        with other() as process:
            assert process.stdout is not None
            seats.append(process.stdout.readline())
            process.kill()
    assert seats == [b"0\n", b"0\n"]


def test_where_there_is_no_room_a_worker_goes_without(tmp_path: Path) -> None:
    with capture_logs() as logs:
        load = WorkerLoad.take(tmp_path / "missing" / "seats")
    assert [entry["event"] for entry in logs] == ["seat.none"]
    load.set_sessions(FEW)
    assert not load.should_defer_accept()


def test_a_disk_that_refuses_the_file_keeps_nobody_from_starting(tmp_path: Path) -> None:
    (tmp_path / "seats").mkdir()
    with capture_logs() as logs:
        create_load_file(tmp_path / "seats")
        load = WorkerLoad.take(tmp_path / "seats")
    assert [entry["event"] for entry in logs] == ["seat.none"] * 2
    assert not load.should_defer_accept()


def test_a_file_that_is_too_short_keeps_nobody_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "seats"
    path.write_bytes(b"")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with capture_logs() as logs:
        load = WorkerLoad.take(path)
    assert [entry["event"] for entry in logs] == ["seat.none"]
    assert not load.should_defer_accept()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


async def test_a_worker_without_sessions_leaves_new_ones_to_one_that_has_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.server.listener.YIELD_SECONDS", 60.0)
    numbers = memoryview(bytearray(4 * 2)).cast("I")
    mine, other = WorkerLoad(numbers, 0), WorkerLoad(numbers, 1)
    async with inbound(tmp_path) as server:
        bound = bind(HOST, 0)
        beside = bound.dup()
        beside.settimeout(5)
        listener = Listener(peer_session, server.context, mine)
        listener.start(bound)
        other.set_sessions(1)
        with socket.create_connection(beside.getsockname()) as client:
            accepted, _ = await asyncio.to_thread(beside.accept)
            with accepted:
                assert accepted.getpeername() == client.getsockname()
        beside.close()
        await listener.stop(grace=0)


async def test_what_the_other_does_not_take_is_taken_after_a_moment(tmp_path: Path) -> None:
    # It may be stuck, or its number may be that of a killed process.
    numbers = memoryview(bytearray(4 * 2)).cast("I")
    mine, other = WorkerLoad(numbers, 0), WorkerLoad(numbers, 1)
    async with inbound(tmp_path) as server:
        bound = bind(HOST, 0)
        address = bound.getsockname()
        listener = Listener(peer_session, server.context, mine)
        listener.start(bound)
        other.set_sessions(1)
        reader, writer = await asyncio.open_connection(*address)
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"220 ")
        writer.close()
        await listener.stop(grace=0)
        assert numbers[0] == FREE
