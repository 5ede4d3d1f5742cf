"""Delivery over real TLS, to correct and to faulty peers: nothing is lost."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from relay.client.routing import Router, Target
from relay.policy.admission import AdmissionPolicy
from relay.queue.schema import deliveries
from tests.support.clock import system_clock
from tests.support.delivery.senders import BODY, TRACE, Sender, sending, server_tls
from tests.support.machines.operators import ACTIVE, HOST, SUSPENDED, inbound
from tests.support.sessions.scripted import CLOSE, STALL, ScriptedPeer, running
from tests.support.waiting import until

CLOSED_PORT = 1  # no server listens there


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Sender]:
    with sending(tmp_path / "b") as made:
        yield made


@pytest.fixture
def peer_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "peer"
    folder.mkdir()
    return folder


async def test_a_message_arrives_byte_for_byte(sender: Sender, peer_folder: Path) -> None:
    # DOMAIN §9.23, §9.24, §9.27, §9.28: unchanged except trace fields on top, over mutual TLS.
    async with inbound(peer_folder) as peer:
        sender.queue(ACTIVE)
        await sender.deliver(peer.port)
        (entry,) = peer.entries(ACTIVE)
        assert peer.body(entry) == TRACE + BODY
        assert entry.message.sender == "dr@b.mssante.fr"
        assert entry.message.peer.startswith("CN=smtp.b.mssante.fr,OU=1750000002,")
    assert sender.queued() == []


async def test_a_large_message_streams(sender: Sender, peer_folder: Path) -> None:
    body = BODY + b"".join(b"%d %s\r\n" % (n, b".x" * 30) for n in range(12_000))
    async with inbound(peer_folder, policy=AdmissionPolicy(2_000_000)) as peer:
        sender.queue(ACTIVE, body=body)
        await sender.deliver(peer.port)
        (entry,) = peer.entries(ACTIVE)
        assert peer.body(entry) == TRACE + body


async def test_each_recipient_has_its_own_outcome(sender: Sender, peer_folder: Path) -> None:
    async with inbound(peer_folder) as peer:
        sender.queue(ACTIVE, "nobody@a.mssante.fr", SUSPENDED)
        await sender.deliver(peer.port)
        assert len(peer.entries(ACTIVE)) == 1
    (row,) = sender.queued()
    assert row.state == "waiting"
    assert row.recipients == ("nobody@a.mssante.fr", SUSPENDED)
    assert "5.1.1" in row.last_error


async def test_our_certificate_is_shown(sender: Sender, peer_folder: Path) -> None:
    async with running(server_tls("a", peer_folder)) as peer:
        sender.queue(ACTIVE)
        await sender.deliver(peer.port)
    (shown,) = peer.certificates
    assert shown is not None
    facts = sender.trust_state.identify(shown, "", "").certificate
    assert facts is not None
    assert facts.subject.common_name == "smtp.b.mssante.fr"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("c", "not listed for a.mssante.fr"),  # listed, but for another domain
        ("intruder", "not listed for a.mssante.fr"),
        ("expired", "expired"),
        ("revoked", "revoked"),
        ("foreign_a", "TLS failed"),  # the right name, from another authority
    ],
)
async def test_a_server_that_may_not_have_it_hears_nothing(
    sender: Sender, peer_folder: Path, name: str, says: str
) -> None:
    # DOMAIN §9.27: no envelope, no content, no clear text; the message waits.
    async with running(server_tls(name, peer_folder)) as peer:
        sender.queue(ACTIVE)
        await sender.deliver(peer.port)
    assert not [line for line in peer.received if line.startswith(("MAIL", "RCPT", "DATA"))]
    (row,) = sender.queued()
    assert (row.state, row.attempts) == ("waiting", 1)
    assert says in row.last_error


async def test_without_starttls_nothing_is_said(sender: Sender) -> None:
    async with running(ScriptedPeer(None)) as peer:
        sender.queue(ACTIVE)
        await sender.deliver(peer.port)
    assert [line.split()[0] for line in peer.received] == ["EHLO"]
    (row,) = sender.queued()
    assert "no STARTTLS" in row.last_error


@pytest.mark.parametrize("name", ["", " "])
@pytest.mark.parametrize("first", ["STARTTLS", "SIZE 50000000"])
async def test_a_reply_to_ehlo_without_a_name_hides_no_offer(
    sender: Sender, peer_folder: Path, name: str, first: str
) -> None:
    clear = ("SIZE 50000000", "STARTTLS") if first != "STARTTLS" else ("STARTTLS", "PIPELINING")
    said = tuple(
        "\r\n".join([f"250-{name}", *(f"250-{one}" for one in offers[:-1]), f"250 {offers[-1]}"])
        for offers in (clear, ("8BITMIME", "PIPELINING"))
    )
    scripted = replace(server_tls("a", peer_folder), replies={"EHLO": said})
    async with running(scripted) as peer:
        sender.queue(ACTIVE)
        await sender.deliver(peer.port)
    assert sender.queued() == []
    (mail,) = (line for line in peer.received if line.startswith("MAIL"))
    assert mail == "MAIL FROM:<dr@b.mssante.fr> BODY=8BITMIME"


@pytest.mark.parametrize(
    ("replies", "state", "says"),
    [
        ({"connect": "421 4.3.2 full"}, "waiting", "421"),
        ({"connect": "554 go away"}, "waiting", "554"),
        ({"EHLO": CLOSE}, "waiting", "127.0.0.1"),
        ({"STARTTLS": "454 4.7.0 not now"}, "waiting", "TLS failed"),
        ({"STARTTLS": CLOSE}, "waiting", "TLS failed"),
        ({"MAIL": "451 4.7.1 no list"}, "waiting", "451 4.7.1 no list"),
        ({"MAIL": "550 5.7.1 not you"}, "failed", "550 5.7.1 not you"),
        ({"MAIL": CLOSE}, "waiting", "127.0.0.1"),
        ({"RCPT": "450 4.2.1 later"}, "waiting", "450 4.2.1 later"),
        ({"RCPT": "550 5.1.1 who"}, "failed", "550 5.1.1 who"),
        ({"RCPT": CLOSE}, "waiting", "127.0.0.1"),
        ({"DATA": "451 4.3.0 disk"}, "waiting", "451 4.3.0 disk"),
        ({"DATA": "554 5.6.0 no"}, "failed", "554 5.6.0 no"),
        ({"DATA": CLOSE}, "waiting", "127.0.0.1"),
        ({".": "452 4.3.1 full"}, "waiting", "452 4.3.1 full"),
        ({".": "552 5.3.4 big"}, "failed", "552 5.3.4 big"),
        ({".": CLOSE}, "waiting", "127.0.0.1"),
        ({".": "hello"}, "waiting", "127.0.0.1"),
    ],
    ids=lambda value: (
        "-".join(f"{k}:{v[:3]}" for k, v in value.items()) if isinstance(value, dict) else ""
    ),
)
async def test_a_peer_in_trouble(
    sender: Sender, peer_folder: Path, replies: dict[str, str], state: str, says: str
) -> None:
    scripted = server_tls("a", peer_folder)
    async with running(replace(scripted, replies=replies)) as peer:
        sender.queue(ACTIVE)
        await sender.deliver(peer.port)
    (row,) = sender.queued()
    assert (row.state, row.attempts) == (state, 1)
    assert says in row.last_error
    assert row.recipients == (ACTIVE,)


async def test_a_late_quit_changes_nothing(sender: Sender, peer_folder: Path) -> None:
    async with running(replace(server_tls("a", peer_folder), replies={"QUIT": CLOSE})) as peer:
        sender.queue(ACTIVE)
        await sender.deliver(peer.port)
    assert len(peer.messages) == 1
    assert sender.queued() == []


async def test_smtputf8_is_never_downgraded(sender: Sender, peer_folder: Path) -> None:
    # RFC 6531 §3.2: a peer without SMTPUTF8 does not get the message.
    scripted = replace(server_tls("a", peer_folder), offers=("SIZE 1000", "8BITMIME"))
    async with running(scripted) as peer:
        sender.queue("hélène@a.mssante.fr", smtputf8=True)
        await sender.deliver(peer.port)
    assert peer.messages == []
    (row,) = sender.queued()
    assert row.state == "failed"
    assert "5.6.7" in row.last_error


async def test_smtputf8_is_passed_on(sender: Sender, peer_folder: Path) -> None:
    async with running(server_tls("a", peer_folder)) as peer:
        sender.queue("hélène@a.mssante.fr", smtputf8=True)
        await sender.deliver(peer.port)
    mail = next(line for line in peer.received if line.startswith("MAIL"))
    assert mail.startswith("MAIL FROM:<dr@b.mssante.fr> SIZE=")
    assert mail.endswith("BODY=8BITMIME SMTPUTF8")
    assert "RCPT TO:<hélène@a.mssante.fr>" in peer.received


async def test_a_dead_host_is_passed_over(
    sender: Sender, peer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def both(_router: Router, domain: str) -> list[Target]:
        assert domain == "a.mssante.fr"
        return [Target("127.0.0.1", CLOSED_PORT), Target("127.0.0.1", peer.port)]

    monkeypatch.setattr(Router, "targets", both)
    async with inbound(peer_folder) as peer:
        sender.queue(ACTIVE)
        await sender.deliver(peer.port)
        assert len(peer.entries(ACTIVE)) == 1


async def test_a_stalled_conversation_ends_with_the_courier(
    sender: Sender, peer_folder: Path
) -> None:
    # A stop aborts attempts that do not end; the next start frees the lease.
    async with running(replace(server_tls("a", peer_folder), replies={".": STALL})) as peer:
        sender.queue(ACTIVE)
        stop = asyncio.Event()
        courier = sender.courier({"a.mssante.fr": Target("127.0.0.1", peer.port)})
        task = asyncio.create_task(courier.run(stop))
        await until(lambda: bool(peer.messages))
        stop.set()
        courier.cancel()
        await task
    (row,) = sender.queued()
    assert (row.state, row.attempts) == ("waiting", 1)


async def test_who_takes_no_work_tries_and_gives_up_nothing(
    sender: Sender, peer_folder: Path
) -> None:
    # A machine that lost its name, or whose clock is wrong.
    asked, works = 0, False

    def takes_work() -> bool:
        nonlocal asked
        asked += 1
        return works

    async with inbound(peer_folder) as peer:
        sender.queue(ACTIVE)
        sender.queue("nobody@a.mssante.fr")
        overdue = sender.queued()[1].id
        with sender.store.database.write() as connection:
            long_ago = system_clock() - timedelta(days=30)
            row = deliveries.c.id == overdue
            connection.execute(update(deliveries).where(row).values(created_at=long_ago))
        stop, routes = asyncio.Event(), {"a.mssante.fr": Target(HOST, peer.port)}
        courier = sender.courier(routes, takes_work=takes_work)
        running_courier = asyncio.create_task(courier.run(stop))
        await until(lambda: asked > 20)
        assert [(row.state, row.attempts) for row in sender.queued()] == [("waiting", 0)] * 2
        works = True
        await until(lambda: [row.state for row in sender.queued()] == ["failed"])
        assert len(peer.entries(ACTIVE)) == 1
        stop.set()
        await running_courier
