"""Commands `mssante tenant`: customers of the operator, with their domains."""

from pathlib import Path

import click

from mailstore.accounts.tenants import (
    add_tenant,
    domain_tenant,
    get_tenant,
    give_domain,
    list_tenants,
    rename_tenant,
    tenant_size,
)
from mailstore.rights.model import Action

from ...settings.model import load
from ..acting import Acting, acting
from ..output import show_record, show_rows
from .options import as_json, tenant_row


@click.group()
def tenant() -> None:
    """Tenants: customers (hospital, group, region) that own domains and accounts."""


@tenant.command("add")
@click.argument("name")
@click.option("--title", default="", help="Name for people, as CHU de Lyon.")
@acting
@click.pass_obj
def tenant_add(given: Path | None, name: str, title: str, who: Acting) -> None:
    """Add the tenant NAME: lower-case letters, digits, hyphens."""
    with who.open(load(given)) as act, act.write() as change:
        change.require_whole(Action.ADMINISTER)
        added = add_tenant(change.connection, name, title, now=act.clock())
        change.audit("tenant.added", tenant=added.id, name=added.name, title=added.title)
    click.echo(f"added {added.name}")


@tenant.command("list")
@as_json
@acting
@click.pass_obj
def tenant_list(given: Path | None, /, who: Acting, *, as_json: bool) -> None:
    """List the tenants."""
    with who.look(load(given)) as reader, reader.read() as seen:
        rows = [tenant_row(one) for one in list_tenants(seen.connection, seen.scope())]
    show_rows(rows, ("name", "title", "created_at"), as_json=as_json)


@tenant.command("show")
@click.argument("name")
@as_json
@acting
@click.pass_obj
def tenant_show(given: Path | None, /, name: str, who: Acting, *, as_json: bool) -> None:
    """Show a tenant and the number of its domains and accounts."""
    with who.look(load(given)) as reader, reader.read() as seen:
        found = seen.reach_tenant(name)
        size = tenant_size(seen.connection, found.id)
    row = {**tenant_row(found), "domains": size.domains, "accounts": size.accounts}
    show_record(row, as_json=as_json)


@tenant.command("rename")
@click.argument("name")
@click.option("--to", help="New short name.")
@click.option("--title", help="New name for people.")
@acting
@click.pass_obj
def tenant_rename(
    given: Path | None, name: str, to: str | None, title: str | None, who: Acting
) -> None:
    """Change the names of a tenant; what it owns stays."""
    if to is None and title is None:
        raise click.UsageError("give --to, --title, or both")
    with who.open(load(given)) as act, act.write() as change:
        change.require_whole(Action.ADMINISTER)
        before = get_tenant(change.connection, name)
        after = rename_tenant(change.connection, name, to=to, title=title)
        change.audit(
            "tenant.renamed",
            tenant=after.id,
            name=after.name,
            title=after.title,
            name_before=before.name,
            title_before=before.title,
        )
    click.echo(f"{before.name} is {after.name}" + (f", {after.title}" if after.title else ""))


@tenant.command("take")
@click.argument("name")
@click.argument("domain")
@acting
@click.pass_obj
def tenant_take(given: Path | None, name: str, domain: str, who: Acting) -> None:
    """Give the hosted DOMAIN, with its mailboxes, to the tenant NAME.

    Refused while accounts have grants or app passwords on its mailboxes.
    """
    with who.open(load(given)) as act, act.write() as change:
        change.require_whole(Action.ADMINISTER)
        found = get_tenant(change.connection, name)
        before = domain_tenant(change.connection, domain)
        give_domain(change.connection, domain, found, now=act.clock())
        change.audit("domain.moved", tenant=found.id, domain=domain.lower(), tenant_before=before)
    click.echo(f"{domain.lower()} belongs to {found.name}")
