"""Dropped deliveries are gone, on both databases, and their DSNs are there at the same moment."""

from collections.abc import Sequence
from datetime import datetime

import pytest
from sqlalchemy import Connection, update

import relay.dsn.receipt
from mailstore.db.database import Database
from mailstore.mailboxes.lifecycle import set_state
from mailstore.mailboxes.states import MailboxState
from relay.dsn.writer import DsnWriter, Report
from relay.queue.model import Claim, Lease
from relay.queue.schema import deliveries, delivery_recipients
from relay.queue_admin.actions import ActionBatch, ChangedDelivery, run_action
from relay.queue_admin.drop import REPORTS, DropAction
from relay.queue_admin.filter import DeliveryFilter, DeliveryStatus
from relay.smtp.parameters import DsnNotify, DsnReturn, MailParameters
from tests.support.clock import NOW
from tests.support.delivery.delivery_store import BODY, CLAIRE, POSTMASTER, TO, DeliveryStore
from tests.support.delivery.queued import Letter, perform, put, recipient_states, rows

HELD = Letter(held="before")
FAILED = Letter(state="failed")


def drop(delivery_store: DeliveryStore) -> list[str]:
    """Drop all; returns the ids of the DSNs, '' for none."""
    done = run_action(
        delivery_store.store.database,
        DropAction(delivery_store.dsn_writer),
        DeliveryFilter(),
        lambda: NOW,
    )
    return [one.report for each in done for one in each.changed]


def test_rows_are_deleted(database: Database) -> None:
    kept, *dropped = put(database, Letter(domain="c.mssante.fr"), Letter(), HELD, FAILED)
    assert perform(database, DropAction(), DeliveryFilter(domain="b.mssante.fr")) == (dropped, 0)
    assert list(rows(database)) == [kept]
    assert recipient_states(database) == [(kept, "waiting")]


def test_the_sender_hears_that_it_was_taken_out_and_not_why(delivery_store: DeliveryStore) -> None:
    delivery_store.queue(parameters=MailParameters(envid="Q1"))
    with delivery_store.store.database.write() as connection:
        connection.execute(update(deliveries).values(held="secret motive", last_error="450 later"))
    (told,) = drop(delivery_store)
    assert rows(delivery_store.store.database) == {}
    (report,) = delivery_store.mail(CLAIRE)
    assert report.header["Message-ID"] == f"<{told}@smtp.a.mssante.fr>"
    assert report.header["From"] == "<postmaster@a.mssante.fr>"
    assert report.message["Original-Envelope-Id"] == "Q1"
    assert report.recipients == [
        {"Final-Recipient": f"rfc822;{TO}", "Action": "failed", "Status": "5.0.0"}
    ]
    assert "L'administrateur de votre messagerie a retiré ce message de l'envoi." in report.words
    assert "The administrator of your mail system took this message out" in report.words
    assert "motive" not in report.words
    assert report.original == BODY.partition(b"\r\n\r\n")[0] + b"\r\n"
    assert delivery_store.mail(POSTMASTER) == []


@pytest.mark.parametrize(
    ("notify", "told"),
    [
        ((DsnNotify.FAILURE,), 1),
        ((DsnNotify.SUCCESS, DsnNotify.FAILURE), 1),
        ((DsnNotify.NEVER,), 0),
        ((DsnNotify.SUCCESS,), 0),
        ((DsnNotify.DELAY,), 0),
    ],
)
def test_who_asked_for_no_failures_hears_nothing(
    delivery_store: DeliveryStore, notify: tuple[DsnNotify, ...], told: int
) -> None:
    delivery_store.queue(*notify)
    assert list(map(bool, drop(delivery_store))) == [bool(told)]
    assert rows(delivery_store.store.database) == {}
    assert len(delivery_store.mail(CLAIRE)) == told


def test_all_of_it_goes_back_where_that_was_asked_for(delivery_store: DeliveryStore) -> None:
    body = BODY + b"0123456789abcdef\r\n" * 20_000  # a file, never in memory
    delivery_store.queue(body=body, parameters=MailParameters(ret=DsnReturn.FULL))
    drop(delivery_store)
    (report,) = delivery_store.mail(CLAIRE)
    assert report.original == body


@pytest.mark.parametrize("sender", [None, "gone@a.mssante.fr"])
def test_nobody_hears_where_there_is_no_sender(
    delivery_store: DeliveryStore, sender: str | None
) -> None:
    # Nor to the postmaster, who has dropped it.
    delivery_store.queue(sender=sender)
    assert drop(delivery_store) == [""]
    assert rows(delivery_store.store.database) == {}
    assert delivery_store.mail(CLAIRE) + delivery_store.mail(POSTMASTER) == []


def test_no_report_answers_a_report(delivery_store: DeliveryStore) -> None:
    mdn = b"Content-Type: multipart/report; report-type=disposition-notification; boundary=x\r\n"
    delivery_store.queue(body=mdn + BODY)
    assert drop(delivery_store) == [""]
    assert delivery_store.mail(CLAIRE) + delivery_store.mail(POSTMASTER) == []


