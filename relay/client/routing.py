"""Routes: hosts for mail to a domain, by a static route or by MX in order (RFC 5321 §5.1).

The route of a domain takes precedence over the route of its operator, and both over DNS.  An
operator is identified by the CN of its certificate: the route applies to all domains that the white
list ties to a name with that CN.  A route only says where to connect: the server must still show a
certificate of the recipient domain (DOMAIN §3.3), so a wrong MX record is harmless.
"""

import asyncio
import ipaddress
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Final

import dns.asyncresolver
import dns.name
import dns.rdatatype
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from relay.client.dns_cache import DnsAnswer, DnsCache
from relay.smtp.failure_reason import FailureReason
from whitelist.pki.distinguished_name import DistinguishedName
from whitelist.pki.name_folding import fold

SMTP_PORT: Final = 25
_MAX_HOSTS: Final = 8  # hosts per domain, preferred first
_MAX_ADDRESSES: Final = 4  # addresses per host, so that none hides the next host
_MAX_TARGETS: Final = 16

# At least two labels, the last not all digits: neither `localhost` nor an IP address.
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_HOST: Final = re.compile(rf"(?:{_LABEL}\.)+(?!\d+$){_LABEL}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Target:
    """A host to try, with port and an IP address; without address, `host` is looked up."""

    host: str
    port: int = SMTP_PORT
    address: str = ""


class NoRoute(Exception):
    """No host for the domain now; `permanent` if it takes no mail (RFC 7505) or is ourselves."""

    reason = FailureReason.NO_ROUTE
    ours = False

    def __init__(self, detail: str, *, permanent: bool = False) -> None:
        super().__init__(detail)
        self.permanent = permanent


Route = Target | Sequence[Target]


def _nobody(_domain: str) -> Iterable[DistinguishedName]:
    return ()


class Router:
    """Finds the targets of a domain.

    `routes`: by domain.  `operators`: routes by CN of the operator, with `names_of`: certificate
    names of a domain.  `hostname`: our own; mail is never routed to it.  `clock`: monotonic
    seconds.
    """

    def __init__(
        self,
        routes: Mapping[str, Route],
        resolver: dns.asyncresolver.Resolver,
        shuffle: random.Random,
        *,
        operators: Mapping[str, Route] | None = None,
        names_of: Callable[[str], Iterable[DistinguishedName]] = _nobody,
        hostname: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._routes = {domain.lower(): _several(route) for domain, route in routes.items()}
        self._operators = {fold(cn): _several(route) for cn, route in (operators or {}).items()}
        self._names_of = names_of
        self._hostname = hostname.lower()
        self._random = shuffle
        self._dns = DnsCache(resolver, clock)

    @property
    def follows_list(self) -> bool:
        """Whether any route depends on the white list."""
        return bool(self._operators)

    async def targets(self, domain: str) -> list[Target]:
        """Return the hosts to try, in order, never empty.  Raises NoRoute."""
        route = self._routes.get(domain) or self._route_of_operator(domain)
        if route:
            return list(route)
        hosts = await self._hosts(domain)
        found = await asyncio.gather(*(self._targets_of(host) for host in hosts))
        targets = list(chain.from_iterable(targets for targets, _ in found))
        if not targets:
            trouble = next(filter(None, (trouble for _, trouble in found)), "there are none")
            raise NoRoute(f"no address of {', '.join(hosts)} for {domain}: {trouble}")
        return targets[:_MAX_TARGETS]

    def _route_of_operator(self, domain: str) -> list[Target]:
        """Routes of all operators of the domain, in the order of the configuration."""
        if not self._operators:
            return []
        names = {fold(name.common_name or "") for name in self._names_of(domain)}
        return [t for cn, route in self._operators.items() if cn in names for t in route]

    async def _hosts(self, domain: str) -> list[str]:
        answer = await self._dns.ask(domain, dns.rdatatype.MX)
        if answer.trouble:
            raise NoRoute(f"MX of {domain} could not be found: {answer.trouble}")
        if not answer.exists:
            raise NoRoute(f"{domain} does not exist in DNS")
        listed = [record for record in answer.records if isinstance(record, MX)]
        if [record.exchange for record in listed] == [dns.name.root]:
            raise NoRoute(f"{domain} takes no mail (null MX, RFC 7505)", permanent=True)
        named = [(mx.preference, mx.exchange.to_text(omit_final_dot=True).lower()) for mx in listed]
        hosts = self._ranked(named or [(0, domain)])  # the implicit MX, RFC 5321 §5.1
        if not hosts:
            raise NoRoute(f"no MX record of {domain} names a host")
        if self._hostname in hosts:
            # RFC 5321 §5.1: only hosts with a better preference than ours; the others would send it
            # back.
            hosts = hosts[: hosts.index(self._hostname)]
        if not hosts:
            said = f"mail for {domain} would loop: its MX is {self._hostname}, that is ourselves"
            raise NoRoute(said, permanent=True)
        return hosts[:_MAX_HOSTS]

    def _ranked(self, named: Iterable[tuple[int, str]]) -> list[str]:
        """Hosts by preference, each once; at equal preference ours first, the others at random."""
        ranked = sorted(
            (preference, host != self._hostname, self._random.random(), host)
            for preference, host in named
            if _HOST.fullmatch(host)
        )
        return list(dict.fromkeys(host for *_, host in ranked))

    async def _targets_of(self, host: str) -> tuple[list[Target], str]:
        """Targets of a host, IPv6 and IPv4 addresses in turn; or the error."""
        kinds = (dns.rdatatype.AAAA, dns.rdatatype.A)
        answers = await asyncio.gather(*(self._dns.ask(host, kind) for kind in kinds))
        mixed = chain.from_iterable(zip_longest(*map(_addresses, answers)))
        found = [Target(host, SMTP_PORT, address) for address in mixed if address is not None]
        return found[:_MAX_ADDRESSES], next(filter(None, (a.trouble for a in answers)), "")


def _several(route: Route) -> tuple[Target, ...]:
    return (route,) if isinstance(route, Target) else tuple(route)


def _addresses(answer: DnsAnswer) -> list[str]:
    records = (record for record in answer.records if isinstance(record, A | AAAA))
    return [record.address for record in records if _reachable(record.address)]


def _reachable(text: str) -> bool:
    """Whether another operator can have this address: not unspecified, multicast or local."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return False
    return not (
        address.is_unspecified
        or address.is_loopback
        or address.is_multicast
        or address.is_link_local
        or text == "255.255.255.255"
    )
