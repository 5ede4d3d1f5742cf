"""Acts of a team: permitted, done and recorded as one."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from foundation.journal.writer import Journal
from mailstore.audit.event import AuditActor, Door
from mailstore.audit.trail import AuditTrail
from mailstore.blobs.bodies import Bodies
from mailstore.blobs.file_store import FileBlobStore
from mailstore.blobs.store import Store
from mailstore.credentials.proof import Method
from mailstore.db.database import Database
from mailstore.db.team_schema import message_assignments, message_notes, message_work
from mailstore.errors import InvalidState, NotFound
from mailstore.rights import grants
from mailstore.rights.grants import Grantee
from mailstore.rights.model import Period, Right, RightsPolicy
from mailstore.teams.model import AlreadyTaken, NotTaken, WorkState
from mailstore.teams.notes import list_notes
from mssante_operator.assembly.storage import row_seal
from mssante_operator.services import team_acts
from mssante_operator.services.acts import Act
from mssante_operator.services.permission import NotAllowed
from tests.support.audit.trails import audit_keys, rows
from tests.support.clock import NOW
from tests.support.people import house
from tests.support.people.house import House
from tests.support.people.proofs import shown
from tests.support.people.teams import deliver, message_id
from tests.support.storage.blobs import form

HOUR = timedelta(hours=1)
ONE = message_id(1)
ACTS, MANAGES = frozenset({Right.READ, Right.ACT}), frozenset({Right.READ, Right.MANAGE})
READS = frozenset({Right.READ})


class World:
    """Acts on the mailbox ORG with a message, by accounts with rights, at a time of the test."""

    def __init__(self, database: Database, home: House, store: Store, folder: Path) -> None:
        self.database, self.home, self.store = database, home, store
        self.now = NOW
        self.trail = AuditTrail(audit_keys(folder))
        self.journal = Journal(folder, lambda: self.now)

    def by(self, login: str | None) -> Act:
        """An act of an account, or of the Unix user."""
        account = None if login is None else self.home.accounts[login]
        actor = AuditActor(account=login, unix_user="root", door=Door.WEB)
        proof = None if account is None else replace(shown(Method.OIDC, 2), account=account)
        return Act(
            self.store,
            actor,
            self.trail,
            self.journal,
            lambda: self.now,
            RightsPolicy(),
            proof,
        )

    def events(self) -> list[tuple[str, str | None, str | None]]:
        """Event, actor and subject of each audit row, in the order of the trail."""
        return [(row["event"], row["account"], row["subject"]) for row in rows(self.database)]

    def counted(self) -> list[int]:
        """Numbers of assignments, states and notes."""
        tables = (message_assignments, message_work, message_notes)
        with self.database.read() as conn:
            return [
                conn.execute(select(func.count()).select_from(table)).scalar_one()
                for table in tables
            ]


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    with database.write() as conn:
        home = house.build(conn)
        for login, rights in (
            ("sec.durand", ACTS),
            ("ide.petit", ACTS),
            ("dr.martin", MANAGES),
        ):
            grantee = Grantee(home.accounts[login], login, 1)
            box = home.mailboxes[house.ORG]
            grants.give(conn, box, 1, grantee, rights, Period(NOW), given_by="root")
        deliver(conn, home.mailboxes[house.ORG], 1)
    blobs = FileBlobStore(tmp_path / "blobs", form("encrypted", tmp_path))
    store = Store(Bodies(blobs, database, lambda: NOW), database)
    with closing(blobs):
        made = World(database, home, store, tmp_path)
        yield made
        made.journal.close()


def test_a_message_is_taken_handed_over_and_released(world: World) -> None:
    taken = team_acts.take_message(world.by("sec.durand"), house.ORG, ONE, HOUR)
    assert (taken.account_id, taken.until) == (world.home.accounts["sec.durand"], NOW + HOUR)
    with pytest.raises(AlreadyTaken):
        team_acts.take_message(world.by("ide.petit"), house.ORG, ONE)
    given = team_acts.hand_over(world.by("sec.durand"), house.ORG, ONE, "ide.petit")
    assert given.until == NOW + team_acts.USUAL_TIME
    team_acts.release_message(world.by("ide.petit"), house.ORG, ONE)
    assert world.events() == [
        ("message.taken", "sec.durand", None),
        ("message.handed_over", "sec.durand", "ide.petit"),
        ("message.released", "ide.petit", None),
    ]
    row = rows(world.database)[0]
    assert (row["mailbox"], row["message"]) == (house.ORG, ONE)


def test_a_manager_releases_any_and_a_member_does_not(world: World) -> None:
    team_acts.take_message(world.by("sec.durand"), house.ORG, ONE)
    with pytest.raises(NotAllowed):
        team_acts.force_release(world.by("ide.petit"), house.ORG, ONE)
    assert world.counted()[0] == 1
    team_acts.force_release(world.by("dr.martin"), house.ORG, ONE)
    with pytest.raises(NotTaken):
        team_acts.force_release(world.by(None), house.ORG, ONE)
    assert world.events() == [
        ("message.taken", "sec.durand", None),
        ("act.refused", "ide.petit", None),
        ("message.released", "dr.martin", "sec.durand"),
    ]


def test_states_are_set(world: World) -> None:
    made = team_acts.set_work_state(world.by("sec.durand"), house.ORG, ONE, WorkState.WAITING)
    assert (made.state, made.account_id) == (
        WorkState.WAITING,
        world.home.accounts["sec.durand"],
    )
    made = team_acts.set_work_state(world.by(None), house.ORG, ONE, WorkState.CLOSED)
    assert (made.state, made.account_id) == (WorkState.CLOSED, None)
    assert [event for event, _, _ in world.events()] == ["message.state_set"] * 2


def test_a_note_is_removed_by_its_author_or_a_manager(world: World) -> None:
    def added() -> int:
        return team_acts.write_note(world.by("sec.durand"), house.ORG, ONE, "Rappeler").id

    first, second = added(), added()
    with pytest.raises(NotAllowed):
        team_acts.remove_note(world.by("ide.petit"), house.ORG, first)
    team_acts.remove_note(world.by("sec.durand"), house.ORG, first)
    team_acts.remove_note(world.by("dr.martin"), house.ORG, second)
    with pytest.raises(NotFound):
        team_acts.remove_note(world.by("dr.martin"), house.ORG, second)
    assert world.events() == [
        ("note.added", "sec.durand", None),
        ("note.added", "sec.durand", None),
        ("act.refused", "ide.petit", None),
        ("note.removed", "sec.durand", None),
        ("note.removed", "dr.martin", "sec.durand"),
    ]
    assert "Rappeler" not in str(rows(world.database))


def test_notes_are_sealed_with_the_keys_of_the_store(world: World) -> None:
    act = world.by("sec.durand")
    team_acts.write_note(act, house.ORG, ONE, "Rappeler")
    with world.database.read() as conn:
        (note,) = list_notes(conn, row_seal(act.store), world.home.mailboxes[house.ORG], [ONE])
        assert note.text == "Rappeler"
        (stored,) = conn.scalars(select(message_notes.c.text))
    assert b"Rappeler" not in stored


@pytest.mark.parametrize(
    "act",
    [
        lambda by: team_acts.take_message(by, house.ORG, ONE),
        lambda by: team_acts.release_message(by, house.ORG, ONE),
        lambda by: team_acts.hand_over(by, house.ORG, ONE, "sec.durand"),
        lambda by: team_acts.force_release(by, house.ORG, ONE),
        lambda by: team_acts.set_work_state(by, house.ORG, ONE, WorkState.CLOSED),
        lambda by: team_acts.write_note(by, house.ORG, ONE, "x"),
        lambda by: team_acts.remove_note(by, house.ORG, 1),
    ],
)
@pytest.mark.parametrize("login", ["labo", "abroad"])
def test_without_the_right_nothing_is_done_and_the_refusal_is_recorded(
    world: World, act: Callable[[Act], object], login: str
) -> None:
    with pytest.raises((NotAllowed, NotFound)):
        act(world.by(login))
    assert world.counted() == [0, 0, 0]
    assert [event for event, _, _ in world.events()] == ["act.refused"]


def test_the_right_to_read_is_not_enough(world: World) -> None:
    with pytest.raises(NotAllowed):  # a manager without the right to act
        team_acts.take_message(world.by("dr.martin"), house.ORG, ONE)
    with pytest.raises(NotAllowed):
        team_acts.write_note(world.by("dr.martin"), house.ORG, ONE, "x")
    assert world.counted() == [0, 0, 0]


@pytest.mark.parametrize(
    "act",
    [
        lambda by: team_acts.take_message(by, house.ORG, ONE),
        lambda by: team_acts.write_note(by, house.ORG, ONE, "x"),
    ],
)
def test_the_unix_user_is_no_person_of_the_team(world: World, act: Callable[[Act], object]) -> None:
    with pytest.raises(NotAllowed, match="only a person with an account"):
        act(world.by(None))
    assert world.counted() == [0, 0, 0]


@pytest.mark.parametrize("colleague", ["labo", "dr.martin"])
def test_a_message_is_handed_over_only_to_a_person_with_the_right(
    world: World, colleague: str
) -> None:
    team_acts.take_message(world.by("sec.durand"), house.ORG, ONE)
    with pytest.raises(InvalidState, match=f"{colleague} may not act"):
        team_acts.hand_over(world.by("sec.durand"), house.ORG, ONE, colleague)
    with pytest.raises(NotFound, match="there is no account abroad"):
        team_acts.hand_over(world.by("sec.durand"), house.ORG, ONE, "abroad")
