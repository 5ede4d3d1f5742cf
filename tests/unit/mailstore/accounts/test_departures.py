"""Messages that a person had taken are free once the person's access ends."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import Connection, select

from mailstore.accounts.accounts import suspend_account
from mailstore.accounts.closing import close_account
from mailstore.accounts.departures import count_assignments, end_assignments
from mailstore.accounts.endings import (
    AccountEnded,
    AssignmentEnded,
    Ending,
    GrantEnded,
    MailboxEnded,
    MembershipEnded,
)
from mailstore.accounts.groups import add_group, add_member, remove_group, remove_member
from mailstore.db.database import Database
from mailstore.db.schema import mailboxes
from mailstore.db.team_schema import message_assignments
from mailstore.folders.lock import lock_mailbox
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.rights import grants
from mailstore.rights.mailbox_endings import end_access
from mailstore.teams.assignments import take
from mailstore.teams.model import WorkState
from mailstore.teams.work import states_of
from tests.support.clock import NOW
from tests.support.people.accounts import box, grant
from tests.support.people.teams import Team, deliver, make_team, message_id, modseqs

HOUR = timedelta(hours=1)
HERE, PAULS, THERE = map(message_id, (1, 2, 3))


class Departures:
    """Claire has a message here and one in another mailbox; Paul has one here."""

    def __init__(self, conn: Connection) -> None:
        self.team: Team = make_team(conn)
        self.other = box(conn, "urgences@chu.mssante.fr", MailboxType.ORG).id
        self.group = add_group(conn, self.team.tenant, "bloc", now=NOW)
        deliver(conn, self.team.mailbox, 1, 2, folder=self.team.inbox)
        deliver(conn, self.other, 3)
        for mailbox, message, account in (
            (self.team.mailbox, HERE, self.team.claire),
            (self.team.mailbox, PAULS, self.team.paul),
            (self.other, THERE, self.team.claire),
        ):
            take(lock_mailbox(conn, mailbox), message, account, now=NOW, until=NOW + 2 * HOUR)

    def granted(self, conn: Connection, account: int | None, group: int | None = None) -> int:
        mailbox = conn.execute(mailboxes.select().where(mailboxes.c.id == self.team.mailbox)).one()
        return grant(conn, mailbox, account, group)  # type: ignore[arg-type] # its id is enough

    def end(self, conn: Connection, how: str) -> Sequence[Ending]:
        later = NOW + HOUR
        if how == "account":
            return close_account(conn, "claire", "départ", now=later)[1]
        if how == "mailbox":
            return end_access(conn, self.team.mailbox, later).endings
        if how == "grant":
            number = self.granted(conn, self.team.claire)
            return grants.end(conn, number, later)[1]
        add_member(conn, self.group, "claire", now=NOW)
        number = self.granted(conn, None, self.group.id)
        if how == "member":
            return remove_member(conn, self.group, "claire", now=later)[1]
        if how == "group":
            return remove_group(conn, self.group, now=later)
        return grants.end(conn, number, later)[1]


def taken(conn: Connection) -> set[str]:
    return set(conn.scalars(select(message_assignments.c.message_id)))


@pytest.mark.parametrize(
    ("how", "left"),
    [
        ("account", {PAULS}),
        ("mailbox", {THERE}),
        ("grant", {PAULS, THERE}),
        ("member", {PAULS, THERE}),
        ("group", {PAULS, THERE}),
        ("grant of the group", {PAULS, THERE}),
    ],
)
def test_what_ends_frees_the_messages_and_no_others(
    database: Database, how: str, left: set[str]
) -> None:
    with database.write() as conn:
        world = Departures(conn)
    before = modseqs(database, HERE)[2]
    with database.write() as conn:
        endings = world.end(conn, how)
        assert taken(conn) == left
        team = world.team
        assert states_of(conn, team.mailbox, [HERE], NOW)[HERE].state is WorkState.OPEN
    freed = {one.message: one for one in endings if isinstance(one, AssignmentEnded)}
    assert set(freed) == {HERE, PAULS, THERE} - left
    assert freed[HERE] == AssignmentEnded(
        mailbox=team.mailbox, message=HERE, account=team.claire, at=NOW + HOUR
    )
    assert count_assignments(endings) == len(freed)
    assert modseqs(database, HERE)[0] == before + 1


def test_a_suspended_account_keeps_its_messages_until_their_end(database: Database) -> None:
    with database.write() as conn:
        Departures(conn)
        suspend_account(conn, "claire", "congé", now=NOW)
        assert taken(conn) == {HERE, PAULS, THERE}


def test_an_ending_of_thousands_is_one_act(database: Database) -> None:
    """A group of a hospital; SQLite takes no expression of a thousand alternatives."""
    later = NOW + HOUR
    with database.write() as conn:
        house = Departures(conn)
        add_member(conn, house.group, "claire", now=NOW)
        house.granted(conn, None, house.group.id)
        many = range(10_000, 13_000)
        group = house.group.id
        endings: list[Ending] = [
            *(MembershipEnded(account=one, group=group, at=later) for one in many),
            MembershipEnded(account=house.team.claire, group=group, at=later),
            *(
                GrantEnded(grant=one, mailbox=one, account=None, group=group, at=later)
                for one in many
            ),
        ]
        ended = end_assignments(conn, endings, later)
        assert [one.message for one in ended] == [HERE]
        assert taken(conn) == {PAULS, THERE}
        # Of a mailbox with as many grants, and of an account.
        mailbox, account = house.team.mailbox, house.team.claire
        all_grants = [
            GrantEnded(grant=one, mailbox=one, account=account, group=None, at=later)
            for one in many
        ] + [
            GrantEnded(grant=one, mailbox=mailbox, account=one, group=None, at=later)
            for one in many
        ]
        end_assignments(
            conn,
            [
                MailboxEnded(mailbox=mailbox, at=later, closed=True),
                AccountEnded(account=account, at=later, closed=True),
                *all_grants,
            ],
            later,
        )
        assert taken(conn) == set()
