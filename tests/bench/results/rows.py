"""What the parts of `make bench` share: figures with their goals, how much is sent, what runs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final, Literal

from tests.bench.load import Generator, Load, Outcome, alternate
from tests.bench.sides import Side

POSTFIX: Final = "Postfix"
RATE: Final = "messages/s"
PER_CONNECTION: Final = 100


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound for a row's ratio (unit ×) or its value (unit as the row's)."""

    sign: Literal["≥", "≤"]
    bound: float
    unit: str = "×"

    def __str__(self) -> str:
        return f"{self.sign} {self.bound:g} {self.unit}"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: the median of its samples; `ratio` to what the part compares it with.

    `cpu_ms` is the CPU of all of the daemon's processes for one message.
    """

    part: str
    case: str
    side: str
    value: float
    unit: str
    samples: tuple[float, ...]
    ratio: float | None = None
    goal: Goal | None = None
    cpu_ms: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None if there is none, or nothing to compare with."""
        measured = self.ratio if self.goal is None or self.goal.unit == "×" else self.value
        if self.goal is None or measured is None:
            return None
        return measured >= self.goal.bound if self.goal.sign == "≥" else measured <= self.goal.bound


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is sent: `rounds` for each side and load, in turn.

    `relayed` messages go out in a round, `queued` recipients wait in the backlog, which is watched
    for `window` seconds: to its end if that is None.
    """

    rounds: int = 3
    connections: int = 20
    per_connection: int = PER_CONNECTION
    large: int = 500  # messages of 1 MB at most
    handshakes: int = 1_000
    letters: int = 20
    mailboxes: int = 1_000
    stored: int = 10_000
    at_once: int = 100
    at_once_size: int = 25_000_000
    relayed: int = 2_000
    queued: int = 1_000_000
    window: float | None = 100.0


DEFAULT: Final = Scale()
FULL: Final = Scale(rounds=5, large=2_000, letters=50, stored=100_000, window=None)
QUICK: Final = Scale(
    rounds=1,
    connections=4,
    per_connection=10,
    large=8,
    handshakes=8,
    letters=2,
    mailboxes=100,
    stored=300,
    at_once=10,
    at_once_size=1_000_000,
    relayed=60,
    queued=2_000,
    window=7.0,
)


@dataclass(frozen=True, slots=True)
class Bench:
    """What the parts share: the sides that run throughout, the yardstick the first if there is one.

    `workers` are the numbers of worker processes that ours run with, a side each; `postfix` says
    whether there is to be a yardstick at all.
    """

    generator: Generator
    scale: Scale
    workers: tuple[int, ...]
    sides: tuple[Side, ...]
    postfix: bool
    progress: Callable[[str], None] = field(default=lambda _: None)

    @property
    def yardstick(self) -> tuple[Side, ...]:
        return tuple(side for side in self.sides if side.name == POSTFIX)

    def alternate(self, sides: Sequence[Side], load: Load, what: str) -> dict[str, list[Outcome]]:
        self.progress(what)
        return alternate(self.generator, sides, load, self.scale.rounds)


def cpu_each(outcomes: Iterable[Outcome], messages: int) -> float | None:
    """Milliseconds of CPU for one message, where that can be told."""
    known = [one.cpu for one in outcomes if one.cpu is not None]
    return median(known) * 1000 / messages if known else None


def shape_name(workers: int) -> str:
    """What a daemon with so many worker processes is called in the tables."""
    return f"{workers} worker{'s' if workers > 1 else ''}"
