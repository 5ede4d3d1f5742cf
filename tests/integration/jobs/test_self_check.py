"""Self-check of readiness: a daemon without an SMTP banner is not ready."""

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mssante_operator.jobs.self_check import CACHE_SECONDS, SelfCheck
from relay.connection.own_port import OwnPort
from tests.support.machines.daemon import Daemon, get, lay_out, served
from tests.support.waiting import until_now


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Server on loopback that answers each connection with `answer`; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    accepted, _ = server.accept()
                except OSError:
                    return
                with accepted:
                    answer(accepted)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def greet(accepted: socket.socket) -> None:
    accepted.sendall(b"220 smtp.a.mssante.fr ESMTP\r\n")
    assert accepted.recv(100) == b"QUIT\r\n"
    accepted.sendall(b"221 2.0.0 Bye\r\n")


def be_silent(accepted: socket.socket) -> None:
    accepted.recv(100)


def close(_: socket.socket) -> None:
    pass


def drip(accepted: socket.socket) -> None:
    accepted.sendall(b"2")
    accepted.recv(100)


def refuse(accepted: socket.socket) -> None:
    accepted.sendall(b"554 5.3.2 No \x1b[2Jservice\r\n")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (greet, ""),
        (close, "closed without an SMTP banner"),
        (be_silent, "no SMTP banner within 0.2 s"),
        (drip, "no SMTP banner within 0.2 s"),
        (refuse, r"wrong SMTP banner '554 5.3.2 No \x1b[2Jservice'"),
    ],
)
def test_each_way_to_answer(answer: Callable[[socket.socket], None], why: str) -> None:
    with answering(answer) as endpoint:
        patience = 10 if answer is greet else 0.2
        found = SelfCheck([endpoint], OwnPort.unknown(), patience=patience).problems()
    told = [f"inbound {endpoint}: {why}; see the log, then restart the daemon"]
    assert found == (told if why else [])


def test_each_address_is_asked_and_named() -> None:
    with answering(greet) as good, answering(close) as bad, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gone = f"127.0.0.1:{unused.getsockname()[1]}"
        found = SelfCheck([good, bad, gone], OwnPort.unknown()).problems()
    assert [one.split(":")[1] for one in found] == [bad.split(":")[1], gone.split(":")[1]]
    assert "Connection refused" in found[1]


def test_it_comes_from_the_port_that_it_announces() -> None:
    port, seen = OwnPort.unknown(), []

    class Known:
        def __init__(self, accepted: socket.socket) -> None:
            self._ends = {"peername": accepted.getpeername(), "sockname": accepted.getsockname()}

        def get_extra_info(self, name: str) -> object:
            return self._ends[name]

    def note(accepted: socket.socket) -> None:
        seen.append(port.is_from_us(Known(accepted)))
        greet(accepted)

    with answering(note) as endpoint:
        everywhere = f"0.0.0.0:{endpoint.partition(':')[2]}"
        assert SelfCheck([everywhere], port).problems() == []
    assert seen == [True]


def test_asking_often_costs_one_connection() -> None:
    now, accepted = [0.0], []

    def count(one: socket.socket) -> None:
        accepted.append(one)
        greet(one)

    with answering(count) as endpoint:
        check = SelfCheck([endpoint], OwnPort.unknown(), monotonic=lambda: now[0])
        for _ in range(100):
            assert check.problems() == []
        assert len(accepted) == 1
        now[0] = CACHE_SECONDS
        assert check.problems() == []
    assert len(accepted) == 2


def test_who_asks_meanwhile_does_not_wait() -> None:
    now, first, go_on = [0.0], threading.Event(), threading.Event()

    def hold(accepted: socket.socket) -> None:
        if now[0]:
            first.set()
            go_on.wait(20)
        greet(accepted)

    with answering(hold) as endpoint:
        check = SelfCheck([endpoint], OwnPort.unknown(), patience=20, monotonic=lambda: now[0])
        assert check.problems() == []
        now[0] = CACHE_SECONDS
        asking = threading.Thread(target=check.problems)
        asking.start()
        assert first.wait(20)
        assert check.problems() == []  # the last answer, while the new check is in progress
        go_on.set()
        asking.join()


def test_a_port_that_the_system_chose_is_not_asked() -> None:
    assert SelfCheck(["127.0.0.1:0"], OwnPort.unknown()).problems() == []


def ready(daemon: Daemon) -> tuple[int, list[str]]:
    status, text = get(daemon, "/readyz")
    return status, json.loads(text)["problems"]


def test_a_daemon_whose_workers_hang_is_not_ready(tmp_path: Path) -> None:
    laid_out = lay_out(tmp_path, "a", workers=1)
    text = laid_out.config.read_text()
    laid_out.config.write_text(text.replace("[process]\n", "[process]\nsilent_seconds = 600\n"))
    with served(laid_out) as daemon:
        until_now(lambda: ready(daemon) == (200, []))
        (worker,) = daemon.processes("worker")
        os.kill(worker, signal.SIGSTOP)
        try:
            until_now(lambda: ready(daemon)[0] == 503, patience=40)
            why = "no SMTP banner within 5 s; see the log, then restart the daemon"
            assert ready(daemon)[1] == [f"inbound {daemon.endpoint}: {why}"]
        finally:
            os.kill(worker, signal.SIGCONT)
        until_now(lambda: ready(daemon) == (200, []), patience=40)
        traced = "".join(path.read_text() for path in daemon.folder.rglob("*.jsonl"))
    assert daemon.events("session.cut") == []
    # None, except on a slow machine: connections given up before the worker accepted them.
    assert traced.count('"session.opened"') <= traced.count('"session.closed"') <= 4
