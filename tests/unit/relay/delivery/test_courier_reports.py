"""DSNs of a whole courier to senders and postmaster, on both databases.

A DSN that cannot be delivered has no sender to notify, so the postmaster gets a notice (RFC 3461
§5.2, RFC 5321 §4.5.5).
"""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import dns.asyncresolver
import pytest
from sqlalchemy import update

from foundation.journal.writer import Journal
from mailstore.mailboxes.mailboxes import get_mailbox
from relay.acceptance.group_commit import commit
from relay.acceptance.message import AcceptedMessage, LocalRecipient
from relay.client.routing import Router
from relay.delivery.in_flight import Progress
from relay.delivery.manager import DeliveryConfig, DeliveryManager, DeliveryServices
from relay.dsn.receipt import receipt_of
from relay.queue.model import Claim
from relay.queue.schema import deliveries
from relay.queue_admin.actions import run_action
from relay.queue_admin.drop import DropAction
from relay.queue_admin.filter import DeliveryFilter
from relay.smtp.address import parse_address
from relay.smtp.errors import AttemptFailed
from relay.smtp.failure_reason import FailureReason
from relay.smtp.outcome import Outcome, State
from relay.smtp.parameters import DsnNotify, RcptParameters
from tests.support.clock import NOW, system_clock
from tests.support.delivery.delivery_store import BODY, CLAIRE, POSTMASTER, RETRY, TO, DeliveryStore
from tests.support.delivery.queued import rows
from tests.support.machines.operators import trust_space
from tests.support.machines.perimeters import trust_state
from tests.support.waiting import until

AWAY = "dr@b.mssante.fr"
REFUSED = Outcome(State.FAILED, "550 5.1.1 No such mailbox")


class CourierWithReports:
    """A delivery store and a courier; peers that all give the same reply; time stands still."""

    def __init__(self, folder: Path, delivery_store: DeliveryStore, poll: float = 0.005) -> None:
        space = trust_space()
        self.delivery_store = delivery_store
        self.now = NOW
        self.tried: list[Claim] = []
        self.answer: Outcome | None = None
        self.journal = Journal(folder / "trace", system_clock)
        services = DeliveryServices(
            store=delivery_store.store,
            trust_state=trust_state(
                folder, space.white_list, space.trust, system_clock, crls=space.crls
            ),
            router=Router({}, dns.asyncresolver.Resolver(configure=False), random.Random(1)),
            tls=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            journal=self.journal,
            clock=lambda: self.now,
            randomness=random.Random(1),
        )
        settings = DeliveryConfig(
            *("smtp.a.mssante.fr", "node:1", RETRY),
            poll=poll,
            postmaster=parse_address(POSTMASTER),
        )
        self.manager = DeliveryManager(services, settings, self.deliver)

    async def deliver(self, claim: Claim, progress: Progress) -> Mapping[str, Outcome]:
        progress.step("answer")
        self.tried.append(claim)
        if self.answer is None:
            raise AttemptFailed(FailureReason.CONNECTION, f"{claim.domain} is down")
        return dict.fromkeys(claim.recipients, self.answer)

    def receive(self) -> str:
        """Receive mail for Claire with a request for a receipt; return the receipt's id."""
        store = self.delivery_store.store
        with store.database.read() as connection:
            mailbox = get_mailbox(connection, CLAIRE)
        draft = store.blobs.draft()
        draft.write(BODY)
        asked = RcptParameters(frozenset({DsnNotify.SUCCESS}))
        message = AcceptedMessage(
            id=self.delivery_store.new_id(),
            session="0" * 32,
            peer="CN=smtp.b.mssante.fr",
            sender=parse_address(AWAY),
            received_at=NOW,
            trace=b"",
            draft=draft,
            local=(LocalRecipient(mailbox.id, parse_address(CLAIRE), asked),),
        )
        header = BODY.partition(b"\r\n\r\n")[0] + b"\r\n"
        new_draft = store.blobs.draft
        report = receipt_of(
            message, header, "smtp.a.mssante.fr", NOW, self.delivery_store.new_id, new_draft
        )
        assert report is not None
        assert commit(store, [(message, report)], NOW) == [None]
        return report.id

    def states(self) -> list[str]:
        return [row.state for row in rows(self.delivery_store.store.database).values()]


