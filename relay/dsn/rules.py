"""DSN rules: which sender gets a DSN for which outcome, and which mail never gets a DSN.

Pure.  Input: the message and the results of its recipients.  Output: the facts of the DSN due, or
None.

1. Without NOTIFY, a sender gets DSNs of failure and delay (RFC 3461 §4.1).
2. No DSN for a message with the null reverse-path (RFC 3461 §5.2, RFC 5321 §4.5.5).
3. No DSN for a multipart/report on mail, whatever its sender (RFC 6522 §3): a delivery report (RFC
   3464 §2) or an MDN (RFC 8098 §2.1, §3).
4. Other multipart/reports (RFC 5965) with a sender get a DSN.
5. Mail marked Auto-Submitted gets a DSN: RFC 3834 §2 and §5 bind programs that reply to mail, not
   notices of its transport, and RFC 3461 §5.2 has no exception.  Results sent by programs must not
   get lost unnoticed.  No loop can follow, because of rules 2 and 3.
6. If no sender can be notified of a failure, our postmaster gets a notice.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import Message
from typing import Final

from foundation.privacy import mask, mask_of
from relay.dsn.builder import DELIVERED_STATUS, RELAYED_STATUS
from relay.dsn.model import Action, ReportedRecipient, ReportFacts
from relay.dsn.status import judge
from relay.smtp.address import SmtpAddress
from relay.smtp.envelope import EnvelopeRecipient
from relay.smtp.errors import SyntaxRefused
from relay.smtp.failure_reason import FailureReason
from relay.smtp.outcome import Outcome, State
from relay.smtp.parameters import DsnNotify, DsnReturn, decode_orcpt, decode_xtext

FULL_LIMIT: Final = 10 * 1024 * 1024
"""Octets of a message that may be returned whole.

