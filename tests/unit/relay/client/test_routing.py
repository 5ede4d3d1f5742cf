"""Routes by a real name server, with and without faults (RFC 5321 §5.1, RFC 7505), and static."""

import random
from collections.abc import Mapping

import dns.asyncresolver
import dns.rcode
import pytest

from relay.client.routing import NoRoute, Router, Target
from tests.support.peers.nameserver import SILENCE, NameServer, Node, Zones, name_server
from whitelist.pki.distinguished_name import DistinguishedName

DOMAIN = "b.mssante.fr"
HOST = Node(a=("192.0.2.1",))


def router(server: NameServer, seed: int = 1, hostname: str = "smtp.a.mssante.fr") -> Router:
    return Router({}, server.resolver, random.Random(seed), hostname=hostname)


async def targets(zones: Zones, seed: int = 1) -> list[Target]:
    async with name_server(zones) as server:
        return await router(server, seed).targets(DOMAIN)


async def hosts(*mx: str, seed: int = 1) -> list[str]:
    """Hosts of these MX records in the order of attempts; all have an address."""
    names = (record.split()[1].removesuffix(".").lower() for record in mx)
    zones: Zones = {DOMAIN: list(mx)} | dict.fromkeys(names, HOST)
    found = await targets(zones, seed)
    assert {(target.port, target.address) for target in found} == {(25, "192.0.2.1")}
    return [target.host for target in found]


async def no_route(zones: Zones) -> NoRoute:
    with pytest.raises(NoRoute, match=DOMAIN) as refused:
        await targets(zones)
    return refused.value


async def test_hosts_by_preference() -> None:
    found = await hosts("20 backup.mssante.fr.", "10 SMTP.mssante.fr.", "30 last.mssante.fr.")
    assert found == ["smtp.mssante.fr", "backup.mssante.fr", "last.mssante.fr"]


async def test_equal_hosts_share_the_load() -> None:
    # RFC 5321 §5.1
    records = ["10 smtp1.mssante.fr.", "10 smtp2.mssante.fr.", "20 last.mssante.fr."]
    orders = [await hosts(*records, seed=seed) for seed in range(20)]
    assert {order[0] for order in orders} == {"smtp1.mssante.fr", "smtp2.mssante.fr"}
    assert {order[2] for order in orders} == {"last.mssante.fr"}


async def test_an_answer_that_is_kept_is_shuffled_each_time() -> None:
    records = ["10 smtp1.mssante.fr.", "10 smtp2.mssante.fr."]
    zones: Zones = {DOMAIN: records, "smtp1.mssante.fr": HOST, "smtp2.mssante.fr": HOST}
    async with name_server(zones) as server:
        asking = router(server)
        first = {(await asking.targets(DOMAIN))[0].host for _ in range(20)}
        assert first == {"smtp1.mssante.fr", "smtp2.mssante.fr"}
        assert server.asked.total() == 5  # MX, A and AAAA of both


async def test_an_answer_is_asked_anew_when_its_time_is_over() -> None:
    now = 0.0
    async with name_server({DOMAIN: Node(mx=("10 x.fr.",), ttl=30), "x.fr": HOST}) as server:
        asking = Router({}, server.resolver, random.Random(1), clock=lambda: now)
        await asking.targets(DOMAIN)
        server.zones = {DOMAIN: ["10 y.fr."], "y.fr": HOST}
        now = 29.0
        assert [target.host for target in await asking.targets(DOMAIN)] == ["x.fr"]
        now = 30.0
        assert [target.host for target in await asking.targets(DOMAIN)] == ["y.fr"]


async def test_without_mx_the_domain_itself() -> None:
    # RFC 5321 §5.1, implicit MX
    assert await targets({DOMAIN: HOST}) == [Target(DOMAIN, 25, "192.0.2.1")]


async def test_aliases_on_the_way() -> None:
    # A CNAME of the domain is legal (RFC 5321 §5.1).  A CNAME of an MX host is forbidden (RFC 2181
    # §10.3), but every mail server follows it.
    zones: Zones = {
        DOMAIN: Node(cname="elsewhere.fr."),
        "elsewhere.fr": ["10 mx.fr."],
        "mx.fr": Node(cname="one.mx.fr."),
        "one.mx.fr": Node(a=("192.0.2.9",), aaaa=("2001:db8::9",)),
    }
    assert await targets(zones) == [
        Target("mx.fr", 25, "2001:db8::9"),
        Target("mx.fr", 25, "192.0.2.9"),
    ]


async def test_an_alias_without_mx() -> None:
    found = await targets({DOMAIN: Node(cname="elsewhere.fr."), "elsewhere.fr": HOST})
    assert found == [Target(DOMAIN, 25, "192.0.2.1")]


