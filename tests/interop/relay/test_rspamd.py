"""rspamd: a real one if installed, and a scripted one for faults."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from mailstore.errors import StoreUnavailable
from mailstore.sealed.draft import MEMORY_LIMIT
from relay.scan.on_failure import OnFailure
from relay.scan.rspamd import Rspamd, read_answer, request_head
from relay.scan.scanner import (
    CLEAN,
    DEFER,
    ScannerFailed,
    Scanners,
    ScanVerdict,
    infected,
)
from relay.smtp.errors import SmtpError
from tests.support.peers.scanners import (
    CLEAN_MESSAGE,
    FACTS,
    GTUBE,
    RSPAMD,
    draft,
    drafted,
    harmed_draft,
    needs,
    rspamd,
    scripted,
)
from tests.support.waiting import until

OURS = "smtp.a.mssante.fr"
LOOPS = (asyncio.new_event_loop, uvloop.new_event_loop)
SPAM = b"From: dr@b.mssante.fr\r\nSubject: x\r\n\r\n" + GTUBE + b"\r\n"
URL = urlsplit("http://127.0.0.1:11333/")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with rspamd(tmp_path_factory.mktemp("rspamd")) as url:
        yield url


@needs(RSPAMD, "rspamd")
class TestRealRspamd:
    @pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
    def test_gtube_is_refused_and_the_rest_is_not(
        self, running: str, tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop]
    ) -> None:
        scanner = Rspamd(running, OURS)
        cases = [(CLEAN_MESSAGE, CLEAN), (b"", CLEAN), (SPAM, infected("Gtube pattern"))]
        with asyncio.Runner(loop_factory=loop) as runner:
            for content, verdict in cases:
                assert runner.run(scanner.scan(draft(tmp_path, content), FACTS)) == verdict

    async def test_gtube_is_refused_with_what_rspamd_says(
        self, running: str, tmp_path: Path
    ) -> None:
        scanners = Scanners([Rspamd(running, OURS)], OnFailure.ACCEPT)
        with pytest.raises(SmtpError) as refused:
            await scanners.check(draft(tmp_path, SPAM), FACTS)
        assert str(refused.value.reply) == "554 5.7.1 Content refused by rspamd: Gtube pattern"

    async def test_all_of_a_large_message_arrives(self, running: str, tmp_path: Path) -> None:
        size = 30 * MEMORY_LIMIT + 17
        facts = replace(FACTS, sender="reject@b.mssante.fr")
        with drafted(tmp_path, CLEAN_MESSAGE.ljust(size, b"x")) as large:
            found = await Rspamd(running, OURS).scan(large, facts)
        assert found == infected(f"{size} octets for 2 from smtp.b.mssante.fr")

    @pytest.mark.parametrize(
        ("action", "verdict"),
        [
            ("reject", infected(f"{len(CLEAN_MESSAGE)} octets for 2 from smtp.b.mssante.fr")),
            ("soft.reject", DEFER),
            ("greylist", CLEAN),
            ("add.header", CLEAN),
            ("rewrite.subject", CLEAN),
            ("no.action", CLEAN),
        ],
    )
    async def test_every_action_and_the_envelope(
        self, running: str, tmp_path: Path, action: str, verdict: ScanVerdict
    ) -> None:
        """The rule in use obeys the sender's address, and returns the facts that it got."""
        facts = replace(FACTS, sender=f"{action}@b.mssante.fr")
        message = draft(tmp_path, CLEAN_MESSAGE)
        assert await Rspamd(running, OURS).scan(message, facts) == verdict

    async def test_more_recipients_than_it_reads(self, running: str, tmp_path: Path) -> None:
        recipients = tuple(f"{i:0>64}@{'y' * 200}.mssante.fr" for i in range(1000))
        facts = replace(FACTS, sender="reject@b.mssante.fr", recipients=recipients)
        found = await Rspamd(running, OURS).scan(draft(tmp_path, CLEAN_MESSAGE), facts)
        assert 100 < int(found.name.split()[3]) < 1000

    async def test_an_odd_envelope(self, running: str, tmp_path: Path) -> None:
        odd = replace(FACTS, sender="", address="unknown", helo="", recipients=("hélène@é.fr",))
        assert await Rspamd(running, OURS).scan(draft(tmp_path, CLEAN_MESSAGE), odd) == CLEAN


def test_the_request() -> None:
    head = request_head(urlsplit("http://[::1]:11333/behind/"), OURS, 42, FACTS)
    assert head.decode().split("\r\n") == [
        "POST /behind/checkv2 HTTP/1.0",
        "Host: [::1]:11333",
        "Content-Length: 42",
        "MTA-Name: smtp.a.mssante.fr",
        "Queue-Id: m1",
        "Helo: smtp.b.mssante.fr",
        "IP: 192.0.2.1",
        "From: dr@b.mssante.fr",
        "Rcpt: claire.martin@a.mssante.fr",
        "Rcpt: cardiologie@a.mssante.fr",
        "",
        "",
    ]


@given(st.text(), st.text(), st.text(), st.lists(st.text(max_size=2000), max_size=60))
def test_no_value_makes_a_field_or_ends_the_head(
    helo: str, sender: str, address: str, recipients: list[str]
) -> None:
    facts = replace(FACTS, helo=helo, sender=sender, address=address, recipients=tuple(recipients))
    head = request_head(URL, OURS, 0, facts)
    assert len(head) <= 50_000
    lines = head.split(b"\r\n")
    assert lines[-2:] == [b"", b""]
    names = [line.partition(b": ")[0] for line in lines[1:-2]]
    assert names[:5] == [b"Host", b"Content-Length", b"MTA-Name", b"Queue-Id", b"Helo"]
    assert set(names[5:]) <= {b"IP", b"From", b"Rcpt"}
    assert not any(octet < 32 or octet == 127 for line in lines for octet in line)


