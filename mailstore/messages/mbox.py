"""Export of a mailbox as an mbox file, in the mboxrd dialect (RFC 4155 and its appendix A).

Each message: a `From ` line with the envelope sender and the UTC time of arrival, `Return-Path`
(RFC 5321 §4.4), the trace fields, the body. Lines end in LF. A line of any number of `>` and `From
` gets another `>`; removing it restores the message exactly. Nothing else is changed. The standard
library's `mailbox.mbox` quotes irreversibly and holds whole messages in memory; here messages
stream.

An unreadable body does not stop the export: each body is read to its end, which verifies it, before
any octet is written. A message whose body fails is left out and reported.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO, Self

from mailstore.blobs.interface import BlobStore
from mailstore.db.database import Database
from mailstore.errors import BlobDamaged, KeyMissing, NotFound, StoreUnavailable
from mailstore.messages.messages import MailboxEntry, Message, list_entries

_CHUNK = 256 * 1024  # octets of a body in memory at once
_PAGE = 200  # entries read per transaction
_GIVE_UP = 3  # failures of the store in a row (damaged bodies not counted) that end the export
_FROM_LINE = re.compile(rb"^(?=>*From )", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SkippedMessage:
    """A message left out of an export, with the reason in a line."""

    message: str
    reason: str


@dataclass(frozen=True, slots=True)
class ExportResult:
    """Number of messages written whole, and the messages left out."""

    count: int
    skipped: tuple[SkippedMessage, ...] = ()


def export_mailbox(
    database: Database, blobs: BlobStore, mailbox_id: int, output: BinaryIO
) -> ExportResult:
    """Write all messages of a mailbox to a binary stream, oldest first.

    No transaction is held while bodies are copied. Raises StoreUnavailable if the whole store does
    not answer, and OSError for the output; output written by then is whole.
    """
    return write_mbox(_all_entries(database, mailbox_id), blobs, output)


def write_mbox(held: Iterable[MailboxEntry], blobs: BlobStore, output: BinaryIO) -> ExportResult:
    """Write the messages of these entries, in order; errors as `export_mailbox`."""
    count = in_a_row = 0
    left_out: list[SkippedMessage] = []
    for entry in held:
        message = entry.message
        try:
            with _verified(blobs, message.blob) as body:
                _write(message, body, output)
        except _Unreadable as error:
            left_out.append(SkippedMessage(message.id, error.reason))
            in_a_row = 0 if error.of_body else in_a_row + 1
            if in_a_row == _GIVE_UP:
                raise StoreUnavailable(error.reason) from error
        else:
            count, in_a_row = count + 1, 0
    return ExportResult(count, tuple(left_out))


class _Unreadable(Exception):
    """An unreadable body; `of_body` is False if the whole store may be the cause."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.reason = str(error)
        self.of_body = isinstance(error, BlobDamaged | KeyMissing | NotFound)


class _Body:
    """A body whose read errors are `_Unreadable`, to distinguish them from the output's."""

    def __init__(self, blobs: BlobStore, blob: str) -> None:
        try:
            self._file = blobs.open(blob)
        except (NotFound, StoreUnavailable, OSError) as error:
            raise _Unreadable(error) from error

    def read(self, size: int) -> bytes:
        """Return up to `size` octets, none at the end."""
        try:
            return self._file.read(size)
        except (StoreUnavailable, OSError) as error:
            raise _Unreadable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _verified(blobs: BlobStore, blob: str) -> _Body:
    """Open a body after a first complete reading, which verifies it. Raises _Unreadable."""
    with _Body(blobs, blob) as body:
        while body.read(_CHUNK):
            pass
    return _Body(blobs, blob)


def _write(message: Message, body: _Body, output: BinaryIO) -> None:
    """Write a message. Raises _Unreadable if its body fails in the second reading."""
    output.write(_from_line(message.sender, message.received_at))
    head = f"Return-Path: <{message.sender}>\n{message.trace}".encode()
    output.write(_quote(head))
    last = head
    try:
        for block in _blocks(body):
            output.write(_quote(block))
            last = block
    finally:
        # An mbox reader takes the blank line before the next From_ line for a separator.
        output.write(b"\n" if last.endswith(b"\n") else b"\n\n")


def _all_entries(database: Database, mailbox_id: int) -> Iterator[MailboxEntry]:
    after = 0
    while True:
        with database.read() as conn:
            page = list_entries(conn, mailbox_id, after=after, limit=_PAGE)
        if not page:
            return
        yield from page
        after = page[-1].id


def _from_line(sender: str, received_at: datetime) -> bytes:
    # Readers split the line at spaces, which a quoted local part may contain. Return-Path is exact.
    name = "".join(sender.split()) or "MAILER-DAEMON"
    return f"From {name} {received_at.astimezone(UTC).ctime()}\n".encode()


def _blocks(body: _Body) -> Iterator[bytes]:
    """Split a body into blocks of whole lines; the last line may lack its end."""
    rest = b""
    while chunk := body.read(_CHUNK):
        cut = chunk.rfind(b"\n") + 1
        if not cut:
            rest += chunk
            continue
        yield rest + chunk[:cut]
        rest = chunk[cut:]
    if rest:
        yield rest


def _quote(lines: bytes) -> bytes:
    return _FROM_LINE.sub(b">", lines).replace(b"\r\n", b"\n")
