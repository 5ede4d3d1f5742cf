"""Operator B's SMTP client in the test's process, without a queue."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from relay.client.connect import ClientConfig
from relay.client.pool import ConnectionPool
from relay.client.routing import Target
from relay.delivery.attempt import judge_server
from relay.policy import tls
from relay.policy.trust_state import TrustState
from relay.smtp.envelope import Envelope, EnvelopeRecipient, OutgoingMessage
from tests.support.clock import system_clock
from tests.support.machines.operators import HOST, trust_space
from tests.support.machines.perimeters import adopt, trust_state
from tests.support.sessions.scripted import OFFERS, ScriptedPeer

BODY = b"From: dr@b.mssante.fr\r\nSubject: [FIN]\r\n\r\n.dot\r\n..\r\nfin\r\n"
SENDER = "dr@b.mssante.fr"

Replies = dict[str, str | tuple[str, ...]]
CHUNKING = (*OFFERS, "CHUNKING")
ALONE = ("SIZE 50000000", "8BITMIME")  # one command at a time
ALONE_CHUNKING = (*ALONE, "CHUNKING")
every_manner = pytest.mark.parametrize(
    "offers", [OFFERS, CHUNKING, ALONE, ALONE_CHUNKING], ids=lambda offers: "+".join(offers[2:])
)
STUFFED = BODY.replace(b"\r\n.", b"\r\n..") + b".\r\n"


@dataclass
class Handing:
    """Parts of B's SMTP client.  `judged`: domains for which a server was judged."""

    folder: Path
    trust_state: TrustState
    context: ssl.SSLContext
    judged: list[str]

    async def judge(self, domain: str, der: bytes | None, version: str, cipher: str) -> None:
        """Judge a server like delivery, and note the domain."""
        self.judged.append(domain)
        await judge_server(self.trust_state, domain, der, version, cipher)

    def config(self, **seconds: float) -> ClientConfig:
        """Our name and certificate, with timeouts."""
        if "timeout" in seconds:
            of_all = ("connect_timeout", "start_timeout")
            seconds = dict.fromkeys(of_all, seconds["timeout"]) | seconds
        return ClientConfig("smtp.b.mssante.fr", lambda: self.context, self.judge, **seconds)

    def relist(self, **owners: str) -> None:
        """Adopt a list that gives each of these domains to an operator."""
        space = trust_space()
        domains = {f"{name}.mssante.fr": space.operators[who] for name, who in owners.items()}
        adopt(self.folder, space.space.sign_list(domains), space.trust, system_clock())
        self.trust_state.load()

    @asynccontextmanager
    async def peers(
        self,
        *,
        idle_seconds: float = 60,
        max_messages: int = 100,
        max_idle: int = 300,
        **seconds: float,
    ) -> AsyncIterator[ConnectionPool]:
        """Connections that are closed at the end of the test."""
        made = ConnectionPool(
            self.config(**seconds),
            idle_seconds=idle_seconds,
            max_messages=max_messages,
            max_idle=max_idle,
        )
        try:
            yield made
        finally:
            await made.close()


def handing(folder: Path) -> Handing:
    """Operator B in a new folder, with the good list."""
    folder.mkdir()
    space = trust_space()
    follower = trust_state(folder, space.white_list, space.trust, system_clock, crls=space.crls)
    context = tls.client_context(space.identity("b", folder), space.trust)
    return Handing(folder, follower, context, [])


def context_of(name: str, folder: Path) -> ssl.SSLContext:
    """TLS context of a server with the certificate of an operator."""
    space = trust_space()
    return tls.server_context(space.identity(name, folder), space.trust)


async def octets(body: bytes, piece: int = 70_000) -> AsyncIterator[bytes]:
    """Body in pieces; the first piece is small, like trace fields."""
    yield body[:40]
    for at in range(40, len(body), piece):
        yield body[at : at + piece]


def message_maker(
    *to: str | EnvelopeRecipient,
    body: bytes = BODY,
    sender: str = SENDER,
    smtputf8: bool = False,
    envid: str | None = None,
    ret: str | None = None,
) -> Callable[[], OutgoingMessage]:
    """Function that makes the message for each attempt."""
    recipients = tuple(EnvelopeRecipient(one) if isinstance(one, str) else one for one in to)
    envelope = Envelope(sender, recipients, smtputf8, envid, ret)
    return lambda: OutgoingMessage(envelope, octets(body), len(body))


async def hand(
    ours: Handing, server: ScriptedPeer, *to: str | EnvelopeRecipient, body: bytes = BODY
) -> dict[str, str]:
    """Make one attempt; returns recipient to `STATE REPLY`."""
    async with ours.peers() as peers:
        found = await peers.hand_over(
            "a.mssante.fr", [Target(HOST, server.port)], message_maker(*to, body=body)
        )
    return {address: f"{one.state} {one.reply}" for address, one in found.items()}
