"""Export to mbox, read back with the standard library's `mailbox`."""

import io
import itertools
import mailbox
import re
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailstore.blobs.file_store import FileBlobStore
from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox
from mailstore.messages import mbox as export
from mailstore.messages.mbox import ExportResult, export_mailbox, write_mbox
from mailstore.messages.messages import (
    LocalDelivery,
    MailboxEntry,
    Message,
    NewMessage,
    store_messages,
)
from mailstore.sealed.blob_format import BlobFormat
from mailstore.sealed.keyring import Keyring, make_first
from tests.support.clock import NOW

TRACE = "Received: from peer\r\n\tby us; Sun, 22 Nov 2026 10:11:12 +0000\r\n"
HEAD = b"From: a@chu.mssante.fr\r\nSubject: [FIN] \xc3\xa9\r\nX-MSS-X: 1\r\n\r\n"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileBlobStore]:
    store = FileBlobStore(tmp_path / "blobs")
    yield store
    store.close()


def message(
    store: FileBlobStore,
    body: bytes,
    sender: str = "a@chu.mssante.fr",
    received_at: datetime = NOW,
    number: int = 0,
) -> Message:
    draft = store.draft()
    draft.write(body)
    [blob] = store.seal([draft])
    return Message(f"{number:032x}", sender, str(blob), len(body), TRACE, "local", "s", received_at)


def entry(held: Message) -> MailboxEntry:
    return MailboxEntry(1, 1, "b@chu.mssante.fr", NOW, held)


def read_back(mbox: bytes, path: Path) -> list[bytes]:
    """Read an mbox as other software would, and undo the mboxrd quoting."""
    path.write_bytes(mbox)
    with_quotes = mailbox.mbox(path, create=False)
    try:
        keys = with_quotes.keys()
        return [re.sub(rb"(?m)^>(>*From )", rb"\1", with_quotes.get_bytes(key)) for key in keys]
    finally:
        with_quotes.close()


def exported(store: FileBlobStore, *bodies: bytes) -> bytes:
    output = io.BytesIO()
    done = write_mbox([entry(message(store, body)) for body in bodies], store, output)
    assert done == ExportResult(len(bodies))
    return output.getvalue()


def expected(body: bytes) -> bytes:
    head = f"Return-Path: <a@chu.mssante.fr>\r\n{TRACE}".encode()
    text = (head + body).replace(b"\r\n", b"\n")
    return text if text.endswith(b"\n") else text + b"\n"


BODIES = [
    HEAD + b"Bonjour,\r\n\r\nFrom here\r\n>From there\r\n>>From\tno\r\nfrom x\r\n From y\r\n",
    HEAD + b"From the first line\r\n",
    b"From the very first line, in the header\r\n\r\n",
    HEAD + b"no end of line",
    HEAD + b"From the last line",
    HEAD + b"\r\n\r\n\r\nFrom a@b Sun Nov 22 10:11:12 2026\r\n\r\nblank lines around\r\n\r\n\r\n",
    b"",
    HEAD + bytes(range(256)).replace(b"\r", b"").replace(b"\n", b"") + b"\r\n",
    HEAD + b"l" * 600_000 + b"\r\nFrom after a long line\r\n",
    HEAD + b"text\rwith\rlone\rCR\r\n",
]


def test_messages_read_back_exactly(store: FileBlobStore, tmp_path: Path) -> None:
    mbox = exported(store, *BODIES)
    assert read_back(mbox, tmp_path / "mbox") == [expected(body) for body in BODIES]
    assert b"\r\n" not in mbox


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bodies=st.lists(
        st.lists(
            st.sampled_from([b"From ", b">", b"\r\n", b"x", b" ", b"From", b"\r", b"\xe9"])
        ).map(b"".join),
        max_size=4,
    ),
    chunk=st.integers(1, 9),
)
def test_any_body_cut_anywhere_reads_back_exactly(
    store: FileBlobStore, tmp_path: Path, bodies: list[bytes], chunk: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "_CHUNK", chunk)
        mbox = exported(store, *bodies)
    assert read_back(mbox, tmp_path / "mbox") == [expected(body) for body in bodies]


