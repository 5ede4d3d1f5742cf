"""Shared list in the database: an older list never replaces a newer list, and none is trusted."""

import random
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import update

from mailstore.db.database import Database
from relay.machines import shared_list
from relay.machines.schema import shared_list as table
from relay.machines.shared_list import (
    ListOffer,
    NotPacked,
    SharedListHead,
    confirm,
    pack,
    publish,
    read_head,
    read_list_octets,
    unpack,
)
from tests.support.clock import NOW
from whitelist.national.newest import SharedList
from whitelist.national.signed_file import MAX_LIST_BYTES

SECOND = timedelta(seconds=1)
AGO = timedelta(minutes=3)


def offer(number: int, *, ago: timedelta | None = AGO, accepted: bool = False) -> ListOffer:
    """Make a list with this number; a higher number is newer."""
    data = f"list {number}".encode() * 100
    return ListOffer(f"{number:064x}", NOW + number * SECOND, data, ago, accepted)


def share(database: Database, one: ListOffer, *, instead_of: SharedList | None = None) -> bool:
    with database.write() as connection:
        return publish(connection, one, NOW, instead_of=instead_of)


def head(database: Database) -> SharedListHead | None:
    with database.read() as connection:
        return read_head(connection)


def shared(database: Database) -> SharedList:
    found = head(database)
    assert found is not None
    return found.shared


def octets(database: Database, digest: str) -> bytes | None:
    with database.read() as connection:
        return read_list_octets(connection, digest)


def test_a_newer_list_takes_the_place_of_an_older_one_alone(database: Database) -> None:
    assert head(database) is None
    assert share(database, offer(2))
    assert shared(database) == SharedList(offer(2).digest, offer(2).generated_at, NOW - AGO)
    assert octets(database, offer(2).digest) == offer(2).data
    same_date = ListOffer("f" * 64, offer(2).generated_at, b"other")
    assert not any(share(database, one) for one in (offer(1), offer(2), same_date))
    assert shared(database).digest == offer(2).digest
    assert share(database, offer(3))
    assert octets(database, offer(2).digest) is None
    assert octets(database, offer(3).digest) == offer(3).data


def test_a_list_that_no_check_has_found_was_current_when_it_was_made(database: Database) -> None:
    share(database, offer(-60, ago=None))
    assert shared(database).checked_at == NOW - timedelta(minutes=1)


def test_what_is_no_list_gives_way_unless_another_was_faster(database: Database) -> None:
    share(database, offer(9))
    damaged = shared(database)
    assert share(database, offer(1), instead_of=damaged)
    assert shared(database).digest == offer(1).digest
    share(database, offer(10))
    assert not share(database, offer(2), instead_of=damaged)
    assert shared(database).digest == offer(10).digest


def test_the_acceptance_of_a_person_stays_with_the_lists_after_it(database: Database) -> None:
    share(database, offer(1, accepted=True))
    share(database, offer(2))
    found = head(database)
    assert found is not None
    assert found.shrink_accepted == offer(1).generated_at


def test_a_check_moves_the_time_ahead_by_the_databases_clock(database: Database) -> None:
    share(database, offer(1))
    digest = offer(1).digest
    with database.write() as connection:
        assert not confirm(connection, "0" * 64, NOW, SECOND)
        assert confirm(connection, digest, NOW, SECOND)
        assert confirm(connection, digest, NOW, AGO)  # an earlier check changes nothing
    assert shared(database).checked_at == NOW - SECOND
    with database.write() as connection:
        assert confirm(connection, digest, NOW, -AGO)  # no check in the future
    assert shared(database).checked_at == NOW
    with database.write() as connection:
        assert confirm(connection, digest, NOW - timedelta(days=1), SECOND)  # clock set back
    assert shared(database).checked_at == NOW - timedelta(days=1) - SECOND


def test_machines_that_share_at_once_leave_the_newest(database: Database) -> None:
    numbers = list(range(12))
    random.Random(1).shuffle(numbers)
    gate = threading.Barrier(4)

    def some(mine: list[int]) -> None:
        gate.wait()
        for number in mine:
            share(database, offer(number))

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(some, numbers[n::4]) for n in range(4)]:
            done.result()
    share(database, offer(11))
    assert shared(database).digest == offer(11).digest
    assert octets(database, offer(11).digest) == offer(11).data


def test_the_largest_list_fits_and_nothing_larger_is_unpacked() -> None:
    assert unpack(pack(b"")) == b""
    largest = random.Random(1).randbytes(MAX_LIST_BYTES)
    packed = pack(largest)
    assert len(packed) <= shared_list.MAX_PACKED
    assert unpack(packed) == largest
    # A megabyte that unpacks to a gigabyte.
    maker = zlib.compressobj(9)
    bomb = b"".join(maker.compress(bytes(2**20)) for _ in range(2**10)) + maker.flush()
    assert len(bomb) < 2**20 + 2**10
    with pytest.raises(NotPacked, match="when unpacked"):
        unpack(bomb)


@pytest.mark.parametrize(
    "packed", [b"", b"list", pack(b"list" * 99)[:-3], pack(b"list") + b"x", pack(b"list")[4:]]
)
def test_what_is_not_packed_is_told(packed: bytes) -> None:
    with pytest.raises(NotPacked):
        unpack(packed)


def test_too_much_is_not_even_read(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    share(database, offer(1))
    monkeypatch.setattr(shared_list, "MAX_PACKED", 10)
    with database.write() as connection:
        connection.execute(update(table).values(compressed=bytes(11)))
    with pytest.raises(NotPacked, match="11 octets"):
        octets(database, offer(1).digest)
