"""Local submission: a mailbox of ours sends, with the same admission and acceptance as peers.

The message is read once; line ends become CRLF, the only change made to it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Final, Protocol

from sqlalchemy import Connection

from foundation.best_effort import best_effort
from foundation.ins import PATIENT_DOMAIN
from mailstore.blobs.store import Store
from mailstore.sealed.draft import Draft
from relay.acceptance.group_commit import Record, commit
from relay.acceptance.message import AcceptedMessage, LocalRecipient
from relay.acceptance.recipient_lookup import (
    FoundRecipient,
    RecipientLookup,
    check_none_closed,
)
from relay.dsn.receipt import receipt_of
from relay.machines.certainty import ListCertainty
from relay.policy.admission import AdmissionFacts, AdmissionPolicy, LocalUser, Stage, admit
from relay.policy.recipient import Recipient, RecipientStatus
from relay.policy.sending_limits import NO_LIMIT, SendingLimits
from relay.policy.sizes import is_report, limit_of, over
from relay.policy.trust_state import TrustState
from relay.smtp.address import SmtpAddress
from relay.smtp.content_size import ContentSize
from relay.smtp.errors import SmtpError
from relay.smtp.headers import HeaderCollector, HeaderFacts, TraceFacts, received_field
from relay.smtp.line_checker import LineChecker
from relay.smtp.message_id import message_id_digest
from relay.smtp.parameters import MailParameters, RcptParameters
from relay.smtp.reply import Reply
from relay.submission.sending_quota import OverLimit, RefusalTrail, SendingQuota

_CHUNK: Final = 256 * 1024


class ReadableMessage(Protocol):
    """A message, to be read from its start."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` octets, none at the end."""


_NOTHING: Final = RcptParameters()


@dataclass(frozen=True, slots=True)
class LocalSubmitter:
    """Submits messages for local mailboxes; blocks.

    `record` notes submitted messages, for `who`, those over a limit, and deliveries that a hold
    rule keeps.  `limits`: of messages and recipients an hour, by the sender's type; `refusals`:
    audit trail of messages over them.
    """

    hostname: str
    policy: AdmissionPolicy
    store: Store
    lookup: RecipientLookup
    trust_state: TrustState
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    record: Record
    who: str = ""
    limits: SendingLimits = field(default_factory=dict)
    refusals: RefusalTrail | None = None

    def submit(
        self,
        body: ReadableMessage,
        sender: SmtpAddress,
        recipients: Sequence[SmtpAddress],
        *,
        parameters: MailParameters = MailParameters(),  # noqa: B008 - frozen
        asked: Mapping[SmtpAddress, RcptParameters] | None = None,
    ) -> AcceptedMessage:
        """Admit and make durable a message; returns it with its id.  Raises SmtpError.

        `parameters` and, by recipient, `asked` are the parameters of MAIL and RCPT (RFC 3461 §4).
        """
        snapshot = self.trust_state.snapshot
        own = self.lookup.find_sender(sender)
        attempt = AdmissionFacts(
            LocalUser(own.state),
            self.policy,
            snapshot.white_list,
            snapshot.problem,
            sender_stated=True,
            sender=sender,
        )
        admit(attempt, Stage.PEER | Stage.SENDER)
        asked = asked or {}
        local: dict[int, LocalRecipient] = {}
        reports_only: list[SmtpAddress] = []
        abroad: dict[str, list[SmtpAddress]] = {}
        named = list(dict.fromkeys(recipients))
        for address, found in zip(named, self.lookup.find_all(named), strict=True):
            self._admit_recipient(attempt, Recipient(address, found.state))
            if found.reports_only:
                reports_only.append(address)
            if found.state is RecipientStatus.FOREIGN:
                abroad.setdefault(address.domain, []).append(address)
            elif found.mailbox_id is not None:
                one = LocalRecipient(found.mailbox_id, address, asked.get(address, _NOTHING))
                local.setdefault(found.mailbox_id, one)
        remote = {domain: tuple(some) for domain, some in abroad.items()}
        attempt = attempt._replace(to_patients=PATIENT_DOMAIN in remote)
        quota = self._quota(own, len(local) + sum(map(len, remote.values())))
        draft, receipt = self.store.blobs.draft(), None
        try:
            if quota is not None:
                quota.check()
            taken = _MessageIntake(draft, self.policy, to_patients=attempt.to_patients)
            taken.read(body)
            header = taken.header
            facts = header.facts()
            attempt = attempt._replace(
                size=draft.size,
                content=taken.content.octets,
                header=facts,
                report=taken.report or (bool(reports_only) and is_report(header.section)),
            )
            admit(attempt, Stage.MESSAGE)
            self._admit_reports_only(attempt, reports_only)
            message = replace(
                self._message(sender, draft, parameters, tuple(local.values()), remote),
                mailbox_type=own.type,
                asked=asked,
            )
            receipt = receipt_of(
                message,
                header.section,
                self.hostname,
                message.received_at,
                self.new_id,
                self.store.blobs.draft,
                own.mailbox_id,
            )
            (failure,) = commit(
                self.store,
                [(message, receipt)],
                self.clock(),
                self.record,
                partial(_take, quota=quota, mailbox_ids=list(local)),
            )
        except OverLimit as error:
            if quota is not None:
                quota.refused(error, sender, self.who, self.record)
            raise
        finally:
            draft.discard()
            if receipt is not None:
                receipt.draft.discard()
        if failure is not None:
            raise failure
        with best_effort:
            self._tell(message, receipt, facts)
        return message

    def _quota(self, own: FoundRecipient, recipients: int) -> SendingQuota | None:
        """Quota of the sending mailbox; None without limits."""
        if not self.limits or own.mailbox_id is None or own.type is None:
            return None
        limit = self.limits.get(own.type, NO_LIMIT)
        return SendingQuota(
            self.store.database,
            own.mailbox_id,
            own.type,
            limit,
            recipients,
            self.clock,
            self.refusals,
        )

    def _admit_recipient(self, attempt: AdmissionFacts, recipient: Recipient) -> None:
        """Admit a recipient.  Raises Refused; for good only by the newest list."""
        attempt, white_list = attempt._replace(recipient=recipient), attempt.white_list
        foreign = recipient.state is RecipientStatus.FOREIGN
        if foreign and white_list and not white_list.names_of(recipient.address.domain):
            final = ListCertainty(self.store.database, self.trust_state).of_question()
            attempt = attempt._replace(list_final=final)
        admit(attempt, Stage.RECIPIENT)

    def _admit_reports_only(
        self, attempt: AdmissionFacts, recipients: Sequence[SmtpAddress]
    ) -> None:
        """Admit recipients that take reports alone; only the header tells.  Raises Refused."""
        for address in recipients:
            recipient = Recipient(address, RecipientStatus.ACTIVE, reports_only=True)
            admit(attempt._replace(recipient=recipient), Stage.RECIPIENT)

    def _tell(
        self, message: AcceptedMessage, receipt: AcceptedMessage | None, header: HeaderFacts
    ) -> None:
        to = [one.address for one in message.local]
        to += [address for group in message.remote.values() for address in group]
        self.record(
            "submitted",
            message=message.id,
            session=message.session,
            size=message.draft.size,
            sender=message.sender.masked if message.sender else "<>",
            recipients=[address.masked for address in to],
            receipt=receipt.id if receipt else "",
            message_id_digest=message_id_digest(header.message_id),
            who=self.who,
        )

    def _message(
        self,
        sender: SmtpAddress,
        draft: Draft,
        parameters: MailParameters,
        local: tuple[LocalRecipient, ...],
        remote: dict[str, tuple[SmtpAddress, ...]],
    ) -> AcceptedMessage:
        now, message, session = self.clock(), self.new_id(), self.new_id()
        trace = TraceFacts(
            helo=self.hostname,
            address="127.0.0.1",
            hostname=self.hostname,
            protocol="local",
            message=message,
            session=session,
            at=now,
        )
        addresses = (sender, *(a for group in remote.values() for a in group))
        return AcceptedMessage(
            id=message,
            session=session,
            peer="local",
            sender=sender,
            received_at=now,
            trace=received_field(trace),
            draft=draft,
            parameters=replace(
                parameters,
                smtputf8=parameters.smtputf8 or any(a.needs_smtputf8 for a in addresses),
            ),
            local=local,
            remote=remote,
        )


