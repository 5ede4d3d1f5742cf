"""Only one live machine holds a name, even after a folder was copied."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mailstore.errors import StoreUnavailable
from mssante_operator.assembly.clock import utc_now
from mssante_operator.assembly.storage import compare_clocks
from mssante_operator.errors import Outage
from mssante_operator.machine import node_name, pulse
from mssante_operator.machine import record as machine
from mssante_operator.machine.pulse import Pulse, begin_pulse
from mssante_operator.settings.model import Settings, SettingsError, load
from relay.machines import clock_difference
from relay.machines.clock_difference import ClockComparison
from relay.machines.rows import Machine, all_machines
from tests.support.machines.daemon import command, lay_out
from tests.support.machines.installation import Site, Switched
from tests.support.waiting import until

SERVER = pytest.mark.parametrize("dialect", ["postgresql"])  # SQLite has one machine
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beat and watch within a fraction of a second."""
    monkeypatch.setattr(machine, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(machine, "WATCH_SECONDS", 1.0)
    monkeypatch.setattr(machine, "AGAIN_SECONDS", 0.05)


@pytest.fixture
def original(tmp_path: Path, database_url: str) -> Iterator[Site]:
    daemon = lay_out(tmp_path / "one", "a")
    with closing(Switched(database_url)) as database:
        yield Site(load(daemon.config), database)


@pytest.fixture
def clone(original: Site, tmp_path: Path) -> Iterator[Site]:
    """Copy of an installation's folder, which already has a name."""
    node_name.node_name(original.settings)
    shutil.copytree(original.settings.origin.parent, tmp_path / "two")
    with closing(Switched(original.database.url.render_as_string(hide_password=False))) as database:
        yield Site(load(tmp_path / "two" / original.settings.origin.name), database)


def known(site: Site) -> list[Machine]:
    with site.database.read() as connection:
        return all_machines(connection)


def test_a_copy_s_proof_is_another_one(original: Site, clone: Site) -> None:
    assert clone.name == original.name
    assert node_name.proof(clone.settings) != node_name.proof(original.settings)
    assert node_name.proof(original.settings) == node_name.proof(original.settings)


def test_without_a_boot_id_nothing_is_proven(
    original: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_name, "this_boot", lambda: "")
    assert original.name
    assert node_name.proof(original.settings) != node_name.proof(original.settings)


@SERVER
async def test_the_first_courier_enters_the_name(original: Site) -> None:
    held = await original.hold()
    assert held is not None
    (row,) = known(original)
    assert (row.name, row.proof) == (original.name, node_name.proof(original.settings))
    assert abs(row.seen_at - utc_now()) < MINUTE
    assert original.waited == 0


@SERVER
async def test_a_courier_that_was_killed_is_replaced_at_once(original: Site) -> None:
    name = original.name
    for _ in range(3):
        held = await original.hold()
        assert held is not None
        assert held.count_beat()
    assert (original.name, original.waited, original.events) == (name, 0, [])


@SERVER
async def test_a_copy_of_a_living_machine_gets_a_name_of_its_own(
    original: Site, clone: Site
) -> None:
    name = original.name
    async with original.living():
        with capture_logs() as logs:
            held = await clone.hold()
        assert held is not None
        assert clone.name == held.name != name
        (told,) = [one for one in logs if one["event"] == "machine.copy"]
        assert (told["machine"], told["before"], told["log_level"]) == (clone.name, name, "error")
        assert [event for event, _ in clone.events] == ["machine.copy"]
        assert {row.name for row in known(clone)} == {name, clone.name}
        assert clone.waited == 1
        found = node_name.copied(clone.settings)
        assert found is not None
        assert (found.before, abs(found.at - utc_now()) < MINUTE) == (name, True)
    assert not original.stop.is_set()
    assert (original.name, original.events) == (name, [])
    assert node_name.copied(original.settings) is None


@SERVER
async def test_a_copy_takes_the_place_of_a_dead_machine_that_then_comes_back(
    original: Site, clone: Site
) -> None:
    name = original.name
    async with original.living():
        pass
    async with clone.living() as lives:
        assert (clone.name, clone.waited) == (name, 1)
        # It comes back; the row has the other machine's proof now.
        async with original.living() as other:
            assert original.name != name
            assert (lives.takes_work(), other.takes_work()) == (True, True)
    assert not clone.stop.is_set()
    assert clone.events == []


@SERVER
async def test_a_machine_that_restarted_has_its_name_after_a_while(original: Site) -> None:
    name = original.name
    async with original.living():
        pass
    original.restarted_machine()
    async with original.living():
        assert (original.name, original.waited, original.events) == (name, 1, [])
    async with original.living():  # only its daemon
        assert (original.name, original.waited) == (name, 1)


@SERVER
async def test_of_two_that_start_at_once_one_has_the_name(original: Site, clone: Site) -> None:
    name = original.name
    async with original.living():
        pass
    original.restarted_machine()
    over = asyncio.Event()

    async def live(site: Site) -> None:
        async with site.living():
            await over.wait()

    both = [asyncio.create_task(live(site)) for site in (original, clone)]
    await until(lambda: original.name != clone.name)
    over.set()
    await asyncio.gather(*both)
    assert name in {original.name, clone.name}
    assert len(original.events) + len(clone.events) == 1


@SERVER
async def test_whoever_loses_its_name_takes_no_work_and_gets_another(
    original: Site, clone: Site
) -> None:
    name = original.name
    async with original.living() as lives:
        assert lives.takes_work()
        original.database.away = True  # for longer than WATCH_SECONDS
        async with clone.living():
            assert clone.name == name
            original.database.away = False
            await asyncio.wait_for(original.stop.wait(), 10)
            assert not lives.takes_work()
            assert original.name not in {name, ""}
            assert [event for event, _ in original.events] == ["machine.copy"]
        assert not clone.stop.is_set()


@SERVER
async def test_a_database_that_is_away_is_no_other_machine(
    original: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "STALE_SECONDS", 0.3)
    name = original.name
    async with original.living() as lives:
        with capture_logs() as logs:
            original.database.away = True
            await until(lambda: not lives.takes_work())  # the beat is too old
            original.database.away = False
            await until(lives.takes_work)
        assert [one["event"] for one in logs] == ["machine.unheard"]  # once
    assert (original.name, original.stop.is_set(), original.events) == (name, False, [])


@SERVER
async def test_a_watch_begins_again_when_the_database_was_away(original: Site, clone: Site) -> None:
    # While no machine can write a beat, no machine counts as gone.
    async with original.living():
        for site in (original, clone):
            site.database.away = True
        clone.database.away = False
        task = asyncio.create_task(clone.hold())
        await until(lambda: clone.waited == 1)
        clone.database.away = True
        await asyncio.sleep(1.5 * machine.WATCH_SECONDS)  # less than a watch would take
        assert not task.done()
        original.database.away = clone.database.away = False
        held = await task
        assert held is not None
        assert held.name != original.name


@SERVER
async def test_a_stop_ends_a_watch(
    original: Site, clone: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "WATCH_SECONDS", 600.0)
    async with original.living():
        pass
    task = asyncio.create_task(clone.hold())
    await until(lambda: clone.waited == 1)
    clone.stop.set()
    assert await asyncio.wait_for(task, 10) is None
    assert clone.name == original.name


@SERVER
async def test_a_new_name_waits_for_a_disk_that_takes_nothing(
    original: Site, clone: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = True

    def write(settings: Settings, before: str) -> str:
        if full:
            raise SettingsError("node: cannot be written: No space left on device; make room")
        return node_name.new_node_name(settings, before)

    monkeypatch.setattr(machine, "new_node_name", write)
    async with original.living():
        with capture_logs() as logs:
            task = asyncio.create_task(clone.hold())
            await until(lambda: any(one["event"] == "machine.unnamed" for one in logs))
            assert not task.done()
            full = False
            held = await task
        assert held is not None
        assert held.name not in {original.name, ""}


@SERVER
async def test_without_a_database_the_start_says_so(original: Site) -> None:
    original.database.away = True
    with pytest.raises(StoreUnavailable):
        await original.hold()


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_on_sqlite_there_is_one_machine(original: Site, clone: Site) -> None:
    async with original.living() as one, clone.living() as two:
        assert one.node == two.node == original.name
        assert one.takes_work()
        assert two.takes_work()
    assert known(original) == []


class TestClock:
    """A courier whose clock differs from the database's leases nothing until it is right."""

    @SERVER
    async def test_claims_stop_and_begin_again(self, original: Site) -> None:
        ahead = timedelta(0)
        clocks = ClockComparison(original.database, timedelta(seconds=5), lambda: utc_now() + ahead)
        began = await begin_pulse(
            original.settings, clocks, original.record, original.stop, original.waits
        )
        assert began is not None

        def last() -> str:
            return original.events[-1][0] if original.events else ""

        task = asyncio.create_task(began.run())
        with capture_logs() as logs:
            for wrong in (timedelta(minutes=30), -timedelta(seconds=20)):
                assert began.takes_work()
                ahead = wrong
                began.check_now()
                await until(lambda: last() == "clock.apart")
                assert not began.takes_work()
                ahead = timedelta(0)
                began.check_now()
                await until(lambda: last() == "clock.together")
                assert began.takes_work()
        task.cancel()
        await asyncio.wait({task})
        told = [(one["log_level"], one["event"]) for one in logs]
        assert told == [("error", "clock.apart"), ("info", "clock.together")] * 2
        facts = [facts for event, facts in original.events if event == "clock.apart"]
        assert [round(one["by_seconds"]) for one in facts] == [1800, -20]
        assert "ahead of the database's" in facts[0]["detail"]
        assert "behind the database's" in facts[1]["detail"]

    @SERVER
    async def test_nothing_is_taken_before_the_clocks_were_compared(self, original: Site) -> None:
        clocks = compare_clocks(original.settings, original.database)
        held = await original.hold()

        async def lost() -> None:
            raise AssertionError

        began = Pulse(original.name, clocks, held, original.record, lost)
        assert not began.takes_work()
        original.database.away = True
        assert await began.check()
        assert not began.takes_work()
        original.database.away = False
        assert await began.check()
        assert began.takes_work()


def test_a_name_is_changed_whole_or_not_at_all(
    original: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = original.name

    def fails(_number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(Outage, match="cannot be written"):
        node_name.new_node_name(original.settings, before)
    monkeypatch.undo()
    assert original.name == before
    assert node_name.copied(original.settings) is None
    with suppress(FileNotFoundError):
        (original.settings.path("data") / "node.before").unlink()
    new = node_name.new_node_name(original.settings, before)
    assert original.name == new != before


@SERVER
def test_commands_on_a_machine_whose_clock_is_apart(
    original: Site, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = original.settings.origin
    text = config.read_text()
    config.write_text(
        text.replace('directory = "data"', f'directory = "data"\ndatabase = "{database_url}"')
    )
    words = ("--config", str(config))
    assert command(*words, "store", "gc")[0] == 0
    assert "storage.max_clock_difference" not in command(*words, "config", "check")[1]
    later = timedelta(seconds=30)
    monkeypatch.setattr(clock_difference, "server_clock", lambda _: utc_now() + later)
    code, _, said = command(*words, "store", "gc")
    assert (code, said.count("\n")) == (1, 1)
    assert "mssante: nothing is freed: this machine's clock is behind the database's" in said
    code, said, _ = command(*words, "config", "check")
    assert code == 0
    assert f"{config}: storage.max_clock_difference_seconds: this machine's clock is behind" in said
    config.write_text(
        config.read_text().replace("[storage]", "[storage]\nmax_clock_difference_seconds = 60.0")
    )
    assert command(*words, "store", "gc")[0] == 0


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_on_sqlite_there_is_no_machine_to_retire(original: Site) -> None:
    for words in (("list",), ("retire", "x")):
        code, _, said = command("--config", str(original.settings.origin), "machine", *words)
        assert (code, said.count("\n")) == (1, 1)
        assert "this store has only one machine" in said