async def test_both_families_in_turn() -> None:
    zones: Zones = {
        DOMAIN: ["10 x.fr.", "20 y.fr."],
        "x.fr": Node(aaaa=("2001:db8::1", "2001:db8::2"), a=("192.0.2.1",)),
        "y.fr": Node(a=("192.0.2.5", "192.0.2.6")),
    }
    found = await targets(zones)
    assert [(target.host, ":" in target.address) for target in found] == [
        ("x.fr", True),
        ("x.fr", False),
        ("x.fr", True),
        ("y.fr", False),
        ("y.fr", False),
    ]
    assert len(set(found)) == 5


@pytest.mark.parametrize("fate", [dns.rcode.SERVFAIL, SILENCE])
async def test_one_family_in_trouble_leaves_the_other(fate: dns.rcode.Rcode | str) -> None:
    zones: Zones = {DOMAIN: ["10 x.fr."], "x.fr": Node(a=("192.0.2.1",), fate={"AAAA": fate})}
    async with name_server(zones) as server:
        server.resolver.lifetime = 0.3
        assert await router(server).targets(DOMAIN) == [Target("x.fr", 25, "192.0.2.1")]


@pytest.mark.parametrize("bad", [Node(), dns.rcode.NXDOMAIN, dns.rcode.SERVFAIL])
async def test_a_host_without_address_is_passed_over(bad: Node | dns.rcode.Rcode) -> None:
    found = await targets({DOMAIN: ["10 x.fr.", "20 y.fr."], "x.fr": bad, "y.fr": HOST})
    assert [target.host for target in found] == ["y.fr"]


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "127.0.0.1", "169.254.1.1", "224.0.0.1", "255.255.255.255"],  # noqa: S104
)
async def test_an_address_that_can_be_no_peers(address: str) -> None:
    node = Node(a=(address, "192.0.2.1"))
    assert [t.address for t in await targets({DOMAIN: node})] == ["192.0.2.1"]


@pytest.mark.parametrize("address", ["::", "::1", "fe80::1", "ff02::1", "::ffff:127.0.0.1"])
async def test_an_ipv6_address_that_can_be_no_peers(address: str) -> None:
    node = Node(aaaa=(address, "64:ff9b::c000:201"))  # the second by DNS64, RFC 6147
    assert [t.address for t in await targets({DOMAIN: node})] == ["64:ff9b::c000:201"]


async def test_private_addresses_are_as_good_as_any() -> None:
    # Some operators use private networks.
    node = Node(a=("10.1.2.3",), aaaa=("fd00::1",))
    assert [t.address for t in await targets({DOMAIN: node})] == ["fd00::1", "10.1.2.3"]


async def test_no_host_with_an_address_is_temporary() -> None:
    refused = await no_route({DOMAIN: ["10 x.fr.", "20 y.fr."], "x.fr": Node()})
    assert not refused.permanent
    assert str(refused) == "no address of x.fr, y.fr for b.mssante.fr: there are none"
    in_trouble = Node(fate={"A": dns.rcode.SERVFAIL})
    refused = await no_route({DOMAIN: ["10 x.fr.", "20 y.fr."], "y.fr": in_trouble})
    assert not refused.permanent
    assert "y.fr. IN A" in str(refused)
    assert "SERVFAIL" in str(refused)


async def test_null_mx_is_permanent() -> None:
    refused = await no_route({DOMAIN: ["0 ."]})
    assert refused.permanent
    assert "RFC 7505" in str(refused)


async def test_null_mx_among_others_is_passed_over() -> None:
    # RFC 7505 §3: a null MX must be the only record, so this record is not a null MX.
    found = await targets({DOMAIN: ["0 .", "10 x.fr."], "x.fr": HOST})
    assert [target.host for target in found] == ["x.fr"]


@pytest.mark.parametrize("absurd", ["192.0.2.77", "localhost", "mail", r"a\032b.fr", r"\000.fr"])
async def test_a_record_that_names_no_host_is_passed_over(absurd: str) -> None:
    found = await targets({DOMAIN: [f"1 {absurd}.", "10 x.fr."], absurd: HOST, "x.fr": HOST})
    assert [target.host for target in found] == ["x.fr"]
    refused = await no_route({DOMAIN: [f"1 {absurd}."], absurd: HOST})
    assert not refused.permanent


async def test_a_host_named_twice_is_tried_once() -> None:
    assert await hosts("20 x.fr.", "10 X.fr.", "15 y.fr.") == ["x.fr", "y.fr"]


async def test_only_hosts_before_ourselves() -> None:
    # RFC 5321 §5.1: hosts at our own preference and beyond would send the mail back to us.
    records = ["10 x.fr.", "20 SMTP.a.mssante.fr.", "20 y.fr.", "30 z.fr."]
    for seed in range(10):
        assert await hosts(*records, seed=seed) == ["x.fr"]


@pytest.mark.parametrize(
    "zones",
    [
        {DOMAIN: ["10 smtp.a.mssante.fr.", "10 x.fr.", "20 y.fr."]},
        {DOMAIN: ["10 smtp.a.mssante.fr."]},
    ],
)
async def test_mail_that_would_come_back_to_us_is_refused(zones: dict[str, list[str]]) -> None:
    refused = await no_route({**zones, "smtp.a.mssante.fr": HOST, "x.fr": HOST, "y.fr": HOST})
    assert refused.permanent  # "MUST be returned as undeliverable"
    assert "loop" in str(refused)


