"""Findings of `verify`. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Finding:
    """A sign of tampering. `place`: chain, row or anchor, as `chain 3 row 17`."""

    place: str
    problem: str

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}"


@dataclass(slots=True)
class Checked:
    """Numbers of what `verify` has looked at so far; `progress` hears of every STEP rows.

    `newest_age`: age of the newest key that sealed a chain.
    """

    chains: int = 0
    rows: int = 0
    anchors: int = 0
    newest_age: int = 0
    progress: Callable[[int], None] = lambda _rows: None

    def add_row(self) -> None:
        """Count a row."""
        self.rows += 1
        if self.rows % STEP == 0:
            self.progress(self.rows)


STEP: Final = 100_000


def row_place(chain: object, seq: object) -> str:
    """Place of a row."""
    return f"chain {_short(chain)} row {_short(seq)}"


def chain_place(chain: object) -> str:
    """Place of a chain."""
    return f"chain {_short(chain)}"


def anchor_place(number: object) -> str:
    """Place of an anchor."""
    return f"anchor {_short(number)}"


def span(first: int, last: int) -> str:
    """`row 3 is` or `rows 3 to 7 are`, for a verb after it."""
    return f"row {first} is" if first == last else f"rows {first} to {last} are"


def _short(value: object) -> str:
    return str(value) if type(value) is int else repr(value)[:40]
