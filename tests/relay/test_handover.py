"""One message on one connection under real TLS, to a peer in order or with any fault.

What became of each recipient is documented for each step: an answer for good or for now, or none,
in which case the message waits.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from mailstore.errors import StoreUnavailable
from relay import content
from relay.conversation import AttemptFailed
from relay.envelope import EnvelopeRecipient, Letter
from relay.handover import OutcomeUnknown
from relay.queue import State
from relay.route import Target
from tests.support.handing import BODY, Handing, context_of, handing, letter, octets
from tests.support.operators import HOST
from tests.support.scripted import (
    CLOSE,
    ENDLESS,
    ENDLESS_LINE,
    GOOD,
    OFFERS,
    STALL,
    ScriptedPeer,
    running,
)
from tests.support.waiting import until

A, B, C = (f"{name}@a.mssante.fr" for name in "abc")
CHUNKING = (*OFFERS, "CHUNKING")
ALONE = ("SIZE 50000000", "8BITMIME")  # one command at a time
ALONE_CHUNKING = (*ALONE, "CHUNKING")
every_manner = pytest.mark.parametrize(
    "offers", [OFFERS, CHUNKING, ALONE, ALONE_CHUNKING], ids=lambda offers: "+".join(offers[2:])
)
STUFFED = BODY.replace(b"\r\n.", b"\r\n..") + b".\r\n"


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Handing:
    return handing(tmp_path_factory.mktemp("handing") / "b")


@pytest.fixture(scope="module")
def server_context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    return context_of("a", tmp_path_factory.mktemp("peer"))


@pytest.fixture
def peer(server_context: ssl.SSLContext) -> ScriptedPeer:
    return ScriptedPeer(server_context)


async def hand(
    sender: Handing, peer: ScriptedPeer, *to: str | EnvelopeRecipient, body: bytes = BODY
) -> dict[str, str]:
    """Hand over once; the reply by recipient, after its state."""
    async with sender.peers() as peers:
        found = await peers.hand_over(
            "a.mssante.fr", [Target(HOST, peer.port)], letter(*to or (A,), body=body)
        )
    return {address: f"{one.state} {one.reply}" for address, one in found.items()}


@every_manner
async def test_a_message_arrives_as_it_is(
    sender: Handing, peer: ScriptedPeer, offers: tuple[str, ...]
) -> None:
    async with running(replace(peer, offers=offers)) as server:
        assert await hand(sender, server, A, B) == dict.fromkeys(
            (A, B), "delivered 250 2.0.0 taken"
        )
    chunked = "CHUNKING" in offers
    assert server.messages == [BODY if chunked else STUFFED]
    last = [f"BDAT {len(BODY)} LAST"] if chunked else ["DATA"]
    assert server.heard[3:] == [
        f"MAIL FROM:<dr@b.mssante.fr> SIZE={len(BODY)} BODY=8BITMIME",
        f"RCPT TO:<{A}>",
        f"RCPT TO:<{B}>",
        *last,
        "QUIT",
    ]


async def test_the_envelope_leaves_in_one_go(sender: Handing, peer: ScriptedPeer) -> None:
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

    slow = Slow(peer.tls)
    async with running(slow) as server:
        handed = asyncio.create_task(hand(sender, server, A, B, C))
        await until(lambda: bool(server.said("MAIL")))
        waiting.set()
        assert len(await handed) == 3


@pytest.mark.parametrize("offers", [CHUNKING, ALONE_CHUNKING], ids=["pipelined", "alone"])
async def test_large_messages_go_in_chunks(
    sender: Handing,
    peer: ScriptedPeer,
    offers: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(content, "CHUNK", 100_000)
    body = BODY + b"".join(b".%d %s\r\n" % (n, b"x" * 60) for n in range(5000))
    async with running(replace(peer, offers=offers)) as server:
        assert await hand(sender, server, body=body) == {A: "delivered 250 2.0.0 taken"}
    assert b"".join(server.messages) == body
    assert [len(one) for one in server.messages[:-1]] == [100_000] * (len(body) // 100_000)
    assert server.heard[-2] == f"BDAT {len(body) % 100_000} LAST"


@every_manner
async def test_an_empty_message(
    sender: Handing, peer: ScriptedPeer, offers: tuple[str, ...]
) -> None:
    async with running(replace(peer, offers=offers)) as server:
        assert await hand(sender, server, body=b"") == {A: "delivered 250 2.0.0 taken"}
    assert server.messages == [b"" if "CHUNKING" in offers else b".\r\n"]


async def test_parameters_of_reports_are_passed_on(sender: Handing, peer: ScriptedPeer) -> None:
    # RFC 3461 §5.2.1, verbatim
    one = EnvelopeRecipient(A, "SUCCESS,DELAY", "rfc822;Old+2BName@a.mssante.fr")
    make = letter(one, B, envid="QQ+3D1", ret="HDRS")
    async with running(replace(peer, offers=(*OFFERS, "DSN"))) as server, sender.peers() as peers:
        found = await peers.hand_over("a.mssante.fr", [Target(HOST, server.port)], make)
    assert {address: answer.dsn for address, answer in found.items()} == {A: True, B: True}
    assert server.heard[3].endswith(" RET=HDRS ENVID=QQ+3D1")
    assert server.heard[4:6] == [
        f"RCPT TO:<{A}> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Old+2BName@a.mssante.fr",
        f"RCPT TO:<{B}>",
    ]


async def test_a_peer_without_dsn_is_known(sender: Handing, peer: ScriptedPeer) -> None:
    async with running(peer) as server, sender.peers() as peers:
        targets = [Target(HOST, server.port)]
        found = await peers.hand_over("a.mssante.fr", targets, letter(A))
    assert not found[A].dsn


async def test_what_is_over_the_peers_size_is_not_said(sender: Handing, peer: ScriptedPeer) -> None:
    async with running(replace(peer, offers=("SIZE 10", "PIPELINING"))) as server:
        found = await hand(sender, server)
    assert found[A].startswith("failed 552 5.3.4 ")
    assert server.said("MAIL", "RSET", "QUIT") == ["QUIT"]


# What a peer says to A, B and C, and what becomes of them.
_Replies = dict[str, str | tuple[str, ...]]

_THREE: dict[str, tuple[_Replies, tuple[str, str, str]]] = {
    "all": (
        {"RCPT": ("250 a", "251 b", "250 c")},
        ("delivered 250 2.0.0 taken",) * 3,
    ),
    "each": (
        {"RCPT": ("550 5.1.1 a", GOOD, "450 4.2.1 c")},
        ("failed 550 5.1.1 a", "delivered 250 2.0.0 taken", "waiting 450 4.2.1 c"),
    ),
    "too-many": (
        {"RCPT": (GOOD, "452 4.5.3 b", "452 4.5.3 c")},
        ("delivered 250 2.0.0 taken", "waiting 452 4.5.3 b", "waiting 452 4.5.3 c"),
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
    sender: Handing, peer: ScriptedPeer, offers: tuple[str, ...], case: str
) -> None:
    replies, expected = _THREE[case]
    async with running(replace(peer, replies=replies, offers=offers)) as server:
        found = await hand(sender, server, A, B, C)
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
    sender: Handing, peer: ScriptedPeer, offers: tuple[str, ...], start: str, state: str
) -> None:
    replies: _Replies = {"RCPT": ("550 5.1.1 a",), "DATA": start}
    async with running(replace(peer, replies=replies, offers=offers)) as server:
        found = await hand(sender, server, A, B)
    assert found == {A: "failed 550 5.1.1 a", B: f"{state} {start.partition(CLOSE)[0].strip()}"}
    assert server.messages == []


async def test_data_accepted_for_nobody_is_ended_by_a_dot(
    sender: Handing, peer: ScriptedPeer
) -> None:
    # RFC 2920 §3.1: and with it nobody's message is.
    replies = {"RCPT": ("550 5.1.1 a", "550 5.1.1 b")}
    async with running(replace(peer, replies=replies)) as server, sender.peers() as peers:
        targets = [Target(HOST, server.port)]
        refused = await peers.hand_over("a.mssante.fr", targets, letter(A, B))
        taken = await peers.hand_over("a.mssante.fr", targets, letter(C))
    assert [one.state for one in refused.values()] == [State.FAILED] * 2
    assert taken[C].state is State.DELIVERED
    assert server.messages == [b".\r\n", STUFFED]
    assert server.connections == 1


@every_manner
async def test_a_refused_transaction_is_reset_before_the_next(
    sender: Handing, peer: ScriptedPeer, offers: tuple[str, ...]
) -> None:
    first = {"RCPT": ("550 5.1.1 a",), "DATA": ("503 5.5.1 nobody",)}
    async with (
        running(replace(peer, replies=first, offers=offers)) as server,
        sender.peers() as peers,
    ):
        targets = [Target(HOST, server.port)]
        for address, state in ((A, State.FAILED), (B, State.DELIVERED), (C, State.DELIVERED)):
            server.replies = first if address == A else {}
            found = await peers.hand_over("a.mssante.fr", targets, letter(address))
            assert found[address].state is state
    assert server.connections == 1
    assert server.said("MAIL", "RSET") == ["MAIL", "RSET", "MAIL", "MAIL"]


def _faults() -> dict[str, tuple[_Replies, str]]:
    """What a peer does at which step, and the reason for which the attempt fails."""
    made: dict[str, tuple[_Replies, str]] = {
        "greeting-421": ({"connect": "421 4.3.2 full"}, "connection"),
        "greeting-554": ({"connect": "554 go away"}, "connection"),
        "clear-ehlo-550": ({"EHLO": "550 5.7.1 not you"}, "connection"),
        "starttls-454": ({"STARTTLS": "454 4.7.0 not now"}, "tls"),
        "starttls-250": ({"STARTTLS": "250 ok"}, "tls"),
        "ehlo-421": ({"EHLO": (GOOD, "421 4.3.2 bye")}, "connection"),
        "mail-421": ({"MAIL": "421 4.3.2 bye"}, "unavailable"),
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
        "closes": (CLOSE, ""),
        "stalls": (STALL, "timeout"),
        "garbage": ("hello", "protocol"),
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
    sender: Handing, peer: ScriptedPeer, offers: tuple[str, ...], case: str
) -> None:
    replies, reason = _FAULTS[case]
    if "CHUNKING" in offers and case.startswith("data"):
        pytest.skip("BDAT has no DATA")
    patience = 0.3 if case.endswith("stalls") else 30
    async with (
        running(replace(peer, replies=replies, offers=offers)) as server,
        sender.peers(timeout=patience, data_timeout=patience) as peers,
    ):
        targets = [Target(HOST, server.port)]
        with pytest.raises(AttemptFailed) as failed:
            await peers.hand_over("a.mssante.fr", targets, letter(A, B))
    assert failed.value.reason == reason
    assert str(failed.value).startswith(f"{HOST}: ")
    if reason == "unknown-outcome":
        assert isinstance(failed.value, OutcomeUnknown)
        assert "unknown-outcome" in str(failed.value)
        assert len(server.messages) == 1
    else:
        assert server.messages == []


async def test_a_greeting_refused_under_tls_is_an_answer(
    sender: Handing, peer: ScriptedPeer
) -> None:
    async with running(replace(peer, replies={"EHLO": (GOOD, "550 5.7.1 not you")})) as server:
        found = await hand(sender, server, A, B)
    assert found == dict.fromkeys((A, B), "failed 550 5.7.1 not you")
    assert server.said("MAIL") == []


async def test_what_is_said_before_tls_is_forgotten(sender: Handing, peer: ScriptedPeer) -> None:
    # RFC 3207 §4.2: neither the offers nor the replies that somebody put there.
    injected = b"250-evil\r\n250 SIZE 1\r\n550 5.7.1 evil\r\n"
    async with running(replace(peer, injected=injected)) as server:
        assert await hand(sender, server) == {A: "delivered 250 2.0.0 taken"}
    assert server.messages == [STUFFED]


async def test_what_comes_behind_starttls_later_is_no_handshake(
    sender: Handing, peer: ScriptedPeer
) -> None:
    async with running(replace(peer, replies={"STARTTLS": "220 go\r\n" * 100})) as server:
        with pytest.raises(AttemptFailed, match="TLS failed"):
            async with sender.peers(timeout=0.3) as peers:
                await peers.hand_over("a.mssante.fr", [Target(HOST, server.port)], letter(A))
    assert server.said("MAIL") == []


@pytest.mark.parametrize("offers", [OFFERS, CHUNKING], ids=["data", "bdat"])
@pytest.mark.parametrize("fault", [b"bare\nline\r\n", b"bare\rreturn\r\n", b"nul\0\r\n", b"end\r"])
async def test_what_has_no_certain_end_is_not_sent(
    sender: Handing, peer: ScriptedPeer, offers: tuple[str, ...], fault: bytes
) -> None:
    body = BODY + b"x" * 70 + b"\r\n" + fault
    async with running(replace(peer, offers=offers)) as server, sender.peers() as peers:
        targets = [Target(HOST, server.port)]
        found = await peers.hand_over("a.mssante.fr", targets, letter(A, body=body))
        assert found[A].state is State.FAILED
        assert found[A].reply.startswith("550 5.6.0 not sent: it contains a ")
        good = await peers.hand_over("a.mssante.fr", targets, letter(B))
        assert good[B].state is State.DELIVERED
    assert len(server.messages) == 1
    assert server.connections == 2


@every_manner
@pytest.mark.parametrize("off", [-1, 1, 100_000])
async def test_what_is_not_of_its_size_is_not_sent(
    sender: Handing, peer: ScriptedPeer, offers: tuple[str, ...], off: int
) -> None:
    make = letter(A)
    async with running(replace(peer, offers=offers)) as server, sender.peers() as peers:

        def wrong() -> Letter:
            return replace(make(), size=len(BODY) + off)

        with pytest.raises(StoreUnavailable):
            await peers.hand_over("a.mssante.fr", [Target(HOST, server.port)], wrong)
    assert server.messages == []


@every_manner
async def test_a_body_that_cannot_be_read_is_not_the_peers_fault(
    sender: Handing, peer: ScriptedPeer, offers: tuple[str, ...]
) -> None:
    closed = []

    async def broken() -> AsyncIterator[bytes]:
        try:
            async for piece in octets(BODY):
                yield piece
                raise OSError("disk")
        finally:
            closed.append(True)

    async with running(replace(peer, offers=offers)) as server, sender.peers() as peers:
        with pytest.raises(OSError, match="disk"):
            await peers.hand_over(
                "a.mssante.fr",
                [Target(HOST, server.port), Target(HOST, 1)],
                lambda: replace(letter(A)(), octets=broken()),
            )
    assert server.messages == []
    assert closed == [True]


async def test_a_peer_that_gives_up_in_the_middle_says_why(
    sender: Handing, peer: ScriptedPeer
) -> None:
    class Full(ScriptedPeer):
        async def _answer(
            self, line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            if line == "DATA":
                self.heard.append("354")
                await self._say(writer, "354 go")
                await reader.readexactly(1000)
                await self._say(writer, "452 4.3.1 full")
                await asyncio.Event().wait()
            await super()._answer(line, reader, writer)

    body = BODY + b"x" * 70 + b"\r\n"
    async with running(Full(peer.tls)) as server, sender.peers(block_timeout=0.3) as peers:
        found = await peers.hand_over(
            "a.mssante.fr", [Target(HOST, server.port)], letter(A, body=body * 200_000)
        )
    assert (found[A].state, found[A].reply) == (State.WAITING, "452 4.3.1 full")


@pytest.mark.parametrize("pipelined", [True, False])
async def test_a_chunk_refused_ends_the_message(
    sender: Handing, peer: ScriptedPeer, monkeypatch: pytest.MonkeyPatch, pipelined: bool
) -> None:
    # The first refusal is the reason; what follows is about the order of commands.
    monkeypatch.setattr(content, "CHUNK", 100)
    replies = {"BDAT": ("250 ok", "452 4.3.1 full", *["503 5.5.1 no"] * 50)}
    offers = CHUNKING if pipelined else ALONE_CHUNKING
    async with (
        running(replace(peer, offers=offers, replies=replies)) as server,
        sender.peers() as peers,
    ):
        targets = [Target(HOST, server.port)]
        found = await peers.hand_over("a.mssante.fr", targets, letter(A, body=BODY * 10))
        assert (found[A].state, found[A].reply) == (State.WAITING, "452 4.3.1 full")
        server.replies = {}
        found = await peers.hand_over("a.mssante.fr", targets, letter(A))
        assert found[A].state is State.DELIVERED
    assert server.said("MAIL", "RSET") == ["MAIL", "RSET", "MAIL"]
    assert pipelined or server.said("BDAT") == ["BDAT"] * 3


async def test_a_thousand_recipients(sender: Handing, peer: ScriptedPeer) -> None:
    # Their replies are more than we let wait; neither side may block the other.
    to = [f"{n:04d}{'x' * 50}@a.mssante.fr" for n in range(1000)]
    said = "250 2.1.5 " + "y" * 400
    async with running(replace(peer, replies={"RCPT": said})) as server:
        found = await hand(sender, server, *to)
    assert list(found) == to
    assert set(found.values()) == {"delivered 250 2.0.0 taken"}
