"""The perimeter: the white list and the trust that hold at this moment, in this process.

An immutable snapshot is swapped as a whole, so that no check ever sees half of a change.  The file
is watched: a new valid list replaces the old one without a restart, an invalid one never does
(DOMAIN §9.5, §9.6, §9.12), and with none at all every check sees `white_list` None.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from relay.admission import Peer
from whitelist.certificates import read_der
from whitelist.errors import ListRefused
from whitelist.loading import load_file
from whitelist.lookup import WhiteList
from whitelist.trust import CertificateFacts, ChainStatus, ChainVerdict, TrustStore

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The list in force, or None and why; `rejected` says why a newer file was turned down."""

    white_list: WhiteList | None
    problem: str = ""
    rejected: str = ""


class Perimeter:
    """Holds the list read from `path`, signed by `signer` under `trust`."""

    def __init__(
        self, path: Path, signer: str, trust: TrustStore, clock: Callable[[], datetime]
    ) -> None:
        self._path = path
        self._signer = signer
        self._clock = clock
        self._seen: tuple[int, int, int] | None = None
        self.trust = trust
        self.snapshot = Snapshot(None, "no list has been read yet")

    def load(self) -> None:
        """Read the file and adopt it if it passes every check; blocks for seconds on a big list."""
        current = self.snapshot.white_list
        self._seen = self._stamp()
        try:
            found = load_file(self._path, self.trust, self._signer, self._clock())
        except ListRefused as refused:
            self._turn_down(f"{refused.reason}: {refused.detail}")
            return
        if current is not None and found.generated_at < current.generated_at:
            self._turn_down(
                f"rollback: {self._path} is from {found.generated_at.isoformat()}, "
                f"older than the list in force; restore the newer file"
            )
            return
        self.snapshot = Snapshot(found)
        _log.info(
            "whitelist.adopted",
            generated_at=found.generated_at.isoformat(),
            domains=found.domains,
            warnings=len(found.warnings),
        )

    async def watch(self, interval: float) -> None:
        """Look at the file every `interval` seconds and load it when it has changed."""
        while True:
            await asyncio.sleep(interval)
            if self._stamp() != self._seen:
                await asyncio.to_thread(self.load)

    def identify(self, certificate: bytes | None, tls_version: str, cipher: str) -> Peer:
        """The facts of a peer from its DER certificate, its chain judged now."""
        if certificate is None:
            return Peer(tls_version, cipher)
        try:
            parsed = read_der(certificate)
            facts = CertificateFacts.from_certificate(parsed)
        except ValueError as error:
            return Peer(tls_version, cipher, chain=ChainVerdict(ChainStatus.UNTRUSTED, str(error)))
        return Peer(tls_version, cipher, facts, self.trust.verify(parsed, self._clock()))

    def _turn_down(self, why: str) -> None:
        in_force = self.snapshot.white_list
        self.snapshot = Snapshot(in_force, "" if in_force else why, why)
        _log.error("whitelist.rejected", why=why, kept=in_force is not None)

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
