"""Commands `mssante account group`: groups of accounts, which get grants together."""

from pathlib import Path

import click

from mailstore.accounts.departures import count_assignments
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

from ...settings.model import load
from ..acting import Acting, acting
from ..output import show_rows
from .options import after_name, as_json, own_tenant, owner_of, page_limit


@click.group()
def group() -> None:
    """Groups of accounts of a tenant."""


@group.command("add")
@click.argument("name")
@own_tenant
@acting
@click.pass_obj
def group_add(given: Path | None, name: str, tenant: str | None, who: Acting) -> None:
    """Add the empty group NAME."""
    with who.open(load(given)) as act, act.write() as change:
        owner = owner_of(change, tenant)
        added = add_group(change.connection, owner.id, name, now=act.clock())
        change.audit("group.added", tenant=owner.id, group=added.name)
    click.echo(f"added {added.name}")


@group.command("remove")
@click.argument("name")
@own_tenant
@acting
@click.pass_obj
def group_remove(given: Path | None, name: str, tenant: str | None, who: Acting) -> None:
    """Remove the group NAME: its grants and memberships end at once."""
    with who.open(load(given)) as act, act.write() as change:
        owner = owner_of(change, tenant)
        found = get_group(change.connection, owner.id, name)
        endings = remove_group(change.connection, found, now=act.clock())
        grants = sum(isinstance(one, GrantEnded) for one in endings)
        change.audit(
            "group.removed",
            tenant=owner.id,
            group=found.name,
            grants=grants,
            members=found.members,
            assignments=count_assignments(endings),
        )
    click.echo(f"removed {found.name}; ended: {grants} grants, {found.members} memberships")


@group.command("list")
@own_tenant
@after_name
@page_limit
@as_json
@acting
@click.pass_obj
def group_list(
    given: Path | None, /, tenant: str | None, after: str, limit: int, who: Acting, *, as_json: bool
) -> None:
    """List the groups of a tenant with the number of their members."""
    with who.look(load(given)) as reader, reader.read() as seen:
        owner = owner_of(seen, tenant)
        found = list_groups(seen.connection, owner.id, after=after, limit=limit)
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
@own_tenant
@acting
@click.pass_obj
def group_member_add(
    given: Path | None, group_name: str, login: str, tenant: str | None, who: Acting
) -> None:
    """Put LOGIN into GROUP."""
    with who.open(load(given)) as act, act.write() as change:
        owner = owner_of(change, tenant)
        found = get_group(change.connection, owner.id, group_name)
        change.refuse_own_account(change.known_account(login))
        account = add_member(change.connection, found, login, now=act.clock())
        change.audit("member.added", subject=account.login, tenant=owner.id, group=found.name)
    click.echo(f"{account.login} is in {found.name}")


@member.command("remove")
@click.argument("group_name", metavar="GROUP")
@click.argument("login")
@own_tenant
@acting
@click.pass_obj
def group_member_remove(
    given: Path | None, group_name: str, login: str, tenant: str | None, who: Acting
) -> None:
    """Take LOGIN out of GROUP; rights that it had by the group end at once."""
    with who.open(load(given)) as act, act.write() as change:
        owner = owner_of(change, tenant)
        found = get_group(change.connection, owner.id, group_name)
        change.known_account(login)
        account, endings = remove_member(change.connection, found, login, now=act.clock())
        change.audit(
            "member.removed",
            subject=account.login,
            tenant=owner.id,
            group=found.name,
            assignments=count_assignments(endings),
        )
    click.echo(f"{account.login} is no longer in {found.name}")


@member.command("list")
@click.argument("group_name", metavar="GROUP")
@own_tenant
@after_name
@page_limit
@as_json
@acting
@click.pass_obj
def group_member_list(
    given: Path | None,
    /,
    group_name: str,
    tenant: str | None,
    after: str,
    limit: int,
    who: Acting,
    *,
    as_json: bool,
) -> None:
    """List the members of GROUP by log-in name."""
    with who.look(load(given)) as reader, reader.read() as seen:
        owner = owner_of(seen, tenant)
        found = get_group(seen.connection, owner.id, group_name)
        members = list_members(seen.connection, found, after=after, limit=limit)
    rows = [{"login": one.login, "name": one.name, "state": one.state} for one in members]
    show_rows(rows, ("login", "name", "state"), as_json=as_json)
