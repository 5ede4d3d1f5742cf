"""Any sequence of acts on a team's messages agrees with a plain model, on both databases."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from mailstore.db.database import Database
from mailstore.db.team_schema import message_assignments
from mailstore.folders.lock import MailboxLock, lock_mailbox
from mailstore.teams.assignments import assignments_of, force_release, hand_over, release, take
from mailstore.teams.counters import count_states
from mailstore.teams.endings import due_mailboxes, end_departed, expire
from mailstore.teams.model import AlreadyTaken, NotTaken, WorkState
from mailstore.teams.work import reopen, set_state, states_of
from tests.support.clock import NOW
from tests.support.people.teams import Team, deliver, make_team, message_id, modseqs

MESSAGES = [message_id(1), message_id(2)]
PERSONS = (100, 101)
HOUR = timedelta(hours=1)
messages, persons, hours = st.sampled_from(MESSAGES), st.sampled_from(PERSONS), st.integers(1, 3)


@dataclass(frozen=True)
class Model:
    """A message on the board on the wall: its state, its person, and until when."""

    state: WorkState = WorkState.OPEN
    person: int | None = None
    until: Any = None


FREE = Model()


class Board(RuleBasedStateMachine):
    """Model: state, person and end of each message."""

    database: Database
    team: Team

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.model = dict.fromkeys(MESSAGES, FREE)
        self.changes = self._changes()
        with self.database.write() as conn:
            end_departed(conn, message_assignments.c.account_id > 0, self.now)
            lock = lock_mailbox(conn, self.team.mailbox)
            for one in MESSAGES:
                set_state(lock, one, WorkState.OPEN, None, now=self.now)

    def _changes(self) -> list[tuple[int, int, int]]:
        return [modseqs(self.database, one) for one in MESSAGES]

    def _does(self, act: Callable[[MailboxLock], object]) -> str:
        try:
            with self.database.write() as conn:
                act(lock_mailbox(conn, self.team.mailbox))
        except (AlreadyTaken, NotTaken) as error:
            return type(error).__name__
        return ""

    def _held(self, one: str, person: int) -> str:
        """Why a person cannot give away a message; '' if the person has it."""
        held = self.model[one].person
        return "NotTaken" if held is None else "" if held == person else "AlreadyTaken"

    @rule(one=messages, person=persons, time=hours)
    def a_person_takes(self, one: str, person: int, time: int) -> None:
        before, until = self.model[one], self.now + time * HOUR
        refused = "AlreadyTaken" if before.person not in {None, person} else ""
        assert refused == self._does(
            lambda lock: take(lock, one, person, now=self.now, until=until)
        )
        if before.person is None:
            self.model[one] = Model(WorkState.TAKEN, person, until)
        elif not refused:
            self.model[one] = replace(before, until=max(before.until, until))

    @rule(one=messages, person=persons)
    def a_person_releases(self, one: str, person: int) -> None:
        refused = self._held(one, person)
        assert refused == self._does(lambda lock: release(lock, one, person, now=self.now))
        if not refused:
            self.model[one] = FREE

    @rule(one=messages, person=persons, time=hours)
    def a_person_hands_over(self, one: str, person: int, time: int) -> None:
        refused, until = self._held(one, person), self.now + time * HOUR
        (colleague,) = {*PERSONS} - {person}
        assert refused == self._does(
            lambda lock: hand_over(lock, one, person, colleague, now=self.now, until=until)
        )
        if not refused:
            self.model[one] = replace(self.model[one], person=colleague, until=until)

    @rule(one=messages)
    def a_manager_releases(self, one: str) -> None:
        free = self.model[one].person is None
        refused = self._does(lambda lock: force_release(lock, one, now=self.now, by=None))
        assert refused == ("NotTaken" if free else "")
        if not free:
            self.model[one] = FREE

    @rule(one=messages, state=st.sampled_from([one for one in WorkState if one != "taken"]))
    def a_state_is_set(self, one: str, state: WorkState) -> None:
        assert not self._does(lambda lock: set_state(lock, one, state, 100, now=self.now))
        before = self.model[one]
        waits = state is WorkState.WAITING
        self.model[one] = replace(before, state=state) if waits else Model(state)

    @rule(one=messages)
    def mail_of_the_thread_comes(self, one: str) -> None:
        self._does(lambda lock: reopen(lock, [one], now=self.now))
        before = self.model[one]
        state = WorkState.OPEN if before.person is None else WorkState.TAKEN
        self.model[one] = replace(before, state=state)

    @rule()
    def an_hour_goes_by(self) -> None:
        self.now += HOUR
        for one, before in self.model.items():
            if before.person is not None and before.until <= self.now:
                waits = before.state is WorkState.WAITING
                self.model[one] = Model(WorkState.WAITING) if waits else FREE

    @rule()
    def the_job_sweeps(self) -> None:
        with self.database.write() as conn:
            for mailbox in due_mailboxes(conn, self.now):
                expire(conn, mailbox.id, self.now)
        with self.database.read() as conn:
            rows = conn.execute(message_assignments.select()).all()
        assert {row.message_id for row in rows} == {
            one for one, held in self.model.items() if held.person is not None
        }

    @rule(person=persons)
    def a_person_leaves(self, person: int) -> None:
        mine = message_assignments.c.account_id == person
        with self.database.write() as conn:
            ended = {one.message_id for one in end_departed(conn, mine, self.now)}
        assert ended == {one for one, held in self.model.items() if held.person == person}
        for one in ended:
            self.model[one] = FREE

    @invariant()
    def the_store_says_the_same(self) -> None:
        with self.database.read() as conn:
            held = assignments_of(conn, self.team.mailbox, MESSAGES, self.now)
            states = states_of(conn, self.team.mailbox, MESSAGES, self.now)
            counted = count_states(conn, self.team.mailbox, self.now)
        found = {
            one: Model(
                states[one].state,
                held[one].account_id if one in held else None,
                held[one].until if one in held else None,
            )
            for one in MESSAGES
        }
        assert found == self.model
        by_state = [one.state for one in self.model.values()]
        assert counted == {state: by_state.count(state) for state in WorkState}

    @invariant()
    def modification_sequences_rise(self) -> None:
        after = self._changes()
        for before, now in zip(self.changes, after, strict=True):
            assert all(old <= new for old, new in zip(before, now, strict=True))
            assert now[0] <= now[1] <= now[2]
        self.changes = after


def test_any_sequence_of_acts_agrees_with_the_board_on_the_wall(database: Database) -> None:
    with database.write() as conn:
        team = make_team(conn)
        deliver(conn, team.mailbox, 1, 2, folder=team.inbox)
    board = type("Board", (Board,), {"database": database, "team": team})
    run_state_machine_as_test(
        board,
        settings=settings(
            max_examples=15,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
