"""Recipients by state, by alias and without replies, on both databases (DOMAIN §9.39, §9.40)."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from mailstore.blobs.store import Store
from mailstore.mailboxes.aliases import add_alias, end_alias
from mailstore.mailboxes.lifecycle import delete_mailbox, restore_mailbox
from mailstore.mailboxes.mailboxes import get_mailbox, set_quota
from relay.acceptance.recipient_lookup import CACHE_AGE_LIMIT, CACHE_SECONDS, RecipientLookup
from relay.policy.recipient import RecipientStatus
from relay.smtp.address import parse_address
from tests.support.clock import NOW, Monotonic, system_clock
from tests.support.machines.operators import (
    ACTIVE,
    ALIAS,
    DELETED,
    ENDED_ALIAS,
    NO_REPLY,
    REFUSED,
    make_store,
)

NEW = "nouveau.nom@a.mssante.fr"


@pytest.fixture
def store(tmp_path: Path, database_url: str) -> Iterator[Store]:
    store = make_store(tmp_path, database_url)
    yield store
    store.close()


@pytest.mark.parametrize(
    ("address", "state"),
    [
        (ALIAS, RecipientStatus.ACTIVE),
        (ALIAS.upper(), RecipientStatus.ACTIVE),
        (ENDED_ALIAS, RecipientStatus.UNKNOWN),
        (DELETED, RecipientStatus.UNKNOWN),
        (REFUSED, RecipientStatus.REFUSED),
        (NO_REPLY, RecipientStatus.ACTIVE),
    ],
)
async def test_states(store: Store, address: str, state: RecipientStatus) -> None:
    directory, parsed = RecipientLookup(store.database, now=system_clock), parse_address(address)
    found = await directory.lookup(parsed)
    assert found == directory.find(parsed) == await directory.lookup(parsed, 10)
    assert found.state is state
    assert found.reports_only == (address == NO_REPLY)
    # A refusal is never cached.
    assert (directory.cached(parsed) is not None) == (state is RecipientStatus.ACTIVE)


async def test_an_alias_is_the_mailbox_itself(store: Store) -> None:
    directory = RecipientLookup(store.database, now=system_clock)
    with store.database.read() as connection:
        box = get_mailbox(connection, ACTIVE)
    by_alias = await directory.lookup(parse_address(ALIAS))
    assert by_alias == await directory.lookup(parse_address(ACTIVE))
    assert (by_alias.mailbox_id, by_alias.type) == (box.id, box.type)
    with store.database.write() as connection:
        set_quota(connection, ACTIVE, 100)
    assert directory.find(parse_address(ALIAS), 101).state is RecipientStatus.FULL


def test_who_sends(store: Store) -> None:
    directory = RecipientLookup(store.database, now=system_clock)
    for address, state in (
        (ALIAS, RecipientStatus.UNKNOWN),
        (DELETED, RecipientStatus.UNKNOWN),
        (REFUSED, RecipientStatus.SUSPENDED),
        (NO_REPLY, RecipientStatus.ACTIVE),
    ):
        assert directory.find_sender(parse_address(address)).state is state


async def test_an_alias_ends_at_its_time(store: Store) -> None:
    now = NOW

    def wall() -> datetime:
        return now

    end = NOW + timedelta(days=1)
    with store.database.write() as connection:
        add_alias(connection, ACTIVE, NEW, ends_at=end, now=NOW)
    clock = Monotonic()
    directory, alias = RecipientLookup(store.database, clock, now=wall), parse_address(NEW)
    assert (await directory.lookup(alias)).state is RecipientStatus.ACTIVE
    assert directory.cached(alias) is not None
    # So near to its end that the cache could outlive it, it is asked for each time.
    clock.now += CACHE_AGE_LIMIT + 1
    now = end - timedelta(seconds=1)
    assert (await directory.lookup(alias)).state is RecipientStatus.ACTIVE
    assert directory.cached(alias) is None
    now = end
    assert (await directory.lookup(alias)).state is RecipientStatus.UNKNOWN


async def test_an_end_set_now_is_seen_as_soon_as_any_change(store: Store) -> None:
    clock = Monotonic()
    directory, alias = (
        RecipientLookup(store.database, clock, now=system_clock),
        parse_address(ALIAS),
    )
    assert (await directory.lookup(alias)).state is RecipientStatus.ACTIVE
    now = system_clock()
    with store.database.write() as connection:
        end_alias(connection, ACTIVE, ALIAS, ends_at=now, now=now)
    clock.now += CACHE_SECONDS
    assert (await directory.lookup(alias)).state is RecipientStatus.UNKNOWN


async def test_a_restored_mailbox_takes_mail_again(store: Store) -> None:
    directory, address = RecipientLookup(store.database, now=system_clock), parse_address(DELETED)
    assert directory.find(address).state is RecipientStatus.UNKNOWN
    with store.database.write() as connection:
        restore_mailbox(connection, DELETED, reason="erreur", now=system_clock())
    assert directory.find(address).state is RecipientStatus.ACTIVE


async def test_aliases_cost_no_query_of_their_own(store: Store) -> None:
    """One query for all recipients, and one for the change number."""
    directory = RecipientLookup(store.database, now=system_clock)
    asked: list[str] = []

    def note(*given: object) -> None:
        asked.append(str(given[2]))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        found = [
            await directory.lookup(parse_address(ALIAS), ahead=[parse_address(ACTIVE)]),
            await directory.lookup(parse_address(ACTIVE)),
        ]
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert found[0] == found[1]
    assert len([one for one in asked if "FROM mailboxes" in one or "mailbox_changes" in one]) == 2


async def test_a_deletion_is_seen_as_soon_as_any_change(store: Store) -> None:
    clock = Monotonic()
    directory, address = (
        RecipientLookup(store.database, clock, now=system_clock),
        parse_address(ACTIVE),
    )
    assert (await directory.lookup(address)).state is RecipientStatus.ACTIVE
    with store.database.write() as connection:
        delete_mailbox(connection, ACTIVE, reason="x", grace=timedelta(days=1), now=system_clock())
    clock.now += CACHE_SECONDS
    assert (await directory.lookup(address)).state is RecipientStatus.UNKNOWN
    # Its alias is unknown with it.
    assert (await directory.lookup(parse_address(ALIAS))).state is RecipientStatus.UNKNOWN
