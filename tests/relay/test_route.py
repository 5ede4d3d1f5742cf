"""Routing by a real name server: MX in order, implicit MX, null MX, trouble; static routes."""

import random

import dns.asyncresolver
import dns.rcode
import pytest

from relay.route import NoRoute, Router, Target
from tests.support.nameserver import name_server

DOMAIN = "b.mssante.fr"


async def targets(records: list[str] | dns.rcode.Rcode, seed: int = 1) -> list[Target]:
    async with name_server({DOMAIN: records}) as resolver:
        return await Router({}, resolver, random.Random(seed)).targets(DOMAIN)


async def test_hosts_by_preference() -> None:
    records = ["20 backup.mssante.fr.", "10 smtp.mssante.fr.", "30 last.mssante.fr."]
    hosts = [target.host for target in await targets(records)]
    assert hosts == ["smtp.mssante.fr", "backup.mssante.fr", "last.mssante.fr"]
    assert {target.port for target in await targets(records)} == {25}


async def test_equal_hosts_share_the_load() -> None:
    # RFC 5321 §5.1
    records = ["10 smtp1.mssante.fr.", "10 smtp2.mssante.fr.", "20 last.mssante.fr."]
    orders = [[t.host for t in await targets(records, seed)] for seed in range(20)]
    assert {order[0] for order in orders} == {"smtp1.mssante.fr", "smtp2.mssante.fr"}
    assert {order[2] for order in orders} == {"last.mssante.fr"}


async def test_without_mx_the_domain_itself() -> None:
    assert await targets([]) == [Target(DOMAIN)]


async def test_null_mx_is_permanent() -> None:
    with pytest.raises(NoRoute, match="RFC 7505") as refused:
        await targets(["0 ."])
    assert refused.value.permanent


@pytest.mark.parametrize("code", [dns.rcode.NXDOMAIN, dns.rcode.SERVFAIL, dns.rcode.REFUSED])
async def test_trouble_is_temporary(code: dns.rcode.Rcode) -> None:
    # A listed domain that vanishes from DNS is somebody's accident, not a reason to bounce.
    with pytest.raises(NoRoute, match=DOMAIN) as failed:
        await targets(code)
    assert not failed.value.permanent


async def test_a_dead_name_server_is_temporary() -> None:
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port, resolver.lifetime = ["127.0.0.1"], 1, 0.2
    with pytest.raises(NoRoute) as failed:
        await Router({}, resolver, random.Random(1)).targets(DOMAIN)
    assert not failed.value.permanent


async def test_a_static_route_needs_no_dns() -> None:
    route = Target("127.0.0.1", 2526)
    resolver = dns.asyncresolver.Resolver(configure=False)
    router = Router({"B.mssante.fr": route}, resolver, random.Random(1))
    assert await router.targets(DOMAIN) == [route]
