"""A mailbox as one mbox file, in the mboxrd dialect (RFC 4155 and its appendix A).

Each message: a `From ` line with the envelope sender and the UTC time of arrival, `Return-Path`
(RFC 5321 §4.4), the trace fields, the body. Lines end in LF; a line of `>` and `From ` gets one
more `>`, so that removing one from each such line restores the message exactly. Nothing else is
changed. The standard library's `mailbox.mbox` quotes in a way that cannot be undone, and holds
whole messages in memory: here they stream.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import BinaryIO

from mailstore.database import Database
from mailstore.messages import Entry, list_entries
from mailstore.stores import BlobStore

_CHUNK = 256 * 1024  # bytes of a body in memory at once
_PAGE = 200  # entries read per transaction
_FROM_LINE = re.compile(rb"^(?=>*From )", re.MULTILINE)


def export_mailbox(database: Database, blobs: BlobStore, mailbox_id: int, output: BinaryIO) -> int:
    """Write all messages of a mailbox to a binary stream, oldest first; returns their number.

    No transaction is held while bodies are copied. Raises NotFound for a body that is missing (what
    was written until then is whole) and StoreUnavailable.
    """
    return write_mbox(_all_entries(database, mailbox_id), blobs, output)


def write_mbox(held: Iterable[Entry], blobs: BlobStore, output: BinaryIO) -> int:
    """Write the messages of these entries in their order; as `export_mailbox` otherwise."""
    count = 0
    for entry in held:
        message = entry.message
        with blobs.open(message.blob) as body:
            output.write(_from_line(message.sender, message.received_at))
            head = f"Return-Path: <{message.sender}>\n{message.trace}".encode()
            output.write(_quote(head))
            last = head
            for block in _blocks(body):
                output.write(_quote(block))
                last = block
        # An mbox reader takes the blank line before the next From_ line for a separator.
        output.write(b"\n" if last.endswith(b"\n") else b"\n\n")
        count += 1
    return count


def _all_entries(database: Database, mailbox_id: int) -> Iterator[Entry]:
    after = 0
    while True:
        with database.read() as conn:
            page = list_entries(conn, mailbox_id, after=after, limit=_PAGE)
        if not page:
            return
        yield from page
        after = page[-1].id


def _from_line(sender: str, received_at: datetime) -> bytes:
    # Readers split the line at spaces; a quoted local part may hold some. Return-Path is exact.
    name = "".join(sender.split()) or "MAILER-DAEMON"
    return f"From {name} {received_at.astimezone(UTC).ctime()}\n".encode()


def _blocks(body: BinaryIO) -> Iterator[bytes]:
    """Cut a body into whole lines, many at a time; the last one may lack its end."""
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
