"""Any sequence of courier actions and fail-overs: only its own lease ends a delivery.

On SQLite, where a fail-over replaces the file by an older copy.
"""

import atexit
import functools
import shutil
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from mailstore.db.database import Database
from mssante_operator.assembly.database import migrations
from relay.queue.attempt_result import attempt_result
from relay.queue.leases import claim, lease_without_attempt, release_unattempted, renew
from relay.queue.model import Claim
from relay.queue.retry import RetryPolicy
from relay.queue.settlement import settle, settle_delivered
from relay.smtp.outcome import Outcome, State
from tests.support.clock import NOW
from tests.support.db.databases import roomy_memory
from tests.support.delivery.backlog import put
from tests.support.delivery.queued import rows

LEASE = timedelta(minutes=30)
LIFE = timedelta(days=5)


@functools.cache
def template() -> Path:
    """A migrated database, with the folder for its copies."""
    folder = tempfile.mkdtemp(prefix="mssante-leases-", dir=roomy_memory())
    atexit.register(shutil.rmtree, folder)
    path = Path(folder) / "template.db"
    migrations.upgrade(f"sqlite:///{path}")
    return path


@dataclass(frozen=True)
class Copy:
    """Data of the standby: a file, and the model's state at that time."""

    file: Path
    model: dict[str, str | None]


class Leases(RuleBasedStateMachine):
    """Model: token of each message's delivery, None if not leased."""

    taken = Bundle("taken")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=template().parent))
        self.file = self.folder / "queue.db"
        shutil.copyfile(template(), self.file)
        self.database = Database(self.file)
        self.now, self.number, self.copies = NOW, 0, 0
        self.model: dict[str, str | None] = {}
        self.standby = self._copied()

    def teardown(self) -> None:
        self.database.close()
        shutil.rmtree(self.folder)

    def _copied(self) -> Copy:
        self.database.close()  # writes the log into the file
        self.copies += 1
        file = self.folder / f"copy-{self.copies}.db"
        shutil.copyfile(self.file, file)
        return Copy(file, dict(self.model))

    @rule()
    def mail_comes(self) -> None:
        self.model[put(self.database, "a.mssante.fr", number=self.number, at=self.now)] = None
        self.number += 1

    @rule()
    def the_standby_catches_up(self) -> None:
        self.standby = self._copied()

    @rule()
    def it_takes_over(self) -> None:
        self.database.close()
        shutil.copyfile(self.standby.file, self.file)
        self.model = dict(self.standby.model)

    @rule()
    def half_an_hour_goes_by(self) -> None:
        self.now += LEASE

    def _note(self, claims: list[Claim]) -> list[Claim]:
        for one in claims:
            self.model[one.message_id] = one.token
        return claims

    @rule(target=taken, owner=st.sampled_from(["one:1", "two:1"]), limit=st.integers(1, 3))
    def take(self, owner: str, limit: int) -> object:
        with self.database.write() as connection:
            found = claim(
                connection, owner=owner, now=self.now, lease=LEASE, limit=limit,
                wait=lambda _: timedelta(0),
            )  # fmt: skip
        return multiple(*self._note(found))

    @rule(target=taken, one=taken)
    def sweep(self, one: Claim) -> object:
        with self.database.write() as connection:
            found = lease_without_attempt(
                connection, [one.id], owner="one:1", now=self.now, lease=LEASE
            )
        return multiple(*self._note(found))

    def _ends(self, one: Claim) -> bool:
        """Whether this lease is the current lease of its delivery."""
        return self.model.get(one.message_id) == one.token

    @rule(one=taken, state=st.sampled_from(State))
    def an_attempt_ends(self, one: Claim, state: State) -> None:
        outcomes = dict.fromkeys(one.recipients, Outcome(state, "said"))
        result = attempt_result(
            one, outcomes, error="", reason=None, now=self.now, policy=RetryPolicy(life=LIFE)
        )
        with self.database.write() as connection:
            became = settle(connection, result)
        assert became == (state if self._ends(one) else None)
        if became is State.DELIVERED:
            del self.model[one.message_id]
        elif became is not None:
            self.model[one.message_id] = None

    @rule(some=st.lists(taken, min_size=1, max_size=4))
    def attempts_end_together(self, some: list[Claim]) -> None:
        expected = {one.lease for one in some if self._ends(one) and one.owner == "one:1"}
        failed = {one.id for one in rows(self.database).values() if one.state == "failed"}
        with self.database.write() as connection:
            gone = settle_delivered(connection, some, "one:1")
        assert gone == {lease for lease in expected if lease.id not in failed}
        for one in some:
            if one.lease in gone:
                self.model.pop(one.message_id, None)

    @rule(some=st.lists(taken, min_size=1, max_size=4))
    def leases_are_renewed(self, some: list[Claim]) -> None:
        expected = {one.lease for one in some if self._ends(one)}
        with self.database.write() as connection:
            leases = [one.lease for one in some]
            assert renew(connection, leases, now=self.now, lease=LEASE) == expected

    @rule(some=st.lists(taken, min_size=1, max_size=4))
    def leases_are_given_back(self, some: list[Claim]) -> None:
        with self.database.write() as connection:
            release_unattempted(connection, [one.lease for one in some], now=self.now)
        for one in some:
            if self._ends(one):
                self.model[one.message_id] = None

    @invariant()
    def the_queue_is_as_it_should_be(self) -> None:
        found = {row.message_id: row.lease_token for row in rows(self.database).values()}
        assert found == self.model


TestLeases = Leases.TestCase
TestLeases.settings = settings(
    max_examples=15,
    stateful_step_count=30,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],  # no lease yet
)
