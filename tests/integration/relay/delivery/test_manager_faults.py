"""Faults of peers, through courier and queue on disk: nothing lost, nothing sent twice.

The result of each fault is in docs/queue.md; all faults without a queue are in
tests/integration/relay/client/test_peer_faults.py.
"""

from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

from relay.client.routing import Target
from relay.queue.destinations import forget_dead
from tests.support.clock import system_clock
from tests.support.delivery.handing import Replies, context_of
from tests.support.delivery.queued import destination
from tests.support.delivery.senders import BODY, TRACE, Sender, sending
from tests.support.machines.operators import HOST, trust_space
from tests.support.sessions.scripted import ALERT, CLOSE, ScriptedPeer, running

MESSAGE = BODY + b"x" * 70 + b"\r\n" + b"y" * 998 + b"\r\n"
SENT = (TRACE + MESSAGE).replace(b"\r\n.", b"\r\n..") + b".\r\n"
# Peer's first replies, reason for the wait, number of whole messages sent.
FAULTS: dict[str, tuple[Replies, str, int]] = {
    "greeting": ({"CONNECT": "554 5.3.2 go away"}, "connection", 0),
    "alert": ({"HANDSHAKE": ALERT}, "tls", 0),
    "broken": ({"MAIL": ALERT}, "tls", 0),
    "leaving": ({"RCPT": "421 4.3.2 bye"}, "unavailable", 0),
    "leaving-late": ({"DATA": "421 4.3.2 bye\r\n" + CLOSE}, "refused", 0),
    "garbage": ({"RCPT": "hello"}, "protocol", 0),
    # So short a message is sent whole by then, whatever part the peer has read.
    "amid": ({"BODY": CLOSE}, "unknown-outcome", 0),
    "refusing": ({".": "451 4.3.0 later"}, "refused", 1),
    "unknown": ({".": CLOSE}, "unknown-outcome", 1),
    # The peer's certificate changes between two attempts.
    "changing": ({"MAIL": "450 4.3.2 later"}, "refused", 0),
}


def domain(name: str) -> str:
    return f"{name}.mssante.fr"


async def attempt(sender: Sender, peers: dict[str, ScriptedPeer], number: int) -> dict[str, str]:
    """Run the next attempt for all waiting mail; return the reasons of the results, by peer."""
    before = len(sender.attempts())
    sender.retry()
    await sender.deliver(
        {domain(name): Target(HOST, peer.port) for name, peer in peers.items()}, attempts=number
    )
    new = sender.attempts()[before:]
    found = {one["domain"].partition(".")[0]: one.get("reason") or one["state"] for one in new}
    assert len(found) == len(new), "one attempt each"
    return found


async def test_each_waits_and_arrives_once(tmp_path: Path) -> None:
    space = trust_space()
    white_list = space.space.sign_list({domain(name): space.operators["a"] for name in FAULTS})
    context = context_of("a", tmp_path)
    async with AsyncExitStack() as stack:
        sender = stack.enter_context(sending(tmp_path / "b", white_list))
        peers = {
            name: await stack.enter_async_context(running(ScriptedPeer(context, replies)))
            for name, (replies, _, _) in FAULTS.items()
        }
        begun = system_clock()
        for name in FAULTS:
            sender.queue(f"x@{domain(name)}", body=MESSAGE)
        reasons = {name: reason for name, (_, reason, _) in FAULTS.items()}
        assert await attempt(sender, peers, 1) == reasons
        whole = {name: times for name, (_, _, times) in FAULTS.items()}
        assert {name: peer.messages.count(SENT) for name, peer in peers.items()} == whole
        for row in sender.queued():
            assert (row.state, row.attempts, row.recipients) == ("waiting", 1, (f"x@{row.domain}",))
            assert row.last_error
            # By backoff; an unknown outcome has a backoff of its own.
            unknown = reasons[row.domain.partition(".")[0]] == "unknown-outcome"
            wait = timedelta(minutes=15 if unknown else 1)
            assert begun + wait <= row.due <= system_clock() + wait * 1.2
        assert {row.domain for row in sender.queued()} == set(map(domain, FAULTS))

        for peer in peers.values():
            peer.replies = {}
        peers["changing"].tls = context_of("c", tmp_path)
        found = await attempt(sender, peers, 2)
        assert found.pop("changing") == "server-name"
        assert set(found.values()) == {"delivered"}
        peers["changing"].tls = context
        assert await attempt(sender, peers, 3) == {"changing": "delivered"}
        assert sender.queued() == []
    # Once; and once more if it was sent whole before (refused, or outcome unknown).
    assert {name: peer.messages.count(SENT) for name, peer in peers.items()} == {
        name: times + 1 for name, times in whole.items()
    }


async def test_outcomes_unknown_in_a_row_are_the_death_of_a_destination(tmp_path: Path) -> None:
    # As in Postfix: each further attempt may deliver a duplicate, so single probes follow.
    context = context_of("a", tmp_path)
    with sending(tmp_path / "b") as sender:
        database = sender.store.database
        async with running(ScriptedPeer(context, {".": CLOSE})) as peer:
            for _ in range(5):  # window of a new destination
                sender.queue("x@a.mssante.fr")
            await sender.deliver(peer.port)
            dead = destination(database, "a.mssante.fr")
            assert dead.failures == 1
            assert dead.dead_until > system_clock() + timedelta(seconds=50)
            assert "unknown-outcome" in dead.last_error
            assert len(peer.messages) == 5
            peer.replies = {}
            with database.write() as connection:
                forget_dead(connection, ["a.mssante.fr"])
            sender.retry()
            await sender.deliver(peer.port, attempts=2)
        assert sender.queued() == []
        assert len(peer.messages) == 10
