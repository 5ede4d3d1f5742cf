"""The contract between a session and the policy of its listener: client identity and rights.

The session knows the order of commands and reads the octets; it asks its policy before each yes.
Peers of the trust space have `relay.server.peer_policy`.  Submission by our own users (RFC 6409)
and LMTP (RFC 2033) have policies of their own, each with its own table of commands
(docs/decisions/0068-one-inbound-session.md).
"""

import ssl
from dataclasses import dataclass
from typing import Protocol

from relay.connection.connection_counts import OpenSession
from relay.policy.admission import Peer
from relay.policy.recipient import Recipient
from relay.server.journal import SessionJournal
from relay.smtp.address import SmtpAddress
from relay.smtp.headers import HeaderFacts
from relay.smtp.parameters import RcptParameters
from relay.smtp.reply import Reply
from whitelist.pki.distinguished_name import DistinguishedName


@dataclass(frozen=True, slots=True)
class Handshake:
    """Facts of a TLS handshake; `certificate` is the client's in DER, None if it showed none."""

    version: str
    cipher: str
    certificate: bytes | None
    resumed: bool = False

    @classmethod
    def of(cls, tls: ssl.SSLObject) -> "Handshake":
        """Read the facts of a finished handshake.  Raises ValueError if the peer closed it."""
        certificate = tls.getpeercert(binary_form=True)
        cipher = (tls.cipher() or ("",))[0]
        return cls(tls.version() or "", cipher, certificate, bool(tls.session_reused))


class SessionPolicy(Protocol):
    """The questions of a session; refusals are raised as SmtpError."""

    peer: Peer
    name: DistinguishedName | None  # proven; the session is counted under it
    ending: Reply | None  # the reply to the next command, instead of obeying it

    def connected(self, session: OpenSession, journal: SessionJournal) -> None:
        """The client has connected."""

    def closed(self) -> None:
        """The connection is gone: no timer may be left."""

    async def identify(self, handshake: Handshake) -> None:
        """Take the facts of TLS about the client; nothing is refused here."""

    async def admit_sender(self, sender: SmtpAddress | None, size: int | None) -> None:
        """Return if the client may send for this sender (None: the null reverse-path)."""

    def grant_quota(self) -> None:
        """Return if the quota leaves room for a message."""

    @property
    def max_recipients(self) -> int:
        """The recipient limit of this message."""

    @property
    def accepts_ahead(self) -> bool:
        """Whether a recipient known to be open to all needs no check of its own."""

    def admit_receipt(self, parameters: RcptParameters) -> None:
        """Return if the quota has room for the receipt that RCPT asks for."""

    def admit_recipient(self, recipient: Recipient) -> None:
        """Return if the client may write to this recipient."""

    async def admit_message(
        self, sender: SmtpAddress | None, size: int, header: HeaderFacts, *, report: bool
    ) -> tuple[str, ...]:
        """Return foreign author domains to be noted, if the message may come in."""

    def count_accepted(self, recipients: int, *, receipt: bool) -> None:
        """Count an accepted message."""
