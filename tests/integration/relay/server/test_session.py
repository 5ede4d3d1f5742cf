"""The session as a whole: its journal lines, its receipts, its guards."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from foundation.journal.search import Event, find
from mailstore.blobs.bodies import SMALL
from mailstore.mailboxes.lifecycle import delete_mailbox, set_state
from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.mailboxes.states import MailboxState
from mailstore.messages.messages import get_message, list_entries
from mailstore.sealed.draft import Draft
from relay.acceptance.disk_guard import FreeSpaceFloor
from relay.connection.limits import SessionLimits
from relay.policy.admission import AdmissionPolicy
from relay.policy.header_from import HeaderFromPolicy
from relay.scan.on_failure import OnFailure
from relay.scan.scanner import CLEAN, DEFER, ScanFacts, Scanners, ScanVerdict, infected
from relay.server import end_of_data
from relay.smtp.address import parse_address
from tests.support.clock import system_clock
from tests.support.delivery.listed import DeliverySummary, listing
from tests.support.delivery.reports import read_report
from tests.support.machines.operators import ACTIVE, SUSPENDED, Inbound, inbound, trust_space
from tests.support.machines.perimeters import adopt
from tests.support.sessions.talking import call, dial
from tests.support.storage.blobs import folder
from tests.support.waiting import until
from whitelist.pki.distinguished_name import DistinguishedName

ORG = "cardiologie@a.mssante.fr"
SECRET = b"From: <dr@b.mssante.fr>\r\nSubject: le secret\r\n\r\nSIDA\r\n"


def events(folder: Path, session: str) -> list[Event]:
    """The journal's events of a session; call it after the journal is closed."""
    return list(find(folder / "trace", session, system_clock(), timedelta(days=6)).events)


def session_of(reply: str) -> str:
    """The session named in a refusal."""
    return reply.rpartition("[session ")[2].removesuffix("]")


def queued(server: Inbound) -> list[DeliverySummary]:
    with server.store.database.read() as connection:
        return listing(connection, 100)


# The journal (DOMAIN §9.59).


async def test_everything_of_a_session_is_in_the_journal(tmp_path: Path) -> None:
    async with inbound(tmp_path) as server:
        caller = await call(server)
        session = session_of(await caller.say("FLY"))
        accepted = await caller.send(body=SECRET)
        refusal = await caller.say("MAIL FROM:<dr@c.mssante.fr>")
        await caller.say("QUIT")
        caller.close()
        await until(lambda: not server.context.connection_counts.sessions)
    found = events(tmp_path, session)
    assert [event.name for event in found] == [
        *("session.opened", "tls.started", "refused", "accepted", "refused", "session.closed")
    ]
    opened, tls, _, message, refused, closed = (event.facts for event in found)
    assert opened["address"] == "127.0.0.1"
    assert tls["version"] == "TLSv1.3"
    assert tls["chain"] == "trusted"
    name = DistinguishedName.from_certificate(trust_space().operators["b"].certificate)
    assert tls["peer"] == str(name)
    assert message["message"] == accepted.rpartition(" ")[2]
    assert message["recipients"] == [ACTIVE]
    assert message["size"] == len(SECRET)
    assert session_of(refusal) == session
    assert refused["rule"] == "sender"
    assert "c.mssante.fr is listed with CN=smtp.c.mssante.fr" in refused["detail"]
    assert (closed["messages"], closed["ended_by"]) == (1, "quit")
    written = b"".join(path.read_bytes() for path in (tmp_path / "trace").rglob("*.jsonl"))
    assert b"secret" not in written
    assert b"SIDA" not in written


async def test_a_failed_handshake_is_in_the_journal(tmp_path: Path) -> None:
    async with inbound(tmp_path) as server:
        caller = await dial(server)
        await caller.hear()
        session = session_of(await caller.say("FLY"))
        await caller.say("STARTTLS")
        caller.writer.write(b"this is not TLS\r\n" * 10)
        await caller.reader.read()
        caller.close()
        await until(lambda: not server.context.connection_counts.sessions)
    names = [event.name for event in events(tmp_path, session)]
    assert names == ["session.opened", "refused", "tls.failed", "session.closed"]


