"""Promises that a PostgreSQL does not keep: a line for each bad state, none for the good state."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from mailstore.db.database import Database
from mailstore.db_checks.promises import DurabilityPromises, promises
from tests.support.db import postgresql
from tests.support.db.own_server import make_role, setting
from tests.support.db.postgresql import Server, builds
from tests.support.db.replicas import Pair, replicating


@pytest.fixture(scope="module")
def synced_pair() -> Iterator[Pair]:
    """A pair of servers with a site's settings: those of other tests are faster and unsafe."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(postgresql._OPTIONS, "fsync")
        with replicating(builds()[0]) as pair:
            yield pair


@pytest.fixture
def pair(synced_pair: Pair) -> Pair:
    synced_pair.wait_for_standby(on=True)
    return synced_pair


def looked_at(url: str, *, alone: bool = False) -> DurabilityPromises:
    with closing(Database(url)) as database:
        return promises(database, alone=alone)


def told(pair: Pair) -> tuple[str, ...]:
    return looked_at(pair.primary.url("postgres")).doubts


def test_of_a_synchronous_standby_nothing_is_doubted(pair: Pair) -> None:
    found = looked_at(pair.primary.url("postgres"))
    assert found == DurabilityPromises((), "commits wait for a synchronous standby (standby)")


def test_a_role_that_does_not_see_the_standbys_doubts_nothing(pair: Pair) -> None:
    role = make_role(pair.primary)
    found = looked_at(pair.primary.url("postgres").replace("postgres@", f"{role}@"))
    assert found.doubts == ()


def test_an_asynchronous_standby_loses_its_lag(pair: Pair) -> None:
    pair.wait_for_standby(on=False)
    (line,) = told(pair)
    assert "a fail-over loses the mail accepted last" in line
    assert "set synchronous_standby_names" in line


@pytest.mark.parametrize("level", ["local", "remote_write"])
def test_commits_that_do_not_wait_for_the_standby(pair: Pair, level: str) -> None:
    with setting(pair.primary, "synchronous_commit", level):
        (line,) = told(pair)
    assert f"synchronous_commit is {level}" in line


def test_a_synchronous_standby_that_is_away(pair: Pair) -> None:
    with setting(pair.primary, "synchronous_standby_names", "elsewhere"):
        (line,) = told(pair)
    assert "(elsewhere) connected: commits wait" in line


@pytest.mark.parametrize("name", ["fsync", "full_page_writes"])
def test_a_server_that_does_not_sync(pair: Pair, name: str) -> None:
    with setting(pair.primary, name, "off"):
        (line,) = told(pair)
    assert f"the server has {name} = off: a power cut" in line
    assert f"ALTER SYSTEM SET {name} = on" in line


def test_a_server_that_syncs_again_what_failed(pair: Pair) -> None:
    pair.primary.ask("ALTER SYSTEM SET data_sync_retry = on")
    pair.primary.stop()
    pair.primary.start()
    lines = looked_at(pair.primary.url("postgres")).doubts
    assert any("data_sync_retry = on" in line for line in lines)
    pair.primary.ask("ALTER SYSTEM RESET data_sync_retry")
    pair.primary.stop()
    pair.primary.start()


def test_without_a_standby_several_machines_are_told(own_server: Server, own_database: str) -> None:
    url = own_server.url(own_database)
    loss = "loses all mail since the last backup"
    assert any(loss in line for line in looked_at(url).doubts)
    found = looked_at(url, alone=True)
    assert loss in found.standby
    assert not any(loss in line for line in found.doubts)


def test_settings_that_are_set_in_vain_are_told(pair: Pair) -> None:
    role, name = make_role(pair.primary), pair.database()
    url = pair.primary.url(name).replace("postgres@", f"{role}@")
    pair.primary.ask(f"ALTER ROLE {role} SET statement_timeout = '5s'")
    pair.primary.ask(f"ALTER DATABASE {name} SET lock_timeout = '1s'")
    pair.primary.ask(f"ALTER ROLE {role} SET work_mem = '8MB'")  # not one of our settings
    lock, statement = looked_at(url).doubts
    assert f"ALTER DATABASE {name} SET lock_timeout=1s has no effect" in lock
    assert f"run: ALTER ROLE {role} RESET statement_timeout" in statement
    for line in (lock, statement):
        pair.primary.ask(line.rpartition("run: ")[2])
    assert looked_at(url).doubts == ()
