"""Mailboxes that nobody uses: listed, warned, suspended, kept (DOMAIN U1.2)."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from mailstore.accounts.endings import MailboxEnded
from mailstore.db.database import Database
from mailstore.db.schema import mailboxes
from mailstore.errors import InvalidState
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.mailboxes.lifecycle import delete_mailbox, set_state
from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.mailboxes.states import InboundMail, MailboxState
from mailstore.rights.inactivity import (
    UnusedMailbox,
    due_mailboxes,
    keep_mailbox,
    lock_unused,
    note_warning,
    suspend_unused,
    unused_mailboxes,
)
from mailstore.rights.inactivity_ladder import LadderPolicy, LadderStep
from tests.support.clock import NOW
from tests.support.people import house
from tests.support.people.house import House

POLICY = LadderPolicy()
DAY = timedelta(days=1)


@pytest.fixture
def home(database: Database) -> House:
    with database.write() as conn:
        return house.build(conn)


def unused(database: Database, since: datetime, **more: object) -> list[UnusedMailbox]:
    with database.read() as conn:
        return unused_mailboxes(conn, since, **more)  # type: ignore[arg-type]  # as it was called


def use(database: Database, address: str, at: datetime) -> None:
    with database.write() as conn:
        conn.execute(
            update(mailboxes).where(mailboxes.c.address == address).values(last_login_at=at)
        )


def test_mailboxes_are_listed_by_their_last_use(database: Database, home: House) -> None:
    since = NOW + 270 * DAY
    use(database, house.PER, since + DAY)
    use(database, house.CAB, since)
    with database.write() as conn:
        # A resumption is a use: somebody asked for it.
        set_state(conn, house.APP, MailboxState.SUSPENDED, now=NOW)
        set_state(conn, house.APP, MailboxState.ACTIVE, now=since + DAY)
        delete_mailbox(conn, house.ABROAD, reason="départ", grace=DAY, now=NOW)
    found = unused(database, since)
    assert [(one.address, one.facts.used_at) for one in found] == [
        (house.CAB, since),
        (house.ORG, NOW),
    ]
    assert unused(database, NOW - DAY) == []
    assert [one.address for one in unused(database, since, limit=1)] == [house.CAB]
    assert [one.address for one in unused(database, since, after=house.CAB)] == [house.ORG]
    assert [one.address for one in unused(database, since, types=[MailboxType.CAB])] == [house.CAB]
    assert unused(database, since, tenant_id=home.tenants["clinique"]) == []


def test_the_whole_ladder(database: Database, home: House) -> None:
    box = home.mailboxes[house.ORG]
    at = NOW
    for number in (1, 2):
        with database.write() as conn:
            found = lock_unused(conn, box)
            step = found.next_step(POLICY)
            assert (step.step, due_mailboxes([found], POLICY, step.due - DAY)) == (
                LadderStep.WARN,
                [],
            )
            at = step.due
            assert due_mailboxes([found], POLICY, at) == [found]
            assert note_warning(conn, found, at) == number
    with database.write() as conn:
        found = lock_unused(conn, box)
        at = found.next_step(POLICY).due
        assert at == NOW + 365 * DAY
        assert suspend_unused(conn, found, at) == MailboxEnded(mailbox=box, at=at, closed=False)
        mailbox = get_mailbox(conn, house.ORG)
        assert (mailbox.state, mailbox.inbound) == (MailboxState.SUSPENDED, InboundMail.REFUSE)
        assert mailbox.state_reason == f"unused since {NOW:%Y-%m-%d}"
        found = lock_unused(conn, box)
        last = found.next_step(POLICY)
        assert (last.step, last.due) == (LadderStep.DELETE, NOW + 395 * DAY)
        assert due_mailboxes([found], POLICY, last.due + DAY) == []  # a person's act
        with pytest.raises(InvalidState, match="is suspended"):
            suspend_unused(conn, found, at)


def test_a_log_in_after_a_warning_begins_anew(database: Database, home: House) -> None:
    box = home.mailboxes[house.PER]
    with database.write() as conn:
        note_warning(conn, lock_unused(conn, box), NOW + 270 * DAY)
    use(database, house.PER, NOW + 271 * DAY)
    with database.write() as conn:
        found = lock_unused(conn, box)
        assert found.facts.valid_warnings == 0
        assert found.next_step(POLICY).due == NOW + (271 + 270) * DAY
        assert note_warning(conn, found, NOW + 600 * DAY) == 1


def test_a_holder_may_object(database: Database, home: House) -> None:
    box = home.mailboxes[house.PER]
    until = NOW + 500 * DAY
    with database.write() as conn:
        note_warning(conn, lock_unused(conn, box), NOW + 270 * DAY)
        kept = keep_mailbox(conn, box, until, "congé parental", now=NOW + 280 * DAY)
        step = kept.next_step(POLICY)
        assert (step.step, step.due, kept.kept_reason) == (
            *(LadderStep.WARN, until, "congé parental"),
        )
        with pytest.raises(InvalidState, match="is past"):
            keep_mailbox(conn, box, NOW, "x", now=NOW)
        delete_mailbox(conn, house.PER, reason="départ", grace=DAY, now=NOW)
        with pytest.raises(InvalidState, match="is deleted"):
            keep_mailbox(conn, box, until, "x", now=NOW)
        with pytest.raises(InvalidState, match="is deleted"):
            lock_unused(conn, box)
