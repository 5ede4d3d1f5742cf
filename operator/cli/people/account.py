"""Commands `mssante account`: persons and programs (DOMAIN §9.36, §U3)."""

import sys
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Connection

from mailstore.accounts.accounts import (
    Account,
    add_account,
    get_account,
    list_accounts,
    rename_account,
    resume_account,
    suspend_account,
)
from mailstore.accounts.closing import close_account
from mailstore.accounts.departures import count_assignments
from mailstore.accounts.endings import CredentialEnded, Ending, GrantEnded
from mailstore.accounts.groups import groups_of
from mailstore.accounts.identifiers import add_identifier, list_identifiers, match
from mailstore.accounts.kinds import AccountKind, AccountState
from mailstore.accounts.tenants import get_tenant
from mailstore.rights.model import Action
from mailstore.rights.roles import list_roles

from ...services.acts import ActTransaction, open_act
from ...settings.model import load
from ..acting import Acting, acting
from ..output import show_record, show_rows
from .account_import import account_import
from .export import account_export
from .groups import group
from .identifiers import identifier
from .options import (
    after_name,
    as_json,
    identifiers_of,
    in_tenant,
    of_tenant,
    one_identifier,
    own_tenant,
    owner_of,
    page_limit,
    reason_needed,
    with_identifiers,
)

_COLUMNS = ("login", "tenant", "kind", "name", "state", "last_login_at")


@click.group()
def account() -> None:
    """Accounts of persons and programs, their identifiers and groups."""


account.add_command(identifier)
account.add_command(group)
account.add_command(account_export)
account.add_command(account_import)


def _row(found: Account) -> dict[str, Any]:
    return {
        "login": found.login,
        "tenant": found.tenant,
        "kind": found.kind,
        "name": found.name,
        "state": found.state,
        "last_login_at": found.last_login_at,
        "state_since": found.state_since,
        "state_reason": found.state_reason,
        "created_at": found.created_at,
    }


def _details(connection: Connection, found: Account) -> dict[str, Any]:
    held = list_identifiers(connection, found.id)
    return {
        **_row(found),
        "identifiers": [str(one.identifier) for one in held if one.ended_at is None],
        "ended_identifiers": [str(one.identifier) for one in held if one.ended_at is not None],
        "groups": groups_of(connection, found.id),
    }


@account.command("add")
@click.argument("login")
@click.option("--family-name", required=True, help="Of a program: its name.")
@click.option("--given-name", default="", help="Of a person.")
@click.option("--software", is_flag=True, help="A program, such as a PFI or an LPS.")
@in_tenant
@with_identifiers
@click.pass_obj
def account_add(
    given: Path | None,
    /,
    login: str,
    family_name: str,
    given_name: str,
    tenant: str,
    *,
    software: bool,
    **identifiers: str | None,
) -> None:
    """Add the account LOGIN.  It may do nothing before it has a credential and a grant."""
    settings = load(given)
    stated = identifiers_of(settings, identifiers)
    with open_act(settings) as act, act.write() as change:
        now = act.clock()
        added = add_account(
            change.connection,
            get_tenant(change.connection, tenant).id,
            login,
            AccountKind.SOFTWARE if software else AccountKind.PERSON,
            family_name=family_name,
            given_name=given_name,
            now=now,
        )
        for one in stated:
            add_identifier(change.connection, added.login, one, now=now)
        change.audit(
            "account.added",
            subject=added.login,
            tenant=added.tenant_id,
            kind=added.kind.value,
            identifiers=", ".join(map(str, stated)) or None,
        )
    click.echo(f"added {added.login}")


@account.command("list")
@of_tenant
@click.option("--state", type=click.Choice([one.value for one in AccountState]), help="Only so.")
@after_name
@page_limit
@as_json
@acting
@click.pass_obj
def account_list(
    given: Path | None,
    /,
    tenant: str | None,
    state: str | None,
    after: str,
    limit: int,
    who: Acting,
    *,
    as_json: bool,
) -> None:
    """List accounts by log-in name, a page at a time."""
    with who.look(load(given)) as reader, reader.read() as seen:
        found = list_accounts(
            seen.connection,
            tenant_id=None if tenant is None else owner_of(seen, tenant).id,
            state=None if state is None else AccountState(state),
            scope=seen.scope(Action.ADMINISTER),
            after=after,
            limit=limit,
        )
    show_rows([_row(one) for one in found], _COLUMNS, as_json=as_json)
    if len(found) == limit:
        click.echo(f"there may be more: --after {found[-1].login}", err=True)


