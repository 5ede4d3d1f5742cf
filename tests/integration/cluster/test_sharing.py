"""A list adopted by one machine is adopted by all, each after its own verification."""

import asyncio
import hashlib
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from mssante_operator.assembly.clock import utc_now
from relay.machines.schema import shared_list
from relay.machines.shared_list import ListOffer, SharedListHead, publish, read_head
from tests.support.lists.list_files import FULL, signed
from tests.support.lists.unbelieved_lists import DAMAGED, NEWER, SIGNED
from tests.support.machines.daemon import federation
from tests.support.machines.list_machines import Machine, machine
from tests.support.waiting import until
from whitelist.national.archive import ListSource
from whitelist.national.freshness import Freshness
from whitelist.national.newest import MARGIN, SharedList, may_fail

HOUR = timedelta(hours=1)


@pytest.fixture
def machines(tmp_path: Path, database: Database) -> Sequence[Machine]:
    """Two machines with the same list, which is shared."""
    found = [machine(tmp_path / name, database) for name in ("one", "two")]
    for one in found:
        one.sharing.exchange()
    return found


def head(database: Database) -> SharedListHead:
    with database.read() as connection:
        found = read_head(connection)
    assert found is not None
    return found


def share(database: Database, data: bytes, hours: float, *, packed: bytes | None = None) -> str:
    """Put any octets into the database as a list generated so many hours from now.

    Like an intruder with write access, or a corrupting disk.
    """
    digest = hashlib.sha256(data).hexdigest()
    at = federation().space.now.replace(microsecond=0) + timedelta(hours=hours)
    with database.write() as connection:
        assert publish(connection, ListOffer(digest, at, data), utc_now())
        if packed is not None:
            connection.execute(update(shared_list).values(compressed=packed))
    return digest


def test_a_list_adopted_by_one_is_believed_by_the_other(
    machines: Sequence[Machine], database: Database
) -> None:
    one, two = machines
    one.adopt(signed(1, **FULL, d="b"))
    one.sharing.exchange()
    assert head(database).shared.digest == one.active.digest
    with capture_logs() as logs:
        two.sharing.exchange()
    assert two.active.digest == one.active.digest
    assert (two.active.source, two.active.accepted_shrink) == (ListSource.SHARED, False)
    assert two.active.added == 1
    (adopted,) = [line for line in logs if line["event"] == "whitelist.adopted"]
    assert adopted["source"] == "shared"
    trust_state = two.trust_state()
    assert trust_state.snapshot.final
    white_list = trust_state.snapshot.white_list
    assert white_list is not None
    assert white_list.names_of("d.mssante.fr")
    # A machine whose own source has an older list keeps the newer list.
    assert not two.sharing.problem
    two.sharing.exchange()
    assert len(two.archive.records()) == 2


def test_an_older_list_is_never_taken_nor_shared(
    machines: Sequence[Machine], database: Database
) -> None:
    one, two = machines
    one.adopt(signed(2, **FULL, d="b"))
    two.adopt(signed(1, **FULL))
    one.sharing.exchange()
    newest = one.active.digest
    with database.write() as connection:  # as if the machine with the older list had just written
        older = ListOffer("0" * 64, two.active.generated_at - HOUR, b"x")
        assert not publish(connection, older, utc_now())
    one.sharing.exchange()
    assert (one.active.digest, head(database).shared.digest) == (newest, newest)
    two.sharing.exchange()
    assert two.active.digest == newest


def test_until_a_list_is_believed_nothing_is_refused_for_good(
    machines: Sequence[Machine], database: Database
) -> None:
    # The shrink guard stops it and no person let it pass; yet the newer list is known.
    two = machines[1]
    data = signed(1, a="a", b="b")
    digest = share(database, data, 1)
    before = two.active
    two.sharing.exchange()
    assert two.active == before
    assert "shrunk: " in two.sharing.problem
    trust_state = two.trust_state()
    assert trust_state.snapshot.behind
    assert not trust_state.snapshot.final
    long_ago = utc_now() - HOUR
    assert not may_fail(before, trust_state.known, long_ago, utc_now())
    # Its own source has the list, and a person lets it pass here.
    two.adopt(data, accept_shrink=True)
    two.sharing.exchange()
    assert (two.active.digest, two.sharing.problem) == (digest, "")
    assert two.trust_state().snapshot.final


