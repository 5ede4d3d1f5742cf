"""A summary as octets: two JSON arrays, one for lists, one for the structure.

Pure.  Lists need only the first, so an envelope is had without its structure.  Content in clear:
whoever stores it seals it.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from mailstore.errors import MailstoreError
from mailstore.summaries.model import (
    VERSION,
    Address,
    Addresses,
    Attachment,
    ClinicalFacts,
    DeliveryReport,
    Envelope,
    Part,
    Receipt,
    Summary,
    ThreadKeys,
)

_HEAD: Final = 5  # the version, then four octets with the size of the first array


class UnknownForm(MailstoreError):
    """The octets are of another version: the summary is to be made anew."""


def to_octets(summary: Summary) -> bytes:
    """Return the summary as octets, compact, UTF-8."""
    listed = _octets(
        [
            summary.octets,
            int(summary.unreadable),
            _envelope(summary.envelope),
            summary.fields,
            summary.preview,
            [(one.name, one.type, one.octets) for one in summary.attachments],
            _values(summary.thread),
            _clinical(summary.clinical),
        ]
    )
    structure = b"" if summary.structure is None else _octets(_part(summary.structure))
    return bytes([VERSION]) + len(listed).to_bytes(4, "big") + listed + structure


def from_octets(octets: bytes, *, structure: bool = True) -> Summary:
    """Return the summary of `to_octets`; without its structure if a list alone needs it.

    Raises `UnknownForm` for octets of another version.
    """
    if octets[:1] != bytes([VERSION]):
        raise UnknownForm("the summary is of another version: it is to be made anew")
    middle = _HEAD + int.from_bytes(octets[1:_HEAD], "big")
    size, unreadable, envelope, fields, preview, attachments, thread, clinical = json.loads(
        octets[_HEAD:middle]
    )
    tree = octets[middle:] if structure else b""
    message_id, references, base_subject = thread
    return Summary(
        size,
        bool(unreadable),
        _read_envelope(envelope),
        _pairs(fields),
        preview,
        tuple(Attachment(*one) for one in attachments),
        ThreadKeys(message_id, tuple(references), base_subject),
        _read_clinical(clinical),
        _read_part(json.loads(tree)) if tree else None,
    )


def _octets(value: object) -> bytes:
    return _encode(value).encode()


_encode: Final[Callable[[object], str]] = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), check_circular=False
).encode


def _values(row: object) -> list[Any]:
    return [getattr(row, name) for name in row.__slots__]  # type: ignore[attr-defined]


def _addresses(addresses: Addresses) -> list[Any]:
    return [(one.name, one.mailbox, one.host, one.written) for one in addresses]


def _envelope(one: Envelope) -> list[Any]:
    lists = (one.authors, one.sender, one.reply_to, one.to, one.cc, one.bcc)
    return [
        one.date,
        one.sent_at,
        one.subject,
        one.written_subject,
        *map(_addresses, lists),
        one.in_reply_to,
        one.message_id,
    ]


def _read_envelope(row: list[Any]) -> Envelope:
    lists = [tuple(Address(*one) for one in each) if each else () for each in row[4:10]]
    return Envelope(*row[:4], *lists, *row[10:])


def _clinical(one: ClinicalFacts) -> list[Any]:
    if one == _NO_FACTS:
        return []
    row = _values(one)
    row[7] = one.receipt and _values(one.receipt)
    row[8] = one.delivery_report and _values(one.delivery_report)
    return row


_NO_FACTS: Final = ClinicalFacts()


def _read_clinical(row: list[Any]) -> ClinicalFacts:
    if not row:
        return _NO_FACTS
    row[2] = _pairs(row[2])
    row[7] = row[7] and Receipt(*row[7])
    row[8] = row[8] and DeliveryReport(*row[8])
    return ClinicalFacts(*row)


def _part(one: Part) -> list[Any]:
    row = _values(one)
    row[-2] = one.envelope and _envelope(one.envelope)
    row[-1] = [_part(child) for child in one.children]
    return row


def _read_part(row: list[Any]) -> Part:
    *facts, envelope, children = row
    facts[6], facts[12] = _pairs(facts[6]), _pairs(facts[12])
    facts[13] = tuple(facts[13])
    read = _read_envelope(envelope) if envelope else None
    facts += [read, tuple(_read_part(child) for child in children)]
    return Part(*facts)


def _pairs(rows: list[Any]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in rows)
