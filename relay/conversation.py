"""One outbound SMTP conversation: aiosmtplib for the commands, our own streaming for the message.

Always STARTTLS, always with our certificate, and nothing of the envelope is said before the
server's certificate has been judged (DOMAIN §3.3, §9.27, §9.28).  There is no way back to clear
text.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import cast

import aiosmtplib

from relay.admission import Peer
from relay.framing import ChunkChecker, DotStuffer
from relay.queue import Claim, Outcome, State
from relay.route import Target


class AttemptFailed(Exception):
    """No answer about the recipients from this host; `reason` is a metric's label."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Terms:
    """How we speak to peers: our name, our TLS, the judge of their certificate, seconds per step.

    `judge(der, tls_version, cipher)` raises AttemptFailed for a server that may not have the
    message.
    """

    hostname: str
    tls: ssl.SSLContext
    judge: Callable[[bytes | None, str, str], Awaitable[None]]
    timeout: float = 60
    data_timeout: float = 600  # RFC 5321 §4.5.3.2.6


@dataclass(frozen=True, slots=True)
class Letter:
    """What is handed over: `octets` yields the message with CRLF line ends, `size` in all."""

    envelope: Claim
    octets: AsyncIterator[bytes]
    size: int


async def converse(target: Target, terms: Terms, letter: Letter) -> Mapping[str, Outcome]:
    """Hand a message over; returns what became of each recipient.  Raises AttemptFailed."""
    client = _client(target, terms.hostname, terms.timeout)
    try:
        await _connect(client, terms)
        with closing(_writer(client)) as writer:
            return await _transact(client, writer, terms, letter)
    except (aiosmtplib.SMTPException, OSError) as error:
        raise AttemptFailed("connection", f"{target.host}: {_said(error)}") from error
    finally:
        client.close()


async def look_at(
    target: Target,
    hostname: str,
    context: ssl.SSLContext,
    identify: Callable[[bytes | None, str, str], Awaitable[Peer]],
) -> Peer:
    """Connect as for delivery, as far as TLS, and say who answered.  Raises AttemptFailed."""
    found: list[Peer] = []

    async def judge(der: bytes | None, version: str, cipher: str) -> None:
        found.append(await identify(der, version, cipher))

    client = _client(target, hostname, timeout=30)
    try:
        await _connect(client, Terms(hostname, context, judge))
    except (aiosmtplib.SMTPException, OSError) as error:
        raise AttemptFailed("connection", f"{target.host}: {_said(error)}") from error
    finally:
        await _abort(client)
    return found[0]


async def _abort(client: aiosmtplib.SMTP) -> None:
    """Cut the connection and see it gone: the event loop may end with this call."""
    transport = client.transport
    client.close()
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def _client(target: Target, hostname: str, timeout: float) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(
        hostname=target.host,
        port=target.port,
        local_hostname=hostname,
        timeout=timeout,
        use_tls=False,
        start_tls=False,
    )


async def _connect(client: aiosmtplib.SMTP, terms: Terms) -> None:
    await client.connect()
    await client.ehlo()
    if not client.supports_extension("starttls"):
        raise AttemptFailed("no-starttls", f"{client.hostname} offers no STARTTLS")
    try:
        await client.starttls(tls_context=terms.tls)
    except (ssl.SSLError, aiosmtplib.SMTPException, OSError) as error:
        raise AttemptFailed("tls", f"{client.hostname}: TLS failed: {_said(error)}") from error
    secured = cast("ssl.SSLObject", client.get_transport_info("ssl_object"))
    cipher = (secured.cipher() or ("",))[0]
    await terms.judge(secured.getpeercert(binary_form=True), secured.version() or "", cipher)
    await client.ehlo()


def _writer(client: aiosmtplib.SMTP) -> asyncio.StreamWriter:
    """A writer beside aiosmtplib's own, which would want the whole message in memory at once.

    Its protocol has the flow control that StreamWriter.drain asks for.  To be closed in the end.
    """
    protocol = client.protocol
    if protocol is None or protocol.transport is None:
        raise aiosmtplib.SMTPServerDisconnected("Connection lost after the handshake")
    transport = cast("asyncio.WriteTransport", protocol.transport)
    return asyncio.StreamWriter(transport, protocol, None, asyncio.get_running_loop())


async def _transact(
    client: aiosmtplib.SMTP, writer: asyncio.StreamWriter, terms: Terms, letter: Letter
) -> Mapping[str, Outcome]:
    envelope = letter.envelope
    options = []
    encoding = "ascii"
    if client.supports_extension("size"):
        options.append(f"SIZE={letter.size}")
    if client.supports_extension("8bitmime"):
        options.append("BODY=8BITMIME")
    if envelope.smtputf8:
        if not client.supports_extension("smtputf8"):
            refusal = Outcome(State.FAILED, "553 5.6.7 peer does not offer SMTPUTF8 (RFC 6531)")
            return dict.fromkeys(envelope.recipients, refusal)
        options.append("SMTPUTF8")
        encoding = "utf-8"
    try:
        await client.mail(envelope.sender, options=options, encoding=encoding)
    except aiosmtplib.SMTPResponseException as error:
        return dict.fromkeys(envelope.recipients, _outcome(error.code, error.message))
    outcomes: dict[str, Outcome] = {}
    taken: list[str] = []
    for recipient in envelope.recipients:
        try:
            await client.rcpt(recipient, encoding=encoding)
            taken.append(recipient)
        except aiosmtplib.SMTPResponseException as error:
            outcomes[recipient] = _outcome(error.code, error.message)
    if taken:
        code, text = await _send(client, writer, terms, letter)
        outcomes.update(dict.fromkeys(taken, _outcome(code, text)))
    await _farewell(client)
    return outcomes


async def _send(
    client: aiosmtplib.SMTP, writer: asyncio.StreamWriter, terms: Terms, letter: Letter
) -> tuple[int, str]:
    start = await client.execute_command(b"DATA")
    if start.code != 354:
        return start.code, start.message
    stuffer, checker = DotStuffer(), ChunkChecker()
    async with asyncio.timeout(terms.data_timeout):
        async for chunk in letter.octets:
            piece = checker.feed(chunk)
            if checker.violation is not None:
                break
            writer.write(stuffer.feed(piece))
            await writer.drain()
        rest = stuffer.feed(checker.finish()) + stuffer.finish()
        if checker.violation is not None:
            # However it came to be stored, where it ends would be for the peer to guess
            # (ANCHORS §3.2): the message is not ended, so it was never sent.
            writer.transport.abort()
            return 550, f"5.6.0 not sent: it contains {checker.violation}"
        writer.write(rest)
        await writer.drain()
    # The terminating dot, and the only reply that makes the peer responsible for the message.
    end = await client.execute_command(b".", timeout=terms.data_timeout)
    return end.code, end.message


async def _farewell(client: aiosmtplib.SMTP) -> None:
    # The outcome is known; manners do not change it.
    with suppress(aiosmtplib.SMTPException, OSError):
        await client.quit(timeout=5)


def _outcome(code: int, text: str) -> Outcome:
    reply = " ".join(f"{code} {text}".split())[:500]
    if code < 300:
        return Outcome(State.DELIVERED, reply)
    return Outcome(State.FAILED if 500 <= code < 600 else State.WAITING, reply)


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