def test_what_a_person_let_pass_on_one_machine_passes_on_all(
    machines: Sequence[Machine], database: Database
) -> None:
    one, two = machines
    one.adopt(signed(1, a="a", b="b"), accept_shrink=True)
    one.sharing.exchange()
    # Another list may follow before the other machine has seen it.
    one.adopt(signed(2, a="a", b="c"), accept_shrink=True)
    one.adopt(signed(3, a="a", b="c"))
    one.sharing.exchange()
    assert head(database).shrink_accepted is not None
    two.sharing.exchange()
    assert two.active.digest == one.active.digest
    assert (two.active.source, two.active.accepted_shrink) == (ListSource.SHARED, True)
    # A person let the list before it pass; the guard is active again for this list.
    share(database, signed(4, a="a"), 4)
    two.sharing.exchange()
    assert two.active.digest == one.active.digest
    assert "shrunk: " in two.sharing.problem


@pytest.mark.parametrize("name", SIGNED)
def test_a_list_that_is_not_believed_leaves_all_as_it_was(
    machines: Sequence[Machine], database: Database, name: str
) -> None:
    make, hours, says = SIGNED[name]
    two = machines[1]
    before, checked = two.active, two.archive.last_check()
    digest = share(database, make(), hours)
    with capture_logs() as logs:
        two.sharing.exchange()
        two.sharing.exchange()
    (refused,) = [line for line in logs if line["event"] == "whitelist.shared_refused"]
    assert (refused["log_level"], refused["digest"]) == ("error", digest)
    assert says in refused["why"]
    assert two.sharing.problem == refused["why"]
    assert (two.active, two.archive.last_check()) == (before, checked)
    assert two.trust_state().snapshot.white_list is not None
    # Maybe only this machine does not know the signer: no refusal for good until that is clear.
    assert not two.trust_state().snapshot.final
    assert head(database).shared.digest == digest


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_no_list_gives_way_to_one(
    machines: Sequence[Machine], database: Database, name: str
) -> None:
    make, hours, packed, says = DAMAGED[name]
    two = machines[1]
    before = two.active
    share(database, make(), hours, packed=packed)
    with capture_logs() as logs:
        two.sharing.exchange()
    (refused,) = [line for line in logs if line["event"] == "whitelist.shared_refused"]
    assert says in refused["why"]
    assert two.active == before
    assert two.sharing.problem == ""
    assert head(database).shared.digest == before.digest
    assert head(database).shared.generated_at == before.generated_at
    assert two.trust_state().snapshot.final
    (shared,) = [line for line in logs if line["event"] == "whitelist.shared"]
    assert shared["instead_of_damaged"]


def test_a_date_that_is_not_the_lists_own_is_set_right(
    machines: Sequence[Machine], database: Database
) -> None:
    two = machines[1]
    with database.write() as connection:
        far = utc_now() + timedelta(days=9999)
        connection.execute(update(shared_list).values(generated_at=far))
    two.sharing.exchange()
    assert head(database).shared.generated_at == two.active.generated_at
    assert two.trust_state().snapshot.final


def test_other_revocation_lists_have_it_looked_at_again(
    machines: Sequence[Machine], database: Database
) -> None:
    one, two = machines
    one.adopt(signed(1, **NEWER))
    one.sharing.exchange()
    whole = two.refresher.trust
    two.refresher.trust = replace(whole, crls=())
    two.sharing.exchange()
    assert "signer-no-crl: " in two.sharing.problem
    two.refresher.trust = whole
    two.sharing.exchange()
    assert two.active.digest == one.active.digest
    assert two.sharing.problem == ""
    assert head(database).shared.digest == one.active.digest


def test_a_new_machine_begins_with_what_the_others_have(
    machines: Sequence[Machine], database: Database, tmp_path: Path
) -> None:
    three = machine(tmp_path / "three", database, b"")
    assert three.archive.active() is None
    three.sharing.exchange()
    assert three.active.digest == machines[0].active.digest
    assert three.trust_state().snapshot.freshness is Freshness.FRESH


