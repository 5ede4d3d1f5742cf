"""Acceptance: an admitted message becomes durable, or the peer keeps it.

The order (docs/durability.md): bodies are synced and renamed into place, their folders synced, then
one SQL transaction stores all rows of the group; only after its commit is any `250` sent.
Messages that arrive during a commit form the next group, so a lone message does not wait and a busy
second shares its syncs.  With that rule alone, busy sessions would split into two alternating
groups, and pay for twice as many commits.  So if the last group left `BUSY` or more messages in
hand, the next group waits a moment until as many have arrived.  A fault of one message never fails
the others.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Final

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from foundation.best_effort import best_effort
from foundation.failpoints import failpoint
from mailstore.blobs.bodies import PreparedBody
from mailstore.blobs.store import Store
from mailstore.errors import StoreUnavailable
from mailstore.messages.messages import LocalDelivery, Message, NewMessage, store_messages
from mailstore.news.changes import note_delivered
from mailstore.news.deliveries import DeliveryNews, tell_delivered
from relay import metrics
from relay.acceptance.message import AcceptedMessage, WithReceipt
from relay.queue.enqueue import enqueue
from relay.queue.model import HeldBack, QueueItem
from relay.queue.wakeup import notify_after_commit, notify_in_transaction
from relay.smtp.errors import StoreDeferred

_log = structlog.get_logger(__name__)

MAX_GROUP: Final = 64
BUSY: Final = 4  # messages in hand: from this number on a group waits for its members
GATHER_SECONDS: Final = 0.008  # the longest wait

# Errors of one message's data: the database or its driver refuses them (a character that cannot be
# encoded).  An unwell database raises StoreUnavailable.
_ITS_OWN: Final = (SQLAlchemyError, ValueError, OverflowError)

_Kept = tuple[AcceptedMessage, PreparedBody]
Record = Callable[..., None]  # of a journal


InTransaction = Callable[[Connection], None]
Tell = Callable[[Collection[int]], None]  # of mailboxes with new entries


def _nothing(_connection: Connection) -> None:
    """Stands in where a transaction has no other part."""


def _unrecorded(_event: str, /, **_facts: object) -> None:
    """Stands in where there is no journal."""


def commit(
    store: Store,
    group: Sequence[WithReceipt],
    now: datetime,
    record: Record = _unrecorded,
    first: InTransaction = _nothing,
    tell: Tell | None = None,
) -> list[StoreDeferred | None]:
    """Make a group of messages durable, each with its receipt; blocks.

    Per message: None, or why it was not stored.

    `now` is the time at which the messages reach their mailboxes.  Every draft has ended when this
    returns.  Deliveries that a hold rule keeps are recorded.  `first` is called at the start of
    each transaction; an SmtpError of it passes, and nothing is stored.  `tell` tells watchers of
    mailboxes after the commit; without it, this waits until they are told.
    """
    told = tell or partial(tell_delivered, store.database)
    drafts = [one.draft for pair in group for one in _both(pair)]
    bodies = iter(store.blobs.prepare(drafts))
    failpoint("blobs.anchored")
    results: list[StoreDeferred | None] = []
    ready: list[tuple[int, list[_Kept]]] = []
    for index, pair in enumerate(group):
        prepared = [(one, next(bodies)) for one in _both(pair)]
        kept = [(one, body) for one, body in prepared if isinstance(body, PreparedBody)]
        why = next((str(body) for _, body in prepared if not isinstance(body, PreparedBody)), None)
        results.append(None if why is None else StoreDeferred(why))
        if why is None:
            ready.append((index, kept))
    try:
        _insert(store, [one for _, parts in ready for one in parts], now, record, first, told)
    except StoreUnavailable as error:
        for index, _ in ready:
            results[index] = StoreDeferred(str(error))
    except _ITS_OWN:
        # A row was refused (a mailbox deleted meanwhile, say): find its message, store the others.
        for index, parts in ready:
            try:
                _insert(store, parts, now, record, first, told)
            except StoreUnavailable as error:
                results[index] = StoreDeferred(str(error))
            except _ITS_OWN as error:
                results[index] = StoreDeferred(_first_line(error), unwell=False)
    return results


def _first_line(error: Exception) -> str:
    """The error of a database or its driver about a message's data, without the statement."""
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {next(iter(str(cause).splitlines()), '')}"


def _both(pair: WithReceipt) -> tuple[AcceptedMessage, ...]:
    message, receipt = pair
    return (message,) if receipt is None else (message, receipt)


def _insert(
    store: Store,
    kept: Sequence[_Kept],
    now: datetime,
    record: Record,
    first: InTransaction,
    tell: Tell,
) -> None:
    if not kept:
        return
    with store.database.write() as connection:
        first(connection)
        failpoint("rows.begun")
        queued, held = _insert_rows(store, connection, kept, now)
        failpoint("rows.inserted")
    failpoint("rows.committed")
    with best_effort:
        tell(_mailboxes(kept))
        if queued:
            notify_after_commit(store.database.url)
        record_held(held, record)


def record_held(held: Sequence[HeldBack], record: Record) -> None:
    """Note in the journal the deliveries that a hold rule keeps."""
    for one in held:
        record(
            "queue.held",
            message=one.message_id,
            delivery=one.id,
            domain=one.domain,
            who="rule",
            why=one.reason,
        )


