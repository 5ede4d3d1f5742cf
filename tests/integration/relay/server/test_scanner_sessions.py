"""Scanners in whole sessions: the replies before the final 250 (DOMAIN §9.25)."""

import asyncio
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailstore.sealed.draft import MEMORY_LIMIT
from relay.policy.admission import AdmissionPolicy
from relay.scan.clamav import Clamav
from relay.scan.on_failure import OnFailure
from relay.scan.rspamd import Rspamd
from relay.scan.scanner import Scanner, Scanners
from relay.smtp.reply import Reply
from tests.support.machines.operators import ACTIVE, HOST, Inbound, inbound
from tests.support.peers.scanners import (
    CLAMD,
    CLEAN_MESSAGE,
    EICAR,
    GTUBE,
    RSPAMD,
    clamd,
    needs,
    rspamd,
    scripted,
)
from tests.support.waiting import until

HEADER = b"From: dr@b.mssante.fr\r\nSubject: x\r\n\r\n"
LARGE = (b"x" * 70 + b"\r\n") * (2 * MEMORY_LIMIT // 72)
DOWN = Clamav("127.0.0.1:1")


@pytest.fixture(scope="module")
def scanners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scanner, ...]]:
    with (
        clamd(tmp_path_factory.mktemp("clamd")) as first,
        rspamd(tmp_path_factory.mktemp("rspamd")) as second,
    ):
        yield Clamav(first.socket), Rspamd(second, "smtp.a.mssante.fr")


def send(server: Inbound, *messages: bytes) -> list[str]:
    """Send messages over one session as operator B; gives the last reply to each."""
    with smtplib.SMTP(HOST, server.port, timeout=20) as smtp:
        smtp.starttls(context=server.client_tls("b"))
        smtp.ehlo("smtp.b.mssante.fr")
        replies = []
        for message in messages:
            smtp.mail("dr@b.mssante.fr")
            smtp.rcpt(ACTIVE)
            code, text = smtp.data(message)
            replies.append(f"{code} {text.decode()}")
    return replies


def drafts(server: Inbound) -> list[Path]:
    return list((server.folder / "blobs" / "tmp").iterdir())


@needs(CLAMD, "clamd")
@needs(RSPAMD, "rspamd")
@pytest.mark.interop
async def test_what_real_scanners_find_is_refused(
    tmp_path: Path, scanners: tuple[Scanner, ...]
) -> None:
    infected, spam = HEADER + LARGE + EICAR + b"\r\n", HEADER + GTUBE + b"\r\n"
    async with inbound(tmp_path, scanners=Scanners(scanners, OnFailure.DEFER)) as server:
        first, second, third, fourth = await asyncio.to_thread(
            send, server, infected, CLEAN_MESSAGE, spam, HEADER + LARGE
        )
        assert first.startswith("554 5.7.1 Content refused by clamav: Test.Eicar.UNOFFICIAL (rule")
        assert second.startswith("250 2.0.0 ")
        assert third.startswith("554 5.7.1 Content refused by rspamd: Gtube pattern (rule scan)")
        assert fourth.startswith("250 2.0.0 ")
        bodies = [server.body(entry) for entry in server.entries(ACTIVE)]
        assert bodies == [CLEAN_MESSAGE, HEADER + LARGE]
        assert drafts(server) == []


@pytest.mark.parametrize(
    ("on_failure", "reply"),
    [
        (OnFailure.DEFER, "451 4.7.1 Content scanner unavailable, try again later"),
        (OnFailure.ACCEPT, "250 2.0.0 Accepted as"),
    ],
)
async def test_a_scanner_that_is_down(tmp_path: Path, on_failure: OnFailure, reply: str) -> None:
    async with inbound(tmp_path, scanners=Scanners([DOWN], on_failure)) as server:
        said = await asyncio.to_thread(send, server, CLEAN_MESSAGE, HEADER + LARGE)
        assert all(one.startswith(reply) for one in said), said
        assert len(server.entries(ACTIVE)) == (2 if on_failure is OnFailure.ACCEPT else 0)
        assert drafts(server) == []


@pytest.mark.parametrize("message", [CLEAN_MESSAGE, HEADER + LARGE * 20], ids=["small", "large"])
async def test_a_session_that_ends_during_the_scan_leaves_nothing(
    tmp_path: Path, message: bytes
) -> None:
    asked = asyncio.Event()

    async def hang(*_: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with scripted(hang) as scanner:
        scanners = Scanners([Clamav(scanner.endpoint)], OnFailure.DEFER, timeout=60)
        async with inbound(
            tmp_path, policy=AdmissionPolicy(20_000_000), scanners=scanners
        ) as server:
            sending = asyncio.create_task(asyncio.to_thread(send, server, message))
            await asyncio.wait_for(asked.wait(), 20)
            (session,) = server.context.connection_counts.sessions
            session.hang_up(Reply(421, "4.3.2", "Stopping"))
            (reply,) = await sending
            assert reply.startswith("421 4.3.2 ")
            await until(
                lambda: not server.context.connection_counts.sessions and not drafts(server)
            )
            assert server.entries(ACTIVE) == []
