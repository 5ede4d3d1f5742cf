"""Counts of connections, by address and by name."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.connection.connection_counts import ARRIVAL_SECONDS, ConnectionCounts, network
from relay.connection.limits import SessionLimits
from relay.smtp.reply import Reply
from tests.support.clock import Monotonic
from whitelist.pki.distinguished_name import DistinguishedName

B = DistinguishedName.parse("CN=smtp.b.mssante.fr,O=B,C=FR")
C = DistinguishedName.parse("CN=smtp.c.mssante.fr,O=C,C=FR")


class Held:
    """A minimal session."""

    idle = True

    def __init__(self) -> None:
        self.said: Reply | None = None
        self.at_once = False

    def hang_up(self, reply: Reply, *, at_once: bool = False) -> None:
        assert self.said is None
        self.said, self.at_once = reply, at_once

    def drop(self) -> None:
        raise AssertionError("only who stops the listener drops sessions")


def connection_counts(
    everyone: int = 10, address: int = 10, peer: int = 10, clock: Callable[[], float] = lambda: 0.0
) -> ConnectionCounts:
    return ConnectionCounts(
        SessionLimits(
            max_connections=everyone,
            max_connections_per_address=address,
            max_connections_per_peer=peer,
        ),
        clock=clock,
    )


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1:2:3", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unknown", "unknown"),
    ],
)
def test_what_an_address_counts_as(address: str, counted: str) -> None:
    assert network(address) == counted


def test_the_limit_for_all_and_for_an_address() -> None:
    seats = connection_counts(everyone=3, address=2)
    held = [Held(), Held(), Held()]
    for session, address in zip(held, ("192.0.2.1", "192.0.2.1", "192.0.2.2"), strict=True):
        assert seats.make_room(address) == ""
        seats.add(session, address)
        if session is held[1]:
            assert seats.make_room("192.0.2.1") == "address"
    assert seats.make_room("192.0.2.3") == "all"
    seats.remove(held[0], "192.0.2.1", None)
    assert seats.make_room("192.0.2.3") == seats.make_room("192.0.2.1") == ""


def test_the_limit_for_a_name_counts_whoever_has_shown_it() -> None:
    seats = connection_counts(peer=1)
    first, second = Held(), Held()
    for session in (first, second):
        seats.add(session, "192.0.2.1")
    assert seats.count_peer(B)
    assert not seats.count_peer(B)
    assert seats.count_peer(C)
    seats.remove(second, "192.0.2.1", B)
    assert not seats.count_peer(B)
    for _ in range(2):
        seats.remove(first, "192.0.2.1", B)
    assert seats.count_peer(B)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([None, B, C])), max_size=30))
def test_nothing_is_left_of_those_who_left(
    visits: list[tuple[int, DistinguishedName | None]],
) -> None:
    seats = connection_counts()
    held = [(Held(), f"192.0.2.{host}", name) for host, name in visits]
    for session, address, name in held:
        seats.add(session, address)
        if name is not None:
            seats.count_peer(name)
    for session, address, name in held:
        seats.remove(session, address, name)
    assert seats.sessions == set()
    assert not seats._addresses
    assert not seats._peers


# Strangers.


def test_strangers_give_way_in_order_and_listed_peers_never() -> None:
    clock = Monotonic()
    seats = connection_counts(everyone=4, clock=clock)
    listed, coming, first, second = (Held() for _ in range(4))
    for session in (listed, coming, first, second):
        seats.add(session, "192.0.2.1")
    seats.mark_known(listed)
    for session in (first, second):
        seats.mark_stranger(session, "192.0.2.1")
    clock.now += ARRIVAL_SECONDS / 2
    newcomers = []
    for gone in (first, second):
        assert seats.make_room("192.0.2.2") == ""
        assert str(gone.said).startswith("421 4.3.2 Too many connections")
        newcomers.append(Held())
        seats.add(newcomers[-1], "192.0.2.2")
    # All others came a moment ago and may be peers.
    assert seats.make_room("192.0.2.2") == "all"
    assert [one.said for one in (listed, coming, *newcomers)] == [None] * 4
    clock.now += ARRIVAL_SECONDS / 2
    assert seats.make_room("192.0.2.2") == ""
    assert [one.said is None for one in (listed, coming, *newcomers)] == [True, False, True, True]


def test_at_the_share_of_an_address_its_own_strangers_give_way() -> None:
    seats = connection_counts(everyone=10, address=2)
    other, listed, stranger = Held(), Held(), Held()
    for session, address in ((other, "192.0.2.9"), (listed, "192.0.2.1"), (stranger, "192.0.2.1")):
        seats.add(session, address)
        seats.mark_stranger(session, address)
    seats.mark_known(listed)
    assert seats.make_room("192.0.2.1") == ""
    assert stranger.said is not None
    assert other.said is None
    seats.add(Held(), "192.0.2.1")
    assert seats.make_room("192.0.2.1") == "address"


def test_a_place_is_kept_while_the_certificate_is_weighed() -> None:
    # OCSP may take seconds, in which a crowd would push out every new peer.
    clock = Monotonic()
    seats = connection_counts(everyone=1, clock=clock)
    session = Held()
    seats.add(session, "192.0.2.1")
    seats.mark_undecided(session)
    clock.now += 5
    assert seats.make_room("192.0.2.2") == "all"
    assert session.said is None
    seats.mark_stranger(session, "192.0.2.1")
    assert seats.make_room("192.0.2.2") == ""
    assert session.said is not None


def test_a_peer_no_longer_listed_becomes_a_stranger() -> None:
    seats = connection_counts(everyone=1)
    session = Held()
    seats.add(session, "192.0.2.1")
    seats.mark_known(session)
    assert seats.make_room("192.0.2.2") == "all"
    seats.mark_stranger(session, "192.0.2.1")
    assert seats.make_room("192.0.2.2") == ""


def test_many_that_are_given_up_are_not_waited_for() -> None:
    seats = connection_counts(everyone=1)
    ends = []
    for _ in range(150):
        assert seats.make_room("192.0.2.1") == ""
        session = Held()
        seats.add(session, "192.0.2.1")
        seats.mark_stranger(session, "192.0.2.1")
        ends.append(session)
    assert not ends[50].at_once
    assert ends[120].at_once
    for session in ends:
        seats.remove(session, "192.0.2.1", None)
    assert not seats._addresses
    assert not seats._leaving
