"""Logging: structured lines on standard error, JSON for machines or plain for eyes.

Whatever is logged, by us or by a library: no patient's identifier gets out (`foundation.privacy`),
and nothing that acts on a terminal or forges a line.
"""

import json
import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Literal

import structlog

from foundation.privacy import mask, suspicious
from foundation.visible_text import safe, visible, visible_json

# One encoder for all lines: json.dumps makes another for each.
_encode: Final = json.JSONEncoder(ensure_ascii=False, default=repr).encode


def _as_json(line: Mapping[str, object], **_: object) -> str:
    return visible_json(_encode(line))


def _protected(
    _logger: object, _method: str, line: structlog.typing.EventDict
) -> Mapping[str, Any]:
    for key, value in line.items():
        kind = type(value)
        if kind is int or (kind is str and value.isprintable() and not suspicious(value)):
            continue  # nearly all that is logged, and every message pays for it
        line[key] = _safe(value, lines=key == "exception")
    return line


def _safe(value: object, *, lines: bool = False) -> object:
    """A fact of a line, without patients and controls; an exception has several lines."""
    if isinstance(value, str):
        return safe(value) if lines else visible(mask(value))
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_safe(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _safe(one) for key, one in value.items()}
    return visible(mask(repr(value)))


class _LibraryLine(logging.Formatter):
    """A line of a library's warning."""

    def format(self, record: logging.LogRecord) -> str:
        return safe(super().format(record))


def _harmless(level: int) -> type[structlog.typing.FilteringBoundLogger]:
    """Loggers from a level on, none of whose calls raises: a line is never worth what it tells of.

    In the daemon what cannot be written is counted by the writer (log_writer.py).
    """
    filtering: Any = structlog.make_filtering_bound_logger(level)

    class Harmless(filtering):  # type: ignore[misc]  # structlog makes the class for the level
        def _proxy_to_logger(self, *given: Any, **facts: Any) -> Any:
            with suppress(Exception):  # whatever it is, of the disk or of the facts
                return super()._proxy_to_logger(*given, **facts)

    return Harmless


def configure(level: str, style: Literal["json", "console"], *, process: str = "") -> None:
    """Set up logging, for good in a process that gives its name, to stand in each of its lines."""

    def name(_logger: object, _method: str, line: structlog.typing.EventDict) -> Mapping[str, Any]:
        line["process"] = process
        return line

    renderer: structlog.typing.Processor
    if style == "json":
        renderer = structlog.processors.JSONRenderer(_as_json)
    else:
        # Plain tracebacks: the fancy ones print local variables, which may be somebody's mail.
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    processors: list[structlog.typing.Processor] = [
        *([name] if process else ()),
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        _protected,
        structlog.processors.TimeStamper(fmt="iso", utc=True),  # so many digits need no second look
    ]
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=_harmless(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),  # a line and its end in one write
        cache_logger_on_first_use=bool(process),  # a third of the time of each line
    )
    # Libraries log through the standard library; only their warnings are of interest here.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LibraryLine("%(name)s: %(message)s"))
    # By force: standard error may be another file than it was.
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
