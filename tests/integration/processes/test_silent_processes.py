"""A live process that does nothing is found, logged, killed and replaced; others are left alone.

docs/decisions/0067.  The daemon is real, with the shortest `process.silent_seconds`.
"""

import os
import signal
import smtplib
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from foundation.failpoints import VARIABLE
from tests.support.machines.daemon import Daemon, client, get, served
from tests.support.machines.processes import state_of
from tests.support.machines.reloading import begun, change, operator, wait
from tests.support.waiting import until_now

LIMIT = 2.0  # seconds
SENDER, RECIPIENT = "durand@b.mssante.fr", "claire.martin@a.mssante.fr"


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    found = operator(tmp_path / "a", "a")
    change(found, "process", workers="1", silent_seconds=str(LIMIT))
    return found


def send(daemon: Daemon, subject: str) -> None:
    text = f"From: <{SENDER}>\r\nSubject: {subject}\r\n\r\nBonjour\r\n"
    with client(daemon, "b") as smtp:
        smtp.sendmail(SENDER, [RECIPIENT], text.encode())


def subjects(daemon: Daemon) -> list[str]:
    """Identifiers of the messages in the mailbox, in the order of arrival."""
    bodies = [daemon.body(entry).decode() for entry in daemon.entries(RECIPIENT)]
    return [body.partition("Subject: ")[2].partition("\r\n")[0] for body in bodies]


def only(pids: set[int]) -> int:
    (one,) = pids
    return one


def stop(*pids: int) -> None:
    """Send SIGSTOP, and wait until the process is stopped."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    until_now(lambda: all(state_of(pid) == "T" for pid in pids))


def go_on(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def silent(daemon: Daemon) -> dict[str, int]:
    """Role and pid of silent processes, from the log."""
    return {one["role"]: one["pid"] for one in daemon.events("process.silent")}


def counted(daemon: Daemon) -> dict[str, str]:
    name = "mssante_processes_silent_total{role="
    lines = [line for line in get(daemon, "/metrics")[1].splitlines() if line.startswith(name)]
    return {line.split('"')[1]: line.split()[1] for line in lines}


def test_processes_of_every_role_that_are_stopped_are_replaced(daemon: Daemon) -> None:
    with served(daemon):
        send(daemon, "before")
        assert set(counted(daemon).values()) == {"0.0"}
        old = {r: only(daemon.processes(r)) for r in ("worker", "courier", "maintenance")}
        old["launcher"] = only(
            daemon.processes("launcher")
        )  # without the supervisor no process is replaced
        stop(*old.values())
        wait(daemon, "process.silent", 4)
        assert silent(daemon) == old
        for told in daemon.events("process.silent"):
            assert told["seconds"] >= LIMIT
            assert told["state"] == "stopped"
            assert told["stack"] == []
            assert "no stack: stopped by a signal" in told["detail"]
        until_now(lambda: len(daemon.processes()) == 3)
        assert daemon.processes().isdisjoint(old.values())
        send(daemon, "after")
        until_now(lambda: counted(daemon) == dict.fromkeys(old, "1.0"))
        assert {(one["role"], one["code"]) for one in daemon.events("process.died")} == {
            (role, -signal.SIGKILL) for role in old
        }
        assert daemon.stop() == 0
    assert subjects(daemon) == ["before", "after"]


def test_a_blocked_event_loop_is_told_of_with_its_stack(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "hang@message.whole:2")
    with served(daemon):
        worker = only(daemon.processes("worker"))
        send(daemon, "taken")
        with pytest.raises(smtplib.SMTPServerDisconnected):
            send(daemon, "not taken")
        wait(daemon, "process.silent")
        [told] = daemon.events("process.silent")
        assert (told["role"], told["pid"]) == ("worker", worker)
        functions = [frame.split()[1] for frame in told["stack"]]
        assert functions[:2] == ["_hang", "_crash"]
        assert told["stack"][0].startswith("foundation/failpoints.py:")
        assert any(frame.startswith("relay/server/session.py:") for frame in told["stack"])
        assert told["threads"]
        assert "taken" not in str(told)
        send(daemon, "taken again")
        assert only(daemon.processes("worker")) != worker
        assert counted(daemon)["worker"] == "1.0"
    assert subjects(daemon) == ["taken", "taken again"]


def test_nobody_is_killed_who_answers_or_cannot_be_asked(daemon: Daemon) -> None:
    with served(daemon):
        assert daemon.process is not None
        before, supervisor = daemon.processes(), daemon.process.pid
        # Blocked several times, each time for less than the limit.
        for _ in range(3):
            stop(*before)
            time.sleep(0.4 * LIMIT)
            go_on(*before)
            time.sleep(0.2 * LIMIT)
        # Threads wait for the database.
        database = daemon.folder / "data" / "mssante.db"
        with closing(sqlite3.connect(database, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            with client(daemon, "b") as smtp:
                smtp.ehlo()
                smtp.mail(SENDER)
                smtp.rcpt(RECIPIENT)
                smtp.docmd("DATA")
                smtp.send(b"Subject: late\r\n\r\n.\r\n")
                time.sleep(1.3 * LIMIT)
                holder.execute("ROLLBACK")
                assert smtp.getreply()[0] in {250, 451}
        # The supervisor was stopped as well, with an open question.
        stop(*before)
        time.sleep(0.3 * LIMIT)
        stop(supervisor)
        time.sleep(1.3 * LIMIT)
        go_on(supervisor, *before)
        # Only the supervisor was stopped.
        stop(supervisor)
        time.sleep(1.3 * LIMIT)
        go_on(supervisor)
        time.sleep(1.3 * LIMIT)
        send(daemon, "at last")
        assert daemon.processes() == before
        assert silent(daemon) == {}
        assert daemon.events("process.died") == []


def test_one_that_leaves_may_take_its_time_but_must_answer(daemon: Daemon) -> None:
    with served(daemon):
        old = only(daemon.processes("worker"))
        with begun(daemon):
            daemon.hang_up()
            until_now(lambda: len(daemon.processes("maintenance")) == 2)
            until_now(lambda: len(daemon.processes("maintenance")) == 1)
            time.sleep(1.3 * LIMIT)
            assert old in daemon.processes("worker"), "its peer is not done"
            assert silent(daemon) == {}
            begin = time.monotonic()
            stop(old)
            wait(daemon, "reload.done")
            assert time.monotonic() - begin < 25, "not by the deadline for leaving, which is 30 s"
        assert silent(daemon) == {"worker": old}
        assert daemon.events("process.stuck") == []
        send(daemon, "after")
        assert daemon.stop() == 0
