"""Tiers of tests, and what tests may not do."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.rules import needs
from tests.support.rules.guard import Forbidden, guarded
from tests.support.rules.tiers import TIERS, file_tier, tier_of

TESTS = Path(__file__).parents[2]
NOWHERE = ("192.0.2.1", 9)  # RFC 5737 §3


def test_each_file_is_in_the_folder_of_a_tier() -> None:
    files = [path.relative_to(TESTS.parent) for path in TESTS.rglob("test_*.py")]
    assert len(files) > 200
    assert [path for path in files if path.parts[1] not in TIERS] == []
    assert {file_tier(path) for path in files} == set(TIERS)


def test_the_folder_is_the_tier() -> None:
    assert tier_of(Path("tests/interop/test_x.py"), (), ()) == "interop"
    assert tier_of(Path("tests/integration/relay/test_x.py"), (), ()) == "integration"
    assert tier_of(Path("tests/unit/relay/test_x.py"), (), ()) == "unit"
    assert tier_of(Path("test_x.py"), (), ()) == "integration"


def test_packages_of_tests_are_packages_of_the_product() -> None:
    ours = TESTS / "unit"
    folders = [path for path in ours.rglob("*") if path.is_dir() and path.name != "__pycache__"]
    names = {str(path.relative_to(ours)) for path in folders} - {"project"}
    assert len(names) > 30
    assert {name for name in names if not (TESTS.parent / name).is_dir()} == set()


def test_who_needs_a_server_is_no_unit_test() -> None:
    path = Path("tests/unit/mailstore/test_x.py")
    assert tier_of(path, ("database", "dialect"), ("sqlite",)) == "unit"
    assert tier_of(path, ("database", "dialect"), ("postgresql",)) == "integration"
    assert tier_of(path, ("store",), (("bucket", "plain"),)) == "integration"
    assert tier_of(path, ("own_server",), ()) == "integration"


def test_most_files_are_of_unit_tests() -> None:
    files = [path.relative_to(TESTS.parent) for path in TESTS.rglob("test_*.py")]
    assert sum(file_tier(path) == "unit" for path in files) > len(files) / 2


def _connect() -> None:
    with socket.socket() as client:
        client.connect(NOWHERE)


def _bind() -> None:
    with socket.socket() as server:
        server.bind(("0.0.0.0", 0))  # noqa: S104 - nobody listens


def _send() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"?", NOWHERE)


@pytest.mark.parametrize("reach", [_connect, _bind, _send])
def test_nothing_beyond_loopback_is_reached(reach: Callable[[], None]) -> None:
    with guarded(processes=True) as refused:
        with pytest.raises(Forbidden, match="stay on loopback"):
            reach()
        assert len(refused) == 1


def test_a_test_that_says_so_binds_elsewhere_and_no_more() -> None:
    with guarded(processes=True, binds=True) as refused:
        _bind()
        assert refused == []
        for reach in (_connect, _send):
            with pytest.raises(Forbidden, match="stay on loopback"):
                reach()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_is_free(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with guarded(processes=False) as refused, socket.socket(family, socket.SOCK_DGRAM) as free:
        free.bind((address, 0))
        assert refused == []


def test_a_unit_test_starts_no_process() -> None:
    with guarded(processes=False) as refused:
        with pytest.raises(Forbidden, match="starts no process"):
            subprocess.run((sys.executable, "-c", ""), check=True)
        assert len(refused) == 1


def test_of_the_packages_that_are_lacking_those_are_told_that_could_be_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(needs, "_offered", {"swaks", "prometheus"}.__contains__)
    swaks = needs.program("swaks with TLS", "swaks libnet-ssleay-perl")
    assert needs.forgotten(swaks) == "swaks"
    promtool = needs.program("promtool", "promtool (Debian 13) or prometheus", "make setup")
    assert needs.forgotten(promtool) == "prometheus"
    assert needs.forgotten(needs.program("clamd", "clamav-daemon")) == ""
    assert needs.forgotten("SQLite has one writer at a time") == ""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert needs.forgotten(swaks) == ""
    assert needs.forgotten(needs.installed("sslyze", "tools/install.sh .venv")) == "sslyze"
