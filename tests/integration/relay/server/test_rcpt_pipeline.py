"""RCPT by the hundred: a recognised line has the same result as the command by itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailstore.blobs.store import Store
from mailstore.mailboxes.lifecycle import set_state
from mailstore.mailboxes.mailboxes import get_mailbox, set_quota
from mailstore.mailboxes.states import MailboxState
from relay.acceptance.message import LocalRecipient
from relay.acceptance.recipient_lookup import CACHE_AGE_LIMIT, CACHE_SECONDS, RecipientLookup
from relay.server import rcpt_pipeline
from relay.server.rcpt_pipeline import RcptLines, parse_rcpt_line
from relay.smtp.address import parse_address
from relay.smtp.parameters import parse_rcpt_parameters
from tests.support.clock import system_clock
from tests.support.machines.operators import ACTIVE, SUSPENDED, make_store

ORG = "cardiologie@a.mssante.fr"
LINE = f"RCPT TO:<{ACTIVE}>\r".encode()
ODD = [
    b"DATA\r",
    b"RCPT\r",
    b"RSET\r",
    b"RCPT TO:<>\r",
    b"RCPT TO:<postmaster>\r",
    f"RCPT TO:<{SUSPENDED}>\r".encode(),
    b"RCPT TO:<nobody@a.mssante.fr>\r",
    b"RCPT TO:<dr@gmail.com>\r",
    f"RCPT TO:<{ACTIVE}>".encode(),
    f"RCPT TO:<{ACTIVE}>\r\r".encode(),
    f"RCPT TO:<{ACTIVE}>\0\r".encode(),
    f"RCPT TO:<{ACTIVE}> NOTIFY=X\r".encode(),
    f"RCPT TO:<{ACTIVE}\u00e9>\r".encode(),
]


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = make_store(tmp_path)
    yield store
    store.close()


async def knowing(store: Store, now: list[float]) -> RcptLines:
    lookup = RecipientLookup(store.database, lambda: now[0], now=system_clock)
    for address in (ACTIVE, ORG, SUSPENDED, "nobody@a.mssante.fr", "dr@gmail.com"):
        await lookup.lookup(parse_address(address))
    return RcptLines(lookup)


def mailbox_id(store: Store, address: str) -> int:
    with store.database.read() as connection:
        return get_mailbox(connection, address).id


async def test_known_mailboxes_are_recognised_with_what_is_asked_for_them(
    store: Store, now: list[float]
) -> None:
    cache = await knowing(store, now)
    lines = [LINE, f"rcpt to:<{ORG}> NOTIFY=NEVER\r".encode(), LINE]
    expected = [
        LocalRecipient(mailbox_id(store, ACTIVE), parse_address(ACTIVE)),
        LocalRecipient(
            mailbox_id(store, ORG), parse_address(ORG), parse_rcpt_parameters("NOTIFY=NEVER")
        ),
    ]
    for _ in range(2):  # the second time from the cache
        assert list(cache.known(lines)) == [*expected, expected[0]]
    assert cache._recipients.keys() == set(lines)


@pytest.mark.parametrize("odd", ODD)
async def test_the_first_odd_line_ends_it(store: Store, now: list[float], odd: bytes) -> None:
    cache = await knowing(store, now)
    for _ in range(2):
        assert len(list(cache.known([LINE, LINE, odd, LINE]))) == 2
    assert cache._recipients.keys() == {LINE}


@pytest.mark.parametrize("change", ["suspended", "bounded"])
async def test_what_was_recognised_is_forgotten_with_its_mailbox(
    store: Store, now: list[float], change: str
) -> None:
    cache = await knowing(store, now)
    assert len(list(cache.known([LINE]))) == 1
    with store.database.write() as connection:
        if change == "suspended":
            set_state(connection, ACTIVE, MailboxState.SUSPENDED)
        else:
            set_quota(connection, ACTIVE, 10**6)
    now[0] += CACHE_SECONDS
    assert list(cache.known([LINE])) == []
    await cache.lookup.lookup(parse_address(ORG))
    assert list(cache.known([LINE])) == []
    assert cache._recipients == {}


async def test_nothing_is_recognised_for_longer_than_mailboxes_are_remembered(
    store: Store, now: list[float]
) -> None:
    cache = await knowing(store, now)
    assert len(list(cache.known([LINE]))) == 1
    now[0] += CACHE_AGE_LIMIT
    assert list(cache.known([LINE])) == []


async def test_memory_is_bounded(
    store: Store, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A listed peer may send any number of different lines for one mailbox.
    cache = await knowing(store, now)
    monkeypatch.setattr(rcpt_pipeline, "MAX_CACHED", 10)
    lines = [f"RCPT TO:<{ACTIVE}> ORCPT=rfc822;{n}@b.fr\r".encode() for n in range(20)]
    long = f"RCPT TO:<{ACTIVE}> ORCPT=rfc822;{'x' * 200}@b.fr\r".encode()
    assert parse_rcpt_line(long) is not None
    assert len(list(cache.known([long, *lines]))) == 21
    assert cache._recipients.keys() == set(lines[:10])
