"""Connections kept between messages: reused if the peer's name allows it, and ended properly."""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from relay.client.pool import ConnectionPool
from relay.client.routing import Target
from relay.client.transaction import OutcomeUnknown
from relay.policy import tls
from relay.smtp.errors import AttemptFailed
from relay.smtp.outcome import Outcome, State
from tests.support.delivery.handing import BODY, Handing, context_of, handing, message_maker
from tests.support.machines.operators import ACTIVE, HOST, inbound, trust_space
from tests.support.sessions.scripted import ALERT, CLOSE, GOOD, OFFERS, STALL, ScriptedPeer, running
from tests.support.waiting import until

CLOSED_PORT = 1  # nobody listens there
DOMAIN = "a.mssante.fr"
A = f"x@{DOMAIN}"


@pytest.fixture
def sender(tmp_path: Path) -> Handing:
    return handing(tmp_path / "b")


@pytest.fixture
def peer(tmp_path: Path) -> ScriptedPeer:
    return ScriptedPeer(context_of("a", tmp_path))


async def give(peers: ConnectionPool, server: ScriptedPeer, domain: str = DOMAIN) -> Outcome:
    """Send one message; returns the result for its recipient."""
    to = f"x@{domain}"
    return (await peers.hand_over(domain, [Target(HOST, server.port)], message_maker(to)))[to]


async def test_a_connection_serves_many_messages(sender: Handing, peer: ScriptedPeer) -> None:
    async with running(peer) as server:
        async with sender.peers() as peers:
            for _ in range(3):
                assert (await give(peers, server)).state is State.DELIVERED
            assert server.said("QUIT") == []
        assert server.said("QUIT") == ["QUIT"]  # close() has waited for it
    assert server.connections == 1
    assert server.said("EHLO", "STARTTLS") == ["EHLO", "STARTTLS", "EHLO"]
    assert len(server.messages) == 3
    assert sender.judged == [DOMAIN] * 3  # again for each


async def test_domains_share_a_peer_whose_name_is_listed_for_each(
    sender: Handing, peer: ScriptedPeer
) -> None:
    # DOMAIN §3.3, 4
    sender.relist(a="a", clinique="a", b="b")
    async with running(peer) as server, sender.peers() as peers:
        await give(peers, server)
        await give(peers, server, "clinique.mssante.fr")
    assert server.connections == 1
    assert sender.judged == [DOMAIN, "clinique.mssante.fr"]


async def test_a_domain_that_the_name_does_not_cover_gets_nothing(
    sender: Handing, peer: ScriptedPeer
) -> None:
    async with running(peer) as server, sender.peers() as peers:
        await give(peers, server)
        with pytest.raises(AttemptFailed, match=r"not listed for c\.mssante\.fr") as failed:
            await give(peers, server, "c.mssante.fr")
        await give(peers, server)  # the connection is still there for its own domain
    assert failed.value.reason == "server-name"
    assert server.said("MAIL") == ["MAIL", "MAIL"]
    assert server.connections == 2


async def test_a_list_that_changes_ends_the_sharing(sender: Handing, peer: ScriptedPeer) -> None:
    sender.relist(a="a", clinique="a")
    async with running(peer) as server, sender.peers() as peers:
        await give(peers, server, "clinique.mssante.fr")
        sender.relist(a="a", clinique="c")
        with pytest.raises(AttemptFailed, match="not listed"):
            await give(peers, server, "clinique.mssante.fr")
    assert server.said("MAIL") == ["MAIL"]


async def test_an_idle_connection_takes_its_leave(sender: Handing, peer: ScriptedPeer) -> None:
    async with running(peer) as server, sender.peers(idle_seconds=0.01) as peers:
        await give(peers, server)
        await until(lambda: server.ended == 1)
        assert server.said("QUIT") == ["QUIT"]
        await give(peers, server)
    assert server.connections == 2


async def test_of_many_idle_connections_the_oldest_takes_its_leave(
    sender: Handing, peer: ScriptedPeer
) -> None:
    async with running(peer) as server, sender.peers(max_idle=2) as peers:
        await asyncio.gather(*(give(peers, server) for _ in range(3)))
        await until(lambda: server.ended == 1)
        assert server.said("QUIT") == ["QUIT"]
        await asyncio.gather(*(give(peers, server) for _ in range(2)))
        assert server.connections == 3
    assert server.said("QUIT") == ["QUIT"] * 3


