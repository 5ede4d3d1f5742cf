"""Text of an inventory, and comparison of two inventories. Pure.

An inventory has sections, a section has items, an item is a line. Order has no meaning: the text is
sorted, so that equal texts mean equal inventories.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

Inventory = Mapping[str, frozenset[str]]

# In these sections a file's name may change if the rest of the item stays.
_MOVABLE: Final = {"tests": "::", "dialogues": " sha256:"}
_SECTION: Final = "== "


class InventoryError(Exception):
    """Invalid text, or an inventory with an empty section."""


def written(inventory: Inventory) -> str:
    """Return the text of an inventory. Raises InventoryError for an empty section."""
    lines: list[str] = []
    for section, items in sorted(inventory.items()):
        if not items:
            raise InventoryError(f"section {section}: nothing was found; is its source gone?")
        lines += [f"{_SECTION}{section} ({len(items)})", *sorted(map(_line, items))]
    return "\n".join(lines) + "\n"


def parsed(text: str) -> Inventory:
    """Parse the text of an inventory. Raises InventoryError for items before any section."""
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
    """Changed items of a section. A moved item has the same text under another file name.

    `moved` has pairs (old, new); these items are not in the other two fields.
    """

    vanished: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    moved: tuple[tuple[str, str], ...] = field(default=())


def compare(old: Inventory, new: Inventory) -> dict[str, Difference]:
    """Differences by section; sections without any are left out."""
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
        # If two tests have the same name, a person must check.
        if left[rest := without_file(item)] == 1 == arrived[rest]
    ]


def report(differences: Mapping[str, Difference]) -> str:
    """Format the differences for a person: vanished items first."""
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