def test_another_operators_sender_is_told_by_the_queue(delivery_store: DeliveryStore) -> None:
    # A DSN queued by the action is not dropped by it, although the filter covers everything.
    delivery_store.queue(sender="x@c.mssante.fr")
    (told,) = drop(delivery_store)
    (row,) = rows(delivery_store.store.database).values()
    assert (row.message_id, row.domain, row.sender, row.state) == (
        *(told, "c.mssante.fr", "", "waiting"),
    )
    (taken,) = delivery_store.take()
    assert taken.recipients == ("x@c.mssante.fr",)
    report = delivery_store.read(taken.blob)
    assert report.header["From"] == "<postmaster@a.mssante.fr>"
    assert report.recipients[0]["Final-Recipient"] == f"rfc822;{TO}"


def test_a_closed_mailbox_gets_nothing(delivery_store: DeliveryStore) -> None:
    delivery_store.queue()
    with delivery_store.store.database.write() as connection:
        set_state(connection, CLAIRE, MailboxState.CLOSED)
    assert drop(delivery_store) == [""]


def test_only_those_are_told_of_who_still_wait(delivery_store: DeliveryStore) -> None:
    delivery_store.queue(recipients=("x@b.mssante.fr", "y@b.mssante.fr", "z@b.mssante.fr"))
    r = delivery_recipients.c
    with delivery_store.store.database.write() as connection:
        for address, state in (("x", "delivered"), ("y", "failed")):
            connection.execute(
                update(delivery_recipients)
                .where(r.address == f"{address}@b.mssante.fr")
                .values(state=state)
            )
    drop(delivery_store)
    (report,) = delivery_store.mail(CLAIRE)
    assert [one["Final-Recipient"] for one in report.recipients] == ["rfc822;z@b.mssante.fr"]


def test_what_failed_was_told_already(delivery_store: DeliveryStore) -> None:
    delivery_store.queue()
    with delivery_store.store.database.write() as connection:
        connection.execute(update(deliveries).values(state="failed"))
    assert drop(delivery_store) == [""]
    assert delivery_store.mail(CLAIRE) == []


def test_a_report_that_cannot_be_kept_leaves_the_delivery(
    delivery_store: DeliveryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery_store.queue()
    keep = DsnWriter.insert

    def fail(
        dsn_writer: DsnWriter, connection: Connection, reports: Sequence[Report], now: datetime
    ) -> None:
        keep(dsn_writer, connection, reports, now)
        raise RuntimeError("no room")

    monkeypatch.setattr(DsnWriter, "insert", fail)
    with pytest.raises(RuntimeError, match="no room"):
        drop(delivery_store)
    assert len(rows(delivery_store.store.database)) == 1
    assert delivery_store.mail(CLAIRE) == []


def test_what_no_report_can_be_written_of_is_left_alone(
    delivery_store: DeliveryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery_store.queue()
    delivery_store.queue(DsnNotify.NEVER)

    def fail(*_: object, **__: object) -> None:
        raise ValueError("a line of a report is too long")

    monkeypatch.setattr(relay.dsn.receipt, "build_report", fail)
    assert drop(delivery_store) == [""]
    assert list(rows(delivery_store.store.database)) == [1]


def test_what_was_tried_since_its_report_is_left_alone(
    delivery_store: DeliveryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery_store.queue()
    delivery_store.queue()
    prepare = DsnWriter.compose_dropped

    def slow(
        dsn_writer: DsnWriter, claims: Sequence[Claim], now: datetime
    ) -> dict[Lease, Report | None]:
        found = prepare(dsn_writer, claims, now)
        with delivery_store.store.database.write() as connection:
            connection.execute(update(deliveries).where(deliveries.c.id == 1).values(attempts=2))
        return found

    monkeypatch.setattr(DsnWriter, "compose_dropped", slow)
    assert len(drop(delivery_store)) == 1
    assert list(rows(delivery_store.store.database)) == [1]
    assert len(delivery_store.mail(CLAIRE)) == 1


def test_reports_prepared_for_some_deliveries_are_theirs_alone(
    delivery_store: DeliveryStore,
) -> None:
    # The action has no state: another transaction may be prepared before the first.
    delivery_store.queue()
    delivery_store.queue()
    act, database = DropAction(delivery_store.dsn_writer), delivery_store.store.database
    first, _ = (act.prepare(database, [number], NOW) for number in (1, 2))
    row = rows(database)[1]
    touched = [ChangedDelivery(row.id, row.message_id, row.domain, DeliveryStatus.WAITING)]
    with database.write() as connection:
        (gone,) = act.apply(ActionBatch(connection, touched, NOW, first))
    assert gone.report
    assert list(rows(database)) == [2]
    assert len(delivery_store.mail(CLAIRE)) == 1


def test_transactions_are_small_where_there_are_reports(delivery_store: DeliveryStore) -> None:
    assert DropAction(delivery_store.dsn_writer).batch == REPORTS < DropAction().batch
