"""What comes before mail on an inbound connection: EHLO, STARTTLS and commands of no effect.

What is offered in EHLO is honoured: PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME (RFC 6152),
SMTPUTF8 (RFC 6531), DSN (RFC 3461), CHUNKING (RFC 3030), LIMITS (RFC 9422).
"""

import asyncio
import ssl
from contextlib import suppress
from typing import Final, cast

from relay import metrics
from relay.address import Address
from relay.admission import Attempt, Peer, Stage, admit
from relay.connection import Connection
from relay.errors import Refused, Reply, SyntaxRefused
from relay.headers import HeaderFacts
from relay.limits import LINGER_SECONDS
from relay.perimeter import Snapshot
from relay.secured import Secured
from relay.sizes import report_limit
from relay.standing import Standing, judge

_STRANGER: Final = Reply(421, "4.7.0", "Too long without a certificate of the white list")
_TOO_MANY_OF_PEER: Final = Reply(421, "4.7.0", "Too many connections with your certificate")


class Opening(Connection):
    """A connection that greets and turns to TLS; whatever is under way then is abandoned."""

    _helo = ""  # empty again after STARTTLS (RFC 3207 §4.2)
    _has_greeted = False  # then too, so that mail need not wait for an EHLO that is no MUST
    _standing: Standing = Standing(Peer())
    _stranger_clock: asyncio.TimerHandle | None = None  # None for a peer that is known

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the session, a stranger's for so long."""
        super().connection_made(transport)
        self._start_stranger_clock()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        self._stop_stranger_clock()
        super().connection_lost(error)

    def _start_stranger_clock(self) -> None:
        seconds = self._context.limits.stranger_seconds
        self._stranger_clock = self.loop.call_later(seconds, self.hang_up, _STRANGER)

    def _stop_stranger_clock(self) -> None:
        if self._stranger_clock is not None:
            self._stranger_clock.cancel()
            self._stranger_clock = None

    def _admit_peer(self, attempt: Attempt) -> None:
        """Return if mail is taken with the peer's certificate.  Raises Refused.

        Whoever does not pass is a stranger, be it that it was known until now.
        """
        try:
            admit(attempt, Stage.PEER)
        except Refused:
            if self._stranger_clock is None:
                self._start_stranger_clock()
            self._context.occupancy.doubt(self, self._address)
            raise
        if self._stranger_clock is not None:
            self._stop_stranger_clock()
            self._context.occupancy.know(self)
        if not self._known:
            self._became_known()

    async def smtp_EHLO(self, hostname: str | None) -> None:
        """Greet and say what is offered (RFC 5321 §4.1.1.1), in one write."""
        self._greeted(hostname)
        limits = self._context.limits
        offers = [
            self.hostname,
            f"SIZE {report_limit(self._context.policy.max_message_bytes)}",
            "8BITMIME",
            "SMTPUTF8",
            "PIPELINING",
            "ENHANCEDSTATUSCODES",
            "DSN",
            "CHUNKING",
            f"LIMITS MAILMAX={limits.max_messages} RCPTMAX={limits.max_recipients}",
        ]
        if not self._peer.tls_version:
            offers.append("STARTTLS")
        await self.push("\r\n".join([*(f"250-{o}" for o in offers[:-1]), f"250 {offers[-1]}"]))

    async def smtp_HELO(self, hostname: str | None) -> None:
        """Greet without extensions; useless before TLS, but not an error (RFC 5321 §4.1.1.1)."""
        self._greeted(hostname)
        await self.push(f"250 {self.hostname}")

    def _greeted(self, hostname: str | None) -> None:
        if not hostname:
            raise SyntaxRefused("Syntax: EHLO hostname")
        self._abandon()
        self._helo, self._has_greeted = hostname, True

    async def smtp_STARTTLS(self, arg: str | None) -> None:
        """Upgrade to TLS (RFC 3207): what was said before is forgotten on both sides."""
        if arg:
            raise SyntaxRefused("Syntax: STARTTLS")
        if self._peer.tls_version:
            raise SyntaxRefused("TLS is already on", code=503, enhanced="5.5.1")
        plain = self._outbound.transport
        plain.pause_reading()
        self._inbound.clear()
        self._secured = True
        await self.push("220 2.0.0 Ready to start TLS")
        self._outbound.flush()
        try:
            transport = await self.loop.start_tls(
                plain,
                Secured(self),
                self._context.tls(),
                server_side=True,
                ssl_handshake_timeout=self._context.limits.handshake_seconds,
                ssl_shutdown_timeout=LINGER_SECONDS,
            )
        except (OSError, ssl.SSLError) as error:
            self._tls_failed(error)
            plain.abort()
            # A failed handshake does not report it.  Not with the error: kept by the stream, its
            # traceback would hold on to this session.
            self.connection_lost(None)
            return
        if transport is None:
            self.connection_lost(None)  # the peer went away during the handshake
            return
        self.transport = self._outbound.transport = transport
        self._inbound.attach(transport)
        self._abandon()
        self._helo = ""
        secured = cast("ssl.SSLObject", transport.get_extra_info("ssl_object"))
        try:
            der = secured.getpeercert(binary_form=True)
        except ValueError as error:  # damaged records right behind the handshake have ended it
            self._tls_failed(error)
            transport.abort()
            return
        await self._identify(secured, der)

    def _tls_failed(self, error: Exception) -> None:
        metrics.HANDSHAKES_FAILED.inc()
        self._reason = "tls"
        self._tell("tls.failed", error=str(error), address=self._address)

    async def _identify(self, secured: ssl.SSLObject, der: bytes | None) -> None:
        cipher = (secured.cipher() or ("",))[0]
        version = secured.version() or ""
        self._peer = Peer(version, cipher)  # TLS is on, whoever it may be
        context = self._context
        if der is not None:
            context.occupancy.weigh(self)
        self._standing = await judge(context.perimeter, der, version, cipher, context.clock())
        found = self._standing.peer
        shown = found.certificate
        self._peer = found
        self._count_peer()
        with suppress(Refused):  # it is told so at MAIL
            self._admit_peer(self._attempt())
        if not self._known and self._context.perimeter.snapshot.lists(found):
            self._became_known()
        name = str(shown.subject) if shown else ""
        known_as = name if self._counted or not name else f"{name} (unproven)"
        self._log = self._log.bind(peer=known_as or "no certificate")
        if self._transcript is not None:
            if self._counted in self._context.debug_peers:
                self._transcript.remark(f"{version} {cipher}")
            else:
                self._transcript = None
        self._record(
            "tls.started",
            version=version,
            cipher=cipher,
            resumed=bool(secured.session_reused),
            peer=name,
            serial=f"{shown.serial:x}" if shown else "",
            chain=found.chain.status.value if found.chain else "no certificate",
            **({"client_auth": False} if found.chain and not found.chain.client_auth else {}),
        )

    def _count_peer(self) -> None:
        """Count the session under its peer's name, if a chain that holds proves it.

        Anybody can write a name into a certificate.
        """
        shown, chain = self._peer.certificate, self._peer.chain
        if self._counted is None and shown is not None and chain is not None and chain.trusted:
            self._counted = shown.subject
            if not self._context.occupancy.identify(shown.subject):
                self._ending = _TOO_MANY_OF_PEER

    async def _judge_again(self) -> None:
        """Judge the peer's certificate anew, if anything has come that may change the verdict."""
        context, before, now = self._context, self._standing, self._context.clock()
        if before.holds(context.perimeter, now):
            return
        version, cipher = before.peer.tls_version, before.peer.cipher
        self._standing = await judge(context.perimeter, before.der, version, cipher, now)
        if self._standing.peer == before.peer:
            return  # the same as before, with which the peer has passed
        self._peer = self._standing.peer
        self._count_peer()
        chain = self._peer.chain
        if chain is not None and before.peer.chain is not None:
            status, was = chain.status.value, before.peer.chain.status.value
            if status != was:
                self._record("certificate.judged", chain=status, before=was, detail=chain.detail)
                self._log.info("certificate.judged", chain=status, before=was)

    def _attempt(
        self,
        snapshot: Snapshot | None = None,
        *,
        sender_stated: bool = False,
        sender: Address | None = None,
        size: int | None = None,
        header: HeaderFacts | None = None,
        report: bool = False,
    ) -> Attempt:
        snapshot = snapshot or self._context.perimeter.snapshot
        return Attempt(
            self._peer,
            self._context.policy,
            snapshot.white_list,
            snapshot.problem,
            sender_stated,
            sender,
            size,
            header=header,
            report=report,
            list_final=snapshot.final,
        )

    async def smtp_NOOP(self, _arg: str | None) -> None:
        """Nothing (RFC 5321 §4.1.1.9)."""
        await self.push("250 2.0.0 OK")

    async def smtp_QUIT(self, arg: str | None) -> None:
        """The end (RFC 5321 §4.1.1.10)."""
        if arg:
            raise SyntaxRefused("Syntax: QUIT")
        await self.push("221 2.0.0 Bye")
        self._reason = "quit"
        self._close()

    async def smtp_VRFY(self, _arg: str | None) -> None:
        """Say nothing about who has a mailbox (RFC 5321 §7.3)."""
        await self.push("252 2.5.2 Cannot VRFY, but mail for a mailbox here is accepted")

    async def smtp_EXPN(self, _arg: str | None) -> None:
        """No lists here."""
        raise SyntaxRefused("Command not implemented", code=502, enhanced="5.5.1")

    smtp_AUTH = smtp_HELP = smtp_EXPN  # operators are known by their certificate  # noqa: N815
