"""Line charts as SVG, for the figures of docs/performance.md: pure, and readable in light and dark.

Every point has its number beside it, so that a chart says what its table says.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 60, 70, 60
_LABEL_GAP: Final = 15.0  # from one number to the next above it
_STEPS: Final = (1, 2, 2.5, 5, 10)
_COLOURS: Final = 4  # classes s0…s3 below

_STYLE: Final = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-size: 16px; font-weight: 600; }
.back { fill: #ffffff; } .grid { stroke: #d1d9e0; } .axis { stroke: #59636e; }
.line { fill: none !important; stroke-width: 2.5; }
.s0 { stroke: #6e7781; fill: #6e7781; } .s1 { stroke: #0969da; fill: #0969da; }
.s2 { stroke: #bc4c00; fill: #bc4c00; } .s3 { stroke: #1a7f37; fill: #1a7f37; }
text.value { stroke: none; font-size: 12px; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; } .back { fill: #0d1117; }
.grid { stroke: #3d444d; } .axis { stroke: #9198a1; }
.s0 { stroke: #9198a1; fill: #9198a1; } .s1 { stroke: #4493f8; fill: #4493f8; }
.s2 { stroke: #f0883e; fill: #f0883e; } .s3 { stroke: #3fb950; fill: #3fb950; }
}
"""


@dataclass(frozen=True, slots=True)
class Chart:
    """A value of each series for each case; the cases stand at equal distances."""

    title: str
    across: str
    up: str
    cases: Sequence[str]
    series: Mapping[str, Sequence[float]]


def draw(chart: Chart) -> str:
    """The chart as an SVG document.  Raises ValueError if a series lacks a case."""
    if not chart.series or any(len(one) != len(chart.cases) for one in chart.series.values()):
        raise ValueError("each series needs a value for each case")
    return "\n".join(_lines(chart)) + "\n"


def ticks(highest: float) -> list[float]:
    """Round numbers from zero to beyond the highest value, five or six of them."""
    rough = max(highest, 1e-9) / 5
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(one * magnitude for one in _STEPS if one * magnitude >= rough * (1 - 1e-9))
    return [step * n for n in range(math.ceil(highest / step - 1e-9) + 1)]


def _lines(chart: Chart) -> Iterator[str]:
    marks = ticks(max(max(some) for some in chart.series.values()))
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(chart.cases) - 1, 1)
    bottom = _HEIGHT - _BOTTOM

    def x(n: int) -> float:
        return _LEFT + 30 + n * (step - 60 / max(len(chart.cases) - 1, 1))

    def y(value: float) -> float:
        return bottom - value / marks[-1] * (bottom - _TOP)

    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(chart.title)}">'
    )
    yield f"<title>{escape(chart.title)}</title>\n<style>\n{_STYLE}</style>"
    yield f'<rect class="back" width="{_WIDTH}" height="{_HEIGHT}"/>'
    yield f'<text class="title" x="{_LEFT}" y="26">{escape(chart.title)}</text>'
    for mark in marks:
        kind = "grid" if mark else "axis"
        yield _line(kind, _LEFT, y(mark), _WIDTH - _RIGHT, y(mark))
        yield _text(f"{mark:g}", _LEFT - 8, y(mark) + 4, "end")
    middle = (_TOP + bottom) / 2
    yield _text(chart.across, (_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 12)
    yield (
        f'<text x="18" y="{middle:.1f}" text-anchor="middle" '
        f'transform="rotate(-90 18 {middle:.1f})">{escape(chart.up)}</text>'
    )
    for n, case in enumerate(chart.cases):
        yield _text(case, x(n), bottom + 20)
    for n, (name, values) in enumerate(chart.series.items()):
        colour = f"s{n % _COLOURS}"
        points = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in enumerate(values))
        yield f'<polyline class="{colour} line" points="{points}"/>'
        for at, value in enumerate(values):
            yield f'<circle class="{colour}" cx="{x(at):.1f}" cy="{y(value):.1f}" r="4"/>'
        yield f'<circle class="{colour}" cx="{_LEFT + 5 + n * 150}" cy="47" r="5"/>'
        yield _text(name, _LEFT + 16 + n * 150, 51, "start")
    for at in range(len(chart.cases)):
        values = [some[at] for some in chart.series.values()]
        for n, height in _apart([y(value) for value in values]).items():
            colour = f"s{n % _COLOURS} value"
            yield _text(f"{values[n]:.0f}", x(at) + 8, height - 4, "start", colour)
    yield "</svg>"


def _apart(heights: Sequence[float]) -> dict[int, float]:
    """Where to write numbers so that none covers another: from the lowest up."""
    placed: dict[int, float] = {}
    last = math.inf
    for n in sorted(range(len(heights)), key=lambda n: -heights[n]):
        last = placed[n] = min(heights[n], last - _LABEL_GAP)
    return placed


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(content: str, x: float, y: float, anchor: str = "middle", kind: str = "") -> str:
    classes = f' class="{kind}"' if kind else ""
    return f'<text{classes} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'
