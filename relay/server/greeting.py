"""Commands before and beside mail: EHLO, HELO, STARTTLS, QUIT, and commands without effect."""

import ssl
from collections.abc import Mapping
from typing import Final

from relay import metrics
from relay.connection.limits import LINGER_SECONDS
from relay.connection.tls_buffer import TlsReadBuffer
from relay.server.session import Handler, Session
from relay.server.session_policy import Handshake
from relay.smtp.errors import SyntaxRefused
from relay.smtp.reply import Goodbye, Reply

_OK: Final = Reply(250, "2.0.0", "OK")
_BEGIN_TLS: Final = Reply(220, "2.0.0", "Ready to start TLS")
_VRFY: Final = Reply(252, "2.5.2", "Cannot VRFY, but mail for a mailbox here is accepted")
_BYE: Final = Goodbye(221, "2.0.0", "Bye")


async def ehlo(session: Session, hostname: str) -> Reply:
    """Greet and list the extensions (RFC 5321 §4.1.1.1)."""
    _greet(session, hostname)
    offers = session.service.offers(session.context, session.state)
    return Reply(250, "", "\n".join([session.hostname, *offers]))


async def helo(session: Session, hostname: str) -> Reply:
    """Greet without extensions; no mail without TLS, but no error (RFC 5321 §4.1.1.1)."""
    _greet(session, hostname)
    return Reply(250, "", session.hostname)


def _greet(session: Session, hostname: str) -> None:
    if not hostname:
        raise SyntaxRefused("Syntax: EHLO hostname")
    session.forget_transaction()
    session.client_name = hostname


async def starttls(session: Session, _argument: str) -> None:
    """Upgrade to TLS (RFC 3207); the name of an earlier EHLO is forgotten, not that it was said."""
    plain = session.outbound.transport
    plain.pause_reading()
    session.inbound.clear()
    session.tls_begun = True
    await session.say(_BEGIN_TLS)
    session.outbound.flush()
    try:
        transport = await session.loop.start_tls(
            plain,
            TlsReadBuffer(session),
            session.context.tls(),
            server_side=True,
            ssl_handshake_timeout=session.context.limits.handshake_seconds,
            ssl_shutdown_timeout=LINGER_SECONDS,
        )
    except (OSError, ssl.SSLError) as error:
        _tls_failed(session, error)
        plain.abort()
        # After a failed handshake connection_lost is not called.  The error is left out: kept by
        # the stream, its traceback would hold this session.
        session.connection_lost(None)
        return
    if transport is None:
        session.connection_lost(None)  # the peer went away during the handshake
        return
    session.transport = session.outbound.transport = transport
    session.inbound.attach(transport)
    try:
        handshake = Handshake.of(transport.get_extra_info("ssl_object"))
    except ValueError as error:  # damaged records right after the handshake have ended it
        _tls_failed(session, error)
        transport.abort()
        return
    await session.secured(handshake)


def _tls_failed(session: Session, error: Exception) -> None:
    metrics.HANDSHAKES_FAILED.inc()
    session.ended_by = "tls"
    session.journal.tell("tls.failed", error=str(error), address=session.journal.address)


async def noop(_session: Session, _argument: str) -> Reply:
    """Do nothing (RFC 5321 §4.1.1.9)."""
    return _OK


async def vrfy(_session: Session, _argument: str) -> Reply:
    """Do not reveal which mailboxes exist (RFC 5321 §7.3)."""
    return _VRFY


async def not_here(_session: Session, _argument: str) -> Reply:
    """Refuse EXPN, HELP and AUTH: operators are known by their certificate."""
    raise SyntaxRefused("Command not implemented", code=502, enhanced="5.5.1")


async def say_goodbye(_session: Session, _argument: str) -> Reply:
    """End the session (RFC 5321 §4.1.1.10)."""
    return _BYE


GREETING_HANDLERS: Final[Mapping[bytes, Handler]] = {
    b"EHLO": ehlo,
    b"HELO": helo,
    b"STARTTLS": starttls,
    b"NOOP": noop,
    b"VRFY": vrfy,
    b"EXPN": not_here,
    b"AUTH": not_here,
    b"HELP": not_here,
    b"QUIT": say_goodbye,
}
