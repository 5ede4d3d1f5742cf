"""A new list wakes mail that waited because of the old list, and no other mail."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from structlog.testing import capture_logs

from mailstore.db.database import Database
from mailstore.errors import StoreUnavailable
from relay.client.routing import Target
from relay.queue.due import destinations_with_mail
from relay.queue.list_wakeup import ListWakeup
from relay.queue.model import Traffic
from tests.support.clock import NOW, system_clock
from tests.support.delivery.queued import Letter, destination, know, put, rows
from tests.support.delivery.senders import sending, server_tls
from tests.support.lists.lists import made
from tests.support.machines.operators import ACTIVE, HOST, trust_space
from tests.support.machines.perimeters import adopt
from tests.support.sessions.scripted import running
from tests.support.waiting import until
from whitelist.national.lookup import WhiteList

HOUR = timedelta(hours=1)
NAMED = "server refused by rule name: it showed CN=x, not listed for b.mssante.fr"


def listing(*pairs: tuple[str, str]) -> WhiteList:
    return made([(f"{domain}.mssante.fr", f"CN={name},C=FR") for domain, name in pairs])[1]


OLD = listing(("b", "old.fr"), ("c", "c.fr"), ("gone", "gone.fr"))
NEW = listing(("b", "old.fr"), ("b", "new.fr"), ("c", "c.fr"), ("fresh", "f.fr"))


def waking(database: Database, *lists: tuple[WhiteList | None, WhiteList]) -> ListWakeup:
    """A ListWakeup after its work at the start, with these changes noted."""
    found = ListWakeup(database, lambda: NOW)
    found.wake()
    for old, new in lists:
        found.note_new_list(old, new)
    return found


def due(database: Database, ids: Sequence[int]) -> list[bool]:
    found = rows(database)
    return [found[one].due <= NOW for one in ids]


def test_mail_for_domains_that_changed_is_due_at_once(database: Database) -> None:
    letters = [
        Letter("b.mssante.fr", last_error="connection refused", attempts=3),
        Letter("fresh.mssante.fr", mailbox_type="APP"),
        Letter("b.mssante.fr", lease=HOUR, attempts=1),  # just refused by the old list
        Letter("c.mssante.fr", last_error=NAMED),
        Letter("gone.mssante.fr", last_error=NAMED),
        Letter("b.mssante.fr", held="why"),
        Letter("b.mssante.fr", state="failed"),
    ]
    ids = put(database, *letters)
    found = ListWakeup(database, lambda: NOW)
    found._next()  # without the changes before its start
    found.note_new_list(OLD, NEW)
    assert found.wake() == 3
    assert due(database, ids) == [True, True, True, False, False, False, False]
    after = rows(database)
    assert (after[ids[2]].lease_until, after[ids[2]].attempts) == (NOW + HOUR, 1)
    assert found.wake() == 0


def test_what_the_peer_may_have_is_not_woken(database: Database) -> None:
    # Each attempt may deliver a duplicate, except an attempt refused because of the list.
    may_have_it = {"unknown_outcomes": 1}
    letters = [
        Letter(last_error="smtp: unknown-outcome: no reply within 600 s", columns=may_have_it),
        Letter(last_error=NAMED, columns=may_have_it),
        Letter(),
    ]
    ids = put(database, *letters)
    assert waking(database, (OLD, NEW)).wake() == 1
    assert due(database, ids) == [False, True, True]


def test_a_destination_that_died_of_the_list_is_probed_at_once(database: Database) -> None:
    put(database, *(Letter(f"{name}.mssante.fr") for name in ("b", "fresh", "c")))
    later = NOW + HOUR
    know(database, "b.mssante.fr", failures=4, dead_until=later, last_error=NAMED)
    know(database, "fresh.mssante.fr", failures=4, dead_until=later, last_error="refused")
    know(database, "c.mssante.fr", failures=4, dead_until=later, last_error=NAMED)
    waking_now = ListWakeup(database, lambda: NOW)
    waking_now._next()
    waking_now.note_new_list(OLD, NEW)
    waking_now.wake()
    until_ = [destination(database, f"{n}.mssante.fr").dead_until for n in ("b", "fresh", "c")]
    assert until_ == [NOW, later, later]


def test_at_its_start_what_waits_by_the_list_is_tried_once(database: Database) -> None:
    # The list may have changed while no courier ran.
    letters = [
        Letter(last_error=NAMED),
        Letter(last_error="there is no usable white list now"),
        Letter(last_error="server refused by rule list: the white list has expired"),
        Letter(last_error="server refused by rule chain: revoked"),
        Letter(last_error="450 4.2.1 later"),
        Letter(),
    ]
    ids = put(database, *letters)
    know(database, "b.mssante.fr", failures=1, dead_until=NOW + HOUR, last_error=NAMED)
    with capture_logs() as logs:
        assert ListWakeup(database, lambda: NOW).wake() == 3
    assert due(database, ids) == [True, True, True, False, False, False]
    assert destination(database, "b.mssante.fr").dead_until == NOW
    assert [(line["event"], line["deliveries"]) for line in logs] == [("queue.woken_by_list", 3)]


def test_the_first_list_wakes_like_a_start(database: Database) -> None:
    (waits,) = put(database, Letter(last_error="there is no usable white list now"))
    found = ListWakeup(database, lambda: NOW)
    found._next()
    found.note_new_list(None, NEW)
    assert found.wake() == 1
    assert due(database, [waits]) == [True]


def test_many_are_woken_in_pieces(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.queue.list_wakeup._BATCH", 3)
    monkeypatch.setattr("relay.queue.list_wakeup._DOMAINS", 2)
    names = [f"d{n}" for n in range(5)]
    ids = put(database, *(Letter(f"{name}.mssante.fr") for name in names for _ in range(4)))
    found = waking(database, (listing(), listing(*((name, "x.fr") for name in names))))
    assert found.wake() == 20
    assert all(due(database, ids))


def test_what_was_noted_is_kept_while_the_store_is_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    (waits,) = put(database, Letter("b.mssante.fr"))
    found = waking(database, (OLD, NEW))
    with monkeypatch.context() as patched:

        def away() -> None:
            raise StoreUnavailable("away")

        patched.setattr(database, "read", away)
        with pytest.raises(StoreUnavailable):
            found.wake()
    assert found.wake() == 1
    assert due(database, [waits]) == [True]


async def test_whatever_goes_wrong_the_next_round_comes(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.queue.list_wakeup._AGAIN", 0.01)
    (waits,) = put(database, Letter("b.mssante.fr"))
    found = waking(database, (OLD, NEW))
    faults = iter([MemoryError(), RuntimeError("no thread")])

    def failing(connection: Connection, traffic: Traffic) -> list[str]:
        for fault in faults:
            raise fault
        return destinations_with_mail(connection, traffic)

    monkeypatch.setattr("relay.queue.list_wakeup.destinations_with_mail", failing)
    with capture_logs() as logs:
        task = asyncio.create_task(found.run(0.01))
        await until(lambda: task.done() or due(database, [waits]) == [True])
        assert not task.done()
        task.cancel()
    assert [line["event"] for line in logs] == ["queue.waking_error"] * 2 + ["queue.woken_by_list"]


def test_the_same_names_wake_nobody(database: Database) -> None:
    put(database, Letter("b.mssante.fr", last_error="later"))
    assert waking(database, (OLD, OLD)).wake() == 0


async def test_mail_goes_as_soon_as_the_list_has_the_servers_new_name(tmp_path: Path) -> None:
    space = trust_space()
    a, b, c = (space.operators[name] for name in "abc")
    before = space.space.sign_list({"a.mssante.fr": c, "b.mssante.fr": b})
    after = space.space.sign_list({"a.mssante.fr": a, "b.mssante.fr": b})
    with sending(tmp_path / "b", before) as sender:
        found = ListWakeup(sender.store.database, system_clock)
        sender.trust_state.on_new_list = found.note_new_list
        async with running(server_tls("a", tmp_path)) as peer:
            for _ in range(6):  # enough for the death of a destination
                sender.queue(ACTIVE)
            stop = asyncio.Event()
            courier = sender.courier({"a.mssante.fr": Target(HOST, peer.port)})
            tasks = [
                asyncio.create_task(courier.run(stop)),
                asyncio.create_task(sender.trust_state.watch(0.01)),
                asyncio.create_task(found.run(0.01)),
            ]

            def known() -> Any:
                return destination(sender.store.database, "a.mssante.fr")

            await until(lambda: known() is not None and known().dead_until is not None)
            assert peer.messages == []
            assert known().last_error.startswith("server refused by rule name: ")
            adopt(sender.folder, after, space.trust, system_clock())
            await until(lambda: sender.queued() == [])
            assert len(peer.messages) == 6
            stop.set()
            for task in tasks[1:]:
                task.cancel()
            await tasks[0]
