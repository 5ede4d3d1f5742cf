"""The perimeter: the list and CRLs in force, their life, and changes during sessions."""

import asyncio
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from relay.policy.trust_state import ListAgeLimits, TrustState
from tests.support.lists.hierarchy import NOW, crl, hierarchy, listed, server, signed_list, trust
from tests.support.machines.perimeters import adopt, fall_behind, trust_state
from tests.support.waiting import until
from whitelist.national.archive import Archive
from whitelist.national.freshness import Freshness
from whitelist.national.lookup import WhiteList
from whitelist.national.newest import ConfirmedList
from whitelist.pki.crl import RevocationPolicy
from whitelist.pki.crl_store import CrlStore
from whitelist.pki.trust_store import ChainStatus

DN = "CN=smtp.b.mssante.fr,OU=1750000001,O=CHU DE TEST,ST=Paris (75),C=FR"
GOOD = signed_list([listed("b.mssante.fr", DN)], NOW - timedelta(hours=1))
AGE_LIMITS = ListAgeLimits(timedelta(hours=24), timedelta(days=7))


class Clock:
    """A clock set by the test."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def in_force(found: TrustState) -> WhiteList:
    white_list = found.snapshot.white_list
    assert white_list is not None
    return white_list


def test_nothing_adopted_is_no_list(tmp_path: Path) -> None:
    # DOMAIN §9.13
    snapshot = trust_state(tmp_path, b"", trust(), lambda: NOW).snapshot
    assert snapshot.white_list is None
    assert "mssante whitelist refresh" in snapshot.problem
    assert snapshot.freshness is Freshness.NONE


def test_a_list_adopted_elsewhere_is_taken_over_while_running(tmp_path: Path) -> None:
    # DOMAIN §9.12: atomic, in every process, without a restart.
    found = trust_state(tmp_path, GOOD, trust(), lambda: NOW)
    newer = signed_list([listed("b.mssante.fr", DN), listed("c.mssante.fr", DN)], NOW)

    async def watch() -> None:
        task = asyncio.create_task(found.watch(0.01))
        adopt(tmp_path, newer, trust(), NOW)
        await until(lambda: bool(in_force(found).names_of("c.mssante.fr")))
        task.cancel()

    asyncio.run(watch())


def test_a_damaged_archive_leaves_the_list_in_force(tmp_path: Path) -> None:
    # DOMAIN §9.5: the loaded list was checked; the file on disk was not.
    found = trust_state(tmp_path, GOOD, trust(), lambda: NOW)
    loaded = in_force(found)
    (tmp_path / "whitelist" / "active.xml").write_bytes(GOOD[:-10])
    found.load()
    assert in_force(found) is loaded


def test_a_damaged_archive_is_no_list_at_start(tmp_path: Path) -> None:
    adopt(tmp_path, GOOD, trust(), NOW)
    (tmp_path / "whitelist" / "active.xml").write_bytes(GOOD[:-10])
    snapshot = trust_state(tmp_path, b"", trust(), lambda: NOW).snapshot
    assert snapshot.white_list is None
    assert snapshot.problem


@pytest.mark.parametrize(
    ("age", "freshness", "usable"),
    [
        (timedelta(0), Freshness.FRESH, True),
        (timedelta(hours=23, minutes=59), Freshness.FRESH, True),
        (timedelta(hours=24), Freshness.STALE, True),
        (timedelta(days=6, hours=23), Freshness.STALE, True),
        (timedelta(days=7), Freshness.EXPIRED, False),
    ],
)
def test_age(tmp_path: Path, age: timedelta, freshness: Freshness, *, usable: bool) -> None:
    # DOMAIN §2.6, §9.12: alarm, then cut-off, only by the passing of time.
    clock = Clock()
    found = trust_state(tmp_path, GOOD, trust(), clock, age_limits=AGE_LIMITS)
    clock.now = NOW + age
    snapshot = found.snapshot
    assert snapshot.freshness is freshness
    assert (snapshot.white_list is not None) is usable
    assert ("expired" in snapshot.problem) is not usable
    assert snapshot.loaded is not None


@pytest.mark.parametrize(
    ("back", "freshness"),
    [
        (timedelta(minutes=5), Freshness.FRESH),  # clocks of one store may differ so much
        (timedelta(days=60), Freshness.STALE),
    ],
)
def test_a_check_by_a_clock_that_was_ahead_ends_no_mail(
    tmp_path: Path, back: timedelta, freshness: Freshness
) -> None:
    # The list is three days old: it was current then, even if the clock was wrong at its check.
    clock = Clock()
    white_list = signed_list([listed("b.mssante.fr", DN)], NOW - timedelta(days=3))
    found = trust_state(tmp_path, white_list, trust(), clock, age_limits=AGE_LIMITS)
    clock.now = NOW - back
    if back > timedelta(days=1):
        clock.now = NOW
        Archive(tmp_path / "whitelist").record_check(NOW + back)
        found.load()
    snapshot = found.snapshot
    assert snapshot.freshness is freshness
    assert snapshot.white_list is not None
    clock.now = NOW + timedelta(days=4, minutes=1)
    if freshness is Freshness.STALE:  # and such a check does not keep a list for ever
        assert found.snapshot.white_list is None
        assert "a time to come: this machine's clock was ahead" in found.snapshot.problem


def test_a_check_makes_it_fresh_again(tmp_path: Path) -> None:
    clock = Clock()
    found = trust_state(tmp_path, GOOD, trust(), clock, age_limits=AGE_LIMITS)
    clock.now = NOW + timedelta(days=8)
    assert found.snapshot.white_list is None
    Archive(tmp_path / "whitelist").record_check(clock.now)
    found.load()
    assert found.snapshot.white_list is not None


def test_the_last_good_list_outlives_its_signer_and_a_restart(tmp_path: Path) -> None:
    # DOMAIN §9.61: the real list's signer expired; its last list serves until it is too old.
    adopt(tmp_path, GOOD, trust(), NOW)
    late = NOW + timedelta(days=5 * 365)
    Archive(tmp_path / "whitelist").record_check(late)
    assert in_force(trust_state(tmp_path, b"", trust(), lambda: late)).domains == 1


def der(name: str) -> bytes:
    return server(name).certificate.public_bytes(Encoding.DER)


def test_identify(tmp_path: Path) -> None:
    found = trust_state(tmp_path, b"", trust(), lambda: NOW)
    peer = found.identify(der("smtp.b.mssante.fr"), "TLSv1.3", "X")
    assert peer.certificate is not None
    assert str(peer.certificate.subject) == DN
    assert peer.chain is not None
    assert peer.chain.trusted
    assert found.identify(None, "TLSv1.3", "X").certificate is None


def test_an_unreadable_certificate_is_not_trusted(tmp_path: Path) -> None:
    peer = trust_state(tmp_path, b"", trust(), lambda: NOW).identify(b"\x30\x00", "TLSv1.3", "X")
    assert peer.certificate is None
    assert peer.chain is not None
    assert peer.chain.status is ChainStatus.UNTRUSTED


def status(found: TrustState, name: str = "smtp.b.mssante.fr") -> ChainStatus:
    chain = found.identify(der(name), "TLSv1.3", "X").chain
    assert chain is not None
    return chain.status


def test_revocation_lists_are_taken_over_while_running(tmp_path: Path) -> None:
    # DOMAIN §9.15, §9.62: revoked from the arrival of the list on.
    strict = replace(trust(), revocation=RevocationPolicy.REFUSE)
    found = trust_state(tmp_path, GOOD, strict, lambda: NOW)
    assert status(found) is ChainStatus.NO_CRL
    store = CrlStore(tmp_path / "crl", strict.authorities)
    store.offer(crl(hierarchy().root), NOW)
    store.offer(crl(hierarchy().intermediate), NOW)
    found.load()
    assert status(found) is ChainStatus.TRUSTED
    revoked = crl(hierarchy().intermediate, [server("smtp.b.mssante.fr")], number=2)

    async def watch() -> None:
        task = asyncio.create_task(found.watch(0.01))
        store.offer(revoked, NOW)
        await until(lambda: status(found) is ChainStatus.REVOKED)
        task.cancel()

    asyncio.run(watch())
    assert found.trust.crls


def test_the_watch_outlives_a_disk_in_trouble(tmp_path: Path) -> None:
    # An unreadable file is read again: a watch that ended would miss every revocation.
    found = trust_state(tmp_path, GOOD, trust(), lambda: NOW, crls=[crl(hierarchy().root)])
    folder, aside = tmp_path / "crl", tmp_path / "aside"
    newer = signed_list([listed("c.mssante.fr", DN)], NOW)

    async def watch() -> None:
        task = asyncio.create_task(found.watch(0.01))
        folder.rename(aside)
        folder.write_bytes(b"")  # no folder: it cannot be listed
        await asyncio.sleep(0.1)  # ten looks
        assert not task.done()
        folder.unlink()
        aside.rename(folder)
        adopt(tmp_path, newer, trust(), NOW)
        await until(lambda: bool(in_force(found).names_of("c.mssante.fr")))
        task.cancel()

    asyncio.run(watch())


@pytest.mark.parametrize("name", ["load", "log"])
def test_the_watch_outlives_whatever_goes_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # A thread that cannot start, no memory, a log that fails: later revocations must be seen.
    monkeypatch.setattr("relay.policy.trust_state._AGAIN", 0.01)
    found = trust_state(tmp_path, GOOD, trust(), lambda: NOW)
    faults = iter([RuntimeError("can't start new thread"), MemoryError()])
    asked: list[int] = []
    load = found.load

    def failing() -> None:
        asked.append(1)
        for fault in faults:
            raise OSError("unwell") if name == "log" else fault
        load()

    class Log:
        """It fails too."""

        def __getattr__(self, _level: str) -> NoReturn:
            raise ValueError("I/O operation on closed file")

    monkeypatch.setattr(found, "load", failing)

    async def watch() -> None:
        task = asyncio.create_task(found.watch(0.01))
        adopt(tmp_path, signed_list([listed("c.mssante.fr", DN)], NOW), trust(), NOW)
        with monkeypatch.context() as broken:
            if name == "log":
                broken.setattr("relay.policy.trust_state._log", Log())
            await until(lambda: len(asked) > 1 or task.done())
        await until(lambda: task.done() or bool(in_force(found).names_of("c.mssante.fr")))
        assert not task.done()
        task.cancel()

    asyncio.run(watch())


@contextmanager
def unwell(monkeypatch: pytest.MonkeyPatch, name: str, fault: OSError | None) -> Iterator[None]:
    """A disk on which files of this name cannot be read, or (None) only in part."""
    read_bytes = Path.read_bytes

    def failing(path: Path) -> bytes:
        octets = read_bytes(path)
        if not path.match(name):
            return octets
        if fault is not None:
            raise fault
        return octets[: len(octets) // 2]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", failing)
        yield


FAULTS = [OSError(errno.EIO, "Input/output error"), None]


@pytest.mark.integration
@pytest.mark.parametrize("fault", FAULTS, ids=["error", "short"])
async def test_a_fault_of_the_disk_of_a_moment_loses_no_revocation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: OSError | None
) -> None:
    # Exactly when the list comes: nothing changes on disk afterwards.
    strict = replace(trust(), revocation=RevocationPolicy.REFUSE)
    lists = [crl(hierarchy().root), crl(hierarchy().intermediate)]
    found = trust_state(tmp_path, GOOD, strict, lambda: NOW, crls=lists)
    assert status(found) is ChainStatus.TRUSTED
    revoked = crl(hierarchy().intermediate, [server("smtp.b.mssante.fr")], number=2)
    CrlStore(tmp_path / "crl", strict.authorities).offer(revoked, NOW)
    with unwell(monkeypatch, "*.crl", fault):
        found.load()
        assert status(found) is ChainStatus.TRUSTED
    task = asyncio.create_task(found.watch(0.01))
    await until(lambda: status(found) is ChainStatus.REVOKED)
    task.cancel()


@pytest.mark.integration
@pytest.mark.parametrize("fault", FAULTS, ids=["error", "short"])
async def test_a_fault_of_the_disk_of_a_moment_loses_no_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: OSError | None
) -> None:
    found = trust_state(tmp_path, GOOD, trust(), lambda: NOW)
    newer = signed_list([listed("b.mssante.fr", DN), listed("c.mssante.fr", DN)], NOW)
    adopt(tmp_path, newer, trust(), NOW)
    with unwell(monkeypatch, "active.xml", fault):
        found.load()
        assert not in_force(found).names_of("c.mssante.fr")
    task = asyncio.create_task(found.watch(0.01))
    await until(lambda: bool(in_force(found).names_of("c.mssante.fr")))
    task.cancel()


@pytest.mark.integration
@pytest.mark.parametrize("fault", FAULTS, ids=["error", "short"])
async def test_a_fault_of_the_disk_of_a_moment_ends_no_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: OSError | None
) -> None:
    # Without the time of its last check, the list would have expired for all.
    clock = Clock()
    found = trust_state(tmp_path, GOOD, trust(), clock)
    clock.now += timedelta(minutes=1)
    Archive(tmp_path / "whitelist").record_check(clock.now)
    with unwell(monkeypatch, "checked", fault):
        found.load()
        assert found.snapshot.white_list is not None
        assert found.snapshot.last_check == NOW
    task = asyncio.create_task(found.watch(0.01))
    await until(lambda: found.snapshot.last_check == clock.now)
    task.cancel()


@pytest.mark.integration
async def test_what_stays_damaged_is_not_read_at_each_look(tmp_path: Path) -> None:
    found = trust_state(tmp_path, GOOD, trust(), lambda: NOW)
    (tmp_path / "whitelist" / "active.xml").write_bytes(GOOD[:-10])
    looks = []
    load = found.load

    def counted() -> None:
        looks.append(1)
        load()

    found.load = counted  # type: ignore[method-assign] # counts, and loads as before
    task = asyncio.create_task(found.watch(0.01))
    await until(lambda: len(looks) == 2)  # at the change, and a second later
    task.cancel()
    assert in_force(found).domains == 1


def test_only_the_newest_list_checked_lately_is_final(tmp_path: Path) -> None:
    clock = Clock()
    found = trust_state(tmp_path, GOOD, trust(), clock, age_limits=AGE_LIMITS)

    def standing() -> tuple[bool, bool]:
        return found.snapshot.behind, found.snapshot.final

    assert standing() == (False, True)
    clock.now = NOW + timedelta(hours=25)  # stale: it serves, but may be older than whoever asks
    assert found.snapshot.white_list is not None
    assert standing() == (False, False)
    clock.now = NOW
    newer = fall_behind(found, tmp_path)
    assert standing() == (True, False)
    assert in_force(found).names_of("b.mssante.fr")  # whom it knows it serves
    data = signed_list([listed("b.mssante.fr", DN)], newer.generated_at)
    adopt(tmp_path, data, trust(), NOW)
    found.load()
    assert standing() == (False, True)


def test_mail_that_waits_hears_of_the_check_that_decides(tmp_path: Path) -> None:
    heard: list[datetime] = []
    clock = Clock()
    found = trust_state(tmp_path, GOOD, trust(), clock)
    found.on_confirmed = lambda: heard.append(clock.now)
    archive = Archive(tmp_path / "whitelist")

    def check(minutes: int) -> None:
        clock.now = NOW + timedelta(minutes=minutes)
        archive.note_confirmed(ConfirmedList(in_force(found).digest, clock.now))
        found.load()

    check(1)
    assert heard == []  # nothing waits
    found.want_check()
    found.load()
    assert heard == []
    check(2)
    assert heard == [NOW + timedelta(minutes=2)]
