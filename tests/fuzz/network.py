"""Network fuzzer: whole sessions over real TCP and TLS with a real listener (`make fuzz`).

Invariant: any octets end in a reply or a closed connection, never in a traceback, a hang or an
illegitimate accepted message; no task or socket of the connection remains.
`python -m tests.fuzz.network SECONDS` runs for that time, with a new seed each time; the short form
is tests/crash/relay/test_fuzz_network.py.
"""

import argparse
import asyncio
import ssl
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import uvloop
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.messages.messages import MailboxEntry, list_entries
from relay.connection.limits import SessionLimits
from relay.policy.admission import AdmissionPolicy
from tests.fuzz.audit import Message
from tests.fuzz.grammar import LIMIT, SECOND, garbage, plain_moves, secure_moves, tails
from tests.fuzz.talk import BrokenHandshake, Conversation, Ending, Talk
from tests.fuzz.wire import Damage, Wire
from tests.support.machines.operators import ACTIVE, CLOSED, HOST, SUSPENDED, Inbound, inbound
from tests.support.rules import profiles
from tests.support.storage.blobs import folder
from tests.support.storage.cutting import sizes
from tests.support.waiting import until

DEADLINE: Final = 5.0  # seconds for a session of some milliseconds; beyond, it hangs
LOOPS: Final[dict[str, Callable[[], asyncio.AbstractEventLoop]]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}


_DAMAGES: Final = st.builds(Damage, st.integers(0, 2000), st.integers(0, 255))
_BROKEN: Final = st.builds(
    BrokenHandshake,
    st.integers(0, 1),
    _DAMAGES,
    st.one_of(st.just(b""), st.binary(max_size=60), garbage().map(b"".join)),
)


def conversations(
    handshakes: st.SearchStrategy[BrokenHandshake | None] = st.none(),  # noqa: B008 - stateless
) -> st.SearchStrategy[Conversation]:
    """Sessions, some of them as a peer operator's."""
    return st.builds(
        Conversation,
        peer=st.sampled_from([*["b"] * 12, None, "intruder", "revoked", "foreign_b"]),
        version=st.sampled_from([ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2]),
        plain=plain_moves(),
        handshake=handshakes,
        secure=secure_moves(),
        lockstep=st.booleans(),
        cuts=st.one_of(st.just([]), sizes(), sizes(700)),
        tail=tails(),
        ending=st.sampled_from(Ending),
        damage=_DAMAGES,
    )


def broken_handshakes() -> st.SearchStrategy[Conversation]:
    """Sessions that end in the handshake."""
    return conversations(_BROKEN)