def insert_rows(
    store: Store, connection: Connection, kept: Sequence[_Kept], now: datetime
) -> tuple[bool, list[HeldBack]]:
    """Insert messages whose larger bodies are durable, inside the caller's transaction.

    Returns whether any message is queued for a peer (the courier must be woken after the commit),
    and the deliveries that a hold rule keeps.  Watchers of the mailboxes are told at the commit.
    """
    note_delivered(connection, _mailboxes(kept))
    return _insert_rows(store, connection, kept, now)


def _mailboxes(kept: Sequence[_Kept]) -> set[int]:
    return {to.mailbox_id for message, _ in kept for to in message.local}


def _insert_rows(
    store: Store, connection: Connection, kept: Sequence[_Kept], now: datetime
) -> tuple[bool, list[HeldBack]]:
    rows = [_row(message, body.blob) for message, body in kept]
    items = [item for message, _ in kept for item in _queue_items(message)]
    store.blobs.keep(connection, [body for _, body in kept], now=now)
    store_messages(connection, rows, now=now)
    held = enqueue(connection, items)
    if items:
        notify_in_transaction(connection)
    return bool(items), held


def _row(message: AcceptedMessage, blob: str) -> NewMessage:
    row = Message(
        id=message.id,
        sender=str(message.sender or ""),
        blob=blob,
        size=message.draft.size,
        trace=message.trace.decode("ascii"),
        peer=message.peer,
        session=message.session,
        received_at=message.received_at,
    )
    to = tuple(LocalDelivery(local.mailbox_id, str(local.address)) for local in message.local)
    return NewMessage(row, to)


def _queue_items(message: AcceptedMessage) -> list[QueueItem]:
    parameters = message.parameters
    return [
        QueueItem(
            message_id=message.id,
            domain=domain,
            recipients=tuple(map(str, addresses)),
            smtputf8=parameters.smtputf8,
            created_at=message.received_at,
            sender=str(message.sender or ""),
            mailbox_type=message.mailbox_type,
            envid=parameters.envid,
            ret=parameters.ret,
            asked={
                str(address): message.asked[address]
                for address in addresses
                if address in message.asked
            },
        )
        for domain, addresses in message.remote.items()
    ]


class GroupCommitter:
    """Gathers concurrent messages into groups and makes each group durable in a thread.

    `failed` is called in the event loop with the reason, if the store is at fault for a message
    that could not be stored; `record` notes deliveries that a hold rule keeps.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], datetime],
        failed: Callable[[str], None] = lambda _: None,
        record: Record = _unrecorded,
    ) -> None:
        self._store = store
        self._clock = clock
        self._failed = failed
        self._record = record
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._news = DeliveryNews(store.database)
        self._waiting: list[tuple[WithReceipt, asyncio.Future[None]]] = []
        self._running: asyncio.Task[None] | None = None
        self._expected = 0  # messages in hand when the last group was done
        self._gathering: asyncio.Future[None] | None = None

    async def accept(
        self, message: AcceptedMessage, receipt: AcceptedMessage | None = None
    ) -> None:
        """Return once the message is durable with its receipt.  Raises StoreDeferred.

        Owns the drafts.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append(((message, receipt), done))
        if len(self._waiting) >= self._expected:
            self._stop_gathering()
        if self._running is None:
            self._running = loop.create_task(self._drain())
        await done

    async def close(self) -> None:
        """Finish the running commit."""
        if self._running is not None:
            await self._running
        self._thread.shutdown()
        self._news.close()

    async def _gather(self) -> None:
        loop = asyncio.get_running_loop()
        self._gathering = loop.create_future()
        timer = loop.call_later(GATHER_SECONDS, self._stop_gathering)
        await self._gathering
        timer.cancel()
        self._gathering = None

    def _stop_gathering(self) -> None:
        if self._gathering is not None and not self._gathering.done():
            self._gathering.set_result(None)

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                if self._expected >= BUSY and len(self._waiting) < self._expected:
                    await self._gather()
                group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
                begun = loop.time()
                results = await loop.run_in_executor(self._thread, self._commit, group)
                self._expected = min(len(group) + len(self._waiting), MAX_GROUP)
                for (_, done), result in zip(group, results, strict=True):
                    if result is not None and result.unwell:
                        self._failed(result.detail)
                    if done.done():  # the peer hung up; its message is stored all the same
                        continue
                    if result is None:
                        done.set_result(None)
                    else:
                        done.set_exception(result)
                with best_effort:
                    metrics.COMMIT_SECONDS.observe(loop.time() - begun)
        finally:
            self._running = None

    def _commit(
        self, group: Sequence[tuple[WithReceipt, asyncio.Future[None]]]
    ) -> list[StoreDeferred | None]:
        pairs = [pair for pair, _ in group]
        try:
            results = commit(self._store, pairs, self._clock(), self._record, tell=self._news.tell)
        except Exception as error:
            # Every waiting session needs a reply.
            _log.exception("commit.failed")
            results = [StoreDeferred(f"{type(error).__name__}: {error}")] * len(group)
        delivered = sum(
            len(message.local)
            for (message, _), result in zip(pairs, results, strict=True)
            if result is None
        )
        if delivered:
            with best_effort:
                metrics.DELIVERED.labels("mailbox", "").inc(delivered)
        return results
