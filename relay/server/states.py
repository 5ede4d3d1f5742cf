"""The order of SMTP commands: the commands allowed in each state, and the reply to all others.

A table has a row for each command that a listener knows and a column for each state between two
commands.  A cell is the state after the command succeeds, or the refusal of a command out of order.
A command that fails leaves the state as it is, with one exception: once octets of a message have
come, the transaction is over (RFC 5321 §4.1.4).  Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from relay.policy.admission import CLEAR_TEXT, TLS_REQUIRED
from relay.policy.facts import AdmissionFinding
from relay.smtp.errors import Refused, SmtpError, SyntaxRefused
from relay.smtp.reply import Reply


class SessionState(StrEnum):  # looked up for each command: hashed like a string
    """State of a session between two commands."""

    CLEAR = "connected: no TLS, no EHLO"
    GREETED = "no TLS, EHLO or HELO said"
    SECURED = "TLS, no EHLO yet, not even before TLS"
    READY = "TLS and EHLO: a transaction may begin"
    SENDER = "MAIL accepted"
    RECIPIENTS = "MAIL and one RCPT or more accepted"
    CHUNKS = "the first chunks of the message received by BDAT"

    @property
    def has_tls(self) -> bool:
        """Whether the handshake is done."""
        return self not in _CLEAR_TEXT

    @property
    def without_transaction(self) -> "SessionState":
        """The state after a transaction, if any, is dropped."""
        return _READY if self in _TRANSACTION else self


_CLEAR_TEXT: Final = frozenset({SessionState.CLEAR, SessionState.GREETED})
_TRANSACTION: Final = frozenset({SessionState.SENDER, SessionState.RECIPIENTS, SessionState.CHUNKS})


@dataclass(frozen=True, slots=True)
class OutOfOrder:
    """The refusal of a command in a state; with `syntax_first`, syntax errors are reported first.

    `finding` is set if a rule of admission refuses.
    """

    reply: Reply
    syntax_first: bool = False
    finding: AdmissionFinding | None = None

    def error(self) -> SmtpError:
        """A new error with this reply, to raise."""
        reply, finding = self.reply, self.finding
        if finding is not None:
            return Refused(finding.rule, reply, finding.evidence, finding.presented)
        return SyntaxRefused(reply.text, code=reply.code, enhanced=reply.enhanced)


Row = Mapping[SessionState, SessionState | OutOfOrder]
Table = Mapping[bytes, Row]

BDAT_LAST: Final = b"BDAT LAST"  # the row of a chunk that ends the message

# The argument decides the row, and how many octets follow that are no commands, even out of order:
# the handler looks up its row itself.
ARGUMENT_FIRST: Final = frozenset({b"BDAT"})

# Commands without an argument, RFC 5321 §4.1.1 and RFC 3207 §4.
BARE: Final = frozenset({b"STARTTLS", b"DATA", b"RSET", b"QUIT"})


def table(rows: Mapping[bytes, tuple[SessionState | OutOfOrder, ...]]) -> Table:
    """A table from rows whose cells are in the order of the states.  Raises ValueError."""
    return MappingProxyType(
        {
            verb: MappingProxyType(dict(zip(SessionState, cells, strict=True)))
            for verb, cells in rows.items()
        }
    )


_CLEAR, _GREETED, _SECURED, _READY = (
    SessionState.CLEAR,
    SessionState.GREETED,
    SessionState.SECURED,
    SessionState.READY,
)
_SENDER, _RECIPS, _CHUNKS = SessionState.SENDER, SessionState.RECIPIENTS, SessionState.CHUNKS
_STAY: Final = tuple(SessionState)
_RESET: Final = tuple(state.without_transaction for state in SessionState)


def _503(text: str, *, syntax_first: bool = False) -> OutOfOrder:
    return OutOfOrder(Reply(503, "5.5.1", text), syntax_first)


NO_TLS: Final = OutOfOrder(TLS_REQUIRED, finding=CLEAR_TEXT)
_NO_EHLO: Final = _503("Send EHLO first")
_NO_MAIL: Final = _503("Send MAIL first")
_HAS_TLS: Final = _503("TLS is already on", syntax_first=True)
_HAS_MAIL: Final = _503("Sender already given")
_HAS_BDAT: Final = _503("RCPT comes before BDAT")
_BY_BDAT: Final = _503("The message comes by BDAT", syntax_first=True)
_NO_RCPT: Final = OutOfOrder(Reply(554, "5.5.1", "No valid recipients"), syntax_first=True)

# fmt: off
# The commands of a peer operator (RFC 5321 §4.1.4, RFC 3207, RFC 3030; DOMAIN §3.2).
COMMANDS: Final = table({
    # in state:   CLEAR     GREETED   SECURED   READY     SENDER     RECIPIENTS CHUNKS
    b"EHLO":     (_GREETED, _GREETED, _READY,   _READY,   _READY,    _READY,    _READY),
    b"HELO":     (_GREETED, _GREETED, _READY,   _READY,   _READY,    _READY,    _READY),
    b"STARTTLS": (_SECURED, _READY,   _HAS_TLS, _HAS_TLS, _HAS_TLS,  _HAS_TLS,  _HAS_TLS),
    b"MAIL":     (NO_TLS,   NO_TLS,   _NO_EHLO, _SENDER,  _HAS_MAIL, _HAS_MAIL, _HAS_MAIL),
    b"RCPT":     (NO_TLS,   NO_TLS,   _NO_EHLO, _NO_MAIL, _RECIPS,   _RECIPS,   _HAS_BDAT),
    b"DATA":     (NO_TLS,   NO_TLS,   _NO_EHLO, _NO_MAIL, _NO_RCPT,  _READY,    _BY_BDAT),
    b"BDAT":     (NO_TLS,   NO_TLS,   _NO_EHLO, _NO_MAIL, _NO_RCPT,  _CHUNKS,   _CHUNKS),
    BDAT_LAST:   (NO_TLS,   NO_TLS,   _NO_EHLO, _NO_MAIL, _NO_RCPT,  _READY,    _READY),
    b"RSET":     _RESET,
    b"NOOP":     _STAY,
    b"VRFY":     _STAY,
    b"EXPN":     _STAY,
    b"AUTH":     _STAY,
    b"HELP":     _STAY,
    b"QUIT":     _STAY,
})
# fmt: on
