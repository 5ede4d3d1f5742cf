"""One message on one connection under real TLS, to a peer in order or with any fault.

What became of each recipient is documented for each step: an answer for good or for now, or none,
in which case the message waits.
"""

import asyncio
from dataclasses import replace

import pytest

from relay.client import data as content
from relay.client.routing import Target
from relay.smtp.envelope import EnvelopeRecipient
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
)
from tests.support.machines.operators import HOST
from tests.support.sessions.scripted import CLOSE, GOOD, OFFERS, ScriptedPeer, running
from tests.support.waiting import until

A, B, C = (f"{name}@a.mssante.fr" for name in "abc")


@every_manner
async def test_a_message_arrives_as_it_is(
    ours: Handing, scripted: ScriptedPeer, offers: tuple[str, ...]
) -> None:
    async with running(replace(scripted, offers=offers)) as server:
        assert await hand(ours, server, A, B) == dict.fromkeys((A, B), "delivered 250 2.0.0 taken")
    chunked = "CHUNKING" in offers
    assert server.messages == [BODY if chunked else STUFFED]
    last = [f"BDAT {len(BODY)} LAST"] if chunked else ["DATA"]
    assert server.received[3:] == [
        f"MAIL FROM:<dr@b.mssante.fr> SIZE={len(BODY)} BODY=8BITMIME",
        f"RCPT TO:<{A}>",
        f"RCPT TO:<{B}>",
        *last,
        "QUIT",
    ]


