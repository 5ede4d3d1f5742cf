"""Comparison of a store with the ledger of the clients.

Each acknowledged message is stored once, under the id of its reply, for all its recipients and with
its octets. An unacknowledged message is stored whole, at most once per sending, or not at all.
"""

import hashlib
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from mailstore.blobs.store import Store
from mailstore.db.schema import entries, messages
from mailstore.errors import MailstoreError
from tests.crash.load import SENDER, Sending

_Key = tuple[str, tuple[str, ...]]  # blob and recipients


@dataclass(slots=True)
class Verdict:
    """Number of compared messages; `problems` describes each fault."""

    acknowledged: int = 0
    found: int = 0
    lost: int = 0
    doubled: int = 0
    unanswered: int = 0  # stored, though their senders got no reply
    lagged: int = 0  # lost with a primary whose standby lagged
    problems: list[str] = field(default_factory=list)

    def add(self, other: "Verdict") -> None:
        """Add another verdict."""
        self.acknowledged += other.acknowledged
        self.found += other.found
        self.lost += other.lost
        self.doubled += other.doubled
        self.unanswered += other.unanswered
        self.lagged += other.lagged
        self.problems += other.problems

    def beyond(self, before: "Verdict") -> "Verdict":
        """The findings that are not in an earlier verdict."""
        return Verdict(
            self.acknowledged - before.acknowledged,
            self.found - before.found,
            self.lost - before.lost,
            self.doubled - before.doubled,
            self.unanswered - before.unanswered,
            self.lagged - before.lagged,
            [one for one in self.problems if one not in before.problems],
        )


def _rows(store: Store) -> dict[str, _Key]:
    """Blob and recipients of each message of the load, by id."""
    recipients: dict[str, list[str]] = {}
    blobs: dict[str, str] = {}
    with store.database.read() as connection:
        query = (
            select(messages.c.id, messages.c.blob, entries.c.recipient)
            .outerjoin_from(messages, entries)
            .where(messages.c.sender == SENDER)
        )
        for key, blob, recipient in connection.execute(query):
            blobs[key] = blob
            recipients.setdefault(key, []).append(recipient or "nobody")
    return {key: (blob, tuple(sorted(recipients[key]))) for key, blob in blobs.items()}


def judge(
    store: Store, sendings: Sequence[Sending], whole: set[str], lagged: Container[str] = ()
) -> Verdict:
    """Compare; blobs in `whole` were read before, and newly read blobs are added.

    Messages with an id in `lagged` may be missing, lost with their primary.
    """
    verdict, rows = Verdict(), _rows(store)
    open_ends: Counter[_Key] = Counter()
    for sending in sendings:
        key: _Key = (sending.blob, tuple(sorted(sending.recipients)))
        if not sending.accepted:
            open_ends[key] += 1
            continue
        verdict.acknowledged += 1
        found = rows.pop(sending.accepted, None)
        if found == key:
            verdict.found += 1
        elif found is None and sending.accepted in lagged:
            verdict.lagged += 1
        else:
            verdict.lost += 1
            verdict.problems.append(f"{sending.accepted}: acknowledged, and there is {found}")
    for message, key in rows.items():
        if open_ends[key]:
            open_ends[key] -= 1
            verdict.unanswered += 1
        else:
            verdict.doubled += 1
            verdict.problems.append(f"{message}: there once more than it was sent, or in part")
    needed = {key[0] for key in rows.values()}
    needed |= {one.blob for one in sendings if one.accepted and one.accepted not in lagged}
    for blob in needed - whole:
        problem = _read(store, blob)
        if problem:
            verdict.lost += 1
            verdict.problems.append(problem)
    whole |= needed
    return verdict


def _read(store: Store, blob: str) -> str:
    try:
        with store.blobs.open(blob) as content:
            right = hashlib.sha256(content.read()).hexdigest() == blob
    except MailstoreError as error:
        return f"{blob}: {error}"
    return "" if right else f"{blob}: other octets"
