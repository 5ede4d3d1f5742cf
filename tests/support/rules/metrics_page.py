"""Table of the metrics in docs/metrics.md."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "metrics.md"
RULES = ROOT / "config" / "mssante.rules.yml"

_ROW = re.compile(r"^\| `(mssante_\w+)` \| (\w+) \|([^|]*)\| [^|]+ \|[^|]*\|$", re.MULTILINE)


@dataclass(frozen=True)
class Documented:
    """Row of the page."""

    kind: str
    labels: frozenset[str]


def documented() -> dict[str, Documented]:
    """Family name (without `_total`, like Prometheus) to row."""
    rows = _ROW.findall(PAGE.read_text(encoding="utf-8"))
    return {
        name.removesuffix("_total"): Documented(kind, frozenset(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in rows
    }