@pytest.mark.parametrize("limits", [(), ("LIMITS MAILMAX=2 RCPTMAX=100",)])
async def test_a_connection_serves_only_so_many(
    sender: Handing, peer: ScriptedPeer, limits: tuple[str, ...]
) -> None:
    # RFC 9422
    max_messages = 100 if limits else 2
    async with (
        running(replace(peer, offers=(*OFFERS, *limits))) as server,
        sender.peers(max_messages=max_messages) as peers,
    ):
        for _ in range(5):
            await give(peers, server)
    assert server.connections == 3
    assert server.said("QUIT") == ["QUIT"] * 3


async def test_a_connection_serves_one_message_at_a_time(
    sender: Handing, peer: ScriptedPeer
) -> None:
    async with running(peer) as server, sender.peers() as peers:
        await asyncio.gather(*(give(peers, server) for _ in range(3)))
        assert server.connections == 3
        await asyncio.gather(*(give(peers, server) for _ in range(3)))
    assert server.connections == 3
    assert len(server.messages) == 6


@pytest.mark.parametrize("end", [CLOSE, "421 4.4.2 idle", "421 4.4.2 idle\r\n" + CLOSE])
async def test_a_kept_connection_that_had_ended_is_no_failure(
    sender: Handing, peer: ScriptedPeer, end: str
) -> None:
    async with (
        running(replace(peer, replies={"MAIL": (GOOD, end)})) as server,
        sender.peers() as peers,
    ):
        await give(peers, server)
        assert (await give(peers, server)).state is State.DELIVERED
    assert server.connections == 2
    assert len(server.messages) == 2


async def test_a_new_connection_is_tried_only_once(sender: Handing, peer: ScriptedPeer) -> None:
    async with (
        running(replace(peer, replies={"MAIL": (GOOD, CLOSE, CLOSE)})) as server,
        sender.peers() as peers,
    ):
        await give(peers, server)
        with pytest.raises(AttemptFailed):
            await give(peers, server)
    assert server.connections == 2
    assert len(server.messages) == 1


async def test_a_peer_that_hung_up_is_noticed(sender: Handing, peer: ScriptedPeer) -> None:
    # A peer that says more than it was asked gets no second message.
    replies = {".": ("250 2.0.0 taken\r\n" + CLOSE, "250 2.0.0 taken\r\n421 4.4.2 bye")}
    async with running(replace(peer, replies=replies)) as server, sender.peers() as peers:
        for _ in range(3):
            assert (await give(peers, server)).state is State.DELIVERED
            await asyncio.sleep(0)
    assert server.connections == 3
    assert len(server.messages) == 3


async def test_a_certificate_that_changes_is_judged_anew(
    sender: Handing, peer: ScriptedPeer, tmp_path: Path
) -> None:
    async with (
        running(replace(peer, replies={"MAIL": (GOOD, CLOSE)})) as server,
        sender.peers() as peers,
    ):
        await give(peers, server)
        server.tls = context_of("c", tmp_path)
        with pytest.raises(AttemptFailed, match="not listed for"):
            await give(peers, server)
    assert server.connections == 2
    assert server.said("MAIL") == ["MAIL"] * 2  # the second was on the first connection
    assert len(server.messages) == 1


async def test_targets_are_tried_in_order_and_never_in_clear_text(
    sender: Handing, peer: ScriptedPeer, tmp_path: Path
) -> None:
    # DOMAIN §9.27: a closed port, no STARTTLS, a foreign authority, another name, the right one.
    bad = [ScriptedPeer(None), *(ScriptedPeer(context_of(n, tmp_path)) for n in ("foreign_a", "c"))]
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(running(one)) for one in (*bad, peer)]
        peers = await stack.enter_async_context(sender.peers())
        targets = [Target(HOST, CLOSED_PORT), *(Target(HOST, one.port) for one in servers)]
        found = await peers.hand_over(DOMAIN, targets, message_maker(A))
        with pytest.raises(AttemptFailed, match="not listed") as failed:
            await peers.hand_over(DOMAIN, targets[:-1], message_maker(A))
    assert found[A].state is State.DELIVERED
    assert failed.value.reason == "server-name"
    assert [one.said("MAIL") for one in servers] == [[], [], [], ["MAIL"]]


async def test_without_targets_there_is_no_attempt(sender: Handing) -> None:
    async with sender.peers() as peers:
        with pytest.raises(AttemptFailed) as failed:
            await peers.hand_over(DOMAIN, [], message_maker(A))
    assert failed.value.reason == "no-route"


