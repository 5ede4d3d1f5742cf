"""A session's events in journal and log, and its transcript on request.

A peer without a certificate of the white list is a stranger: its events are recorded up to a rate,
and counted beyond it (`relay.connection.strangers`).
"""

import structlog

from relay.connection.strangers import shortened
from relay.connection.transcript import Transcript
from relay.server.context import SessionContext
from whitelist.pki.distinguished_name import DistinguishedName

_log = structlog.get_logger(__name__)


class SessionJournal:
    """The journal of the session `session`; `address` is the peer's, once it is connected."""

    def __init__(self, context: SessionContext, session: str) -> None:
        self._context = context
        self._session = session
        self.address = ""
        self.log = _log.bind(session=session)
        self.known = False  # a peer of the white list: all its events are recorded
        self._opening_told = False
        self._transcript = Transcript() if context.debug_peers else None
        self.transcribed = self._transcript is not None  # read for each line

    def opened(self, address: str) -> None:
        """Record the connection of the peer."""
        self.address = address
        self._opening_told = self.record("session.opened", address=address)

    def became_known(self) -> None:
        """Note that the peer is on the white list, in the handshake or later."""
        self.known = True
        if self._opening_told:
            self._context.strangers.is_known(self.address)
        else:
            self.record("session.opened", address=self.address)

    def record(self, event: str, **facts: object) -> bool:
        """Record an event of this session; False if it is a stranger's and only counted."""
        journal, rule = self._context.journal, str(facts.get("rule", ""))
        if self._context.quiet:
            return False
        if self.known:
            journal.record(event, session=self._session, **facts)
        elif self._context.strangers.may_report(self.address, event, rule):
            journal.record_stranger(event, session=self._session, **shortened(facts))
        else:
            return False
        return True

    def tell(self, event: str, **facts: object) -> None:
        """Record an event in journal and log."""
        if self.record(event, **facts):
            self.log.info(event, **(facts if self.known else shortened(facts)))

    # The transcript.

    def said_by_client(self, line: bytes) -> None:
        """Add a command as it came to the transcript."""
        if self._transcript is not None:
            self._transcript.client(line)

    def said_by_server(self, octets: bytes, name: DistinguishedName | None, *, tls: bool) -> None:
        """Add sent replies to the transcript; `tls`: the handshake is over."""
        if self._transcript is not None:
            self._transcript.server(octets)
            if self._transcript.full and tls:
                self.keep_transcript(name)

    def remark(self, text: str) -> None:
        """Add a remark to the transcript: TLS, or octets that are not shown."""
        if self._transcript is not None:
            self._transcript.remark(text)

    def drop_transcript(self) -> None:
        """Drop the transcript: this peer is not in `debug_peers`."""
        self._transcript, self.transcribed = None, False

    def keep_transcript(self, name: DistinguishedName | None) -> None:
        """Record the lines so far; drop them if the name is not in `debug_peers`."""
        if self._transcript is None:
            return
        lines = self._transcript.take()
        if lines and name in self._context.debug_peers:
            self.record("transcript", lines=lines)
