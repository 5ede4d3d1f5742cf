"""What `make bench` measures, part by part; each gives rows for the table.

A part loads its sides in turn in one run and compares their medians: with Postfix, or with the same
daemon under another load.  The goals are those of issue 5.
"""

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

from tests.bench_load import Generator, Load, Outcome, alternate, run
from tests.bench_sides import Ours, Shape, Side, ours, postgresql

SIZES: Final = {2_000: "2 kB", 50_000: "50 kB", 1_000_000: "1 MB"}
CONNECTIONS: Final = (1, 5, 20, 100)
PER_CONNECTION: Final = 100
POSTFIX: Final = "Postfix"
_RATE: Final = "messages/s"


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
    """How much is sent: `rounds` for each side and load, in turn."""

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


DEFAULT: Final = Scale()
FULL: Final = Scale(rounds=5, large=2_000, letters=50, stored=100_000)
QUICK: Final = Scale(1, 4, 10, 8, 8, 2, 100, 300, 10, 1_000_000)


@dataclass(frozen=True, slots=True)
class Bench:
    """What the parts share: the sides that run throughout, the yardstick the first if there is one.

    `workers` are the numbers of worker processes that ours run with, a side each.
    """

    generator: Generator
    scale: Scale
    workers: tuple[int, ...]
    sides: tuple[Side, ...]
    progress: Callable[[str], None] = field(default=lambda _: None)

    @property
    def yardstick(self) -> tuple[Side, ...]:
        return tuple(side for side in self.sides if side.name == POSTFIX)

    def alternate(self, sides: Sequence[Side], load: Load, what: str) -> dict[str, list[Outcome]]:
        self.progress(what)
        return alternate(self.generator, sides, load, self.scale.rounds)


def shape_name(workers: int) -> str:
    """What a daemon with so many worker processes is called in the tables."""
    return f"{workers} worker{'s' if workers > 1 else ''}"


def _rates(
    part: str,
    case: str,
    load: Load,
    outcomes: Mapping[str, list[Outcome]],
    *,
    reference: str = POSTFIX,
    goal: Goal | None = None,
) -> list[Row]:
    """Rows of messages a second, compared with those of the side named `reference`."""
    rates = {name: [load.total / one.seconds for one in some] for name, some in outcomes.items()}
    base = statistics.median(rates[reference]) if reference in rates else None
    return [
        Row(
            part,
            case,
            name,
            value=statistics.median(some),
            unit=_RATE,
            samples=tuple(some),
            ratio=statistics.median(some) / base if base and name != reference else None,
            goal=goal if name != reference else None,
            cpu_ms=_cpu(outcomes[name], load.total),
        )
        for name, some in rates.items()
    ]


def _cpu(outcomes: Iterable[Outcome], messages: int) -> float | None:
    known = [one.cpu for one in outcomes if one.cpu is not None]
    return statistics.median(known) * 1000 / messages if known else None


def _by_size(bench: Bench, part: str, sides: Sequence[Side], goals: Sequence[Goal]) -> list[Row]:
    scale, rows = bench.scale, []
    for (size, case), goal in zip(SIZES.items(), goals, strict=True):
        total = scale.connections * scale.per_connection
        if size >= 1_000_000:
            total = min(total, scale.large)
        load = Load(total, size, scale.connections, scale.per_connection)
        outcomes = bench.alternate(sides, load, f"{part}: {case}")
        rows += _rates(part, case, load, outcomes, goal=goal)
    return rows


def sizes(bench: Bench) -> list[Row]:
    """Messages of three sizes."""
    return _by_size(bench, "sizes", bench.sides, [Goal("≥", 2), Goal("≥", 2), Goal("≥", 1.5)])


def handshakes(bench: Bench) -> list[Row]:
    """A connection, with its handshake, for each message."""
    scale = bench.scale
    load = Load(scale.handshakes, 2_000, scale.connections, 1)
    outcomes = bench.alternate(bench.sides, load, "handshakes")
    assert all(one.handshakes == load.total for some in outcomes.values() for one in some)
    case = "a connection each, 2 kB"
    return _rates("handshakes", case, load, outcomes, goal=Goal("≥", 1))


