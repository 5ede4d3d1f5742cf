"""The policy for peer operators: the certificate shows the operator, the white list its rights.

`admission.admit` makes every decision from the facts known so far (DOMAIN §3.2).  The certificate
is judged in the handshake, and again at each MAIL if the verdict may have changed.  A peer that
does not pass is a stranger, with limited time and place.
"""

import asyncio
from contextlib import suppress
from typing import Final

from relay.connection.connection_counts import OpenSession
from relay.policy.admission import AdmissionFacts, Peer, Stage, admit, admit_recipient
from relay.policy.author_rules import noted_authors, seen_authors
from relay.policy.quotas import NO_LIMIT, Quota
from relay.policy.recipient import Recipient
from relay.policy.standing import PeerStanding, judge_peer
from relay.policy.trust_state import ListSnapshot
from relay.server.context import SessionContext
from relay.server.journal import SessionJournal
from relay.server.session_policy import Handshake
from relay.smtp.address import SmtpAddress
from relay.smtp.errors import Refused, SmtpError
from relay.smtp.headers import HeaderFacts
from relay.smtp.parameters import DsnNotify, RcptParameters
from relay.smtp.reply import Reply
from whitelist.national.lookup import WhiteList
from whitelist.pki.distinguished_name import DistinguishedName

_STRANGER: Final = Reply(421, "4.7.0", "Too long without a certificate of the white list")
_TOO_MANY_OF_PEER: Final = Reply(421, "4.7.0", "Too many connections with your certificate")
_QUOTA: Final = Reply(
    450, "4.7.1", "Your certificate has had its share of this hour, try again later"
)
_RECEIPTS_QUOTA: Final = Reply(
    450, "4.7.1", "Your certificate has had its share of receipts this hour, try again later"
)


