"""Summaries of messages: those in the database, and those made from bodies when they are missing.

A message whose body is gone or damaged, or whose key is missing, has no summary: it is unreadable,
and never an error for the others. No transaction is held while bodies are read.
"""

import io
from collections.abc import Collection, Iterator, Sequence
from typing import Any, BinaryIO, Final, NamedTuple

import structlog
from sqlalchemy import Select, select

from foundation.failpoints import failpoint
from mailstore.blobs.store import Store
from mailstore.db.listed import listed_texts
from mailstore.db.schema import messages
from mailstore.errors import BlobDamaged, KeyMissing, NotFound, SealBroken, StoreUnavailable
from mailstore.sealed.row_seal import RowSeal
from mailstore.summaries.form import UnknownForm, from_octets, to_octets
from mailstore.summaries.model import Summary
from mailstore.summaries.reader import read_summary
from mailstore.summary_store.block_rows import mark_stale
from mailstore.summary_store.summary_rows import (
    grouped,
    keep_summaries,
    seal_summaries,
    sealed_summaries,
    summary_bound,
)

_log = structlog.get_logger(__name__)

# Of one body, not of the whole store: these messages are unreadable, the others are not.
UNREADABLE: Final = (NotFound, BlobDamaged, KeyMissing, SealBroken, OSError)

_BATCH: Final = 100  # messages read before their summaries are kept
_BATCH_OCTETS: Final = 8 * 1024 * 1024  # of small bodies at once in memory
_PLACES: Final[Select[Any]] = select(
    messages.c.id, messages.c.blob, messages.c.size, messages.c.trace
).where(listed_texts(messages.c.id, "ids"))


class _Place(NamedTuple):
    """Place of a message's body."""

    id: str
    blob: str
    size: int
    trace: str


def load_summaries(
    store: Store, seal: RowSeal, message_ids: Collection[str], *, structure: bool = False
) -> dict[str, Summary | None]:
    """Summaries by message id, made and kept where they are missing; None: unreadable.

    `structure`: with the tree of parts. Raises StoreUnavailable.
    """
    found = stored_summaries(store, seal, message_ids, structure=structure)
    missing = [one for one in dict.fromkeys(message_ids) if one not in found]
    return found | make_summaries(store, seal, missing) if missing else found


def stored_summaries(
    store: Store,
    seal: RowSeal,
    message_ids: Collection[str],
    *,
    structure: bool = False,
    mailbox_id: int | None = None,
) -> dict[str, Summary | None]:
    """Summaries that are made already, by message id; None: unreadable.

    `mailbox_id`: of messages in a folder of it alone. Raises StoreUnavailable.
    """
    with store.database.read() as conn:
        rows = sealed_summaries(conn, message_ids, mailbox_id)
    return {one: _opened(one, sealed, seal, structure=structure) for one, sealed in rows.items()}


def make_summaries(
    store: Store, seal: RowSeal, message_ids: Sequence[str]
) -> dict[str, Summary | None]:
    """Make the summaries of messages and keep them; None: unreadable. Raises StoreUnavailable.

    A crash loses no more than the summaries of one batch, which are made again.
    """
    made: dict[str, Summary | None] = dict.fromkeys(message_ids)
    for start in range(0, len(message_ids), _BATCH):
        batch = message_ids[start : start + _BATCH]
        read = _read_bodies(store, batch)
        octets = {one: to_octets(summary) for one, summary in read.items() if summary is not None}
        sealed = seal_summaries(octets, seal)
        failpoint("summaries.sealed")
        if sealed:
            with store.database.write() as conn:
                keep_summaries(conn, sealed)
                mark_stale(conn, sorted(sealed))
                failpoint("summaries.inserted")
            failpoint("summaries.committed")
        made.update(read)
    return made


def open_bodies(
    store: Store, message_ids: Sequence[str]
) -> Iterator[tuple[str, BinaryIO | None, bytes]]:
    """Message id, body and trace of each message that exists; body None: unreadable.

    Small bodies are read by few queries. A body is closed before the next. Reading it may raise
    `UNREADABLE`. Raises StoreUnavailable.
    """
    for batch, sealed in _sealed_batches(store, message_ids):
        for row in batch:
            try:
                body = (
                    io.BytesIO(store.blobs.content(row.blob, sealed[row.blob]))
                    if row.blob in sealed
                    else store.blobs.open(row.blob, row.size)
                )
            except UNREADABLE:
                yield row.id, None, b""
                continue
            with body:
                yield row.id, body, row.trace.encode("utf-8", "surrogateescape")


def read_messages(store: Store, message_ids: Sequence[str]) -> Iterator[list[tuple[str, bytes]]]:
    """Batches of messages by id: all octets, trace fields first; unreadable ones are left out.

    Raises StoreUnavailable.
    """
    content = store.blobs.content
    for batch, sealed in _sealed_batches(store, message_ids):
        found = []
        for message_id, blob, size, trace in batch:
            try:
                if (octets := sealed.get(blob)) is not None:
                    body = content(blob, octets)
                else:
                    with store.blobs.open(blob, size) as file:
                        body = file.read()
            except UNREADABLE:
                continue
            found.append((message_id, trace.encode("utf-8", "surrogateescape") + body))
        yield found


def _sealed_batches(
    store: Store, message_ids: Sequence[str]
) -> Iterator[tuple[list[_Place], dict[str, bytes]]]:
    """Rows of messages, with the small bodies among theirs."""
    for ids in grouped(message_ids):
        with store.database.read() as conn:
            # The driver's tuples: SQLAlchemy's rows take as long again as the reading.
            found = conn.execute(_PLACES, {"ids": ids}).cursor.fetchall()
        for batch in _batches([_Place(*row) for row in found]):
            yield batch, store.blobs.sealed({one.blob for one in batch})


def _batches(
    rows: Sequence[_Place],
) -> Iterator[list[_Place]]:
    batch: list[_Place] = []
    octets = 0
    for row in rows:
        batch.append(row)
        octets += min(row.size, _BATCH_OCTETS)
        if octets >= _BATCH_OCTETS:
            yield batch
            batch, octets = [], 0
    if batch:
        yield batch


def _read_bodies(store: Store, message_ids: Sequence[str]) -> dict[str, Summary | None]:
    read: dict[str, Summary | None] = {}
    faults: dict[str, str] = {}  # message id by type of error
    for message_id, body, trace in open_bodies(store, message_ids):
        read[message_id] = None
        if body is None:
            continue
        try:
            read[message_id] = read_summary(body, trace)
        except UNREADABLE:
            continue
        except StoreUnavailable:
            raise
        except Exception as error:
            # Any error: a message that the reader fails on must not hide all the others.
            faults.setdefault(type(error).__name__, message_id)
    for kind, message_id in faults.items():
        # Our own bug; its text may hold content.
        _log.error("summaries.fault", why=kind, message=message_id)
    return read


def _opened(message_id: str, sealed: bytes, seal: RowSeal, *, structure: bool) -> Summary | None:
    try:
        octets = seal.open_octets(sealed, summary_bound(message_id))
        return from_octets(octets, structure=structure)
    except (*UNREADABLE, UnknownForm):
        return None
