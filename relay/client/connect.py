"""Opening of a connection to a peer: TCP, EHLO and STARTTLS by aiosmtplib.

Always STARTTLS, always with our certificate.  No part of the envelope is sent before the server's
certificate is accepted (DOMAIN §3.3, §9.27, §9.28).  There is no fallback to clear text.  A reply
in clear text never decides about a message: it may come from anybody.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, cast

import aiosmtplib

from foundation.failpoints import failpoint
from relay.client.connection import ClientConnection, TlsInfo
from relay.client.replies import PeerReply, shown
from relay.client.routing import Target
from relay.policy.admission import Peer
from relay.smtp.envelope import KEYWORDS, PeerExtensions
from relay.smtp.errors import AttemptFailed
from relay.smtp.failure_reason import FailureReason

# ValueError: a host name that cannot be looked up or sent in TLS, or a handshake cut short.
_FAULTS: Final = (aiosmtplib.SMTPException, OSError, ValueError)


class EhloRejected(Exception):
    """Refusal of our EHLO for good, by a server whose certificate was accepted."""

    def __init__(self, reply: PeerReply) -> None:
        super().__init__(str(reply))
        self.reply = reply


ANSWER_SECONDS: Final = 600.0  # reply to a whole message, RFC 5321 §4.5.3.2.6


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """Client configuration: our name, our TLS, check of the peer's certificate, timeouts (seconds).

    `tls()`: current TLS context; a renewed certificate is used for the next connection.
    `judge(domain, der, tls_version, cipher)`: raises AttemptFailed for a server that may not
    receive mail for the domain.
    """

    hostname: str
    tls: Callable[[], ssl.SSLContext]
    judge: Callable[[str, bytes | None, str, str], Awaitable[None]]
    # Apart from the timeout of the greeting (RFC 5321 §4.5.3.2.1): if no TCP connection is made,
    # the next host need not wait longer.
    connect_timeout: float = 60
    # Greeting, MAIL, RCPT (§4.5.3.2.1 to §4.5.3.2.3), and steps without a timeout in the RFC: EHLO,
    # STARTTLS, handshake, RSET.  Peers look recipients up while we wait.
    timeout: float = 300
    start_timeout: float = 120  # DATA, RFC 5321 §4.5.3.2.4
    block_timeout: float = 180  # §4.5.3.2.5
    data_timeout: float = ANSWER_SECONDS


async def identify_server(
    target: Target,
    hostname: str,
    context: ssl.SSLContext,
    identify: Callable[[bytes | None, str, str], Awaitable[Peer]],
) -> Peer:
    """Connect as for delivery, up to TLS; return the identified peer.  Raises AttemptFailed."""
    client = _client(target, hostname, timeout=30)
    try:
        found = await _secure(client, target, context, connect_timeout=30)
        return await identify(found.certificate, found.tls_version, found.cipher)
    finally:
        await _abort(client)


async def open_connection(target: Target, domain: str, config: ClientConfig) -> ClientConnection:
    """Connect to a server that may get mail for `domain`.  Raises AttemptFailed, EhloRejected."""
    client = _client(target, config.hostname, config.timeout)
    try:
        found = await _secure(client, target, config.tls(), config.connect_timeout)
        failpoint("delivery.secured")
        await config.judge(domain, found.certificate, found.tls_version, found.cipher)
        extensions = await _greet(client, target)
        failpoint("delivery.greeted")
    except BaseException:
        await _abort(client)
        raise
    # No await from here on: the new protocol must be in place before data arrives.
    transport = client.transport
    if transport is None or transport.is_closing():
        raise AttemptFailed(FailureReason.CONNECTION, f"{target.host}: connection lost after EHLO")
    return ClientConnection(
        target.host, cast("asyncio.Transport", transport), PeerExtensions.of(extensions), found
    )


def _client(target: Target, hostname: str, timeout: float) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(
        hostname=target.address or target.host,
        local_hostname=hostname,
        timeout=timeout,
        use_tls=False,
        start_tls=False,
    )


async def _dial(target: Target, seconds: float) -> socket.socket:
    """Connect by TCP to the first address of a host that accepts.  Raises OSError."""
    try:
        async with asyncio.timeout(seconds):
            return await _dial_any(target)
    except TimeoutError:
        raise TimeoutError(f"no connection within {seconds:g} s") from None


async def _dial_any(target: Target) -> socket.socket:
    loop = asyncio.get_running_loop()
    host, failure = target.address or target.host, OSError("no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(
        host, target.port, type=socket.SOCK_STREAM
    ):
        door = socket.socket(family, kind, protocol)
        door.settimeout(0)
        try:
            await loop.sock_connect(door, address)
        except OSError as error:
            door.close()
            failure = error
        except BaseException:
            door.close()
            raise
        else:
            return door
    raise failure


async def _secure(
    client: aiosmtplib.SMTP, target: Target, context: ssl.SSLContext, connect_timeout: float
) -> TlsInfo:
    """Connect and start TLS.  aiosmtplib discards all earlier replies (RFC 3207 §4.2)."""
    try:
        await client.connect(sock=await _dial(target, connect_timeout))
        await _say_ehlo(client)
    except _FAULTS as error:
        raise _failed(FailureReason.CONNECTION, target, error) from error
    if not client.supports_extension("starttls"):
        raise AttemptFailed(FailureReason.NO_STARTTLS, f"{target.host} offers no STARTTLS")
    plain = client.transport
    try:
        # The server's name in TLS is the host's, not the IP address.
        await client.starttls(tls_context=context, server_hostname=target.host)
        secured = cast("ssl.SSLObject", client.get_transport_info("ssl_object"))
        cipher = (secured.cipher() or ("",))[0]
        return TlsInfo(secured.getpeercert(binary_form=True), secured.version() or "", cipher)
    except _FAULTS as error:
        if isinstance(plain, asyncio.WriteTransport):
            plain.abort()  # after a failed handshake it is still open
        timed_out = isinstance(error, TimeoutError)
        reason = FailureReason.TIMEOUT if timed_out else FailureReason.TLS
        raise AttemptFailed(reason, f"{target.host}: TLS failed: {_said(error)}") from error


async def _say_ehlo(client: aiosmtplib.SMTP) -> None:
    """Send EHLO.

    If the reply's first line has no server name, aiosmtplib takes the first extension for the name:
    it is added here.
    """
    first = (await client.ehlo()).message.partition("\n")[0].strip()
    keyword, _, parameters = first.partition(" ")
    if keyword.lower() in KEYWORDS:
        client.esmtp_extensions.setdefault(keyword.lower(), parameters)


async def _greet(client: aiosmtplib.SMTP, target: Target) -> Mapping[str, str]:
    try:
        await _say_ehlo(client)
    except aiosmtplib.SMTPHeloError as error:
        if 500 <= error.code < 600:
            raise EhloRejected(PeerReply(error.code, shown(error.message))) from error
        raise _failed(FailureReason.CONNECTION, target, error) from error
    except _FAULTS as error:
        # With TLS 1.3 the refusal of our certificate only arrives now.
        refused = isinstance(error.__cause__, ssl.SSLError)
        raise _failed(
            FailureReason.TLS if refused else FailureReason.CONNECTION, target, error
        ) from error
    return client.esmtp_extensions


def _failed(reason: FailureReason, target: Target, error: Exception) -> AttemptFailed:
    if isinstance(error, TimeoutError):
        reason = FailureReason.TIMEOUT
    elif isinstance(error, aiosmtplib.SMTPResponseException) and error.code < 0:
        reason = FailureReason.PROTOCOL  # aiosmtplib's code for a malformed reply
    return AttemptFailed(reason, f"{target.host}: {_said(error)}")


def _said(error: BaseException) -> str:
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return str(PeerReply(max(error.code, 0), shown(error.message))).removeprefix("0 ")
    if isinstance(error, aiosmtplib.SMTPConnectError) and error.__cause__ is not None:
        error = error.__cause__  # aiosmtplib's own text names a port that it does not know
    cause = error.__cause__
    said = shown(str(error)) or type(error).__name__
    return f"{said}: {shown(str(cause))}" if isinstance(cause, ssl.SSLError) else said


async def _abort(client: aiosmtplib.SMTP) -> None:
    """Close the connection and let the event loop finish it: the loop may end after this call."""
    transport = client.transport
    client.close()
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
