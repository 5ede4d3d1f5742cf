"""A peer with a rare fault at any step, a message that must not be sent: nothing is decided by it.

Of the common ones tests/integration/relay/client/test_peer_faults.py has a table.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from mailstore.errors import StoreUnavailable
from relay.client import data as content
from relay.client.routing import Target
from relay.client.transaction import OutcomeUnknown
from relay.smtp.envelope import OutgoingMessage
from relay.smtp.errors import AttemptFailed
from relay.smtp.outcome import State
from tests.support.delivery.handing import (
    ALONE,
    ALONE_CHUNKING,
    BODY,
    CHUNKING,
    STUFFED,
    Handing,
    Replies,
    every_manner,
    hand,
    message_maker,
    octets,
)
from tests.support.machines.operators import HOST
from tests.support.sessions.scripted import (
    CLOSE,
    ENDLESS,
    ENDLESS_LINE,
    GOOD,
    OFFERS,
    ScriptedPeer,
    running,
)

A, B = "a@a.mssante.fr", "b@a.mssante.fr"


def _faults() -> dict[str, tuple[Replies, str]]:
    """What a peer does at which step, and the reason for which the attempt fails."""
    made: dict[str, tuple[Replies, str]] = {
        "starttls-250": ({"STARTTLS": "250 ok"}, "tls"),
        "rcpt-421": ({"RCPT": ("550 5.1.1 a", "421 4.3.2 bye")}, "unavailable"),
        "mail-354": ({"MAIL": "354 go"}, "protocol"),
        "rcpt-354": ({"RCPT": "354 go"}, "protocol"),
        "data-250": ({"DATA": "250 ok"}, "protocol"),
        "rcpt-twice": ({"RCPT": (GOOD, "250 ok\r\n250 ok")}, "protocol"),
    }
    steps: dict[str, tuple[str, int, str]] = {
        "greeting": ("connect", 0, "connection"),
        "clear-ehlo": ("EHLO", 0, "connection"),
        "starttls": ("STARTTLS", 0, "tls"),
        "ehlo": ("EHLO", 1, "connection"),
        "mail": ("MAIL", 0, "connection"),
        "rcpt": ("RCPT", 0, "connection"),
        "second-rcpt": ("RCPT", 1, "connection"),
        "data": ("DATA", 0, "connection"),
        "end": (".", 0, "unknown-outcome"),
    }
    whats = {
        "endless": (ENDLESS, "protocol"),
        "endless-line": (ENDLESS_LINE, "protocol"),
        "half": ("250-x\r\n" + CLOSE, ""),
    }
    for step, (word, before, reason) in steps.items():
        for what, (reply, other) in whats.items():
            lasting = reason in {"tls", "unknown-outcome"}
            found = reason if lasting or not other else other
            made[f"{step}-{what}"] = ({word: (GOOD,) * before + (reply,)}, found)
    return made


_FAULTS = _faults()


@pytest.mark.parametrize("offers", [OFFERS, CHUNKING, ALONE], ids=["data", "bdat", "alone"])
@pytest.mark.parametrize("case", _FAULTS)
async def test_nothing_is_decided_by_a_fault(
    ours: Handing, scripted: ScriptedPeer, offers: tuple[str, ...], case: str
) -> None:
    replies, reason = _FAULTS[case]
    if "CHUNKING" in offers and case.startswith("data"):
        pytest.skip("BDAT has no DATA")
    async with (
        running(replace(scripted, replies=replies, offers=offers)) as server,
        ours.peers() as peers,
    ):
        targets = [Target(HOST, server.port)]
        with pytest.raises(AttemptFailed) as failed:
            await peers.hand_over("a.mssante.fr", targets, message_maker(A, B))
    assert failed.value.reason == reason
    assert str(failed.value).startswith(f"{HOST}: ")
    if reason == "unknown-outcome":
        assert isinstance(failed.value, OutcomeUnknown)
        assert "unknown-outcome" in str(failed.value)
        assert len(server.messages) == 1
    else:
        assert server.messages == []


async def test_a_greeting_refused_under_tls_is_an_answer(
    ours: Handing, scripted: ScriptedPeer
) -> None:
    async with running(replace(scripted, replies={"EHLO": (GOOD, "550 5.7.1 not you")})) as server:
        found = await hand(ours, server, A, B)
    assert found == dict.fromkeys((A, B), "failed 550 5.7.1 not you")
    assert server.said("MAIL") == []


async def test_what_is_said_before_tls_is_forgotten(ours: Handing, scripted: ScriptedPeer) -> None:
    # RFC 3207 §4.2: neither the offers nor the replies that somebody put there.
    injected = b"250-evil\r\n250 SIZE 1\r\n550 5.7.1 evil\r\n"
    async with running(replace(scripted, injected=injected)) as server:
        assert await hand(ours, server, A) == {A: "delivered 250 2.0.0 taken"}
    assert server.messages == [STUFFED]


async def test_what_comes_behind_starttls_later_is_no_handshake(
    ours: Handing, scripted: ScriptedPeer
) -> None:
    async with running(replace(scripted, replies={"STARTTLS": "220 go\r\n" * 100})) as server:
        with pytest.raises(AttemptFailed, match="TLS failed"):
            async with ours.peers(timeout=0.3) as peers:
                await peers.hand_over("a.mssante.fr", [Target(HOST, server.port)], message_maker(A))
    assert server.said("MAIL") == []


@pytest.mark.parametrize("offers", [OFFERS, CHUNKING], ids=["data", "bdat"])
@pytest.mark.parametrize("fault", [b"bare\nline\r\n", b"bare\rreturn\r\n", b"nul\0\r\n", b"end\r"])
async def test_what_has_no_certain_end_is_not_sent(
    ours: Handing, scripted: ScriptedPeer, offers: tuple[str, ...], fault: bytes
) -> None:
    body = BODY + b"x" * 70 + b"\r\n" + fault
    async with running(replace(scripted, offers=offers)) as server, ours.peers() as peers:
        targets = [Target(HOST, server.port)]
        found = await peers.hand_over("a.mssante.fr", targets, message_maker(A, body=body))
        assert found[A].state is State.FAILED
        assert found[A].reply.startswith("550 5.6.0 not sent: it contains a ")
        good = await peers.hand_over("a.mssante.fr", targets, message_maker(B))
        assert good[B].state is State.DELIVERED
    assert len(server.messages) == 1
    assert server.connections == 2


@every_manner
@pytest.mark.parametrize("off", [-1, 1, 100_000])
async def test_what_is_not_of_its_size_is_not_sent(
    ours: Handing, scripted: ScriptedPeer, offers: tuple[str, ...], off: int
) -> None:
    make = message_maker(A)
    async with running(replace(scripted, offers=offers)) as server, ours.peers() as peers:

        def wrong() -> OutgoingMessage:
            return replace(make(), size=len(BODY) + off)

        with pytest.raises(StoreUnavailable):
            await peers.hand_over("a.mssante.fr", [Target(HOST, server.port)], wrong)
    assert server.messages == []


@every_manner
async def test_a_body_that_cannot_be_read_is_not_the_peers_fault(
    ours: Handing, scripted: ScriptedPeer, offers: tuple[str, ...]
) -> None:
    closed = []

    async def broken() -> AsyncIterator[bytes]:
        try:
            async for piece in octets(BODY):
                yield piece
                raise OSError("disk")
        finally:
            closed.append(True)

    async with running(replace(scripted, offers=offers)) as server, ours.peers() as peers:
        with pytest.raises(OSError, match="disk"):
            await peers.hand_over(
                "a.mssante.fr",
                [Target(HOST, server.port), Target(HOST, 1)],
                lambda: replace(message_maker(A)(), octets=broken()),
            )
    assert server.messages == []
    assert closed == [True]


async def test_a_peer_that_gives_up_in_the_middle_says_why(
    ours: Handing, scripted: ScriptedPeer
) -> None:
    class Full(ScriptedPeer):
        async def _answer(
            self, line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            if line == "DATA":
                self.received.append("354")
                await self._say(writer, "354 go")
                await reader.readexactly(1000)
                await self._say(writer, "452 4.3.1 full")
                await asyncio.Event().wait()
            await super()._answer(line, reader, writer)

    body = BODY + b"x" * 70 + b"\r\n"
    async with running(Full(scripted.tls)) as server, ours.peers(block_timeout=0.3) as peers:
        found = await peers.hand_over(
            "a.mssante.fr", [Target(HOST, server.port)], message_maker(A, body=body * 200_000)
        )
    assert (found[A].state, found[A].reply) == (State.WAITING, "452 4.3.1 full")


@pytest.mark.parametrize("pipelined", [True, False])
async def test_a_chunk_refused_ends_the_message(
    ours: Handing, scripted: ScriptedPeer, monkeypatch: pytest.MonkeyPatch, pipelined: bool
) -> None:
    # The first refusal is the reason; what follows is about the order of commands.
    monkeypatch.setattr(content, "CHUNK", 100)
    replies = {"BDAT": ("250 ok", "452 4.3.1 full", *["503 5.5.1 no"] * 50)}
    offers = CHUNKING if pipelined else ALONE_CHUNKING
    async with (
        running(replace(scripted, offers=offers, replies=replies)) as server,
        ours.peers() as peers,
    ):
        targets = [Target(HOST, server.port)]
        found = await peers.hand_over("a.mssante.fr", targets, message_maker(A, body=BODY * 10))
        assert (found[A].state, found[A].reply) == (State.WAITING, "452 4.3.1 full")
        server.replies = {}
        found = await peers.hand_over("a.mssante.fr", targets, message_maker(A))
        assert found[A].state is State.DELIVERED
    assert server.said("MAIL", "RSET") == ["MAIL", "RSET", "MAIL"]
    assert pipelined or server.said("BDAT") == ["BDAT"] * 3


async def test_a_thousand_recipients(ours: Handing, scripted: ScriptedPeer) -> None:
    # Their replies are more than we let wait; neither side may block the other.
    to = [f"{n:04d}{'x' * 50}@a.mssante.fr" for n in range(1000)]
    said = "250 2.1.5 " + "y" * 400
    async with running(replace(scripted, replies={"RCPT": said})) as server:
        found = await hand(ours, server, *to)
    assert list(found) == to
    assert set(found.values()) == {"delivered 250 2.0.0 taken"}
