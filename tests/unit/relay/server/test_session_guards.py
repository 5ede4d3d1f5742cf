"""Guards of an inbound session that no dialogue shows: counts, times, and what its end leaves."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from mailstore.blobs.bodies import SMALL
from mailstore.sealed.draft import Draft
from relay.connection.limits import SessionLimits
from relay.scan.on_failure import OnFailure
from relay.scan.scanner import CLEAN, ScanFacts, Scanners, ScanVerdict
from relay.server.session import Session
from tests.support.machines.operators import ACTIVE, Inbound, inbound
from tests.support.sessions.talking import Caller, call, dial
from tests.support.waiting import until

ORG = "cardiologie@a.mssante.fr"
LARGE = b"From: <dr@b.mssante.fr>\r\n\r\n" + b"0123456789\r\n" * SMALL


async def hear_all(caller: Caller) -> list[str]:
    """All replies until the connection ends, at most ten seconds later."""
    said = await asyncio.wait_for(caller.reader.read(), 10)
    return [line[:9] for line in said.decode("ascii").splitlines()]


# Counts.


async def test_many_unknown_recipients_do_not_end_a_session(tmp_path: Path) -> None:
    async with inbound(tmp_path, limits=SessionLimits(max_errors=2)) as server:
        caller = await call(server)
        await caller.begin()
        for _ in range(3):
            assert (await caller.say("RCPT TO:<nobody@a.mssante.fr>")).startswith("550 5.1.1 ")
        assert (await caller.say("NOOP")).startswith("250 ")
        caller.close()


async def test_recipients_that_are_pipelined_are_commands_too(tmp_path: Path) -> None:
    async with inbound(tmp_path, limits=SessionLimits(max_commands=6)) as server:
        caller = await call(server)
        assert (await caller.send()).startswith("250 2.0.0 ")  # the mailbox is known from now on
        await caller.say("MAIL FROM:<dr@b.mssante.fr>")
        caller.writer.write(f"RCPT TO:<{ACTIVE}>\r\n".encode() * 20)
        assert await hear_all(caller) == ["250 2.1.5"] * 5 + ["421 4.7.0"]
        caller.close()


async def test_recipients_that_are_pipelined_count_in_the_limit(tmp_path: Path) -> None:
    async with inbound(tmp_path, limits=SessionLimits(max_recipients=1)) as server:
        caller = await call(server)
        for one in (ACTIVE, ORG):  # both are known from now on
            assert (await caller.send(f"<{one}>")).startswith("250 2.0.0 ")
        await caller.say("MAIL FROM:<dr@b.mssante.fr>")
        caller.writer.write(f"RCPT TO:<{ACTIVE}>\r\nRCPT TO:<{ORG}>\r\n".encode())
        assert (await caller.hear()).startswith("250 2.1.5 ")
        assert (await caller.hear()).startswith("452 4.5.3 Too many recipients, ")
        caller.close()


async def test_many_small_chunks_are_too_many_commands(tmp_path: Path) -> None:
    async with inbound(tmp_path, limits=SessionLimits(max_commands=10)) as server:
        caller = await call(server)
        await caller.begin()
        caller.writer.write(b"BDAT 1\r\nx" * 20 + b"QUIT\r\n")
        assert (await hear_all(caller))[-1] == "421 4.7.0"
        caller.close()


async def test_a_chunk_out_of_order_far_over_the_limit_is_not_read(tmp_path: Path) -> None:
    async with inbound(tmp_path) as server:
        caller = await call(server)
        caller.writer.write(b"BDAT 99999999999\r\nNOOP\r\n")
        assert await hear_all(caller) == ["552 5.3.4"]
        caller.close()


# Times.


class Looks:
    """A scanner that notes whether any session has a timeout while its message is looked at."""

    name = "test"
    server: Inbound

    def __init__(self) -> None:
        self.armed: list[bool] = []

    async def probe(self) -> None:
        pass

    async def scan(self, _draft: Draft, _facts: ScanFacts) -> ScanVerdict:
        (session,) = self.server.context.connection_counts.sessions
        timeout = session._timeout_handle  # type: ignore[attr-defined]  # aiosmtpd's own
        self.armed.append(timeout is not None and not timeout.cancelled())
        return CLEAN


async def test_our_own_work_is_not_the_peer_s_time(tmp_path: Path) -> None:
    # A scan may take longer than a peer may be silent.
    scanner = Looks()
    async with inbound(tmp_path, scanners=Scanners([scanner], OnFailure.DEFER, 5)) as server:
        scanner.server = server
        caller = await call(server)
        assert (await caller.send()).startswith("250 2.0.0 ")
        assert scanner.armed == [False]
        caller.close()


@pytest.mark.parametrize(("command", "reply"), [("NOOP", "250 "), ("TURN", "500 ")])
async def test_nothing_more_is_done_for_a_peer_that_does_not_read(
    tmp_path: Path, command: str, reply: str
) -> None:
    # Replies would gather without a limit.
    async with inbound(tmp_path) as server:
        caller = await call(server)
        (session,) = server.context.connection_counts.sessions
        assert isinstance(session, Session)
        before = session.tally.commands
        session.pause_writing()  # as the transport asks for
        assert (await caller.say(command)).startswith(reply)
        caller.writer.write(b"NOOP\r\n")
        await until(lambda: not session.inbound.empty)
        assert session.tally.commands == before + 1
        session.resume_writing()
        assert (await caller.hear()).startswith("250 ")
        caller.close()


async def test_the_time_of_a_stranger_begins_with_its_connection(tmp_path: Path) -> None:
    async with inbound(tmp_path, limits=SessionLimits(stranger_seconds=0.5)) as server:
        caller = await dial(server)
        assert (await hear_all(caller))[-1] == "421 4.7.0"
        caller.close()


async def test_a_peer_that_is_listed_no_more_has_a_stranger_s_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with inbound(tmp_path, limits=SessionLimits(stranger_seconds=0.5)) as server:
        caller = await call(server)
        assert (await caller.send()).startswith("250 2.0.0 ")
        monkeypatch.setattr(server.context.trust_state, "_problem", "it is gone")
        assert (await caller.say("MAIL FROM:<dr@b.mssante.fr>")).startswith("451 4.7.1 ")
        assert await hear_all(caller) == ["421 4.7.0"]
        caller.close()


# What is left.


async def test_a_name_said_before_tls_is_not_in_the_trace(tmp_path: Path) -> None:
    # RFC 3207 §4.2: what was learnt in clear text is forgotten.
    async with inbound(tmp_path) as server:
        caller = await dial(server)
        await caller.hear()
        assert (await caller.say("EHLO forged.example")).startswith("250 ")
        assert (await caller.say("STARTTLS")).startswith("220 ")
        await caller.writer.start_tls(server.client_tls("b"))
        assert (await caller.send()).startswith("250 2.0.0 ")
        caller.close()
        (entry,) = server.entries(ACTIVE)
        assert entry.message.trace.startswith("Received: ")
        assert "forged.example" not in entry.message.trace


async def test_a_journal_that_fails_takes_back_no_250(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The message is durable: the peer would bring it a second time.
    async with inbound(tmp_path) as server:
        caller = await call(server)
        record = server.context.journal.record

        def full(event: str, **facts: object) -> None:
            if event == "accepted":
                raise OSError("no space left")
            record(event, **facts)

        monkeypatch.setattr(server.context.journal, "record", full)
        assert (await caller.send()).startswith("250 2.0.0 ")
        assert (await caller.say("NOOP")).startswith("250 ")
        caller.close()
        assert len(server.entries(ACTIVE)) == 1


async def test_a_session_that_ends_during_the_commit_takes_nothing_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The draft is the store's by then.
    async with inbound(tmp_path) as server:
        loop, asked, gone = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
        committer = server.context.committer
        commit = committer._commit

        def late(group: Sequence[object]) -> object:
            loop.call_soon_threadsafe(asked.set)
            gone.wait(20)
            return commit(group)  # type: ignore[arg-type]  # handed on as it came

        monkeypatch.setattr(committer, "_commit", late)
        caller = await call(server)
        await caller.begin()
        assert (await caller.say("DATA")).startswith("354 ")
        caller.writer.write(LARGE + b".\r\n")
        await asyncio.wait_for(asked.wait(), 20)
        caller.writer.transport.abort()
        await until(lambda: not server.context.connection_counts.sessions)
        gone.set()
        await until(lambda: len(server.entries(ACTIVE)) == 1)
        (entry,) = server.entries(ACTIVE)
        assert server.body(entry) == LARGE