def connections(bench: Bench) -> list[Row]:
    """The same message over more and more connections at once."""
    scale, rows = bench.scale, []
    for number in CONNECTIONS:
        most = scale.connections * scale.per_connection
        total = max(min(number * scale.per_connection, most), number)
        load = Load(total, 2_000, number, scale.per_connection)
        outcomes = bench.alternate(bench.sides, load, f"connections: {number}")
        rows += _rates("connections", str(number), load, outcomes)
    return rows


def on_postgresql(bench: Bench) -> list[Row]:
    """The first part with PostgreSQL in the place of SQLite."""
    with ExitStack() as running:
        sides = list(bench.yardstick)
        for workers in bench.workers:
            url = running.enter_context(postgresql())
            shape = Shape(shape_name(workers), workers, database=url)
            sides.append(running.enter_context(ours(shape)))
        return _by_size(bench, "postgresql", sides, [Goal("≥", 1)] * len(SIZES))


def recipients(bench: Bench) -> list[Row]:
    """One message to 500 mailboxes against five messages to one, over one connection."""
    letters = bench.scale.letters
    cases = {
        "5 messages to 1 mailbox": (Load(letters * 5, 2_000, 1, 1_000), None),
        "1 message to 500": (Load(letters, 2_000, 1, 1_000, recipients=500), Goal("≤", 1)),
    }
    rows: list[Row] = []
    for case, (load, goal) in cases.items():
        outcomes = bench.alternate(bench.sides, load, f"recipients: {case}")
        for side, some in outcomes.items():
            times = [one.seconds * 1000 / letters for one in some]
            value = statistics.median(times)
            base = next((one.value for one in rows if one.side == side), None)
            rows.append(
                Row(
                    "recipients",
                    case,
                    side,
                    value,
                    "ms",
                    samples=tuple(times),
                    ratio=value / base if base else None,
                    goal=None if side == POSTFIX else goal,
                    cpu_ms=_cpu(some, letters),
                )
            )
    return rows


def growth(bench: Bench) -> list[Row]:
    """Ten times the mailboxes, and ten times the messages that are there already."""
    scale, workers = bench.scale, max(bench.workers)
    small = f"{scale.mailboxes} mailboxes, {scale.stored} messages"
    shapes = (
        Shape(small, workers, scale.mailboxes, scale.stored),
        Shape("10 × the mailboxes", workers, scale.mailboxes * 10, scale.stored),
        Shape("10 × the messages", workers, scale.mailboxes, scale.stored * 10),
    )
    load = Load(
        scale.connections * scale.per_connection, 2_000, scale.connections, scale.per_connection
    )
    bench.progress("growth: filling")
    with _all(shapes) as sides:
        outcomes = bench.alternate(sides, load, "growth")
    case = f"2 kB, {shape_name(workers)}"
    return _rates("growth", case, load, outcomes, reference=small, goal=Goal("≥", 0.85))


def memory(bench: Bench) -> list[Row]:
    """All of the daemon's processes while many large messages arrive at once."""
    scale, rows = bench.scale, []
    load = Load(scale.at_once, scale.at_once_size, scale.at_once, 1)
    case = f"{scale.at_once} × {scale.at_once_size / 1e6:g} MB at once"
    for workers in bench.workers:
        bench.progress(f"memory: {shape_name(workers)}")
        with ours(Shape(shape_name(workers), workers)) as side:
            samples = [side.memory()]
            run(bench.generator, side, load, lambda: samples.append(side.memory()))  # noqa: B023 - called here
        for what, value, goal in (
            ("idle", samples[0], None),
            (case, max(samples), Goal("≤", 400, "MB")),
        ):
            rows.append(Row("memory", what, side.name, value, "MB", (value,), goal=goal))
    return rows


@contextmanager
def _all(shapes: Iterable[Shape]) -> Iterator[list[Ours]]:
    with ExitStack() as running:
        yield [running.enter_context(ours(shape)) for shape in shapes]


PARTS: Final[Mapping[str, Callable[[Bench], list[Row]]]] = {
    "sizes": sizes,
    "handshakes": handshakes,
    "connections": connections,
    "postgresql": on_postgresql,
    "recipients": recipients,
    "growth": growth,
    "memory": memory,
}