def _take(
    connection: Connection, *, quota: SendingQuota | None, mailbox_ids: Sequence[int]
) -> None:
    """Begin the transaction of acceptance.  Raises ClosedMeanwhile, OverLimit."""
    if mailbox_ids:
        check_none_closed(connection, mailbox_ids)
    if quota is not None:
        quota.take(connection)


class _MessageIntake:
    """A message being read; reading stops at a refusal."""

    def __init__(self, draft: Draft, policy: AdmissionPolicy, *, to_patients: bool) -> None:
        self.header = HeaderCollector()
        self.content = ContentSize()
        self.report = False
        self._draft = draft
        self._policy = policy
        self._to_patients = to_patients
        self._lines = LineChecker()

    def read(self, body: ReadableMessage) -> None:
        """Read the message into the draft.  Raises SmtpError."""
        held = b""
        while chunk := body.read(_CHUNK):
            octets = held + chunk
            held = octets[-1:] if octets.endswith(b"\r") else b""
            piece = octets[: len(octets) - len(held)]
            self._take(piece.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        self._take(held)
        if self._to_patients:
            self.content.finish()

    def _take(self, piece: bytes) -> None:
        self._lines.check(piece)
        if self._lines.violation is not None:
            raise SmtpError(Reply(550, "5.6.0", f"Message contains {self._lines.violation}"))
        self.header.feed(piece)
        self._check_size(self._draft.size + len(piece))
        if self._to_patients:
            self.content.feed(piece)
        self._draft.write(piece)

    def _check_size(self, octets: int) -> None:
        """Check the limit on the wire; the limit of content is checked at the end."""
        policy = self._policy
        if octets > policy.max_message_bytes:
            self.report = self.report or is_report(self.header.section)
            limit = limit_of(policy.max_message_bytes, report=self.report)
            if octets > limit:
                raise SmtpError(over(limit))
