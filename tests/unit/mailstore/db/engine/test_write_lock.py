"""Write lock of SQLite: one process after the other, even if a holder dies or stops."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mailstore.db.database import Database
from mailstore.db.engine.write_lock import NoLock, WriteLock

HOLDER = """\
import sys
from pathlib import Path
from mailstore.db.engine.write_lock import WriteLock
with WriteLock(Path(sys.argv[1]), 10).held():
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[bytes]:
    """Another process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()
    process.wait(20)


@pytest.mark.integration
def test_another_process_waits_until_it_is_handed_on(tmp_path: Path) -> None:
    path = tmp_path / "turn"
    turn, taken = WriteLock(path, 20), threading.Event()
    other = holder(path)

    def take() -> None:
        with turn.held():
            taken.set()

    waiting = threading.Thread(target=take)
    waiting.start()
    assert not taken.wait(0.1)
    end(other)
    assert taken.wait(20)
    waiting.join()
    turn.close()


@pytest.mark.integration
def test_a_process_that_is_killed_hands_it_on(tmp_path: Path) -> None:
    path = tmp_path / "turn"
    other = holder(path)
    other.kill()
    turn = WriteLock(path, 20)
    with turn.held():
        assert turn._file >= 0
    end(other)
    turn.close()


@pytest.mark.integration
def test_who_waited_in_vain_goes_on(tmp_path: Path) -> None:
    # A process stopped while it holds the lock: SQLite's own lock decides then.
    path = tmp_path / "turn"
    other = holder(path)
    turn = WriteLock(path, 0.05)
    with turn.held():
        pass
    end(other)
    with turn.held():  # and does not release another holder's lock at its end
        again = holder_would_wait(path)
    assert again
    turn.close()


def holder_would_wait(path: Path) -> bool:
    other = WriteLock(path, 0.05)
    try:
        return not other._lock(time.monotonic() + 0.05)
    finally:
        other.close()


def test_threads_of_one_process_take_turns_too(tmp_path: Path) -> None:
    turn, inside, most = WriteLock(tmp_path / "turn", 20), [0], [0]

    def work() -> None:
        for _ in range(200):
            with turn.held():
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    turn.close()


def test_it_is_given_back_whatever_happens(tmp_path: Path) -> None:
    turn = WriteLock(tmp_path / "turn", 20)
    with pytest.raises(RuntimeError), turn.held():
        raise RuntimeError
    assert not holder_would_wait(tmp_path / "turn")
    turn.close()


def test_where_no_file_can_be_made_there_is_no_turn_and_no_error(tmp_path: Path) -> None:
    turn, other = (WriteLock(tmp_path / "missing" / "turn", 600) for _ in range(2))
    done = []
    with turn.held(), other.held():  # with the lock this would wait for ten minutes
        done.append("both")
    assert done == ["both"]
    assert not (tmp_path / "missing").exists()
    turn.close()
    other.close()


def test_only_sqlite_takes_turns(database: Database) -> None:
    sqlite = database.url.get_backend_name() == "sqlite"
    assert isinstance(database._turn, WriteLock if sqlite else NoLock)
    with database.write():
        if isinstance(database._turn, WriteLock):
            assert holder_would_wait(database._turn._path)
