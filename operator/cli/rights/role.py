"""Commands `mssante role`: administrators, for the whole operator, a tenant or a domain."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from mailstore.accounts.accounts import Account, get_account
from mailstore.mailboxes.mailboxes import get_domain
from mailstore.rights import roles
from mailstore.rights.model import Action, Role, RoleName

from ...assembly.clock import utc_now
from ...services.acts import ActTransaction
from ...settings.model import load
from ..acting import Acting, acting
from ..output import show_rows
from .options import period, with_period

_COLUMNS = ("id", "account", "role", "scope", "begins_at", "ends_at", "given_by")


@click.group()
def role() -> None:
    """Roles of administrators: operator, manager, helpdesk, auditor."""


@role.command("give")
@click.argument("login")
@click.argument("name", type=click.Choice([one.value for one in RoleName]))
@click.option("--tenant", help="For this tenant alone, the account's own.")
@click.option("--domain", help="For this domain alone, of the account's tenant.")
@with_period
@acting
@click.pass_obj
def role_give(
    given: Path | None,
    /,
    login: str,
    name: str,
    tenant: str | None,
    domain: str | None,
    begins: datetime | None,
    ends: datetime | None,
    who: Acting,
) -> None:
    """Give the account LOGIN a role, without --tenant and --domain for the whole operator.

    No role gives content of messages: see break-glass.
    """
    if tenant is not None and domain is not None:
        raise click.UsageError("give --tenant or --domain, not both")
    with who.open(load(given)) as act, act.write() as change:
        connection = change.connection
        account = _account(change, login, whole=tenant is None and domain is None)
        if domain is not None:
            change.require_domain(domain, Action.ROLES)
        wanted = Role(
            RoleName(name),
            period(begins, ends, act.clock()),
            None if tenant is None else change.reach_tenant(tenant, Action.ROLES).id,
            None if domain is None else get_domain(connection, domain).id,
        )
        number = roles.give_role(connection, account.id, wanted, given_by=act.name)
        row = roles.get_role(connection, number)
        change.audit(
            "role.given",
            subject=row.account,
            tenant=account.tenant_id,
            role=name,
            scope=row.scope,
            number=number,
            begins_at=row.role.period.begins,
            ends_at=row.role.period.ends,
        )
    click.echo(f"role {number}: {row.account} is {name} for {row.scope or 'the whole operator'}")


@role.command("end")
@click.argument("number", type=click.IntRange(1))
@acting
@click.pass_obj
def role_end(given: Path | None, number: int, who: Acting) -> None:
    """End the role NUMBER now."""
    with who.open(load(given)) as act, act.write() as change:
        found = roles.get_role(change.connection, number)
        owner = get_account(change.connection, found.account).tenant_id
        change.require_number(
            Action.ROLES,
            None if found.role.whole else owner,
            f"role {number}",
            f"there is no role with the number {number}",
        )
        row = roles.end_role(change.connection, number, act.clock())
        change.audit(
            "role.ended",
            subject=row.account,
            tenant=owner,
            role=row.role.name,
            scope=row.scope,
            number=number,
        )
    click.echo(f"role {number} of {row.account} is over")


@role.command("list")
@click.option("--all", "everything", is_flag=True, help="Also roles that are over.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@acting
@click.pass_obj
def role_list(given: Path | None, who: Acting, *, everything: bool, as_json: bool) -> None:
    """List roles by account."""
    with who.look(load(given)) as reader, reader.read() as seen:
        found = roles.list_roles(
            seen.connection, at=None if everything else utc_now(), scope=seen.scope()
        )
    show_rows([_record(one) for one in found], _COLUMNS, as_json=as_json)


def _account(change: ActTransaction, login: str, *, whole: bool) -> Account:
    if not whole:
        return change.reach_account(login, Action.ROLES)
    change.require_whole(Action.ROLES)
    return get_account(change.connection, login)


def _record(row: roles.RoleRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "account": row.account,
        "role": row.role.name,
        "scope": row.scope or "operator (whole)",
        "begins_at": row.role.period.begins,
        "ends_at": row.role.period.ends,
        "given_by": row.given_by,
    }
