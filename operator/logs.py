"""Logging: structured lines on standard error, as JSON or as plain text.

Every line, ours or a library's, is cleaned: no identifier of a patient (`foundation.privacy`), no
control character that acts on a terminal or forges a line.
"""

import json
import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Literal

import structlog

from foundation.privacy import INS_LENGTH, mask, suspicious
from foundation.visible_text import safe, visible, visible_json

# The encoder of all lines: json.dumps would make a new one for each.
_encode: Final = json.JSONEncoder(ensure_ascii=False, default=repr).encode


def _as_json(line: Mapping[str, object], **_: object) -> str:
    return visible_json(_encode(line))


def _protected(
    _logger: object, _method: str, line: structlog.typing.EventDict
) -> Mapping[str, Any]:
    for key, value in line.items():
        kind = type(value)
        if kind is int or (
            kind is str
            and value.isprintable()
            and (len(value) < INS_LENGTH or not suspicious(value))
        ):
            continue  # fast path for nearly all values: every message logs several lines
        line[key] = _safe(value, lines=key == "exception")
    return line


def _safe(value: object, *, lines: bool = False) -> object:
    """Clean a value: INS masked, control characters escaped.  `lines`: keep line breaks."""
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
    """Line of a library's warning."""

    def format(self, record: logging.LogRecord) -> str:
        return safe(super().format(record))


def _harmless(level: int) -> type[structlog.typing.FilteringBoundLogger]:
    """Logger class for a level; its methods never raise, so that a log line never stops work.

    In the daemon log_writer.py counts the lines that cannot be written.
    """
    filtering: Any = structlog.make_filtering_bound_logger(level)

    class Harmless(filtering):  # type: ignore[misc]  # structlog makes the class for the level
        def _proxy_to_logger(self, *given: Any, **facts: Any) -> Any:
            with suppress(Exception):  # an error of the disk, or of a value's repr
                return super()._proxy_to_logger(*given, **facts)

    return Harmless


def configure(level: str, style: Literal["json", "console"], *, process: str = "") -> None:
    """Set up logging.

    `process`: name of a daemon process, added to each line; loggers are then cached, so this is
    the last call in that process.
    """

    def name(_logger: object, _method: str, line: structlog.typing.EventDict) -> Mapping[str, Any]:
        line["process"] = process
        return line

    renderer: structlog.typing.Processor
    if style == "json":
        renderer = structlog.processors.JSONRenderer(_as_json)
    else:
        # Plain tracebacks: the rich format prints local variables, which may be a patient's mail.
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    processors: list[structlog.typing.Processor] = [
        *([name] if process else ()),
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        _protected,
        structlog.processors.TimeStamper(fmt="iso", utc=True),  # after _protected: needs no check
    ]
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=_harmless(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),  # one write for line and newline
        cache_logger_on_first_use=bool(process),  # saves a third of the time of each line
    )
    # Libraries log through the standard library; only their warnings are shown.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LibraryLine("%(name)s: %(message)s"))
    # `force`: standard error may be another file since the last call.
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
