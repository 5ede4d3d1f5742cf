"""Store with a sender and a postmaster; mail is settled and DSNs are written as in delivery."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

from foundation.ids import RANDOM_OCTETS, new_id
from mailstore.blobs.bodies import Bodies
from mailstore.blobs.file_store import FileBlobStore
from mailstore.blobs.store import Store
from mailstore.db.database import Database
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.mailboxes import add_domain, add_mailbox, get_mailbox
from mailstore.messages.messages import list_entries
from mailstore.sealed.blob_format import BlobFormat
from relay.acceptance.group_commit import commit
from relay.acceptance.message import AcceptedMessage
from relay.delivery.iteration_commit import IterationCommitter, PendingWrites
from relay.dsn.writer import DsnWriter
from relay.queue.attempt_result import AttemptResult, attempt_result
from relay.queue.lapses import Lapses
from relay.queue.leases import claim
from relay.queue.model import Claim, Lease
from relay.queue.retry import RetryPolicy
from relay.smtp.address import parse_address
from relay.smtp.failure_reason import FailureReason
from relay.smtp.outcome import Outcome, State
from relay.smtp.parameters import DsnNotify, MailParameters, RcptParameters
from tests.support.clock import NOW
from tests.support.delivery.reports import ReadReport, read_report

CLAIRE, POSTMASTER = "claire.martin@a.mssante.fr", "courrier@a.mssante.fr"
TO = "dr@b.mssante.fr"
BODY = b"From: <claire.martin@a.mssante.fr>\r\nSubject: le secret\r\n\r\nSIDA\r\n"
RETRY = RetryPolicy()
RPPS = Identifier(IdentifierKind.RPPS, "10000001916")


def pending(
    results: Sequence[AttemptResult] = (),
    *,
    renewals: Sequence[Lease] = (),
    unattempted: Sequence[Lease] = (),
    wanted: Sequence[Lease] = (),
    probes: Collection[int] = (),
) -> PendingWrites:
    """Some of the writes of an iteration."""
    return PendingWrites(results, {}, renewals, unattempted, wanted, probes)


class DeliveryStore:
    """Store with a sender and a postmaster, and the DSN writer and committer of delivery."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.store = Store(
            Bodies(FileBlobStore(folder / "blobs", BlobFormat()), database, lambda: NOW), database
        )
        self.chance = Random(1)
        with database.write() as connection:
            add_domain(connection, "a.mssante.fr", now=NOW)
            for address in (CLAIRE, POSTMASTER):
                add_mailbox(connection, address, MailboxType.PER, RPPS, now=NOW)
        self.journal: list[tuple[str, dict[str, object]]] = []
        self.dsn_writer = DsnWriter(
            self.store,
            "smtp.a.mssante.fr",
            parse_address(POSTMASTER),
            RETRY.life,
            self.new_id,
            lambda event, **facts: self.journal.append((event, facts)),
        )

    def committer(
        self, clock: Callable[[], datetime], lapses: Lapses | None = None
    ) -> IterationCommitter:
        """The committer of a delivery process that has just started, unless `lapses` says other."""
        given = () if lapses is None else (lapses,)
        return IterationCommitter(
            self.store, self.dsn_writer, "node:1", RETRY, self.chance, clock, *given
        )

    def new_id(self) -> str:
        return new_id(NOW, self.chance.randbytes(RANDOM_OCTETS))

    def send(
        self,
        *notify: DsnNotify,
        sender: str | None = CLAIRE,
        body: bytes = BODY,
        parameters: MailParameters = MailParameters(),  # noqa: B008 - frozen
    ) -> Claim:
        """Queue a message and lease it."""
        self.queue(*notify, sender=sender, body=body, parameters=parameters)
        (taken,) = self.take()
        return taken

    def take(self, now: datetime = NOW) -> list[Claim]:
        """Lease due deliveries."""
        with self.store.database.write() as connection:
            return claim(
                connection,
                owner="node:1",
                now=now,
                lease=timedelta(days=9),
                limit=10,
                wait=lambda _: timedelta(minutes=1),
            )

    def queue(
        self,
        *notify: DsnNotify,
        sender: str | None = CLAIRE,
        body: bytes = BODY,
        parameters: MailParameters = MailParameters(),  # noqa: B008 - frozen
        recipients: tuple[str, ...] = (TO,),
    ) -> str:
        """Queue a message to recipients of one domain; returns its id."""
        draft = self.store.blobs.draft()
        draft.write(body)
        to = tuple(map(parse_address, recipients))
        asked = dict.fromkeys(to, RcptParameters(frozenset(notify))) if notify else {}
        submission = AcceptedMessage(
            id=self.new_id(),
            session="0" * 32,
            peer="local",
            sender=parse_address(sender) if sender else None,
            received_at=NOW,
            trace=b"",
            draft=draft,
            parameters=parameters,
            remote={to[0].domain: to},
            asked=asked,
        )
        assert commit(self.store, [(submission, None)], NOW) == [None]
        return submission.id

    def conclude(
        self, taken: Claim, outcomes: Mapping[str, Outcome], *, after: timedelta
    ) -> State | None:
        """Settle an attempt like the courier."""
        now = NOW + after
        done = attempt_result(
            taken,
            outcomes,
            error="no host answered",
            reason=FailureReason.CONNECTION,
            now=now,
            policy=RETRY,
        )
        return self.settle(done)

    def settle(self, done: AttemptResult) -> State | None:
        (recorded,) = self.committer(lambda: done.at).record([done])
        return recorded.state

    def mail(self, address: str) -> list[ReadReport]:
        """Reports in a mailbox."""
        with self.store.database.read() as connection:
            mailbox = get_mailbox(connection, address)
            found = list_entries(connection, mailbox.id)
        assert all(entry.message.sender == "" for entry in found)
        return [self.read(entry.message.blob) for entry in found]

    def read(self, blob: str) -> ReadReport:
        """Report in the store, parsed."""
        with self.store.blobs.open(blob) as body:
            return read_report(body.read())
