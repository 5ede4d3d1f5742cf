"""DSNs to senders, from the results that the courier records, on both databases.

RFC 3461 §5.2, DOMAIN §9.29, §9.31: failures and delays unless NOTIFY says otherwise, successes if
it asks; never in answer to a report; and never a result recorded without its DSN.
"""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

import relay.dsn.writer
from mailstore.errors import StoreUnavailable
from mailstore.mailboxes.lifecycle import delete_mailbox, set_state
from mailstore.mailboxes.states import MailboxState
from mailstore.sealed.draft import Draft
from relay.queue.attempt_result import attempt_result
from relay.queue.model import new_token
from relay.queue.schema import deliveries
from relay.queue_admin.hold_rules import HoldScope, add_rule
from relay.smtp.failure_reason import FailureReason
from relay.smtp.outcome import Outcome, State
from relay.smtp.parameters import DsnNotify, DsnReturn, MailParameters
from tests.support.clock import NOW
from tests.support.delivery.delivery_store import BODY, CLAIRE, POSTMASTER, RETRY, TO, DeliveryStore

REFUSED = Outcome(State.FAILED, "550 5.1.1 No such mailbox")
LATER = Outcome(State.WAITING, "451 4.3.0 later")


SOON, LATE, OVER = timedelta(seconds=5), timedelta(hours=5), timedelta(days=5)


@pytest.mark.parametrize(
    ("notify", "outcome", "after", "told"),
    [
        ((), REFUSED, SOON, "failed 5.1.1"),
        ((DsnNotify.FAILURE,), REFUSED, SOON, "failed 5.1.1"),
        ((DsnNotify.NEVER,), REFUSED, SOON, ""),
        ((DsnNotify.SUCCESS,), REFUSED, SOON, ""),
        ((), LATER, SOON, ""),
        ((), LATER, LATE, "delayed 4.3.0"),
        ((DsnNotify.FAILURE,), LATER, LATE, ""),
        ((), LATER, OVER, "failed 4.3.0"),
        ((), Outcome(State.DELIVERED, "250 2.0.0 ok"), SOON, ""),
        ((DsnNotify.SUCCESS,), Outcome(State.DELIVERED, "250 2.0.0 ok"), SOON, "relayed 2.1.9"),
        ((DsnNotify.SUCCESS,), Outcome(State.DELIVERED, "250 ok", dsn=True), SOON, ""),
    ],
)
def test_what_the_sender_hears(
    delivery_store: DeliveryStore,
    notify: tuple[DsnNotify, ...],
    outcome: Outcome,
    after: timedelta,
    told: str,
) -> None:
    delivery_store.conclude(delivery_store.send(*notify), {TO: outcome}, after=after)
    found = [
        f"{one['Action']} {one['Status']}"
        for report in delivery_store.mail(CLAIRE)
        for one in report.recipients
    ]
    assert found == ([told] if told else [])
    assert delivery_store.mail(POSTMASTER) == []


def test_where_no_host_answered_it_is_told_at_the_end(delivery_store: DeliveryStore) -> None:
    assert delivery_store.conclude(delivery_store.send(), {}, after=OVER) is State.FAILED
    (report,) = delivery_store.mail(CLAIRE)
    assert report.recipients[0]["Final-Recipient"] == f"rfc822;{TO}"
    assert report.original.startswith(b"From: <claire.martin")
    assert b"SIDA" not in report.original  # only the header section


