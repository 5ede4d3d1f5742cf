"""The text of an inventory, and the comparison of two of them.  Pure.

An inventory has sections, a section has items, an item is one line.  Order has no meaning: the
text is sorted, so that two texts are the same exactly if the inventories are.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

Inventory = Mapping[str, frozenset[str]]

# A name of a file within these sections may change, as long as what follows it stays.
_MOVABLE: Final = {"tests": "::", "dialogues": " sha256:"}
_SECTION: Final = "== "


class InventoryError(Exception):
    """A text that is no inventory, or an inventory with an empty section."""


def written(inventory: Inventory) -> str:
    """The text of an inventory.  Raises InventoryError if a section has no item."""
    lines: list[str] = []
    for section, items in sorted(inventory.items()):
        if not items:
            raise InventoryError(f"section {section}: nothing was found; is its source gone?")
        lines += [f"{_SECTION}{section} ({len(items)})", *sorted(map(_line, items))]
    return "\n".join(lines) + "\n"


def parsed(text: str) -> Inventory:
    """The inventory of a text.  Raises InventoryError where items stand before any section."""
    sections: dict[str, set[str]] = {}
    items: set[str] | None = None
    for line in text.splitlines():
        if line.startswith(_SECTION):
            items = sections.setdefault(line.removeprefix(_SECTION).rpartition(" (")[0], set())
        elif items is None:
            raise InventoryError(f"no inventory: it begins with {line[:60]!r}")
        else:
            items.add(line)
    return {section: frozenset(items) for section, items in sections.items()}


def _line(item: str) -> str:
    text = item.replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n")
    return f"\\{text}" if text.startswith(_SECTION) else text


@dataclass(frozen=True)
class Difference:
    """Items of one section.  A moved item vanished under one name of a file and is new in another.

    `moved` has pairs (old, new); whatever is in it is in neither of the two others.
    """

    vanished: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    moved: tuple[tuple[str, str], ...] = field(default=())


def compare(old: Inventory, new: Inventory) -> dict[str, Difference]:
    """Differences by section; a section without any is left out."""
    found = {
        section: _difference(
            old.get(section, frozenset()), new.get(section, frozenset()), _MOVABLE.get(section)
        )
        for section in sorted({*old, *new})
    }
    return {section: one for section, one in found.items() if one != Difference()}


def _difference(old: frozenset[str], new: frozenset[str], separator: str | None) -> Difference:
    vanished, added = sorted(old - new), sorted(new - old)
    moved = _moved(vanished, added, separator) if separator else []
    gone, come = {pair[0] for pair in moved}, {pair[1] for pair in moved}
    return Difference(
        tuple(item for item in vanished if item not in gone),
        tuple(item for item in added if item not in come),
        tuple(moved),
    )


def _moved(vanished: Iterable[str], new: Iterable[str], separator: str) -> list[tuple[str, str]]:
    def without_file(item: str) -> str:
        return item.partition(separator)[2]

    places = {without_file(item): item for item in new}
    left, arrived = Counter(map(without_file, vanished)), Counter(map(without_file, new))
    return [
        (item, places[rest])
        for item in vanished
        # Where two tests share their name, a person must look.
        if left[rest := without_file(item)] == 1 == arrived[rest]
    ]


def report(differences: Mapping[str, Difference]) -> str:
    """The differences as a text for a person: vanished items first."""
    lines: list[str] = []
    for title, mark, chosen in (
        ("VANISHED", "-", {name: one.vanished for name, one in differences.items()}),
        ("new", "+", {name: one.new for name, one in differences.items()}),
        (
            "moved",
            ">",
            {
                name: tuple(f"{old}  ->  {new}" for old, new in one.moved)
                for name, one in differences.items()
            },
        ),
    ):
        for section, items in chosen.items():
            if items:
                lines.append(f"{title}: {section} ({len(items)})")
                lines += [f"  {mark} {item}" for item in items]
    return "".join(f"{line}\n" for line in lines)
