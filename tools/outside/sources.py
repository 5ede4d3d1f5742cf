"""Inventory of the packages' sources: metrics, events, replies, environment variables.

Found in the syntax trees, in any module of the packages.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

PACKAGES: Final = ("foundation", "operator", "relay", "mailstore", "whitelist", "directory")

_FAMILIES: Final = {
    "Counter": "counter",
    "Gauge": "gauge",
    "Histogram": "histogram",
    "CounterMetricFamily": "counter",
    "GaugeMetricFamily": "gauge",
    "_by_operator": "gauge",
}
_JOURNAL: Final = frozenset({"record", "_record", "tell", "_tell"})
_LOG: Final = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
_EVENT: Final = re.compile(r"[a-z_]+(\.[a-z_]+)+|accepted|refused|submitted|transcript")
_VARIABLE: Final = re.compile(r"MSSANTE_[A-Z_]+|PROMETHEUS_MULTIPROC_DIR|OPENSSL_CONF")
_METRIC: Final = re.compile(r"mssante_[a-z0-9_]+")


@cache
def trees(root: Path) -> tuple[ast.Module, ...]:
    """Syntax trees of all modules of the packages."""
    paths = sorted(path for name in PACKAGES for path in (root / name).rglob("*.py"))
    return tuple(ast.parse(path.read_text(encoding="utf-8"), str(path)) for path in paths)


def metrics(modules: Sequence[ast.Module]) -> frozenset[str]:
    """`name type labels…`; for metrics made in a loop only the names."""
    calls = [
        (name, call)
        for call in _calls(modules)
        if (kind := _FAMILIES.get(_called(call))) is not None
        and (name := _constant(call.args)) is not None
        and _METRIC.fullmatch(name)
        and kind
    ]
    described = {
        f"{name} {_FAMILIES[_called(call)]} {' '.join(_labels(call))}".rstrip()
        for name, call in calls
    }
    named = {
        node.value
        for module in modules
        for node in ast.walk(module)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and _METRIC.fullmatch(node.value)
    }
    return frozenset(described | named)


def _labels(call: ast.Call) -> Iterator[str]:
    if _called(call) == "_by_operator":
        yield "operator"
    given = [*call.args[1:], *(word.value for word in call.keywords if word.arg == "labels")]
    for argument in given:
        if isinstance(argument, ast.List | ast.Tuple):
            yield from (str(_constant([each])) for each in argument.elts)


def journal_events(modules: Sequence[ast.Module]) -> frozenset[str]:
    """`event` and `event field` of each field; `**` for fields from a dict."""
    return _events(modules, _JOURNAL)


def log_events(modules: Sequence[ast.Module]) -> frozenset[str]:
    """The same for the log, with the level."""
    return frozenset(
        f"{level} {item}" for level in _LOG for item in _events(modules, frozenset({level}))
    )


def _events(modules: Iterable[ast.Module], functions: frozenset[str]) -> frozenset[str]:
    found: set[str] = set()
    for call in _calls(modules):
        if _called(call) not in functions:
            continue
        named = [text for text in map(_text, call.args[:2]) if text and _EVENT.fullmatch(text)]
        for event in named[:1]:
            fields = (word.arg or "**" for word in call.keywords)
            found |= {event, *(f"{event} {field}" for field in fields)}
    return frozenset(found)


def replies(modules: Sequence[ast.Module]) -> frozenset[str]:
    """`code enhanced text` of all replies; `{}` for values in the text."""
    return frozenset(
        f"{code} {enhanced} {_pattern(call.args[2])}"
        for call in _calls(modules)
        if _called(call) == "Reply"
        and len(call.args) == 3
        and (code := ast.unparse(call.args[0])).isdigit()
        and (enhanced := _text(call.args[1])) is not None
    )


def variables(modules: Sequence[ast.Module]) -> frozenset[str]:
    """Environment variables that the program reads or sets."""
    return frozenset(
        node.value
        for module in modules
        for node in ast.walk(module)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and _VARIABLE.fullmatch(node.value)
    )


def http_paths(modules: Sequence[ast.Module]) -> frozenset[str]:
    """Paths of the admin HTTP."""
    return frozenset(
        path
        for call in _calls(modules)
        if _called(call) == "Route" and (path := _constant(call.args)) is not None
    )


def _calls(modules: Iterable[ast.Module]) -> Iterator[ast.Call]:
    for module in modules:
        for node in ast.walk(module):
            if isinstance(node, ast.Call):
                yield node


def _called(call: ast.Call) -> str:
    """The last part of the called name."""
    match call.func:
        case ast.Name(name) | ast.Attribute(attr=name):
            return name
    return ""


def _constant(arguments: Sequence[ast.expr]) -> str | None:
    return _text(arguments[0]) if arguments else None


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _pattern(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "{}" for part in node.values)
    return _text(node) or "{}"
