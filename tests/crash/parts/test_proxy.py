"""Tests of the harness: the proxy's effects on connections."""

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.support.sessions.proxy import Address, Proxy, proxying, spoil
from tests.support.waiting import until_now


class _Echo(socketserver.BaseRequestHandler):
    """Sends received octets back, after its server's name."""

    def handle(self) -> None:
        try:
            while data := self.request.recv(65_536):
                self.request.sendall(self.server.name + data)  # type: ignore[attr-defined]  # ours
        except ConnectionError:
            return


@contextmanager
def echo(name: bytes) -> Iterator[Address]:
    """A server on loopback whose answers begin with its name."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Echo) as server:
        server.daemon_threads = True
        server.name = name  # type: ignore[attr-defined]  # our attribute
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield "127.0.0.1", server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with echo(b"one:") as target, proxying(target) as made:
        yield made


def dial(proxy: Proxy, patience: float = 20) -> closing[socket.socket]:
    return closing(socket.create_connection(("127.0.0.1", proxy.port), patience))


def ask(one: socket.socket, said: bytes = b"hello") -> bytes:
    one.sendall(said)
    return one.recv(65_536)


def talk(proxy: Proxy) -> None:
    with dial(proxy) as one:
        for _ in range(3):  # a reset may surface at any of them
            ask(one)


def test_it_passes_what_is_said_and_that_a_side_has_ended(proxy: Proxy) -> None:
    with dial(proxy) as one:
        assert ask(one) == b"one:hello"
        assert proxy.connections == 1
        one.shutdown(socket.SHUT_WR)
        assert one.recv(1) == b""
    until_now(lambda: proxy.connections == 0)


def test_it_cuts(proxy: Proxy) -> None:
    with dial(proxy) as one:
        ask(one)
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            one.recv(1)
    with pytest.raises(ConnectionError):
        talk(proxy)
    proxy.mend()
    with dial(proxy) as one:
        assert ask(one) == b"one:hello"


def test_it_freezes_and_nothing_is_missing_then(proxy: Proxy) -> None:
    with dial(proxy) as one:
        ask(one)
        proxy.freeze()
        one.settimeout(0.2)
        with pytest.raises(TimeoutError):
            ask(one)
        one.settimeout(20)
        proxy.mend()
        assert one.recv(65_536) == b"one:hello"


def test_it_vanishes_and_no_packet_is_acknowledged(proxy: Proxy) -> None:
    with dial(proxy) as one:
        ask(one)
        proxy.vanish()
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 300)
        begun = time.monotonic()
        with pytest.raises(TimeoutError, match="timed out"):  # ETIMEDOUT of the kernel
            ask(one)
        assert time.monotonic() - begun < 15
        with pytest.raises(TimeoutError):
            dial(proxy, 0.3)
        proxy.mend()
    with dial(proxy) as one:
        assert ask(one) == b"one:hello"


def test_it_is_slow(proxy: Proxy) -> None:
    proxy.slow(latency=0.1)
    with dial(proxy) as one:
        begun = time.monotonic()
        ask(one)
        assert time.monotonic() - begun >= 0.2


def test_it_corrupts_each_so_manieth_octet(proxy: Proxy) -> None:
    assert spoil(b"aaaa", 0, 3) == b"aaqa"
    assert spoil(b"aaaa", 4, 3) == b"aqaa"
    assert spoil(b"", 4, 3) == b""
    proxy.corrupt(5)
    with dial(proxy) as one:
        assert ask(one) == b"one:xello"
    proxy.mend()
    with dial(proxy) as one:
        assert ask(one) == b"one:hello"


@pytest.mark.parametrize("fencing", [False, True])
def test_it_leads_elsewhere_with_fencing_and_without(proxy: Proxy, *, fencing: bool) -> None:
    with echo(b"two:") as other, dial(proxy) as old:
        ask(old)
        proxy.point(other, fencing=fencing)
        with dial(proxy) as new:
            assert ask(new) == b"two:hello"
        if fencing:
            with pytest.raises(ConnectionError):
                ask(old)
        else:
            assert ask(old) == b"one:hello"


def test_a_target_that_is_not_there_is_a_broken_connection(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        nobody = found.getsockname()
    proxy.point(nobody, fencing=False)
    with pytest.raises(ConnectionError):
        talk(proxy)