def answer(**facts: object) -> bytes:
    return json.dumps(facts).encode()


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (answer(action="no action"), CLEAN),
        (answer(action="reject", score=15.5, required_score=15), infected("score 15.5 of 15")),
        (answer(action="reject", messages={"smtp_message": "Spam"}), infected("Spam")),
        (answer(action="reject", messages={"smtp_message": 1}), infected("score None of None")),
        (answer(action="reject", messages=["x"]), infected("score None of None")),
        (answer(action="soft reject"), DEFER),
    ],
)
def test_verdicts(body: bytes, verdict: ScanVerdict) -> None:
    assert read_answer(body) == verdict


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"action": "no action"',
        b"[]",
        b"null",
        answer(),
        answer(action=["no action"]),
        answer(action="discard"),
        answer(action="quarantine\r\n"),
    ],
    ids=range(11),
)
def test_anything_else_is_a_failure(body: bytes) -> None:
    with pytest.raises(ScannerFailed, match=r"^answered "):
        read_answer(body)


@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(lambda v: answer(action=v)))
def test_any_octets_are_a_verdict_or_a_failure(body: bytes) -> None:
    with suppress(ScannerFailed):
        assert read_answer(body).result


OK = b"HTTP/1.1 200 OK\r\nServer: x\r\n"
BODY = b'{"action":"no action"}'


@pytest.mark.parametrize("large", [False, True], ids=["in memory", "on disk"])
@pytest.mark.parametrize(
    ("says", "why"),
    [
        (b"", "hung up without a whole answer"),
        (OK, "hung up without a whole answer"),
        (OK + b"Content-Length: 23\r\n\r\n" + BODY, "hung up without a whole answer"),
        (OK + b"Content-Length: 9999999999\r\n\r\n", "answers without end"),
        (OK + b"Content-Length: -1\r\n\r\n", "without a Content-Length"),
        (OK + b"\r\n" + BODY, "without a Content-Length"),
        (OK + b"X: y\r\n" * 50_000, "answers without end"),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "HTTP status 500"),
        (b"220 smtp.example ESMTP\r\n\r\n", "not HTTP"),
        (OK + b"Content-Length: 4\r\n\r\nnull", "without an action"),
    ],
    ids=range(10),
)
async def test_misbehaviour(tmp_path: Path, says: bytes, why: str, *, large: bool) -> None:
    async def misbehave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(says)
        await writer.drain()

    size = 20 * MEMORY_LIMIT if large else 1000
    async with scripted(misbehave) as server:
        scanner = Rspamd(f"http://{server.endpoint}", OURS)
        # With octets of ours unread, its end of the connection is a reset (RFC 1122 §4.2.2.13).
        with (
            drafted(tmp_path, bytes(size)) as message,
            pytest.raises(ScannerFailed, match=f"{why}|connection lost"),
        ):
            await scanner.scan(message, FACTS)


async def test_an_early_answer_counts_and_the_field_in_any_case(tmp_path: Path) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"content-LENGTH:%d \r\nX: y\r\n\r\n" % len(BODY) + BODY + b"more")
        await reader.read(-1)

    async with scripted(say) as server:
        with drafted(tmp_path, bytes(40 * MEMORY_LIMIT)) as message:
            assert await Rspamd(f"http://{server.endpoint}", OURS).scan(message, FACTS) == CLEAN


@pytest.mark.parametrize("large", [False, True], ids=["in memory", "on disk"])
async def test_one_that_hangs_is_cut(tmp_path: Path, *, large: bool) -> None:
    async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    size = 40 * MEMORY_LIMIT if large else 1000
    async with scripted(hang) as server:
        scanner = Rspamd(f"http://{server.endpoint}", OURS)
        scanners = Scanners([scanner], OnFailure.DEFER, timeout=0.2)
        with (
            drafted(tmp_path, bytes(size)) as message,
            pytest.raises(SmtpError, match=r"451 4\.7\.1 .* \[rspamd: no answer within 0.2 s\]"),
        ):
            await scanners.check(message, FACTS)
        await until(lambda: server.ended == 1)


async def test_a_draft_that_cannot_be_read_is_the_stores_fault(tmp_path: Path) -> None:
    async def wait(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async with scripted(wait) as server:
        with pytest.raises(StoreUnavailable, match="cannot read from the blob store"):
            await Rspamd(f"http://{server.endpoint}", OURS).scan(harmed_draft(tmp_path), FACTS)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "https://127.0.0.1:1", "http://127.0.0.1:99999", "http://"]
)
async def test_nobody_there(tmp_path: Path, url: str) -> None:
    with pytest.raises(ScannerFailed, match=r"^cannot connect: "):
        await Rspamd(url, OURS).scan(draft(tmp_path, CLEAN_MESSAGE), FACTS)


async def test_no_tls_where_tls_is_asked_for(tmp_path: Path) -> None:
    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 400 Bad request\r\n\r\n")

    async with scripted(say) as server:
        with pytest.raises(ScannerFailed, match=r"^cannot connect: "):
            await Rspamd(f"https://{server.endpoint}", OURS).scan(draft(tmp_path), FACTS)
