"""Fail-over to a standby that lagged: numbers are given again, and no new mail is lost.

The standby is a copy of the database at an earlier time.  It replaces the database as in a
fail-over of PostgreSQL: same address, connections cut.  A courier runs on through it.
"""

import asyncio
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from relay.delivery.in_flight import Progress
from relay.delivery.iteration_commit import Committed, PendingWrites
from relay.delivery.ready_queue import ReadyQueue
from relay.queue.model import Claim, Due, Lease, Traffic, new_token
from relay.queue_admin.actions import run_action
from relay.queue_admin.drop import DropAction, DropReports
from relay.queue_admin.filter import DeliveryFilter
from relay.smtp.errors import AttemptFailed
from relay.smtp.failure_reason import FailureReason
from relay.smtp.outcome import Outcome, State
from tests.support.clock import NOW
from tests.support.db.databases import PostgresServer
from tests.support.delivery.backlog import put
from tests.support.delivery.courier_with_peers import CourierWithPeers, making
from tests.support.delivery.delivery_store import CLAIRE, TO, DeliveryStore, pending
from tests.support.delivery.outcomes import DELIVERED, LATER, REFUSED, ended, states, told
from tests.support.delivery.queued import rows
from tests.support.waiting import until, until_now

PUT_OFF = Outcome(State.WAITING, "451 4.3.0 later")


class Standby:
    """Copies a database, and replaces the database by a copy."""

    def __init__(self, database: Database, postgres: PostgresServer | None) -> None:
        self._url = database.url
        self._database = database
        self._postgres = postgres

    def replicate(self) -> None:
        """Copy the state to the standby; later commits are its lag."""
        name = str(self._url.database)
        if self._postgres is None:
            self._database.close()  # writes the log into the file
            shutil.copyfile(name, f"{name}-standby")
            return
        self._cut()
        self._postgres.execute(f"CREATE DATABASE {name}_standby TEMPLATE {name}")
        self._connect()

    def promote(self) -> None:
        """Replace the lost primary by the standby."""
        name = str(self._url.database)
        if self._postgres is None:
            self._database.close()
            shutil.copyfile(f"{name}-standby", name)
            return
        self._postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")
        self._postgres.execute(f"ALTER DATABASE {name}_standby RENAME TO {name}")
        self._connect()

    def _cut(self) -> None:
        assert self._postgres is not None
        with psycopg.connect(self._postgres.url("postgres"), autocommit=True) as connection:
            ended = (
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
            )
            connection.execute(ended, (self._url.database,))

    def _connect(self) -> None:
        """Let the pool notice the cut connections."""

        def again() -> bool:
            with suppress(StoreUnavailable), self._database.read() as connection:
                return bool(connection.scalar(text("SELECT 1")))
            return False

        until_now(again)


@pytest.fixture
def standby(dialect: str, database: Database, request: pytest.FixtureRequest) -> Standby:
    if dialect == "sqlite":  # an older copy put back, like a restore
        return Standby(database, None)
    return Standby(database, request.getfixturevalue("postgres_server"))


class Failed(DeliveryStore):
    """A delivery store after a fail-over of the database under a running courier.

    `old`: deliveries leased on the lost primary.  `new`: deliveries leased afterwards, with the
    same numbers.
    """

    def __init__(self, folder: Path, database: Database, standby: Standby, count: int) -> None:
        super().__init__(folder, database)
        self.queue()  # both databases have it
        standby.replicate()
        for _ in range(count):
            self.queue()
        self.old = self.take()
        standby.promote()
        for _ in range(count):
            self.queue()
        self.new = self.take()
        assert [one.id for one in self.new] == [one.id for one in self.old]
        assert self.new[1:] != self.old[1:]

    def commit(self, writes: PendingWrites) -> Committed:
        return self.committer(lambda: LATER).commit(writes)

    def is_whole(self) -> bool:
        """Whether the new deliveries exist, under their leases, with all waiting recipients."""
        there = rows(self.store.database)
        return [there[one.id].lease_token for one in self.new] == [one.token for one in self.new]


@pytest.fixture
def failed(tmp_path: Path, database: Database, standby: Standby) -> Iterator[Failed]:
    made = Failed(tmp_path, database, standby, 3)
    yield made
    made.store.blobs.close()


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("outcome", [DELIVERED, REFUSED, PUT_OFF])
def test_the_end_of_an_old_attempt_settles_no_new_delivery(
    failed: Failed, outcome: Outcome, count: int
) -> None:
    # A single delivery is settled alone; several successful deliveries are settled in bulk.
    committed = failed.commit(pending([ended(one, outcome) for one in failed.old[:count]]))
    assert states(committed) == [None] * count
    assert told(committed) == set()
    assert failed.mail(CLAIRE) == []
    assert failed.is_whole()


