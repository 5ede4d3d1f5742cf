"""Recipients of a domain that holds its quota, on both databases (DOMAIN §3.2)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete, event

from mailstore.blobs.store import Store
from mailstore.db.schema import entries
from mailstore.mail.domain_usage import FRESH_SECONDS, SUM_SECONDS
from mailstore.mail.quota import set_domain_quota
from mailstore.mailboxes.mailboxes import get_mailbox, set_quota
from mailstore.messages.messages import LocalDelivery, Message, NewMessage, store_messages
from relay.acceptance.recipient_lookup import RecipientLookup
from relay.policy.recipient import RecipientStatus
from relay.smtp.address import parse_address
from tests.support.clock import NOW, system_clock
from tests.support.machines.operators import ACTIVE, ALIAS, OURS, SUSPENDED, make_store
from tests.support.waiting import until

HELD = 1000  # octets in the domain
OTHER = parse_address(f"cardiologie@{OURS}")  # an empty mailbox of the domain


class Asked:
    """A lookup by a clock that the test moves."""

    def __init__(self, store: Store) -> None:
        self.store, self.now = store, 100.0
        self.lookup = RecipientLookup(store.database, lambda: self.now, now=system_clock)

    def limit(self, quota: int | None) -> None:
        with self.store.database.write() as conn:
            set_domain_quota(conn, OURS, quota)

    def deliver(self, octets: int) -> None:
        name = f"{octets:032x}"
        message = Message(name, "", "0" * 64, octets, "", "local", "s", NOW)
        with self.store.database.write() as conn:
            holds = LocalDelivery(get_mailbox(conn, ACTIVE).id, ACTIVE)
            store_messages(conn, [NewMessage(message, (holds,))], now=NOW)

    async def state(self, size: int | None = None) -> RecipientStatus:
        return (await self.lookup.lookup(OTHER, size)).state


@pytest.fixture
def asked(tmp_path: Path, database_url: str) -> Iterator[Asked]:
    store = make_store(tmp_path, database_url)
    found = Asked(store)
    found.deliver(HELD)
    yield found
    store.close()


@pytest.mark.parametrize(
    ("quota", "size", "state"),
    [
        (None, 10**15, RecipientStatus.ACTIVE),
        (HELD + 1, None, RecipientStatus.ACTIVE),
        (HELD + 1, 1, RecipientStatus.ACTIVE),
        (HELD + 1, 2, RecipientStatus.FULL),
        (HELD, None, RecipientStatus.FULL),
        (0, 0, RecipientStatus.FULL),
    ],
)
async def test_a_full_domain(
    asked: Asked, quota: int | None, size: int | None, state: RecipientStatus
) -> None:
    asked.limit(quota)
    assert await asked.state(size) is state
    assert asked.lookup.find(OTHER, size).state is state


async def test_it_concerns_all_its_open_mailboxes_and_their_aliases(asked: Asked) -> None:
    asked.limit(HELD)
    for address in (ACTIVE, ALIAS):
        found = await asked.lookup.lookup(parse_address(address))
        assert found.state is RecipientStatus.FULL
    found = await asked.lookup.lookup(parse_address(SUSPENDED))
    assert found.state is RecipientStatus.SUSPENDED


async def test_the_quota_of_the_mailbox_holds_too(asked: Asked) -> None:
    asked.limit(2 * HELD)
    with asked.store.database.write() as conn:
        set_quota(conn, str(OTHER), 10)
    assert await asked.state(10) is RecipientStatus.ACTIVE
    assert await asked.state(11) is RecipientStatus.FULL


async def test_a_quota_that_is_set_later_counts_at_once(asked: Asked) -> None:
    assert await asked.state() is RecipientStatus.ACTIVE
    asked.now += 1.0  # the cache of open mailboxes
    asked.limit(HELD)
    assert await asked.state() is RecipientStatus.FULL
    asked.limit(None)
    assert await asked.state() is RecipientStatus.ACTIVE


async def test_mail_counts_seconds_later(asked: Asked) -> None:
    asked.limit(2 * HELD)
    assert await asked.state() is RecipientStatus.ACTIVE
    asked.deliver(HELD + 1)
    asked.now += FRESH_SECONDS
    assert await asked.state() is RecipientStatus.FULL


async def test_room_made_counts_once_the_domain_is_summed_again(asked: Asked) -> None:
    asked.limit(HELD)
    assert await asked.state() is RecipientStatus.FULL
    with asked.store.database.write() as conn:
        conn.execute(delete(entries))
    asked.now += SUM_SECONDS
    # Nobody waits for the sum: this question starts it.
    assert await asked.state() is RecipientStatus.FULL
    await until(lambda: asked.lookup.find(OTHER).state is RecipientStatus.ACTIVE)


async def test_a_domain_without_a_quota_costs_no_query(asked: Asked) -> None:
    await asked.state()
    statements: list[str] = []

    def note(*arguments: Any) -> None:
        statements.append(arguments[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        for _ in range(3):
            asked.now += 2 * FRESH_SECONDS
            await asked.state()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert len(statements) >= 6  # the change number and the mailbox
    assert not any("quota IS NOT NULL" in one or "sum(" in one for one in statements)
