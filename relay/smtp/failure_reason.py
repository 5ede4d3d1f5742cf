"""Why a delivery has no answer of its peer: reasons, and what each means for the sender.  Pure."""

from enum import StrEnum
from typing import Self


class Cause(StrEnum):
    """Why a message did not arrive, as far as its sender can do something about it."""

    ADDRESS = "no such address"
    DOMAIN = "domain takes no mail"
    CLOSED = "mailbox closed"
    FULL = "mailbox full"
    TOO_BIG = "message too big"
    FORM = "form of the message"
    UNREACHABLE = "server not reached"
    UNCERTAIN = "not confirmed by the server"
    UNSAFE = "server not trusted"
    NOT_LISTED = "domain not on the white list"
    REFUSED = "refused by policy"
    UNREADABLE = "unreadable at our end"
    DROPPED = "dropped by our administrator"
    OTHER = "other"


class FailureReason(StrEnum):
    """Why an attempt, or a delivery without one, came to no success.

    The value is the label in metrics, journal and log.  `status` is the subject and detail of the
    enhanced status code (RFC 3463 §3) where no reply of a peer says it, as Postfix gives them;
    `cause` is what the sender is told.
    """

    status: str
    cause: Cause

    def __new__(cls, label: str, status: str = "0.0", cause: Cause = Cause.OTHER) -> Self:
        """A member with its facts."""
        member = str.__new__(cls, label)
        member._value_ = label
        member.status = status
        member.cause = cause
        return member

    # The peer's answers say more: status and cause are theirs.
    REFUSED = "refused"

    # No host of the destination, or none that could be spoken to.
    NO_ROUTE = "no-route", "4.4", Cause.UNREACHABLE
    CONNECTION = "connection", "4.1", Cause.UNREACHABLE
    TIMEOUT = "timeout", "4.2", Cause.UNREACHABLE
    UNAVAILABLE = "unavailable"  # it said 421
    PROTOCOL = "protocol", "5.0", Cause.OTHER
    UNKNOWN_OUTCOME = "unknown-outcome", "4.2", Cause.UNCERTAIN  # sent whole, nothing usable said

    # A server that may not have the mail; by the rules of `relay.policy.server_admission`.
    NO_STARTTLS = "no-starttls", "7.4", Cause.UNSAFE
    TLS = "tls", "7.5", Cause.UNSAFE
    SERVER_TLS = "server-tls", "7.5", Cause.UNSAFE
    SERVER_LIST = "server-list", "7.5", Cause.UNSAFE
    SERVER_CERTIFICATE = "server-certificate", "7.5", Cause.UNSAFE
    SERVER_CHAIN = "server-chain", "7.5", Cause.UNSAFE
    SERVER_NAME = "server-name", "7.5", Cause.UNSAFE
    NOT_LISTED = "not-listed", "7.1", Cause.NOT_LISTED

    # Our own system (RFC 3463 §3.4).
    STORE = "store", "3.0", Cause.UNREADABLE  # the body could not be read for now
    BODY_MISSING = "body-missing", "3.0", Cause.UNREADABLE
    BODY_DAMAGED = "body-damaged", "3.0", Cause.UNREADABLE
    BODY_KEY_MISSING = "body-key-missing", "3.0", Cause.UNREADABLE
    INTERNAL = "internal"
    STUCK = "stuck"  # the watchdog broke it off: no progress
    LEASE = "lease"  # the watchdog broke it off: its lease was ending

    # No attempt.
    OVERDUE = "overdue"  # the sender is told of a delay, or of the end
    EXPIRED = "expired", "4.7", Cause.UNREACHABLE  # nothing is known but that time ran out
    DROPPED = "dropped", "0.0", Cause.DROPPED  # by an operator

    @property
    def body(self) -> bool:
        """Whether the body cannot be had until a person puts it back."""
        return self in _BODY


_BODY = frozenset(
    {FailureReason.BODY_MISSING, FailureReason.BODY_DAMAGED, FailureReason.BODY_KEY_MISSING}
)
