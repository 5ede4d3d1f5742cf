"""Commands `mssante account group`: groups of accounts, which get grants together."""

from contextlib import closing
from pathlib import Path

import click

from mailstore.accounts.endings import GrantEnded
from mailstore.accounts.groups import (
    add_group,
    add_member,
    get_group,
    list_groups,
    list_members,
    remove_group,
    remove_member,
)
from mailstore.accounts.tenants import get_tenant

from ...assembly.storage import open_store
from ...services.acts import open_act
from ...settings.model import load
from ..output import show_rows
from .options import after_name, as_json, in_tenant, page_limit


@click.group()
def group() -> None:
    """Groups of accounts of a tenant."""


@group.command("add")
@click.argument("name")
@in_tenant
@click.pass_obj
def group_add(given: Path | None, name: str, tenant: str) -> None:
    """Add the empty group NAME."""
    with open_act(load(given)) as act, act.write() as change:
        owner = get_tenant(change.connection, tenant)
        added = add_group(change.connection, owner.id, name, now=act.clock())
        change.audit("group.added", tenant=owner.id, group=added.name)
    click.echo(f"added {added.name}")


@group.command("remove")
@click.argument("name")
@in_tenant
@click.pass_obj
def group_remove(given: Path | None, name: str, tenant: str) -> None:
    """Remove the group NAME: its grants and memberships end at once."""
    with open_act(load(given)) as act, act.write() as change:
        owner = get_tenant(change.connection, tenant)
        found = get_group(change.connection, owner.id, name)
        endings = remove_group(change.connection, found, now=act.clock())
        grants = sum(isinstance(one, GrantEnded) for one in endings)
        change.audit(
            "group.removed",
            tenant=owner.id,
            group=found.name,
            grants=grants,
            members=found.members,
        )
    click.echo(f"removed {found.name}; ended: {grants} grants, {found.members} memberships")


@group.command("list")
@in_tenant
@after_name
@page_limit
@as_json
@click.pass_obj
def group_list(
    given: Path | None, /, tenant: str, after: str, limit: int, *, as_json: bool
) -> None:
    """List the groups of a tenant with the number of their members."""
    with closing(open_store(load(given))) as store, store.database.read() as connection:
        owner = get_tenant(connection, tenant)
        found = list_groups(connection, owner.id, after=after, limit=limit)
    rows = [
        {"name": one.name, "members": one.members, "created_at": one.created_at} for one in found
    ]
    show_rows(rows, ("name", "members", "created_at"), as_json=as_json)


@group.group()
def member() -> None:
    """Members of a group."""


@member.command("add")
@click.argument("group_name", metavar="GROUP")
@click.argument("login")
@in_tenant
@click.pass_obj
def group_member_add(given: Path | None, group_name: str, login: str, tenant: str) -> None:
    """Put LOGIN into GROUP."""
    with open_act(load(given)) as act, act.write() as change:
        owner = get_tenant(change.connection, tenant)
        found = get_group(change.connection, owner.id, group_name)
        account = add_member(change.connection, found, login, now=act.clock())
        change.audit("member.added", subject=account.login, tenant=owner.id, group=found.name)
    click.echo(f"{account.login} is in {found.name}")


@member.command("remove")
@click.argument("group_name", metavar="GROUP")
@click.argument("login")
@in_tenant
@click.pass_obj
def group_member_remove(given: Path | None, group_name: str, login: str, tenant: str) -> None:
    """Take LOGIN out of GROUP; rights that it had by the group end at once."""
    with open_act(load(given)) as act, act.write() as change:
        owner = get_tenant(change.connection, tenant)
        found = get_group(change.connection, owner.id, group_name)
        account, _ = remove_member(change.connection, found, login, now=act.clock())
        change.audit("member.removed", subject=account.login, tenant=owner.id, group=found.name)
    click.echo(f"{account.login} is no longer in {found.name}")


@member.command("list")
@click.argument("group_name", metavar="GROUP")
@in_tenant
@after_name
@page_limit
@as_json
@click.pass_obj
def group_member_list(
    given: Path | None, /, group_name: str, tenant: str, after: str, limit: int, *, as_json: bool
) -> None:
    """List the members of GROUP by log-in name."""
    with closing(open_store(load(given))) as store, store.database.read() as connection:
        owner = get_tenant(connection, tenant)
        found = get_group(connection, owner.id, group_name)
        members = list_members(connection, found, after=after, limit=limit)
    rows = [{"login": one.login, "name": one.name, "state": one.state} for one in members]
    show_rows(rows, ("login", "name", "state"), as_json=as_json)