async def test_a_foreign_author_is_noted_and_let_through(tmp_path: Path) -> None:
    # DOMAIN §9.18: header_from = "tag"
    policy = AdmissionPolicy(100_000, HeaderFromPolicy.TAG)
    async with inbound(tmp_path, policy=policy) as server:
        caller = await call(server)
        session = session_of(await caller.say("FLY"))
        accepted = await caller.send(body=b"From: <x@gmail.com>, <y@b.mssante.fr>\r\n\r\n")
        assert accepted.startswith("250 ")
        caller.close()
        await until(lambda: not server.context.connection_counts.sessions)
    (tagged,) = (e for e in events(tmp_path, session) if e.name == "header_from.foreign")
    assert tagged.facts["domains"] == ["gmail.com"]
    assert tagged.facts["message"] == accepted.rpartition(" ")[2]


@pytest.mark.parametrize("asked_for", ["b", "c"])
async def test_a_transcript_is_kept_of_the_peer_asked_for(tmp_path: Path, asked_for: str) -> None:
    name = DistinguishedName.from_certificate(trust_space().operators[asked_for].certificate)
    async with inbound(tmp_path, debug_peers=frozenset({name})) as server:
        caller = await call(server)
        session = session_of(await caller.say("FLY"))
        await caller.send(body=SECRET)
        await caller.begin()
        caller.writer.write(b"BDAT %d LAST\r\n%s" % (len(SECRET), SECRET))
        await caller.hear()
        await caller.say("QUIT")
        caller.close()
        await until(lambda: not server.context.connection_counts.sessions)
    kept = [e.facts["lines"] for e in events(tmp_path, session) if e.name == "transcript"]
    if asked_for == "c":
        assert kept == []
        return
    lines = [line for part in kept for line in part]
    text = "\n".join(lines)
    assert lines[0].startswith("S: 220 smtp.a.mssante.fr ")
    assert "C: STARTTLS" in lines
    assert any(line.startswith("-- TLSv1.3 TLS_") for line in lines)
    assert f"C: RCPT TO:<{ACTIVE}>" in lines
    assert lines.count(f"-- {len(SECRET)} octets of the message") == 2
    assert lines[-2:] == ["C: QUIT", "S: 221 2.0.0 Bye"]
    assert "secret" not in text
    assert "SIDA" not in text


# Receipts (RFC 3461, DOMAIN §9.29).


async def test_a_receipt_is_queued_with_the_message(tmp_path: Path) -> None:
    async with inbound(tmp_path) as server:
        caller = await call(server)
        accepted = await caller.send(
            f"<{ACTIVE}> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Claire+2BX@a.mssante.fr",
            f"<{ORG}> NOTIFY=FAILURE",
            sender="<dr@b.mssante.fr> ENVID=QQ+2B1 RET=HDRS",
            body=SECRET,
        )
        assert accepted.startswith("250 2.0.0 ")
        caller.close()
        (row,) = queued(server)
        assert (row.domain, row.recipients, row.sender) == (
            "b.mssante.fr",
            ("dr@b.mssante.fr",),
            "",
        )
        with server.store.database.read() as connection:
            message = get_message(connection, row.message_id).message
        with server.store.blobs.open(message.blob) as stored:
            report = read_report(stored.read())
        assert len(server.entries(ACTIVE)) == len(server.entries(ORG)) == 1
    assert report.message["Original-Envelope-Id"] == "QQ+1"
    assert report.message["Reporting-MTA"] == "dns; smtp.a.mssante.fr"
    (about,) = report.recipients
    assert about["Final-Recipient"] == f"rfc822;{ACTIVE}"
    assert about["Original-Recipient"] == "rfc822;Claire+X@a.mssante.fr"
    assert (about["Action"], about["Status"]) == ("delivered", "2.1.5")
    assert b"Subject: le secret" in report.original
    assert b"SIDA" not in report.original


@pytest.mark.parametrize(
    ("sender", "notify"),
    [("<>", "SUCCESS"), ("<dr@b.mssante.fr>", "NEVER"), ("<dr@b.mssante.fr>", "FAILURE,DELAY")],
)
async def test_nobody_who_did_not_ask_gets_a_receipt(
    tmp_path: Path, sender: str, notify: str
) -> None:
    # RFC 3461 §5.2: never in answer to the null reverse-path
    async with inbound(tmp_path) as server:
        caller = await call(server)
        said = await caller.send(f"<{ACTIVE}> NOTIFY={notify}", sender=sender)
        assert said.startswith("250 2.0.0 ")
        caller.close()
        assert queued(server) == []


