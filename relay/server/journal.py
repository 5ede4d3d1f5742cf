"""One session's lines in the journal and in the log, and its transcript where one is asked for.

Whose certificate is not on the white list is a stranger: its events are told up to a rate, beyond
which they are counted only (`relay.connection.strangers`).
"""

import structlog

from relay.connection.strangers import shortened
from relay.connection.transcript import Transcript
from relay.server.context import SessionContext
from whitelist.pki.distinguished_name import DistinguishedName

_log = structlog.get_logger(__name__)


class SessionJournal:
    """What is noted of the session `session`; `address` is the peer's, once it is connected."""

    def __init__(self, context: SessionContext, session: str) -> None:
        self._context = context
        self._session = session
        self.address = ""
        self.log = _log.bind(session=session)
        self.known = False  # a peer of the white list, whose events are never summed up
        self._opening_told = False
        self._transcript = Transcript() if context.debug_peers else None
        self.transcribed = self._transcript is not None  # asked for with each line

    def opened(self, address: str) -> None:
        """The peer has connected."""
        self.address = address
        self._opening_told = self.record("session.opened", address=address)

    def became_known(self) -> None:
        """The peer has turned out to be one of the white list, in the handshake or later."""
        self.known = True
        if self._opening_told:
            self._context.strangers.is_known(self.address)
        else:
            self.record("session.opened", address=self.address)

    def record(self, event: str, **facts: object) -> bool:
        """Note an event of this session; False if it is a stranger's and only counted."""
        journal, rule = self._context.journal, str(facts.get("rule", ""))
        if self._context.quiet:
            return False
        if self.known:
            journal.record(event, session=self._session, **facts)
        elif self._context.strangers.may_tell(self.address, event, rule):
            journal.record_stranger(event, session=self._session, **shortened(facts))
        else:
            return False
        return True

    def tell(self, event: str, **facts: object) -> None:
        """Note an event, in the log too."""
        if self.record(event, **facts):
            self.log.info(event, **(facts if self.known else shortened(facts)))

    # The transcript.

    def said_by_client(self, line: bytes) -> None:
        """A command as it came, for the transcript."""
        if self._transcript is not None:
            self._transcript.client(line)

    def said_by_server(self, octets: bytes, name: DistinguishedName | None, *, tls: bool) -> None:
        """Replies as they go out, for the transcript; `tls` if the handshake is over."""
        if self._transcript is not None:
            self._transcript.server(octets)
            if self._transcript.full and tls:
                self.keep_transcript(name)

    def remark(self, text: str) -> None:
        """Something that happened, for the transcript: TLS, octets that are not shown."""
        if self._transcript is not None:
            self._transcript.remark(text)

    def drop_transcript(self) -> None:
        """Nobody asked for a transcript of this peer."""
        self._transcript, self.transcribed = None, False

    def keep_transcript(self, name: DistinguishedName | None) -> None:
        """Note the lines so far; without a name to go by they are dropped."""
        if self._transcript is None:
            return
        lines = self._transcript.take()
        if lines and name in self._context.debug_peers:
            self.record("transcript", lines=lines)