class FuzzedServer:
    """A listening operator A on its own loop, with its state, and checks of it.

    `totals` counts the parts of all sessions so far.
    """

    def __init__(self, server: Inbound, runner: asyncio.Runner) -> None:
        self.totals = Counter[str]()
        self._server = server
        self._runner = runner
        self._seen = dict.fromkeys((ACTIVE, SECOND, SUSPENDED, CLOSED), 0)
        self._troubles: list[str] = []
        self._tasks: list[asyncio.Task[Any]] = []
        loop = runner.get_loop()
        loop.set_exception_handler(self._note)
        loop.set_task_factory(self._new_task)
        self.context = lru_cache(self._context)

    def hold(self, conversation: Conversation) -> None:
        """Run a session and check all of it. Raises AssertionError."""
        with capture_logs() as events:
            try:
                self._runner.run(self._hold(conversation))
            finally:
                errors = [e for e in events if e["log_level"] in {"error", "critical"}]
                for one in filter(None, (event.get("exc_info") for event in errors)):
                    traceback.print_exception(one)
        assert not errors, errors

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self._troubles.append("".join([repr(context), *traceback.format_exception(error)]))

    def _new_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        task = asyncio.Task(coroutine, loop=loop, **options)
        self._tasks.append(task)
        return task

    def _context(self, peer: str | None, version: ssl.TLSVersion) -> ssl.SSLContext:
        context = self._server.client_tls(peer)
        context.minimum_version = context.maximum_version = version
        return context

    async def _hold(self, conversation: Conversation) -> None:
        self._troubles.clear()
        accepted, unheard = [], []
        wire = await Wire.connect(HOST, self._server.port)
        talk = Talk(wire, conversation, self.context)
        try:
            async with asyncio.timeout(DEADLINE):
                await talk.whole()
            accepted, unheard = talk.auditor.accepted, talk.auditor.unheard()
        except TimeoutError:
            raise AssertionError(f"hang: {talk.auditor.state}") from None
        finally:
            wire.close()
            await self._at_rest()
        entries = await asyncio.to_thread(self._new_entries)
        self._match(entries, accepted, unheard)
        self.totals.update(
            {
                "conversations": 1,
                "replies": talk.replies,
                "under TLS": talk.secured,
                "messages accepted": len(accepted),
                f"ended by {conversation.ending.name}": 1,
            }
        )

    async def _at_rest(self) -> None:
        """No task, connection or error of a session may remain."""
        server = self._server

        def over() -> bool:
            return (
                not server.context.connection_counts.sessions
                and all(task.done() for task in self._tasks if task is not mine)
                and not any((folder(server.store.blobs) / "tmp").iterdir())
            )

        mine = asyncio.current_task()
        for _ in range(100):
            if over():
                break
            await asyncio.sleep(0)
        try:
            async with asyncio.timeout(DEADLINE):
                await until(over)
        except TimeoutError:
            left = [task for task in self._tasks if not task.done() and task is not mine]
            raise AssertionError(
                f"left behind: {server.context.connection_counts.sessions}, {left}, "
                f"{list((folder(server.store.blobs) / 'tmp').iterdir())}"
            ) from None
        for task in self._tasks:
            # asyncio would log this error when the task is deleted.
            if task.done() and not task.cancelled() and getattr(task, "_log_traceback", False):
                self._troubles.append(f"{task!r}: {task.exception()!r}")
        self._tasks.clear()
        assert not self._troubles, self._troubles

    def _new_entries(self) -> list[MailboxEntry]:
        found = []
        with self._server.store.database.read() as connection:
            for address, last in self._seen.items():
                box = get_mailbox(connection, address).id
                new = list_entries(connection, box, after=last, limit=10_000)
                found += new
                self._seen[address] = new[-1].id if new else last
        return found

    def _match(
        self, new: list[MailboxEntry], accepted: list[Message], unheard: list[Message]
    ) -> None:
        """The mailboxes hold the acknowledged messages, and maybe those without a seen reply."""
        held: dict[str, Message] = {}
        for entry in new:
            one = entry.message
            to = held[one.id].recipients if one.id in held else frozenset[str]()
            assert entry.recipient.lower() not in to, "twice in a mailbox"
            held[one.id] = Message(one.id, self._server.body(entry), to | {entry.recipient.lower()})
        for message in accepted:
            assert held.pop(message.id, None) == message
        possible = [(message.body, message.recipients) for message in unheard]
        for message in held.values():
            assert (message.body, message.recipients) in possible, message
            possible.remove((message.body, message.recipients))


@contextmanager
def fuzzed_server(folder: Path, loop: str) -> Iterator[FuzzedServer]:
    """Listen as operator A in a folder, on a loop of this kind."""
    limits = SessionLimits(handshake_seconds=3)
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        listening = inbound(folder, limits=limits, policy=AdmissionPolicy(LIMIT))
        server = runner.run(listening.__aenter__())
        try:
            yield FuzzedServer(server, runner)
        finally:
            runner.run(listening.__aexit__(None, None, None))


def main() -> None:
    """Search for the time given on the command line, and print the totals."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.network", description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--loop", choices=LOOPS, default="uvloop")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    given_ = parser.parse_args()
    profiles.load(unit_alone=False)  # the timeouts of hypothesis
    begun, rounds = time.monotonic(), 0
    with (
        tempfile.TemporaryDirectory(prefix="mssante-fuzz-") as folder,
        fuzzed_server(Path(folder), given_.loop) as listening,
    ):
        while time.monotonic() - begun < given_.seconds:
            number = given_.seed + rounds
            print(f"seed {number}", flush=True)
            strategy = broken_handshakes() if rounds % 4 == 3 else conversations()
            _search(listening, strategy, number)
            rounds += 1
        took = time.monotonic() - begun
        rate = listening.totals["conversations"] / took
        print(f"{rate:.1f} conversations a second for {took:.0f} s")
        for what, count in sorted(listening.totals.items()):
            print(f"{count:>9} {what}")


def _search(
    listening: FuzzedServer, strategy: st.SearchStrategy[Conversation], number: int
) -> None:
    @seed(number)
    @settings(max_examples=500, database=None)
    @given(strategy)
    def search(conversation: Conversation) -> None:
        listening.hold(conversation)

    search()


if __name__ == "__main__":
    main()
