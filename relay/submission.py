"""Local submission: a mailbox of ours sends, under the same admission and acceptance as peers.

The file is read once; line ends become CRLF, which is the only change made to it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import BinaryIO, Final

from mailstore.drafts import Draft
from relay import patients
from relay.acceptance import Store, commit
from relay.address import PATIENT_DOMAIN, Address
from relay.admission import Attempt, LocalUser, MailboxState, Policy, Recipient, Stage, admit
from relay.directory import Directory
from relay.errors import Reply, SmtpError
from relay.framing import LineChecker
from relay.headers import HeaderCollector, HeaderFacts, TraceFacts, received_field
from relay.parameters import MailParameters
from relay.perimeter import Perimeter
from relay.transaction import LocalRecipient, Submission

_CHUNK: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Submitter:
    """Submits messages for local mailboxes; blocks."""

    hostname: str
    policy: Policy
    store: Store
    directory: Directory
    perimeter: Perimeter
    clock: Callable[[], datetime]
    new_id: Callable[[], str]

    def submit(self, body: BinaryIO, sender: Address, recipients: Sequence[Address]) -> Submission:
        """Admit and make durable a message; returns it with its id.  Raises SmtpError."""
        snapshot = self.perimeter.snapshot
        own = self.directory.find(sender)
        attempt = Attempt(
            LocalUser(own.state),
            self.policy,
            snapshot.white_list,
            snapshot.problem,
            sender_stated=True,
            sender=sender,
        )
        admit(attempt, Stage.PEER | Stage.SENDER)
        local: dict[int, LocalRecipient] = {}
        remote: dict[str, tuple[Address, ...]] = {}
        for address in dict.fromkeys(recipients):
            found = self.directory.find(address)
            admit(replace(attempt, recipient=Recipient(address, found.state)), Stage.RECIPIENT)
            if found.state is MailboxState.FOREIGN:
                remote[address.domain] = (*remote.get(address.domain, ()), address)
            elif found.mailbox_id is not None:
                local[found.mailbox_id] = LocalRecipient(found.mailbox_id, address)
        attempt = replace(attempt, to_patients=PATIENT_DOMAIN in remote)
        draft = self.store.blobs.draft()
        try:
            most, patient = self.policy.max_message_bytes, self.policy.patient_max_bytes
            limit = patients.size_limit(most, patient, to_patients=attempt.to_patients)
            header = _read(body, draft, limit)
            admit(replace(attempt, size=draft.size, header=header), Stage.MESSAGE)
            submission = replace(
                self._submission(sender, draft, tuple(local.values()), remote),
                mailbox_type=own.type,
            )
            (failure,) = commit(self.store, [submission], self.clock())
        finally:
            draft.discard()
        if failure is not None:
            raise failure
        return submission

    def _submission(
        self,
        sender: Address,
        draft: Draft,
        local: tuple[LocalRecipient, ...],
        remote: dict[str, tuple[Address, ...]],
    ) -> Submission:
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
        return Submission(
            id=message,
            session=session,
            peer="local",
            sender=sender,
            received_at=now,
            trace=received_field(trace),
            draft=draft,
            parameters=MailParameters(smtputf8=any(a.needs_smtputf8 for a in addresses)),
            local=local,
            remote=remote,
        )


def _read(body: BinaryIO, draft: Draft, limit: patients.SizeLimit) -> HeaderFacts:
    header, lines = HeaderCollector(), LineChecker()
    held = b""
    while chunk := body.read(_CHUNK):
        octets = held + chunk
        held = octets[-1:] if octets.endswith(b"\r") else b""
        piece = octets[: len(octets) - len(held)].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        _take(piece, draft, header, lines, limit)
    _take(held, draft, header, lines, limit)
    return header.facts()


def _take(
    piece: bytes,
    draft: Draft,
    header: HeaderCollector,
    lines: LineChecker,
    limit: patients.SizeLimit,
) -> None:
    lines.check(piece)
    if lines.violation is not None:
        raise SmtpError(Reply(550, "5.6.0", f"Message contains {lines.violation}"))
    if draft.size + len(piece) > limit.octets:
        raise SmtpError(limit.refusal)
    header.feed(piece)
    draft.write(piece)
