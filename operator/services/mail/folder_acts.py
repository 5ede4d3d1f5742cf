"""A person's acts on folders of a mailbox: permitted, done and recorded as one transaction.

All raise as `mailbox_act.begin`; NotFound for a folder.
"""

from mailstore.errors import Conflict
from mailstore.folders import expunge, tree
from mailstore.folders.names import SEPARATOR

from ..acts import Act
from .folder_names import hidden, special_role
from .mailbox_act import MailboxAct, begin


def add_folder(act: Act, address: str, path: str) -> None:
    """Make a folder, within the one before the last `/`.

    Raises InvalidName, Conflict, LimitReached.
    """
    with begin(act, address) as one:
        parent_id, name = _place(one, path)
        made = tree.create_folder(one.lock, one.seal, name, parent_id, now=act.clock())
        one.audit("folder.added", folder=hidden(made))


def rename_folder(act: Act, address: str, path: str, new: str) -> None:
    """Give a folder another path; folders in it come along.

    Raises InvalidName, InvalidState, Conflict, LimitReached.
    """
    with begin(act, address) as one:
        folder_id = one.folders.find(path).id
        parent_id, name = _place(one, new)
        tree.rename_folder(one.lock, one.seal, folder_id, name, parent_id)
        one.audit("folder.renamed", folder=one.named(folder_id))


def remove_folder(act: Act, address: str, path: str) -> int:
    """Remove a folder, and its messages for good; their number.

    Raises InvalidState for a special folder, Conflict for one with folders in it.
    """
    with begin(act, address) as one:
        folder = one.folders.find(path)
        expunge.remove_folder(one.lock, folder.id)
        one.audit("folder.removed", folder=one.named(folder.id), messages=folder.messages)
        return folder.messages


def _place(one: MailboxAct, path: str) -> tuple[int | None, str]:
    above, separator, name = path.rpartition(SEPARATOR)
    if separator:
        return one.folders.find(above).id, name
    if special_role(name) is not None:
        raise Conflict("a special folder has this name")
    return None, name
