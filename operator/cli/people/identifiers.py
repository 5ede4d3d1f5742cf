"""Commands `mssante account identifier`: national identifiers of persons (DOMAIN §U3)."""

from pathlib import Path

import click

from mailstore.accounts.identifiers import (
    add_identifier,
    end_identifier,
    replace_identifier,
)

from ...services.acts import open_act
from ...settings.model import load
from .options import one_identifier, with_identifiers, written_identifier


@click.group()
def identifier() -> None:
    """National identifiers of persons: any that has not ended identifies them."""


@identifier.command("add")
@click.argument("login")
@with_identifiers
@click.option("--replaces", metavar="KIND:VALUE", help="One that ends now, as rpps:10000001916.")
@click.pass_obj
def identifier_add(
    given: Path | None, /, login: str, replaces: str | None, **identifiers: str | None
) -> None:
    """Give LOGIN one more identifier, or one in place of another."""
    settings = load(given)
    one = one_identifier(settings, identifiers)
    before = None if replaces is None else written_identifier(settings, replaces)
    with open_act(settings) as act, act.write() as change:
        connection, now = change.connection, act.clock()
        if before is None:
            account = add_identifier(connection, login, one, now=now)
        else:
            account = replace_identifier(connection, login, before, one, now=now)
        change.audit(
            "identifier.added",
            subject=account.login,
            tenant=account.tenant_id,
            identifier=str(one),
            replaces=None if before is None else str(before),
        )
    click.echo(f"{account.login} has {one}")


@identifier.command("end")
@click.argument("login")
@with_identifiers
@click.pass_obj
def identifier_end(given: Path | None, /, login: str, **identifiers: str | None) -> None:
    """End an identifier of LOGIN: it identifies nobody any more, and may be given again."""
    settings = load(given)
    one = one_identifier(settings, identifiers)
    with open_act(settings) as act, act.write() as change:
        account = end_identifier(change.connection, login, one, now=act.clock())
        change.audit(
            "identifier.ended",
            subject=account.login,
            tenant=account.tenant_id,
            identifier=str(one),
        )
    click.echo(f"{account.login} has no longer {one}")
