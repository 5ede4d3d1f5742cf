"""The header of a message that a mailbox of ours sends, as the recipients get it.

A submission server completes the header of a mail program (RFC 6409 §8): Bcc is removed
(RFC 5322 §3.6.3), Date and Message-ID are added if they are missing (§3.6.1, §3.6.4).  All else
stays, octet by octet.  The author must be the sending mailbox.
"""

import email.errors
from collections.abc import Iterator
from datetime import datetime
from email.policy import default as policy
from email.utils import format_datetime
from typing import BinaryIO, Final

from mailstore.mailboxes.address import address_key
from relay.smtp.address import SmtpAddress
from relay.smtp.errors import SmtpError
from relay.smtp.headers import MAX_HEADER
from relay.smtp.reply import Reply

_HIDDEN: Final = frozenset({b"bcc", b"resent-bcc"})
# Exceptions of the standard library's parser for fields that it does not foresee.
_UNREADABLE: Final = (email.errors.MessageError, ValueError, IndexError, AttributeError, TypeError)


class PreparedMessage:
    """A message to be read from its start, with a prepared header; the rest is streamed.

    Raises SmtpError for a message that is empty, has no header, or has another author.
    """

    def __init__(self, body: BinaryIO, sender: SmtpAddress, at: datetime, message_id: str) -> None:
        first = body.read(MAX_HEADER + 1)
        end = _end_of_header(first)
        if end is not None:
            first = prepare(first[:end], sender, at, message_id) + first[end:]
        elif len(first) <= MAX_HEADER:  # the message is all header
            first = prepare(first, sender, at, message_id)
        # Admission refuses a longer header, with the reason.
        self._first, self._rest = first, body

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` octets, none at the end."""
        if not self._first:
            return self._rest.read(size)
        size = len(self._first) if size < 0 else size
        taken, self._first = self._first[:size], self._first[size:]
        return taken


def prepare(section: bytes, sender: SmtpAddress, at: datetime, message_id: str) -> bytes:
    """The header section for the recipients, without the empty line after it.

    `at` is aware; `message_id` goes between angle brackets.  Raises SmtpError as PreparedMessage.
    """
    if not section.strip():
        raise SmtpError(Reply(550, "5.6.0", "Message is empty, or begins with an empty line"))
    fields = list(_fields(section))
    _check_author([field for field in fields if _name(field) == b"from"], sender)
    kept = [field for field in fields if _name(field) not in _HIDDEN]
    names = {_name(field) for field in kept}
    line_end = b"\r\n" if b"\r\n" in section else b"\n"
    if not kept[-1].endswith(b"\n"):
        kept[-1] += line_end
    if b"date" not in names:
        kept.append(b"Date: " + format_datetime(at).encode("ascii") + line_end)
    if b"message-id" not in names:
        kept.append(f"Message-ID: <{message_id}>".encode() + line_end)
    return b"".join(kept)


def _end_of_header(octets: bytes) -> int | None:
    """The offset of the empty line after the header, None if there is none."""
    if octets.startswith((b"\r\n", b"\n")):
        return 0
    found = [at + 1 for mark in (b"\n\n", b"\n\r\n") if (at := octets.find(mark)) != -1]
    return min(found, default=None)


def _fields(section: bytes) -> Iterator[bytes]:
    """Each field with its continuation lines (RFC 5322 §2.2.3)."""
    field = b""
    for line in section.splitlines(keepends=True):
        if field and not line.startswith((b" ", b"\t")):
            yield field
            field = b""
        field += line
    yield field


def _name(field: bytes) -> bytes:
    return field.partition(b":")[0].strip().lower()


def _check_author(fields: list[bytes], sender: SmtpAddress) -> None:
    if len(fields) != 1:
        found = "no From field" if not fields else "several From fields"
        raise SmtpError(Reply(550, "5.6.0", f"Message has {found}; give one: From: {sender}"))
    authors = _addresses(fields[0].partition(b":")[2].decode("utf-8", "replace"))
    if authors != [address_key(str(sender))]:
        found = ", ".join(authors[:5]) or "no address that can be read"
        reply = Reply(550, "5.7.1", f"From names {found}, not the sender {sender}")
        raise SmtpError(reply)


def _addresses(value: str) -> list[str]:
    """The addresses of a From field as a mail program reads them; none if it is unreadable."""
    unfolded = " ".join(value.split())
    try:
        header = policy.header_factory("from", unfolded)
        found = [str(one.addr_spec) for one in header.addresses]
    except _UNREADABLE:
        return []
    if any(isinstance(one, email.errors.InvalidHeaderDefect) for one in header.defects):
        return []  # each mail program would read it in its own way
    return list(map(address_key, found))