@pytest.mark.parametrize(
    ("sender", "from_line", "return_path"),
    [
        ("a@chu.mssante.fr", b"From a@chu.mssante.fr Sun Nov 22 ", b"<a@chu.mssante.fr>"),
        ("", b"From MAILER-DAEMON Sun Nov 22 ", b"<>"),
        ('"a b"@c.fr', b'From "ab"@c.fr Sun Nov 22 ', b'<"a b"@c.fr>'),
        ("é@c.fr", "From é@c.fr Sun Nov 22 ".encode(), "<é@c.fr>".encode()),
    ],
)
def test_the_envelope_is_on_top(
    store: FileBlobStore, sender: str, from_line: bytes, return_path: bytes
) -> None:
    # 00:11:12 on Monday in Paris is still Sunday in UTC.
    paris = timezone(timedelta(hours=1))
    at = datetime(2026, 11, 23, 0, 11, 12, tzinfo=paris)
    output = io.BytesIO()
    write_mbox([entry(message(store, HEAD, sender, at))], store, output)
    assert output.getvalue() == (
        from_line
        + b"23:11:12 2026\nReturn-Path: "
        + return_path
        + b"\n"
        + TRACE.replace("\r\n", "\n").encode()
        + HEAD.replace(b"\r\n", b"\n")
        + b"\n"
    )


def test_a_mailbox_is_exported_whole_in_its_order(
    database: Database, store: FileBlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_PAGE", 3)
    rpps = Identifier(IdentifierKind.RPPS, "10000001916")
    bodies = [HEAD + b"number %d\r\n" % i for i in range(8)]
    with database.write() as conn:
        add_domain(conn, "chu.mssante.fr", now=NOW)
        a, b = (
            add_mailbox(conn, f"{local}@chu.mssante.fr", MailboxType.PER, rpps, now=NOW)
            for local in "ab"
        )
        new = [
            # Falling ids: the order is that of delivery.
            NewMessage(message(store, body, number=99 - i), (LocalDelivery(box.id, "x"),))
            for i, (body, box) in enumerate(itertools.product(bodies, (a, b)))
        ]
        store_messages(conn, new, now=NOW)
    output = io.BytesIO()
    assert export_mailbox(database, store, a.id, output) == ExportResult(8)
    assert read_back(output.getvalue(), tmp_path / "mbox") == [expected(body) for body in bodies]
    assert export_mailbox(database, store, 99, io.BytesIO()) == ExportResult(0)


def _remove(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _alter(path: Path) -> None:
    """Change only the last segment: all segments before it are readable."""
    octets = bytearray(path.read_bytes())
    octets[-1] ^= 1
    path.write_bytes(octets)


def _unreadable(path: Path) -> None:
    """Like a bad sector, or a folder in the place of the file: a system error."""
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("damage", [_remove, _cut, _alter, _unreadable])
def test_a_damaged_body_is_left_out_and_the_sound_ones_are_not(
    tmp_path: Path, damage: Callable[[Path], None], *, encrypted: bool
) -> None:
    make_first(tmp_path / "keys", NOW)
    form = BlobFormat(Keyring(tmp_path / "keys"), encrypt=True) if encrypted else BlobFormat()
    store = FileBlobStore(tmp_path / "blobs", form)
    first, last = message(store, HEAD, number=1), message(store, HEAD + b"end", number=3)
    bad = message(store, HEAD + b"x" * 76 + b"\r\n" * 150_000, number=2)
    path = store.path(bad.blob)
    path.chmod(0o600)
    damage(path)
    output = io.BytesIO()
    done = write_mbox(map(entry, (first, bad, last)), store, output)
    assert output.getvalue() == exported(store, HEAD, HEAD + b"end")
    assert done.count == 2
    [left_out] = done.skipped
    assert left_out.message == bad.id
    assert bad.blob in left_out.reason
    store.close()


def test_a_store_that_does_not_answer_ends_the_export(store: FileBlobStore) -> None:
    held = [entry(message(store, HEAD + b"%d" % i)) for i in range(4)]
    for one in held:
        path = store.path(one.message.blob)
        path.unlink()
        path.mkdir()
    with pytest.raises(StoreUnavailable, match=held[2].message.blob):
        write_mbox(held, store, io.BytesIO())


def test_a_large_message_does_not_sit_in_memory(store: FileBlobStore, tmp_path: Path) -> None:
    line = b"From " + b"x" * 71 + b"\r\n"
    large = entry(message(store, HEAD + line * (25_000_000 // len(line))))
    with (tmp_path / "mbox").open("wb") as output:
        tracemalloc.start()
        write_mbox([large], store, output)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 3_000_000
