"""Late mail goes back to its sender: 250 was given, and nobody reads the mailbox any more."""

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from foundation.journal.writer import Journal
from mailstore.audit.trail import AuditTrail
from mailstore.db.database import Database
from mailstore.mailboxes.erasure import erase_batch
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.mailboxes.lifecycle import delete_mailbox, restore_mailbox, set_state
from mailstore.mailboxes.mailboxes import add_mailbox, get_mailbox
from mailstore.mailboxes.states import MailboxState
from mailstore.messages.messages import list_entries
from mssante_operator.jobs.mailboxes.late_mail import LOOK_BACK, LateMail
from relay.acceptance.group_commit import commit
from relay.acceptance.message import AcceptedMessage, LocalRecipient
from relay.smtp.address import parse_address
from tests.support.audit.trails import audit_keys, rows
from tests.support.clock import NOW
from tests.support.delivery.delivery_store import BODY, CLAIRE, RPPS, DeliveryStore
from tests.support.delivery.listed import listing

GONE, ALIAS = "parti@a.mssante.fr", "ancien@a.mssante.fr"
SOON = NOW + timedelta(seconds=1)
GRACE = timedelta(days=30)


@dataclass
class Place:
    """A store with a mailbox that is about to end."""

    world: DeliveryStore
    job: LateMail

    @property
    def database(self) -> Database:
        return self.world.store.database

    def deliver(self, at: datetime, *to: str, sender: str | None = CLAIRE) -> str:
        draft = self.world.store.blobs.draft()
        draft.write(BODY)
        with self.database.read() as conn:
            ids = {one: get_mailbox(conn, GONE if one == ALIAS else one).id for one in to}
        message = AcceptedMessage(
            id=self.world.new_id(),
            session="0" * 32,
            peer="CN=b",
            sender=parse_address(sender) if sender else None,
            received_at=at,
            trace=b"",
            draft=draft,
            local=tuple(LocalRecipient(ids[one], parse_address(one)) for one in to),
        )
        assert commit(self.world.store, [(message, None)], at) == [None]
        return message.id

    def held(self, address: str) -> list[str]:
        with self.database.read() as conn:
            found = list_entries(conn, get_mailbox(conn, address).id)
        return [entry.message.id for entry in found]

    def end(self, state: str, at: datetime = NOW) -> None:
        with self.database.write() as conn:
            if state == "deleted":
                delete_mailbox(conn, GONE, reason="x", grace=GRACE, now=at)
            else:
                set_state(conn, GONE, MailboxState.CLOSED, reason="x", now=at)


@pytest.fixture
def place(tmp_path: Path, database: Database) -> Place:
    world = DeliveryStore(tmp_path, database)
    with database.write() as conn:
        add_mailbox(conn, GONE, MailboxType.PER, RPPS, now=NOW)
    journal = Journal(tmp_path / "trace", lambda: NOW)
    trail = AuditTrail(audit_keys(tmp_path))
    return Place(world, LateMail(world.store, world.dsn_writer, trail, journal, lambda: SOON))


@pytest.mark.parametrize("state", ["deleted", "closed"])
def test_late_mail_goes_back_and_what_came_before_stays(place: Place, state: str) -> None:
    before = place.deliver(NOW - timedelta(seconds=1), GONE)
    place.end(state)
    late = place.deliver(SOON, ALIAS)
    assert place.held(GONE) == [before, late]
    assert place.job.round() == 1
    assert place.held(GONE) == [before]
    (report,) = place.world.mail(CLAIRE)
    (told,) = report.recipients
    assert (told["Final-Recipient"], told["Action"], told["Status"]) == (
        *(f"rfc822;{ALIAS}", "failed", "5.2.1"),
    )
    assert b"le secret" in report.original
    assert b"SIDA" not in report.original
    (row,) = rows(place.database)
    assert (row["event"], row["mailbox"], row["message"]) == ("mailbox.late_mail", GONE, late)
    assert set(json.loads(row["facts"])) == {"report"}
    # Once, and no other look finds it.
    assert place.job.round() == 0


def test_another_operators_sender_is_told_by_the_queue(place: Place) -> None:
    place.end("deleted")
    place.deliver(SOON, GONE, sender="dr@b.mssante.fr")
    assert place.job.round() == 1
    with place.database.read() as conn:
        assert [one.domain for one in listing(conn, 10)] == ["b.mssante.fr"]


def test_the_mailbox_that_lives_on_keeps_its_copy(place: Place) -> None:
    place.end("deleted")
    both = place.deliver(SOON, GONE, CLAIRE, sender="dr@b.mssante.fr")
    assert place.job.round() == 1
    assert (place.held(GONE), place.held(CLAIRE)) == ([], [both])


def test_what_has_no_sender_stays(place: Place) -> None:
    place.end("closed")
    report = place.deliver(SOON, GONE, sender=None)
    assert place.job.round() == 0
    assert place.held(GONE) == [report]


def test_nothing_is_given_back_by_a_clock_in_doubt_or_long_after(place: Place) -> None:
    place.end("deleted")
    late = place.deliver(SOON, GONE)
    assert replace(place.job, in_doubt=lambda: True).round() == 0
    afterwards = NOW + LOOK_BACK + timedelta(seconds=1)
    assert replace(place.job, clock=lambda: afterwards).round() == 0
    assert place.held(GONE) == [late]


@pytest.mark.parametrize("act", ["restored", "erased"])
def test_what_was_restored_or_erased_meanwhile_is_left_alone(
    place: Place, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.end("deleted")
    late = place.deliver(SOON, GONE)
    compose = type(place.world.dsn_writer).compose_late

    def meanwhile(*given: object) -> object:
        with place.database.write() as conn:
            if act == "restored":
                restore_mailbox(conn, GONE, reason="x", now=SOON)
            else:
                erase_batch(conn, get_mailbox(conn, GONE).id, NOW + GRACE)
        return compose(*given)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(type(place.world.dsn_writer), "compose_late", meanwhile)
    assert place.job.round() == 0
    assert place.held(GONE) == ([late] if act == "restored" else [])
    assert place.world.mail(CLAIRE) == []
