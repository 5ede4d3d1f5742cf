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
    Attachment,
    ClinicalFacts,
    DeliveryReport,
    Envelope,
    Part,
    Receipt,
    Summary,
    ThreadKeys,
)

_VERSION: Final = bytes([VERSION])
_HEAD: Final = 5  # the version, then four octets with the size of the first array


class UnknownForm(MailstoreError):
    """The octets are of another version: the summary is to be made anew."""


def to_octets(summary: Summary) -> bytes:
    """Return the summary as octets, compact, UTF-8."""
    listed = _octets(
        [
            summary.octets,
            int(summary.unreadable),
            summary.envelope,
            summary.fields,
            summary.preview,
            summary.attachments,
            summary.thread,
            () if summary.clinical == _NO_FACTS else summary.clinical,
        ]
    )
    structure = b"" if summary.structure is None else _octets(summary.structure)
    return _VERSION + len(listed).to_bytes(4, "big") + listed + structure


def from_octets(octets: bytes, *, structure: bool = True) -> Summary:
    """Return the summary of `to_octets`; without its structure if a list alone needs it.

    Raises `UnknownForm` for octets of another version.
    """
    if octets[:1] != _VERSION:
        raise UnknownForm("the summary is of another version: it is to be made anew")
    middle = _HEAD + int.from_bytes(octets[1:_HEAD], "big")
    size, unreadable, envelope, fields, preview, attachments, thread, clinical = _decode(
        octets[_HEAD:middle].decode()
    )[0]
    tree = octets[middle:] if structure else b""
    message_id, references, base_subject = thread
    return Summary(
        size,
        bool(unreadable),
        _envelope(envelope),
        _pairs(fields) if fields else (),
        preview,
        tuple([Attachment(*one) for one in attachments]) if attachments else (),
        ThreadKeys(message_id, tuple(references), base_subject),
        _clinical(clinical) if clinical else _NO_FACTS,
        _part(_decode(tree.decode())[0]) if tree else None,
    )


_NO_FACTS: Final = ClinicalFacts()
# `decode` would look for white space around, which takes as long as a short array.
_decode: Final[Callable[[str], tuple[Any, int]]] = json.JSONDecoder().raw_decode
# Named tuples become arrays.
_encode: Final[Callable[[object], str]] = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), check_circular=False
).encode


def _octets(value: object) -> bytes:
    return _encode(value).encode()


def _envelope(row: list[Any]) -> Envelope:
    for place in _LISTS:
        if row[place]:
            row[place] = tuple([Address(*one) for one in row[place]])
        else:
            row[place] = ()
    return Envelope(*row)


_LISTS: Final = tuple(
    Envelope._fields.index(name) for name in ("authors", "sender", "reply_to", "to", "cc", "bcc")
)


def _clinical(row: list[Any]) -> ClinicalFacts:
    facts = ClinicalFacts(*row)
    return facts._replace(
        codes=_pairs(row[_CODES]),
        receipt=facts.receipt and Receipt(*facts.receipt),
        delivery_report=facts.delivery_report and DeliveryReport(*facts.delivery_report),
    )


_CODES: Final = ClinicalFacts._fields.index("codes")


def _part(row: list[Any]) -> Part:
    part = Part(*row)
    return part._replace(
        params=_pairs(row[_PARAMS]),
        disposition_params=_pairs(row[_DISPOSITION_PARAMS]),
        language=tuple(part.language),
        envelope=None if part.envelope is None else _envelope(list(part.envelope)),
        children=tuple(map(_part, row[_CHILDREN])),
    )


_PARAMS: Final = Part._fields.index("params")
_DISPOSITION_PARAMS: Final = Part._fields.index("disposition_params")
_CHILDREN: Final = Part._fields.index("children")


def _pairs(rows: list[Any]) -> tuple[tuple[str, str], ...]:
    return tuple([(name, value) for name, value in rows])
