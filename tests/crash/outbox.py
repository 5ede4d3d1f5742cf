"""Outbound mail of operator a under kills, compared with the mail of its peers.

Each queued message reaches all its recipients, with its octets and under its ids. A peer has a
second copy only if a kill came between its `250` and our commit; `killed` finds these cases after
each kill. A sender that asked for a report gets exactly one for each recipient.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Final

from sqlalchemy import func, select

from mailstore.blobs.store import Store
from mailstore.db.schema import messages
from mssante_operator.services.local_submission import open_submitter
from mssante_operator.settings.model import load
from relay.queue.schema import deliveries
from relay.smtp.address import parse_address
from relay.smtp.errors import StoreDeferred
from relay.smtp.parameters import DsnNotify, MailParameters, RcptParameters
from relay.submission.local import LocalSubmitter
from tests.crash.receiver import NOBODY, Receiver
from tests.crash.site import PATIENCE
from tests.crash.verdict import Verdict
from tests.support.delivery.reports import read_report
from tests.support.machines.daemon import Daemon
from tests.support.waiting import until_now

PERSON: Final = "claire.martin@a.mssante.fr"
PROGRAM: Final = "noreply-biologie@a.mssante.fr"
SIZES: Final = (2_000, 2_000, 20_000, 90_000, 400_000)
_LINE: Final = b"0123456789" * 7 + b"abcdef\r\n"
_Delivery = tuple[str, str]  # message id and destination domain


@dataclass(frozen=True, slots=True)
class Posted:
    """A queued message, as its peers must have it."""

    id: str
    blob: str
    recipients: Mapping[str, tuple[str, ...]]  # recipients by domain
    told: frozenset[str]  # recipients for whom the sender gets a report


@dataclass
class Outbox:
    """Queued mail; copies that a peer had before our commit; mail lost with an old primary."""

    daemon: Daemon
    receivers: Sequence[Receiver]
    submitter: LocalSubmitter
    chance: random.Random
    posted: list[Posted] = field(default_factory=list)
    uncommitted: dict[_Delivery, int] = field(default_factory=dict)
    lagged: set[str] = field(default_factory=set)
    past: list[str] = field(default_factory=list)  # earlier reports
    found: Verdict = field(default_factory=Verdict)

    def post(self, count: int) -> None:
        """Queue `count` messages, interactive and bulk, to one operator or several."""
        goal = len(self.posted) + count
        while len(self.posted) < goal:
            # A killed database has ended our connections too: they are made again.
            with suppress(StoreDeferred):
                self.post_once()

    def post_once(self, size: int = 0) -> None:
        """Queue a message, of about `size` octets if given. Raises StoreDeferred."""
        self.posted.append(self._post(size))

    def _post(self, size: int) -> Posted:
        sender = self.chance.choice([PERSON, PERSON, PROGRAM])
        asks = sender == PERSON and self.chance.random() < 0.4
        domains = self.chance.sample(
            [one.domain for one in self.receivers], self.chance.choice([1, 2])
        )
        taken = {
            domain: tuple(f"dr.{n}@{domain}" for n in range(self.chance.choice([1, 1, 3])))
            for domain in domains
        }
        refused = [f"{NOBODY}{domains[0]}"] if self.chance.random() < 0.1 else []
        everybody = [*(one for some in taken.values() for one in some), *refused]
        mark = self.chance.randbytes(16).hex()
        head = f"From: <{sender}>\r\nMessage-ID: <{mark}@a.mssante.fr>\r\nSubject: [FIN]\r\n\r\n"
        body = head.encode() + _LINE * ((size or self.chance.choice(SIZES)) // len(_LINE))
        asked = (
            RcptParameters(notify=frozenset({DsnNotify.SUCCESS, DsnNotify.FAILURE}))
            if asks
            else RcptParameters()
        )
        accepted = self.submitter.submit(
            BytesIO(body),
            parse_address(sender),
            [parse_address(one) for one in everybody],
            parameters=MailParameters(envid=mark),
            asked={parse_address(one): asked for one in everybody},
        )
        return Posted(
            accepted.id,
            hashlib.sha256(accepted.trace + body).hexdigest(),
            taken,
            frozenset(f"{mark} {one}" for one in (everybody if asks else refused)),
        )

    def copies(self) -> Counter[_Delivery]:
        """Number of acknowledgements of each message by each domain's peer."""
        return Counter(
            (receipt.queue_id, one.domain) for one in self.receivers for receipt in one.receipts
        )

    def arrivals(self, count: int) -> None:
        """Wait for `count` more acknowledgements, or until no mail is left to send."""
        goal = self.copies().total() + count
        with self.daemon.store() as store:
            until_now(lambda: self.copies().total() >= goal or not waiting(store), PATIENCE)

    def killed(self) -> None:
        """Note deliveries that a peer and the queue both have; the killed processes are dead."""
        for one in self.receivers:
            one.quiet()
        copies = self.copies()
        with self.daemon.store() as store:
            for delivery in queued(store):
                if copies[delivery]:
                    self.uncommitted[delivery] = copies[delivery]

    def interrupted(self, under_way: Collection[_Delivery]) -> None:
        """Note attempts that were interrupted while others go on: their peers may still answer."""
        copies = self.copies()
        for delivery in under_way:
            self.uncommitted[delivery] = copies[delivery] + 1

    def failed_over(self, under_way: Collection[_Delivery]) -> None:
        """Note mail that a new primary lacks, and mail that it has as waiting though a peer has it.

        `under_way` had a lease on the old primary and a living courier. No other process writes
        yet.
        """
        copies = self.copies()
        with self.daemon.store() as store:
            known, left = stored(store), queued(store)
        self.uncommitted |= {one: copies[one] for one in left if copies[one]}
        self.interrupted(left & set(under_way))
        self.lagged |= {one.id for one in self.posted} - known

    def forget(self) -> None:
        """Start over: earlier mail counts no more, and the queue is empty."""
        self.uncommitted.clear()
        self.lagged.clear()
        self.past += [mark for one in self.posted for mark in one.told]
        del self.posted[:]
        for peer in self.receivers:
            del peer.receipts[:]

    def drained(self, patience: float = PATIENCE) -> None:
        """Wait until no mail waits any more."""
        with self.daemon.store() as store:
            until_now(lambda: not waiting(store), patience)

    def judge(self) -> Verdict:
        """New problems since the last judgement; no mail waits any more."""
        before, self.found = self.found, self._judge()
        return self.found.beyond(before)

    def _judge(self) -> Verdict:
        """Compare all queued mail with all received mail."""
        verdict, copies = Verdict(), self.copies()
        right = {
            (one.id, domain, one.blob, tuple(sorted(who)))
            for one in self.posted
            for domain, who in one.recipients.items()
        }
        for peer in self.receivers:
            verdict.problems += [
                f"{receipt.queue_id}: {peer.domain} has what nobody sent, or to others"
                for receipt in peer.receipts
                if (receipt.queue_id, peer.domain, receipt.blob, receipt.recipients) not in right
            ]
        for key, domain, *_ in right:
            found, allowed = copies[key, domain], 1 + self.uncommitted.get((key, domain), 0)
            verdict.acknowledged += 1
            verdict.found += found > 0
            verdict.doubled += max(found - 1, 0)
            if not found and key in self.lagged:
                verdict.lagged += 1
                continue
            verdict.lost += not found
            if not 1 <= found <= allowed:
                verdict.problems.append(f"{key}: {domain} has it {found} times of {allowed}")
        verdict.problems += self._unreported()
        with self.daemon.store() as store:
            verdict.problems += leases(store)
        return verdict

    def _unreported(self) -> Iterator[str]:
        """Recipients for whom the sender did not get exactly one report."""
        told: Counter[str] = Counter()
        for entry in self.daemon.entries(PERSON) + self.daemon.entries(PROGRAM):
            if entry.message.sender:
                continue  # inbound mail
            report = read_report(self.daemon.body(entry))
            mark = report.message["Original-Envelope-Id"]
            told.update(
                f"{mark} {one['Final-Recipient'].split(';')[1].strip()}"
                for one in report.recipients
            )
        unknown = [one for posted in self.posted if posted.id in self.lagged for one in posted.told]
        for one in (*self.past, *unknown):  # no report needed any more
            del told[one]
        due = Counter(
            one for posted in self.posted if posted.id not in self.lagged for one in posted.told
        )
        for one in (told - due) + (due - told):
            yield f"{one}: reported {told[one]} times, to be reported {due[one]}"


