"""Refresh of the white list: fetch, verify, adopt.

Every list comes into force through this module: from the maintenance process, `mssante whitelist
refresh` and `mssante init` (DOMAIN §2.6, §9.12).  A failure leaves the list in force unchanged.
"""

import hashlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from whitelist.errors import ArchiveError, FetchFailed, ListReason, ListRefused
from whitelist.fetch.http import CacheValidators, NotModified, client_context, fetch, retry_delays
from whitelist.fetch.sources import SourceStamp, read_source, source_stamp
from whitelist.national.adoption import decide_adoption
from whitelist.national.archive import Archive, ListSource
from whitelist.national.archive_record import ArchiveRecord
from whitelist.national.difference import ListDifference, compare_lists
from whitelist.national.lookup import WhiteList
from whitelist.national.newest import ConfirmedList
from whitelist.national.reader import read_list
from whitelist.national.signed_file import MAX_LIST_BYTES
from whitelist.national.signer import ExpectedSigner
from whitelist.pki.crl import RevocationPolicy
from whitelist.pki.trust_store import TrustStore

_log = structlog.get_logger(__name__)

_ATTEMPTS: Final = 3
_FIRST_PAUSE: Final = 1.0  # backoff: seconds before the second attempt to fetch
_LONGEST_PAUSE: Final = 10.0
_AHEAD: Final = timedelta(days=1)  # how far the publisher's clock may be ahead of ours
_DEADLINE: Final = 5  # deadline of the whole answer, in multiples of the timeout of one wait


@dataclass(frozen=True, slots=True)
class ListSources:
    """Sources of the white list, and requirements for a list from them.

    At least one source is given.  `url`: HTTPS; empty: none.  `file`: a file, or a folder in which
    the newest `*.xml` counts, used if the URL is absent or cannot be reached; None: none.
    `file_text`: the same as the configuration has it, for the log.  `fetch_timeout`: seconds for
    each wait for the URL's server.  `loose_department`: as in `WhiteList.build`.  `max_shrink`: as
    in `decide_adoption`.
    """

    url: str
    file: Path | None
    file_text: str
    fetch_timeout: float
    expected_signer: ExpectedSigner
    loose_department: bool
    max_shrink: float


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """Successful check: the list now in force; `changed`: whether it is a new list."""

    white_list: WhiteList
    changed: bool
    source: ListSource