class PeerPolicy:
    """The rights of a peer in one session."""

    _session: OpenSession
    _journal: SessionJournal

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self.peer = Peer()
        self.name: DistinguishedName | None = None
        self.ending: Reply | None = None
        self._standing = PeerStanding(self.peer)
        self._stranger_clock: asyncio.TimerHandle | None = None  # None for an admitted peer
        self._at_mail: ListSnapshot | None = None  # the state when the transaction began
        # Sender domain and peer admitted at the last MAIL, and the list that admitted them.
        self._admitted: tuple[WhiteList | None, Peer | None, str | None] = (None, None, None)
        self._room: Quota = NO_LIMIT  # the quota left at the last MAIL
        self._report = False  # the sender of the last MAIL is the null reverse-path

    # The connection.

    def connected(self, session: OpenSession, journal: SessionJournal) -> None:
        """Begin: the peer is a stranger until it is admitted."""
        self._session, self._journal = session, journal
        self._start_stranger_clock()

    def closed(self) -> None:
        """The connection is gone: stop the timer."""
        self._stop_stranger_clock()

    def _start_stranger_clock(self) -> None:
        seconds, loop = self._context.limits.stranger_seconds, asyncio.get_running_loop()
        self._stranger_clock = loop.call_later(seconds, self._session.hang_up, _STRANGER)

    def _stop_stranger_clock(self) -> None:
        if self._stranger_clock is not None:
            self._stranger_clock.cancel()
            self._stranger_clock = None

    async def identify(self, handshake: Handshake) -> None:
        """Judge the certificate, count the session under its name, admit it or not."""
        context, journal = self._context, self._journal
        version, cipher, der = handshake.version, handshake.cipher, handshake.certificate
        self.peer = Peer(version, cipher)  # TLS is on, whatever the verdict
        if der is not None:
            context.connection_counts.mark_undecided(self._session)
        self._standing = await judge_peer(
            context.trust_state, der, version, cipher, context.clock()
        )
        found = self.peer = self._standing.peer
        shown, chain = found.certificate, found.chain
        self._count()
        with suppress(Refused):  # the refusal is sent at MAIL
            self._admit_peer(self._facts())
        if not journal.known and context.trust_state.snapshot.lists(found):
            journal.became_known()
        name = str(shown.subject) if shown else ""
        known_as = name if self.name or not name else f"{name} (unproven)"
        journal.log = journal.log.bind(peer=known_as or "no certificate")
        if self.name in context.debug_peers:
            journal.remark(f"{version} {cipher}")
        else:
            journal.drop_transcript()
        journal.record(
            "tls.started",
            version=version,
            cipher=cipher,
            resumed=handshake.resumed,
            peer=name,
            serial=f"{shown.serial:x}" if shown else "",
            chain=chain.status.value if chain else "no certificate",
            **({"client_auth": False} if chain and not chain.client_auth else {}),
        )

    def _count(self) -> None:
        """Count the session under its peer's name, if a valid chain proves the name.

        Anybody can write a name into a certificate.
        """
        shown, chain = self.peer.certificate, self.peer.chain
        if self.name is None and shown is not None and chain is not None and chain.trusted:
            self.name = shown.subject
            if not self._context.connection_counts.count_peer(shown.subject):
                self.ending = _TOO_MANY_OF_PEER

    def _admit_peer(self, facts: AdmissionFacts) -> None:
        """Return if the peer's certificate is admitted.  Raises Refused.

        A peer that does not pass is a stranger, even if it was known until now.
        """
        context = self._context
        try:
            admit(facts, Stage.PEER)
        except Refused:
            if self._stranger_clock is None:
                self._start_stranger_clock()
            context.connection_counts.mark_stranger(self._session, self._journal.address)
            raise
        if self._stranger_clock is not None:
            self._stop_stranger_clock()
            context.connection_counts.mark_known(self._session)
        if not self._journal.known:
            self._journal.became_known()

    # A transaction.

    async def admit_sender(self, sender: SmtpAddress | None, size: int | None) -> None:
        """Return if the peer may send for this sender's domain.  Raises Refused."""
        await self._judge_again()
        at_mail = self._at_mail = self._context.trust_state.snapshot
        facts = self._facts(at_mail, sender_stated=True, sender=sender, size=size)
        self._report = sender is None
        domain = sender.domain if sender else None
        white_list, peer, before = self._admitted
        # These rules depend on nothing else: what passed once passes again with the same list, peer
        # and domain, unless the peer became a stranger in between.
        unchanged = white_list is at_mail.white_list and peer is self.peer and domain == before
        if unchanged and self._stranger_clock is None:
            admit(facts, Stage.MESSAGE)  # only the size is known yet
            return
        self._admit_peer(facts)
        admit(facts, Stage.SENDER)
        self._admitted = (at_mail.white_list, self.peer, domain)

    async def _judge_again(self) -> None:
        """Judge the peer's certificate again, if the verdict may have changed."""
        context, before, now = self._context, self._standing, self._context.clock()
        if before.holds(context.trust_state, now):
            return
        version, cipher = before.peer.tls_version, before.peer.cipher
        self._standing = await judge_peer(context.trust_state, before.der, version, cipher, now)
        if self._standing.peer == before.peer:
            return  # the verdict under which the peer was admitted
        self.peer = self._standing.peer
        self._count()
        chain = self.peer.chain
        if chain is not None and before.peer.chain is not None:
            status, was = chain.status.value, before.peer.chain.status.value
            if status != was:
                journal = self._journal
                journal.record("certificate.judged", chain=status, before=was, detail=chain.detail)
                journal.log.info("certificate.judged", chain=status, before=was)

    def grant_quota(self) -> None:
        """Read the quota that the peer has left in this hour.  Raises SmtpError if none."""
        quotas = self._context.quotas
        if self.name is None:
            self._room = NO_LIMIT
            return
        room = quotas.remaining(self.name, asyncio.get_running_loop().time())
        if 0 in {room.messages, room.recipients}:
            raise SmtpError(_QUOTA, f"of {quotas.of(self.name)}")
        self._room = room

    @property
    def max_recipients(self) -> int:
        """The recipient limit of a message, or the rest of the quota."""
        limit, left = self._context.limits.max_recipients, self._room.recipients
        return limit if left is None else min(limit, left)

    @property
    def accepts_ahead(self) -> bool:
        """Whether only its mailbox decides about a recipient."""
        return self.ending is None and self._room.receipts != 0

    def admit_receipt(self, parameters: RcptParameters) -> None:
        """Return if the quota leaves room for the receipt, if RCPT asks for a receipt."""
        if self._room.receipts == 0 and DsnNotify.SUCCESS in (parameters.notify or ()):
            raise SmtpError(_RECEIPTS_QUOTA)

    def admit_recipient(self, recipient: Recipient) -> None:
        """Return if the recipient is an open mailbox of ours.  Raises Refused."""
        white_list = self._at_mail.white_list if self._at_mail is not None else None
        admit_recipient(recipient, self.peer, white_list, report=self._report)

    async def admit_message(
        self, sender: SmtpAddress | None, size: int, header: HeaderFacts, *, report: bool
    ) -> tuple[str, ...]:
        """Return foreign author domains to be noted, if size and header pass.  Raises Refused."""
        facts = self._facts(
            sender_stated=True, sender=sender, size=size, header=header, report=report
        )
        seen = seen_authors(facts)
        if seen:
            ours = await self._context.recipient_lookup.own_domains()
            facts = facts._replace(own_authors=tuple(one for one in seen if one in ours))
        admit(facts, Stage.MESSAGE)
        return noted_authors(facts) if seen else ()

    def count_accepted(self, recipients: int, *, receipt: bool) -> None:
        """Count an accepted message in the hour's quota."""
        if self.name is not None:
            now = asyncio.get_running_loop().time()
            self._context.quotas.record(self.name, now, recipients=recipients, receipt=receipt)

    def _facts(
        self,
        snapshot: ListSnapshot | None = None,
        *,
        sender_stated: bool = False,
        sender: SmtpAddress | None = None,
        size: int | None = None,
        header: HeaderFacts | None = None,
        report: bool = False,
    ) -> AdmissionFacts:
        snapshot = snapshot or self._context.trust_state.snapshot
        return AdmissionFacts(
            self.peer,
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
