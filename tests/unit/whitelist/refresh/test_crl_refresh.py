"""Refresh of revocation lists: from files, from configured URLs, from distribution points."""

import errno
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mssante_operator.setup.testbed.ca import issue_crl
from mssante_operator.setup.testbed.certificate_profile import (
    Lifetime,
    RevocationAddresses,
    Subject,
)
from mssante_operator.setup.testbed.credential import Credential
from tests.support.lists.hierarchy import NOW as AT
from tests.support.lists.hierarchy import hierarchy, spare_key, trust
from whitelist.pki import crl_store
from whitelist.pki.crl import RevocationPolicy
from whitelist.pki.crl_store import CrlStore
from whitelist.refresh.crl_refresh import CrlRefresher, CrlSources

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
HALF = timedelta(seconds=30)

Answers = dict[str, bytes | int]


@contextmanager
def http(answers: Answers) -> Iterator[tuple[str, list[str]]]:
    """Serve octets, or a status, by path over HTTP; yields the URL and the requested paths."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            answer = answers.get(self.path, 404)
            body = answer if isinstance(answer, bytes) else b""
            self.send_response(answer if isinstance(answer, int) else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Site:
    """Files of an operator without revocation lists: its own, and its store."""

    own: Path
    store: Path

    def refresher(
        self, *urls: str, files: tuple[Path, ...] = (), interval: timedelta = DAY
    ) -> CrlRefresher:
        sources = CrlSources(files, urls, self.own / "server.pem", interval)
        looking = replace(trust(), revocation=RevocationPolicy.REFUSE)
        return CrlRefresher(sources, CrlStore(self.store, looking.authorities), looking)


def again(found: CrlRefresher) -> CrlRefresher:
    """Refresher of a new process of the same operator, with nothing in memory."""
    store = CrlStore(found.store.folder, found.trust.authorities)
    return CrlRefresher(found.sources, store, found.trust)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "pki").mkdir()
    return Site(tmp_path / "pki", tmp_path / "crl")


def authority(name: str) -> Credential:
    return hierarchy().root if name == "root" else hierarchy().intermediate


def issued(
    name: str = "int", number: int = 1, since: datetime = AT - HOUR, lasts: timedelta = 6 * DAY
) -> bytes:
    """Revocation list of an authority, DER."""
    lifetime = Lifetime(since, since + lasts)
    return issue_crl(authority(name), lifetime, number).public_bytes(Encoding.DER)


def digests(store: CrlStore) -> set[str]:
    return {crl.digest for crl in store.current()}


def numbers(found: CrlRefresher) -> list[int | None]:
    return sorted((crl.number for crl in found.store.current()), key=str)


def test_each_address_is_asked_daily_by_itself(site: Site) -> None:
    answers: Answers = {"/root.crl": issued("root"), "/int.crl": issued()}
    with http(answers) as (address, asked):
        found = site.refresher(f"{address}/root.crl", f"{address}/int.crl")
        found.check(AT)
        assert len(found.store.current()) == 2
        assert found.problems == {}
        del answers["/root.crl"]
        found.check(AT + DAY - MINUTE)  # nothing is due: no request
        assert asked == ["/root.crl", "/int.crl"]
        answers["/int.crl"] = issued(number=2, since=AT)  # published daily, valid for days
        found.check(AT + DAY)
        assert asked[2:] == ["/root.crl", "/int.crl"]
        assert numbers(found) == [1, 2]
        found.check(AT + DAY + HALF)  # only the URL that is due
        assert asked[4:] == ["/root.crl"]
        found.check(AT + DAY + HALF + MINUTE - timedelta(seconds=1))
        assert len(asked) == 5
    kept = CrlStore(site.store, found.trust.authorities)
    assert digests(kept) == digests(found.store)  # DOMAIN §9.62: on disk


def test_how_often_is_for_the_operator_to_say(site: Site) -> None:
    with http({"/int.crl": issued()}) as (address, asked):
        found = site.refresher(f"{address}/int.crl", interval=6 * HOUR)
        for hours in (0, 5, 6, 11, 12):
            found.check(AT + hours * HOUR)
    assert len(asked) == 3


def test_a_restart_does_not_ask_again(site: Site) -> None:
    with http({"/int.crl": issued(), "/bad.crl": 403}) as (address, asked):
        found = site.refresher(f"{address}/int.crl", f"{address}/bad.crl")
        found.check(AT)
        again(found).check(AT + timedelta(seconds=29))
        assert asked == ["/int.crl", "/bad.crl"]
        again(found).check(AT + HALF)
        again(found).check(AT + HALF + timedelta(seconds=59))  # two failures so far
        assert asked[2:] == ["/bad.crl"]
        again(found).check(AT + HALF, by_hand=True)  # by hand there is no pause
        assert asked[3:] == ["/bad.crl"]
        (site.store / "addresses.json").unlink()
        again(found).check(AT + HALF)
        assert len(asked) == 6


BAD: Answers = {
    "answers 403": 403,
    "a web page of 878 octets instead of a revocation list": b"<html>".ljust(878),
    "no readable PEM or DER": issued(number=3, since=AT)[:-40],
    "older than the list number 2": issued(number=1),
    "is over at": issued(number=3, since=AT - 2 * DAY, lasts=DAY),
    "is from after": issued(number=3, since=AT + 2 * DAY),
    "bad-signature": issue_crl(
        Credential(authority("int").certificate, spare_key()),
        Lifetime(AT, AT + DAY),
        9,
    ).public_bytes(Encoding.DER),
}


@pytest.mark.parametrize("said", BAD)
def test_a_bad_answer_leaves_the_list_and_is_followed_up(site: Site, said: str) -> None:
    # DOMAIN U1.3, U7-7: status 200 proves nothing.
    answers: Answers = {"/int.crl": issued(number=2, since=AT - MINUTE)}
    with http(answers) as (address, asked):
        found = site.refresher(f"{address}/int.crl")
        found.check(AT)
        answers["/int.crl"] = BAD[said]
        found.check(AT + DAY)
        assert numbers(found) == numbers(again(found)) == [2]
        assert said in found.problems[f"{address}/int.crl"]
        found.check(AT + DAY + HALF - timedelta(seconds=1))
        assert len(asked) == 2
        answers["/int.crl"] = issued(number=4, since=AT)
        found.check(AT + DAY + HALF)
        assert numbers(found) == [4]
        assert found.problems == {}
        found.check(AT + 2 * DAY)
        assert len(asked) == 3


def test_an_address_that_fails_is_asked_less_and_less_often(site: Site) -> None:
    with http({}) as (address, asked):
        found = site.refresher(f"{address}/gone.crl")
        for seconds in range(0, 6 * 3600, 10):  # at the interval of the maintenance process
            found.check(AT + timedelta(seconds=seconds))
    # After 30 s, 1, 2, 4, 8, 16 min, then each half hour.
    assert 16 <= len(asked) <= 19


def test_addresses_in_certificates_are_asked_too(site: Site) -> None:
    # Ours may be renewed with another address while the process runs.
    with http({"/root.crl": issued("root"), "/int.crl": issued()}) as (address, asked):
        found = site.refresher(f"{address}/root.crl")
        found.check(AT)
        named = RevocationAddresses(crls=(f"{address}/int.crl", f"{address}/root.crl"))
        subject = Subject("smtp.a.mssante.fr", "1750000001", "CHU DE TEST", "Paris (75)")
        own = hierarchy().issue_server(
            subject, [], Lifetime.of_leaf(AT), key=spare_key(), revocation=named
        )
        found.sources.own_certificate.write_bytes(own.certificate_pem)
        assert found.addresses() == (f"{address}/root.crl", f"{address}/int.crl")
        found.check(AT + MINUTE)
        assert asked == ["/root.crl", "/int.crl"]
    assert numbers(found) == [1, 1]


def test_a_changed_file_is_read_again(site: Site) -> None:
    path = site.own / "intermediate.crl"
    path.write_bytes(issued())
    found = site.refresher(files=(path,))
    found.check(AT)
    (before,) = found.store.current()
    path.write_bytes(issued(number=2))
    found.check(AT)
    (after,) = found.store.current()
    assert after.digest != before.digest
    path.write_bytes(issued())  # an older list
    found.check(AT)
    assert found.store.current() == (after,)
    assert "older" in next(iter(found.problems.values()))


def test_a_fault_of_the_disk_of_seconds_loses_no_list(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The file does not change again: only an accepted file counts as read.
    path = site.own / "intermediate.crl"
    path.write_bytes(issued())
    found = site.refresher(files=(path,))
    found.check(AT)
    path.write_bytes(issued(number=2))

    def full(_path: Path, _octets: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(crl_store, "replace_file", full)
        found.check(AT)
        assert "cannot be kept (No space left on device)" in found.problems[str(path)]
        assert numbers(found) == [1]
    found.check(AT + timedelta(seconds=10))
    assert numbers(found) == numbers(again(found)) == [2]
    assert found.problems == {}


def test_a_file_that_was_refused_is_looked_at_again(site: Site) -> None:
    path = site.own / "intermediate.crl"
    path.write_bytes(issued(since=AT + MINUTE))  # for example, our clock is behind
    found = site.refresher(files=(path,))
    found.check(AT)
    assert "from after" in found.problems[str(path)]
    found.check(AT + 2 * MINUTE)
    assert numbers(found) == []
    found.check(AT + 5 * MINUTE)
    assert numbers(found) == [1]
    assert found.problems == {}


def test_a_delta_list_is_ignored_aloud(site: Site) -> None:
    indicator = x509.DeltaCRLIndicator(1)
    delta = issue_crl(
        authority("int"),
        Lifetime(AT, AT + DAY),
        9,
        extensions=(x509.Extension(indicator.oid, critical=True, value=indicator),),
    )
    path = site.own / "intermediate.crl"
    path.write_bytes(delta.public_bytes(Encoding.PEM))
    found = site.refresher(files=(path,))
    found.check(AT)
    assert numbers(found) == []
    assert "a delta list, which is ignored" in found.problems[str(path)]
    assert "fetch the complete list" in found.problems[str(path)]


def test_a_list_that_ran_out_keeps_its_successor_not_out(site: Site) -> None:
    path = site.own / "intermediate.crl"
    path.write_bytes(issued(number=900, lasts=DAY))
    found = site.refresher(files=(path,))
    found.check(AT)
    path.write_bytes(issued(number=1, since=AT))  # an authority set up again: numbers restart at 1
    found.check(AT)
    assert numbers(found) == [900]
    found.check(AT + DAY)
    assert numbers(found) == numbers(again(found)) == [1]


def test_what_is_removed_comes_back_by_itself(site: Site) -> None:
    # Without a restart, and without a moment in which the list is missing.
    path = site.own / "intermediate.crl"
    path.write_bytes(issued(number=2))
    answers: Answers = {"/root.crl": issued("root", number=7)}
    with http(answers) as (address, asked):
        found = site.refresher(f"{address}/root.crl", files=(path,))
        found.check(AT)
        assert numbers(found) == [2, 7]

        # A removal on purpose: the sources' list is used, even an older list.
        path.write_bytes(issued(number=1))
        answers["/root.crl"] = issued("root", number=6)
        shutil.rmtree(site.store)
        found.check(AT + MINUTE)
        assert numbers(found) == numbers(again(found)) == [1, 6]

        # A removal by accident, without a source: restored from memory.
        path.unlink()
        answers["/root.crl"] = 403
        shutil.rmtree(site.store)
        found.check(AT + 2 * MINUTE)
        assert numbers(found) == numbers(again(found)) == [1, 6]
        assert len(asked) == 3


def test_an_older_list_out_of_a_backup_makes_the_sources_be_asked(site: Site) -> None:
    answers: Answers = {"/int.crl": issued(number=1)}
    with http(answers) as (address, asked):
        found = site.refresher(f"{address}/int.crl")
        found.check(AT)
        (path,) = site.store.glob("*.crl")
        backup = path.read_bytes()
        answers["/int.crl"] = issued(number=2, since=AT)
        found.check(AT + DAY)
        path.write_bytes(backup)
        found.check(AT + DAY + HALF)
        assert len(asked) == 3
        assert numbers(found) == numbers(again(found)) == [2]


def test_switched_off_nothing_is_asked(site: Site) -> None:
    with http({}) as (address, asked):
        found = site.refresher(f"{address}/x.crl")
        found.trust = replace(found.trust, revocation=RevocationPolicy.OFF)
        found.check(AT)
        assert asked == []