@dataclass(slots=True)
class ListRefresher:
    """Checks the sources for one archive.

    `trust`: with the current CRLs.  `clock`: current time, aware.  `sleep`, `randomness`: for the
    pauses between attempts to fetch; seconds, and numbers in [0, 1).  `problem`: reason why the
    last check failed; empty after a success.
    """

    sources: ListSources
    archive: Archive
    trust: TrustStore
    clock: Callable[[], datetime]
    sleep: Callable[[float], None] = time.sleep
    randomness: Callable[[], float] = random.SystemRandom().random
    problem: str = ""
    _conditions: CacheValidators = field(default_factory=CacheValidators)
    _fetched: str = ""  # digest of the list that `_conditions` belong to

    def check(self, *, accept_shrink: bool = False) -> RefreshResult:
        """Fetch, verify and adopt.  Blocks.  Raises ListRefused or ArchiveError."""
        try:
            refreshed = self._check(accept_shrink=accept_shrink)
        except Exception as error:  # an unexpected error must raise the alarm too
            self.problem = str(error)
            raise
        self.problem = ""
        return refreshed

    def obtain(self) -> tuple[bytes, ListSource, WhiteList]:
        """Fetch and verify a list without adopting it; returns octets, source and list.

        Blocks.  Raises ListRefused.
        """
        data, source = self._obtain()
        return data, source, self.verified(data)

    def verified(self, data: bytes) -> WhiteList:
        """Verify and parse a list from an untrusted source.  Raises ListRefused."""
        now = self.clock()
        found = read_list(
            data,
            self.trust,
            self.sources.expected_signer,
            now,
            loose_department=self.sources.loose_department,
        )
        if found.generated_at > now + _AHEAD:
            raise ListRefused(
                ListReason.FUTURE,
                f"generated {found.generated_at.isoformat()}, in the future: it would block all "
                "newer lists until then; check this machine's clock, then ask the publisher",
            )
        return found

    def _check(self, *, accept_shrink: bool) -> RefreshResult:
        began = self.clock()
        data, source, found = self.obtain()
        refreshed = self.adopt(data, found, source, accept_shrink=accept_shrink)
        # A file that stands in for the URL does not prove that the list is the newest.
        if source is ListSource.URL or not self.sources.url:
            self.archive.note_confirmed(ConfirmedList(found.digest, began))
        return refreshed

    def adopt(
        self,
        data: bytes,
        found: WhiteList,
        source: ListSource,
        *,
        accept_shrink: bool,
        checked: datetime | None = None,
    ) -> RefreshResult:
        """Bring a verified list into force if it may follow the present list.  Blocks.

        `checked`: aware time at which it was found current, by default now.  Raises ListRefused,
        ArchiveError.
        """
        now, active = self.clock(), self.archive.active()
        max_shrink = self.sources.max_shrink
        difference = self._difference(active, found)
        decide_adoption(active, found, max_shrink, accept_shrink=accept_shrink, found=difference)
        changed = self.archive.adopt(
            data,
            found,
            now,
            source,
            accepted_shrink=accept_shrink,
            found=difference,
            checked=checked,
        )
        if changed:
            _log.info(
                "whitelist.adopted",
                digest=found.digest,
                generated_at=found.generated_at.isoformat(),
                domains=found.domains,
                domains_before=active.domains if active else 0,
                source=source.value,
                accepted_shrink=accept_shrink,
                warnings=len(found.warnings),
                added=len(difference.added) if difference else None,
                removed=len(difference.removed) if difference else None,
                recertified=len(difference.recertified) if difference else None,
            )
        return RefreshResult(found, changed, source)

    def _difference(self, active: ArchiveRecord | None, found: WhiteList) -> ListDifference | None:
        """Difference from the list in force; None if it is the same list, or not comparable."""
        if active is None or active.digest == found.digest:
            return None
        try:
            version, data = self.archive.load("active")
            before = read_list(
                data,
                # Revocation was checked at adoption; the signer may be revoked or expired since.
                replace(self.trust, crls=(), revocation=RevocationPolicy.OFF),
                self.sources.expected_signer,
                version.adopted_at,
                loose_department=self.sources.loose_department,
            )
        except (ArchiveError, ListRefused) as error:
            _log.warning("whitelist.not_compared", why=str(error))
            return None
        return compare_lists(before, found)

    def _obtain(self) -> tuple[bytes, ListSource]:
        sources, path = self.sources, self.sources.file
        if path is None:
            return self._fetch(), ListSource.URL
        if sources.url:
            try:
                return self._fetch(), ListSource.URL
            except ListRefused as refused:
                if refused.reason is not ListReason.UNREACHABLE:
                    raise
                using = sources.file_text
                _log.warning("whitelist.unreachable", why=refused.detail, using=using)
        found = read_source(path, self.clock(), max_bytes=MAX_LIST_BYTES)
        return found.data, ListSource.PUSH if path.is_dir() else ListSource.FILE

    def _fetch(self) -> bytes:
        delays = retry_delays(_ATTEMPTS, _FIRST_PAUSE, _LONGEST_PAUSE, self.randomness)
        for delay in (*delays, None):
            try:
                return self._fetch_once()
            except ListRefused as refused:
                if refused.reason is not ListReason.UNREACHABLE or delay is None:
                    raise
                self.sleep(delay)
        raise AssertionError("the last attempt returns or raises")

    def _fetch_once(self) -> bytes:
        active = self.archive.active()
        known = active is not None and active.digest == self._fetched
        try:
            answer = fetch(
                self.sources.url,
                tls=client_context(self.trust.pem),
                conditions=self._conditions if known else CacheValidators(),
                timeout=self.sources.fetch_timeout,
                deadline=_DEADLINE * self.sources.fetch_timeout,
                max_bytes=MAX_LIST_BYTES,
            )
        except FetchFailed as failed:
            raise _refused(failed) from failed
        if isinstance(answer, NotModified):
            # The same octets are verified again: the signer may have expired meanwhile.
            return self.archive.load("active")[1]
        self._conditions = answer.conditions
        self._fetched = hashlib.sha256(answer.data).hexdigest()
        return answer.data

    def source_stamp(self) -> SourceStamp:
        """Stamp of the file or folder; it changes when a new list is ready to be read.

        Costs only stat calls.  In a folder a new file counts only when `read_source` would read it,
        that is, when it does not grow any more.
        """
        if self.sources.file is None:
            return ()
        return source_stamp(self.sources.file, self.clock())


def _refused(failed: FetchFailed) -> ListRefused:
    """Refusal for a list that could not be fetched."""
    if failed.too_large:
        return ListRefused(
            ListReason.TOO_LARGE, f"{failed.detail}; check that this is the white list"
        )
    return ListRefused(ListReason.UNREACHABLE, failed.detail)
