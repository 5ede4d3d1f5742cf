"""Tenants and their domains."""

from datetime import timedelta

import pytest

from mailstore.accounts.closing import end_grants
from mailstore.accounts.tenants import (
    TenantSize,
    add_tenant,
    domain_tenant,
    get_tenant,
    give_domain,
    list_tenants,
    mailbox_tenant,
    rename_tenant,
    tenant_size,
)
from mailstore.db.database import Database
from mailstore.db.people_schema import OPERATOR_TENANT, grants
from mailstore.errors import Conflict, InvalidName, InvalidState, NotFound
from mailstore.mailboxes.mailboxes import add_domain, get_domain
from mailstore.rights.model import Period, Role, RoleName
from mailstore.rights.roles import end_role, give_role
from tests.support.clock import NOW
from tests.support.people.accounts import box, customer, grant, person


def test_tenants(database: Database) -> None:
    with database.write() as conn:
        added = add_tenant(conn, "CHU-Lyon", " CHU de Lyon ", now=NOW)
        assert (added.name, added.title, added.created_at) == ("chu-lyon", "CHU de Lyon", NOW)
        assert [one.name for one in list_tenants(conn)] == ["chu-lyon", "operator"]
        assert get_tenant(conn, "operator").id == OPERATOR_TENANT
        with pytest.raises(Conflict, match="chu-lyon exists already"):
            add_tenant(conn, "chu-lyon", now=NOW)
        with pytest.raises(InvalidName):
            add_tenant(conn, "CHU de Lyon", now=NOW)
        with pytest.raises(NotFound, match="mssante tenant list"):
            get_tenant(conn, "chu-lille")


def test_a_tenant_is_renamed_and_keeps_what_it_has(database: Database) -> None:
    with database.write() as conn:
        tenant = customer(conn, "hcl", "hcl.mssante.fr")
        person(conn, "claire", tenant.id)
        renamed = rename_tenant(conn, "hcl", to="chu-lyon", title="CHU de Lyon")
        assert (renamed.id, renamed.name, renamed.title) == (tenant.id, "chu-lyon", "CHU de Lyon")
        assert rename_tenant(conn, "chu-lyon", title="").name == "chu-lyon"
        assert tenant_size(conn, tenant.id) == TenantSize(domains=1, accounts=1)
        with pytest.raises(Conflict, match="operator exists already"):
            rename_tenant(conn, "chu-lyon", to="operator")


def test_a_domain_belongs_to_one_tenant(database: Database) -> None:
    with database.write() as conn:
        add_domain(conn, "chu.mssante.fr", now=NOW)
        assert domain_tenant(conn, "CHU.mssante.fr") == OPERATOR_TENANT
        tenant = add_tenant(conn, "chu", now=NOW)
        give_domain(conn, "chu.mssante.fr", tenant, now=NOW)
        give_domain(conn, "chu.mssante.fr", tenant, now=NOW)
        assert domain_tenant(conn, "chu.mssante.fr") == tenant.id
        assert mailbox_tenant(conn, box(conn, "a@chu.mssante.fr").id) == tenant.id
        with pytest.raises(NotFound):
            give_domain(conn, "chru.mssante.fr", tenant, now=NOW)
        with pytest.raises(NotFound):
            mailbox_tenant(conn, 99)


def test_a_domain_with_grants_stays(database: Database) -> None:
    with database.write() as conn:
        customer(conn, "chu", "chu.mssante.fr")
        claire = person(conn, "claire", get_tenant(conn, "chu").id)
        given = grant(conn, box(conn, "a@chu.mssante.fr"), claire.id)
        other = get_tenant(conn, "operator")
        with pytest.raises(InvalidState, match=r"open mailboxes of chu\.mssante\.fr"):
            give_domain(conn, "CHU.mssante.fr", other, now=NOW)
        end_grants(conn, grants.c.id == given, NOW)
        give_domain(conn, "chu.mssante.fr", other, now=NOW + timedelta(seconds=1))
        assert domain_tenant(conn, "chu.mssante.fr") == other.id


def test_a_domain_with_administrators_stays(database: Database) -> None:
    """A role on a domain would go with it to another tenant."""
    with database.write() as conn:
        tenant = customer(conn, "chu", "chu.mssante.fr")
        claire, other = person(conn, "claire", tenant.id), add_tenant(conn, "b", now=NOW)
        domain = get_domain(conn, "chu.mssante.fr")
        role = Role(RoleName.MANAGER, Period(NOW), domain_id=domain.id)
        number = give_role(conn, claire.id, role, given_by="root")
        with pytest.raises(InvalidState, match="administer it"):
            give_domain(conn, "chu.mssante.fr", other, now=NOW)
        end_role(conn, number, NOW)
        give_domain(conn, "chu.mssante.fr", other, now=NOW)
        assert domain_tenant(conn, "chu.mssante.fr") == other.id
