"""Any commands in any order, without a socket: the session replies as its table says."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.connection.limits import SessionLimits
from relay.server.states import BDAT_LAST, COMMANDS, OutOfOrder, SessionState
from tests.support.machines.operators import ACTIVE, Inbound, inbound
from tests.support.sessions.session_driver import Driver, without_tls

ENDLESS = SessionLimits(max_errors=10**9, max_commands=10**9, max_messages=10**9)


@dataclass(frozen=True)
class Step:
    """A command, and its reply if it is in order.

    `octets` follow it: after a chunk in any case, after DATA only if it is in order.
    `odd` is the reply to a malformed command, or to a request that is not offered.
    """

    line: bytes
    code: str = "250"
    row: bytes = b""
    octets: bytes = b""
    odd: bool = False

    @property
    def name(self) -> bytes:
        return self.row or self.line.partition(b" ")[0]


STEPS = [
    Step(b"EHLO smtp.b.mssante.fr"),
    Step(b"HELO smtp.b.mssante.fr"),
    Step(b"EHLO", "501 5.5.4", odd=True),
    Step(b"STARTTLS", "220 2.0.0"),
    Step(b"STARTTLS now", "501 5.5.4", odd=True),
    Step(b"MAIL FROM:<dr@b.mssante.fr>", "250 2.1.0"),
    Step(b"MAIL FROM:<dr@c.mssante.fr>", "550 5.7.1", odd=True),
    Step(b"MAIL TO:<dr@b.mssante.fr>", "501 5.5.4", odd=True),
    Step(f"RCPT TO:<{ACTIVE}>".encode(), "250 2.1.5"),
    Step(b"RCPT TO:<nobody@a.mssante.fr>", "550 5.1.1", odd=True),
    Step(b"RCPT", "501 5.5.4", odd=True),
    Step(b"DATA", "250 2.0.0", octets=b".\r\n"),
    Step(b"DATA now", "501 5.5.4", odd=True),
    Step(b"BDAT 2", "250 2.0.0", octets=b"\r\n"),
    Step(b"BDAT 2 LAST", "250 2.0.0", BDAT_LAST, octets=b"\r\n"),
    Step(b"BDAT two", "501 5.5.4", b"BDAT two", odd=True),
    Step(b"RSET", "250 2.0.0"),
    Step(b"RSET now", "501 5.5.4", odd=True),
    Step(b"NOOP", "250 2.0.0"),
    Step(b"VRFY claire.martin", "252 2.5.2"),
    Step(b"EXPN all", "502 5.5.1"),
    Step(b"AUTH PLAIN AA==", "502 5.5.1"),
    Step(b"HELP", "502 5.5.1"),
    Step(b"QUIT now", "501 5.5.4", odd=True),
    Step(b"QUIT", "221 2.0.0"),
    Step(b"FLY", "500 5.5.2", b"FLY", odd=True),
]
_BARE_VERBS = (b"DATA", b"STARTTLS", b"RSET", b"QUIT")

# A walk with progress: half of the steps continue from the state of most sessions.
steps = st.lists(st.one_of(st.sampled_from(STEPS), st.sampled_from(STEPS[:1] + STEPS[3:15])))


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, Inbound]]:
    stack = AsyncExitStack()
    with asyncio.Runner() as runner:
        folder = tmp_path_factory.mktemp("order")
        server = runner.run(stack.enter_async_context(inbound(folder, limits=ENDLESS)))
        yield runner, server
        runner.run(stack.aclose())


def expected(state: SessionState, step: Step) -> tuple[str, SessionState]:
    """The beginning of the reply, and the state after it."""
    row = COMMANDS.get(step.name)
    if row is None:
        return step.code, state
    cell = row[state]
    malformed = step.odd and step.line.partition(b" ")[0] in _BARE_VERBS
    if isinstance(cell, OutOfOrder) and not (cell.syntax_first and malformed):
        return str(cell.reply), state
    return step.code, state if step.odd or isinstance(cell, OutOfOrder) else cell


def at_rest(driver: Driver, state: SessionState) -> None:
    """The session holds what its state says, and no octet is left on the wire."""
    session = driver.session
    assert session.state is state
    transaction = session.transaction
    assert (transaction is not None) == (state is not state.without_transaction)
    assert session.idle == (transaction is None)
    if transaction is not None:
        assert (transaction.recipients > 0) == (state is not SessionState.SENDER)
        assert (transaction.body is not None) == (state is SessionState.CHUNKS)
    assert session.inbound.empty


async def walk(server: Inbound, taken: list[Step]) -> None:
    driver, state, messages = Driver(server.context, without_tls()), SessionState.CLEAR, 0
    before = len(server.entries(ACTIVE))
    try:
        for step in taken:
            code, following = expected(state, step)
            chunk = step.line.startswith(b"BDAT ")
            octets = step.octets if chunk or code == step.code else b""
            said = await driver.say(step.line, octets)
            assert str(said).startswith(code), (state, step, said)
            messages += step.name in {b"DATA", BDAT_LAST} and code == "250 2.0.0"
            state = following
            at_rest(driver, state)
    finally:
        driver.close()
    assert len(server.entries(ACTIVE)) == before + messages


@pytest.mark.fuzz
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(taken=steps)
def test_the_table_is_obeyed(held: tuple[asyncio.Runner, Inbound], taken: list[Step]) -> None:
    runner, server = held
    runner.run(walk(server, taken))


WAYS = {
    SessionState.CLEAR: [],
    SessionState.GREETED: [b"EHLO"],
    SessionState.SECURED: [b"STARTTLS"],
    SessionState.READY: [b"STARTTLS", b"EHLO"],
    SessionState.SENDER: [b"EHLO", b"STARTTLS", b"MAIL"],
    SessionState.RECIPIENTS: [b"EHLO", b"STARTTLS", b"MAIL", b"RCPT"],
    SessionState.CHUNKS: [b"EHLO", b"STARTTLS", b"MAIL", b"RCPT", b"BDAT"],
}


@pytest.mark.parametrize("state", SessionState)
def test_every_cell_of_the_table(held: tuple[asyncio.Runner, Inbound], state: SessionState) -> None:
    runner, server = held
    first = {step.name: step for step in reversed(STEPS) if not step.odd}
    assert first.keys() == COMMANDS.keys()
    way = [first[verb] for verb in WAYS[state]]
    for step in STEPS:
        runner.run(walk(server, [*way, step]))
