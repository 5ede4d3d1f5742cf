"""Keeping the revocation lists (CRL) current: from files of the site and from their addresses.

Lists are asked for when a quarter of their validity is left, or at once when there is none; the
last one in date stays whatever comes (DOMAIN §9.62).  Their authorities' signatures protect them,
so plain HTTP is as good as any other way.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509

from whitelist.certificates import read_pem
from whitelist.crl_store import CrlStore
from whitelist.errors import CrlRefused, ListRefused
from whitelist.fetching import fetch_plain
from whitelist.revocation import RevocationPolicy, distribution_points
from whitelist.trust import TrustStore

from . import runtime
from .settings import Settings

_log = structlog.get_logger(__name__)

MAX_CRL_BYTES: Final = 64 * 1024 * 1024
_TIMEOUT: Final = 30.0  # seconds for each wait on a server
_PAUSE: Final = 300.0  # seconds between tries at an address that did not answer well


@dataclass(slots=True)
class CrlRefresher:
    """Offers lists to the store; `problems` has a line for each source that failed last time."""

    settings: Settings
    store: CrlStore
    trust: TrustStore
    problems: dict[str, str] = field(default_factory=dict)
    _files: dict[Path, tuple[int, int]] = field(default_factory=dict)
    _not_before: float = 0.0

    def check(self, monotonic: float) -> None:
        """Read changed files, fetch what is due; blocks.  `monotonic` is a clock in seconds."""
        if self.settings.trust.revocation is RevocationPolicy.OFF:
            return
        for text in self.settings.trust.crl_files:
            self._read(self.settings.path(text))
        if monotonic < self._not_before or not self.store.due(runtime.clock()):
            return
        self._not_before = monotonic + _PAUSE
        for url in self.addresses():
            self._fetch(url)

    def addresses(self) -> tuple[str, ...]:
        """The configured addresses, and those that our certificate and its authorities name."""
        certificates: list[x509.Certificate] = [*self.trust.intermediates, *self._own()]
        named = (url for c in certificates for url in distribution_points(c))
        return tuple(dict.fromkeys([*self.settings.trust.crl_urls, *named]))

    def _own(self) -> Iterable[x509.Certificate]:
        try:
            return read_pem(runtime.identity(self.settings).certificate.read_bytes())
        except (OSError, ValueError):
            return ()  # the monitor says so

    def _read(self, path: Path) -> None:
        try:
            found = path.stat()
            stamp = (found.st_ino, found.st_mtime_ns)
            if self._files.get(path) == stamp:
                return
            self._offer(str(path), path.read_bytes())
            self._files[path] = stamp
        except OSError as error:
            self._failed(str(path), f"cannot be read ({error.strerror})")

    def _fetch(self, url: str) -> None:
        try:
            data = fetch_plain(
                url, timeout=_TIMEOUT, deadline=5 * _TIMEOUT, max_bytes=MAX_CRL_BYTES
            )
        except ListRefused as refused:
            self._failed(url, refused.detail)
        else:
            self._offer(url, data)

    def _offer(self, source: str, data: bytes) -> None:
        try:
            crl = self.store.offer(data, runtime.clock())
        except CrlRefused as refused:
            self._failed(source, str(refused))
        except OSError as error:
            self._failed(source, f"cannot be kept ({error.strerror})")
        else:
            self.problems.pop(source, None)
            _log.info("crl.kept", source=source, crl=str(crl))

    def _failed(self, source: str, why: str) -> None:
        if self.problems.get(source) != why:
            _log.warning("crl.failed", source=source, why=why)
        self.problems[source] = why
