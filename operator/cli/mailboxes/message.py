"""Command `mssante message`: messages in mailboxes, and sending for local mailboxes."""

import shutil
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from mailstore.blobs.store import Store
from mailstore.folders.tree import list_folders
from mailstore.mail.entry_list import entries_of_message
from mailstore.messages.mbox import export_mailbox
from mailstore.messages.messages import get_message
from relay.smtp.address import parse_address
from relay.smtp.parameters import MailParameters, RcptParameters
from relay.submission.outgoing_header import PreparedMessage

from ...assembly.clock import make_id, utc_now
from ...assembly.storage import open_store, row_seal
from ...services.content import find_readable, mailbox_of, read_content
from ...services.local_submission import open_submitter
from ...services.mail.folder_names import FolderNames, shown_flags
from ...settings.model import load
from ..acting import Acting, reading
from ..options.private_file import PrivateFile
from ..options.reports import reporting
from ..output import show_record
from .message_change import CHANGES
from .message_list import message_list


@click.group()
def message() -> None:
    """Messages in mailboxes, and sending for local mailboxes."""


message.add_command(message_list)
for _command in CHANGES:
    message.add_command(_command)


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


@message.command("show")
@click.argument("message_id")
@click.option("--content", is_flag=True, help="Print the message itself instead of its facts.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@reading
@click.pass_obj
def message_show(
    given: Path | None,
    /,
    message_id: str,
    who: Acting,
    *,
    content: bool,
    as_json: bool,
) -> None:
    """Show the facts of one message, or the message.

    Content needs a right of the account, or a break-glass access, which --reason opens.
    """
    if content:
        _show_content(given, message_id, who)
        return
    if who.given:
        raise click.UsageError("--reason and --as go with --content")
    with closing(open_store(load(given))) as store:
        with store.database.read() as connection:
            found = get_message(connection, message_id)
        places = _places(store, message_id)
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
        "places": places if as_json else [_in_words(one) for one in places],
    }
    show_record(record, as_json=as_json)


def _places(store: Store, message_id: str) -> list[dict[str, Any]]:
    """Where a message is: mailbox, folder, UID and flags, without names that a person gave."""
    found = []
    with store.database.read() as connection:
        for mailbox_id, address, entry in entries_of_message(connection, message_id):
            folders = FolderNames(list_folders(connection, mailbox_id, row_seal(store)))
            found.append(
                {
                    "mailbox": address,
                    "folder": folders.shown(entry.folder_id, content=False),
                    "uid": entry.uid,
                    "flags": shown_flags(entry.flags, entry.keywords, None),
                }
            )
    return found


def _in_words(place: dict[str, Any]) -> str:
    uid = "new" if place["uid"] is None else f"UID {place['uid']}"
    return " ".join([place["mailbox"], place["folder"], f"({uid})", *place["flags"]])


def _show_content(given: Path | None, message_id: str, who: Acting) -> None:
    settings = load(given)
    with who.open(settings) as act:
        with act.store.database.read() as connection:
            found = get_message(connection, message_id)
        address, message = mailbox_of(act, found), found.message
        with act.store.blobs.open(message.blob) as body:
            read_content(
                act,
                settings,
                address,
                "message.read",
                reason=who.reason,
                message=message.id,
                unknown=f"there is no message {message_id}",
            )
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
@reading
@click.pass_obj
def message_export(given: Path | None, /, address: str, output: Any, who: Acting) -> None:
    """Write the mailbox ADDRESS as mbox (mboxrd).

    It needs a right of the account, or a break-glass access, which --reason opens.  A message
    whose body is damaged is left out and named; the others are written, exit 1.
    """
    settings = load(given)
    with who.open(settings) as act:
        store, owner = act.store, find_readable(act, address)
        read_content(act, settings, owner.address, "mailbox.exported", reason=who.reason)
        done = export_mailbox(store.database, store.blobs, owner.id, output)
        output.write(b"")  # empties an earlier file even if there is no message
        output.flush()
    click.echo(f"{done.count} messages exported", file=sys.stderr)
    for one in done.skipped:
        click.echo(f"mssante: message {one.message} is left out: {one.reason}", file=sys.stderr)
    if done.skipped:
        raise SystemExit(1)
