"""Contract of a session with the policy of its listener: who the client is, and what it may do.

The session knows the order of commands and how octets are read; it asks its policy before it says
yes.  Peers of the trust space have `relay.server.peer_policy`.  Our own users' submission (RFC
6409) and LMTP (RFC 2033) are policies of their own, beside a table of commands of their own
(docs/decisions/0068-one-inbound-session.md).
"""

import ssl
from dataclasses import dataclass
from typing import Protocol

from relay.connection.connection_counts import OpenSession
from relay.policy.admission import Peer
from relay.policy.recipient import Recipient
from relay.server.journal import SessionJournal
from relay.smtp.address import Address
from relay.smtp.errors import Reply
from relay.smtp.headers import HeaderFacts
from relay.smtp.parameters import RcptParameters
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
        """Read them once it is over.  Raises ValueError if the peer has ended it meanwhile."""
        certificate = tls.getpeercert(binary_form=True)
        cipher = (tls.cipher() or ("",))[0]
        return cls(tls.version() or "", cipher, certificate, bool(tls.session_reused))


class SessionPolicy(Protocol):
    """What a session asks; refusals are raised as SmtpError."""

    peer: Peer
    name: DistinguishedName | None  # proven, under which the session is counted
    ending: Reply | None  # said to the next command, in place of obeying it

    def connected(self, session: OpenSession, journal: SessionJournal) -> None:
        """The client has connected."""

    def closed(self) -> None:
        """The connection is gone: no timer may be left."""

    async def identify(self, handshake: Handshake) -> None:
        """The client has shown in TLS who it is; nothing is refused here."""

    async def admit_sender(self, sender: Address | None, size: int | None) -> None:
        """Return if the client may send for this sender, None for the null reverse-path."""

    def grant_quota(self) -> None:
        """Return if the quota leaves room for a message."""

    @property
    def most_recipients(self) -> int:
        """How many recipients this message may have."""

    @property
    def accepts_ahead(self) -> bool:
        """Whether recipients known to be open to all need no judgement of their own."""

    def admit_receipt(self, parameters: RcptParameters) -> None:
        """Return if the recipient may have the receipt that is asked for it."""

    def admit_recipient(self, recipient: Recipient) -> None:
        """Return if the client may write to this recipient."""

    async def admit_message(
        self, sender: Address | None, size: int, header: HeaderFacts, *, report: bool
    ) -> tuple[str, ...]:
        """Return if the message may come in, with foreign domains of authors to be noted."""

    def took(self, recipients: int, *, receipt: bool) -> None:
        """A message was accepted."""
