"""Delivery and the white list: without a list mail waits; only by the newest list it fails."""

import asyncio
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import dns.asyncresolver
import pytest

from relay.client.routing import NoRoute, Router, Target
from relay.delivery.attempt import SmtpDelivery
from relay.delivery.in_flight import Progress
from relay.machines.shared_list import ListOffer, publish
from relay.policy.tls import client_context
from relay.queue.leases import load_claims
from relay.queue.list_wakeup import NO_LIST, NOT_CERTAIN, ListWakeup
from relay.smtp.errors import AttemptFailed
from tests.support.clock import system_clock
from tests.support.delivery.queued import destination
from tests.support.delivery.senders import Sender, sending, server_tls
from tests.support.machines.operators import ACTIVE, HOST, trust_space
from tests.support.machines.perimeters import trust_state
from tests.support.sessions.scripted import running
from whitelist.national.archive import Archive
from whitelist.national.newest import ConfirmedList

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


async def test_without_a_list_the_queue_is_held(sender: Sender, peer_folder: Path) -> None:
    # DOMAIN §3.3: mail waits, without attempt or failure.
    empty = sender.folder / "empty"
    empty.mkdir()
    sender.trust_state = trust_state(empty, b"", trust_space().trust, system_clock)
    stop = asyncio.Event()
    async with running(server_tls("a", peer_folder)) as peer:
        sender.queue(ACTIVE)
        courier = sender.courier({"a.mssante.fr": Target("127.0.0.1", peer.port)})
        task = asyncio.create_task(courier.run(stop))
        await asyncio.sleep(0.2)  # twenty polls of the queue
        stop.set()
        await task
    assert peer.received == []
    assert [row.attempts for row in sender.queued()] == [0]


async def test_a_list_that_is_lost_in_between_ends_an_attempt_before_it_connects(
    sender: Sender, peer_folder: Path
) -> None:
    # A courier checks the list before it leases a delivery; the list may vanish after that.
    empty = sender.folder / "empty"
    empty.mkdir()
    space = trust_space()
    listless = trust_state(empty, b"", space.trust, system_clock)
    context = client_context(space.identity("b", sender.folder), space.trust)
    sender.queue(ACTIVE)
    async with running(server_tls("a", peer_folder)) as peer:
        routes = {"a.mssante.fr": Target(HOST, peer.port)}
        router = Router(routes, dns.asyncresolver.Resolver(configure=False), random.Random(1))
        handing = SmtpDelivery(
            "smtp.b.mssante.fr", sender.store, listless, router, lambda: context, system_clock
        )
        with sender.store.database.read() as connection:
            (claim,) = load_claims(connection, "node:1", [sender.queued()[0].id])
        with pytest.raises(AttemptFailed, match=NO_LIST) as failed:
            await handing.deliver(claim, Progress("session"))
        await handing.close()
    assert (failed.value.reason, failed.value.permanent) == ("not-listed", False)
    assert peer.received == []


def confirm(sender: Sender, at: datetime) -> None:
    """Note a check that found the list in force to be the newest."""
    archive, snapshot = Archive(sender.folder / "whitelist"), sender.trust_state.snapshot
    assert snapshot.loaded is not None
    archive.note_confirmed(ConfirmedList(snapshot.loaded.digest, at))
    sender.trust_state.load()


async def test_a_domain_that_left_the_list_fails(sender: Sender, peer_folder: Path) -> None:
    # DOMAIN §3.3: as at submission; DSN at once, not after five days.
    async with running(server_tls("a", peer_folder)) as peer:
        for _ in range(3):
            sender.queue("x@gone.mssante.fr")
        confirm(sender, system_clock() + timedelta(minutes=1))  # well after the message
        await sender.deliver(peer.port)
    assert peer.received == []
    assert [(row.state, row.attempts) for row in sender.queued()] == [("failed", 1)] * 3
    assert {row.last_error for row in sender.queued()} == {
        "gone.mssante.fr is not on the white list"
    }
    assert {one["reason"] for one in sender.attempts()} == {"not-listed"}


async def test_nothing_fails_by_a_list_that_may_be_older_than_the_message(
    sender: Sender, peer_folder: Path
) -> None:
    # The fault was: 17 of 20 messages for a new domain failed for good.
    archive = Archive(sender.folder / "whitelist")
    async with running(server_tls("a", peer_folder)) as peer:
        for _ in range(20):
            sender.queue("x@new.mssante.fr")
        confirm(sender, system_clock() - timedelta(seconds=1))
        asked = archive.wanted_stamp()
        await sender.deliver(peer.port)
    rows = sender.queued()
    assert [(row.state, row.attempts) for row in rows] == [("waiting", 1)] * 20
    assert all(row.last_error.startswith(NOT_CERTAIN) for row in rows)
    # The destination is not at fault: machines with the newer list deliver to it as before.
    assert destination(sender.store.database, "new.mssante.fr") is None
    # A deciding check is requested; after it, the waiting mail is due.
    assert archive.wanted_stamp() != asked
    waking = ListWakeup(sender.store.database, system_clock)
    waking._next()  # without its work at the start
    sender.trust_state.on_confirmed = waking.note_newest
    confirm(sender, system_clock() + timedelta(minutes=1))
    assert waking.wake() == 20
    async with running(server_tls("a", peer_folder)) as peer:
        await sender.deliver(peer.port, attempts=2)
    assert [row.state for row in sender.queued()] == ["failed"] * 20


async def test_nothing_fails_by_a_list_older_than_another_machines(
    sender: Sender, peer_folder: Path
) -> None:
    # The database is asked before mail fails for good, even after this machine's own check.
    now = system_clock()
    snapshot = sender.trust_state.snapshot
    assert snapshot.loaded is not None
    newer = ListOffer("0" * 64, snapshot.loaded.generated_at + timedelta(seconds=1), b"x")
    with sender.store.database.write() as connection:
        publish(connection, newer, now)
    async with running(server_tls("a", peer_folder)) as peer:
        sender.queue("x@new.mssante.fr")
        confirm(sender, now + timedelta(minutes=1))
        await sender.deliver(peer.port)
    (row,) = sender.queued()
    assert (row.state, row.last_error.startswith(NOT_CERTAIN)) == ("waiting", True)


async def test_where_the_list_gives_a_route_no_mx_record_is_final_without_it(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The operator of a domain has a route, but yesterday's list does not have the domain yet.
    async def null_mx(_router: Router, domain: str) -> list[Target]:
        raise NoRoute(f"{domain} takes no mail (null MX, RFC 7505)", permanent=True)

    monkeypatch.setattr(Router, "targets", null_mx)
    for follows, state in ((True, "waiting"), (False, "failed")):
        monkeypatch.setattr(Router, "follows_list", follows)
        sender.queue(ACTIVE)
        await sender.deliver({"a.mssante.fr": Target(HOST, CLOSED_PORT)})
        assert sender.queued()[-1].state == state
    confirm(sender, system_clock() + timedelta(minutes=1))
    monkeypatch.setattr(Router, "follows_list", True)
    sender.retry()
    await sender.deliver({"a.mssante.fr": Target(HOST, CLOSED_PORT)}, attempts=2)
    assert {row.state for row in sender.queued()} == {"failed"}
