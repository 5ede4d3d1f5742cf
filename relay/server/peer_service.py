"""Sessions of peer operators: the table, the policy and the extensions of port 25.

All extensions offered in EHLO are honoured: PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME
(RFC 6152), SMTPUTF8 (RFC 6531), DSN (RFC 3461), CHUNKING (RFC 3030), LIMITS (RFC 9422).
"""

from typing import Final

from relay.policy.sizes import report_limit
from relay.server.context import SessionContext
from relay.server.greeting import GREETING_HANDLERS
from relay.server.mail_commands import MAIL_HANDLERS
from relay.server.peer_policy import PeerPolicy
from relay.server.session import Service, Session
from relay.server.states import COMMANDS, SessionState


def offers(context: SessionContext, state: SessionState) -> list[str]:
    """The extensions offered in a state; STARTTLS only before TLS."""
    limits = context.limits
    return [
        f"SIZE {report_limit(context.policy.max_message_bytes)}",
        "8BITMIME",
        "SMTPUTF8",
        "PIPELINING",
        "ENHANCEDSTATUSCODES",
        "DSN",
        "CHUNKING",
        f"LIMITS MAILMAX={limits.max_messages} RCPTMAX={limits.max_recipients}",
        *([] if state.has_tls else ["STARTTLS"]),
    ]


PEERS: Final = Service(COMMANDS, {**GREETING_HANDLERS, **MAIL_HANDLERS}, offers, PeerPolicy)


def peer_session(context: SessionContext) -> Session:
    """A session with a peer, for the listener."""
    return Session(context, PEERS)
