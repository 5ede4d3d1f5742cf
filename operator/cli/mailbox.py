"""Commands on the mailstore: domain, mailbox, message."""

import re
import shutil
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from mailstore.blobs.store import Store
from mailstore.mailboxes.identifiers import IdentifierKind, MailboxType, parse_identifier
from mailstore.mailboxes.mailboxes import (
    Mailbox,
    MailboxState,
    add_domain,
    add_mailbox,
    get_mailbox,
    list_domains,
    list_mailboxes,
    set_quota,
    set_state,
    used_by_mailbox,
    used_octets,
)
from mailstore.mailboxes.mbox import export_mailbox
from mailstore.mailboxes.messages import count_entries, get_message, newest_entries
from relay.smtp.address import parse_address
from relay.smtp.parameters import MailParameters, RcptParameters
from relay.submission.outgoing_header import PreparedMessage

from ..assembly.clock import make_id, utc_now
from ..assembly.storage import open_store
from ..services.acts import open_recorded_store
from ..services.local_submission import open_submitter
from ..services.subjects import read_subject
from ..settings.identifiers import luhn_kinds
from ..settings.model import load
from .options.private_file import PrivateFile
from .options.reports import reporting
from .output import show_record, show_rows

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class _SizeParam(click.ParamType[int]):
    """Option type: number of octets, plain or with K, M, G or T (powers of 1024)."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse a size; the limits fit the database's integers."""
        found = re.fullmatch(r"([0-9]{1,15})|([0-9]{1,6})([KMGT])", value.upper(), re.ASCII)
        if found is None:
            self.fail(f"{value!r} is not a size; write octets, 500M or 2G", param, ctx)
        return int(found[1] or found[2]) * _UNITS[found[3] or ""]


_KINDS = ("rpps", "adeli", "finess", "siret", "siren", "rpps-rang")


def _store(given: Path | None) -> closing[Store]:
    return closing(open_store(load(given)))


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
    with _store(given) as store, store.database.read() as connection:
        rows = [{"name": d.name, "created_at": d.created_at} for d in list_domains(connection)]
    show_rows(rows, ("name", "created_at"), as_json=as_json)


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
        raise click.UsageError(
            f"identifier missing; add one of {', '.join('--' + k for k in _KINDS)}"
        )
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
                description=description,
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
        used = used_by_mailbox(connection, name)
        rows = [_record(found, used.get(found.id, 0)) for found in list_mailboxes(connection, name)]
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
                raise click.UsageError("closing cannot be undone; confirm with --yes")
            question = f"Close {found.address} for good? New mail for it will be refused"
            click.confirm(question, abort=True)
        with act.store.database.write() as connection:
            found = set_state(connection, address, MailboxState.CLOSED)
        act.record("mailbox.closed", mailbox=found.address)
    click.echo(f"{found.address} is {found.state}")


_transition("suspend", MailboxState.SUSPENDED, "Put off incoming mail with 450 until resumed.")
_transition("resume", MailboxState.ACTIVE, "Take mail again.")


@click.group()
def message() -> None:
    """Messages in mailboxes, and sending for local mailboxes."""


@message.command("send")
@click.argument("file", type=click.File("rb"))
@click.option("--from", "sender", required=True, help="Mailbox here that sends.")
@click.option("--to", "recipients", required=True, multiple=True, help="Recipient; repeatable.")
@reporting
@click.pass_obj
def message_send(
    given: Path | None,
    file: Any,
    sender: str,
    recipients: tuple[str, ...],
    parameters: MailParameters,
    asked: RcptParameters,
) -> None:
    """Send FILE (- for standard input), an RFC 5322 message, for a mailbox here.

    Its From must be that mailbox. Bcc is taken out; Date and Message-ID are added where they lack.
    Reports come into that mailbox: --notify success asks for the accusé de réception of MSSanté.
    """
    to, author = [parse_address(text) for text in recipients], parse_address(sender)
    settings = load(given)
    with open_submitter(settings) as submitter:
        message_id = f"{make_id()}@{settings.operator.hostname}"
        accepted = submitter.submit(
            PreparedMessage(file, author, utc_now(), message_id),
            author,
            to,
            parameters=parameters,
            asked=dict.fromkeys(to, asked),
        )
    here, queued = len(accepted.local), sum(map(len, accepted.remote.values()))
    click.echo(f"accepted as {accepted.id}: {here} delivered here, {queued} queued for peers")