@account.command("show")
@click.argument("login")
@as_json
@acting
@click.pass_obj
def account_show(given: Path | None, /, login: str, who: Acting, *, as_json: bool) -> None:
    """Show an account, its identifiers and groups."""
    with who.look(load(given)) as reader, reader.read() as seen:
        row = _details(seen.connection, seen.reach_account(login, Action.ADMINISTER))
    show_record(row, as_json=as_json)


@account.command("find")
@own_tenant
@with_identifiers
@as_json
@acting
@click.pass_obj
def account_find(
    given: Path | None,
    /,
    tenant: str | None,
    who: Acting,
    *,
    as_json: bool,
    **identifiers: str | None,
) -> None:
    """Find the account that a national identifier belongs to now.  Exit 1 without one."""
    settings = load(given)
    wanted = one_identifier(settings, identifiers)
    with who.look(settings) as reader, reader.read() as seen:
        owner = owner_of(seen, tenant)
        found = match(seen.connection, owner.id, [wanted])
        row = None if found is None else _details(seen.connection, found)
    if row is None:
        raise click.ClickException(f"no account of the tenant {owner.name} has {wanted}")
    show_record(row, as_json=as_json)


@account.command("rename")
@click.argument("login")
@click.option("--family-name", help="New family name, or name of the program.")
@click.option("--given-name", help="New given name.")
@click.pass_obj
def account_rename(
    given: Path | None, login: str, family_name: str | None, given_name: str | None
) -> None:
    """Change the names of a person or a program; the log-in name stays."""
    if family_name is None and given_name is None:
        raise click.UsageError("give --family-name, --given-name, or both")
    with open_act(load(given)) as act, act.write() as change:
        before = get_account(change.connection, login)
        after = rename_account(
            change.connection, login, family_name=family_name, given_name=given_name
        )
        change.audit(
            "account.renamed",
            subject=after.login,
            tenant=after.tenant_id,
            name=after.name,
            name_before=before.name,
        )
    click.echo(f"{after.login} is {after.name}")


@account.command("suspend")
@click.argument("login")
@reason_needed
@acting
@click.pass_obj
def account_suspend(given: Path | None, login: str, reason: str, who: Acting) -> None:
    """Refuse log-ins of LOGIN and end its sessions, until resumed."""
    with who.open(load(given)) as act, act.write() as change:
        _require(change, login)
        found, _ = suspend_account(change.connection, login, reason, now=act.clock())
        change.audit(
            "account.suspended", subject=found.login, tenant=found.tenant_id, reason=reason
        )
    click.echo(f"{found.login} is {found.state}")


@account.command("resume")
@click.argument("login")
@acting
@click.pass_obj
def account_resume(given: Path | None, login: str, who: Acting) -> None:
    """Let LOGIN log in again, also before the end of a wait after wrong passwords."""
    with who.open(load(given)) as act, act.write() as change:
        _require(change, login)
        found = resume_account(change.connection, login, now=act.clock())
        change.audit("account.resumed", subject=found.login, tenant=found.tenant_id)
    click.echo(f"{found.login} is {found.state}")


@account.command("close")
@click.argument("login")
@reason_needed
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def account_close(given: Path | None, login: str, reason: str, *, yes: bool) -> None:
    """Close LOGIN for good: credentials, grants, roles and memberships end at once.

    Asks first, since it cannot be undone.  Mailboxes of the person stay.
    """
    with open_act(load(given)) as act:
        with act.store.database.read() as connection:
            found = get_account(connection, login)
        if not yes:
            if not sys.stdin.isatty():
                raise click.UsageError("closing cannot be undone: say so with --yes")
            click.confirm(f"Close {found.login} ({found.name}) for good?", abort=True)
        with act.write() as change:
            found, endings = close_account(change.connection, login, reason, now=act.clock())
            credentials, grants = _count(endings)
            change.audit(
                "account.closed",
                subject=found.login,
                tenant=found.tenant_id,
                reason=reason,
                credentials=credentials,
                grants=grants,
                assignments=count_assignments(endings),
            )
    click.echo(f"{found.login} is {found.state}; ended: {credentials} credentials, {grants} grants")


def _require(change: ActTransaction, login: str) -> None:
    """Refuse an account that does not administer this one, or could not take its roles away."""
    found = change.reach_account(login, Action.ADMINISTER)
    held = list_roles(change.connection, account_id=found.id, at=change.clock())
    if any(one.role.whole for one in held):
        change.require_whole(Action.ROLES)
    elif held:
        change.require_role(Action.ROLES, found.tenant_id)


def _count(endings: list[Ending]) -> tuple[int, int]:
    return (
        sum(isinstance(one, CredentialEnded) for one in endings),
        sum(isinstance(one, GrantEnded) for one in endings),
    )
