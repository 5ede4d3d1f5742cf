"""Anchors: signed statements of the heads of all chains at a time. Pure.

Kept in the database and sent off the machine: the owner of the machine could seal and sign
everything anew, but not change a copy that is elsewhere. A statement names the digest of the
statement before it, so that none can be left out.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mailstore.audit.chain import DIGEST_OCTETS, START

_VERSION: Final = 1
_MARK: Final = '{"audit_anchor":'  # beginning of a signed statement in a line of any file
_SIGNATURE_OCTETS: Final = 64

Heads = Mapping[int, tuple[int, bytes]]  # chain to number and digest of its last row


class MalformedAnchor(ValueError):
    """A text that is no anchor; the message says why."""


@dataclass(frozen=True, slots=True)
class Statement:
    """`number`: 1, 2, 3 …; `at`: microseconds since 1970; `before`: digest of the one before."""

    number: int
    at: int
    before: bytes
    heads: Heads

    def text(self) -> str:
        """The statement as signed: a JSON object, keys sorted."""
        heads = {str(chain): [seq, digest.hex()] for chain, (seq, digest) in self.heads.items()}
        plain = {
            "version": _VERSION,
            "number": self.number,
            "at": self.at,
            "before": self.before.hex(),
            "heads": heads,
        }
        return json.dumps(plain, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class SignedStatement:
    """An anchor as kept and sent. `public_key`: of its signer, 32 octets."""

    statement: str
    signature: bytes
    public_key: bytes

    def line(self) -> str:
        """The anchor as a line of JSON, for a file, a log or a message."""
        plain = {
            "audit_anchor": _VERSION,
            "key": self.public_key.hex(),
            "signature": self.signature.hex(),
            "statement": self.statement,
        }
        return json.dumps(plain, separators=(",", ":"))


def text_digest(statement: str) -> bytes:
    """Digest of a statement, named by the next one."""
    return hashlib.sha256(statement.encode()).digest()


def first_before() -> bytes:
    """Digest that the first statement names, which has none before it."""
    return START


def parse_statement(text: str) -> Statement:
    """Parse a statement; its text must be exactly as `Statement.text` makes it. MalformedAnchor."""
    try:
        plain = json.loads(text)
        heads = {
            int(chain): (_number(seq), bytes.fromhex(digest))
            for chain, (seq, digest) in plain["heads"].items()
        }
        found = Statement(
            _number(plain["number"]),
            _number(plain["at"]),
            bytes.fromhex(plain["before"]),
            heads,
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise MalformedAnchor(f"not a statement: {type(error).__name__}") from None
    digests = [found.before, *(digest for _, digest in heads.values())]
    if any(len(one) != DIGEST_OCTETS for one in digests) or found.text() != text:
        raise MalformedAnchor("not a statement as it is written here")
    return found


@dataclass(frozen=True, slots=True)
class FoundAnchors:
    """Anchors of a text. `damaged`: numbers of lines with the mark of an anchor that are none."""

    anchors: list[SignedStatement]
    damaged: list[int]


def find_anchors(text: str) -> FoundAnchors:
    """Find the anchors of a text: one a line, behind anything, as the time in a log."""
    found = FoundAnchors([], [])
    for number, line in enumerate(text.splitlines(), 1):
        start = line.find(_MARK)
        if start < 0:
            continue
        try:
            found.anchors.append(_signed(line[start:]))
        except (ValueError, TypeError, KeyError, RecursionError):
            found.damaged.append(number)
    return found


def _signed(text: str) -> SignedStatement:
    plain, _ = json.JSONDecoder().raw_decode(text)
    found = SignedStatement(
        plain["statement"], bytes.fromhex(plain["signature"]), bytes.fromhex(plain["key"])
    )
    parse_statement(found.statement)
    return found


def _number(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("a number is malformed")
    return value
