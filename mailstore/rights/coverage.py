"""Scope of an administrator by names of domains, for lists and searches.

`mailstore.rights.may` decides about one mailbox; a list needs the same answer for many at once, and
mail knows domains by their names.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, select

from mailstore.db.schema import domains
from mailstore.scope.conditions import domain_within
from mailstore.scope.model import Scope


@dataclass(frozen=True, slots=True)
class Coverage:
    """Part of a tenant that roles cover.

    `tenant_id`: the account's tenant; `entire`: all of that tenant, also what is at no domain;
    `domains`: names of the covered domains of that tenant, in lower case.
    """

    tenant_id: int
    entire: bool = False
    domains: frozenset[str] = frozenset()

    def has(self, address: str) -> bool:
        """True if the address is at a covered domain."""
        return domain_of(address) in self.domains


def domain_of(address: str) -> str:
    """Domain of an address in lower case; empty for the null sender."""
    return address.rpartition("@")[2].lower()


def load_coverage(conn: Connection, scope: Scope) -> Coverage:
    """Return the domains of a scope that is not the whole operator.

    A domain that has moved to another tenant is not covered any more by a role that names it.
    """
    query = select(domains.c.name).where(*domain_within(scope))
    return Coverage(scope.home, entire=scope.entire, domains=frozenset(conn.scalars(query)))