@message.command("list")
@click.argument("address")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1))
@click.option("--after", default=0, help="Only entries after this number.")
@click.option("--before", type=click.IntRange(1), help="Only entries before this number.")
@click.option("--subjects", is_flag=True, help="Show subjects too, which takes reading each body.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def message_list(
    given: Path | None,
    /,
    address: str,
    limit: int,
    after: int,
    before: int | None,
    *,
    subjects: bool,
    as_json: bool,
) -> None:
    """List what the mailbox ADDRESS holds, the newest first.

    Older entries beyond --limit are counted on standard error, with the option that shows them.
    """
    with _store(given) as store:
        with store.database.read() as connection:
            owner = get_mailbox(connection, address)
            found = newest_entries(connection, owner.id, after=after, before=before, limit=limit)
            more = count_entries(connection, owner.id, after, found[-1].id) if found else 0
        rows = [
            {
                "entry": entry.id,
                "id": entry.message.id,
                "received_at": entry.message.received_at,
                "sender": entry.message.sender,
                "size": entry.message.size,
                **({"subject": read_subject(store.blobs, entry.message)} if subjects else {}),
            }
            for entry in found
        ]
    columns = ("entry", "id", "received_at", "sender", "size", *(("subject",) if subjects else ()))
    show_rows(rows, columns, as_json=as_json)
    if more:
        click.echo(f"{more} more, older: --before {found[-1].id}", err=True)


@message.command("show")
@click.argument("message_id")
@click.option("--content", is_flag=True, help="Print the message itself instead of its facts.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def message_show(given: Path | None, message_id: str, *, content: bool, as_json: bool) -> None:
    """Show what is known of one message, or the message."""
    if content:
        _show_content(given, message_id)
        return
    with _store(given) as store, store.database.read() as connection:
        found = get_message(connection, message_id)
    record = {
        "id": found.message.id,
        "session": found.message.session,
        "peer": found.message.peer,
        "sender": found.message.sender,
        "size": found.message.size,
        "received_at": found.message.received_at,
        "blob": found.message.blob,
        "recipients": [entry.recipient for entry in found.entries],
        "trace": found.message.trace,
    }
    show_record(record, as_json=as_json)


def _show_content(given: Path | None, message_id: str) -> None:
    with open_recorded_store(load(given)) as act:
        with act.store.database.read() as connection:
            message = get_message(connection, message_id).message
        with act.store.blobs.open(message.blob) as body:
            act.record("message.read", message=message.id)
            sys.stdout.buffer.write(message.trace.encode())
            shutil.copyfileobj(body, sys.stdout.buffer)


@message.command("export")
@click.argument("address")
@click.option(
    "--output",
    type=PrivateFile(),
    default="-",
    help="File to write, for its owner alone. [standard output]",
)
@click.pass_obj
def message_export(given: Path | None, address: str, output: Any) -> None:
    """Write the mailbox ADDRESS as mbox (mboxrd).

    A message whose body is damaged is left out and named; the others are written, exit 1.
    """
    with open_recorded_store(load(given)) as act:
        store = act.store
        with store.database.read() as connection:
            owner = get_mailbox(connection, address)
        act.record("mailbox.exported", mailbox=owner.address)
        done = export_mailbox(store.database, store.blobs, owner.id, output)
        output.write(b"")  # empties an earlier file even if there is no message
        output.flush()
    click.echo(f"{done.count} messages exported", file=sys.stderr)
    for one in done.skipped:
        click.echo(f"mssante: message {one.message} is left out: {one.reason}", file=sys.stderr)
    if done.skipped:
        raise SystemExit(1)