@pytest.fixture
def courier(tmp_path: Path, delivery_store: DeliveryStore) -> Iterator[CourierWithReports]:
    made = CourierWithReports(tmp_path, delivery_store)
    yield made
    made.journal.close()


@asynccontextmanager
async def running(courier: CourierWithReports) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(courier.manager.run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


@pytest.mark.parametrize("given_up", [False, True], ids=["refused", "given-up"])
async def test_a_receipt_that_its_sender_never_gets_is_the_postmasters(
    courier: CourierWithReports, given_up: bool
) -> None:
    receipt_id = courier.receive()
    courier.answer = None if given_up else REFUSED
    async with running(courier):
        if given_up:
            await until(lambda: bool(courier.tried))
            courier.now += RETRY.life + timedelta(hours=1)
        await until(lambda: courier.states() == ["failed"])
    assert {(one.message_id, one.sender, one.recipients) for one in courier.tried} == {
        (receipt_id, "", (AWAY,))
    }
    (notice,) = courier.delivery_store.mail(POSTMASTER)
    assert receipt_id in notice.words
    (lost,) = notice.recipients
    assert (lost["Final-Recipient"], lost["Action"]) == (f"rfc822;{AWAY}", "failed")
    assert lost["Status"] == ("4.4.1" if given_up else "5.1.1")
    assert notice.original == b""  # no part of the message


async def test_a_report_that_reaches_nobody_ends_there(courier: CourierWithReports) -> None:
    # Our DSN to another operator's sender fails too: two messages, no third.
    courier.delivery_store.queue(sender=AWAY, recipients=("x@c.mssante.fr",))
    courier.answer = REFUSED
    async with running(courier):
        await until(lambda: courier.states() == ["failed", "failed"])
    assert [one.recipients for one in courier.tried] == [("x@c.mssante.fr",), (AWAY,)]
    assert len(courier.delivery_store.mail(POSTMASTER)) == 1


async def test_the_sender_hears_of_what_was_relayed(courier: CourierWithReports) -> None:
    # DOMAIN §3.3: our accusé de réception if the peer sends none.
    courier.delivery_store.queue(DsnNotify.SUCCESS)
    courier.answer = Outcome(State.DELIVERED, "250 2.0.0 ok")
    async with running(courier):
        await until(lambda: courier.states() == [])
    (report,) = courier.delivery_store.mail(CLAIRE)
    assert (report.recipients[0]["Final-Recipient"], report.recipients[0]["Action"]) == (
        *(f"rfc822;{TO}", "relayed"),
    )
    assert courier.delivery_store.mail(POSTMASTER) == []


async def test_the_report_on_what_is_dropped_leaves_at_once(
    tmp_path: Path, delivery_store: DeliveryStore
) -> None:
    courier = CourierWithReports(tmp_path, delivery_store, poll=600)
    courier.answer = Outcome(State.DELIVERED, "250 2.0.0 ok")
    delivery_store.queue(sender=AWAY, recipients=("x@c.mssante.fr",))
    with delivery_store.store.database.write() as connection:
        connection.execute(update(deliveries).values(held="why"))
    async with running(courier):
        delivery_store.queue()
        await until(lambda: len(courier.states()) == 1)  # from now on the courier is idle

        def drop() -> None:
            act = DropAction(delivery_store.dsn_writer)
            (done,) = run_action(delivery_store.store.database, act, DeliveryFilter(), lambda: NOW)
            assert len(done.changed) == 1

        await asyncio.to_thread(drop)
        await until(lambda: len(courier.tried) == 2 and not courier.states())
    assert (courier.tried[-1].sender, courier.tried[-1].recipients) == ("", (AWAY,))
    courier.journal.close()


async def test_the_report_on_what_failed_leaves_at_once(
    tmp_path: Path, delivery_store: DeliveryStore
) -> None:
    courier = CourierWithReports(tmp_path, delivery_store, poll=600)
    courier.answer = REFUSED
    delivery_store.queue(sender=AWAY, recipients=("x@c.mssante.fr",))
    async with running(courier):
        await until(lambda: courier.states() == ["failed", "failed"])
    assert [one.recipients for one in courier.tried] == [("x@c.mssante.fr",), (AWAY,)]
    courier.journal.close()
