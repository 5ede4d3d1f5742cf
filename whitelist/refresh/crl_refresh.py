"""Refresh of the revocation lists (CRL), from files of the site and from URLs.

Each URL is fetched daily, each changed file is read at once.  A failure never removes the last
list in date (DOMAIN §9.62).  A file counts as read only if its list was accepted.  Lists are
signed by their authorities, so plain HTTP is safe.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509

from whitelist.errors import CrlRefused, FetchFailed
from whitelist.fetch.http import fetch_plain
from whitelist.pki.certificates import read_pem
from whitelist.pki.crl import RevocationPolicy, distribution_points
from whitelist.pki.crl_store import CrlStore, StoredCrl
from whitelist.pki.trust_store import TrustStore
from whitelist.refresh.crl_schedule import CrlAddress, load_addresses, save_addresses

_log = structlog.get_logger(__name__)

MAX_CRL_BYTES: Final = 64 * 1024 * 1024
_TIMEOUT: Final = 30.0  # timeout in seconds of each wait for a server
_REFUSED_AGAIN: Final = timedelta(minutes=5)  # pause before a refused file is read again

_FileStamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class CrlSources:
    """Sources of revocation lists.

    `files`: lists put in place by the site.  `urls`: plain HTTP, besides those in certificates.
    `own_certificate`: PEM file of our certificate, whose CRL URLs count too.  `interval`: normal
    time between two fetches of a URL.
    """

    files: tuple[Path, ...]
    urls: tuple[str, ...]
    own_certificate: Path
    interval: timedelta


@dataclass(slots=True)
class CrlRefresher:
    """Offers lists to the store.  `problems`: source to reason, if its last attempt failed."""

    sources: CrlSources
    store: CrlStore
    trust: TrustStore
    problems: dict[str, str] = field(default_factory=dict)
    _taken: dict[Path, _FileStamp] = field(default_factory=dict)
    _refused: dict[Path, tuple[_FileStamp, datetime]] = field(default_factory=dict)
    _addresses: dict[str, CrlAddress] | None = None

    def check(self, at: datetime, *, by_hand: bool = False) -> None:
        """Read changed files, and fetch URLs that are due.  Blocks.

        `at`: current time, aware.  `by_hand`: URLs that failed are fetched again without a pause.
        If a list is missing from its folder, its sources are read again; if none of them provides
        it, it is restored from memory.
        """
        if self.trust.revocation is RevocationPolicy.OFF:
            return
        lost_crls = self._look()
        for path in self.sources.files:
            self._read(path, at, again=bool(lost_crls))
        self._ask(at, lost_crls, by_hand=by_hand)
        self._restore()

    def addresses(self) -> tuple[str, ...]:
        """URLs of `sources`, and the CRL URLs in our certificate and its authorities."""
        certificates: list[x509.Certificate] = [*self.trust.intermediates, *self._own()]
        named = (url for c in certificates for url in distribution_points(c))
        return tuple(dict.fromkeys([*self.sources.urls, *named]))

    def _own(self) -> Iterable[x509.Certificate]:
        try:
            return read_pem(self.sources.own_certificate.read_bytes())
        except (OSError, ValueError):
            return ()  # the monitor reports it

    def _look(self) -> frozenset[str]:
        """Poll the folder; return the names of lists that vanished, or became older."""
        before = self.store.by_name()
        folder = str(self.store.folder)
        try:
            self.store.poll()
        except OSError as error:
            self._failed(folder, f"cannot be read ({error.strerror})")
            return frozenset()
        self.problems.pop(folder, None)
        now = self.store.by_name()
        older = {name for name, crl in before.items() if now[name].issued_before(crl)}
        return self.store.missing() | older

    def _read(self, path: Path, at: datetime, *, again: bool) -> None:
        try:
            found = path.stat()
            stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
            refused, when = self._refused.get(path, (None, at))
            waits = refused == stamp and timedelta() <= at - when < _REFUSED_AGAIN
            if not again and (waits or self._taken.get(path) == stamp):
                return
            octets = path.read_bytes()
        except OSError as error:
            self._failed(str(path), f"cannot be read ({error.strerror})")
            return
        try:
            kept = self._offer(str(path), octets, at)
        except CrlRefused:  # it may be accepted later, because of dates
            self._refused[path] = stamp, at
        else:
            if kept is not None:
                self._taken[path] = stamp

    def _ask(self, at: datetime, lost_crls: frozenset[str], *, by_hand: bool) -> None:
        if self._addresses is None:
            self._addresses = load_addresses(self.store.folder)
        known = {url: self._addresses.get(url, CrlAddress()) for url in self.addresses()}
        asked = False
        for url, address in known.items():
            due = address.due(at, self.sources.interval, self.store.by_name(), lost_crls)
            if due or (by_hand and address.failures):
                asked = True
                known[url] = self._fetch(url, address, at)
        if asked or known.keys() != self._addresses.keys():
            self._note(known)
        self._addresses = known

    def _fetch(self, url: str, address: CrlAddress, at: datetime) -> CrlAddress:
        try:
            data = fetch_plain(
                url, timeout=_TIMEOUT, deadline=5 * _TIMEOUT, max_bytes=MAX_CRL_BYTES
            )
        except FetchFailed as failed:
            self._failed(url, failed.detail)
        else:
            with suppress(CrlRefused):  # the refusal is noted; the present list stays
                if kept := self._offer(url, data, at):
                    return CrlAddress(at, 0, kept.name)
        return replace(address, asked=at, failures=address.failures + 1)

    def _note(self, addresses: dict[str, CrlAddress]) -> None:
        try:
            save_addresses(self.store.folder, addresses)
        except OSError as error:
            # Harmless: after a restart URLs are fetched sooner than necessary.
            _log.warning("crl.schedule_unsaved", why=error.strerror)

    def _offer(self, source: str, data: bytes, at: datetime) -> StoredCrl | None:
        """Offer a list to the store; None if it cannot be written.  Raises CrlRefused.

        Both failures are noted in `problems`.
        """
        try:
            kept = self.store.offer(data, at)
        except CrlRefused as refused:
            self._failed(source, str(refused))
            raise
        except OSError as error:
            self._failed(source, f"cannot be kept ({error.strerror})")
            return None
        self.problems.pop(source, None)
        _log.info("crl.kept", source=source, crl=str(kept.crl))
        return kept

    def _restore(self) -> None:
        try:
            for crl in self.store.restore():
                _log.warning("crl.restored", crl=str(crl), folder=str(self.store.folder))
        except OSError as error:
            self._failed(str(self.store.folder), f"cannot be written ({error.strerror})")

    def _failed(self, source: str, why: str) -> None:
        if self.problems.get(source) != why:
            _log.warning("crl.failed", source=source, why=why)
        self.problems[source] = why