def test_an_old_attempt_and_a_new_one_end_together(failed: Failed) -> None:
    # Same number: each delivery keeps its own result and DSN.
    both = [
        *(ended(one, REFUSED) for one in failed.old),
        *(ended(o, DELIVERED) for o in failed.new),
    ]
    committed = failed.commit(pending(both))
    assert states(committed) == [None] * 4 + [State.DELIVERED] * 4
    assert told(committed) == set()
    assert failed.mail(CLAIRE) == []
    assert rows(failed.store.database) == {}


def test_an_old_lease_is_neither_renewed_nor_given_back_in_the_name_of_a_new_one(
    failed: Failed,
) -> None:
    before = rows(failed.store.database)
    old = [one.lease for one in failed.old]
    committed = failed.commit(pending(renewals=old, unattempted=old))
    assert committed.renewed == set()
    assert rows(failed.store.database) == before


def test_a_probe_is_of_the_domain_that_the_delivery_has_now(failed: Failed) -> None:
    # The number belonged to mail for a dead destination: a live destination gets no probe.
    failed.commit(pending(unattempted=[one.lease for one in failed.new]))
    key = failed.new[1].id
    committed = failed.commit(pending(wanted=[Lease(key, new_token())], probes=[key]))
    assert committed.claims == []
    found = rows(failed.store.database)[key]
    assert (found.lease_owner, found.attempts, found.due) == (None, 0, LATER)


@pytest.mark.parametrize("with_report", [True, False])
def test_what_an_operator_looked_for_is_not_another_delivery_by_now(
    tmp_path: Path,
    database: Database,
    standby: Standby,
    monkeypatch: pytest.MonkeyPatch,
    *,
    with_report: bool,
) -> None:
    made = DeliveryStore(tmp_path, database)
    standby.replicate()
    made.queue()
    prepare = DropAction.prepare

    def overtaken(
        act: DropAction, database: Database, ids: Sequence[int], now: datetime
    ) -> DropReports:
        found = prepare(act, database, ids, now)
        standby.promote()
        made.queue()
        return found

    monkeypatch.setattr(DropAction, "prepare", overtaken)
    act = DropAction(made.dsn_writer if with_report else None)
    done = list(
        run_action(database, act, DeliveryFilter(domain=TO.rpartition("@")[2]), lambda: NOW)
    )
    assert [one.changed for one in done] == [()]
    assert len(rows(database)) == 1
    made.store.blobs.close()


def test_a_number_known_for_another_destination_is_known_anew() -> None:
    # Otherwise mail for a live destination would wait until the dead destination works again.
    ready = ReadyQueue()
    old, new = (Due(7, Traffic.PERSON, name, "s@a", fresh=True) for name in ("dead", "alive"))
    assert ready.add([old]) == ready.add([new]) == 1
    assert ready.add([new]) == 0
    assert ready.take(9, 9, lambda due: due.domain == "alive") == [new]
    assert len(ready) == 0


@pytest.fixture
def courier(tmp_path: Path, database: Database) -> Iterator[CourierWithPeers]:
    with making(tmp_path, database) as made:
        yield made


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_a_courier_lives_through_a_failover_and_loses_nothing(
    courier: CourierWithPeers, standby: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, go_on = courier.store.database, asyncio.Event()
    held = list[Claim]()

    async def deliver(claim: Claim, progress: Progress) -> Mapping[str, Outcome]:
        """Deliver old deliveries late; defer new deliveries."""
        progress.step("answer")
        held.append(claim)
        await go_on.wait()
        if claim.message_id.startswith("0"):
            return dict.fromkeys(claim.recipients, DELIVERED)
        raise AttemptFailed(FailureReason.CONNECTION, "not now")

    monkeypatch.setattr(courier.manager._runner, "deliver", deliver)
    standby.replicate()
    old = [put(database, "a.mssante.fr", number=number) for number in range(3)]
    async with courier.running():
        await until(lambda: len(held) == 3)
        standby.promote()
        new = [put(database, "b.mssante.fr", number=2**124 + number) for number in range(3)]
        await until(lambda: len(held) == 6)
        assert sorted(one.id for one in held[:3]) == sorted(one.id for one in held[3:])
        go_on.set()
        await until(lambda: {row.lease_owner for row in rows(database).values()} == {None})
    assert {one.message_id for one in held} == {*old, *new}
    assert {row.message_id for row in rows(database).values()} == set(new)
