"""The mailstore's answers about a recipient, on both databases (DOMAIN §3.2)."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete, event, update

from mailstore.blobs.store import Store
from mailstore.db.schema import entries, mailboxes
from mailstore.errors import StoreUnavailable
from mailstore.mailboxes.identifiers import Identifier, IdentifierKind, MailboxType
from mailstore.mailboxes.lifecycle import set_state
from mailstore.mailboxes.mailboxes import add_mailbox, get_mailbox, set_quota
from mailstore.mailboxes.states import MailboxState as StoredState
from mailstore.messages.messages import LocalDelivery, Message, NewMessage, store_messages
from relay.acceptance.recipient_lookup import CACHE_AGE_LIMIT, CACHE_SECONDS, RecipientLookup
from relay.policy.recipient import RecipientStatus
from relay.smtp.address import POSTMASTER, SmtpAddress, parse_address
from relay.smtp.errors import StoreDeferred
from tests.support.clock import NOW, system_clock
from tests.support.machines.operators import ACTIVE, CLOSED, SUSPENDED, make_store

HELD = 1000  # octets in the active mailbox


@pytest.fixture
def store(tmp_path: Path, database_url: str) -> Iterator[Store]:
    store = make_store(tmp_path, database_url)
    with store.database.write() as connection:
        holds = LocalDelivery(get_mailbox(connection, ACTIVE).id, ACTIVE)
        message = Message("0" * 32, "", "0" * 64, HELD, "", "local", "s", NOW)
        store_messages(connection, [NewMessage(message, (holds,))], now=NOW)
    yield store
    store.close()


def ruin(database_url: str) -> None:
    Path(database_url.removeprefix("sqlite:///")).write_bytes(b"garbage" * 1000)


def limit(store: Store, address: str, quota: int | None) -> None:
    with store.database.write() as connection:
        set_quota(connection, address, quota)


@pytest.mark.parametrize(
    ("address", "state"),
    [
        (ACTIVE, RecipientStatus.ACTIVE),
        (ACTIVE.upper(), RecipientStatus.ACTIVE),
        (SUSPENDED, RecipientStatus.SUSPENDED),
        (CLOSED, RecipientStatus.CLOSED),
        ("nobody@a.mssante.fr", RecipientStatus.UNKNOWN),
        ("nobody@x.a.mssante.fr", RecipientStatus.FOREIGN),
        ("nobody@gmail.com", RecipientStatus.FOREIGN),
    ],
)
async def test_states(store: Store, address: str, state: RecipientStatus) -> None:
    recipients, parsed = RecipientLookup(store.database, now=system_clock), parse_address(address)
    found = await recipients.lookup(parsed)
    assert found == recipients.find(parsed) == await recipients.lookup(parsed, 10**9)
    assert found.state is state
    assert (found.mailbox_id is None) == (
        state in {RecipientStatus.UNKNOWN, RecipientStatus.FOREIGN}
    )


@pytest.mark.parametrize(
    ("address", "state"),
    [
        (POSTMASTER, RecipientStatus.ACTIVE),
        (parse_address("PostMaster@a.mssante.fr"), RecipientStatus.ACTIVE),
        (parse_address("hostmaster@a.mssante.fr"), RecipientStatus.UNKNOWN),
        (parse_address("postmaster@gmail.com"), RecipientStatus.FOREIGN),
    ],
    ids=str,
)
async def test_mail_for_postmaster_goes_where_the_configuration_says(
    store: Store, address: SmtpAddress, state: RecipientStatus
) -> None:
    recipients = RecipientLookup(store.database, postmaster=parse_address(ACTIVE), now=system_clock)
    found = await recipients.lookup(address)
    assert found == recipients.find(address) == await recipients.lookup(address)
    assert found.state is state
    if state is RecipientStatus.ACTIVE:
        assert found == recipients.find(parse_address(ACTIVE))
    # The alias is for recipients only, and exists only if it is configured.
    unknown = RecipientStatus.UNKNOWN if state is RecipientStatus.ACTIVE else state
    assert recipients.find_sender(address).state is unknown
    assert RecipientLookup(store.database, now=system_clock).find(address).state is unknown


async def test_a_mailbox_that_is_named_postmaster_has_its_mail_and_its_state(store: Store) -> None:
    recipients = RecipientLookup(store.database, postmaster=parse_address(ACTIVE), now=system_clock)
    address = parse_address("postmaster@a.mssante.fr")
    with store.database.write() as connection:
        person = Identifier(IdentifierKind.RPPS, "10987654321")
        add_mailbox(connection, str(address), MailboxType.PER, person, now=NOW)
        set_state(connection, str(address), StoredState.SUSPENDED)
    assert (await recipients.lookup(address)).state is RecipientStatus.SUSPENDED


async def test_a_postmaster_without_a_mailbox_is_nobody(store: Store) -> None:
    recipients = RecipientLookup(
        store.database, postmaster=parse_address("nobody@a.mssante.fr"), now=system_clock
    )
    assert (await recipients.lookup(POSTMASTER)).state is RecipientStatus.UNKNOWN


@pytest.mark.parametrize(
    ("quota", "size", "state"),
    [
        (None, 10**15, RecipientStatus.ACTIVE),
        (HELD + 1, None, RecipientStatus.ACTIVE),
        (HELD + 1, 0, RecipientStatus.ACTIVE),
        (HELD + 1, 1, RecipientStatus.ACTIVE),
        (HELD + 1, 2, RecipientStatus.FULL),
        (HELD, None, RecipientStatus.FULL),
        (HELD, 0, RecipientStatus.FULL),
        (HELD - 1, None, RecipientStatus.FULL),
        (0, None, RecipientStatus.FULL),
    ],
)
async def test_a_full_mailbox(
    store: Store, quota: int | None, size: int | None, state: RecipientStatus
) -> None:
    limit(store, ACTIVE, quota)
    found = await RecipientLookup(store.database, now=system_clock).lookup(
        parse_address(ACTIVE), size
    )
    assert found.state is state
    assert found.mailbox_id is not None


async def test_only_an_open_mailbox_is_full(store: Store) -> None:
    recipients = RecipientLookup(store.database, now=system_clock)
    for address, state in (
        (SUSPENDED, RecipientStatus.SUSPENDED),
        (CLOSED, RecipientStatus.CLOSED),
    ):
        limit(store, address, 0)
        assert (await recipients.lookup(parse_address(address))).state is state


async def test_full_is_over_once_there_is_room(store: Store) -> None:
    recipients, address = RecipientLookup(store.database, now=system_clock), parse_address(ACTIVE)
    limit(store, ACTIVE, HELD)
    assert (await recipients.lookup(address)).state is RecipientStatus.FULL
    limit(store, ACTIVE, 2 * HELD)
    assert (await recipients.lookup(address, HELD)).state is RecipientStatus.ACTIVE
    with store.database.write() as connection:
        set_state(connection, ACTIVE, StoredState.SUSPENDED)
    assert (await recipients.lookup(address, HELD + 1)).state is RecipientStatus.SUSPENDED


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_database_that_is_unwell_puts_off(store: Store, database_url: str) -> None:
    ruin(database_url)
    with pytest.raises(StoreDeferred, match=r"451 4\.3\.0") as deferred:
        RecipientLookup(store.database, now=system_clock).find(parse_address(ACTIVE))
    assert isinstance(deferred.value.__cause__, StoreUnavailable)


async def test_an_open_mailbox_is_remembered_for_a_moment(store: Store) -> None:
    now = [100.0]
    recipients, address = (
        RecipientLookup(store.database, lambda: now[0], now=system_clock),
        parse_address(ACTIVE),
    )
    assert (await recipients.lookup(address)).state is RecipientStatus.ACTIVE
    with store.database.write() as connection:
        set_state(connection, ACTIVE, StoredState.SUSPENDED)
    now[0] += CACHE_SECONDS - 0.001
    assert (await recipients.lookup(address)).state is RecipientStatus.ACTIVE
    now[0] += 0.001
    assert (await recipients.lookup(address)).state is RecipientStatus.SUSPENDED
    with store.database.write() as connection:
        set_state(connection, ACTIVE, StoredState.ACTIVE)
    # A refusal is never cached: a reopened mailbox need not wait.
    assert (await recipients.lookup(address)).state is RecipientStatus.ACTIVE


async def test_a_mailbox_with_a_quota_is_asked_each_time(store: Store) -> None:
    recipients, address = (
        RecipientLookup(store.database, lambda: 0.0, now=system_clock),
        parse_address(ACTIVE),
    )
    limit(store, ACTIVE, 10 * HELD)
    assert (await recipients.lookup(address)).state is RecipientStatus.ACTIVE
    limit(store, ACTIVE, HELD)
    assert (await recipients.lookup(address)).state is RecipientStatus.FULL


async def test_what_is_remembered_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.acceptance.recipient_lookup.MAX_CACHED", 2)
    recipients = RecipientLookup(store.database, lambda: 0.0, now=system_clock)
    for address in (ACTIVE, "cardiologie@a.mssante.fr", ACTIVE.upper(), ACTIVE.title()):
        await recipients.lookup(parse_address(address))
        assert len(recipients._open) <= 2


async def test_memory_outlasts_a_look_that_finds_no_change(store: Store) -> None:
    now = [100.0]
    recipients, address = (
        RecipientLookup(store.database, lambda: now[0], now=system_clock),
        parse_address(ACTIVE),
    )
    await recipients.lookup(address)
    now[0] += CACHE_SECONDS
    assert recipients.cached(address) is None
    await recipients.lookup(parse_address("nobody@a.mssante.fr"))  # the look
    assert recipients.cached(address) is not None
    now[0] += CACHE_SECONDS
    limit(store, SUSPENDED, 1)  # any change
    await recipients.lookup(parse_address("nobody@a.mssante.fr"))
    assert recipients.cached(address) is None


async def test_nothing_is_remembered_for_ever(store: Store) -> None:
    # A change by SQL does not increase the change number.
    now = [100.0]
    recipients, address = (
        RecipientLookup(store.database, lambda: now[0], now=system_clock),
        parse_address(ACTIVE),
    )
    await recipients.lookup(address)
    with store.database.write() as connection:
        connection.execute(update(mailboxes).values(state="suspended"))
    now[0] += CACHE_AGE_LIMIT
    assert (await recipients.lookup(address)).state is RecipientStatus.SUSPENDED


async def test_who_asks_together_is_answered_together(store: Store) -> None:
    recipients = RecipientLookup(store.database, now=system_clock)
    statements: list[str] = []

    def note(*arguments: Any) -> None:
        statements.append(arguments[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        asked = [ACTIVE, SUSPENDED, CLOSED, ACTIVE.upper(), "nobody@gmail.com"]
        found = await asyncio.gather(*(recipients.lookup(parse_address(one)) for one in asked))
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert [one.state for one in found] == [
        RecipientStatus.ACTIVE,
        RecipientStatus.SUSPENDED,
        RecipientStatus.CLOSED,
        RecipientStatus.ACTIVE,
        RecipientStatus.FOREIGN,
    ]
    assert sum("FROM aliases JOIN" in statement for statement in statements) == 1


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_everybody_hears_of_a_database_that_is_unwell(
    store: Store, database_url: str
) -> None:
    store.database.close()
    ruin(database_url)
    recipients = RecipientLookup(store.database, now=system_clock)
    asked = [recipients.lookup(parse_address(one)) for one in (ACTIVE, SUSPENDED)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(one) for one in found] == [StoreDeferred, StoreDeferred]


async def test_one_that_gives_up_leaves_the_others_their_answer(store: Store) -> None:
    recipients = RecipientLookup(store.database, now=system_clock)
    one = asyncio.create_task(recipients.lookup(parse_address(ACTIVE)))
    other = asyncio.create_task(recipients.lookup(parse_address(SUSPENDED)))
    await asyncio.sleep(0)  # both have asked
    one.cancel()
    assert (await other).state is RecipientStatus.SUSPENDED
    with pytest.raises(asyncio.CancelledError):
        await one


async def test_what_comes_meanwhile_counts_toward_a_quota(store: Store) -> None:
    now = [100.0]
    recipients, address = (
        RecipientLookup(store.database, lambda: now[0], now=system_clock),
        parse_address(ACTIVE),
    )
    limit(store, ACTIVE, 3 * HELD)
    for number in range(1, 4):
        found = await recipients.lookup(address)
        assert found.state is (RecipientStatus.FULL if number == 3 else RecipientStatus.ACTIVE)
        with store.database.write() as connection:
            holds = LocalDelivery(get_mailbox(connection, ACTIVE).id, ACTIVE)
            message = Message(f"{number:032}", "", "0" * 64, HELD, "", "local", "s", NOW)
            store_messages(connection, [NewMessage(message, (holds,))], now=NOW)
    # A removed mailbox is noticed within a minute.
    with store.database.write() as connection:
        connection.execute(delete(entries))
    assert (await recipients.lookup(address)).state is RecipientStatus.FULL
    now[0] += CACHE_AGE_LIMIT
    assert (await recipients.lookup(address)).state is RecipientStatus.ACTIVE


async def test_what_is_foreseen_is_looked_up_with_the_next_one(store: Store) -> None:
    recipients = RecipientLookup(store.database, now=system_clock)
    org = parse_address("cardiologie@a.mssante.fr")
    ahead = [org, parse_address(SUSPENDED), parse_address("nobody@gmail.com")]
    found = await recipients.lookup(parse_address(ACTIVE), None, ahead)
    assert found.state is RecipientStatus.ACTIVE
    assert recipients.cached(org) is not None
    # A refusal is never cached, whatever its cause.
    assert recipients.cached(parse_address(SUSPENDED)) is None
    assert (await recipients.lookup(parse_address(SUSPENDED))).state is RecipientStatus.SUSPENDED
