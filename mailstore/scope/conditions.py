"""SQL conditions for rows within a scope; of the whole operator there is none."""

from typing import Any

from sqlalchemy import Column, ColumnElement, false

from mailstore.db.schema import domains
from mailstore.scope.model import Scope


def domain_within(scope: Scope) -> list[ColumnElement[bool]]:
    """Conditions on a query that has the table `domains`."""
    if scope.whole:
        return []
    of_home = domains.c.tenant_id == scope.home
    return [of_home] if scope.entire else [of_home, domains.c.id.in_(scope.domains)]


def tenant_within(scope: Scope, tenant_id: Column[Any]) -> list[ColumnElement[bool]]:
    """Conditions on a column with the tenant of a row that belongs to no domain."""
    if scope.whole:
        return []
    return [tenant_id == scope.home] if scope.entire else [false()]
