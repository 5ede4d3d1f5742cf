"""Part of the operator that the roles of an account cover, for lists and searches.

`mailstore.rights.may` decides about one mailbox; a list needs the same answer for many at once.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from mailstore.accounts.kinds import AccountState
from mailstore.db.schema import domains
from mailstore.rights.may import ALLOWED_BY_ROLE
from mailstore.rights.model import Action, ActorFacts


@dataclass(frozen=True, slots=True)
class Coverage:
    """Part of the operator that roles cover for an action: all of it, or a part of one tenant.

    `tenant_id`: the account's tenant; `entire`: all of that tenant, also what is at no domain;
    `domains`: names of the covered domains of that tenant, in lower case.
    """

    tenant_id: int
    whole: bool = False
    entire: bool = False
    domains: frozenset[str] = frozenset()

    @property
    def nothing(self) -> bool:
        """True if no role covers anything."""
        return not (self.whole or self.entire or self.domains)

    def has(self, address: str) -> bool:
        """True if the address is at a covered domain."""
        return self.whole or domain_of(address) in self.domains


def domain_of(address: str) -> str:
    """Domain of an address in lower case; empty for the null sender."""
    return address.rpartition("@")[2].lower()


def load_coverage(conn: Connection, actor: ActorFacts, action: Action, at: datetime) -> Coverage:
    """Return the part of the operator in which the account's roles allow an action now.

    Only a role for the whole operator crosses tenants: a domain that has moved to another tenant is
    not covered any more by a role that names it.
    """
    tenant = actor.account.tenant_id
    given = [
        role
        for role in actor.roles
        if action in ALLOWED_BY_ROLE[role.name] and role.period.holds(at)
    ]
    if actor.account.state is not AccountState.ACTIVE or not given:
        return Coverage(tenant)
    if any(role.whole for role in given):
        return Coverage(tenant, whole=True)
    entire = any(role.domain_id is None and role.tenant_id == tenant for role in given)
    single = [role.domain_id for role in given if role.domain_id is not None]
    query = select(domains.c.name).where(domains.c.tenant_id == tenant)
    if not entire:
        query = query.where(domains.c.id.in_(single))
    return Coverage(tenant, entire=entire, domains=frozenset(conn.scalars(query)))
