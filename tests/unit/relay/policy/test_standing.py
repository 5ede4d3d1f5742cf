"""A peer's certificate in the middle of its session: revoked, expired, without OCSP answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from mssante_operator.setup.install import write_identity
from mssante_operator.setup.testbed.certificate_profile import Lifetime, RevocationAddresses
from relay.connection.connection_counts import ConnectionCounts
from relay.connection.limits import SessionLimits
from relay.policy.standing import PeerStanding, judge_peer
from relay.policy.trust_state import TrustState
from relay.server.listen_socket import bind
from relay.server.listener import Listener
from relay.server.peer_service import peer_session
from tests.support.clock import system_clock
from tests.support.lists.hierarchy import spare_key
from tests.support.lists.ocsp_responder import ocsp_answer, responding
from tests.support.machines.operators import Inbound, inbound, trust_space
from tests.support.machines.perimeters import trust_state
from tests.support.sessions.talking import Caller, call
from whitelist.pki.crl_store import CrlStore
from whitelist.pki.ocsp_client import OcspClient
from whitelist.pki.trust_store import ChainStatus

HOUR = timedelta(hours=1)
MAIL = "MAIL FROM:<dr@b.mssante.fr>"


class Clock:
    """The time, set by the test."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return system_clock() + self.ahead


def revoke(folder: Path, found: TrustState, *names: str) -> None:
    """Bring a newer list of the intermediate, with the operators' certificates on it."""
    space = trust_space()
    revoked = [space.operators[name] for name in ("revoked", *names)]
    octets = space.space.crl(space.space.hierarchy.intermediate, revoked)
    CrlStore(folder / "crl", space.trust.authorities).offer(octets, system_clock())
    found.load()


def status(standing: PeerStanding) -> ChainStatus | None:
    return standing.peer.chain.status if standing.peer.chain else None


@asynccontextmanager
async def visited(server: Inbound, follower: TrustState, clock: Clock) -> AsyncIterator[Caller]:
    """Operator B under TLS at a listener with its own perimeter and clock."""
    context = replace(
        server.context,
        trust_state=follower,
        clock=clock,
        connection_counts=ConnectionCounts(SessionLimits()),
    )
    listener, bound = Listener(peer_session, context), bind("127.0.0.1", 0)
    listener.start(bound)
    caller = await call(replace(server, port=bound.getsockname()[1]))
    try:
        yield caller
    finally:
        caller.close()
        await listener.stop(grace=0)


@pytest.mark.integration
async def test_a_certificate_revoked_in_the_middle_of_a_session(tmp_path: Path) -> None:
    async with inbound(tmp_path, limits=SessionLimits(stranger_seconds=0.5)) as server:
        caller, other = await call(server), await call(server, "c")
        assert (await caller.send()).startswith("250 2.0.0 ")
        await caller.begin()  # a transaction under way may end
        revoke(tmp_path, server.trust_state, "b")
        assert (await caller.say("DATA")).startswith("354 ")
        caller.writer.write(b"From: <dr@b.mssante.fr>\r\n\r\n.\r\n")
        assert (await caller.hear()).startswith("250 2.0.0 ")
        said = await caller.say(MAIL)
        assert said.startswith("554 5.7.1 Client certificate refused: revoked (rule chain; ")
        # It is a stranger from now on: further commands buy no time.
        for _ in range(3):
            assert (await caller.say("NOOP")).startswith("250 ")
        assert (await caller.hear()).startswith("421 4.7.0 Too long without a certificate of the ")
        assert (await other.send(sender="<dr@c.mssante.fr>")).startswith("250 2.0.0 ")
        caller.close()
        other.close()


async def test_a_certificate_that_runs_out_in_the_middle_of_a_session(tmp_path: Path) -> None:
    space, clock, now = trust_space(), Clock(), system_clock()
    short = space.space.hierarchy.issue_server(
        space.operators["b"].certificate.subject,
        ["smtp.b.mssante.fr"],
        Lifetime(now - HOUR, now + HOUR),
        key=spare_key(),
    )
    follower = trust_state(tmp_path / "own", space.white_list, space.trust, clock, crls=space.crls)
    async with inbound(tmp_path) as server:
        write_identity(short, space.space.hierarchy, tmp_path, "b")
        async with visited(server, follower, clock) as caller:
            assert (await caller.send()).startswith("250 2.0.0 ")
            clock.ahead = 2 * HOUR
            said = await caller.say(MAIL)
            assert said.startswith("554 5.7.1 Client certificate refused: expired ")


async def test_an_answer_of_ocsp_that_is_over_is_asked_for_again(tmp_path: Path) -> None:
    space, clock, now = trust_space(), Clock(), system_clock()
    made, folder = space.space.hierarchy, tmp_path / "lacking"
    with responding() as responder:
        shown = made.issue_server(
            space.operators["b"].certificate.subject,
            ["smtp.b.mssante.fr"],
            Lifetime.of_leaf(now),
            key=spare_key(),
            revocation=RevocationAddresses(ocsp=(responder.url,)),
        )
        kind = ocsp.OCSPCertStatus.GOOD

        def answer() -> bytes:
            issuer = made.intermediate
            return ocsp_answer(
                shown.certificate,
                issuer.certificate,
                issuer,
                clock(),
                kind,
                next_update=clock() + HOUR,
            )

        responder.answer = answer
        asker = OcspClient(clock, [responder.url])
        follower = trust_state(
            folder, space.white_list, space.trust, clock, crls=space.crls[:1], ocsp=asker
        )
        async with inbound(tmp_path) as server:
            write_identity(shown, made, tmp_path, "b")
            async with visited(server, follower, clock) as caller:
                assert (await caller.send()).startswith("250 2.0.0 ")
                assert (await caller.send()).startswith("250 2.0.0 ")
                assert len(responder.questions) == 1
                clock.ahead, kind = 2 * HOUR, ocsp.OCSPCertStatus.REVOKED
                assert (await caller.say(MAIL)).startswith("554 5.7.1 ")
                assert len(responder.questions) == 2


async def test_a_verdict_holds_until_something_comes(tmp_path: Path) -> None:
    space, clock = trust_space(), Clock()
    follower = trust_state(tmp_path, space.white_list, space.trust, clock, crls=space.crls)
    der = space.operators["b"].certificate.public_bytes(Encoding.DER)
    standing = await judge_peer(follower, der, "TLSv1.3", "X", clock())
    assert status(standing) is ChainStatus.TRUSTED
    assert standing.holds(follower, clock())
    clock.ahead = timedelta(days=20_000)
    assert not standing.holds(follower, clock())
    clock.ahead = timedelta()
    revoke(tmp_path, follower, "b")
    assert not standing.holds(follower, clock())
    assert status(await judge_peer(follower, der, "TLSv1.3", "X", clock())) is ChainStatus.REVOKED


async def test_without_a_certificate_nothing_is_asked(tmp_path: Path) -> None:
    space, clock = trust_space(), Clock()
    follower = trust_state(tmp_path, space.white_list, space.trust, clock, crls=space.crls)
    standing = await judge_peer(follower, None, "TLSv1.3", "X", clock())
    assert standing.peer.certificate is None
    assert standing.until.year == 9999