@pytest.mark.parametrize("size", [100, 300_000])
def test_all_of_it_goes_back_where_that_was_asked_for(
    delivery_store: DeliveryStore, size: int
) -> None:
    # RFC 3461 §4.3; a larger DSN is a file, never whole in memory.
    body = BODY + b"0123456789abcdef\r\n" * (size // 18)
    taken = delivery_store.send(
        body=body, parameters=MailParameters(ret=DsnReturn.FULL, envid="Q1")
    )
    delivery_store.conclude(taken, {TO: REFUSED}, after=SOON)
    (report,) = delivery_store.mail(CLAIRE)
    assert report.original_type == "message/rfc822"
    assert report.original == body
    assert report.message["Original-Envelope-Id"] == "Q1"


def test_the_delay_is_told_once(delivery_store: DeliveryStore) -> None:
    taken = delivery_store.send()
    assert delivery_store.conclude(taken, {TO: LATER}, after=LATE) is State.WAITING
    (row,) = delivery_store.mail(CLAIRE)
    assert row.recipients[0]["Action"] == "delayed"
    (again,) = delivery_store.take(NOW + LATE)
    delivery_store.conclude(again, {TO: LATER}, after=LATE + SOON)
    assert len(delivery_store.mail(CLAIRE)) == 1


def test_a_report_that_failed_is_for_the_postmaster_and_says_nothing_of_the_message(
    delivery_store: DeliveryStore,
) -> None:
    delivery_store.conclude(delivery_store.send(sender=None), {TO: REFUSED}, after=SOON)
    assert delivery_store.mail(CLAIRE) == []
    (notice,) = delivery_store.mail(POSTMASTER)
    assert notice.recipients[0]["Action"] == "failed"
    assert b"secret" not in notice.original


def test_a_sender_that_is_gone_is_the_postmasters_too(delivery_store: DeliveryStore) -> None:
    delivery_store.conclude(
        delivery_store.send(sender="gone@a.mssante.fr"), {TO: REFUSED}, after=SOON
    )
    assert len(delivery_store.mail(POSTMASTER)) == 1


def test_who_has_lost_the_lease_tells_nobody(delivery_store: DeliveryStore) -> None:
    taken = delivery_store.send()
    with delivery_store.store.database.write() as connection:
        connection.execute(update(deliveries).values(lease_token=new_token()))
    assert delivery_store.conclude(taken, {TO: REFUSED}, after=SOON) is None
    assert delivery_store.mail(CLAIRE) == []


def test_a_report_that_cannot_be_written_does_not_stop_the_record(
    delivery_store: DeliveryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("a line of a report is too long")

    monkeypatch.setattr(relay.dsn.writer, "report_of", fail)
    taken = delivery_store.send()
    assert delivery_store.conclude(taken, {TO: REFUSED}, after=SOON) is State.FAILED
    assert delivery_store.mail(CLAIRE) == []
    told = {"message": taken.message_id, "delivery": taken.id}
    assert delivery_store.journal == [("report.error", told)]


def test_a_report_with_a_sender_that_failed_is_the_postmasters(
    delivery_store: DeliveryStore,
) -> None:
    # Forbidden by RFC 8098 §3, but programs do it: the postmaster alone can be notified.
    mdn = b"Content-Type: multipart/report; report-type=disposition-notification; boundary=x\r\n"
    delivery_store.conclude(delivery_store.send(body=mdn + BODY), {TO: REFUSED}, after=SOON)
    assert delivery_store.mail(CLAIRE) == []
    assert len(delivery_store.mail(POSTMASTER)) == 1


def test_another_operators_sender_is_told_by_the_queue(delivery_store: DeliveryStore) -> None:
    delivery_store.conclude(delivery_store.send(sender="x@c.mssante.fr"), {TO: REFUSED}, after=SOON)
    assert delivery_store.mail(POSTMASTER) == []
    (queued,) = delivery_store.take(NOW + SOON)
    assert (queued.sender, queued.recipients) == ("", ("x@c.mssante.fr",))
    assert delivery_store.read(queued.blob).recipients[0]["Status"] == "5.1.1"


@pytest.mark.parametrize("fails", ["open", "prepare"])
def test_where_the_store_fails_nothing_is_left_of_what_was_written(
    delivery_store: DeliveryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    big = BODY + b"0123456789abcdef\r\n" * 20_000
    full = MailParameters(ret=DsnReturn.FULL)
    endings = [
        attempt_result(
            taken, {TO: REFUSED}, error="", reason=FailureReason.REFUSED, now=NOW, policy=RETRY
        )
        for taken in (
            delivery_store.send(body=big, parameters=full),
            delivery_store.send(body=b"A: b\r\n" + big),
        )
    ]
    kept = {path for path in tmp_path.rglob("*") if path.is_file()}
    if fails == "open":
        made = iter([delivery_store.store.blobs.draft()])

        def draft() -> Draft:
            for one in made:
                return one
            raise StoreUnavailable("the disk is full")

        monkeypatch.setattr(delivery_store.store.blobs, "draft", draft)
    else:

        def prepare(_: object) -> None:
            raise StoreUnavailable("the keys are gone")

        monkeypatch.setattr(delivery_store.store.blobs, "prepare", prepare)
    with pytest.raises(StoreUnavailable):
        delivery_store.dsn_writer.compose(endings, NOW)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == kept


def test_that_nobody_can_be_told_is_in_the_journal(delivery_store: DeliveryStore) -> None:
    lonely = replace(delivery_store.dsn_writer, postmaster=None)
    taken = delivery_store.send(sender=None)
    done = attempt_result(
        taken, {TO: REFUSED}, error="no", reason=FailureReason.REFUSED, now=NOW + SOON, policy=RETRY
    )
    assert lonely.compose([done], NOW + SOON) == {}
    assert delivery_store.journal == [("report.nobody_to_tell", {"message": taken.message_id})]


def test_a_report_that_a_rule_holds_is_in_the_journal(delivery_store: DeliveryStore) -> None:
    with delivery_store.store.database.write() as connection:
        add_rule(connection, HoldScope(domain="c.*"), reason="why", author="anne", now=NOW)
    delivery_store.conclude(
        delivery_store.send(sender="dr@c.mssante.fr"), {TO: REFUSED}, after=SOON
    )
    ((event, facts),) = delivery_store.journal
    assert (event, facts["domain"], facts["who"]) == ("queue.held", "c.mssante.fr", "rule")


@pytest.mark.parametrize("state", ["closed", "deleted"])
def test_a_postmasters_mailbox_that_has_ended_gets_no_notice(
    delivery_store: DeliveryStore, state: str
) -> None:
    """Nobody would read it; a deleted mailbox would have content after its erasure."""
    with delivery_store.store.database.write() as connection:
        if state == "closed":
            set_state(connection, POSTMASTER, MailboxState.CLOSED, now=NOW)
        else:
            delete_mailbox(connection, POSTMASTER, reason="x", grace=LATE, now=NOW)
    delivery_store.conclude(delivery_store.send(sender=None), {TO: REFUSED}, after=SOON)
    assert delivery_store.mail(POSTMASTER) == []
    assert [event for event, _ in delivery_store.journal] == ["report.nobody_to_tell"]