# Guards.


async def test_a_disk_nearly_full_puts_mail_off(tmp_path: Path) -> None:
    async with inbound(tmp_path, floor=FreeSpaceFloor(2**62, 0)) as server:
        caller = await call(server)
        said = await caller.say("MAIL FROM:<dr@b.mssante.fr>")
        assert said.startswith("452 4.3.1 Mail store is nearly full, try again later (rule spool)")
        caller.close()


async def test_a_store_that_failed_takes_no_more_until_it_is_well(tmp_path: Path) -> None:
    async with inbound(tmp_path) as server:
        caller = await call(server)
        tmp = folder(server.store.blobs) / "tmp"
        aside = tmp.rename(tmp.with_name("aside"))
        with capture_logs():
            large = b"From: <dr@b.mssante.fr>\r\n\r\n" + b"x\r\n" * SMALL
            assert (await caller.send(body=large)).startswith("451 4.3.0 ")
            assert (await caller.say("MAIL FROM:<dr@b.mssante.fr>")).startswith("451 4.3.0 ")
            watch = asyncio.create_task(server.context.disk_guard.watch(0.05))
            assert (await caller.say("MAIL FROM:<dr@b.mssante.fr>")).startswith("451 4.3.0 ")
            aside.rename(tmp)
            await until(lambda: server.context.disk_guard.state == "well")
            watch.cancel()
        assert (await caller.send()).startswith("250 2.0.0 ")
        caller.close()


async def test_a_body_that_cannot_be_written_is_read_to_its_end(tmp_path: Path) -> None:
    async with inbound(tmp_path) as server:
        caller = await call(server)
        await caller.begin()
        await caller.say("DATA")
        tmp = folder(server.store.blobs) / "tmp"
        aside = tmp.rename(tmp.with_name("aside"))
        caller.writer.write(b"0123456789\r\n" * 60_000 + b".\r\nNOOP\r\n")
        assert (await caller.hear()).startswith("451 4.3.0 Mail store unavailable")
        assert (await caller.hear()).startswith("250 2.0.0 ")
        assert server.context.disk_guard.state == "unwell"
        aside.rename(tmp)
        caller.close()


class Answers:
    """A scanner with a fixed answer, that records the facts shown to it."""

    name = "test"

    def __init__(self, verdict: ScanVerdict) -> None:
        self.verdict = verdict
        self.shown: list[tuple[bytes, ScanFacts]] = []

    async def probe(self) -> None:
        pass

    async def scan(self, draft: Draft, facts: ScanFacts) -> ScanVerdict:
        self.shown.append((b"".join(draft.chunks()), facts))
        return self.verdict


@pytest.mark.parametrize(
    ("verdict", "reply"),
    [
        (CLEAN, "250 2.0.0 "),
        (infected("Eicar"), "554 5.7.1 Content refused by test: Eicar (rule scan) [session "),
        (DEFER, "451 4.7.1 "),
    ],
)
async def test_a_scanner_sees_the_message_before_it_is_accepted(
    tmp_path: Path, verdict: ScanVerdict, reply: str
) -> None:
    # DOMAIN §9.25
    scanner = Answers(verdict)
    scanners = Scanners([scanner], OnFailure.DEFER, 5)
    async with inbound(tmp_path, scanners=scanners) as server:
        caller = await call(server)
        said = await caller.send(body=SECRET)
        assert said.startswith(reply)
        assert (await caller.say("NOOP")).startswith("250")
        caller.close()
        ((octets, facts),) = scanner.shown
        assert octets == SECRET
        assert (facts.sender, facts.recipients) == ("dr@b.mssante.fr", (ACTIVE,))
        assert len(server.entries(ACTIVE)) == (verdict is CLEAN)
        assert list((folder(server.store.blobs) / "tmp").iterdir()) == []


async def test_a_message_to_one_mailbox_by_two_names_arrives_once(tmp_path: Path) -> None:
    async with inbound(tmp_path, limits=SessionLimits(max_recipients=2)) as server:
        caller = await call(server)
        said = await caller.send(f"<{ACTIVE}>", f"<{ACTIVE.upper()}>", f"<{ORG}>")
        assert said.startswith("250 2.0.0 ")
        caller.close()
        assert len(server.entries(ACTIVE)) == len(server.entries(ORG)) == 1


