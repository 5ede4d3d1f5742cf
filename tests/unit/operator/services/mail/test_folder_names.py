"""Names of folders and flags, as commands write and show them."""

import pytest

from mailstore.errors import InvalidName, NotFound
from mailstore.folders.flags import Flag
from mailstore.folders.keywords import Keywords
from mailstore.folders.tree import Folder, Role
from mssante_operator.services.mail.folder_names import (
    FolderNames,
    flags_given,
    shown_flags,
    special_role,
)


def folder(number: int, name: str, parent: int | None = None, role: Role | None = None) -> Folder:
    return Folder(number, parent, role, name, 1, 1, True, 1, 1, 0, 0, 0)


NAMES = FolderNames(
    [
        folder(1, "INBOX", role=Role.INBOX),
        folder(2, "Corbeille", role=Role.TRASH),  # renamed by a client
        folder(3, "Projets"),
        folder(4, "2026", 3),
        folder(5, "trash", 3),
        folder(6, "Vieux", 2),
    ]
)


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("inbox", 1),
        ("Trash", 2),
        ("TRASH", 2),
        ("Corbeille", 2),
        ("Projets", 3),
        ("Projets/2026", 4),
        ("Projets/trash", 5),
        ("Trash/Vieux", 6),
        ("Corbeille/Vieux", 6),
    ],
)
def test_a_path_finds_its_folder(path: str, number: int) -> None:
    assert NAMES.find(path).id == number


@pytest.mark.parametrize("path", ["projets", "2026", "Projets/", "/Projets", "Sent", ""])
def test_other_paths_find_none_and_are_not_repeated(path: str) -> None:
    with pytest.raises(NotFound) as refused:
        NAMES.find(path)
    assert not path or "Projets" not in str(refused.value)


def test_names_that_people_gave_are_shown_as_content_alone() -> None:
    shown = [NAMES.shown(number, content=False) for number in (None, 1, 2, 3, 4, 9)]
    assert shown == ["INBOX", "INBOX", "Trash", "(folder 3)", "(folder 4)", "(folder 9)"]
    shown = [NAMES.shown(number, content=True) for number in (None, 2, 4, 6, 9)]
    assert shown == ["INBOX", "Trash", "Projets/2026", "Trash/Vieux", "(folder 9)"]


def test_special_folders_are_known_in_any_case() -> None:
    assert (special_role("drafts"), special_role("Projets")) == (Role.DRAFTS, None)


def test_flags_are_written_as_words() -> None:
    assert flags_given(["Seen", "\\answered", "$Junk", "urgent"]) == [
        "\\Seen",
        "\\Answered",
        "$Junk",
        "urgent",
    ]
    with pytest.raises(InvalidName, match="flags are seen, answered"):
        flags_given(["\\Recent"])


def test_keywords_are_shown_by_name_only_with_their_names() -> None:
    flags = Flag.SEEN | Flag.FORWARDED
    assert shown_flags(flags, 0b101, None) == ["seen", "$Forwarded", "(keyword)", "(keyword)"]
    names = Keywords({0: "urgent", 1: "x", 2: "vu"})
    assert shown_flags(flags, 0b101, names) == ["seen", "$Forwarded", "urgent", "vu"]
