"""Another kind of listener is another table and another policy on the same class."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from relay.connection.connection_counts import OpenSession
from relay.policy.admission import Peer
from relay.policy.recipient import Recipient
from relay.server.greeting import ehlo
from relay.server.journal import SessionJournal
from relay.server.listen_socket import bind
from relay.server.listener import Listener
from relay.server.peer_service import PEERS, offers
from relay.server.session import Service, Session
from relay.server.session_policy import Handshake
from relay.server.states import COMMANDS, SessionState, table
from relay.smtp.address import SmtpAddress
from relay.smtp.errors import Refused
from relay.smtp.headers import HeaderFacts
from relay.smtp.parameters import RcptParameters
from relay.smtp.reply import Reply
from tests.support.machines.operators import ACTIVE, HOST, inbound
from tests.support.sessions.session_driver import Driver
from tests.support.sessions.talking import dial
from whitelist.pki.distinguished_name import DistinguishedName


class Neighbour:
    """A policy for a program on this machine, which may write to every mailbox here."""

    peer = Peer()
    name: DistinguishedName | None = None
    ending: Reply | None = None
    max_recipients = 10
    accepts_ahead = True

    def __init__(self) -> None:
        self.taken: list[tuple[int, bool]] = []

    def connected(self, session: OpenSession, journal: SessionJournal) -> None:
        """No stranger."""

    def closed(self) -> None:
        """No timer."""

    async def identify(self, handshake: Handshake) -> None:
        """No TLS."""

    async def admit_sender(self, sender: SmtpAddress | None, size: int | None) -> None:
        """Any."""

    def grant_quota(self) -> None:
        """None."""

    def admit_receipt(self, parameters: RcptParameters) -> None:
        """Any."""

    def admit_recipient(self, recipient: Recipient) -> None:
        if not recipient.state.open_to_all:
            raise Refused("neighbour", Reply(550, "5.1.1", "No such mailbox here"), "")

    async def admit_message(
        self, sender: SmtpAddress | None, size: int, header: HeaderFacts, *, report: bool
    ) -> tuple[str, ...]:
        self.seen = (sender, size, header, report)
        return ()

    def count_accepted(self, recipients: int, *, receipt: bool) -> None:
        self.taken.append((recipients, receipt))


# Like LMTP (RFC 2033 §4): LHLO instead of EHLO and HELO, and no TLS on a socket of this machine.
_GREETS = (SessionState.READY,) * len(SessionState)
_OTHERS = COMMANDS.keys() - {b"EHLO", b"HELO", b"STARTTLS"}
LOCAL = Service(
    commands=table({**{v: tuple(COMMANDS[v].values()) for v in _OTHERS}, b"LHLO": _GREETS}),
    handlers={**PEERS.handlers, b"LHLO": ehlo},
    offers=offers,
    policy=lambda _context: Neighbour(),
)


async def test_a_table_and_a_policy_make_another_service(tmp_path: Path) -> None:
    async with inbound(tmp_path) as server:
        driver = Driver(server.context, LOCAL)
        assert str(await driver.say(b"EHLO x")).startswith("500 5.5.2 ")
        assert str(await driver.say(b"LHLO x")).startswith("250 smtp.a.mssante.fr\nSIZE ")
        assert str(await driver.say(b"MAIL FROM:<cron@localhost.fr>")).startswith("250 2.1.0 ")
        assert str(await driver.say(b"RCPT TO:<x@a.mssante.fr>")).startswith("550 5.1.1 ")
        assert str(await driver.say(f"RCPT TO:<{ACTIVE}>".encode())).startswith("250 2.1.5 ")
        assert str(await driver.say(b"DATA", b".\r\n")).startswith("250 2.0.0 Accepted as ")
        driver.session.outbound.flush()
        assert driver.wire.written == b"354 End data with <CR><LF>.<CR><LF>\r\n"
        policy = driver.session.policy
        assert isinstance(policy, Neighbour)
        assert policy.taken == [(1, False)]
        assert len(server.entries(ACTIVE)) == 1
        driver.close()


async def test_the_listener_serves_what_its_factory_makes(tmp_path: Path) -> None:
    async with inbound(tmp_path) as server:
        listener, bound = Listener(partial(Session, service=LOCAL), server.context), bind(HOST, 0)
        listener.start(bound)
        caller = await dial(replace(server, port=bound.getsockname()[1]))
        assert (await caller.hear()).startswith("220 ")
        assert (await caller.say("STARTTLS")).startswith("500 5.5.2 ")
        assert (await caller.say("LHLO x")).startswith("250")
        caller.close()
        await listener.stop(grace=0)
