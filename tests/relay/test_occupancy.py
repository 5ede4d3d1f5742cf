"""Who holds connections, by address and by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Reply
from relay.limits import Limits
from relay.occupancy import Occupancy, network
from whitelist.names import DistinguishedName

B = DistinguishedName.parse("CN=smtp.b.mssante.fr,O=B,C=FR")
C = DistinguishedName.parse("CN=smtp.c.mssante.fr,O=C,C=FR")


class Held:
    """A session that only exists."""

    idle = True

    def hang_up(self, reply: Reply) -> None:
        raise AssertionError(reply)


def occupancy(everyone: int = 10, address: int = 10, peer: int = 10) -> Occupancy:
    return Occupancy(
        Limits(
            max_connections=everyone,
            max_connections_per_address=address,
            max_connections_per_peer=peer,
        )
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
    seats = occupancy(everyone=3, address=2)
    held = [Held(), Held(), Held()]
    for session, address in zip(held, ("192.0.2.1", "192.0.2.1", "192.0.2.2"), strict=True):
        assert seats.over(address) == ""
        seats.enter(session, address)
        if session is held[1]:
            assert seats.over("192.0.2.1") == "address"
    assert seats.over("192.0.2.3") == "all"
    seats.leave(held[0], "192.0.2.1", None)
    assert seats.over("192.0.2.3") == seats.over("192.0.2.1") == ""


def test_the_limit_for_a_name_counts_whoever_has_shown_it() -> None:
    seats = occupancy(peer=1)
    first, second = Held(), Held()
    for session in (first, second):
        seats.enter(session, "192.0.2.1")
    assert seats.identify(B)
    assert not seats.identify(B)
    assert seats.identify(C)
    seats.leave(second, "192.0.2.1", B)
    assert not seats.identify(B)
    for _ in range(2):
        seats.leave(first, "192.0.2.1", B)
    assert seats.identify(B)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([None, B, C])), max_size=30))
def test_nothing_is_left_of_those_who_left(
    visits: list[tuple[int, DistinguishedName | None]],
) -> None:
    seats = occupancy()
    held = [(Held(), f"192.0.2.{host}", name) for host, name in visits]
    for session, address, name in held:
        seats.enter(session, address)
        if name is not None:
            seats.identify(name)
    for session, address, name in held:
        seats.leave(session, address, name)
    assert seats.sessions == set()
    assert not seats._addresses
    assert not seats._peers
