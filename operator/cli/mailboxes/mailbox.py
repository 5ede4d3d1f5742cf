"""Command `mssante mailbox`: opening, listing and changing mailboxes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click
from sqlalchemy import Connection

from foundation.privacy import mask
from mailstore.mailboxes.address import parse_mailbox_address
from mailstore.mailboxes.aliases import aliases_of
from mailstore.mailboxes.attributes import (
    Attribute,
    Values,
    directory_warnings,
    need_responsible,
)
from mailstore.mailboxes.filter import DELETED, MailboxFilter
from mailstore.mailboxes.holders import add_holders, holders_of, remove_holders
from mailstore.mailboxes.identifiers import MailboxType
from mailstore.mailboxes.mailboxes import (
    add_mailbox,
    get_mailbox,
    list_mailboxes,
    set_attributes,
    set_quota,
)
from mailstore.mailboxes.model import Mailbox
from mailstore.mailboxes.states import MailboxState
from mailstore.mailboxes.usage import used_by_mailbox
from mailstore.rights.model import Action

from ...assembly.storage import row_seal
from ...services.list_tie import untied
from ...services.mail.mailbox_counters import FolderCounters, MailboxCounters, mailbox_counters
from ...settings.model import load
from ..acting import Acting, acting
from ..output import show_record, show_rows, tell
from .aliases import alias
from .folders import folder
from .importing import import_mailboxes
from .options import (
    SizeParam,
    rpps_of,
    stated_attributes,
    stated_identifiers,
    with_attributes,
    with_identifiers,
)
from .sent import sent
from .states import STATE_COMMANDS

_PAGE: Final = 500  # mailboxes read at once
_COLUMNS: Final = ("address", "type", "state", "identifier", "quota", "used", "description")


@click.group()
def mailbox() -> None:
    """Mailboxes (BAL): nominative, organisational, applicative, shared by a practice."""


mailbox.add_command(alias)
mailbox.add_command(folder)
mailbox.add_command(import_mailboxes)
mailbox.add_command(sent)
for _command in STATE_COMMANDS:
    mailbox.add_command(_command)


def _records(connection: Connection, found: Sequence[Mailbox]) -> Iterator[dict[str, Any]]:
    ids = [one.id for one in found]
    used = used_by_mailbox(connection, ids)
    holders, aliases = holders_of(connection, ids), aliases_of(connection, ids)
    for one in found:
        yield {
            "address": one.address,
            "type": one.type,
            "state": one.status,
            "identifier": str(one.identifier),
            "structure": None if one.structure is None else str(one.structure),
            "holders": list(holders.get(one.id, ())),
            "quota": one.quota,
            "used": used.get(one.id, 0),
            **{attribute.value: getattr(one, attribute.value) for attribute in Attribute},
            "aliases": [alias.address for alias in aliases.get(one.id, ())],
            "created_at": one.created_at,
            "state_since": one.state_since,
            "state_reason": one.state_reason,
            "inbound": one.inbound,
            "erase_after": one.erase_after,
            "erased_at": one.erased_at,
            "last_login_at": one.last_login_at,
        }


@mailbox.command("add")
@click.argument("address")
@click.option("--type", "kind", required=True, type=click.Choice([t.value for t in MailboxType]))
@with_identifiers
@with_attributes
@click.option("--quota", type=SizeParam(), help="Octets of messages it may hold, as 500M or 2G.")
@acting
@click.pass_obj
def mailbox_add(
    given: Path | None,
    /,
    address: str,
    kind: str,
    quota: int | None,
    holders: tuple[str, ...],
    who: Acting,
    **options: Any,
) -> None:
    """Open the mailbox ADDRESS, tied to a national identifier.

    A warning tells at once if the white list does not tie its domain to our certificate.
    """
    settings, mailbox_type = load(given), MailboxType(kind)
    identifier, structure = stated_identifiers(settings, mailbox_type, options)
    attributes = stated_attributes(options)
    need_responsible(mailbox_type, attributes)
    co_holders = rpps_of(settings, holders)
    with who.open(settings) as act, act.write() as change:
        change.require_domain(parse_mailbox_address(address).domain, Action.ADMINISTER)
        added = add_mailbox(
            change.connection,
            address,
            mailbox_type,
            identifier,
            structure=structure,
            attributes=attributes,
            quota=quota,
            now=act.clock(),
        )
        add_holders(change.connection, added, co_holders, now=act.clock())
        change.audit(
            "mailbox.added",
            mailbox=added.key,
            tenant=added.tenant_id,
            type=added.type.value,
            identifier=str(added.identifier),
            structure=None if structure is None else str(structure),
            holders=_joined(co_holders),
            quota=added.quota,
            **_facts(attributes),
        )
    click.echo(f"added {added.address}")
    _warn(directory_warnings(attributes))
    if problem := untied(settings, added.domain):
        _warn([problem])


@mailbox.command("set")
@click.argument("address")
@with_attributes
@click.option("--holder", "holders", multiple=True, help="RPPS of a new co-holder: CAB.")
@click.option("--no-holder", "gone", multiple=True, help="RPPS of a co-holder who leaves: CAB.")
@acting
@click.pass_obj
def mailbox_set(
    given: Path | None,
    /,
    address: str,
    holders: tuple[str, ...],
    gone: tuple[str, ...],
    who: Acting,
    **options: Any,
) -> None:
    """Change attributes of the mailbox ADDRESS; those not given stay.

    Address, type and identifier never change.
    """
    settings, attributes = load(given), stated_attributes(options)
    new, old = rpps_of(settings, holders), rpps_of(settings, gone)
    if not (attributes or new or old):
        raise click.UsageError("give what is to change, as --description TEXT")
    with who.open(settings) as act, act.write() as change:
        change.reach(address, Action.ADMINISTER)
        change.refuse_own_identifiers(new)
        found = set_attributes(change.connection, address, attributes)
        remove_holders(change.connection, found, old)
        add_holders(change.connection, found, new, now=act.clock())
        change.audit(
            "mailbox.changed",
            mailbox=found.key,
            tenant=found.tenant_id,
            holders=_joined(new),
            holders_gone=_joined(old),
            **_facts(attributes),
        )
    click.echo(f"changed {found.address}")
    _warn(directory_warnings(attributes))


@mailbox.command("list")
@click.option("--domain", "name", help="Only this domain.")
@click.option("--type", type=click.Choice([t.value for t in MailboxType]))
@click.option("--state", type=click.Choice([*(s.value for s in MailboxState), DELETED]))
@click.option("--identifier", help="Number of a person or structure; co-holders count.")
@click.option("--without-responsible", is_flag=True, help="ORG mailboxes that need one still.")
@click.option("--after", default="", help="Only addresses after this one.")
@click.option("--limit", type=click.IntRange(1), help="At most so many. [all]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@acting
@click.pass_obj
def mailbox_list(
    given: Path | None,
    /,
    name: str | None,
    after: str,
    limit: int | None,
    who: Acting,
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """List mailboxes by address."""
    wanted = MailboxFilter(**options)
    rows: list[dict[str, Any]] = []
    with who.look(load(given)) as reader:
        while limit is None or len(rows) < limit:
            most = _PAGE if limit is None else min(_PAGE, limit - len(rows))
            with reader.read() as seen:
                scope = seen.scope()
                if name is not None:
                    seen.require_domain(name)
                page = list_mailboxes(
                    seen.connection, name, wanted=wanted, scope=scope, after=after, limit=most
                )
                rows += _records(seen.connection, page)
            if len(page) < most:
                break
            after = page[-1].address
    show_rows(rows, _COLUMNS, as_json=as_json)


@mailbox.command("show")
@click.argument("address")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@acting
@click.pass_obj
def mailbox_show(given: Path | None, address: str, who: Acting, *, as_json: bool) -> None:
    """Show one mailbox, with the messages in its folders.

    New messages are those that nobody has looked at yet: they are in no folder so far.
    """
    with who.look(load(given)) as reader, reader.read() as seen:
        seen.reach(address)
        found = get_mailbox(seen.connection, address)
        (record,) = _records(seen.connection, [found])
        counters = mailbox_counters(seen.connection, found.id, row_seal(reader.store))
    show_record(record | _counted(counters, as_json=as_json), as_json=as_json)


@mailbox.command("quota")
@click.argument("address")
@click.argument("size")
@acting
@click.pass_obj
def mailbox_quota(given: Path | None, address: str, size: str, who: Acting) -> None:
    """Limit what ADDRESS may hold to SIZE (octets, or 500M, 2G), or with none no more.

    Mail for a full mailbox is deferred with 452 4.2.2.
    """
    quota = None if size == "none" else SizeParam().convert(size, None, None)
    with who.open(load(given)) as act, act.write() as change:
        change.reach(address, Action.ADMINISTER)
        found = set_quota(change.connection, address, quota)
        change.audit(
            "mailbox.quota",
            mailbox=found.key,
            tenant=found.tenant_id,
            quota="none" if found.quota is None else found.quota,
        )
    limit = "no quota" if found.quota is None else f"a quota of {found.quota} octets"
    click.echo(f"{found.address} has {limit}")


def _counted(found: MailboxCounters, *, as_json: bool) -> dict[str, Any]:
    share = found.quota.share
    return {
        "messages": found.messages,
        "new_messages": found.new,
        "quota_percent": None if share is None else round(share, 1),
        "folders": [asdict(one) for one in found.folders]
        if as_json
        else [_in_words(one) for one in found.folders if one.messages],
    }


def _in_words(one: FolderCounters) -> str:
    return f"{one.folder} {one.messages} ({one.unseen} unseen, {one.octets} octets)"


def _facts(attributes: Values) -> dict[str, Any]:
    return {
        attribute.value: mask(value) if isinstance(value, str) else value
        for attribute, value in attributes.items()
    }


def _joined(values: Iterable[object]) -> str | None:
    return " ".join(map(str, values)) or None


def _warn(problems: Iterable[str]) -> None:
    for problem in problems:
        tell(f"warning: {problem}", err=True)
