"""Recipients beyond a peer's limit for a transaction follow at once in the next transaction.

RFC 5321 §4.5.3.1.10, RFC 9422; a recipient with a reply is never asked for twice.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from relay.client.routing import Target
from relay.connection.limits import SessionLimits
from relay.smtp.outcome import Outcome, State
from tests.support.delivery.handing import BODY, Handing, every_manner, hand, message_maker
from tests.support.delivery.senders import Sender, sending, server_tls
from tests.support.machines.operators import ACTIVE, HOST, inbound
from tests.support.sessions.scripted import CLOSE, GOOD, OFFERS, STALL, ScriptedPeer, running
from tests.support.waiting import until

A, B, C, D, E = ALL = [f"{name}@a.mssante.fr" for name in "abcde"]
FULL = "452 4.5.3 too many recipients"


def asked(server: ScriptedPeer) -> list[list[str]]:
    """The recipients of each transaction."""
    found: list[list[str]] = []
    for line in server.received:
        if line.startswith("MAIL"):
            found.append([])
        elif line.startswith("RCPT"):
            found[-1].append(line.partition("<")[2][0])
    return found


@every_manner
@pytest.mark.parametrize("full", [FULL, "452 too many", "552 5.5.3 too many", "552 too many"])
async def test_what_is_too_many_follows_at_once(
    ours: Handing, scripted: ScriptedPeer, offers: tuple[str, ...], full: str
) -> None:
    replies = {"RCPT": (GOOD, GOOD, full, full, full, GOOD, GOOD, full)}
    async with running(replace(scripted, replies=replies, offers=offers)) as server:
        found = await hand(ours, server, *ALL)
    assert found == dict.fromkeys(ALL, "delivered 250 2.0.0 taken")
    assert asked(server) == [["a", "b", "c", "d", "e"], ["c", "d", "e"], ["e"]]
    assert server.connections == 1
    assert len(server.messages) == 3


@every_manner
async def test_what_the_peer_announces_is_honoured(
    ours: Handing, scripted: ScriptedPeer, offers: tuple[str, ...]
) -> None:
    # RFC 9422: two recipients for each message, two messages for each connection.
    offers = (*offers, "LIMITS MAILMAX=2 RCPTMAX=2")
    replies = {"RCPT": (GOOD, "550 5.1.1 b")}
    async with running(replace(scripted, replies=replies, offers=offers)) as server:
        found = await hand(ours, server, *ALL)
    assert found == {
        **dict.fromkeys(ALL, "delivered 250 2.0.0 taken"),
        B: "failed 550 5.1.1 b",
    }
    assert asked(server) == [["a", "b"], ["c", "d"], ["e"]]
    assert server.connections == 2
    assert server.said("QUIT") == ["QUIT"] * 2


@pytest.mark.parametrize(
    ("replies", "states"),
    [
        # A full mailbox or disk has no room for another transaction either.
        ({"RCPT": (GOOD, "452 4.2.2 full")}, "delivered waiting"),
        ({"RCPT": (GOOD, "552 5.2.2 full")}, "delivered failed"),
        ({"RCPT": (GOOD, "452 4.3.1 full")}, "delivered waiting"),
        # Nor after a transaction that accepted no recipient, or no message.
        ({"RCPT": (FULL, FULL)}, "waiting waiting"),
        ({"RCPT": (GOOD, FULL), ".": "451 4.3.0 later"}, "waiting waiting"),
    ],
)
async def test_what_would_be_in_vain_is_not_tried(
    ours: Handing, scripted: ScriptedPeer, replies: dict[str, tuple[str, ...]], states: str
) -> None:
    async with running(replace(scripted, replies=replies)) as server:
        found = await hand(ours, server, A, B)
    assert [found[one].split()[0] for one in (A, B)] == states.split()
    assert asked(server) == [["a", "b"]]


async def test_the_first_of_a_transaction_is_not_too_many(
    ours: Handing, scripted: ScriptedPeer
) -> None:
    # 552 may have meant C's mailbox all the time (RFC 5321 §4.5.3.1.10).
    replies = {"RCPT": (GOOD, GOOD, "552 no room", "552 no room")}
    async with running(replace(scripted, replies=replies)) as server:
        found = await hand(ours, server, A, B, C)
    assert found[C] == "failed 552 no room"
    assert asked(server) == [["a", "b", "c"], ["c"]]


@pytest.mark.parametrize(
    ("word", "what", "says"),
    [
        ("MAIL", (GOOD, "421 4.3.2 bye", "421 4.3.2 bye"), "421 4.3.2 bye"),
        (".", (GOOD, CLOSE), "unknown-outcome"),
        ("RCPT", (GOOD, FULL, "hello"), "not a reply"),
    ],
)
async def test_what_is_answered_stands_whatever_comes_then(
    ours: Handing, scripted: ScriptedPeer, word: str, what: tuple[str, ...], says: str
) -> None:
    replies = {"RCPT": (GOOD, FULL), word: what}
    async with running(replace(scripted, replies=replies)) as server, ours.peers() as peers:
        found = await peers.hand_over(
            "a.mssante.fr", [Target(HOST, server.port), Target(HOST, 1)], message_maker(A, B)
        )
    assert found[A] == Outcome(State.DELIVERED, "250 2.0.0 taken", dsn=False)
    assert found[B].state is State.WAITING
    assert says in found[B].reply
    assert not found[B].too_many


async def test_our_own_server_says_how_many_it_takes(tmp_path: Path, ours: Handing) -> None:
    to = [ACTIVE, "cardiologie@a.mssante.fr"]
    async with (
        inbound(tmp_path, limits=SessionLimits(max_recipients=1)) as server,
        ours.peers() as peers,
    ):
        found = await peers.hand_over(
            "a.mssante.fr", [Target(HOST, server.port)], message_maker(*to)
        )
        assert {one.state for one in found.values()} == {State.DELIVERED}
        entries = [entry for one in to for entry in server.entries(one)]
    assert len({entry.message.id for entry in entries}) == 2
    assert len({entry.message.session for entry in entries}) == 1  # one connection


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Sender]:
    with sending(tmp_path / "b") as made:
        yield made


async def test_through_the_queue_it_is_one_attempt(sender: Sender, tmp_path: Path) -> None:
    scripted = replace(server_tls("a", tmp_path), replies={"RCPT": (GOOD, GOOD, FULL, FULL)})
    async with running(scripted) as server:
        sender.queue(*ALL[:4])
        await sender.deliver(server.port)
    assert sender.queued() == []
    assert asked(server) == [["a", "b", "c", "d"], ["c", "d"]]
    assert server.connections == 1
    (event,) = sender.attempts()
    assert (event["state"], event["attempt"]) == ("delivered", 1)


async def test_a_courier_that_is_stopped_in_between_forgets_nothing(
    sender: Sender, tmp_path: Path
) -> None:
    # A was delivered: it must not be sent again, though the attempt is aborted.
    scripted = server_tls("a", tmp_path)
    replies = {"RCPT": (GOOD, FULL), ".": (GOOD, STALL)}
    async with running(replace(scripted, replies=replies, offers=OFFERS)) as server:
        sender.queue(A, B)
        stop = asyncio.Event()
        courier = sender.courier({"a.mssante.fr": Target(HOST, server.port)})
        task = asyncio.create_task(courier.run(stop))
        await until(lambda: len(server.messages) == 2)
        stop.set()
        courier.cancel()
        await task
    (row,) = sender.queued()
    assert (row.state, row.recipients) == ("waiting", (B,))
    assert all(BODY.split(b"\r\n")[1] in one for one in server.messages)


async def test_a_slow_peer_does_not_keep_the_slot(
    ours: Handing, scripted: ScriptedPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A transaction may take its time (RFC 5321 §4.5.3.2), but then the rest waits for an attempt.
    monkeypatch.setattr("relay.client.pool.FOLLOW_UP_SECONDS", 0.0, raising=False)
    offers = (*OFFERS, "LIMITS RCPTMAX=2")
    async with running(replace(scripted, offers=offers)) as server:
        found = await hand(ours, server, A, B, C)
    why = "waiting 452 4.5.3 not asked for: the peer takes 2 recipients at once (RFC 9422)"
    taken = "delivered 250 2.0.0 taken"
    assert found == {A: taken, B: taken, C: why}
    assert asked(server) == [["a", "b"]]
