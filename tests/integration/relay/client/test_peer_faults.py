"""Each fault of a peer at each step of the conversation ends as docs/queue.md says."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import uvloop

from relay.client import connection as link
from relay.client.pool import ConnectionPool
from relay.client.routing import Target
from relay.client.transaction import OutcomeUnknown
from relay.smtp.errors import AttemptFailed
from relay.smtp.outcome import Outcome, State
from tests.support.delivery.handing import ALONE_CHUNKING, BODY, Handing, Replies, message_maker
from tests.support.machines.operators import HOST
from tests.support.sessions.scripted import ALERT, CLOSE, GOOD, OFFERS, STALL, ScriptedPeer, running

DOMAIN = "a.mssante.fr"
A, B, C = (f"{name}@{DOMAIN}" for name in "abc")
DOCS = Path(__file__).parents[4] / "docs" / "queue.md"
LARGE = BODY + (b"x" * 70 + b"\r\n") * 200_000  # more than the buffers on its way hold

ACTS = {
    "refuses for now": "450 4.3.0 not now",
    "refuses for good": "550 5.7.1 never",
    "takes its leave (421)": "421 4.3.2 bye\r\n" + CLOSE,
    "hangs up": CLOSE,
    "stays silent": STALL,
    "answers garbage": "hello",
    "breaks TLS": ALERT,
}
# By step, the word that has the reply, and how many good ones come before it.
STEPS = {
    "connection": ("", 0),
    "greeting": ("CONNECT", 0),
    "EHLO": ("EHLO", 0),
    "STARTTLS": ("STARTTLS", 0),
    "handshake": ("HANDSHAKE", 0),
    "EHLO under TLS": ("EHLO", 1),
    "MAIL": ("MAIL", 0),
    "RCPT": ("RCPT", 0),
    "DATA": ("DATA", 0),
    "amid the message": ("BODY", 0),
    "end of the message": (".", 0),
    "RSET before the next message": ("RSET", 0),
    "MAIL of the next message": ("MAIL", 1),
    "QUIT": ("QUIT", 0),
}
REFUSED: Replies = {"RCPT": ("550 5.1.1 c",), "DATA": ("503 5.5.1 nobody",)}


def documented() -> dict[str, dict[str, str]]:
    """What docs/queue.md says, by act and step."""
    lines = DOCS.read_text().partition("\n| step |")[2].partition("\n\n")[0].splitlines()
    (acts, _, *rows) = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    by_step = {row[0]: dict(zip(acts, row[1:], strict=True)) for row in rows}
    return {act: {step: cells[act] for step, cells in by_step.items()} for act in acts}


def test_the_table_is_whole() -> None:
    table = documented()
    assert list(table) == list(ACTS)
    assert all(list(column) == list(STEPS) for column in table.values())


@pytest.mark.parametrize(
    ("offers", "loop"),
    [
        pytest.param(OFFERS, asyncio.new_event_loop, id="data"),
        pytest.param(ALONE_CHUNKING, uvloop.new_event_loop, id="bdat"),
    ],
)
@pytest.mark.parametrize("act", ACTS)
def test_each_step_ends_as_documented(
    ours: Handing,
    scripted: ScriptedPeer,
    monkeypatch: pytest.MonkeyPatch,
    act: str,
    offers: tuple[str, ...],
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    monkeypatch.setattr(link, "_FAREWELL_SECONDS", 0.5)
    expected = {step: cell for step, cell in documented()[act].items() if cell != "-"}
    expected.pop("connection", None)
    if "CHUNKING" in offers:
        del expected["DATA"]
    peers = {step: peer_with(scripted, step, ACTS[act], offers) for step in expected}

    async def endings() -> list[str]:
        return await asyncio.gather(*(ending(ours, peers[step], step, act) for step in expected))

    with asyncio.Runner(loop_factory=loop) as runner:
        found = runner.run(endings())
    assert dict(zip(expected, found, strict=True)) == expected


@pytest.mark.parametrize("act", ["hangs up", "stays silent"])
async def test_a_connection_that_does_not_come_about(ours: Handing, act: str) -> None:
    patience = 0.5 if act == "stays silent" else 30
    with ExitStack() as sockets:
        door = sockets.enter_context(socket.socket())
        door.bind((HOST, 0))
        if act == "stays silent":
            door.listen(0)
            for _ in range(3):  # more than may wait: whoever comes then hears nothing
                waiting = sockets.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(door.getsockname())
        async with ours.peers(timeout=patience) as peers:
            targets = [Target(HOST, door.getsockname()[1])]
            with pytest.raises(AttemptFailed) as failed:
                await peers.hand_over(DOMAIN, targets, message_maker(A))
    assert f"later ({failed.value.reason})" == documented()[act]["connection"]


def peer_with(
    scripted: ScriptedPeer, step: str, reply: str, offers: tuple[str, ...]
) -> ScriptedPeer:
    word, before = STEPS[step]
    replies: Replies = {word: (GOOD,) * before + (reply,)}
    if word == "RSET":
        replies |= REFUSED
    return ScriptedPeer(scripted.tls, replies, offers)


async def ending(ours: Handing, peer: ScriptedPeer, step: str, act: str) -> str:
    """What becomes of a message of which the peer does this at this step, in the words of docs."""
    patience = 1.0 if act == "stays silent" else 30.0
    body = LARGE if step == "amid the message" else BODY
    async with (
        running(peer) as server,
        ours.peers(timeout=patience, block_timeout=patience, data_timeout=patience) as peers,
    ):
        if step.endswith("the next message"):
            await peers.hand_over(DOMAIN, [Target(HOST, server.port)], message_maker(C))
        before = len(received(server))
        found = await _hand_over(peers, server, body)
    # By no fault it is given twice, and where another host would be given it next not even once.
    assert len(received(server)) - before <= (0 if found.startswith("later") else 1), step
    return found


async def _hand_over(peers: ConnectionPool, server: ScriptedPeer, body: bytes) -> str:
    made = server.connections
    try:
        found = await peers.hand_over(
            DOMAIN, [Target(HOST, server.port)], message_maker(A, B, body=body)
        )
    except OutcomeUnknown:
        return "unknown"
    except AttemptFailed as failed:
        return f"later ({failed.reason})"
    return _word(found[A], anew=made > 0 and server.connections > made)


def _word(answer: Outcome, *, anew: bool) -> str:
    if answer.state is State.DELIVERED:
        return "anew" if anew else "delivered"
    return "failed" if answer.state is State.FAILED else "put off"


def received(server: ScriptedPeer) -> list[bytes]:
    """Messages that came to their end."""
    return [one for one in server.messages if one not in {b".\r\n", b""}]
