"""Revocation lists obtained: from files, from configured addresses, from distribution points."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mssante_operator import runtime
from mssante_operator.crl_refresh import CrlRefresher
from mssante_operator.settings import Settings, load
from tests.support.daemon import Daemon, federation, lay_out
from whitelist.crl_store import CrlStore
from whitelist.trust import TrustStore

NEVER = 1e9  # a monotonic time after every pause


@contextmanager
def http(answers: dict[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """Serve octets by path over plain HTTP; gives the address and the paths asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = answers.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    """An operator without revocation lists yet."""
    made = lay_out(tmp_path / "a", "a")
    for path in (made.folder / "data" / "crl").iterdir():
        path.unlink()
    return made


def refresher(daemon: Daemon, trust_lines: str) -> CrlRefresher:
    config = daemon.config.read_text()
    lists = 'crl_files = ["pki/root.crl", "pki/intermediate.crl"]'
    assert lists in config
    daemon.config.write_text(config.replace(lists, trust_lines))
    settings = load(daemon.config)
    return _refresher(settings, runtime.open_trust(settings))


def _refresher(settings: Settings, trust: TrustStore) -> CrlRefresher:
    return CrlRefresher(settings, runtime.open_crls(settings, trust), trust)


def lists() -> tuple[bytes, bytes]:
    space = federation().space
    return space.crl(space.hierarchy.root), space.crl(space.hierarchy.intermediate)


def test_from_configured_addresses(daemon: Daemon) -> None:
    root, intermediate = lists()
    with http({"/root.crl": root, "/int.crl": intermediate}) as (address, asked):
        found = refresher(daemon, f'crl_urls = ["{address}/root.crl", "{address}/int.crl"]')
        found.check(0)
        assert len(found.store.current()) == 2
        assert found.problems == {}
        found.check(NEVER)  # nothing is due: nobody is asked
        assert asked == ["/root.crl", "/int.crl"]
    trust = found.trust
    kept = CrlStore(daemon.folder / "data" / "crl", trust.authorities)
    assert len(kept.current()) == 2  # DOMAIN §9.62: on disk


def test_failures_are_said_and_not_hammered(daemon: Daemon) -> None:
    _, intermediate = lists()
    with http({"/bad.crl": intermediate[:-40]}) as (address, asked):
        found = refresher(daemon, f'crl_urls = ["{address}/gone.crl", "{address}/bad.crl"]')
        found.check(0)
        assert set(found.problems) == {f"{address}/gone.crl", f"{address}/bad.crl"}
        found.check(1)
        assert len(asked) == 2
        found.check(NEVER)
        assert len(asked) == 4


def test_a_changed_file_is_read_again(daemon: Daemon) -> None:
    space = federation().space
    found = refresher(daemon, 'crl_files = ["pki/intermediate.crl"]')
    found.check(0)
    (before,) = found.store.current()
    revoked = space.crl(space.hierarchy.intermediate, [federation().operators["c"]])
    (daemon.folder / "pki" / "intermediate.crl").write_bytes(revoked)
    found.check(1)
    (after,) = found.store.current()
    assert after.digest != before.digest
    (daemon.folder / "pki" / "intermediate.crl").write_bytes(lists()[1])  # an older one
    found.check(2)
    assert found.store.current() == (after,)
    assert "older" in next(iter(found.problems.values()))


def test_switched_off_nothing_is_asked(daemon: Daemon) -> None:
    with http({}) as (address, asked):
        off = f'revocation = "off"\ncrl_urls = ["{address}/x.crl"]'
        refresher(daemon, off).check(0)
        assert asked == []
