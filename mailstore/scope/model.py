"""Part of the operator that roles cover: the whole, a tenant, or some of its domains. Pure."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Scope:
    """Part of the operator. Only the whole crosses tenants.

    `home`: the only tenant that it touches, unless it is the whole. `entire`: all domains and
    accounts of that tenant. `domains`: numbers of single domains, which count as long as they
    belong to that tenant.
    """

    home: int
    whole: bool = False
    entire: bool = False
    domains: frozenset[int] = frozenset()

    @property
    def empty(self) -> bool:
        """True if it covers nothing."""
        return not (self.whole or self.entire or self.domains)

    def covers(self, tenant_id: int, domain_id: int | None = None) -> bool:
        """True for a domain of a tenant in it; without a domain, for the whole tenant."""
        if self.whole:
            return True
        return tenant_id == self.home and (self.entire or domain_id in self.domains)


WHOLE: Final = Scope(home=0, whole=True)