async def test_recipients_that_are_pipelined_are_looked_up_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with inbound(tmp_path) as server:
        asked: list[int] = []
        ask = server.context.recipient_lookup._ask

        def counted(questions: list[object]) -> object:
            asked.append(len(questions))
            return ask(questions)  # type: ignore[arg-type]  # passed on unchanged

        monkeypatch.setattr(server.context.recipient_lookup, "_ask", counted)
        caller = await call(server)
        await caller.say("MAIL FROM:<dr@b.mssante.fr>")
        named = [ACTIVE, "nobody@a.mssante.fr", ORG, "no address", "x@gmail.com", ACTIVE.upper()]
        lines = "".join(f"RCPT TO:<{one}>\r\n" for one in named)
        caller.writer.write(f"{lines}RSET\r\nRCPT TO:<{SUSPENDED}>\r\nNOOP\r\n".encode())
        replies = [(await caller.hear())[:9] for _ in range(9)]
        assert replies == [
            "250 2.1.5",
            "550 5.1.1",
            "250 2.1.5",
            "553 5.1.3",
            "550 5.7.1",
            "250 2.1.5",
            "250 2.0.0",
            "503 5.5.1",
            "250 2.0.0",
        ]
        # All at once, and the refused ones once more each; commands after RSET never.
        assert asked[0] == 5
        assert len(asked) == 3
        caller.close()


async def test_who_was_let_in_is_judged_anew_when_anything_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # DOMAIN §9.12, §9.17: an open session neither avoids a new list nor reaches another domain.
    async with inbound(tmp_path) as server:
        caller = await call(server)
        for _ in range(2):
            assert (await caller.send()).startswith("250 2.0.0 ")
        assert (await caller.say("MAIL FROM:<dr@c.mssante.fr>")).startswith("550 5.7.1 ")
        assert (await caller.say("MAIL FROM:<dr@b.mssante.fr> SIZE=99999999")).startswith("552 ")
        with monkeypatch.context() as patch:
            patch.setattr(server.context.trust_state, "_loaded", None)
            patch.setattr(server.context.trust_state, "_problem", "it is gone")
            assert (await caller.say("MAIL FROM:<dr@b.mssante.fr>")).startswith("451 4.7.1 ")
        assert (await caller.send()).startswith("250 2.0.0 ")
        space = trust_space()
        without_b = space.space.sign_list({"a.mssante.fr": space.operators["a"]})
        adopt(tmp_path, without_b, space.trust, system_clock())
        server.context.trust_state.load()
        assert (await caller.say("MAIL FROM:<dr@b.mssante.fr>")).startswith("554 5.7.1 ")
        caller.close()


@pytest.mark.parametrize("act", ["closed", "deleted"])
async def test_a_mailbox_that_ends_while_a_slow_message_arrives_gets_it_not(
    tmp_path: Path, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer keeps the message, and learns at its next RCPT which recipient is gone."""
    async with inbound(tmp_path) as server:
        caller = await call(server)

        async def send(meanwhile: str) -> str:
            await caller.begin(f"<{ORG}>", f"<{ACTIVE}>")
            assert (await caller.say("DATA")).startswith("354 ")
            with server.store.database.write() as connection:
                if meanwhile == "deleted":
                    grace, now = timedelta(days=1), system_clock()
                    delete_mailbox(connection, ORG, reason="x", grace=grace, now=now)
                if meanwhile == "closed":
                    set_state(connection, ORG, MailboxState.CLOSED, now=system_clock())
            caller.writer.write(SECRET + b".\r\n")
            return await caller.hear()

        monkeypatch.setattr(end_of_data, "RECHECK_SECONDS", 0.0)  # any message is slow
        assert (await send("")).startswith("250 ")
        assert (await send(act)).startswith("451 4.2.1 A recipient's mailbox was closed meanwhile")
        with server.store.database.read() as connection:
            for address in (ORG, ACTIVE):
                box = get_mailbox(connection, address)
                assert len(list_entries(connection, box.id)) == 1
        await until(lambda: server.context.recipient_lookup.cached(parse_address(ORG)) is None)
        assert (await caller.say("MAIL FROM:<dr@b.mssante.fr>")).startswith("250 ")
        refused = "550 5.2.1 " if act == "closed" else "550 5.1.1 "
        assert (await caller.say(f"RCPT TO:<{ORG}>")).startswith(refused)
        caller.close()