async def test_the_envelope_leaves_in_one_go(ours: Handing, scripted: ScriptedPeer) -> None:
    # RFC 2920: all of it is there before the first reply to it.
    waiting = asyncio.Event()

    class Slow(ScriptedPeer):
        async def _answer(
            self, line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            if line.startswith("MAIL"):
                await waiting.wait()
                buffered = bytes(reader._buffer)  # type: ignore[attr-defined]
                assert (
                    buffered
                    == b"".join(b"RCPT TO:<%s>\r\n" % one.encode() for one in (A, B, C))
                    + b"DATA\r\n"
                )
            await super()._answer(line, reader, writer)

    slow = Slow(scripted.tls)
    async with running(slow) as server:
        handed = asyncio.create_task(hand(ours, server, A, B, C))
        await until(lambda: bool(server.said("MAIL")))
        waiting.set()
        assert len(await handed) == 3


@pytest.mark.parametrize("offers", [CHUNKING, ALONE_CHUNKING], ids=["pipelined", "alone"])
async def test_large_messages_go_in_chunks(
    ours: Handing,
    scripted: ScriptedPeer,
    offers: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(content, "CHUNK", 100_000)
    body = BODY + b"".join(b".%d %s\r\n" % (n, b"x" * 60) for n in range(5000))
    async with running(replace(scripted, offers=offers)) as server:
        assert await hand(ours, server, A, body=body) == {A: "delivered 250 2.0.0 taken"}
    assert b"".join(server.messages) == body
    assert [len(one) for one in server.messages[:-1]] == [100_000] * (len(body) // 100_000)
    assert server.received[-2] == f"BDAT {len(body) % 100_000} LAST"


@every_manner
async def test_an_empty_message(
    ours: Handing, scripted: ScriptedPeer, offers: tuple[str, ...]
) -> None:
    async with running(replace(scripted, offers=offers)) as server:
        assert await hand(ours, server, A, body=b"") == {A: "delivered 250 2.0.0 taken"}
    assert server.messages == [b"" if "CHUNKING" in offers else b".\r\n"]


async def test_parameters_of_reports_are_passed_on(ours: Handing, scripted: ScriptedPeer) -> None:
    # RFC 3461 §5.2.1, verbatim
    one = EnvelopeRecipient(A, "SUCCESS,DELAY", "rfc822;Old+2BName@a.mssante.fr")
    make = message_maker(one, B, envid="QQ+3D1", ret="HDRS")
    async with running(replace(scripted, offers=(*OFFERS, "DSN"))) as server, ours.peers() as peers:
        found = await peers.hand_over("a.mssante.fr", [Target(HOST, server.port)], make)
    assert {address: answer.dsn for address, answer in found.items()} == {A: True, B: True}
    assert server.received[3].endswith(" RET=HDRS ENVID=QQ+3D1")
    assert server.received[4:6] == [
        f"RCPT TO:<{A}> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Old+2BName@a.mssante.fr",
        f"RCPT TO:<{B}>",
    ]


async def test_a_peer_without_dsn_is_known(ours: Handing, scripted: ScriptedPeer) -> None:
    async with running(scripted) as server, ours.peers() as peers:
        targets = [Target(HOST, server.port)]
        found = await peers.hand_over("a.mssante.fr", targets, message_maker(A))
    assert not found[A].dsn


async def test_what_is_over_the_peers_size_is_not_said(
    ours: Handing, scripted: ScriptedPeer
) -> None:
    async with running(replace(scripted, offers=("SIZE 10", "PIPELINING"))) as server:
        found = await hand(ours, server, A)
    assert found[A].startswith("failed 552 5.3.4 ")
    assert server.said("MAIL", "RSET", "QUIT") == ["QUIT"]


# What a peer says to A, B and C, and what becomes of them.
_THREE: dict[str, tuple[Replies, tuple[str, str, str]]] = {
    "all": (
        {"RCPT": ("250 a", "251 b", "250 c")},
        ("delivered 250 2.0.0 taken",) * 3,
    ),
    "each": (
        {"RCPT": ("550 5.1.1 a", GOOD, "450 4.2.1 c")},
        ("failed 550 5.1.1 a", "delivered 250 2.0.0 taken", "waiting 450 4.2.1 c"),
    ),
    "full": (
        {"RCPT": (GOOD, "452 4.2.2 b", "452 4.3.1 c")},
        ("delivered 250 2.0.0 taken", "waiting 452 4.2.2 b", "waiting 452 4.3.1 c"),
    ),
    "mail-for-good": ({"MAIL": "550 5.7.1 not you"}, ("failed 550 5.7.1 not you",) * 3),
    "mail-for-now": ({"MAIL": "451 4.7.1 no list"}, ("waiting 451 4.7.1 no list",) * 3),
    "mail-refused-and-gone": (
        {"MAIL": "550 5.7.1 not you\r\n503 5.5.1 no\r\n" + CLOSE},
        ("failed 550 5.7.1 not you",) * 3,
    ),
    "end-for-good": (
        {"RCPT": ("450 4.2.1 a",), ".": "554 5.6.0 no"},
        ("waiting 450 4.2.1 a", "failed 554 5.6.0 no", "failed 554 5.6.0 no"),
    ),
    "end-for-now": (
        {"RCPT": ("550 5.1.1 a",), ".": "452 4.3.1 full"},
        ("failed 550 5.1.1 a", "waiting 452 4.3.1 full", "waiting 452 4.3.1 full"),
    ),
    "leaving-at-the-end": (
        {"RCPT": ("550 5.1.1 a",), ".": "421 4.3.2 bye\r\n" + CLOSE},
        ("failed 550 5.1.1 a", "waiting 421 4.3.2 bye", "waiting 421 4.3.2 bye"),
    ),
    "none": (
        {"RCPT": ("550 5.1.1 a", "550 5.1.1 b", "450 4.2.1 c")},
        ("failed 550 5.1.1 a", "failed 550 5.1.1 b", "waiting 450 4.2.1 c"),
    ),
    "quit-unheard": ({"QUIT": CLOSE}, ("delivered 250 2.0.0 taken",) * 3),
}


@every_manner
@pytest.mark.parametrize("case", _THREE)
async def test_each_recipient_has_its_answer(
    ours: Handing, scripted: ScriptedPeer, offers: tuple[str, ...], case: str
) -> None:
    replies, expected = _THREE[case]
    async with running(replace(scripted, replies=replies, offers=offers)) as server:
        found = await hand(ours, server, A, B, C)
    assert found == dict(zip((A, B, C), expected, strict=True))
    sent = [one for one in server.messages if one != b".\r\n"]
    assert len(sent) == (0 if case == "none" or case.startswith("mail") else 1)


@pytest.mark.parametrize("offers", [OFFERS, ALONE], ids=["pipelined", "alone"])
@pytest.mark.parametrize(
    ("start", "state"),
    [
        ("451 4.3.0 disk", "waiting"),
        ("554 5.6.0 no", "failed"),
        ("421 4.3.2 bye\r\n" + CLOSE, "waiting"),
    ],
)
async def test_data_refused(
    ours: Handing, scripted: ScriptedPeer, offers: tuple[str, ...], start: str, state: str
) -> None:
    replies: Replies = {"RCPT": ("550 5.1.1 a",), "DATA": start}
    async with running(replace(scripted, replies=replies, offers=offers)) as server:
        found = await hand(ours, server, A, B)
    assert found == {A: "failed 550 5.1.1 a", B: f"{state} {start.partition(CLOSE)[0].strip()}"}
    assert server.messages == []


async def test_data_accepted_for_nobody_is_ended_by_a_dot(
    ours: Handing, scripted: ScriptedPeer
) -> None:
    # RFC 2920 §3.1: and with it nobody's message is.
    replies = {"RCPT": ("550 5.1.1 a", "550 5.1.1 b")}
    async with running(replace(scripted, replies=replies)) as server, ours.peers() as peers:
        targets = [Target(HOST, server.port)]
        refused = await peers.hand_over("a.mssante.fr", targets, message_maker(A, B))
        taken = await peers.hand_over("a.mssante.fr", targets, message_maker(C))
    assert [one.state for one in refused.values()] == [State.FAILED] * 2
    assert taken[C].state is State.DELIVERED
    assert server.messages == [b".\r\n", STUFFED]
    assert server.connections == 1


@every_manner
async def test_a_refused_transaction_is_reset_before_the_next(
    ours: Handing, scripted: ScriptedPeer, offers: tuple[str, ...]
) -> None:
    first = {"RCPT": ("550 5.1.1 a",), "DATA": ("503 5.5.1 nobody",)}
    async with (
        running(replace(scripted, replies=first, offers=offers)) as server,
        ours.peers() as peers,
    ):
        targets = [Target(HOST, server.port)]
        for address, state in ((A, State.FAILED), (B, State.DELIVERED), (C, State.DELIVERED)):
            server.replies = first if address == A else {}
            found = await peers.hand_over("a.mssante.fr", targets, message_maker(address))
            assert found[address].state is state
    assert server.connections == 1
    assert server.said("MAIL", "RSET") == ["MAIL", "RSET", "MAIL", "MAIL"]
