"""Rules of reports: who is told of which outcome, by NOTIFY, and which mail is never answered.

Pure.  Out of the message and the results of its recipients come the facts of the one report
that is due, or None.  Without NOTIFY a sender hears of failures and of delays (RFC 3461 §4.1).

Never answered is a message with the null reverse-path (RFC 3461 §5.2, RFC 5321 §4.5.5), and one
that is itself a report on mail, by its type multipart/report (RFC 6522 §3): of delivery (RFC 3464
§2) or of disposition, an MDN (RFC 8098 §2.1, §3), whatever sender it came with.  Other such reports
(RFC 5965) with a sender are answered, as is what Auto-Submitted marks: RFC 3834 §2 and §5 bind
programs that reply to mail, not the notices of its transport, and RFC 3461 §5.2 knows no exception.
The results that programs send are what nobody may lose unheard; no loop can come of it, since no
report is ever answered.  Where nobody hears of a failure, our postmaster does.
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
"""Octets of a message that may go back as a whole.

Far below what any mailbox here takes (25 MB of content, DOMAIN §9.22), so that no report fails by
its size where the message did; what is bigger its sender has, and the header section tells which.
"""

_BY_DEFAULT: Final = frozenset({DsnNotify.FAILURE, DsnNotify.DELAY})
_REPORTS: Final = frozenset({"delivery-status", "disposition-notification", ""})
_MAX_TYPE: Final = 2000  # characters of a Content-Type looked at: a report names its kind early


@dataclass(frozen=True, slots=True)
class Original:
    """The message that was sent.

    `sender` is None or empty for the null reverse-path; `arrival` is aware; `envid` and `ret` are
    what MAIL said, as the queue keeps it; `size` in octets; `header` its header section; `smtputf8`
    whether it came with SMTPUTF8; `eight_bit` whether its octets may be beyond ASCII.
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
        """Whether nobody may be told of it by a report, since it answers something itself."""
        return not self.sender or is_report(self.header)


@dataclass(frozen=True, slots=True)
class RecipientResult:
    """A recipient and its outcome, by the attempt that ended just now, or by an operator.

    The outcome's `reply` is the peer's, or if there was no answer the error of the attempt, and
    then `reason` that of the error.  `here` tells that it is a mailbox of ours.  `retry_until` is
    when we shall give up: None in state `waiting` means that this was it.  Times are aware.
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
        """The recipient's address."""
        return self.recipient.address


def wanted(notify: str) -> frozenset[DsnNotify]:
    """What NOTIFY asks to be told of, by the queue's text for it (RFC 3461 §4.1)."""
    if not notify:
        return _BY_DEFAULT
    return frozenset(DsnNotify(word) for word in notify.split(",") if word in DsnNotify.__members__)


def notify_text(notify: Iterable[DsnNotify] | None) -> str:
    """NOTIFY as the queue keeps it: keywords with commas in their order, '' if it was not said."""
    given = frozenset(notify or ())
    return ",".join(word for word in DsnNotify if word in given)


def is_report(header: bytes) -> bool:
    """Whether a header section is that of a report on delivery or disposition (RFC 6522 §3).

    One that does not say of what it reports is taken for one, and so is one of several types.
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
    """The facts of the report that is due to the sender, or None.

    `results` are of those whose fate has changed: who is named again is told again.  The postmaster
    who writes is that of the domain here: the sender's, or a recipient's with a mailbox of ours;
    where neither is ours, that of `home`.
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
    """The facts of the notice to our postmaster that a report failed (RFC 3461 §5.2), or None.

    It says less than a report, for it goes to somebody who neither wrote nor was to read the
    message: nothing of that, and no local part of a patient's address, which is an INS.  Nothing
    is sent where the postmaster's own mailbox failed.
    """
    if not original.is_report:
        return None
    lost = tuple(
        _masked(_reported(one, Action.FAILED))
        for one in results
        if _fate(one) is Action.FAILED and one.address != str(postmaster)
    )
    if not lost:
        return None
    return ReportFacts(
        hostname=hostname,
        message_id=report_id,
        domain=postmaster.domain,
        to=str(postmaster),
        at=now,
        arrival=original.arrival,
        envid=None,
        recipients=lost,
        headers=b"",
        notice_of=original.message_id,
    )


def _fate(one: RecipientResult) -> Action | None:
    """What became of it, where it is for us to tell (RFC 3461 §5.2.2)."""
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
        # A delay is no failure, whatever a peer says of it (RFC 3464 §2.3.4).
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
    if address != recipient.address:  # then as an address still
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
    """ENVID if it can be told: what was kept wrongly must not keep a failure untold."""
    try:
        return envid if envid is None or decode_xtext(envid) else None
    except SyntaxRefused:
        return None


def _sound_orcpt(orcpt: str | None) -> str | None:
    try:
        return orcpt if orcpt is None or decode_orcpt(orcpt) else None
    except SyntaxRefused:
        return None