Far below the limit of any mailbox here (25 MB of content, DOMAIN §9.22), so that no DSN fails by
its size.  The sender still has a bigger message; the returned header section identifies it.
"""

_BY_DEFAULT: Final = frozenset({DsnNotify.FAILURE, DsnNotify.DELAY})
_REPORTS: Final = frozenset({"delivery-status", "disposition-notification", ""})
_MAX_TYPE: Final = 2000  # characters of a Content-Type read: a report names its type early


@dataclass(frozen=True, slots=True)
class Original:
    """The message that was sent.

    `sender`: None or empty for the null reverse-path.  `arrival`: aware time.  `envid`, `ret`:
    parameters of MAIL, as the queue keeps them.  `size`: octets.  `header`: header section.
    `smtputf8`: it came with SMTPUTF8.  `eight_bit`: it may have octets beyond ASCII.
    """

    message_id: str
    sender: str | None
    arrival: datetime
    envid: str | None
    ret: str | None
    size: int
    header: bytes
    smtputf8: bool
    eight_bit: bool = True

    @property
    def is_report(self) -> bool:
        """Whether no DSN may be sent for it: null reverse-path, or itself a report."""
        return not self.sender or is_report(self.header)


@dataclass(frozen=True, slots=True)
class RecipientResult:
    """A recipient and its outcome, by the latest attempt or by an operator.

    `outcome.reply`: reply of the peer; without a reply, the error of the attempt, and `reason` its
    reason.  `here`: a mailbox of ours.  `retry_until`: time of the expiry; None in state `waiting`
    means expired now.  All times are aware.
    """

    recipient: EnvelopeRecipient
    outcome: Outcome
    reason: FailureReason | None = None
    here: bool = False
    remote: str = ""
    last_attempt: datetime | None = None
    retry_until: datetime | None = None

    @property
    def address(self) -> str:
        """Address of the recipient."""
        return self.recipient.address


def wanted(notify: str) -> frozenset[DsnNotify]:
    """Return the DSNs asked for by NOTIFY, from its text in the queue (RFC 3461 §4.1)."""
    if not notify:
        return _BY_DEFAULT
    return frozenset(DsnNotify(word) for word in notify.split(",") if word in DsnNotify.__members__)


def notify_text(notify: Iterable[DsnNotify] | None) -> str:
    """Return NOTIFY as text for the queue: ordered keywords with commas; '' if not given."""
    given = frozenset(notify or ())
    return ",".join(word for word in DsnNotify if word in given)


def is_report(header: bytes) -> bool:
    """Whether a header section is that of a delivery report or an MDN (RFC 6522 §3).

    A report without a report-type, or with several, counts as such a report.
    """
    unfolded = header.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ")
    for line in unfolded.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-type" and _tells_of_mail(
            value.decode("latin-1")[:_MAX_TYPE]
        ):
            return True
    return False


def _tells_of_mail(value: str) -> bool:
    field = Message()
    field["Content-Type"] = value.strip()
    if field.get_content_type() != "multipart/report":
        return False
    kind = field.get_param("report-type", "")
    return not isinstance(kind, str) or kind.strip().lower() in _REPORTS


def report_of(
    original: Original,
    results: Sequence[RecipientResult],
    *,
    hostname: str,
    report_id: str,
    now: datetime,
    full_limit: int = FULL_LIMIT,
    home: str = "",
) -> ReportFacts | None:
    """Return the facts of the DSN due to the sender, or None.

    Pass only recipients whose outcome is new; each one passed is reported (again).
    The DSN comes from the postmaster of a domain of ours: the sender's, or that of a recipient with
    a mailbox here; if neither is ours, `home`.
    """
    told = tuple(recipient for one in results if (recipient := _told(one)) is not None)
    if not told or original.is_report:
        return None
    failed = any(recipient.action is Action.FAILED for recipient in told)
    full = original.ret == DsnReturn.FULL and failed and original.size <= full_limit
    at_home = told[0].address if any(one.here for one in results) else original.sender or ""
    here = at_home.rpartition("@")[2] if "@" in at_home else hostname
    return ReportFacts(
        hostname=hostname,
        message_id=report_id,
        domain=home or here,
        to=original.sender or "",
        at=now,
        arrival=original.arrival,
        envid=_sound_envid(original.envid),
        recipients=told,
        headers=original.header,
        smtputf8=original.smtputf8,
        eight_bit=original.eight_bit,
        returned=DsnReturn.FULL if full else DsnReturn.HDRS,
    )


def notice_of(
    original: Original,
    results: Sequence[RecipientResult],
    *,
    hostname: str,
    report_id: str,
    now: datetime,
    postmaster: SmtpAddress,
) -> ReportFacts | None:
    """Return the facts of a notice to our postmaster that a report failed (RFC 3461 §5.2), or None.

    A notice contains less than a DSN, because the postmaster neither wrote the message nor was its
    recipient: nothing of the message, and no local part of a patient's address (it is an INS).  No
    notice if the postmaster's own mailbox failed.
    """
    if not original.is_report:
        return None
    failed = tuple(
        _masked(_reported(one, Action.FAILED))
        for one in results
        if _fate(one) is Action.FAILED and one.address != str(postmaster)
    )
    if not failed:
        return None
    return ReportFacts(
        hostname=hostname,
        message_id=report_id,
        domain=postmaster.domain,
        to=str(postmaster),
        at=now,
        arrival=original.arrival,
        envid=None,
        recipients=failed,
        headers=b"",
        notice_of=original.message_id,
    )


def _fate(one: RecipientResult) -> Action | None:
    """Action to report for a recipient; None if the peer reports it (RFC 3461 §5.2.2)."""
    match one.outcome.state:
        case State.DELIVERED if one.here:
            return Action.DELIVERED
        case State.DELIVERED:
            return None if one.outcome.dsn else Action.RELAYED
        case State.WAITING if one.retry_until is not None:
            return Action.DELAYED
        case _:
            return Action.FAILED


_ASKED_BY: Final = {
    Action.FAILED: DsnNotify.FAILURE,
    Action.DELAYED: DsnNotify.DELAY,
    Action.DELIVERED: DsnNotify.SUCCESS,
    Action.RELAYED: DsnNotify.SUCCESS,
}


def _told(one: RecipientResult) -> ReportedRecipient | None:
    action = _fate(one)
    if action is None or _ASKED_BY[action] not in wanted(one.recipient.notify):
        return None
    return _reported(one, action)


def _reported(one: RecipientResult, action: Action) -> ReportedRecipient:
    orcpt = _sound_orcpt(one.recipient.orcpt)
    if action is Action.DELIVERED:
        return ReportedRecipient(one.address, action, DELIVERED_STATUS, orcpt)
    if action is Action.RELAYED:
        return ReportedRecipient(
            one.address,
            action,
            RELAYED_STATUS,
            orcpt,
            diagnostic=one.outcome.reply,
            remote=one.remote,
            last_attempt=one.last_attempt,
        )
    state, reply = one.outcome.state, one.outcome.reply
    unknown = action is Action.FAILED and not (reply or one.reason)
    reason = FailureReason.EXPIRED if unknown and state is State.WAITING else one.reason
    found = judge(reply, reason, permanent=state is State.FAILED)
    return ReportedRecipient(
        one.address,
        action,
        # A delay is not a failure, even if the peer's code says so (RFC 3464 §2.3.4).
        found.status if action is Action.FAILED else f"4{found.status[1:]}",
        orcpt,
        diagnostic=found.text,
        cause=found.cause,
        remote=one.remote or found.host,
        last_attempt=one.last_attempt,
        retry_until=one.retry_until if action is Action.DELAYED else None,
    )


def _masked(recipient: ReportedRecipient) -> ReportedRecipient:
    address = mask(recipient.address)
    if address != recipient.address:  # keep the form of an address
        address = f"***@{recipient.address.rpartition('@')[2]}"
    return ReportedRecipient(
        address,
        recipient.action,
        recipient.status,
        orcpt=None,
        diagnostic=mask_of(recipient.diagnostic, [recipient.address]),
        cause=recipient.cause,
        remote=recipient.remote,
        last_attempt=recipient.last_attempt,
    )


def _sound_envid(envid: str | None) -> str | None:
    """ENVID if valid, else None: an invalid stored value must not prevent the DSN."""
    try:
        return envid if envid is None or decode_xtext(envid) else None
    except SyntaxRefused:
        return None


def _sound_orcpt(orcpt: str | None) -> str | None:
    try:
        return orcpt if orcpt is None or decode_orcpt(orcpt) else None
    except SyntaxRefused:
        return None