async def test_targets_are_bounded() -> None:
    many = tuple(f"192.0.2.{n}" for n in range(1, 100))
    zones: dict[str, Node] = {f"x{n}.fr": Node(a=many) for n in range(50)}
    zones[DOMAIN] = Node(mx=tuple(f"{n} x{n}.fr." for n in range(10)))
    async with name_server(zones) as server:
        found = await router(server).targets(DOMAIN)
        assert len(found) == 16
        assert [target.host for target in found] == [f"x{n // 4}.fr" for n in range(16)]
        assert {kind for name, kind in server.asked if name == "x9.fr"} == set()


@pytest.mark.parametrize("code", [dns.rcode.NXDOMAIN, dns.rcode.SERVFAIL, dns.rcode.REFUSED])
async def test_trouble_is_temporary(code: dns.rcode.Rcode) -> None:
    # If a listed domain vanishes from DNS, it is an accident: no bounce.
    assert not (await no_route({DOMAIN: code})).permanent


async def test_silence_is_temporary() -> None:
    async with name_server({DOMAIN: Node(fate={"MX": SILENCE})}) as server:
        server.resolver.lifetime = 0.2
        with pytest.raises(NoRoute, match=r"MX of b\.mssante\.fr could not be found") as failed:
            await router(server).targets(DOMAIN)
    assert not failed.value.permanent


async def test_a_dead_name_server_is_temporary() -> None:
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port, resolver.lifetime = ["127.0.0.1"], 1, 0.2
    with pytest.raises(NoRoute) as failed:
        await Router({}, resolver, random.Random(1)).targets(DOMAIN)
    assert not failed.value.permanent


# Static routes

ROUTE = Target("127.0.0.1", 2526)
BACKUP = Target("backup.fr", 25)


def names(*texts: str) -> list[DistinguishedName]:
    return [DistinguishedName.parse(text) for text in texts]


LISTED: Mapping[str, list[DistinguishedName]] = {
    "b.mssante.fr": names("CN=smtp.b.fr,OU=1750000002,O=B,ST=Paris (75),C=FR"),
    "c.mssante.fr": names(
        'CN=smtp.b.fr,OU=1750000002,O="B",ST=Paris(75),C=FR', "CN=smtp.c.fr,O=C,C=FR"
    ),
    "d.mssante.fr": names("O=D,C=FR", "CN=smtp.d.fr,CN=smtp.b.fr,C=FR"),
}


async def routed(domain: str, **routes: Mapping[str, Target | list[Target]]) -> list[Target]:
    """Targets of static routes, with a resolver without any data."""
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port, resolver.lifetime = ["127.0.0.1"], 1, 0.2
    asking = Router(
        routes.get("domains", {}),
        resolver,
        random.Random(1),
        operators=routes.get("operators", {}),
        names_of=lambda domain: LISTED.get(domain, ()),
    )
    return await asking.targets(domain)


async def test_a_static_route_needs_no_dns() -> None:
    assert await routed(DOMAIN, domains={"B.mssante.fr": ROUTE}) == [ROUTE]


async def test_hosts_of_a_route_in_the_order_given() -> None:
    assert await routed(DOMAIN, domains={DOMAIN: [ROUTE, BACKUP]}) == [ROUTE, BACKUP]


@pytest.mark.parametrize("domain", ["b.mssante.fr", "c.mssante.fr"])
async def test_every_domain_of_an_operator_goes_its_route(domain: str) -> None:
    # DOMAIN §2.3: a CN occurs in several names, so the CN alone identifies the operator.
    assert await routed(domain, operators={" SMTP.b.fr": [ROUTE, BACKUP]}) == [ROUTE, BACKUP]


async def test_a_domain_of_two_operators_has_the_routes_of_both() -> None:
    # DOMAIN §2.3: a domain may belong to several operators.
    both = {"smtp.c.fr": BACKUP, "smtp.b.fr": ROUTE}
    assert await routed("c.mssante.fr", operators=both) == [BACKUP, ROUTE]


async def test_a_route_of_the_domain_beats_that_of_the_operator() -> None:
    both = {"domains": {DOMAIN: BACKUP}, "operators": {"smtp.b.fr": ROUTE}}
    assert await routed(DOMAIN, **both) == [BACKUP]
    assert await routed("c.mssante.fr", **both) == [ROUTE]


@pytest.mark.parametrize("domain", ["d.mssante.fr", "unlisted.mssante.fr", "sub.b.mssante.fr"])
async def test_a_domain_without_that_one_cn_asks_dns(domain: str) -> None:
    # A name with several CNs identifies no operator: whitelist.names.DistinguishedName.common_name.
    with pytest.raises(NoRoute, match=f"MX of {domain}"):
        await routed(domain, operators={"smtp.b.fr": ROUTE})
