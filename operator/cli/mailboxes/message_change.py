"""Commands on a message in a mailbox: move, flag, delete, restore."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click

from mailstore.folders.tree import SPECIAL, Role

from ...services.mail.folder_names import flags_given
from ...services.mail.message_acts import (
    MessageAt,
    delete_message,
    expunge_message,
    flag_message,
    move_message,
    restore_message,
)
from ...settings.model import load
from ..acting import Acting, acting
from ..output import say
from .options import ask

Command = Callable[..., None]

_INBOX: Final = SPECIAL[Role.INBOX]
_OPTIONS: Final = (
    click.argument("message_id"),
    click.option("--mailbox", required=True, metavar="ADDRESS", help="Mailbox that holds it."),
    click.option(
        "--in", "within", metavar="NAME", help="Its folder, if it is in several of the mailbox."
    ),
)


def _of_message(command: Command) -> Command:
    """Decorator: MESSAGE_ID, --mailbox and --in; the account needs the right to act."""
    command = acting(command)
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command("move")
@_of_message
@click.argument("folder")
@click.pass_obj
def message_move(
    given: Path | None,
    /,
    message_id: str,
    mailbox: str,
    within: str | None,
    folder: str,
    who: Acting,
) -> None:
    """Move a message of the mailbox into FOLDER, as Archive or Projets/2026."""
    with who.open(load(given)) as act:
        move_message(act, MessageAt(mailbox, message_id, within), folder)
    say(f"{message_id} is in {folder}")


@click.command("flag")
@_of_message
@click.option("--add", multiple=True, metavar="FLAG", help="Flag to set; repeatable.")
@click.option("--remove", multiple=True, metavar="FLAG", help="Flag to take away; repeatable.")
@click.pass_obj
def message_flag(
    given: Path | None,
    /,
    message_id: str,
    mailbox: str,
    within: str | None,
    who: Acting,
    **changes: Any,
) -> None:
    """Set flags of a message of the mailbox, or take them away.

    Flags are seen, answered, flagged, draft, deleted; any other word is a keyword. The flag deleted
    marks a message for clients; it stays until somebody expunges it.
    """
    add, remove = changes["add"], changes["remove"]
    if not (add or remove):
        raise click.UsageError("give --add or --remove")
    if _same(add) & _same(remove):
        raise click.UsageError("a flag is in --add and in --remove")
    with who.open(load(given)) as act:
        flags = flag_message(act, MessageAt(mailbox, message_id, within), add, remove)
    say(f"{message_id} has the flags: {', '.join(flags) or 'none'}")


@click.command("delete")
@_of_message
@click.option("--for-good", is_flag=True, help="Delete it without a way back; asks first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def message_delete(
    given: Path | None,
    /,
    message_id: str,
    mailbox: str,
    within: str | None,
    who: Acting,
    *,
    for_good: bool,
    yes: bool,
) -> None:
    """Move a message of the mailbox into Trash, or delete it --for-good."""
    at = MessageAt(mailbox, message_id, within)
    if yes and not for_good:
        raise click.UsageError("--yes goes with --for-good")
    if for_good:
        ask(f"Delete {message_id} for good?", "this cannot be undone", yes=yes)
    with who.open(load(given)) as act:
        if for_good:
            expunge_message(act, at)
        else:
            delete_message(act, at)
    say(f"{message_id} is deleted for good" if for_good else f"{message_id} is in Trash")


@click.command("restore")
@_of_message
@click.option("--folder", default=_INBOX, show_default=True, help="Folder to bring it back to.")
@click.pass_obj
def message_restore(
    given: Path | None,
    /,
    message_id: str,
    mailbox: str,
    within: str | None,
    folder: str,
    who: Acting,
) -> None:
    """Bring a message of the mailbox back from Trash."""
    with who.open(load(given)) as act:
        restore_message(act, MessageAt(mailbox, message_id, within), folder)
    say(f"{message_id} is in {folder}")


def _same(names: Sequence[str]) -> set[str]:
    return {one.lower() for one in flags_given(names)}


CHANGES: Final = (message_move, message_flag, message_delete, message_restore)
