"""Logging: structured lines on standard error, JSON for machines or plain for eyes."""

import json
import logging
import sys
from collections.abc import Mapping
from typing import Any, Final, Literal

import structlog

# One encoder for all lines: json.dumps makes another for each.
_encode: Final = json.JSONEncoder(ensure_ascii=False, default=repr).encode


def _as_json(line: Mapping[str, object], **_: object) -> str:
    return _encode(line)


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
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if style == "json":
        processors.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),  # a line and its end in one write
        cache_logger_on_first_use=bool(process),  # a third of the time of each line
    )
    # Libraries log through the standard library; only their warnings are of interest here.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s")
