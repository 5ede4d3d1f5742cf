"""Command `mssante mailbox`: mailboxes and their states."""

import re
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from mailstore.blobs.store import Store
from mailstore.mailboxes.attributes import Attribute
from mailstore.mailboxes.identifiers import IdentifierKind, MailboxType, parse_identifier
from mailstore.mailboxes.lifecycle import set_state
from mailstore.mailboxes.mailboxes import add_mailbox, get_mailbox, list_mailboxes, set_quota
from mailstore.mailboxes.model import Mailbox
from mailstore.mailboxes.states import MailboxState
from mailstore.mailboxes.usage import used_by_mailbox, used_octets

from ...assembly.clock import utc_now
from ...assembly.storage import open_store
from ...services.acts import open_recorded_store
from ...settings.identifiers import luhn_kinds
from ...settings.model import load
from ..output import show_record, show_rows

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class _SizeParam(click.ParamType[int]):
    """Option type: number of octets, plain or with K, M, G or T (powers of 1024)."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse a size; the limits fit the database's integers."""
        found = re.fullmatch(r"([0-9]{1,15})|([0-9]{1,6})([KMGT])", value.upper(), re.ASCII)
        if found is None:
            self.fail(f"{value!r} is not a size: octets, or 500M, 2G", param, ctx)
        return int(found[1] or found[2]) * _UNITS[found[3] or ""]


_KINDS = ("rpps", "adeli", "finess", "siret", "siren", "rpps-rang")


def _store(given: Path | None) -> closing[Store]:
    return closing(open_store(load(given)))


@click.group()
def mailbox() -> None:
    """Mailboxes (BAL): nominative, organisational, applicative, shared by a practice."""


def _record(found: Mailbox, used: int) -> dict[str, Any]:
    return {
        "address": found.address,
        "type": found.type,
        "state": found.state,
        "identifier": str(found.identifier),
        "quota": found.quota,
        "used": used,
        "description": found.description,
        "created_at": found.created_at,
    }


@mailbox.command("add")
@click.argument("address")
@click.option("--type", "kind", required=True, type=click.Choice([t.value for t in MailboxType]))
@click.option("--rpps", help="11 digits: PER, CAB, ORG.")
@click.option("--adeli", help="9 digits: PER.")
@click.option("--finess", help="9 characters: ORG, APP.")
@click.option("--siret", help="14 digits: ORG, APP.")
@click.option("--siren", help="9 digits: ORG, APP.")
@click.option("--rpps-rang", help="14 digits, of a liberal practice: ORG, APP.")
@click.option("--description", help="Shown in listings.")
@click.option("--quota", type=_SizeParam(), help="Octets of messages it may hold, as 500M or 2G.")
@click.pass_obj
def mailbox_add(
    given: Path | None,
    /,
    address: str,
    kind: str,
    description: str | None,
    quota: int | None,
    **numbers: str | None,
) -> None:
    """Open the mailbox ADDRESS, tied to one national identifier."""
    stated = [(name, value) for name, value in numbers.items() if value is not None]
    if len(stated) != 1:
        raise click.UsageError(f"give one of {', '.join('--' + k for k in _KINDS)}")
    name, value = stated[0]
    settings = load(given)
    identifier = parse_identifier(IdentifierKind(name.upper()), value, luhn=luhn_kinds(settings))
    with open_recorded_store(settings) as act:
        with act.store.database.write() as connection:
            added = add_mailbox(
                connection,
                address,
                MailboxType(kind),
                identifier,
                attributes={} if description is None else {Attribute.DESCRIPTION: description},
                quota=quota,
                now=utc_now(),
            )
        act.record("mailbox.added", mailbox=added.address, type=added.type, quota=added.quota)
    click.echo(f"added {added.address}")


@mailbox.command("list")
@click.option("--domain", "name", help="Only this domain.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def mailbox_list(given: Path | None, name: str | None, *, as_json: bool) -> None:
    """List mailboxes by address."""
    with _store(given) as store, store.database.read() as connection:
        found = list_mailboxes(connection, name)
        used = used_by_mailbox(connection, [one.id for one in found])
        rows = [_record(one, used.get(one.id, 0)) for one in found]
    columns = ("address", "type", "state", "identifier", "quota", "used", "description")
    show_rows(rows, columns, as_json=as_json)


@mailbox.command("show")
@click.argument("address")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def mailbox_show(given: Path | None, address: str, *, as_json: bool) -> None:
    """Show one mailbox."""
    with _store(given) as store, store.database.read() as connection:
        found = get_mailbox(connection, address)
        used = used_octets(connection, found.id).octets
    show_record(_record(found, used), as_json=as_json)


@mailbox.command("quota")
@click.argument("address")
@click.argument("size")
@click.pass_obj
def mailbox_quota(given: Path | None, address: str, size: str) -> None:
    """Limit what ADDRESS may hold to SIZE (octets, or 500M, 2G), or with none no more.

    Mail for a full mailbox is deferred with 452 4.2.2.
    """
    quota = None if size == "none" else _SizeParam().convert(size, None, None)
    with open_recorded_store(load(given)) as act:
        with act.store.database.write() as connection:
            found = set_quota(connection, address, quota)
        act.record("mailbox.quota", mailbox=found.address, quota=found.quota or "none")
    limit = "no quota" if found.quota is None else f"a quota of {found.quota} octets"
    click.echo(f"{found.address} has {limit}")


_EVENTS = {
    MailboxState.SUSPENDED: "mailbox.suspended",
    MailboxState.ACTIVE: "mailbox.resumed",
}


def _transition(verb: str, state: MailboxState, help_text: str) -> None:
    @mailbox.command(verb, help=help_text)
    @click.argument("address")
    @click.pass_obj
    def change(given: Path | None, address: str) -> None:
        with open_recorded_store(load(given)) as act:
            with act.store.database.write() as connection:
                found = set_state(connection, address, state)
            act.record(_EVENTS[found.state], mailbox=found.address)
        click.echo(f"{found.address} is {found.state}")


@mailbox.command("close")
@click.argument("address")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def mailbox_close(given: Path | None, address: str, *, yes: bool) -> None:
    """Refuse mail for good; its messages stay. Asks first, since it cannot be undone."""
    with open_recorded_store(load(given)) as act:
        with act.store.database.read() as connection:
            found = get_mailbox(connection, address)
        if not yes:
            if not sys.stdin.isatty():
                raise click.UsageError("closing cannot be undone: say so with --yes")
            question = f"Close {found.address} for good? Its mail is refused from then on"
            click.confirm(question, abort=True)
        with act.store.database.write() as connection:
            found = set_state(connection, address, MailboxState.CLOSED)
        act.record("mailbox.closed", mailbox=found.address)
    click.echo(f"{found.address} is {found.state}")


_transition("suspend", MailboxState.SUSPENDED, "Put off incoming mail with 450 until resumed.")
_transition("resume", MailboxState.ACTIVE, "Take mail again.")
