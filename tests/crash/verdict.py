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

_Key = tuple[str, tuple[str, ...]]  # digest of the body, and recipients


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


def _rows(store: Store, digests: dict[str, str]) -> dict[str, _Key]:
    """Digest of the body and recipients of each message of the load, by id."""
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
    for blob in set(blobs.values()) - set(digests):
        digests[blob] = _digest(store, blob)
    return {key: (digests[blob], tuple(sorted(recipients[key]))) for key, blob in blobs.items()}


def judge(
    store: Store, sendings: Sequence[Sending], digests: dict[str, str], lagged: Container[str] = ()
) -> Verdict:
    """Compare; `digests` has those of the bodies read before, by name; new ones are added.

    Messages with an id in `lagged` may be missing, lost with their primary.
    """
    verdict, rows = Verdict(), _rows(store, digests)
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
    return verdict


def _digest(store: Store, blob: str) -> str:
    """SHA-256 of a body; the error if it cannot be read whole."""
    try:
        with store.blobs.open(blob) as content:
            return hashlib.sha256(content.read()).hexdigest()
    except MailstoreError as error:
        return f"{blob}: {error}"
