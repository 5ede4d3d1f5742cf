"""Peer operator that accepts all mail, and records each message that it acknowledged.

Runs in a thread beside the killed processes: its record is never lost.
"""

import asyncio
import hashlib
import logging
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from mssante_operator.setup.install import write_identity
from tests.support.machines.daemon import federation, free_endpoint
from tests.support.waiting import until_now

NOBODY: Final = "nobody@"  # a recipient that no peer has
_PAUSE: Final = 0.01  # seconds between two checks
_QUEUE_ID: Final = re.compile(rb"\sid ([0-9a-f]{32})\b")


@dataclass(frozen=True, slots=True)
class Receipt:
    """A message whose `250` was sent or about to be; `blob` is the SHA-256 of its octets."""

    queue_id: str
    blob: str
    recipients: tuple[str, ...]


@dataclass
class Receiver:
    """The mail received by an operator, and its present connections."""

    domain: str
    endpoint: str = field(default_factory=free_endpoint)
    receipts: list[Receipt] = field(default_factory=list)
    conversations: int = 0
    holding: bool = False  # True: replies to whole messages are delayed
    held: int = 0  # number of delayed replies
    put_off: set[str] = field(default_factory=set)  # ids of messages to answer 451, once each

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _: list[str]
    ) -> str:
        """Accept all recipients but NOBODY."""
        if address.startswith(NOBODY):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Record the message, then acknowledge."""
        self.held += 1
        try:
            while self.holding:  # noqa: ASYNC110 - another thread says when
                await asyncio.sleep(_PAUSE)
        finally:
            self.held -= 1
        content = envelope.original_content or b""
        found = _QUEUE_ID.search(content)
        key = found[1].decode() if found else ""
        if key in self.put_off:
            self.put_off.discard(key)
            return "451 4.3.0 not now"
        blob = hashlib.sha256(content).hexdigest()
        self.receipts.append(Receipt(key, blob, tuple(sorted(envelope.rcpt_tos))))
        return "250 2.0.0 taken"

    def quiet(self) -> None:
        """Wait until no connection is open, and all complete messages are recorded."""
        until_now(lambda: self.conversations == 0)


class _Conversation(SMTP):
    """Counts its connections at its receiver."""

    def connection_made(self, transport: object) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # of two kinds, by STARTTLS
        if not self._counted:
            self._counted = True
            self.event_handler.conversations += 1

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.event_handler.conversations -= 1

    _counted = False


class _Server(Controller):
    """Serves sessions under TLS with a client certificate."""

    tls: ssl.SSLContext

    def factory(self) -> SMTP:
        return _Conversation(
            self.handler, tls_context=self.tls, require_starttls=True, data_size_limit=None
        )


@contextmanager
def receiver(folder: Path, name: str) -> Iterator[Receiver]:
    """Operator `name` of the federation (b or c), listening on loopback."""
    space, operator = federation().space, federation().operators[name]
    write_identity(operator, space.hierarchy, folder, name)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    tls.load_verify_locations(cadata=space.hierarchy.root.certificate_pem.decode("ascii"))
    tls.verify_mode = ssl.CERT_REQUIRED
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # interruptions are expected
    made = Receiver(f"{name}.mssante.fr")
    host, _, port = made.endpoint.rpartition(":")
    server = _Server(made, hostname=host, port=int(port), ready_timeout=20)
    server.tls = tls
    server.start()
    try:
        yield made
    finally:
        server.stop()
