"""Whatever a peer says, nobody is given a message twice and every answer is the one that was given.

A peer answers at random, takes some recipients at once and not others, and hangs up; it keeps
account of whom it has taken the message for.
"""

import asyncio
import ssl
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.client.routing import Target
from relay.client.transaction import OutcomeUnknown
from relay.smtp.errors import AttemptFailed
from relay.smtp.outcome import State
from tests.support.delivery.handing import ALONE_CHUNKING, CHUNKING, Handing, Replies, message_maker
from tests.support.machines.operators import HOST
from tests.support.sessions.scripted import ALERT, CLOSE, GOOD, OFFERS, ScriptedPeer, running

TO = tuple(f"{name}@a.mssante.fr" for name in "abcdef")
LATER, NEVER, LEAVES = "450 4.2.1 later", "550 5.1.1 never", "421 4.3.2 bye"
FULL = "452 4.5.3 too many"


@dataclass
class Accounting(ScriptedPeer):
    """`taken` are the recipients of the transaction, `has` those for whom it has a message.

    `may_have` are those of a message that it took without saying so.
    """

    begun: bool = False
    taken: list[str] = field(default_factory=list)
    has: Counter[str] = field(default_factory=Counter)
    may_have: Counter[str] = field(default_factory=Counter)

    def _scripted(self, word: str) -> str:
        reply = super()._scripted(word)
        if word == "MAIL":
            self.taken, self.begun = [], reply == GOOD
        elif word == "RCPT" and reply == GOOD and self.begun:
            self.taken.append(self.received[-1].partition("<")[2].partition(">")[0])
        elif word == ".":
            account = {GOOD: self.has, CLOSE: self.may_have}.get(reply, Counter())
            account.update(self.taken)
        return reply


def often_good(*others: str, max_size: int) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from((GOOD, GOOD, *others)), max_size=max_size).map(tuple)


SCRIPTS: st.SearchStrategy[Replies] = st.fixed_dictionaries(
    {
        "MAIL": often_good(LATER, LEAVES, CLOSE, max_size=4),
        "RCPT": often_good(GOOD, FULL, FULL, LATER, NEVER, "452 full", "552 full", max_size=14),
        ".": often_good(GOOD, LATER, NEVER, CLOSE, max_size=4),
        "RSET": often_good(LEAVES, ALERT, max_size=2),
    }
)


@settings(max_examples=40)
@given(
    script=SCRIPTS,
    offers=st.sampled_from((OFFERS, CHUNKING, ALONE_CHUNKING)),
    limits=st.sampled_from(((), ("LIMITS RCPTMAX=2",), ("LIMITS RCPTMAX=4 MAILMAX=1",))),
)
def test_nobody_is_given_it_twice(
    ours: Handing,
    server_context: ssl.SSLContext,
    script: Replies,
    offers: tuple[str, ...],
    limits: tuple[str, ...],
) -> None:
    peer = Accounting(server_context, script, (*offers, *limits))
    asyncio.run(hand_over(ours, peer))
    assert not peer.has or max(peer.has.values()) == 1


async def hand_over(ours: Handing, peer: Accounting) -> None:
    """Hand a message over once, and compare the two accounts."""
    async with running(peer) as server, ours.peers() as peers:
        targets = [Target(HOST, server.port)]
        try:
            found = await peers.hand_over("a.mssante.fr", targets, message_maker(*TO))
        except OutcomeUnknown:
            assert peer.may_have
            found = {}
        except AttemptFailed:
            assert not peer.may_have
            found = {}
    # Without answers all will have it again.
    assert found.keys() in ({}.keys(), set(TO))
    delivered = {one for one, answer in found.items() if answer.state is State.DELIVERED}
    assert delivered == set(peer.has)
    assert all(found[one].state is State.WAITING for one in peer.may_have if found)
