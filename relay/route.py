"""Where mail for a domain goes: a static route, else its MX hosts in order (RFC 5321 §5.1)."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import dns.asyncresolver
import dns.exception
import dns.rdatatype
import dns.resolver

SMTP_PORT: Final = 25


@dataclass(frozen=True, slots=True)
class Target:
    """A host to try, with its port."""

    host: str
    port: int = SMTP_PORT
    address: str = ""  # an IP to connect to; "" means resolve `host`


class NoRoute(Exception):
    """The domain cannot be reached now; `permanent` if it says that it takes no mail (RFC 7505)."""

    def __init__(self, detail: str, *, permanent: bool = False) -> None:
        super().__init__(detail)
        self.permanent = permanent


class Router:
    """Finds the targets of a domain; `routes` override DNS."""

    def __init__(
        self,
        routes: Mapping[str, Target],
        resolver: dns.asyncresolver.Resolver,
        shuffle: random.Random,
    ) -> None:
        self._routes = {domain.lower(): target for domain, target in routes.items()}
        self._resolver = resolver
        self._random = shuffle

    async def targets(self, domain: str) -> list[Target]:
        """Hosts to try in order, never empty.  Raises NoRoute."""
        route = self._routes.get(domain)
        if route is not None:
            return [route]
        try:
            answer = await self._resolver.resolve(domain, dns.rdatatype.MX)
        except dns.resolver.NoAnswer:
            return [Target(domain)]  # the implicit MX of RFC 5321 §5.1
        except dns.resolver.NXDOMAIN:
            raise NoRoute(f"{domain} does not exist in DNS") from None
        except (dns.exception.DNSException, OSError) as error:
            raise NoRoute(f"MX of {domain} could not be found: {error}") from error
        # Hosts of equal preference in random order, to spread the load (RFC 5321 §5.1).
        ranked = sorted((rr.preference, self._random.random(), rr.exchange) for rr in answer)
        hosts = [exchange.to_text(omit_final_dot=True) for _, _, exchange in ranked]
        if hosts in (["."], [""]):
            raise NoRoute(f"{domain} takes no mail (null MX, RFC 7505)", permanent=True)
        return [Target(host) for host in hosts]