def queued(store: Store) -> set[_Delivery]:
    """Waiting deliveries of the queue."""
    d = deliveries.c
    with store.database.read() as connection:
        found = connection.execute(select(d.message_id, d.domain).where(d.state == "waiting"))
        return {(row.message_id, row.domain) for row in found}


def leased(store: Store, node: str = "") -> set[_Delivery]:
    """Deliveries under a lease, of any machine or of `node`."""
    d = deliveries.c
    with store.database.read() as connection:
        held = select(d.message_id, d.domain).where(d.lease_owner.startswith(node))
        return {(row.message_id, row.domain) for row in connection.execute(held)}


def stored(store: Store) -> set[str]:
    """The ids of all messages."""
    with store.database.read() as connection:
        return set(connection.execute(select(messages.c.id)).scalars())


def waiting(store: Store) -> int:
    """Number of waiting deliveries."""
    return len(queued(store))


def leases(store: Store) -> list[str]:
    """Deliveries still under a lease."""
    d = deliveries.c
    with store.database.read() as connection:
        held = connection.scalar(select(func.count()).where(d.lease_owner.is_not(None)))
        assert connection.scalar(select(func.count()).select_from(messages))
    return [f"{held} deliveries are leased still"] if held else []


@contextmanager
def outbox(daemon: Daemon, receivers: Sequence[Receiver], seed: str) -> Iterator[Outbox]:
    """The outbox of an operator whose files and database are ready."""
    with open_submitter(load(daemon.config)) as limited:
        submitter = replace(limited, limits={})  # thousands from one mailbox
        yield Outbox(daemon, receivers, submitter, random.Random(seed))
