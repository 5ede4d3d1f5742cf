"""Rows of the audit trail as stored, and their canonical form, which is hashed. Pure.

The form is unambiguous: two rows that differ in any column have two forms. Each field has a type
octet and, if it is a text, its length. Texts of an event are made storable first, on every database
alike: patients' identifiers masked, invisible characters written out, endless texts cut.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

from foundation.privacy import mask
from foundation.visible_text import visible
from mailstore.audit.event import AuditEvent, Fact
from mailstore.db.instants import microseconds

VERSION: Final = b"\x01"
LONGEST: Final = 480  # characters of a text; an index of PostgreSQL takes 2 700 octets
_MARK_DIGITS: Final = 16  # of the hash that stands for the rest of a text that was cut
_NULL, _INTEGER, _TEXT = b"\x00", b"\x01", b"\x02"


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A row without its digest and seal, in the order of its canonical form.

    `at`: microseconds since 1970 in UTC; `facts`: a JSON object, keys sorted, ASCII.
    """

    chain: int
    seq: int
    at: int
    event: str
    result: str
    tenant_id: int | None
    account: str | None
    unix_user: str | None
    door: str
    origin: str | None
    mailbox: str | None
    message: str | None
    subject: str | None
    facts: str


COLUMNS: Final = tuple(one.name for one in fields(AuditRow))
_values: Final = attrgetter(*COLUMNS)


def row_of(event: AuditEvent, chain: int, seq: int) -> AuditRow:
    """Row of an event at a place of a chain."""
    return AuditRow(
        chain,
        seq,
        microseconds(event.at),
        event.event,
        event.result.value,
        event.tenant,
        _text(event.actor.account),
        _text(event.actor.unix_user),
        event.actor.door.value,
        _text(event.actor.origin),
        _text(event.mailbox),
        event.message,
        _text(event.subject),
        facts_text(event.facts),
    )


def form(row: AuditRow) -> bytes:
    """Canonical form of a row. ValueError for a value of a type that no writer of ours stores."""
    return VERSION + b"".join(map(_field, _values(row)))


def writable(text: str) -> str:
    r"""Text as stored: without patients' identifiers, invisible characters as `\x00`, `\u202e`.

    A backslash is doubled, so that no two texts become the same. A text beyond LONGEST characters
    is cut, and a hash stands for the rest.
    """
    shown = visible(mask(text).replace("\\", "\\\\"))
    if len(shown) <= LONGEST:
        return shown
    digest = hashlib.sha256(shown.encode()).hexdigest()[:_MARK_DIGITS]
    return f"{shown[:LONGEST]}…{digest}"


def facts_text(facts: Mapping[str, Fact]) -> str:
    """Facts as stored: a JSON object in ASCII, keys sorted, times in ISO 8601."""
    plain = {name: _fact(value) for name, value in facts.items()}
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))


def _fact(value: Fact) -> Fact:
    if isinstance(value, datetime):
        return value.isoformat()
    return writable(value) if isinstance(value, str) else value


def values(row: AuditRow) -> tuple[Any, ...]:
    """The values of a row, in the order of COLUMNS."""
    return tuple(_values(row))


def _text(value: str | None) -> str | None:
    return None if value is None else writable(value)


def _field(value: Any) -> bytes:
    if value is None:
        return _NULL
    if isinstance(value, int):
        return _INTEGER + value.to_bytes(8, "big", signed=True)
    if isinstance(value, str):
        octets = value.encode()
        return _TEXT + len(octets).to_bytes(4, "big") + octets
    raise ValueError(f"a column has a value of type {type(value).__name__}")
