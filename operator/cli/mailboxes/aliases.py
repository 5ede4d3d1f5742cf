"""Commands `mssante mailbox alias`: other addresses of a mailbox."""

from datetime import datetime
from pathlib import Path

import click

from mailstore.mailboxes.address import address_key
from mailstore.mailboxes.aliases import Alias, add_alias, aliases_of, end_alias
from mailstore.mailboxes.mailboxes import get_mailbox
from mailstore.rights.model import Action

from ...services.acts import ActTransaction
from ...settings.model import load
from ..acting import Acting, acting
from ..output import show_rows
from ..rights.options import MomentParam

_until = click.option(
    "--until", type=MomentParam(last=True), help="Last day, or time of the end (2027-01-31)."
)


@click.group()
def alias() -> None:
    """Aliases: other addresses here whose mail a mailbox gets."""


@alias.command("add")
@click.argument("address")
@click.argument("alias")
@_until
@acting
@click.pass_obj
def alias_add(
    given: Path | None, address: str, alias: str, until: datetime | None, who: Acting
) -> None:
    """Give the mailbox ADDRESS the other address ALIAS, for mail that arrives.

    It is never given to another mailbox, even after its end. An alias that has ended may be added
    again to its mailbox.
    """
    with who.open(load(given)) as act, act.write() as change:
        _require(change, address, alias)
        added = add_alias(change.connection, address, alias, ends_at=until, now=act.clock())
        _audit(change, "alias.added", address, added)
    click.echo(f"added {added.address}{_end(added)}")


@alias.command("end")
@click.argument("address")
@click.argument("alias")
@_until
@acting
@click.pass_obj
def alias_end(
    given: Path | None, address: str, alias: str, until: datetime | None, who: Acting
) -> None:
    """End the ALIAS of the mailbox ADDRESS, now or at a time: mail for it is refused from then."""
    with who.open(load(given)) as act, act.write() as change:
        _require(change, address, alias)
        now = act.clock()
        ended = end_alias(change.connection, address, alias, ends_at=until or now, now=now)
        _audit(change, "alias.ended", address, ended)
    click.echo(f"{ended.address}{_end(ended)}")


@alias.command("list")
@click.argument("address")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@acting
@click.pass_obj
def alias_list(given: Path | None, address: str, who: Acting, *, as_json: bool) -> None:
    """List the aliases of the mailbox ADDRESS, those that have ended too."""
    with who.look(load(given)) as reader, reader.read() as seen:
        owner = seen.reach(address).id
        rows = [
            {"alias": one.address, "created_at": one.created_at, "ends_at": one.ends_at}
            for one in aliases_of(seen.connection, [owner]).get(owner, ())
        ]
    show_rows(rows, ("alias", "created_at", "ends_at"), as_json=as_json)


def _require(change: ActTransaction, address: str, alias: str) -> None:
    """Refuse an account that does not administer the mailbox, and the domain of the alias too."""
    change.reach(address, Action.ADMINISTER)
    change.require_domain(address_key(alias).rpartition("@")[2], Action.ADMINISTER)


def _audit(change: ActTransaction, event: str, address: str, found: Alias) -> None:
    owner = get_mailbox(change.connection, address)
    change.audit(
        event,
        mailbox=owner.key,
        tenant=owner.tenant_id,
        alias=found.address,
        ends_at=found.ends_at,
    )


def _end(found: Alias) -> str:
    return "" if found.ends_at is None else f", until {found.ends_at.isoformat(timespec='seconds')}"
