"""Record of an adoption: a line of JSON in the history of white lists (DOMAIN §9.12).

Pure. The record has the facts of the list, the time and way of its arrival, and whether a person
overruled the guard against a sudden shrink.
"""

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from whitelist.national.difference import ListDifference
from whitelist.national.lookup import WhiteList

_DIGEST = re.compile(r"[0-9a-f]{64}")


class ListSource(StrEnum):
    """Way by which a list came."""

    URL = "url"
    """Fetched from the publisher, or from a mirror."""
    FILE = "file"
    """Read from a file that a person named."""
    PUSH = "push"
    """Found in the folder where the site puts lists."""
    SHARED = "shared"
    """Adopted by another machine of the same store, and verified here."""


@dataclass(frozen=True, slots=True)
class ArchiveRecord:
    """An adoption. Times are in UTC; counts are those of `WhiteList`.

    `added`, `removed` and `recertified` count domains against the list before; None if the lists
    were not compared. `digest` is the SHA-256 of the file, `signer` the subject of the signer's
    certificate, `signer_serial` its serial number; digest and serial number are in lower-case
    hexadecimal.
    """

    digest: str
    generated_at: datetime
    adopted_at: datetime
    entries: int
    domains: int
    dn_strings: int
    names: int
    signer: str
    signer_serial: str
    source: ListSource
    accepted_shrink: bool
    added: int | None = None
    removed: int | None = None
    recertified: int | None = None

    @classmethod
    def of(
        cls,
        white_list: WhiteList,
        adopted_at: datetime,
        source: ListSource,
        *,
        accepted_shrink: bool,
        found: ListDifference | None = None,
    ) -> Self:
        """Make the record of a list that is adopted at the aware instant `adopted_at`."""
        return cls(
            digest=white_list.digest,
            generated_at=white_list.generated_at.astimezone(UTC),
            adopted_at=adopted_at.astimezone(UTC),
            entries=white_list.entries,
            domains=white_list.domains,
            dn_strings=white_list.dn_strings,
            names=white_list.names,
            signer=str(white_list.signer.subject),
            signer_serial=f"{white_list.signer.serial:x}",
            source=source,
            accepted_shrink=accepted_shrink,
            added=len(found.added) if found else None,
            removed=len(found.removed) if found else None,
            recertified=len(found.recertified) if found else None,
        )

    @property
    def file_name(self) -> str:
        """Name of the list's file; names sort by time of generation."""
        return f"{self.generated_at:%Y%m%dT%H%M%SZ}-{self.digest[:12]}.xml"

    def to_line(self) -> bytes:
        """Return the record as a line of JSON, UTF-8, with its line end."""
        record = {key: value for key, value in asdict(self).items() if value is not None}
        text = json.dumps(record, default=datetime.isoformat, ensure_ascii=False)
        return f"{text}\n".encode()

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Parse a line of `to_line`; unknown fields are ignored. Raises ValueError."""
        record = json.loads(line)
        try:
            return cls(
                digest=_digest(record["digest"]),
                generated_at=_instant(record["generated_at"]),
                adopted_at=_instant(record["adopted_at"]),
                entries=int(record["entries"]),
                domains=int(record["domains"]),
                dn_strings=int(record["dn_strings"]),
                names=int(record["names"]),
                signer=str(record["signer"]),
                signer_serial=str(record["signer_serial"]),
                source=ListSource(record["source"]),
                accepted_shrink=bool(record["accepted_shrink"]),
                added=_count(record.get("added")),
                removed=_count(record.get("removed")),
                recertified=_count(record.get("recertified")),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"no record of a white list: {error}") from error


def _count(value: Any) -> int | None:
    return None if value is None else int(value)


def _digest(value: Any) -> str:
    if not _DIGEST.fullmatch(value):
        raise ValueError(f"{value!r} is not a SHA-256 in hexadecimal")
    return str(value)


def _instant(value: Any) -> datetime:
    instant = datetime.fromisoformat(value)
    if instant.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone")
    return instant.astimezone(UTC)
