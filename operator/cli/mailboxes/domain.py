"""Command `mssante domain`: the domains that this operator hosts."""

from contextlib import closing
from pathlib import Path

import click

from mailstore.mailboxes.mailboxes import add_domain, list_domains

from ...assembly.clock import utc_now
from ...assembly.storage import open_store
from ...services.acts import open_recorded_store
from ...settings.model import load
from ..output import show_rows


@click.group()
def domain() -> None:
    """The domains that this operator hosts."""


@domain.command("add")
@click.argument("name")
@click.pass_obj
def domain_add(given: Path | None, name: str) -> None:
    """Host a domain; it must be on the white list under our certificate to be of use."""
    with open_recorded_store(load(given)) as act:
        with act.store.database.write() as connection:
            added = add_domain(connection, name, now=utc_now())
        act.record("domain.added", domain=added.name)
    click.echo(f"added {added.name}")


@domain.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def domain_list(given: Path | None, *, as_json: bool) -> None:
    """List the hosted domains."""
    with closing(open_store(load(given))) as store, store.database.read() as connection:
        rows = [{"name": d.name, "created_at": d.created_at} for d in list_domains(connection)]
    show_rows(rows, ("name", "created_at"), as_json=as_json)
