"""DNS cache with a real name server: answers kept for their TTL, no longer (RFC 2308, RFC 1034)."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import dns.rcode
import dns.rdatatype
import pytest

from relay.client.dns_cache import DnsAnswer, DnsCache
from tests.support.peers.nameserver import SILENCE, NameServer, Node, Zones, name_server

NAME = "mx.b.mssante.fr"
A, MX = dns.rdatatype.A, dns.rdatatype.MX


@dataclass
class CacheWithServer:
    """A name server, a resolver and a clock."""

    server: NameServer
    now: float = 1000.0
    max_kept: int = 100

    def __post_init__(self) -> None:
        self.resolving = DnsCache(self.server.resolver, lambda: self.now, max_kept=self.max_kept)

    async def ask(self, name: str = NAME) -> DnsAnswer:
        return await self.resolving.ask(name, A)

    @property
    def asked(self) -> int:
        return self.server.asked.total()

    async def holds_for(self, seconds: float) -> None:
        """Assert that the next answer is cached for `seconds`, and queried again afterwards."""
        first, count = await self.ask(), self.asked
        self.now += seconds - 0.1
        assert await self.ask() == first
        assert self.asked == count
        self.now += 0.1
        assert await self.ask() == first
        assert self.asked > count


@pytest.fixture
async def cache() -> AsyncIterator[CacheWithServer]:
    async with name_server({}) as server:
        yield CacheWithServer(server)


def texts(answer: DnsAnswer) -> list[str]:
    return [record.to_text() for record in answer.records]


@pytest.mark.parametrize(
    ("zones", "seconds"),
    [
        ({NAME: Node(a=("192.0.2.1",), ttl=120)}, 120),
        ({NAME: Node(a=("192.0.2.1",), ttl=86_400)}, 3600),  # an hour at most
        ({NAME: Node(cname="x.fr.", ttl=900), "x.fr": Node(a=("192.0.2.1",), ttl=30)}, 30),
        ({NAME: Node(cname="x.fr.", ttl=20), "x.fr": Node(a=("192.0.2.1",), ttl=30)}, 20),
        ({NAME: Node()}, 60),  # RFC 2308 §5: as long as the SOA says
        ({}, 60),
        ({NAME: dns.rcode.SERVFAIL}, 15),
        ({NAME: dns.rcode.REFUSED}, 15),
    ],
)
async def test_answers_hold_as_long_as_they_say(
    cache: CacheWithServer, zones: Zones, seconds: float
) -> None:
    cache.server.zones = zones
    await cache.holds_for(seconds)


@pytest.mark.parametrize("zones", [{NAME: Node()}, {}])
async def test_that_there_is_nothing_holds_five_minutes_at_most(
    cache: CacheWithServer, zones: Zones
) -> None:
    cache.server.zones, cache.server.negative_ttl = zones, 86_400
    await cache.holds_for(300)


@pytest.mark.parametrize("zones", [{NAME: Node()}, {}])
async def test_nothing_without_a_soa_is_kept_for_a_short_while(
    cache: CacheWithServer, zones: Zones
) -> None:
    cache.server.zones, cache.server.negative_ttl = zones, None
    await cache.ask()
    cache.now += 300
    await cache.ask()
    assert cache.asked == 2


async def test_a_ttl_of_nothing_is_not_kept(cache: CacheWithServer) -> None:
    # RFC 1035 §3.2.1
    cache.server.zones = {NAME: Node(a=("192.0.2.1",), ttl=0)}
    for count in (1, 2):
        assert texts(await cache.ask()) == ["192.0.2.1"]
        assert cache.asked == count


async def test_kinds_are_kept_apart(cache: CacheWithServer) -> None:
    cache.server.zones = {NAME: Node(mx=("10 x.fr.",), a=("192.0.2.1",))}
    assert texts(await cache.ask()) == ["192.0.2.1"]
    assert texts(await cache.resolving.ask(NAME, MX)) == ["10 x.fr."]
    assert texts(await cache.resolving.ask(NAME.upper(), MX)) == ["10 x.fr."]
    assert cache.asked == 2


async def test_what_was_used_longest_ago_makes_room() -> None:
    async with name_server({}) as server:
        cache = CacheWithServer(server, max_kept=2)
        for name in ("a.fr", "b.fr", "a.fr", "c.fr"):
            await cache.ask(name)
        assert cache.asked == 3
        await cache.ask("a.fr")
        assert cache.asked == 3
        await cache.ask("b.fr")
        assert cache.asked == 4


async def test_many_at_once_ask_once(cache: CacheWithServer) -> None:
    cache.server.zones = {NAME: Node(a=("192.0.2.1",))}
    answers = await asyncio.gather(*(cache.ask() for _ in range(50)))
    assert [texts(answer) for answer in answers] == [["192.0.2.1"]] * 50
    assert cache.asked == 1


async def test_one_who_gives_up_leaves_the_answer_to_the_others(cache: CacheWithServer) -> None:
    cache.server.zones = {NAME: Node(a=("192.0.2.1",))}
    first, second = asyncio.create_task(cache.ask()), asyncio.create_task(cache.ask())
    await asyncio.sleep(0)
    first.cancel()
    assert texts(await second) == ["192.0.2.1"]
    assert first.cancelled()
    assert cache.asked == 1


async def test_a_chain_of_aliases_is_followed(cache: CacheWithServer) -> None:
    # RFC 1034 §3.6.2
    zones: dict[str, Node] = {f"x{n}.fr": Node(cname=f"x{n + 1}.fr.") for n in range(5)}
    cache.server.zones = {**zones, NAME: Node(cname="x0.fr."), "x5.fr": Node(a=("192.0.2.5",))}
    assert texts(await cache.ask()) == ["192.0.2.5"]
    assert cache.asked == 1


async def test_a_chain_that_the_server_does_not_follow(cache: CacheWithServer) -> None:
    zones: dict[str, Node] = {f"x{n}.fr": Node(cname=f"x{n + 1}.fr.", cut=True) for n in range(3)}
    cache.server.zones = {
        **zones,
        NAME: Node(cname="x0.fr.", cut=True, ttl=7),
        "x3.fr": Node(a=("192.0.2.3",)),
    }
    assert texts(await cache.ask()) == ["192.0.2.3"]
    assert cache.asked == 5
    cache.now += 7
    assert texts(await cache.ask()) == ["192.0.2.3"]
    assert cache.asked == 10


@pytest.mark.parametrize("cut", [True, False])
async def test_aliases_in_a_circle_are_trouble(cache: CacheWithServer, cut: bool) -> None:
    cache.server.zones = {
        NAME: Node(cname="x.fr.", cut=cut),
        "x.fr": Node(cname=f"{NAME}.", cut=cut),
    }
    answer = await cache.ask()
    assert answer.trouble
    assert answer.records == ()
    assert cache.asked <= 10


async def test_an_alias_to_nowhere_does_not_exist(cache: CacheWithServer) -> None:
    cache.server.zones = {NAME: Node(cname="gone.fr.")}
    assert await cache.ask() == DnsAnswer(exists=False)


async def test_silence_is_trouble(cache: CacheWithServer) -> None:
    cache.server.zones = {NAME: Node(fate={"A": SILENCE})}
    cache.server.resolver.lifetime = 0.2
    answer = await cache.ask()
    assert "timed out" in answer.trouble
    cache.server.zones = {NAME: Node(a=("192.0.2.1",))}
    assert await cache.ask() == answer  # cached for seconds: the dead server is not hammered
    cache.now += 15
    assert texts(await cache.ask()) == ["192.0.2.1"]


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".fr", ".".join(["x" * 60] * 5)])
async def test_what_is_no_name_is_not_asked(cache: CacheWithServer, name: str) -> None:
    assert "is no name in DNS" in (await cache.ask(name)).trouble
    assert cache.asked == 0
