"""Command `mssante message list`."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import click

from mailstore.blobs.store import Store
from mailstore.mail.entry_list import EntryFilter
from mailstore.mailboxes.mailboxes import get_mailbox

from ...assembly.storage import open_store
from ...services.content import find_readable, read_content
from ...services.mail.folder_names import shown_flags
from ...services.mail.message_list import ContentFilter, Listed, Terms, list_messages
from ...services.subjects import read_subject
from ...settings.model import load
from ..acting import Acting, reading
from ..options.times import TimeParam, check_span
from ..output import show_rows
from .options import SizeParam

_COLUMNS: Final = ("entry", "id", "received_at", "sender", "size", "folder", "flags")
_TEXTS: Final = ("sender", "from_text", "subject", "text", "folder")


@click.command("list")
@click.argument("address")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1))
@click.option("--after", default=0, help="Only entries after this number.")
@click.option("--before", type=click.IntRange(1), help="Only entries before this number.")
@click.option("--folder", metavar="NAME", help="Only this folder, as Trash or Projets/2026.")
@click.option("--unseen", is_flag=True, help="Only messages without the flag seen.")
@click.option("--flagged", is_flag=True, help="Only messages with the flag flagged.")
@click.option("--sender", metavar="TEXT", help="Part of the sender's address, of the envelope.")
@click.option("--since", type=TimeParam(), help="First moment of arrival.")
@click.option("--until", type=TimeParam(), help="Moment before which it arrived.")
@click.option("--larger", type=SizeParam(), help="Only above this size, as 500K or 10M.")
@click.option("--smaller", type=SizeParam(), help="Only below this size.")
@click.option("--from", "from_text", metavar="TEXT", help="In the field From: content.")
@click.option("--subject", metavar="TEXT", help="In the subject: content.")
@click.option("--text", metavar="TEXT", help="In header or text: content.")
@click.option("--subjects", is_flag=True, help="Show subjects too: content, read from each body.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@reading
@click.pass_obj
def message_list(
    given: Path | None,
    /,
    address: str,
    who: Acting,
    *,
    subjects: bool,
    as_json: bool,
    **wanted: Any,
) -> None:
    """List the messages in the mailbox ADDRESS, the newest first.

    Older entries beyond --limit are counted on standard error, with the option that shows them.
    Subjects, content, and the names of folders that a person has made need a right of the account,
    or a break-glass access, which --reason opens.
    """
    terms, settings = _terms(wanted), load(given)
    content = subjects or terms.reads_content
    if content:
        event = "mailbox.searched" if terms.content.given else "mailbox.subjects_read"
        with who.open(settings) as act:
            owner = find_readable(act, address)
            read_content(act, settings, owner.address, event, reason=who.reason)
            found = list_messages(act.store, owner.id, terms, act.account_id)
            rows = _rows(act.store, found, content=True, subjects=subjects)
    else:
        if who.given:
            raise click.UsageError("--reason and --as go with --subjects, or a filter on content")
        with closing(open_store(settings)) as store:
            with store.database.read() as connection:
                owner = get_mailbox(connection, address)
            found = list_messages(store, owner.id, terms)
            rows = _rows(store, found, content=False, subjects=False)
    show_rows(rows, (*_COLUMNS, "subject") if subjects else _COLUMNS, as_json=as_json)
    if found.more:
        click.echo(f"{found.more} more, older: --before {found.entries[-1].id}", err=True)


def _terms(wanted: Mapping[str, Any]) -> Terms:
    for name in _TEXTS:
        if wanted[name] is not None and not wanted[name].strip():
            raise click.UsageError("empty value; leave the option out")
    check_span(wanted["since"], wanted["until"])
    facts = EntryFilter(
        unseen=wanted["unseen"],
        flagged=wanted["flagged"],
        sender=wanted["sender"] or "",
        since=wanted["since"],
        until=wanted["until"],
        larger=wanted["larger"],
        smaller=wanted["smaller"],
    )
    content = ContentFilter(
        wanted["from_text"] or "", wanted["subject"] or "", wanted["text"] or ""
    )
    return Terms(
        facts, content, wanted["folder"], wanted["after"], wanted["before"], wanted["limit"]
    )


def _rows(store: Store, found: Listed, *, content: bool, subjects: bool) -> list[dict[str, Any]]:
    keywords = found.keywords if content else None
    return [
        {
            "entry": one.id,
            "id": one.message_id,
            "received_at": one.received_at,
            "sender": one.sender,
            "size": one.size,
            "folder": found.folders.shown(one.folder_id, content=content),
            "uid": one.uid,
            "flags": shown_flags(one.flags, one.keywords, keywords),
            **({"subject": read_subject(store.blobs, one.blob)} if subjects else {}),
        }
        for one in found.entries
    ]
