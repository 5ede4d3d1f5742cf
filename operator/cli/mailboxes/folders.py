"""Commands `mssante mailbox folder`: folders of a mailbox."""

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from mailstore.blobs.store import Store
from mailstore.mailboxes.mailboxes import get_mailbox

from ...assembly.storage import open_store, row_seal
from ...services.content import find_readable, read_content
from ...services.mail.folder_acts import add_folder, remove_folder, rename_folder
from ...services.mail.mailbox_counters import FolderCounters, mailbox_counters
from ...settings.model import load
from ..acting import Acting, acting, reading
from ..output import say, show_rows
from .options import ask

_COLUMNS: Final = ("folder", "messages", "unseen", "octets")


@click.group()
def folder() -> None:
    """Folders of a mailbox: the special ones, and those that people make."""


@folder.command("list")
@click.argument("address")
@click.option("--names", is_flag=True, help="Show names that people gave too: content.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@reading
@click.pass_obj
def folder_list(
    given: Path | None, /, address: str, who: Acting, *, names: bool, as_json: bool
) -> None:
    """List the folders of the mailbox ADDRESS, with their counters.

    There are none before somebody looks at the mailbox for the first time. Names that people gave
    need a right of the account, or a break-glass access, which --reason opens.
    """
    settings = load(given)
    if names:
        with who.open(settings) as act:
            owner = find_readable(act, address)
            read_content(act, settings, owner.address, "mailbox.folders_read", reason=who.reason)
            found = _counters(act.store, address, content=True)
    else:
        if who.given:
            raise click.UsageError("--reason and --as go with --names")
        with closing(open_store(settings)) as store:
            found = _counters(store, address, content=False)
    show_rows([asdict(one) for one in found], _COLUMNS, as_json=as_json)


@folder.command("add")
@click.argument("address")
@click.argument("path")
@acting
@click.pass_obj
def folder_add(given: Path | None, address: str, path: str, who: Acting) -> None:
    """Make the folder PATH in the mailbox ADDRESS.

    PATH is a name, as Projets, or one within a folder that is there, as Projets/2026.
    """
    with who.open(load(given)) as act:
        add_folder(act, address, path)
    say(f"added {path}")


@folder.command("rename")
@click.argument("address")
@click.argument("path")
@click.argument("new")
@acting
@click.pass_obj
def folder_rename(given: Path | None, address: str, path: str, new: str, who: Acting) -> None:
    """Give the folder PATH of the mailbox ADDRESS the path NEW.

    Folders in it come along.
    """
    with who.open(load(given)) as act:
        rename_folder(act, address, path, new)
    say(f"{path} is {new}")


@folder.command("remove")
@click.argument("address")
@click.argument("path")
@click.option("--yes", is_flag=True, help="Do not ask.")
@acting
@click.pass_obj
def folder_remove(given: Path | None, address: str, path: str, who: Acting, *, yes: bool) -> None:
    """Remove the folder PATH of the mailbox ADDRESS.

    The messages in it are deleted for good. A folder with folders in it stays: remove them first.
    """
    ask(f"Remove {path} and its messages for good?", "this cannot be undone", yes=yes)
    with who.open(load(given)) as act:
        messages = remove_folder(act, address, path)
    say(f"removed {path}, with {messages} messages")


def _counters(store: Store, address: str, *, content: bool) -> list[FolderCounters]:
    with store.database.read() as connection:
        owner = get_mailbox(connection, address)
        found = mailbox_counters(connection, owner.id, row_seal(store), content=content)
    return list(found.folders)
