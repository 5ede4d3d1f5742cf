r"""Names of folders and flags as commands write and show them.

Folders are written as paths, `Projets/2026`; special ones by the names that every mailbox has.
Names that a person has given, of folders and of keywords, are content: without a right to it they
are shown as numbers.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from mailstore.errors import InvalidName, NotFound
from mailstore.folders.flags import FLAG_NAMES, Flag, flag_names
from mailstore.folders.keywords import Keywords
from mailstore.folders.names import SEPARATOR
from mailstore.folders.tree import SPECIAL, Folder, Role

_FLAGS: Final = {
    "seen": Flag.SEEN,
    "answered": Flag.ANSWERED,
    "flagged": Flag.FLAGGED,
    "deleted": Flag.DELETED,
    "draft": Flag.DRAFT,
}
_ROLES: Final = {name.casefold(): role for role, name in SPECIAL.items()}


class FolderNames:
    """Names of a mailbox's folders; none were made before somebody looked at it."""

    def __init__(self, folders: Sequence[Folder]) -> None:
        self._by_id = {one.id: one for one in folders}

    def special(self, role: Role) -> Folder | None:
        """The folder of a use; None before it was made."""
        return next((one for one in self._by_id.values() if one.role is role), None)

    def find(self, path: str) -> Folder:
        """The folder of a path; names of special folders in any case. Raises NotFound."""
        role = special_role(path)
        if role is not None and (found := self.special(role)) is not None:
            return found
        for one in self._by_id.values():
            if path in {self.path(one), self._own_path(one)}:
                return one
        raise no_such_folder()

    def path(self, folder: Folder) -> str:
        """The path of a folder, special ones by the names that every mailbox has."""
        own = folder.name if folder.role is None else SPECIAL[folder.role]
        return own if folder.parent_id is None else self._inside(folder.parent_id, own)

    def shown(self, folder_id: int | None, *, content: bool) -> str:
        """The name to show for a message's folder; new mail is shown in the inbox.

        `content`: names that a person has given are shown too.
        """
        folder = None if folder_id is None else self._by_id.get(folder_id)
        if folder_id is None:
            return SPECIAL[Role.INBOX]
        if folder is None:
            return hidden(folder_id)
        if content:
            return self.path(folder)
        return hidden(folder_id) if folder.role is None else SPECIAL[folder.role]

    def _inside(self, parent_id: int, name: str) -> str:
        parent = self._by_id.get(parent_id)
        return name if parent is None else f"{self.path(parent)}{SEPARATOR}{name}"

    def _own_path(self, folder: Folder) -> str:
        if folder.parent_id is None or folder.parent_id not in self._by_id:
            return folder.name
        return f"{self._own_path(self._by_id[folder.parent_id])}{SEPARATOR}{folder.name}"


def hidden(folder_id: int) -> str:
    """Placeholder for the name of a folder that a person has made."""
    return f"(folder {folder_id})"


def no_such_folder() -> NotFound:
    """The error for a path; without the path, which may be a person's words."""
    special = ", ".join(SPECIAL.values())
    return NotFound(f"the mailbox has no folder of this name; every mailbox has {special}")


def special_role(path: str) -> Role | None:
    """The use of a special folder's name; None for any other name."""
    return _ROLES.get(path.casefold())


def shown_flags(flags: int, keywords: int, names: Keywords | None) -> list[str]:
    r"""Flags of a message to show: `seen` for \Seen, keywords by name.

    `names`: of the mailbox's keywords; None: each is shown as `(keyword)`.
    """
    shown = [name.removeprefix("\\").lower() for name in flag_names(flags & _SYSTEM)]
    shown += flag_names(flags & ~_SYSTEM)
    if names is None:
        return shown + ["(keyword)"] * keywords.bit_count()
    return shown + names.of(keywords)


def flags_given(names: Iterable[str]) -> list[str]:
    r"""Names of flags as the store takes them: `seen` as \Seen, others are keywords.

    Raises InvalidName for a name with a backslash that is no flag.
    """
    found = []
    for name in names:
        flag = _FLAGS.get(name.lower().removeprefix("\\"))
        if flag is None and name.startswith("\\"):
            raise InvalidName(f"unknown flag; flags are {', '.join(_FLAGS)}, and keywords")
        found.append(name if flag is None else FLAG_NAMES[flag])
    return found


_SYSTEM: Final = sum(_FLAGS.values())