async def test_an_address_is_connected_to_and_the_host_is_named(
    sender: Handing, peer: ScriptedPeer
) -> None:
    named: list[str | None] = []
    assert peer.tls is not None
    peer.tls.sni_callback = lambda _socket, name, _context: named.append(name)
    async with running(peer) as server, sender.peers() as peers:
        target = Target("smtp.a.mssante.fr", server.port, HOST)
        await peers.hand_over(DOMAIN, [target], message_maker(A))
    assert named == ["smtp.a.mssante.fr"]


@pytest.mark.parametrize("host", ["x" * 64 + ".fr", ".fr", "a..fr", "\u2603" * 60])
async def test_a_host_that_is_no_name_is_a_failure(sender: Handing, host: str) -> None:
    async with sender.peers() as peers:
        with pytest.raises(AttemptFailed):
            await peers.hand_over(DOMAIN, [Target(host, CLOSED_PORT)], message_maker(A))


async def test_what_a_peer_may_have_is_given_to_no_other(
    sender: Handing, peer: ScriptedPeer
) -> None:
    async with (
        running(replace(peer, replies={".": CLOSE})) as server,
        running(ScriptedPeer(peer.tls)) as other,
        sender.peers() as peers,
    ):
        targets = [Target(HOST, server.port), Target(HOST, other.port)]
        with pytest.raises(OutcomeUnknown, match="unknown-outcome"):
            await peers.hand_over(DOMAIN, targets, message_maker(A))
    assert other.connections == 0
    assert len(server.messages) == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_peer_that_refuses_our_certificate(
    sender: Handing, peer: ScriptedPeer, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    # In the handshake, unlike us; under TLS 1.3 we notice only after it.
    theirs = trust_space().identity("a", tmp_path)
    strict = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    strict.load_cert_chain(theirs.certificate, theirs.key)
    strict.load_verify_locations(cadata=trust_space().trust.pem)
    strict.verify_mode = ssl.CERT_REQUIRED
    strict.maximum_version = version
    peer = replace(peer, tls=strict)
    identity = trust_space().identity("foreign_b", tmp_path)
    sender.context = tls.client_context(identity, trust_space().trust)
    async with running(peer) as server, sender.peers() as peers:
        with pytest.raises(AttemptFailed) as failed:
            await give(peers, server)
    assert failed.value.reason in {"tls", "connection"}  # as asyncio's server hangs up or resets
    assert server.said("MAIL") == []


async def test_a_tls_alert_is_reported(sender: Handing, peer: ScriptedPeer) -> None:
    alerting = replace(peer, replies={"HANDSHAKE": ALERT})
    async with running(alerting) as server, sender.peers() as peers:
        with pytest.raises(
            AttemptFailed, match=r"(?i)TLS failed.*alert handshake failure"
        ) as failed:
            await give(peers, server)
    assert failed.value.reason == "tls"
    assert server.said("MAIL") == []


async def test_what_is_broken_off_is_not_gone_on_with(sender: Handing, peer: ScriptedPeer) -> None:
    async with (
        running(replace(peer, replies={".": (STALL,)})) as server,
        sender.peers() as peers,
    ):
        task = asyncio.create_task(give(peers, server))
        await until(lambda: bool(server.messages))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await give(peers, server)).state is State.DELIVERED
    assert server.connections == 2


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("chunking", [False, True], ids=["data", "bdat"])
def test_our_own_server_takes_it_byte_for_byte(
    tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop], chunking: bool
) -> None:
    sender = handing(tmp_path / "b")
    (tmp_path / "a").mkdir()
    body = BODY + b"".join(b".%d %s\r\n" % (n, b".x" * 30) for n in range(9_000))

    async def exchange() -> None:
        async with inbound(tmp_path / "a") as server, sender.peers() as peers:
            # The server offers CHUNKING; without it in sight, DATA is the way.
            targets = [Target(HOST, server.port)]
            for text in (BODY, body, BODY):
                found = await peers.hand_over(DOMAIN, targets, message_maker(ACTIVE, body=text))
                assert found[ACTIVE].state is State.DELIVERED
                assert found[ACTIVE].dsn
                for idle in peers._idle[targets[0]]:
                    idle.connection.offers = replace(idle.connection.offers, chunking=chunking)
            entries = server.entries(ACTIVE)
            assert len({entry.message.session for entry in entries}) == 1  # one connection
            stored = sorted(len(server.body(entry)) for entry in entries)
            assert stored == sorted(map(len, (BODY, body, BODY)))
            assert {server.body(entry) for entry in entries} == {BODY, body}

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(exchange())