def test_a_check_by_one_counts_for_all(tmp_path: Path, database: Database) -> None:
    old = signed(-3, **FULL)
    one, two = (machine(tmp_path / name, database, old) for name in ("one", "two"))
    one.sharing.exchange()
    queued_at = utc_now() - HOUR
    long_ago = queued_at - HOUR
    two.archive.record_check(long_ago)
    (two.archive.folder / "confirmed").unlink()
    with database.write() as connection:
        connection.execute(update(shared_list).values(checked_at=long_ago))
    two.sharing.exchange()
    assert not may_fail(two.active, two.archive.known(), queued_at, utc_now())
    one.refresher.check()
    one.sharing.exchange()
    assert head(database).shared.checked_at > queued_at + MARGIN
    two.sharing.exchange()
    assert may_fail(two.active, two.archive.known(), queued_at, utc_now())
    # So a machine whose own source is unreachable uses another machine's check.
    checked = two.archive.last_check()
    assert checked is not None
    assert checked > queued_at


def test_a_check_in_time_to_come_counts_for_nothing(
    machines: Sequence[Machine], database: Database
) -> None:
    two = machines[1]
    before = two.archive.last_check()
    with database.write() as connection:
        ahead = utc_now() + HOUR
        connection.execute(update(shared_list).values(checked_at=ahead))
    two.sharing.exchange()
    assert two.archive.last_check() == before
    assert not may_fail(two.active, two.archive.known(), utc_now(), utc_now())


CRASHING = """
import os, signal, sys
from pathlib import Path
from mailstore.db.database import Database
from mssante_operator.assembly.clock import utc_now
from mssante_operator.assembly.trust import open_crls, open_list_refresher, open_trust
from relay.machines import list_sharing
from mssante_operator.settings.model import load

when, config, url = sys.argv[1:]
settings = load(Path(config))
trust = open_trust(settings)
at_hand = trust.with_crls(open_crls(settings, trust).current())
refresher = open_list_refresher(settings, at_hand)
refresher.check()
publish = list_sharing.publish

def crash(*args, **more):
    if when == "after":
        assert publish(*args, **more)
    os.kill(os.getpid(), signal.SIGKILL)

list_sharing.publish = crash
list_sharing.ListSharing(Database(url), refresher).exchange()
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_between_adopting_and_sharing_leaves_nothing_undone(
    machines: Sequence[Machine], database: Database, database_url: str, when: str
) -> None:
    one, two = machines
    (one.daemon.folder / "whitelist" / "listeblanchemssante.xml").write_bytes(signed(1, **NEWER))
    config = str(one.daemon.config)
    done = subprocess.run(
        [sys.executable, "-c", CRASHING, when, config, database_url],
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert one.active.domains == 4  # adopted, not shared
    assert head(database).shared.digest == two.active.digest
    one.sharing.exchange()
    two.sharing.exchange()
    assert two.active.digest == one.active.digest == head(database).shared.digest


def test_a_store_that_is_away_ends_nothing(
    machines: Sequence[Machine], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = machines
    monkeypatch.setattr("relay.machines.list_sharing.LOOK_SECONDS", 0.01)
    one.adopt(signed(1, **NEWER))
    one.sharing.exchange()
    faults: list[Exception] = [StoreUnavailable("away"), StoreUnavailable("away"), MemoryError()]
    look = two.sharing.exchange

    def failing(_self: object) -> None:
        if faults:
            raise faults.pop(0)
        look()

    async def run() -> None:
        task = asyncio.create_task(two.sharing.run())
        await until(lambda: task.done() or two.active.digest == one.active.digest)
        assert not task.done()
        task.cancel()

    with capture_logs() as logs:
        monkeypatch.setattr(type(two.sharing), "exchange", failing)
        asyncio.run(run())
    told = [line["event"] for line in logs if line["log_level"] != "info"]
    assert told == ["whitelist.not_shared", "maintenance.error"]
    assert head(database).shared.digest == one.active.digest


def test_the_command_shares_at_once(machines: Sequence[Machine], database: Database) -> None:
    if not database.several:
        return  # SQLite has only one machine
    one = machines[0]
    text = one.daemon.config.read_text()
    url = database.url.render_as_string(hide_password=False)
    ours = f'[storage]\ndatabase = "{url}"\n'
    one.daemon.config.write_text(text.replace("[storage]\n", ours, 1))
    (one.daemon.folder / "whitelist" / "listeblanchemssante.xml").write_bytes(signed(1, **NEWER))
    one.daemon.run("whitelist", "refresh")
    assert head(database).shared == SharedList(
        one.active.digest, one.active.generated_at, head(database).shared.checked_at
    )
    away = url.replace("/test_", "/no_such_")
    one.daemon.config.write_text(one.daemon.config.read_text().replace(url, away))
    said = one.daemon.run("whitelist", "refresh")
    assert "not yet shared with the other machines" in said
