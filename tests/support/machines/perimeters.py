"""Perimeter on an archive of the test."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from relay.policy.trust_state import ExpectedList, ListAgeLimits, TrustState
from whitelist.national.archive import Archive, ListSource
from whitelist.national.newest import SharedList
from whitelist.national.reader import read_list
from whitelist.pki.crl import RevocationPolicy
from whitelist.pki.crl_store import CrlStore
from whitelist.pki.ocsp_client import OcspClient
from whitelist.pki.trust_store import TrustStore

SIGNER = "alb.mssante.fr"


def adopt(folder: Path, data: bytes, trust: TrustStore, now: datetime) -> None:
    """Adopt a list in a folder, like the maintenance process."""
    judge = replace(trust, revocation=RevocationPolicy.OFF)
    found = read_list(data, judge, SIGNER, now)
    Archive(folder / "whitelist").adopt(data, found, now, ListSource.FILE, accepted_shrink=True)


def trust_state(
    folder: Path,
    white_list: bytes,
    trust: TrustStore,
    clock: Callable[[], datetime],
    *,
    crls: Iterable[bytes] = (),
    age_limits: ListAgeLimits = ListAgeLimits(),  # noqa: B008 - frozen
    ocsp: OcspClient | None = None,
) -> TrustState:
    """Perimeter with a list adopted now (b"": none) and with revocation lists."""
    if white_list:
        adopt(folder, white_list, trust, clock())
    store = CrlStore(folder / "crl", trust.authorities)
    for octets in crls:
        store.offer(octets, clock())
    archive, expected = Archive(folder / "whitelist"), ExpectedList(SIGNER)
    made = TrustState(archive, store, trust, expected, age_limits, clock, ocsp=ocsp)
    made.load()
    return made


def fall_behind(follower: TrustState, folder: Path) -> SharedList:
    """Note that another machine has a list one second newer than the list in force here."""
    loaded = follower.snapshot.loaded
    assert loaded is not None
    later = loaded.generated_at + timedelta(seconds=1)
    newer = SharedList("0" * 64, later, later)
    Archive(folder / "whitelist").note_shared(newer)
    follower.load()
    return newer
