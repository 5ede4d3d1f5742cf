"""What comes before mail on an inbound connection: EHLO, STARTTLS and commands of no effect.

What is offered in EHLO is honoured: PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME (RFC 6152),
SMTPUTF8 (RFC 6531), DSN (RFC 3461), CHUNKING (RFC 3030), LIMITS (RFC 9422).
"""

import ssl
from typing import Final, cast

from relay import metrics
from relay.admission import Peer
from relay.connection import Connection
from relay.errors import Reply, SyntaxRefused
from relay.limits import LINGER_SECONDS
from relay.secured import Secured

_TOO_MANY_OF_PEER: Final = Reply(421, "4.7.0", "Too many connections with your certificate")


class Opening(Connection):
    """A connection that greets and turns to TLS; whatever is under way then is abandoned."""

    _helo = ""

    async def smtp_EHLO(self, hostname: str | None) -> None:
        """Greet and say what is offered (RFC 5321 §4.1.1.1), in one write."""
        self._greeted(hostname)
        limits = self._context.limits
        offers = [
            self.hostname,
            f"SIZE {self._context.policy.max_message_bytes}",
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
        self._helo = hostname

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
        self._record("tls.failed", error=str(error))
        self._log.info("tls.failed", error=str(error), address=self._address)

    async def _identify(self, secured: ssl.SSLObject, der: bytes | None) -> None:
        cipher = (secured.cipher() or ("",))[0]
        version = secured.version() or ""
        self._peer = Peer(version, cipher)  # TLS is on, whoever it may be
        found = await self._context.perimeter.identify_peer(der, version, cipher)
        shown = found.certificate
        if shown is not None and not self._context.occupancy.identify(shown.subject):
            self._ending = _TOO_MANY_OF_PEER
        self._peer = found
        name = str(shown.subject) if shown else ""
        self._log = self._log.bind(peer=name or "no certificate")
        if self._transcript is not None:
            if self._counted_name() in self._context.debug_peers:
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
