"""Commands `mssante tenant`: customers of the operator, with their domains."""

from contextlib import closing
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

from ...assembly.storage import open_store
from ...services.acts import open_act
from ...settings.model import load
from ..output import show_record, show_rows
from .options import as_json, tenant_row


@click.group()
def tenant() -> None:
    """Tenants: customers (hospital, group, region) that own domains and accounts."""


@tenant.command("add")
@click.argument("name")
@click.option("--title", default="", help="Name for people, as CHU de Lyon.")
@click.pass_obj
def tenant_add(given: Path | None, name: str, title: str) -> None:
    """Add the tenant NAME: lower-case letters, digits, hyphens."""
    with open_act(load(given)) as act, act.write() as change:
        added = add_tenant(change.connection, name, title, now=act.clock())
        change.audit("tenant.added", tenant=added.id, name=added.name, title=added.title)
    click.echo(f"added {added.name}")


@tenant.command("list")
@as_json
@click.pass_obj
def tenant_list(given: Path | None, /, *, as_json: bool) -> None:
    """List the tenants."""
    with closing(open_store(load(given))) as store, store.database.read() as connection:
        rows = [tenant_row(one) for one in list_tenants(connection)]
    show_rows(rows, ("name", "title", "created_at"), as_json=as_json)


@tenant.command("show")
@click.argument("name")
@as_json
@click.pass_obj
def tenant_show(given: Path | None, /, name: str, *, as_json: bool) -> None:
    """Show a tenant and the number of its domains and accounts."""
    with closing(open_store(load(given))) as store, store.database.read() as connection:
        found = get_tenant(connection, name)
        size = tenant_size(connection, found.id)
    row = {**tenant_row(found), "domains": size.domains, "accounts": size.accounts}
    show_record(row, as_json=as_json)


@tenant.command("rename")
@click.argument("name")
@click.option("--to", help="New short name.")
@click.option("--title", help="New name for people.")
@click.pass_obj
def tenant_rename(given: Path | None, name: str, to: str | None, title: str | None) -> None:
    """Change the names of a tenant; what it owns stays."""
    if to is None and title is None:
        raise click.UsageError("give --to, --title, or both")
    with open_act(load(given)) as act, act.write() as change:
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
@click.pass_obj
def tenant_take(given: Path | None, name: str, domain: str) -> None:
    """Give the hosted DOMAIN, with its mailboxes, to the tenant NAME.

    Refused while accounts have grants or app passwords on its mailboxes.
    """
    with open_act(load(given)) as act, act.write() as change:
        found = get_tenant(change.connection, name)
        before = domain_tenant(change.connection, domain)
        give_domain(change.connection, domain, found, now=act.clock())
        change.audit("domain.moved", tenant=found.id, domain=domain.lower(), tenant_before=before)
    click.echo(f"{domain.lower()} belongs to {found.name}")
