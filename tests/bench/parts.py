"""What `make bench` measures, part by part; each gives rows for the table.

A part loads its sides in turn in one run and compares their medians: with Postfix, or with the same
daemon under another load.  The goals are those of issues 5 and 6.
"""

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from tests.bench.backlog import backlog
from tests.bench.load import Load, Outcome, run
from tests.bench.outbound import outbound
from tests.bench.results.rows import POSTFIX, RATE, Bench, Goal, Row, cpu_each, shape_name
from tests.bench.sides import Ours, Shape, Side, ours, postgresql

SIZES: Final = {2_000: "2 kB", 50_000: "50 kB", 1_000_000: "1 MB"}
CONNECTIONS: Final = (1, 5, 20, 100)


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
            unit=RATE,
            samples=tuple(some),
            ratio=statistics.median(some) / base if base and name != reference else None,
            goal=goal if name != reference else None,
            cpu_ms=cpu_each(outcomes[name], load.total),
        )
        for name, some in rates.items()
    ]


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
                    cpu_ms=cpu_each(some, letters),
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
    "outbound": outbound,
    "backlog": backlog,
}

OWN_SIDES: Final = frozenset(
    {"outbound", "backlog"}
)  # parts that run none of the sides that the others share
