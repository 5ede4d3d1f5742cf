"""Quotas of a peer per hour, by the clock passed in, and in whole sessions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from relay.connection.connection_counts import ConnectionCounts
from relay.connection.limits import SessionLimits
from relay.policy.quotas import NO_LIMIT, Quota, Quotas
from relay.server.listen_socket import bind
from relay.server.listener import Listener
from relay.server.peer_service import peer_session
from tests.support.machines.operators import ACTIVE, HOST, Inbound, inbound
from tests.support.sessions.talking import Caller, call
from whitelist.pki.distinguished_name import DistinguishedName

B = DistinguishedName.parse("CN=smtp.b.mssante.fr,O=B,C=FR")
C = DistinguishedName.parse("CN=smtp.c.mssante.fr,O=C,C=FR")
OTHER = f"cardiologie@{ACTIVE.partition('@')[2]}"


def test_nothing_is_counted_without_a_limit() -> None:
    quotas = Quotas()
    quotas.record(B, 0, recipients=5, receipt=True)
    assert quotas.remaining(B, 0) == NO_LIMIT
    assert not quotas._used


def test_what_is_left_of_an_hour() -> None:
    quotas = Quotas(Quota(messages=3, recipients=10, receipts=1))
    assert quotas.remaining(B, 0) == (3, 10, 1)
    quotas.record(B, 0, recipients=4, receipt=True)
    quotas.record(B, 1799, recipients=5, receipt=False)
    assert quotas.remaining(B, 1800) == (1, 1, 0)
    assert quotas.remaining(C, 1800) == (3, 10, 1)
    # The first is over an hour after its minute, at any second of it.
    assert quotas.remaining(B, 3599) == (1, 1, 0)
    assert quotas.remaining(B, 3600) == (2, 5, 1)
    assert quotas.remaining(B, 1799 + 3661) == (3, 10, 1)


def test_a_peer_that_is_named_has_its_own() -> None:
    quotas = Quotas(Quota(messages=1), {"SMTP.c.mssante.fr": Quota(receipts=2)})
    assert quotas.remaining(B, 0) == (1, None, None)
    assert quotas.remaining(C, 0) == (None, None, 2)
    quotas.record(B, 0, recipients=1, receipt=True)
    quotas.record(B, 0, recipients=1, receipt=True)
    assert quotas.remaining(B, 0) == (0, None, None)


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 5)), max_size=40))
def test_never_more_than_the_limit_in_any_hour(steps: list[tuple[int, int]]) -> None:
    quotas, now, taken = Quotas(Quota(messages=4)), 0, list[int]()
    for wait, _ in steps:
        now += wait
        if quotas.remaining(B, now).messages:
            quotas.record(B, now, recipients=1, receipt=False)
            taken.append(now)
    for end in taken:
        assert sum(end - 3540 <= at <= end for at in taken) <= 4


@asynccontextmanager
async def limited(server: Inbound, quota: Quota) -> AsyncIterator[tuple[Caller, Caller]]:
    """Operators B, with these limits, and C without any."""
    quotas = Quotas(by_name={"smtp.b.mssante.fr": quota})
    context = replace(
        server.context, quotas=quotas, connection_counts=ConnectionCounts(SessionLimits())
    )
    listener, bound = Listener(peer_session, context), bind(HOST, 0)
    listener.start(bound)
    there = replace(server, port=bound.getsockname()[1])
    callers = await call(there), await call(there, "c")
    yield callers
    for caller in callers:
        caller.close()
    await listener.stop(grace=0)


async def test_messages_beyond_the_share_are_put_off(tmp_path: Path) -> None:
    async with inbound(tmp_path) as server, limited(server, Quota(messages=2)) as (b, c):
        for _ in range(2):
            assert (await b.send()).startswith("250 2.0.0 ")
        said = await b.say("MAIL FROM:<dr@b.mssante.fr>")
        assert said.startswith("450 4.7.1 Your certificate has had its share of this hour, ")
        assert (await c.send(sender="<dr@c.mssante.fr>")).startswith("250 2.0.0 ")
        assert len(server.entries(ACTIVE)) == 3


async def test_recipients_beyond_the_share_are_left_for_later(tmp_path: Path) -> None:
    async with inbound(tmp_path) as server, limited(server, Quota(recipients=3)) as (b, _):
        assert (await b.send(f"<{ACTIVE}>", f"<{OTHER}>")).startswith("250 2.0.0 ")
        await b.begin()
        # Pipelined, as recipients mostly come.
        said = await b.say(f"RCPT TO:<{OTHER}>", f"RCPT TO:<{OTHER}>")
        assert said.startswith("452 4.5.3 Too many recipients, send the rest separately ")
        assert (await b.say("DATA")).startswith("354 ")
        b.writer.write(b"From: <dr@b.mssante.fr>\r\n\r\n.\r\n")
        assert (await b.hear()).startswith("250 2.0.0 ")
        assert (await b.say("MAIL FROM:<dr@b.mssante.fr>")).startswith("450 4.7.1 ")
        assert (len(server.entries(ACTIVE)), len(server.entries(OTHER))) == (2, 1)


async def test_receipts_beyond_the_share_are_put_off(tmp_path: Path) -> None:
    asking = f"<{ACTIVE}> NOTIFY=SUCCESS"
    async with inbound(tmp_path) as server, limited(server, Quota(receipts=1)) as (b, _):
        assert (await b.send(asking)).startswith("250 2.0.0 ")
        await b.begin()
        said = await b.say(f"RCPT TO:<{ACTIVE}>", f"RCPT TO:{asking}")
        assert said.startswith("450 4.7.1 Your certificate has had its share of receipts this ")
        await b.say("RSET")
        assert (await b.send()).startswith("250 2.0.0 ")
